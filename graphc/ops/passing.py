"""Operations that hand a value on as it is: placeholder_with_default, tuple_, guarantee_const."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core.current import control_dependencies
from graphc.core.graph import get_default_graph
from graphc.core.leaves import group
from graphc.core.opdef import Attrs, GraphType, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.shapes import as_dims, check_equal_shapes
from graphc.core.types import Dims, merge_dims
from graphc.ops.array import identity
from graphc.ops.declare import as_tensor, declare_one, name_scope


def _with_default_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    (dtype, dims), shape = inputs[0], attrs["shape"]
    if dims is not None and shape is not None:
        check_equal_shapes(dims, shape)
    return [(dtype, shape)]


@composite("PlaceholderWithDefault", infer_types=_with_default_types)
def PLACEHOLDER_WITH_DEFAULT(input: Node, *, shape: Dims | None) -> Node:
    """`input`, where nothing is fed in its place."""
    return input if shape is None else p.reshape(input, merge_dims(input.shape, shape))


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that may be fed, and is `input` where it is not. shape: what may be fed, with None for any rank, or dims of None."""
    return declare_one(PLACEHOLDER_WITH_DEFAULT, {"input": input}, {"shape": as_dims(shape)}, name)


def tuple_(tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None) -> list[Tensor | None]:
    """`tensors` (a None stays one) as values that nobody gets before all of them, and `control_inputs`, are computed.

    ValueError where there is no tensor among them, TypeError for control inputs that are not operations or tensors.
    """
    given = [None if each is None else each if isinstance(each, Operation) else as_tensor(each) for each in tensors]
    with name_scope(name, "tuple", [each for each in given if isinstance(each, Tensor)]):
        waited_for: list[Any] = [each for each in given if each is not None]
        if not waited_for:
            raise ValueError(f"Must have at least one Tensor: {list(tensors)}")
        for each in control_inputs or ():
            waited_for.append(get_default_graph().as_graph_element(each))
        gate = group(*waited_for)
        with control_dependencies([gate]):
            return [identity(each, "control_dependency") if isinstance(each, Tensor) else None for each in given]


@composite("GuaranteeConst", gradient=False)
def GUARANTEE_CONST(input: Node) -> Node:
    """Its input, said to be the same at every run; nothing rests on that here."""
    return input


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """`input`, of which the caller promises that it never changes. No gradient flows through it."""
    return declare_one(GUARANTEE_CONST, {"input": input}, None, name)
