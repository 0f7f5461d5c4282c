"""A scatter, with what is computed on the way to its operands: operand 0, then the updates one after the other, in a fixed order.

    for p in before parallel {
      for n in rows { for q in after { y[p, n, q] = x[p, n, q] } }
      for u in updates { let row = indices[u]   if 0 <= row < rows { for q in after { y[p, row, q] = y[p, row, q] + updates[p, u, q] } } }
    }

The first loop is left out where y lies over x, as in an update of some rows of a variable: then only those rows are touched. The 16-bit
floats are summed in a float32 copy of one slice p, which is rounded to the output at the end. Where there is one p only, as in the gradient
of an embedding, the columns q are cut into slices that are summed side by side; each sum keeps its order.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import accumulator_dtype, combiner
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_nest import Attempt, Group
from graphc.codegen.lower_scope import Nest, walk
from graphc.codegen.lower_values import Values
from graphc.core import dtypes
from graphc.core.loops import DynamicUpdate, Scatter
from graphc.core.program import Node

SLICE, MOST = 32, 8  # columns that a task sums at least: two cache lines of float32; slices, each of which reads all indices


def scatter_of(group: Group) -> Node | None:
    """The scatter that gives the only output of `group`, None where there is none."""
    last = group.body.outputs[0]
    return last if isinstance(last.primitive.loop, Scatter) and len(group.outputs) == 1 else None


def update_of(group: Group) -> Node | None:
    """The dynamic_update_slice that gives the only output of `group`, None where there is none."""
    last = group.body.outputs[0]
    return last if isinstance(last.primitive.loop, DynamicUpdate) and len(group.outputs) == 1 else None


def lower_update(group: Group, node: Node) -> Attempt:
    """The body of the kernel of a dynamic_update_slice whose output lies over operand 0: the box alone is written.

        for k in box parallel { y[start + k] = update[k] }
    """
    _, update, *starts = node.operands
    nest = Nest()
    values = Values(nest, group.buffers)
    corner = values.box_starts(starts, node.dims, update.dims)
    with _over(nest, update.dims) as index:
        place = li.flatten(tuple(start + i for start, i in zip(corner, index, strict=True)), node.dims)
        values.store(group.outputs[0], place, values.at(update, index))
    return Attempt(tuple(nest.scopes[0].stmts), values.positions, values.cuts, frozenset())


@contextmanager
def _over(nest: Nest, dims: Sequence[int]) -> Iterator[tuple[Index, ...]]:
    """Loops over `dims`, the first of them parallel."""
    with ExitStack() as stack:
        index: list[Index] = []
        for axis, dim in enumerate(dims):
            kind = "serial" if any(before > 1 for before in dims[:axis]) else "parallel"
            index.append(stack.enter_context(walk(nest, [LoopVar(f"k{axis}", dim)], kind)))
        yield tuple(index)


def lower_scatter(group: Group, node: Node, in_place: bool = False) -> Attempt:
    """The body of the kernel of `node`, the scatter of `group`. in_place: its output lies over operand 0, which is a buffer."""
    return _Scatter(group, node).build(in_place)


class _Scatter:
    """Writes the kernel: `slices` tasks of `width` columns where `before` is 1, else one task for each of `before`."""

    def __init__(self, group: Group, node: Node) -> None:
        self.node = node
        self.source, self.indices, self.updates = node.operands
        axis = node.attrs.axis
        self.before, self.rows, self.after = math.prod(node.dims[:axis]), node.dims[axis], math.prod(node.dims[axis + 1:])
        self.slices = _slices(self.after) if self.before == 1 else 1
        self.width = self.after // self.slices
        self.output = group.outputs[0]
        self.nest = Nest()
        self.values = Values(self.nest, group.buffers)
        self.is_wide = node.attrs.combine == "assign" or accumulator_dtype(node.dtype) is node.dtype

    def build(self, in_place: bool) -> Attempt:
        with self._loop("p", self.before * self.slices, "parallel") as p:
            target = self.output if self.is_wide else self.nest.local(dtypes.float32, (self.rows * self.width,))
            first = p * (self.rows * self.after if self.slices == 1 else self.width)
            if not (in_place and target is self.output):
                self._copy(first, target)
            self._combine(p, first, target)
            if not self.is_wide:
                self._round(first, target)
        return Attempt(tuple(self.nest.scopes[0].stmts), self.values.positions, self.values.cuts, frozenset())

    def _place(self, target: ir.Buffer, first: Index, row: Index, q: Index) -> Index:
        """Where column q of a task that begins at element `first` of the output lies, in the output or in the task's own copy."""
        return first + row * self.after + q if target is self.output else row * self.width + q

    def _loop(self, letter: str, extent: int, kind: str = "serial") -> AbstractContextManager[Index]:
        return walk(self.nest, [LoopVar(letter, extent)], kind)

    def _value(self, node: Node, position: Index) -> ir.Expr:
        """The element of `node` at a row-major position."""
        return self.values.at(node, li.unflatten(position, node.dims))

    def _copy(self, first: Index, target: ir.Buffer) -> None:
        with self._loop("n", self.rows) as n, self._loop("q", self.width) as q:
            value = self._value(self.source, self._place(self.output, first, n, q))
            self.values.store(target, self._place(target, first, n, q), self.values.convert(value, target.dtype))

    def _combine(self, p: Index, first: Index, target: ir.Buffer) -> None:
        count = self.indices.type.size
        if not count:
            return
        start = p * (count * self.after if self.slices == 1 else self.width)
        with self._loop("u", count) as u:
            row = self.values.convert(self._value(self.indices, u), dtypes.int64)
            inside = ir.Apply("and", (ir.Apply("ge", (row, ir.index(0)), dtypes.bool),
                                      ir.Apply("lt", (row, ir.index(self.rows)), dtypes.bool)), dtypes.bool)
            with self.nest.block() as block:
                with self._loop("q", self.width) as q:
                    place = self._place(target, first, li.loaded(row, 0, self.rows - 1), q)
                    update = self.values.convert(self._value(self.updates, start + u * self.after + q), target.dtype)
                    self.values.store(target, place, self._combined(target, place, update))
                self.nest.emit(ir.If(inside, tuple(block.stmts)), self.nest.depth - 1)

    def _combined(self, target: ir.Buffer, place: Index, update: ir.Expr) -> ir.Expr:
        """What an update makes of what stands at `place`."""
        combine = self.node.attrs.combine
        if combine == "assign":
            return update
        return ir.Apply(combiner(combine, target.dtype), (ir.Load(target, (self.values.address(target, place),)), update), target.dtype)

    def _round(self, first: Index, target: ir.Buffer) -> None:
        with self._loop("n", self.rows) as n, self._loop("q", self.width) as q:
            value = ir.Load(target, (self.values.address(target, self._place(target, first, n, q)),))
            self.values.store(self.output, self._place(self.output, first, n, q), self.values.convert(value, self.output.dtype))


def _slices(columns: int) -> int:
    """Into how many equal slices of at least SLICE columns to cut: a function of the shape, never of the number of threads."""
    return next((count for count in range(min(MOST, columns // SLICE), 1, -1) if columns % count == 0), 1)
