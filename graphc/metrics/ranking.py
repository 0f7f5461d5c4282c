"""Metrics of the k best guesses: precision, recall and average precision of rows of scores (or of places) against sets of labels.

Labels are integers [..., n], or [...] for one each, or a SparseTensor where rows have different numbers of them. Both sides are sets: what
occurs twice in a row counts once. Each count is a sum over one comparison of all guesses with all labels, [..., k, n].
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.operation import Tensor
from graphc.metrics.streaming import Collections, Metric, kept, metric_variable, quotient
from graphc.ops.array import expand_dims, range_, shape, size
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like
from graphc.ops.cumulative import cumsum
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, div, equal, greater_equal, logical_and, logical_not, minimum, multiply
from graphc.ops.ordering import top_k
from graphc.ops.reductions import reduce_any, reduce_sum
from graphc.ops.sparse import sparse_tensor_to_dense
from graphc.ops.sparse_tensor import SparseTensor
from graphc.ops.weights import broadcast_weights

_ABSENT = -(1 << 62)  # stands in rows that have fewer labels than others


class _Sets:
    """Guesses and labels of each row as sets. selected: only the elements equal to it count."""

    def __init__(self, labels: Any, guesses: Tensor, selected: int | None) -> None:
        self.guesses = cast(guesses, dtypes.int64)
        self.labels = beside(labels, self.guesses)
        self._selected = selected

    def _chosen(self, x: Tensor) -> Tensor:
        """Which elements count: the first of their kind in a row, and the selected."""
        same = equal(expand_dims(x, -1), expand_dims(x, -2))
        found = equal(reduce_sum(cast(_before(same), dtypes.int32), -1), 0)
        return found if self._selected is None else logical_and(found, equal(x, constant(self._selected, dtypes.int64)))

    def _matches(self, x: Tensor, others: Tensor) -> Tensor:
        """Which elements of `x` are among `others`."""
        return reduce_any(equal(expand_dims(x, -1), expand_dims(others, -2)), -1)

    def count(self, kind: str) -> Tensor:
        """For each row the number of guesses that are labels ("tp") or are not ("fp"), or of labels that are not guessed ("fn")."""
        if kind == "fn":
            is_label = logical_and(self._chosen(self.labels), logical_not(equal(self.labels, constant(_ABSENT, dtypes.int64))))
            return _sum(logical_and(is_label, logical_not(self._matches(self.labels, self.guesses))))
        matches = self._matches(self.guesses, self.labels)
        return _sum(logical_and(self._chosen(self.guesses), matches if kind == "tp" else logical_not(matches)))

    def relevant(self) -> Tensor:
        """Which guesses are labels, as numbers."""
        return cast(self._matches(self.guesses, self.labels), dtypes.float64)


def _before(same: Tensor) -> Tensor:
    """`same` [..., i, j] where j < i."""
    count = shape(same)[-1]
    places = range_(count)
    return logical_and(same, expand_dims(places, 1) > expand_dims(places, 0))


def _sum(x: Tensor) -> Tensor:
    return reduce_sum(cast(x, dtypes.float64), -1)


def beside(labels: Any, guesses: Tensor) -> Tensor:
    """Labels as int64 [..., n] beside guesses [..., k]. ValueError where their ranks do not fit."""
    if isinstance(labels, SparseTensor):
        return sparse_tensor_to_dense(SparseTensor(labels.indices, cast(labels.values, dtypes.int64), labels.dense_shape), _ABSENT)
    truth = cast(as_tensor(labels), dtypes.int64)
    if truth.rank is None or guesses.rank is None:
        raise ValueError(f"the ranks of labels ({truth.rank}) and predictions ({guesses.rank}) must be known")
    if guesses.rank not in (truth.rank, truth.rank + 1):
        raise ValueError(f"Unexpected labels shape {truth.shape} for predictions shape {guesses.shape}.")
    return truth if guesses.rank == truth.rank else expand_dims(truth, -1)


# Precision and recall ------------------------------------------------------------------------------------------------------------------

def _name(what: str, k: int | None, class_id: int | None = None) -> str:
    """The scope that TF1 gives: "precision_at_3_class7"."""
    return f"{what}_at_{'k' if k is None else k}" + ("" if class_id is None else f"_class{class_id}")


def _streamed(kind: str, what: str, sets: _Sets, k: int | None, class_id: int | None, weights: Any) -> tuple[Tensor, Tensor]:
    """The sum of one kind of count over all rows of all batches so far, and with this batch."""
    with name_scope(None, _name(what, k, class_id)) as scope:
        count = sets.count(kind)
        if weights is not None:
            count = multiply(count, broadcast_weights(cast(as_tensor(weights), dtypes.float64), count))
        total = metric_variable([], dtypes.float64, scope)
        value = total.value()
        return value, total.assign_add(reduce_sum(count), name="update")


def _share(missing: str, what_missing: str, default: str, labels: Any, predictions_idx: Any, k: int | None, class_id: int | None,
           weights: Any, metrics_collections: Collections, updates_collections: Collections, name: str | None) -> Metric:
    """True positives over themselves and what is `missing`."""
    with name_scope(name, _name(default, k, class_id)) as scope:
        sets = _Sets(labels, as_tensor(predictions_idx), class_id)
        hits, hits_update = _streamed("tp", "true_positive", sets, k, class_id, weights)
        misses, misses_update = _streamed(missing, what_missing, sets, k, class_id, weights)
        value = div(hits, hits + misses, scope)
        return kept(value, div(hits_update, hits_update + misses_update, "update"), metrics_collections, updates_collections)


def precision_at_top_k(labels: Any, predictions_idx: Any, k: int | None = None, class_id: int | None = None, weights: Any = None,
                       metrics_collections: Collections = None, updates_collections: Collections = None,
                       name: str | None = None) -> Metric:
    """Which share of the guesses [..., k] (integers) are among the labels; with `class_id` of the guesses of that class alone. NaN where
    there is none."""
    return _share("fp", "false_positive", "precision", labels, predictions_idx, k, class_id, weights, metrics_collections,
                  updates_collections, name)


def recall_at_top_k(labels: Any, predictions_idx: Any, k: int | None = None, class_id: int | None = None, weights: Any = None,
                    metrics_collections: Collections = None, updates_collections: Collections = None, name: str | None = None) -> Metric:
    """Which share of the labels are among the guesses [..., k] (integers); with `class_id` of the labels of that class alone. NaN where
    there is none."""
    return _share("fn", "false_negative", "recall", labels, predictions_idx, k, class_id, weights, metrics_collections,
                  updates_collections, name)


def _of_scores(metric: Callable[..., Metric], what: str, doc: str) -> Callable[..., Metric]:
    def at_k(labels: Any, predictions: Any, k: int, class_id: int | None = None, weights: Any = None,
             metrics_collections: Collections = None, updates_collections: Collections = None, name: str | None = None) -> Metric:
        with name_scope(name, _name(what, k, class_id), [predictions]) as scope:
            places = top_k(as_tensor(predictions), k).indices
            return metric(labels, places, k, class_id, weights, metrics_collections, updates_collections, scope)
    at_k.__name__ = at_k.__qualname__ = f"{what}_at_k"
    at_k.__doc__ = doc
    return at_k


precision_at_k = _of_scores(
    precision_at_top_k, "precision", "Which share of the `k` highest scores of each row [..., classes] are of labels.")
recall_at_k = _of_scores(
    recall_at_top_k, "recall", "Which share of the labels are among the `k` highest scores of each row [..., classes].")
sparse_precision_at_k = precision_at_k


# Average precision -----------------------------------------------------------------------------------------------------------------------

def average_precision_at_k(labels: Any, predictions: Any, k: int, weights: Any = None, metrics_collections: Collections = None,
                           updates_collections: Collections = None, name: str | None = None) -> Metric:
    """The mean over the rows of the average precision of the `k` highest scores: precision at each hit, summed, over the number of labels
    (at most k). Labels beyond the classes do not count; NaN where a row has none."""
    if k < 1:
        raise ValueError(f"Invalid k={k}.")
    with name_scope(name, _name("average_precision", k), [predictions]) as scope:
        scores = as_tensor(predictions)
        sets = _Sets(labels, top_k(scores, k).indices, None)
        classes = cast(shape(scores)[-1], dtypes.int64)
        sets.labels = where(greater_equal(sets.labels, classes), -ones_like(sets.labels), sets.labels)
        with name_scope(None, "average_precision"):
            rows = _average_precision(sets, k)
        return _mean_of(rows, weights, metrics_collections, updates_collections, scope)


def _average_precision(sets: _Sets, k: int) -> Tensor:
    hits = sets.relevant()
    precision = div(cumsum(hits, -1), cumsum(ones_like(hits), -1))
    count = reduce_sum(cast(greater_equal(sets.labels, constant(0, dtypes.int64)), dtypes.float64), -1)
    return div(reduce_sum(multiply(precision, hits), -1), minimum(count, float(k)))


def _mean_of(rows: Tensor, weights: Any, metrics_collections: Collections, updates_collections: Collections, scope: str) -> Metric:
    if weights is None:
        count = cast(size(rows), dtypes.float64)
    else:
        factors = broadcast_weights(cast(as_tensor(weights), dtypes.float64), rows)
        rows, count = multiply(rows, factors), reduce_sum(factors)
    totals: list[tuple[Tensor, Tensor]] = []
    for what, amount in (("max_1", count), ("total", reduce_sum(rows))):  # TF1 has an operation "Max" beside it
        with name_scope(None, what) as inner:
            kept_sum = metric_variable([], dtypes.float64, inner)
            totals.append((kept_sum.value(), kept_sum.assign_add(amount, name="update")))
    (count_now, count_then), (sum_now, sum_then) = totals
    return kept(quotient(sum_now, count_now, "mean"), quotient(sum_then, count_then, scope), metrics_collections, updates_collections)


sparse_average_precision_at_k = average_precision_at_k
