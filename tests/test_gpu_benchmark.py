"""The GPU benchmark and `graphc bench --device gpu`, small: every row on the CPU has its figures and judgement; a fake GPU runs some."""
from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu, gpu_peers
from graphc.cli import main
from graphc.runtime import placement
from tests.cuda_worker import run

MODEL = """
import numpy as np
import graphc as gc

def build():
    x = gc.placeholder(gc.float32, [4, 33], name="x")
    return [gc.nn.softmax(gc.tanh(x))], {x: np.ones((4, 33), np.float32)}
"""


def test_every_row_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_peers, "torch", None)
    monkeypatch.setattr(gpu_peers, "jax", None)
    rows = gpu.measure("/cpu:0", 0.0, 0.0005)
    assert len({row.name for row in rows}) == 12
    for row in rows:
        assert row.times["graphc"].median > 0
        assert row.launches >= 1
        assert row.goal
    page = gpu.section(rows, "a device")
    assert ": a device; numpy" in page
    assert "| softmax [8,4096] | 1 |" in page
    assert "| 100 dependent kernels | 100 |" in page


def test_judgements() -> None:
    timing = gpu.Timing
    times = {name: timing(seconds, seconds, seconds, seconds, 5) for name, seconds in (("graphc", 1.0), ("copy", 0.95), ("torch", 1.1))}
    assert gpu._bandwidth(times) == "95% of a copy (goal 90%: met)"
    assert gpu._beside_torch(times) == "0.91x torch's time (goal 1.05: met)"
    del times["copy"]
    assert gpu._at_least_equal(times) == "1.10x as fast as torch (least 1, goal 1.2: equal)"


def test_a_peer_that_fails_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise RuntimeError("no C compiler\n  a long story")

    assert list(gpu_peers.working({"torch": lambda: None, "torch.compile": fails})) == ["torch"]
    assert capsys.readouterr().err == "torch.compile is left out: RuntimeError: no C compiler\n"


def test_a_row_on_a_fake_gpu() -> None:
    output = run("""
    import sys
    sys.stderr = open(os.devnull, "w")
    from benchmarks import gpu
    bench = gpu.Bench("/gpu:0", 0.0)
    x = np.ones((8, 64), np.float32)
    bench.add("softmax", lambda: (gpu.kept(gc.nn.softmax(gpu.on_device(x, "x"))), {}), {}, gpu._at_least_equal, 2 * x.nbytes)
    print(gpu.section(bench.rows, "fake"))
    """)
    assert "| softmax | 1 |" in output


def test_bench_tells_what_each_launch_takes(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text(MODEL)
    output = run(f"""
    import sys
    sys.stderr = open(os.devnull, "w")
    from graphc.cli import main
    assert main(["bench", {str(model)!r}, "--device", "gpu", "--seconds", "0", "--warm", "--only", "pipelines"]) == 0
    """)
    lines = output.splitlines()
    assert {"fused", "unfused", "none"} <= {line.split(" ")[2] for line in lines if line.startswith("  ")}
    (launch,) = [line for line in lines if "0_row_Softmax" in line]
    assert "100%" in launch
    assert "GB/s" in launch


def test_profile_tells_what_each_launch_takes(tmp_path: Path) -> None:
    model, trace = tmp_path / "model.py", tmp_path / "trace.json"
    model.write_text(MODEL)
    output = run(f"""
    from graphc.cli import main
    assert main(["profile", {str(model)!r}, "--device", "gpu", "--runs", "2", "--trace", {str(trace)!r}]) == 0
    """)
    lines = output.splitlines()
    assert sorted(line.split("  ")[0] for line in lines[2:5]) == ["(download results)", "(upload feeds)", "0_row"]
    assert lines[-2:] == ["Limits here: none measured for this device", f"wrote {trace}"]
    assert "/device:GPU:0 Compute" in trace.read_text()


def test_without_a_gpu_every_command_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "gpus", lambda: ([], "there is none"))
    for command in (["demo", "--device", "gpu"], ["bench", "softmax", "--device", "/gpu:0"],
                    ["profile", "softmax", "--device", "gpu"]):
        assert main(command) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("graphc: ConfigProto(device=")
        assert error.endswith("there is none")


def test_a_profile_names_the_launches_and_leaves_variables_right() -> None:
    run("""
    v = gc.Variable(np.zeros(3, np.float32))
    add = gc.assign_add(v, [1.0, 2.0, 3.0])
    with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
        session.run(v.initializer)
        profile = session.profile(add, runs=3)
        assert [step.name for step in profile.kernels] == [kernel.name for kernel in session.compile(add).kernels]
        assert all(step.us >= 0 and step.device.endswith("device:GPU:0") for step in profile.kernels)
        assert [step.kind for step in profile.steps] == ["upload", "kernel", "kernel", "download"]
        counted = session.run(v)
    assert counted[0] > 1 and np.array_equal(counted, counted[0] * np.float32([1, 2, 3])), counted
    """)
