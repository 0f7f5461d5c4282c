"""How accesses move through memory as loops go round: what the GPU schedule needs to know beyond `schedule_access`. Pure analysis."""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.gpu import VECTOR_BYTES
from graphc.codegen.linear import Linear, linear
from graphc.codegen.rewrite import Body
from graphc.codegen.schedule_access import accesses, coefficient, stride, varying

Access = ir.Load | ir.Store


def forms(loops: Sequence[ir.Loop]) -> dict[str, Linear]:
    """The variables of `loops` as affine forms of themselves."""
    return {loop.var.name: Linear(0, ((loop.var.name, 1),)) for loop in loops}


def flat_form(loops: Sequence[ir.Loop]) -> Linear:
    """The row-major position of an iteration of `loops`, in the order of terms that `position` gives."""
    terms, inner = [], 1
    for loop in reversed(loops):
        terms.append((loop.var.name, inner))
        inner *= loop.extent
    return Linear(0, tuple(sorted(terms)))


def position(access: Access, loops: Sequence[ir.Loop]) -> Linear | None:
    """Where in its buffer an access lies, as an affine form of the variables of `loops`; None where it is none of them alone."""
    total, size = Linear(0), 1
    known = forms(loops)
    for expr, dim in zip(reversed(access.index), reversed(access.buffer.shape), strict=True):
        form = linear(expr, known)
        if form is None:
            return None
        total = total.plus(form.times(size))
        size *= dim
    return Linear(total.const, tuple(sorted(total.terms)))


def is_flat(access: Access, loops: Sequence[ir.Loop]) -> bool:
    """Whether `access` goes through its buffer in the order of the iterations of `loops`."""
    return position(access, loops) == flat_form(loops)


def _widest(found: Sequence[Access]) -> int:
    """How many elements of the widest type accessed make a vector; at most 8, so that bytes do not take all registers."""
    size = max((access.buffer.dtype.size for access in found), default=4)
    return min(8, VECTOR_BYTES // size)


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


def wide_parts(loops: Sequence[ir.Loop], body: Body) -> int:
    """How many neighbouring iterations of `loops`, one inside the other around `body`, a thread may take so that every access that moves is
    of whole, aligned vectors."""
    if not loops:
        return 1
    found = [access for access in accesses(body) if any(_moves(access, loop, body) for loop in loops)]
    parts = _widest(found)
    if all(is_flat(access, loops) and access.where is None for access in found):
        return parts
    inner = loops[-1]
    changing = varying(body, inner.var.name)
    while parts > 1 and not ((len(loops) == 1 or inner.extent % parts == 0)
                             and all(is_wide(access, inner.var, parts, changing) for access in found)):
        parts //= 2
    return parts


def _moves(access: Access, loop: ir.Loop, body: Body) -> bool:
    return stride(access, loop.var.name, varying(body, loop.var.name)) != 0
