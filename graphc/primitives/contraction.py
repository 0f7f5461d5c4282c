"""dot_general: the product of two arrays over any batch, contracting and free dims. Its gradients are two more of it."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core.loops import Contract
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, merge_dims, same_dim
from graphc.primitives.movement import inverse_permutation, transpose
from graphc.primitives.numerics import Array, accumulator, rounded, widened
from graphc.primitives.rules import Cotangents, call, is_numeric, need

Axes = tuple[int, ...]


@dataclass(frozen=True)
class DotAttrs:
    """Which axes of each operand are batch and which are contracted; the others are free. They pair up in the order given."""

    lhs_batch: Axes
    rhs_batch: Axes
    lhs_contract: Axes
    rhs_contract: Axes

    def free(self, rank: int, side: str) -> Axes:
        """The free axes of the "lhs" or "rhs" of `rank`, ascending."""
        taken = (*self.lhs_batch, *self.lhs_contract) if side == "lhs" else (*self.rhs_batch, *self.rhs_contract)
        return tuple(axis for axis in range(rank) if axis not in taken)


def _dot_type(attrs: DotAttrs, x: TensorType, y: TensorType) -> TensorType:
    types = (x, y)
    need(is_numeric, "dot_general", types)
    if x.dtype is not y.dtype:
        raise TypeError(f"{call('dot_general', types)}: operands must have one element type")
    for axes, operand in (((*attrs.lhs_batch, *attrs.lhs_contract), x), ((*attrs.rhs_batch, *attrs.rhs_contract), y)):
        if len(set(axes)) != len(axes) or any(not 0 <= axis < operand.rank for axis in axes):
            raise ValueError(f"{call('dot_general', types)}: batch and contracting axes {axes} must be distinct axes of {operand}")
    for what, left, right in (("batch", attrs.lhs_batch, attrs.rhs_batch), ("contracting", attrs.lhs_contract, attrs.rhs_contract)):
        pairs = [(x.shape[i], y.shape[j]) for i, j in zip(left, right, strict=False)]
        if len(left) != len(right) or not all(same_dim(a, b) for a, b in pairs):
            raise ValueError(f"{call('dot_general', types)}: {what} axes {left} and {right} must have equal sizes")
    batch = merge_dims(tuple(x.shape[i] for i in attrs.lhs_batch), tuple(y.shape[i] for i in attrs.rhs_batch))
    free = (*(x.shape[i] for i in attrs.free(x.rank, "lhs")), *(y.shape[i] for i in attrs.free(y.rank, "rhs")))
    return x.with_shape((*batch, *free))


def _dot(attrs: DotAttrs, x: Array, y: Array) -> Array:
    """As one batched matrix product; floats in float64, rounded once."""
    x_free, y_free = attrs.free(x.ndim, "lhs"), attrs.free(y.ndim, "rhs")
    shape = [x.shape[i] for i in (*attrs.lhs_batch, *x_free)] + [y.shape[i] for i in y_free]
    batch = math.prod(x.shape[i] for i in attrs.lhs_batch)
    depth = math.prod(x.shape[i] for i in attrs.lhs_contract)
    rows, columns = math.prod(x.shape[i] for i in x_free), math.prod(y.shape[i] for i in y_free)
    left = widened(x).transpose((*attrs.lhs_batch, *x_free, *attrs.lhs_contract)).reshape(batch, rows, depth)
    right = widened(y).transpose((*attrs.rhs_batch, *attrs.rhs_contract, *y_free)).reshape(batch, depth, columns)
    wide = accumulator(x.dtype)
    return rounded(np.matmul(left.astype(wide), right.astype(wide)).reshape(shape), x.dtype)


def _dot_vjp(node: Node, g: Node) -> Cotangents:
    """By each operand: g contracted with the other over the other's free axes, then its axes put back in order."""
    x, y = node.operands
    a: DotAttrs = node.attrs
    batch = tuple(range(len(a.lhs_batch)))
    x_free, y_free = a.free(len(x.shape), "lhs"), a.free(len(y.shape), "rhs")
    g_x = tuple(range(len(batch), len(batch) + len(x_free)))
    g_y = tuple(range(len(batch) + len(x_free), len(g.shape)))
    # Which operand comes first is free: the free axes of g come out before the contracting axes of the operand, or after them.
    x_contract, y_contract = _matching(a.rhs_contract, a.lhs_contract), _matching(a.lhs_contract, a.rhs_contract)
    if x_contract < list(x_free):
        by_x, x_axes = dot_general(y, g, a.rhs_batch, batch, y_free, g_y), (*a.lhs_batch, *x_contract, *x_free)
    else:
        by_x, x_axes = dot_general(g, y, batch, a.rhs_batch, g_y, y_free), (*a.lhs_batch, *x_free, *x_contract)
    if y_contract < list(y_free):
        by_y, y_axes = dot_general(x, g, a.lhs_batch, batch, x_free, g_x), (*a.rhs_batch, *y_contract, *y_free)
    else:
        by_y, y_axes = dot_general(g, x, batch, a.lhs_batch, g_x, x_free), (*a.rhs_batch, *y_free, *y_contract)
    return (transpose(by_x, inverse_permutation(x_axes)), transpose(by_y, inverse_permutation(y_axes)))


def _matching(keys: Axes, values: Axes) -> list[int]:
    """`values` in the order in which `keys` ascend."""
    return [value for _, value in sorted(zip(keys, values, strict=True))]


DOT_GENERAL = declare(Primitive(
    "dot_general", DotAttrs, 2, _dot_type, _dot, _dot_vjp, Contract(),
    "Sums products over the contracting axes: shape batch, then free axes of x, then of y. 16-bit floats accumulate in float32."))


def dot_general(x: Node, y: Node, lhs_batch: Sequence[int], rhs_batch: Sequence[int], lhs_contract: Sequence[int],
                rhs_contract: Sequence[int]) -> Node:
    """The product of `x` and `y`: [batch..., free of x..., free of y...], of their element type."""
    return make(DOT_GENERAL, (x, y), DotAttrs(tuple(lhs_batch), tuple(rhs_batch), tuple(lhs_contract), tuple(rhs_contract)))
