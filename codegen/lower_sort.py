"""The steps of sorting rows, of which `graphc.primitives.sorting` makes a sort: each is one kernel.

count:   for c in chunks parallel { local counts   zero them   for n in chunk { counts[digit(keys[n])] += 1 }   y[..., c] = counts }
place:   for c in chunks parallel { local next   next = starts[..., c]
                                    for n in chunk { let at = next[digit(keys[n])]   y[at] = keys[n]   next[digit] = at + 1 } }
invert:  for c in elements parallel { y[order[c]] = c }

A chunk is walked in order, so equal digits keep theirs. Chunks write to places of their own: they run on any thread.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_nest import Attempt, Group
from graphc.codegen.lower_scope import Nest, walk
from graphc.codegen.lower_values import Values
from graphc.core import dtypes
from graphc.core.loops import Sort
from graphc.core.program import Node


def sort_step_of(group: Group) -> Node | None:
    """The node of `group` where it is one step of a sort, by itself; None elsewhere."""
    last = group.body.outputs[0]
    return last if isinstance(last.primitive.loop, Sort) and last not in group.buffers else None


def lower_sort_step(group: Group, node: Node) -> Attempt:
    """The body of the kernel of `node`, a step of a sort."""
    form = node.primitive.loop
    assert isinstance(form, Sort)
    step = _Invert(group, node) if form.step == "invert" else _Radix(group, node)
    if isinstance(step, _Invert):
        step.build()
    elif form.step == "count":
        step.count()
    else:
        step.place()
    return Attempt(tuple(step.nest.scopes[0].stmts), step.values.positions, step.values.cuts, frozenset())


class _Invert:
    """One task for each element."""

    def __init__(self, group: Group, node: Node) -> None:
        self.nest = Nest()
        self.values = Values(self.nest, group.buffers)
        self.node, self.output = node, group.outputs[0]

    def build(self) -> None:
        order, length = self.node.operands[0], self.node.dims[-1]
        with walk(self.nest, [LoopVar("c", math.prod(self.node.dims))], "parallel") as c:
            place = self.values.convert(self.values.at(order, li.unflatten(c, order.dims)), dtypes.int64)
            inside = ir.Apply("and", (ir.Apply("ge", (place, ir.index(0)), dtypes.bool),
                                      ir.Apply("lt", (place, ir.index(length)), dtypes.bool)), dtypes.bool)
            value = self.values.convert(self.values.expr(c % length), order.dtype)
            at = self.values.address(self.output, c // length * length + li.loaded(place, 0, length - 1))
            self.nest.emit(ir.Store(self.output, (at,), value, inside))


class _Radix:
    """One task for each chunk of each row; its counters, one for each digit, in scratch memory."""

    def __init__(self, group: Group, node: Node) -> None:
        self.nest = Nest()
        self.values = Values(self.nest, group.buffers)
        self.node, self.outputs, self.attrs = node, group.outputs, node.attrs
        self.keys = node.operands[0]
        self.rows, self.length = self.keys.dims
        self.digits, self.chunks = 1 << self.attrs.bits, -(-self.length // self.attrs.chunk)

    def count(self) -> None:
        with walk(self.nest, self._tasks(), "parallel") as task:
            counts = self.nest.local(dtypes.int32, (self.digits,))
            with self._each_digit() as d:
                self.values.store(counts, d, ir.Const(0, dtypes.int32))
            with self._each_key(task) as position:
                digit = self._digit(self._key(position))
                self._advance(counts, digit, self.values.load(counts, digit))
            with self._each_digit() as d:
                self.values.store(self.outputs[0], self._counter(task, d), ir.Load(counts, (self.values.address(counts, d),)))

    def place(self) -> None:
        starts, *carried = self.node.operands[1:]
        with walk(self.nest, self._tasks(), "parallel") as task:
            following = self.nest.local(dtypes.int32, (self.digits,))
            with self._each_digit() as d:
                self.values.store(following, d, self.values.at(starts, li.unflatten(self._counter(task, d), starts.dims)))
            with self._each_key(task) as position:
                key = self._key(position)
                digit = self._digit(key)
                place = self.values.load(following, digit)
                row = position // self.length
                at = row * self.length + li.loaded(self.values.convert(place, dtypes.int64), 0, self.length - 1)
                values = [key, *(self.values.at(each, (row, position % self.length)) for each in carried)]
                for buffer, value in zip(self.outputs, values, strict=True):
                    self.values.store(buffer, at, value)
                self._advance(following, digit, place)

    def _tasks(self) -> list[LoopVar]:
        return [LoopVar("c", self.rows * self.chunks)]

    def _each_digit(self) -> AbstractContextManager[Index]:
        return walk(self.nest, [LoopVar("d", self.digits)])

    def _counter(self, task: Index, digit: Index) -> Index:
        """Where the counter of a digit stands in [rows, digits, chunks]."""
        first: Index = task // self.chunks * (self.digits * self.chunks) + digit * self.chunks + task % self.chunks
        return first

    @contextmanager
    def _each_key(self, task: Index) -> Iterator[Index]:
        """The keys of a task, in order, by their positions in [rows, length]; the last chunk of a row may have fewer than others."""
        row, chunk = task // self.chunks, task % self.chunks
        with walk(self.nest, [LoopVar("n", min(self.attrs.chunk, self.length))]) as n:
            column = chunk * self.attrs.chunk + n
            within = li.within([(column, 0, self.length)])
            if within is None:
                yield row * self.length + column
                return
            with self.nest.block() as block:
                floor, self.nest.floor = self.nest.floor, self.nest.depth  # no load may move out of the condition
                yield row * self.length + column
                self.nest.floor = floor
                self.nest.emit(ir.If(within, tuple(block.stmts)), self.nest.depth - 1)

    def _key(self, position: Index) -> ir.Expr:
        return self.values.at(self.keys, (position // self.length, position % self.length))

    def _digit(self, key: ir.Expr) -> Index:
        """The digit of a key as an index."""
        shifted = self.values.apply("shift_right_logical", (key, ir.Const(self.attrs.shift, key.dtype)), key.dtype)
        digit = self.values.apply("and", (shifted, ir.Const(self.digits - 1, key.dtype)), key.dtype)
        return li.loaded(self.values.convert(digit, dtypes.int64), 0, self.digits - 1)

    def _advance(self, counters: ir.Buffer, digit: Index, value: ir.Expr) -> None:
        self.values.store(counters, digit, ir.Apply("add", (value, ir.Const(1, dtypes.int32)), dtypes.int32))
