"""Python files that a user hands to a command: models, passes. Runs them; what goes wrong in one is a ValueError of one line."""
from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import Any


def names_of(file: str) -> dict[str, Any]:
    """What the Python file `file` defines. ValueError, with the line of the file, where it raises."""
    try:
        return runpy.run_path(str(Path(file)))
    except Exception as error:  # the user's code
        raise raised(file, error) from error


def raised(file: str, error: Exception) -> ValueError:
    """What the code of `file` raised, in one line, with the line of that file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{lines[-1]}" if lines and lines[-1] else file
    message = str(error).strip().splitlines()
    return ValueError(f"{where} raised {type(error).__name__}{f': {message[0]}' if message else ''}")
