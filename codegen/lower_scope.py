"""Where statements go while a kernel is being built: a stack of open loops, each with its statements and the values known in it.

A value is computed in the outermost loop where everything that it depends on is bound, so loop-invariant work is hoisted as it is written,
and it is remembered there, so a node used twice at one index is computed once.
"""
from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from graphc.codegen import ir
from graphc.codegen.lower_index import Index, LoopVar, variable
from graphc.core.dtypes import DType


@dataclass
class Scope:
    """An open block: its statements so far, and the values computed in it by key."""

    stmts: list[ir.Stmt] = field(default_factory=list)
    values: dict[Hashable, ir.Expr] = field(default_factory=dict)


class Nest:
    """The open blocks of a kernel under construction, outermost first.

    `inline` makes `let` give expressions back as they are: for places that hold one expression and no statements (a product's operands).
    `floor` keeps lets from moving further out than that depth: a product's epilogue brings everything that it needs.
    """

    def __init__(self) -> None:
        self.scopes = [Scope()]
        self.inline = False
        self.floor = 0
        self._depths: dict[str, int] = {}  # variables and local buffers -> the depth of their scope
        self._names: set[str] = set()

    @property
    def depth(self) -> int:
        """The depth of the innermost open block; 0 is the kernel's body."""
        return len(self.scopes) - 1

    def fresh(self, stem: str) -> str:
        """A name not used before: `stem`, then stem with a number."""
        name = next(n for n in (f"{stem}{i}" for i in count()) if n not in self._names)
        self._names.add(name)
        return name

    def bind(self, name: str, depth: int) -> None:
        """Says that `name` lives in the scope at `depth`."""
        self._names.add(name)
        self._depths[name] = depth

    def depth_of(self, expr: ir.Expr | None) -> int:
        """The depth of the innermost variable or local buffer in `expr`."""
        if expr is None:
            return 0
        depth = 0
        for sub in ir.subexpressions(expr):
            if isinstance(sub, ir.Var):
                depth = max(depth, self._depths[sub.name])
            elif isinstance(sub, ir.Load):
                depth = max(depth, self._depths.get(sub.buffer.name, 0))
        return depth

    def emit(self, stmt: ir.Stmt, depth: int | None = None) -> None:
        """Appends `stmt` to the innermost block, or to the one at `depth`."""
        self.scopes[self.depth if depth is None else depth].stmts.append(stmt)

    def let(self, value: ir.Expr, stem: str) -> ir.Expr:
        """A name for `value`, computed as far out as it can be; variables and constants stay as they are."""
        if self.inline or isinstance(value, ir.Var | ir.Const):
            return value
        depth = max(self.depth_of(value), self.floor)
        var = ir.Var(self.fresh(stem), value.dtype)
        self.bind(var.name, depth)
        self.emit(ir.Let(var, value), depth)
        return var

    def accumulator(self, init: ir.Expr, stem: str, depth: int | None = None) -> ir.Var:
        """Declares an accumulator in the innermost block, or in the one at `depth`."""
        depth = self.depth if depth is None else depth
        var = ir.Var(self.fresh(stem), init.dtype)
        self.bind(var.name, depth)
        self.emit(ir.Acc(var, init), depth)
        return var

    def local(self, dtype: DType, shape: tuple[int, ...]) -> ir.Buffer:
        """Declares scratch in the innermost block."""
        buffer = ir.Buffer(self.fresh("row"), dtype, shape, "local")
        self.bind(buffer.name, self.depth)
        self.emit(ir.Local(buffer))
        return buffer

    def recall(self, key: Hashable) -> ir.Expr | None:
        """The value computed under `key` in an open block, if any."""
        return next((scope.values[key] for scope in reversed(self.scopes) if key in scope.values), None)

    def remember(self, key: Hashable, value: ir.Expr) -> None:
        """Keeps `value` under `key` as long as its block is open."""
        self.scopes[min(self.depth_of(value), self.depth)].values[key] = value

    @contextmanager
    def loop(self, var: LoopVar, kind: str = "serial") -> Iterator[Index]:
        """A loop over `var`; what is emitted inside the `with` is its body. A loop of one iteration is no loop."""
        if var.extent == 1:
            yield variable(var)
            return
        self.scopes.append(Scope())
        yield self.loop_var(var)
        body = tuple(self.scopes.pop().stmts)
        self.emit(ir.Loop(ir.Var(var.name), var.extent, kind, body))

    def loop_var(self, var: LoopVar) -> Index:
        """Binds `var` in the innermost block and gives it as an index."""
        self.bind(var.name, self.depth)
        return variable(var)

    @contextmanager
    def block(self) -> Iterator[Scope]:
        """A block without a loop, whose statements the caller takes: the epilogue of a product."""
        self.scopes.append(Scope())
        yield self.scopes[-1]
        self.scopes.pop()

    @contextmanager
    def under(self, depth: int) -> Iterator[None]:
        """Sets the blocks deeper than `depth` aside, so that new loops can be written in the outer one before them."""
        aside, self.scopes = self.scopes[depth + 1:], self.scopes[:depth + 1]
        yield
        self.scopes += aside


@dataclass(frozen=True)
class Space:
    """`size` elements walked in row-major order by one loop, or by several where `cuts` (each dividing the next larger) factor it.

    A cut at 6 of a space of 24 gives loops of 4 and 6. `name` tells spaces apart when an access asks for a cut.
    """

    name: str
    size: int
    cuts: tuple[int, ...] = ()

    def with_cut(self, cut: int) -> Space:
        """This space with one more cut; the space itself where the cut does not fit between the others."""
        chain = sorted({*self.cuts, cut}, reverse=True)
        whole = (self.size, *chain)
        fits = 1 < cut < self.size and all(a % b == 0 for a, b in zip(whole, chain, strict=False))
        return Space(self.name, self.size, tuple(chain)) if fits else self

    def loops(self, letters: Sequence[str]) -> tuple[LoopVar, ...]:
        """The loops that walk the space, outermost first, named after `letters` in turn; none for a space of one element."""
        edges = (self.size, *self.cuts, 1) if self.size != 1 else (1,)
        return tuple(LoopVar(letter, outer // inner, inner, self.name)
                     for letter, outer, inner in zip(letters, edges, edges[1:], strict=False))


@contextmanager
def walk(nest: Nest, loops: Sequence[LoopVar], kind: str = "serial") -> Iterator[Index]:
    """Opens `loops` one inside the other, the first of them of `kind`; gives the linear index of the space that they walk."""
    if not loops:
        yield Index()
        return
    with nest.loop(loops[0], kind) as outer, walk(nest, loops[1:]) as inner:
        yield outer * loops[0].stride + inner
