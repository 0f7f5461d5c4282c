"""Writing arithmetic on vectors as one would write it on paper: `v.fma(x, 0.5, y)`, `v.select(v.lt(x, 0.0), y, x)`.

A `Vec` is an emitter that knows one float type (float or double), its lanes and the target, and names the float, the integer of the same
width and the mask of the same lanes. Operands are registers or Python numbers, which become constants. Used wherever bits are handled:
elementary functions, conversions of the half types.
"""
from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target

Operand = str | float | int


def vector(element: str, lanes: int) -> str:
    """`element` itself for one lane, or a vector of it: vector("i1", 16) is "<16 x i1>"."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def mangled(element: str, lanes: int) -> str:
    """The suffix of an intrinsic's name: mangled("float", 16) is "v16f32"."""
    short = {"float": "f32", "double": "f64"}.get(element, element)
    return short if lanes == 1 else f"v{lanes}{short}"


def constant(text: str, element: str, lanes: int) -> str:
    """The scalar constant `text` of type `element` in every lane."""
    return text if lanes == 1 else f"splat ({element} {text})"


def float_text(value: float) -> str:
    """`value` exactly, as LLVM writes float and double constants alike: the bits of the double of the same value."""
    if math.isnan(value):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


@dataclass(frozen=True)
class Vec:
    """Arithmetic on `lanes` elements of "float" or "double" (`element`), emitted into `e`.

    No fast-math flags: what is written is what is computed.
    """

    e: Emitter
    target: Target
    element: str
    lanes: int

    # Types

    @property
    def bits(self) -> int:
        return 32 if self.element == "float" else 64

    @property
    def float_type(self) -> str:
        return vector(self.element, self.lanes)

    @property
    def int_type(self) -> str:
        return vector(f"i{self.bits}", self.lanes)

    @property
    def mask_type(self) -> str:
        return vector("i1", self.lanes)

    def number(self, value: Operand) -> str:
        """A float operand: a register as it is, a number as a constant (rounded to float32 where that is the type)."""
        if isinstance(value, str):
            return value
        return constant(float_text(self.rounded(value)), self.element, self.lanes)

    def rounded(self, value: float) -> float:
        """A Python number as this float type holds it."""
        exact = self.bits == 64 or not math.isfinite(value)
        return float(value) if exact else float(struct.unpack("<f", struct.pack("<f", value))[0])

    def integer(self, value: Operand) -> str:
        """An integer operand: a register as it is, a number as a constant."""
        return value if isinstance(value, str) else constant(str(value), f"i{self.bits}", self.lanes)

    # Float arithmetic

    def _float(self, op: str, a: Operand, b: Operand) -> str:
        return self.e.let(f"{op} {self.float_type} {self.number(a)}, {self.number(b)}")

    def add(self, a: Operand, b: Operand) -> str:
        return self._float("fadd", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        return self._float("fsub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        return self._float("fmul", a, b)

    def div(self, a: Operand, b: Operand) -> str:
        return self._float("fdiv", a, b)

    def neg(self, a: Operand) -> str:
        return self.e.let(f"fneg {self.float_type} {self.number(a)}")

    def fma(self, a: Operand, b: Operand, c: Operand) -> str:
        """a*b + c, rounded once where the target has the instruction, twice where it has not."""
        return self.intrinsic("fma", a, b, c) if self.target.has_fma else self.add(self.mul(a, b), c)

    def polynomial(self, x: Operand, coefficients: tuple[float, ...], square: Operand) -> str:
        """c[0] + x (c[1] + c[2] x + ...), the bracket by Horner's scheme in `square` = x**2 over pairs c[k] + c[k+1] x.

        As many operations as Horner's scheme in x, in half as many dependent steps. The last step alone decides the rounding.
        """
        constant_term, *rest = coefficients
        pairs = [self.fma(x, high, low) for low, high in zip(rest[::2], rest[1::2], strict=False)]
        result: Operand = rest[-1] if len(rest) % 2 else pairs.pop()
        for pair in reversed(pairs):
            result = self.fma(result, square, pair)
        return self.fma(result, x, constant_term)

    def intrinsic(self, name: str, *args: Operand) -> str:
        """A call of `llvm.<name>` on floats: fabs, sqrt, copysign, ..."""
        symbol = f"@llvm.{name}.{mangled(self.element, self.lanes)}"
        self.e.declare(f"{self.float_type} {symbol}({', '.join([self.float_type] * len(args))})")
        return self.e.let(f"call {self.float_type} {symbol}({', '.join(f'{self.float_type} {self.number(a)}' for a in args)})")

    def abs(self, a: Operand) -> str:
        return self.intrinsic("fabs", a)

    def sqrt(self, a: Operand) -> str:
        return self.intrinsic("sqrt", a)

    def copysign(self, magnitude: Operand, sign: Operand) -> str:
        return self.intrinsic("copysign", magnitude, sign)

    # Comparisons: false for NaN, but for `ne` and `unordered`

    def _compare(self, how: str, a: Operand, b: Operand) -> str:
        return self.e.let(f"fcmp {how} {self.float_type} {self.number(a)}, {self.number(b)}")

    def lt(self, a: Operand, b: Operand) -> str:
        return self._compare("olt", a, b)

    def le(self, a: Operand, b: Operand) -> str:
        return self._compare("ole", a, b)

    def gt(self, a: Operand, b: Operand) -> str:
        return self._compare("ogt", a, b)

    def ge(self, a: Operand, b: Operand) -> str:
        return self._compare("oge", a, b)

    def eq(self, a: Operand, b: Operand) -> str:
        return self._compare("oeq", a, b)

    def ne(self, a: Operand, b: Operand) -> str:
        return self._compare("une", a, b)

    def unordered(self, a: Operand, b: Operand) -> str:
        """Whether either is NaN."""
        return self._compare("uno", a, b)

    def select(self, mask: str, a: Operand, b: Operand) -> str:
        return self.e.let(f"select {self.mask_type} {mask}, {self.float_type} {self.number(a)}, {self.float_type} {self.number(b)}")

    def min(self, a: Operand, b: Operand) -> str:
        """a < b ? a : b, one instruction on x86; b where either is NaN."""
        return self.select(self.lt(a, b), a, b)

    def max(self, a: Operand, b: Operand) -> str:
        """a > b ? a : b, one instruction on x86; b where either is NaN."""
        return self.select(self.gt(a, b), a, b)

    # Bits and integers of the same width

    def bits_of(self, a: Operand) -> str:
        return self.e.let(f"bitcast {self.float_type} {self.number(a)} to {self.int_type}")

    def from_bits(self, a: str) -> str:
        return self.e.let(f"bitcast {self.int_type} {a} to {self.float_type}")

    def int_to_float(self, a: str) -> str:
        return self.e.let(f"sitofp {self.int_type} {a} to {self.float_type}")

    def float_to_int(self, a: str) -> str:
        """Truncation; the caller keeps `a` in range, else the result is poison."""
        return self.e.let(f"fptosi {self.float_type} {a} to {self.int_type}")

    def int_op(self, op: str, a: Operand, b: Operand) -> str:
        """An LLVM integer instruction: "add", "sub", "and", "or", "xor", "shl", "lshr", "ashr"."""
        return self.e.let(f"{op} {self.int_type} {self.integer(a)}, {self.integer(b)}")

    def int_compare(self, how: str, a: Operand, b: Operand) -> str:
        """icmp: "eq", "ne", "slt", "ult", "uge", ..."""
        return self.e.let(f"icmp {how} {self.int_type} {self.integer(a)}, {self.integer(b)}")

    def int_select(self, mask: str, a: Operand, b: Operand) -> str:
        return self.e.let(f"select {self.mask_type} {mask}, {self.int_type} {self.integer(a)}, {self.int_type} {self.integer(b)}")

    def mask_op(self, op: str, a: str, b: str) -> str:
        """"and", "or", "xor" of two masks."""
        return self.e.let(f"{op} {self.mask_type} {a}, {b}")

    def not_(self, a: str) -> str:
        """The complement of a mask."""
        return self.e.let(f"xor {self.mask_type} {a}, {constant('true', 'i1', self.lanes)}")
