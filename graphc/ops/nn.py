"""The rest of TF1's `nn`: bias, moments and normalisation, dropout, l2_loss, embedding_lookup; the public face takes `nn` from here."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import same_dims, show_dims
from graphc.ops.activations import (
    elu,
    gelu,
    last_axis,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    selu,
    softmax,
    softsign,
    swish,
)
from graphc.ops.array import identity, shape, squeeze
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.elementwise import cast, log_sigmoid, rsqrt, sigmoid, softplus, squared_difference, tanh
from graphc.ops.entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
    weighted_cross_entropy_with_logits,
)
from graphc.ops.linear import matmul
from graphc.ops.random import random_uniform
from graphc.ops.reductions import l2_loss, l2_normalize, mean_over, reduce_mean
from graphc.ops.slicing import gather
from graphc.primitives.sugar import broadcast_to, fill_like, reduce_and_spread

__all__ = [
    "batch_normalization", "bias_add", "dropout", "elu", "embedding_lookup", "gelu", "l2_loss", "l2_normalize", "layer_norm", "leaky_relu",
    "log_sigmoid", "log_softmax", "moments", "relu", "relu6", "relu_layer", "selu", "sigmoid", "sigmoid_cross_entropy_with_logits",
    "softmax", "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2", "softplus",
    "softsign", "sparse_softmax_cross_entropy_with_logits", "swish", "tanh", "weighted_cross_entropy_with_logits", "xw_plus_b",
]


# bias ------------------------------------------------------------------------------------------------------------------------------------

@composite("BiasAdd")
def BIAS_ADD(value: Node, bias: Node, *, data_format: str = "NHWC") -> Node:
    """`value` with a vector added along its last axis ("NHWC") or its second ("NCHW")."""
    if len(bias.shape) != 1:
        raise ValueError(f"Shape must be rank 1 but is rank {len(bias.shape)}")
    if len(value.shape) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(value.shape)}")
    axis = 1 if data_format.startswith("NC") else len(value.shape) - 1
    known = (value.shape[axis], bias.shape[0])
    if None not in known and known[0] != known[1]:
        raise ValueError(f"Dimensions must be equal, but are {known[0]} and {known[1]}")
    return p.add(value, p.broadcast_in_dim(bias, (*value.shape[:axis], value.shape[axis], *value.shape[axis + 1:]), (axis,)))


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """`value` with the vector `bias` added along its last axis (its second where `data_format` is "NC...")."""
    if data_format is not None and data_format not in ("NHWC", "NCHW", "NWC", "NCW", "N...C", "NC..."):
        raise ValueError("data_format must be of the form `N...C` or `NC...`")
    layout = "NCHW" if data_format is not None and data_format.startswith("NC") else "NHWC"
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        x = as_tensor(value, name="input")
        vector = as_tensor(bias, x.dtype, "bias")
        return declare_one(BIAS_ADD, {"value": x, "bias": vector}, {"data_format": layout}, scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x weights + biases."""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        left, right, bias = as_tensor(x, name="x"), as_tensor(weights, name="weights"), as_tensor(biases, name="biases")
        return bias_add(matmul(left, right), bias, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x weights + biases)."""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        left, right, bias = as_tensor(x, name="x"), as_tensor(weights, name="weights"), as_tensor(biases, name="biases")
        return relu(bias_add(matmul(left, right), bias), scope)


# moments and normalisation ---------------------------------------------------------------------------------------------------------------

def moments(x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool | None = None,
            keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance of `x` over `axes`; float16 is computed in float32."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    with name_scope(name, "moments", [x, axes]):
        x = as_tensor(x)
        y = cast(x, dtypes.float32) if x.dtype is dtypes.float16 else x
        mean = reduce_mean(y, axes, True, "mean")
        # TF1 stops the gradient at the mean, where it is zero; but its derivative is not, so second derivatives need it.
        variance = reduce_mean(squared_difference(y, mean), axes, True, "variance")
        if not keep:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        return cast(mean, x.dtype), cast(variance, x.dtype)


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any,
                        name: str | None = None) -> Tensor:
    """(x - mean) scale / sqrt(variance + epsilon) + offset (S. Ioffe and C. Szegedy, arXiv:1502.03167); scale and offset may be None."""
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        factor = rsqrt(variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        values = as_tensor(x)
        scaled = values * cast(factor, values.dtype)
        rest = offset - mean * factor if offset is not None else -mean * factor
        return scaled + cast(rest, values.dtype)


def _normalised(x: Node, epsilon: float) -> tuple[Node, Node]:
    """x with mean 0 and variance 1 along the last axis, and 1 / sqrt(variance + epsilon) beside each element."""
    centred = p.subtract(x, reduce_and_spread(mean_over, x, last_axis(x)))
    variance = mean_over(p.multiply(centred, centred), last_axis(x))
    scale = p.rsqrt(p.add(variance, fill_like(variance, epsilon)))
    spread = p.broadcast_in_dim(scale, x.shape, range(len(x.shape) - 1))
    return p.multiply(centred, spread), spread


def _layer_norm_gradient(x: Node, scale: Node, offset: Node, y: Node, g: Node, *, epsilon: float) -> Sequence[Node | None]:
    """By x: (h - mean(h) - n mean(h n)) / deviation, where n is the normalised x and h = g scale."""
    wide = dtypes.float32 if x.dtype.size == 2 else x.dtype
    n, inverse = _normalised(p.convert(x, wide), epsilon)
    flow = p.convert(g, wide)
    h = p.multiply(flow, broadcast_to(p.convert(scale, wide), n.shape))
    by_n = p.multiply(n, reduce_and_spread(mean_over, p.multiply(h, n), last_axis(n)))
    by_x = p.multiply(inverse, p.subtract(p.subtract(h, reduce_and_spread(mean_over, h, last_axis(n))), by_n))
    rows = tuple(range(len(x.shape) - 1))
    by_scale, by_offset = p.reduce_sum(p.multiply(flow, n), rows), p.reduce_sum(flow, rows)
    return (p.convert(by_x, x.dtype), p.convert(by_scale, x.dtype), p.convert(by_offset, x.dtype))


@composite("LayerNorm", gradient=_layer_norm_gradient)
def LAYER_NORM(x: Node, scale: Node, offset: Node, *, epsilon: float = 1e-6) -> Node:
    """Mean 0 and variance 1 along the last axis, then scale and offset: the centred variance keeps its accuracy for any mean."""
    (last,) = last_axis(x)
    for each, what in ((scale, "scale"), (offset, "offset")):
        if not same_dims(each.shape, (x.shape[last],)):
            raise ValueError(f"{what} must be a vector of the size of the last axis, {x.shape[last]}, not of shape {show_dims(each.shape)}")
    wide = dtypes.float32 if x.dtype.size == 2 else x.dtype
    n, _ = _normalised(p.convert(x, wide), epsilon)
    scaled = p.multiply(n, broadcast_to(p.convert(scale, wide), n.shape))
    return p.convert(p.add(scaled, broadcast_to(p.convert(offset, wide), n.shape)), x.dtype)


def layer_norm(x: Any, scale: Any, offset: Any, epsilon: float = 1e-6, name: str | None = None) -> Tensor:
    """Mean 0 and variance 1 along the last axis, times `scale` plus `offset` (J. L. Ba et al., arXiv:1607.06450)."""
    return declare_one(LAYER_NORM, {"x": x, "scale": scale, "offset": offset}, {"epsilon": float(epsilon)}, name)


# dropout, embedding_lookup ---------------------------------------------------------------------------------------------------------------

def dropout(x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
            rate: Any = None) -> Tensor:
    """Each element is 0 with probability `rate` (1 - keep_prob), else divided by 1 - rate: the expected value stays."""
    if keep_prob is not None and rate is not None:
        raise ValueError("Cannot specify both 'rate' and 'keep_prob'")
    if keep_prob is None and rate is None:
        raise ValueError("You must provide a rate to dropout.")
    chance = 1 - keep_prob if rate is None else rate
    with name_scope(name, "dropout", [x]):
        values = as_tensor(x, name="x")
        if not values.dtype.is_floating:
            raise ValueError(f"x has to be a floating point tensor since it's going to be scaled. Got a {values.dtype!r} tensor instead.")
        if not isinstance(chance, Tensor) and not 0 <= chance < 1:
            raise ValueError(f"rate must be a scalar tensor or a float in the range [0, 1), got {chance:g}")
        if not isinstance(chance, Tensor) and chance == 0:
            return values
        chance = convert_to_tensor(chance, values.dtype, "rate")
        numbers = random_uniform(shape(values) if noise_shape is None else noise_shape, seed=seed, dtype=values.dtype)
        scale = 1 / (1 - chance)
        kept = numbers >= chance
        result = values * scale * cast(kept, values.dtype)
        result.set_shape(values.shape_tuple)
        return result


def embedding_lookup(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None, validate_indices: bool = True,
                     max_norm: float | None = None) -> Tensor:
    """The rows of `params` (one tensor) at the integer `ids`."""
    if isinstance(params, list | tuple):
        if len(params) != 1:
            raise ValueError("embedding_lookup takes one tensor of params: concatenate partitions first")
        params = params[0]
    with name_scope(name, "embedding_lookup", [params, ids]) as scope:
        return identity(gather(params, as_tensor(ids, name="ids"), name=scope))
