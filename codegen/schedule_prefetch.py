"""A step of the schedule: row kernels ask for the rows after this one while they compute.

A kernel that walks a row several times waits for memory in the first walk only, and there is nothing else to do in it; the processor's own
prefetching starts afresh with every page. Asking for the rows that follow in the heaviest of the later walks took softmax over [4096, 1024]
from 1.6 to 1.2 times the cost of a copy.
"""
from __future__ import annotations

from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, loads, substitute_expr
from graphc.codegen.schedule_access import stride, varying, work
from graphc.core import dtypes

CACHE = 1 << 20  # bytes of a buffer that a core's own cache holds anyway
ROW = 1 << 10  # bytes of a row below which the processor's own prefetching does as well
AHEAD = 1 << 13  # bytes from the row computed to the row asked for, at least
STREAMS = 4  # buffers that are asked for


def prefetch_rows(kernel: ir.Kernel) -> ir.Kernel:
    """Puts a prefetch of a row to come of every large input into the heaviest vector loop after the first.

        for i in 4096 parallel { for j in 1024 vector(16, 4) { m maximum= x[i, j] } for j in 1024 vector(16, 2) { ... exponential ... } }
    ->  for i in 4096 parallel { for j ... { m maximum= x[i, j] } for j ... { prefetch x[i + 2, j]   ... exponential ... } }
    """
    return replace(kernel, body=tuple(_ahead(s) if isinstance(s, ir.Loop) and s.kind == "parallel" else s for s in kernel.body))


def _ahead(rows: ir.Loop) -> ir.Loop:
    walks = [stmt for stmt in rows.body if isinstance(stmt, ir.Loop) and stmt.kind == "vector"]
    if len(walks) < 2:
        return rows
    host = max(walks[1:], key=lambda walk: work(walk.body))
    wanted: dict[tuple[str, tuple[ir.Expr, ...]], ir.Prefetch] = {}
    for walk in walks:
        if walk.extent == host.extent:
            for load in loads(walk.body):
                hint = _next_row(load, rows, walk, host)
                if hint is not None:
                    wanted.setdefault((hint.buffer.name, hint.index), hint)
    hints: Body = tuple(wanted.values())[:STREAMS]
    return replace(rows, body=tuple(replace(s, body=(*hints, *s.body)) if s is host else s for s in rows.body))


def _next_row(load: ir.Load, rows: ir.Loop, walk: ir.Loop, host: ir.Loop) -> ir.Prefetch | None:
    """The prefetch of what `load` will read some rows later, as `host` goes along the row; None where it is not worth one."""
    step = stride(load, rows.var.name, varying(rows.body, rows.var.name))
    along = stride(load, walk.var.name, varying(walk.body, walk.var.name))
    if step is None or step <= 0 or along != 1 or load.where is not None or load.buffer.space == "local":
        return None
    size = step * load.buffer.dtype.size
    if size < ROW or load.buffer.nbytes <= CACHE:
        return None
    later = ir.Apply("add", (rows.var, ir.index(-(-AHEAD // size))), dtypes.int64)
    return ir.Prefetch(load.buffer, tuple(substitute_expr(each, {rows.var.name: later, walk.var.name: host.var}) for each in load.index))
