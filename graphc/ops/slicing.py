"""Parts and wholes: slices and indexing, gather, concat, stack and split, tile, pad, reverse."""
from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import as_array, constant, convert_to_tensor, register_tensor_conversion_function
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank, partial_value, static_dims
from graphc.core.types import Dim
from graphc.ops.array import expand_dims, identity
from graphc.ops.declare import INDEX, as_tensor, declare, declare_one, known_axes, name_scope, normal_axis
from graphc.primitives.sugar import broadcast_to

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
        if start is not None and start < 0 or count is not None and count < -1:
            raise ValueError(f"Expected begin >= 0 and size >= -1 for axis {axis}, got {start} and {count}")
        limit = whole if count == -1 else None if start is None or count is None else start + count
        if limit is not None and whole is not None and (limit > whole or (start is not None and start > whole)):
            raise ValueError(f"Expected begin + size <= {whole} for axis {axis}, got {start} + {count}")
        limits.append(limit)
    if any(start is None and count is not None for start, count in zip(starts, sizes, strict=True)):
        dims = [None if count == -1 else count for count in sizes]
        return p.parameter("?sliced", input.type.with_shape(dims))
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
        return x if whole and stride == 1 else p.parameter("?sliced", x.type.with_shape(_replaced(x.shape, axis, None)))
    count = len(range(start, stop, stride))
    if stride > 0:
        return _box(x, axis, start, start + (count - 1) * stride + 1 if count else start, stride)
    last = start + (count - 1) * stride if count else 0
    return p.reverse(_box(x, axis, last, start + 1 if count else last, -stride), (axis,))


def _replaced(dims: Sequence[Dim], axis: int, dim: Dim) -> tuple[Dim, ...]:
    return (*dims[:axis], dim, *dims[axis + 1:])


def _box(x: Node, axis: int, start: Dim, limit: Dim, stride: int = 1) -> Node:
    rank = len(x.shape)
    return p.slice_(x, _replaced((0,) * rank, axis, start), _replaced(x.shape, axis, limit), [stride if a == axis else 1 for a in range(rank)])


def _picked(x: Node, axis: int, index: Dim) -> Node:
    """x[index] along `axis`, which vanishes."""
    size = x.shape[axis]
    if size is not None and index is not None and not -size <= index < size:
        raise ValueError(f"slice index {index} of dimension {axis} out of bounds")
    shape = (*x.shape[:axis], *x.shape[axis + 1:])
    if index is None or (size is None and index < 0):
        return p.parameter("?picked", x.type.with_shape(shape))
    start = index if size is None else index % size
    return p.reshape(_box(x, axis, start, start + 1), shape)


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
            result = _picked(result, axis, entry[0])
            rank -= 1
            consumed -= 1
        else:
            result = _sliced(result, axis, entry, bool(begin_mask & bit), bool(end_mask & bit))
            axis += 1
    return result


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def strided_slice(input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0,
                  new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None, name: str | None = None) -> Tensor:
    """input_[begin:end:strides] axis by axis; bit i of each mask speaks of entry i: no begin, no end, an ellipsis, a new axis, one index."""
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


_BAD_INDEX = "Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 tensors are valid indices, got {}"


def _packed_bounds(values: Sequence[Any], name: str) -> Tensor:
    if any(isinstance(v, Tensor) for v in values):
        return stack(values, name=name)
    return constant(list(values), dtypes.int32, (len(values),), name=name)


# gather ----------------------------------------------------------------------------------------------------------------------------------

@composite("GatherV2")
def GATHER(params: Node, indices: Node, axis: Node, *, batch_dims: int = 0) -> Node:
    """Slices of `params` along `axis` at the indices; an index out of range gives zeros."""
    axes = known_axes(axis, len(params.shape))
    if axes is None:
        return p.parameter("?gathered", params.type.with_shape([None] * (len(params.shape) + len(indices.shape) - 1)))
    return p.gather(params, indices, axes[0])


def gather(params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = None, batch_dims: int = 0) -> Tensor:
    """Slices of `params` along `axis` (0) at the integer `indices`; an index out of range gives zeros."""
    if batch_dims:
        raise ValueError("gather knows no batch_dims: reshape params and indices instead")
    inputs = {"params": params, "indices": indices, "axis": 0 if axis is None else axis}
    return declare_one(GATHER, inputs, None, name, other={"indices": INDEX, "axis": INDEX})


@composite("GatherNd")
def GATHER_ND(params: Node, indices: Node) -> Node:
    """Slices of `params` at index tuples: the last axis of `indices` holds one index for each of the first axes of `params`."""
    depth = indices.shape[-1] if indices.shape else None
    if depth is None:
        raise UnknownRank(params.dtype)
    if depth > len(params.shape):
        raise ValueError(f"indices.shape[-1] must be <= params.rank, got {depth} and {len(params.shape)}")
    leading, where = params.shape[:depth], indices.shape[:-1]
    inside = [p.reshape(_box(indices, len(where), n, n + 1), where) for n in range(depth)]
    flat = p.broadcast_in_dim(p.constant(0, indices.dtype), where, ())
    valid = p.broadcast_in_dim(p.constant(True), where, ())
    for index, size in zip(inside, leading, strict=True):
        if size is None:
            return p.parameter("?gathered", params.type.with_shape((*where, *params.shape[depth:])))
        bound = p.broadcast_in_dim(p.constant(size, indices.dtype), where, ())
        zero = p.broadcast_in_dim(p.constant(0, indices.dtype), where, ())
        valid = p.and_(valid, p.and_(p.compare(index, zero, "GE"), p.compare(index, bound, "LT")))
        flat = p.add(p.multiply(flat, bound), index)
    nowhere = p.broadcast_in_dim(p.constant(-1, indices.dtype), where, ())
    rows = p.reshape(params, (int(np.prod([d for d in leading if d is not None], dtype=int)), *params.shape[depth:]))
    return p.gather(rows, p.select(valid, flat, nowhere), 0)


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """Slices of `params` at the index tuples in the last axis of `indices`; a tuple out of range gives zeros."""
    if batch_dims:
        raise ValueError("gather_nd knows no batch_dims: reshape params and indices instead")
    return declare_one(GATHER_ND, {"params": params, "indices": indices}, None, name, other={"indices": INDEX})


# concat, stack, split --------------------------------------------------------------------------------------------------------------------

@composite("ConcatV2")
def CONCAT(*values_and_axis: Node) -> Node:
    """All inputs but the last, one after the other along the axis that the last names."""
    *values, axis = values_and_axis
    axes = known_axes(axis, len(values[0].shape))
    if axes is None:
        return p.parameter("?joined", values[0].type.with_shape([None] * len(values[0].shape)))
    return p.concatenate(values, axes[0])


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Several tensors one after the other along `axis`."""
    values = list(values) if isinstance(values, list | tuple) else [values]
    if len(values) == 1:
        with name_scope(name) as scope:
            convert_to_tensor(axis, dtypes.int32, "concat_dim")
            return identity(values[0], scope)
    with name_scope(name, "ConcatV2", [*values, axis]) as scope:
        common = next((v.dtype for v in values if isinstance(v, Tensor)), None)
        tensors = [as_tensor(v, common if not isinstance(v, Tensor) else None, f"values_{n}") for n, v in enumerate(values)]
        for n, tensor in enumerate(tensors):
            if tensor.dtype is not tensors[0].dtype:
                raise TypeError(f"Tensors in list passed to 'values' of 'ConcatV2' Op have types "
                                f"[{', '.join(t.dtype.name for t in tensors)}] that don't all match: values_{n} differs.")
        inputs = {**{f"values_{n}": tensor for n, tensor in enumerate(tensors)}, "axis": axis}
        return declare_one(CONCAT, inputs, None, scope, other={"axis": INDEX})


@composite("Pack")
def PACK(*values: Node, axis: int = 0) -> Node:
    """All inputs, of one shape, along a new `axis`."""
    place = normal_axis(axis, len(values[0].shape) + 1)
    return p.concatenate([p.reshape(x, (*x.shape[:place], 1, *x.shape[place:])) for x in values], place)


def _packed(values: Sequence[Tensor], axis: int, name: str | None) -> Tensor:
    return declare_one(PACK, {f"values_{n}": each for n, each in enumerate(values)}, {"axis": axis}, name)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape along a new `axis`; a constant where all of them are plain numbers."""
    if isinstance(values, Tensor):
        return _packed(unstack(values), axis, name)
    if axis == 0:
        return convert_to_tensor(values if isinstance(values, list) else list(values), name=name)
    with name_scope(name, "stack", list(values)) as scope:
        common = next((v.dtype for v in values if isinstance(v, Tensor)), None)
        tensors = [as_tensor(v, common if not isinstance(v, Tensor) else None, f"values_{n}") for n, v in enumerate(values)]
        rank = tensors[0].rank
        if rank is not None and not -(rank + 1) <= axis < rank + 1:
            raise ValueError(f"axis = {axis} not in [{-(rank + 1)}, {rank + 1})")
        return _packed(tensors, axis, scope)


def _tensors_in(values: Any) -> list[Tensor]:
    if isinstance(values, list | tuple):
        return [tensor for each in values for tensor in _tensors_in(each)]
    if isinstance(values, Tensor):
        return [values]
    return [convert_to_tensor(values)] if hasattr(values, "_as_graph_element") else []


def _autopack(value: Any, dtype: DType | None, name: str | None, as_ref: bool) -> Any:
    """A list that holds tensors as a "Pack" of its elements; other lists are constants."""
    if not any(True for _ in _tensors_in(value)):
        return NotImplemented
    common = dtype or _tensors_in(value)[0].dtype
    return _pack_nested(value, common, name or "packed")


def _pack_nested(values: Any, dtype: DType, name: str) -> Tensor:
    graph = get_default_graph()
    with name_scope(name, None, None) as scope:
        elements = []
        for n, each in enumerate(values):
            if _tensors_in(each) and isinstance(each, list | tuple):
                elements.append(_pack_nested(each, dtype, str(n)))
            elif _tensors_in(each):
                tensor = convert_to_tensor(each)
                if tensor.dtype is not dtype:
                    raise TypeError(f"Cannot convert a list containing a tensor of dtype {tensor.dtype.name} to {dtype.name} (Tensor is: {tensor!r})")
                elements.append(tensor)
            else:
                elements.append(constant(as_array(each, dtype), name=str(n)))
        return graph.create_op(PACK, elements, {"axis": 0}, scope).outputs[0]


register_tensor_conversion_function((list, tuple), _autopack, 99)


@composite("Unpack")
def UNPACK(value: Node, *, num: int, axis: int = 0) -> Sequence[Node]:
    """The slices of `value` along `axis`, which vanishes."""
    place = normal_axis(axis, len(value.shape))
    if value.shape[place] not in (num, None):
        raise ValueError(f"Dimension must be {num} but is {value.shape[place]}")
    return [_picked(value, place, n) for n in range(num)]


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices of `value` along `axis`, which vanishes. `num` is needed where its size is not known."""
    tensor = as_tensor(value)
    if num is None:
        rank = tensor.rank
        if rank is not None and not -rank <= axis < rank:
            raise ValueError(f"axis = {axis} not in [{-rank}, {rank})")
        num = None if tensor.shape_tuple is None else tensor.shape_tuple[axis]
        if num is None:
            raise ValueError(f"Cannot infer num from shape {tensor.shape}")
    return list(declare(UNPACK, {"value": tensor}, {"num": num, "axis": axis}, name).outputs)


@composite("Split")
def SPLIT(split_dim: Node, value: Node, *, num_split: int) -> Sequence[Node]:
    """`num_split` equal parts along the axis `split_dim`."""
    axes = known_axes(split_dim, len(value.shape))
    if axes is None:
        return [p.parameter("?split", value.type.with_shape([None] * len(value.shape)))] * num_split
    size = value.shape[axes[0]]
    if size is not None and size % num_split:
        raise ValueError(f"Number of ways to split should evenly divide the split dimension, but got split_dim {axes[0]} (size = {size}) "
                         f"and num_split {num_split}")
    part = None if size is None else size // num_split
    return [_box(value, axes[0], None if part is None else n * part, None if part is None else (n + 1) * part) for n in range(num_split)]


@composite("SplitV")
def SPLIT_V(value: Node, size_splits: Node, split_dim: Node, *, num_split: int) -> Sequence[Node]:
    """Parts of the given sizes (one may be -1: what is left) along the axis `split_dim`."""
    axes, sizes = known_axes(split_dim, len(value.shape)), static_dims(size_splits)
    if axes is None or sizes is None:
        return [p.parameter("?split", value.type.with_shape([None] * len(value.shape)))] * num_split
    whole = value.shape[axes[0]]
    known = sum(size for size in sizes if size is not None and size != -1)
    rest = None if whole is None or None in sizes else whole - known
    if rest is not None and (rest < 0 if -1 in sizes else rest != 0):
        raise ValueError(f"can't split axis of size {whole} into pieces of size {sizes}")
    parts, start = [], 0
    for size in sizes:
        count = rest if size == -1 else size
        known_start: Dim = start
        limit = None if known_start is None or count is None else known_start + count
        parts.append(_box(value, axes[0], known_start, limit))
        start = limit
    return parts


def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split") -> list[Tensor]:
    """Parts of `value` along `axis`: so many equal ones, or ones of the listed sizes (one may be -1: what is left)."""
    if isinstance(num_or_size_splits, int | np.integer):
        inputs = {"split_dim": axis, "value": value}
        return list(declare(SPLIT, inputs, {"num_split": int(num_or_size_splits)}, name, other={"split_dim": INDEX}).outputs)
    sizes = as_tensor(num_or_size_splits)
    if sizes.rank == 0:
        raise ValueError("Rank-0 tensors are not supported as the num_or_size_splits argument to split. Argument provided: "
                         f"{num_or_size_splits}")
    count = num if num is not None or sizes.shape_tuple is None else sizes.shape_tuple[0]
    if count is None:
        raise ValueError(f"Cannot infer num from shape {num_or_size_splits}")
    inputs = {"value": value, "size_splits": sizes, "split_dim": axis}
    return list(declare(SPLIT_V, inputs, {"num_split": count}, name, other={"size_splits": INDEX, "split_dim": INDEX}).outputs)


# tile, pad, reverse ----------------------------------------------------------------------------------------------------------------------

@composite("Tile")
def TILE(input: Node, multiples: Node) -> Node:
    """`input` repeated multiples[i] times along axis i."""
    counts = static_dims(multiples)
    rank = len(input.shape)
    counts = (None,) * rank if counts is None else counts
    if len(counts) != rank:
        raise ValueError(f"multiples must have one entry for each of the {rank} axes, got {len(counts)}")
    dims = [None if n is None or d is None else n * d for n, d in zip(counts, input.shape, strict=True)]
    doubled = [dim for pair in zip(counts, input.shape, strict=True) for dim in pair]
    return p.reshape(p.broadcast_in_dim(input, doubled, range(1, 2 * rank, 2)), dims)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """`input` repeated multiples[i] times along axis i."""
    return declare_one(TILE, {"input": input, "multiples": multiples}, None, name, other={"multiples": INDEX})


def _paddings(paddings: Node, rank: int) -> tuple[list[Dim], list[Dim]]:
    pairs = static_dims(paddings)
    if pairs is None:
        return [None] * rank, [None] * rank
    if len(pairs) != 2 * rank:
        raise ValueError(f"paddings must be [{rank}, 2], one pair for each axis, got {len(pairs)} numbers")
    if any(n is not None and n < 0 for n in pairs):
        raise ValueError(f"Paddings must be non-negative: {pairs}")
    return list(pairs[::2]), list(pairs[1::2])


@composite("Pad")
def PAD(input: Node, paddings: Node) -> Node:
    """`input` with zeros before and after each axis: paddings [rank, 2]."""
    low, high = _paddings(paddings, len(input.shape))
    return p.pad(input, p.constant(0, input.dtype), low, high)


@composite("PadV2")
def PAD_V2(input: Node, paddings: Node, constant_values: Node) -> Node:
    """`input` with a scalar before and after each axis: paddings [rank, 2]."""
    low, high = _paddings(paddings, len(input.shape))
    return p.pad(input, constant_values, low, high)


@composite("MirrorPad")
def MIRROR_PAD(input: Node, paddings: Node, *, mode: str) -> Node:
    """`input` continued by its mirror image: "REFLECT" without the border element, "SYMMETRIC" with it."""
    low, high = _paddings(paddings, len(input.shape))
    border = 1 if mode == "REFLECT" else 0
    result = input
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        size = result.shape[axis]
        if before is None or after is None or size is None:
            result = p.parameter("?padded", result.type.with_shape(_replaced(result.shape, axis, None)))
            continue
        if max(before, after) > size - border:
            raise ValueError(f"paddings must be no greater than the dimension size: {before}, {after} greater than {size - border}")
        left = p.reverse(_box(result, axis, border, border + before), (axis,))
        right = p.reverse(_box(result, axis, size - border - after, size - border), (axis,))
        result = p.concatenate([left, result, right], axis)
    return result


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0) -> Tensor:
    """`tensor` with paddings[i] = (before, after) elements around axis i: a constant, or its mirror image ("REFLECT", "SYMMETRIC")."""
    kind = mode.upper()
    inputs = {"input": tensor, "paddings": paddings}
    other: dict[str, DType | None] = {"paddings": INDEX}
    if kind == "CONSTANT":
        if isinstance(constant_values, Tensor) or constant_values != 0:
            return declare_one(PAD_V2, {**inputs, "constant_values": constant_values}, None, name, other=other)
        return declare_one(PAD, inputs, None, name, other=other)
    if kind in ("REFLECT", "SYMMETRIC"):
        return declare_one(MIRROR_PAD, inputs, {"mode": kind}, name, other=other)
    raise ValueError(f"Unknown padding mode: {mode}")


@composite("ReverseV2")
def REVERSE(tensor: Node, axis: Node) -> Node:
    """Last to first along each axis named."""
    axes = known_axes(axis, len(tensor.shape))
    return tensor if axes is None else p.reverse(tensor, axes)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """`tensor` last to first along each of `axis`."""
    return declare_one(REVERSE, {"tensor": tensor, "axis": axis}, None, name, other={"axis": INDEX})
