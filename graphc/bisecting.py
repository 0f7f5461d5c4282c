"""`graphc bisect MODEL`: which pass, rule application or kernel is wrong, on the model's own feeds and variables. Stands on top.

The work is done by `graphc.runtime.bisecting`, whose `bisect` is the same for a Program at hand.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import graphc as gc
from graphc.arguments import Commands, add_device, add_model, add_pipeline
from graphc.core.text import print_program
from graphc.files import check_writable, write_whole
from graphc.models import declare
from graphc.runtime.bisecting import bisect
from graphc.runtime.check import random_inputs
from graphc.runtime.verdict import Verdict
from graphc.scripts import program_of

__all__ = ["bisect", "bisect_model", "bisect_text"]


def add_command(commands: Commands) -> None:
    """`graphc bisect MODEL`."""
    command = commands.add_parser("bisect", help="name the pass, rule or kernel that changes a result, if one does")
    command.description = ("Compares every pass and every kernel of a model with the reference interpreter, on the model's feeds and "
                           "initialised variables. MODEL may also be a file with a program's text, which is run on random values.")
    add_model(command)
    add_pipeline(command)
    add_device(command)
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the model's random numbers, or of a program's values "
                         "(default: %(default)s)")
    command.add_argument("--threads", type=int, default=0, help="threads in one run (default: one per core)")
    command.add_argument("--save", type=Path, metavar="FILE", help="write the smallest program that still goes wrong")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Prints the progress to stderr, then the verdict; 0 where all agrees, 1 where something is to blame."""
    config = gc.ConfigProto(pipeline=options.pipeline, device=options.device, intra_op_parallelism_threads=options.threads, verify=False)
    config.settings()  # what is wrong with them is told before anything is done
    if options.save is not None:
        check_writable(options.save)
    verdict = bisect_model(options.model, config, options.seed)
    print(verdict)
    if options.save is not None and verdict.culprit is not None and verdict.culprit.example is not None:
        write_whole(options.save, print_program(verdict.culprit.example) + "\n")
        print(f"wrote {options.save}")
    return int(not verdict.ok)


def bisect_model(name: str, config: gc.ConfigProto, seed: int = 0) -> Verdict:
    """The verdict on a model called by its name, or on the text of a program (`bisect_text`). Its variables are initialised with `seed`."""
    path = Path(name)
    if path.is_file() and path.suffix != ".py":
        return bisect_text(path, config, seed)
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(seed)
        fetches, feeds = declare(name)
        with gc.Session(graph=graph, config=config) as session:
            session.run(gc.global_variables_initializer())
            return session.bisect(fetches, feeds, _tell)


def bisect_text(file: Path, config: gc.ConfigProto, seed: int = 0) -> Verdict:
    """The verdict on a program in text (as `--save` writes it), on random values. ValueError for text that is no program."""
    program = program_of(file)
    inputs = random_inputs(program, seed)
    if inputs is None:
        raise ValueError(f"{file}: there are no random values to run this program on")
    settings = config.settings()
    return bisect(program, settings.pipeline, inputs.feeds, inputs.variables, threads=settings.threads, tell=_tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
