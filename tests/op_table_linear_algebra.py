"""The table of operations: linear algebra. Expectations come from scipy, or from what factors must multiply to. See `tests/op_table.py`."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.linalg

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives import matrices as m
from tests.op_table import Array, Case, t

F64, F32 = dtypes.float64, dtypes.float32
SQUARE: tuple[tuple[int, ...], ...] = ((1, 1), (4, 4), (3, 2, 2), (2, 3, 5, 5), (0, 0), (0, 3, 3), (2, 0, 0), (33, 33))
OBLONG: tuple[tuple[int, ...], ...] = ((1, 1), (5, 3), (3, 5), (2, 4, 4), (2, 3, 2, 4), (0, 3), (3, 0), (0, 3, 2), (40, 17), (17, 40))


def each(function: Callable[..., Any]) -> Callable[..., Array]:
    """`function` of single matrices over their batch."""
    def over(*arrays: Array) -> Array:
        batch = arrays[0].shape[:-2]
        flat = [a.reshape(-1, *a.shape[-2:]) if a.size else a.reshape(int(np.prod(batch)), *a.shape[-2:]) for a in arrays]
        results = [np.asarray(function(*matrices)) for matrices in zip(*flat, strict=True)]
        shape = results[0].shape if results else np.asarray(function(*(np.eye(*a.shape[-2:]) for a in arrays))).shape
        return np.array(results).reshape((*batch, *shape))
    return over


def well(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
    """Matrices that are far from singular, whose singular values and eigenvalues lie apart."""
    arrays = []
    for type_ in types:
        rows, columns = type_.dims[-2:]
        spread = np.eye(rows, columns) * (2 + np.arange(columns))
        arrays.append((spread + rng.uniform(-0.3, 0.3, type_.dims)).astype(type_.dtype.np_dtype))
    return arrays


def symmetric(x: Node) -> Node:
    return p.add(x, m.turned(x))


def definite(x: Node) -> Node:
    """A positive definite matrix, whatever `x` is."""
    return p.add(m.product(x, m.turned(x)), m.identity(x, x.shape[-1]))


def _cases(name: str, tag: str, build: Callable[..., Node], expected: Callable[..., Any], *types: tuple[int, ...], depth: int = 16,
           scale: float = 8.0, smooth: bool = True) -> Iterator[Case]:
    label = f"{name}-{tag}-{'-'.join('x'.join(map(str, shape)) for shape in types)}"
    for dtype in (F64, F32):
        given = tuple(t(dtype, *shape) for shape in types)
        small = sum(each.size for each in given) < 80
        yield Case(f"{label}-{dtype.code}", name, build, given, expected, well, depth, scale,
                   smooth=smooth and small and dtype is F64 and all(each.size for each in given))


def _lower_only(x: Array) -> Array:
    """What is read of a matrix whose lower triangle counts, made whole."""
    return np.tril(x) + np.swapaxes(np.tril(x, -1), -1, -2)


def solutions() -> Iterator[Case]:
    for shape in SQUARE:
        yield from _cases("cholesky", "of", lambda x: p.cholesky(definite(x)),
                          each(lambda x: scipy.linalg.cholesky(x @ x.T + np.eye(len(x)), lower=True) if x.size else x), shape)
        for columns in (1, 3):
            rhs = (*shape[:-1], columns)
            yield from _cases("solve", "", p.solve, each(lambda a, b: scipy.linalg.solve(a, b) if b.size else b), shape, rhs)
            for lower in (True, False):
                for unit in (True, False):
                    yield from _cases(
                        "triangular_solve", f"{lower}-{unit}", lambda a, b, lo=lower, un=unit: p.triangular_solve(a, b, lo, un),
                        each(lambda a, b, lo=lower, un=unit: scipy.linalg.solve_triangular(a, b, lower=lo, unit_diagonal=un)
                             if b.size else b), shape, rhs, scale=32.0)
    yield from _cases("cholesky", "lower", p.cholesky, each(lambda x: scipy.linalg.cholesky(_lower_only(x), lower=True)), (7, 7),
                      smooth=False)
    yield from _cases("triangular_solve", "blocks", lambda a, b: p.triangular_solve(a, b, True),
                      each(lambda a, b: scipy.linalg.solve_triangular(a, b, lower=True)), (150, 150), (150, 2))
    yield from _cases("solve", "no-columns", p.solve, lambda a, b: b, (3, 3), (3, 0))


def determinants() -> Iterator[Case]:
    for shape in SQUARE:
        if shape[-1] < 30:
            yield from _cases("determinant", "of", lambda x: p.determinant(m.product(x, x)), each(lambda x: scipy.linalg.det(x @ x)), shape,
                              scale=1e4)
        yield from _cases("slogdet", "log", lambda x: p.slogdet(p.negate(x))[1], each(lambda x: np.log(np.abs(scipy.linalg.det(x)))), shape)
        yield from _cases("slogdet", "sign", lambda x: p.slogdet(p.negate(x))[0], each(lambda x: np.sign(scipy.linalg.det(-x))), shape,
                          smooth=False)


def factors() -> Iterator[Case]:
    order = np.random.default_rng(3).permutation(40)
    shuffled = p.constant(np.eye(40)[order])
    for shape in OBLONG:
        rows, columns = shape[-2:]
        yield from _cases("lu", "packed", lambda x: p.lu(x)[0], each(lambda x: scipy.linalg.lu_factor(x)[0] if x.size else x), shape,
                          smooth=rows == columns)
        for full in (False, True):
            yield from _cases("qr", f"product-{full}", lambda x, f=full: m.product(*p.qr(x, f)), lambda x: x, shape,
                              smooth=rows <= columns or not full)
            yield from _cases("qr", f"r-{full}", lambda x, f=full: p.abs_(p.qr(x, f)[1]),
                              each(lambda x, f=full: np.abs(scipy.linalg.qr(x, mode="full" if f else "economic")[1]) if x.size
                                   else np.zeros((x.shape[0] if f else min(x.shape), x.shape[1]))), shape,
                              smooth=rows <= columns or not full)
        yield from _cases("svd", "values", p.singular_values,
                          each(lambda x: np.sqrt(np.abs(scipy.linalg.eigvalsh(x @ x.T if x.shape[0] < x.shape[1] else x.T @ x)))[::-1]
                               if x.size else np.zeros(min(x.shape))), shape)
        yield from _cases("svd", "product", lambda x: _reassembled(*p.svd(x)), lambda x: x, shape)
        yield from _cases("svd", "u-full", lambda x: _gramian(p.svd(x, full=True)[1]),
                          each(lambda x: np.eye(x.shape[0])), shape, smooth=False)
        yield from _cases("svd", "signless", lambda x: p.abs_(p.svd(x)[2]),
                          each(lambda x: np.abs(scipy.linalg.svd(x, full_matrices=False, lapack_driver="gesvd")[2].T) if x.size
                               else np.zeros((x.shape[1], 0))), shape)
    for shape in SQUARE:
        yield from _cases("eigh", "values", lambda x: p.eigenvalues(symmetric(x)),
                          each(lambda x: scipy.linalg.eigvalsh(x + x.T) if x.size else np.zeros(0)), shape)
        yield from _cases("eigh", "product", lambda x: _eigen_product(*p.eigh(symmetric(x))), lambda x: x + np.swapaxes(x, -1, -2), shape)
        yield from _cases("eigh", "signless", lambda x: p.abs_(p.eigh(x)[1]),
                          each(lambda x: np.abs(scipy.linalg.eigh(_lower_only(x))[1]) if x.size else x), shape)
    yield from _cases("lu", "permuted", lambda x: p.lu(m.product(p.convert(shuffled, x.dtype), x))[1],
                      lambda x: np.argsort(scipy.linalg.lu(x[order], p_indices=True)[0]).astype(np.int32), (40, 40),
                      smooth=False)


def _reassembled(s: Node, u: Node, v: Node) -> Node:
    return m.product(p.multiply(u, m.columns(s, u)), m.turned(v))


def _gramian(x: Node) -> Node:
    return m.product(m.turned(x), x)


def _eigen_product(values: Node, vectors: Node) -> Node:
    return m.product(p.multiply(vectors, m.columns(values, vectors)), m.turned(vectors))


def function_cases() -> Iterator[Case]:
    functions: dict[str, Callable[[Array], Any]] = {
        "exponential": scipy.linalg.expm, "square_root": scipy.linalg.sqrtm, "logarithm": scipy.linalg.logm}
    for name, expected in functions.items():
        for shape in SQUARE:
            yield from _cases("matrix_function", name, lambda x, n=name: p.matrix_function(x, n),
                              each(lambda x, f=expected: np.real(f(x)) if x.size else x), shape,
                              depth=256, scale=float(np.exp(min(shape[-1] + 2, 35))) if name == "exponential" else 8.0)
        yield from () if name == "exponential" else _cases(
            "matrix_function", f"{name}-definite", lambda x, n=name: p.matrix_function(definite(x), n),
            each(lambda x, f=expected: np.real(f(x @ x.T + np.eye(len(x))))), (3, 3), depth=64)
    yield from _cases("matrix_function", "root-of-singular", lambda x: p.matrix_function(p.multiply(x, p.full(0, x.type)), "square_root"),
                      lambda x: 0 * x, (3, 3), smooth=False)
    for batch, size, columns in (((), 5, 2), ((2,), 4, 1), ((2, 3), 7, 2), ((), 1, 1), ((0,), 3, 2), ((2,), 60, 3)):
        types = (*batch, 3, size), (*batch, size, columns)
        for dtype in (F64, F32):
            given = tuple(t(dtype, *shape) for shape in types)
            yield Case(f"tridiagonal_solve-{types}-{dtype.code}", "tridiagonal_solve", p.tridiagonal_solve, given, _banded, _bands, 64, 8.0,
                       smooth=dtype is F64 and 0 < given[0].size < 50)


def _bands(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
    """Diagonals that make rows change places, of matrices far from singular."""
    diagonals, b = (rng.uniform(-1, 1, type_.dims) for type_ in types)
    diagonals[..., 2, 1::2] += 4
    diagonals[..., 0, ::2] += 4
    diagonals[..., 1, -1:] += 3
    return [each.astype(type_.dtype.np_dtype) for each, type_ in zip((diagonals, b), types, strict=True)]


def _banded(diagonals: Array, b: Array) -> Array:
    size = diagonals.shape[-1]
    whole = np.zeros((*diagonals.shape[:-2], size, size))
    for place in range(size):
        whole[..., place, place] = diagonals[..., 1, place]
        if place + 1 < size:
            whole[..., place, place + 1], whole[..., place + 1, place] = diagonals[..., 0, place], diagonals[..., 2, place + 1]
    return np.linalg.solve(whole, b)


CASES: list[Case] = [*function_cases(), *solutions(), *determinants(), *factors()]
