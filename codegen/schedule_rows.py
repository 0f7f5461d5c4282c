"""Short rows: a schedule step for row kernels whose rows fill little of a vector. A vector then takes one element of each of many rows.

A row of four numbers in a vector of sixteen lanes wastes twelve lanes in every instruction, and each reduction costs four shuffles that
wait for each other. With a row in each lane nothing is wasted and a reduction is one instruction an element; but loads and stores are
scattered, some 30 cycles each. Softmax of [1000, 3] takes half the time, of [65536, 5] 0.6 of it, of [1000, 10] it would take 1.4 times.
"""
from __future__ import annotations

from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, map_expr, map_exprs, substitute
from graphc.codegen.schedule_access import is_independent
from graphc.core import dtypes

SHARE = 3  # rows up to one part in SHARE of a vector are short


def rows_in_lanes(kernel: ir.Kernel, lanes: int) -> ir.Kernel:
    """`kernel` with `lanes` short rows computed at once; the last ones, where they are fewer, in a masked vector.

        for i in 64 parallel { acc m: f32 = 0   local t: f32[4]   for j in 4 serial { m add= x[i, j]   t[j] = x[i, j] } ... }
    ->  for c in 4 parallel {
          local t: f32[4,16]
          for r in 16 vector(16, 1) { acc m: f32 = 0   for j in 4 serial { m add= x[c * 16 + r, j]   t[j, r] = x[c * 16 + r, j] } ... }
        }
    """
    *before, last = kernel.body or (None,)
    if not isinstance(last, ir.Loop) or not _has_short_rows(last, lanes) or not all(isinstance(stmt, ir.Let) for stmt in before):
        return kernel
    return replace(kernel, body=(*kernel.body[:-1], _in_lanes(last, lanes)))


def _has_short_rows(loop: ir.Loop, lanes: int) -> bool:
    """Whether every iteration reduces short rows, in loops of its own that are not nested."""
    rows = [stmt for stmt in loop.body if isinstance(stmt, ir.Loop)]
    plain = (ir.Loop, ir.Let, ir.Acc, ir.Update, ir.Local, ir.Store)
    if loop.kind != "parallel" or loop.extent < lanes or not rows or not all(isinstance(stmt, plain) for stmt in ir.walk(loop.body)):
        return False
    short = all(1 < row.extent <= lanes // SHARE and not any(isinstance(stmt, ir.Loop) for stmt in row.body) for row in rows)
    return short and any(isinstance(stmt, ir.Update) for stmt in ir.walk(loop.body)) and is_independent(loop)


def _in_lanes(loop: ir.Loop, lanes: int) -> ir.Loop:
    chunk, row = ir.Var("c"), ir.Var("r")
    own = {stmt.buffer.name: replace(stmt.buffer, shape=(*stmt.buffer.shape, lanes)) for stmt in loop.body if isinstance(stmt, ir.Local)}
    place = ir.Apply("add", (ir.Apply("multiply", (chunk, ir.index(lanes)), dtypes.int64), row), dtypes.int64)
    body = substitute(_widened(tuple(stmt for stmt in loop.body if not isinstance(stmt, ir.Local)), own, row), {loop.var.name: place})
    whole, rest = divmod(loop.extent, lanes)
    locals_: Body = tuple(map(ir.Local, own.values()))
    full = ir.Loop(row, lanes, "vector", body, lanes)
    if not rest:
        return ir.Loop(chunk, whole, "parallel", (*locals_, full))
    few = replace(full, extent=rest)
    tests = (ir.Apply(op, (chunk, ir.index(whole)), dtypes.bool) for op in ("lt", "ge"))
    return ir.Loop(chunk, whole + 1, "parallel", (*locals_, *(ir.If(test, (each,)) for test, each in zip(tests, (full, few), strict=True))))


def _widened(body: Body, own: dict[str, ir.Buffer], row: ir.Var) -> Body:
    """`body` on local buffers that have a place for each lane."""
    def of_lane(expr: ir.Expr) -> ir.Expr:
        if isinstance(expr, ir.Load) and expr.buffer.name in own:
            return ir.Load(own[expr.buffer.name], (*expr.index, row), expr.where)
        return expr

    def to_lane(store: ir.Store) -> ir.Store:
        return replace(store, buffer=own[store.buffer.name], index=(*store.index, row)) if store.buffer.name in own else store

    return map_exprs(body, lambda expr: map_expr(expr, of_lane), to_lane) if own else body
