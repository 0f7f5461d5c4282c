"""Fusion where a library computes the large products: a product keeps of the maps after it what the library can do, and the others go on.

    %3 = fusion(x, w, b, z) {kind = "dot", ...}          %3 = fusion(x, w, b) {kind = "dot", dot_general, add, maximum}
         dot_general, add, maximum, multiply       ->    %4 = multiply(%3, z)

Stands in the place of `fuse` in pipelines for a GPU. There a library's product with one more kernel for the rest beats a generated product
that does it all, once the product is large. What the library can do is a question that the caller answers (`expressible`): passes know no
kernels. Nodes that had to leave a product's group fuse with what else reads them: a mask joins the softmax behind it.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from graphc.core.program import Node, Program
from graphc.passes.fuse import emit, fused
from graphc.passes.groups import Illegal, is_product
from graphc.passes.partition import Group, Partition

SMALLEST = 1 << 24  # multiplications of a product: below, launching one more kernel costs more than the library gains


def _nothing(_: Node) -> bool:
    return False


@dataclass(frozen=True)
class Epilogues:
    """Fuses as `Fuse` does, but for products of `smallest` multiplications or more: of their maps each keeps the longest part that is
    `expressible`. That is asked of dot_general nodes, and of fusion nodes of kind "dot" over the values that they would read; a product
    that is not expressible even when bare keeps all of its maps."""

    expressible: Callable[[Node], bool] = field(default=_nothing, repr=False)
    smallest: int = SMALLEST
    name: str = "fuse"

    def __call__(self, program: Program) -> Program:
        return emit(program, self._partition(program))

    def explain(self, program: Program) -> list[tuple[Node, Node, str]]:
        """Why kernels are not one, as `Fuse.explain` says it."""
        return list(self._partition(program).separations())

    def _partition(self, program: Program) -> Partition:
        """The partition in which no large product has a map that the library cannot do, found by barring such maps from products' groups:
        what remains of a group is looked at anew, since nodes may find other groups."""
        can = once_for_equal(self.expressible)
        barred: set[Node] = set()
        while True:
            partition = Partition(program, barred)
            partition.merge_all()
            leaving = {node for group in partition.groups() if self._is_large(group) for node in _leaving(group, partition, can)}
            if leaving <= barred:
                return partition
            barred |= leaving

    def _is_large(self, group: Group) -> bool:
        return group.has_product and len(group.members) > 1 and multiplications(next(filter(is_product, group.members))) >= self.smallest


def once_for_equal(question: Callable[[Node], bool]) -> Callable[[Node], bool]:
    """`question`, asked once of all nodes that compute the same: those of a model's layers."""
    answers: dict[Any, bool] = {}

    def answer(node: Node) -> bool:
        key = (node.primitive, node.attrs, tuple(operand.type for operand in node.operands), tuple(map(node.operands.index, node.operands)))
        if key not in answers:
            answers[key] = question(node)
        return answers[key]

    return answer


def _leaving(group: Group, partition: Partition, can: Callable[[Node], bool]) -> list[Node]:
    """The members of `group` that the library cannot compute with its product; none where it cannot compute the bare product."""
    for part in _parts(group, partition):
        if can(_as_node(part, partition)):
            return [member for member in group.members if member not in part.members]
    return []


def multiplications(product: Node) -> int:
    """Of scalars, in a dot_general: m * n * k, for every batch."""
    dims = product.operands[0].dims
    depth: int = math.prod(dims[axis] for axis in product.attrs.lhs_contract)
    return product.type.size * depth


def _parts(group: Group, partition: Partition) -> Iterator[Group]:
    """What may remain of a product's group, the longest first: all of it, or all that one of its nodes needs, down to the product."""
    yield group
    product = next(filter(is_product, group.members))
    needs: dict[Node, set[Node]] = {}
    for node in group.members:
        needs[node] = {node}.union(*(needs[source] for source in partition.inputs[node] if source in needs))
    ends = [node for node in group.members if product in needs[node]]
    for end in sorted(ends, key=lambda node: -len(needs[node])):
        dependent = {node for node in needs[end] if product in needs[node]}
        part = _part([node for node in group.members if node in needs[end]], dependent, partition)
        if part is not None and len(part.members) < len(group.members):
            yield part


def _part(members: list[Node], dependent: set[Node], partition: Partition) -> Group | None:
    """The group of `members`, or None where there can be none. Those beside the product (not `dependent` on it) that others read as well
    are no members: they stand in memory then."""
    inside = set(members)
    for node in reversed(members):
        if node not in dependent and any(reader not in inside for reader in partition.readers[node]):
            inside.remove(node)
    kept = [node for node in members if node in inside]
    written = [node for node in kept if node in partition.kept or any(reader not in inside for reader in partition.readers[node])]
    try:
        return Group(kept, partition.classifier.classify(kept, written), written)
    except Illegal:
        return None


def _as_node(part: Group, partition: Partition) -> Node:
    """The node that `part` would become, over the values of the unfused program."""
    inputs = partition.external(part)
    return fused("dot", part.members, inputs, part.written, inputs)
