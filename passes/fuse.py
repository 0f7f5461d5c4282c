"""Fusion: puts nodes that can share a kernel into `fusion` nodes. Runs after the rewrite rules, before `order`.

Starts with every compute node alone and merges a producer's group into its reader's, readers last to first, wherever `groups.classify`
says that one kernel can compute the union and no cycle arises. Then each group of more than one node, or with views to take along,
becomes one `fusion` node that holds a small Program.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.core.primitive import lookup
from graphc.core.program import Node, Origin, Program, make
from graphc.core.types import TensorType
from graphc.passes import groups


@dataclass(frozen=True)
class Fuse:
    """Merges nodes into kernels. `merge=False` gives every compute node its own kernel, with the views that it reads."""

    merge: bool = True
    name: str = "fuse"

    def __call__(self, program: Program) -> Program:
        partition = _Partition(program)
        if self.merge:
            partition.merge_all()
        return _Emitter(program, partition).program()


class _Partition:
    """A partition of the compute nodes into groups, kept acyclic while groups merge."""

    def __init__(self, program: Program) -> None:
        self.position = {node: number for number, node in enumerate(program.nodes)}
        self.members: dict[Node, set[Node]] = {}  # representative -> group
        self.group_of: dict[Node, Node] = {}
        self.readers: dict[Node, list[Node]] = {node: [] for node in program.nodes}  # compute readers, through views
        self.kept = self._stored(program)  # nodes whose value must stand in memory whatever is fused
        for node in program.nodes:
            if groups.is_compute(node) or (node in self.kept and groups.travels(node) and not groups.is_alias(node) and not groups.is_uniform(node)):
                self.members[node] = {node}
                self.group_of[node] = node
        for node in self.group_of:
            for source in self.reads(node):
                self.readers[source].append(node)
        self.kind: dict[Node, groups.Shape | None] = {node: self.classify({node}) for node in self.members}

    def _stored(self, program: Program) -> set[Node]:
        """Nodes read by what is not in any group: outputs, effects, solo operations."""
        stored: set[Node] = set()
        solo: list[Node] = list(program.outputs)
        for node in program.nodes:
            if not groups.is_compute(node) and not groups.travels(node):
                solo.extend(node.operands)
        for node in solo:
            while groups.is_alias(node):
                node = node.operands[0]
            stored.add(node)
        return stored

    def reads(self, node: Node) -> list[Node]:
        """What a member reads from memory or from other members: its operands through views, but not through stored views."""
        found: dict[Node, None] = {}
        stack = list(reversed(node.operands))
        while stack:
            operand = stack.pop()
            if groups.is_view(operand) and operand not in self.group_of:
                stack.extend(reversed(operand.operands))
            else:
                found[operand] = None
        return list(found)

    def written(self, group: set[Node]) -> list[Node]:
        """The members that something outside the group reads."""
        return [n for n in group if n in self.kept or any(reader not in group for reader in self.readers[n])]

    def classify(self, group: set[Node]) -> groups.Shape | None:
        return groups.classify(group, self.position.__getitem__, self.written)

    def merge_all(self) -> None:
        """First what follows a product joins it, while its result is in registers. Then readers last to first, for each its producers
        nearest first; again until nothing changes (a merge can make another legal)."""
        for reader in sorted(self.group_of, key=self.position.__getitem__):
            for producer in self.reads(reader):
                if self.holds_product(producer):
                    self._merge(producer, reader)
        changed = True
        while changed:
            changed = False
            for reader in sorted(self.group_of, key=self.position.__getitem__, reverse=True):
                for producer in sorted(self.reads(reader), key=lambda n: self.position[n], reverse=True):
                    changed |= self._merge(producer, reader)

    def holds_product(self, node: Node) -> bool:
        return node in self.group_of and any(n.name == "dot_general" for n in self.members[self.group_of[node]])

    def _merge(self, producer: Node, reader: Node) -> bool:
        if producer not in self.group_of or groups.is_view(producer):
            return False
        first, second = self.group_of[producer], self.group_of[reader]
        if first is second:
            return False
        union = self.members[first] | self.members[second]
        shape = self.classify(union)
        if shape is None or self._makes_cycle(first, second):
            return False
        self.members[first] = union
        self.kind[first] = shape
        for node in self.members.pop(second):
            self.group_of[node] = first
        return True

    def _makes_cycle(self, first: Node, second: Node) -> bool:
        """Whether a path leads from group `first` to group `second` through a node outside both."""
        inside = self.members[first] | self.members[second]
        last = max(self.position[n] for n in self.members[second])
        stack = [r for n in self.members[first] for r in self._next(n) if r not in inside]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            group = self.group_of.get(node)
            nodes = self.members[group] if group is not None else {node}
            for each in nodes:
                if each in seen:
                    continue
                seen.add(each)
                for reader in self._next(each):
                    if reader in self.members[second]:
                        return True
                    if reader not in inside and reader not in seen and self._start(reader) <= last:
                        stack.append(reader)
        return False

    def _next(self, node: Node) -> list[Node]:
        return self.readers[node]

    def _start(self, node: Node) -> int:
        """The first position in `node`'s group: nothing of the group can come before what reads it there."""
        group = self.group_of.get(node)
        return min(self.position[n] for n in self.members[group]) if group is not None else self.position[node]


class _Emitter:
    """Writes the partition as a Program of fusion nodes."""

    def __init__(self, program: Program, partition: _Partition) -> None:
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
        while stack:
            node = stack[-1]
            if node in self.new:
                stack.pop()
                continue
            group = self.partition.group_of.get(node)
            needs = self._inputs(group) if group is not None else list(node.operands)
            missing = [n for n in needs if n not in self.new]
            if missing:
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

    def _ordered(self, group: Node) -> list[Node]:
        return sorted(self.partition.members[group], key=self.partition.position.__getitem__)

    def _inputs(self, group: Node) -> list[Node]:
        """What the group reads from memory."""
        members = self.partition.members[group]
        found: dict[Node, None] = {}
        for node in self._ordered(group):
            for source in self.partition.reads(node):
                if source not in members and not groups.is_uniform(source) and not (groups.is_cheap_fill(source) and source not in self.partition.group_of):
                    found[source] = None
        return list(found)

    def _fuse(self, group: Node) -> None:
        members = self._ordered(group)
        inputs = self._inputs(group)
        parameters = [_parameter(number, node.type) for number, node in enumerate(inputs)]
        inside: dict[Node, Node] = dict(zip(inputs, parameters, strict=True))
        for node in members:
            self._copy(node, inside, set(members))
        written = [n for n in members if n in self.partition.written(set(members))]
        body = Program(tuple(parameters), tuple(inside[n] for n in written))
        operands = [self.new[n] for n in inputs]
        if len(body.nodes) == len(parameters) + 1 and body.outputs[0].operands == tuple(parameters):
            fused = make(members[0].primitive, operands, members[0].attrs)
        else:
            fusion = lookup("fusion")
            shape = self.partition.kind[group]
            kind = "loop" if shape is None else shape.kind
            fused = make(fusion, operands, fusion.attrs(kind=kind, body=body))
        self._trace(fused, members)
        self._hand_out(fused, written)

    def _hand_out(self, fused: Node, written: Sequence[Node]) -> None:
        if len(written) == 1:
            self.new[written[0]] = fused
            return
        pick = lookup("get_tuple_element")
        for number, node in enumerate(written):
            self.new[node] = make(pick, (fused,), pick.attrs(index=number))
            self._trace(self.new[node], [node])

    def _copy(self, node: Node, inside: dict[Node, Node], members: set[Node]) -> None:
        """Rebuilds `node` over the body's parameters, with the views and uniform constants that it takes along."""
        stack = [(node, False)]
        while stack:
            each, ready = stack.pop()
            if each in inside:
                continue
            if not ready:
                stack.append((each, True))
                stack.extend((o, False) for o in reversed(each.operands) if o not in inside)
                continue
            inside[each] = make(each.primitive, [inside[o] for o in each.operands], each.attrs)


def _parameter(number: int, type_: TensorType) -> Node:
    parameter = lookup("parameter")
    return make(parameter, (), parameter.attrs(name=f"p{number}", type=type_))
