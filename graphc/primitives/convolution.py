"""Convolution and its filter's gradient, channels last: two primitives that are each other's gradients, to any order.

Both stand for one trilinear form. Position p of the result y, tap t of the filter w and position q of the operand x meet where

    p * stride + t * rhs_dilation - low = q * lhs_dilation          (along each spatial axis)

and the form is the sum of x[n, q, c] w[t, c, o] y[n, p, o] over all that meet. Leaving out y gives `convolution`, leaving out w gives
`convolution_filter`; leaving out x gives a convolution too, of y with the filter reversed and strides and lhs_dilation in each other's
places. The features may fall into groups, each with filters of its own (`feature_group_count`, as many as features: depthwise).

Neither has a kernel: `graphc.passes.expand` makes products over windows of them. A transposed convolution is cut into one convolution for
each phase of its dilation, so that no zero between the elements is ever multiplied.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphc.core.dtypes import int32
from graphc.core.loops import Expanded
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType, same_dim, same_dims, show_dims
from graphc.primitives.arithmetic import multiply
from graphc.primitives.broadcast import broadcast_in_dim, full, reduce_sum, reshape
from graphc.primitives.contraction import dot_general
from graphc.primitives.logic import compare, select
from graphc.primitives.movement import concatenate, reverse, slice_, transpose
from graphc.primitives.numerics import Array, is_float, rounded
from graphc.primitives.rules import Cotangents, call, is_ordered, need
from graphc.primitives.sources import constant, iota
from graphc.primitives.windows import Ints, spread, window_count, windows, windows_of_taps

THIN = 4  # outer features up to which a tap is a row of a product, not a part of its depth
WIDE = 16  # features from which on they fill vectors


@dataclass(frozen=True)
class ConvolutionAttrs:
    """One entry for each spatial axis, and the number of groups of features. low, high: padding; negative drops elements."""

    strides: Ints
    low: Dims
    high: Dims
    lhs_dilation: Ints
    rhs_dilation: Ints
    feature_group_count: int

    @property
    def rows(self) -> Iterator[tuple[int, int, int, Dim, Dim]]:
        """For each spatial axis: stride, rhs_dilation, lhs_dilation, low, high."""
        return zip(self.strides, self.rhs_dilation, self.lhs_dilation, self.low, self.high, strict=True)


@dataclass(frozen=True)
class ConvolutionFilterAttrs(ConvolutionAttrs):
    """The attributes of the convolution of which this is the filter's gradient, and the sizes of the filter along the spatial axes."""

    sizes: Dims

    @classmethod
    def of(cls, a: ConvolutionAttrs, sizes: Dims) -> ConvolutionFilterAttrs:
        return cls(a.strides, a.low, a.high, a.lhs_dilation, a.rhs_dilation, a.feature_group_count, sizes)

    @property
    def convolution(self) -> ConvolutionAttrs:
        return ConvolutionAttrs(self.strides, self.low, self.high, self.lhs_dilation, self.rhs_dilation, self.feature_group_count)


# Types ----------------------------------------------------------------------------------------------------------------------------------

def _check(name: str, attrs: ConvolutionAttrs, x: TensorType, other: TensorType, sizes: Dims) -> None:
    """Errors for everything but features and positions. `sizes`: of the filter, along the spatial axes."""
    shown, rank = call(name, (x, other)), len(attrs.strides)
    need(is_ordered, name, (x, other))
    if x.dtype is not other.dtype:
        raise TypeError(f"{shown}: operands must have one element type")
    if x.rank != rank + 2 or other.rank != rank + 2:
        raise ValueError(f"{shown}: both operands must have {rank} spatial axes and two more")
    if any(len(each) != rank for each in (attrs.low, attrs.high, attrs.lhs_dilation, attrs.rhs_dilation)):
        raise ValueError(f"{shown}: strides, padding and dilations must have one entry for each of the {rank} spatial axes")
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(f"{shown}: the filter's sizes {show_dims(sizes)} must be positive")
    if min((1, attrs.feature_group_count, *attrs.strides, *attrs.lhs_dilation, *attrs.rhs_dilation)) < 1:
        raise ValueError(f"{shown}: strides {attrs.strides}, dilations {attrs.lhs_dilation} and {attrs.rhs_dilation} and "
                         f"feature_group_count {attrs.feature_group_count} must be positive")


def _counts(attrs: ConvolutionAttrs, shape: Dims, sizes: Dims) -> Dims:
    """The result's sizes along the spatial axes, for an operand of `shape`."""
    return tuple(window_count(size, taps, stride, dilation, base, low, high)
                 for size, taps, (stride, dilation, base, low, high) in zip(shape[1:-1], sizes, attrs.rows, strict=True))


def _convolution_type(attrs: ConvolutionAttrs, x: TensorType, w: TensorType) -> TensorType:
    _check("convolution", attrs, x, w, w.shape[:-2])
    groups, features, inner, outer = attrs.feature_group_count, x.shape[-1], w.shape[-2], w.shape[-1]
    if not same_dim(features, None if inner is None else inner * groups) or (outer is not None and outer % groups):
        raise ValueError(f"{call('convolution', (x, w))}: {groups} groups need {groups} times the filter's {inner} input features in the "
                         f"operand, and a multiple of {groups} output features")
    return x.with_shape((x.shape[0], *_counts(attrs, x.shape, w.shape[:-2]), outer))


def _filter_type(attrs: ConvolutionFilterAttrs, x: TensorType, y: TensorType) -> TensorType:
    a = attrs.convolution
    _check("convolution_filter", a, x, y, attrs.sizes)
    groups, shown = a.feature_group_count, call("convolution_filter", (x, y))
    if any(dim is not None and dim % groups for dim in (x.shape[-1], y.shape[-1])):
        raise ValueError(f"{shown}: the features of both operands must be multiples of {groups} groups")
    expected = (x.shape[0], *_counts(a, x.shape, attrs.sizes), y.shape[-1])
    if not same_dims(expected, y.shape):
        raise ValueError(f"{shown}: filters of {attrs.sizes} give {TensorType(y.dtype, expected)}")
    return x.with_shape((*attrs.sizes, None if x.shape[-1] is None else x.shape[-1] // groups, y.shape[-1]))


# References: one tap after another --------------------------------------------------------------------------------------------------------

def _accumulated(x: Array) -> Array:
    return x.astype(np.float64) if is_float(x.dtype) else x


def _padded(attrs: ConvolutionAttrs, x: Array) -> Array:
    """`x`, widened, with its elements set apart and with padding, or without what negative padding drops."""
    shape, inside, kept = list(x.shape), [slice(None)], [slice(None)]
    for axis, (_, _, base, low, high) in enumerate(attrs.rows, 1):
        before, after, extent = low or 0, high or 0, spread(x.shape[axis], base)
        shape[axis] = max(before, 0) + extent + max(after, 0)
        inside.append(slice(max(before, 0), max(before, 0) + extent, base))
        kept.append(slice(max(-before, 0), max(shape[axis] - max(-after, 0), 0)))
    wide = _accumulated(x)
    room = np.zeros(shape, wide.dtype)
    room[tuple(inside)] = wide
    return room[tuple(kept)]


def _taps(attrs: ConvolutionAttrs, x: Array, sizes: Ints, counts: Ints) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Every tap with the elements that it meets: [places, groups, features of a group], a place for each position of each example."""
    padded, groups = _padded(attrs, x), attrs.feature_group_count
    for tap in itertools.product(*map(range, sizes)):
        places = [slice(t * dilation, t * dilation + spread(count, stride), stride)
                  for t, count, (stride, dilation, *_) in zip(tap, counts, attrs.rows, strict=True)]
        yield tap, padded[(slice(None), *places)].reshape(x.shape[0] * math.prod(counts), groups, x.shape[-1] // groups)


def _convolution(attrs: ConvolutionAttrs, x: Array, w: Array) -> Array:
    groups, features = attrs.feature_group_count, w.shape[-1]
    counts = tuple(n or 0 for n in _counts(attrs, x.shape, w.shape[:-2]))
    filters = _accumulated(w).reshape(*w.shape[:-1], groups, features // groups)
    result = np.zeros((x.shape[0] * math.prod(counts), groups, features // groups), filters.dtype)
    for tap, elements in _taps(attrs, x, w.shape[:-2], counts):
        result += np.einsum("pgc,cgo->pgo", elements, filters[tap])
    return rounded(result.reshape(x.shape[0], *counts, features), x.dtype)


def _filter(attrs: ConvolutionFilterAttrs, x: Array, y: Array) -> Array:
    a = attrs.convolution
    groups, features, sizes = a.feature_group_count, y.shape[-1], tuple(n or 0 for n in attrs.sizes)
    seen = _accumulated(y).reshape(math.prod(y.shape[:-1]), groups, features // groups)
    result = np.zeros((*sizes, x.shape[-1] // groups, groups, features // groups), seen.dtype)
    for tap, elements in _taps(a, x, sizes, y.shape[1:-1]):
        result[tap] = np.einsum("pgc,pgo->cgo", elements, seen)
    return rounded(result.reshape(*sizes, x.shape[-1] // groups, features), x.dtype)


# Gradients ------------------------------------------------------------------------------------------------------------------------------

def _turned(w: Node, groups: int) -> Node:
    """The filter that leads back: reversed, its input and output features in each other's places within each group."""
    spatial, (*sizes, inner, outer) = tuple(range(len(w.shape) - 2)), w.shape
    each = None if outer is None else outer // groups
    apart = reshape(reverse(w, spatial), (*sizes, inner, groups, each))
    rank = len(sizes)
    swapped = transpose(apart, (*spatial, rank + 2, rank + 1, rank))
    return reshape(swapped, (*sizes, each, None if inner is None else groups * inner))


def _back(attrs: ConvolutionAttrs, sizes: Dims, counts: Dims, taps: Dims) -> ConvolutionAttrs:
    """The attributes of the convolution from the result, of `counts` positions, back to an operand of `sizes`, with the filter reversed.

    q * lhs_dilation = p * stride + t * rhs_dilation - low, for the reversed tap t' = taps - 1 - t, is
    p * stride = q * lhs_dilation + t' * rhs_dilation - ((taps - 1) * rhs_dilation - low).
    """
    low: list[Dim] = []
    high: list[Dim] = []
    for size, count, k, (stride, dilation, base, before, _) in zip(sizes, counts, taps, attrs.rows, strict=True):
        if size is None or count is None or k is None or before is None:
            low.append(None)
            high.append(None)
        else:
            low.append((k - 1) * dilation - before)
            high.append(spread(size, base) + before - spread(count, stride))
    return ConvolutionAttrs(attrs.lhs_dilation, tuple(low), tuple(high), attrs.strides, attrs.rhs_dilation, attrs.feature_group_count)


def _by_operand(attrs: ConvolutionAttrs, sizes: Dims, w: Node, y: Node) -> Node:
    """The gradient by the operand, of spatial `sizes`."""
    return make(CONVOLUTION, (y, _turned(w, attrs.feature_group_count)), _back(attrs, sizes, y.shape[1:-1], w.shape[:-2]))


def _convolution_vjp(node: Node, g: Node) -> Cotangents:
    (x, w), a = node.operands, node.attrs
    return (_by_operand(a, x.shape[1:-1], w, g), make(CONVOLUTION_FILTER, (x, g), ConvolutionFilterAttrs.of(a, w.shape[:-2])))


def _filter_vjp(node: Node, g: Node) -> Cotangents:
    (x, y), a = node.operands, node.attrs.convolution
    return (_by_operand(a, x.shape[1:-1], g, y), make(CONVOLUTION, (x, g), a))


# Expansions -----------------------------------------------------------------------------------------------------------------------------

def _expand(node: Node) -> Node:
    """A product of windows with the filter: [n, positions..., taps..., features] by [taps..., features, outer features]."""
    (x, w), a = node.operands, node.attrs
    if not x.type.size or not node.type.size:
        return full(0, node.type)
    rank, groups = len(a.strides), a.feature_group_count
    dilated = next((axis for axis, base in enumerate(a.lhs_dilation) if base > 1), None)
    if dilated is not None:
        return _phases(node, dilated)
    if groups == 1 and _is_thin(a, w):
        return _tap_by_tap(node)
    together = _together(groups, w.dims[-2], w.dims[-1] // groups)
    if together > 1:
        return make(CONVOLUTION, (x, _block_diagonal(w, groups, together)), replace(a, feature_group_count=groups // together))
    seen = windows(x, constant(0, x.dtype), 1, w.dims[:rank], a.strides, a.rhs_dilation, a.low, a.high)
    taps = tuple(range(1 + rank, 1 + 2 * rank))
    if groups == 1:
        return dot_general(seen, w, (), (), (*taps, 1 + 2 * rank), tuple(range(rank + 1)))
    seen, filters = _in_groups(seen, groups), _in_groups(w, groups)
    if min(seen.dims[-1], filters.dims[-1]) > 1:
        product = dot_general(seen, filters, (1 + 2 * rank,), (rank + 1,), (*taps, 2 + 2 * rank), tuple(range(rank + 1)))
        return reshape(transpose(product, (*range(1, rank + 2), 0, rank + 2)), node.dims)
    filters = transpose(filters, (*range(rank), rank + 1, rank, rank + 2))
    last = len(seen.dims)
    terms = _terms(seen, tuple(range(last)), filters, (*taps, last - 2, last - 1, last))
    return reshape(reduce_sum(terms, (*taps, last - 1)), node.dims)


def _is_thin(a: ConvolutionAttrs, w: Node) -> bool:
    """Whether the outer features are so few that a product would mostly wait for its operand, and no element is seen in vain."""
    return w.dims[-1] <= THIN and w.dims[-2] >= WIDE and math.prod(w.dims[:-2]) > 1 and max((1, *a.strides)) == 1


def _tap_by_tap(node: Node) -> Node:
    """Each tap's products with all elements first, [taps..., outer features, n, spatial...]: as a product of matrices that has a row for
    each tap. Then at each position the sum of what its taps have seen."""
    (x, w), a = node.operands, node.attrs
    rank = len(a.strides)
    products = dot_general(w, x, (), (), (rank,), (rank + 1,))
    seen = windows_of_taps(transpose(products, (rank + 1, *range(rank + 2, 2 * rank + 2), *range(rank + 1))), constant(0, x.dtype), 1,
                           node.dims[1:-1], a.strides, a.rhs_dilation, a.low, a.lhs_dilation)
    taps_first = transpose(seen, (*range(rank + 1, 2 * rank + 1), 2 * rank + 1, *range(rank + 1)))
    return transpose(reduce_sum(taps_first, range(rank)), (*range(1, rank + 2), 0))


def _together(groups: int, inner: int, outer: int) -> int:
    """How many neighbouring groups are better computed as one, with zeros where they do not meet: while they are narrower than a vector."""
    if groups == 1 or min(inner, outer) == 1:
        return 1
    return next((count for count in range(1, groups + 1) if groups % count == 0 and count * max(inner, outer) >= WIDE), groups)


def _block_diagonal(w: Node, groups: int, together: int) -> Node:
    """Filters [spatial..., inner, groups * outer] as those of groups / together groups, which have zeros where two of the former meet."""
    *sizes, inner, outer = w.dims
    rank, each = len(sizes), outer // groups
    apart = reshape(w, (*sizes, inner, groups // together, together, each))
    shape = (*sizes, together, inner, groups // together, together, each)
    everywhere = broadcast_in_dim(apart, shape, (*range(rank), *range(rank + 1, rank + 5)))
    blocks = select(_meets(shape, rank, rank + 3), everywhere, full(0, everywhere.type))
    return reshape(blocks, (*sizes, together * inner, outer))


def _diagonal_blocks(dense: Node, groups: int, together: int) -> Node:
    """Undoes `_block_diagonal`: [spatial..., together * inner, groups * outer] without what lies beside the diagonal."""
    *sizes, many, outer = dense.dims
    rank, inner, each = len(sizes), many // together, outer // groups
    shape = (*sizes, together, inner, groups // together, together, each)
    blocks = reshape(dense, shape)
    kept = reduce_sum(select(_meets(shape, rank, rank + 3), blocks, full(0, blocks.type)), (rank,))
    return reshape(kept, (*sizes, inner, outer))


def _meets(shape: Ints, first: int, second: int) -> Node:
    """Where two axes have the same index."""
    return compare(iota(shape, first, int32), iota(shape, second, int32), "EQ")


def _in_groups(x: Node, groups: int) -> Node:
    """The last axis cut into groups and what is in each."""
    return reshape(x, (*x.dims[:-1], groups, x.dims[-1] // groups))


def _terms(x: Node, x_axes: Ints, y: Node, y_axes: Ints) -> Node:
    """Every product of an element of `x` with one of `y`, for operands that share almost all axes: where a product of matrices would have
    a single row or column, its sums are better made directly."""
    sizes = dict(zip(x_axes, x.dims, strict=True)) | dict(zip(y_axes, y.dims, strict=True))
    shape = tuple(sizes[axis] for axis in range(len(sizes)))
    return multiply(broadcast_in_dim(x, shape, x_axes), broadcast_in_dim(y, shape, y_axes))


def _phases(node: Node, axis: int) -> Node:
    """A convolution whose operand is dilated along spatial axis `axis`: one that is not for each phase of the positions, put side by side.

    Position period * n + phase meets only taps first + step * u, and of the operand element n * (period * stride / base) +
    u * (step * dilation / base) + (phase * stride + first * dilation - low) / base.
    """
    (x, w), a = node.operands, node.attrs
    stride, dilation, base, low = a.strides[axis], a.rhs_dilation[axis], a.lhs_dilation[axis], a.low[axis] or 0
    taps, count = w.dims[axis], node.dims[1 + axis]
    period, step = base // math.gcd(base, stride), base // math.gcd(base, dilation)
    length = -(-count // period)
    parts = []
    for phase in range(period):
        first = next((t for t in range(taps) if (phase * stride + t * dilation - low) % base == 0), taps)
        filters = _along(w, axis, first, taps, step)
        if filters.dims[axis]:
            before = -((phase * stride + first * dilation - low) // base)
            changed = period * stride // base, step * dilation // base, before
            parts.append(make(CONVOLUTION, (x, filters), _undilated(a, axis, *changed, x.dims[1 + axis], filters.dims[axis], length)))
        else:
            parts.append(full(0, node.type.with_shape((*node.dims[:1 + axis], length, *node.dims[2 + axis:]))))
    return _along(_interleaved(parts, 1 + axis), 1 + axis, 0, count, 1)


def _undilated(a: ConvolutionAttrs, axis: int, stride: int, dilation: int, low: int, size: int, taps: int, count: int) -> ConvolutionAttrs:
    """`a` without dilation of the operand along `axis`, padded after it so that there are `count` positions."""
    high = spread(count, stride) - 1 + spread(taps, dilation) - low - size
    def with_entry(entries: Dims, value: int) -> Ints:
        return tuple(value if each == axis else entry or 0 for each, entry in enumerate(entries))

    return ConvolutionAttrs(
        with_entry(a.strides, stride), with_entry(a.low, low), with_entry(a.high, high), with_entry(a.lhs_dilation, 1),
        with_entry(a.rhs_dilation, dilation), a.feature_group_count)


def _along(x: Node, axis: int, start: int, limit: int, stride: int) -> Node:
    """x[start:limit:stride] along one axis."""
    rank = len(x.dims)
    return slice_(x, [start if each == axis else 0 for each in range(rank)],
                  [limit if each == axis else size for each, size in enumerate(x.dims)],
                  [stride if each == axis else 1 for each in range(rank)])


def _interleaved(parts: Sequence[Node], axis: int) -> Node:
    """The first elements of all `parts` along `axis`, then the second ones, and so on."""
    dims = parts[0].dims
    apart = [reshape(part, (*dims[:axis + 1], 1, *dims[axis + 1:])) for part in parts]
    return reshape(concatenate(apart, axis + 1), (*dims[:axis], dims[axis] * len(parts), *dims[axis + 1:]))


def _expand_filter(node: Node) -> Node:
    """A product over all positions: windows [n, positions..., taps..., features] by the gradient [n, positions..., outer features]."""
    (x, y), a = node.operands, node.attrs.convolution
    rank, groups, sizes = len(a.strides), a.feature_group_count, node.dims[:-2]
    if not x.type.size or not y.type.size or not node.type.size:
        return full(0, node.type)
    if math.prod(a.lhs_dilation) > math.prod(a.strides):
        # Few elements of each window of x are there, but every element of y is in windows over y: the same sums seen from the other side.
        back = ConvolutionFilterAttrs.of(_back(a, x.dims[1:-1], y.dims[1:-1], sizes), sizes)
        return _turned(make(CONVOLUTION_FILTER, (y, x), back), groups)
    together = _together(groups, x.dims[-1] // groups, y.dims[-1] // groups)
    if together > 1:
        dense = ConvolutionFilterAttrs.of(replace(a, feature_group_count=groups // together), sizes)
        return _diagonal_blocks(make(CONVOLUTION_FILTER, (x, y), dense), groups, together)
    if groups > 1 and 1 in (x.dims[-1] // groups, y.dims[-1] // groups):
        return _filter_tap_by_tap(node)
    if groups == 1 and _is_narrow(a, sizes, x.dims[-1]):
        return _filter_in_rows(node)
    seen = windows(x, constant(0, x.dtype), 1, sizes, a.strides, a.rhs_dilation, a.low, a.high, a.lhs_dilation)
    positions = tuple(range(1 + rank))
    if groups == 1:
        return dot_general(seen, y, (), (), positions, positions)
    product = dot_general(_in_groups(seen, groups), _in_groups(y, groups), (2 * rank + 1,), (rank + 1,), positions, positions)
    return reshape(transpose(product, (*range(1, rank + 2), 0, rank + 2)), node.dims)


def _is_narrow(a: ConvolutionAttrs, sizes: Ints, features: int) -> bool:
    """Whether a tap's features fill no vector, but those of a row of taps, which lie side by side, almost do."""
    if not sizes or features >= WIDE or a.rhs_dilation[-1] > 1 or a.lhs_dilation[-1] > 1:
        return False
    row = sizes[-1] * features
    return row > 1 and row % WIDE > 0 and _whole(row) <= 2 * row


def _whole(row: int) -> int:
    """`row` elements in whole vectors."""
    return -(-row // WIDE) * WIDE


def _filter_in_rows(node: Node) -> Node:
    """With the features of a row as more of its elements: a filter of one feature, its rows filled up to vectors and cut off after."""
    (x, y), a = node.operands, node.attrs.convolution
    *above, taps = node.dims[:-2]
    features, elements = x.dims[-1], x.dims[-2] * x.dims[-1]
    stride, low = a.strides[-1] * features, (a.low[-1] or 0) * features
    high = spread(y.dims[-2], stride) - 1 + _whole(taps * features) - low - elements
    rows = replace(a, strides=(*a.strides[:-1], stride), low=(*a.low[:-1], low), high=(*a.high[:-1], high))
    filled = make(CONVOLUTION_FILTER, (reshape(x, (*x.dims[:-2], elements, 1)), y), ConvolutionFilterAttrs.of(
        rows, (*above, _whole(taps * features))))
    return reshape(_along(filled, len(above), 0, taps * features, 1), node.dims)


def _filter_tap_by_tap(node: Node) -> Node:
    """Of groups with one feature: a sum of factors for each tap. All taps' sums read the same gradient, so they share a kernel, which holds
    them in registers and reads everything once."""
    (x, y), a = node.operands, node.attrs.convolution
    rank, groups, sizes = len(a.strides), a.feature_group_count, node.dims[:-2]
    given = _in_groups(y, groups)
    dims = (*given.dims[:-1], x.dims[-1] // groups, given.dims[-1])  # n, positions..., groups, features of a group, outer ones
    factors = broadcast_in_dim(given, dims, (*range(rank + 2), rank + 3))
    sums = []
    for tap in itertools.product(*map(range, sizes)):
        low = tuple((before or 0) - t * d for before, t, d in zip(a.low, tap, a.rhs_dilation, strict=True))
        seen = windows_of_taps(reshape(x, (*x.dims[:-1], *(1,) * rank, x.dims[-1])), constant(0, x.dtype), 1, y.dims[1:-1], a.strides,
                               a.rhs_dilation, low, a.lhs_dilation)
        elements = broadcast_in_dim(reshape(seen, dims[:-1]), dims, range(rank + 3))
        total = reduce_sum(multiply(elements, factors), range(rank + 1))
        sums.append(reshape(transpose(total, (1, 0, 2)), (1, *node.dims[-2:])))
    return reshape(concatenate(sums, 0), node.dims)


# Declarations ---------------------------------------------------------------------------------------------------------------------------

CONVOLUTION = declare(Primitive(
    "convolution", ConvolutionAttrs, 2, _convolution_type, _convolution, _convolution_vjp, Expanded(_expand),
    "x [n, spatial..., features] with filters [spatial..., features of a group, outer features]: [n, positions..., outer features]."))
CONVOLUTION_FILTER = declare(Primitive(
    "convolution_filter", ConvolutionFilterAttrs, 2, _filter_type, _filter, _filter_vjp, Expanded(_expand_filter),
    "The gradient of a convolution of x by its filter: x [n, spatial..., features] with y [n, positions..., outer features]."))


def _attributes(rank: int, strides: Sequence[int] | None, low: Sequence[Dim] | None, high: Sequence[Dim] | None,
                lhs_dilation: Sequence[int] | None, rhs_dilation: Sequence[int] | None, groups: int) -> ConvolutionAttrs:
    ones, zeros = (1,) * rank, (0,) * rank
    return ConvolutionAttrs(tuple(strides or ones), zeros if low is None else tuple(low), zeros if high is None else tuple(high),
                            tuple(lhs_dilation or ones), tuple(rhs_dilation or ones), groups)


def convolution(x: Node, w: Node, strides: Sequence[int] | None = None, low: Sequence[Dim] | None = None,
                high: Sequence[Dim] | None = None, lhs_dilation: Sequence[int] | None = None, rhs_dilation: Sequence[int] | None = None,
                feature_group_count: int = 1) -> Node:
    """`x` [n, spatial..., features] with filters `w` [spatial..., features / groups, outer features]: [n, positions..., outer features].

    Strides and dilations of 1 and no padding are the defaults. Group g of the features meets group g of the outer features.
    """
    attrs = _attributes(len(x.shape) - 2, strides, low, high, lhs_dilation, rhs_dilation, feature_group_count)
    return make(CONVOLUTION, (x, w), attrs)


def convolution_filter(x: Node, y: Node, sizes: Sequence[Dim], strides: Sequence[int] | None = None, low: Sequence[Dim] | None = None,
                       high: Sequence[Dim] | None = None, lhs_dilation: Sequence[int] | None = None,
                       rhs_dilation: Sequence[int] | None = None, feature_group_count: int = 1) -> Node:
    """The gradient by the filter, of spatial `sizes`, of the convolution of `x` that has these attributes, where `y` is that of its result:
    [sizes..., features / groups, outer features]."""
    attrs = _attributes(len(x.shape) - 2, strides, low, high, lhs_dilation, rhs_dilation, feature_group_count)
    return make(CONVOLUTION_FILTER, (x, y), ConvolutionFilterAttrs.of(attrs, tuple(sizes)))


def convolution_back(y: Node, w: Node, sizes: Sequence[Dim], strides: Sequence[int] | None = None, low: Sequence[Dim] | None = None,
                     high: Sequence[Dim] | None = None, lhs_dilation: Sequence[int] | None = None,
                     rhs_dilation: Sequence[int] | None = None, feature_group_count: int = 1) -> Node:
    """The gradient by the operand, of spatial `sizes`, of the convolution with `w` that has these attributes, where `y` is that of its
    result: [n, sizes..., features]. Also called a transposed convolution of `y`."""
    attrs = _attributes(len(y.shape) - 2, strides, low, high, lhs_dilation, rhs_dilation, feature_group_count)
    return _by_operand(attrs, tuple(sizes), w, y)
