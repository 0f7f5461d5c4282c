"""The table of operations, reductions of windows: expectations walk over windows and elements one by one."""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.types import TensorType
from graphc.primitives.reduce_window import window_attrs
from graphc.primitives.suppression import non_max_suppression
from tests.op_table import Array, Case, apart, by, t, uniform

F64, F32 = dtypes.float64, dtypes.float32
Fields = dict[str, tuple[int, ...]]

# Shape, sizes, and what differs from strides and dilations of 1 without padding.
_POOLED: tuple[tuple[tuple[int, ...], tuple[int, ...], Fields], ...] = (
    ((6,), (2,), {"strides": (2,)}),
    ((7,), (3,), {"strides": (2,), "low": (1,), "high": (1,)}),
    ((7,), (3,), {}),
    ((9,), (2,), {"strides": (3,)}),
    ((8,), (2,), {"dilations": (3,)}),
    ((2, 5, 6, 3), (1, 2, 3, 1), {"strides": (1, 2, 2, 1)}),
    ((2, 5, 6, 3), (1, 3, 2, 1), {"strides": (1, 1, 2, 1), "low": (0, 1, 0, 0), "high": (0, 1, 1, 0)}),
    ((1, 5, 5, 2), (1, 2, 2, 1), {"dilations": (1, 2, 3, 1), "strides": (1, 2, 1, 1), "low": (0, 1, 1, 0)}),
    ((2, 3, 6, 5), (1, 1, 3, 3), {"strides": (1, 1, 2, 2), "low": (0, 0, 1, 1), "high": (0, 0, 1, 1)}),
    ((4, 6), (2, 1), {"strides": (2, 2)}),
    ((1, 4, 3, 4, 2), (1, 2, 2, 2, 1), {"strides": (1, 2, 1, 2, 1)}),
    ((2, 3), (1, 1), {}),
    ((0, 4, 2), (1, 2, 1), {"strides": (1, 2, 1)}),
    ((2, 1), (3, 1), {}),
    ((2, 11, 19, 33), (1, 3, 3, 1), {"strides": (1, 2, 2, 1), "high": (0, 0, 1, 0)}),
)
_APART: tuple[tuple[tuple[int, ...], tuple[int, ...], Fields], ...] = (
    ((4,), (3,), {"base_dilations": (2,), "low": (2,), "high": (1,)}),
    ((4,), (2,), {"base_dilations": (3,), "low": (-1,), "high": (2,)}),
    ((5,), (3,), {"base_dilations": (2,), "low": (6,), "high": (-3,)}),
    ((2, 3, 4, 2), (1, 3, 2, 1), {"base_dilations": (1, 2, 2, 1), "low": (0, 1, 1, 0), "high": (0, 1, 0, 0)}),
    ((4, 3), (3, 2), {"base_dilations": (2, 1), "strides": (3, 1), "dilations": (2, 1), "low": (3, 0), "high": (2, 1)}),
)


def _places(shape: Sequence[int], sizes: Sequence[int], fields: Fields) -> tuple[tuple[int, ...], Callable[..., list[tuple[int, ...]]]]:
    """How many windows there are, and a function from a window to its elements' indices in row-major order."""
    ones, rank = (1,) * len(sizes), len(sizes)
    strides, dilations, bases = (fields.get(name, ones) for name in ("strides", "dilations", "base_dilations"))
    low, high = (fields.get(name, (0,) * rank) for name in ("low", "high"))
    extents = [(n - 1) * b + 1 if n else 0 for n, b in zip(shape, bases, strict=True)]
    counts = tuple(max((a + n + b - (d * (k - 1) + 1)) // s + 1, 0)
                   for a, n, b, k, s, d in zip(low, extents, high, sizes, strides, dilations, strict=True))

    def elements(window: Sequence[int]) -> list[tuple[int, ...]]:
        found = []
        for tap in itertools.product(*map(range, sizes)):
            place = [q * s + k * d - a for q, s, k, d, a in zip(window, strides, tap, dilations, low, strict=True)]
            if all(0 <= n < extent and n % b == 0 for n, extent, b in zip(place, extents, bases, strict=True)):
                found.append(tuple(n // b for n, b in zip(place, bases, strict=True)))
        return found
    return counts, elements


def _reduced(x: Array, combine: str, sizes: Sequence[int], fields: Fields) -> Array:
    counts, elements = _places(x.shape, sizes, fields)
    floats = x.dtype.kind == "f"
    least, most = (-np.inf, np.inf) if floats else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    ufunc, start = {"add": (np.add, 0), "multiply": (np.multiply, 1), "maximum": (np.maximum, least), "minimum": (np.minimum, most),
                    }[combine]
    result: Array = np.full(counts, start, x.dtype)
    for window in np.ndindex(counts):
        for element in elements(window):
            result[window] = ufunc(result[window], x[element])
    return result


def _first_greatest(x: Array, elements: Sequence[tuple[int, ...]], sign: int) -> tuple[int, ...] | None:
    best = None
    for element in elements:
        if best is None or sign * x[element] > sign * x[best]:
            best = element
    return best


def _scattered(x: Array, source: Array, sign: int, sizes: Sequence[int], fields: Fields) -> Array:
    counts, elements = _places(x.shape, sizes, fields)
    result = np.zeros(x.shape, source.dtype)
    for window in np.ndindex(counts):
        best = _first_greatest(x, elements(window), sign)
        if best is not None:
            result[best] += source[window]
    return result


def _gathered(x: Array, operand: Array, sign: int, sizes: Sequence[int], fields: Fields) -> Array:
    counts, elements = _places(x.shape, sizes, fields)
    result = np.zeros(counts, operand.dtype)
    for window in np.ndindex(counts):
        best = _first_greatest(x, elements(window), sign)
        if best is not None:
            result[window] = operand[best]
    return result


def _tied(rng: np.random.Generator, type_: TensorType) -> Array:
    """Few different values, so that many windows have several greatest elements."""
    few: Array = rng.integers(-1, 2, type_.dims).astype(type_.dtype.np_dtype)
    return few


def _label(shape: Sequence[int], sizes: Sequence[int], fields: Fields) -> str:
    return f"{'x'.join(map(str, shape))}-{sizes}-{fields}".replace(" ", "")


_SMALL_TYPES = (dtypes.float16, dtypes.bfloat16, dtypes.int8, dtypes.uint16, dtypes.int64)


def reduce_window_cases() -> Iterator[Case]:
    for combine in ("add", "maximum", "minimum", "multiply"):
        some = (*_POOLED, *_APART) if combine in ("add", "maximum") else (*_POOLED[1:5:2], _POOLED[6], *_APART[::2])
        for shape, sizes, fields in some:
            counts, elements = _places(shape, sizes, fields)
            finite = combine in ("add", "multiply") or all(elements(window) for window in np.ndindex(counts))
            for dtype in (F64, F32, *(_SMALL_TYPES if shape == (7,) else ())):
                smooth = dtype is F64 and finite and 0 < math.prod(shape) < 130
                if dtype is F64 and not smooth:
                    continue
                sampler = apart if combine in ("maximum", "minimum") and dtype in (F64, F32) else uniform(-2, 2)
                yield Case(
                    f"reduce_window-{combine}-{_label(shape, sizes, fields)}-{dtype.code}", "reduce_window",
                    lambda x, c=combine, k=sizes, f=fields: p.reduce_window(x, c, k, **f), (t(dtype, *shape),),
                    lambda x, c=combine, k=sizes, f=fields: _reduced(x, c, k, f), by(sampler), depth=math.prod(sizes),
                    scale=4.0, smooth=smooth)


def selection_cases() -> Iterator[Case]:
    """Tied values in float32, values apart in float64 for differences; the least of a few."""
    for combine, sign, some in (("maximum", 1, (*_POOLED, *_APART[:1], *_APART[3:])), ("minimum", -1, (_POOLED[1], _POOLED[6], _APART[3]))):
        for shape, sizes, fields in some:
            counts, _ = _places(shape, sizes, fields)
            for dtype, sampler in ((F64, apart), (F32, _tied), (dtypes.bfloat16, _tied)):
                smooth = dtype is F64 and 0 < math.prod(shape) < 130
                if (dtype is F64 and not smooth) or (dtype is dtypes.bfloat16 and shape != (7,)):
                    continue
                label = f"{combine}-{_label(shape, sizes, fields)}-{dtype.code}"
                yield Case(
                    f"select_and_scatter-{label}", "select_and_scatter",
                    lambda x, g, c=combine, k=sizes, f=fields: p.select_and_scatter(x, g, window_attrs(x, c, k, **f)),
                    (t(dtype, *shape), t(dtype, *counts)), lambda x, g, s=sign, k=sizes, f=fields: _scattered(x, g, s, k, f),
                    by(sampler, uniform(-2, 2)), depth=math.prod(sizes), scale=4.0, smooth=smooth)
                yield Case(
                    f"select_and_gather-{label}", "select_and_gather",
                    lambda x, v, c=combine, k=sizes, f=fields: p.select_and_gather(x, v, window_attrs(x, c, k, **f)),
                    (t(dtype, *shape), t(dtype, *shape)), lambda x, v, s=sign, k=sizes, f=fields: _gathered(x, v, s, k, f),
                    by(sampler, uniform(-2, 2)), smooth=smooth)


def _best_boxes(boxes: Array, scores: Array, threshold: Array, least: Array, count: int) -> Array:
    """Pair by pair, in Python's numbers: who is left after all better ones."""
    left = [n for n in sorted(range(len(scores)), key=lambda n: -scores[n]) if scores[n] > least]
    chosen: list[int] = []
    for n in left:
        worst = 0.0
        for m in chosen:
            a, b = boxes[n].tolist(), boxes[m].tolist()
            (top, bottom), (lower, upper) = ([sorted((each[k], each[k + 2])) for each in (a, b)] for k in (0, 1))
            height = min(top[1], bottom[1]) - max(top[0], bottom[0])
            width = min(lower[1], upper[1]) - max(lower[0], upper[0])
            common = max(height, 0.0) * max(width, 0.0)
            areas = sum(abs((each[2] - each[0]) * (each[3] - each[1])) for each in (a, b))
            worst = max(worst, common / (areas - common))
        if worst <= threshold:
            chosen.append(n)
    return np.array((chosen + [-1] * count)[:count], np.int32)


def suppression_cases() -> Iterator[Case]:
    for boxes, count in ((40, 12), (7, 9), (0, 2), (5, 0)):
        for dtype in (F32, F64):
            yield Case(
                f"non_max_suppression-{boxes}-{count}-{dtype.code}", "non_max_suppression",
                lambda boxes, scores, most, least, sigma, n=count: non_max_suppression(boxes, scores, most, least, sigma, n),
                (t(dtype, boxes, 4), t(dtype, boxes), t(dtype), t(dtype), t(dtype)),
                lambda boxes, scores, most, least, _, n=count: _best_boxes(boxes, scores, most, least, n),
                by(uniform(0, 1), uniform(0, 1), uniform(0.3, 0.5), uniform(0.1, 0.2), uniform(0, 0)))


ALL: list[Case] = [*reduce_window_cases(), *selection_cases()]
# Those of which every node is compiled by itself, everywhere; tests/test_pooling.py runs all of them as they are compiled for users.
CASES: list[Case] = [
    *(case for n, case in enumerate(ALL) if n % (3 if case.primitive == "reduce_window" else 9) == 0), *suppression_cases()]
