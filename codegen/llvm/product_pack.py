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
            vectors, rest = divmod(columns, lanes)
            if vectors:
                with counted(self.e, "0", str(vectors * lanes), lanes) as column:
                    self._transpose_block(step, column, lanes, row)
            if rest:
                self._transpose_block(step, str(vectors * lanes), rest, row)
        with only_if(self.e, self.e.let(f"icmp ult i64 {whole}, %depth")):
            self._right_rows(whole, Width.of(columns, lanes))

    def _transpose_block(self, step: str, column: str, alive: int, row: str) -> None:
        """`lanes` steps of `alive` columns: read along the depth, one vector per column, and stored one vector per step."""
        lanes, product = self.plan.lanes, self.plan.product
        lines: list[str] = []
        first = Affine.of(column) + Affine.of("%j")
        for offset in range(alive):
            k, j = Affine(0, (("%k", 1), (step, 1)), 1), first + Affine(offset)
            lines += self._evaluate(self.plan.rhs.expr, {product.k: k, product.j: j}, Width.full(lanes))
        lines += ["zeroinitializer"] * (lanes - alive)
        place = byte_offset(self.e, row, times(self.e, column, self.plan.size))
        for position, name in enumerate(transpose(self.e, lines, self.plan.element)):
            self._store(name, place, position * self.plan.rhs.step)

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
    """The transpose of a square of registers, as many as each has lanes (a power of two): log2(lanes) rounds of one shuffle per register.

    The first rounds interleave the halves of every 128-bit block, the last ones move whole blocks: shuffles that are one instruction each on
    every width of x86 and on ARM.
    """
    lanes = len(lines)
    block = min(lanes, 16 // (4 if element == "float" else 8))
    current = list(lines)
    grain = 1
    while grain < block:  # afterwards line c of each group of `block` lines holds column c of its blocks, c with its bits reversed
        current = _butterfly(e, current, element, grain, *_interleaved(lanes, block, grain))
        grain *= 2
    bits = block.bit_length() - 1
    current = [current[line - line % block + _reversed_bits(line % block, bits)] for line in range(lanes)]
    distance = block
    while distance < lanes:
        current = _butterfly(e, current, element, distance, *_every_other(lanes, block))
        distance *= 2
    return current


def _butterfly(e: Emitter, lines: Sequence[str], element: str, distance: int, low: Sequence[int], high: Sequence[int]) -> list[str]:
    """Shuffles each pair of lines `distance` apart into two new ones in their places."""
    lanes = len(lines)
    kind = vector(element, lanes)
    result = list(lines)
    for first in (line for line in range(lanes) if not line & distance):
        pair = f"{kind} {lines[first]}, {kind} {lines[first + distance]}"
        for line, order in ((first, low), (first + distance, high)):
            result[line] = e.let(f"shufflevector {pair}, <{lanes} x i32> <{', '.join(f'i32 {lane}' for lane in order)}>")
    return result


def _interleaved(lanes: int, block: int, grain: int) -> tuple[list[int], list[int]]:
    """Pieces of `grain` lanes taken in turn from two registers: from the lower and from the upper half of each block."""
    low, high = [], []
    for start in range(0, lanes, block):
        for piece in range(0, block // 2, grain):
            for register in (0, lanes):
                low += range(register + start + piece, register + start + piece + grain)
                high += range(register + start + block // 2 + piece, register + start + block // 2 + piece + grain)
    return low, high


def _every_other(lanes: int, block: int) -> tuple[list[int], list[int]]:
    """The even blocks of two registers, and the odd ones."""
    even, odd = [], []
    for start in range(0, 2 * lanes, 2 * block):
        even += range(start, start + block)
        odd += range(start + block, start + 2 * block)
    return even, odd


def _reversed_bits(value: int, bits: int) -> int:
    return sum(1 << (bits - 1 - bit) for bit in range(bits) if value >> bit & 1)
