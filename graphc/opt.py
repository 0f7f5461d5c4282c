"""`graphc opt --pass NAME ... FILE`: reads a program's text, applies passes, prints the text. A pass's test bench on the command line."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from graphc.arguments import Commands
from graphc.core.parse import parse_program
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.verify import verify
from graphc.passes.pipelines import PASSES


def add_command(commands: Commands) -> None:
    """`graphc opt`."""
    command = commands.add_parser("opt", help="apply passes to the text of a program (as `graphc dump MODEL --stage NAME` prints it)")
    command.add_argument("--pass", dest="passes", action="append", required=True, metavar="NAME", help="a pass; may be given again")
    command.add_argument("file", type=Path, metavar="FILE", help="the program's text, - for standard input")
    command.set_defaults(command=lambda o: main(o.passes, o.file))


def main(names: Sequence[str], file: Path) -> None:
    """Prints the program of `file` ("-": standard input) after the passes `names`, in that order.

    ValueError for a name that no pass has, text that does not parse (with line and column) or a program that is not valid, before or after.
    """
    unknown = [name for name in names if name not in PASSES]
    if unknown:
        raise ValueError(f"no pass {unknown[0]!r}; there are {', '.join(PASSES)}")
    program = parse_program(sys.stdin.read() if str(file) == "-" else file.read_text())
    print(print_program(apply(program, names)))


def apply(program: Program, names: Sequence[str]) -> Program:
    """The program after the passes, verified before the first and after each."""
    verify(program)
    for name in names:
        program = PASSES[name](program)
        verify(program)
    return program
