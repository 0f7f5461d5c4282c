"""Sorting, the greatest few, orders and their inverses, places in sorted rows, in TF1's words.

NaN counts as greater than every number, equal elements stay in their order. (TF1 sorts upwards by negating twice, which wraps the least
integer around and puts NaN anywhere.)
"""
from __future__ import annotations

from typing import Any, NamedTuple

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import TensorType, dims_product, same_dims, show_dims
from graphc.ops.array import reshape, shape
from graphc.ops.declare import INDEX, as_tensor, declare, declare_one, name_scope, normal_axis
from graphc.ops.joining import stack
from graphc.ops.parts import undetermined
from graphc.ops.positions import determined
from graphc.ops.reductions import reduce_prod
from graphc.ops.selection import bisect, top_order


class TopKV2(NamedTuple):
    """values: the greatest, greatest first. indices: int32, where they stand in their row."""

    values: Tensor
    indices: Tensor


# Sorting --------------------------------------------------------------------------------------------------------------------------------

@composite("Sort")
def SORT(values: Node, *, axis: int = -1, descending: bool = False) -> Node:
    place = normal_axis(axis, len(values.shape))
    return p.sort([values], place, descending)[0]


@composite("Argsort", gradient=False)
def ARGSORT(values: Node, *, axis: int = -1, descending: bool = False) -> Node:
    return p.argsort(values, normal_axis(axis, len(values.shape)), descending)


def _descends(direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"{direction} should be one of ASCENDING, DESCENDING")
    return direction == "DESCENDING"


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """`values` sorted along `axis`, the least first, or ("DESCENDING") the greatest. NaN is greater than every number.

    ValueError for another direction or an axis that is out of range.
    """
    return _declare_sort(SORT, "sort", values, axis, direction, name)


def argsort(values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None) -> Tensor:
    """int32 positions along `axis` in the order that sorts `values`; always stable. NaN is greater than every number."""
    return _declare_sort(ARGSORT, "argsort", values, axis, direction, name)


def _declare_sort(definition: OpDef, default: str, values: Any, axis: Any, direction: str, name: str | None) -> Tensor:
    descending = _descends(direction)
    if axis is None:
        raise ValueError("None values not supported.")
    with name_scope(name, default, [values]):
        return declare_one(definition, {"values": as_tensor(values, None, "values")}, {"axis": int(axis), "descending": descending})


# The greatest few -----------------------------------------------------------------------------------------------------------------------

@composite("TopKV2")
def TOP_K(input: Node, k: Node, *, sorted: bool = True) -> tuple[Node, Node]:
    """The k greatest of each row (the last axis) and their positions. (sorted: they always are.)"""
    if not input.shape:
        raise ValueError("input must be at least rank 1 but is rank 0")
    if input.dtype.is_bool or input.dtype.is_complex:
        raise TypeError(f"Value passed to parameter 'input' has DataType {input.dtype.name} not in list of real numbers")
    if k.shape != ():
        raise ValueError(f"k must be a scalar, got shape {show_dims(k.shape)}")
    count, length = determined(k), input.shape[-1]
    if count is not None and count < 0:
        raise ValueError(f"k must be non-negative but is {count}")
    if count is not None and length is not None and count > length:
        raise ValueError(f"input must have last dimension >= k = {count} but is {length}")
    *others, axis = range(len(input.shape))
    dims = (*(input.shape[each] for each in others), count)
    rows = dims_product(dims[:-1])
    if rows is None or count is None or length is None:
        return undetermined(input, dims), p.parameter("?positions", TensorType(dtypes.int32, dims))
    order = p.reshape(top_order(p.reshape(input, (rows, length)), count), dims)
    return p.rearrange(input, order, axis, count == length), order


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopKV2:
    """The `k` greatest elements of each row (the last axis of `input`), greatest first, and their int32 positions: each [..., k].

    Of equal elements the one at the lower position comes first; NaN is greater than every number. ValueError where k is negative or
    greater than the last dim, or `input` is a scalar.
    """
    operation = declare(TOP_K, {"input": input, "k": k}, {"sorted": bool(sorted)}, name, other={"k": INDEX})
    return TopKV2(*operation.outputs)


@composite("InTopKV2", gradient=False)
def IN_TOP_K(predictions: Node, targets: Node, k: Node) -> Node:
    """Whether fewer than k predictions of a row are greater than that of its target, all of them finite."""
    if len(predictions.shape) != 2 or len(targets.shape) != 1:
        raise ValueError(f"predictions must be a matrix and targets a vector, got shapes {show_dims(predictions.shape)} and "
                         f"{show_dims(targets.shape)}")
    if not same_dims(predictions.shape[:1], targets.shape):
        raise ValueError(f"Dimensions must be equal, but are {show_dims(predictions.shape[:1])} and {show_dims(targets.shape)}: one row of "
                         "predictions for each target")
    wide = p.convert(targets, dtypes.int64)
    spread = p.broadcast_in_dim(wide, predictions.shape, (0,))
    hit = p.compare(spread, p.iota(predictions.shape, 1, dtypes.int64), "EQ")
    own = p.reduce_sum(p.select(hit, predictions, p.full(0, predictions.type)), (1,))
    greater = p.compare(predictions, p.broadcast_in_dim(own, predictions.shape, (0,)), "GT")
    count = p.reduce_sum(p.convert(greater, k.dtype), (1,))
    told = p.and_(p.reduce_min(p.is_finite(predictions), (1,)), p.reduce_max(hit, (1,)))
    return p.and_(told, p.compare(count, p.broadcast_in_dim(k, count.shape, ()), "LT"))


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """bool [batch]: whether each of `targets` [batch] is among the k greatest of its row of `predictions`, float32 [batch, classes].

    All that tie for the last place are. False where a prediction of the row is not finite, or the target no class.
    """
    with name_scope(name, "in_top_k"):
        wanted = {"predictions": as_tensor(predictions, dtypes.float32, "predictions"), "targets": as_tensor(targets, None, "targets")}
        return declare_one(IN_TOP_K, {**wanted, "k": as_tensor(k, wanted["targets"].dtype, "k")}, None,
                           other={"targets": INDEX, "k": INDEX})


# Orders ---------------------------------------------------------------------------------------------------------------------------------

@composite("InvertPermutation", gradient=False)
def INVERT_PERMUTATION(x: Node) -> Node:
    """y with y[x[i]] = i; -1 where no element of x names the place."""
    if len(x.shape) != 1:
        raise ValueError(f"Shape must be rank 1 but is rank {len(x.shape)}")
    if x.dtype not in (dtypes.int32, dtypes.int64):
        raise TypeError(f"Value passed to parameter 'x' has DataType {x.dtype.name} not in list of allowed values: int32, int64")
    return p.inverse_order(x, x.shape[0], 0)


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """The inverse of a permutation, an int32 or int64 vector: y[x[i]] = i. A place that `x` does not name has -1."""
    return declare_one(INVERT_PERMUTATION, {"x": x}, None, name)


# Places in sorted rows ------------------------------------------------------------------------------------------------------------------

def _bound(sorted_inputs: Node, values: Node, direction: str, out_type: DType) -> Node:
    """For each value how many elements of its row come before it."""
    if len(sorted_inputs.shape) != 2 or len(values.shape) != 2 or not same_dims(sorted_inputs.shape[:1], values.shape[:1]):
        raise ValueError(f"sorted_inputs and values must be matrices with one first dimension, got shapes {show_dims(sorted_inputs.shape)} "
                         f"and {show_dims(values.shape)}")
    if None in (*sorted_inputs.shape, *values.shape):
        return p.parameter("?places", TensorType(out_type, values.shape))

    def goes_on(place: Node) -> Node:
        return p.compare(p.rearrange(sorted_inputs, place, 1), values, direction)

    return p.convert(bisect(values.dims, sorted_inputs.dims[1], goes_on), out_type)


@composite("LowerBound", gradient=False)
def LOWER_BOUND(sorted_inputs: Node, values: Node, *, out_type: DType = dtypes.int32) -> Node:
    return _bound(sorted_inputs, values, "LT", out_type)


@composite("UpperBound", gradient=False)
def UPPER_BOUND(sorted_inputs: Node, values: Node, *, out_type: DType = dtypes.int32) -> Node:
    return _bound(sorted_inputs, values, "LE", out_type)


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = dtypes.int32, name: str | None = None) -> Tensor:
    """Where each of `values` [..., m] belongs in its row of `sorted_sequence` [..., n]: before the elements that equal it, or (side
    "right") after them. ValueError for another side."""
    if side not in ("left", "right"):
        raise ValueError(f"side must be either 'right' or 'left'.  Saw: {side}.")
    sequence, wanted = as_tensor(sorted_sequence), as_tensor(values)
    rows, queries = _as_rows(sequence), _as_rows(wanted)
    bound = LOWER_BOUND if side == "left" else UPPER_BOUND
    found = declare_one(bound, {"sorted_inputs": rows, "values": queries}, {"out_type": as_dtype(out_type)}, name)
    return reshape(found, shape(wanted))


def _as_rows(x: Tensor) -> Tensor:
    """`x` [..., n] as a matrix; where n is 0, -1 would not say how many rows there are."""
    sizes = shape(x)
    return reshape(x, stack([reduce_prod(sizes[:-1]), sizes[-1]]))
