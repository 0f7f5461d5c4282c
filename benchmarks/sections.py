"""Sections of docs/performance.md that are written alone and kept by `benchmarks.run`: the text between two marks of a name."""
from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def read(name: str, page: Path = PAGE) -> str:
    """The section with its marks; ValueError where the page has none."""
    return _parts(name, page)[1]


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Puts `text` between the marks, and leaves all else as it is; ValueError where the page has none."""
    before, _, after = _parts(name, page)
    begin, end = marks(name)
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def _parts(name: str, page: Path) -> tuple[str, str, str]:
    whole = page.read_text()
    begin, end = marks(name)
    if begin not in whole or end not in whole:
        raise ValueError(f"{page} has no section between {begin} and {end}")
    first, last = whole.index(begin), whole.index(end) + len(end)
    return whole[:first], whole[first:last], whole[last:]
