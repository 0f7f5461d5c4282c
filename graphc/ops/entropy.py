"""Cross entropies between labels and logits: softmax, sparse softmax, sigmoid. Loss and its gradient come from one stable expression."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import merge_dims, same_dims, show_dims
from graphc.ops.activations import exponentials, last_axis, relu, shares
from graphc.ops.array import shape, stop_gradient, transpose
from graphc.ops.checked import check_labels
from graphc.ops.choosing import where
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, declare, name_scope, normal_axis
from graphc.ops.elementwise import add, cast, exp, greater_equal, log1p, multiply, negative, subtract
from graphc.ops.parts import counting
from graphc.primitives.sugar import fill_like, size_of
from graphc.primitives.sugar import zeros_like as node_zeros_like

Gradient = Sequence[Node | None]


def _spread(rows: Node, x: Node) -> Node:
    """One value per row, beside each element of the row."""
    return p.broadcast_in_dim(rows, x.shape, range(len(x.shape) - 1))


def _back_to_features(features: Node, loss: Node, backprop: Node, g: Node | None, g_backprop: Node | None) -> Node | None:
    """What flows to the logits: g times (softmax - labels), which is the operation's own second output."""
    found = None if g is None else p.multiply(_spread(g, backprop), backprop)
    if g_backprop is None:
        return found
    (second,) = vjp((backprop,), (features,), (g_backprop,))
    return second if found is None else found if second is None else p.add(found, second)


def _dense_gradient(features: Node, labels: Node, loss: Node, backprop: Node, g: Node | None, g_backprop: Node | None) -> Gradient:
    """By the labels: -log softmax."""
    shifted, e = exponentials(features)
    total = p.log(p.reduce_sum(e, last_axis(features)))
    by_labels = None if g is None else p.multiply(_spread(g, features), p.subtract(_spread(total, features), shifted))
    return (_back_to_features(features, loss, backprop, g, g_backprop), by_labels)


@composite("SoftmaxCrossEntropyWithLogits", gradient=_dense_gradient)
def SOFTMAX_CROSS_ENTROPY(features: Node, labels: Node) -> Sequence[Node]:
    """Per row -sum(labels log softmax(features)), and softmax(features) - labels: the gradient for labels that sum to 1."""
    if features.shape != labels.shape and not same_dims(features.shape, labels.shape):
        raise ValueError(f"logits and labels must be of one shape: {show_dims(features.shape)} and {show_dims(labels.shape)}")
    wide = dtypes.float32 if features.dtype.size == 2 else features.dtype
    x, target = p.convert(features, wide), p.convert(labels, wide)
    shifted, e = exponentials(x)
    sums = p.reduce_sum(e, last_axis(x))
    surprise = p.subtract(_spread(p.log(sums), x), shifted)
    # A class that cannot be (a logit of -inf) costs nothing where its label is 0.
    terms = p.select(p.compare(target, node_zeros_like(target), "EQ"), node_zeros_like(target), p.multiply(target, surprise))
    loss = p.reduce_sum(terms, last_axis(x))
    backprop = p.subtract(shares(e, sums), target)
    return p.convert(loss, features.dtype), p.convert(backprop, features.dtype)


def _sparse_gradient(features: Node, labels: Node, loss: Node, backprop: Node, g: Node | None, g_backprop: Node | None) -> Gradient:
    return (_back_to_features(features, loss, backprop, g, g_backprop), None)


@composite("SparseSoftmaxCrossEntropyWithLogits", gradient=_sparse_gradient)
def SPARSE_SOFTMAX_CROSS_ENTROPY(features: Node, labels: Node) -> Sequence[Node]:
    """Per row -log softmax(features)[label], and softmax(features) - one_hot(label). A label out of range makes the row NaN."""
    axis = last_axis(features)
    if not same_dims(features.shape[:-1], labels.shape):
        raise ValueError(f"Rank mismatch or shapes that differ: labels {show_dims(labels.shape)} and logits {show_dims(features.shape)}")
    if not labels.dtype.is_integer:
        raise TypeError(f"labels must be integers, not {labels.dtype.name}")
    check_labels(labels, features.shape[-1])
    labels = p.broadcast_in_dim(counting(labels), merge_dims(features.shape[:-1], labels.shape), range(len(labels.shape)))
    x = p.convert(features, dtypes.float32 if features.dtype.size == 2 else features.dtype)
    shifted, e = exponentials(x)
    sums = p.reduce_sum(e, axis)
    hit = p.compare(p.broadcast_in_dim(labels, x.shape, range(len(labels.shape))), p.iota(x.shape, axis[0], labels.dtype), "EQ")
    at_label = p.reduce_sum(p.select(hit, shifted, node_zeros_like(shifted)), axis)
    row = p.convert(labels, dtypes.int64)
    classes = p.broadcast_in_dim(size_of(x, axis, dtypes.int64), row.shape, ())
    valid = p.and_(p.compare(row, node_zeros_like(row), "GE"), p.compare(row, classes, "LT"))
    nan = fill_like(sums, math.nan)
    loss = p.select(valid, p.subtract(p.log(sums), at_label), nan)
    backprop = p.subtract(shares(e, p.select(valid, sums, nan)), p.convert(hit, x.dtype))
    return p.convert(loss, features.dtype), p.convert(backprop, features.dtype)


def _ensure_named(logits: Any, labels: Any, sentinel: Any) -> None:
    if sentinel is not None:
        raise ValueError("Only call this function with named arguments (labels=..., logits=..., ...)")
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")


def softmax_cross_entropy_with_logits_v2(labels: Any, logits: Any, axis: int | None = None, name: str | None = None,
                                         dim: int | None = None) -> Tensor:
    """Per row -sum(labels log softmax(logits)) along `axis` (the last). Gradients flow to the labels too."""
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")
    axis = dim if axis is None else axis
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        scores = as_tensor(logits, name="logits")
        targets = as_tensor(labels, scores.dtype if not isinstance(labels, Tensor) else None, "labels")
        targets = cast(targets, scores.dtype)
        if axis not in (None, -1) and scores.rank is not None and normal_axis(axis or 0, scores.rank) != scores.rank - 1:
            order = [n for n in range(scores.rank) if n != normal_axis(axis or 0, scores.rank)]
            order.append(normal_axis(axis or 0, scores.rank))
            scores, targets = transpose(scores, order), transpose(targets, order)
        return declare(SOFTMAX_CROSS_ENTROPY, {"features": scores, "labels": targets}, None, scope).outputs[0]


def softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1, name: str | None = None,
                                      axis: int | None = None) -> Tensor:
    """Per row -sum(labels log softmax(logits)) along `axis` (the last). No gradient flows to the labels."""
    _ensure_named(logits, labels, _sentinel)
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        constant_labels = stop_gradient(labels, "labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(constant_labels, logits, dim if axis is None else axis, scope)


def sparse_softmax_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None,
                                             name: str | None = None) -> Tensor:
    """Per row -log softmax(logits)[label] for integer labels. A label out of range makes the row NaN."""
    _ensure_named(logits, labels, _sentinel)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        classes = as_tensor(labels)
        scores = as_tensor(logits)
        if scores.rank == 0:
            raise ValueError(f"Logits cannot be scalars - received shape {scores.shape}.")
        if scores.rank is not None and classes.rank is not None and classes.rank != scores.rank - 1:
            raise ValueError(f"Rank mismatch: Rank of labels (received {classes.rank}) should equal rank of logits minus 1 (received "
                             f"{scores.rank}).")
        shape(classes)
        inputs = {"features": scores, "labels": classes}
        return declare(SPARSE_SOFTMAX_CROSS_ENTROPY, inputs, None, "SparseSoftmaxCrossEntropyWithLogits", other={"labels": None}).outputs[0]


def sigmoid_cross_entropy_with_logits(_sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None) -> Tensor:
    """max(x, 0) - x z + log(1 + e^-|x|) for logits x and labels z."""
    _ensure_named(logits, labels, _sentinel)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x = as_tensor(logits, name="logits")
        z = as_tensor(labels, x.dtype if not isinstance(labels, Tensor) else None, "labels")
        if x.shape_tuple is not None and z.shape_tuple is not None and not same_dims(x.shape_tuple, z.shape_tuple):
            raise ValueError(f"logits and labels must have the same shape ({x.shape} vs {z.shape})")
        zeros = zeros_like(x, x.dtype)
        positive = greater_equal(x, zeros)
        clipped = where(positive, x, zeros)
        minus_size = where(positive, negative(x), x)
        return add(subtract(clipped, multiply(x, z, "mul"), "sub"), log1p(exp(minus_size)), scope)


def weighted_cross_entropy_with_logits(labels: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None,
                                       targets: Any = None) -> Tensor:
    """Sigmoid cross entropy with the loss of positive labels multiplied by `pos_weight`: (1 - z) x + (1 + (q - 1) z) log(1 + e^-x)."""
    if labels is not None and targets is not None:
        raise ValueError("Cannot specify both 'targets' and 'labels'")
    labels = targets if labels is None else labels
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x = as_tensor(logits, name="logits")
        z = as_tensor(labels, x.dtype if not isinstance(labels, Tensor) else None, "labels")
        if x.shape_tuple is not None and z.shape_tuple is not None and not same_dims(x.shape_tuple, z.shape_tuple):
            raise ValueError(f"logits and labels must have the same shape ({x.shape} vs {z.shape})")
        weight = 1 + (pos_weight - 1) * z
        smooth = log1p(exp(negative(abs(x)))) + relu(negative(x))
        return add((1 - z) * x, weight * smooth, scope)
