"""What all metrics share: local variables that accumulate over runs, a value read from them, and an operation that updates them.

A metric gives (value, update_op): the value is a function of what was accumulated so far; update_op takes one batch more into it and gives
the value after that. The variables are in LOCAL_VARIABLES and METRIC_VARIABLES: run `local_variables_initializer` to begin anew.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.ops.array import expand_dims, size
from graphc.ops.creation import ones_like, zeros
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import cast, div_no_nan, maximum, multiply
from graphc.ops.reductions import reduce_sum
from graphc.ops.weights import broadcast_weights, remove_squeezable_dimensions, squeezed_beside
from graphc.variable_scope import VariableScope, variable_scope
from graphc.variables import Variable, VariableSynchronization

Metric = tuple[Tensor, Tensor]
Collections = Sequence[str] | str | None


def metric_variable(shape: Sequence[int], dtype: DType, name: str) -> Variable:
    """A local variable of zeros that a metric accumulates in."""
    return Variable(lambda: zeros(shape, dtype), trainable=False, collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES],
                    name=name, synchronization=VariableSynchronization.ON_READ)


def metric_scope(name: str | None, default: str, *values: Any) -> AbstractContextManager[VariableScope]:
    """The variable scope of one metric."""
    return variable_scope(name, default, values)


def kept(value: Tensor, update: Tensor, metrics_collections: Collections, updates_collections: Collections) -> Metric:
    """(value, update), both in the collections that the caller asked for."""
    if metrics_collections:
        get_default_graph().add_to_collections(metrics_collections, value)
    if updates_collections:
        get_default_graph().add_to_collections(updates_collections, update)
    return value, update


def accumulated(totals: Sequence[Variable], amounts: Sequence[Tensor], formula: Callable[..., Tensor]) -> Metric:
    """(formula of the totals as they are, formula of the totals with the amounts added). The formula takes the totals, and a name."""
    value = formula(*[total.value() for total in totals], name="value")
    return value, formula(*[total.assign_add(amount) for total, amount in zip(totals, amounts, strict=True)], name="update_op")


def matched(predictions: Any, labels: Any, weights: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """All three with last dims of 1 taken away or added, where their ranks are one apart. ValueError where their shapes contradict."""
    truth, guesses = remove_squeezable_dimensions(labels, predictions)
    guesses.shape.assert_is_compatible_with(truth.shape)
    return guesses, truth, None if weights is None else weights_beside(weights, guesses)


def weights_beside(weights: Any, values: Tensor) -> Tensor:
    """`weights` with the rank of `values`, where a last dim of 1 makes the difference; a scalar stays one."""
    factors = as_tensor(weights)
    if factors.rank is not None and values.rank is not None and factors.rank and values.rank - factors.rank == 1:
        return expand_dims(factors, -1)
    return factors if factors.rank == 0 else squeezed_beside(factors, values, 1)


def quotient(total: Tensor, count: Tensor, name: str | None = None) -> Tensor:
    """total / count, 0 where nothing was counted."""
    return div_no_nan(total, maximum(count, zeros((), count.dtype)), name)


# Means ---------------------------------------------------------------------------------------------------------------------------------

def mean(values: Any, weights: Any = None, metrics_collections: Collections = None, updates_collections: Collections = None,
         name: str | None = None) -> Metric:
    """The mean of all elements of all batches, each counted by its weight (a scalar, or dims of 1 or equal)."""
    with metric_scope(name, "mean", values, weights):
        numbers = cast(as_tensor(values), dtypes.float32)
        total, count = (metric_variable([], dtypes.float32, each) for each in ("total", "count"))
        if weights is None:
            amount = cast(size(numbers), dtypes.float32)
        else:
            factors = broadcast_weights(cast(weights_beside(weights, numbers), dtypes.float32), numbers)
            numbers = multiply(numbers, factors)
            amount = reduce_sum(factors)
        value, update = accumulated([total, count], [reduce_sum(numbers), amount], quotient)
        return kept(value, update, metrics_collections, updates_collections)


def mean_tensor(values: Any, weights: Any = None, metrics_collections: Collections = None, updates_collections: Collections = None,
                name: str | None = None) -> Metric:
    """The mean of each element of `values`, whose shape must be known, over all batches; 0 where no weight was."""
    with metric_scope(name, "mean", values, weights):
        numbers = cast(as_tensor(values), dtypes.float32)
        if not numbers.shape.is_fully_defined():
            raise ValueError(f"mean_tensor keeps one mean for each element: the shape of values must be known, not {numbers.shape}")
        shape = [int(dim) for dim in numbers.shape_tuple or () if dim is not None]
        total, count = (metric_variable(shape, dtypes.float32, each) for each in ("total_tensor", "count_tensor"))
        amount = ones_like(numbers)
        if weights is not None:
            factors = broadcast_weights(cast(weights_beside(weights, numbers), dtypes.float32), numbers)
            numbers, amount = multiply(numbers, factors), multiply(amount, factors)
        value, update = accumulated([total, count], [numbers, amount], quotient)
        return kept(value, update, metrics_collections, updates_collections)


def as_given(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; Python numbers among them take the type of the other."""
    if isinstance(labels, Tensor | Variable):
        truth = as_tensor(labels)
        return truth, convert_to_tensor(predictions, preferred_dtype=truth.dtype)
    guesses = as_tensor(predictions)
    return convert_to_tensor(labels, preferred_dtype=guesses.dtype), guesses
