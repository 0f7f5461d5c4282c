"""Rows that fill little of a vector: one in each lane, with the results of numpy and scipy."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from graphc import primitives as p
from graphc.codegen import interp, ir
from graphc.codegen.llvm.target import Target, available
from graphc.codegen.lower import lower
from graphc.codegen.schedule import CpuShape, schedule_cpu
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.program import Node
from tests import groups
from tests.groups import t
from tests.kernel_samples import run_compiled
from tests.kernels import group

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def softmax(rows: int, columns: int, dtype: dtypes.DType = dtypes.float32) -> Node:
    x = p.parameter("x", t(rows, columns, dtype=dtype))
    return group("row", groups.softmax(x), (x,))


def vectors_of(kernel: ir.Kernel) -> list[tuple[int, int]]:
    return [(loop.extent, loop.lanes) for loop in ir.walk(kernel.body) if isinstance(loop, ir.Loop) and loop.kind == "vector"]


@pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
@pytest.mark.parametrize("shape", [(16, 5), (17, 5), (100, 3), (64, 2), (31, 4), (16, 1), (15, 3), (40, 6)], ids=str)
def test_softmax_of_short_rows(target: Target, shape: tuple[int, int]) -> None:
    kernel = schedule_cpu(lower(softmax(*shape)), target)
    verify(kernel)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x[0, 0], x[-1, -1] = -np.inf, 80
    x[7] = np.nan
    want = special.softmax(x.astype(np.float64), axis=1)
    for pieces in (None, 1, 3):
        y = np.empty(kernel.params[1].shape, np.float32)
        arrays = [x.reshape(kernel.params[0].shape), y]
        if pieces is None:
            interp.run(kernel, arrays, "reversed")
        else:
            run_compiled(kernel, target, arrays, pieces)
        np.testing.assert_allclose(y.reshape(shape), want, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
def test_the_first_greatest_of_short_rows(target: Target) -> None:
    """Two reductions, the second of which needs the first, of integers that occur twice."""
    x = p.parameter("x", t(50, 3, dtype=dtypes.int32))
    kernel = schedule_cpu(lower(p.argmax(x, 1, dtypes.int32)), target)
    values = np.random.default_rng(0).integers(0, 3, (50, 3)).astype(np.int32)
    got = np.empty(50, np.int32)
    run_compiled(kernel, target, [values, got])
    np.testing.assert_array_equal(got, values.argmax(1))


def test_only_rows_that_fill_a_third_of_a_vector_or_less() -> None:
    wide, narrow = CpuShape(512), CpuShape(128)
    assert vectors_of(schedule_cpu(lower(softmax(40, 5)), wide)) == [(16, 16), (8, 16)]
    assert (16, 16) not in vectors_of(schedule_cpu(lower(softmax(40, 6)), wide)), "six of sixteen are worth a vector"
    assert (16, 16) not in vectors_of(schedule_cpu(lower(softmax(15, 5)), wide)), "fewer rows than lanes"
    assert all(extent == 1 or extent == 3 for extent, _ in vectors_of(schedule_cpu(lower(softmax(40, 3)), narrow))), "no gathers there"
