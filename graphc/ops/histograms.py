"""How often values fall into classes: bincount, histograms of fixed width, the confusion matrix. Each is one scatter of ones."""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import TensorType, dims_product, show_dims
from graphc.ops.array import reshape, shape
from graphc.ops.clipping import clip_by_value
from graphc.ops.creation import ones_like
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.elementwise import cast, floor, greater, maximum, minimum, multiply, subtract, truediv
from graphc.ops.joining import stack
from graphc.ops.positions import determined, element
from graphc.ops.reductions import reduce_max, reduce_prod
from graphc.ops.scatter import scatter_nd
from graphc.ops.segments import unsorted_segment_sum
from graphc.ops.weights import remove_squeezable_dimensions
from graphc.primitives.sugar import broadcast_to, fill_like


def counts_of(classes: Node, count: int, dtype: DType) -> Node:
    """How many elements of `classes` are each of 0, 1, ... count - 1: [count] of `dtype`; others are left out."""
    flat = p.reshape(classes, (dims_product(classes.shape),))
    return p.scatter_add(p.full(0, TensorType(dtype, (count,))), flat, p.full(1, TensorType(dtype, flat.shape)))


@composite("Bincount", gradient=False)
def BINCOUNT(arr: Node, size: Node, *, T: DType = dtypes.int32) -> Node:
    """How often each of 0, 1, ... size - 1 stands in `arr`."""
    count = determined(size)
    if count is None or not arr.type.is_static:
        return p.parameter("?counts", TensorType(T, (count,)))
    if count < 0:
        raise ValueError(f"size ({count}) must be non-negative")
    return counts_of(arr, count, T)


def bincount(arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = dtypes.int32) -> Tensor:
    """How often each of 0, 1, ... stands in the int32 `arr`, of any shape: a vector up to its greatest value, of at least `minlength` and
    at most `maxlength` elements, of type `dtype`. With `weights`, of the shape of arr, their sums instead, of the type of the weights.
    Negative values, and those from `maxlength` on, are left out."""
    with name_scope(None, "bincount"):
        values = as_tensor(arr, dtypes.int32, "arr")
        is_some = cast(greater(reduce_prod(shape(values)), 0), dtypes.int32)
        size = multiply(is_some, reduce_max(values) + 1)
        if minlength is not None:
            size = maximum(as_tensor(minlength, dtypes.int32, "minlength"), size)
        if maxlength is not None:
            size = minimum(as_tensor(maxlength, dtypes.int32, "maxlength"), size)
        if weights is not None:
            return unsorted_segment_sum(as_tensor(weights, None, "weights"), values, size)
        return declare_one(BINCOUNT, {"arr": values, "size": size}, {"T": as_dtype(dtype)})


@composite("HistogramFixedWidth", gradient=False)
def HISTOGRAM_FIXED_WIDTH(values: Node, value_range: Node, nbins: Node, *, dtype: DType = dtypes.int32) -> Node:
    """How many values fall into each of `nbins` equal parts of the range; those beyond it into the first or the last."""
    if value_range.shape not in ((2,), (None,)):
        raise ValueError(f"value_range must be two numbers, got shape {show_dims(value_range.shape)}")
    count = determined(nbins)
    if count is not None and count <= 0:
        raise ValueError(f"Requires nbins > 0: {count}")
    if count is None or None in (*values.shape, *value_range.shape):
        return p.parameter("?histogram", TensorType(dtype, (count,)))
    low, high = (broadcast_to(p.convert(element(value_range, n), dtypes.float64), values.shape) for n in range(2))
    wide = p.convert(values, dtypes.float64)
    step = p.divide(p.subtract(high, low), fill_like(wide, count))
    place = p.clamp(fill_like(wide, 0), p.divide(p.subtract(wide, low), step), fill_like(wide, count - 1))
    return counts_of(p.convert(place, dtypes.int32), count, dtype)


def histogram_fixed_width(values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None) -> Tensor:
    """How many of `values` fall into each of `nbins` equal parts of `value_range`, [least, greatest]: [nbins] of `dtype`. Values below the
    range count in the first part, values above it in the last."""
    with name_scope(name, "histogram_fixed_width", [values, value_range, nbins]) as scope:
        inputs = {"values": as_tensor(values, None, "values"), "value_range": value_range, "nbins": nbins}
        return declare_one(HISTOGRAM_FIXED_WIDTH, inputs, {"dtype": as_dtype(dtype)}, scope, other={"nbins": INDEX})


def histogram_fixed_width_bins(values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
                               ) -> Tensor:
    """For each of `values` the number of the part of `value_range`, cut into `nbins` equal parts, that it falls into; of those beyond the
    range the first or the last part."""
    with name_scope(name, "histogram_fixed_width_bins", [values, value_range, nbins]):
        tensor = as_tensor(values, None, "values")
        flat = reshape(tensor, [-1])
        ends = as_tensor(value_range, None, "value_range")
        count = as_tensor(nbins, dtypes.int32, "nbins")
        scaled = truediv(subtract(flat, ends[0]), subtract(ends[1], ends[0]))
        place = floor(cast(count, flat.dtype) * scaled)
        inside = cast(clip_by_value(place, 0, cast(count - 1, flat.dtype)), as_dtype(dtype))
        return reshape(inside, shape(tensor))


def confusion_matrix(labels: Any, predictions: Any, num_classes: Any = None, dtype: Any = dtypes.int32, name: str | None = None,
                     weights: Any = None) -> Tensor:
    """[num_classes, num_classes] of `dtype`: how often (or, with `weights`, by which sum of them) label i was predicted as j.

    labels, predictions: integer vectors of one length; num_classes: one more than the greatest of both where it is None. A pair with a
    value outside [0, num_classes) is left out.
    """
    with name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
        truth, guesses = remove_squeezable_dimensions(as_tensor(labels, None, "labels"), as_tensor(predictions, None, "predictions"))
        truth, guesses = cast(truth, dtypes.int64), cast(guesses, dtypes.int64)
        truth.shape.assert_is_compatible_with(guesses.shape)
        count = maximum(reduce_max(guesses), reduce_max(truth)) + 1 if num_classes is None else cast(num_classes, dtypes.int64)
        values = ones_like(guesses, as_dtype(dtype)) if weights is None else cast(weights, dtype)
        if weights is not None:
            values.shape.assert_is_compatible_with(guesses.shape)
        return scatter_nd(stack([truth, guesses], axis=1), values, stack([count, count]), name="SparseTensorDenseAdd")
