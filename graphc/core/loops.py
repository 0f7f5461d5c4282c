"""Loop forms: what a primitive computes, said as data from a closed set. `codegen.lower` turns them into kernel IR.

A primitive names its loop form when it is declared, so `graphc.primitives` never imports `codegen`, and every target lowers the same few.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphc.core.types import TensorType

if TYPE_CHECKING:
    from graphc.core.program import Node


@dataclass(frozen=True)
class Map:
    """Element by element: output[i] = op(operand0[i], operand1[i], ...). `op` is a name of the elementwise vocabulary, or a function
    from the attributes to one (`compare` has the direction in its attributes)."""

    op: str | Callable[[Any], str]


@dataclass(frozen=True)
class Reduce:
    """Combine over `attrs.axes` with "add", "multiply", "maximum" or "minimum" (on bool: "or" is maximum, "and" is minimum)."""

    combine: str


@dataclass(frozen=True)
class ArgReduce:
    """The first position along `attrs.axis` of the "maximum" or "minimum" (the first NaN where there is one)."""

    combine: str


@dataclass(frozen=True)
class Piece:
    """One source of a view: `operand[index]` for the output positions where lo <= expr < hi holds for every (expr, lo, hi) of `where`."""

    operand: int
    index: tuple[Any, ...]
    where: tuple[tuple[Any, int, int], ...] = ()


@dataclass(frozen=True)
class View:
    """A change of indices without arithmetic. `index_map(attrs, operand_types, out_index)` gives the pieces; the first whose ranges
    hold is read.

    `out_index` holds one index per output dim: plain ints, or any objects with + - * // % by ints; nothing else is done with them.
    """

    index_map: Callable[[Any, tuple[TensorType, ...], tuple[Any, ...]], Sequence[Piece]]


@dataclass(frozen=True)
class Fill:
    """Made from nothing or from scalars: "constant", "iota", "random_bits"."""

    kind: str


@dataclass(frozen=True)
class Gather:
    """Rows of operand 0 along `attrs.axis` chosen by the indices in operand 1; an index out of range gives zero."""


@dataclass(frozen=True)
class Scatter:
    """Rows of operand 2 combined by `attrs.combine` into operand 0 along `attrs.axis` at the indices in operand 1, one after the other; an
    index out of range is dropped."""


@dataclass(frozen=True)
class Scan:
    """Along `attrs.axis`, from its first element or (`attrs.reverse`) its last, a value carried from element to element. combine: "add",
    "multiply", "maximum", "minimum", "log_add_exp" (`attrs.exclusive`: results are those before the element), or "linear": operand 0
    times the carried value, plus operand 1."""

    combine: str


@dataclass(frozen=True)
class Sort:
    """One step of sorting rows. "count": the digits of each chunk of each row of keys. "place": each key put where its digit's turn is.
    "invert": the position of each element put at the place that the element names."""

    step: str


@dataclass(frozen=True)
class DynamicSlice:
    """The box of operand 0 that starts at the other operands, one scalar an axis, clamped so that it lies inside."""


@dataclass(frozen=True)
class DynamicUpdate:
    """Operand 0 with operand 1 over the box that starts at the other operands, clamped so that it lies inside."""


@dataclass(frozen=True)
class Contract:
    """dot_general: batch, free and contracting dims from the attributes."""


@dataclass(frozen=True)
class Expanded:
    """No loops of its own: `expand(node)` gives the node, of other primitives, in its place. `graphc.passes.expand` puts it there first of
    all, so that rules and fusion see what it is made of, while gradients and dumps of what was declared see the primitive."""

    expand: Callable[[Node], Node]


@dataclass(frozen=True)
class State:
    """Reads or writes something that outlives the run: "parameter", "variable_read", "variable_assign"."""

    kind: str


@dataclass(frozen=True)
class Region:
    """Holds a Program of its own: "fusion"; or picks from one: "get_tuple_element"."""

    kind: str


@dataclass(frozen=True)
class Extern:
    """No loop of ours: a function of the host (LAPACK, say), which a plan calls in its turn, between kernels. It is the primitive's own
    `reference`; ValueError from it is an error of the values, which the user gets as InvalidArgumentError.

    function: what it calls, for people to read. flops: (attributes, *operand types) -> about how many operations.
    """

    function: str
    flops: Callable[..., int]


@dataclass(frozen=True)
class OfParts:
    """Of complex numbers alone: `graphc.passes.real` puts in its place what it is of their real and imaginary parts."""


@dataclass(frozen=True)
class Reinterpret:
    """The operand's memory, taken for another type of as many bytes: nothing is computed."""


LoopForm = (Map | Reduce | ArgReduce | View | Fill | Gather | Scatter | Scan | Sort | DynamicSlice | DynamicUpdate | Contract
            | Expanded | State | Region | Extern | OfParts | Reinterpret)
