"""`gradients`: values against finite differences, and TF1's meaning of every argument."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from tests.tolerances import GRADIENT_RELATIVE

F64 = gc.float64


def finite_difference(function: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of a scalar function, element by element."""
    result = np.zeros_like(x)
    for position in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[position] += step
        down[position] -= step
        result[position] = (function(up) - function(down)) / (2 * step)
    return result


def check(declare: Callable[[gc.Tensor], gc.Tensor], x: np.ndarray) -> None:
    """The gradient of sum(declare(x) * weights), first and second order, against differences in float64."""
    p = gc.placeholder(F64, x.shape)
    y = declare(p)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, [int(d) for d in y.shape])
    total = gc.reduce_sum(y * gc.constant(weights))
    (g,) = gc.gradients(total, p)
    assert g is not None
    inner = gc.reduce_sum(g * g)
    (second,) = gc.gradients(inner, p)
    with gc.Session() as sess:
        want = finite_difference(lambda v: float(sess.run(total, {p: v})), x)
        np.testing.assert_allclose(sess.run(g, {p: x}), want, rtol=GRADIENT_RELATIVE, atol=1e-7)
        if second is not None:
            want = finite_difference(lambda v: float(sess.run(inner, {p: v})), x)
            np.testing.assert_allclose(sess.run(second, {p: x}), want, rtol=2e-5, atol=1e-6)


X = np.random.default_rng(0).uniform(0.2, 1.8, (3, 4))
LABELS = np.array([1, 0, 3])
CASES: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "arithmetic": lambda x: x * x / (x + 1.0) - 2.0 * x,
    "broadcast": lambda x: x + x[0] * x[:, :1],
    "chain": lambda x: gc.exp(gc.sin(x)) + gc.log(x) * gc.tanh(x),
    "softmax": gc.nn.softmax,
    "log_softmax": gc.nn.log_softmax,
    "sparse cross entropy": lambda x: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=gc.constant(LABELS), logits=x),
    "cross entropy": lambda x: gc.nn.softmax_cross_entropy_with_logits(labels=gc.constant(np.eye(4)[LABELS]), logits=x),
    "sigmoid": gc.sigmoid,
    "gelu": gc.nn.gelu,
    "relu": lambda x: gc.nn.relu(x - 1.0),
    "layer norm": lambda x: gc.nn.layer_norm(x, gc.constant(np.linspace(1, 2, 4)), gc.constant(np.linspace(0, 1, 4))),
    "moments": lambda x: gc.stack(gc.nn.moments(x, [0])),
    "mean": lambda x: gc.reduce_mean(x * x, axis=1),
    "maximum": lambda x: gc.maximum(x, 1.0) * gc.minimum(x, 1.2),
    "reduce_max": lambda x: gc.reduce_max(x, axis=0) * gc.reduce_min(x),
    "reduce_prod": lambda x: gc.reduce_prod(x, axis=1),
    "matmul": lambda x: gc.matmul(x, gc.matmul(x, x, transpose_a=True)),
    "power": lambda x: x ** 2.5 + gc.pow(gc.constant(2.0, F64), x),
    "gather": lambda x: gc.gather(x, [2, 0, 2]) * 3.0,
    "concat": lambda x: gc.concat([x, x * x], axis=1),
    "slices": lambda x: x[1:, ::2] * x[:2, 1::2],
    "transpose": lambda x: gc.transpose(x) * gc.reshape(x, [4, 3]),
    "pad": lambda x: gc.pad(x, [[1, 0], [0, 2]]) ** 2,
    "where": lambda x: gc.where(x > 1.0, x * x, gc.sqrt(x)),
    "tile": lambda x: gc.tile(x, [2, 1]) * 1.5,
    "shared": lambda x: (x * 2.0) * (x * 2.0) + x * 2.0,
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_finite_difference(name: str) -> None:
    check(CASES[name], X)


def test_no_path_gives_none() -> None:
    x, y = gc.placeholder(F64, [2]), gc.placeholder(F64, [2])
    z = x * 2.0
    assert gc.gradients(z, y) == [None]
    assert gc.gradients(gc.cast(gc.cast(x, gc.int32), F64), x) == [None]
    assert gc.gradients(gc.stop_gradient(x) * 2.0, x) == [None]
    (zeros,) = gc.gradients(z, y, unconnected_gradients="zero")
    with gc.Session() as sess:
        np.testing.assert_array_equal(sess.run(zeros, {y: [5.0, 6.0]}), [0.0, 0.0])


def test_one_x_or_several_and_variables() -> None:
    v = gc.Variable(np.array([1.0, 2.0]), name="v")
    x = gc.placeholder(F64, [2])
    y = v * v * x
    by_v, by_x = gc.gradients(y, [v, x])
    with gc.Session() as sess:
        sess.run(gc.global_variables_initializer())
        np.testing.assert_allclose(sess.run(by_v, {x: [3.0, 4.0]}), [6.0, 16.0])
        np.testing.assert_allclose(sess.run(by_x, {x: [3.0, 4.0]}), [1.0, 4.0])


def test_every_read_of_a_variable_counts() -> None:
    v = gc.Variable(np.array(3.0), name="v")
    first = v * 2.0
    v.assign_add(1.0)
    second = v * 5.0  # a read declared after the assignment
    (g,) = gc.gradients([first, second], v)
    with gc.Session() as sess:
        sess.run(gc.global_variables_initializer())
        assert sess.run(g) == 7.0


def test_grad_ys_and_several_ys() -> None:
    x = gc.placeholder(F64, [2])
    (g,) = gc.gradients([x * 2.0, x * x], x, grad_ys=[gc.constant([1.0, 10.0], F64), None])
    with gc.Session() as sess:
        np.testing.assert_allclose(sess.run(g, {x: [3.0, 4.0]}), [2 + 6, 20 + 8])
    with pytest.raises(ValueError, match="one entry for each of the 1 ys"):
        gc.gradients(x, x, grad_ys=[None, None])
    with pytest.raises(ValueError, match="grad_ys"):
        gc.gradients(x * 1.0, x, grad_ys=gc.constant([1.0, 2.0, 3.0], F64))


def test_stop_gradients_are_constants() -> None:
    x = gc.placeholder(F64, [])
    middle = x * x
    total = middle * x
    with gc.Session() as sess:
        assert sess.run(gc.gradients(total, x)[0], {x: 2.0}) == 12.0
        assert sess.run(gc.gradients(total, x, stop_gradients=[middle])[0], {x: 2.0}) == 4.0


def test_a_tensor_in_the_middle_may_be_an_x() -> None:
    x = gc.placeholder(F64, [])
    middle = x * x
    (g,) = gc.gradients(middle * middle, middle)
    with gc.Session() as sess:
        assert sess.run(g, {x: 3.0}) == 18.0


def test_third_order() -> None:
    x = gc.placeholder(F64, [])
    y = x ** 5.0
    for _ in range(3):
        (y,) = gc.gradients(y, x)
    with gc.Session() as sess:
        np.testing.assert_allclose(sess.run(y, {x: 2.0}), 60 * 4)


def test_gradient_operations_are_named_and_know_their_forward_operation() -> None:
    x = gc.placeholder(F64, [2, 2], name="x")
    y = gc.matmul(x, x, name="product")
    gc.gradients(gc.reduce_sum(y), x)
    operation = gc.get_default_graph().get_operation_by_name("gradients/product_grad")
    assert operation.type == "MatMulGrad"
    assert operation.gradient_of is y.op


def test_unknown_dims_and_unknown_rank() -> None:
    a, b = gc.placeholder(F64, [None, 3]), gc.placeholder(F64)
    (by_a, by_b) = gc.gradients(a * b, [a, b])
    assert by_a.shape.as_list() == [None, 3]
    with gc.Session() as sess:
        got_a, got_b = sess.run([by_a, by_b], {a: np.ones((2, 3)), b: np.array([1.0, 2.0, 3.0])})
    np.testing.assert_allclose(got_a, [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_allclose(got_b, [2, 2, 2])


def test_gradients_of_equal_constants_stay_apart() -> None:
    """Two tensors may turn out to be one node (equal constants): each gets its own share only."""
    a, b = gc.constant(3.0, F64), gc.constant(3.0, F64)
    by_a, by_b = gc.gradients(a * a * b, [a, b])
    with gc.Session() as sess:
        assert sess.run([by_a, by_b]) == [18.0, 9.0]


def test_where_guards_the_branch_not_taken() -> None:
    """The gradient of where(x > 0, sqrt(x), 0) at 0 is 0 where the root is not chosen: cotangents are masked, as in TF1."""
    x = gc.placeholder(F64, [2])
    (g,) = gc.gradients(gc.where(x > 0.0, x * 2.0, gc.zeros_like(x)), x)
    with gc.Session() as sess:
        np.testing.assert_array_equal(sess.run(g, {x: [-1.0, 1.0]}), [0.0, 2.0])


def test_an_input_may_equal_what_an_operation_makes_inside() -> None:
    """Ones as the cotangent of x ** 3, whose gradient subtracts ones from 3; exp(x) beside x as inputs of one operation."""
    x = gc.placeholder(F64, [2])
    ones = gc.identity(gc.ones_like(x))
    (slope,) = gc.gradients(x ** 3.0, x, grad_ys=[ones])
    (by_ones,) = gc.gradients(slope, ones)
    p = gc.sigmoid(x)
    silu = gc.nn.sigmoid_cross_entropy_with_logits(labels=p, logits=x)
    (by_labels,) = gc.gradients(silu, p)
    with gc.Session() as sess:
        found = sess.run([by_ones, by_labels], {x: [1.5, 2.0]})
    np.testing.assert_allclose(found, [[3 * 1.5 ** 2, 12.0], [-1.5, -2.0]], rtol=1e-12)
