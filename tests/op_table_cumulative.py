"""The table of operations, continued: running results along an axis. See `tests/op_table.py`."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.op_table import Array, Case, by, integers, specials, t, uniform

Walk = tuple[tuple[int, ...], int, bool, bool]
WALKS: tuple[Walk, ...] = (
    ((7,), 0, False, False), ((1,), 0, True, False), ((0,), 0, False, False), ((3, 0, 2), 1, True, True), ((3, 0, 2), 0, False, True),
    ((5, 33), 1, False, False), ((5, 33), 1, True, True), ((33, 5), 0, False, True), ((33, 40), 0, True, False),
    ((2, 9, 4), 1, False, False), ((2, 9, 4), 1, True, True), ((1, 1, 6), 2, True, False), ((2, 1, 3), 1, True, True),
    ((6, 1030), 1, False, False), ((3, 5, 31), 0, False, False))
F64, F32 = dtypes.float64, dtypes.float32


def _walked(accumulate: Callable[..., Any], identity: Any, walk: Walk) -> Callable[[Array], Array]:
    _, axis, exclusive, reverse = walk

    def expected(x: Array) -> Array:
        rows = np.moveaxis(np.flip(x, axis) if reverse else x, axis, 0)
        result = np.array([accumulate(rows[:n + (not exclusive)]) if n + (not exclusive) else np.full(rows.shape[1:], identity)
                           for n in range(len(rows))]).reshape(rows.shape)
        result = np.moveaxis(result, 0, axis)
        return np.flip(result, axis) if reverse else result
    return expected


def _log_sum_exp(rows: Array) -> Any:
    greatest = np.max(rows, 0)
    with np.errstate(all="ignore"):
        found = greatest + np.log(np.sum(np.exp(rows - greatest), 0))
    return np.where(np.isinf(greatest), greatest, found)


# name: (builder, numpy over the first axis, what stands before the first element)
CUMULATIVE: dict[str, tuple[Any, Callable[..., Any], Any]] = {
    "cumulative_sum": (p.cumulative_sum, lambda rows: np.sum(rows, 0, rows.dtype), 0),
    "cumulative_prod": (p.cumulative_prod, lambda rows: np.prod(rows, 0, rows.dtype), 1),
    "cumulative_max": (p.cumulative_max, lambda rows: np.max(rows, 0), -np.inf),
    "cumulative_min": (p.cumulative_min, lambda rows: np.min(rows, 0), np.inf),
    "cumulative_logsumexp": (p.cumulative_logsumexp, _log_sum_exp, -np.inf),
}


def _bounds(name: str) -> tuple[float, float]:
    return (0.85, 1.15) if name == "cumulative_prod" else (-3, 3)


def _case(name: str, dtype: DType, walk: Walk, sampler: Any, tag: str = "", identity: Any = None, smooth: bool = False) -> Case:
    build, accumulate, start = CUMULATIVE[name]
    shape, axis, exclusive, reverse = walk
    label = f"{name}-{dtype.code}-{'x'.join(map(str, shape))}-{axis}{'-exclusive' * exclusive}{'-reverse' * reverse}{tag}"
    start = start if identity is None else identity
    return Case(label, name, lambda x: build(x, axis, exclusive, reverse), (t(dtype, *shape),), _walked(accumulate, start, walk),
                by(sampler), depth=max(shape[axis], 1), scale=3.0, smooth=smooth and not (exclusive and np.isinf(start)))


def cumulative_cases() -> Iterator[Case]:
    for name in CUMULATIVE:
        for walk in WALKS:
            small = int(np.prod(walk[0])) <= 80
            yield _case(name, F32, walk, uniform(*_bounds(name)))
            if small:
                yield _case(name, F64, walk, uniform(*_bounds(name)), smooth=True)
        for dtype in (dtypes.float16, dtypes.bfloat16):
            for walk in (WALKS[5], WALKS[8]):
                yield _case(name, dtype, walk, uniform(*_bounds(name)))
        yield _case(name, F32, ((11, 61), 1, False, False), specials, "-special")
        yield _case(name, F64, ((61, 19), 0, True, True), specials, "-special")
    for name in ("cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min"):
        for dtype in (dtypes.int8, dtypes.uint16, dtypes.int32, dtypes.int64, dtypes.uint64):
            ends = np.iinfo(dtype.np_dtype)
            identity = {"cumulative_max": ends.min, "cumulative_min": ends.max}.get(name)
            yield _case(name, dtype, ((4, 37), 1, True, False), integers, identity=identity)
            yield _case(name, dtype, ((37, 20), 0, False, True), integers, identity=identity)
    for name, identity in (("cumulative_max", False), ("cumulative_min", True)):
        yield _case(name, dtypes.bool, ((4, 37), 1, True, False), uniform(0, 1), identity=identity)


def zero_cases() -> Iterator[Case]:
    """Where a quotient of products would be 0 / 0, and where an extreme is held for long."""
    zeros = np.array([[2.0, 0, 3, 0, 5], [0, 0, 0, 1, 2], [1, 2, 3, 4, 0.5]])
    far = np.array([[-800.0, 0, 700, 709.5, 3], [1000, -1000, 999, 1001, 0], [0.5, 0.25, -2, -700, 4]])
    for exclusive in (False, True):
        walk = (zeros.shape, 1, exclusive, False)
        yield _case("cumulative_prod", F64, walk, lambda rng, type_: zeros, "-zeros", smooth=True)
        yield _case("cumulative_logsumexp", F64, walk, lambda rng, type_: far, "-far", smooth=True)
    falling = np.array([[3.0, 2, 1, 4, 0], [0, -1, -2, -3, -4]])
    for name in ("cumulative_max", "cumulative_min"):
        yield _case(name, F64, (falling.shape, 1, False, False), lambda rng, type_: falling, "-held", smooth=True)


def finite_cases() -> Iterator[Case]:
    """Exclusive results without the infinite first one, which has no differences."""
    for name in ("cumulative_max", "cumulative_min", "cumulative_logsumexp"):
        build, accumulate, start = CUMULATIVE[name]
        walked = _walked(accumulate, start, ((6, 3), 0, True, False))
        yield Case(f"{name}-after-the-first", name, lambda x, b=build: p.slice_(b(x, 0, True), (1, 0), (6, 3)), (t(F64, 6, 3),),
                   lambda x, w=walked: w(x)[1:], by(uniform(-2, 2)), smooth=True)


def _recurred(axis: int, reverse: bool) -> Callable[[Array, Array], Array]:
    def expected(a: Array, b: Array) -> Array:
        """h[k] = sum over i <= k of b[i] prod of a[i+1..k]: written out, not step by step."""
        left, right = (np.moveaxis(np.flip(each, axis) if reverse else each, axis, 0) for each in (a, b))
        rows = [sum((right[i] * np.prod(left[i + 1:k + 1], 0) for i in range(k + 1)), np.zeros(right.shape[1:])) for k in range(len(right))]
        result = np.moveaxis(np.array(rows).reshape(right.shape), 0, axis)
        return np.flip(result, axis) if reverse else result
    return expected


def recurrence_cases() -> Iterator[Case]:
    for shape, axis, reverse in (((7,), 0, False), ((1,), 0, True), ((0, 3), 0, False), ((5, 33), 1, True), ((33, 40), 0, False),
                                 ((2, 5, 4), 1, True), ((3, 1, 2), 1, False)):
        for dtype in (F64, F32, dtypes.bfloat16):
            yield Case(f"linear_recurrence-{dtype.code}-{'x'.join(map(str, shape))}-{axis}{'-reverse' * reverse}", "linear_recurrence",
                       lambda a, b, x=axis, r=reverse: p.linear_recurrence(a, b, x, r), (t(dtype, *shape),) * 2, _recurred(axis, reverse),
                       by(uniform(-1, 1)), depth=max(shape[axis], 1), smooth=dtype is F64 and int(np.prod(shape)) < 80)


CASES: list[Case] = [*cumulative_cases(), *zero_cases(), *finite_cases(), *recurrence_cases()]
