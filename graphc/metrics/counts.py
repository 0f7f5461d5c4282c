"""Counts of true and false, positives and negatives, and what is made of them: precision, recall, and both at thresholds."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.checks import are_wanted, require
from graphc.core.convert import constant
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.metrics.streaming import Collections, Metric, kept, matched, metric_scope, metric_variable
from graphc.ops.array import reshape
from graphc.ops.checked import all_of
from graphc.ops.choosing import where
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, declare_one
from graphc.ops.elementwise import cast, div, greater, logical_and, logical_not, multiply
from graphc.ops.reductions import reduce_sum
from graphc.ops.weights import broadcast_weights
from graphc.variables import Variable

Counting = Callable[..., Metric]
NAMES = {"tp": "true_positives", "fn": "false_negatives", "tn": "true_negatives", "fp": "false_positives"}


def _which(kind: str, truth: Tensor, guess: Tensor) -> Tensor:
    """Where the pair of bools is of this kind: "t" and "f" say whether the guess is right, "p" and "n" what it is."""
    positive = kind in ("tp", "fn")
    guessed = kind in ("tp", "fp")
    return logical_and(truth if positive else logical_not(truth), guess if guessed else logical_not(guess))


# Of bools --------------------------------------------------------------------------------------------------------------------------------

def _counting(kind: str, doc: str) -> Counting:
    name_of = NAMES[kind]

    def count(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
              updates_collections: Collections = None, name: str | None = None) -> Metric:
        with metric_scope(name, name_of, predictions, labels, weights):
            guess, truth, factors = matched(_bools(predictions), _bools(labels), weights)
            return _counted(kind, truth, guess, factors, metrics_collections, updates_collections)
    count.__name__ = count.__qualname__ = name_of
    count.__doc__ = f"The sum of the weights of {doc}; `labels` and `predictions` are cast to bool."
    return count


def _counted(kind: str, truth: Tensor, guess: Tensor, factors: Tensor | None, metrics_collections: Collections = None,
             updates_collections: Collections = None) -> Metric:
    count = metric_variable([], dtypes.float32, "count")
    found = cast(_which(kind, truth, guess), dtypes.float32)
    if factors is not None:
        found = multiply(found, cast(factors, dtypes.float32))
    value = count.value()
    return kept(value, count.assign_add(reduce_sum(found)), metrics_collections, updates_collections)


def _bools(x: Any) -> Tensor:
    return cast(as_tensor(x), dtypes.bool)


true_positives = _counting("tp", "true labels that are predicted")
false_negatives = _counting("fn", "true labels that are not predicted")
true_negatives = _counting("tn", "false labels that are not predicted")
false_positives = _counting("fp", "false labels that are predicted")


def _share(kinds: tuple[str, str], name: str | None, default: str, labels: Any, predictions: Any, weights: Any,
           metrics_collections: Collections, updates_collections: Collections) -> Metric:
    """a / (a + b) of two counts, 0 where both are."""
    with metric_scope(name, default, predictions, labels, weights):
        guess, truth, factors = matched(_bools(predictions), _bools(labels), weights)
        values, updates = [], []
        for kind in kinds:
            with metric_scope(None, NAMES[kind], guess, truth, factors):
                value, update = _counted(kind, truth, guess, factors)
            values.append(value)
            updates.append(update)
        return kept(_of_both(values[0], values[1], "value"), _of_both(updates[0], updates[1], "update_op"), metrics_collections,
                    updates_collections)


def _of_both(a: Tensor, b: Tensor, name: str) -> Tensor:
    return where(greater(a + b, 0), div(a, a + b), zeros_like(a), name)


def precision(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
              updates_collections: Collections = None, name: str | None = None) -> Metric:
    """Which share of the predicted are true; `labels` and `predictions` are cast to bool."""
    return _share(("tp", "fp"), name, "precision", labels, predictions, weights, metrics_collections, updates_collections)


def recall(labels: Any, predictions: Any, weights: Any = None, metrics_collections: Collections = None,
           updates_collections: Collections = None, name: str | None = None) -> Metric:
    """Which share of the true are predicted; `labels` and `predictions` are cast to bool."""
    return _share(("tp", "fn"), name, "recall", labels, predictions, weights, metrics_collections, updates_collections)


@composite("CheckedShare", gradient=False)
def CHECKED_SHARE(predictions: Node) -> Node:
    """`predictions`, which in checked mode must be in [0, 1]."""
    if are_wanted() and predictions.type.is_static:
        zero, one = p.full(0, predictions.type), p.full(1, predictions.type)
        inside = p.and_(p.compare(predictions, zero, "GE"), p.compare(predictions, one, "LE"))

        def report(values: Any) -> str:
            return f"predictions must be in [0, 1]: {values[~((values >= 0) & (values <= 1))].flat[0]} is not"
        require(all_of(inside), report, predictions)
    return predictions


# At thresholds ---------------------------------------------------------------------------------------------------------------------------

def counts_at_thresholds(labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any,
                         kinds: Sequence[str]) -> tuple[dict[str, Variable], dict[str, Tensor]]:
    """For each kind of count a variable with one element for each threshold, and the update. A prediction above a threshold is positive.

    All kinds are sums of one comparison [thresholds, elements], which is never in memory. Predictions out of [0, 1] are compared like any
    other; a session in checked mode refuses them.
    """
    shares = declare_one(CHECKED_SHARE, {"predictions": cast(as_tensor(predictions), dtypes.float32)})
    guesses, truth, factors = matched(shares, _bools(labels), weights)
    limits = constant(list(thresholds), dtypes.float32, [len(thresholds), 1])
    above = greater(reshape(guesses, [1, -1]), limits)
    true = logical_and(reshape(truth, [1, -1]), constant(True, shape=[len(thresholds), 1]))
    spread = None if factors is None else reshape(broadcast_weights(cast(factors, dtypes.float32), guesses), [1, -1])
    totals: dict[str, Variable] = {}
    updates: dict[str, Tensor] = {}
    for kind in kinds:
        totals[kind] = metric_variable([len(thresholds)], dtypes.float32, NAMES[kind])
        found = cast(_which(kind, true, above), dtypes.float32)
        updates[kind] = totals[kind].assign_add(reduce_sum(found if spread is None else multiply(found, spread), 1))
    return totals, updates


def at_thresholds(labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any, kinds: Sequence[str],
                  formula: Callable[..., Tensor], metrics_collections: Collections, updates_collections: Collections) -> Metric:
    """(formula of the counts so far, formula of the counts with this batch). The formula takes the counts in the order of `kinds`, and a
    name."""
    totals, updates = counts_at_thresholds(labels, predictions, thresholds, weights, kinds)
    value = formula(*[totals[kind].value() for kind in kinds], name="value")
    return kept(value, formula(*[updates[kind] for kind in kinds], name="update_op"), metrics_collections, updates_collections)


def _counting_at_thresholds(kind: str, doc: str) -> Counting:
    name_of = NAMES[kind]

    def count(labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None, metrics_collections: Collections = None,
              updates_collections: Collections = None, name: str | None = None) -> Metric:
        with metric_scope(name, name_of, predictions, labels, weights):
            totals, updates = counts_at_thresholds(labels, predictions, thresholds, weights, [kind])
            return kept(totals[kind].value(), updates[kind], metrics_collections, updates_collections)
    count.__name__ = count.__qualname__ = f"{name_of}_at_thresholds"
    count.__doc__ = f"For each threshold the sum of the weights of {doc}: a prediction in [0, 1] above it is positive."
    return count


true_positives_at_thresholds = _counting_at_thresholds("tp", "true labels that are predicted")
false_negatives_at_thresholds = _counting_at_thresholds("fn", "true labels that are not predicted")
true_negatives_at_thresholds = _counting_at_thresholds("tn", "false labels that are not predicted")
false_positives_at_thresholds = _counting_at_thresholds("fp", "false labels that are predicted")

EPSILON = 1e-7


def precision_at_thresholds(labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
                            metrics_collections: Collections = None, updates_collections: Collections = None,
                            name: str | None = None) -> Metric:
    """For each threshold, which share of the predictions above it are true."""
    with metric_scope(name, "precision_at_thresholds", predictions, labels, weights):
        return at_thresholds(labels, predictions, thresholds, weights, ("tp", "fp"),
                             lambda tp, fp, name: div(tp, EPSILON + tp + fp, f"precision_{name}"), metrics_collections, updates_collections)


def recall_at_thresholds(labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
                         metrics_collections: Collections = None, updates_collections: Collections = None,
                         name: str | None = None) -> Metric:
    """For each threshold, which share of the true have predictions above it."""
    with metric_scope(name, "recall_at_thresholds", predictions, labels, weights):
        return at_thresholds(labels, predictions, thresholds, weights, ("tp", "fn"),
                             lambda tp, fn, name: div(tp, EPSILON + tp + fn, f"recall_{name}"), metrics_collections, updates_collections)
