"""Metrics that are the mean of something computed for each example: accuracy, absolute and squared errors, distances."""
from __future__ import annotations

from typing import Any

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.metrics.streaming import Collections, Metric, as_given, kept, matched, mean
from graphc.ops.choosing import where
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import abs_, cast, div, equal, less, multiply, sqrt, squared_difference, subtract
from graphc.ops.reductions import reduce_sum
from graphc.ops.weights import remove_squeezable_dimensions


def accuracy(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
             updates_collections: Collections = None, name: str | None = None) -> Metric:
    """How often `predictions` are equal to `labels`."""
    guesses, truth, factors = _matched(labels, predictions, weights)
    if truth.dtype is not guesses.dtype:
        guesses = cast(guesses, truth.dtype)
    correct = cast(equal(guesses, truth), dtypes.float32)
    return mean(correct, factors, metrics_collections, updates_collections, name or "accuracy")


def mean_absolute_error(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
                        updates_collections: Collections = None, name: str | None = None) -> Metric:
    """|predictions - labels|."""
    guesses, truth, factors = _matched(labels, predictions, weights)
    return mean(abs_(subtract(guesses, truth)), factors, metrics_collections, updates_collections, name or "mean_absolute_error")


def mean_relative_error(labels: Any, predictions: Any, normalizer: Any, weights: Any = None, metrics_collections: Collections = None,
                        updates_collections: Collections = None, name: str | None = None) -> Metric:
    """|labels - predictions| / normalizer, 0 where the normalizer is."""
    guesses, truth, factors = _matched(labels, predictions, weights)
    guesses, scale = remove_squeezable_dimensions(guesses, normalizer)
    guesses.shape.assert_is_compatible_with(scale.shape)
    errors = where(equal(scale, 0.0), zeros_like(truth), div(abs_(subtract(truth, guesses)), scale))
    return mean(errors, factors, metrics_collections, updates_collections, name or "mean_relative_error")


def mean_squared_error(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
                       updates_collections: Collections = None, name: str | None = None) -> Metric:
    """(predictions - labels)^2."""
    guesses, truth, factors = _matched(labels, predictions, weights)
    return mean(squared_difference(truth, guesses), factors, metrics_collections, updates_collections, name or "mean_squared_error")


def root_mean_squared_error(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
                            updates_collections: Collections = None, name: str | None = None) -> Metric:
    """The square root of the mean of (predictions - labels)^2."""
    value, update = mean_squared_error(labels, predictions, weights, None, None, name or "root_mean_squared_error")
    return kept(sqrt(value), sqrt(update), metrics_collections, updates_collections)


def mean_cosine_distance(labels: Any, predictions: Any, dim: int, weights: Any = None, metrics_collections: Collections = None,
                         updates_collections: Collections = None, name: str | None = None) -> Metric:
    """1 - labels . predictions along `dim`: the cosine distance of vectors of length 1."""
    guesses, truth, factors = _matched(labels, predictions, weights)
    products = reduce_sum(multiply(guesses, truth), [dim], True)
    value, update = mean(products, factors, None, None, name or "mean_cosine_distance")
    return kept(subtract(1.0, value), subtract(1.0, update), metrics_collections, updates_collections)


def percentage_below(values: Any, threshold: Any, weights: Any = None, metrics_collections: Collections = None,
                     updates_collections: Collections = None, name: str | None = None) -> Metric:
    """How often `values` are less than `threshold`."""
    below = cast(less(as_tensor(values), threshold), dtypes.float32)
    return mean(below, weights, metrics_collections, updates_collections, name or "percentage_below_threshold")


def _matched(labels: Any, predictions: Any, weights: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    truth, guesses = as_given(labels, predictions)
    return matched(guesses, truth, weights)
