"""What it costs to begin: one `Session.run` that computes next to nothing, and a process that meets a model for the first or second time.

Stands outside the package; `benchmarks/run.py` puts the figures on its page.
"""
from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import graphc as gc
from graphc.terminal import seconds_text
from graphc.timing import interleaved

_PROGRAM = """
import time
import graphc as gc
from graphc.models import declare
start = time.perf_counter()
fetches, feeds = declare("mlp")
with gc.Session() as session:
    session.run(gc.global_variables_initializer())
    session.run(fetches, feeds)
print(time.perf_counter() - start)
"""


def run_overhead(seconds: float = 0.5) -> tuple[float, float]:
    """Seconds of `Session.run` of x + 1 for a feed of four numbers, and of the callable made for the same."""
    with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
        x = gc.placeholder(gc.float32, [4])
        y = x + 1.0
        feed = {x: np.ones(4, np.float32)}
        call = session.make_callable(y, [x])
        times = interleaved({"run": lambda: session.run(y, feed), "call": lambda: call(feed[x])}, seconds)
        return times["run"].median, times["call"].median


def first_step(runs: int = 5) -> tuple[float, float]:
    """Seconds from a declared graph to the end of the first training step of the mlp in a new process: with an empty object cache, and with
    the cache that the process before left. Medians."""
    cold, warm = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_process(folder))
            warm.append(_process(folder))
    return statistics.median(cold), statistics.median(warm)


def _process(cache: str) -> float:
    environment = {**os.environ, "GRAPHC_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def table_rows() -> list[list[str]]:
    """The rows of the page's table."""
    run, call = run_overhead()
    cold, warm = first_step()
    return [
        ["`Session.run` of x + 1, one feed of 4 numbers", seconds_text(run)],
        ["the same by `make_callable`", seconds_text(call)],
        ["mlp declared, compiled and run once, empty cache", seconds_text(cold)],
        ["the same in the next process", seconds_text(warm)],
    ]
