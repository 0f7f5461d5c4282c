"""Functions of matrices (exponential, square root, logarithm), and systems with three diagonals."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core.opdef import OpDef, register
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import same_dim
from graphc.ops.array import expand_dims, matrix_transpose, squeeze
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.holomorphic import conj
from graphc.ops.joining import pad, stack
from graphc.ops.linalg import square
from graphc.ops.matrices import at_least, matrix_diag_part
from graphc.primitives import matrices as m
from graphc.primitives.matrix_functions import shifted

FORMATS = ("compact", "matrix", "sequence")


def _function(type_name: str, function: str) -> OpDef:
    return register(OpDef(type_name, lambda input: p.matrix_function(square(input), function), attrs={}))


MATRIX_EXPONENTIAL = _function("MatrixExponential", "exponential")
MATRIX_SQUARE_ROOT = _function("MatrixSquareRoot", "square_root")
MATRIX_LOGARITHM = _function("MatrixLogarithm", "logarithm")


def expm(input: Any, name: str | None = None) -> Tensor:
    """The exponentials of square matrices: the sums of A^k / k!."""
    with name_scope(name, "matrix_exponential", [input]):
        return declare_one(MATRIX_EXPONENTIAL, {"input": input}, None, None)


def sqrtm(input: Any, name: str | None = None) -> Tensor:
    """The principal square roots of square matrices. InvalidArgumentError where an eigenvalue is on the negative axis."""
    return declare_one(MATRIX_SQUARE_ROOT, {"input": input}, None, name)


def logm(input: Any, name: str | None = None) -> Tensor:
    """The principal logarithms of square matrices. InvalidArgumentError where an eigenvalue is zero or on the negative axis."""
    return declare_one(MATRIX_LOGARITHM, {"input": input}, None, name)


# Tridiagonal systems ----------------------------------------------------------------------------------------------------------------------

def _tridiagonal_solve(diagonals: Node, rhs: Node) -> Node:
    """The solution for matrices given by three diagonals [..., 3, n]."""
    at_least(diagonals, 2)
    at_least(rhs, 2)
    if not same_dim(diagonals.shape[-2], 3):
        raise ValueError(f"Dimension must be 3 but is {diagonals.shape[-2]}")
    if not same_dim(diagonals.shape[-1], rhs.shape[-2]):
        raise ValueError(f"Dimensions must be equal, but are {diagonals.shape[-1]} and {rhs.shape[-2]}")
    return p.tridiagonal_solve(diagonals, rhs)


def _tridiagonal_product(diagonals: Node, rhs: Node) -> Node:
    """Three scaled copies of the operand, one of them a row later, one a row earlier."""
    at_least(diagonals, 2)
    at_least(rhs, 2)
    total: Node | None = None
    for row, shift in enumerate((-1, 0, 1)):
        line = m.between(diagonals, -2, row, row + 1)
        factors = p.reshape(line, (*line.shape[:-2], line.shape[-1]))
        part = p.multiply(m.rows(factors, rhs), shifted(rhs, -2, shift) if shift else rhs)
        total = part if total is None else p.add(total, part)
    assert total is not None
    return total


TRIDIAGONAL_SOLVE = register(OpDef("TridiagonalSolve", _tridiagonal_solve, attrs={}))
TRIDIAGONAL_MAT_MUL = register(OpDef("TridiagonalMatMul", _tridiagonal_product, attrs={}))


def _compact(diagonals: Any, form: str) -> Tensor:
    """Three diagonals as [..., 3, n]: the upper one ends, and the lower one begins, with an element that does not count."""
    if form not in FORMATS:
        raise ValueError(f"Unrecognized diagonals_format: {form}")
    if form == "compact":
        return as_tensor(diagonals, name="diagonals")
    if form == "matrix":
        x = as_tensor(diagonals, name="diagonals")
        above, on, below = (matrix_diag_part(x, k=k) for k in (1, 0, -1))
    else:
        if not isinstance(diagonals, Sequence) or len(diagonals) != 3:
            raise ValueError("Expected diagonals to be a sequence of length 3.")
        above, on, below = (as_tensor(each) for each in diagonals)
    if on.shape_tuple is None:
        raise ValueError("the rank of the diagonals must be known")
    none = [[0, 0]] * (len(on.shape_tuple) - 1)
    if not above.shape_tuple or above.shape_tuple[-1] != on.shape_tuple[-1] or form == "matrix":
        above, below = pad(above, [*none, [0, 1]]), pad(below, [*none, [1, 0]])
    return stack([above, on, below], -2)


def _with_columns(diagonals: Tensor, rhs: Tensor) -> bool:
    """Whether the right-hand side has columns; else it is one vector a matrix."""
    ranks = diagonals.shape_tuple, rhs.shape_tuple
    return ranks[0] is None or ranks[1] is None or len(ranks[1]) != len(ranks[0]) - 1


def tridiagonal_solve(diagonals: Any, rhs: Any, diagonals_format: str = "compact", transpose_rhs: bool = False, conjugate_rhs: bool = False,
                      name: str | None = None, partial_pivoting: bool = True) -> Tensor:
    """The solutions x of A x = rhs for matrices with three diagonals. rhs: [..., n, k], or [..., n] for one vector a matrix.

    diagonals_format: "compact" ([..., 3, n]: upper, main, lower; the last upper and the first lower element do not count), "matrix"
    ([..., n, n]) or "sequence" (the three of them). partial_pivoting: rows are exchanged in any case. InvalidArgumentError where A has no
    inverse.
    """
    with name_scope(name, "tridiagonal_solve", [diagonals, rhs]):
        compact, right = _compact(diagonals, diagonals_format), as_tensor(rhs, name="rhs")
        right = conj(right) if conjugate_rhs else right
        if not _with_columns(compact, right):
            solved = declare_one(TRIDIAGONAL_SOLVE, {"diagonals": compact, "rhs": expand_dims(right, -1)}, None, None)
            return squeeze(solved, [-1])
        right = matrix_transpose(right) if transpose_rhs else right
        return declare_one(TRIDIAGONAL_SOLVE, {"diagonals": compact, "rhs": right}, None, None)


def tridiagonal_matmul(diagonals: Any, rhs: Any, diagonals_format: str = "compact", name: str | None = None) -> Tensor:
    """The products of matrices with three diagonals (see `tridiagonal_solve`) and [..., n, k]."""
    with name_scope(name, "tridiagonal_matmul", [diagonals, rhs]):
        inputs = {"diagonals": _compact(diagonals, diagonals_format), "rhs": as_tensor(rhs, name="rhs")}
        return declare_one(TRIDIAGONAL_MAT_MUL, inputs, None, None)
