"""Weights beside values, by the rule that `losses` and `metrics` share: a scalar, or the rank of the values with dims of 1 or equal.

What is known when the graph is declared is checked then; two small composites check the rest when a Program is made for known shapes.
"""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dims, merge_dims, same_dims, show_dims
from graphc.ops.array import squeeze
from graphc.ops.declare import as_tensor, declare_one, name_scope


def _problem(weights: Dims, values: Dims) -> str:
    """What is wrong with the shape of `weights`, "" where nothing is."""
    rule = "weights can not be broadcast to values."
    shapes = f"values.shape={show_dims(values)} weights.shape={show_dims(weights)}"
    if weights and len(weights) != len(values):
        return f"{rule} values.rank={len(values)}. weights.rank={len(weights)}. {shapes}."
    for axis, (weight, value) in enumerate(zip(weights, values, strict=False)):
        if weight != 1 and not same_dims((weight,), (value,)):
            return f"{rule} Mismatch at dim {axis}. {shapes}."
    return ""


def check_weights(values: Tensor, weights: Tensor) -> None:
    """ValueError unless `weights` is a scalar, or has the rank of `values` and dims of 1 or equal. Unknown shapes pass."""
    if values.shape_tuple is not None and weights.shape_tuple is not None and (wrong := _problem(weights.shape_tuple, values.shape_tuple)):
        raise ValueError(wrong)


@composite("BroadcastWeights")
def BROADCAST_WEIGHTS(weights: Node, values: Node) -> Node:
    """`weights` repeated to the shape of `values`: a scalar, or dims of 1 or equal."""
    if wrong := _problem(weights.shape, values.shape):
        raise ValueError(wrong)
    if not weights.shape:
        return p.broadcast_in_dim(weights, values.shape, ())
    kept = [axis for axis, (weight, value) in enumerate(zip(weights.shape, values.shape, strict=True)) if weight != 1 or value == 1]
    rows = p.reshape(weights, [weights.shape[axis] for axis in kept])
    shape = tuple(merge_dims((weight,), (value,))[0] if axis in kept else value
                  for axis, (weight, value) in enumerate(zip(weights.shape, values.shape, strict=True)))
    return p.broadcast_in_dim(rows, shape, kept)


def broadcast_weights(weights: Any, values: Tensor) -> Tensor:
    """`weights` in the type of `values`, repeated to their shape. ValueError (or InvalidArgumentError, of shapes that are known later)
    unless they are a scalar, or of the rank of `values` with dims of 1 or equal."""
    with name_scope(None, "broadcast_weights", (weights, values)) as scope:
        factors = as_tensor(weights, values.dtype, "weights")
        check_weights(values, factors)
        known = factors.shape_tuple
        if known is not None and None not in known and known == values.shape_tuple:
            return factors
        return declare_one(BROADCAST_WEIGHTS, {"weights": factors, "values": values}, None, scope)


@composite("SqueezeBeside")
def SQUEEZE_BESIDE(x: Node, other: Node, *, excess: int) -> Node:
    """`x` without its last dim, which must be 1, where it has just `excess` more dims than `other`; else as it is."""
    if not x.shape or len(x.shape) - len(other.shape) != excess:
        return x
    if x.shape[-1] not in (1, None):
        raise ValueError(f"Can not squeeze dim[{len(x.shape) - 1}], expected a dimension of 1, got {x.shape[-1]}")
    return p.reshape(x, x.shape[:-1])


def squeezed_beside(x: Tensor, other: Tensor, excess: int) -> Tensor:
    """`x` without its last dim of 1 where it has just `excess` more dims than `other`."""
    if x.rank is not None and other.rank is not None:
        return squeeze(x, [-1]) if x.rank - other.rank == excess else x
    return declare_one(SQUEEZE_BESIDE, {"x": x, "other": other}, {"excess": excess}, other={"other": None})


def remove_squeezable_dimensions(labels: Any, predictions: Any, expected_rank_diff: int = 0, name: str | None = None
                                 ) -> tuple[Tensor, Tensor]:
    """Both, one of them without its last dim of 1 where rank(predictions) - rank(labels) is one off from what is expected."""
    with name_scope(name, "remove_squeezable_dimensions", [labels, predictions]):
        guesses, truth = as_tensor(predictions), as_tensor(labels)
        return squeezed_beside(truth, guesses, 1 - expected_rank_diff), squeezed_beside(guesses, truth, 1 + expected_rank_diff)
