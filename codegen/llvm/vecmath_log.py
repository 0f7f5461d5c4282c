"""Logarithms, inline and branch-free: log and log1p.

x = 2**e (1 + f) with 1 + f in [0.75, 1.5), log(x) = e ln 2 + log(1 + f) (Cody and Waite, "Software Manual for the Elementary Functions",
1980, chapter 5). That interval has 1 inside, so that nothing cancels near x = 1.
"""
from __future__ import annotations

import math

from graphc.codegen.llvm import avx512
from graphc.codegen.llvm.vec import Vec

_LN2_HIGH = {32: 0.693145751953125, 64: float.fromhex("0x1.62e42feep-1")}  # their products with any exponent are exact
_LN2_LOW = {32: 1.428606820309417e-06, 64: 1.9082149292705877e-10}
_MANTISSA_BITS = {32: 23, 64: 52}
_THREE_QUARTERS = {32: 0x3F400000, 64: 0x3FE8000000000000}
_FOUR = {32: 0x40800000, 64: 0x4010000000000000}
_SMALLEST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}

# Minimax in relative error: (log(1+f) - f + f**2/2) / f**3 on [-1/4, 1/2].
_TAIL32 = (
    0.3333345055580139, -0.25000104308128357, 0.1999083310365677, -0.16646240651607513,
    0.14476068317890167, -0.1317494660615921, 0.10515958815813065, -0.04555637016892433,
)  # fmt: skip
# (2 atanh(s) - 2s) / s**3 in z = s**2 for s = f/(2+f), log(1+f) = 2 atanh(s).
_TAIL64 = (
    0.666666666666666, 0.4000000000005674, 0.2857142855580548, 0.22222224299527812,
    0.18181665674480255, 0.1539111892028979, 0.13173477165615524, 0.1384389167684011,
)  # fmt: skip


def log(v: Vec, x: str) -> str:
    """log(x), to 0.9 ulp in both types: -inf for both zeros, NaN for negative numbers, right for denormals."""
    if avx512.fits(v):  # these instructions know the special cases
        m = avx512.mantissa(v, x)
        exponent = v.sub(avx512.exponent(v, x), avx512.exponent(v, m))
        return _log_of_parts(v, exponent, v.sub(m, 1.0))
    bits = v.bits
    denormal = v.lt(x, _SMALLEST_NORMAL[bits])
    scale = _MANTISSA_BITS[bits]
    scaled = v.select(denormal, v.mul(x, 2.0**scale), x)
    exponent_bits, m = _split(v, scaled)
    exponent = v.add(v.int_to_float(exponent_bits), v.select(denormal, -float(scale), 0.0))
    return _with_special_cases(v, x, _log_of_parts(v, exponent, v.sub(m, 1.0)))


def log_plus_one(v: Vec, x: str) -> str:
    """log(1 + x) to 0.9 ulp in both types: the exponent is taken from the rounded 1 + x, the fraction f from x itself."""
    u = v.add(1.0, x)
    exponent, _ = _split(v, u)
    # f = x 2**-e + (2**-e - 1), in quarters because 2**-e is denormal for the largest x.
    four = v.from_bits(v.int_op("sub", _FOUR[v.bits], v.int_op("shl", exponent, _MANTISSA_BITS[v.bits])))
    f = v.fma(v.mul(x, 0.25), four, v.fma(four, 0.25, -1.0))
    result = _with_special_cases(v, u, _log_of_parts(v, v.int_to_float(exponent), f))
    return v.select(v.lt(v.abs(x), 2.0 ** (-2 * _MANTISSA_BITS[v.bits])), x, result)  # keeps denormals and -0


def _split(v: Vec, x: str) -> tuple[str, str]:
    """(e, m), x = 2**e m with m in [0.75, 1.5), for a positive normal x; e is an integer."""
    bits = v.bits_of(x)
    exponent = v.int_op("ashr", v.int_op("sub", bits, _THREE_QUARTERS[v.bits]), _MANTISSA_BITS[v.bits])
    return exponent, v.from_bits(v.int_op("sub", bits, v.int_op("shl", exponent, _MANTISSA_BITS[v.bits])))


def _log_of_parts(v: Vec, exponent: str, f: str) -> str:
    """exponent ln 2 + log(1 + f), small terms first."""
    tail = _tail32(v, f) if v.bits == 32 else _tail64(v, f)
    low = v.fma(exponent, _LN2_LOW[v.bits], tail)
    return v.fma(exponent, _LN2_HIGH[v.bits], v.add(f, low))


def _tail32(v: Vec, f: str) -> str:
    """log(1 + f) - f by a polynomial in f."""
    square = v.mul(f, f)
    return v.fma(v.mul(square, f), v.polynomial(f, _TAIL32, square), v.mul(square, -0.5))


def _tail64(v: Vec, f: str) -> str:
    """log(1 + f) - f = s (f**2/2 + R) - f**2/2, the arrangement of fdlibm's e_log.c (Sun Microsystems, 1993)."""
    s = v.div(f, v.add(2.0, f))
    z = v.mul(s, s)
    remainder = v.mul(z, v.polynomial(z, _TAIL64, v.mul(z, z)))
    half_square = v.mul(v.mul(f, f), 0.5)
    return v.fma(s, v.add(half_square, remainder), v.neg(half_square))


def _with_special_cases(v: Vec, x: str, result: str) -> str:
    """`result` where x is positive and finite; -inf for 0, NaN for negative, x itself for inf and NaN."""
    below = v.select(v.lt(x, 0.0), math.nan, -math.inf)
    return v.select(v.le(x, 0.0), below, v.select(v.lt(x, math.inf), result, x))
