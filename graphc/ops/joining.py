"""Joining and parting: concat, stack and unstack, split, tile, pad, reverse; and lists that hold tensors become tensors."""
from __future__ import annotations

import functools
from collections.abc import Sequence
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
from graphc.core.static import static_dims
from graphc.core.types import Dim
from graphc.ops.array import identity
from graphc.ops.declare import INDEX, as_tensor, declare, declare_one, known_axes, name_scope, normal_axis
from graphc.ops.parts import box, picked, replaced, undetermined

# concat, stack, split --------------------------------------------------------------------------------------------------------------------

@composite("ConcatV2")
def CONCAT(*values_and_axis: Node) -> Node:
    """All inputs but the last, one after the other along the axis that the last names."""
    *values, axis = values_and_axis
    axes = known_axes(axis, len(values[0].shape))
    if axes is None:
        return functools.reduce(p.maximum, [undetermined(each, [None] * len(values[0].shape)) for each in values])
    return p.concatenate(values, axes[0])


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Several tensors one after the other along `axis`."""
    values = list(values) if isinstance(values, list | tuple) else [values]
    if len(values) == 1:
        with name_scope(name):
            convert_to_tensor(axis, dtypes.int32, "concat_dim")
            return identity(values[0], name)
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
                    raise TypeError(f"Cannot convert a list containing a tensor of dtype {tensor.dtype.name} to {dtype.name} "
                                    f"(Tensor is: {tensor!r})")
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
    return [picked(value, place, n) for n in range(num)]


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
        return [undetermined(value, [None] * len(value.shape))] * num_split
    size = value.shape[axes[0]]
    if size is not None and size % num_split:
        raise ValueError(f"Number of ways to split should evenly divide the split dimension, but got split_dim {axes[0]} (size = {size}) "
                         f"and num_split {num_split}")
    part = None if size is None else size // num_split
    return [box(value, axes[0], None if part is None else n * part, None if part is None else (n + 1) * part) for n in range(num_split)]


@composite("SplitV")
def SPLIT_V(value: Node, size_splits: Node, split_dim: Node, *, num_split: int) -> Sequence[Node]:
    """Parts of the given sizes (one may be -1: what is left) along the axis `split_dim`."""
    axes, sizes = known_axes(split_dim, len(value.shape)), static_dims(size_splits)
    if axes is None or sizes is None:
        return [undetermined(value, [None] * len(value.shape))] * num_split
    whole = value.shape[axes[0]]
    known = sum(size for size in sizes if size is not None and size != -1)
    rest = None if whole is None or None in sizes else whole - known
    if rest is not None and (rest < 0 if -1 in sizes else rest != 0):
        raise ValueError(f"can't split axis of size {whole} into pieces of size {sizes}")
    parts = []
    start: Dim = 0
    for size in sizes:
        count = rest if size == -1 else size
        limit = None if start is None or count is None else start + count
        parts.append(box(value, axes[0], start, limit))
        start = limit
    return parts


def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split") -> list[Tensor]:
    """Parts of `value` along `axis`: so many equal ones, or ones of the listed sizes (one may be -1: what is left)."""
    sizes = as_tensor(num_or_size_splits)
    if isinstance(num_or_size_splits, int | np.integer):
        inputs = {"split_dim": axis, "value": value}
        return list(declare(SPLIT, inputs, {"num_split": int(num_or_size_splits)}, name, other={"split_dim": INDEX}).outputs)
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
            result = undetermined(result, replaced(result.shape, axis, None))
            continue
        if max(before, after) > size - border:
            raise ValueError(f"paddings must be no greater than the dimension size: {before}, {after} greater than {size - border}")
        left = p.reverse(box(result, axis, border, border + before), (axis,))
        right = p.reverse(box(result, axis, size - border - after, size - border), (axis,))
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
