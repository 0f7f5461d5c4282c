"""What the steps of the GPU schedule share: the loops of a kernel whose iterations are cells of one grid, and how cells access memory.

A lowered kernel is `let`s and then either loops of independent iterations, one inside the other, or statements that run once. A *cell* is
what one iteration of all those loops does: an element of a map, a row of a softmax, a column of a sum, one matrix of a batch.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.linear import linear
from graphc.codegen.rewrite import Body, map_expr, map_exprs, uses
from graphc.codegen.schedule_access import accesses, is_independent
from graphc.codegen.schedule_gpu_access import flat_form, forms, position
from graphc.core import dtypes


@dataclass(frozen=True)
class Nest:
    """before: the kernel's own `let`s. loops: independent ones, outermost first; none where everything runs once. body: of one cell."""

    before: Body
    loops: tuple[ir.Loop, ...]
    body: Body

    @property
    def cells(self) -> int:
        return math.prod(loop.extent for loop in self.loops)


def nest_of(kernel: ir.Kernel) -> Nest | None:
    """The nest of a kernel that is in no grid loop yet; None for one that is, or that does nothing."""
    if not kernel.body or any(isinstance(stmt, ir.Loop) and stmt.kind == "grid" for stmt in kernel.body):
        return None
    *before, last = kernel.body
    if not isinstance(last, ir.Loop) or not all(isinstance(stmt, ir.Let) for stmt in before) or not _is_free(last):
        return Nest((), (), kernel.body)
    loops: list[ir.Loop] = []
    lets: list[ir.Stmt] = []  # those between the loops belong to every cell
    while True:
        loops.append(last)
        *own, inner = last.body
        if not isinstance(inner, ir.Loop) or not all(isinstance(stmt, ir.Let) for stmt in own) or not _is_free(inner):
            return Nest(tuple(before), tuple(loops), (*lets, *last.body))
        lets += own
        last = inner


def _is_free(loop: ir.Loop) -> bool:
    """Whether the iterations of `loop` are independent, and update no accumulator declared outside it either."""
    if loop.kind == "parallel" or any(isinstance(stmt, ir.Product) for stmt in ir.walk(loop.body)):
        return True  # the batches of a product are independent by construction
    own = {stmt.var for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Acc)}
    return is_independent(loop) and all(stmt.var in own for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Update))


def team_work(nest: Nest) -> list[Nest]:
    """The loops of a cell as nests that a team may share out: independent but for accumulators, without branches or scratch inside. Empty
    where a cell has no loops, or others too."""
    inner = [stmt for stmt in nest.body if isinstance(stmt, ir.Loop)]
    able = all(isinstance(stmt, ir.Local | ir.Let | ir.Acc | ir.Update | ir.Store | ir.Loop) for stmt in nest.body)
    return [_shared_out(loop) for loop in inner] if able and all(map(_is_shareable, inner)) else []


def _is_shareable(loop: ir.Loop) -> bool:
    return is_independent(loop) and all(isinstance(stmt, ir.Let | ir.Acc | ir.Update | ir.Store | ir.Loop) for stmt in ir.walk(loop.body))


def _shared_out(loop: ir.Loop) -> Nest:
    """`loop` and the loops inside it that are as independent, with nothing but `let`s beside them."""
    loops = [loop]
    lets: list[ir.Stmt] = []
    while True:
        *own, inner = loops[-1].body
        if not isinstance(inner, ir.Loop) or not all(isinstance(stmt, ir.Let) for stmt in own) or not is_independent(inner):
            return Nest((), tuple(loops), (*lets, *loops[-1].body))
        lets += own
        loops.append(inner)


def on_grid(kernel: ir.Kernel, nest: Nest, body: Body, lanes: int, parts: int = 1) -> ir.Kernel:
    """`kernel` as `let`s and one grid loop over the cells of `nest`, each of which does `body`.

        for i in 8 parallel { for j in 100 serial { y[i, j] = x[i, j] * w[j] } }
    ->  for c in 800 grid(256, 4) { let j = c % 100   y[c] = x[c] * w[j] }
    """
    taken = names(kernel)
    if not nest.loops:
        grid = ir.Loop(ir.Var(fresh("c", taken)), 1, "grid", body, lanes, parts)
        return replace(kernel, body=(*nest.before, grid))
    params, grid = joined(kernel.params, replace(nest, body=body), fresh("c", taken))
    return replace(kernel, params=params, body=(*nest.before, replace(grid, kind="grid", lanes=lanes, parts=parts)))


def joined(params: tuple[ir.Buffer, ...], nest: Nest, name: str) -> tuple[tuple[ir.Buffer, ...], ir.Loop]:
    """The loops of `nest` as one serial loop over a variable called `name` (its own, where there is one loop only).

    Buffers that are accessed in the order of that loop alone lose their dims and are indexed by it; other indices are found by division.
    """
    if len(nest.loops) == 1:
        return params, replace(nest.loops[0], kind="serial", body=nest.body)
    var = ir.Var(name)
    flat = flat_form(nest.loops)
    inside = list(accesses(nest.body))
    merged = {b.name: replace(b, shape=(b.size,)) for b in params
              if all(position(access, nest.loops) == flat for access in inside if access.buffer == b)}

    def place(buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> tuple[ir.Buffer, tuple[ir.Expr, ...]]:
        if buffer.name in merged:
            return merged[buffer.name], (var,)
        known = forms(nest.loops)
        return buffer, tuple(var if linear(each, known) == flat else each for each in index)

    def change(expr: ir.Expr) -> ir.Expr:
        return ir.Load(*place(expr.buffer, expr.index), expr.where) if isinstance(expr, ir.Load) else expr

    def change_store(store: ir.Store) -> ir.Store:
        buffer, index = place(store.buffer, tuple(map_expr(each, change) for each in store.index))
        return replace(store, buffer=buffer, index=index)

    body = map_exprs(nest.body, lambda expr: map_expr(expr, change), change_store)
    loop = ir.Loop(var, nest.cells, "serial", (*_parted(var, nest.loops, body), *body))
    return tuple(merged.get(b.name, b) for b in params), loop


def _parted(var: ir.Var, loops: Sequence[ir.Loop], body: Body) -> Iterator[ir.Let]:
    """The variables of `loops` that `body` uses, out of the one of the loop that joins them."""
    used = uses(body)
    inner = math.prod(loop.extent for loop in loops)
    for loop in loops:
        whole, inner = inner, inner // loop.extent
        if used[loop.var.name]:
            value: ir.Expr = var if inner == 1 else ir.Apply("divide", (var, ir.index(inner)), dtypes.int64)
            if loop.extent == 1:
                value = ir.index(0)
            elif whole != math.prod(each.extent for each in loops):
                value = ir.Apply("remainder", (value, ir.index(loop.extent)), dtypes.int64)
            yield ir.Let(loop.var, value)


def names(kernel: ir.Kernel) -> set[str]:
    """Every name in `kernel`."""
    found = {buffer.name for buffer in kernel.params}
    for stmt in ir.walk(kernel.body):
        match stmt:
            case ir.Loop() | ir.Let() | ir.Acc():
                found.add(stmt.var.name)
            case ir.Local():
                found.add(stmt.buffer.name)
            case ir.Product():
                found |= {stmt.i.name, stmt.j.name, stmt.k.name, stmt.acc.name}
    return found


def fresh(stem: str, taken: set[str]) -> str:
    """A name that is not taken: `stem`, or `stem` with a number."""
    name, count = stem, 0
    while name in taken:
        name, count = f"{stem}{count}", count + 1
    return name


def power_below(value: int) -> int:
    """The greatest power of two up to `value`, at least 1."""
    return 1 << max(value, 1).bit_length() - 1


def power_above(value: int) -> int:
    """The least power of two from `value` on."""
    return 1 << max(value - 1, 0).bit_length()
