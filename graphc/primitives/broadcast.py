"""Reshape, broadcast_in_dim and reduce_sum: each the others' gradient, so they are declared together.

View primitives move no data: they say, for an index of the output, which element of the operand stands there.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.core.loops import Piece, Reduce, View
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType, dims_product, same_dim
from graphc.primitives.numerics import Array, accumulator, rounded, widened
from graphc.primitives.rules import Cotangents, call, is_numeric, need, normal_axes
from graphc.primitives.sources import constant

Index = tuple[Any, ...]


@dataclass(frozen=True)
class ReshapeAttrs:
    shape: Dims


@dataclass(frozen=True)
class BroadcastAttrs:
    """dims[i] is the output axis that axis i of the operand becomes; they ascend."""

    shape: Dims
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ReduceAttrs:
    """axes: ascending, each 0 <= axis < rank."""

    axes: tuple[int, ...]


def add_index(a: Any, b: Any) -> Any:
    """a + b with the symbolic one first: index objects need no reflected operators."""
    return b + a if isinstance(a, int) else a + b


# reshape --------------------------------------------------------------------------------------------------------------------------------

def _reshape_type(attrs: ReshapeAttrs, x: TensorType) -> TensorType:
    if x.shape == attrs.shape:
        return x
    size, new = dims_product(x.shape), dims_product(attrs.shape)
    if not same_dim(size, new):
        raise ValueError(f"{call('reshape', (x,))}: {size} elements cannot take shape {TensorType(x.dtype, attrs.shape)}")
    if attrs.shape.count(None) == 1 and size is not None:
        known = dims_product(d for d in attrs.shape if d is not None)
        if known:
            if size % known:
                raise ValueError(f"{call('reshape', (x,))}: {size} elements cannot take shape {TensorType(x.dtype, attrs.shape)}")
            return x.with_shape(size // known if d is None else d for d in attrs.shape)
    return x.with_shape(attrs.shape)


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The finest split of both shapes (without their dims of 1) into runs of equal products, as lists of axes."""
    a, b = [i for i, d in enumerate(old) if d != 1], [i for i, d in enumerate(new) if d != 1]
    groups = []
    while a or b:
        left, right = [a.pop(0)], [b.pop(0)]
        size_left, size_right = old[left[0]], new[right[0]]
        while size_left != size_right:
            if size_left < size_right:
                left.append(a.pop(0))
                size_left *= old[left[-1]]
            else:
                right.append(b.pop(0))
                size_right *= new[right[-1]]
        groups.append((left, right))
    return groups


def reshaped_index(old: tuple[int, ...], new: tuple[int, ...], index: Index) -> Index:
    """Where in shape `old` the element at `index` of shape `new` stands. Axes that both share keep their index as it is."""
    result: list[Any] = [0] * len(old)
    if 0 in new:
        return tuple(result)
    for left, right in _groups(old, new):
        linear = index[right[0]]
        for axis in right[1:]:
            linear = add_index(linear * new[axis], index[axis])
        below = 1
        for axis in reversed(left):
            part = linear if below == 1 else linear // below
            result[axis] = part if axis == left[0] else part % old[axis]
            below *= old[axis]
    return tuple(result)


def _reshape_index(attrs: ReshapeAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    new = types[0].dims if types[0].shape == attrs.shape else _reshape_type(attrs, types[0]).dims
    return (Piece(0, reshaped_index(types[0].dims, new, index)),)


def _reshape_vjp(node: Node, g: Node) -> Cotangents:
    return (reshape(g, node.operands[0].shape),)


RESHAPE = declare(Primitive(
    "reshape", ReshapeAttrs, 1, _reshape_type,
    lambda attrs, x: x.reshape(tuple(-1 if d is None else d for d in attrs.shape)), _reshape_vjp, View(_reshape_index),
    "The same elements in row-major order under another shape."))


def reshape(x: Node, shape: Sequence[Dim]) -> Node:
    """`x` with `shape` (dims may be unknown); `x` itself where that is its shape already."""
    shape = tuple(shape)
    if x.shape == shape and None not in shape:
        return x
    return make(RESHAPE, (x,), ReshapeAttrs(shape))


# broadcast_in_dim -----------------------------------------------------------------------------------------------------------------------

def _broadcast_type(attrs: BroadcastAttrs, x: TensorType) -> TensorType:
    shape, dims = attrs.shape, attrs.dims
    fits = len(dims) == x.rank and all(0 <= d < len(shape) for d in dims) and all(a < b for a, b in pairwise(dims))
    if not fits or any(size != 1 and not same_dim(size, shape[d]) for size, d in zip(x.shape, dims, strict=True)):
        raise ValueError(f"{call('broadcast_in_dim', (x,))}: does not fit {TensorType(x.dtype, shape)} at axes {dims}: "
                         "each dim must be 1 or equal, the axes ascending")
    return x.with_shape(shape)


def _broadcast(attrs: BroadcastAttrs, x: Array) -> Array:
    aligned = [1] * len(attrs.shape)
    for size, axis in zip(x.shape, attrs.dims, strict=True):
        aligned[axis] = size
    return np.broadcast_to(x.reshape(aligned), tuple(d or 0 for d in attrs.shape))


def _broadcast_index(attrs: BroadcastAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    return (Piece(0, tuple(0 if size == 1 else index[axis] for size, axis in zip(types[0].shape, attrs.dims, strict=True))),)


def _broadcast_vjp(node: Node, g: Node) -> Cotangents:
    """Sums over the axes that are new, and over those that an operand dim of 1 was stretched along."""
    x, dims = node.operands[0], node.attrs.dims
    stretched = {axis for size, axis in zip(x.shape, dims, strict=True) if size == 1 and node.shape[axis] != 1}
    axes = tuple(axis for axis in range(len(node.shape)) if axis not in dims or axis in stretched)
    return (reshape(reduce_sum(g, axes), x.shape),)


BROADCAST_IN_DIM = declare(Primitive(
    "broadcast_in_dim", BroadcastAttrs, 1, _broadcast_type, _broadcast, _broadcast_vjp, View(_broadcast_index),
    "Repeats the operand along new axes and along its dims of 1."))


def broadcast_in_dim(x: Node, shape: Sequence[Dim], dims: Sequence[int]) -> Node:
    """`x` repeated to `shape`, its axis i placed at axis dims[i]; `x` itself where nothing changes."""
    shape, dims = tuple(shape), tuple(dims)
    if x.shape == shape and None not in shape and dims == tuple(range(len(shape))):
        return x
    return make(BROADCAST_IN_DIM, (x,), BroadcastAttrs(shape, dims))


# reduce_sum -----------------------------------------------------------------------------------------------------------------------------

def reduced_dims(name: str, axes: tuple[int, ...], x: TensorType) -> Dims:
    """The shape of `x` without `axes`, which must be ascending axes of it."""
    normal_axes(name, axes, x)
    if tuple(sorted(axes)) != axes:
        raise ValueError(f"{call(name, (x,))}: axes {axes} must ascend")
    return tuple(d for axis, d in enumerate(x.shape) if axis not in axes)


def kept_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if axis not in axes)


def _sum_type(attrs: ReduceAttrs, x: TensorType) -> TensorType:
    need(is_numeric, "reduce_sum", (x,))
    return x.with_shape(reduced_dims("reduce_sum", attrs.axes, x))


def _sum(attrs: ReduceAttrs, x: Array) -> Array:
    return rounded(np.sum(widened(x), axis=attrs.axes, dtype=accumulator(x.dtype)), x.dtype)


def _sum_vjp(node: Node, g: Node) -> Cotangents:
    x = node.operands[0]
    return (broadcast_in_dim(g, x.shape, kept_axes(node.attrs.axes, len(x.shape))),)


REDUCE_SUM = declare(Primitive(
    "reduce_sum", ReduceAttrs, 1, _sum_type, _sum, _sum_vjp, Reduce("add"), "The sum over `axes` (of nothing: 0). Integers wrap."))


def reduce_sum(x: Node, axes: Sequence[int]) -> Node:
    """The sum of `x` over `axes`, which vanish; `x` itself where there are none."""
    return make(REDUCE_SUM, (x,), ReduceAttrs(tuple(sorted(axes)))) if axes else x


def full(value: float, type: TensorType) -> Node:
    """A node of `type` (dims may be unknown) with `value` everywhere."""
    return broadcast_in_dim(constant(value, type.dtype), type.shape, ())
