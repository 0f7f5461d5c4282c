"""What the compiler says of its work: what each pass changed, what became of each operation, why kernels are apart, and the dump of all."""
from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.compiled import compiled
from graphc.core import dtypes
from graphc.core.parse import parse_program
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.inspection.changes import Change, difference
from graphc.inspection.description import Description, describe
from graphc.inspection.fates import History
from graphc.inspection.folder import dump
from graphc.inspection.inlined import Inlined
from graphc.inspection.report import read_report
from graphc.inspection.separations import IN_WORDS, edges, in_words
from graphc.passes import op, rule
from graphc.passes.pipelines import DEFAULT, PIPELINES, Stage, run_pipeline
from graphc.passes.storage import is_step, value_of
from tests.random_programs import programs

ROOT = Path(__file__).resolve().parent.parent
X = p.parameter("x", TensorType(dtypes.float32, (4, 8)))


def stage_of(program: Program, name: str) -> tuple[Program, Stage]:
    """The Program that the pass `name` was given, and its stage."""
    stages = run_pipeline(program, DEFAULT)
    number = next(n for n, stage in enumerate(stages) if stage.name == name)
    return stages[number - 1].program, stages[number]


def changes(program: Program, name: str) -> list[Change]:
    before, stage = stage_of(program, name)
    return [change for change in difference(before, stage).changes if change.kind != "rebuilt"]


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]


# Changes --------------------------------------------------------------------------------------------------------------------------------

def test_a_rule_that_replaces_a_node_is_named() -> None:
    y = p.exponential(p.negate(p.negate(X)))
    second, first = changes(Program((X,), (y,)), "simplify")
    assert (first.kind, names(first.before), first.after, first.rule) == ("removed", ["negate"], (X,), "negate twice: -(-x) = x")
    assert (second.kind, names(second.before), second.after) == ("removed", ["negate"], ())
    assert second.why == "nothing reads it any more since its reader changed: negate (negate twice: -(-x) = x)"


def test_what_a_rule_makes_stands_with_what_it_replaces() -> None:
    y = p.divide(X, p.full(4.0, X.type))
    found = changes(Program((X,), (y,)), "simplify")
    replaced = next(change for change in found if change.before == (y,))
    assert (replaced.kind, names(replaced.after)) == ("replaced", ["constant", "broadcast_in_dim", "multiply"])
    assert replaced.rule == "divide by constant: x / c ~ x (1/c)"


def test_nodes_over_other_operands_are_the_same_nodes() -> None:
    y = p.exponential(p.negate(p.negate(X)))
    before, stage = stage_of(Program((X,), (y,)), "simplify")
    rebuilt = [change for change in difference(before, stage).changes if change.kind == "rebuilt"]
    assert [(change.before, change.after) for change in rebuilt] == [((y,), (p.exponential(X),))]


def test_a_pass_without_a_record_is_compared_by_its_nodes() -> None:
    y = p.tanh(p.exponential(X))
    z = p.tanh(p.negate(X))
    found = difference(Program((X,), (y,)), Stage("mine", Program((X,), (z,))))
    assert found.image[y] is z
    assert [(c.kind, names(c.before), names(c.after)) for c in found.changes] == [
        ("replaced", ["exponential"], ["negate"]), ("rebuilt", ["tanh"], ["tanh"])]


def test_what_a_pass_adds() -> None:
    y = p.exponential(X)
    found = difference(Program((X,), (y,)), Stage("mine", Program((X,), (y, p.negate(y)))))
    assert [(c.kind, c.before, c.after) for c in found.changes] == [("added", (), (p.negate(y),))]


def test_fused_nodes_stand_by_their_kernel() -> None:
    y = p.tanh(p.exponential(p.negate(X)))
    (change,) = changes(Program((X,), (y,)), "fuse")
    assert (change.kind, names(change.before), names(change.after)) == ("fused", ["negate", "exponential", "tanh"], ["fusion"])
    assert change.why == "one loop kernel"


def test_a_fused_program_taken_apart_is_the_one_before() -> None:
    """Of a whole training step: every node of the Program before is inside some kernel, and nothing else is."""
    stages = compiled("mlp").stages
    before, after = (next(stage.program for stage in stages if stage.name == name) for name in ("split", "fuse"))
    inlined = Inlined(after)
    assert set(inlined.inside) == set(before.nodes)
    assert [inlined.one(node) for node in after.outputs] == list(before.outputs)


@given(programs(), st.sampled_from(["default", "unfused", "none"]))
@settings(max_examples=60)
def test_of_any_program_every_node_is_accounted_for(program: Program, pipeline: str) -> None:
    """Whatever the passes do: each node before has an image or is gone, each node after is an image or was named, every two kernels of
    which one reads the other have a reason, and nothing is both kept and changed."""
    stages = run_pipeline(program, PIPELINES[pipeline])
    for before, stage in pairwise(stages):
        found = difference(before.program, stage)
        assert found.image.keys() == set(Inlined(before.program).inside)
        assert {node for node, image in found.image.items() if image is None} == found.gone.keys()
        after = Inlined(stage.program)
        images = {image for image in found.image.values() if image is not None}
        assert images <= after.inside.keys()
        named = {node for change in found.changes for node in change.after}
        unknown = [value for value, nodes in after.inside.items() if value not in images and not named.intersection(nodes)]
        assert unknown == []
    steps = [node for node in stages[-1].program.nodes if is_step(node)]
    history = History(stages, steps)
    assert history.origins.keys() == set(steps)
    position = {step: number for number, step in enumerate(steps)}
    reads = {(position[source], position[step]) for step in steps for source, _ in map(value_of, step.operands) if source in position}
    assert {(edge.before, edge.after) for edge in edges(stages, steps)} == reads


# Fates ----------------------------------------------------------------------------------------------------------------------------------

def fates(fetch: gc.Tensor, *feeds: gc.Tensor) -> dict[str, str]:
    with gc.Session() as session:
        executable = session.compile(fetch, feeds)
    description = Description(executable, assembly=False).described()  # type: ignore[arg-type]  # one device
    return {operation["name"]: operation["fate"] for operation in description["operations"]}


def test_what_became_of_each_operation() -> None:
    x = gc.placeholder(gc.float32, [4, 8], name="x")
    v = gc.Variable(np.ones(8, np.float32), name="v")
    flat = gc.reshape(x * v, [32], name="flat")
    whole = gc.multiply(flat, 1.0, name="whole")
    y = gc.tanh(whole, name="y")
    unused = gc.exp(x, name="unused")
    found = fates(y, x)
    assert found["y"] == "computed by kernel 0"
    assert found["flat"] == "a change of index in kernel 0"
    assert found["whole"] == "computed by kernel 0"  # x * v * 1 is the product before it
    assert found["v"] == "a variable: it lives in memory of its own"
    assert found["v/read"] == "its input itself"
    assert found["x"].startswith("given")
    assert unused.op.name not in found


def test_an_operation_that_a_rule_removed_names_the_rule() -> None:
    x = gc.placeholder(gc.float32, [3, 5], name="x")
    twice = gc.negative(gc.negative(x, name="inner"), name="outer")
    found = fates(gc.exp(twice, name="y"), x)
    assert "negate twice: -(-x) = x" in found["inner"]
    assert found["y"] == "computed by kernel 0"


def test_a_reduction_that_was_split_is_computed_by_both_kernels() -> None:
    x = gc.placeholder(gc.float32, [1 << 20], name="x")
    assert fates(gc.reduce_sum(x, name="total"), x)["total"] == "computed by kernels 0, 1"


def test_what_became_of_complex_numbers() -> None:
    x = gc.placeholder(gc.complex64, [8], name="x")
    power = gc.exp(x, name="power")
    product = gc.multiply(power, x, name="product")
    found = fates(gc.real(product, name="y"), x)
    assert {found[name] for name in ("power", "product", "y")} == {"computed by kernel 0"}


def test_a_variable_that_is_fetched_names_its_copy() -> None:
    v = gc.Variable(np.ones(3, np.float32), name="v")
    with gc.Session() as session:
        executable = session.compile(v)
    description = Description(executable, assembly=False).described()  # type: ignore[arg-type]  # one device
    assert [kernel["lines"] for kernel in description["kernels"]] == [[v.op.source]]
    assert {each["name"]: each["fate"] for each in description["operations"]}["v"] == "a variable: it lives in memory of its own"


def test_equal_constants_are_no_work_of_each_others_kernels() -> None:
    """All ones are the same node: it is only computed where it is the result."""
    x = gc.placeholder(gc.float32, [4], name="x")
    one = gc.constant(1.0, name="one")
    found = fates(gc.subtract(gc.ones([4], name="ones"), gc.exp(x + one), name="y"), x)
    assert found["one"] == found["ones"] == "a constant, made where it is read"
    stored = fates(gc.ones([4], name="stored"))
    assert stored["stored"] == "computed by kernel 0"


def test_the_kernel_that_counts_random_numbers_has_their_lines() -> None:
    drawn = gc.random_uniform([4], name="drawn")
    with gc.Session() as session:
        executable = session.compile(drawn)
    kernels = Description(executable, assembly=False).described()["kernels"]  # type: ignore[arg-type]  # one device
    assert all(kernel["lines"] and kernel["operations"] for kernel in kernels)


def test_what_a_rule_made_counts_although_its_readers_took_it_apart() -> None:
    """sum(c x) becomes c sum(x), whose product the subtraction takes upon itself."""
    x, v = gc.placeholder(gc.float32, [64, 8], name="x"), gc.placeholder(gc.float32, [8], name="v")
    total = gc.reduce_sum(x * 0.5, 0, name="total")
    assert fates(gc.subtract(v, total * 4.0, name="y"), x, v)["total"].startswith("computed by kernel")


# Why kernels are apart -------------------------------------------------------------------------------------------------------------------

def test_every_reason_is_explained() -> None:
    """Each phrase that the fusing pass can give has words for people who do not know its rules."""
    phrases = set()
    for file in ("passes/groups.py", "passes/partition.py"):
        tree = ast.parse((ROOT / file).read_text())
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Illegal"]
        phrases |= {str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)}
        assert calls
    assert phrases - IN_WORDS.keys() == set()
    assert "goes through a transpose" in in_words("a transpose of a result")


def test_two_products_stay_apart() -> None:
    a, b = (p.parameter(name, TensorType(dtypes.float32, (8, 8))) for name in "ab")
    product = p.dot_general(a, b, (), (), (1,), (0,))
    stages = run_pipeline(Program((a, b), (p.dot_general(product, b, (), (), (1,), (0,)),)), DEFAULT)
    steps = [node for node in stages[-1].program.nodes if node.name in ("dot_general", "fusion")]
    (edge,) = edges(stages, steps)
    assert (edge.before, edge.after, edge.why) == (0, 1, "two products")
    assert edge.text.startswith("each computes a matrix product")


@pytest.mark.parametrize("model", ["mlp", "attention", "transformer"])
def test_every_kernel_has_lines_and_every_edge_a_reason(model: str) -> None:
    described = Description(compiled(model), model, assembly=False).described()  # type: ignore[arg-type]  # one device
    assert [kernel["name"] for kernel in described["kernels"] if not kernel["lines"] or not kernel["operations"]] == []
    pairs = {(read["from"], number) for number, kernel in enumerate(described["kernels"]) for read in kernel["reads"]
             if read["from"] is not None}
    assert {(edge["from"], edge["to"]) for edge in described["edges"]} == pairs
    assert [edge for edge in described["edges"] if not edge["text"] or edge["why"].startswith("made by")] == []


def test_a_gpus_kernels_have_lines_and_reasons_too() -> None:
    described = describe(compiled("mlp", target="sm_90"), "mlp")
    assert [kernel["name"] for kernel in described["kernels"] if not kernel["lines"] or not kernel["operations"]] == []
    assert described["edges"]
    assert all(edge["text"] for edge in described["edges"])
    assert described["kernels"][0]["code"].count("__global__") == 1


def test_buffers_are_used_by_launches_also_where_these_do_several_steps() -> None:
    x = gc.placeholder(gc.complex64, [8], name="x")
    with gc.Session() as session:
        executable = session.compile([gc.exp(x) * x, gc.abs(x), gc.real(x * x)], [x], target="sm_90")
    described = describe(executable)
    steps = [len(kernel.steps) for kernel in executable.kernels]  # type: ignore[attr-defined]  # a GPU's
    assert sum(steps) > len(steps)
    last = len(steps) - 1
    assert [buffer for buffer in described["memory"]["buffers"] if not 0 <= buffer["first"] <= buffer["last"] <= last] == []
    assert max(buffer["last"] for buffer in described["memory"]["buffers"]) == last


def test_a_profile_gives_the_kernels_their_times() -> None:
    x = gc.placeholder(gc.float32, [512, 512], name="x")
    y = gc.nn.softmax(x @ x, name="y")
    feeds = {x: np.ones((512, 512), np.float32)}
    with gc.Session() as session:
        profile = session.profile(y, feeds)
        described = describe(session.compile(y, feeds), "y", profile)
    assert [kernel["measured_us"] for kernel in described["kernels"]] == [step.us for step in profile.kernels]
    assert [event["kernel"] for event in described["timeline"]] == list(range(len(described["kernels"])))


def test_a_run_in_stages_is_described_in_pieces() -> None:
    x = gc.placeholder(gc.float32, [4], name="x")
    y = gc.reduce_sum(gc.boolean_mask(x, x > 0.0) * 2.0)
    feeds = {x: np.array([1, -1, 2, 3], np.float32)}
    with gc.Session() as session:
        session.run(y, feeds)
        profile, executable = session.profile(y, feeds), session.compile(y, feeds)
    described = describe(executable, "masked", profile)
    assert [piece["title"] for piece in described["pieces"]] == [name for name, _ in executable.pieces]
    times = [kernel["measured_us"] for piece in described["pieces"] for kernel in piece["kernels"]]
    assert times == [step.us for step in profile.kernels]


def test_without_fusion_that_is_the_reason() -> None:
    executable = compiled("mlp", "unfused")
    history = History(executable.stages, executable.plan.steps)  # type: ignore[attr-defined]  # one device
    assert {edge.why for edge in edges(executable.stages, list(history.steps))} == {"fusion is switched off in this pipeline"}


# The dump -------------------------------------------------------------------------------------------------------------------------------

def test_a_dump_holds_every_stage_and_kernel(tmp_path: Path) -> None:
    executable = compiled("softmax")
    executable.dump(tmp_path / "out")
    index = (tmp_path / "out" / "index.md").read_text()
    stages = {path.name: path for path in (tmp_path / "out").glob("*.program")}
    for number, stage in enumerate(executable.stages):
        name = f"{number}-{stage.name}.program"
        if number and stage.program is executable.stages[number - 1].program:
            assert name not in stages
            assert f"{number}. {stage.name}: unchanged" in index
        else:
            assert parse_program(stages[name].read_text()) == stage.program
    texts = {path.suffix: path.read_text() for path in (tmp_path / "out" / "kernels").iterdir()}
    assert set(texts) == {".kernel", ".ll", ".s"}
    assert "define void @" in texts[".ll"]
    assert ".text" in texts[".s"]
    for link in [part.split(")")[0] for part in index.split("](")[1:]]:
        assert (tmp_path / "out" / link).is_file()


def test_a_dump_is_the_same_in_every_process(tmp_path: Path) -> None:
    code = "import sys; from graphc.compiled import compiled; compiled('attention').dump(sys.argv[1])"
    folders = [tmp_path / seed for seed in "12"]
    for folder in folders:
        environment = {**os.environ, "PYTHONHASHSEED": folder.name, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment, timeout=100)
    left, right = ({str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()} for folder in folders)
    assert len(left) > 10
    assert left == right


def test_a_dump_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    executable = compiled("elementwise")
    folder = tmp_path / "a" / "b"
    executable.dump(folder)
    (folder / "kernels" / "old.kernel").write_text("of an earlier dump")
    executable.dump(folder)
    assert not (folder / "kernels" / "old.kernel").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"other holds other files: name a new folder, an empty one, or one that an earlier dump made$"):
        executable.dump(other)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and "thesis" in path.name] == ["thesis.txt"]
    with pytest.raises(ValueError, match=r"^cannot write to .*thesis.txt.deeper: "):
        executable.dump(other / "thesis.txt" / "deeper")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "other"]


def test_a_pass_may_be_called_anything(tmp_path: Path) -> None:
    @rule("turned", "-(x - y) = y - x", op.negate(op.subtract("x", "y")))
    def turned(x: Node, y: Node) -> Node:
        return p.subtract(y, x)

    pipeline = gc.pipelines["default"].after("real", "../../my </a> pass", [turned])
    x = gc.placeholder(gc.float32, [4], name="x")
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
        session.compile(gc.negative(x - gc.sin(x)), [x]).dump(tmp_path / "dump")
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]
    assert {path.name for path in (tmp_path / "dump").glob("*my*")} == {"1-.._.._my_a_pass.program", "1-.._.._my_a_pass.changes"}


def test_a_profile_of_stages_on_several_devices_finds_its_kernels(tmp_path: Path) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    with gc.device("/cpu:0"):
        kept = gc.boolean_mask(gc.sin(x), x > 1.0)
    with gc.device("/cpu:1"):
        grown = gc.exp(kept, name="grown")
    with gc.device("/cpu:0"):
        total = gc.reduce_sum(grown + kept, name="total")
    feeds = {x: np.float32([1, 2, 3])}
    with gc.Session(config=gc.ConfigProto(device_count={"CPU": 2})) as session:
        profile = session.profile(total, feeds, runs=1)
        executable = session.compile(total, feeds)
        executable.report(tmp_path / "report.html", profile)
        other = session.compile(total, {x: np.float32([1, 2, 3, 4])})
        with pytest.raises(ValueError, match=r"^the profile is of another program: its kernel \d+, "):
            other.report(tmp_path / "other.html", session.profile(gc.cumsum(x), {x: np.ones(100, np.float32)}, runs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    pieces = read_report((tmp_path / "report.html").read_text())["pieces"]
    assert len(pieces) == 4
    assert [step.us for step in profile.kernels] == [kernel["measured_us"] for piece in pieces for kernel in piece["kernels"]]


def test_a_run_in_stages_has_a_folder_for_each(tmp_path: Path) -> None:
    x = gc.placeholder(gc.float32, [4], name="x")
    y = gc.reduce_sum(gc.boolean_mask(x, x > 0.0) * 2.0)
    with gc.Session() as session:
        assert session.run(y, {x: [1.0, -1.0, 2.0, 3.0]}) == 12.0
        executable = session.compile(y, {x: np.array([1, -1, 2, 3], np.float32)})
    assert dump(executable, tmp_path / "out", "masked") == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    index = (tmp_path / "out" / "index.md").read_text()
    assert f"{len(executable.pieces)} pieces" in index
    assert (tmp_path / "out" / "1" / "index.md").read_text().splitlines()[2].startswith("# masked: stage 1")


def test_an_executable_writes_its_report_and_shows_in_a_notebook(tmp_path: Path) -> None:
    x = gc.placeholder(gc.float32, [64, 64], name="x")
    y = gc.nn.softmax(x @ x, name="y")
    feeds = {x: np.ones((64, 64), np.float32)}
    with gc.Session() as session:
        executable, profile = session.compile(y, feeds), session.profile(y, feeds)
    executable.report(tmp_path / "y.html", profile)
    read = read_report((tmp_path / "y.html").read_text())
    assert read["title"] == "y"
    assert [kernel["measured_us"] for kernel in read["kernels"]] == [step.us for step in profile.kernels]
    assert all(kernel["assembly"] for kernel in read["kernels"])
    assert executable._repr_html_().startswith("<table><caption>y</caption>")
    assert f"<td>{len(executable.kernels)}: " in executable._repr_html_()
    with pytest.raises(OSError, match="No such file"):
        executable.report(tmp_path / "missing" / "y.html")


def test_an_executable_as_a_graph_of_networkx() -> None:
    network = compiled("softmax").to_networkx()
    assert nx.is_directed_acyclic_graph(network)
    assert len(network) >= 2


def test_each_result_of_a_kernel_has_its_own_name() -> None:
    x = gc.placeholder(gc.float32, [32, 8], name="x")
    total = gc.reduce_sum(gc.exp(x, name="e"), 1, name="total")
    largest = gc.reduce_max(x, 1, name="largest")
    with gc.Session() as session:
        described = describe(session.compile([total, largest], [x]), "two", assembly=False)
    (kernel,) = described["kernels"]
    assert sorted(each["value"] for each in kernel["writes"]) == ["largest", "total"]
    assert [each["value"] for each in kernel["reads"]] == ["x:0"]


def test_every_compilation_is_dumped_where_the_environment_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
    y = gc.add(gc.Variable([1.0, 2.0], name="v"), 1.0, name="y")
    session = gc.Session()
    session.run(gc.global_variables_initializer())
    session.run(y)
    session.run(y)
    index = (tmp_path / "index.md").read_text().splitlines()
    assert len(index) == 2
    assert "because of new fetches" in index[1]
    folder = tmp_path / index[1].split("]")[0].removeprefix("- [")
    assert folder.name.endswith("-y_0")
    assert "# y:0" in (folder / "index.md").read_text()
    assert "ms: specialise" in (folder / "compilation.txt").read_text()


def test_a_dump_that_cannot_be_written_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="nothing was dumped"):
        assert gc.Session().run(gc.constant(1.0) + 1.0) == 2.0


def test_origins_are_told_by_name() -> None:
    node = p.exponential(X)
    history = History([Stage("specialise", Program((X,), (node,), origins={node: (Origin("e", "Exp", "a.py:1"),)}))], [node])
    assert history.origins == {node: (Origin("e", "Exp", "a.py:1"),)}
    assert history.fate(Origin("e", "Exp")).kernels == (0,)
    assert history.fate(Origin("gone", "NoOp")).text == "groups other operations"
