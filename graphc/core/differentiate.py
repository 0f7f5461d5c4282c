"""Reverse-mode differentiation of nodes: applies the primitives' own gradient rules, last node first.

Composites get their gradients from here: the gradient operation in the user's graph expands to `vjp` of the forward expansion. Rules
build ordinary nodes, so the result can be differentiated again. Gradients by complex numbers are TF1's (see `primitives/complex.py`).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.core.masks import guarded
from graphc.core.primitive import NotDifferentiable, Vjp, lookup
from graphc.core.program import Node, make, postorder


def vjp(outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Sequence[Node | None]) -> list[Node | None]:
    """The product of `cotangents` (one per output, None for zero) with the Jacobian of `outputs` by `inputs`.

    Gives one node per input, of the input's type, or None where no differentiable path leads from it to an output with a cotangent.
    """
    wanted = set(inputs)
    order = postorder(outputs, wanted)
    active = _depending_on(order, wanted)
    # For each node, the sum so far of what flows back to each of its outputs.
    flowing: dict[Node, list[Node | None]] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and output in active:
            _accumulate(flowing, output, 0, cotangent)
    for node in reversed(order):
        if node not in flowing or node in wanted or node not in active:
            continue
        _push_back(node, flowing, active)
    return [flowing[node][0] if node in flowing else None for node in inputs]


def _depending_on(order: Sequence[Node], wanted: set[Node]) -> set[Node]:
    """The floating and complex nodes of `order` that a wanted node leads to (tuples count where an output does)."""
    active: set[Node] = set()
    for node in order:
        floating = any(t.dtype.is_inexact for t in node.types)
        if floating and (node in wanted or any(operand in active for operand in node.operands)):
            active.add(node)
    return active


def _push_back(node: Node, flowing: dict[Node, list[Node | None]], active: set[Node]) -> None:
    if node.name == "get_tuple_element":
        _accumulate(flowing, node.operands[0], node.attrs.index, flowing[node][0])
        return
    rule = node.primitive.vjp
    if isinstance(rule, NotDifferentiable):
        return
    contributions = guarded(node, _contributions(node, rule, flowing[node]), flowing[node])
    for operand, contribution in zip(node.operands, contributions, strict=True):
        if contribution is not None and operand in active:
            _accumulate(flowing, operand, 0, contribution)


def _contributions(node: Node, rule: Vjp, cotangents: Sequence[Node | None]) -> Sequence[Node | None]:
    if node.primitive.holomorphic and any(t.dtype.is_complex for t in node.types):
        return conjugated(lambda *given: rule(node, *given), cotangents)
    return rule(node, *cotangents)


def conjugated(rule: Callable[..., Sequence[Node | None]], cotangents: Sequence[Node | None]) -> list[Node | None]:
    """What `rule`, written for real numbers, gives of complex ones: TF1's gradient of a holomorphic f is conj(f') g = conj(f' conj(g))."""
    return [conjugate(each) for each in rule(*map(conjugate, cotangents))]


def conjugate(x: Node | None) -> Node | None:
    """The complex conjugate; what is real, or nothing, itself."""
    if x is None or not x.dtype.is_complex:
        return x
    return x.operands[0] if x.name == "conj" else make(lookup("conj"), (x,), lookup("conj").attrs())


def _accumulate(flowing: dict[Node, list[Node | None]], node: Node, position: int, cotangent: Node | None) -> None:
    if cotangent is None:
        return
    sums = flowing.setdefault(node, [None] * len(node.types))
    before = sums[position]
    sums[position] = cotangent if before is None else make(lookup("add"), (before, cotangent), _no_attrs())


def _no_attrs() -> object:
    return lookup("add").attrs()
