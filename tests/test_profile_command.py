"""`graphc profile`: the table beside the machine's limits, the trace, and one clear line where something is wrong."""
from __future__ import annotations

import ctypes
import json
from pathlib import Path

import pytest

from graphc import limits
from graphc.cli import main
from tests.test_cli import MODEL, complaint_of


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "small_model.py"
    path.write_text(MODEL)
    return str(path)


def test_the_table_and_the_trace(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.profile.measure", lambda threads: limits.Limits(50.0, 10.0, threads))
    trace = tmp_path / "trace.json"
    assert main(["profile", model, "--runs", "3", "--threads", "1", "--trace", str(trace)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["step", "time", "share", "threads"]
    rows = {line.split()[0]: line for line in lines[2:4]}
    assert set(rows) == {"0_dot_general", "1_row"}
    assert rows["1_row"].endswith("small_model.py:8")
    assert "% " in rows["0_dot_general"]
    assert "a run, the median of 3: " in lines[5]
    assert "in 2 kernels" in lines[5]
    assert lines[-2:] == ["Limits here: 1 thread: 50 GFLOP/s in float32, 10.0 GB/s from memory", f"wrote {trace}"]
    events = json.loads(trace.read_text())["traceEvents"]
    assert [event["name"] for event in events if event.get("cat") == "Op"] == ["0_dot_general_MatMul", "1_row_y"]


def test_other_pipelines(model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.profile.measure", lambda threads: limits.Limits(50.0, 10.0, threads))
    kernels = []
    for pipeline in ("default", "none"):
        assert main(["profile", model, "--runs", "1", "--pipeline", pipeline, "--rows", "1"]) == 0
        out = capsys.readouterr().out
        kernels.append(int(out.split(" kernels, ")[0].rpartition(" ")[2]))
        assert "... and " in out
    assert kernels[0] == 2 < kernels[1]


def test_wrong_input_gets_one_clear_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = tmp_path / "no" / "trace.json"
    assert complaint_of(["profile", model, "--trace", str(lost)], capsys) == f"graphc: cannot write {lost}: No such file or directory"
    assert complaint_of(["profile", model, "--trace", str(tmp_path)], capsys) == f"graphc: cannot write {tmp_path}: it is a folder"
    assert complaint_of(["profile", model, "--runs", "0"], capsys) == "graphc: profile needs at least one run; got runs=0"
    assert complaint_of(["profile", model, "--rows", "-1"], capsys) == "graphc: a table has at least one row; got --rows -1"
    assert "must not be negative" in complaint_of(["profile", model, "--threads", "-1"], capsys)
    assert 'it must name a CPU or a GPU: "cpu", "gpu"' in complaint_of(["profile", model, "--device", "tpu"], capsys)
    assert complaint_of(["profile", "nothing"], capsys).startswith("graphc: no model 'nothing': give one of ")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    trace = tmp_path / "trace.json"
    assert complaint_of(["profile", str(broken), "--trace", str(trace)], capsys).endswith("raised ZeroDivisionError: division by zero")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.py", "small_model.py"]


def test_limits_of_this_machine() -> None:
    one = limits.measure()
    assert limits.measure(1) is one
    assert one.gflops > 0.1
    assert one.gbs > 0.1
    assert [size for size, _ in one.copies] == sorted(size for size, _ in one.copies)
    assert one.copies[-1][1] == one.gbs
    assert limits.measure(2).threads == 2
    with pytest.raises(ValueError, match="limits are measured on one thread or more; got 0"):
        limits.measure(0)


def test_the_loops_do_what_is_counted() -> None:
    """The copy copies, and the sum of the chains is what so many multiply-adds make: x * x^2 in each of 12 chains and lane 0, n times."""
    functions = limits._functions()
    assert functions.peak(3) == 12 * 3 * 3**3
    source, target = bytearray(b"graphc!!" * 9), bytearray(72)
    where = [ctypes.addressof((ctypes.c_char * 72).from_buffer(array)) for array in (target, source)]
    functions.copy(*where, 70, 2)
    assert target == source[:70] + b"\0\0"
