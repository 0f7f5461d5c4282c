"""What a comparison shows: table, JSON and chart of figures made up here, so that every number in them is known."""
from __future__ import annotations

import json
import os
import stat
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from graphc.comparison import Comparison, Row, check_chart
from graphc.files import check_writable, write_whole
from graphc.timing import Timing, summary

_SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {"cpu": "A processor", "cores": 4, "load": 0.5, "python": "3.13.0"}


def _times(*milliseconds: float) -> Timing:
    return summary([value / 1e3 for value in milliseconds])


FUSED = _times(1, 1.1, 1, 0.9, 1, 1, 1.2)
FOUND = Comparison("a model: one run", (
    Row("fused", "pipelines", FUSED, 4, 3, 2048, 512, 250.0, 20.0),
    Row("none", "pipelines", _times(4, 4.4, 4, 3.6, 4, 4, 4.8), 4, 1200, 10240, 1024, 500.0, 30.0),
    Row("without split", "a pass left out", FUSED, 4, 3, 2048, 512, 240.0, 19.0, same_as="fused"),
    Row("without fuse", "a pass left out", _times(4, 4.4, 4, 3.6, 4, 4, 4.8), 4, 1200, 10240, 1024, 500.0, 30.0, same_as="none"),
    Row("without order", "a pass left out", _times(0.5, 0.55, 0.5, 0.45, 0.5, 0.5, 0.6), 4, 3, 2048, 768, 230.0, 18.0),
    Row("torch", "others", _times(1, 1, 1.1, 1, 1.1, 0.9, 1), 4)), "1e-4", ("jax is left out: it is made up",), MACHINE, "2026-01-02 03:04")


def test_the_table() -> None:
    assert FOUND.table() == """\
                          median   95% interval  to fused      95% interval  kernels  bytes moved    arena  compile   warm
────────────────────────  ──────  ─────────────  ────────────  ────────────  ───────  ───────────  ───────  ───────  ─────
pipelines
  fused                     1 ms  900 us–1.2 ms  1.00x            1.00–1.00        3      2.0 KiB    512 B   250 ms  20 ms
  none                      4 ms  3.6 ms–4.8 ms  4.00x            4.00–4.00    1,200     10.0 KiB  1.0 KiB   500 ms  30 ms

a pass left out
  without split             1 ms  900 us–1.2 ms  same program                      3      2.0 KiB    512 B   240 ms  19 ms
  without fuse (as none)    4 ms  3.6 ms–4.8 ms  4.00x            4.00–4.00    1,200     10.0 KiB  1.0 KiB   500 ms  30 ms
  without order           500 us  450 us–600 us  0.50x            0.50–0.50        3      2.0 KiB    768 B   230 ms  18 ms

others
  torch                     1 ms  900 us–1.1 ms  1.00x            0.83–1.11        -            -        -        -      -

7 rounds, all in turns; results agree within 1e-4. A processor, 4 cores, load 0.5 before, 2026-01-02 03:04.
jax is left out: it is made up"""


def test_how_many_times_as_fast() -> None:
    found = FOUND.speedup("fused", "none")
    assert (found.low, found.median, found.high) == pytest.approx((4, 4, 4))
    assert found.confidence == pytest.approx(1 - 2 / 2**7)  # of seven samples the least and the largest
    assert FOUND.speedup("none", "fused").median == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"^no row 'some'; there are fused, none, without split, without fuse, without order, torch$"):
        FOUND.speedup("some", "none")


def test_json_has_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    FOUND.save(path)
    read = json.loads(path.read_text())
    assert {name: read[name] for name in ("title", "date", "machine", "tolerance")} == {
        "title": "a model: one run", "date": "2026-01-02 03:04", "machine": MACHINE, "tolerance": "1e-4"}
    assert "2 P(B < k) <= 0.05" in read["method"]
    none = read["rows"][1]
    assert {name: none[name] for name in ("name", "group", "threads", "kernels", "bytes", "arena", "compile_ms", "warm_ms", "same_as")} == {
        "name": "none", "group": "pipelines", "threads": 4, "kernels": 1200, "bytes": 10240, "arena": 1024, "compile_ms": 500.0,
        "warm_ms": 30.0, "same_as": ""}
    assert none["timing"] == {"median": 0.004, "low": 0.004, "high": pytest.approx(0.0042), "least": 0.0036, "samples": 7}
    assert none["interval"] == {"median": 0.004, "low": 0.0036, "high": 0.0048, "confidence": 1 - 2 / 2**7}
    assert none["relative"]["median"] == pytest.approx(4)
    assert read["rows"][5]["kernels"] is None


def _picture() -> ET.Element:
    return ET.fromstring(FOUND.picture().svg())


def _bars() -> dict[str, tuple[float, float, str]]:
    """Of each bar its left and right end and its colour, by the name in its hint."""
    found = {}
    for box in _picture().iter(f"{_SVG}rect"):
        title = box.find(f"{_SVG}title")
        if title is not None:
            left = float(box.get("x", 0))
            found[(title.text or "").split(":")[0]] = left, left + float(box.get("width", 0)), box.get("fill", "")
    return found


def test_bars_are_as_long_as_the_logarithm_of_the_ratio() -> None:
    bars = _bars()
    assert set(bars) == {"fused", "none", "without fuse (as none)", "without order", "torch"}  # the same program has no bar
    one = bars["none"][0]
    assert bars["none"][1] - one == pytest.approx(2 * (bars["without order"][1] - bars["without order"][0]), abs=0.2)  # 4x, and 1/2
    assert bars["without order"][1] == pytest.approx(one, abs=0.1)
    slower, faster, alike = bars["none"][2], bars["without order"][2], bars["torch"][2]
    assert len({slower, faster, alike}) == 3
    assert bars["fused"][2] == alike


def test_the_picture_shows_every_name_and_figure_inside_the_sheet() -> None:
    root = _picture()
    texts = [element.text or "" for element in root.iter(f"{_SVG}text")]
    assert {"a model: one run", "pipelines", "a pass left out", "others", "without split", "same program", "without order", "0.50x",
            "4.00x", "1x", "2x", "4x", "kernels", "1,200", "10.0 KiB", "250 ms"} <= set(texts)
    assert "A processor, 4 cores, load 0.5 before, 2026-01-02 03:04." in texts[1]
    wide, high = (float(root.get(side, 0)) for side in ("width", "height"))
    for element in root.iter(f"{_SVG}text"):
        assert 0 < float(element.get("x", 0)) <= wide
        assert 0 < float(element.get("y", 0)) <= high
    assert all(right <= wide for _, right, _ in _bars().values())


def test_charts_are_written_as_svg_and_png(tmp_path: Path) -> None:
    FOUND.chart(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == FOUND.picture().svg()
    pytest.importorskip("resvg_py")
    FOUND.chart(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 2 * round(FOUND.picture().width)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_what_a_chart_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^a chart is drawn into a file that ends in \.svg or \.png, not 'a\.pdf'$"):
        FOUND.chart("a.pdf")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ValueError, match=r"^a PNG picture needs the package resvg_py: pip install 'graphc\[png\]' \(SVG needs nothing\)$"):
        check_chart(tmp_path / "a.png")
    with pytest.raises(ValueError, match="resvg_py"):
        FOUND.chart(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    write_whole(path, "nöw")
    assert path.read_bytes() == "nöw".encode()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_bytes() == "nöw".encode()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match=r"^cannot write .*missing/file: No such file or directory$"):
        check_writable(tmp_path / "missing" / "file")
    with pytest.raises(IsADirectoryError, match=r"^cannot write .*: it is a folder$"):
        check_writable(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"^cannot write .*folder: it is a folder$"):
        write_whole(tmp_path / "folder", "new")
    (tmp_path / "folder").rmdir()
    check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == [path]


def test_pipes_and_links_are_not_replaced(tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe)
    write_whole(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()
    link.symlink_to(file)
    check_writable(link)
    write_whole(link, "linked")
    assert link.is_symlink()
    assert file.read_text() == "linked"
    assert set(tmp_path.iterdir()) == {pipe, link, file}
