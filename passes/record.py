"""What passes say of their work while they do it: which rule replaced which node, and what became of each.

`pipelines.py` keeps it in each `Stage`; `graphc.inspection`, the dumps and `graphc bisect` read it.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

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


@dataclass
class Record:
    """What was noted: the applications in order, and for nodes that were rewritten what became of them."""

    applied: list[Applied] = field(default_factory=list)
    became: dict[Node, Node] = field(default_factory=dict)


_kept: ContextVar[Record | None] = ContextVar("what passes note", default=None)


@contextmanager
def recording() -> Iterator[Record]:
    """A context that gives all that is noted within it."""
    record = Record()
    token = _kept.set(record)
    try:
        yield record
    finally:
        _kept.reset(token)


def note(applied: Applied) -> None:
    """Adds to the innermost `recording`; without one nobody asks."""
    kept = _kept.get()
    if kept is not None:
        kept.applied.append(applied)


def note_forms(became: Mapping[Node, Node]) -> None:
    """Adds the final forms of nodes to the innermost `recording`."""
    kept = _kept.get()
    if kept is not None:
        kept.became.update(became)
