"""What a kernel costs: operations on numbers, bytes that must move, and a guess at the microseconds. Reports and the schedule read it.

Bytes count each element of a parameter once, however often it is read: a row that three stages of a softmax read comes from memory once and
from the cache after that. The guess is only good enough to decide whether a launch is worth splitting over threads.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from graphc.codegen import ir
from graphc.codegen.linear import Linear, linear
from graphc.codegen.rewrite import substitute_expr

# Numbers that an operation costs: choices and bit operations nothing, functions the length of their polynomial.
_FREE = frozenset(("assign", "select", "convert", "bitcast_convert", "and", "or", "xor", "not", "eq", "ne", "lt", "le", "gt", "ge",
                   "is_finite", "shift_left", "shift_right_logical", "shift_right_arithmetic"))  # fmt: skip
_SINGLE = frozenset(("add", "subtract", "multiply", "negate", "abs", "sign", "maximum", "minimum", "floor", "ceil", "round_nearest_even"))
_SEVERAL = {"clamp": 2, "divide": 4, "sqrt": 4, "rsqrt": 8, "remainder": 20, "random_word": 40}
_FUNCTION = 20

# One core, on the slow side: of traffic with memory, of vector code, of products.
_BYTES_PER_US = 12_000.0
_FLOPS_PER_US = 20_000.0
_PRODUCT_FLOPS_PER_US = 100_000.0


@dataclass(frozen=True)
class Cost:
    """`flops`: operations on numbers, index arithmetic not counted. `bytes`: distinct elements of the parameters that are read plus those
    that are written, in bytes. `microseconds`: a guess for one thread."""

    flops: int
    bytes: int
    microseconds: float


def cost(kernel: ir.Kernel) -> Cost:
    """The cost of one launch. A branch or a guarded access counts as if it were always taken."""
    count = _Count()
    count.block(kernel.body, {}, {})
    moved = count.touched(kernel.params)
    busy = count.flops / _FLOPS_PER_US + count.product_flops / _PRODUCT_FLOPS_PER_US
    return Cost(count.flops + count.product_flops, moved, max(busy, moved / _BYTES_PER_US))


@dataclass
class _Count:
    """Totals so far. `seen`: for each buffer and direction, the sizes of the sets of elements that its distinct accesses touch."""

    flops: int = 0
    product_flops: int = 0
    seen: dict[tuple[str, str], dict[object, int]] = field(default_factory=dict)

    def touched(self, params: Sequence[ir.Buffer]) -> int:
        """Bytes of the parameters that move: two accesses at different places are taken not to overlap, up to the buffer's size."""
        total = 0
        for buffer in params:
            for direction in ("read", "written"):
                sets = self.seen.get((buffer.name, direction), {})
                total += min(sum(sets.values()), buffer.size) * buffer.dtype.size
        return total

    def block(self, body: Iterable[ir.Stmt], extents: dict[str, int], known: dict[str, Linear]) -> None:
        """`extents`: of the loops around the block. `known`: the affine forms of their variables and of `let`s."""
        extents, known = dict(extents), dict(known)
        for stmt in body:
            match stmt:
                case ir.Loop():
                    if stmt.extent:
                        self.block(stmt.body, *_with(extents, known, (stmt.var, stmt.extent)))
                case ir.If():
                    self.expr(stmt.cond, extents, known)
                    self.block(stmt.body, extents, known)
                case ir.Product():
                    self.product(stmt, extents, known)
                case _:
                    self.statement(stmt, extents, known)

    def statement(self, stmt: ir.Stmt, extents: dict[str, int], known: dict[str, Linear]) -> None:
        for expr in ir.expressions(stmt):
            self.expr(expr, extents, known)
        match stmt:
            case ir.Let():
                form = linear(stmt.value, known)
                if form is not None:
                    known[stmt.var.name] = form
            case ir.Update():
                self.flops += math.prod(extents.values()) * _weight(stmt.combine)
            case ir.Store():
                self.access(stmt.buffer, stmt.index, "written", extents, known)

    def product(self, stmt: ir.Product, extents: dict[str, int], known: dict[str, Linear]) -> None:
        i, j, k = (stmt.i, stmt.m), (stmt.j, stmt.n), (stmt.k, stmt.depth)
        if stmt.m and stmt.n:
            if stmt.depth:
                self.expr(stmt.lhs, *_with(extents, known, i, k))
                self.expr(stmt.rhs, *_with(extents, known, k, j))
            self.product_flops += 2 * stmt.m * stmt.n * stmt.depth * math.prod(extents.values())
            self.block(stmt.epilogue, *_with(extents, known, i, j))

    def expr(self, expr: ir.Expr, extents: dict[str, int], known: dict[str, Linear]) -> None:
        """Counts an expression evaluated once per iteration of `extents`; of a load, its index is free but for what that loads."""
        if isinstance(expr, ir.Load):
            self.load(expr, extents, known)
        elif isinstance(expr, ir.Apply) and linear(expr, known) is None:
            self.flops += math.prod(extents.values()) * _weight(expr.op)
            for arg in expr.args:
                self.expr(arg, extents, known)

    def load(self, load: ir.Load, extents: dict[str, int], known: dict[str, Linear]) -> None:
        self.access(load.buffer, load.index, "read", extents, known)
        for expr in (*load.index, *(() if load.where is None else (load.where,))):
            if linear(expr, known) is None:
                for inner in _outermost_loads(expr):
                    self.load(inner, extents, known)

    def access(
        self, buffer: ir.Buffer, index: tuple[ir.Expr, ...], direction: str, extents: dict[str, int], known: dict[str, Linear]
    ) -> None:
        forms = [linear(expr, known) for expr in index]
        size, variables = 1, set[str]()
        for form, dim in zip(forms, buffer.shape, strict=True):
            names = set(extents) if form is None else {name for name, _ in form.terms}
            variables |= names
            size *= min(dim, math.prod(extents[name] for name in names))
        size = min(size, math.prod(extents[name] for name in variables))
        key = tuple(_place(expr, form, extents) for expr, form in zip(index, forms, strict=True))
        sets = self.seen.setdefault((buffer.name, direction), {})
        sets[key] = max(sets.get(key, 0), size)


def _place(expr: ir.Expr, form: Linear | None, extents: dict[str, int]) -> object:
    """What an index is, its loop variables named by their extents: loops that touch the same elements may call them by other names."""
    if form is None:
        return substitute_expr(expr, {name: ir.Var(str(extent)) for name, extent in extents.items()})
    return form.const, tuple(sorted((c, extents[name]) for name, c in form.terms))


def _outermost_loads(expr: ir.Expr) -> Iterator[ir.Load]:
    """The loads in `expr` that stand in no other's index."""
    if isinstance(expr, ir.Load):
        yield expr
    elif isinstance(expr, ir.Apply):
        for arg in expr.args:
            yield from _outermost_loads(arg)


def _with(
    extents: dict[str, int], known: dict[str, Linear], *loops: tuple[ir.Var, int]
) -> tuple[dict[str, int], dict[str, Linear]]:
    names = {var.name: extent for var, extent in loops}
    return extents | names, known | {name: Linear(0, ((name, 1),)) for name in names}


def _weight(op: str) -> int:
    if op in _FREE:
        return 0
    return 1 if op in _SINGLE else _SEVERAL.get(op, _FUNCTION)
