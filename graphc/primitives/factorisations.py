"""Orthogonal factorisations of matrices, computed by LAPACK on the host (`Extern`): qr, svd, eigh. Gradients in primitives.

Matrices are the last two axes, those before them a batch. The gradients are written for complex matrices (H: conjugate transpose), in TF1's
convention. They are infinite or NaN where a factorisation is not unique (equal singular values or eigenvalues), as in TF1.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.core.loops import Extern
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, same_dim
from graphc.primitives.arithmetic import add, divide, multiply, subtract
from graphc.primitives.broadcast import full
from graphc.primitives.complex import complex_, imag, real
from graphc.primitives.linear_algebra import matrices, triangular_solve, work
from graphc.primitives.logic import select
from graphc.primitives.matrices import (
    adjoint,
    as_type_of,
    between,
    columns,
    diagonal,
    diagonal_matrix,
    leading,
    least,
    on_diagonal,
    product,
    real_columns,
    real_rows,
    rows,
    scaled,
    triangle,
    with_diagonal,
)
from graphc.primitives.movement import concatenate
from graphc.primitives.numerics import Array
from graphc.primitives.rules import Cotangents, call
from graphc.primitives.state import get_tuple_element


@dataclass(frozen=True)
class FullAttrs:
    """full: whether the orthogonal factors are square; else they have min(m, n) columns."""

    full: bool


@dataclass(frozen=True)
class SvdAttrs:
    """vectors: whether the singular vectors are results too. full: as `FullAttrs`."""

    vectors: bool
    full: bool


@dataclass(frozen=True)
class EighAttrs:
    """vectors: whether the eigenvectors are a result too."""

    vectors: bool


# qr -------------------------------------------------------------------------------------------------------------------------------------

def _qr_types(attrs: FullAttrs, x: TensorType) -> tuple[TensorType, ...]:
    *batch, m, n = matrices("qr", (x,)).shape
    inner = m if attrs.full else least(m, n)
    return x.with_shape((*batch, m, inner)), x.with_shape((*batch, inner, n))


def _qr(attrs: FullAttrs, x: Array) -> tuple[Array, ...]:
    return tuple(np.linalg.qr(x, "complete" if attrs.full else "reduced"))


def _qr_vjp(node: Node, by_q: Node | None, by_r: Node | None) -> Cotangents:
    """For m < n the matrix is [X Y] and R is [U V]: X = Q U is square, and Y = Q V.

    J. Roberts, L. Roberts, "QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep matrices",
    arXiv:2009.10071.
    """
    x, attrs = node.operands[0], node.attrs
    m, n = x.shape[-2:]
    if attrs.full and not (m is None or n is None) and m > n:
        raise ValueError(f"{call('qr', (x.type,))}: the gradient of the full factorisation needs no more rows than columns")
    q, r = get_tuple_element(node, 0), get_tuple_element(node, 1)
    by_q = full(0, q.type) if by_q is None else by_q
    by_r = full(0, r.type) if by_r is None else by_r
    if m is None or n is None or m >= n:
        return (_deep_qr_vjp(q, r, by_q, by_r),)
    rest = between(by_r, -1, m, n)
    by_q = add(by_q, product(between(x, -1, m, n), adjoint(rest)))
    return (concatenate([_deep_qr_vjp(q, leading(r, -1, m), by_q, leading(by_r, -1, m)), product(q, rest)], len(x.shape) - 1),)


def _deep_qr_vjp(q: Node, r: Node, by_q: Node, by_r: Node) -> Node:
    """(Q' + Q S) R^-H, where S is M = R R'^H - Q'^H Q with its lower triangle mirrored upwards (Q', R': the cotangents), and its diagonal
    real, as that of R is."""
    m = subtract(product(r, adjoint(by_r)), product(adjoint(by_q), q))
    below = triangle(m, lower=True, strict=True)
    mirrored = with_diagonal(add(below, adjoint(below)), as_type_of(real(diagonal(m)), m))
    whole = add(by_q, product(q, mirrored))
    return adjoint(triangular_solve(r, adjoint(whole), lower=False))


QR = declare(Primitive(
    "qr", FullAttrs, 1, _qr_types, _qr, _qr_vjp, Extern("numpy.linalg.qr", work(4.0)),
    "The factors of x = Q R: orthonormal columns Q, and upper triangular R.", holomorphic=False))


def qr(x: Node, full: bool = False) -> tuple[Node, Node]:
    """[..., m, n] -> Q [..., m, k] and R [..., k, n], where k is m where `full`, else min(m, n)."""
    node = make(QR, (x,), FullAttrs(full))
    return get_tuple_element(node, 0), get_tuple_element(node, 1)


# svd ------------------------------------------------------------------------------------------------------------------------------------

def _svd_types(attrs: SvdAttrs, x: TensorType) -> tuple[TensorType, ...]:
    *batch, m, n = matrices("svd", (x,)).shape
    size = least(m, n)
    values = TensorType(x.dtype.real_dtype, (*batch, size))
    if not attrs.vectors:
        return (values,)
    left, right = (m, n) if attrs.full else (size, size)
    return values, x.with_shape((*batch, m, left)), x.with_shape((*batch, n, right))


def _svd(attrs: SvdAttrs, x: Array) -> Array | tuple[Array, ...]:
    try:
        if not attrs.vectors:
            return np.asarray(np.linalg.svd(x, compute_uv=False))
        u, s, v = np.linalg.svd(x, attrs.full)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"{error}: the matrix has elements that are not finite, perhaps") from None
    return s, u, np.conj(np.swapaxes(v, -1, -2))


def _svd_vjp(node: Node, by_s: Node | None, by_u: Node | None = None, by_v: Node | None = None) -> Cotangents:
    """U (F * (U^H U' - U'^H U) S + S F * (V^H V' - V'^H V) + s') V^H + (1 - U U^H) U' S^-1 V^H + U S^-1 V'^H (1 - V V^H), where F_ij is
    1 / (s_j^2 - s_i^2), 0 on the diagonal.

    J. Townsend, "Differentiating the singular value decomposition", 2016.
    """
    x, attrs = node.operands[0], node.attrs
    if not attrs.vectors:
        _, u, v = svd(x)
        return (None if by_s is None else product(multiply(u, real_columns(by_s, u)), adjoint(v)),)
    values = get_tuple_element(node, 0)
    u, by_u = _thin(node, 1, by_u)
    v, by_v = _thin(node, 2, by_v)
    size = values.shape[-1]
    inner = None if by_s is None else diagonal_matrix(as_type_of(by_s, x))
    whole: Node | None = None
    inverse = real_columns(divide(full(1, values.type), values), u)
    if by_u is not None:
        turning = _times_real(_skew(u, by_u), _gaps(values))
        inner = _plus(inner, multiply(turning, real_columns(values, turning)))
        if x.dtype.is_complex:  # U and V turn together by a factor of absolute value 1 for each singular value
            phases = divide(imag(diagonal(product(adjoint(u), by_u))), values)
            inner = add(inner, diagonal_matrix(complex_(full(0, phases.type), phases)))
        if not same_dim(u.shape[-2], size) or None in (u.shape[-2], size):
            whole = _plus(whole, product(multiply(_beside(u, by_u), inverse), adjoint(v)))
    if by_v is not None:
        turning = _times_real(_skew(v, by_v), _gaps(values))
        inner = _plus(inner, multiply(turning, real_rows(values, turning)))
        if not same_dim(v.shape[-2], size) or None in (v.shape[-2], size):
            inverse = real_columns(divide(full(1, values.type), values), v)
            whole = _plus(whole, product(u, adjoint(multiply(_beside(v, by_v), inverse))))
    if inner is not None:
        whole = _plus(whole, product(product(u, inner), adjoint(v)))
    return (whole,)


def _thin(node: Node, output: int, cotangent: Node | None) -> tuple[Node, Node | None]:
    """The singular vectors that belong to a value, and their cotangent. The one more that a full factorisation may have is what is
    orthogonal to them, so that what flows to it goes on to them."""
    vectors, x = get_tuple_element(node, output), node.operands[0]
    size, all_ = least(*x.shape[-2:]), vectors.shape[-1]
    if size is None or all_ is None or size == all_:
        return vectors, cotangent
    mine = leading(vectors, -1, size)
    if cotangent is None:
        return mine, None
    if all_ - size > 1:
        raise ValueError(f"{call('svd', (x.type,))}: svd gradient is not implemented for abs(m - n) > 1 when full_matrices is True")
    last, by_last = between(vectors, -1, size, all_), between(cotangent, -1, size, all_)
    return mine, subtract(leading(cotangent, -1, size), product(last, product(adjoint(by_last), mine)))


def _skew(u: Node, by_u: Node) -> Node:
    """U^H U' - U'^H U."""
    turning = product(adjoint(u), by_u)
    return subtract(turning, adjoint(turning))


def _beside(u: Node, by_u: Node) -> Node:
    """(1 - U U^H) U'."""
    return subtract(by_u, product(u, product(adjoint(u), by_u)))


def _gaps(values: Node) -> Node:
    """1 / (v_j^2 - v_i^2), 0 on the diagonal."""
    return _reciprocal_differences(multiply(values, values))


def _reciprocal_differences(values: Node) -> Node:
    """1 / (v_j - v_i), 0 on the diagonal."""
    square = full(0, values.type.with_shape((*values.shape, values.shape[-1])))
    same = on_diagonal(square)
    gaps = subtract(columns(values, square), rows(values, square))
    ones = full(1, square.type)
    return select(same, square, divide(ones, select(same, ones, gaps)))


def _times_real(x: Node, factors: Node) -> Node:
    return multiply(x, as_type_of(factors, x))


def _plus(x: Node | None, y: Node) -> Node:
    return y if x is None else add(x, y)


SVD = declare(Primitive(
    "svd", SvdAttrs, 1, _svd_types, _svd, _svd_vjp, Extern("numpy.linalg.svd", work(20.0)),
    "Singular values s, largest first, and where asked for the vectors of x = U diag(s) V^H.", holomorphic=False))


def svd(x: Node, full: bool = False) -> tuple[Node, Node, Node]:
    """[..., m, n] -> s [..., k], U [..., m, k or m] and V [..., n, k or n], where k is min(m, n)."""
    node = make(SVD, (x,), SvdAttrs(True, full))
    return get_tuple_element(node, 0), get_tuple_element(node, 1), get_tuple_element(node, 2)


def singular_values(x: Node) -> Node:
    """[..., m, n] -> [..., min(m, n)], largest first."""
    return make(SVD, (x,), SvdAttrs(False, False))


# eigh -----------------------------------------------------------------------------------------------------------------------------------

def _eigh_types(attrs: EighAttrs, x: TensorType) -> TensorType | tuple[TensorType, ...]:
    matrices("eigh", (x,), square=True)
    values = TensorType(x.dtype.real_dtype, x.shape[:-1])
    return (values, x) if attrs.vectors else values


def _eigh(attrs: EighAttrs, x: Array) -> Array | tuple[Array, ...]:
    try:
        return tuple(np.linalg.eigh(x)) if attrs.vectors else np.asarray(np.linalg.eigvalsh(x))
    except np.linalg.LinAlgError as error:
        raise ValueError(f"{error}: the matrix has elements that are not finite, perhaps") from None


def _eigh_vjp(node: Node, by_values: Node | None, by_vectors: Node | None = None) -> Cotangents:
    """V (diag(w') + F * (V^H V')) V^H with F_ij = 1 / (w_j - w_i), 0 on the diagonal (Giles 2008, 3.1). Only the lower triangle is read,
    so that what is due to the upper one goes to it."""
    values, vectors = (get_tuple_element(node, 0), get_tuple_element(node, 1)) if node.attrs.vectors else eigh(node.operands[0])
    inner = None if by_values is None else diagonal_matrix(as_type_of(by_values, vectors))
    if by_vectors is not None:
        inner = _plus(inner, _times_real(product(adjoint(vectors), by_vectors), _reciprocal_differences(values)))
    if inner is None:
        return (None,)
    whole = product(product(vectors, inner), adjoint(vectors))
    lower = triangle(add(whole, adjoint(whole)), lower=True)
    return (with_diagonal(lower, scaled(diagonal(lower), 0.5)),)


EIGH = declare(Primitive(
    "eigh", EighAttrs, 1, _eigh_types, _eigh, _eigh_vjp, Extern("numpy.linalg.eigh", work(9.0)),
    "Eigenvalues, least first, and where asked for the eigenvectors of a symmetric (hermitian) x, of which the lower triangle is read.",
    holomorphic=False))


def eigh(x: Node) -> tuple[Node, Node]:
    """[..., n, n] -> eigenvalues [..., n], and eigenvectors [..., n, n] in columns."""
    node = make(EIGH, (x,), EighAttrs(True))
    return get_tuple_element(node, 0), get_tuple_element(node, 1)


def eigenvalues(x: Node) -> Node:
    """[..., n, n] -> [..., n], least first."""
    return make(EIGH, (x,), EighAttrs(False))
