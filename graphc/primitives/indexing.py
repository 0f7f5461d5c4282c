"""Rows chosen by data: gather, and scatter_add, each the other's gradient. An index out of range reads zero and writes nothing."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.core.loops import Gather, ScatterAdd
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dims, TensorType, same_dims
from graphc.primitives.broadcast import full
from graphc.primitives.numerics import Array, rounded, widened
from graphc.primitives.rules import Cotangents, call, is_numeric, need


@dataclass(frozen=True)
class GatherAttrs:
    """axis: the axis of operand 0 that the indices choose along."""

    axis: int


def _gathered(name: str, axis: int, types: tuple[TensorType, ...]) -> Dims:
    x, indices = types[:2]
    if not 0 <= axis < x.rank:
        raise ValueError(f"{call(name, types)}: axis {axis} must be between 0 and {x.rank - 1}")
    if not indices.dtype.is_integer:
        raise TypeError(f"{call(name, types)}: indices must be integers")
    return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1:])


def _inside(indices: Array, size: int) -> Array:
    return (indices >= 0) & (indices < size)


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


def _scatter_type(attrs: GatherAttrs, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
    types = (x, indices, updates)
    need(is_numeric, "scatter_add", types)
    if updates.dtype is not x.dtype:
        raise TypeError(f"{call('scatter_add', types)}: updates must have the element type of operand 0")
    expected = _gathered("scatter_add", attrs.axis, types)
    if not same_dims(expected, updates.shape):
        raise ValueError(f"{call('scatter_add', types)}: updates must have shape {x.with_shape(expected)}")
    return x


def _scatter_add(attrs: GatherAttrs, x: Array, indices: Array, updates: Array) -> Array:
    rows = np.moveaxis(widened(x), attrs.axis, 0).copy()
    order = [*range(attrs.axis, attrs.axis + indices.ndim), *range(attrs.axis), *range(attrs.axis + indices.ndim, updates.ndim)]
    sources = widened(updates).transpose(order)
    inside = _inside(indices, len(rows))
    np.add.at(rows, indices[inside].astype(np.int64), sources[inside])
    return rounded(np.moveaxis(rows, 0, attrs.axis), x.dtype)


def _scatter_vjp(node: Node, g: Node) -> Cotangents:
    return (g, None, gather(g, node.operands[1], node.attrs.axis))


SCATTER_ADD = declare(Primitive(
    "scatter_add", GatherAttrs, 3, _scatter_type, _scatter_add, _scatter_vjp, ScatterAdd(),
    "Operand 0 with each slice of operand 2 added at its index in operand 1 along `axis`; an index out of range is dropped."))


def scatter_add(x: Node, indices: Node, updates: Node, axis: int = 0) -> Node:
    """[..., n, ...] with updates [..., k..., ...] added along `axis` at indices [k...]."""
    return make(SCATTER_ADD, (x, indices, updates), GatherAttrs(axis))


take = gather
