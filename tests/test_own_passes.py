"""The example of a rule and a pass of one's own, and the commands that take passes and pipelines from Python files."""
from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from graphc.cli import main
from graphc.core.dtypes import float32
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.core.verify import verify
from graphc.passes import check, sample

ROOT = Path(__file__).resolve().parent.parent


def test_the_example_halves_its_products(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "own_pass.py"))
    assert example["main"]() < 1e-5
    out = capsys.readouterr().out
    assert "    sum of products: x A + x B ~ x (A + B)\n" in out
    kernels = [int(line.split(": ")[1].split()[0]) for line in out.splitlines() if " kernels, " in line]
    assert kernels[1] < kernels[0]
    check(example["sum_of_products"])
    x, ws = sample(float32, 6, 4), [sample(float32, 4, size, name=f"w{size}") for size in (2, 3, 5)]
    apart = Program((x, *ws), tuple(example["product"](x, w) for w in ws))
    together = verify(example["one_product"](apart))
    assert [node.name for node in together.nodes].count("dot_general") == 1
    feeds = [np.random.default_rng(0).standard_normal(each.type.dims).astype(np.float32) for each in apart.parameters]
    for expected, given in zip(interpret(apart, feeds)[0], interpret(together, feeds)[0], strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


FILE = """import graphc as gc
from graphc.passes import op, rule
from graphc.primitives import subtract

@rule("negated difference", "-(x - y) = y - x", op.negate(op.subtract("x", "y")))
def negated_difference(x, y):
    return subtract(y, x)

def broken(program):
    return 1 / 0

passes = [("mine", negated_difference)]
"""
PROGRAM = """program {
  %0 = parameter() {name = "x", type = f32[3]} : f32[3]
  %1 = parameter() {name = "y", type = f32[3]} : f32[3]
  %2 = subtract(%0, %1) : f32[3]
  %3 = negate(%2) : f32[3]
  return %3
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def test_commands_take_the_pipeline_of_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", "softmax", "--pipeline", str(file)]) == 0
    stages = [line.split()[2].rstrip(":") for line in capsys.readouterr().out.splitlines() if line.startswith("// after")]
    assert stages == ["specialise", "simplify", "mine", "split", "fuse", "order"]
    file.write_text(FILE + 'pipeline = gc.pipelines["unfused"].before("simplify", "own", negated_difference)\n')
    assert main(["dump", "softmax", "--pipeline", str(file), "--stage", "own"]) == 0
    assert capsys.readouterr().out.startswith("program {")
    assert main(["dump", "softmax", "--pipeline", "unfused", "--stage", "separate"]) == 0


def test_opt_takes_the_passes_of_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "program.txt"
    text.write_text(PROGRAM)
    assert main(["opt", "--pass", f"{file}:negated_difference", "--pass", "simplify", str(text)]) == 0
    assert "subtract(%1, %0)" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "ending", "words"), [
    (["--pipeline", "nothing"], "",
     "no pipeline 'nothing': give one of default, unfused, none, or a Python file that defines pipeline or passes"),
    (["--pipeline", "FILE"], "\n1 / 0", "FILE:14 raised ZeroDivisionError: division by zero"),
    (["--pipeline", "FILE"], "\ndel passes", "FILE defines neither pipeline (a Pipeline) nor passes (a list of (name, pass))"),
    (["--pipeline", "FILE"], "\npipeline = passes",
     'FILE: pipeline must be a Pipeline, as in gc.pipelines["default"].without("fuse"); it is of type list'),
    (["--pipeline", "FILE"], "\npasses = [broken]", "FILE: passes must be a list of (name, pass)"),
    (["--pipeline", "FILE"], "\npasses = [('mine', 3)]", "FILE: stage 'mine': a pass is a function Program -> Program, a Rule or a list of "
     "Rules; got 3"),
    (["--pipeline", "FILE"], "\npasses = [('fuse', broken)]", "FILE: a stage called 'fuse' is there already: give yours another name")])
def test_wrong_pipelines_get_one_clear_line(arguments: list[str], ending: str, words: str, file: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FILE + ending)
    assert main(["dump", "softmax", *(each.replace("FILE", str(file)) for each in arguments)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"graphc: {words.replace('FILE', str(file))}\n")


@pytest.mark.parametrize(("wanted", "words"), [
    ("FILE:missing", "FILE defines no 'missing'"), ("FILE:PI", "FILE: stage 'PI': a pass is a function"),
    ("missing.py:f", "no file 'missing.py'"),
    ("FILE:broken", "pass 'FILE:broken' failed: it raised ZeroDivisionError at own.py:10: division by zero")])
def test_wrong_passes_get_one_clear_line(wanted: str, words: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FILE + "\nPI = 3")
    text = tmp_path / "program.txt"
    text.write_text(PROGRAM)
    assert main(["opt", "--pass", wanted.replace("FILE", str(file)), str(text)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"graphc: {words.replace('FILE', str(file))}")
    assert captured.err.count("\n") == 1


WRONG = """from graphc.passes import op, rule
from graphc.primitives import logistic, tanh

@rule("wrong squash", "logistic(x) = tanh(x)", op.logistic("x"))
def wrong(x):
    return tanh(x)

passes = [("mine", wrong)]
"""


@pytest.mark.parametrize(("text", "words"), [
    (WRONG, ("pass 'mine' changed output 0: at [0, 0]", "  rule 'wrong squash': logistic(x) = tanh(x)", "  from Sigmoid (own_pass.py:")),
    ("passes = [('mine', lambda program: None)]", ("pass 'mine' failed: PassFailed: it gave None, not a Program",))])
@pytest.mark.filterwarnings("ignore:graphc. pass 'mine' failed")
def test_bisect_finds_the_pass_of_a_file(text: str, words: tuple[str, ...], file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    assert main(["bisect", str(ROOT / "examples" / "own_pass.py"), "--pipeline", str(file)]) == 1
    out = capsys.readouterr().out
    assert [each for each in words if each not in out] == []


@pytest.mark.filterwarnings("ignore:graphc. pass 'mine' failed")
def test_a_dump_says_which_pass_was_left_out(file: Path, tmp_path: Path) -> None:
    file.write_text("passes = [('mine', lambda program: None)]")
    assert main(["dump", "softmax", "--pipeline", str(file), "--out", str(tmp_path / "dumped")]) == 0
    assert "mine: FAILED and was left out: PassFailed: it gave None, not a Program" in (tmp_path / "dumped" / "index.md").read_text()
