"""Operands of a product that are windows of an array: their indices taken apart into digits, in which everything is affine.

Lowering gives the product one variable for all rows and one for all steps of depth, and a convolution's operand divides them:

    x[k / 192 * 56 + k / 64 % 3 + i - 57, k % 64 where i / 56 + k / 192 >= 1, ...]

The divisors of such an index form a chain, 64 | 192, so k has digits: k = (k.2 * 3 + k.1) * 64 + k.0, and the operand is

    x[k.2 * 56 + k.1 + i - 57, k.0 where i.1 + k.2 >= 1, ...]

Along the lowest digit it is one contiguous run of 64 elements under one condition: what packing copies by whole vectors.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from graphc.codegen import ir
from graphc.codegen.linear import Linear, linear
from graphc.codegen.rewrite import map_expr
from graphc.core import dtypes

_SIGNS = ("ge", "lt")


@dataclass(frozen=True)
class Digit:
    """One digit of an index: index // stride % extent."""

    var: ir.Var
    stride: int
    extent: int


@dataclass(frozen=True)
class Seen:
    """An operand in digits. along: those of the variable along which it is contiguous, lowest first; across: those of the other one, which
    may also occur itself. run: elements that lie side by side, the extent of the lowest digit of `along`."""

    expr: ir.Expr
    along: tuple[Digit, ...]
    across: tuple[Digit, ...]

    @property
    def run(self) -> int:
        return self.along[0].extent


def seen_along(expr: ir.Expr, along: ir.Var, extent: int, across: ir.Var, across_extent: int, lanes: int) -> Seen | None:
    """`expr` in digits of both variables where they make it affine, and contiguous along the lowest digit of `along`; None elsewhere, and
    where there is nothing to take apart. Runs shorter than a vector (of `lanes`) are joined with what follows them in memory."""
    if not any(isinstance(part, ir.Apply) and part.op in ("divide", "remainder") and part.dtype is dtypes.int64
               for part in ir.subexpressions(expr)):
        return None
    first, second = _divisors(expr, along.name, extent), _divisors(expr, across.name, across_extent)
    if first is None or second is None:
        return None
    own, other = _digits(along, extent, first), _digits(across, across_extent, second)
    changed = _substituted(_substituted(expr, along, own, whole=True), across, other, whole=False)
    seen = Seen(changed, own, other)
    while seen.run < lanes and len(seen.along) > 1:
        longer = _joined(seen)
        if longer is None:
            break
        seen = longer
    return seen if _is_run(seen) else None


def _is_run(seen: Seen) -> bool:
    """Whether every load is affine and moves by one element along the lowest digit, under tests that are affine too."""
    for part in ir.subexpressions(seen.expr):
        if isinstance(part, ir.Load):
            position = _position(part)
            if position is None or dict(position.terms).get(seen.along[0].var.name) != 1:
                return False
        elif isinstance(part, ir.Apply) and part.op in ("divide", "remainder") and part.dtype is dtypes.int64:
            return False
    return True


def _divisors(expr: ir.Expr, name: str, extent: int) -> list[int] | None:
    """The strides of the digits into which `expr` divides the variable; None where they form no chain or divide anything but it."""
    found = {1}
    stack = [expr]
    while stack:
        part = stack.pop()
        match part:
            case ir.Apply("remainder", (ir.Apply("divide", (ir.Var(var), ir.Const(a))), ir.Const(b))) if var == name:
                found |= {int(a), int(a) * int(b)}
            case ir.Apply("divide" | "remainder", (ir.Var(var), ir.Const(b))) if var == name:
                found.add(int(b))
            case ir.Apply():
                stack += part.args
            case ir.Load():
                stack += [*part.index, *(() if part.where is None else (part.where,))]
    strides = sorted(stride for stride in found if stride < extent or stride == 1)
    return strides if all(b % a == 0 for a, b in pairwise(strides)) else None


def _digits(var: ir.Var, extent: int, strides: Sequence[int]) -> tuple[Digit, ...]:
    ends = [*strides[1:], -(-extent // strides[-1]) * strides[-1]]
    return tuple(Digit(ir.Var(f"{var.name}.{n}"), stride, end // stride) for n, (stride, end) in enumerate(zip(strides, ends, strict=True)))


def _substituted(expr: ir.Expr, var: ir.Var, digits: Sequence[Digit], whole: bool) -> ir.Expr:
    """`expr` with quotients and remainders of `var` as digits; `whole`: the variable itself too."""
    def between(low: int, high: int | None) -> ir.Expr:
        return _sum([(d.var.name, d.stride // low) for d in digits if d.stride >= low and (high is None or d.stride < high)])

    def change(part: ir.Expr) -> ir.Expr:
        match part:
            case ir.Apply("remainder", (ir.Apply("divide", (ir.Var(var.name), ir.Const(a))), ir.Const(b))):
                return between(int(a), int(a) * int(b))
            case ir.Apply("divide", (ir.Var(var.name), ir.Const(a))):
                return between(int(a), None)
            case ir.Apply("remainder", (ir.Var(var.name), ir.Const(b))):
                return between(1, int(b))
            case ir.Var(var.name) if whole:
                return between(1, None)
            case ir.Apply():
                return replace(part, args=tuple(map(change, part.args)))
            case ir.Load():
                return ir.Load(part.buffer, tuple(map(change, part.index)), None if part.where is None else change(part.where))
        return part
    return change(expr)


# Affine forms -------------------------------------------------------------------------------------------------------------------------

def _linear(expr: ir.Expr) -> Linear | None:
    """`expr` as an affine form of its variables."""
    names = {part.name for part in ir.subexpressions(expr) if isinstance(part, ir.Var)}
    return linear(expr, {name: Linear(0, ((name, 1),)) for name in names})


def _position(load: ir.Load) -> Linear | None:
    """The row-major position of a load."""
    total, stride = Linear(0), 1
    for index, dim in zip(reversed(load.index), reversed(load.buffer.shape), strict=True):
        form = _linear(index)
        if form is None:
            return None
        total, stride = total.plus(form.times(stride)), stride * dim
    return total


def _expr(form: Linear) -> ir.Expr:
    return _sum(form.terms, form.const)


def _sum(terms: Sequence[tuple[str, int]], constant: int = 0) -> ir.Expr:
    total: ir.Expr | None = None
    for name, coefficient in terms:
        term: ir.Expr = ir.Var(name)
        if coefficient != 1:
            term = ir.Apply("multiply", (term, ir.index(coefficient)), dtypes.int64)
        total = term if total is None else ir.Apply("add", (total, term), dtypes.int64)
    if total is None or constant:
        total = ir.index(constant) if total is None else ir.Apply("add", (total, ir.index(constant)), dtypes.int64)
    return total


# Longer runs --------------------------------------------------------------------------------------------------------------------------

def _joined(seen: Seen) -> Seen | None:
    """`seen` with its two lowest digits as one, where the elements of the second follow those of the first in memory.

    A test of the second digit, a + second >= b, becomes one of both: a * extent + (second * extent + first) >= b * extent.
    """
    low, high = seen.along[:2]
    run = replace(low, extent=low.extent * high.extent)
    if not all(_follows(part, low, high) for part in ir.subexpressions(seen.expr)):
        return None

    def without(form: Linear, coefficient: int) -> Linear:
        """`form` with both digits replaced by the run, which has the coefficient of the lowest."""
        rest = tuple((name, c) for name, c in form.terms if name not in (low.var.name, high.var.name))
        return Linear(form.const, (*rest, (run.var.name, coefficient)) if coefficient else rest)

    def change(part: ir.Expr) -> ir.Expr:
        if isinstance(part, ir.Load):
            position = _position(part)
            assert position is not None
            flat = replace(part.buffer, shape=(part.buffer.size,))
            return ir.Load(flat, (_expr(without(position, 1)),), part.where)
        if isinstance(part, ir.Apply) and part.op in _SIGNS and part.args[0].dtype is dtypes.int64:
            form, bound = (_linear(arg) for arg in part.args)
            assert form is not None
            assert bound is not None
            if dict(form.terms).get(high.var.name):
                args = _expr(without(form.times(low.extent), 1)), ir.index(bound.const * low.extent)
                return replace(part, args=args)
        return part
    return Seen(map_expr(seen.expr, change), (run, *seen.along[2:]), seen.across)


def _follows(part: ir.Expr, low: Digit, high: Digit) -> bool:
    """Whether a part of an operand can be written in the two digits as one."""
    if isinstance(part, ir.Load):
        position = _position(part)
        terms: Mapping[str, int] = {} if position is None else dict(position.terms)
        return terms.get(low.var.name) == 1 and terms.get(high.var.name) == low.extent
    if isinstance(part, ir.Apply) and part.op in _SIGNS and part.args[0].dtype is dtypes.int64:
        form, bound = (_linear(arg) for arg in part.args)
        if form is None or bound is None or bound.terms:
            return False
        mine = dict(form.terms)
        return low.var.name not in mine and mine.get(high.var.name, 1) == 1
    return True
