"""Reductions over axes, positions of extremes, sums of several tensors."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank
from graphc.core.types import Dim, TensorType
from graphc.ops.array import range_, rank, reshape, shape, stop_gradient
from graphc.ops.choosing import where
from graphc.ops.creation import zeros, zeros_like
from graphc.ops.declare import INDEX, as_tensor, checked_bool, declare_one, known_axes, name_scope
from graphc.ops.elementwise import (
    add,
    cast,
    exp,
    is_finite,
    log,
    maximum,
    multiply,
    not_equal,
    rsqrt,
    sqrt,
    square,
    subtract,
)
from graphc.ops.parts import undetermined
from graphc.primitives.sugar import broadcast_to, fill_like, size_of

Reduce = Callable[[Node, Sequence[int]], Node]


def _reduced(reduce: Reduce, x: Node, axes_node: Node, keep_dims: bool) -> Node:
    """reduce(x, axes), the axes coming from an integer node; of unknown axes only the rank of a kept result is known."""
    rank = len(x.shape)
    axes = known_axes(axes_node, rank)
    if axes is None:
        if not keep_dims:
            raise UnknownRank(x.dtype)
        return undetermined(x, [None] * rank)
    unique = tuple(sorted(set(axes)))
    result = reduce(x, unique)
    return p.reshape(result, kept_shape(x.shape, unique)) if keep_dims else result


def kept_shape(dims: Sequence[Dim], axes: Sequence[int]) -> tuple[Dim, ...]:
    return tuple(1 if axis in axes else dim for axis, dim in enumerate(dims))


def mean_over(x: Node, axes: Sequence[int]) -> Node:
    """The mean over `axes`; 16-bit floats are summed and divided in float32."""
    wide = dtypes.float32 if x.dtype.is_floating and x.dtype.size == 2 else x.dtype
    total = p.reduce_sum(p.convert(x, wide), axes)
    return p.convert(p.divide(total, broadcast_to(size_of(x, axes, wide), total.shape)), x.dtype)


@composite("Sum")
def SUM(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_sum, input, reduction_indices, keep_dims)


@composite("Mean")
def MEAN(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(mean_over, input, reduction_indices, keep_dims)


@composite("Prod")
def PROD(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_prod, input, reduction_indices, keep_dims)


@composite("Max")
def MAX(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_max, input, reduction_indices, keep_dims)


@composite("Min")
def MIN(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_min, input, reduction_indices, keep_dims)


def _euclidean(x: Node, axes: Sequence[int]) -> Node:
    """sqrt(sum(x^2)); 16-bit floats are squared and summed in float32."""
    wide = dtypes.float32 if x.dtype.is_floating and x.dtype.size == 2 else x.dtype
    values = p.convert(x, wide)
    total = p.reduce_sum(p.multiply(values, values), axes)
    if x.dtype.is_floating:
        return p.convert(p.sqrt(total), x.dtype)
    return p.convert(p.sqrt(p.convert(total, dtypes.float64)), x.dtype)


@composite("EuclideanNorm")
def EUCLIDEAN_NORM(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(_euclidean, input, reduction_indices, keep_dims)


@composite("Any")
def ANY(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_max, checked_bool("Any", "input", input), reduction_indices, keep_dims)


@composite("All")
def ALL(input: Node, reduction_indices: Node, *, keep_dims: bool = False) -> Node:
    return _reduced(p.reduce_min, checked_bool("All", "input", input), reduction_indices, keep_dims)


def reduction_axes(x: Tensor, axis: Any) -> Any:
    """What TF1 gives a reduction as its second input: `axis`, or a constant of all axes, or range(rank(x)) while the rank is unknown."""
    if axis is not None:
        return axis
    if x.shape_tuple is None:
        return range_(0, rank(x))
    return as_tensor(np.arange(len(x.shape_tuple), dtype=np.int32), name="Const")


def _old_or_new(new_name: str, new: Any, old_name: str, old: Any) -> Any:
    """The value of an argument that has an old and a new name; ValueError where both are given."""
    if old is not None and new is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{new_name}'")
    return old if new is None else new


def _reduction(definition: OpDef, name: str, doc: str) -> Callable[..., Tensor]:
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None, reduction_indices: Any = None,
               keep_dims: bool | None = None) -> Tensor:
        axis = _old_or_new("axis", axis, "reduction_indices", reduction_indices)
        keep = _old_or_new("keepdims", keepdims, "keep_dims", keep_dims) or False
        x = as_tensor(input_tensor, name="input_tensor")
        inputs = {"input": x, "reduction_indices": reduction_axes(x, axis)}
        result = declare_one(definition, inputs, {"keep_dims": bool(keep)}, name, other={"reduction_indices": INDEX})
        if axis is None and not keep:
            result.set_shape(())
        return result
    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"{doc} over `axis` (an integer, a list of them, or None: all); `keepdims` keeps each as a dim of 1."
    return reduce


reduce_sum = _reduction(SUM, "reduce_sum", "The sum")
reduce_mean = _reduction(MEAN, "reduce_mean", "The mean")
reduce_prod = _reduction(PROD, "reduce_prod", "The product")
reduce_max = _reduction(MAX, "reduce_max", "The greatest")
reduce_min = _reduction(MIN, "reduce_min", "The least")
reduce_any = _reduction(ANY, "reduce_any", "Whether any holds")
reduce_all = _reduction(ALL, "reduce_all", "Whether all hold")


@composite("ArgMax", gradient=False)
def ARG_MAX(input: Node, dimension: Node, *, output_type: DType = dtypes.int64) -> Node:
    return _position(p.argmax, input, dimension, output_type)


@composite("ArgMin", gradient=False)
def ARG_MIN(input: Node, dimension: Node, *, output_type: DType = dtypes.int64) -> Node:
    return _position(p.argmin, input, dimension, output_type)


def _position(find: Callable[[Node, int, DType], Node], x: Node, dimension: Node, output_type: DType) -> Node:
    axes = known_axes(dimension, len(x.shape))
    if axes is None:
        return p.parameter("?position", TensorType(output_type, (None,) * (len(x.shape) - 1)))
    return find(x, axes[0], output_type)


def argmax(input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64) -> Tensor:
    """The first position of the greatest along `axis` (0)."""
    return _positions(ARG_MAX, input, axis, dimension, output_type, name)


def argmin(input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64) -> Tensor:
    """The first position of the least along `axis` (0)."""
    return _positions(ARG_MIN, input, axis, dimension, output_type, name)


def _positions(definition: OpDef, input: Any, axis: Any, dimension: Any, output_type: Any, name: str | None) -> Tensor:
    axis = _old_or_new("axis", axis, "dimension", dimension)
    inputs = {"input": input, "dimension": 0 if axis is None else axis}
    return declare_one(definition, inputs, {"output_type": as_dtype(output_type)}, name, other={"dimension": INDEX})


def arg_max(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """`argmax` as it was called before."""
    return argmax(input, dimension, name, output_type=output_type)


def arg_min(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """`argmin` as it was called before."""
    return argmin(input, dimension, name, output_type=output_type)


def reduce_euclidean_norm(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The root of the sum of squares over `axis` (an integer, a list of them, or None: all); `keepdims` keeps each as a dim of 1."""
    x = as_tensor(input_tensor, name="input_tensor")
    inputs = {"input": x, "reduction_indices": reduction_axes(x, axis)}
    result = declare_one(EUCLIDEAN_NORM, inputs, {"keep_dims": bool(keepdims)}, name, other={"reduction_indices": INDEX})
    if axis is None and not keepdims:
        result.set_shape(())
    return result


# Functions of reductions -----------------------------------------------------------------------------------------------------------------

def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
                     reduction_indices: Any = None, keep_dims: bool | None = None) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow: the greatest is taken out first."""
    axis = _old_or_new("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(_old_or_new("keepdims", keepdims, "keep_dims", keep_dims))
    x = as_tensor(input_tensor)
    with name_scope(name, "ReduceLogSumExp", [x]):
        greatest = reduce_max(x, axis, True)
        finite = stop_gradient(where(is_finite(greatest), greatest, zeros_like(greatest)))
        result = log(reduce_sum(exp(subtract(x, finite)), axis, keep))
        return add(result, finite if keep else reshape(finite, shape(result)))


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The mean of the squared distance from the mean, over `axis`."""
    with name_scope(name or "reduce_variance"):
        x = as_tensor(input_tensor)
        means = reduce_mean(x, axis, True)
        return reduce_mean(square(x - means), axis, keepdims)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The square root of the variance over `axis`."""
    with name_scope(name or "reduce_std"):
        return sqrt(reduce_variance(input_tensor, axis, keepdims))


def count_nonzero(input_tensor: Any = None, axis: Any = None, keepdims: bool | None = None, dtype: Any = dtypes.int64,
                  name: str | None = None, reduction_indices: Any = None, keep_dims: bool | None = None, input: Any = None) -> Tensor:
    """How many elements differ from 0, over `axis`."""
    axis = _old_or_new("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(_old_or_new("keepdims", keepdims, "keep_dims", keep_dims))
    values = _old_or_new("input", input, "input_tensor", input_tensor)
    with name_scope(name, "count_nonzero", [values]):
        x = as_tensor(values, name="input")
        return cast(reduce_sum(cast(not_equal(x, zeros((), x.dtype)), dtypes.int64), axis, keep), dtype)


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)), the sum over `axis`."""
    axis = _old_or_new("axis", axis, "dim", dim)
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = as_tensor(x, name="x")
        total = reduce_sum(square(x), axis, True)
        return multiply(x, rsqrt(maximum(total, epsilon)), scope)


@composite("L2Loss")
def L2_LOSS(t: Node) -> Node:
    """sum(t^2) / 2."""
    total = p.reduce_sum(p.multiply(t, t), range(len(t.shape)))
    return p.multiply(total, fill_like(total, 0.5))


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """sum(t^2) / 2."""
    return declare_one(L2_LOSS, {"t": t}, None, name)
