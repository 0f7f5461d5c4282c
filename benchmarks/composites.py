"""Is a composite slower than the same formula written by hand in primitives? Forward, and with its gradients.

    python -m benchmarks.composites                 all rows
    python -m benchmarks.composites softmax gelu    these

Each row compiles both in one session and runs them in turns: median microseconds of each, and the ratio, which is to be about 1 or less.
The formula by hand is what somebody would write down who knows the primitives and no trick; its gradient is derived from it.
"""
from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
import graphc.primitives as p
from graphc.core.opdef import OpDef, register
from graphc.core.program import Node
from graphc.ops.declare import declare_one
from graphc.primitives.sugar import fill_like
from graphc.timing import interleaved

SECONDS = 1.5


# By hand ---------------------------------------------------------------------------------------------------------------------------------

def _rows(reduce: Callable[[Node, Sequence[int]], Node], x: Node) -> Node:
    """A reduction over the last axis, beside each element."""
    last = len(x.shape) - 1
    return p.broadcast_in_dim(reduce(x, (last,)), x.shape, range(last))


def _mean(x: Node, axes: Sequence[int]) -> Node:
    total = p.reduce_sum(x, axes)
    return p.divide(total, fill_like(total, math.prod(x.dims[axis] for axis in axes)))


def softmax(x: Node) -> Node:
    shifted = p.exponential(p.subtract(x, p.stop_gradient(_rows(p.reduce_max, x))))
    return p.divide(shifted, _rows(p.reduce_sum, shifted))


def log_softmax(x: Node) -> Node:
    shifted = p.subtract(x, p.stop_gradient(_rows(p.reduce_max, x)))
    return p.subtract(shifted, p.log(_rows(p.reduce_sum, p.exponential(shifted))))


def logsumexp(x: Node) -> Node:
    greatest = p.stop_gradient(_rows(p.reduce_max, x))
    last = (len(x.shape) - 1,)
    return p.add(p.log(p.reduce_sum(p.exponential(p.subtract(x, greatest)), last)), p.stop_gradient(p.reduce_max(x, last)))


def cross_entropy(labels: Node, logits: Node) -> Node:
    return p.negate(p.reduce_sum(p.multiply(labels, log_softmax(logits)), (len(logits.shape) - 1,)))


def sigmoid_cross_entropy(labels: Node, logits: Node) -> Node:
    positive = p.maximum(logits, fill_like(logits, 0))
    return p.add(p.subtract(positive, p.multiply(logits, labels)), p.log_plus_one(p.exponential(p.negate(p.abs_(logits)))))


def gelu(x: Node) -> Node:
    half = p.multiply(x, fill_like(x, 0.5))
    return p.multiply(half, p.add(fill_like(x, 1), p.erf(p.multiply(x, fill_like(x, math.sqrt(0.5))))))


def softplus(x: Node) -> Node:
    return p.add(p.maximum(x, fill_like(x, 0)), p.log_plus_one(p.exponential(p.negate(p.abs_(x)))))


def swish(x: Node) -> Node:
    return p.multiply(x, p.logistic(x))


def _normal_rows(x: Node) -> Node:
    centred = p.subtract(x, _rows(_mean, x))
    variance = _rows(_mean, p.multiply(centred, centred))
    return p.multiply(centred, p.rsqrt(p.add(variance, fill_like(variance, 1e-6))))


def layer_norm(x: Node, scale: Node, offset: Node) -> Node:
    last = (len(x.shape) - 1,)
    return p.add(p.multiply(_normal_rows(x), p.broadcast_in_dim(scale, x.shape, last)), p.broadcast_in_dim(offset, x.shape, last))


def batch_norm(x: Node, scale: Node, offset: Node) -> Node:
    last = len(x.shape) - 1
    rest = tuple(range(last))
    centred = p.subtract(x, p.broadcast_in_dim(_mean(x, rest), x.shape, (last,)))
    variance = _mean(p.multiply(centred, centred), rest)
    factor = p.multiply(scale, p.rsqrt(p.add(variance, fill_like(variance, 1e-3))))
    return p.add(p.multiply(centred, p.broadcast_in_dim(factor, x.shape, (last,))), p.broadcast_in_dim(offset, x.shape, (last,)))


def variance(x: Node) -> Node:
    centred = p.subtract(x, _rows(_mean, x))
    return _mean(p.multiply(centred, centred), (len(x.shape) - 1,))


def l2_normalize(x: Node) -> Node:
    total = _rows(p.reduce_sum, p.multiply(x, x))
    return p.multiply(x, p.rsqrt(p.maximum(total, fill_like(total, 1e-12))))


def attention_scores(q: Node, k: Node) -> Node:
    return p.dot_general(q, k, (0, 1), (0, 1), (3,), (3,))


def chain(a: Node, b: Node, c: Node) -> Node:
    return p.dot_general(a, p.dot_general(b, c, (), (), (1,), (0,)), (), (), (1,), (0,))


def squared_error(labels: Node, x: Node) -> Node:
    difference = p.subtract(x, labels)
    return _mean(p.multiply(difference, difference), range(len(x.shape)))


def clipped(x: Node) -> Node:
    return p.maximum(p.minimum(x, fill_like(x, 0.5)), fill_like(x, -0.5))


# Both ------------------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Row:
    """composite: tensors -> tensor. by_hand: nodes -> node. shapes: of the arguments, float32."""

    composite: Callable[..., gc.Tensor]
    by_hand: Callable[..., Node]
    shapes: tuple[tuple[int, ...], ...]


ROWS: dict[str, Row] = {
    "softmax": Row(gc.nn.softmax, softmax, ((512, 1000),)),
    "log_softmax": Row(gc.nn.log_softmax, log_softmax, ((512, 1000),)),
    "logsumexp": Row(lambda x: gc.reduce_logsumexp(x, 1), logsumexp, ((512, 1000),)),
    "cross entropy": Row(lambda y, x: gc.nn.softmax_cross_entropy_with_logits_v2(y, x), cross_entropy, ((512, 1000), (512, 1000))),
    "sigmoid entropy": Row(lambda y, x: gc.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x), sigmoid_cross_entropy,
                           ((512, 1000), (512, 1000))),
    "gelu": Row(gc.nn.gelu, gelu, ((512, 3072),)),
    "softplus": Row(gc.nn.softplus, softplus, ((512, 3072),)),
    "swish": Row(gc.nn.swish, swish, ((512, 3072),)),
    "layer norm": Row(gc.nn.layer_norm, layer_norm, ((512, 768), (768,), (768,))),
    "batch norm": Row(lambda x, scale, offset: gc.nn.fused_batch_norm(x, scale, offset, epsilon=1e-3)[0], batch_norm,
                      ((16, 28, 28, 64), (64,), (64,))),
    "moments": Row(lambda x: gc.nn.moments(x, [1])[1], variance, ((512, 1000),)),
    "l2 normalize": Row(lambda x: gc.nn.l2_normalize(x, 1), l2_normalize, ((512, 1000),)),
    "einsum": Row(lambda q, k: gc.einsum("bhqd,bhkd->bhqk", q, k), attention_scores, ((4, 8, 128, 64), (4, 8, 128, 64))),
    "einsum of three": Row(lambda a, b, c: gc.einsum("ij,jk,kl->il", a, b, c), chain, ((512, 256), (256, 256), (256, 16))),
    "squared error": Row(lambda y, x: gc.losses.mean_squared_error(y, x), squared_error, ((512, 1000), (512, 1000))),
    "clip": Row(lambda x: gc.clip_by_value(x, -0.5, 0.5), clipped, ((512, 3072),)),
}


def _by_hand(name: str, row: Row) -> Callable[..., gc.Tensor]:
    definition = register(OpDef(f"ByHand{name.title().replace(' ', '')}", row.by_hand, attrs={}))
    return lambda *tensors: declare_one(definition, {f"x{n}": each for n, each in enumerate(tensors)})


def measure(name: str, row: Row) -> str:
    """One line: microseconds of the composite and of the formula, and their ratio; forward, then with gradients by all arguments."""
    rng = np.random.default_rng(1)
    calls: dict[str, Callable[[], object]] = {}
    with gc.Graph().as_default(), gc.Session() as session:
        arrays = [rng.uniform(0.1, 0.9, shape).astype(np.float32) for shape in row.shapes]
        inputs = [gc.placeholder(gc.float32, shape) for shape in row.shapes]
        feeds = dict(zip(inputs, arrays, strict=True))
        weights: Any = None
        for side, build in (("composite", row.composite), ("by hand", _by_hand(name, row))):
            result = build(*inputs)
            if weights is None:
                weights = gc.constant(rng.uniform(0.5, 1.5, session.run(result, feeds).shape).astype(np.float32))
            slopes = [each for each in gc.gradients(result, inputs, weights) if each is not None]
            for what, fetches in (("forward", result), ("gradient", slopes)):
                calls[f"{side} {what}"] = functools.partial(session.run, fetches, feeds)
        times = {each: 1e6 * timing.median for each, timing in interleaved(calls, SECONDS).items()}
    cells = []
    for what in ("forward", "gradient"):
        ours, plain = times[f"composite {what}"], times[f"by hand {what}"]
        cells.append(f"{ours:9.0f} {plain:9.0f} {ours / plain:6.2f}")
    return f"{name:18} {'   '.join(cells)}"


def main(names: Sequence[str]) -> None:
    heads = "composite   by hand  ratio"
    print(f"{'':18} {'forward, us':>26}   {'gradient, us':>26}\n{'':18} {heads}   {heads}")
    for name, row in ROWS.items():
        if not names or name in names:
            print(measure(name, row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
