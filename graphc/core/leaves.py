"""The operations that a graph begins with: Const, Placeholder, Identity, and NoOp, which only gathers control inputs."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.graph import FOLLOWED_ELEMENTS, Graph, get_default_graph
from graphc.core.opdef import Attrs, GraphType, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, make
from graphc.core.shapes import as_dims
from graphc.core.types import Dims, show_dims


def _const_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [(attrs["dtype"], attrs["value"].shape)]


@composite("Const", infer_types=_const_types)
def CONST(*, value: np.ndarray[Any, Any], dtype: DType) -> Node:
    """`value`, an immutable array of type `dtype`."""
    primitive = lookup("constant")
    return make(primitive, (), primitive.attrs(value=Literal(value)))


def _placeholder_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [(attrs["dtype"], attrs["shape"])]


@composite("Placeholder", infer_types=_placeholder_types)
def PLACEHOLDER(*, dtype: DType, shape: Dims | None) -> Node:
    """A value that must be fed: it has no expansion of its own."""
    raise ValueError(f"You must feed a value for a placeholder with dtype {dtype.name} and shape {show_dims(shape)}")


@composite("Identity")
def IDENTITY(input: Node) -> Node:
    """Its input; of a variable, the value at this point of the declaration."""
    return input


@composite("IdentityN")
def IDENTITY_N(*inputs: Node) -> Sequence[Node]:
    """Its inputs, each as an output."""
    return inputs


def _no_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return []


@composite("NoOp", infer_types=_no_types)
def NO_OP() -> Sequence[Node]:
    """Does nothing, after its control inputs."""
    return ()


def const_op(graph: Graph, value: np.ndarray[Any, Any], name: str | None = None) -> Tensor:
    """A "Const" that holds a copy of `value` (of one of graphc's element types)."""
    held = np.array(value, order="C")
    held.flags.writeable = False
    tensor = graph.create_op(CONST, (), {"value": held, "dtype": dtypes.as_dtype(held.dtype)}, name or "Const").outputs[0]
    follow_constant(tensor)
    return tensor


def follow_constant(tensor: Tensor) -> None:
    """Keeps the node of a "Const" of few integers: a shape may be computed from it."""
    value = tensor.op.attrs["value"]
    if tensor.dtype.is_integer and value.ndim <= 2 and value.size <= FOLLOWED_ELEMENTS:
        tensor.node = CONST.nodes((), tensor.op.attrs)[0]


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor that `Session.run` must be given a value for. A shape of None accepts any rank, a dim of None any size."""
    attrs = {"dtype": dtypes.as_dtype(dtype), "shape": as_dims(shape)}
    return get_default_graph().create_op(PLACEHOLDER, (), attrs, name).outputs[0]


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing: a place for control inputs."""
    return get_default_graph().create_op(NO_OP, (), {}, name)


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that runs all of `inputs` (operations, tensors, variables, or nested lists of them) and gives no value."""
    graph = get_default_graph()
    elements = [graph.as_graph_element(each) for each in _flat(inputs)]
    operations = list(dict.fromkeys(e.op if isinstance(e, Tensor) else e for e in elements))
    with graph.control_dependencies(operations):
        return no_op(name or "group_deps")


def _flat(inputs: Iterable[Any]) -> Iterable[Any]:
    for each in inputs:
        if isinstance(each, list | tuple):
            yield from _flat(each)
        else:
            yield each
