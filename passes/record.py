"""What passes say of their work while they do it: which rule replaced which node. `pipelines.py` keeps it in each `Stage`; `graphc.inspection`,
the dumps and `graphc bisect` read it."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from graphc.core.program import Node


@dataclass(frozen=True)
class Applied:
    """One application of a rule: its name, its line of mathematics, the node that it found and the one that it put there."""

    rule: str
    maths: str
    before: Node
    after: Node

    def __str__(self) -> str:
        return f"{self.rule}: {self.maths}"


_kept: ContextVar[list[Applied] | None] = ContextVar("applied rules", default=None)


@contextmanager
def recording() -> Iterator[list[Applied]]:
    """A context that gives the list of all applications within it, in order."""
    applied: list[Applied] = []
    token = _kept.set(applied)
    try:
        yield applied
    finally:
        _kept.reset(token)


def note(applied: Applied) -> None:
    """Adds to the list of the innermost `recording`; without one nobody asks."""
    kept = _kept.get()
    if kept is not None:
        kept.append(applied)
