"""TF1's `layers` of basic kinds: dense, dropout, flatten. A layer makes its variables in a variable scope of its name."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.core.types import dims_product
from graphc.initializers import zeros_initializer
from graphc.ops.array import identity, reshape, shape
from graphc.ops.choosing import where
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.linear import matmul, tensordot
from graphc.ops.nn import bias_add
from graphc.ops.nn import dropout as drop
from graphc.variable_scope import get_variable, variable_scope

__all__ = ["dense", "dropout", "flatten"]
Function = Callable[[Any], Any]
_ZEROS = zeros_initializer()


def dense(inputs: Any, units: int, activation: Function | None = None, use_bias: bool = True, kernel_initializer: Any = None,
          bias_initializer: Any = _ZEROS, kernel_regularizer: Function | None = None, bias_regularizer: Function | None = None,
          activity_regularizer: Function | None = None, kernel_constraint: Function | None = None, bias_constraint: Function | None = None,
          trainable: bool = True, name: str | None = None, reuse: Any = None) -> Tensor:
    """activation(inputs kernel + bias): [..., n] -> [..., units] with variables "<name>/kernel" [n, units] and "<name>/bias" [units].

    ValueError where the last dim of `inputs` is not known.
    """
    x = as_tensor(inputs)
    depth = None if x.shape_tuple is None else x.shape_tuple[-1] if x.shape_tuple else None
    if depth is None:
        raise ValueError("The last dimension of the inputs to `Dense` should be defined. Found `None`.")
    with variable_scope(name, "dense", reuse=reuse):
        kernel = get_variable("kernel", [depth, units], x.dtype, kernel_initializer, kernel_regularizer, trainable,
                              constraint=kernel_constraint)
        bias = get_variable("bias", [units], x.dtype, bias_initializer, bias_regularizer, trainable,
                            constraint=bias_constraint) if use_bias else None
        outputs = matmul(x, kernel) if x.rank == 2 else tensordot(x, kernel, [[(x.rank or 0) - 1], [0]])
        if bias is not None:
            outputs = bias_add(outputs, bias)
        if activation is not None:
            outputs = activation(outputs)
        if activity_regularizer is not None:
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, activity_regularizer(outputs))
        return outputs


def dropout(inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False,
            name: str | None = None) -> Tensor:
    """Each element is 0 with probability `rate`, else divided by 1 - rate, while `training` (a bool or a bool scalar tensor)."""
    with name_scope(name, "dropout", [inputs]):
        x = as_tensor(inputs)
        if isinstance(training, Tensor):
            return where(training, drop(x, noise_shape=noise_shape, seed=seed, rate=rate), x)
        return drop(x, noise_shape=noise_shape, seed=seed, rate=rate) if training else identity(x)


def flatten(inputs: Any, name: str | None = None) -> Tensor:
    """[batch, ...] -> [batch, the product of the rest]."""
    with name_scope(name, "flatten", [inputs]):
        x = as_tensor(inputs)
        batch = None if x.shape_tuple is None else x.shape_tuple[0]
        result = reshape(x, (shape(x)[0] if batch is None else batch, -1))
        if x.shape_tuple is not None:
            result.set_shape((batch, dims_product(x.shape_tuple[1:])))
        return result
