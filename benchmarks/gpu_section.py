"""The section of docs/performance.md that `benchmarks.gpu` writes and `benchmarks.run` keeps: the text between two marks."""
from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"


def read(page: Path = PAGE) -> str:
    """The section with its marks; ValueError where the page has none."""
    return _parts(page)[1]


def write(text: str, page: Path = PAGE) -> None:
    """Puts `text` between the marks, and leaves all else as it is; ValueError where the page has none."""
    before, _, after = _parts(page)
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def _parts(page: Path) -> tuple[str, str, str]:
    whole = page.read_text()
    if BEGIN not in whole or END not in whole:
        raise ValueError(f"{page} has no section between {BEGIN} and {END}")
    begin, end = whole.index(BEGIN), whole.index(END) + len(END)
    return whole[:begin], whole[begin:end], whole[end:]
