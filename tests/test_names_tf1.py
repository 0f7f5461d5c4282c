"""Names, control inputs, devices and look-ups against TensorFlow 1.15.5: the expected values are its recorded answers."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from graphc.core.convert import constant
from graphc.core.current import name_scope
from graphc.core.graph import Graph
from graphc.core.leaves import IDENTITY, group, no_op, placeholder
from graphc.core.operation import Operation, Tensor
from graphc.core.scopes import DeviceSpec
from graphc.variables import Variable


@pytest.fixture
def g() -> Iterator[Graph]:
    graph = Graph()
    with graph.as_default():
        yield graph


def names(graph: Graph) -> list[str]:
    return [operation.name for operation in graph.get_operations()]


def identity(x: Tensor, name: str) -> Tensor:
    return x.graph.create_op(IDENTITY, (x,), {}, name).outputs[0]


def controls(graph: Graph) -> dict[str, list[str]]:
    return {o.name: [c.name for c in o.control_inputs] for o in graph.get_operations() if o.control_inputs}


@pytest.mark.parametrize(("asked", "given"), [
    (["a", "A", "a", "a_1", "a", "A_1"], ["a", "A_1", "a_2", "a_1_1", "a_3", "A_1_2"]),
    (["a/b", "a/b", "a", "a"], ["a/b", "a/b_1", "a", "a_1"]),
    (["1x", ".x", "a-b", "NoOp"], ["1x", ".x", "a-b", "NoOp"]),
    ([None, None, "NoOp"], ["NoOp", "NoOp_1", "NoOp_2"]),
])
def test_operation_names(g: Graph, asked: list[str | None], given: list[str]) -> None:
    assert [no_op(name).name for name in asked] == given


def test_unique_name_sequence(g: Graph) -> None:
    assert [g.unique_name(n) for n in ("a", "a", "a", "A", "A")] == ["a", "a_1", "a_2", "A_3", "A_4"]
    assert g.unique_name("a", mark_as_used=False) == "a_5"
    assert [g.unique_name(n) for n in ("a", "a_1", "a_1", "q", "Q", "q")] == ["a_5", "a_1_1", "a_1_2", "q", "Q_1", "q_2"]


def test_a_name_that_ends_in_a_slash_is_taken_as_it_is(g: Graph) -> None:
    with g.name_scope("scope"):
        assert no_op("a/").name == "a"
    with pytest.raises(ValueError, match="Duplicate node name in graph: 'a'"):
        no_op("a/")


@pytest.mark.parametrize("name", ["_x", "x y", "a\\b", "", "a\n"])
def test_invalid_operation_names(g: Graph, name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid node name"):
        no_op(name)
    assert names(g) == []


def test_scopes_are_made_unique(g: Graph) -> None:
    seen = []
    for name in ("a", "a", "Foo", "foo"):
        with g.name_scope(name) as scope:
            seen.append(scope)
            no_op("x")
    no_op("FOO")
    assert seen == ["a/", "a_1/", "Foo/", "foo_1/"]
    assert names(g) == ["a/x", "a_1/x", "Foo/x", "foo_1/x", "FOO_2"]


def test_scopes_nest_reenter_and_reset(g: Graph) -> None:
    with g.name_scope("a"):
        with g.name_scope("b") as b:
            no_op("x")
        with g.name_scope(b):
            no_op("x")
            no_op("y")
        for root in (None, ""):
            with g.name_scope(root) as scope:
                assert scope == ""
                no_op("r")
        no_op("a")
        assert g.get_name_scope() == "a"
    assert names(g) == ["a/b/x", "a/b/x_1", "a/b/y", "r", "r_1", "a/a"]


def test_scope_names_may_begin_with_an_underscore_only_inside(g: Graph) -> None:
    with g.name_scope("a"), g.name_scope("_b"):
        assert no_op("x").name == "a/_b/x"
    for name in ("_a", "a b"):
        with pytest.raises(ValueError, match=f"'{name}' is not a valid scope name"), g.name_scope(name):
            pass
    with pytest.raises(TypeError, match="a scope's name is a string"), g.name_scope(3):  # type: ignore[arg-type]
        pass
    assert g.get_name_scope() == ""


def test_name_scope_function(g: Graph) -> None:
    for name, default in ((None, "d"), (None, "d"), ("e", "d"), (None, None)):
        with name_scope(name, default):
            no_op("x")
    assert names(g) == ["d/x", "d_1/x", "e/x", "x"]
    with pytest.raises(ValueError, match=r"At least one of name \(None\) and default_name \(None\) must be provided."), \
            name_scope(None, None, [constant(1)]):
        pass


def test_name_scope_follows_its_values_to_their_graph(g: Graph) -> None:
    with Graph().as_default() as other:
        x = constant(1.0)
    with name_scope("s", values=[x, 3]):
        no_op("x")
    assert names(other) == ["Const", "s/x"]
    with pytest.raises(ValueError, match="must be from the same graph as"), name_scope("s", values=[x, constant(1.0)]):
        pass


def test_names_in_threads(g: Graph) -> None:
    """Name scopes belong to a thread, names to the graph."""
    with g.name_scope("main"):
        made: list[str] = []

        def work() -> None:
            with g.as_default():
                made.extend(no_op("x").name for _ in range(200))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert no_op("x").name == "main/x"
    assert sorted(made) == sorted(["x", *(f"x_{n}" for n in range(1, 800))])
    assert [o.id for o in g.get_operations()] == list(range(1, 802))


def test_placeholders_and_constants(g: Graph) -> None:
    assert [placeholder("float32").name, placeholder("float32", name="x").name, placeholder("int32", [2], "y").name] == \
        ["Placeholder:0", "x:0", "y:0"]
    assert [constant(1).name, constant(2).name, constant(3, name="c").name] == ["Const:0", "Const_1:0", "c:0"]


# -- control inputs -----------------------------------------------------------------------------------------------------------------------

def test_control_scopes_nest(g: Graph) -> None:
    a, b = no_op("a"), no_op("b")
    with g.control_dependencies([a]):
        no_op("c")
        with g.control_dependencies([b, a]):
            no_op("d")
        with g.control_dependencies(None):
            no_op("e")
        with g.control_dependencies([]):
            no_op("f")
    no_op("h")
    assert controls(g) == {"c": ["a"], "d": ["a", "b"], "f": ["a"]}


def test_inputs_of_the_same_scope_make_control_inputs_needless(g: Graph) -> None:
    a, b = no_op("a"), no_op("b")
    with g.control_dependencies([a]):
        c = placeholder("float32", [], "c")
        with g.control_dependencies([b]):
            d = identity(c, "d")
            identity(d, "e")
    assert controls(g) == {"c": ["a"], "d": ["b"]}


def test_an_input_is_no_control_input(g: Graph) -> None:
    a = constant(1.0, name="a")
    with g.control_dependencies([a]):
        identity(identity(a, "b"), "c")
        constant(2.0, name="d")
    assert controls(g) == {"d": ["a"]}


def test_a_scope_does_not_repeat_the_control_inputs_around_it(g: Graph) -> None:
    a = no_op("a")
    with g.control_dependencies([a]):
        b = constant(1.0, name="b")
        with g.control_dependencies([a]):
            identity(b, "c")
            no_op("d")
    assert controls(g) == {"b": ["a"], "d": ["a"]}


def test_control_inputs_may_be_names_tensors_and_variables(g: Graph) -> None:
    w = Variable(1.0, name="w")
    no_op("x")
    with g.control_dependencies(["x", w, constant(1.0, name="k")]):
        no_op("y")
    assert controls(g) == {"y": ["x", "w", "k"]}


@pytest.mark.parametrize(("inputs", "kind", "message"), [
    ([3], TypeError, "Can not convert a int into a Tensor or Operation."),
    (["nope"], KeyError, "The name 'nope' refers to an Operation not in the graph."),
    (3, TypeError, "not iterable"),
])
def test_bad_control_inputs(g: Graph, inputs: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message), g.control_dependencies(inputs):  # type: ignore[arg-type]
        pass


def test_group(g: Graph) -> None:
    w = Variable(1.0, name="w")
    a = no_op("a")
    assert group().name == "group_deps"
    assert group(a, [a, (w,)], name="g").name == "g"
    assert group(w.initializer).name == "group_deps_1"
    assert controls(g) == {"g": ["a", "w"], "group_deps_1": ["w/Assign"]}


# -- devices and colocation ---------------------------------------------------------------------------------------------------------------

def test_devices_merge(g: Graph) -> None:
    with g.device("/cpu:0"):
        no_op("a")
        with g.device("/job:ps/task:1"):
            no_op("b")
        with g.device("/gpu:1"):
            no_op("c")
        with g.device(None):
            no_op("d")
        with g.device("GPU:0"):
            no_op("e")
    with g.device("/gpu:*"):
        no_op("f")
    with g.device("/device:GPU:1"), g.device("/device:CPU:*"):
        no_op("h")
    assert {o.name: o.device for o in g.get_operations()} == {
        "a": "/device:CPU:0", "b": "/job:ps/task:1/device:CPU:0", "c": "/device:GPU:1", "d": "", "e": "/device:GPU:0",
        "f": "/device:GPU:*", "h": "/device:CPU:1"}


def test_device_functions(g: Graph) -> None:
    def by_type(operation: Operation) -> str:
        return "/cpu:0" if operation.type == "NoOp" else "/gpu:0"

    with g.device("/job:w"), g.device(by_type):
        no_op("a")
        constant(1.0, name="b")
    with g.device(by_type), g.device("/job:w"):
        no_op("c")
    assert [o.device for o in g.get_operations()] == ["/job:w/device:CPU:0", "/job:w/device:GPU:0", "/device:CPU:0"]


@pytest.mark.parametrize("text", ["bad", "/foo:3", "/cpu:0/x"])
def test_bad_devices(g: Graph, text: str) -> None:
    with pytest.raises(ValueError, match="Unknown attribute: "), g.device(text):
        pass
    assert str(DeviceSpec.parse("")) == ""


def test_colocation(g: Graph) -> None:
    a = no_op("a")
    with g.colocate_with(a):
        no_op("b")
    with g.device("/cpu:0"):
        c = no_op("c")
    with g.colocate_with(c):
        no_op("d")
        with g.colocate_with(a):
            no_op("e")
        with g.colocate_with(None, ignore_existing=True):
            no_op("f")
    groups = {o.name: o.colocation_groups() for o in g.get_operations()}
    assert groups == {"a": [b"loc:@a"], "b": [b"loc:@a"], "c": [b"loc:@c"], "d": [b"loc:@c"], "e": [b"loc:@a", b"loc:@c"], "f": [b"loc:@f"]}
    assert g.get_operation_by_name("d").device == "/device:CPU:0"
    with pytest.raises(ValueError, match="ignore_existing"), g.colocate_with(None):
        pass


# -- looking up ---------------------------------------------------------------------------------------------------------------------------

FORM = 'Tensor names must be of the form "<op_name>:<output_index>".'


@pytest.mark.parametrize(("look", "kind", "message"), [
    (lambda g: g.get_tensor_by_name("a"), ValueError, f"The name 'a' refers to an Operation, not a Tensor. {FORM}"),
    (lambda g: g.get_tensor_by_name("zz"), ValueError, f"The name 'zz' looks like an (invalid) Operation name, not a Tensor. {FORM}"),
    (lambda g: g.get_tensor_by_name("a:1"), KeyError,
     "The name 'a:1' refers to a Tensor which does not exist. The operation, 'a', exists but only has 1 outputs."),
    (lambda g: g.get_tensor_by_name("zz:0"), KeyError,
     "The name 'zz:0' refers to a Tensor which does not exist. The operation, 'zz', does not exist in the graph."),
    (lambda g: g.get_operation_by_name("a:0"), ValueError, "Name 'a:0' appears to refer to a Tensor, not a Operation."),
    (lambda g: g.get_operation_by_name("zz"), KeyError, "The name 'zz' refers to an Operation not in the graph."),
    (lambda g: g.get_operation_by_name(3), TypeError, "Operation names are strings (or similar), not int."),
    (lambda g: g.get_tensor_by_name(3), TypeError, "Tensor names are strings (or similar), not int."),
    (lambda g: g.as_graph_element("a:x"), ValueError, f"The name 'a:x' looks a like a Tensor name, but is not a valid one. {FORM}"),
    (lambda g: g.as_graph_element("a::0"), ValueError, f"The name 'a::0' looks a like a Tensor name, but is not a valid one. {FORM}"),
    (lambda g: g.as_graph_element("a:-1"), ValueError, f"The name 'a:-1' looks a like a Tensor name, but is not a valid one. {FORM}"),
    (lambda g: g.as_graph_element(3), TypeError, "Can not convert a int into a Tensor or Operation."),
    (lambda g: g.as_graph_element(constant(1), allow_tensor=False), TypeError, "Can not convert a Tensor into a Operation."),
    (lambda g: g.as_graph_element(no_op(), allow_operation=False), TypeError, "Can not convert a Operation into a Tensor."),
    (lambda g: g.as_graph_element("a", False, False), ValueError, "allow_tensor and allow_operation can't both be False."),
    (lambda g: Graph().as_graph_element(constant(1, name="k")), ValueError,
     'Tensor Tensor("k:0", shape=(), dtype=int32) is not an element of this graph.'),
    (lambda g: Graph().as_graph_element(no_op()), ValueError, "is not an element of this graph."),
])
def test_look_up_errors(g: Graph, look: Callable[[Graph], object], kind: type[Exception], message: str) -> None:
    constant(1, name="a")
    with pytest.raises(kind) as raised:
        look(g)
    assert message in str(raised.value)


def test_look_ups(g: Graph) -> None:
    a = constant(1, name="s/a")
    w = Variable(1.0, name="w")
    assert g.get_tensor_by_name("s/a:0") is a
    assert g.get_operation_by_name("s/a") is a.op
    assert [g.as_graph_element(each) for each in ("s/a", "s/a:0", a, a.op)] == [a.op, a, a, a.op]
    assert g.as_graph_element(w) is g.get_tensor_by_name("w:0")
    assert g.get_tensor_by_name("w:0").op.type == "VariableV2"
