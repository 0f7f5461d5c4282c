"""Random operations: their distributions, their seeds, and that runs and operations differ."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.ops.declare import declare_one
from graphc.ops.random import IMPLICIT_GAMMA

Array = np.ndarray[Any, Any]
Build = Callable[[], gc.Tensor]


def _draw(build: Build, run_number: int = 0) -> Array:
    tensor = build()
    counters = {f"{o.name}/counter": np.uint64(run_number) for o in gc.get_default_graph().get_operations()}
    return interpret(specialise([tensor], {}), [], counters)[0][0]


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32, gc.float16, gc.bfloat16])
def test_distributions(dtype: Any) -> None:
    count = 40_000
    uniform = _draw(lambda: gc.random_uniform([count], dtype=dtype, seed=1)).astype(np.float64)
    normal = _draw(lambda: gc.random_normal([count], dtype=dtype, seed=2)).astype(np.float64)
    truncated = _draw(lambda: gc.truncated_normal([count], dtype=dtype, seed=3)).astype(np.float64)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert np.abs(truncated).max() <= 2
    if dtype in (gc.float64, gc.float32):
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
        assert stats.kstest(normal, "norm").pvalue > 1e-3
        assert stats.kstest(truncated, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
    for sample, deviation in ((uniform, np.sqrt(1 / 12)), (normal, 1.0), (truncated, stats.truncnorm(-2, 2).std())):
        assert sample.std() == pytest.approx(deviation, rel=0.02)


def test_random_integers_cover_their_range() -> None:
    got = _draw(lambda: gc.random_uniform([6000], -2, 4, dtype=gc.int32, seed=1))
    values, counts = np.unique(got, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_runs_and_operations_differ_and_seeds_repeat() -> None:
    gc.set_random_seed(5)
    first, second = (_draw(lambda: gc.random_normal([8])) for _ in range(2))
    assert not np.array_equal(first, second)
    gc.reset_default_graph()
    gc.set_random_seed(5)
    again = _draw(lambda: gc.random_normal([8]))
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(_draw(lambda: gc.random_normal([8], seed=9)), _draw(lambda: gc.random_normal([8], seed=9), run_number=1))


def test_without_seeds_nothing_repeats() -> None:
    tensors = [gc.random_normal([8]) for _ in range(2)]
    drawn = []
    for _ in range(2):
        with gc.Session() as session:
            drawn += [*session.run(tensors), *session.run(tensors)]
    assert len({each.tobytes() for each in drawn}) == 8


def test_with_seeds_a_session_repeats() -> None:
    tensors = [gc.random_normal([8], seed=4), gc.random_uniform([8], seed=5)]
    drawn = []
    for _ in range(2):
        with gc.Session() as session:
            drawn.append(np.stack([*session.run(tensors), *session.run(tensors)]))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0][0], drawn[0][2])


def test_seed_attributes_are_tf1s() -> None:
    def seeds(seed: int | None) -> tuple[int, int]:
        gc.random_uniform([2], seed=seed)
        found = next(o for o in reversed(gc.get_default_graph().get_operations()) if o.type == "RandomUniform")
        return found.get_attr("seed"), found.get_attr("seed2")

    assert seeds(None) == (0, 0)
    assert seeds(7) == (87654321, 7)
    gc.set_random_seed(3)
    assert seeds(7) == (3, 7)


@pytest.mark.parametrize("shape", [(40, 30), (None, 30), None])
def test_dropout_of_whole_rows(shape: Any) -> None:
    """Where noise_shape is 1 an axis is kept or dropped together; None stands for the size of x."""
    x = gc.placeholder(gc.float32, shape)
    rate = gc.Variable(0.5)
    results = [gc.nn.dropout(x, noise_shape=[40, 1], rate=rate, seed=1), gc.layers.dropout(x, 0.5, [None, 1], seed=2, training=True)]
    results.append(gc.nn.dropout(x, 0.5, noise_shape=gc.stack([1, gc.shape(x)[1]]), seed=3))
    with gc.Session() as session:
        session.run(rate.initializer)
        rows, others, columns = session.run(results, {x: np.ones((40, 30), np.float32)})
    for found in (rows, others, columns.T):
        assert np.all(found == found[:, :1])
        assert set(found[:, 0]) == {0.0, 2.0}


def test_dropout() -> None:
    x = np.ones((100, 100), np.float32)
    kept = _draw(lambda: gc.nn.dropout(gc.constant(x), rate=0.25, seed=1))
    assert set(np.unique(kept)) == {0.0, np.float32(1 / 0.75)}
    assert kept.mean() == pytest.approx(1, abs=0.03)
    tensor = gc.constant(x)
    assert gc.nn.dropout(tensor, rate=0.0) is tensor


# Rejection, categories, seeds that are tensors --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [gc.float64, gc.float32])
def test_gamma_distribution(dtype: Any) -> None:
    alphas = [0.1, 0.5, 1.0, 3.0, 400.0]
    numbers = _draw(lambda: gc.random_gamma([20_000], alphas, 2.0, dtype, seed=1))
    assert numbers.shape == (20_000, 5)
    for column, alpha in zip(numbers.T, alphas, strict=True):
        assert stats.kstest(column.astype(np.float64), stats.gamma(alpha, scale=0.5).cdf).pvalue > 1e-3


def test_poisson_distribution() -> None:
    rates = [0.01, 0.7, 9.99, 10.0, 40.0]
    numbers = _draw(lambda: gc.random_poisson([0.0, -1.0, np.nan, *rates], [20_000], gc.float64, seed=2))
    assert not numbers[:, 0].any()
    assert np.isnan(numbers[:, 1:3]).all()
    for column, rate in zip(numbers[:, 3:].T, rates, strict=True):
        found = np.bincount(column.astype(int))
        expected = stats.poisson(rate).pmf(np.arange(len(found))) * len(column)
        usual = expected > 10
        pairs = [np.append(each[usual], len(column) - each[usual].sum()) for each in (found, expected)]
        assert stats.chisquare(*pairs).pvalue > 1e-3


def test_categories_have_the_probabilities_of_a_softmax() -> None:
    chances = np.array([[1, 2, 3, 4, 0], [5, 0.1, 0.1, 0.1, 1]])
    with np.errstate(divide="ignore"):
        logits = np.log(chances)
    found = _draw(lambda: gc.multinomial(gc.constant(logits), 20_000, seed=3))
    assert found.dtype == np.int64
    for row, chance in zip(found, chances / chances.sum(1, keepdims=True), strict=True):
        counts = np.bincount(row, minlength=5)
        assert not counts[chance == 0].any()
        assert stats.chisquare(counts[chance > 0], 20_000 * chance[chance > 0]).pvalue > 1e-3


def test_stateless_numbers_are_a_function_of_the_seed() -> None:
    seed = gc.placeholder(gc.int32, [2])
    made = {"uniform": (gc.random.stateless_uniform([5000], seed), stats.uniform.cdf),
            "normal": (gc.random.stateless_normal([5000], seed, 1.0, 2.0, gc.float64), stats.norm(1, 2).cdf),
            "truncated": (gc.random.stateless_truncated_normal([5000], seed), stats.truncnorm(-2, 2).cdf)}
    with gc.Session() as session:
        for name, (tensor, distribution) in made.items():
            runs = [session.run(tensor, {seed: each}) for each in ([1, 2], [1, 2], [1, 3], [2, 2], [2, 1])]
            np.testing.assert_array_equal(runs[0], runs[1], err_msg=name)
            for n, other in enumerate(runs[2:]):
                assert abs(np.corrcoef(runs[0], other)[0, 1]) < 0.06, f"{name} {n}"
            assert stats.kstest(runs[0], distribution).pvalue > 1e-3
        whole = session.run(gc.random.stateless_uniform([5000], gc.cast(seed, gc.int64), -3, 9, gc.int32), {seed: [1, 2]})
    assert stats.chisquare(np.bincount(whole + 3)).pvalue > 1e-3
    with pytest.raises(ValueError, match="seed must be a vector of two integers"):
        gc.random.stateless_uniform([2], [1, 2, 3])


def test_gamma_numbers_move_with_their_parameters() -> None:
    """By alpha at a constant value of the distribution function, here by differences of scipy's; by beta as a scale."""
    alphas, beta = gc.constant([0.6, 2.0, 30.0], gc.float64), gc.constant(2.0, gc.float64)
    numbers = gc.random_gamma([50], alphas, beta, gc.float64, seed=4)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, (50, 3))
    by_alpha, by_beta = gc.gradients(numbers, [alphas, beta], gc.constant(weights))
    with gc.Session() as session:
        found, slope, scale_slope = session.run([numbers, by_alpha, by_beta])
    shape, step = np.array([0.6, 2.0, 30.0]), 1e-5
    level = stats.gamma.cdf(found * 2, shape)
    moved = (stats.gamma.ppf(level, shape + step) - stats.gamma.ppf(level, shape - step)) / (2 * step)
    np.testing.assert_allclose(slope, np.sum(weights * moved / 2, 0), rtol=1e-4)
    np.testing.assert_allclose(scale_slope, np.sum(-weights * found / 2), rtol=1e-9)


def test_gamma_slopes_far_out() -> None:
    """The answers of TensorFlow 1.15's RandomGammaGrad, where a number is 0 too, and where its density is near nothing."""
    sample, alpha = gc.placeholder(gc.float32, [6]), gc.placeholder(gc.float32, [6])
    (slope,) = gc.gradients(declare_one(IMPLICIT_GAMMA, {"sample": sample, "alpha": alpha}), alpha)
    feeds = {sample: [0.0, 1.2e-38, 1e-30, 0.0, 30.0, 0.1], alpha: [1e-3, 1e-3, 1e-2, 0.5, 1.0, 5.0]}
    with gc.Session() as session:
        found = session.run(slope, feeds)
    np.testing.assert_allclose(found, [0, 1.0408840e-33, 6.8516676e-27, 0, 4.0107031, 8.1586674e-02], rtol=1e-4)
