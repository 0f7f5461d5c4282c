"""What the commands' options share. Each command's module has `add_command(commands)`, which `graphc.cli` calls."""
from __future__ import annotations

import argparse
from typing import Any, Protocol

from graphc.models import MODELS
from graphc.own_passes import pipeline_named

PIPELINES = ("default", "unfused", "none")


class Commands(Protocol):
    """Where a command is added: what argparse's `add_subparsers` gives."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:
        """The parser of the command `name`."""


def add_model(command: argparse.ArgumentParser) -> None:
    """The argument MODEL: what `graphc.models.declare` takes."""
    command.add_argument("model", metavar="MODEL", help=f"one of {', '.join(MODELS)}, or a Python file that defines "
                         "build() -> (fetches, feeds)")


def add_pipeline(command: argparse.ArgumentParser) -> None:
    """The option --pipeline: a name, or the `Pipeline` of a Python file."""
    command.add_argument("--pipeline", action=_ChosenPipeline, default="default", metavar="PIPELINE", help=f"the order of passes: one of "
                         f"{', '.join(PIPELINES)} (default: %(default)s), or a Python file that defines pipeline (a Pipeline), or passes "
                         "(a list of (name, pass) to run after simplify)")


class _ChosenPipeline(argparse.Action):
    """Finds the pipeline while the command line is read: then every command has it, and what is wrong with it is one line."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None,
                 ) -> None:
        setattr(namespace, self.dest, pipeline_named(values))


def add_device(command: argparse.ArgumentParser) -> None:
    """The option --device."""
    command.add_argument("--device", metavar="DEVICE", help="where it runs: cpu, gpu, /gpu:1 (default: cpu)")
