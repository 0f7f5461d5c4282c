"""The few AVX-512 instructions that LLVM has no portable name for, for vectors that fill a 512-bit register."""
from __future__ import annotations

from graphc.codegen.llvm.vec import Vec

_CURRENT_ROUNDING = 4


def fits(v: Vec) -> bool:
    """Whether `v` is one full register of a target that has AVX-512: only then may the functions below be used."""
    return v.target.has("avx512f") and v.bits * v.lanes == 512


def scale(v: Vec, x: str, n: str, where: str) -> str:
    """x * 2**floor(n) with overflow to infinity; zero, and no denormal computed, where the mask is false."""
    zero = v.number(0.0)
    return _masked(v, "scalef", [f"{v.float_type} {x}", f"{v.float_type} {n}", f"{v.float_type} {zero}"], where)


def exponent(v: Vec, x: str) -> str:
    """floor(log2(|x|)) as a float, right for denormals; -inf for 0, inf for inf, NaN for NaN."""
    return _masked(v, "getexp", [f"{v.float_type} {x}", f"{v.float_type} {v.number(0.0)}"])


def mantissa(v: Vec, x: str) -> str:
    """x scaled by a power of two into [0.75, 1.5), right for denormals; 1 for 0 and inf, NaN for negative numbers."""
    interval_and_sign = 0b1011  # [0.75, 1.5); NaN for negative operands
    return _masked(v, "getmant", [f"{v.float_type} {x}", f"i32 {interval_and_sign}", f"{v.float_type} {v.number(0.0)}"])


def fraction(v: Vec, x: str) -> str:
    """x - floor(x), zero for infinities. Needs AVX512DQ."""
    from_floor = 1
    return _masked(v, "reduce", [f"{v.float_type} {x}", f"i32 {from_floor}", f"{v.float_type} {v.number(0.0)}"])


def _masked(v: Vec, name: str, operands: list[str], where: str | None = None) -> str:
    """A call of `llvm.x86.avx512.mask.<name>`; the last operand gives the lanes whose mask is false."""
    mask_type = f"i{v.lanes}"
    mask = "-1" if where is None else v.e.let(f"bitcast {v.mask_type} {where} to {mask_type}")
    full = [*operands, f"{mask_type} {mask}", f"i32 {_CURRENT_ROUNDING}"]
    symbol = f"@llvm.x86.avx512.mask.{name}.{'ps' if v.bits == 32 else 'pd'}.512"
    parameters = ", ".join(_type_of(operand) for operand in full)
    v.e.declare(f"{v.float_type} {symbol}({parameters})")
    return v.e.let(f"call {v.float_type} {symbol}({', '.join(full)})")


def _type_of(operand: str) -> str:
    """The type of a typed operand: "<16 x float>" of "<16 x float> %t1"."""
    return operand[: operand.index(">") + 1] if operand.startswith("<") else operand.split()[0]
