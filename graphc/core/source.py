"""Where in the user's program something was declared. Every operation of a graph remembers it, and every error names it.

Capturing happens once per operation and must be cheap: one object per line of the user's program, text read from the file when asked for.
"""
from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from pathlib import Path

# The package's own files are skipped on the way to the user's line, except its models, which declare graphs as a user would.
_PACKAGE = Path(__file__).resolve().parents[1]
_INSIDE = tuple(f"{folder}/" for folder in (_PACKAGE, _PACKAGE.parent / "runtime"))
_USER_LIKE = tuple(str(_PACKAGE / name) for name in ("models", "demo.py", "bench.py", "cli.py"))
_is_own: dict[str, bool] = {}


class SourceLine:
    """One line of the user's program: prints as "train.py:12". An empty path: no user code was on the stack."""

    __slots__ = ("function", "line", "path")

    def __init__(self, path: str, line: int, function: str) -> None:
        self.path = path
        self.line = line
        self.function = function

    @property
    def text(self) -> str:
        """The line itself, "" where its file cannot be read."""
        return linecache.getline(self.path, self.line).strip()

    def describe(self) -> str:
        """What an error shows: `train.py:12: y = tf.matmul(x, w)`."""
        return f"{self}: {self.text}" if self.text else str(self)

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line}" if self.path else "<unknown>"

    def __repr__(self) -> str:
        return f"<{self.path}:{self.line}>"


NOWHERE = SourceLine("", 0, "")
_lines: dict[tuple[str, int], SourceLine] = {}


def user_line() -> SourceLine:
    """The innermost line on this thread's stack that is not the package's own."""
    frame = sys._getframe(1)
    while True:
        path = frame.f_code.co_filename
        own = _is_own.get(path)
        if own is None:
            own = _is_own[path] = _belongs_to_package(path)
        if not own:
            break
        if frame.f_back is None:
            return NOWHERE
        frame = frame.f_back
    key = path, frame.f_lineno
    found = _lines.get(key)
    if found is None:
        found = _lines[key] = SourceLine(path, frame.f_lineno, frame.f_code.co_name)
    return found


def texts(places: Iterable[str]) -> dict[str, str]:
    """What the lines say that print as "train.py:12": without those that cannot be read, and those of two files of one name that differ."""
    wanted, found = set(places), dict[str, set[str]]()
    for line in list(_lines.values()):
        if str(line) in wanted:
            found.setdefault(str(line), set()).add(line.text)
    return {place: text for place, said in sorted(found.items()) if len(said) == 1 for text in said if text}


def _belongs_to_package(path: str) -> bool:
    # contextlib's frames stand between a `with` of ours and the user; frozen importlib's between an import and the file.
    if path.startswith("<frozen ") or path.endswith(("/contextlib.py", "/functools.py")):
        return True
    real = str(Path(path).resolve()) if not path.startswith("<") else path
    return real.startswith(_INSIDE) and not real.startswith(_USER_LIKE)
