"""Interleaved timing: every call in every round, quartiles as statistics defines them."""
from __future__ import annotations

import time

from graphc.timing import interleaved, summary


def test_quartiles() -> None:
    timing = summary([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.low, timing.median, timing.high, timing.least, timing.samples) == (2.0, 3.0, 4.0, 1.0, 5)
    assert timing.spread == 1 / 3


def test_calls_take_turns_and_the_slower_one_is_found() -> None:
    order: list[str] = []
    rounds: list[int] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    found = interleaved({"a": lambda: call("a", 1e-3), "b": lambda: call("b", 4e-3)}, seconds=0, progress=lambda: rounds.append(1))
    assert order[-20:] == ["a", "a", "b", "b"] * 5  # each sample after a call that is not timed
    assert len(rounds) == 5
    assert 1e-3 <= found["a"].least < 4e-3 <= found["b"].least
