"""The command line as a user meets it: what each command prints, and one clear line where something is wrong."""
from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from graphc.cli import main
from graphc.compiled import compiled
from graphc.core.parse import parse_program

MODEL = """
import numpy as np
import graphc as gc

def build():
    x = gc.placeholder(gc.float32, [8, 16], name="x")
    w = gc.get_variable("w", [16, 4], initializer=gc.ones_initializer())
    y = gc.nn.softmax(gc.matmul(x, w), name="y")
    return [y], {x: np.ones((8, 16), np.float32)}
"""
PROGRAM = """program {
  %0 = parameter() {name = "x:0", type = f32[3]} : f32[3]
  %1 = exponential(%0) : f32[3]
  %2 = negate(%1) : f32[3]
  return %2
}
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "small_model.py"
    path.write_text(MODEL)
    return str(path)


def test_dump_prints_every_stage_and_the_memory(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", model]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("// after")] == [
        f"// after {name}" for name in ("specialise", "simplify", "split", "fuse", "order")]
    assert "small_model.py:8" in out  # the user's line stands beside what came of it
    assert "// arena " in out


def test_a_dumped_stage_parses_back_to_the_same_program(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in compiled(model).stages:
        assert main(["dump", model, "--stage", stage.name]) == 0
        assert parse_program(capsys.readouterr().out) == stage.program


def test_dump_writes_a_folder(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["dump", model, "--out", str(out)]) == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    assert capsys.readouterr().out == f"wrote {len(files)} files to {out}: begin with its index.md\n"
    assert "small_model.py:8" in (out / "operations.txt").read_text()


def test_dump_prints_kernels_and_machine_text(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", model, "--kernels"]) == 0
    kernels = capsys.readouterr().out
    assert kernels.count("kernel ") == len(compiled(model).kernels)
    assert " flops, " in kernels
    assert main(["dump", model, "--llvm"]) == 0
    assert "define void @" in capsys.readouterr().out


def test_dump_draws(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, flow, dot = tmp_path / "a.svg", tmp_path / "b.svg", tmp_path / "c.dot"
    assert main(["dump", model, "--svg", str(svg), "--flow", str(flow)]) == 0
    assert main(["dump", model, "--flow", str(dot)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {svg}", f"wrote {flow}", f"wrote {dot}"]
    assert "Memory of one step" in svg.read_text()
    assert ">x:0<" in flow.read_text()
    assert dot.read_text().startswith("digraph")


def test_opt_applies_passes_to_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "program.txt"
    file.write_text(PROGRAM)
    assert main(["opt", "--pass", "fuse", str(file)]) == 0
    fused = parse_program(capsys.readouterr().out)
    assert [node.name for node in fused.nodes] == ["parameter", "fusion"]


def test_opt_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PROGRAM))
    assert main(["opt", "--pass", "order", "-"]) == 0
    assert parse_program(capsys.readouterr().out) == parse_program(PROGRAM)


def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command with wrong input says."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_wrong_input_gets_one_clear_line(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.txt"
    file.write_text(PROGRAM.replace("exponential(%0)", "exponential(%7)"))
    assert complaint_of(["dump", "nothing"], capsys) == (
        "graphc: no model 'nothing': give one of mlp, attention, cnn, layernorm, softmax, elementwise, transformer, or a Python file that "
        "defines build()")
    assert complaint_of(["dump", model, "--stage", "nope"], capsys) == (
        "graphc: no stage 'nope'; there are specialise, simplify, split, fuse, order")
    assert complaint_of(["opt", "--pass", "nope", str(file)], capsys).startswith("graphc: no pass 'nope'; there are ")
    assert complaint_of(["opt", "--pass", "fuse", str(file)], capsys).startswith(f"graphc: {file}: line 3, column 20: ")
    assert "No such file" in complaint_of(["opt", "--pass", "fuse", str(tmp_path / "missing.txt")], capsys)
    file.write_text("def build(): pass")
    assert complaint_of(["bench", str(file)], capsys).endswith("must return (fetches, feeds), feeds a dictionary; it returned NoneType")
    file.write_text("import graphc as gc\n\ndef build():\n    return gc.ones([2]) + gc.ones([3]), {}")
    assert complaint_of(["bench", str(file)], capsys).startswith(f"graphc: {file}:4 raised ")
    file.write_text("1 / 0")
    assert complaint_of(["dump", str(file)], capsys) == f"graphc: {file}:1 raised ZeroDivisionError: division by zero"
    file.write_text("def (")
    assert complaint_of(["dump", str(file)], capsys).startswith(f"graphc: {file} raised SyntaxError: ")
    file.write_text("x = 1")
    assert complaint_of(["bench", str(file)], capsys).endswith("defines no function build() that returns (fetches, feeds)")


@pytest.mark.parametrize(("body", "complaint"), [
    ("import sys\n\ndef build():\n    sys.exit(3)", ":4 raised SystemExit: 3"),
    ("def build(): return 3, {}", "Fetch argument 3 has invalid type <class 'int'>, must be a string or Tensor. (Can not convert a int "
     "into a Tensor or Operation.)"),
    ("import graphc as gc\n\ndef build(): return gc.constant(1.0), {gc.placeholder(gc.float32, [2], name='x'): 'hello'}",
     "Cannot feed 'hello' for Tensor 'x:0' of type float32: its elements must be numbers or bools, not <U5"),
    ("import graphc as gc\n\ndef build(): return gc.constant(1.0), {gc.placeholder(gc.float32, [2], name='x'): [1, 2, 3]}",
     "Cannot feed value of shape (3,) for Tensor 'x:0', which has shape '(2,)'"),
])
def test_a_model_that_cannot_be_run_gets_one_clear_line(body: str, complaint: str, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "wrong.py", tmp_path / "graph.dot"
    file.write_text(body)
    for command in (["dump"], ["export", "--format", "dot", "--out", str(out)]):
        line = complaint_of([command[0], str(file), *command[1:]], capsys)
        assert line.startswith("graphc: ")
        assert str(file) in line
        assert line.endswith(complaint)
    assert list(tmp_path.iterdir()) == [file]


def test_pictures_that_cannot_be_written_are_refused_before_anything_is(model: str, tmp_path: Path,
                                                                        capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "dumped"
    line = complaint_of(["dump", model, "--out", str(folder), "--svg", str(tmp_path / "missing" / "x.svg")], capsys)
    assert line == f"graphc: cannot write {tmp_path}/missing/x.svg: No such file or directory"
    assert complaint_of(["dump", model, "--flow", str(tmp_path)], capsys) == f"graphc: cannot write {tmp_path}: it is a folder"
    assert not folder.exists()


def test_an_interrupted_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "slow.py"
    file.write_text("def build(): raise KeyboardInterrupt")
    assert main(["report", str(file), "--out", str(tmp_path / "report.html")]) == 130
    assert capsys.readouterr().err == "graphc: interrupted\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_wrong_command_line_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["unknown"])
    assert caught.value.code == 2
    assert "usage: graphc" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"graphc \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_demo_learns_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--epochs", "12"]) == 0
    out = capsys.readouterr().out
    accuracy = float(out.split("Test accuracy ")[1].split("%")[0])
    assert accuracy >= 95
    for words in ("operations declared", "nodes after it", "kernels", "arena", "the least possible", "without planning", "time of a step",
                  "numpy by hand"):
        assert words in out
