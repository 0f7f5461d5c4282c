"""GPU schedule of kernels whose cells walk loops: a team of threads for each row, or one for each column.

A row lies along the memory of its loads, so its team's threads are neighbours; a column lies across, so neighbouring threads belong to
neighbouring columns and its team's threads stand apart. What a cell's loops read again and again, and its scratch, stays in registers
where each thread has few enough of it.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.gpu import MAX_THREADS, WARP
from graphc.codegen.rewrite import Body, loads, variables
from graphc.codegen.schedule_access import accesses, stride, varying
from graphc.codegen.schedule_gpu_access import Access, wide_parts
from graphc.codegen.schedule_gpu_flat import BLOCK, FEW, SCRATCH_BYTES, lanes_for, with_shared
from graphc.codegen.schedule_gpu_keep import recomputed, registers_of, share, without_waiting
from graphc.codegen.schedule_gpu_nest import Nest, fresh, joined, names, nest_of, on_grid, power_above, power_below, team_work

ENOUGH = 1 << 16  # threads that keep a GPU busy; with as many rows or columns, teams need not be larger than memory asks
REGISTERS = 64  # of a thread for kept rows, in teams of up to half a block; half of it in full blocks
SECTOR = 32  # bytes in which memory comes: columns of a block lie in whole ones
EASY = 8  # elements of a row for each thread of a warp, up to which a larger team is not worth its barriers


def cells_in_teams(kernel: ir.Kernel) -> ir.Kernel:
    """Cells with loops, in teams as large as the loops are long and the cells few.

        for i in 4096 parallel { acc m: f32 = 0   for j in 1024 serial { m add= x[i, j] }   y[i] = m }
    ->  for i in 4096 grid(8, 1) { acc m: f32 = 0   for j in 1024 team(32, 4) { m add= x[i, j] }   y[i] = m }

        for i in 1024 parallel { acc m: f32 = 0   for j in 4096 serial { m add= x[j, i] }   y[i] = m }
    ->  for i in 1024 grid(8, 1) { acc m: f32 = 0   for j in 4096 cross(64, 1) { m add= x[j, i] }   y[i] = m }
    """
    nest = nest_of(kernel)
    inner = team_work(nest) if nest else []
    if nest is None or not inner:
        return kernel
    return _columns(kernel, nest, inner) if _lies_across(nest, inner) else _rows(kernel, nest, inner)


def _lies_across(nest: Nest, inner: Sequence[Nest]) -> bool:
    """Whether the loops of a cell access memory along the cells, not along themselves."""
    if not nest.loops:
        return False
    cells = nest.loops[-1].var.name
    along = [_step(access, loop.loops[-1].var.name, loop.body) for loop in inner for access in accesses(loop.body)]
    across = [_step(access, cells, nest.body) for loop in inner for access in accesses(loop.body)]
    return _cost(across) < _cost(along)


def _step(access: Access, name: str, body: Body) -> int | None:
    return stride(access, name, varying(body, name))


def _cost(steps: Sequence[int | None]) -> tuple[int, int]:
    """Scattered accesses first, then those of consecutive elements, which are good."""
    return sum(step not in (0, 1) for step in steps), -sum(step == 1 for step in steps)


# Rows -----------------------------------------------------------------------------------------------------------------------------------

def _rows(kernel: ir.Kernel, nest: Nest, inner: Sequence[Nest]) -> ir.Kernel:
    length = max(loop.cells for loop in inner)
    parts = min(wide_parts(loop.loops, loop.body) for loop in inner)
    while parts > 1 and length // parts < WARP and nest.cells * length // parts < ENOUGH:
        parts //= 2
    lanes = row_team(nest.cells, length, parts, _kept_registers(nest, inner))
    body = _spread(kernel, nest, inner, "team", lanes, parts)
    rows = block_rows(nest.cells, lanes)
    return on_grid(kernel, nest, _homes(body, rows, lanes), rows)


def block_rows(rows: int, lanes: int) -> int:
    """Rows of a block: many of small teams, but fewer where there would be few blocks; whole warps in any case."""
    count = max(1, BLOCK // lanes) if lanes <= WARP else 1
    while count > 1 and count * lanes > WARP and -(-rows // count) < FEW:
        count //= 2
    return count


def row_team(rows: int, length: int, parts: int, registers: int) -> int:
    """Threads of the team of one row: a warp where the row fills one; more where rows are long and few, or where a thread would hold too
    many elements, each in so many `registers`."""
    most = min(MAX_THREADS, power_below(length // parts))
    lanes = min(most, WARP)
    while lanes < most:
        each = share(length, lanes, parts)
        if each * registers <= REGISTERS and (each <= EASY or rows * lanes >= ENOUGH):
            break
        lanes *= 2
    return lanes


def _kept_registers(nest: Nest, inner: Sequence[Nest]) -> int:
    """Registers for each element of a row of what is worth keeping: scratch, and what several loops load."""
    scratch = [stmt.buffer for stmt in nest.body if isinstance(stmt, ir.Local)]
    seen: set[ir.Load] = set()
    again: set[ir.Load] = set()
    for loop in inner:
        found = {load for load in loads(loop.body) if load.buffer.space == "in" and loop.loops[-1].var.name in variables(load)}
        again |= found & seen
        seen |= found
    return sum(registers_of(buffer) for buffer in (*scratch, *(load.buffer for load in again)))


def _spread(kernel: ir.Kernel, nest: Nest, inner: Sequence[Nest], kind: str, lanes: int, parts: int) -> Body:
    """The body of a cell with its loops shared out over a team."""
    taken = names(kernel)
    name = fresh("r", taken)

    def team(loop: Nest) -> ir.Loop:
        whole = joined((), replace(loop, body=without_waiting(loop.body, taken)), name)[1]
        return replace(whole, kind=kind, lanes=lanes, parts=parts)

    teams = iter([team(loop) for loop in inner])
    return tuple(next(teams) if isinstance(stmt, ir.Loop) else stmt for stmt in nest.body)


def _homes(body: Body, rows: int, lanes: int) -> Body:
    """A place for every scratch row of a cell: registers where threads read what they wrote and have few elements, else shared memory where
    that is large enough, else none: its elements are computed again where they are read."""
    for buffer in [stmt.buffer for stmt in body if isinstance(stmt, ir.Local)]:
        if _fits_registers(buffer, body, lanes):
            continue
        fits = rows * buffer.nbytes <= SCRATCH_BYTES
        body = with_shared(body, {buffer.name}) if fits else recomputed(body, buffer)
    return body


def _fits_registers(buffer: ir.Buffer, body: Body, lanes: int) -> bool:
    users = [stmt for stmt in body if isinstance(stmt, ir.Loop) and any(a.buffer == buffer for a in accesses(stmt.body))]
    own = {access.index for stmt in body if not isinstance(stmt, ir.Loop) for access in accesses((stmt,)) if access.buffer == buffer}
    plain = all(access.index == (loop.var,) for loop in users for access in accesses(loop.body) if access.buffer == buffer)
    alike = len({(loop.extent, loop.lanes, loop.parts) for loop in users}) == 1
    room = REGISTERS if lanes < MAX_THREADS else REGISTERS // 2
    return plain and alike and not own and all(share(u.extent, u.lanes, u.parts) * registers_of(buffer) <= room for u in users)


# Columns --------------------------------------------------------------------------------------------------------------------------------

def _columns(kernel: ir.Kernel, nest: Nest, inner: Sequence[Nest]) -> ir.Kernel:
    length = max(loop.cells for loop in inner)
    parts = wide_parts(nest.loops, nest.body)
    while parts > 1 and nest.cells // parts < ENOUGH:
        parts //= 2
    totals = sum(stmt.var.dtype.size for stmt in nest.body if isinstance(stmt, ir.Acc))
    least = max(SECTOR // access.buffer.dtype.size for loop in inner for access in accesses(loop.body))
    columns, lanes = column_team(nest.cells, length, least, totals * parts)
    if lanes > 1:
        body = _homes(_spread(kernel, nest, inner, "cross", lanes, 1), columns * parts, lanes)
        return on_grid(kernel, nest, body, columns, parts)
    scratch = any(isinstance(stmt, ir.Local) for stmt in nest.body)
    return kernel if scratch else on_grid(kernel, nest, nest.body, lanes_for(nest.cells, parts), parts)


def column_team(columns: int, length: int, least: int, totals: int) -> tuple[int, int]:
    """Columns of a block, at `least` so many, and threads of the team of each: one where there are columns enough to keep a GPU busy.

    Larger teams sum shorter stretches, but then have more `totals` (bytes for each thread) to add up: the square root balances both.
    """
    wide = min(WARP, power_above(columns))
    while wide > least and -(-columns // wide) < FEW:
        wide //= 2
    most = min(MAX_THREADS // wide, power_below(SCRATCH_BYTES // max(1, wide * totals)), power_above(math.isqrt(3 * length)))
    lanes = 1
    while lanes < most and columns * lanes < ENOUGH:
        lanes *= 2
    return max(wide, WARP // lanes), lanes
