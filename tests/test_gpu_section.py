"""The GPU section of the performance page: replaced alone, kept whole."""
from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu_section


def test_only_the_section_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{gpu_section.BEGIN}\nold\n{gpu_section.END}\n\nafter\n")
    gpu_section.write("new", page)
    assert page.read_text() == f"# Title\n\n{gpu_section.BEGIN}\n\nnew\n\n{gpu_section.END}\n\nafter\n"
    assert gpu_section.read(page) == f"{gpu_section.BEGIN}\n\nnew\n\n{gpu_section.END}"


def test_a_page_without_the_section_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="has no section between"):
        gpu_section.write("new", page)
    assert page.read_text() == "# Title\n"


def test_the_page_has_the_section() -> None:
    assert "benchmarks.gpu" in gpu_section.read()
