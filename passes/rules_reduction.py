"""Rules of reductions: less to reduce, or nothing. "~" means: up to rounding."""
from __future__ import annotations

import math

from graphc.core.dtypes import float32
from graphc.core.program import Node, make
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import fill, sample, uniform
from graphc.primitives import (
    broadcast_in_dim, full, multiply, negate, reduce_max, reduce_min, reduce_prod, reduce_sum, reshape, transpose,
)

REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
BUILD = dict(zip(REDUCTIONS, (reduce_sum, reduce_max, reduce_min, reduce_prod), strict=True))


def _x(*shape: int) -> Node:
    return sample(float32, *(shape or (3, 4, 5)))


def _nested(node: Node) -> Node | None:
    """reduce(reduce(x, a), b) is one reduction over both sets of axes."""
    inner = node.operands[0]
    if inner.name != node.name:
        return None
    kept = [axis for axis in range(len(inner.operands[0].dims)) if axis not in inner.attrs.axes]
    outer = [kept[axis] for axis in node.attrs.axes]
    if _is_split(inner, outer):
        return None
    return BUILD[node.name](inner.operands[0], sorted((*inner.attrs.axes, *outer)))


def _is_split(inner: Node, outer: list[int]) -> bool:
    """Whether this is a long reduction that `split` cut in two: a trailing one below a leading one over everything."""
    rank = len(inner.operands[0].dims)
    return inner.operands[0].name in ("reshape", "pad", "slice") and sorted((*inner.attrs.axes, *outer)) == list(range(rank)) and rank == 2


def _over_ones(node: Node) -> Node | None:
    """Reducing axes of size one is a reshape (and reducing no axes nothing)."""
    x = node.operands[0]
    return reshape(x, node.dims) if all(x.dims[axis] == 1 for axis in node.attrs.axes) else None


def _of_broadcast(node: Node) -> Node | None:
    """Over axes along which a value only repeats: n times it (sum), its n-th power (product of ones), itself (max, min)."""
    x = node.operands[0]
    if x.name != "broadcast_in_dim" or not x.type.size:
        return None
    source, dims = x.operands[0], x.attrs.dims
    real = {dims[axis] for axis in range(len(dims)) if source.dims[axis] != 1}
    repeated = [axis for axis in node.attrs.axes if axis not in real]
    if not repeated or len(repeated) != len(node.attrs.axes) or node.name == "reduce_prod":
        return None
    kept = [axis for axis in range(len(x.dims)) if axis not in repeated]
    places = {axis: number for number, axis in enumerate(kept)}
    squeezed = reshape(source, [source.dims[i] for i in range(len(dims)) if dims[i] in places])
    spread = broadcast_in_dim(squeezed, node.dims, [places[d] for d in dims if d in places])
    if node.name != "reduce_sum":
        return spread
    return multiply(spread, fill(math.prod(x.dims[axis] for axis in repeated), node.type))


def _of_scaled(node: Node) -> Node | None:
    """sum(c x) ~ c sum(x): one multiplication instead of one per element."""
    x = node.operands[0]
    if x.name != "multiply" or uniform(x.operands[1]) is None or not node.dtype.is_floating or node.dtype.size < 4:
        return None
    return multiply(reduce_sum(x.operands[0], node.attrs.axes), fill(uniform(x.operands[1]), node.type))


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
    return make(node.primitive, x.operands, type(node.attrs)(tuple(sorted(permutation[axis] for axis in node.attrs.axes))))


REDUCTION: tuple[Rule, ...] = (
    *(Rule(f"{root} over ones", f"{root} over axes of size one = reshape", root, _over_ones,
           ((lambda build: lambda: build(_x(3, 1, 5), (1,)))(BUILD[root]),)) for root in REDUCTIONS),
    *(Rule(f"{root} twice", f"{root}({root}(x, a), b) = {root}(x, a and b)", root, _nested,
           ((lambda build: lambda: build(build(_x(), (1,)), (1,)))(BUILD[root]),)) for root in REDUCTIONS),
    *(Rule(f"{root} of broadcast", "sum over n repeats = n x; max, min = x", root, _of_broadcast,
           ((lambda build: lambda: build(broadcast_in_dim(_x(3), (3, 4), (0,)), (1,)))(BUILD[root]),
            (lambda build: lambda: build(full(2, _x().type), (0, 2)))(BUILD[root]))) for root in REDUCTIONS[:3]),
    *(Rule(f"{root} of transpose", f"{root}(x^T, a) = {root}(x, b)", root, _of_transpose,
           ((lambda build: lambda: build(transpose(_x(), (0, 2, 1)), (1, 2)))(BUILD[root]),)) for root in REDUCTIONS),
    Rule("sum of scaled", "sum(c x) ~ c sum(x)", "reduce_sum", _of_scaled, (lambda: reduce_sum(multiply(_x(), full(3, _x().type)), (1,)),)),
    Rule("sum of negated", "sum(-x) = -sum(x)", "reduce_sum", _of_negated, (lambda: reduce_sum(negate(_x()), (1,)),)),
)
