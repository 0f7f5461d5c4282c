"""Short last axes are written out: the same values, and no loop left that fills a fraction of a vector."""
from __future__ import annotations

import numpy as np
import pytest

from graphc import primitives as p
from graphc.codegen import interp, ir
from graphc.codegen.llvm.target import Target, available
from graphc.codegen.lower import lower
from graphc.codegen.schedule import CpuShape, schedule_cpu
from graphc.codegen.schedule_few import write_out_few
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.program import Node
from tests.groups import t
from tests.kernel_samples import run_compiled
from tests.kernels import group


def stacked(rows: int, count: int) -> Node:
    """`count` vectors side by side, each but the first times two."""
    vectors = tuple(p.parameter(f"v{n}", t(rows)) for n in range(count))
    columns = [p.reshape(v if n == 0 else p.add(v, v), (rows, 1)) for n, v in enumerate(vectors)]
    return group("loop", [p.concatenate(columns, 1)], vectors)


@pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
@pytest.mark.parametrize(("rows", "count"), [(16, 2), (17, 2), (1030, 3), (33, 5), (3, 2)])
def test_vectors_side_by_side(target: Target, rows: int, count: int) -> None:
    kernel = schedule_cpu(lower(stacked(rows, count)), target)
    verify(kernel)
    given = [np.random.default_rng(n).standard_normal(rows).astype(np.float32) for n in range(count)]
    want = np.stack([v if n == 0 else 2 * v for n, v in enumerate(given)], 1)
    for pieces in (None, 1):
        y = np.full(kernel.params[-1].shape, np.nan, np.float32)
        arrays = [*(v.reshape(b.shape) for v, b in zip(given, kernel.params, strict=False)), y]
        if pieces is None:
            interp.run(kernel, arrays, "reversed")
        else:
            run_compiled(kernel, target, arrays, pieces)
        np.testing.assert_array_equal(y.reshape(rows, count), want)


def test_what_is_decided_is_not_computed() -> None:
    plain = lower(stacked(64, 2))
    kernel = write_out_few(plain, 16)
    assert len([s for s in ir.walk(kernel.body) if isinstance(s, ir.Loop)]) == 1
    assert "select" in print_kernel(plain)
    assert "select" not in print_kernel(kernel)
    assert not any(isinstance(each, ir.Load) and each.where for s in ir.walk(kernel.body) for e in ir.expressions(s)
                   for each in ir.subexpressions(e))


def test_what_is_left_alone() -> None:
    assert write_out_few(wide := lower(stacked(64, 6)), 16) is wide, "six of sixteen are worth a vector"
    assert write_out_few(few := lower(stacked(8, 2)), 16) is few, "fewer rows than lanes"
    x = p.parameter("x", t(64, 2, dtype=dtypes.int32))
    assert write_out_few(sums := lower(p.reduce_sum(x, (1,))), 16) is sums, "a reduction"


def test_values_are_computed_before_the_first_is_stored() -> None:
    """The output may lie over the operand: each pair swapped with the pair's own elements only."""
    x = p.parameter("x", t(64, 2))
    kernel = schedule_cpu(lower(group("loop", [p.add(p.reverse(x, (1,)), x)], (x,))), CpuShape(512))
    loop = next(s for s in ir.walk(kernel.body) if isinstance(s, ir.Loop) and s.kind == "vector")
    kinds = [type(s) for s in loop.body]
    assert kinds == sorted(kinds, key=lambda kind: kind is ir.Store)
