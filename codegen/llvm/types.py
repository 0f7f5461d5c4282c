"""How element types are spelled in LLVM's text, and what happens between memory and registers.

In registers bool is i1 and the half types are float, because that is what they are computed in; in memory bool is i8 (0 or 1: a store of
`<16 x i1>` would pack bits) and the half types are i16. `lanes` = 1 means a scalar everywhere, more means `<lanes x type>`.
"""
from __future__ import annotations

import numpy as np

from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target
from graphc.codegen.llvm.vec import Vec, constant, float_text
from graphc.codegen.llvm.vec import mangled as mangled
from graphc.codegen.llvm.vec import vector as vector
from graphc.core import dtypes
from graphc.core.dtypes import DType

_FLOAT_REGISTERS = {"f16": "float", "bf16": "float", "f32": "float", "f64": "double"}
_FLOAT_MEMORY = {"f16": "i16", "bf16": "i16", "f32": "float", "f64": "double"}


def reg_element(dtype: DType) -> str:
    """The LLVM type of one element in a register."""
    if dtype.is_bool:
        return "i1"
    return _FLOAT_REGISTERS[dtype.code] if dtype.is_floating else f"i{8 * dtype.size}"


def reg_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of a register: "float", "<16 x float>", "<16 x i1>"."""
    return vector(reg_element(dtype), lanes)


def mem_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of `lanes` elements in memory: "i8" for bool, "i16" for the half types."""
    if dtype.is_bool:
        return vector("i8", lanes)
    return vector(_FLOAT_MEMORY[dtype.code] if dtype.is_floating else f"i{8 * dtype.size}", lanes)


def literal(value: float | int | bool, dtype: DType, lanes: int = 1) -> str:
    """`value` as an LLVM constant of a register of `dtype`, without its type. Exact for floats (hexadecimal), inf and NaN included.

    A float that `dtype` cannot hold is rounded to it first, an integer wraps.
    """
    if dtype.is_bool:
        text = "true" if value else "false"
    elif dtype.is_integer:
        text = str(_wrapped(int(value), dtype))
    else:
        with np.errstate(over="ignore"):
            text = float_text(float(dtype.np_dtype.type(value)))
    return constant(text, reg_element(dtype), lanes)


def splat(e: Emitter, reg: str, dtype: DType, lanes: int) -> str:
    """A vector of `lanes` copies of the scalar register `reg` (`reg` itself for one lane)."""
    return splat_element(e, reg, reg_element(dtype), lanes)


def splat_element(e: Emitter, reg: str, element: str, lanes: int) -> str:
    """As `splat`, for an LLVM element type."""
    if lanes == 1:
        return reg
    whole = vector(element, lanes)
    first = e.let(f"insertelement {whole} poison, {element} {reg}, i64 0")
    return e.let(f"shufflevector {whole} {first}, {whole} poison, <{lanes} x i32> zeroinitializer")


def to_register(e: Emitter, target: Target, mem_value: str, dtype: DType, lanes: int = 1) -> str:
    """What a value just loaded (of `mem_type`) is in a register (of `reg_type`)."""
    if dtype.is_bool:
        return e.let(f"icmp ne {vector('i8', lanes)} {mem_value}, {constant('0', 'i8', lanes)}")
    if dtype is dtypes.bfloat16:
        return _bfloat16_to_float(e, target, mem_value, lanes)
    if dtype is dtypes.float16:
        return _float16_to_float(e, target, mem_value, lanes)
    return mem_value


def to_memory(e: Emitter, target: Target, reg_value: str, dtype: DType, lanes: int = 1) -> str:
    """What a register (of `reg_type`) is stored as (of `mem_type`). float32 to the half types rounds to nearest even; NaN stays NaN."""
    if dtype.is_bool:
        return e.let(f"zext {vector('i1', lanes)} {reg_value} to {vector('i8', lanes)}")
    if dtype is dtypes.bfloat16:
        return _float_to_bfloat16(e, target, reg_value, lanes)
    if dtype is dtypes.float16:
        return _float_to_float16(e, target, reg_value, lanes)
    return reg_value


def rounded(e: Emitter, target: Target, reg_value: str, dtype: DType, lanes: int = 1) -> str:
    """The value of a float register rounded to what `dtype` can hold, still in a register: what a store and a load would give."""
    return to_register(e, target, to_memory(e, target, reg_value, dtype, lanes), dtype, lanes)


def _wrapped(value: int, dtype: DType) -> int:
    bits = 8 * dtype.size
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) and not dtype.is_unsigned else value


def _bfloat16_to_float(e: Emitter, target: Target, bits: str, lanes: int) -> str:
    """bfloat16 is the upper half of a float32."""
    v = Vec(e, target, "float", lanes)
    wide = e.let(f"zext {vector('i16', lanes)} {bits} to {v.int_type}")
    return v.from_bits(v.int_op("shl", wide, 16))


def _float_to_bfloat16(e: Emitter, target: Target, value: str, lanes: int) -> str:
    """Rounds to nearest even by adding 0x7FFF plus the last kept bit; a NaN is cut instead, with its quiet bit set."""
    v = Vec(e, target, "float", lanes)
    bits = v.bits_of(value)
    upper = v.int_op("lshr", bits, 16)
    bias = v.int_op("add", v.int_op("and", upper, 1), 0x7FFF)
    nearest = v.int_op("lshr", v.int_op("add", bits, bias), 16)
    chosen = v.int_select(v.unordered(value, value), v.int_op("or", upper, 0x40), nearest)
    return e.let(f"trunc {v.int_type} {chosen} to {vector('i16', lanes)}")


def _has_half_instructions(target: Target) -> bool:
    """F16C on x86; every 64-bit ARM converts halves. Without, LLVM would call __extendhfsf2 of a library that the process may lack."""
    return target.has("f16c") or target.name.startswith("aarch64")


def _float16_to_float(e: Emitter, target: Target, bits: str, lanes: int) -> str:
    v = Vec(e, target, "float", lanes)
    if _has_half_instructions(target):
        half = e.let(f"bitcast {vector('i16', lanes)} {bits} to {vector('half', lanes)}")
        return e.let(f"fpext {vector('half', lanes)} {half} to {v.float_type}")
    wide = e.let(f"zext {vector('i16', lanes)} {bits} to {v.int_type}")
    sign = v.int_op("shl", v.int_op("and", wide, 0x8000), 16)
    # Exponent and mantissa moved into place, then scaled by 2**112 to rebias the exponent: exact, for subnormal halves too.
    moved = v.int_op("shl", v.int_op("and", wide, 0x7FFF), 13)
    finite = v.bits_of(v.mul(v.from_bits(moved), 2.0**112))
    # inf and NaN: the largest exponent stays the largest, a NaN becomes quiet.
    special = v.int_op("or", moved, 0x7F800000)
    quiet = v.int_select(v.int_compare("ugt", moved, 0x7C00 << 13), v.int_op("or", special, 0x400000), special)
    magnitude = v.int_select(v.int_compare("uge", moved, 0x7C00 << 13), quiet, finite)
    return v.from_bits(v.int_op("or", magnitude, sign))


def _float_to_float16(e: Emitter, target: Target, value: str, lanes: int) -> str:
    v = Vec(e, target, "float", lanes)
    if _has_half_instructions(target):
        half = e.let(f"fptrunc {v.float_type} {value} to {vector('half', lanes)}")
        return e.let(f"bitcast {vector('half', lanes)} {half} to {vector('i16', lanes)}")
    bits = v.bits_of(value)
    sign = v.int_op("lshr", v.int_op("and", bits, 0x80000000), 16)
    magnitude = v.int_op("and", bits, 0x7FFFFFFF)
    upper = v.int_op("lshr", magnitude, 13)
    # Normal results: rebias the exponent by 112 and round to nearest even on the 13 dropped bits.
    biased = v.int_op("add", magnitude, 0xFFF - (112 << 23))
    normal = v.int_op("lshr", v.int_op("add", biased, v.int_op("and", upper, 1)), 13)
    # Subnormal results: adding 0.5 aligns the last bit of the sum with that of a subnormal half, and the addition rounds.
    subnormal = v.int_op("sub", v.bits_of(v.add(v.from_bits(magnitude), 0.5)), 0x3F000000)
    finite = v.int_select(v.int_compare("ult", magnitude, 113 << 23), subnormal, normal)
    # 65520 and above round to infinity; a NaN keeps its upper bits and becomes quiet.
    quiet = v.int_op("or", v.int_op("and", upper, 0x1FF), 0x7E00)
    special = v.int_select(v.int_compare("ugt", magnitude, 0x7F800000), quiet, 0x7C00)
    chosen = v.int_select(v.int_compare("uge", magnitude, 0x477FF000), special, finite)
    return e.let(f"trunc {v.int_type} {v.int_op('or', chosen, sign)} to {vector('i16', lanes)}")
