"""`graphc bench MODEL`: one model under each pipeline, run in turns. Stands on top."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import graphc as gc
from graphc.arguments import PIPELINES, Commands, add_device, add_model
from graphc.models import declare
from graphc.runtime.executable import CudaExecutable
from graphc.terminal import Progress, bytes_text, seconds_text, table
from graphc.timing import Timing, interleaved


def add_command(commands: Commands) -> None:
    """`graphc bench MODEL`."""
    command = commands.add_parser("bench", help="time a model fused, unfused and unoptimised")
    add_model(command)
    command.add_argument("--seconds", type=float, default=2.0, help="how long to measure (default: %(default)s)")
    command.add_argument("--threads", type=int, default=0, help="threads in one run (default: one per core)")
    add_device(command)
    command.set_defaults(command=lambda o: main(o.model, o.seconds, o.threads, o.device))


def main(name: str, seconds: float = 2.0, threads: int = 0, device: str | None = None) -> None:
    """Prints a table: median and spread of a run, kernels, bytes moved, arena, for each pipeline. `threads` 0 lets the runtime choose;
    `device` ("gpu", "/gpu:1") is where all of it runs, and on a GPU a second table says how long each launch of the fused step takes."""
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(0)
        fetches, feeds = declare(name)
        plans, times = measure(graph, fetches, feeds, seconds, threads, device)
        launches = launch_rows(graph, fetches, feeds, device) if isinstance(plans["default"], CudaExecutable) else []
    base = times["default"].median
    rows = [
        [
            "fused" if pipeline == "default" else pipeline,
            seconds_text(times[pipeline].median),
            f"±{times[pipeline].spread:.0%}",
            f"{times[pipeline].median / base:.2f}x",
            len(plan.kernels),
            bytes_text(plan.bytes_moved),
            bytes_text(plan.memory.arena_bytes),
        ]
        for pipeline, plan in plans.items()
    ]
    print(table(rows, ["pipeline", "median", "spread", "relative", "kernels", "bytes moved", "arena"], indent=0))
    if launches:
        print("\nEach launch by itself, between two marks:")
        print(table(launches, ["launch", "time", "share", "moves", "computes"], indent=0))


def launch_rows(graph: gc.Graph, fetches: Any, feeds: Mapping[Any, Any], device: str | None) -> list[list[str]]:
    """For every launch of the fused step on a GPU: its name, time, share of all launches, and the rates that it reached."""
    with gc.Session(graph=graph, config=gc.ConfigProto(device=device)) as session:
        session.run(gc.global_variables_initializer())
        profile = session.profile(fetches, feeds)
    total = profile.total_us or 1.0
    return [[step.name, seconds_text(step.us / 1e6), f"{step.us / total:.0%}", f"{step.gbs:.0f} GB/s", f"{step.gflops:.0f} GFLOP/s"]
            for step in profile.kernels]


def measure(graph: gc.Graph, fetches: Any, feeds: Mapping[Any, Any], seconds: float, threads: int = 0, device: str | None = None,
            ) -> tuple[dict[str, gc.Executable], dict[str, Timing]]:
    """The executable and the timing of one run, for each of PIPELINES, interleaved for about `seconds`."""
    initializer = gc.global_variables_initializer()
    with ExitStack() as sessions:
        plans, calls = {}, {}
        for pipeline in PIPELINES:
            config = gc.ConfigProto(pipeline=pipeline, intra_op_parallelism_threads=threads, device=device)
            session = sessions.enter_context(gc.Session(graph=graph, config=config))
            session.run(initializer)
            calls[pipeline] = _run(session, fetches, feeds)
            calls[pipeline]()  # of a graph that runs in stages only a run knows them all
            plans[pipeline] = session.compile(fetches, feeds)
        with Progress("measuring", len(PIPELINES)) as bar:
            times = interleaved(calls, seconds)
            bar.advance(steps=len(PIPELINES))
    return plans, times


def _run(session: gc.Session, fetches: Any, feeds: Mapping[Any, Any]) -> Callable[[], object]:
    call = session.make_callable(fetches, list(feeds))
    arguments = list(feeds.values())
    return lambda: call(*arguments)
