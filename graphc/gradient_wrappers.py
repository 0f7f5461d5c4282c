"""Functions with another gradient than their own: passed through as if the function were not there, or recomputed on the way back."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.core.operation import Tensor
from graphc.registered_gradients import custom_gradient


def grad_pass_through(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that computes `f` and hands the gradient of its result on to its first argument as it is; the others get none."""
    @custom_gradient
    def passed(*args: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        return f(*args), lambda g: [g, *([None] * (len(args) - 1))] if len(args) > 1 else g
    return passed


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` itself: what of a forward computation is cheaper to compute again than to keep is the compiler's own choice."""
    return f
