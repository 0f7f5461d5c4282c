"""Random numbers: counter-based, so that a run is a pure function of its number. Uniform, normal, truncated normal, and TF1's seeds.

Each random operation owns a counter, the number of the run; its bits are Philox4x32-10 of (element, run) under a key made of the seeds.
"""
from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OpDef, State, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.types import Dims
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope, shape_dims
from graphc.ops.elementwise import add, multiply, subtract
from graphc.primitives.sugar import fill_like

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


# From bits to numbers --------------------------------------------------------------------------------------------------------------------

def _words(state: State, count: int, shape: Dims, seed: int, seed2: int) -> list[Node]:
    """`count` independent uint32 arrays of `shape`."""
    bits = p.random_bits(state.counter(), (seed % 2 ** 32, seed2 % 2 ** 32), (count, *shape))
    rest = (0,) * len(shape)
    return [p.reshape(p.slice_(bits, (n, *rest), (n + 1, *shape)), shape) for n in range(count)]


def _scaled(x: Node, factor: float) -> Node:
    return p.multiply(x, fill_like(x, factor))


def _upper_bits(word: Node, count: int) -> Node:
    return p.shift_right_logical(word, fill_like(word, 32 - count))


def _unit(words: Sequence[Node], dtype: DType) -> Node:
    """Uniform in [0, 1): as many bits as the significand of `dtype` holds. float64 takes two words, the others the first."""
    if dtype is dtypes.float64:
        high, low = p.convert(_upper_bits(words[0], 27), dtype), p.convert(_upper_bits(words[1], 26), dtype)
        return _scaled(p.add(_scaled(high, 2.0 ** 26), low), 2.0 ** -53)
    bits = {dtypes.float32: 24, dtypes.float16: 11, dtypes.bfloat16: 8}[dtype]
    return _scaled(p.convert(_upper_bits(words[0], bits), dtype), 2.0 ** -bits)


def _computed_in(dtype: DType) -> DType:
    """The type that normal numbers of `dtype` are computed in."""
    return dtypes.float64 if dtype is dtypes.float64 else dtypes.float32


def _normal(words: Sequence[Node], dtype: DType) -> Node:
    """Standard normal numbers: sqrt(-2 log u) cos(2 pi v), u in (0, 1] (G. E. P. Box and M. E. Muller, 1958)."""
    kind = _computed_in(dtype)
    if kind is dtypes.float64:
        u = p.subtract(fill_like(_unit(words, kind), 1), _unit(words, kind))
    else:
        whole = p.convert(words[0], kind)
        u = _scaled(p.add(whole, fill_like(whole, 1)), 2.0 ** -32)  # all 32 bits: the tail reaches 6.6 deviations
    v = _scaled(p.convert(words[-1], kind), 2.0 ** -32)
    return p.convert(p.multiply(p.sqrt(_scaled(p.log(u), -2)), p.cosine(_scaled(v, 2 * math.pi))), dtype)


# M. Giles, "Approximating the erfinv function", 2010: its central branch, single precision, highest power first.
_ERFINV = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727,
           1.50140941)


def _inverse_erf(x: Node) -> Node:
    """erfinv for |x| < 0.996, to the precision of the type: Giles' polynomial, and in float64 two steps of Newton on erf."""
    w = p.subtract(p.negate(p.log(p.multiply(p.subtract(fill_like(x, 1), x), p.add(fill_like(x, 1), x)))), fill_like(x, 2.5))
    total = fill_like(x, _ERFINV[0])
    for coefficient in _ERFINV[1:]:
        total = p.add(p.multiply(total, w), fill_like(x, coefficient))
    y = p.multiply(total, x)
    for _ in range(2 if x.dtype is dtypes.float64 else 0):
        slope = _scaled(p.exponential(p.negate(p.multiply(y, y))), 2 / math.sqrt(math.pi))
        y = p.subtract(y, p.divide(p.subtract(p.erf(y), x), slope))
    return y


def _truncated(words: Sequence[Node], dtype: DType) -> Node:
    """Standard normal numbers within two deviations: the inverse of the distribution function at a uniform number."""
    kind = _computed_in(dtype)
    inside = math.erf(math.sqrt(2))  # the probability of |x| < 2
    u = _unit(words, kind)
    centred = p.subtract(_scaled(u, 2 * inside), fill_like(u, inside))
    return p.convert(_scaled(_inverse_erf(centred), math.sqrt(2)), dtype)


# Operations ------------------------------------------------------------------------------------------------------------------------------

@composite("RandomUniform", stateful=True)
def RANDOM_UNIFORM(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Uniform in [0, 1)."""
    dims = shape_dims(shape, dtype)
    return _unit(_words(state, 2 if dtype is dtypes.float64 else 1, dims, seed, seed2), dtype)


@composite("RandomStandardNormal", stateful=True)
def RANDOM_STANDARD_NORMAL(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Normal with mean 0 and deviation 1."""
    dims = shape_dims(shape, dtype)
    return _normal(_words(state, 3 if dtype is dtypes.float64 else 2, dims, seed, seed2), dtype)


@composite("TruncatedNormal", stateful=True)
def TRUNCATED_NORMAL(state: State, shape: Node, *, dtype: DType, seed: int = 0, seed2: int = 0) -> Node:
    """Normal with mean 0 and deviation 1, nothing beyond two deviations."""
    dims = shape_dims(shape, dtype)
    return _truncated(_words(state, 2 if dtype is dtypes.float64 else 1, dims, seed, seed2), dtype)


@composite("RandomUniformInt", stateful=True)
def RANDOM_UNIFORM_INT(state: State, shape: Node, minval: Node, maxval: Node, *, seed: int = 0, seed2: int = 0) -> Node:
    """Integers in [minval, maxval): 64 random bits modulo the width of the range."""
    dims = shape_dims(shape, minval.dtype)
    high, low = (p.convert(word, dtypes.uint64) for word in _words(state, 2, dims, seed, seed2))
    bits = p.or_(p.shift_left(high, fill_like(high, 32)), low)
    width = p.convert(p.subtract(maxval, minval), dtypes.uint64)
    if minval.dtype.size < 8:
        width = p.and_(width, p.constant(2 ** (8 * minval.dtype.size) - 1, dtypes.uint64))
    offset = p.remainder(bits, p.broadcast_in_dim(width, dims, ()))
    return p.add(p.broadcast_in_dim(minval, dims, ()), p.convert(offset, minval.dtype))


def _attrs(dtype: DType, seed: int | None) -> dict[str, Any]:
    first, second = get_seed(seed)
    return {"dtype": dtype, "seed": first or 0, "seed2": second or 0}


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
