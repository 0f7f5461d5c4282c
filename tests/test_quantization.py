"""Fake quantization: gradients go straight through inside the range and to the bounds outside; what is refused."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc

AT = np.array([[-9.0, 0.26, 3.5], [7.0, 7.1, -8.0], [100.0, -8.01, 1.0]], np.float32)
WEIGHTS = np.arange(1, 10, dtype=np.float32).reshape(3, 3)


def test_gradients_of_a_known_range() -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    (slope,) = gc.gradients(gc.fake_quant_with_min_max_args(x, -8.0, 7.0, 4), x, gc.constant(WEIGHTS))
    with gc.Session() as session:
        np.testing.assert_array_equal(session.run(slope, {x: AT}), np.where((AT >= -8) & (AT <= 7), WEIGHTS, 0))


@pytest.mark.parametrize("channels", [False, True])
def test_gradients_of_a_learnt_range(channels: bool) -> None:
    function = gc.fake_quant_with_min_max_vars_per_channel if channels else gc.fake_quant_with_min_max_vars
    x = gc.placeholder(gc.float32, [None, 3])
    bounds = [gc.constant(np.full(3 if channels else (), bound, np.float32)) for bound in (-8.0, 7.0)]
    slopes = gc.gradients(function(x, *bounds, num_bits=4), [x, *bounds], gc.constant(WEIGHTS))
    axes = 0 if channels else None
    with gc.Session() as session:
        by_x, by_low, by_high = session.run(slopes, {x: AT})
    np.testing.assert_array_equal(by_x, np.where((AT >= -8) & (AT <= 7), WEIGHTS, 0))
    np.testing.assert_array_equal(by_low, np.sum(np.where(AT < -8, WEIGHTS, 0), axes))
    np.testing.assert_array_equal(by_high, np.sum(np.where(AT > 7, WEIGHTS, 0), axes))


def test_the_gradient_functions_are_linear_in_the_gradient() -> None:
    g, x = gc.placeholder(gc.float32, [3, 3]), gc.placeholder(gc.float32, [3, 3])
    made = [gc.fake_quant_with_min_max_args_gradient(g, x, -8.0, 7.0, 4),
            gc.fake_quant_with_min_max_vars_gradient(g, x, -8.0, 7.0, 4)[0],
            gc.fake_quant_with_min_max_vars_per_channel_gradient(g, x, [-8.0] * 3, [7.0] * 3, 4)[0]]
    slopes = [gc.gradients(each, g)[0] for each in made]
    with gc.Session() as session:
        for each in session.run(slopes, {g: WEIGHTS, x: AT}):
            np.testing.assert_array_equal(each, (AT >= -8) & (AT <= 7))


def test_zero_is_always_one_of_the_numbers() -> None:
    x = gc.constant(np.zeros(3, np.float32))
    with gc.Session() as session:
        for low, high in ((-1.3, 2.7), (0.1, 1.0), (-6.0, 6.0), (-3.0, -0.5)):
            np.testing.assert_allclose(session.run(gc.fake_quant_with_min_max_vars(x, low, high)), 0, atol=1e-6)


@pytest.mark.parametrize(("build", "kind", "words"), [
    (lambda x: gc.fake_quant_with_min_max_args(x, 1.0, 1.0), ValueError, r"min has to be smaller than max, was: 1.0 >= 1.0"),
    (lambda x: gc.fake_quant_with_min_max_args(x, num_bits=17), ValueError, "num_bits must be between 2 and 16, inclusive: 17"),
    (lambda x: gc.fake_quant_with_min_max_args(gc.cast(x, gc.float64)), TypeError, "takes float32, not float64"),
    (lambda x: gc.fake_quant_with_min_max_vars(x, [1.0], 2.0), ValueError, "Shape must be rank 0 but is rank 1"),
    (lambda x: gc.fake_quant_with_min_max_vars_per_channel(x, 1.0, 2.0), ValueError, "Shape must be rank 1 but is rank 0"),
    (lambda x: gc.fake_quant_with_min_max_vars_per_channel(x, [1.0], [2.0]), ValueError, "Dimensions must be equal, but are 1 and 3"),
])
def test_refused(build: Callable[[gc.Tensor], gc.Tensor], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        build(gc.placeholder(gc.float32, [2, 3]))
