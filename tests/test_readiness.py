"""Which variables have a value: asked, reported, asserted and counted while a graph runs."""
from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.core import errors


def test_a_variable_has_a_value_from_its_first_assignment_on() -> None:
    v, w = gc.Variable(1.0, name="v"), gc.Variable([1, 2], name="w")
    asked = [gc.is_variable_initialized(v), gc.is_variable_initialized(w)]
    with gc.Session() as session:
        assert session.run(asked) == [False, False]
        session.run(v.initializer)
        assert session.run(asked) == [True, False]
        w.load([3, 4], session)
        assert session.run(asked) == [True, True]
        later = gc.is_variable_initialized(w)  # declared after the variable had its value
        assert session.run(later)
        assert session.list_variables() == ["v", "w"]
    with gc.Session() as another:
        assert another.run(asked) == [False, False]


def test_within_a_run_the_order_of_declaration_counts() -> None:
    v = gc.Variable(1.0)
    before = gc.is_variable_initialized(v)
    assigned = v.assign(2.0)
    after = gc.is_variable_initialized(v)
    with gc.Session() as session:
        assert session.run([before, after, assigned]) == [False, True, 2.0]
        assert session.run([before, after]) == [True, True]


def test_a_value_may_depend_on_it() -> None:
    v = gc.Variable([1.0, 2.0])
    chosen = gc.where(gc.is_variable_initialized(v), gc.constant([1, 1]), gc.constant([0, 0]))
    with gc.Session() as session:
        np.testing.assert_array_equal(session.run(chosen), [0, 0])
        session.run(v.initializer)
        np.testing.assert_array_equal(session.run(chosen), [1, 1])


def test_names_of_those_without_a_value() -> None:
    v, w = gc.Variable(1.0, name="v"), gc.get_local_variable("w", [], initializer=gc.zeros_initializer())
    report, of_v = gc.report_uninitialized_variables(), gc.report_uninitialized_variables([v])
    with gc.Session() as session:
        assert session.run(report).tolist() == [b"v", b"w"]
        session.run(w.initializer)
        found, given = session.run({"names": report, "w": w}).values()
        assert (found.tolist(), given) == ([b"v"], 0.0)
        session.run(v.initializer)
        assert session.run([report, of_v])[0].shape == (0,)
        assert of_v.eval(session).tolist() == []
        with session.as_default():
            assert report.eval().tolist() == []
    with pytest.raises(ValueError, match="no default session is registered"):
        report.eval()


def test_assertion() -> None:
    assert gc.assert_variables_initialized() is None
    v, w = gc.Variable(1.0, name="v"), gc.Variable(1.0, name="w")
    every, of_w = gc.assert_variables_initialized(), gc.assert_variables_initialized([w])
    with gc.control_dependencies([every]):
        written = w.assign_add(1.0)
    with gc.Session() as session:
        with pytest.raises(errors.FailedPreconditionError, match="Attempting to use uninitialized value v"):
            session.run(every)
        session.run(w.initializer)
        session.run(of_w)
        with pytest.raises(errors.FailedPreconditionError, match="uninitialized value v"):
            session.run(written)
        assert session.run(w) == 1.0
        session.run(v.initializer)
        assert session.run(written) == 2.0


def test_counts_end() -> None:
    n = gc.Variable(3, name="n")
    count, other = n.count_up_to(5), gc.count_up_to(n, 7, name="other")
    assert (count.op.type, other.name, count.dtype) == ("CountUpTo", "other:0", gc.int32)
    with gc.Session() as session:
        session.run(n.initializer)
        assert [session.run(count) for _ in range(2)] == [3, 4]
        with pytest.raises(errors.OutOfRangeError, match="Reached limit of 5"):
            session.run(count)
        assert session.run(other) == 5
        assert session.run(n) == 6
    with pytest.raises(TypeError, match="CountUpTo needs a scalar Variable of integers"):
        gc.Variable(1.0).count_up_to(3)
