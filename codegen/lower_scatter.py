"""A scatter_add alone: a copy of operand 0, then the updates added one after the other, so that the order of the sum is fixed.

    for p in before parallel {
      for n in rows { for q in after { y[p, n, q] = x[p, n, q] } }
      for u in updates { let row = indices[u]   if 0 <= row < rows { for q in after { y[p, row, q] = y[p, row, q] + updates[p, u, q] } } }
    }

The 16-bit floats are summed in a float32 copy of one slice p, which is rounded to the output at the end.
"""
from __future__ import annotations

import math
from contextlib import AbstractContextManager

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import accumulator_dtype
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_nest import Attempt, Group
from graphc.codegen.lower_scope import Nest, walk
from graphc.codegen.lower_values import Values
from graphc.core import dtypes
from graphc.core.program import Node


def lower_scatter(group: Group, node: Node) -> Attempt:
    """The body of the kernel of `node`, a scatter_add of the group's parameters."""
    return _Scatter(group, node).build()


class _Scatter:
    def __init__(self, group: Group, node: Node) -> None:
        self.node = node
        self.source, self.indices, self.updates = node.operands
        axis = node.attrs.axis
        self.before, self.rows, self.after = math.prod(node.dims[:axis]), node.dims[axis], math.prod(node.dims[axis + 1:])
        self.output = group.outputs[0]
        self.buffers = group.buffers
        self.nest = Nest()
        self.values = Values(self.nest, group.buffers)
        self.is_wide = accumulator_dtype(node.dtype) is node.dtype

    def build(self) -> Attempt:
        with self._loop("p", self.before, "parallel") as p:
            target = self.output if self.is_wide else self.nest.local(dtypes.float32, (self.rows * self.after,))
            base = p * (self.rows * self.after) if self.is_wide else Index()
            self._copy(p, target, base)
            self._add(p, target, base)
            if not self.is_wide:
                self._round(p, target)
        return Attempt(tuple(self.nest.scopes[0].stmts), self.values.positions, self.values.cuts, frozenset())

    def _loop(self, letter: str, extent: int, kind: str = "serial") -> AbstractContextManager[Index]:
        return walk(self.nest, [LoopVar(letter, extent)], kind)

    def _copy(self, p: Index, target: ir.Buffer, base: Index) -> None:
        with self._loop("n", self.rows) as n, self._loop("q", self.after) as q:
            place = n * self.after + q
            value = self.values.load(self.buffers[self.source], p * (self.rows * self.after) + place)
            self.values.store(target, base + place, self.values.convert(value, target.dtype))

    def _add(self, p: Index, target: ir.Buffer, base: Index) -> None:
        count = self.indices.type.size
        if not count:
            return
        with self._loop("u", count) as u:
            row = self.values.convert(self.values.load(self.buffers[self.indices], u), dtypes.int64)
            inside = ir.Apply("and", (ir.Apply("ge", (row, ir.index(0)), dtypes.bool),
                                      ir.Apply("lt", (row, ir.index(self.rows)), dtypes.bool)), dtypes.bool)
            with self.nest.block() as block:
                with self._loop("q", self.after) as q:
                    place = base + li.loaded(row, 0, self.rows - 1) * self.after + q
                    update = self.values.load(self.buffers[self.updates], (p * count + u) * self.after + q)
                    total = (ir.Load(target, (self.values.address(target, place),)), self.values.convert(update, target.dtype))
                    self.values.store(target, place, ir.Apply("add", total, target.dtype))
                self.nest.emit(ir.If(inside, tuple(block.stmts)), self.nest.depth - 1)

    def _round(self, p: Index, target: ir.Buffer) -> None:
        with self._loop("n", self.rows * self.after) as n:
            value = ir.Load(target, (self.values.address(target, n),))
            self.values.store(self.output, p * (self.rows * self.after) + n, self.values.convert(value, self.output.dtype))
