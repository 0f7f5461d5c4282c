"""The words of the LLVM printer: the emitter, the spelling of types and constants, and the choice of a target."""
from __future__ import annotations

import math
import struct

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.codegen.llvm import types
from graphc.codegen.llvm.emit import Emitter, Module
from graphc.codegen.llvm.target import Target, available, host
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.elementwise_jit import loop_text


def test_emitter_numbers_values_and_labels() -> None:
    e = Emitter("define i32 @f(i32 %x)")
    assert e.block == "entry"
    first = e.let("add i32 %x, 1")
    loop = e.new_label("loop")
    e.do(f"br label %{loop}")
    e.label(loop)
    assert (first, loop, e.new_label("loop"), e.block) == ("%t0", "loop0", "loop1", "loop0")
    e.do(f"ret i32 {first}")
    text = e.finish("nounwind ").text()
    assert text == "define i32 @f(i32 %x) nounwind {\nentry:\n  %t0 = add i32 %x, 1\n  br label %loop0\nloop0:\n  ret i32 %t0\n}\n"
    llvm.parse_assembly(text).verify()


def test_module_shares_declarations_and_constants() -> None:
    module = Module()
    names = []
    for name in ("f", "g"):
        e = Emitter(f"define float @{name}(float %x)", module)
        e.declare("float @llvm.fabs.f32(float)")
        names.append(e.constant_global("[2 x i32] [i32 1, i32 2]"))
        e.do(f"ret float {e.let('call float @llvm.fabs.f32(float %x)')}")
        e.finish()
    other = module.constant("[2 x i32] [i32 1, i32 3]")
    text = module.text()
    assert names[0] == names[1] != other
    assert text.count("declare float @llvm.fabs.f32") == 1
    llvm.parse_assembly(text).verify()


@pytest.mark.parametrize(
    ("dtype", "register", "memory"),
    [(dtypes.float16, "float", "i16"), (dtypes.bfloat16, "float", "i16"), (dtypes.float32, "float", "float"), (dtypes.bool, "i1", "i8"),
     (dtypes.float64, "double", "double"), (dtypes.int8, "i8", "i8"), (dtypes.uint64, "i64", "i64")],
)  # fmt: skip
def test_types(dtype: DType, register: str, memory: str) -> None:
    assert (types.reg_type(dtype), types.mem_type(dtype)) == (register, memory)
    assert types.reg_type(dtype, 8) == f"<8 x {register}>"
    assert types.mem_type(dtype, 8) == f"<8 x {memory}>"


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, 0.1, -1 / 3, 1e-45, 1e-40, 3.4028234663852886e38, 1e39, math.pi, math.inf, -math.inf, 5e-324, 1e308]
)
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda t: t.name)
def test_float_literals_are_exact(value: float, dtype: DType) -> None:
    """Parsed by LLVM and stored in a constant, they have numpy's bits."""
    with np.errstate(over="ignore"):
        expected = dtype.np_dtype.type(value)
    text = types.literal(value, dtype)
    assert struct.pack("<d", float(expected)) == struct.pack(">Q", int(text, 16))[::-1]
    llvm.parse_assembly(f"@x = constant {types.reg_type(dtype)} {text}").verify()


def test_other_literals() -> None:
    assert types.literal(True, dtypes.bool) == "true"
    assert types.literal(300, dtypes.uint8) == "44"
    assert types.literal(200, dtypes.int8) == "-56"
    assert types.literal(-1, dtypes.uint64) == str(2**64 - 1)
    assert types.literal(7, dtypes.int32, 4) == "splat (i32 7)"
    assert types.literal(math.nan, dtypes.float32) == "0x7FF8000000000000"
    assert types.literal(1 + 2.0**-9, dtypes.bfloat16) == types.literal(1.0, dtypes.float32)  # rounded to what the type holds


def test_splat() -> None:
    e = Emitter("define <4 x float> @f(float %x)")
    assert types.splat(e, "%x", dtypes.float32, 1) == "%x"
    e.do(f"ret <4 x float> {types.splat(e, '%x', dtypes.float32, 4)}")
    llvm.parse_assembly(e.finish().text()).verify()


def test_lanes_fill_a_register() -> None:
    for t in available():
        assert t.lanes(dtypes.float32) == t.lanes(dtypes.float16) == t.vector_bits // 32
        assert t.lanes(dtypes.float64) == t.lanes(dtypes.int64) == t.vector_bits // 64
        assert t.lanes(dtypes.int8) == t.lanes(dtypes.bool) == t.vector_bits // 8


def test_narrow_targets_are_what_an_older_machine_has() -> None:
    for t in available():
        if not t.is_x86:
            continue
        assert t.has("avx512f") == (t.vector_bits == 512)
        assert t.has("avx2") == t.has("fma") == t.has("f16c") == t.has_fma == (t.vector_bits >= 256)
        assert t.has("sse4.1") == (t.vector_bits >= 256)
        text = loop_text(t, "exponential", dtypes.float32, t.lanes(dtypes.float32), (dtypes.float32,))
        assembly = t.target_machine().emit_assembly(llvm.parse_assembly(text))
        assert ("zmm" in assembly, "ymm" in assembly) == (t.vector_bits == 512, t.vector_bits == 256)
        assert ("vfmadd" in assembly) == t.has_fma


def test_no_target_wider_than_the_machine() -> None:
    narrow = available()[-1]
    with pytest.raises(ValueError, match="has vectors of 128 bits; 512 were asked for"):
        narrow.with_vector_bits(512)
    with pytest.raises(ValueError, match="must be one of 512, 256, 128; got 64"):
        narrow.with_vector_bits(64)


def test_environment_narrows_but_never_widens(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = available()[0]
    monkeypatch.setenv("GRAPHC_VECTOR_BITS", "128")
    assert host() == widest.with_vector_bits(128)
    monkeypatch.setenv("GRAPHC_VECTOR_BITS", "512")
    assert host() == widest
    monkeypatch.setenv("GRAPHC_VECTOR_BITS", "100")
    with pytest.raises(ValueError, match="GRAPHC_VECTOR_BITS must be one of 512, 256, 128; got '100'"):
        host()


def test_target_machine_is_made_once() -> None:
    t = host()
    same = Target(t.name, t.vector_bits, t.features, t.cpu)
    assert t.target_machine() is same.target_machine()
