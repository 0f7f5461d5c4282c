"""Metrics of several classes: the mean over classes of accuracy, and of intersection over union, from a matrix of counts."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.operation import Tensor
from graphc.metrics.streaming import Collections, Metric, as_given, kept, metric_scope, metric_variable, quotient
from graphc.ops.array import reshape, shape
from graphc.ops.choosing import where
from graphc.ops.creation import ones, ones_like
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import cast, div, equal, greater, greater_equal, less, logical_and, not_equal
from graphc.ops.reductions import reduce_mean, reduce_sum
from graphc.ops.segments import unsorted_segment_sum


def _flat(x: Tensor) -> Tensor:
    return reshape(x, [-1]) if x.rank is None or x.rank > 1 else x


def mean_per_class_accuracy(labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Collections = None,
                            updates_collections: Collections = None, name: str | None = None) -> Metric:
    """The mean over the classes of how often the examples of the class are predicted as such; update_op gives each class's own."""
    with metric_scope(name, "mean_accuracy", predictions, labels, weights):
        truth, guesses = as_given(labels, predictions)
        classes, guesses = _flat(cast(truth, dtypes.int64)), _flat(guesses)
        guesses.shape.assert_is_compatible_with(classes.shape)
        total, count = (metric_variable([num_classes], dtypes.float32, each) for each in ("total", "count"))
        correct = cast(equal(cast(guesses, dtypes.int64), classes), dtypes.float32)
        each = ones(shape(classes), dtypes.float32)
        if weights is not None:
            factors = _flat(cast(as_tensor(weights), dtypes.float32))
            correct, each = correct * factors, each * factors
        value = reduce_mean(quotient(count.value(), total.value()), name="mean_accuracy")
        seen = total.assign_add(unsorted_segment_sum(each, classes, num_classes))
        right = count.assign_add(unsorted_segment_sum(correct, classes, num_classes))
        return kept(value, quotient(right, seen, "update_op"), metrics_collections, updates_collections)


def mean_iou(labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Collections = None,
             updates_collections: Collections = None, name: str | None = None) -> Metric:
    """The mean over the classes that occur of: both labelled and predicted, over labelled or predicted. update_op gives the matrix of
    counts [label, prediction]. Examples of classes beyond `num_classes` do not count."""
    with metric_scope(name, "mean_iou", predictions, labels, weights):
        truth, guesses = as_given(labels, predictions)
        guesses.shape.assert_is_compatible_with(truth.shape)
        matrix = metric_variable([num_classes, num_classes], dtypes.float64, "total_confusion_matrix")
        counts = _confusions(_flat(cast(truth, dtypes.int64)), _flat(cast(guesses, dtypes.int64)), num_classes, weights)
        value = _mean_overlap(matrix.value(), num_classes)
        return kept(value, matrix.assign_add(counts), metrics_collections, updates_collections)


def _confusions(labels: Tensor, predictions: Tensor, num_classes: int, weights: Any) -> Tensor:
    """How often (by weight) each label was given each prediction: [label, prediction]."""
    amounts = ones(shape(labels), dtypes.float64) if weights is None else _flat(cast(as_tensor(weights), dtypes.float64))
    inside = logical_and(_is_class(labels, num_classes), _is_class(predictions, num_classes))
    place = where(inside, labels * num_classes + predictions, -ones_like(labels))
    return reshape(unsorted_segment_sum(amounts, place, num_classes ** 2), [num_classes, num_classes])


def _is_class(x: Tensor, num_classes: int) -> Tensor:
    return logical_and(greater_equal(x, constant(0, x.dtype)), less(x, constant(num_classes, x.dtype)))


def _mean_overlap(matrix: Tensor, num_classes: int) -> Tensor:
    predicted, labelled = (cast(reduce_sum(matrix, axis), dtypes.float32) for axis in (0, 1))
    both = cast(reduce_sum(matrix * constant(np.eye(num_classes)), 1), dtypes.float32)
    either = predicted + labelled - both
    occurring = reduce_sum(cast(not_equal(either, 0), dtypes.float32))
    overlap = div(both, where(greater(either, 0), either, ones_like(either)))
    mean = div(reduce_sum(overlap, name="mean_iou"), occurring)
    return where(greater(occurring, 0), mean, constant(0.0))
