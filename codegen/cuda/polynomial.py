"""Kernel expressions as polynomials, so that a formula is known by what it means and not by how it is written.

`gemm` asks whether an epilogue is alpha * acc + beta * c + bias, or the gelu of that, however the passes have arranged it. Here an
expression is expanded into a sum of monomials over *atoms*: the accumulator, loads, and functions of polynomials. The arithmetic of
reals is taken to hold: what is recognised may be rounded at other places than the kernel says.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.codegen import ir

_MOST_TERMS = 200  # a longer sum is no formula that anybody would look for


@dataclass(frozen=True)
class Function:
    """An operation that is not polynomial, applied to polynomials."""

    op: str
    args: tuple[Polynomial, ...]


Atom = ir.Var | ir.Load | Function
Monomial = tuple[Atom, ...]  # factors, in an order that the reader of one kernel fixes


@dataclass(frozen=True)
class Polynomial:
    """Coefficients other than 0, by monomial, as sorted pairs. The empty monomial is 1."""

    terms: tuple[tuple[Monomial, float], ...]

    @property
    def coefficients(self) -> dict[Monomial, float]:
        return dict(self.terms)

    def constant(self) -> float | None:
        """The value, where no atom is in it."""
        return self.coefficients.get((), 0.0) if all(not monomial for monomial, _ in self.terms) else None


@dataclass
class Reader:
    """Expands the expressions of one kernel. transparent: codes of the float types to which a convert changes nothing that matters. order:
    of the atoms met so far, so that equal monomials are written alike."""

    transparent: frozenset[str] = frozenset()
    order: dict[Atom, int] = field(default_factory=dict)

    def read(self, expr: ir.Expr, known: Mapping[str, Polynomial]) -> Polynomial:
        """`expr` as a polynomial; `known` has those of `let`s."""
        match expr:
            case ir.Const():
                return self.number(float(expr.value))
            case ir.Var():
                return known[expr.name] if expr.name in known else self.atom(expr)
            case ir.Load():
                return self.atom(expr)
            case ir.Apply():
                return self._apply(expr, [self.read(arg, known) for arg in expr.args])

    def _apply(self, expr: ir.Apply, args: list[Polynomial]) -> Polynomial:
        match expr.op, args:
            case "add", [a, b]:
                return self.sum(a, b)
            case "subtract", [a, b]:
                return self.sum(a, self.scaled(b, -1.0))
            case "negate", [a]:
                return self.scaled(a, -1.0)
            case "multiply", [a, b]:
                return self.product(a, b)
            case "divide", [a, b] if b.constant():
                return self.scaled(a, 1.0 / (b.constant() or math.nan))
            case "convert", [a] if expr.dtype.code in self.transparent and expr.args[0].dtype.is_floating:
                return a
            case "logistic", [a] if a.terms and a.terms[0][1] < 0:  # logistic(-x) = 1 - logistic(x)
                return self.sum(self.number(1.0), self.scaled(self.function("logistic", self.scaled(a, -1.0)), -1.0))
            case "maximum", [a, b] if a.constant() is not None:
                return self.function("maximum", b, a)
            case "convert", [a]:
                return self.function(f"convert to {expr.dtype.name}", a)
        return self.function(expr.op, *args)

    def number(self, value: float) -> Polynomial:
        return Polynomial((((), value),) if value else ())

    def atom(self, atom: Atom) -> Polynomial:
        self.order.setdefault(atom, len(self.order))
        return Polynomial((((atom,), 1.0),))

    def function(self, op: str, *args: Polynomial) -> Polynomial:
        return self.atom(Function(op, args))

    def sum(self, a: Polynomial, b: Polynomial) -> Polynomial:
        total = a.coefficients
        for monomial, coefficient in b.terms:
            total[monomial] = total.get(monomial, 0.0) + coefficient
        return self._polynomial(total)

    def scaled(self, a: Polynomial, factor: float) -> Polynomial:
        return Polynomial(tuple((monomial, coefficient * factor) for monomial, coefficient in a.terms))

    def product(self, a: Polynomial, b: Polynomial) -> Polynomial:
        """a * b; where that would be too long, an atom of its own."""
        if len(a.terms) * len(b.terms) > _MOST_TERMS:
            return self.function("multiply", a, b)
        total: dict[Monomial, float] = {}
        for left, x in a.terms:
            for right, y in b.terms:
                monomial = tuple(sorted((*left, *right), key=self.order.__getitem__))
                total[monomial] = total.get(monomial, 0.0) + x * y
        return self._polynomial(total)

    def _polynomial(self, coefficients: Mapping[Monomial, float]) -> Polynomial:
        def rank(term: tuple[Monomial, float]) -> tuple[int, list[int]]:
            return len(term[0]), [self.order[atom] for atom in term[0]]

        return Polynomial(tuple(sorted(((m, c) for m, c in coefficients.items() if c), key=rank)))


def close(a: Polynomial, b: Polynomial, relative: float) -> bool:
    """Whether two polynomials have the same monomials, with coefficients that agree to `relative`."""
    left, right = a.coefficients, b.coefficients
    return left.keys() == right.keys() and all(math.isclose(left[m], right[m], rel_tol=relative) for m in left)
