"""Slices and Python's indexing of tensors: boxes chosen by their bounds."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.checks import are_wanted, require
from graphc.core.convert import constant
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank, static_dims
from graphc.core.types import Dim, TensorType, show_dims
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.gathering import gather as gather
from graphc.ops.gathering import gather_nd as gather_nd
from graphc.ops.joining import stack
from graphc.ops.parts import box, counting, picked, replaced, undetermined
from graphc.ops.positions import determined, element, is_inside, known_elements
from graphc.ops.selecting import boolean_mask

# slice, strided_slice --------------------------------------------------------------------------------------------------------------------

@composite("Slice")
def SLICE(input: Node, begin: Node, size: Node) -> Node:
    """The box of `size` (-1: to the end) that starts at `begin`."""
    rank = len(input.shape)
    for name, given in (("begin", begin), ("size", size)):
        if len(given.shape) != 1 or given.shape[0] not in (None, rank):
            raise ValueError(f"{name} must be a vector with one entry for each of the {rank} axes, got shape {show_dims(given.shape)}")
    if begin.shape[0] is None and size.shape[0] is None:
        return undetermined(input, [None] * rank)
    starts = known_elements(begin, rank)
    sizes = _box_sizes(input, begin, size, starts)
    for axis, (whole, start, count) in enumerate(zip(input.shape, starts, sizes, strict=True)):
        if (start is not None and start < 0) or (count is not None and count < 0):
            raise ValueError(f"Expected begin >= 0 and size >= -1 for axis {axis}, got {start} and {count}")
        if count is not None and whole is not None and (start or 0) + count > whole:
            raise ValueError(f"Expected begin + size <= {whole} for axis {axis}, got {start or 0} + {count}")
    if None not in starts:
        limits = [None if start is None or count is None else start + count for start, count in zip(starts, sizes, strict=True)]
        return p.slice_(input, starts, limits)
    if None in sizes or None in input.shape:
        return undetermined(input, sizes)
    return p.dynamic_slice(input, [element(begin, axis) for axis in range(rank)], sizes)


def _box_sizes(input: Node, begin: Node, size: Node, starts: Sequence[Dim]) -> list[Dim]:
    """The size of the box along each axis; -1 is what there is from `begin` on."""
    found = static_dims(size)
    wanted: Sequence[Dim] = [None] * len(starts) if found is None else found
    return [count if count != -1 else None if whole is None else whole - start if start is not None
            else determined(p.subtract(p.constant(whole, begin.dtype), element(begin, axis)))
            for axis, (whole, start, count) in enumerate(zip(input.shape, starts, wanted, strict=True))]


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The box of `size` (-1: to the end) that starts at `begin`."""
    return declare_one(SLICE, {"input": input_, "begin": begin, "size": size}, None, name, other={"begin": INDEX, "size": INDEX})


def _sliced(x: Node, axis: int, spec: _Entry) -> Node:
    """x[begin:end:stride] along `axis`."""
    size = x.shape[axis]
    if size is None:
        return _of_unknown_size(x, axis, spec)
    if spec.is_known:
        start, stop, stride = slice(spec.begin, spec.end, spec.stride).indices(size)
        return _strided(x, axis, start, len(range(start, stop, stride)), stride)
    start_node, stop_node = (_clipped(spec, bound, size) for bound in ("begin", "end"))
    span = p.subtract(stop_node, start_node) if spec.stride > 0 else p.subtract(start_node, stop_node)
    step = p.constant(abs(spec.stride), span.dtype)
    count = determined(p.maximum(p.divide(p.add(span, p.subtract(step, p.constant(1, step.dtype))), step), p.constant(0, span.dtype)))
    if count is None or None in x.shape:
        return undetermined(x, replaced(x.shape, axis, count))
    if spec.stride == 1:
        return _dynamic_box(x, axis, start_node, count)
    steps = p.multiply(p.iota((count,), 0, start_node.dtype), p.full(spec.stride, TensorType(start_node.dtype, (count,))))
    return p.gather(x, p.add(steps, p.broadcast_in_dim(start_node, (count,), ())), axis)


def _strided(x: Node, axis: int, start: int, count: int, stride: int) -> Node:
    if stride > 0:
        return box(x, axis, start, start + (count - 1) * stride + 1 if count else start, stride)
    last = start + (count - 1) * stride if count else 0
    return p.reverse(box(x, axis, last, start + 1 if count else last, -stride), (axis,))


def _of_unknown_size(x: Node, axis: int, spec: _Entry) -> Node:
    """What can be said while the size of the axis is unknown: the whole of it, or the number of elements before none of which it ends."""
    if spec.has_no_begin and spec.has_no_end and spec.stride == 1:
        return x
    return undetermined(x, replaced(x.shape, axis, None))


def _clipped(spec: _Entry, bound: str, size: int) -> Node:
    """The begin or end of a slice of an axis of `size` as Python's slices take it: a negative one counts from the end; then clipped."""
    vector, has_none = (spec.begins, spec.has_no_begin) if bound == "begin" else (spec.ends, spec.has_no_end)
    first, last = (0, size) if spec.stride > 0 else (-1, size - 1)
    if has_none:
        return p.constant(first if (bound == "begin") == (spec.stride > 0) else last, counting(vector).dtype)
    value = counting(element(vector, spec.number))
    low, high, whole = (p.constant(n, value.dtype) for n in (first, last, size))
    wrapped = p.select(p.compare(value, p.constant(0, value.dtype), "LT"), p.add(value, whole), value)
    return p.clamp(low, wrapped, high)


def _dynamic_box(x: Node, axis: int, start: Node, count: int) -> Node:
    zero = p.constant(0, start.dtype)
    starts = [start if each == axis else zero for each in range(len(x.shape))]
    return p.dynamic_slice(x, starts, replaced(x.shape, axis, count))


def _picked(x: Node, axis: int, spec: _Entry) -> Node:
    """x[begin] along `axis`, which vanishes. An index that only a run knows is moved inside where it is out of range."""
    size = x.shape[axis]
    if spec.begin is not None or None in x.shape or size is None:
        return picked(x, axis, spec.begin)
    if size == 0:
        raise ValueError(f"slice index of dimension {axis} out of bounds: it has no elements")
    value = counting(element(spec.begins, spec.number))
    whole = p.constant(size, value.dtype)
    wrapped = p.select(p.compare(value, p.constant(0, value.dtype), "LT"), p.add(value, whole), value)
    if are_wanted():
        require(p.reshape(is_inside(p.reshape(wrapped, (1,)), size), ()),
                lambda index: f"slice index {int(index)} of dimension {axis} out of bounds.", value)
    return p.reshape(_dynamic_box(x, axis, wrapped, 1), (*x.shape[:axis], *x.shape[axis + 1:]))


@dataclass(frozen=True)
class _Entry:
    """Entry `number` of a strided slice: its bounds as far as they are known before a run, and the vectors that hold all of them."""

    number: int
    begin: Dim
    end: Dim
    stride: int
    has_no_begin: bool
    has_no_end: bool
    begins: Node
    ends: Node

    @property
    def is_known(self) -> bool:
        return (self.begin is not None or self.has_no_begin) and (self.end is not None or self.has_no_end)


def _entries(begin: Node, end: Node, strides: Node, begin_mask: int, end_mask: int, without: int) -> list[_Entry]:
    """The entries; those whose bit is in `without` have no bounds. UnknownRank where not even their number is known."""
    for given in (begin, end, strides):
        if len(given.shape) != 1:
            raise ValueError(f"begin, end and strides must be vectors, got shape {show_dims(given.shape)}")
    sizes = {given.shape[0] for given in (begin, end, strides)} - {None}
    if len(sizes) > 1:
        raise ValueError(f"begin, end and strides must have one size, got {sorted(size or 0 for size in sizes)}")
    count = next(iter(sizes), None)
    steps = static_dims(strides)
    if count is None or steps is None:
        raise UnknownRank(begin.dtype)
    found = []
    for n, (first, last, stride) in enumerate(zip(known_elements(begin, count), known_elements(end, count), steps, strict=True)):
        if stride is None:
            raise ValueError("the strides of a slice must be known")
        if stride == 0:
            raise ValueError(f"strides[{n}] must be non-zero")
        no_begin, no_end = ((mask | without) >> n & 1 == 1 for mask in (begin_mask, end_mask))
        found.append(_Entry(n, None if no_begin else first, None if no_end else last, stride, no_begin, no_end, begin, end))
    return found


@composite("StridedSlice")
def STRIDED_SLICE(input: Node, begin: Node, end: Node, strides: Node, *, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0,
                  new_axis_mask: int = 0, shrink_axis_mask: int = 0) -> Node:
    """Python's indexing with integers, slices, None and an ellipsis, as TF1 encodes it: bit i of each mask speaks of entry i."""
    rank = len(input.shape)
    try:
        entries = _entries(begin, end, strides, begin_mask, end_mask, ellipsis_mask | new_axis_mask)
    except UnknownRank:
        raise UnknownRank(input.dtype) from None
    consumed = sum(1 for n in range(len(entries)) if not (ellipsis_mask | new_axis_mask) >> n & 1)
    if consumed > rank:
        raise ValueError(f"Index out of range using input dim {rank}; input has only {rank} dims")
    if ellipsis_mask & (ellipsis_mask - 1):
        raise ValueError("Multiple ellipses in slice spec not allowed")
    result, axis = input, 0
    for n, entry in enumerate(entries):
        bit = 1 << n
        if ellipsis_mask & bit:
            axis += rank - consumed
        elif new_axis_mask & bit:
            result = p.reshape(result, (*result.shape[:axis], 1, *result.shape[axis:]))
            axis += 1
        elif shrink_axis_mask & bit:
            result = _picked(result, axis, entry)
        else:
            result = _sliced(result, axis, entry)
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
    """tensor[key] with integers, slices, an ellipsis, None for a new axis, and scalar tensors for any number. A mask (a bool array or
    tensor) chooses where it holds."""
    if isinstance(key, bool) or (isinstance(key, Tensor | np.ndarray) and key.dtype == np.bool_):
        return boolean_mask(tensor, key)
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
