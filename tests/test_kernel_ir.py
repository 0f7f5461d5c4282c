"""The kernel IR's own tools: text and parser, verifier, interpreter, cost."""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen import interp, ir
from graphc.codegen.cost import cost
from graphc.codegen.parse import KernelTextError, parse_kernel
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import InvalidKernel, verify
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.kernel_samples import apply, arguments, constant, kernels

SLOW = settings(max_examples=60)

SOFTMAX = """\
kernel softmax(x: f32[6,50] in, y: f32[6,50] out) {
  for r in 6 parallel {
    local row: f32[50]
    acc m: f32 = -inf_f32
    for c in 50 vector(16, 2) {
      m maximum= x[r, c]
    }
    acc s: f32 = 0.0_f32
    for c in 50 vector(16, 2) {
      let p: f32 = exponential(x[r, c] - m)
      row[c] = p
      s add= p
    }
    for c in 50 vector(16, 2) {
      y[r, c] = row[c] * (1.0_f32 / s)
    }
  }
}"""

DENSE = """\
kernel dense(x: f32[4,6] in, w: f32[6,8] in, b: f32[8] in, y: f32[4,8] out) {
  product a: f32 over i in 4, j in 8, k in 6 of x[i, k] times w[k, j] * -0.5_f32 {
    let z: f32 = a + b[j where j < 5]
    y[i, j] = maximum(z, 0.0_f32)
  }
}"""

# The same rows by teams of eight threads, sixteen rows to a block; a row of exponentials in registers, and one element shared by a team.
GPU_SOFTMAX = """\
kernel softmax(x: f32[6,50] in, y: f32[6,50] out, m: f32[6] out) {
  for r in 6 grid(16, 1) {
    local row: f32[50]
    shared most: f32[1]
    acc m0: f32 = -inf_f32
    for c in 50 team(8, 2) {
      m0 maximum= x[r, c]
    }
    most[0] = m0
    acc s: f32 = 0.0_f32
    for c in 50 team(8, 2) {
      row[c] = exponential(x[r, c] - most[0])
      s add= row[c]
    }
    for c in 50 team(8, 2) {
      y[r, c] = row[c] / s
    }
    m[r] = most[0]
  }
}"""

# Two grid loops in one launch: column sums by teams that stand across, and a map with four elements a thread.
GPU_COLUMNS = """\
kernel columns(x: f32[40,9] in, y: f32[9] out, z: f32[360] out) {
  let half: f32 = 0.5_f32
  for c in 9 grid(4, 2) {
    acc s: f32 = 0.0_f32
    for r in 40 cross(8, 1) {
      s add= x[r, c]
    }
    y[c] = s * half
  }
  for e in 360 grid(256, 4) {
    z[e] = negate(x[e / 9, e % 9])
  }
}"""

# One line a kernel: everything the text form can spell.
SPELLINGS = """\
kernel spellings(x: i8[3,4] in, p: pred[] inout, y: u64[12] out) {
  if p[] {
    for i in 3 serial {
      for j in 4 unrolled {
        y[i * 4 + j where (i < j) != (1 <= j)] = convert(x[i, 3 - j] % -2_i8): u64
      }
    }
  }
  p[] = not(true)
  prefetch x[3, 9]
  let k: i64 = -(3 + -4) - (5 - 6) * 7
}""".replace("-(3 + -4)", "negate(3 + -4)")


# Text


@SLOW
@given(kernels())
def test_random_kernels_print_and_parse_back(kernel: ir.Kernel) -> None:
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel


@pytest.mark.parametrize("text", [SOFTMAX, DENSE, SPELLINGS, GPU_SOFTMAX, GPU_COLUMNS])
def test_text_is_its_own_normal_form(text: str) -> None:
    assert print_kernel(parse_kernel(text)) == text


def test_comments_are_skipped_and_origins_are_one() -> None:
    kernel = replace(parse_kernel(SOFTMAX), origins=("Softmax (train.py:3)", "Softmax_1 (train.py:9)"))
    text = print_kernel(kernel)
    assert text.splitlines()[0].endswith("{  // Softmax (train.py:3); Softmax_1 (train.py:9)")
    assert parse_kernel(text) == kernel


@st.composite
def _constants(draw: st.DrawFn) -> ir.Const:
    dtype = draw(st.sampled_from(dtypes.ALL))
    if dtype.is_bool:
        return ir.Const(draw(st.booleans()), dtype)
    if dtype.is_integer:
        return ir.Const(draw(st.integers(int(dtype.min), int(dtype.max))), dtype)
    return ir.Const(draw(st.floats(allow_nan=False)), dtype)


@given(_constants())
def test_constants_keep_value_and_type(const: ir.Const) -> None:
    buffer = ir.Buffer("y", const.dtype, (), "out")
    kernel = ir.Kernel("k", (buffer,), (ir.Store(buffer, (), const),))
    (store,) = parse_kernel(print_kernel(kernel)).body
    assert isinstance(store, ir.Store)
    assert isinstance(store.value, ir.Const)
    assert store.value == const
    assert math.copysign(1, store.value.value) == math.copysign(1, const.value)


def test_nan_is_a_constant() -> None:
    kernel = parse_kernel("kernel k(y: f64[] out) { y[] = nan_f64 }")
    assert parse_kernel(print_kernel(kernel)) == kernel
    assert print_kernel(kernel).splitlines()[1] == "  y[] = nan_f64"


INTEGER_OPS = ("add", "subtract", "multiply", "divide", "remainder")


@st.composite
def _integers(draw: st.DrawFn, depth: int = 4) -> ir.Expr:
    if depth == 0 or draw(st.booleans()):
        return ir.index(draw(st.integers(-9, 9)))
    return apply(draw(st.sampled_from(INTEGER_OPS)), draw(_integers(depth - 1)), draw(_integers(depth - 1)))


@given(_integers())
def test_parentheses_keep_the_tree(expr: ir.Expr) -> None:
    buffer = ir.Buffer("y", dtypes.int64, (), "out")
    kernel = ir.Kernel("k", (buffer,), (ir.Store(buffer, (), expr),))
    assert parse_kernel(print_kernel(kernel)) == kernel


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("kernel k(", 1, 10, "expected a name, found 'end of text'"),
        ("kernel k(x: f33[2] in) {\n}", 1, 13, "there is no type 'f33'"),
        ("kernel k(x: f32[2] in) {\n  let y: f32 = x[0] + 1\n}", 2, 21, "the operands of add must have one type; got f32, i64"),
        ("kernel k() {\n  $\n}", 2, 3, "unexpected character '$'"),
        ("kernel k() {\n  let y: i64 = z\n}", 2, 16, "there is no variable 'z' here"),
        ("kernel k() {\n  y[0] = 1\n}", 2, 3, "there is no buffer 'y' here"),
        ("kernel k() {\n  for i in 3 sideways {\n  }\n}", 2, 14,
         "expected 'serial' or 'parallel' or 'vector' or 'unrolled' or 'grid' or 'team' or 'cross', found 'sideways'"),
        ("kernel k() {\n  let y: f32 = convert(1)\n}", 3, 1, "expected ':' and the type that convert gives, found '}'"),
        ("kernel k() {\n}\n}", 3, 1, "expected end of text, found '}'"),
        ("kernel k() {\n  let y: f32 = exponential(1)\n}", 2, 16, "exponential takes floats; got i64"),
        ("kernel k() {\n  let y: i64 = frobnicate(1)\n}", 2, 16, "there is no operation 'frobnicate'"),
        ("kernel k() {\n  let y: i64 = add(1)\n}", 2, 16, "add takes 2 operands; got 1"),
        ("kernel k() {\n  y\n}", 2, 3, "expected a statement, found 'y'"),
    ],
)  # fmt: skip
def test_text_that_is_no_kernel(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(KernelTextError) as error:
        parse_kernel(text)
    assert (error.value.line, error.value.column) == (line, column)
    assert str(error.value) == f"line {line}, column {column}: {message}"


def test_names_end_with_their_block() -> None:
    with pytest.raises(KernelTextError, match="line 5, column 16: there is no variable 'z' here"):
        parse_kernel("kernel k() {\n  for i in 3 serial {\n    let z: i64 = i\n  }\n  let y: i64 = z\n}")


# Verifier


def _body(*lines: str) -> str:
    params = "x: f32[4,5] in, n: i64[5] in, y: f32[4,5] out, s: f32[] out"
    return f"kernel k({params}) {{\n" + "\n".join(lines) + "\n}"


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("x is an `in` parameter and may not be stored to", ["x[0, 0] = 1.0_f32"]),
        ("index 1 of x runs from 0 to 5, but its dim is 5", ["for c in 6 serial {", "  y[0, 0] = x[0, c]", "}"]),
        ("index 1 of y runs from -1 to 3, but its dim is 5", ["for c in 5 serial {", "  y[0, c - 1] = 0.0_f32", "}"]),
        ("index 0 of x runs from 1 to 7, but its dim is 4", ["let a: i64 = 3", "for r in 4 serial {", "  y[r, 0] = x[r * 2 + 1, a]", "}"]),
        ("x has 2 dims; 1 indices were given", ["y[0, 0] = x[0]"]),
        ("an index must be i64; x[0, 0] is f32", ["y[0, 0] = x[0, x[0, 0]]"]),
        ("buffer y is f32, but its value is i64", ["y[0, 0] = 1"]),
        ("a `where` must be pred; it is i64", ["y[0, 0 where 1] = 1.0_f32"]),
        ("let a is f32, but its value is i64", ["let a: f32 = 1"]),
        ("the name a is taken", ["let a: i64 = 1", "let a: i64 = 2"]),
        ("the name x is taken", ["let x: i64 = 1"]),
        ("the name b is taken", ["for i in 2 serial {", "  local b: f32[3]", "}", "local b: f32[3]"]),
        ("the condition of an `if` must be pred; it is i64", ["if 1 {", "}"]),
        ("the condition of an `if` must be the same for all iterations of a vector loop",
         ["for c in 5 vector(4, 1) {", "  let a: f32 = x[0, c]", "  if a < 0.0_f32 {", "  }", "}"]),
        ("a parallel loop stands at the top level", ["for i in 4 serial {", "  for j in 5 parallel {", "  }", "}"]),
        ("a kernel has at most one parallel loop", ["for i in 4 parallel {", "}", "for i in 4 parallel {", "}"]),
        ("beside a parallel loop only `let` may stand at the top level", ["s[] = 0.0_f32", "for i in 4 parallel {", "}"]),
        ("a vector loop may not stand inside another", ["for i in 4 vector(4, 1) {", "  for j in 5 vector(4, 1) {", "  }", "}"]),
        ("lanes must be a power of two and parts at least 1; they are 3, 1", ["for i in 4 vector(3, 1) {", "}"]),
        ("iterations of c run in any order, so the index of a store must depend on it",
         ["for c in 5 vector(4, 1) {", "  s[] = x[0, c]", "}"]),
        ("iterations of r run in any order, so the index of a store must depend on it",
         ["for r in 4 parallel {", "  for c in 5 vector(4, 1) {", "    y[0, c] = x[r, c]", "  }", "}"]),
        ("accumulator a has no value until the vector loop ends",
         ["acc a: f32 = 0.0_f32", "for c in 5 vector(4, 1) {", "  a add= x[0, c]", "  y[0, c] = a", "}"]),
        ("accumulator a combines by add elsewhere", ["acc a: f32 = 0.0_f32", "a add= 1.0_f32", "a maximum= 1.0_f32"]),
        ("a is no accumulator that may be updated here", ["let a: f32 = 0.0_f32", "a add= 1.0_f32"]),
        ("accumulator a is f32, but its value is i64", ["acc a: f32 = 0.0_f32", "a add= 1"]),
        ("and takes integers or bools; got f32, f32", ["acc a: f32 = 0.0_f32", "a and= 1.0_f32"]),
        ("a product takes floats and accumulates in f32 or f64", ["product a: i64 over i in 1, j in 1, k in 5 of n[k] times n[k] {", "}"]),
        ("the epilogue of a product holds only `let` and stores",
         ["product a: f32 over i in 1, j in 1, k in 5 of x[i, k] times x[j, k] {", "  if true {", "  }", "}"]),
        ("iterations of j run in any order, so the index of a store must depend on it",
         ["product a: f32 over i in 4, j in 4, k in 5 of x[i, k] times x[j, k] {", "  y[i, 0] = a", "}"]),
        ("a product may not stand inside a vector loop",
         ["for v in 5 vector(4, 1) {", "  product a: f32 over i in 4, j in 4, k in 5 of x[i, k] times x[j, k] {", "  }", "}"]),
        ("a grid loop stands at the top level", ["for i in 4 serial {", "  for j in 5 grid(1, 1) {", "  }", "}"]),
        ("beside a grid loop only `let` and other grid loops may stand at the top level",
         ["s[] = 0.0_f32", "for i in 4 grid(1, 1) {", "}"]),
        ("a team loop stands inside a grid loop", ["for i in 4 team(32, 1) {", "}"]),
        ("a vector loop may not stand inside a grid loop", ["for i in 4 grid(1, 1) {", "  for j in 5 vector(4, 1) {", "  }", "}"]),
        ("a vector loop may not stand inside another",
         ["for i in 4 grid(1, 1) {", "  for j in 5 team(4, 1) {", "    for k in 2 team(4, 1) {", "    }", "  }", "}"]),
        ("all team and cross loops of a grid loop have the same lanes; they have [4, 8]",
         ["for i in 4 grid(1, 1) {", "  for j in 5 team(4, 1) {", "  }", "  for j in 5 team(8, 1) {", "  }", "}"]),
        ("b must be local; it is shared", ["shared b: f32[3]"]),
        ("b is private to a thread: variables of team and unrolled loops alone index it, not 4 - j",
         ["for i in 4 grid(1, 1) {", "  local b: f32[5]", "  for j in 5 team(4, 1) {", "    b[4 - j] = x[i, j]", "  }", "}"]),
        ("b is private to a thread: variables of team and unrolled loops alone index it, not k",
         ["for i in 4 grid(1, 1) {", "  local b: f32[5]", "  for k in 5 serial {", "    b[k] = x[i, k]", "  }", "}"]),
        ("the team loops that index b have one extent, lanes and parts",
         ["for i in 4 grid(1, 1) {", "  local b: f32[5]", "  for j in 5 team(4, 1) {", "    b[j] = x[i, j]", "  }",
          "  for j in 5 team(4, 2) {", "    y[i, j] = b[j]", "  }", "}"]),
        ("iterations of r run in any order, so the index of a store must depend on it",
         ["for r in 4 grid(8, 1) {", "  for c in 5 cross(4, 1) {", "    y[0, c] = x[r, c]", "  }", "}"]),
        ("accumulator a has no value until the vector loop ends",
         ["for r in 4 grid(8, 1) {", "  acc a: f32 = 0.0_f32", "  for c in 5 team(4, 1) {", "    a add= x[r, c]",
          "    y[r, c] = a", "  }", "}"]),
    ],
)  # fmt: skip
def test_each_rule_is_checked(rule: str, lines: list[str]) -> None:
    with pytest.raises(InvalidKernel) as error:
        verify(parse_kernel(_body(*lines)))
    message = str(error.value)
    assert message.startswith(f"kernel k: {rule}\n  in `")


def test_what_text_cannot_spell_is_checked_too() -> None:
    x = ir.Buffer("x", dtypes.float32, (2,), "out")
    inside = ir.Load(replace(x, shape=(3,)), (ir.index(0),))
    store = ir.Store(x, (ir.index(0),), constant(1, dtypes.float32))
    wrong: list[tuple[str, tuple[ir.Buffer, ...], tuple[ir.Stmt, ...]]] = [
        ("there is no buffer x like this here", (x,), (ir.Store(x, (ir.index(0),), inside),)),
        ("v is used before it is bound", (x,), (ir.Store(x, (ir.Var("v"),), constant(1, dtypes.float32)),)),
        ("parameter x must be in, out or inout; it is local", (replace(x, space="local"),), ()),
        ("the name x is taken", (x, x), ()),
        ("the dims of x are at least 0; they are [-1]", (replace(x, shape=(-1,)),), ()),
        ("a loop is serial, parallel, vector, unrolled, grid, team, cross; not tiled", (x,), (ir.Loop(ir.Var("i"), 2, "tiled", (store,)),)),
        ("the extent of a loop is at least 0; it is -2", (x,), (ir.Loop(ir.Var("i"), -2, "serial", ()),)),
        ("the loop variable i must be i64; it is i32", (x,), (ir.Loop(ir.Var("i", dtypes.int32), 2, "serial", ()),)),
        ("only a vector, grid, team, cross loop has lanes and parts", (x,), (ir.Loop(ir.Var("i"), 2, "serial", (), 4, 1),)),
        ("300 is no u8", (x,), (ir.Let(ir.Var("a", dtypes.uint8), ir.Const(300, dtypes.uint8)),)),
        ("1 is no pred", (x,), (ir.Let(ir.Var("a", dtypes.bool), ir.Const(1, dtypes.bool)),)),
        ("there is no operation 'frobnicate'", (x,), (ir.Let(ir.Var("a"), apply("frobnicate", ir.index(1))),)),
        ("add gives i64 here, not f32", (x,),
         (ir.Let(ir.Var("a", dtypes.float32), apply("add", ir.index(1), ir.index(1), dtype=dtypes.float32)),)),
        ("an accumulator combines by add, multiply, maximum, minimum, and, or, assign; not by subtract", (x,),
         (ir.Acc(ir.Var("a"), ir.index(0)), ir.Update(ir.Var("a"), "subtract", ir.index(1)))),
    ]  # fmt: skip
    for rule, params, body in wrong:
        with pytest.raises(InvalidKernel) as error:
            verify(ir.Kernel("k", params, body))
        assert str(error.value).startswith(f"kernel k: {rule}\n  in "), rule
    with pytest.raises(InvalidKernel, match="the name of a kernel is an identifier"):
        verify(ir.Kernel("not a name", (x,), ()))


@pytest.mark.parametrize(
    "lines",
    [
        ["for c in 9 serial {", "  y[0, 0] = x[0, c where c < 5]", "}"],  # a guard may keep the index inside
        ["for c in 5 serial {", "  if c < 4 {", "    y[0, c + 1] = 0.0_f32", "  }", "}"],
        ["for c in 0 serial {", "  y[9, c] = 0.0_f32", "}"],  # never runs
        ["for c in 5 vector(4, 1) {", "  y[0, n[c]] = x[0, c]", "}"],  # not affine: cannot be proved wrong
        ["acc a: f32 = 0.0_f32", "for c in 5 vector(4, 1) {", "  a add= x[0, c]", "}", "s[] = a"],
        ["for i in 2 serial {", "  let a: i64 = i", "}", "for i in 2 serial {", "  let a: i64 = i", "}"],
        ["for i in 4 grid(8, 1) {", "  shared b: f32[5]", "  for j in 5 team(4, 1) {", "    b[4 - j] = x[i, j]", "  }",
         "  for j in 5 team(4, 2) {", "    y[i, j] = b[j]", "  }", "}"],
        ["for i in 4 grid(8, 1) {", "  local b: f32[2,5]", "  for j in 5 team(4, 1) {", "    for k in 2 unrolled {",
         "      b[k, j] = x[i, j]", "    }", "    y[i, j] = x[i, j]", "  }", "}"],
        ["for i in 4 grid(8, 1) {", "  for j in 5 team(4, 1) {", "    y[i, j] = x[i, j]", "  }", "}", "for i in 1 grid(1, 1) {",
         "  s[] = x[3, 4]", "}"],
    ],
)
def test_valid_kernels_pass(lines: list[str]) -> None:
    verify(parse_kernel(_body(*lines)))


# Interpreter


def test_softmax_by_its_meaning() -> None:
    x = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    y = np.zeros_like(x)
    interp.run(parse_kernel(SOFTMAX), [x, y])
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-6)


def _columns(order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    y, z = np.zeros(9, np.float32), np.zeros(360, np.float32)
    interp.run(parse_kernel(GPU_COLUMNS), [x, y, z], order)
    return x, y, z


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_grids_and_teams_by_their_meaning(order: str) -> None:
    x, y, z = _columns(order)
    np.testing.assert_allclose(y, x.sum(0) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(z, -x.reshape(-1))
    rows, most = np.zeros((6, 50), np.float32), np.zeros(6, np.float32)
    x = np.random.default_rng(1).normal(size=(6, 50)).astype(np.float32)
    interp.run(parse_kernel(GPU_SOFTMAX), [x, rows, most], order)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(rows, e / e.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(most, x.max(1))


@pytest.mark.parametrize("inner", ["", "for j in 3 team(4, 1) { n[j] = i }"], ids=["threads", "teams"])
def test_the_order_of_grid_iterations_can_be_seen_where_it_matters(inner: str) -> None:
    """The place of the store is not affine, so the verifier cannot know that all iterations meet there."""
    kernel = parse_kernel(f"kernel k(n: i64[5] out) {{ for i in 4 grid(2, 1) {{ n[i / 9] = i {inner} }} }}")
    for order, last in (("forward", 3), ("reversed", 0)):
        n = np.zeros(5, np.int64)
        interp.run(kernel, [n], order)
        assert n[0] == last


def test_product_by_its_meaning() -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 6), (6, 8), (8,)))
    y = np.zeros((4, 8), np.float32)
    interp.run(parse_kernel(DENSE), [x, w, b, y])
    z = -0.5 * x.astype(np.float64) @ w + np.where(np.arange(8) < 5, b, 0)
    np.testing.assert_allclose(y, np.maximum(z, 0), rtol=1e-5, atol=1e-6)


def test_spellings_by_their_meaning() -> None:
    x = np.array([[5, -4, 3, -2], [1, 0, -1, 7], [2, 2, 9, -9]], np.int8)
    p, y = np.array(True), np.full(12, 7, np.uint64)
    interp.run(parse_kernel(SPELLINGS), [x, p, y])
    expected = np.full((3, 4), 7, np.uint64)
    for i in range(3):
        for j in range(4):
            if (i < j) != (j >= 1):
                expected[i, j] = int(math.fmod(int(x[i, 3 - j]), -2)) % 2**64
    np.testing.assert_array_equal(y, expected.ravel())
    assert not p


@SLOW
@given(kernels(), st.integers(0, 9))
def test_parallel_iterations_may_run_in_any_order(kernel: ir.Kernel, seed: int) -> None:
    forward, backward = arguments(kernel, seed), arguments(kernel, seed)
    interp.run(kernel, forward)
    interp.run(kernel, backward, order="reversed")
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_order_of_parallel_iterations_can_be_seen_where_it_matters() -> None:
    kernel = parse_kernel("kernel k(y: i64[] out) { for r in 4 parallel { y[where r < 9] = r } }")
    y = np.zeros((), np.int64)
    interp.run(kernel, [y])
    assert y == 3
    interp.run(kernel, [y], order="reversed")
    assert y == 0


def _run(text: str, *arrays: Any) -> None:
    interp.run(parse_kernel(text), arrays)


def test_interpreter_names_what_is_wrong() -> None:
    gather = "kernel g(n: i64[3] in, y: f32[4] out) { for i in 3 vector(4, 1) { y[n[i]] = 1.0_f32 } }"
    with pytest.raises(IndexError, match=r"kernel g: index 4 of dimension 0 is outside y: f32\[4\]"):
        _run(gather, np.array([0, 4, 1]), np.zeros(4, np.float32))
    with pytest.raises(IndexError, match="index -1 of dimension 0"):
        _run(gather, np.array([0, -1, 1]), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"n is int64\[3\]; got int32\[3\]"):
        _run(gather, np.array([0, 1, 2], np.int32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="kernel g takes 2 arrays; got 1"):
        _run(gather, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match='order must be "forward" or "reversed"; got "sideways"'.replace('"sideways"', "'sideways'")):
        interp.run(parse_kernel(gather), [np.array([0, 1, 2]), np.zeros(4, np.float32)], order="sideways")
    with pytest.raises(ValueError, match="the condition of an `if` differs between the iterations of a vector loop"):
        _run("kernel k() { for i in 3 vector(4, 1) { if i < 2 { } } }")


def test_guarded_loads_give_zero_and_touch_nothing() -> None:
    y = np.full(8, 9, np.float32)
    _run("kernel k(x: f32[4] in, y: f32[8] out) { for i in 8 vector(4, 1) { y[i where i < 7] = x[i - 2 where 2 <= i] } }".replace(
        "where 2 <= i", "where (2 <= i) == (i < 6)"), np.arange(1, 5, dtype=np.float32), y)  # fmt: skip
    np.testing.assert_array_equal(y, [0, 0, 1, 2, 3, 4, 0, 9])


def test_local_buffers_start_as_garbage() -> None:
    y = np.zeros(3, np.float32)
    _run("kernel k(y: f32[3] out) { local b: f32[3] for i in 3 serial { y[i] = b[i] } }", y)
    assert np.isnan(y).all()


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16])
def test_half_types_are_rounded_when_stored_and_not_before(dtype: DType) -> None:
    y = np.zeros(1, dtype.np_dtype)
    one = f"1.0_{dtype.code}"
    _run(f"kernel k(y: {dtype.code}[1] out) {{ y[0] = ({one} / 3.0_{dtype.code}) * 3.0_{dtype.code} - {one} }}", y)
    third = np.float32(1) / np.float32(3)
    assert y[0] == dtype.np_dtype.type(third * np.float32(3) - np.float32(1))


# Cost


def test_a_row_read_three_times_moves_once() -> None:
    # 50 max, and of each element: subtract, exp (20), add; multiply and divide (4).
    assert cost(parse_kernel(SOFTMAX)).bytes == 2 * 6 * 50 * 4
    assert cost(parse_kernel(SOFTMAX)).flops == 6 * 50 * (1 + 1 + 20 + 1 + 1 + 4)


def test_cost_of_a_product() -> None:
    spent = cost(parse_kernel(DENSE))
    assert spent.flops == 2 * 4 * 8 * 6 + 6 * 8 + 4 * 8 * 2
    assert spent.bytes == 4 * (4 * 6 + 6 * 8 + 8 + 4 * 8)


def test_the_index_of_a_load_costs_only_what_it_loads() -> None:
    """Windows find their places by divisions, a gather by a load: neither is arithmetic on what is computed."""
    text = ("kernel k(x: f32[40] in, p: i64[9] in, y: f32[9] out) { for i in 9 serial { "
            "y[i] = x[i / 3 * 7 + i % 3 where i % 3 < 2] + x[p[i] * 2 % 40] } }")
    assert cost(parse_kernel(text)).flops == 9
    assert cost(parse_kernel(text)).bytes == 4 * (9 + 9 + 9) + 8 * 9
    # Read again in another loop, by the same windows, they are the same elements.
    twice = text.replace("y[i] =", "y[i] = x[i / 3 * 7 + i % 3 where i % 3 < 1] +").replace(
        "{ for i", "{ acc m: f32 = 0.0_f32 for j in 9 serial { m add= x[j / 3 * 7 + j % 3 where j % 3 < 2] + x[p[j] * 2 % 40] } for i")
    assert cost(parse_kernel(twice)).bytes == 4 * (9 + 9 + 9) + 8 * 9


def test_bytes_never_exceed_the_buffers() -> None:
    text = "kernel k(x: f32[9] in, y: f32[7] out) { for i in 7 serial { y[i] = x[i] + x[i + 1] + x[i + 2] } }"
    assert cost(parse_kernel(text)).bytes == 4 * (9 + 7)
    broadcast = "kernel k(x: f32[9] in, y: f32[100,9] out) { for r in 100 serial { for i in 9 serial { y[r, i] = x[i] } } }"
    assert cost(parse_kernel(broadcast)).bytes == 4 * (9 + 900)


def test_work_decides_the_time() -> None:
    light = "kernel k(x: f32[4096] in, y: f32[4096] out) { for i in 4096 serial { y[i] = x[i] } }"
    heavy = light.replace("= x[i]", "= power(exponential(x[i]), tanh(x[i]))")
    assert 0 < cost(parse_kernel(light)).microseconds < cost(parse_kernel(heavy)).microseconds
    assert cost(parse_kernel(light)).flops == 0
    empty = "kernel k(x: f32[0] in, y: f32[0] out) { for i in 0 serial { y[i] = x[i] } }"
    assert (cost(parse_kernel(empty)).flops, cost(parse_kernel(empty)).bytes) == (0, 0)
