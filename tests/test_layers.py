"""Layers as objects: what they keep, what they refuse, and how they share variables. Their values: tests/composite_layers.py and
tests/test_programs_tf1.py."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc


def image(*dims: int | None) -> gc.Tensor:
    return gc.placeholder(gc.float32, dims or (None, 8, 8, 3))


def test_a_layer_is_built_once_and_shares_its_variables() -> None:
    layer = gc.layers.Conv2D(4, 3, name="c")
    with pytest.raises(ValueError, match="has not been used yet"):
        _ = layer.scope_name
    with pytest.raises(ValueError, match="You tried to call `count_params` on c, but the layer isn't built"):
        layer.count_params()
    assert (layer.built, layer.dtype, layer.variables) == (False, None, [])
    first, second = layer(image()), layer.apply(image(2, 5, 5, 3))
    assert [v.name for v in layer.variables] == ["c/kernel:0", "c/bias:0"] == [v.name for v in layer.weights]
    assert gc.global_variables() == layer.trainable_weights == layer.variables
    assert (layer.non_trainable_weights, layer.count_params(), layer.dtype, layer.built) == ([], 3 * 3 * 3 * 4 + 4, gc.float32, True)
    assert (first.shape.as_list(), second.shape.as_list()) == ([None, 6, 6, 4], [2, 3, 3, 4])


def test_names_of_classes_become_names_of_scopes() -> None:
    class MyRNNCell(gc.layers.Layer):
        pass

    class _Hidden(gc.layers.Layer):
        pass
    layers = [MyRNNCell(), _Hidden(), gc.layers.Conv2DTranspose(1, 1), gc.layers.MaxPooling1D(1, 1), MyRNNCell(),
              gc.layers.Layer(name="mine")]
    assert [layer.name for layer in layers] == ["my_rnn_cell_1", "private__hidden_1", "conv2d_transpose_1", "max_pooling1d_1",
                                                "my_rnn_cell_2", "mine"]


def test_variables_are_shared_by_scope() -> None:
    x = image()
    with gc.variable_scope("net", reuse=gc.AUTO_REUSE):
        gc.layers.conv2d(x, 4, 3, name="c")
        gc.layers.conv2d(x, 4, 3, name="c")
    assert [v.name for v in gc.global_variables()] == ["net/c/kernel:0", "net/c/bias:0"]
    layer = gc.layers.Dense(2)
    with gc.variable_scope("here") as scope:
        layer(gc.zeros([1, 2]))
    layer(gc.zeros([3, 2]), scope=scope)  # too late: it keeps its own
    assert [v.name for v in layer.variables] == ["here/dense/kernel:0", "here/dense/bias:0"]
    inside = gc.layers.Dense(2, use_bias=False)
    inside(gc.zeros([1, 2]), scope="chosen")
    assert [v.name for v in inside.variables] == ["chosen/kernel:0"]


def test_what_is_not_trained() -> None:
    frozen = gc.layers.Dense(2, trainable=False)
    frozen(gc.zeros([1, 3]))
    assert gc.trainable_variables() == []
    assert (frozen.trainable_variables, len(frozen.non_trainable_variables)) == ([], 2)
    norm = gc.layers.BatchNormalization()
    norm(gc.zeros([1, 3]))
    assert [v.op.name.split("/")[1] for v in norm.non_trainable_variables] == ["moving_mean", "moving_variance"]
    norm.trainable = False
    assert len(norm.non_trainable_variables) == 4


def test_the_scope_says_initializer_regularizer_and_type() -> None:
    with gc.variable_scope("s", initializer=gc.constant_initializer(2.0), regularizer=lambda w: gc.reduce_sum(w)):
        gc.layers.dense(gc.zeros([1, 3], gc.float64), 2, kernel_regularizer=lambda w: gc.reduce_max(w))
    kernel, bias = gc.global_variables()
    assert (kernel.dtype, bias.dtype) == (gc.float64, gc.float64)
    assert len(gc.losses.get_regularization_losses()) == 3  # the scope's of both, and the kernel's own
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        assert session.run(gc.losses.get_regularization_loss()) == 12 + 0 + 2


def test_losses_and_updates_of_a_layer() -> None:
    class Counting(gc.layers.Layer):
        def build(self, input_shape: gc.TensorShape) -> None:
            self.calls = self.add_weight("calls", [], gc.int32, gc.zeros_initializer(), trainable=False)

        def call(self, inputs: gc.Tensor, scope: Any = None) -> gc.Tensor:
            assert scope.name == "counting"
            self.add_update(self.calls.assign_add(1))
            self.add_loss(gc.reduce_sum(inputs))
            return inputs
    layer = Counting()
    x = gc.constant([1.0, 2.0])
    layer(layer(x))
    assert [u.type for u in layer.updates] == ["AssignAdd"] * 2
    assert gc.get_collection(gc.GraphKeys.UPDATE_OPS) == layer.updates
    assert gc.losses.get_regularization_losses() == layer.losses
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(layer.updates)
        assert session.run([layer.calls, *layer.losses]) == [2, 3.0, 3.0]


def test_constraints_hold_after_a_step() -> None:
    x = gc.constant(np.ones((2, 3), np.float32))
    y = gc.layers.dense(x, 2, kernel_initializer=gc.ones_initializer(), kernel_constraint=lambda w: gc.clip_by_value(w, 0.5, 2.0),
                        bias_constraint=lambda b: gc.nn.relu(b))
    step = gc.train.GradientDescentOptimizer(1.0).minimize(gc.reduce_sum(y))
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(step)
        kernel, bias = session.run(gc.trainable_variables())
    np.testing.assert_array_equal(kernel, np.full((3, 2), 0.5))
    np.testing.assert_array_equal(bias, [0, 0])


@pytest.mark.parametrize(("layer", "dims"), [
    (lambda: gc.layers.Conv1D(4, 3, 2, "same"), (None, 9, 2)),
    (lambda: gc.layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (1, 9, 2)),
    (lambda: gc.layers.Conv2D(4, (3, 2), data_format="channels_first"), (2, 3, 8, 9)),
    (lambda: gc.layers.Conv2D(4, 3, dilation_rate=2), (2, 9, 8, 3)), (lambda: gc.layers.Conv3D(2, 2, 2, "same"), (1, 5, 4, 3, 2)),
    (lambda: gc.layers.Conv2DTranspose(4, 3, (2, 1)), (2, 5, 4, 3)), (lambda: gc.layers.Conv2DTranspose(4, 1, 2), (2, 5, None, 3)),
    (lambda: gc.layers.Conv3DTranspose(4, 3, 2, "same"), (1, 2, 3, 2, 2)), (lambda: gc.layers.SeparableConv1D(4, 3), (2, 8, 3)),
    (lambda: gc.layers.SeparableConv2D(4, 3, 2, "same"), (2, 8, 7, 3)), (lambda: gc.layers.MaxPooling1D(2, 2), (2, 9, 3)),
    (lambda: gc.layers.AveragePooling2D(3, 2, "same", "channels_first"), (2, 3, 7, 8)),
    (lambda: gc.layers.MaxPooling3D(2, None), (1, 4, 5, 6, 2)), (lambda: gc.layers.Dense(7), (2, 3, 4)),
    (lambda: gc.layers.Flatten(), (None, 3, 4)), (lambda: gc.layers.Dropout(), (2, 3)), (lambda: gc.layers.BatchNormalization(), (2, 3))])
def test_output_shapes_are_known_without_a_call(layer: Callable[[], Any], dims: tuple[int | None, ...]) -> None:
    made = layer()
    expected = made.compute_output_shape(dims).as_list()
    assert made(image(*dims)).shape.as_list() == expected
    known = [1 if dim is None else dim for dim in dims]
    with gc.Session() as session:
        made = layer()
        found = made(gc.zeros(known))
        session.run(gc.global_variables_initializer())
        assert list(session.run(found).shape) == made.compute_output_shape(known).as_list()


def test_causal_padding_sees_the_past_alone() -> None:
    x = gc.placeholder(gc.float32, [1, 6, 1])
    y = gc.layers.Conv1D(1, 2, padding="causal", dilation_rate=2, kernel_initializer=gc.constant_initializer([1.0, 10.0]))(x)
    first = gc.layers.Conv1D(1, 2, padding="causal", dilation_rate=2, data_format="channels_first",
                             kernel_initializer=gc.constant_initializer([1.0, 10.0]))(gc.transpose(x, [0, 2, 1]))
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        found, other = session.run([y, first], {x: np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1)})
    np.testing.assert_array_equal(found.ravel(), [10, 20, 31, 42, 53, 64])
    np.testing.assert_array_equal(other.ravel(), found.ravel())


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: gc.layers.InputSpec(max_ndim=2).check(image(), "x"), ValueError, "expected max_ndim=2, found ndim=4"),
    (lambda: gc.layers.InputSpec(dtype=gc.int32).check(image(), "x"), ValueError, "expected dtype=int32, found dtype=float32"),
    (lambda: gc.layers.InputSpec(shape=(None, 8, 8, 4)).check(image(), "x"), ValueError, r"expected shape=\(None, 8, 8, 4\), found"),
    (lambda: gc.layers.InputSpec(axes={-1: 4}).check(image(), "x"), ValueError, "expected axis -1 of input shape to have value 4 but"),
    (lambda: gc.layers.InputSpec(ndim=2).check(gc.placeholder(gc.float32), "x"), ValueError, "its rank is undefined, but the layer"),
    (lambda: gc.layers.Conv2D(4, 3, padding="causal"), ValueError, "Causal padding is only supported for `Conv1D`"),
    (lambda: gc.layers.Conv2D(4, "3x3"), ValueError, "The `kernel_size` argument must be a tuple of 2 integers. Received: 3x3"),
    (lambda: gc.layers.max_pooling2d(image(), (2, 2, 2), 2), ValueError, "The `pool_size` argument must be a tuple of 2"),
    (lambda: gc.layers.flatten(image(), data_format="NHWC"), ValueError, '"channels_last". Received: NHWC'),
    (lambda: gc.layers.batch_normalization(image(), axis="last"), TypeError, "axis must be int or list, type given: <class 'str'>"),
    (lambda: gc.layers.batch_normalization(image(), renorm_clipping={"max": 1}), ValueError, "contains keys not in"),
    (lambda: gc.layers.batch_normalization(image(1, 2, None)), ValueError, "Input has undefined `axis` dimension"),
    (lambda: gc.layers.batch_normalization(gc.placeholder(gc.float32)), ValueError, "Input has undefined rank"),
    (lambda: gc.layers.batch_normalization(image(), virtual_batch_size=0), ValueError, "virtual_batch_size must be a positive integer"),
    (lambda: gc.layers.batch_normalization(image(), axis=0, virtual_batch_size=2), ValueError, "axis cannot include 0"),
    (lambda: gc.layers.batch_normalization(image(), virtual_batch_size=2, adjustment=lambda s: (1, 2)), ValueError, "be specified"),
    (lambda: gc.layers.Layer().compute_output_shape([1]), TypeError, "Layer does not say what shape its outputs have"),
    (lambda: gc.nn.fused_batch_norm(image(), gc.ones([2]), gc.zeros([2])), ValueError, "scale must be a vector of an element for each"),
    (lambda: gc.nn.fused_batch_norm(image(2, 3), gc.ones([3]), gc.zeros([3])), ValueError, "x must be 4-dimensional, not of rank 2"),
    (lambda: gc.nn.fused_batch_norm(image(), gc.ones([3]), gc.zeros([3]), gc.ones([3])), ValueError, "must be None if is_training"),
    (lambda: gc.nn.fused_batch_norm(image(), gc.ones([3]), gc.zeros([3]), data_format="NCWH"), ValueError, '"NCWH" is not in the list'),
    (lambda: gc.nn.fused_batch_norm(image(), gc.ones([3], gc.float64), gc.zeros([3])), TypeError, "not match expected type of float32"),
])
def test_what_is_refused(call: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("training", [True, 1, np.True_, "constant"])
def test_training_as_a_value(training: Any) -> None:
    """A number and a constant are as good as a bool: one operation does all."""
    y = gc.layers.batch_normalization(image(), training=gc.constant(True) if training == "constant" else training)
    assert y.op.type == "FusedBatchNormV3"
    assert y.op.get_attr("is_training") is True


def test_many_steps_of_batch_normalisation_reach_the_moments() -> None:
    """The moving averages come to the mean and the unbiased variance of what is fed, and inference then normalises with them."""
    x = gc.placeholder(gc.float32, [None, 2, 2, 2])
    layer = gc.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    trained, inferred = layer(x, training=True), layer(x, training=False)
    batch = np.random.default_rng(0).normal([3, -5], [2, 0.5], (64, 2, 2, 2)).astype(np.float32)
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        for _ in range(200):
            session.run([trained, gc.get_collection(gc.GraphKeys.UPDATE_OPS)], {x: batch})
        mean, variance, found = session.run([layer.moving_mean, layer.moving_variance, inferred], {x: batch})
    wide = batch.astype(np.float64).reshape(-1, 2)
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-4)
    np.testing.assert_allclose(variance, wide.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(found, (batch - wide.mean(0)) / np.sqrt(wide.var(0, ddof=1) + 1e-3), atol=1e-3)
