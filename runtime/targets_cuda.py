"""A Program on a GPU: compiled as the session's settings say, and given memory on the device. `targets.py` asks when a GPU is asked for."""
from __future__ import annotations

from graphc.codegen.gpu import gpu_for
from graphc.core.errors import InvalidArgumentError
from graphc.core.graph import Graph
from graphc.core.program import Program
from graphc.runtime import verifying
from graphc.runtime.bound import Runs
from graphc.runtime.compile_cuda import Products, compile_cuda_program
from graphc.runtime.config import Settings
from graphc.runtime.cuda import cublaslt
from graphc.runtime.cuda.bound import CudaBound
from graphc.runtime.cuda.device import device
from graphc.runtime.cuda.launches import GemmLaunch
from graphc.runtime.cuda.memory import GpuMemory
from graphc.runtime.cuda.once import run_repeatedly
from graphc.runtime.executable import CudaExecutable


def compile_for_gpu(program: Program, arch: str, settings: Settings) -> CudaExecutable:
    """`program` compiled for GPUs of an architecture such as "sm_90". Neither they nor cublasLt need be here, but where the settings leave
    the choice ("auto"), products are for the library if it is. ValueError for an architecture that there is no code for.
    """
    library = settings.products == "cublaslt" or (settings.products == "auto" and cublaslt.problem() is None)
    products = Products(library, exactly=settings.products == "auto", precision=settings.products_precision)
    return compile_cuda_program(program, settings.pipeline, gpu_for(arch), products, settings.verify)


class OnGpu:
    """A session's part of GPU number `ordinal` of the machine."""

    def __init__(self, ordinal: int, graph: Graph, settings: Settings) -> None:
        self.memory = GpuMemory(graph, device(ordinal), settings.memory_fraction)
        self._graph = graph
        self._verify = settings.verify

    def bind(self, executable: CudaExecutable) -> Runs:
        """`executable` with its memory here. ResourceExhaustedError where there is too little; InvalidArgumentError where it was compiled
        for cublasLt and this machine lacks it."""
        problem = cublaslt.problem()
        if problem is not None and any(isinstance(launch, GemmLaunch) for launch in executable.launches):
            raise InvalidArgumentError(None, None, f"ConfigProto(products='cublaslt'): {problem}")
        if verifying.wanted(self._verify):
            here = self.memory.workspace.device
            verifying.check().check_machine_code(
                executable.stages[0].program, lambda feeds, variables: run_repeatedly(executable, here, feeds, variables)[0])
        return CudaBound(executable, self._graph, self.memory.store, self.memory.workspace)
