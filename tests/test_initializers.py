"""Initializers: their operations and scales as TensorFlow 1.15.5 gives them (recorded literals), and the distributions they draw from."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphc import initializers
from graphc.core import dtypes
from graphc.core.graph import get_default_graph
from graphc.core.interpret import interpret
from graphc.core.operation import Tensor
from graphc.core.specialise import specialise
from graphc.variable_scope import get_variable

GLOROT = ["random_uniform/shape", "random_uniform/min", "random_uniform/max", "random_uniform/RandomUniform", "random_uniform/sub",
          "random_uniform/mul", "random_uniform"]


def names() -> list[str]:
    return [operation.name for operation in get_default_graph().get_operations()]


def variable_ops(name: str, initial: list[str]) -> list[str]:
    """The operations of one variable, in TF1's order."""
    return [*(f"{name}/{each}" for each in initial), name, f"{name}/Assign", f"{name}/read"]


@pytest.mark.parametrize(("initializer", "operations_made"), [
    (initializers.zeros_initializer(), ["zeros"]),
    (initializers.ones_initializer(), ["ones"]),
    (initializers.constant_initializer(3.0), ["Const"]),
    (initializers.random_uniform_initializer(), GLOROT),
    (initializers.random_normal_initializer(), ["random_normal/shape", "random_normal/mean", "random_normal/stddev",
                                                "random_normal/RandomStandardNormal", "random_normal/mul", "random_normal"]),
    (initializers.truncated_normal_initializer(), ["truncated_normal/shape", "truncated_normal/mean", "truncated_normal/stddev",
                                                   "truncated_normal/TruncatedNormal", "truncated_normal/mul", "truncated_normal"]),
    (initializers.glorot_uniform_initializer(), GLOROT),
    (initializers.he_uniform(), GLOROT),
    (initializers.lecun_uniform(), GLOROT),
])
def test_initializers_make_tf1s_operations(initializer: Any, operations_made: list[str]) -> None:
    get_variable("w", [2, 2], initializer=initializer)
    assert names() == variable_ops("w", [f"Initializer/{each}" for each in operations_made])


@pytest.mark.parametrize("name", ["zeros", "ones", "constant", "random_uniform", "random_normal", "truncated_normal", "variance_scaling",
                                  "glorot_uniform", "glorot_normal"])
def test_both_of_tf1s_names(name: str) -> None:
    assert getattr(initializers, name) is getattr(initializers, f"{name}_initializer")


def scale_of(tensor: Tensor) -> float:
    """The standard deviation (normal) or the lower limit (uniform) that an initializer asks for, read off its operations."""
    constants = {o.name.rsplit("/", 1)[-1]: o.get_attr("value") for o in tensor.graph.get_operations() if o.type == "Const"}
    return float(constants["stddev"] if "stddev" in constants else constants["min"])


@pytest.mark.parametrize(("initializer", "shape", "expected"), [
    # Recorded from TensorFlow 1.15.5.
    (initializers.variance_scaling_initializer(), [3, 3, 4, 5], 0.18947453796863556),
    (initializers.variance_scaling_initializer(2.0, "fan_avg", "uniform"), [5], -1.095445156097412),
    (initializers.glorot_normal_initializer(), [], 1.1368472576141357),
    # From the papers' formulas.
    (initializers.he_uniform(), [8, 5], -math.sqrt(6 / 8)),
    (initializers.he_normal(), [8, 5], math.sqrt(2 / 8) / 0.8796256610342398),
    (initializers.lecun_uniform(), [8, 5], -math.sqrt(3 / 8)),
    (initializers.lecun_normal(), [8, 5], math.sqrt(1 / 8) / 0.8796256610342398),
    (initializers.glorot_uniform_initializer(), [5, 5, 2, 3], -math.sqrt(6 / (25 * 2 + 25 * 3))),
    (initializers.variance_scaling_initializer(mode="fan_out", distribution="untruncated_normal"), [8, 5], math.sqrt(1 / 5)),
])
def test_variance_scaling(initializer: Any, shape: list[int], expected: float) -> None:
    assert scale_of(initializer(shape)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "expected"), [
    ([3, 3, 4, 5], math.sqrt(3 / 36)), ([5], math.sqrt(3)), ([], math.sqrt(3)), ([0, 2], math.sqrt(3))])
def test_uniform_unit_scaling(shape: list[int], expected: float) -> None:
    assert scale_of(initializers.uniform_unit_scaling(1.5)(shape)) == pytest.approx(-1.5 * expected, rel=1e-6)


@pytest.mark.parametrize(("shape", "rows"), [([7, 3], 7), ([3, 7], 3), ([3, 3, 2, 4], 18), ([1, 1], 1)])
def test_orthogonal(shape: list[int], rows: int) -> None:
    """The shorter of rows and columns are orthonormal, and the seed decides the draw."""
    matrix = drawn(initializers.orthogonal(gain=2.0, seed=1), shape).reshape(rows, -1)
    product = matrix @ matrix.T if rows < matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    np.testing.assert_array_equal(matrix, drawn(initializers.orthogonal_initializer(2.0, 1), shape).reshape(rows, -1))
    with pytest.raises(ValueError, match="must be at least two-dimensional"):
        initializers.orthogonal()([3])


def test_identity() -> None:
    np.testing.assert_array_equal(drawn(initializers.identity(3.0), [2, 4]), 3 * np.eye(2, 4))
    with pytest.raises(ValueError, match="can only be used for 2D matrices"):
        initializers.identity()([3])


def test_truncation_constant() -> None:
    """The standard deviation of a unit normal cut at +-2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))."""
    density = math.exp(-2.0) / math.sqrt(2 * math.pi)
    inside = math.erf(2 / math.sqrt(2))
    assert pytest.approx(math.sqrt(1 - 4 * density / inside), rel=1e-12) == initializers.TRUNCATED_STDDEV


def test_constant_initializer_fills() -> None:
    fill = initializers.constant_initializer([1, 2, 3])
    np.testing.assert_array_equal(fill([2, 2]).op.get_attr("value"), [[1, 2], [3, 3]])
    assert fill([3], "int64").dtype is dtypes.int64
    with pytest.raises(TypeError, match="Invalid type for initial value: <class 'object'>"):
        initializers.constant_initializer(object())


def test_configurations_make_equal_initializers() -> None:
    assert initializers.zeros_initializer().get_config() == {"dtype": "float32"}
    assert initializers.glorot_uniform_initializer().get_config() == {"seed": None, "dtype": "float32"}
    assert initializers.random_normal_initializer(seed=3).get_config() == {"mean": 0.0, "stddev": 1.0, "seed": 3, "dtype": "float32"}
    for each in (initializers.he_normal(3), initializers.constant_initializer(2), initializers.glorot_normal_initializer(5, "float64")):
        again = type(each).from_config(each.get_config())
        assert vars(again) == vars(each)


@pytest.mark.parametrize(("settings", "message"), [
    ({"scale": -1}, "`scale` must be positive float."), ({"mode": "x"}, "Invalid `mode` argument:"),
    ({"distribution": "x"}, "Invalid `distribution` argument:")])
def test_bad_variance_scaling(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initializers.variance_scaling_initializer(**settings)


def drawn(initializer: Any, shape: list[int], dtype: str = "float32") -> np.ndarray[Any, Any]:
    """What an initializer gives in one run of the reference interpreter."""
    program = specialise([initializer(shape, dtype)], {})
    counters = {name: np.zeros((), np.uint64) for name in program.variables}
    outputs, _ = interpret(program, [], counters)
    return np.asarray(outputs[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype: str) -> None:
    """200,000 draws: the sample mean is within 5 standard errors, the sample deviation within 1%."""
    shape = [500, 400]
    count = 200_000
    limit, narrow = math.sqrt(6 / 900), math.sqrt(2 / 500)
    for initializer, mean, deviation, largest in (
            (initializers.random_uniform_initializer(2, 4, seed=1), 3.0, 2 / math.sqrt(12), 4.0),
            (initializers.random_normal_initializer(1.0, 2.0, seed=2), 1.0, 2.0, math.inf),
            (initializers.truncated_normal_initializer(0.0, 3.0, seed=3), 0.0, 3 * initializers.TRUNCATED_STDDEV, 6.0),
            (initializers.glorot_uniform_initializer(seed=4), 0.0, limit / math.sqrt(3), limit),
            (initializers.he_normal(seed=5), 0.0, narrow, 2 * narrow / initializers.TRUNCATED_STDDEV)):
        values = drawn(initializer, shape, dtype)
        assert (values.dtype, values.shape) == (np.dtype(dtype), tuple(shape))
        assert abs(values.mean() - mean) < 5 * deviation / math.sqrt(count)
        assert values.std() == pytest.approx(deviation, rel=0.01)
        assert np.abs(values).max() <= largest * 1.000001


def test_seeds_decide_the_draws() -> None:
    first, again, other = (drawn(initializers.glorot_uniform_initializer(seed), [50, 3]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.05


def test_integers() -> None:
    values = drawn(initializers.random_uniform_initializer(-2, 3), [1000], "int32")
    assert sorted(set(values.tolist())) == [-2, -1, 0, 1, 2]
