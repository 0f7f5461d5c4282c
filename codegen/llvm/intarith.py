"""Integer operations with the results that docs/design.md defines: x / 0 is -1, INT_MIN / -1 is INT_MIN, wide shifts give 0, sums wrap."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.types import literal, reg_type
from graphc.codegen.llvm.vec import vector
from graphc.core.dtypes import DType


@dataclass(frozen=True)
class Int:
    """Arithmetic on `lanes` integers of `dtype`. Operands are registers or Python integers."""

    e: Emitter
    dtype: DType
    lanes: int

    @property
    def type(self) -> str:
        return reg_type(self.dtype, self.lanes)

    @property
    def width(self) -> int:
        return 8 * self.dtype.size

    @property
    def signed(self) -> bool:
        return not self.dtype.is_unsigned

    def number(self, value: str | int) -> str:
        return value if isinstance(value, str) else literal(value, self.dtype, self.lanes)

    def op(self, name: str, x: str | int, y: str | int) -> str:
        """An LLVM integer instruction: "add", "shl", "udiv", ..."""
        return self.e.let(f"{name} {self.type} {self.number(x)}, {self.number(y)}")

    def is_(self, how: str, x: str | int, y: str | int) -> str:
        """icmp: "eq", "ult", or "lt" and "gt" by the signedness of the type."""
        if how in ("lt", "gt", "le", "ge"):
            how = ("s" if self.signed else "u") + how
        return self.e.let(f"icmp {how} {self.type} {self.number(x)}, {self.number(y)}")

    def select(self, mask: str, x: str | int, y: str | int) -> str:
        return self.e.let(f"select {vector('i1', self.lanes)} {mask}, {self.type} {self.number(x)}, {self.type} {self.number(y)}")


def _simple(instruction: str) -> Callable[..., str]:
    return lambda v, x, y: v.op(instruction, x, y)


def _abs(v: Int, x: str) -> str:
    return v.select(v.is_("lt", x, 0), v.op("sub", 0, x), x) if v.signed else x


def _sign(v: Int, x: str) -> str:
    positive = v.select(v.is_("gt", x, 0), 1, 0)
    return v.select(v.is_("lt", x, 0), -1, positive) if v.signed else positive


def _constant_divisor(v: Int, y: str) -> int | None:
    """The value of a divisor that is a constant, None for a register."""
    if y.startswith("%"):
        return None
    text = y.split()[-1].rstrip(")")
    return 0 if text == "zeroinitializer" else int(text)


def _divide(v: Int, x: str, y: str) -> str:
    """Truncates. x / 0 has all bits set; INT_MIN / -1 is INT_MIN."""
    known = _constant_divisor(v, y)
    if known is not None and known not in (0, -1):
        return v.op("sdiv" if v.signed else "udiv", x, y)  # LLVM multiplies by the reciprocal
    by_zero = v.is_("eq", y, 0)
    if not v.signed:
        return v.select(by_zero, -1, _quotient(v, x, v.select(by_zero, 1, y)))
    by_minus_one = v.is_("eq", y, -1)
    unsafe = v.e.let(f"or {vector('i1', v.lanes)} {by_zero}, {by_minus_one}")
    quotient = _quotient(v, x, v.select(unsafe, 1, y))
    return v.select(by_zero, -1, v.select(by_minus_one, v.op("sub", 0, x), quotient))


def _quotient(v: Int, x: str, y: str) -> str:
    """x / y truncated, for y that is neither 0 nor -1.

    No machine divides vectors of integers, but the quotient of two n-bit integers as floats with more than n+1 bits truncates to the same:
    x/y is either an integer or at least a relative 1/x from the next one, more than the rounding error.
    """
    instruction = "sdiv" if v.signed else "udiv"
    if v.lanes == 1 or v.width == 64:
        return v.op(instruction, x, y)
    floats = vector("double" if v.width == 32 else "float", v.lanes)
    to_float, to_int = ("sitofp", "fptosi") if v.signed else ("uitofp", "fptoui")
    dividend, divisor = (v.e.let(f"{to_float} {v.type} {operand} to {floats}") for operand in (x, y))
    return v.e.let(f"{to_int} {floats} {v.e.let(f'fdiv {floats} {dividend}, {divisor}')} to {v.type}")


def _remainder(v: Int, x: str, y: str) -> str:
    """x - (x / y) y, with the sign of x; x rem 0 is x."""
    known = _constant_divisor(v, y)
    if known is not None and known not in (0, -1):
        return v.op("srem" if v.signed else "urem", x, y)
    return v.op("sub", x, v.op("mul", _divide(v, x, y), y))


def _shift(instruction: str) -> Callable[..., str]:
    # A shift by the width or more is poison in LLVM, which a select may leave unchosen. Unsigned: a negative amount is a large one.
    return lambda v, x, y: v.select(v.is_("ult", y, v.width), v.op(instruction, x, y), 0)


def _shift_right_arithmetic(v: Int, x: str, y: str) -> str:
    """Fills with the sign; an unsigned type has none."""
    if not v.signed:
        return _shift("lshr")(v, x, y)
    return v.op("ashr", x, v.select(v.is_("ult", y, v.width), y, v.width - 1))


def _maximum(v: Int, x: str, y: str) -> str:
    return v.select(v.is_("gt", x, y), x, y)


def _minimum(v: Int, x: str, y: str) -> str:
    return v.select(v.is_("lt", x, y), x, y)


def _power(v: Int, base: str, exponent: str) -> str:
    """By squaring, as long as any lane has exponent bits left; wraps. Negative exponents give 0 (1 for base 1, +-1 for base -1)."""
    e, kind = v.e, v.type
    before, loop, done = e.block, e.new_label("power"), e.new_label("power_done")
    e.do(f"br label %{loop}")
    e.label(loop)
    # The values that go around are named by the label: a phi must name them before they are computed.
    result, square, left = (f"%{loop}.{name}" for name in ("result", "square", "left"))
    e.do(f"{result} = phi {kind} [ {v.number(1)}, %{before} ], [ {result}.next, %{loop} ]")
    e.do(f"{square} = phi {kind} [ {base}, %{before} ], [ {square}.next, %{loop} ]")
    e.do(f"{left} = phi {kind} [ {exponent}, %{before} ], [ {left}.next, %{loop} ]")
    odd = v.is_("ne", v.op("and", left, 1), 0)
    e.do(f"{result}.next = select {vector('i1', v.lanes)} {odd}, {kind} {v.op('mul', result, square)}, {kind} {result}")
    e.do(f"{square}.next = mul {kind} {square}, {square}")
    e.do(f"{left}.next = lshr {kind} {left}, {v.number(1)}")
    any_left = f"{left}.next" if v.lanes == 1 else _or_of_lanes(v, f"{left}.next")
    e.do(f"br i1 {e.let(f'icmp ne i{v.width} {any_left}, 0')}, label %{loop}, label %{done}")
    e.label(done)
    if not v.signed:
        return f"{result}.next"
    # The loop read a negative exponent as a large even or odd one, which is right for the bases 1 and -1.
    unit = v.is_("ult", v.op("add", base, 1), 3)
    nonzero = v.is_("ne", base, 0)
    keeps = e.let(f"and {vector('i1', v.lanes)} {unit}, {nonzero}")
    negative = v.select(keeps, f"{result}.next", 0)
    return v.select(v.is_("lt", exponent, 0), negative, f"{result}.next")


def _or_of_lanes(v: Int, x: str) -> str:
    name = f"@llvm.vector.reduce.or.v{v.lanes}i{v.width}"
    v.e.declare(f"i{v.width} {name}({v.type})")
    return v.e.let(f"call i{v.width} {name}({v.type} {x})")


OPERATIONS: dict[str, Callable[..., str]] = {
    "add": _simple("add"),
    "subtract": _simple("sub"),
    "multiply": _simple("mul"),
    "divide": _divide,
    "remainder": _remainder,
    "power": _power,
    "negate": lambda v, x: v.op("sub", 0, x),
    "abs": _abs,
    "sign": _sign,
    "maximum": _maximum,
    "minimum": _minimum,
    "clamp": lambda v, low, x, high: _minimum(v, _maximum(v, low, x), high),
    "and": _simple("and"),
    "or": _simple("or"),
    "xor": _simple("xor"),
    "not": lambda v, x: v.op("xor", x, -1),
    "shift_left": _shift("shl"),
    "shift_right_logical": _shift("lshr"),
    "shift_right_arithmetic": _shift_right_arithmetic,
}
