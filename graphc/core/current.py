"""TF1's module-level functions that act on the default graph: scopes and collections."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from graphc.core.graph import Graph, get_default_graph
from graphc.core.operation import Operation, Tensor


@contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Iterable[Any] | None = None) -> Iterator[str]:
    """Opens a name scope called `name`, or `default_name` where that is None, in the graph of `values` (default: the default graph)."""
    chosen = default_name if name is None else name
    if chosen is None and values is not None:
        raise ValueError(f"At least one of name ({name}) and default_name ({default_name}) must be provided.")
    with graph_of(values or ()).as_default() as graph, graph.name_scope(chosen) as scope:
        yield scope


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph that the tensors and operations among `values` belong to (ValueError where to several), else the default graph."""
    elements = [v for v in (getattr(v, "_as_graph_element", lambda v=v: v)() for v in values) if isinstance(v, Tensor | Operation)]
    for element in elements[1:]:
        if element.graph is not elements[0].graph:
            raise ValueError(f"{element} must be from the same graph as {elements[0]}.")
    return elements[0].graph if elements else get_default_graph()


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
