"""TF1's `losses`: weighted losses reduced to a scalar and kept in the collection LOSSES, and the sum of them all."""
from __future__ import annotations

from typing import Any

from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.ops.arithmetic import add_n
from graphc.ops.array import range_, rank, shape, size, stop_gradient
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like, zeros_like
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import (
    abs_,
    cast,
    div_no_nan,
    equal,
    log,
    maximum,
    minimum,
    multiply,
    square,
    squared_difference,
    subtract,
)
from graphc.ops.entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)
from graphc.ops.reductions import reduce_sum
from graphc.ops.weights import broadcast_weights, check_weights, remove_squeezable_dimensions, squeezed_beside


class Reduction:
    """How a loss per element becomes the loss: TF1's names."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        return (cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS)

    @classmethod
    def validate(cls, key: str) -> None:
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key}.")


def compute_weighted_loss(losses: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
                          reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """`losses` times `weights` (a scalar, or dims of 1 or equal), reduced; kept in `loss_collection` where that is not None."""
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", (losses, weights)):
        values = as_tensor(losses)
        given = values.dtype
        values = cast(values, dtypes.float32)
        factors = cast(weights, dtypes.float32)
        if factors.shape_tuple != ():
            factors = broadcast_weights(factors, values)
        weighted = multiply(values, factors)
        loss = cast(_reduced(weighted, values, factors, reduction), given)
        if loss_collection is not None:
            get_default_graph().add_to_collection(loss_collection, loss)
        return loss


def _reduced(weighted: Tensor, values: Tensor, weights: Tensor, reduction: str) -> Tensor:
    if reduction == Reduction.NONE:
        return weighted
    total = reduce_sum(weighted)
    if reduction == Reduction.SUM:
        return total
    if reduction == Reduction.MEAN:
        count = reduce_sum(ones_like(values) * weights)
    elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
        count = _num_present(values, weights)
    else:
        count = cast(size(values), dtypes.float32)
    return div_no_nan(reduce_sum(total), count, "value")


def _num_present(values: Tensor, weights: Tensor, per_batch: bool = False) -> Tensor:
    """How many elements have a weight that is not 0; `per_batch`: in each row along the first axis, with the rank of `values`."""
    with name_scope(None, "num_present", (values, weights)) as scope:
        present = multiply(where(equal(weights, 0.0), zeros_like(weights), ones_like(weights)), ones_like(values))
        if not per_batch:
            return reduce_sum(present, name=scope)
        return reduce_sum(present, range_(1, rank(present)) if present.rank is None else list(range(1, present.rank)), True, scope)


def _both_given(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is None:
            raise ValueError(f"{name} must not be None.")


def _pair(labels: Any, predictions: Any, second: str = "predictions") -> tuple[Tensor, Tensor]:
    """Both as float32 of one shape."""
    _both_given(**{"labels": labels, second: predictions})
    left, right = cast(as_tensor(labels), dtypes.float32), cast(as_tensor(predictions), dtypes.float32)
    right.shape.assert_is_compatible_with(left.shape)
    return left, right


def absolute_difference(labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
                        loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """|predictions - labels|."""
    with name_scope(scope, "absolute_difference", (predictions, labels, weights)) as inner:
        truth, guess = _pair(labels, predictions)
        return compute_weighted_loss(abs_(subtract(guess, truth)), weights, inner, loss_collection, reduction)


def cosine_distance(labels: Any, predictions: Any, axis: int | None = None, weights: Any = 1.0, scope: str | None = None,
                    loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
                    dim: int | None = None) -> Tensor:
    """1 - labels . predictions along `axis`, which stays as a dim of 1: the cosine distance of vectors of length 1."""
    if axis is not None and dim is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'.")
    along = dim if axis is None else axis
    if along is None:
        raise ValueError("You must specify 'axis'.")
    with name_scope(scope, "cosine_distance_loss", (predictions, labels, weights)) as inner:
        truth, guess = _pair(labels, predictions)
        losses = 1 - reduce_sum(multiply(guess, truth), (along,), True)
        return compute_weighted_loss(losses, weights, inner, loss_collection, reduction)


def mean_pairwise_squared_error(labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
                                loss_collection: str | None = GraphKeys.LOSSES) -> Tensor:
    """The squares of (d_i - d_j), d = predictions - labels, summed over all pairs of elements of each sample (a row along the first axis),
    twice that over n (n - 1) for n elements with a weight; summed over the samples by `weights` (a scalar, or one per sample).

    No pair is formed: sum_ij (d_i - d_j)^2 is 2 n sum(d^2) - 2 sum(d)^2.
    """
    with name_scope(scope, "mean_pairwise_squared_error", (predictions, labels, weights)):
        truth, guess = _pair(labels, predictions)
        factors = cast(weights, dtypes.float32)
        errors = subtract(guess, truth)
        check_weights(errors, factors)
        rest = range_(1, rank(errors)) if errors.rank is None else list(range(1, errors.rank))
        count = _num_present(errors, factors, per_batch=True)
        squares = 2.0 * div_no_nan(reduce_sum(square(errors), rest, True), maximum(count - 1, 0), "value")
        total = square(reduce_sum(errors, rest, True))
        pairs = 2.0 * div_no_nan(total, maximum(multiply(count, count - 1), 0), "value")
        loss = reduce_sum(multiply(squares - pairs, factors))
        loss = where(reduce_sum(count) > 0, loss, zeros_like(loss), name="value")
        add_loss(loss, loss_collection)
        return loss


def mean_squared_error(labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None,
                       loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """(predictions - labels)^2."""
    with name_scope(scope, "mean_squared_error", (predictions, labels, weights)) as inner:
        truth, guess = _pair(labels, predictions)
        return compute_weighted_loss(squared_difference(guess, truth), weights, inner, loss_collection, reduction)


def log_loss(labels: Any, predictions: Any, weights: Any = 1.0, epsilon: float = 1e-7, scope: str | None = None,
             loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """-labels log(predictions) - (1 - labels) log(1 - predictions)."""
    with name_scope(scope, "log_loss", (predictions, labels, weights)) as inner:
        truth, guess = _pair(labels, predictions)
        losses = -multiply(truth, log(guess + epsilon)) - multiply(1 - truth, log(1 - guess + epsilon))
        return compute_weighted_loss(losses, weights, inner, loss_collection, reduction)


def hinge_loss(labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = GraphKeys.LOSSES,
               reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """max(0, 1 - y x) for labels 0 and 1 taken as y = -1 and 1."""
    with name_scope(scope, "hinge_loss", (logits, labels, weights)) as inner:
        truth, scores = _pair(labels, logits, "logits")
        margins = subtract(ones_like(truth), multiply(subtract(2 * truth, ones_like(truth)), scores))
        return compute_weighted_loss(maximum(margins, constant(0.0)), weights, inner, loss_collection, reduction)


def huber_loss(labels: Any, predictions: Any, weights: Any = 1.0, delta: float = 1.0, scope: str | None = None,
               loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """x^2 / 2 for |x| <= delta, delta |x| - delta^2 / 2 beyond (P. J. Huber, 1964), x the error."""
    with name_scope(scope, "huber_loss", (predictions, labels, weights)) as inner:
        truth, guess = _pair(labels, predictions)
        size_of_error = abs_(subtract(guess, truth))
        quadratic = minimum(size_of_error, delta)
        losses = 0.5 * quadratic * quadratic + delta * subtract(size_of_error, quadratic)
        return compute_weighted_loss(losses, weights, inner, loss_collection, reduction)


def sigmoid_cross_entropy(multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: str | None = None,
                          loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Sigmoid cross entropy of independent classes; `label_smoothing` moves labels towards 1/2."""
    _both_given(multi_class_labels=multi_class_labels, logits=logits)
    with name_scope(scope, "sigmoid_cross_entropy_loss", (logits, multi_class_labels, weights)) as inner:
        scores = as_tensor(logits)
        truth = cast(as_tensor(multi_class_labels), scores.dtype)
        scores.shape.assert_is_compatible_with(truth.shape)
        if label_smoothing > 0:
            truth = truth * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = sigmoid_cross_entropy_with_logits(labels=truth, logits=scores, name="xentropy")
        return compute_weighted_loss(losses, weights, inner, loss_collection, reduction)


def softmax_cross_entropy(onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: str | None = None,
                          loss_collection: str | None = GraphKeys.LOSSES, reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Softmax cross entropy of rows of label probabilities; `label_smoothing` moves labels towards 1 / classes."""
    _both_given(onehot_labels=onehot_labels, logits=logits)
    with name_scope(scope, "softmax_cross_entropy_loss", (logits, onehot_labels, weights)) as inner:
        scores = as_tensor(logits)
        truth = cast(as_tensor(onehot_labels), scores.dtype)
        scores.shape.assert_is_compatible_with(truth.shape)
        if label_smoothing > 0:
            truth = truth * (1.0 - label_smoothing) + label_smoothing / cast(shape(truth)[-1], truth.dtype)
        losses = softmax_cross_entropy_with_logits_v2(stop_gradient(truth, "labels_stop_gradient"), scores, name="xentropy")
        return compute_weighted_loss(losses, weights, inner, loss_collection, reduction)


def sparse_softmax_cross_entropy(labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None,
                                 loss_collection: str | None = GraphKeys.LOSSES,
                                 reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS) -> Tensor:
    """Softmax cross entropy of rows of logits with integer labels."""
    _both_given(labels=labels, logits=logits)
    with name_scope(scope, "sparse_softmax_cross_entropy_loss", (logits, labels, weights)) as inner:
        classes, scores = remove_squeezable_dimensions(labels, logits, expected_rank_diff=1)
        factors = squeezed_beside(as_tensor(weights), classes, 1)
        losses = sparse_softmax_cross_entropy_with_logits(labels=classes, logits=scores, name="xentropy")
        return compute_weighted_loss(losses, factors, inner, loss_collection, reduction)


def compute_average_loss(per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None) -> Tensor:
    """The sum of the losses, each times its weight, over `global_batch_size` (default: the first dim of the losses)."""
    losses = as_tensor(per_example_loss)
    given = losses.dtype
    if sample_weight is not None:
        weights = as_tensor(sample_weight)
        check_weights(losses, weights)
        losses = multiply(cast(losses, dtypes.float32), cast(weights, dtypes.float32))
    count = shape(losses)[0] if global_batch_size is None else as_tensor(global_batch_size)
    return cast(reduce_sum(losses) / cast(count, losses.dtype), given)


def scale_regularization_loss(regularization_loss: Any) -> Tensor:
    """The sum of the loss over the number of replicas, of which there is one."""
    return reduce_sum(as_tensor(regularization_loss)) / 1.0


def add_loss(loss: Tensor, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Keeps `loss` in the collection."""
    if loss_collection is not None:
        get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses kept so far; with `scope`, those whose names that regular expression matches from the start."""
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the regularization losses, 0 where there are none."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name) if losses else constant(0.0)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None) -> Tensor:
    """The sum of all losses kept so far, and of the regularization losses."""
    losses = get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else [])
    return add_n(losses, name)
