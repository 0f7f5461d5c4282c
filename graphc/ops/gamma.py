"""The gamma function's family: lgamma, digamma, polygamma, zeta, lbeta. Every step of them is a map or a short sum, so they fuse.

All are computed in float64 and rounded to the type of the operand, which float32 and the 16-bit floats then have nearly to the last bit.
Numbers of formulas are those of the NIST Digital Library of Mathematical Functions, dlmf.nist.gov.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.opdef import OpDef, register
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import as_tensor, declare_one, name_scope, unary_function
from graphc.ops.reductions import reduce_sum
from graphc.primitives.sugar import broadcast_binary, fill_like

FLOATS = (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64)
WIDE_FLOATS = FLOATS[2:]
SHIFT = 8  # arguments below are moved up by so much: from there on the asymptotic series are exact
TERMS = 10  # of the zeta function's series that are added up before the rest is taken as an integral
# Bernoulli's numbers of even order from 2 on.
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330, 854513 / 138,
             -236364091 / 2730)
STIRLING = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI[:9], 1))  # of lgamma, 5.11.1
_EULER = 0.5772156649015329

Unary = Callable[[Node], Node]


# What the special functions share -------------------------------------------------------------------------------------------------------

def in_double(function: Callable[..., Node]) -> Callable[..., Node]:
    """`function`, of float64 nodes, for nodes of any floating type."""
    def rounded(*operands: Node) -> Node:
        return p.convert(function(*(p.convert(x, dtypes.float64) for x in operands)), operands[0].dtype)
    return rounded


def require(type_name: str, allowed: Sequence[DType], **operands: Node) -> None:
    """TypeError where an operand is of another element type than those allowed."""
    for name, x in operands.items():
        if x.dtype not in allowed:
            raise TypeError(f"Value passed to parameter '{name}' of '{type_name}' has DataType {x.dtype.name} not in list of allowed "
                            f"values: {', '.join(each.name for each in allowed)}")


def horner(x: Node, coefficients: Sequence[float]) -> Node:
    """coefficients[0] + coefficients[1] x + coefficients[2] x^2 + ..."""
    result = fill_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = p.add(p.multiply(result, x), fill_like(x, coefficient))
    return result


def where(condition: Node, x: Node, value: float) -> Node:
    """`x` where the condition holds, else `value`: keeps what must not be computed out of a formula, and out of its gradient."""
    return p.select(condition, x, fill_like(x, value))


def test(x: Node, direction: str, value: float) -> Node:
    return p.compare(x, fill_like(x, value), direction)


def plus(x: Node, value: float) -> Node:
    return p.add(x, fill_like(x, value))


def times(x: Node, value: float) -> Node:
    return p.multiply(x, fill_like(x, value))


def is_pole(x: Node) -> Node:
    """Whether x is 0, -1, -2, ..."""
    return p.and_(test(x, "LE", 0), p.compare(x, p.floor(x), "EQ"))


def _to_nearest(x: Node, reflects: Node) -> Node:
    """pi times the distance of x from the nearest integer, where `reflects`; harmless elsewhere."""
    return times(where(reflects, p.subtract(x, p.round_nearest_even(x)), 0.5), math.pi)


# lgamma ---------------------------------------------------------------------------------------------------------------------------------

def stirling(w: Node) -> Node:
    """What log(gamma(w)) is more than (w - 1/2) log w - w + log(2 pi) / 2, for w >= SHIFT."""
    inverse = p.divide(fill_like(w, 1), w)
    return p.multiply(inverse, horner(p.multiply(inverse, inverse), STIRLING))


def _zeta_minus_one(k: int) -> float:
    """zeta(k) - 1: the first terms and the Euler-Maclaurin formula (25.2.10) for the others."""
    n = 20.0
    total = n ** (1 - k) / (k - 1) + n ** -k / 2
    for j, b in enumerate(BERNOULLI[:6], 1):
        total += b / math.factorial(2 * j) * math.prod(range(k, k + 2 * j - 1)) * n ** (1 - k - 2 * j)
    return total + math.fsum(m ** -k for m in range(2, 20))


# lgamma(2 + d) / d, by powers of d: 5.7.3.
_ABOUT_TWO = (1 - _EULER, *((-1) ** k * _zeta_minus_one(k) / k for k in range(2, 29)))


@in_double
def lgamma_of(x: Node) -> Node:
    """log|gamma(x)|; 5.5.3 below zero."""
    reflects = test(x, "LT", 0)
    y = p.select(reflects, p.subtract(fill_like(x, 1), x), x)
    positive = _lgamma(y, plus(y, -1))
    sine = p.abs_(p.sine(_to_nearest(x, reflects)))
    reflected = p.subtract(p.log(p.divide(fill_like(x, math.pi), sine)), positive)
    return p.select(is_pole(x), fill_like(x, math.inf), p.select(reflects, reflected, positive))


def lgamma_one_plus(x: Node) -> Node:
    """log(gamma(1 + x)) for float64 x >= 0, with all digits where x is small."""
    return _lgamma(plus(x, 1), x)


def _lgamma(y: Node, above_one: Node) -> Node:
    """log(gamma(y)) for y > 0; above_one: y - 1. A power series about 1 and 2, where it is zero; Stirling's series, after a shift of small
    arguments, elsewhere."""
    near = p.and_(test(y, "GE", 0.5), test(y, "LE", 2.5))
    about_one = test(y, "LT", 1.5)
    d = where(near, p.select(about_one, above_one, plus(y, -2)), 0)
    series = p.multiply(d, horner(d, _ABOUT_TWO))
    close = p.subtract(series, where(about_one, p.log_plus_one(d), 0))
    small = test(y, "LT", SHIFT)
    w = p.select(small, plus(y, SHIFT), y)
    far = p.add(plus(p.multiply(plus(w, -0.5), plus(p.log(w), -1)), math.log(2 * math.pi) / 2 - 0.5), stirling(w))
    risen, _ = _rising(where(small, y, 1))
    return p.select(near, close, p.subtract(far, where(small, p.log(risen), 0)))


def _rising(y: Node) -> tuple[Node, Node]:
    """y (y + 1) ... (y + SHIFT - 1), and its derivative."""
    product, slope = y, fill_like(y, 1)
    for k in range(1, SHIFT):
        factor = plus(y, k)
        product, slope = p.multiply(product, factor), p.add(p.multiply(slope, factor), product)
    return product, slope


# digamma --------------------------------------------------------------------------------------------------------------------------------

@in_double
def digamma_of(x: Node) -> Node:
    """The slope of lgamma: 5.11.2 after a shift of small arguments by 5.5.2; 5.5.4 below zero."""
    reflects = test(x, "LT", 0)
    y = p.select(reflects, p.subtract(fill_like(x, 1), x), x)
    small = test(y, "LT", SHIFT)
    w = p.select(small, plus(y, SHIFT), y)
    inverse = p.divide(fill_like(w, 1), w)
    square = p.multiply(inverse, inverse)
    series = p.multiply(square, horner(square, [b / (2 * k) for k, b in enumerate(BERNOULLI[:10], 1)]))
    far = p.subtract(p.subtract(p.log(w), times(inverse, 0.5)), series)
    product, slope = _rising(where(small, y, 1))
    positive = p.subtract(far, where(small, p.divide(slope, product), 0))
    angle = _to_nearest(x, reflects)
    reflected = p.subtract(positive, times(p.divide(p.cosine(angle), p.sine(angle)), math.pi))
    return p.select(is_pole(x), fill_like(x, math.inf), p.select(reflects, reflected, positive))


# zeta, polygamma ------------------------------------------------------------------------------------------------------------------------

def _hurwitz(s: Node, q: Node) -> Node:
    """zeta(s, q) for s > 1, q > 0: TERMS terms of the series, and the Euler-Maclaurin formula for the rest, 25.11.28."""
    shape = (*q.shape, TERMS)
    axes = range(len(q.shape))
    step = p.iota(shape, len(q.shape), q.dtype)
    terms = p.power(p.add(p.broadcast_in_dim(q, shape, axes), step), p.negate(p.broadcast_in_dim(s, shape, axes)))
    w = plus(q, TERMS)
    last = p.power(w, p.negate(s))
    bounded = p.minimum(s, fill_like(s, 1e8))  # what follows is nothing beside the first term long before
    factor, rest = fill_like(s, 1), fill_like(s, 0)
    inverse = p.divide(fill_like(w, 1), w)
    for j, b in enumerate(BERNOULLI, 1):
        more = bounded if j == 1 else p.multiply(plus(bounded, 2 * j - 3), plus(bounded, 2 * j - 2))
        factor = p.multiply(p.multiply(factor, more), inverse if j == 1 else p.multiply(inverse, inverse))
        rest = p.add(rest, times(factor, b / math.factorial(2 * j)))
    integral = plus(p.divide(w, plus(s, -1)), 0.5)
    return p.add(p.reduce_sum(terms, (len(q.shape),)), p.multiply(last, p.add(integral, rest)))


@in_double
def zeta_of(s: Node, q: Node) -> Node:
    """zeta(s, q) = sum of (q + k)^-s over k >= 0. Of q below zero, for whole s only, by the sum over all integers k, which is the same
    for q and its fractional part r: zeta(s, r) + (-1)^s (zeta(s, 1 - r) - zeta(s, 1 - q))."""
    valid = p.and_(test(s, "GT", 1), p.not_(is_pole(q)))
    below = test(q, "LT", 0)
    whole = p.compare(s, p.floor(s), "EQ")
    safe = where(valid, s, 2)
    r = p.select(below, p.subtract(q, p.floor(q)), q)
    direct = _hurwitz(safe, where(valid, r, 1))
    beyond = p.and_(below, valid)
    others = p.subtract(_hurwitz(safe, where(beyond, p.subtract(fill_like(q, 1), r), 1)),
                        _hurwitz(safe, where(beyond, p.subtract(fill_like(q, 1), q), 1)))
    is_even = p.compare(times(p.floor(times(safe, 0.5)), 2), safe, "EQ")
    result = p.add(direct, where(beyond, p.select(is_even, others, p.negate(others)), 0))
    undefined = p.or_(test(s, "LT", 1), p.and_(below, p.not_(whole)))
    result = p.select(p.or_(test(s, "EQ", 1), is_pole(q)), fill_like(q, math.inf), result)
    return p.select(p.or_(undefined, p.compare(s, s, "NE")), fill_like(q, math.nan), result)


@in_double
def polygamma_of(a: Node, x: Node) -> Node:
    """The a-th derivative of digamma: (-1)^(a + 1) a! zeta(a + 1, x), 25.11.12; NaN where a is no whole number."""
    order = plus(a, 1)
    size = p.multiply(p.exponential(lgamma_of(order)), zeta_of(order, x))
    is_odd = p.compare(times(p.floor(times(a, 0.5)), 2), a, "NE")
    result = p.select(p.or_(is_odd, is_pole(x)), size, p.negate(size))
    result = p.select(test(a, "EQ", 0), digamma_of(x), result)
    valid = p.and_(test(a, "GE", 0), p.compare(a, p.floor(a), "EQ"))
    return where(valid, result, math.nan)


# TF1's names ----------------------------------------------------------------------------------------------------------------------------

def unary(type_name: str, function: Unary, doc: str, gradient: Callable[..., Sequence[Node | None]] | None = None) -> Callable[..., Tensor]:
    """The public function of a special function of one operand, of any floating type."""
    def expand(x: Node) -> Node:
        require(type_name, FLOATS, x=x)
        return function(x)
    return unary_function(register(OpDef(type_name, expand, gradient=gradient, attrs={})), doc)


lgamma = unary("Lgamma", lgamma_of, "log|gamma(x)|; inf for 0, -1, -2, ...", lambda x, y, g: (p.multiply(g, digamma_of(x)),))
digamma = unary("Digamma", digamma_of, "The derivative of lgamma; inf for 0, -1, -2, ...")


def _zeta(x: Node, q: Node) -> Node:
    require("Zeta", WIDE_FLOATS, x=x, q=q)
    return broadcast_binary(zeta_of, x, q)


def _polygamma(a: Node, x: Node) -> Node:
    require("Polygamma", WIDE_FLOATS, a=a, x=x)
    return broadcast_binary(polygamma_of, a, x)


def _polygamma_gradient(a: Node, x: Node, y: Node, g: Node) -> Sequence[Node | None]:
    """By x: the next order. The order itself is a whole number."""
    spread = p.multiply(g, _polygamma(plus(a, 1), x))
    extra = len(spread.shape) - len(x.shape)
    axes = [axis for axis in range(len(spread.shape)) if axis < extra or (x.shape[axis - extra] == 1 and spread.shape[axis] != 1)]
    return None, p.reshape(p.reduce_sum(spread, axes), x.shape)


ZETA = register(OpDef("Zeta", _zeta, attrs={}))
POLYGAMMA = register(OpDef("Polygamma", _polygamma, gradient=_polygamma_gradient, attrs={}))


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """The Hurwitz zeta function: the sum of (q + k)^-x over k = 0, 1, 2, ... NaN for x < 1, inf for x = 1 and for q = 0, -1, -2, ...; for
    q below zero NaN where x is no whole number."""
    return declare_one(ZETA, {"x": x, "q": q}, None, name)


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The derivative of digamma of order `a`, a whole number of a floating type, at `x`; NaN for another a, inf for x = 0, -1, -2, ..."""
    return declare_one(POLYGAMMA, {"a": a, "x": x}, None, name)


def lbeta(x: Any, name: str | None = None) -> Tensor:
    """The logarithm of the absolute value of the Beta function of the last axis: sum(lgamma(x)) - lgamma(sum(x))."""
    with name_scope(name, "lbeta", [x]):
        x = as_tensor(x, None, "x")
        return reduce_sum(lgamma(x), [-1]) - lgamma(reduce_sum(x, [-1]))
