"""The user's graph and what was compiled of it, in the forms that other programs open: Graphviz, TensorBoard, Netron, networkx.

    Graph, Program or Executable  --view.py-->  View: items and the values between them  -->  dot, graph_def, onnx_model, networks

Nothing here needs a package but networkx's: `protobuf.py` writes the files of TensorBoard and ONNX itself.
"""
from graphc.core.graph import Graph
from graphc.exports.formats import FORMATS, Format, export, write_graph
from graphc.exports.graph_def import GraphDef, as_graph_def
from graphc.exports.networks import networkx_graph

__all__ = ["FORMATS", "Format", "GraphDef", "as_graph_def", "export", "networkx_graph", "write_graph"]

# The graph itself, in the room below, does not know its viewers.
for _name, _method in (("as_graph_def", as_graph_def), ("to_networkx", networkx_graph)):
    setattr(Graph, _name, _method)
