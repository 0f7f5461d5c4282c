"""`graphc bench` as a user meets it, and the peers that `--against` brings."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc import bench, peers
from graphc.benchmark import compare
from graphc.cli import main
from graphc.models import MODELS

MODEL = """
import numpy as np
import graphc as gc

def build():
    x = gc.placeholder(gc.float32, [8, 16], name="x")
    w = gc.get_variable("w", [16, 4], initializer=gc.ones_initializer())
    y = gc.nn.softmax(gc.matmul(x, w), name="y")
    return [y], {x: np.ones((8, 16), np.float32)}

def peers():
    return {"numpy": lambda: np.full((8, 4), 0.25, np.float32), "wrong": lambda: np.full((8, 4), 0.5, np.float32)}
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "small_model.py"
    path.write_text(MODEL)
    return str(path)


def _names(out: str) -> list[str]:
    """The rows of the table, by their first words."""
    _, _, *lines = out.partition("\n\n7 rounds")[0].splitlines()
    return [re.split(r"\s{2,}| \(as ", line.strip())[0] for line in lines if line.startswith("  ")]


def test_bench_compares_pipelines_passes_rules_and_threads(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", model, "--seconds", "0", "--warm"]) == 0
    captured = capsys.readouterr()
    header = captured.out.splitlines()[0]
    assert header.split() == [
        "median", "95%", "interval", "to", "fused", "95%", "interval", "kernels", "bytes", "moved", "arena", "compile", "warm"]
    cores = len(os.sched_getaffinity(0))
    threads = [1 << power for power in range(8) if 1 << power < cores] + [cores] if cores > 1 else []
    assert _names(captured.out) == [
        "fused", "unfused", "none", "without simplify", "without split", "without fuse", "without order",
        "without constant folding", "without stability", "without movement", "without reduction", "without indexing", "without algebra",
        *(f"fused, {count} thread{'s' if count > 1 else ''}" for count in threads)]
    assert "6 rounds, all in turns; results agree within 1e-4 of the largest value in float32" in captured.out
    assert "compiling" in captured.err
    assert "measuring" in captured.err


def test_bench_of_what_is_asked_for(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, chart = tmp_path / "found.json", tmp_path / "found.svg"
    assert main(["bench", model, "--seconds", "0", "--only", "passes", "--threads", "1", "--against", "numpy", "--pipeline", "unfused",
                 "--json", str(found), "--chart", str(chart)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-2:] == [f"wrote {found}", f"wrote {chart}"]
    read = json.loads(found.read_text())
    assert [(row["name"], row["group"], row["threads"]) for row in read["rows"]] == [
        ("unfused", "pipelines", 1),
        *((f"without {stage}", "a pass left out", 1) for stage in ("simplify", "split", "separate", "order")), ("numpy", "others", 1)]
    assert all(row["compile_ms"] > 0 for row in read["rows"][:-1])
    assert f"{model}: one run" in chart.read_text()


def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command says, progress not counted."""
    assert main(["bench", *arguments, "--seconds", "0", "--warm"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if not re.match(r"(compiling|others) \d", line)]
    return line


def test_bad_input_gets_one_clear_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(*arguments: str) -> str:
        return complaint_of([model, *arguments], capsys)

    assert says("--threads", "0") == "graphc: --threads 0: threads are counted from 1, as in 4 or 1,2,4"
    assert says("--threads", "two") == "graphc: --threads two: threads are counted from 1, as in 4 or 1,2,4"
    assert says("--only", "pass") == "graphc: --only pass: 'pass' is none of pipelines, passes, rules, threads"
    assert says("--json", str(tmp_path / "no" / "file")) == f"graphc: cannot write {tmp_path}/no/file: No such file or directory"
    assert says("--chart", str(tmp_path / "a.jpg")) == (
        f"graphc: a chart is drawn into a file that ends in .svg or .png, not '{tmp_path}/a.jpg'")
    assert says("--against", "scipy") == f"graphc: no peer 'scipy'; peers() of {model} gives numpy, wrong"
    assert says("--device", "gpu", "--against", "numpy") == (
        "graphc: --against compares on a CPU; `python -m benchmarks.gpu` compares on a GPU")
    assert says("--against", "wrong", "--only", "pipelines") == (
        "graphc: 'wrong' gives other results than 'fused': y:0 of run 1, at [0, 0] expected 0.25, got 0.5 (32 of 32 elements differ); "
        "wrong results are not worth timing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small_model.py"]


def test_peers_of_a_models_file_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.py"

    def says(peers: str) -> str:
        path.write_text(MODEL.partition("def peers")[0] + peers)
        return complaint_of([str(path), "--against", "torch"], capsys)

    assert says("") == f"graphc: {path} defines no function peers() that returns {{name: call without arguments}}"
    assert says("def peers(): return 3") == f"graphc: peers() of {path} must return a dictionary of calls by name; it returned int"
    assert says("def peers(): return {'torch': 3}") == (
        f"graphc: peers() of {path} must return a dictionary of calls by name; it returned dict")
    assert says("def peers(): 1 / 0") == f"graphc: {path}:11 raised ZeroDivisionError: division by zero"
    assert says("def peers(): return {}") == f"graphc: no peer 'torch'; peers() of {path} gives none"


def test_peers_of_the_built_in_models_that_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {"jax": object()}
    monkeypatch.setattr(peers, "find_spec", found.get)
    with pytest.raises(ValueError, match=r"^no peer 'tensorflow'; there are torch, torch.compile, jax$"):
        peers.of_model("mlp", ["jax", "tensorflow"], 1)
    with pytest.raises(ValueError, match=r"^--against jax,torch.compile: torch is not installed here$"):
        peers.of_model("mlp", ["jax", "torch.compile"], 1)
    found.clear()
    with pytest.raises(ValueError, match=r"^--against torch,jax: torch and jax are not installed here$"):
        peers.of_model("mlp", ["torch", "jax"], 1)
    assert peers.of_model("mlp", [], 1) is None


@pytest.mark.parametrize("package", ["torch", "jax"])
@pytest.mark.parametrize("name", MODELS)
def test_peers_do_the_same_step(name: str, package: str) -> None:
    """Where they are installed: the built-in models give the same results as graphc's, in the step after the first too."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    gc.set_random_seed(0)
    fetches, feeds = MODELS[name]()

    def against(given: Any, values: Any) -> dict[str, Any]:
        return {package: peers.module_of(package).calls(name, given, values, 1)[package]}

    found = compare(fetches, feeds, pipelines=["default"], threads=1, seconds=0.0, against=against, compile_cold=False)
    assert found.rows[1].name == package
    assert found.notes == ()


def test_every_built_in_model_has_peers() -> None:
    """By their texts, since the packages need not be here."""
    for package in ("torch", "jax"):
        text = (Path(peers.__file__).parent / f"by_{package}.py").read_text()
        tables = text[text.index("FORWARD: "):]
        assert set(re.findall(r'"(\w+)": ', tables)) == set(MODELS)


def test_the_thread_counts_that_are_tried() -> None:
    assert [bench._doublings(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert bench._counts("4, 1") == [4, 1]


def test_the_page_shows_what_runs(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its command, with a smaller model and without what need not be installed; its lines of Python; the names in its picture."""
    docs = Path(__file__).resolve().parent.parent / "docs"
    section = (docs / "debugging.md").read_text().partition("## What did it gain?")[2].partition("\n## ")[0]
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^    \$ graphc (.*)$", section, re.MULTILINE)
    assert main(command.replace("cnn", model).replace("--seconds 30", "--seconds 0").replace("torch,jax", "numpy").split()) == 0
    shown = (docs / "pictures" / "bench.svg").read_text()
    for name in (*_names(capsys.readouterr().out)[:13], "torch", "torch.compile", "jax"):
        assert f">{name}<" in shown or f">{name} (as " in shown
    assert (tmp_path / "bench.svg").exists()
    (code,) = re.findall(r"In a program:\n\n((?:(?:    .*)?\n)+)", section)
    x = gc.placeholder(gc.float32, [4, 3])
    loss = gc.reduce_sum(gc.layers.dense(x, 2))
    train = gc.train.AdamOptimizer().minimize(loss)
    names = {"gc": gc, "loss": loss, "train": train, "feeds": {x: [[1.0, 2.0, 3.0]] * 4}}
    exec(textwrap.dedent(code).replace("seconds=5", "seconds=0"), names)
    assert re.search(r"\n\d+\.\d\d times as fast \(\d+\.\d\d to \d+\.\d\d\)\n$", capsys.readouterr().out)
