"""Where in the user's program something was declared. Every operation of a graph remembers it, and every error names it.

Capturing must be cheap (it happens once per operation), so only the code object and the line number are kept; text is made when asked for.
"""
from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import CodeType

# The package's own files are skipped on the way to the user's line, except its models, which declare graphs as a user would.
_PACKAGE = Path(__file__).resolve().parents[1]
_INSIDE = tuple(f"{folder}/" for folder in (_PACKAGE, _PACKAGE.parent / "runtime"))
_USER_LIKE = tuple(str(_PACKAGE / name) for name in ("models", "demo.py", "bench.py", "cli.py"))
_is_own: dict[CodeType, bool] = {}


class SourceLine:
    """One line of the user's program: prints as "train.py:12"."""

    __slots__ = ("_code", "line")

    def __init__(self, code: CodeType | None, line: int) -> None:
        self._code = code
        self.line = line

    @property
    def path(self) -> str:
        """The file's full path, "" where no user code was on the stack."""
        return self._code.co_filename if self._code else ""

    @property
    def function(self) -> str:
        return self._code.co_name if self._code else ""

    @property
    def text(self) -> str:
        """The line itself, "" where its file cannot be read."""
        return linecache.getline(self.path, self.line).strip()

    def describe(self) -> str:
        """What an error shows: `train.py:12: y = tf.matmul(x, w)`."""
        return f"{self}: {self.text}" if self.text else str(self)

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line}" if self._code else "<unknown>"

    def __repr__(self) -> str:
        return f"<{self.path}:{self.line}>"


def user_line() -> SourceLine:
    """The innermost line on this thread's stack that is not the package's own."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        own = _is_own.get(code)
        if own is None:
            own = _is_own[code] = _belongs_to_package(code.co_filename)
        if not own:
            return SourceLine(code, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return SourceLine(None, 0)


def _belongs_to_package(path: str) -> bool:
    # contextlib's frames stand between a `with` of ours and the user; frozen importlib's between an import and the file.
    if path.startswith("<frozen ") or path.endswith(("/contextlib.py", "/functools.py")):
        return True
    real = str(Path(path).resolve()) if not path.startswith("<") else path
    return real.startswith(_INSIDE) and not real.startswith(_USER_LIKE)
