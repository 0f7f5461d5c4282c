"""Expressions and straight-line statements of the kernel IR as CUDA C: one thread, one value at a time.

`Scalars` knows what every IR name stands for at a place of the text. `body` prints loops around it, `access` tells it which loads have been
made already, `product` binds the rows and columns of its tiles and prints epilogues with it:

    scalars = Scalars(names)
    scalars.bind(product.i, "row", of_loop(product.m))
    lines = scalars.statements(product.epilogue)
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.cuda import arith, facts
from graphc.codegen.cuda.arith import AND, OR, PRIMARY, SUM, TERNARY, UNARY, Value
from graphc.codegen.cuda.facts import Fact
from graphc.codegen.cuda.types import Names, is_half, literal, memory_type, register_type, zero
from graphc.core import dtypes
from graphc.core.dtypes import DType

INDENT = "  "
Place = Callable[["Scalars", tuple[ir.Expr, ...]], str]


@dataclass
class Scalars:
    """names: identifiers of the function being printed. parts: how many iterations of a loop a thread has side by side (see `facts`)."""

    names: Names
    parts: int = 1

    def __post_init__(self) -> None:
        self.env: dict[str, Value] = {}
        self.made: dict[ir.Expr, str] = {}  # loads (and random words) made before, and the C expression that has the value
        self.places: dict[str, Place] = {}  # buffers that are no parameters: how an element is written
        self.bases: dict[str, Value] = {}  # shared buffers: how many elements lie before those of this thread's team
        self.private: frozenset[str] = frozenset()  # buffers that have another element for each part
        self.guard: str | None = None  # without this condition nothing may be read
        self.is_first_part = False

    def inner(self) -> Scalars:
        """A copy for an inner block: what it binds ends with it."""
        copy = Scalars(self.names, self.parts)
        copy.env, copy.made, copy.places = dict(self.env), dict(self.made), dict(self.places)
        copy.bases, copy.private, copy.guard, copy.is_first_part = dict(self.bases), self.private, self.guard, self.is_first_part
        return copy

    def at_first_part(self) -> Scalars:
        """What names stand for at part 0, outside of the loop over parts."""
        first = self.inner()
        first.made, first.is_first_part = {}, True
        for name, value in self.env.items():
            if value.first is not None:
                first.env[name] = Value(value.first, value.dtype, PRIMARY, replace(value.fact, step=0))
        return first

    def bind(self, var: ir.Var, text: str, fact: Fact | None = None) -> None:
        """From here on `var` is the C expression `text` (an identifier, or in parentheses). An int64 whose `fact` says that it fits must be
        an `int` in C, any other an `i64`."""
        self.env[var.name] = Value(text, var.dtype, PRIMARY, fact or Fact())

    # Expressions

    def text(self, expr: ir.Expr) -> str:
        return self.value(expr).text

    def value(self, expr: ir.Expr) -> Value:
        match expr:
            case ir.Var():
                return self.env[expr.name]
            case ir.Const():
                return constant(expr)
            case ir.Load():
                return self.load(expr)
            case ir.Apply() if expr in self.made:
                return Value(self.made[expr], expr.dtype)
            case ir.Apply():
                args = [self.value(arg) for arg in expr.args]
                result = arith.apply(expr.op, args, expr.dtype, self.parts)
                steps_cancel = not self.is_first_part and result.fact.step == 0 and any(arg.fact.step != 0 for arg in args)
                return self.at_first_part().value(expr) if steps_cancel else result

    def fact(self, expr: ir.Expr) -> Fact:
        return self.value(expr).fact

    def load(self, expr: ir.Load) -> Value:
        """An element, widened to its register type; zero where the load's condition does not hold."""
        fact = Fact(step=0 if self.is_uniform(expr) else None)
        if expr in self.made:
            return Value(self.made[expr], expr.dtype, PRIMARY, fact)
        element = self.element(expr.buffer, expr.index)
        text = f"float({element})" if is_half(expr.dtype) else element
        condition = self.condition(expr)
        if condition is None:
            return Value(text, expr.dtype, PRIMARY, fact)
        return Value(f"{condition} ? {text} : {constant(zero(expr.dtype)).text}", expr.dtype, TERNARY, fact)

    def is_uniform(self, load: ir.Load) -> bool:
        """Whether all parts of a thread read one element."""
        asked = load.index if load.where is None else (*load.index, load.where)
        return load.buffer.name not in self.private and all(self.fact(each).step == 0 for each in asked)

    def condition(self, load: ir.Load) -> str | None:
        """When a load may touch memory, as an operand of `?`; None for always."""
        is_parameter = load.buffer.space not in ("local", "shared")
        guard = self.guard if is_parameter else None
        if load.where is None:
            return guard
        where = self.value(load.where)
        return where.inside(OR) if guard is None else f"{guard} && {where.inside(AND)}"

    def element(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> str:
        """An element as C's left side of an assignment: `x[i * 1000 + j]`."""
        if buffer.name in self.places:
            return self.places[buffer.name](self, index)
        return f"{self.names.of(buffer.name)}[{self.offset(buffer, index).text}]"

    def address(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> str:
        """A pointer to an element."""
        offset, name = self.offset(buffer, index), self.names.of(buffer.name)
        return name if offset.text == "0" else f"{name} + {offset.inside(SUM)}"

    def offset(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> Value:
        """How many elements lie before the one at `index`, which is taken to be inside the buffer (it is only computed where it is)."""
        total, constant_part, size = None, 0, 1
        for expr, dim in zip(reversed(index), reversed(buffer.shape), strict=True):
            if isinstance(expr, ir.Const):
                constant_part += int(expr.value) * size
            else:
                place = _inside(self.value(expr), dim)
                term = place if size == 1 else self._index("multiply", place, constant(ir.index(size)))
                total = term if total is None else self._index("add", term, total)
            size *= dim
        if total is None:
            total = constant(ir.index(constant_part))
        elif constant_part != 0:
            total = self._index("add", total, constant(ir.index(constant_part)))
        base = self.bases.get(buffer.name)
        return total if base is None else self._index("add", base, total)

    def _index(self, op: str, *args: Value) -> Value:
        return arith.apply(op, args, dtypes.int64, self.parts)

    # Statements

    def statements(self, stmts: Iterable[ir.Stmt]) -> list[str]:
        """Lines of `let`, accumulators and stores. Binds what they declare."""
        return [line for stmt in stmts for line in self.statement(stmt)]

    def statement(self, stmt: ir.Stmt) -> list[str]:
        match stmt:
            case ir.Let():
                return [self.let(stmt.var, self.value(stmt.value))]
            case ir.Acc():
                return [self.acc(stmt)]
            case ir.Update():
                return [self.update(stmt)]
            case ir.Store():
                return self.store(stmt)
            case ir.Prefetch():
                return []
            case ir.If() | ir.Loop() | ir.Local() | ir.Product():
                raise ValueError(f"{type(stmt).__name__} is no straight-line statement")

    def let(self, var: ir.Var, value: Value) -> str:
        name = self.names.of(var.name)
        self.env[var.name] = Value(name, var.dtype, PRIMARY, value.fact)
        return f"const {value.ctype} {name} = {value.text};"

    def acc(self, stmt: ir.Acc) -> str:
        name = self.names.of(stmt.var.name)
        self.bind(stmt.var, name, Fact(step=0 if self.parts == 1 else None))
        return f"{register_type(stmt.var.dtype)} {name} = {self.text(stmt.init)};"

    def update(self, stmt: ir.Update) -> str:
        """`sum += x;`, `max = maximum(max, x);`"""
        target = self.env[stmt.var.name]
        value = self.value(stmt.value)
        sign = {"add": "+", "multiply": "*"}.get(stmt.combine)
        if sign is not None and (stmt.var.dtype.is_floating or stmt.var.dtype in (dtypes.uint32, dtypes.uint64)):
            return f"{target.text} {sign}= {value.text};"
        return f"{target.text} = {arith.apply(stmt.combine, (target, value), stmt.var.dtype).text};"

    def store(self, stmt: ir.Store) -> list[str]:
        line = f"{self.element(stmt.buffer, stmt.index)} = {self.stored(stmt)};"
        return [line] if stmt.where is None else [f"if ({self.text(stmt.where)}) {line}"]

    def stored(self, stmt: ir.Store) -> str:
        """The value of a store as what stands in memory."""
        return in_memory(self.text(stmt.value), stmt.buffer.dtype)


def constant(const: ir.Const) -> Value:
    text = literal(const.value, const.dtype)
    binding = UNARY if text.startswith("-") else PRIMARY
    if const.dtype is not dtypes.int64:
        return Value(text, const.dtype, binding, Fact(step=0))
    fact = facts.of_constant(int(const.value))
    return Value(text.removesuffix("ll") if fact.fits_int else text, const.dtype, binding, fact)


def _inside(index: Value, dim: int) -> Value:
    """`index` as one that is known to lie in 0 .. dim - 1, in an `int` where that fits."""
    last = max(dim - 1, 0)
    low = min(max(index.fact.low, 0), last)
    fact = Fact(low, max(min(index.fact.high, last), low), index.fact.step, index.fact.multiple)
    if fact.fits_int and not index.is_narrow:
        return Value(f"int({index.text})", dtypes.int64, PRIMARY, fact)
    return Value(index.text, dtypes.int64, index.binding, fact)


def in_memory(text: str, dtype: DType) -> str:
    """A register as an element of memory: halves are rounded."""
    return f"{memory_type(dtype)}({text})" if is_half(dtype) else text


def indented(lines: Iterable[str]) -> list[str]:
    return [f"{INDENT}{line}" if line else line for line in lines]


def over_parts(part: str, parts: int, lines: Iterable[str]) -> list[str]:
    """A loop over the parts of a thread, which compilers take apart."""
    return ["#pragma unroll", f"for (int {part} = 0; {part} < {parts}; {part}++) {{", *indented(lines), "}"]


def guarded(condition: str, lines: list[str], needed: bool = True) -> list[str]:
    """The lines, under a condition if one is needed."""
    return [f"if ({condition}) {{", *indented(lines), "}"] if needed else lines
