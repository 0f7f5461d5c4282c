"""Straight-line statements over several parts at once: loads, a loop over the parts, stores.

A thread has `parts` consecutive iterations of one loop, its *parts*. What is the same for all of them is computed once. Loads of
neighbouring elements become one access before the loop over the parts, stores one access after it:

    y[n] = tanh(x[n]) * s[0]        const auto x_n = load<4>(x + n);
                                    Pack<float, 4> y_n;
                                    #pragma unroll
                                    for (int v = 0; v < 4; v++) {
                                      y_n[v] = tanhf(x_n[v]) * s[0];
                                    }
                                    store(y + n, y_n);

No load of a parameter is moved past a store to another, since an output may lie over an input (docs/design.md, "Memory rule").
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from graphc.codegen import ir
from graphc.codegen.cuda.arith import SUM, Value
from graphc.codegen.cuda.facts import Fact
from graphc.codegen.cuda.scalars import Scalars, guarded, in_memory, over_parts
from graphc.codegen.cuda.types import is_half, memory_type, register_type
from graphc.codegen.gpu import VECTOR_BYTES
from graphc.core import dtypes


class Segment:
    """Collects statements and prints them. `scalars` is the enclosing block's: what a segment binds stays bound after it.

    part: the variable of the loop over parts. outlive: names whose values later statements need, so that they become arrays. store_guard:
    the condition of stores to memory that others see, None for always. Nothing that a segment stores there may be read in it: stores come
    last.
    """

    def __init__(self, scalars: Scalars, part: str, outlive: frozenset[str], store_guard: str | None) -> None:
        self.scalars = scalars
        self.part = part
        self.outlive = outlive
        self.store_guard = store_guard
        self.before: list[str] = []
        self.inside: list[str] = []
        self.after: list[str] = []
        self.vectors = 0  # how many accesses move all parts at once

    @property
    def parts(self) -> int:
        return self.scalars.parts

    def lines(self) -> list[str]:
        loop = over_parts(self.part, self.parts, self.inside) if self.inside else []
        return [*self.before, *loop, *self.after]

    def add(self, stmt: ir.Stmt) -> None:
        """`stmt`: a straight-line statement, or an `if` around such."""
        if not isinstance(stmt, ir.If):
            for expr in (inner for outer in ir.expressions(stmt) for inner in _inner_first(outer)):
                if isinstance(expr, ir.Load):
                    self.move_all_parts(expr)
                elif isinstance(expr, ir.Apply) and expr.op == "random_word":
                    self.draw_all_parts(expr)
        match stmt:
            case ir.Let():
                self.let(stmt)
            case ir.Acc():
                self.acc(stmt)
            case ir.Store():
                self.store(stmt)
            case ir.Update():
                self.inside.append(self.scalars.update(stmt))
            case ir.If():
                self.inside += self.of_one(self.scalars, stmt)

    def of_one(self, scalars: Scalars, stmt: ir.Stmt) -> list[str]:
        """A statement of an `if` that only some parts enter: one part at a time."""
        if isinstance(stmt, ir.If):
            inner = scalars.inner()
            return guarded(scalars.text(stmt.cond), [line for each in stmt.body for line in self.of_one(inner, each)])
        if isinstance(stmt, ir.Store) and stmt.buffer.space != "local":
            return self.store_one(scalars, stmt)
        return scalars.statement(stmt)

    # Statements

    def let(self, stmt: ir.Let) -> None:
        value = self.scalars.value(stmt.value)
        first = self.scalars.at_first_part()
        name = self.scalars.names.of(stmt.var.name)
        if value.fact.step == 0:
            self.before.append(self.scalars.let(stmt.var, first.value(stmt.value)))
        elif value.fact.step is not None and stmt.var.dtype is dtypes.int64:
            self.before.append(f"const {value.ctype} {name} = {first.text(stmt.value)};")
            self.scalars.env[stmt.var.name] = stepping(name, self.part, value.fact)
        elif stmt.var.name in self.outlive:
            self.before.append(f"{value.ctype} {name}[{self.parts}];")
            self.inside.append(f"{name}[{self.part}] = {value.text};")
            self.scalars.bind(stmt.var, f"{name}[{self.part}]", Fact(value.fact.low, value.fact.high, None))
        else:
            self.inside.append(self.scalars.let(stmt.var, value))

    def acc(self, stmt: ir.Acc) -> None:
        """An accumulator of every part."""
        if stmt.var.name not in self.outlive:
            self.inside.append(self.scalars.acc(stmt))
            return
        name = self.scalars.names.of(stmt.var.name)
        self.before.append(f"{register_type(stmt.var.dtype)} {name}[{self.parts}];")
        self.inside.append(f"{name}[{self.part}] = {self.scalars.text(stmt.init)};")
        self.scalars.bind(stmt.var, f"{name}[{self.part}]")

    def store(self, stmt: ir.Store) -> None:
        if stmt.buffer.space == "local":
            self.inside += self.scalars.store(stmt)
            return
        if not self.moves_together(stmt):
            self.inside += self.store_one(self.scalars, stmt)
            return
        self.vectors += 1
        base = self.scalars.at_first_part()
        name = self.scalars.names.fresh(f"{self.scalars.names.of(stmt.buffer.name)}_{self.part}")
        self.before.append(f"Pack<{memory_type(stmt.buffer.dtype)}, {self.parts}> {name};")
        self.inside.append(f"{name}[{self.part}] = {self.scalars.stored(stmt)};")
        line = f"store({base.address(stmt.buffer, stmt.index)}, {name});"
        conditions = [*([] if self.store_guard is None else [self.store_guard]), *([] if stmt.where is None else [base.text(stmt.where)])]
        self.after.append(f"if ({_all(conditions)}) {line}" if conditions else line)

    def store_one(self, scalars: Scalars, stmt: ir.Store) -> list[str]:
        return guarded_store(scalars, stmt, self.store_guard)

    # Memory

    def move_all_parts(self, load: ir.Load) -> None:
        """Loads all parts of `load` at once, if they lie side by side."""
        if load in self.scalars.made or not self.moves_together(load):
            return
        self.vectors += 1
        base = self.scalars.at_first_part()
        name = self.scalars.names.fresh(f"{self.scalars.names.of(load.buffer.name)}_{self.part}")
        access = f"load<{self.parts}>({base.address(load.buffer, load.index)})"
        condition = base.condition(load)
        if condition is not None:
            access = f"{condition} ? {access} : Pack<{memory_type(load.dtype)}, {self.parts}>{{}}"
        self.before.append(f"const auto {name} = {access};")
        element = f"{name}[{self.part}]"
        self.scalars.made[load] = f"float({element})" if is_half(load.dtype) else element

    def draw_all_parts(self, word: ir.Apply) -> None:
        """Draws the random words of all parts, if they are whole blocks of four."""
        counter, key, position = word.args
        place = self.scalars.fact(position)
        uniform = self.scalars.fact(counter).step == self.scalars.fact(key).step == 0
        if word in self.scalars.made or not uniform or place.step != 1 or place.multiple % 4 or self.parts % 4:
            return
        base = self.scalars.at_first_part()
        name = self.scalars.names.fresh(f"bits_{self.part}")
        arguments = ", ".join(base.text(arg) for arg in word.args)
        self.before.append(f"const auto {name} = random_words<{self.parts}>({arguments});")
        self.scalars.made[word] = f"{name}[{self.part}]"

    def moves_together(self, access: ir.Load | ir.Store) -> bool:
        """Whether the parts of an access are neighbours from an aligned place on, and all happen or none."""
        buffer, parts = access.buffer, self.parts
        if buffer.space == "local" or buffer.name in self.scalars.private:
            return False
        if access.where is not None and self.scalars.fact(access.where).step != 0:
            return False
        place = self.scalars.offset(buffer, access.index).fact
        nbytes = parts * buffer.dtype.size
        whole = nbytes & (nbytes - 1) == 0 if nbytes <= VECTOR_BYTES else nbytes % VECTOR_BYTES == 0
        aligned = place.multiple * buffer.dtype.size % min(nbytes, VECTOR_BYTES) == 0
        return parts > 1 and place.step == 1 and whole and aligned


def stepping(name: str, part: str, fact: Fact) -> Value:
    """An index that grows by a constant from part to part; `name` has it at part 0."""
    step = "" if fact.step == 1 else f" * {fact.step}"
    return Value(f"{name} + {part}{step}", dtypes.int64, SUM, fact, first=name)


def guarded_store(scalars: Scalars, stmt: ir.Store, guard: str | None) -> list[str]:
    """A store of one element, under `guard` and its own condition."""
    conditions = [*([] if guard is None else [guard]), *([] if stmt.where is None else [scalars.text(stmt.where)])]
    line = f"{scalars.element(stmt.buffer, stmt.index)} = {in_memory(scalars.text(stmt.value), stmt.buffer.dtype)};"
    return [f"if ({_all(conditions)}) {line}" if conditions else line]


def together_under(guard: str, lines: Sequence[str]) -> list[str]:
    """Neighbouring stores under one condition as one block."""
    head, result = f"if ({guard}) ", list[str]()
    for is_store, group in groupby(lines, lambda line: line.startswith(head) and line.endswith(";")):
        same = list(group)
        result += guarded(guard, [line.removeprefix(head) for line in same]) if is_store and len(same) > 1 else same
    return result


def _all(conditions: Iterable[str]) -> str:
    texts = list(conditions)
    return texts[0] if len(texts) == 1 else " && ".join(f"({text})" if "||" in text or "?" in text else text for text in texts)


def _inner_first(expr: ir.Expr) -> Iterator[ir.Expr]:
    """Everything in an expression from left to right, operands (and indices of loads) before what is made of them."""
    match expr:
        case ir.Apply():
            children = expr.args
        case ir.Load():
            children = expr.index if expr.where is None else (*expr.index, expr.where)
        case _:
            children = ()
    for child in children:
        yield from _inner_first(child)
    yield expr
