"""What runs print (Print, print), the texts of values, and operations that hand values on: tuple, placeholder_with_default.

Texts are those that TensorFlow 1.15 prints for the same lines.
"""
from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import InvalidArgumentError
from graphc.ops.printing import element_text, in_full, summary

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")


# Prints ---------------------------------------------------------------------------------------------------------------------------------

def test_print(capfd: pytest.CaptureFixture[str]) -> None:
    a = gc.constant([1.0, 2, 3, 4])
    y = gc.Print(a, [a, gc.constant([[1, 2], [3, 4]]), a[0], "text", gc.constant([True])], message="msg: ", first_n=2)
    assert (y.op.type, y.shape.as_list()) == ("Print", [4])
    with gc.Session() as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y), [1, 2, 3, 4])
        session.run(gc.Print(a, [a], summarize=-1))
        session.run([gc.Print(a, [], "one"), gc.Print(a, [], "two")])
        assert capfd.readouterr().err.splitlines() == ["msg: [1 2 3...][[1 2][3...]...][1][text][1]"] * 2 + ["[1 2 3 4]", "one", "two"]
        x = gc.placeholder(gc.float32, [None])
        (g,) = gc.gradients(gc.Print(x * x, [x], "g") * 2.0, x)
        np.testing.assert_array_equal(session.run(g, {x: [1, 2]}), [4, 8])
        assert capfd.readouterr().err in ("", "g[1 2]\n")


@pytest.mark.parametrize(("argument", "value", "kind"), [("first_n", "a", "int"), ("summarize", 1.5, "int"), ("message", 3, "string")])
def test_print_refuses_other_types(argument: str, value: Any, kind: str) -> None:
    x = gc.constant([1.0])
    with pytest.raises(TypeError, match=f"Expected {kind} for argument '{argument}' not {value!r}"):
        gc.Print(x, [x], **{argument: value})


def test_print_v2(capsys: pytest.CaptureFixture[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = gc.constant([1.0, 2.0])
    with gc.Session() as session:
        def printed(*inputs: Any, **options: Any) -> str:
            operation = gc.print(*inputs, **options)
            assert operation.type == "PrintV2"
            session.run(operation)
            return capsys.readouterr().err
        assert printed(gc.range(10)) == "[0 1 2 ... 7 8 9]\n"
        assert printed(gc.range(10), summarize=-1) == "[0 1 2 3 4 5 6 7 8 9]\n"
        assert printed(x, "a", "b", sep="|", end="!\n") == "[1 2]|a|b!\n"
        assert printed(gc.reshape(gc.range(8), [2, 2, 2]), "abc", 3.5, [1, gc.constant(2.0)], {"b": "s", "a": gc.constant([True])}) == (
            "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]] abc 3.5 [1, 2] {'a': [1], 'b': 's'}\n")
        session.run(gc.print(x, output_stream=sys.stdout))
        assert capsys.readouterr().out == "[1 2]\n"
        for _ in range(2):
            session.run(gc.print(x, output_stream=f"file://{tmp_path}/log"))
        assert (tmp_path / "log").read_text() == "[1 2]\n" * 2
        with caplog.at_level(logging.WARNING, "graphc"):
            session.run(gc.print("careful", x, output_stream=logging.WARNING))
        assert caplog.messages == ["careful [1 2]"]
    with pytest.raises(ValueError, match=r"Unsupported output stream.*'foo'"):
        gc.print(x, output_stream="foo")
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments for tf\.print: \{'foo': 3\}"):
        gc.print(x, foo=3)


def test_prints_stand_in_the_order_of_declaration_and_only_when_a_run_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    first = gc.print("first", gc.shape(x))
    chosen = gc.boolean_mask(x, x[:, 0] > 0)
    second = gc.print("second", gc.shape(chosen))
    with gc.control_dependencies([first, second, gc.assert_less(x, 9.0)]):
        y = gc.identity(chosen)
    with gc.Session() as session:
        session.run(y, {x: [[1, 2, 3], [-1, 0, 0]]})
        assert capsys.readouterr().err == "first [2 3]\nsecond [1 3]\n"
        with pytest.raises(InvalidArgumentError):
            session.run(y, {x: [[1, 2, 30], [-1, 0, 0]]})
        assert capsys.readouterr().err == ""


def test_texts_of_values() -> None:
    assert [element_text(v) for v in (np.float32(0.1), np.float32(1 / 3), np.float64(1 / 3), np.float32(1e10), np.float32("nan"),
                                      np.float32("-inf"), np.bool_(True), np.int8(-3), np.float16(1 / 3), np.complex64(3 + 2j))] == [
        "0.1", "0.333333343", "0.33333333333333331", "1e+10", "nan", "-inf", "1", "-3", "0.333251953", "(3,2)"]
    cube = np.arange(8).reshape(2, 2, 2)
    assert summary(cube, cube.shape, 3) == "[[0 1][2...]]..."
    assert summary(cube, cube.shape, -1) == "[[0 1][2 3]][[4 5][6 7]]"
    assert summary(np.array(7), (), 3) == "7"
    assert summary(cube, cube.shape, 0) == "..."
    wide = np.arange(64).reshape(8, 8)
    assert in_full(wide, 1) == "[[0 ... 7]\n ...\n [56 ... 63]]"


# Values handed on -----------------------------------------------------------------------------------------------------------------------

def test_a_placeholder_with_a_default() -> None:
    x = gc.placeholder_with_default([1.0, 2.0], [None], name="x")
    assert (x.op.type, x.shape.as_list()) == ("PlaceholderWithDefault", [None])
    total = gc.reduce_sum(x)
    with gc.Session() as session:
        assert session.run(total) == 3
        assert session.run(total, {x: [1, 2, 3, 4]}) == 10
        assert session.run(total) == 3
        with pytest.raises(ValueError, match="Cannot feed value of shape"):
            session.run(total, {x: [[1.0]]})
    assert gc.placeholder_with_default(3, None).shape.ndims is None
    with pytest.raises(ValueError, match=r"must be equal|not equal|[Ii]ncompatible"):
        gc.placeholder_with_default([1.0, 2.0], [3])


def test_a_tuple_waits_for_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    x, seen = gc.placeholder(gc.float32, [None], name="x"), gc.Variable(0, name="seen")
    a, none, b = gc.tuple([x * 2.0, None, gc.check_numerics(gc.log(x), "log")], name="both", control_inputs=[gc.assign_add(seen, 1).op])
    assert none is None
    assert (a.name, b.name) == ("both/control_dependency:0", "both/control_dependency_1:0")
    with gc.Session() as session:
        session.run(seen.initializer)
        np.testing.assert_array_equal(session.run(a, {x: [1, 2]}), [2, 4])
        with pytest.raises(InvalidArgumentError, match="log : Tensor had NaN values"):
            session.run(a, {x: [-1]})
        assert session.run(seen) == 1
    with pytest.raises(ValueError, match="Must have at least one Tensor"):
        gc.tuple([None])
    with pytest.raises(TypeError):
        gc.tuple([x], control_inputs=3)  # type: ignore[arg-type]  # the point
