"""Packing operands that are windows of an array, run by run. Beside `product_pack`, which packs all others.

A convolution's operand is contiguous along some channels of some taps under one condition: whether the element seen lies inside the image.
So the digits of the indices (`product_digits`) are found once for each run, and the run is copied by whole vectors: from the array where
it lies inside, from zeros where not.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.llvm.body import Body
from graphc.codegen.llvm.forms import Affine, Form, Value, Width
from graphc.codegen.llvm.product_digits import Digit, Seen
from graphc.codegen.llvm.product_loops import byte_offset, counted, plus, times
from graphc.codegen.llvm.product_plan import Plan
from graphc.codegen.llvm.vec import vector
from graphc.core import dtypes

_PARTS = 4  # vectors copied side by side

Bindings = dict[str, Form]


class WindowPacker:
    """Prints a packing function into `body`'s function, with the parameters that `product_pack` gives it."""

    def __init__(self, body: Body, plan: Plan, seen: Seen) -> None:
        self.body = body
        self.e = body.e
        self.plan = plan
        self.seen = seen

    def left(self, rows: int) -> None:
        """A panel of rows, each contiguous along the depth, which is a whole number of pieces of runs."""
        e, plan, unit = self.e, self.plan, self.plan.lhs.unit
        with counted(e, "0", str(rows)) as row:
            line = byte_offset(e, "%panel", times(e, row, plan.lhs.pitch))
            across = self._across(plan.product.i, plus(e, "%i", row))
            with counted(e, "0", e.let(f"udiv i64 %depth, {unit}")) as piece:
                start = times(e, piece, unit)
                along = self._digits(plus(e, "%k", start), self.seen.along)
                if unit == self.seen.run:
                    along[self.seen.along[0].var.name] = Affine()
                self._copy(unit, byte_offset(e, line, times(e, start, plan.size)), across | along)
        e.do("ret void")

    def _copy(self, count: int, place: str, bindings: Bindings) -> None:
        """Copies `count` elements of a run, from the one that the bindings say on."""
        plan, run = self.plan, self.seen.along[0].var
        step, packed = ir.Var("step"), ir.Buffer("packed", plan.product.acc.dtype, (count,), "out")
        first = ir.Var("first")
        value = ir.Apply("convert", (self.seen.expr,), packed.dtype) if self.seen.expr.dtype is not packed.dtype else self.seen.expr
        body = (ir.Let(run, ir.Apply("add", (first, step), dtypes.int64)), ir.Store(packed, (step,), value))
        parts = min(_PARTS, -(-count // plan.packing_lanes))
        self.body.memory.pointers[packed.name] = place
        with self.body.isolated(), self.body.bound(bindings | {first.name: bindings[run.name]}):
            self.body.execute((ir.Loop(step, count, "vector", body, plan.packing_lanes, parts),))

    def right(self, columns: int) -> None:
        """A panel of columns, contiguous along them, step by step of depth."""
        e, plan = self.e, self.plan
        lanes, size = plan.lanes, plan.size
        whole = self.seen.run % (plan.vectors * lanes) == 0
        widths = [Width.of(columns, lanes)] if whole else [Width.of(min(lanes, columns - c), lanes) for c in range(0, columns, lanes)]
        along = [self._along(n * lanes, width) for n, width in enumerate(widths)]
        with counted(e, "0", "%depth") as step:
            row = byte_offset(e, "%panel", times(e, step, plan.rhs.step))
            across = self._across(plan.product.k, plus(e, "%k", step))
            for n, (width, mine) in enumerate(zip(widths, along, strict=True)):
                with self.body.isolated(), self.body.bound(across | mine, width):
                    names = self.body.vectors(self.seen.expr)
                for part, name in enumerate(names):
                    address = byte_offset(e, row, (n + part) * lanes * size)
                    e.do(f"store {vector(plan.element, lanes)} {name}, ptr {address}, align {size}")
        e.do("ret void")

    def _along(self, offset: int, width: Width) -> Bindings:
        """The digits of the columns from %j + `offset` on: where vectors lie inside runs, one start for all lanes; else lane by lane."""
        if self.seen.run % self.plan.lanes == 0:
            digits = self._digits(plus(self.e, "%j", str(offset)), self.seen.along)
            lowest = self.seen.along[0].var.name
            start = digits[lowest]
            assert isinstance(start, Affine)
            return digits | {lowest: start + Affine(vector=1)}
        found: Bindings = {}
        column = ir.Var("column")
        with self.body.isolated(), self.body.bound({column.name: Affine(offset, (("%j", 1),), 1)}, width):
            for digit in self.seen.along:
                quotient = ir.Apply("divide", (column, ir.index(digit.stride)), dtypes.int64)
                value = ir.Apply("remainder", (quotient, ir.index(digit.extent)), dtypes.int64)
                found[digit.var.name] = Value(self.body.vectors(value), dtypes.int64, False)
        return found

    # Digits

    def _across(self, var: ir.Var, register: str) -> Bindings:
        """The other variable, and its digits."""
        return {var.name: Affine.of(register)} | self._digits(register, self.seen.across)

    def _digits(self, register: str, digits: Sequence[Digit]) -> Bindings:
        """The digits of the index in a register."""
        found: Bindings = {}
        for digit in digits:
            value = register if digit.stride == 1 else self.e.let(f"udiv i64 {register}, {digit.stride}")
            if digit is not digits[-1]:
                value = self.e.let(f"urem i64 {value}, {digit.extent}")
            found[digit.var.name] = Affine.of(value)
        return found
