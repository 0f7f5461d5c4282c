"""Activation functions: relu and its relatives, gelu, softmax and log_softmax. Each is one operation, stable by construction."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.array import transpose
from graphc.ops.declare import as_tensor, declare_one, name_scope, normal_axis
from graphc.ops.elementwise import cast
from graphc.primitives.sugar import fill_like, reduce_and_spread, zeros_like

Gradient = Sequence[Node | None]


def _scaled(x: Node, factor: float) -> Node:
    return p.multiply(x, fill_like(x, factor))


def _positive(x: Node) -> Node:
    return p.compare(x, zeros_like(x), "GT")


# relu and its relatives: the gradients say what happens at the kink, where TF1 gives 0.

def _relu_gradient(features: Node, y: Node, g: Node) -> Gradient:
    return (p.select(p.not_(_positive(y)), zeros_like(g), g),)


@composite("Relu", gradient=_relu_gradient)
def RELU(features: Node) -> Node:
    """max(x, 0)."""
    return p.maximum(features, zeros_like(features))


def _relu6_gradient(features: Node, y: Node, g: Node) -> Gradient:
    inside = p.and_(_positive(features), p.compare(features, fill_like(features, 6), "LT"))
    return (p.select(p.not_(inside), zeros_like(g), g),)


@composite("Relu6", gradient=_relu6_gradient)
def RELU6(features: Node) -> Node:
    """min(max(x, 0), 6)."""
    return p.minimum(p.maximum(features, zeros_like(features)), fill_like(features, 6))


def _leaky_relu_gradient(features: Node, y: Node, g: Node, *, alpha: float) -> Gradient:
    return (p.select(_positive(features), g, _scaled(g, alpha)),)


@composite("LeakyRelu", gradient=_leaky_relu_gradient)
def LEAKY_RELU(features: Node, *, alpha: float = 0.2) -> Node:
    """x, or alpha x where x is negative."""
    return p.select(_positive(features), features, _scaled(features, alpha))


def _below_zero(x: Node) -> Node:
    """e^x - 1 for negative x, 0 for others."""
    return p.exponential_minus_one(p.minimum(x, zeros_like(x)))


def _elu_gradient(features: Node, y: Node, g: Node) -> Gradient:
    return (p.select(p.compare(features, zeros_like(features), "LT"), p.multiply(g, p.exponential(p.minimum(features, zeros_like(g)))), g),)


@composite("Elu", gradient=_elu_gradient)
def ELU(features: Node) -> Node:
    """x, or e^x - 1 where x is negative (D.-A. Clevert et al., arXiv:1511.07289)."""
    return p.select(p.compare(features, zeros_like(features), "LT"), _below_zero(features), features)


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _selu_gradient(features: Node, y: Node, g: Node) -> Gradient:
    slope = p.exponential(p.minimum(features, zeros_like(features)))
    below = _scaled(p.multiply(g, slope), SELU_SCALE * SELU_ALPHA)
    return (p.select(p.compare(features, zeros_like(features), "LT"), below, _scaled(g, SELU_SCALE)),)


@composite("Selu", gradient=_selu_gradient)
def SELU(features: Node) -> Node:
    """scale x, or scale alpha (e^x - 1) where x is negative (G. Klambauer et al., arXiv:1706.02515)."""
    below = _scaled(_below_zero(features), SELU_SCALE * SELU_ALPHA)
    return p.select(p.compare(features, zeros_like(features), "LT"), below, _scaled(features, SELU_SCALE))


def _softsign_gradient(features: Node, y: Node, g: Node) -> Gradient:
    """g / (1 + |x|)^2, which is 0 at the infinities, where the derivative of the quotient is not a number."""
    falling = p.divide(fill_like(features, 1), p.add(p.abs_(features), fill_like(features, 1)))
    return (p.multiply(g, p.multiply(falling, falling)),)


@composite("Softsign", gradient=_softsign_gradient)
def SOFTSIGN(features: Node) -> Node:
    """x / (1 + |x|)."""
    return p.divide(features, p.add(p.abs_(features), fill_like(features, 1)))


@composite("Gelu")
def GELU(features: Node, *, approximate: bool = False) -> Node:
    """x Phi(x) with the normal distribution function Phi, exactly by erf or by tanh (D. Hendrycks and K. Gimpel, arXiv:1606.08415)."""
    if approximate:
        cube = p.multiply(features, p.multiply(features, features))
        inner = _scaled(p.add(features, _scaled(cube, 0.044715)), math.sqrt(8 / math.pi))
        return p.multiply(features, p.logistic(inner))  # 1 + tanh(x) = 2 logistic(2 x), which does not cancel where x is negative
    bell = p.erf(_scaled(features, math.sqrt(0.5)))
    return p.multiply(_scaled(features, 0.5), p.add(bell, fill_like(features, 1)))


@composite("Swish")
def SWISH(features: Node) -> Node:
    """x sigmoid(x) (P. Ramachandran et al., arXiv:1710.05941)."""
    return p.multiply(features, p.logistic(features))


def relu(features: Any, name: str | None = None) -> Tensor:
    """max(x, 0)."""
    return declare_one(RELU, {"features": features}, None, name)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6)."""
    return declare_one(RELU6, {"features": features}, None, name)


def elu(features: Any, name: str | None = None) -> Tensor:
    """x, or e^x - 1 where x is negative."""
    return declare_one(ELU, {"features": features}, None, name)


def selu(features: Any, name: str | None = None) -> Tensor:
    """The self-normalising relative of elu."""
    return declare_one(SELU, {"features": features}, None, name)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|)."""
    return declare_one(SOFTSIGN, {"features": features}, None, name)


def swish(features: Any, name: str | None = None) -> Tensor:
    """x sigmoid(x)."""
    return declare_one(SWISH, {"features": features}, None, name)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x, or alpha x where x is negative; integers become float32."""
    with name_scope(name, "LeakyRelu", [features]) as scope:
        x = as_tensor(features, name="features")
        return declare_one(LEAKY_RELU, {"features": cast(x, dtypes.float32) if x.dtype.is_integer else x}, {"alpha": float(alpha)}, scope)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """x Phi(x), with Phi the normal distribution function; `approximate` computes it by tanh."""
    return declare_one(GELU, {"features": features}, {"approximate": bool(approximate)}, name)


# softmax over the last axis --------------------------------------------------------------------------------------------------------------

def in_float32(function: Callable[..., Node]) -> Callable[..., Node]:
    """`function` computed in float32 for 16-bit floats, its result rounded back."""
    def computed(x: Node, *others: Node) -> Node:
        if x.dtype.size > 2:
            return function(x, *others)
        wide = [p.convert(each, dtypes.float32) for each in (x, *others)]
        return p.convert(function(*wide), x.dtype)
    return computed


def last_axis(x: Node) -> tuple[int]:
    if not x.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    return (len(x.shape) - 1,)


def exponentials(x: Node) -> tuple[Node, Node]:
    """x less the greatest of its row, and e to that: never above 1."""
    shifted = p.subtract(x, reduce_and_spread(p.reduce_max, x, last_axis(x)))
    return shifted, p.exponential(shifted)


def shares(e: Node, sums: Node) -> Node:
    """e over the sums of its rows, which are at least 1 (or NaN): one division a row, as TF1 computes it, and not one an element."""
    inverse = p.divide(fill_like(sums, 1), sums)
    return p.multiply(e, p.broadcast_in_dim(inverse, e.shape, range(len(sums.shape))))


@in_float32
def softmax_node(x: Node) -> Node:
    """e^x over the sum of e^x along the last axis."""
    _, e = exponentials(x)
    return shares(e, p.reduce_sum(e, last_axis(x)))


@in_float32
def log_softmax_node(x: Node) -> Node:
    """x less the logarithm of the sum of e^x along the last axis."""
    shifted, e = exponentials(x)
    total = p.log(p.reduce_sum(e, last_axis(x)))
    return p.subtract(shifted, p.broadcast_in_dim(total, x.shape, range(len(x.shape) - 1)))


@in_float32
def _softmax_backward(y: Node, g: Node) -> Node:
    product = p.multiply(g, y)
    return p.subtract(product, p.multiply(y, reduce_and_spread(p.reduce_sum, product, last_axis(y))))


@in_float32
def _log_softmax_backward(y: Node, g: Node) -> Node:
    return p.subtract(g, p.multiply(p.exponential(y), reduce_and_spread(p.reduce_sum, g, last_axis(y))))


@composite("Softmax", gradient=lambda logits, y, g: (_softmax_backward(y, g),))
def SOFTMAX(logits: Node) -> Node:
    """e^x over the sum of e^x along the last axis, the greatest taken out first. Gradient: (g - sum(g y)) y."""
    return softmax_node(logits)


@composite("LogSoftmax", gradient=lambda logits, y, g: (_log_softmax_backward(y, g),))
def LOG_SOFTMAX(logits: Node) -> Node:
    """The logarithm of softmax. Gradient: g - softmax(x) sum(g)."""
    return log_softmax_node(logits)


def _over_axis(definition: OpDef, logits: Any, axis: int | None, name: str | None) -> Tensor:
    x = as_tensor(logits, name="logits")
    if axis in (None, -1) or (x.rank is not None and axis == x.rank - 1):
        return declare_one(definition, {"logits": x}, None, name)
    if x.rank is None:
        raise ValueError("an axis other than the last needs a tensor of known rank")
    place = normal_axis(-1 if axis is None else axis, x.rank)
    order = list(range(x.rank))
    order[place], order[-1] = order[-1], order[place]
    swapped = declare_one(definition, {"logits": transpose(x, order)})
    return transpose(swapped, order, name=name or "transpose")


def softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """e^x over the sum of e^x along `axis` (the last)."""
    return _over_axis(SOFTMAX, logits, dim if axis is None else axis, name)


def log_softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """The logarithm of softmax along `axis` (the last)."""
    return _over_axis(LOG_SOFTMAX, logits, dim if axis is None else axis, name)
