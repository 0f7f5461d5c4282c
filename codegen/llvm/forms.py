"""What an expression is while a kernel is printed: registers (`Value`), or an int64 that is affine in registers and the lane (`Affine`).

Addresses are kept affine as long as they last: the coefficient of the lane number says whether a load is one vector, one scalar or a
gather, and the other terms say how far out of the loops an address can be computed.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.core.dtypes import DType


@dataclass(frozen=True)
class Width:
    """How many iterations are printed at once: `parts` vectors of `lanes`, the last of which has only `last` lanes alive."""

    lanes: int = 1
    parts: int = 1
    last: int = 1

    @staticmethod
    def full(lanes: int, parts: int = 1) -> Width:
        """`parts` whole vectors."""
        return Width(lanes, parts, lanes)

    @staticmethod
    def of(count: int, lanes: int) -> Width:
        """As few vectors of `lanes` as hold `count` >= 1 iterations."""
        parts = -(-count // lanes)
        return Width(lanes, parts, count - (parts - 1) * lanes)

    def mask(self, part: int) -> str | None:
        """The constant mask of a part ("<i1 1, i1 1, i1 0, i1 0>"), None where all lanes are alive."""
        if part < self.parts - 1 or self.last == self.lanes:
            return None
        return f"<{', '.join('i1 1' if lane < self.last else 'i1 0' for lane in range(self.lanes))}>"


SCALAR = Width()


@dataclass(frozen=True)
class Value:
    """Registers of `dtype`: one scalar where the value is the same in all lanes (`uniform`), else one register per part of the width.

    A name that does not begin with "%" is a scalar constant.
    """

    names: tuple[str, ...]
    dtype: DType
    uniform: bool = True

    @property
    def name(self) -> str:
        """The register of a uniform value."""
        (name,) = self.names
        return name


@dataclass(frozen=True)
class Affine:
    """const + sum of coefficient * register + vector * lane, an int64. `lane` counts through all parts of the loop's width."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()
    vector: int = 0

    @staticmethod
    def of(register: str, vector: int = 0) -> Affine:
        """A uniform i64 register (or a decimal constant), plus `vector` times the lane."""
        if register.startswith("%"):
            return Affine(0, ((register, 1),), vector)
        return Affine(int(register), (), vector)

    @property
    def is_constant(self) -> bool:
        return not self.terms and not self.vector

    @property
    def registers(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.terms)

    def __add__(self, other: Affine) -> Affine:
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        kept = tuple((name, coefficient) for name, coefficient in terms.items() if coefficient)
        return Affine(self.const + other.const, kept, self.vector + other.vector)

    def scaled(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(self.const * factor, tuple((name, c * factor) for name, c in self.terms), self.vector * factor)

    def part(self, part: int, lanes: int) -> Affine:
        """The uniform index of lane 0 of a part."""
        return Affine(self.const + self.vector * part * lanes, self.terms)


Form = Value | Affine


def renamed(form: Form, names: Mapping[str, str]) -> Form:
    """`form` with its registers called by other names."""
    if isinstance(form, Affine):
        return Affine(form.const, tuple((names.get(name, name), c) for name, c in form.terms), form.vector)
    return Value(tuple(names.get(name, name) for name in form.names), form.dtype, form.uniform)
