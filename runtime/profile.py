"""`Profile`: how long each step of a run took, and what it did in that time. The session makes it of what a `Recorder` kept.

    executable (names, operations, flops, bytes) + spans (when) -> Profile -> table(), chrome_trace(), RunMetadata

Rates are what the kernel *has* to do divided by the time that it took: operations on numbers and distinct bytes, as `codegen.cost` counts
them. A kernel that reads twice what it needs shows a low rate, not a high one.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from graphc.core.program import Node
from graphc.files import check_writable, write_whole
from graphc.runtime.executable import CudaKernel, DeviceExecutable, Executable, HostKernel, Memory, NativeKernel
from graphc.runtime.recorder import COMPILE, KERNEL, Span
from graphc.runtime.trace import chrome_trace
from graphc.terminal import bytes_text, seconds_text, table

if TYPE_CHECKING:
    from graphc.limits import Limits

HOST_CALL = "host"  # the kind of a kernel that is a function of the host
_WIDTH = 64  # characters of the operations in a row of the table


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """One step of a run. index: the kernel's position in the executable's `kernels`; None for what is no kernel. kind: "kernel", "host" (a
    function of the host in a kernel's place), "copy", "upload", "download", "feeds" (checked and converted), "python" (a function of the
    user's) or "compile". device: in TF1's words, "" for the session itself. threads: that share it, 0 where that is not for us to say.

    operations, lines: of the user's graph ("train.py:12"). start_us: since the run began. us: how long, on the wall's clock, whatever the
    number of threads. flops, bytes: that it must compute and move. live_bytes: of the arena that hold values meanwhile. share: of the run.
    """

    index: int | None
    name: str
    kind: str
    device: str
    threads: int
    operations: tuple[str, ...]
    lines: tuple[str, ...]
    start_us: float
    us: float
    flops: int
    bytes: int
    live_bytes: int
    share: float

    @property
    def gflops(self) -> float:
        """10^9 operations on numbers a second; 0 for a step too short for the clock."""
        return self.flops / self.us / 1e3 if self.us else 0.0

    @property
    def gbs(self) -> float:
        """10^9 bytes a second."""
        return self.bytes / self.us / 1e3 if self.us else 0.0


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One run, or the medians of several.

    steps: in order. run_us: microseconds of the run on the wall's clock, compiling not counted. began_us, began_ns: when; microseconds of
    CLOCK_MONOTONIC, which traces have, since a float of microseconds since 1970 is too coarse for kernels, and nanoseconds since 1970.
    runs: how many. flows: which kernel's results another kernel reads, by their indices. arena_bytes: of the plan's temporary memory.
    """

    steps: tuple[StepTime, ...]
    run_us: float
    began_us: float
    began_ns: int
    runs: int
    flows: tuple[tuple[int, int], ...]
    arena_bytes: int

    @property
    def kernels(self) -> tuple[StepTime, ...]:
        """The steps that are kernels, in order; each `index` is one of the executable's."""
        return tuple(step for step in self.steps if step.index is not None)

    @property
    def total_us(self) -> float:
        """Of all kernels together."""
        return sum(step.us for step in self.kernels)

    @property
    def compile_us(self) -> float:
        """What the run waited for the compiler."""
        return sum(step.us for step in self.steps if step.kind == COMPILE)

    def table(self, limits: Mapping[int, Limits] | None = None, rows: int = 40) -> str:
        """The steps that took longest, as text. limits: what the machine can do at most, by number of threads (`graphc.limits`): says of
        each kernel what part of it was reached, and whether memory or arithmetic is the bound."""
        ranked = sorted(self.steps, key=lambda step: -step.us)
        shown, left = ranked[:rows], ranked[rows:]
        header = ["step", "time", "share", "threads", "GFLOP/s", "GB/s", *(["of the limit"] if limits else []), "operations", "line"]
        lines = [table([_row(step, limits) for step in shown], header, indent=0)]
        if left:
            lines.append(f"... and {len(left)} more: {seconds_text(sum(step.us for step in left) / 1e6)}")
        outside = self.run_us - self.total_us
        what = "a run" if self.runs == 1 else f"a run, the median of {self.runs}"
        inside = f"{seconds_text(self.total_us / 1e6)} in {_count(self.kernels, 'kernel')}"
        lines.append(f"\n{seconds_text(self.run_us / 1e6)} {what}: {inside}, {seconds_text(outside / 1e6)} "
                     f"({_percent(outside, self.run_us)}) outside; arena {bytes_text(self.arena_bytes)}")
        if self.compile_us:
            lines.append(f"and {seconds_text(self.compile_us / 1e6)} of compiling before")
        return "\n".join(lines)

    def chrome_trace(self, dataflow: bool = True, memory: bool = True) -> str:
        """JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open: tracks of steps with all that is known of each; with `dataflow`
        arrows from kernel to kernel, with `memory` the live bytes of the arena."""
        return chrome_trace(self, dataflow, memory)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the Chrome trace. OSError where that cannot be; what was there before is then still there."""
        check_writable(path)
        write_whole(path, self.chrome_trace())


# Making one -----------------------------------------------------------------------------------------------------------------------------

def profile_of(executable: Executable, spans: Sequence[Span], start: int, end: int, began_ns: int, threads: int) -> Profile:
    """The profile of one run of `executable` from `start` to `end` (nanoseconds of CLOCK_MONOTONIC), which began so many nanoseconds after
    1970. threads: those that a parallel kernel may use."""
    compiling = sum(span.end - span.start for span in spans if span.kind == COMPILE)
    run_us = (end - start - compiling) / 1e3
    live = _live_bytes(executable.memory, len(executable.kernels))
    steps = tuple(_step(executable, span, start, run_us, live, threads) for span in spans)
    return Profile(steps=steps, run_us=run_us, began_us=start / 1e3, began_ns=began_ns, runs=1, flows=tuple(flows(executable)),
                   arena_bytes=executable.memory.arena_bytes)


def _step(executable: Executable, span: Span, start: int, run_us: float, live: Sequence[int], threads: int) -> StepTime:
    us = (span.end - span.start) / 1e3
    share = us / run_us if run_us and span.kind != COMPILE else 0.0
    if span.kernel is None:
        return StepTime(index=None, name=span.name, kind=span.kind, device=span.device, threads=1, operations=(), lines=(),
                        start_us=(span.start - start) / 1e3, us=us, flops=0, bytes=2 * span.bytes, live_bytes=0, share=share)
    kernel = executable.kernels[span.kernel]
    used = (threads if kernel.parallel else 1) if isinstance(kernel, NativeKernel) else 0
    return StepTime(
        index=span.kernel, name=kernel.name, kind=HOST_CALL if isinstance(kernel, HostKernel) else KERNEL, device=span.device, threads=used,
        operations=tuple(dict.fromkeys(origin.operation for origin in kernel.origins)),
        lines=tuple(dict.fromkeys(origin.source for origin in kernel.origins if origin.source)), start_us=(span.start - start) / 1e3,
        us=us, flops=kernel.flops, bytes=kernel.bytes, live_bytes=live[span.kernel], share=share)


def _live_bytes(memory: Memory, kernels: int) -> list[int]:
    """Bytes of the arena with values in them, while each of the kernels runs."""
    changes = [0] * (kernels + 1)
    for buffer in memory.buffers:
        changes[min(buffer.first, kernels)] += buffer.size
        changes[min(buffer.last + 1, kernels)] -= buffer.size
    return list(accumulate(changes))[:kernels]


def flows(executable: Executable, first: int = 0) -> list[tuple[int, int]]:
    """(from, to): the second kernel reads what the first has made. first: the number of the executable's first kernel."""
    found: list[tuple[int, int]] = []
    for _, piece in executable.pieces:
        found += flows(piece, first)
        first += len(piece.kernels)
    if isinstance(executable, DeviceExecutable):
        numbers = {executable.plan.steps[step]: first + number for number, kernel in enumerate(executable.kernels)
                   for step in (kernel.steps if isinstance(kernel, CudaKernel) else (number,))}
        pairs = ((source, number) for step, number in numbers.items() for source in sorted(_sources(step, numbers)))
        found += dict.fromkeys(pair for pair in pairs if pair[0] != pair[1])
    return found


def _sources(step: Node, numbers: Mapping[Node, int]) -> set[int]:
    """The steps whose results `step` reads, itself or through views."""
    found, waiting, seen = set(), list(step.operands), set[Node]()
    while waiting:
        node = waiting.pop()
        if node in numbers:
            found.add(numbers[node])
        elif node not in seen:
            seen.add(node)
            waiting += node.operands
    return found


def median_profile(profiles: Sequence[Profile]) -> Profile:
    """The medians of several runs, of those that took the same steps as the last. Steps follow each other with the median gap between, and
    the run is the kernels' medians with the median of what is outside: on a busy machine the median of the whole would be more than that.
    """
    last = profiles[-1]
    alike = [each for each in profiles if _shape(each) == _shape(last)]
    outside = float(np.median([each.run_us - each.total_us for each in alike]))
    times = [float(np.median([each.steps[number].us for each in alike])) for number in range(len(last.steps))]
    run_us = outside + sum(us for step, us in zip(last.steps, times, strict=True) if step.index is not None)
    steps, end = [], 0.0
    for number, step in enumerate(last.steps):
        us = times[number]
        start = end + float(np.median([_gap(each, number) for each in alike]))
        end = start + us
        steps.append(replace(step, us=us, start_us=start, share=us / run_us if run_us and step.kind != COMPILE else 0.0))
    return replace(last, steps=tuple(steps), run_us=run_us, runs=len(alike))


def _shape(profile: Profile) -> list[tuple[str, str, str]]:
    return [(step.kind, step.name, step.device) for step in profile.steps]


def _gap(profile: Profile, number: int) -> float:
    """Microseconds between a step and the one before it."""
    before = profile.steps[number - 1]
    return max(0.0, profile.steps[number].start_us - (before.start_us + before.us if number else 0.0))


# Showing it -----------------------------------------------------------------------------------------------------------------------------

def _row(step: StepTime, limits: Mapping[int, Limits] | None) -> list[str]:
    computes = step.index is not None
    rates = [f"{step.gflops:.1f}" if step.flops else "-", f"{step.gbs:.1f}" if step.bytes else "-"]
    return [_called(step), seconds_text(step.us / 1e6), f"{step.share:.1%}" if step.kind != COMPILE else "-",
            str(step.threads) if step.threads and computes else "-", *rates, *([_of_limit(step, limits)] if limits else []),
            _shortly(step.operations[::-1]), _shortly(step.lines[::-1], 1)]


def _called(step: StepTime) -> str:
    """`3_row` for a kernel called `3_row_Softmax`, whose operations stand in the same row; `(copy w)`."""
    if step.index is not None:
        return step.name.removesuffix("_" + re.sub(r"\W+", "_", step.operations[-1])) if step.operations else step.name
    return f"({step.kind}{f' {step.name}' if step.name not in ('', step.kind) else ''})"


def _of_limit(step: StepTime, limits: Mapping[int, Limits]) -> str:
    """`83% memory`: what part of the machine's best a kernel reached, and what is scarce."""
    limit = limits.get(step.threads)
    if limit is None or not step.us or step.kind != KERNEL or not (step.flops or step.bytes):
        return "-"
    us, scarce = limit.bound(step.flops, step.bytes)
    return f"{us / step.us:.0%} {scarce}"


def _shortly(names: Sequence[str], width: int = _WIDTH) -> str:
    """The first of `names`, as many as fit; of a name that is too long its end, which tells most."""
    count = max(1, sum(end <= width for end in accumulate(len(name) + 2 for name in names)))
    more = f" +{len(names) - count}" if len(names) > count else ""
    shown = ", ".join(names[:count])
    return (shown if len(shown) <= _WIDTH else f"…{shown[1 - _WIDTH:]}") + more


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0%"
