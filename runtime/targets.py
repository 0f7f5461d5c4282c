"""What a session has on each device: compiles Programs for them, and gives what results its memory. Knows which kinds of devices there are.

The GPU's part (`targets_cuda.py`) is loaded when a GPU is first asked for: sessions on a CPU need neither its time nor its packages.
"""
from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.core.devices import KEPT
from graphc.core.graph import Graph
from graphc.core.program import Program
from graphc.core.specialise import INITIALISED
from graphc.core.types import TensorType
from graphc.runtime.bound import Bound, Runs, Surroundings
from graphc.runtime.compile import compile_program
from graphc.runtime.config import Settings
from graphc.runtime.executable import CudaExecutable, DeviceExecutable, NativeExecutable
from graphc.runtime.placement import Device
from graphc.runtime.store import Store, VariableStore, Workspace

if TYPE_CHECKING:
    from graphc.runtime.targets_cuda import OnGpu


def compile_for_target(target: str, program: Program, settings: Settings) -> DeviceExecutable:
    """`program` compiled for "cpu", this machine's, or for a GPU's architecture such as "sm_90", which need not be here. ValueError for a
    target that is none."""
    if target == "cpu":
        return compile_program(program, settings.pipeline, settings.threads, settings.verify)
    made: DeviceExecutable = _cuda().compile_for_gpu(program, target, settings)
    return made


class Targets:
    """The devices of one session, from the side of code and memory."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self.settings = settings
        self._graph = graph
        self._host = Surroundings(graph, settings, VariableStore(graph), Workspace())
        self._gpus: dict[int, OnGpu] = {}  # by the machine's number

    def compile(self, program: Program, device: Device) -> DeviceExecutable:
        """`program` for `device`."""
        return compile_for_target(device.arch or "cpu", program, self.settings)

    def bind(self, executable: DeviceExecutable, device: Device) -> Runs:
        """`executable` with its memory on `device`, ready to run. ResourceExhaustedError where there is too little."""
        if isinstance(executable, NativeExecutable):
            return Bound(executable, self._host)
        assert isinstance(executable, CudaExecutable)
        if device.physical not in self._gpus:
            self._gpus[device.physical] = _cuda().OnGpu(device.physical, self._graph, self.settings)
        return self._gpus[device.physical].bind(executable)

    @property
    def variables(self) -> VariableStore:
        """Those on the CPU."""
        return self._host.store

    def values(self, variables: Mapping[str, TensorType]) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the values of `variables`, wherever they are. FailedPreconditionError for one without a value."""
        stores: list[Store[Any]] = [self.variables, *(gpu.memory.store for gpu in self._gpus.values())]
        found = {}
        for name, type_ in variables.items():
            if name.endswith(INITIALISED):
                found[name] = np.asarray(name.removesuffix(INITIALISED) in self.initialised)
            else:
                found[name] = next((store for store in stores if name in store), stores[0]).value(name, type_)
        return found

    @property
    def initialised(self) -> set[str]:
        """The variables that have a value, wherever they are."""
        found = self.variables.initialised.union(*(gpu.memory.store.initialised for gpu in self._gpus.values()))
        return {name for name in found if not name.startswith(KEPT)}

    def clear(self) -> None:
        """Frees the memory on every device."""
        for gpu in self._gpus.values():
            gpu.memory.clear()
        self._gpus.clear()
        self._host.store.clear()
        self._host.workspace.clear()


def _cuda() -> Any:
    return importlib.import_module("graphc.runtime.targets_cuda")
