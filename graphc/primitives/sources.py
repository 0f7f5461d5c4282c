"""Values made from nothing: parameters of a Program, constants, iota and counter-based random bits."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.loops import Fill, State
from graphc.core.primitive import NotDifferentiable, Primitive, declare
from graphc.core.program import Literal, Node, make
from graphc.core.types import Dims, TensorType
from graphc.primitives.numerics import Array, philox_4x32
from graphc.primitives.rules import call, is_ordered, need

_NO_OPERANDS = NotDifferentiable("it has no operands")


@dataclass(frozen=True)
class ParameterAttrs:
    name: str
    type: TensorType


@dataclass(frozen=True)
class ConstantAttrs:
    value: Literal


@dataclass(frozen=True)
class IotaAttrs:
    type: TensorType
    axis: int


@dataclass(frozen=True)
class RandomBitsAttrs:
    """key: two uint32."""

    key: tuple[int, int]
    shape: Dims


def _unfed(attrs: ParameterAttrs) -> Array:
    raise ValueError(f"parameter {attrs.name!r} has no value of its own: it must be fed")


PARAMETER = declare(Primitive(
    "parameter", ParameterAttrs, 0, lambda attrs: attrs.type, _unfed, _NO_OPERANDS, State("parameter"),
    "A value that the caller of the Program gives."))

CONSTANT = declare(Primitive(
    "constant", ConstantAttrs, 0, lambda attrs: TensorType(as_dtype(attrs.value.array.dtype), attrs.value.array.shape),
    lambda attrs: attrs.value.array, _NO_OPERANDS, Fill("constant"), "An array known when the Program is made."))


def _iota_type(attrs: IotaAttrs) -> TensorType:
    need(is_ordered, "iota", (attrs.type,))
    if not 0 <= attrs.axis < attrs.type.rank:
        raise ValueError(f"{call('iota', (attrs.type,))}: axis {attrs.axis} must be between 0 and {attrs.type.rank - 1}")
    return attrs.type


def _iota(attrs: IotaAttrs) -> Array:
    shape = attrs.type.dims
    along = [1] * len(shape)
    along[attrs.axis] = shape[attrs.axis]
    return np.broadcast_to(np.arange(shape[attrs.axis]).astype(attrs.type.dtype.np_dtype).reshape(along), shape)


IOTA = declare(Primitive(
    "iota", IotaAttrs, 0, _iota_type, _iota, _NO_OPERANDS, Fill("iota"), "Each element's position along `axis`: 0, 1, 2, ..."))


def _random_type(attrs: RandomBitsAttrs, counter: TensorType) -> TensorType:
    if counter != TensorType(dtypes.uint64, ()):
        raise TypeError(f"{call('random_bits', (counter,))}: the counter must be u64[]")
    return TensorType(dtypes.uint32, attrs.shape)


def _random_bits(attrs: RandomBitsAttrs, counter: Array) -> Array:
    size = math.prod(d for d in attrs.shape if d is not None)
    run = int(counter)
    blocks = np.arange(-(-size // 4), dtype=np.uint64)
    words = np.empty((len(blocks), 4), np.uint32)
    words[:, 0], words[:, 1] = blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32)
    words[:, 2], words[:, 3] = run & 0xFFFFFFFF, run >> 32
    return philox_4x32(words, attrs.key).reshape(-1)[:size].reshape([d for d in attrs.shape if d is not None])


RANDOM_BITS = declare(Primitive(
    "random_bits", RandomBitsAttrs, 1, _random_type, _random_bits, NotDifferentiable("integers carry no gradient"), Fill("random_bits"),
    "Uniform 32-bit words by Philox4x32-10: element i is word i & 3 of block i >> 2 for the run number `counter`."))


def parameter(name: str, type: TensorType) -> Node:
    return make(PARAMETER, (), ParameterAttrs(name, type))


def constant(value: Any, dtype: DType | None = None) -> Node:
    """The node of an array, a number or nested lists; `dtype` converts it first. TypeError where `dtype` cannot hold it."""
    if dtype is None:
        return make(CONSTANT, (), ConstantAttrs(Literal(value)))
    try:
        return make(CONSTANT, (), ConstantAttrs(Literal(np.asarray(value, dtype.np_dtype))))
    except OverflowError:
        raise TypeError(f"{value} is no number of type {dtype.name}") from None


def iota(shape: Dims, axis: int, dtype: DType) -> Node:
    """Positions along `axis` as an array of `shape` and `dtype`."""
    return make(IOTA, (), IotaAttrs(TensorType(dtype, tuple(shape)), axis))


def random_bits(counter: Node, key: tuple[int, int], shape: Dims) -> Node:
    """uint32 `shape` from a uint64 scalar `counter` (the run's number) and a key of two uint32."""
    return make(RANDOM_BITS, (counter,), RandomBitsAttrs(key, tuple(shape)))
