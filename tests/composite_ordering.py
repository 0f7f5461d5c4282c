"""The table of composites, continued: running results, sorting, the greatest few, orders, distinct values, counts in classes.

Expectations come from numpy; those of the odd values are recorded answers of TensorFlow 1.15.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import SMALL_FLOATS, Array, Case, name_of, sample
from tests.op_table import apart, integers, uniform

F32, F64, I32, I64 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64
NAN, INF = np.nan, np.inf


def running_cases() -> Iterator[Case]:
    """cumsum and cumprod have their samples beside the reductions."""
    for shape, axis, exclusive, reverse in (((7,), 0, False, False), ((5, 33), 1, False, True), ((33, 3), 0, False, False),
                                            ((2, 9, 4), -2, True, True), ((0, 3), 0, True, False)):
        for dtype in (F32, F64):
            array = sample(f"lse{shape}", uniform(-3, 3), dtype, *shape)

            def expected(x: Array, a: int = axis, ex: bool = exclusive, re: bool = reverse) -> Any:
                flipped = np.moveaxis(np.flip(x, a) if re else x, a, 0)
                with np.errstate(divide="ignore"):
                    rows = [np.log(np.sum(np.exp(flipped[:n + (not ex)]), 0)) for n in range(len(flipped))]
                result = np.moveaxis(np.array(rows).reshape(flipped.shape), 0, a)
                return np.flip(result, a) if re else result
            yield Case("math.cumulative_logsumexp", f"{name_of(dtype, shape)}-{exclusive}-{reverse}",
                       lambda x, a=axis, ex=exclusive, re=reverse: gc.math.cumulative_logsumexp(x, a, ex, re), (array,), expected, depth=33,
                       slopes=2 if dtype is F64 and not exclusive and array.size < 80 else 0)
    for dtype in SMALL_FLOATS:
        array = sample("small", uniform(-1, 1), dtype, 6, 30)
        yield Case("math.cumulative_logsumexp", dtype.name, lambda x: gc.math.cumulative_logsumexp(x, 1), (array,),
                   lambda x: np.logaddexp.accumulate(x, 1), depth=30)
    yield Case("cumsum", "long", gc.cumsum, (sample("long", uniform(-1, 1), F32, 1 << 17),), np.cumsum, depth=1 << 17, scale=3.0)
    yield Case("cumprod", "narrow", lambda x: gc.cumprod(x, 0), (np.array([3, 100, 7, 255], np.uint8),),
               lambda x: np.multiply.accumulate(x, dtype=np.uint8))


# Sorting --------------------------------------------------------------------------------------------------------------------------------

def sorting_cases() -> Iterator[Case]:
    for shape, axis in (((7,), -1), ((4, 31), 1), ((31, 4), 0), ((2, 5, 3), -2), ((1,), 0), ((0, 3), 0), ((3, 0), 1), ((2, 300), 1)):
        for dtype in (F32, F64):
            array = sample(f"sort{shape}", apart, dtype, *shape)
            label = f"{name_of(dtype, shape)}-{axis}"
            yield Case("sort", label, lambda x, a=axis: gc.sort(x, a), (array,), lambda x, a=axis: np.sort(x, a),
                       slopes=2 if dtype is F64 and array.size < 80 else 0)
            yield Case("sort", f"{label}-down", lambda x, a=axis: gc.sort(x, a, "DESCENDING"), (array,), lambda x, a=axis: -np.sort(-x, a),
                       slopes=2 if dtype is F64 and array.size < 80 else 0)
        yield Case("argsort", f"{shape}-{axis}", lambda x, a=axis: gc.argsort(x, a), (array,), lambda x, a=axis: np.argsort(x, a),
                   dtype=I32)
    ties = np.array([[3, 1, 3, 1], [2, 5, 2, 2]], np.int32)
    yield Case("argsort", "ties", lambda x: gc.argsort(x, 1), (ties,), lambda x: np.array([[1, 3, 0, 2], [0, 2, 3, 1]]), dtype=I32)
    yield Case("argsort", "ties-down", lambda x: gc.argsort(x, 1, "DESCENDING"), (ties,),
               lambda x: np.array([[0, 2, 1, 3], [1, 0, 2, 3]]), dtype=I32)
    odd = np.array([1, NAN, -INF, 0, INF, -0.0, NAN, -3], np.float32)
    yield Case("sort", "odd", gc.sort, (odd,), np.sort)
    yield Case("sort", "odd-down", lambda x: gc.sort(x, direction="DESCENDING"), (odd,), lambda x: np.sort(x)[::-1])
    for dtype in (dtypes.int8, dtypes.uint8, I64, dtypes.uint64, *SMALL_FLOATS):
        array = sample(f"sort{dtype}", integers if dtype.is_integer else uniform(-9, 9), dtype, 3, 200)
        yield Case("sort", dtype.name, gc.sort, (array,), lambda x: np.sort(x, -1))
    yield Case("sort", "long", gc.sort, (sample("long", uniform(-1, 1), F32, 30011),), np.sort)


def _top(x: Array, k: int) -> list[Array]:
    order = np.argsort(-x.astype(np.float64), -1, kind="stable")[..., :k]
    return [np.take_along_axis(x, order, -1), order.astype(np.float64)]


def greatest_cases() -> Iterator[Case]:
    def both(x: Any, k: Any) -> list[gc.Tensor]:
        """Values and positions as one type."""
        found = gc.nn.top_k(x, k)
        return [found.values, gc.cast(found.indices, x.dtype)]

    for shape, k in (((7,), 3), ((4, 31), 31), ((2, 3, 5), 2), ((3, 5), 0), ((1,), 1), ((0, 4), 2), ((2, 400), 7), ((2, 3000), 3),
                     ((5000,), 20), ((2, 500), 300)):
        for dtype in (F32, F64):
            array = sample(f"top{shape}", apart, dtype, *shape)
            yield Case("nn.top_k", f"{name_of(dtype, shape)}-{k}", lambda x, n=k: both(x, n), (array,), lambda x, n=k: _top(x, n))
        if array.size < 80:
            yield Case("nn.top_k", f"{shape}-{k}-slopes", lambda x, n=k: gc.nn.top_k(x, n).values, (array,), lambda x, n=k: _top(x, n)[0],
                       slopes=2 if k else 0)
    yield Case("nn.top_k", "several-blocks", lambda x: gc.nn.top_k(x, 2).values, (sample("blocks", apart, F64, 1, 140),),
               lambda x: _top(x, 2)[0], slopes=2)
    few = np.random.default_rng(4).integers(0, 4, (3, 2000)).astype(np.float32)
    yield Case("nn.top_k", "ties", lambda x: both(x, 30), (few,), lambda x: _top(x, 30))
    for dtype in (dtypes.uint8, dtypes.int16, I64, dtypes.uint32):
        array = sample(f"top{dtype}", integers, dtype, 2, 300)
        yield Case("nn.top_k", dtype.name, lambda x: gc.nn.top_k(x, 5).values, (array,), lambda x: -np.sort(-x.astype(object), -1)[:, :5])
    yield Case("nn.top_k", "fed-k", lambda x, k: gc.nn.top_k(x, k).values, (sample("fed", apart, F32, 3, 9), np.array(4, np.int32)),
               lambda x, k: _top(x, k)[0], dtype=F32)
    # Recorded: ties with the last place are in, rows with a number that is not finite are not, nor a target that is no class.
    rows = np.array([[1, 2, 2], [3, NAN, 1], [INF, 1, 1], [1, 2, 3], [1, 1, 1], [1, 2, 3]], np.float32)
    for k, want in ((1, [True, False, False, False, True, True]), (2, [True, False, False, False, True, True])):
        yield Case("nn.in_top_k", f"recorded-{k}", lambda x, t, n=k: gc.nn.in_top_k(x, t, n),
                   (rows, np.array([2, 0, 0, 5, 2, 2], np.int32)),
                   lambda x, t, w=want: np.array(w), dtype=dtypes.bool)
    scores, targets = sample("scores", apart, F32, 40, 17), sample("targets", uniform(0, 17), F32, 40).astype(np.int64)
    yield Case("nn.in_top_k", "int64", lambda x, t: gc.nn.in_top_k(x, t, 5), (scores, targets),
               lambda x, t: np.array([t[n] in np.argsort(-x[n])[:5] for n in range(40)]), dtype=dtypes.bool)


# Orders and places ----------------------------------------------------------------------------------------------------------------------

def order_cases() -> Iterator[Case]:
    for size, dtype in ((7, I32), (1, I32), (0, I64), (200, I64)):
        order = np.random.default_rng(size).permutation(size).astype(dtype.np_dtype)
        yield Case("invert_permutation", f"{size}-{dtype.name}", gc.invert_permutation, (order,), np.argsort, dtype=dtype)
    yield Case("random_shuffle", "all-are-there", lambda x: gc.sort(gc.random_shuffle(x), 0), (sample("all", apart, F32, 40, 1),),
               lambda x: np.sort(x, 0))
    rows = np.sort(sample("rows", uniform(-3, 3), F32, 3, 40).round(1), -1)
    wanted = np.concatenate([rows[:, ::7], sample("wanted", uniform(-4, 4), F32, 3, 20).round(1)], 1)
    for side in ("left", "right"):
        yield Case("searchsorted", f"rows-{side}", lambda s, v, d=side: gc.searchsorted(s, v, d), (rows, wanted),
                   lambda s, v, d=side: np.stack([np.searchsorted(a, b, d) for a, b in zip(s, v, strict=True)]), dtype=I32)
        yield Case("searchsorted", f"vector-{side}", lambda s, v, d=side: gc.searchsorted(s, v, d, gc.int64),
                   (np.array([1, 3, 3, 5], np.int32), np.arange(8, dtype=np.int32)), lambda s, v, d=side: np.searchsorted(s, v, d),
                   dtype=I64)
    yield Case("searchsorted", "rows of none", gc.searchsorted, (np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 0), np.float32)),
               lambda s, v: np.zeros((2, 3, 0)), dtype=I32)
    yield Case("searchsorted", "in rows of none", gc.searchsorted, (np.zeros((2, 3, 0), np.float32), np.ones((2, 3, 2), np.float32)),
               lambda s, v: np.zeros((2, 3, 2)), dtype=I32)


# Distinct values ------------------------------------------------------------------------------------------------------------------------

def _distinct(x: Array) -> list[Array]:
    values, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    return [values[order], np.argsort(order)[inverse], counts[order]]


def distinct_cases() -> Iterator[Case]:
    rng = np.random.default_rng(5)
    for size in (0, 1, 5, 60, 700):
        array = rng.integers(0, max(size // 3, 1), size).astype(np.int32)
        yield Case("unique", f"{size}", lambda x: list(gc.unique(x)), (array,), lambda x: _distinct(x)[:2], dtype=I32)
        yield Case("unique_with_counts", f"{size}", lambda x: list(gc.unique_with_counts(x)), (array,), _distinct, dtype=I32)
        other = rng.integers(0, max(size // 4, 1), size // 2).astype(np.int32)
        yield Case("setdiff1d", f"{size}", lambda x, y: list(gc.setdiff1d(x, y)), (array, other),
                   lambda x, y: [x[~np.isin(x, y)], np.flatnonzero(~np.isin(x, y))], dtype=I32)
    # Recorded: every NaN is a value of its own, -0 is 0.
    odd = np.array([NAN, 0, NAN, -0.0, 1, INF], np.float32)
    yield Case("unique", "odd", lambda x: gc.unique(x).y, (odd,), lambda x: np.array([NAN, 0, NAN, 1, INF]), dtype=F32)
    yield Case("unique", "odd-places", lambda x: gc.unique(x, gc.int64).idx, (odd,), lambda x: np.array([0, 1, 2, 1, 3, 4]), dtype=I64)


# Counts ---------------------------------------------------------------------------------------------------------------------------------

def counting_cases() -> Iterator[Case]:
    values = np.random.default_rng(6).integers(0, 9, (5, 20)).astype(np.int32)
    for label, options in {"plain": {}, "minlength": {"minlength": 30}, "maxlength": {"maxlength": 4}}.items():
        yield Case("bincount", label, lambda x, o=options: gc.bincount(x, **o), (values,),
                   lambda x, o=options: np.bincount(x.reshape(-1), minlength=o.get("minlength", 0))[:o.get("maxlength")], dtype=I32)
    yield Case("bincount", "negative", gc.bincount, (np.array([1, -1, 3, 1], np.int32),), lambda x: np.array([0, 2, 0, 1]), dtype=I32)
    yield Case("bincount", "nothing", lambda x: gc.bincount(x, dtype=gc.float32), (np.zeros(0, np.int32),), lambda x: np.zeros(0),
               dtype=F32)
    weights = sample("weights", uniform(0, 1), F64, 5, 20)
    yield Case("bincount", "weights", lambda x, w: gc.bincount(x, w), (values, weights),
               lambda x, w: np.bincount(x.reshape(-1), w.reshape(-1)), dtype=F64, depth=100, slopes=1)
    numbers = np.array([-1, 0, 1.5, 2, 5, 15, 4.99, 1], np.float32)
    yield Case("histogram_fixed_width", "recorded", lambda x: gc.histogram_fixed_width(x, [0.0, 5.0], 5), (numbers,),
               lambda x: np.array([2, 2, 1, 0, 3]), dtype=I32)
    yield Case("histogram_fixed_width", "int64", lambda x: gc.histogram_fixed_width(x, [0, 10], 3, gc.int64), (values,),
               lambda x: np.histogram(x, 3, (0, 10))[0], dtype=I64)
    yield Case("histogram_fixed_width_bins", "recorded", lambda x: gc.histogram_fixed_width_bins(x, [0.0, 5.0], 5),
               (numbers.reshape(2, 4),),
               lambda x: np.array([[0, 0, 1, 2], [4, 4, 4, 1]]), dtype=I32)
    labels, guesses = np.array([1, 2, 4, 2], np.int32), np.array([2, 2, 4, 0], np.int32)
    yield Case("confusion_matrix", "recorded", gc.confusion_matrix, (labels, guesses),
               lambda a, b: np.array([[0] * 5, [0, 0, 1, 0, 0], [1, 0, 1, 0, 0], [0] * 5, [0, 0, 0, 0, 1]]), dtype=I32)
    yield Case("confusion_matrix", "weights", lambda a, b, w: gc.confusion_matrix(a, b, 5, gc.float64, weights=w),
               (labels, guesses, np.array([1.0, 2, 3, 4])),
               lambda a, b, w: np.array([[0] * 5, [0, 0, 1, 0, 0], [4, 0, 2, 0, 0], [0] * 5, [0, 0, 0, 0, 3]]), dtype=F64, slopes=1)
    yield Case("confusion_matrix", "column", lambda a, b: gc.confusion_matrix(a, b, 3),
               (np.array([[1], [2]], np.int32), np.array([2, 2], np.int32)),
               lambda a, b: np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1]]), dtype=I32, known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"cumulative": list(running_cases()), "sorting": list(sorting_cases()), "greatest": list(greatest_cases()),
            "orders": list(order_cases()), "distinct": list(distinct_cases()), "histograms": list(counting_cases())}
