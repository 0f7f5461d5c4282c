"""Scans: a value carried along an axis, one walk for each index of the other axes.

    for p in before parallel { for q in after {
      acc carried = 0
      for j in count { carried assign= carried + x[p, j, q]   y[p, j, q] = carried }
    } }

What its operands are made of is computed on the way, and so is what follows from its result at the same place. The walks are
independent, so the schedules share them out over vectors and threads; where there are few and long ones, `passes.split_scans`
has cut them before. 16-bit floats are carried in float32 and rounded when stored.
"""
from __future__ import annotations

import math

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import accumulator_dtype, combiner, identity
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_nest import LETTERS, Attempt, Group
from graphc.codegen.lower_scope import Nest, Space, walk
from graphc.codegen.lower_values import Values
from graphc.core import dtypes
from graphc.core.loops import Scan
from graphc.core.program import Node

ROWS = (4, 2, 1)  # rows that one task walks together: each step waits for the one before it, so several hide each other's waiting


def scan_of(group: Group) -> Node | None:
    """The scan around which `group` can be walked: the only one, every output with its number of elements."""
    scans = [node for node in group.body.nodes if isinstance(node.primitive.loop, Scan) and node not in group.buffers]
    if len(scans) != 1:
        return None
    return scans[0] if all(buffer.size == scans[0].type.size for buffer in group.outputs) else None


def lower_scan(group: Group, node: Node) -> Attempt:
    """The body of the kernel of `node`, the scan of `group`."""
    nest = Nest()
    values = Values(nest, group.buffers)
    axis, count = node.attrs.axis, node.dims[node.attrs.axis]
    before, after = math.prod(node.dims[:axis]), math.prod(node.dims[axis + 1:])
    carrier = _Carrier(group, values, node)
    together = next(rows for rows in ROWS if before % rows == 0) if after == 1 and carrier.is_light else 1
    with walk(nest, Space("kept", before * after // together).with_cut(after).loops(LETTERS), "parallel") as kept:
        carried = [nest.accumulator(carrier.start, "carried") for _ in range(together)]
        with nest.loop(LoopVar("n", count)) as n:
            along = count - 1 - n if node.attrs.reverse else n
            for row, each in enumerate(carried):
                first = (kept // after * together + row) * (count * after) + kept % after
                carrier.step(each, first + along * after)
    return Attempt(tuple(nest.scopes[0].stmts), values.positions, values.cuts, frozenset())


class _Carrier:
    """Writes one step of a walk."""

    def __init__(self, group: Group, values: Values, node: Node) -> None:
        form = node.primitive.loop
        assert isinstance(form, Scan)
        self.group, self.values, self.node = group, values, node
        self.dtype = accumulator_dtype(node.dtype)
        self.combine = combiner(form.combine, node.dtype)

    @property
    def is_light(self) -> bool:
        """Whether a step is an instruction or two, which take longer to wait for than to do."""
        return self.combine != "log_add_exp"

    @property
    def start(self) -> ir.Const:
        """What is carried to the first element."""
        same = {"linear": "add", "log_add_exp": "maximum"}
        return ir.Const(identity(same.get(self.combine, self.combine), self.dtype), self.dtype)

    def step(self, carried: ir.Var, place: Index) -> None:
        """The element at `place`. All loads come before the stores: an output may lie over an operand."""
        values, nest = self.values, self.values.nest
        index = li.unflatten(place, self.node.dims)
        nest.bind(carried.name, nest.depth)  # it changes here: nothing made of it may be moved out of the loop
        terms = [values.convert(values.at(operand, index), self.dtype) for operand in self.node.operands]
        update = ir.Update(carried, "assign", self._combined(carried, terms))
        is_exclusive = getattr(self.node.attrs, "exclusive", False)
        if not is_exclusive:
            nest.emit(update)
        result = carried if self.dtype is self.node.dtype else values.convert(carried, self.node.dtype)
        nest.scopes[-1].values[self.node, index, None] = result
        values.store_all(place, list(zip(self.group.body.outputs, self.group.outputs, strict=True)))
        if is_exclusive:
            nest.emit(update)

    def _combined(self, carried: ir.Var, terms: list[ir.Expr]) -> ir.Expr:
        if self.combine == "linear":
            return self._apply("add", self._apply("multiply", terms[0], carried), terms[1])
        if self.combine == "log_add_exp":
            return self._log_add_exp(carried, terms[0])
        return self._apply(self.combine, carried, terms[0])

    def _log_add_exp(self, x: ir.Expr, y: ir.Expr) -> ir.Expr:
        """log(e^x + e^y) as m + log1p(e^(n - m)), m the greater and n the lesser; m itself where it is infinite."""
        m, n = self.values.apply("maximum", (x, y), self.dtype), self.values.apply("minimum", (x, y), self.dtype)
        more = self._apply("log_plus_one", self._apply("exponential", self._apply("subtract", n, m)))
        return ir.Apply("select", (ir.Apply("is_finite", (m,), dtypes.bool), self._apply("add", m, more), m), self.dtype)

    def _apply(self, op: str, *args: ir.Expr) -> ir.Expr:
        return ir.Apply(op, args, self.dtype)
