"""`graphc opt --pass NAME ... FILE`: reads a program's text, applies passes, prints the text. A pass's test bench on the command line."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from graphc.arguments import Commands
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.verify import verify
from graphc.own_passes import pass_named
from graphc.passes.pipelines import Pass
from graphc.passes.users import FAILURES, guarded, is_ours
from graphc.scripts import program_of


def add_command(commands: Commands) -> None:
    """`graphc opt`."""
    command = commands.add_parser("opt", help="apply passes to the text of a program (as `graphc dump MODEL --stage NAME` prints it)")
    command.add_argument("--pass", dest="passes", action="append", required=True, metavar="NAME", help="a pass, or FILE.py:NAME "
                         "for one that a Python file defines; may be given again")
    command.add_argument("file", type=Path, metavar="FILE", help="the program's text, - for standard input")
    command.set_defaults(command=lambda o: main(o.passes, o.file))


def main(names: Sequence[str], file: Path) -> None:
    """Prints the program of `file` ("-": standard input) after the passes `names`, in that order.

    ValueError for a name that no pass has, text that does not parse (with line and column), a program that is not valid, before or after,
    and a pass that fails.
    """
    passes = [(name, pass_named(name)) for name in names]
    print(print_program(apply(program_of(file), passes)))


def apply(program: Program, passes: Iterable[tuple[str, Pass]]) -> Program:
    """The program after the passes (name, pass), verified before the first and after each."""
    verify(program)
    for name, each in passes:
        try:
            program = verify(each(program) if is_ours(each) else guarded(each, program))
        except FAILURES as error:
            raise ValueError(f"pass {name!r} failed: {error}") from error
    return program
