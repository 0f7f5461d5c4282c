"""What graphc must show on a GPU, beside a copy of the same bytes and beside its peers: `python -m benchmarks.gpu [--write]`.

Operands and results stay on the device in variables, for graphc and its peers alike; every call ends when the device is done. Calls run in
turns; medians. `--write` puts the tables, with date, device and versions, between the marks of the GPU section of docs/performance.md.
`--scale 0.01` makes everything small, to see that it runs.
"""
from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from benchmarks import gpu_peers as peers
from benchmarks import sections
from graphc.runtime.cuda import detect
from graphc.terminal import Progress, seconds_text, table
from graphc.timing import Timing, interleaved

GOAL_BANDWIDTH = 0.90  # of a copy's
GOAL_PRODUCT = 1.05  # times torch's
GOAL_LAUNCHES_US = 20.0  # for a step of 100 kernels

Floats = peers.Floats
Job = Callable[[], None]
Build = Callable[[], tuple[Any, Mapping[Any, Any]]]


@dataclass(frozen=True)
class Row:
    """One thing measured. bytes: what it must move, 0 where that is not its limit. peer: whose time the goal speaks of."""

    name: str
    launches: int
    times: Mapping[str, Timing]
    bytes: int = 0
    goal: str = ""


class Bench:
    """Measures models in turns with the peers, each in a graph and a session of its own on the device."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device = device
        self.seconds = seconds
        self.rows: list[Row] = []

    def add(self, name: str, build: Build, others: peers.Calls, goal: Callable[[Mapping[str, Timing]], str] = lambda _: "",
            nbytes: int = 0, **config: Any) -> None:
        """Measures what `build` declares, and the peers' calls with it."""
        with gc.Graph().as_default() as graph:
            gc.set_random_seed(0)
            fetches, feeds = build()
            with gc.Session(graph=graph, config=gc.ConfigProto(device=self.device, **config)) as session:
                session.run(gc.global_variables_initializer())
                call, values = session.make_callable(fetches, list(feeds)), list(feeds.values())
                call(*values)
                launches = len(session.compile(fetches, feeds).kernels)
                times = interleaved({"graphc": lambda: call(*values), **peers.working(others)}, self.seconds)
        self.rows.append(Row(name, launches, times, nbytes, goal(times)))


def on_device(array: Any, name: str) -> gc.Variable:
    """A variable with the values of `array`: operands that are on the device before the clock starts."""
    return gc.Variable(array, name=name, trainable=False)


def kept(value: gc.Tensor) -> Any:
    """An operation that leaves `value` in a variable: the result stays on the device."""
    return gc.assign(gc.Variable(gc.zeros(value.shape, value.dtype), trainable=False), value).op


def _bandwidth(times: Mapping[str, Timing]) -> str:
    if "copy" not in times:
        return "no copy to compare with"
    share = times["copy"].median / times["graphc"].median
    return f"{share:.0%} of a copy (goal {GOAL_BANDWIDTH:.0%}: {'met' if share >= GOAL_BANDWIDTH else 'missed'})"


def _beside_torch(times: Mapping[str, Timing]) -> str:
    if "torch" not in times:
        return "no peer"
    ratio = times["graphc"].median / times["torch"].median
    return f"{ratio:.2f}x torch's time (goal {GOAL_PRODUCT}: {'met' if ratio <= GOAL_PRODUCT else 'missed'})"


def _at_least_equal(times: Mapping[str, Timing]) -> str:
    others = [name for name in times if name != "graphc"]
    if not others:
        return "no peer"
    best = min(others, key=lambda name: times[name].median)
    gain = times[best].median / times["graphc"].median
    return f"{gain:.2f}x as fast as {best} (least 1, goal 1.2: {'met' if gain >= 1.2 else 'equal' if gain >= 1 else 'missed'})"


# Rows ------------------------------------------------------------------------------------------------------------------------------------

def _memory_bound(bench: Bench, scale: float) -> list[Job]:
    rows, columns = max(8, round(16384 * scale)), 4096
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, columns), np.float32)
    a, b = random.standard_normal((2, columns), np.float32)

    def model(function: Callable[..., gc.Tensor], *arrays: Floats) -> Build:
        return lambda: (kept(function(*(on_device(array, "x") for array in arrays))), {})

    def job(name: str, function: Callable[..., gc.Tensor], arrays: Sequence[Floats], others: peers.Calls, nbytes: int) -> Job:
        return lambda: bench.add(name, model(function, *arrays), {**others, **peers.copy(x)}, _bandwidth, nbytes)

    shape, both = f"[{rows},{columns}]", 2 * x.nbytes
    return [
        job(f"softmax {shape}", gc.nn.softmax, [x], peers.softmax(x), both),
        job(f"layer norm {shape}", gc.nn.layer_norm, [x, a, b], peers.layer_norm(x, a, b), both),
        job(f"gelu(x*w+b) {shape}", lambda t, s, u: gc.nn.gelu(t * s + u), [x, a, b], peers.scale_shift_gelu(x, a, b), both),
        job(f"sum {shape}", gc.reduce_sum, [x], peers.total(x), x.nbytes),
        job(f"transpose {shape}", gc.transpose, [x], peers.transpose(x), both),
    ]


def _products(bench: Bench, scale: float) -> list[Job]:
    size = max(32, round(4096 * scale**0.5) // 32 * 32)
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, size, size), np.float32)
    bias = random.standard_normal(size, np.float32)

    def build(dtype: gc.DType) -> Build:
        def declared() -> tuple[Any, Mapping[Any, Any]]:
            s, t, u = (on_device(gc.cast(array, dtype), "x") for array in (a, b, bias))
            return kept(gc.nn.gelu(gc.matmul(s, t) + u, approximate=True)), {}
        return declared

    def job(name: str, dtype: gc.DType, precision: str) -> Job:
        others = peers.product(a, b, bias, dtype.name, precision == "tfloat32")
        title = f"{size}³ product + bias + gelu, {name}"
        return lambda: bench.add(title, build(dtype), others, _beside_torch, products_precision=precision)

    return [job("float32", gc.float32, "float32"), job("tfloat32", gc.float32, "tfloat32"), job("bfloat16", gc.bfloat16, "float32"),
            job("float16", gc.float16, "float32")]


def _steps(bench: Bench, scale: float) -> list[Job]:
    random = np.random.default_rng(0)
    batch, inputs, hidden, classes = max(8, round(512 * scale)), 784, max(16, round(2048 * scale)), 10
    images = random.standard_normal((batch, inputs), np.float32)
    labels = random.integers(0, classes, batch)
    shapes = ((inputs, hidden), (hidden,), (hidden, hidden), (hidden,), (hidden, classes), (classes,))
    weights = [np.float32(0.03) * random.standard_normal(shape, np.float32) for shape in shapes]
    mlp_others = peers.training_step(peers.torch_mlp, peers.jax_mlp, weights, [images, labels], 1e-3)
    heads, width, length, sequences = 8, max(64, round(512 * scale) // 64 * 64), max(16, round(256 * scale)), max(2, round(16 * scale))
    x = random.standard_normal((sequences, length, width), np.float32)
    block = _block_weights(width, random)
    block_others = peers.training_step(peers.torch_transformer(heads), peers.jax_transformer(heads), block, [x], 1e-3)
    return [
        lambda: bench.add(f"mlp step, batch {batch}, hidden {hidden}", lambda: _mlp(images, labels, weights), mlp_others, _at_least_equal),
        lambda: bench.add(f"transformer block step {list(x.shape)}", lambda: _transformer(x, block, heads), block_others, _at_least_equal),
    ]


def _minimised(loss: gc.Tensor, variables: Sequence[gc.Variable]) -> tuple[Any, Mapping[Any, Any]]:
    return [loss, gc.train.AdamOptimizer(1e-3).minimize(loss, var_list=list(variables))], {}


def _mlp(images: Floats, labels: Any, weights: Sequence[Floats]) -> tuple[Any, Mapping[Any, Any]]:
    w1, b1, w2, b2, w3, b3 = variables = [gc.Variable(weight) for weight in weights]
    x, answers = on_device(images, "images"), on_device(labels, "labels")
    hidden = gc.nn.relu(gc.matmul(gc.nn.relu(gc.matmul(x, w1) + b1), w2) + b2)
    losses = gc.nn.sparse_softmax_cross_entropy_with_logits(labels=answers, logits=gc.matmul(hidden, w3) + b3)
    return _minimised(gc.reduce_mean(losses), variables)


def _block_weights(width: int, random: np.random.Generator) -> list[Floats]:
    square = [np.float32(width**-0.5) * random.standard_normal((width, width), np.float32) for _ in range(4)]
    norms = [np.ones(width, np.float32), np.zeros(width, np.float32)] * 2
    wide = [np.float32(width**-0.5) * random.standard_normal(shape, np.float32) for shape in ((width, 4 * width), (4 * width, width))]
    return [*square, *norms, wide[0], np.zeros(4 * width, np.float32), wide[1], np.zeros(width, np.float32)]


def _transformer(array: Floats, weights: Sequence[Floats], heads: int) -> tuple[Any, Mapping[Any, Any]]:
    wq, wk, wv, wo, g1, s1, g2, s2, w1, b1, w2, b2 = variables = [gc.Variable(weight) for weight in weights]
    x = on_device(array, "x")
    batch, length, width = array.shape

    def times(t: gc.Tensor, w: gc.Variable) -> gc.Tensor:
        rows = gc.matmul(gc.reshape(t, [batch * length, -1]), w)
        return gc.reshape(rows, [batch, length, -1])

    def split(t: gc.Tensor) -> gc.Tensor:
        return gc.transpose(gc.reshape(t, [batch, length, heads, width // heads]), [0, 2, 1, 3])

    y = gc.nn.layer_norm(x, g1, s1)
    query, key, value = (split(times(y, w)) for w in (wq, wk, wv))
    scores = gc.nn.softmax(gc.matmul(query, key, transpose_b=True) * (width // heads) ** -0.5)
    mixed = gc.reshape(gc.transpose(gc.matmul(scores, value), [0, 2, 1, 3]), [batch, length, width])
    x1 = x + times(mixed, wo)
    z = gc.nn.layer_norm(x1, g2, s2)
    result = x1 + times(gc.nn.gelu(times(z, w1) + b1, approximate=True), w2) + b2
    return _minimised(gc.reduce_mean(gc.square(result)), variables)


def _launches(bench: Bench) -> list[Job]:
    """A hundred kernels that compute next to nothing, one after the other: what remains is the cost of launching them."""
    def build() -> tuple[Any, Mapping[Any, Any]]:
        y: gc.Tensor = on_device(np.ones(32, np.float32), "x").value()
        for _ in range(100):
            y = gc.tanh(y)
        return kept(y), {}

    def goal(times: Mapping[str, Timing]) -> str:
        microseconds = times["graphc"].median * 1e6
        return f"{microseconds:.1f} us (goal {GOAL_LAUNCHES_US:.0f}: {'met' if microseconds <= GOAL_LAUNCHES_US else 'missed'})"

    return [lambda: bench.add("100 dependent kernels", build, {}, goal, pipeline="unfused")]


# Output ----------------------------------------------------------------------------------------------------------------------------------

def measure(device: str, seconds: float, scale: float = 1.0) -> list[Row]:
    """Every row, on sizes `scale` times the full ones."""
    bench = Bench(device, seconds)
    jobs = [*_memory_bound(bench, scale), *_products(bench, scale), *_steps(bench, scale), *_launches(bench)]
    with Progress("measuring", len(jobs)) as bar:
        for job in jobs:
            job()
            bar.advance(bench.rows[-1].name)
    return bench.rows


def speeds(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table."""
    names = list(dict.fromkeys(name for row in rows for name in row.times))
    lines = []
    for row in rows:
        cells = [seconds_text(row.times[name].median) if name in row.times else "-" for name in names]
        rate = f"{row.bytes / row.times['graphc'].median / 1e9:.0f} GB/s" if row.bytes else "-"
        lines.append([row.name, str(row.launches), *cells, rate, row.goal])
    return ["", "launches", *names, "graphc moves", "judged by"], lines


def section(rows: Sequence[Row], devices: str) -> str:
    """The text between the marks of docs/performance.md; `devices` names those of the machine."""
    header, lines = speeds(rows)
    versions = ", ".join(f"{name} {version}" for name, version in {"numpy": np.__version__, **peers.versions()}.items())
    shown = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *lines)]
    head = f"Written by `python -m benchmarks.gpu --write` on {datetime.date.today()}: {devices}; {versions}."
    return "\n".join([head, "", *shown])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the GPU section of docs/performance.md")
    parser.add_argument("--device", default="/gpu:0")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure a row (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes (default: %(default)s)")
    options = parser.parse_args(arguments)
    rows = measure(options.device, options.seconds, options.scale)
    header, lines = speeds(rows)
    print(table(lines, header, indent=0))
    if options.write:
        devices = "; ".join(f"{found.name} ({found.arch})" for found in detect.devices())
        sections.write("gpu", section(rows, devices))
    return 0


if __name__ == "__main__":
    sys.exit(main())
