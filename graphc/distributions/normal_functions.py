"""The standard normal distribution function, its logarithm and its inverse, with all their digits in the tails."""
from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.core.dtypes import float64
from graphc.core.operation import Tensor
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like, zeros_like
from graphc.ops.elementwise import cast, erf, erfc, exp, greater, less, log, log1p, logical_and, maximum, minimum, sqrt, square

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def ndtr(x: Tensor) -> Tensor:
    """P[X <= x]."""
    scaled = x * math.sqrt(0.5)
    return where(less(x, -1.0), 0.5 * erfc(-scaled), where(less(x, 1.0), 0.5 + 0.5 * erf(scaled), 1.0 - 0.5 * erfc(scaled)))


def log_ndtr(x: Tensor) -> Tensor:
    """log P[X <= x]. Far below, where erfc vanishes, by the asymptotic series: Abramowitz and Stegun, 26.2.12."""
    edge = -20.0 if x.dtype is float64 else -9.0
    far, near = minimum(x, edge), maximum(x, edge)
    below = log(0.5 * erfc(-near * math.sqrt(0.5)))
    above = log1p(-0.5 * erfc(maximum(x, 0.0) * math.sqrt(0.5)))
    inverse = 1.0 / square(far)
    series, term = ones_like(x), ones_like(x)
    for n in range(1, 8):
        term = term * inverse * -(2.0 * n - 1)
        series = series + term
    tail = -0.5 * square(far) - log(-far) - HALF_LOG_TWO_PI + log(series)
    return where(less(x, edge), tail, where(greater(x, 0.0), above, below))


# P. Acklam's rational approximations, 2003, of relative error 1.15e-9: the middle in q = p - 1/2, the tails in sqrt(-2 log p).
_MIDDLE = ((-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01,
            2.506628277459239e+00),
           (-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01, 1.0))
_TAIL = ((-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00,
          2.938163982698783e+00),
         (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1.0))
_EDGE = 0.02425


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    total = zeros_like(x)
    for each in coefficients:
        total = total * x + each
    return total


def ndtri(p: Tensor) -> Tensor:
    """The x with ndtr(x) = p: -inf for 0, inf for 1, NaN outside. Acklam's approximation and a step of Halley's method, in float64."""
    dtype, p = p.dtype, cast(p, float64)
    inside = logical_and(greater(p, 0.0), less(p, 1.0))
    u = where(inside, p, zeros_like(p) + 0.5)
    lower = minimum(u, 1.0 - u)  # both tails by the lower one
    q = lower - 0.5
    r = square(q)
    middle = q * _polynomial(_MIDDLE[0], r) / _polynomial(_MIDDLE[1], r)
    t = sqrt(-2.0 * log(minimum(lower, _EDGE)))
    x = where(less(lower, _EDGE), _polynomial(_TAIL[0], t) / _polynomial(_TAIL[1], t), middle)
    error = (ndtr(x) - lower) * math.sqrt(2 * math.pi) * exp(0.5 * square(x))
    x = x - error / (1.0 + 0.5 * x * error)
    x = where(greater(u, 0.5), -x, x)
    return cast(where(inside, x, log(p) - log1p(-p)), dtype)
