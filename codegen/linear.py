"""Index expressions that are affine in loop variables: how the verifier bounds them and the cost model counts them."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.core import dtypes


@dataclass(frozen=True)
class Linear:
    """const + sum of coefficient * loop variable."""

    const: int
    terms: tuple[tuple[str, int], ...] = ()

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + sign * coefficient
        return Linear(self.const + sign * other.const, tuple(item for item in terms.items() if item[1]))

    def times(self, factor: int) -> Linear:
        return Linear(self.const * factor, tuple((name, c * factor) for name, c in self.terms if factor))

    def bounds(self, extents: Mapping[str, int]) -> tuple[int, int]:
        """The least and the greatest value over 0 <= variable < extent."""
        ends = [(c * (extents[name] - 1)) for name, c in self.terms]
        return self.const + sum(min(end, 0) for end in ends), self.const + sum(max(end, 0) for end in ends)


def linear(expr: ir.Expr, known: Mapping[str, Linear]) -> Linear | None:
    """`expr` as an affine form, None where it is not one. `known`: the forms of loop variables and of `let`s."""
    if isinstance(expr, ir.Const):
        return Linear(int(expr.value)) if expr.dtype is dtypes.int64 else None
    if isinstance(expr, ir.Var):
        return known.get(expr.name)
    if not isinstance(expr, ir.Apply) or expr.op not in _LINEAR:
        return None
    args = [linear(arg, known) for arg in expr.args]
    return None if any(arg is None for arg in args) else _LINEAR[expr.op](*args)


def _times(a: Linear, b: Linear) -> Linear | None:
    if not b.terms:
        return a.times(b.const)
    return None if a.terms else b.times(a.const)


_LINEAR: dict[str, Callable[..., Linear | None]] = {
    "add": lambda a, b: a.plus(b),
    "subtract": lambda a, b: a.plus(b, -1),
    "multiply": _times,
    "negate": lambda a: a.times(-1),
}
