"""Pipelines for a GPU: reductions cut so that every multiprocessor has work, products left to a library, everything else as on a CPU."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.epilogues import Epilogues
from graphc.passes.fuse import Fuse
from graphc.passes.pipelines import DEFAULT, NONE, PIPELINES, UNFUSED, Pipeline, for_gpu, run_pipeline
from graphc.passes.split import CPU, GPU, Sizes, Split
from graphc.passes.storage import is_step

F32 = dtypes.float32
Shape = tuple[int, ...]


def x_(*shape: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(F32, shape))


def reductions(program: Program) -> list[tuple[Shape, Shape]]:
    """(shape before, shape after) of every reduction, axes of one element left out."""
    def bare(shape: Shape) -> Shape:
        return tuple(dim for dim in shape if dim != 1)

    return [(bare(n.operands[0].dims), bare(n.dims)) for n in verify(program).nodes if n.name.startswith("reduce")]


@pytest.mark.parametrize(("shape", "axes", "expected"), [
    pytest.param((1 << 22,), (0,), [((512, 8192), (512,)), ((512,), ())], id="4M"),
    pytest.param((1 << 26,), (0,), [((512, 1 << 17), (512,)), ((512,), ())], id="64M: larger pieces, not more"),
    pytest.param((8, 1 << 20), (1,), [((8, 64, 1 << 14), (8, 64)), ((8, 64), (8,))], id="few rows"),
    pytest.param((64, 1 << 18), (1,), [((64, 8, 1 << 15), (64, 8)), ((64, 8), (64,))], id="more rows"),
    pytest.param((65536, 128), (0,), [((128, 512, 128), (128, 128)), ((128, 128), (128,))], id="columns"),
    pytest.param((8192, 1024), (0,), [((16, 512, 1024), (16, 1024)), ((16, 1024), (1024,))], id="more columns"),
    pytest.param((4, 65536, 128), (1,), [((4, 32, 2048, 128), (4, 32, 128)), ((4, 32, 128), (4, 128))], id="columns of several matrices"),
    pytest.param((60000, 10), (0,), [((72, 65, 130), (72, 130)), ((936, 10), (10,))], id="narrow columns, thirteen rows at a time"),
    pytest.param((32, 64, 3136), (0, 2), [((32, 64, 3136), (32, 64)), ((32, 64), (64,))], id="around an axis"),
    pytest.param((4096, 1024), (0, 1), [((4096, 1024), (4096,)), ((4096,), ())], id="along an axis of the array"),
])  # fmt: skip
def test_reductions_are_cut_so_that_a_gpu_has_work(shape: Shape, axes: Shape, expected: list[tuple[Shape, Shape]]) -> None:
    x = x_(*shape)
    assert reductions(Split(GPU)(Program((x,), (p.reduce_sum(x, axes),)))) == expected


@pytest.mark.parametrize(("shape", "axes"), [
    pytest.param((1000,), (0,), id="short"), pytest.param((0, 5), (0,), id="empty"), pytest.param((1, 1, 1), (0, 2), id="one element"),
    pytest.param((64, 50257), (1,), id="a vocabulary: its softmax is one kernel"), pytest.param((300, 1 << 20), (1,), id="rows enough"),
    pytest.param((1024, 4096), (0,), id="a bias: blocks enough for its length"), pytest.param((2048, 128), (), id="no axis"),
    pytest.param((512, 64), (0,), id="short columns")])
def test_reductions_with_work_for_all_stay_whole(shape: Shape, axes: Shape) -> None:
    x = x_(*shape)
    program = Program((x,), (p.reduce_sum(x, axes),))
    assert Split(GPU)(program) is program


@pytest.mark.parametrize("shape_axes", [
    ((1 << 17,), (0,)), ((3, 40_009), (1,)), ((2049, 130), (0,)), ((30_011, 7), (0,)), ((2, 3001, 33), (1,)), ((40, 3, 3001), (0, 2)),
    ((9, 70_000, 1), (1, 2))], ids=str)
@pytest.mark.parametrize("build", [p.reduce_sum, p.reduce_max, p.reduce_min, p.reduce_prod], ids=lambda build: build.__name__)
def test_pieces_have_the_same_value(build: Callable[..., Node], shape_axes: tuple[Shape, Shape]) -> None:
    shape, axes = shape_axes
    x = x_(*shape)
    program = Program((x,), (build(x, axes),))
    data = np.random.default_rng(0).uniform(0.99, 1.01, shape).astype(np.float32)
    data[(0,) * len(shape)] = np.nan
    small = Sizes(long_row=1 << 12, few_rows=264, piece=1 << 9, long_columns=1 << 12, few_columns=264 * 32, long_column=64, steps=16,
                  pieces=64)
    after = verify(Split(small)(program))
    assert after != program
    (want,), (got,) = interpret(program, [data])[0], interpret(after, [data])[0]
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert np.isnan(np.asarray(got)).any()


def test_what_feeds_a_reduction_stays_in_its_kernel() -> None:
    x = x_(1 << 20)
    program = Program((x,), (p.reduce_sum(p.multiply(x, x), (0,)),))
    final = run_pipeline(program, for_gpu(DEFAULT))[-1].program
    assert [sorted({n.name for n in step.attrs.body.nodes} & {"multiply", "reduce_sum"}) if step.name == "fusion" else [step.name]
            for step in final.nodes if is_step(step)] == [["multiply", "reduce_sum"], ["reduce_sum"]]


def test_every_pipeline_has_a_form_for_a_gpu() -> None:
    def library(node: Node) -> bool:
        return True

    for pipeline in PIPELINES.values():
        fitted = for_gpu(pipeline, library)
        assert fitted.name == pipeline.name
        added = {"recompute", "absorb", "together"} if pipeline is DEFAULT else set()
        added |= {"sorted scatters"} if pipeline is not NONE else set()
        assert {name for name, _ in fitted.passes} == {name for name, _ in pipeline.passes} | added
        assert [name for name, _ in fitted.passes if name not in added] == [name for name, _ in pipeline.passes]
    assert dict(for_gpu(DEFAULT, library).passes)["fuse"] == Epilogues(library)
    assert dict(for_gpu(DEFAULT).passes)["fuse"] == Fuse()
    assert dict(for_gpu(UNFUSED, library).passes)["separate"] == Fuse(merge=False)
    for pipeline in (DEFAULT, UNFUSED):
        assert dict(for_gpu(pipeline).passes)["split"] == Split(GPU)
        assert dict(pipeline.passes)["split"] == Split(CPU)
    assert for_gpu(NONE, library) == NONE


def test_passes_with_options_of_ones_own_stay() -> None:
    own = Sizes(pieces=3)
    pipeline = Pipeline("mine", (("split", Split(own)), ("mine", lambda program: program)))
    assert for_gpu(pipeline, lambda node: True) == pipeline
    bare = for_gpu(DEFAULT, lambda node: True).without("fuse", "recompute", "absorb")
    assert [name for name, _ in bare.passes] == ["expand", "real", "simplify", "sorted scatters", "split", "order", "together"]
