"""Segment reductions: rows of equal id summed, multiplied, averaged, their least or greatest. Each is one scatter into a row per segment.

Three forms, as in TF1: ids in ascending order, whose last gives the number of segments; ids in any order, with that number given (a
negative one drops its row); and rows chosen by `indices` before they are reduced.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, TensorType, dims_product, same_dims, show_dims
from graphc.ops.array import reshape, shape
from graphc.ops.checked import check_range, check_sorted
from graphc.ops.creation import ones
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.elementwise import maximum, sqrt, truediv
from graphc.ops.joining import concat
from graphc.ops.parts import box, undetermined

Expand = Callable[[Node, Node, Dim], Node]  # (data, segment ids, number of segments) -> a row for each segment
COMBINES = {"Sum": "add", "Prod": "multiply", "Max": "maximum", "Min": "minimum"}


def _start(kind: str, type_: TensorType) -> Node:
    """What a segment without rows has: 0, 1, the least or the greatest finite number."""
    if kind in ("Sum", "Prod"):
        return p.full(0 if kind == "Sum" else 1, type_)
    return p.full(type_.dtype.min if kind == "Max" else type_.dtype.max, type_)


def _reduced(kind: str, data: Node, ids: Node, count: Dim) -> Node:
    """The reduction over the leading axes of `data`, which are those of `ids`."""
    if not same_dims(data.shape[:len(ids.shape)], ids.shape) or len(ids.shape) > len(data.shape):
        raise ValueError(f"data.shape = {show_dims(data.shape)} does not start with segment_ids.shape = {show_dims(ids.shape)}")
    type_ = data.type.with_shape((count, *data.shape[len(ids.shape):]))
    rows, flat = dims_product(ids.shape), ids
    if count is None or rows is None:
        return undetermined(data, type_.shape)
    if len(ids.shape) != 1:
        data, flat = p.reshape(data, (rows, *data.shape[len(ids.shape):])), p.reshape(ids, (rows,))
    return p.scatter(_start(kind, type_), flat, data, 0, COMBINES[kind])


def _sizes(ids: Node, count: Dim, result: Node) -> Node:
    """How many rows each segment has, spread over the shape of `result`."""
    ones_ = p.full(1, TensorType(result.dtype, ids.shape))
    return p.broadcast_in_dim(_reduced("Sum", ones_, ids, count), result.shape, (0,))


# Ids in ascending order ------------------------------------------------------------------------------------------------------------------

def _last_plus_one(ids: Node) -> Dim:
    """The number of segments: one more than the last id."""
    if len(ids.shape) != 1:
        raise ValueError(f"segment_ids should be a vector, got shape {show_dims(ids.shape)}")
    rows = ids.shape[0]
    if rows is None:
        return None
    if rows == 0:
        return 0
    found = static_dims(p.reshape(box(ids, 0, rows - 1, rows), ()))
    last = None if found is None else found[0]
    return None if last is None else max(last + 1, 0)


def _ordered(kind: str, data: Node, ids: Node, count: Dim) -> Node:
    """A segment without rows gives 0, of a product 1."""
    if kind in ("Mean", "SqrtN"):
        sums = _reduced("Sum", data, ids, count)
        if count is None:
            return sums
        sizes = p.maximum(_sizes(ids, count, sums), p.full(1, sums.type))
        return p.divide(sums, sizes if kind == "Mean" else p.sqrt(sizes))
    result = _reduced(kind, data, ids, count)
    if kind in ("Sum", "Prod") or count is None:
        return result
    numbers = _sizes(ids, count, p.full(0, TensorType(dtypes.int32, result.shape)))
    return p.select(p.compare(numbers, p.full(0, numbers.type), "GT"), result, p.full(0, result.type))


def _segment(kind: str, doc: str) -> tuple[OpDef, Callable[..., Tensor]]:
    def nodes(data: Node, segment_ids: Node) -> Node:
        _require_rows(data)
        if len(segment_ids.shape) == 1 and not same_dims(data.shape[:1], segment_ids.shape):
            raise ValueError("segment_ids should be the same size as dimension 0 of input: "
                             f"{show_dims(segment_ids.shape)} and {show_dims(data.shape)}")
        check_sorted(segment_ids)
        return _ordered(kind, data, segment_ids, _last_plus_one(segment_ids))

    definition = composite(f"Segment{kind}")(nodes)

    def function(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
        return declare_one(definition, {"data": data, "segment_ids": segment_ids}, None, name, other={"segment_ids": INDEX})
    return definition, _named(function, f"segment_{kind.lower()}", nodes, doc)


def _require_rows(data: Node) -> None:
    if not data.shape:
        raise ValueError("data must be at least rank 1, got a scalar")


def _named(function: Callable[..., Tensor], name: str, nodes: Callable[..., Node], doc: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = nodes.__doc__ = doc
    return function


_ASCENDING = "segment_ids: a vector, ascending; the last is the number of segments less one."
SEGMENT_SUM, segment_sum = _segment("Sum", f"The sum of the rows of each segment, 0 where it has none. {_ASCENDING}")
SEGMENT_MEAN, segment_mean = _segment("Mean", f"The mean of the rows of each segment, 0 where it has none. {_ASCENDING}")
SEGMENT_MAX, segment_max = _segment("Max", f"The greatest of the rows of each segment, 0 where it has none. {_ASCENDING}")
SEGMENT_MIN, segment_min = _segment("Min", f"The least of the rows of each segment, 0 where it has none. {_ASCENDING}")
SEGMENT_PROD, segment_prod = _segment("Prod", f"The product of the rows of each segment, 1 where it has none. {_ASCENDING}")


# Ids in any order ------------------------------------------------------------------------------------------------------------------------

def _number(num_segments: Node) -> Dim:
    if num_segments.shape != ():
        raise ValueError(f"num_segments should be a scalar, got shape {show_dims(num_segments.shape)}")
    found = static_dims(num_segments)
    count = None if found is None else found[0]
    if count is not None and count < 0:
        raise ValueError(f"num_segments must not be negative, got {count}")
    return count


def _unsorted(kind: str, doc: str) -> tuple[OpDef, Callable[..., Tensor]]:
    def nodes(data: Node, segment_ids: Node, num_segments: Node) -> Node:
        count = _number(num_segments)
        check_range(segment_ids, count, "segment_ids", "is out of range", below=False)
        return _reduced(kind, data, segment_ids, count)

    definition = composite(f"UnsortedSegment{kind}")(nodes)

    def function(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
        inputs = {"data": data, "segment_ids": segment_ids, "num_segments": num_segments}
        return declare_one(definition, inputs, None, name, other={"segment_ids": INDEX, "num_segments": INDEX})
    return definition, _named(function, f"unsorted_segment_{kind.lower()}", nodes, doc)


_ANY_ORDER = "segment_ids: of the leading axes of data, in any order; an id outside [0, num_segments) drops its row."
UNSORTED_SUM, unsorted_segment_sum = _unsorted("Sum", f"The sum of the rows of each segment, 0 where it has none. {_ANY_ORDER}")
UNSORTED_PROD, unsorted_segment_prod = _unsorted("Prod", f"The product of the rows of each segment, 1 where it has none. {_ANY_ORDER}")
UNSORTED_MAX, unsorted_segment_max = _unsorted(
    "Max", f"The greatest of the rows of each segment, the least finite number where it has none. {_ANY_ORDER}")
UNSORTED_MIN, unsorted_segment_min = _unsorted(
    "Min", f"The least of the rows of each segment, the greatest finite number where it has none. {_ANY_ORDER}")


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The mean of the rows of each segment, 0 where it has none; an id outside [0, num_segments) drops its row."""
    with name_scope(name, "UnsortedSegmentMean", [data, segment_ids, num_segments]):
        data, segment_ids = as_tensor(data, None, "data"), as_tensor(segment_ids, None, "segment_ids")
        sizes = _segment_sizes(data, segment_ids, num_segments)
        return truediv(unsorted_segment_sum(data, segment_ids, num_segments), sizes)


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The sum of the rows of each segment by the root of their number, 0 where it has none; an id outside [0, num_segments) drops its
    row."""
    with name_scope(name, "UnsortedSegmentSqrtN", [data, segment_ids, num_segments]):
        data, segment_ids = as_tensor(data, None, "data"), as_tensor(segment_ids, None, "segment_ids")
        sizes = _segment_sizes(data, segment_ids, num_segments)
        return truediv(unsorted_segment_sum(data, segment_ids, num_segments), sqrt(sizes))


def _segment_sizes(data: Tensor, ids: Tensor, count: Any) -> Tensor:
    """The number of rows of each segment, at least 1, with the rank of the result."""
    if data.rank is None or ids.rank is None:
        raise ValueError("the ranks of data and segment_ids must be known")
    sizes = unsorted_segment_sum(ones(shape(ids), data.dtype), ids, count)
    ending = reshape(as_tensor(count, None, "num_segments"), [1])
    spread = concat([ending, as_tensor([1] * (data.rank - ids.rank), ending.dtype)], 0) if data.rank > ids.rank else ending
    return maximum(reshape(sizes, spread), 1)


# Rows chosen first -----------------------------------------------------------------------------------------------------------------------

def _sparse(kind: str, doc: str) -> Callable[..., Tensor]:
    def chosen(data: Node, indices: Node, segment_ids: Node) -> Node:
        _require_rows(data)
        if len(indices.shape) != 1 or not same_dims(indices.shape, segment_ids.shape):
            raise ValueError(f"indices and segment_ids must be vectors of one size, got {show_dims(indices.shape)} and "
                             f"{show_dims(segment_ids.shape)}")
        check_range(indices, data.shape[0])
        check_sorted(segment_ids)
        return p.gather(data, indices, 0)

    def nodes(data: Node, indices: Node, segment_ids: Node) -> Node:
        return _ordered(kind, chosen(data, indices, segment_ids), segment_ids, _last_plus_one(segment_ids))

    def counted(data: Node, indices: Node, segment_ids: Node, num_segments: Node) -> Node:
        return _ordered(kind, chosen(data, indices, segment_ids), segment_ids, _number(num_segments))

    plain, with_number = composite(f"SparseSegment{kind}")(nodes), composite(f"SparseSegment{kind}WithNumSegments")(counted)

    def function(data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None) -> Tensor:
        inputs = {"data": data, "indices": indices, "segment_ids": segment_ids}
        integers = {"indices": INDEX, "segment_ids": INDEX, "num_segments": INDEX}
        if num_segments is None:
            return declare_one(plain, inputs, None, name, other=integers)
        return declare_one(with_number, {**inputs, "num_segments": num_segments}, None, name, other=integers)
    counted.__doc__ = doc
    return _named(function, f"sparse_segment_{'sqrt_n' if kind == 'SqrtN' else kind.lower()}", nodes, doc)


_CHOSEN = "of the rows of `data` at `indices`, by ascending segment_ids (num_segments: more than they have), 0 where there are none."
sparse_segment_sum = _sparse("Sum", f"The sum {_CHOSEN}")
sparse_segment_mean = _sparse("Mean", f"The mean {_CHOSEN}")
sparse_segment_sqrt_n = _sparse("SqrtN", f"The sum by the root of the number {_CHOSEN}")
