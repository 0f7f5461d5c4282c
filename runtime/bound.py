"""An executable with its memory in a session: `Runs`, what there is of every kind; `Bound` for a CPU, and the `Surroundings` that it needs.

`graphc.runtime.cuda.bound` has the like for a GPU, `graphc.runtime.placed` for several devices: `calls.py` asks no more of any than `Runs`.
"""
from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core.devices import KEPT, room_bytes
from graphc.core.errors import InvalidArgumentError, ResourceExhaustedError, explain
from graphc.core.graph import Graph
from graphc.core.program import Node
from graphc.runtime.arena import check_memory, readable
from graphc.runtime.compile import Linked, link, link_timed
from graphc.runtime.config import Settings
from graphc.runtime.executable import DeviceExecutable, Executable, NativeExecutable, Slots
from graphc.runtime.recorder import COMPILE, COPY, Moved, Recorder
from graphc.runtime.store import Store, VariableStore, Workspace

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Surroundings:
    """A session's part of this machine's CPU: all its executables there share it."""

    graph: Graph
    settings: Settings
    store: VariableStore
    workspace: Workspace


class Runs(ABC):
    """An executable that can be run in its session, over and over.

    outputs: shape and dtype of each array that `run` fills. scalars: whether any of them is of rank 0, and wants unpacking. run:
    `run(*feeds, *outputs)` gives None, or the position of the first array that does not fit; then nothing has run. counted: the runs of one
    that is written in Python.
    """

    run: Callable[..., int | None]

    def __init__(self, executable: Executable) -> None:
        self.executable = executable
        self.outputs = tuple((type_.dims, type_.dtype.np_dtype) for type_ in executable.fetches)
        self.scalars = any(not dims for dims, _ in self.outputs)
        self.counted = 0

    @property
    def runs(self) -> int:
        """How often it was run."""
        return self.counted

    @abstractmethod
    def recorded(self, recorder: Recorder, *arrays: Any) -> int | None:
        """What `run(*arrays)` does, bit for bit; `recorder` is told when each step began and ended."""

    @abstractmethod
    def require(self) -> None:
        """FailedPreconditionError where a variable that is read has no value."""

    @abstractmethod
    def written(self) -> None:
        """Notes that a run has given the written variables their values."""

    def empty_outputs(self) -> list[Array]:
        """Arrays for `run` to fill."""
        return [np.empty(shape, dtype) for shape, dtype in self.outputs]

    def retire(self) -> None:
        """Lets nobody run this any more: every array is refused."""
        self.run = refuse


class OneDevice(Runs):
    """One that runs on one device, where `store` has its variables."""

    def __init__(self, executable: DeviceExecutable, store: Store[Any]) -> None:
        super().__init__(executable)
        self._store = store
        self._reads = tuple(name for name, _ in executable.reads)
        self._writes = tuple(name for name, _ in executable.writes)

    def require(self) -> None:
        self._store.require(self._reads)

    def written(self) -> None:
        self._store.written(self._writes)

    def retire(self) -> None:
        """Also frees what it alone leaves for others of the same run."""
        super().retire()
        self._store.forget([name for name in self._writes if name.startswith(KEPT) and not room_bytes(name)])


class Bound(OneDevice):
    """An executable with its memory on a CPU."""

    executable: NativeExecutable

    def __init__(self, executable: NativeExecutable, around: Surroundings) -> None:
        super().__init__(executable, around.store)
        self._around = around
        _require_memory(executable, around)
        self._borrowers: list[Linked] = []
        self._timed: tuple[Linked, Array] | None = None  # the same with a clock, made when first asked for
        self.run = self._at_work(link(executable, self._lasting(), self._worded)).run

    @property
    def runs(self) -> int:
        return sum(int(linked.runs) for linked in self._borrowers)

    def recorded(self, recorder: Recorder, *arrays: Any) -> int | None:
        if self.run is refuse:
            return refuse()
        if self._timed is None:
            with recorder.during(COMPILE, "a plan with a clock"):
                linked, moments = link_timed(self.executable, self._around.settings.threads, self._lasting(), self._worded)
                self._timed = self._at_work(linked), moments
        linked, moments = self._timed
        refused = linked.run(*arrays)
        if refused is None:
            recorder.steps(self._steps, len(self.executable.kernels), moments.tolist())
        return refused

    @functools.cached_property
    def _steps(self) -> list[int | Moved]:
        """What the plan does, in order: kernels, then copies."""
        copies = [Moved(COPY, str(variable.key), size) for _, variable, size in self.executable.plan.copies]
        return [*range(len(self.executable.kernels)), *copies]

    def _lasting(self) -> dict[int, Array]:
        """What stays from run to run, by slot: variables and constants."""
        executable, slots, store = self.executable, self.executable.slots, self._around.store
        variables = {slots.variable(name): store.array(name, type_) for name, type_ in (*executable.reads, *executable.writes)}
        return variables | {slots.constant(n): np.ascontiguousarray(array) for n, array in enumerate(executable.constants)}

    def _at_work(self, linked: Linked) -> Linked:
        """`linked` with the session's temporary memory."""
        self._around.workspace.lend(Slots.ARENA, self.executable.memory.arena_bytes, linked.place)
        self._around.workspace.lend(Slots.SCRATCH, self.executable.scratch_bytes, linked.place)
        self._borrowers.append(linked)
        return linked

    def retire(self) -> None:
        super().retire()
        for linked in self._borrowers:
            self._around.workspace.take_back(linked.place)
        self._timed = None

    def _worded(self, step: Node, error: ValueError) -> InvalidArgumentError:
        """What a function of the host says of its operands, as the user's operation and line."""
        names = [origin.operation for origin in self.executable.program.origins.get(step, ())[:1]]
        operation = next((each for each in self._around.graph.get_operations() if each.name in names), None)
        return InvalidArgumentError(None, operation, explain(operation, str(error)))


def refuse(*arrays: Array) -> int:
    """What runs where nothing may."""
    return 0


def _require_memory(executable: NativeExecutable, around: Surroundings) -> None:
    """ResourceExhaustedError, naming the operation that needs most, unless there is memory for all that a run will allocate."""
    variables = {name: type_.nbytes for name, type_ in (*executable.reads, *executable.writes) if name not in around.store}
    program = executable.program
    results = [(node.type.nbytes, origin.operation) for node in program.outputs for origin in program.origins.get(node, ())[:1]]
    buffers = [(buffer.size, buffer.values[0].split(", ")[0]) for buffer in executable.memory.buffers]
    try:
        check_memory(executable.memory.arena_bytes + sum(t.nbytes for t in executable.fetches) + sum(variables.values()), "a run")
    except ResourceExhaustedError as error:
        nbytes, name = max([*results, *buffers, *((size, name) for name, size in variables.items())])
        operation = next((each for each in around.graph.get_operations() if each.name == name.split(":")[0]), None)
        problem = explain(operation, error.message, f"which alone needs {readable(nbytes)}")
        raise ResourceExhaustedError(None, operation, problem) from None
