"""Files that a user hands to a command: models and passes in Python, which are run, and texts of programs, which are parsed. What goes
wrong in one is a ValueError of one line that names the file."""
from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

from graphc.core.parse import parse_program
from graphc.core.program import Program

RAISED = (Exception, SystemExit)  # what a user's code may end with: `sys.exit()` too is no end of the command


def names_of(file: str) -> dict[str, Any]:
    """What the Python file `file` defines. ValueError, with the line of the file, where it raises."""
    try:
        return runpy.run_path(str(Path(file)))
    except RAISED as error:
        raise raised(file, error) from error


def raised(file: str, error: BaseException) -> ValueError:
    """What the code of `file` raised, in one line, with the line of that file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{lines[-1]}" if lines and lines[-1] else file
    message = str(error).strip().splitlines()
    return ValueError(f"{where} raised {type(error).__name__}{f': {message[0]}' if message else ''}")


def program_of(file: Path) -> Program:
    """The program whose text is in `file` ("-": standard input). ValueError where there is none."""
    try:
        return parse_program(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
