"""An ONNX file of a view, for Netron and other viewers: to look at, not to run, since its operators are graphc's own.

Each item is a node of the domain "graphc" with its scope in its name and the user's line as its description; feeds are inputs, small
constants initializers, values have types. A kernel is a node of the domain "graphc.kernels", and a function of that name shows what was
fused into it.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Literal
from graphc.core.types import Dims, TensorType
from graphc.exports.protobuf import Enum, Message, Packed, repeated
from graphc.exports.view import Item, Value, View

DOMAIN, KERNELS = "graphc", "graphc.kernels"
IR_VERSION, OPSET = 9, 1
LARGE = 1024  # elements of a constant whose values are left out
# onnx.proto: TensorProto.DataType
ELEMENT_TYPES = {
    dtypes.float32: 1, dtypes.uint8: 2, dtypes.int8: 3, dtypes.uint16: 4, dtypes.int16: 5, dtypes.int32: 6, dtypes.int64: 7, dtypes.bool: 9,
    dtypes.float16: 10, dtypes.float64: 11, dtypes.uint32: 12, dtypes.uint64: 13, dtypes.complex64: 14, dtypes.complex128: 15,
    dtypes.bfloat16: 16,
}
_FEEDS = {"Placeholder", "parameter"}
_CONSTANTS = {"Const", "constant"}


def onnx_model(view: View, version: str = "") -> Message:
    """onnx.proto: ModelProto. version: of graphc."""
    called = _function_names(view)
    functions = [_function(called[item.name], item, item.body) for item in view.items if item.body is not None]
    opsets = [Message((1, "domain", domain), (2, "version", OPSET)) for domain in (DOMAIN, KERNELS)]
    return Message((1, "ir_version", IR_VERSION), (2, "producer_name", "graphc"), (3, "producer_version", version or None),
                   (7, "graph", _graph(view, called)), *repeated(8, "opset_import", opsets), *repeated(25, "functions", functions))


def _function_names(view: View) -> dict[str, str]:
    """For each kernel the name of its function: its own name without the scope, numbered where kernels of two parts are called alike."""
    names: dict[str, str] = {}
    for item in view.items:
        if item.body is not None:
            own = item.name.rpartition("/")[2]
            names[item.name] = own if own not in names.values() else f"{own}_{len(names)}"
    return names


def _graph(view: View, called: Mapping[str, str]) -> Message:
    """onnx.proto: GraphProto. An edge without a value, from a control input, is a value "^name" without a type."""
    waited_for = {name for item in view.items for name in item.after}
    alone = [item for item in view.items if not item.inputs and not item.after and item.name not in waited_for]
    feeds = {item.name for item in alone if item.type in _FEEDS}
    constants = {item.name: array for item in alone if (array := _constant(item)) is not None}
    computed = [item for item in view.items if item.name not in feeds and item.name not in constants]
    values, outputs = view.values, dict.fromkeys(view.results)
    inner = [value for item in computed for value in item.outputs if value.name not in outputs]
    nodes = [_node(item, called.get(item.name, ""), item.name in waited_for or not item.outputs) for item in computed]
    tensors = [_tensor(item.outputs[0].name, constants[item.name]) for item in alone if item.name in constants]
    return Message(
        *repeated(1, "node", nodes), (2, "name", view.title), *repeated(5, "initializer", tensors),
        *repeated(11, "input", [_value(item.outputs[0], item.line) for item in alone if item.name in feeds]),
        *repeated(12, "output", [_value(values[name]) for name in outputs]), *repeated(13, "value_info", map(_value, inner)))


def _constant(item: Item) -> np.ndarray[Any, Any] | None:
    """The value of an item that is a small constant."""
    value = item.attrs.get("value") if item.type in _CONSTANTS else None
    array = value.array if isinstance(value, Literal) else value
    return array if isinstance(array, np.ndarray) and array.size <= LARGE else None


def _node(item: Item, function: str = "", marked: bool = False) -> Message:
    """onnx.proto: NodeProto. function: that it calls; "" for an operator. marked: it gives "^name", for those that wait for it."""
    inputs = (*item.inputs, *(f"^{name}" for name in item.after))
    outputs = [*(value.name for value in item.outputs), *([f"^{item.name}"] if marked else [])]
    return Message(*repeated(1, "input", inputs), *repeated(2, "output", outputs), (3, "name", item.name),
                   (4, "op_type", function or item.type), *repeated(5, "attribute", _attributes(item)),
                   (6, "doc_string", item.line or None), (7, "domain", KERNELS if function else DOMAIN))


def _function(name: str, item: Item, body: View) -> Message:
    """onnx.proto: FunctionProto: what a kernel computes, in terms of primitives."""
    feeds = [each for each in body.items if each.type in _FEEDS]
    inner = [_node(each) for each in body.items if each.type not in _FEEDS]
    return Message((1, "name", name), *repeated(4, "input", [each.outputs[0].name for each in feeds]),
                   *repeated(5, "output", dict.fromkeys(body.results)), *repeated(7, "node", inner),
                   (8, "doc_string", item.line or None), (9, "opset_import", Message((1, "domain", DOMAIN), (2, "version", OPSET))),
                   (10, "domain", KERNELS))


def _attributes(item: Item) -> Iterator[Message]:
    """onnx.proto: AttributeProto, of the kind that fits; the text of what none fits."""
    attrs = dict(item.attrs)
    if item.device:
        attrs["device"] = item.device
    for name, value in attrs.items():
        yield Message((1, "name", name), *_attribute(value))


def _attribute(value: Any) -> list[tuple[int, str, Any]]:
    if isinstance(value, Literal):
        value = value.array
    if isinstance(value, np.ndarray) and value.size <= LARGE:
        return [(5, "t", _tensor("value", value)), (20, "type", Enum("TENSOR", 4))]
    if isinstance(value, int):
        return [(3, "i", int(value)), (20, "type", Enum("INT", 2))]
    if isinstance(value, float):
        return [(2, "f", value), (20, "type", Enum("FLOAT", 1))]
    if isinstance(value, tuple | list) and value and all(type(each) is int for each in value):
        return [*repeated(8, "ints", value), (20, "type", Enum("INTS", 7))]
    if isinstance(value, tuple | list):
        return [*repeated(9, "strings", [_text(each) for each in value]), (20, "type", Enum("STRINGS", 8))]
    return [(4, "s", _text(value)), (20, "type", Enum("STRING", 3))]


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case DType():
            return value.name
        case TensorType():
            return str(value)
        case np.ndarray():
            return f"{value.dtype.name}{list(value.shape)}"
        case None | int() | float():
            return str(value)
    return getattr(value, "__qualname__", "") or type(value).__name__


def _value(value: Value, line: str = "") -> Message:
    """onnx.proto: ValueInfoProto."""
    shape = () if value.shape is None else ((2, "shape", _shape(value.shape)),)
    tensor = Message((1, "elem_type", ELEMENT_TYPES[value.dtype]), *shape)
    return Message((1, "name", value.name), (2, "type", Message((1, "tensor_type", tensor))), (3, "doc_string", line or None))


def _shape(dims: Dims) -> Message:
    """onnx.proto: TensorShapeProto; an unknown dim says nothing."""
    return Message(*repeated(1, "dim", [Message((1, "dim_value", dim)) for dim in dims]))


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Message:
    """onnx.proto: TensorProto."""
    return Message((1, "dims", Packed(array.shape)), (2, "data_type", ELEMENT_TYPES[dtypes.as_dtype(array.dtype)]), (8, "name", name),
                   (9, "raw_data", array.tobytes()))
