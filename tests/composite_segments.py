"""The table of composites: rows of one segment reduced, and what stands where a condition holds."""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, Function, public, sample
from tests.op_table import apart, integers, uniform

F32, F64, I32, I64 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64


def _by_segment(x: Array, ids: Array, count: int, kind: str, start: Any) -> Array:
    """The rows of each segment, reduced by numpy one after the other."""
    rest = x.shape[ids.ndim:]
    rows, where = x.reshape((-1, *rest)), ids.reshape(-1)
    functions: dict[str, Function] = {
        "sum": lambda r: r.sum(0), "prod": lambda r: r.prod(0), "max": lambda r: r.max(0), "min": lambda r: r.min(0),
        "mean": lambda r: r.mean(0), "sqrt_n": lambda r: r.sum(0) / math.sqrt(len(r))}
    result = np.full((count, *rest), start, x.dtype)
    for number in range(count):
        if np.any(where == number):
            result[number] = functions[kind](rows[where == number])
    return result


EMPTY = {"sum": 0, "prod": 1, "mean": 0, "sqrt_n": 0}


def segment_cases() -> Iterator[Case]:
    ascending, mixed = np.array([0, 0, 1, 1, 1, 3], np.int32), np.array([2, 0, 2, -1, 2, 4], np.int32)
    for dtype in (F64, F32, I32):
        for kind in ("sum", "mean", "max", "min", "prod", "sqrt_n"):
            sampler = integers if dtype.is_integer else apart if kind in ("max", "min") else uniform(0.5, 2)
            x = sample(f"segment {kind}{dtype.name}", sampler, dtype, 6, 3)
            slopes = 2 * int(dtype is F64)
            if kind != "sqrt_n" and not (kind == "mean" and dtype.is_integer):
                yield Case(f"segment_{kind}", dtype.name, lambda x, k=kind: public(f"segment_{k}")(x, ascending), (x,),
                           lambda x, k=kind: _by_segment(x, ascending, 4, k, EMPTY.get(k, 0)), dtype=dtype, slopes=slopes)
            lowest = {"max": dtype.min, "min": dtype.max, **EMPTY}[kind]
            result = F64 if kind in ("mean", "sqrt_n") and dtype.is_integer else dtype
            if kind == "sqrt_n" and dtype.is_integer:
                continue
            extremes = kind in ("max", "min")  # whose segments without rows are too large to be summed
            yield Case(f"unsorted_segment_{kind}", dtype.name, lambda x, i, k=kind: public(f"unsorted_segment_{k}")(x, i, 5), (x, mixed),
                       lambda x, i, k=kind, s=lowest: _by_segment(x.astype(float) if k == "mean" else x, i, 5, k, s), dtype=result,
                       slopes=0 if extremes else slopes, known="rank", depth=3)
            if extremes:
                yield Case(f"unsorted_segment_{kind}", f"full-{dtype.name}", lambda x, i, k=kind: public(f"unsorted_segment_{k}")(x, i, 3),
                           (x, mixed % 5 % 3), lambda x, i, k=kind: _by_segment(x, i, 3, k, 0), dtype=dtype, slopes=slopes)
    yield from _odd_segments(ascending)


def _odd_segments(ascending: Array) -> Iterator[Case]:
    x = sample("two axes", uniform(-1, 1), F64, 2, 3, 2)
    ids = np.array([[1, 0, 1], [2, 2, 1]], np.int64)
    yield Case("unsorted_segment_sum", "two-axes", lambda x, i: gc.unsorted_segment_sum(x, i, 3), (x, ids),
               lambda x, i: _by_segment(x, i, 3, "sum", 0), slopes=2, known="shape")
    yield Case("unsorted_segment_sum", "fed-number", gc.unsorted_segment_sum, (x, ids, np.array(4, np.int32)),
               lambda x, i, n: _by_segment(x, i, 4, "sum", 0), slopes=1, known="shape")
    yield Case("unsorted_segment_sum", "nothing", lambda x, i: gc.unsorted_segment_sum(x, i, 3),
               (np.zeros((0, 2), np.float32), np.zeros(0, np.int32)), lambda x, i: np.zeros((3, 2)), known="shape")
    yield Case("unsorted_segment_max", "tie", lambda x: gc.unsorted_segment_max(x, [0, 0, 1], 2), (np.array([2.0, 2.0, 1.0]),),
               lambda x: np.array([2.0, 1.0]))
    zeros = np.array([[2.0, 0.0], [3.0, 4.0], [0.5, 0.0], [1.5, 2.0]])
    yield Case("unsorted_segment_prod", "zeros", lambda x: gc.unsorted_segment_prod(x, [0, 1, 0, 0], 2), (zeros,),
               lambda x: np.stack([x[0] * x[2] * x[3], x[1]]), slopes=1)
    many, where = sample("many rows", uniform(-1, 1), F32, 5000, 3), sample("many ids", integers, I32, 5000) % 70
    yield Case("unsorted_segment_sum", "large", lambda x, i: gc.unsorted_segment_sum(x, i, 70), (many, where),
               lambda x, i: _by_segment(x, i, 70, "sum", 0), depth=80, known="rank")
    x = sample("chosen rows", uniform(-1, 1), F64, 4, 3)
    rows = np.array([3, 0, 1, 3, 3, 2], np.int32)
    for kind in ("sum", "mean", "sqrt_n"):
        yield Case(f"sparse_segment_{kind}", "", lambda x, k=kind: public(f"sparse_segment_{k}")(x, rows, ascending), (x,),
                   lambda x, k=kind: _by_segment(x[rows], ascending, 4, k, 0), slopes=2)
        yield Case(f"sparse_segment_{kind}", "number", lambda x, i, k=kind: public(f"sparse_segment_{k}")(x, i, ascending, num_segments=6),
                   (x, rows), lambda x, i, k=kind: _by_segment(x[i], ascending, 6, k, 0), slopes=2)


# Where a condition holds -----------------------------------------------------------------------------------------------------------------

def known_cases() -> Iterator[Case]:
    """Conditions and numbers that are constants: no run need ask for the size."""
    x = sample("masked", uniform(-1, 1), F64, 4, 3)
    rows, both = np.array([True, False, True, True]), sample("both", uniform(-1, 1), dtypes.bool, 4, 3)
    yield Case("boolean_mask", "rows", lambda x: gc.boolean_mask(x, rows), (x,), lambda x: x[rows], slopes=2)
    yield Case("boolean_mask", "elements", lambda x: gc.boolean_mask(x, both), (x,), lambda x: x[both], slopes=2)
    yield Case("boolean_mask", "columns", lambda x: gc.boolean_mask(x, [True, False, True], axis=1), (x,), lambda x: x[:, [0, 2]], slopes=1,
               known="rank")
    yield Case("boolean_mask", "index", lambda x: x[rows], (x,), lambda x: x[rows], slopes=1)
    yield Case("boolean_mask", "none", lambda x: gc.boolean_mask(x, [False] * 4), (x,), lambda x: x[:0])
    yield Case("where", "places-known", lambda x: gc.where(both), (x,), lambda x: np.argwhere(both), dtype=I64)
    parts = np.array([1, 0, 3, 1], np.int32)
    yield Case("dynamic_partition", "rows", lambda x: gc.dynamic_partition(x, parts, 3), (x,),
               lambda x: [x[parts == n] for n in range(3)], slopes=2)
    yield Case("dynamic_partition", "elements", lambda x: gc.dynamic_partition(x, np.tile(parts[:, None], (1, 3)), 2), (x,),
               lambda x: [x[1], np.concatenate([x[0], x[3]])], slopes=1)
    first, second = np.array([0, 4], np.int32), np.array([[1, 2], [5, 2]], np.int32)

    def stitched(x: Array, y: Array) -> Array:
        result = np.zeros((6, 3))
        result[[0, 4]] = x
        result[[1, 2, 5, 2]] = y.reshape(4, 3)
        return result
    yield Case("dynamic_stitch", "", lambda x, y: gc.dynamic_stitch([first, second], [x, y]),
               (sample("a", uniform(-1, 1), F64, 2, 3), sample("b", uniform(-1, 1), F64, 2, 2, 3)), stitched, slopes=2)


def counted_cases() -> Iterator[Case]:
    """Conditions and numbers that are fed: a first stage counts."""
    x = sample("counted", uniform(-1, 1), F64, 5, 3)
    yield Case("where", "places", lambda x: gc.where(x > 0), (x,), lambda x: np.argwhere(x > 0), dtype=I64)
    yield Case("where_v2", "places", lambda x: gc.where_v2(x), (np.round(x),), lambda x: np.argwhere(x), dtype=I64)
    yield Case("boolean_mask", "fed", gc.boolean_mask, (x, np.array([True, False, True, False, True])), lambda x, m: x[m], known="rank",
               slopes=1)
    yield Case("dynamic_partition", "fed", lambda x, i: gc.dynamic_partition(x, i, 2), (x, np.array([1, 0, 0, 1, 1], np.int32)),
               lambda x, i: [x[i == 0], x[i == 1]], slopes=1)
    yield Case("segment_sum", "fed", gc.segment_sum, (x, np.array([0, 0, 2, 2, 3], np.int64)),
               lambda x, i: _by_segment(x, i, 4, "sum", 0), slopes=1)
    yield Case("repeat", "fed", lambda x, n: gc.repeat(x, n, 0), (x, np.array([2, 0, 1, 3, 0], np.int32)),
               lambda x, n: np.repeat(x, n, 0), slopes=1)
    yield Case("sequence_mask", "longest", gc.sequence_mask, (np.array([[1, 3], [2, 0]], np.int32),),
               lambda n: np.arange(3) < n[..., None])
    large = sample("large condition", uniform(-1, 1), F32, 70, 130)
    yield Case("where", "large", lambda x: gc.where(x > 0), (large,), lambda x: np.argwhere(x > 0), dtype=I64)


def families() -> dict[str, Sequence[Case]]:
    return {"segments": list(segment_cases()), "selected": list(known_cases()), "counted": list(counted_cases())}
