"""GPU schedule of kernels whose cells need no team: elements of a map, the matrices of a batch, and whatever no other step knows better."""
from __future__ import annotations

from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.gpu import STATIC_SHARED_BYTES, WARP
from graphc.codegen.rewrite import Body, map_expr, map_exprs
from graphc.codegen.schedule_gpu_access import wide_parts
from graphc.codegen.schedule_gpu_nest import nest_of, on_grid

BLOCK = 256  # threads of a block
FEW = 128  # blocks: with fewer, smaller blocks keep more multiprocessors busy
SCRATCH_BYTES = STATIC_SHARED_BYTES * 5 // 6  # shared memory of a block for buffers; the rest is for the totals of teams
SCARCE = 1 << 14  # threads: with fewer, a thread takes fewer elements
_STRAIGHT = (ir.Let, ir.Acc, ir.Update, ir.Store)


def map_elements(kernel: ir.Kernel) -> ir.Kernel:
    """Straight-line cells: a thread each, or several neighbouring ones where their accesses make vectors.

        for i in 8 parallel { for j in 1000 serial { y[i, j] = x[i, j] + b[j] } }
    ->  for c in 8000 grid(256, 4) { let j = c % 1000   y[c] = x[c] + b[j] }
    """
    nest = nest_of(kernel)
    if nest is None or not all(isinstance(stmt, _STRAIGHT) for stmt in nest.body):
        return kernel
    parts = wide_parts(nest.loops, nest.body)
    draws = any(isinstance(sub, ir.Apply) and sub.op == "random_word" for stmt in nest.body for expr in ir.expressions(stmt)
                for sub in ir.subexpressions(expr))
    while parts > (4 if draws else 1) and nest.cells // parts < SCARCE:  # four words come from one block of random bits
        parts //= 2
    return on_grid(kernel, nest, nest.body, lanes_for(nest.cells, parts), parts)


def batch_products(kernel: ir.Kernel) -> ir.Kernel:
    """A product: one grid loop over the batches, of which each is the printer's to tile.

        for l in 4 parallel { for m in 8 serial { product ... { y[l, m, i, j] = acc } } }
    ->  for c in 32 grid(1, 1) { let l = c / 8   let m = c % 8   product ... { y[l, m, i, j] = acc } }
    """
    nest = nest_of(kernel)
    if nest is None or not any(isinstance(stmt, ir.Product) for stmt in nest.body):
        return kernel
    return on_grid(kernel, nest, nest.body, lanes=1)


def one_thread_a_cell(kernel: ir.Kernel) -> ir.Kernel:
    """Whatever is left: each cell by one thread, in the order in which it was written; its scratch in shared memory."""
    nest = nest_of(kernel)
    if nest is None:
        return kernel
    scratch = [stmt.buffer for stmt in ir.walk(nest.body) if isinstance(stmt, ir.Local)]
    lanes = lanes_for(nest.cells)
    while lanes > 1 and lanes * sum(buffer.nbytes for buffer in scratch) > SCRATCH_BYTES:
        lanes //= 2
    return on_grid(kernel, nest, with_shared(nest.body, {buffer.name for buffer in scratch}), lanes)


def with_shared(body: Body, buffers: set[str]) -> Body:
    """`body` with the local buffers of these names in shared memory."""
    def moved(buffer: ir.Buffer) -> ir.Buffer:
        return replace(buffer, space="shared") if buffer.name in buffers else buffer

    def change(expr: ir.Expr) -> ir.Expr:
        return map_expr(expr, lambda e: ir.Load(moved(e.buffer), e.index, e.where) if isinstance(e, ir.Load) else e)

    def change_store(store: ir.Store) -> ir.Store:
        return replace(store, buffer=moved(store.buffer), index=tuple(map(change, store.index)))

    def declared(body: Body) -> Body:
        return tuple(
            ir.Local(moved(stmt.buffer)) if isinstance(stmt, ir.Local)
            else replace(stmt, body=declared(stmt.body)) if isinstance(stmt, ir.Loop | ir.If)
            else stmt for stmt in body
        )  # fmt: skip

    return map_exprs(declared(body), change, change_store)


def lanes_for(cells: int, parts: int = 1) -> int:
    """Threads of a block where each takes `parts` cells: a whole number of warps, and fewer where there would be few blocks."""
    lanes = BLOCK if cells > 1 else 1
    while lanes > WARP and -(-cells // (lanes * parts)) < FEW:
        lanes //= 2
    return lanes

