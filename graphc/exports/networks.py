"""A graph, program or executable as a networkx graph, for those who want to compute with it. The only format that needs a package."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.program import Literal
from graphc.core.types import TensorType, show_dims
from graphc.exports.view import Item, View, source_of, view_of

if TYPE_CHECKING:
    import networkx


def networkx_graph(what: Any) -> networkx.MultiDiGraph:
    """What `what` (a Graph, a Program, or an Executable: its kernels) consists of.

    Nodes are called as the operations are, and have `type`, `scope`, `line`, `device`, `attrs`, and of each output `shapes` ("(?, 4)") and
    `dtypes` ("float32"), all plain values that JSON can hold. Edges have `tensor`, `shape` and `dtype`; that of a control input has
    `control` True and no tensor. ImportError without networkx (`pip install graphc[networkx]`), TypeError where `what` is none of these.
    """
    return graph_of(view_of(what))


def json_text(view: View) -> str:
    """The graph of a view as the JSON that `networkx.node_link_graph(data, edges="links")` reads. ImportError without networkx."""
    return json.dumps(_networkx().node_link_data(graph_of(view), edges="links"), indent=1) + "\n"


def _networkx() -> Any:
    try:
        import networkx
    except ImportError as error:
        raise ImportError("this needs networkx: pip install 'graphc[networkx]'") from error
    return networkx


def graph_of(view: View) -> networkx.MultiDiGraph:
    """As `networkx_graph`, of a view."""
    made = _networkx().MultiDiGraph(name=view.title)
    for item in view.items:
        made.add_node(item.name, **_node(item))
    values = view.values
    for item in view.items:
        for name in item.inputs:
            value = values[name]
            made.add_edge(source_of(name), item.name, tensor=name, shape=show_dims(value.shape), dtype=value.dtype.name, control=False)
        for name in item.after:
            made.add_edge(name, item.name, control=True)
    return made


def _node(item: Item) -> dict[str, Any]:
    return {"type": item.type, "scope": item.scope, "line": item.line, "device": item.device,
            "attrs": {name: plain(value) for name, value in item.attrs.items()},
            "shapes": [show_dims(value.shape) for value in item.outputs], "dtypes": [value.dtype.name for value in item.outputs]}


def plain(value: Any) -> Any:
    """`value` in words that JSON knows. An array of more than 16 elements is only named."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return [plain(each) for each in value]
        case DType():
            return value.name
        case TensorType():
            return str(value)
        case Literal():
            return plain(value.array)
        case np.generic():
            return plain(value.item())
        case np.ndarray():
            return plain(value.tolist()) if value.size <= 16 else f"{value.dtype.name}{list(value.shape)}"
    return getattr(value, "__qualname__", "") or str(value)
