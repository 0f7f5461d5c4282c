"""Sparse tensors made of sparse tensors: reordered, joined, cut, filled, compared. Positions are sorted and grouped when the graph runs.

How many values a result has may depend on the positions: then the run goes in stages (docs/stages.md).
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, TensorType, show_dims
from graphc.ops.array import expand_dims, identity, range_, reshape, shape, size, squeeze
from graphc.ops.creation import fill, ones, ones_like, zeros, zeros_like
from graphc.ops.declare import as_tensor, declare, name_scope, normal_axis
from graphc.ops.elementwise import (
    abs_,
    add,
    cast,
    equal,
    greater_equal,
    less,
    logical_and,
    logical_not,
    maximum,
    minimum,
    not_equal,
)
from graphc.ops.gathering import gather, gather_nd
from graphc.ops.joining import concat, stack
from graphc.ops.parts import undetermined
from graphc.ops.reductions import reduce_all, reduce_any, reduce_max
from graphc.ops.segments import unsorted_segment_max, unsorted_segment_sum
from graphc.ops.selecting import counted, unravelled
from graphc.ops.selecting import places as places_of
from graphc.ops.sparse import add_dense, as_sparse, known, places, shape_of, sparse_tensor_to_dense
from graphc.ops.sparse_tensor import IndexedSlices, SparseTensor, SparseTensorValue

LONG = dtypes.int64


# Order -----------------------------------------------------------------------------------------------------------------------------------

@composite("SparseReorder")
def SPARSE_REORDER(input_indices: Node, input_values: Node, input_shape: Node) -> Sequence[Node]:
    """The positions in row-major order, and the values that go with them. Equal positions keep their order."""
    if len(input_indices.shape) != 2 or len(input_values.shape) != 1:
        raise ValueError(f"Shape must be rank 2 for indices and rank 1 for values, but is {show_dims(input_indices.shape)} and "
                         f"{show_dims(input_values.shape)}")
    dims = known(shape_of(input_shape, input_indices.dtype, input_values.dtype))
    if dims is None or input_indices.shape[0] is None:
        return undetermined(input_indices, input_indices.shape), undetermined(input_values, input_values.shape)
    order = p.argsort(places(input_indices, dims), 0)
    return p.gather(input_indices, order, 0), p.gather(input_values, order, 0)


def sparse_reorder(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The same sparse tensor with its positions in row-major order."""
    sp = as_sparse(sp_input)
    inputs = {"input_indices": sp.indices, "input_values": sp.values, "input_shape": sp.dense_shape}
    indices, values = declare(SPARSE_REORDER, inputs, None, name, other=dict.fromkeys(inputs)).outputs
    return SparseTensor(indices, values, identity(sp.dense_shape), sp.shape.dims_tuple)


def sparse_transpose(sp_input: Any, perm: Any = None, name: str | None = None) -> SparseTensor:
    """The axes in another order: axis i of the result is axis perm[i] (default: reversed)."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseTranspose", list(sp.components)):
        rank = sp.known_rank
        if perm is None and rank is None:
            raise ValueError("the rank of a sparse tensor that is transposed without perm must be known")
        order = as_tensor(list(range(rank or 0))[::-1] if perm is None else perm, None, "perm")
        return sparse_reorder(SparseTensor(gather(sp.indices, order, axis=1), sp.values, gather(sp.dense_shape, order)))


@composite("SparseGroups", gradient=False)
def GROUPS(indices: Node, dense_shape: Node) -> Sequence[Node]:
    """For each position the number of its group of equal ones, which are numbered in row-major order; and the first of each group."""
    if len(indices.shape) != 2:
        raise ValueError(f"Shape must be rank 2 but is rank {len(indices.shape)}")
    dims, count = known(shape_of(dense_shape, indices.dtype, indices.dtype)), indices.shape[0]
    if dims is None or count is None:
        return undetermined(indices, (count,)), undetermined(indices, (None,))
    where = p.convert(places(indices, dims), LONG)
    order = p.argsort(where, 0)
    ascending = p.gather(where, order, 0)
    before = p.concatenate([p.full(-2, TensorType(LONG, (min(count, 1),))), p.slice_(ascending, (0,), (max(count - 1, 0),))], 0)
    is_new = p.compare(ascending, before, "NE")
    number = p.subtract(p.cumulative_sum(p.convert(is_new, LONG), 0), p.full(1, TensorType(LONG, (count,))))
    groups = p.scatter(p.full(0, number.type), order, number, 0, "assign")
    found: Dim = counted(p.reduce_sum(p.convert(is_new, LONG), (0,)))
    if found is None:
        return groups, undetermined(groups, (None,))
    first = p.select(is_new, number, p.full(-1, number.type))
    return groups, p.scatter(p.full(0, TensorType(LONG, (found,))), first, p.convert(order, LONG), 0, "assign")


class _Union:
    """The positions of several sparse tensors of one shape, each once, in row-major order."""

    def __init__(self, tensors: Sequence[SparseTensor]) -> None:
        self._tensors = tensors
        everywhere = concat([sp.indices for sp in tensors], 0)
        self._groups, first = declare(GROUPS, {"indices": everywhere, "dense_shape": tensors[0].dense_shape}, None, None,
                                      other={"indices": None, "dense_shape": None}).outputs
        self.indices = gather(everywhere, first)
        self.count = size(first)

    def values(self, number: int) -> Tensor:
        """The values of one of the tensors at all positions; 0 where it gives none."""
        start = sum((size(sp.values) for sp in self._tensors[:number]), start=constant(0))
        mine = self._groups[start:start + size(self._tensors[number].values)]
        return unsorted_segment_sum(self._tensors[number].values, mine, self.count)

    def givers(self) -> Tensor:
        """How many values are given at each position."""
        return unsorted_segment_sum(ones_like(self._groups), self._groups, self.count)

    def together(self, values: Tensor) -> SparseTensor:
        return SparseTensor(self.indices, values, self._tensors[0].dense_shape, self._tensors[0].shape.dims_tuple)


def sparse_add(a: Any, b: Any, threshold: Any = None, thresh: Any = None) -> SparseTensor | Tensor:
    """The sum: sparse where both are, else dense.

    threshold (older: thresh): a sum of two values whose magnitude is below it is left out, as TF1 does; a value that stands alone stays.
    TypeError where neither is sparse.
    """
    if not isinstance(a, SparseTensor | SparseTensorValue) and not isinstance(b, SparseTensor | SparseTensorValue):
        raise TypeError("At least one input should be SparseTensor; do you mean to use graphc.add()?")
    if not isinstance(b, SparseTensor | SparseTensorValue):
        return add_dense(as_sparse(a), b)
    if not isinstance(a, SparseTensor | SparseTensorValue):
        return add_dense(as_sparse(b), a)
    limit = thresh if threshold is None else threshold
    with name_scope(None, "SparseAdd", []):
        pair = as_sparse(a), as_sparse(b)
        union = _Union(pair)
        total = add(union.values(0), union.values(1))
        if limit is None or (isinstance(limit, int | float) and limit == 0):
            return union.together(total)
        small = logical_and(greater_equal(union.givers(), 2), less(abs_(total), as_tensor(limit, total.dtype)))
        return sparse_retain(union.together(total), logical_not(small))


def sparse_maximum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The greater value at each position that either gives; one that gives none there counts as 0."""
    return _pairwise(maximum, sp_a, sp_b, name, "SparseSparseMaximum")


def sparse_minimum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The lesser value at each position that either gives; one that gives none there counts as 0."""
    return _pairwise(minimum, sp_a, sp_b, name, "SparseSparseMinimum")


def _pairwise(function: Callable[[Any, Any], Tensor], sp_a: Any, sp_b: Any, name: str | None, default: str) -> SparseTensor:
    with name_scope(name, default, []):
        union = _Union([as_sparse(sp_a), as_sparse(sp_b)])
        return union.together(function(union.values(0), union.values(1)))


# Parts -----------------------------------------------------------------------------------------------------------------------------------

def sparse_retain(sp_input: Any, to_retain: Any) -> SparseTensor:
    """The values for which the bool vector `to_retain` holds."""
    sp = as_sparse(sp_input)
    keep = as_tensor(to_retain, dtypes.bool)
    if keep.shape_tuple is not None and sp.values.shape_tuple is not None:
        keep.shape.assert_is_compatible_with(sp.values.shape)
    chosen = squeeze(places_of(keep), [1])
    return SparseTensor(gather(sp.indices, chosen), gather(sp.values, chosen), identity(sp.dense_shape), sp.shape.dims_tuple)


def sparse_slice(sp_input: Any, start: Any, size: Any, name: str | None = None) -> SparseTensor:
    """The box of `size` at `start`, cut off where the tensor ends."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseSlice", list(sp.components)):
        begin, extent = as_tensor(start, LONG, "start"), as_tensor(size, LONG, "size")
        end = minimum(begin + extent, sp.dense_shape)
        inside = reduce_all(logical_and(greater_equal(sp.indices, begin), less(sp.indices, end)), 1)
        rest = sparse_retain(sp, inside)
        return SparseTensor(rest.indices - begin, rest.values, maximum(end - begin, 0))


def sparse_split(keyword_required: Any = None, sp_input: Any = None, num_split: int | None = None, axis: int | None = None,
                 name: str | None = None, split_dim: int | None = None) -> list[SparseTensor]:
    """`num_split` parts along `axis` (older: split_dim), whose size must be known; the first are longer by one where it does not divide.

    ValueError for arguments that are not given by their names.
    """
    axis = split_dim if axis is None else axis
    for given, argument in ((sp_input, "sp_input"), (num_split, "num_split"), (axis, "axis")):
        if given is None:
            raise ValueError(f"{argument} is required" if keyword_required is None else "Keyword arguments are required for this function.")
    sp, count = as_sparse(sp_input), int(num_split or 0)
    dims = sp.shape.dims_tuple
    if dims is None or dims[normal_axis(int(axis or 0), len(dims))] is None:
        raise ValueError("the axis along which a sparse tensor is split must have a known size")
    at = normal_axis(int(axis or 0), len(dims))
    whole = dims[at] or 0
    if not 1 <= count <= whole:
        raise ValueError(f"Input num_split should be between 1 and the splitting dimension size ({whole}), got {count}")
    bounds = np.cumsum([0, *(whole // count + (n < whole % count) for n in range(count))])
    with name_scope(name, "SparseSplit", []):
        return [_between(sp, at, int(low), int(high)) for low, high in pairwise(bounds)]


def _between(sp: SparseTensor, axis: int, low: int, high: int) -> SparseTensor:
    mine = sp.indices[:, axis]
    rest = sparse_retain(sp, logical_and(greater_equal(mine, low), less(mine, high)))
    here = constant(np.eye(len(sp.shape.dims_tuple or ()), dtype=np.int64)[axis])
    return SparseTensor(rest.indices - here * low, rest.values, sp.dense_shape * (1 - here) + here * (high - low))


def sparse_concat(axis: int, sp_inputs: Sequence[Any], name: str | None = None, expand_nonconcat_dim: bool = False,
                  concat_dim: int | None = None, expand_nonconcat_dims: bool | None = None) -> SparseTensor:
    """Sparse tensors one after the other along `axis` (older: concat_dim), in row-major order.

    expand_nonconcat_dims: the other axes may differ; the result has the greatest sizes.
    """
    parts = [as_sparse(each) for each in sp_inputs]
    if not parts:
        raise ValueError("sparse_concat needs at least one sparse tensor")
    if len(parts) == 1:
        return parts[0]
    rank = next((sp.shape.ndims for sp in parts if sp.shape.ndims is not None), None)
    if rank is None:
        raise ValueError("the rank of sparse tensors that are joined must be known")
    at = normal_axis(concat_dim if concat_dim is not None else axis, rank)
    here = constant(np.eye(rank, dtype=np.int64)[at])
    expands = expand_nonconcat_dim if expand_nonconcat_dims is None else expand_nonconcat_dims
    if not expands:
        _check_joined(parts, at)
    with name_scope(name, "SparseConcat", []):
        moved, offset, largest = [], constant(0, LONG), parts[0].dense_shape
        for sp in parts:
            moved.append(sp.indices + here * offset)
            offset = offset + sp.dense_shape[at]
            largest = maximum(largest, sp.dense_shape)
        whole = largest * (1 - here) + here * offset
        return sparse_reorder(SparseTensor(concat(moved, 0), concat([sp.values for sp in parts], 0), whole))


def _check_joined(parts: Sequence[SparseTensor], axis: int) -> None:
    for sp in parts[1:]:
        pairs = zip(parts[0].shape.dims_tuple or (), sp.shape.dims_tuple or (), strict=False)
        if any(n != axis and None not in (a, b) and a != b for n, (a, b) in enumerate(pairs)):
            raise ValueError(f"all but axis {axis} of sparse tensors that are joined must have one size: {parts[0].shape} and {sp.shape}")


# Shapes ----------------------------------------------------------------------------------------------------------------------------------

@composite("SparseReshape", gradient=False)
def SPARSE_RESHAPE(input_indices: Node, input_shape: Node, new_shape: Node) -> Sequence[Node]:
    """The positions in an array of `new_shape` (-1: what is left) that has the same elements in row-major order; and that shape."""
    old, new, rank = known(shape_of(input_shape, LONG, LONG)), static_dims(new_shape), new_shape.shape[0]
    if old is None or new is None or None in new:
        return undetermined(input_indices, (input_indices.shape[0], rank)), undetermined(new_shape, (rank,))
    dims = _filled_in(math.prod(old), [d for d in new if d is not None])
    return unravelled(places(input_indices, old), dims, LONG), p.constant(np.array(dims, np.int64))


def _filled_in(total: int, dims: list[int]) -> list[int]:
    """`dims` with a -1 replaced by what is left of `total` elements; ValueError where they do not fit."""
    rest = math.prod(d for d in dims if d != -1)
    if dims.count(-1) > 1 or any(d < -1 for d in dims):
        raise ValueError(f"only one dim of the new shape may be -1, and none below: {dims}")
    if -1 in dims and rest and total % rest == 0:
        dims = [total // rest if d == -1 else d for d in dims]
    if math.prod(dims) != total or -1 in dims:
        raise ValueError(f"Cannot reshape a tensor with {total} elements to shape {dims} ({math.prod(dims)} elements)")
    return dims


def sparse_reshape(sp_input: Any, shape: Any, name: str | None = None) -> SparseTensor:
    """The same values in row-major order in another shape, of which one dim may be -1. ValueError where the sizes differ."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseReshape", list(sp.components)):
        inputs = {"input_indices": sp.indices, "input_shape": sp.dense_shape, "new_shape": as_tensor(shape, LONG, "shape")}
        indices, dims = declare(SPARSE_RESHAPE, inputs, None, None, other=dict.fromkeys(inputs)).outputs
        return SparseTensor(indices, identity(sp.values), dims)


def sparse_expand_dims(sp_input: Any, axis: int | None = None, name: str | None = None) -> SparseTensor:
    """One more axis of size 1 at `axis` (default: the last). ValueError where the rank is unknown or `axis` out of range."""
    sp = as_sparse(sp_input)
    rank = sp.shape.ndims
    if rank is None:
        raise ValueError("the rank of a sparse tensor that gets another axis must be known")
    at = normal_axis(-1 if axis is None else axis, rank + 1)
    with name_scope(name, "expand_dims", list(sp.components)):
        indices = concat([sp.indices[:, :at], zeros_like(sp.indices[:, :1]), sp.indices[:, at:]], 1)
        return SparseTensor(indices, sp.values, concat([sp.dense_shape[:at], constant([1], LONG), sp.dense_shape[at:]], 0))


def sparse_reset_shape(sp_input: Any, new_shape: Any = None) -> SparseTensor:
    """The same values in a tensor of `new_shape`, no dim of which may be smaller; without it, of the smallest shape that holds them all.

    ValueError where ranks differ, or a dim that is known is smaller.
    """
    sp = as_sparse(sp_input)
    if new_shape is None:
        greatest = reduce_max(concat([sp.indices, zeros([1, size(sp.dense_shape)], LONG) - 1], 0), 0)
        return SparseTensor(identity(sp.indices), identity(sp.values), maximum(greatest + 1, 0))
    result = SparseTensor(identity(sp.indices), identity(sp.values), as_tensor(new_shape, LONG))
    old, new = sp.shape.dims_tuple, result.shape.dims_tuple
    if old is not None and new is not None:
        if len(old) != len(new):
            raise ValueError(f"Shapes {sp.shape} and {result.shape} must have the same rank")
        if any(a is not None and b is not None and b < a for a, b in zip(old, new, strict=True)):
            raise ValueError(f"New shape {result.shape} is less than the shape of the sparse tensor, {sp.shape}")
    return result


def sparse_fill_empty_rows(sp_input: Any, default_value: Any, name: str | None = None) -> tuple[SparseTensor, Tensor]:
    """A matrix whose rows that give nothing give `default_value` in their first column, and a bool for each row: whether it was so."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseFillEmptyRows", list(sp.components)):
        rows = sp.dense_shape[0]
        present = unsorted_segment_sum(ones(shape(sp.values), dtypes.int32), sp.indices[:, 0], rows)
        empty = equal(present, 0)
        added = places_of(empty)
        more = concat([added, fill([size(added), size(sp.dense_shape) - 1], constant(0, LONG))], 1)
        filled = fill([size(added)], as_tensor(default_value, sp.dtype))
        whole = SparseTensor(concat([sp.indices, more], 0), concat([sp.values, filled], 0), sp.dense_shape)
        return sparse_reorder(whole), empty


# To and from dense -----------------------------------------------------------------------------------------------------------------------

def from_dense(tensor: Any, name: str | None = None) -> SparseTensor:
    """The elements of a dense tensor that are not zero."""
    with name_scope(name, "dense_to_sparse", [tensor]):
        x = convert_to_tensor(tensor)
        where_not = places_of(not_equal(x, as_tensor(0, x.dtype)))
        return SparseTensor(where_not, gather_nd(x, where_not), shape(x, out_type=LONG))


def sparse_eye(num_rows: int, num_columns: int | None = None, dtype: Any = dtypes.float32, name: str | None = None) -> SparseTensor:
    """Ones on the diagonal of a matrix."""
    with name_scope(name, "eye", []):
        columns = num_rows if num_columns is None else num_columns
        count = range_(min(num_rows, columns), dtype=LONG)
        return SparseTensor(stack([count, count], 1), ones(shape(count), dtype), np.array([num_rows, columns], np.int64))


def sparse_to_indicator(sp_input: Any, vocab_size: int, name: str | None = None) -> Tensor:
    """Bools [..., vocab_size]: whether the row of the last axis holds the integer. The values are ids in [0, vocab_size)."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseToIndicator", list(sp.components)):
        truth = sp.with_values(ones(shape(sp.values), dtypes.bool))
        merged = sparse_merge(sp, truth, vocab_size)
        return sparse_tensor_to_dense(merged, False, validate_indices=False)


def sparse_merge(sp_ids: Any, sp_values: Any, vocab_size: Any, name: str | None = None, already_sorted: bool = False) -> SparseTensor:
    """The values at positions whose last index is the id that stands beside them: [..., vocab_size].

    sp_ids: integers, or a list of them with a list of sizes, one more axis each.
    """
    several = isinstance(sp_ids, list | tuple)
    ids, sizes = ([as_sparse(each) for each in (sp_ids if several else [sp_ids])], list(vocab_size) if several else [vocab_size])
    if len(ids) != len(sizes):
        raise ValueError(f"sp_ids and vocab_size have to have equal lengths: {len(ids)} and {len(sizes)}")
    values = as_sparse(sp_values)
    with name_scope(name, "SparseMerge", []):
        columns = [expand_dims(cast(each.values, LONG), 1) for each in ids]
        dims = concat([ids[0].dense_shape[:-1], stack([cast(as_tensor(each), LONG) for each in sizes])], 0)
        merged = SparseTensor(concat([ids[0].indices[:, :-1], *columns], 1), values.values, dims)
        return merged if already_sorted else sparse_reorder(merged)


def sparse_mask(a: IndexedSlices, mask_indices: Any, name: str | None = None) -> IndexedSlices:
    """The rows of `a` whose index is not among `mask_indices`."""
    with name_scope(name, "sparse_mask", [a.values, a.indices]):
        masked = reduce_any(equal(expand_dims(a.indices, 1), reshape(as_tensor(mask_indices, a.indices.dtype), [1, -1])), 1)
        chosen = squeeze(places_of(logical_not(masked)), [1])
        return IndexedSlices(gather(a.values, chosen), gather(a.indices, chosen), a.dense_shape)


def sparse_reduce_sum_sparse(sp_input: Any, axis: Any = None, keepdims: bool | None = None, reduction_axes: Any = None,
                             keep_dims: bool | None = None) -> SparseTensor:
    """The sums over `axis` (all) at the positions that some value is given for. Arguments as `sparse_reduce_sum`."""
    return _sparse_reduction(unsorted_segment_sum, sp_input, axis, keepdims, reduction_axes, keep_dims)


def sparse_reduce_max_sparse(sp_input: Any, axis: Any = None, keepdims: bool | None = None, reduction_axes: Any = None,
                             keep_dims: bool | None = None) -> SparseTensor:
    """The greatest values over `axis` (all) at the positions that some value is given for. Arguments as `sparse_reduce_sum`."""
    return _sparse_reduction(unsorted_segment_max, sp_input, axis, keepdims, reduction_axes, keep_dims)


def _sparse_reduction(reduce: Callable[..., Tensor], sp_input: Any, axis: Any, keepdims: bool | None, reduction_axes: Any,
                      keep_dims: bool | None) -> SparseTensor:
    sp = as_sparse(sp_input)
    rank = sp.shape.ndims
    if rank is None:
        raise ValueError("the rank of a sparse tensor that is reduced must be known")
    given = reduction_axes if axis is None else axis
    gone = {normal_axis(int(each), rank) for each in np.atleast_1d(np.arange(rank) if given is None else given)}
    keep = keepdims if keepdims is not None else keep_dims
    with name_scope(None, "SparseReduce", []):
        kept = [n for n in range(rank) if n not in gone]
        left = SparseTensor(gather(sp.indices, constant(np.array(kept, np.int64)), axis=1), sp.values,
                            gather(sp.dense_shape, constant(np.array(kept, np.int64))))
        groups, first = declare(GROUPS, {"indices": left.indices, "dense_shape": left.dense_shape}, None, None,
                                other={"indices": None, "dense_shape": None}).outputs
        result = SparseTensor(gather(left.indices, first), reduce(sp.values, groups, size(first)), left.dense_shape)
        if keep:
            for each in sorted(gone):
                result = sparse_expand_dims(result, each)
        return result
