"""Where a condition holds, and what stands there: where (nonzero), boolean_mask, dynamic_partition, dynamic_stitch, unravel_index.

The size of these results depends on values. An expansion asks for it as `static_dims` of the node that counts; where nothing but a run can
tell, the Program is made in two stages, the second for the size found. The positions themselves are a running count of the elements that
hold, and one scatter of each element's number to the place that its count gives.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, Dims, TensorType, dims_product, same_dims, show_dims
from graphc.ops.array import reshape, shape, squeeze
from graphc.ops.checked import check_range
from graphc.ops.declare import INDEX, as_tensor, declare, declare_one, name_scope, normal_axis
from graphc.ops.gathering import gather
from graphc.ops.joining import concat
from graphc.ops.parts import box, undetermined
from graphc.ops.positions import OUTSIDE, index_type, numbers


def counted(found: Node) -> Dim:
    """The value of the scalar integer `found` where it is known; what a run finds otherwise."""
    dims = static_dims(found)
    return None if dims is None else dims[0]


def holding(condition: Node) -> Node:
    """The row-major positions at which the bools `condition` hold, in order, as a vector; int32 where that can count them."""
    size = dims_product(condition.shape)
    if size is None:
        return undetermined(p.iota((1,), 0, dtypes.int32), (None,))
    dtype = index_type(size)
    flat = p.reshape(condition, (size,))
    ones = p.convert(flat, dtype)
    count = counted(p.reduce_sum(ones, (0,)))
    if count is None:
        return undetermined(ones, (None,)) if size else p.iota((0,), 0, dtype)
    # An element that holds is the last with as many before it: its number is written over those of the others, and none need be asked.
    place = p.subtract(p.cumulative_sum(ones, 0), ones)
    return p.scatter(p.full(0, TensorType(dtype, (count,))), place, numbers((size,), dtype), 0, "assign")


def unravelled(flat: Node, dims: Sequence[Dim], dtype: DType) -> Node:
    """Row-major positions [n] in an array of shape `dims` as index tuples [n, len(dims)]."""
    n = flat.shape[0]
    if not dims or None in dims or n is None:
        return undetermined(p.full(0, TensorType(dtype, (1,))), (n, len(dims))) if dims else p.full(0, TensorType(dtype, (n, 0)))
    columns: list[Node] = []
    below = 1
    for dim in reversed([dim or 0 for dim in dims]):
        index = flat if below == 1 else p.divide(flat, p.full(below, flat.type))
        if len(columns) < len(dims) - 1:
            index = p.remainder(index, p.full(max(dim, 1), flat.type))
        columns.append(p.reshape(p.convert(index, dtype), (n, 1)))
        below *= max(dim, 1)
    return p.concatenate(columns[::-1], 1)


# where, boolean_mask ---------------------------------------------------------------------------------------------------------------------

@composite("Where", gradient=False)
def WHERE(input: Node) -> Node:
    """The index tuples, int64 [n, rank] in row-major order, of the elements that are true or not zero."""
    holds = input if input.dtype.is_bool else p.compare(input, p.full(0, input.type), "NE")
    return unravelled(holding(holds), input.shape, dtypes.int64)


def places(condition: Any, name: str | None = None) -> Tensor:
    """`where` of a condition alone: the index tuples, int64 [n, rank] in row-major order, of its elements that are true or not zero."""
    return declare_one(WHERE, {"input": condition}, None, name)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None) -> Tensor:
    """The slices of `tensor` where `mask` holds, whose axes are those of `tensor` from `axis` (0) on: one axis in their place.

    ValueError for a scalar mask, one of unknown rank, or one whose shape does not fit.
    """
    with name_scope(name, "boolean_mask", [tensor, mask]):
        tensor, mask = as_tensor(tensor, None, "tensor"), as_tensor(mask, None, "mask")
        if mask.rank is None:
            raise ValueError("Number of mask dimensions must be specified, even if some dimensions are None.  E.g. shape=[None] is ok, but "
                             "shape=None is not.")
        if mask.rank == 0:
            raise ValueError("mask cannot be scalar.")
        start = 0 if axis is None else int(axis)
        if tensor.rank is not None:
            start = normal_axis(start, tensor.rank)
            tensor.shape[start:start + mask.rank].assert_is_compatible_with(mask.shape)
        of_tensor = shape(tensor)
        rows = reshape(tensor, concat([of_tensor[:start], [-1], of_tensor[start + mask.rank:]], 0))
        if tensor.shape_tuple is not None:
            dims = tensor.shape_tuple
            rows.set_shape((*dims[:start], dims_product(dims[start:start + mask.rank]), *dims[start + mask.rank:]))
        found = squeeze(places(reshape(mask, [-1])), [1])
        return gather(rows, found, axis=start)


# dynamic_partition, dynamic_stitch -------------------------------------------------------------------------------------------------------

@composite("DynamicPartition")
def DYNAMIC_PARTITION(data: Node, partitions: Node, *, num_partitions: int) -> Sequence[Node]:
    """The slices of `data` with number 0, those with number 1, ...: each in their order."""
    rank = len(partitions.shape)
    if not same_dims(data.shape[:rank], partitions.shape) or rank > len(data.shape):
        raise ValueError(f"data.shape must start with partitions.shape, got data.shape = {show_dims(data.shape)}, "
                         f"partitions.shape = {show_dims(partitions.shape)}")
    count, rest = dims_product(partitions.shape), data.shape[rank:]
    if count is None:
        return [undetermined(data, (None, *rest)) for _ in range(num_partitions)]
    check_range(partitions, num_partitions, "partitions")
    rows = p.reshape(data, (count, *rest))
    chosen = [holding(p.compare(partitions, p.full(number, partitions.type), "EQ")) for number in range(num_partitions)]
    return [p.gather(rows, where, 0) for where in chosen]


def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: str | None = None) -> list[Tensor]:
    """`num_partitions` tensors: the slices of `data` (over the leading axes that are those of `partitions`) by their number, in order. A
    number that is not in [0, num_partitions) drops its slice. ValueError where the shapes do not fit or there is no partition."""
    if num_partitions < 1:
        raise ValueError(f"Attr 'num_partitions' of 'DynamicPartition' Op passed {num_partitions} less than minimum 1.")
    inputs = {"data": data, "partitions": partitions}
    return list(declare(DYNAMIC_PARTITION, inputs, {"num_partitions": int(num_partitions)}, name, other={"partitions": INDEX}).outputs)


@composite("DynamicStitch")
def DYNAMIC_STITCH(*inputs: Node) -> Node:
    """Row indices[m][i] of the result is data[m][i]; of several the last."""
    indices, data = inputs[:len(inputs) // 2], inputs[len(inputs) // 2:]
    rest = _common_rest(indices, data)
    sizes = [dims_product(each.shape) for each in indices]
    if None in sizes:
        return undetermined(data[0], (None, *rest), *data[1:])
    known = [size or 0 for size in sizes]
    where = _joined([p.reshape(each, (size,)) for each, size in zip(indices, known, strict=True)])
    rows = _joined([p.reshape(each, (size, *rest)) for each, size in zip(data, known, strict=True)])
    count = counted(p.reduce_max(p.convert(where, dtypes.int64), (0,))) if sum(known) else OUTSIDE
    if count is None:
        return undetermined(rows, (None, *rest))
    return p.scatter(p.full(0, rows.type.with_shape((count + 1, *rest))), where, rows, 0, "assign")


def _joined(parts: Sequence[Node]) -> Node:
    return parts[0] if len(parts) == 1 else p.concatenate(parts, 0)


def _common_rest(indices: Sequence[Node], data: Sequence[Node]) -> Dims:
    """The shape of a row, which all of `data` share."""
    rests = []
    for number, (where, each) in enumerate(zip(indices, data, strict=True)):
        rank = len(where.shape)
        if rank > len(each.shape) or not same_dims(each.shape[:rank], where.shape):
            raise ValueError(f"data[{number}].shape = {show_dims(each.shape)} does not start with indices[{number}].shape = "
                             f"{show_dims(where.shape)}")
        rests.append(each.shape[rank:])
        if len(rests[0]) != len(rests[-1]) or not same_dims(rests[0], rests[-1]):
            raise ValueError(f"data[0] and data[{number}] must have rows of one shape, got {show_dims(rests[0])} and "
                             f"{show_dims(rests[-1])}")
    return tuple(next((dim for dim in dims if dim is not None), None) for dims in zip(*rests, strict=True))


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """The rows of all `data`, each at its index: result[indices[m][i]] = data[m][i], of several the last. A row that no index names is
    zero. As many rows as the greatest index says."""
    if not isinstance(indices, list | tuple) or not isinstance(data, list | tuple) or len(indices) != len(data) or not data:
        raise ValueError("dynamic_stitch needs as many indices as data, in lists of at least one")
    with name_scope(name, "DynamicStitch", [*indices, *data]) as scope:
        where = {f"indices_{n}": as_tensor(each, INDEX, f"indices_{n}") for n, each in enumerate(indices)}
        rows = {f"data_{n}": as_tensor(each, None, f"data_{n}") for n, each in enumerate(data)}
        return declare_one(DYNAMIC_STITCH, {**where, **rows}, None, scope, other=dict.fromkeys(where))


@composite("UnravelIndex", gradient=False)
def UNRAVEL_INDEX(indices: Node, dims: Node) -> Node:
    """Row-major positions as index tuples, one a column."""
    if len(dims.shape) != 1 or len(indices.shape) > 1:
        raise ValueError(f"indices must be a scalar or a vector and dims a vector, got shapes {show_dims(indices.shape)} and "
                         f"{show_dims(dims.shape)}")
    rank = dims.shape[0]
    if rank is None:
        return undetermined(indices, (None, *indices.shape))
    rows: list[Node] = []
    rest = indices
    for axis in reversed(range(rank)):
        size = p.broadcast_in_dim(p.reshape(box(dims, 0, axis, axis + 1), ()), indices.shape, ())
        rows.append(p.reshape(p.remainder(rest, size), (1, *indices.shape)))
        rest = p.divide(rest, size)
    return p.concatenate(rows[::-1], 0) if rank else p.full(0, TensorType(indices.dtype, (0, *indices.shape)))


def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Tensor:
    """The index tuples of row-major positions in an array of shape `dims`: [len(dims), n] for a vector of n, [len(dims)] for a scalar."""
    return declare_one(UNRAVEL_INDEX, {"indices": indices, "dims": dims}, None, name)
