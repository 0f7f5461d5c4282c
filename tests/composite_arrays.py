"""The table of composites, continued: reductions, shapes, joining and parting, slices and gathers, choosing, makers of arrays."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import SMALL_FLOATS, Array, Case, Function, name_of, public, sample
from tests.op_table import apart, integers, specials, uniform

Axes = int | tuple[int, ...] | None
F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32


# Reductions -----------------------------------------------------------------------------------------------------------------------------

REDUCED: tuple[tuple[tuple[int, ...], Axes, bool], ...] = (
    ((7, 33), 1, False), ((2, 3, 5), (0, 2), False), ((0, 3), 0, False), ((0, 3), 1, True), ((), None, False), ((1,), 0, False),
    ((33, 17), None, False), ((2, 3, 4), -2, True), ((5, 1030), -1, False), ((1030, 3), 0, False), ((2, 0), None, True))


def _empty_mean(x: Array, axis: Axes, keep: bool) -> Any:
    return np.sum(x, axis, keepdims=keep) / np.float64(np.sum(np.ones_like(x), axis, keepdims=keep))


# name: (expectation of (x, axis, keepdims), range of the elements)
REDUCTIONS: dict[str, tuple[Function, tuple[float, float]]] = {
    "reduce_sum": (lambda x, axis, keep: np.sum(x, axis, keepdims=keep), (-3, 3)),
    "reduce_mean": (_empty_mean, (-3, 3)),
    "reduce_prod": (lambda x, axis, keep: np.prod(x, axis, keepdims=keep), (0.9, 1.1)),
    "reduce_max": (lambda x, axis, keep: np.max(x, axis, keepdims=keep, initial=-np.inf), (-3, 3)),
    "reduce_min": (lambda x, axis, keep: np.min(x, axis, keepdims=keep, initial=np.inf), (-3, 3)),
    "reduce_logsumexp": (lambda x, axis, keep: np.log(np.sum(np.exp(x), axis, keepdims=keep)), (-3, 3)),
    "reduce_variance": (lambda x, axis, keep: np.var(x, axis, keepdims=keep), (-3, 3)),
    "reduce_std": (lambda x, axis, keep: np.std(x, axis, keepdims=keep), (-3, 3)),
}


def _reduction(name: str, dtype: DType, shape: tuple[int, ...], axis: Axes, keep: bool) -> Case:
    expected, bounds = REDUCTIONS[name]
    label = f"{name_of(dtype, shape)}-{axis}-{keep}"
    # Where the rank is unknown a squeeze of all axes cannot be told from one of a scalar.
    return Case(name, label, lambda x: public(name)(x, axis, keep), (sample(name + label, uniform(*bounds), dtype, *shape),),
                lambda x: expected(x, axis, keep), depth=max(int(np.prod(shape)), 1), scale=3.0, slopes=2 if dtype is F64 else 0)


def reduction_cases() -> Iterator[Case]:
    for name in REDUCTIONS:
        for shape, axis, keep in REDUCED:
            yield _reduction(name, F32, shape, axis, keep)
        yield _reduction(name, F64, (3, 4), 1, False)
        yield _reduction(name, F64, (2, 3, 2), (0, 2), True)
        for dtype in SMALL_FLOATS:
            yield _reduction(name, dtype, (7, 33), 1, False)
    for name in ("reduce_sum", "reduce_max"):
        yield _reduction(name, F32, (300, 1030), 1, False)
        yield _reduction(name, F32, (300, 1030), 0, False)
        yield _reduction(name, F32, (300, 1030), None, False)
    rows = np.array([[1, np.nan, 3], [np.inf, 2, -np.inf], [np.inf, 1, 1], [-np.inf, -np.inf, -np.inf], [0, -0.0, 0]], np.float32)
    for name, function in {"reduce_sum": np.sum, "reduce_max": np.max, "reduce_min": np.min, "reduce_prod": np.prod,
                           "reduce_mean": np.mean}.items():
        yield Case(name, "special", lambda x, n=name: public(n)(x, 1), (rows,), lambda x, f=function: f(x, 1))
    one_nan = np.where(np.eye(7, 33, 5), np.nan, sample("one nan", uniform(-1, 1), F32, 7, 33)).astype(np.float32)
    one_nan[5, 32], one_nan[6, 0] = np.nan, np.inf
    for name, function in {"reduce_max": np.max, "reduce_min": np.min, "reduce_sum": np.sum}.items():
        for axis in (0, 1):
            yield Case(name, f"one-nan-{axis}", lambda x, n=name, a=axis: public(n)(x, a), (one_nan,),
                       lambda x, f=function, a=axis: f(x, a), depth=33)
    yield Case("reduce_logsumexp", "special", lambda x: gc.reduce_logsumexp(x, 1), (rows[:4],), lambda x: special.logsumexp(x, 1))
    yield Case("reduce_logsumexp", "far", lambda x: gc.reduce_logsumexp(x, 1), (np.array([[1e4, 1e4], [-1e4, -1e4]], np.float32),),
               lambda x: special.logsumexp(x, 1))
    zeros = np.array([[0.0, 2, 3], [0, 0, 4], [1, 2, 3]])
    yield Case("reduce_prod", "zeros", lambda x: gc.reduce_prod(x, 1), (zeros,), lambda x: np.prod(x, 1), slopes=1)
    yield from _whole_reductions()
    yield from _position_cases()


def _whole_reductions() -> Iterator[Case]:
    for name, function in {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}.items():
        for dtype in (dtypes.int32, dtypes.int64, dtypes.uint8):
            def expected(x: Array, f: Any = function, kind: DType = dtype) -> Any:
                return f(x, 1).astype(kind.np_dtype)
            yield Case(name, dtype.name, lambda x, n=name: public(n)(x, 1), (sample(name, integers, dtype, 7, 33),), expected)
    numbers = np.arange(-20, 22, dtype=np.int32).reshape(6, 7)
    yield Case("reduce_mean", "int32", lambda x: gc.reduce_mean(x, 1), (numbers,), lambda x: np.trunc(x.mean(1)).astype(np.int32))
    bits = sample("bits", uniform(0, 1), dtypes.bool, 40, 3)
    for name, logical in {"reduce_any": np.any, "reduce_all": np.all}.items():
        for axis in (0, 1, None, (0, 1)):
            yield Case(name, f"{axis}", lambda x, n=name, a=axis: public(n)(x, a), (bits,), lambda x, f=logical, a=axis: f(x, axis=a))
        yield Case(name, "empty", lambda x, n=name: public(n)(x, 1, True), (np.zeros((3, 0), bool),),
                   lambda x, f=logical: f(x, axis=1, keepdims=True))
    some = np.round(sample("nz", uniform(-1, 1), F32, 5, 33))
    places: tuple[Axes, ...] = (None, 1, (0, 1))
    for place in places:
        yield Case("count_nonzero", f"{place}", lambda x, a=place: gc.count_nonzero(x, a), (some,),
                   lambda x, a=place: np.count_nonzero(x, axis=a), dtype=dtypes.int64)


def _position_cases() -> Iterator[Case]:
    for name, function in {"argmax": np.argmax, "argmin": np.argmin}.items():
        for shape, axis in (((7, 33), 1), ((33, 7), 0), ((1030,), 0), ((2, 3, 4), -2), ((1, 1), 1), ((0, 3), 1)):
            array = sample(f"{name}{shape}", apart, F32, *shape)
            yield Case(name, f"{name_of(F32, shape)}-{axis}", lambda x, n=name, a=axis: public(n)(x, a), (array,),
                       lambda x, f=function, a=axis: f(x, a), dtype=dtypes.int64)
        ties = np.array([[3, 1, 3], [0, 0, 0], [-1, 2, 2]], np.int32)
        yield Case(name, "ties", lambda x, n=name: public(n)(x, 1, output_type=gc.int32), (ties,), lambda x, f=function: f(x, 1), dtype=I32)


def running_cases() -> Iterator[Case]:
    for name, function in {"cumsum": np.cumsum, "cumprod": np.cumprod}.items():
        neutral = 0.0 if name == "cumsum" else 1.0
        for shape, axis, exclusive, reverse in (((7,), 0, False, False), ((5, 33), 1, True, False), ((33, 3), 0, False, True),
                                                ((2, 9, 4), -2, True, True), ((0, 3), 0, False, False), ((1,), 0, True, False)):
            for dtype in (F32, F64):
                array = sample(f"{name}{shape}", uniform(0.8, 1.25), dtype, *shape)

                def expected(x: Array, f: Any = function, a: int = axis, ex: bool = exclusive, re: bool = reverse,
                             start: float = neutral) -> Any:
                    flipped = np.flip(x, a) if re else x
                    if ex:
                        first = np.full_like(np.take(flipped, [0], a), start)
                        flipped = np.concatenate([first, np.take(flipped, range(x.shape[a] - 1), a)], a)
                    result = f(flipped, axis=a)
                    return np.flip(result, a) if re else result
                yield Case(name, f"{name_of(dtype, shape)}-{exclusive}-{reverse}",
                           lambda x, n=name, a=axis, ex=exclusive, re=reverse: public(n)(x, a, ex, re), (array,), expected, depth=99,
                           slopes=2 if dtype is F64 and array.size < 80 else 0)
    numbers = sample("cs", integers, I32, 5, 9)
    yield Case("cumsum", "int32", lambda x: gc.cumsum(x, 1), (numbers,), lambda x: np.cumsum(x, 1, dtype=np.int32))
    with_zeros = np.array([[2.0, 0.0, 3.0, 0.0], [1.0, 4.0, 0.5, 2.0]])
    large = sample("running", uniform(-1, 1), F32, 300, 1030)
    for axis in (0, 1):
        yield Case("cumsum", f"large-{axis}", lambda x, a=axis: gc.cumsum(x, a), (large,), lambda x, a=axis: np.cumsum(x, a), depth=1030)
    yield Case("cumprod", "zeros", lambda x: gc.cumprod(x, 1), (with_zeros,), lambda x: np.cumprod(x, 1), slopes=1)


# Shapes ---------------------------------------------------------------------------------------------------------------------------------

def _vector(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def shape_cases() -> Iterator[Case]:
    for shape in ((), (0, 3), (7, 33)):
        array = np.zeros(shape, np.float32)
        yield Case("shape", name_of(F32, shape), gc.shape, (array,), lambda x: np.array(x.shape, np.int32), dtype=I32)
        yield Case("size", name_of(F32, shape), lambda x: gc.size(x, out_type=gc.int64), (array,), np.size, dtype=dtypes.int64)
        yield Case("rank", name_of(F32, shape), gc.rank, (array,), np.ndim, dtype=I32)
    for dtype in (F32, F64, dtypes.bfloat16, dtypes.int16, dtypes.bool):
        x = sample("moves" + dtype.name, uniform(-3, 3), dtype, 4, 3, 6)
        moves: dict[str, tuple[Function, Function]] = {
            "reshape": (lambda x: gc.reshape(x, [-1, 9]), lambda x: x.reshape(8, 9)),
            "transpose": (lambda x: gc.transpose(x, [2, 0, 1]), lambda x: x.transpose(2, 0, 1)),
            "expand_dims": (lambda x: gc.expand_dims(x, -2), lambda x: x[:, :, None]),
            "reverse": (lambda x: gc.reverse(x, [0, -1]), lambda x: x[::-1, :, ::-1]),
            "tile": (lambda x: gc.tile(x, [2, 1, 3]), lambda x: np.tile(x, (2, 1, 3))),
            "slice": (lambda x: gc.slice(x, [1, 0, 2], [2, -1, 3]), lambda x: x[1:3, :, 2:5]),
            "pad": (lambda x: gc.pad(x, [[1, 0], [0, 2], [3, 1]]), lambda x: np.pad(x, [(1, 0), (0, 2), (3, 1)])),
            "gather": (lambda x: gc.gather(x, [[2, 0], [1, 1]], axis=1), lambda x: x[:, [[2, 0], [1, 1]]]),
            "concat": (lambda x: gc.concat([x, x[:, :, :1], x[:, :, 2:]], 2), lambda x: np.concatenate([x, x[:, :, :1], x[:, :, 2:]], 2)),
            "stack": (lambda x: gc.stack([x[0], x[2], x[0]], 1), lambda x: np.stack([x[0], x[2], x[0]], 1)),
        }
        for name, (build, expected) in moves.items():
            yield Case(name, dtype.name, build, (x,), expected, slopes=int(dtype is F64), dtype=dtype)
    yield from _more_moves()
    yield from _odd_moves()


def _more_moves() -> Iterator[Case]:
    x = sample("more", uniform(-3, 3), F64, 3, 1, 5)
    matrix = sample("matrix", uniform(-3, 3), F64, 4, 5)
    more: list[tuple[str, str, Function, Function, Array, str]] = [
        ("transpose", "reversed", gc.transpose, np.transpose, x, ""),
        ("matrix_transpose", "", gc.matrix_transpose, lambda x: np.swapaxes(x, -1, -2), x, "rank"),
        ("squeeze", "all", gc.squeeze, np.squeeze, x, ""),
        ("squeeze", "one", lambda x: gc.squeeze(x, [1]), lambda x: x[:, 0], x, ""),
        ("broadcast_to", "", lambda x: gc.broadcast_to(x, [2, 3, 4, 5]), lambda x: np.broadcast_to(x, (2, 3, 4, 5)), x, ""),
        ("ensure_shape", "", lambda x: gc.ensure_shape(x, [3, None, 5]), lambda x: x, x, ""),
        ("reshape", "by-shape", lambda x: gc.reshape(x, gc.concat([gc.shape(x)[2:], [-1]], 0)), lambda x: x.reshape(5, 3), x, ""),
        ("split", "equal", lambda x: gc.split(x, 5, 2), lambda x: np.split(x, 5, 2), x, ""),
        ("split", "sizes", lambda x: gc.split(x, [1, -1, 2], 1), lambda x: np.split(x, [1, 3], 1), matrix, ""),
        ("unstack", "", lambda x: gc.unstack(x, 4), list, matrix, ""),
        ("unstack", "last", lambda x: gc.unstack(x, 5, axis=-1), lambda x: list(x.T), matrix, ""),
        ("stack", "nested", lambda x: gc.stack([x[0], x[1]]), lambda x: np.stack([x[0], x[1]]), matrix, ""),
        ("pad", "value", lambda x: gc.pad(x, [[1, 2], [0, 1]], constant_values=2.5),
         lambda x: np.pad(x, [(1, 2), (0, 1)], constant_values=2.5), matrix, ""),
        ("pad", "reflect", lambda x: gc.pad(x, [[3, 1], [0, 4]], "REFLECT"), lambda x: np.pad(x, [(3, 1), (0, 4)], "reflect"), matrix, ""),
        ("pad", "symmetric", lambda x: gc.pad(x, [[4, 1], [5, 0]], "SYMMETRIC"),
         lambda x: np.pad(x, [(4, 1), (5, 0)], "symmetric"), matrix, ""),
        ("strided_slice", "", lambda x: gc.strided_slice(x, [3, 0], [0, 5], [-2, 3]), lambda x: x[3:0:-2, 0:5:3], matrix, ""),
        ("strided_slice", "masks", lambda x: gc.strided_slice(x, [1, 2], [0, 0], begin_mask=2, end_mask=3), lambda x: x[1:], matrix, ""),
        ("strided_slice", "getitem", lambda x: x[1:, None, ..., -2], lambda x: x[1:, None, ..., -2], matrix, ""),
        ("slice", "empty", lambda x: gc.slice(x, [2, 1], [0, 3]), lambda x: x[2:2, 1:4], matrix, ""),
        ("gather", "repeated", lambda x: gc.gather(x, [3, 0, 3, 3]), lambda x: x[[3, 0, 3, 3]], matrix, ""),
        ("gather", "out-of-range", lambda x: gc.gather(x, [0, 4, -1]), lambda x: np.stack([x[0], 0 * x[0], 0 * x[0]]), matrix, ""),
        ("gather_nd", "elements", lambda x: gc.gather_nd(x, [[3, 4], [0, 0], [4, 0]]),
         lambda x: np.array([x[3, 4], x[0, 0], 0]), matrix, ""),
        ("gather_nd", "rows", lambda x: gc.gather_nd(x, [[[3]], [[1]]]), lambda x: x[[[3], [1]]], matrix, ""),
        ("nn.embedding_lookup", "", lambda x: gc.nn.embedding_lookup(x, [[1, 1], [3, 0]]), lambda x: x[[[1, 1], [3, 0]]], matrix, ""),
        ("layers.flatten", "", gc.layers.flatten, lambda x: x.reshape(3, 5), x, "rank"),
    ]
    for subject, label, build, expected, array, known in more:
        yield Case(subject, label, build, (array,), expected, slopes=1, known=known)


def _odd_moves() -> Iterator[Case]:
    """Empty, large, and with positions that are fed."""
    large = sample("large", uniform(-1, 1), F32, 300, 1030)
    none = np.zeros((0, 3), np.float32)
    yield Case("transpose", "large", gc.transpose, (large,), np.transpose)
    yield Case("transpose", "empty", gc.transpose, (none,), np.transpose)
    yield Case("concat", "empty", lambda x, y: gc.concat([x, y, x], 0), (none, np.ones((2, 3), np.float32)), lambda x, y: y)
    yield Case("concat", "large", lambda x: gc.concat([x, x[:, :7]], 1), (large,), lambda x: np.concatenate([x, x[:, :7]], 1))
    yield Case("pad", "empty", lambda x: gc.pad(x, [[1, 1], [0, 0]], constant_values=np.nan), (none,), lambda x: np.full((2, 3), np.nan))
    yield Case("tile", "to-nothing", lambda x: gc.tile(x, [0, 2]), (np.ones((2, 3), np.float32),), lambda x: np.zeros((0, 6)))
    yield Case("reverse", "large", lambda x: gc.reverse(x, [1]), (large,), lambda x: x[:, ::-1])
    yield Case("strided_slice", "large", lambda x: x[::-7, 3::5], (large,), lambda x: x[::-7, 3::5])
    places = sample("places", integers, I32, 40) % 300
    for dtype in (I32, dtypes.int64):
        where = places.astype(dtype.np_dtype)
        yield Case("gather", f"fed-{dtype.name}", gc.gather, (large, where), lambda x, i: x[i])
        yield Case("gather_nd", f"fed-{dtype.name}", gc.gather_nd, (large, np.stack([where, where], 1)), lambda x, i: x[i[:, 0], i[:, 1]])
    table = sample("table", uniform(-1, 1), F32, 300, 3)
    for dtype in (dtypes.uint8, dtypes.int8, dtypes.uint64):  # narrower than the axis, and without a sign
        few = np.array([[2, 1], [100, 2], [127, 0]], dtype.np_dtype)
        yield Case("gather", dtype.name, gc.gather, (table, few), lambda x, i: x[i])
        yield Case("gather_nd", dtype.name, gc.gather_nd, (table, few), lambda x, i: x[i[:, 0], i[:, 1]])
    far = np.array([2, 2 ** 40 + 2, -2 ** 63], np.int64)
    yield Case("gather", "far-out", gc.gather, (table, far), lambda x, i: np.stack([x[2], 0 * x[2], 0 * x[2]]))
    yield Case("gather", "nothing", gc.gather, (large, np.zeros((0, 2), np.int32)), lambda x, i: x[i])


# Choosing and making --------------------------------------------------------------------------------------------------------------------

def choosing_cases() -> Iterator[Case]:
    flags = sample("flags", uniform(0, 1), dtypes.bool, 5, 33)
    for dtype in (F32, F64, dtypes.float16, dtypes.int64, dtypes.bool):
        x, y = (sample(f"where {n}{dtype.name}", uniform(-3, 3), dtype, 5, 33) for n in range(2))
        slopes = int(dtype is F64)
        yield Case("where", dtype.name, gc.where, (flags, x, y), np.where, dtype=dtype, slopes=slopes)
        yield Case("where_v2", dtype.name, gc.where_v2, (flags[:, :1], x[0], y), np.where, dtype=dtype, slopes=slopes)
    yield Case("where", "rows", gc.where, (flags[:, 0], x, y), lambda c, x, y: np.where(c[:, None], x, y), dtype=dtypes.bool)
    yield Case("where", "scalar", gc.where, (np.array(False), x, y), np.where, dtype=dtypes.bool)
    odd = sample("odd", specials, F32, 5, 33)
    yield Case("where", "special", gc.where, (flags, odd, odd[::-1]), np.where, dtype=F32)
    yield Case("where", "empty", gc.where, (flags[:0], odd[:0], odd[:0]), np.where, dtype=F32)


def making_cases() -> Iterator[Case]:
    one = np.array(1.5)
    yield Case("fill", "", lambda x: gc.fill([3, 7], x), (one,), lambda x: np.full((3, 7), x), slopes=1)
    yield Case("fill", "fed-dims", lambda n, x: gc.fill(n, x), (_vector(2, 5), one), lambda n, x: np.full(n, x), dtype=F64)
    for name, function in {"zeros": np.zeros, "ones": np.ones}.items():
        for dtype in (F32, dtypes.bfloat16, I32, dtypes.bool):
            yield Case(name, dtype.name, lambda n, f=name, d=dtype: public(f)(n, d), (_vector(40, 33),),
                       lambda n, f=function, d=dtype: f(tuple(n), d.np_dtype), dtype=dtype)
            yield Case(name, "plain" + dtype.name, lambda n, f=name, d=dtype: public(f)([3, 0], d), (_vector(),),
                       lambda n, f=function, d=dtype: f((3, 0), d.np_dtype), dtype=dtype)
    for numbers, dtype in (((3, 33, 4), I32), ((5, -5, -3), dtypes.int64), ((0, 1, 0.125), F32), ((1, 1, 1), I32)):
        fed = tuple(np.array(n, dtype.np_dtype) for n in numbers)
        yield Case("range", f"{dtype.name}{numbers}", gc.range, fed, lambda a, b, c, d=dtype: np.arange(a, b, c).astype(d.np_dtype),
                   dtype=dtype)
    ends = (np.array(-1.0), np.array(4.0))
    for count in (1, 2, 33):
        yield Case("linspace", f"{count}", lambda a, b, n=count: gc.linspace(a, b, n), ends, lambda a, b, n=count: np.linspace(a, b, n),
                   slopes=1, scale=4)
    yield from _one_hots()


def _one_hots() -> Iterator[Case]:
    places = np.array([[2, 0, 5], [-1, 3, 4]], np.int32)

    def hot(i: Array, on: Any = 1.0, off: Any = 0.0) -> Any:
        return np.where(i[..., None] == np.arange(5), on, off)
    yield Case("one_hot", "last", lambda i: gc.one_hot(i, 5), (places,), hot, dtype=F32)
    yield Case("one_hot", "first", lambda i: gc.one_hot(i, 5, axis=0, dtype=gc.bfloat16), (places,), lambda i: np.moveaxis(hot(i), -1, 0),
               dtype=dtypes.bfloat16)
    values = np.array(2.5), np.array(-0.5)
    yield Case("one_hot", "values", lambda i, a, b: gc.one_hot(i, 5, a, b), (places, *values), hot, dtype=F64, slopes=1)
    yield Case("one_hot", "bool", lambda i: gc.one_hot(i, 5, True, False), (places.astype(np.int64),), lambda i: hot(i) == 1)
    yield Case("one_hot", "narrow", lambda i: gc.one_hot(i, 300), (np.array([2, 255, 0], np.uint8),), lambda i: np.eye(300)[i], dtype=F32)
    yield Case("one_hot", "far-out", lambda i: gc.one_hot(i, 5), (np.array([[2, 2 ** 32 + 2]]),), hot, dtype=F32)
    yield Case("one_hot", "nothing", lambda i: gc.one_hot(i, 0), (places,), lambda i: np.zeros((2, 3, 0)), dtype=F32)


def families() -> dict[str, Sequence[Case]]:
    return {"reductions": list(reduction_cases()), "running": list(running_cases()), "shapes": list(shape_cases()),
            "choosing": list(choosing_cases()), "making": list(making_cases())}
