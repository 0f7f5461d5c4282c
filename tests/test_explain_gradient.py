"""`explain_gradient`: every way to lose a gradient is named, with the operation and the user's line."""
from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import graphc as gc

Build = Callable[[gc.Tensor], gc.Tensor]


@gc.RegisterGradient("TestExplained")
def _explained(op: gc.Operation, grad: gc.Tensor) -> gc.Tensor:
    return grad


gc.NotDifferentiable("TestExplainedNothing")


def _under(name: str) -> Build:
    def build(x: gc.Tensor) -> gc.Tensor:
        with gc.get_default_graph().gradient_override_map({"Exp": name}):
            return gc.exp(x) * 2.0
    return build


LOST: dict[str, tuple[Build, str]] = {
    "stopped": (lambda x: gc.stop_gradient(x) * 2.0, r"it ends in 'StopGradient' \(StopGradient, .*:\d+\), which is there"),
    "an integer": (lambda x: gc.cast(gc.cast(x, gc.int32), gc.float32), r"'Cast' \(Cast, .*\): its result is int32, and only floating"),
    "argmax": (lambda x: gc.cast(gc.argmax(x, 0), gc.float32) + 1.0, r"'ArgMax' \(ArgMax, .*\): its result is int64"),
    "its shape": (lambda x: gc.zeros_like(x) + 1.0, r"'zeros_like' \(ZerosLike, .*\): its result does not change with this input"),
    "not differentiable": (_under("TestExplainedNothing"), r"'Exp' .*: NotDifferentiable was said of 'TestExplainedNothing'"),
    "rounding": (lambda x: gc.round(x) * 3.0, r"'Round' \(Round, .*\): round_nearest_even has no gradient"),
}


@pytest.mark.parametrize("name", LOST)
def test_lost(name: str) -> None:
    build, text = LOST[name]
    x = gc.placeholder(gc.float32, [None], name="x")
    y = build(x)
    assert gc.gradients(y, x) == [None]
    found = gc.explain_gradient(y, x)
    assert found.startswith("No gradient leads from 'x:0' (Placeholder, test_explain_gradient.py:")
    assert_matches(text, found)


def assert_matches(text: str, found: str) -> None:
    assert re.search(text, found), found


@pytest.mark.parametrize("build", [lambda x: x * 2.0, lambda x: x, lambda x: gc.stop_gradient(x) * x, _under("TestExplained")])
def test_led(build: Build) -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    y = build(x)
    assert gc.gradients(y, x) != [None]
    assert gc.explain_gradient(y, x).startswith("A gradient leads from 'x:0'")


def test_through_a_variable_and_after_it() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    v = gc.Variable([0.0, 0.0, 0.0], name="v")
    with gc.control_dependencies([v.assign(x * 2.0)]):
        y = v.read_value() * 3.0
    assert gc.gradients(y, x) == [None]
    assert_matches(r"its value goes through a variable, 'v', which 'Assign' \(.*:\d+\) writes", gc.explain_gradient(y, x))
    with gc.control_dependencies([x * 5.0]):
        late = gc.constant(1.0) + 1.0
    assert_matches("only runs after it, by a control input", gc.explain_gradient(late, x))


def test_apart_and_integers() -> None:
    x, n = gc.placeholder(gc.float32, [3], name="x"), gc.placeholder(gc.int32, [3], name="n")
    assert "nothing that is computed from it is used" in gc.explain_gradient(gc.constant(1.0), x)
    assert "n:0 is int32: only floating tensors have gradients" in gc.explain_gradient(gc.cast(n, gc.float32), n)
