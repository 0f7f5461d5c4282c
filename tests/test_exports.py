"""What other programs open: GraphDef against TensorFlow 1.15's own, ONNX by its checker, DOT, networkx, event files."""
from __future__ import annotations

import json
import re
import struct
import sys
import textwrap
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import onnx
import pytest

import graphc as gc
from graphc.cli import main
from graphc.exports import FORMATS, export, networkx_graph
from graphc.exports.dot import dot
from graphc.exports.events import crc32c
from graphc.exports.onnx_model import onnx_model
from graphc.exports.protobuf import Double, Enum, Message, Packed
from graphc.exports.view import View, view_of
from tests.protobuf_reader import parse_text, parse_wire

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
LAYERS = 1250  # of eight operations each: a graph of ten thousand


@pytest.fixture
def graph() -> gc.Graph:
    """The graph that TensorFlow 1.15 wrote to golden/graph_def_tf15.pbtxt, by the same lines with `tf` for `gc`."""
    with gc.Graph().as_default() as graph:
        x = gc.placeholder(gc.float32, [None, 3], name="x")
        w = gc.constant([[1., 2.], [3., 4.], [5., 6.]], name="w")
        with gc.name_scope("layer"):
            y = gc.matmul(x, w, name="product")
            first, second = gc.split(y, 2, axis=1, name="halves")
        step = gc.constant(-7, gc.int32, name="step")
        flag = gc.cast(step, gc.bool, name="flag")
        with gc.control_dependencies([flag]), gc.device("/cpu:0"):
            z = gc.add(second, first, name="z")
        gc.argmax(z, axis=1, name="best")
    return graph


def fields_of(text: str) -> dict[str, tuple[Any, ...]]:
    """For each node of a GraphDef's text: op, inputs, device, and the attributes by name."""
    nodes = parse_text(text)["node"]
    return {node["name"][0]: (node["op"], node.get("input", []), node.get("device", []),
                              {attr["key"][0]: attr["value"] for attr in node.get("attr", [])}) for node in nodes}


# GraphDef ---------------------------------------------------------------------------------------------------------------------------------

def test_nodes_are_those_of_tensorflow(graph: gc.Graph) -> None:
    """All but the attributes that say which kernel of TensorFlow's is meant ("T"), and our own, which begin with "_"."""
    ours, theirs = fields_of(str(graph.as_graph_def())), fields_of((GOLDEN / "graph_def_tf15.pbtxt").read_text())
    assert list(ours) == list(theirs)
    for name, (op, inputs, device, attrs) in theirs.items():
        assert ours[name][:3] == (op, inputs, device)
        own = {key: value for key, value in ours[name][3].items() if not key.startswith("_")}
        assert own.items() <= attrs.items()
        assert attrs.keys() - own.keys() <= {"T", "Tidx"}


def test_shapes_and_lines_are_attributes(graph: gc.Graph) -> None:
    attrs = fields_of(str(graph.as_graph_def(add_shapes=True)))["layer/halves"][3]
    (shapes,), (types,) = attrs["_output_shapes"][0]["list"], attrs["_output_types"][0]["list"]
    assert [[dim["size"][0] for dim in shape["dim"]] for shape in shapes["shape"]] == [["-1", "1"], ["-1", "1"]]
    assert types["type"] == ["DT_FLOAT", "DT_FLOAT"]
    assert re.fullmatch(r"test_exports.py:\d+", attrs["_line"][0]["s"][0])


def test_only_what_was_declared_since(graph: gc.Graph) -> None:
    version = graph.version
    with graph.as_default():
        gc.no_op(name="late")
    assert [node.name for node in graph.as_graph_def(from_version=version).node] == ["late"]


def test_text_and_bytes_say_the_same(graph: gc.Graph) -> None:
    made = graph.as_graph_def(add_shapes=True)
    nodes = [parse_wire(data) for data in parse_wire(made.SerializeToString())[1]]
    assert [node[1][0].decode() for node in nodes] == [node.name for node in made.node]
    assert [[text.decode() for text in node.get(3, [])] for node in nodes] == [list(node.input) for node in made.node]
    assert made.ByteSize() == len(made.SerializeToString())


def test_large_constants_are_left_out() -> None:
    with gc.Graph().as_default() as graph:
        gc.constant(np.arange(1025.0), name="large")
        gc.constant(np.arange(1024.0), name="small")
    found = fields_of(str(graph.as_graph_def()))
    large, small = (found[name][3]["value"][0]["tensor"][0] for name in ("large", "small"))
    assert large["tensor_shape"][0]["dim"][0]["size"] == ["1025"]
    assert "tensor_content" not in large
    assert "tensor_content" in small


def test_write_graph(graph: gc.Graph, tmp_path: Path) -> None:
    text = gc.train.write_graph(graph, str(tmp_path / "new"), "graph.pbtxt")
    assert text == str(tmp_path / "new" / "graph.pbtxt")
    assert Path(text).read_text() == str(graph.as_graph_def(add_shapes=True))
    binary = gc.train.write_graph(graph.as_graph_def(), tmp_path, "graph.pb", as_text=False)
    assert Path(binary).read_bytes() == graph.as_graph_def().SerializeToString()
    with pytest.raises(TypeError, match=r"^write_graph takes a graphc\.Graph or what its as_graph_def gives, but got <class 'int'>$"):
        gc.train.write_graph(3, tmp_path, "graph.pb")


# Protocol buffers -------------------------------------------------------------------------------------------------------------------------

def test_the_encodings_examples() -> None:
    """The bytes that protobuf's page on its encoding gives: 150, "testing", a message in a message, packed numbers, -2."""
    assert Message((1, "a", 150)).wire().hex() == "089601"
    assert Message((2, "b", "testing")).wire().hex() == "120774657374696e67"
    assert Message((3, "c", Message((1, "a", 150)))).wire().hex() == "1a03089601"
    assert Message((6, "f", Packed((3, 270, 86942)))).wire().hex() == "3206038e029ea705"
    assert Message((1, "a", -2)).wire().hex() == "08feffffffffffffffff01"
    assert Message((1, "x", 1.0), (2, "y", Double(1.0))).wire().hex() == "0d0000803f11000000000000f03f"
    assert Message((1, "e", Enum("RED", 2)), (2, "none", None), (3, "t", True)).wire().hex() == "08021801"


def test_the_text_format() -> None:
    message = Message((1, "s", 'a "b"\\\n\u00e9'), (2, "f", 0.1), (3, "f", float("inf")), (4, "e", Enum("RED", 2)),
                      (5, "p", Packed((1, 2))), (6, "m", Message((1, "b", False))))
    assert message.text() == 's: "a \\"b\\"\\\\\\n\\303\\251"\nf: 0.1\nf: inf\ne: RED\np: 1\np: 2\nm {\n  b: false\n}\n'


# ONNX -------------------------------------------------------------------------------------------------------------------------------------

def loaded(view: View) -> onnx.ModelProto:
    model = onnx.load_model_from_string(onnx_model(view, "1").wire())
    onnx.checker.check_model(model)
    return model


def test_the_graph_for_netron(graph: gc.Graph) -> None:
    made = loaded(view_of(graph)).graph
    assert [(each.name, each.type.tensor_type.elem_type) for each in made.input] == [("x:0", onnx.TensorProto.FLOAT)]
    assert [dim.WhichOneof("value") and dim.dim_value for dim in made.input[0].type.tensor_type.shape.dim] == [None, 3]
    (w,) = [onnx.numpy_helper.to_array(each) for each in made.initializer if each.name == "w:0"]
    assert w.tolist() == [[1, 2], [3, 4], [5, 6]]
    nodes = {node.name: node for node in made.node}
    assert nodes["layer/product"].op_type == "MatMul"
    assert list(nodes["layer/product"].input) == ["x:0", "w:0"]
    assert nodes["layer/product"].doc_string.startswith("test_exports.py:")
    assert list(nodes["z"].input) == ["layer/halves:1", "layer/halves:0", "^flag"]  # an edge of control is a value, too
    assert [each.name for each in made.output] == ["layer/Const:0", "flag:0", "best:0"]  # that nothing reads


def test_kernels_for_netron_show_what_was_fused() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        x = gc.placeholder(gc.float32, [4, 8], name="x")
        y = gc.nn.relu(gc.matmul(x, gc.get_variable("w", [8, 2])) + 1.0, name="y")
        executable = session.compile(y, {x: np.ones((4, 8), np.float32)})
    made = loaded(view_of(executable))
    calls = [node for node in made.graph.node if node.domain == "graphc.kernels"]
    assert sorted(node.op_type for node in calls) == sorted(kernel.name for kernel in executable.kernels)
    assert sorted(function.name for function in made.functions) == sorted(kernel.name for kernel in executable.kernels)
    assert "dot_general" in {node.op_type for function in made.functions for node in function.node}
    assert [each.name for each in made.graph.input] == ["x:0"]


# DOT and networkx -------------------------------------------------------------------------------------------------------------------------

def test_dot_has_a_cluster_for_each_scope(graph: gc.Graph) -> None:
    with graph.as_default(), gc.name_scope("layer/inner/"):
        gc.constant(1.0, name="c")
    lines = dot(view_of(graph, 'my "graph"')).splitlines()
    assert lines[0] == 'digraph "my \\"graph\\"" {'
    start = lines.index('  subgraph "cluster layer" {')
    inner = lines.index('    subgraph "cluster layer/inner" {')
    assert start < inner < len(lines)
    assert lines[inner + 2].startswith('      n11 [label="c\\nConst\\ntest_exports.py:')
    assert sum(line.count("{") - line.count("}") for line in lines) == 0
    names = [operation.name for operation in graph.get_operations()]
    edges = [line.strip() for line in lines if "->" in line]
    assert f'n{names.index("flag")} -> n{names.index("z")} [style=dashed];' in edges
    assert f'n{names.index("x")} -> n{names.index("layer/product")} [label="f32 (?, 3)"];' in edges
    assert len(edges) == sum(len(op.inputs) + len(op.control_inputs) for op in graph.get_operations())


def test_networkx_graph(graph: gc.Graph) -> None:
    made = graph.to_networkx()
    assert set(made.nodes) == {operation.name for operation in graph.get_operations()}
    product = made.nodes["layer/product"]
    assert (product["type"], product["scope"], product["shapes"], product["dtypes"]) == ("MatMul", "layer", ["(?, 2)"], ["float32"])
    assert product["attrs"] == {"transpose_a": False, "transpose_b": False}
    assert [edge["tensor"] for edge in made["layer/halves"]["z"].values()] == ["layer/halves:1", "layer/halves:0"]
    assert [edge["control"] for edge in made["flag"]["z"].values()] == [True]
    assert nx.is_directed_acyclic_graph(made)
    assert nx.ancestors(made, "flag") == {"step"}


def test_networkx_graph_of_programs_and_kernels() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        v = gc.get_variable("v", [3])
        executable = session.compile([v.assign_add(gc.ones([3]))])
    stage = networkx_graph(executable.stages[0].program)
    assert {"v", "v/assign"} <= set(stage.nodes)
    assert stage.number_of_nodes() == len(executable.stages[0].program.nodes)
    kernels = networkx_graph(executable)
    told = [node["attrs"] for node in kernels.nodes.values() if "kernel" in node["attrs"]]
    assert [attrs["kernel"] for attrs in told] == [kernel.name for kernel in executable.kernels]
    assert told[0]["operations"] == [origin.operation for origin in executable.kernels[0].origins]
    with pytest.raises(TypeError, match=r"^only a Graph, a Program or an Executable can be exported, not int$"):
        networkx_graph(3)


def test_executables_in_parts_and_for_a_gpu() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        x = gc.placeholder(gc.float32, [None], name="x")
        positive = gc.reduce_sum(gc.boolean_mask(x, x > 0.0), name="total")
        session.run(positive, {x: np.array([1, -1, 2], np.float32)})
        staged = session.compile(positive, {x: np.ones(3, np.float32)})
        y = gc.layers.dense(gc.nn.softmax(gc.placeholder(gc.float32, [64, 32], name="y")), 8)
        on_gpu = session.compile(y, [gc.get_default_graph().get_tensor_by_name("y:0")], target="sm_90")
    in_stages = networkx_graph(staged)
    assert {name.partition("/")[0] for name in in_stages.nodes} == {"stage_0", "stage_1"}
    for executable in (staged, on_gpu):
        told = {node["attrs"]["kernel"] for node in networkx_graph(executable).nodes.values() if "kernel" in node["attrs"]}
        assert len(told) > 1
        assert all(any(kernel.name.endswith(name) for kernel in executable.kernels) for name in told)
        loaded(view_of(executable))


def test_networkx_is_named_where_it_is_missing(graph: gc.Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r"^this needs networkx: pip install 'graphc\[networkx\]'$"):
        graph.to_networkx()


# Files ------------------------------------------------------------------------------------------------------------------------------------

def events_of(path: Path) -> list[dict[int, list[Any]]]:
    """The events of a file, by field numbers, with their checksums looked at."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, rest = data[12:12 + length], data[12 + length:]
        for part, stored in ((data[:8], data[8:12]), (body, rest[:4])):
            sum_ = crc32c(part)
            assert (((sum_ >> 15 | sum_ << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF == struct.unpack("<I", stored)[0]
        found.append(parse_wire(body))
        data = rest[4:]
    return found


def test_checksums_of_the_standard() -> None:
    """RFC 3720, B.4, and the usual check of the digits."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([255] * 32)) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def test_event_files_hold_the_graph(graph: gc.Graph, tmp_path: Path) -> None:
    with gc.summary.FileWriter(tmp_path / "logs", graph, filename_suffix=".mine") as writer:
        writer.flush()
    (path,) = (tmp_path / "logs").iterdir()
    assert path == writer.path
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..*\.mine", path.name)
    version, event = events_of(path)
    assert version[3] == [b"brain.Event:2"]
    assert event[4] == [graph.as_graph_def(add_shapes=True).SerializeToString()]
    writer.add_graph(graph, global_step=7)  # closed: a new file
    assert writer.path != path
    assert events_of(writer.path)[1][2] == [7]
    writer.close()
    assert writer.get_logdir() == str(tmp_path / "logs")


def test_what_a_file_writer_refuses(graph: gc.Graph, tmp_path: Path) -> None:
    with gc.summary.FileWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match=r"^Please pass only graph, or graph_def \(deprecated\), but not both\.$"):
            writer.add_graph(graph, graph_def=graph.as_graph_def())
        with pytest.raises(TypeError, match=r"^The passed graph must be an instance of `Graph` or the deprecated `GraphDef`, but got"):
            writer.add_graph("graph")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        gc.summary.FileWriter(tmp_path / "file")


def test_run_metadata_on_tensorboards_graph(tmp_path: Path) -> None:
    """As the debugging page shows it, with a traced run."""
    page = (ROOT / "docs" / "debugging.md").read_text()
    block = re.search(r"they are TF1's words, and one more:\n\n((?:    .*\n)+)", page)
    assert block is not None
    metadata = gc.RunMetadata()
    with gc.Graph().as_default() as graph, gc.Session() as session:
        y = gc.nn.relu(gc.ones([4]), name="y")
        session.run(y, options=gc.RunOptions(trace_level=gc.RunOptions.FULL_TRACE), run_metadata=metadata)
    code = textwrap.dedent(block[1]).replace('"logs"', repr(str(tmp_path / "logs")))
    exec(code, names := {"gc": gc, "graph": graph, "metadata": metadata})
    assert {"y"} <= set(names["network"].nodes)
    assert {path.suffix for path in (tmp_path / "logs").iterdir()} >= {".pbtxt"}
    *_, event = events_of(names["writer"].path)
    (tagged,) = map(parse_wire, event[8])
    assert tagged[1] == [b"step 100"]
    (stats,) = map(parse_wire, parse_wire(tagged[2][0])[1])
    (device,) = map(parse_wire, stats[1])
    assert device[1] == [b"/job:localhost/replica:0/task:0/device:CPU:0"]
    nodes = [parse_wire(node) for node in device[2]]
    assert b"y" in [node[1][0] for node in nodes]
    with pytest.raises(ValueError, match=r"^The provided tag was already used for this event type$"):
        names["writer"].add_run_metadata(metadata, "step 100")


# The command ------------------------------------------------------------------------------------------------------------------------------

def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command with wrong input says."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize("what", ["graph", "kernels"])
@pytest.mark.parametrize("format_", FORMATS)
def test_the_command_writes_every_format(format_: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", "softmax", "--format", format_, "--out", str(out), "--what", what]) == 0
    written = Path(capsys.readouterr().out.strip().removeprefix("wrote "))
    assert written == out or written.parent == out
    data = written.read_bytes()
    assert (b"Softmax" if what == "graph" else b"0_row_") in data


def test_the_page_lists_every_format() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs" / "debugging.md").read_text().partition("## Open it elsewhere")[2], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w[\w-]*)`", row)} == set(FORMATS)


def test_wrong_input_gets_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "missing" / "a.dot"
    command = ["export", "softmax", "--format", "dot", "--out", str(out)]
    assert complaint_of(command, capsys) == f"graphc: cannot write {out}: No such file or directory"
    unknown = ["export", "nothing", "--format", "dot", "--out", str(tmp_path / "a.dot")]
    assert complaint_of(unknown, capsys).startswith("graphc: no model 'nothing': give one of mlp, ")
    folder = tmp_path / "file"
    folder.write_text("")
    assert str(folder) in complaint_of(["export", "softmax", "--format", "tensorboard", "--out", str(folder)], capsys)
    monkeypatch.setitem(sys.modules, "networkx", None)
    json_command = ["export", "softmax", "--format", "networkx-json", "--out", str(tmp_path / "a.json")]
    assert complaint_of(json_command, capsys) == "graphc: this needs networkx: pip install 'graphc[networkx]'"
    assert list(tmp_path.iterdir()) == [folder]  # nothing half-written


# Ten thousand operations ------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def large() -> View:
    with gc.Graph().as_default() as graph:
        x = gc.placeholder(gc.float32, [None, 8], name="x")
        for layer in range(LAYERS):
            with gc.name_scope(f"layer_{layer}"):
                x = gc.tanh(x * 0.5 + 1.0) - gc.sqrt(gc.abs(x))
    return view_of(graph)


@pytest.mark.parametrize("format_", FORMATS)
def test_ten_thousand_operations(large: View, format_: str, tmp_path: Path) -> None:
    path = export(large, format_, tmp_path / "out")
    assert len(large.items) == 8 * LAYERS + 1
    data = path.read_bytes()
    assert b"layer_1249" in data
    if format_ == "networkx-json":
        assert nx.node_link_graph(json.loads(data), edges="links").number_of_nodes() == 8 * LAYERS + 1


def test_an_unknown_format(large: View, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no format 'png'; there are dot, pbtxt, pb, onnx, networkx-json, tensorboard$"):
        export(large, "png", tmp_path / "out")
