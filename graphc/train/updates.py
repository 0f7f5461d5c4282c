"""The update operations of the optimizers: stateful composites that read and write a variable and its slots, with TF1's types and formulas.

Formulas: tensorflow/core/kernels/training_ops as documented for TF 1.15's ApplyGradientDescent, ApplyMomentum and ApplyAdam.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.core.opdef import Attrs, GraphType, State, composite
from graphc.core.program import Node
from graphc.primitives import add, divide, multiply, sqrt, subtract
from graphc.primitives.sugar import broadcast_to, fill_like


def _first_type(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    dtypes = {dtype for dtype, _ in inputs}
    if len(dtypes) != 1:
        raise TypeError(f"all inputs must have one type, not {', '.join(sorted(d.name for d in dtypes))}")
    return [inputs[0]]


def _like(scalar: Node, x: Node) -> Node:
    return broadcast_to(scalar, x.shape)


@composite("ApplyGradientDescent", stateful=True, infer_types=_first_type)
def APPLY_GRADIENT_DESCENT(state: State, var: Node, alpha: Node, delta: Node) -> Node:
    """var -= alpha * delta."""
    updated = subtract(var, multiply(delta, _like(alpha, delta)))
    state.write(state.variable, updated)
    return updated


@composite("ApplyMomentum", stateful=True, infer_types=_first_type)
def APPLY_MOMENTUM(state: State, var: Node, accum: Node, lr: Node, grad: Node, momentum: Node, *, use_nesterov: bool = False) -> Node:
    """accum = momentum * accum + grad; var -= lr * accum (Nesterov: var -= lr * (grad + momentum * accum))."""
    total = add(multiply(accum, _like(momentum, accum)), grad)
    step = add(grad, multiply(total, _like(momentum, total))) if use_nesterov else total
    updated = subtract(var, multiply(step, _like(lr, step)))
    state.write(state.variables[1], total)
    state.write(state.variable, updated)
    return updated


@composite("ApplyAdam", stateful=True, infer_types=_first_type)
def APPLY_ADAM(state: State, var: Node, m: Node, v: Node, beta1_power: Node, beta2_power: Node, lr: Node, beta1: Node, beta2: Node,
               epsilon: Node, grad: Node, *, use_nesterov: bool = False) -> Node:
    """Kingma and Ba 2014, section 2's last form: lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t); m += (g - m)(1 - beta1);
    v += (g^2 - v)(1 - beta2); var -= lr_t m / (sqrt(v) + epsilon)."""
    one = fill_like(lr, 1.0)
    rate = divide(multiply(lr, sqrt(subtract(one, beta2_power))), subtract(one, beta1_power))
    mean = add(m, multiply(subtract(grad, m), _like(subtract(one, beta1), m)))
    square = add(v, multiply(subtract(multiply(grad, grad), v), _like(subtract(one, beta2), v)))
    direction = mean
    if use_nesterov:
        direction = add(multiply(grad, _like(subtract(one, beta1), grad)), multiply(mean, _like(beta1, mean)))
    step = divide(multiply(direction, _like(rate, mean)), add(sqrt(square), _like(epsilon, square)))
    updated = subtract(var, step)
    state.write(state.variables[1], mean)
    state.write(state.variables[2], square)
    state.write(state.variable, updated)
    return updated
