"""A scheduled kernel as CUDA C: the text of one `__global__` function and the shape of its launch. The last step before `compiler`.

Every top-level grid loop has blocks of its own; where there are several, a block finds the loop that it belongs to by its number. Extents
are constants of the text, the function's parameters are the kernel's and nothing else:

    // softmax (model.py:12)
    extern "C" __global__ void __launch_bounds__(128) softmax(const float* x0, float* y0) {
      ...
    }
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.cuda.body import Body, PartsDiffer, Place
from graphc.codegen.cuda.facts import Fact
from graphc.codegen.cuda.layout import Layout, layout_of
from graphc.codegen.cuda.product import THREADS, print_product, reserve_words
from graphc.codegen.cuda.reduce import Barriers, Reductions
from graphc.codegen.cuda.scalars import Scalars, guarded, indented, over_parts
from graphc.codegen.cuda.segment import stepping
from graphc.codegen.cuda.types import Names, memory_type
from graphc.codegen.gpu import Gpu
from graphc.codegen.rewrite import loads, stored, uses, variables

MAX_BLOCKS = (1 << 31) - 1  # of a launch, in its first dimension; where more are needed, each does the work of several
HEADER = '#include "graphc.cuh"\n'


@dataclass(frozen=True)
class CudaSource:
    """name: the `__global__` function. text: a whole translation unit. grid, block: numbers of blocks and of threads."""

    name: str
    text: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def print_cuda(kernel: ir.Kernel, gpu: Gpu) -> CudaSource:
    """`kernel`, all of whose work stands in top-level grid loops, as CUDA C for `gpu`.

    ValueError for a kernel with other statements at its top level than `let` and grid loops, or with blocks of too many threads.
    """
    grids = [stmt for stmt in kernel.body if isinstance(stmt, ir.Loop) and stmt.kind == "grid"]
    lets = [stmt for stmt in kernel.body if isinstance(stmt, ir.Let)]
    if len(grids) + len(lets) != len(kernel.body):
        raise ValueError(f"kernel {kernel.name} has work outside of grid loops: it has not been scheduled for a GPU")
    if len(grids) > 1 and any(map(has_product, grids)):
        raise ValueError(f"kernel {kernel.name} has a product beside other grid loops: a product is a launch of its own")
    threads = max((THREADS if has_product(loop) else layout_of(loop).threads for loop in grids), default=1)
    function = _Function(kernel, lets, gpu, threads)
    if len(grids) == 1:
        body, blocks = function.grid_loop(grids[0], layout_of(grids[0]), "blockIdx.x")
        text = function.kernel_text(body)
    else:
        text, blocks = function.several(grids)
    return CudaSource(kernel.name, text, (max(blocks, 1), 1, 1), (threads, 1, 1))


class _Function:
    """Prints the function of `kernel`, or one function for each of its grid loops."""

    def __init__(self, kernel: ir.Kernel, lets: Sequence[ir.Let], gpu: Gpu, threads: int) -> None:
        self.kernel = kernel
        self.lets = lets
        self.gpu = gpu
        self.threads = threads
        self.functions: list[str] = []

    def new_names(self) -> Names:
        names = Names()
        if any(isinstance(stmt, ir.Loop) and has_product(stmt) for stmt in self.kernel.body):
            reserve_words(names)
        names.of(self.kernel.name)
        for buffer in self.kernel.params:
            names.of(buffer.name)
        return names

    def parameters(self, buffers: Sequence[ir.Buffer], names: Names) -> list[str]:
        return [f"{'const ' * (b.space == 'in')}{memory_type(b.dtype)}* {names.of(b.name)}" for b in buffers]

    def kernel_text(self, body: Sequence[str]) -> str:
        comments = [f"// {' '.join(origin.split()).rstrip(chr(92))}" for origin in self.kernel.origins]  # a backslash would go on
        parameters = ", ".join(self.parameters(self.kernel.params, self.new_names()))
        head = f'extern "C" __global__ void __launch_bounds__({self.threads}) {self.kernel.name}({parameters}) {{'
        return "\n".join([HEADER, *self.functions, *comments, head, *indented(body), "}", ""])

    def several(self, grids: Sequence[ir.Loop]) -> tuple[str, int]:
        """A function for each grid loop, and a kernel whose blocks choose among them."""
        ladder: list[str] = []
        begin = 0
        for number, loop in enumerate(grids):
            names = self.new_names()
            name, block = names.fresh(f"{self.kernel.name}_{number}"), names.fresh("block")
            body, blocks = self.grid_loop(loop, layout_of(loop, self.threads), block, names)
            if blocks == 0:
                continue
            used = [buffer for buffer in self.kernel.params if buffer.name in _buffers((*self.lets_of(loop), loop))]
            head = f"static __device__ void {name}({', '.join([f'int {block}', *self.parameters(used, names)])}) {{"
            self.functions.append("\n".join([head, *indented(body), "}", ""]))
            arguments = ", ".join([f"blockIdx.x - {begin}" if begin else "blockIdx.x", *(names.of(buffer.name) for buffer in used)])
            begin += blocks
            ladder.append(f"if (blockIdx.x < {begin}) return {name}({arguments});")
        return self.kernel_text(ladder), begin

    def lets_of(self, loop: ir.Loop) -> list[ir.Let]:
        """The top-level `let`s whose values `loop` needs."""
        needed, found = set(uses((loop,))), list[ir.Let]()
        for let in reversed(self.lets):
            if let.var.name in needed:
                needed |= variables(let.value)
                found.append(let)
        return found[::-1]

    def grid_loop(self, loop: ir.Loop, layout: Layout, block: str, names: Names | None = None) -> tuple[list[str], int]:
        """The lines of one grid loop for the block with number `block`, and how many blocks there are."""
        names = names or self.new_names()
        if loop.extent == 0:
            return [], 0
        scalars = Scalars(names)
        lines = scalars.statements(self.lets_of(loop))
        if has_product(loop):
            product = print_product(loop, self.gpu, scalars, block)
            return [*lines, *product.lines], product.blocks
        lane, team = names.fresh("lane"), names.fresh("team")
        one_each = layout.team == 1
        if layout.team > 1:
            lines.append(f"const int {lane} = {layout.rank};")
        if layout.lanes > 1 and not one_each:
            lines.append(f"const int {team} = {layout.place};")
        barriers, shared = Barriers(layout), list[str]()
        part = names.fresh("v")
        reductions = Reductions(layout, barriers, names, shared, team if not one_each else layout.place, lane, part)
        printed = _Iterations(loop, reductions, scalars, block).all()
        return [*shared, *lines, *printed], min(layout.blocks, MAX_BLOCKS)


class _Iterations:
    """Prints the iterations of a grid loop that one thread has part in; `block` is the C expression of its block's number."""

    def __init__(self, loop: ir.Loop, reductions: Reductions, scalars: Scalars, block: str) -> None:
        self.loop = loop
        self.reductions = reductions
        self.layout = reductions.layout
        self.scalars = scalars
        self.block = block
        self.name = reductions.names.of(loop.var.name)

    def all(self) -> list[str]:
        """Everything that the block does: its own iterations, and those of blocks that a launch has no room for."""
        if self.layout.blocks <= MAX_BLOCKS:
            return self.of_block(may_return=True)
        own, blocks = self.block, self.layout.blocks
        self.block = self.reductions.names.fresh("block_of_loop")
        ctype = "int" if blocks + MAX_BLOCKS < 1 << 31 else "i64"
        body = indented(self.reductions.around(lambda: self.of_block(may_return=False)))
        return [f"for ({ctype} {self.block} = {own}; {self.block} < {blocks}; {self.block} += {MAX_BLOCKS}) {{", *body, "}"]

    def of_block(self, may_return: bool) -> list[str]:
        """The iterations of the block with number `block`."""
        layout, parts = self.layout, self.layout.parts
        fact = Fact(0, layout.blocks * layout.lanes * parts - 1, 0)
        self.scalars.bind(self.loop.var, self.name, fact)
        place = self.block if fact.fits_int else f"i64({self.block})"
        if layout.lanes > 1:
            place = f"{place} * {layout.lanes} + {self.reductions.team}"
        if parts > 1:
            place = f"({place}) * {parts}" if layout.lanes > 1 else f"{place} * {parts}"
        head = f"const {self.scalars.env[self.loop.var.name].ctype} {self.name} = {place};"
        body = self.chunk()
        ends = not (layout.fills or layout.joint or self.loop.extent % parts != 0)
        if ends and may_return:
            return [head, f"if ({self.name} >= {self.loop.extent}) return;", *body]
        return [head, *guarded(f"{self.name} < {self.loop.extent}", body, ends)]

    def chunk(self) -> list[str]:
        """All parts of a thread, side by side where that can be printed."""
        parts, extent = self.layout.parts, self.loop.extent
        if parts == 1:
            return self.one(self.scalars, self.name)
        whole = extent % parts == 0
        if whole or self.layout.team == 1:
            together = self.together()
            if together is not None and whole:
                return together[0]
            if together is not None and together[1]:
                some = indented(self.one_by_one())
                return [f"if ({self.name} + {parts} <= {extent}) {{", *indented(together[0]), "} else {", *some, "}"]
        return self.one_by_one()

    def together(self) -> tuple[list[str], int] | None:
        """The parts side by side, and how many accesses move them all; None where they part ways."""
        inner, names = self.scalars.inner(), self.reductions.names
        inner.parts = self.layout.parts
        high = self.scalars.env[self.loop.var.name].fact.high
        inner.env[self.loop.var.name] = stepping(self.name, self.reductions.part, Fact(0, high, 1, inner.parts))
        shared, state = len(self.reductions.shared), self.reductions.barriers.state()
        body = Body(self.loop, self.reductions)
        try:
            with names.block():
                lines = self.activity(inner, self.name) if self.layout.joint else []
                lines += body.block(self.loop.body, inner, self.place(inner))
        except PartsDiffer:
            del self.reductions.shared[shared:]
            self.reductions.barriers.restore(state)
            return None
        return lines, body.vectors

    def one_by_one(self) -> list[str]:
        """The parts one after the other, those beyond the loop's end left out."""
        names = self.reductions.names
        fact = self.scalars.env[self.loop.var.name].fact

        def lines() -> list[str]:
            part, name = names.fresh("part"), names.fresh(f"{self.name}_{self.reductions.part}")
            inner = self.scalars.inner()
            inner.bind(self.loop.var, name, fact)
            ends = not self.layout.joint and self.loop.extent % self.layout.parts != 0
            body = guarded(f"{name} < {self.loop.extent}", self.one(inner, name), ends)
            first = f"const {inner.env[self.loop.var.name].ctype} {name} = {self.name} + {part};"
            return over_parts(part, self.layout.parts, [first, *body])

        return self.reductions.around(lines)

    def one(self, scalars: Scalars, name: str) -> list[str]:
        """A single iteration, whose number is `name`."""
        lines = self.activity(scalars, name) if self.layout.joint else []
        return lines + Body(self.loop, self.reductions).block(self.loop.body, scalars, self.place(scalars))

    def activity(self, scalars: Scalars, name: str) -> list[str]:
        """Whether a team has anything to do: it must go along to the barriers of others."""
        if self.layout.fills:
            return []
        active = self.reductions.names.fresh("active")
        scalars.guard = active
        return [f"const bool {active} = {name} < {self.loop.extent};"]

    def place(self, scalars: Scalars) -> Place:
        first = [f"{self.reductions.lane} == 0"] if self.layout.team > 1 else []
        guard = [scalars.guard] if scalars.guard is not None else []
        return Place(None, " && ".join([*first, *guard]) or None)


def _buffers(stmts: Sequence[ir.Stmt]) -> set[str]:
    """The names of the buffers that statements read or write."""
    return {load.buffer.name for load in loads(tuple(stmts))} | stored(tuple(stmts))


def has_product(loop: ir.Loop) -> bool:
    """Whether the grid loop is a matrix product, which `product` prints."""
    return any(isinstance(stmt, ir.Product) for stmt in loop.body)
