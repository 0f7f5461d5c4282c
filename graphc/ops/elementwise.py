"""Operations that work element by element: TF1's arithmetic, functions of mathematics, comparisons and logic, with numpy's broadcasting."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite, register
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops import holomorphic
from graphc.ops.checked import check_divisor
from graphc.ops.declare import as_tensor, binary_function, checked_bool, checked_floating, declare_one, name_scope, unary_function
from graphc.primitives.sugar import broadcast_binary, fill_like

Unary = Callable[..., Tensor]
Binary = Callable[..., Tensor]


# Functions of one argument ---------------------------------------------------------------------------------------------------------------

def _unary(type_name: str, expand: Callable[[Node], Node], doc: str = "", gradient: Any = None) -> Unary:
    return unary_function(register(OpDef(type_name, expand, gradient=gradient, attrs={})), doc=doc)


def one_like(x: Node) -> Node:
    return fill_like(x, 1)


def half_of(x: Node) -> Node:
    return p.multiply(x, fill_like(x, 0.5))


def _sinh(x: Node) -> Node:
    """(e^x - e^-x) / 2 as (u + u / (u + 1)) / 2 with u = e^x - 1, exact near 0."""
    if x.dtype.is_complex:
        return holomorphic.sinh(x)
    u = p.exponential_minus_one(p.abs_(x))
    magnitude = half_of(p.add(u, p.divide(u, p.add(u, one_like(u)))))
    # Where e^x overflows the quotient is inf / inf.
    return p.multiply(p.sign(x), p.select(p.compare(u, fill_like(u, math.inf), "EQ"), u, magnitude))


def _cosh(x: Node) -> Node:
    if x.dtype.is_complex:
        return holomorphic.cosh(x)
    e = p.exponential(p.abs_(x))
    return half_of(p.add(e, p.divide(one_like(e), e)))


def _asin(x: Node) -> Node:
    if x.dtype.is_complex:
        return holomorphic.asin(x, _asinh)
    return p.atan2(x, p.sqrt(p.multiply(p.subtract(one_like(x), x), p.add(one_like(x), x))))


def _acos(x: Node) -> Node:
    if x.dtype.is_complex:
        return holomorphic.acos(x, _asinh)
    return p.atan2(p.sqrt(p.multiply(p.subtract(one_like(x), x), p.add(one_like(x), x))), x)


def _asinh(x: Node) -> Node:
    """sign(x) log1p(|x| + x^2 / (1 + sqrt(1 + x^2))); for large |x| log|x| + log 2, before x^2 overflows."""
    if x.dtype.is_complex:
        return holomorphic.asinh(x, _asinh)
    size = p.abs_(checked_floating("Asinh", x))
    large = p.compare(size, fill_like(x, _SQUARE_OVERFLOWS[x.dtype]), "GT")
    safe = p.select(large, one_like(x), size)
    square = p.multiply(safe, safe)
    near = p.log_plus_one(p.add(safe, p.divide(square, p.add(one_like(x), p.sqrt(p.add(one_like(x), square))))))
    far = p.add(p.log(p.select(large, size, one_like(x))), fill_like(x, math.log(2)))
    return p.multiply(p.sign(x), p.select(large, far, near))


def _acosh(x: Node) -> Node:
    """log(x + sqrt(x - 1) sqrt(x + 1)) as log1p(t + sqrt(2 t + t^2)) with t = x - 1; for large x log x + log 2."""
    if x.dtype.is_complex:
        return holomorphic.acosh(x, _asinh)
    large = p.compare(checked_floating("Acosh", x), fill_like(x, _SQUARE_OVERFLOWS[x.dtype]), "GT")
    t = p.subtract(p.select(large, one_like(x), x), one_like(x))
    near = p.log_plus_one(p.add(t, p.sqrt(p.add(p.add(t, t), p.multiply(t, t)))))
    far = p.add(p.log(p.select(large, x, one_like(x))), fill_like(x, math.log(2)))
    return p.select(large, far, near)


_SQUARE_OVERFLOWS = {dtypes.float64: 1e150, dtypes.float32: 1e15, dtypes.float16: 100.0, dtypes.bfloat16: 1e15}


def _atanh(x: Node) -> Node:
    """(log(1 + x) - log(1 - x)) / 2, exact near 0."""
    if x.dtype.is_complex:
        return holomorphic.atanh(x)
    return half_of(p.subtract(p.log_plus_one(x), p.log_plus_one(p.negate(x))))


def _inverse_gradient(slope: Callable[[Node], Node]) -> Callable[..., Sequence[Node | None]]:
    """The gradient g / slope(x) of an inverse function, where its definition by atan2 or log1p would only be roundabout."""
    def gradient(x: Node, y: Node, g: Node) -> Sequence[Node | None]:
        return (p.divide(g, slope(x)),)
    return gradient


def _slope_gradient(slope: Callable[[Node], Node]) -> Callable[..., Sequence[Node | None]]:
    """The gradient g slope(y), and 0 wherever g is 0, as TF1 has it for a few operations, also where the slope is infinite or NaN."""
    def gradient(x: Node, y: Node, g: Node) -> Sequence[Node | None]:
        found = slope(y)
        lost = p.and_(p.compare(g, fill_like(g, 0), "EQ"), p.not_(p.is_finite(p.abs_(found))))
        return (p.multiply(g, p.select(lost, fill_like(found, 0), found)),)
    return gradient


def _cosine_slope(x: Node) -> Node:
    """sqrt(1 - x^2)."""
    return p.sqrt(p.multiply(p.subtract(one_like(x), x), p.add(one_like(x), x)))


exp = _unary("Exp", p.exponential, "e^x.")
expm1 = _unary("Expm1", p.exponential_minus_one, "e^x - 1, exact near 0.")
log = _unary("Log", p.log, "The natural logarithm.")
log1p = _unary("Log1p", p.log_plus_one, "log(1 + x), exact near 0.")
sqrt = _unary("Sqrt", p.sqrt, "The square root.", _slope_gradient(lambda y: p.divide(fill_like(y, 0.5), y)))
rsqrt = _unary("Rsqrt", p.rsqrt, "1 / sqrt(x).", _slope_gradient(lambda y: p.multiply(fill_like(y, -0.5), p.multiply(y, p.multiply(y, y)))))
square = _unary("Square", lambda x: p.multiply(x, x), "x^2.")
sin = _unary("Sin", p.sine, "sin x, x in radians.")
cos = _unary("Cos", p.cosine, "cos x, x in radians.")
tan = _unary("Tan", p.tan, "tan x, x in radians.")
asin = _unary("Asin", _asin, "The angle in [-pi/2, pi/2] whose sine is x.", _inverse_gradient(_cosine_slope))
acos = _unary("Acos", _acos, "The angle in [0, pi] whose cosine is x.", _inverse_gradient(lambda x: p.negate(_cosine_slope(x))))
atan = _unary("Atan", lambda x: holomorphic.atan(x) if x.dtype.is_complex else p.atan2(x, one_like(x)),
              "The angle in (-pi/2, pi/2) whose tangent is x.",
              _inverse_gradient(lambda x: p.add(one_like(x), p.multiply(x, x))))
sinh = _unary("Sinh", _sinh, "The hyperbolic sine.", lambda x, y, g: (p.multiply(g, _cosh(x)),))
cosh = _unary("Cosh", _cosh, "The hyperbolic cosine.", lambda x, y, g: (p.multiply(g, _sinh(x)),))
asinh = _unary("Asinh", _asinh, "The inverse of sinh.",
               _inverse_gradient(lambda x: _cosh(_asinh(x))))
acosh = _unary("Acosh", _acosh, "The inverse of cosh, at least 0.", _inverse_gradient(lambda x: _sinh(_acosh(x))))
atanh = _unary("Atanh", _atanh, "The inverse of tanh.",
               _inverse_gradient(lambda x: p.multiply(p.subtract(one_like(x), x), p.add(one_like(x), x))))
tanh = _unary("Tanh", p.tanh, "The hyperbolic tangent.")
sigmoid = _unary("Sigmoid", p.logistic, "1 / (1 + e^-x).")
erf = _unary("Erf", p.erf, "The error function.")
erfc = _unary("Erfc", p.erfc, "1 - erf(x), exact for large x.")
negative = _unary("Neg", p.negate, "-x.")
_abs = _unary("Abs", p.abs_)
sign = _unary("Sign", p.sign, "-1, 0 or 1; NaN of NaN.")
reciprocal = _unary("Reciprocal", lambda x: p.divide(one_like(x), x), "1 / x.", _slope_gradient(lambda y: p.negate(p.multiply(y, y))))
floor = _unary("Floor", p.floor, "The greatest integer that is not above x.")
ceil = _unary("Ceil", p.ceil, "The least integer that is not below x.")
rint = _unary("Rint", p.round_nearest_even, "The nearest integer, the even one of two.")
_round = _unary("Round", p.round_nearest_even)
is_nan = _unary("IsNan", lambda x: p.compare(checked_floating("IsNan", x), x, "NE"), "Whether x is NaN.")
is_inf = _unary("IsInf", lambda x: p.compare(p.abs_(checked_floating("IsInf", x)), fill_like(x, math.inf), "EQ"), "Whether x is infinite.")
is_finite = _unary("IsFinite", p.is_finite, "Whether x is neither infinite nor NaN.")
logical_not = _unary("LogicalNot", lambda x: p.not_(checked_bool("LogicalNot", "x", x)), "not x.")


def abs_(x: Any, name: str | None = None) -> Tensor:
    """|x|; of complex numbers real."""
    with name_scope(name, "Abs", [x]) as scope:
        x = as_tensor(x, name="x")
        return declare_one(holomorphic.COMPLEX_ABS, {"x": x}, None, scope) if x.dtype.is_complex else _abs(x, scope)


def round_(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, the even one of two; `x` itself where it is of integers."""
    x = as_tensor(x, name="x")
    return x if x.dtype.is_integer else _round(x, name)


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log(sigmoid(x)) as -softplus(-x)."""
    with name_scope(name, "LogSigmoid", [x]) as scope:
        return negative(softplus(negative(as_tensor(x, name="x"))), name=scope)


def _softplus(features: Node) -> Node:
    """log(1 + e^x) as max(x, 0) + log1p(e^-|x|)."""
    return p.add(p.maximum(features, fill_like(features, 0)), p.log_plus_one(p.exponential(p.negate(p.abs_(features)))))


SOFTPLUS = register(OpDef("Softplus", _softplus, gradient=lambda x, y, g: (p.multiply(g, p.logistic(x)),), attrs={}))


def softplus(features: Any, name: str | None = None) -> Tensor:
    """log(1 + e^x), without overflow."""
    return declare_one(SOFTPLUS, {"features": features}, None, name)


# Functions of two arguments --------------------------------------------------------------------------------------------------------------

def broadcasting(function: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    def expand(x: Node, y: Node) -> Node:
        return broadcast_binary(function, x, y)
    return expand


def _binary(type_name: str, function: Callable[[Node, Node], Node], doc: str = "") -> Binary:
    return binary_function(register(OpDef(type_name, broadcasting(function), attrs={})), doc)


def _signs_differ(x: Node, y: Node) -> Node:
    zero = fill_like(x, 0)
    return p.xor(p.compare(x, zero, "LT"), p.compare(y, zero, "LT"))


def _floor_div(x: Node, y: Node) -> Node:
    """The quotient rounded down; of integers, the truncated one less 1 where the signs differ and a remainder is left. x // 0 is -1."""
    if x.dtype.is_floating:
        return p.floor(p.divide(x, y))
    rest = _floor_mod(x, y)
    # Where the remainder changed its sign to that of y, the quotient was rounded up.
    return p.subtract(p.divide(x, y), p.convert(p.compare(rest, p.remainder(x, y), "NE"), x.dtype))


def _floor_mod(x: Node, y: Node) -> Node:
    """x - floor(x / y) y: the remainder with the sign of y, as Python's %."""
    rest = p.remainder(x, y)
    wrong = p.and_(p.compare(rest, fill_like(x, 0), "NE"), _signs_differ(rest, y))
    return p.select(wrong, p.add(rest, y), rest)


def _divisor_checked(function: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    """function(x, y); in checked mode no integer y may be 0."""
    def divided(x: Node, y: Node) -> Node:
        check_divisor(y)
        return function(x, y)
    return divided


def _no_nan(function: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    """function(x, y), but 0 where y is 0."""
    def guarded(x: Node, y: Node) -> Node:
        zero = p.compare(y, fill_like(y, 0), "EQ")
        return p.select(zero, fill_like(x, 0), function(x, p.select(zero, one_like(y), y)))
    return guarded


def _times_log(x: Node, y: Node) -> Node:
    """x log y, but 0 where x is 0."""
    zero = p.compare(x, fill_like(x, 0), "EQ")
    return p.select(zero, fill_like(x, 0), p.multiply(x, p.log(p.select(zero, one_like(y), y))))


def _times_inverse(x: Node, y: Node) -> Node:
    """x / y, but 0 where x is 0."""
    zero = p.compare(x, fill_like(x, 0), "EQ")
    return p.select(zero, fill_like(x, 0), p.divide(x, p.select(zero, one_like(y), y)))


def _times_unless_zero(x: Node, y: Node) -> Node:
    """x y, but 0 where y is 0, whatever x is."""
    zero = p.compare(y, fill_like(y, 0), "EQ")
    return p.select(zero, fill_like(x, 0), p.multiply(p.select(zero, one_like(x), x), y))


def _comparison(direction: str) -> Callable[[Node, Node], Node]:
    return lambda x, y: p.compare(x, y, direction)


def _squared_difference(x: Node, y: Node) -> Node:
    difference = p.subtract(x, y)
    return p.multiply(difference, difference)


add = _binary("Add", p.add, "x + y.")
add_v2 = _binary("AddV2", p.add, "x + y.")
subtract = _binary("Sub", p.subtract, "x - y.")
multiply = _binary("Mul", p.multiply, "x y.")
real_div = _binary("RealDiv", p.divide, "x / y for floating types.")
_floor_div_op = _binary("FloorDiv", _divisor_checked(_floor_div))
floormod = _binary("FloorMod", _divisor_checked(_floor_mod), "The remainder with the sign of y, as Python's %.")
truncatediv = _binary("TruncateDiv", _divisor_checked(p.divide), "The quotient of integers, rounded towards zero.")
truncatemod = _binary("TruncateMod", _divisor_checked(p.remainder), "The remainder with the sign of x, as C's %.")
maximum = _binary("Maximum", p.maximum, "The greater of both.")
minimum = _binary("Minimum", p.minimum, "The lesser of both.")
squared_difference = _binary("SquaredDifference", _squared_difference, "(x - y)^2.")
_ATAN2 = register(OpDef("Atan2", lambda y, x: broadcast_binary(p.atan2, y, x), attrs={}))
xlogy = _binary("Xlogy", _times_log, "x log y, 0 where x is 0.")
xdivy = _binary("Xdivy", _times_inverse, "x / y, 0 where x is 0.")
_div_no_nan = _binary("DivNoNan", _no_nan(p.divide))
_mul_no_nan = _binary("MulNoNan", _times_unless_zero)
less = _binary("Less", _comparison("LT"), "x < y.")
less_equal = _binary("LessEqual", _comparison("LE"), "x <= y.")
greater = _binary("Greater", _comparison("GT"), "x > y.")
greater_equal = _binary("GreaterEqual", _comparison("GE"), "x >= y.")
equal = _binary("Equal", _comparison("EQ"), "x == y.")
not_equal = _binary("NotEqual", _comparison("NE"), "x != y.")
logical_and = _binary("LogicalAnd", lambda x, y: p.and_(checked_bool("LogicalAnd", "x", x), y), "x and y.")
logical_or = _binary("LogicalOr", lambda x, y: p.or_(checked_bool("LogicalOr", "x", x), y), "x or y.")
_pow = _binary("Pow", p.power)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in (-pi, pi]."""
    return declare_one(_ATAN2, {"y": y, "x": x}, None, name)


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient rounded down."""
    return _floor_div_op(x, y, name)


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient rounded down, as Python's //."""
    with name_scope(name, "floordiv", [x, y]) as scope:
        return _floor_div_op(x, y, scope)


def pow_(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x to the power y."""
    with name_scope(name, "Pow", [x]) as scope:
        return _pow(x, y, scope)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, 0 where y is 0."""
    with name_scope(name, "div_no_nan", [x, y]) as scope:
        x = as_tensor(x, name="x")
        return _div_no_nan(x, as_tensor(y, x.dtype, "y"), scope)


def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x y, 0 where y is 0, whatever x is."""
    with name_scope(name, "multiply_no_nan", [x, y]) as scope:
        x = as_tensor(x, name="x")
        return _mul_no_nan(x, as_tensor(y, x.dtype, "y"), scope)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """1 / x, 0 where x is 0."""
    with name_scope(name, "reciprocal_no_nan", [x]) as scope:
        x = as_tensor(x, name="x")
        return _div_no_nan(convert_to_tensor(1, x.dtype, "one"), x, scope)


# Division of any types: floats divide, integers become floats first.
_TRUE_DIVISION = {
    **dict.fromkeys((dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.uint16), dtypes.float32),
    **dict.fromkeys((dtypes.int32, dtypes.int64, dtypes.uint32, dtypes.uint64), dtypes.float64),
}


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides: 8- and 16-bit integers as float32, larger ones as float64."""
    with name_scope(name, "truediv", [x, y]) as scope:
        x = as_tensor(x, name="x")
        y = as_tensor(y, x.dtype if not isinstance(y, Tensor) else None, "y")
        if x.dtype is not y.dtype:
            raise TypeError(f"x and y must have the same dtype, got {x.dtype!r} != {y.dtype!r}")
        if x.dtype.is_bool:
            raise TypeError(f"Invalid dtype {x.dtype.name} in __truediv__.")
        target = _TRUE_DIVISION.get(x.dtype)
        if target is not None:
            x, y = cast(x, target), cast(y, target)
        return real_div(x, y, scope)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 divides: integers round down."""
    with name_scope(name, "div", [x, y]) as scope:
        x = as_tensor(x, name="x")
        y = as_tensor(y, x.dtype, "y")
        return real_div(x, y, scope) if x.dtype.is_inexact else _floor_div_op(x, y, scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as the operator / divides: `truediv`."""
    return truediv(x, y, name)


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """x xor y, for bool: (x or y) and not (x and y)."""
    return logical_and(logical_or(x, y), logical_not(logical_and(x, y)), name=name)


mod = floormod


# Types -----------------------------------------------------------------------------------------------------------------------------------

@composite("Cast")
def CAST(x: Node, *, SrcT: DType, DstT: DType, Truncate: bool = False) -> Node:
    """x as DstT: floats round, float to integer saturates (NaN: 0), integers wrap, to bool is `!= 0`."""
    return p.convert(x, DstT)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`x` as `dtype`; `x` itself where it has that type."""
    target = as_dtype(dtype)
    if isinstance(x, Tensor) and x.dtype is target:
        return x
    with name_scope(name, "Cast", [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        if tensor.dtype is target:
            return tensor
        return declare_one(CAST, {"x": tensor}, {"SrcT": tensor.dtype, "DstT": target}, scope)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`value` as `dtype`, clipped to its range first."""
    target = as_dtype(dtype)
    with name_scope(name, "saturate_cast", [value]) as scope:
        value = convert_to_tensor(value, name="value")
        if value.dtype.is_bool or target.is_bool:
            return cast(value, target, scope)
        if value.dtype.min < target.min:
            value = maximum(value, convert_to_tensor(target.min, value.dtype, "min"))
        if value.dtype.max > target.max:
            value = minimum(value, convert_to_tensor(target.max, value.dtype, "max"))
        return cast(value, target, scope)


def _caster(target: DType, name: str) -> Callable[..., Tensor]:
    def to(x: Any, name: str = name) -> Tensor:
        return cast(x, target, name)
    to.__name__ = to.__qualname__ = name
    to.__doc__ = f"`x` as {target.name}."
    return to


to_float = _caster(dtypes.float32, "ToFloat")
to_double = _caster(dtypes.float64, "ToDouble")
to_int32 = _caster(dtypes.int32, "ToInt32")
to_int64 = _caster(dtypes.int64, "ToInt64")
to_complex64 = _caster(dtypes.complex64, "ToComplex64")
to_complex128 = _caster(dtypes.complex128, "ToComplex128")
to_bfloat16 = _caster(dtypes.bfloat16, "ToBFloat16")
