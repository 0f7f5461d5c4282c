"""Random words of generated code against the reference's, wherever the positions come from and at every vector width."""
from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen import interp, ir
from graphc.codegen.llvm.printer import print_kernel
from graphc.codegen.llvm.target import Target, available
from graphc.codegen.parse import parse_kernel
from graphc.codegen.schedule import schedule_cpu
from graphc.codegen.text import print_kernel as text_of
from graphc.codegen.verify import verify
from graphc.primitives.numerics import philox_4x32
from tests.kernel_samples import run_compiled

TARGETS = available()
COUNTER, KEY = 0x1_0000_0007, (0xDEADBEEF, 0x8BADF00D)


def expected(positions: np.ndarray) -> np.ndarray:
    """The word at each position, by the definition."""
    counters = np.array([[(p >> 2) & 0xFFFFFFFF, p >> 34, COUNTER & 0xFFFFFFFF, COUNTER >> 32] for p in positions.tolist()], np.uint32)
    words = philox_4x32(counters.reshape(-1, 4), KEY)
    return np.array([words[n, p & 3] for n, p in enumerate(positions.tolist())], np.uint32)


def kernel_of(rows: int, columns: int, position: str) -> ir.Kernel:
    packed = KEY[0] | KEY[1] << 32
    text = f"""kernel k(x: i64[1] in, y: u32[{rows},{columns}] out) {{
  let run: i64 = x[0]
  for i in {rows} parallel {{
    for j in {columns} serial {{
      y[i, j] = random_word(run, {packed - (1 << 64)}, {position})
    }}
  }}
}}"""
    return parse_kernel(text)


POSITIONS = {  # rows, columns, expression, function
    "whole blocks": (3, 64, "i * 64 + j", lambda i, j: 64 * i + j),
    "a tail": (2, 100, "i * 100 + j", lambda i, j: 100 * i + j),
    "less than a vector": (4, 12, "i * 12 + j", lambda i, j: 12 * i + j),
    "one": (3, 1, "i + j", lambda i, j: i + j),
    "begins inside a block": (3, 70, "i * 70 + j", lambda i, j: 70 * i + j),
    "shifted": (2, 64, "i * 64 + j + 1", lambda i, j: 64 * i + j + 1),
    "every second": (2, 40, "i * 80 + j * 2", lambda i, j: 80 * i + 2 * j),
    "one for each row": (5, 33, "i * 4", lambda i, j: 4 * i + 0 * j),
    "large": (2, 36, "i * 36 + j + 34359738368", lambda i, j: 36 * i + j + (1 << 35)),
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("name", POSITIONS)
def test_words_at_positions(target: Target, name: str) -> None:
    rows, columns, position, function = POSITIONS[name]
    plain = kernel_of(rows, columns, position)
    kernel = schedule_cpu(plain, target)
    verify(kernel)
    assert parse_kernel(text_of(kernel)) == kernel
    want = expected(np.fromfunction(function, (rows, columns), dtype=np.int64).reshape(-1)).reshape(rows, columns)
    for run in (interp.run, lambda k, arrays: run_compiled(k, target, arrays)):
        got = np.zeros((rows, columns), np.uint32)
        run(kernel, [np.array([COUNTER]), got])
        np.testing.assert_array_equal(got, want)


def test_a_block_is_computed_once_where_its_words_lie_together() -> None:
    """Ten rounds of two products: for 64 words in turn 20, not 20 for each vector."""
    for target in TARGETS:
        consecutive, apart = (print_kernel(schedule_cpu(kernel_of(2, 64, position), target), target).count(" = mul ")
                              for position in ("i * 64 + j", "i * 64 + j + 1"))
        assert consecutive < 30
        assert apart >= 40


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize(("m", "n"), [(20, 64), (7, 128), (5, 36), (9, 33), (3, 100)])
def test_words_after_a_product(target: Target, m: int, n: int) -> None:
    """As a dropout after a dense layer asks for them: whole blocks where the tiles of the product begin with one."""
    packed = KEY[0] | KEY[1] << 32
    kernel = parse_kernel(f"""kernel k(x: i64[1] in, a: f32[{m},8] in, b: f32[8,{n}] in, y: u32[{m},{n}] out, z: f32[{m},{n}] out) {{
  let run: i64 = x[0]
  product acc: f32 over i in {m}, j in {n}, k in 8 of a[i, k] times b[k, j] {{
    y[i, j] = random_word(run, {packed - (1 << 64)}, i * {n} + j)
    z[i, j] = exponential(acc)
  }}
}}""")
    a, b = np.ones((m, 8), np.float32), np.full((8, n), 0.125, np.float32)
    got, total = np.zeros((m, n), np.uint32), np.zeros((m, n), np.float32)
    run_compiled(kernel, target, [np.array([COUNTER]), a, b, got, total])
    np.testing.assert_array_equal(got, expected(np.arange(m * n)).reshape(m, n))
    np.testing.assert_allclose(total, np.e, rtol=1e-6)
