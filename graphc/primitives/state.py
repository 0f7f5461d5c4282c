"""What outlives a run and what holds a Program: variable_read, variable_assign, fusion and get_tuple_element."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphc.core.loops import Region, State
from graphc.core.primitive import NotDifferentiable, Primitive, declare
from graphc.core.program import Node, Program, make
from graphc.core.types import TensorType
from graphc.primitives.numerics import Array

FUSION_KINDS = ("loop", "row", "column", "scan", "scatter", "dot")


@dataclass(frozen=True)
class VariableReadAttrs:
    variable: str
    type: TensorType


@dataclass(frozen=True)
class VariableAssignAttrs:
    variable: str


@dataclass(frozen=True)
class FusionAttrs:
    """kind: one of `FUSION_KINDS`. body: takes the operands as its parameters, in order; its outputs are the node's."""

    kind: str
    body: Program


@dataclass(frozen=True)
class TupleElementAttrs:
    index: int


def _unread(attrs: VariableReadAttrs) -> Array:
    raise ValueError(f"variable {attrs.variable!r} has no value of its own: the runtime holds it")


VARIABLE_READ = declare(Primitive(
    "variable_read", VariableReadAttrs, 0, lambda attrs: attrs.type, _unread, NotDifferentiable("it has no operands"),
    State("variable_read"), "The value of a variable when the run begins."))
VARIABLE_ASSIGN = declare(Primitive(
    "variable_assign", VariableAssignAttrs, 1, lambda attrs, x: x, lambda attrs, x: x,
    NotDifferentiable("an effect has no users"), State("variable_assign"), "Gives a variable its value for when the run ends."))


def _fusion_types(attrs: FusionAttrs, *types: TensorType) -> tuple[TensorType, ...]:
    taken = tuple(parameter.type for parameter in attrs.body.parameters)
    if attrs.kind not in FUSION_KINDS or taken != types:
        raise ValueError(f"fusion({', '.join(map(str, types))}): a body of kind {attrs.kind!r} that takes {', '.join(map(str, taken))} "
                         f"does not fit; kinds are {', '.join(FUSION_KINDS)}")
    return tuple(output.type for output in attrs.body.outputs)


def _run_body(attrs: FusionAttrs, *arrays: Array) -> Any:
    values: dict[Node, Any] = dict(zip(attrs.body.parameters, arrays, strict=True))
    for node in attrs.body.nodes:
        if node not in values:
            values[node] = node.primitive.reference(node.attrs, *(values[operand] for operand in node.operands))
    outputs = tuple(values[output] for output in attrs.body.outputs)
    return outputs if len(outputs) > 1 else outputs[0]


FUSION = declare(Primitive(
    "fusion", FusionAttrs, None, _fusion_types, _run_body, NotDifferentiable("programs are differentiated before they are fused"),
    Region("fusion"), "Several nodes that become one kernel: a small Program over the operands."))


def _element_type(attrs: TupleElementAttrs, types: Any) -> TensorType:
    if not isinstance(types, tuple) or not 0 <= attrs.index < len(types):
        raise ValueError(f"get_tuple_element: output {attrs.index} does not exist among {types}")
    element: TensorType = types[attrs.index]
    return element


GET_TUPLE_ELEMENT = declare(Primitive(
    "get_tuple_element", TupleElementAttrs, 1, _element_type, lambda attrs, values: values[attrs.index],
    NotDifferentiable("differentiation looks through it"), Region("get_tuple_element"), "One output of a node that has several."))


def variable_read(variable: str, type: TensorType) -> Node:
    return make(VARIABLE_READ, (), VariableReadAttrs(variable, type))


def variable_assign(variable: str, value: Node) -> Node:
    return make(VARIABLE_ASSIGN, (value,), VariableAssignAttrs(variable))


def fusion(kind: str, body: Program, operands: Sequence[Node]) -> Node:
    """`body` over `operands` as one node; several outputs are picked by `get_tuple_element`."""
    return make(FUSION, tuple(operands), FusionAttrs(kind, body))


def get_tuple_element(x: Node, index: int) -> Node:
    return make(GET_TUPLE_ELEMENT, (x,), TupleElementAttrs(index))
