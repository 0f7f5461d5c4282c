"""Layers of convolution: over one, two and three spatial axes, transposed, and separable; with the functions of TF1's `layers`."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.core.types import Dim
from graphc.layers.base import Function, InputSpec, Layer
from graphc.layers.core import ZEROS, data_format_of
from graphc.ops.array import expand_dims, reshape, shape, squeeze
from graphc.ops.convolution import conv1d as convolve_1d
from graphc.ops.convolution import conv2d as convolve_2d
from graphc.ops.convolution import conv2d_transpose as transposed_2d
from graphc.ops.convolution import conv3d as convolve_3d
from graphc.ops.convolution import conv3d_transpose as transposed_3d
from graphc.ops.convolution import convolution
from graphc.ops.depthwise import separable_conv2d as separable_2d
from graphc.ops.joining import pad, stack
from graphc.ops.nn import bias_add

FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}
Ints = tuple[int, ...]
_Layer = TypeVar("_Layer", bound="Convolutional")


def per_axis(value: Any, rank: int, name: str) -> Ints:
    """`value` as one integer for each of `rank` spatial axes; ValueError where it is neither one integer nor a list of so many."""
    if isinstance(value, int):
        return (value,) * rank
    try:
        found = tuple(int(each) for each in value)
    except (TypeError, ValueError):
        found = ()
    if len(found) != rank:
        raise ValueError(f"The `{name}` argument must be a tuple of {rank} integers. Received: {value}")
    return found


def padding_of(padding: Any, causal: bool = False) -> str:
    """"valid", "same" or "causal", in lower case; ValueError for anything else, and for "causal" where it is not possible."""
    word = str(padding).lower()
    if word not in ("valid", "same", "causal"):
        raise ValueError(f'The `padding` argument must be a list/tuple or one of "valid", "same" (or "causal", only for `Conv1D). '
                         f"Received: {padding}")
    if word == "causal" and not causal:
        raise ValueError("Causal padding is only supported for `Conv1D`and ``SeparableConv1D`.")
    return word


def window_length(length: Dim, taps: int, padding: str, stride: int, dilation: int = 1) -> Dim:
    """How many windows of `taps` fit along an axis."""
    if length is None:
        return None
    covered = length if padding in ("same", "causal") else length - (taps - 1) * dilation
    return (covered + stride - 1) // stride


class Convolutional(Layer):
    """What the layers of convolution share: geometry, bias, activation. Padding "causal" (one spatial axis) lets no output see the future.

    data_format: "channels_last" or "channels_first". Either strides or dilation_rate may be above 1, not both.
    """

    rank: ClassVar[int]

    def __init__(self, filters: int, kernel_size: Any, strides: Any, padding: str, data_format: str, dilation_rate: Any,
                 activation: Function | None, use_bias: bool, bias_initializer: Any, bias_regularizer: Function | None,
                 activity_regularizer: Function | None, bias_constraint: Function | None, trainable: bool, name: str | None,
                 **kwargs: Any) -> None:
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = filters
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.strides = per_axis(strides, self.rank, "strides")
        self.padding = padding_of(padding, self.rank == 1)
        self.data_format = data_format_of(data_format)
        self.dilation_rate = per_axis(dilation_rate, self.rank, "dilation_rate")
        self.activation, self.use_bias = activation, use_bias
        self.bias_initializer, self.bias_regularizer, self.bias_constraint = bias_initializer, bias_regularizer, bias_constraint
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Any = None

    @property
    def _first(self) -> bool:
        return self.data_format == "channels_first"

    @property
    def _layout(self) -> str:
        return FORMATS[self.rank][self._first]

    def build(self, input_shape: TensorShape) -> None:
        axis = 1 if self._first else -1
        depth = input_shape.as_list()[axis]
        if depth is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found `None`.")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: depth})
        self._build_kernels(depth)
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.filters], None, self.bias_initializer, self.bias_regularizer, True,
                                        self.bias_constraint)

    def _build_kernels(self, depth: int) -> None:
        """Makes the weights for inputs of `depth` channels."""

    def _finished(self, outputs: Tensor) -> Tensor:
        if self.use_bias and self.rank == 1 and self._first:
            outputs = outputs + reshape(self.bias, [1, self.filters, 1])
        elif self.use_bias:
            outputs = bias_add(outputs, self.bias, "NCHW" if self._first else "NHWC")
        return outputs if self.activation is None else self.activation(outputs)

    def _past(self, inputs: Tensor) -> Tensor:
        """`inputs`, for causal padding with zeros before them."""
        if self.padding != "causal":
            return inputs
        before = [self.dilation_rate[0] * (self.kernel_size[0] - 1), 0]
        return pad(inputs, [[0, 0], [0, 0], before] if self._first else [[0, 0], before, [0, 0]])

    @property
    def _op_padding(self) -> str:
        return "VALID" if self.padding == "causal" else self.padding.upper()

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        dims = TensorShape(input_shape).as_list()
        space = [self._length(*each) for each in zip(dims[2:] if self._first else dims[1:-1], self.kernel_size, self.strides,
                                                     self.dilation_rate, strict=True)]
        return TensorShape([dims[0], self.filters, *space] if self._first else [dims[0], *space, self.filters])

    def _length(self, length: Dim, taps: int, stride: int, dilation: int) -> Dim:
        return window_length(length, taps, self.padding, stride, dilation)


def _spelled(layer: type[_Layer]) -> type[_Layer]:
    """`layer` with the signature that TF1 shows: of several axes the strides and dilations by default are (1, 1), not 1."""
    signature = inspect.signature(layer)
    ones = {name: p.replace(default=(1,) * layer.rank) for name, p in signature.parameters.items() if name in ("strides", "dilation_rate")}
    layer.__signature__ = signature.replace(  # type: ignore[attr-defined]  # where `inspect` looks first
        parameters=[ones.get(name, p) for name, p in signature.parameters.items()])
    return layer


class _Conv(Convolutional):
    """activation(convolution of the inputs with "kernel" [window..., channels, filters] + "bias" [filters])."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str = "channels_last",
                 dilation_rate: Any = 1, activation: Function | None = None, use_bias: bool = True, kernel_initializer: Any = None,
                 bias_initializer: Any = ZEROS, kernel_regularizer: Function | None = None, bias_regularizer: Function | None = None,
                 activity_regularizer: Function | None = None, kernel_constraint: Function | None = None,
                 bias_constraint: Function | None = None, trainable: bool = True, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, bias_initializer,
                         bias_regularizer, activity_regularizer, bias_constraint, trainable, name, **kwargs)
        self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint = kernel_initializer, kernel_regularizer, kernel_constraint
        self.kernel: Any = None

    def _build_kernels(self, depth: int) -> None:
        self._add_kernel([*self.kernel_size, depth, self.filters])

    def _add_kernel(self, dims: list[int]) -> None:
        self.kernel = self.add_weight("kernel", dims, None, self.kernel_initializer, self.kernel_regularizer, True, self.kernel_constraint)

    def call(self, inputs: Tensor) -> Tensor:
        return self._finished(self._convolved(self._past(inputs)))

    def _convolved(self, x: Tensor) -> Tensor:
        if max(self.dilation_rate) > 1:
            return convolution(x, self.kernel, self._op_padding, self.strides, self.dilation_rate, data_format=self._layout)
        if self.rank == 1:
            return convolve_1d(x, self.kernel, self.strides[0], self._op_padding, data_format=self._layout)
        steps = [1, 1, *self.strides] if self._first else [1, *self.strides, 1]
        convolve = convolve_2d if self.rank == 2 else convolve_3d
        return convolve(x, self.kernel, steps, self._op_padding, data_format=self._layout)


class Conv1D(_Conv):
    """activation(convolution + bias) of [batch, steps, channels] with "kernel" [window, channels, filters]."""

    rank = 1


@_spelled
class Conv2D(_Conv):
    """activation(convolution + bias) of [batch, height, width, channels] with "kernel" [height, width, channels, filters]."""

    rank = 2


@_spelled
class Conv3D(_Conv):
    """activation(convolution + bias) of [batch, depth, height, width, channels] with "kernel" [window..., channels, filters]."""

    rank = 3


# Transposed ------------------------------------------------------------------------------------------------------------------------------

class _ConvTranspose(_Conv):
    """activation(the gradient of a convolution by its input + bias), with "kernel" [window..., filters, channels]."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str = "channels_last",
                 activation: Function | None = None, use_bias: bool = True, kernel_initializer: Any = None, bias_initializer: Any = ZEROS,
                 kernel_regularizer: Function | None = None, bias_regularizer: Function | None = None,
                 activity_regularizer: Function | None = None, kernel_constraint: Function | None = None,
                 bias_constraint: Function | None = None, trainable: bool = True, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer,
                         bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint,
                         trainable, name, **kwargs)

    def _build_kernels(self, depth: int) -> None:
        self._add_kernel([*self.kernel_size, self.filters, depth])

    def _length(self, length: Dim, taps: int, stride: int, dilation: int) -> Dim:
        if length is None:
            return None
        return length * stride + (max(taps - stride, 0) if self.padding == "valid" else 0)

    def _convolved(self, x: Tensor) -> Tensor:
        wanted: list[Any] = self.compute_output_shape(x.shape).as_list()
        sizes = shape(x)
        for axis, dim in enumerate(wanted):
            if dim is None:  # as `_length` has it, of the size that a run brings
                spatial = axis - (2 if self._first else 1)
                more = max(self.kernel_size[spatial] - self.strides[spatial], 0) if self.padding == "valid" else 0
                wanted[axis] = sizes[0] if axis == 0 else sizes[axis] * self.strides[spatial] + more
        steps = [1, 1, *self.strides] if self._first else [1, *self.strides, 1]
        transposed = transposed_2d if self.rank == 2 else transposed_3d
        outputs = transposed(x, self.kernel, stack(wanted), steps, self._op_padding, self._layout)
        outputs.set_shape(self.compute_output_shape(x.shape))
        return outputs


@_spelled
class Conv2DTranspose(_ConvTranspose):
    """activation(transposed convolution + bias) of [batch, height, width, channels] with "kernel" [height, width, filters, channels]."""

    rank = 2


@_spelled
class Conv3DTranspose(_ConvTranspose):
    """activation(transposed convolution + bias) of [batch, depth, height, width, channels] with "kernel" [window..., filters, channels]."""

    rank = 3


# Separable -------------------------------------------------------------------------------------------------------------------------------

class _SeparableConv(Convolutional):
    """activation(each channel convolved by itself, the results mixed by a 1 x 1 convolution, + bias): "depthwise_kernel" [window...,
    channels, depth_multiplier] and "pointwise_kernel" [1..., channels depth_multiplier, filters]."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str = "channels_last",
                 dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Function | None = None, use_bias: bool = True,
                 depthwise_initializer: Any = None, pointwise_initializer: Any = None, bias_initializer: Any = ZEROS,
                 depthwise_regularizer: Function | None = None, pointwise_regularizer: Function | None = None,
                 bias_regularizer: Function | None = None, activity_regularizer: Function | None = None,
                 depthwise_constraint: Function | None = None, pointwise_constraint: Function | None = None,
                 bias_constraint: Function | None = None, trainable: bool = True, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, bias_initializer,
                         bias_regularizer, activity_regularizer, bias_constraint, trainable, name, **kwargs)
        self.depth_multiplier = depth_multiplier
        self._of_depthwise = (depthwise_initializer, depthwise_regularizer, True, depthwise_constraint)
        self._of_pointwise = (pointwise_initializer, pointwise_regularizer, True, pointwise_constraint)
        self.depthwise_kernel: Any = None
        self.pointwise_kernel: Any = None

    def _build_kernels(self, depth: int) -> None:
        wide = depth * self.depth_multiplier
        self.depthwise_kernel = self.add_weight("depthwise_kernel", [*self.kernel_size, depth, self.depth_multiplier], None,
                                                *self._of_depthwise)
        self.pointwise_kernel = self.add_weight("pointwise_kernel", [1] * self.rank + [wide, self.filters], None, *self._of_pointwise)


class SeparableConv1D(_SeparableConv):
    """A separable convolution of [batch, steps, channels]; the mathematics is that of `SeparableConv2D` on one row."""

    rank = 1

    def call(self, inputs: Tensor) -> Tensor:
        row = 2 if self._first else 1
        steps = [1, 1, *self.strides * 2] if self._first else [1, *self.strides * 2, 1]
        outputs = separable_2d(expand_dims(self._past(inputs), row), expand_dims(self.depthwise_kernel, 0),
                               expand_dims(self.pointwise_kernel, 0), steps, self._op_padding, [1, *self.dilation_rate],
                               data_format=FORMATS[2][self._first])
        return self._finished(squeeze(outputs, [row]))


@_spelled
class SeparableConv2D(_SeparableConv):
    """A separable convolution of [batch, height, width, channels]."""

    rank = 2

    def call(self, inputs: Tensor) -> Tensor:
        steps = [1, 1, *self.strides] if self._first else [1, *self.strides, 1]
        return self._finished(separable_2d(inputs, self.depthwise_kernel, self.pointwise_kernel, steps, self._op_padding,
                                           self.dilation_rate, data_format=self._layout))


# Functions -------------------------------------------------------------------------------------------------------------------------------

def _convolution_function(layer: type[_Conv], name_: str) -> Callable[..., Tensor]:
    one = 1 if layer.rank == 1 else (1,) * layer.rank

    def function(inputs: Any, filters: int, kernel_size: Any, strides: Any = one, padding: str = "valid",
                 data_format: str = "channels_last", dilation_rate: Any = one, activation: Function | None = None, use_bias: bool = True,
                 kernel_initializer: Any = None, bias_initializer: Any = ZEROS, kernel_regularizer: Function | None = None,
                 bias_regularizer: Function | None = None, activity_regularizer: Function | None = None,
                 kernel_constraint: Function | None = None, bias_constraint: Function | None = None, trainable: bool = True,
                 name: str | None = None, reuse: Any = None) -> Tensor:
        made = layer(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, kernel_initializer,
                     bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint,
                     trainable, name, _reuse=reuse, _scope=name)
        result: Tensor = made(inputs)
        return result
    return _named(function, name_, layer)


def _transposed_function(layer: type[_ConvTranspose], name_: str) -> Callable[..., Tensor]:
    def function(inputs: Any, filters: int, kernel_size: Any, strides: Any = (1,) * layer.rank, padding: str = "valid",
                 data_format: str = "channels_last", activation: Function | None = None, use_bias: bool = True,
                 kernel_initializer: Any = None, bias_initializer: Any = ZEROS, kernel_regularizer: Function | None = None,
                 bias_regularizer: Function | None = None, activity_regularizer: Function | None = None,
                 kernel_constraint: Function | None = None, bias_constraint: Function | None = None, trainable: bool = True,
                 name: str | None = None, reuse: Any = None) -> Tensor:
        made = layer(filters, kernel_size, strides, padding, data_format, activation, use_bias, kernel_initializer, bias_initializer,
                     kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, trainable, name,
                     _reuse=reuse, _scope=name)
        result: Tensor = made(inputs)
        return result
    return _named(function, name_, layer)


def _separable_function(layer: type[_SeparableConv], name_: str) -> Callable[..., Tensor]:
    one = 1 if layer.rank == 1 else (1,) * layer.rank

    def function(inputs: Any, filters: int, kernel_size: Any, strides: Any = one, padding: str = "valid",
                 data_format: str = "channels_last", dilation_rate: Any = one, depth_multiplier: int = 1,
                 activation: Function | None = None, use_bias: bool = True, depthwise_initializer: Any = None,
                 pointwise_initializer: Any = None, bias_initializer: Any = ZEROS, depthwise_regularizer: Function | None = None,
                 pointwise_regularizer: Function | None = None, bias_regularizer: Function | None = None,
                 activity_regularizer: Function | None = None, depthwise_constraint: Function | None = None,
                 pointwise_constraint: Function | None = None, bias_constraint: Function | None = None, trainable: bool = True,
                 name: str | None = None, reuse: Any = None) -> Tensor:
        made = layer(filters, kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier, activation, use_bias,
                     depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer, pointwise_regularizer,
                     bias_regularizer, activity_regularizer, depthwise_constraint, pointwise_constraint, bias_constraint, trainable, name,
                     _reuse=reuse, _scope=name)
        result: Tensor = made(inputs)
        return result
    return _named(function, name_, layer)


def _named(function: Callable[..., Tensor], name: str, layer: type[Layer]) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{layer.__doc__} Makes a `{layer.__name__}` and calls it once; `reuse` finds the variables of its `name` again."
    return function


conv1d = _convolution_function(Conv1D, "conv1d")
conv2d = _convolution_function(Conv2D, "conv2d")
conv3d = _convolution_function(Conv3D, "conv3d")
conv2d_transpose = _transposed_function(Conv2DTranspose, "conv2d_transpose")
conv3d_transpose = _transposed_function(Conv3DTranspose, "conv3d_transpose")
separable_conv1d = _separable_function(SeparableConv1D, "separable_conv1d")
separable_conv2d = _separable_function(SeparableConv2D, "separable_conv2d")
