"""Embeddings of several ids a row, given as a sparse matrix: `nn.embedding_lookup_sparse` and its safe form."""
from __future__ import annotations

from typing import Any

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.ops.array import identity, reshape, shape, size
from graphc.ops.choosing import where
from graphc.ops.creation import ones, zeros_like
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, div_no_nan, divide, greater, greater_equal, logical_and, sqrt, square
from graphc.ops.embedding import embedding_lookup
from graphc.ops.joining import concat
from graphc.ops.reductions import reduce_prod
from graphc.ops.segments import unsorted_segment_sum
from graphc.ops.sparse import as_sparse
from graphc.ops.sparse_structure import sparse_fill_empty_rows, sparse_reshape, sparse_retain
from graphc.ops.sparse_tensor import SparseTensor

COMBINERS = ("mean", "sqrtn", "sum")


def embedding_lookup_sparse(params: Any, sp_ids: Any, sp_weights: Any, partition_strategy: str = "mod", name: str | None = None,
                            combiner: str | None = None, max_norm: float | None = None) -> Tensor:
    """For each row of a sparse matrix of ids the combined embeddings of its ids: [rows, ...].

    params: as `embedding_lookup`. sp_weights: a sparse matrix of weights at the same positions, or None for 1. combiner: "sum", "mean"
    (the default: divided by the sum of the weights) or "sqrtn" (by the root of the sum of their squares). A row without ids gives 0; with
    weights, "mean" and "sqrtn" give it NaN, as TF1 does. The number of rows is that of the last row that has an id, plus one.
    """
    how = "mean" if combiner is None else combiner
    if how not in COMBINERS:
        raise ValueError("combiner must be one of 'mean', 'sqrtn' or 'sum'")
    ids = as_sparse(sp_ids)
    weights = None if sp_weights is None else as_sparse(sp_weights)
    if weights is not None:
        ids.values.shape.assert_is_compatible_with(weights.values.shape)
    with name_scope(name, "embedding_lookup_sparse", []):
        rows = ids.indices[:, 0]
        count = rows[size(rows) - 1] + 1
        found = embedding_lookup(params, ids.values, partition_strategy, max_norm=max_norm)
        if weights is None:
            factors = ones(shape(ids.values), found.dtype)
        else:
            factors = cast(weights.values, found.dtype)
            beside = concat([shape(factors), ones([_rank(found) - 1], dtypes.int32)], 0)
            found = found * reshape(factors, beside)
        total = unsorted_segment_sum(found, rows, count)
        if how == "sum":
            return total
        scale = unsorted_segment_sum(factors if how == "mean" else square(factors), rows, count)
        scale = scale if how == "mean" else sqrt(scale)
        scale = reshape(scale, concat([shape(scale), ones([_rank(found) - 1], dtypes.int32)], 0))
        return div_no_nan(total, _spread(scale, total)) if weights is None else divide(total, scale)


def _rank(x: Tensor) -> int:
    if x.rank is None:
        raise ValueError("the rank of the embeddings must be known")
    return x.rank


def _spread(scale: Tensor, like: Tensor) -> Tensor:
    return scale + zeros_like(like)


def safe_embedding_lookup_sparse(embedding_weights: Any, sparse_ids: Any, sparse_weights: Any = None, combiner: str = "mean",
                                 default_id: int | None = None, name: str | None = None, partition_strategy: str = "div",
                                 max_norm: float | None = None) -> Tensor:
    """`embedding_lookup_sparse` that leaves out negative ids and weights that are not positive, and gives a row without ids a value.

    default_id: the id whose embedding such a row gets; without it, zeros. sparse_ids may have more than two axes: the last holds the ids.
    """
    if embedding_weights is None:
        raise ValueError("Missing embedding_weights.")
    ids = as_sparse(sparse_ids)
    rank = ids.shape.ndims if ids.shape.ndims is not None else 2
    with name_scope(name, "embedding_lookup", []):
        leading = ids.dense_shape[:rank - 1]
        flat = [reduce_prod(leading), ids.dense_shape[rank - 1]]
        ids = sparse_reshape(ids, flat)
        weights = None if sparse_weights is None else sparse_reshape(sparse_weights, flat)
        ids, weights = _pruned(ids, weights, combiner)
        ids, empty = sparse_fill_empty_rows(ids, as_tensor(default_id or 0, ids.dtype))
        if weights is not None:
            weights, _ = sparse_fill_empty_rows(weights, as_tensor(1, weights.dtype))
        found = embedding_lookup_sparse(embedding_weights, ids, weights, partition_strategy, combiner=combiner, max_norm=max_norm)
        if default_id is None:
            is_empty = reshape(empty, concat([shape(empty), ones([_rank(found) - 1], dtypes.int32)], 0))
            found = where(identity(_spread(cast(is_empty, found.dtype), found)) > 0, zeros_like(found), found)
        return reshape(found, concat([cast(leading, dtypes.int32), shape(found)[1:]], 0))


def _pruned(ids: SparseTensor, weights: SparseTensor | None, combiner: str) -> tuple[SparseTensor, SparseTensor | None]:
    """Without negative ids; unless the combiner is "sum", without weights that are not positive."""
    valid = greater_equal(ids.values, as_tensor(0, ids.dtype))
    if weights is None:
        return sparse_retain(ids, valid), None
    if combiner != "sum":
        valid = logical_and(valid, greater(weights.values, as_tensor(0, weights.dtype)))
    return sparse_retain(ids, valid), sparse_retain(weights, valid)


