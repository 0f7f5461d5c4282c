"""py_func and numpy_function: functions of Python's that a run calls between its stages.

Errors are of the kinds, and have the words, that TensorFlow 1.15 gives.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core import errors
from graphc.runtime.staged import StagedExecutable
from tests.cuda_worker import run as run_on_fake_gpu

VALUES = np.array([1, 2, 3], np.float32)


def test_results_go_on() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    doubled = gc.py_func(lambda a: a * 2, [x * 1.5], gc.float32)
    assert (doubled.op.type, doubled.name, doubled.shape.ndims) == ("PyFunc", "PyFunc:0", None)
    doubled.set_shape([None])
    total = gc.reduce_sum(doubled) + gc.reduce_sum(x)
    with gc.Session() as session:
        for count in (3, 2, 0, 3):
            assert session.run(total, {x: VALUES[:count]}) == pytest.approx(VALUES[:count].sum() * 4)
        np.testing.assert_array_equal(session.run([doubled, x], {x: VALUES})[0], VALUES * 3)


def test_several_results_of_any_shape_and_type() -> None:
    x = gc.placeholder(gc.float32, [None])
    rows, number, flag = gc.py_func(lambda a: (np.outer(a, a), np.int64(len(a)), bool(a.any())), [x], [gc.float32, gc.int64, gc.bool])
    again = gc.reshape(rows, gc.stack([number * number, 1]))
    with gc.Session() as session:
        for count in (3, 1, 2):
            found = session.run([rows, number, flag, again], {x: VALUES[:count]})
            np.testing.assert_array_equal(found[0], np.outer(VALUES[:count], VALUES[:count]))
            assert (found[1], found[2], found[3].shape) == (count, True, (count * count, 1))


def test_scalars_come_as_numbers_of_numpy() -> None:
    seen: list[Any] = []

    def look(*arguments: Any) -> None:
        seen.extend(arguments)

    operation = gc.py_func(look, [gc.constant(3.0), gc.constant([1, 2]), True], [])
    assert isinstance(operation, gc.Operation)
    with gc.Session() as session:
        assert session.run(operation) is None
    assert [type(each) for each in seen] == [np.float32, np.ndarray, np.bool_]
    assert seen[1].flags.writeable


def test_each_is_called_once_a_run_and_only_where_it_is_needed() -> None:
    calls: list[str] = []

    def note(name: str) -> gc.Tensor:
        def function(a: Any) -> Any:
            calls.append(name)
            return a
        return gc.py_func(function, [x], gc.float32, name=name)

    x = gc.placeholder(gc.float32, [None])
    first = note("first")
    with gc.control_dependencies([first]):
        second = note("second")
    third = gc.numpy_function(lambda a: (calls.append("third"), a)[1], [second + 0.0], gc.float32)
    free = x * 2.0
    with gc.Session() as session:
        session.run(free, {x: VALUES})
        assert calls == []
        session.run([third, third * first, second], {x: VALUES})
        assert calls == ["first", "second", "third"]
        session.compile([third, first], {x: VALUES})  # calls nothing
        assert calls == ["first", "second", "third"]


def test_the_stages_are_shown() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.py_func(lambda a: a[a > 1], [gc.exp(x)], gc.float32, name="chosen")
    with gc.Session() as session:
        session.run(y + 1.0, {x: VALUES})
        made = session.compile(gc.get_default_graph().get_tensor_by_name("add:0"), {x: VALUES})
    assert isinstance(made, StagedExecutable)
    assert made.plan_text.splitlines() == [
        "// stage 0: takes x:0; gives what chosen calls Python with",
        "// stage 1 (chosen gave f32[3]): takes chosen:0; gives the results"]


def test_sizes_of_results_need_no_more_compilation_than_shapes_of_feeds() -> None:
    x = gc.placeholder(gc.float32, [None])
    y = gc.py_func(lambda a: a + 1, [x], gc.float32) * 2.0
    with gc.Session() as session:
        for value in range(5):
            assert session.run(y, {x: [value]}) == [value * 2 + 2]
        made = session.compile(y, {x: [0.0]})
        assert isinstance(made, StagedExecutable)
        assert made.parts[-1].sizes == 1


def test_training_beside_a_function() -> None:
    """No gradient goes through it; what is written is written once it has been called."""
    w = gc.Variable(2.0, name="w")
    x = gc.placeholder(gc.float32, [None])
    scale = gc.py_func(lambda a: np.float32(a.max()), [x * w], gc.float32)
    scale.set_shape([])
    loss = gc.reduce_sum(x * w) * scale
    assert gc.gradients(scale, w) == [None]
    step = gc.train.GradientDescentOptimizer(0.01).minimize(loss)
    with gc.Session() as session:
        session.run(w.initializer)
        assert session.run([loss, step], {x: VALUES})[0] == 72
        assert session.run(w) == pytest.approx(2 - 0.01 * 6 * 6)


def test_a_gradient_of_the_users_own() -> None:
    @gc.RegisterGradient("GradientOfPyFunc")
    def _gradient(op: gc.Operation, g: gc.Tensor) -> gc.Tensor:
        return g * op.inputs[0]

    x = gc.placeholder(gc.float32, [None])
    with gc.get_default_graph().gradient_override_map({"PyFunc": "GradientOfPyFunc"}):
        y = gc.py_func(lambda a: a * a / 2, [x], gc.float32)
    with gc.Session() as session:
        np.testing.assert_array_equal(session.run(gc.gradients(y, x), {x: VALUES})[0], VALUES)


@pytest.mark.parametrize(("raised", "kind"), [
    (ValueError, errors.InvalidArgumentError), (TypeError, errors.InvalidArgumentError), (RuntimeError, errors.UnknownError),
    (StopIteration, errors.OutOfRangeError), (MemoryError, errors.ResourceExhaustedError),
    (NotImplementedError, errors.UnimplementedError), (KeyError, errors.UnknownError)])
def test_errors_of_the_function(raised: type[Exception], kind: type[Exception]) -> None:
    def function(a: Any) -> Any:
        raise raised("boom")

    total = gc.Variable(0.0)
    x = gc.placeholder(gc.float32, [None])
    with gc.control_dependencies([gc.assign_add(total, 1.0)]):
        y = gc.py_func(function, [x], gc.float32, name="mine")
    with gc.Session() as session:
        session.run(total.initializer)
        with pytest.raises(kind, match=rf"{raised.__name__}: '?boom'?\n  in operation 'mine' \(PyFunc\)\n  declared at") as caught:
            session.run(y, {x: VALUES})
        assert isinstance(caught.value.__cause__, raised)
        assert session.run(total) == 0


@pytest.mark.parametrize(("function", "types", "words"), [
    (lambda a: a.astype(np.float64), gc.float32, "0-th value returned by f is float64, but expects float32"),
    (lambda a: 3, gc.int32, "0-th value returned by f is int64, but expects int32"),
    (lambda a: (a, 2.5), [gc.float32, gc.float32], "1-th value returned by f is float64, but expects float32"),
    (lambda a: "text", gc.int8, "0-th value returned by f is <U4, but expects int8"),
    (lambda a: (a, a), gc.float32, "f returns 2 values, but expects to see 1 values."),
    (lambda a: a, [gc.float32, gc.float32], "f returns 1 values, but expects to see 2 values."),
    (lambda a: None, gc.float32, "f returns 0 values, but expects to see 1 values.")])
def test_results_that_were_not_declared(function: Any, types: Any, words: str) -> None:
    x = gc.placeholder(gc.float32, [None])
    with gc.Session() as session, pytest.raises(errors.InvalidArgumentError) as caught:
        session.run(gc.py_func(function, [x], types, name="f"), {x: VALUES})
    assert caught.value.message.splitlines()[0] == words


def test_what_is_no_function() -> None:
    with pytest.raises(ValueError, match="Expected func to be callable, got func of type <class 'int'>"):
        gc.py_func(3, [], gc.float32)  # type: ignore[arg-type]  # the point


def test_a_function_may_run_other_things_but_none_in_stages() -> None:
    """Which would overwrite what the run keeps for its later stages."""
    plain = gc.constant(5.0) * 2.0
    in_stages = gc.reduce_sum(gc.boolean_mask(gc.exp(gc.random_uniform([8])), gc.random_uniform([8]) < 0.5))
    x = gc.placeholder(gc.float32, [None])
    squared = gc.exp(x)
    y = gc.py_func(lambda a: session.run(asked, {x: VALUES}) + a, [squared], gc.float32) + squared
    with gc.Session() as session, gc.Session() as another:
        for asked in (plain, in_stages, y, plain):
            if asked is plain:
                np.testing.assert_allclose(session.run(y, {x: VALUES}), 10 + 2 * np.exp(VALUES), rtol=1e-6)
            else:
                with pytest.raises(errors.UnknownError, match=r"RuntimeError: .* cannot begin another run in stages in the same session"):
                    session.run(y, {x: VALUES})
        apart = gc.py_func(lambda a: another.run(in_stages) + a, [squared], gc.float32) - squared
        assert np.ptp(session.run(apart, {x: VALUES})) < 1e-4


def test_on_several_devices() -> None:
    x = gc.placeholder(gc.float32, [None])
    with gc.device("/cpu:1"):
        squared = x * x
        y = gc.py_func(lambda a: a + 1, [squared], gc.float32)
        last = y * squared
    with gc.Session(config=gc.ConfigProto(device_count={"CPU": 2})) as session:
        np.testing.assert_array_equal(session.run(last, {x: VALUES}), (VALUES ** 2 + 1) * VALUES ** 2)


def test_on_a_gpu() -> None:
    run_on_fake_gpu("""
    x = gc.placeholder(gc.float32, [None])
    squared = gc.exp(x)
    last = gc.py_func(lambda a: a + 1, [squared], gc.float32) * squared
    values = np.array([1, 2, 3], np.float32)
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        for _ in range(3):
            np.testing.assert_allclose(session.run(last, {x: values}), (np.exp(values) + 1) * np.exp(values), rtol=1e-5)
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)
