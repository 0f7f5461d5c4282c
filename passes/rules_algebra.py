"""Rules of arithmetic and logic. Exact (the sign of a zero apart) but where the line says "~": up to rounding."""
from __future__ import annotations

import ml_dtypes
import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.primitive import lookup
from graphc.core.program import Node, make
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import I, J, X, Y, fill, filled, is_uniform, sample, uniform
from graphc.primitives import abs_, add, compare, convert, divide, maximum, minimum, multiply, negate, not_, power, select, subtract

COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "and", "or", "xor")


def _neutral(root: str, value: float, maths: str, example: Node) -> Rule:
    def apply(node: Node) -> Node | None:
        x, y = node.operands
        return x if is_uniform(y, value) else None
    return Rule(f"{root} {value:g}", maths, root, apply, (example,))


def _constant_first(node: Node) -> Node | None:
    x, y = node.operands
    return make(node.primitive, (y, x), node.attrs) if uniform(x) is not None and uniform(y) is None else None


def _subtract_constant(node: Node) -> Node | None:
    x, y = node.operands
    value = uniform(y)
    if value is None or uniform(x) is not None or y.dtype.is_unsigned:
        return None
    with np.errstate(over="ignore"):  # the smallest integer is its own negative, and right all the same
        return add(x, fill(np.negative(value), y.type))


def _divide_by_constant(node: Node) -> Node | None:
    x, y = node.operands
    value = uniform(y)
    if value is None or not y.dtype.is_floating or not _is_normal(float(value), y.dtype):
        return None
    reciprocal = 1.0 / float(value)
    return multiply(x, fill(reciprocal, y.type)) if _is_normal(reciprocal, y.dtype) else None


def _is_normal(value: float, dtype: DType) -> bool:
    """Whether `value` is finite and keeps all its digits in the floating type `dtype`."""
    return float(ml_dtypes.finfo(dtype.np_dtype).tiny) <= abs(value) <= float(dtype.max)


def _constants_together(node: Node) -> Node | None:
    """(x op c) op d = x op (c op d): on integers, and on floats for products whose constant stays normal."""
    x, y = node.operands
    outer = uniform(y)
    inner = uniform(x.operands[1]) if x.name == node.name else None
    if outer is None or inner is None:
        return None
    if node.dtype.is_floating:
        product = float(outer) * float(inner)
        if node.name != "multiply" or not _is_normal(product, node.dtype):
            return None
        return multiply(x.operands[0], fill(product, node.type))
    with np.errstate(over="ignore"):
        both = np.add(outer, inner) if node.name == "add" else np.multiply(outer, inner)
    return make(node.primitive, (x.operands[0], fill(both, node.type)), node.attrs)


def _constant_power(node: Node) -> Node | None:
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
    if x.name == y.name == "negate" and not (node.name == "divide" and node.dtype.is_integer):  # -(-128) / -1 overflows differently
        return make(node.primitive, (x.operands[0], y.operands[0]), node.attrs)
    return None


def _twice(node: Node) -> Node | None:
    inner = node.operands[0]
    return inner.operands[0] if inner.name == node.name else None


def _abs_of(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name == "abs":
        return inner
    return abs_(inner.operands[0]) if inner.name == "negate" and not node.dtype.is_unsigned else None


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
    x, y = inner.operands
    direction = inner.attrs.direction
    if direction not in ("EQ", "NE") and x.dtype.is_floating:
        return None
    return compare(x, y, {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}[direction])


def _convert_same(node: Node) -> Node | None:
    return node.operands[0] if node.operands[0].dtype is node.dtype else None


def _convert_twice(node: Node) -> Node | None:
    """Through a type that holds every value of the first, the detour changes nothing. But an integer that does not fit the last type
    wraps, while a float saturates: there the way matters."""
    inner = node.operands[0]
    if inner.name != "convert":
        return None
    source = inner.operands[0]
    wraps = source.dtype.is_integer and node.dtype.is_integer and not _holds(node.dtype, source.dtype)
    exact = _holds(inner.dtype, source.dtype) and not (wraps and inner.dtype.is_floating)
    return convert(source, node.dtype) if exact else None


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is a value of `wide`."""
    if wide is narrow or narrow.is_bool:
        return True
    if wide.is_bool or (narrow.is_floating and not wide.is_floating):
        return False
    if wide.is_floating:
        digits = ml_dtypes.finfo(wide.np_dtype).nmant + 1
        if narrow.is_integer:
            return 8 * narrow.size - (not narrow.is_unsigned) <= digits and int(narrow.max) <= float(wide.max)
        return bool(ml_dtypes.finfo(narrow.np_dtype).nmant < digits and narrow.max <= wide.max)
    return bool(int(wide.min) <= int(narrow.min) and int(narrow.max) <= int(wide.max))


_BOOLS = compare(X, Y, "LT")
_CONVERT = lookup("convert")  # its builder leaves out what the rule takes away

ALGEBRA: tuple[Rule, ...] = (
    Rule("sum of constants", "(x + c) + d = x + (c + d)  (integers)", "add", _constants_together,
         (add(add(I, filled(3, I)), filled(4, I)),)),
    Rule("product of constants", "(x c) d ~ x (c d)", "multiply", _constants_together,
         (multiply(multiply(X, filled(3)), filled(0.1)), multiply(multiply(I, filled(3, I)), filled(1 << 30, I)))),
    *(Rule(f"{root}: constant second", f"{root}(c, x) = {root}(x, c)", root, _constant_first) for root in COMMUTATIVE[4:]),
    Rule("add: constant second", "c + x = x + c", "add", _constant_first, (add(filled(3), X),)),
    Rule("multiply: constant second", "c x = x c", "multiply", _constant_first, (multiply(filled(3), X),)),
    Rule("maximum: constant second", "max(c, x) = max(x, c)", "maximum", _constant_first, (maximum(filled(0), X),)),
    Rule("minimum: constant second", "min(c, x) = min(x, c)", "minimum", _constant_first, (minimum(filled(np.nan), X),)),
    _neutral("add", 0.0, "x + 0 = x", add(X, filled(0))),
    _neutral("add", -0.0, "x + (-0) = x", add(X, filled(-0.0))),
    _neutral("subtract", 0.0, "x - 0 = x", subtract(X, filled(0))),
    _neutral("multiply", 1.0, "x 1 = x", multiply(X, filled(1))),
    _neutral("divide", 1.0, "x / 1 = x", divide(X, filled(1))),
    _neutral("power", 1.0, "x**1 = x", power(X, filled(1))),
    Rule("subtract constant", "x - c = x + (-c)", "subtract", _subtract_constant,
         (subtract(X, filled(2.5)), subtract(X, filled(np.inf)), subtract(I, filled(-(1 << 31), I)))),
    Rule("divide by constant", "x / c ~ x (1/c)", "divide", _divide_by_constant, (divide(X, filled(3)), divide(X, filled(-4)))),
    Rule("constant power", "x**2 ~ x x, x**3, x**4, x**-1 ~ 1/x, x**0 ~ 1", "power", _constant_power,
         tuple(power(X, filled(n)) for n in (0, 2, 3, 4, -1))),
    Rule("integer times zero", "x 0 = 0  (integers)", "multiply", _integer_zero, (multiply(I, filled(0, I)),)),
    Rule("integer minus itself", "x - x = 0  (integers)", "subtract", _integer_difference, (subtract(I, I),)),
    Rule("add negated", "x + (-y) = x - y", "add", _negated_operand, (add(X, negate(Y)), add(negate(X), Y))),
    Rule("subtract negated", "x - (-y) = x + y", "subtract", _negated_operand, (subtract(X, negate(Y)),)),
    Rule("multiply negated", "(-x) (-y) = x y", "multiply", _both_negated, (multiply(negate(X), negate(Y)),)),
    Rule("divide negated", "(-x) / (-y) = x / y", "divide", _both_negated, (divide(negate(X), negate(Y)),)),
    Rule("negate twice", "-(-x) = x", "negate", _twice, (negate(negate(X)),)),
    Rule("not twice", "not not x = x", "not", _twice, (not_(not_(_BOOLS)),)),
    Rule("abs of abs or negate", "||x|| = |-x| = |x|", "abs", _abs_of, (abs_(abs_(X)), abs_(negate(X)))),
    Rule("maximum of the same", "max(x, x) = x", "maximum", _same_operands, (maximum(X, X),)),
    Rule("minimum of the same", "min(x, x) = x", "minimum", _same_operands, (minimum(X, X),)),
    *(Rule(f"{root} of the same", f"x {root} x = x", root, _same_operands) for root in ("and", "or")),
    Rule("select", "select(true, x, y) = x; select(p, x, x) = x; select(not p, x, y) = select(p, y, x)", "select", _select,
         (select(filled(True, _BOOLS), X, Y), select(filled(False, _BOOLS), X, Y), select(_BOOLS, X, X), select(not_(_BOOLS), X, Y))),
    Rule("not of comparison", "not (x = y) = (x != y); not (x < y) = (x >= y)  (integers)", "not", _not_compare,
         (not_(compare(X, Y, "EQ")), not_(compare(I, J, "LT")))),
    Rule("convert to the same", "convert(x: t, t) = x", "convert", _convert_same, (make(_CONVERT, (X,), _CONVERT.attrs(X.dtype)),)),
    Rule("convert twice", "convert(convert(x, wider), t) = convert(x, t)", "convert", _convert_twice,
         (convert(convert(X, dtypes.float64), dtypes.float16), convert(convert(I, dtypes.int64), dtypes.float32),
          convert(convert(sample(dtypes.int8, 5), dtypes.float32), dtypes.int16))),
)
