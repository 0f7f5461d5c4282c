"""TensorFlow 1's words for profiles (RunOptions, RunMetadata, Timeline); the Chrome trace, tables and medians of profiles made by hand."""
from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.limits import Limits
from graphc.python.client import timeline
from graphc.runtime.profile import Profile, StepTime, median_profile

FULL = gc.RunOptions(trace_level=gc.RunOptions.FULL_TRACE)


@pytest.fixture(autouse=True)
def graph() -> Iterator[gc.Graph]:
    with gc.Graph().as_default() as made:
        yield made


def model() -> tuple[gc.Tensor, dict[gc.Tensor, np.ndarray]]:
    x = gc.placeholder(gc.float32, [32, 48], name="x")
    w = gc.constant(np.ones((48, 16), np.float32))
    return gc.nn.softmax(gc.matmul(x, w, name="product"), name="result"), {x: np.ones((32, 48), np.float32)}


def step(index: int | None, start: float, us: float, **more: Any) -> StepTime:
    given: dict[str, Any] = {
        "name": f"{index}_row_Softmax", "kind": "kernel", "device": "/device:CPU:0", "threads": 1, "operations": ("logits", "Softmax"),
        "lines": ("train.py:3",), "flops": 2_000_000, "bytes": 100_000, "live_bytes": 640, "share": us / 100}
    return StepTime(index=index, start_us=start, us=us, **{**given, **more})


def profile(*steps: StepTime, run_us: float = 100.0) -> Profile:
    return Profile(steps=steps, run_us=run_us, began_us=7000.0, began_ns=10**18, runs=1, flows=((0, 1),), arena_bytes=2048)


# TensorFlow 1's idiom ---------------------------------------------------------------------------------------------------------------------

def test_the_idiom_of_tensorflow_1(tmp_path: Path) -> None:
    y, feeds = model()
    options = gc.RunOptions(trace_level=gc.RunOptions.FULL_TRACE, report_tensor_allocations_upon_oom=True, timeout_in_ms=10_000)
    run_metadata = gc.RunMetadata()
    with gc.Session() as sess:
        sess.run(y, feed_dict=feeds, options=options, run_metadata=run_metadata)
    tl = timeline.Timeline(run_metadata.step_stats)
    (tmp_path / "timeline.json").write_text(tl.generate_chrome_trace_format(show_memory=True))
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert [e["args"]["operations"] for e in events if e["ph"] == "X" and "operations" in e["args"]] == [["product"], ["result"]]
    (device,) = run_metadata.step_stats.dev_stats
    assert device.device == "/job:localhost/replica:0/task:0/device:CPU:0"
    assert [node.node_name for node in device.node_stats] == ["product", "result"]
    end = 0
    for node, bytes_out in zip(device.node_stats, (32 * 16 * 4, 32 * 16 * 4), strict=True):
        assert node.all_start_nanos >= end
        assert node.all_start_micros == node.all_start_nanos // 1000
        assert 0 <= node.op_start_rel_micros <= node.op_end_rel_micros <= node.all_end_rel_micros
        end = node.all_start_nanos + node.all_end_rel_nanos
        assert node.timeline_label.endswith(f" = kernel({node.node_name})")
        (output,) = node.output
        assert output.tensor_description.allocation_description.requested_bytes == bytes_out
        assert output.tensor_description.shape.as_list() == [32, 16]
        assert node.memory[0].live_bytes <= node.memory[0].total_bytes


def test_timelines_of_several_runs_can_be_merged() -> None:
    """As many scripts do: times are absolute, so the events of a later run are later."""
    y, feeds = model()
    ends = []
    with gc.Session() as session:
        for _ in range(3):
            metadata = gc.RunMetadata()
            session.run(y, feeds, FULL, metadata)
            events = json.loads(timeline.Timeline(metadata.step_stats).generate_chrome_trace_format())["traceEvents"]
            moments = [event["ts"] for event in events if "ts" in event]
            ends.append((min(moments), max(moments)))
    assert ends[0][1] < ends[1][0]
    assert ends[1][1] < ends[2][0]


def test_metadata_is_written_anew_by_every_run() -> None:
    y, feeds = model()
    metadata = gc.RunMetadata()
    with gc.Session() as session:
        session.run(y, feeds, FULL, metadata)
        assert metadata.HasField("step_stats")
        session.run(y, feeds, run_metadata=metadata)
    assert metadata == gc.RunMetadata()
    assert not metadata.HasField("step_stats")
    assert json.loads(timeline.Timeline(metadata.step_stats).generate_chrome_trace_format()) == {
        "traceEvents": [], "displayTimeUnit": "ms"}


def test_partition_graphs_are_the_programs_that_run() -> None:
    y, feeds = model()
    metadata = gc.RunMetadata()
    with gc.Session() as session:
        session.run(y, feeds, gc.RunOptions(output_partition_graphs=True), metadata)
        assert metadata.profile is None
        (made,) = metadata.partition_graphs
        assert made.program == session.compile(y, feeds).program
    assert [node.op for node in made.node].count("fusion") >= 1
    names = [node.name for node in made.node]
    assert len(set(names)) == len(names)
    assert all(name in names[:number] for number, node in enumerate(made.node) for name in node.input)
    assert str(made).startswith("program {")


def test_callables_take_options() -> None:
    y, feeds = model()
    (value,) = feeds.values()
    metadata = gc.RunMetadata()
    with gc.Session() as session:
        call = session.make_callable(y, list(feeds), accept_options=True)
        traced = call(value, options=FULL, run_metadata=metadata)
        assert metadata.profile is not None
        np.testing.assert_array_equal(call(value), traced)
        with pytest.raises(TypeError, match="takes 1 feed values, but got 2"):
            call(value, value, options=FULL)
        with pytest.raises(TypeError, match="options"):
            session.make_callable(y, list(feeds))(value, options=FULL)


def test_levels_have_numbers_and_names() -> None:
    levels = [gc.RunOptions.NO_TRACE, gc.RunOptions.SOFTWARE_TRACE, gc.RunOptions.HARDWARE_TRACE, gc.RunOptions.FULL_TRACE]
    assert levels == [0, 1, 2, 3]
    assert gc.RunOptions(trace_level="FULL_TRACE").trace_level == 3  # type: ignore[arg-type]  # as protocol buffers allow
    assert gc.RunOptions.TraceLevel.Name(3) == "FULL_TRACE"
    assert gc.RunOptions.TraceLevel.Value("SOFTWARE_TRACE") == 1


def test_what_is_no_option_is_refused() -> None:
    y, feeds = model()
    metadata: Any = [0]
    with gc.Session() as session:
        with pytest.raises(TypeError, match=r"options must be a graphc.RunOptions, but got <class 'int'>"):
            session.run(y, feeds, options=3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"run_metadata must be a graphc.RunMetadata, but got <class 'list'>"):
            session.run(y, feeds, options=FULL, run_metadata=metadata)
    levels = r"it must be one of 0 \(NO_TRACE\), 1 \(SOFTWARE_TRACE\), 2 \(HARDWARE_TRACE\), 3 \(FULL_TRACE\)"
    options = gc.RunOptions()
    for wrong in (lambda: gc.RunOptions(trace_level=7), lambda: setattr(options, "trace_level", 7)):
        with pytest.raises(ValueError, match=rf"RunOptions\(trace_level=7\): {levels}"):
            wrong()
    with pytest.raises(ValueError, match=r"trace_level='ALL'\): it must be one of NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE"):
        gc.RunOptions(trace_level="ALL")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"RunOptions\(timeout_in_ms=2.5\) has type float, but expected one of: int"):
        gc.RunOptions(timeout_in_ms=2.5)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="trace_levels"):
        options.trace_levels = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"step_stats must be the step_stats of a graphc.RunMetadata, but got <class 'NoneType'>"):
        timeline.Timeline(None)  # type: ignore[arg-type]


def test_the_page_shows_code_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "debugging.md").read_text()
    section = page.partition("## Where does the time go?")[2].partition("\n## ")[0]
    (code,) = re.findall(r"import and nothing else:\n\n((?:(?:    .*)?\n)+)", section)
    train, feeds = model()
    with gc.Session() as session:
        names: dict[str, Any] = {"gc": gc, "session": session, "train": train, "feeds": feeds}
        exec(textwrap.dedent(code), names)
    assert len(json.loads(names["trace"])["traceEvents"]) > len(names["metadata"].profile.kernels) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["step", "time", "share"]
    assert [line.split()[0] for line in lines[-2:]] == [step.name for step in names["metadata"].profile.kernels]


# The trace --------------------------------------------------------------------------------------------------------------------------------

def test_events_of_a_trace() -> None:
    made = profile(step(None, 1.0, 2.0, name="", kind="feeds", device="", operations=(), lines=(), flops=0, bytes=0),
                   step(0, 5.0, 20.0), step(1, 25.0, 50.0, live_bytes=1280),
                   step(None, 75.0, 10.0, name="w", kind="copy", operations=(), lines=(), flops=0, bytes=4096))
    events = json.loads(made.chrome_trace())["traceEvents"]
    tracks = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert tracks == {0: "Session", 1: "/device:CPU:0 Compute"}
    spans = {event["name"]: event for event in events if event["ph"] == "X"}
    assert (spans["Session.run"]["ts"], spans["Session.run"]["dur"]) == (7000, 100)
    kernel = spans["1_row_Softmax"]
    assert (kernel["pid"], kernel["tid"], kernel["ts"], kernel["dur"]) == (1, 0, 7000 + 25, 50)
    assert kernel["args"] == {
        "name": "1_row_Softmax", "op": "kernel", "operations": ["logits", "Softmax"], "lines": ["train.py:3"], "flops": 2_000_000,
        "bytes": 100_000, "GFLOP/s": 40.0, "GB/s": 2.0, "share": 0.5, "threads": 1, "live arena bytes": 1280}
    assert (spans["w"]["tid"], spans["w"]["args"]["bytes"]) == (1, 4096)
    arrows = [(event["ph"], event["id"], event["tid"]) for event in events if event["ph"] in "sf"]
    assert arrows == [("s", 0, 0), ("f", 0, 0)]
    counted = [(event["ts"] - 7000, event["args"]["bytes"]) for event in events if event["ph"] == "C"]
    assert counted == [(5, 640), (25, 1280), (100, 0)]
    plain = json.loads(made.chrome_trace(dataflow=False, memory=False))["traceEvents"]
    assert {event["ph"] for event in plain} == {"M", "X"}


def test_a_trace_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    made = profile(step(0, 5.0, 20.0))
    made.save(tmp_path / "trace.json")
    assert (tmp_path / "trace.json").read_text() == made.chrome_trace()
    for wrong, reason in ((tmp_path / "no" / "trace.json", "No such file or directory"), (tmp_path, "it is a folder")):
        with pytest.raises(OSError, match=f"cannot write {wrong}: {reason}"):
            made.save(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]


# Tables and medians -----------------------------------------------------------------------------------------------------------------------

def test_the_table() -> None:
    made = profile(step(None, 0.0, 2.0, name="", kind="feeds", device="", operations=(), lines=(), flops=0, bytes=0),
                   step(0, 2.0, 30.0, flops=0, bytes=300_000, operations=("b" * 40, "c", "d" * 40), lines=("m.py:1", "m.py:2")),
                   step(1, 32.0, 50.0, threads=2))
    limits = {1: Limits(gflops=50.0, gbs=20.0, threads=1), 2: Limits(gflops=100.0, gbs=20.0, threads=2)}
    lines = made.table(limits).splitlines()
    assert lines[0].split() == ["step", "time", "share", "threads", "GFLOP/s", "GB/s", "of", "the", "limit", "operations", "line"]
    assert lines[2].split() == ["1_row", "50", "us", "50.0%", "2", "40.0", "2.0", "40%", "compute", "Softmax,", "logits",
                                "train.py:3"]
    assert lines[3].split() == ["0_row_Softmax", "30", "us", "30.0%", "1", "-", "10.0", "50%", "memory", "d" * 40 + ",", "c",
                                "+1", "m.py:2", "+1"]
    assert lines[4].split() == ["(feeds)", "2", "us", "2.0%", "-", "-", "-", "-"]
    assert lines[-1] == "100 us a run: 80 us in 2 kernels, 20 us (20.0%) outside; arena 2.0 KiB"
    short = made.table(rows=1)
    assert "limit" not in short
    assert "... and 2 more: 32 us" in short


def test_medians() -> None:
    """Kernels 10, 30, 20 us and 50, 40, 60 us after gaps of 1, 2, 3 and 5, 5, 8 us; 100, 110, 120 us in all."""
    figures = ((1.0, 10.0, 5.0, 50.0, 100.0), (2.0, 30.0, 5.0, 40.0, 110.0), (3.0, 20.0, 8.0, 60.0, 120.0))
    runs = [profile(step(0, gap, us), step(1, gap + us + between, more), run_us=total) for gap, us, between, more, total in figures]
    made = median_profile([profile(step(0, 0.0, 1000.0), run_us=2000.0), *runs])  # one that took other steps does not count
    assert made.runs == 3
    assert [(each.start_us, each.us) for each in made.steps] == [(2.0, 20.0), (27.0, 50.0)]
    assert made.run_us == 20 + 50 + 40  # the median of what is outside: 40, 40, 40
    assert [each.share for each in made.steps] == [20 / 110, 50 / 110]


def test_the_roofline() -> None:
    limits = Limits(gflops=100.0, gbs=10.0, threads=1, copies=((1000, 50.0), (1_000_000, 10.0)))
    assert limits.bound(100_000, 1000) == (1.0, "compute")
    assert limits.bound(1000, 100_000_000) == (10_000.0, "memory")
    assert limits.bandwidth(2000) == 50.0  # a copy of 1000 bytes reads and writes 2000
    assert limits.bandwidth(2001) == 10.0
    assert limits.bandwidth(1e12) == 10.0
