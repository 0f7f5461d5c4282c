"""Expressions and straight-line statements of the kernel IR as CUDA C: one thread, one value at a time.

`Scalars` knows what every IR name stands for at a place of the text. `body` prints loops around it, `access` tells it which loads have been
made already, `product` binds the rows and columns of its tiles and prints epilogues with it:

    scalars = Scalars(names)
    scalars.bind(product.i, "row", of_loop(product.m))
    lines = scalars.statements(product.epilogue)
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.cuda import arith, facts
from graphc.codegen.cuda.arith import AND, OR, PRIMARY, TERNARY, UNARY, Value
from graphc.codegen.cuda.facts import Fact
from graphc.codegen.cuda.types import Names, is_half, literal, memory_type, register_type, zero
from graphc.core import dtypes
from graphc.core.dtypes import DType

INDENT = "  "


@dataclass
class Scalars:
    """names: identifiers of the function being printed. `parts`: iterations that a thread has side by side, whose variable `part_var` has
    the step 1 (see `facts`)."""

    names: Names
    parts: int = 1

    def __post_init__(self) -> None:
        self.env: dict[str, Value] = {}
        self.loaded: dict[ir.Load, str] = {}  # loads made before, and the C expression that has the element

    def inner(self) -> Scalars:
        """A copy for an inner block: what it binds ends with it."""
        copy = Scalars(self.names, self.parts)
        copy.env, copy.loaded = dict(self.env), dict(self.loaded)
        return copy

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
            case ir.Apply():
                return arith.apply(expr.op, [self.value(arg) for arg in expr.args], expr.dtype, self.parts)

    def fact(self, expr: ir.Expr) -> Fact:
        return self.value(expr).fact

    def load(self, expr: ir.Load) -> Value:
        """An element, widened to its register type; zero where the load's condition does not hold."""
        step = 0 if all(self.fact(each).step == 0 for each in (*expr.index, *(() if expr.where is None else (expr.where,)))) else None
        fact = Fact(step=step)
        if expr in self.loaded:
            return Value(self.loaded[expr], expr.dtype, PRIMARY, fact)
        element = self.element(expr.buffer, expr.index)
        text = f"float({element})" if is_half(expr.dtype) else element
        if expr.where is None:
            return Value(text, expr.dtype, PRIMARY, fact)
        condition = self.value(expr.where).inside(OR)
        return Value(f"{condition} ? {text} : {constant(zero(expr.dtype)).text}", expr.dtype, TERNARY, fact)

    def element(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> str:
        """An element as C's left side of an assignment: `x[i * 1000 + j]`."""
        return f"{self.names.of(buffer.name)}[{self.offset(buffer, index).text}]"

    def offset(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> Value:
        """How many elements lie before the one at `index`."""
        return self.value(flat_index(buffer, index))

    # Statements

    def statements(self, stmts: Iterable[ir.Stmt]) -> list[str]:
        """Lines of `let`, accumulators, stores and conditions around them. Binds what they declare."""
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
            case ir.If():
                return [f"if ({self.text(stmt.cond)}) {{", *indented(self.inner().statements(stmt.body)), "}"]
            case ir.Prefetch():
                return []
            case ir.Loop() | ir.Local() | ir.Product():
                raise ValueError(f"{type(stmt).__name__} is no straight-line statement")

    def let(self, var: ir.Var, value: Value) -> str:
        name = self.names.of(var.name)
        self.env[var.name] = Value(name, var.dtype, PRIMARY, value.fact)
        return f"const {value.ctype} {name} = {value.text};"

    def acc(self, stmt: ir.Acc) -> str:
        name = self.names.of(stmt.var.name)
        self.bind(stmt.var, name)
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


def flat_index(buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> ir.Expr:
    """The row-major position of `index` as one int64 expression, without zeros and ones."""
    total, constant_part, size = None, 0, 1
    for expr, dim in zip(reversed(index), reversed(buffer.shape), strict=True):
        if isinstance(expr, ir.Const):
            constant_part += int(expr.value) * size
        else:
            term = expr if size == 1 else _index("multiply", expr, ir.index(size))
            total = term if total is None else _index("add", term, total)
        size *= dim
    if total is None:
        return ir.index(constant_part)
    return total if constant_part == 0 else _index("add", total, ir.index(constant_part))


def _index(op: str, *args: ir.Expr) -> ir.Expr:
    return ir.Apply(op, args, dtypes.int64)


def in_memory(text: str, dtype: DType) -> str:
    """A register as an element of memory: halves are rounded."""
    return f"{memory_type(dtype)}({text})" if is_half(dtype) else text


def indented(lines: Iterable[str]) -> list[str]:
    return [f"{INDENT}{line}" if line else line for line in lines]


__all__ = ["AND", "INDENT", "OR", "Scalars", "Value", "constant", "flat_index", "in_memory", "indented"]
