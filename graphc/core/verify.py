"""What is valid in a Program, checked after every pass in tests. Each rule has a label, which the error names.

P1 order: every node stands after its operands, once. P2 types: a node's type is what its primitive infers, and every dim is known.
P3 parameters: they are `parameter` nodes with distinct names, listed among the nodes, and no other parameter occurs.
P4 effects: `variable_assign` nodes, one per variable, of the variable's type; a variable has one type. P5 outputs are single values.
P6 fusion: the body is valid, has no effects and no state, takes the operands' types and gives the node's types.
"""
from __future__ import annotations

from graphc.core.program import Node, Program


class InvalidProgram(ValueError):
    """A Program breaks a rule of `graphc.core.verify`; the message names the rule, the node and the values."""


def verify(program: Program) -> Program:
    """`program` itself where it is valid; InvalidProgram otherwise."""
    _order(program)
    _parameters(program)
    _state(program)
    for node in program.nodes:
        _types(node)
        if node.name == "fusion":
            _fusion(node)
    for output in program.outputs:
        _require(not output.is_tuple, "P5", output, "an output must be a single value")
    return program


def _require(condition: bool, rule: str, node: Node, text: str) -> None:
    if not condition:
        raise InvalidProgram(f"{rule}: {text}: {node!r}")


def _order(program: Program) -> None:
    seen: set[Node] = set()
    for node in program.nodes:
        _require(node not in seen, "P1", node, "a node stands twice")
        for operand in node.operands:
            _require(operand in seen, "P1", node, f"operand {operand!r} does not stand before its user")
        seen.add(node)
    for node in (*program.outputs, *program.effects):
        _require(node in seen, "P1", node, "an output or effect is not among the nodes")


def _types(node: Node) -> None:
    inferred = node.primitive.infer(node.attrs, *(operand.signature for operand in node.operands))
    types = inferred if isinstance(inferred, tuple) else (inferred,)
    _require(types == node.types, "P2", node, f"inferred {', '.join(map(str, types))}")
    _require(all(t.is_static for t in node.types), "P2", node, "a dim is unknown")


def _parameters(program: Program) -> None:
    names = set()
    standing = set(program.nodes)
    for parameter in program.parameters:
        _require(parameter in standing, "P3", parameter, "a parameter is not among the nodes")
        _require(parameter.name == "parameter", "P3", parameter, "a parameter must be a `parameter` node")
        _require(parameter.attrs.name not in names, "P3", parameter, "two parameters have one name")
        names.add(parameter.attrs.name)
    known = set(program.parameters)
    for node in program.nodes:
        _require(node.name != "parameter" or node in known, "P3", node, "a parameter is not listed")


def _state(program: Program) -> None:
    types: dict[str, object] = {}
    written = set()
    for node in program.nodes:
        if node.name in ("variable_read", "variable_assign"):
            variable = node.attrs.variable
            _require(types.setdefault(variable, node.type) == node.type, "P4", node, f"variable {variable} has two types")
    for node in program.effects:
        _require(node.name == "variable_assign", "P4", node, "an effect must be a variable_assign")
        _require(node.attrs.variable not in written, "P4", node, "a variable is written twice")
        written.add(node.attrs.variable)


def _fusion(node: Node) -> None:
    body: Program = node.attrs.body
    verify(body)
    inside = {n.name for n in body.nodes}
    _require(not body.effects and not inside & {"variable_read", "variable_assign"}, "P6", node, "a fusion holds state")
    taken = tuple(p.type for p in body.parameters)
    given = tuple(o.type for o in node.operands)
    _require(taken == given, "P6", node, f"the body takes {', '.join(map(str, taken))}")
