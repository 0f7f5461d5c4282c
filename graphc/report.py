"""`graphc report MODEL`: one page about a model, with a profiled run in it: its graph, passes, kernels, memory, time. Stands on top."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import graphc as gc
from graphc.arguments import Commands, add_device, add_model, add_pipeline
from graphc.files import check_writable
from graphc.inspection.description import describe
from graphc.inspection.report import write_report
from graphc.limits import measure
from graphc.models import declare
from graphc.terminal import bytes_text


def add_command(commands: Commands) -> None:
    """`graphc report MODEL`."""
    command = commands.add_parser("report", help="write a page that shows what the compiler made of a model")
    add_model(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the HTML file to write")
    command.add_argument("--profile", action=argparse.BooleanOptionalAction, default=True, help="whether the model is run, for measured "
                         "times, the timeline and the machine's limits (default: yes)")
    add_pipeline(command)
    add_device(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Writes the page and says what is in it; OSError, before anything is compiled, for a file that cannot be written."""
    check_writable(options.out)
    description = described(options.model, gc.ConfigProto(pipeline=options.pipeline, device=options.device), options.profile)
    write_report(description, options.out)
    print(f"wrote {options.out}: {_contents(description)}, {bytes_text(options.out.stat().st_size)}")


def described(name: str, config: gc.ConfigProto, profiled: bool) -> dict[str, Any]:
    """All about the model called `name`, as `graphc.inspection.describe` says it; with a run's times where it is `profiled`."""
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=config) as session:
        gc.set_random_seed(0)
        fetches, feeds = declare(name)
        if not profiled:
            return {**describe(session.compile(fetches, feeds), name), "version": gc.__version__}
        session.run(gc.global_variables_initializer())
        profile = session.profile(fetches, feeds, runs=5)
        limits = measure(max((step.threads for step in profile.kernels), default=1) or 1)
        return {**describe(session.compile(fetches, feeds), name, profile, limits), "version": gc.__version__}


def _contents(description: dict[str, Any]) -> str:
    """What is in a report, in a few words."""
    pieces = description.get("pieces", [description])
    words = {"operations": "operations", "kernels": "kernels", "edges": "reasons not to fuse"}
    timed = ", profiled" if any(piece["timeline"] for piece in pieces) else ""
    return ", ".join(f"{sum(len(piece[key]) for piece in pieces)} {word}" for key, word in words.items()) + timed
