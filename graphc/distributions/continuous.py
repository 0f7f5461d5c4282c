"""Distributions of real numbers: Normal, Uniform, Laplace, Exponential, Gamma, Beta, StudentT. Formulas: N. Johnson, S. Kotz and N.
Balakrishnan, "Continuous Univariate Distributions", 2nd ed., 1994."""
from __future__ import annotations

import math
from typing import Any

from graphc.core.dtypes import DType
from graphc.core.operation import Tensor
from graphc.distributions.distribution import FULLY_REPARAMETERIZED, Distribution, RegisterKL
from graphc.distributions.normal_functions import HALF_LOG_TWO_PI, log_ndtr, ndtr, ndtri
from graphc.distributions.parameters import checked, floating
from graphc.ops.array import shape
from graphc.ops.asserts import assert_less, assert_positive
from graphc.ops.choosing import where
from graphc.ops.creation import fill, ones_like, zeros_like
from graphc.ops.elementwise import (
    abs_,
    equal,
    exp,
    expm1,
    greater,
    greater_equal,
    is_nan,
    less,
    log,
    log1p,
    logical_and,
    logical_or,
    maximum,
    minimum,
    sign,
    sqrt,
    square,
    squared_difference,
    xlogy,
)
from graphc.ops.gamma import digamma, lgamma
from graphc.ops.incomplete import betainc, igamma
from graphc.ops.random import random_gamma, random_normal, random_uniform

INF = float("inf")


class _Real(Distribution):
    """A distribution of single numbers, whose parameters broadcast."""

    names: tuple[str, ...] = ()  # of the parameters

    @classmethod
    def _param_dims(cls, sample_shape: Any) -> dict[str, Any]:
        return {name: tuple(int(d) for d in sample_shape) for name in cls.names}


class _LocationScale(_Real):
    """A symmetric distribution around `loc`, as wide as `scale` > 0."""

    names = ("loc", "scale")

    def __init__(self, loc: Any, scale: Any, validate_args: bool, allow_nan_stats: bool, name: str) -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            self.loc, spread = floating(loc=loc, scale=scale)
            self.scale = checked(spread, validate_args, assert_positive)
        self._take(self.loc, self.scale)

    def _mean(self) -> Tensor:
        return self._spread(self.loc)

    def _variance(self) -> Tensor:
        return square(self._stddev())

    def _mode(self) -> Tensor:
        return self._mean()

    def _z(self, value: Tensor) -> Tensor:
        return (value - self.loc) / self.scale


# Normal ----------------------------------------------------------------------------------------------------------------------------------

class Normal(_LocationScale):
    """Normal with mean `loc` and standard deviation `scale` > 0."""

    def __init__(self, loc: Any, scale: Any, validate_args: bool = False, allow_nan_stats: bool = True, name: str = "Normal") -> None:
        super().__init__(loc, scale, validate_args, allow_nan_stats, name)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return random_normal(whole, dtype=self.dtype, seed=seed) * self.scale + self.loc

    def _log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * square(self._z(value)) - (HALF_LOG_TWO_PI + log(self.scale))

    def _cdf(self, value: Tensor) -> Tensor:
        return ndtr(self._z(value))

    def _log_cdf(self, value: Tensor) -> Tensor:
        return log_ndtr(self._z(value))

    def _survival_function(self, value: Tensor) -> Tensor:
        return ndtr(-self._z(value))

    def _log_survival_function(self, value: Tensor) -> Tensor:
        return log_ndtr(-self._z(value))

    def _quantile(self, value: Tensor) -> Tensor:
        return ndtri(value) * self.scale + self.loc

    def _entropy(self) -> Tensor:
        return self._spread(0.5 + HALF_LOG_TWO_PI + log(self.scale))

    def _stddev(self) -> Tensor:
        return self._spread(self.scale)


@RegisterKL(Normal, Normal)
def _normal_from_normal(a: Normal, b: Normal, name: str | None = None) -> Tensor:
    ratio = square(a.scale / b.scale)
    return squared_difference(a.loc, b.loc) / (2.0 * square(b.scale)) + 0.5 * (ratio - 1.0 - log(ratio))


# Uniform ---------------------------------------------------------------------------------------------------------------------------------

class Uniform(_Real):
    """Uniform on [low, high)."""

    names = ("low", "high")

    def __init__(self, low: Any = 0.0, high: Any = 1.0, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "Uniform") -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            begin, self.high = floating(low=low, high=high)
            self.low = checked(begin, validate_args,
                               lambda t: assert_less(t, self.high, message="uniform not defined when low >= high."))
        self._take(self.low, self.high)

    def range(self, name: str = "range") -> Tensor:
        """high - low."""
        with self._scope(name):
            return self.high - self.low

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return random_uniform(whole, dtype=self.dtype, seed=seed) * (self.high - self.low) + self.low

    def _log_prob(self, value: Tensor) -> Tensor:
        return log(self._prob(value))

    def _prob(self, value: Tensor) -> Tensor:
        density = zeros_like(value) + 1.0 / (self.high - self.low)
        outside = logical_or(less(value, self.low), greater_equal(value, self.high))
        return where(logical_or(outside, is_nan(value)), where(is_nan(value), value + zeros_like(self.low), zeros_like(density)), density)

    def _cdf(self, value: Tensor) -> Tensor:
        inside = (value - self.low) / (self.high - self.low)
        return minimum(maximum(inside, 0.0), 1.0)

    def _quantile(self, value: Tensor) -> Tensor:
        return self.low + value * (self.high - self.low)

    def _entropy(self) -> Tensor:
        return self._spread(log(self.high - self.low))

    def _mean(self) -> Tensor:
        return self._spread((self.low + self.high) / 2.0)

    def _variance(self) -> Tensor:
        return self._spread(square(self.high - self.low) / 12.0)

    def _stddev(self) -> Tensor:
        return self._spread((self.high - self.low) / math.sqrt(12))


# Laplace ---------------------------------------------------------------------------------------------------------------------------------

class Laplace(_LocationScale):
    """exp(-|x - loc| / scale) / (2 scale), scale > 0."""

    def __init__(self, loc: Any, scale: Any, validate_args: bool = False, allow_nan_stats: bool = True, name: str = "Laplace") -> None:
        super().__init__(loc, scale, validate_args, allow_nan_stats, name)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        tiny = 2.0 ** -24 if self.dtype.size <= 4 else 2.0 ** -53
        u = maximum(random_uniform(whole, -1.0, 1.0, self.dtype, seed), tiny - 1.0)  # in (-1, 1): log of neither end
        return self.loc - self.scale * sign(u) * log1p(-abs_(u))

    def _log_prob(self, value: Tensor) -> Tensor:
        return -abs_(self._z(value)) - math.log(2) - log(self.scale)

    def _cdf(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return 0.5 - 0.5 * sign(z) * expm1(-abs_(z))

    def _survival_function(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return 0.5 + 0.5 * sign(z) * expm1(-abs_(z))

    def _log_cdf(self, value: Tensor) -> Tensor:
        return self._log_tail(self._z(value))

    def _log_survival_function(self, value: Tensor) -> Tensor:
        return self._log_tail(-self._z(value))

    @staticmethod
    def _log_tail(z: Tensor) -> Tensor:
        return where(less(z, 0.0), z - math.log(2), log1p(-0.5 * exp(-abs_(z))))

    def _quantile(self, value: Tensor) -> Tensor:
        u = 2.0 * value - 1.0
        return self.loc - self.scale * sign(u) * log1p(-abs_(u))

    def _entropy(self) -> Tensor:
        return self._spread(math.log(2) + 1.0 + log(self.scale))

    def _stddev(self) -> Tensor:
        return self._spread(math.sqrt(2) * self.scale)


# Gamma and Exponential -------------------------------------------------------------------------------------------------------------------

def gamma_sample(whole: Tensor, concentration: Tensor, dtype: DType, seed: int | None) -> Tensor:
    """Gamma(concentration, 1) samples of shape `whole`, differentiable by `concentration`."""
    return random_gamma([], concentration + fill(whole, dtype.as_numpy_dtype(0)), dtype=dtype, seed=seed)


class Gamma(_Real):
    """Density rate^c x^(c - 1) exp(-rate x) / Gamma(c) for x > 0, with concentration c > 0 and rate > 0."""

    names: tuple[str, ...] = ("concentration", "rate")

    def __init__(self, concentration: Any, rate: Any, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "Gamma") -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            first, second = floating(concentration=concentration, rate=rate)
            self.concentration = checked(first, validate_args, assert_positive)
            self.rate = checked(second, validate_args, assert_positive)
        self._take(self.concentration, self.rate)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return gamma_sample(whole, self.concentration, self.dtype, seed) / self.rate

    def _log_prob(self, value: Tensor) -> Tensor:
        value = checked(value, self.validate_args, assert_positive)
        normal = lgamma(self.concentration) - self.concentration * log(self.rate)
        return xlogy(self.concentration - 1.0, value) - self.rate * value - normal

    def _cdf(self, value: Tensor) -> Tensor:
        value = checked(value, self.validate_args, assert_positive)
        return igamma(self._spread(self.concentration) + zeros_like(value), self.rate * value)

    def _entropy(self) -> Tensor:
        c = self.concentration
        return self._spread(c - log(self.rate) + lgamma(c) + (1.0 - c) * digamma(c))

    def _mean(self) -> Tensor:
        return self._spread(self.concentration / self.rate)

    def _variance(self) -> Tensor:
        return self._spread(self.concentration / square(self.rate))

    def _stddev(self) -> Tensor:
        return self._spread(sqrt(self.concentration) / self.rate)

    def _mode(self) -> Tensor:
        found = self._spread((self.concentration - 1.0) / self.rate)
        return self._where(greater(self._spread(self.concentration), 1.0), found, "mode not defined when any concentration <= 1")


@RegisterKL(Gamma, Gamma)
def _gamma_from_gamma(a: Gamma, b: Gamma, name: str | None = None) -> Tensor:
    p, q = a.concentration, b.concentration
    return (p - q) * digamma(p) + lgamma(q) - lgamma(p) + q * log(a.rate) - q * log(b.rate) + p * (b.rate / a.rate - 1.0)


class Exponential(Gamma):
    """Density rate exp(-rate x) for x >= 0, rate > 0: Gamma with concentration 1."""

    names = ("rate",)

    def __init__(self, rate: Any, validate_args: bool = False, allow_nan_stats: bool = True, name: str = "Exponential") -> None:
        parameters = dict(locals())
        (given,) = floating(rate=rate)
        super().__init__(ones_like(given), given, validate_args, allow_nan_stats, name)
        self._parameters = {key: value for key, value in parameters.items() if key != "self" and not key.startswith("_")}

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        return -log1p(-random_uniform(whole, dtype=self.dtype, seed=seed)) / self.rate

    def _quantile(self, value: Tensor) -> Tensor:
        return -log1p(-value) / self.rate


# Beta ------------------------------------------------------------------------------------------------------------------------------------

class Beta(_Real):
    """Density x^(a - 1) (1 - x)^(b - 1) / B(a, b) on (0, 1), with a = concentration1 > 0 and b = concentration0 > 0 (1 where not given)."""

    names = ("concentration1", "concentration0")

    def __init__(self, concentration1: Any = None, concentration0: Any = None, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "Beta") -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            first, second = floating(concentration1=1.0 if concentration1 is None else concentration1,
                                     concentration0=1.0 if concentration0 is None else concentration0)
            self.concentration1 = checked(first, validate_args, assert_positive)
            self.concentration0 = checked(second, validate_args, assert_positive)
            self.total_concentration = self.concentration1 + self.concentration0
        self._take(self.concentration1, self.concentration0)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        one = gamma_sample(whole, self.concentration1, self.dtype, seed)
        other = gamma_sample(whole, self.concentration0, self.dtype, None if seed is None else seed + 1)
        return one / (one + other)

    def _log_prob(self, value: Tensor) -> Tensor:
        value = _in_unit_interval(value, self.validate_args)
        return xlogy(self.concentration1 - 1.0, value) + _times_log1p(self.concentration0 - 1.0, -value) - self._log_normal()

    def _log_normal(self) -> Tensor:
        return lgamma(self.concentration1) + lgamma(self.concentration0) - lgamma(self.total_concentration)

    def _cdf(self, value: Tensor) -> Tensor:
        value = _in_unit_interval(value, self.validate_args)
        like = zeros_like(value)
        return betainc(self._spread(self.concentration1) + like, self._spread(self.concentration0) + like, self._spread(value))

    def _entropy(self) -> Tensor:
        a, b, total = self.concentration1, self.concentration0, self.total_concentration
        return self._spread(self._log_normal() - (a - 1.0) * digamma(a) - (b - 1.0) * digamma(b) + (total - 2.0) * digamma(total))

    def _mean(self) -> Tensor:
        return self._spread(self.concentration1 / self.total_concentration)

    def _variance(self) -> Tensor:
        mean = self._mean()
        return mean * (1.0 - mean) / (1.0 + self.total_concentration)

    def _mode(self) -> Tensor:
        found = self._spread((self.concentration1 - 1.0) / (self.total_concentration - 2.0))
        exists = logical_and(greater(self._spread(self.concentration1), 1.0), greater(self._spread(self.concentration0), 1.0))
        return self._where(exists, found, "Mode undefined for concentration1 <= 1 or concentration0 <= 1.")


def _times_log1p(x: Tensor, y: Tensor) -> Tensor:
    """x log(1 + y), 0 where x is 0."""
    none = equal(x + zeros_like(y), 0.0)
    return where(none, zeros_like(x + y), x * log1p(where(none, zeros_like(x + y), y + zeros_like(x))))


def _in_unit_interval(value: Tensor, wanted: bool) -> Tensor:
    return checked(value, wanted, lambda t: assert_positive(t, message="sample must be positive"),
                   lambda t: assert_less(t, ones_like(t), message="sample must be less than `1`."))


@RegisterKL(Beta, Beta)
def _beta_from_beta(a: Beta, b: Beta, name: str | None = None) -> Tensor:
    return (b._log_normal() - a._log_normal() - digamma(a.concentration1) * (b.concentration1 - a.concentration1)
            - digamma(a.concentration0) * (b.concentration0 - a.concentration0)
            + digamma(a.total_concentration) * (b.total_concentration - a.total_concentration))


# StudentT --------------------------------------------------------------------------------------------------------------------------------

class StudentT(_Real):
    """Student's t with `df` > 0 degrees of freedom, shifted by `loc` and scaled by `scale` > 0 (which is not its deviation)."""

    names = ("df", "loc", "scale")

    def __init__(self, df: Any, loc: Any, scale: Any, validate_args: bool = False, allow_nan_stats: bool = True,
                 name: str = "StudentT") -> None:
        parameters = dict(locals())
        super().__init__("float32", FULLY_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)
        with self._scope(""):
            freedom, self.loc, self.scale = floating(df=df, loc=loc, scale=scale)
            self.df = checked(freedom, validate_args, assert_positive)
        self._take(self.df, self.loc, self.scale)

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        normal = random_normal(whole, dtype=self.dtype, seed=seed)
        chi = gamma_sample(whole, 0.5 * self.df, self.dtype, None if seed is None else seed + 1)
        return normal * sqrt(0.5 * self.df / chi) * self.scale + self.loc

    def _log_prob(self, value: Tensor) -> Tensor:
        y = (value - self.loc) / self.scale
        half, more = 0.5 * self.df, 0.5 * (self.df + 1.0)
        normal = log(abs_(self.scale)) + 0.5 * (log(self.df) + math.log(math.pi)) + lgamma(half) - lgamma(more)
        return -more * log1p(square(y) / self.df) - normal

    def _cdf(self, value: Tensor) -> Tensor:
        y = self._spread((value - self.loc) / abs_(self.scale))
        df = self.df + zeros_like(y)
        below = 0.5 * betainc(0.5 * df, 0.5 * ones_like(df), df / (square(y) + df))
        return where(less(y, 0.0), below, 1.0 - below)

    def _entropy(self) -> Tensor:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1.0)
        log_beta = lgamma(half) + math.lgamma(0.5) - lgamma(more)
        return self._spread(log(abs_(self.scale)) + 0.5 * log(self.df) + log_beta + more * (digamma(more) - digamma(half)))

    def _mean(self) -> Tensor:
        return self._where(greater(self._spread(self.df), 1.0), self._spread(self.loc), "mean not defined for components of df <= 1")

    def _variance(self) -> Tensor:
        df = self._spread(self.df)
        safe = where(greater(df, 2.0), df - 2.0, ones_like(df))
        finite = square(self.scale) * df / safe
        infinite = fill(shape(df), self.dtype.as_numpy_dtype(INF))
        return self._where(greater(df, 1.0), where(greater(df, 2.0), finite, infinite), "variance not defined for components of df <= 1")

    def _mode(self) -> Tensor:
        return self._spread(self.loc)

