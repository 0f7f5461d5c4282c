"""Operations as users declare them: values against scipy, gradients of both orders, extremes, 16 bits, unknown shapes, errors."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from scipy import special, stats

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from graphc.ops.declare import declare_one
from graphc.ops.elementwise import real_div
from graphc.ops.entropy import SOFTMAX_CROSS_ENTROPY
from tests.tolerances import GRADIENT_RELATIVE, assert_close

Array = np.ndarray[Any, Any]
Build = Callable[..., Any]


def run(fetches: Sequence[gc.Tensor], feeds: dict[gc.Tensor, Array], variables: dict[str, Any] | None = None) -> list[Array]:
    """The values of `fetches` by the reference interpreter."""
    types = {t: TensorType(t.dtype, a.shape) for t, a in feeds.items()}
    return interpret(specialise(list(fetches), types), list(feeds.values()), variables)[0]


def value(build: Build, *arrays: Any, known: bool = True) -> Array:
    """build(placeholders...) for the arrays; with `known` False every shape is unknown when the graph is declared."""
    held = [np.asarray(a) for a in arrays]
    inputs = [gc.placeholder(a.dtype, a.shape if known else None) for a in held]
    (result,) = run([build(*inputs)], dict(zip(inputs, held, strict=True)))
    return result


def assert_gradient(build: Build, *arrays: Array, step: float = 1e-6, known: bool = True) -> None:
    """`gradients` of a weighted sum of build(...) against central differences, in float64."""
    held = [np.asarray(a) for a in arrays]
    inputs = [gc.placeholder(a.dtype, a.shape if known else (None,) * a.ndim) for a in held]
    output = build(*inputs)
    (at,) = run([output], dict(zip(inputs, held, strict=True)))
    weights = np.random.default_rng(1).standard_normal(at.shape)
    floating = [n for n, a in enumerate(held) if a.dtype == np.float64]
    loss = gc.reduce_sum(output * gc.constant(weights))
    found = gc.gradients(loss, [inputs[n] for n in floating])
    assert None not in found
    values = run(found, dict(zip(inputs, held, strict=True)))
    forward = specialise([loss], {t: TensorType(t.dtype, a.shape) for t, a in zip(inputs, held, strict=True)})
    for n, got in zip(floating, values, strict=True):
        expected = np.zeros(held[n].shape)
        for index in np.ndindex(held[n].shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in held]
                moved[n][index] += sign * step
                ends.append(float(interpret(forward, moved)[0][0]))
            expected[index] = (ends[0] - ends[1]) / (2 * step)
        assert got.shape == expected.shape
        assert np.all(np.abs(got - expected) <= GRADIENT_RELATIVE * np.maximum(np.abs(expected), 1)), np.abs(got - expected).max()


RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 0.9, (3, 4))
Y = RNG.uniform(0.2, 0.9, (3, 4))
S = RNG.uniform(-3, 3, (3, 4))  # both signs
ROW, COLUMN = RNG.uniform(0.5, 1.5, 4), RNG.uniform(0.5, 1.5, (3, 1))
LABELS = np.array([2, 0, 3])
SOFT = special.softmax(RNG.standard_normal((3, 4)), axis=1)


# Values against independent formulas -----------------------------------------------------------------------------------------------------

def _layer_norm(x: Array, scale: Array, offset: Array) -> Array:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6) * scale + offset


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


FORMULAS: dict[str, tuple[Build, Build, list[Array]]] = {
    "sigmoid": (gc.sigmoid, special.expit, [S]),
    "log_sigmoid": (gc.log_sigmoid, special.log_expit, [S]),
    "softplus": (gc.nn.softplus, lambda x: np.logaddexp(0, x), [S]),
    "gelu": (gc.nn.gelu, lambda x: x * stats.norm.cdf(x), [S]),
    "gelu_tanh": (lambda x: gc.nn.gelu(x, approximate=True), _gelu_tanh, [S]),
    "swish": (gc.nn.swish, lambda x: x * special.expit(x), [S]),
    "elu": (gc.nn.elu, lambda x: np.where(x < 0, np.expm1(x), x), [S]),
    "selu": (gc.nn.selu, lambda x: 1.0507009873554805 * np.where(x < 0, 1.6732632423543772 * np.expm1(x), x), [S]),
    "leaky_relu": (lambda x: gc.nn.leaky_relu(x, 0.1), lambda x: np.where(x < 0, 0.1 * x, x), [S]),
    "relu6": (lambda x: gc.nn.relu6(4 * x), lambda x: np.clip(4 * x, 0, 6), [S]),
    "softsign": (gc.nn.softsign, lambda x: x / (1 + np.abs(x)), [S]),
    "asin": (gc.asin, np.arcsin, [S / 3.1]), "acos": (gc.acos, np.arccos, [S / 3.1]), "atan": (gc.atan, np.arctan, [S]),
    "sinh": (gc.sinh, np.sinh, [S]), "cosh": (gc.cosh, np.cosh, [S]),
    "asinh": (gc.asinh, np.arcsinh, [S]), "acosh": (gc.acosh, np.arccosh, [1.1 + X]), "atanh": (gc.atanh, np.arctanh, [S / 3.1]),
    "floordiv": (lambda x, y: x // y, np.floor_divide, [S * 3, S[::-1]]), "mod": (lambda x, y: x % y, np.mod, [S * 3, S[::-1]]),
    "xlogy": (gc.xlogy, special.xlogy, [np.array([0.0, 2.0]), np.array([0.0, 3.0])]),
    "xdivy": (gc.xdivy, lambda x, y: np.array([0.0, 0.5]), [np.array([0.0, 2.0]), np.array([0.0, 4.0])]),
    "div_no_nan": (gc.div_no_nan, lambda x, y: np.array([0.0, 0.5]), [np.array([1.0, 2.0]), np.array([0.0, 4.0])]),
    "broadcast": (lambda x, y: x * y + y, lambda x, y: x * y + y, [COLUMN, ROW]),
    "softmax": (gc.nn.softmax, lambda x: special.softmax(x, -1), [S]),
    "softmax_0": (lambda x: gc.nn.softmax(x, axis=0), lambda x: special.softmax(x, 0), [S]),
    "log_softmax": (gc.nn.log_softmax, lambda x: special.log_softmax(x, -1), [S]),
    "logsumexp": (lambda x: gc.reduce_logsumexp(x, 1), lambda x: special.logsumexp(x, 1), [S]),
    "variance": (lambda x: gc.reduce_variance(x, 1), lambda x: x.var(1), [S]),
    "std": (lambda x: gc.reduce_std(x, 0), lambda x: x.std(0), [S]),
    "moments": (lambda x: gc.stack(gc.nn.moments(x, [0])), lambda x: np.stack([x.mean(0), x.var(0)]), [S]),
    "layer_norm": (gc.nn.layer_norm, _layer_norm, [S, ROW, X[0]]),
    "cross_entropy": (lambda x, y: gc.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x),
                      lambda x, y: -(y * special.log_softmax(x, -1)).sum(-1), [S, SOFT]),
    "sparse_cross_entropy": (lambda x: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=x),
                             lambda x: -special.log_softmax(x, -1)[np.arange(3), LABELS], [S]),
    "sigmoid_cross_entropy": (lambda x, y: gc.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x),
                              lambda x, y: -y * special.log_expit(x) - (1 - y) * special.log_expit(-x), [S, Y]),
    "matmul": (lambda x, y: gc.matmul(x, y, transpose_b=True), lambda x, y: x @ y.T, [S, X]),
    "batch_matmul": (lambda x, y: gc.matmul(x, y), np.matmul, [RNG.standard_normal((2, 1, 3, 4)), RNG.standard_normal((5, 4, 2))]),
    "tensordot": (lambda x, y: gc.tensordot(x, y, [[0, 2], [1, 0]]), lambda x, y: np.tensordot(x, y, [[0, 2], [1, 0]]),
                  [RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 2, 5))]),
    "cumsum": (lambda x: gc.cumsum(x, 1, exclusive=True, reverse=True), lambda x: np.cumsum(x[:, ::-1], 1)[:, ::-1] - x, [S]),
    "cumprod": (lambda x: gc.cumprod(x, 1), lambda x: np.cumprod(x, 1), [S]),
    "l2_normalize": (lambda x: gc.nn.l2_normalize(x, 1), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), [S]),
    "norm": (lambda x: gc.norm(x, 3, 1), lambda x: np.linalg.norm(x, 3, 1), [S]),
    "norm_inf": (lambda x: gc.norm(x, np.inf, [0, 1]), lambda x: np.linalg.norm(x, np.inf), [S]),
    "pad_mirror": (lambda x: gc.pad(x, [[2, 1], [0, 3]], "REFLECT"), lambda x: np.pad(x, [(2, 1), (0, 3)], "reflect"), [S]),
    "tile": (lambda x: gc.tile(x, [2, 3]), lambda x: np.tile(x, (2, 3)), [S]),
    "getitem": (lambda x: x[::-2, None, 1:], lambda x: x[::-2, None, 1:], [S]),
    "split_v": (lambda x: gc.concat(gc.split(x, [1, -1], 1)[::-1], 1), lambda x: np.concatenate([x[:, 1:], x[:, :1]], 1), [S]),
    "gather_nd": (lambda x: gc.gather_nd(x, [[2, 1], [0, 3], [3, 0]]), lambda x: np.array([x[2, 1], x[0, 3], 0]), [S]),
    "where_rows": (lambda x, y: gc.where([True, False, True], x, y), lambda x, y: np.stack([x[0], y[1], x[2]]), [X, Y]),
    "one_hot": (lambda x: gc.one_hot(LABELS, 4, dtype=gc.float64) * x, lambda x: np.eye(4)[LABELS] * x, [X]),
    "linspace": (lambda x: gc.linspace(x[0, 0], x[0, 1], 7), lambda x: np.linspace(x[0, 0], x[0, 1], 7), [X]),
    "batch_norm": (lambda x: gc.nn.batch_normalization(x, ROW, ROW, X[0], Y[0], 1e-3),
                   lambda x: (x - ROW) / np.sqrt(ROW + 1e-3) * Y[0] + X[0], [S]),
    "clip": (lambda x: gc.clip_by_value(x, -1.0, 0.5), lambda x: np.clip(x, -1, 0.5), [S]),
    "clip_by_norm": (lambda x: gc.clip_by_norm(x, 1.0), lambda x: x / np.linalg.norm(x), [S]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str) -> None:
    build, expected, arrays = FORMULAS[name]
    assert_close(value(build, *arrays), expected(*arrays), depth=10)


UNRANKED = [
    "softmax", "log_softmax", "logsumexp", "matmul", "broadcast", "cross_entropy", "cumsum", "tile", "getitem", "moments", "layer_norm",
    "gelu", "mod", "pad_mirror", "l2_normalize",
]


@pytest.mark.parametrize("name", UNRANKED)
def test_formula_with_unknown_rank(name: str) -> None:
    build, expected, arrays = FORMULAS[name]
    assert_close(value(build, *arrays, known=False), expected(*arrays), depth=10)


# Gradients -------------------------------------------------------------------------------------------------------------------------------

NOT_SMOOTH = {"floordiv", "mod", "xlogy", "xdivy", "div_no_nan", "linspace", "clip"}


@pytest.mark.parametrize("name", [name for name in FORMULAS if name not in NOT_SMOOTH])
def test_gradient(name: str) -> None:
    build, _, arrays = FORMULAS[name]
    if name == "cross_entropy":  # by the logits; TF1's gradient by the labels is tested below
        assert_gradient(lambda x: build(x, gc.constant(SOFT)), arrays[0])
    else:
        assert_gradient(build, *arrays)


MORE: dict[str, tuple[Build, list[Array]]] = {
    "mod": (lambda x, y: x % y, [np.array([5.3, -5.3, 4.1]), np.array([2.0, 1.7, -1.5])]),
    "pow": (lambda x, y: x ** y, [X, Y]), "truediv": (lambda x, y: x / y, [S, COLUMN]),
    "squared_difference": (gc.squared_difference, [S, ROW]),
    "maximum": (gc.maximum, [X, Y]), "atan2": (gc.atan2, [X, S]), "mean": (lambda x: gc.reduce_mean(x, [0]), [S]),
    "prod": (lambda x: gc.reduce_prod(x, 1), [np.array([[0.0, 2, 3], [0, 0, 4], [1, 2, 3]])]),
    "max": (lambda x: gc.reduce_max(x, 1, keepdims=True) * x, [S]),
    "gather": (lambda x: gc.gather(x, [[2, 0], [2, 2]], axis=1), [S]),
    "embedding": (lambda x: gc.nn.embedding_lookup(x, LABELS % 3), [S]),
    "stack": (lambda x, y: gc.stack([x, y, x], 1), [X, Y]), "unstack": (lambda x: gc.unstack(x, axis=1)[2], [S]),
    "transpose": (lambda x: gc.transpose(x) * gc.constant(Y.T), [S]), "strided": (lambda x: x[::2, -2::-1], [S]),
    "bias_add": (gc.nn.bias_add, [S, ROW]), "l2_loss": (gc.nn.l2_loss, [S]), "add_n": (lambda x, y: gc.add_n([x, y, x]), [X, Y]),
    "same_twice": (lambda x: gc.matmul(x, x, transpose_b=True) + x[:, :3] * x[:, :3], [S]),
    "fan_out": (lambda x: gc.sin(x) * gc.cos(x) + gc.exp(gc.sin(x)), [S]),
    "fill": (lambda x: gc.fill([2, 3], gc.reduce_sum(x)), [X]),
    "where": (lambda x, y: gc.where(x > y, gc.exp(x), y * y), [X, Y]),
    "dense": (lambda x, w, b: gc.nn.relu(gc.nn.xw_plus_b(x, w, b)), [S, RNG.standard_normal((4, 5)), RNG.standard_normal(5)]),
    "attention": (lambda q, k, v: gc.matmul(gc.nn.softmax(gc.matmul(q, k, transpose_b=True) / 2), v),
                  [RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 5, 4)), RNG.standard_normal((2, 5, 3))]),
}


@pytest.mark.parametrize("name", MORE)
def test_more_gradients(name: str) -> None:
    build, arrays = MORE[name]
    assert_gradient(build, *arrays)
    assert_gradient(build, *arrays, known=False) if name in ("mean", "max", "dense", "stack", "truediv", "gather", "prod") else None


def _gradient_of(build: Build) -> Build:
    """x -> the gradient of sum(build(x)^2)."""
    def gradient(x: gc.Tensor, *others: gc.Tensor) -> gc.Tensor:
        y = build(x, *others)
        (found,) = gc.gradients(gc.reduce_sum(y * y), [x])
        return found
    return gradient


SECOND = [
    "softmax", "log_softmax", "layer_norm", "gelu", "softplus", "sigmoid_cross_entropy", "sparse_cross_entropy", "matmul", "elu",
    "asinh", "variance", "cumprod", "l2_normalize",
]


@pytest.mark.parametrize("name", SECOND)
def test_second_order(name: str) -> None:
    build, _, arrays = FORMULAS[name]
    assert_gradient(_gradient_of(build), *arrays)


def test_third_order() -> None:
    x = gc.placeholder(gc.float64, [])
    y = gc.tanh(x)
    for _ in range(3):
        (y,) = gc.gradients(y, [x])
    at = 0.3
    t = np.tanh(at)
    expected = (1 - t * t) * (6 * t * t - 2)
    assert_close(run([y], {x: np.array(at)})[0], expected)


def test_no_gradient_where_there_is_no_path() -> None:
    x = gc.placeholder(gc.float64, [3])
    i = gc.placeholder(gc.int32, [3])
    for y in (gc.argmax(x), gc.floor(x), gc.stop_gradient(x), gc.zeros_like(x), gc.cast(gc.cast(x, gc.int32), gc.float64), gc.equal(x, x)):
        assert gc.gradients(y, [x]) == [None]
    assert gc.gradients(gc.gather(x, i), [i]) == [None]


def test_kinks_fall_as_in_tf1() -> None:
    x = np.array([-1.0, 0.0, 2.0])
    slopes: list[tuple[Build, Any]] = [
        (gc.nn.relu, [0, 0, 1]), (gc.nn.leaky_relu, [0.2, 0.2, 1]), (gc.nn.softplus, special.expit(x)), (gc.abs, [-1, 0, 1]),
        (lambda t: gc.nn.relu6(t * 3), [0, 0, 0]), (gc.nn.elu, [np.exp(-1), 1, 1])]
    for build, expected in slopes:
        got = value(lambda t, f=build: gc.gradients(f(t), [t])[0], x)
        assert_close(got, np.array(expected, float))


def test_cross_entropy_gradient_by_the_labels() -> None:
    got = value(lambda y: gc.gradients(gc.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=gc.constant(S)), [y])[0], SOFT)
    assert_close(got, -special.log_softmax(S, -1))
    x = gc.placeholder(gc.float64, [3, 4])
    assert gc.gradients(gc.nn.softmax_cross_entropy_with_logits(labels=x, logits=gc.constant(S)), [x]) == [None]


# Extremes and narrow types ---------------------------------------------------------------------------------------------------------------

FAR = np.array([[1e4, -1e4, 0.0], [-np.inf, 0.0, 1.0], [700.0, 710.0, 720.0]])


def test_stable_far_out() -> None:
    assert_close(value(gc.nn.softmax, FAR), special.softmax(FAR, -1))
    assert_close(value(lambda x: gc.reduce_logsumexp(x, 1), FAR), special.logsumexp(FAR, 1))
    finite = FAR[[0, 2]]
    assert_close(value(gc.nn.log_softmax, finite), special.log_softmax(finite, -1))
    assert_close(value(gc.nn.softplus, finite), np.logaddexp(0, finite))
    sparse = value(lambda x: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 0], logits=x), finite)
    assert_close(sparse, -special.log_softmax(finite, -1)[:, 0])
    assert_close(value(lambda x: gc.gradients(gc.nn.elu(x), [x])[0], finite), np.where(finite < 0, 0.0, 1.0))
    assert_close(value(gc.sinh, np.array([1e-9, 20.0, -800.0])), np.array([1e-9, np.sinh(20.0), -np.inf]), scale=0)
    assert_close(value(gc.asinh, np.array([1e-12, 1e200, -1e300])), np.arcsinh([1e-12, 1e200, -1e300]), scale=0)
    assert_close(value(lambda x: gc.reduce_logsumexp(x, 0), np.full(3, -np.inf)), np.array(-np.inf))


def test_layer_norm_keeps_its_accuracy_far_from_zero() -> None:
    x = (RNG.standard_normal((4, 1024)) + 1e3).astype(np.float32)  # where a mean of squares less a square of means is noise
    one, zero = np.ones(1024, np.float32), np.zeros(1024, np.float32)
    np.testing.assert_allclose(value(gc.nn.layer_norm, x, one, zero), _layer_norm(x.astype(np.float64), one, zero), rtol=0, atol=2e-4)


def test_a_label_out_of_range_shows() -> None:
    logits = gc.placeholder(gc.float64, [3, 4])
    loss = gc.nn.sparse_softmax_cross_entropy_with_logits(labels=[1, 4, -1], logits=logits)
    got, slope = run([loss, gc.gradients(loss, [logits])[0]], {logits: S})
    assert np.isnan(got).tolist() == [False, True, True]
    assert np.isnan(slope).all(1).tolist() == [False, True, True]


def test_a_logit_of_minus_infinity_costs_nothing_where_its_label_is_zero() -> None:
    logits, labels = np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]])
    assert value(lambda x, y: gc.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x), logits, labels).tolist() == [0.0]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bits_are_computed_in_float32(dtype: Any) -> None:
    x = (S * 3).astype(dtype)
    wide = x.astype(np.float64)
    assert_close(value(gc.nn.softmax, x), special.softmax(wide, -1), dtype)
    assert_close(value(gc.nn.log_softmax, x), special.log_softmax(wide, -1), dtype)
    many = np.full(100_000, 3, dtype)  # whose sum no 16-bit type holds
    assert_close(value(gc.reduce_mean, many), np.array(3.0), dtype)


def test_labels_out_of_the_softmax_of_any_rank() -> None:
    x = RNG.standard_normal((2, 3, 5))
    labels = RNG.integers(0, 5, (2, 3))
    got = value(lambda t: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=t), x)
    assert_close(got, -np.take_along_axis(special.log_softmax(x, -1), labels[..., None], -1)[..., 0])
    soft = special.softmax(x, 1)
    got = value(lambda t: gc.nn.softmax_cross_entropy_with_logits_v2(labels=soft, logits=t, axis=1), x)
    assert_close(got, -(soft * special.log_softmax(x, 1)).sum(1))


# Shapes that depend on values ------------------------------------------------------------------------------------------------------------

def test_shape_arithmetic_is_followed() -> None:
    x = gc.placeholder(gc.float32, [None, 4])
    batch = gc.shape(x)[0]
    assert gc.reshape(x, [batch, 2, 2]).shape.as_list() == [None, 2, 2]
    assert gc.reshape(x, gc.stack([-1, 2])).shape.as_list() == [None, 2]
    assert gc.zeros([batch, 7]).shape.as_list() == [None, 7]
    assert gc.tile(x, [1, 3]).shape.as_list() == [None, 12]
    assert gc.reshape(x, [gc.shape(x)[1] * 2, -1]).shape.as_list() == [8, None]
    (got,) = run([gc.reshape(x * 2, gc.concat([gc.shape(x)[:1] // 3, [12]], 0))], {x: np.ones((6, 4), np.float32)})
    assert got.shape == (2, 12)


def test_indexing_like_numpy() -> None:
    a = RNG.standard_normal((4, 5, 6))
    keys: list[Any] = [0, -1, (1, 2), (slice(None), 3), (..., 2), (..., None), (None, slice(1, 3)), slice(3, 0, -2),
                       (slice(None, None, -1), ..., slice(-2, None)),
                       (slice(2, 100), slice(-100, 2)), (slice(3, 1), 0), (1, ..., 2), (slice(None), slice(4, None, -3), 0)]
    for known in (True, False):
        for key in keys:
            x = gc.placeholder(gc.float64, a.shape if known else (None, 5, None))
            y = x[key]
            (got,) = run([y], {x: a})
            np.testing.assert_array_equal(got, a[key])
            assert y.shape.is_compatible_with(got.shape)
            assert not known or y.shape.as_list() == list(got.shape)


# Mistakes --------------------------------------------------------------------------------------------------------------------------------

def _mistakes() -> list[tuple[Build, type[Exception], str]]:
    return [
        (lambda x, i: x + i, TypeError, "Input 'y' of 'AddV2' Op has type int32 that does not match type float32 of argument 'x'."),
        (lambda x, i: gc.add(2, x), TypeError, "Input 'y' of 'Add' Op has type float32 that does not match type int32 of argument 'x'."),
        (lambda x, i: i + 1.5, TypeError, "int32"),
        (lambda x, i: x / i, TypeError, "x and y must have the same dtype"),
        (lambda x, i: x + gc.ones([3, 3]), ValueError, "(2, 3) and (3, 3)"),
        (lambda x, i: gc.exp(i), TypeError, "needs floating or complex operands"),
        (lambda x, i: i & i, TypeError, "Input 'x' of 'LogicalAnd' Op has type int32 that does not match expected type of bool."),
        (lambda x, i: gc.reduce_any(i), TypeError, "Input 'input' of 'Any' Op has type int32 that does not match expected type of bool."),
        (lambda x, i: gc.matmul(x, x), ValueError,
         "Dimensions must be equal, but are 3 and 2 for 'MatMul' (op: 'MatMul') with input shapes: [2,3], [2,3]."),
        (lambda x, i: gc.matmul(x, gc.ones([3])), ValueError, "Shape must be rank 2 but is rank 1"),
        (lambda x, i: gc.reshape(x, [4]), ValueError, "6 elements cannot take shape"),
        (lambda x, i: gc.reshape(x, [4, -1]), ValueError, "Cannot reshape a tensor with 6 elements to shape [4, -1]"),
        (lambda x, i: gc.reduce_sum(x, 2), ValueError, "axis 2 is out of bounds"),
        (lambda x, i: gc.concat([x, i], 0), TypeError, "don't all match"),
        (lambda x, i: gc.concat([x, gc.ones([1, 2])], 0), ValueError, "one shape but for axis 0"),
        (lambda x, i: gc.split(x, 2, 1), ValueError, "Number of ways to split should evenly divide"),
        (lambda x, i: gc.squeeze(x, [0]), ValueError, "Can not squeeze dim[0], expected a dimension of 1, got 2"),
        (lambda x, i: x[2], ValueError, "slice index 2 of dimension 0 out of bounds"),
        (lambda x, i: x[0, 0, 0], ValueError, "Index out of range using input dim 2; input has only 2 dims"),
        (lambda x, i: x[1.5], TypeError, "Only integers, slices"),
        (lambda x, i: gc.where(x > 0, x), ValueError, "x and y must both be non-None"),
        (lambda x, i: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=x), ValueError, "Rank mismatch"),
        (lambda x, i: gc.nn.softmax_cross_entropy_with_logits(x, x), ValueError, "Only call this function with named arguments"),
        (lambda x, i: gc.nn.dropout(x, rate=1.5), ValueError, "rate must be a scalar tensor or a float in the range [0, 1)"),
        (lambda x, i: gc.nn.bias_add(x, gc.ones([2])), ValueError, "Dimensions must be equal, but are 3 and 2"),
        (lambda x, i: gc.random_uniform([2], dtype=gc.int32), ValueError, "Must specify maxval for integer dtype"),
        (lambda x, i: gc.tensordot(x, x, 3), ValueError, "'axes' must not be larger than the number of dimensions"),
        (lambda x, i: gc.layers.dense(gc.placeholder(gc.float32, [2, None]), 3), ValueError, "last dimension of the inputs to `Dense`"),
        (lambda x, i: gc.add_n([]), ValueError, "inputs must be a list of at least one"),
        (lambda x, i: gc.stack([x, gc.ones([3, 2])], 1), ValueError, "one shape"),
        (lambda x, i: declare_one(SOFTMAX_CROSS_ENTROPY, {"features": x, "labels": gc.ones([2, 4])}), ValueError,
         "logits and labels must be of one shape"),
        (lambda x, i: real_div(x, i), TypeError, "does not match type float32"),
    ]


@pytest.mark.parametrize("number", range(len(_mistakes())))
def test_mistakes_are_named_where_they_are_made(number: int) -> None:
    build, kind, words = _mistakes()[number]
    x, i = gc.placeholder(gc.float32, [2, 3]), gc.placeholder(gc.int32, [2])
    with pytest.raises(kind, match=re.escape(words)):
        build(x, i)
    gc.exp(x)  # the graph goes on working
