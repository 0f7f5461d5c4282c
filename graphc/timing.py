"""How long things take, measured so that the comparison is fair on a busy machine. Imports nothing of graphc.

Calls that are to be compared are *interleaved*: every round runs each of them once, so that a neighbour's load, a clock that drops or a
cache that is cold hits all alike. Each sample follows a call that is not timed, so that the caches hold what the call itself leaves there,
not its neighbour's data; and each round has an order of its own, so that no call always follows the one that leaves most behind. Medians
and quartiles stand for the rounds; a mean would be ruled by the few that were interrupted.

How sure a median is, its *interval* says, without assuming anything of how times are distributed. Of n samples in order, the k-th smallest
and the k-th largest enclose the true median unless fewer than k samples fall on one side of it. Each falls on either side with chance 1/2,
so that happens with chance 2 P(B < k), B binomial (n, 1/2). The interval takes the largest k that keeps this below 5% (see H. A. David and
H. N. Nagaraja, Order Statistics, 3rd ed., section 7.1); it takes six samples to have one.

How many times as fast one call is as another, `ratio` says, as the median of the quotients of each round: what slowed a whole round
cancels, so this interval is often narrower than those of the two times.
"""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_SAMPLE_SECONDS = 2e-4  # shorter calls are repeated until one sample takes about this long, or the clock itself would be measured
LEAST_ROUNDS = 6  # fewer give no interval
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median, and the bounds between which the true one lies with chance `confidence` at least. Of fewer than six samples the bounds are
    the least and the largest, and `confidence` says what they are worth."""

    median: float
    low: float
    high: float
    confidence: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, quartiles and the least, over `samples` rounds; `taken` are the rounds in order."""

    median: float
    low: float
    high: float
    least: float
    samples: int
    taken: tuple[float, ...] = field(default=(), repr=False)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, relative to the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0

    @property
    def interval(self) -> Interval:
        """The median with its bounds."""
        return median_interval(self.taken)


def interleaved(calls: Mapping[str, Callable[[], object]], seconds: float = 1.0,
                progress: Callable[[], object] = lambda: None) -> dict[str, Timing]:
    """Runs the calls in turns for about `seconds` (at least six rounds) and tells how long each takes. `progress` is called each round."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < LEAST_ROUNDS or time.perf_counter() < end:
        shuffle(order)
        for name in order:
            calls[name]()
            samples[name].append(_sample(calls[name], repeats[name]))
        rounds += 1
        progress()
    return {name: summary(taken) for name, taken in samples.items()}


def summary(samples: Sequence[float]) -> Timing:
    """What a list of at least one measurement says."""
    ordered = sorted(samples)
    low, median, high = (_quantile(ordered, quarter / 4) for quarter in (1, 2, 3))
    return Timing(median, low, high, ordered[0], len(ordered), tuple(samples))


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median of at least one sample, with its bounds (see the top)."""
    ordered = sorted(samples)
    rank, missed = _rank(len(ordered), 1 - confidence)
    return Interval(_quantile(ordered, 0.5), ordered[rank - 1], ordered[-rank], max(0.0, 1 - missed))


def _rank(count: int, chance: float) -> tuple[int, float]:
    """The largest rank k such that the true median lies beyond the k-th smallest or the k-th largest of `count` samples with `chance` at
    most, and that chance: 2 P(B < k). At least 1."""
    all_sides, ways, below = 2**count, 1, 1  # the ways in which so many samples fall on one side: `rank - 1` of them, and fewer
    rank = 1
    while True:
        ways = ways * (count - rank + 1) // rank
        if 2 * (below + ways) / all_sides > chance or rank >= (count + 1) // 2:
            return rank, 2 * below / all_sides
        below += ways
        rank += 1


def ratio(slower: Timing, faster: Timing) -> Interval:
    """How many times as fast as `slower` `faster` is: two timings of the same rounds. ValueError where they are not."""
    if len(slower.taken) != len(faster.taken) or not slower.taken:
        raise ValueError("a ratio needs two timings of the same rounds")
    return median_interval([a / max(b, 1e-12) for a, b in zip(slower.taken, faster.taken, strict=True)])


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Between the two neighbours in proportion, as numpy does by default."""
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _repeats(call: Callable[[], object]) -> int:
    """How often to call for one sample. The first call, which may compile or fault pages in, is not counted."""
    call()
    return max(1, round(_SAMPLE_SECONDS / max(_sample(call, 1), 1e-8)))


def _sample(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
