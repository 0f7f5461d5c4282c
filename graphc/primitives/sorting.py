"""Orders: the one that sorts, elements rearranged by one, and its inverse. With them a sort has gradients of every order.

`argsort` has no kernel of its own. Short rows are ranked, every element against every other, which is all vectors and no branches. Longer
ones go through a radix sort, least significant digit first: count the digits of each chunk, add up the counts (`cumulative_sum`), put every
key in its place; each step is a kernel that chunks share out over threads. Both are stable, and both run on every target.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Expanded, Sort
from graphc.core.primitive import NoAttrs, NotDifferentiable, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, merge_dims
from graphc.primitives.arithmetic import add, like, multiply
from graphc.primitives.broadcast import broadcast_in_dim, full, reduce_sum, reshape
from graphc.primitives.cumulative import cumulative_sum
from graphc.primitives.indexing import gather, scatter
from graphc.primitives.logic import and_, bitcast_convert, compare, convert, or_, select, shift_left, shift_right_arithmetic, xor
from graphc.primitives.movement import inverse_permutation, transpose
from graphc.primitives.numerics import Array, widened
from graphc.primitives.rules import NO_ATTRS, Cotangents, call
from graphc.primitives.sources import iota
from graphc.primitives.state import get_tuple_element

RANKED = 128  # elements of a row up to which all pairs are compared
DIGIT = 8  # bits of a key that one pass sorts by
CHUNK, CHUNKS = 1024, 1024  # keys that one task counts, at least; chunks of a row, at most
_INTEGERS = NotDifferentiable("positions are integers")


@dataclass(frozen=True)
class ArgsortAttrs:
    """axis: along which to sort. descending: the greatest first."""

    axis: int
    descending: bool = False


@dataclass(frozen=True)
class OrderAttrs:
    """axis: along which the positions count. is_permutation: every position of a row is named exactly once, as a sort does."""

    axis: int
    is_permutation: bool = False


@dataclass(frozen=True)
class InverseAttrs:
    """axis: along which the positions count. size: how many places they count."""

    axis: int
    size: int | None


@dataclass(frozen=True)
class RadixAttrs:
    """The digit is (key >> shift) % 2^bits. chunk: keys counted together, in order."""

    shift: int
    bits: int
    chunk: int


# argsort --------------------------------------------------------------------------------------------------------------------------------

def _checked_axis(name: str, axis: int, *types: TensorType) -> None:
    if not 0 <= axis < types[0].rank:
        raise ValueError(f"{call(name, types)}: axis {axis} must be between 0 and {types[0].rank - 1}")


def _argsort_type(attrs: ArgsortAttrs, x: TensorType) -> TensorType:
    _checked_axis("argsort", attrs.axis, x)
    if x.dtype.is_complex:
        raise TypeError(f"{call('argsort', (x,))}: complex numbers have no order")
    return x.with_dtype(dtypes.int32)


def _argsort(attrs: ArgsortAttrs, x: Array) -> Array:
    """numpy sorts NaN to the end: a descending order is found from the other end, and turned around."""
    if not attrs.descending:
        return np.argsort(widened(x), attrs.axis, kind="stable").astype(np.int32)
    back = np.argsort(np.flip(widened(x), attrs.axis), attrs.axis, kind="stable")
    return np.asarray(x.shape[attrs.axis] - 1 - np.flip(back, attrs.axis)).astype(np.int32)


@dataclass(frozen=True)
class _Rows:
    """An array as rows along one of its axes: [rows, length]."""

    dims: tuple[int, ...]
    axis: int

    @property
    def order(self) -> tuple[int, ...]:
        return (*(axis for axis in range(len(self.dims)) if axis != self.axis), self.axis)

    @property
    def length(self) -> int:
        return self.dims[self.axis]

    @property
    def count(self) -> int:
        return math.prod(self.dims[:self.axis] + self.dims[self.axis + 1:])

    def of(self, x: Node) -> Node:
        """`x` as [rows, its own length]."""
        return reshape(transpose(x, self.order), (self.count, x.dims[self.axis]))

    def back(self, rows: Node) -> Node:
        """[rows, any length] as an array of the dims, but for the length."""
        dims = (*(self.dims[axis] for axis in self.order[:-1]), rows.dims[1])
        return transpose(reshape(rows, dims), inverse_permutation(self.order))


def _expand_argsort(node: Node) -> Node:
    rows = _Rows(node.dims, node.attrs.axis)
    x = rows.of(node.operands[0])
    if rows.length <= 1 or not node.type.size:
        return full(0, node.type)
    keys, bits = sort_keys(x, node.attrs.descending)
    return rows.back(invert_permutation(_ranks(keys)) if rows.length <= RANKED else _radix_order(keys, bits))


def _ranks(keys: Node) -> Node:
    """For each key of a row how many come before it: less, or equal and earlier."""
    count, length = keys.dims
    shape = (count, length, length)
    mine, other = broadcast_in_dim(keys, shape, (0, 1)), broadcast_in_dim(keys, shape, (0, 2))
    earlier = compare(iota(shape, 2, dtypes.int32), iota(shape, 1, dtypes.int32), "LT")
    before = select(earlier, compare(other, mine, "LE"), compare(other, mine, "LT"))
    return reduce_sum(convert(before, dtypes.int32), (2,))


def _radix_order(keys: Node, bits: range) -> Node:
    """The order that sorts each row of unsigned `keys` by its `bits`, DIGIT of them at a time."""
    places = iota(keys.dims, 1, keys.dtype)
    if keys.dtype is dtypes.uint64:
        _, order = _radix_passes((keys, convert(places, dtypes.int32)), bits)
        return order
    # Key and position as one number: half as many places to write to at once.
    wide = convert(keys, dtypes.uint64)
    packed = or_(shift_left(wide, like(wide, 32)), convert(places, dtypes.uint64))
    (order,) = _radix_passes((packed,), range(bits.start + 32, bits.stop + 32))
    return convert(order, dtypes.int32)


def _radix_passes(arrays: tuple[Node, ...], bits: range) -> tuple[Node, ...]:
    """`arrays`, [rows, length] each, in the order of the `bits` of the first."""
    rows, length = arrays[0].dims
    wanted = max(CHUNK, -(-length // CHUNKS))
    chunk = next((size for size in range(wanted, 2 * wanted) if length % size == 0), wanted)
    for shift in bits[::DIGIT]:
        attrs = RadixAttrs(shift, min(DIGIT, bits.stop - shift), chunk)
        counts = make(RADIX_COUNT, arrays[:1], attrs)
        starts = cumulative_sum(reshape(counts, (rows, math.prod(counts.dims[1:]))), 1, exclusive=True)
        placed = make(RADIX_PLACE, (arrays[0], reshape(starts, counts.dims), *arrays[1:]), attrs)
        arrays = tuple(get_tuple_element(placed, n) for n in range(len(arrays))) if len(arrays) > 1 else (placed,)
    return arrays


def sort_keys(x: Node, descending: bool = False) -> tuple[Node, range]:
    """Unsigned integers in the order of `x`, and the bits of them that differ. NaN, of either sign, is the greatest; -0 equals 0."""
    keys, bits = _ascending_keys(x)
    mask = sum(1 << bit for bit in bits)
    return (xor(keys, like(keys, mask)) if descending else keys), bits


def _ascending_keys(x: Node) -> tuple[Node, range]:
    if x.dtype.is_floating:
        return _float_keys(x)
    unsigned = dtypes.uint64 if x.dtype.size == 8 else dtypes.uint32
    width = 1 if x.dtype.is_bool else 8 * x.dtype.size
    if x.dtype.is_bool or x.dtype.is_unsigned:
        return convert(x, unsigned), range(width)
    # The sign bit counts the other way round; what stands above it in a wider type is cut off.
    keys = xor(convert(x, unsigned), like(full(0, x.type.with_dtype(unsigned)), 1 << (width - 1)))
    return (keys if width >= 32 else and_(keys, like(keys, (1 << width) - 1))), range(width)


def _float_keys(x: Node) -> tuple[Node, range]:
    """The bits of a float count upwards for positive numbers, downwards for negative ones. 16-bit floats fill the upper bits."""
    wide = x if x.dtype.size == 8 else convert(x, dtypes.float32)
    signed, unsigned, width = (dtypes.int64, dtypes.uint64, 64) if wide.dtype.size == 8 else (dtypes.int32, dtypes.uint32, 32)
    number = compare(wide, wide, "EQ")
    bits = bitcast_convert(wide, signed)
    bits = select(compare(bits, like(bits, -1 << (width - 1)), "EQ"), like(bits, 0), bits)  # -0
    sign = bitcast_convert(shift_right_arithmetic(bits, like(bits, width - 1)), unsigned)
    flips = select(compare(sign, like(sign, 0), "EQ"), like(sign, 1 << (width - 1)), sign)
    keys = select(number, xor(bitcast_convert(bits, unsigned), flips), like(sign, (1 << width) - 1))
    return keys, range({dtypes.float16: 13, dtypes.bfloat16: 16}.get(x.dtype, 0), width)


ARGSORT = declare(Primitive(
    "argsort", ArgsortAttrs, 1, _argsort_type, _argsort, _INTEGERS, Expanded(_expand_argsort),
    "The positions along `axis` in the order of their elements, equal ones as they stand; NaN is greater than every number."))


def argsort(x: Node, axis: int, descending: bool = False) -> Node:
    """int32 positions along `axis` that sort `x`; stable."""
    return make(ARGSORT, (x,), ArgsortAttrs(axis, descending))


def sort(operands: Sequence[Node], axis: int, descending: bool = False) -> tuple[Node, ...]:
    """`operands`, of one shape, each in the order that sorts the first of them along `axis`; stable. Differentiable in all of them."""
    order = argsort(operands[0], axis, descending)
    return tuple(rearrange(each, order, axis, True) for each in operands)


# Rearranging ----------------------------------------------------------------------------------------------------------------------------

def _rearrange_type(attrs: OrderAttrs, x: TensorType, order: TensorType) -> TensorType:
    types = (x, order)
    _checked_axis("rearrange", attrs.axis, x)
    if not order.dtype.is_integer:
        raise TypeError(f"{call('rearrange', types)}: the order must be of integers")
    others = tuple(t.shape[:attrs.axis] + t.shape[attrs.axis + 1:] for t in types)
    if x.rank != order.rank or any(a != b and a is not None and b is not None for a, b in zip(*others, strict=True)):
        raise ValueError(f"{call('rearrange', types)}: shapes must be equal but for axis {attrs.axis}")
    merged = merge_dims(*others)
    return x.with_shape((*merged[:attrs.axis], order.shape[attrs.axis], *merged[attrs.axis:]))


def _rearrange(attrs: OrderAttrs, x: Array, order: Array) -> Array:
    size = x.shape[attrs.axis]
    inside = (order >= 0) & (order < size)
    if not size:
        return np.zeros_like(x, shape=order.shape)
    found = np.take_along_axis(x, np.where(inside, order, 0).astype(np.int64), attrs.axis)
    return np.where(inside, found, np.zeros_like(found))


def _rearrange_vjp(node: Node, g: Node) -> Cotangents:
    x, order = node.operands
    axis = node.attrs.axis
    if node.attrs.is_permutation:
        return (rearrange(g, invert_permutation(order, axis), axis, True), None)
    return (rearrange(g, inverse_order(order, x.shape[axis], axis), axis), None)


def _expand_rearrange(node: Node) -> Node:
    """One gather from all rows side by side."""
    x, order = node.operands
    rows = _Rows(x.dims, node.attrs.axis)
    flat = _flat_positions(rows, order)
    return rows.back(gather(reshape(rows.of(x), (rows.count * rows.length,)), flat, 0))


def _flat_positions(rows: _Rows, order: Node) -> Node:
    """Where the elements at `order` of each row stand when all rows lie side by side; -1 for what is out of range."""
    places = rows.of(order)
    fits = rows.count * rows.length < 1 << 31
    places = convert(places, dtypes.int32 if fits and places.dtype.size <= 4 and not places.dtype.is_unsigned else dtypes.int64)
    inside = and_(compare(places, like(places, 0), "GE"), compare(places, like(places, rows.length), "LT"))
    if rows.count == 1:
        return select(inside, places, like(places, -1))
    start = multiply(iota(places.dims, 0, places.dtype), like(places, rows.length))
    return select(inside, add(start, places), like(places, -1))


REARRANGE = declare(Primitive(
    "rearrange", OrderAttrs, 2, _rearrange_type, _rearrange, _rearrange_vjp, Expanded(_expand_rearrange),
    "The elements of operand 0 at the positions of operand 1 along `axis`, zero for one out of range. No position stands twice in a row."))


def rearrange(x: Node, order: Node, axis: int, is_permutation: bool = False) -> Node:
    """[..., n, ...] by positions [..., k, ...] along `axis`, distinct in each row -> [..., k, ...]."""
    return make(REARRANGE, (x, order), OrderAttrs(axis, is_permutation))


# Inverses -------------------------------------------------------------------------------------------------------------------------------

def _inverse_type(attrs: InverseAttrs, order: TensorType) -> TensorType:
    _checked_axis("inverse_order", attrs.axis, order)
    if not order.dtype.is_integer or order.dtype.is_unsigned:
        raise TypeError(f"{call('inverse_order', (order,))}: the order must be of signed integers")
    return order.with_shape((*order.shape[:attrs.axis], attrs.size, *order.shape[attrs.axis + 1:]))


def _inverse(attrs: InverseAttrs, order: Array) -> Array:
    assert attrs.size is not None
    rows = np.moveaxis(order, attrs.axis, -1)
    found = np.full((*rows.shape[:-1], attrs.size), -1, order.dtype)
    for place in np.ndindex(rows.shape[:-1]):
        inside = (rows[place] >= 0) & (rows[place] < attrs.size)
        found[place][rows[place][inside]] = np.arange(rows.shape[-1])[inside]
    return np.moveaxis(found, -1, attrs.axis)


def _expand_inverse(node: Node) -> Node:
    order, size = node.operands[0], node.attrs.size
    rows = _Rows((*order.dims[:node.attrs.axis], size, *order.dims[node.attrs.axis + 1:]), node.attrs.axis)
    nowhere = full(-1, TensorType(node.dtype, (rows.count * size,)))
    places = rows.of(order)
    positions = iota(places.dims, 1, node.dtype)
    flat = _flat_positions(rows, order)
    count = (math.prod(places.dims),)
    return rows.back(reshape(scatter(nowhere, reshape(flat, count), reshape(positions, count), 0, "assign"), (rows.count, size)))


INVERSE_ORDER = declare(Primitive(
    "inverse_order", InverseAttrs, 1, _inverse_type, _inverse, _INTEGERS, Expanded(_expand_inverse),
    "For each of `size` places along `axis` the position at which operand 0 names it, -1 where it does not."))


def inverse_order(order: Node, size: int | None, axis: int) -> Node:
    """[..., k, ...] positions below `size`, distinct in each row -> [..., size, ...]: where each is named, or -1."""
    if order.name == "inverse_order" and order.attrs.axis == axis and order.operands[0].shape[axis] == size:
        return order.operands[0]
    return make(INVERSE_ORDER, (order,), InverseAttrs(axis, size))


def _permutation_type(attrs: object, order: TensorType) -> TensorType:
    if not order.dtype.is_integer or order.dtype.is_unsigned or not order.rank:
        raise TypeError(f"{call('invert_permutation', (order,))}: needs signed integers, of one axis at least")
    return order


def _inverse_permutation(attrs: object, order: Array) -> Array:
    return np.argsort(order, -1, kind="stable").astype(order.dtype)


INVERT_PERMUTATION = declare(Primitive(
    "invert_permutation", NoAttrs, 1, _permutation_type, _inverse_permutation, _INTEGERS, Sort("invert"),
    "For each position the place at which each row of operand 0 (the last axis), a permutation of its positions, names it."))


def invert_permutation(order: Node, axis: int | None = None) -> Node:
    """The inverse of the permutations along `axis` (the last); an inverse's is what it was made from."""
    last = len(order.shape) - 1
    if axis is None or axis == last:
        return order.operands[0] if order.name == "invert_permutation" else make(INVERT_PERMUTATION, (order,), NO_ATTRS)
    to_last = (*(each for each in range(last + 1) if each != axis), axis)
    return transpose(invert_permutation(transpose(order, to_last)), inverse_permutation(to_last))


# The steps of a radix sort --------------------------------------------------------------------------------------------------------------

def _chunks(attrs: RadixAttrs, keys: TensorType) -> int:
    return -(-keys.dims[1] // attrs.chunk)


def _digits(attrs: RadixAttrs, keys: Array) -> Array:
    return np.asarray((keys >> keys.dtype.type(attrs.shift)).astype(np.int64) & ((1 << attrs.bits) - 1))


def _count_type(attrs: RadixAttrs, keys: TensorType) -> TensorType:
    if keys.rank != 2 or not keys.dtype.is_unsigned:
        raise TypeError(f"{call('radix_count', (keys,))}: the keys must be rows of unsigned integers")
    return TensorType(dtypes.int32, (keys.dims[0], 1 << attrs.bits, _chunks(attrs, keys)))


def _count(attrs: RadixAttrs, keys: Array) -> Array:
    digits = _digits(attrs, keys)
    counts = np.zeros((len(keys), 1 << attrs.bits, -(-keys.shape[1] // attrs.chunk)), np.int32)
    rows, places = np.indices(keys.shape)
    np.add.at(counts, (rows, digits, places // attrs.chunk), 1)
    return counts


def _place_type(attrs: RadixAttrs, keys: TensorType, starts: TensorType, *carried: TensorType) -> TensorType | tuple[TensorType, ...]:
    if starts != _count_type(attrs, keys) or any(each.shape != keys.shape for each in carried):
        raise ValueError(f"{call('radix_place', (keys, starts, *carried))}: needs keys, a start for each digit of each chunk, and "
                         "arrays of the shape of the keys")
    return (keys, *carried) if carried else keys


def _place(attrs: RadixAttrs, keys: Array, starts: Array, *carried: Array) -> Array | tuple[Array, ...]:
    """The starts are where a stable sort puts the first key of each digit of each chunk, so that is what this does."""
    found = np.argsort(_digits(attrs, keys), 1, kind="stable")
    placed = tuple(np.take_along_axis(each, found, 1) for each in (keys, *carried))
    return placed if carried else placed[0]


RADIX_COUNT = declare(Primitive(
    "radix_count", RadixAttrs, 1, _count_type, _count, _INTEGERS, Sort("count"),
    "How often each digit stands in each chunk of each row of unsigned keys: [rows, digits, chunks]."))
RADIX_PLACE = declare(Primitive(
    "radix_place", RadixAttrs, None, _place_type, _place, _INTEGERS, Sort("place"),
    "Keys (operand 0) and what they carry (operands from 2 on) in the order of one digit of each row; operand 1: where each begins."))
