"""The documents tell the truth: the README's snippets print what it says, its commands are what CI runs, links lead somewhere."""
from __future__ import annotations

import contextlib
import io
import linecache
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import digits
from graphc.codegen.cuda import compiler
from graphc.runtime.cuda import cublaslt, detect, driver
from graphc.runtime.cuda.report import report

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def as_shown(request: pytest.FixtureRequest, path: Path, block: tuple[str, str], printed: str) -> None:
    """The page at `path` shows in its `block` (language, text) what was printed; with `--update-golden` it does from now on."""
    language, shown = block
    if request.config.getoption("--update-golden"):
        path.write_text(path.read_text().replace(f"```{language}\n{shown}```", f"```{language}\n{printed}```"))
    else:
        assert printed == shown


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, body) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_page(path: Path, compared: int) -> dict[str, Any]:
    """Runs the Python blocks of a page one after the other; those that follow as text are what they print. Gives the names they make."""
    names: dict[str, Any] = {}
    printed, found = "", 0
    for language, body in blocks(path.read_text()):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(body, path.name, "exec"), names)
            printed = out.getvalue()
        elif language == "text":
            assert printed == body
            found += 1
    assert found == compared
    return names


def test_readme_snippets_print_what_they_say() -> None:
    run_page(ROOT / "README.md", compared=2)["session"].close()


def test_the_page_about_gradients_prints_what_it_says() -> None:
    run_page(ROOT / "docs" / "gradients.md", compared=5)


def test_ci_runs_the_commands_of_the_readme() -> None:
    command = [sys.executable, ROOT / ".ci" / "readme_commands.py", ROOT / "README.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.endswith("graphc demo")
    assert second.endswith("pytest -q -n auto")
    assert all("-c constraints.txt" in command for command in (first, second))
    assert "readme_commands.py README.md" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    assert [t for t in targets if "://" not in t and not (document.parent / t).exists()] == []


def test_constraints_pin_every_dependency() -> None:
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    wanted = re.findall(r'"([\w-]+)>=[\d.]+(?:,<\d+)?"', (ROOT / "pyproject.toml").read_text())
    assert {name.lower() for name in wanted} - {"setuptools"} <= {name.lower() for name in pinned}


def test_data_names_source_authors_and_licence() -> None:
    for name in ("README.md", "LICENSE.txt"):
        text = (ROOT / "graphc" / "data" / name).read_text()
        assert all(word in text for word in ("Alpaydin", "Kaynak", "UCI Machine Learning Repository", "CC BY 4.0"))


def test_the_example_learns_to_draw_digits(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "autoencoder.py"))
    error = example["main"](steps=1200)
    variance = float(np.mean(np.var(digits.split().test_images, axis=0)))  # the error of drawing the mean digit each time
    assert error < 0.6 * variance
    assert "each digit beside its drawing" in capsys.readouterr().out
    with gc.Graph().as_default():
        fetches, feeds = example["build"]()
        assert len(fetches) == 2
        assert [tensor.name for tensor in feeds] == ["images:0"]


def test_the_declaration_that_contributing_shows_is_the_real_one() -> None:
    text = re.sub(r"^   ", "", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)  # the block is part of a list
    shown = [" ".join(body.split()) for language, body in blocks(text) if language == "python"]
    source = " ".join((ROOT / "graphc" / "primitives" / "arithmetic.py").read_text().split())
    assert len(shown) == 1
    assert shown[0] in source


def test_the_debugging_page_shows_code_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its indented Python runs over a small training step; its own pipeline is one that a session takes."""
    page = (ROOT / "docs" / "debugging.md").read_text()
    block = re.search(r"gives the\nsame things as values:\n\n((?:    .*\n)+)", page)
    assert block is not None
    x = gc.placeholder(gc.float32, [4, 3])
    train = gc.train.AdamOptimizer().minimize(gc.reduce_sum(gc.layers.dense(x, 2)))
    own = re.search(r"`(gc\.ConfigProto\(pipeline=[^`]*\))`", page)
    assert own is not None
    config = eval(own[1], {"gc": gc})
    with gc.Session(config=config) as session:
        exec(textwrap.dedent(block[1]), {"session": session, "train": train, "feeds": {x: (4, 3)}})
        assert "fuse" not in [stage.name for stage in session.compile(train, {x: (4, 3)}).stages]
    assert "ApplyAdam" in capsys.readouterr().out


def test_the_debugging_page_finds_its_nan(request: pytest.FixtureRequest) -> None:
    """Its section about NaN prints what it says, with the lines of its program. `--update-golden` writes it anew."""
    path = ROOT / "docs" / "debugging.md"
    page = path.read_text()
    section = re.search(r"^## Where did the NaN come from\?\n.*?(?=^## )", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    (_, program), (language, shown) = blocks(section[0])
    out = io.StringIO()
    name = "train.py"
    linecache.cache[name] = (len(program), None, program.splitlines(keepends=True), name)  # so that the report can quote it
    with contextlib.redirect_stdout(out):
        exec(compile(program, name, "exec"), {})
    del linecache.cache[name]
    as_shown(request, path, (language, shown), out.getvalue())


def test_the_debugging_page_finds_its_wrong_rule(request: pytest.FixtureRequest) -> None:
    """Its section about bisecting prints what it says. `--update-golden` writes it anew."""
    path = ROOT / "docs" / "debugging.md"
    page = path.read_text()
    section = re.search(r"^## Which pass is wrong\?\n.*?(?=^## )", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    (_, program), (language, shown) = blocks(section[0])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "train.py", "exec"), {})
    as_shown(request, path, (language, shown), out.getvalue())


def test_the_gpu_page_shows_a_real_kernel(request: pytest.FixtureRequest) -> None:
    """Its softmax prints the kernel that it shows, and becomes the CUDA C that it shows. `--update-golden` writes both anew."""
    page = ROOT / "docs" / "gpu.md"
    text = page.read_text()
    (program,) = [body for language, body in blocks(text) if language == "python"]
    names: dict[str, Any] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "docs/gpu.md", "exec"), names)  # the user's lines in the comments are lines of this block
    shown = dict(blocks(text))
    made = {"text": out.getvalue(), "cuda": names["kernel"].code.strip() + "\n"}
    if request.config.getoption("--update-golden"):
        for language, body in made.items():
            text = text.replace(f"```{language}\n{shown[language]}```", f"```{language}\n{body}```")
        page.write_text(text)
    else:
        assert {language: shown[language] for language in made} == made


def test_the_gpu_page_shows_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise OSError

    monkeypatch.setattr(driver, "native", no_driver)
    monkeypatch.setattr(detect, "pycuda_version", lambda: None)
    monkeypatch.setattr(compiler.Nvrtc, "name", "NVRTC 13.0.88")
    monkeypatch.setattr(cublaslt, "_found", cublaslt._found.__wrapped__)  # what was found before is remembered
    monkeypatch.setattr(cublaslt, "_places", lambda: iter(()))
    shown = dict(blocks((ROOT / "docs" / "gpu.md").read_text()))["console"]
    assert shown == f"$ graphc gpu\n{report()}\n"


def test_the_pages_name_variables_that_are_read() -> None:
    named = {name for page in ("debugging.md", "gpu.md") for name in re.findall(r"GRAPHC_[A-Z_]+", (ROOT / "docs" / page).read_text())}
    read = {name for room in ("graphc", "codegen", "runtime") for path in (ROOT / room).rglob("*.py")
            for name in re.findall(r"\"(GRAPHC_[A-Z_]+)\"", path.read_text())}
    assert named
    assert named <= read
