"""Regularizers: functions of weights that give a loss. TF1's `contrib.layers.l1_regularizer` and its kin."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphc.core.convert import constant
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.ops.arithmetic import add_n
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import abs_, multiply
from graphc.ops.reductions import l2_loss, reduce_sum

Regularizer = Callable[[Any], Tensor | None]


def _scaled(scale: float, loss: Callable[[Any], Tensor], default: str, scope: str | None) -> Regularizer:
    """`scale` times `loss(weights)`; None of a scale of 0."""
    if isinstance(scale, int):
        raise ValueError(f"scale cannot be an integer: {scale}")
    if scale < 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale:g}.")

    def regularizer(weights: Any) -> Tensor | None:
        if scale == 0.0:
            return None
        with name_scope(scope, default, [weights]) as name:
            values = as_tensor(weights)
            return multiply(as_tensor(scale, values.dtype, "scale"), loss(values), name)
    return regularizer


def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """scale sum(|w|). ValueError for an integer or negative scale; of 0.0 no loss at all."""
    return _scaled(scale, lambda weights: reduce_sum(abs_(weights)), "l1_regularizer", scope)


def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """scale sum(w^2) / 2. ValueError for an integer or negative scale; of 0.0 no loss at all."""
    return _scaled(scale, l2_loss, "l2_regularizer", scope)


def l1_l2_regularizer(scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None) -> Regularizer:
    """The sum of both."""
    return _sum_of([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope or "l1_l2_regularizer")


def sum_regularizer(regularizer_list: Iterable[Regularizer | None], scope: str | None = None) -> Regularizer | None:
    """The sum of several; None where there is none."""
    regularizers = [each for each in regularizer_list if each is not None]
    return _sum_of(regularizers, scope) if regularizers else None


def _sum_of(regularizers: Sequence[Regularizer], scope: str | None) -> Regularizer:
    def regularizer(weights: Any) -> Tensor | None:
        with name_scope(scope, "sum_regularizer", [weights]) as name:
            losses = [loss for each in regularizers if (loss := each(weights)) is not None]
            return add_n(losses, name) if losses else None
    return regularizer


def apply_regularization(regularizer: Regularizer, weights_list: Sequence[Any] | None = None) -> Tensor:
    """The sum of the regularizer's losses of all weights (default: those in the collection WEIGHTS), kept as a regularization loss.

    ValueError where there are no weights, or a loss is not a scalar.
    """
    graph = get_default_graph()
    weights = list(weights_list or graph.get_collection(GraphKeys.WEIGHTS))
    if not weights:
        raise ValueError("No weights to regularize.")
    with name_scope(None, "get_regularization_penalty", weights) as name:
        losses = [constant(0.0) if (loss := regularizer(each)) is None else loss for each in weights]
        for loss in losses:
            if loss.rank != 0:
                raise ValueError(f"regularizer must return a scalar Tensor instead of a Tensor with rank {loss.rank}.")
        total: Tensor = add_n(losses, name)
    graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
    return total
