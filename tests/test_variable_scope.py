"""get_variable and variable_scope: names, sharing and errors as TensorFlow 1.15.5 gives them (recorded literals)."""
from __future__ import annotations

import inspect
import math
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc import initializers
from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.current import name_scope
from graphc.core.graph import Graph, get_default_graph
from graphc.core.leaves import no_op
from graphc.core.operation import Tensor
from graphc.ops.array import identity
from graphc.ops.creation import ones
from graphc.variable_scope import AUTO_REUSE, get_local_variable, get_variable, get_variable_scope, variable_scope
from graphc.variables import (
    Variable,
    global_variables,
    local_variables,
    trainable_variables,
)

GLOROT = ["random_uniform/shape", "random_uniform/min", "random_uniform/max", "random_uniform/RandomUniform", "random_uniform/sub",
          "random_uniform/mul", "random_uniform"]


def names() -> list[str]:
    return [operation.name for operation in get_default_graph().get_operations()]


def variable_ops(name: str, initial: list[str]) -> list[str]:
    """The operations of one variable, in TF1's order."""
    return [*(f"{name}/{each}" for each in initial), name, f"{name}/Assign", f"{name}/read"]


def zeros_like_tf1(name: str) -> list[str]:
    return variable_ops(name, ["Initializer/zeros"])


def test_get_variable_starts_from_glorot_uniform() -> None:
    w = get_variable("w", [2, 3])
    assert names() == variable_ops("w", [f"Initializer/{each}" for each in GLOROT])
    assert (w.dtype, w.shape_tuple, w.trainable) == (dtypes.float32, (2, 3), True)
    upper = get_default_graph().get_operation_by_name("w/Initializer/random_uniform/max")
    assert upper.get_attr("value") == pytest.approx(math.sqrt(6 / 5))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_other_types_start_from_zeros(dtype: str) -> None:
    assert get_variable("w", [2], dtype=dtype).dtype == dtype
    assert names() == zeros_like_tf1("w")


def test_scopes_prefix_variables_and_operations() -> None:
    zeros = initializers.zeros_initializer()
    with variable_scope("s"):
        with variable_scope("t"):
            get_variable("w", [2], initializer=zeros)
            no_op("o")
        Variable(1.0, name="v")
    with name_scope("n"), variable_scope("s", reuse=AUTO_REUSE):
        get_variable("u", [2], initializer=zeros)
        no_op("o")
    get_variable("a/b", 1, initializer=zeros)
    assert names() == [*zeros_like_tf1("s/t/w"), "s/t/o", *variable_ops("s/v", ["initial_value"]), *zeros_like_tf1("s/u"), "n/s/o",
                       *zeros_like_tf1("a/b")]


def test_entering_again_reuses_variables_but_not_operation_names() -> None:
    with variable_scope("s") as scope:
        w = get_variable("w", [2])
        no_op("o")
    with variable_scope("s", reuse=True):
        assert get_variable("w", [2]) is w
        assert get_variable("w") is w
        assert no_op("o").name == "s_1/o"
    with variable_scope(scope, reuse=True):
        assert get_variable("w") is w
        assert no_op("o").name == "s_2/o"
    with variable_scope(scope, auxiliary_name_scope=False):
        assert no_op("p").name == "p"
    with name_scope(scope.original_name_scope):
        assert no_op("q").name == "s/q"
    assert (scope.name, scope.original_name_scope) == ("s", "s/")


def test_a_scope_object_goes_back_to_its_full_name() -> None:
    with variable_scope("a"), variable_scope("b") as b:
        pass
    with variable_scope("c"), variable_scope(b):
        assert get_variable("w", [1]).name == "a/b/w:0"
        assert no_op("o").name == "c/b/o"
    with name_scope("n"), variable_scope(b) as again:
        assert no_op("o").name == "n/b/o"
        assert (again.original_name_scope, get_variable_scope().name) == ("a/b/", "a/b")


def test_default_names_are_made_unique() -> None:
    for expected in ("d", "d_1", "d_2"):
        with variable_scope(None, "d") as scope:
            assert get_variable("w", [2]).name == f"{expected}/w:0"
            assert no_op("o").name == f"{expected}/o"
            assert scope.name == expected
    for reuse in (False, True):
        with variable_scope("outer", reuse=reuse), variable_scope(None, "inner"):
            assert get_variable("w", [2]).name == "outer/inner/w:0"
        assert get_variable_scope().name == ""


def test_default_names_after_entering_scope_objects() -> None:
    """Entering a scope object counts as one more use of its name; what happens inside it does not."""
    with variable_scope("t"), variable_scope(None, "d") as d:
        pass
    with variable_scope(d), variable_scope(None, "a") as inside:
        assert inside.name == "t/d/a"
    with variable_scope("t"):
        for expected in ("t/d_1", "t/d_2"):
            with variable_scope(None, "d") as scope:
                assert scope.name == expected
        with variable_scope(d), variable_scope(None, "a") as again:
            assert again.name == "t/d/a"


def test_default_names_survive_entering_an_outer_scope_inside() -> None:
    with variable_scope("b") as b:
        with variable_scope("s") as s, variable_scope(None, "a") as a:
            pass
        with variable_scope(s), variable_scope(a), variable_scope(b):
            pass
        with variable_scope("s"), variable_scope(None, "a") as again:
            assert again.name == "b/s/a"


def test_reuse_is_inherited() -> None:
    assert get_variable_scope().reuse is False
    with variable_scope("s", reuse=True):
        with variable_scope("t"):
            assert get_variable_scope().reuse is True
        with variable_scope("t", reuse=False):
            assert get_variable_scope().reuse is True
        with variable_scope("t", reuse=AUTO_REUSE):
            assert get_variable_scope().reuse is AUTO_REUSE
    with variable_scope("s"):
        get_variable_scope().reuse_variables()
        assert get_variable_scope().reuse is True
    assert get_variable_scope().reuse is False
    with variable_scope("", reuse=AUTO_REUSE):
        assert get_variable("w", [2]) is get_variable("w", [2])


def test_scope_defaults() -> None:
    with variable_scope("s", initializer=initializers.constant_initializer(2.0), dtype="float64", constraint=abs):
        w = get_variable("w", [2])
        v = get_variable("v", [2], initializer=initializers.ones_initializer(), dtype="float32")
    np.testing.assert_array_equal(w.initial_value.op.get_attr("value"), [2.0, 2.0])
    assert (w.dtype, v.dtype, w.constraint) == (dtypes.float64, dtypes.float32, abs)
    with variable_scope("t") as scope:
        scope.set_dtype("int32")
        scope.set_initializer(initializers.ones_initializer())
        assert get_variable("w", [1]).dtype is dtypes.int32
        assert scope.global_variables() == scope.trainable_variables() == scope.get_collection("variables")
        assert [each.name for each in scope.global_variables()] == ["t/w:0"]
        assert scope.local_variables() == []


def test_initializers_as_values_and_functions() -> None:
    assert get_variable("a", initializer=[1.0, 2.0]).shape_tuple == (2,)
    assert get_variable("b", initializer=constant([1, 2, 3])).dtype is dtypes.int32
    assert get_variable("c", initializer=lambda: ones([4])).shape_tuple == (4,)
    assert get_variable("d", [5], initializer=lambda shape, dtype, partition_info: ones(shape, dtype)).shape_tuple == (5,)
    assert get_variable("e", [6], initializer=initializers.zeros_initializer).shape_tuple == (6,)
    assert get_variable("f", [0]).shape_tuple == (0,)
    assert get_variable("g", []).shape_tuple == ()
    assert get_variable("h", 2).shape_tuple == (2,)
    assert "c/Initializer/ones" in names()
    assert "d/Initializer/ones" in names()


def test_regularizers_make_losses() -> None:
    def loss(variable: Any) -> Tensor:
        return identity(variable, name="r")

    with variable_scope("s", regularizer=loss):
        get_variable("w", [2])
        get_variable("v", [2], regularizer=lambda variable: None)
    with variable_scope("s", reuse=True):
        get_variable("w", [2], regularizer=loss)
    assert [t.name for t in get_default_graph().get_collection("regularization_losses")] == ["s/w/Regularizer/r:0"]


def test_custom_getters_wrap() -> None:
    def suffix(text: str) -> Callable[..., Any]:
        return lambda getter, name, *args, **kwargs: getter(name + text, *args, **kwargs)

    with variable_scope("s", custom_getter=suffix("_outer")), variable_scope("t", custom_getter=suffix("_inner")):
        assert get_variable("w", [2]).name == "s/t/w_inner_outer:0"
    assert get_variable("w", [2], custom_getter=suffix("_own")).name == "w_own:0"
    with pytest.raises(ValueError, match="Passed a custom_getter which is not callable: 3"):
        get_variable("x", [2], custom_getter=3)


def test_local_variables() -> None:
    local = get_local_variable("l", [2])
    assert local_variables() == [local]
    assert not local.trainable
    assert global_variables() == trainable_variables() == []


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: get_variable("w", [2]), ValueError,
     "Variable w already exists, disallowed. Did you mean to set reuse=True or reuse=graphc.AUTO_REUSE in VarScope? Originally defined "
     "at:\n  test_variable_scope.py:"),
    (lambda: reused("none", [2]), ValueError,
     "Variable none does not exist, or was not created with graphc.get_variable(). Did you mean to set reuse=graphc.AUTO_REUSE in"),
    (lambda: reused("w", [3]), ValueError, "Trying to share variable w, but specified shape (3,) and found shape (2,)."),
    (lambda: reused("w", [2], dtype="float64"), ValueError,
     "Trying to share variable w, but specified dtype float64 and found dtype float32."),
    (lambda: get_variable("x"), ValueError, "Shape of a new variable (x) must be fully defined, but instead was <unknown>."),
    (lambda: get_variable("x", [None, 2]), ValueError, "Shape of a new variable (x) must be fully defined, but instead was (?, 2)."),
    (lambda: get_variable("x", [2], initializer=3.0), ValueError, "If initializer is a constant, do not specify shape."),
    (lambda: get_variable("x", initializer=3.0, dtype="int32"), ValueError,
     "Initializer type 'float32' and explicit dtype 'int32' don't match."),
    (lambda: get_variable("x", [1], initializer=initializers.constant_initializer([1, 2, 3])), ValueError,
     "Too many elements provided. Needed at most 1, but received 3"),
    (lambda: opened(None), TypeError, "If default_name is None then name_or_scope is required"),
    (lambda: opened(3), TypeError, "VariableScope: name_or_scope must be a string or VariableScope."),
    (lambda: opened("s", reuse="x"), ValueError, "The reuse parameter must be True or False or None."),
    (lambda: opened(None, "d", reuse=True), ValueError, "reuse=True cannot be used without a name_or_scope"),
])
def test_scope_errors(make: Callable[[], object], kind: type[Exception], message: str) -> None:
    get_variable("w", [2])
    with pytest.raises(kind) as raised:
        make()
    assert message in str(raised.value)


def opened(*arguments: Any, **settings: Any) -> None:
    with variable_scope(*arguments, **settings):
        no_op()


def reused(name: str, shape: list[int], **settings: Any) -> Any:
    with variable_scope("", reuse=True):
        return get_variable(name, shape, **settings)


def test_the_line_of_the_first_creation() -> None:
    get_variable("w", [2])
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=re.escape(f'test_variable_scope.py:{line}: get_variable("w", [2])')):
        get_variable("w", [2])


def test_scopes_belong_to_threads_and_graphs() -> None:
    seen = []
    graph = get_default_graph()
    w = get_variable("w", [2])

    def work() -> None:
        with graph.as_default(), variable_scope("", reuse=True):
            seen.append((get_variable_scope().name, get_variable("w")))

    with variable_scope("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with Graph().as_default():
            assert get_variable("w", [3]).name == "w:0"
        assert get_variable_scope().name == "main"
    assert seen == [("", w)]
