"""TF1's convolutions: composites over the primitive `convolution`, which has channels last, and the public functions that declare them.

A layout of TF1's ("NCHW") is a transpose before and one after. SAME, VALID and explicit padding become numbers here, where sizes are known.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphc.primitives as p
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, Dims, show_dims
from graphc.ops.array import expand_dims, squeeze
from graphc.ops.convolution_arguments import (
    FORMATS,
    alternative,
    attributes,
    checked_list,
    data_format_2d,
    explicit_padding,
    floating,
    per_axis,
    spatial_axes,
    spatial_rank,
)
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.joining import concat

Ints = tuple[int, ...]

# Composites ---------------------------------------------------------------------------------------------------------------------------

def channels_last(x: Node, data_format: str) -> Node:
    """`x` with its channels moved from the second axis to the last, where `data_format` has them there."""
    rank = len(x.shape)
    return p.transpose(x, (0, *range(2, rank), 1)) if data_format.startswith("NC") else x


def channels_back(x: Node, data_format: str) -> Node:
    """Undoes `channels_last`."""
    rank = len(x.shape)
    return p.transpose(x, (0, rank - 1, *range(1, rank - 1))) if data_format.startswith("NC") else x


def padded_by(padding: str, sizes: Dims, taps: Dims, strides: Ints, dilations: Ints, explicit: Ints = ()) -> tuple[Dims, Dims]:
    """The padding before and after each spatial axis: for SAME as many positions as ceil(size / stride), an odd element after; for EXPLICIT
    the pairs in `explicit`. ValueError where no window fits."""
    low: list[Dim] = []
    high: list[Dim] = []
    for n, (size, k, stride, dilation) in enumerate(zip(sizes, taps, strides, dilations, strict=True)):
        before: Dim
        after: Dim
        before, after = explicit[2 * n:2 * n + 2] or (0, 0)
        extent = None if k is None else (k - 1) * dilation + 1
        if padding == "SAME":
            total = None if size is None or extent is None else max((-(-size // stride) - 1) * stride + extent - size, 0)
            before, after = (None, None) if total is None else (total // 2, total - total // 2)
        elif size is not None and extent is not None and size + (before or 0) + (after or 0) < extent:
            raise ValueError(f"Negative dimension size caused by subtracting {extent} from {size + (before or 0) + (after or 0)}")
        low.append(before)
        high.append(after)
    return tuple(low), tuple(high)


def ranked(node: Node, rank: int) -> Node:
    if len(node.shape) != rank:
        raise ValueError(f"Shape must be rank {rank} but is rank {len(node.shape)}")
    return node


def _groups(channels: Dim, inner: Dim, outer: Dim) -> int:
    """Into how many groups the channels fall: as many as the filter's depth fits into them."""
    if channels is None or not inner:
        return 1
    if channels % inner:
        raise ValueError(f"Depth of input ({channels}) is not a multiple of input depth of filter ({inner})")
    groups = channels // inner or 1
    if outer is not None and outer % groups:
        raise ValueError(f"Depth of output ({outer}) is not a multiple of the number of groups ({groups})")
    return groups


def _geometry(sizes: Dims, taps: Dims, strides: Ints, padding: str, dilations: Ints, explicit: Ints, data_format: str) -> dict[str, Any]:
    """The attributes of the primitive for TF1's, which have entries for batch and channels too."""
    axes = spatial_axes(data_format)
    steps, apart = tuple(strides[axis] for axis in axes), tuple(dilations[axis] for axis in axes)
    pairs = tuple(explicit[2 * axis + side] for axis in axes for side in (0, 1)) if explicit else ()
    low, high = padded_by(padding, sizes, taps, steps, apart, pairs)
    return {"strides": steps, "rhs_dilation": apart, "low": low, "high": high}


def _with_known_taps(w: Node, padding: str) -> Node:
    """`w` with sizes of 1 for unknown ones where padding is SAME: the positions do not depend on them."""
    if padding != "SAME" or None not in w.shape[:-2]:
        return w
    return p.reshape(w, (*(size or 1 for size in w.shape[:-2]), *w.shape[-2:]))


def forward(x: Node, w: Node, strides: Ints, padding: str, dilations: Ints, explicit: Ints, data_format: str) -> Node:
    """Any number of spatial axes: all of TF1's forward convolutions."""
    rank = len(strides)
    x, w = channels_last(ranked(x, rank), data_format), _with_known_taps(ranked(w, rank), padding)
    groups = _groups(x.shape[-1], w.shape[-2], w.shape[-1])
    geometry = _geometry(x.shape[1:-1], w.shape[:-2], strides, padding, dilations, explicit, data_format)
    return channels_back(p.convolution(x, w, feature_group_count=groups, **geometry), data_format)


def by_input(sizes: Node, w: Node, y: Node, strides: Ints, padding: str, dilations: Ints, explicit: Ints, data_format: str) -> Node:
    """The gradient by the input, of the shape that the integers `sizes` spell."""
    rank = len(strides)
    declared = spelled(sizes, rank)
    w, y = ranked(w, rank), channels_last(ranked(y, rank), data_format)
    dims = declared if not data_format.startswith("NC") else (declared[0], *declared[2:], declared[1])
    if None not in (dims[0], y.shape[0]) and dims[0] != y.shape[0]:
        raise ValueError(f"input and out_backprop must have the same batch size: {dims[0]} and {y.shape[0]}")
    groups = _groups(dims[-1], w.shape[-2], w.shape[-1])
    geometry = _geometry(dims[1:-1], w.shape[:-2], strides, padding, dilations, explicit, data_format)
    _check_given(dims[1:-1], w, y, geometry)
    result = channels_back(p.convolution_back(y, w, dims[1:-1], feature_group_count=groups, **geometry), data_format)
    return _of_shape(result, declared)


def _of_shape(result: Node, declared: Dims) -> Node:
    """`result`, its dims known where either it or `declared` knows them."""
    dims = tuple(own if own is not None else said for own, said in zip(result.shape, declared, strict=True))
    return result if dims == result.shape else p.reshape(result, dims)


def by_filter(x: Node, dims: Dims, y: Node, strides: Ints, padding: str, dilations: Ints, explicit: Ints, data_format: str) -> Node:
    """The gradient by the filter of shape `dims`."""
    rank = len(strides)
    x, y = channels_last(ranked(x, rank), data_format), channels_last(ranked(y, rank), data_format)
    groups = _groups(x.shape[-1], dims[-2], dims[-1])
    geometry = _geometry(x.shape[1:-1], dims[:-2], strides, padding, dilations, explicit, data_format)
    if None not in (dims[-1], y.shape[-1]) and dims[-1] != y.shape[-1]:
        raise ValueError(f"filter and out_backprop must have the same out_depth: {dims[-1]} and {y.shape[-1]}")
    result = p.convolution_filter(x, y, dims[:-2], feature_group_count=groups, **geometry)
    return _of_shape(result, dims)


def spelled(sizes: Node, rank: int) -> Dims:
    """The dims that the vector `sizes` holds, unknown ones where its values are."""
    if len(sizes.shape) != 1:
        raise ValueError(f"Shape must be rank 1 but is rank {len(sizes.shape)}")
    dims = static_dims(sizes)
    if dims is not None and len(dims) != rank:
        raise ValueError(f"Shape must be rank {rank} but is rank {len(dims)}")
    if dims is not None and any(dim is not None and dim < 0 for dim in dims):
        raise ValueError(f"sizes {show_dims(dims)} must not be negative")
    return (None,) * rank if dims is None else dims


def _check_given(sizes: Dims, w: Node, y: Node, geometry: dict[str, Any]) -> None:
    """ValueError unless an input of `sizes` gives a result of the sizes of `y`."""
    names = ("strides", "rhs_dilation", "low", "high")
    rows = zip(sizes, w.shape, y.shape[1:], *(geometry[name] for name in names), strict=False)
    for axis, (size, taps, count, stride, dilation, low, high) in enumerate(rows, 1):
        if None in (size, taps, count, low, high):
            continue
        computed = (size + low + high - ((taps - 1) * dilation + 1)) // stride + 1
        if computed != count:
            raise ValueError(f"Size of out_backprop doesn't match computed: actual = {count}, computed = {computed}, spatial_dim: {axis} "
                             f"input: {size} filter: {taps} output: {count} stride: {stride} dilation: {dilation}")


@composite("Conv2D")
def CONV_2D(input: Node, filter: Node, *, strides: Ints, padding: str, explicit_paddings: Ints = (), data_format: str = "NHWC",
            dilations: Ints = (1, 1, 1, 1)) -> Node:
    """Images with filters [height, width, channels, outer channels]."""
    return forward(input, filter, strides, padding, dilations, explicit_paddings, data_format)


@composite("Conv2DBackpropInput")
def CONV_2D_BACKPROP_INPUT(input_sizes: Node, filter: Node, out_backprop: Node, *, strides: Ints, padding: str,
                           explicit_paddings: Ints = (), data_format: str = "NHWC", dilations: Ints = (1, 1, 1, 1)) -> Node:
    """The gradient of Conv2D by its input: also a transposed convolution."""
    return by_input(input_sizes, filter, out_backprop, strides, padding, dilations, explicit_paddings, data_format)


@composite("Conv2DBackpropFilter")
def CONV_2D_BACKPROP_FILTER(input: Node, filter_sizes: Node, out_backprop: Node, *, strides: Ints, padding: str,
                            explicit_paddings: Ints = (), data_format: str = "NHWC", dilations: Ints = (1, 1, 1, 1)) -> Node:
    """The gradient of Conv2D by its filter."""
    return by_filter(input, spelled(filter_sizes, len(strides)), out_backprop, strides, padding, dilations, explicit_paddings, data_format)


@composite("Conv3D")
def CONV_3D(input: Node, filter: Node, *, strides: Ints, padding: str, data_format: str = "NDHWC",
            dilations: Ints = (1, 1, 1, 1, 1)) -> Node:
    """Volumes with filters [depth, height, width, channels, outer channels]."""
    return forward(input, filter, strides, padding, dilations, (), data_format)


@composite("Conv3DBackpropInputV2")
def CONV_3D_BACKPROP_INPUT(input_sizes: Node, filter: Node, out_backprop: Node, *, strides: Ints, padding: str,
                           data_format: str = "NDHWC", dilations: Ints = (1, 1, 1, 1, 1)) -> Node:
    """The gradient of Conv3D by its input: also a transposed convolution."""
    return by_input(input_sizes, filter, out_backprop, strides, padding, dilations, (), data_format)


@composite("Conv3DBackpropFilterV2")
def CONV_3D_BACKPROP_FILTER(input: Node, filter_sizes: Node, out_backprop: Node, *, strides: Ints, padding: str,
                            data_format: str = "NDHWC", dilations: Ints = (1, 1, 1, 1, 1)) -> Node:
    """The gradient of Conv3D by its filter."""
    return by_filter(input, spelled(filter_sizes, len(strides)), out_backprop, strides, padding, dilations, (), data_format)


# Functions ----------------------------------------------------------------------------------------------------------------------------

def conv2d(input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True,
           data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None, filters: Any = None) -> Tensor:
    """`input` [batch, height, width, channels] with `filter` [height, width, channels, outer channels].

    padding: "SAME", "VALID", or for each of the four axes the elements before and after. strides and dilations: one for both spatial axes,
    two, or four in the order of `data_format`. Where the filter has fewer channels than the input, those fall into groups.
    """
    word, pairs = explicit_padding(padding, data_format or "NHWC")
    attrs = attributes("Conv2D", per_axis(strides, 2, data_format, "strides"), word, data_format or "NHWC",
                       per_axis(dilations, 2, data_format, "dilations"), pairs)
    return _declared(CONV_2D, {"input": input, "filter": alternative("filter", filter, "filters", filters)}, attrs, name)


def conv3d(input: Any, filter: Any = None, strides: Any = None, padding: Any = None, data_format: str = "NDHWC",
           dilations: Any = (1, 1, 1, 1, 1), name: str | None = None, filters: Any = None) -> Tensor:
    """`input` [batch, depth, height, width, channels] with `filter` [depth, height, width, channels, outer channels].

    strides and dilations have five entries, in the order of `data_format`.
    """
    attrs = attributes("Conv3D", checked_list("conv3d", "strides", strides, 5), padding, data_format or "NDHWC",
                       checked_list("conv3d", "dilations", dilations, 5))
    return _declared(CONV_3D, {"input": input, "filter": alternative("filter", filter, "filters", filters)}, attrs, name)


def conv1d(value: Any = None, filters: Any = None, stride: Any = None, padding: Any = None, use_cudnn_on_gpu: bool | None = None,
           data_format: str | None = None, name: str | None = None, input: Any = None, dilations: Any = None) -> Tensor:
    """`value` [batch, width, channels] ("NWC") or [batch, channels, width] ("NCW") with `filters` [width, channels, outer channels]."""
    value = alternative("value", value, "input", input)
    with name_scope(name, "conv1d", [value, filters]) as scope:
        layout, axis = data_format_2d(data_format)
        line = expand_dims(value, axis)
        attrs = attributes("Conv2D", _one_row(stride, layout, "stride"), padding, layout, _one_row(dilations, layout, "dilations"))
        result = _declared(CONV_2D, {"input": line, "filter": expand_dims(filters, 0)}, attrs, scope)
        return squeeze(result, [axis])


def _one_row(value: Any, layout: str, what: str) -> Ints:
    """A stride or dilation along a line, as that of images of one row."""
    across = per_axis(value, 1, "NWC" if layout == "NHWC" else "NCW", what)
    axis = 1 if layout == "NHWC" else 2
    return (*across[:axis], 1, *across[axis:])


def convolution(input: Any, filter: Any = None, padding: Any = None, strides: Any = None, dilation_rate: Any = None,
                name: str | None = None, data_format: str | None = None, filters: Any = None, dilations: Any = None) -> Tensor:
    """A convolution over one, two or three spatial axes: as many as `input` has besides batch and channels.

    strides, dilation_rate (also called dilations): an entry for each spatial axis, or one for all; only one of them may be above 1.
    """
    filter = alternative("filter", filter, "filters", filters)
    rates = alternative("dilation_rate", dilation_rate, "dilations", dilations)
    with name_scope(name, "convolution", [input, filter]) as scope:
        x = as_tensor(input, name="input")
        w = as_tensor(filter, x.dtype if not isinstance(filter, Tensor) else None, "filter")
        rank = spatial_rank(x, w)
        layout = data_format or FORMATS[rank][0]
        steps, apart = per_axis(strides, rank, layout, "strides"), per_axis(rates, rank, layout, "dilations")
        if max(steps) > 1 and max(apart) > 1:
            raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
        if rank == 1:
            spatial = spatial_axes(layout)[0]
            return conv1d(x, w, steps[spatial], padding, data_format=layout, name=scope, dilations=apart[spatial])
        definition = CONV_2D if rank == 2 else CONV_3D
        attrs = attributes(definition.type, steps, padding, layout, apart)
        return _declared(definition, {"input": x, "filter": w}, attrs, scope)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str, name: str | None = None) -> Tensor:
    """`value` [batch, height, width, channels] with `filters` whose taps stand `rate` apart."""
    return convolution(value, filters, padding, dilation_rate=[rate, rate], name=name)


# Transposed ---------------------------------------------------------------------------------------------------------------------------

def conv2d_transpose(value: Any = None, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: str = "SAME",
                     data_format: str = "NHWC", name: str | None = None, input: Any = None, filters: Any = None,
                     dilations: Any = None) -> Tensor:
    """The gradient of `conv2d` by its input, of `output_shape`, as an operation of its own.

    value: [batch, height, width, channels]; filter: [height, width, outer channels, channels].
    """
    value, filter = alternative("value", value, "input", input), alternative("filter", filter, "filters", filters)
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        layout = data_format or "NHWC"
        attrs = attributes("Conv2DBackpropInput", per_axis(strides, 2, layout, "strides"), padding, layout,
                           per_axis(dilations, 2, layout, "dilations"))
        return _backprop_input(CONV_2D_BACKPROP_INPUT, output_shape, filter, value, attrs, scope)


def conv3d_transpose(value: Any, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: str = "SAME",
                     data_format: str = "NDHWC", name: str | None = None, input: Any = None, filters: Any = None,
                     dilations: Any = None) -> Tensor:
    """The gradient of `conv3d` by its input, of `output_shape`, as an operation of its own.

    value: [batch, depth, height, width, channels]; filter: [depth, height, width, outer channels, channels].
    """
    value, filter = alternative("value", value, "input", input), alternative("filter", filter, "filters", filters)
    with name_scope(name, "conv3d_transpose", [value, filter, output_shape]) as scope:
        layout = data_format or "NDHWC"
        attrs = attributes("Conv3DBackpropInputV2", per_axis(strides, 3, layout, "strides"), padding, layout,
                           per_axis(dilations, 3, layout, "dilations"))
        return _backprop_input(CONV_3D_BACKPROP_INPUT, output_shape, filter, value, attrs, scope)


def conv1d_transpose(input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME", data_format: str | None = "NWC",
                     dilations: Any = None, name: str | None = None) -> Tensor:
    """The gradient of `conv1d` by its value, of `output_shape`. filters: [width, outer channels, channels]."""
    with name_scope(name, "conv1d_transpose", [input, filters, output_shape]) as scope:
        layout, axis = data_format_2d(data_format)
        steps, apart = _one_row(strides, layout, "strides"), _one_row(dilations, layout, "dilations")
        line, across = expand_dims(input, axis), expand_dims(filters, 0)
        shape = as_tensor(output_shape, name="output_shape")
        whole = concat([shape[:axis], [1], shape[axis:]], 0)
        attrs = attributes("Conv2DBackpropInput", steps, padding, layout, apart)
        return squeeze(_backprop_input(CONV_2D_BACKPROP_INPUT, whole, across, line, attrs, scope), [axis])


def conv_transpose(input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME", data_format: str | None = None,
                   dilations: Any = None, name: str | None = None) -> Tensor:
    """`conv1d_transpose`, `conv2d_transpose` or `conv3d_transpose`, by the number of entries of `output_shape`."""
    with name_scope(name, "conv_transpose", [input, filters, output_shape]) as scope:
        count = output_shape.shape_tuple[0] if isinstance(output_shape, Tensor) and output_shape.shape_tuple else len(output_shape)
        if count == 3:
            return conv1d_transpose(input, filters, output_shape, strides, padding, data_format or "NWC", dilations, scope)
        if count == 4:
            return conv2d_transpose(input, filters, output_shape, strides, padding, data_format or "NHWC", scope, dilations=dilations)
        if count == 5:
            return conv3d_transpose(input, filters, output_shape, strides, padding, data_format or "NDHWC", scope, dilations=dilations)
        raise ValueError(f"output_shape must have length 3, 4 or 5, but has {count}")


def atrous_conv2d_transpose(value: Any, filters: Any, output_shape: Any, rate: int, padding: str, name: str | None = None) -> Tensor:
    """The gradient of `atrous_conv2d` by its value, of `output_shape`. filters: [height, width, outer channels, channels]."""
    if rate < 1:
        raise ValueError(f"rate {rate} cannot be less than one")
    return conv2d_transpose(value, filters, output_shape, 1, padding, name=name or "atrous_conv2d_transpose", dilations=rate)


# Gradients as operations --------------------------------------------------------------------------------------------------------------

def conv2d_backprop_input(input_sizes: Any, filter: Any = None, out_backprop: Any = None, strides: Any = None, padding: Any = None,
                          use_cudnn_on_gpu: bool = True, data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1),
                          name: str | None = None, filters: Any = None) -> Tensor:
    """The gradient of `conv2d` by its input of shape `input_sizes`."""
    word, pairs = explicit_padding(padding, data_format)
    attrs = attributes("Conv2DBackpropInput", checked_list("conv2d_backprop_input", "strides", strides, 4), word, data_format,
                       checked_list("conv2d_backprop_input", "dilations", dilations, 4), pairs)
    filter = alternative("filter", filter, "filters", filters)
    return _backprop_input(CONV_2D_BACKPROP_INPUT, input_sizes, filter, out_backprop, attrs, name)


def conv2d_backprop_filter(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any, padding: Any,
                           use_cudnn_on_gpu: bool = True, data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1),
                           name: str | None = None) -> Tensor:
    """The gradient of `conv2d` by its filter of shape `filter_sizes`."""
    word, pairs = explicit_padding(padding, data_format)
    attrs = attributes("Conv2DBackpropFilter", checked_list("conv2d_backprop_filter", "strides", strides, 4), word, data_format,
                       checked_list("conv2d_backprop_filter", "dilations", dilations, 4), pairs)
    return _backprop_filter(CONV_2D_BACKPROP_FILTER, input, filter_sizes, out_backprop, attrs, name)


def conv3d_backprop_filter_v2(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any, padding: str, data_format: str = "NDHWC",
                              dilations: Any = (1, 1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of `conv3d` by its filter of shape `filter_sizes`."""
    attrs = attributes("Conv3DBackpropFilterV2", checked_list("conv3d_backprop_filter_v2", "strides", strides, 5), padding, data_format,
                       checked_list("conv3d_backprop_filter_v2", "dilations", dilations, 5))
    return _backprop_filter(CONV_3D_BACKPROP_FILTER, input, filter_sizes, out_backprop, attrs, name)


conv3d_backprop_filter = conv3d_backprop_filter_v2


def _declared(definition: OpDef, inputs: Mapping[str, Any], attrs: Mapping[str, Any], name: str | None) -> Tensor:
    """Declares a convolution of floats; what is no tensor is converted to the type of the others."""
    floating(next(iter(inputs.values())), next(iter(inputs)))
    return declare_one(definition, inputs, attrs, name)


def _backprop_input(definition: OpDef, sizes: Any, filter: Any, given: Any, attrs: Mapping[str, Any], name: str | None) -> Tensor:
    floating(given, "out_backprop")
    inputs = {"input_sizes": sizes, "filter": filter, "out_backprop": given}
    return declare_one(definition, inputs, attrs, name, other={"input_sizes": INDEX})


def _backprop_filter(definition: OpDef, input: Any, sizes: Any, given: Any, attrs: Mapping[str, Any], name: str | None) -> Tensor:
    floating(input, "input")
    inputs = {"input": input, "filter_sizes": sizes, "out_backprop": given}
    return declare_one(definition, inputs, attrs, name, other={"filter_sizes": INDEX})
