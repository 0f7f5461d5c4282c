"""Complex numbers: made of two real ones, and taken apart into parts and angles.

All other operations take complex tensors as they are (`passes/real.py` makes real ones of them). Gradients follow TF1's convention.
"""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.primitives.sugar import broadcast_binary


@composite("Complex")
def COMPLEX(real: Node, imag: Node) -> Node:
    """real + i imag."""
    return broadcast_binary(p.complex_, real, imag)


@composite("Real")
def REAL(input: Node) -> Node:
    """The real part."""
    return p.real(input)


@composite("Imag")
def IMAG(input: Node) -> Node:
    """The imaginary part."""
    return p.imag(input)


@composite("Angle")
def ANGLE(input: Node) -> Node:
    """The argument, in (-pi, pi]."""
    return p.atan2(p.imag(input), p.real(input))


def complex_(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """real + i imag: complex64 of float32 parts, complex128 of float64 ones, which broadcast. TypeError for other types."""
    with name_scope(name, "Complex", [real, imag]) as scope:
        x, y = as_tensor(real, name="real"), as_tensor(imag, name="imag")
        if x.dtype is not y.dtype or not x.dtype.is_floating or x.dtype.size < 4:
            raise TypeError(f"real and imag have incorrect types: {x.dtype.name} {y.dtype.name}")
        return declare_one(COMPLEX, {"real": x, "imag": y}, None, scope)


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part; a real tensor itself."""
    with name_scope(name, "Real", [input]) as scope:
        x = as_tensor(input, name="input")
        return declare_one(REAL, {"input": x}, None, scope) if x.dtype.is_complex else x


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part; zeros for a real tensor."""
    with name_scope(name, "Imag", [input]) as scope:
        x = as_tensor(input, name="input")
        return declare_one(IMAG, {"input": x}, None, scope) if x.dtype.is_complex else zeros_like(x)


def angle(input: Any, name: str | None = None) -> Tensor:
    """The argument of complex numbers, in (-pi, pi]; zeros for a real tensor, as in TF1."""
    with name_scope(name, "Angle", [input]) as scope:
        x = as_tensor(input, name="input")
        return declare_one(ANGLE, {"input": x}, None, scope) if x.dtype.is_complex else zeros_like(x)
