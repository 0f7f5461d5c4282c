"""Runs a CudaExecutable on given values, without a session: for tests and checks. The GPU's `runtime.compile.run_once`."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.core.graph import Graph
from graphc.core.operation import Operation
from graphc.runtime.cuda.bound import CudaBound
from graphc.runtime.cuda.device import CudaDevice
from graphc.runtime.cuda.memory import DeviceStore, DeviceWorkspace
from graphc.runtime.executable import CudaExecutable

Array = np.ndarray[Any, Any]
Results = tuple[list[Array], dict[str, Array]]  # outputs, and the new values of the written variables


class _GivenVariables(DeviceStore):
    """Variables whose values come from outside: no graph declares them."""

    def _counted(self, name: str) -> Operation | None:
        return None


def run_repeatedly(executable: CudaExecutable, device: CudaDevice, feeds: Sequence[Any], variables: Mapping[str, Array], runs: int = 1,
                   ) -> list[Results]:
    """What each of `runs` runs gives, every one from the values `variables` again, in memory of their own: the first goes launch by launch,
    the second is recorded, the others are replayed. feeds: of the executable's types, in order. Raises what a run raises."""
    store, workspace = _GivenVariables(Graph(), device), DeviceWorkspace(device)
    try:
        bound = CudaBound(executable, Graph(), store, workspace)
        return [_run(bound, feeds, {name: variables[name] for name, _ in executable.reads}) for _ in range(runs)]
    finally:
        workspace.clear()
        store.clear()


def _run(bound: CudaBound, feeds: Sequence[Any], variables: Mapping[str, Array]) -> Results:
    with bound.device.current as here:
        for name, array in variables.items():
            here.upload(bound.variable(name), np.ascontiguousarray(array))
    outputs = bound.empty_outputs()
    refused = bound.run(*feeds, *outputs)
    if refused is not None:
        raise ValueError(f"feed {refused} is not of the type that the executable was made for")
    state = {name: np.empty(type_.dims, type_.dtype.np_dtype) for name, type_ in bound.executable.writes}
    with bound.device.current as here:
        for name, array in state.items():
            here.download(bound.variable(name).address, array)
    return outputs, state
