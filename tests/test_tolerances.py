"""The yardstick itself: what `assert_close` lets pass and what it catches."""
from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.tolerances import assert_close


def test_rounding_passes_and_more_fails() -> None:
    x = np.linspace(-3, 3, 101)
    assert_close(np.exp(x).astype(np.float32), np.exp(x))
    with pytest.raises(AssertionError, match=r"expected .* times the bound"):
        assert_close((np.exp(x) * (1 + 1e-5)).astype(np.float32), np.exp(x))
    assert_close((np.exp(x) * (1 + 1e-5)).astype(np.float32), np.exp(x), depth=100)
    assert_close(np.exp(x).astype(ml_dtypes.bfloat16), np.exp(x))


def test_scale_zero_is_purely_relative() -> None:
    assert_close(np.array([1e-9], np.float32), np.array([0.0]))
    with pytest.raises(AssertionError):
        assert_close(np.array([1.1e-20], np.float32), np.array([1e-20]), scale=0)


@pytest.mark.parametrize(
    ("actual", "expected"), [(np.nan, 1), (1, np.nan), (np.inf, -np.inf), (1e30, np.inf), (np.inf, 1), (np.inf, np.nan)]
)
def test_special_values_must_match(actual: float, expected: float) -> None:
    with pytest.raises(AssertionError):
        assert_close(np.array([actual], np.float32), np.array([expected]))
    assert_close(np.array([expected], np.float32), np.array([expected]))


def test_overflow_of_a_narrow_type() -> None:
    assert_close(np.array([np.inf], np.float16), np.array([1e6]))
    with pytest.raises(AssertionError):
        assert_close(np.array([-np.inf], np.float16), np.array([1e6]))
    with pytest.raises(AssertionError):
        assert_close(np.array([12.0], np.float16), np.array([1e6]))


def test_integers_shapes_and_types_are_exact() -> None:
    assert_close(np.array([3, 4]), np.array([3, 4]), np.int64)
    with pytest.raises(AssertionError):
        assert_close(np.array([3, 4]), np.array([3, 5]), np.int64)
    with pytest.raises(AssertionError, match="dtype"):
        assert_close(np.array([3, 4]), np.array([3, 4]), np.int32)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.zeros((2, 1)), np.zeros((1, 2)))
