"""Reductions of sliding windows: pooling, and the way back through it. All of it is expanded into the windows view and reductions.

    reduce_window(x)             for each window the sum, product, greatest or least of its elements
    select_and_scatter(x, y)     each window's y goes to the place of its greatest element of x: the gradient of the greatest
    select_and_gather(x, y)      each window's element of y at the place of its greatest element of x: the gradient of that

The three are closed under differentiation. Nothing of the size of all windows ever stands in memory: a window's chosen tap is one small
number, and every element of the operand collects from the few windows that cover it (`_covering`).
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.loops import Expanded
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType, same_dims
from graphc.primitives.arithmetic import add, multiply
from graphc.primitives.broadcast import broadcast_in_dim, full, reduce_sum, reshape
from graphc.primitives.logic import compare, select
from graphc.primitives.movement import slice_
from graphc.primitives.numerics import Array, highest, lowest, rounded, widened
from graphc.primitives.reduction import reduce_max, reduce_min, reduce_prod
from graphc.primitives.rules import Cotangents, call, is_ordered, need
from graphc.primitives.sources import constant, iota
from graphc.primitives.windows import spread, window_count, windows

Ints = tuple[int, ...]
NO_TAP = 2 ** 31 - 1  # where no element of a window equals its greatest, which is NaN


@dataclass(frozen=True)
class ReduceWindowAttrs:
    """combine: "add", "multiply", "maximum" or "minimum". Then an entry for each axis of the operand: elements in a window, steps from one
    window to the next, from one tap to the next and from one element of the operand to the next, padding before and after."""

    combine: str
    sizes: Ints
    strides: Ints
    dilations: Ints
    base_dilations: Ints
    low: Dims
    high: Dims

    @property
    def rows(self) -> Iterator[tuple[int, int, int, int, Dim, Dim]]:
        """For each axis: size, stride, dilation, base dilation, low, high."""
        return zip(self.sizes, self.strides, self.dilations, self.base_dilations, self.low, self.high, strict=True)

    @property
    def spatial(self) -> range:
        """The axes from the first to the last along which there is more than every element by itself."""
        axes = [axis for axis, row in enumerate(self.rows) if row != (1, 1, 1, 1, 0, 0)]
        return range(axes[0], axes[-1] + 1) if axes else range(0)


_COMBINES: dict[str, tuple[np.ufunc, Callable[[np.dtype[Any]], Any], Callable[[Node, Sequence[int]], Node]]] = {
    "add": (np.add, lambda dtype: 0, reduce_sum),
    "multiply": (np.multiply, lambda dtype: 1, reduce_prod),
    "maximum": (np.maximum, lowest, reduce_max),
    "minimum": (np.minimum, highest, reduce_min),
}


def _positions(name: str, attrs: ReduceWindowAttrs, types: Sequence[TensorType]) -> Dims:
    """How many windows there are along each axis of the first operand; ValueError where the attributes do not fit it."""
    x, shown = types[0], call(name, types)
    fields = (attrs.sizes, attrs.strides, attrs.dilations, attrs.base_dilations, attrs.low, attrs.high)
    if any(len(field) != x.rank for field in fields):
        raise ValueError(f"{shown}: sizes, strides, dilations and padding must have one entry for each of its {x.rank} axes")
    if any(n < 1 for field in fields[:4] for n in field):
        raise ValueError(f"{shown}: sizes {attrs.sizes}, strides {attrs.strides}, dilations {attrs.dilations} and "
                         f"{attrs.base_dilations} must be positive")
    return tuple(window_count(dim, *row) for dim, row in zip(x.shape, attrs.rows, strict=True))


# References: tap by tap over the padded operand -----------------------------------------------------------------------------------------

def _boxes(attrs: ReduceWindowAttrs, shape: Ints) -> tuple[Ints, tuple[slice, ...], list[tuple[slice, ...]]]:
    """For an operand of `shape`: the shape of it dilated and padded, where its elements stand there, and for each tap in row-major order
    where the elements of that tap stand. Negative padding is left to stand: the boxes begin after it."""
    whole, inside, starts, counts = [], [], [], []
    for dim, (size, stride, dilation, base, low, high) in zip(shape, attrs.rows, strict=True):
        count = window_count(dim, size, stride, dilation, base, low, high) or 0
        before = max(low or 0, 0)
        starts.append(before - (low or 0))
        end = starts[-1] + spread(size, dilation) + (count - 1) * stride if count else 0
        whole.append(max(before + spread(dim, base), end))
        inside.append(slice(before, before + spread(dim, base), base))
        counts.append(count)
    taps = [tuple(slice(start + tap * dilation, start + tap * dilation + spread(count, stride), stride)
                  for start, tap, dilation, count, stride in zip(starts, place, attrs.dilations, counts, attrs.strides, strict=True))
            for place in itertools.product(*map(range, attrs.sizes))]
    return tuple(whole), tuple(inside), taps


def _reduce_window(attrs: ReduceWindowAttrs, x: Array) -> Array:
    ufunc, identity, _ = _COMBINES[attrs.combine]
    shape, inside, taps = _boxes(attrs, x.shape)
    padded = np.full(shape, identity(x.dtype), widened(x).dtype)
    padded[inside] = widened(x)
    result = np.full_like(padded[taps[0]], identity(x.dtype))
    with np.errstate(over="ignore", invalid="ignore"):
        for tap in taps:
            result = ufunc(result, padded[tap])
    return rounded(result, x.dtype)


def _chosen(attrs: ReduceWindowAttrs, x: Array) -> Array:
    """For each window the number of its first tap that equals its extremum; as many as there are taps where none does."""
    _, identity, _ = _COMBINES[attrs.combine]
    shape, inside, taps = _boxes(attrs, x.shape)
    padded = np.full(shape, identity(x.dtype), x.dtype)
    padded[inside] = x
    best = _reduce_window(attrs, x)
    result = np.full(best.shape, len(taps))
    for number, tap in reversed(list(enumerate(taps))):
        result[padded[tap] == best] = number
    return result


def _select_and_scatter(attrs: ReduceWindowAttrs, x: Array, source: Array) -> Array:
    shape, inside, taps = _boxes(attrs, x.shape)
    chosen, result = _chosen(attrs, x), np.zeros(shape, widened(source).dtype)
    for number, tap in enumerate(taps):
        result[tap] += np.where(chosen == number, widened(source), 0)
    return rounded(result[inside], source.dtype)


def _select_and_gather(attrs: ReduceWindowAttrs, x: Array, operand: Array) -> Array:
    shape, inside, taps = _boxes(attrs, x.shape)
    padded = np.zeros(shape, operand.dtype)
    padded[inside] = operand
    chosen = _chosen(attrs, x)
    result = np.zeros(chosen.shape, operand.dtype)
    for number, tap in enumerate(taps):
        result = np.where(chosen == number, padded[tap], result)
    return result


# Expansions -----------------------------------------------------------------------------------------------------------------------------

def _windows_of(attrs: ReduceWindowAttrs, x: Node, value: Any) -> Node:
    """The windows of `x` over the spatial axes of `attrs`, `value` around it: [lead..., positions..., taps..., rest...]."""
    first, end = attrs.spatial.start, attrs.spatial.stop
    return windows(x, constant(value, x.dtype), first, attrs.sizes[first:end], attrs.strides[first:end], attrs.dilations[first:end],
                   attrs.low[first:end], attrs.high[first:end], attrs.base_dilations[first:end])


def _taps(attrs: ReduceWindowAttrs) -> range:
    """The axes of taps of `_windows_of`."""
    axes = attrs.spatial
    return range(axes.stop, axes.stop + len(axes))


def _expand_reduce_window(node: Node) -> Node:
    (x,), attrs = node.operands, node.attrs
    _, identity, reduce = _COMBINES[attrs.combine]
    if not attrs.spatial:
        return x
    plain = all(n == 1 for n in (*attrs.strides, *attrs.dilations))
    if plain and any(n > 1 for n in attrs.base_dilations) and 0 not in x.dims:
        return _collected(x, attrs, reduce, identity(x.dtype.np_dtype))
    return reduce(_windows_of(attrs, x, identity(x.dtype.np_dtype)), _taps(attrs))


@dataclass(frozen=True)
class _Covering:
    """The windows that cover each element, where windows of `size` taps stand `stride` apart, the first `low` before element 0.

    Element q stands at place q + low = quotient * stride + phase. Window `quotient - j` covers it with its tap j * stride + phase, for
    each j below `count`, as far as that is a tap. Quotients run from `first` on and are `quotients` many: all that the elements have.
    """

    size: int
    stride: int
    low: int
    elements: int

    @property
    def count(self) -> int:
        return -(-self.size // self.stride)

    @property
    def first(self) -> int:
        return self.low // self.stride

    @property
    def quotients(self) -> int:
        return (self.low + self.elements - 1) // self.stride - self.first + 1


def _covering_windows(values: Node, value: Any, covers: Sequence[_Covering], axes: range) -> Node:
    """For windows' `values` [lead..., windows..., rest...] those that cover each element: [lead..., elements..., last to first covering
    window along each axis..., rest...]; `value` where there is no window."""
    counts = [c.count for c in covers]
    low = [c.count - 1 - c.first for c in covers]
    high = [c.quotients + c.first - values.dims[axis] for c, axis in zip(covers, axes, strict=True)]
    near = windows(values, constant(value, values.dtype), axes.start, counts, None, None, low, high)
    rank, start, end = len(axes), axes.start, axes.stop
    phases = [n for c in covers for n in (c.quotients, c.stride)]
    dims = (*range(start), *range(start, start + 2 * rank, 2), *range(start + 2 * rank, len(near.shape) + rank))
    spread_out = broadcast_in_dim(near, (*near.dims[:start], *phases, *near.dims[end:]), dims)
    flat = reshape(spread_out, (*near.dims[:start], *(c.quotients * c.stride for c in covers), *near.dims[end:]))
    begin, limit = [0] * len(flat.dims), list(flat.dims)
    for axis, cover in zip(axes, covers, strict=True):
        begin[axis] = cover.low - cover.first * cover.stride
        limit[axis] = begin[axis] + cover.elements
    return slice_(flat, begin, limit)


def _covering_tap(shape: Ints, cover: _Covering, axis: int, back: int) -> Node:
    """Beside each of the covering windows in an array of `shape`, its tap along `axis`; the windows run along the axis `back`."""
    behind = constant((cover.count - 1 - np.arange(cover.count)) * cover.stride, dtypes.int32)
    phase = constant((np.arange(cover.elements) + cover.low) % cover.stride, dtypes.int32)
    return add(broadcast_in_dim(behind, shape, (back,)), broadcast_in_dim(phase, shape, (axis,)))


def _collected(x: Node, attrs: ReduceWindowAttrs, reduce: Callable[[Node, Sequence[int]], Node], identity: Any) -> Node:
    """reduce_window of an operand set apart: each result combines the few elements that fall into its window, no zeros between them."""
    axes = attrs.spatial
    shape = tuple(window_count(dim, *row) or 0 for dim, row in zip(x.dims, attrs.rows, strict=True))
    if 0 in shape:
        return full(identity, x.type.with_shape(shape))
    covers = [_Covering(attrs.sizes[a], attrs.base_dilations[a], attrs.sizes[a] - 1 - (attrs.low[a] or 0), shape[a]) for a in axes]
    near, taps = _covering_windows(x, identity, covers, axes), _taps(attrs)
    for axis, back, cover in zip(axes, taps, covers, strict=True):
        if cover.size % cover.stride:  # the last covering window does not reach every phase
            tap = _covering_tap(near.dims, cover, axis, back)
            near = select(compare(tap, full(cover.size, tap.type), "LT"), near, full(identity, near.type))
    return reduce(near, taps)


def _tap_numbers(attrs: ReduceWindowAttrs, shape: Ints, taps: Sequence[int]) -> Node:
    """The number of each tap, in an array of `shape` whose axes `taps` are the taps: ascending in row-major order."""
    total: Node | None = None
    for axis, pitch in zip(taps, _pitches(attrs), strict=True):
        along = iota(shape, axis, dtypes.int32)
        scaled = along if pitch == 1 else multiply(along, full(pitch, along.type))
        total = scaled if total is None else add(total, scaled)
    assert total is not None
    return total


def _pitches(attrs: ReduceWindowAttrs) -> list[int]:
    """What a step along each spatial axis adds to the number of a tap; wide enough for the taps that covering windows would have."""
    rooms = [-(-attrs.sizes[axis] // attrs.strides[axis]) * attrs.strides[axis] for axis in attrs.spatial]
    return [math.prod(rooms[k + 1:]) for k in range(len(rooms))]


def _chosen_taps(attrs: ReduceWindowAttrs, x: Node) -> Node:
    """For each window the number (int32) of its first tap that equals its extremum, NO_TAP where none does."""
    _, identity, reduce = _COMBINES[attrs.combine]
    seen, taps = _windows_of(attrs, x, identity(x.dtype.np_dtype)), _taps(attrs)
    kept = [axis for axis in range(len(seen.shape)) if axis not in taps]
    best = broadcast_in_dim(reduce(seen, taps), seen.dims, kept)
    numbers = _tap_numbers(attrs, seen.dims, taps)
    return reduce_min(select(compare(seen, best, "EQ"), numbers, full(NO_TAP, numbers.type)), taps)


def _expand_scatter(node: Node) -> Node:
    (x, source), attrs = node.operands, node.attrs
    axes = attrs.spatial
    if not axes:
        return source
    if 0 in source.dims or 0 in x.dims:
        return full(0, x.type)
    chosen = _chosen_taps(attrs, x)
    if any(attrs.dilations[axis] > 1 or attrs.base_dilations[axis] > 1 for axis in axes):
        return _scattered_by_taps(attrs, x, source, chosen)
    covers = [_Covering(attrs.sizes[axis], attrs.strides[axis], attrs.low[axis] or 0, x.dims[axis]) for axis in axes]
    values, places = (_covering_windows(each, fill, covers, axes) for each, fill in ((source, 0), (chosen, NO_TAP)))
    taps = _taps(attrs)
    number: Node | None = None
    for axis, back, cover, pitch in zip(axes, taps, covers, _pitches(attrs), strict=True):
        tap = _covering_tap(values.dims, cover, axis, back)
        scaled = multiply(tap, full(pitch, tap.type))
        number = scaled if number is None else add(number, scaled)
    assert number is not None
    return reduce_sum(select(compare(places, number, "EQ"), values, full(0, values.type)), taps)


def _scattered_by_taps(attrs: ReduceWindowAttrs, x: Node, source: Node, chosen: Node) -> Node:
    """The same for dilated windows: each element asks, for every tap, the window whose tap it is."""
    back = _transposed(attrs, x.dims, source.dims)
    values, places = (_windows_of(back, each, fill) for each, fill in ((source, 0), (chosen, NO_TAP)))
    taps = _taps(attrs)
    last = sum((attrs.sizes[axis] - 1) * pitch for axis, pitch in zip(attrs.spatial, _pitches(attrs), strict=True))
    numbers = _tap_numbers(attrs, values.dims, taps)
    numbers = add(full(last, numbers.type), multiply(numbers, full(-1, numbers.type)))
    mine = select(compare(places, numbers, "EQ"), values, full(0, values.type))
    return reduce_sum(mine, taps)


def _transposed(attrs: ReduceWindowAttrs, elements: Dims, counts: Dims) -> ReduceWindowAttrs:
    """The windows of the results by which each of `elements` sees the windows it is in, last tap first: strides and base dilations in each
    other's places. counts: the number of windows along each axis."""
    low: list[Dim] = []
    high: list[Dim] = []
    for dim, count, (size, stride, dilation, base, before, _) in zip(elements, counts, attrs.rows, strict=True):
        if before is None or dim is None or count is None:
            low.append(None)
            high.append(None)
            continue
        low.append(spread(size, dilation) - 1 - before)
        high.append((dim - 1) * base + before + 1 - spread(count, stride))
    return replace(attrs, combine="add", strides=attrs.base_dilations, base_dilations=attrs.strides, low=tuple(low), high=tuple(high))


def _expand_gather(node: Node) -> Node:
    (x, operand), attrs = node.operands, node.attrs
    if not attrs.spatial:
        return operand
    seen, taps = _windows_of(attrs, operand, 0), _taps(attrs)
    kept = [axis for axis in range(len(seen.shape)) if axis not in taps]
    chosen = broadcast_in_dim(_chosen_taps(attrs, x), seen.dims, kept)
    return reduce_sum(select(compare(chosen, _tap_numbers(attrs, seen.dims, taps), "EQ"), seen, full(0, seen.type)), taps)


# Declarations ---------------------------------------------------------------------------------------------------------------------------

def _reduce_window_type(attrs: ReduceWindowAttrs, x: TensorType) -> TensorType:
    need(is_ordered, "reduce_window", (x,))
    if attrs.combine not in _COMBINES:
        raise ValueError(f"{call('reduce_window', (x,))}: combine {attrs.combine!r} must be one of {', '.join(_COMBINES)}")
    return x.with_shape(_positions("reduce_window", attrs, (x,)))


def _select_types(name: str, attrs: ReduceWindowAttrs, x: TensorType, other: TensorType) -> Dims:
    need(is_ordered, name, (x, other))
    if attrs.combine not in {"maximum", "minimum"}:
        raise ValueError(f"{call(name, (x, other))}: combine {attrs.combine!r} must be maximum or minimum")
    return _positions(name, attrs, (x, other))


def _scatter_type(attrs: ReduceWindowAttrs, x: TensorType, source: TensorType) -> TensorType:
    expected = _select_types("select_and_scatter", attrs, x, source)
    if not same_dims(expected, source.shape):
        raise ValueError(f"{call('select_and_scatter', (x, source))}: operand 1 must have shape {source.with_shape(expected)}")
    return source.with_shape(x.shape)


def _gather_type(attrs: ReduceWindowAttrs, x: TensorType, operand: TensorType) -> TensorType:
    expected = _select_types("select_and_gather", attrs, x, operand)
    if not same_dims(x.shape, operand.shape):
        raise ValueError(f"{call('select_and_gather', (x, operand))}: operands must have one shape")
    return operand.with_shape(expected)


def _reduce_window_vjp(node: Node, g: Node) -> Cotangents:
    (x,), attrs = node.operands, node.attrs
    if attrs.combine == "add":
        return (reshape(make(REDUCE_WINDOW, (g,), _transposed(attrs, x.shape, g.shape)), x.shape),)
    if attrs.combine == "multiply":
        return tuple(vjp([reduce_prod(_windows_of(attrs, x, 1), _taps(attrs))], [x], [g])) if attrs.spatial else (g,)
    return (make(SELECT_AND_SCATTER, (x, g), attrs),)


def _still(node: Node) -> Node:
    """Zero: where the greatest element stands does not change with its value, wherever there is a derivative."""
    return full(0, node.operands[0].type)


REDUCE_WINDOW = declare(Primitive(
    "reduce_window", ReduceWindowAttrs, 1, _reduce_window_type, _reduce_window, _reduce_window_vjp, Expanded(_expand_reduce_window),
    "The elements of every window combined; outside the operand and between its elements stands what changes nothing."))
SELECT_AND_SCATTER = declare(Primitive(
    "select_and_scatter", ReduceWindowAttrs, 2, _scatter_type, _select_and_scatter,
    lambda node, g: (_still(node), select_and_gather(node.operands[0], g, node.attrs)), Expanded(_expand_scatter),
    "Each window's element of operand 1 added where its first greatest (least) element of operand 0 stands; nowhere where that is NaN."))
SELECT_AND_GATHER = declare(Primitive(
    "select_and_gather", ReduceWindowAttrs, 2, _gather_type, _select_and_gather,
    lambda node, g: (_still(node), select_and_scatter(node.operands[0], g, node.attrs)), Expanded(_expand_gather),
    "For each window the element of operand 1 where its first greatest (least) element of operand 0 stands; 0 where that is NaN."))


def window_attrs(x: Node, combine: str, sizes: Sequence[int], strides: Sequence[int] | None = None, dilations: Sequence[int] | None = None,
                 low: Sequence[Dim] | None = None, high: Sequence[Dim] | None = None,
                 base_dilations: Sequence[int] | None = None) -> ReduceWindowAttrs:
    """The attributes of windows over `x`: an entry for each axis; ones and zeros where nothing is said."""
    ones, zeros = (1,) * len(x.shape), (0,) * len(x.shape)
    return ReduceWindowAttrs(combine, tuple(sizes), tuple(strides or ones), tuple(dilations or ones), tuple(base_dilations or ones),
                             zeros if low is None else tuple(low), zeros if high is None else tuple(high))


def reduce_window(x: Node, combine: str, sizes: Sequence[int], strides: Sequence[int] | None = None,
                  dilations: Sequence[int] | None = None, low: Sequence[Dim] | None = None, high: Sequence[Dim] | None = None,
                  base_dilations: Sequence[int] | None = None) -> Node:
    """`combine`, "add", "multiply", "maximum" or "minimum", over the windows of `sizes` of `x`; lists have an entry for each axis."""
    return make(REDUCE_WINDOW, (x,), window_attrs(x, combine, sizes, strides, dilations, low, high, base_dilations))


def select_and_scatter(x: Node, source: Node, attrs: ReduceWindowAttrs) -> Node:
    """Each window's element of `source` added where the first greatest (least) element of `x` in it stands: of the shape of `x`."""
    return make(SELECT_AND_SCATTER, (x, source), attrs)


def select_and_gather(x: Node, operand: Node, attrs: ReduceWindowAttrs) -> Node:
    """For each window of `x` the element of `operand`, of the shape of `x`, where the first greatest (least) element of `x` stands."""
    return make(SELECT_AND_GATHER, (x, operand), attrs)
