"""Files that are written whole or not at all: into a file beside the goal, which then takes its name. Imports nothing of graphc."""
from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Makes `path` a file of `content`, text in UTF-8. OSError where that cannot be; then what was there before is there still. A device
    or a pipe (/dev/null, /dev/stdout) is written into, and never replaced; a link stays one, to the new file."""
    goal, data = Path(path), content.encode() if isinstance(content, str) else content
    if _takes_what_comes(goal):
        goal.write_bytes(data)
        return
    goal = goal.resolve() if goal.is_symlink() else goal
    draft = _beside(goal)
    try:
        _check_no_folder(goal)
        draft.write_bytes(data)
        os.replace(draft, goal)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError where `write_whole` could not write `path`: to be asked before long work, not after."""
    goal = Path(path)
    if not _takes_what_comes(goal):
        _beside(goal.resolve() if goal.is_symlink() else goal).unlink()
        _check_no_folder(goal)


def _takes_what_comes(goal: Path) -> bool:
    """Whether `goal` is a device or a pipe."""
    return goal.exists() and not goal.is_file() and not goal.is_dir()


def _check_no_folder(goal: Path) -> None:
    if goal.is_dir():
        raise IsADirectoryError(f"cannot write {goal}: it is a folder")


def _beside(goal: Path) -> Path:
    """A new, empty file in the folder of `goal`, with the rights that any new file has."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{goal.name}-", dir=goal.parent)
    except OSError as error:
        raise type(error)(f"cannot write {goal}: {error.strerror or error}") from None
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)
    os.close(handle)
    return Path(name)
