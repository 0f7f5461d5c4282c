"""Variables, variable scopes and initializers: names, collections and errors as TensorFlow 1.15.5 gives them (recorded literals), and
the meaning of reads and writes in the order of their declaration."""
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
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.current import name_scope
from graphc.core.graph import Graph, get_default_graph
from graphc.core.interpret import interpret
from graphc.core.leaves import group, no_op, placeholder
from graphc.core.operation import Tensor
from graphc.core.scopes import default_sessions
from graphc.core.specialise import specialise
from graphc.ops.array import identity
from graphc.ops.creation import ones
from graphc.variable_scope import AUTO_REUSE, get_local_variable, get_variable, get_variable_scope, variable_scope
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

GLOROT = ["random_uniform/shape", "random_uniform/min", "random_uniform/max", "random_uniform/RandomUniform", "random_uniform/sub",
          "random_uniform/mul", "random_uniform"]


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


def test_variables_are_themselves() -> None:
    w, v = Variable(1.0), Variable(1.0)
    assert w == w
    assert w != v
    assert {w: 1, v: 2}[v] == 2
    assert bool(w)


# -- variable scopes ----------------------------------------------------------------------------------------------------------------------

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
     "at:\n  test_variables.py:"),
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
    with pytest.raises(ValueError, match=re.escape(f'test_variables.py:{line}: get_variable("w", [2])')):
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


# -- initializers -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("initializer", "operations_made"), [
    (initializers.zeros_initializer(), ["zeros"]),
    (initializers.ones_initializer(), ["ones"]),
    (initializers.constant_initializer(3.0), ["Const"]),
    (initializers.random_uniform_initializer(), GLOROT),
    (initializers.random_normal_initializer(), ["random_normal/shape", "random_normal/mean", "random_normal/stddev",
                                                "random_normal/RandomStandardNormal", "random_normal/mul", "random_normal"]),
    (initializers.truncated_normal_initializer(), ["truncated_normal/shape", "truncated_normal/mean", "truncated_normal/stddev",
                                                   "truncated_normal/TruncatedNormal", "truncated_normal/mul", "truncated_normal"]),
    (initializers.glorot_uniform_initializer(), GLOROT),
    (initializers.he_uniform(), GLOROT),
    (initializers.lecun_uniform(), GLOROT),
])
def test_initializers_make_tf1s_operations(initializer: Any, operations_made: list[str]) -> None:
    get_variable("w", [2, 2], initializer=initializer)
    assert names() == variable_ops("w", [f"Initializer/{each}" for each in operations_made])


def scale_of(tensor: Tensor) -> float:
    """The standard deviation (normal) or the lower limit (uniform) that an initializer asks for, read off its operations."""
    constants = {o.name.rsplit("/", 1)[-1]: o.get_attr("value") for o in tensor.graph.get_operations() if o.type == "Const"}
    return float(constants["stddev"] if "stddev" in constants else constants["min"])


@pytest.mark.parametrize(("initializer", "shape", "expected"), [
    # Recorded from TensorFlow 1.15.5.
    (initializers.variance_scaling_initializer(), [3, 3, 4, 5], 0.18947453796863556),
    (initializers.variance_scaling_initializer(2.0, "fan_avg", "uniform"), [5], -1.095445156097412),
    (initializers.glorot_normal_initializer(), [], 1.1368472576141357),
    # From the papers' formulas.
    (initializers.he_uniform(), [8, 5], -math.sqrt(6 / 8)),
    (initializers.he_normal(), [8, 5], math.sqrt(2 / 8) / 0.8796256610342398),
    (initializers.lecun_uniform(), [8, 5], -math.sqrt(3 / 8)),
    (initializers.lecun_normal(), [8, 5], math.sqrt(1 / 8) / 0.8796256610342398),
    (initializers.glorot_uniform_initializer(), [5, 5, 2, 3], -math.sqrt(6 / (25 * 2 + 25 * 3))),
    (initializers.variance_scaling_initializer(mode="fan_out", distribution="untruncated_normal"), [8, 5], math.sqrt(1 / 5)),
])
def test_variance_scaling(initializer: Any, shape: list[int], expected: float) -> None:
    assert scale_of(initializer(shape)) == pytest.approx(expected, rel=1e-6)


def test_truncation_constant() -> None:
    """The standard deviation of a unit normal cut at +-2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))."""
    density = math.exp(-2.0) / math.sqrt(2 * math.pi)
    inside = math.erf(2 / math.sqrt(2))
    assert pytest.approx(math.sqrt(1 - 4 * density / inside), rel=1e-12) == initializers.TRUNCATED_STDDEV


def test_constant_initializer_fills() -> None:
    fill = initializers.constant_initializer([1, 2, 3])
    np.testing.assert_array_equal(fill([2, 2]).op.get_attr("value"), [[1, 2], [3, 3]])
    assert fill([3], "int64").dtype is dtypes.int64
    with pytest.raises(TypeError, match="Invalid type for initial value: <class 'object'>"):
        initializers.constant_initializer(object())


def test_configurations_make_equal_initializers() -> None:
    assert initializers.zeros_initializer().get_config() == {"dtype": "float32"}
    assert initializers.glorot_uniform_initializer().get_config() == {"seed": None, "dtype": "float32"}
    assert initializers.random_normal_initializer(seed=3).get_config() == {"mean": 0.0, "stddev": 1.0, "seed": 3, "dtype": "float32"}
    for each in (initializers.he_normal(3), initializers.constant_initializer(2), initializers.glorot_normal_initializer(5, "float64")):
        again = type(each).from_config(each.get_config())
        assert vars(again) == vars(each)


@pytest.mark.parametrize(("settings", "message"), [
    ({"scale": -1}, "`scale` must be positive float."), ({"mode": "x"}, "Invalid `mode` argument:"),
    ({"distribution": "x"}, "Invalid `distribution` argument:")])
def test_bad_variance_scaling(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initializers.variance_scaling_initializer(**settings)
