"""Metrics of the whole curve of thresholds: the area under it, and one rate where another has a given value."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.metrics.counts import EPSILON, at_thresholds
from graphc.metrics.streaming import Collections, Metric, metric_scope
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like
from graphc.ops.cumulative import cumsum
from graphc.ops.elementwise import abs_, cast, div, div_no_nan, equal, greater, log, logical_and, maximum, minimum, multiply
from graphc.ops.gathering import gather
from graphc.ops.reductions import argmax, argmin, reduce_min, reduce_sum

_SMALL = 1e-6  # keeps rates defined where there is nothing to count
_KINDS = ("tp", "fn", "tn", "fp")


def _evenly(count: int, last: float = 1.0 + EPSILON) -> list[float]:
    """`count` thresholds from just below 0 to `last`."""
    return [-EPSILON, *((n + 1) / (count - 1) for n in range(count - 2)), last]


def _middle(left: Tensor, right: Tensor) -> Tensor:
    return (left + right) / 2.0


# How high the area between two thresholds is, of the curve's two heights there.
_HEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "trapezoidal": _middle, "careful_interpolation": _middle, "minoring": minimum, "majoring": maximum}


def auc(labels: Any, predictions: Any, weights: Any = None, num_thresholds: int = 200, metrics_collections: Collections = None,
        updates_collections: Collections = None, curve: str = "ROC", name: str | None = None, summation_method: str = "trapezoidal",
        thresholds: Sequence[float] | None = None) -> Metric:
    """The area under the curve of true against false positive rates ("ROC") or of precision against recall ("PR").

    The curve is known at `num_thresholds` places, or at `thresholds`. summation_method: "trapezoidal", "minoring", "majoring", or
    "careful_interpolation", which for PR interpolates the counts (J. Davis and M. Goadrich, ICML 2006). Predictions are in [0, 1].
    """
    if curve not in ("ROC", "PR"):
        raise ValueError(f"curve must be either ROC or PR, {curve} unknown")
    if summation_method not in _HEIGHTS:
        raise ValueError(f"Invalid summation_method: {summation_method}")
    limits = _evenly(num_thresholds) if thresholds is None else [-EPSILON, *sorted(thresholds), 1.0 + EPSILON]

    def area(tp: Tensor, fn: Tensor, tn: Tensor, fp: Tensor, name: str) -> Tensor:
        if curve == "PR" and summation_method == "careful_interpolation":
            return _interpolated(tp, fp, fn)
        share = div(tp + _SMALL, tp + fn + _SMALL)
        x, y = (div(fp, fp + tn + _SMALL), share) if curve == "ROC" else (share, div(tp + _SMALL, tp + fp + _SMALL))
        return reduce_sum(multiply(x[:-1] - x[1:], _HEIGHTS[summation_method](y[:-1], y[1:])), name=name)
    with metric_scope(name, "auc", labels, predictions, weights):
        return at_thresholds(labels, predictions, limits, weights, _KINDS, area, metrics_collections, updates_collections)


def _interpolated(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """The area under precision and recall, true positives taken as linear in all positives between two thresholds: the integral of
    (slope + intercept / p) over the recall, in closed form."""
    step = tp[:-1] - tp[1:]
    positives = tp + fp
    left, right = positives[:-1], positives[1:]
    slope = div_no_nan(step, maximum(left - right, 0), "prec_slope")
    intercept = tp[1:] - multiply(slope, right)
    ratio = where(logical_and(greater(left, 0), greater(right, 0)), div_no_nan(left, maximum(right, 0), "recall_relative_ratio"),
                  ones_like(right))
    parts = div_no_nan(slope * (step + intercept * log(ratio)), maximum(tp[1:] + fn[1:], 0), "pr_auc_increment")
    return reduce_sum(parts, name="interpolate_pr_auc")


def sensitivity_at_specificity(labels: Any, predictions: Any, specificity: float, weights: Any = None, num_thresholds: int = 200,
                               metrics_collections: Collections = None, updates_collections: Collections = None,
                               name: str | None = None) -> Metric:
    """The share of the true that are predicted, at the threshold where the share of the false that are not is nearest `specificity`."""
    _check_rate("specificity", specificity)

    def rate(tp: Tensor, fn: Tensor, tn: Tensor, fp: Tensor, name: str) -> Tensor:
        place = cast(argmin(abs_(div(tn, tn + fp + EPSILON) - specificity), 0), dtypes.int32)
        return _share_at(place, tp, fn, name)
    return _at_rate("sensitivity_at_specificity", rate, _evenly(num_thresholds), labels, predictions, weights, metrics_collections,
                    updates_collections, name)


def specificity_at_sensitivity(labels: Any, predictions: Any, sensitivity: float, weights: Any = None, num_thresholds: int = 200,
                               metrics_collections: Collections = None, updates_collections: Collections = None,
                               name: str | None = None) -> Metric:
    """The share of the false that are not predicted, at the last threshold where the share of the true that are is nearest
    `sensitivity`."""
    _check_rate("sensitivity", sensitivity)

    def rate(tp: Tensor, fn: Tensor, tn: Tensor, fp: Tensor, name: str) -> Tensor:
        distance = abs_(div(tp, tp + fn + EPSILON) - sensitivity)
        nearest = cast(equal(distance, reduce_min(distance)), dtypes.int64)
        return _share_at(cast(argmax(cumsum(nearest), 0), dtypes.int32), tn, fp, name)  # counted up, the last is the greatest
    return _at_rate("specificity_at_sensitivity", rate, _evenly(num_thresholds, 1.0 - EPSILON), labels, predictions, weights,
                    metrics_collections, updates_collections, name)


def _check_rate(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"`{what}` must be in the range [0, 1].")


def _share_at(place: Tensor, a: Tensor, b: Tensor, name: str) -> Tensor:
    return div(gather(a, place), gather(a, place) + gather(b, place) + EPSILON, name)


def _at_rate(default: str, rate: Callable[..., Tensor], thresholds: Sequence[float], labels: Any, predictions: Any, weights: Any,
             metrics_collections: Collections, updates_collections: Collections, name: str | None) -> Metric:
    with metric_scope(name, default, predictions, labels, weights):
        return at_thresholds(labels, predictions, thresholds, weights, _KINDS, rate, metrics_collections, updates_collections)
