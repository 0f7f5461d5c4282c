"""Functions of complex numbers, as they are of the real and imaginary parts: the formulas that `real` puts into programs.

Each takes and gives `Parts`. They are exact where the plain formula is not: division and |z| scale, so that squares do not overflow; log
and expm1 keep what cancels near 1 and 0; tanh does not overflow. Branch cuts and signs are those of C99 (annex G) for finite values.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from graphc.core import dtypes
from graphc.core.program import Node
from graphc.primitives import (
    abs_,
    add,
    and_,
    atan2,
    bitcast_convert,
    compare,
    cosine,
    divide,
    dot_general,
    exponential,
    exponential_minus_one,
    full,
    log,
    log_plus_one,
    maximum,
    minimum,
    multiply,
    negate,
    or_,
    select,
    sine,
    sqrt,
    subtract,
    tanh,
)


@dataclass(frozen=True)
class Parts:
    """x + i y, as two nodes of one real type; y is None where it is known to be zero."""

    x: Node
    y: Node | None = None

    @property
    def imaginary(self) -> Node:
        """y as a node."""
        return full(0, self.x.type) if self.y is None else self.y

    def each(self, function: Callable[[Node], Node]) -> Parts:
        """A function that is linear with real coefficients."""
        return Parts(function(self.x), None if self.y is None else function(self.y))


def _like(x: Node, value: float) -> Node:
    return full(value, x.type)


def _scaled(x: Node, factor: float) -> Node:
    return multiply(x, _like(x, factor))


def _plus(x: Node | None, y: Node | None) -> Node | None:
    return y if x is None else x if y is None else add(x, y)


def _minus(x: Node | None, y: Node | None) -> Node | None:
    return x if y is None else negate(y) if x is None else subtract(x, y)


def _where(condition: Node, a: Parts, b: Parts) -> Parts:
    return Parts(select(condition, a.x, b.x), select(condition, a.imaginary, b.imaginary))


# Arithmetic -----------------------------------------------------------------------------------------------------------------------------

def plus(a: Parts, b: Parts) -> Parts:
    return Parts(add(a.x, b.x), _plus(a.y, b.y))


def minus(a: Parts, b: Parts) -> Parts:
    return Parts(subtract(a.x, b.x), _minus(a.y, b.y))


def negative(a: Parts) -> Parts:
    return a.each(negate)


def bilinear(product: Callable[[Node, Node], Node], a: Parts, b: Parts) -> Parts:
    """(a.x b.x - a.y b.y) + i (a.x b.y + a.y b.x) for a product of any kind."""
    def of(x: Node | None, y: Node | None) -> Node | None:
        return None if x is None or y is None else product(x, y)
    real = _minus(product(a.x, b.x), of(a.y, b.y))
    assert real is not None
    return Parts(real, _plus(of(a.x, b.y), of(a.y, b.x)))


def times(a: Parts, b: Parts) -> Parts:
    return bilinear(multiply, a, b)


def over(a: Parts, b: Parts) -> Parts:
    """By the larger part of the divisor: R. Smith, "Algorithm 116: complex division", 1962."""
    if b.y is None:
        return a.each(lambda part: divide(part, b.x))
    swapped = compare(abs_(b.x), abs_(b.y), "LT")
    large, small = select(swapped, b.y, b.x), select(swapped, b.x, b.y)
    ratio = divide(small, large)
    scale = add(large, multiply(small, ratio))
    x, y = a.x, a.imaginary
    first, second = select(swapped, y, x), select(swapped, x, y)
    real = add(first, multiply(second, ratio))  # (x + y r), or (y + x r) where swapped
    imag = select(swapped, subtract(multiply(y, ratio), x), subtract(y, multiply(x, ratio)))
    return Parts(divide(real, scale), divide(imag, scale))


def size(a: Parts) -> Node:
    """|z| without squares that overflow."""
    if a.y is None:
        return abs_(a.x)
    x, y = abs_(a.x), abs_(a.y)
    large, small = maximum(x, y), minimum(x, y)
    ratio = divide(small, select(compare(large, _like(large, 0), "EQ"), _like(large, 1), large))
    found = multiply(large, sqrt(add(multiply(ratio, ratio), _like(ratio, 1))))
    return select(compare(large, _like(large, math.inf), "EQ"), large, found)


def unit(a: Parts) -> Parts:
    """z / |z|; 0 at 0."""
    length = size(a)
    safe = select(compare(length, _like(length, 0), "EQ"), _like(length, 1), length)
    return a.each(lambda part: divide(part, safe))


def equal(a: Parts, b: Parts) -> Node:
    return and_(compare(a.x, b.x, "EQ"), compare(a.imaginary, b.imaginary, "EQ"))


def unequal(a: Parts, b: Parts) -> Node:
    return or_(compare(a.x, b.x, "NE"), compare(a.imaginary, b.imaginary, "NE"))


def contracted(node: Node, a: Parts, b: Parts) -> Parts:
    """dot_general with the attributes of `node`."""
    at = node.attrs
    return bilinear(lambda x, y: dot_general(x, y, at.lhs_batch, at.rhs_batch, at.lhs_contract, at.rhs_contract), a, b)


# Exponentials and logarithms --------------------------------------------------------------------------------------------------------------

def exp(a: Parts) -> Parts:
    """e^x (cos y + i sin y)."""
    y = a.imaginary
    length, turn = exponential(a.x), sine(y)
    still = compare(turn, _like(turn, 0), "EQ")  # e^x may be infinite
    return Parts(multiply(length, cosine(y)), select(still, turn, multiply(length, turn)))


def expm1(a: Parts) -> Parts:
    """(e^x - 1) cos y - 2 sin(y/2)^2, e^x sin y."""
    y = a.imaginary
    half = sine(_scaled(y, 0.5))
    real = subtract(multiply(exponential_minus_one(a.x), cosine(y)), _scaled(multiply(half, half), 2))
    return Parts(real, exp(a).y)


def logarithm(a: Parts) -> Parts:
    """log |z| + i arg z. Near |z| = 1 by log1p of (large - 1)(large + 1) + small^2, which does not cancel."""
    y = a.imaginary
    x_size, y_size = abs_(a.x), abs_(y)
    large, small = maximum(x_size, y_size), minimum(x_size, y_size)
    near = and_(compare(large, _like(large, 0.5), "GT"), compare(large, _like(large, 2), "LT"))
    bounded = select(near, large, _like(large, 1))
    side = select(near, small, _like(small, 0))
    excess = add(multiply(subtract(bounded, _like(large, 1)), add(bounded, _like(large, 1))), multiply(side, side))
    length = select(near, _scaled(log_plus_one(excess), 0.5), log(size(a)))
    return Parts(length, atan2(y, a.x))


def log1p(a: Parts) -> Parts:
    """log |1 + z| by log1p(x (2 + x) + y^2) / 2 for small z; else as log(1 + z)."""
    y = a.imaginary
    shifted = plus(a, Parts(_like(a.x, 1)))
    small = compare(size(a), _like(a.x, 0.5), "LT")
    x_small, y_small = (select(small, part, _like(part, 0)) for part in (a.x, y))
    excess = add(multiply(x_small, add(x_small, _like(a.x, 2))), multiply(y_small, y_small))
    whole = logarithm(shifted)
    return Parts(select(small, _scaled(log_plus_one(excess), 0.5), whole.x), whole.y)


def power(a: Parts, b: Parts) -> Parts:
    """e^(b log a); 1 for b = 0, and 0 for a = 0 with a positive real part of b."""
    found = exp(times(b, logarithm(a)))
    nothing, none = (equal(each, Parts(_like(each.x, 0))) for each in (a, b))
    zero, one = Parts(_like(a.x, 0)), Parts(_like(a.x, 1))
    return _where(none, one, _where(and_(nothing, compare(b.x, _like(b.x, 0), "GT")), zero, found))


def root(a: Parts) -> Parts:
    """With t = sqrt((|x| + |z|) / 2): t + i y / 2t for x >= 0, else |y| / 2t + i t with the sign of y. Halved first, so that it does not
    overflow."""
    y = a.imaginary
    t = sqrt(add(_scaled(abs_(a.x), 0.5), _scaled(size(a), 0.5)))
    other = divide(_scaled(y, 0.5), select(compare(t, _like(t, 0), "EQ"), _like(t, 1), t))
    right = compare(a.x, _like(t, 0), "GE")
    return Parts(select(right, t, abs_(other)), select(right, other, select(_is_negative(y), negate(t), t)))


def _is_negative(x: Node) -> Node:
    """By the sign's bit: -0.0 too."""
    bits = bitcast_convert(x, dtypes.int32 if x.dtype.size == 4 else dtypes.int64)
    return compare(bits, full(0, bits.type), "LT")


def inverse_root(a: Parts) -> Parts:
    return over(Parts(_like(a.x, 1)), root(a))


# Circular and hyperbolic functions --------------------------------------------------------------------------------------------------------

def _sinh(x: Node) -> Node:
    """(u + u / (u + 1)) / 2 with u = e^|x| - 1, with the sign of x; exact near 0."""
    u = exponential_minus_one(abs_(x))
    finite = compare(u, _like(u, math.inf), "NE")
    whole = select(finite, _scaled(add(u, divide(u, add(u, _like(u, 1)))), 0.5), u)
    return select(_is_negative(x), negate(whole), whole)


def _cosh(x: Node) -> Node:
    e = exponential(abs_(x))
    return _scaled(add(e, divide(_like(e, 1), e)), 0.5)


def sin(a: Parts) -> Parts:
    """sin x cosh y + i cos x sinh y."""
    if a.y is None:
        return Parts(sine(a.x))
    return Parts(multiply(sine(a.x), _cosh(a.y)), multiply(cosine(a.x), _sinh(a.y)))


def cos(a: Parts) -> Parts:
    """cos x cosh y - i sin x sinh y."""
    if a.y is None:
        return Parts(cosine(a.x))
    return Parts(multiply(cosine(a.x), _cosh(a.y)), negate(multiply(sine(a.x), _sinh(a.y))))


def tangent_hyperbolic(a: Parts) -> Parts:
    """With t = tanh x and s + i c = sin y + i cos y: t / (c^2 + t^2 s^2) + i s c (1 - t^2) / (c^2 + t^2 s^2), where 1 - t^2 is
    4 e / (1 + e)^2 with e = e^(-2 |x|)."""
    if a.y is None:
        return Parts(tanh(a.x))
    t, s, c = tanh(a.x), sine(a.y), cosine(a.y)
    below = add(multiply(c, c), multiply(multiply(t, t), multiply(s, s)))
    e = exponential(_scaled(abs_(a.x), -2))
    above = add(e, _like(e, 1))
    slope = divide(_scaled(e, 4), multiply(above, above))
    return Parts(divide(t, below), divide(multiply(multiply(s, c), slope), below))


def tangent(a: Parts) -> Parts:
    """-i tanh(i z)."""
    turned = tangent_hyperbolic(Parts(negate(a.imaginary), a.x))
    return Parts(turned.imaginary, negate(turned.x))


def sigmoid(a: Parts) -> Parts:
    """(1 + tanh(z / 2)) / 2."""
    t = tangent_hyperbolic(a.each(lambda part: _scaled(part, 0.5)))
    return Parts(add(_scaled(t.x, 0.5), _like(t.x, 0.5)), None if t.y is None else _scaled(t.y, 0.5))


UNARY: dict[str, Callable[[Parts], Parts]] = {
    "negate": negative, "sign": unit, "exponential": exp, "exponential_minus_one": expm1, "log": logarithm, "log_plus_one": log1p,
    "sqrt": root, "rsqrt": inverse_root, "tanh": tangent_hyperbolic, "logistic": sigmoid, "sine": sin, "cosine": cos, "tan": tangent,
    "conj": lambda a: Parts(a.x, None if a.y is None else negate(a.y))}
BINARY: dict[str, Callable[[Parts, Parts], Parts]] = {
    "add": plus, "subtract": minus, "multiply": times, "divide": over, "power": power}
