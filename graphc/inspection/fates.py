"""What became of each operation of the user's graph: the kernels that compute it, or the rule that removed it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from graphc.core.program import Node, Origin
from graphc.inspection.changes import Difference, difference
from graphc.inspection.inlined import Inlined
from graphc.passes.groups import is_cheap_fill, is_uniform, is_view
from graphc.passes.pipelines import Stage

_KNOWN = "no computation of its own: its results are its inputs, or known before the first run"
_WITHOUT = {
    "Placeholder": "given: no computation", "VariableV2": "a variable: it lives in memory of its own", "NoOp": "groups other operations",
    "Const": "a constant, made where it is read", "Identity": "its input itself", "StopGradient": "its input itself",
    "Assign": "gives its variable a new value, where that is computed"}


@dataclass(frozen=True)
class Fate:
    """kernels: positions of the steps of the last Program that compute something of the operation. text: all of it, in words."""

    kernels: tuple[int, ...]
    text: str


class History:
    """The stages of a compilation, and what became of nodes from each to the next. steps: of the last Program, those that run, in order."""

    def __init__(self, stages: Sequence[Stage], steps: Sequence[Node]) -> None:
        self.stages = tuple(stages)
        self.steps = {step: number for number, step in enumerate(steps)}

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """For each stage but the first, what its pass did."""
        return tuple(difference(before.program, after) for before, after in pairwise(self.stages))

    @cached_property
    def last(self) -> Inlined:
        """The last Program, fusions taken apart."""
        return Inlined(self.stages[-1].program)

    @cached_property
    def origins(self) -> Mapping[Node, tuple[Origin, ...]]:
        """Of each step the operations that it computes, also those that are mere changes of index on the way."""
        found: dict[Node, dict[Origin, None]] = {step: {} for step in self.steps}
        first = self.stages[0].program
        for node in first.nodes:
            for step in self._steps_of(end for end in self._ends[node][0] if not _is_common(end)):
                found[step].update(dict.fromkeys(first.origins.get(node, ())))
        return {step: tuple(origins) or self.stages[-1].program.origins.get(step, ()) for step, origins in found.items()}

    @cached_property
    def _values(self) -> Mapping[Node, tuple[Origin, ...]]:
        """The operations whose results are nodes of the last Program, fusions taken apart."""
        found: dict[Node, dict[Origin, None]] = {}
        first = self.stages[0].program
        for node in first.nodes:
            for end in self._ends[node][0]:
                found.setdefault(end, {}).update(dict.fromkeys(first.origins.get(node, ())))
        return {node: tuple(origins) for node, origins in found.items()}

    def result(self, step: Node, number: int) -> tuple[Origin, ...]:
        """The operations whose result is output `number` of a step; all that it computes where passes made the value themselves."""
        return self._values.get(self.last.value[step][number], ()) or self.origins.get(step, ())

    def fate(self, operation: Origin) -> Fate:
        """What became of an operation of the user's graph."""
        nodes = self._nodes.get(operation.operation, [])
        if not nodes or operation.type == "VariableV2":
            return Fate((), _WITHOUT.get(operation.type, _KNOWN))
        ends = [self._ends[node] for node in nodes]
        alive = [node for found, _ in ends for node in found]
        counted = [node for node in alive if not _is_common(node)] or alive
        if alive and all(_is_number(node) for node in alive):  # equal ones of others are the same node: only who stores it counts
            counted = [node for node in alive if any(node in self.last.value[step] for step in self._steps_of([node]))]
        kernels = tuple(sorted(self.steps[step] for step in self._steps_of(counted)))
        if kernels:
            views = all(is_view(node) or _is_common(node) for node in nodes)
            numbers = f"kernel{'s' if len(kernels) > 1 else ''} {', '.join(map(str, kernels))}"
            return Fate(kernels, f"a change of index in {numbers}" if views else f"computed by {numbers}")
        if any(node.name in ("parameter", "variable_read") for node in alive):
            return Fate((), "given: no computation")
        if alive and all(_is_number(node) for node in alive):
            return Fate((), _WITHOUT["Const"])
        if alive:
            return Fate((), "a constant, or memory seen otherwise: no computation")
        return Fate((), next((text for _, text in ends if text), "nothing reads it"))

    @cached_property
    def _nodes(self) -> Mapping[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        first = self.stages[0].program
        for node in first.nodes:
            for origin in first.origins.get(node, ()):
                found.setdefault(origin.operation, []).append(node)
        return found

    @cached_property
    def _ends(self) -> Mapping[Node, tuple[list[Node], str]]:
        """For each node of the first Program its last forms, and those of what was made in its place on the way; or none, and what removed
        it."""
        return {node: self._followed(node) for node in self.stages[0].program.nodes}

    def _followed(self, node: Node) -> tuple[list[Node], str]:
        ends, why = [node], ""
        for stage, step in zip(self.stages[1:], self.differences, strict=True):
            following: dict[Node, None] = {}
            for each in ends:
                image = step.image.get(each)
                if image is None:
                    why = why or f"removed by {stage.name}: {step.gone.get(each, 'nothing reads it')}"
                    continue
                following.update(dict.fromkeys((*step.made.get(each, ()), image)))
            ends = list(following)
        return ends, why

    def _steps_of(self, nodes: Iterable[Node]) -> set[Node]:
        """The steps that compute nodes of the last Program; of a view that is only another way to see memory, those that fill that."""
        return {step for node in nodes for step in self._computing(node)}

    def _computing(self, node: Node) -> list[Node]:
        while True:
            found = [step for step in self.last.inside.get(node, ()) if step in self.steps]
            if found or not is_view(node) or len(node.operands) != 1:
                return found
            node = node.operands[0]


def _is_common(node: Node) -> bool:
    """Whether a node is made anew wherever it is read, so that equal ones of many operations are one."""
    source = _source(node)
    return is_uniform(source) or is_cheap_fill(source)


def _is_number(node: Node) -> bool:
    """Whether a node is one number everywhere, known before the first run."""
    return is_uniform(_source(node))


def _source(node: Node) -> Node:
    """What `node` is another view of."""
    while is_view(node) and len(node.operands) == 1:
        node = node.operands[0]
    return node
