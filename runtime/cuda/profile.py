"""How long each launch of a run takes on the device, between two marks. For `graphc bench --device gpu`."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from graphc.runtime.cuda.bound import CudaBound
from graphc.runtime.cuda.device import Owner
from graphc.runtime.cuda.graph import Mark

REPEATS = 20


def profile(bound: CudaBound, feeds: Sequence[Any], repeats: int = REPEATS) -> list[tuple[str, float]]:
    """The name of each launch, in order, and its milliseconds: the median of `repeats` runs.

    Each run is a real one: variables change as they do in any. feeds: what `bound.run` takes, of the right types. A mark takes the device
    a moment itself, so the sum is more than a run takes. Raises what a run raises.
    """
    bound.require()
    outputs = bound.empty_outputs()
    if bound.run(*feeds, *outputs) is not None:
        raise ValueError("a feed is not of the type that the executable was made for")
    bound.written()
    owner = Owner(bound.device)
    try:
        with bound.device.current:
            marks = [owner.keep(Mark()) for _ in range(len(bound.executable.launches) + 1)]
        runs = [_once(bound, feeds, outputs, marks) for _ in range(repeats)]
    finally:
        owner.close()
    return [(name, median(times)) for name, times in zip(bound.names, zip(*runs, strict=True), strict=True)]


def _once(bound: CudaBound, feeds: Sequence[Any], outputs: Sequence[Any], marks: Sequence[Mark]) -> list[float]:
    """Milliseconds of each launch of one run."""
    with bound.device.current:
        bound.run_marked(feeds, outputs, marks)
        return [before.milliseconds_till(after) for before, after in pairwise(marks)]
