"""Checks of a run that nothing in it is NaN or infinite: `add_check_numerics_ops` among its operations, `ConfigProto(check_numerics=True)`.

They are like the checks that operations ask for (`stages.py`): one more output of the compiled program, read before variables are written.
The operation's check is of what every operation gives, the session's of what is fetched and written; where that one fails, `calls.py` lets
`graphc.inspection.numerics` find where the value came from.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from graphc.core.checks import Check
from graphc.core.errors import InvalidArgumentError
from graphc.core.graph import Graph
from graphc.core.loops import Map
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node, postorder
from graphc.core.specialise import Expansion
from graphc.ops.checked import all_of
from graphc.ops.checking import FLOATS, WATCH, non_finite
from graphc.primitives import and_, compare, imag, is_finite, not_, or_, real
from graphc.runtime.config import NAN

Array = np.ndarray[Any, Any]


class NotFinite(InvalidArgumentError):
    """A result of a run is not finite."""


def checked(expansion: Expansion, elements: Sequence[Tensor | Operation], graph: Graph, which: str) -> Expansion:
    """`expansion` with the checks of numbers that are wanted. which: the session's setting."""
    watchers = [operation for operation in expansion.expanded if operation.definition is WATCH]
    if expansion.need is not None or not (watchers or which):
        return expansion
    checks = list(expansion.checks)
    if watchers:
        checks += _of_operations(expansion, max(watcher.id for watcher in watchers))
    if which:
        checks += _of_results(expansion, elements, graph, which)
    return replace(expansion, checks=tuple(checks))


# Of results -----------------------------------------------------------------------------------------------------------------------------

def _of_results(expansion: Expansion, elements: Sequence[Tensor | Operation], graph: Graph, which: str) -> Iterator[Check]:
    """A check of each floating output and of each floating variable written. which: `NAN` lets infinities pass."""
    fetched = [element for element in elements if isinstance(element, Tensor)]
    results = [(tensor.op, f"'{tensor.name}'", node) for tensor, node in zip(fetched, expansion.outputs, strict=True)]
    for effect in expansion.effects:
        if effect.dtype.is_inexact:  # of a variable that an operation declares, and no counter
            name = effect.attrs.variable
            results.append((graph.get_operation_by_name(name), f"the new value of variable '{name}'", effect.operands[0]))
    yield from (_of_result(operation, what, node, which) for operation, what, node in results if node.dtype.is_inexact and node.type.size)


def _of_result(operation: Operation, what: str, node: Node, which: str) -> Check:
    def report() -> str:
        return f"{what} has {'NaN' if which == NAN else 'NaN or infinity'}"

    parts = [real(node), imag(node)] if node.dtype.is_complex else [node]
    good = [all_of(compare(part, part, "EQ") if which == NAN else is_finite(part)) for part in parts]
    return Check(operation, reduce(and_, good), report, (), NotFinite)


# Of operations --------------------------------------------------------------------------------------------------------------------------

def _of_operations(expansion: Expansion, before: int) -> Iterator[Check]:
    """A check of each float that an operation declared before number `before` gives, in the places that are read. What is made of
    constants alone is what the program says, be it NaN."""
    results = [node for _, given in expansion.expanded.values() for node in given]
    alone = not expansion.outputs and not expansion.effects
    read = {} if alone else _places_read(results, (*expansion.outputs, *expansion.effects))
    seen = _constants(results)
    for operation, (_, given) in expansion.expanded.items():
        for tensor, node in zip(operation.outputs, given, strict=True):
            if operation.id < before and tensor.dtype in FLOATS and node.type.size and node not in seen:
                seen.add(node)
                yield _of_tensor(tensor, node, read.get(node))


def _constants(results: Sequence[Node]) -> set[Node]:
    """The nodes that are made of constants alone."""
    found: set[Node] = set()
    for node in postorder(results):
        if node.name == "constant" or (node.operands and all(operand in found for operand in node.operands)):
            found.add(node)
    return found


def _of_tensor(tensor: Tensor, node: Node, places: Node | None) -> Check:
    def report(values: Array, *read: Array) -> str:
        return f"{tensor.name} : Tensor had {non_finite(values[read] if read else values)} values"

    if places is None:
        return Check(tensor.op, all_of(is_finite(node)), report, (node,))
    return Check(tensor.op, all_of(or_(is_finite(node), not_(places))), report, (node, places))


def _places_read(results: Sequence[Node], wanted: Sequence[Node]) -> dict[Node, Node | None]:
    """For each node that only choices read, through any elementwise steps, the places where they take it; None: all."""
    nodes = postorder((*results, *wanted))
    read: dict[Node, Node | None] = dict.fromkeys(wanted)
    for node in reversed(nodes):
        own = read.setdefault(node, None)  # what nothing reads is looked at for itself
        for position, operand in enumerate(node.operands):
            if operand.is_tuple or operand.dtype.is_bool:
                continue
            places = own if isinstance(node.primitive.loop, Map) and operand.type.shape == node.type.shape else None
            if node.name == "select":
                taken = node.operands[0] if position == 1 else not_(node.operands[0])
                places = taken if own is None else and_(taken, own)
            if operand in read:
                others = read[operand]
                places = None if others is None or places is None else or_(others, places)
            read[operand] = places
    return read
