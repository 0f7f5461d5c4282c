"""Rules of scatters: what is done to a sum of few rows spread over many zeros is done to the rows.

The gradient of an embedding is such a sum. A training step would spread it, scale all of it, and subtract all of it from the table; by
these rules it is a scatter into the table itself, which touches the rows that were looked up and nothing else. As in TF1, which has a type
for such gradients, a table's other rows then do not notice a learning rate that is not a number.
"""
from __future__ import annotations

from graphc.core.dtypes import int32
from graphc.core.program import Node
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import X, fill, filled, floats, is_uniform, sample
from graphc.primitives import add, broadcast_in_dim, multiply, negate, scatter, scatter_add, subtract


def _spread(node: Node) -> bool:
    """Whether `node` is zeros with rows added, no more of them than it has."""
    return (node.name == "scatter" and node.attrs.combine == "add" and is_uniform(node.operands[0], 0)
            and node.operands[2].type.size <= node.type.size)


def _added(node: Node) -> Node | None:
    """Of two that are spread the second is added to the first."""
    for spread, other in (node.operands[::-1], node.operands):
        if _spread(spread):
            _, indices, updates = spread.operands
            return scatter(other, indices, updates, spread.attrs.axis, "add")
    return None


def _subtracted(node: Node) -> Node | None:
    x, spread = node.operands
    if not _spread(spread) or node.dtype.is_unsigned:
        return None
    _, indices, updates = spread.operands
    return scatter(x, indices, negate(updates), spread.attrs.axis, "add")


def _scaled(node: Node) -> Node | None:
    """By a number, the same for all rows."""
    for spread, factor in (node.operands, node.operands[::-1]):
        if _spread(spread) and factor.name == "broadcast_in_dim" and factor.operands[0].dims == ():
            zeros, indices, updates = spread.operands
            every = broadcast_in_dim(factor.operands[0], updates.dims, ())
            return scatter(zeros, indices, multiply(updates, every), spread.attrs.axis, "add")
    return None


def _negated(node: Node) -> Node | None:
    spread = node.operands[0]
    if not _spread(spread):
        return None
    zeros, indices, updates = spread.operands
    return scatter(zeros, indices, negate(updates), spread.attrs.axis, "add")


_ROWS = scatter_add(filled(0.0, floats(9, 5)), sample(int32, 4, name="at"), floats(4, 5, name="rows"), 0)
_TABLE = floats(9, 5, name="table")
_MANY = scatter_add(filled(0.0, X), sample(int32, 3, name="at"), floats(3, 3, name="columns"), 1)

INDEXING: tuple[Rule, ...] = (
    Rule("added rows", "x + spread(u) ~ scatter(x, u)", "add", _added, (add(_TABLE, _ROWS), add(_ROWS, _TABLE), add(X, _MANY))),
    Rule("subtracted rows", "x - spread(u) ~ scatter(x, -u)", "subtract", _subtracted, (subtract(_TABLE, _ROWS),)),
    Rule("scaled rows", "c * spread(u) ~ spread(c * u)", "multiply", _scaled, (
        multiply(_ROWS, fill(0.5, _ROWS.type)), multiply(_ROWS, broadcast_in_dim(sample(_ROWS.dtype, name="c"), _ROWS.dims, ())))),
    Rule("negated rows", "-spread(u) = spread(-u)", "negate", _negated, (negate(_ROWS),)),
)
