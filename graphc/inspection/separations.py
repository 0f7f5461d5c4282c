"""Why two kernels are two: for every edge between steps of the last Program, the reason in words.

The reasons are those that `fuse` itself met (`Fuse.explain`): short phrases of `passes/groups.py` and `passes/partition.py`. `IN_WORDS`
says what each means to somebody who does not know the rules.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from graphc.core.loops import Extern, Sort
from graphc.core.program import Node
from graphc.inspection.inlined import Inlined
from graphc.passes.groups import is_compute
from graphc.passes.pipelines import Stage
from graphc.passes.storage import value_of

IN_WORDS = {
    "too large": "together they would be more nodes than one kernel may have: compile time and registers grow with it",
    "two products": "each computes a matrix product, and a kernel computes one: a product needs all of its operand before it begins",
    "a product and a reduction": "the reduction needs whole rows or columns of the product, which is made in tiles",
    "outputs of different sizes": "their results have different numbers of elements, so that no one loop writes both",
    "reductions over different rows": "both reduce, but over different rows",
    "rows too long to stay in cache": "the rows are too long to stay in cache between the two: nothing would be gained",
    "reductions over different axes": "both reduce, and one of them columns, but over different axes",
    "the position of an extreme along columns": "an argmax down columns shares no kernel: rows are walked side by side",
    "a reduction along columns of another's result": "the second reduces what the first must have finished for all rows",
    "an output before the reduction along columns": "a value that is also stored would have to be written before the reduction ends",
    "arithmetic before a product": "a product reads each operand many times: arithmetic before it would be done as often",
    "an output beside the product's": "a value that is stored as well is not made by the product's own loop",
    "two walks over everything": "each walks over all elements in an order of its own",
    "costly arithmetic, one element at a time": "a walk goes one element at a time, and costly arithmetic wants vectors",
    "an output before the walk's": "a value that is also stored would have to be written before the walk",
    "an output beside the scatter's": "a scatter writes where its indices say: nothing else is written beside it",
    "better updated where it is stored": "the update changes some places of what stands in memory, in place: the rest is not touched",
    "reads elsewhere what is updated where it is stored": "it reads other places of what is changed in place",
    "costly indices": "the indices would be computed for every element",
    "a result used in another shape": "the result is read in another shape than the one in which it is made",
    "a result read out of place": "an element needs results of other places, which are not ready in one pass",
    "would repeat costly work": "the work of the first would be done again for every element that reads it",
    "a value needed at two places": "a value of the first is needed at two places, and would be computed twice",
    "a view that is stored": "a rearranged value must stand in memory there: something reads it as it is",
    "would keep more alive and read nothing less": "together they read as much as apart, and more memory would be alive at once",
    "another kernel stands between them": "a third kernel needs the first and is needed by the second: they would wait for each other",
    "too many kernels between them to be sure that none needs both": "so many kernels stand between the two that the search for one that "
                                                                     "needs the first and is needed by the second was given up",
    "a library computes the product without it": "a library computes the product, and cannot do this with it",
}
_OFF = "fusion is switched off in this pipeline"


@dataclass(frozen=True)
class Edge:
    """A value that one step hands to another through memory. before, after: positions of the steps. why: the short reason; text: in
    words."""

    before: int
    after: int
    value: Node
    why: str
    text: str


def edges(stages: Sequence[Stage], steps: Sequence[Node]) -> list[Edge]:
    """Every edge between two of `steps`, those of the last Program that run."""
    position = {step: number for number, step in enumerate(steps)}
    reasons = _Reasons(stages)
    found: dict[tuple[int, int], Edge] = {}
    for step in steps:
        for operand in dict.fromkeys(step.operands):
            source = value_of(operand)[0]
            if source in position and source is not step and (position[source], position[step]) not in found:
                why = reasons.between(source, step)
                found[position[source], position[step]] = Edge(position[source], position[step], operand, why, in_words(why))
    return list(found.values())


def in_words(why: str) -> str:
    """A short reason, explained."""
    if why.startswith("a ") and why.endswith(" of a result"):
        return f"what comes of a reduction goes through {why.removesuffix(' of a result')}, which needs all of it"
    return IN_WORDS.get(why, why)


class _Reasons:
    """What the fusing pass says of pairs of nodes, asked about pairs of steps."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.inlined = Inlined(stages[-1].program)
        self.said: dict[tuple[Node, Node], str] = {}
        self.is_off = True
        for before, stage in pairwise(stages):
            explain = getattr(stage.apply, "explain", None)
            if explain is not None and getattr(stage.apply, "merge", True):
                self.is_off = False
                self.said |= {(source, reader): why for source, reader, why in explain(before.program)}

    def between(self, first: Node, second: Node) -> str:
        for node in (first, second):
            alone = _alone(node)
            if alone:
                return alone
        if self.is_off:
            return _OFF
        for reader in self.inlined.members[second]:
            for source in self.inlined.members[first]:
                if (source, reader) in self.said:
                    return self.said[source, reader]
        return f"made by the pass {self._maker(second)}, which came after fusion"

    def _maker(self, step: Node) -> str:
        return next(stage.name for stage in self.stages if step in stage.program.nodes)


def _alone(node: Node) -> str:
    """Why a step shares a kernel with nobody, "" for one that might."""
    loop = node.primitive.loop
    if isinstance(loop, Extern):
        return f"{node.name} is a function of the host ({loop.function}), called between kernels"
    if isinstance(loop, Sort):
        return f"{node.name} is a kernel of its own: it moves all elements about"
    if node.name == "copy":
        return "a copy that an output or a variable needs"
    if node.name == "fusion" or is_compute(node):
        return ""
    return f"{node.name} is a kernel of its own"

