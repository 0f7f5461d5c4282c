"""TF1's `contrib.layers`: layers with an activation and a normaliser among their arguments, thin over `graphc.layers`.

Their variables are called "weights" and "biases" and are in the collection MODEL_VARIABLES; `arg_scope` gives them default arguments.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from graphc.contrib.framework import add_arg_scope
from graphc.contrib.normalization import batch_norm, group_norm, instance_norm, layer_norm
from graphc.contrib.outputs import Getter, collected, keep_variable, model_getter
from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.initializers import VarianceScaling, zeros_initializer
from graphc.layers import AveragePooling2D, Conv1D, Conv2D, Conv2DTranspose, Conv3D, Dense, Dropout, MaxPooling2D, SeparableConv2D
from graphc.layers.base import Function, Layer
from graphc.layers.core import Flatten
from graphc.ops.activations import relu as relu_of
from graphc.ops.activations import relu6 as relu6_of
from graphc.ops.activations import softmax as softmax_of
from graphc.ops.creation import one_hot
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast
from graphc.regularizers import apply_regularization, l1_l2_regularizer, l1_regularizer, l2_regularizer, sum_regularizer
from graphc.variable_scope import variable_scope

__all__ = [
    "apply_regularization", "avg_pool2d", "batch_norm", "conv1d", "conv2d", "conv2d_transpose", "conv3d", "dropout", "flatten",
    "fully_connected", "group_norm", "instance_norm", "l1_l2_regularizer", "l1_regularizer", "l2_regularizer", "layer_norm", "linear",
    "max_pool2d", "one_hot_encoding", "relu", "relu6", "repeat", "separable_conv2d", "softmax", "stack", "sum_regularizer",
    "variance_scaling_initializer", "xavier_initializer", "xavier_initializer_conv2d",
]
_ZEROS = zeros_initializer()
_NAMES = {"kernel": "weights", "bias": "biases", "depthwise_kernel": "depthwise_weights", "pointwise_kernel": "pointwise_weights"}
Formats = {"channels_first": ("NCW", "NCHW", "NCDHW"), "channels_last": ("NWC", "NHWC", "NDHWC")}


# Initializers ----------------------------------------------------------------------------------------------------------------------------

def variance_scaling_initializer(factor: float = 2.0, mode: str = "FAN_IN", uniform: bool = False, seed: int | None = None,
                                 dtype: Any = dtypes.float32) -> VarianceScaling:
    """Variance factor / n, n the number of inputs ("FAN_IN"), outputs ("FAN_OUT") or their mean ("FAN_AVG") of the weights; normal with
    the tails cut, or `uniform`."""
    if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
        raise TypeError(f"Unknown mode {mode} [FAN_IN, FAN_OUT, FAN_AVG]")
    return VarianceScaling(factor, mode.lower(), "uniform" if uniform else "truncated_normal", seed, dtype)


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = dtypes.float32) -> VarianceScaling:
    """Variance 2 / (inputs + outputs): X. Glorot and Y. Bengio, 2010."""
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer
_XAVIER = xavier_initializer()


# Layers with weights ---------------------------------------------------------------------------------------------------------------------

def _channels(data_format: str | None, allowed: Sequence[str] = ("NHWC", "NCHW", "NWC", "NCW", "NDHWC", "NCDHW")) -> str:
    if data_format is not None and data_format not in allowed:
        raise ValueError(f"Invalid data_format: {data_format!r}")
    return "channels_first" if data_format is not None and data_format.startswith("NC") else "channels_last"


def _weighted(make: Callable[..., Layer], default: str, inputs: Any, activation_fn: Function | None, normalizer_fn: Any,
              normalizer_params: Mapping[str, Any] | None, biases_initializer: Any, biases_regularizer: Any, reuse: Any,
              variables_collections: Any, outputs_collections: Any, trainable: bool, scope: str | None) -> Tensor:
    """The layer that `make` makes in its scope, its variables renamed, then the normaliser (instead of a bias) and the activation."""
    getter: Getter = model_getter(_NAMES)
    with variable_scope(scope, default, [inputs], reuse=reuse, custom_getter=getter) as inner:
        layer = make(use_bias=not normalizer_fn and biases_initializer is not None, bias_initializer=biases_initializer,
                     bias_regularizer=biases_regularizer, activation=None, trainable=trainable, name=inner.name, _scope=inner,
                     _reuse=reuse)
        outputs: Tensor = layer(as_tensor(inputs))
        for attribute, name in _NAMES.items():
            keep_variable(getattr(layer, attribute, None), variables_collections, name)
        if normalizer_fn is not None:
            outputs = normalizer_fn(outputs, **(normalizer_params or {}))
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return collected(outputs_collections, outputs)


@add_arg_scope
def fully_connected(inputs: Any, num_outputs: int, activation_fn: Function | None = relu_of, normalizer_fn: Any = None,
                    normalizer_params: Mapping[str, Any] | None = None, weights_initializer: Any = _XAVIER, weights_regularizer: Any = None,
                    biases_initializer: Any = _ZEROS, biases_regularizer: Any = None, reuse: Any = None, variables_collections: Any = None,
                    outputs_collections: Any = None, trainable: bool = True, scope: str | None = None) -> Tensor:
    """activation(normaliser(inputs weights) or inputs weights + biases): [..., n] -> [..., num_outputs]."""
    if not isinstance(num_outputs, int):
        raise ValueError(f"num_outputs type should be one of (int,), got {type(num_outputs)}.")
    make = partial(Dense, num_outputs, kernel_initializer=weights_initializer, kernel_regularizer=weights_regularizer)
    return _weighted(make, "fully_connected", inputs, activation_fn, normalizer_fn, normalizer_params, biases_initializer,
                     biases_regularizer, reuse, variables_collections, outputs_collections, trainable, scope)


linear = partial(fully_connected, activation_fn=None)
relu = partial(fully_connected, activation_fn=relu_of)
relu6 = partial(fully_connected, activation_fn=relu6_of)


def _convolution(layer: Any, default: str) -> Callable[..., Tensor]:
    def convolution(inputs: Any, num_outputs: int, kernel_size: Any, stride: Any = 1, padding: str = "SAME",
                    data_format: str | None = None, rate: Any = 1, activation_fn: Function | None = relu_of, normalizer_fn: Any = None,
                    normalizer_params: Mapping[str, Any] | None = None, weights_initializer: Any = _XAVIER,
                    weights_regularizer: Any = None, biases_initializer: Any = _ZEROS, biases_regularizer: Any = None, reuse: Any = None,
                    variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
                    scope: str | None = None) -> Tensor:
        make = partial(layer, num_outputs, kernel_size, stride, padding, _channels(data_format), rate,
                       kernel_initializer=weights_initializer, kernel_regularizer=weights_regularizer)
        return _weighted(make, "Conv", inputs, activation_fn, normalizer_fn, normalizer_params, biases_initializer, biases_regularizer,
                         reuse, variables_collections, outputs_collections, trainable, scope)
    convolution.__name__ = convolution.__qualname__ = default
    convolution.__doc__ = f"activation(normaliser(convolution) or convolution + biases): see `layers.{layer.__name__}`."
    return add_arg_scope(convolution)


conv1d, conv2d, conv3d = _convolution(Conv1D, "conv1d"), _convolution(Conv2D, "conv2d"), _convolution(Conv3D, "conv3d")


@add_arg_scope
def conv2d_transpose(inputs: Any, num_outputs: int, kernel_size: Any, stride: Any = 1, padding: str = "SAME", data_format: str = "NHWC",
                     activation_fn: Function | None = relu_of, normalizer_fn: Any = None,
                     normalizer_params: Mapping[str, Any] | None = None, weights_initializer: Any = _XAVIER,
                     weights_regularizer: Any = None, biases_initializer: Any = _ZEROS, biases_regularizer: Any = None, reuse: Any = None,
                     variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
                     scope: str | None = None) -> Tensor:
    """activation(normaliser(transposed convolution) or transposed convolution + biases)."""
    make = partial(Conv2DTranspose, num_outputs, kernel_size, stride, padding, _channels(data_format),
                   kernel_initializer=weights_initializer, kernel_regularizer=weights_regularizer)
    return _weighted(make, "Conv2d_transpose", inputs, activation_fn, normalizer_fn, normalizer_params, biases_initializer,
                     biases_regularizer, reuse, variables_collections, outputs_collections, trainable, scope)


@add_arg_scope
def separable_conv2d(inputs: Any, num_outputs: int, kernel_size: Any, depth_multiplier: int = 1, stride: Any = 1, padding: str = "SAME",
                     data_format: str = "NHWC", rate: Any = 1, activation_fn: Function | None = relu_of, normalizer_fn: Any = None,
                     normalizer_params: Mapping[str, Any] | None = None, weights_initializer: Any = _XAVIER,
                     pointwise_initializer: Any = None, weights_regularizer: Any = None, biases_initializer: Any = _ZEROS,
                     biases_regularizer: Any = None, reuse: Any = None, variables_collections: Any = None,
                     outputs_collections: Any = None, trainable: bool = True, scope: str | None = None) -> Tensor:
    """activation(normaliser(separable convolution) or separable convolution + biases)."""
    make = partial(SeparableConv2D, num_outputs, kernel_size, stride, padding, _channels(data_format), rate, depth_multiplier,
                   depthwise_initializer=weights_initializer, pointwise_initializer=pointwise_initializer or weights_initializer,
                   depthwise_regularizer=weights_regularizer, pointwise_regularizer=weights_regularizer)
    return _weighted(make, "SeparableConv2d", inputs, activation_fn, normalizer_fn, normalizer_params, biases_initializer,
                     biases_regularizer, reuse, variables_collections, outputs_collections, trainable, scope)


# Layers without weights ------------------------------------------------------------------------------------------------------------------

def _pooling(layer: Any, name: str, default: str) -> Callable[..., Tensor]:
    def pool(inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID", data_format: str = "NHWC",
             outputs_collections: Any = None, scope: str | None = None) -> Tensor:
        channels = _channels(data_format, ("NHWC", "NCHW"))
        with name_scope(scope, default, [inputs]) as inner:
            outputs = layer(kernel_size, stride, padding, channels, _scope=inner)(as_tensor(inputs))
            return collected(outputs_collections, outputs)
    pool.__name__ = pool.__qualname__ = name
    pool.__doc__ = layer.__doc__
    return add_arg_scope(pool)


max_pool2d, avg_pool2d = _pooling(MaxPooling2D, "max_pool2d", "MaxPool2D"), _pooling(AveragePooling2D, "avg_pool2d", "AvgPool2D")


@add_arg_scope
def dropout(inputs: Any, keep_prob: Any = 0.5, noise_shape: Any = None, is_training: Any = True, outputs_collections: Any = None,
            scope: str | None = None, seed: int | None = None) -> Tensor:
    """Each element is 0 with probability 1 - keep_prob, else divided by keep_prob, while `is_training`."""
    with variable_scope(scope, "Dropout", [inputs]) as inner:
        layer = Dropout(1 - keep_prob, noise_shape, seed, inner.name, _scope=inner)
        return collected(outputs_collections, layer(as_tensor(inputs), training=is_training))


@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: str | None = None) -> Tensor:
    """[batch, ...] -> [batch, the product of the rest]."""
    with name_scope(scope, "Flatten", [inputs]):
        return collected(outputs_collections, Flatten().call(as_tensor(inputs)))


@add_arg_scope
def one_hot_encoding(labels: Any, num_classes: int, on_value: float = 1.0, off_value: float = 0.0, outputs_collections: Any = None,
                     scope: str | None = None) -> Tensor:
    """`on_value` at each label's place in a row of `num_classes`, `off_value` elsewhere."""
    with name_scope(scope, "OneHotEncoding", [labels, num_classes]):
        classes = as_tensor(labels)
        if classes.dtype is dtypes.int32:
            classes = cast(classes, dtypes.int64)
        return collected(outputs_collections, one_hot(classes, num_classes, on_value=on_value, off_value=off_value))


@add_arg_scope
def softmax(logits: Any, scope: str | None = None) -> Tensor:
    """Softmax along the last axis, of any rank."""
    with name_scope(scope, "softmax", [logits]):
        return softmax_of(as_tensor(logits))


# Layers of layers ------------------------------------------------------------------------------------------------------------------------

@add_arg_scope
def repeat(inputs: Any, repetitions: int, layer: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """The layer on its own outputs, `repetitions` times, in scopes "<scope>/<scope>_1"..."""
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, "Repeat", [inputs]):
        outputs = as_tensor(inputs)
        name = scope if scope is not None else getattr(layer, "__name__", "repeat")
        for turn in range(repetitions):
            outputs = layer(outputs, *args, **{**kwargs, "scope": f"{name}_{turn + 1}"})
        return outputs


@add_arg_scope
def stack(inputs: Any, layer: Callable[..., Tensor], stack_args: Sequence[Any], **kwargs: Any) -> Tensor:
    """The layer on its own outputs, once for each of `stack_args`, in scopes "<scope>/<scope>_1"..."""
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, "Stack", [inputs]):
        outputs = as_tensor(inputs)
        name = scope if scope is not None else getattr(layer, "__name__", "stack")
        for turn, given in enumerate(stack_args):
            arguments = given if isinstance(given, list | tuple) else [given]
            outputs = layer(outputs, *arguments, **{**kwargs, "scope": f"{name}_{turn + 1}"})
        return outputs
