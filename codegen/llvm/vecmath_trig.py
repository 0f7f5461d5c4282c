"""Trigonometric functions of float32 inline: sine, cosine, tan, atan2.

The argument is reduced to [-pi/4, pi/4] in float64 (Cody and Waite with two parts of pi/2): exact enough for all |x| <= 2**20. Vectors
with a larger argument, an infinity or a NaN in any lane take a branch to libm for all their lanes.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from graphc.codegen.llvm.libm import per_lane
from graphc.codegen.llvm.vec import Vec

_LARGEST = 2.0**20
_HALF_PI_HIGH = float.fromhex("0x1.921fb544p+0")  # 33 bits: products with n < 2**20 are exact
_HALF_PI_LOW = float.fromhex("0x1.0b4611a626331p-34")
_SHIFTER = 1.5 * 2.0**52

# Minimax in relative error on |r| <= pi/4, in u = r**2.
_SIN = (-0.16666655242443085, 0.008332188241183758, -0.00019518101180437952)  # (sin(r)/r - 1) / u
_COS = (0.04166664555668831, -0.0013887309469282627, 2.4432349164271727e-05)  # (cos(r) - 1 + u/2) / u**2
_TAN = (0.33333349227905273, 0.13332673907279968, 0.05405915528535843, 0.021284792572259903, 0.010831287130713463,
        9.32918192120269e-05, 0.0043751560151577)  # (tan(r)/r - 1) / u  # fmt: skip
# (atan(t)/t - 1) / t**2 on [0, 1].
_ATAN = (-0.33333298563957214, 0.1999852955341339, -0.14264041185379028, 0.10951162129640579, -0.08400542289018631,
         0.05790901929140091, -0.03113037906587124, 0.01088948268443346, -0.00178805785253644)  # fmt: skip


def sine(v: Vec, x: str) -> str:
    """sin(x), to 1.6 ulp."""
    result = _or_libm(v, "sin", x, lambda inside: _sine_of_quadrant(v, *_reduce(v, inside)))
    return v.select(v.eq(x, 0.0), x, result)  # -0


def cosine(v: Vec, x: str) -> str:
    """cos(x), to 1.6 ulp."""

    def inside_range(inside: str) -> str:
        r, quadrant = _reduce(v, inside)
        return _sine_of_quadrant(v, r, v.int_op("add", quadrant, 1))

    return _or_libm(v, "cos", x, inside_range)


def tan(v: Vec, x: str) -> str:
    """tan(r), or -1/tan(r) in odd quadrants; to 2.4 ulp."""

    def inside_range(inside: str) -> str:
        r, quadrant = _reduce(v, inside)
        square = v.mul(r, r)
        value = v.fma(v.mul(r, square), v.polynomial(square, _TAN, v.mul(square, square)), r)
        return v.select(_is_odd(v, quadrant), v.div(-1.0, value), value)

    return _or_libm(v, "tan", x, inside_range)


def atan2(v: Vec, y: str, x: str) -> str:
    """The angle of (x, y) in [-pi, pi] to 1.6 ulp, with C's results for zeros and infinities.

    atan of the smaller coordinate over the larger, then unfolded to the other octants.
    """
    abs_x, abs_y = v.abs(x), v.abs(y)
    steep = v.gt(abs_y, abs_x)
    small, large = v.select(steep, abs_x, abs_y), v.select(steep, abs_y, abs_x)
    ratio = v.select(v.eq(small, large), v.select(v.eq(large, 0.0), 0.0, 1.0), v.div(small, large))  # 0/0 and inf/inf
    square = v.mul(ratio, ratio)
    angle = v.fma(v.mul(ratio, square), v.polynomial(square, _ATAN, v.mul(square, square)), ratio)
    angle = v.select(steep, _subtract_from(v, math.pi / 2, angle), angle)
    sign_of_x = v.int_compare("slt", v.bits_of(x), 0)
    angle = v.select(sign_of_x, _subtract_from(v, math.pi, angle), angle)
    return v.select(v.unordered(x, y), v.add(x, y), v.copysign(angle, y))


def _subtract_from(v: Vec, constant: float, angle: str) -> str:
    """constant - angle, with the constant's own rounding error put back."""
    high = v.rounded(constant)
    return v.add(v.sub(high, angle), constant - high)


def _reduce(v: Vec, x: str) -> tuple[str, str]:
    """(r, n): x = n pi/2 + r with |r| <= pi/4, n as an integer."""
    w = replace(v, element="double")
    wide = v.e.let(f"fpext {v.float_type} {x} to {w.float_type}")
    n = w.sub(w.fma(wide, 2.0 / math.pi, _SHIFTER), _SHIFTER)
    r = w.fma(n, -_HALF_PI_LOW, w.fma(n, -_HALF_PI_HIGH, wide))
    quadrant = v.e.let(f"fptosi {w.float_type} {n} to {v.int_type}")
    return v.e.let(f"fptrunc {w.float_type} {r} to {v.float_type}"), quadrant


def _is_odd(v: Vec, quadrant: str) -> str:
    return v.int_compare("ne", v.int_op("and", quadrant, 1), 0)


def _sine_of_quadrant(v: Vec, r: str, quadrant: str) -> str:
    """sin(r + quadrant pi/2): sin(r) or cos(r), negated in the two lower quadrants."""
    square = v.mul(r, r)
    fourth = v.mul(square, square)
    sine_ = v.fma(v.mul(r, square), v.polynomial(square, _SIN, fourth), r)
    cosine_ = v.fma(fourth, v.polynomial(square, _COS, fourth), v.fma(square, -0.5, 1.0))
    value = v.select(_is_odd(v, quadrant), cosine_, sine_)
    sign = v.int_op("shl", v.int_op("and", quadrant, 2), 30)
    return v.from_bits(v.int_op("xor", v.bits_of(value), sign))


def _or_libm(v: Vec, function: str, x: str, inside_range: Callable[[str], str]) -> str:
    """`inside_range(x)`, or libm's `function` where any lane is out of the range of the reduction."""
    e = v.e
    fits = v.le(v.abs(x), _LARGEST)
    fast = inside_range(v.select(fits, x, 0.0))
    all_fit = fits
    if v.lanes > 1:
        symbol = f"@llvm.vector.reduce.and.v{v.lanes}i1"
        e.declare(f"i1 {symbol}({v.mask_type})")
        all_fit = e.let(f"call i1 {symbol}({v.mask_type} {fits})")
    before, large, done = e.block, e.new_label("large"), e.new_label("large_done")
    e.do(f"br i1 {all_fit}, label %{done}, label %{large}")
    e.label(large)
    slow = per_lane(v, function, x)
    e.do(f"br label %{done}")
    e.label(done)
    return e.let(f"phi {v.float_type} [ {fast}, %{before} ], [ {slow}, %{large} ]")
