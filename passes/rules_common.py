"""What rule tables share: recognising uniform constants, building them in canonical form, and the samples in the rules' examples."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core.dtypes import DType, float32, int32
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives import broadcast_in_dim, constant, parameter


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


def sample(dtype: DType, *shape: int, name: str = "x") -> Node:
    """A parameter for the examples of rules."""
    return parameter(name, TensorType(dtype, shape))


def floats(*shape: int, name: str = "x") -> Node:
    """A float32 sample, [3, 5] where no shape is given."""
    return sample(float32, *(shape or (3, 5)), name=name)


# The samples that most examples are written with.
X, Y = floats(), floats(name="y")
I, J = sample(int32, 3, 5, name="i"), sample(int32, 3, 5, name="j")  # noqa: E741


def filled(value: float, like: Node = X) -> Node:
    """`value` everywhere, with the type of `like`."""
    return fill(value, like.type)
