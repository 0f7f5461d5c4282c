"""Matrices as the last two axes of an array: transposes, products, triangles and diagonals, made of other primitives.

What the gradients of `linear_algebra` and `factorisations` are written with, and the operations beside them. The axes before the last two
are a batch; dims may be unknown.
"""
from __future__ import annotations

from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import Dim
from graphc.primitives.arithmetic import add, multiply
from graphc.primitives.broadcast import broadcast_in_dim, full, reshape
from graphc.primitives.complex import conj
from graphc.primitives.contraction import dot_general
from graphc.primitives.logic import compare, convert, select
from graphc.primitives.movement import slice_, transpose
from graphc.primitives.sources import iota


def turned(x: Node) -> Node:
    """`x` with its last two axes swapped."""
    rank = len(x.shape)
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def adjoint(x: Node) -> Node:
    """The conjugate transpose."""
    return conj(turned(x))


def product(x: Node, y: Node) -> Node:
    """The matrix product of [batch..., m, k] and [batch..., k, n]."""
    rank = len(x.shape)
    batch = tuple(range(rank - 2))
    return dot_general(x, y, batch, batch, (rank - 1,), (rank - 2,))


def on_diagonal(x: Node, k: int = 0) -> Node:
    """bool of the shape of `x`: where column = row + k."""
    row = place(x, -2)
    return compare(add(row, full(k, row.type)) if k else row, place(x, -1), "EQ")


def place(x: Node, axis: int) -> Node:
    """The index of each element of `x` along `axis` (counted from the end), in int32."""
    return iota(x.shape, len(x.shape) + axis, dtypes.int32)


def triangle(x: Node, lower: bool, strict: bool = False) -> Node:
    """`x` with zeros outside of the lower or upper triangle of each matrix, which has the diagonal in it unless `strict`."""
    direction = {(True, False): "GE", (True, True): "GT", (False, False): "LE", (False, True): "LT"}[lower, strict]
    return select(compare(place(x, -2), place(x, -1), direction), x, full(0, x.type))


def diagonal(x: Node, k: int = 0) -> Node:
    """The diagonals of [..., m, n] that lie `k` above the main one (below it: negative), [..., their length]: a view."""
    *batch, m, n = x.shape
    if m is None or n is None:
        return leading(reshape(x, (*batch, None)), -1, None)
    size = max(min(m, n - k) if k > 0 else min(m + k, n), 0)
    start = k if k > 0 else -k * n
    limit = start + (size - 1) * (n + 1) + 1 if size else start
    flat = reshape(x, (*batch, m * n))
    axes = len(batch)
    return slice_(flat, (*[0] * axes, start), (*batch, limit), (*[1] * axes, n + 1)) if size else leading(flat, -1, 0)


def with_diagonal(x: Node, values: Node) -> Node:
    """Square matrices `x` with `values` [..., n] on their diagonals."""
    return select(on_diagonal(x), columns(values, x), x)


def spread(x: Node, like: Node, axis: int) -> Node:
    """[..., n] repeated to the shape of `like` along its `axis` (-1: one value a row, -2: one a column)."""
    rank = len(like.shape)
    return broadcast_in_dim(x, like.shape, tuple(each for each in range(rank) if each != rank + axis))


def rows(values: Node, like: Node) -> Node:
    """values[..., i] everywhere in row i."""
    return spread(values, like, -1)


def columns(values: Node, like: Node) -> Node:
    """values[..., j] everywhere in column j."""
    return spread(values, like, -2)


def everywhere(values: Node, like: Node) -> Node:
    """One value a matrix [...], repeated to the shape of `like`."""
    return broadcast_in_dim(values, like.shape, range(len(like.shape) - 2))


def real_rows(values: Node, like: Node) -> Node:
    """Real values[..., i] everywhere in row i, in the element type of `like`."""
    return rows(as_type_of(values, like), like)


def real_columns(values: Node, like: Node) -> Node:
    """Real values[..., j] everywhere in column j, in the element type of `like`."""
    return columns(as_type_of(values, like), like)


def as_type_of(x: Node, like: Node) -> Node:
    """`x` in the element type of `like`."""
    return x if x.dtype is like.dtype else convert(x, like.dtype)


def diagonal_matrix(values: Node) -> Node:
    """[..., n] on the diagonals of [..., n, n], zeros beside it."""
    zeros = full(0, values.type.with_shape((*values.shape, values.shape[-1])))
    return with_diagonal(zeros, values)


def identity(like: Node, size: Dim) -> Node:
    """Unit matrices [batch of `like`..., size, size] of its element type."""
    ones = full(1, like.type.with_shape((*like.shape[:-2], size, size)))
    return select(on_diagonal(ones), ones, full(0, ones.type))


def leading(x: Node, axis: int, size: Dim) -> Node:
    """The first `size` elements along `axis` (counted from the end)."""
    return between(x, axis, 0, size)


def between(x: Node, axis: int, start: Dim, limit: Dim) -> Node:
    """The elements start, ..., limit - 1 along `axis` (counted from the end)."""
    where = len(x.shape) + axis
    if start == 0 and limit is not None and limit == x.shape[where]:
        return x
    starts: list[Dim] = [0] * len(x.shape)
    limits = list(x.shape)
    starts[where], limits[where] = start, limit
    return slice_(x, starts, limits, (1,) * len(x.shape))


def least(a: Dim, b: Dim) -> Dim:
    """The smaller dim, where it is known."""
    return None if a is None or b is None else min(a, b)


def scaled(x: Node, factor: float) -> Node:
    return multiply(x, full(factor, x.type))
