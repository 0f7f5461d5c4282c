"""Gradients that users write: `RegisterGradient`, `gradient_override_map`, `custom_gradient`. Errors are worded as TF 1.15.5's."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc


@gc.RegisterGradient("TestTimesFive")
def _times_five(op: gc.Operation, grad: gc.Tensor) -> gc.Tensor:
    return grad * 5.0 + op.inputs[0] * 0.0


@gc.RegisterGradient("TestTwoForOne")
def _two_for_one(op: gc.Operation, grad: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
    return grad, grad


@gc.RegisterGradient("TestWrongShape")
def _wrong_shape(op: gc.Operation, grad: gc.Tensor) -> gc.Tensor:
    return gc.constant([1.0, 2.0, 3.0, 4.0])


@gc.RegisterGradient("TestFirstOnly")
def _first_only(op: gc.Operation, grad: gc.Tensor) -> list[gc.Tensor | None]:
    return [grad * 7.0, None]


gc.NotDifferentiable("TestNothing")


def overridden(name: str) -> tuple[gc.Tensor, gc.Tensor]:
    x = gc.placeholder(gc.float32, [3], name="x")
    with gc.get_default_graph().gradient_override_map({"Square": name}):
        return x, gc.square(x)


def run(fetches: Any, feeds: Any = None) -> Any:
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        return session.run(fetches, feeds)


def test_an_override_takes_the_place_of_the_gradient_and_keeps_the_value() -> None:
    x, y = overridden("TestTimesFive")
    (g,) = gc.gradients(y, x)
    value, slope = run([y, g], {x: [1, 2, 3]})
    np.testing.assert_array_equal(value, [1, 4, 9])
    np.testing.assert_array_equal(slope, [5, 5, 5])
    assert g.op.name.startswith("gradients/Square_grad/")


def test_outside_the_map_the_own_gradient_stays() -> None:
    x, _ = overridden("TestTimesFive")
    (g,) = gc.gradients(gc.square(x), x)
    np.testing.assert_array_equal(run(g, {x: [1, 2, 3]}), [2, 4, 6])


def test_inner_maps_add_to_outer_ones() -> None:
    x = gc.placeholder(gc.float32, [2])
    graph = gc.get_default_graph()
    with graph.gradient_override_map({"Square": "TestTimesFive"}), graph.gradient_override_map({"Exp": "TestNothing"}):
        y = gc.square(x) + gc.exp(x)
    (g,) = gc.gradients(y, x)
    np.testing.assert_array_equal(run(g, {x: [1, 2]}), [5, 5])


def test_not_differentiable_and_none() -> None:
    x, y = overridden("TestNothing")
    assert gc.gradients(y, x) == [None]
    a, b = gc.placeholder(gc.float32, []), gc.placeholder(gc.float32, [])
    with gc.get_default_graph().gradient_override_map({"Mul": "TestFirstOnly"}):
        c = a * b
    by_a, by_b = gc.gradients(c, [a, b])
    assert by_b is None
    assert run(by_a) == 7


@pytest.mark.parametrize(("name", "kind", "text"), [
    ("TestTwoForOne", ValueError, "Num gradients 2 generated for op 'Square' do not match num inputs 1"),
    ("TestWrongShape", ValueError, r"Forward operation: Square. Input index: 0. Original input shape: \(3,\). Calculated .*: \(4,\)"),
    ("TestNowhere", LookupError, r"No gradient defined for operation 'Square' \(op type: Square\): none is registered as 'TestNowhere'"),
])
def test_wrong_gradients_are_refused(name: str, kind: type[Exception], text: str) -> None:
    x, y = overridden(name)
    with pytest.raises(kind, match=text):
        gc.gradients(y, x)


def test_names_that_cannot_be_registered() -> None:
    with pytest.raises(KeyError, match="Registering two gradient with name 'Relu'!"):
        gc.RegisterGradient("Relu")(lambda op, g: g)
    with pytest.raises(KeyError, match="Registering two gradient with name 'TestTimesFive'!"):
        gc.NotDifferentiable("TestTimesFive")
    with pytest.raises(TypeError, match="op_type must be a string"):
        gc.RegisterGradient(3)  # type: ignore[arg-type]  # what is tested
    assert gc.NoGradient is gc.NotDifferentiable


@pytest.mark.parametrize("given", [{"Square": 3}, ["Square"], {1: "a"}])
def test_maps_that_are_none(given: Any) -> None:
    text = "op_type_map must be a dictionary mapping strings to strings"
    with pytest.raises(TypeError, match=text), gc.get_default_graph().gradient_override_map(given):
        pass


# custom_gradient -------------------------------------------------------------------------------------------------------------------------

@gc.custom_gradient
def log1pexp(x: gc.Tensor) -> Any:
    """The example of TF's documentation: log(1 + exp(x)), whose derived gradient is NaN at 100."""
    e = gc.exp(x)
    return gc.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))


def test_custom_gradient_of_any_order() -> None:
    x = gc.placeholder(gc.float64, [3])
    y = log1pexp(x)
    (first,) = gc.gradients(y, x)
    (second,) = gc.gradients(first, x)
    at = np.array([-1.0, 0.0, 2.0])
    value, slope, bend = run([y, first, second], {x: at})
    sigmoid = 1 / (1 + np.exp(-at))
    np.testing.assert_allclose(value, np.log1p(np.exp(at)), rtol=1e-12)
    np.testing.assert_allclose(slope, sigmoid, rtol=1e-12)
    np.testing.assert_allclose(bend, sigmoid * (1 - sigmoid), rtol=1e-12)
    assert "TF's documentation" in str(log1pexp.__doc__)
    assert run(first, {x: [100.0, 1000.0, 0.0]})[0] == 1.0


def test_custom_gradient_of_several_arguments_and_results() -> None:
    @gc.custom_gradient
    def both(a: gc.Tensor, b: gc.Tensor) -> Any:
        return [a * b, a + b], lambda p, q: (p * 2.0, gc.reduce_sum(q) * 3.0)
    x = gc.constant([1.0, 2.0])
    product, total = both(x, 4.0)
    assert product.op.type == "IdentityN"
    by_x = gc.gradients([product, total], [x])[0]
    found = run([product, total, by_x])
    np.testing.assert_array_equal(found, [[4, 8], [5, 6], [2, 2]])


def test_custom_gradient_with_variables() -> None:
    with gc.variable_scope("scope"):
        v = gc.get_variable("v", initializer=[3.0, 4.0])

    @gc.custom_gradient
    def scaled(a: gc.Tensor) -> Any:
        def grad(dy: gc.Tensor, variables: Any = None) -> Any:
            return dy * 2.0, [dy * 7.0 for _ in variables]
        return a * v, grad
    x = gc.constant([1.0, 1.0])
    found = run([scaled(x), *gc.gradients(scaled(x), [x, v])])
    np.testing.assert_array_equal(found, [[3, 4], [2, 2], [7, 7]])

    @gc.custom_gradient
    def forgetful(a: gc.Tensor) -> Any:
        return a * v, lambda dy: dy
    with pytest.raises(TypeError, match=r"grad_fn must accept a 'variables' keyword argument\. It uses: scope/v:0"):
        forgetful(x)


def test_wrong_custom_gradients() -> None:
    x = gc.constant([1.0])
    with pytest.raises(ValueError, match="supports keywords arguments only when eager"):
        log1pexp(x=x)
    with pytest.raises(TypeError, match="must return"):
        gc.custom_gradient(lambda a: a)(x)  # type: ignore[arg-type, return-value]  # what is tested
    wrong = gc.custom_gradient(lambda a: (a + 1.0, lambda dy: (dy, dy)))
    with pytest.raises(ValueError, match="Num gradients 3 generated for op 'IdentityN' do not match num inputs 2"):
        gc.gradients(wrong(x), x)
