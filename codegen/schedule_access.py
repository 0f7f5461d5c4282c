"""What a loop does to memory and how much it computes: the facts from which `schedule` chooses. Pure analysis, no rewriting."""
from __future__ import annotations

from collections.abc import Iterator

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, loads, variables
from graphc.core import dtypes
from graphc.core.dtypes import DType

# How many vector instructions an operation costs, roughly; one where nothing is said.
WEIGHTS = {
    "divide": 4, "remainder": 20, "power": 40, "exponential": 14, "exponential_minus_one": 18, "log": 18, "log_plus_one": 22, "sqrt": 4,
    "rsqrt": 5, "cbrt": 25, "tanh": 20, "logistic": 18, "sine": 25, "cosine": 25, "tan": 35, "erf": 22, "erfc": 35, "atan2": 35,
    "erf_plus_one": 20, "random_word": 40,
}  # fmt: skip


def varying(body: Body, name: str) -> set[str]:
    """`name` and every variable of `body` whose value may differ between iterations of the loop over `name` (accumulators included)."""
    found = {name}
    size = 0
    while len(found) != size:
        size = len(found)
        for stmt in ir.walk(body):
            if isinstance(stmt, ir.Let | ir.Update | ir.Acc) and any(variables(expr) & found for expr in ir.expressions(stmt)):
                found.add(stmt.var.name)
    return found


def coefficient(expr: ir.Expr, name: str, changing: set[str]) -> int | None:
    """How much `expr` grows when the loop variable `name` grows by one; None where that is no constant."""
    match expr:
        case ir.Var():
            return 1 if expr.name == name else None if expr.name in changing else 0
        case ir.Const():
            return 0
        case ir.Apply(op="add" | "subtract"):
            left, right = (coefficient(arg, name, changing) for arg in expr.args)
            if left is None or right is None:
                return None
            return left + right if expr.op == "add" else left - right
        case ir.Apply(op="multiply") if isinstance(expr.args[1], ir.Const):
            inner = coefficient(expr.args[0], name, changing)
            return None if inner is None else inner * int(expr.args[1].value)
    return None if variables(expr) & changing else 0


def stride(access: ir.Load | ir.Store, name: str, changing: set[str]) -> int | None:
    """How far in its buffer `access` moves when the loop variable `name` grows by one; None where that is no constant."""
    total, size = 0, 1
    for expr, dim in zip(reversed(access.index), reversed(access.buffer.shape), strict=True):
        step = coefficient(expr, name, changing)
        if step is None:
            return None
        total += step * size
        size *= dim
    return total


def accesses(body: Body) -> Iterator[ir.Load | ir.Store]:
    """Every load and store in `body`, those of inner loops too."""
    yield from loads(body)
    yield from (stmt for stmt in ir.walk(body) if isinstance(stmt, ir.Store))


def scattered(loop: ir.Loop) -> int:
    """How many accesses of `loop` are neither one element nor consecutive elements over its iterations."""
    changing = varying(loop.body, loop.var.name)
    return sum(stride(access, loop.var.name, changing) not in (0, 1) for access in accesses(loop.body))


def consecutive(loop: ir.Loop) -> int:
    """How many accesses of `loop` are of consecutive elements over its iterations."""
    changing = varying(loop.body, loop.var.name)
    return sum(stride(access, loop.var.name, changing) == 1 for access in accesses(loop.body))


def element_types(body: Body) -> set[DType]:
    """The types of the values that `body` loads, stores, accumulates or computes; int64 index arithmetic does not count."""
    found = {access.buffer.dtype for access in accesses(body)}
    for stmt in ir.walk(body):
        if isinstance(stmt, ir.Acc | ir.Update):
            found.add(stmt.var.dtype)
        values = [stmt.value] if isinstance(stmt, ir.Let | ir.Update | ir.Store) else []
        found |= {sub.dtype for value in values for sub in ir.subexpressions(value) if sub.dtype is not dtypes.int64}
    return found


def work(body: Body) -> int:
    """About how many vector instructions one iteration of `body` takes (inner loops count once)."""
    count = 0
    for stmt in ir.walk(body):
        count += isinstance(stmt, ir.Store | ir.Update)
        values = [stmt.value] if isinstance(stmt, ir.Let | ir.Update | ir.Store) else []
        for value in values:
            for sub in ir.subexpressions(value):
                count += WEIGHTS.get(sub.op, 1) if isinstance(sub, ir.Apply) else isinstance(sub, ir.Load)
    return count


def is_independent(loop: ir.Loop) -> bool:
    """Whether the iterations of `loop` may run in any order but for the accumulators around it: every store is to another place in each
    iteration, and what is stored is read at the same place only (as y[i] = y[i] + 1 does), or not at all. Buffers of its own are free.
    An accumulator around it that is assigned carries a value from iteration to iteration: then they may not."""
    accumulators = {stmt.var for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Acc)}
    if any(isinstance(s, ir.Update) and s.combine == "assign" and s.var not in accumulators for s in ir.walk(loop.body)):
        return False
    changing = varying(loop.body, loop.var.name)
    own = {stmt.buffer.name for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Local)}
    stores = [stmt for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Store) and stmt.buffer.name not in own]
    if any(stride(store, loop.var.name, changing) in (0, None) for store in stores):
        return False
    written = {(store.buffer.name, store.index) for store in stores}
    names = {name for name, _ in written}
    return all((load.buffer.name, load.index) in written for load in loads(loop.body) if load.buffer.name in names)


def is_vectorisable(loop: ir.Loop) -> bool:
    """Whether the iterations of `loop` may run in the lanes of a vector: independent, with loops and straight lines inside only."""
    return is_independent(loop) and not any(isinstance(stmt, ir.If | ir.Local | ir.Product) for stmt in ir.walk(loop.body))
