"""Operations on the bits of numbers: and, or, xor, shifts; bitcast to another type; the next floating number.

A shift by less than 0 or by the width or more counts as the nearest shift that there is, as TF1's kernels have it.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite, register
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import binary_function, declare_one, unary_function
from graphc.primitives.sugar import broadcast_binary, fill_like

Binary = Callable[[Node, Node], Node]


def _integers(type_name: str, function: Binary) -> Callable[[Node, Node], Node]:
    """function(x, y) with numpy's broadcasting, for integers only."""
    def expand(x: Node, y: Node) -> Node:
        if not x.dtype.is_integer:
            raise TypeError(f"Value for attr 'T' of {x.dtype.name} is not in the list of allowed values: {type_name} takes integers")
        return broadcast_binary(function, x, y)
    return expand


def _declare(type_name: str, function: Binary, doc: str) -> Callable[..., Tensor]:
    return binary_function(register(OpDef(type_name, _integers(type_name, function), attrs={})), doc)


def _within_width(y: Node) -> Node:
    return p.clamp(fill_like(y, 0), y, fill_like(y, 8 * y.dtype.size - 1))


def _shift_right(x: Node, y: Node) -> Node:
    return (p.shift_right_logical if x.dtype.is_unsigned else p.shift_right_arithmetic)(x, _within_width(y))


bitwise_and = _declare("BitwiseAnd", p.and_, "The bits set in both.")
bitwise_or = _declare("BitwiseOr", p.or_, "The bits set in either.")
bitwise_xor = _declare("BitwiseXor", p.xor, "The bits set in one of both.")
left_shift = _declare("LeftShift", lambda x, y: p.shift_left(x, _within_width(y)), "x moved y bits up, zeros coming in.")
right_shift = _declare("RightShift", _shift_right, "x moved y bits down; copies of the sign come in, of an unsigned type zeros.")


@composite("Invert")
def INVERT(x: Node) -> Node:
    if not x.dtype.is_integer:
        raise TypeError(f"Value for attr 'T' of {x.dtype.name} is not in the list of allowed values: Invert takes integers")
    return p.not_(x)


invert = unary_function(INVERT, "Every bit of an integer the other way.")


# bitcast ---------------------------------------------------------------------------------------------------------------------------------

_UNSIGNED = {1: dtypes.uint8, 2: dtypes.uint16, 4: dtypes.uint32, 8: dtypes.uint64}
_SCALE_OF_SUBNORMALS = 2.0 ** 24  # the least float16 above 0 is 2^-24


def _constant_shift(shift: Binary, x: Node, count: int) -> Node:
    return shift(x, fill_like(x, count))


def _bits(x: Node) -> Node:
    """The bits of `x` as an unsigned integer of its width."""
    if x.dtype is dtypes.bfloat16:  # the upper half of a float32
        wide = p.bitcast_convert(p.convert(x, dtypes.float32), dtypes.uint32)
        return p.convert(_constant_shift(p.shift_right_logical, wide, 16), dtypes.uint16)
    if x.dtype is dtypes.float16:
        return _bits_of_half(p.convert(x, dtypes.float32))
    return p.bitcast_convert(x, _UNSIGNED[x.dtype.size])


def _bits_of_half(x: Node) -> Node:
    """The bits that a float16 has, given as a float32 of the same value: its exponent moved by 112, its mantissa by 13 bits."""
    bits = p.bitcast_convert(x, dtypes.uint32)
    sign = p.and_(_constant_shift(p.shift_right_logical, bits, 16), fill_like(bits, 0x8000))
    magnitude = p.and_(bits, fill_like(bits, 0x7FFFFFFF))
    moved = _constant_shift(p.shift_right_logical, magnitude, 13)
    normal = p.subtract(moved, fill_like(bits, 112 << 10))
    special = p.or_(p.and_(moved, fill_like(bits, 0x3FF)), fill_like(bits, 0x7C00))
    subnormal = p.convert(p.multiply(p.abs_(x), fill_like(x, _SCALE_OF_SUBNORMALS)), dtypes.uint32)
    rest = p.select(p.compare(magnitude, fill_like(bits, 0x7F800000), "GE"), special, normal)
    rest = p.select(p.compare(magnitude, fill_like(bits, 113 << 23), "LT"), subnormal, rest)
    return p.convert(p.or_(sign, rest), dtypes.uint16)


def _from_bits(bits: Node, dtype: DType) -> Node:
    """The number of `dtype` with the given bits, an unsigned integer of its width."""
    if dtype is dtypes.bfloat16:
        wide = _constant_shift(p.shift_left, p.convert(bits, dtypes.uint32), 16)
        return p.convert(p.bitcast_convert(wide, dtypes.float32), dtype)
    if dtype is dtypes.float16:
        return p.convert(_half_from_bits(p.convert(bits, dtypes.uint32)), dtype)
    return p.bitcast_convert(bits, dtype)


def _half_from_bits(bits: Node) -> Node:
    """As a float32 the number that a float16 of these bits (in a uint32) is."""
    sign = _constant_shift(p.shift_left, p.and_(bits, fill_like(bits, 0x8000)), 16)
    magnitude = p.and_(bits, fill_like(bits, 0x7FFF))
    moved = _constant_shift(p.shift_left, magnitude, 13)
    special = p.or_(moved, fill_like(bits, 0x7F800000))
    count = p.convert(magnitude, dtypes.float32)
    subnormal = p.bitcast_convert(p.multiply(count, fill_like(count, 1 / _SCALE_OF_SUBNORMALS)), dtypes.uint32)
    normal = p.add(moved, fill_like(bits, 112 << 23))
    rest = p.select(p.compare(magnitude, fill_like(bits, 0x7C00), "GE"), special, normal)
    rest = p.select(p.compare(magnitude, fill_like(bits, 0x400), "LT"), subnormal, rest)
    return p.bitcast_convert(p.or_(sign, rest), dtypes.float32)


@composite("Bitcast")
def BITCAST(input: Node, *, type: DType) -> Node:
    """The bits of `input` as another type: a narrower one adds a last axis, a wider one takes it away."""
    x, before, after = input, input.dtype.size, type.size
    if before == after:
        return _from_bits(_bits(x), type)
    unsigned = _bits(x)
    if before > after:
        return _from_bits(_parts(unsigned, _UNSIGNED[after]), type)
    count = after // before
    if not x.shape or x.shape[-1] not in (count, None):
        found = x.shape[-1] if x.shape else "a scalar"
        raise ValueError(f"Cannot bitcast {x.dtype.name} to {type.name} due to shape. {found} does not match {count}")
    return _from_bits(_joined(unsigned, _UNSIGNED[after]), type)


def _parts(x: Node, narrow: DType) -> Node:
    """Each unsigned integer as several of `narrow` along a new last axis, the lowest first."""
    shape = (*x.shape, x.dtype.size // narrow.size)
    spread = p.broadcast_in_dim(x, shape, range(len(x.shape)))
    places = p.iota(shape, len(x.shape), x.dtype)
    return p.convert(p.shift_right_logical(spread, p.multiply(places, fill_like(places, 8 * narrow.size))), narrow)


def _joined(x: Node, wide: DType) -> Node:
    """The unsigned integers along the last axis as one of `wide`, the first one lowest: disjoint bits, so that a sum joins them."""
    parts = p.convert(x, wide)
    places = p.iota(x.shape, len(x.shape) - 1, wide)
    return p.reduce_sum(p.shift_left(parts, p.multiply(places, fill_like(places, 8 * x.dtype.size))), (len(x.shape) - 1,))


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The bits of `input` as `type`: a narrower type adds a last axis, a wider one takes it away. Low bits first."""
    return declare_one(BITCAST, {"input": input}, {"type": as_dtype(type)}, name)


# nextafter -------------------------------------------------------------------------------------------------------------------------------

def _next_after(x: Node, towards: Node) -> Node:
    """The bits of a float count its magnitude: one more is the next one away from 0, one less the next one towards it."""
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise TypeError(f"Value for attr 'T' of {x.dtype.name} is not in the list of allowed values: float64, float32")
    unsigned = _UNSIGNED[x.dtype.size]
    sign_bit = 1 << (8 * x.dtype.size - 1)
    bits, zero = p.bitcast_convert(x, unsigned), fill_like(x, 0)
    one = fill_like(bits, 1)
    up, positive = p.compare(towards, x, "GT"), p.compare(x, zero, "GT")
    stepped = p.select(p.compare(up, positive, "EQ"), p.add(bits, one), p.subtract(bits, one))
    least = p.select(up, one, fill_like(bits, sign_bit | 1))
    moved = p.bitcast_convert(p.select(p.compare(x, zero, "EQ"), least, stepped), x.dtype)
    unordered = p.or_(p.compare(x, x, "NE"), p.compare(towards, towards, "NE"))
    return p.select(unordered, p.add(x, towards), p.select(p.compare(x, towards, "EQ"), towards, moved))


def _next_after_gradient(x1: Node, x2: Node, y: Node, g: Node) -> Sequence[Node | None]:
    """That of the first, whose neighbour the result is; 0 by the second."""
    alike = broadcast_binary(lambda a, b: p.add(a, p.multiply(b, fill_like(b, 0))), x1, x2)
    return vjp((alike,), (x1, x2), (g,))


@composite("NextAfter", gradient=_next_after_gradient)
def NEXT_AFTER(x1: Node, x2: Node) -> Node:
    return broadcast_binary(_next_after, x1, x2)


def nextafter(x1: Any, x2: Any, name: str | None = None) -> Tensor:
    """The next floating number after `x1` in the direction of `x2`."""
    return declare_one(NEXT_AFTER, {"x1": x1, "x2": x2}, None, name)
