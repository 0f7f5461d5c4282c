"""The graph that users declare: operations, tensors, conversions, errors with the user's line, collections, default graphs."""
from __future__ import annotations

import gc
import inspect
import itertools
import math
import pickle
import threading
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphc.core import dtypes, errors
from graphc.core.convert import constant, convert_n_to_tensor, convert_to_tensor, register_tensor_conversion_function
from graphc.core.current import add_to_collection, get_collection
from graphc.core.graph import Graph, get_default_graph, reset_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.leaves import CONST, IDENTITY, no_op, placeholder
from graphc.core.opdef import OpDef
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.scopes import default_sessions
from graphc.core.shapes import Dimension, TensorShape
from graphc.core.source import user_line
from graphc.primitives import add


def _sum(x: Node, y: Node) -> Node:
    return add(x, y)


SUM = OpDef("Sum2", _sum)


def total(x: Tensor, y: Tensor, name: str | None = None) -> Tensor:
    return get_default_graph().create_op(SUM, (x, y), {}, name).outputs[0]


# -- constants and conversion -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("value", "dtype", "expected_type", "expected"), [
    (1, None, np.int32, 1),
    (2**40, None, np.int64, 2**40),
    (-2**31, None, np.int32, -2**31),
    (2**31, None, np.int64, 2**31),
    (1.5, None, np.float32, 1.5),
    (True, None, np.bool_, True),
    ([1, 2.5], None, np.float32, [1, 2.5]),
    ([True, 1], None, np.int32, [1, 1]),
    ([], None, np.float32, np.zeros(0)),
    ([[], []], None, np.float32, np.zeros((2, 0))),
    (np.float64(2), None, np.float64, 2),
    (np.int64(3), None, np.int64, 3),
    (np.array([1.5]), "int32", np.int32, [1]),
    (np.int64(3), "float32", np.float32, 3),
    (True, "int32", np.int32, 1),
    (1, "float16", np.float16, 1),
    (1.5, "bfloat16", ml_dtypes.bfloat16, 1.5),
    ([1, 2], "float64", np.float64, [1, 2]),
    (1e400, None, np.float32, math.inf),
    (math.nan, None, np.float32, math.nan),
    (TensorShape([1, 2]), None, np.int32, [1, 2]),
    (TensorShape([2**40]), None, np.int64, [2**40]),
    (Dimension(3), None, np.int32, 3),
    ((1, (2)), None, np.int32, [1, 2]),
    ([np.float64(1), np.float64(2)], None, np.float64, [1, 2]),
])
def test_constants_take_the_type_tf1_gives_them(value: Any, dtype: Any, expected_type: Any, expected: Any) -> None:
    tensor = constant(value, dtype)
    held = tensor.op.get_attr("value")
    assert tensor.dtype is dtypes.as_dtype(expected_type)
    assert held.dtype == expected_type
    assert tensor.shape_tuple == np.shape(expected)
    np.testing.assert_array_equal(held, np.asarray(expected, expected_type))


@pytest.mark.parametrize(("value", "dtype", "kind", "message"), [
    (1.5, "int32", TypeError, "Expected int32, got 1.5 of type 'float' instead."),
    ([1, 2.5], "int32", TypeError, "Expected int32, got 2.5 of type 'float' instead."),
    (1, "bool", TypeError, "Expected bool, got 1 of type 'int' instead."),
    ("x", "float32", TypeError, "Expected float32, got 'x' of type 'str' instead."),
    (None, None, ValueError, "None values not supported."),
    ([1, None], None, TypeError, "Failed to convert object of type <class 'list'> to Tensor. Contents: [1, None]. Consider casting"),
    (object(), None, TypeError, "Failed to convert object of type <class 'object'> to Tensor."),
    (np.array([1, None]), None, TypeError, "Failed to convert object of type <class 'numpy.ndarray'> to Tensor."),
    ("text", None, TypeError, "Failed to convert object of type <class 'str'> to Tensor. Contents: 'text'."),
    (1 + 2j, dtypes.float32, TypeError, "Expected float32, got (1+2j) of type 'complex' instead."),
    (2**70, None, TypeError, "Failed to convert object of type <class 'int'> to Tensor."),
    ([[1, 2], [3]], None, ValueError, "Argument must be a dense tensor: [[1, 2], [3]]"),
    (300, "uint8", ValueError, "300 is out of the range of uint8"),
    ([1, -1], "uint8", ValueError, "-1 is out of the range of uint8"),
    (TensorShape([1, None]), None, ValueError, "Cannot convert a partially known TensorShape to a Tensor: (1, ?)"),
    (TensorShape([1]), "float32", TypeError, "Cannot convert a TensorShape to dtype: graphc.float32"),
    (1, "string", TypeError, "Cannot convert 'string' to a graphc dtype"),
])
def test_values_that_no_tensor_holds(value: Any, dtype: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised:
        convert_to_tensor(value, dtype)
    assert message in str(raised.value)
    assert get_default_graph().get_operations() == []


def test_a_shape_fills_with_the_last_element() -> None:
    np.testing.assert_array_equal(constant(1, shape=[2, 2]).op.get_attr("value"), [[1, 1], [1, 1]])
    np.testing.assert_array_equal(constant([1, 2], shape=[4]).op.get_attr("value"), [1, 2, 2, 2])
    assert constant(1.0, shape=[0, 3]).shape_tuple == (0, 3)
    with pytest.raises(ValueError, match="no element to fill"):
        constant([], shape=[2])
    with pytest.raises(ValueError, match=r"Too many elements provided\. Needed at most 2, but received 3"):
        constant([1, 2, 3], shape=[2])
    with pytest.raises(TypeError, match=r"Expected Tensor's shape: \(3,\), got \(2,\)."):
        constant([1, 2], shape=[3], verify_shape=True)
    with pytest.raises(ValueError, match="must be fully defined"):
        constant(1, shape=[None])


def test_constants_do_not_change_with_the_array_they_came_from() -> None:
    array = np.arange(3.0)
    tensor = constant(array)
    array[0] = 7
    assert tensor.op.get_attr("value")[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        tensor.op.get_attr("value")[0] = 1


def test_tensors_convert_only_to_their_own_dtype() -> None:
    x = constant(1.0)
    assert convert_to_tensor(x) is convert_to_tensor(x, "float32") is x
    with pytest.raises(ValueError, match="Tensor conversion requested dtype int32 for Tensor with dtype float32: "):
        convert_to_tensor(x, dtypes.int32)
    assert convert_to_tensor(1, preferred_dtype="float64").dtype is dtypes.float64
    assert convert_to_tensor(1.5, dtype_hint="int32").dtype is dtypes.float32
    assert [t.name for t in convert_n_to_tensor([1, 2], name="n")] == ["n_0:0", "n_1:0"]


def test_conversion_functions_are_asked_by_priority() -> None:
    class Thing:
        pass

    def refuse(value: Thing, dtype: Any, name: str | None, as_ref: bool) -> Any:
        return NotImplemented

    register_tensor_conversion_function(Thing, lambda value, dtype, name, as_ref: constant(2.0, dtype, name="late"), priority=150)
    register_tensor_conversion_function((Thing,), refuse)
    assert convert_to_tensor(Thing()).name == "late:0"
    register_tensor_conversion_function(Thing, lambda value, dtype, name, as_ref: constant(1, "int32"), priority=50)
    with pytest.raises(RuntimeError, match="the conversion function of Thing gave"):
        convert_to_tensor(Thing(), dtypes.float32)
    with pytest.raises(TypeError, match="base_type must be a type"):
        register_tensor_conversion_function("Thing", refuse)  # type: ignore[arg-type]


@given(hnp.arrays(st.sampled_from([t.np_dtype for t in dtypes.ALL if t is not dtypes.bfloat16]),
                  hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_arrays_keep_their_bits(array: np.ndarray) -> None:
    with Graph().as_default():
        tensor = constant(array)
    held = tensor.op.get_attr("value")
    assert (tensor.dtype.np_dtype, tensor.shape_tuple) == (array.dtype, array.shape)
    assert held.tobytes() == array.tobytes()


# -- operations and tensors ---------------------------------------------------------------------------------------------------------------

def test_an_operation_knows_its_place() -> None:
    x = placeholder("float32", [None, 3], "x")
    y = get_default_graph().create_op(SUM, (x, x), {}, "y").outputs[0]
    here = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert (y.op.type, y.op.inputs, y.op.outputs, y.op.values()) == ("Sum2", (x, x), (y,), (y,))
    assert y.op.source == f"test_graph.py:{here}"
    assert x.consumers() == [y.op, y.op]
    assert (y.name, y.value_index, y.dtype, y.shape.as_list(), y.rank) == ("y:0", 0, dtypes.float32, [None, 3], 2)
    assert y.graph is get_default_graph()
    assert x.op.get_attr("dtype") is dtypes.float32
    assert repr(y.op) == "<graphc.Operation 'y' type=Sum2>"
    with pytest.raises(ValueError, match="Operation 'y' has no attr named 'foo'"):
        y.op.get_attr("foo")


def test_the_users_line_is_the_innermost_outside_the_package() -> None:
    line = user_line()
    here = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert (line.path, line.line, line.text) == (__file__, here, "line = user_line()")
    assert line.function == "test_the_users_line_is_the_innermost_outside_the_package"
    assert line.describe() == f"test_graph.py:{here}: line = user_line()"
    with get_default_graph().name_scope("through contextlib".replace(" ", "_")):
        assert constant(1).op.source.startswith("test_graph.py:")


def test_printing() -> None:
    assert str(placeholder("float32", [None, 3], "x")) == 'Tensor("x:0", shape=(?, 3), dtype=float32)'
    assert str(placeholder("float32", name="u")) == 'Tensor("u:0", dtype=float32)'
    assert repr(placeholder("int64", [2], "v")) == "<graphc.Tensor 'v:0' shape=(2,) dtype=int64>"
    assert repr(placeholder("bool", name="b")) == "<graphc.Tensor 'b:0' shape=<unknown> dtype=bool>"


def test_shape_errors_name_operation_rule_values_and_line() -> None:
    with pytest.raises(ValueError, match=r"differ|equal|shape") as raised:
        total(placeholder("float32", [2, None]), placeholder("float32", [3, 3]), "bad")
    text = str(raised.value)
    assert "for 'bad' (op: 'Sum2') with input shapes: [2,?], [3,3]." in text
    assert "declared at test_graph.py:" in text
    assert "get_default_graph().create_op(SUM" in text
    assert len(text.splitlines()) <= 5
    assert [o.name for o in get_default_graph().get_operations()] == ["Placeholder", "Placeholder_1"]


def test_type_errors_name_operation_and_line() -> None:
    with pytest.raises(TypeError) as raised:
        total(constant(1), constant(1.0), "bad")
    text = str(raised.value)
    assert "in operation 'bad' (op: 'Sum2')" in text
    assert "declared at test_graph.py:" in text
    assert len(text.splitlines()) <= 5


def test_an_error_of_a_gradient_names_the_forward_line_too() -> None:
    x = placeholder("float32", [2])
    forward = total(x, x, "forward").op
    with pytest.raises(ValueError, match=r"as gradient of 'forward', declared at test_graph\.py:") as raised:
        get_default_graph().create_op(SUM, (x, constant([1.0])), {}, "grad", gradient_of=forward)
    assert len(str(raised.value).splitlines()) <= 5
    gradient = get_default_graph().create_op(SUM, (x, x), {}, "grad", gradient_of=forward)
    assert gradient.gradient_of is forward


def test_wrong_attributes() -> None:
    graph = get_default_graph()
    with pytest.raises(TypeError, match="Const: unknown attribute 'color'; it has value, dtype"):
        graph.create_op(CONST, (), {"color": 1, "value": np.zeros(1), "dtype": dtypes.float64})
    with pytest.raises(TypeError, match="Const: missing attribute 'dtype'"):
        graph.create_op(CONST, (), {"value": np.zeros(1)})


def test_tensors_of_two_graphs_do_not_meet() -> None:
    with Graph().as_default():
        foreign = constant(1.0)
    with pytest.raises(ValueError, match=r'Tensor\("Const:0", shape=\(\), dtype=float32\) must be from the same graph as'):
        total(foreign, foreign)


def test_set_shape() -> None:
    x = placeholder("float32")
    x.set_shape([None, 3])
    x.set_shape([2, None])
    x.set_shape(None)
    assert x.get_shape().as_list() == [2, 3]
    with pytest.raises(ValueError, match="Shapes must be equal rank, but are 2 and 1"):
        x.set_shape([2])
    with pytest.raises(ValueError, match=r"Dimension 1 in both shapes must be equal, but are 3 and 4. Shapes are \[2,3\] and \[2,4\]."):
        x.set_shape([2, 4])
    assert total(x, x).shape_tuple == (2, 3)


def test_tensors_are_no_python_values() -> None:
    x = constant([1.0, 2.0], name="x")
    for use, message in ((bool, "using a `Tensor` as a Python `bool` is not allowed"), (list, "iterating over `Tensor` is not allowed")):
        with pytest.raises(errors.OperatorNotAllowedInGraphError, match=message) as raised:
            use(x)
        assert "'x:0' declared at test_graph.py:" in str(raised.value)
    for convert in (lambda: len(x), lambda: float(x), lambda: int(x), lambda: np.asarray(x)):
        with pytest.raises(TypeError, match=r"x:0"):
            convert()
    with pytest.raises(AttributeError):
        x.foo  # type: ignore[attr-defined]  # noqa: B018


def test_tensors_compare_and_hash_by_identity() -> None:
    x, y = constant(1), constant(1)
    assert x == x
    assert x != y
    assert x in [y, x]
    assert {x: "x", y: "y"}[y] == "y"


def test_only_known_operators_can_be_installed() -> None:
    with pytest.raises(ValueError, match="Overriding __foo__ is disallowed"):
        Tensor._override_operator("__foo__", lambda x: x)


class FakeSession:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.calls: list[Any] = []

    def run(self, fetches: Any, feed_dict: Any = None) -> Any:
        self.calls.append((fetches, feed_dict))
        return 42


def test_eval_and_run_use_a_session() -> None:
    x = constant(1)
    with pytest.raises(ValueError, match=r"Cannot evaluate tensor using `eval\(\)`: No default session is registered."):
        x.eval()
    with pytest.raises(ValueError, match=r"Cannot execute operation using `run\(\)`: No default session is registered."):
        x.op.run()
    session, foreign = FakeSession(x.graph), FakeSession(Graph())
    assert x.eval({x: 1}, session) == 42
    with default_sessions.pushed(session):
        assert x.eval() == 42
        x.op.run()
    assert session.calls == [(x, {x: 1}), (x, None), (x.op, None)]
    with default_sessions.pushed(foreign), pytest.raises(ValueError, match="Cannot use the default session to evaluate tensor"):
        x.eval()
    with pytest.raises(ValueError, match="the operation's graph is different from the session's graph"):
        x.op.run(session=foreign)


# -- shapes that depend on values ---------------------------------------------------------------------------------------------------------

def test_small_integers_are_followed() -> None:
    small, large, floating = constant([1, 2]), constant(np.zeros(1000, np.int32)), constant([1.0])
    assert small.node is not None
    assert large.node is None
    assert floating.node is None
    twice = total(small, small)
    assert twice.node is not None
    assert twice.node.name == "add"


# -- the graph as a whole -----------------------------------------------------------------------------------------------------------------

def test_default_graphs_nest_and_reset() -> None:
    outer = get_default_graph()
    constant(1)
    with Graph().as_default() as inner:
        assert get_default_graph() is inner
        with pytest.raises(AssertionError, match="to clear nested graphs"):
            reset_default_graph()
    assert get_default_graph() is outer
    reset_default_graph()
    assert get_default_graph() is not outer
    assert get_default_graph().get_operations() == []


def test_a_default_graph_belongs_to_its_thread() -> None:
    seen: list[Graph] = []
    with Graph().as_default() as graph:
        thread = threading.Thread(target=lambda: seen.append(get_default_graph()))
        thread.start()
        thread.join()
    assert seen[0] is not graph


def test_badly_nested_defaults() -> None:
    first, second = Graph().as_default(), Graph().as_default()
    first.__enter__()
    second.__enter__()
    with pytest.raises(AssertionError, match="Nesting violated"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)


def test_a_finalized_graph_does_not_change() -> None:
    graph = get_default_graph()
    x = constant(1, name="x")
    assert (graph.version, graph.finalized, graph.seed) == (1, False, None)
    graph.finalize()
    for change in (no_op, lambda: add_to_collection("a", 1), lambda: graph.clear_collection("a"), lambda: constant(1)):
        with pytest.raises(RuntimeError, match=r"Graph is finalized and cannot be modified\."):
            change()
    assert graph.finalized
    assert graph.get_operations() == [x.op]


def test_feeding_and_fetching_can_be_prevented() -> None:
    graph = get_default_graph()
    x = constant(1)
    assert graph.is_feedable(x)
    assert graph.is_fetchable(x)
    graph.prevent_feeding(x)
    graph.prevent_fetching(x.op)
    assert not graph.is_feedable(x)
    assert not graph.is_fetchable(x)
    assert not graph.is_fetchable(x.op)


def test_collections() -> None:
    graph = get_default_graph()
    graph.add_to_collection("c", 1)
    graph.add_to_collections(["c", "d", "c"], 2)
    graph.add_to_collections("long", 3)
    assert [graph.get_collection(k) for k in ("c", "d", "long", "none")] == [[1, 2], [2], [3], []]
    a, b = no_op("sc/a"), no_op("tc/b")
    for item in (a, b, 5):
        add_to_collection("o", item)
    assert get_collection("o", "s") == [a]
    assert get_collection("o", "c") == []
    assert get_collection("o", ".c/") == get_collection("o", "") == [a, b]
    graph.get_collection_ref("z").append(3)
    graph.get_collection("z").append(4)
    assert graph.get_collection("z") == [3]
    graph.clear_collection("z")
    assert graph.get_collection("z") == []
    assert "c" in graph.get_all_collection_keys()
    assert GraphKeys.GLOBAL_VARIABLES == "variables"


def test_graphs_are_freed() -> None:
    graph = Graph()
    with graph.as_default():
        total(constant(1), constant(2))
    gone = weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None


@given(st.lists(st.integers(0, 20), max_size=12))
def test_operations_keep_the_order_of_their_declaration(picks: list[int]) -> None:
    with Graph().as_default() as graph:
        tensors = [placeholder("float32", [2])]
        for pick in picks:
            tensors.append(total(tensors[pick % len(tensors)], tensors[-1]))
        operations = graph.get_operations()
        assert [t.op for t in tensors] == operations
        assert [o.id for o in operations] == list(range(1, len(operations) + 1))
        for operation, tensor in itertools.product(operations, tensors):
            assert tensor.consumers().count(operation) == operation.inputs.count(tensor)


# -- errors of a running graph ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "code"), [
    (errors.CancelledError, 1), (errors.UnknownError, 2), (errors.InvalidArgumentError, 3), (errors.DeadlineExceededError, 4),
    (errors.NotFoundError, 5), (errors.AlreadyExistsError, 6), (errors.PermissionDeniedError, 7), (errors.ResourceExhaustedError, 8),
    (errors.FailedPreconditionError, 9), (errors.AbortedError, 10), (errors.OutOfRangeError, 11), (errors.UnimplementedError, 12),
    (errors.InternalError, 13), (errors.UnavailableError, 14), (errors.DataLossError, 15), (errors.UnauthenticatedError, 16)])
def test_error_codes_are_those_of_tf1(kind: type[errors.OpError], code: int) -> None:
    operation = no_op()
    error = kind(None, operation, "what went wrong")
    assert (error.error_code, error.message, str(error), error.op) == (code, "what went wrong", "what went wrong", operation)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.error_code, again.op) == (kind, "what went wrong", code, None)
    assert isinstance(error, errors.OpError)


def test_explain_has_at_most_five_lines() -> None:
    forward = no_op("f")
    operation: Operation = get_default_graph().create_op(IDENTITY, (constant(1.0),), {}, "g", gradient_of=forward)
    lines = errors.explain(operation, "the rule is broken", "got: 3").splitlines()
    assert [line.strip().split(", declared")[0].split(" test_graph")[0] for line in lines] == [
        "the rule is broken", "in operation 'g' (Identity)", "got: 3", "declared at", "as gradient of 'f'"]
    assert errors.explain(None, "bad", source="a.py:3") == "bad\n  declared at a.py:3"
