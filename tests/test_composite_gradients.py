"""Gradients of every differentiable composite: what is compiled agrees with central differences in float64, to the second order.

The samples of a family lie in one program and do not touch each other, so that one element of each is moved in the same run.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OPDEFS
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from graphc.passes.partition import Partition
from graphc.passes.pipelines import PIPELINES, run_pipeline
from tests.composite_cases import Array, Case, public
from tests.composite_models import LOSSES
from tests.composite_table import FAMILIES
from tests.public_functions import declare
from tests.tolerances import GRADIENT_RELATIVE, assert_close

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
STEP = 1e-6
SMOOTH = {family: chosen for family, cases in FAMILIES.items() if (chosen := [case for case in cases if case.slopes])}
TWICE = {family: chosen for family, cases in SMOOTH.items() if (chosen := [case for case in cases if case.slopes > 1])}


@dataclass(frozen=True)
class Sum:
    """A weighted sum of the results of a case, the floating placeholders that it is differentiated by, and all values fed."""

    case: Case
    total: gc.Tensor
    by: list[gc.Tensor]
    feeds: dict[gc.Tensor, Array]

    def gradients(self) -> list[gc.Tensor]:
        found = gc.gradients(self.total, self.by)
        present = [each for each in found if each is not None]
        assert len(present) == len(found), f"{self.case.id} has no gradient"
        return present


def weighted(tensors: Sequence[gc.Tensor], shapes: Sequence[tuple[int, ...]], key: int) -> gc.Tensor:
    """The sum of all elements, each with a weight of its own, so that no two errors cancel."""
    rng = np.random.default_rng(key)
    weights = [gc.constant(rng.uniform(0.5, 1.5, shape), t.dtype) for t, shape in zip(tensors, shapes, strict=True)]
    return gc.add_n([gc.reduce_sum(t * w) for t, w in zip(tensors, weights, strict=True)])


def summed(case: Case, known: bool = True) -> Sum:
    outputs, feeds = declare(case, [a.shape if known else (None,) * a.ndim for a in case.arrays])
    by = [tensor for tensor in feeds if tensor.dtype is gc.float64]
    return Sum(case, weighted(outputs, [w.shape for w in case.want()], 1), by, feeds)


def differences(session: gc.Session, sums: Sequence[Sum]) -> list[list[Array]]:
    """Central differences of each total by each element of its placeholders."""
    totals = [each.total for each in sums]
    feeds = {tensor: np.array(value) for each in sums for tensor, value in each.feeds.items()}
    places = [[(tensor, index) for tensor in each.by for index in np.ndindex(feeds[tensor].shape)] for each in sums]
    found = [{tensor: np.zeros(feeds[tensor].shape) for tensor in each.by} for each in sums]
    for turn in range(max(map(len, places))):
        moving = [(n, *spots[turn]) for n, spots in enumerate(places) if turn < len(spots)]
        ends = []
        for step in (STEP, -STEP):
            for _, tensor, index in moving:
                feeds[tensor][index] += step
            ends.append(session.run(totals, feeds))
            for _, tensor, index in moving:
                feeds[tensor][index] -= step
        for n, tensor, index in moving:
            found[n][tensor][index] = (ends[0][n] - ends[1][n]) / (2 * STEP)
    return [list(each.values()) for each in found]


def check(sums: Sequence[Sum], gradients: Sequence[Sequence[gc.Tensor | None]]) -> None:
    """`gradients[n]` against the differences of `sums[n]`; None stands for zeros."""
    feeds = {tensor: value for each in sums for tensor, value in each.feeds.items()}
    problems = []
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        expected = differences(session, sums)
        given = session.run([[g for g in row if g is not None] for row in gradients], feeds)
    for each, row, values, wants in zip(sums, gradients, given, expected, strict=True):
        left = iter(values)
        for g, want in zip(row, wants, strict=True):
            got = np.zeros_like(want) if g is None else next(left)
            error = np.abs(got - want) / np.maximum(np.abs(want), 1)
            if got.shape != want.shape or got.dtype != np.float64 or not np.all(error <= GRADIENT_RELATIVE):
                problems.append(f"{each.case.id}: off by {np.max(error):.3g}\n  {got.ravel()[:4]}\n  {want.ravel()[:4]}")
    assert not problems, f"{len(problems)} gradients are wrong:\n" + "\n".join(problems)


@pytest.mark.parametrize("family", SMOOTH)
def test_gradients(family: str) -> None:
    sums = [summed(case) for case in SMOOTH[family]]
    check(sums, [each.gradients() for each in sums])


@pytest.mark.parametrize("family", SMOOTH)
def test_gradients_of_unknown_dims(family: str) -> None:
    sums = [summed(case, known=False) for case in SMOOTH[family] if case.known != "shape"]
    if sums:
        check(sums, [each.gradients() for each in sums])


@pytest.mark.parametrize(("family", "known"), [*((family, True) for family in TWICE), ("running", False), ("normalising", False)])
def test_second_order(family: str, known: bool) -> None:
    inner = []
    for each in (summed(case, known) for case in TWICE[family]):
        slopes = weighted(each.gradients(), [each.feeds[tensor].shape for tensor in each.by], 2)
        inner.append(Sum(each.case, slopes, each.by, each.feeds))
    check(inner, [gc.gradients(each.total, each.by) for each in inner])


# What differences in float64 cannot show ------------------------------------------------------------------------------------------------

def _huber_slope(y: Array, x: Array) -> Any:
    return np.clip(x - y, -0.7, 0.7)


LOSS_SLOPES: dict[str, Any] = {
    "absolute_difference": lambda y, x: np.sign(x - y),
    "mean_squared_error": lambda y, x: 2 * (x - y),
    "log_loss": lambda y, x: (1 - y) / (1 - x + 1e-7) - y / (x + 1e-7),
    "hinge_loss": lambda y, x: np.where((2 * y - 1) * x < 1, 1 - 2 * y, 0),
    "huber_loss": _huber_slope,
    "sigmoid_cross_entropy": lambda y, x: special.expit(x) - y,
    "compute_weighted_loss": lambda y, x: y,
}


def test_gradients_of_losses() -> None:
    """TF1 computes losses in float32: their gradients are compared with the derivatives written out."""
    assert LOSS_SLOPES.keys() == LOSSES.keys()
    rng = np.random.default_rng(3)
    labels, guesses, weights = (rng.uniform(0.05, 0.95, shape).astype(np.float32) for shape in ((7, 33), (7, 33), (7, 1)))
    y, x = gc.placeholder(gc.float32, [None, 33]), gc.placeholder(gc.float32, [None, 33])
    slopes = {name: gc.gradients(build(y, x, weights), x)[0] for name, (build, _) in LOSSES.items()}
    dense = gc.gradients(gc.losses.softmax_cross_entropy(y, x), x)[0]
    sparse = gc.gradients(gc.losses.sparse_softmax_cross_entropy(np.arange(7), x), x)[0]
    with gc.Session() as session:
        found, by_rows, by_places = session.run([slopes, dense, sparse], {y: labels, x: guesses})
    truth, guess, weight = (a.astype(np.float64) for a in (labels, guesses, weights))
    for name, slope in LOSS_SLOPES.items():
        assert_close(found[name], slope(truth, guess) * weight / guess.size, scale=1 / guess.size)
    chances = special.softmax(guess, -1)
    assert_close(by_rows, (chances - truth) / 7)
    assert_close(by_places, (chances - np.eye(33)[:7]) / 7)


def test_gradients_by_weights() -> None:
    """Of losses, which are computed in float32: a weight's slope is the sum of what it is multiplied with."""
    x, rows = gc.placeholder(gc.float32, [None, 3]), gc.placeholder(gc.float32, [None, 1])
    scores, any_rank = gc.placeholder(gc.float32, [None, 3]), gc.placeholder(gc.float32)
    weighted = gc.losses.compute_weighted_loss(x, rows, reduction="weighted_sum")
    entropy = gc.losses.sparse_softmax_cross_entropy([[0], [2]], scores, any_rank, reduction="weighted_sum")
    slopes = [*gc.gradients(weighted, [x, rows]), *gc.gradients(entropy, [any_rank])]
    values, weights = np.array([[1, 2, 3], [4, 5, 7]], np.float32), np.array([[2], [3]], np.float32)
    with gc.Session() as session:
        by_x, by_rows, by_any = session.run(slopes, {x: values, rows: weights, scores: values, any_rank: weights})
    np.testing.assert_array_equal(by_x, [[2, 2, 2], [3, 3, 3]])
    np.testing.assert_array_equal(by_rows, [[6], [16]])
    np.testing.assert_allclose(by_any, -special.log_softmax(values, 1)[[0, 1], [0, 2]][:, None], rtol=1e-6)


def test_gradients_pass_through_conversions() -> None:
    x = gc.placeholder(gc.float64, [None])
    (slope,) = gc.gradients(gc.cast(gc.cast(x * x, gc.float32), gc.float64) * 3.0, x)
    at = np.linspace(-2, 2, 7)
    with gc.Session() as session:
        np.testing.assert_allclose(session.run(slope, {x: at}), 6 * at)


def test_gradients_of_ranges() -> None:
    start, delta = gc.placeholder(gc.float32, []), gc.placeholder(gc.float32, [])
    found = gc.gradients(gc.range(start, 3.0, delta), [start, delta])
    with gc.Session() as session:
        assert session.run(found, {start: 1.0, delta: 0.5}) == [4.0, 6.0]


FLAT = ("floor", "ceil", "rint", "round", "is_nan", "is_inf", "is_finite", "floordiv", "floor_div", "less", "less_equal", "greater",
        "greater_equal", "equal", "not_equal", "argmax", "argmin", "shape", "size", "rank", "stop_gradient", "zeros_like", "ones_like",
        "count_nonzero", "to_int32", "to_int64")


@pytest.mark.parametrize("subject", FLAT)
def test_flat_functions_have_no_gradient(subject: str) -> None:
    """Piecewise constant functions: no path, rather than zeros that hide it."""
    binary = {"floordiv", "floor_div", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
    x = gc.placeholder(gc.float64, [None, 3])
    y = public(subject)(x, x * 2.0) if subject in binary else public(subject)(x)
    assert gc.gradients(gc.cast(y, gc.float64), x) == [None]


def test_least_squares_by_singular_values_have_no_gradient() -> None:
    """As in TF1: an error, rather than a slope that would be wrong where singular values count as zero."""
    a, b = gc.placeholder(gc.float64, [3, 2]), gc.placeholder(gc.float64, [3, 1])
    with pytest.raises(ValueError, match="Gradient not defined for fast=False"):
        gc.gradients(gc.matrix_solve_ls(a, b, fast=False), [a, b])


# Completeness ---------------------------------------------------------------------------------------------------------------------------

NOT_DIFFERENTIABLE: Mapping[str, str] = {
    **dict.fromkeys(("Const", "Placeholder", "NoOp"), "takes no tensor"),
    **dict.fromkeys(("Floor", "Ceil", "Rint", "Round", "FloorDiv"), "piecewise constant: test_flat_functions_have_no_gradient"),
    **dict.fromkeys(("IsNan", "IsInf", "IsFinite", "LogicalNot", "LogicalAnd", "LogicalOr", "Less", "LessEqual", "Greater", "GreaterEqual",
                     "Equal", "NotEqual", "Any", "All"), "gives bools"),
    **dict.fromkeys(("Shape", "ShapeN", "Size", "Rank", "TruncateDiv", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Invert", "LeftShift",
                     "RightShift"), "gives integers"),
    "Bitcast": "other bits are another number",
    **dict.fromkeys(("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxArgsGradient", "FakeQuantWithMinMaxVars",
                     "FakeQuantWithMinMaxVarsGradient", "FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxVarsPerChannelGradient"),
                    "of float32 alone: tests/test_quantization.py"),
    "Cast": "test_gradients_pass_through_conversions",
    "Print": "tests/test_prints.py",
    "Range": "test_gradients_of_ranges",
    "ImplicitGamma": "tests/test_random.py",
    **dict.fromkeys(("AdjustContrastv2", "AdjustHue", "AdjustSaturation", "CropAndResize", "DrawBoundingBoxesV2", "ExtractGlimpse",
                     "MultiscaleSSIM", "PerImageStandardization", "ResizeArea", "ResizeBicubic", "ResizeBilinear",
                     "ResizeNearestNeighbor", "SSIM"), "computed in float32: test_images.py::test_gradient_in_float32"),
    "LRN": "TensorFlow's own slopes: tests/recorded_images.py, in test_composites.py::test_values",
    "MatrixSolveLs": "refused: test_least_squares_by_singular_values_have_no_gradient",
    "RaisedCosineWindow": "takes a length",
    **dict.fromkeys(("BroadcastWeights", "SqueezeBeside"), "test_gradients_by_weights"),
}


def test_every_differentiable_operation_has_a_gradient_case() -> None:
    for cases in SMOOTH.values():
        for case in cases:
            for known in (True, False) if case.known != "shape" else (True,):
                summed(case, known).gradients()
    shown = {operation.type.removesuffix("Grad") for operation in get_default_graph().get_operations() if operation.type.endswith("Grad")}
    wanted = {name for name, op in OPDEFS.items() if not (name.endswith("Grad") or op.stateful or op.gradient is False)}
    assert sorted(wanted - shown - NOT_DIFFERENTIABLE.keys()) == [], "operations without a gradient case"
    assert sorted(NOT_DIFFERENTIABLE.keys() - (wanted - shown)) == [], "stated reasons that no longer hold"


# What these gradients once broke --------------------------------------------------------------------------------------------------------

def test_fusion_makes_no_cycles() -> None:
    """Second derivatives of a batch normalisation by its own moments: kernels with members far apart take a path out and back."""
    x = gc.placeholder(gc.float64, [3, 3, 2])
    y = gc.nn.batch_normalization(x, *gc.nn.moments(x, [0], keep_dims=True), None, None, 1e-2)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, (2, 3, 3, 2))
    (slope,) = gc.gradients(gc.reduce_sum(y * gc.constant(weights[0])), x)
    (second,) = gc.gradients(gc.reduce_sum(slope * gc.constant(weights[1])), x)
    assert second is not None
    program = specialise([second], {x: TensorType(gc.float64, (3, 3, 2))})
    partition = Partition(run_pipeline(program, PIPELINES["default"].without("fuse", "order"))[-1].program)
    partition.merge_all()
    waiting = {group: {partition.group_of[s] for s in partition.external(group) if s in partition.group_of} for group in partition.groups()}
    while waiting:
        ready = [group for group, needs in waiting.items() if not needs & waiting.keys()]
        assert ready, f"{len(waiting)} kernels wait for each other"
        for group in ready:
            del waiting[group]
