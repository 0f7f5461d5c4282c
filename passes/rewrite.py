"""The rewrite engine: applies rules (tables in `rules_*.py`) bottom-up until nothing changes.

A rule is data: a name, the line of mathematics that it states, the primitive at its root, and a function from a node to its replacement, or None
where the rule does not apply. Its `examples` build nodes on which it must fire: the tests check each against the reference interpreter.

Canonical form (rules are built only from it, so they never fight): a uniform constant is `broadcast_in_dim` of a scalar constant; the constant
operand of a commutative operation stands second; subtraction of a constant is addition of its negative; division by a floating constant that
has an exact reciprocal is multiplication; views stand below maps where that saves work; one view of a kind instead of two in a row.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphc.core.program import Node, Program, make

STEPS_PER_NODE = 40  # rewrites allowed, per node of the program; more means a cycle


@dataclass(frozen=True)
class Rule:
    """One rewrite. maths: "x + 0 = x". root: the primitive's name, or "*" for any. apply(node) -> replacement or None. examples: functions that build a node."""

    name: str
    maths: str
    root: str
    apply: Callable[[Node], Node | None]
    examples: tuple[Callable[[], Node], ...] = ()


class RewriteLoop(RuntimeError):
    """Rules undo each other: the message lists the last ones applied."""


@dataclass(frozen=True)
class Rewrite:
    """Applies a table of rules to every node, operands first, until none applies."""

    rules: tuple[Rule, ...]
    name: str = "rewrite"
    fired: dict[str, int] = field(default_factory=dict, compare=False, repr=False)  # rule name -> times, of the last run

    def __call__(self, program: Program) -> Program:
        self.fired.clear()
        return _Rewriter(program, self.rules, self.fired).program()


class _Rewriter:
    def __init__(self, program: Program, rules: Sequence[Rule], fired: dict[str, int]) -> None:
        self.source = program
        self.by_root: dict[str, list[Rule]] = {}
        for rule in rules:
            self.by_root.setdefault(rule.root, []).append(rule)
        self.fired = fired
        self.done: dict[Node, Node] = {}  # node -> its final form
        self.budget = STEPS_PER_NODE * (len(program.nodes) + 25)
        self.recent: list[str] = []

    def program(self) -> Program:
        for node in self.source.nodes:
            self.simplify(node)
        mapping = {node: self.done[node] for node in self.source.nodes if self.done[node] is not node}
        return self.source.rewritten(mapping) if mapping else self.source

    def simplify(self, wanted: Node) -> Node:
        """The final form of `wanted`. Works off a stack: replacements may be deep."""
        stack = [wanted]
        while stack:
            node = stack[-1]
            if node in self.done:
                stack.pop()
                continue
            missing = [operand for operand in node.operands if operand not in self.done]
            if missing:
                stack.extend(missing)
                continue
            rebuilt = self._with_final_operands(node)
            replacement = self._first_match(rebuilt) if rebuilt not in self.done else self.done[rebuilt]
            if replacement is None or replacement is rebuilt:
                self.done[rebuilt] = self.done[node] = self.done.get(rebuilt, rebuilt)
                stack.pop()
            elif replacement in self.done:
                self.done[node] = self.done[rebuilt] = self.done[replacement]
                stack.pop()
            else:
                stack.append(replacement)
        return self.done[wanted]

    def _with_final_operands(self, node: Node) -> Node:
        operands = tuple(self.done[operand] for operand in node.operands)
        return node if operands == node.operands else make(node.primitive, operands, node.attrs)

    def _first_match(self, node: Node) -> Node | None:
        for rule in (*self.by_root.get(node.name, ()), *self.by_root.get("*", ())):
            replacement = rule.apply(node)
            if replacement is not None and replacement is not node:
                self._count(rule, node, replacement)
                return replacement
        return None

    def _count(self, rule: Rule, before: Node, after: Node) -> None:
        if before.types != after.types:
            raise TypeError(f"rule {rule.name!r} changed the type of {before!r} to {', '.join(map(str, after.types))}")
        self.fired[rule.name] = self.fired.get(rule.name, 0) + 1
        self.recent = [*self.recent[-11:], f"{rule.name}: {before!r} -> {after!r}"]
        self.budget -= 1
        if self.budget < 0:
            raise RewriteLoop("the rewrite rules do not come to an end; the last were\n  " + "\n  ".join(self.recent))
