"""TF1's module-level functions that act on the default graph: scopes and collections."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from graphc.core.graph import Graph, get_default_graph
from graphc.core.operation import Operation, Tensor


@contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Iterable[Any] | None = None) -> Iterator[str]:
    """Declares inside the scope `name` (`default_name` where that is None), made unique, in the graph of `values`; gives its prefix.

    values: tensors, operations, variables, anything else, and nested lists of them; ValueError where they belong to several graphs.
    """
    if name is None and default_name is None and values is not None:
        raise ValueError(f"At least one of name ({name}) and default_name ({default_name}) must be provided.")
    graph = graph_of(values or ())
    default = nullcontext() if graph is get_default_graph() else graph.as_default()
    with default, graph.name_scope(default_name if name is None else name) as scope:
        yield scope


def op_scope(values: Iterable[Any] | None, name: str | None, default_name: str | None = None) -> AbstractContextManager[str]:
    """`name_scope` with TF1's older order of arguments."""
    return name_scope(name, default_name, values)


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph that the tensors, operations and variables among `values` belong to, else the default one."""
    found: Tensor | Operation | None = None
    for element in _elements(values):
        if found is not None and element.graph is not found.graph:
            raise ValueError(f"{element} must be from the same graph as {found}.")
        found = element
    return get_default_graph() if found is None else found.graph


def _elements(values: Iterable[Any]) -> Iterator[Tensor | Operation]:
    for value in values:
        if isinstance(value, Tensor | Operation):
            yield value
        elif isinstance(value, list | tuple):
            yield from _elements(value)
        elif hasattr(value, "_as_graph_element"):
            yield value._as_graph_element()


def control_dependencies(control_inputs: Iterable[Any] | None) -> AbstractContextManager[None]:
    """`Graph.control_dependencies` of the default graph."""
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """`Graph.device` of the default graph."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> AbstractContextManager[None]:
    """`Graph.colocate_with` of the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


def add_to_collection(name: Any, value: Any) -> None:
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """`Graph.get_collection` of the default graph."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """`Graph.get_collection_ref` of the default graph."""
    return get_default_graph().get_collection_ref(key)
