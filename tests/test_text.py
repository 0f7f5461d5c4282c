"""The text of Programs: prints, parses back to the same nodes, every literal to the last bit; malformed text is refused with its place."""
from __future__ import annotations

import contextlib
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import ALL, DType
from graphc.core.parse import ParseError, parse_program
from graphc.core.program import Literal, Node, Origin, Program
from graphc.core.text import print_literal, print_program
from graphc.core.types import TensorType
from graphc.passes.pipelines import DEFAULT, run_pipeline
from tests import groups
from tests.op_cases import CASES
from tests.op_table import Case
from tests.random_programs import programs

F32 = dtypes.float32
SAMPLES = list({case.primitive + str(case.types[0].dtype if case.types else ""): case for case in CASES}.values())


def again(program: Program) -> Program:
    return parse_program(print_program(program))


def literal(array: Any, dtype: DType | None = None) -> str:
    """The literal's text, after a round trip that must keep every bit."""
    node = p.constant(array, dtype)
    back = again(Program((), (node,)))
    assert back.outputs[0] is node
    return print_literal(node.attrs.value)


# Round trips --------------------------------------------------------------------------------------------------------------------------

def test_the_samples_are_of_every_primitive_that_stands_alone() -> None:
    assert len({case.primitive for case in SAMPLES}) > 60


@pytest.mark.parametrize("case", SAMPLES, ids=lambda case: case.id)
def test_every_primitive_parses_back(case: Case) -> None:
    parses_back(case.program())


def test_the_gradient_of_a_filter_parses_back() -> None:
    x, y = (p.parameter(name, TensorType(F32, (2, size, 3))) for name, size in (("x", 7), ("y", 3)))
    parses_back(Program((x, y), (p.convolution_filter(x, y, (2,), (2,), (0,), (1,), rhs_dilation=(2,)),)))


def parses_back(program: Program) -> None:
    assert again(program) == program
    assert again(program).nodes == program.nodes


@given(programs())
@settings(max_examples=50)
def test_random_programs_parse_back_at_every_stage(program: Program) -> None:
    for stage in run_pipeline(program, DEFAULT):
        back = again(stage.program)
        assert back == stage.program
        assert back.nodes == stage.program.nodes
        assert print_program(back) == print_program(stage.program)


def test_the_text_is_as_documented() -> None:
    x, w = p.parameter("x:0", TensorType(F32, (2, 3))), p.variable_read("w", TensorType(F32, (3,)))
    y = p.multiply(x, p.broadcast_in_dim(w, (2, 3), (1,)))
    program = Program((x,), (y,), (p.variable_assign("w", w),), origins={y: (Origin("scale/mul", "Mul", "train.py:12"),)})
    assert print_program(program) == """\
program {
  %0 = parameter() {name = "x:0", type = f32[2,3]} : f32[2,3]
  %1 = variable_read() {variable = "w", type = f32[3]} : f32[3]
  %2 = broadcast_in_dim(%1) {shape = [2, 3], dims = [1]} : f32[2,3]
  %3 = multiply(%0, %2) : f32[2,3]  // scale/mul (train.py:12)
  %4 = variable_assign(%1) {variable = "w"} : f32[3]
  return %3
  effects %4
}"""


def test_the_order_of_nodes_and_unused_parameters_are_kept() -> None:
    x, y = p.parameter("x", TensorType(F32, ())), p.parameter("y", TensorType(F32, ()))
    a, b = p.negate(x), p.exponential(x)
    program = Program((y, x), (p.add(a, b),), nodes=(x, y, b, a, p.add(a, b)))
    back = again(program)
    assert back.nodes == program.nodes
    assert back.parameters == (y, x)


def test_names_of_any_letters_parse_back() -> None:
    for name in ('quote" and \\ slash', "line\nbreak\rreturn", "ünïcode/αβγ", "// no comment", "%0 = {", ""):
        node = p.parameter(name, TensorType(F32, ()))
        assert again(Program((node,), (node,))).parameters == (node,)


def test_origins_come_back_from_the_comments() -> None:
    x = p.parameter("x", TensorType(F32, (2,)))
    y = p.negate(x)
    found = (Origin("a/Neg", "Neg", "/home/me (old)/train.py:3"), Origin("b"))
    back = again(Program((x,), (y,), origins={y: found}))
    assert [(o.operation, o.source) for o in back.origins[y]] == [("a/Neg", "/home/me (old)/train.py:3"), ("b", "")]
    assert x not in back.origins
    assert again(back).origins == back.origins
    assert "//" not in print_program(Program((x,), (y,), origins={y: found}), origins=False)


def test_a_fused_program_holds_the_text_of_its_bodies() -> None:
    x = p.parameter("x", TensorType(F32, (4, 8)))
    fused = run_pipeline(Program((x,), groups.softmax(x)), DEFAULT)[-1].program
    text = print_program(fused)
    assert 'kind = "row", body = program {' in text
    assert parse_program(text) == fused


# Literals -----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_literals_of_every_type_and_shape_are_exact(dtype: DType) -> None:
    generator = np.random.default_rng(0)
    for shape in ((), (0,), (1,), (3,), (2, 0, 3), (4, 4), (5, 7), (40, 30)):
        bits = generator.integers(0, 256, (*shape, dtype.size), dtype=np.uint8)
        array = bits[..., 0] % 2 == 1 if dtype.is_bool else bits.view(dtype.np_dtype)[..., 0]
        literal(array)
    literal(np.full((50, 20), 1, dtype.np_dtype))


def test_literals_say_what_they_hold() -> None:
    assert literal([1.5, -0.0, math.inf, -math.inf], F32) == "dense f32[4] [1.5, -0.0, inf, -inf]"
    assert literal(np.float32("nan")) == "dense f32[] [nan]"
    assert literal(np.zeros((64, 128), np.float32)) == "dense f32[64,128] splat 0.0"
    assert literal([True, False]) == "dense pred[2] [true, false]"
    assert literal([0.1, 3.0], dtypes.bfloat16) == "dense bf16[2] [0.10009765625, 3.0]"
    assert literal([2**64 - 1, 0], dtypes.uint64) == "dense u64[2] [18446744073709551615, 0]"
    assert literal(np.arange(100, dtype=np.int8)).startswith('dense i8[100] base64 "AAECAwQF')
    assert literal(np.zeros((0, 3))) == "dense f64[0,3] []"


def test_a_nan_keeps_its_payload_and_a_zero_its_sign() -> None:
    odd = np.array([0x7FC00001, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32)
    assert "base64" in literal(odd)
    assert Literal(np.float32(0.0)) != Literal(np.float32(-0.0))
    assert literal(np.full(100, -0.0, np.float32)) == "dense f32[100] splat -0.0"


def test_large_literals_are_exact() -> None:
    literal(np.random.default_rng(0).standard_normal((300, 200)))


# Errors -------------------------------------------------------------------------------------------------------------------------------

GOOD = """\
program {
  %0 = parameter() {name = "x", type = f32[2,3]} : f32[2,3]
  %1 = constant() {value = dense f32[3] [1.0, 2.0, 3.0]} : f32[3]
  %2 = broadcast_in_dim(%1) {shape = [2, 3], dims = [1]} : f32[2,3]
  %3 = add(%0, %2) : f32[2,3]
  return %3
}
"""


def test_the_text_that_the_errors_start_from_is_good() -> None:
    program = parse_program(GOOD)
    assert [n.name for n in program.nodes] == ["parameter", "constant", "broadcast_in_dim", "add"]


@pytest.mark.parametrize(("old", "new", "line", "column", "message"), [
    ("program {", "programme {", 1, 1, "expected program, found 'programme'"),
    ("add(%0, %2)", "plus(%0, %2)", 5, 8, "no primitive is called 'plus'"),
    ("add(%0, %2)", "add(%0, %9)", 5, 16, "%9 is not defined above"),
    ("add(%0, %2)", "add(%0, %1)", 5, 8, "add cannot be made: add(f32[2,3], f32[3])"),
    ("add(%0, %2)", "add(%0)", 5, 8, "add takes 2 operands, not 1"),
    ("%3 = add", "%2 = add", 5, 3, "%2 is defined twice"),
    ("%2) : f32[2,3]", "%2) : f32[3,2]", 5, 8, "add gives f32[2,3], not f32[3,2]"),
    ("%2) : f32[2,3]", "%2) : f33[2,3]", 5, 22, "'f33[2,3]' is not a type"),
    ("%2) : f32[2,3]", "%2)", 6, 3, "expected :, found 'return'"),
    ("return %3\n}", "return %3\n", 8, 1, "expected }, found 'the end of the text'"),
    ("return %3\n}", "return %3\n} }", 7, 3, "expected the end of the text, found '}'"),
    ("dims = [1]", "axes = [1]", 4, 8, "broadcast_in_dim has attributes shape, dims, not shape, axes"),
    ("dims = [1]", "dims = [1], dims = [1]", 4, 58, "attribute dims is given twice"),
    ("dims = [1]", "dims = @", 4, 53, "unexpected character '@'"),
    ("dims = [1]", "dims = here", 4, 53, "expected a value, found 'here'"),
    ("dims = [1]", "dims = [5]", 4, 8, "broadcast_in_dim cannot be made"),
    ("dims = [1]", "dims = true", 4, 8, "broadcast_in_dim cannot be made"),
    ("[1.0, 2.0, 3.0]", "[1.0, 2.0]", 3, 28, "the elements do not make f32[3]: 2 values"),
    ("[1.0, 2.0, 3.0]", "[1.0, true, 3.0]", 3, 28, "the elements do not make f32[3]"),
    ("[1.0, 2.0, 3.0]", 'base64 "AAAA"', 3, 28, "the elements do not make f32[3]"),
    ("[1.0, 2.0, 3.0]", 'base64 "A"', 3, 28, "the elements do not make f32[3]"),
    ('name = "x"', 'name = "x', 2, 28, "unexpected character '\"'"),
])
def test_malformed_text_is_refused_with_its_place(old: str, new: str, line: int, column: int, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ParseError, match=re.escape(message)) as caught:
        parse_program(GOOD.replace(old, new, 1))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize("text", ["dense pred[1] [maybe]", "dense i8[1] [300]", "dense u8[2] [1, -1]", "dense i32[1] [1.5]"])
def test_elements_that_a_type_does_not_have_are_refused(text: str) -> None:
    with pytest.raises(ParseError, match=re.escape(f"the elements do not make {text.split()[1]}")):
        parse_program(f"program {{ %0 = constant() {{value = {text}}} : {text.split()[1]}\n return %0 }}")


def _deepest(program: Program) -> str:
    return print_program(run_pipeline(program, DEFAULT)[-1].program)


@given(st.data())
@settings(max_examples=200)
def test_damaged_text_is_a_program_or_a_parse_error(data: st.DataObject) -> None:
    """Whatever is cut out, doubled or exchanged: no other exception comes out."""
    x = p.parameter("x", TensorType(F32, (4, 6)))
    text = _deepest(Program((x,), (*groups.softmax(x), p.constant([1.0, 2.5]), p.transpose(x, (1, 0))), ()))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    piece = data.draw(st.sampled_from(["", "%1", "[", "]", "-1", "0", "{", '"', "true", "f32[2]", "dense", "program", text[start:end] * 2]))
    with contextlib.suppress(ParseError):
        parse_program(text[:start] + piece + text[end:])


def test_a_deep_program_prints_and_parses() -> None:
    node: Node = p.parameter("x", TensorType(F32, (2,)))
    for _ in range(3000):
        node = p.negate(node)
    program = Program(tuple(n for n in Program((), (node,)).nodes if n.name == "parameter"), (node,))
    assert again(program) == program
