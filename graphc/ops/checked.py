"""Checks of indices, labels and divisors, which expansions ask for in checked mode.

The functions do nothing unless a session asked for checks (`ConfigProto(checked=True)`, or GRAPHC_CHECKED in the
environment): then a run that meets a value out of range raises InvalidArgumentError in TF1's words, naming the first place. Unchecked, such
values have the result that the operation documents.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.checks import are_wanted, require
from graphc.core.program import Node
from graphc.core.types import Dim

Array = np.ndarray[Any, Any]


def all_of(x: Node) -> Node:
    """Whether all of the bools `x` hold, a scalar."""
    return p.reduce_min(x, range(len(x.shape))) if x.shape else x


def _inside(x: Node, high: int, low: int | None = 0) -> Node:
    """Where low <= x < high; without a `low`, where x < high."""
    wide = p.convert(x, dtypes.int64)
    below = p.compare(wide, p.full(high, wide.type), "LT")
    return below if low is None else p.and_(p.compare(wide, p.full(low, wide.type), "GE"), below)


def _place(name: str, position: Sequence[int]) -> str:
    """`indices[1,0]`, or `indices` for a scalar."""
    return f"{name}[{','.join(map(str, position))}]" if len(position) else name


def _first(wrong: Any) -> tuple[int, ...]:
    """The first place where the bools `wrong` hold."""
    return tuple(int(each) for each in np.argwhere(wrong)[0])


def check_range(indices: Node, size: Dim, name: str = "indices", words: str = "is not in", below: bool = True) -> None:
    """In checked mode every element of `indices` must be in [0, size): "indices[1,0] = 7 is not in [0, 5)". below: negative ones are wrong
    too."""
    if not are_wanted() or size is None or not indices.type.is_static:
        return

    def report(values: Array) -> str:
        place = _first((values >= size) | (below & (values < 0)))
        return f"{_place(name, place)} = {values[place]} {words} [0, {size})"

    require(all_of(_inside(indices, size, 0 if below else None)), report, indices)


def check_tuples(indices: Node, dims: Sequence[Dim], what: str = "shape") -> None:
    """In checked mode every row of `indices` [..., k] must be a place in an array whose leading dims are `dims`:
    "indices[1] = [4, 2] does not index into shape [5,2]"."""
    depth = indices.shape[-1] if indices.shape else None
    if not are_wanted() or depth is None or None in dims or not indices.type.is_static:
        return
    sizes = np.array([dim or 0 for dim in dims[:depth]], np.int64)
    shown = ",".join(str(dim) for dim in dims)

    def report(values: Array) -> str:
        place = _first(((values < 0) | (values >= sizes)).any(-1))
        return f"{_place('indices', place)} = [{', '.join(map(str, values[place]))}] does not index into {what} [{shown}]"

    wide = p.convert(indices, dtypes.int64)
    limits = p.broadcast_in_dim(p.constant(sizes), indices.shape, (len(indices.shape) - 1,))
    inside = p.and_(p.compare(wide, p.full(0, wide.type), "GE"), p.compare(wide, limits, "LT"))
    require(all_of(inside), report, indices)


def check_labels(labels: Node, classes: Dim) -> None:
    """In checked mode every label must be in [0, classes)."""
    if not are_wanted() or classes is None or not labels.type.is_static:
        return

    def report(values: Array) -> str:
        wrong = values[_first((values < 0) | (values >= classes))]
        shown = " ".join(map(str, values.reshape(-1)[:32]))
        return f"Received a label value of {wrong} which is outside the valid range of [0, {classes}).  Label values: {shown}"

    require(all_of(_inside(labels, classes)), report, labels)


def check_divisor(y: Node) -> None:
    """In checked mode no element of the integers `y` may be 0."""
    if are_wanted() and y.dtype.is_integer and y.type.is_static and y.type.size:
        while y.name == "broadcast_in_dim":
            y = y.operands[0]
        require(all_of(p.compare(y, p.full(0, y.type), "NE")), lambda: "Integer division by zero")


def check_sorted(ids: Node, name: str = "segment ids") -> None:
    """In checked mode the vector `ids` must not be negative and must not decrease."""
    if not are_wanted() or not ids.type.is_static or ids.type.rank != 1 or not ids.dims[0]:
        return
    count = ids.dims[0]
    low = p.compare(ids, p.full(0, ids.type), "GE")
    require(all_of(low), lambda: f"{name} must be >= 0")
    if count > 1:
        before, after = p.slice_(ids, (0,), (count - 1,), (1,)), p.slice_(ids, (1,), (count,), (1,))
        require(all_of(p.compare(before, after, "LE")), lambda: f"{name} are not increasing")
