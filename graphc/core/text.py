"""The text form of a Program: `print_program` and its inverse are here and in `parse.py`. The dump is the test input.

    program {
      %0 = parameter() {name = "x:0", type = f32[64,64]} : f32[64,64]
      %1 = variable_read() {variable = "dense/kernel", type = f32[64,128]} : f32[64,128]
      %2 = dot_general(%0, %1) {lhs_batch = [], ...} : f32[64,128]  // dense/MatMul (train.py:12)
      %3 = fusion(%2) {kind = "loop", body = program {
        ...
      }} : f32[64,128]
      return %3
      effects %7
    }

The order of the lines is the schedule. Comments carry the origins; the parser keeps them as they stand, but they are no part of a Program's
identity: a dump parses back to an equal Program, node for node the same objects.
"""
from __future__ import annotations

import base64
from dataclasses import fields
from typing import Any

import numpy as np

from graphc.core.dtypes import DType, from_code
from graphc.core.program import Literal, Node, Origin, Program
from graphc.core.types import TensorType

INDENT = "  "
SHOWN = 16  # elements of a literal that are spelled out; a larger one that is not uniform is written in base64


def print_program(program: Program, *, origins: bool = True, indent: str = "") -> str:
    """The text of `program`; `parse.parse_program` gives it back."""
    names = {node: f"%{number}" for number, node in enumerate(program.nodes)}
    inner = indent + INDENT
    lines = ["program {"]
    lines += [inner + _line(node, names, inner, program.origins.get(node, ()) if origins else ()) for node in program.nodes]
    if tuple(n for n in program.nodes if n.name == "parameter") != program.parameters:
        lines.append(f"{inner}takes {', '.join(names[p] for p in program.parameters)}")
    lines.append(f"{inner}return {', '.join(names[o] for o in program.outputs)}".rstrip())
    if program.effects:
        lines.append(f"{inner}effects {', '.join(names[e] for e in program.effects)}")
    lines.append(indent + "}")
    return "\n".join(lines)


def _line(node: Node, names: dict[Node, str], indent: str, origins: tuple[Origin, ...]) -> str:
    operands = ", ".join(names[operand] for operand in node.operands)
    attrs = ", ".join(f"{f.name} = {print_value(getattr(node.attrs, f.name), indent)}" for f in fields(node.attrs))
    types = ", ".join(map(str, node.types))
    text = f"{names[node]} = {node.name}({operands})" + (f" {{{attrs}}}" if attrs else "") + f" : {types}"
    return text + (f"  // {'; '.join(map(str, origins))}" if origins else "")


def print_value(value: Any, indent: str = "") -> str:
    """The text of an attribute's value; TypeError for one that has none."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return quote(value)
        case tuple():
            return f"[{', '.join(print_value(each, indent) for each in value)}]"
        case DType():
            return value.code
        case TensorType():
            return str(value)
        case Literal():
            return print_literal(value)
        case Program():
            return print_program(value, indent=indent)
        case None:
            return "none"
    raise TypeError(f"an attribute of type {type(value).__name__} has no text form")


def quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def print_literal(literal: Literal) -> str:
    """`dense f32[3] [1.0, 2.0, 3.0]`, `dense f32[64,128] splat 0.0`, or `dense f32[100] base64 "..."`: exact to the last bit."""
    array = literal.array
    dtype = _dtype_of(array)
    head = f"dense {TensorType(dtype, array.shape)}"
    flat = array.reshape(-1)
    raw = array.tobytes()
    if array.size > 1 and raw == raw[:dtype.size] * array.size and _exact(flat[:1], dtype):
        return f"{head} splat {_element(flat[0])}"
    if array.size <= SHOWN and _exact(flat, dtype):
        return f"{head} [{', '.join(map(_element, flat))}]"
    return f'{head} base64 "{base64.b64encode(raw).decode()}"'


def read_literal(type_: TensorType, values: list[str]) -> np.ndarray[Any, Any]:
    """The array of `type_` whose elements are spelled `values` (one value for a splat)."""
    array = np.array([_parse_element(v, type_.dtype) for v in values], dtype=type_.dtype.np_dtype)
    return np.broadcast_to(array[0], type_.dims) if len(values) == 1 else array.reshape(type_.dims)


def _dtype_of(array: np.ndarray[Any, Any]) -> DType:
    from_name = {"bool": "pred"}
    name = array.dtype.name
    letters = {"float": "f", "complex": "c", "bfloat": "bf", "uint": "u", "int": "i"}
    stem = name.rstrip("0123456789")
    return from_code(from_name.get(name) or letters[stem] + name[len(stem):])


def _element(value: Any) -> str:
    item = value.item() if value.dtype.name != "bfloat16" else float(value)
    return ("true" if item else "false") if isinstance(item, bool) else repr(item)


def _parse_element(text: str, dtype: DType) -> Any:
    if dtype.is_bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    return float(text) if dtype.is_floating else int(text)


def _exact(flat: np.ndarray[Any, Any], dtype: DType) -> bool:
    """Whether the elements' spelling gives the same bits back (a NaN with a payload does not; complex numbers have no spelling)."""
    if dtype.is_complex:
        return False
    again = np.array([_parse_element(_element(v), dtype) for v in flat], dtype=dtype.np_dtype)
    return again.tobytes() == flat.tobytes()
