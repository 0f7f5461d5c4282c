"""What stands behind one `Session.run`: a `Call` for each way of asking, a `Computation` for what is asked, a `Bound` for each shape of it.

    run(fetches, feed_dict) --keys--> Call --shapes of the feeds--> Bound: machine code and its memory

Ways of asking that mean the same (`run(y)`, `run([y])`, `run("y:0")`) share a Computation, and so what was compiled for it. Nothing here
takes locks: the session calls with its own held.
"""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core.errors import InvalidArgumentError, ResourceExhaustedError, explain
from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Program
from graphc.core.specialise import specialise
from graphc.core.static import ValueNeeded
from graphc.core.types import TensorType
from graphc.runtime import debug
from graphc.runtime.arena import check_memory, readable
from graphc.runtime.compile import compile_program, link
from graphc.runtime.config import Settings
from graphc.runtime.executable import NativeExecutable, Slots
from graphc.runtime.feeds import spread
from graphc.runtime.fetches import Assemble
from graphc.runtime.store import VariableStore, Workspace

Array = np.ndarray[Any, Any]
# Of each feed the shape, and the bytes where shapes depend on its value.
Shapes = tuple[tuple[tuple[int, ...], bytes | None], ...]


@dataclass(frozen=True)
class Surroundings:
    """What all computations of one session share."""

    graph: Graph
    settings: Settings
    store: VariableStore
    workspace: Workspace


class Bound:
    """An executable with its memory. `run(*feeds, *outputs)` gives None, or the position of the first array that does not fit.

    outputs: shape and dtype of each array that `run` fills. scalars: whether any of them is of rank 0, and wants unpacking.
    """

    def __init__(self, executable: NativeExecutable, around: Surroundings) -> None:
        store, slots = around.store, executable.slots
        self.executable = executable
        self.outputs = tuple((type_.dims, type_.dtype.np_dtype) for type_ in executable.fetches)
        self.scalars = any(not dims for dims, _ in self.outputs)
        self._reads = tuple(name for name, _ in executable.reads)
        self._writes = tuple(name for name, _ in executable.writes)
        _require_memory(executable, around)
        lasting = {slots.variable(name): store.array(name, type_) for name, type_ in (*executable.reads, *executable.writes)}
        lasting.update({slots.constant(n): np.ascontiguousarray(array) for n, array in enumerate(executable.constants)})
        linked = link(executable, lasting)
        around.workspace.lend(Slots.ARENA, executable.memory.arena_bytes, linked.place)
        around.workspace.lend(Slots.SCRATCH, executable.scratch_bytes, linked.place)
        self.run = linked.run
        self._store = store

    def require(self) -> None:
        """FailedPreconditionError where a variable that is read has no value."""
        self._store.require(self._reads)

    def written(self) -> None:
        """Notes that a run has given the written variables their values."""
        self._store.initialised.update(self._writes)

    def empty_outputs(self) -> list[Array]:
        return [np.empty(shape, dtype) for shape, dtype in self.outputs]

    def retire(self) -> None:
        """Lets nobody run this any more: every array is refused."""
        self.run = _refuse


def _refuse(*arrays: Array) -> int:
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


class Computation:
    """The graph elements to compute from the tensors fed, and what has been compiled for it: one Bound for each set of feed shapes."""

    def __init__(self, elements: Sequence[Tensor | Operation], feeds: Sequence[Tensor], around: Surroundings) -> None:
        self.elements = tuple(elements)
        self.feeds = tuple(feeds)
        self.last: Bound | None = None  # of the last run, where the shapes alone decide which it is
        self._around = around
        self._bounds: dict[Shapes, Bound] = {}
        self._by_value: set[int] = set()  # positions of the feeds whose values shapes depend on

    def bound(self, arrays: Sequence[Array]) -> Bound:
        """The Bound for feeds of these shapes, compiled now where there is none yet."""
        key = self._key(arrays)
        if key not in self._bounds:
            bound = self._compile(arrays)
            self._bounds[self._key(arrays)] = bound  # compiling may have found that values matter
            return bound
        return self._bounds[key]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs for feeds that have been checked and converted. Nothing has changed where this raises."""
        bound = self.bound(arrays)
        bound.require()
        outputs = bound.empty_outputs()
        refused = bound.run(*arrays, *outputs)
        if refused is not None:
            raise AssertionError(f"array {refused} of a run does not fit what was compiled for it")
        bound.written()
        self.last = None if self._by_value else bound
        return outputs

    def retire(self) -> None:
        for bound in self._bounds.values():
            bound.retire()
        self._bounds.clear()
        self.last = None

    def _key(self, arrays: Sequence[Array]) -> Shapes:
        return tuple([(array.shape, array.tobytes() if n in self._by_value else None) for n, array in enumerate(arrays)])

    def _compile(self, arrays: Sequence[Array]) -> Bound:
        settings = self._around.settings
        start = time.perf_counter()
        program = self._specialised(arrays)
        specialised = time.perf_counter()
        executable = compile_program(program, settings.pipeline, settings.threads)
        compiled = time.perf_counter()
        bound = Bound(executable, self._around)
        phases = {"specialise": (specialised - start) * 1e3, **executable.compile_ms, "link": (time.perf_counter() - compiled) * 1e3}
        debug.report(executable, [element.name for element in self.elements], self._cause(arrays), phases)
        return bound

    def _specialised(self, arrays: Sequence[Array]) -> Program:
        """The Program for the feeds' shapes, and for the values of those on which a shape turns out to depend."""
        types = {tensor: TensorType(tensor.dtype, array.shape) for tensor, array in zip(self.feeds, arrays, strict=True)}
        while True:
            values = {self.feeds[n]: arrays[n] for n in sorted(self._by_value)}
            try:
                return specialise(self.elements, types, values)
            except ValueNeeded as need:
                found = {n for n, tensor in enumerate(self.feeds) if tensor.name in need.parameters} - self._by_value
                if need.variables or not found:
                    raise self._value_unknown(need) from None
                self._by_value |= found

    def _value_unknown(self, need: ValueNeeded) -> InvalidArgumentError:
        name = (need.variables or need.parameters)[0].split(":")[0]
        operation = self._around.graph.get_operation_by_name(name)
        problem = f"A shape depends on the value of '{name}', which is only known while the graph runs: feed it, or make it a constant."
        return InvalidArgumentError(None, operation, explain(operation, problem))

    def _cause(self, arrays: Sequence[Array]) -> str:
        """Why this was compiled, in words."""
        if not self._bounds:
            return "new fetches" + (f" with {', '.join(t.name for t in self.feeds)} fed" if self.feeds else "")
        if self._by_value:
            shown = ", ".join(f"{self.feeds[n].name} = {np.array2string(arrays[n], threshold=6)}" for n in sorted(self._by_value))
            return f"a shape depends on a fed value, or a feed has a new shape: {shown}"
        seen = [{key[n][0] for key in self._bounds} for n in range(len(arrays))]
        new = [f"{t.name} {a.shape}" for t, a, shapes in zip(self.feeds, arrays, seen, strict=True) if a.shape not in shapes]
        return f"new shapes of feeds: {', '.join(new) or 'each seen before, but not together'}"


@dataclass(frozen=True)
class Call:
    """One way of asking: how the results are put into the structure of the fetches, and what computes them.

    keys: those of the feed_dict where some are structures whose values must be spread; None where each is one tensor. order: the position
    among the fed values of each of the computation's feeds; None where they come in its order.
    """

    assemble: Assemble
    computation: Computation
    keys: tuple[Any, ...] | None
    order: tuple[int, ...] | None

    def values(self, given: Iterable[Any]) -> Sequence[Any]:
        """The value for each of the computation's feeds, of the values `given` for each key."""
        values = tuple(given if self.keys is None else self._spread(given))
        return values if self.order is None else [values[position] for position in self.order]

    def _spread(self, given: Iterable[Any]) -> Iterator[Any]:
        for key, value in zip(self.keys or (), given, strict=True):
            yield from spread(key, value)
