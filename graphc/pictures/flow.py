"""The flow of values between kernels: boxes in layers from left to right, arrows between them. Also as Graphviz's DOT text.

The layout is the classic one for layered graphs (K. Sugiyama, S. Tagawa, M. Toda, 1981): a layer per longest path, then sweeps that move
each box to the mean height of its neighbours, so that few arrows cross.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.pictures.canvas import FAINT, INK, PALETTE, QUIET, Canvas, shortened

_BOX, _GAP_X, _GAP_Y, _LINE, _TOP, _SIDE = 164, 40, 14, 14, 64, 20
_SWEEPS = 12
FILLS = {"kernel": "#eaf3fa", "state": "#fdf3dc", "feed": "#e3f4ee", "result": "#f8eaf2"}
_EDGES = {"kernel": PALETTE[0], "state": PALETTE[1], "feed": PALETTE[2], "result": PALETTE[3]}


@dataclass(frozen=True)
class Box:
    """One kernel, or a value that comes from outside or leaves. `lines` are what is written in it, `kind` a key of FILLS."""

    lines: tuple[str, ...]
    kind: str = "kernel"

    @property
    def height(self) -> float:
        return 12 + _LINE * len(self.lines)


@dataclass(frozen=True)
class Flow:
    """Boxes, and arrows as pairs of positions in `boxes`; there must be no circle, and every arrow goes to a later box."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def layers_of(flow: Flow) -> list[list[int]]:
    """The boxes of each layer from top to bottom. Boxes without inputs stand just left of their first reader."""
    into, out = _neighbours(flow)
    layer: dict[int, int] = {}
    for box in range(len(flow.boxes)):
        layer[box] = 1 + max((layer[source] for source in into[box]), default=-1)
    for box in range(len(flow.boxes)):
        if not into[box] and out[box]:
            layer[box] = min(layer[reader] for reader in out[box]) - 1
    first = min(layer.values(), default=0)
    layers: list[list[int]] = [[] for _ in range(max(layer.values(), default=-1) - first + 1)]
    for box, number in layer.items():
        layers[number - first].append(box)
    for sweep in range(_SWEEPS):
        _sweep(layers, into if sweep % 2 == 0 else out, reverse=sweep % 2 == 1)
    return layers


def _neighbours(flow: Flow) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    into: dict[int, list[int]] = {box: [] for box in range(len(flow.boxes))}
    out: dict[int, list[int]] = {box: [] for box in range(len(flow.boxes))}
    for source, reader in flow.arrows:
        into[reader].append(source)
        out[source].append(reader)
    return into, out


def _sweep(layers: list[list[int]], neighbours: Mapping[int, Sequence[int]], reverse: bool) -> None:
    """Sorts every layer by the mean height of each box's neighbours, where it has any."""
    height = {box: (place + 0.5) / len(layer) for layer in layers for place, box in enumerate(layer)}
    for layer in reversed(layers) if reverse else layers:
        def mean(box: int) -> float:
            near = [height[other] for other in neighbours[box]]
            return sum(near) / len(near) if near else height[box]

        layer.sort(key=mean)
        height.update({box: (place + 0.5) / len(layer) for place, box in enumerate(layer)})


def draw(flow: Flow, title: str, note: str) -> Canvas:
    """The picture: blue boxes are kernels, yellow ones variables, green ones feeds, pink ones fetches."""
    layers = layers_of(flow)
    heights = [sum(flow.boxes[b].height + _GAP_Y for b in layer) - _GAP_Y for layer in layers]
    tallest = max(heights, default=0)
    canvas = Canvas(max(2 * _SIDE + len(layers) * (_BOX + _GAP_X) - _GAP_X, 320), _TOP + tallest + 20)
    canvas.text(16, 26, title, 14, bold=True)
    canvas.text(16, 44, note, fill=QUIET)
    corner: dict[int, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        y = _TOP + (tallest - heights[number]) / 2
        for box in layer:
            corner[box] = (_SIDE + number * (_BOX + _GAP_X), y)
            y += flow.boxes[box].height + _GAP_Y
    for source, reader in flow.arrows:
        (x0, y0), (x1, y1) = corner[source], corner[reader]
        canvas.arrow((x0 + _BOX, y0 + flow.boxes[source].height / 2), (x1, y1 + flow.boxes[reader].height / 2),
                     _EDGES.get(flow.boxes[source].kind, FAINT))
    for place, (x, y) in corner.items():
        _draw_box(canvas, flow.boxes[place], x, y)
    return canvas


def _draw_box(canvas: Canvas, box: Box, x: float, y: float) -> None:
    canvas.rectangle(x, y, _BOX, box.height, FILLS[box.kind], radius=5, outline=_EDGES[box.kind], hint="\n".join(box.lines))
    for number, line in enumerate(box.lines):
        first = number == 0
        canvas.text(x + _BOX / 2, y + 17 + number * _LINE, shortened(line, 10.5, _BOX - 8, first), 10.5, anchor="middle",
                    bold=first, fill=INK if first else QUIET)


def dot(flow: Flow) -> str:
    """The same graph in the DOT language of Graphviz."""
    boxes = [f'  n{place} [label={quoted(*box.lines)}, fillcolor="{FILLS[box.kind]}"];' for place, box in enumerate(flow.boxes)]
    arrows = [f"  n{source} -> n{reader};" for source, reader in flow.arrows]
    head = '  rankdir=LR; node [shape=box, style="rounded,filled", fontname="sans-serif"];'
    return "\n".join(["digraph program {", head, *boxes, *arrows, "}"]) + "\n"


def quoted(*lines: str) -> str:
    """`lines` as one string of DOT, one below the other."""
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
