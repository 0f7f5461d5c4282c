"""`graphc bench MODEL`: what the compiler gained, and what each of its passes did; beside others where asked. Stands on top.

`graphc.benchmark` measures; this is its command line.
"""
from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

import graphc as gc
from graphc import peers
from graphc.arguments import Commands, add_device, add_model, add_pipeline
from graphc.benchmark import Comparison, compare, variants
from graphc.comparison import check_chart
from graphc.files import check_writable
from graphc.models import declare
from graphc.terminal import seconds_text, table

GROUPS = ("pipelines", "passes", "rules", "threads")


def add_command(commands: Commands) -> None:
    """`graphc bench MODEL`."""
    command = commands.add_parser("bench", help="time a model fused, unfused, unoptimised, and with each pass switched off")
    add_model(command)
    add_pipeline(command)
    command.add_argument("--seconds", type=float, default=2.0, help="how long to measure, compiling not counted (default: %(default)s)")
    command.add_argument("--threads", metavar="N[,N...]", help="threads in one run; of several the largest, and one row with "
                         "each (default: 1, 2, 4, ... up to one per core)")
    command.add_argument("--only", default=",".join(GROUPS), metavar="GROUP[,GROUP...]",
                         help=f"what to compare with: some of {', '.join(GROUPS)} (default: all)")
    command.add_argument("--against", default="", metavar="PEER[,PEER...]",
                         help=f"others that run the same step in the same rounds: {', '.join(peers.PEERS)}, or what the model's file "
                         "defines")
    command.add_argument("--warm", action="store_true", help="do not measure how long compiling takes with nothing compiled before")
    command.add_argument("--json", metavar="FILE", help="also write all of it as JSON")
    command.add_argument("--chart", metavar="FILE", help="also draw it, as .svg or .png")
    add_device(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Measures, prints the table, and writes the files that were asked for. What could go wrong at the end is asked at the beginning."""
    _check_files(options.json, options.chart)
    groups, counts, wanted = _groups(options.only), _counts(options.threads), _words(options.against)
    on_gpu = options.device is not None and "gpu" in options.device.lower()
    if on_gpu and wanted:
        raise ValueError("--against compares on a CPU; `python -m benchmarks.gpu` compares on a GPU")
    if not counts:
        counts = _doublings(_cores()) if "threads" in groups and not on_gpu else [_cores()]
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(0)
        fetches, feeds = declare(options.model)
        against = peers.of_model(options.model, wanted, max(counts))
        chosen = variants(options.pipeline, [group for group in groups if group != "threads"])
        found = compare(fetches, feeds, graph, chosen, counts, options.seconds, device=options.device, against=against,
                        title=f"{options.model}: one run", compile_cold=not options.warm, progress=True)
        launches = launch_rows(graph, fetches, feeds, options.device) if on_gpu else []
    _show(found, launches, options.json, options.chart)


def _show(found: Comparison, launches: Sequence[Sequence[str]], json: str | None, chart: str | None) -> None:
    print(found.table())
    if launches:
        print("\nEach launch by itself, between two marks:")
        print(table(launches, ["launch", "time", "share", "moves", "computes"], indent=0))
    if json:
        found.save(json)
        print(f"wrote {json}")
    if chart:
        found.chart(chart)
        print(f"wrote {chart}")


def launch_rows(graph: gc.Graph, fetches: Any, feeds: Mapping[Any, Any], device: str | None) -> list[list[str]]:
    """For every launch of the fused step on a GPU: its name, time, share of all launches, and the rates that it reached."""
    with gc.Session(graph=graph, config=gc.ConfigProto(device=device)) as session:
        session.run(gc.global_variables_initializer())
        profile = session.profile(fetches, feeds)
    total = profile.total_us or 1.0
    return [[step.name, seconds_text(step.us / 1e6), f"{step.us / total:.0%}", f"{step.gbs:.0f} GB/s", f"{step.gflops:.0f} GFLOP/s"]
            for step in profile.kernels]


def _check_files(json: str | None, chart: str | None) -> None:
    """ValueError or OSError for what could not be written after all the work."""
    if chart:
        check_chart(chart)
    for path in filter(None, (json, chart)):
        check_writable(path)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _doublings(cores: int) -> list[int]:
    """1, 2, 4, ... and `cores`."""
    return sorted({*(1 << power for power in range(cores.bit_length())), cores})


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _groups(text: str) -> tuple[str, ...]:
    """`passes,threads` as names of groups; ValueError for one that is none."""
    words = _words(text)
    unknown = [word for word in words if word not in GROUPS]
    if unknown or not words:
        raise ValueError(f"--only {text}: {(unknown or [text])[0]!r} is none of {', '.join(GROUPS)}")
    return words


def _counts(text: str | None) -> list[int]:
    """`1,2,4` as counts of threads, nothing as none; ValueError for what is no count."""
    if text is None:
        return []
    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) >= 1 for word in words):
        raise ValueError(f"--threads {text}: threads are counted from 1, as in 4 or 1,2,4")
    return [int(word) for word in words]
