"""Fake quantization: numbers rounded to those that a few bits can hold, so that a network learns to live with them.

The range [min, max] is nudged so that 0 is one of the numbers (B. Jacob et al., arXiv:1712.05877, section 3). The gradient passes straight
through inside the range; outside it goes to the bound.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import same_dims
from graphc.ops.declare import declare, declare_one
from graphc.primitives.sugar import broadcast_to, fill_like

Bounds = tuple[Node, Node, Node]  # nudged min, nudged max, the step between two numbers


def _nudged(low: Node, high: Node, num_bits: int, narrow_range: bool) -> Bounds:
    """The range moved so that 0 falls on a step: the step that 0 would be at, rounded and kept inside."""
    if not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits must be between 2 and 16, inclusive: {num_bits}")
    first, last = float(narrow_range), float(2 ** num_bits - 1)
    width = p.subtract(high, low)
    step = p.divide(width, fill_like(low, last - first))
    zero = p.subtract(fill_like(low, first), p.divide(p.multiply(low, fill_like(low, last - first)), width))  # exact for min = -max
    rounded = p.floor(p.add(zero, fill_like(zero, 0.5)))  # half away from zero: a negative one is cut off
    place = p.clamp(fill_like(zero, first), rounded, fill_like(zero, last))
    return p.multiply(p.subtract(fill_like(place, first), place), step), p.multiply(p.subtract(fill_like(place, last), place), step), step


def _quantized(x: Node, bounds: Bounds) -> Node:
    low, high, step = (broadcast_to(each, x.shape) for each in bounds)
    shifted = p.subtract(p.clamp(low, x, high), low)
    return p.add(p.multiply(p.floor(p.add(p.divide(shifted, step), fill_like(x, 0.5))), step), low)


def _shares(g: Node, x: Node, bounds: Bounds) -> tuple[Node, Node, Node]:
    """What of the gradient goes to x, to min and to max, element by element."""
    low, high, _ = (broadcast_to(each, x.shape) for each in bounds)
    below, above, zero = p.compare(x, low, "LT"), p.compare(x, high, "GT"), fill_like(g, 0)
    return p.select(p.or_(below, above), zero, g), p.select(below, g, zero), p.select(above, g, zero)


def _float32(x: Node) -> Node:
    if x.dtype is not dtypes.float32:
        raise TypeError(f"fake quantization takes float32, not {x.dtype.name}")
    return x


def _check(attr_min: float, attr_max: float) -> None:
    if not attr_min < attr_max:
        raise ValueError(f"min has to be smaller than max, was: {attr_min} >= {attr_max}")


# The range is known ----------------------------------------------------------------------------------------------------------------------

def _known(low: float, high: float, num_bits: int, narrow_range: bool) -> Bounds:
    _check(low, high)
    return _nudged(p.constant(low, dtypes.float32), p.constant(high, dtypes.float32), num_bits, narrow_range)


def _args_gradient(x: Node, y: Node, g: Node, *, min: float, max: float, num_bits: int, narrow_range: bool) -> Sequence[Node | None]:
    return (_shares(g, x, _known(min, max, num_bits, narrow_range))[0],)


@composite("FakeQuantWithMinMaxArgs", gradient=_args_gradient)
def ARGS(inputs: Node, *, min: float = -6.0, max: float = 6.0, num_bits: int = 8, narrow_range: bool = False) -> Node:
    """`inputs` rounded to 2^num_bits numbers between min and max."""
    return _quantized(_float32(inputs), _known(min, max, num_bits, narrow_range))


@composite("FakeQuantWithMinMaxArgsGradient")
def ARGS_GRADIENT(gradients: Node, inputs: Node, *, min: float = -6.0, max: float = 6.0, num_bits: int = 8,
                  narrow_range: bool = False) -> Node:
    """`gradients` where `inputs` are inside the range, else 0."""
    return _shares(gradients, _float32(inputs), _known(min, max, num_bits, narrow_range))[0]


def fake_quant_with_min_max_args(inputs: Any, min: float = -6, max: float = 6, num_bits: int = 8, narrow_range: bool = False,
                                 name: str | None = None) -> Tensor:
    """`inputs` rounded to 2^num_bits numbers (one less with `narrow_range`) between `min` and `max`."""
    return declare_one(ARGS, {"inputs": inputs}, _attrs(num_bits, narrow_range, min, max), name)


def fake_quant_with_min_max_args_gradient(gradients: Any, inputs: Any, min: float = -6, max: float = 6, num_bits: int = 8,
                                          narrow_range: bool = False, name: str | None = None) -> Tensor:
    """The gradient of `fake_quant_with_min_max_args`: `gradients` where `inputs` are inside the range, else 0."""
    return declare_one(ARGS_GRADIENT, {"gradients": gradients, "inputs": inputs}, _attrs(num_bits, narrow_range, min, max), name)


def _attrs(num_bits: int, narrow_range: bool, *bounds: float) -> dict[str, Any]:
    names = ("min", "max")[:len(bounds)]
    return {**dict(zip(names, map(float, bounds), strict=True)), "num_bits": num_bits, "narrow_range": narrow_range}


# The range is learnt ---------------------------------------------------------------------------------------------------------------------

def _all_but(x: Node, bound: Node) -> tuple[int, ...]:
    """The axes over which one bound speaks."""
    return tuple(range(len(x.shape) - len(bound.shape)))


def _vars_shares(g: Node, x: Node, low: Node, high: Node, num_bits: int, narrow_range: bool) -> Sequence[Node]:
    own, to_low, to_high = _shares(g, x, _nudged(low, high, num_bits, narrow_range))
    return own, p.reduce_sum(to_low, _all_but(x, low)), p.reduce_sum(to_high, _all_but(x, high))


def _vars_gradient(x: Node, low: Node, high: Node, y: Node, g: Node, *, num_bits: int, narrow_range: bool) -> Sequence[Node | None]:
    return _vars_shares(g, x, low, high, num_bits, narrow_range)


def _scalars(*bounds: Node) -> None:
    for each in bounds:
        if each.shape != ():
            raise ValueError(f"Shape must be rank 0 but is rank {len(each.shape)}")


def _channels(x: Node, *bounds: Node) -> None:
    for each in bounds:
        if len(each.shape) != 1:
            raise ValueError(f"Shape must be rank 1 but is rank {len(each.shape)}")
        if not x.shape or not same_dims(each.shape, x.shape[-1:]):
            raise ValueError(f"Dimensions must be equal, but are {each.shape[0]} and {x.shape[-1] if x.shape else 'none'}")


@composite("FakeQuantWithMinMaxVars", gradient=_vars_gradient)
def VARS(inputs: Node, min: Node, max: Node, *, num_bits: int = 8, narrow_range: bool = False) -> Node:
    """`inputs` rounded to 2^num_bits numbers between the scalars min and max."""
    _scalars(min, max)
    return _quantized(_float32(inputs), _nudged(min, max, num_bits, narrow_range))


@composite("FakeQuantWithMinMaxVarsPerChannel", gradient=_vars_gradient)
def PER_CHANNEL(inputs: Node, min: Node, max: Node, *, num_bits: int = 8, narrow_range: bool = False) -> Node:
    """`inputs` rounded to 2^num_bits numbers between min and max, one of each for every place of the last axis."""
    _channels(inputs, min, max)
    return _quantized(_float32(inputs), _nudged(min, max, num_bits, narrow_range))


@composite("FakeQuantWithMinMaxVarsGradient")
def VARS_GRADIENT(gradients: Node, inputs: Node, min: Node, max: Node, *, num_bits: int = 8, narrow_range: bool = False) -> Sequence[Node]:
    _scalars(min, max)
    return _vars_shares(gradients, _float32(inputs), min, max, num_bits, narrow_range)


@composite("FakeQuantWithMinMaxVarsPerChannelGradient")
def PER_CHANNEL_GRADIENT(gradients: Node, inputs: Node, min: Node, max: Node, *, num_bits: int = 8,
                         narrow_range: bool = False) -> Sequence[Node]:
    _channels(inputs, min, max)
    return _vars_shares(gradients, _float32(inputs), min, max, num_bits, narrow_range)


def fake_quant_with_min_max_vars(inputs: Any, min: Any, max: Any, num_bits: int = 8, narrow_range: bool = False,
                                 name: str | None = None) -> Tensor:
    """`inputs` rounded to 2^num_bits numbers (one less with `narrow_range`) between the scalars `min` and `max`, which learn too."""
    return declare_one(VARS, {"inputs": inputs, "min": min, "max": max}, _attrs(num_bits, narrow_range), name)


def fake_quant_with_min_max_vars_per_channel(inputs: Any, min: Any, max: Any, num_bits: int = 8, narrow_range: bool = False,
                                             name: str | None = None) -> Tensor:
    """As `fake_quant_with_min_max_vars`, with a range of its own for each place of the last axis."""
    return declare_one(PER_CHANNEL, {"inputs": inputs, "min": min, "max": max}, _attrs(num_bits, narrow_range), name)


def fake_quant_with_min_max_vars_gradient(gradients: Any, inputs: Any, min: Any, max: Any, num_bits: int = 8, narrow_range: bool = False,
                                          name: str | None = None) -> tuple[Tensor, ...]:
    """The gradients of `fake_quant_with_min_max_vars` by inputs, min and max."""
    given = {"gradients": gradients, "inputs": inputs, "min": min, "max": max}
    return declare(VARS_GRADIENT, given, _attrs(num_bits, narrow_range), name).outputs


def fake_quant_with_min_max_vars_per_channel_gradient(gradients: Any, inputs: Any, min: Any, max: Any, num_bits: int = 8,
                                                      narrow_range: bool = False, name: str | None = None) -> tuple[Tensor, ...]:
    """The gradients of `fake_quant_with_min_max_vars_per_channel` by inputs, min and max."""
    given = {"gradients": gradients, "inputs": inputs, "min": min, "max": max}
    return declare(PER_CHANNEL_GRADIENT, given, _attrs(num_bits, narrow_range), name).outputs
