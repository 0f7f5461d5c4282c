"""Random numbers of TF1: operations that give others in each run, and TF1's seeds.

Counter-based, so that a run is a pure function of its number. Each random operation owns a counter, the number of the run; its bits are
Philox4x32-10 of (element, run) under a key made of the seeds.
"""
from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OpDef, State, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.ops import draws
from graphc.ops.creation import zeros_like
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope, shape_dims
from graphc.ops.elementwise import add, add_v2, maximum, multiply, subtract, truediv
from graphc.ops.incomplete import gamma_sample_slope
from graphc.primitives.sugar import broadcast_to

DEFAULT_GRAPH_SEED = 87654321


def set_random_seed(seed: int | None) -> None:
    """The graph-level seed of the default graph: with it, every random operation repeats its numbers in each new session."""
    get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The pair of seeds of a random operation declared now: TF1's rule. (None, None): a new sequence in every session."""
    graph = get_default_graph()
    if graph.seed is None and op_seed is None:
        return None, None
    seeds = (DEFAULT_GRAPH_SEED if graph.seed is None else graph.seed, graph.version if op_seed is None else op_seed)
    seeds = (seeds[0] % 2 ** 31, seeds[1] % 2 ** 31)
    return (0, 2 ** 31 - 1) if seeds == (0, 0) else seeds


def first_run(operation: Operation) -> int:
    """What the counter of a random operation begins with in a new session: 0 with seeds, else any number, so that neither two
    operations nor two sessions repeat each other."""
    seeded = operation.attrs["seed"] or operation.attrs["seed2"]
    return 0 if seeded else secrets.randbits(64)


# Operations ------------------------------------------------------------------------------------------------------------------------------

@composite("RandomUniform", stateful=True)
def RANDOM_UNIFORM(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Uniform in [0, 1)."""
    return draws.unit(draws.words(state.counter(), (seed, seed2), draws.unit_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("RandomStandardNormal", stateful=True)
def RANDOM_STANDARD_NORMAL(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Normal with mean 0 and deviation 1."""
    return draws.normal(draws.words(state.counter(), (seed, seed2), draws.normal_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("TruncatedNormal", stateful=True)
def TRUNCATED_NORMAL(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Normal with mean 0 and deviation 1, nothing beyond two deviations."""
    return draws.truncated(draws.words(state.counter(), (seed, seed2), draws.unit_words(dtype), shape_dims(shape, dtype)), dtype)


@composite("RandomUniformInt", stateful=True)
def RANDOM_UNIFORM_INT(state: State, shape: Node, minval: Node, maxval: Node, *, seed: int = 0, seed2: int = 0) -> Node:
    """Integers in [minval, maxval)."""
    return draws.integers(draws.words(state.counter(), (seed, seed2), 2, shape_dims(shape, minval.dtype)), minval, maxval)


@composite("RandomGamma", stateful=True)
def RANDOM_GAMMA(state: State, shape: Node, alpha: Node, *, seed: int = 0, seed2: int = 0) -> Node:
    """Gamma distributed: `shape` numbers for each alpha."""
    return draws.gamma(state.counter(), (seed, seed2), shape_dims(shape, alpha.dtype), alpha)


def _by_shape_parameter(sample: Node, alpha: Node, y: Node, g: Node) -> Sequence[Node | None]:
    """How each sample moves with its alpha, summed over the samples of one alpha."""
    wide = dtypes.float64 if alpha.dtype is dtypes.float64 else dtypes.float32
    slope = gamma_sample_slope(broadcast_to(p.convert(alpha, wide), sample.shape), p.convert(sample, wide))
    leading = range(len(sample.shape) - len(alpha.shape))
    return None, p.convert(p.reduce_sum(p.multiply(p.convert(g, wide), slope), tuple(leading)), alpha.dtype)


@composite("ImplicitGamma", gradient=_by_shape_parameter)
def IMPLICIT_GAMMA(sample: Node, alpha: Node) -> Node:
    """The gamma distributed `sample` itself, which has a gradient by `alpha`."""
    return sample


@composite("RandomPoissonV2", stateful=True)
def RANDOM_POISSON(state: State, shape: Node, rate: Node, *, dtype: DType = dtypes.int64, seed: int = 0, seed2: int = 0) -> Node:
    """Poisson distributed: `shape` numbers for each rate."""
    return p.convert(draws.poisson(state.counter(), (seed, seed2), shape_dims(shape, dtype), rate), dtype)


@composite("Multinomial", stateful=True)
def MULTINOMIAL(state: State, logits: Node, num_samples: Node, *, seed: int = 0, seed2: int = 0,
                output_dtype: DType = dtypes.int64) -> Node:
    """Classes with probability softmax(logits): [batch, num_samples]."""
    (samples,) = static_dims(num_samples) or (None,)
    return draws.categories(state.counter(), (seed, seed2), logits, samples, output_dtype)


def _attrs(dtype: DType, seed: int | None) -> dict[str, Any]:
    return {"dtype": dtype, **_seeds(seed)}


def _seeds(seed: int | None) -> dict[str, int]:
    first, second = get_seed(seed)
    return {"seed": first or 0, "seed2": second or 0}


def _shape_tensor(shape: Any) -> Tensor:
    """`shape` as an integer vector called "shape"."""
    return as_tensor(shape, None if isinstance(shape, Tensor) or _holds_tensors(shape) else dtypes.int32, "shape")


def _holds_tensors(shape: Any) -> bool:
    return isinstance(shape, list | tuple) and any(isinstance(each, Tensor) for each in shape)


def _shifted(definition: OpDef, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: int | None, name: str | None, default: str) -> Tensor:
    """mean + stddev times the numbers of `definition`."""
    kind = as_dtype(dtype)
    with name_scope(name, default, [shape, mean, stddev]) as scope:
        dims = _shape_tensor(shape)
        centre, width = as_tensor(mean, kind, "mean"), as_tensor(stddev, kind, "stddev")
        numbers = declare_one(definition, {"shape": dims}, _attrs(kind, seed), other={"shape": INDEX})
        return add(multiply(numbers, width, "mul"), centre, scope)


def random_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
                  name: str | None = None) -> Tensor:
    """Normal random numbers."""
    return _shifted(RANDOM_STANDARD_NORMAL, shape, mean, stddev, dtype, seed, name, "random_normal")


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
                     name: str | None = None) -> Tensor:
    """Normal random numbers, none of them beyond two deviations from the mean."""
    return _shifted(TRUNCATED_NORMAL, shape, mean, stddev, dtype, seed, name, "truncated_normal")


def random_uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
                   name: str | None = None) -> Tensor:
    """Uniform random numbers in [minval, maxval); of integers `maxval` must be given."""
    kind = as_dtype(dtype)
    if not kind.is_floating and kind not in (dtypes.int32, dtypes.int64):
        raise ValueError(f"Invalid dtype {kind!r}")
    if maxval is None:
        if kind.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {kind!r}")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        dims = _shape_tensor(shape)
        low, high = as_tensor(minval, kind, "min"), as_tensor(maxval, kind, "max")
        attrs = _attrs(kind, seed)
        if kind.is_integer:
            del attrs["dtype"]
            return declare_one(RANDOM_UNIFORM_INT, {"shape": dims, "minval": low, "maxval": high}, attrs, scope, other={"shape": INDEX})
        numbers = declare_one(RANDOM_UNIFORM, {"shape": dims}, attrs, other={"shape": INDEX})
        return add(multiply(numbers, subtract(high, low, "sub"), "mul"), low, scope)


def random_gamma(shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
                 name: str | None = None) -> Tensor:
    """`shape` gamma distributed numbers for each `alpha` (the shape of the distribution) and `beta` (its inverse scale, 1); differentiable
    by both."""
    with name_scope(name, "random_gamma", [shape, alpha, beta]):
        dims = as_tensor(shape, None if isinstance(shape, Tensor) else dtypes.int32, "shape")
        kind = as_dtype(dtype)
        concentration = as_tensor(alpha, kind, "alpha")
        inverse_scale = as_tensor(1 if beta is None else beta, kind, "beta")
        spread = add_v2(concentration, zeros_like(inverse_scale), "add")
        numbers = declare_one(RANDOM_GAMMA, {"shape": dims, "alpha": spread}, _seeds(seed), other={"shape": INDEX})
        samples = declare_one(IMPLICIT_GAMMA, {"sample": numbers, "alpha": spread})
        return maximum(np.finfo(kind.np_dtype).tiny, truediv(samples, inverse_scale))


def random_poisson(lam: Any, shape: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Tensor:
    """`shape` Poisson distributed numbers for each rate `lam`."""
    with name_scope(name, "random_poisson", [lam, shape]):
        dims = as_tensor(shape, None if isinstance(shape, Tensor) else dtypes.int32, "shape")
        rate = lam if isinstance(lam, Tensor) else as_tensor(lam, dtypes.float64 if as_dtype(dtype).is_integer else dtype, "rate")
        inputs = {"shape": dims, "rate": rate}
        return declare_one(RANDOM_POISSON, inputs, _attrs(as_dtype(dtype), seed), other={"shape": INDEX})


def multinomial(logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None) -> Tensor:
    """`num_samples` classes for each row of `logits` [batch, classes], with probability softmax(logits): [batch, num_samples]."""
    with name_scope(name, "multinomial", [logits]):
        return _drawn(logits, num_samples, output_dtype, seed)


def categorical(logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None) -> Tensor:
    """`num_samples` classes for each row of `logits` [batch, classes], with probability softmax(logits): [batch, num_samples]."""
    with name_scope(name, "categorical", [logits]):
        return _drawn(logits, num_samples, dtype, seed)


def _drawn(logits: Any, num_samples: Any, dtype: Any, seed: int | None) -> Tensor:
    scores = as_tensor(logits, name="logits")
    attrs = {**_seeds(seed), "output_dtype": as_dtype(dtypes.int64 if dtype is None else dtype)}
    return declare_one(MULTINOMIAL, {"logits": scores, "num_samples": num_samples}, attrs, other={"num_samples": INDEX})


@composite("RandomShuffle", stateful=True)
def RANDOM_SHUFFLE(state: State, value: Node, *, seed: int = 0, seed2: int = 0) -> Node:
    """The slices of `value` along its first axis in a random order: that of as many random words."""
    if not value.shape:
        return value
    (word,) = draws.words(state.counter(), (seed, seed2), 1, value.shape[:1])
    return p.gather(value, p.argsort(word, 0), 0)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The slices of `value` along its first axis in a random order, a new one in each run."""
    return declare_one(RANDOM_SHUFFLE, {"value": value}, _seeds(seed), name)
