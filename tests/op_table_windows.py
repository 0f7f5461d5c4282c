"""The table of operations, windows and convolution: expectations are plain loops over positions and taps."""
from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from tests.op_table import Array, Case, by, t, uniform

F64, F32 = dtypes.float64, dtypes.float32
_ANY = by(uniform(-2, 2))

# Shape, first spatial axis, sizes, and what differs from strides and dilations of 1 without padding.
_WINDOWS: tuple[tuple[tuple[int, ...], int, tuple[int, ...], dict[str, tuple[int, ...]]], ...] = (
    ((7,), 0, (3,), {}),
    ((2, 7, 3), 1, (3,), {"strides": (2,), "low": (1,), "high": (1,)}),
    ((2, 5, 6, 3), 1, (3, 2), {"low": (1, 0), "high": (1, 1)}),
    ((1, 3, 5, 6), 2, (2, 3), {"strides": (1, 2), "dilations": (2, 1), "low": (0, 2), "high": (1, 0)}),
    ((2, 4, 2), 1, (3,), {"base_dilations": (2,), "low": (2,), "high": (1,)}),
    ((6, 5), 0, (2, 2), {"strides": (3, 2), "base_dilations": (2, 3), "dilations": (3, 1), "low": (1, -1), "high": (2, -2)}),
    ((9, 2), 0, (2,), {"low": (-2,), "high": (-1,), "strides": (2,)}),
    ((3, 2), 0, (4,), {"low": (1,)}),
    ((2, 3), 0, (5,), {}),
    ((0, 2), 0, (2,), {"low": (2,), "high": (1,)}),
    ((2, 0, 3), 1, (1,), {"low": (1,)}),
    ((2, 3, 4), 1, (1,), {"strides": (2,)}),
    ((4, 3), 0, (1, 1), {}),
    ((2, 2, 3, 2, 2), 1, (2, 2, 2), {"low": (1, 0, 0), "high": (0, 0, 1)}),
    ((1, 6, 5, 19), 1, (3, 3), {"low": (1, 1), "high": (1, 1)}),
)


def _windows(x: Array, value: Any, axis: int, sizes: Sequence[int], **fields: tuple[int, ...]) -> Array:
    """One element after another: where tap t of position p lies among the elements of the operand, set apart and padded."""
    ones, rank = (1,) * len(sizes), len(sizes)
    strides, dilations, apart = (fields.get(name, ones) for name in ("strides", "dilations", "base_dilations"))
    low, high = (fields.get(name, (0,) * rank) for name in ("low", "high"))
    extents = [(n - 1) * b + 1 if n else 0 for n, b in zip(x.shape[axis:axis + rank], apart, strict=True)]
    counts = [max((a + n + b - (d * (k - 1) + 1)) // s + 1, 0)
              for a, n, b, k, s, d in zip(low, extents, high, sizes, strides, dilations, strict=True)]
    result = np.full((*x.shape[:axis], *counts, *sizes, *x.shape[axis + rank:]), value, x.dtype)
    before = (slice(None),) * axis
    for position in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, sizes)):
            place = [q * s + k * d - a for q, s, k, d, a in zip(position, strides, tap, dilations, low, strict=True)]
            if all(0 <= n < extent and n % b == 0 for n, extent, b in zip(place, extents, apart, strict=True)):
                result[(*before, *position, *tap)] = x[(*before, *(n // b for n, b in zip(place, apart, strict=True)))]
    return result


def windows_cases() -> Iterator[Case]:
    others = itertools.cycle((dtypes.bfloat16, dtypes.int8, dtypes.bool))  # one of them a sample
    for (shape, axis, sizes, fields), other in zip(_WINDOWS, others, strict=False):
        for dtype in (F64, F32, other):
            yield Case(
                f"windows-{'x'.join(map(str, shape))}-{sizes}-{fields}-{dtype.code}".replace(" ", ""),
                "windows",
                lambda x, v, a=axis, k=sizes, f=fields: p.windows(x, v, a, k, **f),
                (t(dtype, *shape), t(dtype)),
                lambda x, v, a=axis, k=sizes, f=fields: _windows(x, v, a, k, **f),
                _ANY,
                smooth=dtype is F64 and np.prod(shape) < 150 and shape != (4, 3),
            )




# Shape of the operand, of the filter, groups, and what differs from strides and dilations of 1 without padding.
_CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], int, dict[str, tuple[int, ...]]], ...] = (
    ((2, 5, 3), (3, 3, 2), 1, {}),
    ((2, 3), (3, 4), 1, {}),
    ((1, 5, 4, 2), (3, 2, 2, 3), 1, {"strides": (2, 1), "low": (1, 0), "high": (1, 1)}),
    ((2, 6, 1), (2, 1, 2), 1, {"rhs_dilation": (3,), "low": (2,), "high": (1,)}),
    ((1, 3, 2), (3, 2, 2), 1, {"lhs_dilation": (2,), "low": (1,), "high": (2,)}),
    ((1, 4, 2), (4, 2, 1), 1, {"lhs_dilation": (3,), "rhs_dilation": (2,), "strides": (2,), "low": (4,), "high": (5,)}),
    ((1, 4, 1), (2, 1, 1), 1, {"lhs_dilation": (2,), "rhs_dilation": (2,), "low": (1,), "high": (2,)}),
    ((1, 3, 1), (1, 1, 2), 1, {"lhs_dilation": (4,), "strides": (2,), "high": (3,)}),
    ((1, 2, 2, 2), (3, 3, 2, 2), 1, {"lhs_dilation": (2, 3), "low": (2, 2), "high": (2, 2)}),
    ((2, 7, 2), (3, 2, 2), 1, {"low": (-1,), "high": (-2,)}),
    ((1, 3, 2), (5, 2, 2), 1, {"low": (1,)}),
    ((1, 4, 6), (3, 2, 6), 3, {"low": (1,), "high": (1,)}),
    ((2, 4, 4), (2, 1, 8), 4, {"strides": (2,), "low": (1,)}),
    ((2, 4, 3), (3, 1, 3), 3, {"low": (1,), "high": (1,)}),
    ((1, 4, 4), (2, 2, 2), 2, {"lhs_dilation": (2,), "low": (1,), "high": (1,)}),
    ((1, 2, 3, 2, 2), (2, 2, 1, 2, 1), 1, {"low": (0, 1, 0), "high": (1, 0, 0), "strides": (1, 2, 1)}),
    ((0, 4, 2), (2, 2, 3), 1, {}),
    ((2, 4, 0), (2, 0, 3), 1, {}),
    ((2, 0, 2), (2, 2, 3), 1, {"low": (1,), "high": (2,)}),
    ((1, 6, 7, 8), (3, 3, 8, 36), 1, {"low": (1, 1), "high": (1, 1)}),
    ((1, 7, 9, 3), (7, 7, 3, 5), 1, {"strides": (2, 2), "low": (3, 3), "high": (3, 3)}),
    ((1, 4, 5, 33), (3, 3, 1, 33), 33, {"low": (1, 1), "high": (1, 1)}),
)


def _meetings(fields: dict[str, tuple[int, ...]], sizes: Sequence[int], taps: Sequence[int]) -> Iterator[tuple[Any, Any, Any]]:
    """Every (position, tap, element of the operand) that meet, by their definition."""
    ones = (1,) * len(sizes)
    strides, dilations, apart = (fields.get(name, ones) for name in ("strides", "rhs_dilation", "lhs_dilation"))
    low, counts = fields.get("low", (0,) * len(sizes)), _positions(fields, sizes, taps)
    for position in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, taps)):
            place = [q * s + k * d - a for q, s, k, d, a in zip(position, strides, tap, dilations, low, strict=True)]
            if all(n % b == 0 and 0 <= n // b < size for n, b, size in zip(place, apart, sizes, strict=True)):
                yield position, tap, tuple(n // b for n, b in zip(place, apart, strict=True))


def _positions(fields: dict[str, tuple[int, ...]], sizes: Sequence[int], taps: Sequence[int]) -> list[int]:
    ones, rank = (1,) * len(sizes), len(sizes)
    strides, dilations, apart = (fields.get(name, ones) for name in ("strides", "rhs_dilation", "lhs_dilation"))
    low, high = (fields.get(name, (0,) * rank) for name in ("low", "high"))
    extents = [(n - 1) * b + 1 if n else 0 for n, b in zip(sizes, apart, strict=True)]
    return [max((a + n + b - (d * (k - 1) + 1)) // s + 1, 0)
            for a, n, b, k, s, d in zip(low, extents, high, taps, strides, dilations, strict=True)]


def _convolved(x: Array, w: Array, groups: int, fields: dict[str, tuple[int, ...]]) -> Array:
    inner, outer = w.shape[-2], w.shape[-1] // groups
    result = np.zeros((x.shape[0], *_positions(fields, x.shape[1:-1], w.shape[:-2]), w.shape[-1]), x.dtype)
    for position, tap, element in _meetings(fields, x.shape[1:-1], w.shape[:-2]):
        for g in range(groups):
            mine = slice(g * outer, (g + 1) * outer)
            result[(slice(None), *position, mine)] += x[(slice(None), *element, slice(g * inner, (g + 1) * inner))] @ w[tap][:, mine]
    return result


def _filtered(x: Array, y: Array, sizes: Sequence[int], groups: int, fields: dict[str, tuple[int, ...]]) -> Array:
    inner, outer = x.shape[-1] // groups, y.shape[-1] // groups
    result = np.zeros((*sizes, inner, y.shape[-1]), x.dtype)
    for position, tap, element in _meetings(fields, x.shape[1:-1], sizes):
        for g in range(groups):
            mine = slice(g * outer, (g + 1) * outer)
            result[tap][:, mine] += x[(slice(None), *element, slice(g * inner, (g + 1) * inner))].T @ y[(slice(None), *position, mine)]
    return result


def convolution_cases() -> Iterator[Case]:
    others = itertools.cycle((dtypes.bfloat16, dtypes.float16, dtypes.int32))  # one of them a sample
    for (x, w, groups, fields), other in zip(_CONVOLUTIONS, others, strict=False):
        label = f"{'x'.join(map(str, x))}-{'x'.join(map(str, w))}-{groups}-{fields}".replace(" ", "")
        counts = _positions(fields, x[1:-1], w[:-2])
        y = (x[0], *counts, w[-1])
        small = np.prod(x) + np.prod(w) < 80
        for dtype in (F64, F32, other):
            yield Case(
                f"convolution-{label}-{dtype.code}",
                "convolution",
                lambda x, w, g=groups, f=fields: p.convolution(x, w, feature_group_count=g, **f),
                (t(dtype, *x), t(dtype, *w)),
                lambda x, w, g=groups, f=fields: _convolved(x, w, g, f),
                _ANY,
                depth=int(np.prod(w[:-1])),
                scale=4.0,
                smooth=dtype is F64 and small,
            )
            yield Case(
                f"convolution_filter-{label}-{dtype.code}",
                "convolution_filter",
                lambda x, y, k=w[:-2], g=groups, f=fields: p.convolution_filter(x, y, k, feature_group_count=g, **f),
                (t(dtype, *x), t(dtype, *y)),
                lambda x, y, k=w[:-2], g=groups, f=fields: _filtered(x, y, k, g, f),
                _ANY,
                depth=int(np.prod(y[:-1])),
                scale=4.0,
                smooth=dtype is F64 and small,
            )


CASES: list[Case] = [*windows_cases(), *convolution_cases()]
