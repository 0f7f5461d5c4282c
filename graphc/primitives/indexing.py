"""Rows chosen by data: gather, and scatter, each the other's gradient. An index out of range reads zero and writes nothing."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Gather, Scatter
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dims, TensorType, dims_product, same_dims
from graphc.primitives.arithmetic import divide, multiply
from graphc.primitives.broadcast import broadcast_in_dim, full, reshape
from graphc.primitives.logic import compare, convert, select
from graphc.primitives.numerics import Array, rounded, widened
from graphc.primitives.rules import Cotangents, call, is_any, is_numeric, is_ordered, need
from graphc.primitives.sources import iota


@dataclass(frozen=True)
class GatherAttrs:
    """axis: the axis of operand 0 that the indices choose along."""

    axis: int


@dataclass(frozen=True)
class ScatterAttrs:
    """axis: the axis of operand 0 that the indices choose along. combine: "add", "multiply", "minimum", "maximum" or "assign"."""

    axis: int
    combine: str


def _gathered(name: str, axis: int, types: tuple[TensorType, ...]) -> Dims:
    x, indices = types[:2]
    if not 0 <= axis < x.rank:
        raise ValueError(f"{call(name, types)}: axis {axis} must be between 0 and {x.rank - 1}")
    if not indices.dtype.is_integer:
        raise TypeError(f"{call(name, types)}: indices must be integers")
    return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1:])


def _inside(indices: Array, size: int) -> Array:
    return (indices >= 0) & (indices < size)


# gather ---------------------------------------------------------------------------------------------------------------------------------

def _gather_type(attrs: GatherAttrs, x: TensorType, indices: TensorType) -> TensorType:
    return x.with_shape(_gathered("gather", attrs.axis, (x, indices)))


def _gather(attrs: GatherAttrs, x: Array, indices: Array) -> Array:
    size = x.shape[attrs.axis]
    padded = np.concatenate([x, np.zeros_like(x, shape=(*x.shape[:attrs.axis], 1, *x.shape[attrs.axis + 1:]))], attrs.axis)
    return np.take(padded, np.where(_inside(indices, size), indices, size).astype(np.int64), attrs.axis)


def _gather_vjp(node: Node, g: Node) -> Cotangents:
    x, indices = node.operands
    return (scatter_add(full(0, x.type), indices, g, node.attrs.axis), None)


GATHER = declare(Primitive(
    "gather", GatherAttrs, 2, _gather_type, _gather, _gather_vjp, Gather(),
    "Slices of operand 0 along `axis` at the indices of operand 1, whose axes stand in its place; zero for an index out of range."))


def gather(x: Node, indices: Node, axis: int = 0) -> Node:
    """[..., n, ...] by integer indices [k...] along `axis` -> [..., k..., ...]."""
    return make(GATHER, (x, indices), GatherAttrs(axis))


take = gather


# scatter --------------------------------------------------------------------------------------------------------------------------------

def _assign(rows: Array, where: Any, sources: Array) -> None:
    for row, source in zip(where, sources, strict=True):
        rows[row] = source


_COMBINE: dict[str, Callable[..., None]] = {
    "add": np.add.at, "multiply": np.multiply.at, "minimum": np.minimum.at, "maximum": np.maximum.at, "assign": _assign}


def _scatter_type(attrs: ScatterAttrs, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
    types = (x, indices, updates)
    if attrs.combine not in _COMBINE:
        raise ValueError(f"{call('scatter', types)}: combine must be one of {', '.join(_COMBINE)}, not {attrs.combine!r}")
    if attrs.combine != "assign":
        need({"add": is_numeric, "multiply": is_ordered}.get(attrs.combine, is_any), "scatter", types)
    if updates.dtype is not x.dtype:
        raise TypeError(f"{call('scatter', types)}: updates must have the element type of operand 0")
    expected = _gathered("scatter", attrs.axis, types)
    if not same_dims(expected, updates.shape):
        raise ValueError(f"{call('scatter', types)}: updates must have shape {x.with_shape(expected)}")
    return x


def _scatter(attrs: ScatterAttrs, x: Array, indices: Array, updates: Array) -> Array:
    rows = np.moveaxis(widened(x), attrs.axis, 0).copy()
    order = [*range(attrs.axis, attrs.axis + indices.ndim), *range(attrs.axis), *range(attrs.axis + indices.ndim, updates.ndim)]
    sources = widened(updates).transpose(order)
    inside = _inside(indices, len(rows))
    _COMBINE[attrs.combine](rows, indices[inside].astype(np.int64), sources[inside])
    return rounded(np.moveaxis(rows, 0, attrs.axis), x.dtype)


def _scatter_vjp(node: Node, g: Node) -> Cotangents:
    to_x, to_updates = _VJPS[node.attrs.combine](node, g)
    return (to_x, None, to_updates)


def _add_vjp(node: Node, g: Node) -> tuple[Node, Node]:
    return g, gather(g, node.operands[1], node.attrs.axis)


def _assign_vjp(node: Node, g: Node) -> tuple[Node, Node]:
    """To operand 0 where nothing was written; of updates with one index to the last of them."""
    x, indices, _ = node.operands
    axis = node.attrs.axis
    order = reshape(iota((dims_product(indices.shape),), 0, dtypes.int64), indices.shape)
    nobody = full(-1, TensorType(dtypes.int64, (x.shape[axis],)))
    last = scatter(nobody, indices, order, 0, "assign")
    written = compare(last, full(0, last.type), "GE")
    wins = compare(gather(last, indices), order, "EQ")
    reached = gather(g, indices, axis)
    places = tuple(range(axis, axis + len(indices.shape)))
    return (select(broadcast_in_dim(written, x.shape, (axis,)), full(0, g.type), g),
            select(broadcast_in_dim(wins, reached.shape, places), reached, full(0, reached.type)))


def _extremum_vjp(node: Node, g: Node) -> tuple[Node, Node]:
    """Shared equally among those that reach the extremum, as in TF1."""
    x, indices, updates = node.operands
    axis = node.attrs.axis
    mine = convert(compare(x, node, "EQ"), g.dtype)
    theirs = convert(compare(updates, gather(node, indices, axis), "EQ"), g.dtype)
    share = divide(g, scatter_add(mine, indices, theirs, axis))
    return multiply(mine, share), multiply(theirs, gather(share, indices, axis))


def _product_vjp(node: Node, g: Node) -> tuple[Node, Node]:
    """g times the product of the others: 0 where another is 0, else the product of all that are not 0 divided by one's own."""
    x, indices, updates = node.operands
    axis = node.attrs.axis
    none = compare(updates, full(0, updates.type), "EQ")
    some = select(none, full(1, updates.type), updates)
    zeros = scatter_add(full(0, x.type), indices, convert(none, x.dtype), axis)
    factors = scatter(full(1, x.type), indices, some, axis, "multiply")
    through = select(compare(zeros, full(0, x.type), "GT"), full(0, g.type), multiply(g, factors))
    alone = compare(gather(zeros, indices, axis), convert(none, x.dtype), "EQ")
    others = divide(gather(multiply(multiply(g, x), factors), indices, axis), some)
    # An index out of range has no zeros, and its own zero makes it not alone: either way what it gathers is zero.
    return through, select(alone, others, full(0, others.type))


_VJPS: dict[str, Callable[[Node, Node], tuple[Node, Node]]] = {
    "add": _add_vjp, "assign": _assign_vjp, "minimum": _extremum_vjp, "maximum": _extremum_vjp, "multiply": _product_vjp}

SCATTER = declare(Primitive(
    "scatter", ScatterAttrs, 3, _scatter_type, _scatter, _scatter_vjp, Scatter(),
    "Operand 0 with each slice of operand 2 combined into it at its index in operand 1 along `axis`, in order (assign: the last stays); "
    "an index out of range is dropped."))


def scatter(x: Node, indices: Node, updates: Node, axis: int, combine: str) -> Node:
    """[..., n, ...] with updates [..., k..., ...] combined along `axis` at indices [k...]: "add", "multiply", "minimum", "maximum" or
    "assign". Several updates of one place are combined in their order."""
    return make(SCATTER, (x, indices, updates), ScatterAttrs(axis, combine))


def scatter_add(x: Node, indices: Node, updates: Node, axis: int = 0) -> Node:
    """[..., n, ...] with updates [..., k..., ...] added along `axis` at indices [k...]."""
    return scatter(x, indices, updates, axis, "add")
