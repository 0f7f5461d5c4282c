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
        square = self.e.let(f"alloca [{lanes * lanes * self.plan.size} x i8], align 64")
        whole = self.e.let(f"and i64 %depth, {-lanes}")
        with only_if(self.e, self.e.let(f"icmp ne i64 {whole}, 0")), counted(self.e, "0", whole, lanes) as step:
            row = byte_offset(self.e, "%panel", times(self.e, step, self.plan.rhs.step))
            vectors, rest = divmod(columns, lanes)
            if vectors:
                with counted(self.e, "0", str(vectors * lanes), lanes) as column:
                    self._transpose(step, column, lanes, row, square)
            if rest:
                self._transpose(step, str(vectors * lanes), rest, row, square)
        with only_if(self.e, self.e.let(f"icmp ult i64 {whole}, %depth")):
            self._right_rows(whole, Width.of(columns, lanes))

    def _transpose(self, step: str, column: str, alive: int, row: str, square: str) -> None:
        """Transposes a square of `lanes` steps and columns, of which only `alive` columns exist: read by columns, stored by steps.

        Two passes over `square`, each of them small shuffles in a loop: unrolled, a square of 16 would take LLVM 40 ms to select.
        """
        plan, lanes = self.plan, self.plan.lanes
        block = block_lanes(lanes, plan.element)
        groups, vector_bytes = lanes // block, lanes * plan.size
        if alive >= block:
            with counted(self.e, "0", str(alive - alive % block), block) as first:
                self._transpose_group(step, column, first, block, square)
        if alive % block:
            self._transpose_group(step, column, str(alive - alive % block), alive % block, square)
        place = byte_offset(self.e, row, times(self.e, column, plan.size))
        with counted(self.e, "0", str(block)) as within:
            base = byte_offset(self.e, square, times(self.e, within, groups * vector_bytes))
            to = byte_offset(self.e, place, times(self.e, within, plan.rhs.step))
            for group, name in enumerate(across_blocks(self.e, [self._load(base, g * vector_bytes) for g in range(groups)], plan.element)):
                self._store(name, to, group * block * plan.rhs.step)

    def _transpose_group(self, step: str, column: str, first: str, alive: int, square: str) -> None:
        """The first pass for columns `first` to `first + alive` of a square: the little squares in their 128-bit blocks."""
        plan, lanes = self.plan, self.plan.lanes
        block = block_lanes(lanes, plan.element)
        lines: list[str] = []
        start = Affine.of(column) + Affine.of(first) + Affine.of("%j")
        k = Affine(0, (("%k", 1), (step, 1)), 1)
        with self.body.isolated():
            for line in range(alive):
                with self.body.bound({plan.product.k.name: k, plan.product.j.name: start + Affine(line)}, Width.full(lanes)):
                    lines += self.body.vectors(plan.rhs.expr)
        lines += ["zeroinitializer"] * (block - alive)
        base = byte_offset(self.e, square, times(self.e, first, lanes // block * plan.size))
        for within, name in enumerate(within_blocks(self.e, lines, plan.element, lanes)):
            self._store(name, base, within * (lanes // block) * lanes * plan.size)

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

    def _load(self, base: str, offset: int) -> str:
        address = byte_offset(self.e, base, offset)
        return self.e.let(f"load {vector(self.plan.element, self.plan.lanes)}, ptr {address}, align {self.plan.size}")

    def _store(self, name: str, base: str, offset: int, lanes: int | None = None) -> None:
        lanes = lanes or self.plan.lanes
        address = byte_offset(self.e, base, offset)
        self.e.do(f"store {vector(self.plan.element, lanes)} {name}, ptr {address}, align {self.plan.size}")


# Transposing a square of registers in log2(lanes) rounds of one shuffle per register. The first rounds interleave the halves of each
# 128-bit block, the last ones move whole blocks: shuffles that are one instruction each on every width of x86 and on ARM.


def block_lanes(lanes: int, element: str) -> int:
    """Lanes in a 128-bit block, or in a register that is smaller."""
    return min(lanes, 4 if element == "float" else 2)


def within_blocks(e: Emitter, lines: Sequence[str], element: str, lanes: int) -> list[str]:
    """As many registers as a block has lanes: the square in each block is transposed."""
    block, current, grain = len(lines), list(lines), 1
    while grain < block:
        current = _butterfly(e, current, vector(element, lanes), grain, *_interleaved(lanes, block, grain))
        grain *= 2
    bits = block.bit_length() - 1  # line c now holds column c with its bits reversed
    return [current[_reversed_bits(line, bits)] for line in range(block)]


def across_blocks(e: Emitter, lines: Sequence[str], element: str) -> list[str]:
    """As many registers as each has blocks: the square of blocks is transposed."""
    count, current, distance = len(lines), list(lines), 1
    block = 4 if element == "float" else 2
    while distance < count:
        current = _butterfly(e, current, vector(element, count * block), distance, *_every_other(count * block, block))
        distance *= 2
    return current


def _butterfly(e: Emitter, lines: Sequence[str], kind: str, distance: int, low: Sequence[int], high: Sequence[int]) -> list[str]:
    """Shuffles each pair of lines `distance` apart into two new ones in their places."""
    result = list(lines)
    for first in (line for line in range(len(lines)) if not line & distance):
        pair = f"{kind} {lines[first]}, {kind} {lines[first + distance]}"
        for line, order in ((first, low), (first + distance, high)):
            result[line] = e.let(f"shufflevector {pair}, <{len(order)} x i32> <{', '.join(f'i32 {lane}' for lane in order)}>")
    return result


def _interleaved(lanes: int, block: int, grain: int) -> tuple[list[int], list[int]]:
    """Pieces of `grain` lanes taken in turn from two registers: from the lower and from the upper half of each block."""
    low: list[int] = []
    high: list[int] = []
    for start in range(0, lanes, block):
        for piece in range(0, block // 2, grain):
            for register in (0, lanes):
                low += range(register + start + piece, register + start + piece + grain)
                high += range(register + start + block // 2 + piece, register + start + block // 2 + piece + grain)
    return low, high


def _every_other(lanes: int, block: int) -> tuple[list[int], list[int]]:
    """The even blocks of two registers, and the odd ones."""
    even: list[int] = []
    odd: list[int] = []
    for start in range(0, 2 * lanes, 2 * block):
        even += range(start, start + block)
        odd += range(start + block, start + 2 * block)
    return even, odd


def _reversed_bits(value: int, bits: int) -> int:
    return sum(1 << (bits - 1 - bit) for bit in range(bits) if value >> bit & 1)
