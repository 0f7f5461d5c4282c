"""Long sums in blocks: a schedule step of the CPU and of the GPU alike."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, map_loops, substitute
from graphc.codegen.schedule_access import accesses
from graphc.core import dtypes

BLOCK = 256  # terms of a long sum that one accumulator adds up by itself


def split_sums(kernel: ir.Kernel, terms: int = BLOCK) -> ir.Kernel:
    """Long floating sums are taken block by block, so that the rounding error grows with the number of blocks, not of terms: `terms`
    for each of the accumulators that a vector or a team has.

        acc sum: f32 = 0.0
        for j in 1000 serial { sum add= x[j, i] }
    ->  acc sum: f32 = 0.0
        for jb in 3 serial { acc sum_b: f32 = 0.0   for j in 256 serial { sum_b add= x[jb * 256 + j, i] }   sum add= sum_b }
        acc sum_e: f32 = 0.0   for j in 232 serial { sum_e add= x[768 + j, i] }   sum add= sum_e
    """
    return replace(kernel, body=map_loops(kernel.body, lambda loop: _split_sum(loop, terms)))


def _split_sum(loop: ir.Loop, terms: int) -> Body:
    block = terms * loop.lanes * loop.parts
    own = {stmt.var for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Acc)}
    sums = {stmt.var for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Update) and stmt.combine == "add"} - own
    sums = {var for var in sums if var.dtype.is_floating}
    private = loop.kind in ir.TEAM_KINDS and any(access.buffer.space == "local" for access in accesses(loop.body))
    if loop.kind == "parallel" or not sums or loop.extent < 2 * block or private:
        return (loop,)
    blocks = ir.Var(f"{loop.var.name}b")
    whole, rest = divmod(loop.extent, block)
    start = ir.Apply("multiply", (blocks, ir.index(block)), dtypes.int64)
    many = ir.Loop(blocks, whole, "serial", _block(loop, block, start, sums, "b"))
    return (many, *_block(loop, rest, ir.index(whole * block), sums, "e")) if rest else (many,)


def _block(loop: ir.Loop, extent: int, start: ir.Expr, sums: set[ir.Var], mark: str) -> Body:
    """`extent` iterations from `start` on, summed by themselves and then added to the sums of all."""
    ordered = sorted(sums, key=lambda var: var.name)
    partial = {var: ir.Var(f"{var.name}_{mark}", var.dtype) for var in ordered}
    body = substitute(loop.body, {loop.var.name: ir.Apply("add", (start, loop.var), dtypes.int64)})
    zeros = tuple(ir.Acc(each, ir.Const(0.0, each.dtype)) for each in partial.values())
    totals = tuple(ir.Update(var, "add", each) for var, each in partial.items())
    return (*zeros, replace(loop, extent=extent, body=_updating(body, partial)), *totals)


def _updating(body: Body, names: Mapping[ir.Var, ir.Var]) -> Body:
    """`body` with its updates of the accumulators in `names` going to the ones that stand for them."""
    result: list[ir.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ir.Update):
            stmt = replace(stmt, var=names.get(stmt.var, stmt.var))
        elif isinstance(stmt, ir.Loop):
            stmt = replace(stmt, body=_updating(stmt.body, names))
        result.append(stmt)
    return tuple(result)
