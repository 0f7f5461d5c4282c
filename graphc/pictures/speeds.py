"""How long each variant takes beside the first: bars from the line of "as long", on a logarithmic scale, with the interval of each.

On that scale twice as long is as far from the line as half as long, and a few percent are seen beside a factor of eight.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from graphc.pictures.canvas import FAINT, INK, PALETTE, QUIET, Canvas, shortened, text_width

_LABELS, _PLOT, _COLUMN, _ROW, _HEADING, _TOP = 190, 380, 84, 19, 27, 92
_SLOWER, _FASTER, _ALIKE = PALETTE[0], PALETTE[2], "#9ca3af"
_SMALL = 10.5


class Bounds(Protocol):
    """A median between its bounds, all above 0."""

    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Speed:
    """One bar. relative: its time as a multiple of the first's. time: the time itself, in words. instead: what stands in place of a bar.
    cells: the columns to the right."""

    name: str
    group: str
    relative: Bounds
    time: str
    instead: str
    cells: Sequence[str]


def speeds(title: str, note: str, rows: Sequence[Speed], columns: Sequence[str]) -> Canvas:
    """The picture: a heading for each group of rows that follow each other, a bar for each row, `columns` over the cells."""
    groups = sum(number == 0 or rows[number - 1].group != row.group for number, row in enumerate(rows))
    bottom = _TOP + groups * _HEADING + len(rows) * _ROW
    canvas = Canvas(_LABELS + _PLOT + (len(columns) + 1) * _COLUMN + 24, bottom + 18)
    canvas.text(16, 26, title, 14, bold=True)
    canvas.text(16, 44, note, fill=QUIET)
    _legend(canvas, 16, 62)
    scale = _Scale([row.relative for row in rows])
    for tick in scale.ticks:
        canvas.line([(scale.x(tick), _TOP), (scale.x(tick), bottom)], INK if tick == 1 else FAINT)
        canvas.text(scale.x(tick), _TOP - 6, f"{tick:g}x", _SMALL, fill=QUIET, anchor="middle")
    for number, column in enumerate(["time", *columns]):
        canvas.text(_right_of(number), _TOP - 6, column, _SMALL, fill=QUIET, anchor="end")
    y, group = float(_TOP), ""
    for row in rows:
        if row.group != group:
            group = row.group
            canvas.text(16, y + 18, group, 11.5, bold=True)
            y += _HEADING
        _draw_row(canvas, scale, row, y)
        y += _ROW
    return canvas


def _right_of(column: int) -> float:
    return _LABELS + _PLOT + (column + 1) * _COLUMN


def _draw_row(canvas: Canvas, scale: _Scale, row: Speed, y: float) -> None:
    middle = y + _ROW / 2
    canvas.text(_LABELS - 12, middle + 4, shortened(row.name, 11, _LABELS - 20), anchor="end")
    for number, cell in enumerate([row.time, *row.cells]):
        canvas.text(_right_of(number), middle + 4, cell, _SMALL, anchor="end", fill=QUIET if number else INK)
    if row.instead:
        canvas.text(scale.x(1) + 6, middle + 4, row.instead, _SMALL, fill=QUIET)
        return
    low, median, high = (scale.x(value) for value in (row.relative.low, row.relative.median, row.relative.high))
    one = scale.x(1)
    fill = _SLOWER if row.relative.low > 1 else _FASTER if row.relative.high < 1 else _ALIKE
    hint = f"{row.name}: {row.time}, {row.relative.median:.3f}x ({row.relative.low:.3f} to {row.relative.high:.3f})"
    canvas.rectangle(min(one, median), y + 4, max(abs(median - one), 1.5), _ROW - 8, fill, hint=hint, radius=1.5, opacity=0.85)
    canvas.line([(low, middle), (high, middle)], INK, width=1.2)
    for end in (low, high):
        canvas.line([(end, middle - 3), (end, middle + 3)], INK, width=1.2)
    canvas.text(max(one, high) + 6, middle + 4, f"{row.relative.median:.2f}x", _SMALL)


def _legend(canvas: Canvas, x: float, y: float) -> None:
    for colour, words in ((_SLOWER, "slower"), (_FASTER, "faster"), (_ALIKE, "no difference shown")):
        canvas.rectangle(x, y, 10, 10, colour, radius=2, opacity=0.85)
        canvas.text(x + 15, y + 9, words, _SMALL, fill=QUIET)
        x += 36 + text_width(words, _SMALL)


class _Scale:
    """From multiples to pixels. Room is left behind the longest bar for its number."""

    def __init__(self, shown: Sequence[Bounds]) -> None:
        low = min([1.0, *(each.low for each in shown)])
        high = max([1.0, *(each.high for each in shown)])
        low, high = min(low, high / 1.2), max(high, low * 1.2)  # some range, where all are alike
        self._low = math.log(low)
        self._pixels = (_PLOT - 70) / (math.log(high) - self._low)
        self.ticks = _ticks(low, high)

    def x(self, value: float) -> float:
        return _LABELS + 4 + (math.log(value) - self._low) * self._pixels


def _ticks(low: float, high: float) -> list[float]:
    """Powers of two, or of ten where those are many; where there is less than one of two to see, steps of a tenth."""
    if high / low < 3:
        return [step / 10 for step in range(1, 40) if low <= step / 10 <= high]
    base = 2 if high / low < 200 else 10
    return [float(base) ** power for power in range(-12, 20) if low <= float(base) ** power <= high]
