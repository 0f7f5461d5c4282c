"""The memory of one session: its variables, which stay where they are, and the workspace that its executables take turns in.

`graphc.runtime.cuda.memory` has the like for a GPU."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from graphc.core.devices import KEPT, room_bytes
from graphc.core.dtypes import uint8
from graphc.core.errors import FailedPreconditionError, explain
from graphc.core.graph import Graph
from graphc.core.operation import Operation
from graphc.core.specialise import COUNTER, INITIALISED
from graphc.core.types import TensorType
from graphc.ops.random import first_run
from graphc.runtime.arena import aligned_empty, allocate_arena

Array = np.ndarray[Any, Any]
Memory = TypeVar("Memory")
_SHOWN = 6  # names of uninitialised variables in one error


class Store(ABC, Generic[Memory]):
    """Memory by variable name, and which variables have a value. Compiled plans write through pointers, so a variable stays where it is for
    the session's life."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._arrays: dict[str, Memory] = {}
        self.initialised: set[str] = set()
        self._flags: dict[str, tuple[Memory, TensorType]] = {}  # of variables whose state some program reads

    @abstractmethod
    def _allocate(self, name: str, type_: TensorType, first: int | None) -> Memory:
        """Memory for a variable, filled with `first` unless it is None; ResourceExhaustedError where there is too little."""

    @abstractmethod
    def _fill(self, memory: Memory, type_: TensorType, value: int) -> None:
        """Writes `value` everywhere, while nothing runs."""

    @abstractmethod
    def _read(self, memory: Memory, type_: TensorType) -> Array:
        """A copy of what is in `memory`, while nothing runs."""

    def value(self, name: str, type_: TensorType) -> Array:
        """A copy of a variable's value; of a counter that nobody has asked for, what it begins with. FailedPreconditionError for a
        variable without a value."""
        counted = None if name in self._arrays else self._counted(name)
        if counted is not None:
            return np.full(type_.dims, first_run(counted), type_.dtype.np_dtype)
        self.require([name])
        return self._read(self._arrays[name], type_)

    def array(self, name: str, type_: TensorType) -> Memory:
        """The memory of a variable, allocated when it is first asked for. A random operation's counter has a value from the start; of what
        is only kept during a run nobody asks whether it has."""
        if name not in self._arrays and name.endswith(INITIALISED):
            variable = name.removesuffix(INITIALISED)
            self._arrays[name] = self._allocate(name, type_, int(variable in self.initialised))
            self._flags[variable] = self._arrays[name], type_
        if name not in self._arrays:
            counted, shared = self._counted(name), room_bytes(name)
            type_ = TensorType(uint8, (shared,)) if shared else type_
            self._arrays[name] = self._allocate(name, type_, None if counted is None else first_run(counted))
            if counted is not None or name.startswith(KEPT):
                self.initialised.add(name)
        return self._arrays[name]

    def written(self, names: Iterable[str]) -> None:
        """Notes that these variables have values now."""
        for name in self._flags.keys() & (set(names) - self.initialised):
            self._fill(*self._flags[name], 1)
        self.initialised.update(names)

    def __contains__(self, name: str) -> bool:
        """Whether the variable has its memory."""
        return name in self._arrays

    def _counted(self, name: str) -> Operation | None:
        """The random operation whose runs `name` counts: a variable that no operation declares."""
        if name.startswith(KEPT):
            return None
        try:
            self._graph.get_operation_by_name(name)
        except KeyError:
            return self._graph.get_operation_by_name(name.removesuffix(COUNTER))
        return None

    def forget(self, names: Sequence[str]) -> None:
        """Forgets these variables, as if they had never been asked for."""
        for name in names:
            self._arrays.pop(name, None)
            self.initialised.discard(name)

    def clear(self) -> None:
        """Forgets every variable."""
        self._flags.clear()
        self._arrays.clear()
        self.initialised.clear()

    def require(self, names: Iterable[str]) -> None:
        """FailedPreconditionError that names the variables among `names` without a value, and the line that declared the first."""
        missing = [name for name in names if name not in self.initialised and not name.endswith(INITIALISED)]
        if not missing:
            return
        missing.sort(key=lambda name: self._graph.get_operation_by_name(name).id)
        operation = self._graph.get_operation_by_name(missing[0])
        others = f" (and {', '.join(missing[1:_SHOWN])}{', ...' if len(missing) > _SHOWN else ''})" if missing[1:] else ""
        problem = (f"Attempting to use uninitialized value {missing[0]}{others}: run its initializer first, "
                   "for instance graphc.global_variables_initializer()")
        raise FailedPreconditionError(None, operation, explain(operation, problem))


class VariableStore(Store[Array]):
    """Variables of a session on the CPU."""

    def _allocate(self, name: str, type_: TensorType, first: int | None) -> Array:
        array = aligned_empty(type_.dims, type_.dtype.np_dtype, f"variable {name}")
        if first is not None:
            self._fill(array, type_, first)
        return array

    def _fill(self, memory: Array, type_: TensorType, value: int) -> None:
        memory[...] = value

    def _read(self, memory: Array, type_: TensorType) -> Array:
        return memory.copy()


class Workspace:
    """Temporary memory that all executables of a session use in turns, each kind (arena, scratch) as large as the largest of them needs.

    When a kind grows it moves, and everybody who borrowed it is told the new place.
    """

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}
        self._borrowers: dict[int, list[Callable[[int, Array], None]]] = {}

    def lend(self, slot: int, nbytes: int, place: Callable[[int, Array], None]) -> None:
        """Gives at least `nbytes` to `place(slot, array)`, now and whenever the memory moves. ResourceExhaustedError changes nothing."""
        array = self._arrays.get(slot)
        if array is None or array.nbytes < nbytes:
            array = self._arrays[slot] = allocate_arena(nbytes)
            for borrower in self._borrowers.get(slot, ()):
                borrower(slot, array)
        self._borrowers.setdefault(slot, []).append(place)
        place(slot, array)

    def take_back(self, place: Callable[[int, Array], None]) -> None:
        """Forgets a borrower, which is told nothing any more."""
        for borrowers in self._borrowers.values():
            if place in borrowers:
                borrowers.remove(place)

    def clear(self) -> None:
        """Forgets the memory and its borrowers."""
        self._arrays.clear()
        self._borrowers.clear()
