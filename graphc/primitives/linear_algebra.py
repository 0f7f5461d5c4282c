"""Solutions of linear systems, computed by LAPACK on the host (`Extern`): cholesky, triangular_solve, solve, lu,
determinants. Gradients in primitives.

Matrices are the last two axes, those before them a batch. All are of LAPACK's element types. A rule that has an H in it is right for
complex matrices too; the others are made so by `differentiate`. ValueError, in TF1's words, for a matrix that has no result.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Extern
from graphc.core.primitive import NoAttrs, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, dims_product, merge_dims, same_dim
from graphc.primitives.arithmetic import add, multiply, negate
from graphc.primitives.logic import compare, convert
from graphc.primitives.matrices import (
    adjoint,
    as_type_of,
    diagonal,
    everywhere,
    identity,
    place,
    product,
    rows,
    scaled,
    triangle,
    turned,
    with_diagonal,
)
from graphc.primitives.numerics import Array
from graphc.primitives.rules import NO_ATTRS, Cotangents, call
from graphc.primitives.state import get_tuple_element

SINGULAR = "Input matrix is not invertible."
BLOCK = 64  # rows that are solved at once: larger systems are mostly products then
PANEL = 16  # columns that are eliminated one by one


@dataclass(frozen=True)
class TriangularAttrs:
    """lower: which triangle of the matrices counts; the other is not looked at. unit: nor is the diagonal, taken as ones."""

    lower: bool
    unit: bool


def matrices(name: str, types: tuple[TensorType, ...], square: bool = False) -> TensorType:
    """The first of the operands' types. TypeError or ValueError unless all are matrices of one of LAPACK's types, the first one square
    where it must be."""
    first = types[0]
    if any(each.dtype is not first.dtype for each in types):
        raise TypeError(f"{call(name, types)}: operands must have one element type")
    if first.dtype not in (dtypes.float32, dtypes.float64) and not first.dtype.is_complex:
        raise TypeError(f"{call(name, types)}: needs operands of float32, float64 or a complex type")
    if any(each.rank < 2 for each in types):
        raise ValueError(f"{call(name, types)}: operands must be at least of rank 2")
    if square and not same_dim(*first.shape[-2:]):
        raise ValueError(f"{call(name, types)}: the matrices must be square")
    return first


def work(share: float) -> Callable[..., int]:
    """About `share` x matrices x rows x columns x the least of them floating operations, for the first operand and columns of a second."""
    def flops(attrs: Any, x: TensorType, y: TensorType | None = None) -> int:
        *batch, m, n = x.dims
        width = min(m, n) if y is None else y.dims[-1] + n / 3
        return int(share * (dims_product(batch) or 0) * m * n * width)
    return flops


# cholesky -------------------------------------------------------------------------------------------------------------------------------

def _square_type(name: str) -> Callable[..., TensorType]:
    def infer(attrs: NoAttrs, a: TensorType) -> TensorType:
        side = merge_dims(matrices(name, (a,), square=True).shape[-2:-1], a.shape[-1:])
        return a.with_shape((*a.shape[:-2], *side, *side))
    return infer


def _cholesky(attrs: NoAttrs, a: Array) -> Array:
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        raise ValueError("Cholesky decomposition was not successful. The input might not be valid: a matrix is not positive definite"
                         ) from None


def _cholesky_vjp(node: Node, g: Node) -> Cotangents:
    """S = L^-H P(L^H g) L^-1, where P takes the lower triangle and half of the diagonal; the symmetric part of S, as in TF1.

    I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, equation 10.
    """
    inner = triangle(product(adjoint(node), g), lower=True)
    inner = with_diagonal(inner, scaled(diagonal(inner), 0.5))
    left = triangular_solve(adjoint(node), inner, lower=False)
    whole = adjoint(triangular_solve(adjoint(node), adjoint(left), lower=False))
    return (scaled(add(whole, adjoint(whole)), 0.5),)


CHOLESKY = declare(Primitive(
    "cholesky", NoAttrs, 1, _square_type("cholesky"), _cholesky, _cholesky_vjp, Extern("numpy.linalg.cholesky", work(1 / 3)),
    "The lower triangular L with L L^H = x, for positive definite x of which the lower triangle is read.", holomorphic=False))


def cholesky(x: Node) -> Node:
    """[..., n, n] -> [..., n, n]."""
    return make(CHOLESKY, (x,), NO_ATTRS)


# triangular_solve, solve ----------------------------------------------------------------------------------------------------------------

def _solve_type(name: str) -> Callable[..., TensorType]:
    def infer(attrs: Any, a: TensorType, b: TensorType) -> TensorType:
        matrices(name, (a, b), square=True)
        if a.rank != b.rank or not all(map(same_dim, a.shape[:-1], b.shape[:-1])):
            raise ValueError(f"{call(name, (a, b))}: the batch and the rows of both operands must be equal")
        rows = merge_dims(merge_dims(a.shape[:-1], b.shape[:-1])[-1:], a.shape[-1:])
        return b.with_shape((*merge_dims(a.shape[:-2], b.shape[:-2]), *rows, b.shape[-1]))
    return infer


def _solve(attrs: NoAttrs, a: Array, b: Array) -> Array:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise ValueError(SINGULAR) from None


def _triangular_solve(attrs: TriangularAttrs, a: Array, b: Array) -> Array:
    """A lower triangle, read from its end, is an upper one."""
    backwards = (slice(None, None, -1),) * 2
    matrix = a[(..., *backwards)] if attrs.lower else a
    if attrs.unit:
        matrix = matrix.copy()
        np.einsum("...ii->...i", matrix)[...] = 1
    if (np.einsum("...ii->...i", matrix) == 0).any():
        raise ValueError(SINGULAR)
    if attrs.lower:
        return upper_solve(matrix, b[..., ::-1, :])[..., ::-1, :]
    return upper_solve(matrix, b)


def upper_solve(a: Array, b: Array) -> Array:
    """The solution for the upper triangle of `a`, by halves: the lower half of x first, then what it leaves of the upper half of b."""
    size = a.shape[-1]
    if size <= BLOCK:
        return np.linalg.solve(np.triu(a), b)  # pivots are found on the diagonal: this is substitution
    half = size // 2
    last = upper_solve(a[..., half:, half:], b[..., half:, :])
    first = upper_solve(a[..., :half, :half], b[..., :half, :] - a[..., :half, half:] @ last)
    return np.concatenate([first, last], -2)


def _triangular_vjp(node: Node, g: Node) -> Cotangents:
    """By b: A^-T g; by A: the triangle of -(A^-T g) x^T (Giles 2008, 2.3.1)."""
    a, attrs = node.operands[0], node.attrs
    by_b = triangular_solve(turned(a), g, not attrs.lower, attrs.unit)
    return (triangle(negate(product(by_b, turned(node))), attrs.lower, attrs.unit), by_b)


TRIANGULAR_SOLVE = declare(Primitive(
    "triangular_solve", TriangularAttrs, 2, _solve_type("triangular_solve"), _triangular_solve, _triangular_vjp,
    Extern("numpy.linalg.solve of blocks on the diagonal, matmul beside them", work(1.0)),
    "The solution x of A x = b for a triangle A of each matrix of operand 0, and b in operand 1."))


def triangular_solve(a: Node, b: Node, lower: bool, unit: bool = False) -> Node:
    """[..., n, n] and [..., n, k] -> [..., n, k]."""
    return make(TRIANGULAR_SOLVE, (a, b), TriangularAttrs(lower, unit))


def _solve_vjp(node: Node, g: Node) -> Cotangents:
    by_b = solve(turned(node.operands[0]), g)
    return (negate(product(by_b, turned(node))), by_b)


SOLVE = declare(Primitive(
    "solve", NoAttrs, 2, _solve_type("solve"), _solve, _solve_vjp, Extern("numpy.linalg.solve", work(2.0)),
    "The solution x of A x = b for square matrices A in operand 0 and b in operand 1."))


def solve(a: Node, b: Node) -> Node:
    """[..., n, n] and [..., n, k] -> [..., n, k]."""
    return make(SOLVE, (a, b), NO_ATTRS)


# determinant, slogdet ---------------------------------------------------------------------------------------------------------------------

def _determinant_type(name: str) -> Callable[..., TensorType]:
    def infer(attrs: NoAttrs, a: TensorType) -> TensorType:
        return a.with_shape(matrices(name, (a,), square=True).shape[:-2])
    return infer


def _determinant_vjp(node: Node, g: Node) -> Cotangents:
    """g det(A) A^-T (M. Giles, "Collected matrix derivative results", 2008, 2.2.4)."""
    a = node.operands[0]
    inverse = solve(turned(a), identity(a, a.shape[-1]))
    return (multiply(everywhere(multiply(g, node), inverse), inverse),)


def _slogdet_types(attrs: NoAttrs, a: TensorType) -> tuple[TensorType, ...]:
    sign = _determinant_type("slogdet")(attrs, a)
    return sign, sign.with_dtype(a.dtype.real_dtype)


def _slogdet_vjp(node: Node, by_sign: Node | None, by_log: Node | None) -> Cotangents:
    """g A^-H by the logarithm; the sign is constant between its steps."""
    if by_log is None:
        return (None,)
    a = node.operands[0]
    inverse = solve(adjoint(a), identity(a, a.shape[-1]))
    return (multiply(everywhere(as_type_of(by_log, inverse), inverse), inverse),)


DETERMINANT = declare(Primitive(
    "determinant", NoAttrs, 1, _determinant_type("determinant"), lambda attrs, a: np.asarray(np.linalg.det(a)), _determinant_vjp,
    Extern("numpy.linalg.det", work(2 / 3)), "The determinants of square matrices."))
SLOGDET = declare(Primitive(
    "slogdet", NoAttrs, 1, _slogdet_types, lambda attrs, a: tuple(np.linalg.slogdet(a)), _slogdet_vjp,
    Extern("numpy.linalg.slogdet", work(2 / 3)), "The signs of determinants, and the logarithms of their absolute values.",
    holomorphic=False))


def determinant(x: Node) -> Node:
    """[..., n, n] -> [...]."""
    return make(DETERMINANT, (x,), NO_ATTRS)


def slogdet(x: Node) -> tuple[Node, Node]:
    """[..., n, n] -> signs [...], of the type of `x`, and real logarithms [...]."""
    node = make(SLOGDET, (x,), NO_ATTRS)
    return get_tuple_element(node, 0), get_tuple_element(node, 1)


# lu -------------------------------------------------------------------------------------------------------------------------------------

def _lu_types(attrs: NoAttrs, a: TensorType) -> tuple[TensorType, ...]:
    matrices("lu", (a,))
    return a, TensorType(dtypes.int32, a.shape[:-1])


def _lu(attrs: NoAttrs, a: Array) -> tuple[Array, Array]:
    *batch, m, n = a.shape
    packed = a.reshape(math.prod(batch), m, n).copy()
    order = np.broadcast_to(np.arange(m, dtype=np.int32), (len(packed), m)).copy()
    _factor(packed, order)
    return packed.reshape(a.shape), order.reshape(a.shape[:-1])


def _factor(a: Array, order: Array) -> None:
    """Factors [batch, m, n] in place, the left half of the columns first, then what it leaves of the right half (F. Gustavson, "Recursion
    leads to automatic variable blocking", 1997); permutes `order` as it does the rows."""
    m, n = a.shape[-2:]
    if not len(a) or not min(m, n):
        return
    if min(m, n) <= PANEL:
        return _factor_panel(a, order)
    left = min(m, n) // 2
    own = np.broadcast_to(np.arange(m), order.shape).copy()
    _factor(a[:, :, :left], own)
    _permute(a[:, :, left:], own)
    rest = a[:, left:, left:]
    a[:, :left, left:] = upper_solve(_unit(a[:, :left, :left])[:, ::-1, ::-1], a[:, :left, left:][:, ::-1])[:, ::-1]
    rest -= a[:, left:, :left] @ a[:, :left, left:]
    below = np.broadcast_to(np.arange(m - left), (len(a), m - left)).copy()
    _factor(rest, below)
    _permute(a[:, left:, :left], below)
    _permute(own[:, left:], below)
    _permute(order, own)


def _factor_panel(a: Array, order: Array) -> None:
    """The same for a few columns, one after the other."""
    numbers = np.arange(len(a))
    for k in range(min(a.shape[-2:])):
        column = a[:, k:, k]
        sizes = np.abs(column) if column.dtype.kind == "f" else np.abs(column.real) + np.abs(column.imag)  # as LAPACK measures them
        pivot = np.where(np.isnan(sizes), np.inf, sizes).argmax(-1) + k
        for each in (a, order):
            each[numbers, k], each[numbers, pivot] = each[numbers, pivot], each[numbers, k].copy()
        head, below = a[:, k, None, k], a[:, k + 1:, k]
        np.divide(below, head, out=below, where=head != 0)
        a[:, k + 1:, k + 1:] -= below[:, :, None] * a[:, k, None, k + 1:]


def _unit(a: Array) -> Array:
    """The lower triangle with ones on the diagonal."""
    return np.tril(a, -1) + np.eye(a.shape[-1], dtype=a.dtype)


def _permute(x: Array, order: Array) -> None:
    """Puts row order[i] of each array into row i."""
    x[...] = np.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - order.ndim)), 1)


def _lu_vjp(node: Node, g: Node | None, _: Node | None) -> Cotangents:
    """Of P A = L U, square: P^T L^-T (strict lower triangle of L^T g + upper triangle of g U^T) U^-T."""
    a = node.operands[0]
    if g is None:
        return (None,)
    if not same_dim(*a.shape[-2:]):
        raise ValueError(f"{call('lu', (a.type,))}: the gradient needs square matrices")
    packed = get_tuple_element(node, 0)
    lower, upper = add(triangle(packed, lower=True, strict=True), identity(a, a.shape[-1])), triangle(packed, lower=False)
    by_lower = triangle(product(turned(lower), triangle(g, lower=True, strict=True)), lower=True, strict=True)
    by_upper = triangle(product(triangle(g, lower=False), turned(upper)), lower=False)
    inner = triangular_solve(turned(lower), add(by_lower, by_upper), lower=False, unit=True)
    whole = turned(triangular_solve(upper, turned(inner), lower=False))
    return (product(turned(permutation_matrix(get_tuple_element(node, 1), a)), whole),)


def permutation_matrix(order: Node, like: Node) -> Node:
    """P with P[i, order[i]] = 1, of the batch, rows and element type of `like`."""
    square = identity(like, like.shape[-2])
    return convert(compare(rows(order, square), place(square, -1), "EQ"), like.dtype)


LU = declare(Primitive(
    "lu", NoAttrs, 1, _lu_types, _lu, _lu_vjp, Extern("numpy: recursive elimination with partial pivoting", work(2 / 3)),
    "The factors of P x = L U packed in one matrix (L below the diagonal, its own is ones), and for each row of it the row of x, int32."))


def lu(x: Node) -> tuple[Node, Node]:
    """[..., m, n] -> the factors [..., m, n] and the order of rows int32 [..., m]."""
    node = make(LU, (x,), NO_ATTRS)
    return get_tuple_element(node, 0), get_tuple_element(node, 1)
