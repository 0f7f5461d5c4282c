"""Pooling and local response normalisation: reductions of windows under TF1's names, layouts and paddings.

Every function ends in one of four operations, whose windows have an entry for each axis; what differs is how a user may say it. Averages
count only the elements that lie inside the operand.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dim
from graphc.ops.array import expand_dims, squeeze
from graphc.ops.declare import as_tensor, declare, declare_one, name_scope
from graphc.primitives.reduce_window import ReduceWindowAttrs, window_attrs
from graphc.primitives.sugar import fill_like

Ints = tuple[int, ...]
LAYOUTS = {"MaxPool": ("NHWC", "NCHW", "NCHW_VECT_C"), "AvgPool": ("NHWC", "NCHW"), "MaxPool3D": ("NDHWC", "NCDHW"),
           "AvgPool3D": ("NDHWC", "NCDHW"), "MaxPoolWithArgmax": ("NHWC",)}
PADDINGS = ("SAME", "VALID")


# Windows ---------------------------------------------------------------------------------------------------------------------------------

def _padding(size: Dim, window: int, stride: int, padding: str) -> tuple[Dim, Dim]:
    """What stands before and after an axis. "SAME": so much that there is a window for every `stride` elements, the odd one after."""
    if padding == "VALID" or (window == 1 and stride == 1):
        return 0, 0
    if size is None:
        return None, None
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _windows(x: Node, combine: str, ksize: Ints, strides: Ints, padding: str, dilations: Ints) -> ReduceWindowAttrs:
    """The windows over `x`; ValueError where they do not fit it."""
    if len(x.shape) != len(ksize):
        raise ValueError(f"Shape must be rank {len(ksize)} but is rank {len(x.shape)}")
    if any(n < 1 for n in strides):
        raise ValueError(f"Stride must be > 0, but got {min(strides)}")
    if any(n < 1 for n in ksize):
        raise ValueError(f"ksize must be > 0, but is {ksize}" if min(ksize) else "ksize cannot be zero.")
    extents = [(k - 1) * d + 1 for k, d in zip(ksize, dilations, strict=True)]
    around = [_padding(size, extent, stride, padding) for size, extent, stride in zip(x.shape, extents, strides, strict=True)]
    for size, extent in zip(x.shape, extents, strict=True):
        if padding == "VALID" and size is not None and size < extent and extent > 1:
            raise ValueError(f"Negative dimension size caused by subtracting {extent} from {size}")
    return window_attrs(x, combine, ksize, strides, dilations, [low for low, _ in around], [high for _, high in around])


def _reduced(x: Node, attrs: ReduceWindowAttrs) -> Node:
    return p.reduce_window(x, attrs.combine, attrs.sizes, attrs.strides, attrs.dilations, attrs.low, attrs.high)


def _greatest(input: Node, ksize: Ints, strides: Ints, padding: str, dilations: Ints) -> Node:
    if input.dtype.is_bool or input.dtype in (dtypes.uint32, dtypes.uint64):
        raise TypeError(f"max pooling takes numbers, but not {input.dtype.name}")
    return _reduced(input, _windows(input, "maximum", ksize, strides, padding, dilations or (1,) * len(ksize)))


def _average(value: Node, ksize: Ints, strides: Ints, padding: str, dilations: Ints) -> Node:
    if not value.dtype.is_floating:
        raise TypeError(f"average pooling takes floating numbers, not {value.dtype.name}")
    attrs = _windows(value, "add", ksize, strides, padding, dilations or (1,) * len(ksize))
    wide = dtypes.float32 if value.dtype.size == 2 else value.dtype
    total = _reduced(p.convert(value, wide), attrs)
    return p.convert(p.divide(total, _counts(value, attrs, total)), value.dtype)


def _counts(x: Node, attrs: ReduceWindowAttrs, total: Node) -> Node:
    """How many elements of `x` each window of `attrs` holds, beside each of `total`: a product of one factor for each axis."""
    if not x.type.is_static:
        return fill_like(total, 1)
    common, result = 1, None
    for axis, (size, stride, dilation, _, low, _) in enumerate(attrs.rows):
        places = np.add.outer(np.arange(total.dims[axis]) * stride - (low or 0), np.arange(size) * dilation)
        inside = np.sum((places >= 0) & (places < x.dims[axis]), 1)
        if len(set(inside.tolist())) <= 1:
            common *= int(inside[0]) if len(inside) else 1
            continue
        factor = p.broadcast_in_dim(p.constant(inside, total.dtype), total.dims, (axis,))
        result = factor if result is None else p.multiply(result, factor)
    same = fill_like(total, common)
    return same if result is None else p.multiply(result, same)


@composite("MaxPool")
def MAX_POOL(input: Node, *, ksize: Ints, strides: Ints, padding: str, data_format: str = "NHWC", dilations: Ints = ()) -> Node:
    """The greatest element of each window; its gradient goes to the first of them."""
    return _greatest(input, ksize, strides, padding, dilations)


@composite("AvgPool")
def AVG_POOL(value: Node, *, ksize: Ints, strides: Ints, padding: str, data_format: str = "NHWC", dilations: Ints = ()) -> Node:
    """The mean of each window's elements, those that there are."""
    return _average(value, ksize, strides, padding, dilations)


@composite("MaxPool3D")
def MAX_POOL_3D(input: Node, *, ksize: Ints, strides: Ints, padding: str, data_format: str = "NDHWC", dilations: Ints = ()) -> Node:
    """The greatest element of each window; its gradient goes to the first of them."""
    return _greatest(input, ksize, strides, padding, dilations)


@composite("AvgPool3D")
def AVG_POOL_3D(input: Node, *, ksize: Ints, strides: Ints, padding: str, data_format: str = "NDHWC", dilations: Ints = ()) -> Node:
    """The mean of each window's elements, those that there are."""
    return _average(input, ksize, strides, padding, dilations)


@composite("MaxPoolWithArgmax")
def MAX_POOL_WITH_ARGMAX(input: Node, *, ksize: Ints, strides: Ints, padding: str, Targmax: DType = dtypes.int64,
                         include_batch_in_index: bool = False) -> Sequence[Node]:
    """The greatest element of each window, and where the first of them stands in the flattened picture (or batch)."""
    attrs = _windows(input, "maximum", ksize, strides, padding, (1,) * len(ksize))
    shape = input.shape
    place = p.iota(shape, 0, Targmax) if include_batch_in_index else p.full(0, input.type.with_dtype(Targmax))
    for axis in (1, 2, 3):
        place = p.add(p.multiply(place, _number(place, shape[axis])), p.iota(shape, axis, Targmax))
    return _reduced(input, attrs), p.select_and_gather(input, place, attrs)


def _number(like: Node, value: Dim) -> Node:
    return fill_like(like, 1 if value is None else value)


# How users say it ------------------------------------------------------------------------------------------------------------------------

def _full(value: Any, argument: str, spatial: int, channels_first: bool) -> Ints:
    """`value`, one number, one for each spatial axis or one for each axis, as one for each axis; ValueError for any other length."""
    given = [int(n) for n in value] if isinstance(value, list | tuple | np.ndarray) else [int(value)]
    if len(given) == spatial + 2:
        return tuple(given)
    if len(given) not in (1, spatial):
        raise ValueError(f"{argument} should be of length 1, {spatial} or {spatial + 2} but was {len(given)}")
    inner = given * spatial if len(given) == 1 else given
    return (1, 1, *inner) if channels_first else (1, *inner, 1)


def _checked(type_name: str, padding: Any, data_format: str) -> None:
    if not isinstance(padding, str):
        raise TypeError(f"Expected string for argument 'padding' not {padding!r}.")
    for argument, value, known in (("data_format", data_format, LAYOUTS[type_name]), ("padding", padding, PADDINGS)):
        if value not in known:
            shown = ", ".join(f'"{each}"' for each in known)
            raise ValueError(f"Attr '{argument}' of '{type_name}' Op passed string '{value}' not in: {shown}.")


def _pooled(definition: OpDef, value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None, name: str | None,
            default: str, dilations: Ints = ()) -> Tensor:
    """Declares the pooling `definition` of `value`, its windows said in any of the ways that TF1 takes."""
    spatial = 3 if definition.type.endswith("3D") else 2
    layout = LAYOUTS[definition.type][0] if data_format is None else data_format
    first = layout.startswith("NC")
    windows = {"ksize": _full(ksize, "ksize", spatial, first), "strides": _full(strides, "strides", spatial, first)}
    _checked(definition.type, padding, layout)
    with name_scope(name, default, [value]) as scope:
        x = as_tensor(value, name="input")
        attrs = {**windows, "padding": padding, "data_format": layout, "dilations": dilations}
        argument = "value" if definition is AVG_POOL else "input"
        return declare_one(definition, {argument: x}, attrs, scope)


def _only(value: Any, input: Any) -> Any:
    """The operand under its old or its new name; ValueError where both are given."""
    if value is not None and input is not None:
        raise ValueError("Cannot specify both 'value' and 'input'")
    return input if value is None else value


def max_pool(value: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NHWC", name: str | None = None,
             input: Any = None) -> Tensor:
    """The greatest element of each window of [batch, height, width, channels] ("NHWC") or [batch, channels, height, width] ("NCHW").

    ksize and strides: one number, two for the spatial axes, or four. padding: "SAME", ceil(size / stride) windows along an axis, or
    "VALID", those that lie inside. ValueError for other lengths and ranks, and for windows larger than the operand.
    """
    return _pooled(MAX_POOL, _only(value, input), ksize, strides, padding, data_format, name, "MaxPool")


def avg_pool(value: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NHWC", name: str | None = None,
             input: Any = None) -> Tensor:
    """The mean of each window, of its elements that lie inside: see `max_pool`."""
    return _pooled(AVG_POOL, _only(value, input), ksize, strides, padding, data_format, name, "AvgPool")


def max_pool2d(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NHWC", name: str | None = None) -> Tensor:
    """The greatest element of each window: see `max_pool`."""
    return _pooled(MAX_POOL, input, ksize, strides, padding, data_format, name, "MaxPool2d")


def max_pool3d(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NDHWC", name: str | None = None) -> Tensor:
    """The greatest element of each window of [batch, depth, height, width, channels] ("NDHWC") or "NCDHW": see `max_pool`."""
    return _pooled(MAX_POOL_3D, input, ksize, strides, padding, data_format, name, "MaxPool3D")


def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NDHWC", name: str | None = None) -> Tensor:
    """The mean of each window of [batch, depth, height, width, channels] ("NDHWC") or "NCDHW": see `max_pool`."""
    return _pooled(AVG_POOL_3D, input, ksize, strides, padding, data_format, name, "AvgPool3D")


def max_pool1d(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NWC", name: str | None = None) -> Tensor:
    """The greatest element of each window of [batch, width, channels] ("NWC") or "NCW": see `max_pool`."""
    return _pooled_1d(MAX_POOL, input, ksize, strides, padding, data_format, name, "MaxPool1d")


def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = "NWC", name: str | None = None) -> Tensor:
    """The mean of each window of [batch, width, channels] ("NWC") or "NCW": see `max_pool`."""
    return _pooled_1d(AVG_POOL, input, ksize, strides, padding, data_format, name, "AvgPool1D")


def _pooled_1d(definition: OpDef, value: Any, ksize: Any, strides: Any, padding: str, data_format: str | None, name: str | None,
               default: str, dilation: int = 1) -> Tensor:
    """As pictures one pixel high."""
    layout = data_format or "NWC"
    if layout not in ("NWC", "NCW"):
        raise ValueError(f"data_format must be 'NWC' or 'NCW', got {layout!r}")
    axis = 2 if layout == "NCW" else 1
    with name_scope(name, default, [value]):
        x = as_tensor(value, name="input")
        if x.rank not in (None, 3):
            raise ValueError(f"Shape must be rank 3 but is rank {x.rank}")
        windows, steps = ([*full[:axis], 1, *full[axis:]] for full in (
            _full(ksize, "ksize", 1, axis == 2), _full(strides, "strides", 1, axis == 2)))
        dilations = tuple(dilation if each == axis + 1 else 1 for each in range(4)) if dilation > 1 else ()
        flat = expand_dims(x, axis)
        pooled = _pooled(definition, flat, windows, steps, padding, "NCHW" if axis == 2 else "NHWC", None, definition.type, dilations)
        return squeeze(pooled, [axis])


def max_pool_v2(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = None, name: str | None = None) -> Tensor:
    """The greatest element of each window over one, two or three spatial axes, by the rank of `input`: see `max_pool`."""
    return _by_rank((max_pool1d, max_pool, max_pool3d), input, ksize, strides, padding, data_format, name)


def avg_pool_v2(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = None, name: str | None = None) -> Tensor:
    """The mean of each window over one, two or three spatial axes, by the rank of `input`: see `max_pool`."""
    return _by_rank((avg_pool1d, avg_pool, avg_pool3d), input, ksize, strides, padding, data_format, name)


def _by_rank(functions: Sequence[Any], input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None,
             name: str | None) -> Tensor:
    x = as_tensor(input, name="input")
    rank = x.rank if x.rank is not None else len(data_format) if data_format is not None else None
    if rank is None:
        raise ValueError("The input must have a rank or a data format must be given.")
    if not 3 <= rank <= 5:
        raise ValueError(f"Input tensor must be of rank 3, 4 or 5 but was {rank}.")
    result: Tensor = functions[rank - 3](x, ksize, strides, padding, data_format=data_format, name=name)
    return result


def pool(input: Any, window_shape: Sequence[int], pooling_type: str, padding: str, dilation_rate: Sequence[int] | None = None,
         strides: Sequence[int] | None = None, name: str | None = None, data_format: str | None = None,
         dilations: Sequence[int] | None = None) -> Tensor:
    """"MAX" or "AVG" pooling over as many spatial axes (1, 2 or 3) as `window_shape` has entries.

    dilation_rate (or dilations): steps between the elements of a window, with "VALID" padding and strides of 1 only. ValueError for another
    type, rank, or such a combination.
    """
    count = len(window_shape)
    steps = [int(n) for n in strides] if strides is not None else [1] * count
    given = dilation_rate if dilations is None else dilations
    rates = [int(n) for n in given] if given is not None else [1] * count
    definitions = {("MAX", 1): MAX_POOL, ("MAX", 2): MAX_POOL, ("MAX", 3): MAX_POOL_3D, ("AVG", 1): AVG_POOL, ("AVG", 2): AVG_POOL,
                   ("AVG", 3): AVG_POOL_3D}
    if (pooling_type, count) not in definitions:
        raise ValueError(f"{count}-D {pooling_type} pooling is not supported.")
    if len(steps) != count or len(rates) != count:
        raise ValueError(f"strides {steps} and dilation_rate {rates} must have one entry for each of the {count} spatial axes")
    if max(rates) > 1 and max(steps) > 1:
        raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
    if max(rates) > 1 and padding == "SAME":
        raise ValueError("pooling with SAME padding is not implemented for dilation_rate > 1")
    x = as_tensor(input, name="input")
    if x.rank not in (None, count + 2):
        raise ValueError(f"Shape {x.shape} must have rank {count + 2}")
    definition, scope = definitions[pooling_type, count], f"{pooling_type.lower()}_pool"
    if count == 1:
        return _pooled_1d(definition, x, list(window_shape), steps, padding, data_format, name, scope, rates[0])
    full = _full(rates, "dilation_rate", count, bool(data_format) and str(data_format).startswith("NC")) if max(rates) > 1 else ()
    return _pooled(definition, x, list(window_shape), steps, padding, data_format, name, scope, full)


def max_pool_with_argmax(input: Any, ksize: Sequence[int], strides: Sequence[int], padding: str, data_format: str = "NHWC",
                         Targmax: Any = None, name: str | None = None, output_dtype: Any = None,
                         include_batch_in_index: bool = False) -> tuple[Tensor, Tensor]:
    """The greatest element of each window of [batch, height, width, channels], and the position of the first of them: (y width + x)
    channels + c, or with `include_batch_in_index` ((b height + y) width + x) channels + c, of type `Targmax` (int64)."""
    if data_format != "NHWC":
        raise ValueError("Data formats other than 'NHWC' are not yet supported")
    for argument, value in (("ksize", ksize), ("strides", strides)):
        if not isinstance(value, list | tuple):
            raise TypeError(f"Expected list for '{argument}' argument to 'max_pool_with_argmax' Op, not {value!r}.")
    _checked("MaxPoolWithArgmax", padding, data_format)
    kind = as_dtype(output_dtype or Targmax or dtypes.int64)
    if kind not in (dtypes.int32, dtypes.int64):
        raise TypeError(f"Targmax must be int32 or int64, not {kind.name}")
    attrs = {"ksize": tuple(map(int, ksize)), "strides": tuple(map(int, strides)), "padding": padding, "Targmax": kind,
             "include_batch_in_index": bool(include_batch_in_index)}
    greatest, place = declare(MAX_POOL_WITH_ARGMAX, {"input": input}, attrs, name).outputs
    return greatest, place


# Local response normalisation ------------------------------------------------------------------------------------------------------------

@composite("LRN")
def LRN(input: Node, *, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5) -> Node:
    """Each element divided by (bias + alpha times the sum of squares of the channels around it) ^ beta; 16-bit floats in float32."""
    rank = len(input.shape)
    if rank != 4:
        raise ValueError(f"Shape must be rank 4 but is rank {rank}")
    if not input.dtype.is_floating:
        raise TypeError(f"LRN takes floating numbers, not {input.dtype.name}")
    x = p.convert(input, dtypes.float32) if input.dtype.size == 2 else input
    radius = (0,) * (rank - 1) + (depth_radius,)
    sizes = tuple(2 * n + 1 for n in radius)
    squares = p.reduce_window(p.multiply(x, x), "add", sizes, low=radius, high=radius)
    scale = p.add(p.multiply(squares, fill_like(x, alpha)), fill_like(x, bias))
    return p.convert(p.multiply(x, _inverse_power(scale, beta)), input.dtype)


def _inverse_power(x: Node, exponent: float) -> Node:
    """x ^ -exponent: by square roots for multiples of a quarter, as papers use them."""
    quarters = exponent * 4
    if not (quarters.is_integer() and 0 < quarters <= 4):
        return p.power(x, fill_like(x, -exponent))
    half = p.rsqrt(x)
    return {1: p.sqrt(half), 2: half, 3: p.multiply(half, p.sqrt(half)), 4: p.multiply(half, half)}[int(quarters)]


def local_response_normalization(input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5,
                                 name: str | None = None) -> Tensor:
    """input / (bias + alpha sum(squares of the 2 depth_radius + 1 channels around it)) ^ beta for [batch, height, width, channels].

    A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks", 2012, section 3.3.
    """
    attrs = {"depth_radius": int(depth_radius), "bias": float(bias), "alpha": float(alpha), "beta": float(beta)}
    return declare_one(LRN, {"input": input}, attrs, name)


lrn = local_response_normalization
