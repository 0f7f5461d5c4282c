"""Statements of a grid loop as CUDA C: loops over teams, serial loops, conditions, and what stands between them.

`Body` walks the statements of one grid loop. Straight lines go to `scalars`, or to `segment` where a thread has several parts; totals and
barriers to `reduce`. What a statement means on a GPU is said at the top of `ir`.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.cuda import arith
from graphc.codegen.cuda.arith import AND, Value
from graphc.codegen.cuda.facts import Fact, of_constant, of_loop
from graphc.codegen.cuda.layout import Layout
from graphc.codegen.cuda.reduce import Barriers, Reductions, Total, neutral
from graphc.codegen.cuda.scalars import Scalars, guarded, indented, over_parts
from graphc.codegen.cuda.segment import Segment, guarded_store, stepping, together_under
from graphc.codegen.cuda.types import memory_type, register_type
from graphc.codegen.rewrite import loads, stored, variables
from graphc.core import dtypes

_UNROLLED_ROUNDS = 8  # a loop of a team goes round no more than this: it is written out
_UNROLL = 4  # of longer ones, rounds whose loads are in flight together


class PartsDiffer(Exception):
    """The parts of a thread do not take the same way through some statement: they must go one by one."""


@dataclass(frozen=True)
class Place:
    """Where a statement stands. team: the open team or cross loop. store_guard: the condition under which a thread stores to memory that
    others see."""

    team: ir.Loop | None = None
    store_guard: str | None = None


class Body:
    """Prints the body of a grid loop; `reductions` knows how its iterations lie on threads."""

    def __init__(self, loop: ir.Loop, reductions: Reductions) -> None:
        self.layout: Layout = reductions.layout
        self.reductions = reductions
        self.barriers: Barriers = reductions.barriers
        self.names = reductions.names
        self.tracked = _seen_by_others(loop.body)
        self.spread = _spread_axes(loop.body)
        self.vectors = 0  # accesses printed that move all parts at once
        self.fresh_accs: dict[str, ir.Const | None] = {}  # accumulators that still have their starting value
        self.slot = ""  # the index of a thread's own element in the axis of a local buffer that a team shares

    @property
    def part(self) -> str:
        return self.reductions.part

    # Blocks

    def block(self, stmts: Sequence[ir.Stmt], scalars: Scalars, place: Place) -> list[str]:
        """Lines of the statements of one block; what they bind goes to `scalars`."""
        lines: list[str] = []
        for run, rest in _runs(stmts):
            if len(run) == 1 and not isinstance(run[0], ir.Let | ir.Acc | ir.Update | ir.Store):
                lines += self.compound(run[0], scalars, place)
            elif scalars.parts > 1:
                lines += self.segment(run, rest, scalars, place)
            else:
                for stmt in run:
                    lines += self.sync(place, (stmt,)) + self.statement(stmt, scalars, place)
        return lines if place.store_guard is None else together_under(place.store_guard, lines)

    def compound(self, stmt: ir.Stmt, scalars: Scalars, place: Place) -> list[str]:
        match stmt:
            case ir.Loop() if stmt.kind in ir.TEAM_KINDS:
                return self.team_loop(stmt, scalars, place)
            case ir.Loop():
                return self.serial_loop(stmt, scalars, place)
            case ir.If():
                return self.condition(stmt, scalars, place)
            case ir.Local():
                return self.local(stmt.buffer, scalars)
            case ir.Prefetch():
                return []
            case _:
                raise ValueError("a product stands in a grid loop of its own, after its `let`s")

    def statement(self, stmt: ir.Stmt, scalars: Scalars, place: Place) -> list[str]:
        """A straight-line statement of one part."""
        self.note(stmt)
        if isinstance(stmt, ir.Store) and stmt.buffer.space != "local":
            return guarded_store(scalars, stmt, place.store_guard)
        return scalars.statement(stmt)

    def segment(self, run: Sequence[ir.Stmt], rest: Sequence[ir.Stmt], scalars: Scalars, place: Place) -> list[str]:
        """Straight-line statements of all parts. `rest`: the statements after them in their block."""
        lines = self.sync(place, run)
        segment = Segment(scalars, self.part, frozenset(_mentioned(rest)), place.store_guard)
        for stmt in run:
            self.note(stmt)
            segment.add(stmt)
        scalars.made = {expr: text for expr, text in scalars.made.items() if not isinstance(expr, ir.Load) or expr.buffer.space == "in"}
        self.vectors += segment.vectors
        return lines + segment.lines()

    def note(self, stmt: ir.Stmt) -> None:
        """Remembers whether an accumulator still has its starting value."""
        if isinstance(stmt, ir.Acc):
            self.fresh_accs[stmt.var.name] = stmt.init if isinstance(stmt.init, ir.Const) else None
        elif isinstance(stmt, ir.Update):
            self.fresh_accs.pop(stmt.var.name, None)

    def sync(self, place: Place, stmts: Sequence[ir.Stmt]) -> list[str]:
        """The barrier that statements need before them. Inside a team loop there is none: it stood before the loop."""
        if place.team is not None:
            return []
        reads = {load.buffer.name for load in loads(tuple(stmts))} & self.tracked
        return self.barriers.before(reads, stored(tuple(stmts)) & self.tracked)

    # Compound statements

    def condition(self, stmt: ir.If, scalars: Scalars, place: Place) -> list[str]:
        cond = scalars.value(stmt.cond)
        if scalars.parts > 1 and cond.fact.step != 0:
            if any(not isinstance(each, ir.Let | ir.Acc | ir.Update | ir.Store | ir.If | ir.Prefetch) for each in ir.walk(stmt.body)):
                raise PartsDiffer
            for each in ir.walk(stmt.body):
                self.note(each)
            lines = self.sync(place, (stmt,))
            segment = Segment(scalars, self.part, frozenset(), place.store_guard)
            segment.add(stmt)
            return lines + segment.lines()
        self.fresh_accs.clear()
        inner = scalars.inner()
        if self.layout.joint and any(isinstance(each, ir.Loop) and each.kind in ir.TEAM_KINDS for each in ir.walk(stmt.body)):
            return self.predicated(stmt, inner, place)
        before = self.barriers.state()
        with self.names.block():
            body = self.block(stmt.body, inner, place)
        self.barriers.join(before)
        self.fresh_accs.clear()
        return [f"if ({scalars.at_first_part().text(stmt.cond)}) {{", *indented(body), "}"]

    def predicated(self, stmt: ir.If, inner: Scalars, place: Place) -> list[str]:
        """A condition on what other teams wait for: everybody goes through the body, but reads and stores only where it holds."""
        cond = inner.at_first_part().value(stmt.cond).inside(AND)
        with self.names.block():
            name = self.names.fresh("active")
            head = f"const bool {name} = {cond if inner.guard is None else f'{inner.guard} && {cond}'};"
            inner.guard = name
            guard = name if place.store_guard is None else f"{place.store_guard} && {name}"
            body = self.block(stmt.body, inner, replace(place, store_guard=guard))
        self.fresh_accs.clear()
        return ["{", *indented([head, *body]), "}"]

    def serial_loop(self, loop: ir.Loop, scalars: Scalars, place: Place) -> list[str]:
        if loop.extent == 0:
            return []

        def lines() -> list[str]:
            self.fresh_accs.clear()
            inner = scalars.inner()
            name = self.names.of(loop.var.name)
            inner.bind(loop.var, name, of_loop(loop.extent))
            head = f"for ({inner.env[loop.var.name].ctype} {name} = 0; {name} < {loop.extent}; {name}++) {{"
            return [head, *indented(self.block(loop.body, inner, place)), "}"]

        pragma = ["#pragma unroll"] if loop.kind == "unrolled" else []
        return pragma + self.reductions.around(lines)

    def local(self, buffer: ir.Buffer, scalars: Scalars) -> list[str]:
        """Scratch of a thread: an array that becomes registers when the loops around its uses are taken apart."""
        if buffer.space == "shared":
            self.declare_shared(buffer, scalars)
            return []
        name, parts = self.names.of(buffer.name), scalars.parts
        dims = [self.spread.get((buffer.name, axis), dim) for axis, dim in enumerate(buffer.shape)] or [1]
        own_parts = [f"[{self.part}]"] if parts > 1 else []
        if parts > 1:
            scalars.private |= {buffer.name}

        def element(at: Scalars, index: tuple[ir.Expr, ...]) -> str:
            texts = [self.slot if (buffer.name, axis) in self.spread else at.text(expr) for axis, expr in enumerate(index)] or ["0"]
            return name + "".join([*own_parts, *(f"[{text}]" for text in texts)])

        scalars.places[buffer.name] = element
        return [f"{memory_type(buffer.dtype)} {name}{f'[{parts}]' if own_parts else ''}{''.join(f'[{dim}]' for dim in dims)};"]

    def declare_shared(self, buffer: ir.Buffer, scalars: Scalars) -> None:
        """Scratch of a team, one after the other for the teams of a block."""
        teams = self.layout.lanes
        ctype, name = memory_type(buffer.dtype), self.names.of(buffer.name)
        self.reductions.shared.append(f"__shared__ __align__(16) {ctype} {name}[{max(teams * buffer.size, 1)}];")
        if teams > 1:
            team = Value(self.reductions.team, dtypes.int64, fact=of_loop(teams))
            size = Value(str(buffer.size), dtypes.int64, fact=of_constant(buffer.size))
            scalars.bases[buffer.name] = arith.apply("multiply", (team, size), dtypes.int64)

    # Loops over a team

    def team_loop(self, loop: ir.Loop, scalars: Scalars, place: Place) -> list[str]:
        """A loop whose iterations the threads of a team share out, and the totals of what it accumulates."""
        if loop.extent == 0:
            return []
        lines = self.sync(place, loop.body)
        inner = scalars.inner()
        guard = inner.guard  # of a team that only goes along: it stores nothing
        totals = []
        for name, combine in _accumulated(loop.body).items():
            declaration, total = self.share(ir.Var(name, scalars.env[name].dtype), combine, inner)
            lines += declaration
            totals.append(total)
        with self.names.block():
            lines += self.rounds(loop, inner, replace(place, team=loop, store_guard=guard))
        return lines + (self.reductions.totals(totals, scalars.parts) if totals and self.layout.team > 1 else [])

    def share(self, acc: ir.Var, combine: str, scalars: Scalars) -> tuple[list[str], Total]:
        """Where a thread accumulates its share: in the accumulator itself, if that has a neutral value so far."""
        target, ctype, parts = scalars.env[acc.name], register_type(acc.dtype), scalars.parts
        name = self.names.of(acc.name)
        start = neutral(combine, acc.dtype)
        if self.fresh_accs.pop(acc.name, None) == start or self.layout.team == 1:
            return [], Total(name, combine, ctype, target.text, f"{target.text} = {{}};")
        own = self.names.fresh(f"{name}_share")
        value = f"{own}[{self.part}]" if parts > 1 else own
        starting = scalars.text(start)
        declaration = [f"{ctype} {own} = {starting};"]
        if parts > 1:
            declaration = [f"{ctype} {own}[{parts}];", *over_parts(self.part, parts, [f"{value} = {starting};"])]
        scalars.bind(acc, value, target.fact)
        whole = arith.apply(combine, (target, Value("{}", acc.dtype)), acc.dtype).text
        return declaration, Total(name, combine, ctype, value, f"{target.text} = {whole};")

    def rounds(self, loop: ir.Loop, scalars: Scalars, place: Place) -> list[str]:
        """The iterations of one thread: rounds of `parts` neighbouring ones each."""
        team, parts = self.layout.team, loop.parts
        rounds = -(-loop.extent // (team * parts))
        first, lane = self.names.of(loop.var.name), self.reductions.lane if team > 1 else "0"
        scalars.bind(loop.var, first, Fact(0, (rounds + 1) * team * parts - 1, 0))
        ctype = scalars.env[loop.var.name].ctype
        ends = loop.extent % (team * parts) != 0  # not every thread has a whole last round
        if rounds == 1:
            chunk = self.chunk(loop, "0", scalars, place)
            lines = guarded(f"{first} < {loop.extent}", chunk, ends)
            return ["{", *indented(_with(f"const {ctype} {first} = {_times(lane, parts)};", first, lines)), "}"]
        if rounds <= _UNROLLED_ROUNDS or self.uses_slots(loop):
            u = self.names.fresh("u")
            chunk = self.chunk(loop, u, scalars, place)
            begin = _times(f"{u} * {team} + {lane}" if team > 1 else u, parts)
            lines = guarded(f"{u} < {rounds - 1} || {first} < {loop.extent}", chunk, ends)
            lines = _with(f"const {ctype} {first} = {begin};", first, lines)
            return ["#pragma unroll", f"for (int {u} = 0; {u} < {rounds}; {u}++) {{", *indented(lines), "}"]
        chunk = self.chunk(loop, "", scalars, place)
        head = f"for ({ctype} {first} = {_times(lane, parts)}; {first} < {loop.extent}; {first} += {team * parts}) {{"
        return [f"#pragma unroll {_UNROLL}", head, *indented(chunk), "}"]

    def chunk(self, loop: ir.Loop, round_: str, scalars: Scalars, place: Place) -> list[str]:
        """One round, from the iteration on that `loop.var` is bound to. The last one may have fewer parts than others."""
        first, parts = self.names.of(loop.var.name), loop.parts
        if parts == 1:
            self.slot = round_
            return self.block(loop.body, scalars, place)
        whole = loop.extent % parts == 0
        if scalars.parts == 1:
            together = self.together(loop, round_, scalars, place)
            if together is not None and whole:
                return together[0]
            if together is not None and together[1]:
                some = self.one_by_one(loop, round_, scalars, place)
                return [f"if ({first} + {parts} <= {loop.extent}) {{", *indented(together[0]), "} else {", *indented(some), "}"]
        return self.one_by_one(loop, round_, scalars, place)

    def together(self, loop: ir.Loop, round_: str, scalars: Scalars, place: Place) -> tuple[list[str], int] | None:
        """The parts of one round side by side, and how many accesses move them all; None where they part ways."""
        inner = scalars.inner()
        inner.parts = loop.parts
        first, high = self.names.of(loop.var.name), scalars.env[loop.var.name].fact.high
        inner.env[loop.var.name] = stepping(first, self.part, Fact(0, high, 1, loop.parts))
        self.slot = self.part if round_ in ("", "0") else f"{round_} * {loop.parts} + {self.part}"
        vectors = self.vectors
        try:
            with self.names.block():
                lines = self.block(loop.body, inner, place)
        except PartsDiffer:
            return None
        return lines, self.vectors - vectors

    def one_by_one(self, loop: ir.Loop, round_: str, scalars: Scalars, place: Place) -> list[str]:
        """The parts of one round one after the other, those beyond the loop's end left out."""
        first, parts, fact = self.names.of(loop.var.name), loop.parts, scalars.env[loop.var.name].fact
        with self.names.block():
            part, name = self.names.fresh("part"), self.names.fresh(f"{first}_{self.part}")
            inner = scalars.inner()
            inner.bind(loop.var, name, fact)
            self.slot = part if round_ in ("", "0") else f"{round_} * {parts} + {part}"
            body = guarded(f"{name} < {loop.extent}", self.block(loop.body, inner, place), loop.extent % parts != 0)
        return over_parts(part, parts, _with(f"const {inner.env[loop.var.name].ctype} {name} = {first} + {part};", name, body))

    def uses_slots(self, loop: ir.Loop) -> bool:
        names = {load.buffer.name for load in loads(loop.body)} | stored(loop.body)
        return any(name in names for name, _ in self.spread)


def _times(text: str, factor: int) -> str:
    """The product of a sum's text and a number."""
    return text if factor == 1 or text == "0" else f"({text}) * {factor}" if " " in text else f"{text} * {factor}"


def _with(declaration: str, name: str, lines: list[str]) -> list[str]:
    """The lines after the declaration of `name`, which goes where nothing uses it: all elements may be in registers."""
    return [declaration, *lines] if any(re.search(rf"\b{name}\b", line) for line in lines) else lines


def _runs(stmts: Sequence[ir.Stmt]) -> Iterator[tuple[Sequence[ir.Stmt], Sequence[ir.Stmt]]]:
    """The statements of a block as runs of straight lines and single other statements, each with those that follow it. A run also ends
    before a load of a parameter (or of shared memory) that comes after a store to one: stores of a run are made at its end."""
    begin, has_stored = 0, False
    for n, stmt in enumerate(stmts):
        straight = isinstance(stmt, ir.Let | ir.Acc | ir.Update | ir.Store)
        reads = any(load.buffer.space != "local" for expr in ir.expressions(stmt) for load in _loads_of(expr))
        if n > begin and (not straight or (has_stored and reads)):
            yield stmts[begin:n], stmts[n:]
            begin, has_stored = n, False
        if not straight:
            yield stmts[n : n + 1], stmts[n + 1 :]
            begin = n + 1
        has_stored |= isinstance(stmt, ir.Store) and stmt.buffer.space != "local"
    if begin < len(stmts):
        yield stmts[begin:], ()


def _loads_of(expr: ir.Expr) -> Iterator[ir.Load]:
    return (sub for sub in ir.subexpressions(expr) if isinstance(sub, ir.Load))


def _mentioned(stmts: Iterable[ir.Stmt]) -> set[str]:
    """The names that statements read or update."""
    found: set[str] = set()
    for stmt in ir.walk(tuple(stmts)):
        found |= set[str]().union(*map(variables, ir.expressions(stmt)))
        if isinstance(stmt, ir.Update):
            found.add(stmt.var.name)
    return found


def _accumulated(body: Sequence[ir.Stmt]) -> dict[str, str]:
    """Accumulators of a team loop that are declared outside, and how they combine."""
    own = {stmt.var.name for stmt in ir.walk(tuple(body)) if isinstance(stmt, ir.Acc)}
    return {s.var.name: s.combine for s in ir.walk(tuple(body)) if isinstance(s, ir.Update) and s.var.name not in own}


def _seen_by_others(body: tuple[ir.Stmt, ...]) -> frozenset[str]:
    """Buffers that one thread may read where another wrote: shared ones, and parameters that are both read and written."""
    read = {load.buffer.name for load in loads(body) if load.buffer.space != "local"}
    return frozenset(read & stored(body))


def _spread_axes(body: tuple[ir.Stmt, ...]) -> dict[tuple[str, int], int]:
    """(local buffer, axis) -> elements of one thread, for axes that are indexed by the variable of a team loop."""
    axes: dict[tuple[str, int], int] = {}
    for loop in ir.walk(body):
        if not isinstance(loop, ir.Loop) or loop.kind not in ir.TEAM_KINDS:
            continue
        accesses: list[ir.Load | ir.Store] = [*loads(loop.body), *(s for s in ir.walk(loop.body) if isinstance(s, ir.Store))]
        for access in accesses:
            for axis, expr in enumerate(access.index if access.buffer.space == "local" else ()):
                if loop.var in (sub for sub in ir.subexpressions(expr)):
                    if expr != loop.var:
                        raise ValueError(f"local buffer {access.buffer.name} is indexed by more than the variable of a {loop.kind} loop")
                    axes[access.buffer.name, axis] = -(-loop.extent // (loop.lanes * loop.parts)) * loop.parts
    return axes
