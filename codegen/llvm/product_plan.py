"""How a matrix product is cut up for a CPU: numbers only, no text. First step of printing a `Product`.

The scheme is Goto and van de Geijn's ("Anatomy of High-Performance Matrix Multiplication", 2008), fitted to shapes that are all known:

    for each block of rows and of columns (a task)
      for each block of depth
        pack the right side: panels of `vectors` vector registers, one row of a panel per step of depth
        for each panel of rows
          pack that panel of the left side
          for each panel of columns
            micro-kernel: rows x vectors accumulators stay in registers over the whole block of depth

With so few rows that the left side stays in the cache the two sides change places (`columns_outside`): the left side is packed first, then
each panel of columns is packed and at once multiplied with all of it. Where an operand's elements already lie well in memory they are not
copied: the left side is read one scalar at a time and broadcast, so any constant strides serve it; the right side must be contiguous along
the columns. Everything here depends on shapes alone, never on the number of threads, so that a result has the same bits however its tasks
are shared out.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.llvm import types
from graphc.codegen.llvm.product_digits import Seen, seen_along
from graphc.codegen.llvm.target import Target
from graphc.core import dtypes

_DEPTH = 512  # the longest block of depth: 14 rows of it fill the first-level cache, the right side streams from the second level anyway
_PANELS_BYTES = 512 << 10  # packed right side of one task: half of a second-level cache
_PARTIAL_BYTES = 1 << 20  # sums that wait for the next block of depth
_TASK_FLOPS = 8e6  # a task smaller than this (about 50 us) is not worth sharing
_MOST_TASKS = 32
_REPACKED_ROWS = 512  # rows over which packing the right side once more costs at most a hundredth
_SHORT_ROWS = 128  # up to so many rows packing a right side that the cache holds does not pay
_REUSED = 4  # panels of columns for which copying a panel of the left side pays, where it lies badly
_FAR_STEP = 2048  # bytes from one step of depth to the next beyond which it does
_WAYS, _WAY_BYTES = 8, 4096  # of a first-level cache: rows as far apart as a way fall into one set
_HOT_FLOPS = 1e8  # a product larger than this is cut for speed, a smaller one so that it compiles quickly
_TALL = 10  # rows of a tile that leave the processor room for the six instructions of a prefetch
_CACHED_BYTES = 256 << 10  # what surely stays in a second-level cache beside other things


@dataclass(frozen=True)
class Cut:
    """`extent` cut into `count` panels: the first `first` of them of `sizes[0]`, the others of `sizes[-1]`."""

    count: int
    first: int
    sizes: tuple[int, ...]
    pitch: int  # panel p starts at p * pitch + min(p, first) * slant
    slant: int

    @staticmethod
    def even(extent: int, most: int) -> Cut:
        """As few panels of at most `most` as will do, as equal as can be: a thin last panel would leave the multipliers waiting."""
        count = -(-extent // most)
        size = -(-extent // count)
        first = extent - count * (size - 1)
        return Cut(count, count, (size,), size, 0) if first == count else Cut(count, first, (size, size - 1), size - 1, 1)

    @staticmethod
    def equal(extent: int, most: int) -> Cut:
        """Panels of one size of at most `most` and more than half of it, or else as `even`: one size is one function to compile."""
        size = next((size for size in range(most, most // 2, -1) if extent % size == 0), 0)
        return Cut(extent // size, extent // size, (size,), size, 0) if size else Cut.even(extent, most)

    @staticmethod
    def full(extent: int, size: int) -> Cut:
        """Panels of exactly `size`, and one with what is left."""
        whole, rest = divmod(extent, size)
        sizes = ((size,) if whole else ()) + ((rest,) if rest else ())
        return Cut(whole + bool(rest), whole or 1, sizes, size, 0)


@dataclass(frozen=True)
class Operand:
    """One side of the product as the micro-kernel finds it: in its own buffer (`direct`), or copied into panels.

    `step`: bytes from one k to the next; `pitch`: bytes from one row to the next (the left side only). `along_depth`: packing evaluates the
    expression in vectors along k, because that is how its loads lie in memory. `seen`: the operand in digits, where it is windows of an
    array; `unit`: elements of its runs that are copied at a time (the left side only), of which a block of depth is a multiple.
    """

    expr: ir.Expr
    direct: bool
    along_depth: bool
    step: int
    pitch: int = 0
    seen: Seen | None = None
    unit: int = 1


@dataclass(frozen=True)
class Plan:
    """A product and how it is cut. `product` may be the given one with its sides exchanged, which only renames i and j."""

    product: ir.Product
    element: str  # of the accumulators: "float" or "double"
    lanes: int  # of the tiles' vectors: fewer than the target has where the product has so few columns
    packing_lanes: int  # of the vectors in which the left side is packed
    rows: Cut
    columns: Cut
    vectors: int  # vector registers in a full panel of columns
    depth_block: int
    steps: int  # of depth in one turn of the micro-kernel's loop
    lhs: Operand
    rhs: Operand
    row_block: int  # panels of rows in a task
    column_block: int
    columns_outside: bool

    @property
    def size(self) -> int:
        """Bytes of an accumulator's element."""
        return 4 if self.element == "float" else 8

    @property
    def width(self) -> int:
        """Columns of a full panel."""
        return self.vectors * self.lanes

    @property
    def depth_blocks(self) -> int:
        return max(1, -(-self.product.depth // max(1, self.depth_block)))

    @property
    def row_blocks(self) -> int:
        return -(-self.rows.count // self.row_block)

    @property
    def column_blocks(self) -> int:
        return -(-self.columns.count // self.column_block)

    @property
    def tasks(self) -> int:
        return self.row_blocks * self.column_blocks

    @property
    def prefetches(self) -> bool:
        """Whether the micro-kernel asks for the left side ahead of time: rows that lie apart, in memory that the cache does not hold."""
        along = self.lhs.direct and self.lhs.step == self.size
        large = self.product.m * self.product.depth * self.size > _CACHED_BYTES
        return along and large and self.rows.sizes[0] >= _TALL

    # Scratch memory: the packed left panel, the packed right panels, the sums of unfinished tiles.

    @property
    def lhs_panel(self) -> int:
        """Bytes of one packed panel of the left side."""
        if self.lhs.direct:
            return 0
        return _aligned(self.lhs.pitch * self.rows.sizes[0] if self.lhs.along_depth else self.lhs.step * self.depth_block)

    @property
    def rhs_panel(self) -> int:
        """Bytes of one packed panel of the right side."""
        return 0 if self.rhs.direct else _aligned(self.rhs.step * self.depth_block)

    @property
    def tile_bytes(self) -> int:
        """The accumulators of one tile."""
        return self.rows.sizes[0] * self.width * self.size if self.depth_blocks > 1 else 0

    @property
    def rhs_offset(self) -> int:
        return self.lhs_panel * (self.row_block if self.columns_outside else 1)

    @property
    def sums_offset(self) -> int:
        return self.rhs_offset + self.rhs_panel * (1 if self.columns_outside else self.column_block)

    @property
    def scratch_bytes(self) -> int:
        return self.sums_offset + _aligned(self.tile_bytes * self.row_block * self.column_block)


def make_plan(product: ir.Product, target: Target) -> Plan:
    """The plan for a product of at least one row and one column. ValueError when the accumulator is not floating."""
    if not product.acc.dtype.is_floating:
        raise ValueError(f"a product accumulates in a floating type, not in {product.acc.dtype.name}")
    element = types.reg_element(product.acc.dtype)
    size = 4 if element == "float" else 8
    packing_lanes = target.vector_bits // (8 * size)
    if product.n == 1 or _is_windows_along_rows(product, packing_lanes):
        product = exchanged(product)
    lanes = min(packing_lanes, _power_of_two(product.n))
    most_rows, vectors = _tile(product.m, -(-product.n // lanes), target)
    cut = Cut.even if 2 * product.m * product.n * product.depth > _HOT_FLOPS else Cut.equal
    rows, columns = cut(product.m, most_rows), Cut.full(product.n, vectors * lanes)
    seen = seen_along(product.lhs, product.k, product.depth, product.i, product.m, packing_lanes)
    unit = _unit(seen.run) if seen else packing_lanes
    depth_block = product.depth if rows.count == 1 else _depth_block(product.depth, unit)
    lhs = _left_windows(seen, unit, depth_block, size) if seen else _left(product, element, packing_lanes, rows, columns, depth_block)
    rhs = _right(product, element, vectors * lanes, rows, columns, lanes)
    steps = _steps(product.depth, depth_block, target)
    plan = Plan(
        product, element, lanes, packing_lanes, rows, columns, vectors, depth_block, steps, lhs, rhs,
        row_block=rows.count, column_block=columns.count, columns_outside=False,
    )
    return _blocked(plan)


def runs_as_dots(product: ir.Product) -> bool:
    """Whether the product is a column of dot products whose operands lie along k: no tile can be better than a plain reduction then."""
    return product.n == 1 and product.depth > 0 and _lies_along(product.lhs, product.k, product.i)


def oriented(product: ir.Product) -> ir.Product:
    """The product with its sides exchanged where that makes it a column of dot products."""
    other = exchanged(product)
    return other if runs_as_dots(other) and not runs_as_dots(product) else product


def exchanged(product: ir.Product) -> ir.Product:
    """The same product seen as (rhs transposed) times (lhs transposed)."""
    return replace(product, i=product.j, j=product.i, m=product.n, n=product.m, lhs=product.rhs, rhs=product.lhs)


def coefficient(expr: ir.Expr, var: ir.Var) -> int | None:
    """The constant by which `var` enters an int64 expression: 0 where it does not occur, None where the expression is not affine in it."""
    match expr:
        case ir.Var():
            return int(expr.name == var.name)
        case ir.Const():
            return 0
        case ir.Apply(op="add" | "subtract" | "negate"):
            parts = [coefficient(arg, var) for arg in expr.args]
            signs = {"add": (1, 1), "subtract": (1, -1), "negate": (-1,)}[expr.op]
            return None if None in parts else sum(s * p for s, p in zip(signs, parts, strict=True) if p is not None)
        case ir.Apply(op="multiply", args=(ir.Const(value), other)) | ir.Apply(op="multiply", args=(other, ir.Const(value))):
            inner = coefficient(other, var)
            return None if inner is None else int(value) * inner
    return None if any(isinstance(e, ir.Var) and e.name == var.name for e in ir.subexpressions(expr)) else 0


def stride(load: ir.Load, var: ir.Var) -> int | None:
    """Elements from one value of `var` to the next in a load's buffer; None where that is not constant."""
    total, inner = 0, 1
    for position, dim in zip(reversed(load.index), reversed(load.buffer.shape), strict=True):
        step = coefficient(position, var)
        if step is None:
            return None
        total, inner = total + step * inner, inner * dim
    return total


def _tile(m: int, vectors: int, target: Target) -> tuple[int, int]:
    """Rows and vectors of the micro-kernel.

    Measured: 14 x 2 of the 32 registers of AVX-512 reaches the multipliers' peak without a spill, 6 x 2 of 16 registers. Few rows get
    more vectors each, so that there are still more accumulators than a multiplier takes cycles.
    """
    many = target.vector_bits == 512 or not target.is_x86  # 32 registers; 16 on x86 before AVX-512
    choices = ((1, 16), (3, 8), (6, 4), (14, 2)) if many else ((1, 8), (3, 4), (6, 2))
    rows, wide = next((c for c in choices if m <= c[0]), choices[-1])
    return rows, min(wide, vectors)


def _steps(depth: int, depth_block: int, target: Target) -> int:
    """Steps of depth to a turn of the loop. A tile of 16 narrow registers is so small that the loop's own instructions count."""
    if target.vector_bits == 512 or not depth:
        return 1
    return next(steps for steps in (4, 2, 1) if depth % steps == depth_block % steps == 0)


def _depth_block(depth: int, unit: int) -> int:
    """Blocks of about equal length, whole units each, none much longer than `_DEPTH`."""
    blocks = max(1, -(-depth // (_DEPTH + min(unit, _DEPTH // 4))))
    return depth if blocks == 1 else _round_up(-(-depth // blocks), unit)


def _unit(run: int) -> int:
    """How much of a run is copied at a time: all of it, or an equal part of a very long one."""
    return run if run <= 2 * _DEPTH else max(part for part in range(1, _DEPTH + 1) if run % part == 0)


# The two sides: read where they are, or packed; and in which direction packing reads them.


def _left(product: ir.Product, element: str, lanes: int, rows: Cut, columns: Cut, depth_block: int) -> Operand:
    size = 4 if element == "float" else 8
    expr, i, k = product.lhs, product.i, product.k
    if isinstance(expr, ir.Load) and _plain(expr, element):
        pitch, step = stride(expr, i), stride(expr, k)
        if pitch is not None and step is not None:
            # Rows that a way's size (or a simple fraction of it) lies between share few sets of the cache.
            conflicts = pitch != 0 and rows.sizes[0] > _WAYS * _WAY_BYTES // math.gcd(pitch * size, _WAY_BYTES)
            # So do steps of depth, one line each, while all of a block's must wait for the next panel of columns.
            deep = step not in (0, 1) and depth_block > _WAYS * _WAY_BYTES // math.gcd(step * size, _WAY_BYTES) and columns.count > 1
            if not deep and (columns.count < _REUSED or not (conflicts or abs(step) * size >= _FAR_STEP)):
                return Operand(expr, True, False, step * size, pitch * size)
    if _lies_along(expr, k, i):
        # One line more than a power of two, so that the rows of a panel do not all fall into the same set of the cache.
        return Operand(expr, False, True, size, (_round_up(depth_block, 64 // size) + 64 // size) * size)
    return Operand(expr, False, False, _round_up(rows.sizes[0], lanes) * size, size)


def _left_windows(seen: Seen, unit: int, depth_block: int, size: int) -> Operand:
    return Operand(seen.expr, False, True, size, (_round_up(depth_block, 64 // size) + 64 // size) * size, seen, unit)


def _is_windows_along_rows(product: ir.Product, lanes: int) -> bool:
    """Whether the left side is windows that lie along the rows: as columns they are packed by whole vectors."""
    return seen_along(product.lhs, product.i, product.m, product.k, product.depth, lanes) is not None


def _right(product: ir.Product, element: str, width: int, rows: Cut, columns: Cut, lanes: int) -> Operand:
    size = 4 if element == "float" else 8
    expr, j, k = product.rhs, product.j, product.k
    if isinstance(expr, ir.Load) and _plain(expr, element) and stride(expr, j) == 1:
        step = stride(expr, k)
        small = product.m <= _SHORT_ROWS and product.n * product.depth * size <= _CACHED_BYTES
        if step is not None and (small or rows.count == 1 or columns.count == 1):
            return Operand(expr, True, False, step * size)
    seen = seen_along(expr, j, product.n, k, product.depth, lanes)
    return Operand(seen.expr if seen else expr, False, _lies_along(expr, k, j), width * size, seen=seen)


def _blocked(plan: Plan) -> Plan:
    """Chooses the tasks: blocks of columns first, since they repeat no packing of the right side, then blocks of rows."""
    product = plan.product
    wanted = min(_MOST_TASKS, max(1, int(2 * product.m * product.n * product.depth / _TASK_FLOPS)))
    least = 4 if plan.lhs.direct else 8
    most = max(1, _PANELS_BYTES // max(1, plan.rhs_panel)) if plan.rhs_panel else plan.columns.count
    column_blocks = max(min(wanted, plan.columns.count // least), -(-plan.columns.count // most), 1)
    column_block = -(-plan.columns.count // column_blocks)
    least = 2 if plan.rhs.direct else -(-_REPACKED_ROWS // plan.rows.sizes[0])
    most = max(1, _PARTIAL_BYTES // (plan.tile_bytes * column_block)) if plan.tile_bytes else plan.rows.count
    row_blocks = max(min(-(-wanted // column_blocks), plan.rows.count // least), -(-plan.rows.count // max(most, least)), 1)
    row_block = -(-plan.rows.count // row_blocks)
    left_bytes = row_block * plan.rows.sizes[0] * plan.depth_block * plan.size
    return replace(plan, column_block=column_block, row_block=row_block, columns_outside=left_bytes <= _CACHED_BYTES)


def _plain(load: ir.Load, element: str) -> bool:
    """Whether a load reads what the micro-kernel computes with: no predicate, no conversion."""
    stored = load.dtype is (dtypes.float32 if element == "float" else dtypes.float64)
    return stored and load.where is None


def _lies_along(expr: ir.Expr, along: ir.Var, across: ir.Var) -> bool:
    """Whether more of the expression's loads are contiguous along one variable than along the other."""
    loads = [e for e in ir.subexpressions(expr) if isinstance(e, ir.Load)]
    return sum((stride(load, along) == 1) - (stride(load, across) == 1) for load in loads) > 0


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def _aligned(nbytes: int) -> int:
    return _round_up(nbytes, 64)
