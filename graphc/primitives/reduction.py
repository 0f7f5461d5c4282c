"""Reductions besides the sum: max, min, prod, and the positions of the greatest and the least."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.loops import ArgReduce, Reduce
from graphc.core.primitive import NotDifferentiable, Primitive, Vjp, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, dims_product
from graphc.primitives.arithmetic import divide, multiply
from graphc.primitives.broadcast import ReduceAttrs, broadcast_in_dim, kept_axes, reduce_sum, reduced_dims, reshape
from graphc.primitives.cumulative import cumulative_prod
from graphc.primitives.logic import compare, convert
from graphc.primitives.movement import inverse_permutation, transpose
from graphc.primitives.numerics import Array, highest, lowest, rounded, widened
from graphc.primitives.rules import Cotangents, Domain, call, is_any, is_numeric, named, need


@dataclass(frozen=True)
class ArgReduceAttrs:
    """axis: the one that vanishes. dtype: of the positions, an integer type."""

    axis: int
    dtype: DType


def _reduction(name: str, combine: str, domain: Domain, reduce: Callable[[ReduceAttrs, Array], Array], vjp: Vjp,
               doc: str) -> Callable[[Node, Sequence[int]], Node]:
    def infer(attrs: ReduceAttrs, x: TensorType) -> TensorType:
        need(domain, name, (x,))
        return x.with_shape(reduced_dims(name, attrs.axes, x))

    primitive = declare(Primitive(name, ReduceAttrs, 1, infer, reduce, vjp, Reduce(combine), doc))

    def build(x: Node, axes: Sequence[int]) -> Node:
        return make(primitive, (x,), ReduceAttrs(tuple(sorted(axes)))) if axes else x
    return named(build, primitive)


def _spread_back(value: Node, node: Node) -> Node:
    """`value`, of the shape of the reduction `node`, repeated over the axes that it reduced."""
    x = node.operands[0]
    return broadcast_in_dim(value, x.shape, kept_axes(node.attrs.axes, len(x.shape)))


def _extremum_vjp(node: Node, g: Node) -> Cotangents:
    """Shared equally among the elements that reach the extremum, as in TF1."""
    winners = convert(compare(node.operands[0], _spread_back(node, node), "EQ"), g.dtype)
    share = divide(g, reduce_sum(winners, node.attrs.axes))
    return (multiply(winners, _spread_back(share, node)),)


def _product_vjp(node: Node, g: Node) -> Cotangents:
    """g times the product of the other elements, right to any order for zeros too: no division, but running products from both ends."""
    x, axes = node.operands[0], node.attrs.axes
    kept = kept_axes(axes, len(x.shape))
    order = (*kept, *axes)
    count = dims_product(x.shape[axis] for axis in axes)
    rows = tuple(x.shape[axis] for axis in kept)
    if count is None or None in x.shape:
        return (multiply(_spread_back(g, node), x),)  # only the type counts: nothing is computed for unknown dims
    flat = reshape(transpose(x, order), (*rows, count))
    last = len(rows)
    before = cumulative_prod(flat, last, exclusive=True)
    after = cumulative_prod(flat, last, exclusive=True, reverse=True)
    others = multiply(before, after)
    unflattened = reshape(others, tuple(x.shape[axis] for axis in order))
    return (multiply(_spread_back(g, node), transpose(unflattened, inverse_permutation(order))),)


def _max(attrs: ReduceAttrs, x: Array) -> Array:
    return rounded(np.max(widened(x), axis=attrs.axes, initial=lowest(x.dtype)), x.dtype)


def _min(attrs: ReduceAttrs, x: Array) -> Array:
    return rounded(np.min(widened(x), axis=attrs.axes, initial=highest(x.dtype)), x.dtype)


def _prod(attrs: ReduceAttrs, x: Array) -> Array:
    return rounded(np.prod(widened(x), axis=attrs.axes, dtype=widened(x).dtype), x.dtype)


reduce_max = _reduction("reduce_max", "maximum", is_any, _max, _extremum_vjp,
                        "The greatest over `axes` (of nothing: -inf, the least integer, false); NaN where there is one.")
reduce_min = _reduction("reduce_min", "minimum", is_any, _min, _extremum_vjp,
                        "The least over `axes` (of nothing: inf, the greatest integer, true); NaN where there is one.")
reduce_prod = _reduction("reduce_prod", "multiply", is_numeric, _prod, _product_vjp,
                         "The product over `axes` (of nothing: 1). Integers wrap.")


# argmax, argmin -------------------------------------------------------------------------------------------------------------------------

def _position(name: str, combine: str, function: Callable[..., Any], doc: str) -> Callable[[Node, int, DType], Node]:
    def infer(attrs: ArgReduceAttrs, x: TensorType) -> TensorType:
        need(is_any, name, (x,))
        if not 0 <= attrs.axis < x.rank or x.shape[attrs.axis] == 0:
            raise ValueError(f"{call(name, (x,))}: axis {attrs.axis} must be between 0 and {x.rank - 1} and not empty")
        if not attrs.dtype.is_integer:
            raise TypeError(f"{call(name, (x,))}: positions need an integer type, not {attrs.dtype.code}")
        return TensorType(attrs.dtype, x.shape[:attrs.axis] + x.shape[attrs.axis + 1:])

    primitive = declare(Primitive(
        name, ArgReduceAttrs, 1, infer, lambda attrs, x: np.asarray(function(widened(x), axis=attrs.axis)).astype(attrs.dtype.np_dtype),
        NotDifferentiable("positions are integers"), ArgReduce(combine), doc))

    def build(x: Node, axis: int, dtype: DType) -> Node:
        return make(primitive, (x,), ArgReduceAttrs(axis, dtype))
    return named(build, primitive)


argmax = _position("argmax", "maximum", np.argmax, "The first position of the greatest along `axis`; of the first NaN where there is one.")
argmin = _position("argmin", "minimum", np.argmin, "The first position of the least along `axis`; of the first NaN where there is one.")
