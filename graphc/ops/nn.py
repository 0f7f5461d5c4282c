"""The rest of TF1's `nn`: bias, paired activations, Poisson loss, dropout."""
from __future__ import annotations

import math
from numbers import Real
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.shapes import as_dims
from graphc.core.types import same_dims, show_dims
from graphc.ops.activations import relu
from graphc.ops.array import identity, shape, size
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like, zeros_like
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.elementwise import cast, exp, greater_equal, less_equal, log, logical_and, negative
from graphc.ops.joining import concat
from graphc.ops.linear import matmul
from graphc.ops.parts import replaced
from graphc.ops.random import random_uniform
from graphc.ops.reductions import count_nonzero

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
    channels = known[1] if known[0] is None else known[0]
    return p.add(value, p.broadcast_in_dim(bias, replaced(value.shape, axis, channels), (axis,)))


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


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """relu of [x, -x], joined along `axis` (W. Shang et al., arXiv:1603.05201)."""
    with name_scope(name, "CRelu", [features]) as scope:
        x = as_tensor(features, name="features")
        return relu(concat([x, negative(x)], axis, name=scope))


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Tensor:
    """-log of the Poisson probability of `targets` z at rate e^c, without the term of z alone: e^c - z c.

    compute_full_loss: adds that term by Stirling's formula, z log z - z + log(2 pi z) / 2, except where 0 <= z <= 1.
    """
    with name_scope(name, "log_poisson_loss", [log_input, targets]):
        c = as_tensor(log_input, name="log_input")
        z = as_tensor(targets, c.dtype if not isinstance(targets, Tensor) else None, "targets")
        if c.shape_tuple is not None and z.shape_tuple is not None and not same_dims(c.shape_tuple, z.shape_tuple):
            raise ValueError(f"log_input and targets must have the same shape ({c.shape} vs {z.shape})")
        loss = exp(c) - c * z
        if compute_full_loss:
            stirling = z * log(z) - z + 0.5 * log(2 * math.pi * z)
            small = logical_and(greater_equal(z, zeros_like(z)), less_equal(z, ones_like(z)))
            loss = loss + where(small, zeros_like(z), stirling)
        return loss


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The fraction of the elements of `value` that are 0, a float32; NaN of no elements."""
    with name_scope(name, "zero_fraction", [value]):
        x = as_tensor(value, name="value")
        count = size(x, out_type=dtypes.int64)
        return identity(cast(count - count_nonzero(x), dtypes.float32) / cast(count, dtypes.float32), "fraction")


# dropout ---------------------------------------------------------------------------------------------------------------------------------

def _noise_shape(x: Tensor, noise_shape: Any) -> Any:
    """`noise_shape` with the dims of `x` where it says None."""
    if noise_shape is None:
        return shape(x)
    if isinstance(noise_shape, Tensor) or any(isinstance(each, Tensor) for each in noise_shape):
        return noise_shape
    dims = as_dims(noise_shape) or ()
    if None not in dims:
        return dims
    sizes = shape(x)
    known = x.shape_tuple or (None,) * len(dims)
    if len(known) != len(dims):
        raise ValueError(f"noise_shape {show_dims(dims)} must have the rank of x, {show_dims(known)}, where it leaves a dim open")
    given = [own if dim is None else dim for dim, own in zip(dims, known, strict=True)]
    return [sizes[axis] if dim is None else dim for axis, dim in enumerate(given)]


def dropout(x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
            rate: Any = None) -> Tensor:
    """Each element is 0 with probability `rate` (1 - keep_prob), else divided by 1 - rate: the expected value stays.

    noise_shape: of the random choices, broadcast to `x`: where it is 1 a whole axis stays or goes together; None: as in `x`. rate: a number
    in [0, 1), or a scalar tensor. ValueError for another number, both or none of rate and keep_prob, or an `x` that is not of floats.
    """
    if keep_prob is not None and rate is not None:
        raise ValueError("Cannot specify both 'rate' and 'keep_prob'")
    if keep_prob is None and rate is None:
        raise ValueError("You must provide a rate to dropout.")
    chance = 1 - keep_prob if rate is None else rate
    with name_scope(name, "dropout", [x]):
        values = as_tensor(x, name="x")
        if not values.dtype.is_floating:
            raise ValueError(f"x has to be a floating point tensor since it's going to be scaled. Got a {values.dtype!r} tensor instead.")
        if isinstance(chance, Real):
            if not 0 <= float(chance) < 1:
                raise ValueError(f"rate must be a scalar tensor or a float in the range [0, 1), got {float(chance):g}")
            if chance == 0:
                return values
        chance = convert_to_tensor(chance, values.dtype, "rate")
        if chance.rank not in (0, None):
            raise ValueError(f"rate must be a scalar tensor or a float in the range [0, 1), got a tensor of shape {chance.shape}")
        numbers = random_uniform(_noise_shape(values, noise_shape), seed=seed, dtype=values.dtype)
        scale = 1 / (1 - chance)
        kept = numbers >= chance
        result = values * scale * cast(kept, values.dtype)
        result.set_shape(values.shape_tuple)
        return result
