"""Sessions on several devices give what they give on one: values, variables, errors; and show what they did.

CPUs of one machine (`device_count`), and GPUs that are faked (their code is a CPU's), stand for the devices.
"""
from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.cli import main
from graphc.core.errors import FailedPreconditionError, InvalidArgumentError
from graphc.core.text import print_program
from graphc.core.verify import verify
from graphc.runtime import placement
from graphc.runtime.cuda.detect import Device as FoundGpu
from graphc.runtime.placed import PlacedExecutable

X = np.arange(12, dtype=np.float32).reshape(4, 3) / 8


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs whose architecture is the CPU's."""
    monkeypatch.setattr(placement, "gpus", lambda: ((FoundGpu("one", "", 1 << 30, 1), FoundGpu("two", "", 2 << 30, 1)), None))


def config(cpus: int = 2, **options: Any) -> gc.ConfigProto:
    return gc.ConfigProto(device_count={"CPU": cpus}, **options)


def both_ways(build: Callable[[], tuple[Any, dict[Any, Any]]], runs: int = 3, **options: Any) -> PlacedExecutable:
    """Runs a graph on the devices that it names, and all on one CPU: the same results and variables, but for what the rounding of other
    fusions may change. The first executable."""
    results, names = [], []
    made = None
    for placed in (True, False):
        with gc.Graph().as_default():
            gc.get_default_graph().seed = 7
            if placed:
                fetches, feeds = build()
            else:
                with gc.device(lambda operation: ""):
                    fetches, feeds = build()
                for operation in gc.get_default_graph().get_operations():
                    operation.device = ""
            with gc.Session(config=config(4, **options)) as session:
                session.run(gc.global_variables_initializer())
                made = session.compile(fetches, feeds) if placed else made
                found = [session.run(fetches, feeds) for _ in range(runs)]
                results.append((found, session.run(gc.global_variables())))
                names.append(session.list_variables())
    for one, other in zip(*(_flat(result) for result in results), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)
    assert names[0] == names[1]
    assert isinstance(made, PlacedExecutable)
    return made


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _flat(each)]
    return [] if value is None else [value]


def test_values_go_from_device_to_device() -> None:
    def build() -> tuple[Any, dict[Any, Any]]:
        x = gc.placeholder(gc.float32, (4, 3), name="x")
        with gc.device("/cpu:0"):
            a = x * 2.0 + 1.0
        with gc.device("/cpu:1"):
            w = gc.Variable(np.ones((3, 2), np.float32), name="w")
            b = gc.matmul(a, w)
        with gc.device("/cpu:0"):
            c = gc.reduce_sum(b) + gc.reduce_sum(a)
        with gc.device("/cpu:1"):
            return [c, w.assign_add(gc.fill([3, 2], c)), a], {x: X}

    made = both_ways(build)
    assert [(segment.device, segment.takes, segment.gives) for segment in made.segments] == [
        ("CPU:0", (0,), (3, 5)), ("CPU:1", (3,), (4,)), ("CPU:0", (4, 5), (1,)), ("CPU:1", (1,), (2,))]


def test_the_program_shows_its_transfers() -> None:
    x = gc.placeholder(gc.float32, (4, 3), name="x")
    with gc.device("/cpu:1"):
        y = gc.tanh(x * 2.0, name="y")
    with gc.device("/cpu:2"):
        z = gc.add(y, x, name="z")
    with gc.Session(config=config(3)) as session:
        made = session.compile([y, z], {x: X})
    verify(made.program)
    assert [(node.attrs.source, node.attrs.target) for node in made.program.nodes if node.name == "transfer"] == [
        ("CPU:0", "CPU:1"), ("CPU:1", "CPU:2"), ("CPU:0", "CPU:2")]
    assert re.search(r'transfer\(%\d+\) {source = "CPU:1", target = "CPU:2"} : f32\[4,3\]  // z \(test_placed_sessions.py:\d+\)',
                     print_program(made.program))
    assert made.plan_text.splitlines() == [
        "// segment 0 on CPU:1: takes x:0; gives output 0", "// segment 1 on CPU:2: takes x:0, output 0; gives output 1"]
    assert made.target == "mixed"
    assert [kernel.name for kernel in made.kernels] == ["segment0_0_loop_y", "segment1_0_add_z"]
    assert made.bytes_moved == sum(segment.executable.bytes_moved for segment in made.segments) > 0
    assert [str(type_) for type_ in (*made.feeds, *made.fetches)] == ["f32[4,3]"] * 3
    assert made.expectation.count("CPU:") == 2


def test_variables_keep_their_old_value_until_the_end() -> None:
    """A swap across devices, and readers after the writer, on both sides."""
    def build() -> tuple[Any, dict[Any, Any]]:
        with gc.device("/cpu:0"):
            a = gc.Variable([1.0, 2.0], name="a")
        with gc.device("/cpu:1"):
            b = gc.Variable([5.0, 7.0], name="b")
        old_a, old_b = a.read_value(), b.read_value()
        new_a, new_b = a.assign(old_b), b.assign(old_a * 2.0)
        with gc.device("/cpu:1"):
            late = gc.exp(new_a * 0.1) + old_a
        with gc.device("/cpu:0"):
            later = gc.exp(new_b * 0.1) + late + old_a
            again = a.assign(new_a + later)
        return [late, later, again, old_a, old_b, a, b], {}

    both_ways(build)


def test_two_towers_share_the_variables_of_the_cpu() -> None:
    """TF1's pattern for several GPUs: variables on the CPU, a tower on each device, gradients averaged on the CPU."""
    def build() -> tuple[Any, dict[Any, Any]]:
        x = gc.placeholder(gc.float32, (4, 3), name="x")
        with gc.device("/cpu:0"):
            w = gc.get_variable("w", (3, 2))
            b = gc.Variable(np.zeros(2, np.float32), name="b")
            optimizer = gc.train.MomentumOptimizer(0.1, 0.9)
        towers = []
        for number, part in ((1, x[:2]), (2, x[2:])):
            with gc.device(f"/cpu:{number}"):
                loss = gc.reduce_mean(gc.square(gc.tanh(gc.matmul(part, w) + b) - 0.5))
                towers.append((loss, optimizer.compute_gradients(loss)))
        with gc.device("/cpu:0"):
            mean = [((one[0] + other[0]) / 2.0, one[1]) for one, other in zip(towers[0][1], towers[1][1], strict=True)]
            step = optimizer.apply_gradients(mean)
        return [towers[0][0], towers[1][0], step], {x: X}

    made = both_ways(build, runs=5)
    assert [segment.device for segment in made.segments] == ["CPU:0", "CPU:1", "CPU:2", "CPU:0"]
    assert [name for name, _ in made.writes] == [name for name, _ in made.segments[-1].executable.writes]


def test_gradients_follow_their_forward_operations() -> None:
    """One segment for a model in a scope and an optimizer outside of it; feeds and the loss cross over by themselves."""
    x = gc.placeholder(gc.float32, (4, 3), name="x")
    with gc.device("/cpu:1"):
        hidden = gc.layers.dense(x, 5, gc.tanh)
        loss = gc.reduce_sum(gc.layers.dense(hidden, 2) * 2.0)
    step = gc.train.AdamOptimizer().minimize(loss)
    with gc.Session(config=config()) as session:
        session.run(gc.global_variables_initializer())
        made = session.compile([loss, step], {x: X})
        assert not isinstance(made, PlacedExecutable)
        assert session.run(loss, {x: X}) > session.run([loss, step], {x: X})[0] - 1e-6 > session.run(loss, {x: X})


def test_random_operations_give_the_same_numbers_anywhere() -> None:
    def build() -> tuple[Any, dict[Any, Any]]:
        with gc.device("/cpu:1"):
            a = gc.random_normal((5,), seed=3)
        with gc.device("/cpu:0"):
            b = gc.random_uniform((5,), seed=4)
        with gc.device("/cpu:2"):
            return [a, b, a + b, gc.nn.dropout(a + b, 0.5, seed=5)], {}

    both_ways(build)


def test_equal_operations_on_two_devices() -> None:
    def build() -> tuple[Any, dict[Any, Any]]:
        x = gc.placeholder(gc.float32, (4, 3), name="x")
        with gc.device("/cpu:0"):
            one, six = gc.tanh(x), gc.constant([1.0, 2.0]) * 6.0
        with gc.device("/cpu:1"):
            other, again = gc.tanh(x), gc.constant([1.0, 2.0]) * 6.0
        return [one, other, six, again, one + other], {x: X}

    made = both_ways(build)
    assert [segment.device for segment in made.segments] == ["CPU:1", "CPU:0"]
    assert sum(node.name == "tanh" for segment in made.segments for node in segment.executable.stages[0].program.nodes) == 2


def test_outputs_that_nothing_computes() -> None:
    """Feeds, constants, variables and identities of them, fetched from whatever device; one twice, one empty, one scalar."""
    def build() -> tuple[Any, dict[Any, Any]]:
        x = gc.placeholder(gc.float32, (4, 3), name="x")
        n = gc.placeholder(gc.int32, (), name="n")
        empty = gc.placeholder(gc.float32, (0, 3), name="empty")
        with gc.device("/cpu:1"):
            same, seven = gc.identity(x), gc.constant(7.0)
            v = gc.Variable([1.0], name="v")
            nothing = gc.matmul(empty, gc.transpose(x))
        with gc.device("/cpu:2"):
            copy = gc.identity(v)
            fetches = [x, same, seven, v, copy, n, n + 1, nothing, gc.reduce_sum(nothing), same, v + 1.0]
        return fetches, {x: X, n: 3, empty: np.zeros((0, 3), np.float32)}

    both_ways(build)


def test_shapes_that_depend_on_values_of_another_device() -> None:
    n = gc.placeholder(gc.int32, (), name="n")
    with gc.device("/cpu:1"):
        filled = gc.fill([n, 2], 1.5)
    with gc.device("/cpu:2"):
        total = gc.reduce_sum(filled * gc.cast(n, gc.float32))
    with gc.Session(config=config(3)) as session:
        for size in (1, 3, 0):
            assert session.run([filled, total], {n: size})[1] == 3.0 * size * size


def test_a_bad_feed_or_a_missing_variable_changes_nothing() -> None:
    x = gc.placeholder(gc.float32, (None, 3), name="x")
    late = gc.placeholder(gc.float32, (2,), name="late")
    with gc.device("/cpu:1"):
        v = gc.Variable(np.zeros(3, np.float32), name="v")
        first = v.assign_add(gc.reduce_sum(x, 0))
    with gc.device("/cpu:0"):
        w = gc.Variable(np.zeros(2, np.float32), name="w")
        second = w.assign(gc.reduce_sum(first) + late)
    with gc.Session(config=config()) as session:
        session.run(v.initializer)
        assert session.run([first, second], {x: X, late: [1.0, 2.0]})[1].tolist() == [9.25, 10.25]  # w is only written
        before = session.run([v, w])
        for wrong in ({x: X, late: [1.0]}, {x: X[:, :2], late: [1.0, 2.0]}, {x: X, late: "no"}, {x: X}):
            with pytest.raises((ValueError, TypeError, InvalidArgumentError)):
                session.run([first, second], wrong)
        np.testing.assert_array_equal(np.concatenate(session.run([v, w])), np.concatenate(before))
        converted = session.run([first, second], {x: X[:1].tolist(), late: (3, 4)})  # as anywhere else
        np.testing.assert_array_equal(converted[0], before[0] + X[0])
        u = gc.Variable([1.0], name="u")
        with gc.device("/cpu:1"):
            third = gc.identity(v.assign_add(gc.zeros(3) + u))
        with pytest.raises(FailedPreconditionError, match="Attempting to use uninitialized value u"):
            session.run(third)
        assert session.list_variables() == ["v", "w"]


def test_new_shapes_callables_and_control_inputs() -> None:
    x = gc.placeholder(gc.float32, (None, 3), name="x")
    with gc.device("/cpu:1"):
        count = gc.Variable(0, name="count")
        counted = count.assign_add(1)
    with gc.control_dependencies([counted]):
        y = gc.reduce_sum(gc.identity(x) * 2.0, 1)
    with gc.Session(config=config()) as session:
        session.run(count.initializer)
        call = session.make_callable(y, [x])
        for rows in (4, 1, 0, 4):
            np.testing.assert_allclose(call(X[:rows]), X[:rows].sum(1) * 2, rtol=1e-6)
        assert session.run(count) == 4
        session.run(count.initializer)
        assert session.run(count) == 0


def test_a_closed_session_on_two_devices() -> None:
    with gc.device("/cpu:1"):
        y = gc.random_uniform((3,))
    z = gc.random_uniform(())
    total = gc.reduce_sum(y) + z
    session = gc.Session(config=config())
    session.run([total, y, z])
    session.close()
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        session.run([total, y, z])


def test_each_pipeline(two_gpus: None) -> None:
    """On GPUs that are faked, as on any two devices."""
    def build() -> tuple[Any, dict[Any, Any]]:
        x = gc.placeholder(gc.float32, (4, 3), name="x")
        with gc.device("/gpu:1"):
            v = gc.get_variable("v", (3, 3))
            y = gc.nn.softmax(gc.matmul(x, v))
        with gc.device("/gpu:0"):
            z = gc.nn.relu(y - 0.3)
        return [gc.reduce_sum(z), v.assign_sub(gc.matmul(x, z, transpose_a=True))], {x: X}

    for pipeline in ("default", "unfused", "none"):
        made = both_ways(build, pipeline=pipeline)
        assert [segment.device for segment in made.segments] == ["GPU:1", "GPU:0", "CPU:0", "GPU:1"]


def test_the_page_about_placement_shows_what_is(two_gpus: None) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "placement.md").read_text()
    code, printed = (re.search(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "text"))
    assert code is not None
    assert printed is not None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code[1], "placement.md", "exec"), {})
    assert out.getvalue() == printed[1]


def test_dump_shows_segments_and_transfers(two_gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.py"
    model.write_text("""
import graphc as gc
def build():
    x = gc.placeholder(gc.float32, (4, 3), name="x")
    with gc.device("/gpu:0"):
        y = gc.tanh(x * 2.0)
    return gc.reduce_sum(y), {x: (4, 3)}
""")
    assert main(["dump", str(model)]) == 0
    text = capsys.readouterr().out
    first, gpu, cpu = text.split("\n// segment 0 on GPU:0\n")[0], *text.split("\n\n// segment ")[1:]
    assert 'transfer(%0) {source = "CPU:0", target = "GPU:0"}' in first
    assert "// segment 1 on CPU:0: takes value 0; gives output 0" in first
    assert [part.count("// after fuse") for part in (first, gpu, cpu)] == [0, 1, 1]
    assert "transfer" not in gpu + cpu


def test_reports_of_each_segment(caplog: pytest.LogCaptureFixture) -> None:
    x = gc.placeholder(gc.float32, (4, 3), name="x")
    with gc.device("/cpu:1"):
        y = gc.tanh(x)
    z = gc.reduce_sum(y)
    with caplog.at_level("INFO", "graphc"), gc.Session(config=config()) as session:
        session.run([y, z], {x: X})
    assert "(segment 0 of 2, on CPU:1)" in caplog.text
    assert "(segment 1 of 2, on CPU:0)" in caplog.text
