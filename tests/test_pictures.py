"""The pictures are well-formed, show every name and number they are given, and keep boxes inside the sheet."""
from __future__ import annotations

import xml.etree.ElementTree as ET

from graphc.pictures.canvas import Canvas, shortened, text_width
from graphc.pictures.flow import Box, Flow, dot, draw, layers_of
from graphc.pictures.memory_map import Block, memory_map
from graphc.pictures.stages import stage_bars

_SVG = "{http://www.w3.org/2000/svg}"


def _texts(canvas: Canvas) -> list[str]:
    return [element.text or "" for element in ET.fromstring(canvas.svg()).iter(f"{_SVG}text")]


def test_memory_map_places_blocks_by_time_and_offset() -> None:
    blocks = [Block("low & long", 0, 1024, 0, 3), Block("high", 1024, 1024, 1, 1)]
    canvas = memory_map(["k<0>", "k1", "k2", "k3"], blocks, 2048, 2048, 4096)
    root = ET.fromstring(canvas.svg())
    boxes = {}
    for box in root.iter(f"{_SVG}rect"):
        title = box.find(f"{_SVG}title")
        if title is not None:
            boxes[(title.text or "").split(":")[0]] = {k: float(box.get(k, 0)) for k in ("x", "y", "width", "height")}
    long, high = boxes["low & long"], boxes["high"]
    assert long["width"] > 3.5 * high["width"]
    assert high["y"] + high["height"] <= long["y"]
    assert all(b["x"] >= 0 and b["x"] + b["width"] <= canvas.width for b in boxes.values())
    assert {"k<0>", "k1", "k2", "k3", "low & long"} <= set(_texts(canvas))
    assert "arena 2.0 KiB, the least possible 2.0 KiB; a buffer per value would take 4.0 KiB. Red: what is alive." in _texts(canvas)
    peak = min(float(p.split(",")[1]) for line in root.iter(f"{_SVG}polyline") if line.get("stroke-width") == "1.5"
               for p in (line.get("points") or "").split())
    assert abs(peak - high["y"]) < 0.1  # the live bytes reach the top of the arena exactly


def test_memory_map_of_nothing() -> None:
    assert "Memory of one step" in _texts(memory_map([], [], 0, 0, 0))


def test_stage_bars_are_as_long_as_their_counts() -> None:
    canvas = stage_bars("Nodes", "note", [("first", 1200), ("last", 600)])
    widths = [float(box.get("width", 0)) for box in ET.fromstring(canvas.svg()).iter(f"{_SVG}rect")][1:]
    assert abs(widths[0] / widths[1] - 2) < 0.01
    assert {"first", "last", "1,200", "600"} <= set(_texts(canvas))


def test_long_names_are_shortened_to_their_box() -> None:
    assert shortened("short", 10, 100) == "short"
    cut = shortened("a_very_long_kernel_name_indeed", 10, 80)
    assert cut.endswith("…")
    assert text_width(cut, 10) <= 80
    assert shortened("whatever", 10, 12) == ""


def _diamond() -> Flow:
    return Flow((Box(("x",), "feed"), Box(("a", "detail")), Box(("w",), "state"), Box(("b",)), Box(("y",), "result")),
                ((0, 1), (0, 3), (1, 3), (2, 3), (3, 4)))


def test_flow_layers_follow_the_arrows() -> None:
    flow = _diamond()
    layer = {box: number for number, boxes in enumerate(layers_of(flow)) for box in boxes}
    assert all(layer[source] < layer[reader] for source, reader in flow.arrows)
    assert layer == {0: 0, 1: 1, 2: 1, 3: 2, 4: 3}  # w stands beside a, next to its only reader


def test_flow_draws_every_box_and_arrow() -> None:
    canvas = draw(_diamond(), "title", "note")
    assert {"title", "note", "x", "a", "detail", "w", "b", "y"} <= set(_texts(canvas))
    assert canvas.svg().count("<path") == 2 * 5
    assert draw(Flow((), ()), "none", "").svg()


def test_dot_quotes_labels() -> None:
    text = dot(Flow((Box(('say "hi"',)), Box(("b",))), ((0, 1),)))
    assert 'label="say \\"hi\\""' in text
    assert "n0 -> n1;" in text
