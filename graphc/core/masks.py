"""The guarded gradient of a choice: where an arm was not taken, nothing comes back from it, not even NaN.

    y = where(x > 0, log(x), 0)        by x:  select(x > 0, g, 0) / x     is 0 / 0 = NaN at x = 0
                                     guarded:  select(x > 0, select(x > 0, g, 0) / x, 0)

The gradient of `select` marks a cotangent as masked: `select(mask, g, 0)`, zero in the last place. As long as what lies behind works
element by element, the mask holds for what it sends back, and is put around it again; it follows changes of shape, repetition, sums and
accumulation. So nothing depends on values: a cotangent that happens to be 0 is no mask, and a true NaN is never hidden.

Guarded are elementwise operations (composites of them too) in any number between the choice and what is differentiated, and what
`follow` lists. Beyond a matrix product, a gather or a normalisation of rows the mask is lost, and 0 times an infinity is NaN again, as in
TF1. Gradients of maximum, minimum and the like, whose arms are finite where they are flat, write their zero first, which is no mark.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.core.loops import Map
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, make, postorder

# Elementwise, but what they send back is the cotangent itself, or its part: nothing to guard.
_LINEAR = frozenset(("add", "subtract", "negate", "convert", "select", "maximum", "minimum", "clamp"))
_SAME_MASK = frozenset(("negate", "convert"))
_MOVES = frozenset(("reshape", "transpose", "reverse", "broadcast_in_dim", "slice"))
_DEPTH = 64  # operations between a choice and what it guards, each way of following them


def guarded(node: Node, contributions: Sequence[Node | None], cotangents: Sequence[Node | None]) -> Sequence[Node | None]:
    """What `node` sends back to its operands, 0 where its cotangent is masked."""
    if not isinstance(node.primitive.loop, Map) or node.name in _LINEAR:
        return contributions
    return masked(contributions, mask_of(cotangents[0]))


def guarded_composite(inputs: Sequence[Node], outputs: Sequence[Node], contributions: Sequence[Node | None],
                      cotangents: Sequence[Node | None]) -> Sequence[Node | None]:
    """As `guarded`, of a composite with a gradient of its own: where it works element by element."""
    mask = mask_of(cotangents[0]) if len(outputs) == 1 else None
    return masked(contributions, mask) if mask is not None and _is_elementwise(outputs[0], inputs) else contributions


def masked(contributions: Sequence[Node | None], mask: Node | None) -> Sequence[Node | None]:
    """Each contribution where `mask` holds, else 0; those of another shape as they are."""
    if mask is None:
        return contributions
    return [_where(mask, each) if each is not None and each.shape == mask.shape else each for each in contributions]


def masked_like(stand_in: Node, node: Node) -> Node:
    """`stand_in`, masked where `node`, in whose place it stands, is."""
    mask = mask_of(node)
    return stand_in if mask is None else _where(mask, stand_in)


def mask_of(cotangent: Node | None) -> Node | None:
    """The bools outside of which `cotangent` is 0, None where it is not known to be masked."""
    return None if cotangent is None else _follow(cotangent, {}, _DEPTH)


def _follow(node: Node, known: dict[Node, Node | None], depth: int) -> Node | None:
    if node not in known:
        known[node] = None if depth == 0 or node.is_tuple else _mask(node, known, depth - 1)
    return known[node]


def _mask(node: Node, known: dict[Node, Node | None], depth: int) -> Node | None:
    operands = node.operands
    if node.name == "select":
        inner = _follow(operands[1], known, depth)
        if _is_zero(operands[2]):
            return operands[0] if inner is None else _logical("and", operands[0], inner)
        return _follow(operands[2], known, depth) if _is_zero(operands[1]) else None
    if node.name in _SAME_MASK:
        return _follow(operands[0], known, depth)
    if node.name in _MOVES or node.name == "reduce_sum":
        inner = _follow(operands[0], known, depth)
        primitive = lookup("reduce_max") if node.name == "reduce_sum" else node.primitive
        return None if inner is None else make(primitive, (inner,), node.attrs)
    if node.name == "add":
        left, right = (_follow(operand, known, depth) for operand in operands)
        return None if left is None or right is None else left if left is right else _logical("or", left, right)
    return None


def _logical(name: str, x: Node, y: Node) -> Node:
    primitive = lookup(name)
    return make(primitive, (x, y), primitive.attrs())


def _where(mask: Node, x: Node) -> Node:
    """x where `mask` holds, else 0: itself masked."""
    if x.name == "select" and x.operands[0] is mask and _is_zero(x.operands[2]):
        return x
    select, constant, spread = lookup("select"), lookup("constant"), lookup("broadcast_in_dim")
    zero = make(constant, (), constant.attrs(Literal(np.zeros((), x.dtype.np_dtype))))
    return make(select, (mask, x, make(spread, (zero,), spread.attrs(x.shape, ())) if x.shape else zero), select.attrs())


def _is_zero(node: Node) -> bool:
    """Whether `node` is a constant 0, repeated or not."""
    while node.name == "broadcast_in_dim":
        node = node.operands[0]
    return node.name == "constant" and node.attrs.value.array.size == 1 and not node.attrs.value.array.any()


def _is_elementwise(output: Node, inputs: Sequence[Node]) -> bool:
    """Whether every step from `inputs` to `output` is a map over arrays of one shape."""
    borders = set(inputs)
    depending: set[Node] = set(borders)
    for node in postorder((output,), borders):
        if node in borders or not any(operand in depending for operand in node.operands):
            continue
        depending.add(node)
        if not isinstance(node.primitive.loop, Map) or any(o.shape != output.shape for o in node.operands if o in depending):
            return False
    return True
