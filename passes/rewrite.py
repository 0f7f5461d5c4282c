"""The rewrite engine: applies rules (tables in `rules_*.py`) bottom-up until nothing changes.

A rule is data: a name, the line of mathematics that it states, the primitive at its root, a function from a node to its replacement (None
where the rule does not apply), and examples on which it must fire: the tests check each against the reference interpreter.

Canonical form. Rules are built only from it, so they never fight: a uniform constant is `broadcast_in_dim` of a scalar constant; the
constant operand of a commutative operation stands second; subtraction of a constant is addition of its negative; division by a floating
constant is multiplication by its reciprocal; views of one kind in a row are one view; a map of broadcasts is a broadcast of the map, and
a map of one reshape a reshape of the map, so that views stand after arithmetic and there is less of it.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.core.program import Node, Program, make
from graphc.passes.record import Applied, note, note_forms

STEPS_PER_NODE = 20  # rewrites allowed, per node of the program; more means a cycle
RECENT = 6  # rewrites that the message about a cycle shows


@dataclass(frozen=True)
class Rule:
    """One rewrite. `maths`: "x + 0 = x", or "~" for "=" where results may differ by rounding. `root`: the primitive's name, "*" for any.
    `apply` gives the replacement or None. `examples`: nodes on which the rule fires."""

    name: str
    maths: str
    root: str
    apply: Callable[[Node], Node | None]
    examples: tuple[Node, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the replacement has the same value always, infinities and NaN included (the sign of a zero is free)."""
        return "~" not in self.maths


class RuleFailed(RuntimeError):
    """A rule raised: the message says which, on what node, and what."""


class RewriteLoop(RuntimeError):
    """Rules undo each other: the message lists the last ones applied."""


@dataclass(frozen=True)
class Rewrite:
    """Applies a table of rules to every node, operands first, until none applies, or (to bisect) `limit` times at most."""

    rules: tuple[Rule, ...]
    name: str = "rewrite"
    limit: int | None = None

    def __call__(self, program: Program) -> Program:
        return _Rewriter(program, self.rules, self.limit).program()


class _Rewriter:
    def __init__(self, program: Program, rules: Sequence[Rule], limit: int | None) -> None:
        self.source = program
        self.by_root: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            self.by_root[rule.root].append(rule)
        self.limit = limit
        self.done: dict[Node, Node] = {}  # node -> its final form
        self.pending: dict[Node, Node] = {}  # node -> its replacement, whose final form is being made
        self.applied = 0
        self.budget = STEPS_PER_NODE * (len(program.nodes) + 25)
        self.recent: list[str] = []

    def program(self) -> Program:
        for node in self.source.nodes:
            self.simplify(node)
        note_forms(self.done)
        mapping = {node: self.done[node] for node in self.source.nodes if self.done[node] is not node}
        return self.source.rewritten(mapping) if mapping else self.source

    def simplify(self, wanted: Node) -> None:
        """Finds the final form of `wanted`. Works off a stack: replacements may be deep."""
        stack = [wanted]
        while stack:
            node = stack[-1]
            following = self._following(node)
            if not following:
                stack.pop()
            stack.extend(following)

    def _following(self, node: Node) -> list[Node]:
        """What must have its final form before `node` can have its own; nothing where `node` has it now."""
        if node in self.done:
            return []
        missing = [operand for operand in node.operands if operand not in self.done]
        if missing:
            return missing
        rebuilt = self._with_final_operands(node)
        final = self.done.get(rebuilt)
        if final is None:
            waited = self.pending.pop(rebuilt, None)
            replacement = waited or self._first_match(rebuilt) or rebuilt
            if replacement is not rebuilt and replacement not in self.done:
                if waited is not None:  # the replacement's final form needs the node's own
                    raise RewriteLoop(self._loop_message())
                self.pending[rebuilt] = replacement
                return [replacement]
            final = self.done.get(replacement, replacement)
        self.done[rebuilt] = self.done[node] = final
        return []

    def _with_final_operands(self, node: Node) -> Node:
        operands = tuple(self.done[operand] for operand in node.operands)
        return node if operands == node.operands else make(node.primitive, operands, node.attrs)

    def _first_match(self, node: Node) -> Node | None:
        if self.applied == self.limit:
            return None
        for rule in (*self.by_root[node.name], *self.by_root["*"]):
            try:
                replacement = rule.apply(node)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise RuleFailed(f"rule {rule.name!r} failed on {node!r}: {type(error).__name__}: {error}") from error
            if replacement is not None and replacement is not node:
                self._count(rule, node, replacement)
                return replacement
        return None

    def _count(self, rule: Rule, before: Node, after: Node) -> None:
        if before.types != after.types:
            raise TypeError(f"rule {rule.name!r} changed the type of {before!r} to {', '.join(map(str, after.types))}")
        note(Applied(rule.name, rule.maths, before, after))
        self.applied += 1
        self.recent = [*self.recent[1 - RECENT:], f"{rule.name}: {before!r} -> {after!r}"]
        if self.applied > self.budget:
            raise RewriteLoop(self._loop_message())

    def _loop_message(self) -> str:
        return "the rewrite rules do not come to an end; the last were\n  " + "\n  ".join(self.recent)
