"""`graphc gpu`: says what this machine has of what a GPU needs. Stands on top."""
from __future__ import annotations

from graphc.arguments import Commands
from graphc.runtime.cuda.report import report


def add_command(commands: Commands) -> None:
    """`graphc gpu`."""
    command = commands.add_parser("gpu", help="say what this machine has of what a GPU needs, and what to do about the rest")
    command.set_defaults(command=lambda o: print(report()))
