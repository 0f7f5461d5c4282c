"""`graphc profile MODEL`: where the time of one run goes, kernel by kernel, beside what this machine can do at most. Stands on top."""
from __future__ import annotations

import argparse

import graphc as gc
from graphc.arguments import Commands, add_device, add_model, add_pipeline
from graphc.files import check_writable
from graphc.limits import Limits, measure
from graphc.models import declare
from graphc.runtime.profile import Profile


def add_command(commands: Commands) -> None:
    """`graphc profile MODEL`."""
    command = commands.add_parser("profile", help="time each kernel of a model against the machine's limits")
    add_model(command)
    command.add_argument("--runs", type=int, default=20, help="runs whose medians are shown (default: %(default)s)")
    command.add_argument("--threads", type=int, default=0, help="threads in one run (default: one per core)")
    command.add_argument("--trace", metavar="FILE", help="write a Chrome trace there, for ui.perfetto.dev or chrome://tracing")
    command.add_argument("--rows", type=int, default=40, help="rows of the table, longest first (default: %(default)s)")
    add_pipeline(command)
    add_device(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Prints the table of `profiled`, and writes the trace where one is wanted. ValueError or OSError before anything is run for rows that
    are too few and a file that cannot be written."""
    config = gc.ConfigProto(pipeline=options.pipeline, intra_op_parallelism_threads=options.threads, device=options.device)
    if options.rows < 1:
        raise ValueError(f"a table has at least one row; got --rows {options.rows}")
    if options.trace is not None:
        check_writable(options.trace)
    profile = profiled(options.model, config, options.runs)
    limits = limits_for(profile)
    print(profile.table(limits, options.rows))
    print(f"\nLimits here: {'; '.join(map(_words, limits.values())) or 'none measured for this device'}")
    if options.trace is not None:
        profile.save(options.trace)
        print(f"wrote {options.trace}")


def profiled(name: str, config: gc.ConfigProto, runs: int) -> Profile:
    """The medians of `runs` runs of the model called `name`. ValueError as `Session.profile` and `declare`."""
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(0)
        fetches, feeds = declare(name)
        with gc.Session(graph=graph, config=config) as session:
            session.run(gc.global_variables_initializer())
            return session.profile(fetches, feeds, runs)


def limits_for(profile: Profile) -> dict[int, Limits]:
    """What this machine's CPU can do with each number of threads that a kernel of `profile` used."""
    return {threads: measure(threads) for threads in sorted({step.threads for step in profile.kernels} - {0})}


def _words(limits: Limits) -> str:
    threads = f"{limits.threads} thread{'s' if limits.threads > 1 else ''}"
    return f"{threads}: {limits.gflops:.0f} GFLOP/s in float32, {limits.gbs:.1f} GB/s from memory"
