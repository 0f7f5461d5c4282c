"""Sliding windows as a view: convolution and pooling are made of it, with a product or a reduction over the taps of every window.

    x [lead..., spatial..., rest...]  ->  windows [lead..., positions..., taps..., rest...]

Since windows are a view they never stand in memory: the product's packing or the reduction's loop reads `x` itself. With channels last,
what follows the taps is one contiguous run.

The primitive is a little more general than that, so that it is closed under differentiation: its operand has the taps already, and tap t of
a window reads slice t. Windows of `x` are windows of `x` repeated for each tap, and their gradient is the same view with strides and
base dilations in each other's places, summed over the taps.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Piece, View
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType
from graphc.primitives.broadcast import Index, add_index, broadcast_in_dim, full, reduce_sum, reshape
from graphc.primitives.logic import select
from graphc.primitives.numerics import Array
from graphc.primitives.rules import Cotangents, call
from graphc.primitives.sources import constant

Ints = tuple[int, ...]


@dataclass(frozen=True)
class WindowsAttrs:
    """The axes `axis`, `axis` + 1, ... become positions, as many of them as `counts` says; the axes of taps follow. Each field has an entry
    for each spatial axis, along which

        result[p, t] = operand[(p * stride + t * dilation - low) / base_dilation, t]

    where that is an index of the operand, and the padding value elsewhere. Dilations may be negative.
    """

    axis: int
    counts: Dims
    strides: Ints
    dilations: Ints
    base_dilations: Ints
    low: Dims

    @property
    def spatial(self) -> range:
        """The axes of positions."""
        return range(self.axis, self.axis + len(self.counts))

    @property
    def taps(self) -> range:
        """The axes of taps."""
        return range(self.axis + len(self.counts), self.axis + 2 * len(self.counts))

    @property
    def rows(self) -> Iterator[tuple[int, int, int, int, Dim]]:
        """For each spatial axis: its number, stride, dilation, base dilation, low."""
        return zip(self.spatial, self.strides, self.dilations, self.base_dilations, self.low, strict=True)


def spread(size: int, step: int) -> int:
    """The extent of `size` elements that stand `step` apart."""
    return (size - 1) * step + 1 if size else 0


def window_count(size: Dim, taps: Dim, stride: int, dilation: int, base_dilation: int, low: Dim, high: Dim) -> Dim:
    """How many windows of `taps` taps fit along an axis of `size` elements with padding on both sides."""
    if size is None or taps is None or low is None or high is None:
        return None
    room = low + spread(size, base_dilation) + high - spread(taps, dilation)
    return room // stride + 1 if room >= 0 and stride > 0 else 0


def _type(attrs: WindowsAttrs, x: TensorType, value: TensorType) -> TensorType:
    shown, rank = call("windows", (x, value)), len(attrs.counts)
    if value.dtype is not x.dtype or value.shape != ():
        raise TypeError(f"{shown}: the padding value must be a scalar of type {x.dtype.code}")
    if not 0 <= attrs.axis <= x.rank - 2 * rank or any(
            len(each) != rank for each in (attrs.strides, attrs.dilations, attrs.base_dilations, attrs.low)):
        raise ValueError(f"{shown}: needs {rank} spatial axes from axis {attrs.axis} on, as many axes of taps, and an attribute for each")
    if min((1, *attrs.strides, *attrs.base_dilations)) < 1 or 0 in attrs.dilations:
        raise ValueError(f"{shown}: strides {attrs.strides} and base dilations {attrs.base_dilations} must be positive, "
                         f"dilations {attrs.dilations} not zero")
    return x.with_shape((*x.shape[:attrs.axis], *attrs.counts, *x.shape[attrs.axis + rank:]))


def _reference(attrs: WindowsAttrs, x: Array, value: Array) -> Array:
    """Axis by axis: positions and taps together choose an element, or the padding value."""
    result = x
    for (axis, stride, dilation, base_dilation, low), taps, count in zip(attrs.rows, attrs.taps, attrs.counts, strict=True):
        size, tap = x.shape[axis], np.arange(x.shape[taps])
        place = np.add.outer(np.arange(count or 0) * stride - (low or 0), tap * dilation)
        inside = (place >= 0) & (place < spread(size, base_dilation)) & (place % base_dilation == 0)
        both = np.moveaxis(result, (axis, taps), (-2, -1))
        both = np.concatenate([both, np.full((*both.shape[:-2], 1, len(tap)), value, x.dtype)], -2)  # its last element: the padding
        result = np.moveaxis(both[..., np.where(inside, place // base_dilation, size), tap], (-2, -1), (axis, taps))
    return result


def _index(attrs: WindowsAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    source, where = list(index), []
    for (axis, stride, dilation, base_dilation, low), taps in zip(attrs.rows, attrs.taps, strict=True):
        place = add_index(_times(index[axis], stride), _times(index[taps], dilation))
        place = place - low if low else place
        where.append((place, 0, spread(types[0].dims[axis], base_dilation)))
        if base_dilation > 1:
            where.append((place % base_dilation, 0, 1))
        source[axis] = place // base_dilation if base_dilation > 1 else place
    return (Piece(0, tuple(source), tuple(where)), Piece(1, ()))


def _times(index: Any, factor: int) -> Any:
    return index if factor == 1 else index * factor


def _vjp(node: Node, g: Node) -> Cotangents:
    """operand[q, t] stands at p = (q * base_dilation - t * dilation + low) / stride: windows again. The padding value takes the rest."""
    x, a = node.operands[0], node.attrs
    back = WindowsAttrs(a.axis, tuple(x.shape[axis] for axis in a.spatial), a.base_dilations, tuple(-d for d in a.dilations), a.strides,
                        tuple(None if low is None else -low for low in a.low))
    of_x = make(WINDOWS, (g, constant(0, g.dtype)), back)
    outside = make(WINDOWS, (full(False, x.type.with_dtype(dtypes.bool)), constant(True)), a)
    of_value = reduce_sum(select(outside, g, full(0, g.type)), range(len(g.shape)))
    return (of_x, of_value)


WINDOWS = declare(Primitive(
    "windows", WindowsAttrs, 2, _type, _reference, _vjp, View(_index),
    "Sliding windows: tap t of the window at position p is the operand at (p * stride + t * dilation - low) / base_dilation, "
    "or the padding value, a scalar."))


def windows(x: Node, value: Node, axis: int, sizes: Sequence[Dim], strides: Sequence[int] | None = None,
            dilations: Sequence[int] | None = None, low: Sequence[Dim] | None = None, high: Sequence[Dim] | None = None,
            base_dilations: Sequence[int] | None = None) -> Node:
    """The windows of `sizes` taps over the axes of `x` from `axis` on: [lead..., positions..., taps..., rest...].

    strides: from one window to the next. dilations: from one tap to the next. base_dilations: from one element of `x` to the next. low,
    high: padding before and after; negative drops elements. What stands outside `x` and between its elements is `value`, a scalar node.
    Windows of one tap that change nothing are `x` itself, reshaped.
    """
    rank = len(sizes)
    ones, zeros, after = (1,) * rank, (0,) * rank, axis + rank
    strides, dilations, base_dilations = tuple(strides or ones), tuple(dilations or ones), tuple(base_dilations or ones)
    low, high = zeros if low is None else tuple(low), zeros if high is None else tuple(high)
    if tuple(sizes) == strides == base_dilations == ones and low == high == zeros:
        return reshape(x, (*x.shape[:after], *ones, *x.shape[after:]))
    counts = tuple(map(window_count, x.shape[axis:after], sizes, strides, dilations, base_dilations, low, high))
    repeated = broadcast_in_dim(x, (*x.shape[:after], *sizes, *x.shape[after:]), (*range(after), *range(after + rank, len(x.shape) + rank)))
    return windows_of_taps(repeated, value, axis, counts, strides, dilations, low, base_dilations)


def windows_of_taps(x: Node, value: Node, axis: int, counts: Sequence[Dim], strides: Sequence[int], dilations: Sequence[int],
                    low: Sequence[Dim], base_dilations: Sequence[int]) -> Node:
    """As `windows`, of an operand that has a slice for each tap, [lead..., spatial..., taps..., rest...]: each tap sees its own."""
    return make(WINDOWS, (x, value), WindowsAttrs(axis, tuple(counts), tuple(strides), tuple(dilations), tuple(base_dilations), tuple(low)))
