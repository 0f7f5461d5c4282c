"""A sheet to draw on: the few SVG shapes that the pictures need, collected and printed. Knows nothing of graphc."""
from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, QUIET, FAINT, PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
ACCENT = "#dc2626"
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart, and lighter ones between them.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#7f9f3f", "#b08d57", "#4c9f9f")
_FONT = "ui-sans-serif, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
_CHARACTER, _BOLD_CHARACTER = 0.57, 0.66  # the mean width of a character, in font sizes


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide `text` will be: enough to decide whether it fits."""
    return len(text) * size * (_BOLD_CHARACTER if bold else _CHARACTER)


def shortened(text: str, size: float, width: float, bold: bool = False) -> str:
    """`text`, or its beginning and an ellipsis where it is wider than `width`; "" where not even four characters fit."""
    if text_width(text, size, bold) <= width:
        return text
    fitting = int(width / text_width("x", size, bold)) - 1
    return f"{text[:fitting]}…" if fitting >= 4 else ""


class Canvas:
    """Shapes in the order in which they are drawn. Coordinates are pixels from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._shapes: list[str] = []

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str, *, hint: str = "", radius: float = 0,
                  outline: str = "none", opacity: float = 1) -> None:
        """A filled box; `hint` is shown when the pointer rests on it."""
        shape = (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" '
                 f'fill="{fill}" fill-opacity="{opacity:g}" stroke="{outline}"')
        self._shapes.append(f"{shape}><title>{escape(hint)}</title></rect>" if hint else f"{shape}/>")

    def text(self, x: float, y: float, text: str, size: float = 11, *, fill: str = INK, anchor: str = "start", bold: bool = False,
             turn: float = 0) -> None:
        """Text whose baseline begins (or ends, or is centred: `anchor`) at (x, y), turned by `turn` degrees."""
        weight = ' font-weight="600"' if bold else ""
        rotate = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" '
                            f'text-anchor="{anchor}"{weight}{rotate}>{escape(text)}</text>')

    def line(self, points: Sequence[tuple[float, float]], stroke: str = QUIET, *, width: float = 1, dashed: bool = False) -> None:
        """Straight pieces from point to point."""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashes}/>')

    def arrow(self, start: tuple[float, float], end: tuple[float, float], stroke: str = QUIET) -> None:
        """A curve that leaves `start` to the right and meets `end` from the left, with a small head."""
        (x0, y0), (x1, y1) = start, end
        bend = max((x1 - x0) / 2, 12)
        self._shapes.append(f'<path d="M{x0:.1f},{y0:.1f} C{x0 + bend:.1f},{y0:.1f} {x1 - bend:.1f},{y1:.1f} {x1 - 4:.1f},{y1:.1f}" '
                            f'fill="none" stroke="{stroke}" stroke-opacity="0.7"/>'
                            f'<path d="M{x1:.1f},{y1:.1f} l-6,-3 v6 z" fill="{stroke}"/>')

    def place(self, other: Canvas, x: float, y: float) -> None:
        """Another sheet, with its upper left corner at (x, y)."""
        self._shapes.append(f'<g transform="translate({x:g} {y:g})">{"".join(other._shapes)}</g>')

    def svg(self) -> str:
        """The whole file, on white paper with a thin edge, so that it reads on a dark page too."""
        size = f'width="{self.width:g}" height="{self.height:g}"'
        paper = f'<rect x="0.5" y="0.5" width="{self.width - 1:g}" height="{self.height - 1:g}" rx="8" fill="{PAPER}" stroke="{FAINT}"/>'
        return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {self.width:g} {self.height:g}" '
                f'font-family="{_FONT}">\n{paper}\n' + "\n".join(self._shapes) + "\n</svg>\n")
