"""Slices and Python's indexing of tensors: boxes chosen by their bounds."""
from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank, static_dims
from graphc.core.types import Dim
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.gathering import gather as gather
from graphc.ops.gathering import gather_nd as gather_nd
from graphc.ops.joining import stack
from graphc.ops.parts import box, picked, replaced, undetermined

# slice, strided_slice --------------------------------------------------------------------------------------------------------------------

@composite("Slice")
def SLICE(input: Node, begin: Node, size: Node) -> Node:
    """The box of `size` (-1: to the end) that starts at `begin`."""
    starts, sizes = static_dims(begin), static_dims(size)
    rank = len(input.shape)
    starts = (None,) * rank if starts is None else starts
    sizes = (None,) * rank if sizes is None else sizes
    if len(starts) != rank or len(sizes) != rank:
        raise ValueError(f"begin and size must have one entry for each of the {rank} axes, got {len(starts)} and {len(sizes)}")
    limits = []
    for axis, (whole, start, count) in enumerate(zip(input.shape, starts, sizes, strict=True)):
        if (start is not None and start < 0) or (count is not None and count < -1):
            raise ValueError(f"Expected begin >= 0 and size >= -1 for axis {axis}, got {start} and {count}")
        limit = whole if count == -1 else None if start is None or count is None else start + count
        if limit is not None and whole is not None and (limit > whole or (start is not None and start > whole)):
            raise ValueError(f"Expected begin + size <= {whole} for axis {axis}, got {start} + {count}")
        limits.append(limit)
    if any(start is None and count is not None for start, count in zip(starts, sizes, strict=True)):
        dims = [None if count == -1 else count for count in sizes]
        return undetermined(input, dims)
    return p.slice_(input, starts, limits)


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The box of `size` (-1: to the end) that starts at `begin`."""
    return declare_one(SLICE, {"input": input_, "begin": begin, "size": size}, None, name, other={"begin": INDEX, "size": INDEX})


def _bounds(spec: tuple[Dim, Dim, Dim], size: Dim, no_begin: bool, no_end: bool) -> tuple[Dim, Dim, int]:
    """begin, end and stride of one axis, clipped to it as Python's slices are; None where unknown."""
    begin, end, stride = spec
    if stride is None:
        raise ValueError("the strides of a slice must be known")
    if stride == 0:
        raise ValueError("slice index 0 has stride 0: strides must be non-zero")
    if size is None:
        first = 0 if no_begin and stride > 0 else begin if begin is not None and begin >= 0 and not no_begin else None
        last = end if end is not None and end >= 0 and not no_end else None
        return first, None if last is None or stride < 0 else last, stride
    if (begin is None and not no_begin) or (end is None and not no_end):
        return None, None, stride
    start, stop, _ = slice(None if no_begin else begin, None if no_end else end, stride).indices(size)
    return start, stop, stride


def _sliced(x: Node, axis: int, spec: tuple[Dim, Dim, Dim], no_begin: bool, no_end: bool) -> Node:
    """x[begin:end:stride] along `axis`. An end may be past an axis of unknown size: then the size of the result is unknown."""
    size = x.shape[axis]
    start, stop, stride = _bounds(spec, size, no_begin, no_end)
    if size is None or start is None or stop is None:
        whole = no_begin and no_end and stride in (1, -1)
        return x if whole and stride == 1 else undetermined(x, replaced(x.shape, axis, None))
    count = len(range(start, stop, stride))
    if stride > 0:
        return box(x, axis, start, start + (count - 1) * stride + 1 if count else start, stride)
    last = start + (count - 1) * stride if count else 0
    return p.reverse(box(x, axis, last, start + 1 if count else last, -stride), (axis,))


@composite("StridedSlice")
def STRIDED_SLICE(input: Node, begin: Node, end: Node, strides: Node, *, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0,
                  new_axis_mask: int = 0, shrink_axis_mask: int = 0) -> Node:
    """Python's indexing with integers, slices, None and an ellipsis, as TF1 encodes it: bit i of each mask speaks of entry i."""
    specs = [static_dims(x) for x in (begin, end, strides)]
    if any(spec is None for spec in specs):
        raise UnknownRank(input.dtype)
    entries = list(zip(*(spec for spec in specs if spec is not None), strict=True))
    consumed = sum(1 for n in range(len(entries)) if not (ellipsis_mask | new_axis_mask) >> n & 1)
    rank = len(input.shape)
    if consumed > rank:
        raise ValueError(f"Index out of range using input dim {rank}; input has only {rank} dims")
    result, axis = input, 0
    for n, entry in enumerate(entries):
        bit = 1 << n
        if ellipsis_mask & bit:
            axis += rank - consumed
        elif new_axis_mask & bit:
            result = p.reshape(result, (*result.shape[:axis], 1, *result.shape[axis:]))
            axis += 1
            rank += 1
            consumed += 1
        elif shrink_axis_mask & bit:
            result = picked(result, axis, entry[0])
            rank -= 1
            consumed -= 1
        else:
            result = _sliced(result, axis, entry, bool(begin_mask & bit), bool(end_mask & bit))
            axis += 1
    return result


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def strided_slice(input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0,
                  new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None, name: str | None = None) -> Tensor:
    """input_[begin:end:strides]; bit i of each mask speaks of entry i: no begin, no end, an ellipsis, a new axis, one index."""
    begin = as_tensor(begin, None, "begin")
    strides = np.ones(begin.shape.as_list(), np.int32) if strides is None else strides
    attrs = dict(zip(_MASKS, (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask), strict=True))
    inputs = {"input": input_, "begin": begin, "end": end, "strides": strides}
    return declare_one(STRIDED_SLICE, inputs, attrs, name, other=dict.fromkeys(("begin", "end", "strides"), INDEX))


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """tensor[key] with integers, slices, an ellipsis, None for a new axis, and scalar tensors for any number."""
    keys = key if isinstance(key, tuple | list) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict.fromkeys(_MASKS, 0)
    for n, each in enumerate(keys):
        entry = _entry(each, 1 << n, masks)
        for column, value in zip((begin, end, strides), entry, strict=True):
            column.append(value)
    with name_scope(None, "strided_slice", [tensor, *begin, *end, *strides]) as scope:
        packed = [_packed_bounds(column, name) for column, name in ((begin, "stack"), (end, "stack_1"), (strides, "stack_2"))]
        inputs = dict(zip(("input", "begin", "end", "strides"), (tensor, *packed), strict=True))
        return declare_one(STRIDED_SLICE, inputs, masks, scope, other=dict.fromkeys(("begin", "end", "strides"), INDEX))


def _entry(each: Any, bit: int, masks: dict[str, int]) -> tuple[Any, Any, Any]:
    """begin, end and stride of one key, and its bits in the masks."""
    if isinstance(each, slice):
        for bound, mask in ((each.start, "begin_mask"), (each.stop, "end_mask")):
            masks[mask] |= bit if bound is None else 0
        return (0 if each.start is None else _index(each.start), 0 if each.stop is None else _index(each.stop),
                1 if each.step is None else _index(each.step))
    if isinstance(each, EllipsisType):
        if masks["ellipsis_mask"]:
            raise ValueError("Multiple ellipses in slice spec not allowed")
        masks["ellipsis_mask"] |= bit
        return 0, 0, 1
    if each is None:
        masks["new_axis_mask"] |= bit
        return 0, 0, 1
    masks["shrink_axis_mask"] |= bit
    index = _index(each)
    return index, index + 1, 1


def _index(value: Any) -> Any:
    if isinstance(value, Tensor):
        if not value.dtype.is_integer or value.rank not in (0, None):
            raise TypeError(_BAD_INDEX.format(repr(value)))
        return value
    if isinstance(value, bool) or not (isinstance(value, int | np.integer) or hasattr(value, "__index__")):
        raise TypeError(_BAD_INDEX.format(repr(value)))
    return int(value)


_BAD_INDEX = ("Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 tensors are valid indices, "
              "got {}")


def _packed_bounds(values: Sequence[Any], name: str) -> Tensor:
    if any(isinstance(v, Tensor) for v in values):
        return stack(values, name=name)
    return constant(list(values), dtypes.int32, (len(values),), name=name)
