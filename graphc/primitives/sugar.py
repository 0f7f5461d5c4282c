"""Conveniences that composites are written with: fills, numpy's broadcasting, sizes. No primitives of their own.

All work with unknown dims: then only the shape of the result counts, and what is unknown of it stays so.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.core.types import Dim, Dims, TensorType, dims_product, show_dims
from graphc.primitives.broadcast import broadcast_in_dim, full
from graphc.primitives.sources import constant, parameter

Reduction = Callable[[Node, Sequence[int]], Node]


def fill_like(x: Node, value: float) -> Node:
    """`value` everywhere, with the shape and element type of `x`."""
    return full(value, x.type)


def zeros_like(x: Node) -> Node:
    return full(0, x.type)


def ones_like(x: Node) -> Node:
    return full(1, x.type)


def _broadcast_dim(a: Dim, b: Dim) -> Dim:
    """numpy's rule for two dims. One unknown against a known dim above 1 must turn out equal to it (or 1): the known one."""
    if a == 1 or a == b:
        return b
    if b == 1:
        return a
    if a is None or b is None:
        known = a if b is None else b
        return known
    raise ValueError


def broadcast_dims(a: Dims, b: Dims) -> Dims:
    """The shape that numpy broadcasts two shapes to; ValueError where they do not fit."""
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    try:
        return tuple(map(_broadcast_dim, left, right))
    except ValueError:
        raise ValueError(f"Incompatible shapes: {show_dims(a)} and {show_dims(b)}: dims must be equal or 1, from the last") from None


def broadcast_to(x: Node, shape: Sequence[Dim]) -> Node:
    """`x` repeated to `shape` by numpy's rule: axes align from the last."""
    rank = len(shape)
    return broadcast_in_dim(x, shape, tuple(range(rank - len(x.shape), rank)))


def broadcast_binary(function: Callable[[Node, Node], Node], x: Node, y: Node) -> Node:
    """function(x, y) after numpy's broadcasting of both."""
    if x.shape == y.shape and None not in x.shape:
        return function(x, y)
    shape = broadcast_dims(x.shape, y.shape)
    return function(broadcast_to(x, shape), broadcast_to(y, shape))


def reduce_and_spread(reduce: Reduction, x: Node, axes: Sequence[int]) -> Node:
    """reduce(x, axes) repeated to the shape of `x`: each element beside its group's result."""
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    return broadcast_in_dim(reduce(x, axes), x.shape, kept)


def size_of(x: Node, axes: Sequence[int], dtype: DType) -> Node:
    """How many elements `x` has along `axes`, as a scalar node of `dtype` (an abstract parameter while a dim is unknown)."""
    size = dims_product(x.shape[axis] for axis in axes)
    return parameter("?size", TensorType(dtype, ())) if size is None else constant(size, dtype)
