"""Kernels as machine code, at every vector width, against the interpreter and against numpy."""
from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen import interp, ir
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target, available
from graphc.codegen.parse import parse_kernel
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.kernel_samples import Array, arguments, kernels, run_compiled

TAILS = 71  # every loop length below this is tried


def run_text(text: str, target: Target, *arrays: Array, pieces: int = 1) -> None:
    """Verifies the kernel that `text` spells and runs it as machine code."""
    kernel = parse_kernel(text)
    verify(kernel)
    run_compiled(kernel, target, arrays, pieces)


def numbers(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


# Against the interpreter


@settings(max_examples=90)
@given(kernels(), st.sampled_from(available()), st.integers(0, 99), st.integers(1, 3))
def test_random_kernels_agree_with_the_interpreter(kernel: ir.Kernel, target: Target, seed: int, pieces: int) -> None:
    verify(kernel)
    expected, got = arguments(kernel, seed), arguments(kernel, seed)
    interp.run(kernel, expected)
    run_compiled(kernel, target, got, pieces)
    for buffer, a, b in zip(kernel.params, expected, got, strict=True):
        assert a.tobytes() == b.tobytes(), f"{buffer.name}: {a} != {b}"


@pytest.mark.parametrize(
    ("code", "lanes", "parts"), [("f32", 16, 4), ("bf16", 16, 1), ("i8", 16, 2), ("f64", 8, 2), ("i64", 4, 1), ("pred", 8, 1)]
)
def test_every_length_of_tail(target: Target, code: str, lanes: int, parts: int) -> None:
    dtype = dtypes.from_code(code)
    combine = "or" if dtype.is_bool else "add"
    zero = "false" if dtype.is_bool else f"0.0_{code}" if dtype.is_floating else f"0_{code}" if code != "i64" else "0"
    lines = [f"kernel tails(x: {code}[{TAILS}] in, y: {code}[{TAILS},{TAILS}] out, s: {code}[{TAILS}] out) {{"]
    for count in range(TAILS):
        lines += [f"acc a{count}: {code} = {zero}", f"for c in {count} vector({lanes}, {parts}) {{", f"y[{count}, c] = x[c]",
                  f"a{count} {combine}= x[c]", "}", f"s[{count}] = a{count}"]  # fmt: skip
    x = np.random.default_rng(1).integers(0, 2, TAILS).astype(dtype.np_dtype)
    y, s = np.zeros((TAILS, TAILS), dtype.np_dtype), np.zeros(TAILS, dtype.np_dtype)
    run_text("\n".join([*lines, "}"]), target, x, y, s)
    below = np.arange(TAILS) < np.arange(TAILS)[:, None]
    np.testing.assert_array_equal(y, np.where(below, x, np.zeros_like(x)))
    sums = np.where(below, x, np.zeros_like(x)).astype(np.int64).sum(1)
    np.testing.assert_array_equal(s, (sums > 0) if dtype.is_bool else sums.astype(dtype.np_dtype))


@pytest.mark.parametrize(("source", "code"), [("i32", "i8"), ("i64", "i16"), ("f32", "f16"), ("f64", "i8"), ("u16", "pred")])
def test_every_length_of_tail_after_a_conversion(target: Target, source: str, code: str) -> None:
    """LLVM 22 stores too many bytes of a truncated vector under a mask of one lane."""
    lines = [f"kernel tails(x: {source}[{TAILS}] in, y: {code}[{TAILS},{TAILS}] out) {{"]
    lines += [f"for c in {count} vector(16, 1) {{ y[{count}, c] = convert(x[c]): {code} }}" for count in range(20)]
    x = np.arange(1, TAILS + 1).astype(dtypes.from_code(source).np_dtype)
    y = np.full((TAILS, TAILS), 77).astype(dtypes.from_code(code).np_dtype)
    run_text("\n".join([*lines, "}"]), target, x, y)
    below = np.arange(TAILS) < np.arange(TAILS)[:, None]
    below[20:] = False
    np.testing.assert_array_equal(y, np.where(below, x, np.full_like(x, 77)).astype(y.dtype))


# Memory


@pytest.mark.parametrize("index", ["i", "{last} - i", "i * 2", "n[i]"])
@pytest.mark.parametrize("code", ["f32", "f64", "i8", "f16"])
def test_no_byte_outside_a_buffer_is_touched(target: Target, code: str, index: str) -> None:
    """The arrays end where a page begins that nobody may read or write: a lane too many would crash."""
    count, dtype = 37, dtypes.from_code(code)
    length = 2 * count - 1 if "2" in index else count
    place = index.format(last=count - 1)
    x, y, n = (_before_a_wall(length, dtype), _before_a_wall(length, dtype), _before_a_wall(count, dtypes.int64))
    x[:], y[:], n[:] = np.arange(length) % 50, 0, np.arange(count)[::-1]
    params = f"x: {code}[{length}] in, n: i64[{count}] in, y: {code}[{length}] out"
    text = f"kernel wall({params}) {{ for i in {count} vector(16, 2) {{ y[{place}] = x[{place}] }} }}"
    run_text(text, target, x, n, y)
    np.testing.assert_array_equal(y, np.where(np.arange(length) % 2 == 0, x, np.zeros_like(x)) if "2" in index else x)


def _before_a_wall(count: int, dtype: DType) -> Array:
    """An array whose last byte is the last of a page, before one without access."""
    page = mmap.PAGESIZE
    pages = -(-count * dtype.size // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + pages * page), ctypes.c_size_t(page), 0) == 0
    return whole[pages * page - count * dtype.size : pages * page].view(dtype.np_dtype)


def test_arrays_need_only_the_alignment_of_their_elements(target: Target) -> None:
    x, y = (np.zeros(4 * 50 + 64, np.uint8) for _ in range(2))
    for start in range(4, 64, 4):
        source, result = (a[start - a.ctypes.data % 64 % 4 :][: 4 * 50].view(np.float32) for a in (x, y))
        source[:] = numbers(50, start)
        run_text("kernel copy(x: f32[50] in, y: f32[50] out) { for i in 50 vector(16, 2) { y[i] = x[i] } }", target, source, result)
        np.testing.assert_array_equal(result, source)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=str)
def test_halves_pass_through_registers_unchanged(target: Target, dtype: DType) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    x, y = bits.view(dtype.np_dtype), np.zeros(1 << 16, dtype.np_dtype)
    code = dtype.code
    run_text(f"kernel copy(x: {code}[65536] in, y: {code}[65536] out) {{ for i in 65536 vector(16, 2) {{ y[i] = x[i] }} }}", target, x, y)
    is_nan = np.isnan(x.astype(np.float32))
    np.testing.assert_array_equal(bits[~is_nan], y.view(np.uint16)[~is_nan])
    assert np.isnan(y.astype(np.float32)[is_nan]).all()


def test_bool_is_a_byte_of_zero_or_one(target: Target) -> None:
    x, y = numbers(70), np.full(70, True)
    run_text("kernel sign(x: f32[70] in, y: pred[70] out) { for i in 70 vector(16, 4) { y[i] = x[i] < 0.0_f32 } }", target, x, y)
    np.testing.assert_array_equal(y.view(np.uint8), (x < 0).astype(np.uint8))


def test_a_load_after_a_store_sees_it(target: Target) -> None:
    x, y = numbers(40), np.zeros(40, np.float32)
    before = x.copy()
    text = """kernel twice(x: f32[40] inout, y: f32[40] out) {
      for i in 40 vector(16, 1) {
        let a: f32 = x[i]
        x[i] = a + 1.0_f32
        let b: f32 = x[i]
        y[i] = a * b
      }
      for k in 3 serial { x[0] = x[0] * 2.0_f32 }
    }"""
    run_text(text, target, x, y)
    np.testing.assert_array_equal(y, before * (before + np.float32(1)))
    assert x[0] == (before[0] + np.float32(1)) * 8


def test_scalars_have_no_index(target: Target) -> None:
    x, y = np.array(3.5), np.zeros(())
    run_text("kernel scalar(x: f64[] in, y: f64[] out) { y[] = x[] + x[where x[] < 0.0_f64] }", target, x, y)
    assert y == 3.5


@pytest.mark.parametrize("lanes", [1, 8])
def test_scatter_and_gather_by_a_table(target: Target, lanes: int) -> None:
    places = np.random.default_rng(0).permutation(43)
    x, y = numbers(43), np.zeros(43, np.float32)
    text = f"kernel permute(n: i64[43] in, x: f32[43] in, y: f32[43] out) {{ for i in 43 vector({lanes}, 2) {{ y[n[i]] = x[n[42 - i]] }} }}"
    run_text(text, target, places, x, y)
    expected = np.zeros_like(y)
    expected[places] = x[places[::-1]]
    np.testing.assert_array_equal(y, expected)


def test_where_keeps_an_index_that_would_be_out_of_range(target: Target) -> None:
    """Padding: every kind of access whose condition fails outside the buffer."""
    x, y = numbers(30), np.full((4, 40), 9, np.float32)
    text = """kernel pad(x: f32[30] in, y: f32[4,40] out) {
      for i in 40 vector(8, 2) {
        y[0, i] = x[i - 5 where and(5 <= i, i < 35)]
        y[1, i] = x[34 - i where and(5 <= i, i < 35)]
        y[2, i] = x[i * 2 - 10 where and(5 <= i, i < 20)]
      }
      for r in 2 serial {
        for i in 40 vector(8, 2) { y[3 + r, i where r < 1] = x[i + r * 1000000 - 10 where 10 <= i - r * 40] }
      }
    }"""
    run_text(text, target, x, y)
    np.testing.assert_array_equal(y[0], np.pad(x, 5))
    np.testing.assert_array_equal(y[1], np.pad(x, 5)[::-1])
    np.testing.assert_array_equal(y[2], np.concatenate([np.zeros(5, np.float32), x[::2], np.zeros(20, np.float32)]))
    np.testing.assert_array_equal(y[3], np.concatenate([np.zeros(10, np.float32), x]))


@pytest.mark.parametrize("lanes", [1, 8])
def test_a_condition_that_is_the_same_for_all_lanes(target: Target, lanes: int) -> None:
    """Loads far out of range, under a false `where` or in an `if` that is not taken: they must not move out of it either."""
    x, y = numbers(30), np.full((2, 3, 30), 9, np.float32)
    text = f"""kernel far(x: f32[30] in, y: f32[2,3,30] out) {{
      for r in 2 serial {{
        for i in 30 vector({lanes}, 2) {{
          y[r, 0, i] = x[i + r * 1000000000000 where r < 1]
          if r < 1 {{ y[r, 1, i] = x[i + r * 1000000000000] + x[r * 1000000000000] }}
          y[r, 2, i where r < 1] = x[29 - i]
        }}
      }}
    }}"""
    run_text(text, target, x, y)
    nothing = np.full(30, 9, np.float32)
    np.testing.assert_array_equal(y, [[x, x + x[0], x[::-1]], [np.zeros(30), nothing, nothing]])


# Accumulators


@pytest.mark.parametrize(("combine", "start", "reference"), [("maximum", "-inf", np.max), ("minimum", "inf", np.min)])
def test_a_nan_reaches_the_result_from_every_position(target: Target, combine: str, start: str, reference: np.ufunc) -> None:
    count = 37
    x = np.tile(numbers(count), (count + 1, 1))
    x[np.arange(count), np.arange(count)] = np.nan
    y = np.zeros(count + 1, np.float32)
    text = f"""kernel extreme(x: f32[38,37] in, y: f32[38] out) {{
      for r in 38 parallel {{
        acc m: f32 = {start}_f32
        for c in 37 vector(8, 2) {{ m {combine}= x[r, c] }}
        y[r] = m
      }}
    }}"""
    run_text(text, target, x, y)
    assert np.isnan(y[:count]).all()
    assert y[count] == reference(x[count])


@pytest.mark.parametrize("code", ["i8", "u8", "i32", "u64", "f32", "f16"])
def test_extremes_start_below_and_above_everything(target: Target, code: str) -> None:
    dtype = dtypes.from_code(code)
    least, greatest = (np.inf * sign if dtype.is_floating else limit for sign, limit in ((-1, dtype.min), (1, dtype.max)))
    x, y = np.stack([np.full(21, least), np.full(21, greatest)]).astype(dtype.np_dtype), np.zeros((2, 2), dtype.np_dtype)
    text = f"""kernel extremes(x: {code}[2,21] in, y: {code}[2,2] out) {{
      acc m: {code} = x[0, 0]
      for c in 21 vector(16, 4) {{ m maximum= x[0, c] }}
      y[0, 0] = m
      acc n: {code} = x[1, 0]
      for c in 21 vector(16, 4) {{ n minimum= x[1, c] }}
      y[1, 1] = n
    }}"""
    run_text(text, target, x, y)
    assert y[0, 0] == x[0, 0]
    assert y[1, 1] == x[1, 0]


def test_column_sums_keep_one_accumulator_per_lane(target: Target) -> None:
    x, y = numbers(57 * 45).reshape(57, 45), np.zeros(45, np.float32)
    text = """kernel columns(x: f32[57,45] in, y: f32[45] out) {
      for c in 45 vector(8, 2) {
        acc s: f32 = 0.0_f32
        for r in 57 serial { s add= x[r, c] }
        y[c] = s
      }
    }"""
    run_text(text, target, x, y)
    in_order = np.zeros(45, np.float32)
    for row in x:
        in_order += row
    np.testing.assert_array_equal(y, in_order)


def test_accumulators_of_ifs_and_nested_loops(target: Target) -> None:
    x, y = np.arange(6 * 33, dtype=np.int32).reshape(6, 33), np.zeros(4, np.int32)
    text = """kernel nested(x: i32[6,33] in, y: i32[4] out) {
      acc even: i32 = 0_i32
      acc odd: i32 = 1_i32
      acc most: i32 = 0_i32
      acc last: i32 = 5_i32
      for r in 6 serial {
        if r % 2 == 0 {
          for c in 33 vector(8, 1) { even add= x[r, c] }
        }
        if r % 2 == 1 {
          for c in 33 serial { odd add= x[r, c] }
          if r == 5 { last add= odd }
        }
        for c in 33 vector(8, 4) { if 3 < r { most maximum= x[r, c] } }
      }
      y[0] = even
      y[1] = odd
      y[2] = most
      y[3] = last
    }"""
    run_text(text, target, x, y)
    odd = 1 + x[1::2].sum()
    np.testing.assert_array_equal(y, [x[::2].sum(), odd, 6 * 33 - 1, 5 + odd])


@pytest.mark.parametrize(("combine", "code"), [("multiply", "f64"), ("and", "u32"), ("or", "i64"), ("and", "pred"), ("or", "pred")])
def test_every_combiner(target: Target, combine: str, code: str) -> None:
    dtype = dtypes.from_code(code)
    x = np.random.default_rng(0).integers(1, 2**20, 29)
    data = (x > 2**17) if dtype.is_bool else (1 + x / 2**20 if dtype.is_floating else x).astype(dtype.np_dtype)
    reference = {"multiply": np.multiply, "and": np.bitwise_and, "or": np.bitwise_or}[combine]
    y = np.zeros(1, dtype.np_dtype)
    text = f"""kernel combined(x: {code}[29] in, y: {code}[1] out) {{
      acc a: {code} = x[0]
      for i in 28 vector(4, 2) {{ a {combine}= x[i + 1] }}
      y[0] = a
    }}"""
    run_text(text, target, data, y)
    np.testing.assert_allclose(y[0].astype(np.float64), reference.reduce(data).astype(np.float64), rtol=1e-14)


def test_sums_do_not_depend_on_how_a_launch_is_split(target: Target) -> None:
    x = numbers(13 * 1001).reshape(13, 1001)
    text = """kernel sums(x: f32[13,1001] in, y: f32[13] out) {
      for r in 13 parallel {
        acc s: f32 = 0.0_f32
        for c in 1001 vector(8, 4) { s add= x[r, c] }
        y[r] = s
      }
    }"""
    results = [np.zeros(13, np.float32) for _ in range(3)]
    for pieces, y in zip((1, 2, 13), results, strict=True):
        run_text(text, target, x, y, pieces=pieces)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    np.testing.assert_allclose(results[0], x.astype(np.float64).sum(1), atol=1e-4)


# What the text looks like

ROWS = """kernel rows(x: f32[64,256] in, w: f32[] in, y: f32[64,256] out) {
  for r in 64 parallel {
    acc s: f32 = 1.0_f32
    for c in 256 vector(16, 2) { s add= x[r, c] * x[r, c] + x[r, c] }
    for c in 256 vector(16, 2) { y[r, c] = x[r, c] * (1.0_f32 / s) + sqrt(w[]) }
  }
}"""


def _blocks(text: str) -> dict[str, list[str]]:
    """The lines of each basic block."""
    blocks: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.endswith(":"):
            blocks[line[:-1]] = []
        elif blocks:
            blocks[next(reversed(blocks))].append(line.strip())
    return blocks


def _blocks_with(text: str, what: str) -> list[str]:
    return [name for name, lines in _blocks(text).items() for line in lines if what in line]


def test_code_leaves_the_loops_it_does_not_depend_on() -> None:
    text = print_kernel(parse_kernel(ROWS), available()[0])
    assert _blocks_with(text, "fdiv") == ["done1"]  # once a row, between the two vector loops
    assert _blocks_with(text, "load float,") == ["work"]  # w: once a launch
    assert _blocks_with(text, "@llvm.sqrt") == ["work"]
    assert _blocks_with(text, "mul i64") == ["loop0"]  # r * 256: once a row
    assert _blocks_with(text, "load <16 x float>") == ["loop1"] * 2 + ["loop2"] * 2  # x: once per part and loop


def test_one_iteration_makes_no_loop() -> None:
    kernel = parse_kernel("""kernel one(x: f32[16] in, y: f32[16] out) {
      for r in 1 serial {
        for i in 16 vector(16, 4) { y[r * 16 + i] = x[i + r] }
      }
    }""")
    text = print_kernel(kernel, available()[0])
    assert list(_blocks(text)) == ["entry", "work", "out"]
    assert text.count("load <16 x float>") == 1


def test_a_condition_with_known_outcome_makes_no_branch() -> None:
    kernel = parse_kernel("""kernel cut(x: f32[20] in, y: f32[20] out) {
      for r in 2 unrolled {
        if r < 1 { y[r] = x[r where r == 1] }
      }
    }""")
    text = print_kernel(kernel, available()[0])
    assert "br i1" not in text.split("work:")[1]
    assert text.count("load float") == 0


def test_scratch_holds_local_buffers_in_whole_cache_lines() -> None:
    kernel = parse_kernel("kernel k(y: f32[] out) { local a: f32[17] local b: i8[1] y[] = a[0] }")
    assert scratch_bytes(kernel, available()[0]) == 128 + 64
    assert scratch_bytes(parse_kernel(ROWS), available()[0]) == 0


def test_the_launch_range_is_the_parallel_loop() -> None:
    assert launch_extent(parse_kernel(ROWS), available()[0]) == 64
    assert launch_extent(parse_kernel("kernel k(y: f32[] out) { y[] = 0.0_f32 }"), available()[0]) == 1


def test_an_empty_range_does_nothing(target: Target) -> None:
    y = np.zeros(4, np.float32)
    kernel = parse_kernel("kernel k(y: f32[4] out) { for i in 4 parallel { y[i] = 1.0_f32 } }")
    run_compiled(kernel, target, [y], pieces=9)  # most pieces of 4 iterations are empty
    np.testing.assert_array_equal(y, 1)


def test_parameters_of_no_elements(target: Target) -> None:
    x, y = np.zeros((0, 5), np.float32), np.zeros(0, np.float32)
    text = """kernel k(x: f32[0,5] in, y: f32[0] out) {
      for r in 0 parallel {
        acc s: f32 = 0.0_f32
        for c in 5 vector(4, 1) { s add= x[r, c] }
        y[r] = s
      }
    }"""
    run_text(text, target, x, y)


@pytest.mark.parametrize(("code", "lines"), [("f32", 4), ("f64", 8), ("i8", 4)])
def test_a_prefetch_asks_for_each_line_once_a_part(code: str, lines: int) -> None:
    kernel = parse_kernel(f"""kernel ahead(x: {code}[9,640] in, y: {code}[9,640] out) {{
      for r in 9 parallel {{
        for i in 640 vector(16, 4) {{
          prefetch x[r + 1, i]
          y[r, i] = x[r, i]
        }}
      }}
    }}""")
    verify(kernel)
    assert len(_blocks_with(print_kernel(kernel, available()[0]), "call void @llvm.prefetch")) == lines
    x, y = np.arange(9 * 640).reshape(9, 640).astype(kernel.params[0].dtype.np_dtype), np.zeros((9, 640), kernel.params[0].dtype.np_dtype)
    for narrower in available():
        y[:] = 0
        run_compiled(kernel, narrower, [x, y])
        np.testing.assert_array_equal(y, x)


def test_an_accumulator_may_be_an_index(target: Target) -> None:
    x, y = numbers(5 * 40).reshape(5, 40), np.zeros(40, np.float32)
    text = """kernel latest(x: f32[5,40] in, y: f32[40] out) {
      acc row: i64 = 0
      for r in 5 serial { row maximum= select(x[r, 0] < 0.5_f32, r, 0) }
      for c in 40 vector(8, 2) { y[c] = x[row, c] + convert(row): f32 }
    }"""
    run_text(text, target, x, y)
    row = max(r for r in range(5) if r == 0 or x[r, 0] < 0.5)
    assert row > 0
    np.testing.assert_array_equal(y, x[row] + np.float32(row))


def test_a_product_may_reuse_the_names_of_earlier_loops(target: Target) -> None:
    x, w, y = numbers(3 * 4).reshape(3, 4), numbers(4 * 5, 1).reshape(4, 5), np.zeros((3, 5), np.float32)
    text = """kernel reuse(x: f32[3,4] inout, w: f32[4,5] in, y: f32[3,5] out) {
      let twice: f32 = w[0, 0] + w[0, 0]
      for i in 3 serial {
        if x[i, 0] < 100.0_f32 {
          for k in 4 serial {
            let t: f32 = x[i, k] + 1.0_f32
            x[i, k] = t
          }
        }
      }
      product acc: f32 over i in 3, j in 5, k in 4 of x[i, k] times w[k, j] {
        let t: f32 = acc + twice
        y[i, j] = t
      }
    }"""
    expected = (x.astype(np.float64) + 1) @ w + 2 * w[0, 0]
    run_text(text, target, x, w, y)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
