"""Samples of composites: what checks, prints or guards values and hands them on. What happens where a check fails: tests/test_checks.py."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, name_of, sample
from tests.op_table import uniform

SHAPES = ((), (0,), (1,), (5, 3), (0, 3), (2, 33))
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)


def _rising(x: Array, strictly: bool) -> Array:
    flat = x.reshape(-1)
    return np.all(flat[1:] > flat[:-1] if strictly else flat[1:] >= flat[:-1])


def _handed_on() -> list[Case]:
    made = []
    for subject, build in (("check_numerics", lambda x: gc.check_numerics(x, "m")), ("guarantee_const", gc.guarantee_const),
                           ("placeholder_with_default", lambda x: gc.placeholder_with_default(x, x.shape)),
                           ("verify_tensor_all_finite", lambda x: gc.verify_tensor_all_finite(x, "m"))):
        for dtype in FLOATS:
            for shape in SHAPES if dtype is dtypes.float64 else SHAPES[-1:]:
                slopes = 0 if subject == "guarantee_const" or dtype is not dtypes.float64 else 2
                x = sample(f"{subject}{dtype}{shape}", uniform(-3, 3), dtype, *shape)
                made.append(Case(subject, name_of(dtype, shape), build, (x,), lambda x: x, slopes=slopes))
    return made


def _ordered() -> list[Case]:
    made = []
    rising = np.arange(40).reshape(5, 8)
    arrays = [rising, rising // 2, rising[::-1], rising[:1, :1], rising[:0], np.array(3), np.array([1, 1]), np.array([2, 1])]
    for subject, strictly in (("is_non_decreasing", False), ("is_strictly_increasing", True)):
        for number, array in enumerate(arrays):
            for dtype in (dtypes.float32, dtypes.int32, dtypes.uint8):
                x = np.asarray(array, dtype.np_dtype)
                made.append(Case(subject, f"{dtype.code}-{number}", getattr(gc, subject), (x,),
                                 lambda x, strictly=strictly: _rising(x, strictly)))
    return made


def _guarded() -> list[Case]:
    """Assertions that hold change nothing, whatever is known of the shapes."""
    def positive(x: gc.Tensor) -> gc.Tensor:
        with gc.control_dependencies([gc.assert_positive(x), gc.assert_less(x, 10.0), gc.assert_rank_in(x, [0, 1, 2])]):
            return gc.verify_tensor_all_finite(gc.log(x), "m")

    return [Case("verify_tensor_all_finite", f"guarded-{name_of(dtypes.float64, shape)}", positive,
                 (sample(f"guarded{shape}", uniform(0.5, 9), dtypes.float64, *shape),), np.log, slopes=2) for shape in SHAPES]


def families() -> dict[str, Sequence[Case]]:
    return {"handed on": _handed_on(), "ordered": _ordered(), "guarded": _guarded()}
