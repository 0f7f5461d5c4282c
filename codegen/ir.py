"""The kernel IR: one small typed language of loops, between fusion and the printers of machine code.

`lower` makes kernels from Program nodes; `schedule` and `schedule_gpu` rewrite them for a target (tile, vectorise, parallelise, map to
threads); `llvm` and `cuda` print them. Everything is frozen, prints (`text.py`), parses back, verifies (`verify.py`) and runs in an
interpreter (`interp.py`).

Grammar (`text.py` prints and parses it):

    kernel ::= kernel NAME(buffer*) { stmt* }
    buffer ::= NAME: dtype[shape] in | out | inout | local | shared  row-major and contiguous
    stmt   ::= for VAR in EXTENT KIND { stmt* }                     KIND: serial | parallel | vector(lanes, parts) | unrolled
                                                                    | grid(lanes, parts) | team(lanes, parts) | cross(lanes, parts)
             | let VAR: dtype = expr                                a scalar, assigned once
             | acc VAR: dtype = expr                                an accumulator, alive to the end of the enclosing block
             | VAR op= expr                                         op: add | multiply | maximum | minimum | and | or | assign
             | local BUFFER                                         scratch, alive to the end of the enclosing block
             | BUFFER[expr, ... where expr] = expr                  `where` may be left out
             | prefetch BUFFER[expr, ...]                           a hint: read soon. May lie outside the buffer
             | if expr { stmt* }
             | product ...                                          see `Product`
    expr   ::= VAR | constant | BUFFER[expr, ... where expr] | op(expr, ...): dtype

Meaning of the loop kinds. `parallel`: iterations are independent and may run in any order on any thread; at most one per kernel, at the
top level, and it is the range that a launch splits. `vector`: iterations are independent but for accumulators declared outside, which are
combined over lanes when the loop ends, in an order that depends only on `lanes` and `parts`; a printer runs `lanes * parts` of them at
once and masks the tail. An accumulator declared inside a vector loop is one per iteration. `unrolled`: serial, the body copied. A `where`
predicate that is false makes a load give zero without touching memory, and makes a store do nothing (the store's value is computed all the
same: its own loads need a `where` of theirs, or an `if` around them).

On a GPU three more kinds take the places of `parallel` and `vector`; with all of lanes and parts struck out the kernel still means the
same.
- `grid(lanes, parts)` stands at the top level, beside `let`s and other grid loops only, which are independent of one another and run side
  by side in one launch. Its iterations are independent. A block of threads runs `lanes` of them at once, each by a *team* of threads (or
  `lanes * parts`: then each team takes `parts` consecutive iterations, which lets their loads and stores be 16 bytes wide).
- `team(lanes, parts)` stands inside a grid loop; all team and cross loops of one grid loop have the same lanes, the size of the team, which
  is one thread where there is none. Its iterations are shared out over the team: iteration n belongs to thread (n / parts) % lanes. Threads
  of a team are neighbours. Accumulators declared outside are combined over the team when the loop ends, in an order that depends only on
  lanes and parts, and every thread of the team has the result. Everything outside team loops is computed by every thread of the team
  alike, but for stores, which one thread makes.
- `cross(lanes, parts)` is the same but for where the threads stand: neighbouring threads belong to neighbouring iterations of the grid
  loop, and the threads of one team are as far apart as the grid loop has lanes. For reductions along columns.
A `local` buffer of a grid loop is private to a thread: each of its indices is the variable of a team or an unrolled loop, nothing else, and
the team loops that index it have one extent, lanes and parts, so that a thread reads what it wrote itself. A `shared` buffer belongs to one
team and is read by all of it; printers place the barriers between its writers and its readers.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphc.core import dtypes
from graphc.core.dtypes import DType

COMBINERS = ("add", "multiply", "maximum", "minimum", "and", "or", "assign")
LOOP_KINDS = ("serial", "parallel", "vector", "unrolled", "grid", "team", "cross")
SPREAD_KINDS = ("vector", "grid", "team", "cross")  # those with lanes and parts
TEAM_KINDS = ("team", "cross")
SPACES = ("in", "out", "inout", "local", "shared")


@dataclass(frozen=True)
class Buffer:
    """A named row-major array: a parameter ("in", "out", "inout") or scratch of one task ("local"; on a GPU of one thread, and "shared" of
    one team)."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    space: str

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.size


@dataclass(frozen=True)
class Var:
    """A scalar name: a loop variable (int64), a `let`, or an accumulator."""

    name: str
    dtype: DType = dtypes.int64


@dataclass(frozen=True)
class Const:
    value: int | float | bool
    dtype: DType


@dataclass(frozen=True)
class Load:
    buffer: Buffer
    index: tuple[Expr, ...]
    where: Expr | None = None

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


@dataclass(frozen=True)
class Apply:
    """A scalar operation. `convert` converts its one argument to `dtype`, `bitcast_convert` takes its bits so."""

    op: str
    args: tuple[Expr, ...]
    dtype: DType


Expr = Var | Const | Load | Apply


@dataclass(frozen=True)
class Let:
    var: Var
    value: Expr


@dataclass(frozen=True)
class Acc:
    """Declares an accumulator with its starting value."""

    var: Var
    init: Expr


@dataclass(frozen=True)
class Update:
    """`var = combine(var, value)`, `combine` one of COMBINERS. "assign" is `var = value`: it carries a value from one iteration of a loop
    to the next, so the loop keeps its order, and is no vector or team loop unless the accumulator is its own."""

    var: Var
    combine: str
    value: Expr


@dataclass(frozen=True)
class Local:
    buffer: Buffer


@dataclass(frozen=True)
class Store:
    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr
    where: Expr | None = None


@dataclass(frozen=True)
class Prefetch:
    """A hint that the element will be read soon. Has no other effect: printers may ignore it, and the index may be out of range."""

    buffer: Buffer
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Loop:
    var: Var
    extent: int
    kind: str
    body: tuple[Stmt, ...]
    lanes: int = 1
    parts: int = 1


@dataclass(frozen=True)
class If:
    cond: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Product:
    """A matrix product: for i < m, j < n: `acc` = sum over k < depth of lhs(i, k) * rhs(k, j), then `epilogue` with i, j and acc bound.

    `lhs` is an expression over `i` and `k` (and enclosing loop variables), `rhs` over `k` and `j`: usually loads, but any expression may be
    computed while packing. The epilogue is straight-line Let and Store statements. Printers choose blocking, packing and micro-kernel.
    As the only top-level statement it may be split over threads by the printer: the launch range then counts the printer's own tasks.

        product acc: f32 over i in 512, j in 128, k in 64 of x[i, k] times w[k, j] {
          y[i, j] = acc + b[j]
        }
    """

    i: Var
    j: Var
    k: Var
    m: int
    n: int
    depth: int
    lhs: Expr
    rhs: Expr
    acc: Var
    epilogue: tuple[Stmt, ...]


Stmt = Loop | Let | Acc | Update | Local | Store | Prefetch | If | Product


@dataclass(frozen=True)
class Kernel:
    """One launch: parameters in call order and a body. `name` is unique in its plan and is not part of what is compiled."""

    name: str
    params: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    origins: tuple[str, ...] = field(default=(), compare=False)

    @property
    def parallel_extent(self) -> int:
        """Iterations of the top-level parallel loop, 1 where there is none."""
        return max((s.extent for s in self.body if isinstance(s, Loop) and s.kind == "parallel"), default=1)


def index(value: int) -> Const:
    """An int64 constant."""
    return Const(value, dtypes.int64)


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of `body`, outer before inner, in order."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, Loop | If):
            yield from walk(stmt.body)
        elif isinstance(stmt, Product):
            yield from walk(stmt.epilogue)


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that `stmt` itself evaluates (not those of statements inside it)."""
    match stmt:
        case Let() | Update():
            return (stmt.value,)
        case Acc():
            return (stmt.init,)
        case Store():
            return (*stmt.index, stmt.value, *(() if stmt.where is None else (stmt.where,)))
        case Prefetch():
            return stmt.index
        case If():
            return (stmt.cond,)
        case Product():
            return (stmt.lhs, stmt.rhs)
        case Loop() | Local():
            return ()


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """`expr` and everything inside it, outer first."""
    yield expr
    children: tuple[Expr, ...] = ()
    if isinstance(expr, Apply):
        children = expr.args
    elif isinstance(expr, Load):
        children = (*expr.index, *(() if expr.where is None else (expr.where,)))
    for child in children:
        yield from subexpressions(child)
