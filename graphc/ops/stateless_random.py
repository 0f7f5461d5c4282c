"""Random numbers that are a function of a seed: two integers, which may be tensors. The same seed gives the same numbers in every run.

The seed is the counter of Philox, whose key is fixed; see `draws`. TF1 has the same functions with other numbers.
"""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.ops import draws
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope, shape_dims
from graphc.ops.elementwise import add, multiply, subtract

KEY = (0x243F6A88, 0x85A308D3)  # pi's fraction
_SEED_KEY = (0x13198A2E, 0x03707344)


def _counter(seed: Node) -> Node:
    """A uint64 of two integers: 64 bits drawn under the first of them, plus the second."""
    if len(seed.shape) != 1 or seed.shape[0] not in (2, None):
        raise ValueError(f"seed must be a vector of two integers, got shape {list(seed.shape)}")
    if not seed.dtype.is_integer:
        raise TypeError(f"seed must be of int32 or int64, not {seed.dtype.name}")
    if seed.shape[0] is None:
        return p.parameter("?seed", p.constant(0, dtypes.uint64).type)
    first, second = (p.reshape(p.slice_(p.convert(seed, dtypes.uint64), (n,), (n + 1,)), ()) for n in range(2))
    high, low = (p.convert(word, dtypes.uint64) for word in draws.words(first, _SEED_KEY, 2, ()))
    return p.add(p.or_(p.shift_left(high, p.constant(32, dtypes.uint64)), low), second)


@composite("StatelessRandomUniform", gradient=False)
def UNIFORM(shape: Node, seed: Node, *, dtype: DType) -> Node:
    """Uniform in [0, 1)."""
    return draws.unit(draws.words(_counter(seed), KEY, draws.unit_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("StatelessRandomNormal", gradient=False)
def NORMAL(shape: Node, seed: Node, *, dtype: DType) -> Node:
    """Normal with mean 0 and deviation 1."""
    return draws.normal(draws.words(_counter(seed), KEY, draws.normal_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("StatelessTruncatedNormal", gradient=False)
def TRUNCATED_NORMAL(shape: Node, seed: Node, *, dtype: DType) -> Node:
    """Normal with mean 0 and deviation 1, nothing beyond two deviations."""
    return draws.truncated(draws.words(_counter(seed), KEY, draws.unit_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("StatelessRandomUniformInt", gradient=False)
def UNIFORM_INT(shape: Node, seed: Node, minval: Node, maxval: Node) -> Node:
    """Integers in [minval, maxval)."""
    return draws.integers(draws.words(_counter(seed), KEY, 2, shape_dims(shape, minval.dtype)), minval, maxval)


@composite("StatelessMultinomial", gradient=False)
def MULTINOMIAL(logits: Node, num_samples: Node, seed: Node, *, output_dtype: DType = dtypes.int64) -> Node:
    """Classes with probability softmax(logits): [batch, num_samples]."""
    (samples,) = static_dims(num_samples) or (None,)
    return draws.categories(_counter(seed), KEY, logits, samples, output_dtype)


def _scaled(definition: OpDef, shape: Any, seed: Any, mean: Any, stddev: Any, dtype: Any, name: str | None, default: str) -> Tensor:
    kind = as_dtype(dtype)
    with name_scope(name, default, [shape, seed, mean, stddev]) as scope:
        dims = as_tensor(shape, None if isinstance(shape, Tensor) else dtypes.int32, "shape")
        centre, width = as_tensor(mean, kind, "mean"), as_tensor(stddev, kind, "stddev")
        numbers = declare_one(definition, {"shape": dims, "seed": seed}, {"dtype": kind}, other={"shape": INDEX, "seed": dtypes.int64})
        return add(multiply(numbers, width, "mul"), centre, scope)


def stateless_random_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32,
                            name: str | None = None) -> Tensor:
    """Normal random numbers determined by `seed`, two integers."""
    return _scaled(NORMAL, shape, seed, mean, stddev, dtype, name, "stateless_random_normal")


def stateless_truncated_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32,
                               name: str | None = None) -> Tensor:
    """Normal random numbers determined by `seed`, two integers; none of them is beyond two deviations from the mean."""
    return _scaled(TRUNCATED_NORMAL, shape, seed, mean, stddev, dtype, name, "stateless_truncated_normal")


def stateless_random_uniform(shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32,
                             name: str | None = None) -> Tensor:
    """Uniform random numbers in [minval, maxval) determined by `seed`, two integers; of integers `maxval` must be given."""
    kind = as_dtype(dtype)
    if not kind.is_floating and kind not in (dtypes.int32, dtypes.int64):
        raise ValueError(f"Invalid dtype {kind!r}")
    if maxval is None:
        if kind.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {kind!r}")
        maxval = 1
    with name_scope(name, "stateless_random_uniform", [shape, seed, minval, maxval]) as scope:
        dims = as_tensor(shape, None if isinstance(shape, Tensor) else dtypes.int32, "shape")
        low, high = as_tensor(minval, kind, "min"), as_tensor(maxval, kind, "max")
        inputs, other = {"shape": dims, "seed": seed}, {"shape": INDEX, "seed": dtypes.int64}
        if kind.is_integer:
            return declare_one(UNIFORM_INT, {**inputs, "minval": low, "maxval": high}, None, scope, other=other)
        numbers = declare_one(UNIFORM, inputs, {"dtype": kind}, other=other)
        return add(multiply(numbers, subtract(high, low, "sub"), "mul"), low, scope)


def stateless_multinomial(logits: Any, num_samples: Any, seed: Any, output_dtype: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """`num_samples` classes for each row of `logits` [batch, classes], determined by `seed`, two integers."""
    with name_scope(name, "stateless_multinomial", [logits, seed]):
        return _drawn(logits, num_samples, seed, output_dtype)


def stateless_categorical(logits: Any, num_samples: Any, seed: Any, dtype: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """`num_samples` classes for each row of `logits` [batch, classes], determined by `seed`, two integers."""
    with name_scope(name, "stateless_categorical", [logits, seed]):
        return _drawn(logits, num_samples, seed, dtype)


def _drawn(logits: Any, num_samples: Any, seed: Any, dtype: Any) -> Tensor:
    inputs = {"logits": as_tensor(logits, name="logits"), "num_samples": num_samples, "seed": seed}
    return declare_one(MULTINOMIAL, inputs, {"output_dtype": as_dtype(dtype)}, other={"num_samples": INDEX, "seed": dtypes.int64})
