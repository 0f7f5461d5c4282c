"""Shapes as values, changes of shape, and the identity: shape, reshape, transpose, expand_dims, squeeze, broadcast_to, stop_gradient."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.leaves import IDENTITY, IDENTITY_N
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.shapes import TensorShape, as_dims
from graphc.core.static import UnknownRank, partial_value, static_dims
from graphc.core.types import Dim, Dims, dims_product, merge_dims, same_dims, show_dims
from graphc.ops.declare import INDEX, as_tensor, declare, declare_one, known_axes, name_scope, normal_axis, shape_dims
from graphc.ops.elementwise import cast, subtract
from graphc.ops.parts import undetermined
from graphc.primitives.sugar import broadcast_dims, size_of
from graphc.primitives.sugar import broadcast_to as node_broadcast_to

# Shapes as values ------------------------------------------------------------------------------------------------------------------------

def _dims_of(x: Node, dtype: DType) -> Node:
    """The dims of `x` as a vector."""
    if x.type.is_static:
        return p.constant(np.array(x.dims), dtype)
    return p.concatenate([p.reshape(size_of(x, (axis,), dtype), (1,)) for axis in range(len(x.shape))], 0)


@composite("Shape")
def SHAPE(input: Node, *, out_type: DType = dtypes.int32) -> Node:
    """The dims of `input` as a vector."""
    return _dims_of(input, out_type)


@composite("Size")
def SIZE(input: Node, *, out_type: DType = dtypes.int32) -> Node:
    """The number of elements of `input`."""
    return size_of(input, range(len(input.shape)), out_type)


@composite("Rank")
def RANK(input: Node) -> Node:
    """The number of dims of `input`."""
    return p.constant(len(input.shape), dtypes.int32)


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """The shape of `input` as an integer vector: a constant where it is known."""
    with name_scope(name, "Shape", [input]) as scope:
        x = as_tensor(input)
        if x.shape_tuple is not None and None not in x.shape_tuple:
            return constant(np.array(x.shape_tuple, np.int64), out_type, name=scope)
        result = declare_one(SHAPE, {"input": x}, {"out_type": as_dtype(out_type)}, scope)
        result.set_shape([x.rank])
        return result


@composite("ShapeN")
def SHAPE_N(*input: Node, out_type: DType = dtypes.int32) -> Sequence[Node]:
    """The dims of each input as a vector."""
    return [_dims_of(each, out_type) for each in input]


def shape_n(input: Sequence[Any], out_type: Any = dtypes.int32, name: str | None = None) -> list[Tensor]:
    """The shape of each of several tensors."""
    tensors = {f"input_{n}": as_tensor(each) for n, each in enumerate(input)}
    results = declare(SHAPE_N, tensors, {"out_type": as_dtype(out_type)}, name, other=dict.fromkeys(tensors)).outputs
    for tensor, result in zip(tensors.values(), results, strict=True):
        result.set_shape([tensor.rank])
    return list(results)


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """The number of elements of `input`: a constant where it is known."""
    with name_scope(name, "Size", [input]) as scope:
        x = as_tensor(input)
        if x.shape_tuple is not None and None not in x.shape_tuple:
            return constant(math.prod(d for d in x.shape_tuple if d is not None), out_type, name=scope)
        return declare_one(SIZE, {"input": x}, {"out_type": as_dtype(out_type)}, scope)


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of dims of `input`: a constant where it is known."""
    with name_scope(name, "Rank", [input]) as scope:
        x = as_tensor(input)
        if x.shape_tuple is not None:
            return constant(len(x.shape_tuple), dtypes.int32, name=scope)
        return declare_one(RANK, {"input": x}, None, scope)


# Changes of shape ------------------------------------------------------------------------------------------------------------------------

@composite("Reshape")
def RESHAPE(tensor: Node, shape: Node) -> Node:
    """The elements of `tensor` under another shape; one dim may be -1: what is left."""
    dims = static_dims(shape)
    if dims is None:
        raise UnknownRank(tensor.dtype)
    if dims.count(-1) > 1:
        raise ValueError(f"only one dim of a new shape can be -1, got {dims}")
    if any(d is not None and d < -1 for d in dims):
        raise ValueError(f"a shape cannot have negative dims: {dims}")
    if -1 not in dims:
        return p.reshape(tensor, dims)
    total, known = dims_product(tensor.shape), dims_product(d for d in dims if d != -1)
    if total is not None and known == 0 and total == 0:
        raise ValueError(f"reshape cannot infer the missing dim of {dims} for an empty tensor")
    if total is not None and known and total % known:
        raise ValueError(f"Cannot reshape a tensor with {total} elements to shape {list(dims)} ({known} must divide it)")
    rest = total // known if total is not None and known else None
    return p.reshape(tensor, tuple(rest if d == -1 else d for d in dims))


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The elements of `tensor` in row-major order under `shape`, in which one dim may be -1: what is left."""
    return declare_one(RESHAPE, {"tensor": tensor, "shape": shape}, None, name, other={"shape": INDEX})


@composite("Transpose")
def TRANSPOSE(x: Node, perm: Node) -> Node:
    """`x` with axis perm[i] at place i."""
    axes = known_axes(perm, len(x.shape))
    if axes is None:
        return undetermined(x, [None] * len(x.shape))
    return p.transpose(x, axes)


@composite("ConjugateTranspose")
def CONJUGATE_TRANSPOSE(x: Node, perm: Node) -> Node:
    """The complex conjugate of `x` with axis perm[i] at place i."""
    axes = known_axes(perm, len(x.shape))
    return undetermined(x, [None] * len(x.shape)) if axes is None else p.conj(p.transpose(x, axes))


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """`a` with axis perm[i] at place i; all axes reversed where `perm` is None. conjugate: complex numbers are conjugated too."""
    with name_scope(name, "transpose", [a]) as scope:
        x = as_tensor(a, name="a")
        order = _reversed_axes(x) if perm is None else perm
        definition = CONJUGATE_TRANSPOSE if conjugate and x.dtype.is_complex else TRANSPOSE
        return declare_one(definition, {"x": x, "perm": order}, None, scope, other={"perm": INDEX})


def _reversed_axes(x: Tensor) -> Any:
    """The axes of `x` from the last to the first: numbers where its rank is known."""
    if x.shape_tuple is not None:
        return np.arange(len(x.shape_tuple) - 1, -1, -1, dtype=np.int32)
    count = declare_one(RANK, {"input": x})
    return subtract(subtract(count, 1), range_(0, count, 1))


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """`a` with its last two axes swapped. conjugate: complex numbers are conjugated too."""
    with name_scope(name, "matrix_transpose", [a]):
        x = as_tensor(a, name="a")
        if x.shape_tuple is None:
            raise ValueError("matrix_transpose needs a tensor of known rank")
        count = len(x.shape_tuple)
        if count < 2:
            raise ValueError(f"Argument 'a' should be a (batch) matrix, with rank >= 2.  Found: {x.shape}")
        return transpose(x, [*range(count - 2), count - 1, count - 2], conjugate=conjugate)


@composite("ExpandDims")
def EXPAND_DIMS(input: Node, dim: Node) -> Node:
    """`input` with a dim of 1 put in at `dim`."""
    axes = known_axes(dim, len(input.shape) + 1)
    if axes is None:
        return undetermined(input, [None] * (len(input.shape) + 1))
    (axis,) = axes
    return p.reshape(input, (*input.shape[:axis], 1, *input.shape[axis:]))


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """`input` with a dim of 1 put in at `axis`."""
    axis = dim if axis is None else axis
    if axis is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    return declare_one(EXPAND_DIMS, {"input": input, "dim": axis}, None, name, other={"dim": INDEX})


@composite("Squeeze")
def SQUEEZE(input: Node, *, squeeze_dims: tuple[int, ...] = ()) -> Node:
    """`input` without the dims of 1 at `squeeze_dims`, or without all of them."""
    rank = len(input.shape)
    axes = [normal_axis(axis, rank) for axis in squeeze_dims]
    wrong = [axis for axis in axes if input.shape[axis] not in (1, None)]
    if wrong:
        raise ValueError(f"Can not squeeze dim[{wrong[0]}], expected a dimension of 1, got {input.shape[wrong[0]]}")
    if not squeeze_dims:
        if None in input.shape:
            raise UnknownRank(input.dtype)
        axes = [axis for axis, dim in enumerate(input.shape) if dim == 1]
    return p.reshape(input, [dim for axis, dim in enumerate(input.shape) if axis not in axes])


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """`input` without the dims of 1 at `axis` (an integer or a list), or without all of them."""
    axis = squeeze_dims if axis is None else axis
    axes = () if axis is None else (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    return declare_one(SQUEEZE, {"input": input}, {"squeeze_dims": tuple(map(int, axes))}, name)


@composite("BroadcastTo")
def BROADCAST_TO(input: Node, shape: Node) -> Node:
    """`input` repeated to `shape` by numpy's rule."""
    dims = shape_dims(shape, input.dtype)
    if len(dims) < len(input.shape):
        raise ValueError(f"cannot broadcast rank {len(input.shape)} to the shape {dims} of lower rank")
    return node_broadcast_to(input, dims)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input` repeated to `shape` by numpy's rule."""
    return declare_one(BROADCAST_TO, {"input": input, "shape": shape}, None, name, other={"shape": INDEX})


def broadcast_static_shape(shape_x: TensorShape, shape_y: TensorShape) -> TensorShape:
    """What is known of the shape that numpy broadcasts two shapes to; ValueError where they do not fit."""
    x, y = TensorShape(shape_x).dims_tuple, TensorShape(shape_y).dims_tuple
    if x is None or y is None:
        return TensorShape(None)
    try:
        return TensorShape(broadcast_dims(x, y))
    except ValueError:
        raise ValueError(f"Incompatible shapes for broadcasting: {TensorShape(x)} and {TensorShape(y)}") from None


@composite("BroadcastArgs", gradient=False)
def BROADCAST_ARGS(s0: Node, s1: Node) -> Node:
    """The shape that numpy broadcasts the shapes s0 and s1 to; -1 where they do not fit."""
    for shape in (s0, s1):
        if len(shape.shape) != 1:
            raise ValueError(f"In BroadcastArgs, a shape must be a vector, not of rank {len(shape.shape)}")
    lengths = (s0.shape[0], s1.shape[0])
    if None in lengths:
        return p.parameter("?shape", s0.type.with_shape((None,)))
    rank = max(lengths[0] or 0, lengths[1] or 0)
    one = p.constant(1, s0.dtype)
    left, right = (p.pad(shape, one, (rank - (shape.shape[0] or 0),), (0,)) for shape in (s0, s1))
    ones = p.broadcast_in_dim(one, (rank,), ())
    fits = p.or_(p.compare(left, right, "EQ"), p.or_(p.compare(left, ones, "EQ"), p.compare(right, ones, "EQ")))
    common = p.select(p.compare(left, ones, "EQ"), right, left)
    return p.select(fits, common, p.negate(ones))


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape that numpy broadcasts two shapes to, given as integer vectors."""
    return declare_one(BROADCAST_ARGS, {"s0": shape_x, "s1": shape_y})


# The same value --------------------------------------------------------------------------------------------------------------------------

@composite("StopGradient", gradient=False)
def STOP_GRADIENT(input: Node) -> Node:
    """`input`, through which no gradient flows."""
    return p.stop_gradient(input)


def identity(input: Any, name: str | None = None) -> Tensor:
    """The same value as a tensor of its own."""
    return declare_one(IDENTITY, {"input": input}, None, name)


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """Each tensor of the list as it is, all by one operation; ValueError for an empty list."""
    if not input:
        raise ValueError("List argument 'input' to 'IdentityN' Op with length 0 shorter than minimum length 1.")
    named = {str(n): each for n, each in enumerate(input)}
    return list(declare(IDENTITY_N, named, None, name, other=dict.fromkeys(named)).outputs)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same value, through which no gradient flows."""
    return declare_one(STOP_GRADIENT, {"input": input}, None, name)


@composite("EnsureShape")
def ENSURE_SHAPE(input: Node, *, shape: Dims) -> Node:
    """`input`, whose shape must be `shape`."""
    if not same_dims(input.shape, shape):
        raise ValueError(f"Shape of tensor {show_dims(input.shape)} is not compatible with expected shape {show_dims(shape)}")
    return p.reshape(input, merge_dims(input.shape, shape))


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """`x`, whose shape must turn out to be `shape` (dims may be None): checked when declared and again for every feed."""
    dims = as_dims(shape)
    return identity(x, name) if dims is None else declare_one(ENSURE_SHAPE, {"input": x}, {"shape": dims}, name)


# Ranges -----------------------------------------------------------------------------------------------------------------------------------

@composite("Range")
def RANGE(start: Node, limit: Node, delta: Node) -> Node:
    """start, start + delta, ... below limit (above it where delta is negative)."""
    if any(x.shape != () for x in (start, limit, delta)):
        raise ValueError("start, limit and delta must be scalars")
    values = [scalar_value(x) for x in (start, limit, delta)]
    count: Dim = None
    if all(v is not None for v in values):
        first, last, step = values
        if step == 0:
            raise ValueError("Requires delta != 0")
        if first != last and (first < last) != (step > 0):
            raise ValueError(f"Requires start {'<=' if step > 0 else '>='} limit when delta {'>' if step > 0 else '<'} 0: {first}/{last}")
        count = max(0, math.ceil((last - first) / step))
    else:
        for x in (start, limit, delta):
            static_dims(x)  # raises ValueNeeded when the Program is being made
    steps = p.iota((count,), 0, start.dtype)
    return p.add(node_broadcast_to(start, (count,)), p.multiply(steps, node_broadcast_to(delta, (count,))))


def scalar_value(x: Node) -> Any:
    """The value of a scalar node, None where it is unknown."""
    value = partial_value(x)
    return None if value is None else value.reshape(-1)[0]


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """start, start + delta, ... below `limit`; with one number 0, 1, ... below it. The widest type of the three is that of the result."""
    if limit is None:
        start, limit = 0, start
    kind = None if dtype is None else as_dtype(dtype)
    with name_scope(name, "Range", [start, limit, delta]) as scope:
        parts = [convert_to_tensor(value, kind if not isinstance(value, Tensor) else None, argument)
                 for value, argument in ((start, "start"), (limit, "limit"), (delta, "delta"))]
        order = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)
        strange = next((part.dtype for part in parts if kind is None and part.dtype not in order), None)
        if strange is not None:
            raise TypeError(f"range takes {', '.join(each.name for each in order)}, not {strange.name}")
        common = kind or max((part.dtype for part in parts), key=order.index)
        first, last, step = (cast(part, common) for part in parts)
        result = declare_one(RANGE, {"start": first, "limit": last, "delta": step}, None, scope)
        if all(isinstance(value, int | float) for value in (start, limit, delta)):
            count = max(0, math.ceil((limit - start) / delta)) if delta else None
            result.set_shape([count])  # of floats too, whose values are not followed
        return result
