"""Distributions of counts and classes: Bernoulli, Categorical; of vectors: Multinomial, Dirichlet, DirichletMultinomial."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.distributions.continuous import gamma_sample
from graphc.distributions.distribution import FULLY_REPARAMETERIZED, NOT_REPARAMETERIZED, Distribution, RegisterKL
from graphc.distributions.parameters import checked, floating, logits_and_probs
from graphc.ops.activations import log_softmax
from graphc.ops.array import expand_dims, reshape, shape, size, transpose
from graphc.ops.array import range_ as positions_below
from graphc.ops.asserts import assert_equal, assert_near, assert_non_negative, assert_positive
from graphc.ops.choosing import where
from graphc.ops.creation import fill, one_hot, ones_like, zeros_like
from graphc.ops.elementwise import (
    cast,
    equal,
    greater,
    less,
    log,
    softplus,
    xlogy,
)
from graphc.ops.entropy import sigmoid_cross_entropy_with_logits
from graphc.ops.gamma import digamma, lbeta, lgamma
from graphc.ops.matrices import matrix_set_diag
from graphc.ops.random import multinomial, random_uniform
from graphc.ops.reductions import argmax, reduce_max, reduce_min, reduce_sum

MINUS_INF = -float("inf")


# Bernoulli -------------------------------------------------------------------------------------------------------------------------------

class Bernoulli(Distribution):
    """1 with probability `probs`, given as such or as its logit log(p / (1 - p)), else 0."""

    def __init__(self, logits: Any = None, probs: Any = None, dtype: Any = dtypes.int32, validate_args: bool = False,
                 allow_nan_stats: bool = True, name: str = "Bernoulli") -> None:
        parameters = dict(locals())
        super().__init__(dtype, NOT_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            self.logits, self.probs = logits_and_probs(logits, probs)
        self._graph_parents = [self.logits]

    @classmethod
    def _param_dims(cls, sample_shape: Any) -> dict[str, Any]:
        return {"logits": tuple(int(d) for d in sample_shape)}

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return cast(less(random_uniform(whole, dtype=self.probs.dtype, seed=seed), self.probs), self.dtype)

    def _log_prob(self, value: Tensor) -> Tensor:
        event = cast(value, self.logits.dtype)
        return -sigmoid_cross_entropy_with_logits(labels=event + zeros_like(self.logits), logits=self.logits + zeros_like(event))

    def _cdf(self, value: Tensor) -> Tensor:
        x = cast(value, self.probs.dtype) + zeros_like(self.probs)
        return where(less(x, 0.0), zeros_like(x), where(less(x, 1.0), 1.0 - self.probs + zeros_like(x), ones_like(x)))

    def _entropy(self) -> Tensor:
        return softplus(-self.logits) + self.logits * (1.0 - self.probs)

    def _mean(self) -> Tensor:
        return self._spread(self.probs)

    def _variance(self) -> Tensor:
        mean = self._mean()
        return mean * (1.0 - mean)

    def _mode(self) -> Tensor:
        return cast(greater(self.probs, 0.5), self.dtype)


@RegisterKL(Bernoulli, Bernoulli)
def _bernoulli_from_bernoulli(a: Bernoulli, b: Bernoulli, name: str | None = None) -> Tensor:
    return a.probs * (softplus(-b.logits) - softplus(-a.logits)) + (1.0 - a.probs) * (softplus(b.logits) - softplus(a.logits))


# Categorical -----------------------------------------------------------------------------------------------------------------------------

class Categorical(Distribution):
    """Class k with probability proportional to exp(logits[..., k]), or to probs[..., k]."""

    def __init__(self, logits: Any = None, probs: Any = None, dtype: Any = dtypes.int32, validate_args: bool = False,
                 allow_nan_stats: bool = True, name: str = "Categorical") -> None:
        parameters = dict(locals())
        super().__init__(dtype, NOT_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            self.logits, self.probs = logits_and_probs(logits, probs, multidimensional=True)
        self._graph_parents = [self.logits]

    @property
    def event_size(self) -> Tensor:
        """The number of classes, an int32 scalar."""
        return shape(self.logits)[-1]

    @property
    def _whole_shape(self) -> TensorShape:
        return TensorShape(self.logits.shape[:-1]) if self.logits.rank is not None else TensorShape(None)

    def _whole_shape_tensor(self) -> Tensor:
        return shape(self.logits)[:-1]

    @property
    def batch_shape(self) -> TensorShape:
        return self._whole_shape

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        flat = reshape(self.logits, [-1, self.event_size])
        batch = shape(flat)[0]
        count = size(fill(whole, np.int32(0)))
        drawn = multinomial(flat, where(equal(batch, 0), batch, count // where(equal(batch, 0), ones_like(batch), batch)), seed=seed)
        return cast(reshape(transpose(drawn), whole), self.dtype)

    def _log_prob(self, value: Tensor) -> Tensor:
        logs = log_softmax(self.logits)
        chosen = one_hot(cast(value, dtypes.int32), self.event_size, dtype=logs.dtype)
        held = where(greater(chosen + zeros_like(logs), 0.0), logs + zeros_like(chosen), zeros_like(logs + chosen))
        return reduce_sum(held, -1)

    def _cdf(self, value: Tensor) -> Tensor:
        places = cast(positions_below(self.event_size), self.probs.dtype)
        below = cast(places <= expand_dims(cast(value, self.probs.dtype), -1), self.probs.dtype)
        return reduce_sum(below * self.probs, -1)

    def _entropy(self) -> Tensor:
        return -reduce_sum(self.probs * _finite(log_softmax(self.logits)), -1)

    def _mode(self) -> Tensor:
        return cast(argmax(self.logits, -1), self.dtype)


def _finite(logs: Tensor) -> Tensor:
    """`logs` with 0 for -inf: what has no probability adds nothing."""
    return where(equal(logs, MINUS_INF), zeros_like(logs), logs)


@RegisterKL(Categorical, Categorical)
def _categorical_from_categorical(a: Categorical, b: Categorical, name: str | None = None) -> Tensor:
    return reduce_sum(a.probs * (_finite(log_softmax(a.logits)) - log_softmax(b.logits)), -1)


# Multinomial -----------------------------------------------------------------------------------------------------------------------------

class _Counts(Distribution):
    """A distribution of vectors of counts that add up to `total_count`."""

    event_ndims = 1
    total_count: Tensor
    _mean_of_one: Tensor

    def _outer(self) -> Tensor:
        """Minus the products of the probabilities of two classes, with p (1 - p) on the diagonal."""
        p = self._mean_of_one
        return matrix_set_diag(-expand_dims(p, -1) * expand_dims(p, -2), p * (1.0 - p))

    def _mean(self) -> Tensor:
        return expand_dims(self.total_count, -1) * self._mean_of_one

    def _checked(self, counts: Tensor) -> Tensor:
        total = self.total_count
        return checked(counts, self.validate_args, assert_non_negative,
                       lambda t: assert_equal(reduce_sum(t, -1), total + zeros_like(reduce_sum(t, -1)),
                                              message="counts must sum to `self.total_count`"))

    def _log_combinations(self, counts: Tensor) -> Tensor:
        return lgamma(self.total_count + 1.0) - reduce_sum(lgamma(counts + 1.0), -1)


class Multinomial(_Counts):
    """How often each class occurs in `total_count` draws, with probabilities `probs` or proportional to exp(logits)."""

    def __init__(self, total_count: Any, logits: Any = None, probs: Any = None, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "Multinomial") -> None:
        parameters = dict(locals())
        super().__init__("float32", NOT_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            (count,) = floating(total_count=total_count)
            self.total_count = checked(count, validate_args, assert_non_negative)
            self.logits, self.probs = logits_and_probs(logits, probs, multidimensional=True)
            self._mean_of_one = self.probs
        self._take(expand_dims(self.total_count, -1), self.probs)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return drawn_counts(whole, self.total_count, self.logits, self.dtype, seed)

    def _log_prob(self, value: Tensor) -> Tensor:
        counts = self._checked(value)
        logs = log_softmax(self.logits)
        none = equal(counts + zeros_like(logs), 0.0)
        nothing = zeros_like(counts + logs)
        return self._log_combinations(counts) + reduce_sum(counts * where(none, nothing, logs + zeros_like(counts)), -1)

    def _variance(self) -> Tensor:
        return expand_dims(self.total_count, -1) * self.probs * (1.0 - self.probs)

    def _covariance(self) -> Tensor:
        return expand_dims(expand_dims(self.total_count, -1), -1) * self._outer()


def drawn_counts(whole: Tensor, total_count: Tensor, logits: Tensor, dtype: Any, seed: int | None) -> Tensor:
    """For each row of `whole` = [..., classes] how often each class is drawn in `total_count` draws with weights exp(logits).

    As many draws as the greatest count asks for are made for every row; a row counts the first of them.
    """
    classes = whole[-1]
    rows = reshape(logits + fill(whole, logits.dtype.as_numpy_dtype(0)), [-1, classes])
    counts = reshape(total_count + fill(whole[:-1], total_count.dtype.as_numpy_dtype(0)), [-1])
    most = cast(reduce_max(counts), dtypes.int32)
    drawn = multinomial(rows, most, seed=seed)
    mine = cast(positions_below(most), counts.dtype) < expand_dims(counts, 1)
    held = where(mine, cast(drawn, dtypes.int32), fill(shape(drawn), np.int32(-1)))
    return reshape(reduce_sum(one_hot(held, classes, dtype=dtype), 1), whole)


# Dirichlet -------------------------------------------------------------------------------------------------------------------------------

class Dirichlet(Distribution):
    """Vectors of positive numbers that add up to 1, with density proportional to the product of x_k^(concentration_k - 1)."""

    event_ndims = 1

    def __init__(self, concentration: Any, validate_args: bool = False, allow_nan_stats: bool = True, name: str = "Dirichlet") -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            (given,) = floating(concentration=concentration)
            if given.rank == 0:
                raise ValueError("Concentration parameter must have at least 1 dimension.")
            self.concentration = checked(given, validate_args, assert_positive)
            self.total_concentration = reduce_sum(self.concentration, -1)
        self._take(self.concentration)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        parts = gamma_sample(whole, self.concentration, self.dtype, seed)
        return parts / reduce_sum(parts, -1, keepdims=True)

    def _log_prob(self, value: Tensor) -> Tensor:
        x = checked(value, self.validate_args, assert_positive,
                    lambda t: assert_near(reduce_sum(t, -1), ones_like(reduce_sum(t, -1)), message="sample last-dimension must sum to `1`"))
        return reduce_sum(xlogy(self.concentration - 1.0, x), -1) - lbeta(self.concentration)

    def _entropy(self) -> Tensor:
        k = cast(shape(self.concentration)[-1], self.dtype)
        return (lbeta(self.concentration) + (self.total_concentration - k) * digamma(self.total_concentration)
                - reduce_sum((self.concentration - 1.0) * digamma(self.concentration), -1))

    def _mean(self) -> Tensor:
        return self.concentration / expand_dims(self.total_concentration, -1)

    def _variance(self) -> Tensor:
        mean = self._mean()
        return mean * (1.0 - mean) / expand_dims(self.total_concentration + 1.0, -1)

    def _covariance(self) -> Tensor:
        mean = self._mean()
        scale = 1.0 / expand_dims(expand_dims(self.total_concentration + 1.0, -1), -1)
        return matrix_set_diag(-expand_dims(mean, -1) * expand_dims(mean, -2), mean * (1.0 - mean)) * scale

    def _mode(self) -> Tensor:
        k = cast(shape(self.concentration)[-1], self.dtype)
        found = (self.concentration - 1.0) / expand_dims(self.total_concentration - k, -1)
        lowest = reduce_min(self.concentration, -1, keepdims=True) + zeros_like(self.concentration)
        return self._where(greater(lowest, 1.0), found, "Mode undefined when any concentration <= 1")


@RegisterKL(Dirichlet, Dirichlet)
def _dirichlet_from_dirichlet(a: Dirichlet, b: Dirichlet, name: str | None = None) -> Tensor:
    less_mean = digamma(a.concentration) - digamma(expand_dims(a.total_concentration, -1))
    return reduce_sum((a.concentration - b.concentration) * less_mean, -1) - lbeta(a.concentration) + lbeta(b.concentration)


class DirichletMultinomial(_Counts):
    """How often each class occurs in `total_count` draws whose probabilities are themselves drawn from a Dirichlet distribution."""

    def __init__(self, total_count: Any, concentration: Any, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "DirichletMultinomial") -> None:
        parameters = dict(locals())
        super().__init__("float32", NOT_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            count, given = floating(total_count=total_count, concentration=concentration)
            self.total_count = checked(count, validate_args, assert_non_negative)
            self.concentration = checked(given, validate_args, assert_positive)
            self.total_concentration = reduce_sum(self.concentration, -1)
            self._mean_of_one = self.concentration / expand_dims(self.total_concentration, -1)
        self._take(expand_dims(self.total_count, -1), self.concentration)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        weights = gamma_sample(whole, self.concentration, self.dtype, seed)
        return drawn_counts(whole, self.total_count, log(weights), self.dtype, None if seed is None else seed + 1)

    def _log_prob(self, value: Tensor) -> Tensor:
        counts = self._checked(value)
        return self._log_combinations(counts) + lbeta(self.concentration + counts) - lbeta(self.concentration)

    def _scale(self) -> Tensor:
        """The variance of a count over what it would be in one draw."""
        n, total = self.total_count, self.total_concentration
        return n * (n + total) / (1.0 + total)

    def _variance(self) -> Tensor:
        return expand_dims(self._scale(), -1) * self._mean_of_one * (1.0 - self._mean_of_one)

    def _covariance(self) -> Tensor:
        return expand_dims(expand_dims(self._scale(), -1), -1) * self._outer()

