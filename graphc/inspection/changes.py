"""What one pass did to a Program: the difference between two stages, node by node, with the rules that made it.

A pass gives back a new Program and says little of how the old one became it. Where it is a table of rules, it left a record: which rule
replaced which node, and the final form of each (`Stage.applied`, `Stage.became`). Of others the nodes tell: they are interned, so a node
that is in both Programs is the same object; one with the same primitive over the images of its operands is the same node, rebuilt; and what
stands in an output's place replaces it.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from graphc.core.program import Node, Origin, Program
from graphc.inspection.inlined import Inlined, rebuilt
from graphc.passes.groups import is_view
from graphc.passes.pipelines import Stage
from graphc.passes.record import Applied

KINDS = ("replaced", "removed", "added", "fused", "rebuilt")


@dataclass(frozen=True)
class Change:
    """One difference. kind: "replaced" (by what stands in `after`), "removed" (nothing reads it any more; or it equals what stands in
    `after`), "added" (for no node in particular), "fused" (computed by the kernel `after`), "rebuilt" (the same over other operands).
    before, after: nodes of the Programs before and after. rule: what did it, with its line of mathematics; why: in words."""

    kind: str
    before: tuple[Node, ...]
    after: tuple[Node, ...]
    rule: str = ""
    why: str = ""


@dataclass(frozen=True)
class Difference:
    """All changes of one stage. image: for each node before, fusions taken apart, what it became, None where it is gone; `gone` says why.
    made: the nodes that were made in its place, where it was replaced."""

    changes: tuple[Change, ...]
    image: Mapping[Node, Node | None]
    made: Mapping[Node, tuple[Node, ...]]
    gone: Mapping[Node, str]


def difference(before: Program, stage: Stage) -> Difference:
    """What the pass of `stage` made of `before`, its Program."""
    return _Comparison(before, stage).difference()


class _Comparison:
    def __init__(self, before: Program, stage: Stage) -> None:
        self.before, self.after = before, stage.program
        self.old, self.new = Inlined(before), Inlined(stage.program)
        self.became = stage.became
        self.by_node = {each.before: each for each in stage.applied}
        self.image: dict[Node, Node | None] = {}
        self.rules: dict[Node, tuple[Applied, ...]] = {}
        self.made: dict[Node, tuple[Node, ...]] = {}
        self.claimed: set[Node] = set()  # nodes after that a change has named

    def difference(self) -> Difference:
        self._find_images()
        changes = [*self._replaced_and_gone(), *self._added(), *self._fused(), *self._rebuilt()]
        gone = {node: "; then ".join(map(str, self.rules.get(node, ()))) or self.why_gone(node)
                for node, image in self.image.items() if image is None}
        return Difference(tuple(changes), self.image, self.made, gone)

    # Images ---------------------------------------------------------------------------------------------------------------------------

    def _find_images(self) -> None:
        for node in self.old.inside:
            if self.became and node in self.became:
                self.rules[node] = self._rules_of(node)
                image: Node | None = self.became[node]
            else:
                image = self._same(node)
            self.image[node] = self._present(image)
        if not self.became:
            self._align()

    def _present(self, node: Node | None) -> Node | None:
        """`node` where the Program after has it; else what it is a view of: its readers took the change of index upon themselves."""
        while node is not None and node not in self.new.inside:
            node = node.operands[0] if is_view(node) and len(node.operands) == 1 else None
        return node

    def _rules_of(self, node: Node) -> tuple[Applied, ...]:
        """The rules that led from `node` to its final form. A rule sees a node over the final forms of its operands."""
        found: list[Applied] = []
        while True:
            seen = rebuilt(node, [self.became.get(operand, operand) for operand in node.operands])
            applied = self.by_node.get(seen)
            if applied is None or applied in found:
                return tuple(found)
            found.append(applied)
            node = applied.after

    def _same(self, node: Node) -> Node | None:
        if node in self.new.inside:
            return node
        operands = [self.image.get(operand) or operand for operand in node.operands]
        found = rebuilt(node, operands) if [o.types for o in operands] == [o.types for o in node.operands] else node
        return found if found in self.new.inside else None

    def _align(self) -> None:
        """What stands in an output's place replaces it, and so on down, as long as both are the same operation."""
        old, new = ([*program.outputs, *program.effects] for program in (self.before, self.after))
        pairs = [(self.old.one(a), self.new.one(b)) for a, b in zip(old, new, strict=False)]
        seen: set[Node] = set()
        while pairs:
            node, image = pairs.pop()
            if node is image or node in seen:
                continue
            seen.add(node)
            if self.image.get(node) is None:
                self.image[node] = image
            if node.primitive is image.primitive and len(node.operands) == len(image.operands):
                pairs += zip(node.operands, image.operands, strict=True)

    # Changes --------------------------------------------------------------------------------------------------------------------------

    def _replaced_and_gone(self) -> Iterable[Change]:
        images = {image for image in self.image.values() if image is not None}
        firsts: dict[Node, Node] = {}
        for node in self.before.nodes:
            for value in self.old.members[node]:
                image, rules = self.image[value], self.rules.get(value, ())
                rule = "; then ".join(map(str, rules))
                if image is value:
                    firsts.setdefault(image, value)
                elif image is None:
                    made = self._new_below(self.became.get(value, value), images) or self._carried(node, images)
                    if made:  # its last form was taken apart again by those that read it; or parts stand for it, as for complex numbers
                        self.image[value], self.made[value] = made[-1], tuple(made)
                        yield Change("replaced", (node,), self._where(made), rule)
                    else:
                        yield Change("removed", (node,), (), rule, self.why_gone(value))
                elif rules or image.primitive is not value.primitive:
                    made = self._new_below(image, images)
                    self.made[value] = tuple(made)
                    if made or not rules:
                        yield Change("replaced", (node,), self._where(made or [image]), rule)
                    else:
                        yield Change("removed", (node,), self._where([image]), rule, "another node is its value")
                elif image in firsts or image in self.old.inside:
                    yield Change("removed", (node,), self._where([image]), rule, "it equals another node")
                else:
                    firsts[image] = value

    def why_gone(self, value: Node) -> str:
        """Why `value` is not computed any more, by what became of those that read it."""
        found = dict.fromkeys(f"{reader.name} ({rule})" for reader in self.readers.get(value, ()) for rule in self.rules.get(reader, ()))
        return "nothing reads it any more" + (f" since its reader changed: {'; '.join(found)}" if found else "")

    @cached_property
    def readers(self) -> Mapping[Node, list[Node]]:
        found: dict[Node, list[Node]] = {}
        for node in self.old.inside:
            for operand in dict.fromkeys(node.operands):
                found.setdefault(operand, []).append(node)
        return found

    def _new_below(self, root: Node, images: set[Node]) -> list[Node]:
        """`root` and what was made for it: nodes that no node before became, and that no other change has named."""
        found: list[Node] = []
        stack = [root]
        while stack:
            node = stack.pop()
            known = node in self.old.inside or (node in images and node is not root)
            if node in self.claimed or known:
                continue
            if node in self.new.inside:
                self.claimed.add(node)
                found.append(node)
            stack.extend(node.operands)
        return found[::-1]

    def _carried(self, node: Node, images: set[Node]) -> list[Node]:
        """Of a pass that left no record: what is new, was made for the same operations as `node`, and no other change has named."""
        if self.became or node.name == "fusion":
            return []
        made = dict.fromkeys(each for origin in self.before.origins.get(node, ()) for each in self._made_for.get(origin, ()))
        found = [each for each in made if each not in images and each not in self.claimed]
        self.claimed.update(found)
        return found

    @cached_property
    def _made_for(self) -> Mapping[Origin, list[Node]]:
        """For each operation of the user's graph the nodes that the pass made for it."""
        found: dict[Origin, list[Node]] = {}
        for node in self.after.nodes:
            if node.name != "fusion" and node not in self.old.inside:
                for origin in self.after.origins.get(node, ()):
                    found.setdefault(origin, []).append(node)
        return found

    def _added(self) -> Iterable[Change]:
        images = {image for image in self.image.values() if image is not None}
        for node in self.after.nodes:
            new = [value for value in self.new.members[node] if value not in images and value not in self.claimed]
            if new:
                yield Change("added", (), (node,))

    def _fused(self) -> Iterable[Change]:
        """One change for each kernel that was not there before, with the nodes that went into it."""
        where: dict[Node, list[Node]] = {}
        for node in self.before.nodes:
            for value in self.old.members[node]:
                image = self.image[value]
                for kernel in self.new.inside.get(image, ()) if image is not None else ():
                    where.setdefault(kernel, []).append(node)
        old = set(self.before.nodes)
        for node in self.after.nodes:
            if node.name == "fusion" and node not in old:
                yield Change("fused", tuple(dict.fromkeys(where.get(node, ()))), (node,), "", f"one {node.attrs.kind} kernel")

    def _rebuilt(self) -> Iterable[Change]:
        for node in self.before.nodes:
            for value in self.old.members[node] if node.name != "fusion" else ():
                image = self.image[value]
                if image is not None and image is not value and image.primitive is value.primitive and not self.rules.get(value):
                    yield Change("rebuilt", (node,), self._where([image]))

    def _where(self, values: Iterable[Node]) -> tuple[Node, ...]:
        """The nodes of the Program after that compute `values`."""
        return tuple(dict.fromkeys(node for value in values for node in self.new.inside.get(value, ())[:1]))
