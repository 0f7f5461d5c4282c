"""How one run is carried out: plainly (`PLAIN`), or with the clock read after every step (`Recorder`), which `profile.py` makes sense of.

    Session.run --Runner--> Computation --> Stages, PlacedBound --> Bound.run, or Bound.recorded: the same kernels under a plan with a clock

Whoever runs programs on behalf of a session is given a `Runner` and asks it to. All moments are nanoseconds of CLOCK_MONOTONIC, which
machine code and `time.monotonic_ns` read alike.
"""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.runtime.bound import Runs

FEEDS, COMPILE, PYTHON = "feeds", "compile", "python"  # what a session does itself
COPY, UPLOAD, DOWNLOAD = "copy", "upload", "download"  # what moves bytes and computes nothing
KERNEL = "kernel"


@dataclass(frozen=True)
class Span:
    """One step of a recorded run, from `start` to `end`. kernel: its position in the `kernels` of the whole run's executable, None for what
    is none: `kind` and `name` say what it is then. bytes: that a copy moves."""

    kind: str
    name: str
    device: str
    start: int
    end: int
    kernel: int | None = None
    bytes: int = 0


@dataclass(frozen=True)
class Moved:
    """A step of a plan that is no kernel: it brings `bytes` bytes somewhere. kind: COPY, UPLOAD or DOWNLOAD."""

    kind: str
    name: str
    bytes: int


@dataclass(frozen=True)
class _Plan:
    """What `Recorder.steps` was told."""

    steps: Sequence[int | Moved]
    kernels: int
    moments: Sequence[int]
    device: str


class Runner:
    """Runs what it is given, and looks at no clock."""

    def run(self, bound: Runs, arrays: Sequence[Any], device: str = "") -> int | None:
        """`bound.run(*arrays)`. device: where, in TF1's words, if it is not where the run began."""
        return bound.run(*arrays)

    def during(self, kind: str, name: str) -> AbstractContextManager[Any]:
        """A context for what the session does itself between programs."""
        return nullcontext()


PLAIN = Runner()


class Recorder(Runner):
    """Runs the same, and keeps when each step began and ended."""

    def __init__(self, device: str) -> None:
        self._kept: list[Span | _Plan] = []
        self._device = device

    def run(self, bound: Runs, arrays: Sequence[Any], device: str = "") -> int | None:
        around, self._device = self._device, device or self._device
        try:
            return bound.recorded(self, *arrays)
        finally:
            self._device = around

    @contextmanager
    def during(self, kind: str, name: str) -> Iterator[None]:
        start = time.monotonic_ns()
        yield
        self._kept.append(Span(kind, name, "", start, time.monotonic_ns()))

    def steps(self, steps: Sequence[int | Moved], kernels: int, moments: Sequence[int]) -> None:
        """Notes the run of one program of `kernels` kernels. steps: the position of each one's kernel, or what else it is. moments: before
        the first of them and after each."""
        self._kept.append(_Plan(steps, kernels, moments, self._device))

    @property
    def spans(self) -> list[Span]:
        """Every step, in order. (Made when the run is over, which would take longer otherwise.)"""
        found: list[Span] = []
        kernels = 0  # of the programs that were run before
        for each in self._kept:
            if isinstance(each, Span):
                found.append(each)
                continue
            for step, (start, end) in zip(each.steps, pairwise(each.moments), strict=True):
                if isinstance(step, Moved):
                    found.append(Span(step.kind, step.name, each.device, start, end, bytes=step.bytes))
                else:
                    found.append(Span(KERNEL, "", each.device, start, end, kernels + step))
            kernels += each.kernels
        return found
