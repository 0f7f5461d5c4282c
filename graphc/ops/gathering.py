"""gather, gather_nd and batch_gather: parts of a tensor at the positions that another holds. An index out of range gives zeros."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank
from graphc.core.types import Dim, dims_product
from graphc.ops.checked import check_range, check_tuples
from graphc.ops.declare import INDEX, as_tensor, declare_one, known_axes, name_scope, normal_axis
from graphc.ops.parts import undetermined
from graphc.ops.positions import positions, within_batch


@composite("GatherV2")
def GATHER(params: Node, indices: Node, axis: Node, *, batch_dims: int = 0) -> Node:
    """Slices of `params` along `axis` at the indices; the first `batch_dims` axes of both go together."""
    batch = _batch_rank(params, indices, batch_dims)
    axes = known_axes(axis, len(params.shape))
    rank = len(params.shape) + len(indices.shape) - 1 - batch
    if axes is None:
        return undetermined(params, [None] * rank)
    at = axes[0]
    check_range(indices, params.shape[at])
    if not batch:
        return p.gather(params, indices, at)
    if at < batch:
        raise ValueError(f"batch_dims ({batch}) must be less than or equal to axis ({at})")
    shape = (*params.shape[:at], *indices.shape[batch:], *params.shape[at + 1:])
    leading, size = _same_batch(params, indices, batch), params.shape[at]
    if None in leading or None in params.shape or size is None:
        return undetermined(params, shape)
    # The chosen axis next to the batch, both as one; then what was gathered back behind the axes that stood before it.
    near = p.transpose(params, (*range(batch), at, *range(batch, at), *range(at + 1, len(params.shape))))
    rows = p.reshape(near, (math.prod(near.dims[:batch + 1]), *near.shape[batch + 1:]))
    found = p.gather(rows, within_batch(indices, near.dims[:batch], size), 0)
    chosen, before = range(batch, len(indices.shape)), range(len(indices.shape), len(indices.shape) + at - batch)
    return p.transpose(found, (*range(batch), *before, *chosen, *range(len(indices.shape) + at - batch, rank)))


def _batch_rank(params: Node, indices: Node, batch_dims: int) -> int:
    """`batch_dims`, which may count from the end of the axes of `indices`."""
    rank = len(indices.shape)
    batch = batch_dims + rank if batch_dims < 0 else batch_dims
    if not 0 <= batch <= rank:
        raise ValueError(f"batch_dims = {batch_dims} must be in [-{rank}, {rank}], the rank of indices")
    if batch >= len(params.shape) and batch:
        raise ValueError(f"batch_dims = {batch_dims} must be less than rank(params) = {len(params.shape)}")
    return batch


def _same_batch(params: Node, indices: Node, batch: int) -> list[Dim]:
    found: list[Dim] = []
    for axis, (a, b) in enumerate(zip(params.shape[:batch], indices.shape[:batch], strict=True)):
        if a is not None and b is not None and a != b:
            raise ValueError(f"Dimensions must be equal, but are {a} and {b}: axis {axis} of params and of indices is a batch axis")
        found.append(b if a is None else a)
    return found


def gather(params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = None,
           batch_dims: int = 0) -> Tensor:
    """Slices of `params` along `axis` at the integer `indices`: params.shape[:axis] + indices.shape[batch_dims:] + params.shape[axis + 1:].

    axis: default `batch_dims`. batch_dims: the first axes of both that go together. An index out of range gives zeros. TypeError for
    indices that are no integers, ValueError for an axis out of range.
    """
    del validate_indices  # says nothing in TF1 either
    if axis is None:
        axis = batch_dims if batch_dims >= 0 else _counted_from_front(batch_dims, indices)
    return declare_one(GATHER, {"params": params, "indices": indices, "axis": axis}, {"batch_dims": batch_dims}, name,
                       other={"indices": INDEX, "axis": INDEX})


def _counted_from_front(batch_dims: int, indices: Any) -> int:
    rank = as_tensor(indices, None, "indices").rank
    if rank is None:
        raise ValueError("batch_dims can count from the end only where the rank of indices is known")
    return normal_axis(batch_dims, rank)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """Slices of `params` along the last axis of `indices`, whose other axes go together with the first of `params`. An index out of range
    gives zeros; ValueError where the rank of `indices` is unknown."""
    with name_scope(name, "BatchGather", [params, indices]):
        indices = as_tensor(indices, None, "indices")
        if indices.rank is None:
            raise ValueError("batch_gather does not allow indices with unknown shape.")
        return gather(params, indices, axis=indices.rank - 1, batch_dims=indices.rank - 1)


@composite("GatherNd")
def GATHER_ND(params: Node, indices: Node, *, batch_dims: int = 0) -> Node:
    """Slices of `params` at index tuples: the last axis of `indices` holds one index for each of the first axes after the batch's."""
    depth = indices.shape[-1] if indices.shape else None
    if depth is None:
        raise UnknownRank(params.dtype)
    if batch_dims >= len(indices.shape):
        raise ValueError(f"batch_dims = {batch_dims} must be less than rank(indices) = {len(indices.shape)}")
    if depth + batch_dims > len(params.shape):
        raise ValueError(f"indices.shape[-1] must be <= params.rank, got {depth} and {len(params.shape) - batch_dims}")
    batch, leading = _same_batch(params, indices, batch_dims), params.shape[batch_dims:batch_dims + depth]
    inner = params.shape[batch_dims + depth:]
    if None in leading or None in batch:
        return undetermined(params, (*batch, *indices.shape[batch_dims:-1], *inner))
    check_tuples(indices, params.shape[batch_dims:], "param shape")
    rows = p.reshape(params, (dims_product((*batch, *leading)), *inner))
    flat = positions(indices, _known(leading))
    return p.gather(rows, within_batch(flat, _known(batch), math.prod(_known(leading))), 0)


def _known(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(dim for dim in dims if dim is not None)


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """Slices of `params` at the index tuples in the last axis of `indices`; the first `batch_dims` axes of both go together. A tuple out of
    range gives zeros. ValueError for tuples longer than `params` has axes."""
    return declare_one(GATHER_ND, {"params": params, "indices": indices}, {"batch_dims": batch_dims}, name, other={"indices": INDEX})


def taken_along(x: Node, indices: Node, axis: int) -> Node:
    """x[..., indices[..., i, ...], ...] along `axis`: numpy's take_along_axis of nodes of known and, but for `axis`, equal dims."""
    rank = len(x.shape)
    to_end = (*(each for each in range(rank) if each != axis), axis)
    back = (*range(axis), rank - 1, *range(axis, rank - 1))
    rows, chosen = p.transpose(x, to_end), p.transpose(indices, to_end)
    flat = within_batch(chosen, chosen.dims[:-1], x.dims[axis])
    return p.transpose(p.gather(p.reshape(rows, (x.type.size,)), flat, 0), back)
