"""The exponential and the functions made of it, inline and branch-free: exp, expm1, logistic, tanh, erf.

All stand on x = n ln 2 + r, exp(x) = 2**n exp(r) with n the nearest integer, so |r| <= ln(2)/2 (Cody and Waite, "Software Manual for the
Elementary Functions", 1980, chapter 6), and keep p = exp(r) - 1 apart from its 1: exp(x) - 1 = 2**n p + (2**n - 1) then loses nothing for
small x. The polynomials are minimax (Remez exchange) in relative error. The same code serves float32 and float64; `Constants` holds what
differs.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.codegen.llvm import avx512
from graphc.codegen.llvm.vec import Vec


@dataclass(frozen=True)
class Constants:
    """What the exponential's algorithms need to know about a float type."""

    mantissa_bits: int
    one: int  # the bits of 1.0
    shifter: float  # adding it rounds to an integer, which then stands in the low bits
    ln2_high: float  # few enough bits that its product with any n is exact
    ln2_low: float
    lowest: float  # exp of less is below the smallest normal number
    highest: float  # exp of more overflows
    tanh_is_one: float  # from here on tanh rounds to 1
    erf_is_one: float
    exp_tail: tuple[float, ...]  # (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2
    exp2_tail: tuple[float, ...]  # (2**r - 1) / r for |r| <= 1/2
    log2_erfc: tuple[float, ...]  # log2(erfc(x)) / x for 0 <= x <= erf_is_one


_F32 = Constants(
    mantissa_bits=23,
    one=0x3F800000,
    shifter=1.5 * 2.0**23,
    ln2_high=0.693145751953125,
    ln2_low=1.428606820309417e-06,
    lowest=-87.33654,
    highest=88.72283,
    tanh_is_one=9.1,
    erf_is_one=4.0,
    exp_tail=(0.4999999701976776, 0.1666654348373413, 0.04166720062494278, 0.00836651399731636, 0.0013882528292015195),
    exp2_tail=(0.6931471824645996, 0.24022649228572845, 0.05550357326865196, 0.009618237614631653, 0.0013390735257416964,
               0.00015403502038680017),
    log2_erfc=(-1.6279070377349854, -0.9184473752975464, -0.14828051626682281, 0.02764922007918358, 0.00019291335775051266,
               -0.002362019382417202, 0.0008882003603503108, -0.00016265451267827302, 1.2559356036945246e-05),
)  # fmt: skip

_F64 = Constants(
    mantissa_bits=52,
    one=0x3FF0000000000000,
    shifter=1.5 * 2.0**52,
    ln2_high=float.fromhex("0x1.62e42feep-1"),
    ln2_low=1.9082149292705877e-10,
    lowest=-708.3964185322641,
    highest=709.782712893384,
    tanh_is_one=19.1,
    erf_is_one=6.0,
    exp_tail=(0.5000000000000006, 0.16666666666666588, 0.041666666666576826, 0.008333333333389484, 0.0013888888931539276,
              0.0001984126971913483, 2.4801505306819166e-05, 2.7557407457382147e-06, 2.762602400517857e-07, 2.5053790401361235e-08),
    exp2_tail=(0.6931471805599453, 0.24022650695910097, 0.055504108664821236, 0.009618129107607065, 0.0013333558146531661,
               0.00015403530441481802, 1.5252733701190763e-05, 1.3215442723648642e-06, 1.0178121307865341e-07, 7.07256180016111e-09,
               4.4455360614356263e-10),
    log2_erfc=(-1.627907028611115, -0.9184481885265736, -0.14826952512242786, 0.02759651562242274, 0.00030180433451461856,
               -0.0024471102026182726, 0.0008513807288499829, -3.737253067401972e-05, -9.293470779564969e-05, 4.2653380998182405e-05,
               -4.540372177044252e-06, -4.568940221091593e-06, 2.994605044959909e-06, -8.718987246979304e-07, 5.0320500802210674e-08,
               7.665998462428856e-08, -4.2057778308244693e-08, 1.2866994921184428e-08, -2.687618548407514e-09, 3.9318983348905106e-10,
               -3.848324470905512e-11, 2.1279187148639014e-12, -1.55690815618505e-14, -5.497690943032763e-15, 2.4330474042945303e-16),
)  # fmt: skip

# Minimax in absolute error of erfc: log2(erfc(x)) / x on [0, 4], to 2**-25.9 of erfc; it goes on falling beyond. And (2**r - 1) / r on
# [0, 1], to 2**-23.5 of 2**r.
_LOG2_ERFC_SHORT = (-1.6279085874557495, -0.9184163808822632, -0.14848162233829498, 0.028253689408302307, -0.000774639833252877,
                    -0.0014894355554133654, 0.0004455057787708938, -4.5358370698522776e-05)  # fmt: skip
_EXP2_SHORT = (0.6931512951850891, 0.24016444385051727, 0.05579991266131401, 0.009017030708491802, 0.0018671299330890179)
_ERFC_IS_ZERO = 9.5  # from here on the polynomial above is below -150


def _constants(v: Vec) -> Constants:
    return _F32 if v.bits == 32 else _F64


@dataclass(frozen=True)
class _Reduced:
    """exp(x) = 2**n (1 + p): `n` as a float, `shifted` with n in its low bits."""

    n: str
    shifted: str
    p: str


def _reduce(v: Vec, x: str) -> _Reduced:
    """For |x| up to about `highest`: n = round(x / ln 2), r = x - n ln 2 in two parts (Cody and Waite), p = r + r**2 tail(r)."""
    c = _constants(v)
    shifted = v.fma(x, 1.0 / math.log(2.0), c.shifter)
    n = v.sub(shifted, c.shifter)
    r = v.fma(n, -c.ln2_low, v.fma(n, -c.ln2_high, x))
    square = v.mul(r, r)
    return _Reduced(n, shifted, v.fma(square, v.polynomial(r, c.exp_tail, square), r))


def _power_of_two(v: Vec, shifted: str, offset: int = 0) -> str:
    """2**(n + offset) by writing the exponent's bits; n + offset must be the exponent of a normal number."""
    c = _constants(v)
    exponent = v.int_op("shl", v.bits_of(shifted), c.mantissa_bits)
    return v.from_bits(v.int_op("add", exponent, c.one + (offset << c.mantissa_bits)))


def exponential(v: Vec, x: str) -> str:
    """exp(x), to 1.03 ulp in float32 and 1.05 in float64.

    Results below the smallest normal number are zero: denormal results cost 30 times more, and softmax masks hit them.
    """
    return _exponential(v, x, _constants(v).highest)


def _exponential(v: Vec, x: str, highest: float) -> str:
    """exp(x), infinite for x > highest."""
    c = _constants(v)
    normal = v.e.let(f"fcmp uge {v.float_type} {x}, {v.number(c.lowest)}")  # true for NaN
    if avx512.fits(v):
        reduced = _reduce(v, v.min(c.highest + 0.25, x))
        result = avx512.scale(v, v.add(1.0, reduced.p), reduced.n, normal)
        return result if highest == c.highest else v.select(v.gt(x, highest), math.inf, result)
    reduced = _reduce(v, v.max(c.lowest, v.min(c.highest, x)))
    exponent = v.int_op("shl", v.bits_of(reduced.shifted), c.mantissa_bits)
    scaled = v.from_bits(v.int_op("add", v.bits_of(v.add(1.0, reduced.p)), exponent))
    # x * inf is inf, or NaN for NaN, whose bits must not be added to.
    return v.select(normal, v.select(v.le(x, highest), scaled, v.mul(x, math.inf)), 0.0)


def exponential_minus_one(v: Vec, x: str) -> str:
    """exp(x) - 1 without cancellation, to 1.65 ulp in float32 and 2.2 in float64."""
    c = _constants(v)
    reduced = _reduce(v, v.max(-(c.mantissa_bits + 3) * math.log(2.0), v.min(c.highest + 0.25, x)))
    # Half of the scale, doubled at the end: 2**n itself overflows for the largest results.
    half = _power_of_two(v, reduced.shifted, -1)
    result = v.mul(2.0, v.fma(reduced.p, half, v.sub(half, 0.5)))
    return v.select(v.lt(v.abs(x), 2.0 ** (-2 * c.mantissa_bits)), x, result)  # keeps denormals and -0


def logistic(v: Vec, x: str) -> str:
    """1 / (1 + exp(-x)), zero where the result would be denormal; to 2.4 ulp in float32 and 2.2 in float64."""
    c = _constants(v)
    return v.div(1.0, v.add(1.0, _exponential(v, v.neg(x), -c.lowest)))


def tanh(v: Vec, x: str) -> str:
    """-t / (2 + t) for t = exp(-2|x|) - 1, with the sign of x; to 2.5 ulp in both types."""
    c = _constants(v)
    reduced = _reduce(v, v.mul(-2.0, v.min(c.tanh_is_one, v.abs(x))))
    scale = _power_of_two(v, reduced.shifted)
    t = v.fma(reduced.p, scale, v.sub(scale, 1.0))
    return v.copysign(v.div(t, v.add(2.0, t)), x)


def erf(v: Vec, x: str) -> str:
    """1 - 2**q with q = log2(erfc(|x|)), which is smooth where erf is not: one polynomial for all arguments, and no division.

    An error in q counts erfc(x) times, so the polynomial need not be good where erf is nearly 1. 2**q - 1 is formed as exp(x) - 1 is. To
    2.6 ulp in float32 and 2.7 in float64.
    """
    c = _constants(v)
    magnitude = v.min(c.erf_is_one, v.abs(x))
    q = v.mul(magnitude, v.polynomial(magnitude, c.log2_erfc, v.mul(magnitude, magnitude)))
    shifted = v.add(q, c.shifter)
    r = v.sub(q, v.sub(shifted, c.shifter))
    minus_p = v.mul(v.neg(r), v.polynomial(r, c.exp2_tail, v.mul(r, r)))
    scale = _power_of_two(v, shifted)
    return v.copysign(v.fma(minus_p, scale, v.sub(1.0, scale)), x)


def erf_plus_one(v: Vec, x: str) -> str:
    """1 + erf(x), to the precision of results near 1; it goes to zero with x, where a sum of 1 and erf(x) ends in steps.

    erfc(|x|) = 2**q as in `erf`, but only absolute errors count: shorter polynomials do, and no 1 is kept apart.
    """
    if v.bits == 64:
        return v.add(1.0, erf(v, x))
    a = v.min(_ERFC_IS_ZERO, v.abs(x))
    q = v.mul(a, v.polynomial(a, _LOG2_ERFC_SHORT, v.mul(a, a)))
    tail = _small_power(v, q)
    return v.select(v.lt(x, 0.0), tail, v.sub(2.0, tail))


def _small_power(v: Vec, q: str) -> str:
    """2**q in float32 for q <= 0; zero where that is denormal."""
    if avx512.fits(v) and v.target.has("avx512dq"):
        normal = v.e.let(f"fcmp uge {v.float_type} {q}, {v.number(-126.0)}")  # true for NaN
        r = avx512.fraction(v, q)
        return avx512.scale(v, v.fma(r, v.polynomial(r, _EXP2_SHORT, v.mul(r, r)), 1.0), q, normal)
    c = _constants(v)
    q = v.max(-127.0, q)  # whose power of two is zero, by its bits
    shifted = v.add(q, c.shifter)
    r = v.sub(q, v.sub(shifted, c.shifter))
    return v.mul(_power_of_two(v, shifted), v.fma(r, v.polynomial(r, c.exp2_tail, v.mul(r, r)), 1.0))
