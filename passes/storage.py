"""What the schedule and the memory plan both need to know: which nodes are steps, where a value really lives, what may be written in place.

A *step* is a node that will be a kernel. A *value* is one output of a step or of a source (parameter, variable, constant): a pair (node, output
number). Every other node (reshape, get_tuple_element, variable_assign) only renames a value: `value_of` sees through it.
"""
from __future__ import annotations

from graphc.core.loops import Map
from graphc.core.primitive import lookup
from graphc.core.program import Node, Program, make
from graphc.passes import groups

Value = tuple[Node, int]
SOURCES = ("parameter", "variable_read", "constant")


def is_step(node: Node) -> bool:
    """Whether `node` becomes a kernel."""
    return node.name not in (*SOURCES, "get_tuple_element", "variable_assign") and not groups.is_alias(node)


def value_of(node: Node) -> Value:
    """The value that `node` stands for."""
    while True:
        if node.name == "get_tuple_element":
            return node.operands[0], node.attrs.index
        if node.name != "variable_assign" and not groups.is_alias(node):
            return node, 0
        node = node.operands[0]


def value_bytes(value: Value) -> int:
    return value[0].types[value[1]].nbytes


def step_values(step: Node) -> list[Value]:
    return [(step, number) for number in range(len(step.types))]


def reads(step: Node) -> list[Value]:
    """The values that a step reads, each once."""
    return list(dict.fromkeys(value_of(operand) for operand in step.operands))


def materialise(program: Program) -> Program:
    """Gives every output and every assigned variable a step's value of its own, by a `copy` where it shares one or is a source.

    `return %0` of a parameter becomes `return copy(%0)`; so does an assignment of another variable's value (a swap must read both first).
    """
    copy = lookup("copy")
    taken: set[Value] = set()

    def own(node: Node, again: dict[Value, Node]) -> Node:
        value = value_of(node)
        if value in taken or not is_step(value[0]):
            source = again.get(value, node)
            copied = make(copy, (source,), copy.attrs(place=len(taken)))
            taken.add((copied, 0))
            return copied
        taken.add(value)
        again[value] = node
        return node

    again: dict[Value, Node] = {}
    mapping: dict[Node, Node] = {}
    for effect in program.effects:
        value = own(effect.operands[0], again)
        mapping[effect] = effect if value is effect.operands[0] else make(effect.primitive, (value,), effect.attrs)
    outputs = tuple(own(node, again) for node in program.outputs)
    origins = dict(program.origins)
    for old, new in zip((*program.outputs, *(e.operands[0] for e in program.effects)),
                        (*outputs, *(mapping[e].operands[0] for e in program.effects)), strict=True):
        origins.setdefault(new, program.origins.get(old, ()))
    return Program(program.parameters, outputs, tuple(mapping[e] for e in program.effects), origins=origins)


def may_overwrite(step: Node, operand: Value, output: Value) -> bool:
    """Whether `step` may write `output` over `operand`'s memory: every element of `operand` is read only for the element written at the
    same row-major position."""
    if value_bytes(operand) != value_bytes(output):
        return False
    if step.name == "fusion":
        return step.attrs.kind in ("loop", "column", "dot") and all(
            _read_in_place(parameter, step.attrs.body)
            for parameter, given in zip(step.attrs.body.parameters, step.operands, strict=True) if value_of(given) == operand)
    if step.name == "copy":
        return True
    return isinstance(step.primitive.loop, Map)


def _read_in_place(parameter: Node, body: Program) -> bool:
    """Whether a body reads `parameter` only at the position that it computes: through maps and views that keep the order. (What goes
    into a product does not, what its epilogue reads does: an epilogue runs once per element, when the sums are complete.)"""
    size = parameter.type.size
    positions: set[Node] = {parameter}
    for node in body.nodes:
        touched = [operand for operand in node.operands if operand in positions]
        if not touched:
            continue
        keeps = isinstance(node.primitive.loop, Map) or (groups.is_view(node) and groups.keeps_place(node))
        if not keeps or node.type.size != size:
            return False
        positions.add(node)
    return True
