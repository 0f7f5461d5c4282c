"""A Program on several devices, compiled: `PlacedExecutable` to look into, `PlacedBound` to run. `segments.py` has cut it; `calls.py` asks.

A run checks every feed before anything is computed, then runs the segments in their order. Values go from one to the next through arrays
on the host that are allocated once; a segment for a GPU copies what it takes there, as if it were fed.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphc.core.devices import KEPT
from graphc.core.types import TensorType
from graphc.runtime.arena import aligned_empty
from graphc.runtime.bound import Runs
from graphc.runtime.executable import BufferUse, DeviceExecutable, Executable, Memory
from graphc.runtime.placement import device_name
from graphc.runtime.recorder import PLAIN, Recorder, Runner
from graphc.runtime.segments import Split, array_name

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CompiledSegment:
    """One device's turn. takes and gives: what it reads and makes, by numbers of arrays (see `segments.Segment`)."""

    device: str
    executable: DeviceExecutable
    takes: tuple[int, ...]
    gives: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PlacedExecutable(Executable):
    """What `Session.compile` gives for a graph on several devices. program: the whole, its transfers visible, before any pass; the passes
    ran on each segment alone (`segments[n].executable.stages`). Figures are sums over the segments; in `memory` their arenas lie side by
    side."""

    segments: tuple[CompiledSegment, ...]
    handed_over: tuple[TensorType, ...] = field(repr=False)
    language = "text"
    suffix = "txt"

    @property
    def pieces(self) -> tuple[tuple[str, Executable], ...]:
        return tuple((f"segment {number} on {each.device}", each.executable) for number, each in enumerate(self.segments))

    @property
    def expectation(self) -> str:
        return "; ".join(f"{segment.device}: {segment.executable.expectation}" for segment in self.segments)


def placed_executable(split: Split, executables: Sequence[DeviceExecutable]) -> PlacedExecutable:
    """The segments of `split`, compiled."""
    segments = tuple(CompiledSegment(segment.device, executable, segment.takes, segment.gives)
                     for segment, executable in zip(split.segments, executables, strict=True))
    kernels = [replace(kernel, name=f"segment{number}_{kernel.name}")
               for number, executable in enumerate(executables) for kernel in executable.kernels]
    return PlacedExecutable(
        target="mixed", kernels=kernels, memory=side_by_side(executables),
        stages=(replace(executables[0].stages[0], program=split.program),),
        reads=tuple(dict.fromkeys(read for each in executables for read in each.reads if not read[0].startswith(KEPT))),
        writes=tuple(write for each in executables for write in each.writes if not write[0].startswith(KEPT)),
        compile_ms=summed([each.compile_ms for each in executables]),
        objects_from={how: int(count) for how, count in summed([each.objects_from for each in executables]).items()},
        plan_text=_plan_text(segments, split), segments=segments, handed_over=split.handed_over)


def summed(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name, the sums of figures."""
    total: dict[str, float] = {}
    for each in figures:
        for name, figure in each.items():
            total[name] = total.get(name, 0) + figure
    return total


def side_by_side(executables: Sequence[Executable]) -> Memory:
    """The memory plans of all `executables` as one: arenas one after the other, kernels numbered through."""
    buffers: list[BufferUse] = []
    start = kernels = 0
    for each in executables:
        buffers += [replace(buffer, offset=buffer.offset + start, first=buffer.first + kernels, last=buffer.last + kernels)
                    for buffer in each.memory.buffers]
        start += each.memory.arena_bytes
        kernels += len(each.kernels)
    plans = [each.memory for each in executables]
    return Memory(start, sum(plan.lower_bound for plan in plans), sum(plan.unplanned_bytes for plan in plans), tuple(buffers),
                  tuple(name for plan in plans for name in plan.in_place), tuple(name for plan in plans for name in plan.copied))


def _plan_text(segments: Sequence[CompiledSegment], split: Split) -> str:
    """A line for each segment: what it takes and gives."""
    lines = []
    for number, segment in enumerate(segments):
        taken, given = (", ".join(array_name(split.program, array) for array in arrays) or "nothing"
                        for arrays in (segment.takes, segment.gives))
        changed = [name for name, _ in segment.executable.writes]
        written = ", ".join(name for name in changed if not name.startswith(KEPT))
        kept = sum(name.startswith(KEPT) for name in changed)
        parts = [f"takes {taken}", f"gives {given}", f"keeps {kept} there" if kept else "", f"writes {written}" if written else ""]
        lines.append(f"// segment {number} on {segment.device}: {'; '.join(filter(None, parts))}")
    return "\n".join(lines)


class PlacedBound(Runs):
    """The segments of an executable with their memory, run in turn."""

    def __init__(self, executable: PlacedExecutable, bounds: Sequence[Runs]) -> None:
        super().__init__(executable)
        self.run = self._run
        self._wanted = [(type_.dims, type_.dtype.np_dtype) for type_ in (*executable.feeds, *executable.fetches)]
        self._handed_over = [aligned_empty(type_.dims, type_.dtype.np_dtype, "a value for another device")
                             for type_ in executable.handed_over]
        self._turns = [(bound, (*segment.takes, *segment.gives), device_name(segment.device))
                       for bound, segment in zip(bounds, executable.segments, strict=True)]

    def _run(self, *arrays: Any) -> int | None:
        return self._in_turn(PLAIN, arrays)

    def recorded(self, recorder: Recorder, *arrays: Any) -> int | None:
        return self._in_turn(recorder, arrays)

    def _in_turn(self, runner: Runner, arrays: Sequence[Any]) -> int | None:
        for number, (array, (dims, dtype)) in enumerate(zip(arrays, self._wanted, strict=True)):
            if not _fits(array, dims, dtype):
                return number
        self.counted += 1
        all_arrays = (*arrays, *self._handed_over)
        for number, (bound, chosen, device) in enumerate(self._turns):
            refused = runner.run(bound, [all_arrays[each] for each in chosen], device)
            if refused is not None:
                raise AssertionError(f"segment {number} refuses array {chosen[refused]}")
        return None

    def require(self) -> None:
        for bound, *_ in self._turns:
            bound.require()

    def written(self) -> None:
        for bound, *_ in self._turns:
            bound.written()

    def retire(self) -> None:
        super().retire()
        for bound, *_ in self._turns:
            bound.retire()


def _fits(array: Any, dims: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether machine code takes `array` as it is (see `codegen.llvm.entry`)."""
    return (type(array) is np.ndarray and array.dtype is dtype and array.shape == dims and array.flags.c_contiguous
            and array.flags.aligned)
