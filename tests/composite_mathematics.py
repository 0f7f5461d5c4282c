"""The table of composites, continued: einsum, operations on bits, sums and products with a twist, fake quantization, seeded numbers."""
from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import SMALL_FLOATS, Array, Case, Function, name_of, public, sample
from tests.op_table import integers, over_integers, uniform

F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32
Shape = tuple[int, ...]


# einsum ----------------------------------------------------------------------------------------------------------------------------------

EQUATIONS: tuple[tuple[str, tuple[Shape, ...]], ...] = (
    ("ij,jk->ik", ((3, 4), (4, 5))),
    ("ij,kj->ki", ((3, 4), (5, 4))),
    ("bqd,bkd->bqk", ((2, 3, 4), (2, 5, 4))),
    ("bhqd,bhkd->bqhk", ((2, 3, 4, 2), (2, 3, 5, 2))),
    ("ii->i", ((4, 4),)),
    ("ii", ((4, 4),)),
    ("iijj->ij", ((3, 3, 2, 2),)),
    ("iii->i", ((3, 3, 3),)),
    ("aab,bc->ac", ((3, 3, 4), (4, 2))),
    ("i,j->ji", ((3,), (4,))),
    ("ij,ij->i", ((3, 4), (3, 4))),
    ("ij,ij", ((3, 4), (3, 4))),
    ("ij,j", ((3, 4), (4,))),
    ("ij->", ((3, 4),)),
    ("ba", ((3, 5),)),
    ("ba,cb", ((3, 5), (2, 3))),
    (",ij->ji", ((), (3, 4))),
    ("ij,jk->", ((3, 4), (4, 5))),
    ("ij,ij,j->i", ((2, 3), (2, 3), (3,))),
    ("ab,bc,cd->ad", ((3, 4), (4, 5), (5, 2))),
    ("a,b,c->", ((3,), (4,), (2,))),
    ("ab,ac,ad->bcd", ((3, 4), (3, 2), (3, 5))),
    ("...ij,...jk->...ik", ((2, 1, 3, 4), (5, 4, 2))),
    ("...i->i...", ((2, 3, 4),)),
    ("i...,i...->...", ((4, 3), (4, 1))),
    ("...,...->...", ((3, 4), (4,))),
    ("i j , j k -> i k", ((2, 3), (3, 2))),
)


def einsum_cases() -> Iterator[Case]:
    for number, (equation, shapes) in enumerate(EQUATIONS):
        known = "rank" if "..." in equation else ""
        for dtype in (F64, F32):
            arrays = tuple(sample(f"einsum{number}{n}", uniform(-1, 1), dtype, *shape) for n, shape in enumerate(shapes))
            yield Case("einsum", f"{equation}-{dtype.code}", lambda *x, e=equation: gc.einsum(e, *x), arrays,
                       lambda *x, e=equation: np.einsum(e, *x), depth=25, slopes=2 if dtype is F64 and len(shapes) < 3 else 0, known=known)
    more: tuple[tuple[str, DType, tuple[Shape, ...]], ...] = (
        ("bij,bjk->bik", F32, ((3, 33, 17), (3, 17, 65))), ("ij,ij->j", F32, ((300, 1030), (300, 1030))),
        ("ij,jk->ik", F32, ((0, 3), (3, 5))), ("ij,jk->ik", F32, ((4, 0), (0, 5))), ("i,j->ij", F32, ((1030,), (65,))),
        ("ij,jk->ik", SMALL_FLOATS[0], ((7, 33), (33, 5))), ("i,i->", SMALL_FLOATS[1], ((33,), (33,))))
    for equation, dtype, shapes in more:
        arrays = tuple(sample(f"{equation}{n}", uniform(-1, 1), dtype, *shape) for n, shape in enumerate(shapes))
        yield Case("einsum", f"{equation}-{name_of(dtype, *shapes)}", lambda *x, e=equation: gc.einsum(e, *x), arrays,
                   lambda *x, e=equation: np.einsum(e, *x), depth=300, known="rank")
    whole = tuple(sample(f"whole{n}", uniform(-9, 9), I32, *shape) for n, shape in enumerate(((5, 7), (7, 3))))
    yield Case("einsum", "int32", lambda x, y: gc.einsum("ij,jk->ki", x, y), whole, lambda x, y: (x @ y).T)


# Bits ------------------------------------------------------------------------------------------------------------------------------------

def _shifted(left: bool, dtype: DType) -> Function:
    """By Python's unbounded integers; a shift counts as the nearest one that there is."""
    bits = 8 * dtype.size

    def one(x: int, y: int) -> int:
        by = min(max(y, 0), bits - 1)
        return x << by if left else x >> by
    return over_integers(one, dtype)


def bits_cases() -> Iterator[Case]:
    binary: dict[str, Callable[[int, int], int]] = {
        "bitwise_and": lambda x, y: x & y, "bitwise_or": lambda x, y: x | y, "bitwise_xor": lambda x, y: x ^ y}
    for dtype in (dtypes.int32, dtypes.uint8, dtypes.int64, dtypes.uint16):
        x, y = sample("bits", integers, dtype, 9, 13), sample("bits y", integers, dtype, 9, 13)
        for name, function in binary.items():
            yield Case(f"bitwise.{name}", dtype.name, public(f"bitwise.{name}"), (x, y), over_integers(function, dtype))
        for name in ("left_shift", "right_shift"):
            by = np.resize(np.array([0, 1, 2, 7, 8 * dtype.size - 1, 8 * dtype.size, 100]), (9, 13)).astype(dtype.np_dtype)
            yield Case(f"bitwise.{name}", dtype.name, public(f"bitwise.{name}"), (x, by), _shifted(name == "left_shift", dtype))
        yield Case("bitwise.invert", dtype.name, gc.bitwise.invert, (x,), over_integers(lambda v: ~v, dtype))
    yield Case("bitwise.invert", "empty", gc.bitwise.invert, (np.zeros((0, 3), np.int32),), np.invert)
    yield from _bitcast_cases()


def _bitcast_cases() -> Iterator[Case]:
    rng = np.random.default_rng(4)
    words = rng.integers(0, 256, (6, 8), dtype=np.uint8)
    words[:, 1::2] &= 0xBF  # no NaN in any reading
    for dtype in (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.int32, dtypes.uint64):
        array = words.view(dtype.np_dtype)
        for target in (dtypes.uint8, dtypes.int16, dtypes.float32, dtypes.float16, dtypes.bfloat16, dtypes.int64, dtypes.float64):
            if target.size > dtype.size:
                array = words.reshape(6, -1, target.size).view(dtype.np_dtype)
            expected = np.ascontiguousarray(array).view(target.np_dtype).reshape(
                (*array.shape, dtype.size // target.size) if target.size < dtype.size else array.shape[:-1] if target.size > dtype.size
                else array.shape)
            yield Case("bitcast", f"{dtype.code}-{target.code}", lambda x, t=target: gc.bitcast(x, t), (np.array(array),),
                       lambda x, e=expected: e, dtype=target, known="rank")
    odd = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, 65504.0, 6e-8, -6.1e-5], np.float16)
    yield Case("bitcast", "halves", lambda x: gc.bitcast(x, gc.uint16), (odd,),
               lambda x: np.array([struct.unpack("H", struct.pack("e", v))[0] for v in x], np.uint16), dtype=dtypes.uint16)
    yield Case("bitcast", "of-halves", lambda x: gc.bitcast(x, gc.float16), (odd.view(np.uint16),),
               lambda x: np.array([struct.unpack("e", struct.pack("H", v))[0] for v in x]), dtype=dtypes.float16)
    for dtype in (F32, F64):
        ends = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 1.5, 2.0, -0.0])
        towards = np.array([1.0, -1.0, 2.0, -2.0, 0.0, 0.0, 1.0, 0.0, np.nan, 2.0, 0.0])
        x, y = (np.array(each, dtype.np_dtype) for each in (ends, towards))
        yield Case("math.nextafter", dtype.name, gc.math.nextafter, (x, y), lambda a, b, kind=dtype: np.nextafter(*_narrow(kind, a, b)))
        yield Case("math.nextafter", f"{dtype.name}-broadcast", gc.math.nextafter, (x[:6, None], y[:5]),
                   lambda a, b, kind=dtype: np.nextafter(*_narrow(kind, a, b)))
    smooth = (sample("next", uniform(0.5, 2), F64, 3, 4), sample("after", uniform(3, 4), F64, 4))
    yield Case("math.nextafter", "gradient", gc.math.nextafter, smooth, np.nextafter, slopes=1)


def _narrow(dtype: DType, *arrays: Array) -> list[Array]:
    return [a.astype(dtype.np_dtype) for a in arrays]


# Sums and products with a twist ----------------------------------------------------------------------------------------------------------

def arithmetic_cases() -> Iterator[Case]:
    for dtype, slopes in ((F64, 2), (F32, 0), (SMALL_FLOATS[0], 0)):
        a, x = sample("poly a", uniform(-1, 1), dtype, 3, 1), sample("poly x", uniform(-1, 1), dtype, 5)
        yield Case("math.polyval", dtype.name, lambda a, x: gc.math.polyval([2.0, a, -1.0], x), (a, x),
                   lambda a, x: 2 * x * x + a * x - 1, slopes=slopes, scale=4.0)
        yield Case("scalar_mul", dtype.name, lambda x: gc.scalar_mul(2.5, x), (x,), lambda x: 2.5 * x, slopes=min(slopes, 1), known="rank")
    yield Case("math.polyval", "nothing", lambda x: gc.math.polyval([], x), (np.arange(3.0),), np.zeros_like)
    z = np.array([0.0, 2.0, np.inf, np.nan, -3.0], np.float32)
    y = np.array([[0.0], [2.0]], np.float32)
    yield Case("math.multiply_no_nan", "special", gc.math.multiply_no_nan, (z, y), lambda x, y: np.where(y == 0, 0, x * y))
    yield Case("math.reciprocal_no_nan", "special", gc.math.reciprocal_no_nan, (z,), lambda x: np.where(x == 0, 0, 1 / x))
    smooth = (sample("nonan", uniform(0.5, 2), F64, 3, 4), sample("nonan y", uniform(0.5, 2), F64, 4))
    yield Case("math.multiply_no_nan", "smooth", gc.math.multiply_no_nan, smooth, np.multiply, slopes=2)
    yield Case("math.reciprocal_no_nan", "smooth", gc.math.reciprocal_no_nan, smooth[:1], lambda x: 1 / x, slopes=2)
    yield Case("realdiv", "smooth", gc.realdiv, smooth, np.divide, slopes=2)
    for name in ("add_n", "accumulate_n"):
        three = tuple(sample(f"{name}{n}", uniform(-1, 1), F64, 3, 5) for n in range(3))
        yield Case(name, "three", lambda *x, n=name: public(n)(x), three, lambda *x: sum(x), slopes=1)
    for shape, axis, keep in (((7, 33), 1, False), ((2, 3, 4), (0, 2), True), ((3, 4), None, False), ((0, 3), 0, False)):
        for dtype in (F32, F64, SMALL_FLOATS[1]):
            array = sample("norm", uniform(0.5, 3), dtype, *shape)
            yield Case("math.reduce_euclidean_norm", f"{name_of(dtype, shape)}-{axis}",
                       lambda x, a=axis, k=keep: gc.math.reduce_euclidean_norm(x, a, k), (array,),
                       lambda x, a=axis, k=keep: np.sqrt(np.sum(x * x, a, keepdims=k)), depth=33, scale=3.0,
                       slopes=2 if dtype is F64 and array.size else 0)
    for name, kind, whole in (("to_complex64", F32, dtypes.float32), ("to_complex128", F64, dtypes.float64)):
        array = sample(name, uniform(-3, 3), kind, 3, 5)
        yield Case(name, "parts", lambda x, n=name: [gc.real(public(n)(x)), gc.imag(public(n)(x))], (array,),
                   lambda x: [x, np.zeros_like(x)], dtype=whole)
    for axis, keep in (((0, 1), False), ((2, 0), True), ((-1, -2), False)):
        array = sample("spectral", uniform(-2, 2), F64, 3, 4, 2) if axis != (0, 1) else sample("spectral", uniform(-2, 2), F64, 3, 4)
        yield Case("norm", f"spectral-{axis}", lambda x, a=axis, k=keep: gc.norm(x, 2, a, k), (array,),
                   lambda x, a=axis, k=keep: np.linalg.norm(x, 2, a, k), scale=4.0, slopes=1, known="rank")
    for order, axis in (("euclidean", 1), (1, 0), (np.inf, None)):
        array = sample("normalize", uniform(0.5, 2), F64, 3, 4)

        def normalised(x: Array, order: Any = order, axis: Any = axis) -> list[Any]:
            shape = None if axis is None else axis
            flat = x.reshape(-1) if shape is None else x
            length = np.linalg.norm(flat, 2 if order == "euclidean" else order, shape, True)
            return [x / length.reshape(1, 1) if shape is None else x / length, length.reshape(1, 1) if shape is None else length]
        yield Case("linalg.normalize", f"{order}-{axis}", lambda x, o=order, a=axis: gc.linalg.normalize(x, o, a), (array,), normalised,
                   slopes=1)
    numbers = np.array([[3, 4], [5, 12]], np.int32)
    yield Case("math.reduce_euclidean_norm", "int32", lambda x: gc.math.reduce_euclidean_norm(x, 1), (numbers,),
               lambda x: np.array([5, 13]))
    for name, function in {"arg_max": np.argmax, "arg_min": np.argmin}.items():
        yield Case(name, "old", lambda x, n=name: public(n)(x, 0), (numbers,), lambda x, f=function: f(x, 0), dtype=dtypes.int64)
    yield from _shape_cases()


def _shape_cases() -> Iterator[Case]:
    pairs = (((2, 1), (1, 3)), ((4,), (2, 3, 1)), ((), (5,)), ((1, 1), (1, 1)), ((0, 1), (1, 7)))
    for a, b in pairs:
        yield Case("broadcast_dynamic_shape", f"{a}-{b}", gc.broadcast_dynamic_shape, (np.array(a, np.int32), np.array(b, np.int32)),
                   lambda x, y: np.array(np.broadcast_shapes(tuple(x), tuple(y)), np.int32))
    x, y = sample("shape", uniform(0, 1), F32, 3, 5), sample("shape y", uniform(0, 1), F32, 0)
    yield Case("shape_n", "two", lambda *x: gc.shape_n(x, gc.int64), (x, y), lambda *x: [np.array(each.shape) for each in x],
               dtype=dtypes.int64)


# Fake quantization -----------------------------------------------------------------------------------------------------------------------

def _quantized(x: Array, low: Any, high: Any, bits: int, narrow: bool = False) -> Any:
    first, last = float(narrow), 2.0 ** bits - 1
    step = (np.float64(high) - low) / (last - first)
    place = np.clip(np.floor(first - low / step + 0.5), first, last)
    bottom, top = (first - place) * step, (last - place) * step
    return np.floor((np.clip(x, bottom, top) - bottom) / step + 0.5) * step + bottom


def quantized_cases() -> Iterator[Case]:
    # Ranges of which the steps are exact, and values half way between ticks nowhere, so that float32 rounds as float64 does.
    for shape in ((33, 17), (7,), (), (0, 3)):
        x = (np.round(sample("quantized", uniform(-9, 9), F32, *shape) * 8) / 8 + np.float32(0.03)).astype(np.float32)
        for low, high, bits, narrow in ((-8.0, 7.0, 4, False), (-4.0, 3.75, 5, False), (0.5, 8.0, 4, False), (-7.0, 7.0, 4, True)):
            label = f"{name_of(F32, shape)}-{low}-{bits}-{narrow}"
            yield Case("fake_quant_with_min_max_args", label, lambda v, a=(low, high, bits, narrow): gc.fake_quant_with_min_max_args(v, *a),
                       (x,), lambda v, a=(low, high, bits, narrow): _quantized(v, *a), scale=8.0)
            bounds = (np.float32(low), np.float32(high))
            yield Case("fake_quant_with_min_max_vars", label,
                       lambda v, lo, hi, b=bits, n=narrow: gc.fake_quant_with_min_max_vars(v, lo, hi, b, n), (x, *map(np.asarray, bounds)),
                       lambda v, lo, hi, b=bits, n=narrow: _quantized(v, lo, hi, b, n), scale=8.0, known="rank")
    x = (np.round(sample("channels", uniform(-9, 9), F32, 33, 3) * 8) / 8 + np.float32(0.03)).astype(np.float32)
    low, high = np.array([-8.0, -4.0, 0.0], np.float32), np.array([7.0, 3.5, 7.5], np.float32)
    yield Case("fake_quant_with_min_max_vars_per_channel", "three",
               lambda v, lo, hi: gc.fake_quant_with_min_max_vars_per_channel(v, lo, hi, 4), (x, low, high),
               lambda v, lo, hi: _quantized(v, lo, hi, 4), scale=8.0, known="rank")
    g = sample("cotangent", uniform(-1, 1), F32, 33, 3)

    def shares(g: Array, v: Array, lo: Any, hi: Any) -> list[Array]:
        """Of ranges that need no nudging."""
        return [np.where((v >= lo) & (v <= hi), g, 0), np.where(v < lo, g, 0), np.where(v > hi, g, 0)]
    yield Case("fake_quant_with_min_max_args_gradient", "inside",
               lambda g, v: gc.fake_quant_with_min_max_args_gradient(g, v, -8.0, 7.0, 4), (g, x), lambda g, v: shares(g, v, -8, 7)[0])
    yield Case("fake_quant_with_min_max_vars_gradient", "all",
               lambda g, v: gc.fake_quant_with_min_max_vars_gradient(g, v, -8.0, 7.0, 4), (g, x),
               lambda g, v: [shares(g, v, -8, 7)[0], *(np.sum(s) for s in shares(g, v, -8, 7)[1:])], depth=99, known="rank")
    yield Case("fake_quant_with_min_max_vars_per_channel_gradient", "all",
               lambda g, v, lo, hi: gc.fake_quant_with_min_max_vars_per_channel_gradient(g, v, lo, hi, 4), (g, x, low, high),
               lambda g, v, lo, hi: [shares(g, v, lo, hi)[0], *(s.sum(0) for s in shares(g, v, lo, hi)[1:])], depth=33, known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"einsum": list(einsum_cases()), "bits": list(bits_cases()), "arithmetic": list(arithmetic_cases()),
            "quantized": list(quantized_cases())}
