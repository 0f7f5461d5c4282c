"""Running sums, products and log-sum-exps along an axis, in TF1's words."""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import INDEX, as_tensor, declare_one, known_axes, name_scope
from graphc.ops.parts import undetermined
from graphc.primitives.cumulative import Cumulative


def _running(accumulate: Cumulative, x: Node, axis_node: Node, exclusive: bool, backwards: bool) -> Node:
    axes = known_axes(axis_node, len(x.shape))
    if axes is None:  # a sum is linear; the others have derivatives of every order, as e^x has
        some = undetermined(x, x.shape)
        return some if accumulate is p.cumulative_sum or not x.dtype.is_floating else p.exponential(some)
    return accumulate(x, axes[0], exclusive, backwards)


@composite("Cumsum")
def CUMSUM(x: Node, axis: Node, *, exclusive: bool = False, reverse: bool = False) -> Node:
    return _running(p.cumulative_sum, x, axis, exclusive, reverse)


@composite("Cumprod")
def CUMPROD(x: Node, axis: Node, *, exclusive: bool = False, reverse: bool = False) -> Node:
    return _running(p.cumulative_prod, x, axis, exclusive, reverse)


@composite("CumulativeLogsumexp")
def CUMULATIVE_LOGSUMEXP(x: Node, axis: Node, *, exclusive: bool = False, reverse: bool = False) -> Node:
    return _running(p.cumulative_logsumexp, x, axis, exclusive, reverse)


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """The sum of all elements up to each along `axis`; `exclusive` leaves the element itself out, `reverse` sums from the end."""
    return _declare(CUMSUM, "Cumsum", x, axis, exclusive, reverse, name)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """The product of all elements up to each along `axis`; `exclusive` leaves the element itself out, `reverse` starts at the end."""
    return _declare(CUMPROD, "Cumprod", x, axis, exclusive, reverse, name)


def cumulative_logsumexp(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """log(sum(exp(x))) of all elements up to each along `axis`, without overflow (of none: -inf); `exclusive` leaves the element itself
    out, `reverse` starts at the end. Floating types."""
    return _declare(CUMULATIVE_LOGSUMEXP, "CumulativeLogsumexp", x, axis, exclusive, reverse, name)


def _declare(definition: OpDef, default: str, x: Any, axis: Any, exclusive: bool, backwards: bool, name: str | None) -> Tensor:
    with name_scope(name, default, [x]) as scope:
        x = as_tensor(x, name="x")
        return declare_one(definition, {"x": x, "axis": axis}, {"exclusive": exclusive, "reverse": backwards}, scope, other={"axis": INDEX})
