"""Rewriting kernel IR: the few traversals on which lowering's clean-up and the schedules are built. Everything gives new statements."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from graphc.codegen import ir

Body = tuple[ir.Stmt, ...]
OnExpr = Callable[[ir.Expr], ir.Expr]


def map_expr(expr: ir.Expr, change: OnExpr) -> ir.Expr:
    """`expr` with `change` applied to every subexpression, inner first."""
    if isinstance(expr, ir.Apply):
        args = tuple(map_expr(arg, change) for arg in expr.args)
        expr = expr if args == expr.args else replace(expr, args=args)
    elif isinstance(expr, ir.Load):
        index = tuple(map_expr(each, change) for each in expr.index)
        where = None if expr.where is None else map_expr(expr.where, change)
        expr = expr if index == expr.index and where == expr.where else ir.Load(expr.buffer, index, where)
    return change(expr)


def map_exprs(body: Body, change: OnExpr, change_store: Callable[[ir.Store], ir.Store] = lambda store: store) -> Body:
    """`body` with every expression of every statement replaced by `change(expression)`, and every store first by `change_store(store)`."""
    return tuple(_map_stmt(stmt, change, change_store) for stmt in body)


def _map_stmt(stmt: ir.Stmt, change: OnExpr, change_store: Callable[[ir.Store], ir.Store]) -> ir.Stmt:
    match stmt:
        case ir.Let() | ir.Update():
            return replace(stmt, value=change(stmt.value))
        case ir.Acc():
            return replace(stmt, init=change(stmt.init))
        case ir.Store():
            store = change_store(stmt)
            index = store.index if store is not stmt else tuple(map(change, store.index))
            return ir.Store(store.buffer, index, change(store.value), None if store.where is None else change(store.where))
        case ir.Prefetch():
            return ir.Prefetch(stmt.buffer, tuple(map(change, stmt.index)))
        case ir.If():
            return ir.If(change(stmt.cond), map_exprs(stmt.body, change, change_store))
        case ir.Loop():
            return replace(stmt, body=map_exprs(stmt.body, change, change_store))
        case ir.Product():
            return replace(stmt, lhs=change(stmt.lhs), rhs=change(stmt.rhs), epilogue=map_exprs(stmt.epilogue, change, change_store))
        case ir.Local():
            return stmt


def substitute(body: Body, values: Mapping[str, ir.Expr]) -> Body:
    """`body` with the variables called `values` replaced by expressions."""
    return map_exprs(body, lambda expr: substitute_expr(expr, values)) if values else body


def substitute_expr(expr: ir.Expr, values: Mapping[str, ir.Expr]) -> ir.Expr:
    """`expr` with the variables called `values` replaced by expressions."""
    return map_expr(expr, lambda each: values.get(each.name, each) if isinstance(each, ir.Var) else each)


def map_loops(body: Body, change: Callable[[ir.Loop], Body]) -> Body:
    """`body` with every loop replaced by what `change` makes of it, inner loops first."""
    result: list[ir.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ir.Loop):
            result += change(replace(stmt, body=map_loops(stmt.body, change)))
        elif isinstance(stmt, ir.If):
            result.append(ir.If(stmt.cond, map_loops(stmt.body, change)))
        else:
            result.append(stmt)
    return tuple(result)


def uses(body: Body) -> Counter[str]:
    """How often each variable is read in `body`."""
    count: Counter[str] = Counter()
    for stmt in ir.walk(body):
        for expr in ir.expressions(stmt):
            count.update(sub.name for sub in ir.subexpressions(expr) if isinstance(sub, ir.Var))
    return count


def variables(expr: ir.Expr) -> set[str]:
    """The names of the variables in `expr`."""
    return {sub.name for sub in ir.subexpressions(expr) if isinstance(sub, ir.Var)}


def loads(body: Body) -> list[ir.Load]:
    """Every load in `body`, outer statements first."""
    return [sub for stmt in ir.walk(body) for expr in ir.expressions(stmt) for sub in ir.subexpressions(expr) if isinstance(sub, ir.Load)]


def stored(body: Body) -> set[str]:
    """The names of the buffers that `body` stores to."""
    return {stmt.buffer.name for stmt in ir.walk(body) if isinstance(stmt, ir.Store)}


def inline_lets(body: Body) -> Body:
    """Removes lets that nothing reads, and writes those that one expression of the same block reads once in its place.

        let t0 = add(x[i], 1)             y[i] = exponential(add(x[i], 1))
        y[i] = exponential(t0)      ->

    A load is moved past no store to its buffer, a load of a parameter past no store to another (an output may lie over an operand), and
    nothing is moved into a loop.
    """
    while True:
        smaller = _inline_block(body, uses(body))
        if smaller == body:
            return body
        body = smaller


def _inline_block(body: Body, count: Counter[str]) -> Body:
    result: list[ir.Stmt] = []
    pending: dict[str, ir.Expr] = {}
    for position, stmt in enumerate(body):
        if isinstance(stmt, ir.Let):
            whole = replace(stmt, value=substitute_expr(stmt.value, pending))  # its loads move with it
            if count[stmt.var.name] == 0 or _read_once_here(whole, body[position + 1:], count):
                if count[stmt.var.name]:
                    pending[stmt.var.name] = whole.value
                continue
        inner = stmt
        if isinstance(stmt, ir.Loop | ir.If):
            inner = replace(stmt, body=_inline_block(stmt.body, count))
        elif isinstance(stmt, ir.Product):
            inner = replace(stmt, epilogue=_inline_block(stmt.epilogue, count))
        result += substitute((inner,), pending)
    return tuple(result)


def _read_once_here(let: ir.Let, rest: Body, count: Counter[str]) -> bool:
    """Whether the only use of `let` is an expression of a later statement of its own block, with no store before it if `let` loads."""
    if count[let.var.name] != 1:
        return False
    read = {_memory(load.buffer) for load in loads((let,))}
    for stmt in rest:
        if any(let.var.name in variables(expr) for expr in ir.expressions(stmt)):
            return not isinstance(stmt, ir.Product)
        if read & {_memory(inner.buffer) for inner in ir.walk((stmt,)) if isinstance(inner, ir.Store)}:
            return False
    return False


def _memory(buffer: ir.Buffer) -> str:
    """A name for the memory that `buffer` may lie in: its own where it is local, one for all parameters."""
    return buffer.name if buffer.space == "local" else ""
