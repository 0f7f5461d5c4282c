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
    ((1, 9, 9, 19), 1, (3, 3), {"low": (1, 1), "high": (1, 1)}),
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
    for shape, axis, sizes, fields in _WINDOWS:
        for dtype in (F64, F32, dtypes.bfloat16, dtypes.int8, dtypes.bool):
            yield Case(
                f"windows-{'x'.join(map(str, shape))}-{sizes}-{fields}-{dtype.code}".replace(" ", ""),
                "windows",
                lambda x, v, a=axis, k=sizes, f=fields: p.windows(x, v, a, k, **f),
                (t(dtype, *shape), t(dtype)),
                lambda x, v, a=axis, k=sizes, f=fields: _windows(x, v, a, k, **f),
                _ANY,
                smooth=dtype is F64 and np.prod(shape) < 150 and shape != (4, 3),
            )




CASES: list[Case] = [*windows_cases()]
