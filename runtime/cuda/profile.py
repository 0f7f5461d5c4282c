"""When each launch of one run began and ended on the device, as marks on its stream tell. For `CudaBound.recorded`."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.runtime.cuda.device import Owner
from graphc.runtime.cuda.graph import Mark

if TYPE_CHECKING:
    from graphc.runtime.cuda.bound import CudaBound


def moments_of(bound: CudaBound, feeds: Sequence[Any], outputs: Sequence[Any]) -> list[int]:
    """The moments of one real run, in nanoseconds of CLOCK_MONOTONIC: when it began, when the feeds were there, after each launch, and when
    the results had left.

    The device's clock is set by the moment when the host told it to begin, some microseconds early; a mark takes the device a moment
    itself. Raises what a run raises. The device's context must be current.
    """
    owner = Owner(bound.device)
    try:
        marks = [owner.keep(Mark()) for _ in range(len(bound.executable.launches) + 3)]
        begun = bound.run_marked(feeds, outputs, marks)
        return [begun + round(marks[0].milliseconds_till(mark) * 1e6) for mark in marks]
    finally:
        owner.close()
