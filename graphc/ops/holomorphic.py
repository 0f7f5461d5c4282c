"""Functions of complex numbers that other families need: conjugates, absolute values, hyperbolic functions and the inverses.

Beside `complex.py`, and below the elementwise operations, which turn to it where their operand is complex. The inverse functions are
W. Kahan's, "Branch cuts for complex elementary functions, or much ado about nothing's sign bit", 1987; what they need of asinh for real
numbers is given to them.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.primitives.sugar import fill_like

OfReal = Callable[[Node], Node]


@composite("Conj")
def CONJ(input: Node) -> Node:
    """The complex conjugate."""
    return p.conj(input)


@composite("ComplexAbs")
def COMPLEX_ABS(x: Node) -> Node:
    """The absolute value of complex numbers."""
    return p.abs_(x)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The complex conjugate; a real tensor itself. TypeError for a tensor that is not numeric."""
    if isinstance(x, Tensor) and not x.dtype.is_complex and not x.dtype.is_bool:
        return x
    with name_scope(name, "Conj", [x]) as scope:
        x = as_tensor(x, name="x")
        if x.dtype.is_bool:
            raise TypeError(f"Expected numeric or variant tensor, got dtype {x.dtype!r}")
        return declare_one(CONJ, {"input": x}, None, scope) if x.dtype.is_complex else x


# Over nodes -------------------------------------------------------------------------------------------------------------------------------

def _one(x: Node) -> Node:
    return fill_like(x, 1)


def _times_i(z: Node) -> Node:
    return p.complex_(p.negate(p.imag(z)), p.real(z))


def _over_i(z: Node) -> Node:
    return p.complex_(p.imag(z), p.negate(p.real(z)))


def sinh(z: Node) -> Node:
    """-i sin(i z)."""
    return _over_i(p.sine(_times_i(z)))


def cosh(z: Node) -> Node:
    """cos(i z)."""
    return p.cosine(_times_i(z))


def asin(z: Node, asinh_of_real: OfReal) -> Node:
    """atan(x / Re(s t)) + i asinh(Im(conj(s) t)) with s = sqrt(1 - z), t = sqrt(1 + z)."""
    s, t = p.sqrt(p.subtract(_one(z), z)), p.sqrt(p.add(_one(z), z))
    return p.complex_(p.atan2(p.real(z), p.real(p.multiply(s, t))), asinh_of_real(p.imag(p.multiply(p.conj(s), t))))


def acos(z: Node, asinh_of_real: OfReal) -> Node:
    """2 atan(Re s / Re t) + i asinh(Im(conj(t) s)) with s = sqrt(1 - z), t = sqrt(1 + z)."""
    s, t = p.sqrt(p.subtract(_one(z), z)), p.sqrt(p.add(_one(z), z))
    half = p.atan2(p.real(s), p.real(t))
    return p.complex_(p.add(half, half), asinh_of_real(p.imag(p.multiply(p.conj(t), s))))


def acosh(z: Node, asinh_of_real: OfReal) -> Node:
    """asinh(Re(conj(s) t)) + 2 i atan(Im s / Re t) with s = sqrt(z - 1), t = sqrt(z + 1)."""
    s, t = p.sqrt(p.subtract(z, _one(z))), p.sqrt(p.add(z, _one(z)))
    half = p.atan2(p.imag(s), p.real(t))
    return p.complex_(asinh_of_real(p.real(p.multiply(p.conj(s), t))), p.add(half, half))


def asinh(z: Node, asinh_of_real: OfReal) -> Node:
    """-i asin(i z)."""
    return _over_i(asin(_times_i(z), asinh_of_real))


def atanh(z: Node) -> Node:
    """log1p(4 x / ((1 - x)^2 + y^2)) / 4 + i arg((1 - x)(1 + x) - y^2 + 2 i y) / 2."""
    x, y = p.real(z), p.imag(z)
    left, right, square = p.subtract(_one(x), x), p.add(_one(x), x), p.multiply(y, y)
    ratio = p.divide(p.multiply(x, fill_like(x, 4)), p.add(p.multiply(left, left), square))
    turn = p.atan2(p.add(y, y), p.subtract(p.multiply(left, right), square))
    return p.complex_(p.multiply(p.log_plus_one(ratio), fill_like(x, 0.25)), p.multiply(turn, fill_like(x, 0.5)))


def atan(z: Node) -> Node:
    """-i atanh(i z)."""
    return _over_i(atanh(_times_i(z)))
