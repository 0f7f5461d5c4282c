"""What the steps of the GPU schedule share: the loops of a kernel whose iterations are cells of one grid, and what a cell's accesses look like.

A lowered kernel is `let`s and then either loops of independent iterations, one inside the other, or statements that run once. A *cell* is what
one iteration of all those loops does: an element of a map, a row of a softmax, a column of a sum, one matrix of a batch.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.linear import Linear, linear
from graphc.codegen.rewrite import Body, map_expr, map_exprs, uses
from graphc.codegen.schedule_access import accesses, coefficient, is_independent, stride, varying
from graphc.core import dtypes

Access = ir.Load | ir.Store
_ROW_STMTS = (ir.Let, ir.Acc, ir.Update, ir.Store, ir.Loop)


@dataclass(frozen=True)
class Nest:
    """before: the kernel's own `let`s. loops: independent ones, outermost first; none where everything runs once. body: of one cell."""

    before: Body
    loops: tuple[ir.Loop, ...]
    body: Body

    @property
    def cells(self) -> int:
        return math.prod(loop.extent for loop in self.loops)

    @property
    def inner_loops(self) -> tuple[ir.Loop, ...]:
        """The loops that stand in a cell themselves, not inside others."""
        return tuple(stmt for stmt in self.body if isinstance(stmt, ir.Loop))


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


def is_team_work(loop: ir.Loop) -> bool:
    """Whether a team may share out the iterations of `loop`: they are independent but for accumulators, and hold no branch or scratch."""
    return is_independent(loop) and all(isinstance(stmt, _ROW_STMTS) for stmt in ir.walk(loop.body))


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
    flat = _flat_form(nest.loops)
    inside = list(accesses(nest.body))
    merged = {b.name: replace(b, shape=(b.size,)) for b in params
              if all(position(access, nest.loops) == flat for access in inside if access.buffer == b)}

    def place(buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> tuple[ir.Buffer, tuple[ir.Expr, ...]]:
        if buffer.name in merged:
            return merged[buffer.name], (var,)
        known = _forms(nest.loops)
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
            if whole != math.prod(each.extent for each in loops):
                value = ir.Apply("remainder", (value, ir.index(loop.extent)), dtypes.int64)
            yield ir.Let(loop.var, value)


def _forms(loops: Sequence[ir.Loop]) -> dict[str, Linear]:
    return {loop.var.name: Linear(0, ((loop.var.name, 1),)) for loop in loops}


def _flat_form(loops: Sequence[ir.Loop]) -> Linear:
    """The row-major position of an iteration of `loops`, in the order of terms that `position` gives."""
    terms, inner = [], 1
    for loop in reversed(loops):
        terms.append((loop.var.name, inner))
        inner *= loop.extent
    return Linear(0, tuple(sorted(terms)))


def position(access: Access, loops: Sequence[ir.Loop]) -> Linear | None:
    """Where in its buffer an access lies, as an affine form of the variables of `loops`; None where it is none of them alone."""
    total, size = Linear(0), 1
    known = _forms(loops)
    for expr, dim in zip(reversed(access.index), reversed(access.buffer.shape), strict=True):
        form = linear(expr, known)
        if form is None:
            return None
        total = total.plus(form.times(size))
        size *= dim
    return Linear(total.const, tuple(sorted(total.terms)))


def is_flat(access: Access, loops: Sequence[ir.Loop]) -> bool:
    """Whether `access` goes through its buffer in the order of the iterations of `loops`."""
    return position(access, loops) == _flat_form(loops)


# Wide accesses --------------------------------------------------------------------------------------------------------------------------

def widest(found: Sequence[Access], limit: int) -> int:
    """How many elements of the widest type accessed make `limit` bytes, at most 8."""
    size = max((access.buffer.dtype.size for access in found), default=4)
    return max(1, min(8, limit // size))


def is_wide(access: Access, var: ir.Var, parts: int, changing: set[str]) -> bool:
    """Whether `parts` consecutive values of `var`, the first a multiple of `parts`, touch one element, or that many consecutive ones of
    which the first is a multiple of `parts`. `changing`: what varies with `var`."""
    if access.where is not None and any(isinstance(s, ir.Var) and s.name in changing for s in ir.subexpressions(access.where)):
        return False
    step = stride(access, var.name, changing)
    if step != 1:
        return step == 0
    *outer, last = access.index
    alone = coefficient(last, var.name, changing) == 1 and all(coefficient(each, var.name, changing) == 0 for each in outer)
    return alone and _is_multiple(last, parts, var) and (not outer or access.buffer.shape[-1] % parts == 0)


def _is_multiple(expr: ir.Expr, of: int, zero: ir.Var) -> bool:
    """Whether `expr` is known to be a multiple of `of` where `zero` is 0."""
    match expr:
        case ir.Var():
            return expr == zero
        case ir.Const():
            return int(expr.value) % of == 0
        case ir.Apply("add" | "subtract"):
            return all(_is_multiple(arg, of, zero) for arg in expr.args)
        case ir.Apply("multiply"):
            return any(_is_multiple(arg, of, zero) for arg in expr.args)
    return False


def wide_parts(loop: ir.Loop, limit: int) -> int:
    """The most consecutive iterations of `loop` whose accesses are all wide together, of at most `limit` bytes; 1 where there are none."""
    changing = varying(loop.body, loop.var.name)
    moving = [access for access in accesses(loop.body) if stride(access, loop.var.name, changing) != 0]
    parts = widest(moving, limit)
    while parts > 1 and not all(is_wide(access, loop.var, parts, changing) for access in moving):
        parts //= 2
    return parts


# Names and sizes ------------------------------------------------------------------------------------------------------------------------

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
