"""What is known of an index before the kernel runs: its bounds, and how it changes from one part of a thread's work to the next.

Two printers' questions are answered here. Does a 64-bit index fit in 32 bits, so that the GPU need not compute with two registers? And do
the parts of a thread, iterations n, n + 1, ... of one loop, touch neighbouring elements from an aligned place on, so that one access moves
them all?
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graphc.core.dtypes import DType

_INT, _INT64 = 1 << 31, 1 << 63
UNKNOWN = 1 << 200  # beyond any integer type


@dataclass(frozen=True)
class Fact:
    """low <= value <= high. At part p the value is base + step * p, and `multiple` divides base (0: base is 0). step None: nothing known
    of the other parts; step 0: the same for all parts."""

    low: int = -UNKNOWN
    high: int = UNKNOWN
    step: int | None = None
    multiple: int = 1

    @property
    def fits_int(self) -> bool:
        return self.low >= -_INT and self.high < _INT

    @property
    def is_known(self) -> bool:
        """Whether the bounds are known, and those of an int64, so that it does not wrap around."""
        return self.low >= -_INT64 and self.high < _INT64


def of_constant(value: int) -> Fact:
    return Fact(value, value, 0, abs(value))


def of_type(dtype: DType, step: int | None) -> Fact:
    """Any value of an integer type, or nothing where it is 64 bits wide: those may wrap around."""
    if dtype.is_bool:
        return Fact(0, 1, step)
    return Fact(int(dtype.min), int(dtype.max), step) if dtype.is_integer and dtype.size < 8 else Fact(step=step)


def of_loop(extent: int) -> Fact:
    """A loop variable, the same for all parts."""
    return Fact(0, max(extent - 1, 0), 0, 1)


def of_parts(extent: int, parts: int) -> Fact:
    """The variable whose consecutive iterations are the parts, from a multiple of `parts` on."""
    return Fact(0, max(extent - 1, 0), 1, parts)


def combine(op: str, args: Sequence[Fact], parts: int = 1) -> Fact:
    """The fact of `op`, an operation on int64, from those of its operands, where a thread has `parts` parts."""
    step = 0 if all(arg.step == 0 for arg in args) else None
    if op in _AFFINE:
        result = _AFFINE[op](*args)
        return result if all(arg.is_known for arg in args) else replace(result, low=-UNKNOWN, high=UNKNOWN)
    if not all(arg.is_known for arg in args):
        return Fact(step=step)
    if op in ("divide", "remainder") and args[0].low >= 0 and args[1].low == args[1].high > 0:
        return (_divide if op == "divide" else _remainder)(args[0], args[1].low, parts)
    if op in _BOUNDS:
        return Fact(*_BOUNDS[op](*args), step=step)
    return Fact(step=step)


def _add(a: Fact, b: Fact) -> Fact:
    step = None if a.step is None or b.step is None else a.step + b.step
    return Fact(a.low + b.low, a.high + b.high, step, math.gcd(a.multiple, b.multiple))


def _negate(a: Fact) -> Fact:
    return Fact(-a.high, -a.low, None if a.step is None else -a.step, a.multiple)


def _multiply(a: Fact, b: Fact) -> Fact:
    if a.low == a.high:
        a, b = b, a
    step = 0 if a.step == b.step == 0 else a.step * b.low if b.low == b.high and a.step is not None else None
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Fact(min(ends), max(ends), step, a.multiple * b.multiple)


def _divide(a: Fact, by: int, parts: int) -> Fact:
    """All parts have one quotient where they stay between two multiples of `by`."""
    step = 0 if a.step == 0 or _stay_between(a, by, parts) else None
    return Fact(a.low // by, a.high // by, step, a.multiple // by if a.multiple % by == 0 else 1)


def _remainder(a: Fact, by: int, parts: int) -> Fact:
    stays = _stay_between(a, by, parts)
    step = 0 if a.step == 0 else a.step if stays else None
    return Fact(0, min(a.high, by - 1), step, math.gcd(a.multiple, by))


def _stay_between(a: Fact, by: int, parts: int) -> bool:
    """The base is a multiple of g = gcd(multiple, by), so it lies at least g below the next multiple of `by`."""
    return a.step is not None and a.step >= 0 and a.step * (parts - 1) < math.gcd(a.multiple, by)


_AFFINE: dict[str, Callable[..., Fact]] = {
    "add": _add,
    "subtract": lambda a, b: _add(a, _negate(b)),
    "multiply": _multiply,
    "negate": _negate,
}
_BOUNDS: dict[str, Callable[..., tuple[int, int]]] = {
    "maximum": lambda a, b: (max(a.low, b.low), max(a.high, b.high)),
    "minimum": lambda a, b: (min(a.low, b.low), min(a.high, b.high)),
    "clamp": lambda low, a, high: (min(max(a.low, low.low), high.low), min(max(a.high, low.high), high.high)),
    "select": lambda a, b: (min(a.low, b.low), max(a.high, b.high)),
    "abs": lambda a: (0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high)), max(abs(a.low), abs(a.high))),
}
