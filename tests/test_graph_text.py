"""Graphs print and parse back: same operations, names, shapes, lines; the parsed graph runs and gives the same bits."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.core.graph_text import parse_graph, print_graph
from graphc.core.parse import ParseError
from graphc.models import MODELS, load

SMALL = """graph {
  x : f32[?,2] = Placeholder() {dtype = f32, shape = [none, 2]}  // train.py:3
  w : f32[2] = VariableV2() {dtype = f32, shape = [2]}  // train.py:4
  w/initial_value : f32[2] = Const() {value = dense f32[2] [1.0, 2.0], dtype = f32}  // train.py:4
  w/Assign : f32[2] = Assign(w:0, w/initial_value:0)  // train.py:4
  y : f32[?,2] = Mul(x:0, w:0)  // train.py:5
  init = NoOp(^w/Assign)  // train.py:6
  collection "losses" = [y:0, init]
}"""


def same(graph: gc.Graph) -> gc.Graph:
    """The graph parsed from the text of `graph`, which must print as the same text and hold the same operations."""
    text = print_graph(graph)
    parsed = parse_graph(text)
    assert print_graph(parsed) == text
    assert [(o.name, o.type, o.source, o.device) for o in parsed.get_operations()] == \
        [(o.name, o.type, o.source, o.device) for o in graph.get_operations()]
    for one, other in zip(graph.get_operations(), parsed.get_operations(), strict=True):
        assert one.attrs.keys() == other.attrs.keys()
        assert [(t.dtype, t.shape_tuple) for t in one.outputs] == [(t.dtype, t.shape_tuple) for t in other.outputs]
        assert [t.name for t in one.inputs] == [t.name for t in other.inputs]
        assert [o.name for o in one.control_inputs] == [o.name for o in other.control_inputs]
        assert (one.gradient_of and one.gradient_of.name) == (other.gradient_of and other.gradient_of.name)
    return parsed


def test_a_small_graph_by_hand() -> None:
    graph = parse_graph(SMALL)
    assert print_graph(graph) == SMALL
    session = gc.Session(graph=graph)
    session.run("init")
    np.testing.assert_array_equal(session.run("y:0", {"x:0": [[3.0, 4.0], [5.0, 6.0]]}), [[3.0, 8.0], [5.0, 12.0]])
    assert [item.name for item in graph.get_collection("losses")] == ["y:0", "init"]
    assert str(graph.get_operation_by_name("y").source_line) == "train.py:5"


def test_an_empty_graph() -> None:
    assert print_graph(gc.Graph()) == "graph {\n}"
    assert same(gc.Graph()).get_operations() == []


@pytest.mark.parametrize("model", MODELS)
def test_models_come_back(model: str) -> None:
    graph = gc.Graph()
    with graph.as_default():
        load(model)()
    same(graph)


def test_training_gives_the_same_bits_after_a_trip_through_text() -> None:
    gc.get_default_graph().seed = 5
    x, labels = gc.placeholder(gc.float32, [None, 3], name="x"), gc.placeholder(gc.int32, [None], name="labels")
    logits = gc.layers.dense(gc.nn.dropout(gc.layers.dense(x, 4, activation=gc.tanh), 0.8), 3)
    loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
    train = gc.train.AdamOptimizer(0.1).minimize(loss, name="train")
    init = gc.global_variables_initializer()
    feeds = {"x:0": np.eye(3, dtype=np.float32), "labels:0": np.array([0, 1, 2], np.int32)}
    graph = gc.get_default_graph()
    losses = []
    for each in (graph, same(graph)):
        session = gc.Session(graph=each)
        session.run(init.name)
        losses.append([session.run(["loss:0", train.name], feeds)[0] for _ in range(5)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 5


def test_second_gradients_come_back_in_a_new_process(tmp_path: Path) -> None:
    """The types of gradients are made on demand, also where the process has never differentiated."""
    x = gc.placeholder(gc.float64, [3], name="x")
    first, = gc.gradients(gc.nn.softmax(x) * x, x)
    second, = gc.gradients(first, x)
    assert any(o.type.endswith("GradGrad") for o in gc.get_default_graph().get_operations())
    point = np.array([0.1, -0.4, 2.0])
    expected = gc.Session().run(second, {x: point})
    same(gc.get_default_graph())
    file = tmp_path / "second.graph"
    file.write_text(print_graph(gc.get_default_graph()))
    program = (f"import graphc as gc\nfrom graphc.core.graph_text import parse_graph\nimport sys\n"
               f"graph = parse_graph(open({str(file)!r}).read())\n"
               f"print([x.hex() for x in gc.Session(graph=graph).run({second.name!r}, {{'x:0': {point.tolist()}}}).tolist()])")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == str([v.hex() for v in expected.tolist()])


def test_what_surrounds_an_operation_comes_back() -> None:
    graph = gc.get_default_graph()
    graph.seed = -3
    v = gc.Variable(1.0, name="v")
    with gc.device("/gpu:0"), gc.control_dependencies([v.initializer, gc.no_op("first")]), gc.name_scope("a-b/c.d"):
        read = v.read_value()
    with gc.colocate_with(v):
        gc.negative(read)
    gc.add_to_collection('with "quotes"\\', read)
    gc.add_to_collection("mixed", 3)
    parsed = same(graph)
    assert parsed.seed == -3
    operation = parsed.get_operation_by_name("a-b/c.d/read")
    assert operation.device == "/device:GPU:0"
    assert [o.name for o in operation.control_inputs] == ["v/Assign", "first"]
    assert parsed.get_operations()[-1].colocation_groups() == [b"loc:@v"]
    assert parsed.get_collection('with "quotes"\\')[0].name == "a-b/c.d/read:0"
    assert parsed.get_collection("mixed") == []


def test_known_and_unknown_shapes_come_back() -> None:
    gc.placeholder(gc.float32, None, name="any")
    gc.placeholder(gc.float32, [], name="scalar")
    gc.placeholder(gc.bool, [None, 0, 3], name="some")
    narrowed = gc.placeholder(gc.bfloat16, None, name="narrowed") + 1.0
    narrowed.set_shape([None, 5])
    parsed = same(gc.get_default_graph())
    assert "any : f32[...] = Placeholder()" in print_graph(parsed)
    assert parsed.get_tensor_by_name("narrowed:0").shape_tuple is None
    assert parsed.get_tensor_by_name(narrowed.name).shape_tuple == (None, 5)


@settings(max_examples=60)
@given(st.lists(st.floats(width=32), max_size=20), st.sampled_from(["float32", "float64", "float16", "int8", "uint64", "bool", "bfloat16"]))
def test_constants_come_back_bit_by_bit(values: list[float], dtype: str) -> None:
    with np.errstate(all="ignore"):
        array = np.array(values).astype(gc.as_dtype(dtype).np_dtype)
    gc.reset_default_graph()
    gc.constant(array)
    back = same(gc.get_default_graph()).get_operations()[0].attrs["value"]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


def test_the_parsed_graph_can_grow() -> None:
    """New operations get new names, scopes too."""
    with parse_graph(SMALL).as_default() as graph:
        y = gc.add(graph.get_tensor_by_name("y:0"), 1.0, name="y")
        assert y.name == "y_1:0"
        with gc.name_scope("w") as scope:
            assert scope == "w_1/"
        session = gc.Session()
        session.run("init")
        np.testing.assert_array_equal(session.run(y, {"x:0": [[1.0, 1.0]]}), [[2.0, 3.0]])


def test_comments_and_empty_lines_are_passed_over() -> None:
    assert print_graph(parse_graph("// a title\n\n" + SMALL.replace("\n", "\n\n  // said twice\n", 3) + "\n")) == SMALL


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), [
    ("graph {", "grap {", 1, 1, "expected 'graph {'"),
    ("\n}", "", 8, 1, "expected '}' after the last operation"),
    ("Mul(x:0", "Mull(x:0", 6, 18, "there is no operation type 'Mull'"),
    ("Mul(x:0", "Mul(z:0", 6, 22, "no operation 'z' is declared above"),
    ("Mul(x:0", "Mul(x:1", 6, 22, "'x' has 1 outputs, no output 1"),
    ("Mul(x:0", "Mul(x", 6, 22, "expected a tensor such as x:0, found 'x, w:0)  // '"),
    ("Mul(x:0, w:0)", "Mul(x:0 w:0)", 6, 26, "expected ',', found 'w:0)  // tra'"),
    ("Mul(x:0, w:0)", "Mul(x:0, w:0) twice", 6, 32, "expected the end of the line, found 'twice  // tr'"),
    ("y : f32[?,2]", "y : f64[?,2]", 6, 3, "Mul gives f32[?,2], not f64[?,2]"),
    ("y : f32[?,2]", "y : f32[?,3]", 6, 3, "Mul gives f32[?,2], not f32[?,3]"),
    ("y : f32[?,2]", "y", 6, 3, "Mul gives f32[?,2], not nothing"),
    ("y : f32[?,2]", "y : f31[2]", 6, 7, "'f31[2]' is not a type"),
    ("y : f32[?,2]", "y : 32", 6, 7, "expected a type such as f32[2,?], found '32 = Mul(x:0'"),
    ("  y :", "  w :", 6, 3, "Duplicate node name in graph: 'w'"),
    ("[none, 2]}", "[none, 2}", 2, 62, "expected ,, found '}'"),
    ("shape = [none, 2]", "size = 3", 2, 3, "Placeholder: unknown attribute 'size'"),
    ("^w/Assign", "^w/assign", 7, 15, "no operation 'w/assign' is declared above"),
    ("Mul(x:0, w:0)", "MatMul(x:0, w:0) {transpose_a = false, transpose_b = false}", 6, 3, ""),
    ('"losses" = [y:0', '"losses" = [q:0', 8, 26, "no operation 'q' is declared above"),
])
def test_text_that_is_no_graph(old: str, new: str, line: int, column: int, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ParseError) as caught:
        parse_graph(SMALL.replace(old, new, 1))
    assert str(caught.value).startswith(f"line {line}, column {column}: {message}")
    assert not re.search(r"\n", str(caught.value))
