"""Fusion: puts nodes that can share a kernel into `fusion` nodes. Runs after the rewrite rules, before `order`.

    %2 = add(%0, %1)                 %2 = fusion(%0, %1) {kind = "loop", body = program {
    %3 = tanh(%2)             ->       ... add, tanh over parameters ...
                                     }}

`partition` decides which nodes go together, by what `groups` says one kernel can compute. Here each group of more than one node, or with
views to take along, becomes one `fusion` node that holds a small Program.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.core.primitive import lookup
from graphc.core.program import Node, Origin, Program, make
from graphc.core.types import TensorType
from graphc.passes.partition import Group, Partition


@dataclass(frozen=True)
class Fuse:
    """Merges nodes into kernels. `merge=False` gives every compute node its own kernel, with the views that it reads."""

    merge: bool = True
    name: str = "fuse"

    def __call__(self, program: Program) -> Program:
        return emit(program, self._partition(program))

    def explain(self, program: Program) -> list[tuple[Node, Node, str]]:
        """For every two kernels of which one reads the other: a node of the first, the node of the second that reads it, and why they
        are not one kernel. The nodes are those of `program`, before fusion."""
        return list(self._partition(program).separations())

    def _partition(self, program: Program) -> Partition:
        partition = Partition(program)
        if self.merge:
            partition.merge_all()
        return partition


def emit(program: Program, partition: Partition) -> Program:
    """`program` with a fusion node in the place of each group of `partition`."""
    return _Emitter(program, partition).program()


def fused(kind: str, members: Sequence[Node], inputs: Sequence[Node], written: Sequence[Node], operands: Sequence[Node]) -> Node:
    """One node that computes `members` from `inputs`, which are given as `operands`, and gives `written`; a plain one where no fusion is
    needed."""
    parameters = [_parameter(number, node.type) for number, node in enumerate(inputs)]
    inside: dict[Node, Node] = dict(zip(inputs, parameters, strict=True))
    for node in members:
        _copy(node, inside)
    body = Program(tuple(parameters), tuple(inside[n] for n in written))
    if len(body.nodes) == len(parameters) + 1 and body.outputs[0].operands == tuple(parameters):
        return make(members[0].primitive, operands, members[0].attrs)
    fusion = lookup("fusion")
    return make(fusion, operands, fusion.attrs(kind=kind, body=body))


class _Emitter:
    """Writes the partition as a Program of fusion nodes."""

    def __init__(self, program: Program, partition: Partition) -> None:
        self.old = program
        self.partition = partition
        self.new: dict[Node, Node] = {}
        self.origins: dict[Node, tuple[Origin, ...]] = {}

    def program(self) -> Program:
        for node in (*self.old.outputs, *self.old.effects):
            self._make(node)
        outputs = tuple(self.new[n] for n in self.old.outputs)
        effects = tuple(self.new[n] for n in self.old.effects)
        return Program(self.old.parameters, outputs, effects, origins=self.origins)

    def _make(self, wanted: Node) -> None:
        """Builds the new form of `wanted` and of what it needs; a group is built when its last input is there."""
        stack = [wanted]
        waiting: set[Node] = set()
        while stack:
            node = stack[-1]
            if node in self.new:
                stack.pop()
                continue
            group = self.partition.group_of.get(node)
            needs = self.partition.external(group) if group is not None else list(node.operands)
            missing = [n for n in needs if n not in self.new]
            if missing and node in waiting:
                raise RuntimeError(f"kernels wait for each other: {node!r} for {missing[0]!r}")
            if missing:
                waiting.add(node)
                stack.extend(missing)
            elif group is not None:
                self._fuse(group)
            else:
                self._keep(node)

    def _keep(self, node: Node) -> None:
        same = all(self.new[o] is o for o in node.operands)
        new = node if same else make(node.primitive, [self.new[o] for o in node.operands], node.attrs)
        self.new[node] = new
        self._trace(new, [node])

    def _trace(self, new: Node, olds: Iterable[Node]) -> None:
        found = [o for old in olds for o in self.old.origins.get(old, ())]
        if found:
            self.origins[new] = tuple(dict.fromkeys((*self.origins.get(new, ()), *found)))

    def _fuse(self, group: Group) -> None:
        inputs = self.partition.external(group)
        kind = "loop" if group.shape is None else group.shape.kind
        made = fused(kind, group.members, inputs, group.written, [self.new[n] for n in inputs])
        self._trace(made, group.members)
        self._hand_out(made, group.written)

    def _hand_out(self, made: Node, written: Sequence[Node]) -> None:
        if len(written) == 1:
            self.new[written[0]] = made
            return
        pick = lookup("get_tuple_element")
        for number, node in enumerate(written):
            self.new[node] = make(pick, (made,), pick.attrs(index=number))
            self._trace(self.new[node], [node])


def _copy(node: Node, inside: dict[Node, Node]) -> None:
    """Rebuilds `node` over the body's parameters, with the views and uniform constants that it takes along."""
    stack = [node]
    while stack:
        each = stack[-1]
        missing = [operand for operand in each.operands if operand not in inside] if each not in inside else []
        if not missing:
            stack.pop()
            inside.setdefault(each, make(each.primitive, [inside[o] for o in each.operands], each.attrs))
        stack.extend(reversed(missing))


def _parameter(number: int, type_: TensorType) -> Node:
    parameter = lookup("parameter")
    return make(parameter, (), parameter.attrs(name=f"p{number}", type=type_))
