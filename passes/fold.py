"""Constant folding: a node whose operands are all constants is evaluated by the reference interpreter, within a limit.

Never makes a program larger than it was by more than `limit` bytes a node: a broadcast of a constant stays a broadcast. Nothing random or
stateful can be folded, because its operands are never constants.
"""
from __future__ import annotations

from graphc.core.interpret import evaluate
from graphc.core.loops import Extern
from graphc.core.program import Node
from graphc.passes.rewrite import Rule
from graphc.primitives import add, constant

LIMIT = 1 << 16  # bytes of a folded result; one no larger than its operands together is always folded
KEPT = ("constant", "broadcast_in_dim", "iota", "fusion", "variable_assign")


def fold_rule(limit: int = LIMIT) -> Rule:
    """The rule that folds constants into results of at most `limit` bytes."""
    def apply(node: Node) -> Node | None:
        if node.name in KEPT or node.is_tuple or not node.operands or any(o.name != "constant" for o in node.operands):
            return None
        if node.type.nbytes > max(limit, sum(o.type.nbytes for o in node.operands)):
            return None
        if isinstance(node.primitive.loop, Extern):  # may find fault with the values, which is for the run to report
            return None
        return constant(evaluate(node, [o.attrs.value.array for o in node.operands]))
    return Rule("fold", "f(constants) = constant", "*", apply, (add(constant([1.0, 2.0]), constant([3.0, 5.0])),))
