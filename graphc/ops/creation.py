"""Makers of arrays: zeros, ones, fill, linspace, one_hot, and the like of another array."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.dtypes import as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.shapes import TensorShape, as_dims
from graphc.core.static import static_dims
from graphc.ops.array import SHAPE, reshape, scalar_value, shape
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope, normal_axis, shape_dims
from graphc.ops.parts import counting
from graphc.primitives.sugar import broadcast_to, fill_like

SMALL = 1000  # elements: a larger array of one value is a Fill, so that the graph stays small


@composite("Fill")
def FILL(dims: Node, value: Node) -> Node:
    """An array of shape `dims` with the scalar `value` everywhere."""
    if value.shape != ():
        raise ValueError(f"Shape must be rank 0 but is rank {len(value.shape)}")
    return p.broadcast_in_dim(value, shape_dims(dims, value.dtype), ())


@composite("ZerosLike", gradient=False)
def ZEROS_LIKE(x: Node) -> Node:
    return fill_like(x, 0)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """An array of shape `dims` with the scalar `value` everywhere."""
    return declare_one(FILL, {"dims": dims, "value": value}, None, name, other={"dims": INDEX, "value": None})


def _uniform(value: int, shape: Any, dtype: Any, name: str | None, default_name: str) -> Tensor:
    kind = as_dtype(dtype)
    with name_scope(name, default_name, [shape]) as scope:
        if not isinstance(shape, Tensor):
            dims = _static_shape(shape)
            if dims is not None and math.prod(dims) < SMALL:
                return constant(kind.as_numpy_dtype(value), kind, dims, scope)
            if dims is not None:
                shape = convert_to_tensor(TensorShape(dims), name="shape_as_tensor")
        dims_tensor = convert_to_tensor(shape, None, "shape", preferred_dtype=dtypes.int32)
        if dims_tensor.shape_tuple == ():
            dims_tensor = reshape(dims_tensor, [-1])
        return fill(dims_tensor, constant(kind.as_numpy_dtype(value), kind), scope)


def _static_shape(shape: Any) -> tuple[int, ...] | None:
    """`shape` as ints where it is made of them, None where it holds tensors or is one number, which TF1 makes a tensor of."""
    if isinstance(shape, int | np.integer):
        return None
    try:
        dims = as_dims(shape)
    except (TypeError, ValueError):
        return None
    known = tuple(d for d in dims or () if d is not None)
    return known if dims is not None and len(known) == len(dims) else None


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """An array of zeros (False for bool)."""
    return _uniform(0, shape, dtype, name, "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """An array of ones (True for bool)."""
    return _uniform(1, shape, dtype, name, "ones")


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Zeros of the shape of `tensor`, and of its type or `dtype`."""
    with name_scope(name, "zeros_like", [tensor]) as scope:
        x = as_tensor(tensor, name="tensor")
        kind = x.dtype if dtype is None else as_dtype(dtype)
        if optimize and x.shape_tuple is not None and None not in x.shape_tuple:
            return zeros(x.shape_tuple, kind, scope)
        if kind is x.dtype:
            return declare_one(ZEROS_LIKE, {"x": x}, None, scope)
        return zeros(shape_of(x, optimize), kind, scope)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Ones of the shape of `tensor`, and of its type or `dtype`."""
    with name_scope(name, "ones_like", [tensor]) as scope:
        x = as_tensor(tensor, name="tensor")
        result = ones(shape_of(x, optimize), x.dtype if dtype is None else dtype, scope)
        result.set_shape(x.shape_tuple)
        return result


def shape_of(x: Tensor, optimize: bool = True) -> Tensor:
    """`shape(x)`, computed when the graph runs where `optimize` is False."""
    return shape(x) if optimize else declare_one(SHAPE, {"input": x}, {"out_type": dtypes.int32})


@composite("LinSpace")
def LINSPACE(start: Node, stop: Node, num: Node) -> Node:
    """`num` values from start to stop, evenly apart."""
    count = scalar_value(num)
    if count is None:
        static_dims(num)
    elif count <= 0:
        raise ValueError(f"Requires num > 0: {count}")
    dims = (None if count is None else int(count),)
    steps = p.iota(dims, 0, start.dtype)
    spacing = p.divide(p.subtract(stop, start), p.constant(max((count or 2) - 1, 1), start.dtype))
    return p.add(broadcast_to(start, dims), p.multiply(steps, broadcast_to(spacing, dims)))


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` values from `start` to `stop`, evenly apart."""
    return declare_one(LINSPACE, {"start": start, "stop": stop, "num": num}, None, name, other={"num": INDEX})


@composite("OneHot")
def ONE_HOT(indices: Node, depth: Node, on_value: Node, off_value: Node, *, axis: int = -1) -> Node:
    """on_value at each index along a new `axis` of size `depth`, off_value elsewhere."""
    size = static_dims(depth)
    count = None if size is None else size[0]
    if count is not None and count < 0:
        raise ValueError(f"depth must be non-negative, got: {count}")
    indices = counting(indices)
    rank = len(indices.shape)
    place = rank if axis == -1 else normal_axis(axis, rank + 1)
    dims = (*indices.shape[:place], count, *indices.shape[place:])
    spread = p.broadcast_in_dim(indices, dims, [each for each in range(rank + 1) if each != place])
    hit = p.compare(spread, p.iota(dims, place, indices.dtype), "EQ")
    return p.select(hit, p.broadcast_in_dim(on_value, dims, ()), p.broadcast_in_dim(off_value, dims, ()))


def one_hot(indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None, dtype: Any = None,
            name: str | None = None) -> Tensor:
    """`on_value` (1) at each index along a new `axis` (the last) of size `depth`, `off_value` (0) elsewhere."""
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        kind = None if dtype is None else as_dtype(dtype)
        given = [as_tensor(value, kind if not isinstance(value, Tensor) else None, argument)
                 for value, argument in ((on_value, "on_value"), (off_value, "off_value")) if value is not None]
        if kind is not None and any(value.dtype is not kind for value in given):
            raise TypeError(f"dtype {given[0].dtype.name} of on_value or off_value does not match dtype parameter {kind.name}")
        kind = kind or (given[0].dtype if given else dtypes.float32)
        on = given[0] if on_value is not None else convert_to_tensor(1, kind, "on_value")
        off = given[-1] if off_value is not None else convert_to_tensor(0, kind, "off_value")
        if on.dtype is not off.dtype:
            raise TypeError(f"dtype {on.dtype.name} of on_value does not match dtype {off.dtype.name} of off_value")
        inputs = {"indices": indices, "depth": depth, "on_value": on, "off_value": off}
        return declare_one(ONE_HOT, inputs, {"axis": -1 if axis is None else axis}, scope, other={"indices": None, "depth": INDEX})
