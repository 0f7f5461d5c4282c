"""Fused groups built by hand, with expectations in numpy: what the fusion pass makes, as samples for lowering, schedules and printers."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.core.types import TensorType
from tests.kernels import group

Array = np.ndarray[Any, Any]
F32 = dtypes.float32


@dataclass(frozen=True)
class Sample:
    """One group. build: parameters -> outputs. expected: operands as float64 -> outputs. depth: terms summed into an element."""

    id: str
    kind: str
    types: tuple[TensorType, ...]
    build: Callable[..., Sequence[Node]]
    expected: Callable[..., Sequence[Array]]
    depth: int = 1
    scale: float = 1.0

    def node(self) -> Node:
        parameters = [p.parameter(f"p{n}", t) for n, t in enumerate(self.types)]
        return group(self.kind, self.build(*parameters), parameters)

    def arrays(self) -> list[Array]:
        rng = np.random.default_rng(len(self.id))
        return [_values(rng, t) for t in self.types]

    def want(self) -> list[Array]:
        wide = [a.astype(np.float64) if dtypes.as_dtype(a.dtype).is_floating else a for a in self.arrays()]
        with np.errstate(all="ignore"):
            return [np.asarray(each) for each in self.expected(*wide)]


def _values(rng: np.random.Generator, t: TensorType) -> Array:
    if t.dtype.is_floating:
        return rng.normal(size=t.dims).astype(t.dtype.np_dtype)
    return rng.integers(0, 5, t.dims).astype(t.dtype.np_dtype)


def t(*shape: int, dtype: DType = F32) -> TensorType:
    return TensorType(dtype, shape)


def rows(value: Node, like: Node) -> Node:
    """A value per row, repeated along the last axis of `like`."""
    return p.broadcast_in_dim(value, like.dims, tuple(range(len(like.dims) - 1)))


def columns(value: Node, like: Node) -> Node:
    """A value per column, repeated along all other axes of `like`."""
    return p.broadcast_in_dim(value, like.dims, (len(like.dims) - 1,))


def scaled(value: Node, factor: float) -> Node:
    return p.multiply(value, p.full(factor, value.type))


def softmax(x: Node) -> tuple[Node, ...]:
    last = (len(x.dims) - 1,)
    e = p.exponential(p.subtract(x, rows(p.reduce_max(x, last), x)))
    return (p.divide(e, rows(p.reduce_sum(e, last), x)),)


def layer_norm(x: Node, gain: Node, bias: Node) -> tuple[Node, ...]:
    last = (len(x.dims) - 1,)
    mean = scaled(p.reduce_sum(x, last), 1 / x.dims[-1])
    centred = p.subtract(x, rows(mean, x))
    variance = scaled(p.reduce_sum(p.multiply(centred, centred), last), 1 / x.dims[-1])
    scale = p.rsqrt(p.add(variance, p.full(1e-5, variance.type)))
    normal = p.multiply(centred, rows(scale, x))
    return p.add(p.multiply(normal, columns(gain, x)), columns(bias, x)), mean, scale


def _layer_norm(x: Array, gain: Array, bias: Array) -> Sequence[Array]:
    mean = x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
    return (x - mean) * scale * gain + bias, mean[..., 0], scale[..., 0]


def softmax_gradient(y: Node, g: Node) -> tuple[Node, ...]:
    return (p.multiply(y, p.subtract(g, rows(p.reduce_sum(p.multiply(y, g), (1,)), y))),)


def cross_entropy(labels: Node, logits: Node) -> tuple[Node, ...]:
    """The loss of each row and the gradient by the logits."""
    shifted = p.subtract(logits, rows(p.reduce_max(logits, (1,)), logits))
    e = p.exponential(shifted)
    total = p.reduce_sum(e, (1,))
    loss = p.reduce_sum(p.multiply(labels, p.subtract(rows(p.log(total), logits), shifted)), (1,))
    return loss, p.subtract(p.divide(e, rows(total, logits)), labels)


def _cross_entropy(labels: Array, logits: Array) -> Sequence[Array]:
    log_total = special.logsumexp(logits, axis=1, keepdims=True)
    return (labels * (log_total - logits)).sum(1), np.exp(logits - log_total) - labels


def gelu(x: Node) -> Node:
    half = scaled(x, 0.5)
    return p.multiply(half, p.add(p.full(1.0, x.type), p.erf(scaled(x, 0.5**0.5))))


def _gelu(x: Array) -> Array:
    return x * special.ndtr(x)


def layer(x: Node, w: Node, b: Node) -> tuple[Node, ...]:
    product = p.dot_general(x, w, (), (), (1,), (0,))
    before = p.add(product, columns(b, product))
    return gelu(before), before


def heads(x: Node, y: Node) -> tuple[Node, ...]:
    """[batch, sequence, heads, width] twice -> scores [batch, heads, sequence, sequence], scaled."""
    left, right = p.transpose(x, (0, 2, 1, 3)), p.transpose(y, (0, 2, 1, 3))
    return (scaled(p.dot_general(left, right, (0, 1), (0, 1), (3,), (3,)), 0.25),)


def attended(x: Node, y: Node) -> tuple[Node, ...]:
    """Weights [batch, heads, s, t] times values [batch, t, heads, width] -> [batch, s, heads * width]."""
    found = p.dot_general(x, y, (0, 1), (0, 2), (3,), (1,))
    batch, count, length, width = found.dims
    return (p.reshape(p.transpose(p.tanh(found), (0, 2, 1, 3)), (batch, length, count * width)),)


def dropped(x: Node, counter: Node) -> tuple[Node, ...]:
    """Kept where a random word is below 2**31."""
    bits = p.random_bits(counter, (1, 2), x.dims)
    keep = p.compare(bits, p.full(2**31, bits.type), "LT")
    return (p.select(keep, scaled(x, 2.0), p.full(0.0, x.type)),)


def _dropped(x: Array, counter: Array) -> Sequence[Array]:
    node = p.random_bits(p.parameter("c", t(dtype=dtypes.uint64)), (1, 2), x.shape)
    return (np.where(node.primitive.reference(node.attrs, counter) < 2**31, 2 * x, 0),)


def moments_by_column(x: Node) -> tuple[Node, ...]:
    total, squares = p.reduce_sum(x, (0,)), p.reduce_sum(p.multiply(x, x), (0,))
    return scaled(total, 1 / x.dims[0]), p.sqrt(squares)


def argmax_of_scaled(x: Node, w: Node) -> tuple[Node, ...]:
    y = p.multiply(x, columns(w, x))
    return p.argmax(y, 1, dtypes.int32), p.reduce_max(y, (1,))


def embedding(table: Node, ids: Node, positions: Node) -> tuple[Node, ...]:
    found = p.gather(table, ids, 0)
    return (p.add(found, p.broadcast_in_dim(positions, found.dims, (1, 2))),)


def shuffled(x: Node, y: Node) -> tuple[Node, ...]:
    """Views of views: reverse, pad, concatenate and slice around arithmetic."""
    both = p.concatenate([p.reverse(p.tanh(x), (1,)), y], 0)
    padded = p.pad(both, p.constant(2.0, F32), (1, 0), (0, 3), (0, 1))
    return (p.slice_(p.negate(padded), (1, 2), padded.dims, (2, 1)),)


def _shuffled(x: Array, y: Array) -> Sequence[Array]:
    both = np.concatenate([np.tanh(x)[:, ::-1], y])
    padded = np.full((both.shape[0] + 1, 2 * both.shape[1] + 2), 2.0)
    padded[1:, : 2 * both.shape[1] : 2] = both
    return (-padded[1::2, 2:],)


def sums_of_all(x: Node) -> tuple[Node, ...]:
    axes = tuple(range(len(x.dims)))
    return p.reduce_sum(x, axes), p.reduce_max(p.abs_(x), axes)


def two_axes(x: Node) -> tuple[Node, ...]:
    return (p.exponential(p.reduce_max(p.negate(x), (0, 2))),)


def _spread(combine: str) -> Callable[..., Sequence[Node]]:
    """Rows computed on the way, put where computed indices say."""
    def build(x: Node, indices: Node, updates: Node) -> Sequence[Node]:
        places = p.subtract(p.multiply(indices, p.full(3, indices.type)), p.full(2, indices.type))
        return (p.scatter(x, places, p.multiply(updates, p.exponential(updates)), 0, combine),)
    return build


def _spread_rows(combine: Callable[[Any, Any], Any]) -> Callable[..., Sequence[Array]]:
    def expected(x: Array, indices: Array, updates: Array) -> Sequence[Array]:
        result = np.array(x)
        for place, row in zip(3 * indices - 2, updates * np.exp(updates), strict=True):
            if 0 <= place < len(x):
                result[place] = combine(result[place], row)
        return (result,)
    return expected


def _box_of_box(x: Node, row: Node) -> Sequence[Node]:
    """The part of `x` that begins at a computed row, negated in its middle."""
    zero = p.constant(0, row.dtype)
    part = p.dynamic_slice(p.tanh(x), [p.add(row, row), zero], (5, x.dims[1]))
    inner = p.dynamic_slice(part, [row, zero], (2, x.dims[1]))
    return (p.dynamic_update_slice(part, p.negate(inner), [p.constant(1, row.dtype), zero]),)


def _box_in_numpy(x: Array, row: Array) -> Sequence[Array]:
    first, second = min(2 * int(row), len(x) - 5), min(int(row), 3)
    part = np.tanh(x)[first:first + 5]
    result = part.copy()
    result[1:3] = -part[second:second + 2]
    return (result,)


def walk(axis: int, **options: bool) -> Callable[[Node, Node], Sequence[Node]]:
    """A running sum of products, and what is left of it: two results of one walk."""
    def build(x: Node, w: Node) -> Sequence[Node]:
        total = p.cumulative_sum(p.multiply(x, columns(w, x)), axis, **options)
        return total, p.subtract(p.reshape(total, (x.type.size,)), p.reshape(x, (x.type.size,)))
    return build


def _walk(axis: int, exclusive: bool = False, reverse: bool = False) -> Callable[[Array, Array], Sequence[Array]]:
    def expected(x: Array, w: Array) -> Sequence[Array]:
        terms = np.flip(x * w, axis) if reverse else x * w
        total = np.cumsum(terms, axis) - (terms if exclusive else 0)
        total = np.flip(total, axis) if reverse else total
        return total, (total - x).reshape(-1)
    return expected


SAMPLES: list[Sample] = [
    *(Sample(f"scatter-{combine}-{columns}", "scatter", (t(9, columns), t(130, dtype=dtypes.int32), t(130, columns)), _spread(combine),
             _spread_rows(function), 60)
      for combine, function in {"add": np.add, "maximum": np.maximum, "assign": lambda old, new: new}.items() for columns in (1, 64)),
    Sample("box-of-box", "loop", (t(12, 7), t(dtype=dtypes.int32)), _box_of_box, _box_in_numpy),
    *(Sample(f"softmax-{r}x{c}", "row", (t(r, c),), softmax, lambda x: (special.softmax(x, 1),), c)
      for r, c in ((5, 10), (3, 1), (1, 130), (4, 1000))),
    Sample("softmax-3d", "row", (t(2, 3, 37),), softmax, lambda x: (special.softmax(x, -1),), 37),
    Sample("softmax-f16", "row", (t(6, 45, dtype=dtypes.float16),), softmax, lambda x: (special.softmax(x, 1),), 45),
    Sample("softmax-long", "row", (t(2, 20000),), softmax, lambda x: (special.softmax(x, 1),), 20000, 1e-3),
    Sample("layer-norm", "row", (t(7, 70), t(70), t(70)), layer_norm, _layer_norm, 70),
    Sample("layer-norm-f64", "row", (t(2, 3, 19, dtype=dtypes.float64), t(19, dtype=dtypes.float64), t(19, dtype=dtypes.float64)),
           layer_norm, _layer_norm, 19),
    Sample("softmax-gradient", "row", (t(9, 33), t(9, 33)), softmax_gradient,
           lambda y, g: (y * (g - (y * g).sum(1, keepdims=True)),), 33, 30.0),
    Sample("cross-entropy", "row", (t(11, 10), t(11, 10)), cross_entropy, _cross_entropy, 10, 10.0),
    Sample("argmax-of-scaled", "row", (t(13, 50), t(50)), argmax_of_scaled, lambda x, w: ((x * w).argmax(1), (x * w).max(1))),
    Sample("sums-of-all", "row", (t(37, 3, 5),), sums_of_all, lambda x: (x.sum(), np.abs(x).max()), 555, 30.0),
    Sample("column-moments", "column", (t(70, 33),), moments_by_column, lambda x: (x.mean(0), np.sqrt((x * x).sum(0))), 70, 1.0),
    Sample("two-axes", "column", (t(5, 9, 17),), two_axes, lambda x: (np.exp((-x).max((0, 2))),)),
    Sample("walk-rows", "scan", (t(12, 21), t(21)), walk(1, exclusive=True), _walk(1, exclusive=True), 21, 3.0),
    Sample("walk-columns", "scan", (t(21, 33), t(33)), walk(0, reverse=True), _walk(0, reverse=True), 21, 9.0),
    Sample("walk-bf16", "scan", tuple(t(*s, dtype=dtypes.bfloat16) for s in ((5, 7), (7,))), walk(1), _walk(1), 7, 9.0),
    Sample("gelu-chain", "loop", (t(4, 5, 33), t(33)), lambda x, b: (gelu(p.add(x, columns(b, x))),), lambda x, b: (_gelu(x + b),)),
    Sample("dropout", "loop", (t(9, 30), t(dtype=dtypes.uint64)), dropped, _dropped),
    Sample("embedding", "loop", (t(20, 24), t(3, 7, dtype=dtypes.int32), t(7, 24)), embedding, lambda w, i, q: (w[i] + q,)),
    Sample("shuffled", "loop", (t(3, 8), t(2, 8)), shuffled, _shuffled),
    Sample("two-outputs", "loop", (t(6, 40), t(240)), lambda x, y: (p.tanh(x), p.add(p.reshape(x, (240,)), y)),
           lambda x, y: (np.tanh(x), x.reshape(-1) + y)),
    Sample("transposed-add", "loop", (t(9, 70), t(70, 9)), lambda x, y: (p.add(p.transpose(x, (1, 0)), y),), lambda x, y: (x.T + y,)),
    Sample("layer", "dot", (t(30, 20), t(20, 45), t(45)), layer, lambda x, w, b: (_gelu(x @ w + b), x @ w + b), 20, 20.0),
    Sample("layer-bf16", "dot", tuple(t(*s, dtype=dtypes.bfloat16) for s in ((3, 20), (20, 5), (5,))), layer,
           lambda x, w, b: (_gelu(x @ w + b), x @ w + b), 20, 10.0),
    Sample("heads", "dot", (t(2, 9, 3, 16), t(2, 9, 3, 16)), heads, lambda x, y: (np.einsum("bshd,bthd->bhst", x, y) / 4,), 16, 16.0),
    Sample("attended", "dot", (t(2, 3, 7, 9), t(2, 9, 3, 20)), attended,
           lambda x, y: (np.tanh(np.einsum("bhst,bthd->bshd", x, y)).reshape(2, 7, 60),), 9, 9.0),
]  # fmt: skip
