"""`distributions`: every function of each against scipy.stats; samples against their moments; gradients, divergences, errors."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

import graphc as gc
from tests.tolerances import GRADIENT_RELATIVE, assert_close

D = gc.distributions
Array = np.ndarray[Any, Any]
WIDTH = np.array([0.5, 1.0, 3.0])


@dataclass(frozen=True)
class Sample:
    """make: parameters -> distribution. parameters: float64. same: the distribution of scipy, broadcasting as ours. at: values."""

    make: Callable[..., Any]
    parameters: tuple[Array, ...]
    same: Callable[..., Any]
    at: Array


SAMPLES: dict[str, Sample] = {
    "Normal": Sample(D.Normal, (np.array([-1.0, 0.0, 2.0]), WIDTH), stats.norm, np.array([[-9.0, 0.5, 2.0], [0.3, -30.0, 8.0]])),
    "Uniform": Sample(D.Uniform, (np.array([-1.0, 0.0, 2.0]), np.array([0.0, 2.0, 7.0])), lambda a, b: stats.uniform(a, b - a),
                      np.array([[-0.5, 0.1, 3.0], [-0.9, 1.5, 6.5]])),
    "Laplace": Sample(D.Laplace, (np.array([-1.0, 0.0, 2.0]), WIDTH), stats.laplace, np.array([[-2.0, 0.5, 2.5], [0.3, -3.0, 30.0]])),
    "Exponential": Sample(D.Exponential, (WIDTH,), lambda r: stats.expon(scale=1 / r), np.array([[0.1, 1.0, 2.0], [3.0, 0.01, 0.4]])),
    "Gamma": Sample(D.Gamma, (np.array([0.5, 2.0, 9.0]), WIDTH), lambda c, r: stats.gamma(c, scale=1 / r),
                    np.array([[0.1, 1.0, 2.0], [3.0, 0.01, 4.0]])),
    "Beta": Sample(D.Beta, (np.array([0.5, 2.0, 9.0]), np.array([0.7, 3.0, 1.5])), stats.beta,
                   np.array([[0.1, 0.5, 0.9], [0.7, 0.01, 0.4]])),
    "StudentT": Sample(D.StudentT, (np.array([2.5, 4.0, 30.0]), np.array([-1.0, 0.0, 2.0]), WIDTH), stats.t,
                       np.array([[-2.0, 0.5, 2.5], [0.3, -3.0, 9.0]])),
    "Bernoulli": Sample(lambda q: D.Bernoulli(probs=q, dtype=gc.float64), (np.array([0.2, 0.5, 0.9]),), stats.bernoulli,
                        np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])),
}
CONTINUOUS = [name for name in SAMPLES if name != "Bernoulli"]


def run(fetches: Any, feeds: Any = None) -> Any:
    with gc.Session() as session:
        return session.run(fetches, feeds)


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", SAMPLES)
def test_functions(name: str, dtype: gc.DType) -> None:
    sample = SAMPLES[name]
    given = [x.astype(dtype.np_dtype) for x in sample.parameters]
    at = sample.at.astype(dtype.np_dtype)
    ours, same = sample.make(*(gc.constant(x) for x in given)), sample.same(*(x.astype(float) for x in given))
    wide = at.astype(float)
    wanted: dict[str, Array] = {
        "mean": same.mean(), "variance": same.var(), "stddev": same.std(), "entropy": same.entropy(), "cdf": same.cdf(wide),
        "log_prob": same.logpmf(wide) if name == "Bernoulli" else same.logpdf(wide), "survival_function": same.sf(wide),
        "log_cdf": same.logcdf(wide), "log_survival_function": same.logsf(wide)}
    if name in ("Normal", "Uniform", "Laplace", "Exponential"):
        wanted["quantile"] = same.ppf(levels := np.array([[0.001, 0.3, 0.5], [0.6, 0.97, 0.01]]).astype(dtype.np_dtype).astype(float))
    if name != "Normal":  # logarithms of what is near 1 have no more digits than 1 has: only the normal one keeps them
        wanted |= {f"log_{each}": np.log(wanted[each]) for each in ("cdf", "survival_function")}
    values = {"quantile": levels.astype(dtype.np_dtype)} if "quantile" in wanted else {}
    takes = ("cdf", "log_prob", "survival_function", "log_cdf", "log_survival_function", "quantile")
    found = run({each: getattr(ours, each)(values.get(each, at)) if each in takes else getattr(ours, each)() for each in wanted})
    for each, want in wanted.items():
        keep = want > -300 if name != "Normal" else np.full(np.shape(want), True)
        assert_close(np.where(keep, found[each], 0).astype(dtype.np_dtype), np.where(keep, want, 0), dtype,
                     depth=400 if each.startswith("log_") or name in ("Beta", "Gamma", "StudentT") else 40, scale=4)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_the_moments(name: str) -> None:
    sample = SAMPLES[name]
    ours = sample.make(*(gc.constant(x) for x in sample.parameters))
    same = sample.same(*sample.parameters)
    drawn = ours.sample([800, 5], seed=3)
    assert drawn.shape.as_list() == [800, 5, 3]
    with gc.Session() as session:
        first, second = session.run(drawn), session.run(drawn)
    assert not np.array_equal(first, second)
    flat = first.reshape(-1, 3)
    error = same.std() / np.sqrt(len(flat))
    np.testing.assert_array_less(np.abs(flat.mean(0) - same.mean()), 5 * error)
    if name == "Bernoulli":
        assert set(flat.reshape(-1)) == {0.0, 1.0}
        return
    for column in range(3):
        ranks = np.stack([same.cdf(flat)[:, column]])
        assert stats.kstest(ranks[0], "uniform").pvalue > 1e-4


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_move_with_the_parameters(name: str) -> None:
    """The mean of d sample / d parameter is d mean / d parameter, where the mean depends on it."""
    sample = SAMPLES[name]
    held = [gc.constant(x) for x in sample.parameters]
    ours = sample.make(*held)
    slopes = gc.gradients(gc.reduce_mean(ours.sample(5000, seed=1), 0), held)
    wanted = gc.gradients(ours.mean(), held)
    for slope, want in zip(slopes, wanted, strict=True):
        assert slope is not None
        got, expected = run([slope, gc.zeros_like(slope) if want is None else want])
        np.testing.assert_allclose(got, expected, atol=0.12)


@pytest.mark.parametrize("name", SAMPLES)
def test_gradients_of_log_prob(name: str) -> None:
    sample = SAMPLES[name]
    fed = [gc.placeholder(gc.float64, x.shape) for x in sample.parameters]
    total = gc.reduce_sum(sample.make(*fed).log_prob(sample.at))
    slopes = gc.gradients(total, fed)
    with gc.Session() as session:
        found = session.run(slopes, dict(zip(fed, sample.parameters, strict=True)))
        for n, parameter in enumerate(sample.parameters):
            for place in range(3):
                moved = []
                for step in (1e-6, -1e-6):
                    other = [x.copy() for x in sample.parameters]
                    other[n][place] += step
                    moved.append(session.run(total, dict(zip(fed, other, strict=True))))
                want = (moved[0] - moved[1]) / 2e-6
                assert abs(found[n][place] - want) <= 50 * GRADIENT_RELATIVE * max(1.0, abs(want)), (name, n, parameter)


# Classes and vectors ---------------------------------------------------------------------------------------------------------------------

PROBS = np.array([[0.2, 0.3, 0.5], [0.7, 0.0, 0.3]])


def test_categorical() -> None:
    ours = D.Categorical(probs=gc.constant(PROBS))
    drawn = ours.sample([3000], seed=5)
    assert (drawn.dtype, drawn.shape.as_list()) == (gc.int32, [3000, 2])
    at = np.array([[0, 2], [2, 0]])
    found = run([drawn, ours.log_prob(at), ours.cdf(at), ours.entropy(), ours.mode(), ours.event_size])
    share = np.stack([np.bincount(column, minlength=3) / 3000 for column in found[0].T])
    np.testing.assert_allclose(share, PROBS, atol=0.05)
    np.testing.assert_allclose(found[1], np.log([[0.2, 0.3], [0.5, 0.7]]), rtol=1e-10)
    np.testing.assert_allclose(found[2], [[0.2, 1.0], [1.0, 0.7]], rtol=1e-10)
    np.testing.assert_allclose(found[3], [stats.entropy(row) for row in PROBS], rtol=1e-10)
    np.testing.assert_array_equal(found[4], [2, 0])
    assert found[5] == 3
    assert (ours.batch_shape.as_list(), ours.event_shape.as_list()) == ([2], [])


def test_multinomial() -> None:
    ours = D.Multinomial(gc.constant(5.0, gc.float64), probs=gc.constant(PROBS))
    at = np.array([[1.0, 1, 3], [4, 0, 1]])
    same = [stats.multinomial(5, row) for row in PROBS]
    found = run([ours.sample(2000, seed=2), ours.log_prob(at), ours.mean(), ours.variance(), ours.covariance()])
    assert np.all(found[0].sum(-1) == 5)
    np.testing.assert_allclose(found[0].mean(0), 5 * PROBS, atol=0.15)
    np.testing.assert_allclose(found[1], [s.logpmf(x) for s, x in zip(same, at, strict=True)], rtol=1e-10)
    np.testing.assert_allclose(found[2], 5 * PROBS)
    np.testing.assert_allclose(found[3], 5 * PROBS * (1 - PROBS), atol=1e-12)
    np.testing.assert_allclose(found[4], [s.cov() for s in same], atol=1e-12)


def test_dirichlet() -> None:
    shape = np.array([[1.5, 2.0, 3.0], [2.0, 2.0, 9.0]])
    ours, same = D.Dirichlet(gc.constant(shape)), [stats.dirichlet(row) for row in shape]
    at = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    found = run([ours.sample(2000, seed=2), ours.log_prob(at), ours.mean(), ours.variance(), ours.covariance(), ours.entropy(),
                 ours.mode()])
    np.testing.assert_allclose(found[0].sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(found[0].mean(0), [s.mean() for s in same], atol=0.02)
    np.testing.assert_allclose(found[0].var(0), [s.var() for s in same], rtol=0.15)
    densities = [s.logpdf(x) for s, x in zip(same, at, strict=True)]
    wanted = [densities, *([getattr(s, each)() for s in same] for each in ("mean", "var", "cov", "entropy"))]
    for got, want in zip(found[1:6], wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)
    np.testing.assert_allclose(found[6], (shape - 1) / (shape.sum(-1, keepdims=True) - 3))
    assert (ours.batch_shape.as_list(), ours.event_shape.as_list()) == ([2], [3])


def test_dirichlet_multinomial() -> None:
    shape = np.array([1.0, 2.0, 3.0])
    ours = D.DirichletMultinomial(gc.constant(4.0, gc.float64), gc.constant(shape))
    same = stats.dirichlet_multinomial(shape, 4)
    at = np.array([[1.0, 1, 2], [0, 0, 4]])
    found = run([ours.sample(4000, seed=2), ours.log_prob(at), ours.mean(), ours.variance(), ours.covariance()])
    assert np.all(found[0].sum(-1) == 4)
    np.testing.assert_allclose(found[0].mean(0), same.mean(), atol=0.1)
    np.testing.assert_allclose(found[1], [same.logpmf(row) for row in at.astype(int)], rtol=1e-10)
    for got, want in zip(found[2:], (same.mean(), same.var(), same.cov()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10)


# Divergences -----------------------------------------------------------------------------------------------------------------------------

def _integral(a: Any, b: Any, low: float, high: float) -> float:
    return float(integrate.quad(lambda x: a.pdf(x) * (a.logpdf(x) - b.logpdf(x)), low, high, limit=200)[0])


@pytest.mark.parametrize(("name", "first", "second", "low", "high"), [
    ("Normal", (0.3, 1.2), (-0.5, 0.8), -20, 20), ("Gamma", (2.0, 1.5), (3.0, 0.7), 1e-9, 80),
    ("Beta", (2.0, 3.0), (1.5, 1.2), 1e-9, 1 - 1e-9)])
def test_divergences_are_the_integrals(name: str, first: Any, second: Any, low: float, high: float) -> None:
    sample = SAMPLES[name]
    a, b = (sample.make(*(gc.constant(x, gc.float64) for x in each)) for each in (first, second))
    found = run([D.kl_divergence(a, b), a.kl_divergence(b), a.cross_entropy(b) - a.entropy(), D.kl_divergence(a, a)])
    want = _integral(sample.same(*first), sample.same(*second), low, high)
    np.testing.assert_allclose(found, [want, want, want, 0], rtol=1e-6, atol=1e-9)


def test_divergences_of_classes() -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    shape, other = np.array([1.5, 2.0, 3.0]), np.array([2.0, 1.0, 4.0])

    def log_beta(x: Array) -> Any:
        return special.gammaln(x).sum() - special.gammaln(x.sum())
    found = run([D.kl_divergence(D.Categorical(probs=gc.constant(p)), D.Categorical(probs=gc.constant(q))),
                 D.kl_divergence(D.Bernoulli(probs=gc.constant(p)), D.Bernoulli(probs=gc.constant(q))),
                 D.kl_divergence(D.Dirichlet(gc.constant(shape)), D.Dirichlet(gc.constant(other)))])
    np.testing.assert_allclose(found[0], stats.entropy(p, q), rtol=1e-10)
    np.testing.assert_allclose(found[1], [stats.entropy([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True)], rtol=1e-9, atol=1e-12)
    want = log_beta(other) - log_beta(shape) + np.sum((shape - other) * (special.digamma(shape) - special.digamma(shape.sum())))
    np.testing.assert_allclose(found[2], want, rtol=1e-9)


def test_own_divergences_by_the_nearest_class() -> None:
    class Mine(D.Normal):
        pass

    @D.RegisterKL(Mine, D.Normal)
    def mine(a: Any, b: Any, name: Any = None) -> Any:
        return gc.constant(42.0)
    assert run(D.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0))) == 42
    assert run(D.kl_divergence(D.Normal(0.0, 1.0), Mine(0.0, 1.0))) == 0
    with pytest.raises(ValueError, match=r"KL\(Mine \|\| Normal\) has already been registered"):
        D.RegisterKL(Mine, D.Normal)(mine)


# What they are, and what is wrong --------------------------------------------------------------------------------------------------------

def test_properties() -> None:
    normal = D.Normal([0.0, 1.0], 2.0)
    assert (normal.name, normal.dtype, normal.batch_shape.as_list(), normal.event_shape.as_list()) == ("Normal/", gc.float32, [2], [])
    assert normal.reparameterization_type is D.FULLY_REPARAMETERIZED
    assert D.Bernoulli(probs=0.5).reparameterization_type is D.NOT_REPARAMETERIZED
    assert normal.sample(seed=1).op.name.startswith("Normal/sample")
    assert normal.parameters["scale"] == 2.0
    assert run(normal.copy(scale=3.0).stddev()).tolist() == [3, 3]
    assert {key: shape.as_list() for key, shape in D.Normal.param_static_shapes([2]).items()} == {"loc": [2], "scale": [2]}
    assert run([normal.batch_shape_tensor(), normal.is_scalar_batch(), normal.is_scalar_event()])[1:] == [False, True]
    assert str(normal) == 'graphc.distributions.Normal("Normal/", batch_shape=(2,), event_shape=(), dtype=float32)'


def test_batches_of_unknown_shape() -> None:
    loc = gc.placeholder(gc.float32, [None])
    normal = D.Normal(loc, 1.0)
    drawn, shape = normal.sample([4]), normal.batch_shape_tensor()
    found = run([drawn, shape, normal.entropy()], {loc: np.zeros(3)})
    assert (found[0].shape, found[1].tolist(), found[2].shape) == ((4, 3), [3], (3,))


def test_values_at_the_edges() -> None:
    found = run([D.Uniform(0.0, 1.0).log_prob([-1.0, 0.0, 1.0, 0.5]), D.Uniform(0.0, 1.0).cdf([-1.0, 0.0, 1.0, 0.5]),
                 D.Gamma(2.0, 1.0).log_prob([-1.0, 0.0, 1.0, 2.0]), D.Exponential(1.0).log_prob([0.0, 0.0, 1.0, 2.0]),
                 D.Normal(0.0, 1.0).quantile([0.0, 1.0, 0.5, 2.0])])
    inf, nan = np.inf, np.nan
    wanted = [[-inf, 0, -inf, 0], [0, 0, 1, 0.5], [nan, -inf, -1, np.log(2) - 2], [0, 0, -1, -2], [-inf, inf, 0, nan]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "none given": (lambda: D.Bernoulli(), ValueError, "Must pass probs or logits, but not both"),
    "both given": (lambda: D.Categorical(logits=[1.0], probs=[0.5]), ValueError, "Must pass probs or logits, but not both"),
    "no classes": (lambda: D.Categorical(logits=1.0), ValueError, "Shape must be at least rank 1 but is rank 0"),
    "integers": (lambda: D.Normal(0, 1), ValueError, "Expected floating point type for parameter 'loc', got int32"),
    "mixed": (lambda: D.Normal(gc.constant(0.0), gc.constant(1.0, gc.float64)), ValueError, "must be of the same type"),
    "shapes": (lambda: D.Normal([0.0, 1.0], [1.0, 2.0, 3.0]), ValueError, "(?i)broadcast"),
    "scalar": (lambda: D.Dirichlet(1.0), ValueError, "must have at least 1 dimension"),
    "undefined": (lambda: D.Normal(0.0, 1.0).covariance(), NotImplementedError, "covariance is not implemented: Normal"),
    "no divergence": (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Uniform(0.0, 1.0)), NotImplementedError,
                      r"No KL\(distribution_a \|\| distribution_b\) registered for distribution_a type Normal and .* type Uniform"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    make, kind, text = WRONG[name]
    with pytest.raises(kind, match=text):
        make()


def test_checks_of_the_run() -> None:
    scale = gc.placeholder(gc.float32, [])
    drawn = D.Normal(0.0, scale, validate_args=True).sample()
    mode = D.Beta(scale, 0.5, allow_nan_stats=False).mode()
    counts = D.Multinomial(4.0, probs=[0.5, 0.5], validate_args=True).log_prob(gc.stack([scale, scale]))
    with gc.Session() as session:
        for fetch, text in ((drawn, "Condition x > 0 did not hold"), (mode, "Mode undefined for concentration1 <= 1"),
                            (counts, "Condition x >= 0 did not hold")):
            with pytest.raises(gc.errors.InvalidArgumentError, match=text):
                session.run(fetch, {scale: -1.0})
        assert np.isfinite(session.run(drawn, {scale: 1.0}))
        with pytest.raises(gc.errors.InvalidArgumentError, match="counts must sum to"):
            session.run(counts, {scale: 1.0})
    assert np.isnan(run(D.Beta(0.5, 0.5).mode()))
