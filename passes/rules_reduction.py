"""Rules of reductions: less to reduce, or nothing. Exact on integers and for max and min; "~" where a float's rounding may differ."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphc.core.program import Node
from graphc.passes.groups import is_trailing
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import X, fill, filled, floats, uniform
from graphc.primitives import (
    broadcast_in_dim,
    multiply,
    negate,
    power,
    reduce_max,
    reduce_min,
    reduce_prod,
    reduce_sum,
    reshape,
    transpose,
)

Build = Callable[[Node, Sequence[int]], Node]
BUILD: dict[str, Build] = {"reduce_sum": reduce_sum, "reduce_prod": reduce_prod, "reduce_max": reduce_max, "reduce_min": reduce_min}


def _nested(node: Node) -> Node | None:
    """reduce(reduce(x, a), b) is one reduction over both sets of axes. But rows that are reduced first stay so: what made them (a softmax,
    say) can then reduce them in the same kernel."""
    inner = node.operands[0]
    if inner.name != node.name or (is_trailing(inner) and node.type.size == 1):
        return None
    kept = [axis for axis in range(len(inner.operands[0].dims)) if axis not in inner.attrs.axes]
    return BUILD[node.name](inner.operands[0], sorted((*inner.attrs.axes, *(kept[axis] for axis in node.attrs.axes))))


def _over_ones(node: Node) -> Node | None:
    """Reducing axes of size one is a reshape (and reducing no axes nothing)."""
    x = node.operands[0]
    return reshape(x, node.dims) if all(x.dims[axis] == 1 for axis in node.attrs.axes) else None


def _of_broadcast(node: Node) -> Node | None:
    """The axes along which a value only repeats need no loop: n times it (sum), its n-th power (product), itself (max, min). The axes
    that the value itself has are still reduced."""
    x = node.operands[0]
    if x.name != "broadcast_in_dim" or not x.type.size:
        return None
    source, places = x.operands[0], x.attrs.dims
    own = {place: axis for axis, place in enumerate(places) if source.dims[axis] != 1}
    count = math.prod(x.dims[axis] for axis in node.attrs.axes if axis not in own)
    if all(axis in own for axis in node.attrs.axes):
        return None
    reduced = [own[axis] for axis in node.attrs.axes if axis in own] + [a for a, size in enumerate(source.dims) if size == 1]
    once = BUILD[node.name](source, sorted(reduced))
    kept = [axis for axis in range(len(x.dims)) if axis not in node.attrs.axes]
    spread = broadcast_in_dim(once, node.dims, [number for number, axis in enumerate(kept) if axis in own])
    return _repeated(node, spread, count)


def _repeated(node: Node, once: Node, count: int) -> Node | None:
    """`once` combined with itself `count` times; None where the type cannot hold `count`."""
    if node.name in ("reduce_max", "reduce_min"):
        return once
    if count > 256 and (node.dtype.size == 1 or (node.dtype.is_floating and node.dtype.size == 2)):
        return None
    return multiply(once, fill(count, node.type)) if node.name == "reduce_sum" else power(once, fill(count, node.type))


def _of_scaled(node: Node) -> Node | None:
    """One multiplication instead of one per element. Not in 16-bit floats: the larger sum might not fit."""
    x = node.operands[0]
    scale = uniform(x.operands[1]) if x.name == "multiply" else None
    if scale is None or (node.dtype.is_floating and (node.dtype.size < 4 or not math.isfinite(scale))):
        return None
    return multiply(reduce_sum(x.operands[0], node.attrs.axes), fill(scale, node.type))


def _of_negated(node: Node) -> Node | None:
    x = node.operands[0]
    return negate(reduce_sum(x.operands[0], node.attrs.axes)) if x.name == "negate" else None


def _of_transpose(node: Node) -> Node | None:
    """Where the kept axes stay in order, a transpose below a reduction only renames the reduced axes."""
    x = node.operands[0]
    if x.name != "transpose":
        return None
    permutation = x.attrs.permutation
    kept = [permutation[axis] for axis in range(len(x.dims)) if axis not in node.attrs.axes]
    if kept != sorted(kept):
        return None
    return BUILD[node.name](x.operands[0], sorted(permutation[axis] for axis in node.attrs.axes))


def _of_view(node: Node) -> Node | None:
    """What all elements give does not depend on how they lie."""
    x = node.operands[0]
    if x.name not in ("reshape", "transpose", "reverse") or node.dims:
        return None
    source = x.operands[0]
    return BUILD[node.name](source, range(len(source.dims)))


def _rules(root: str) -> tuple[Rule, ...]:
    """The rules that all reductions have."""
    build = BUILD[root]
    short = root.removeprefix("reduce_")
    sign = "=" if short in ("max", "min") else "~"
    repeated = {"sum": "~ n x", "prod": "~ x**n"}.get(short, "= x")
    x = floats(3, 4, 5)
    repeats = broadcast_in_dim(floats(3), (3, 4), (0,))
    return (
        Rule(f"{short} over ones", f"{short} over axes of size one = reshape", root, _over_ones, (build(floats(3, 1, 5), (1,)),)),
        Rule(f"{short} twice", f"{short}({short}(x, a), b) {sign} {short}(x, a and b)", root, _nested, (build(build(x, (1,)), (1,)),)),
        Rule(f"{short} of broadcast", f"{short} over n repeats of x {repeated}", root, _of_broadcast,
             (build(repeats, (1,)), build(repeats, (0, 1)), build(broadcast_in_dim(floats(3, 1), (2, 3, 4), (1, 2)), (0, 2)),
              build(filled(2, x), (0, 2)))),
        Rule(f"{short} of transpose", f"{short}(x^T, a) {sign} {short}(x, b)", root, _of_transpose,
             (build(transpose(x, (0, 2, 1)), (1, 2)),)),
        Rule(f"{short} of all in another order", f"{short}(view(x)) {sign} {short}(x) over all elements", root, _of_view,
             (build(reshape(x, (12, 5)), (0, 1)),)),
    )


REDUCTION: tuple[Rule, ...] = (
    *(rule for root in BUILD for rule in _rules(root)),
    Rule("sum of scaled", "sum(c x) ~ c sum(x)", "reduce_sum", _of_scaled, (reduce_sum(multiply(X, filled(3)), (1,)),)),
    Rule("sum of negated", "sum(-x) = -sum(x)", "reduce_sum", _of_negated, (reduce_sum(negate(X), (1,)),)),
)
