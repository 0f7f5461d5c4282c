"""What `graphc.benchmark` measured: rows, and the ways to read them (a table, JSON, a chart, how many times as fast).

Every time stands with the interval of its median (`graphc.timing` gives the formula); every comparison is of the same rounds.
"""
from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graphc.files import write_whole
from graphc.pictures.canvas import Canvas
from graphc.pictures.png import check_png, png
from graphc.pictures.speeds import Speed, speeds
from graphc.terminal import bytes_text, seconds_text, table
from graphc.timing import CONFIDENCE, Interval, Timing, ratio

CHARTS = (".svg", ".png")
METHOD = ("interleaved rounds; median of the rounds; interval from order statistics: the largest k with 2 P(B < k) <= "
          f"{1 - CONFIDENCE:.2g}, B binomial (rounds, 1/2), gives the k-th smallest and the k-th largest")


@dataclass(frozen=True)
class Row:
    """One thing measured. group: the heading that it stands under. timing: seconds a run. threads: that one run may use.

    kernels, bytes (read and written by all kernels of a run) and arena (bytes) are the executable's, None for a peer's call. compile_ms:
    from the graph to code ready to run, with nothing compiled before; warm_ms: once more. same_as: the row that the compiler made the same
    program for: then its time is that row's, not measured again.
    """

    name: str
    group: str
    timing: Timing
    threads: int
    kernels: int | None = None
    bytes: int | None = None
    arena: int | None = None
    compile_ms: float | None = None
    warm_ms: float | None = None
    same_as: str = ""

    @property
    def low(self) -> float:
        """Seconds: the lower bound of the median's interval."""
        return self.timing.interval.low

    @property
    def high(self) -> float:
        """Seconds: the upper bound of the median's interval."""
        return self.timing.interval.high


@dataclass(frozen=True)
class Comparison:
    """What `compare` gives. rows: the first is what the others are compared with. tolerance: in words, how far results may lie apart.
    notes: what a reader should know (a pass that failed, a peer that was left out). machine and date say where and when."""

    title: str
    rows: tuple[Row, ...]
    tolerance: str
    notes: tuple[str, ...] = ()
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    date: str = field(default_factory=lambda: datetime.datetime.now().isoformat(" ", "minutes"))

    def row(self, name: str) -> Row:
        """The row `name`; ValueError that lists the names where there is none."""
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise ValueError(f"no row {name!r}; there are {', '.join(row.name for row in self.rows)}")
        return found

    def speedup(self, a: str, b: str) -> Interval:
        """How many times as fast as row `b` row `a` is, with its interval; ValueError for a name that is none."""
        return ratio(self.row(b).timing, self.row(a).timing)

    def relative(self, row: Row) -> Interval:
        """The time of `row` as a multiple of the first row's: above 1 it is slower."""
        return ratio(row.timing, self.rows[0].timing)

    def table(self) -> str:
        """Text for a terminal, and under it what it all means."""
        lines: list[Sequence[str]] = []
        for group, rows in self._groups():
            lines += [[""], [group]] if lines else [[group]]
            lines += [self._cells(row) for row in rows]
        first = self.rows[0].name if len(self.rows[0].name) <= 12 else "the first"
        times = ["median", "95% interval", f"to {first}", "95% interval"]
        header = ["", *times, "kernels", "bytes moved", "arena", "compile", "warm"]
        rounds = self.rows[0].timing.samples
        notes = [f"{rounds} rounds, all in turns; results agree within {self.tolerance}. {self._place()}", *self.notes]
        return "\n".join([table(lines, header, indent=0), "", *notes])

    def _cells(self, row: Row) -> list[str]:
        interval, to = row.timing.interval, self.relative(row)
        compared = ["same program", ""] if self._like_first(row) else [f"{to.median:.2f}x", f"{to.low:.2f}–{to.high:.2f}"]
        times = [seconds_text(row.timing.median), f"{seconds_text(interval.low)}–{seconds_text(interval.high)}"]
        return [f"  {self._name(row)}", *times, *compared, *_figures(row), "-" if row.warm_ms is None else seconds_text(row.warm_ms / 1e3)]

    def _like_first(self, row: Row) -> bool:
        """Whether the compiler made of it what it made of the first row."""
        return row.same_as == self.rows[0].name

    def _name(self, row: Row) -> str:
        return f"{row.name} (as {row.same_as})" if row.same_as and not self._like_first(row) else row.name

    def _groups(self) -> Iterator[tuple[str, list[Row]]]:
        for group in dict.fromkeys(row.group for row in self.rows):
            yield group, [row for row in self.rows if row.group == group]

    def _place(self) -> str:
        here = self.machine
        return f"{here['cpu']}, {here['cores']} cores, load {here['load']} before, {self.date}."

    def json(self) -> str:
        """Everything, as a JSON object: times in seconds, sizes in bytes, `compile_ms` in milliseconds."""
        rows = []
        for row in self.rows:
            entry = {name: value for name, value in asdict(row).items() if name != "timing"}
            timing = {name: value for name, value in asdict(row.timing).items() if name != "taken"}
            rows.append(entry | {"timing": timing, "interval": asdict(row.timing.interval), "relative": asdict(self.relative(row))})
        return json.dumps({"title": self.title, "date": self.date, "machine": self.machine, "method": METHOD, "tolerance": self.tolerance,
                           "notes": self.notes, "rows": rows}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `json()` into a file, whole or not at all; OSError where that cannot be."""
        write_whole(path, self.json())

    def chart(self, path: str | os.PathLike[str]) -> None:
        """Draws `picture()` into a file that ends in .svg or .png. ValueError as `check_chart`, OSError where it cannot be written."""
        check_chart(path)
        picture = self.picture()
        write_whole(path, png(picture) if Path(path).suffix == ".png" else picture.svg())

    def picture(self) -> Canvas:
        """The chart: how long each row takes beside the first, on a scale on which twice as long is as far everywhere."""
        rows = [Speed(self._name(row), group, self.relative(row), seconds_text(row.timing.median),
                      "same program" if self._like_first(row) else "", _figures(row)) for group, rows in self._groups() for row in rows]
        note = f"time of a run as a multiple of {self.rows[0].name}'s; bars end at medians, lines are 95% intervals. {self._place()}"
        return speeds(self.title, note, rows, ["kernels", "bytes moved", "arena", "compile"])


def _figures(row: Row) -> list[str]:
    """Kernels, bytes moved, arena and cold compilation, as text."""
    sizes = ["-" if count is None else bytes_text(count) for count in (row.bytes, row.arena)]
    compiled = "-" if row.compile_ms is None else seconds_text(row.compile_ms / 1e3)
    return ["-" if row.kernels is None else f"{row.kernels:,}", *sizes, compiled]


def check_chart(path: str | os.PathLike[str]) -> None:
    """ValueError unless `path` ends as a chart can; for a .png also where its library is missing, naming the extra that has it."""
    if Path(path).suffix not in CHARTS:
        raise ValueError(f"a chart is drawn into a file that ends in {' or '.join(CHARTS)}, not {os.fspath(path)!r}")
    if Path(path).suffix == ".png":
        check_png()


def machine() -> dict[str, Any]:
    """Where this process runs: the processor, the cores that it may use, how busy it was in the last minute, and the Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2), "python": platform.python_version()}
