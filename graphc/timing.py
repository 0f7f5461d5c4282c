"""How long things take, measured so that the comparison is fair on a busy machine. Imports nothing of graphc.

Calls that are to be compared are *interleaved*: every round runs each of them once, so that a neighbour's load, a clock that drops or a
cache that is cold hits all alike. Each sample follows a call that is not timed, so that the caches hold what the call itself leaves there,
not its neighbour's data. Medians and quartiles stand for the rounds; a mean would be ruled by the few that were interrupted.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SAMPLE_SECONDS = 2e-4  # shorter calls are repeated until one sample takes about this long, or the clock itself would be measured
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, quartiles and the least, over `samples` rounds."""

    median: float
    low: float
    high: float
    least: float
    samples: int

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, relative to the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def interleaved(calls: Mapping[str, Callable[[], object]], seconds: float = 1.0,
                progress: Callable[[], object] = lambda: None) -> dict[str, Timing]:
    """Runs the calls in turns for about `seconds` (at least five rounds) and tells how long each takes. `progress` is called each round."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < _LEAST_ROUNDS or time.perf_counter() < end:
        for name, call in calls.items():
            call()
            samples[name].append(_sample(call, repeats[name]))
        rounds += 1
        progress()
    return {name: summary(taken) for name, taken in samples.items()}


def summary(samples: list[float]) -> Timing:
    """What a list of at least two measurements says."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Timing(median, low, high, min(samples), len(samples))


def _repeats(call: Callable[[], object]) -> int:
    """How often to call for one sample. The first call, which may compile or fault pages in, is not counted."""
    call()
    return max(1, round(_SAMPLE_SECONDS / max(_sample(call, 1), 1e-8)))


def _sample(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
