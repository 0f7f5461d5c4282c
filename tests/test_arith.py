"""Scalar operations of generated code: every operation on every element type, at every width, against Python's integers and numpy."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.codegen.llvm.arith import emit_op
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target, available, host
from graphc.codegen.llvm.types import literal
from graphc.codegen.operations import OPERATIONS
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.elementwise_jit import loop_text, run

INTEGERS = tuple(t for t in dtypes.ALL if t.is_integer)
FLOATS = tuple(t for t in dtypes.ALL if t.is_floating)
WIDTHS = [(host(), False), *((t, True) for t in available())]  # one element at a time, and whole vectors of each width
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
by_width = pytest.mark.parametrize(("target", "wide"), WIDTHS, ids=lambda value: getattr(value, "name", "vector" if value else "scalar"))
by_name = {"ids": lambda value: getattr(value, "name", str(value))}


def lanes_of(target: Target, dtype: DType, wide: bool) -> int:
    return target.lanes(dtype) if wide else 1


def integer_values(dtype: DType, count: int = 60) -> np.ndarray:
    """The extremes, small numbers of either sign, and random ones of every size."""
    info = np.iinfo(dtype.np_dtype)
    rng = np.random.default_rng(5)
    edges = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7, 10, 8 * dtype.size - 1, 8 * dtype.size, 8 * dtype.size + 1]
    negative = [] if dtype.is_unsigned else [-1, -2, -3, -7]
    sizes = rng.integers(0, 8 * dtype.size, count).tolist()
    random = [int(rng.integers(info.min, info.max, dtype=dtype.np_dtype, endpoint=True)) >> size for size in sizes]
    return np.array([*edges, *negative, *random], dtype.np_dtype)


def pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


def truncated(x: int, y: int, width: int) -> int:
    return -1 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def integer_power(x: int, y: int, width: int) -> int:
    if y >= 0:
        return pow(x, y, 1 << width)
    return {1: 1, -1: 1 - 2 * (y & 1)}.get(x, 0)


def arithmetic_shift(x: int, y: int, width: int) -> int:
    """x is negative for signed types alone: an unsigned type has no sign to fill with."""
    return x >> (y if 0 <= y < width else width - 1) if x < 0 else x >> y if 0 <= y < width else 0


# Operation -> its definition on Python's integers and the width in bits; the result is then wrapped to the type.
INTEGER_BINARY: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, w: x + y,
    "subtract": lambda x, y, w: x - y,
    "multiply": lambda x, y, w: x * y,
    "divide": truncated,
    "remainder": lambda x, y, w: x if y == 0 else x - truncated(x, y, w) * y,
    "power": integer_power,
    "maximum": lambda x, y, w: max(x, y),
    "minimum": lambda x, y, w: min(x, y),
    "and": lambda x, y, w: x & y,
    "or": lambda x, y, w: x | y,
    "xor": lambda x, y, w: x ^ y,
    "shift_left": lambda x, y, w: x << y if 0 <= y < w else 0,
    "shift_right_logical": lambda x, y, w: (x & ((1 << w) - 1)) >> y if 0 <= y < w else 0,
    "shift_right_arithmetic": arithmetic_shift,
}
INTEGER_UNARY: dict[str, Callable[[int], int]] = {
    "negate": lambda x: -x,
    "abs": abs,
    "sign": lambda x: (x > 0) - (x < 0),
    "not": lambda x: ~x,
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


def wrapped(values: list[int], dtype: DType) -> np.ndarray:
    mask = (1 << (8 * dtype.size)) - 1
    return np.array([v & mask for v in values], np.uint64).astype(f"u{dtype.size}").view(dtype.np_dtype)


def same(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal bits, but for NaN, of which any will do."""
    assert got.dtype == expected.dtype
    kind = f"u{got.dtype.itemsize}"
    equal = got.view(kind) == expected.view(kind)
    if got.dtype.kind not in "iub":
        equal |= np.isnan(got) & np.isnan(expected)
    wrong = np.flatnonzero(~equal)
    assert not wrong.size, f"{wrong.size} differ, first at {wrong[0]}: got {got[wrong[0]]}, expected {expected[wrong[0]]}"


@by_width
@pytest.mark.parametrize("dtype", INTEGERS, **by_name)
def test_integers(target: Target, wide: bool, dtype: DType) -> None:
    values = integer_values(dtype, 20)
    x, y = pairs(values)
    lanes = lanes_of(target, dtype, wide)
    for op, binary in INTEGER_BINARY.items():
        expected = wrapped([binary(a, b, 8 * dtype.size) for a, b in zip(x.tolist(), y.tolist(), strict=True)], dtype)
        same(run(target, op, dtype, lanes, x, y, arg_dtypes=(dtype, dtype)), expected)
    for op, unary in INTEGER_UNARY.items():
        same(run(target, op, dtype, lanes, values, arg_dtypes=(dtype,)), wrapped([unary(a) for a in values.tolist()], dtype))


@pytest.mark.parametrize("target", available(), **by_name)
@pytest.mark.parametrize("dtype", [dtypes.int8, dtypes.uint8], **by_name)
@pytest.mark.parametrize("op", ["divide", "remainder"])
def test_division_of_every_pair_of_bytes(target: Target, dtype: DType, op: str) -> None:
    x, y = pairs(np.arange(256).astype(np.uint8).view(dtype.np_dtype))
    expected = wrapped([INTEGER_BINARY[op](a, b, 8) for a, b in zip(x.tolist(), y.tolist(), strict=True)], dtype)
    same(run(target, op, dtype, target.lanes(dtype), x, y, arg_dtypes=(dtype, dtype)), expected)


@pytest.mark.parametrize("divisor", [0, 1, -1, 2, -2, 7, 10, 127, -128])
@pytest.mark.parametrize("op", ["divide", "remainder"])
def test_division_by_a_constant(op: str, divisor: int) -> None:
    """A constant divisor other than 0 and -1 needs no guard: one instruction, which LLVM makes a multiplication."""
    dtype = dtypes.int8
    for lanes in (1, 16):
        e = Emitter("define void @f()")
        emit_op(e, host(), op, dtype, lanes, ["%x", literal(divisor, dtype, lanes)], [dtype, dtype])
        assert (len(e.body().splitlines()) == 1) == (divisor not in (0, -1))


@by_width
@pytest.mark.parametrize("dtype", FLOATS, **by_name)
def test_floats(target: Target, wide: bool, dtype: DType) -> None:
    """Half types are computed in float32 and rounded when stored, so their expected values are, too."""
    x, y = pairs(float_values(dtype))
    lanes, work = lanes_of(target, dtype, wide), np.float64 if dtype is dtypes.float64 else np.float32
    a, b = x.astype(work), y.astype(work)
    nan = np.isnan(a) | np.isnan(b)
    binary = {"add": a + b, "subtract": a - b, "multiply": a * b, "divide": a / b, "remainder": np.fmod(a, b),
              "maximum": np.where(nan, np.nan, np.where(a > b, a, b)), "minimum": np.where(nan, np.nan, np.where(a < b, a, b))}  # fmt: skip
    for op, expected in binary.items():
        got = run(target, op, dtype, lanes, x, y, arg_dtypes=(dtype, dtype))
        same(got, expected.astype(dtype.np_dtype))
    unary = {"negate": -a, "abs": np.abs(a), "sqrt": np.sqrt(a), "floor": np.floor(a), "ceil": np.ceil(a), "round_nearest_even": np.rint(a),
             "sign": np.where(np.isnan(a), np.nan, 1.0 * (a > 0) - (a < 0))}  # fmt: skip
    for op, expected in unary.items():
        same(run(target, op, dtype, lanes, x, arg_dtypes=(dtype,)), expected.astype(dtype.np_dtype))
    same(run(target, "is_finite", dtypes.bool, lanes, x, arg_dtypes=(dtype,)), np.isfinite(a))


def float_values(dtype: DType) -> np.ndarray:
    """Zeros, halves (for rounding), extremes, denormals, inf, NaN, and random numbers, all of either sign."""
    info = ml_dtypes.finfo(dtype.np_dtype)
    rng = np.random.default_rng(6)
    special = [0, 0.5, 1, 1.5, 2.5, 3, 100.5, 0.49999997, 1 / 3, 4194303.5, 8388607.5, 8388609, 2.0**31, 2.0**52 + 1, np.inf]
    limits = np.array([info.max, info.tiny, info.smallest_subnormal, 1 + info.eps], dtype.np_dtype)
    values = np.concatenate([np.array(special).astype(dtype.np_dtype), limits, rng.uniform(0, 50, 12).astype(dtype.np_dtype)])
    return np.concatenate([values, -values, np.array([np.nan], dtype.np_dtype)])


def values_of(dtype: DType) -> np.ndarray:
    if dtype.is_bool:
        return np.array([False, True])
    return float_values(dtype) if dtype.is_floating else integer_values(dtype, 5)


@by_width
@pytest.mark.parametrize("dtype", dtypes.ALL, **by_name)
def test_compare_select_clamp(target: Target, wide: bool, dtype: DType) -> None:
    values = values_of(dtype)
    x, y = pairs(values)
    lanes = lanes_of(target, dtype, wide)
    for op, compare in COMPARISONS.items():
        same(run(target, op, dtypes.bool, lanes, x, y, arg_dtypes=(dtype, dtype)), compare(x, y))
    which = np.arange(x.size) % 3 == 0
    same(run(target, "select", dtype, lanes, which, x, y, arg_dtypes=(dtypes.bool, dtype, dtype)), np.where(which, x, y))
    if dtype.is_bool:
        got = run(target, "clamp", dtype, lanes, x, y, ~y, arg_dtypes=(dtype,) * 3)
        same(got, (x | y) & ~y)
    else:
        low, high = values[len(values) // 2], values[3]
        expected = np.minimum(np.maximum(low, x), high).astype(dtype.np_dtype)
        bounds = (np.full_like(x, low), x, np.full_like(x, high))
        got = run(target, "clamp", dtype, lanes, *bounds, arg_dtypes=(dtype,) * 3)
        assert np.array_equal(got, expected, equal_nan=dtype.is_floating)


@by_width
def test_bools(target: Target, wide: bool) -> None:
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    lanes = 16 if wide else 1
    for op, expected in {"and": x & y, "or": x | y, "xor": x ^ y, "maximum": x | y, "minimum": x & y}.items():
        same(run(target, op, dtypes.bool, lanes, x, y, arg_dtypes=(dtypes.bool, dtypes.bool)), expected)
    same(run(target, "not", dtypes.bool, lanes, x, arg_dtypes=(dtypes.bool,)), ~x)


def converted(value: Any, source: DType, dtype: DType) -> Any:
    """One element by the definition of docs/design.md, in Python's exact integers where integers are concerned."""
    if dtype.is_bool:
        return bool(value != 0)
    if not dtype.is_integer:
        return dtype.np_dtype.type(value if source is dtypes.float64 and dtype is dtypes.float16 else _as_work(value, source, dtype))
    if not source.is_floating:
        return wrapped([int(value)], dtype)[0]
    info = np.iinfo(dtype.np_dtype)
    number = float(value)
    if math.isnan(number):
        return dtype.np_dtype.type(0)
    clipped = max(info.min, min(info.max, int(number) if math.isfinite(number) else (info.max if number > 0 else info.min)))
    return dtype.np_dtype.type(clipped)


def _as_work(value: Any, source: DType, dtype: DType) -> Any:
    """`value` in the type that conversion to a half type passes through."""
    return np.float32(value) if dtype.size == 2 and not source.is_floating else value


@by_width
@pytest.mark.parametrize("source", dtypes.ALL, **by_name)
def test_convert(target: Target, wide: bool, source: DType) -> None:
    values = np.concatenate([values_of(source), _integer_limits(source)]) if source.is_floating else values_of(source)
    for dtype in dtypes.ALL:
        if source is dtypes.float64 and dtype is dtypes.bfloat16:
            continue  # ml_dtypes rounds twice; see the test below
        lanes = min(lanes_of(target, source, wide), lanes_of(target, dtype, wide))
        expected = np.array([converted(v, source, dtype) for v in values], dtype.np_dtype)
        same(run(target, "convert", dtype, lanes, values, arg_dtypes=(source,)), expected)


def _integer_limits(source: DType) -> np.ndarray:
    """Floats at and next to the limits of every integer type."""
    limits = np.array([sign * 2.0**bits for bits in (7, 8, 15, 16, 31, 32, 63, 64) for sign in (-1, 1)]).astype(source.np_dtype)
    if source.size == 2:
        return limits
    return np.concatenate([limits, np.nextafter(limits, 0), np.nextafter(limits, np.inf * limits), limits - 1, limits + 1, limits + 0.5])


@pytest.mark.parametrize("target", available(), **by_name)
@pytest.mark.parametrize(("dtype", "digits"), [(dtypes.float16, 11), (dtypes.bfloat16, 8)], **by_name)
def test_float64_to_half_rounds_once(target: Target, dtype: DType, digits: int) -> None:
    """Next to a tie by less than float32 can tell: rounding through float32 would fall on the tie and then to even."""
    tie, unit = 1 + 2.0**-digits, 2.0 ** (1 - digits)
    values = np.array([tie, tie + 2.0**-40, tie - 2.0**-40, tie + unit, tie + unit - 2.0**-40, -tie - 2.0**-40])
    expected = np.array([1, 1 + unit, 1, 1 + 2 * unit, 1 + unit, -1 - unit])
    got = run(target, "convert", dtype, target.lanes(dtypes.float64), values, arg_dtypes=(dtypes.float64,))
    assert got.astype(np.float64).tolist() == expected.tolist()


@pytest.mark.parametrize("target", available(), **by_name)
@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], **by_name)
def test_every_half_survives_float32_and_back(target: Target, dtype: DType) -> None:
    every = np.arange(65536, dtype=np.uint16).view(dtype.np_dtype)
    lanes = target.lanes(dtype)
    wide = run(target, "convert", dtypes.float32, lanes, every, arg_dtypes=(dtype,))
    same(wide, every.astype(np.float32))
    same(run(target, "convert", dtype, lanes, wide, arg_dtypes=(dtypes.float32,)), every)


@pytest.mark.parametrize("target", available(), **by_name)
@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], **by_name)
def test_float32_to_half(target: Target, dtype: DType) -> None:
    """Random bits, and the floats at, just below and just above the middle between any two neighbouring halves."""
    every = np.arange(65536, dtype=np.uint16).view(dtype.np_dtype).astype(np.float32)
    finite = np.unique(every[np.isfinite(every)])
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    random = np.random.default_rng(8).integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf)), random])
    same(run(target, "convert", dtype, target.lanes(dtype), values, arg_dtypes=(dtypes.float32,)), values.astype(dtype.np_dtype))


def test_minimum_and_maximum_with_a_constant_keep_nan() -> None:
    """relu: one comparison and no test for NaN in the text."""
    for op in ("maximum", "minimum"):
        for args in (["%x", literal(0.0, dtypes.float32)], [literal(0.0, dtypes.float32), "%x"]):
            e = Emitter()
            emit_op(e, host(), op, dtypes.float32, 1, args, [dtypes.float32] * 2)
            assert e.body().count("fcmp") == 1
            assert f"float {literal(0.0, dtypes.float32)}, float %x" in e.body()


def test_no_fast_math_but_contract() -> None:
    for op in ("add", "subtract", "multiply"):
        assert "contract float" in loop_text(host(), op, dtypes.float32, 1, (dtypes.float32,) * 2)
    for op in ("exponential", "log", "maximum", "divide"):
        text = loop_text(host(), op, dtypes.float32, 1, (dtypes.float32,) * (2 if op in ("maximum", "divide") else 1))
        assert not any(flag in text for flag in ("fast ", "nnan", "ninf", "reassoc", "arcp"))


@pytest.mark.parametrize(
    ("op", "dtype"), [("sine", dtypes.int32), ("and", dtypes.float32), ("subtract", dtypes.bool), ("frobnicate", dtypes.int8)]
)
def test_unknown_operation_names_itself(op: str, dtype: DType) -> None:
    with pytest.raises(ValueError, match=f"no operation '{op}' on {dtype.name}"):
        emit_op(Emitter(), host(), op, dtype, 1, ["%x", "%y"], [dtype, dtype])


@pytest.mark.parametrize("dtype", dtypes.ALL, **by_name)
def test_exactly_the_operations_of_the_kernel_ir(dtype: DType) -> None:
    """What the verifier lets through has code, and nothing else has."""
    for op, rule in OPERATIONS.items():
        e = Emitter()
        args = [f"%x{i}" for i in range(rule.arity)]
        result = dtypes.bool if rule.to_bool else dtype
        if rule.accepts(dtype):
            assert emit_op(e, host(), op, result, 1, args, [dtype] * rule.arity)
        else:
            with pytest.raises(ValueError, match="has no operation"):
                emit_op(e, host(), op, result, 1, args, [dtype] * rule.arity)


def test_an_empty_array_and_one_element() -> None:
    t = host()
    for size in (0, 1):
        x = np.full(size, 2.0, np.float32)
        got = run(t, "multiply", dtypes.float32, t.lanes(dtypes.float32), x, x, arg_dtypes=(dtypes.float32,) * 2)
        assert got.tolist() == [4.0] * size
