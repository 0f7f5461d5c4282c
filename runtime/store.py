"""The variables of one session: their memory, which never moves, and which of them have a value."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.core.dtypes import uint64
from graphc.core.errors import FailedPreconditionError, explain
from graphc.core.graph import Graph
from graphc.core.specialise import COUNTER
from graphc.core.types import TensorType
from graphc.runtime.arena import aligned_empty

Array = np.ndarray[Any, Any]


class VariableStore:
    """Arrays by variable name. Compiled plans write through pointers, so an array stays where it is for the session's life."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._arrays: dict[str, Array] = {}
        self._types: dict[str, TensorType] = {}
        self.initialised: set[str] = set()

    def array(self, name: str, type_: TensorType) -> Array:
        """The memory of a variable, allocated when it is first asked for. A random operation's counter begins with 0."""
        if name not in self._arrays:
            self._arrays[name] = aligned_empty(type_.dims, type_.dtype.np_dtype, f"variable {name}")
            self._types[name] = type_
            if name.endswith(COUNTER) and type_ == TensorType(uint64, ()):
                self._arrays[name][...] = 0
                self.initialised.add(name)
        return self._arrays[name]

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self.initialised]

    def require(self, names: Iterable[str]) -> None:
        """FailedPreconditionError that names every variable among `names` without a value, and the line that made the first."""
        missing = self.missing(names)
        if not missing:
            return
        operation = self._graph.get_operation_by_name(missing[0])
        others = f" (and {', '.join(missing[1:6])}{', ...' if len(missing) > 6 else ''})" if missing[1:] else ""
        problem = (f"Attempting to use uninitialized value {missing[0]}{others}: run its initializer first, "
                   "for instance graphc.global_variables_initializer()")
        raise FailedPreconditionError(None, operation, explain(operation, problem))
