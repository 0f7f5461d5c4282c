"""The table of operations: for every primitive, samples of operands and attributes with an expectation computed another way.

Data, not tests: `CASES` is run by the reference interpreter in `tests/test_primitives.py` and by compiled code elsewhere. Expected values
come from numpy, scipy or Python's unbounded integers, in float64, never from the primitives' own references.
"""
from __future__ import annotations

import itertools
import math
import operator
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.passes.expand import Expand
from graphc.passes.real import Real

Array = np.ndarray[Any, Any]
FLOATS = (dtypes.float64, dtypes.float32, dtypes.float16, dtypes.bfloat16)
INTEGERS = tuple(t for t in dtypes.ALL if t.is_integer)
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (7,), (3, 5), (2, 0, 4), (33, 17), (1030,))
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1.5, 30.0, -30.0, 88.0, -88.0, 1e-3, 1e-30])


@dataclass(frozen=True)
class Case:
    """One sample. build: nodes -> node. types: of the operands. expected: arrays -> array; floating operands come to it as float64.

    inputs: makes the operands' values. depth: terms summed into an element. smooth: whether finite differences hold at these values.
    """

    id: str
    primitive: str
    build: Callable[..., Node]
    types: tuple[TensorType, ...]
    expected: Callable[..., Any]
    inputs: Callable[[np.random.Generator, Sequence[TensorType]], list[Array]]
    depth: int = 1
    scale: float = 1.0
    smooth: bool = False
    tags: frozenset[str] = field(default=frozenset())

    def arrays(self) -> list[Array]:
        """The operands, the same at every call."""
        return self.inputs(np.random.default_rng(len(self.id)), self.types)

    def program(self) -> Program:
        parameters = tuple(p.parameter(f"x{n}", t) for n, t in enumerate(self.types))
        return Program(parameters, (self.build(*parameters),))

    def expanded(self) -> Program:
        """The program as the passes leave it that make its kernels: of primitives that have one."""
        return Real()(Expand()(self.program()))

    def want(self) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.expected(*(wide(a) for a in self.arrays())))

    @property
    def dtype(self) -> DType:
        return self.program().outputs[0].dtype


def wide(array: Array) -> Array:
    dtype = dtypes.as_dtype(array.dtype)
    return array.astype(np.float64) if dtype.is_floating else array.astype(np.complex128) if dtype.is_complex else array


# Samplers -------------------------------------------------------------------------------------------------------------------------------

Sampler = Callable[[np.random.Generator, TensorType], Array]


def uniform(low: float, high: float) -> Sampler:
    """Floats between the bounds; integers of the whole range with its ends; random bools."""
    def sample(rng: np.random.Generator, t: TensorType) -> Array:
        if t.dtype.is_complex:
            return (rng.uniform(low, high, t.dims) + 1j * rng.uniform(low, high, t.dims)).astype(t.dtype.np_dtype)
        if t.dtype.is_floating:
            return rng.uniform(low, high, t.dims).astype(t.dtype.np_dtype)
        if t.dtype.is_bool:
            return rng.random(t.dims) < 0.5
        return integers(rng, t)
    return sample


def integers(rng: np.random.Generator, t: TensorType) -> Array:
    """Small numbers and the ends of the range."""
    limits = np.iinfo(t.dtype.np_dtype)
    ends = [limits.min, limits.max, limits.max - 1, 0, 1, 2, 3, limits.bits - 1, limits.bits]
    ends += [] if t.dtype.is_unsigned else [-1, -2, -3]
    picks = rng.integers(0, len(ends), t.size)
    small = rng.integers(0 if t.dtype.is_unsigned else -20, 21, t.size)
    values = [ends[k] if coin < 0.5 else int(v) for k, v, coin in zip(picks, small, rng.random(t.size), strict=True)]
    return np.array(values, t.dtype.np_dtype).reshape(t.dims)


def apart(rng: np.random.Generator, t: TensorType) -> Array:
    """Distinct values, at least 0.01 apart, so that no comparison of two is close."""
    values = rng.permutation(t.size) * 0.01 - 0.3
    return values.reshape(t.dims).astype(t.dtype.np_dtype)


def specials(rng: np.random.Generator, t: TensorType) -> Array:
    return rng.permutation(np.resize(SPECIAL, t.size)).reshape(t.dims).astype(t.dtype.np_dtype)


def by(*samplers: Sampler) -> Callable[[np.random.Generator, Sequence[TensorType]], list[Array]]:
    def inputs(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
        return [samplers[min(n, len(samplers) - 1)](rng, t) for n, t in enumerate(types)]
    return inputs


def t(dtype: DType, *shape: int) -> TensorType:
    return TensorType(dtype, shape)


def _name(dtype: DType, shape: Sequence[int], *more: object) -> str:
    return "-".join([dtype.code, "x".join(map(str, shape)) or "scalar", *map(str, more)])


# Elementwise on floats ------------------------------------------------------------------------------------------------------------------

# name: (function of nodes, expectation in float64, range of the operands, differentiable inside it)
UNARY: dict[str, tuple[Callable[[Node], Node], Callable[[Array], Array], tuple[float, float], bool]] = {
    "negate": (p.negate, operator.neg, (-3, 3), True),
    "abs": (p.abs_, np.abs, (0.2, 3), True),
    "sign": (p.sign, np.sign, (0.2, 3), True),
    "exponential": (p.exponential, np.exp, (-5, 5), True),
    "exponential_minus_one": (p.exponential_minus_one, np.expm1, (-3, 3), True),
    "log": (p.log, np.log, (0.1, 9), True),
    "log_plus_one": (p.log_plus_one, np.log1p, (-0.8, 9), True),
    "sqrt": (p.sqrt, np.sqrt, (0.1, 9), True),
    "rsqrt": (p.rsqrt, lambda x: 1 / np.sqrt(x), (0.1, 9), True),
    "cbrt": (p.cbrt, special.cbrt, (0.2, 9), True),
    "tanh": (p.tanh, np.tanh, (-3, 3), True),
    "logistic": (p.logistic, special.expit, (-6, 6), True),
    "sine": (p.sine, np.sin, (-9, 9), True),
    "cosine": (p.cosine, np.cos, (-9, 9), True),
    "tan": (p.tan, np.tan, (-1.3, 1.3), True),
    "erf": (p.erf, special.erf, (-3, 3), True),
    "erfc": (p.erfc, special.erfc, (-3, 3), True),
    "floor": (p.floor, np.floor, (-3, 3), False),
    "ceil": (p.ceil, np.ceil, (-3, 3), False),
    "round_nearest_even": (p.round_nearest_even, np.round, (-3, 3), False),
    "is_finite": (p.is_finite, np.isfinite, (-3, 3), False),
}
BINARY: dict[str, tuple[Callable[[Node, Node], Node], Callable[[Array, Array], Array], tuple[float, float], bool]] = {
    "add": (p.add, operator.add, (-3, 3), True),
    "subtract": (p.subtract, operator.sub, (-3, 3), True),
    "multiply": (p.multiply, operator.mul, (-3, 3), True),
    "divide": (p.divide, operator.truediv, (0.5, 3), True),
    "remainder": (p.remainder, np.fmod, (0.5, 3), False),
    "power": (p.power, np.power, (0.3, 2.5), True),
    "maximum": (p.maximum, lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x, y)), (-3, 3), True),
    "minimum": (p.minimum, lambda x, y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x < y, x, y)), (-3, 3), True),
    "atan2": (p.atan2, np.arctan2, (0.3, 3), True),
}
# Far out, a 16- or 32-bit operand is itself too coarse for these.
_NOT_FAR = {"sine", "cosine", "tan"}


def float_cases() -> Iterator[Case]:
    for arity, table in ((1, UNARY), (2, BINARY)):
        for name, (build, expected, (low, high), smooth) in table.items():
            for dtype in FLOATS:
                for shape in SHAPES if dtype is dtypes.float32 else SHAPES[4:5]:
                    yield Case(f"{name}-{_name(dtype, shape)}", name, build, (t(dtype, *shape),) * arity, expected,
                               by(uniform(low, high)), scale=3.0, smooth=smooth and dtype is dtypes.float64)
            for dtype in FLOATS[:2]:
                shape = (5, 61) if arity == 2 else (61,)
                sampler = uniform(-30, 30) if name in _NOT_FAR else specials
                yield Case(f"{name}-{_name(dtype, shape)}-special", name, build, (t(dtype, *shape),) * arity, expected, by(sampler),
                           scale=3.0, tags=frozenset({"special"}))


# Elementwise on integers and bool -------------------------------------------------------------------------------------------------------

def _truncated(x: int, y: int) -> int:
    if y == 0:
        return -1
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def _rest(x: int, y: int) -> int:
    return x if y == 0 else x - y * _truncated(x, y)


def _power(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y, 2 ** 64)
    return {1: 1, -1: 1 if y % 2 == 0 else -1}.get(x, 0)


def _left(x: int, y: int, bits: int) -> int:
    return x << y if 0 <= y < bits else 0


def _right(x: int, y: int, bits: int) -> int:
    return x >> y if 0 <= y < bits else (-1 if x < 0 else 0)


def _logical(x: int, y: int, bits: int) -> int:
    return (x % 2 ** bits) >> y if 0 <= y < bits else 0


INTEGER: dict[str, tuple[Callable[..., Node], Callable[..., int], int]] = {
    "negate": (p.negate, operator.neg, 1), "abs": (p.abs_, abs, 1), "sign": (p.sign, lambda x: (x > 0) - (x < 0), 1),
    "not": (p.not_, operator.invert, 1),
    "add": (p.add, operator.add, 2), "subtract": (p.subtract, operator.sub, 2), "multiply": (p.multiply, operator.mul, 2),
    "divide": (p.divide, _truncated, 2), "remainder": (p.remainder, _rest, 2), "power": (p.power, _power, 2),
    "maximum": (p.maximum, max, 2), "minimum": (p.minimum, min, 2),
    "and": (p.and_, operator.and_, 2), "or": (p.or_, operator.or_, 2), "xor": (p.xor, operator.xor, 2),
}
SHIFTS = {"shift_left": (p.shift_left, _left), "shift_right_arithmetic": (p.shift_right_arithmetic, _right),
          "shift_right_logical": (p.shift_right_logical, _logical)}
BOOL = {"and": (p.and_, np.logical_and), "or": (p.or_, np.logical_or), "xor": (p.xor, np.logical_xor),
        "maximum": (p.maximum, np.logical_or), "minimum": (p.minimum, np.logical_and)}


def wrapped(values: Sequence[int], dtype: DType) -> Array:
    """Python integers as `dtype`, modulo 2^width."""
    bits = dtype.size * 8
    signed = not dtype.is_unsigned
    reduced = [v % 2 ** bits for v in values]
    return np.array([v - 2 ** bits if signed and v >= 2 ** (bits - 1) else v for v in reduced], dtype.np_dtype)


def over_integers(function: Callable[..., int], dtype: DType) -> Callable[..., Array]:
    def expected(*arrays: Array) -> Array:
        rows = zip(*(map(int, a.reshape(-1)) for a in arrays), strict=True)
        return wrapped([function(*row) for row in rows], dtype).reshape(arrays[0].shape)
    return expected


def integer_cases() -> Iterator[Case]:
    for dtype in INTEGERS:
        for name, (build, function, arity) in INTEGER.items():
            yield Case(f"{name}-{dtype.code}", name, build, (t(dtype, 9, 13),) * arity, over_integers(function, dtype), by(integers))
        for name, (build, shift) in SHIFTS.items():
            bits = dtype.size * 8
            yield Case(f"{name}-{dtype.code}", name, build, (t(dtype, 9, 13),) * 2,
                       over_integers(lambda x, y, s=shift, b=bits: s(x, y, b), dtype), by(integers))
    for name, (build, logical) in BOOL.items():
        yield Case(f"{name}-pred", name, build, (t(dtypes.bool, 37),) * 2, logical, by(uniform(0, 1)))
    yield Case("not-pred", "not", p.not_, (t(dtypes.bool, 37),), np.logical_not, by(uniform(0, 1)))


# Choosing -------------------------------------------------------------------------------------------------------------------------------

_DIRECTIONS = {"EQ": operator.eq, "NE": operator.ne, "LT": operator.lt, "LE": operator.le, "GT": operator.gt, "GE": operator.ge}


def choosing_cases() -> Iterator[Case]:
    for direction, function in _DIRECTIONS.items():
        for dtype in (dtypes.float32, dtypes.bfloat16, dtypes.int8, dtypes.uint64, dtypes.bool):
            sampler = specials if dtype.is_floating else uniform(0, 1)
            yield Case(f"compare-{direction}-{dtype.code}", "compare", lambda x, y, d=direction: p.compare(x, y, d),
                       (t(dtype, 7, 40),) * 2, function, by(sampler))
    for dtype in (dtypes.float64, dtypes.float32, dtypes.float16, dtypes.int16, dtypes.bool):
        for shape in ((), (5, 7), (0, 3), (1021,)):
            yield Case(f"select-{_name(dtype, shape)}", "select", p.select, (t(dtypes.bool, *shape), t(dtype, *shape), t(dtype, *shape)),
                       np.where, by(uniform(-3, 3)), smooth=dtype is dtypes.float64)
    for dtype in (dtypes.float64, dtypes.float32, dtypes.bfloat16, dtypes.int32):
        yield Case(f"clamp-{dtype.code}", "clamp", p.clamp, (t(dtype, 47),) * 3,
                   lambda low, x, high: np.minimum(np.maximum(x, low), high), by(uniform(-1, 1)),
                   smooth=dtype is dtypes.float64)


    for dtype in (dtypes.float64, dtypes.float32, dtypes.bfloat16):
        yield Case(f"clamp-{dtype.code}-special", "clamp", p.clamp, (t(dtype, 5, 61),) * 3,
                   lambda low, x, high: np.minimum(np.maximum(x, low), high), by(specials), tags=frozenset({"special"}))


def _rounds(values: Array, source: DType, target: DType) -> Array:
    """The defined conversion, one element at a time with Python's numbers."""
    def one(v: Any) -> Any:
        number = float(v) if source.is_floating else int(v)
        if target.is_bool:
            return number != 0
        if target.is_floating:
            return float(number)
        if not source.is_floating:
            return int(wrapped([int(number)], target)[0])
        if math.isnan(number):
            return 0
        low, high = int(np.iinfo(target.np_dtype).min), int(np.iinfo(target.np_dtype).max)
        return low if number <= low else high if number >= high else int(number)
    flat = [one(v) for v in values.reshape(-1)]
    return np.array(flat, np.float64 if target.is_floating else target.np_dtype).reshape(values.shape)


def convert_cases() -> Iterator[Case]:
    far = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 127.0, 128.0, -129.0, 255.9, 256.0, 3e4, -4e4, 3e9, -3e9,
                    1e19, 2e19])

    def wild(rng: np.random.Generator, type_: TensorType) -> Array:
        if not type_.dtype.is_floating:
            return uniform(0, 1)(rng, type_)
        with np.errstate(over="ignore"):
            return np.resize(far, type_.size).astype(type_.dtype.np_dtype)

    for source in dtypes.ALL:
        for target in dtypes.ALL:
            if source is not target:
                yield Case(f"convert-{source.code}-{target.code}", "convert", lambda x, d=target: p.convert(x, d), (t(source, 43),),
                           lambda x, s=source, d=target: _rounds(x, s, d), by(wild))
    yield Case("convert-gradient", "convert", lambda x: p.convert(p.convert(x, dtypes.float32), dtypes.float64), (t(dtypes.float64, 4),),
               lambda x: x.astype(np.float32).astype(np.float64), by(uniform(-1, 1)))


def _reinterpreted(source: DType, target: DType, array: Array) -> Any:
    """The bits of each element, taken one by one through Python's struct."""
    narrow = array.astype(source.np_dtype)
    pairs = struct.iter_unpack(_FORMATS[target], struct.pack(f"{narrow.size}{_FORMATS[source]}", *narrow.reshape(-1).tolist()))
    return np.array([value for (value,) in pairs], np.float64 if target.is_floating else target.np_dtype).reshape(array.shape)


_FORMATS = {
    dtypes.int8: "b", dtypes.uint8: "B", dtypes.int16: "h", dtypes.uint16: "H", dtypes.int32: "i", dtypes.uint32: "I", dtypes.float32: "f",
    dtypes.int64: "q", dtypes.uint64: "Q", dtypes.float64: "d"}


def bitcast_cases() -> Iterator[Case]:
    def any_bits(rng: np.random.Generator, type_: TensorType) -> Array:
        words = rng.integers(0, 256, (type_.size, type_.dtype.size), dtype=np.uint8)
        words[:, -1] &= 0xBF  # no NaN: of one all bits but the quiet one come through
        return words.reshape(-1).view(type_.dtype.np_dtype).reshape(type_.dims)

    for source, target in itertools.permutations(_FORMATS, 2):
        if source.size == target.size:
            for shape in ((), (0,), (43,), (33, 17)) if source.is_floating else ((43,),):
                yield Case(f"bitcast_convert-{source.code}-{target.code}-{shape}", "bitcast_convert",
                           lambda x, d=target: p.bitcast_convert(x, d), (t(source, *shape),),
                           lambda x, s=source, d=target: _reinterpreted(s, d, x), by(any_bits))


CASES: list[Case] = [*float_cases(), *integer_cases(), *choosing_cases(), *convert_cases(), *bitcast_cases()]
