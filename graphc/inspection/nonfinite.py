"""`NonFinite`: what `Session.find_nan` found, as values and as a text of few lines. `numerics.py` makes it."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core.operation import Operation
from graphc.core.types import TensorType

Array = np.ndarray[Any, Any]
Index = tuple[int, ...]
BESIDE = 2  # elements shown on either side of a place
_MOST_INPUTS, _MOST_STEPS = 10, 8  # lines of inputs, operations on the way


@dataclass(frozen=True)
class Values:
    """A value as a report shows it. low, high: of the finite elements, None where there are none (or no order). bad: how many elements are
    NaN or infinite. place: which of its elements the non-finite one is made of, "" where that is nothing in particular; shown: them,
    with their neighbours where it is one."""

    name: str
    type: TensorType
    low: Any
    high: Any
    bad: int
    place: str
    shown: str

    def __str__(self) -> str:
        text = f"{self.name} {self.type}"
        if self.type.size == 1:
            return f"{text} = {self.shown}"
        if self.low is not None:
            text += f" from {number(self.low)} to {number(self.high)}"
        if self.type.dtype.is_inexact:
            text += f", {self.bad} of {self.type.size} not finite" if self.bad else ", all finite"
        return f"{text}; at {self.place}: {self.shown}" if self.place else text


@dataclass(frozen=True)
class NonFinite:
    """Where a NaN or an infinity first came from, of those that are in the results of a run.

    kind: "operation" (made of finite values), "feed" (fed by the user), "variable" (there before the run). name: of the operation, the
    fed tensor or the variable. operation: that one, or the one that declares it. primitive: the step inside the operation; formula: what it
    did. index, value: of the first bad element of `count` among `size`. step: for a walk along an axis (axis, place in the order walked
    counted from 0, length). inputs: of the operation. way: the operations that handed it on; goal: where it arrives ("loss:0", "variable
    'w'"), "" where nothing but masked arms see it; lost: then, the operation that leaves it out. others: how many more operations make such
    values of finite ones.
    """

    kind: str
    name: str
    operation: Operation | None
    primitive: str
    formula: str
    index: Index
    value: Any
    count: int
    size: int
    step: tuple[int, int, int] | None
    inputs: tuple[Values, ...]
    way: tuple[str, ...]
    goal: str
    lost: str
    others: int

    @property
    def what(self) -> str:
        """NaN, +inf or -inf."""
        return "NaN" if np.isnan(self.value) else "-inf" if np.real(self.value) == -np.inf else "+inf"

    def __str__(self) -> str:
        lines = [self._headline(), *self._declared(), *(["  " + self._made()] if self.kind == "operation" else [])]
        if self.kind != "operation":
            lines += [f"  at {places(self.index)}: {values.shown}" for values in self.inputs if self.size > 1]
        elif self.inputs:
            lines.append("  of its inputs")
            lines += [f"    {values}" for values in self.inputs[:_MOST_INPUTS]]
            lines += [f"    and {len(self.inputs) - _MOST_INPUTS} more"] if len(self.inputs) > _MOST_INPUTS else []
        lines.append("  " + self._path())
        if self.others:
            lines.append(f"  {self.others} other operation{'s' * (self.others > 1)} also made such values of finite ones")
        return "\n".join(lines)

    def _headline(self) -> str:
        amount = f": {self.count} of {self.size} elements" if self.size > 1 else ""
        if self.kind == "feed":
            return f"{self.what} in the value fed for '{self.name}'{amount}"
        if self.kind == "variable":
            return f"{self.what} in variable '{self.name}' before the run{amount}"
        kind = "" if self.operation is None else f" ({self.operation.type})"
        return f"{self.what} first made by operation '{self.name}'{kind}{amount}"

    def _declared(self) -> list[str]:
        operation = self.operation
        if operation is None:
            return []
        lines = [f"  declared at {operation.source_line.describe()}"]
        forward = operation.gradient_of
        if forward is not None:
            lines.append(f"  as gradient of '{forward.name}', declared at {forward.source_line.describe()}")
        variables = [tensor.op for tensor in operation.inputs[:1] if tensor.op.type == "VariableV2"]
        lines += [f"  for variable '{variable.name}', declared at {variable.source_line.describe()}" for variable in variables]
        return lines

    def _made(self) -> str:
        place = f" at {places(self.index)}" if self.index else ""
        if self.step is not None:
            axis, step, length = self.step
            place += f", step {step + 1} of {length} along axis {axis}"
        made_by = "a function of Python's" if self.primitive == "parameter" else self.primitive
        return f"by {made_by}{place}: {self.formula}"

    def _path(self) -> str:
        way = list(self.way)
        if len(way) > _MOST_STEPS:
            half = _MOST_STEPS // 2
            way[half:-half] = [f"({len(way) - 2 * half} more)"]
        through = f" through {' -> '.join(way)}" if way else ""
        if self.goal:
            return f"reaches {self.goal}{through}"
        return f"reaches no result{through}: {f'masked by {self.lost}' if self.lost else 'nothing reads it'}"


def describe(name: str, type_: TensorType, value: Any, mask: Any = None) -> Values:
    """`value` under `name`. mask: which of its elements matter, None where nobody knows."""
    array = np.asarray(value)
    low = high = None
    bad = 0
    if type_.dtype.is_inexact:
        finite = np.isfinite(array)
        bad = int(array.size - np.count_nonzero(finite))
        if not type_.dtype.is_complex and finite.any():
            low, high = array[finite].min(), array[finite].max()
    elif not type_.dtype.is_bool and array.size:
        low, high = array.min(), array.max()
    if array.size == 1:
        return Values(name, type_, low, high, bad, "", number(array.reshape(-1)[0]))
    wanted = 0 if mask is None else int(np.count_nonzero(mask))
    if wanted in (0, array.size):
        return Values(name, type_, low, high, bad, "", "")
    if wanted == 1:
        (place,) = np.argwhere(mask)
        index = tuple(map(int, place))
        return Values(name, type_, low, high, bad, places(index), _around(array, index))
    return Values(name, type_, low, high, bad, _box(np.asarray(mask)), spread_of(array[mask]))


def spread_of(elements: Array) -> str:
    """Some elements in words: "0 to 3, 1 of 12 not finite"."""
    ordered = elements.dtype.kind != "c" and elements.dtype != np.bool_
    finite = elements[np.isfinite(elements)] if elements.dtype != np.bool_ else elements
    bad = f"{elements.size - finite.size} of {elements.size} not finite"
    if not finite.size or not ordered:
        return bad if finite.size < elements.size else f"{elements.size} elements"
    text = f"{number(finite.min())} to {number(finite.max())}"
    return text if finite.size == elements.size else f"{text}, {bad}"


def _around(array: Array, index: Index) -> str:
    """The element at `index`, marked, among its neighbours along the last axis."""
    *before, place = index
    row = array[tuple(before)]
    start, end = max(0, place - BESIDE), min(len(row), place + BESIDE + 1)
    shown = [f">{number(row[n])}<" if n == place else number(row[n]) for n in range(start, end)]
    return " ".join(["..."] * (start > 0) + shown + ["..."] * (end < len(row)))


def _box(mask: Array) -> str:
    """The smallest box around the elements of `mask`: "[3, :, 2:5]"."""
    sides = []
    for axis, length in enumerate(mask.shape):
        found = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        start, end = int(found[0]), int(found[-1]) + 1
        sides.append(":" if end - start == length else str(start) if end - start == 1 else f"{start}:{end}")
    return f"[{', '.join(sides)}]"


def places(index: Index) -> str:
    return f"[{', '.join(map(str, index))}]"


def number(value: Any) -> str:
    """One element in few digits."""
    if isinstance(value, np.bool_ | bool | np.integer | int):
        return str(value)
    return f"{complex(value):.6g}" if isinstance(value, np.complexfloating) else f"{float(value):.6g}"
