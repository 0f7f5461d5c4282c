"""Placing buffers with known lifetimes in one block of memory: dynamic storage allocation, offline. Used by `memory`; knows no Programs.

Buffers are placed one by one, each into the tightest gap among those already placed that live at the same time. What counts is the order:
largest first is the best simple one (Pisarchyk and Lee 2020, arXiv 2001.03288). Where it misses the lower bound other orders are tried,
then a search that moves whatever reaches highest further to the front. Large problems are swept once forwards and once backwards in
time, with a list of free blocks. Everything is deterministic.
"""
from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

MANY = 3000  # buffers: more are swept, to stay near linear
EFFORT = 500_000  # pairs of buffers that the search may look at: about half a second


class Lifetime(NamedTuple):
    """`size` bytes from step `first` to step `last`, both inclusive."""

    size: int
    first: int
    last: int


def lower_bound(lifetimes: Sequence[Lifetime]) -> int:
    """The largest sum of sizes alive at one step: no placement can be smaller."""
    changes: dict[int, int] = {}
    for each in lifetimes:
        changes[each.first] = changes.get(each.first, 0) + each.size
        changes[each.last + 1] = changes.get(each.last + 1, 0) - each.size
    live = highest = 0
    for step in sorted(changes):
        live += changes[step]
        highest = max(highest, live)
    return highest


def place(lifetimes: Sequence[Lifetime]) -> tuple[int, list[int]]:
    """The height reached and the offset of each buffer, such that buffers alive together do not overlap."""
    if len(lifetimes) > MANY:
        last = max(each.last for each in lifetimes)
        backwards = [Lifetime(each.size, last - each.last, last - each.first) for each in lifetimes]
        return min(_sweep(lifetimes), _sweep(backwards), key=lambda found: found[0])
    return _Placing(lifetimes).best()


class _Placing:
    """Greedy placements of one problem in many orders."""

    def __init__(self, lifetimes: Sequence[Lifetime]) -> None:
        self.lifetimes = lifetimes
        self.bound = lower_bound(lifetimes)
        self.beside = _neighbours(lifetimes)

    def best(self) -> tuple[int, list[int]]:
        numbers = range(len(self.lifetimes))
        t = self.lifetimes
        orders = [
            sorted(numbers, key=lambda n: (-t[n].size, t[n].first - t[n].last, t[n].first)),
            sorted(numbers, key=lambda n: (-t[n].size * (t[n].last - t[n].first + 1), -t[n].size, t[n].first)),
            sorted(numbers, key=lambda n: (t[n].first - t[n].last, -t[n].size, t[n].first)),
            sorted(numbers, key=lambda n: (t[n].first, -t[n].size, t[n].last))]
        best: tuple[int, list[int]] = (sum(each.size for each in t) + 1, [])
        chosen = orders[0]
        for order in orders:
            found = self._greedy(order)
            if found[0] < best[0]:
                best, chosen = found, order
            if best[0] == self.bound:
                return best
        return self._search(best, chosen)

    def _search(self, best: tuple[int, list[int]], order: list[int]) -> tuple[int, list[int]]:
        """Moves the buffer that reaches highest to a random earlier place, as long as that does no harm."""
        generator = random.Random(0)
        current, found = best, best
        for _ in range(EFFORT // max(1, sum(map(len, self.beside)) + len(order))):
            tops = [n for n in order if found[1][n] + self.lifetimes[n].size == found[0]]
            place = order.index(generator.choice(tops))
            trial = list(order)
            trial.insert(generator.randrange(place + 1), trial.pop(place))
            found = self._greedy(trial)
            if found[0] <= current[0] or generator.random() < 0.02:  # now and then a step back, to leave a dead end
                order, current = trial, found
            else:
                found = current
            best = min(best, current, key=lambda each: each[0])
            if best[0] == self.bound:
                break
        return best

    def _greedy(self, order: Sequence[int]) -> tuple[int, list[int]]:
        offsets = [-1] * len(order)
        height = 0
        for number in order:
            around = sorted((offsets[n], self.lifetimes[n].size) for n in self.beside[number] if offsets[n] >= 0)
            size = self.lifetimes[number].size
            offsets[number] = _tightest_gap(around, size)
            height = max(height, offsets[number] + size)
        return height, offsets


def _neighbours(lifetimes: Sequence[Lifetime]) -> list[list[int]]:
    """For each buffer those that live at the same time."""
    beside: list[list[int]] = [[] for _ in lifetimes]
    alive: list[int] = []
    for number in sorted(range(len(lifetimes)), key=lambda n: lifetimes[n].first):
        alive = [n for n in alive if lifetimes[n].last >= lifetimes[number].first]
        for other in alive:
            beside[other].append(number)
        beside[number] += alive
        alive.append(number)
    return beside


def _tightest_gap(around: Sequence[tuple[int, int]], size: int) -> int:
    """The offset of the smallest gap of `size` between the blocks (offset, size) in order of offset; above them where there is none."""
    best_offset, best_room = -1, -1
    end = 0
    for offset, extent in around:
        room = offset - end
        if room >= size and (best_room < 0 or room < best_room):
            best_offset, best_room = end, room
        end = max(end, offset + extent)
    return best_offset if best_offset >= 0 else end


def _sweep(lifetimes: Sequence[Lifetime]) -> tuple[int, list[int]]:
    """Allocates and frees in order of time, each buffer in the tightest free block."""
    offsets = [0] * len(lifetimes)
    free: list[tuple[int, int]] = []  # (offset, size), in order of offset, never two that touch
    height = 0
    ends = sorted(range(len(lifetimes)), key=lambda n: lifetimes[n].last)
    ended = 0
    for number in sorted(range(len(lifetimes)), key=lambda n: (lifetimes[n].first, -lifetimes[n].size)):
        while lifetimes[ends[ended]].last < lifetimes[number].first:
            free = _released(free, offsets[ends[ended]], lifetimes[ends[ended]].size)
            ended += 1
        size = lifetimes[number].size
        fitting = min((block for block in free if block[1] >= size), key=lambda block: block[1], default=None)
        if fitting is None:
            fitting = free[-1] if free and sum(free[-1]) == height else (height, 0)  # grow the top
        offset, room = fitting
        free = [block for block in free if block is not fitting]
        if room > size:
            free = _released(free, offset + size, room - size)
        offsets[number] = offset
        height = max(height, offset + size)
    return height, offsets


def _released(free: list[tuple[int, int]], offset: int, size: int) -> list[tuple[int, int]]:
    """`free` with one more block, merged with those that it touches."""
    if not size:
        return free
    start, end = offset, offset + size
    rest = []
    for block in free:
        if block[0] + block[1] == start:
            start = block[0]
        elif block[0] == end:
            end = block[0] + block[1]
        else:
            rest.append(block)
    return sorted([*rest, (start, end - start)])
