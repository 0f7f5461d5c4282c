"""Elementary functions as inline vector code: which function computes which operation, and how exact it is.

Table-free and branch-free where that is possible, with fused multiply-add where the target has it. `FUNCTIONS` serves `arith`; `ULP`
bounds the error against the true value, in units of the result's last place, as tests/test_vecmath.py measures it on every width.
"""
from __future__ import annotations

from collections.abc import Callable

from graphc.codegen.llvm import vecmath_exp, vecmath_log, vecmath_power, vecmath_trig
from graphc.codegen.llvm.libm import per_lane
from graphc.codegen.llvm.vec import Vec

Function = Callable[..., str]


def rsqrt(v: Vec, x: str) -> str:
    """1 / sqrt(x), to 1.5 ulp: inf for +0, -inf for -0."""
    return v.div(1.0, v.sqrt(x))


def _library(name: str) -> Function:
    """The C library's function, called once a lane."""
    return lambda v, *args: per_lane(v, name, *args)


_BOTH: dict[str, Function] = {
    "exponential": vecmath_exp.exponential,
    "exponential_minus_one": vecmath_exp.exponential_minus_one,
    "logistic": vecmath_exp.logistic,
    "tanh": vecmath_exp.tanh,
    "erf": vecmath_exp.erf,
    "erf_plus_one": vecmath_exp.erf_plus_one,
    "log": vecmath_log.log,
    "log_plus_one": vecmath_log.log_plus_one,
    "cbrt": vecmath_power.cbrt,
    "rsqrt": rsqrt,
}
_F32: dict[str, Function] = {
    "sine": vecmath_trig.sine,
    "cosine": vecmath_trig.cosine,
    "tan": vecmath_trig.tan,
    "atan2": vecmath_trig.atan2,
    "power": vecmath_power.power,
    "erfc": vecmath_power.erfc,
}
_F64: dict[str, Function] = {
    "sine": _library("sin"),
    "cosine": _library("cos"),
    "tan": _library("tan"),
    "atan2": _library("atan2"),
    "power": _library("pow"),
    "erfc": _library("erfc"),
}
FUNCTIONS: dict[int, dict[str, Function]] = {32: _BOTH | _F32, 64: _BOTH | _F64}

# Operation -> largest error for float32 and float64; exponential and logistic may give zero for results below the smallest normal number.
# What the C library computes is bounded by glibc's own table of known errors (its manual, section 19.7).
ULP: dict[str, tuple[float, float]] = {
    "exponential": (1.1, 1.1),
    "exponential_minus_one": (1.7, 2.4),
    "log": (1.0, 1.0),
    "log_plus_one": (1.0, 1.0),
    "logistic": (2.6, 2.6),
    "tanh": (2.6, 2.6),
    "erf": (2.7, 3.0),
    "erf_plus_one": (3.1, 1.5),  # units of the larger of the result and 1/2
    "erfc": (0.6, 5.0),
    "sine": (1.7, 1.0),
    "cosine": (1.7, 1.0),
    "tan": (2.6, 1.0),
    "atan2": (1.7, 1.0),
    "power": (0.6, 1.0),
    "cbrt": (0.8, 0.8),
    "rsqrt": (1.5, 1.5),
}
