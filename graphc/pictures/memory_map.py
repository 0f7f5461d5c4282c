"""The arena over time: every buffer a box, from the kernel that writes it to the last that reads it, at its place in memory."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.pictures.canvas import ACCENT, FAINT, INK, PALETTE, QUIET, Canvas, shortened, text_width
from graphc.terminal import bytes_text

_LEFT, _TOP, _RIGHT = 76, 58, 20
_NAME_SIZE = 10


@dataclass(frozen=True)
class Block:
    """A buffer in the arena: bytes [offset, offset + size), alive from kernel number `first` to `last`, both included."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def memory_map(kernels: Sequence[str], blocks: Sequence[Block], arena_bytes: int, lower_bound: int, unplanned_bytes: int,
               width: float = 760, height: float = 300) -> Canvas:
    """The picture for `kernels` in the order they run. The red line is what is alive: its peak is the least that any plan can do with."""
    names_height = min(max((text_width(k, _NAME_SIZE) for k in kernels), default=0) * 0.71 + 14, 130)
    canvas = Canvas(width, _TOP + height + names_height + 10)
    across = (width - _LEFT - _RIGHT) / max(len(kernels), 1)
    up = height / max(arena_bytes, 1)
    canvas.text(16, 26, "Memory of one step", 14, bold=True)
    canvas.text(16, 44, f"arena {bytes_text(arena_bytes)}, the least possible {bytes_text(lower_bound)}; "
                        f"a buffer per value would take {bytes_text(unplanned_bytes)}. Red: what is alive.", fill=QUIET)
    _axes(canvas, kernels, across, arena_bytes, up, height)
    for number, block in enumerate(sorted(blocks, key=lambda b: -b.size)):
        x, y = _LEFT + block.first * across, _TOP + height - (block.offset + block.size) * up
        wide, high = (block.last - block.first + 1) * across, max(block.size * up, 1.5)
        hint = f"{block.name}: {bytes_text(block.size)} at {block.offset}, kernels {block.first} to {block.last}"
        canvas.rectangle(x + 0.5, y, wide - 1, max(high - 0.5, 1), PALETTE[number % len(PALETTE)], hint=hint, radius=2, opacity=0.8)
        if high >= 13:
            canvas.text(x + 5, y + high / 2 + 4, shortened(block.name, _NAME_SIZE, wide - 8), _NAME_SIZE, fill="#ffffff")
    _live_line(canvas, len(kernels), blocks, across, up, height)
    return canvas


def _axes(canvas: Canvas, kernels: Sequence[str], across: float, arena_bytes: int, up: float, height: float) -> None:
    right = _LEFT + across * len(kernels)
    for quarter in range(5):
        y = _TOP + height - arena_bytes * quarter / 4 * up
        canvas.line([(_LEFT, y), (right, y)], FAINT)
        canvas.text(_LEFT - 8, y + 4, bytes_text(arena_bytes * quarter / 4), _NAME_SIZE, fill=QUIET, anchor="end")
    for number, kernel in enumerate(kernels):
        x = _LEFT + (number + 0.5) * across
        canvas.text(x + 3, _TOP + height + 14, shortened(kernel, _NAME_SIZE, 165), _NAME_SIZE, fill=INK, anchor="end", turn=-45)


def _live_line(canvas: Canvas, kernels: int, blocks: Sequence[Block], across: float, up: float, height: float) -> None:
    points = []
    for number in range(kernels):
        live = sum(b.size for b in blocks if b.first <= number <= b.last)
        y = _TOP + height - live * up
        points += [(_LEFT + number * across, y), (_LEFT + (number + 1) * across, y)]
    if points:
        canvas.line(points, ACCENT, width=1.5)
