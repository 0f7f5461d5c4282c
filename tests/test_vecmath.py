"""Elementary functions of generated code against numpy and series in long double, at every vector width."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graphc.codegen.llvm.target import Target, available
from graphc.codegen.llvm.vecmath import FUNCTIONS, ULP
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.elementwise_jit import run

TARGETS = available()
FLOATS = (dtypes.float32, dtypes.float64)
LD = np.longdouble
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


SQRT_PI = np.sqrt(LD("3.14159265358979323846264338327950288"))


def erf_reference(x: np.ndarray) -> np.ndarray:
    """In long double: exp(-x**2) 2x/sqrt(pi) sum (2x**2)**k / (1 3 5 ...), whose terms are all positive (Abramowitz and Stegun 7.1.6)."""
    clipped = np.clip(x, -7, 7)
    term = total = clipped
    for k in range(1, 260):
        term = term * 2 * clipped * clipped / (2 * k + 1)
        total = total + term
    return total * np.exp(-clipped * clipped) * 2 / SQRT_PI


def erfc_reference(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) up to 2, then the continued fraction exp(-x**2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + ...))) (same, 7.1.14)."""
    large = np.maximum(x, 2)
    fraction = large
    for k in range(200, 0, -1):
        fraction = large + LD(k) / 2 / fraction
    return np.where(x < 2, 1 - erf_reference(x), np.exp(-large * large) / SQRT_PI / fraction)


REFERENCE: dict[str, Callable[..., np.ndarray]] = {
    "exponential": np.exp,
    "exponential_minus_one": np.expm1,
    "log": np.log,
    "log_plus_one": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "erf": erf_reference,
    "erfc": erfc_reference,
    "erf_plus_one": lambda x: erfc_reference(-x),
    "sine": np.sin,
    "cosine": np.cos,
    "tan": np.tan,
    "atan2": np.arctan2,
    "power": np.power,
    "cbrt": np.cbrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
BINARY = ("atan2", "power")
FLUSHED = ("exponential", "logistic")  # results below the smallest normal number may be zero


def edges(dtype: DType) -> np.ndarray:
    info = np.finfo(dtype.np_dtype)
    positive = [0, 1, 2, 3, 0.5, 1.5, 2.5, 0.75, 1 + info.eps, 1 - info.epsneg, info.tiny, info.smallest_subnormal, info.max, info.tiny / 8,
                np.inf, 2**24, 2**24 + 2, 1e5, 1e6, 1e9, 1e30, 9.0, 9.1, 4.0, 5.9, 6.1, 10.05, 26.5, 87.33654, 87.34, 88.7228, 88.73, 104,
                708.39, 708.4, 709.78, 709.79, 745.2, math.pi / 2, math.pi]  # fmt: skip
    values = np.array(positive, dtype.np_dtype)
    return np.concatenate([values, -values, np.array([np.nan], dtype.np_dtype)])


def arguments(op: str, dtype: DType, seed: int, count: int = 4000) -> tuple[np.ndarray, ...]:
    """Edge values (each with each for two arguments), random bits of any magnitude, and random values at the scales where things happen."""
    rng = np.random.default_rng(seed)
    kind = {4: np.uint32, 8: np.uint64}[dtype.size]

    def of_any_size() -> np.ndarray:
        return rng.integers(0, np.iinfo(kind).max, count, dtype=kind, endpoint=True).view(dtype.np_dtype)

    if op not in BINARY:
        scales = [rng.uniform(-s, s, count) for s in (1e-3, 0.3, 1, 4, 30, 90, 800)] + [1 + rng.uniform(-0.02, 0.02, count)]
        return (np.concatenate([edges(dtype), of_any_size(), *(s.astype(dtype.np_dtype) for s in scales)]),)
    x, y = (grid.ravel() for grid in np.meshgrid(edges(dtype), edges(dtype)))
    near_one, large = 1 + rng.uniform(-0.1, 0.1, count), rng.uniform(-1000, 1000, count)
    small, whole = rng.uniform(-10, 10, count), rng.integers(-20, 20, count)
    first, second = (np.concatenate(parts).astype(dtype.np_dtype) for parts in ([near_one, small, small], [large, whole, near_one]))
    return np.concatenate([x, of_any_size(), first]), np.concatenate([y, of_any_size(), second])


def error_in_ulp(got: np.ndarray, exact: np.ndarray, flushed: bool, least: float = 0.0) -> np.ndarray:
    """|got - exact| in units in the last place of the exact result, or of `least` where that is larger; 0 for equal infinities or two NaN,
    inf for one NaN or one infinity."""
    info = np.finfo(got.dtype)
    nearest = exact.astype(got.dtype)
    same = (got == nearest) | (np.isnan(got) & np.isnan(exact))
    unit = np.spacing(np.minimum(np.abs(nearest), info.max)).astype(LD)
    unit = np.maximum(unit, np.spacing(got.dtype.type(least)))
    error = np.abs(got.astype(LD) - exact) / unit
    error = np.where(np.isfinite(error), error, np.where(same, 0, np.inf))
    return np.where((np.abs(exact) < info.tiny) & (got == 0), 0, error) if flushed else error


def measure(target: Target, op: str, dtype: DType, lanes: int, seed: int = 7, count: int = 4000) -> float:
    """The largest error of `op`; asserts that zeros have the right sign."""
    args = arguments(op, dtype, seed, count)
    got = run(target, op, dtype, lanes, *args, arg_dtypes=(dtype,) * len(args))
    exact = REFERENCE[op](*(a.astype(LD) for a in args))
    zeros = (got == 0) & (exact == 0)
    wrong = zeros & (np.signbit(got) != np.signbit(exact))
    assert not wrong.any(), f"{op}: sign of zero at {[a[wrong][:3] for a in args]}"
    return float(error_in_ulp(got, exact, op in FLUSHED, 0.5 if op == "erf_plus_one" else 0.0).max())


def test_every_function_has_a_bound_and_a_reference() -> None:
    assert set(FUNCTIONS[32]) == set(FUNCTIONS[64]) == set(ULP) == set(REFERENCE)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda t: t.name)
@pytest.mark.parametrize("op", sorted(REFERENCE))
def test_error_within_the_stated_bound(target: Target, dtype: DType, op: str) -> None:
    bound = ULP[op][dtype is dtypes.float64]
    for lanes in (1, target.lanes(dtype)):
        assert measure(target, op, dtype, lanes) <= bound


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_exact_cases(target: Target) -> None:
    cases = [("exponential", 0.0, 1.0), ("exponential", -math.inf, 0.0), ("log", 1.0, 0.0), ("log", 0.0, -math.inf),
             ("log_plus_one", -1.0, -math.inf), ("tanh", 20.0, 1.0), ("tanh", math.inf, 1.0), ("erf", 7.0, 1.0), ("erf", -math.inf, -1.0),
             ("erfc", -math.inf, 2.0), ("erf_plus_one", math.inf, 2.0), ("erf_plus_one", -math.inf, 0.0), ("erf_plus_one", -1e30, 0.0),
             ("erf_plus_one", 0.0, 1.0), ("erf_plus_one", -0.0, 1.0),
             ("logistic", 0.0, 0.5), ("logistic", math.inf, 1.0), ("logistic", -math.inf, 0.0), ("cbrt", 27.0, 3.0), ("cosine", 0.0, 1.0),
             ("rsqrt", 4.0, 0.5), ("rsqrt", 0.0, math.inf)]  # fmt: skip
    for dtype in FLOATS:
        for op, x, expected in cases:
            assert run(target, op, dtype, 1, np.array([x]), arg_dtypes=(dtype,))[0] == expected, (op, x)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_power_of_small_integers_is_exact(target: Target) -> None:
    base, exponent = (grid.ravel() for grid in np.meshgrid(np.arange(-10, 11), np.arange(0, 7)))
    for dtype in FLOATS:
        got = run(target, "power", dtype, target.lanes(dtype), base, exponent, arg_dtypes=(dtype, dtype))
        assert got.tolist() == [float(int(b) ** int(e)) for b, e in zip(base, exponent, strict=True)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_exponential_never_gives_a_denormal(target: Target) -> None:
    x = np.linspace(-105, -87, 4001).astype(np.float32)
    got = run(target, "exponential", dtypes.float32, target.lanes(dtypes.float32), x, arg_dtypes=(dtypes.float32,))
    smallest = np.finfo(np.float32).tiny
    assert ((got == 0) | (got >= smallest)).all()
    assert (got[x > -87.336] >= smallest).all()
    assert (got[x < -87.337] == 0).all()


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("op", ["sine", "cosine", "tan"])
def test_large_arguments(target: Target, op: str) -> None:
    """Argument reduction of numbers far beyond the inline range, mixed with small ones in the same vector."""
    x = np.array([1e7, 0.1, 3e22, 1e30, -2.5, 3.4e38, 1048576.0, 1048577.0, -1e15, 22.0, 355.0] * 5, np.float32)
    got = run(target, op, dtypes.float32, target.lanes(dtypes.float32), x, arg_dtypes=(dtypes.float32,))
    assert error_in_ulp(got, REFERENCE[op](x.astype(LD)), False).max() <= ULP[op][0]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_one_plus_erf_falls_to_zero_without_steps(target: Target) -> None:
    """Where 1 + erf(x) in float32 is a multiple of 2**-24 or zero, the function still falls with x, and it ends at zero, not below it."""
    x = np.linspace(-20, -1, 20001).astype(np.float32)
    got = run(target, "erf_plus_one", dtypes.float32, target.lanes(dtypes.float32), x, arg_dtypes=(dtypes.float32,))
    assert (got >= 0).all()
    assert got[0] == 0
    assert (np.diff(got.astype(np.float64)) >= -1e-6 * got[1:]).all()
    near = x > -3
    np.testing.assert_allclose(got[near], erfc_reference(-x[near].astype(LD)).astype(np.float64), rtol=2e-3)
    distinct = np.unique(got[(x < -4) & (x > -5)])
    assert len(distinct) > 100
