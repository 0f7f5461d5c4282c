"""Large scatters for a GPU: updates in the order of their places first. Runs after `simplify`, where `pipelines.for_gpu` puts it.

The kernel of a scatter on a GPU lets every row seek its own updates (`codegen.schedule_gpu_scatter`): with many rows and many updates that
is too much seeking. Sorted by place, the updates of one row stand side by side, and

    order = argsort(indices)      end[row] = how many places are <= row      (a binary search, a thread a row)
    v = updates[order], and for s = 1, 2, 4, ...: v[i] = v[i - s] . v[i] where both are of one place     (Hillis and Steele 1986)
    y[row] = x[row] . v[end[row] - 1] where that one is the row's

No two threads write to one place, and the order of the combination depends on the indices alone, so the result is the same every time.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from graphc.core import dtypes
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.passes.expand import Expand
from graphc.passes.rewrite import Rewrite, Rule
from graphc.primitives import (
    add,
    and_,
    argsort,
    broadcast_in_dim,
    compare,
    constant,
    convert,
    full,
    gather,
    iota,
    maximum,
    minimum,
    multiply,
    or_,
    pad,
    reshape,
    select,
    subtract,
)

MOST = 1 << 28  # looks at an index that all rows together may take before the updates are sorted instead

_COMBINE: dict[str, Callable[[Node, Node], Node]] = {"add": add, "multiply": multiply, "maximum": maximum, "minimum": minimum}
_OF_BOOL: dict[str, Callable[[Node, Node], Node]] = {"maximum": or_, "minimum": and_}


@dataclass(frozen=True)
class SortedScatters:
    """Rewrites scatters of which rows times updates is above `most`, then what they are rewritten with by `after` (no kernel sorts)."""

    after: Callable[[Program], Program] = field(default_factory=Expand)
    most: int = MOST
    name: str = "sorted scatters"

    def __call__(self, program: Program) -> Program:
        if not any(self._is_large(node) for node in program.nodes):
            return program
        rule = Rule("by order", "scatter(x, i, u) ~ its rows from u[argsort(i)]", "scatter",
                    lambda node: by_order(node) if self._is_large(node) else None)
        return self.after(Rewrite((rule,), name=self.name)(program))

    def _is_large(self, node: Node) -> bool:
        if node.name != "scatter":
            return False
        return math.prod(node.dims[:node.attrs.axis + 1]) * node.operands[1].type.size > self.most


def by_order(node: Node) -> Node:
    """The scatter `node` from its updates in the order of their places."""
    x, indices, updates = node.operands
    axis, count = node.attrs.axis, indices.type.size
    rows, whole = node.dims[axis], (math.prod(node.dims[:axis]), node.dims[axis], math.prod(node.dims[axis + 1:]))
    dtype = dtypes.int32 if max(rows + 1, count) < 2 ** 31 else dtypes.int64
    places = convert(reshape(indices, (count,)), dtypes.int64)
    inside = and_(compare(places, full(0, places.type), "GE"), compare(places, full(rows, places.type), "LT"))
    keys = convert(select(inside, places, full(rows, places.type)), dtype)  # what is dropped comes last
    order = convert(argsort(keys, 0), dtype)
    ranked = gather(keys, order)
    last = subtract(_ends(ranked, rows), full(1, TensorType(dtype, (rows,))))
    has = compare(gather(ranked, last), iota((rows,), 0, dtype), "EQ")
    has = and_(has, compare(last, full(0, last.type), "GE"))
    changed = reshape(updates, (whole[0], count, whole[2]))
    old = reshape(x, whole)
    if node.attrs.combine == "assign":
        new = gather(changed, gather(order, last), 1)
    else:
        new = _combined(node, old, gather(changed, order, 1), ranked, last)
    return reshape(select(broadcast_in_dim(has, whole, (1,)), new, old), node.dims)


def _ends(ranked: Node, rows: int) -> Node:
    """For each row how many of the ascending `ranked` are not above it, by halving."""
    count, = ranked.dims
    row = iota((rows,), 0, ranked.dtype)
    found = full(0, row.type)
    for step in (1 << bit for bit in reversed(range(count.bit_length()))):
        further = add(found, full(step, row.type))
        fits = compare(further, full(count, row.type), "LE")
        below = compare(gather(ranked, subtract(further, full(1, row.type))), row, "LE")
        found = select(and_(fits, below), further, found)
    return found


def _combined(node: Node, old: Node, values: Node, ranked: Node, last: Node) -> Node:
    """`old` combined with the updates of each row; in float32 where the numbers are half as wide."""
    dtype = node.dtype
    wide = dtypes.float32 if dtype.is_floating and dtype.size == 2 else dtype
    combine = (_OF_BOOL if dtype.is_bool else _COMBINE)[node.attrs.combine]
    values, (count,) = convert(values, wide) if wide is not dtype else values, ranked.dims
    step = 1
    while step < count:
        same = compare(_moved(ranked, 0, step, -1), ranked, "EQ")
        values = select(broadcast_in_dim(same, values.dims, (1,)), combine(_moved(values, 1, step, 0), values), values)
        step *= 2
    found = combine(convert(old, wide) if wide is not dtype else old, gather(values, last, 1))
    return convert(found, dtype) if wide is not dtype else found


def _moved(x: Node, axis: int, by: int, fill: float) -> Node:
    """`x` moved `by` places on along `axis`, `fill` coming in."""
    low = [by if each == axis else 0 for each in range(len(x.dims))]
    return pad(x, constant(fill, x.dtype), low, [-n for n in low], [0] * len(low))
