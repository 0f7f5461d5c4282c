"""Choosing between values by a condition: where."""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.declare import declare_one
from graphc.ops.selecting import places
from graphc.primitives.sugar import broadcast_dims, broadcast_to


@composite("Select")
def SELECT(condition: Node, t: Node, e: Node) -> Node:
    """t where the condition holds, else e; a scalar condition chooses all, a vector chooses rows."""
    if len(t.shape) != len(e.shape):
        raise ValueError(f"t and e must have the same shape, got ranks {len(t.shape)} and {len(e.shape)}")
    rank = len(t.shape)
    if len(condition.shape) == rank:
        return p.select(condition, t, e)
    if len(condition.shape) > 1:
        raise ValueError("the condition must be a scalar, a vector of the first dim, or of the shape of t, not of rank "
                         f"{len(condition.shape)}")
    return p.select(p.broadcast_in_dim(condition, t.shape, range(len(condition.shape))), t, e)


@composite("SelectV2")
def SELECT_V2(condition: Node, t: Node, e: Node) -> Node:
    """t where the condition holds, else e, with numpy's broadcasting of all three."""
    shape = broadcast_dims(broadcast_dims(condition.shape, t.shape), e.shape)
    return p.select(broadcast_to(condition, shape), broadcast_to(t, shape), broadcast_to(e, shape))


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`x` where `condition` holds, else `y`: arrays of one shape; a vector condition chooses rows. Without both of them the index tuples
    of the places where it holds, int64 [n, rank]. ValueError where only one is given."""
    return _select(SELECT, condition, x, y, name)


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`x` where `condition` holds, else `y`, with numpy's broadcasting; without both the index tuples of the places where it holds."""
    return _select(SELECT_V2, condition, x, y, name)


def _select(definition: OpDef, condition: Any, x: Any, y: Any, name: str | None) -> Tensor:
    if x is None and y is None:
        return places(condition, name)
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return declare_one(definition, {"condition": condition, "t": x, "e": y}, None, name, other={"condition": None})
