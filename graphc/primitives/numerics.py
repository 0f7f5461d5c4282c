"""The defined results of the elementwise vocabulary, in numpy: what every compiled kernel must agree with on every target.

The references of the primitives call these. Where C or LLVM leaves a result undefined (division by zero, shifts by the width, conversions
out of range), docs/design.md defines one and this file is its definition. float16 and bfloat16 are computed in float32 and rounded once.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.core import dtypes

Array = np.ndarray[Any, Any]
_HALVES = (dtypes.float16.np_dtype, dtypes.bfloat16.np_dtype)


def is_half(array: Array) -> bool:
    return array.dtype in _HALVES


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What references sum in: float64 or complex128; integers as they are."""
    if dtype.kind == "c":
        return np.dtype(np.complex128)
    return np.dtype(np.float64) if is_float(dtype) else dtype


def is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype in _HALVES


def widened(array: Array) -> Array:
    """float16 and bfloat16 as float32; anything else unchanged."""
    return array.astype(np.float32) if is_half(array) else array


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


def rounded(array: Any, dtype: np.dtype[Any]) -> Array:
    """`array` in `dtype`, warnings off (overflow to inf is a result like any other)."""
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype)


def elementwise(function: Callable[..., Any]) -> Callable[..., Array]:
    """`function` on arrays of one dtype as a reference: silent, in float32 for 16-bit floats, giving the operands' dtype back
    (a result of another kind, such as bool, stays as it is)."""
    def reference(attrs: Any, *arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*map(widened, arrays)))
        return rounded(result, arrays[0].dtype) if is_half(arrays[0]) and is_float(result.dtype) else result
    return reference


def by_kind(of_floats: Callable[..., Any], of_integers: Callable[..., Any]) -> Callable[..., Any]:
    """One function that computes floats and integers by different definitions."""
    def function(*arrays: Array) -> Any:
        return (of_integers if arrays[0].dtype.kind in "iub" else of_floats)(*arrays)
    return function


def from_math(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of the math module over an array, computed in float64 and rounded."""
    over = np.frompyfunc(function, 1, 1)

    def vectorised(x: Array) -> Array:
        return np.asarray(over(x.astype(np.float64))).astype(np.float64).astype(x.dtype)
    return vectorised


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def rsqrt(x: Array) -> Array:
    return np.asarray(1 / np.sqrt(x), x.dtype)


def integer_divide(x: Array, y: Array) -> Array:
    """Truncates toward zero; x / 0 is all bits set; INT_MIN / -1 is INT_MIN."""
    zero, minus = y == 0, _is_minus_one(y)
    safe = np.where(zero | minus, np.ones_like(y), y)
    quotient = x // safe
    quotient = quotient + ((x % safe != 0) & ((x < 0) != (safe < 0))).astype(x.dtype)
    return np.where(zero, np.invert(np.zeros_like(x)), np.where(minus, np.negative(x), quotient)).astype(x.dtype)


def integer_remainder(x: Array, y: Array) -> Array:
    """The remainder of the truncated quotient, with the sign of x; x rem 0 is x; INT_MIN rem -1 is 0."""
    zero = y == 0
    safe = np.where(zero | _is_minus_one(y), np.ones_like(y), y)
    return np.where(zero, x, np.fmod(x, safe)).astype(x.dtype)


def _is_minus_one(y: Array) -> Array:
    return y == -1 if y.dtype.kind == "i" else np.zeros(y.shape, np.bool_)


def integer_power(x: Array, y: Array) -> Array:
    """Wraps; a negative exponent gives 0, but 1 for base 1 and +-1 for base -1."""
    negative = y < 0
    powers = np.power(x, np.where(negative, np.zeros_like(y), y))
    if x.dtype.kind == "u":
        return np.asarray(powers, x.dtype)
    of_minus_one = np.where(y % 2 == 0, 1, -1)
    inverse = np.where(x == 1, 1, np.where(x == -1, of_minus_one, 0))
    return np.where(negative, inverse, powers).astype(x.dtype)


def _unsigned(x: Array) -> Array:
    """The same bits as an unsigned integer."""
    return np.ascontiguousarray(x).view(np.dtype(f"u{x.dtype.itemsize}")).reshape(x.shape)


def _shift(x: Array, y: Array, shift: Callable[[Array, Array], Array], beyond: Array) -> Array:
    """`shift(x, y)` where y, taken as unsigned, is less than the width, else `beyond`."""
    width = x.dtype.itemsize * 8
    inside = _unsigned(y) < width
    amount = np.where(inside, y, np.zeros_like(y)).astype(x.dtype)
    return np.where(inside, shift(x, amount), beyond).astype(x.dtype)


def shift_left(x: Array, y: Array) -> Array:
    return _shift(x, y, np.left_shift, np.zeros_like(x))


def shift_right_arithmetic(x: Array, y: Array) -> Array:
    return _shift(x, y, np.right_shift, np.where(x < 0, np.invert(np.zeros_like(x)), np.zeros_like(x)))


def shift_right_logical(x: Array, y: Array) -> Array:
    bits = _shift(_unsigned(x), _unsigned(y), np.right_shift, np.zeros_like(_unsigned(x)))
    return np.ascontiguousarray(bits).view(x.dtype).reshape(x.shape)


def convert(x: Array, target: np.dtype[Any]) -> Array:
    """Floats to integers saturate and NaN gives 0; integers wrap; anything to bool is `!= 0`; to 16-bit floats by way of float32."""
    if target.kind == "b":
        return np.asarray(widened(x) != 0)
    if x.dtype.kind == "c" and target.kind != "c":
        return convert(x.real, target)
    if target in _HALVES:
        return rounded(rounded(x, np.dtype(np.float32)), target)
    if is_float(x.dtype) and target.kind in "iu":
        return _saturated(widened(x).astype(np.float64), target)
    return rounded(widened(x), target)


def _saturated(x: Array, target: np.dtype[Any]) -> Array:
    limits = np.iinfo(target)
    bound = math.ldexp(1.0, limits.bits - (target.kind == "i"))  # the first value above the range, exact in float64
    inside = (x > -bound if target.kind == "i" else x > 0) & (x < bound)
    result = np.where(inside, x, 0).astype(target)
    result = np.where(x >= bound, limits.max, result).astype(target)
    return np.where((x <= -bound) if target.kind == "i" else np.zeros(x.shape, np.bool_), limits.min, result).astype(target)


_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox_4x32(counters: Array, key: tuple[int, int], rounds: int = 10) -> Array:
    """Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): uint32 [n, 4] counters -> uint32 [n, 4] bits."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (counters[:, word].astype(np.uint64) for word in range(4))
    for step in range(rounds):
        k0, k1 = ((k + step * weyl) & 0xFFFFFFFF for k, weyl in zip(key, _WEYL, strict=True))
        p0, p1 = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1), p0 & low
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)
