"""The table of composites, continued: special functions against scipy, and what TensorFlow 1.15 gave at the edges of their domains."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import SMALL_FLOATS, Array, Case, public, sample
from tests.op_table import Sampler, uniform

F32, F64 = dtypes.float32, dtypes.float64
NAN, INF = np.nan, np.inf


def powers(low: float, high: float) -> Sampler:
    """10 to a power between the bounds."""
    def draw(rng: np.random.Generator, t: Any) -> Array:
        return np.asarray(10 ** rng.uniform(low, high, t.dims)).astype(t.dtype.np_dtype)
    return draw


# Of one operand -------------------------------------------------------------------------------------------------------------------------

# name: (expectation, range where it is smooth, values of TF1 at ODD)
ODD = np.array([0, -0.0, -1, -1.5, INF, -INF, NAN, 1, 2, 1e-30])
UNARY: dict[str, tuple[Any, tuple[float, float], Sequence[float] | None]] = {
    "lgamma": (special.gammaln, (0.1, 6), [INF, INF, INF, 0.860047015376481, INF, INF, NAN, 0, 0, 69.07755278982137]),
    "digamma": (special.psi, (0.1, 6), [INF, INF, INF, 0.703156640645243, INF, INF, NAN, -0.5772156649015329, 0.4227843350984671, -1e30]),
    "math.bessel_i0e": (special.i0e, (-10, 10), [1, 1, special.i0e(1), special.i0e(1.5), 0, 0, NAN, special.i0e(1), special.i0e(2), 1]),
    "math.bessel_i1e": (special.i1e, (-10, 10),
                        [0, -0.0, -special.i1e(1), -special.i1e(1.5), 0, -0.0, NAN, special.i1e(1), special.i1e(2), 5e-31]),
    "math.bessel_i0": (special.i0, (-3, 3), None),
    "math.bessel_i1": (special.i1, (-3, 3), None),
}


def unary_cases() -> Iterator[Case]:
    for name, (function, bounds, odd) in UNARY.items():
        def case(label: str, array: Array, slopes: int = 0, want: Any = function, scale: float = 3.0, called: str = name) -> Case:
            return Case(called, label, public(called), (array,), want, slopes=slopes, scale=scale, known="" if slopes else "shape")

        is_bessel = name.startswith("math")
        yield case("float32", sample(name, uniform(*bounds), F32, 7, 33))
        if is_bessel:
            yield case("float64", sample(name, uniform(-600, 600), F64, 200))
        else:
            below_zero = sample(name, uniform(-9.9, -0.1), F64, 100).round(2) + 0.003
            yield case("float64", np.concatenate([sample(name, powers(-9, 8), F64, 200), below_zero]), scale=300)
        smooth = np.append(sample(name, uniform(*bounds), F64, 7), [] if is_bessel else [-0.4, -1.7, -7.2])
        yield case("slopes", smooth, 1 if name in ("math.bessel_i0", "math.bessel_i1") else 2)
        if odd is not None:
            yield case("odd", ODD, want=lambda x, w=odd: np.array(w))
    for shape in ((), (0, 3), (1,)):
        yield Case("lgamma", f"{shape}", public("lgamma"), (sample("s", uniform(0.1, 6), F32, *shape),), special.gammaln, scale=3.0)
    for dtype in SMALL_FLOATS:
        yield Case("lgamma", dtype.name, public("lgamma"), (sample("s", uniform(0.1, 6), dtype, 40),), special.gammaln, scale=3.0,
                   known="shape")
    near = 1 + np.concatenate([np.linspace(-0.5, 1.5, 101), 10.0 ** -np.arange(3, 12)])
    yield Case("lgamma", "near-its-zeros", public("lgamma"), (near,), lambda x: _about_one(x), scale=1e-7, known="shape")


def _about_one(x: Array) -> Array:
    """lgamma next to 1 by its own power series (DLMF 5.7.3), where scipy's has an absolute error only; scipy's elsewhere."""
    d = x - 1
    series = -np.euler_gamma * d + sum(special.zeta(k, 1.0) * (-d) ** k / k for k in range(2, 30))
    return np.where(np.abs(d) < 1e-2, series, special.gammaln(x))


# Of several operands --------------------------------------------------------------------------------------------------------------------

def _pair(dtype: DType, *shape: int) -> tuple[Array, Array]:
    """A shape parameter between 0.01 and 1000, and an argument near it or far away."""
    a = sample("a", powers(-2, 3), dtype, *shape)
    rng = np.random.default_rng(1)
    x = a * np.exp(rng.normal(size=shape) * np.minimum(2, 4 / np.sqrt(a)))
    return a, np.asarray(x).astype(dtype.np_dtype)


# Recorded from TF1, but for the argument 1e300, where it has NaN.
HARD = (np.array([1, 0, -1, 2, 2, 2, INF, 2, NAN]), np.array([0, 1, 1, -1, INF, NAN, 1, 1e300, 1]))
# Tails, small and large parameters: all digits are wanted of what is small.
FAR = (np.array([5.0, 50, 500, 2, 1e-10, 1e-5, 0.01, *[1e6] * 5]),
       np.array([60.0, 150, 800, 300, 0.5, 1.0, 1.4, 997e3, 999500, 1e6, 1000500, 1003e3]))


def gamma_cases() -> Iterator[Case]:
    for name, function in {"igamma": special.gammainc, "igammac": special.gammaincc}.items():
        for dtype in (F32, F64):
            yield Case(name, dtype.name, public(name), _pair(dtype, 40, 30), function, known="shape")
        a = np.array([0.05, 0.7, 1.4, 3.0, 7.9, 8.5, 40.0, 200.0])
        if name == "igamma":
            yield Case(name, "slopes", public(name), (np.tile(a, 2), np.append(a * 0.8, a * 1.3)), function, slopes=1)
        yield Case(name, "broadcast", lambda a, x, n=name: public(n)(a, x), (np.array([[0.7], [12.0]]), np.array([0.1, 2.0, 9.0])),
                   function, slopes=2 if name == "igamma" else 1, known="shape")
        yield Case(name, "far", public(name), FAR, function, depth=25, scale=1e-120, known="shape")
    yield Case("igamma", "odd", public("igamma"), HARD, lambda a, x: np.array([0, NAN, NAN, NAN, 1, NAN, NAN, 1, NAN]), known="shape")
    yield Case("igammac", "odd", public("igammac"), HARD, lambda a, x: np.array([1, NAN, NAN, NAN, 0, NAN, NAN, 0, NAN]), known="shape")


def beta_cases() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for dtype in (F32, F64):
        a, b = (np.asarray(10 ** rng.uniform(-1.5, 3, (30, 33))).astype(dtype.np_dtype) for _ in range(2))
        mean = a / (a + b)
        x = np.clip(mean + rng.normal(size=a.shape) * 3 * np.sqrt(mean * (1 - mean) / (a + b + 1)), 1e-3, 1 - 1e-3).astype(dtype.np_dtype)
        yield Case("betainc", dtype.name, public("betainc"), (a, b, x), special.betainc, depth=16, known="shape")
    yield Case("betainc", "slopes", public("betainc"), (np.array([0.4, 1.5, 9.0, 0.6]), np.array([0.7, 3.0, 4.0, 20.0]),
                                                        np.array([0.3, 0.2, 0.8, 0.01])), special.betainc, slopes=1)
    yield Case("betainc", "second", public("betainc"), (np.array([2.5]), np.array([0.7]), np.array([0.3])), special.betainc, slopes=2,
               known="shape")
    yield Case("betainc", "scalars", lambda x: public("betainc")(np.float64(2), np.float64(3), x), (np.array([0.1, 0.5, 0.9]),),
               lambda x: special.betainc(2, 3, x))
    odd = (np.array([1, 0, 1, 2, 2, 2, -1, 2, INF, 2, NAN]), np.array([1, 1, 0, 2, 2, 2, 1, 2, 1, INF, 1]),
           np.array([0.5, 0.5, 0.5, 0, 1, 1.5, 0.5, -0.1, 0.5, 0.5, 0.5]))
    yield Case("betainc", "odd", public("betainc"), odd, lambda a, b, x: np.array([0.5, NAN, NAN, 0, 1, NAN, NAN, NAN, NAN, NAN, NAN]))
    yield Case("lbeta", "rows", public("lbeta"), (sample("lbeta", uniform(0.2, 4), F64, 5, 3),),
               lambda x: special.gammaln(x).sum(-1) - special.gammaln(x.sum(-1)), scale=9, slopes=2, known="rank")
    yield Case("lbeta", "nothing", public("lbeta"), (np.zeros((2, 0)),), lambda x: np.array([-INF, -INF]), known="rank")


def _half(s: int) -> float:
    """zeta(s, -3/2), which scipy and TF1 have to ten digits: (2^s - 1) zeta(s) is zeta(s, 1/2), and two terms."""
    return float((2 ** s - 1) * special.zeta(s) + (-1.5) ** -s + (-0.5) ** -s)


def zeta_cases() -> Iterator[Case]:
    s, q = sample("s", uniform(1.05, 30), F64, 6, 30), sample("q", powers(-1, 3), F64, 6, 30)
    yield Case("zeta", "float64", public("zeta"), (s, q), special.zeta, known="shape")
    yield Case("zeta", "float32", public("zeta"), (np.minimum(s, 9).astype(np.float32), q.astype(np.float32)), special.zeta, known="shape")
    yield Case("zeta", "slopes", public("zeta"), (np.array([1.5, 3.0, 7.2]), np.array([0.6, 2.0, 15.0])), special.zeta, slopes=1)
    odd = np.array([1, 2, 0.5, 2, 3, 2.5, 2, NAN, 2]), np.array([1, 0, 1, -1, -1.5, -1.5, 1e300, 1, NAN])
    yield Case("zeta", "odd", public("zeta"), odd, lambda s, q: np.array([INF, INF, NAN, INF, _half(3), NAN, 0, NAN, NAN]), scale=9)
    n, x = np.arange(60, dtype=np.float64).reshape(6, 10) % 7, sample("x", powers(-1, 2), F64, 6, 10)
    yield Case("polygamma", "float64", public("polygamma"), (n, x), lambda n, x: special.polygamma(n.astype(int), x), known="shape")
    yield Case("polygamma", "float32", public("polygamma"), (n.astype(np.float32), x.astype(np.float32)),
               lambda n, x: special.polygamma(n.astype(int), x), known="shape")
    for order in (0.0, 1.0):
        yield Case("polygamma", f"slopes-{order}", lambda x, n=order: public("polygamma")(np.float64(n), x),
                   (np.array([0.7, 2.5, 11.0, -1.4]),),
                   lambda x, n=order: special.polygamma(int(n), x), slopes=2 if order else 1,
                   known="shape")
    odd = np.array([0, 1, 2, 1.5, 1, -1, 1, 3, NAN]), np.array([2, 2, 2, 2, -0.5, 2, 0, -1.5, 1])
    want = [0.42278433509846714, 0.6449340668482264, -0.4041138063191886, NAN, 8.934802200544679, NAN, INF, 6 * _half(4), NAN]
    yield Case("polygamma", "odd", public("polygamma"), odd, lambda n, x: np.array(want))


def families() -> dict[str, Sequence[Case]]:
    return {"special": list(unary_cases()), "incomplete-gamma": list(gamma_cases()), "incomplete-beta": list(beta_cases()),
            "zeta": list(zeta_cases())}
