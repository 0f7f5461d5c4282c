"""Clipping: values to bounds, tensors to a norm, several tensors to their common norm."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphc.core.convert import constant
from graphc.core.operation import Tensor
from graphc.ops.array import identity, size
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, greater, is_finite, maximum, minimum, multiply, sqrt
from graphc.ops.joining import stack
from graphc.ops.reductions import l2_loss, reduce_sum


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """`t` between the bounds, which broadcast to it."""
    with name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = as_tensor(t, name="t")
        lower = minimum(values, clip_value_max)
        values.shape.merge_with(lower.shape)  # the bounds may not make it larger
        result = maximum(lower, clip_value_min, scope)
        values.shape.merge_with(result.shape)
        return result


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """`t` scaled down to the norm `clip_norm` where its norm over `axes` is larger."""
    with name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = as_tensor(t, name="t")
        total = reduce_sum(values * values, axes, True)
        positive = greater(total, 0)
        # The root of 0 has no gradient: it is taken of 1 instead, and 0 chosen.
        safe = where(positive, total, ones_like(total))
        length = where(positive, sqrt(safe), total)
        return identity(values * clip_norm / maximum(length, clip_norm), scope)


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """`t` scaled down to the norm `clip_norm` per element where it is larger."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        values = as_tensor(t, name="t")
        count = cast(size(values), values.dtype)
        inverse = 1 / (sqrt(reduce_sum(values * values)) / count)
        factor = clip_norm * minimum(inverse, constant(1.0, values.dtype) / clip_norm)
        return identity(multiply(values, factor), scope)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """The root of the sum of all squares of several tensors; None among them counts nothing."""
    if not isinstance(t_list, list | tuple):
        raise TypeError("t_list should be a sequence")
    given = [each for each in t_list if each is not None]
    with name_scope(name, "global_norm", given):
        halves = [l2_loss(each) for each in given]
        total = reduce_sum(stack(halves))
        return sqrt(total * constant(2.0, total.dtype), "global_norm")


def clip_by_global_norm(t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None) -> tuple[list[Any], Tensor]:
    """Several tensors scaled down together to the norm `clip_norm`, and their norm before (`use_norm` where it is known already).

    Where the norm is not finite every result is NaN, so that the failure shows.
    """
    if not isinstance(t_list, list | tuple):
        raise TypeError("t_list should be a sequence")
    length = global_norm(t_list, name) if use_norm is None else as_tensor(use_norm)
    with name_scope(name, "clip_by_global_norm", [*(each for each in t_list if each is not None), clip_norm]) as scope:
        one = constant(1.0, length.dtype)
        scale = clip_norm * minimum(1.0 / length, one / clip_norm)
        scale = where(is_finite(length), scale, constant(math.nan, length.dtype))
        clipped = [None if each is None else as_tensor(each) * scale for each in t_list]
        return [None if each is None else identity(each, f"{scope}_{n}") for n, each in enumerate(clipped)], length
