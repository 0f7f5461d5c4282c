"""The reference interpreter: runs a Program node by node with the primitives' numpy references. Slow, and the judge of everything else.

Constant folding and the tests use it; a fused group runs as the Program that it holds.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.core.program import Node, Program

Array = np.ndarray[Any, Any]


def interpret(program: Program, feeds: Sequence[Any], variables: Mapping[str, Any] | None = None) -> tuple[list[Array], dict[str, Array]]:
    """Outputs, and the new values of the written variables, for one array per parameter and the values of the variables read.

    ValueError where a feed does not have its parameter's shape; KeyError for a variable without a value.
    """
    values = trace(program, feeds, variables)
    outputs = [np.asarray(values[node]) for node in program.outputs]
    written = {node.attrs.variable: np.asarray(values[node]) for node in program.effects}
    return outputs, written


def trace(program: Program, feeds: Sequence[Any], variables: Mapping[str, Any] | None = None, known: Mapping[Node, Any] | None = None,
          compute: Callable[[Node, Sequence[Any]], Any] | None = None) -> dict[Node, Any]:
    """The value of every node: an array, or a tuple of them for one with several outputs. Takes and raises what `interpret` does.

    known: values of nodes that need not be computed. compute: takes the place of `evaluate`, to watch it or to change what it gives.
    """
    state, values = variables or {}, dict(known or {})
    compute = compute or evaluate
    for parameter, feed in zip(program.parameters, feeds, strict=True):
        values[parameter] = _checked(parameter, feed)
    for node in program.nodes:
        if node in values:
            continue
        if node.name == "variable_read":
            values[node] = _checked(node, state[node.attrs.variable])
        else:
            values[node] = compute(node, [values[operand] for operand in node.operands])
    return values


def evaluate(node: Node, operands: Sequence[Any]) -> Any:
    """The value of one node from its operands' values: an array, or a tuple of them for a node with several outputs."""
    if node.name == "fusion":
        outputs, _ = interpret(node.attrs.body, operands)
        return tuple(outputs) if node.is_tuple else outputs[0]
    with np.errstate(all="ignore"):
        result = node.primitive.reference(node.attrs, *operands)
    if node.is_tuple:
        return tuple(result)
    return np.asarray(result, dtype=node.dtype.np_dtype)


def _checked(node: Node, value: Any) -> Array:
    array = np.asarray(value, dtype=node.dtype.np_dtype)
    if array.shape != node.dims:
        raise ValueError(f"{node.name} of type {node.type} cannot take a value of shape {array.shape}")
    return array
