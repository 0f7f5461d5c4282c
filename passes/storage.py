"""What the schedule and the memory plan both need to know: which nodes are steps, where a value really lives, what may be written in place.

A *step* is a node that will be a kernel. A *value* is one output of a step or of a source (parameter, variable, constant): a pair (node,
output number). Every other node (reshape, get_tuple_element, variable_assign) only renames a value: `value_of` sees through it.
"""
from __future__ import annotations

from graphc.core.loops import ArgReduce, DynamicUpdate, Map, Scan, Scatter
from graphc.core.primitive import lookup
from graphc.core.program import Node, Program, make
from graphc.passes import groups
from graphc.primitives.complex import view_as_complex, view_as_real

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

    def own(node: Node) -> Node:
        value = value_of(node)
        if value not in taken and is_step(value[0]):
            taken.add(value)
            return node
        source = node.operands[0] if node.name == "variable_assign" else node
        place = copy.attrs(place=len(taken))
        # No kernel reads complex numbers: the pairs in their memory are copied.
        copied = make(copy, (view_as_real(source) if source.dtype.is_complex else source,), place)
        copied = view_as_complex(copied) if source.dtype.is_complex else copied
        taken.add(value_of(copied))
        return copied

    assigned = [own(effect.operands[0]) for effect in program.effects]
    effects = tuple(make(effect.primitive, (value,), effect.attrs) for effect, value in zip(program.effects, assigned, strict=True))
    outputs = tuple(own(node) for node in program.outputs)
    origins = dict(program.origins)
    for old, new in zip((*program.outputs, *(effect.operands[0] for effect in program.effects)), (*outputs, *assigned), strict=True):
        origins.setdefault(new, program.origins.get(old, ()))
    return Program(program.parameters, outputs, effects, origins=origins)


def may_overwrite(step: Node, operand: Value, output: Value) -> bool:
    """Whether `step` may write `output` over `operand`'s memory: when it writes an element, it has read the same element of `operand`
    for the last time. A kernel reads everything that it needs at a place before it writes there."""
    if value_bytes(operand) != value_bytes(output):
        return False
    if step.name == "fusion":
        body: Program = step.attrs.body
        given = zip(body.parameters, step.operands, strict=True)
        return all(_is_read_before(parameter, body, body.outputs[output[1]]) for parameter, node in given if value_of(node) == operand)
    if isinstance(step.primitive.loop, Scatter | DynamicUpdate):
        return value_of(step.operands[0]) == operand and all(value_of(other) != operand for other in step.operands[1:])
    return step.name == "copy" or isinstance(step.primitive.loop, Map | Scan)


def partly_changed(step: Node) -> Value | None:
    """The operand of which a step's only result differs in some places: those of a scatter's indices, or of a box. Where the result lies
    over it, the rest need not be written. None for other steps, and where that operand is computed on the way."""
    last, found = step, {node: node for node in step.operands}
    if step.name == "fusion":
        body: Program = step.attrs.body
        last, found = body.outputs[0], dict(zip(body.parameters, step.operands, strict=True))
    if len(step.types) != 1 or not isinstance(last.primitive.loop, Scatter | DynamicUpdate):
        return None
    start = last.operands[0]
    while groups.is_alias(start) and start not in found:
        start = start.operands[0]
    return value_of(found[start]) if start in found else None


def _is_read_before(parameter: Node, body: Program, output: Node) -> bool:
    """Whether a body reads `parameter` only at the position that it computes, through maps and views that keep the order, and in the row
    of trailing reductions that are over before `output` is written. (What goes into a product is read out of order; what its epilogue
    reads is not: it runs once per element, when the sums are complete.)"""
    size = parameter.type.size
    stages = _stages(body)
    in_place: set[Node] = {parameter}
    for node in body.nodes:
        if not any(operand in in_place for operand in node.operands):
            continue
        if stages[node] > stages[output]:
            return False
        if groups.is_reduction(node) and groups.is_trailing(node):
            continue
        stays = isinstance(node.primitive.loop, Map | Scan) or (groups.is_view(node) and groups.keeps_place(node))
        keeps = stays or _changes_part(node, in_place)
        if not keeps or node.type.size != size:
            return False
        in_place.add(node)
    return output.type.size == size and not _moves(output)


def _changes_part(node: Node, in_place: set[Node]) -> bool:
    """Whether `node` reads what is `in_place` only as the operand of which it changes some places."""
    return isinstance(node.primitive.loop, Scatter | DynamicUpdate) and not any(operand in in_place for operand in node.operands[1:])


def _moves(output: Node) -> bool:
    """Whether a result ends in views that put it elsewhere than where it is computed (a product stores it there)."""
    while groups.is_view(output):
        if not groups.keeps_place(output):
            return True
        output = output.operands[0]
    return False


def _stages(body: Program) -> dict[Node, int]:
    """How many passes over its row a row kernel makes before a node's value is there (the position of an extreme takes two)."""
    stages: dict[Node, int] = {}
    for node in body.nodes:
        passes = 2 if isinstance(node.primitive.loop, ArgReduce) else int(groups.is_reduction(node))
        stages[node] = max((stages[operand] for operand in node.operands), default=0) + passes
    return stages
