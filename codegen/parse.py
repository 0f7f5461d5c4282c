"""Reads the text of a kernel back: the inverse of `text.print_kernel`, by recursive descent."""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from graphc.codegen import ir
from graphc.codegen.operations import result_dtype
from graphc.codegen.text import INFIX
from graphc.core import dtypes
from graphc.core.dtypes import DType, from_code

T = TypeVar("T")

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*)"
    r"|(?P<number>(?:inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?)_(?:bf16|[fiu]\d+)\b|\d+\b(?!\.))"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>==|!=|<=|>=|[-+*/%<>=(){}\[\],:])"
)
_INFIX_BY_SIGN = {sign: (op, tightness) for op, (sign, tightness) in INFIX.items()}
_COMPARE, _TIGHTEST = 1, 3


class KernelTextError(ValueError):
    """Text that is no kernel: `line` and `column`, from 1, say where."""

    def __init__(self, message: str, text: str, offset: int) -> None:
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        super().__init__(f"line {self.line}, column {self.column}: {message}")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    offset: int


def parse_kernel(text: str) -> ir.Kernel:
    """The kernel that `text` spells. KernelTextError with line and column where it spells none, names are unknown or types disagree."""
    parser = _Parser(text)
    kernel = parser.kernel()
    parser.expect("end of text", lambda token: token.kind == "end")
    return kernel


def _tokens(text: str) -> list[_Token]:
    tokens, offset = [], 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise KernelTextError(f"unexpected character {text[offset]!r}", text, offset)
        if match.lastgroup is not None and match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup, match.group(), offset))
        offset = match.end()
    return [*tokens, _Token("end", "end of text", len(text))]


class _Parser:
    """One pass over the tokens; names in scope resolve to buffers and variables as they are met."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.buffers: dict[str, ir.Buffer] = {}
        self.vars: dict[str, ir.Var] = {}

    # Tokens

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, message: str, token: _Token | None = None) -> KernelTextError:
        return KernelTextError(message, self.text, (token or self.token).offset)

    def expect(self, what: str, holds: Callable[[_Token], bool]) -> str:
        token = self.token
        if not holds(token):
            raise self.fail(f"expected {what}, found {token.text!r}")
        self.at += token.kind != "end"
        return token.text

    def sign(self, *signs: str) -> str:
        """One of these signs or keywords."""
        return self.expect(" or ".join(f"'{s}'" for s in signs), lambda token: token.text in signs)

    def accept(self, sign: str) -> bool:
        found = self.token.kind in ("sign", "name") and self.token.text == sign
        self.at += found
        return found

    def name(self) -> str:
        return self.expect("a name", lambda token: token.kind == "name")

    def integer(self) -> int:
        return int(self.expect("an integer", lambda token: token.kind == "number" and token.text.isdigit()))

    def dtype(self) -> DType:
        token = self.token
        try:
            return from_code(self.name())
        except KeyError:
            raise self.fail(f"there is no type {token.text!r}", token) from None

    def listed(self, item: Callable[[], T], *ends: str) -> tuple[T, ...]:
        """Items between commas, up to one of `ends`, which stays."""
        items: list[T] = []
        while self.token.text not in ends:
            if items:
                self.sign(",", *ends)
            items.append(item())
        return tuple(items)

    # Statements

    def kernel(self) -> ir.Kernel:
        self.sign("kernel")
        name = self.name()
        self.sign("(")
        params = self.listed(lambda: self.buffer(None), ")")
        self.sign(")")
        return ir.Kernel(name, params, self.block())

    def buffer(self, space: str | None) -> ir.Buffer:
        name = self.name()
        self.sign(":")
        dtype = self.dtype()
        self.sign("[")
        shape = self.listed(self.integer, "]")
        self.sign("]")
        space = self.sign("in", "out", "inout") if space is None else space
        self.buffers[name] = ir.Buffer(name, dtype, shape, space)
        return self.buffers[name]

    def block(self) -> tuple[ir.Stmt, ...]:
        """The statements between braces; names bound inside are unknown after it."""
        outer = dict(self.vars), dict(self.buffers)
        self.sign("{")
        body = []
        while not self.accept("}"):
            body.append(self.stmt())
        self.vars, self.buffers = outer
        return tuple(body)

    def stmt(self) -> ir.Stmt:
        keywords: dict[str, Callable[[], ir.Stmt]] = {
            "let": self.let, "acc": self.acc, "local": self.local, "shared": self.shared, "prefetch": self.prefetch,
            "if": self.if_, "for": self.loop, "product": self.product,
        }  # fmt: skip
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if self.token.kind == "name" and following.text == "[":
            return self.store()
        if self.token.text in ir.COMBINERS or (following.kind == "name" and self.token.text not in keywords):
            return self.update()
        if self.token.text not in keywords:
            raise self.fail(f"expected a statement, found {self.token.text!r}")
        return keywords[self.sign(*keywords)]()

    def let(self) -> ir.Stmt:
        var, value = self.typed_var(), self.assigned()
        return ir.Let(self.bind(var), value)

    def acc(self) -> ir.Stmt:
        var, init = self.typed_var(), self.assigned()
        return ir.Acc(self.bind(var), init)

    def update(self) -> ir.Stmt:
        var = self.known(self.vars, "variable")
        combine = self.sign(*ir.COMBINERS)
        return ir.Update(var, combine, self.assigned())

    def local(self) -> ir.Stmt:
        return ir.Local(self.buffer("local"))

    def shared(self) -> ir.Stmt:
        return ir.Local(self.buffer("shared"))

    def store(self) -> ir.Stmt:
        buffer = self.known(self.buffers, "buffer")
        index, where = self.subscript()
        return ir.Store(buffer, index, self.assigned(), where)

    def prefetch(self) -> ir.Stmt:
        buffer = self.known(self.buffers, "buffer")
        self.sign("[")
        index = self.listed(self.expr, "]")
        self.sign("]")
        return ir.Prefetch(buffer, index)

    def if_(self) -> ir.Stmt:
        return ir.If(self.expr(), self.block())

    def loop(self) -> ir.Stmt:
        var, extent = self.counted()
        kind = self.sign(*ir.LOOP_KINDS)
        lanes, parts = 1, 1
        if kind in ir.SPREAD_KINDS:
            self.sign("(")
            lanes = self.integer()
            self.sign(",")
            parts = self.integer()
            self.sign(")")
        with self.scope(var):
            return ir.Loop(var, extent, kind, self.block(), lanes, parts)

    def product(self) -> ir.Stmt:
        acc = self.typed_var()
        self.sign("over")
        (i, m), (j, n), (k, depth) = self.counted(), self.comma_counted(), self.comma_counted()
        self.sign("of")
        with self.scope(i, k):
            lhs = self.expr()
        self.sign("times")
        with self.scope(k, j):
            rhs = self.expr()
        with self.scope(i, j, acc):
            return ir.Product(i, j, k, m, n, depth, lhs, rhs, acc, self.block())

    def counted(self) -> tuple[ir.Var, int]:
        var = ir.Var(self.name())
        self.sign("in")
        return var, self.integer()

    def comma_counted(self) -> tuple[ir.Var, int]:
        self.sign(",")
        return self.counted()

    def typed_var(self) -> ir.Var:
        name = self.name()
        self.sign(":")
        return ir.Var(name, self.dtype())

    def assigned(self) -> ir.Expr:
        self.sign("=")
        return self.expr()

    def bind(self, var: ir.Var) -> ir.Var:
        self.vars[var.name] = var
        return var

    @contextmanager
    def scope(self, *bound: ir.Var) -> Iterator[None]:
        outer = dict(self.vars)
        self.vars.update({var.name: var for var in bound})
        yield
        self.vars = outer

    def known(self, names: dict[str, T], what: str) -> T:
        token = self.token
        name = self.name()
        if name not in names:
            raise self.fail(f"there is no {what} {name!r} here", token)
        return names[name]

    # Expressions

    def expr(self, tightness: int = _COMPARE) -> ir.Expr:
        """An expression of operators that bind at least as tightly as `tightness`."""
        if tightness > _TIGHTEST:
            return self.atom()
        left = self.expr(tightness + 1)
        while self.token.kind == "sign" and _INFIX_BY_SIGN.get(self.token.text, ("", 0))[1] == tightness:
            token = self.token
            op, _ = _INFIX_BY_SIGN[self.sign(token.text)]
            left = self.applied(op, (left, self.expr(tightness + 1)), token)
            if tightness == _COMPARE:
                break
        return left

    def atom(self) -> ir.Expr:
        token = self.token
        negative = self.accept("-")
        if negative or self.token.kind == "number":
            return _number(self.expect("a number", lambda token: token.kind == "number"), negative)
        if self.accept("("):
            inner = self.expr()
            self.sign(")")
            return inner
        if token.text in ("true", "false"):
            self.at += 1
            return ir.Const(token.text == "true", dtypes.bool)
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)].text
        if token.kind == "name" and following == "(":
            return self.call()
        if token.kind == "name" and following == "[":
            buffer = self.known(self.buffers, "buffer")
            return ir.Load(buffer, *self.subscript())
        if token.kind != "name":
            raise self.fail(f"expected an expression, found {token.text!r}")
        return self.known(self.vars, "variable")

    def call(self) -> ir.Expr:
        token = self.token
        op = self.name()
        self.sign("(")
        args = self.listed(self.expr, ")")
        self.sign(")")
        return self.applied(op, args, token)

    def applied(self, op: str, args: tuple[ir.Expr, ...], token: _Token) -> ir.Expr:
        try:
            dtype = result_dtype(op, [arg.dtype for arg in args])
        except ValueError as error:
            raise self.fail(str(error), token) from None
        if self.accept(":"):
            dtype = self.dtype()
        if dtype is None:
            raise self.fail(f"expected ':' and the type that {op} gives, found {self.token.text!r}")
        return ir.Apply(op, args, dtype)

    def subscript(self) -> tuple[tuple[ir.Expr, ...], ir.Expr | None]:
        self.sign("[")
        index = self.listed(self.expr, "]", "where")
        where = self.expr() if self.accept("where") else None
        self.sign("]")
        return index, where


def _number(text: str, negative: bool) -> ir.Const:
    digits, _, code = text.partition("_")
    sign = -1 if negative else 1
    dtype = from_code(code) if code else dtypes.int64
    if not dtype.is_floating:
        return ir.Const(sign * int(digits), dtype)
    # One NaN object, so that kernels that hold it are equal.
    return ir.Const(math.nan if digits == "nan" else sign * float(digits), dtype)
