"""Variables: names, collections and errors as TensorFlow 1.15.5 gives them (recorded literals), and the meaning of reads and writes in
the order of their declaration."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.current import name_scope
from graphc.core.graph import get_default_graph
from graphc.core.interpret import interpret
from graphc.core.leaves import group, no_op, placeholder
from graphc.core.scopes import default_sessions
from graphc.core.specialise import specialise
from graphc.ops.array import identity
from graphc.variables import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    global_variables_initializer,
    local_variables,
    local_variables_initializer,
    trainable_variables,
    variables_initializer,
)


def names() -> list[str]:
    return [operation.name for operation in get_default_graph().get_operations()]


def operations() -> list[tuple[str, str]]:
    return [(operation.name, operation.type) for operation in get_default_graph().get_operations()]


def controls(operation: Any) -> list[str]:
    return [each.name for each in operation.control_inputs]


def variable_ops(name: str, initial: list[str]) -> list[str]:
    """The operations of one variable, in TF1's order."""
    return [*(f"{name}/{each}" for each in initial), name, f"{name}/Assign", f"{name}/read"]


class Runs:
    """Runs fetches one after the other with the reference interpreter, keeping the variables between runs."""

    def __init__(self) -> None:
        self.values: dict[str, np.ndarray[Any, Any]] = {}

    def __call__(self, *fetches: Any) -> list[Any]:
        program = specialise([get_default_graph().as_graph_element(f) for f in fetches], {})
        outputs, written = interpret(program, [], self.values)
        self.values.update(written)
        return [np.asarray(output).tolist() for output in outputs]


# -- declaring ----------------------------------------------------------------------------------------------------------------------------

def test_a_variable_is_four_operations() -> None:
    Variable(1.0)
    Variable(1.0, name="w")
    Variable([2], name="w")
    assert operations() == [
        ("Variable/initial_value", "Const"), ("Variable", "VariableV2"), ("Variable/Assign", "Assign"), ("Variable/read", "Identity"),
        ("w/initial_value", "Const"), ("w", "VariableV2"), ("w/Assign", "Assign"), ("w/read", "Identity"),
        ("w_1/initial_value", "Const"), ("w_1", "VariableV2"), ("w_1/Assign", "Assign"), ("w_1/read", "Identity")]


def test_initial_values_from_tensors_and_functions() -> None:
    start = constant([1.0, 2.0], name="start")
    by_tensor = Variable(start, name="a")
    by_function = Variable(lambda: constant(3, name="made"), name="b")
    assert by_tensor.initial_value is start
    assert names() == ["start", *variable_ops("a", []), *variable_ops("b", ["Initializer/made"])]
    assert (by_function.dtype, by_function.shape_tuple) == (dtypes.int32, ())


def test_properties() -> None:
    with name_scope("scope"):
        w = Variable([1, 2], name="w", trainable=False)
    graph = get_default_graph()
    assert repr(w) == "<graphc.Variable 'scope/w:0' shape=(2,) dtype=int32>"
    assert (w.name, w.dtype, w.shape.as_list(), w.get_shape().as_list(), w.shape_tuple) == ("scope/w:0", dtypes.int32, [2], [2], (2,))
    assert (w.op.name, w.op.type, w.graph, w.device, w.trainable) == ("scope/w", "VariableV2", graph, "", False)
    assert (w.initial_value.name, w.initializer.name, w.value().name) == ("scope/w/initial_value:0", "scope/w/Assign", "scope/w/read:0")
    assert w.initializer.inputs == (w.op.outputs[0], w.initial_value)
    assert w.op.source.startswith("test_variables.py:")


def test_collections() -> None:
    w = Variable(1.0, name="w")
    v = Variable(2.0, name="v", trainable=False)
    local = Variable(3.0, collections=["local_variables"], trainable=False)
    assert global_variables() == [w, v]
    assert trainable_variables() == [w]
    assert local_variables() == [local]
    assert global_variables("v") == [v]
    both = Variable(1.0, collections=["x", "trainable_variables"])
    assert get_default_graph().get_collection("x") == [both]
    assert trainable_variables() == [w, both]
    with pytest.raises(ValueError, match=r"collections argument to Variable constructor must be a list, tuple, or set\. Got x of type"):
        Variable(1.0, collections="x")


def test_initializing_operations() -> None:
    w, v = Variable(1.0, name="w"), Variable(2.0, name="v")
    local = Variable(3.0, name="l", collections=["local_variables"])
    assert local.name == "l:0"
    made = [global_variables_initializer(), local_variables_initializer(), variables_initializer([v, w], "xx"), variables_initializer([])]
    assert [(o.name, o.type, controls(o)) for o in made] == [
        ("init", "NoOp", ["w/Assign", "v/Assign"]), ("init_1", "NoOp", ["l/Assign"]), ("xx", "NoOp", ["v/Assign", "w/Assign"]),
        ("init_2", "NoOp", [])]


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: Variable(), ValueError, "initial_value must be specified."),
    (lambda: Variable(1.0, dtype="int32"), TypeError, "Expected int32, got 1.0 of type 'float' instead."),
    (lambda: Variable(placeholder("float32", [None])), ValueError,
     'initial_value must have a shape specified: Tensor("Placeholder:0", shape=(?,), dtype=float32)'),
    (lambda: Variable(placeholder("float32")), ValueError, "initial_value must have a shape specified"),
    (lambda: Variable(constant(1.0), dtype="int32"), ValueError, "Tensor conversion requested dtype int32 for Tensor with dtype float32"),
    (lambda: Variable(1.0).assign([1.0, 2.0]), ValueError,
     "Shapes must be equal rank, but are 0 and 1 for 'Assign' (op: 'Assign') with input shapes: [], [2]."),
    (lambda: Variable([1.0]).assign_add([1.0, 2.0]), ValueError,
     "Dimension 0 in both shapes must be equal, but are 1 and 2. Shapes are [1] and [2] for 'AssignAdd' (op: 'AssignAdd')"),
    (lambda: Variable(1).assign(1.5), TypeError, "Expected int32, got 1.5 of type 'float' instead."),
    (lambda: Variable(1.0).assign(constant(1)), TypeError,
     "Input 'value' of 'Assign' Op has type int32 that does not match type float32 of argument 'ref'."),
    (lambda: Variable(1.0).assign_sub(Variable(1)), TypeError, "Input 'value' of 'AssignSub' Op has type int32"),
    (lambda: list(Variable([1.0])), TypeError, "'Variable' object is not iterable."),
    (lambda: assign(constant(1.0), 2.0), TypeError, "Assign needs a Variable, not <graphc.Tensor 'Const:0'"),
    (lambda: convert_to_tensor(Variable(1.0), "int32"), ValueError,
     "Incompatible type conversion requested to type 'int32' for variable of type 'float32'"),
    (lambda: Variable(1.0).load(3.0), ValueError, "Either session argument should be provided or default session should be established"),
    (lambda: Variable(1.0).eval(), ValueError, "No default session is registered."),
])
def test_errors(make: Callable[[], object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised:
        make()
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) <= 5


def test_variables_ignore_the_control_scopes_around_them() -> None:
    with get_default_graph().control_dependencies([no_op("n")]):
        w = Variable(lambda: constant(1.0), name="w")
        initial = Variable(1.0, name="v").initial_value
    assert [controls(o) for o in get_default_graph().get_operations()[1:]] == [[]] * 8
    assert controls(w.initializer) == controls(initial.op) == []


# -- reading and writing ------------------------------------------------------------------------------------------------------------------

def test_assignments_have_tf1s_names() -> None:
    w = Variable(1.0, name="w")
    made = [w.assign(2.0), w.assign_add(1.0), w.assign_sub(1.0), assign(w, 2.0), assign(w, 2.0, name="set"), assign_add(w, w),
            assign_sub(w, 1)]
    assert [t.op.name for t in made] == ["Assign", "AssignAdd", "AssignSub", "Assign_1", "set", "AssignAdd_1", "AssignSub_1"]
    assert names()[4:12] == ["Assign/value", "Assign", "AssignAdd/value", "AssignAdd", "AssignSub/value", "AssignSub",
                             "Assign_1/value", "Assign_1"]
    operation = w.assign(3.0, read_value=False)
    assert (operation.name, operation.inputs[0]) == ("Assign_2", w.op.outputs[0])


def test_a_read_is_cached_until_the_next_write() -> None:
    w = Variable(1.0, name="w")
    first = w.value()
    assert first.name == "w/read:0"
    assert w.value() is convert_to_tensor(w) is first
    w.assign(2.0)
    second = convert_to_tensor(w)
    assert second.name == "w/read_1:0"
    assert w.value() is second
    other = Variable(1.0, name="other")
    other.assign(3.0)
    assert w.value() is second
    assert w.read_value().name == "read:0"
    assert convert_to_tensor(w, as_ref=True) is w.op.outputs[0]


def test_cached_reads_wait_for_nothing() -> None:
    w = Variable(1.0, name="w")
    write = w.assign(2.0)
    with get_default_graph().control_dependencies([write]):
        cached, fresh, use = w.value(), w.read_value(), identity(w, name="use")
    assert controls(cached.op) == []
    assert controls(fresh.op) == controls(use.op) == ["Assign"]


def test_runs_follow_the_order_of_declaration() -> None:
    w = Variable(1.0, name="w")
    before = w.value()
    step = w.assign_add(10.0)
    between = w.value()
    doubled = w.assign(between)
    after = w.read_value()
    run = Runs()
    run(global_variables_initializer())
    assert run.values["w"] == 1.0
    assert run(after, between, step, before, w) == [11.0, 11.0, 11.0, 1.0, 11.0]
    assert run(before, w) == [11.0, 11.0]
    assert run(between) == [11.0]
    assert run(doubled.op, step.op, w) == [21.0]


def test_control_inputs_decide_which_writes_run() -> None:
    w = Variable(1.0, name="w")
    write = w.assign_sub(3.0)
    with get_default_graph().control_dependencies([write]):
        waiting = identity(w)
    run = Runs()
    run(w.initializer)
    assert run(waiting) == [-2.0]
    assert run(identity(w)) == [-2.0]
    assert run(group(write, waiting), w) == [-5.0]


def test_variables_initialised_from_variables() -> None:
    w = Variable([1.0, 2.0], name="w")
    v = Variable(w.initialized_value(), name="v")
    u = Variable(v, name="u")
    run = Runs()
    assert run(global_variables_initializer(), v, u) == [[1.0, 2.0]] * 2


def test_load_and_eval_use_a_session() -> None:
    class FakeSession:
        graph = get_default_graph()
        calls: list[Any] = []  # noqa: RUF012

        def run(self, fetches: Any, feed_dict: Any = None) -> float:
            self.calls.append((fetches, feed_dict))
            return 42.0

    w = Variable(1.0, name="w")
    session = FakeSession()
    w.load(3, session)
    with default_sessions.pushed(session):
        assert w.eval() == 42.0
    (initializer, feeds), (fetched, none) = session.calls
    assert (initializer, fetched, none) == (w.initializer, w.op.outputs[0], None)
    assert feeds == {w.initial_value: 3.0}
    assert feeds[w.initial_value].dtype == np.float32


def test_variables_take_part_in_arithmetic() -> None:
    w = Variable([1.0, 2.0], name="w")
    results = [w + 1, 1 - w, np.float64(3) * w, np.array([4.0, 6.0]) / w, -w, w[1], w > 1.5, w**2, abs(w)]
    run = Runs()
    run(w.initializer)
    assert run(*results) == [[2, 3], [0, -1], [3, 6], [4, 3], [-1, -2], 2, [False, True], [1, 4], [1, 2]]
    assert (w + 1).op.inputs[0] is w.value()
    w.assign([5.0, 6.0])
    assert (w + 1).op.inputs[0].name == "w/read_1:0"


def test_variables_are_themselves() -> None:
    w, v = Variable(1.0), Variable(1.0)
    assert w == w
    assert w != v
    assert {w: 1, v: 2}[v] == 2
    assert bool(w)
