"""Several small kernels in one launch: their grid loops side by side. For the updates of many variables, each too small for a GPU."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, map_expr, map_exprs
from graphc.codegen.schedule_gpu_nest import names


def merge(kernels: Sequence[ir.Kernel], name: str) -> ir.Kernel:
    """One kernel called `name` that does what all of `kernels` do, which are scheduled and independent of one another.

    Its parameters are theirs, one kernel after the other, each name with the kernel's number before it: "k0_x0", "k0_y0", "k1_x0" ...
    Origins are joined, without repetition. ValueError where a kernel is not in grid loops yet.

        kernel a(x0: f32[9] in, y0: f32[9] out) { for i in 9 grid(32, 1) { y0[i] = x0[i] } }       twice
    ->  kernel ab(k0_x0: f32[9] in, k0_y0: f32[9] out, k1_x0: f32[9] in, k1_y0: f32[9] out) {
          for k0_i in 9 grid(32, 1) { k0_y0[k0_i] = k0_x0[k0_i] }
          for k1_i in 9 grid(32, 1) { k1_y0[k1_i] = k1_x0[k1_i] }
        }
    """
    for kernel in kernels:
        if not all(isinstance(stmt, ir.Let) or (isinstance(stmt, ir.Loop) and stmt.kind == "grid") for stmt in kernel.body):
            raise ValueError(f"kernel {kernel.name} is not in grid loops: schedule_gpu makes them")
    apart = [_renamed(kernel, f"k{n}_") for n, kernel in enumerate(kernels)]
    params = tuple(buffer for kernel in apart for buffer in kernel.params)
    body = tuple(stmt for kernel in apart for stmt in kernel.body)
    return ir.Kernel(name, params, body, tuple(dict.fromkeys(origin for kernel in kernels for origin in kernel.origins)))


def _renamed(kernel: ir.Kernel, prefix: str) -> ir.Kernel:
    """`kernel` with `prefix` before every name."""
    new = {name: prefix + name for name in names(kernel)}
    return replace(kernel, params=tuple(_buffer(each, new) for each in kernel.params), body=_block(kernel.body, new))


def _buffer(buffer: ir.Buffer, new: Mapping[str, str]) -> ir.Buffer:
    return replace(buffer, name=new[buffer.name])


def _var(var: ir.Var, new: Mapping[str, str]) -> ir.Var:
    return replace(var, name=new[var.name])


def _block(body: Body, new: Mapping[str, str]) -> Body:
    """`body` with other names: first in expressions, then of what its statements bind."""
    def change(expr: ir.Expr) -> ir.Expr:
        if isinstance(expr, ir.Load):
            return replace(expr, buffer=_buffer(expr.buffer, new))
        return _var(expr, new) if isinstance(expr, ir.Var) else expr

    def change_store(store: ir.Store) -> ir.Store:
        return replace(store, buffer=_buffer(store.buffer, new), index=tuple(map_expr(each, change) for each in store.index))

    return tuple(_bound(stmt, new) for stmt in map_exprs(body, lambda expr: map_expr(expr, change), change_store))


def _bound(stmt: ir.Stmt, new: Mapping[str, str]) -> ir.Stmt:
    match stmt:
        case ir.Let() | ir.Acc() | ir.Update():
            return replace(stmt, var=_var(stmt.var, new))
        case ir.Local() | ir.Prefetch():
            return replace(stmt, buffer=_buffer(stmt.buffer, new))
        case ir.If():
            return replace(stmt, body=tuple(_bound(each, new) for each in stmt.body))
        case ir.Loop():
            return replace(stmt, var=_var(stmt.var, new), body=tuple(_bound(each, new) for each in stmt.body))
        case ir.Product():
            i, j, k, acc = (_var(each, new) for each in (stmt.i, stmt.j, stmt.k, stmt.acc))
            return replace(stmt, i=i, j=j, k=k, acc=acc, epilogue=tuple(_bound(each, new) for each in stmt.epilogue))
        case ir.Store():
            return stmt
