"""Scatters by the order of their places: what the scatter itself gives, for every way to combine, and only where it is worth it."""
from __future__ import annotations

import numpy as np
import pytest

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.verify import verify
from graphc.passes.pipelines import DEFAULT, for_gpu, run_pipeline
from graphc.passes.sorted_scatters import SortedScatters
from tests.executing import execute
from tests.groups import t
from tests.tolerances import assert_close

F32, I32 = dtypes.float32, dtypes.int32


def scattered(combine: str, dtype: DType, shape: tuple[int, ...], axis: int, where: tuple[int, ...]) -> Program:
    x, indices = p.parameter("x", t(*shape, dtype=dtype)), p.parameter("i", t(*where, dtype=I32))
    updates = p.parameter("u", t(*shape[:axis], *where, *shape[axis + 1:], dtype=dtype))
    return Program((x, indices, updates), (p.scatter(x, indices, updates, axis, combine),))


def feeds(program: Program, rows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    x, indices, updates = program.parameters
    return [rng.uniform(0.5, 1.5, x.dims).astype(x.dtype.np_dtype), rng.integers(-1, rows + 1, indices.dims).astype(np.int32),
            rng.uniform(0.5, 3.5, updates.dims).astype(updates.dtype.np_dtype)]


@pytest.mark.parametrize("combine", ["add", "multiply", "minimum", "maximum", "assign"])
@pytest.mark.parametrize(("shape", "axis", "where"), [((7, 3), 0, (40,)), ((2, 5, 3), 1, (3, 4)), ((9,), 0, (1,)), ((1, 4), 0, (6,)),
                                                      ((3, 2), 0, (0,))], ids=str)
def test_the_values_are_those_of_the_scatter(combine: str, shape: tuple[int, ...], axis: int, where: tuple[int, ...]) -> None:
    for dtype in (dtypes.float64, dtypes.bfloat16, I32):
        before = scattered(combine, dtype, shape, axis, where)
        after = verify(SortedScatters(most=-1)(before))
        assert "scatter" not in [node.name for node in after.nodes]
        given = feeds(before, shape[axis])
        (want,), _ = interpret(before, given)
        (got,), _ = interpret(after, given)
        assert_close(got, want, dtype, depth=8)


def test_bools() -> None:
    for combine in ("minimum", "maximum", "assign"):
        before = scattered(combine, dtypes.bool, (7, 3), 0, (9,))
        given = [array > 1 if array.dtype == bool else array for array in feeds(before, 7)]
        np.testing.assert_array_equal(interpret(SortedScatters(most=-1)(before), given)[0][0], interpret(before, given)[0][0])


def test_compiled() -> None:
    before = scattered("add", F32, (500, 3), 0, (1030,))
    given = feeds(before, 500)
    (want,), _ = execute(before, given)
    (got,), _ = execute(SortedScatters(most=-1)(before), given)
    assert_close(got, want, F32, depth=16)


def test_only_for_a_gpu_and_where_rows_would_seek_too_long() -> None:
    small, large = (scattered("add", F32, (rows, 8), 0, (4096,)) for rows in (1000, 100_000))
    assert SortedScatters()(small) is small
    assert "scatter" not in names(SortedScatters()(large).nodes)
    stages = {stage.name: stage for stage in run_pipeline(large, for_gpu(DEFAULT))}
    assert stages["sorted scatters"].problem == ""
    assert "scatter" not in names(stages["order"].program.nodes)
    assert "sorted scatters" not in {stage.name for stage in run_pipeline(small, for_gpu(DEFAULT))}
    assert "scatter" in names(run_pipeline(large, DEFAULT)[-1].program.nodes)


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]
