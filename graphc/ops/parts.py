"""Parts of nodes along one axis, and results that are not determined yet: what the expansions of several families share."""
from __future__ import annotations

import functools
from collections.abc import Sequence

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import Dim, TensorType


def undetermined(x: Node, shape: Sequence[Dim], *more: Node) -> Node:
    """Stands for a result of `shape` made from `x` (and `more` of its dtype) while the graph is declared and a value that it rests on is
    unknown.

    It has the type, depends on all of them, so that gradients find their way, and on a parameter, so that nothing takes its value for
    known.
    """
    reduce = p.reduce_sum if x.dtype.is_complex else p.reduce_max
    some = functools.reduce(p.subtract, [reduce(each, range(len(each.shape))) for each in (x, *more)])
    return p.broadcast_in_dim(p.select(p.parameter("?which", TensorType(dtypes.bool, ())), some, some), shape, ())


def replaced(dims: Sequence[Dim], axis: int, dim: Dim) -> tuple[Dim, ...]:
    """`dims` with `dim` at `axis`."""
    return (*dims[:axis], dim, *dims[axis + 1:])


def box(x: Node, axis: int, start: Dim, limit: Dim, stride: int = 1) -> Node:
    """x[start:limit:stride] along `axis`, all of the other axes."""
    rank = len(x.shape)
    strides = [stride if each == axis else 1 for each in range(rank)]
    return p.slice_(x, replaced((0,) * rank, axis, start), replaced(x.shape, axis, limit), strides)


def counting(positions: Node) -> Node:
    """Integer `positions` in a type that can count what they are compared with, which in a narrow one would wrap around."""
    return positions if positions.dtype in (dtypes.int32, dtypes.int64) else p.convert(positions, dtypes.int64)


def picked(x: Node, axis: int, index: Dim) -> Node:
    """x[index] along `axis`, which vanishes; ValueError where the index is out of range."""
    size = x.shape[axis]
    if size is not None and index is not None and not -size <= index < size:
        raise ValueError(f"slice index {index} of dimension {axis} out of bounds")
    shape = (*x.shape[:axis], *x.shape[axis + 1:])
    if index is None or (size is None and index < 0):
        return undetermined(x, shape)
    start = index if size is None else index % size
    return p.reshape(box(x, axis, start, start + 1), shape)
