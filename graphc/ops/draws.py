"""From random bits to numbers: uniform, normal, truncated normal, integers, gamma, Poisson, categories. Functions of nodes, no operations.

The bits are Philox4x32-10 of (element, counter) under a key. What a rejection method would repeat until it succeeds is tried a fixed number
of times along a last axis, of which the first success counts: one fused kernel whose rows stay in registers, and no loop whose length
depends on the numbers. Tries are so many that all fail about once in 10^8 elements; the last one counts then.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.core.types import Dim, Dims
from graphc.primitives.sugar import fill_like

Key = tuple[int, int]
TRIES = 8  # of the gamma distribution, of which at least 95% succeed
POISSON_TRIES = 16  # of which at least 75% succeed


def words(counter: Node, key: Key, count: int, shape: Dims) -> list[Node]:
    """`count` independent uint32 arrays of `shape`."""
    bits = p.random_bits(counter, (key[0] % 2 ** 32, key[1] % 2 ** 32), (count, *shape))
    rest = (0,) * len(shape)
    return [p.reshape(p.slice_(bits, (n, *rest), (n + 1, *shape)), shape) for n in range(count)]


def _scaled(x: Node, factor: float) -> Node:
    return p.multiply(x, fill_like(x, factor))


def _upper_bits(word: Node, count: int) -> Node:
    return p.shift_right_logical(word, fill_like(word, 32 - count))


def unit(words: Sequence[Node], dtype: DType) -> Node:
    """Uniform in [0, 1): as many bits as the significand of `dtype` holds. float64 takes two words, the others the first."""
    if dtype is dtypes.float64:
        high, low = p.convert(_upper_bits(words[0], 27), dtype), p.convert(_upper_bits(words[1], 26), dtype)
        return _scaled(p.add(_scaled(high, 2.0 ** 26), low), 2.0 ** -53)
    bits = {dtypes.float32: 24, dtypes.float16: 11, dtypes.bfloat16: 8}[dtype]
    return _scaled(p.convert(_upper_bits(words[0], bits), dtype), 2.0 ** -bits)


def _computed_in(dtype: DType) -> DType:
    """The type that normal numbers of `dtype` are computed in."""
    return dtypes.float64 if dtype is dtypes.float64 else dtypes.float32


def normal(words: Sequence[Node], dtype: DType) -> Node:
    """Standard normal numbers: sqrt(-2 log u) cos(2 pi v), u in (0, 1] (G. E. P. Box and M. E. Muller, 1958)."""
    kind = _computed_in(dtype)
    if kind is dtypes.float64:
        u = p.subtract(fill_like(unit(words, kind), 1), unit(words, kind))
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


def truncated(words: Sequence[Node], dtype: DType) -> Node:
    """Standard normal numbers within two deviations: the inverse of the distribution function at a uniform number."""
    kind = _computed_in(dtype)
    inside = math.erf(math.sqrt(2))  # the probability of |x| < 2
    u = unit(words, kind)
    centred = p.subtract(_scaled(u, 2 * inside), fill_like(u, inside))
    return p.convert(_scaled(_inverse_erf(centred), math.sqrt(2)), dtype)


def unit_words(dtype: DType) -> int:
    """How many words a uniform number of `dtype` takes."""
    return 2 if dtype is dtypes.float64 else 1


def normal_words(dtype: DType) -> int:
    return 3 if dtype is dtypes.float64 else 2


def integers(pair: Sequence[Node], low: Node, high: Node) -> Node:
    """Integers in [low, high), two scalars: 64 random bits modulo the width of the range."""
    dims = pair[0].shape
    upper, lower = (p.convert(word, dtypes.uint64) for word in pair)
    bits = p.or_(p.shift_left(upper, fill_like(upper, 32)), lower)
    width = p.convert(p.subtract(high, low), dtypes.uint64)
    if low.dtype.size < 8:
        width = p.and_(width, p.constant(2 ** (8 * low.dtype.size) - 1, dtypes.uint64))
    offset = p.remainder(bits, p.broadcast_in_dim(width, dims, ()))
    return p.add(p.broadcast_in_dim(low, dims, ()), p.convert(offset, low.dtype))


# Rejection -------------------------------------------------------------------------------------------------------------------------------

def _spread(x: Node, shape: Dims) -> Node:
    """`x` repeated along new leading axes and along the tries, the last axis of `shape`."""
    first = len(shape) - 1 - len(x.shape)
    return p.broadcast_in_dim(x, shape, range(first, first + len(x.shape)))


def _first_accepted(accepted: Node, values: Node) -> Node:
    """Along the last axis the first of `values` that is accepted; the last where none is."""
    last = len(values.shape) - 1
    count = values.shape[last] or 0
    position = p.iota(values.shape, last, dtypes.int32)
    first = p.reduce_min(p.select(accepted, position, fill_like(position, count - 1)), (last,))
    chosen = p.compare(position, p.broadcast_in_dim(first, values.shape, range(last)), "EQ")
    return p.reduce_sum(p.select(chosen, values, fill_like(values, 0)), (last,))


def gamma(counter: Node, key: Key, shape: Dims, alpha: Node) -> Node:
    """Gamma distributed with density x^(alpha - 1) e^-x / Gamma(alpha): [*shape, *alpha's] of its type.

    Source: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", 2000, whose section 6 brings alpha below 1 to
    alpha + 1.
    """
    kind = _computed_in(alpha.dtype)
    concentration = p.convert(alpha, kind)
    small = p.compare(concentration, fill_like(concentration, 1), "LT")
    raised = p.select(small, p.add(concentration, fill_like(concentration, 1)), concentration)
    d = p.subtract(raised, fill_like(raised, 1 / 3))
    c = p.rsqrt(_scaled(d, 9))
    dims: Dims = (*shape, *alpha.shape)
    tried: Dims = (*dims, TRIES)
    count = normal_words(kind)
    given = words(counter, key, count + unit_words(kind), tried)
    x, u = normal(given[:count], kind), _positive(unit(given[count:], kind))
    root = p.add(p.multiply(_spread(c, tried), x), fill_like(x, 1))
    v = p.multiply(root, p.multiply(root, root))
    inside = p.compare(v, fill_like(v, 0), "GT")
    ratio = p.subtract(fill_like(v, 1), p.subtract(v, p.log(p.select(inside, v, fill_like(v, 1)))))
    bound = p.add(_scaled(p.multiply(x, x), 0.5), p.multiply(_spread(d, tried), ratio))
    found = _first_accepted(p.and_(inside, p.compare(p.log(u), bound, "LT")), v)
    spread = [p.broadcast_in_dim(each, dims, range(len(shape), len(dims))) for each in (d, small, concentration)]
    large = p.multiply(spread[0], found)
    more = words(counter, _second(key), unit_words(kind), dims)
    boost = p.power(_positive(unit(more, kind)), p.divide(fill_like(large, 1), spread[2]))
    return p.convert(p.select(spread[1], p.multiply(large, boost), large), alpha.dtype)


def _second(key: Key) -> Key:
    """A key of further bits: no seed has its highest bit."""
    return key[0] | 2 ** 31, key[1]


def _positive(u: Node) -> Node:
    """A uniform number in (0, 1] of one in [0, 1)."""
    return p.subtract(fill_like(u, 1), u)


def _log_factorial(k: Node) -> Node:
    """log(k!) = log Gamma(z) for z = k + 1 >= 1: Stirling's series, which from 8 on is exact to 10^-9; below by way of z + 8."""
    z = p.add(k, fill_like(k, 1))
    product = z
    for n in range(1, 8):
        product = p.multiply(product, p.add(z, fill_like(z, n)))
    small = p.compare(z, fill_like(z, 8), "LT")
    w = p.select(small, p.add(z, fill_like(z, 8)), z)
    inverse = p.divide(fill_like(w, 1), w)
    square = p.multiply(inverse, inverse)
    series = fill_like(w, 1 / 1260)
    for coefficient in (-1 / 360, 1 / 12):
        series = p.add(p.multiply(series, square), fill_like(w, coefficient))
    stirling = p.add(p.subtract(p.multiply(p.subtract(w, fill_like(w, 0.5)), p.log(w)), w), p.multiply(series, inverse))
    total = p.add(stirling, fill_like(w, 0.5 * math.log(2 * math.pi)))
    return p.select(small, p.subtract(total, p.log(p.select(small, product, fill_like(w, 1)))), total)


def poisson(counter: Node, key: Key, shape: Dims, rate: Node) -> Node:
    """Poisson distributed numbers, whole, as float64: [*shape, *rate's]. A rate of 0 gives 0, a negative one or NaN gives NaN.

    Source: W. Hoermann, "The transformed rejection method for generating Poisson random variables", 1993 (PTRS), for rates from 10 on. Of
    a smaller rate r the events are those of rate 10 that are kept, each with probability r / 10.
    """
    dims: Dims = (*shape, *rate.shape)
    wide = p.convert(rate, dtypes.float64)
    ten = fill_like(wide, 10)
    at_least = p.maximum(wide, ten)
    events = _transformed_rejection(words(counter, key, 4, (*dims, POISSON_TRIES)), at_least)
    most = 48  # events of rate 10: more come once in 10^17 times
    kept: Dims = (*dims, most)
    (word,) = words(counter, _second(key), 1, kept)
    chance = _spread(p.divide(p.minimum(wide, ten), ten), kept)
    position = p.convert(p.iota(kept, len(dims), dtypes.int32), dtypes.float64)
    happened = p.compare(position, p.broadcast_in_dim(events, kept, range(len(dims))), "LT")
    stays = p.and_(happened, p.compare(_scaled(p.convert(word, dtypes.float64), 2.0 ** -32), chance, "LT"))
    thinned = p.reduce_sum(p.convert(stays, dtypes.float64), (len(dims),))
    rates = p.broadcast_in_dim(wide, dims, range(len(shape), len(dims)))
    result = p.select(p.compare(rates, fill_like(rates, 10), "LT"), thinned, events)
    return p.select(p.compare(rates, fill_like(rates, 0), "GE"), result, fill_like(rates, math.nan))


def _transformed_rejection(given: Sequence[Node], rate: Node) -> Node:
    """PTRS, with Hoermann's names of the constants."""
    tried = given[0].shape
    b = p.add(_scaled(p.sqrt(rate), 2.53), fill_like(rate, 0.931))
    a = p.add(_scaled(b, 0.02483), fill_like(rate, -0.059))
    inverse_alpha = p.add(p.divide(fill_like(b, 1.1328), p.subtract(b, fill_like(b, 3.4))), fill_like(b, 1.1239))
    v_r = p.subtract(fill_like(b, 0.9277), p.divide(fill_like(b, 3.6224), p.subtract(b, fill_like(b, 2))))
    spread = {name: _spread(each, tried) for name, each in (
        ("rate", rate), ("a", a), ("b", b), ("scale", p.log(inverse_alpha)), ("v_r", v_r), ("log", p.log(rate)))}
    u = p.subtract(unit(given[:2], dtypes.float64), p.broadcast_in_dim(p.constant(0.5, dtypes.float64), tried, ()))
    v = _positive(unit(given[2:], dtypes.float64))
    us = p.subtract(fill_like(u, 0.5), p.abs_(u))
    safe = p.maximum(us, fill_like(us, 2.0 ** -54))
    moved = p.add(p.multiply(p.add(p.divide(_scaled(spread["a"], 2), safe), spread["b"]), u), p.add(spread["rate"], fill_like(u, 0.43)))
    k = p.floor(moved)
    quick = p.and_(p.compare(us, fill_like(us, 0.07), "GE"), p.compare(v, spread["v_r"], "LE"))
    wrong = p.or_(p.compare(k, fill_like(k, 0), "LT"), p.and_(p.compare(us, fill_like(us, 0.013), "LT"), p.compare(v, us, "GT")))
    counted = p.maximum(k, fill_like(k, 0))
    hat = p.log(p.add(p.divide(spread["a"], p.multiply(safe, safe)), spread["b"]))
    left = p.subtract(p.add(p.log(v), spread["scale"]), hat)
    right = p.subtract(p.subtract(p.multiply(counted, spread["log"]), spread["rate"]), _log_factorial(counted))
    accepted = p.and_(p.not_(wrong), p.or_(quick, p.compare(left, right, "LE")))
    return _first_accepted(accepted, counted)


# Categories ------------------------------------------------------------------------------------------------------------------------------

def categories(counter: Node, key: Key, logits: Node, samples: Dim, dtype: DType) -> Node:
    """Classes drawn with probability softmax(logits): [batch, samples] of `dtype` from logits [batch, classes].

    The class is the number of running sums of probabilities that are not above a uniform number.
    """
    if len(logits.shape) != 2:
        raise ValueError(f"logits should be a matrix, got shape of rank {len(logits.shape)}")
    batch, classes = logits.shape
    wide = p.convert(logits, dtypes.float64)
    greatest = p.broadcast_in_dim(p.reduce_max(wide, (1,)), wide.shape, (0,))
    sums = p.cumulative_sum(p.exponential(p.subtract(wide, greatest)), 1)
    total = p.reduce_max(sums, (1,))
    u = unit(words(counter, key, 2, (batch, samples)), dtypes.float64)
    level = p.multiply(u, p.broadcast_in_dim(total, (batch, samples), (0,)))
    domain: Dims = (batch, samples, classes)
    below = p.compare(p.broadcast_in_dim(sums, domain, (0, 2)), p.broadcast_in_dim(level, domain, (0, 1)), "LE")
    return p.reduce_sum(p.convert(below, dtype), (2,))
