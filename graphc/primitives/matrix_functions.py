"""Functions of matrices: exponential, square root, logarithm, computed on the host (`Extern`); and tridiagonal systems.

Their derivative is the function itself of a matrix of twice the size: f([[A, E], [0, A]]) has L(A, E), the derivative of f at A in the
direction E, in its upper right corner (N. Higham, "Functions of matrices", 2008, theorem 3.6). So every gradient here is of any order.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphc.core.loops import Extern
from graphc.core.primitive import NoAttrs, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, same_dim
from graphc.primitives.arithmetic import multiply, negate
from graphc.primitives.broadcast import full, reduce_sum, reshape
from graphc.primitives.linear_algebra import SINGULAR, matrices, work
from graphc.primitives.matrices import between, leading, turned
from graphc.primitives.movement import concatenate, pad
from graphc.primitives.numerics import Array
from graphc.primitives.rules import NO_ATTRS, Cotangents, call
from graphc.primitives.sources import constant

MOST_STEPS = 60


@dataclass(frozen=True)
class MatrixFunctionAttrs:
    """function: "exponential", "square_root" or "logarithm"."""

    function: str


def _function_type(attrs: MatrixFunctionAttrs, a: TensorType) -> TensorType:
    if attrs.function not in FUNCTIONS:
        raise ValueError(f"{call('matrix_function', (a,))}: function {attrs.function!r} must be one of {', '.join(FUNCTIONS)}")
    return matrices("matrix_function", (a,), square=True)


def _matrix_function(attrs: MatrixFunctionAttrs, a: Array) -> Array:
    """One matrix after the other, in double precision."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    flat = a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:]).astype(wide)
    result = np.empty_like(flat)
    for number, each in enumerate(flat if a.size else ()):
        found = FUNCTIONS[attrs.function](each) if np.isfinite(each).all() else np.full_like(each, np.nan)
        result[number] = found
    return result.reshape(a.shape).astype(a.dtype)


def _matrix_function_vjp(node: Node, g: Node) -> Cotangents:
    """L(A^T, g)."""
    a = turned(node.operands[0])
    rank, size = len(a.shape), a.shape[-1]
    upper = concatenate([a, g], rank - 1)
    lower = concatenate([full(0, a.type), a], rank - 1)
    whole = matrix_function(concatenate([upper, lower], rank - 2), node.attrs.function)
    return (between(leading(whole, -2, size), -1, size, None if size is None else 2 * size),)


def _exponential(a: Array) -> Array:
    """Scaling and squaring with the [13/13] Pade approximant (N. Higham, "The scaling and squaring method revisited", 2005)."""
    norm = float(np.abs(a).sum(0).max())
    halvings = max(0, math.ceil(math.log2(norm / 5.371920351148152))) if norm > 0 else 0
    scaled = a / 2.0 ** halvings
    c = [math.comb(13, k) * math.factorial(26 - k) / math.factorial(26) for k in range(14)]
    unit = np.eye(len(a), dtype=a.dtype)
    two = scaled @ scaled
    four = two @ two
    six = two @ four
    odd = scaled @ (six @ (c[13] * six + c[11] * four + c[9] * two) + c[7] * six + c[5] * four + c[3] * two + c[1] * unit)
    even = six @ (c[12] * six + c[10] * four + c[8] * two) + c[6] * six + c[4] * four + c[2] * two + c[0] * unit
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(halvings):
        result = result @ result
    return np.asarray(result)


def _square_root(a: Array) -> Array:
    """By eigenvalues where `a` is self-adjoint, so that it may be singular. Else the product form of the scaled iteration of Denman and
    Beavers (Higham 2008, 6.29), which finds the root without eigenvalues on the negative axis."""
    if np.array_equal(a, a.conj().T):
        values, vectors = np.linalg.eigh(a)
        if values[0] >= -1e-14 * abs(values[-1]):
            return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.conj().T)
    root, rest, unit = a.copy(), a.copy(), np.eye(len(a), dtype=a.dtype)
    for _ in range(MOST_STEPS):
        try:
            inverse = np.linalg.inv(rest)
        except np.linalg.LinAlgError:
            break
        error = np.abs(rest - unit).max()
        scale = np.exp(-np.linalg.slogdet(rest)[1] / (2 * len(a))) if error > 0.1 else 1.0
        root = scale * root @ (unit + inverse / scale ** 2) / 2
        rest = (unit + (scale ** 2 * rest + inverse / scale ** 2) / 2) / 2
        if error < 1e-14 * len(a):
            return np.asarray(root)
        if not np.isfinite(error):
            break
    if np.abs(root @ root - a).max() <= 1e-9 * max(np.abs(a).max(), 1e-300):
        return root
    raise ValueError("The matrix has no principal square root: an eigenvalue is zero or on the negative axis")


def _logarithm(a: Array) -> Array:
    """Square roots until `a` is near the unit matrix, then Gauss-Legendre quadrature of the integral of (A - 1)(t (A - 1) + 1)^-1 over
    [0, 1], which is the [8/8] Pade approximant (Higham 2008, 11.18)."""
    unit, doublings = np.eye(len(a), dtype=a.dtype), 0
    while np.abs(a - unit).sum(0).max() > 0.2 and doublings < MOST_STEPS:
        a, doublings = _square_root(a), doublings + 1
    nodes, weights = np.polynomial.legendre.leggauss(8)
    excess = a - unit
    total = sum(w / 2 * np.linalg.solve(unit + (t + 1) / 2 * excess, excess) for t, w in zip(nodes, weights, strict=True))
    return np.asarray(2.0 ** doublings * total)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "exponential": _exponential, "square_root": _square_root, "logarithm": _logarithm}
MATRIX_FUNCTION = declare(Primitive(
    "matrix_function", MatrixFunctionAttrs, 1, _function_type, _matrix_function, _matrix_function_vjp,
    Extern("numpy: Pade approximants and iterations", work(30.0)),
    "A function of square matrices: the exponential, the principal square root or the principal logarithm."))


def matrix_function(x: Node, function: str) -> Node:
    """[..., n, n] -> [..., n, n]; `function` is "exponential", "square_root" or "logarithm"."""
    return make(MATRIX_FUNCTION, (x,), MatrixFunctionAttrs(function))


# tridiagonal_solve ------------------------------------------------------------------------------------------------------------------------

def _tridiagonal_type(attrs: NoAttrs, diagonals: TensorType, b: TensorType) -> TensorType:
    matrices("tridiagonal_solve", (diagonals, b))
    fits = (diagonals.rank == b.rank and same_dim(diagonals.shape[-2], 3) and same_dim(diagonals.shape[-1], b.shape[-2])
            and all(map(same_dim, diagonals.shape[:-2], b.shape[:-2])))
    if not fits:
        raise ValueError(f"{call('tridiagonal_solve', (diagonals, b))}: needs [..., 3, n] and [..., n, k]")
    return b


def _tridiagonal(attrs: NoAttrs, diagonals: Array, b: Array) -> Array:
    """Elimination with partial pivoting, all matrices of the batch at once."""
    count, (size, columns) = math.prod(b.shape[:-2]), b.shape[-2:]
    if not b.size:
        return b.copy()
    above, on, below = (diagonals.reshape(count, 3, size)[:, row].copy() for row in range(3))
    above[:, -1] = 0
    second, x = np.zeros_like(on), b.reshape(count, size, columns).copy()
    for k in range(size - 1):
        swap = np.abs(below[:, k + 1]) > np.abs(on[:, k])
        upper = (np.where(swap, below[:, k + 1], on[:, k]), np.where(swap, on[:, k + 1], above[:, k]), np.where(swap, above[:, k + 1], 0))
        lower = (np.where(swap, on[:, k], below[:, k + 1]), np.where(swap, above[:, k], on[:, k + 1]), np.where(swap, 0, above[:, k + 1]))
        if (upper[0] == 0).any():
            raise ValueError(SINGULAR)
        factor = lower[0] / upper[0]
        on[:, k], above[:, k], second[:, k] = upper
        on[:, k + 1], above[:, k + 1] = lower[1] - factor * upper[1], lower[2] - factor * upper[2]
        first, other = np.where(swap[:, None], x[:, k + 1], x[:, k]), np.where(swap[:, None], x[:, k], x[:, k + 1])
        x[:, k], x[:, k + 1] = first, other - factor[:, None] * first
    if (on[:, -1] == 0).any():
        raise ValueError(SINGULAR)
    for k in range(size - 1, -1, -1):
        for distance, diagonal in ((1, above), (2, second)):
            if k + distance < size:
                x[:, k] -= diagonal[:, k, None] * x[:, k + distance]
        x[:, k] /= on[:, k, None]
    return x.reshape(b.shape)


def shifted(x: Node, axis: int, count: int) -> Node:
    """Each element `count` places later along `axis` (counted from the end); zeros come in."""
    low = tuple(count if each == len(x.shape) + axis else 0 for each in range(len(x.shape)))
    return pad(x, constant(0, x.dtype), low, tuple(-each for each in low))


def _tridiagonal_vjp(node: Node, g: Node) -> Cotangents:
    """By b: A^-T g; by the diagonals: what they are of -(A^-T g) x^T."""
    diagonals = node.operands[0]
    above, on, below = (between(diagonals, -2, row, row + 1) for row in range(3))
    rank = len(diagonals.shape)
    by_b = tridiagonal_solve(concatenate([shifted(below, -1, -1), on, shifted(above, -1, 1)], rank - 2), g)

    def along(x: Node) -> Node:
        total = negate(reduce_sum(multiply(by_b, x), (rank - 1,)))
        return reshape(total, (*total.shape[:-1], 1, total.shape[-1]))
    return (concatenate([along(shifted(node, -2, -1)), along(node), along(shifted(node, -2, 1))], rank - 2), by_b)


TRIDIAGONAL_SOLVE = declare(Primitive(
    "tridiagonal_solve", NoAttrs, 2, _tridiagonal_type, _tridiagonal, _tridiagonal_vjp,
    Extern("numpy: elimination with partial pivoting", lambda attrs, diagonals, b: 10 * b.size),
    "The solution x of A x = b for matrices with three diagonals: rows of operand 0, the upper one without its last element, the main one, "
    "the lower one without its first."))


def tridiagonal_solve(diagonals: Node, b: Node) -> Node:
    """[..., 3, n] and [..., n, k] -> [..., n, k]."""
    return make(TRIDIAGONAL_SOLVE, (diagonals, b), NO_ATTRS)
