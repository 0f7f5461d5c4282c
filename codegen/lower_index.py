"""Symbolic indices: integers made of loop variables by + - * // and %, simplified by the ranges of the variables.

Lowering asks every view of a tensor "which element do you read for this output index?" and answers with these objects, so that a chain of
reshapes, slices and transposes becomes one affine expression. The canonical form is a constant plus a sum of coefficient * atom; an atom is
a loop variable, a loaded value (a gather's index), or a quotient or remainder that no range could simplify. Division and remainder are
Python's (they round down). Two rules do most of the work:

    (a * d + r) // d  ->  a          (a * d + r) % d  ->  r          where 0 <= r < d is known from the ranges
    c * d * (x // d) + c * (x % d)  ->  c * x                        so that splitting an index and joining it again costs nothing,
    c * d * (x // d % e) + c * (x % d)  ->  c * (x % (d * e))        in part too
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from graphc.codegen import ir
from graphc.core import dtypes


@dataclass(frozen=True)
class LoopVar:
    """A loop variable: 0 <= name < extent. `stride` is its weight in the linear index of the space (`space`) that it helps to walk."""

    name: str
    extent: int
    stride: int = 1
    space: str = ""

    @property
    def range(self) -> tuple[int, int]:
        return 0, self.extent - 1


@dataclass(frozen=True)
class Loaded:
    """An int64 value of the kernel in the place of an index; [lo, hi] is what a guard around its use promises."""

    value: ir.Expr
    lo: int
    hi: int

    @property
    def range(self) -> tuple[int, int]:
        return self.lo, self.hi


@dataclass(frozen=True)
class Quotient:
    """x // divisor, where x is not known to be a multiple of anything useful."""

    x: Index
    divisor: int

    @property
    def range(self) -> tuple[int, int]:
        return self.x.lo // self.divisor, self.x.hi // self.divisor


@dataclass(frozen=True)
class Remainder:
    """x % divisor."""

    x: Index
    divisor: int

    @property
    def range(self) -> tuple[int, int]:
        return 0, self.divisor - 1


Atom = LoopVar | Loaded | Quotient | Remainder
Terms = dict[Atom, int]


@dataclass(frozen=True)
class Index:
    """constant + sum of coefficient * atom over `terms`; no coefficient is zero. Equal indices compare and hash equal."""

    constant: int = 0
    terms: frozenset[tuple[Atom, int]] = frozenset()

    @cached_property
    def _hash(self) -> int:
        return hash((self.constant, self.terms))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _bounds(self) -> tuple[int, int]:
        lo = hi = self.constant
        for atom, coefficient in self.terms:
            ends = [coefficient * end for end in atom.range]
            lo, hi = lo + min(ends), hi + max(ends)
        return lo, hi

    @property
    def lo(self) -> int:
        """A lower bound of every value."""
        return self._bounds[0]

    @property
    def hi(self) -> int:
        """An upper bound of every value."""
        return self._bounds[1]

    def __add__(self, other: Index | int) -> Index:
        other = as_index(other)
        if not other.terms:
            return Index(self.constant + other.constant, self.terms)
        terms = dict(self.terms)
        for atom, coefficient in other.terms:
            terms[atom] = terms.get(atom, 0) + coefficient
        return _joined(self.constant + other.constant, terms)

    def __mul__(self, factor: int) -> Index:
        if isinstance(factor, Index):
            raise TypeError("an index can be multiplied by an int only")
        return Index(self.constant * factor, frozenset((a, c * factor) for a, c in self.terms if factor))

    def __floordiv__(self, divisor: int) -> Index:
        whole, rest = _split(self, divisor)
        if rest.lo // divisor == rest.hi // divisor:
            return whole + rest.lo // divisor
        for factor in _common_factors(rest, divisor):
            high, low = _split(rest, factor)
            if low.lo >= 0 and low.hi < factor:
                return whole + high // (divisor // factor)
        if not rest.constant and len(rest.terms) == 1:
            (atom, coefficient), = rest.terms
            if coefficient == 1 and isinstance(atom, Quotient):  # (x // a) // b = x // (a * b)
                return whole + atom.x // (atom.divisor * divisor)
            if coefficient == 1 and isinstance(atom, Remainder) and atom.divisor % divisor == 0:  # (x % (a * b)) // a = x // a % b
                return whole + atom.x // divisor % (atom.divisor // divisor)
        return whole + _atom(Quotient(rest, divisor))

    def __mod__(self, divisor: int) -> Index:
        _, rest = _split(self, divisor)
        if rest.lo // divisor == rest.hi // divisor:
            return rest - rest.lo // divisor * divisor
        for factor in _common_factors(rest, divisor):
            high, low = _split(rest, factor)
            if low.lo >= 0 and low.hi < factor:
                return high % (divisor // factor) * factor + low
        if not rest.constant and len(rest.terms) == 1:
            (atom, coefficient), = rest.terms
            if coefficient == 1 and isinstance(atom, Remainder) and atom.divisor % divisor == 0:  # (x % (a * b)) % b = x % b
                return atom.x % divisor
        return _atom(Remainder(rest, divisor))

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + as_index(other) * -1

    def __rsub__(self, other: int) -> Index:
        return self * -1 + other

    __radd__ = __add__
    __rmul__ = __mul__


def as_index(value: Index | int) -> Index:
    return value if isinstance(value, Index) else Index(int(value))


def variable(loop: LoopVar) -> Index:
    """A loop variable as an index; a loop of one iteration is the constant 0."""
    return Index() if loop.extent <= 1 else _atom(loop)


def loaded(value: ir.Expr, lo: int, hi: int) -> Index:
    """A value of the kernel (int64) as an index that a guard keeps in [lo, hi]."""
    return _atom(Loaded(value, lo, hi))


def _atom(atom: Atom) -> Index:
    return Index(0, frozenset({(atom, 1)}))


def _split(x: Index, divisor: int) -> tuple[Index, Index]:
    """(whole, rest) with x = divisor * whole + rest, every multiple of the divisor moved into `whole`."""
    whole = frozenset((a, c // divisor) for a, c in x.terms if c % divisor == 0)
    rest = frozenset((a, c) for a, c in x.terms if c % divisor)
    return Index(x.constant // divisor, whole), Index(x.constant % divisor, rest)


def _common_factors(x: Index, divisor: int) -> list[int]:
    """Divisors of `divisor` shared with a coefficient of x, largest first: candidates to cancel."""
    return sorted({math.gcd(divisor, c) for _, c in x.terms} - {1, divisor}, reverse=True)


def _joined(constant: int, terms: Terms) -> Index:
    """The sum, with each pair c * d * (x // d) + c * (x % d) joined to c * x."""
    for atom, coefficient in list(terms.items()):
        if not isinstance(atom, Remainder) or not terms.get(atom):
            continue
        quotient = atom.x // atom.divisor
        if quotient.constant or len(quotient.terms) != 1:
            continue
        (partner, inner), = quotient.terms
        if terms.get(partner) == coefficient * atom.divisor * inner:
            rest = {a: c for a, c in terms.items() if a not in (atom, partner)}
            return Index(constant, frozenset((a, c) for a, c in rest.items() if c)) + atom.x * coefficient
        whole = coefficient * atom.divisor
        above = next((a for a, c in terms.items() if isinstance(a, Remainder) and a.x == quotient and c == whole), None)
        if above is not None:
            rest = {a: c for a, c in terms.items() if a not in (atom, above)}
            joined = atom.x % (atom.divisor * above.divisor) * coefficient
            return Index(constant, frozenset((a, c) for a, c in rest.items() if c)) + joined
    return Index(constant, frozenset((a, c) for a, c in terms.items() if c))


@lru_cache(maxsize=4096)
def flatten(index: tuple[Index, ...], dims: tuple[int, ...]) -> Index:
    """The row-major position of `index` in an array of shape `dims`."""
    position = Index()
    for each, dim in zip(index, dims, strict=True):
        position = position * dim + each
    return position


@lru_cache(maxsize=4096)
def unflatten(position: Index, dims: tuple[int, ...]) -> tuple[Index, ...]:
    """The index at row-major `position` of an array of shape `dims`; undoes `flatten`."""
    index: list[Index] = []
    stride = 1
    for axis in reversed(range(len(dims))):
        quotient = position // stride
        # The leading index needs no remainder: a position is below the number of elements.
        index.append(Index() if dims[axis] <= 1 else quotient if math.prod(dims[:axis]) == 1 else quotient % dims[axis])
        stride *= max(dims[axis], 1)
    return tuple(reversed(index))


def unsimplified(x: Index) -> Iterator[Quotient | Remainder]:
    """The quotients and remainders left in `x`, outer first."""
    for atom, _ in x.terms:
        if isinstance(atom, Quotient | Remainder):
            yield atom
            yield from unsimplified(atom.x)


def loop_vars(x: Index) -> Iterator[LoopVar]:
    """The loop variables of `x` (those inside loaded values are seen by `loaded_values` only)."""
    for atom, _ in x.terms:
        if isinstance(atom, LoopVar):
            yield atom
        elif isinstance(atom, Quotient | Remainder):
            yield from loop_vars(atom.x)


def loaded_values(x: Index) -> Iterator[ir.Expr]:
    """The kernel values that `x` is made of."""
    for atom, _ in x.terms:
        if isinstance(atom, Loaded):
            yield atom.value
        elif isinstance(atom, Quotient | Remainder):
            yield from loaded_values(atom.x)


def to_expr(x: Index) -> ir.Expr:
    """`x` as an int64 expression of the kernel IR, its terms in a fixed order: large coefficients first, so row before column; what is
    subtracted comes last."""
    terms = sorted(x.terms, key=lambda term: (-abs(term[1]), _order(term[0])))
    plus = [_scaled(atom, c) for atom, c in terms if c > 0]
    minus = [_scaled(atom, -c) for atom, c in terms if c < 0]
    if x.constant > 0 or not plus:
        plus.append(ir.index(max(x.constant, 0)))
    if x.constant < 0:
        minus.append(ir.index(-x.constant))
    total = plus[0]
    for part in plus[1:]:
        total = _int64("add", total, part)
    for part in minus:
        total = _int64("subtract", total, part)
    return total


def _scaled(atom: Atom, coefficient: int) -> ir.Expr:
    value = _atom_expr(atom)
    return value if coefficient == 1 else _int64("multiply", value, ir.index(coefficient))


def _order(atom: Atom) -> str:
    return atom.name if isinstance(atom, LoopVar) else repr(atom)


def _atom_expr(atom: Atom) -> ir.Expr:
    match atom:
        case LoopVar():
            return ir.Var(atom.name)
        case Loaded():
            return atom.value
        case Quotient():
            # The IR divides toward zero: lift a dividend that may be negative by whole divisors, and take them off again.
            lift = max(0, -(atom.x.lo // atom.divisor))
            quotient = _int64("divide", to_expr(atom.x + lift * atom.divisor), ir.index(atom.divisor))
            return quotient if not lift else _int64("subtract", quotient, ir.index(lift))
        case Remainder():
            lift = max(0, -(atom.x.lo // atom.divisor))
            return _int64("remainder", to_expr(atom.x + lift * atom.divisor), ir.index(atom.divisor))


def _int64(op: str, *args: ir.Expr) -> ir.Expr:
    return ir.Apply(op, args, dtypes.int64)


NEVER = ir.Const(False, dtypes.bool)


def within(ranges: Iterable[tuple[Index | int, int, int]]) -> ir.Expr | None:
    """lo <= x < hi for every (x, lo, hi), as a bool expression; None where the bounds of the x say always, NEVER where they say never."""
    tests: list[ir.Expr] = []
    for value, low, high in ranges:
        x, lo, hi = without_division(as_index(value), low, high)
        if x.hi < lo or x.lo >= hi or hi <= lo:
            return NEVER
        if x.lo < lo:
            tests.append(_compare("ge", x, lo))
        if x.hi >= hi:
            tests.append(_compare("lt", x, hi))
    return conjunction(tests)


def without_division(x: Index, lo: int, hi: int) -> tuple[Index, int, int]:
    """lo <= y // d < hi  ->  lo * d <= y < hi * d."""
    if not x.constant and len(x.terms) == 1:
        (atom, coefficient), = x.terms
        if coefficient == 1 and isinstance(atom, Quotient):
            return without_division(atom.x, lo * atom.divisor, hi * atom.divisor)
    return x, lo, hi


def _compare(op: str, x: Index, bound: int) -> ir.Expr:
    # Constants go to the right: i + 3 < 10 is tested as i < 7.
    return ir.Apply(op, (to_expr(x - x.constant), ir.index(bound - x.constant)), dtypes.bool)


def conjunction(tests: Iterable[ir.Expr | None]) -> ir.Expr | None:
    """All of `tests` at once; None (always true) for none."""
    result: ir.Expr | None = None
    for test in dict.fromkeys(tests):
        if test is not None:
            result = test if result is None else ir.Apply("and", (result, test), dtypes.bool)
    return result
