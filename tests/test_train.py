"""Optimizers: three steps against TensorFlow 1.15.5's own numbers and names, and training that does not depend on threads or pipeline."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import digits
from graphc.models import mlp

# What TensorFlow 1.15.5 prints after three steps of minimize(sum(w*w*[1,2,3]) + b*b*sum(w)), w from [1,-2,3], b from 0.5: w, b; name of the
# step; slots; all variables; the optimizer's own variables.
TF1: dict[str, tuple[Callable[[], gc.train.Optimizer], list[float], float, list[str], list[str], list[str]]] = {
    "GradientDescent": (lambda: gc.train.GradientDescentOptimizer(0.01), [0.93439842, -1.77612251, 2.48524259], 0.4458172341035122, [],
                        [], []),
    "Momentum": (lambda: gc.train.MomentumOptimizer(0.01, 0.9), [0.87682291, -1.57908803, 2.0289671], 0.3970892716018642, ["momentum"],
                 ["w/Momentum:0", "b/Momentum:0"], ["b/Momentum:0", "w/Momentum:0"]),
    "Momentum, Nesterov": (lambda: gc.train.MomentumOptimizer(0.01, 0.9, use_nesterov=True), [0.82753731, -1.41605027, 1.68123394],
                           0.3644323196284058, ["momentum"], ["w/Momentum:0", "b/Momentum:0"], ["b/Momentum:0", "w/Momentum:0"]),
    "Adam": (lambda: gc.train.AdamOptimizer(0.1), [0.70223686, -1.70048923, 2.70043808], 0.20645966408676744, ["m", "v"],
             ["beta1_power:0", "beta2_power:0", "w/Adam:0", "w/Adam_1:0", "b/Adam:0", "b/Adam_1:0"],
             ["b/Adam:0", "b/Adam_1:0", "beta1_power:0", "beta2_power:0", "w/Adam:0", "w/Adam_1:0"]),
}


@pytest.mark.parametrize("name", TF1)
@pytest.mark.parametrize("pipeline", ["default", "unfused", "none"])
def test_three_steps_as_tensorflow(name: str, pipeline: str) -> None:
    make, w_after, b_after, slots, made, own = TF1[name]
    w = gc.Variable(np.array([1.0, -2.0, 3.0]), name="w")
    b = gc.Variable(np.array(0.5), name="b")
    loss = gc.reduce_sum(w * w * [1.0, 2.0, 3.0]) + b * b * gc.reduce_sum(w)
    step_number = gc.Variable(0, trainable=False, name="global_step")
    optimizer = make()
    step = optimizer.minimize(loss, global_step=step_number)
    assert (step.name, step.type) == (name.split(",")[0], "AssignAdd")
    assert [v.name for v in gc.global_variables()] == ["w:0", "b:0", "global_step:0", *made]
    assert optimizer.get_slot_names() == slots
    assert [v.name for v in optimizer.variables()] == own
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as sess:
        sess.run(gc.global_variables_initializer())
        for _ in range(3):
            sess.run(step)
        found_w, found_b, number = sess.run([w, b, step_number])
    np.testing.assert_allclose(found_w, w_after, rtol=1e-7)
    np.testing.assert_allclose(found_b, b_after, rtol=1e-12)
    assert number == 3


def test_compute_then_clip_then_apply() -> None:
    w = gc.Variable([3.0, 4.0], name="w")
    optimizer = gc.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(gc.reduce_sum(w * w) / 2.0)
    clipped = [(gc.clip_by_norm(g, 1.0), v) for g, v in pairs]
    step = optimizer.apply_gradients(clipped)
    assert step.type == "NoOp"
    with gc.Session() as sess:
        sess.run(gc.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [3 - 0.6, 4 - 0.8], rtol=1e-6)


def test_learning_rate_may_be_a_placeholder_or_a_function() -> None:
    w = gc.Variable(1.0, name="w")
    rate = gc.placeholder(gc.float32, [])
    fed = gc.train.GradientDescentOptimizer(rate).minimize(w * 2.0)
    called = gc.train.GradientDescentOptimizer(lambda: 0.25).minimize(w * 2.0)
    with gc.Session() as sess:
        sess.run(gc.global_variables_initializer())
        sess.run(fed, {rate: 0.125})
        assert sess.run(w) == 0.75
        sess.run(called)
        assert sess.run(w) == 0.25


def test_var_list_frozen_variables_and_constraints() -> None:
    a = gc.Variable(1.0, name="a")
    b = gc.Variable(1.0, name="b", constraint=lambda v: gc.maximum(v, 0.95))
    frozen = gc.Variable(1.0, name="frozen", trainable=False)
    loss = a * b * frozen
    only_a = gc.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=[a])
    both = gc.train.GradientDescentOptimizer(0.1).minimize(loss)
    with gc.Session() as sess:
        sess.run(gc.global_variables_initializer())
        sess.run(only_a)
        np.testing.assert_allclose(sess.run([a, b, frozen]), [0.9, 1.0, 1.0], rtol=1e-6)
        sess.run(both)
        np.testing.assert_allclose(sess.run([a, b, frozen]), [0.8, 0.95, 1.0], rtol=1e-6)


def test_mistakes_are_named() -> None:
    a, b = gc.Variable(1.0, name="a"), gc.Variable(1.0, name="b")
    optimizer = gc.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your graph"):
        optimizer.minimize(a * 2.0, var_list=[b])
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply_gradients([(None, a)])
    with pytest.raises(ValueError, match="No variables provided"):
        optimizer.apply_gradients([])
    with pytest.raises(TypeError, match="Argument is not a variable"):
        optimizer.compute_gradients(a * 2.0, var_list=[a * 1.0])
    with pytest.raises(ValueError, match="gate_gradients must be one of"):
        optimizer.compute_gradients(a * 2.0, gate_gradients=7)
    with pytest.raises(ValueError, match="Must specify the optimizer name"):
        gc.train.GradientDescentOptimizer(0.1, name="")


def train_digits(steps: int, **config: Any) -> tuple[list[np.float32], np.ndarray]:
    """Losses of `steps` training steps on the digits from one fixed start, and the first layer's final weights."""
    gc.reset_default_graph()
    gc.set_random_seed(7)
    model = mlp.declare()
    data = digits.split()
    losses = []
    with gc.Session(config=gc.ConfigProto(**config)) as sess:
        sess.run(gc.global_variables_initializer())
        for number in range(steps):
            batch = slice(number % 20 * 64, number % 20 * 64 + 64)
            feeds = {model.images: data.train_images[batch], model.labels: data.train_labels[batch]}
            losses.append(sess.run([model.loss, model.train], feeds)[0])
        return losses, sess.run("hidden/kernel:0")


def test_loss_is_the_same_bit_for_bit_on_one_and_two_threads() -> None:
    one, weights_one = train_digits(100, intra_op_parallelism_threads=1)
    two, weights_two = train_digits(100, intra_op_parallelism_threads=2)
    assert [float(x) for x in one] == [float(x) for x in two]
    assert weights_one.tobytes() == weights_two.tobytes()
    assert one[-1] < one[0] / 5


def test_fused_training_agrees_with_unfused() -> None:
    fused, weights_fused = train_digits(100)
    for pipeline in ("unfused", "none"):
        other, weights = train_digits(100, pipeline=pipeline)
        np.testing.assert_allclose(fused, other, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(weights_fused, weights, atol=2e-3)


def test_the_rows_of_an_embedding_are_updated_where_they_are() -> None:
    """The rows looked up are read before any is written, by a kernel of their own: one kernel for both would need a copy of the table."""
    table = np.random.default_rng(0).standard_normal((500, 8), np.float32)
    held, ids = gc.Variable(table, name="table"), np.array([3, 7, 3, 499])
    loss = gc.reduce_sum(gc.square(gc.nn.embedding_lookup(held, ids))) / 2.0
    step = gc.train.GradientDescentOptimizer(0.25).minimize(loss)
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        memory = session.compile(step).memory
        session.run(step)
        found = session.run(held)
    want = table.copy()
    np.subtract.at(want, ids, 0.25 * table[ids])
    np.testing.assert_allclose(found, want, rtol=1e-6)
    assert memory.in_place == ("table",)
    assert memory.arena_bytes <= 4 * 8 * 4 + 64
