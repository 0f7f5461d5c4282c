"""The tour prints what it says: docs/tour.md is run whole, and compared, its pictures too. `python docs/tour.py` writes it anew."""
from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

import graphc as gc
from graphc.codegen.llvm.target import available

DOCS = Path(__file__).resolve().parent.parent / "docs"
Toured = Callable[[str], tuple[str, dict[str, str]]]


@pytest.fixture(scope="module")
def toured() -> Toured:
    made: Toured = runpy.run_path(str(DOCS / "tour.py"))["toured"]
    return made


@pytest.mark.skipif(all(target.vector_bits < 256 for target in available()), reason="the page shows code for vectors of 256 bits")
def test_the_tour_prints_what_it_says(toured: Toured) -> None:
    page = (DOCS / "tour.md").read_text()
    made, pictures = toured(page)
    assert made.splitlines() == page.splitlines(), "if the new page is right, write it with `python docs/tour.py`, and read its prose again"
    for name, drawn in pictures.items():
        assert f"](pictures/{name})" in page
        assert (DOCS / "pictures" / name).read_text() == drawn
        assert ET.fromstring(drawn).tag.endswith("svg")
    _prose_is_true(made)


def _prose_is_true(page: str) -> None:
    """What the prose says of the printed text in numbers and names."""
    assert "multiply(%36, %35)" not in page  # numbers are those of the Program before simplify
    assert "%17 = exponential(" in page
    assert "kernel 5, a dot: dot_general, multiply, subtract\n" in page
    assert "most is alive at kernel 2:" in page
    assert page.count("\n      y1[i, j] = ") == 1
    assert "\n2.3026\n" in page  # log 10
    kernels = [line for line in page.splitlines() if line.startswith("kernel ") and ", a " in line]
    assert len(kernels) == 8  # "eight kernels"


def test_a_block_without_its_text_is_an_error(toured: Toured) -> None:
    begin = '```python\nplan = __import__("graphc").Session().compile([], {})\n```\n'
    with pytest.raises(ValueError, match="a block and its text do not fit: print\\(1\\)"):
        toured(f"{begin}\n```python\nprint(1)\n```\n\nprose\n")
    with pytest.raises(ValueError, match="do not fit: x = 1"):
        toured(f"{begin}\n```python\nx = 1\n```\n\n```text\n1\n```\n")
    made, _ = toured(f"{begin}\n```python\nprint(1 + 1)\n```\n\n```text\n1\n```\n")
    assert made == f"{begin}\n```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n"
    assert gc.get_default_graph().get_operations() == []
