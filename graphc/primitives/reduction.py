"""Reductions besides the sum: max, min, prod, and the positions of the greatest and the least."""
from __future__ import annotations

import math
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
from graphc.primitives.logic import compare, convert
from graphc.primitives.movement import inverse_permutation, pad, reverse, transpose
from graphc.primitives.numerics import Array, is_float, rounded, widened
from graphc.primitives.rules import Binary, Cotangents, Domain, call, is_any, is_numeric, named, need
from graphc.primitives.sources import constant


@dataclass(frozen=True)
class ArgReduceAttrs:
    """axis: the one that vanishes. dtype: of the positions, an integer type."""

    axis: int
    dtype: DType


def lowest(dtype: np.dtype[Any]) -> Any:
    """The identity of maximum: -inf, the least integer, False."""
    if is_float(dtype):
        return -np.inf
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def highest(dtype: np.dtype[Any]) -> Any:
    """The identity of minimum: inf, the greatest integer, True."""
    if is_float(dtype):
        return np.inf
    return np.iinfo(dtype).max if dtype.kind in "iu" else True


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
    before = running(flat, last, multiply, 1)
    after = reverse(running(reverse(flat, (last,)), last, multiply, 1), (last,))
    others = multiply(before, after)
    unflattened = reshape(others, tuple(x.shape[axis] for axis in order))
    return (multiply(_spread_back(g, node), transpose(unflattened, inverse_permutation(order))),)


def running(x: Node, axis: int, combine: Binary, identity: float) -> Node:
    """For each element the combination of all before it along `axis` (`identity` for the first), by log2(n) doubling steps: W. D. Hillis
    and G. L. Steele, "Data parallel algorithms", 1986."""
    count = x.dims[axis]
    result = _shifted(x, axis, 1, identity)
    for step in range(math.ceil(math.log2(count)) if count > 1 else 0):
        result = combine(result, _shifted(result, axis, 2 ** step, identity))
    return result


def _shifted(x: Node, axis: int, by: int, fill: float) -> Node:
    """`x` moved by `by` places along `axis`, `fill` coming in."""
    by = min(by, x.dims[axis])
    low = [by if each == axis else 0 for each in range(len(x.shape))]
    return pad(x, constant(fill, x.dtype), low, [-n for n in low])


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
