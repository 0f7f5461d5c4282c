"""Statements and expressions of the kernel IR as LLVM text: the middle of the printer, below `printer` and above `memory` and `arith`.

A `Body` prints into one function. `env` holds what each name stands for at this point: a loop variable an affine form, a `let` its form, an
accumulator its newest registers. In a vector loop every varying expression is printed once per part, so `parts` independent chains of
instructions run side by side.

A product is printed by `product.emit_product(body, product, tasks)`: `tasks` names the registers of the range of tasks to run where the
product is the whole kernel, None where it runs whole in one thread. It uses `capture` and `inner` to carry the bindings into a function of
its own, `bound` to bind i, j, k and acc, `vectors` for the registers of an expression, `execute` for the epilogue, and `panels`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from graphc.codegen import ir
from graphc.codegen.llvm import types
from graphc.codegen.llvm.arith import emit_op
from graphc.codegen.llvm.emit import Emitter, Region
from graphc.codegen.llvm.fold import fold, identity
from graphc.codegen.llvm.forms import SCALAR, Affine, Form, Value, Width, renamed
from graphc.codegen.llvm.memory import Memory
from graphc.codegen.llvm.philox import Philox
from graphc.codegen.llvm.scopes import Scopes
from graphc.codegen.llvm.target import Target
from graphc.core import dtypes
from graphc.core.dtypes import DType

EmitProduct = Callable[["Body", ir.Product], None]


@dataclass(frozen=True)
class Capture:
    """What a function outlined from a kernel needs of it: (LLVM type, register outside, name inside) of each buffer and uniform value."""

    registers: tuple[tuple[str, str, str], ...]

    @property
    def parameters(self) -> str:
        """For the inner function's header: "ptr %c0, i64 %c1"."""
        return ", ".join(f"{kind} {inside}" for kind, _, inside in self.registers)

    @property
    def arguments(self) -> str:
        """For the call: "ptr %t3, i64 %t17"."""
        return ", ".join(f"{kind} {outside}" for kind, outside, _ in self.registers)


class Body:
    """Prints statements into the function that `e` builds.

    `pointers`: buffer name -> register. `panels`: register of the thread's scratch memory for products. `limits`: the registers of the
    launch range, for the parallel loop.
    """

    def __init__(self, e: Emitter, target: Target, pointers: Mapping[str, str], emit_product: EmitProduct, panels: str = "%panels") -> None:
        self.e = e
        self.target = target
        self.panels = panels
        self.limits = ("%begin", "%end")
        self.env: dict[str, Form] = {}
        self.width = SCALAR
        self.scopes = Scopes(e)
        self.memory = Memory(self.scopes, target, pointers)
        self.scopes.place([*pointers.values(), panels, *self.limits], 0)
        self._emit_product = emit_product
        self._partial: frozenset[str] = frozenset()  # accumulators that the open vector loop reduces
        self._steps: dict[str, int] = {}  # register -> what it is always a multiple of

    # What product printers use

    @contextmanager
    def bound(self, bindings: Mapping[str, Form], width: Width = SCALAR) -> Iterator[None]:
        """Binds names (forms over registers that dominate this place) and sets the width, for the statements inside.

        A uniform index is `Affine.of("%i")`, a vector of consecutive ones from %j on `Affine.of("%j", 1)`, an accumulator in registers
        `Value(names, dtype, uniform=False)` with one register per part.
        """
        env, outer = dict(self.env), self.width
        self.env.update(bindings)
        self.width = width
        try:
            yield
        finally:
            self.env, self.width = env, outer

    def is_multiple(self, register: str, step: int) -> None:
        """Says that an i64 register is always a multiple of `step`."""
        self._steps[register] = step

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Prints everything inside at this place: for callers that write loops of their own around it. Registers are shared only inside."""
        with self.scopes.alone():
            yield

    def capture(self, product: ir.Product) -> Capture:
        """The buffers and outer names that a product's expressions and epilogue mention."""
        registers: dict[str, tuple[str, str, str]] = {}

        def add(kind: str, name: str) -> None:
            if name.startswith("%"):
                registers.setdefault(name, (kind, name, f"%c{len(registers)}"))

        for node in _mentioned(product):
            if isinstance(node, ir.Buffer):
                add("ptr", self.memory.pointers[node.name])
            elif node.name in self.env:
                form = self.env[node.name]
                names, kind = (form.registers, "i64") if isinstance(form, Affine) else (form.names, types.reg_type(form.dtype))
                for name in names:
                    add(kind, name)
        return Capture(tuple(registers.values()))

    def inner(self, e: Emitter, capture: Capture) -> Body:
        """A Body for a function of its own (`e`) that has the capture's parameters. Its `panels` is the caller's business."""
        names = {outside: inside for _, outside, inside in capture.registers}
        pointers = {buffer: names[name] for buffer, name in self.memory.pointers.items() if name in names}
        body = Body(e, self.target, pointers, self._emit_product)
        body.env = {name: renamed(form, names) for name, form in self.env.items()}
        body.scopes.place(names.values(), 0)
        return body

    def vectors(self, expr: ir.Expr) -> tuple[str, ...]:
        """One register (of `types.reg_type(dtype, lanes)`) per part of the current width."""
        return self._spread(self.value(expr))

    # Expressions

    def value(self, expr: ir.Expr) -> Value:
        """`expr` in registers."""
        return self._registers(self.evaluate(expr))

    def evaluate(self, expr: ir.Expr) -> Form:
        """`expr` in the form that keeps most: affine where it can be."""
        match expr:
            case ir.Var():
                return _kept(self.env[expr.name])
            case ir.Const():
                if expr.dtype is dtypes.int64:
                    return Affine(int(expr.value))
                return Value((types.literal(expr.value, expr.dtype),), expr.dtype)
            case ir.Load():
                return _kept(self._load(expr))
            case ir.Apply("random_word"):
                return self._random_word(*(self.evaluate(arg) for arg in expr.args))
            case ir.Apply():
                forms = [self.evaluate(arg) for arg in expr.args]
                folded = fold(expr, forms)
                if folded is not None:
                    return folded
                return _kept(self._op(expr.op, expr.dtype, [self._registers(form) for form in forms]))

    def _registers(self, form: Form) -> Value:
        if isinstance(form, Value):
            return form
        if form.vector:
            return Value(self.memory.lanes_of(form, self.width), dtypes.int64, False)
        return Value((self.memory.scalar(form),), dtypes.int64)

    def _spread(self, value: Value) -> tuple[str, ...]:
        """One register per part."""
        if not value.uniform:
            return value.names[: self.width.parts]
        return (self.memory.splat(value.name, value.dtype, self.width.lanes),) * self.width.parts

    def _op(self, op: str, dtype: DType, args: Sequence[Value]) -> Value:
        if all(arg.uniform for arg in args):
            return Value((self._op_once(op, dtype, 1, [arg.name for arg in args], args),), dtype)
        rows = list(zip(*(self._spread(arg) for arg in args), strict=True))
        names: list[str] = []
        for first in range(0, len(rows), self.target.chains):
            names += self._op_of_parts(op, dtype, rows[first : first + self.target.chains], args)
        return Value(tuple(names), dtype, False)

    def _op_of_parts(self, op: str, dtype: DType, rows: Sequence[Sequence[str]], args: Sequence[Value]) -> list[str]:
        """The same operation on several registers, their instructions in turns where they are straight-line code."""
        region, block = self.e.region, self.e.block
        names, starts = [], []
        for row in rows:
            starts.append(len(region.lines))
            names.append(self._op_once(op, dtype, self.width.lanes, row, args))
        if region.block == block:
            region.interleave(starts)
        return names

    def _op_once(self, op: str, dtype: DType, lanes: int, names: Sequence[str], args: Sequence[Value]) -> str:
        arg_dtypes = [arg.dtype for arg in args]
        key = (op, dtype.code, lanes, *names, *(arg_dtype.code for arg_dtype in arg_dtypes))
        return self.scopes.pure(key, names, lambda: emit_op(self.e, self.target, op, dtype, lanes, names, arg_dtypes))

    def _random_word(self, counter: Form, key: Form, position: Form) -> Value:
        """Random words: where they are whole blocks, one after another in the parts, each block is computed once."""
        assert isinstance(key, Affine)
        run, width = self._registers(counter).name, self.width
        if isinstance(position, Affine) and position.vector == 1 and width.lanes > 1 and self._is_whole_blocks(position):
            return self._random_blocks(run, key.const, self.memory.scalar(Affine(position.const, position.terms)))
        places = self._registers(position)
        lanes = 1 if places.uniform else width.lanes
        names = [self.scopes.pure(("random_word", run, key.const, place, lanes), [run, place],
                                  partial(lambda place: Philox(self.e, lanes, run, key.const).word(place), place))
                 for place in places.names]
        return Value(tuple(names), dtypes.uint32, places.uniform)

    def _random_blocks(self, run: str, key: int, first: str) -> Value:
        """The words at consecutive positions from `first` on."""
        lanes, parts = self.width.lanes, self.width.parts
        words: list[str] = []

        def part_of(part: int) -> str:
            if not words:
                block = self.e.let(f"lshr i64 {first}, 2")
                words.extend(Philox(self.e, lanes * parts // 4, run, key).consecutive(block, lanes))
            return words[part]

        names = [self.scopes.pure(("random_word", run, key, first, lanes, parts, part), [run, first], partial(part_of, part))
                 for part in range(parts)]
        return Value(tuple(names), dtypes.uint32, False)

    def _is_whole_blocks(self, position: Affine) -> bool:
        """Whether the lanes of all parts together hold blocks of four words from the first word of one on."""
        steps = [position.const, *(coefficient * self._steps.get(name, 1) for name, coefficient in position.terms)]
        return self.width.lanes * self.width.parts % 4 == 0 and all(step % 4 == 0 for step in steps)

    def _load(self, load: ir.Load) -> Value:
        where = None if load.where is None else self.value(load.where)
        if where is not None and where.uniform and not where.name.startswith("%"):
            if where.name == "false":
                return Value((types.literal(0, load.dtype),), load.dtype)
            where = None
        place = self.memory.address(load.buffer, [self.evaluate(index) for index in load.index], self.width)
        return self.memory.load(load.buffer, place, where, self.width)

    # Statements

    def execute(self, body: Iterable[ir.Stmt]) -> None:
        """Prints statements in order."""
        for stmt in body:
            match stmt:
                case ir.Let():
                    self.env[stmt.var.name] = self.evaluate(stmt.value)
                case ir.Acc():
                    value = self.value(stmt.init)
                    self.env[stmt.var.name] = value if self.width == SCALAR else Value(self._spread(value), value.dtype, False)
                case ir.Update():
                    self._update(stmt)
                case ir.Store():
                    self._store(stmt)
                case ir.Prefetch():
                    self.memory.prefetch(stmt.buffer, [self.evaluate(index) for index in stmt.index], self.width)
                case ir.Loop():
                    self._loop(stmt)
                case ir.If():
                    self._if(self.value(stmt.cond).name, stmt.body)
                case ir.Product():
                    self._emit_product(self, stmt)
                case ir.Local():
                    pass  # its place in the scratch memory is fixed: printer.py

    def _accumulator(self, name: str) -> Value:
        form = self.env[name]
        return form if isinstance(form, Value) else Value((self.memory.scalar(form),), dtypes.int64)

    def _update(self, stmt: ir.Update) -> None:
        old, value = self._accumulator(stmt.var.name), self.value(stmt.value)
        if old.uniform:
            self.env[stmt.var.name] = self._op(stmt.combine, old.dtype, [old, value])
            return
        lanes = self.width.lanes
        names = list(old.names)
        for part, name in enumerate(self._spread(value)):
            new = self._op_once(stmt.combine, old.dtype, lanes, [names[part], name], [old, value])
            mask = self.width.mask(part) if stmt.var.name in self._partial else None
            if mask is not None:  # lanes beyond the loop's end keep what they have
                kind = types.reg_type(old.dtype, lanes)
                new = self._let(f"select <{lanes} x i1> {mask}, {kind} {new}, {kind} {names[part]}", [new, names[part]])
            names[part] = new
        self.env[stmt.var.name] = Value(tuple(names), old.dtype, False)

    def _let(self, text: str, operands: Sequence[str]) -> str:
        return self.scopes.pure(text, operands, lambda: self.e.let(text))

    def _store(self, stmt: ir.Store) -> None:
        where = None if stmt.where is None else self.value(stmt.where)
        if where is not None and where.uniform:
            self._if(where.name, (ir.Store(stmt.buffer, stmt.index, stmt.value),))
            return
        value = self.value(stmt.value)
        place = self.memory.address(stmt.buffer, [self.evaluate(index) for index in stmt.index], self.width)
        self.memory.store(stmt.buffer, place, value, where, self.width)

    def _if(self, cond: str, body: tuple[ir.Stmt, ...]) -> None:
        if cond == "true":
            self.execute(body)
        if not cond.startswith("%"):
            return
        e, then, after = self.e, self.e.new_label("then"), self.e.new_label("endif")
        before = {name: self._accumulator(name) for name in _carried(body)}
        inner = Region(block=then)
        with self.scopes.inside(inner, guarded=True):
            self.execute(body)
        start = e.block
        e.do(f"br i1 {cond}, label %{then}, label %{after}")
        e.region.lines += [f"{then}:", *inner.lines, f"  br label %{after}"]
        e.label(after)
        for name, old in before.items():
            new, kind = self._accumulator(name).names, types.reg_type(old.dtype, 1 if old.uniform else self.width.lanes)
            merged = tuple(
                e.let(f"phi {kind} [ {n}, %{inner.block} ], [ {o}, %{start} ]") for n, o in zip(new, old.names, strict=True)
            )
            self.scopes.place(merged)
            self.env[name] = Value(merged, old.dtype, old.uniform)

    # Loops

    def _loop(self, loop: ir.Loop) -> None:
        if loop.extent == 0:
            return
        if loop.kind == "vector":
            self._vector_loop(loop)
        elif loop.kind == "parallel":
            self._counted(loop, *self.limits, 1, 0)
        elif loop.kind == "unrolled" or loop.extent == 1:
            for step in range(loop.extent):
                self._straight(loop, Affine(step))
        else:
            self._counted(loop, "0", str(loop.extent), 1, 0)

    def _straight(self, loop: ir.Loop, var: Affine) -> None:
        self.env[loop.var.name] = var
        self.execute(loop.body)

    def _counted(self, loop: ir.Loop, start: str, stop: str, step: int, vector: int) -> None:
        """A loop that runs at least once: its accumulators are phis of its header."""
        e, header, after = self.e, self.e.new_label("loop"), self.e.new_label("done")
        counter = e.new_value()
        if start == "0":
            self.is_multiple(counter, step)
        first = {name: self._accumulator(name) for name in _carried(loop.body)}
        now = {name: Value(tuple(e.new_value() for _ in old.names), old.dtype, old.uniform) for name, old in first.items()}
        written = frozenset(s.buffer.name for s in ir.walk(loop.body) if isinstance(s, ir.Store))
        inner = Region(block=header)
        with self.scopes.inside(inner, written):
            self.scopes.place([counter, *(name for value in now.values() for name in value.names)])
            self.env.update(now)
            self._straight(loop, Affine.of(counter, vector))
        last = {name: self._accumulator(name) for name in first}
        before = e.block
        following, more = e.new_value(), e.new_value()
        phis = [f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{inner.block} ]"]
        for name, old in first.items():
            kind = types.reg_type(old.dtype, 1 if old.uniform else self.width.lanes)
            for phi, a, b in zip(now[name].names, old.names, last[name].names, strict=True):
                phis.append(f"  {phi} = phi {kind} [ {a}, %{before} ], [ {b}, %{inner.block} ]")
            self.scopes.place(last[name].names)
        e.do(f"br label %{header}")
        e.region.lines += [f"{header}:", *phis, *inner.lines]
        e.region.lines += [f"  {following} = add nuw nsw i64 {counter}, {step}", f"  {more} = icmp ult i64 {following}, {stop}"]
        e.do(f"br i1 {more}, label %{header}, label %{after}")
        e.label(after)

    def _vector_loop(self, loop: ir.Loop) -> None:
        """Whole blocks of lanes * parts iterations in a loop, what is left in one masked copy, then accumulators combined over lanes."""
        lanes, block = loop.lanes, loop.lanes * loop.parts
        blocks, rest = divmod(loop.extent, block)
        whole, tail = Width.full(lanes, loop.parts), Width.of(rest, lanes) if rest else SCALAR
        combiners = {s.var.name: s.combine for s in ir.walk(loop.body) if isinstance(s, ir.Update)}
        starts = {name: self._accumulator(name) for name in _carried(loop.body)}
        for name, start in starts.items():
            neutral = types.literal(identity(combiners[name], start.dtype), start.dtype, lanes)
            self.env[name] = Value((neutral,) * (loop.parts if blocks else tail.parts), start.dtype, False)
        self._partial = frozenset(starts)
        self.width = whole
        if blocks > 1:
            self._counted(loop, "0", str(blocks * block), block, 1)
        elif blocks:
            self._straight(loop, Affine(0, (), 1))
        if rest:
            self.width = tail
            self._straight(loop, Affine(blocks * block, (), 1))
        self.width = SCALAR
        self._partial = frozenset()
        for name, start in starts.items():
            total = self._across_lanes(combiners[name], self._accumulator(name), lanes)
            self.env[name] = self._op(combiners[name], start.dtype, [start, total])

    def _across_lanes(self, combine: str, partial: Value, lanes: int) -> Value:
        """Combines parts pairwise, then halves of the lanes pairwise: an order that only depends on how many there are."""
        names = list(partial.names)
        while len(names) > 1:
            pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
            names = [self._op_once(combine, partial.dtype, lanes, p, [partial, partial]) if len(p) == 2 else p[0] for p in pairs]
        (name,) = names
        element = types.reg_element(partial.dtype)
        while lanes > 1:
            kind, half = types.vector(element, lanes), lanes // 2
            halves = []
            for base in (0, half):
                if half == 1:
                    halves.append(self._let(f"extractelement {kind} {name}, i64 {base}", [name]))
                else:
                    order = ", ".join(f"i32 {base + lane}" for lane in range(half))
                    halves.append(self._let(f"shufflevector {kind} {name}, {kind} poison, <{half} x i32> <{order}>", [name]))
            name = self._op_once(combine, partial.dtype, half, halves, [partial, partial])
            lanes = half
        return Value((name,), partial.dtype)


def _kept(form: Form) -> Form:
    """A uniform int64 as an affine form, so that what is added to it stays one."""
    return Affine.of(form.name) if isinstance(form, Value) and form.dtype is dtypes.int64 and form.uniform else form


def _carried(body: tuple[ir.Stmt, ...]) -> list[str]:
    """The accumulators that `body` updates and that live longer than it, in the order of their first update."""
    inside = {stmt.var.name for stmt in ir.walk(body) if isinstance(stmt, ir.Acc)}
    return list(dict.fromkeys(s.var.name for s in ir.walk(body) if isinstance(s, ir.Update) and s.var.name not in inside))


def _mentioned(product: ir.Product) -> Iterator[ir.Buffer | ir.Var]:
    """Every buffer in a product's expressions and epilogue, and every variable that it does not bind itself."""
    own = {product.i, product.j, product.k, product.acc} | {s.var for s in product.epilogue if isinstance(s, ir.Let)}
    for stmt in (product, *ir.walk(product.epilogue)):
        if isinstance(stmt, ir.Store):
            yield stmt.buffer
        for expr in ir.expressions(stmt):
            for part in ir.subexpressions(expr):
                if isinstance(part, ir.Load):
                    yield part.buffer
                elif isinstance(part, ir.Var) and part not in own:
                    yield part
