"""Interleaved timing: every call in every round, quartiles as numpy defines them, intervals that cover the median as often as they say."""
from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from graphc.timing import Timing, interleaved, median_interval, ratio, summary


def test_quartiles() -> None:
    timing = summary([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.low, timing.median, timing.high, timing.least, timing.samples) == (2.0, 3.0, 4.0, 1.0, 5)
    assert timing.spread == 1 / 3
    samples = np.random.default_rng(0).standard_exponential(38)
    found = summary(list(samples))
    assert np.allclose([found.low, found.median, found.high], np.quantile(samples, [0.25, 0.5, 0.75]), rtol=1e-14)


def test_calls_take_turns_and_the_slower_one_is_found() -> None:
    order: list[str] = []
    rounds: list[int] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = interleaved({"a": lambda: call("a", 1e-3), "b": lambda: call("b", 4e-3)}, seconds=0, progress=lambda: rounds.append(1))
    pairs = [tuple(order[place:place + 2]) for place in range(len(order) - 24, len(order), 2)]
    assert all(first == second for first, second in pairs)  # each sample after a call that is not timed
    rounds_of_names = [{pairs[place], pairs[place + 1]} for place in range(0, 12, 2)]
    assert rounds_of_names == [{("a", "a"), ("b", "b")}] * 6  # each call once a round
    assert set(pairs[::2]) == {("a", "a"), ("b", "b")}  # and not always in one order
    assert len(rounds) == 6
    assert 1e-3 <= found["a"].least < 4e-3 <= found["b"].least


@pytest.mark.parametrize("count", [6, 7, 20, 100, 1001])
def test_the_interval_of_the_median_is_that_of_the_binomial(count: int) -> None:
    """Against scipy's: the bounds are the ranks whose tail is the largest below 2.5% on each side."""
    found = median_interval(list(map(float, np.random.default_rng(count).permutation(count))))
    rank = int(found.low) + 1  # the samples are 0, 1, 2...
    assert found.high == count - rank
    assert stats.binom.cdf(rank - 1, count, 0.5) <= 0.025 < stats.binom.cdf(rank, count, 0.5)
    assert found.confidence == pytest.approx(1 - 2 * stats.binom.cdf(rank - 1, count, 0.5))


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    """Of lopsided samples, as times are: at least 95 of 100, and no much wider than need be (99 would be)."""
    random = np.random.default_rng(1)
    covered = np.mean([np.log(2) in median_interval(list(random.standard_exponential(40))) for _ in range(4000)])
    assert 0.945 <= covered <= 0.98


def test_few_samples_say_what_their_bounds_are_worth() -> None:
    assert median_interval([3.0]).confidence == 0
    found = median_interval([5.0, 3.0, 4.0])
    assert (found.low, found.median, found.high, found.confidence) == (3.0, 4.0, 5.0, 0.75)


def test_a_ratio_pairs_the_rounds() -> None:
    """A neighbour that slows whole rounds changes the times, not their quotient."""
    load = np.random.default_rng(0).uniform(1, 5, 30)
    slow, fast = summary(list(3.0 * load)), summary(list(2.0 * load))
    found = ratio(slow, fast)
    assert (found.low, found.median, found.high) == pytest.approx((1.5, 1.5, 1.5))
    assert slow.interval.low < 0.8 * slow.interval.median
    with pytest.raises(ValueError, match="same rounds"):
        ratio(slow, Timing(1.0, 1.0, 1.0, 1.0, 5))
