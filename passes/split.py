"""Splits long reductions in two, so that they can run on several threads: as a rewrite of the Program, visible in its dump.

    %1 = reduce_sum(%0: f32[4194304])   ->   %1 = reshape(%0) : f32[256,16384];  %2 = reduce_sum(%1, axis 1);  %3 = reduce_sum(%2, axis 0)

The pieces depend on the shape alone, never on the number of threads, so results do not either.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.core.program import Node, Program
from graphc.passes.groups import is_trailing
from graphc.passes.rewrite import Rewrite, Rule
from graphc.passes.rules_common import sample
from graphc.passes.rules_reduction import BUILD, REDUCTIONS
from graphc.primitives import reduce_sum, reshape
from graphc.core.dtypes import float32

LONG = 1 << 16  # elements per result: shorter reductions stay whole
PIECE = 1 << 13  # elements per piece
FEW = 8  # results: with more, threads share the results


def _split(node: Node) -> Node | None:
    x = node.operands[0]
    if node.type.size > FEW or not x.type.size:
        return None
    length = x.type.size // max(node.type.size, 1)
    if length < LONG:
        return None
    build = BUILD[node.name]
    if is_trailing(node):
        piece = _divisor(length)
        if piece == 1:
            return None
        pieces = reshape(x, (node.type.size, length // piece, piece))
        return reshape(build(build(pieces, (2,)), (1,)), node.dims)
    return None


def _divisor(length: int) -> int:
    """The largest divisor of `length` up to PIECE that leaves at least two pieces; 1 where `length` has only useless ones."""
    best = max((d for d in range(1, int(math.isqrt(length)) + 1) if length % d == 0 and d <= PIECE), default=1)
    other = max((length // d for d in range(1, int(math.isqrt(length)) + 1) if length % d == 0 and length // d <= PIECE), default=1)
    found = max(best, other)
    return found if found >= 256 else 1


SPLIT: tuple[Rule, ...] = tuple(
    Rule(f"split {root}", f"{root}(x) = {root}({root}(pieces of x))", root, _split,
         (lambda: reduce_sum(sample(float32, 1 << 18), (0,)),) if root == "reduce_sum" else ()) for root in REDUCTIONS)


@dataclass(frozen=True)
class Split:
    """Cuts reductions of more than LONG elements to fewer than FEW results into pieces of about PIECE elements."""

    name: str = "split"

    def __call__(self, program: Program) -> Program:
        return Rewrite(SPLIT)(program)
