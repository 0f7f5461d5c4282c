"""Folds: what it takes to compute a reducing node in a loop. Used by `lower_values` (how) and `lower_nest` (when).

A reduction is one fold. The first position of an extreme is two: the extreme itself, then the least position where it stands. 16-bit floats
are accumulated in float32 and rounded once at the end.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.codegen.lower_index import Index
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.loops import ArgReduce, Contract, Reduce
from graphc.core.program import Node

_OF_BOOL = {"maximum": "or", "minimum": "and", "add": "or", "multiply": "and"}


@dataclass(frozen=True)
class Fold:
    """combine: the accumulator's operation; dtype: its type; extents: the reduced dims; axes: where they stand in operand 0.

    is_extreme: the first of an ArgReduce's two folds.
    """

    node: Node
    combine: str
    dtype: DType
    extents: tuple[int, ...]
    axes: tuple[int, ...] = ()
    is_extreme: bool = False

    @property
    def name(self) -> str:
        """The stem of the accumulator's name."""
        return {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}.get(self.combine, self.combine)

    @property
    def identity(self) -> int | float | bool:
        """The value that combines to the other: 0, 1, or the end of the type's range (infinite for floats)."""
        return identity(self.combine, self.dtype)

    def operand_index(self, index: tuple[Index, ...], reduced: tuple[Index, ...]) -> tuple[Index, ...]:
        """The index of operand 0 at output index `index` and reduced index `reduced`."""
        kept, inner = iter(index), dict(zip(self.axes, reduced, strict=True))
        return tuple(inner[axis] if axis in inner else next(kept) for axis in range(len(self.node.operands[0].dims)))


def identity(combine: str, dtype: DType) -> int | float | bool:
    """The value of `dtype` that `combine` leaves the other operand as it is with."""
    if combine in ("or", "and"):
        return combine == "and"
    if combine in ("add", "multiply"):
        one = int(combine == "multiply")
        return float(one) if dtype.is_floating else one
    if dtype.is_floating:
        return -math.inf if combine == "maximum" else math.inf
    return int(dtype.min if combine == "maximum" else dtype.max)


def folds_of(node: Node) -> tuple[Fold, ...]:
    """The folds that compute `node`, in order; none for a node that does not reduce."""
    form = node.primitive.loop
    match form:
        case Reduce():
            axes = tuple(node.attrs.axes)
            dims = node.operands[0].dims
            return (_fold(node, form.combine, tuple(dims[a] for a in axes), axes),)
        case ArgReduce():
            axis = node.attrs.axis
            extents = (node.operands[0].dims[axis],)
            extreme = _fold(node, form.combine, extents, (axis,), is_extreme=True)
            return extreme, Fold(node, "minimum", node.dtype, extents, (axis,))
        case Contract():
            dims = node.operands[0].dims
            return (_fold(node, "add", tuple(dims[a] for a in node.attrs.lhs_contract), ()),)
    return ()


def _fold(node: Node, combine: str, extents: tuple[int, ...], axes: tuple[int, ...], is_extreme: bool = False) -> Fold:
    dtype = node.operands[0].dtype
    return Fold(node, combiner(combine, dtype), accumulator_dtype(dtype), extents, axes, is_extreme)


def combiner(combine: str, dtype: DType) -> str:
    """What combines values of `dtype`: on bool "or" is maximum, "and" is minimum."""
    return _OF_BOOL[combine] if dtype.is_bool else combine


def accumulator_dtype(dtype: DType) -> DType:
    """float32 for the 16-bit floats, else the type itself."""
    return dtypes.float32 if dtype.is_floating and dtype.size == 2 else dtype
