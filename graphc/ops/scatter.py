"""scatter_nd and tensor_scatter_*: updates combined into a tensor at index tuples. A tuple out of range is dropped.

Updates of one place are combined in their order; of those that replace it the last stays. (TF1 promises no order.) The operations on
variables are in `scatter_variables.py`, and are these with the variable's value for the tensor.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import graphc.primitives as p
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dims, dims_product, same_dims, show_dims
from graphc.ops.checked import check_tuples
from graphc.ops.declare import INDEX, declare_one, shape_dims
from graphc.ops.parts import undetermined
from graphc.ops.positions import positions


def scattered(tensor: Node, indices: Node, updates: Node, combine: str) -> Node:
    """`tensor` with `updates` [..., rest] combined into it at the index tuples in the last axis of `indices` [..., depth]."""
    depth = indices.shape[-1] if indices.shape else None
    if depth is None:
        if not indices.shape:
            raise ValueError("indices must have at least one axis, which holds the index tuples")
        return undetermined(tensor, tensor.shape, updates)
    check_updates(tensor.shape, indices.shape, updates.shape, depth)
    leading, rest = tensor.shape[:depth], tensor.shape[depth:]
    known = [dim for dim in leading if dim is not None]
    if len(known) < depth:
        return undetermined(tensor, tensor.shape, updates)
    check_tuples(indices, tensor.shape)
    rows = p.reshape(tensor, (math.prod(known), *rest))
    return p.reshape(p.scatter(rows, positions(indices, known), updates, 0, combine), tensor.shape)


def check_updates(shape: Dims, indices: Dims, updates: Dims, depth: int) -> None:
    """ValueError unless updates of shape `updates` have a slice of a tensor of `shape` for each of the index tuples of `depth` entries."""
    if depth > len(shape):
        raise ValueError(f"index tuples of {depth} entries do not fit a tensor of shape {show_dims(shape)}: its rank is {len(shape)}")
    expected = (*indices[:-1], *shape[depth:])
    if not same_dims(expected, updates):
        raise ValueError(f"updates must have shape {show_dims(expected)}: indices.shape[:-1] + shape[{depth}:] of indices "
                         f"{show_dims(indices)} and shape {show_dims(shape)}, got {show_dims(updates)}")


@composite("ScatterNd")
def SCATTER_ND(indices: Node, updates: Node, shape: Node) -> Node:
    """Zeros of `shape` with `updates` added at the index tuples."""
    dims = shape_dims(shape, updates.dtype)
    zeros = p.full(0, updates.type.with_shape(dims))
    if dims_product(dims) is None:
        depth = indices.shape[-1] if indices.shape else None
        if depth is not None:
            check_updates(dims, indices.shape, updates.shape, depth)
        return undetermined(updates, dims)
    return scattered(zeros, indices, updates, "add")


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros of `shape` with `updates` added at the index tuples in the last axis of `indices`; a tuple out of range is dropped."""
    inputs = {"indices": indices, "updates": updates, "shape": shape}
    return declare_one(SCATTER_ND, inputs, None, name, other={"indices": INDEX, "shape": INDEX})


def _tensor_scatter(type_name: str, expand: Callable[[Node, Node, Node], Node], doc: str) -> tuple[OpDef, Callable[..., Tensor]]:
    def nodes(tensor: Node, indices: Node, updates: Node) -> Node:
        return expand(tensor, indices, updates)

    definition = composite(type_name)(nodes)

    def function(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        inputs = {"tensor": tensor, "indices": indices, "updates": updates}
        return declare_one(definition, inputs, None, name, other={"indices": INDEX})

    nodes.__doc__ = function.__doc__ = doc
    return definition, function


TENSOR_SCATTER_UPDATE, tensor_scatter_nd_update = _tensor_scatter(
    "TensorScatterUpdate", lambda x, i, u: scattered(x, i, u, "assign"),
    "`tensor` with `updates` in the place of its slices at the index tuples in the last axis of `indices`; the last of several stays.")
TENSOR_SCATTER_ADD, tensor_scatter_nd_add = _tensor_scatter(
    "TensorScatterAdd", lambda x, i, u: scattered(x, i, u, "add"),
    "`tensor` with `updates` added to its slices at the index tuples in the last axis of `indices`.")
TENSOR_SCATTER_SUB, tensor_scatter_nd_sub = _tensor_scatter(
    "TensorScatterSub", lambda x, i, u: scattered(x, i, p.negate(u), "add"),
    "`tensor` with `updates` subtracted from its slices at the index tuples in the last axis of `indices`.")
for _function, _name in ((tensor_scatter_nd_update, "update"), (tensor_scatter_nd_add, "add"), (tensor_scatter_nd_sub, "sub")):
    _function.__name__ = _function.__qualname__ = f"tensor_scatter_nd_{_name}"
tensor_scatter_update, tensor_scatter_add, tensor_scatter_sub = tensor_scatter_nd_update, tensor_scatter_nd_add, tensor_scatter_nd_sub
