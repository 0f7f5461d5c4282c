"""Rules of arithmetic and logic. Exact unless the line says otherwise; "~" means: up to rounding."""
from __future__ import annotations

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import float32, int32
from graphc.core.program import Node, make
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import fill, is_uniform, sample, uniform
from graphc.primitives import (
    abs_, add, compare, convert, divide, maximum, multiply, negate, not_, power, select, subtract,
)

COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "and", "or", "xor")


def _x(name: str = "x") -> Node:
    return sample(float32, 3, 5, name=name)


def _i(name: str = "x") -> Node:
    return sample(int32, 3, 5, name=name)


def _c(value: float, like: Node) -> Node:
    return fill(value, like.type)


def _neutral(root: str, value: float) -> Rule:
    def apply(node: Node) -> Node | None:
        x, y = node.operands
        return x if is_uniform(y, value) else None
    build = {"add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "power": power}[root]
    sign = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}[root]
    return Rule(f"{root} {value:g}", f"x {sign} {value:g} = x", root, apply, (lambda: build(_x(), _c(value, _x())),))


def _constant_second(root: str) -> Rule:
    def apply(node: Node) -> Node | None:
        x, y = node.operands
        return make(node.primitive, (y, x), node.attrs) if uniform(x) is not None and uniform(y) is None else None
    example = {"add": lambda: add(_c(3, _x()), _x()), "multiply": lambda: multiply(_c(3, _x()), _x()),
               "maximum": lambda: maximum(_c(0, _x()), _x())}.get(root)
    return Rule(f"{root}: constant second", f"c {root} x = x {root} c", root, apply, (example,) if example else ())


def _subtract_constant(node: Node) -> Node | None:
    x, y = node.operands
    value = uniform(y)
    if value is None or uniform(x) is not None or y.dtype.is_unsigned:
        return None
    return add(x, fill(np.negative(value), y.type))


def _divide_constant(node: Node) -> Node | None:
    x, y = node.operands
    value = uniform(y)
    if value is None or not y.dtype.is_floating or float(value) == 0 or not np.isfinite(float(value)):
        return None
    reciprocal = 1.0 / float(value)
    if not float(ml_tiny(y)) <= abs(reciprocal) < np.inf:
        return None
    return multiply(x, fill(reciprocal, y.type))


def ml_tiny(node: Node) -> float:
    """The smallest normal number of a floating node's type."""
    return float(dtypes.ml_dtypes.finfo(node.dtype.np_dtype).tiny)


def _constants_together(node: Node) -> Node | None:
    """(x op c) op d = x op (c op d): exact on integers; on floats for products whose constant stays normal."""
    x, y = node.operands
    outer = uniform(y)
    if outer is None or x.name != node.name or uniform(x.operands[1]) is None:
        return None
    inner = uniform(x.operands[1])
    if node.dtype.is_floating:
        product = float(outer) * float(inner)
        if node.name != "multiply" or not ml_tiny(node) <= abs(product) <= float(node.dtype.max):
            return None
        return multiply(x.operands[0], fill(product, node.type))
    with np.errstate(over="ignore"):
        both = np.add(outer, inner) if node.name == "add" else np.multiply(outer, inner)
    return make(node.primitive, (x.operands[0], fill(both, node.type)), node.attrs)


def _power_constant(node: Node) -> Node | None:
    x, y = node.operands
    value = uniform(y)
    if value is None or not node.dtype.is_floating:
        return None
    match float(value):
        case 0.0:
            return fill(1.0, node.type)
        case 2.0:
            return multiply(x, x)
        case 3.0:
            return multiply(multiply(x, x), x)
        case 4.0:
            return multiply(multiply(x, x), multiply(x, x))
        case -1.0:
            return divide(fill(1.0, node.type), x)
        case _:
            return None


def _negated_operand(node: Node) -> Node | None:
    x, y = node.operands
    if y.name == "negate":
        return subtract(x, y.operands[0]) if node.name == "add" else add(x, y.operands[0])
    if node.name == "add" and x.name == "negate":
        return subtract(y, x.operands[0])
    return None


def _both_negated(node: Node) -> Node | None:
    x, y = node.operands
    if x.name == y.name == "negate":
        return make(node.primitive, (x.operands[0], y.operands[0]), node.attrs)
    return None


def _twice(node: Node) -> Node | None:
    inner = node.operands[0]
    return inner.operands[0] if inner.name == node.name else None


def _abs_of(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name == "abs":
        return inner
    return abs_(inner.operands[0]) if inner.name == "negate" else None


def _same_operands(node: Node) -> Node | None:
    return node.operands[0] if node.operands[0] is node.operands[1] else None


def _integer_zero(node: Node) -> Node | None:
    return node.operands[1] if node.dtype.is_integer and is_uniform(node.operands[1], 0) else None


def _integer_difference(node: Node) -> Node | None:
    return fill(0, node.type) if node.dtype.is_integer and node.operands[0] is node.operands[1] else None


def _select(node: Node) -> Node | None:
    which, x, y = node.operands
    value = uniform(which)
    if x is y or (value is not None and value):
        return x
    if value is not None:
        return y
    return select(which.operands[0], y, x) if which.name == "not" else None


def _not_compare(node: Node) -> Node | None:
    """Only equality has an opposite on NaN; integers have one for all."""
    inner = node.operands[0]
    if inner.name != "compare":
        return None
    direction = inner.attrs.direction
    opposite = {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}[direction]
    if direction not in ("EQ", "NE") and inner.operands[0].dtype.is_floating:
        return None
    return compare(*inner.operands, opposite)


def _convert_twice(node: Node) -> Node | None:
    """Through a type that holds every value of the first, the detour changes nothing."""
    inner = node.operands[0]
    if inner.name != "convert":
        return None
    source = inner.operands[0]
    if source.dtype is inner.dtype or not np.can_cast(source.dtype.np_dtype, inner.dtype.np_dtype, "safe"):
        return None
    return convert(source, node.dtype)


def _convert_same(node: Node) -> Node | None:
    return node.operands[0] if node.operands[0].dtype is node.dtype else None


ALGEBRA: tuple[Rule, ...] = (
    Rule("sum of constants", "(x + c) + d = x + (c + d)  (integers)", "add", _constants_together, (lambda: add(add(_i(), _c(3, _i())), _c(4, _i())),)),
    Rule("product of constants", "(x c) d ~ x (c d)", "multiply", _constants_together, (lambda: multiply(multiply(_x(), _c(3, _x())), _c(0.1, _x())),)),
    *map(_constant_second, COMMUTATIVE),
    _neutral("add", 0.0), _neutral("subtract", 0.0), _neutral("multiply", 1.0), _neutral("divide", 1.0), _neutral("power", 1.0),
    Rule("subtract constant", "x - c = x + (-c)", "subtract", _subtract_constant, (lambda: subtract(_x(), _c(2.5, _x())),)),
    Rule("divide by constant", "x / c ~ x (1/c)", "divide", _divide_constant, (lambda: divide(_x(), _c(3, _x())), lambda: divide(_x(), _c(-4, _x())))),
    Rule("constant power", "x**2 = x x, x**3, x**4 ~, x**-1 = 1/x, x**0 = 1", "power", _power_constant,
         tuple((lambda n: lambda: power(_x(), _c(n, _x())))(n) for n in (2, 3, 4, -1, 0))),
    Rule("integer times zero", "x 0 = 0  (integers)", "multiply", _integer_zero, (lambda: multiply(_i(), _c(0, _i())),)),
    Rule("integer minus itself", "x - x = 0  (integers)", "subtract", _integer_difference, (lambda: subtract(_i(), _i()),)),
    Rule("add negated", "x + (-y) = x - y", "add", _negated_operand, (lambda: add(_x(), negate(_x("y"))), lambda: add(negate(_x()), _x("y")))),
    Rule("subtract negated", "x - (-y) = x + y", "subtract", _negated_operand, (lambda: subtract(_x(), negate(_x("y"))),)),
    Rule("multiply negated", "(-x) (-y) = x y", "multiply", _both_negated, (lambda: multiply(negate(_x()), negate(_x("y"))),)),
    Rule("divide negated", "(-x) / (-y) = x / y", "divide", _both_negated, (lambda: divide(negate(_x()), negate(_x("y"))),)),
    Rule("negate twice", "-(-x) = x", "negate", _twice, (lambda: negate(negate(_x())),)),
    Rule("not twice", "not not x = x", "not", _twice, (lambda: not_(not_(compare(_x(), _x("y"), "LT"))),)),
    Rule("abs of abs or negate", "||x|| = |-x| = |x|", "abs", _abs_of, (lambda: abs_(abs_(_x())), lambda: abs_(negate(_x())))),
    *(Rule(f"{root} of the same", f"{root}(x, x) = x", root, _same_operands, (example,)) for root, example in (
        ("maximum", lambda: maximum(_x(), _x())),)),
    *(Rule(f"{root} of the same", f"{root}(x, x) = x", root, _same_operands) for root in ("minimum", "and", "or")),
    Rule("select", "select(true, x, y) = x; select(p, x, x) = x; select(not p, x, y) = select(p, y, x)", "select", _select,
         (lambda: select(_c(True, sample(dtypes.bool, 3, 5)), _x(), _x("y")), lambda: select(compare(_x(), _x("y"), "LT"), _x(), _x()),
          lambda: select(not_(compare(_x(), _x("y"), "LT")), _x(), _x("y")))),
    Rule("not of comparison", "not (x = y) = (x != y); not (x < y) = (x >= y)  (integers)", "not", _not_compare,
         (lambda: not_(compare(_x(), _x("y"), "EQ")), lambda: not_(compare(_i(), _i("y"), "LT")))),
    Rule("convert to the same", "convert(x: t, t) = x", "convert", _convert_same),
    Rule("convert twice", "convert(convert(x, wider), t) = convert(x, t)", "convert", _convert_twice,
         (lambda: convert(convert(_x(), dtypes.float64), dtypes.float32), lambda: convert(convert(_i(), dtypes.int64), dtypes.float32))),
)
