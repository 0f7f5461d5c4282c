"""Boxes whose place is data: dynamic_slice and dynamic_update_slice, each the other's gradient. A box that would stick out is moved in."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core.loops import DynamicSlice, DynamicUpdate
from graphc.core.primitive import NoAttrs, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType
from graphc.primitives.broadcast import full
from graphc.primitives.numerics import Array
from graphc.primitives.rules import NO_ATTRS, Cotangents, call
from graphc.primitives.sources import constant


@dataclass(frozen=True)
class DynamicSliceAttrs:
    """The shape of the box."""

    sizes: Dims


def _check(name: str, types: Sequence[TensorType], x: TensorType, sizes: Dims, starts: Sequence[TensorType]) -> None:
    if len(sizes) != x.rank or len(starts) != x.rank:
        raise ValueError(f"{call(name, types)}: the box {sizes} and its {len(starts)} starts must speak of each of the {x.rank} axes")
    if any(start.shape != () or not start.dtype.is_integer for start in starts):
        raise TypeError(f"{call(name, types)}: starts must be integer scalars")
    if any(size is not None and whole is not None and size > whole for size, whole in zip(sizes, x.shape, strict=True)):
        raise ValueError(f"{call(name, types)}: a box {sizes} does not fit into {x}")


def _box(x: Array, starts: Sequence[Array], sizes: Sequence[int]) -> tuple[slice, ...]:
    """The box, moved until it lies inside `x`."""
    first = [min(max(int(start), 0), whole - size) for start, whole, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(first, sizes, strict=True))


def _slice_type(attrs: DynamicSliceAttrs, x: TensorType, *starts: TensorType) -> TensorType:
    _check("dynamic_slice", (x, *starts), x, attrs.sizes, starts)
    return x.with_shape(attrs.sizes)


def _slice(attrs: DynamicSliceAttrs, x: Array, *starts: Array) -> Array:
    return x[_box(x, starts, [size or 0 for size in attrs.sizes])]


def _slice_vjp(node: Node, g: Node) -> Cotangents:
    x, *starts = node.operands
    return (dynamic_update_slice(full(0, x.type), g, starts), *[None] * len(starts))


DYNAMIC_SLICE = declare(Primitive(
    "dynamic_slice", DynamicSliceAttrs, None, _slice_type, _slice, _slice_vjp, DynamicSlice(),
    "The box of shape `sizes` of operand 0 that starts at the other operands, one scalar an axis; one that would stick out is moved in."))


def dynamic_slice(x: Node, starts: Sequence[Node], sizes: Sequence[Dim]) -> Node:
    """The box of shape `sizes` that starts at the integer scalars `starts`, each clamped so that the box lies inside `x`."""
    return make(DYNAMIC_SLICE, (x, *_needed(x, starts, sizes)), DynamicSliceAttrs(tuple(sizes)))


def _update_type(attrs: NoAttrs, x: TensorType, update: TensorType, *starts: TensorType) -> TensorType:
    types = (x, update, *starts)
    if update.dtype is not x.dtype:
        raise TypeError(f"{call('dynamic_update_slice', types)}: the update must have the element type of operand 0")
    _check("dynamic_update_slice", types, x, update.shape, starts)
    return x


def _update(attrs: NoAttrs, x: Array, update: Array, *starts: Array) -> Array:
    result = np.array(x)
    result[_box(x, starts, update.shape)] = update
    return result


def _update_vjp(node: Node, g: Node) -> Cotangents:
    _, update, *starts = node.operands
    return (dynamic_update_slice(g, full(0, update.type), starts), dynamic_slice(g, starts, update.shape), *[None] * len(starts))


DYNAMIC_UPDATE_SLICE = declare(Primitive(
    "dynamic_update_slice", NoAttrs, None, _update_type, _update, _update_vjp, DynamicUpdate(),
    "Operand 0 with operand 1 in the place of its box that starts at the other operands; a box that would stick out is moved in."))


def dynamic_update_slice(x: Node, update: Node, starts: Sequence[Node]) -> Node:
    """`x` with `update` written over the box that starts at the integer scalars `starts`, each clamped so that the box lies inside."""
    return make(DYNAMIC_UPDATE_SLICE, (x, update, *_needed(x, starts, update.shape)), NO_ATTRS)


def _needed(x: Node, starts: Sequence[Node], sizes: Sequence[Dim]) -> list[Node]:
    """`starts` without those that could only be 0."""
    needs = [None in (size, whole) or size != whole for size, whole in zip(sizes, x.shape, strict=False)]
    return [start if need else constant(0, start.dtype) for start, need in zip(starts, [*needs, *[True] * len(starts)], strict=False)]
