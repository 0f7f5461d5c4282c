"""Printing matrix products for CPUs: the loops around the micro-kernel. Called by `printer` for each `Product` of a kernel.

`product_plan` decides how a product is cut up, `product_pack` and `product_tile` print the inner functions, one per distinct panel and tile
shape; here they are tied together, in one function per product that runs a range of its tasks. A product of one column (or one row) whose
operands lie along the depth has no use for tiles: it is printed as plain dot products, one vector loop each.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.llvm.body import Body, Capture
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.forms import SCALAR, Affine
from graphc.codegen.llvm.product_loops import byte_offset, counted, least, plus, times
from graphc.codegen.llvm.product_pack import LHS_PARAMETERS, RHS_PARAMETERS, Packer
from graphc.codegen.llvm.product_plan import Cut, Operand, Plan, make_plan, oriented, runs_as_dots
from graphc.codegen.llvm.product_tile import PARAMETERS, Tile
from graphc.codegen.llvm.product_windows import WindowPacker
from graphc.codegen.llvm.target import Target

_DOT_PARTS = 4  # accumulators of a dot product: as many as a multiply-add takes cycles


def product_scratch(product: ir.Product, target: Target) -> int:
    """Bytes of scratch memory that one thread needs to run any of the product's tasks."""
    product = oriented(product)
    return 0 if _is_empty(product) or runs_as_dots(product) else make_plan(product, target).scratch_bytes


def product_tasks(product: ir.Product, target: Target) -> int:
    """Independent tasks into which a product that is the whole kernel is cut; a function of its shapes and of the vector width."""
    product = oriented(product)
    if _is_empty(product):
        return 1
    return product.m if runs_as_dots(product) else make_plan(product, target).tasks


def emit_product(body: Body, product: ir.Product, tasks: tuple[str, str] | None) -> None:
    """Prints a product at the place where `body` stands: the tasks [begin, end) where their registers are given, else all of it."""
    product = oriented(product)
    if _is_empty(product):
        return
    if runs_as_dots(product):
        body.execute((_dots(product, body.target, "serial" if tasks is None else "parallel"),))
        return
    plan = make_plan(product, body.target)
    begin, end = tasks or ("0", str(plan.tasks))
    capture = body.capture(product)
    name = _Printer(body, capture, plan, f"@{body.e.new_label('product')}").emit()
    body.e.do(f"call void {name}({_joined(capture.arguments, f'ptr {body.panels}, i64 {begin}, i64 {end}')})")


def _is_empty(product: ir.Product) -> bool:
    return product.m == 0 or product.n == 0


def _dots(product: ir.Product, target: Target, kind: str) -> ir.Loop:
    """The loops of a column of dot products. `kind`: "parallel" where each row is a task."""
    acc, zero = product.acc, ir.Const(0.0, product.acc.dtype)
    term = ir.Apply("multiply", (product.lhs, product.rhs), acc.dtype)
    lanes = target.lanes(acc.dtype)
    parts = min(_DOT_PARTS, -(-product.depth // lanes))
    inner = ir.Loop(product.k, product.depth, "vector", (ir.Update(acc, "add", term),), lanes, parts)
    column = ir.Let(product.j, ir.index(0))
    return ir.Loop(product.i, product.m, kind, (column, ir.Acc(acc, zero), inner, *product.epilogue))


class _Printer:
    """Prints the functions of one product. `name`: of the outermost, which others extend."""

    def __init__(self, outer: Body, capture: Capture, plan: Plan, name: str) -> None:
        self.outer = outer
        self.capture = capture
        self.plan = plan
        self.name = name

    def emit(self) -> str:
        """Adds all functions to the module; returns the name of the one that runs tasks [%begin, %end)."""
        plan = self.plan
        tiles = [[self._tile(rows, columns) for columns in plan.columns.sizes] for rows in plan.rows.sizes]
        left = [] if plan.lhs.direct or not plan.product.depth else [self._pack_left(rows) for rows in plan.rows.sizes]
        right = [] if plan.rhs.direct or not plan.product.depth else [self._pack_right(columns) for columns in plan.columns.sizes]
        run = _Functions(tiles, left, right)
        return self._function("", "ptr %panels, i64 %begin, i64 %end", lambda body: _Tasks(body, self.capture, plan, run).emit())

    def _tile(self, rows: int, columns: int) -> str:
        return self._function(f".tile{rows}x{columns}", PARAMETERS, lambda body: Tile(body, body.target, self.plan, rows, columns).emit())

    def _pack_left(self, rows: int) -> str:
        return self._function(f".left{rows}", LHS_PARAMETERS, lambda body: self._packer(body, self.plan.lhs).left(rows))

    def _pack_right(self, columns: int) -> str:
        return self._function(f".right{columns}", RHS_PARAMETERS, lambda body: self._packer(body, self.plan.rhs).right(columns))

    def _packer(self, body: Body, operand: Operand) -> Packer | WindowPacker:
        return WindowPacker(body, self.plan, operand.seen) if operand.seen else Packer(body, self.plan)

    def _function(self, suffix: str, parameters: str, write: Callable[[Body], None]) -> str:
        name = self.name + suffix
        e = Emitter(f"define internal void {name}({_joined(self.capture.parameters, parameters)})", self.outer.e.module)
        write(self.outer.inner(e, self.capture))
        e.finish("nounwind ")
        return name


@dataclass(frozen=True)
class _Depth:
    """Registers of a block of depth: where it starts, its length, whether it is the first, whether it is the last."""

    start: str
    length: str
    starts: str
    ends: str


@dataclass(frozen=True)
class _Functions:
    """Names of the inner functions by size of panel, as in the plan's cuts; no packing functions for a side that is read where it lies."""

    tiles: Sequence[Sequence[str]]  # by rows, then by columns
    left: Sequence[str]
    right: Sequence[str]


class _Tasks:
    """Prints the loops over tasks, blocks of depth, and panels."""

    def __init__(self, body: Body, capture: Capture, plan: Plan, functions: _Functions) -> None:
        self.body = body
        self.e = body.e
        self.plan = plan
        self.functions = functions
        # The inner functions take the same captures under the same names.
        self.arguments = ", ".join(f"{kind} {inside}" for kind, _, inside in capture.registers)

    def emit(self) -> None:
        plan = self.plan
        with counted(self.e, "%begin", "%end") as task:
            row_block, column_block = self._divided(task)
            rows = self._range(row_block, plan.row_block, plan.rows.count)
            columns = self._range(column_block, plan.column_block, plan.columns.count)
            if plan.depth_blocks == 1:
                self._block(rows, columns, _Depth("0", str(plan.product.depth), "true", "true"))
            else:
                with counted(self.e, "0", str(plan.depth_blocks)) as block:
                    start = times(self.e, block, plan.depth_block)
                    depth = least(self.e, str(plan.depth_block), self.e.let(f"sub i64 {plan.product.depth}, {start}"))
                    starts = self.e.let(f"icmp eq i64 {block}, 0")
                    ends = self.e.let(f"icmp eq i64 {block}, {plan.depth_blocks - 1}")
                    self._block(rows, columns, _Depth(start, depth, starts, ends))
        self.e.do("ret void")

    def _divided(self, task: str) -> tuple[str, str]:
        """A task's block of rows and block of columns."""
        count = self.plan.column_blocks
        if count == 1:
            return task, "0"
        if self.plan.row_blocks == 1:
            return "0", task
        return self.e.let(f"udiv i64 {task}, {count}"), self.e.let(f"urem i64 {task}, {count}")

    def _range(self, block: str, panels: int, count: int) -> tuple[str, str]:
        """The panels of a block, of which the last one may have fewer."""
        if panels >= count:
            return "0", str(count)
        start = times(self.e, block, panels)
        return start, least(self.e, plus(self.e, start, str(panels)), str(count))

    def _block(self, rows: tuple[str, str], columns: tuple[str, str], depth: _Depth) -> None:
        """One block of depth of one task: the panels of the inner side packed first, then each panel of the outer side with all of them."""
        if self.plan.columns_outside:
            if self.functions.left:
                with counted(self.e, *rows) as row:
                    self._pack_left(row, rows[0], depth)
            with counted(self.e, *columns) as column:
                self._pack_right(column, column, depth)
                with counted(self.e, *rows) as row:
                    self._multiply((row, rows[0]), (column, column), (rows[0], columns[0]), depth)
        else:
            if self.functions.right:
                with counted(self.e, *columns) as column:
                    self._pack_right(column, columns[0], depth)
            with counted(self.e, *rows) as row:
                self._pack_left(row, row, depth)
                with counted(self.e, *columns) as column:
                    self._multiply((row, row), (column, columns[0]), (rows[0], columns[0]), depth)

    def _pack_left(self, row: str, first: str, depth: _Depth) -> None:
        """Packs a panel of rows into its place, counted from panel `first`; nothing where the left side is read where it lies."""
        if self.functions.left:
            self._pack(self.functions.left, self._left_panel(row, first), self.plan.rows, row, depth)

    def _pack_right(self, column: str, first: str, depth: _Depth) -> None:
        """Packs a panel of columns into its place, counted from panel `first`; nothing where the right side is read where it lies."""
        if self.functions.right:
            self._pack(self.functions.right, self._right_panel(column, first), self.plan.columns, column, depth)

    def _pack(self, functions: Sequence[str], place: str, cut: Cut, panel: str, depth: _Depth) -> None:
        where = f"ptr {place}, i64 {self._start(cut, panel)}, i64 {depth.start}, i64 {depth.length}"
        self.e.do(f"call void {self._choose(functions, cut, panel)}({_joined(self.arguments, where)})")

    def _multiply(self, row: tuple[str, str], column: tuple[str, str], corner: tuple[str, str], depth: _Depth) -> None:
        """Calls the micro-kernel. `row`, `column`: the panel, and the first of the packed ones; `corner`: the task's first tile."""
        plan, product = self.plan, self.plan.product
        i, j = self._start(plan.rows, row[0]), self._start(plan.columns, column[0])
        left = right = "null"
        if product.depth:
            at = {product.i.name: Affine.of(i), product.j.name: Affine.of(j), product.k.name: Affine.of(depth.start)}
            left = self._element(plan.lhs, at) if plan.lhs.direct else self._left_panel(*row)
            right = self._element(plan.rhs, at) if plan.rhs.direct else self._right_panel(*column)
        sums = self._sums(row[0], corner[0], column[0], corner[1])
        by_rows = [self._choose(shapes, plan.rows, row[0]) for shapes in zip(*self.functions.tiles, strict=True)]
        tile = self._choose(by_rows, plan.columns, column[0])
        place = f"ptr {left}, ptr {right}, ptr {sums}, i64 {depth.length}, i1 {depth.starts}, i1 {depth.ends}, i64 {i}, i64 {j}"
        self.e.do(f"call void {tile}({_joined(self.arguments, place)})")

    def _element(self, operand: Operand, bindings: dict[str, Affine]) -> str:
        """The address in its own buffer of an operand that is a plain load."""
        load = operand.expr
        assert isinstance(load, ir.Load)
        with self.body.isolated(), self.body.bound(bindings):
            place = self.body.memory.address(load.buffer, [self.body.evaluate(index) for index in load.index], SCALAR)
            offset = self.body.memory.scalar(place.affine)
        return byte_offset(self.e, self.body.memory.pointers[load.buffer.name], times(self.e, offset, self.plan.size))

    def _left_panel(self, row: str, first: str) -> str:
        return self._panel(0, self.plan.lhs_panel, row, first)

    def _right_panel(self, column: str, first: str) -> str:
        return self._panel(self.plan.rhs_offset, self.plan.rhs_panel, column, first)

    def _panel(self, offset: int, nbytes: int, panel: str, first: str) -> str:
        """The address of a packed panel, `first` being the one that lies at `offset` of the scratch memory."""
        base = byte_offset(self.e, "%panels", offset)
        if panel == first:
            return base
        return byte_offset(self.e, base, times(self.e, self.e.let(f"sub i64 {panel}, {first}"), nbytes))

    def _sums(self, row: str, first_row: str, column: str, first_column: str) -> str:
        """Where a tile's sums wait between blocks of depth."""
        if self.plan.depth_blocks == 1:
            return "null"
        line = times(self.e, self.e.let(f"sub i64 {row}, {first_row}"), self.plan.column_block)
        tile = plus(self.e, line, self.e.let(f"sub i64 {column}, {first_column}"))
        base = byte_offset(self.e, "%panels", self.plan.sums_offset)
        return byte_offset(self.e, base, times(self.e, tile, self.plan.tile_bytes))

    def _start(self, cut: Cut, panel: str) -> str:
        """The first row or column of a panel."""
        start = times(self.e, panel, cut.pitch)
        return plus(self.e, start, least(self.e, panel, str(cut.first))) if cut.slant else start

    def _choose(self, functions: Sequence[str], cut: Cut, panel: str) -> str:
        """The function for the size of a panel: one of at most two."""
        if len(functions) == 1:
            return functions[0]
        return self.e.let(f"select i1 {self.e.let(f'icmp ult i64 {panel}, {cut.first}')}, ptr {functions[0]}, ptr {functions[1]}")


def _joined(*lists: str) -> str:
    return ", ".join(part for part in lists if part)
