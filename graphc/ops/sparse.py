"""Sparse tensors met by dense ones: products, sums, conversion. The size of every result follows from shapes alone.

A sparse tensor is a list of positions and values (`sparse_tensor.SparseTensor`). Its positions are turned into places of a flat array, and
values are scattered there. An index out of range is dropped; a position that occurs twice counts twice in sums and products, and its last
value wins where values are stored.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor, register_tensor_conversion_function
from graphc.core.dtypes import DType
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank, static_dims
from graphc.core.types import Dims, TensorType
from graphc.ops.declare import INDEX, declare_one, known_axes, name_scope
from graphc.ops.linear import matmul
from graphc.ops.parts import box, undetermined
from graphc.ops.positions import OUTSIDE, filled, is_inside, positions
from graphc.ops.sparse_tensor import IndexedSlices, SparseTensor, SparseTensorValue
from graphc.primitives.sugar import broadcast_to
from graphc.primitives.sugar import zeros_like as zeros


def as_sparse(value: Any) -> SparseTensor:
    """`value`, a SparseTensor or SparseTensorValue; TypeError for anything else."""
    if isinstance(value, SparseTensorValue):
        return SparseTensor.from_value(value)
    if not isinstance(value, SparseTensor):
        raise TypeError(f"Input must be a SparseTensor, not {value!r}")
    return value


# Places ----------------------------------------------------------------------------------------------------------------------------------

def column(indices: Node, axis: int) -> Node:
    """[n, rank] -> the indices along one axis, [n]."""
    return p.reshape(box(indices, 1, axis, axis + 1), indices.shape[:1])


def places(indices: Node, dims: Sequence[int], axes: Sequence[int] | None = None) -> Node:
    """Where each position [n, rank] in an array of `dims` stands in row-major order of `axes` (all); OUTSIDE for one outside the array."""
    whole = positions(indices, dims)
    if axes is None or len(axes) == len(dims):
        return whole
    columns = [p.reshape(column(indices, axis), (*indices.shape[:1], 1)) for axis in axes]
    some = positions(p.concatenate(columns, 1) if columns else box(indices, 1, 0, 0), [dims[axis] for axis in axes])
    valid = p.and_(is_inside(whole, math.prod(dims)), is_inside(some, math.prod(dims[axis] for axis in axes)))
    return p.select(valid, some, filled(some, OUTSIDE))


def known(dims: Dims | None) -> tuple[int, ...] | None:
    """`dims` where all are known."""
    return None if dims is None or None in dims else tuple(d for d in dims if d is not None)


def shape_of(dense_shape: Node, *dtypes_of_outputs: Any) -> Dims:
    """The dims of a sparse tensor; UnknownRank where not even their number is known."""
    dims = static_dims(dense_shape)
    if dims is None:
        raise UnknownRank(*dtypes_of_outputs)
    if any(d is not None and d < 0 for d in dims):
        raise ValueError(f"Invalid value in tensor used for shape: {min(d for d in dims if d is not None)}")
    return dims


def scattered(dims: Dims, where: Node, values: Node, combine: str = "add", start: Node | None = None) -> Node:
    """`values` [n] combined at the places `where` of an array of `dims` that holds `start` (0)."""
    size = math.prod(d for d in dims if d is not None)
    begin = p.full(0, TensorType(values.dtype, (size,))) if start is None else broadcast_to(start, (size,))
    return p.reshape(p.scatter(begin, where, values, 0, combine), dims)


# Products --------------------------------------------------------------------------------------------------------------------------------

@composite("SparseTensorDenseMatMul")
def SPARSE_TENSOR_DENSE_MATMUL(a_indices: Node, a_values: Node, a_shape: Node, b: Node, *, adjoint_a: bool = False,
                               adjoint_b: bool = False) -> Node:
    """The product of a sparse matrix [m, n] with a dense one [n, k]: each value times a row of `b`, added to a row of the result."""
    dims = shape_of(a_shape, b.dtype)
    if len(dims) != 2 or len(b.shape) != 2:
        raise ValueError(f"Shape must be rank 2 but is rank {len(dims) if len(dims) != 2 else len(b.shape)}")
    b = p.transpose(b, (1, 0)) if adjoint_b else b
    rows, columns = (1, 0) if adjoint_a else (0, 1)
    inner = dims[columns]
    if None not in (inner, b.shape[0]) and inner != b.shape[0]:
        raise ValueError(f"Dimensions must be equal, but are {inner} and {b.shape[0]}")
    chosen = p.gather(b, column(a_indices, columns), 0)
    parts = p.multiply(chosen, p.broadcast_in_dim(a_values, chosen.shape, (0,)))
    return p.scatter_add(p.full(0, TensorType(b.dtype, (dims[rows], b.shape[1]))), column(a_indices, rows), parts, 0)


def sparse_tensor_dense_matmul(sp_a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None) -> Tensor:
    """The product of a sparse matrix [m, n] and a dense one [n, k]: [m, k]. adjoint_a, adjoint_b: of the transposed matrix."""
    a = as_sparse(sp_a)
    with name_scope(name, "SparseTensorDenseMatMul", [*a.components, b]):
        inputs = {"a_indices": a.indices, "a_values": a.values, "a_shape": a.dense_shape, "b": convert_to_tensor(b, a.dtype, "b")}
        return declare_one(SPARSE_TENSOR_DENSE_MATMUL, inputs, {"adjoint_a": adjoint_a, "adjoint_b": adjoint_b},
                           other=dict.fromkeys(("a_indices", "a_shape", "a_values", "b")))


def sparse_matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, a_is_sparse: bool = False,
                  b_is_sparse: bool = False, name: str | None = None) -> Tensor:
    """The product of two dense matrices. TF1 means it for ones with many zeros, which `a_is_sparse` and `b_is_sparse` tell; here nothing is
    gained by them."""
    return matmul(a, b, transpose_a, transpose_b, a_is_sparse=a_is_sparse, b_is_sparse=b_is_sparse, name=name or "SparseMatMul")


# To dense --------------------------------------------------------------------------------------------------------------------------------

@composite("SparseToDense")
def SPARSE_TO_DENSE(sparse_indices: Node, output_shape: Node, sparse_values: Node, default_value: Node, *,
                    validate_indices: bool = True) -> Node:
    """`default_value` everywhere but at the positions given: a scalar or vector of them in a vector, or [n, rank]."""
    dims = shape_of(output_shape, sparse_values.dtype)
    rank = len(sparse_indices.shape)
    if rank > 2:
        raise ValueError(f"Shape must be at most rank 2 but is rank {rank}")
    if default_value.shape != ():
        raise ValueError("default_value should be a scalar")
    indices = sparse_indices if rank == 2 else p.reshape(sparse_indices, (*sparse_indices.shape, 1) if rank else (1, 1))
    if None not in (indices.shape[1],) and indices.shape[1] != len(dims):
        raise ValueError(f"output_shape has incorrect number of elements: {len(dims)} should be: {indices.shape[1]}")
    whole = known(dims)
    if whole is None:
        return undetermined(p.add(p.reduce_sum(sparse_values, range(len(sparse_values.shape))), default_value), dims)
    values = broadcast_to(sparse_values, indices.shape[:1]) if not sparse_values.shape else sparse_values
    return scattered(whole, places(indices, whole), values, "assign", default_value)


def sparse_to_dense(sparse_indices: Any, output_shape: Any, sparse_values: Any, default_value: Any = 0, validate_indices: bool = True,
                    name: str | None = None) -> Tensor:
    """A dense tensor of `output_shape` that holds `default_value` but for `sparse_values` at `sparse_indices`.

    sparse_indices: a scalar or [n] for a vector, else [n, rank]. sparse_values: [n], or one for all. The order of the indices does not
    matter here, whatever `validate_indices` says; the last of equal ones wins.
    """
    inputs: dict[str, Any] = {"sparse_indices": sparse_indices, "output_shape": output_shape, "sparse_values": sparse_values,
              "default_value": convert_to_tensor(default_value, convert_to_tensor(sparse_values).dtype, "default_value")}
    if not isinstance(sparse_values, Tensor):
        inputs["sparse_values"] = convert_to_tensor(sparse_values, name="sparse_values")
    return declare_one(SPARSE_TO_DENSE, inputs, {"validate_indices": validate_indices}, name,
                       other={"sparse_indices": INDEX, "output_shape": INDEX, "sparse_values": None, "default_value": None})


def sparse_tensor_to_dense(sp_input: Any, default_value: Any = None, validate_indices: bool = True, name: str | None = None) -> Tensor:
    """The dense tensor that a sparse one stands for, `default_value` (0) where it gives none."""
    sp = as_sparse(sp_input)
    default = convert_to_tensor(0 if default_value is None else default_value, sp.dtype)
    return sparse_to_dense(sp.indices, sp.dense_shape, sp.values, default, validate_indices, name)


# Sums and reductions ---------------------------------------------------------------------------------------------------------------------

@composite("SparseTensorDenseAdd")
def SPARSE_TENSOR_DENSE_ADD(a_indices: Node, a_values: Node, a_shape: Node, b: Node) -> Node:
    """`b` with the values added at their positions."""
    dims = shape_of(a_shape, b.dtype)
    if len(dims) != len(b.shape) or any(None not in (d, e) and d != e for d, e in zip(dims, b.shape, strict=True)):
        raise ValueError(f"operands must have one shape: sparse {dims}, dense {b.shape}")
    whole = known(b.shape)
    if whole is None:
        return undetermined(p.add(p.reduce_sum(b, range(len(b.shape))), p.reduce_sum(a_values, (0,))), b.shape)
    return p.reshape(p.scatter_add(p.reshape(b, (math.prod(whole),)), places(a_indices, whole), a_values, 0), whole)


def add_dense(sp: SparseTensor, dense: Any) -> Tensor:
    """The sum of a sparse and a dense tensor of one shape, dense."""
    inputs = {"a_indices": sp.indices, "a_values": sp.values, "a_shape": sp.dense_shape, "b": convert_to_tensor(dense, sp.dtype)}
    return declare_one(SPARSE_TENSOR_DENSE_ADD, inputs, None, "SparseTensorDenseAdd", other=dict.fromkeys(inputs))


@composite("SparseReduceSum")
def SPARSE_REDUCE_SUM(input_indices: Node, input_values: Node, input_shape: Node, reduction_axes: Node, *, keep_dims: bool = False) -> Node:
    """The sums over `reduction_axes`, dense."""
    dims, kept, shown = _reduced(input_values, input_shape, reduction_axes, keep_dims)
    whole = known(dims)
    if whole is None:
        return undetermined(input_values, shown)
    sums = scattered(tuple(whole[axis] for axis in kept), places(input_indices, whole, kept), input_values)
    return p.reshape(sums, shown)


@composite("SparseReduceMax")
def SPARSE_REDUCE_MAX(input_indices: Node, input_values: Node, input_shape: Node, reduction_axes: Node, *, keep_dims: bool = False) -> Node:
    """The greatest values over `reduction_axes`, dense; 0 where there is none."""
    dims, kept, shown = _reduced(input_values, input_shape, reduction_axes, keep_dims)
    whole = known(dims)
    if whole is None:
        return undetermined(input_values, shown)
    rest, where = tuple(whole[axis] for axis in kept), places(input_indices, whole, kept)
    return p.reshape(greatest(rest, where, input_values), shown)


def greatest(dims: tuple[int, ...], where: Node, values: Node) -> Node:
    """The greatest of the `values` [n] that stand at each place of an array of `dims`; 0 at a place with none."""
    least = p.reduce_max(p.full(0, TensorType(values.dtype, (0,))), (0,))  # of nothing: below every value
    found = scattered(dims, where, values, "maximum", least)
    count = scattered(dims, where, p.full(1, TensorType(dtypes.int32, values.shape)))
    return p.select(p.compare(count, zeros(count), "GT"), found, zeros(found))


def _reduced(values: Node, shape: Node, axes: Node, keep_dims: bool) -> tuple[Dims, tuple[int, ...], Dims]:
    """(dims of the input, the axes that stay, the shape of the result)."""
    dims = shape_of(shape, values.dtype)
    gone = known_axes(axes, len(dims))
    if gone is None:
        raise UnknownRank(values.dtype)
    kept = tuple(axis for axis in range(len(dims)) if axis not in gone)
    return dims, kept, tuple(1 if axis in gone else dims[axis] for axis in range(len(dims)) if keep_dims or axis not in gone)


def sparse_reduce_sum(sp_input: Any, axis: Any = None, keepdims: bool | None = None, reduction_axes: Any = None,
                      keep_dims: bool | None = None) -> Tensor:
    """The dense sums of a sparse tensor over `axis` (all). reduction_axes, keep_dims: older names of axis and keepdims."""
    return _reduction(SPARSE_REDUCE_SUM, sp_input, axis, keepdims, reduction_axes, keep_dims)


def sparse_reduce_max(sp_input: Any, axis: Any = None, keepdims: bool | None = None, reduction_axes: Any = None,
                      keep_dims: bool | None = None) -> Tensor:
    """The greatest values given of a sparse tensor over `axis` (all), dense; 0 where none is given."""
    return _reduction(SPARSE_REDUCE_MAX, sp_input, axis, keepdims, reduction_axes, keep_dims)


def _reduction(definition: Any, sp_input: Any, axis: Any, keepdims: bool | None, reduction_axes: Any, keep_dims: bool | None) -> Tensor:
    sp = as_sparse(sp_input)
    axes = reduction_axes if axis is None else axis
    if axes is None:
        rank = sp.shape.ndims
        if rank is None:
            raise ValueError("the rank of a sparse tensor that is reduced over all of its axes must be known")
        axes = list(range(rank))
    inputs = {"input_indices": sp.indices, "input_values": sp.values, "input_shape": sp.dense_shape,
              "reduction_axes": convert_to_tensor(axes, dtypes.int32)}
    return declare_one(definition, inputs, {"keep_dims": bool(keepdims if keepdims is not None else keep_dims)},
                       other=dict.fromkeys(inputs))


@composite("SparseSoftmax")
def SPARSE_SOFTMAX(sp_indices: Node, sp_values: Node, sp_shape: Node) -> Node:
    """The softmax of the values given in each row of the last axis."""
    dims = shape_of(sp_shape, sp_values.dtype)
    if len(dims) < 2:
        raise ValueError(f"Input should have rank >= 2, but received shape {dims}")
    whole = known(dims)
    if whole is None:
        return undetermined(sp_values, sp_values.shape)
    row, rows = places(sp_indices, whole, range(len(whole) - 1)), whole[:-1]
    flat = (math.prod(rows),)
    top = p.stop_gradient(p.gather(p.reshape(greatest(rows, row, sp_values), flat), row, 0))
    power = p.exponential(p.subtract(sp_values, top))
    return p.divide(power, p.gather(scattered(flat, row, power), row, 0))


def sparse_softmax(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The softmax over the last axis of what a sparse tensor (rank 2 or more) gives; what it does not give counts as -inf."""
    sp = as_sparse(sp_input)
    with name_scope(name, "SparseSoftmax", list(sp.components)):
        inputs = {"sp_indices": sp.indices, "sp_values": sp.values, "sp_shape": sp.dense_shape}
        return sp.with_values(declare_one(SPARSE_SOFTMAX, inputs, other=dict.fromkeys(inputs)))


def _densified(slices: IndexedSlices, dtype: DType | None, name: str | None, as_ref: bool) -> Tensor:
    """The dense tensor of `IndexedSlices`; ValueError where it names no shape."""
    if slices.dense_shape is None:
        raise ValueError(f"Tensor conversion requested for IndexedSlices without dense_shape: {slices}")
    return declare_one(DENSIFY, {"values": slices.values, "indices": slices.indices, "dense_shape": slices.dense_shape}, None, None,
                       other={"indices": None, "dense_shape": None})


@composite("IndexedSlicesToTensor")
def DENSIFY(values: Node, indices: Node, dense_shape: Node) -> Node:
    """Rows of zeros to which `values[i]` is added at row `indices[i]`."""
    dims = shape_of(dense_shape, values.dtype)
    return p.scatter_add(p.full(0, TensorType(values.dtype, (dims[0] if dims else 0, *values.shape[1:]))), indices, values, 0)


register_tensor_conversion_function(IndexedSlices, _densified)
