"""Splits long walks along an axis in three steps, so that several threads can share them. Part of `split`.

    cumulative_sum(x: f32[65536])  ->  y = cumulative_sum(reshape(x) : f32[8,8192], axis 1)     each piece by itself
                                       t = cumulative_sum(last of each piece, exclusive)        what comes before each piece
                                       reshape(y + t)

The pieces depend on the shape alone, so results do not depend on the number of threads. A length that the pieces do not divide is filled up
with elements that change nothing.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import graphc.primitives as p
from graphc.core.dtypes import float64, int32
from graphc.core.program import Node
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import floats, sample
from graphc.primitives.numerics import highest, lowest
from graphc.primitives.sugar import fill_like


@dataclass(frozen=True)
class ScanSizes:
    """What is cut, and into what: numbers for one kind of machine. The defaults are a CPU's."""

    few: int = 8  # walks: with as many, threads share the walks
    long: int = 1 << 16  # elements of a walk: shorter ones stay whole
    piece: int = 1 << 13  # elements of a piece, at least
    pieces: int = 1 << 62  # of all walks together, about: pieces grow where there would be more


def log_add_exp(x: Node, y: Node) -> Node:
    """log(e^x + e^y), without overflow."""
    greater = p.maximum(x, y)
    more = p.log_plus_one(p.exponential(p.subtract(p.minimum(x, y), greater)))
    return p.select(p.is_finite(greater), p.add(greater, more), greater)


@dataclass(frozen=True)
class _Kind:
    """combine: two results to one, the earlier first. neutral: the element (of a numpy dtype) that changes no result."""

    combine: Callable[[Node, Node], Node]
    neutral: Callable[..., float]


_KINDS = {
    "cumulative_sum": _Kind(p.add, lambda dtype: 0), "cumulative_prod": _Kind(p.multiply, lambda dtype: 1),
    "cumulative_max": _Kind(p.maximum, lowest), "cumulative_min": _Kind(p.minimum, highest),
    "cumulative_logsumexp": _Kind(log_add_exp, lowest),
}
BUILD = {"cumulative_sum": p.cumulative_sum, "cumulative_prod": p.cumulative_prod, "cumulative_max": p.cumulative_max,
         "cumulative_min": p.cumulative_min, "cumulative_logsumexp": p.cumulative_logsumexp}


@dataclass(frozen=True)
class _Cut:
    """[before, length, after] as [before, count, piece, after]; the walk goes along axis 1, or 2 within a piece."""

    node: Node
    before: int
    length: int
    after: int
    count: int
    piece: int

    def pieces(self, x: Node, neutral: float) -> Node:
        """`x` cut into pieces, filled up at the end."""
        missing = self.count * self.piece - self.length
        whole = p.reshape(x, (self.before, self.length, self.after))
        if missing:
            whole = p.pad(whole, p.constant(neutral, x.dtype), (0, 0, 0), (0, missing, 0))
        return p.reshape(whole, (self.before, self.count, self.piece, self.after))

    def last(self, pieces: Node) -> Node:
        """The element of each piece that is walked last: [before, count, after]."""
        place = 0 if self.node.attrs.reverse else self.piece - 1
        one = p.slice_(pieces, (0, 0, place, 0), (self.before, self.count, place + 1, self.after))
        return p.reshape(one, (self.before, self.count, self.after))

    def spread(self, totals: Node) -> Node:
        """One value for each piece, beside all of its elements."""
        return p.broadcast_in_dim(totals, (self.before, self.count, self.piece, self.after), (0, 1, 3))

    def whole(self, pieces: Node) -> Node:
        """The pieces put together, without what filled them up."""
        flat = p.reshape(pieces, (self.before, self.count * self.piece, self.after))
        return p.reshape(p.slice_(flat, (0, 0, 0), (self.before, self.length, self.after)), self.node.dims)


def _cut(node: Node, sizes: ScanSizes) -> _Cut | None:
    axis = node.attrs.axis
    before, length, after = math.prod(node.dims[:axis]), node.dims[axis], math.prod(node.dims[axis + 1:])
    if not node.type.size or before * after >= sizes.few or length < sizes.long:
        return None
    wanted = max(sizes.piece, node.type.size // sizes.pieces)
    piece = next((n for n in range(wanted, 2 * wanted) if length % n == 0), wanted)
    return _Cut(node, before, length, after, -(-length // piece), piece) if piece < length else None


def _split(node: Node, sizes: ScanSizes) -> Node | None:
    cut = _cut(node, sizes)
    if cut is None:
        return None
    build, kind, attrs = BUILD[node.name], _KINDS[node.name], node.attrs
    x = cut.pieces(node.operands[0], kind.neutral(node.dtype.np_dtype))
    walked = build(x, 2, attrs.exclusive, attrs.reverse)
    last = cut.last(walked)
    totals = kind.combine(last, cut.last(x)) if attrs.exclusive else last
    return cut.whole(kind.combine(cut.spread(build(totals, 1, True, attrs.reverse)), walked))


def _split_recurrence(node: Node, sizes: ScanSizes) -> Node | None:
    """Within a piece h[k] = (a[first] ... a[k]) h[before the piece] + what the piece gives by itself."""
    cut = _cut(node, sizes)
    if cut is None:
        return None
    reverse = node.attrs.reverse
    a, b = cut.pieces(node.operands[0], 1), cut.pieces(node.operands[1], 0)
    factors, own = p.cumulative_prod(a, 2, False, reverse), p.linear_recurrence(a, b, 2, reverse)
    totals = p.linear_recurrence(cut.last(factors), cut.last(own), 1, reverse)
    by = -1 if reverse else 1
    before = p.pad(totals, p.constant(0, node.dtype), (0, by, 0), (0, -by, 0))
    return cut.whole(p.add(p.multiply(factors, cut.spread(before)), own))


def scan_rules(sizes: ScanSizes) -> tuple[Rule, ...]:
    """The rules that cut walks by `sizes`."""
    rules = []
    for root, build in BUILD.items():
        # Of integers these are the same in any order, of floats only nearly.
        is_exact = root != "cumulative_logsumexp"
        x, y, z = (sample(int32 if is_exact else float64, *shape) for shape in ((1 << 16,), (2, 65537), (1 << 16, 3)))
        rules.append(Rule(
            f"split {root}", f"{root}(x) ~ pieces of x, each after the total of those before it", root, lambda node: _split(node, sizes),
            (build(x, 0), build(y, 1, is_exact, True), build(z, 0, is_exact))))
    a, b = (p.multiply(x, fill_like(x, 0.5)) for x in (floats(2, 65537, name="a"), floats(2, 65537, name="b")))
    return (*rules, Rule(
        "split linear_recurrence", "h[k] = a[k] h[k-1] + b[k] ~ pieces, each from what the one before ended with", "linear_recurrence",
        lambda node: _split_recurrence(node, sizes), (p.linear_recurrence(a, b, 1), p.linear_recurrence(a, b, 1, True))))
