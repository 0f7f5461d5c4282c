"""A Program on a GPU: compiled as the session's settings say, and given memory on the device. `targets.py` asks when a GPU is asked for."""
from __future__ import annotations

from graphc.codegen.gpu import gpu_for
from graphc.core.errors import InvalidArgumentError
from graphc.core.graph import Graph
from graphc.core.program import Program
from graphc.runtime.bound import Runs
from graphc.runtime.compile_cuda import Products, compile_cuda_program
from graphc.runtime.config import Settings
from graphc.runtime.cuda import cublaslt
from graphc.runtime.cuda.bound import CudaBound
from graphc.runtime.cuda.device import device
from graphc.runtime.cuda.memory import GpuMemory
from graphc.runtime.executable import CudaExecutable


def compile_for_gpu(program: Program, arch: str, settings: Settings) -> CudaExecutable:
    """`program` compiled for GPUs of an architecture such as "sm_90", which need not be there.

    ValueError for one that there is no code for; InvalidArgumentError where the settings want cublasLt and this machine lacks it.
    """
    return compile_cuda_program(program, settings.pipeline, gpu_for(arch), _products(settings))


def _products(settings: Settings) -> Products:
    problem = None if settings.products == "generated" else cublaslt.problem()
    if settings.products == "cublaslt" and problem is not None:
        raise InvalidArgumentError(None, None, f"ConfigProto(products='cublaslt'): {problem}")
    return Products(library=settings.products != "generated" and problem is None, exactly=settings.products == "auto",
                    precision=settings.products_precision)


class OnGpu:
    """A session's part of GPU number `ordinal` of the machine."""

    def __init__(self, ordinal: int, graph: Graph) -> None:
        self.memory = GpuMemory(graph, device(ordinal))
        self._graph = graph

    def bind(self, executable: CudaExecutable) -> Runs:
        """`executable` with its memory here; ResourceExhaustedError where there is too little."""
        return CudaBound(executable, self._graph, self.memory.store, self.memory.workspace)
