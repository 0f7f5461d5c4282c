"""How a gamma sample moves with its shape parameter: what makes samples of the gamma family differentiable."""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import declare_one
from graphc.ops.gamma import lgamma_of
from graphc.ops.incomplete import igamma_grad_a_of
from graphc.primitives.sugar import fill_like


@composite("RandomGammaGrad", gradient=False)
def RANDOM_GAMMA_GRAD(alpha: Node, sample: Node) -> Node:
    """d sample / d alpha at a constant value of the distribution function: -(dP / d alpha) / (dP / d sample)."""
    log_density = p.subtract(p.subtract(p.multiply(p.subtract(alpha, fill_like(alpha, 1)), p.log(sample)), sample), lgamma_of(alpha))
    return p.negate(p.divide(igamma_grad_a_of(alpha, sample), p.exponential(log_density)))


def random_gamma_grad(alpha: Any, sample: Any, name: str | None = None) -> Tensor:
    """The derivative of Gamma(alpha, 1) samples by `alpha`, of one shape: M. Figurnov, S. Mohamed and A. Mnih, "Implicit reparameterization
    gradients", 2018."""
    return declare_one(RANDOM_GAMMA_GRAD, {"alpha": alpha, "sample": sample}, None, name)
