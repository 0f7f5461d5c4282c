"""The layers of every network: `Dense`, `Dropout`, `Flatten`, and the functions of TF1's `layers` that make and call them."""
from __future__ import annotations

from typing import Any

from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.core.types import dims_product
from graphc.initializers import zeros_initializer
from graphc.layers.base import Function, InputSpec, Layer
from graphc.ops.array import identity, reshape, shape, transpose
from graphc.ops.choosing import where
from graphc.ops.linear import matmul, tensordot
from graphc.ops.nn import bias_add
from graphc.ops.nn import dropout as drop

ZEROS = zeros_initializer()


class Dense(Layer):
    """activation(inputs kernel + bias): [..., n] -> [..., units] with variables "kernel" [n, units] and "bias" [units].

    ValueError where the last dim of the inputs is not known. `activity_regularizer` is of the outputs; its mean over the batch counts.
    """

    def __init__(self, units: int, activation: Function | None = None, use_bias: bool = True, kernel_initializer: Any = None,
                 bias_initializer: Any = ZEROS, kernel_regularizer: Function | None = None, bias_regularizer: Function | None = None,
                 activity_regularizer: Function | None = None, kernel_constraint: Function | None = None,
                 bias_constraint: Function | None = None, trainable: bool = True, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.units = int(units)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.input_spec = InputSpec(min_ndim=2)
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: TensorShape) -> None:
        depth = None if not input_shape.ndims else input_shape.as_list()[-1]
        if depth is None:
            raise ValueError("The last dimension of the inputs to `Dense` should be defined. Found `None`.")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: depth})
        self.kernel = self.add_weight("kernel", [depth, self.units], None, self.kernel_initializer, self.kernel_regularizer, True,
                                      self.kernel_constraint)
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.units], None, self.bias_initializer, self.bias_regularizer, True,
                                        self.bias_constraint)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = matmul(inputs, self.kernel) if inputs.rank == 2 else tensordot(inputs, self.kernel, [[(inputs.rank or 0) - 1], [0]])
        if self.use_bias:
            outputs = bias_add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        return TensorShape([*TensorShape(input_shape).as_list()[:-1], self.units])


class Dropout(Layer):
    """Each element is 0 with probability `rate`, else divided by 1 - rate, while `training` (a bool or a bool scalar tensor)."""

    def __init__(self, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.rate = rate
        self.noise_shape = noise_shape
        self.seed = seed

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        if isinstance(training, Tensor):
            return where(training, self._dropped(inputs), identity(inputs))
        return self._dropped(inputs) if training else identity(inputs)

    def _dropped(self, inputs: Tensor) -> Tensor:
        return drop(inputs, noise_shape=self.noise_shape, seed=self.seed, rate=self.rate)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        return TensorShape(input_shape)


class Flatten(Layer):
    """[batch, ...] -> [batch, the product of the rest]. "channels_first" moves channels last before, so that both formats agree."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format_of(data_format or "channels_last")
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Tensor) -> Tensor:
        dims = inputs.shape_tuple or ()
        if self.data_format == "channels_first" and len(dims) > 2:
            inputs = transpose(inputs, [0, *range(2, len(dims)), 1])
        result = reshape(inputs, (shape(inputs)[0] if dims[0] is None else dims[0], -1))
        result.set_shape((dims[0], dims_product(dims[1:])))
        return result

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        dims = TensorShape(input_shape).as_list()
        return TensorShape([dims[0], dims_product(dims[1:])])


def data_format_of(data_format: str) -> str:
    """"channels_last" or "channels_first", in lower case; ValueError for anything else."""
    if str(data_format).lower() not in ("channels_first", "channels_last"):
        raise ValueError(f'The `data_format` argument must be one of "channels_first", "channels_last". Received: {data_format}')
    return data_format.lower()


def dense(inputs: Any, units: int, activation: Function | None = None, use_bias: bool = True, kernel_initializer: Any = None,
          bias_initializer: Any = ZEROS, kernel_regularizer: Function | None = None, bias_regularizer: Function | None = None,
          activity_regularizer: Function | None = None, kernel_constraint: Function | None = None, bias_constraint: Function | None = None,
          trainable: bool = True, name: str | None = None, reuse: Any = None) -> Tensor:
    """activation(inputs kernel + bias): [..., n] -> [..., units] with variables "<name>/kernel" [n, units] and "<name>/bias" [units].

    ValueError where the last dim of `inputs` is not known.
    """
    layer = Dense(units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
                  activity_regularizer, kernel_constraint, bias_constraint, trainable, name, _scope=name, _reuse=reuse)
    result: Tensor = layer(inputs)
    return result


def dropout(inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False,
            name: str | None = None) -> Tensor:
    """Each element is 0 with probability `rate`, else divided by 1 - rate, while `training` (a bool or a bool scalar tensor)."""
    result: Tensor = Dropout(rate, noise_shape, seed, name)(inputs, training=training)
    return result


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Tensor:
    """[batch, ...] -> [batch, the product of the rest]."""
    result: Tensor = Flatten(data_format, name=name)(inputs)
    return result
