"""Batching: a function of nodes applied to many values at once. Nodes for one value become nodes with one more axis, the first.

Most primitives have a rule that says what they are with that axis: `RULES`, by name. One without is applied to the values one by one and
the results are stacked, which is right and slow. `graphc.jacobians` is built upon this: the rows of a Jacobian are one gradient, batched
over its cotangents.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphc.core.loops import Map, OfParts
from graphc.core.program import Node, make, postorder
from graphc.core.types import Dim
from graphc.primitives.broadcast import broadcast_in_dim, full, reshape
from graphc.primitives.contraction import DotAttrs
from graphc.primitives.indexing import gather
from graphc.primitives.movement import concatenate, slice_, transpose
from graphc.primitives.sources import parameter
from graphc.primitives.state import get_tuple_element

Axes = tuple[int, ...]
Rule = Callable[[Node, Sequence[Node | None], Dim], Node | None]
"""(node, its operands batched, or None for those that are the same for all, number of values) -> the node with the axis; None: no rule."""


def batch(outputs: Sequence[Node], mapped: Mapping[Node, Node], count: Dim) -> list[Node]:
    """`outputs` for `count` values of the nodes `mapped`, whose values stand in their new first axis: each [count, ...].

    mapped: node -> node of its type with the axis. An output that depends on none of them is repeated.
    """
    found: dict[Node, tuple[Node, ...] | None] = {node: (values,) for node, values in mapped.items()}
    for node in postorder(outputs, mapped):
        if node not in found:
            found[node] = _batched(node, found, count)
    return [spread(node, None if (values := found[node]) is None else values[0], count) for node in outputs]


def _batched(node: Node, found: Mapping[Node, tuple[Node, ...] | None], count: Dim) -> tuple[Node, ...] | None:
    """The outputs of `node` with the axis; None where it is the same for all values."""
    if node.name == "get_tuple_element":
        values = found[node.operands[0]]
        return None if values is None else (values[node.attrs.index],)
    operands = [None if (values := found[operand]) is None else values[0] for operand in node.operands]
    if all(operand is None for operand in operands):
        return None
    rule = RULES.get(node.name, _same_attributes if isinstance(node.primitive.loop, Map | OfParts) else _no_rule)
    made = rule(node, operands, count)
    return _one_by_one(node, operands, count) if made is None else _elements(made)


def spread(node: Node, values: Node | None, count: Dim) -> Node:
    """`values`, or `node` repeated where it is the same for all."""
    return broadcast_in_dim(node, (count, *node.shape), tuple(range(1, len(node.shape) + 1))) if values is None else values


def _all_spread(node: Node, operands: Sequence[Node | None], count: Dim) -> list[Node]:
    return [spread(old, values, count) for old, values in zip(node.operands, operands, strict=True)]


def _elements(node: Node) -> tuple[Node, ...]:
    return tuple(get_tuple_element(node, n) for n in range(len(node.types))) if node.is_tuple else (node,)


def _no_rule(node: Node, operands: Sequence[Node | None], count: Dim) -> Node | None:
    return None


def _one_by_one(node: Node, operands: Sequence[Node | None], count: Dim) -> tuple[Node, ...]:
    if count is None:  # while the graph is declared: only the types count
        return tuple(parameter("?", t.with_shape((None, *t.shape))) for t in node.types)
    if count == 0:
        return tuple(full(0, t.with_shape((0, *t.shape))) for t in node.types)
    rows = [_elements(make(node.primitive, [_row(old, values, n) for old, values in zip(node.operands, operands, strict=True)], node.attrs))
            for n in range(count)]
    return tuple(concatenate([reshape(row, (1, *row.shape)) for row in column], 0) for column in zip(*rows, strict=True))


def _row(old: Node, values: Node | None, number: int) -> Node:
    if values is None:
        return old
    whole = values.shape[1:]
    return reshape(slice_(values, (number, *(0,) * len(whole)), (number + 1, *whole)), whole)


# Rules -----------------------------------------------------------------------------------------------------------------------------------

def _same_attributes(node: Node, operands: Sequence[Node | None], count: Dim) -> Node:
    """Of what goes element by element, or matrix by matrix, or along the last axes: the first axis is one more of the batch."""
    return make(node.primitive, _all_spread(node, operands, count), node.attrs)


def _later(axes: Sequence[int]) -> Axes:
    """`axes` where one axis has come before them."""
    return tuple(axis + 1 for axis in axes)


def _first(change: Callable[[Any, Dim], Any]) -> Rule:
    """The rule of a primitive whose first operand alone is batched, and whose attributes change."""
    def rule(node: Node, operands: Sequence[Node | None], count: Dim) -> Node | None:
        if operands[0] is None or any(each is not None for each in operands[1:]):
            return None
        return make(node.primitive, (operands[0], *node.operands[1:]), change(node.attrs, count))
    return rule


def _every(change: Callable[[Any, Dim], Any]) -> Rule:
    """The rule of a primitive whose operands are all batched, and whose attributes change."""
    def rule(node: Node, operands: Sequence[Node | None], count: Dim) -> Node:
        return make(node.primitive, _all_spread(node, operands, count), change(node.attrs, count))
    return rule


def _reduction(attrs: Any, count: Dim) -> Any:
    return replace(attrs, axes=_later(attrs.axes))


def _along(attrs: Any, count: Dim) -> Any:
    return replace(attrs, axis=attrs.axis + 1)


def _dot(node: Node, operands: Sequence[Node | None], count: Dim) -> Node:
    """Both batched: one more batch axis. One: one more free axis, which is then brought to the front."""
    left, right = operands
    a: DotAttrs = node.attrs
    if left is not None and right is not None:
        attrs = DotAttrs((0, *_later(a.lhs_batch)), (0, *_later(a.rhs_batch)), _later(a.lhs_contract), _later(a.rhs_contract))
        return make(node.primitive, (left, right), attrs)
    if left is not None:
        attrs = replace(a, lhs_batch=_later(a.lhs_batch), lhs_contract=_later(a.lhs_contract))
        made = make(node.primitive, (left, node.operands[1]), attrs)
        place = len(a.lhs_batch)
    else:
        assert right is not None
        attrs = replace(a, rhs_batch=_later(a.rhs_batch), rhs_contract=_later(a.rhs_contract))
        made = make(node.primitive, (node.operands[0], right), attrs)
        place = len(a.lhs_batch) + len(a.free(len(node.operands[0].shape), "lhs"))
    return _to_front(made, place)


def _to_front(x: Node, axis: int) -> Node:
    return transpose(x, (axis, *(n for n in range(len(x.shape)) if n != axis)))


def _gather(node: Node, operands: Sequence[Node | None], count: Dim) -> Node | None:
    x, indices = operands
    if x is not None and indices is None:
        return gather(x, node.operands[1], node.attrs.axis + 1)
    if x is None and indices is not None:
        return _to_front(gather(node.operands[0], indices, node.attrs.axis), node.attrs.axis)
    return None


def _scatter(node: Node, operands: Sequence[Node | None], count: Dim) -> Node | None:
    if operands[1] is not None:
        return None
    x, updates = (spread(node.operands[n], operands[n], count) for n in (0, 2))
    return make(node.primitive, (x, node.operands[1], updates), _along(node.attrs, count))


def _solve(node: Node, operands: Sequence[Node | None], count: Dim) -> Node:
    """Right-hand sides for one matrix are more columns: it is factored once."""
    matrix, sides = operands
    if matrix is not None or sides is None:
        return _same_attributes(node, operands, count)
    *lead, rows, columns = range(1, len(sides.shape))
    *batch, size, width = sides.shape[1:]
    total = None if count is None or width is None else count * width
    joined = reshape(transpose(sides, (*lead, rows, 0, columns)), (*batch, size, total))
    solved = make(node.primitive, (node.operands[0], joined), node.attrs)
    axes = len(batch)
    return transpose(reshape(solved, (*batch, size, count, width)), (axes + 1, *range(axes), axes, axes + 2))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reverse"), _first(_reduction)),
    **dict.fromkeys(("argmax", "argmin", "argsort", "inverse_order", "cumulative_sum", "cumulative_prod", "cumulative_max",
                     "cumulative_min", "cumulative_logsumexp"), _first(_along)),
    **dict.fromkeys(("linear_recurrence", "rearrange"), _every(_along)),
    **dict.fromkeys(("stop_gradient", "copy", "invert_permutation"), _first(lambda attrs, count: attrs)),
    "concatenate": _every(_along),
    "transpose": _first(lambda attrs, count: replace(attrs, permutation=(0, *_later(attrs.permutation)))),
    "reshape": _first(lambda attrs, count: replace(attrs, shape=(count, *attrs.shape))),
    "broadcast_in_dim": _first(lambda attrs, count: replace(attrs, shape=(count, *attrs.shape), dims=(0, *_later(attrs.dims)))),
    "slice": _first(lambda attrs, count: replace(attrs, start=(0, *attrs.start), limit=(count, *attrs.limit),
                                                 strides=(1, *attrs.strides))),
    "pad": _first(lambda attrs, count: replace(attrs, low=(0, *attrs.low), high=(0, *attrs.high), interior=(0, *attrs.interior))),
    "dot_general": _dot,
    "gather": _gather,
    "scatter": _scatter,
    **dict.fromkeys(("solve", "triangular_solve"), _solve),
    **dict.fromkeys(("cholesky", "determinant", "eigh", "fft", "lu", "matrix_function", "qr", "slogdet", "svd", "tridiagonal_solve"),
                    _same_attributes),
}
