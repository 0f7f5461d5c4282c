"""Complex numbers and their parts. All of these are replaced by what they are of real numbers before there are kernels (`passes/real.py`).

In memory a complex number is a pair of real ones, real part first, as numpy has it: `view_as_real` and `view_as_complex` change nothing
there. Gradients follow TF1's convention: that of a real loss by z = x + i y is dL/dx + i dL/dy, so that of w = f(z), f holomorphic, is
conj(f'(z)) g.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc.core.loops import OfParts, Reinterpret
from graphc.core.primitive import Infer, NoAttrs, Primitive, Reference, Vjp, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, same_dim
from graphc.primitives.broadcast import full
from graphc.primitives.numerics import Array
from graphc.primitives.rules import NO_ATTRS, call, same_type


def _need_complex(name: str, x: TensorType) -> None:
    if not x.dtype.is_complex:
        raise TypeError(f"{call(name, (x,))}: needs complex operands")


def _complex_type(attrs: NoAttrs, x: TensorType, y: TensorType) -> TensorType:
    common = same_type("complex", (x, y))
    if not common.dtype.is_floating or common.dtype.size < 4:
        raise TypeError(f"{call('complex', (x, y))}: the parts must be of float32 or float64")
    return common.with_dtype(common.dtype.complex_dtype)


def _part_type(name: str) -> Infer:
    def infer(attrs: NoAttrs, z: TensorType) -> TensorType:
        _need_complex(name, z)
        return z.with_dtype(z.dtype.real_dtype)
    return infer


def _declare(name: str, arity: int, infer: Infer, reference: Reference, vjp: Vjp, doc: str) -> Callable[..., Node]:
    primitive = declare(Primitive(name, NoAttrs, arity, infer, reference, vjp, OfParts(), doc, holomorphic=False))

    def build(*operands: Node) -> Node:
        return make(primitive, operands, NO_ATTRS)
    return build


def _conj_type(attrs: NoAttrs, z: TensorType) -> TensorType:
    _need_complex("conj", z)
    return z


_complex = _declare("complex", 2, _complex_type, lambda attrs, x, y: _joined(x, y), lambda node, g: (real(g), imag(g)), "x + i y.")
_real = _declare("real", 1, _part_type("real"), lambda attrs, z: z.real.copy(), lambda node, g: (complex_(g, full(0, g.type)),),
                 "The real part.")
_imag = _declare("imag", 1, _part_type("imag"), lambda attrs, z: z.imag.copy(), lambda node, g: (complex_(full(0, g.type), g),),
                 "The imaginary part.")
_conj = _declare("conj", 1, _conj_type, lambda attrs, z: np.conj(z), lambda node, g: (conj(g),), "x - i y of x + i y.")


def _joined(x: Array, y: Array) -> Array:
    result: Array = np.empty(x.shape, np.complex64 if x.dtype == np.float32 else np.complex128)
    result.real, result.imag = x, y
    return result


def complex_(x: Node, y: Node) -> Node:
    """x + i y, of two nodes of one type."""
    return _complex(x, y)


def real(z: Node) -> Node:
    """The real part; a real `z` itself."""
    return _real(z) if z.dtype.is_complex else z


def imag(z: Node) -> Node:
    """The imaginary part; zeros of a real `z`."""
    return _imag(z) if z.dtype.is_complex else full(0, z.type)


def conj(z: Node) -> Node:
    """The complex conjugate; a real `z` itself."""
    return _conj(z) if z.dtype.is_complex else z


# The same memory ------------------------------------------------------------------------------------------------------------------------

def _as_real_type(attrs: NoAttrs, z: TensorType) -> TensorType:
    _need_complex("view_as_real", z)
    return TensorType(z.dtype.real_dtype, (*z.shape, 2))


def _as_complex_type(attrs: NoAttrs, x: TensorType) -> TensorType:
    if not x.rank or not same_dim(x.shape[-1], 2):
        raise ValueError(f"{call('view_as_complex', (x,))}: the last axis must have 2 elements")
    return TensorType(x.dtype.complex_dtype, x.shape[:-1])


VIEW_AS_REAL = declare(Primitive(
    "view_as_real", NoAttrs, 1, _as_real_type, lambda attrs, z: np.stack([z.real, z.imag], -1), lambda node, g: (view_as_complex(g),),
    Reinterpret(), "Complex numbers as pairs along a new last axis: the same memory.", holomorphic=False))
VIEW_AS_COMPLEX = declare(Primitive(
    "view_as_complex", NoAttrs, 1, _as_complex_type, lambda attrs, x: _joined(x[..., 0], x[..., 1]), lambda node, g: (view_as_real(g),),
    Reinterpret(), "Pairs along the last axis as complex numbers: the same memory.", holomorphic=False))


def view_as_real(z: Node) -> Node:
    """Complex [...] -> real [..., 2]."""
    return make(VIEW_AS_REAL, (z,), NO_ATTRS)


def view_as_complex(x: Node) -> Node:
    """Real [..., 2] -> complex [...]."""
    return make(VIEW_AS_COMPLEX, (x,), NO_ATTRS)
