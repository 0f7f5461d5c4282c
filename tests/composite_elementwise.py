"""The table of composites: functions that work element by element, and conversions of type."""
from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special, stats

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import SMALL_FLOATS, Array, Case, Function, name_of, public, sample
from tests.op_table import integers, over_integers, specials, uniform

SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (7,), (33, 17), (1030,), (2, 0, 4), (3, 5))


# One operand ----------------------------------------------------------------------------------------------------------------------------

def _elu(x: Array) -> Array:
    return np.where(x < 0, np.expm1(x), x)


def _selu(x: Array) -> Array:
    return 1.0507009873554805 * np.where(x < 0, 1.6732632423543772 * np.expm1(x), x)


def _gelu_tanh(x: Array) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


# name: (function, expectation, range of the operand, order of derivatives that hold inside it)
UNARY: dict[str, tuple[Function, Function, tuple[float, float], int]] = {
    "exp": (gc.exp, np.exp, (-5, 5), 2),
    "expm1": (gc.expm1, np.expm1, (-3, 3), 2),
    "log": (gc.log, np.log, (0.1, 9), 2),
    "log1p": (gc.log1p, np.log1p, (-0.8, 9), 2),
    "sqrt": (gc.sqrt, np.sqrt, (0.1, 9), 2),
    "rsqrt": (gc.rsqrt, lambda x: 1 / np.sqrt(x), (0.1, 9), 2),
    "square": (gc.square, np.square, (-3, 3), 2),
    "sin": (gc.sin, np.sin, (-9, 9), 2),
    "cos": (gc.cos, np.cos, (-9, 9), 2),
    "tan": (gc.tan, np.tan, (-1.3, 1.3), 2),
    "asin": (gc.asin, np.arcsin, (-0.9, 0.9), 2),
    "acos": (gc.acos, np.arccos, (-0.9, 0.9), 2),
    "atan": (gc.atan, np.arctan, (-9, 9), 2),
    "sinh": (gc.sinh, np.sinh, (-3, 3), 2),
    "cosh": (gc.cosh, np.cosh, (-3, 3), 2),
    "asinh": (gc.asinh, np.arcsinh, (-9, 9), 2),
    "acosh": (gc.acosh, np.arccosh, (1.2, 9), 2),
    "atanh": (gc.atanh, np.arctanh, (-0.9, 0.9), 2),
    "tanh": (gc.tanh, np.tanh, (-3, 3), 2),
    "sigmoid": (gc.sigmoid, special.expit, (-6, 6), 2),
    "log_sigmoid": (gc.log_sigmoid, special.log_expit, (-6, 6), 2),
    "erf": (gc.erf, special.erf, (-3, 3), 2),
    "erfc": (gc.erfc, special.erfc, (-3, 3), 2),
    "negative": (gc.negative, np.negative, (-3, 3), 1),
    "abs": (gc.abs, np.abs, (-3, 3), 1),
    "reciprocal": (gc.reciprocal, lambda x: 1 / x, (0.2, 3), 2),
    "sign": (gc.sign, np.sign, (-3, 3), 1),
    "floor": (gc.floor, np.floor, (-3, 3), 0),
    "ceil": (gc.ceil, np.ceil, (-3, 3), 0),
    "rint": (gc.rint, np.rint, (-3, 3), 0),
    "round": (gc.round, np.round, (-3, 3), 0),
    "is_nan": (gc.is_nan, np.isnan, (-3, 3), 0),
    "is_inf": (gc.is_inf, np.isinf, (-3, 3), 0),
    "is_finite": (gc.is_finite, np.isfinite, (-3, 3), 0),
    "identity": (gc.identity, lambda x: x, (-3, 3), 1),
    "stop_gradient": (gc.stop_gradient, lambda x: x, (-3, 3), 0),
    "zeros_like": (gc.zeros_like, np.zeros_like, (-3, 3), 0),
    "ones_like": (gc.ones_like, np.ones_like, (-3, 3), 0),
    "nn.sigmoid": (gc.nn.sigmoid, special.expit, (-6, 6), 2),
    "nn.tanh": (gc.nn.tanh, np.tanh, (-3, 3), 2),
    "nn.log_sigmoid": (gc.nn.log_sigmoid, special.log_expit, (-6, 6), 2),
    "nn.softplus": (gc.nn.softplus, lambda x: np.logaddexp(0, x), (-6, 6), 2),
    "nn.softsign": (gc.nn.softsign, lambda x: x / (1 + np.abs(x)), (-3, 3), 2),
    "nn.relu": (gc.nn.relu, lambda x: np.where(x <= 0, 0, x), (-3, 3), 1),
    "nn.relu6": (gc.nn.relu6, lambda x: np.clip(x, 0, 6), (-5, 9), 1),
    "nn.leaky_relu": (lambda x: gc.nn.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x), (-3, 3), 1),
    "nn.elu": (gc.nn.elu, _elu, (-3, 3), 2),
    "nn.selu": (gc.nn.selu, _selu, (-3, 3), 2),
    "nn.gelu": (gc.nn.gelu, lambda x: x * stats.norm.cdf(x), (-3, 3), 2),
    "nn.swish": (gc.nn.swish, lambda x: x * special.expit(x), (-6, 6), 2),
}


def unary_cases() -> Iterator[Case]:
    for number, (name, (build, expected, bounds, slopes)) in enumerate(UNARY.items()):
        sampler = uniform(*bounds)
        odd = [(dtypes.float32, SHAPES[(number + turn) % len(SHAPES)]) for turn in (0, 3)]
        narrow = SMALL_FLOATS[number % 2]
        for dtype, shape in [*odd, (dtypes.float64, (3, 5)), (narrow, (33,))]:
            label = name_of(dtype, shape)
            yield Case(name, label, build, (sample(name + label, sampler, dtype, *shape),), expected, scale=3.0,
                       slopes=slopes if dtype is dtypes.float64 else 0)
        # Far out, float32 operands are too coarse for the trigonometric functions.
        far = uniform(-30, 30) if name in ("sin", "cos", "tan") else specials
        label = "special-" + name_of(dtypes.float32, (61,))
        yield Case(name, label, build, (sample(name + label, far, dtypes.float32, 61),), expected, scale=3.0)
    tanh = sample("gelu by tanh", uniform(-3, 3), dtypes.float64, 3, 5)
    yield Case("nn.gelu", "approximate", lambda x: gc.nn.gelu(x, approximate=True), (tanh,), _gelu_tanh, slopes=2)
    yield from _whole_numbers()


def _whole_numbers() -> Iterator[Case]:
    """What TF1 takes integers for."""
    exact: dict[str, Callable[..., int]] = {
        "abs": abs, "negative": operator.neg, "square": lambda x: x * x, "sign": lambda x: (x > 0) - (x < 0), "round": lambda x: x,
        "nn.relu": lambda x: max(x, 0), "nn.relu6": lambda x: min(max(x, 0), 6), "identity": lambda x: x, "ones_like": lambda x: 1,
    }
    for number, (name, function) in enumerate(exact.items()):
        dtype = (dtypes.int32, dtypes.int64, dtypes.int8, dtypes.int16)[number % 4]
        yield Case(name, dtype.name, public(name), (sample(name, integers, dtype, 37),), over_integers(function, dtype))
    logicals: dict[str, Function] = {"logical_not": np.logical_not, "zeros_like": np.zeros_like}
    for name, logical in logicals.items():
        yield Case(name, "bool", public(name), (sample(name, uniform(0, 1), dtypes.bool, 5, 7),), logical)


# Two operands ---------------------------------------------------------------------------------------------------------------------------

def _greater(x: Array, y: Array) -> Array:
    return np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x, y))


def _lesser(x: Array, y: Array) -> Array:
    return np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x < y, x, y))


def _whole_quotient(x: Array, y: Array) -> Any:
    """The quotient is rounded to its type before it is rounded down: 2.5 / 0.001 is 2500."""
    return np.floor((x / y).astype(np.float32))


def _unless(zero: Array, value: Array) -> Array:
    return np.where(zero == 0, 0.0, value)


BINARY: dict[str, tuple[Function, Function, tuple[float, float], int]] = {
    "add": (gc.add, np.add, (-3, 3), 1),
    "subtract": (gc.subtract, np.subtract, (-3, 3), 1),
    "multiply": (gc.multiply, np.multiply, (-3, 3), 2),
    "divide": (gc.divide, np.divide, (0.5, 3), 2),
    "truediv": (gc.truediv, np.divide, (0.5, 3), 2),
    "div": (gc.div, np.divide, (0.5, 3), 2),
    "floordiv": (gc.floordiv, _whole_quotient, (0.5, 3), 0),
    "floor_div": (gc.floor_div, _whole_quotient, (0.5, 3), 0),
    "floormod": (gc.floormod, np.mod, (0.5, 3), 1),
    "mod": (gc.mod, np.mod, (0.5, 3), 1),
    "truncatemod": (gc.truncatemod, np.fmod, (0.5, 3), 1),
    "maximum": (gc.maximum, _greater, (-3, 3), 1),
    "minimum": (gc.minimum, _lesser, (-3, 3), 1),
    "squared_difference": (gc.squared_difference, lambda x, y: (x - y) ** 2, (-3, 3), 2),
    "atan2": (gc.atan2, np.arctan2, (0.3, 3), 2),
    "pow": (gc.pow, np.power, (0.3, 2.5), 2),
    "xlogy": (gc.xlogy, lambda x, y: _unless(x, x * np.log(y)), (0.3, 3), 2),
    "xdivy": (gc.xdivy, lambda x, y: _unless(x, x / y), (0.3, 3), 2),
    "div_no_nan": (gc.div_no_nan, lambda x, y: _unless(y, x / y), (0.3, 3), 2),
    "less": (gc.less, np.less, (-3, 3), 0),
    "less_equal": (gc.less_equal, np.less_equal, (-3, 3), 0),
    "greater": (gc.greater, np.greater, (-3, 3), 0),
    "greater_equal": (gc.greater_equal, np.greater_equal, (-3, 3), 0),
    "equal": (gc.equal, np.equal, (-3, 3), 0),
    "not_equal": (gc.not_equal, np.not_equal, (-3, 3), 0),
}
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((7,), (7,)), ((3, 1), (1, 5)), ((), (33,)), ((0, 3), (3,)), ((2, 1, 4), (3, 1)), ((1030,), (1,)), ((), ()), ((2, 0), (1, 1)))


def binary_cases() -> Iterator[Case]:
    for number, (name, (build, expected, bounds, slopes)) in enumerate(BINARY.items()):
        odd = [(dtypes.float32, *PAIRS[(number + turn) % len(PAIRS)]) for turn in (0, 3)]
        for dtype, left, right in [*odd, (dtypes.float64, (3, 1), (2, 1, 4)), (SMALL_FLOATS[number % 2], (33,), (33,))]:
            label = name_of(dtype, left, right)
            arrays = (sample(name + label, uniform(*bounds), dtype, *left), sample(label + name, uniform(*bounds), dtype, *right))
            yield Case(name, label, build, arrays, expected, scale=9.0, slopes=slopes if dtype is dtypes.float64 else 0)
        arrays = (sample(name, specials, dtypes.float32, 5, 61), sample(name + "y", specials, dtypes.float32, 5, 61))
        yield Case(name, "special", build, arrays, expected, scale=3.0)
    large = (sample("large", uniform(-1, 1), dtypes.float32, 300, 1030), sample("row", uniform(-1, 1), dtypes.float32, 1030))
    yield Case("add", "large", gc.add, large, np.add)
    yield from _whole_pairs()


def _floored(x: int, y: int) -> int:
    return -1 if y == 0 else x // y


def _modulo(x: int, y: int) -> int:
    return x if y == 0 else x % y


def _truncated(x: int, y: int) -> int:
    return -1 if y == 0 else int(math.copysign(1, x) * math.copysign(1, y)) * (abs(x) // abs(y))


def _remaining(x: int, y: int) -> int:
    return x if y == 0 else x - y * _truncated(x, y)


def _whole_pairs() -> Iterator[Case]:
    exact: dict[str, Callable[..., int]] = {
        "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "maximum": max, "minimum": min,
        "floordiv": _floored, "floor_div": _floored, "div": _floored, "floormod": _modulo, "mod": _modulo, "truncatediv": _truncated,
        "truncatemod": _remaining, "squared_difference": lambda x, y: (x - y) ** 2,
        "pow": lambda x, y: pow(x, y, 2 ** 64) if y >= 0 else {1: 1, -1: 1 - 2 * (y % 2)}.get(x, 0),
    }
    for name, function in exact.items():
        for dtype in (dtypes.int32, dtypes.int8, dtypes.uint16) if "div" in name or "mod" in name else (dtypes.int64, dtypes.uint8):
            arrays = (sample(name, integers, dtype, 9, 13), sample(name + "y", integers, dtype, 9, 13))
            yield Case(name, dtype.name, public(name), arrays, over_integers(function, dtype))
    for name in ("less", "greater_equal", "equal"):
        arrays = (sample(name, integers, dtypes.uint64, 9, 13), sample(name + "y", integers, dtypes.uint64, 13))
        yield Case(name, "uint64", public(name), arrays, BINARY[name][1])
    for dtype, quotient in ((dtypes.int16, dtypes.float32), (dtypes.int32, dtypes.float64)):
        arrays = (sample("truediv", integers, dtype, 37), np.arange(1, 38).astype(dtype.np_dtype))
        yield Case("truediv", dtype.name, gc.truediv, arrays, np.divide, dtype=quotient)
    for name, logical in {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}.items():
        arrays = (sample(name, uniform(0, 1), dtypes.bool, 5, 1), sample(name + "y", uniform(0, 1), dtypes.bool, 7))
        yield Case(name, "bool", public(name), arrays, logical)


# Other types ----------------------------------------------------------------------------------------------------------------------------

def _clipped(dtype: DType) -> Function:
    def expected(x: Array) -> Any:
        low, high = (float(limit) for limit in (dtype.min, dtype.max))
        return np.trunc(np.clip(np.nan_to_num(x), low, high)).astype(dtype.np_dtype)
    return expected


def cast_cases() -> Iterator[Case]:
    x = sample("cast", uniform(-100, 100), dtypes.float32, 5, 7)
    for name, dtype in {"to_float": dtypes.float32, "to_double": dtypes.float64, "to_bfloat16": dtypes.bfloat16}.items():
        yield Case(name, "float32", public(name), (x,), lambda v: v, dtype=dtype, slopes=0)
        yield Case(name, "int32", public(name), (np.arange(-5, 28, dtype=np.int32),), lambda v: v * 1.0, dtype=dtype)
    for name, dtype in {"to_int32": dtypes.int32, "to_int64": dtypes.int64}.items():
        yield Case(name, "float32", public(name), (x,), np.trunc, dtype=dtype)
        yield Case(name, "bool", public(name), (x > 0,), lambda v: v.astype(int), dtype=dtype)
    truths = np.array([0.0, -0.0, 0.1, np.nan, np.inf], np.float32)
    yield Case("cast", "to-bool", lambda v: gc.cast(v, gc.bool), (truths,), lambda v: v != 0)
    yield Case("cast", "there-and-back", lambda v: gc.cast(gc.cast(v * v, gc.float16), gc.float32),
               (sample("back", uniform(-3, 3), dtypes.float32, 1030),), lambda v: np.float64(np.float16(np.float32(v) * np.float32(v))))
    far = np.array([np.inf, -np.inf, 1e10, -1e10, 300.5, -300.5, 2.5, -2.5, 127.5, 255.0, 1e5, 7e4])
    for dtype in (dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.int32):
        yield Case("saturate_cast", dtype.name, lambda v, d=dtype: gc.saturate_cast(v, d), (far,), _clipped(dtype), dtype=dtype)
    yield Case("saturate_cast", "int-int", lambda v: gc.saturate_cast(v, gc.uint8), (np.arange(-300, 600, 7, dtype=np.int32),),
               lambda v: np.clip(v, 0, 255), dtype=dtypes.uint8)


def families() -> dict[str, Sequence[Case]]:
    return {"unary": list(unary_cases()), "binary": list(binary_cases()), "cast": list(cast_cases())}
