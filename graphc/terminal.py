"""What the command line writes with: aligned tables, a progress bar, numbers for people.

Plain text without dependencies; imports nothing of graphc.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TextIO

_BAR_WIDTH = 28
_REDRAW_SECONDS = 0.05
_QUIET_SECONDS = 10.0


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = (), indent: int = 2) -> str:
    """Rows as aligned columns: text to the left, a column of numbers to the right. Rows may be shorter than the widest one."""
    lines = [[str(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    columns = max(map(len, lines), default=0)
    widths = [max(len(line[c]) for line in lines if c < len(line)) for c in range(columns)]
    right = [all(_is_number(line[c]) for line in lines[bool(header) :] if c < len(line)) for c in range(columns)]
    if header:
        lines.insert(1, ["─" * width for width in widths])

    def show(line: list[str]) -> str:
        cells = (cell.rjust(width) if to_right else cell.ljust(width)
                 for cell, width, to_right in zip(line, widths, right, strict=False))
        return (" " * indent + "  ".join(cells)).rstrip()

    return "\n".join(map(show, lines))


def _is_number(cell: str) -> bool:
    """Whether a cell reads as a quantity: it is empty, a dash, or starts with a digit after its sign."""
    return cell.lstrip("±+-−~")[:1].isdigit() or cell in ("", "-", "–")


def bytes_text(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """0.0000123 -> "12.3 us"."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            value = seconds * factor
            return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    raise AssertionError


class Progress:
    """A progress bar over `total` steps: `with Progress("training", 40) as bar: bar.advance("loss 0.1")`.

    On a terminal it redraws one line, at most twenty times a second. Elsewhere it writes one line when it starts to tell and one when it
    ends, and one every ten seconds between: a log stays readable and a long job stays visible.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self.label, self.total, self.done = label, total, 0
        self._stream = stream or sys.stderr
        self._lively = self._stream.isatty()
        self._note = ""
        self._start = self._written = time.monotonic()

    def __enter__(self) -> Progress:
        if self._lively:
            self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write()
        if self._lively:
            self._stream.write("\n")
            self._stream.flush()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Some steps are done; `note` stands behind the bar."""
        self.done += steps
        self._note = note or self._note
        now = time.monotonic()
        if now - self._written >= (_REDRAW_SECONDS if self._lively else _QUIET_SECONDS):
            self._written = now
            self._write()

    def over(self, items: Iterable[int]) -> Iterator[int]:
        """The items, each a step done when the next is asked for."""
        for item in items:
            yield item
            self.advance()

    def _write(self) -> None:
        elapsed = time.monotonic() - self._start
        share = self.done / self.total if self.total else 1.0
        count = f"{self.done}/{self.total}"
        if self._lively:
            bar = ("█" * round(share * _BAR_WIDTH)).ljust(_BAR_WIDTH, "░")
            self._stream.write(f"\r{self.label} {bar} {count}  {elapsed:.1f} s  {self._note}\033[K")
        else:
            self._stream.write(f"{self.label} {count}  {elapsed:.1f} s  {self._note}\n")
        self._stream.flush()
