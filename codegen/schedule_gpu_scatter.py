"""GPU schedule of a scatter. On a CPU a thread walks the updates and combines each with its row; here each row seeks its own.

No two threads ever write to one place, so there are no atomics and the result is the same every time. Each element of a short row is a sum
(a product, an extreme) that a team adds up like any other. The columns of a long row stay in the registers of a team, which goes through
the indices a chunk at a time: all its threads look for the row's number at once, and only a chunk that has it is walked update by update,
in order. Where the last update stays ("assign"), a row seeks no more than the greatest number of an update that is its own.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.gpu import WARP
from graphc.codegen.lower_folds import identity
from graphc.codegen.rewrite import Body, inline_lets, map_expr, substitute, substitute_expr, uses
from graphc.codegen.schedule_gpu_access import wide_parts
from graphc.codegen.schedule_gpu_flat import lanes_for
from graphc.codegen.schedule_gpu_keep import registers_of, share, without_waiting
from graphc.codegen.schedule_gpu_nest import Nest, fresh, names, nest_of, on_grid
from graphc.codegen.schedule_gpu_rows import ENOUGH, REGISTERS, block_rows, row_team
from graphc.core import dtypes

FEW_COLUMNS = 8  # of a row, up to which each of its elements looks for its updates itself
CHUNK = 4  # indices that each thread of a team looks at before the team asks whether any was the row's


@dataclass(frozen=True)
class _Scatter:
    """What a lowered scatter says.

    nest: its tasks; the body of a cell is the `let`s of a task alone. row, column, each: the loops over the rows of the output, their
    columns and the updates, None where there is one only. lets: of one update. test: whether it belongs to the row. combine: what it does
    to the row, "" where it takes its place. update: what it brings. start: the value before the first update, total: of the sum's type.
    end: stores `total`.
    """

    nest: Nest
    row: ir.Loop | None
    column: ir.Loop | None
    each: ir.Loop | None
    lets: Body
    test: ir.Expr
    combine: str
    update: ir.Expr
    start: ir.Expr
    total: ir.Var
    end: ir.Store


def collect_updates(kernel: ir.Kernel) -> ir.Kernel:
    """A scatter with a team for each row of the output, which seeks the updates that are its own.

        for n in 50 serial { for q in 64 serial { y[n, q] = x[n, q] } }
        for u in 300 serial { let t = ids[u]   if and(t >= 0, t < 50) { for q in 64 serial { y[t, q] = y[t, q] + g[u, q] } } }
    ->  for n in 50 grid(1, 1) {
          local sum: f32[64]
          for q in 64 team(32, 2) { sum[q] = x[n, q] }
          for b in 2 serial {
            acc any: pred = false
            for u in 128 team(32, 1) { let mine = ids[b * 128 + u] == n   any or= mine }
            if any {
              for u in 128 serial { if ids[b * 128 + u] == n { for q in 64 team(32, 2) { sum[q] = sum[q] + g[b * 128 + u, q] } } }
            }
          }
          ...  the last 44
          for q in 64 team(32, 2) { y[n, q] = sum[q] }
        }
    """
    nest = nest_of(kernel)
    found = _scatter_of(kernel, nest) if nest else None
    if found is None:
        return kernel
    found = _whole_rows(found)
    if not found.combine:
        return _by_last(kernel, found)
    few = found.column is None or found.column.extent <= FEW_COLUMNS
    return _by_element(kernel, found) if few or found.column is None else _by_row(kernel, found, found.column)


# Reading --------------------------------------------------------------------------------------------------------------------------------

def _scatter_of(kernel: ir.Kernel, nest: Nest) -> _Scatter | None:
    """`nest` as a scatter, None where it is none: a copy, conditional updates of it, and perhaps a rounding of it."""
    branches = [stmt for stmt in ir.walk(nest.body) if isinstance(stmt, ir.If)]
    work = [stmt for stmt in nest.body if not isinstance(stmt, ir.Let | ir.Local)]
    if len(branches) != 1 or len(branches[0].body) != 1 or len(work) not in (2, 3):
        return None
    each = work[1] if isinstance(work[1], ir.Loop) else None
    copy, added = _innermost(work[0]), _innermost(branches[0].body[-1])
    if copy is None or added is None or branches[0] != (each.body[-1] if each else work[1]):
        return None
    (loops, begun), (within, add) = copy, added
    row, column = (loops[0] if len(loops) > len(within) else None), (within[0] if within else None)
    if column:
        begun = _renamed(begun, loops[-1:], [column])
    test = branches[0].cond if row is None else _test(begun, add, row.var)
    total = ir.Var(fresh("sum", names(kernel)), begun.value.dtype)
    end = replace(begun, value=total) if len(work) == 2 else _end(begun, work[2], [loop for loop in (row, column) if loop], total)
    if test is None or end is None or add.buffer != begun.buffer:
        return None
    combine, update = _combination(add)
    task = replace(nest, body=tuple(stmt for stmt in nest.body if isinstance(stmt, ir.Let)))
    return _Scatter(task, row, column, each, each.body[:-1] if each else (), test, combine, update, begun.value, total, end)


def _innermost(stmt: ir.Stmt) -> tuple[list[ir.Loop], ir.Store] | None:
    """The one store in loops that hold nothing else, and the loops."""
    loops: list[ir.Loop] = []
    while isinstance(stmt, ir.Loop):
        loops.append(stmt)
        *lets, stmt = _without_lets(stmt.body)
        if lets:
            return None
    return (loops, stmt) if isinstance(stmt, ir.Store) else None


def _without_lets(body: Body) -> Body:
    """`body` with the values of its `let`s written wherever they are read: they are computed in several walks."""
    while body and isinstance(body[0], ir.Let):
        body = substitute(body[1:], {body[0].var.name: body[0].value})
    return body


def _combination(store: ir.Store) -> tuple[str, ir.Expr]:
    """How a store updates what it overwrites, and with what; "" where what was there does not matter."""
    old, value = ir.Load(store.buffer, store.index), store.value
    if isinstance(value, ir.Apply) and value.op in ir.COMBINERS and value.args[0] == old:
        return value.op, value.args[1]
    return "", value


def _renamed(store: ir.Store, loops: Sequence[ir.Loop], to: Sequence[ir.Loop]) -> ir.Store:
    """`store` with the variables of `loops` called as those of `to`."""
    values = {loop.var.name: other.var for loop, other in zip(loops, to, strict=True)}
    return replace(store, index=tuple(substitute_expr(each, values) for each in store.index), value=substitute_expr(store.value, values))


def _test(begun: ir.Store, add: ir.Store, row: ir.Var) -> ir.Expr | None:
    """Whether an update is added to `row`: what stands in the place that it is added to where `row` stands in the place of the row. (The
    row is one of the output's, so such an update is for a row that exists.)"""
    for index in add.index:
        for found in ir.subexpressions(index):
            if add.index == tuple(substitute_expr(each, {row.name: found}) for each in begun.index):
                return ir.Apply("eq", (found, row), dtypes.bool)
    return None


def _end(begun: ir.Store, rounding: ir.Stmt, loops: Sequence[ir.Loop], total: ir.Var) -> ir.Store | None:
    """The store of the output in `rounding`, of `total` in the place of what `begun` stored."""
    found = _innermost(rounding)
    if found is None or len(found[0]) != len(loops):
        return None
    end = _renamed(found[1], found[0], loops)
    scratch = ir.Load(begun.buffer, begun.index)
    return replace(end, value=map_expr(end.value, lambda each: total if each == scratch else each))


def _whole_rows(found: _Scatter) -> _Scatter:
    """`found` without the slices into which the columns are cut for a CPU, whose tasks are few and long: p * 64 + q becomes q."""
    column = found.column
    if column is None or len(found.nest.loops) != 1:
        return found
    task = found.nest.loops[0]
    both = ir.Apply("add", (ir.Apply("multiply", (task.var, ir.index(column.extent)), dtypes.int64), column.var), dtypes.int64)

    def whole(expr: ir.Expr) -> ir.Expr:
        return map_expr(expr, lambda each: column.var if each == both else each)

    end = replace(found.end, index=tuple(map(whole, found.end.index)), value=whole(found.end.value))
    better = replace(found, nest=replace(found.nest, loops=()), column=replace(column, extent=task.extent * column.extent),
                     start=whole(found.start), update=whole(found.update), end=end)  # fmt: skip
    left = (*better.nest.body, *better.lets, ir.Let(better.total, better.start), ir.Let(better.total, better.update),
            ir.Let(ir.Var("", dtypes.bool), better.test), better.end)  # fmt: skip
    return found if uses(left)[task.var.name] else better


# Writing --------------------------------------------------------------------------------------------------------------------------------

def _cells(found: _Scatter, *inner: ir.Loop | None) -> Nest:
    """The nest over tasks, and `inner` loops of each."""
    return replace(found.nest, loops=(*found.nest.loops, *(loop for loop in inner if loop)))


def _by_element(kernel: ir.Kernel, found: _Scatter) -> ir.Kernel:
    """Each element of the output is a sum of its own, of zeros where an update is not for it. Where there are elements enough, a thread
    sums alone: its neighbours then look at the same index at the same time."""
    nest = _cells(found, found.row, found.column)
    count = found.each.extent if found.each else 1
    lanes = row_team(nest.cells, count, 1, 0) if nest.cells < ENOUGH else 1
    zero = ir.Const(identity(found.combine, found.total.dtype), found.total.dtype)
    asked = map_expr(found.update, lambda e: replace(e, where=found.test) if isinstance(e, ir.Load) and e.where is None else e)
    add: Body = (*found.lets, ir.Update(found.total, found.combine, ir.Apply("select", (found.test, asked, zero), zero.dtype)))
    if found.each:
        add = (replace(found.each, body=add) if lanes == 1 else replace(found.each, kind="team", lanes=lanes, body=add),)
    end = _ending(found, ir.Apply(found.combine, (found.start, found.total), zero.dtype))
    body = inline_lets((*found.nest.body, ir.Acc(found.total, zero), *add, end))
    return on_grid(kernel, nest, body, lanes_for(nest.cells) if lanes == 1 else block_rows(nest.cells, lanes))


def _by_row(kernel: ir.Kernel, found: _Scatter, column: ir.Loop) -> ir.Kernel:
    """The columns of each row in the registers of a team."""
    nest = _cells(found, found.row)
    taken = names(kernel) | {found.total.name}
    sums = ir.Buffer(fresh("row", taken), found.total.dtype, (column.extent,), "local")
    mine = ir.Load(sums, (column.var,))
    parts = _column_parts(found, column)
    lanes = row_team(nest.cells, column.extent, parts, registers_of(sums))
    if share(column.extent, lanes, parts) * registers_of(sums) > REGISTERS:
        return kernel

    def over_columns(stmt: ir.Stmt) -> ir.Loop:
        return replace(column, kind="team", lanes=lanes, parts=parts, body=(stmt,))

    add = over_columns(ir.Store(sums, mine.index, ir.Apply(found.combine, (mine, found.update), sums.dtype)))
    end = _ending(found, mine)
    seek = _Seek(found, add, lanes, fresh("any", taken), fresh("b", taken), frozenset(taken)).body()
    start = over_columns(ir.Store(sums, mine.index, found.start))
    body = (*found.nest.body, ir.Local(sums), start, *seek, over_columns(end))
    return on_grid(kernel, nest, inline_lets(body), block_rows(nest.cells, lanes))


def _by_last(kernel: ir.Kernel, found: _Scatter) -> ir.Kernel:
    """Each row finds the number of its last update, and takes that update's columns."""
    nest = _cells(found, found.row)
    count = found.each.extent if found.each else 1
    columns = found.column.extent if found.column else 1
    lanes = row_team(nest.cells, max(count, columns), 1, 0) if nest.cells < ENOUGH or columns > FEW_COLUMNS else 1
    taken = names(kernel) | {found.total.name}
    last = ir.Var(fresh("last", taken))
    number: ir.Expr = found.each.var if found.each else ir.index(0)
    none = ir.index(-1)
    seek: Body = (*found.lets, ir.Update(last, "maximum", ir.Apply("select", (found.test, number, none), none.dtype)))
    has = ir.Apply("ge", (last, ir.index(0)), dtypes.bool)
    brought = found.update if found.each is None else _of_update(found, last)
    asked = map_expr(brought, lambda e: replace(e, where=has) if isinstance(e, ir.Load) and e.where is None else e)
    take: Body = (_ending(found, ir.Apply("select", (has, asked, found.start), found.total.dtype)),)

    def walk(loop: ir.Loop | None, body: Body) -> Body:
        if loop is None:
            return body
        return (replace(loop, body=body) if lanes == 1 else replace(loop, kind="team", lanes=lanes, body=body),)

    body = inline_lets((*found.nest.body, ir.Acc(last, none), *walk(found.each, seek), *walk(found.column, take)))
    return on_grid(kernel, nest, body, lanes_for(nest.cells) if lanes == 1 else block_rows(nest.cells, lanes))


def _of_update(found: _Scatter, number: ir.Expr) -> ir.Expr:
    """What the update of that number brings."""
    value = found.update
    for let in reversed(found.lets):
        if isinstance(let, ir.Let):
            value = substitute_expr(value, {let.var.name: let.value})
    return substitute_expr(value, {} if found.each is None else {found.each.var.name: number})


def _ending(found: _Scatter, total: ir.Expr) -> ir.Store:
    return replace(found.end, value=substitute_expr(found.end.value, {found.total.name: total}))


def _column_parts(found: _Scatter, column: ir.Loop) -> int:
    """How many columns a thread may take at once by the accesses of all three walks over them."""
    values = (found.end.value, found.start, found.update)
    parts = min(wide_parts((column,), (replace(found.end, value=value),)) for value in values)
    while parts > 1 and column.extent // parts < WARP:
        parts //= 2
    return parts


@dataclass(frozen=True)
class _Seek:
    """A team's way through the updates: `add` is done for those that are its row's."""

    found: _Scatter
    add: ir.Stmt
    lanes: int
    any: str
    chunk: str
    taken: frozenset[str]

    def body(self) -> Body:
        each = self.found.each
        if each is None:
            return (ir.If(self.found.test, (self.add,)),)
        size = CHUNK * self.lanes
        whole, rest = divmod(each.extent, size)
        start = ir.Apply("multiply", (ir.Var(self.chunk), ir.index(size)), dtypes.int64)
        many: Body = (ir.Loop(ir.Var(self.chunk), whole, "serial", self._part(each, start, size)),) if whole > 1 else ()
        if whole == 1:
            many = self._part(each, ir.index(0), size)
        return (*many, *self._part(each, ir.index(whole * size), rest)) if rest else many

    def _part(self, each: ir.Loop, start: ir.Expr, extent: int) -> Body:
        """`extent` updates from `start` on. A team's one question to all of them costs less than one thread's many."""
        hit = ir.Var(f"{self.any}_{start.value}" if isinstance(start, ir.Const) else self.any, dtypes.bool)
        at = {each.var.name: each.var if start == ir.index(0) else ir.Apply("add", (start, each.var), dtypes.int64)}
        ask = without_waiting(inline_lets(substitute((*self.found.lets, ir.Update(hit, "or", self.found.test)), at)), set(self.taken))
        take: Body = (*self.found.lets, ir.If(self.found.test, (self.add,)))
        return (
            ir.Acc(hit, ir.Const(False, dtypes.bool)),
            replace(each, extent=extent, kind="team", lanes=self.lanes, body=ask),
            ir.If(hit, (replace(each, extent=extent, body=inline_lets(substitute(take, at))),)),
        )

