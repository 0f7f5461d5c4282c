"""Positions chosen by data: index tuples as row-major positions, and where an index lies outside. What gather, scatter and segments share.

The primitives choose along one axis. An operation on several axes gathers from, or scatters into, its operand with those axes flattened to
one; the arithmetic that makes one position of a tuple of indices is fused into the kernel that moves the data.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.core.static import partial_value, static_dims
from graphc.core.types import Dim, TensorType
from graphc.ops.parts import box, counting

OUTSIDE = -1  # a position that gather reads as zero and scatter drops


def filled(like: Node, value: int) -> Node:
    """`value` with the shape and type of the positions `like`."""
    return p.full(value, like.type)


def index_type(size: int) -> DType:
    """The type that counts up to `size`: int32 where that does, whose arithmetic is the cheaper."""
    return dtypes.int32 if size < 2 ** 31 else dtypes.int64


def is_inside(indices: Node, size: int) -> Node:
    """Whether each of `indices` (of a type that can count to `size`) lies in [0, size)."""
    return p.and_(p.compare(indices, filled(indices, 0), "GE"), p.compare(indices, filled(indices, size), "LT"))


def positions(indices: Node, dims: Sequence[int]) -> Node:
    """Index tuples [..., len(dims)] as row-major positions [...] in an array of shape `dims`; OUTSIDE for a tuple out of range."""
    indices = counting(indices)
    where = indices.shape[:-1]
    if index_type(math.prod(dims)) is dtypes.int64:
        indices = p.convert(indices, dtypes.int64)
    columns = [p.reshape(box(indices, len(where), n, n + 1), where) for n in range(len(dims))]
    if not columns:
        return p.broadcast_in_dim(p.constant(0, indices.dtype), where, ())
    flat, valid = columns[0], is_inside(columns[0], dims[0])
    for index, size in zip(columns[1:], dims[1:], strict=True):
        flat = p.add(p.multiply(flat, filled(flat, size)), index)
        valid = p.and_(valid, is_inside(index, size))
    return flat if len(columns) == 1 else p.select(valid, flat, filled(flat, OUTSIDE))


def within_batch(flat: Node, batch: Sequence[int], size: int) -> Node:
    """`flat` [batch..., ...], positions in [0, size) of each batch, as positions in all batches laid one after the other."""
    count = math.prod(batch)
    flat = counting(flat)
    if not batch:
        return flat
    if index_type(count * size) is dtypes.int64:
        flat = p.convert(flat, dtypes.int64)
    first = p.multiply(numbers(batch, flat.dtype), p.full(size, TensorType(flat.dtype, tuple(batch))))
    moved = p.add(flat, p.broadcast_in_dim(first, flat.shape, range(len(batch))))
    return p.select(is_inside(flat, size), moved, filled(flat, OUTSIDE))


def numbers(dims: Sequence[int], dtype: DType) -> Node:
    """0, 1, 2, ... in row-major order over `dims`."""
    return p.reshape(p.iota((math.prod(dims),), 0, dtype), tuple(dims))


# Scalars that choose ---------------------------------------------------------------------------------------------------------------------

def known_elements(vector: Node, count: int) -> list[Dim]:
    """The `count` elements of `vector` as far as they are known; unlike `static_dims` it does not ask for the others."""
    value = partial_value(vector)
    return [None] * count if value is None else [None if each is None else int(each) for each in value.reshape(-1)]


def element(vector: Node, number: int) -> Node:
    """vector[number] as a scalar."""
    return p.reshape(box(vector, 0, number, number + 1), ())


def determined(size: Node) -> Dim:
    """The value of the scalar `size`: a run finds it out where it is not known before. Only the size is then compiled in, not the bounds
    that it was computed from, of which many give one size; that is what a reduction of it says (see `static.ValueNeeded`)."""
    dims = static_dims(p.reduce_max(p.reshape(size, (1,)), (0,)))
    return None if dims is None else dims[0]
