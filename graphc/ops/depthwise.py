"""TF1's depthwise and separable convolutions: each channel with filters of its own, then a mix of channels at each position."""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import dims_product
from graphc.ops.convolution import by_filter, by_input, conv2d, forward, ranked, spelled
from graphc.ops.convolution_arguments import (
    alternative,
    attributes,
    channel_axis,
    checked_list,
    checked_word,
    floating,
    per_axis,
)
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope

Ints = tuple[int, ...]


def _as_filter(w: Node) -> Node:
    """Filters [height, width, channels, multiplier] as those of a convolution in as many groups as channels."""
    height, width, channels, multiplier = ranked(w, 4).shape
    return p.reshape(w, (height, width, 1, dims_product((channels, multiplier))))


@composite("DepthwiseConv2dNative")
def DEPTHWISE(input: Node, filter: Node, *, strides: Ints, padding: str, data_format: str = "NHWC", dilations: Ints = (1, 1, 1, 1)) -> Node:
    """Each channel with filters of its own, [height, width, channels, multiplier]: outer channel k is of channel k // multiplier."""
    w = _as_filter(filter)
    axis = channel_axis(data_format) % 4
    known = (ranked(input, 4).shape[axis], filter.shape[2])
    if None not in known and known[0] != known[1]:
        raise ValueError(f"Dimensions must be equal, but are {known[0]} and {known[1]}")
    channels = filter.shape[2] if known[0] is None else known[0]
    x = input if channels is None else p.reshape(input, (*input.shape[:axis], channels, *input.shape[axis + 1:]))
    return forward(x, w, strides, padding, dilations, (), data_format)


@composite("DepthwiseConv2dNativeBackpropInput")
def DEPTHWISE_BACKPROP_INPUT(input_sizes: Node, filter: Node, out_backprop: Node, *, strides: Ints, padding: str,
                             data_format: str = "NHWC", dilations: Ints = (1, 1, 1, 1)) -> Node:
    """The gradient of DepthwiseConv2dNative by its input."""
    return by_input(input_sizes, _as_filter(filter), out_backprop, strides, padding, dilations, (), data_format)


@composite("DepthwiseConv2dNativeBackpropFilter")
def DEPTHWISE_BACKPROP_FILTER(input: Node, filter_sizes: Node, out_backprop: Node, *, strides: Ints, padding: str,
                              data_format: str = "NHWC", dilations: Ints = (1, 1, 1, 1)) -> Node:
    """The gradient of DepthwiseConv2dNative by its filter."""
    height, width, channels, multiplier = dims = spelled(filter_sizes, 4)
    flat = (height, width, 1, dims_product((channels, multiplier)))
    result = by_filter(input, flat, out_backprop, strides, padding, dilations, (), data_format)
    return p.reshape(result, dims)


# Functions ----------------------------------------------------------------------------------------------------------------------------

def depthwise_conv2d(input: Any, filter: Any, strides: Any, padding: Any, rate: Any = None, name: str | None = None,
                     data_format: str | None = None, dilations: Any = None) -> Tensor:
    """Each channel of `input` [batch, height, width, channels] with filters of its own, `filter` [height, width, channels, multiplier].

    strides: four numbers in the order of `data_format`. rate (also called dilations): the distance of the taps, one number for each
    spatial axis; above 1 only with strides of 1. Outer channel k is made of channel k // multiplier.
    """
    rate = alternative("rate", rate, "dilations", dilations)
    with name_scope(name, "depthwise", [input, filter]) as scope:
        layout = data_format or "NHWC"
        steps, apart = checked_list("depthwise_conv2d_native", "strides", strides, 4), per_axis(rate, 2, layout, "dilations")
        if max(steps) > 1 and max(apart) > 1:
            raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
        return depthwise_conv2d_native(input, filter, steps, padding, layout, apart, scope)


def depthwise_conv2d_native(input: Any, filter: Any, strides: Any, padding: Any, data_format: str = "NHWC",
                            dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """`depthwise_conv2d` with strides and dilations of four entries each, in the order of `data_format`."""
    floating(input, "input")
    attrs = _attributes("DepthwiseConv2dNative", "depthwise_conv2d_native", strides, padding, data_format, dilations)
    return declare_one(DEPTHWISE, {"input": input, "filter": filter}, attrs, name)


def depthwise_conv2d_native_backprop_input(input_sizes: Any, filter: Any, out_backprop: Any, strides: Any, padding: Any,
                                           data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of `depthwise_conv2d_native` by its input of shape `input_sizes`."""
    floating(out_backprop, "out_backprop")
    attrs = _attributes("DepthwiseConv2dNativeBackpropInput", "depthwise_conv2d_native_backprop_input", strides, padding, data_format,
                        dilations)
    inputs = {"input_sizes": input_sizes, "filter": filter, "out_backprop": out_backprop}
    return declare_one(DEPTHWISE_BACKPROP_INPUT, inputs, attrs, name, other={"input_sizes": INDEX})


def depthwise_conv2d_native_backprop_filter(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any, padding: Any,
                                            data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of `depthwise_conv2d_native` by its filter of shape `filter_sizes`."""
    floating(input, "input")
    attrs = _attributes("DepthwiseConv2dNativeBackpropFilter", "depthwise_conv2d_native_backprop_filter", strides, padding, data_format,
                        dilations)
    inputs = {"input": input, "filter_sizes": filter_sizes, "out_backprop": out_backprop}
    return declare_one(DEPTHWISE_BACKPROP_FILTER, inputs, attrs, name, other={"filter_sizes": INDEX})


depthwise_conv2d_backprop_input = depthwise_conv2d_native_backprop_input
depthwise_conv2d_backprop_filter = depthwise_conv2d_native_backprop_filter


def _attributes(op: str, function: str, strides: Any, padding: Any, data_format: str, dilations: Any) -> dict[str, Any]:
    steps, apart = checked_list(function, "strides", strides, 4), checked_list(function, "dilations", dilations, 4)
    return attributes(op, steps, checked_word(op, "padding", padding, ("SAME", "VALID")), data_format, apart)


def separable_conv2d(input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, rate: Any = None,
                     name: str | None = None, data_format: str | None = None, dilations: Any = None) -> Tensor:
    """`depthwise_conv2d`, then at each position a mix of channels by `pointwise_filter` [1, 1, channels * multiplier, outer channels]."""
    rate = alternative("rate", rate, "dilations", dilations)
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        pointwise = as_tensor(pointwise_filter, name="pointwise_filter")
        for size in (pointwise.shape_tuple or ())[:2]:
            if size not in (None, 1):
                raise ValueError(f"Dimensions {size} and 1 are not compatible")
        by_channel = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, "depthwise", data_format)
        return conv2d(by_channel, pointwise, 1, "VALID", data_format=data_format or "NHWC", name=scope)
