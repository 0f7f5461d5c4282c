"""Do two variants of one computation agree? As far as rounding lets them: `graphc.benchmark` asks before it reads a clock.

Bounds are parts of the largest value of an array: reordered sums and replaced formulas are off by what the terms were, not by what is left
of them. Integers, bools, NaN and infinities must be equal.
"""
from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BOUNDS = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}
IN_WORDS = "1e-4 of the largest value in float32 (1e-9 in float64, 2e-2 in float16)"


def disagreement(expected: Array, found: Array, bound: float | None = None) -> str:
    """What differs, in words; "" where nothing does that rounding may not change. bound: None for that of the type in BOUNDS."""
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return f"expected {expected.dtype}{list(expected.shape)}, got {found.dtype}{list(found.shape)}"
    if expected.dtype.name not in BOUNDS:
        wrong = np.asarray(expected != found)
    else:
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        left, right = expected.astype(wide), found.astype(wide)
        largest = float(np.abs(left[np.isfinite(left)]).max(initial=0.0))
        near = (BOUNDS[expected.dtype.name] if bound is None else bound) * largest
        with np.errstate(invalid="ignore"):
            wrong = np.asarray(~((np.abs(left - right) <= near) | (left == right) | (np.isnan(left) & np.isnan(right))))
    if not wrong.any():
        return ""
    place = tuple(int(position) for position in np.argwhere(wrong)[0])
    return f"at {list(place)} expected {expected[place]}, got {found[place]} ({int(wrong.sum())} of {wrong.size} elements differ)"
