"""Printing matrix products in CUDA: a tile of the result for each block of threads, any expression as a side, any epilogue.

`product_plan` cuts the product into tiles, `product_stage` prints how a side's tile gets into shared memory; here are the loop over the
depth, the sums, and the epilogue. The text of one product:

    for each step of depth
      fetch the next tiles of both sides into registers
      multiply the tiles in shared memory:  sums[row][column] += lhs[k][row] * rhs[k][column]
      deliver the next tiles to shared memory; wait
    add up the slices' sums, if the block has several slices
    epilogue, strip by strip: all loads, then all stores

so that memory, multipliers and shared memory work at the same time. The printer of kernels calls `print_product` for each grid loop that
holds a product.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.cuda.facts import of_loop
from graphc.codegen.cuda.product_epilogue import Epilogue, accesses
from graphc.codegen.cuda.product_plan import THREADS, Plan, make_plan
from graphc.codegen.cuda.product_stage import Side, make_side, source_of
from graphc.codegen.cuda.product_strip import Share, block, contiguous, unrolled
from graphc.codegen.cuda.scalars import Scalars
from graphc.codegen.cuda.types import Names, register_type
from graphc.codegen.gpu import WARP, Gpu
from graphc.codegen.rewrite import substitute

__all__ = ["THREADS", "ProductText", "plan_product", "print_product", "reserve_words"]

# Identifiers of the text itself: nothing of the kernel may be called so.
_WORDS = (
    "across", "at", "at_depth", "at_extent", "c", "column_at", "down", "first_column", "first_row", "group", "left", "lhs_strips",
    "lhs_tile", "other", "part", "r", "rhs_strips", "rhs_tile", "right", "row_at", "shared", "slice", "slot", "step", "strip", "sums",
    "thread", "tile", "total",
)  # fmt: skip


@dataclass(frozen=True)
class ProductText:
    """lines: statements, complete but for what `scalars` had bound before. blocks, threads: of the launch; no blocks where the result is
    empty. plan: how it was cut; None where it is empty."""

    lines: list[str]
    blocks: int
    threads: int
    plan: Plan | None


def reserve_words(names: Names) -> None:
    """Keeps the words of the text of products from what has no name yet."""
    for word in _WORDS:
        names.fresh(word)


def print_product(loop: ir.Loop, gpu: Gpu, scalars: Scalars, number: str = "int(blockIdx.x)") -> ProductText:
    """The text of `for b in batch grid(1, 1) { let*; product }`.

    `scalars` knows the kernel's top-level `let`s, and its names were given out after `reserve_words`. `number` is C for the number of the
    block among those of this loop, from 0 on; all threads of the block must arrive here. ValueError for another loop.
    """
    body = substitute(loop.body, {loop.var.name: ir.index(0)}) if loop.extent == 1 else loop.body
    product = body[-1] if body else None
    if not isinstance(product, ir.Product):
        raise ValueError("the grid loop does not end in a product")
    if 0 in (product.m, product.n, loop.extent):
        return ProductText([], 0, THREADS, None)
    names, inner = scalars.names, scalars.inner()
    batch = names.of(loop.var.name)
    inner.bind(loop.var, batch, of_loop(loop.extent))
    lets = inner.statements(body[:-1])
    plan, product = plan_product(product, loop.extent, gpu, inner)
    lines = [f"// {plan.describe()}", *_position(plan, batch, number), *lets, *_Printer(product, plan, inner).lines()]
    return ProductText(lines, plan.batch * plan.tiles, THREADS, plan)


def plan_product(product: ir.Product, batch: int, gpu: Gpu, scalars: Scalars) -> tuple[Plan, ir.Product]:
    """How to cut the product, and which way round to compute it. `scalars` knows all variables around it."""
    p = oriented(product, scalars)
    lhs = source_of(p.lhs, (p.i, p.m), (p.k, p.depth), scalars)
    rhs = source_of(p.rhs, (p.j, p.n), (p.k, p.depth), scalars)
    return make_plan((p.m, p.n, p.depth), batch, p.acc.dtype.size, (lhs, rhs), gpu), p


def oriented(product: ir.Product, scalars: Scalars) -> ir.Product:
    """The product with its sides exchanged where its results lie along the rows, so that neighbouring threads store neighbours."""
    ends = accesses(product.epilogue)
    rows, columns = scalars.inner(), scalars.inner()
    rows.bind(product.j, "", of_loop(product.n))
    columns.bind(product.i, "", of_loop(product.m))
    if contiguous(rows, ends, product.i, product.m) <= contiguous(columns, ends, product.j, product.n):
        return product
    return replace(product, i=product.j, j=product.i, m=product.n, n=product.m, lhs=product.rhs, rhs=product.lhs)


def _position(plan: Plan, batch: str, number: str) -> list[str]:
    """Which tile of which product this block computes, and where this thread stands in it."""
    tile = plan.tile
    of_batch = f"{number} / {plan.tiles}" if plan.tiles > 1 else number
    of_tile = f"{number} % {plan.tiles}" if plan.batch > 1 else number
    row = f"tile % {plan.row_tiles} * {tile.rows}" if plan.column_tiles > 1 else f"tile * {tile.rows}"
    column = f"tile / {plan.row_tiles} * {tile.columns}"
    thread = f"threadIdx.x % {tile.slice_threads}" if tile.slices > 1 else "threadIdx.x"
    if tile.warp is None:
        down, across = f"thread / {tile.across}", f"thread % {tile.across}"
    else:
        lanes_down, lanes = tile.warp
        warps = tile.across // lanes
        down = f"thread / {WARP * warps} * {lanes_down} + thread / {lanes} % {lanes_down}"
        across = f"thread / {WARP} % {warps} * {lanes} + thread % {lanes}" if warps > 1 else f"thread % {lanes}"
    return [
        *([f"const int {batch} = {of_batch};"] if plan.batch > 1 else []),
        *([f"const int tile = {of_tile};"] if plan.tiles > 1 else []),
        f"const int first_row = {row if plan.row_tiles > 1 else '0'}, first_column = {column if plan.column_tiles > 1 else '0'};",
        *([f"const int slice = threadIdx.x / {tile.slice_threads};"] if tile.slices > 1 else []),
        f"const int thread = {thread}, down = {down}, across = {across};",
    ]


class _Printer:
    """Prints one product, whose batch and enclosing `let`s `scalars` knows."""

    def __init__(self, product: ir.Product, plan: Plan, scalars: Scalars) -> None:
        self.product = product
        self.plan = plan
        self.tile = plan.tile
        self.scalars = scalars
        self.ctype = register_type(product.acc.dtype)
        p, t = product, self.tile
        self.rows = Share(t.thread_rows, t.group(t.thread_rows, plan.size), t.down, "down")
        self.columns = Share(t.thread_columns, t.group(t.thread_columns, plan.size), t.across, "across")
        self.epilogue = Epilogue(product, plan.tile, scalars)
        self.lhs = make_side("lhs", p.lhs, (p.i, p.m, t.rows), (p.k, p.depth, t.depth), self.rows.group, scalars)
        self.rhs = make_side("rhs", p.rhs, (p.j, p.n, t.columns), (p.k, p.depth, t.depth), self.columns.group, scalars)

    def lines(self) -> list[str]:
        tile = self.tile
        width = self.epilogue.width(min(4, tile.columns))
        if self.plan.depth == 0:
            before, after = self.epilogue.of_tile(width, [f"Pack<{self.ctype}, {width}> total = {{}};"])
            return [*before, *after]
        sums = f"{self.ctype} sums[{tile.thread_rows}][{tile.thread_columns}] = {{}};"
        if tile.slices == 1:
            return [*self.shared_memory(), sums, *self.steps(), *self.epilogue.of_registers(self.rows, self.columns)]
        before, after = self.epilogue.of_tile(width, self.added_sums(width))
        return [*self.shared_memory(), *before, sums, *self.steps(), *self.keep_sums(), *after]

    # Sums

    def shared_memory(self) -> list[str]:
        """The tiles of both sides, two of each where there are several steps. The slices' sums take their place in the end."""
        tile = self.tile
        buffers = f"[{min(self.plan.steps, 2)}]" if self.plan.steps > 1 else ""
        lhs, rhs = (f"{side.name}_tile{buffers}[{tile.depth}][{side.pitch}]" for side in (self.lhs, self.rhs))
        if tile.slices == 1:
            return [f"alignas(16) __shared__ {self.ctype} {lhs};", f"alignas(16) __shared__ {self.ctype} {rhs};"]
        return [
            "__shared__ union {",
            f"  struct {{ alignas(16) {self.ctype} {lhs}; alignas(16) {self.ctype} {rhs}; }} tiles;",
            f"  alignas(16) {self.ctype} slice_sums[{tile.slices}][{tile.rows}][{tile.columns}];",
            "} shared;",
        ]

    def tile_of(self, side: Side, turn: str) -> str:
        return f"{'shared.tiles.' if self.tile.slices > 1 else ''}{side.name}_tile{f'[{turn}]' if self.plan.steps > 1 else ''}"

    def steps(self) -> list[str]:
        steps = self.plan.steps
        strips = [side.declaration(self.ctype) for side in (self.lhs, self.rhs)]
        if steps == 1:
            return [*strips, *self.fetch(""), *self.deliver(""), *self.multiply("")]
        body = [
            *strips,
            *block(f"if (step < {steps})", self.fetch("step")),
            *block("if (step > 0)", self.multiply("(step + 1) % 2")),
            *block(f"if (step < {steps})", self.deliver("step % 2")),
        ]
        return block(f"for (int step = 0; step <= {steps}; step++)", body)

    def fetch(self, step: str) -> list[str]:
        return [*self.lhs.fetch(self.scalars, "first_row", step), *self.rhs.fetch(self.scalars, "first_column", step)]

    def deliver(self, turn: str) -> list[str]:
        delivered = [line for side in (self.lhs, self.rhs) for line in side.deliver(self.tile_of(side, turn))]
        return [*delivered, "__syncthreads();"]

    def multiply(self, turn: str) -> list[str]:
        """Adds this slice's part of the tiles in shared memory to the sums. Slices take turns in the depth."""
        tile = self.tile
        depth = f"at * {tile.slices} + slice" if tile.slices > 1 else "at"
        left, lhs = self.factors("left", f"{self.tile_of(self.lhs, turn)}[{depth}]", self.rows, "r")
        right, rhs = self.factors("right", f"{self.tile_of(self.rhs, turn)}[{depth}]", self.columns, "c")
        summed = unrolled("r", tile.thread_rows, unrolled("c", tile.thread_columns, [f"sums[r][c] += {lhs} * {rhs};"]))
        return unrolled("at", tile.slice_depth, [*left, *right, *summed])

    def factors(self, name: str, row: str, share: Share, number: str) -> tuple[list[str], str]:
        """Loads the thread's factors from one row of a tile; the second is the factor that its row or column `number` needs."""
        if share.groups == 1:
            return [f"const auto {name} = load<{share.group}>(&{row}[{share.place('0')}]);"], f"{name}[{number}]"
        loaded = f"{name}[group] = load<{share.group}>(&{row}[{share.place(f'group * {share.group}')}]);"
        lines = [f"Pack<{self.ctype}, {share.group}> {name}[{share.groups}];", *unrolled("group", share.groups, [loaded])]
        return lines, f"{name}[{number} / {share.group}][{number} % {share.group}]"

    # Slices

    def keep_sums(self) -> list[str]:
        """Every slice's sums to their place in shared memory."""
        kept = f"shared.slice_sums[slice][{self.rows.place('r')}][{self.columns.place('c')}] = sums[r][c];"
        kept_all = unrolled("r", self.tile.thread_rows, unrolled("c", self.tile.thread_columns, [kept]))
        return ["__syncthreads();", *kept_all, "__syncthreads();"]

    def added_sums(self, width: int) -> list[str]:
        """The total of a strip, slice after slice."""
        added = unrolled("part", width, ["total[part] += shared.slice_sums[other][row_at][column_at + part];"])
        return [
            f"Pack<{self.ctype}, {width}> total = load<{width}>(&shared.slice_sums[0][row_at][column_at]);",
            "#pragma unroll",
            *block(f"for (int other = 1; other < {self.tile.slices}; other++)", added),
        ]
