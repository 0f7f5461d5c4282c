"""What a run must find true, and what it prints: collected while operations are expanded, carried out by the runtime.

An expansion is a function of nodes and cannot raise for a value that is only known when the graph runs. So it says `require(ok, report,
*data)`: `ok` is a bool scalar, and where a run finds it false, before anything is written, the user gets InvalidArgumentError with the text
`report(*values of data)`. A check that already fails while the Program is made raises `CheckFailed` there; one that cannot fail vanishes.
Outside `collecting`, as while a graph is declared, all of it does nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.core.errors import InvalidArgumentError, OpError
from graphc.core.program import Node
from graphc.core.static import is_computable, is_for_a_run, partial_value

if TYPE_CHECKING:
    from graphc.core.operation import Operation

Report = Callable[..., str]


class CheckFailed(ValueError):
    """A check fails for the shapes and fed values that a Program is made for."""


@dataclass(frozen=True)
class Check:
    """operation: which is the first to ask for it. data: what is only computed to word the error. error: its class."""

    operation: Operation
    ok: Node
    report: Report
    data: tuple[Node, ...]
    error: type[OpError] = InvalidArgumentError


@dataclass(frozen=True)
class Printing:
    """What is done after each of the first `first_n` runs (negative: every run) that evaluate `operation`: `show(*values of data)`."""

    operation: Operation
    show: Callable[..., None]
    data: tuple[Node, ...]
    first_n: int


@dataclass
class Collected:
    """The checks and printings of the operations expanded so far, in their order. checked: whether indices and the like are to be checked
    too. operation: the one being expanded."""

    checked: bool = False
    checks: dict[Node, Check] = field(default_factory=dict)  # by `ok`: a gradient expands its forward operation again
    printings: list[Printing] = field(default_factory=list)
    operation: Operation | None = None


_collected: ContextVar[Collected | None] = ContextVar("collected", default=None)


@contextmanager
def collecting(into: Collected | None) -> Iterator[None]:
    """Inside, checks and printings go into `into`; None: nowhere."""
    token = _collected.set(into)
    try:
        yield
    finally:
        _collected.reset(token)


def are_wanted() -> bool:
    """Whether a session in checked mode (`ConfigProto(checked=True)`) makes this Program: then expansions check what they otherwise
    define a result for, such as an index out of range."""
    collected = _collected.get()
    return collected is not None and collected.checked


def require(ok: Node, report: Report, *data: Node, error: type[OpError] = InvalidArgumentError) -> None:
    """The run must find the bool scalar `ok` true; else it raises an `error` with the text `report(*values of data)`."""
    collected = _collected.get()
    if collected is None or collected.operation is None or ok in collected.checks:
        return
    if collected.operation.gradient_of is not None and not is_computable(ok, *data):
        return  # of stand-ins for the inputs, with which a gradient expands its operation again
    verdict = _value(ok)
    if verdict is not None and verdict.all():
        return
    if verdict is not None:
        values = [_value(each) for each in data]
        if all(value is not None for value in values):
            raise CheckFailed(report(*values))
    collected.checks[ok] = Check(collected.operation, ok, report, data, error)


def note(show: Callable[..., None], *data: Node, first_n: int = -1) -> None:
    """Each of the first `first_n` runs (negative: every run) ends with `show(*values of data)`, which prints them. A gradient, which
    expands its operation again, does not."""
    collected = _collected.get()
    if collected is not None and collected.operation is not None and collected.operation.gradient_of is None:
        collected.printings.append(Printing(collected.operation, show, data, first_n))


def _value(node: Node) -> np.ndarray[Any, Any] | None:
    """The value of `node` where it rests on what is known alone."""
    value = None if is_for_a_run(node) else partial_value(node)
    if value is None or any(each is None for each in value.flat):
        return None
    return value.astype(node.dtype.np_dtype)
