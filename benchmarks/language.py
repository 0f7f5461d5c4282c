"""The operations beside numpy and PyTorch, in turns: `python -m benchmarks.language [--write] [--only WORD] [--seconds S]`.

One row an operation, forward or with its gradient, on all cores; convolutions have a benchmark of their own (`benchmarks.convolution`), and
composites beside their formulas too (`benchmarks.composites`). `--write` puts the table into docs/performance.md.
"""
from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import graphc as gc
from benchmarks import sections
from graphc.models import cnn
from graphc.terminal import Progress, seconds_text
from graphc.timing import Timing, interleaved

CORES = len(os.sched_getaffinity(0))
Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """name; graphc: () -> (fetches, feeds), declared in a graph of its own; peers: the same by others."""

    name: str
    graphc: Callable[[], tuple[Any, dict[Any, Any]]]
    peers: dict[str, Call]


def _fed(declare: Callable[..., Any], *arrays: np.ndarray[Any, Any]) -> Callable[[], tuple[Any, dict[Any, Any]]]:
    def build() -> tuple[Any, dict[Any, Any]]:
        inputs = [gc.placeholder(a.dtype, a.shape) for a in arrays]
        return declare(*inputs), dict(zip(inputs, arrays, strict=True))
    return build


def _with_gradient(function: Callable[..., torch.Tensor], *arrays: np.ndarray[Any, Any]) -> Call:
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]

    def call() -> object:
        return torch.autograd.grad(function(*tensors).sum(), tensors)
    return call


def _plain(function: Callable[..., Any], *arrays: np.ndarray[Any, Any]) -> Call:
    tensors = [torch.from_numpy(a) for a in arrays]

    def call() -> object:
        with torch.inference_mode():
            return function(*tensors)
    return call


def rows() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 56, 56, 64), np.float32)
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def pooled(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 3, 2)
    yield Row("max pool 3x3/2 [16,56,56,64]", _fed(lambda x: gc.nn.max_pool(x, 3, 2, "VALID"), images), {"torch": _plain(pooled, first)})
    yield Row("the same and its gradient", _fed(lambda x: gc.gradients(gc.nn.max_pool(x, 3, 2, "VALID"), x), images),
              {"torch": _with_gradient(pooled, first)})
    scale, shift = rng.standard_normal((2, 64), np.float32)

    def normal(x: gc.Tensor, a: gc.Tensor, b: gc.Tensor) -> Any:
        return gc.gradients(gc.nn.fused_batch_norm(x, a, b)[0] * x, [x, a, b])
    yield Row("batch norm, forward and gradient", _fed(normal, images, scale, shift), {"torch": _with_gradient(
        lambda x, a, b: functional.batch_norm(x, None, None, a, b, True) * x, first, scale, shift)})
    wide = rng.standard_normal((1000, 1000), np.float32)
    yield Row("cumulative sum [1000,1000]", _fed(lambda x: gc.cumsum(x, 1), wide),
              {"numpy": lambda: np.cumsum(wide, 1), "torch": _plain(lambda x: torch.cumsum(x, 1), wide)})
    yield Row("sort and order [1000,1000]", _fed(lambda x: (gc.sort(x), gc.argsort(x)), wide),
              {"numpy": lambda: (np.sort(wide), np.argsort(wide)), "torch": _plain(torch.sort, wide)})
    words = rng.standard_normal((32, 50_000), np.float32)
    yield Row("greatest 10 of [32,50000]", _fed(lambda x: gc.nn.top_k(x, 10), words),
              {"numpy": lambda: np.partition(words, -10)[:, -10:], "torch": _plain(lambda x: torch.topk(x, 10), words)})
    values, where = rng.standard_normal((1_000_000, 8), np.float32), np.sort(rng.integers(0, 1000, 1_000_000))
    yield Row("segment sum [1000000,8]", _fed(lambda x, i: gc.unsorted_segment_sum(x, i, 1000), values, where), {"torch": _plain(
        lambda x, i: torch.zeros(1000, 8).index_add_(0, i, x), values, where)})
    keep = rng.random(1_000_000) < 0.5
    yield Row("boolean mask [1000000,8], half kept", _fed(gc.boolean_mask, values, keep),
              {"numpy": lambda: values[keep], "torch": _plain(lambda x, m: x[m], values, keep)})
    yield _embedding(rng)
    small = rng.standard_normal((64, 32, 32), np.float32)
    positive = small @ small.transpose(0, 2, 1) + 32 * np.eye(32, dtype=np.float32)
    yield Row("cholesky [64,32,32]", _fed(gc.cholesky, positive),
              {"numpy": lambda: np.linalg.cholesky(positive), "torch": _plain(torch.linalg.cholesky, positive)})
    signals = rng.standard_normal((64, 4096), np.float32)
    yield Row("real FFT [64,4096]", _fed(gc.signal.rfft, signals),
              {"numpy": lambda: np.fft.rfft(signals), "torch": _plain(torch.fft.rfft, signals)})
    yield _network()


def _embedding(rng: np.random.Generator) -> Row:
    table, ids = rng.standard_normal((50_000, 128), np.float32), rng.integers(0, 50_000, 4096)

    def build() -> tuple[Any, dict[Any, Any]]:
        held, chosen = gc.Variable(table), gc.placeholder(gc.int64, [4096])
        loss = gc.reduce_mean(gc.square(gc.nn.embedding_lookup(held, chosen)))
        return gc.train.GradientDescentOptimizer(0.1).minimize(loss), {chosen: ids}
    theirs = torch.nn.Embedding.from_pretrained(torch.from_numpy(table.copy()), freeze=False, sparse=True)
    optimizer, places = torch.optim.SGD(theirs.parameters(), 0.1), torch.from_numpy(ids)

    def step() -> None:
        optimizer.zero_grad()
        theirs(places).square().mean().backward()
        optimizer.step()
    return Row("embedding step, 4096 of 50000 rows", build, {"torch": step})


def _network() -> Row:
    def block(before: int, after: int) -> list[torch.nn.Module]:
        return [torch.nn.Conv2d(before, after, 3, padding=1, bias=False), torch.nn.BatchNorm2d(after), torch.nn.ReLU(),
                torch.nn.MaxPool2d(2)]
    a, b = cnn.WIDTHS
    model = torch.nn.Sequential(*block(1, a), *block(a, b), torch.nn.Flatten(), torch.nn.Linear(4 * b, 10))
    optimizer = torch.optim.Adam(model.parameters(), cnn.LEARNING_RATE)
    with gc.Graph().as_default():
        images, labels, _ = cnn.build()[1].values()
    x, y = torch.from_numpy(np.asarray(images).reshape(-1, 1, 8, 8)), torch.from_numpy(np.asarray(labels))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return Row(f"cnn training step, batch {cnn.BATCH}", cnn.build, {"torch": step})


def measure(row: Row, seconds: float) -> dict[str, Timing]:
    with gc.Graph().as_default() as graph:
        fetches, feeds = row.graphc()
        with gc.Session(graph=graph) as session:
            session.run(gc.global_variables_initializer())
            call, values = session.make_callable(fetches, list(feeds)), list(feeds.values())
            return interleaved({"graphc": lambda: call(*values), **row.peers}, seconds)


def table(measured: Sequence[tuple[str, dict[str, Timing]]]) -> str:
    lines = [f"| {'operation':38} | graphc   | numpy    | torch    | torch / graphc |",
             f"| {'-' * 38} | -------- | -------- | -------- | -------------- |"]
    for name, times in measured:
        cells = [seconds_text(times[each].median) if each in times else "-" for each in ("graphc", "numpy", "torch")]
        ratio = times["torch"].median / times["graphc"].median
        lines.append("| " + " | ".join([f"{name:38}", *(f"{cell:8}" for cell in cells), f"{ratio:<14.2f}"]) + " |")
    return "\n".join(lines)


def section(measured: Sequence[tuple[str, dict[str, Timing]]], load: float) -> str:
    return f"""Written by `python -m benchmarks.language --write` on {datetime.date.today()}: {CORES} cores, load average before the run
{load:.1f}, numpy {np.__version__}, torch {torch.__version__}, everything in a row in turns, medians. Images were
given to torch channels first.

{table(measured)}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure a row (default: %(default)s)")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    chosen = [row for row in rows() if options.only in row.name]
    measured = []
    with Progress("measuring", len(chosen)) as bar:
        for row in chosen:
            measured.append((row.name, measure(row, options.seconds)))
            bar.advance(row.name)
    text = section(measured, load)
    print(text)
    if options.write:
        sections.write("language", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
