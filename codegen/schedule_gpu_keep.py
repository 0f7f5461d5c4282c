"""GPU schedule of what a cell keeps between its loops: what they load again stays in registers, what has no room is recomputed."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.gpu import MAX_THREADS
from graphc.codegen.rewrite import Body, loads, map_expr, map_exprs, substitute_expr, variables
from graphc.codegen.schedule_gpu_nest import fresh, names
from graphc.core import dtypes

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
    most = grid.lanes * max((team.lanes for team in _teams(body)), default=1)
    room = REGISTERS if most < MAX_THREADS else REGISTERS // 2
    refused: set[ir.Load] = set()
    while candidates := [load for load in _repeated(_teams(body)) if load not in refused]:
        load = candidates[0]
        users = [team for team in _teams(body) if load in loads(team.body)]
        needed = share(users[0].extent, users[0].lanes, users[0].parts) * registers_of(load.buffer) * grid.parts
        if needed <= room and len({(team.var, team.extent, team.lanes, team.parts) for team in users}) == 1:
            body, room = _kept(body, load, users[0], taken), room - needed
        else:
            refused.add(load)
    return body


def _teams(body: Body) -> list[ir.Loop]:
    return [stmt for stmt in body if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS]


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


def recomputed(body: Body, buffer: ir.Buffer) -> Body:
    """`body` without the scratch `buffer`: what one loop stored there is computed again where it is read. `body` itself where that is more
    than an expression of the loop's variable.

        for j in 9 team(8, 1) { let t = exponential(x[j])   s add= t   row[j] = t }   for j in 9 team(8, 1) { y[j] = row[j] / s }
    ->  for j in 9 team(8, 1) { let t = exponential(x[j])   s add= t }                for j in 9 team(8, 1) { y[j] = exponential(x[j]) / s }
    """
    stores = [(loop, stmt) for loop in body if isinstance(loop, ir.Loop)
              for stmt in loop.body if isinstance(stmt, ir.Store) and stmt.buffer == buffer]  # fmt: skip
    every = [stmt for stmt in ir.walk(body) if isinstance(stmt, ir.Store) and stmt.buffer == buffer]
    if len(stores) != 1 or len(every) != 1 or stores[0][1].index != (stores[0][0].var,) or stores[0][1].where is not None:
        return body
    loop, store = stores[0]
    lets: dict[str, ir.Expr] = {}
    for stmt in loop.body:
        if isinstance(stmt, ir.Let):
            lets[stmt.var.name] = substitute_expr(stmt.value, lets)
    value = substitute_expr(store.value, lets)
    own = {stmt.var.name for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Let | ir.Acc | ir.Loop)}
    if variables(value) & own:
        return body

    def change(expr: ir.Expr) -> ir.Expr:
        return substitute_expr(value, {loop.var.name: expr.index[0]}) if isinstance(expr, ir.Load) and expr.buffer == buffer else expr

    without = tuple(replace(stmt, body=tuple(each for each in stmt.body if each != store)) if isinstance(stmt, ir.Loop) else stmt
                    for stmt in body if stmt != ir.Local(buffer))  # fmt: skip
    return map_exprs(without, lambda expr: map_expr(expr, change))


def without_waiting(body: Body, taken: set[str]) -> Body:
    """`body` with what it adds to accumulators of bools computed before, so that it is loaded whatever was found so far: the `||` of C
    would wait for one load before it begins the next.

        any or= x[j] == 3   ->   let one = x[j] == 3   any or= one
    """
    result: list[ir.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ir.Update) and stmt.var.dtype.is_bool and loads((stmt,)):
            value = ir.Var(fresh("one", taken), stmt.var.dtype)
            taken.add(value.name)
            result.append(ir.Let(value, stmt.value))
            stmt = replace(stmt, value=value)
        result.append(stmt)
    return tuple(result)


def share(length: int, lanes: int, parts: int) -> int:
    """The most iterations of a team loop that one thread has."""
    return -(-length // (lanes * parts)) * parts


def registers_of(buffer: ir.Buffer) -> int:
    """Registers of 32 bits for one element; more for a float64, whose functions and divisions are calls, which want registers too."""
    return 4 if buffer.dtype is dtypes.float64 else max(1, buffer.dtype.size // 4)
