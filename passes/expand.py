"""Replaces primitives that have no kernel of their own (loop form `Expanded`) by what they are made of. Runs first of all passes.

    convolution(x, filter)  ->  dot_general(windows(x), filter)

Until here a convolution is one node, so its gradient is made of convolutions and a dump of the specialised program shows what was declared.
From here on it is views, reductions and products, for which there are rules, fusion and kernels on every target.
"""
from __future__ import annotations

from dataclasses import dataclass

from graphc.core.loops import Expanded
from graphc.core.program import Node, Program
from graphc.passes.rewrite import Rewrite, Rule


def _expanded(node: Node) -> Node | None:
    form = node.primitive.loop
    return form.expand(node) if isinstance(form, Expanded) else None


@dataclass(frozen=True)
class Expand:
    """Expands every node of an `Expanded` primitive, and the nodes that this gives in turn."""

    name: str = "expand"

    def __call__(self, program: Program) -> Program:
        if not any(isinstance(node.primitive.loop, Expanded) for node in program.nodes):
            return program
        return Rewrite((Rule("expand", "f(x) ~ what it is made of", "*", _expanded),), name=self.name)(program)
