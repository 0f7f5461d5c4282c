"""What the commands' options share. Each command's module has `add_command(commands)`, which `graphc.cli` calls."""
from __future__ import annotations

import argparse
from typing import Protocol

from graphc.models import MODELS

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
    """The option --pipeline."""
    command.add_argument("--pipeline", choices=PIPELINES, default="default", help="the order of passes (default: %(default)s)")


def add_device(command: argparse.ArgumentParser) -> None:
    """The option --device."""
    command.add_argument("--device", metavar="DEVICE", help="where it runs: cpu, gpu, /gpu:1 (default: cpu)")
