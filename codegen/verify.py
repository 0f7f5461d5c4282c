"""What every valid kernel obeys. Runs after each schedule step in tests, and before a kernel is printed there.

The rules are the sentences of the error messages below. An index is checked where it is affine in the variables of the loops around it and
no condition guards the access: its least and greatest values are then really met.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from graphc.codegen import ir
from graphc.codegen.linear import Linear, linear
from graphc.codegen.operations import result_dtype
from graphc.codegen.text import print_expr, print_kernel
from graphc.core import dtypes
from graphc.core.dtypes import DType


class InvalidKernel(ValueError):
    """A kernel that breaks a rule; the text names the kernel, the rule and the statement."""


@dataclass
class _Scope:
    """What is known where a statement stands. A copy is made for every block, so that what it binds ends with it."""

    vars: dict[str, ir.Var] = field(default_factory=dict)
    buffers: dict[str, ir.Buffer] = field(default_factory=dict)
    extents: dict[str, int] = field(default_factory=dict)  # of loop variables
    loops: dict[str, ir.Loop] = field(default_factory=dict)  # by the name of their variable
    linear: dict[str, Linear] = field(default_factory=dict)  # of `let`s
    depends: dict[str, frozenset[str]] = field(default_factory=dict)  # the loop variables that a name's value depends on
    accs: frozenset[str] = frozenset()  # accumulators that may be updated here
    closed: frozenset[str] = frozenset()  # accumulators that the open vector loop combines only when it ends
    spread: tuple[str, ...] = ()  # variables of the open parallel and vector loops of more than one iteration
    vector: str | None = None  # the variable of the open vector, team or cross loop
    grid: ir.Loop | None = None  # the open grid loop
    guarded: bool = False

    def inner(self) -> _Scope:
        return _Scope(
            dict(self.vars), dict(self.buffers), dict(self.extents), dict(self.loops), dict(self.linear), dict(self.depends),
            self.accs, self.closed, self.spread, self.vector, self.grid, self.guarded,
        )  # fmt: skip


def verify(kernel: ir.Kernel) -> None:
    """InvalidKernel where `kernel` breaks a rule."""
    _Verifier(kernel).kernel()


class _Verifier:
    def __init__(self, kernel: ir.Kernel) -> None:
        self.of = kernel
        self.names: set[str] = set()  # of buffers, which are unique in a kernel
        self.shares: dict[str, tuple[int, int, int]] = {}  # of local buffers on a GPU: extent, lanes and parts of the loops that index them
        self.combiners: dict[str, str] = {}
        self.at: ir.Stmt | None = None  # where the next error is

    def require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise InvalidKernel(f"kernel {self.of.name}: {rule}\n  in {_shown(self.at)}")

    # Statements

    def kernel(self) -> None:
        scope = _Scope()
        self.require(self.of.name.isidentifier() and self.of.name.isascii(), "the name of a kernel is an identifier")
        for buffer in self.of.params:
            self.require(buffer.space in ("in", "out", "inout"), f"parameter {buffer.name} must be in, out or inout; it is {buffer.space}")
            self.new_buffer(buffer, scope)
        split = [s for s in self.of.body if isinstance(s, ir.Loop) and s.kind == "parallel"]
        grids = [s for s in self.of.body if isinstance(s, ir.Loop) and s.kind == "grid"]
        for stmt in self.of.body:
            self.at = stmt
            self.require(all(stmt is not other for other in split[1:]), "a kernel has at most one parallel loop")
            allowed = not split or stmt is split[0] or isinstance(stmt, ir.Let)
            self.require(allowed, "beside a parallel loop only `let` may stand at the top level")
            allowed = not grids or any(stmt is grid for grid in grids) or isinstance(stmt, ir.Let)
            self.require(allowed, "beside a grid loop only `let` and other grid loops may stand at the top level")
        self.block(self.of.body, scope, top=True)

    def block(self, body: Iterable[ir.Stmt], scope: _Scope, top: bool = False) -> None:
        for stmt in body:
            self.at = stmt
            match stmt:
                case ir.Let():
                    self.let(stmt, scope)
                case ir.Acc():
                    self.acc(stmt, scope)
                case ir.Update():
                    self.update(stmt, scope)
                case ir.Local():
                    spaces = ("local",) if scope.grid is None else ("local", "shared")
                    what = f"{stmt.buffer.name} must be {' or '.join(spaces)}; it is {stmt.buffer.space}"
                    self.require(stmt.buffer.space in spaces, what)
                    self.new_buffer(stmt.buffer, scope)
                case ir.Store():
                    self.store(stmt, scope)
                case ir.Prefetch():
                    self.place(stmt.buffer, stmt.index, scope)
                case ir.If():
                    self.condition(stmt.cond, scope, "the condition of an `if`")
                    self.require(scope.vector is None or scope.vector not in self.depends(stmt.cond, scope),
                                 "the condition of an `if` must be the same for all iterations of a vector loop")  # fmt: skip
                    inner = scope.inner()
                    inner.guarded = True
                    self.block(stmt.body, inner)
                case ir.Loop():
                    self.loop(stmt, scope, top)
                case ir.Product():
                    self.product(stmt, scope)

    def let(self, stmt: ir.Let, scope: _Scope) -> None:
        self.expr(stmt.value, scope)
        self.same(stmt.var.dtype, stmt.value.dtype, f"let {stmt.var.name}")
        self.bind(stmt.var, self.depends(stmt.value, scope), scope)
        form = linear(stmt.value, scope.linear)
        if form is not None:
            scope.linear[stmt.var.name] = form

    def acc(self, stmt: ir.Acc, scope: _Scope) -> None:
        self.expr(stmt.init, scope)
        self.same(stmt.var.dtype, stmt.init.dtype, f"acc {stmt.var.name}")
        # What updates will add to it is not known yet: take it to differ between the iterations of every open loop.
        self.bind(stmt.var, self.depends(stmt.init, scope) | frozenset(scope.extents), scope)
        self.combiners.pop(stmt.var.name, None)
        scope.accs |= {stmt.var.name}

    def update(self, stmt: ir.Update, scope: _Scope) -> None:
        name = stmt.var.name
        self.require(name in scope.accs, f"{name} is no accumulator that may be updated here")
        self.require(stmt.combine in ir.COMBINERS, f"an accumulator combines by {', '.join(ir.COMBINERS)}; not by {stmt.combine}")
        before = self.combiners.setdefault(name, stmt.combine)
        self.require(before == stmt.combine, f"accumulator {name} combines by {before} elsewhere")
        self.expr(stmt.value, scope)
        self.known_var(stmt.var, scope)
        self.same(stmt.var.dtype, stmt.value.dtype, f"accumulator {name}")
        self.apply(ir.Apply(stmt.combine, (stmt.var, stmt.value), stmt.var.dtype))
        is_carried = stmt.combine == "assign" and name in scope.closed
        self.require(not is_carried, f"accumulator {name} is assigned in order, so the vector loop may not be around it")
        scope.depends[name] |= self.depends(stmt.value, scope)

    def store(self, stmt: ir.Store, scope: _Scope) -> None:
        self.require(stmt.buffer.space != "in", f"{stmt.buffer.name} is an `in` parameter and may not be stored to")
        self.access(stmt.buffer, stmt.index, stmt.where, scope)
        self.expr(stmt.value, scope)
        self.same(stmt.buffer.dtype, stmt.value.dtype, f"buffer {stmt.buffer.name}")
        if scope.guarded or stmt.where is not None:
            return
        met = frozenset[str]().union(*(self.depends(index, scope) for index in stmt.index))
        for var in scope.spread:
            private = stmt.buffer.space in ("local", "shared") and var != scope.vector
            self.require(private or var in met, f"iterations of {var} run in any order, so the index of a store must depend on it")

    def loop(self, loop: ir.Loop, scope: _Scope, top: bool) -> None:
        self.require(loop.kind in ir.LOOP_KINDS, f"a loop is {', '.join(ir.LOOP_KINDS)}; not {loop.kind}")
        self.require(loop.extent >= 0, f"the extent of a loop is at least 0; it is {loop.extent}")
        self.require(loop.kind != "parallel" or top, "a parallel loop stands at the top level")
        self.require(loop.kind != "grid" or top, "a grid loop stands at the top level")
        in_team = loop.kind in ir.TEAM_KINDS
        self.require(not in_team or scope.grid is not None, f"a {loop.kind} loop stands inside a grid loop")
        on_gpu = scope.grid is not None and loop.kind in ("vector", "parallel")
        self.require(not on_gpu, f"a {loop.kind} loop may not stand inside a grid loop")
        is_vector = loop.kind == "vector" or in_team
        self.require(not (is_vector and scope.vector), "a vector loop may not stand inside another")
        widths = loop.lanes >= 1 and loop.lanes & (loop.lanes - 1) == 0 and loop.parts >= 1
        self.require(widths, f"lanes must be a power of two and parts at least 1; they are {loop.lanes}, {loop.parts}")
        spread = loop.kind in ir.SPREAD_KINDS
        self.require(spread or (loop.lanes, loop.parts) == (1, 1), f"only a {', '.join(ir.SPREAD_KINDS)} loop has lanes and parts")
        inner = scope.inner()
        if loop.kind == "grid":
            inner.grid = loop
            teams = {s.lanes for s in ir.walk(loop.body) if isinstance(s, ir.Loop) and s.kind in ir.TEAM_KINDS}
            self.require(len(teams) <= 1, f"all team and cross loops of a grid loop have the same lanes; they have {sorted(teams)}")
        self.loop_var(loop.var, loop.extent, inner)
        inner.loops[loop.var.name] = loop
        if is_vector:
            inner.vector = loop.var.name
            updated = {s.var.name for s in ir.walk(loop.body) if isinstance(s, ir.Update)}
            inner.closed = frozenset(updated & set(scope.vars))
        if loop.extent > 1 and loop.kind in (*ir.SPREAD_KINDS, "parallel"):
            inner.spread = (*scope.spread, loop.var.name)
        inner.guarded |= loop.extent == 0
        self.block(loop.body, inner)

    def product(self, stmt: ir.Product, scope: _Scope) -> None:
        self.require(scope.vector is None, "a product may not stand inside a vector loop")
        self.require(min(stmt.m, stmt.n, stmt.depth) >= 0, "the extents of a product are at least 0")
        floats = stmt.lhs.dtype.is_floating and stmt.rhs.dtype.is_floating and stmt.acc.dtype in (dtypes.float32, dtypes.float64)
        self.require(floats, "a product takes floats and accumulates in f32 or f64")
        for expr, bound in ((stmt.lhs, ((stmt.i, stmt.m), (stmt.k, stmt.depth))), (stmt.rhs, ((stmt.k, stmt.depth), (stmt.j, stmt.n)))):
            inner = scope.inner()
            inner.guarded |= 0 in (stmt.m, stmt.n, stmt.depth)
            for var, extent in bound:
                self.loop_var(var, extent, inner)
            self.expr(expr, inner)
        self.require(all(isinstance(s, ir.Let | ir.Store) for s in stmt.epilogue), "the epilogue of a product holds only `let` and stores")
        inner = scope.inner()
        inner.guarded |= 0 in (stmt.m, stmt.n)
        for var, extent in ((stmt.i, stmt.m), (stmt.j, stmt.n)):
            self.loop_var(var, extent, inner)
        self.bind(stmt.acc, frozenset((stmt.i.name, stmt.j.name)), inner)
        inner.spread = (*inner.spread, *(v.name for v, extent in ((stmt.i, stmt.m), (stmt.j, stmt.n)) if extent > 1))
        self.block(stmt.epilogue, inner)

    # Names

    def new_buffer(self, buffer: ir.Buffer, scope: _Scope) -> None:
        self.require(buffer.name not in self.names and buffer.name not in scope.vars, f"the name {buffer.name} is taken")
        self.require(all(dim >= 0 for dim in buffer.shape), f"the dims of {buffer.name} are at least 0; they are {list(buffer.shape)}")
        self.names.add(buffer.name)
        scope.buffers[buffer.name] = buffer

    def bind(self, var: ir.Var, depends: frozenset[str], scope: _Scope) -> None:
        self.require(var.name not in scope.vars and var.name not in self.names, f"the name {var.name} is taken")
        scope.vars[var.name] = var
        scope.depends[var.name] = depends

    def loop_var(self, var: ir.Var, extent: int, scope: _Scope) -> None:
        self.require(var.dtype is dtypes.int64, f"the loop variable {var.name} must be i64; it is {var.dtype.code}")
        self.bind(var, frozenset({var.name}), scope)
        scope.extents[var.name] = extent
        scope.linear[var.name] = Linear(0, ((var.name, 1),))

    def known_var(self, var: ir.Var, scope: _Scope) -> None:
        self.require(var.name in scope.vars, f"{var.name} is used before it is bound")
        self.same(scope.vars[var.name].dtype, var.dtype, var.name)

    def same(self, declared: DType, found: DType, what: str) -> None:
        self.require(declared is found, f"{what} is {declared.code}, but its value is {found.code}")

    # Expressions

    def expr(self, expr: ir.Expr, scope: _Scope) -> None:
        match expr:
            case ir.Var():
                self.known_var(expr, scope)
                self.require(expr.name not in scope.closed, f"accumulator {expr.name} has no value until the vector loop ends")
            case ir.Const():
                self.constant(expr)
            case ir.Load():
                self.access(expr.buffer, expr.index, expr.where, scope)
            case ir.Apply():
                for arg in expr.args:
                    self.expr(arg, scope)
                self.apply(expr)

    def constant(self, const: ir.Const) -> None:
        dtype, value = const.dtype, const.value
        if dtype.is_integer:
            fits = isinstance(value, int) and int(dtype.min) <= value <= int(dtype.max)
        else:
            fits = isinstance(value, int | float) if dtype.is_floating else isinstance(value, bool)
        self.require(fits, f"{value!r} is no {dtype.code}")

    def apply(self, expr: ir.Apply) -> None:
        try:
            expected = result_dtype(expr.op, [arg.dtype for arg in expr.args])
        except ValueError as error:
            self.require(False, str(error))
            return
        agrees = expected is None or expected is expr.dtype
        self.require(agrees, f"{expr.op} gives {expected.code if expected else ''} here, not {expr.dtype.code}")

    def condition(self, expr: ir.Expr, scope: _Scope, what: str) -> None:
        self.expr(expr, scope)
        self.require(expr.dtype.is_bool, f"{what} must be pred; it is {expr.dtype.code}")

    def access(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...], where: ir.Expr | None, scope: _Scope) -> None:
        self.place(buffer, index, scope)
        if where is not None:
            self.condition(where, scope, "a `where`")
        for position, (expr, dim) in enumerate(zip(index, buffer.shape, strict=True)):
            form = None if scope.guarded or where is not None else linear(expr, scope.linear)
            if form is not None:
                least, greatest = form.bounds(scope.extents)
                inside = least >= 0 and greatest < dim
                self.require(inside, f"index {position} of {buffer.name} runs from {least} to {greatest}, but its dim is {dim}")

    def place(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...], scope: _Scope) -> None:
        self.require(scope.buffers.get(buffer.name) == buffer, f"there is no buffer {buffer.name} like this here")
        self.require(len(index) == len(buffer.shape), f"{buffer.name} has {len(buffer.shape)} dims; {len(index)} indices were given")
        for expr in index:
            self.expr(expr, scope)
            self.require(expr.dtype is dtypes.int64, f"an index must be i64; {print_expr(expr)} is {expr.dtype.code}")
            if scope.grid is not None and buffer.space == "local":
                self.private_index(buffer, expr, scope)

    def private_index(self, buffer: ir.Buffer, expr: ir.Expr, scope: _Scope) -> None:
        """An index of a buffer that is spread over the threads of a team."""
        loop = scope.loops.get(expr.name) if isinstance(expr, ir.Var) else None
        plain = loop is not None and loop.kind in (*ir.TEAM_KINDS, "unrolled")
        rule = f"{buffer.name} is private to a thread: variables of team and unrolled loops alone index it, not {print_expr(expr)}"
        self.require(plain, rule)
        if loop is not None and loop.kind in ir.TEAM_KINDS:
            share = (loop.extent, loop.lanes, loop.parts)
            same = self.shares.setdefault(buffer.name, share) == share
            self.require(same, f"the team loops that index {buffer.name} have one extent, lanes and parts")

    def depends(self, expr: ir.Expr, scope: _Scope) -> frozenset[str]:
        """The loop variables that the value of `expr` depends on."""
        found = (scope.depends.get(part.name, frozenset()) for part in ir.subexpressions(expr) if isinstance(part, ir.Var))
        return frozenset[str]().union(*found)


def _shown(stmt: ir.Stmt | None) -> str:
    """The first line of a statement's text, or its kind where an unknown operation in it has no text."""
    if stmt is None:
        return "its parameters"
    try:
        text = print_kernel(ir.Kernel("k", (), (stmt,)))
    except ValueError:
        return type(stmt).__name__
    return f"`{text.splitlines()[1].strip()}`"
