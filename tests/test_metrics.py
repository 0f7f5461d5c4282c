"""Metrics over many batches, against formulas over all of the data at once; what they refuse. TF1's own answers: test_programs_tf1.py."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc.core import errors

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
Array = np.ndarray[Any, Any]
BATCHES = (7, 1, 300, 33)


def streamed(make: Callable[[gc.Tensor, gc.Tensor], tuple[gc.Tensor, gc.Tensor]], labels: Array, guesses: Array,
             **settings: Any) -> tuple[Any, list[Any]]:
    """The value after all batches, and what the updates gave."""
    y, x = gc.placeholder(labels.dtype, [None, *labels.shape[1:]]), gc.placeholder(guesses.dtype, [None, *guesses.shape[1:]])
    value, update = make(y, x)
    with gc.Session(**settings) as session:
        session.run(gc.local_variables_initializer())
        batches = [slice(end - size, end) for end, size in zip(np.cumsum(BATCHES), BATCHES, strict=True)]
        updates = [session.run(update, {y: labels[batch], x: guesses[batch]}) for batch in batches]
        return session.run(value), updates


def data(classes: int = 2) -> tuple[Array, Array]:
    """Labels, and scores that know something of them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, sum(BATCHES))
    return labels, (rng.random((len(labels), classes)) + 0.7 * np.eye(classes)[labels]).astype(np.float32)


def test_area_under_the_curve_is_the_chance_of_the_right_order() -> None:
    """The area under ROC is the probability that a true example has the higher score: Mann and Whitney's U."""
    labels, scores = data()
    shares = (scores[:, 1] / 1.7).astype(np.float32)
    value, updates = streamed(lambda y, x: gc.metrics.auc(y, x, num_thresholds=2000), labels == 1, shares)
    order = stats.mannwhitneyu(shares[labels == 1], shares[labels == 0]).statistic / ((labels == 1).sum() * (labels == 0).sum())
    assert value == pytest.approx(order, abs=2e-3)
    assert updates[-1] == value


def test_average_precision_of_careful_interpolation() -> None:
    labels, scores = data()
    shares = (scores[:, 1] / 1.7).astype(np.float32)
    value, _ = streamed(lambda y, x: gc.metrics.auc(y, x, num_thresholds=2000, curve="PR", summation_method="careful_interpolation"),
                        labels == 1, shares)
    hits = (labels == 1)[np.argsort(-shares, kind="stable")]
    average_precision = (np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean()
    assert value == pytest.approx(average_precision, abs=5e-3)


def test_shares_of_classes() -> None:
    labels, scores = data(5)
    guesses = scores.argmax(1)
    matrix = np.histogram2d(labels, guesses, bins=5, range=[[0, 5], [0, 5]])[0]
    accuracy, _ = streamed(gc.metrics.accuracy, labels, guesses)
    assert accuracy == pytest.approx((labels == guesses).mean())
    per_class, _ = streamed(lambda y, x: gc.metrics.mean_per_class_accuracy(y, x, 5), labels, guesses)
    assert per_class == pytest.approx((np.diag(matrix) / matrix.sum(1)).mean())
    overlap, updates = streamed(lambda y, x: gc.metrics.mean_iou(y, x, 5), labels, guesses)
    assert overlap == pytest.approx((np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))).mean())
    np.testing.assert_array_equal(updates[-1], matrix)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_k_best(k: int) -> None:
    labels, scores = data(5)
    best = np.argsort(-scores, 1, kind="stable")[:, :k]
    hits = (best == labels[:, None]).any(1)
    assert streamed(lambda y, x: gc.metrics.recall_at_k(y, x, k), labels, scores)[0] == pytest.approx(hits.mean())
    assert streamed(lambda y, x: gc.metrics.precision_at_k(y, x, k), labels, scores)[0] == pytest.approx(hits.mean() / k)
    rank = np.where(hits, (best == labels[:, None]).argmax(1) + 1, np.inf)
    assert streamed(lambda y, x: gc.metrics.average_precision_at_k(y, x, k), labels, scores)[0] == pytest.approx((1 / rank).mean())


def test_classes_beyond_the_number_do_not_count() -> None:
    labels, guesses = np.array([0, 1, 5, 1, -1]), np.array([0, 5, 1, 1, 0])
    y, x = gc.constant(labels), gc.constant(guesses)
    value, update = gc.metrics.mean_iou(y, x, 2)
    with gc.Session() as session:
        session.run(gc.local_variables_initializer())
        np.testing.assert_array_equal(session.run(update), [[1, 0], [0, 1]])
        assert session.run(value) == 1.0


def test_metrics_live_in_local_variables() -> None:
    x = gc.placeholder(gc.float32, [None])
    with gc.variable_scope("evaluation"):
        value, update = gc.metrics.mean(x, name="loss")
    assert gc.global_variables() == []
    names = ["evaluation/loss/total:0", "evaluation/loss/count:0"]
    assert [v.name for v in gc.local_variables()] == [v.name for v in gc.get_collection(gc.GraphKeys.METRIC_VARIABLES)] == names
    with gc.Session() as session:
        with pytest.raises(errors.FailedPreconditionError, match="evaluation/loss/total"):
            session.run(update, {x: [1.0]})
        for _ in range(2):  # initialising begins anew
            session.run(gc.local_variables_initializer())
            assert session.run(value) == 0.0
            assert session.run(update, {x: [1.0, 2.0]}) == 1.5
            assert session.run([value, update], {x: [6.0]}) == [1.5, 3.0]
            assert session.run(update, {x: []}) == 3.0


def test_predictions_out_of_range_are_refused_in_checked_mode() -> None:
    labels, scores = data()
    auc, _ = streamed(gc.metrics.auc, labels == 1, scores[:, 1])
    assert 0 <= auc <= 1
    gc.reset_default_graph()
    with pytest.raises(errors.InvalidArgumentError, match=r"predictions must be in \[0, 1\]: 1\.\d+ is not"):
        streamed(gc.metrics.auc, labels == 1, scores[:, 1], config=gc.ConfigProto(checked=True))


@pytest.mark.parametrize(("make", "message"), [
    (lambda x: gc.metrics.auc(x > 0, x, curve="AUC"), "curve must be either ROC or PR, AUC unknown"),
    (lambda x: gc.metrics.auc(x > 0, x, summation_method="x"), "Invalid summation_method: x"),
    (lambda x: gc.metrics.specificity_at_sensitivity(x > 0, x, -0.5), r"`sensitivity` must be in the range \[0, 1\]"),
    (lambda x: gc.metrics.mean(x, [1.0, 2.0]), "weights can not be broadcast to values. Mismatch at dim 0"),
    (lambda x: gc.metrics.accuracy(x, gc.zeros([3])), "Shapes .* are incompatible"),
    (lambda x: gc.metrics.mean_tensor(gc.placeholder(gc.float32, [None])), "the shape of values must be known"),
    (lambda x: gc.metrics.recall_at_k(gc.zeros([1, 2, 3], gc.int64), gc.zeros([1, 2]), 1), "Unexpected labels shape"),
    (lambda x: gc.metrics.precision_at_top_k(gc.placeholder(gc.int64), gc.zeros([1, 2], gc.int64)), "ranks of labels .* must be known"),
    (lambda x: gc.metrics.average_precision_at_k([[1]], gc.zeros([1, 2]), 0), "Invalid k=0"),
])
def test_what_is_refused(make: Callable[[gc.Tensor], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(gc.constant([0.1, 0.2, 0.3, 0.4]))
