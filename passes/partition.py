"""Decides which compute nodes share a kernel: a partition of them into groups, kept acyclic while groups merge. Used by `fuse`.

Starts with every node alone and merges groups wherever `groups.Classifier` knows a kernel for the union and no cycle arises:

1. What follows a matrix product joins it, while its result is in registers (but for what is better made again where it is used).
2. Producers join their readers: readers last to first, for each its nearest producer first, until nothing changes.
3. Reductions that read the same large value join, to read it once (the gradients of a layer norm's gain and bias); so do kernels of a
   few numbers (the powers of Adam's betas).

Groups have labels that keep them in a valid order, so that a path between two that might merge can only lead through groups whose labels
lie between theirs: that little is searched. What merging must move gets new labels, each by extending one that was given up.

The whole is near linear: a merge that failed is tried again only when one of the two groups has changed, and a search that does not end
soon counts as a path.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from itertools import pairwise

from graphc.core.program import Node, Program
from graphc.passes.groups import (
    Classifier,
    Illegal,
    Shape,
    is_alias,
    is_compute,
    is_map,
    is_product,
    is_reduction,
    is_scatter,
    is_uniform,
    is_view,
    keeps_place,
    travels,
)

SEARCH = 256  # groups between two looked at from each end, before a path through them is assumed
TINY = 64  # bytes
CYCLE = "another kernel stands between them"
FAR = "too many kernels between them to be sure that none needs both"
BARRED = "a library computes the product without it"


Label = tuple[int, ...]


class Group:
    """Nodes that share a kernel, in order; `shape` is what kernel that is (None for a node alone that only has a kernel of its own).
    label: less than those of all groups that read this one."""

    __slots__ = ("failed", "has_product", "has_reduction", "label", "members", "shape", "written")

    def __init__(self, members: list[Node], shape: Shape | None, written: list[Node], label: Label = ()) -> None:
        self.label = label
        self.members = members
        self.shape = shape
        self.written = written  # the members that something outside reads
        self.failed: dict[Group, str] = {}  # groups that cannot join this one as it is: why
        self.has_product = any(map(is_product, members))
        self.has_reduction = any(map(is_reduction, members))


class Partition:
    """The groups of a program's compute nodes: `group_of` gives each node's. Those that are `barred` share no kernel with a product."""

    def __init__(self, program: Program, barred: Collection[Node] = frozenset()) -> None:
        self.program = program
        self.barred = barred
        self.position = {node: number for number, node in enumerate(program.nodes)}
        self.classifier = Classifier()
        self.kept = _stored(program)  # nodes whose value must stand in memory whatever is fused
        members = {node: None for node in program.nodes if self._is_member(node)}
        apart = [node for node in program.nodes if node not in members and node.operands and not travels(node)]
        self.inputs = {node: _inputs(node, members) for node in (*members, *apart)}
        self.readers: dict[Node, list[Node]] = {node: [] for node in program.nodes}
        for node, sources in self.inputs.items():
            for source in sources:
                self.readers[source].append(node)
        self.group_of = {node: self._alone(node) for node in members}
        # Those that merge with nobody, but stand between groups.
        self.apart = {node: Group([node], None, [node], (self.position[node],)) for node in apart}

    def _is_member(self, node: Node) -> bool:
        if travels(node):
            return node in self.kept and not is_alias(node)
        return is_compute(node)

    def _alone(self, node: Node) -> Group:
        try:
            shape = None if is_view(node) else self.classifier.classify([node], [node])
        except Illegal:
            shape = None
        return Group([node], shape, [node], (self.position[node],))

    def groups(self) -> list[Group]:
        """Every group once, by its first member."""
        return list(dict.fromkeys(self.group_of.values()))

    def external(self, group: Group) -> list[Node]:
        """What `group` reads from memory; constants of one element and cheap fills it makes itself."""
        inside = set(group.members)
        sources = dict.fromkeys(source for node in group.members for source in self.inputs[node])
        return [s for s in sources if s not in inside and (s in self.group_of or not travels(s))]

    # Merging --------------------------------------------------------------------------------------------------------------------------

    def merge_all(self) -> None:
        later = self._better_later()
        for reader in list(self.group_of):
            for producer in self.inputs[reader]:
                if producer in self.group_of and self.group_of[producer].has_product and reader not in later:
                    self._merge(producer, reader)
        changed = True
        while changed:
            changed = False
            for reader in reversed(list(self.group_of)):
                for producer in sorted(self.inputs[reader], key=self.position.__getitem__, reverse=True):
                    changed |= self._merge(producer, reader)
        self._merge_siblings()

    def _better_later(self) -> set[Node]:
        """The maps after a product that are better computed where they are used: by another product's maps, from values that are stored
        anyway. The derivative of tanh, 1 - h * h, comes from the h that the next layer reads: beside h it would be stored as well."""
        follows: dict[Node, Node | None] = {}  # a product, or a map of its result -> that product; None where there are several
        for node, sources in self.inputs.items():
            if is_product(node):
                follows[node] = node
            elif is_map(node) and any(source in follows for source in sources):
                products = {follows[source] for source in sources if source in follows}
                follows[node] = products.pop() if len(products) == 1 else None
        later: set[Node] = set()
        for node in reversed(list(follows)):
            readers = self.readers[node]
            if is_map(node) and follows[node] and node not in self.kept and readers and all(
                    reader in later or follows.get(reader, node) is None for reader in readers):
                later.add(node)
        for node in follows:
            sources = [source for source in self.inputs[node] if source in follows]
            if node in later and not all(source in later or self._is_stored_anyway(source) for source in sources):
                later.remove(node)
        return later

    def _is_stored_anyway(self, node: Node) -> bool:
        return node in self.kept or not all(is_map(reader) for reader in self.readers[node])

    def _merge_siblings(self) -> None:
        for source in self.program.nodes:
            reading = dict.fromkeys(self.group_of[reader] for reader in self.readers[source] if reader in self.group_of)
            found = [group for group in reading if _is_tiny(group) or _is_small_reduction(group, source)]
            for first, second in pairwise(found):
                if self.group_of[first.members[0]] is first and self.group_of[second.members[0]] is second:
                    self._merge(first.members[0], second.members[0])

    def _merge(self, producer: Node, reader: Node) -> bool:
        """Merges the groups of two nodes where that can be; says whether it did."""
        first, second = self.group_of.get(producer), self.group_of[reader]
        if first is None or first is second or second in first.failed:
            return False
        try:
            merged, moved = self._union(first, second)
        except Illegal as reason:
            first.failed[second] = str(reason)
            return False
        for group, label in moved.items():
            group.label = label
        for node in merged.members:
            self.group_of[node] = merged
        return True

    def _union(self, first: Group, second: Group) -> tuple[Group, dict[Group, Label]]:
        """The group of the members of both, and the labels that others must have then; Illegal where there can be none."""
        if first.has_product and second.has_product:  # what `classify` would find in the end, and by far the most frequent
            raise Illegal("two products")
        if any(map(is_view, first.members)):
            raise Illegal("a view that is stored")
        if self.barred and (first.has_product or second.has_product) and any(n in self.barred for n in (*first.members, *second.members)):
            raise Illegal(BARRED)
        members = sorted((*first.members, *second.members), key=self.position.__getitem__)
        inside = set(members)
        written = [n for n in (*first.written, *second.written) if n in self.kept or any(r not in inside for r in self.readers[n])]
        shape = self.classifier.classify(members, written)
        if self._would_hold_more(first, second):
            raise Illegal("would keep more alive and read nothing less")
        label, moved = self._label(first, second)
        return Group(members, shape, sorted(written, key=self.position.__getitem__), label), moved

    def _would_hold_more(self, first: Group, second: Group) -> bool:
        """Whether `first` only passes something small to `second`, and both read something large that the other does not: apart, the
        input of one can die before that of the other is made."""
        if not first.has_reduction:
            return False
        passed = sum(node.type.nbytes for node in first.written)
        large = [{s for s in self.external(group) if not s.is_tuple and s.type.nbytes > 4 * passed} for group in (first, second)]
        return all(large) and not large[0] & large[1]

    def _label(self, first: Group, second: Group) -> tuple[Label, dict[Group, Label]]:
        """The label of the union of two groups, and new ones for those between them that need the one or are needed by the other; Illegal
        where a group between them does both.

        Both ends are searched in turns. As soon as all that follows the lower one up to the higher is known, the union can stand in the
        higher one's place and all that behind it; and so the other way round.
        """
        low, high = sorted((first, second), key=lambda group: group.label)
        following: list[Group] = []
        preceding: list[Group] = []
        forwards = self._walk(low, high, self._readers_of, lambda group: group.label < high.label, following)
        backwards = self._walk(high, low, self._read_by, lambda group: low.label < group.label, preceding)
        for _ in range(SEARCH):
            if next(forwards, None) is None:
                return _placed(high.label, 0, following, 1)
            if next(backwards, None) is None:
                return _placed(low.label, 1, preceding, 0)
        raise Illegal(FAR)

    @staticmethod
    def _walk(start: Group, goal: Group, next_to: Callable[[Group], Iterator[Group]], is_between: Callable[[Group], bool],
              found: list[Group]) -> Iterator[Group]:
        """Visits the groups that lie next to `start` and on from there, as far as they are between, and adds them to `found`. Illegal on
        arrival at `goal` through one of them."""
        seen = {start, goal}
        stack = [group for group in next_to(start) if group is not goal]
        while stack:
            group = stack.pop()
            if group in seen or not is_between(group):
                continue
            seen.add(group)
            found.append(group)
            for each in next_to(group):
                if each is goal:
                    raise Illegal(CYCLE)
                stack.append(each)
            yield group

    def _readers_of(self, group: Group) -> Iterator[Group]:
        return (self._place(reader) for node in group.written for reader in self.readers[node])

    def _read_by(self, group: Group) -> Iterator[Group]:
        return (self._place(source) for node in group.members for source in self.inputs[node] if source in self.inputs)

    def _place(self, node: Node) -> Group:
        return self.group_of[node] if node in self.group_of else self.apart[node]

    # Reasons --------------------------------------------------------------------------------------------------------------------------

    def separations(self) -> Iterator[tuple[Node, Node, str]]:
        """For every two groups of which one reads the other: the value, a reader, and why the groups did not merge."""
        seen: set[tuple[Group, Group]] = set()
        for reader, sources in self.inputs.items():
            for source in sources:
                first, second = self.group_of.get(source), self.group_of.get(reader)
                if first is None or second is None or first is second or (first, second) in seen:
                    continue
                seen.add((first, second))
                yield source, reader, first.failed.get(second) or self._obstacle(first, second)

    def _obstacle(self, first: Group, second: Group) -> str:
        try:
            self._union(first, second)
        except Illegal as reason:
            return str(reason)
        return "not tried"


def _placed(label: Label, own: int, others: Sequence[Group], side: int) -> tuple[Label, dict[Group, Label]]:
    """The label of a union that takes the place of `label`, and those of `others`, which stand on one side of it then: extensions of a
    label that nobody has any more, so that nothing else lies between them."""
    if not others:
        return label, {}
    ordered = sorted(others, key=lambda group: group.label)
    return (*label, own), {group: (*label, side, number) for number, group in enumerate(ordered)}


def _is_tiny(group: Group) -> bool:
    """Whether a group computes so little that calling it is most of the work."""
    return group.shape is not None and group.shape.kind == "loop" and sum(node.type.nbytes for node in group.written) <= TINY


def _is_small_reduction(group: Group, source: Node) -> bool:
    """Whether a group reduces `source` to something much smaller, so that reading it is most of the work."""
    total = sum(node.type.nbytes for node in group.written)
    return group.has_reduction and 4 * total <= (0 if source.is_tuple else source.type.nbytes)


def _stored(program: Program) -> set[Node]:
    """Nodes read by what is not in any group: outputs, effects, and operations that have a kernel of their own."""
    readers = [node for node in program.nodes if not is_compute(node) and not travels(node)]
    stored = {view for node in program.nodes if is_product(node) for view in map(_awkward, node.operands) if view is not None}
    stored |= {view for node in program.nodes if is_compute(node) for view in map(_below_windows, node.operands) if view is not None}
    updated = (node.operands[0] for node in program.nodes if is_scatter(node))  # which the scatter is then written over
    for node in (*program.outputs, *updated, *(operand for reader in readers for operand in reader.operands)):
        while is_alias(node):
            node = node.operands[0]
        stored.add(node)
    return {node for node in stored if not is_uniform(node)}


def _awkward(operand: Node) -> Node | None:
    """The transpose below `operand` of a product where a reshape between them leaves no strides to read it by: packing it would cost more
    than the product's own arithmetic, storing it costs nothing where the product that makes it stores it so."""
    reshaped = False
    while is_view(operand) and len(operand.operands) == 1:
        if operand.name == "transpose" and reshaped and not keeps_place(operand):
            return operand
        before, after = ([dim for dim in dims if dim != 1] for dims in (operand.operands[0].dims, operand.dims))
        reshaped = reshaped or (operand.name == "reshape" and before != after)
        operand = operand.operands[0]
    return None


def _below_windows(operand: Node) -> Node | None:
    """The transpose below windows that `operand` shows, where it moves the innermost axis: each element is read for every tap, so that
    putting the elements in order once is the cheapest way to read them side by side."""
    while is_view(operand) and operand.name not in ("windows", "transpose"):
        operand = operand.operands[0]
    if operand.name != "windows":
        return None
    while is_view(operand) and operand.name != "transpose":
        operand = operand.operands[0]
    if operand.name != "transpose":
        return None
    inner = [axis for axis in operand.attrs.permutation if operand.operands[0].dims[axis] != 1]
    return operand if inner and inner[-1] != max(inner) else None


def _inputs(node: Node, members: Container[Node]) -> list[Node]:
    """What `node` reads from memory or from other members: its operands through views, but not through views that are stored."""
    found: dict[Node, None] = {}
    stack = list(reversed(node.operands))
    while stack:
        operand = stack.pop()
        if is_view(operand) and operand not in members:
            stack.extend(reversed(operand.operands))
        else:
            found[operand] = None
    return list(found)
