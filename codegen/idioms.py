"""Idioms: formulas that a machine computes better as one function than piece by piece. The first step of the schedule.

They are sought in the kernel and not in the Program, because only what stands in one expression is computed nowhere else.
"""
from __future__ import annotations

from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen.rewrite import map_expr, map_exprs


def recognise(kernel: ir.Kernel) -> ir.Kernel:
    """`kernel` with formulas replaced by the functions that they are.

        t * 0.5 * (erf(t * 0.70710677) + 1.0)  ->  t * 0.5 * erf_plus_one(t * 0.70710677)
    """
    return replace(kernel, body=map_exprs(kernel.body, lambda expr: map_expr(expr, _named)))


def _named(expr: ir.Expr) -> ir.Expr:
    match expr:
        case ir.Apply("add", (ir.Apply("erf", args), ir.Const(1.0)) | (ir.Const(1.0), ir.Apply("erf", args))):
            return ir.Apply("erf_plus_one", args, expr.dtype)
    return expr
