"""Makes a Program on which something goes wrong small: the least that still goes wrong, with the values that it takes. For bug reports.

    reduce_program(whole, values, fails)       fails(smaller, its feeds) says whether that goes wrong too

Two cuts, both by halving, so that the number of trials grows with the logarithm of the nodes: from above, to the first node in the
program's order that can be the last (`_from_above`); then from below: nodes become parameters, which are fed what the nodes had computed.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc.core.primitive import lookup
from graphc.core.program import Node, Origins, Program, make, postorder, substitute

Array = np.ndarray[Any, Any]
Fails = Callable[[Program, list[Array]], bool]
TRIALS = 300  # that one reduction may take


@dataclass(frozen=True)
class Example:
    """A Program without state and what to feed it."""

    program: Program
    feeds: list[Array]


def reduce_program(program: Program, values: Mapping[Node, Any], fails: Fails) -> Example | None:
    """The least part of `program` that still `fails`; None where it fails only as a whole, with its state.

    values: of every node (`interpret.trace`).
    """
    return _Reduction(program, values, fails).example()


class _Reduction:
    """The trials of one reduction. A candidate is the nodes to compute and the nodes to be fed instead."""

    def __init__(self, program: Program, values: Mapping[Node, Any], fails: Fails) -> None:
        self.program = program
        self.values = values
        self.fails = fails
        self.left = TRIALS

    def example(self) -> Example | None:
        results = [*self.program.outputs, *(effect.operands[0] for effect in self.program.effects)]
        state = {node for node in self.program.nodes if node.name == "variable_read"}
        if not self._try(results, state):
            return None
        roots = self._from_above(results, state)
        roots = self._without(roots, lambda fewer: self._try(fewer, state))
        return self._build(roots, self._from_below(roots, state))

    def _from_above(self, results: list[Node], state: set[Node]) -> list[Node]:
        """The roots of a program that ends as early as it may: with every node up to the first that goes wrong as an output."""
        order = [node for node in postorder(results, state) if _can_be_fed(node) and node.name not in ("parameter", "variable_read")]
        if not order or not self._try(order, state):
            return results
        right, wrong = 0, len(order)  # how many nodes give a right program, and a wrong one
        while wrong - right > 1:
            middle = (right + wrong) // 2
            if self._try(order[:middle], state):
                wrong = middle
            else:
                right = middle
        return [order[wrong - 1]] if self._try([order[wrong - 1]], state) else order[:wrong]

    def _without(self, nodes: list[Node], enough: Callable[[list[Node]], bool]) -> list[Node]:
        """As few of `nodes` as are `enough`, leaving out half of them at a time, then quarters and so on."""
        size = len(nodes) // 2
        while size:
            start = 0
            while start < len(nodes) and len(nodes) > 1:
                fewer = nodes[:start] + nodes[start + size:]
                if fewer and enough(fewer):
                    nodes = fewer
                else:
                    start += size
            size = min(size // 2, len(nodes) // 2) if size > 1 else 0
        return nodes

    def _from_below(self, roots: list[Node], state: set[Node]) -> set[Node]:
        """The nodes that can be fed instead of computed."""
        fed = set(state)
        size = len(postorder(roots, fed))
        while size:
            waiting = [node for node in postorder(roots, fed) if node not in fed and node not in roots and _can_be_fed(node)
                       and node.name != "parameter"]
            size = min(size, len(waiting))
            start = 0
            while start < len(waiting) and size:
                more = fed.union(waiting[start:start + size])
                if self._try(roots, more):
                    fed = more
                start += size
            size //= 2
        return fed

    def _try(self, roots: Sequence[Node], fed: Collection[Node]) -> bool:
        if not self.left:
            return False
        self.left -= 1
        example = self._build(roots, fed)
        return self.fails(example.program, example.feeds)

    def _build(self, roots: Sequence[Node], fed: Collection[Node]) -> Example:
        program = cut(roots, fed, self.program.origins)
        leaves = leaves_of(roots, fed)
        return Example(program, [self.values[leaf] for leaf in leaves])


def cut(roots: Sequence[Node], fed: Collection[Node], origins: Origins = MappingProxyType({})) -> Program:
    """The Program of `roots`, with parameters in the place of the nodes `fed`. It takes what `leaves_of` lists, in that order."""
    parameter = lookup("parameter")
    leaves = leaves_of(roots, fed)
    stand_ins = {leaf: leaf if leaf.name == "parameter" else make(parameter, (), parameter.attrs(name=f"cut{number}", type=leaf.type))
                 for number, leaf in enumerate(leaves)}
    new = substitute(roots, stand_ins, stand_ins.keys())
    carried = {node: origins[old] for old, node in new.items() if old in origins}
    return Program(tuple(stand_ins[leaf] for leaf in leaves), tuple(new[root] for root in roots), origins=carried)


def leaves_of(roots: Sequence[Node], fed: Collection[Node]) -> list[Node]:
    """What `roots` rest on: parameters, and of the nodes `fed` those that they need."""
    return [node for node in postorder(roots, fed) if node in fed or node.name == "parameter"]


def _can_be_fed(node: Node) -> bool:
    return not node.is_tuple
