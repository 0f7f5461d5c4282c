"""The gradient of a choice brings nothing back from the arm not taken: no NaN from log(0), sqrt(0), x / 0, 0 ** -1, e^1000."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.masks import mask_of
from graphc.core.specialise import specialise
from graphc.core.types import TensorType

# function of the arm that is taken where x > 0, its derivative there
ARMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "log": (gc.log, lambda x: 1 / x),
    "sqrt": (gc.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "rsqrt": (gc.rsqrt, lambda x: -0.5 * x ** -1.5),
    "reciprocal": (lambda x: 1.0 / x, lambda x: -1 / x ** 2),
    "power": (lambda x: x ** -0.5, lambda x: -0.5 * x ** -1.5),
    "x log x": (lambda x: x * gc.log(x), lambda x: np.log(x) + 1),
    "log of sqrt": (lambda x: gc.log(gc.sqrt(x)), lambda x: 0.5 / x),
    "acosh": (lambda x: gc.acosh(x + 1.0), lambda x: 1 / np.sqrt((x + 1) ** 2 - 1)),
    "softplus of log": (lambda x: gc.nn.softplus(gc.log(x)), lambda x: 1 / (1 + x)),
    "sum": (lambda x: gc.log(x) + gc.sqrt(x), lambda x: 1 / x + 0.5 / np.sqrt(x)),
    "after a reshape": (lambda x: gc.reshape(gc.transpose(gc.expand_dims(gc.log(x), 1)), [-1]), lambda x: 1 / x),
    "cast": (lambda x: gc.cast(gc.log(gc.cast(x, gc.float64)), gc.float32), lambda x: 1 / x),
}
AT = np.array([0.25, 0.0, 2.0, -1.0, np.inf, 3.0], np.float32)
TAKEN = (AT > 0) & np.isfinite(AT)


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("known", [True, False])
def test_nothing_comes_back_from_the_arm_not_taken(name: str, known: bool) -> None:
    function, slope = ARMS[name]
    x = gc.placeholder(gc.float32, [6] if known else [None])
    taken = gc.logical_and(x > 0.0, gc.is_finite(x))
    first = gc.gradients(gc.where(taken, function(x), 5.0 * x), x)[0]
    second = gc.gradients(gc.where(gc.logical_not(taken), 5.0 * x, function(x)), x)[0]
    with gc.Session() as session:
        found = session.run([first, second], {x: AT})
    with np.errstate(all="ignore"):
        expected = np.where(TAKEN, slope(AT), 5.0)
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-5)


def test_through_repetition_and_sums() -> None:
    """A scalar in the arm not taken, and a row summed in it."""
    s = gc.placeholder(gc.float32, [])
    rows = gc.placeholder(gc.float32, [2, 3])
    chosen = gc.where(gc.fill([3], False), gc.fill([3], 1.0) * gc.log(s), gc.fill([3], 2.0) * s)
    taken = gc.reduce_min(rows, 1) > 0.0
    summed = gc.where(taken, gc.reduce_sum(gc.log(rows), 1), gc.zeros([2]))
    with gc.Session() as session:
        by_scalar, by_rows = session.run(gc.gradients(chosen, s) + gc.gradients(summed, rows), {s: 0.0, rows: [[1, 2, 4], [0, 1, 2]]})
    assert by_scalar == 6.0
    np.testing.assert_allclose(by_rows, [[1, 0.5, 0.25], [0, 0, 0]])


def test_second_derivatives_are_guarded_too() -> None:
    x = gc.placeholder(gc.float64, [None])
    (slope,) = gc.gradients(gc.where(x > 0.0, gc.log(x), x), x)
    (curvature,) = gc.gradients(slope, x)
    with gc.Session() as session:
        np.testing.assert_allclose(session.run(curvature, {x: [0.5, 0.0, -1.0, 2.0]}), [-4, 0, 0, -0.25])


def test_a_true_nan_is_not_hidden() -> None:
    """What depends on values alone is no mask: the logarithm of 0 has no slope, though what comes back to it happens to be 0."""
    x = gc.placeholder(gc.float32, [2])
    (slope,) = gc.gradients(gc.exp(gc.log(x)), x)
    (taken,) = gc.gradients(gc.where(x >= 0.0, gc.log(x), x), x)
    with gc.Session() as session:
        found, infinite = session.run([slope, taken], {x: [4.0, 0.0]})
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert infinite.tolist() == [0.25, np.inf]


def test_flat_functions_are_no_choices() -> None:
    """The gradient of relu marks no mask: nothing is computed for a guard that nothing needs."""
    x = gc.placeholder(gc.float32, [4])
    (slope,) = gc.gradients(gc.nn.relu(gc.exp(x)) + gc.maximum(gc.exp(x), 1.0), x)
    program = specialise([slope], {x: TensorType(gc.float32, (4,))})
    assert all(mask_of(node) is None for node in program.nodes if node.dtype is gc.float32)


# function, what it sends back at 0 for a cotangent of 1, as TensorFlow 1.15 does
EMPTY_HANDED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sqrt": (gc.sqrt, np.inf), "rsqrt": (gc.rsqrt, -np.inf), "reciprocal": (gc.reciprocal, -np.inf),
    "relu of sqrt": (lambda x: gc.nn.relu(gc.sqrt(x) - 1.0), 0), "square of sqrt": (lambda x: gc.square(gc.sqrt(x)), 0),
    "norm": (gc.norm, np.nan), "complex": (lambda x: gc.real(gc.sqrt(gc.complex(x, gc.zeros_like(x)))), np.nan),  # TensorFlow's is infinite
}


@pytest.mark.parametrize("name", EMPTY_HANDED)
def test_roots_and_reciprocals_send_back_nothing_for_nothing(name: str) -> None:
    function, whole = EMPTY_HANDED[name]
    x, along = gc.placeholder(gc.float64, [1]), gc.placeholder(gc.float64, [])
    y = function(x)
    (slope,) = gc.gradients(y, x, gc.fill(gc.shape(y), along))
    with gc.Session() as session:
        np.testing.assert_array_equal([session.run(slope, {x: [0.0], along: g})[0] for g in (0.0, 1.0)], [0, whole])


def test_a_slope_of_the_slope_where_nothing_came_back() -> None:
    """The gradient is linear in what comes back, so its own slope by that is the function's, also where that was 0."""
    x, g = gc.placeholder(gc.float64, [2]), gc.placeholder(gc.float64, [2])
    (slope,) = gc.gradients(gc.sqrt(x), x, g)
    with gc.Session() as session:
        np.testing.assert_allclose(session.run(gc.gradients(slope, g), {x: [4.0, 9.0], g: [0.0, 0.0]}), [[0.25, 0.5 / 3]])
