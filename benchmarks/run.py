"""What graphc must show, measured beside the machine's own limits and beside its peers: `python -m benchmarks.run [--write]`.

Every row runs graphc and each peer that is installed in turns, on one core, and divides by a limit measured in the same run: copying the
same bytes, or the peak of fused multiply-adds. `--write` puts the tables, one for one core and one for all, into docs/performance.md with
date, machine and versions.
"""
from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
_parser.add_argument("--write", action="store_true", help="write docs/performance.md")
_parser.add_argument("--cores", type=int, default=1, help="cores to use (default: %(default)s)")
_parser.add_argument("--table", action="store_true", help="print the table of speeds only")
_parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure a row (default: %(default)s)")
OPTIONS = _parser.parse_args()
ALL_CORES = sorted(os.sched_getaffinity(0))
# Before numpy, torch and jax are imported: they count the cores when they start.
os.sched_setaffinity(0, ALL_CORES[-OPTIONS.cores :])
# Idle threads of one peer must not spin on the cores while another is timed.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}

import numpy as np

import graphc as gc
from benchmarks import peers, sections, starts
from graphc import digits, limits
from graphc.models import MODELS, attention, mlp, rows
from graphc.models.mlp_by_hand import MlpByHand
from graphc.terminal import Progress, bytes_text, seconds_text
from graphc.timing import Timing, interleaved

_LOAD = os.getloadavg()[0]  # other processes' work: figures taken beside it are worse than they need be
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_MATRIX = 512


@dataclass(frozen=True)
class Row:
    """One thing measured. limit: what the machine's own limit took, measured in the same rounds; goal: what the ratio to it should be
    at most."""

    name: str
    times: Mapping[str, Timing]
    kernels: int
    limit: Timing | None = None
    limit_name: str = ""
    goal: float = 0.0

    @property
    def ratio(self) -> float:
        """graphc's fastest round to the limit's: what other processes on the machine disturb least."""
        return self.times["graphc"].least / self.limit.least if self.limit else float("nan")


@dataclass
class Bench:
    """Builds a model in a graph of its own and measures it in turns with the peers."""

    seconds: float
    rows: list[Row] = field(default_factory=list)

    def add(self, name: str, build: Callable[[], tuple[Any, Mapping[Any, Any]]], others: Mapping[str, Callable[[], object]],
            limit: Callable[[], object] | None = None, limit_name: str = "", goal: float = 0.0) -> None:
        with gc.Graph().as_default() as graph:
            gc.set_random_seed(0)
            fetches, feeds = build()
            config = gc.ConfigProto(intra_op_parallelism_threads=OPTIONS.cores)
            with gc.Session(graph=graph, config=config) as session:
                session.run(gc.global_variables_initializer())
                call, arguments = session.make_callable(fetches, list(feeds)), list(feeds.values())
                kernels = len(session.compile(fetches, feeds).kernels)
                calls = {"graphc": lambda: call(*arguments), **others}
                if limit is not None and OPTIONS.cores == 1:
                    calls[limit_name] = limit
                times = interleaved(calls, self.seconds)
        self.rows.append(Row(name, times, kernels, times.pop(limit_name, None), limit_name, goal))


def _product(gelu: bool) -> tuple[list[Any], dict[Any, Any]]:
    a, b = (gc.placeholder(gc.float32, [_MATRIX, _MATRIX], name=name) for name in "ab")
    bias = gc.placeholder(gc.float32, [_MATRIX], name="bias")
    y = gc.matmul(a, b) + bias
    return [gc.nn.gelu(y) if gelu else y], dict(zip((a, b, bias), _matrices(), strict=True))


def _matrices() -> tuple[peers.Floats, peers.Floats, peers.Floats]:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, _MATRIX, _MATRIX), np.float32)
    return a, b, random.standard_normal(_MATRIX, np.float32)


def measure(seconds: float) -> list[Row]:
    """Every row of the page."""
    bench = Bench(seconds)
    random = np.random.default_rng(0)
    x = random.standard_normal((rows.ROWS, rows.COLUMNS), np.float32)
    scale, shift = random.standard_normal((2, rows.COLUMNS), np.float32)
    copy = limits.copy(x.nbytes), "copy"
    peak = limits.multiply_adds(2 * _MATRIX**3), "FMA peak"
    a_b_bias = _matrices()
    jobs: list[Callable[[], None]] = [
        lambda: bench.add("softmax [4096,1024]", rows.softmax, peers.softmax(x), *copy, 1.5),
        lambda: bench.add("layer norm [4096,1024]", rows.layernorm, peers.layer_norm(x, scale, shift), *copy, 1.5),
        lambda: bench.add("gelu(x*w+b), 4M", rows.elementwise, peers.scale_shift_gelu(x, scale, shift), *copy, 1.1),
        lambda: bench.add("512³ product + bias", lambda: _product(False), peers.product(*a_b_bias, gelu=False), *peak, 1 / 0.85),
        lambda: bench.add("512³ product + bias + gelu", lambda: _product(True), peers.product(*a_b_bias, gelu=True), *peak, 1 / 0.75),
        lambda: _mlp(bench),
        lambda: _attention(bench),
    ]
    with Progress("measuring", len(jobs)) as bar:
        for job in jobs:
            job()
            bar.advance(bench.rows[-1].name)
    return bench.rows


def _mlp(bench: Bench) -> None:
    data, random = digits.split(), np.random.default_rng(0)
    images, labels = data.train_images[: mlp.BATCH], data.train_labels[: mlp.BATCH]
    shapes = ((64, mlp.HIDDEN), (mlp.HIDDEN,), (mlp.HIDDEN, 10), (10,))
    weights = [0.1 * random.standard_normal(shape, np.float32) for shape in shapes]
    by_hand = MlpByHand(weights, mlp.LEARNING_RATE)
    others = {"numpy": lambda: by_hand.step(images, labels), **peers.mlp_step(weights, images, labels)}
    bench.add("mlp training step, batch 64", mlp.build, others)


def _attention(bench: Bench) -> None:
    shape = (attention.BATCH, attention.LENGTH, attention.WIDTH)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    others = peers.attention_step(x)
    bench.add(f"attention training step {list(shape)}", attention.build, others)


def arena_rows() -> list[list[str]]:
    """For each built-in model: arena, lower bound, what it would be without planning."""
    found = []
    for name, build in MODELS.items():
        with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
            fetches, feeds = build()
            session.run(gc.global_variables_initializer())
            memory = session.compile(fetches, feeds).memory
            found.append([name, *map(bytes_text, (memory.arena_bytes, memory.lower_bound, memory.unplanned_bytes))])
    return found


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table with its columns padded, so that it reads in a terminal as well."""
    widths = [max(len(line[c]) for line in [header, *lines]) for c in range(len(header))]
    def show(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
    return "\n".join([show(header), show(["-" * width for width in widths]), *map(show, lines)])


def speed_table(measured: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in measured for name in row.times))
    lines = []
    for row in measured:
        verdict = f"{row.ratio:.2f} x {row.limit_name}" if row.limit else "-"
        goal = f"{row.goal:.2f} {'met' if row.ratio <= row.goal else 'missed'}" if row.limit and row.goal else "-"
        cells = [seconds_text(row.times[name].median) if name in row.times else "-" for name in names]
        lines.append([row.name, str(row.kernels), *cells, f"±{row.times['graphc'].spread:.0%}", verdict, goal])
    return markdown(["", "kernels", *names, "spread", "to the limit", "goal"], lines)


def on_all_cores() -> str:
    """The table of speeds when everything may use every core, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.run", "--table", "--cores", str(len(ALL_CORES)), "--seconds", str(OPTIONS.seconds)]
    os.sched_setaffinity(0, ALL_CORES)  # what this process may use, its child may
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, ALL_CORES[-OPTIONS.cores :])
    return done.stdout.strip()


def page(measured: Sequence[Row]) -> str:
    """The text of docs/performance.md."""
    size = rows.ROWS * rows.COLUMNS * 4
    all_cores = on_all_cores()
    versions = ", ".join(f"{name} {version}" for name, version in peers.versions().items())
    peak, copy = limits.fma_peak() / 1e9, limits.copy_bandwidth(size) / 1e9
    return f"""# Performance

Written by `python -m benchmarks.run --write` on {datetime.date.today()}.
{_cpu()}, load average before the run {_LOAD:.1f}, Python {platform.python_version()}, {versions}.

In this run the machine's limits were {peak:.0f} GFLOP/s of fused multiply-adds on one core, and {copy:.1f} GB/s (read and
written) for a copy of {bytes_text(size)}. Everything in a row ran in turns; medians, and half the distance of graphc's quartiles.
PyTorch runs eagerly, JAX jitted.

## One core

{speed_table(measured)}

"To the limit" is graphc's fastest round divided by the fastest of copying the same bytes, or of as many multiply-adds in registers, among
the same rounds.

## {len(ALL_CORES)} cores

{all_cores}

## Starting

{markdown(["", "median"], starts.table_rows())}

## Memory

{markdown(["model", "arena", "least possible", "a buffer per value"], arena_rows())}

## The language

{sections.read("language")}

## GPU

{sections.read("gpu")}
"""


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> int:
    peers.use_threads(OPTIONS.cores)
    measured = measure(OPTIONS.seconds)
    text = speed_table(measured) if OPTIONS.table else page(measured)
    print(text)
    if OPTIONS.write:
        PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
