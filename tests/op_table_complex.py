"""The table of operations: complex numbers and Fourier transforms. Expectations are numpy's in complex128. See `tests/op_table.py`.

Gradients are checked on the real and imaginary parts: a complex operand is made of two real ones, a complex result is summed up from its
parts with different weights.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.linalg

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives import matrices as m
from tests.op_table import Array, Case, by, t, uniform

C64, C128, F32, F64 = dtypes.complex64, dtypes.complex128, dtypes.float32, dtypes.float64
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (7,), (3, 5), (33, 17))
# Signed zeros, the branch cuts, values near which formulas cancel, and far out.
CORNERS = np.array([0, 1, -1, 1j, -1j, 2 - 0j, -2 + 0.0j, complex(-2, -0.0), complex(0.5, -0.0), 1 + 1e-4j, 1e-5 + 1e-5j, 0.6 + 0.8j,
                    30 + 2j, -30 - 2j, 1e15 + 1e15j, 1e-15 - 1e-15j, 3e18 - 4e18j, 0.1 + 40j])


def weighed(z: Node) -> Node:
    """A real number of each complex one, to which both parts contribute."""
    if not z.dtype.is_complex:
        return z
    return p.add(p.multiply(p.real(z), p.full(0.7, z.type.with_dtype(F64))), p.multiply(p.imag(z), p.full(1.3, z.type.with_dtype(F64))))


def of_parts(build: Callable[..., Node], count: int) -> Callable[..., Node]:
    """`build` over real operands: each of its `count` operands is made of two."""
    def function(*parts: Node) -> Node:
        return weighed(build(*(p.complex_(parts[2 * n], parts[2 * n + 1]) for n in range(count))))
    return function


def _weighed_array(z: Array) -> Array:
    return 0.7 * z.real + 1.3 * z.imag if z.dtype.kind == "c" else z


def slope(name: str, tag: str, build: Callable[..., Node], expected: Callable[..., Any], *shapes: Sequence[int], low: float = -2,
          high: float = 2) -> Case:
    """The sample whose gradient is checked by finite differences."""
    types = tuple(t(F64, *shape) for shape in shapes for _ in range(2))

    def from_parts(*parts: Array) -> Array:
        return _weighed_array(np.asarray(expected(*(parts[2 * n] + 1j * parts[2 * n + 1] for n in range(len(shapes))))))
    return Case(f"{name}-{tag}-slope", name, of_parts(build, len(shapes)), types, from_parts, by(uniform(low, high)), 16, 8.0, smooth=True)


def corners(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
    return [rng.permutation(np.resize(CORNERS, type_.size)).reshape(type_.dims).astype(type_.dtype.np_dtype) for type_ in types]


UNARY: dict[str, tuple[Callable[[Node], Node], Callable[[Array], Any]]] = {
    "negate": (p.negate, np.negative), "conj": (p.conj, np.conj), "real": (p.real, np.real), "imag": (p.imag, np.imag),
    "abs": (p.abs_, np.abs), "sign": (p.sign, lambda z: np.where(z == 0, 0, z / np.where(z == 0, 1, np.abs(z)))),
    "exponential": (p.exponential, np.exp), "exponential_minus_one": (p.exponential_minus_one, np.expm1), "log": (p.log, np.log),
    "log_plus_one": (p.log_plus_one, np.log1p), "sqrt": (p.sqrt, np.sqrt), "rsqrt": (p.rsqrt, lambda z: 1 / np.sqrt(z)),
    "tanh": (p.tanh, np.tanh), "logistic": (p.logistic, lambda z: 1 / (1 + np.exp(-z))), "sine": (p.sine, np.sin),
    "cosine": (p.cosine, np.cos), "tan": (p.tan, np.tan)}
BINARY: dict[str, tuple[Callable[[Node, Node], Node], Callable[[Array, Array], Any]]] = {
    "add": (p.add, np.add), "subtract": (p.subtract, np.subtract), "multiply": (p.multiply, np.multiply), "divide": (p.divide, np.divide),
    "power": (p.power, np.power)}
EVERYWHERE = ("negate", "conj", "abs", "sign", "sqrt")  # right at the corners too


def elementwise_cases() -> Iterator[Case]:
    for dtype in (C128, C64):
        for shape in SHAPES:
            for name, (build, expected) in UNARY.items():
                yield Case(f"{name}-{dtype.code}-{shape}", name, build, (t(dtype, *shape),), expected, by(uniform(-2, 2)), 4)
            for name, (build_2, expected_2) in BINARY.items():
                low = 0.3 if name == "power" else -2
                yield Case(f"{name}-{dtype.code}-{shape}", name, build_2, (t(dtype, *shape),) * 2, expected_2, by(uniform(low, 2)), 16)
        for name in EVERYWHERE:
            build, expected = UNARY[name]
            yield Case(f"{name}-{dtype.code}-corners", name, build, (t(dtype, len(CORNERS)),), expected, corners, 4, scale=0.0)
        near = (t(dtype, 40),)
        yield Case(f"log-{dtype.code}-unit", "log", lambda z: p.log(p.sign(z)), near, lambda z: np.log(z / np.abs(z)), by(uniform(-2, 2)))
        yield Case(f"exponential_minus_one-{dtype.code}-small", "exponential_minus_one", p.exponential_minus_one, near, np.expm1,
                   by(uniform(-1e-6, 1e-6)), 4, scale=0.0)
        yield Case(f"tanh-{dtype.code}-far", "tanh", p.tanh, near, np.tanh, by(uniform(-40, 40)), 4)
        yield Case(f"divide-{dtype.code}-scaled", "divide", lambda z, w: p.divide(p.multiply(z, p.full(1e15, z.type)),
                                                                                  p.multiply(w, p.full(1e15, w.type))),
                   near * 2, np.divide, by(uniform(-2, 2)), 4)
    for name, (build, expected) in UNARY.items():
        if name != "sign":
            yield slope(name, "complex", build, expected, (3, 4), low=0.2)
    for name, (build_2, expected_2) in BINARY.items():
        yield slope(name, "complex", build_2, expected_2, (3, 4), (3, 4), low=0.2)


def part_cases() -> Iterator[Case]:
    for real, whole in ((F64, C128), (F32, C64)):
        yield Case(f"complex-{whole.code}", "complex", p.complex_, (t(real, 3, 5),) * 2, lambda x, y: x + 1j * y, by(uniform(-2, 2)))
        yield Case(f"view_as_real-{whole.code}", "view_as_real", p.view_as_real, (t(whole, 3, 5),),
                   lambda z: np.stack([z.real, z.imag], -1), by(uniform(-2, 2)))
        yield Case(f"view_as_complex-{whole.code}", "view_as_complex", p.view_as_complex, (t(real, 3, 2),),
                   lambda x: x[..., 0] + 1j * x[..., 1], by(uniform(-2, 2)))
        for target in (C64, C128, F32, F64, dtypes.int32, dtypes.bool):
            yield Case(f"convert-{whole.code}-{target.code}", "convert", lambda z, d=target: p.convert(z, d), (t(whole, 7),),
                       lambda z, d=target: _cast(z, d), by(uniform(-9, 9)), scale=9.0 if target is not C128 else 9e9)
        for source in (real, dtypes.int32, dtypes.bool):
            yield Case(f"convert-{source.code}-to-{whole.code}", "convert", lambda x, d=whole: p.convert(x, d), (t(source, 7),),
                       lambda x: x.astype(np.complex128), by(uniform(-9, 9)), scale=9e9)
        for direction, function in (("EQ", np.equal), ("NE", np.not_equal)):
            yield Case(f"compare-{whole.code}-{direction}", "compare", lambda z, w, d=direction: p.compare(z, p.conj(w), d),
                       (t(whole, 40),) * 2, lambda z, w, f=function: f(z, np.conj(w)), _half_real)
    yield slope("complex", "both", lambda z: p.complex_(p.imag(z), p.real(z)), lambda z: z.imag + 1j * z.real, (3, 4))
    yield slope("convert", "real", lambda z: p.convert(z, F64), np.real, (3, 4))
    yield slope("view_as_real", "pairs", lambda z: p.view_as_real(z), lambda z: np.stack([z.real, z.imag], -1), (3, 4))
    yield slope("view_as_complex", "back", lambda z: p.view_as_complex(p.view_as_real(z)), lambda z: z, (3, 4))


def _cast(z: Array, dtype: DType) -> Array:
    if dtype.is_bool:
        return z != 0
    return z.astype(np.complex128) if dtype.is_complex else z.real.astype(dtype.np_dtype)


def _half_real(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
    """Equal arrays, in which every second element is real."""
    z = rng.uniform(-2, 2, types[0].dims) + 1j * np.resize([0, 1.5], types[0].dims)
    return [z.astype(each.dtype.np_dtype) for each in types]


def moved_cases() -> Iterator[Case]:
    """What treats both parts alike."""
    places = np.array([2, 0, 5, 2])
    builds: dict[str, tuple[Callable[[Node], Node], Callable[[Array], Any]]] = {
        "transpose": (lambda z: p.transpose(z, (1, 0)), lambda z: z.T), "reshape": (lambda z: p.reshape(z, (24,)), lambda z: z.reshape(24)),
        "broadcast_in_dim": (lambda z: p.broadcast_in_dim(z, (2, 6, 4), (1, 2)), lambda z: np.broadcast_to(z, (2, 6, 4))),
        "slice": (lambda z: p.slice_(z, (1, 0), (5, 4), (2, 1)), lambda z: z[1:5:2]),
        "pad": (lambda z: p.pad(z, p.constant(1 + 2j, z.dtype), (1, 0), (0, 2)),
                lambda z: np.pad(z, ((1, 0), (0, 2)), constant_values=1 + 2j)),
        "concatenate": (lambda z: p.concatenate([z, p.conj(z)], 1), lambda z: np.concatenate([z, z.conj()], 1)),
        "reverse": (lambda z: p.reverse(z, (0,)), lambda z: z[::-1]),
        "select": (lambda z: p.select(m.on_diagonal(z), z, p.full(3, z.type)), lambda z: np.where(np.eye(6, 4) == 1, z, 3)),
        "gather": (lambda z: p.gather(z, p.constant(places)), lambda z: z[places]),
        "reduce_sum": (lambda z: p.reduce_sum(z, (0,)), lambda z: z.sum(0)),
        "reduce_prod": (lambda z: p.reduce_prod(z, (0,)), lambda z: z.prod(0)),
        "cumulative_sum": (lambda z: p.cumulative_sum(z, 0), lambda z: z.cumsum(0)),
        "cumulative_prod": (lambda z: p.cumulative_prod(z, 0), lambda z: z.cumprod(0)),
        "copy": (p.copy, lambda z: z)}
    for name, (build, expected) in builds.items():
        for dtype in (C128, C64):
            yield Case(f"{name}-{dtype.code}", name, build, (t(dtype, 6, 4),), expected, by(uniform(-1.5, 1.5)), 8, 16.0)
        yield slope(name, "complex", build, expected, (6, 4), low=-1.5, high=1.5)
    for size in (0, 1, 5):
        yield Case(f"reduce_prod-c128-{size}", "reduce_prod", lambda z: p.reduce_prod(z, (0, 1)), (t(C128, size, 3),), np.prod,
                   by(uniform(-2, 2)), 16)
    yield Case("cumulative_prod-c128-back", "cumulative_prod", lambda z: p.cumulative_prod(z, 1, exclusive=True, reverse=True),
               (t(C128, 2, 9),), lambda z: np.concatenate([np.cumprod(z[:, :0:-1], 1)[:, ::-1], np.ones((2, 1))], 1),
               by(uniform(-2, 2)), 16)
    yield Case("linear_recurrence-c64", "linear_recurrence", lambda a, b: p.linear_recurrence(a, b, 0), (t(C64, 9, 2),) * 2, _recurrence,
               by(uniform(-1, 1)), 32, 8.0)
    for dtype in (C128, C64):
        yield Case(f"dot_general-{dtype.code}", "dot_general", lambda z, w: p.dot_general(z, w, (0,), (0,), (2,), (1,)),
                   (t(dtype, 2, 9, 17), t(dtype, 2, 17, 5)), lambda z, w: z @ w, by(uniform(-2, 2)), 68, 16.0)
    yield slope("dot_general", "complex", lambda z, w: p.dot_general(z, w, (), (), (1,), (0,)), lambda z, w: z @ w, (3, 4), (4, 2))
    yield Case("scatter-c64", "scatter", lambda z, w: p.scatter_add(z, p.constant(places), w), (t(C64, 6, 4), t(C64, 4, 4)),
               lambda z, w: _scattered(z, places, w), by(uniform(-2, 2)), 4)


def _recurrence(a: Array, b: Array) -> Array:
    result = b.copy()
    for row in range(1, len(b)):
        result[row] += a[row] * result[row - 1]
    return result


def _scattered(z: Array, places: Array, w: Array) -> Array:
    result = z.copy()
    np.add.at(result, places, w)
    return result


def matrix_cases() -> Iterator[Case]:
    """LAPACK takes complex matrices as they lie in memory."""
    def definite(z: Node) -> Node:
        return p.add(m.product(z, m.adjoint(z)), m.identity(z, z.shape[-1]))

    def made_definite(z: Array) -> Array:
        return z @ z.conj().T + np.eye(len(z))
    square, tall = (4, 4), (4, 3)
    samples: list[tuple[str, Callable[..., Node], Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
        ("cholesky", lambda z: p.cholesky(definite(z)), lambda z: scipy.linalg.cholesky(made_definite(z), lower=True), (square,)),
        ("solve", p.solve, scipy.linalg.solve, (square, tall)),
        ("triangular_solve", lambda a, b: p.triangular_solve(p.add(a, m.scaled(m.identity(a, 4), 4)), b, True),
         lambda a, b: scipy.linalg.solve_triangular(a + 4 * np.eye(4), b, lower=True), (square, tall)),
        ("lu", lambda z: p.lu(z)[0], lambda z: scipy.linalg.lu_factor(z)[0], (square,)),
        ("determinant", p.determinant, scipy.linalg.det, (square,)),
        ("slogdet", lambda z: p.slogdet(z)[1], lambda z: np.log(np.abs(scipy.linalg.det(z))), (square,)),
        ("qr", lambda z: m.product(*p.qr(z)), lambda z: z, (tall,)),
        ("svd", lambda z: p.svd(z)[0], lambda z: scipy.linalg.svdvals(z), (tall,)),
        ("svd", lambda z: _reassembled(*p.svd(z)), lambda z: z, (tall,)),
        ("eigh", lambda z: p.eigh(definite(z))[0], lambda z: scipy.linalg.eigvalsh(made_definite(z)), (square,)),
        ("eigh", lambda z: _logarithm(*p.eigh(definite(z))), lambda z: scipy.linalg.logm(made_definite(z)), (square,))]
    for number, (name, build, expected, shapes) in enumerate(samples):
        for dtype in (C128, C64):
            yield Case(f"{name}-{dtype.code}-{number}", name, build, tuple(t(dtype, *shape) for shape in shapes), expected,
                       by(uniform(-2, 2)), 64, 32.0)
        yield slope(name, f"complex-{number}", build, expected, *shapes)


def _reassembled(s: Node, u: Node, v: Node) -> Node:
    return m.product(p.multiply(u, m.real_columns(s, u)), m.adjoint(v))


def _logarithm(values: Node, vectors: Node) -> Node:
    return m.product(p.multiply(vectors, m.real_columns(p.log(values), vectors)), m.adjoint(vectors))


def transform_cases() -> Iterator[Case]:
    functions: dict[str, Callable[..., Any]] = {"FFT": np.fft.fftn, "IFFT": np.fft.ifftn, "RFFT": np.fft.rfftn, "IRFFT": np.fft.irfftn}
    for kind, function in functions.items():
        for shape, rank in (((6,), 1), ((7,), 1), ((1,), 1), ((2, 3, 8), 1), ((2, 3, 5), 2), ((3, 4, 6), 3), ((0, 4), 1), ((1030,), 1)):
            length = shape[len(shape) - rank:]
            given = (*shape[:-1], shape[-1] // 2 + 1) if kind == "IRFFT" else shape
            axes = tuple(range(len(shape) - rank, len(shape)))
            for real, whole in ((F64, C128), (F32, C64)):
                yield Case(f"fft-{kind}-{shape}-{rank}-{whole.code}", "fft", lambda x, k=kind, n=length: p.fft(x, k, n),
                           (t(real if kind == "RFFT" else whole, *given),),
                           lambda x, f=function, n=length, a=axes, s=shape: f(x, n, a) if x.size else np.zeros(
                               (*s[:-1], s[-1] // 2 + 1) if f is np.fft.rfftn else s), by(uniform(-2, 2)), 64, 16.0)
            if 0 < np.prod(shape) < 80 and kind == "RFFT":
                yield Case(f"fft-RFFT-{shape}-{rank}-slope", "fft", lambda x, n=length: weighed(p.fft(x, "RFFT", n)), (t(F64, *given),),
                           lambda x, n=length, a=axes: _weighed_array(np.fft.rfftn(x, n, a)), by(uniform(-2, 2)), 64, 16.0, smooth=True)
            elif 0 < np.prod(shape) < 80:
                yield slope("fft", f"{kind}-{shape}-{rank}", lambda x, k=kind, n=length: p.fft(x, k, n),
                            lambda x, f=function, n=length, a=axes: f(x, n, a), given)


CASES: list[Case] = [*elementwise_cases(), *part_cases(), *moved_cases(), *matrix_cases(), *transform_cases()]
