"""The global step: the variable that counts training steps, which optimizers, decays and hooks find through its collection."""
from __future__ import annotations

from typing import Any

from graphc.core import dtypes
from graphc.core.graph import Graph, get_default_graph
from graphc.core.keys import GraphKeys
from graphc.initializers import zeros_initializer
from graphc.variable_scope import get_variable
from graphc.variables import Variable


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in a session, as an int."""
    return int(sess.run(global_step_tensor))


def get_global_step(graph: Graph | None = None) -> Any:
    """The global step of the graph: the one in its collection, else what is called "global_step:0"; None where there is neither.

    TypeError where it is not a scalar of integers; a collection of several counts as none.
    """
    graph = graph or get_default_graph()
    kept = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(kept) > 1:
        return None
    found = kept[0] if kept else None
    if found is None:
        try:
            found = graph.get_tensor_by_name("global_step:0")
        except KeyError:
            return None
    assert_global_step(found)
    return found


def create_global_step(graph: Graph | None = None) -> Variable:
    """Makes the global step: an int64 variable "global_step" of value 0, not trainable. ValueError where there is one."""
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        made: Variable = get_variable("global_step", [], dtypes.int64, zeros_initializer(), trainable=False,
                                      collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP])
    return made


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The global step of the graph, made where there is none."""
    graph = graph or get_default_graph()
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def assert_global_step(global_step_tensor: Any) -> None:
    """TypeError unless it is a variable or tensor of integers; ValueError unless it is a scalar."""
    if not (isinstance(global_step_tensor, Variable) or hasattr(global_step_tensor, "dtype")):
        raise TypeError(f'Existing "global_step" must be a Variable or Tensor: {global_step_tensor}.')
    if not global_step_tensor.dtype.is_integer:
        raise TypeError(f'Existing "global_step" does not have integer type: {global_step_tensor.dtype!r}')
    if global_step_tensor.get_shape().ndims != 0 and global_step_tensor.get_shape().is_fully_defined():
        raise TypeError(f'Existing "global_step" is not scalar: {global_step_tensor.get_shape()}')
