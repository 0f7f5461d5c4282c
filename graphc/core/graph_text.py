"""The text form of the user's Graph: `print_graph` and its inverse `parse_graph`. What `text.py` is to Programs, one room earlier.

    graph {
      x : f32[?,4] = Placeholder() {dtype = f32, shape = [none, 4]}  // train.py:3
      w : f32[4,2] = VariableV2() {dtype = f32, shape = [4, 2]}  // train.py:4
      w/read : f32[4,2] = Identity(w:0)  // train.py:4
      MatMul : f32[?,2] = MatMul(x:0, w/read:0) {transpose_a = false, transpose_b = false}  // train.py:5
      init = NoOp(^w/Assign)  // train.py:6
      collection "losses" = [MatMul:0]
    }

One line for each operation, in the order of declaration, which is the order of effects on variables: name, types of the outputs, type of
the operation, inputs, control inputs (`^`), attributes, the user's line. `f32[...]` is a tensor of unknown rank. Attributes that begin with
"_" are what surrounds an operation: device, colocation, the forward operation of a gradient.

What comes back is the graph: same operations, names, shapes, lines. Not in the text are things of Python: `Variable` objects and what else
stands in collections beside tensors and operations, and which tensors may not be fed or fetched.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from graphc.core.dtypes import DType, from_code
from graphc.core.graph import Graph
from graphc.core.leaves import follow_constant
from graphc.core.opdef import GraphType, OpDef, definition_of
from graphc.core.operation import Operation, Tensor
from graphc.core.parse import ParseError, parse_attributes
from graphc.core.program import Literal
from graphc.core.source import SourceLine
from graphc.core.text import INDENT, print_value, quote
from graphc.core.types import Dims

_NAME = re.compile(r"[A-Za-z0-9.][\w.\-/]*")
_TENSOR = re.compile(rf"({_NAME.pattern}):(\d+)")
_TYPE = re.compile(r"(\w+)\[([\d,?]*|\.\.\.)\]")
_WORD = re.compile(r"\w+")
_COMMENT = re.compile(r"//\s*([^\n]*?)(?::(\d+))?\s*$")
_DEVICE, _COLOCATED, _GRADIENT_OF = "_device", "_colocated_with", "_gradient_of"


def print_graph(graph: Graph) -> str:
    """The text of `graph`; TypeError where an attribute has no text form."""
    lines = ["graph {"]
    if graph.seed is not None:
        lines.append(f"{INDENT}seed = {graph.seed}")
    lines += [INDENT + _operation_text(operation) for operation in graph.get_operations()]
    for key in graph.get_all_collection_keys():
        items = [item for item in graph.get_collection(key) if isinstance(item, Tensor | Operation)]
        if items and isinstance(key, str):
            lines.append(f"{INDENT}collection {quote(key)} = [{', '.join(item.name for item in items)}]")
    return "\n".join([*lines, "}"])


def _operation_text(operation: Operation) -> str:
    types = _types_text([(tensor.dtype, tensor.shape_tuple) for tensor in operation.outputs])
    inputs = [tensor.name for tensor in operation.inputs] + [f"^{other.name}" for other in operation.control_inputs]
    attrs = {**operation.attrs, **_surroundings(operation)}
    text = operation.name + (f" : {types}" if operation.outputs else "") + f" = {operation.type}({', '.join(inputs)})"
    if attrs:
        text += f" {{{', '.join(f'{name} = {print_value(_printable(value))}' for name, value in attrs.items())}}}"
    return f"{text}  // {operation.source_line}"


def _surroundings(operation: Operation) -> dict[str, Any]:
    found = {_DEVICE: operation.device, _COLOCATED: operation.colocated_with,
             _GRADIENT_OF: operation.gradient_of.name if operation.gradient_of else ""}
    return {name: value for name, value in found.items() if value}


def _type_text(dtype: DType, shape: Dims | None) -> str:
    dims = "..." if shape is None else ",".join("?" if dim is None else str(dim) for dim in shape)
    return f"{dtype.code}[{dims}]"


def _types_text(types: Sequence[GraphType]) -> str:
    return ", ".join(_type_text(*each) for each in types) or "nothing"


def _printable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return Literal(value)
    return value.item() if isinstance(value, np.generic) else value


def parse_graph(text: str) -> Graph:
    """The Graph that `text` describes; ParseError with line and column where it describes none."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("//")]
    if not lines or lines[0][1].strip() != "graph {":
        raise ParseError("expected 'graph {'", lines[0][0] if lines else 1, 1)
    if lines[-1][1].strip() != "}":
        raise ParseError("expected '}' after the last operation", lines[-1][0], 1)
    graph = Graph()
    for number, line in lines[1:-1]:
        _Line(line, number, graph).declare()
    _reserve_names(graph)
    return graph


def _reserve_names(graph: Graph) -> None:
    """What is declared in the graph from now on must get names of its own, scopes included."""
    taken: dict[str, None] = {}
    for operation in graph.get_operations():
        parts = operation.name.split("/")
        taken.update(dict.fromkeys("/".join(parts[:count]) for count in range(1, len(parts) + 1)))
    for name in taken:
        graph.unique_name(name)


class _Line:
    """One line of the text, read from left to right into `graph`."""

    def __init__(self, text: str, number: int, graph: Graph) -> None:
        self.text = text
        self.number = number
        self.graph = graph
        self.position = len(text) - len(text.lstrip())

    # -- reading --------------------------------------------------------------------------------------------------------------------------

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        raise ParseError(message, self.number, (self.position if position is None else position) + 1)

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """The match of `pattern` here; blanks after it are passed over."""
        match = pattern.match(self.text, self.position)
        if match is None:
            self.fail(f"expected {what}, found {self.text[self.position:self.position + 12]!r}")
        self._go_to(match.end())
        return match

    def accept(self, sign: str) -> bool:
        found = self.text.startswith(sign, self.position)
        if found:
            self._go_to(self.position + len(sign))
        return found

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            self.fail(f"expected {sign!r}, found {self.text[self.position:self.position + 12]!r}")

    def _go_to(self, position: int) -> None:
        while position < len(self.text) and self.text[position] == " ":
            position += 1
        self.position = position

    # -- grammar --------------------------------------------------------------------------------------------------------------------------

    def declare(self) -> None:
        if self.accept("seed ="):
            self.graph.seed = int(self.take(re.compile(r"-?\d+"), "a number").group())
        elif self.accept('collection "'):
            self.collection()
        else:
            self.operation()

    def collection(self) -> None:
        key = self.take(re.compile(r'((?:[^"\\]|\\.)*)"'), "a name in quotes")[1]
        self.expect("=")
        self.expect("[")
        while not self.accept("]"):
            start = self.position
            tensor = _TENSOR.match(self.text, start)
            item = self.input() if tensor else self.known(self.take(_NAME, "a name").group(), start)
            self.graph.add_to_collection(re.sub(r"\\(.)", r"\1", key), item)
            self.accept(",")

    def operation(self) -> None:
        start = self.position
        name = self.take(_NAME, "an operation's name").group()
        types = self.types() if self.accept(":") else []
        self.expect("=")
        definition = self.definition()
        inputs, control_inputs = self.inputs()
        attrs, place = self.attributes(), self.source_line()
        forward = attrs.pop(_GRADIENT_OF, "")
        device, colocated = attrs.pop(_DEVICE, ""), attrs.pop(_COLOCATED, ())
        try:
            made = self.graph.create_op(definition, inputs, attrs, f"{name}/", control_inputs=control_inputs,
                                        gradient_of=self.known(forward, start) if forward else None)
        except (ValueError, TypeError) as error:
            self.fail(str(error).splitlines()[0], start)
        if made.type == "Const":
            follow_constant(made.outputs[0])
        made.device, made.colocated_with, made.source_line = device, colocated, place
        self.check_types(made, types, start)

    def types(self) -> list[GraphType]:
        found: list[GraphType] = []
        while not found or self.accept(","):
            start = self.position
            code, dims = self.take(_TYPE, "a type such as f32[2,?]").groups()
            try:
                shape = None if dims == "..." else tuple(None if d == "?" else int(d) for d in dims.split(",")) if dims else ()
                found.append((from_code(code), shape))
            except (KeyError, ValueError):
                self.fail(f"'{code}[{dims}]' is not a type", start)
        return found

    def definition(self) -> OpDef:
        start = self.position
        type_name = self.take(_WORD, "an operation type").group()
        try:
            return definition_of(type_name)
        except KeyError:
            self.fail(f"there is no operation type {type_name!r}", start)

    def inputs(self) -> tuple[list[Tensor], list[Operation]]:
        tensors: list[Tensor] = []
        control: list[Operation] = []
        self.expect("(")
        while not self.accept(")"):
            start = self.position
            if self.accept("^"):
                control.append(self.known(self.take(_NAME, "an operation's name").group(), start))
            else:
                tensors.append(self.input())
            if not self.text.startswith(")", self.position):
                self.expect(",")
        return tensors, control

    def input(self) -> Tensor:
        start = self.position
        name, index = self.take(_TENSOR, "a tensor such as x:0").groups()
        outputs = self.known(name, start).outputs
        if int(index) >= len(outputs):
            self.fail(f"'{name}' has {len(outputs)} outputs, no output {index}", start)
        return outputs[int(index)]

    def known(self, name: str, position: int) -> Operation:
        try:
            return self.graph.get_operation_by_name(name)
        except (KeyError, ValueError):
            self.fail(f"no operation {name!r} is declared above", position)

    def attributes(self) -> dict[str, Any]:
        if not self.text.startswith("{", self.position):
            return {}
        found = parse_attributes(self.text[self.position:], self.number, self.position + 1)
        return {name: value.array if isinstance(value, Literal) else value for name, value in found.items()}

    def source_line(self) -> SourceLine:
        """The user's line, from the comment at the end of the line."""
        start = self.text.rfind("//", self.position)
        # What stands between braces and the comment has been read with the attributes.
        if not self.text.startswith(("{", "//"), self.position) and self.position < len(self.text):
            self.fail(f"expected the end of the line, found {self.text[self.position:self.position + 12]!r}")
        match = _COMMENT.match(self.text, start) if start >= 0 else None
        if match is None or match[2] is None:
            return SourceLine("", 0, "")
        return SourceLine(match[1], int(match[2]), "")

    def check_types(self, operation: Operation, types: Sequence[GraphType], position: int) -> None:
        """The text may know more of a shape than the operation's rule (`set_shape`), but nothing else."""
        inferred = [(tensor.dtype, tensor.shape_tuple) for tensor in operation.outputs]
        problem = f"{operation.type} gives {_types_text(inferred)}, not {_types_text(types)}"
        if [dtype for dtype, _ in types] != [dtype for dtype, _ in inferred]:
            self.fail(problem, position)
        for tensor, (_, shape) in zip(operation.outputs, types, strict=True):
            try:
                tensor.set_shape(shape)
            except ValueError:
                self.fail(problem, position)
