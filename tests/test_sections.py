"""Sections of the performance page: replaced alone, kept whole."""
from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sections

BEGIN, END = sections.marks("gpu")


def test_only_the_section_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    sections.write("gpu", "new", page)
    assert page.read_text() == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert sections.read("gpu", page) == f"{BEGIN}\n\nnew\n\n{END}"


def test_a_page_without_the_section_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="has no section between"):
        sections.write("gpu", "new", page)
    assert page.read_text() == "# Title\n"


@pytest.mark.parametrize("name", ["gpu", "language"])
def test_the_page_has_the_section(name: str) -> None:
    assert f"benchmarks.{name}" in sections.read(name)
