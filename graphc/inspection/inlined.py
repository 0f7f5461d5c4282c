"""A fused Program seen as if it were not: which nodes each of its steps computes.

Nodes are interned, so that what a `fusion` holds turns out to be the very nodes that stood in the Program before it was fused.
"""
from __future__ import annotations

from graphc.core.program import Node, Program, make


class Inlined:
    """The nodes of `program` with every fusion's body in its place.

    value: for each node of the program what it computes, as nodes without fusions. inside: for each of those the nodes of the program that
    compute it, in order (several, where it is computed again). members: for each node of the program what it computes on the way.
    """

    def __init__(self, program: Program) -> None:
        self.value: dict[Node, tuple[Node, ...]] = {}
        self.inside: dict[Node, list[Node]] = {}
        self.members: dict[Node, tuple[Node, ...]] = {}
        for node in program.nodes:
            self._add(node)

    def one(self, node: Node) -> Node:
        """The node that `node` computes, where it has one result."""
        (found,) = self.value[node]
        return found

    def _add(self, node: Node) -> None:
        if node.name == "get_tuple_element" and len(self.value[node.operands[0]]) > 1:
            self.value[node] = (self.value[node.operands[0]][node.attrs.index],)
            self.members[node] = ()
            return
        operands = [self.one(operand) if not operand.is_tuple else operand for operand in node.operands]
        if node.name == "fusion":
            body: Program = node.attrs.body
            new = dict(zip(body.parameters, operands, strict=True))
            for each in body.nodes:
                if each not in new:
                    new[each] = rebuilt(each, [new[operand] for operand in each.operands])
            self.value[node] = tuple(new[output] for output in body.outputs)
            self.members[node] = tuple(dict.fromkeys(new[each] for each in body.nodes if each not in body.parameters))
        else:
            self.members[node] = self.value[node] = (rebuilt(node, operands),)
        for member in self.members[node]:
            self.inside.setdefault(member, []).append(node)


def rebuilt(node: Node, operands: list[Node]) -> Node:
    """`node` over other operands; itself where they are the same."""
    same = all(new is old for new, old in zip(operands, node.operands, strict=True))
    return node if same else make(node.primitive, operands, node.attrs)
