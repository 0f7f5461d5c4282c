"""Distinct values of a vector: unique, unique_with_counts, setdiff1d. All by sorting once; equal values then stand side by side.

The sizes of the results depend on values: an expansion asks for them by `holding`, and a run that meets them goes on in a second stage.
"""
from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dim, TensorType, show_dims
from graphc.ops.declare import declare
from graphc.ops.parts import undetermined
from graphc.ops.selecting import holding
from graphc.primitives.sugar import fill_like


class Unique(NamedTuple):
    """y: the distinct values in the order of their first appearance. idx: for each element of x its place in y."""

    y: Tensor
    idx: Tensor


# y: the distinct values in the order of their first appearance. idx: for each element of x its place in y. count: how often each is there.
UniqueWithCounts = namedtuple("UniqueWithCounts", ("y", "idx", "count"))


class ListDiff(NamedTuple):
    """out: the elements of x that y does not have. idx: where they stand in x."""

    out: Tensor
    idx: Tensor


@dataclass(frozen=True)
class Groups:
    """The equal elements of a vector. first: for each element the position of the first that equals it. is_first: whether it is that."""

    first: Node
    is_first: Node


def groups(x: Node) -> Groups:
    """The groups of equal elements of the vector `x`; NaN equals nothing."""
    (size,) = x.dims
    order = p.argsort(x, 0)
    ranked = p.rearrange(x, order, 0, True)
    place = p.iota((size,), 0, dtypes.int32)
    before = p.pad(ranked, p.constant(0, x.dtype), (1,), (-1,)) if size else ranked
    starts = p.or_(p.compare(place, fill_like(place, 0), "EQ"), p.compare(ranked, before, "NE"))
    begin = p.cumulative_max(p.select(starts, place, fill_like(place, 0)), 0)  # in the sorted order, where each element's group begins
    # A sort is stable: a group begins with its first element.
    first = p.rearrange(p.gather(order, begin, 0), p.invert_permutation(order), 0, True)
    return Groups(first, p.compare(first, place, "EQ"))


def _distinct(x: Node, dtype: DType) -> tuple[Node, Node, Node]:
    """(positions of the first appearances in x, each element's place among them, how often each appears)."""
    if len(x.shape) != 1:
        raise ValueError(f"x must be a vector, got shape {show_dims(x.shape)}")
    (size,) = x.shape
    if size is None:
        return undetermined(p.iota((1,), 0, dtypes.int32), (None,)), _unknown(dtype, size), _unknown(dtype, None)
    found = groups(x)
    ones = p.convert(found.is_first, dtype)
    number = p.subtract(p.cumulative_sum(ones, 0), ones)
    place = p.gather(number, found.first, 0)
    firsts = holding(found.is_first)
    count = firsts.shape[0]
    if count is None:
        return firsts, place, _unknown(dtype, None)
    counts = p.scatter_add(p.full(0, TensorType(dtype, (count,))), place, p.full(1, place.type))
    return firsts, place, counts


def _unknown(dtype: DType, size: Dim) -> Node:
    return p.parameter("?unknown", TensorType(dtype, (size,)))


def _taken(x: Node, where: Node) -> Node:
    return undetermined(x, where.shape) if None in (*x.shape, *where.shape) else p.gather(x, where, 0)


@composite("Unique", gradient=False)
def UNIQUE(x: Node, *, out_idx: DType = dtypes.int32) -> tuple[Node, Node]:
    firsts, place, _ = _distinct(x, out_idx)
    return _taken(x, firsts), place


@composite("UniqueWithCounts", gradient=False)
def UNIQUE_WITH_COUNTS(x: Node, *, out_idx: DType = dtypes.int32) -> tuple[Node, Node, Node]:
    firsts, place, counts = _distinct(x, out_idx)
    return _taken(x, firsts), place, counts


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Unique:
    """The distinct values of the vector `x` in the order of their first appearance, and for each element its place among them (of type
    `out_idx`): y[idx[i]] = x[i]. Each NaN is a value of its own. ValueError where x is no vector."""
    return Unique(*declare(UNIQUE, {"x": x}, {"out_idx": as_dtype(out_idx)}, name).outputs)


def unique_with_counts(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> UniqueWithCounts:
    """`unique`, and how often each value stands in `x`."""
    return UniqueWithCounts(*declare(UNIQUE_WITH_COUNTS, {"x": x}, {"out_idx": as_dtype(out_idx)}, name).outputs)


@composite("ListDiff", gradient=False)
def LIST_DIFF(x: Node, y: Node, *, out_idx: DType = dtypes.int32) -> tuple[Node, Node]:
    """What `x` has and `y` has not, as it stands in x."""
    for name, each in (("x", x), ("y", y)):
        if len(each.shape) != 1:
            raise ValueError(f"{name} must be a vector, got shape {show_dims(each.shape)}")
    if x.shape[0] is None or y.shape[0] is None:
        return undetermined(x, (None,)), _unknown(out_idx, None)
    kept = holding(p.not_(_stands_in(x, y)))
    return _taken(x, kept), _unknown(out_idx, None) if kept.shape[0] is None else p.convert(kept, out_idx)


def _stands_in(x: Node, y: Node) -> Node:
    """Whether each element of the vector `x` equals one of the vector `y`: whether its group, of both together, holds one of y."""
    (count,), (others,) = x.dims, y.dims
    if not count or not others:
        return p.full(False, TensorType(dtypes.bool, (count,)))
    # y comes first, so that a group with an element of y is named by one.
    first = groups(p.concatenate([y, x], 0)).first
    mine = p.slice_(first, (others,), (others + count,))
    return p.compare(mine, fill_like(mine, others), "LT")


def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> ListDiff:
    """The elements of the vector `x` that the vector `y` does not have, as they stand, and their positions in x (of type `index_dtype`).
    ValueError where one is no vector."""
    return ListDiff(*declare(LIST_DIFF, {"x": x, "y": y}, {"out_idx": as_dtype(index_dtype)}, name).outputs)
