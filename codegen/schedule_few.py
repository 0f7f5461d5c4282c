"""A short last axis written out: a schedule step for elementwise kernels whose innermost loop fills little of a vector.

`stack([a, b], -1)` is a loop of two inside a loop of a million. Written out, its choices between operands are made here and not for every
element, and the outer loop is left, whose vectors take one element of each of many rows: 1.6 instead of 48 ms for a million pairs.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, map_expr, map_exprs, substitute
from graphc.codegen.schedule_access import is_independent
from graphc.codegen.schedule_rows import SHARE

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": int.__eq__, "ne": int.__ne__, "lt": int.__lt__, "le": int.__le__, "gt": int.__gt__, "ge": int.__ge__}


def write_out_few(kernel: ir.Kernel, lanes: int) -> ir.Kernel:
    """`kernel` without its innermost loop, where that has few iterations and nothing but values and stores.

        for i in 1000 parallel { for j in 2 serial { y[i, j] = select(j < 1, a[i where j < 1], b[i where not(j < 1)]) } }
    ->  for i in 1000 parallel { y[i, 0] = a[i]   y[i, 1] = b[i] }
    """
    *before, last = kernel.body or (None,)
    if not isinstance(last, ir.Loop) or not all(isinstance(stmt, ir.Let) for stmt in before):
        return kernel
    *outer, inner = last.body or (None,)
    if (last.kind != "parallel" or last.extent < lanes or not isinstance(inner, ir.Loop) or not 1 < inner.extent <= lanes // SHARE
            or not all(isinstance(stmt, ir.Let) for stmt in outer)
            or not all(isinstance(stmt, ir.Let | ir.Store) for stmt in inner.body) or not is_independent(last)):
        return kernel
    copies = [_copy(inner, number) for number in range(inner.extent)]
    # All values before the first store, as in the loop: an output may lie over an operand.
    flat = sorted((stmt for copy in copies for stmt in copy), key=lambda stmt: isinstance(stmt, ir.Store))
    return replace(kernel, body=(*kernel.body[:-1], replace(last, body=(*last.body[:-1], *flat))))


def _copy(loop: ir.Loop, number: int) -> Body:
    """Iteration `number` of `loop`, what it names under names of its own."""
    named: dict[str, ir.Expr] = {loop.var.name: ir.index(number)}
    body: list[ir.Stmt] = []
    for stmt in loop.body:
        changed, = substitute((stmt,), named)
        changed, = map_exprs((changed,), lambda expr: map_expr(expr, _decided))
        if isinstance(changed, ir.Store):
            changed = replace(changed, index=tuple(map_expr(each, _decided) for each in changed.index))
        if isinstance(changed, ir.Let):
            if isinstance(changed.value, ir.Const | ir.Var):
                named[changed.var.name] = changed.value
                continue
            own = replace(changed.var, name=f"{changed.var.name}_{number}")
            named[changed.var.name] = own
            changed = replace(changed, var=own)
        body.append(changed)
    return tuple(body)


def _decided(expr: ir.Expr) -> ir.Expr:
    """`expr` where its arguments are known: comparisons of numbers, and what follows from their outcome."""
    if isinstance(expr, ir.Load) and isinstance(expr.where, ir.Const):
        return replace(expr, where=None) if expr.where.value else _zero(expr)
    if not isinstance(expr, ir.Apply):
        return expr
    first = expr.args[0]
    if expr.op == "select" and isinstance(first, ir.Const):
        return expr.args[1] if first.value else expr.args[2]
    if expr.op == "and":
        for known, other in (expr.args, expr.args[::-1]):
            if isinstance(known, ir.Const) and known.dtype.is_bool:
                return other if known.value else known
    if all(isinstance(arg, ir.Const) for arg in expr.args):
        return _known(expr, [arg.value for arg in expr.args if isinstance(arg, ir.Const)])
    return expr


def _known(expr: ir.Apply, values: list[int | float | bool]) -> ir.Expr:
    if expr.op == "not" and expr.dtype.is_bool:
        return ir.Const(not values[0], expr.dtype)
    if expr.op in _COMPARE and all(isinstance(value, int) for value in values):
        return ir.Const(_COMPARE[expr.op](int(values[0]), int(values[1])), expr.dtype)
    return expr


def _zero(load: ir.Load) -> ir.Const:
    return ir.Const(False if load.dtype.is_bool else 0.0 if load.dtype.is_floating else 0, load.dtype)
