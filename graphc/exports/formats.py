"""Files of each format, whole or not at all: `export` for any view (`graphc export` calls it), `write_graph` in TF1's words."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphc.core.graph import Graph
from graphc.exports.dot import dot
from graphc.exports.events import FileWriter
from graphc.exports.graph_def import GraphDef, as_graph_def, graph_def_of
from graphc.exports.networks import json_text
from graphc.exports.onnx_model import onnx_model
from graphc.exports.view import View
from graphc.files import write_whole


@dataclass(frozen=True)
class Format:
    """One way to write a view. opens: what opens it. content: of the file; None where it is a folder."""

    opens: str
    content: Callable[[View], str | bytes] | None


def _pbtxt(view: View) -> str:
    return str(graph_def_of(view))


def _pb(view: View) -> bytes:
    return graph_def_of(view).SerializeToString()


def _onnx(view: View) -> bytes:
    return onnx_model(view).wire()


FORMATS = {
    "dot": Format("Graphviz", dot),
    "pbtxt": Format("TensorBoard, Netron", _pbtxt),
    "pb": Format("TensorFlow's tools, Netron", _pb),
    "onnx": Format("Netron", _onnx),
    "networkx-json": Format("networkx", json_text),
    "tensorboard": Format("TensorBoard, as a log folder", None),
}


def export(view: View, format_: str, out: str | os.PathLike[str]) -> Path:
    """Writes `view` to the file `out`, for "tensorboard" into the folder `out`, and gives the file. ValueError for an unknown format,
    OSError where it cannot be written, ImportError where networkx is needed and missing."""
    if format_ not in FORMATS:
        raise ValueError(f"no format {format_!r}; there are {', '.join(FORMATS)}")
    content = FORMATS[format_].content
    if content is None:
        with FileWriter(out, graph_def=graph_def_of(view)) as writer:
            return writer.path
    write_whole(out, content(view))
    return Path(out)


def write_graph(graph_or_graph_def: Graph | GraphDef, logdir: str | os.PathLike[str], name: str, as_text: bool = True) -> str:
    """Writes the graph to the file `name` in the folder `logdir`, which is made where it is not there: as text (.pbtxt) or in binary (.pb).
    Gives the file's path. TypeError for what is no graph, OSError where it cannot be written."""
    if isinstance(graph_or_graph_def, Graph):
        graph_def = as_graph_def(graph_or_graph_def, add_shapes=True)
    elif isinstance(graph_or_graph_def, GraphDef):
        graph_def = graph_or_graph_def
    else:
        raise TypeError(f"write_graph takes a graphc.Graph or what its as_graph_def gives, but got {type(graph_or_graph_def)}")
    folder = Path(logdir)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / name, str(graph_def) if as_text else graph_def.SerializeToString())
    return os.fspath(folder / name)
