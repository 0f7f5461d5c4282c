"""Choosing and testing: compare, select, clamp, convert, is_finite, and the bitwise operations on integers and bool."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.loops import Map
from graphc.core.primitive import NoAttrs, NotDifferentiable, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, merge_dims, same_dims
from graphc.primitives import numerics
from graphc.primitives.broadcast import full
from graphc.primitives.rules import (
    NO_ATTRS,
    Cotangents,
    binary,
    call,
    elementwise,
    elementwise_infer,
    is_any,
    is_bits,
    is_floating,
    is_integer,
    same_type,
    unary,
)

_DISCRETE = NotDifferentiable("its result is not a floating number")

# Bits -----------------------------------------------------------------------------------------------------------------------------------

and_ = binary(elementwise("and", 2, is_bits, lambda attrs, x, y: np.bitwise_and(x, y), _DISCRETE, "Bitwise and; logical on bool."))
or_ = binary(elementwise("or", 2, is_bits, lambda attrs, x, y: np.bitwise_or(x, y), _DISCRETE, "Bitwise or; logical on bool."))
xor = binary(elementwise("xor", 2, is_bits, lambda attrs, x, y: np.bitwise_xor(x, y), _DISCRETE, "Bitwise exclusive or; logical on bool."))
not_ = unary(elementwise("not", 1, is_bits, lambda attrs, x: np.invert(x), _DISCRETE, "Bitwise not; logical on bool."))
shift_left = binary(elementwise(
    "shift_left", 2, is_integer, lambda attrs, x, y: numerics.shift_left(x, y), _DISCRETE,
    "x << y; 0 where y, taken as unsigned, is the width or more."))
shift_right_logical = binary(elementwise(
    "shift_right_logical", 2, is_integer, lambda attrs, x, y: numerics.shift_right_logical(x, y), _DISCRETE,
    "x >> y, zeros coming in; 0 where y, taken as unsigned, is the width or more."))
shift_right_arithmetic = binary(elementwise(
    "shift_right_arithmetic", 2, is_integer, lambda attrs, x, y: numerics.shift_right_arithmetic(x, y), _DISCRETE,
    "x >> y, copies of the sign coming in; the sign everywhere where y, taken as unsigned, is the width or more."))
is_finite = unary(elementwise(
    "is_finite", 1, is_floating, lambda attrs, x: np.isfinite(x), _DISCRETE, "Neither infinite nor NaN.", result=dtypes.bool))

# compare --------------------------------------------------------------------------------------------------------------------------------

_COMPARISONS = {"EQ": np.equal, "NE": np.not_equal, "LT": np.less, "LE": np.less_equal, "GT": np.greater, "GE": np.greater_equal}


@dataclass(frozen=True)
class CompareAttrs:
    """direction: "EQ", "NE", "LT", "LE", "GT" or "GE"."""

    direction: str


def _compare_type(attrs: CompareAttrs, x: TensorType, y: TensorType) -> TensorType:
    if attrs.direction not in _COMPARISONS:
        raise ValueError(f"{call('compare', (x, y))}: direction {attrs.direction!r} must be one of {', '.join(_COMPARISONS)}")
    if x.dtype.is_complex and attrs.direction not in ("EQ", "NE"):
        raise TypeError(f"{call('compare', (x, y))}: complex numbers have no order; directions are EQ and NE")
    return same_type("compare", (x, y)).with_dtype(dtypes.bool)


COMPARE = declare(Primitive(
    "compare", CompareAttrs, 2, _compare_type, lambda attrs, x, y: np.asarray(_COMPARISONS[attrs.direction](x, y)), _DISCRETE,
    Map(lambda attrs: str(attrs.direction).lower()), "Element by element by `direction`; with NaN only NE holds."))


def compare(x: Node, y: Node, direction: str) -> Node:
    """bool: x `direction` y, one of "EQ", "NE", "LT", "LE", "GT", "GE"."""
    return make(COMPARE, (x, y), CompareAttrs(direction))


# select, clamp --------------------------------------------------------------------------------------------------------------------------

def _select_type(attrs: NoAttrs, which: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if not which.dtype.is_bool:
        raise TypeError(f"{call('select', (which, x, y))}: the first operand must be pred")
    common = same_type("select", (x, y))
    if which.shape == common.shape:
        return common
    if not same_dims(which.shape, common.shape):
        raise ValueError(f"{call('select', (which, x, y))}: operands must have one shape")
    return common.with_shape(merge_dims(common.shape, which.shape))


def _select_vjp(node: Node, g: Node) -> Cotangents:
    """Each arm's share, marked as masked by its zero in the last place (see `graphc.core.masks`)."""
    which = node.operands[0]
    zero = full(0, g.type)
    return (None, select(which, g, zero), select(not_(which), g, zero))


SELECT = declare(Primitive(
    "select", NoAttrs, 3, _select_type, lambda attrs, which, x, y: np.where(which, x, y), _select_vjp, Map("select"),
    "x where the first operand holds, else y."))


def select(which: Node, x: Node, y: Node) -> Node:
    return make(SELECT, (which, x, y), NO_ATTRS)


_clamp = numerics.elementwise(lambda low, x, high: np.minimum(np.maximum(x, low), high))


def _clamp_vjp(node: Node, g: Node) -> Cotangents:
    """To whichever operand the value came from: x inside the bounds and on them."""
    low, x, high = node.operands
    zero = full(0, g.type)
    above = or_(compare(x, high, "GT"), compare(low, high, "GT"))
    below = and_(compare(x, low, "LT"), not_(above))
    return (select(not_(below), zero, g), select(or_(below, above), zero, g), select(not_(above), zero, g))


CLAMP = declare(Primitive(
    "clamp", NoAttrs, 3, elementwise_infer("clamp", is_any), _clamp, _clamp_vjp, Map("clamp"),
    "min(max(x, low), high) for operands (low, x, high), with NaN passed on."))


def clamp(low: Node, x: Node, high: Node) -> Node:
    return make(CLAMP, (low, x, high), NO_ATTRS)


# convert --------------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ConvertAttrs:
    dtype: DType


def _convert_vjp(node: Node, g: Node) -> Cotangents:
    source = node.operands[0].dtype
    return (convert(g, source) if source.is_inexact else None,)


CONVERT = declare(Primitive(
    "convert", ConvertAttrs, 1, lambda attrs, x: x.with_dtype(attrs.dtype),
    lambda attrs, x: numerics.convert(x, attrs.dtype.np_dtype), _convert_vjp, Map("convert"),
    "To another element type: floats round, float to integer saturates (NaN: 0), integers wrap, to bool is `!= 0`."))


def convert(x: Node, dtype: DType) -> Node:
    """`x` as `dtype`; `x` itself where it has that type."""
    return x if x.dtype is dtype else make(CONVERT, (x,), ConvertAttrs(dtype))


# bitcast_convert ------------------------------------------------------------------------------------------------------------------------

def _has_plain_bits(dtype: DType) -> bool:
    """Whether a register holds the bits that memory does: not so for bool and for 16-bit floats, which are computed in float32."""
    return dtype.is_integer or dtype in (dtypes.float32, dtypes.float64)


def _bitcast_type(attrs: ConvertAttrs, x: TensorType) -> TensorType:
    if not (_has_plain_bits(x.dtype) and _has_plain_bits(attrs.dtype) and x.dtype.size == attrs.dtype.size):
        raise TypeError(f"{call('bitcast_convert', (x,))}: needs integers, f32 or f64 of one width, not {x.dtype.code} and "
                        f"{attrs.dtype.code}")
    return x.with_dtype(attrs.dtype)


BITCAST_CONVERT = declare(Primitive(
    "bitcast_convert", ConvertAttrs, 1, _bitcast_type, lambda attrs, x: np.ascontiguousarray(x).view(attrs.dtype.np_dtype).reshape(x.shape),
    _DISCRETE, Map("bitcast_convert"), "The same bits taken as another element type of the same width: integers, float32, float64."))


def bitcast_convert(x: Node, dtype: DType) -> Node:
    """The bits of `x` as `dtype`; `x` itself where it has that type."""
    return x if x.dtype is dtype else make(BITCAST_CONVERT, (x,), ConvertAttrs(dtype))
