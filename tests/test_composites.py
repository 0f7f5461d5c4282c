"""The table of composites, compiled: every public function at every vector width, its shapes known, unknown in part, and of unknown rank.

One program per family and width, so that it is compiled and linked once. The last test fails for a function or an operation type that has
no sample and no stated reason.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OPDEFS
from tests.composite_cases import Array, Case
from tests.composite_table import FAMILIES
from tests.tolerances import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
Shape = tuple[int | None, ...] | None


def declare(case: Case, shapes: Sequence[Shape]) -> tuple[list[gc.Tensor], dict[gc.Tensor, Array]]:
    """The results of the case on placeholders of `shapes`, and what to feed."""
    inputs = [gc.placeholder(a.dtype, shape) for a, shape in zip(case.arrays, shapes, strict=True)]
    built = case.build(*inputs)
    return list(built) if isinstance(built, list | tuple) else [built], dict(zip(inputs, case.arrays, strict=True))


def run(cases: Sequence[Case], shapes_of: Any) -> None:
    """All cases in one run, each result checked; the failures of all are told together."""
    fetches: list[list[gc.Tensor]] = []
    feeds: dict[gc.Tensor, Array] = {}
    for case in cases:
        outputs, arrays = declare(case, shapes_of(case))
        fetches.append(outputs)
        feeds.update(arrays)
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        results = session.run(fetches, feeds)
    failures = [problem for case, outputs, got in zip(cases, fetches, results, strict=True) if (problem := _problem(case, outputs, got))]
    assert not failures, f"{len(failures)} of {len(cases)} samples are wrong:\n" + "\n".join(failures)


def _problem(case: Case, outputs: Sequence[gc.Tensor], got: Sequence[Array]) -> str:
    try:
        for tensor, result, want in zip(outputs, got, case.want(), strict=True):
            assert tensor.shape.is_compatible_with(want.shape), f"declared as {tensor.shape}, expected {want.shape}"
            assert_close(result, want, case.dtype_of(want), case.depth, case.scale)
    except (AssertionError, ValueError) as error:
        return f"{case.id}: {' '.join(str(error).split())[:300]}"
    return ""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("vector_bits")
def test_values(family: str) -> None:
    run(FAMILIES[family], lambda case: [a.shape for a in case.arrays])


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_dims(family: str) -> None:
    run([case for case in FAMILIES[family] if case.known != "shape"], lambda case: [(None,) * a.ndim for a in case.arrays])


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_rank(family: str) -> None:
    run([case for case in FAMILIES[family] if not case.known], lambda case: [None] * len(case.arrays))
