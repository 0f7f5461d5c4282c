"""TensorFlow's GraphDef: what TensorBoard's graph page and Netron open. `as_graph_def` makes it of a graph, `graph_def_of` of any view.

An operation of graphc is one node with TensorFlow's fields: name, op, inputs ("x", "split:1", "^init"), device, attributes. Operations that
TensorFlow does not have (gradients are "MatMulGrad") are nodes like all others: for programs that look at graphs, not for those that run
them. Attributes that begin with "_" are ours: `_output_shapes`, `_output_types`, and `_line`, the user's line.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.graph import Graph
from graphc.core.program import Literal
from graphc.core.text import print_value
from graphc.core.types import Dims, TensorType
from graphc.exports.protobuf import Enum, Message, Packed, repeated
from graphc.exports.view import Item, View, of_graph

LARGE = 1024  # elements of a constant whose values are left out: they are no part of the picture
PRODUCER = 134  # TensorFlow 1.15's version of the format
# types.proto: DataType
DATA_TYPES = {
    dtypes.float32: Enum("DT_FLOAT", 1), dtypes.float64: Enum("DT_DOUBLE", 2), dtypes.int32: Enum("DT_INT32", 3),
    dtypes.uint8: Enum("DT_UINT8", 4), dtypes.int16: Enum("DT_INT16", 5), dtypes.int8: Enum("DT_INT8", 6),
    dtypes.complex64: Enum("DT_COMPLEX64", 8), dtypes.int64: Enum("DT_INT64", 9), dtypes.bool: Enum("DT_BOOL", 10),
    dtypes.bfloat16: Enum("DT_BFLOAT16", 14), dtypes.uint16: Enum("DT_UINT16", 17), dtypes.complex128: Enum("DT_COMPLEX128", 18),
    dtypes.float16: Enum("DT_HALF", 19), dtypes.uint32: Enum("DT_UINT32", 22), dtypes.uint64: Enum("DT_UINT64", 23),
}


@dataclass(frozen=True)
class NodeDef:
    """node_def.proto: NodeDef. attr: messages AttrValue by name."""

    name: str
    op: str
    input: tuple[str, ...] = ()
    device: str = ""
    attr: Mapping[str, Message] = field(default_factory=dict)

    def message(self) -> Message:
        attrs = [Message((1, "key", name), (2, "value", value)) for name, value in sorted(self.attr.items())]
        return Message((1, "name", self.name), (2, "op", self.op), *repeated(3, "input", self.input), (4, "device", self.device or None),
                       *repeated(5, "attr", attrs))

    def __str__(self) -> str:
        return self.message().text()


@dataclass(frozen=True)
class GraphDef:
    """graph.proto: GraphDef. `str` gives its text (.pbtxt), `SerializeToString` its bytes (.pb)."""

    node: tuple[NodeDef, ...]

    def message(self) -> Message:
        versions = Message((1, "producer", PRODUCER))
        return Message(*repeated(1, "node", [node.message() for node in self.node]), (4, "versions", versions))

    def SerializeToString(self) -> bytes:
        return self.message().wire()

    def ByteSize(self) -> int:
        return len(self.SerializeToString())

    def __str__(self) -> str:
        return self.message().text()


def as_graph_def(graph: Graph, from_version: int | None = None, add_shapes: bool = False) -> GraphDef:
    """The graph as TensorFlow's GraphDef. from_version: only operations declared after `graph.version` was that. add_shapes: with
    `_output_shapes` and `_output_types`, which viewers write on the edges."""
    view = of_graph(graph)
    return graph_def_of(View(view.title, view.items[from_version or 0:], view.results), add_shapes)


def graph_def_of(view: View, add_shapes: bool = True) -> GraphDef:
    """A node for each item of `view`."""
    return GraphDef(tuple([_node(item, add_shapes) for item in view.items]))


def _node(item: Item, add_shapes: bool) -> NodeDef:
    attrs = {name: attr_value(name, value) for name, value in item.attrs.items()}
    if add_shapes and item.outputs:
        attrs["_output_shapes"], attrs["_output_types"] = _outputs(tuple([(value.dtype, value.shape) for value in item.outputs]))
    if item.line:
        attrs["_line"] = _string(item.line)
    inputs = [name.removesuffix(":0") for name in item.inputs]
    return NodeDef(item.name, item.type, (*inputs, *(f"^{name}" for name in item.after)), item.device, attrs)


@lru_cache(1024)  # deep networks repeat a few
def _outputs(types: tuple[tuple[DType, Dims | None], ...]) -> tuple[Message, Message]:
    return (_list(*repeated(7, "shape", [shape_message(shape) for _, shape in types])),
            _list((6, "type", Packed(tuple([DATA_TYPES[dtype] for dtype, _ in types])))))


def attr_value(name: str, value: Any) -> Message:
    """attr_value.proto: AttrValue, of the kind that fits; the text of what none fits."""
    match value:
        case bool():
            return Message((5, "b", value))
        case int():
            return Message((3, "i", value))
        case float():
            return Message((4, "f", value))
        case str() | bytes():
            return _string(value)
        case DType():
            return _type(value)
        case TensorType():
            return Message((7, "shape", shape_message(value.shape)))
        case Literal():
            return Message((8, "tensor", tensor_message(value.array)))
        case np.ndarray():
            return Message((8, "tensor", tensor_message(value)))
    if name == "shape" and _is_shape(value):
        return Message((7, "shape", shape_message(value)))
    if isinstance(value, tuple | list):
        return _list_of(list(value))
    return _string(_plain_text(value))


@lru_cache
def _type(dtype: DType) -> Message:
    return Message((6, "type", DATA_TYPES[dtype]))


def _string(text: str | bytes) -> Message:
    return Message((2, "s", text))


def _list(*fields: tuple[int, str, Any]) -> Message:
    return Message((1, "list", Message(*fields)))


def _list_of(values: list[Any]) -> Message:
    """A list of one kind; of several kinds, of their texts."""
    if values and all(isinstance(each, int) and not isinstance(each, bool) for each in values):
        return _list((3, "i", Packed(tuple(values))))
    if values and all(isinstance(each, DType) for each in values):
        return _list((6, "type", Packed(tuple([DATA_TYPES[each] for each in values]))))
    return _list(*repeated(2, "s", [each if isinstance(each, str) else _plain_text(each) for each in values]))


def _plain_text(value: Any) -> str:
    try:
        return print_value(value.item() if isinstance(value, np.generic) else value)
    except TypeError:  # a function of Python's, say
        return getattr(value, "__qualname__", "") or type(value).__name__


def shape_message(shape: Dims | None) -> Message:
    """tensor_shape.proto: TensorShapeProto; -1 is an unknown dim."""
    if shape is None:
        return Message((3, "unknown_rank", True))
    return Message(*repeated(2, "dim", [_dim(dim) for dim in shape]))


def _is_shape(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and all(dim is None or isinstance(dim, int) for dim in value))


def _dim(dim: int | None) -> Message:
    return Message((1, "size", -1 if dim is None else dim or None))  # 0 is what is not there


# tensor.proto: which field of TensorProto holds the values of a scalar; all others go as bytes.
_SCALARS: dict[str, tuple[int, str, type]] = {"float32": (5, "float_val", float), "int32": (7, "int_val", int),
                                              "int64": (10, "int64_val", int), "bool": (11, "bool_val", bool)}


def tensor_message(array: np.ndarray[Any, Any]) -> Message:
    """tensor.proto: TensorProto, without the values of more than LARGE elements."""
    head = (1, "dtype", DATA_TYPES[dtypes.as_dtype(array.dtype)]), (2, "tensor_shape", shape_message(array.shape))
    if array.size > LARGE:
        return Message(*head)
    if array.size == 1 and array.dtype.name in _SCALARS:
        number, name, kind = _SCALARS[array.dtype.name]
        return Message(*head, (number, name, Packed((kind(array.item()),))))
    return Message(*head, (4, "tensor_content", array.tobytes()))
