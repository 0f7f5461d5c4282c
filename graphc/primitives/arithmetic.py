"""Arithmetic and the functions of mathematics, element by element, each with its gradient in primitives.

A rule's arguments are the node itself (its value costs nothing: exp, tanh, logistic, sqrt use it), and the cotangent g.
"""
from __future__ import annotations

import math

import numpy as np

from graphc.core.loops import Map
from graphc.core.primitive import NoAttrs, NotDifferentiable, Primitive, declare
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives import numerics
from graphc.primitives.broadcast import full
from graphc.primitives.logic import compare, convert, not_, select
from graphc.primitives.rules import (
    Cotangents,
    Unary,
    binary,
    elementwise,
    is_any,
    is_floating,
    is_inexact,
    is_numeric,
    is_ordered,
    need,
    unary,
)

_FLAT = NotDifferentiable("it is constant between its steps")


def like(x: Node, value: float) -> Node:
    """`value` everywhere, with the type of `x`."""
    return full(value, x.type)


def _scaled(x: Node, factor: float) -> Node:
    return multiply(x, like(x, factor))


def _squared(x: Node) -> Node:
    return multiply(x, x)


# Binary ---------------------------------------------------------------------------------------------------------------------------------

def _multiply_vjp(node: Node, g: Node) -> Cotangents:
    x, y = node.operands
    return (multiply(g, y), multiply(g, x))


def _divide_vjp(node: Node, g: Node) -> Cotangents:
    over_y = divide(g, node.operands[1])
    return (over_y, negate(multiply(over_y, node)))


def _remainder_vjp(node: Node, g: Node) -> Cotangents:
    """x rem y = x - trunc(x / y) y."""
    x, y = node.operands
    ratio = divide(x, y)
    whole = select(compare(ratio, like(ratio, 0), "LT"), ceil(ratio), floor(ratio))
    return (g, negate(multiply(g, whole)))


def _power_vjp(node: Node, g: Node) -> Cotangents:
    """By x: y x^(y - 1), and 0 for y = 0. By y: x^y log x, and 0 where x <= 0 (for complex numbers x = 0), as TF1 has it."""
    x, y = node.operands
    is_zero = compare(y, like(y, 0), "EQ")
    lowered = power(x, select(is_zero, like(y, 1), subtract(y, like(y, 1))))
    positive = compare(x, like(x, 0), "NE" if x.dtype.is_complex else "GT")
    log_x = log(select(positive, x, like(x, 1)))
    return (multiply(g, multiply(y, lowered)), multiply(g, multiply(node, log_x)))


def _maximum_vjp(node: Node, g: Node) -> Cotangents:
    """To the greater; to x where they are equal, as in TF1."""
    x, y = node.operands
    first = compare(x, y, "GE")
    return (select(not_(first), like(g, 0), g), select(first, like(g, 0), g))


def _minimum_vjp(node: Node, g: Node) -> Cotangents:
    x, y = node.operands
    first = compare(x, y, "LE")
    return (select(not_(first), like(g, 0), g), select(first, like(g, 0), g))


def _atan2_vjp(node: Node, g: Node) -> Cotangents:
    """Of atan2(y, x): x / (x^2 + y^2) by y, -y / (x^2 + y^2) by x."""
    y, x = node.operands
    scaled = divide(g, add(_squared(x), _squared(y)))
    return (multiply(scaled, x), negate(multiply(scaled, y)))


add = binary(elementwise("add", 2, is_numeric, numerics.elementwise(np.add), lambda node, g: (g, g), "x + y; integers wrap."))
subtract = binary(elementwise(
    "subtract", 2, is_numeric, numerics.elementwise(np.subtract), lambda node, g: (g, negate(g)), "x - y; integers wrap."))
multiply = binary(elementwise("multiply", 2, is_numeric, numerics.elementwise(np.multiply), _multiply_vjp, "x y; integers wrap."))
divide = binary(elementwise(
    "divide", 2, is_numeric, numerics.elementwise(numerics.by_kind(np.divide, numerics.integer_divide)), _divide_vjp,
    "x / y; integers truncate, x / 0 is all bits set, INT_MIN / -1 is INT_MIN."))
remainder = binary(elementwise(
    "remainder", 2, is_ordered, numerics.elementwise(numerics.by_kind(np.fmod, numerics.integer_remainder)), _remainder_vjp,
    "The remainder of the truncated quotient, with the sign of x (C's fmod); of integers, x rem 0 is x."))
power = binary(elementwise(
    "power", 2, is_numeric, numerics.elementwise(numerics.by_kind(np.power, numerics.integer_power)), _power_vjp,
    "x to the power y; of integers, a negative y gives 0 (1 for x = 1, +-1 for x = -1)."))
maximum = binary(elementwise("maximum", 2, is_any, numerics.elementwise(np.maximum), _maximum_vjp, "The greater; NaN where either is NaN."))
minimum = binary(elementwise("minimum", 2, is_any, numerics.elementwise(np.minimum), _minimum_vjp, "The lesser; NaN where either is NaN."))
atan2 = binary(elementwise(
    "atan2", 2, is_floating, numerics.elementwise(np.arctan2), _atan2_vjp, "The angle of the point (y, x), in (-pi, pi]; operands (y, x)."))


# Unary ----------------------------------------------------------------------------------------------------------------------------------

def _abs_type(attrs: NoAttrs, x: TensorType) -> TensorType:
    need(is_numeric, "abs", (x,))
    return x.with_dtype(x.dtype.real_dtype)


def _abs_vjp(node: Node, g: Node) -> Cotangents:
    """g sign(x); g x / |x| of complex numbers, 0 at 0."""
    x = node.operands[0]
    if not x.dtype.is_complex:
        return (multiply(g, sign(x)),)
    is_zero = compare(node, like(node, 0), "EQ")
    unit = divide(select(is_zero, like(g, 0), g), select(is_zero, like(node, 1), node))
    return (multiply(convert(unit, x.dtype), x),)


def _erf_slope(x: Node) -> Node:
    """2 / sqrt(pi) exp(-x^2)."""
    return _scaled(exponential(negate(_squared(x))), 2 / math.sqrt(math.pi))


def _complement(y: Node) -> Node:
    return subtract(like(y, 1), y)


negate: Unary = unary(elementwise(
    "negate", 1, is_numeric, numerics.elementwise(np.negative), lambda node, g: (negate(g),), "-x; integers wrap."))
abs_ = unary(declare(Primitive(
    "abs", NoAttrs, 1, _abs_type, numerics.elementwise(np.abs), _abs_vjp, Map("abs"), "|x|; of INT_MIN itself, of complex numbers real.",
    holomorphic=False)))
sign: Unary = unary(elementwise(
    "sign", 1, is_numeric, numerics.elementwise(np.sign), lambda node, g: (like(g, 0),), "-1, 0 or 1; NaN of NaN."))
exponential = unary(elementwise(
    "exponential", 1, is_inexact, numerics.elementwise(np.exp), lambda node, g: (multiply(g, node),), "e^x."))
exponential_minus_one = unary(elementwise(
    "exponential_minus_one", 1, is_inexact, numerics.elementwise(np.expm1), lambda node, g: (multiply(g, add(node, like(node, 1))),),
    "e^x - 1, exact near 0."))
log = unary(elementwise(
    "log", 1, is_inexact, numerics.elementwise(np.log), lambda node, g: (divide(g, node.operands[0]),), "The natural logarithm."))
log_plus_one = unary(elementwise(
    "log_plus_one", 1, is_inexact, numerics.elementwise(np.log1p),
    lambda node, g: (divide(g, add(node.operands[0], like(node, 1))),), "log(1 + x), exact near 0."))
sqrt = unary(elementwise(
    "sqrt", 1, is_inexact, numerics.elementwise(np.sqrt), lambda node, g: (divide(_scaled(g, 0.5), node),), "The square root."))
rsqrt = unary(elementwise(
    "rsqrt", 1, is_inexact, numerics.elementwise(numerics.rsqrt),
    lambda node, g: (multiply(_scaled(g, -0.5), multiply(node, _squared(node))),), "1 / sqrt(x)."))
cbrt = unary(elementwise(
    "cbrt", 1, is_floating, numerics.elementwise(np.cbrt), lambda node, g: (divide(g, _scaled(_squared(node), 3)),),
    "The cube root, negative for negative x."))
tanh = unary(elementwise(
    "tanh", 1, is_inexact, numerics.elementwise(np.tanh), lambda node, g: (multiply(g, _complement(_squared(node))),),
    "The hyperbolic tangent."))
logistic = unary(elementwise(
    "logistic", 1, is_inexact, numerics.elementwise(numerics.logistic),
    lambda node, g: (multiply(g, multiply(node, _complement(node))),), "1 / (1 + e^-x)."))
sine = unary(elementwise(
    "sine", 1, is_inexact, numerics.elementwise(np.sin), lambda node, g: (multiply(g, cosine(node.operands[0])),), "sin x, x in radians."))
cosine: Unary = unary(elementwise(
    "cosine", 1, is_inexact, numerics.elementwise(np.cos), lambda node, g: (negate(multiply(g, sine(node.operands[0]))),),
    "cos x, x in radians."))
tan = unary(elementwise(
    "tan", 1, is_inexact, numerics.elementwise(np.tan), lambda node, g: (multiply(g, add(_squared(node), like(node, 1))),),
    "tan x, x in radians."))
erf = unary(elementwise(
    "erf", 1, is_floating, numerics.elementwise(numerics.from_math(math.erf)),
    lambda node, g: (multiply(g, _erf_slope(node.operands[0])),), "2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."))
erfc = unary(elementwise(
    "erfc", 1, is_floating, numerics.elementwise(numerics.from_math(math.erfc)),
    lambda node, g: (negate(multiply(g, _erf_slope(node.operands[0]))),), "1 - erf(x), exact for large x."))
floor = unary(elementwise("floor", 1, is_floating, numerics.elementwise(np.floor), _FLAT, "The greatest integer that is not above x."))
ceil = unary(elementwise("ceil", 1, is_floating, numerics.elementwise(np.ceil), _FLAT, "The least integer that is not below x."))
round_nearest_even = unary(elementwise(
    "round_nearest_even", 1, is_floating, numerics.elementwise(np.rint), _FLAT, "The nearest integer, the even one of two."))
