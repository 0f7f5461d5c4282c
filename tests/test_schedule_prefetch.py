"""Row kernels ask for later rows: where it pays, and only there."""
from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen import interp, ir
from graphc.codegen.parse import parse_kernel
from graphc.codegen.schedule_prefetch import prefetch_rows
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import verify


def rows(count: int, columns: int, code: str = "f32") -> ir.Kernel:
    """Every element over the exponential of its row's maximum."""
    return parse_kernel(f"""kernel rows(x: {code}[{count},{columns}] in, y: {code}[{count},{columns}] out) {{
      for r in {count} parallel {{
        acc m: {code} = -inf_{code}
        for i in {columns} vector(16, 4) {{ m maximum= x[r, i] }}
        local row: {code}[{columns}]
        for j in {columns} vector(16, 2) {{ row[j] = exponential(x[r, j] - m) }}
        for k in {columns} vector(16, 4) {{ y[r, k] = row[k] * x[r, k] }}
      }}
    }}""")


def hints(kernel: ir.Kernel) -> list[str]:
    return [line.strip() for line in print_kernel(kernel).splitlines() if "prefetch" in line]


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (4096, 1024, ["prefetch x[r + 2, j]"]),  # 8 KiB ahead
        (4096, 512, ["prefetch x[r + 4, j]"]),
        (300, 100_000, ["prefetch x[r + 1, j]"]),
        (1_000_000, 10, []),  # short rows
        (64, 1024, []),  # in the cache
    ],
)
def test_rows_to_come_are_asked_for_in_the_heaviest_loop(count: int, columns: int, expected: list[str]) -> None:
    kernel = prefetch_rows(rows(count, columns))
    verify(kernel)
    assert hints(kernel) == expected
    if expected:
        lines = [line.strip() for line in print_kernel(kernel).splitlines()]
        assert "exponential" in lines[lines.index(expected[0]) + 1]


def test_one_walk_needs_no_help() -> None:
    text = """kernel copy(x: f32[4096,1024] in, y: f32[4096,1024] out) {
      for r in 4096 parallel {
        for i in 1024 vector(16, 4) { y[r, i] = x[r, i] }
      }
    }"""
    assert prefetch_rows(parse_kernel(text)) == parse_kernel(text)


def test_a_hint_changes_no_result() -> None:
    kernel = rows(300, 1024)
    x = np.random.default_rng(0).normal(size=(300, 1024)).astype(np.float32)
    results = []
    for each in (kernel, prefetch_rows(kernel)):
        y = np.zeros_like(x)
        interp.run(each, [x, y])
        results.append(y)
    assert hints(prefetch_rows(kernel)) == ["prefetch x[r + 2, j]"]
    np.testing.assert_array_equal(results[0], results[1])
