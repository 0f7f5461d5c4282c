"""The incomplete gamma and beta functions: igamma, igammac, betainc, and their gradients by every argument.

Each is an integral of a function with one peak, cut off at x. Substituting for the distance u from x makes the integrand exp(-f(u)) with f
convex, rising from 0: Gauss's rule on [0, U], U where it is negligible, gives all digits with a fixed number of points. So one short
reduction serves all arguments, large and small, on every target, and its derivatives are derivatives of the function. Of the two sides of
x the one without the peak is integrated; the other is what is missing to 1.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.opdef import OpDef, register
from graphc.core.operation import Tensor
from graphc.core.program import Node, substitute
from graphc.ops.declare import declare_one
from graphc.ops.gamma import WIDE_FLOATS, lgamma_one_plus, plus, require, stirling, test, times, where
from graphc.primitives.sugar import broadcast_binary, broadcast_dims, broadcast_to, fill_like

POINTS = {dtypes.float32: 24, dtypes.float64: 40}
NEGLIGIBLE = 39.0  # exp(-39) is nothing beside 1
LARGE = 8  # arguments from here on for which Stirling's series is exact
SMALL, SERIES = 1.5, 24  # x below which igamma is a power series, and its terms
Function = Callable[[Node, Node, int], Node]


def _quadrature(integrand: Callable[[Node], Node], upper: Node, points: int) -> Node:
    """The integral of `integrand`, nodes [..., points] -> nodes, over [0, upper] by Gauss's rule."""
    at, weight = np.polynomial.legendre.leggauss(points)
    shape = (*upper.shape, points)
    u = p.multiply(_along(upper, points), _row((at + 1) / 2, shape))
    return p.multiply(upper, p.reduce_sum(p.multiply(integrand(u), _row(weight / 2, shape)), (len(upper.shape),)))


def _row(values: np.ndarray[Any, Any], shape: Sequence[int | None]) -> Node:
    return p.broadcast_in_dim(p.constant(values, dtypes.float64), shape, (len(shape) - 1,))


def _along(x: Node, points: int) -> Node:
    """`x` beside each point."""
    return p.broadcast_in_dim(x, (*x.shape, points), range(len(x.shape)))


def _reach(slope: Node, curvature: Node) -> Node:
    """u with slope u + curvature u^2 / 2 = NEGLIGIBLE."""
    root = p.sqrt(p.add(p.multiply(slope, slope), times(curvature, 2 * NEGLIGIBLE)))
    return p.divide(fill_like(slope, 2 * NEGLIGIBLE), p.add(slope, root))


def _log_ratio(x: Node, y: Node, off: Node) -> Node:
    """log(x / y), exact where x is near y; off: x - y."""
    ratio = p.divide(off, y)
    near = test(p.abs_(ratio), "LT", 0.5)
    return p.select(near, p.log_plus_one(where(near, ratio, 0)), p.log(p.divide(where(p.not_(near), x, 1), y)))


# igamma ---------------------------------------------------------------------------------------------------------------------------------

def _gamma_factor(a: Node, x: Node) -> Node:
    """x^a e^-x / gamma(a), without the differences of large numbers that its logarithm would be."""
    large = test(a, "GE", LARGE)
    b = where(large, a, LARGE)
    y = where(large, x, LARGE)
    off = p.subtract(y, b)
    exponent = p.subtract(p.multiply(b, _log_ratio(y, b, off)), off)
    far = p.multiply(p.sqrt(times(b, 1 / (2 * math.pi))), p.exponential(p.subtract(exponent, stirling(b))))
    small = where(p.not_(large), a, 1)
    near = p.exponential(p.subtract(p.subtract(p.multiply(small, p.log(x)), x), where(p.not_(large), lgamma_one_plus(a), 0)))
    return p.select(large, far, p.multiply(small, near))


def _gamma_integral(a: Node, x: Node, points: int) -> Node:
    """What lies on the side of x without the peak of t^(a-1) e^-t, by t = x e^(s u): s = -1 for x <= a, 1 beyond."""
    below = p.compare(x, a, "LE")
    side = p.select(below, fill_like(a, -1), fill_like(a, 1))
    away = p.abs_(p.subtract(a, x))
    # Below, the integrand falls like a Gaussian at first only: up to u = 1 as if with a third of the curvature, like e^(x - a u) far out.
    steep = _reach(away, p.multiply(x, p.select(below, fill_like(x, 2 / 3), fill_like(x, 1))))
    flat = p.divide(plus(x, NEGLIGIBLE), where(below, a, 1))
    upper = p.stop_gradient(p.select(p.and_(below, test(steep, "GT", 1)), flat, steep))

    def integrand(u: Node) -> Node:
        v = p.multiply(_along(side, points), u)
        return p.exponential(p.subtract(p.multiply(_along(a, points), v), p.multiply(_along(x, points), p.exponential_minus_one(v))))

    return p.multiply(_gamma_factor(a, x), _quadrature(integrand, upper, points))


def _gamma_series(a: Node, x: Node) -> tuple[Node, Node]:
    """(P, Q) for x up to SMALL. P is x^a / gamma(a + 1) times 1 + a sum of a (-x)^n / (n! (a + n)), DLMF 8.7.1; Q = 1 - P by parts that
    do not cancel where a is small and Q with it."""
    shape = (*x.shape, SERIES)
    n = p.iota(shape, len(x.shape), x.dtype)
    signs = _row(np.array([(-1) ** k / math.factorial(k) * (k > 0) for k in range(SERIES)]), shape)
    terms = p.divide(p.multiply(signs, p.power(_along(x, SERIES), n)), p.add(_along(a, SERIES), n))
    total = p.multiply(a, p.reduce_sum(terms, (len(x.shape),)))
    log_factor = p.subtract(p.multiply(a, p.log(x)), lgamma_one_plus(a))
    factor = p.exponential(log_factor)
    lower = p.multiply(factor, plus(total, 1))
    return lower, p.subtract(p.negate(p.exponential_minus_one(log_factor)), p.multiply(factor, total))


def _gamma_pair(a: Node, x: Node, points: int) -> tuple[Node, Node]:
    """(P(a, x), Q(a, x)) for a > 0, x > 0, both finite."""
    little = test(x, "LT", SMALL)
    one, other = _gamma_series(where(little, a, 1), where(little, x, 1))
    y = where(p.not_(little), x, SMALL)
    part = _gamma_integral(a, y, points)
    rest = p.subtract(fill_like(part, 1), part)
    below = p.compare(y, a, "LE")
    return p.select(little, one, p.select(below, part, rest)), p.select(little, other, p.select(below, rest, part))


def _of_gamma(which: int) -> Function:
    """P (0) or Q (1): NaN for a <= 0, x < 0 or an infinite a; P is 0 for x = 0 and 1 for an infinite x."""
    def function(a: Node, x: Node, points: int) -> Node:
        usual = p.and_(p.and_(test(a, "GT", 0), p.is_finite(a)), p.and_(test(x, "GT", 0), p.is_finite(x)))
        found = _gamma_pair(where(usual, a, 1), where(usual, x, 1), points)[which]
        at_end = p.and_(p.and_(test(a, "GT", 0), p.is_finite(a)), p.or_(test(x, "EQ", 0), test(x, "EQ", math.inf)))
        end = p.select(test(x, "EQ", 0), fill_like(x, which), fill_like(x, 1 - which))
        return p.select(usual, found, where(at_end, end, math.nan))
    return function


# betainc --------------------------------------------------------------------------------------------------------------------------------

def _beta_factor(a: Node, b: Node, x: Node, y: Node) -> Node:
    """x^a y^b / B(a, b) with y = 1 - x. Arguments below LARGE are moved up by it: B(a, b) = B(a + 1, b) (a + b) / a."""
    risen = fill_like(a, 1)
    high: list[Node] = [a, b]
    for n in range(2):
        is_small = test(high[n], "LT", LARGE)
        c = where(is_small, high[n], 1)
        both = p.add(c, where(is_small, high[1 - n], 1))
        for k in range(LARGE):
            risen = p.multiply(risen, where(is_small, p.divide(plus(c, k), plus(both, k)), 1))
        high[n] = p.select(is_small, plus(high[n], LARGE), high[n])
    up, down = high
    total = p.add(up, down)
    peak, other = p.divide(up, total), p.divide(down, total)
    off = p.select(test(x, "LT", 0.5), p.subtract(x, peak), p.subtract(other, y))  # of the two the one of smaller numbers
    exponent = p.add(p.multiply(up, _log_ratio(x, peak, off)), p.multiply(down, _log_ratio(y, other, p.negate(off))))
    moved = p.add(p.multiply(p.subtract(a, up), p.log(x)), p.multiply(p.subtract(b, down), p.log(y)))
    series = p.subtract(stirling(total), p.add(stirling(up), stirling(down)))
    scale = p.sqrt(times(p.divide(p.multiply(up, down), total), 1 / (2 * math.pi)))
    return p.multiply(p.multiply(risen, scale), p.exponential(p.add(p.add(exponent, moved), series)))


def _beta_reach(a: Node, total: Node, x: Node, y: Node) -> Node:
    """Where the integrand of `_beta_integral` is negligible, or a little further: an upper bound, then Newton's steps down to it."""
    slope = p.maximum(p.subtract(a, p.multiply(total, x)), fill_like(a, 0))
    curvature = p.multiply(total, p.multiply(x, y))
    gentle, steep = _reach(slope, curvature), _reach(slope, times(curvature, math.exp(-1)))
    # The curvature is that at t: from x > 1/2 on it grows first, and is back at u = 2 log(x / y); else it falls, to 1/e at u = 1.
    grows = p.compare(gentle, times(p.log(p.divide(x, y)), 2), "LE")
    flat = p.divide(p.subtract(fill_like(a, NEGLIGIBLE), p.multiply(total, p.log(y))), a)
    u = p.select(grows, gentle, p.select(test(steep, "LE", 1), steep, flat))
    for _ in range(2):
        left = p.multiply(x, p.exponential_minus_one(p.negate(u)))
        rise = p.add(p.multiply(a, u), p.multiply(total, p.log_plus_one(left)))
        tilt = p.subtract(a, p.divide(p.multiply(total, p.add(x, left)), plus(left, 1)))
        u = p.subtract(u, p.divide(plus(rise, -NEGLIGIBLE), tilt))
    return u


def _beta_integral(a: Node, b: Node, x: Node, y: Node, points: int) -> Node:
    """The integral over u from 0 of (t / x)^a ((1 - t) / y)^b, log(t / (1 - t)) = log(x / y) - u, for a >= 1 and x before the peak."""
    total = p.add(a, b)
    upper = p.stop_gradient(_beta_reach(a, total, x, y))

    def integrand(u: Node) -> Node:
        grown = p.log_plus_one(p.multiply(_along(x, points), p.exponential_minus_one(p.negate(u))))
        return p.exponential(p.negate(p.add(p.multiply(_along(a, points), u), p.multiply(_along(total, points), grown))))

    return _quadrature(integrand, upper, points)


def _beta(a: Node, b: Node, x: Node, points: int) -> Node:
    """I_x(a, b) for a, b > 0 and 0 < x < 1, from the side of x without the peak. A parameter below 1 is first raised by 1."""
    raised = [p.select(test(c, "LT", 1), plus(c, 1), c) for c in (a, b)]
    before = p.compare(p.multiply(x, p.add(*raised)), raised[0], "LE")
    y = p.subtract(fill_like(x, 1), x)
    c, d = p.select(before, a, b), p.select(before, b, a)
    v, w = p.select(before, x, y), p.select(before, y, x)
    factor = _beta_factor(c, d, v, w)
    is_low = test(c, "LT", 1)
    # x^(c+1) y^d / B(c + 1, d) is x (c + d) / c times what it is for c.
    lifted = p.multiply(factor, where(is_low, p.divide(p.multiply(v, p.add(c, d)), c), 1))
    part = p.multiply(lifted, _beta_integral(p.select(is_low, plus(c, 1), c), d, v, w, points))
    part = p.add(part, where(is_low, p.divide(factor, c), 0))
    return p.select(before, part, p.subtract(fill_like(part, 1), part))


def _beta_of(a: Node, b: Node, x: Node, points: int) -> Node:
    """NaN for a or b that is not positive and finite, or x outside [0, 1]."""
    valid = p.and_(p.and_(test(a, "GT", 0), p.is_finite(a)), p.and_(test(b, "GT", 0), p.is_finite(b)))
    inside = p.and_(valid, p.and_(test(x, "GT", 0), test(x, "LT", 1)))
    found = _beta(where(inside, a, 1), where(inside, b, 1), where(inside, x, 0.5), points)
    at_end = p.and_(valid, p.or_(test(x, "EQ", 0), test(x, "EQ", 1)))
    return p.select(inside, found, where(at_end, x, math.nan))


# TF1's names ----------------------------------------------------------------------------------------------------------------------------

def _in_double(function: Callable[..., Node], *operands: Node) -> Node:
    dtype = operands[0].dtype
    return p.convert(function(*(p.convert(x, dtypes.float64) for x in operands), POINTS[dtype]), dtype)


def _unbroadcast(g: Node, x: Node) -> Node:
    """The cotangent of `x` from one of a result that it was broadcast to."""
    extra = len(g.shape) - len(x.shape)
    axes = [axis for axis in range(len(g.shape)) if axis < extra or (x.shape[axis - extra] == 1 and g.shape[axis] != 1)]
    return p.reshape(p.reduce_sum(g, axes), x.shape)


def _density(a: Node, x: Node, points: int) -> Node:
    """The derivative of P by x: x^(a-1) e^-x / gamma(a)."""
    inside = p.and_(test(a, "GT", 0), test(x, "GT", 0))
    return where(inside, p.divide(_gamma_factor(where(inside, a, 1), where(inside, x, 1)), where(inside, x, 1)), 0)


def _beta_density(a: Node, b: Node, x: Node, points: int) -> Node:
    """The derivative of I_x by x: x^(a-1) (1 - x)^(b-1) / B(a, b)."""
    inside = p.and_(p.and_(test(a, "GT", 0), test(b, "GT", 0)), p.and_(test(x, "GT", 0), test(x, "LT", 1)))
    v = where(inside, x, 0.5)
    w = p.subtract(fill_like(v, 1), v)
    return where(inside, p.divide(_beta_factor(where(inside, a, 1), where(inside, b, 1), v, w), p.multiply(v, w)), 0)


def _by_parameter(expand: Callable[..., Node], operands: Sequence[Node], position: int, g: Node) -> Node:
    """The gradient of expand(*operands) by one operand alone, whatever the others are made of."""
    actual = operands[position]
    stand_in = p.parameter(f"?parameter{position}", actual.type)
    (found,) = vjp((expand(*operands[:position], stand_in, *operands[position + 1:]),), (stand_in,), (g,))
    assert found is not None
    return substitute([found], {stand_in: actual}, {*operands, g})[found]


def _incomplete_gamma(type_name: str, which: int) -> OpDef:
    def expand(a: Node, x: Node) -> Node:
        require(type_name, WIDE_FLOATS, a=a, x=x)
        return broadcast_binary(lambda a, x: _in_double(_of_gamma(which), a, x), a, x)

    def gradient(a: Node, x: Node, y: Node, g: Node) -> Sequence[Node | None]:
        """By x the density; by a that of the integral."""
        density = _in_double(_density, broadcast_to(a, g.shape), broadcast_to(x, g.shape))
        by_x = p.multiply(g, density if which == 0 else p.negate(density))
        return _by_parameter(expand, (a, x), 0, g), _unbroadcast(by_x, x)

    return register(OpDef(type_name, expand, gradient=gradient, attrs={}))


IGAMMA, IGAMMAC = _incomplete_gamma("Igamma", 0), _incomplete_gamma("Igammac", 1)


def gamma_sample_slope(a: Node, sample: Node) -> Node:
    """How gamma distributed numbers move with `a`, of their shape: -(dP / da) / (dP / dx) at x = `sample`, where P stays the same. 0 for 0,
    to which small numbers round. M. Figurnov, S. Mohamed and A. Mnih, "Implicit reparameterization gradients", 2018."""
    def slope(a: Node, x: Node, points: int) -> Node:
        drawn = test(x, "GT", 0)
        y = where(drawn, x, 1)
        by_a = _by_parameter(lambda a, y: _of_gamma(0)(a, y, points), (a, y), 0, fill_like(a, 1))
        return where(drawn, p.negate(p.divide(by_a, _density(a, y, points))), 0)
    return _in_double(slope, a, sample)


def igamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """P(a, x), the lower incomplete gamma function divided by gamma(a). NaN for a <= 0 or x < 0."""
    return declare_one(IGAMMA, {"a": a, "x": x}, None, name)


def igammac(a: Any, x: Any, name: str | None = None) -> Tensor:
    """Q(a, x) = 1 - igamma(a, x), exact where it is small. NaN for a <= 0 or x < 0."""
    return declare_one(IGAMMAC, {"a": a, "x": x}, None, name)


def _betainc(a: Node, b: Node, x: Node) -> Node:
    require("Betainc", WIDE_FLOATS, a=a, b=b, x=x)
    shape = broadcast_dims(broadcast_dims(a.shape, b.shape), x.shape)
    return _in_double(_beta_of, *(broadcast_to(each, shape) for each in (a, b, x)))


def _betainc_gradient(a: Node, b: Node, x: Node, y: Node, g: Node) -> Sequence[Node | None]:
    """By x the density; by a and b that of the integral, which TF1 does not have."""
    density = _in_double(_beta_density, *(broadcast_to(each, g.shape) for each in (a, b, x)))
    by_a, by_b = (_by_parameter(_betainc, (a, b, x), position, g) for position in range(2))
    return by_a, by_b, _unbroadcast(p.multiply(g, density), x)


BETAINC = register(OpDef("Betainc", _betainc, gradient=_betainc_gradient, attrs={}))


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularised incomplete beta function I_x(a, b). NaN for a or b that is not positive and finite, and for x outside [0, 1]."""
    return declare_one(BETAINC, {"a": a, "b": b, "x": x}, None, name)
