"""How close is close enough: the one place where the tests' tolerances are stated, by element type.

A floating result is compared with an independent expectation, usually numpy's in float64. The bound on one element's error is

    RELATIVE[dtype] * sqrt(depth) * max(|expected|, scale)

`depth` is the number of terms summed into an element: rounding errors of a sum of n terms grow like sqrt(n) where their signs are
independent (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 2.8), and the partial sums of vector lanes only
make that better. `scale` is the magnitude of the values that went in: where terms cancel, errors are relative to them, not to what is
left. NaN must stand where NaN is expected, and infinities with their sign; integers and bools must be equal.
"""
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from graphc.core import dtypes
from graphc.core.dtypes import DType

RELATIVE: dict[DType, float] = {
    dtypes.float64: 1e-12,
    dtypes.float32: 2e-6,
    dtypes.float16: 2e-3,
    dtypes.bfloat16: 2e-2,
}
# Against TensorFlow's own answers (tests/test_judge.py), which have errors too; relative to the largest of an array.
JUDGED = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-5, "complex64": 1e-5, "float16": 4e-3, "bfloat16": 4e-2}
GRADIENT_RELATIVE = 1e-5  # of a float64 gradient against central differences, whose own error is about 1e-10 / step + step**2


def tolerance(dtype: DType, depth: int = 1) -> float:
    """The relative error allowed in a sum of `depth` terms; 0 for integers and bool."""
    return RELATIVE.get(dtype, 0.0) * max(depth, 1) ** 0.5


def assert_close(actual: ArrayLike, expected: ArrayLike, dtype: Any = None, depth: int = 1, scale: float = 1.0) -> None:
    """Fails unless `actual` has the shape of `expected` and the type `dtype` (that of `actual` by default) and stays within the bound.

    Where the type cannot hold `expected` (1e6 in float16, say), an infinity or the largest finite value may stand for it.
    """
    got, want = np.asarray(actual), np.asarray(expected)
    kind = dtypes.as_dtype(got.dtype if dtype is None else dtype)
    assert got.dtype == kind.np_dtype, f"dtype {got.dtype}, expected {kind.name}"
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if kind.is_complex:
        _assert_complex(got, want.astype(np.complex128), tolerance(kind.real_dtype, depth), scale)
        return
    if not kind.is_floating:
        np.testing.assert_array_equal(got, want)
        return
    got64, want64 = got.astype(np.float64), want.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(got64), np.isnan(want64), err_msg="NaN stands at other places")
    largest = float(ml_dtypes.finfo(kind.np_dtype).max)
    overflows = np.abs(want64) >= largest * (1 - tolerance(kind, depth))
    exact = np.isinf(want64) & ~np.isnan(want64)
    np.testing.assert_array_equal(got64[exact], want64[exact], err_msg="an infinity is missing or has the wrong sign")
    near = overflows & ~exact
    assert np.all(np.sign(got64[near]) == np.sign(want64[near]))
    assert np.all(np.abs(got64[near]) >= largest * (1 - 2 * tolerance(kind, depth))), "an overflow lost its size"
    plain = ~(overflows | np.isnan(want64))
    _assert_bounded(got64[plain], want64[plain], tolerance(kind, depth), scale, kind)


def _assert_complex(got: np.ndarray, want: np.ndarray, relative: float, scale: float) -> None:
    """Distances in the plane against absolute values; what is not finite must not be finite."""
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.isfinite(got), finite, err_msg="infinities and NaN stand at other places")
    error = np.abs(got.astype(np.complex128) - want)[finite]
    bound = relative * np.maximum(np.abs(want[finite]), scale)
    if (error > bound).any():
        worst = int(np.argmax(error / bound))
        raise AssertionError(f"{int((error > bound).sum())} of {got.size} elements are off; the worst is {got[finite][worst]!r}, expected "
                             f"{want[finite][worst]!r}: {error[worst] / bound[worst]:.3g} times the bound")


def _assert_bounded(got: np.ndarray, want: np.ndarray, relative: float, scale: float, kind: DType) -> None:
    error = np.abs(got - want)
    bound = relative * np.maximum(np.abs(want), scale) + float(ml_dtypes.finfo(kind.np_dtype).smallest_subnormal)
    bad = ~(error <= bound)
    if bad.any():
        worst = int(np.argmax(np.where(bad, error / bound, 0)))
        raise AssertionError(
            f"{int(bad.sum())} of {got.size} elements are off; the worst is {got[worst]!r}, expected {want[worst]!r}: "
            f"{error[worst] / bound[worst]:.3g} times the bound for {kind.name}"
        )
