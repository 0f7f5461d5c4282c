"""The way of a program through the compiler: a bar per stage, as long as the stage's number of nodes."""
from __future__ import annotations

from collections.abc import Sequence

from graphc.pictures.canvas import PALETTE, QUIET, Canvas

_ROW, _TOP, _LABEL = 22, 58, 150


def stage_bars(title: str, note: str, rows: Sequence[tuple[str, int]], width: float = 380) -> Canvas:
    """`rows` are (stage, count) from first to last."""
    canvas = Canvas(width, _TOP + _ROW * len(rows) + 12)
    canvas.text(16, 26, title, 14, bold=True)
    canvas.text(16, 44, note, fill=QUIET)
    longest = max((count for _, count in rows), default=1) or 1
    for number, (label, count) in enumerate(rows):
        y = _TOP + number * _ROW
        length = (width - _LABEL - 64) * count / longest
        canvas.text(_LABEL - 8, y + 14, label, anchor="end")
        canvas.rectangle(_LABEL, y + 3, max(length, 1), _ROW - 7, PALETTE[0], radius=2, opacity=0.85)
        canvas.text(_LABEL + length + 6, y + 14, f"{count:,}", fill=QUIET)
    return canvas
