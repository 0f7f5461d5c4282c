"""Linear algebra with LAPACK: factorisations, solutions of systems, determinants, and what is made of them.

Matrices are the last two axes, those before them a batch. The primitives below call the host (`primitives/linear_algebra.py`,
`primitives/factorisations.py`), so each operation here is a step of its own in a plan; what stands around it is fused as ever.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dims, same_dim
from graphc.ops.array import expand_dims
from graphc.ops.choosing import where_v2
from graphc.ops.declare import as_tensor, declare, declare_one, name_scope
from graphc.ops.elementwise import cast, divide, greater, log
from graphc.ops.linear import matmul
from graphc.ops.matrices import at_least, matrix_diag_part
from graphc.ops.parts import undetermined
from graphc.ops.reductions import reduce_max, reduce_sum
from graphc.primitives import matrices as m

Pair = tuple[Tensor, Tensor]


# Rules of shapes ------------------------------------------------------------------------------------------------------------------------

def square(x: Node) -> Node:
    """`x`, which must be square matrices: where one of the two sizes is known, both are."""
    rows, columns = at_least(x, 2).shape[-2:]
    if not same_dim(rows, columns):
        raise ValueError(f"Dimensions must be equal, but are {rows} and {columns}")
    if rows == columns:
        return x
    size = columns if rows is None else rows
    return p.reshape(x, (*x.shape[:-2], size, size))


def _system(matrix: Node, rhs: Node) -> None:
    """Both sides of equations: equal batches, and as many rows."""
    at_least(matrix, 2)
    at_least(rhs, 2)
    if len(matrix.shape) != len(rhs.shape):
        raise ValueError(f"Shapes must be equal rank, but are {len(matrix.shape)} and {len(rhs.shape)}")
    for one, other in zip(matrix.shape[:-1], rhs.shape[:-1], strict=True):
        if not same_dim(one, other):
            raise ValueError(f"Dimensions must be equal, but are {one} and {other}")


# Systems of equations -------------------------------------------------------------------------------------------------------------------

@composite("MatrixTriangularSolve")
def MATRIX_TRIANGULAR_SOLVE(matrix: Node, rhs: Node, *, lower: bool = True, adjoint: bool = False) -> Node:
    """The solution x of A x = rhs, or of A^H x = rhs, for one triangle A of each matrix."""
    _system(square(matrix), rhs)
    if adjoint:
        return p.triangular_solve(m.adjoint(matrix), rhs, not lower)
    return p.triangular_solve(matrix, rhs, lower)


@composite("MatrixSolve")
def MATRIX_SOLVE(matrix: Node, rhs: Node, *, adjoint: bool = False) -> Node:
    """The solution x of A x = rhs, or of A^H x = rhs, for square A."""
    _system(square(matrix), rhs)
    return p.solve(m.adjoint(matrix) if adjoint else matrix, rhs)


def _inverse_gradient(input: Node, output: Node, g: Node, *, adjoint: bool) -> Sequence[Node]:
    """-Y^T g Y^T of Y = A^-1; of Y = A^-H the conjugate of -Y g^T Y."""
    if adjoint:
        return (p.conj(p.negate(m.product(m.product(output, m.turned(g)), output))),)
    turned = m.turned(output)
    return (p.negate(m.product(m.product(turned, g), turned)),)


@composite("MatrixInverse", gradient=_inverse_gradient)
def MATRIX_INVERSE(input: Node, *, adjoint: bool = False) -> Node:
    """The inverses of square matrices, or of their adjoints."""
    input = square(input)
    return p.solve(m.adjoint(input) if adjoint else input, m.identity(input, input.shape[-1]))


def matrix_triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The solutions x of A x = rhs (A^H x where `adjoint`) by substitution, for the lower or upper triangle A of [..., n, n]; the other
    triangle is not read. InvalidArgumentError for a zero on the diagonal."""
    return declare_one(MATRIX_TRIANGULAR_SOLVE, {"matrix": matrix, "rhs": rhs}, {"lower": bool(lower), "adjoint": bool(adjoint)}, name)


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The solutions x of A x = rhs (A^H x where `adjoint`) for square A. InvalidArgumentError where A has no inverse."""
    return declare_one(MATRIX_SOLVE, {"matrix": matrix, "rhs": rhs}, {"adjoint": bool(adjoint)}, name)


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverses of square matrices (of their adjoints). InvalidArgumentError where there is none."""
    return declare_one(MATRIX_INVERSE, {"input": input}, {"adjoint": bool(adjoint)}, name)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """The solutions x of A x = rhs, for A = L L^H given by `chol` = L."""
    with name_scope(name, "cholesky_solve", [chol, rhs]):
        factor = as_tensor(chol, name="chol")
        half = matrix_triangular_solve(factor, rhs, adjoint=False, lower=True)
        return matrix_triangular_solve(factor, half, adjoint=True, lower=True)


# Least squares --------------------------------------------------------------------------------------------------------------------------

def _no_gradient(*_: Any, **attrs: Any) -> Sequence[Node]:
    raise ValueError("Gradient not defined for fast=False")


@composite("MatrixSolveLs", gradient=_no_gradient)
def MATRIX_SOLVE_LS(matrix: Node, rhs: Node, l2_regularizer: Node, *, fast: bool = True) -> Node:
    """The least solution x of those that minimise |A x - rhs|, by singular values: V S^-1 U^H rhs, where what is below the rounding error
    of the largest singular value counts as zero."""
    _system(matrix, rhs)
    values, u, v = p.svd(matrix)
    epsilon = float(np.finfo(values.dtype.np_dtype).eps)
    sides = [d for d in matrix.shape[-2:] if d is not None]
    rank = len(values.shape)
    if values.shape[-1] == 0:
        return p.full(0, rhs.type.with_shape((*rhs.shape[:-2], matrix.shape[-1], rhs.shape[-1])))
    largest = p.broadcast_in_dim(p.reduce_max(values, (rank - 1,)), values.shape, range(rank - 1))
    counts = p.compare(values, m.scaled(largest, epsilon * max(sides, default=1)), "GT")
    ones = p.full(1, values.type)
    inverse = p.select(counts, p.divide(ones, p.select(counts, values, ones)), p.full(0, values.type))
    projected = m.product(m.adjoint(u), rhs)
    return m.product(v, p.multiply(m.real_rows(inverse, projected), projected))


@composite("RegularisedSolve")
def REGULARISED_SOLVE(matrix: Node, rhs: Node, *, l2_regularizer: float = 0.0) -> Node:
    """The solution of the normal equations by Cholesky's factor: (A^H A + l I) x = A^H rhs, or x = A^H (A A^H + l I)^-1 rhs where A has
    fewer rows than columns."""
    _system(matrix, rhs)
    rows, columns = matrix.shape[-2:]
    if rows is None or columns is None:
        return undetermined(matrix, (*rhs.shape[:-2], columns, rhs.shape[-1]), rhs)
    turned = m.adjoint(matrix)
    if rows >= columns:
        return _by_cholesky(m.product(turned, matrix), m.product(turned, rhs), l2_regularizer)
    return m.product(turned, _by_cholesky(m.product(matrix, turned), rhs, l2_regularizer))


def _by_cholesky(gramian: Node, rhs: Node, regularizer: float) -> Node:
    if regularizer:
        gramian = p.add(gramian, m.scaled(m.identity(gramian, gramian.shape[-1]), regularizer))
    factor = p.cholesky(gramian)
    return p.triangular_solve(m.adjoint(factor), p.triangular_solve(factor, rhs, lower=True), lower=False)


def matrix_solve_ls(matrix: Any, rhs: Any, l2_regularizer: Any = 0.0, fast: bool = True, name: str | None = None) -> Tensor:
    """The solutions x that minimise |A x - rhs|^2 + l2_regularizer |x|^2. fast: by Cholesky's factor of A^H A, which needs A of full rank
    and squares its condition; else by singular values (then without a regularizer, which is ignored as in TF1, and without gradients)."""
    if not fast:
        regularizer = convert_to_tensor(l2_regularizer, dtypes.float64, "l2_regularizer")
        return declare_one(MATRIX_SOLVE_LS, {"matrix": matrix, "rhs": rhs, "l2_regularizer": regularizer}, {"fast": False}, name,
                           other={"l2_regularizer": dtypes.float64})
    with name_scope(name, "matrix_solve_ls", [matrix, rhs, l2_regularizer]):
        return declare_one(REGULARISED_SOLVE, {"matrix": matrix, "rhs": rhs}, {"l2_regularizer": float(l2_regularizer)}, None)


# Determinants ---------------------------------------------------------------------------------------------------------------------------

@composite("MatrixDeterminant")
def MATRIX_DETERMINANT(input: Node) -> Node:
    """The determinants of square matrices."""
    return p.determinant(square(input))


@composite("LogMatrixDeterminant")
def LOG_MATRIX_DETERMINANT(input: Node) -> Sequence[Node]:
    """The signs of determinants and the logarithms of their absolute values, which neither overflow nor underflow."""
    return p.slogdet(square(input))


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """The determinants of square matrices."""
    return declare_one(MATRIX_DETERMINANT, {"input": input}, None, name)


def slogdet(input: Any, name: str | None = None) -> Pair:
    """The sign and the logarithm of the absolute value of each determinant: det = sign exp(log_abs_det)."""
    sign, log_abs = declare(LOG_MATRIX_DETERMINANT, {"input": input}, None, name).outputs
    return sign, log_abs


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """The logarithms of the determinants of positive definite matrices, by Cholesky's factor."""
    with name_scope(name, "logdet", [matrix]):
        factor = cholesky(matrix)
        return 2.0 * reduce_sum(log(matrix_diag_part(factor)), [-1])


# Factorisations -------------------------------------------------------------------------------------------------------------------------

@composite("Cholesky")
def CHOLESKY(input: Node) -> Node:
    """The lower triangular L with L L^H = A, for positive definite A of which the lower triangle is read."""
    return p.cholesky(square(input))


@composite("Lu")
def LU(input: Node, *, output_idx_type: DType = dtypes.int32) -> Sequence[Node]:
    """L (below the diagonal) and U of P A = L U packed in one matrix, and for each row of P A the row of A."""
    packed, order = p.lu(square(input))
    return packed, order if output_idx_type is order.dtype else p.convert(order, output_idx_type)


@composite("Qr")
def QR(input: Node, *, full_matrices: bool = False) -> Sequence[Node]:
    """Orthonormal columns Q and upper triangular R with A = Q R."""
    return p.qr(at_least(input, 2), full_matrices)


@composite("Svd")
def SVD(input: Node, *, compute_uv: bool = True, full_matrices: bool = False) -> Sequence[Node]:
    """Singular values, largest first, and the vectors U and V of A = U diag(s) V^H."""
    at_least(input, 2)
    return p.svd(input, full_matrices) if compute_uv else (p.singular_values(input),)


@composite("SelfAdjointEigV2")
def SELF_ADJOINT_EIG(input: Node, *, compute_v: bool = True) -> Sequence[Node]:
    """Eigenvalues, least first, and eigenvectors, of self-adjoint matrices of which the lower triangle is read."""
    input = square(input)
    if compute_v:
        return p.eigh(input)
    return p.eigenvalues(input), p.full(0, input.type.with_shape((0,)))


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with L L^H = A. InvalidArgumentError unless A is positive definite."""
    return declare_one(CHOLESKY, {"input": input}, None, name)


def lu(input: Any, output_idx_type: Any = dtypes.int32, name: str | None = None) -> Pair:
    """L and U in one matrix (the diagonal of L is ones), and the permutation: row i of L U is row p[i] of the matrix."""
    packed, order = declare(LU, {"input": input}, {"output_idx_type": as_dtype(output_idx_type)}, name).outputs
    return packed, order


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> Pair:
    """Q and R of [..., m, n]: Q has m columns where `full_matrices`, else min(m, n)."""
    q, r = declare(QR, {"input": input}, {"full_matrices": bool(full_matrices)}, name).outputs
    return q, r


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """(s, U, V) with A = U diag(s) V^H, singular values largest first; s alone unless `compute_uv`."""
    outputs = declare(SVD, {"input": tensor}, {"compute_uv": bool(compute_uv), "full_matrices": bool(full_matrices)}, name).outputs
    return tuple(outputs) if compute_uv else outputs[0]


def self_adjoint_eig(tensor: Any, name: str | None = None) -> Pair:
    """Eigenvalues, least first, and eigenvectors in columns, of self-adjoint matrices."""
    values, vectors = declare(SELF_ADJOINT_EIG, {"input": tensor}, {"compute_v": True}, name).outputs
    return values, vectors


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """Eigenvalues, least first, of self-adjoint matrices."""
    return declare(SELF_ADJOINT_EIG, {"input": tensor}, {"compute_v": False}, name).outputs[0]


# What singular values tell --------------------------------------------------------------------------------------------------------------

def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The number of singular values above `tol` (by default: what rounding makes of a zero) of each matrix, int32."""
    with name_scope(name, "matrix_rank", [a, tol]):
        values = svd(as_tensor(a, name="a"), compute_uv=False)
        if tol is None:
            tol = _rounding(a, values) * reduce_max(values, -1, keepdims=True)
        return reduce_sum(cast(greater(values, tol), dtypes.int32), -1)


def _rounding(a: Any, values: Tensor) -> float:
    dims: Dims = as_tensor(a).shape_tuple or (None, None)
    sides = [d for d in dims[-2:] if d is not None]
    if len(sides) < 2:
        raise ValueError("the default tolerance needs matrices whose rows and columns are known")
    return float(np.finfo(values.dtype.np_dtype).eps) * max(sides)


def pinv(a: Any, rcond: Any = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The Moore-Penrose pseudo-inverses of matrices, without singular values that are at most `rcond` (by default ten times what rounding
    makes of a zero) times the largest."""
    with name_scope(name, "pinv", [a, rcond]):
        x = as_tensor(a, name="a")
        values, u, v = svd(x, full_matrices=False)
        limit = 10.0 * _rounding(x, values) if rcond is None else rcond
        cut = reduce_max(values, -1, keepdims=True) * convert_to_tensor(limit, values.dtype, "rcond")
        kept = where_v2(greater(values, cut), values, convert_to_tensor(np.inf, values.dtype))
        return matmul(divide(v, expand_dims(kept, -2)), u, adjoint_b=True)
