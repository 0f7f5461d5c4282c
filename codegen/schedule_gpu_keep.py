"""GPU schedule of what the loops of a cell load again and again: it stays in registers."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.gpu import MAX_THREADS
from graphc.codegen.rewrite import Body, loads, map_expr, map_exprs, variables
from graphc.codegen.schedule_gpu_nest import fresh, names
from graphc.codegen.schedule_gpu_rows import registers_of, share

REGISTERS = 32  # of a thread for loads that are kept; half of it in full blocks


def keep_rows(kernel: ir.Kernel) -> ir.Kernel:
    """Elements that several team loops of a cell load are loaded by the first of them and kept in registers.

        for j in 64 team(16, 4) { m maximum= x[i, j] }
        for j in 64 team(16, 4) { s add= exponential(x[i, j] - m) }
    ->  local kept: f32[64]
        for j in 64 team(16, 4) { let k = x[i, j]   kept[j] = k   m maximum= k }
        for j in 64 team(16, 4) { s add= exponential(kept[j] - m) }

    Inputs only: an output may lie over one, but is written where it was read, after it was read.
    """
    taken = names(kernel)
    return replace(kernel, body=tuple(
        replace(stmt, body=_keeping(stmt, taken)) if isinstance(stmt, ir.Loop) and stmt.kind == "grid" else stmt for stmt in kernel.body
    ))  # fmt: skip


def _keeping(grid: ir.Loop, taken: set[str]) -> Body:
    body = grid.body
    teams = [stmt for stmt in body if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS]
    room = REGISTERS if grid.lanes * max((team.lanes for team in teams), default=1) < MAX_THREADS else REGISTERS // 2
    for load in _repeated(teams):
        users = [team for team in teams if load in loads(team.body)]
        share_ = {(team.var, team.extent, team.lanes, team.parts) for team in users}
        needed = share(users[0].extent, users[0].lanes, users[0].parts) * registers_of(load.buffer) * grid.parts
        if len(share_) == 1 and needed <= room:
            body, room = _kept(body, load, users[0], taken), room - needed
    return body


def _repeated(teams: list[ir.Loop]) -> list[ir.Load]:
    """The loads of inputs along a team loop that another one repeats, the most frequent first."""
    count: dict[ir.Load, int] = {}
    for team in teams:
        own = {stmt.var.name for stmt in ir.walk(team.body) if isinstance(stmt, ir.Let | ir.Acc | ir.Loop)}
        for load in dict.fromkeys(loads(team.body)):
            if load.buffer.space == "in" and team.var.name in variables(load) and not variables(load) & own:
                count[load] = count.get(load, 0) + 1
    return sorted((load for load, times in count.items() if times > 1), key=lambda load: -count[load])


def _kept(body: Body, load: ir.Load, first: ir.Loop, taken: set[str]) -> Body:
    """`body` with `load` done in the loop `first` alone; its other users read a local buffer."""
    buffer = ir.Buffer(fresh("kept", taken), load.dtype, (first.extent,), "local")
    value = ir.Var(fresh("k", taken), load.dtype)
    taken |= {buffer.name, value.name}
    place = (first.var,)
    result: list[ir.Stmt] = []
    seen = False
    for stmt in body:
        if isinstance(stmt, ir.Loop) and stmt.var == first.var and load in loads(stmt.body):
            if seen:
                stmt = replace(stmt, body=_instead(stmt.body, {load: ir.Load(buffer, place)}))
            else:
                result.append(ir.Local(buffer))
                head = (ir.Let(value, load), ir.Store(buffer, place, value))
                stmt, seen = replace(stmt, body=(*head, *_instead(stmt.body, {load: value}))), True
        result.append(stmt)
    return tuple(result)


def _instead(body: Body, values: Mapping[ir.Expr, ir.Expr]) -> Body:
    return map_exprs(body, lambda expr: map_expr(expr, lambda each: values.get(each, each)))
