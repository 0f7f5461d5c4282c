"""What rule tables share: recognising uniform constants, and building them in canonical form."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.loops import Map
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives import broadcast_in_dim, constant, parameter

_UNSEEN = (0.0, "none")


def uniform(node: Node) -> Any | None:
    """The one value of a constant all of whose elements are equal, as a numpy scalar; None for anything else."""
    while node.name == "broadcast_in_dim" or (node.name == "reshape" and node.type.size):
        node = node.operands[0]
    if node.name != "constant" or node.type.size != 1:
        return None
    return node.attrs.value.array.reshape(())[()]


def is_uniform(node: Node, value: float) -> bool:
    """Whether every element of `node` is the constant `value` (-0.0 is not 0.0)."""
    found = uniform(node)
    if found is None:
        return False
    as_float = float(found)
    return as_float == value and np.signbit(as_float) == np.signbit(value)


def fill(value: Any, type_: TensorType) -> Node:
    """The canonical uniform constant of `type_`."""
    return broadcast_in_dim(constant(value, type_.dtype), type_.shape, ())


def is_map(node: Node) -> bool:
    return isinstance(node.primitive.loop, Map)


def sample(dtype: DType, *shape: int, name: str = "x") -> Node:
    """A parameter for the examples of rules."""
    return parameter(name, TensorType(dtype, shape))
