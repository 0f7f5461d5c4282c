"""`ConfigProto(check_numerics=True)`: whether what a run gives and writes is finite, as checks of the run.

They are like the checks that operations ask for (`stages.py`): one more output of the compiled program, read before variables are written.
Where one fails, `calls.py` lets `graphc.inspection.numerics` find where the value came from.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from graphc.core.checks import Check
from graphc.core.errors import InvalidArgumentError
from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.specialise import Expansion
from graphc.ops.checked import all_of
from graphc.primitives import and_, compare, imag, is_finite, real
from graphc.runtime.config import NAN


class NotFinite(InvalidArgumentError):
    """A result of a run is not finite."""


def checked(expansion: Expansion, elements: Sequence[Tensor | Operation], graph: Graph, which: str) -> Expansion:
    """`expansion` with a check of each floating output and each floating variable written. which: the setting, `NAN` to
    let infinities pass."""
    if expansion.need is not None:
        return expansion
    fetched = [element for element in elements if isinstance(element, Tensor)]
    results = [(tensor.op, f"'{tensor.name}'", node) for tensor, node in zip(fetched, expansion.outputs, strict=True)]
    for effect in expansion.effects:
        if effect.dtype.is_inexact:  # of a variable that an operation declares, and no counter
            name = effect.attrs.variable
            results.append((graph.get_operation_by_name(name), f"the new value of variable '{name}'", effect.operands[0]))
    checks = [_check(operation, what, node, which) for operation, what, node in results if node.dtype.is_inexact and node.type.size]
    return replace(expansion, checks=(*expansion.checks, *checks))


def _check(operation: Operation, what: str, node: Node, which: str) -> Check:
    def report() -> str:
        return f"{what} has {'NaN' if which == NAN else 'NaN or infinity'}"

    parts = [real(node), imag(node)] if node.dtype.is_complex else [node]
    good = [all_of(compare(part, part, "EQ") if which == NAN else is_finite(part)) for part in parts]
    return Check(operation, reduce(and_, good), report, (), NotFinite)
