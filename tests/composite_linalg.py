"""The table of composites: linear algebra. Expectations come from numpy and scipy, or from what factors must multiply to."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.linalg

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import Array, Case, Function, sample
from tests.op_table import uniform

F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32
SQUARE: tuple[tuple[int, ...], ...] = ((3, 3), (2, 2, 2), (1, 1), (0, 0), (2, 0, 0), (0, 3, 3), (33, 33))


def _turned(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def _regular(key: str, dtype: DType, *shape: int) -> Array:
    """Matrices far from singular, whose singular values and eigenvalues lie apart."""
    spread = np.eye(*shape[-2:]) * (2 + np.arange(shape[-1]) % 5)
    return (spread + sample(key, uniform(-0.3, 0.3), F64, *shape)).astype(dtype.np_dtype)


def _definite(key: str, dtype: DType, *shape: int) -> Array:
    x = _regular(key, F64, *shape)
    return (x @ _turned(x)).astype(dtype.np_dtype)


def _on(subject: str, tag: str, build: Function, expected: Function, arrays: Sequence[Any], slopes: int = 0, **more: Any) -> Case:
    """A sample whose second derivatives are checked where it is small, of float64 and not empty."""
    label = "-".join([tag, *("x".join(map(str, a.shape)) for a in arrays), arrays[0].dtype.name])
    small = all(0 < a.size <= 12 for a in arrays) and arrays[0].dtype == np.float64
    return Case(subject, label, build, tuple(arrays), expected, slopes=slopes if small else 0, **{"depth": 24, "scale": 16.0, **more})


# Systems of equations -------------------------------------------------------------------------------------------------------------------

def _solved(a: Array, b: Array) -> Array:
    return np.linalg.solve(a, b)


def system_cases() -> Iterator[Case]:
    for dtype in (F64, F32):
        for shape in SQUARE:
            a, b = _regular(f"a{shape}", dtype, *shape), sample(f"b{shape}", uniform(-2, 2), dtype, *shape[:-1], 2)
            for adjoint in (False, True):
                yield _on("matrix_solve", f"{adjoint}", lambda a, b, j=adjoint: gc.matrix_solve(a, b, adjoint=j),
                          lambda a, b, j=adjoint: _solved(_turned(a) if j else a, b), (a, b), slopes=2)
                yield _on("matrix_inverse", f"{adjoint}", lambda a, j=adjoint: gc.matrix_inverse(a, j),
                          lambda a, j=adjoint: np.linalg.inv(_turned(a) if j else a), (a,), slopes=2)
                for lower in (False, True):
                    yield _on("matrix_triangular_solve", f"{lower}-{adjoint}",
                              lambda a, b, lo=lower, j=adjoint: gc.matrix_triangular_solve(a, b, lo, j),
                              lambda a, b, lo=lower, j=adjoint: _solved(_turned(_half(a, lo)) if j else _half(a, lo), b), (a, b), slopes=2)
            factor = np.linalg.cholesky(_definite(f"c{shape}", F64, *shape)).astype(dtype.np_dtype)
            yield _on("cholesky_solve", "", gc.cholesky_solve, lambda c, b: _solved(np.tril(c) @ _turned(np.tril(c)), b), (factor, b),
                      slopes=2)
        for shape in ((5, 2), (2, 5), (2, 4, 3), (4, 4)):
            a, b = _regular(f"ls{shape}", dtype, *shape), sample(f"lb{shape}", uniform(-2, 2), dtype, *shape[:-1], 2)
            yield _on("matrix_solve_ls", "", gc.matrix_solve_ls, lambda a, b: np.linalg.pinv(a) @ b, (a, b), slopes=1, scale=64.0)
            yield _on("matrix_solve_ls", "ridge", lambda a, b: gc.matrix_solve_ls(a, b, 0.25), _ridge, (a, b), slopes=1)
            yield _on("matrix_solve_ls", "slow", lambda a, b: gc.matrix_solve_ls(a, b, fast=False), lambda a, b: np.linalg.pinv(a) @ b,
                      (a, b))
            yield _on("linalg.pinv", "", gc.linalg.pinv, np.linalg.pinv, (a,), slopes=1, known="shape")
    lacking = np.diag([2.0, 1.0, 0.0]) @ _regular("lacking", F64, 3, 3)
    yield _on("matrix_solve_ls", "lacking", lambda a, b: gc.matrix_solve_ls(a, b, fast=False), lambda a, b: np.linalg.pinv(a) @ b,
              (lacking, np.ones((3, 1))))
    yield _on("linalg.matrix_rank", "", gc.linalg.matrix_rank, np.linalg.matrix_rank, (np.stack([lacking, np.eye(3)]),), dtype=I32,
              known="shape")
    yield _on("linalg.matrix_rank", "tol", lambda a: gc.linalg.matrix_rank(a, 1.5), lambda a: np.linalg.matrix_rank(a, 1.5), (lacking,),
              dtype=I32)


def _half(a: Array, lower: bool) -> Array:
    return np.tril(a) if lower else np.triu(a)


def _ridge(a: Array, b: Array) -> Array:
    return np.linalg.solve(_turned(a) @ a + 0.25 * np.eye(a.shape[-1]), _turned(a) @ b)


# Determinants, factors --------------------------------------------------------------------------------------------------------------------

def factor_cases() -> Iterator[Case]:
    for dtype in (F64, F32):
        for shape in SQUARE:
            a, s = _regular(f"d{shape}", dtype, *shape), _definite(f"p{shape}", dtype, *shape)
            largest = float(np.max(np.abs(np.linalg.det(a)), initial=1))
            if shape[-1] < 30:
                yield _on("matrix_determinant", "", gc.matrix_determinant, np.linalg.det, (a,), slopes=2, scale=largest)
                yield _on("matrix_determinant", "negative", lambda x: gc.matrix_determinant(-x[..., ::-1, :]),
                          lambda x: np.linalg.det(-x[..., ::-1, :]), (a,), slopes=1, scale=largest)
            yield _on("linalg.slogdet", "", gc.linalg.slogdet, lambda x: [np.asarray(each) for each in np.linalg.slogdet(x)], (a,))
            yield _on("linalg.slogdet", "log", lambda x: gc.linalg.slogdet(-x)[1], lambda x: np.linalg.slogdet(x)[1], (a,), slopes=2)
            yield _on("linalg.logdet", "", gc.linalg.logdet, lambda x: np.linalg.slogdet(x)[1], (s,))
            yield _on("cholesky", "", gc.cholesky, np.linalg.cholesky, (s,))
            yield _on("cholesky", "slope", lambda x: gc.cholesky(gc.matmul(x, x, transpose_b=True)),
                      lambda x: np.linalg.cholesky(x @ _turned(x)), (a,), slopes=2)
            yield _on("self_adjoint_eigvals", "", gc.self_adjoint_eigvals, np.linalg.eigvalsh, (s,), slopes=2)
            yield _on("self_adjoint_eig", "product", lambda x: _eigen_product(*gc.self_adjoint_eig(x + gc.matrix_transpose(x))),
                      lambda x: x + _turned(x), (a,), slopes=1, known="rank")
            yield _on("linalg.lu", "packed", lambda x: gc.linalg.lu(x)[0], lambda x: _lu(x)[0], (a,), slopes=2)
            yield _on("linalg.lu", "order", lambda x: gc.linalg.lu(x[..., ::-1, :])[1], lambda x: _lu(x[..., ::-1, :])[1], (a,), dtype=I32)
        for shape in ((3, 2), (2, 3), (2, 3, 3), (0, 2), (3, 0), (17, 40), (40, 17)):
            x = _regular(f"q{shape}", dtype, *shape)
            for full in (False, True):
                yield _on("qr", f"product-{full}", lambda x, f=full: gc.matmul(*gc.qr(x, f)), lambda x: x, (x,),
                          slopes=0 if full and shape[-2] > shape[-1] else 2)
                yield _on("svd", f"values-{full}", lambda x, f=full: gc.svd(x, f)[0], lambda x: np.linalg.svd(x, compute_uv=False), (x,),
                          slopes=2)
            yield _on("qr", "q", lambda x: _gramian(gc.qr(x)[0]), lambda x: _eyes(x, min(x.shape[-2:])), (x,), known="rank")
            yield _on("svd", "product", lambda x: _reassembled(*gc.svd(x)), lambda x: x, (x,), slopes=1, known="rank")
            yield _on("svd", "no-vectors", lambda x: gc.svd(x, compute_uv=False), lambda x: np.linalg.svd(x, compute_uv=False), (x,),
                      slopes=2)
            yield _on("svd", "u", lambda x: _gramian(gc.svd(x, True)[1]), lambda x: _eyes(x, x.shape[-2]), (x,), known="rank")


def _eyes(x: Array, size: int) -> Array:
    return np.broadcast_to(np.eye(size), (*x.shape[:-2], size, size))


def _lu(x: Array) -> list[Array]:
    flat = x.reshape(int(np.prod(x.shape[:-2])), *x.shape[-2:])
    found = [scipy.linalg.lu_factor(each)[0] if each.size else each for each in flat]
    orders = [np.argsort(scipy.linalg.lu(each, p_indices=True)[0]) if each.size else np.zeros(len(each)) for each in flat]
    return [np.array(found).reshape(x.shape), np.array(orders).astype(np.int32).reshape(x.shape[:-1])]


def _gramian(x: gc.Tensor) -> gc.Tensor:
    return gc.matmul(x, x, adjoint_a=True)


def _reassembled(s: gc.Tensor, u: gc.Tensor, v: gc.Tensor) -> gc.Tensor:
    return gc.matmul(u * gc.expand_dims(s, -2), v, adjoint_b=True)


def _eigen_product(values: gc.Tensor, vectors: gc.Tensor) -> gc.Tensor:
    return gc.matmul(vectors * gc.expand_dims(values, -2), vectors, adjoint_b=True)


# Functions, three diagonals ---------------------------------------------------------------------------------------------------------------

def matrix_function_cases() -> Iterator[Case]:
    for dtype in (F64, F32, dtypes.complex64):
        a = _regular("mf", F64, 3, 3).astype(dtype.np_dtype) * (1 if dtype is not dtypes.complex64 else np.complex64(1 + 0.3j))
        scale = 4.0 * float(np.abs(scipy.linalg.expm(a)).max())
        yield _on("linalg.expm", "", gc.linalg.expm, scipy.linalg.expm, (a,), slopes=2, scale=scale)
        yield _on("linalg.sqrtm", "", gc.linalg.sqrtm, scipy.linalg.sqrtm, (a,), slopes=2)
        yield _on("linalg.logm", "", gc.linalg.logm, scipy.linalg.logm, (a,), slopes=2)
    for dtype in (F64, F32):
        diagonals = sample("3d", uniform(-1, 1), dtype, 2, 3, 4) + np.array([[0], [4], [0]], dtype.np_dtype)
        b = sample("3b", uniform(-1, 1), dtype, 2, 4, 2)
        whole = np.zeros((2, 4, 4), dtype.np_dtype)
        for place in range(4):
            whole[:, place, place] = diagonals[:, 1, place]
            if place:
                whole[:, place - 1, place], whole[:, place, place - 1] = diagonals[:, 0, place - 1], diagonals[:, 2, place]
        three = (whole.diagonal(1, 1, 2), whole.diagonal(0, 1, 2), whole.diagonal(-1, 1, 2))
        yield Case("linalg.tridiagonal_solve", f"compact{dtype.name}", gc.linalg.tridiagonal_solve, (diagonals, b),
                   lambda d, b, w=whole: np.linalg.solve(w.astype(float), b), depth=64)
        yield Case("linalg.tridiagonal_solve", f"vector{dtype.name}", gc.linalg.tridiagonal_solve, (diagonals, b[..., 0].copy()),
                   lambda d, b, w=whole: np.linalg.solve(w.astype(float), b[..., None])[..., 0], depth=64, known="rank")
        yield Case("linalg.tridiagonal_solve", f"matrix{dtype.name}", lambda a, b: gc.linalg.tridiagonal_solve(
            a, b, "matrix", transpose_rhs=True), (whole, b.transpose(0, 2, 1).copy()),
            lambda a, b: np.linalg.solve(a, _turned(b)), depth=64, slopes=int(dtype is F64), known="rank")
        yield Case("linalg.tridiagonal_solve", f"sequence{dtype.name}", lambda x, y, z, b: gc.linalg.tridiagonal_solve(
            (x, y, z), b, "sequence"), (*three, b), lambda x, y, z, b, w=whole: np.linalg.solve(w.astype(float), b), depth=64,
            slopes=int(dtype is F64), known="shape")
        yield Case("linalg.tridiagonal_matmul", dtype.name, gc.linalg.tridiagonal_matmul, (diagonals, b),
                   lambda d, b, w=whole: w.astype(float) @ b, depth=8, scale=4.0, slopes=int(dtype is F64))


# Structure ------------------------------------------------------------------------------------------------------------------------------

def structure_cases() -> Iterator[Case]:
    for dtype in (F64, F32, dtypes.bfloat16, I32, dtypes.bool):
        slopes = int(dtype is F64)
        for shape in ((3, 4), (2, 3, 3), (4, 1), (0, 3), (33, 31)):
            x = sample(f"m{shape}", uniform(-3, 3), dtype, *shape)
            for lower, upper in ((-1, 0), (0, -1), (0, 0), (1, 1), (-1, -1), (0, 1)):
                if lower > shape[-2] or upper > shape[-1]:
                    continue
                yield Case("matrix_band_part", f"{shape}{lower}{upper}{dtype.name}",
                           lambda x, a=lower, b=upper: gc.matrix_band_part(x, a, b), (x,),
                           lambda x, a=lower, b=upper: _band(x, a, b), dtype=dtype, slopes=slopes)
            for k in (0, 1, -1) if min(shape[-2:]) > 1 else (0,):
                yield Case("matrix_diag_part", f"{shape}{k}{dtype.name}", lambda x, k=k: gc.matrix_diag_part(x, k=k), (x,),
                           lambda x, k=k: np.diagonal(x, k, -2, -1), dtype=dtype, slopes=slopes)
                put = sample(f"put{shape}{k}", uniform(-3, 3), dtype, *np.diagonal(x, k, -2, -1).shape)
                yield Case("matrix_set_diag", f"{shape}{k}{dtype.name}", lambda x, d, k=k: gc.matrix_set_diag(x, d, k=k), (x, put),
                           lambda x, d, k=k: _with(x, d, k), dtype=dtype, slopes=slopes)
                yield Case("matrix_diag", f"{shape}{k}{dtype.name}", lambda x, k=k: gc.matrix_diag(x, k=k), (x,),
                           lambda x, k=k: _diags(x, k), dtype=dtype, slopes=slopes)
            if dtype is not dtypes.bool:
                yield Case("trace", f"{shape}{dtype.name}", gc.trace, (x,), lambda x: np.trace(x, 0, -2, -1, x.dtype), dtype=dtype,
                           depth=33, slopes=slopes)
    x = sample("d", uniform(-3, 3), F64, 2, 3)
    yield Case("matrix_diag", "room", lambda x: gc.matrix_diag(x, k=1, num_rows=3, num_cols=5, padding_value=7), (x,),
               lambda x: _padded(x), slopes=1)
    yield Case("matrix_band_part", "fed", gc.matrix_band_part, (x, np.array(0), np.array(1)), lambda x, a, b: _band(x, 0, 1), slopes=1)
    yield Case("matrix_band_part", "fed-all", gc.matrix_band_part, (x, np.array(-1), np.array(0)), lambda x, a, b: np.tril(x), slopes=1)
    yield Case("diag", "matrix", gc.diag, (x,), lambda x: np.diag(x.reshape(-1)).reshape(2, 3, 2, 3), slopes=1)
    yield Case("diag", "vector", gc.diag, (x[0],), np.diag, slopes=1)
    four = sample("four", uniform(-3, 3), F32, 2, 3, 2, 3)
    yield Case("diag_part", "four", gc.diag_part, (four,), lambda x: np.einsum("ijij->ij", x))
    yield Case("diag_part", "two", gc.diag_part, (sample("two", uniform(-3, 3), F64, 4, 4),), lambda x: np.diagonal(x), slopes=1)
    yield from _made_cases()
    yield from _product_cases()


def _made_cases() -> Iterator[Case]:
    size = np.array(5, np.int32)
    yield Case("eye", "fed", gc.eye, (size,), np.eye, dtype=F32)
    yield Case("eye", "oblong", lambda n: gc.eye(3, n, dtype=gc.int32), (size,), lambda n: np.eye(3, n), dtype=I32)
    yield Case("eye", "batch", lambda n: gc.eye(2, 3, [n, 1], gc.float64), (size,), lambda n: np.broadcast_to(np.eye(2, 3), (n, 1, 2, 3)),
               dtype=F64)
    yield Case("eye", "fed-batch", lambda b: gc.eye(2, batch_shape=b), (np.array([2, 3], np.int32),),
               lambda b: np.broadcast_to(np.eye(2), (2, 3, 2, 2)), dtype=F32)
    yield Case("eye", "plain", lambda n: gc.eye(4) + gc.cast(n, gc.float32), (size,), lambda n: np.eye(4) + 5, dtype=F32)


def _product_cases() -> Iterator[Case]:
    for dtype in (F64, F32, I32):
        a, b = (sample(f"cross{n}", uniform(-3, 3), dtype, 5, 3) for n in range(2))
        if dtype is I32:
            a, b = a % 10, b % 10
        yield Case("cross", dtype.name, gc.cross, (a, b), np.cross, dtype=dtype, scale=9.0, slopes=2 * (dtype is F64))
    matrix, vector = sample("mv", uniform(-3, 3), F64, 2, 3, 4), sample("vec", uniform(-3, 3), F64, 2, 4)
    yield Case("linalg.matvec", "", gc.linalg.matvec, (matrix, vector), lambda a, b: np.einsum("bij,bj->bi", a, b), depth=4, scale=9,
               slopes=1, known="rank")
    yield Case("linalg.matvec", "turned", lambda a, b: gc.linalg.matvec(a, b, transpose_a=True), (matrix, vector[:, :3]),
               lambda a, b: np.einsum("bij,bi->bj", a, b), depth=4, scale=9, slopes=1, known="rank")
    yield Case("linalg.adjoint", "", gc.linalg.adjoint, (matrix,), _turned, slopes=1, known="rank")


def _band(x: Array, lower: int, upper: int) -> Array:
    rows, columns = np.indices(x.shape[-2:])
    inside = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    return np.where(inside, x, np.zeros_like(x))


def _with(x: Array, values: Array, k: int) -> Array:
    result = x.copy()
    length = values.shape[-1]
    result[..., np.arange(length) + max(-k, 0), np.arange(length) + max(k, 0)] = values
    return result


def _diags(x: Array, k: int) -> Array:
    size = x.shape[-1] + abs(k)
    return _with(np.zeros((*x.shape[:-1], size, size), x.dtype), x, k)


def _padded(x: Array) -> Array:
    return _with(np.full((2, 3, 5), 7.0), x, 1)


def families() -> dict[str, Sequence[Case]]:
    return {"systems": list(system_cases()), "factors": list(factor_cases()), "matrices": list(structure_cases()),
            "functions of matrices": list(matrix_function_cases())}
