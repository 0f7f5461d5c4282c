"""Packing: the operands of a matrix product, copied or computed into panels that the micro-kernel reads in order.

A panel of the right side has one row of `width` columns per step of depth; missing columns of the last panel are left as they come, since
they only ever meet lanes that are never stored. Where the source lies along the depth (a transposed right side), square blocks are read
along it and transposed in registers. A panel of the left side keeps the direction of its source: the micro-kernel takes any strides there.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.llvm.body import Body
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.forms import Affine, Width
from graphc.codegen.llvm.product_loops import byte_offset, counted, only_if, times
from graphc.codegen.llvm.product_plan import Plan
from graphc.codegen.llvm.vec import vector

LHS_PARAMETERS = "ptr %panel, i64 %i, i64 %k, i64 %depth"
RHS_PARAMETERS = "ptr %panel, i64 %j, i64 %k, i64 %depth"


class Packer:
    """Prints a packing function into `body`'s function: the block of depth [%k, %k + %depth) of one panel, which goes to %panel."""

    def __init__(self, body: Body, plan: Plan) -> None:
        self.body = body
        self.e = body.e
        self.plan = plan

    def right(self, columns: int) -> None:
        """A panel of `columns` columns from %j on (RHS_PARAMETERS)."""
        if not self.plan.rhs.along_depth:
            self._right_rows("0", Width.of(columns, self.plan.lanes))
        else:
            self._right_transposed(columns)
        self.e.do("ret void")

    def left(self, rows: int) -> None:
        """A panel of `rows` rows from %i on (LHS_PARAMETERS)."""
        if self.plan.lhs.along_depth:
            self._left_rows(rows)
        else:
            self._left_columns(rows)
        self.e.do("ret void")

    # The right side

    def _right_rows(self, start: str, width: Width) -> None:
        """Steps [start, %depth), each read along the columns."""
        with counted(self.e, start, "%depth") as step:
            row = byte_offset(self.e, "%panel", times(self.e, step, self.plan.rhs.step))
            k, j = Affine(0, (("%k", 1), (step, 1))), Affine.of("%j", 1)
            for part, name in enumerate(self._evaluate(self.plan.rhs.expr, {self.plan.product.k: k, self.plan.product.j: j}, width)):
                self._store(name, row, part * self.plan.lanes * self.plan.size)

    def _right_transposed(self, columns: int) -> None:
        """Whole square blocks transposed, then the last few steps read across."""
        lanes = self.plan.lanes
        whole = self.e.let(f"and i64 %depth, {-lanes}")
        with only_if(self.e, self.e.let(f"icmp ne i64 {whole}, 0")), counted(self.e, "0", whole, lanes) as step:
            row = byte_offset(self.e, "%panel", times(self.e, step, self.plan.rhs.step))
            for part in range(-(-columns // lanes)):
                alive = min(lanes, columns - part * lanes)
                self._transpose_block(step, part, alive, row)
        with only_if(self.e, self.e.let(f"icmp ult i64 {whole}, %depth")):
            self._right_rows(whole, Width.of(columns, lanes))

    def _transpose_block(self, step: str, part: int, alive: int, row: str) -> None:
        lanes, product = self.plan.lanes, self.plan.product
        lines: list[str] = []
        for column in range(part * lanes, part * lanes + alive):
            k, j = Affine(0, (("%k", 1), (step, 1)), 1), Affine(column, (("%j", 1),))
            lines += self._evaluate(self.plan.rhs.expr, {product.k: k, product.j: j}, Width.full(lanes))
        lines += ["zeroinitializer"] * (lanes - alive)
        for position, name in enumerate(transpose(self.e, lines, self.plan.element)):
            self._store(name, row, position * self.plan.rhs.step + part * lanes * self.plan.size)

    # The left side

    def _left_rows(self, rows: int) -> None:
        """Rows copied along the depth: whole vectors, then a masked one where this is the end of the product's depth."""
        lanes, plan = self.plan.packing_lanes, self.plan
        with counted(self.e, "0", str(rows)) as row:
            line = byte_offset(self.e, "%panel", times(self.e, row, plan.lhs.pitch))
            i = Affine(0, (("%i", 1), (row, 1)))
            whole = self.e.let(f"and i64 %depth, {-lanes}")
            with only_if(self.e, self.e.let(f"icmp ne i64 {whole}, 0")), counted(self.e, "0", whole, lanes) as step:
                self._left_piece(line, i, step, Width.full(lanes))
            rest = plan.product.depth % lanes
            if rest:
                with only_if(self.e, self.e.let(f"icmp ult i64 {whole}, %depth")):
                    self._left_piece(line, i, whole, Width.of(rest, lanes))

    def _left_piece(self, line: str, i: Affine, step: str, width: Width) -> None:
        k = Affine(0, (("%k", 1), (step, 1)), 1)
        (name,) = self._evaluate(self.plan.lhs.expr, {self.plan.product.i: i, self.plan.product.k: k}, width)
        self._store(name, byte_offset(self.e, line, times(self.e, step, self.plan.size)), 0, width.lanes)

    def _left_columns(self, rows: int) -> None:
        """Steps of depth one by one, each read along the rows."""
        with counted(self.e, "0", "%depth") as step:
            line = byte_offset(self.e, "%panel", times(self.e, step, self.plan.lhs.step))
            k, i = Affine(0, (("%k", 1), (step, 1))), Affine.of("%i", 1)
            lanes = self.plan.packing_lanes
            bindings = {self.plan.product.k: k, self.plan.product.i: i}
            for part, name in enumerate(self._evaluate(self.plan.lhs.expr, bindings, Width.of(rows, lanes))):
                self._store(name, line, part * lanes * self.plan.size, lanes)

    # Both

    def _evaluate(self, expr: ir.Expr, bindings: dict[ir.Var, Affine], width: Width) -> tuple[str, ...]:
        with self.body.isolated(), self.body.bound({var.name: form for var, form in bindings.items()}, width):
            return self.body.vectors(expr)

    def _store(self, name: str, base: str, offset: int, lanes: int | None = None) -> None:
        lanes = lanes or self.plan.lanes
        address = byte_offset(self.e, base, offset)
        self.e.do(f"store {vector(self.plan.element, lanes)} {name}, ptr {address}, align {self.plan.size}")


def transpose(e: Emitter, lines: Sequence[str], element: str) -> list[str]:
    """The transpose of a square of registers, as many as each has lanes (a power of two).

    Eklundh's method: blocks of halving size change places across the diagonal, log2(lanes) rounds of one shuffle per register.
    """
    lanes = len(lines)
    kind = vector(element, lanes)
    current, half = list(lines), lanes // 2
    while half:
        upper = ", ".join(f"i32 {lane if not lane & half else lane - half + lanes}" for lane in range(lanes))
        lower = ", ".join(f"i32 {lane + half if not lane & half else lane + lanes}" for lane in range(lanes))
        following = list(current)
        for first in (index for index in range(lanes) if not index & half):
            pair = f"{kind} {current[first]}, {kind} {current[first + half]}"
            following[first] = e.let(f"shufflevector {pair}, <{lanes} x i32> <{upper}>")
            following[first + half] = e.let(f"shufflevector {pair}, <{lanes} x i32> <{lower}>")
        current, half = following, half // 2
    return current
