"""Powers and roots inline, and erfc: power and erfc of float32, cbrt of both types.

power and erfc need more than 24 bits on the way (an error in the exponent is multiplied by the exponent), so they are computed in float64,
where polynomials of about 35 bits do; the results are then almost always correctly rounded.
"""
from __future__ import annotations

import math
from dataclasses import replace

from graphc.codegen.llvm.vec import Vec

_SHIFTER = 1.5 * 2.0**52
_ONE = 0x3FF0000000000000
_THREE_QUARTERS = 0x3FE8000000000000

# Minimax: log2((1+s)/(1-s)) / s in z = s**2 on |s| <= 1/5, to 2**-41.8; (2**r - 1) / r on |r| <= 1/2, to 2**-34.3.
_LOG2 = (2.885390081777417, 0.9617966948360541, 0.5770777532542577, 0.41222635225135046, 0.31927949739939926, 0.2908909864781626)
_EXP2 = (0.6931471805416334, 0.2402265107584592, 0.05550410962619183, 0.009618036911643545, 0.001333343075611155,
         0.00015467110117994886, 1.5314952987878484e-05)  # fmt: skip
# (1 + a) exp(a**2) erfc(a) in t = (a - 2) / (a + 2) for 0 <= a <= 10.1, to 2**-31.2.
_ERFC_LARGEST = 10.1
_ERFC = (0.7661870292379809, -0.259974836092409, 0.037813861990613075, 0.04253631337133048, -0.02524286276532694,
         -0.0005177324460418559, 0.003932954893030231, 0.00014071117255727567, -0.0006917117447668986, -0.00012565586879545248,
         9.650558118083288e-05, 3.697746520897204e-05)  # fmt: skip


def power(v: Vec, x: str, y: str) -> str:
    """x**y as C's pow defines it, to 0.502 ulp: 2**(y log2|x|), for negative x with the sign of an odd y, NaN where y is no integer."""
    w = replace(v, element="double")
    base, exponent = _widen(v, w, v.abs(x)), _widen(v, w, y)
    magnitude = _narrow(v, w, _exp2(w, w.mul(exponent, _log2(w, base))))
    integral, odd = _parity(v, y)
    signed = v.select(odd, v.copysign(magnitude, x), magnitude)
    negative = v.mask_op("and", v.lt(x, 0.0), v.gt(x, -math.inf))
    result = v.select(v.mask_op("and", negative, v.not_(integral)), math.nan, signed)
    # 1 without asking the other operand, not even for NaN: x**0 and 1**y; (-1)**(+-inf) is 1 too.
    unit = v.mask_op("and", v.eq(x, -1.0), v.eq(v.abs(y), math.inf))
    one = v.mask_op("or", v.mask_op("or", v.eq(y, 0.0), v.eq(x, 1.0)), unit)
    return v.select(one, 1.0, result)


def _parity(v: Vec, y: str) -> tuple[str, str]:
    """(y is an integer, y is an odd integer); infinities are even integers."""
    magnitude = v.abs(y)
    large = v.ge(magnitude, 2.0**24)  # an even integer
    whole = v.float_to_int(v.select(v.lt(magnitude, 2.0**24), magnitude, 0.0))
    integral = v.eq(v.int_to_float(whole), magnitude)
    odd = v.mask_op("and", integral, v.int_compare("ne", v.int_op("and", whole, 1), 0))
    return v.mask_op("or", large, integral), odd


def _widen(v: Vec, w: Vec, x: str) -> str:
    return v.e.let(f"fpext {v.float_type} {x} to {w.float_type}")


def _narrow(v: Vec, w: Vec, x: str) -> str:
    return v.e.let(f"fptrunc {w.float_type} {x} to {v.float_type}")


def _log2(w: Vec, x: str) -> str:
    """log2 of a non-negative float64 that was a float32 (so not denormal): -inf for 0, inf for inf, NaN for NaN."""
    bits = w.bits_of(x)
    # An arithmetic shift, as SSE2 has none of 64 bits: the numbers are positive once biased.
    biased = w.int_op("lshr", w.int_op("add", w.int_op("sub", bits, _THREE_QUARTERS), 1024 << 52), 52)
    exponent = w.int_op("sub", biased, 1024)
    m = w.from_bits(w.int_op("sub", bits, w.int_op("shl", exponent, 52)))
    s = w.div(w.sub(m, 1.0), w.add(m, 1.0))
    z = w.mul(s, s)
    whole = w.sub(w.from_bits(w.int_op("or", biased, 0x4330000000000000)), 2.0**52 + 1024)  # int to float without an instruction
    result = w.fma(s, w.polynomial(z, _LOG2, w.mul(z, z)), whole)
    return w.select(w.gt(x, 0.0), w.select(w.lt(x, math.inf), result, math.inf), w.select(w.eq(x, 0.0), -math.inf, x))


def _exp2(w: Vec, x: str) -> str:
    """2**x in float64 to 35 bits, for any x; beyond the range of float32 it is only some number out of that range."""
    bounded = w.max(-400.0, w.min(400.0, x))
    shifted = w.add(bounded, _SHIFTER)
    r = w.sub(bounded, w.sub(shifted, _SHIFTER))
    scale = w.from_bits(w.int_op("add", w.int_op("shl", w.bits_of(shifted), 52), _ONE))
    return w.mul(w.fma(r, w.polynomial(r, _EXP2, w.mul(r, r)), 1.0), scale)


def cbrt(v: Vec, x: str) -> str:
    """Cube root to 0.74 ulp: divide the bits by three (Kahan), Halley's steps until half of the digits are right, one of Newton's."""
    smallest, scale, bias = (2.0**-126, 24, 709958130) if v.bits == 32 else (2.0**-1022, 54, 715094163 << 32)
    magnitude = v.abs(x)
    denormal = v.lt(magnitude, smallest)
    a = v.select(denormal, v.mul(magnitude, 2.0**scale), magnitude)
    y = v.from_bits(v.int_op("add", _third(v, v.bits_of(a)), bias))
    for _ in range(v.bits // 32):
        ratio = v.mul(v.div(v.mul(y, y), a), y)  # y**3 / a, about 1; y**3 itself may overflow
        y = v.mul(y, v.div(v.add(ratio, 2.0), v.fma(ratio, 2.0, 1.0)))
    y = v.sub(y, v.div(v.sub(y, v.div(a, v.mul(y, y))), 3.0))
    root = v.select(denormal, v.mul(y, 2.0 ** (-scale // 3)), y)
    ordinary = v.mask_op("and", v.gt(magnitude, 0.0), v.lt(magnitude, math.inf))
    return v.select(ordinary, v.copysign(root, x), v.add(x, x))


def _third(v: Vec, bits: str) -> str:
    """About bits / 3 = bits (1/4 + 1/16 + 1/64 + ...), by shifts: not every target converts or multiplies 64-bit integers."""
    third = v.int_op("lshr", bits, 2)
    for shift in (2, 4, 8, 16):
        third = v.int_op("add", third, v.int_op("lshr", third, shift))
    return third


def erfc(v: Vec, x: str) -> str:
    """1 - erf(x) to 0.51 ulp: for a = |x|, exp(-a**2) / (1 + a) times a polynomial in (a - 2) / (a + 2); 2 minus that for x < 0.

    The variable is that of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc(x)", 1981.
    """
    w = replace(v, element="double")
    a = _widen(v, w, v.min(_ERFC_LARGEST, v.abs(x)))
    t = w.div(w.sub(a, 2.0), w.add(a, 2.0))
    decay = _exp2(w, w.mul(w.mul(a, a), -1.0 / math.log(2.0)))
    tail = w.div(w.mul(decay, w.polynomial(t, _ERFC, w.mul(t, t))), w.add(1.0, a))
    negative = _widen(v, w, v.select(v.lt(x, 0.0), 1.0, 0.0))
    return _narrow(v, w, w.select(w.gt(negative, 0.5), w.sub(2.0, tail), tail))
