"""Arguments of variables, variables in parts, templates, moving averages, the global step: what they refuse, and names that no recorded
program shows."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.moving_averages import assign_moving_average, weighted_moving_average


def parts(counts: Any, **settings: Any) -> Any:
    """A variable [6, 4] in as many parts along each axis as `counts` says."""
    return gc.get_variable("w", settings.pop("shape", [6, 4]), partitioner=lambda shape, dtype: counts, **settings)


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: gc.Variable(1.0, trainable=True, synchronization=gc.VariableSynchronization.ON_READ), ValueError,
     "ON_READ only for non-trainable variables"),
    (lambda: gc.Variable(1.0, constraint=3), ValueError, "The `constraint` argument must be a callable"),
    (lambda: gc.Variable([1.0], shape=[2]), ValueError, r"initial value's shape \(\(1,\)\) is not compatible with the explicitly supplied"),
    (lambda: gc.Variable(1.0, variable_def=object()), ValueError, "variable_def is not supported"),
    (lambda: parts([2, 2]), ValueError, r"Can only slice a variable along one dimension: shape: \[6, 4\], partitioning: \[2, 2\]"),
    (lambda: parts([2]), ValueError, "does not match the Variable's rank"),
    (lambda: parts([0, 1]), ValueError, "zero partitions for some axes"),
    (lambda: parts([7, 1]), ValueError, "7 parts of dimension 0, which has 6 elements"),
    (lambda: parts([], shape=[]), ValueError, "must be fully defined and of rank at least 1"),
    (lambda: parts([1, 1], shape=[None, 4]), ValueError, r"must be fully defined and of rank at least 1, but instead was \(\?, 4\)"),
    (lambda: parts([1, 1], shape=None, initializer=np.ones((6, 4))), ValueError, "needs an initializer function, not a value"),
    (lambda: gc.variable_axis_size_partitioner(0), ValueError, "must be positive"),
    (lambda: gc.variable_axis_size_partitioner(8, max_shards=0), ValueError, "max_shards must be positive"),
    (lambda: parts([1, 1], reuse=True), TypeError, "reuse"),
    (lambda: gc.train.ExponentialMovingAverage(0.9).apply([gc.Variable(1)]), TypeError, "must be half, float, or double: Variable:0"),
    (lambda: gc.train.assert_global_step(gc.constant(1.0)), TypeError, "does not have integer type"),
    (lambda: gc.train.assert_global_step(gc.constant([1])), TypeError, "is not scalar"),
    (lambda: gc.train.assert_global_step("x"), TypeError, "must be a Variable or Tensor"),
])
def test_what_is_refused(make: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_arguments_that_change_nothing_are_taken() -> None:
    v = gc.Variable([1, 2], None, None, True, "/cpu:0", "v", None, gc.float32, None, None, None, True,
                    gc.VariableSynchronization.ON_WRITE, gc.VariableAggregation.MEAN, [2])
    w = gc.get_variable("w", [2], gc.float32, gc.zeros_initializer(), None, None, None, "/cpu:0", None, True, True, None, None,
                        gc.VariableSynchronization.ON_READ)
    assert (v.dtype, v.aggregation, v.trainable) == (gc.float32, gc.VariableAggregation.MEAN, True)
    with pytest.raises(ValueError, match="ON_READ"):
        gc.get_variable("x", [2], trainable=True, synchronization=gc.VariableSynchronization.ON_READ)
    assert w.synchronization is gc.VariableSynchronization.ON_READ
    v.set_shape([2])
    with pytest.raises(ValueError, match="set_shape of tensor 'v:0'"):
        v.set_shape([3])


def test_on_read_means_not_trainable() -> None:
    local = gc.Variable(1.0, synchronization=gc.VariableSynchronization.ON_READ)
    assert not local.trainable
    assert gc.trainable_variables() == []


def test_older_names() -> None:
    v = gc.Variable(1.0)
    gc.get_local_variable("l", [])
    assert gc.all_variables() == [v]
    assert gc.initialize_variables([v]).type == gc.initialize_all_variables().type == gc.initialize_local_variables().type == "NoOp"
    with gc.variable_op_scope([], None, "default") as scope, gc.op_scope([v], None, "inner") as name:
        assert (scope.name, name) == ("default", "default/inner/")
    assert gc.no_regularizer(v) is None
    assert gc.initializers.global_variables is gc.global_variables_initializer


# Parts -----------------------------------------------------------------------------------------------------------------------------------

def test_parts_share_a_shape_and_a_name() -> None:
    whole = parts([4, 1], initializer=gc.initializers.glorot_uniform(seed=1))
    assert [(part.op.name, part.shape.as_list()) for part in whole] == [
        ("w/part_0", [2, 4]), ("w/part_1", [2, 4]), ("w/part_2", [1, 4]), ("w/part_3", [1, 4])]
    assert (len(whole), whole.shape.as_list(), whole.get_shape().as_list(), whole.name) == (4, [6, 4], [6, 4], "w")
    limits = {t.op.get_attr("value").item() for t in map(gc.get_default_graph().get_tensor_by_name,
                                                         [f"w/part_{n}/Initializer/random_uniform/max:0" for n in range(4)])}
    assert limits == {np.float32(np.sqrt(6 / 10)).item()}  # the fans of the whole
    with gc.variable_scope("", reuse=True):
        assert parts([4, 1]) is whole
        with pytest.raises(ValueError, match="No partitioner was provided, but a partitioned version of the variable was found: w/part_0"):
            gc.get_variable("w", [6, 4])
    gc.get_variable("single", [6, 4])
    with pytest.raises(ValueError, match="A partitioner was provided, but an unpartitioned version"), gc.variable_scope("", reuse=True):
        gc.get_variable("single", [6, 4], partitioner=gc.fixed_size_partitioner(2))
    with pytest.raises(ValueError, match="Incompatible type conversion requested to type 'int32'"):
        gc.convert_to_tensor(whole, gc.int32)
    with pytest.raises(TypeError, match="has no single tensor to assign to"):
        gc.assign(whole, gc.zeros([6, 4]))


def test_parts_are_trained() -> None:
    whole = parts([2, 1], initializer=gc.ones_initializer())
    slopes = np.arange(24, dtype=np.float32).reshape(6, 4)
    step = gc.train.GradientDescentOptimizer(0.5).minimize(gc.reduce_sum(whole * slopes))
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(whole.as_tensor()), 1 - 0.5 * slopes)


@pytest.mark.parametrize(("partitioner", "counts"), [
    (gc.fixed_size_partitioner(3), [3, 1]), (gc.fixed_size_partitioner(9, axis=1), [1, 4]),
    (gc.variable_axis_size_partitioner(64), [2, 1]), (gc.variable_axis_size_partitioner(16), [6, 1]),
    (gc.variable_axis_size_partitioner(16, max_shards=4), [4, 1]), (gc.variable_axis_size_partitioner(1), [6, 1]),
    (gc.min_max_variable_partitioner(4, min_slice_size=48), [2, 1]), (gc.min_max_variable_partitioner(4, min_slice_size=1), [4, 1]),
])
def test_partitioners(partitioner: Any, counts: list[int]) -> None:
    """Of a float32 [6, 4]: 96 bytes, 16 in a row."""
    assert partitioner(shape=gc.TensorShape([6, 4]), dtype=gc.float32) == counts
    with pytest.raises(ValueError, match="Can not partition variable along axis 2"):
        gc.min_max_variable_partitioner(4, axis=2)(gc.TensorShape([6, 4]), gc.float32)


# Templates, moving averages, the global step ---------------------------------------------------------------------------------------------

def test_templates_make_their_variables_once() -> None:
    template = gc.make_template("t", lambda more: [gc.get_variable(f"w{n}", []) for n in range(more)], unique_name_="mine")
    assert (template.variable_scope, template.variable_scope_name, template.variables) == (None, None, [])
    first, second = template(2), template(2)
    assert first == second == template.trainable_variables == template.global_variables
    assert (template.variable_scope_name, [v.name for v in first]) == ("mine", ["mine/w0:0", "mine/w1:0"])
    with pytest.raises(ValueError, match="Variable mine/w2 does not exist"):
        template(3)
    careless = gc.make_template("u", lambda: gc.Variable(1.0))
    careless()
    with pytest.raises(ValueError, match="New variable created when calling a template after the first time"):
        careless()


def test_a_template_may_take_its_scope_at_once() -> None:
    with gc.variable_scope("outer"):
        template = gc.make_template("t", lambda: gc.get_variable("w", []), create_scope_now_=True)
    assert template.variable_scope_name == "outer/t"
    assert template().name == template().name == "outer/t/w:0"


def test_moving_averages() -> None:
    v, x = gc.Variable([1.0, 2.0], name="v"), gc.placeholder(gc.float32, [2])
    plain = assign_moving_average(v, x, 0.75, zero_debias=False)
    weighted = weighted_moving_average(x, 0.5, gc.constant([1.0, 3.0]), name="mean")
    assert (plain.op.name, weighted.op.name) == ("AssignMovingAvg", "mean/mean")
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        np.testing.assert_allclose(session.run(plain, {x: [5.0, 6.0]}), [2.0, 3.0])
        for value in ([2.0, 4.0], [6.0, 0.0]):
            found = session.run(weighted, {x: value})
        np.testing.assert_allclose(found, [(2 * 0.25 + 6 * 0.5) / 0.75, 4 * 0.25 / 0.75], rtol=1e-6)


def test_names_of_moving_averages() -> None:
    v, w = gc.Variable(1.0, name="v"), gc.Variable(1.0, name="w", trainable=False)
    average = gc.train.ExponentialMovingAverage(0.9)
    assert (average.average(v), average.average_name(v)) == (None, "v/ExponentialMovingAverage")
    average.apply()
    assert gc.moving_average_variables() == [v]
    shadow = average.average(v)
    assert shadow is not None
    assert (shadow.op.name, shadow.trainable) == ("v/ExponentialMovingAverage", False)
    assert average.variables_to_restore() == {"v/ExponentialMovingAverage": v, "w": w}
    average.apply([v])  # again: the same shadow
    assert average.average(v) is shadow


def test_global_step() -> None:
    assert gc.train.get_global_step() is None
    step = gc.train.create_global_step()
    assert (step.op.name, step.dtype, gc.train.get_global_step()) == ("global_step", gc.int64, step)
    assert gc.get_collection(gc.GraphKeys.GLOBAL_STEP) == [step]
    other = gc.Graph()
    assert gc.train.get_or_create_global_step(other).graph is other
    with gc.Session() as session:
        session.run(step.initializer)
        session.run(step.assign_add(3))
        assert gc.train.global_step(session, step) == 3
    gc.add_to_collection(gc.GraphKeys.GLOBAL_STEP, gc.constant(1))
    assert gc.train.get_global_step() is None  # several are none


def test_a_tensor_of_that_name_is_the_global_step() -> None:
    step = gc.constant(3, name="global_step")
    assert gc.train.get_global_step() is step
