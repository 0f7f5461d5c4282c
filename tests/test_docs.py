"""The documents tell the truth: the README's snippets print what it says, its commands are what CI runs, links lead somewhere."""
from __future__ import annotations

import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import digits

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, body) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_readme_snippets_print_what_they_say() -> None:
    names: dict[str, Any] = {}
    printed, compared = "", 0
    for language, body in blocks(README):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(body, "README.md", "exec"), names)
            printed = out.getvalue()
        elif language == "text":
            assert printed == body
            compared += 1
    assert compared == 2
    names["session"].close()


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
    wanted = re.findall(r'"([\w-]+)>=[\d.]+"', (ROOT / "pyproject.toml").read_text())
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
