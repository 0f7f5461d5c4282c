"""Conversions between every pair of element types, with the results that docs/design.md defines.

Float to integer saturates and NaN gives 0; integer to narrower integer wraps; anything to bool is `!= 0`; to a half type rounds once, to
nearest even.
"""
from __future__ import annotations

from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target
from graphc.codegen.llvm.types import literal, reg_element, reg_type, rounded
from graphc.codegen.llvm.vec import Vec, mangled, vector
from graphc.core import dtypes
from graphc.core.dtypes import DType


def convert(e: Emitter, target: Target, x: str, source: DType, dtype: DType, lanes: int) -> str:
    """The register `x` of `source` as a register of `dtype`."""
    if source is dtype:
        return x
    if dtype.is_bool:
        zero = literal(0, source, lanes)
        return e.let(f"{'fcmp une' if source.is_floating else 'icmp ne'} {reg_type(source, lanes)} {x}, {zero}")
    if dtype.is_integer:
        if source.is_floating:
            return _float_to_int(Vec(e, target, reg_element(source), lanes), x, dtype)
        return _int_to_int(e, x, source, dtype, lanes)
    if source.is_floating:
        value = _float_to_float(e, target, x, source, dtype, lanes)
    else:
        instruction = "sitofp" if source.is_integer and not source.is_unsigned else "uitofp"
        value = e.let(f"{instruction} {reg_type(source, lanes)} {x} to {reg_type(dtype, lanes)}")
    return rounded(e, target, value, dtype, lanes) if dtype.size == 2 else value


def bitcast(e: Emitter, x: str, source: DType, dtype: DType, lanes: int) -> str:
    """The bits of `x` as a register of `dtype`, of the same width: LLVM's integers have no sign, so two of them are one type."""
    before, after = reg_type(source, lanes), reg_type(dtype, lanes)
    return x if before == after else e.let(f"bitcast {before} {x} to {after}")


def _int_to_int(e: Emitter, x: str, source: DType, dtype: DType, lanes: int) -> str:
    source_bits, bits = (1 if t.is_bool else 8 * t.size for t in (source, dtype))
    if source_bits == bits:
        return x
    extension = "zext" if source.is_bool or source.is_unsigned else "sext"
    instruction = extension if source_bits < bits else "trunc"
    return e.let(f"{instruction} {reg_type(source, lanes)} {x} to {reg_type(dtype, lanes)}")


def _float_to_int(v: Vec, x: str, dtype: DType) -> str:
    """Truncates, then puts the limits where x is beyond them (what the instruction gave there is unused) and 0 where x is NaN.

    Not `llvm.fptosi.sat`, which LLVM takes apart into scalars. Both limits are exact as floats: a power of two each, or zero.
    """
    low = 0 if dtype.is_unsigned else -(1 << (8 * dtype.size - 1))
    span = 1 << (8 * dtype.size)
    ints = reg_type(dtype, v.lanes)
    result = v.e.let(f"fpto{'u' if dtype.is_unsigned else 's'}i {v.float_type} {x} to {ints}")
    for beyond, limit in ((v.lt(x, float(low)), low), (v.ge(x, float(low + span)), low + span - 1), (v.unordered(x, x), 0)):
        result = v.e.let(f"select {v.mask_type} {beyond}, {ints} {literal(limit, dtype, v.lanes)}, {ints} {result}")
    return result


def _float_to_float(e: Emitter, target: Target, x: str, source: DType, dtype: DType, lanes: int) -> str:
    """Between the registers of two float types; the caller rounds to a half type."""
    wide, narrow = vector("double", lanes), vector("float", lanes)
    if reg_element(source) == reg_element(dtype):
        return x
    if source is not dtypes.float64:
        return e.let(f"fpext {narrow} {x} to {wide}")
    single = e.let(f"fptrunc {wide} {x} to {narrow}")
    return single if dtype is dtypes.float32 else _rounded_to_odd(Vec(e, target, "float", lanes), x, single)


def _rounded_to_odd(v: Vec, x: str, single: str) -> str:
    """`single`, the float nearest to the double `x`, made the odd one of x's two neighbours where x lies between two floats.

    Rounding that to a half type then gives what rounding x itself would: an odd float is no tie of the shorter type, and no bit is lost
    that a tie depends on (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    wide = vector("double", v.lanes)
    back = v.e.let(f"fpext {v.float_type} {single} to {wide}")
    inexact = v.e.let(f"fcmp one {wide} {back}, {x}")
    fabs = f"@llvm.fabs.{mangled('double', v.lanes)}"
    v.e.declare(f"{wide} {fabs}({wide})")
    magnitudes = [v.e.let(f"call {wide} {fabs}({wide} {value})") for value in (back, x)]
    above = v.e.let(f"fcmp ogt {wide} {magnitudes[0]}, {magnitudes[1]}")
    bits = v.bits_of(single)
    toward_zero = v.int_select(above, v.int_op("sub", bits, 1), bits)
    return v.from_bits(v.int_select(inexact, v.int_op("or", toward_zero, 1), toward_zero))
