"""Changes of place: transpose, slice and pad (each the other's gradient), concatenate, reverse, stop_gradient. All of them are views."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Piece, View
from graphc.core.primitive import NoAttrs, NotDifferentiable, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType, merge_dims, same_dims
from graphc.primitives.broadcast import Index, full, reduce_sum
from graphc.primitives.logic import select
from graphc.primitives.numerics import Array
from graphc.primitives.rules import NO_ATTRS, Cotangents, call, normal_axes
from graphc.primitives.sources import constant


@dataclass(frozen=True)
class TransposeAttrs:
    """Axis i of the output is axis permutation[i] of the operand."""

    permutation: tuple[int, ...]


@dataclass(frozen=True)
class SliceAttrs:
    """Per axis the elements start, start + stride, ... below limit; start and limit may be unknown, strides are positive."""

    start: Dims
    limit: Dims
    strides: tuple[int, ...]


@dataclass(frozen=True)
class PadAttrs:
    """Per axis the number of padding elements before, after (negative: elements dropped) and between (not negative)."""

    low: Dims
    high: Dims
    interior: tuple[int, ...]


@dataclass(frozen=True)
class ConcatenateAttrs:
    axis: int


@dataclass(frozen=True)
class ReverseAttrs:
    axes: tuple[int, ...]


# transpose ------------------------------------------------------------------------------------------------------------------------------

def _transpose_type(attrs: TransposeAttrs, x: TensorType) -> TensorType:
    if sorted(attrs.permutation) != list(range(x.rank)):
        raise ValueError(f"{call('transpose', (x,))}: {attrs.permutation} is not a permutation of its {x.rank} axes")
    return x.with_shape(x.shape[axis] for axis in attrs.permutation)


def _transpose_index(attrs: TransposeAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    source: list[Any] = [0] * len(index)
    for position, axis in enumerate(attrs.permutation):
        source[axis] = index[position]
    return (Piece(0, tuple(source)),)


def _transpose_vjp(node: Node, g: Node) -> Cotangents:
    return (transpose(g, inverse_permutation(node.attrs.permutation)),)


TRANSPOSE = declare(Primitive(
    "transpose", TransposeAttrs, 1, _transpose_type, lambda attrs, x: np.transpose(x, attrs.permutation), _transpose_vjp,
    View(_transpose_index), "The axes in another order."))


def inverse_permutation(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=lambda position: permutation[position]))


def transpose(x: Node, permutation: Sequence[int]) -> Node:
    """`x` with axis permutation[i] at place i; `x` itself for the identity."""
    permutation = tuple(permutation)
    if permutation == tuple(range(len(x.shape))):
        return x
    return make(TRANSPOSE, (x,), TransposeAttrs(permutation))


# slice ----------------------------------------------------------------------------------------------------------------------------------

def _slice_type(attrs: SliceAttrs, x: TensorType) -> TensorType:
    if not len(attrs.start) == len(attrs.limit) == len(attrs.strides) == x.rank:
        raise ValueError(f"{call('slice', (x,))}: start, limit and strides must have one entry for each of its {x.rank} axes")
    return x.with_shape(map(_sliced_dim, [x] * x.rank, range(x.rank), attrs.start, attrs.limit, attrs.strides))


def _sliced_dim(x: TensorType, axis: int, start: Dim, limit: Dim, stride: int) -> Dim:
    size = x.shape[axis]
    fits = (stride >= 1 and (start is None or start >= 0) and (limit is None or start is None or start <= limit)
            and (size is None or limit is None or limit <= size))
    if not fits:
        raise ValueError(f"{call('slice', (x,))}: {start}:{limit}:{stride} does not lie inside axis {axis} of size {size}")
    return None if start is None or limit is None else -(-(limit - start) // stride)


def _slice_index(attrs: SliceAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    return (Piece(0, tuple(_strided(i, start or 0, stride) for i, start, stride in zip(index, attrs.start, attrs.strides, strict=True))),)


def _strided(i: Any, start: int, stride: int) -> Any:
    scaled = i if stride == 1 else i * stride
    return scaled + start if start else scaled


def _slice_vjp(node: Node, g: Node) -> Cotangents:
    x, attrs = node.operands[0], node.attrs
    rows = zip(attrs.start, g.shape, attrs.strides, x.shape, strict=True)
    high = tuple(None if start is None or size is None or whole is None else whole - start - _spread(size, stride)
                 for start, size, stride, whole in rows)
    padded = pad(g, constant(0, g.dtype), attrs.start, high, tuple(s - 1 for s in attrs.strides))
    return (padded,)


def _spread(size: int, stride: int) -> int:
    """The extent of `size` elements that stand `stride` apart."""
    return (size - 1) * stride + 1 if size else 0


SLICE = declare(Primitive(
    "slice", SliceAttrs, 1, _slice_type,
    lambda attrs, x: x[tuple(map(slice, attrs.start, attrs.limit, attrs.strides))], _slice_vjp, View(_slice_index),
    "A box of the operand, with strides."))


def slice_(x: Node, start: Sequence[Dim], limit: Sequence[Dim], strides: Sequence[int] | None = None) -> Node:
    """x[start:limit:strides] axis by axis; `x` itself for the whole of it."""
    start, limit = tuple(start), tuple(limit)
    strides = (1,) * len(start) if strides is None else tuple(strides)
    if limit == x.shape and None not in limit and not any(start) and None not in start and set(strides) <= {1}:
        return x
    return make(SLICE, (x,), SliceAttrs(start, limit, strides))


# pad ------------------------------------------------------------------------------------------------------------------------------------

def _pad_type(attrs: PadAttrs, x: TensorType, value: TensorType) -> TensorType:
    types = (x, value)
    if value.dtype is not x.dtype or value.shape != ():
        raise TypeError(f"{call('pad', types)}: the padding value must be a scalar of type {x.dtype.code}")
    if not len(attrs.low) == len(attrs.high) == len(attrs.interior) == x.rank or any(i < 0 for i in attrs.interior):
        raise ValueError(f"{call('pad', types)}: low, high and interior (not negative) must have one entry for each of its {x.rank} axes")
    return x.with_shape(map(_padded_dim, [types] * x.rank, x.shape, attrs.low, attrs.high, attrs.interior))


def _padded_dim(types: tuple[TensorType, ...], size: Dim, low: Dim, high: Dim, interior: int) -> Dim:
    if size is None or low is None or high is None:
        return None
    padded = low + _spread(size, interior + 1) + high
    if padded < 0:
        raise ValueError(f"{call('pad', types)}: low {low} and high {high} leave a negative size {padded}")
    return padded


def _pad(attrs: PadAttrs, x: Array, value: Array) -> Array:
    shape, inside, kept = [], [], []
    for size, low, high, interior in zip(x.shape, attrs.low, attrs.high, attrs.interior, strict=True):
        before, after = max(low or 0, 0), max(high or 0, 0)
        spread = _spread(size, interior + 1)
        shape.append(before + spread + after)
        inside.append(slice(before, before + spread, interior + 1))
        kept.append(slice(max(-(low or 0), 0), shape[-1] - max(-(high or 0), 0)))
    result = np.full(shape, value, x.dtype)
    result[tuple(inside)] = x
    return result[tuple(kept)]


def _pad_index(attrs: PadAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    source, where = [], []
    for i, size, low, high, interior in zip(index, types[0].dims, attrs.low, attrs.high, attrs.interior, strict=True):
        shifted = i - low if low else i
        if low or high or interior:
            where.append((shifted, 0, _spread(size, interior + 1)))
        if interior:
            where.append((shifted % (interior + 1), 0, 1))
        source.append(shifted // (interior + 1) if interior else shifted)
    return (Piece(0, tuple(source), tuple(where)), Piece(1, ()))


def _pad_vjp(node: Node, g: Node) -> Cotangents:
    """What landed in the operand's places goes to it; the rest, summed, to the padding value."""
    x, attrs = node.operands[0], node.attrs
    low = tuple(None if n is None else max(n, 0) for n in attrs.low)
    cropped = [tuple(None if n is None else max(-n, 0) for n in side) for side in (attrs.low, attrs.high)]
    back = pad(g, constant(0, g.dtype), cropped[0], cropped[1])
    limit = tuple(None if size is None or start is None else start + _spread(size, interior + 1)
                  for size, start, interior in zip(x.shape, low, attrs.interior, strict=True))
    of_x = slice_(back, low, limit, tuple(i + 1 for i in attrs.interior))
    padding = pad(full(False, x.type.with_dtype(dtypes.bool)), constant(True), attrs.low, attrs.high, attrs.interior)
    of_value = reduce_sum(select(padding, g, full(0, g.type)), tuple(range(len(g.shape))))
    return (of_x, of_value)


PAD = declare(Primitive(
    "pad", PadAttrs, 2, _pad_type, _pad, _pad_vjp, View(_pad_index),
    "The operand with a scalar around it and between its elements; negative padding drops elements."))


def pad(x: Node, value: Node, low: Sequence[Dim], high: Sequence[Dim], interior: Sequence[int] | None = None) -> Node:
    """`x` padded with the scalar node `value`; `x` itself where there is nothing to pad."""
    low, high = tuple(low), tuple(high)
    interior = (0,) * len(low) if interior is None else tuple(interior)
    if not any((*low, *high, *interior)) and None not in low and None not in high:
        return x
    return make(PAD, (x, value), PadAttrs(low, high, interior))


# concatenate ----------------------------------------------------------------------------------------------------------------------------

def _concatenate_type(attrs: ConcatenateAttrs, *types: TensorType) -> TensorType:
    shown = call("concatenate", types)
    if not types or not 0 <= attrs.axis < types[0].rank:
        raise ValueError(f"{shown}: axis {attrs.axis} must be an axis of its operands, of which there is at least one")
    if any(t.dtype is not types[0].dtype for t in types):
        raise TypeError(f"{shown}: operands must have one element type")
    common = types[0].shape
    total: Dim = 0
    for t in types:
        size = t.shape[attrs.axis] if t.rank == len(common) else None
        others = (*t.shape[:attrs.axis], common[attrs.axis], *t.shape[attrs.axis + 1:])
        if not same_dims(others, common):
            raise ValueError(f"{shown}: operands must have one shape but for axis {attrs.axis}")
        common = merge_dims(common, others)
        total = None if total is None or size is None else total + size
    return TensorType(types[0].dtype, (*common[:attrs.axis], total, *common[attrs.axis + 1:]))


def _concatenate_index(attrs: ConcatenateAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    pieces, offset = [], 0
    along = index[attrs.axis]
    for operand, type_ in enumerate(types):
        size = type_.dims[attrs.axis]
        shifted = along - offset if offset else along
        where = ((along, offset, offset + size),) if operand < len(types) - 1 else ()
        pieces.append(Piece(operand, (*index[:attrs.axis], shifted, *index[attrs.axis + 1:]), where))
        offset += size
    return [piece for piece, type_ in zip(pieces, types, strict=True) if type_.size or type_ is types[-1]]


def _concatenate_vjp(node: Node, g: Node) -> Cotangents:
    axis, parts = node.attrs.axis, []
    offset: Dim = 0
    for x in node.operands:
        size = x.shape[axis]
        end = None if offset is None or size is None else offset + size
        start, limit = [0] * len(g.shape), list(g.shape)
        parts.append(slice_(g, (*start[:axis], offset, *start[axis + 1:]), (*limit[:axis], end, *limit[axis + 1:])))
        offset = end
    return parts


CONCATENATE = declare(Primitive(
    "concatenate", ConcatenateAttrs, None, _concatenate_type, lambda attrs, *xs: np.concatenate(xs, attrs.axis), _concatenate_vjp,
    View(_concatenate_index), "The operands one after the other along `axis`."))


def concatenate(xs: Sequence[Node], axis: int) -> Node:
    """`xs` one after the other along `axis`; a single one is itself."""
    return xs[0] if len(xs) == 1 else make(CONCATENATE, tuple(xs), ConcatenateAttrs(axis))


# reverse, stop_gradient -----------------------------------------------------------------------------------------------------------------

def _reverse_type(attrs: ReverseAttrs, x: TensorType) -> TensorType:
    normal_axes("reverse", attrs.axes, x)
    return x


def _reverse_index(attrs: ReverseAttrs, types: tuple[TensorType, ...], index: Index) -> Sequence[Piece]:
    sizes = types[0].dims
    return (Piece(0, tuple(i * -1 + (sizes[axis] - 1) if axis in attrs.axes else i for axis, i in enumerate(index))),)


REVERSE = declare(Primitive(
    "reverse", ReverseAttrs, 1, _reverse_type, lambda attrs, x: np.flip(x, attrs.axes),
    lambda node, g: (reverse(g, node.attrs.axes),), View(_reverse_index), "Last to first along each of `axes`."))


def reverse(x: Node, axes: Sequence[int]) -> Node:
    """`x` last to first along `axes`; `x` itself where there are none."""
    return make(REVERSE, (x,), ReverseAttrs(tuple(sorted(axes)))) if axes else x


STOP_GRADIENT = declare(Primitive(
    "stop_gradient", NoAttrs, 1, lambda attrs, x: x, lambda attrs, x: x, NotDifferentiable("that is its purpose"),
    View(lambda attrs, types, index: (Piece(0, index),)), "The operand itself, through which no gradient flows."))


def stop_gradient(x: Node) -> Node:
    return make(STOP_GRADIENT, (x,), NO_ATTRS)


# copy -----------------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class CopyAttrs:
    """place: a number that keeps copies of one value apart."""

    place: int


COPY = declare(Primitive(
    "copy", CopyAttrs, 1, lambda attrs, x: x, lambda attrs, x: x, lambda node, g: (g,),
    View(lambda attrs, types, index: (Piece(0, index),)),
    "The operand again, in memory of its own: added where two results share a value."))


def copy(x: Node, place: int = 0) -> Node:
    return make(COPY, (x,), CopyAttrs(place))


# transfer -------------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class TransferAttrs:
    """source and target: devices in short, as "CPU:0"."""

    source: str
    target: str


def _back(node: Node, cotangent: Node) -> tuple[Node]:
    """The gradient travels the other way."""
    return (transfer(cotangent, node.attrs.target, node.attrs.source),)


TRANSFER = declare(Primitive(
    "transfer", TransferAttrs, 1, lambda attrs, x: x, lambda attrs, x: x, _back, View(lambda attrs, types, index: (Piece(0, index),)),
    "The operand on another device: added where operations on two devices share a value."))


def transfer(x: Node, source: str, target: str) -> Node:
    return make(TRANSFER, (x,), TransferAttrs(source, target))
