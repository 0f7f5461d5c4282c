"""Where did the NaN come from: the first operation whose bad elements reach a result of a run, found in a replay of it.

The replay (`graphc.runtime.replay`) has the value of every node of the Program before any pass, so that names are the user's. Two walks
over it answer the question:

    forth    which elements of each node are bad: NaN or infinite, but for infinities that the program itself writes (a mask of -inf)
    back     which of them matter: those that some bad element of a result is made of (`influence`); a masked arm is none

What matters and is made of good elements only was made there. The first of these in the user's order is reported (`nonfinite`).
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.core.graph import Graph
from graphc.core.loops import Map, Scan
from graphc.core.operation import Operation
from graphc.core.program import Node, Program
from graphc.inspection.influence import Elementwise, Influence, Mask, Whole, influence
from graphc.inspection.nonfinite import Index, NonFinite, Values, describe, number, spread_of

Reads = tuple[Sequence[Node], Sequence[Node]]  # the nodes that an operation reads, and those that it gives


@dataclass(frozen=True)
class Replay:
    """A run done again. program: all of it, before any pass. nodes: of all its stages, in an order in which they were computed. values: of
    each of them. fetches: names of the outputs. expanded: what each operation reads and gives. graph: the user's."""

    program: Program
    nodes: Sequence[Node]
    values: Mapping[Node, Any]
    fetches: Sequence[str]
    expanded: Mapping[Operation, Reads]
    graph: Graph

    def operands(self, node: Node) -> Sequence[Node]:
        """What `node` is made of; of what a function of Python's gave, what it was called with."""
        owner = _owner(self, node) if node.name == "parameter" and node not in self.program.parameters else None
        return node.operands if owner is None else self.expanded[owner][0]

    def influence(self, node: Node) -> Influence:
        operands = self.operands(node)
        if node.is_tuple or operands is not node.operands or any(operand.is_tuple for operand in operands):
            return Whole(() if node.is_tuple else node.dims, tuple(() if o.is_tuple else o.dims for o in operands))
        return influence(node, [self.values[operand] for operand in operands])


@dataclass
class _Way:
    """How bad elements come to the goals. matters: of each node those that some goal is made of; made: those among them that are made of
    good ones; onward: the nodes that hand them on."""

    matters: dict[Node, Mask] = field(default_factory=dict)
    made: dict[Node, Mask] = field(default_factory=dict)
    onward: dict[Node, list[Node]] = field(default_factory=dict)


def find(replay: Replay, *, ignore_masked: bool = True, infinities: bool = True, written: bool = False) -> NonFinite | None:
    """The first origin of bad elements in the results of a run: what it fetches, and the variables that it writes; None where all are good.

    ignore_masked: bad elements that reach no result do not count; else any does that an operation gives. infinities: they are bad too,
    not NaN alone. written: also those that the program itself writes, as constants.
    """
    bad = _bad_elements(replay, infinities, written)
    results = {node: name for node, name in _results(replay) if node in bad}
    goals = dict.fromkeys(results)
    if not ignore_masked:
        goals |= dict.fromkeys(node for _, given in replay.expanded.values() for node in given if node in bad)
    way = _followed_back(replay, bad, goals)
    if not way.made:
        return None
    order = {node: position for position, node in enumerate(replay.nodes)}
    owners = {node: _owner(replay, node) for node in way.made}
    ranks = {node: (-1 if _is_given(replay, node) else 0 if owner is None else owner.id, order[node]) for node, owner in owners.items()}
    first = min(ranks, key=ranks.__getitem__)
    others = {owner for node, owner in owners.items() if not _is_given(replay, node)} - {owners[first]}
    return _report(replay, way, first, results, len(others))


def _results(replay: Replay) -> Iterator[tuple[Node, str]]:
    yield from ((node, f"variable '{node.attrs.variable}'") for node in replay.program.effects)
    yield from zip(replay.program.outputs, replay.fetches, strict=True)


# Forth ----------------------------------------------------------------------------------------------------------------------------------

def _bad_elements(replay: Replay, infinities: bool, written: bool) -> dict[Node, Mask]:
    """The bad elements of every node that has some."""
    bad: dict[Node, Mask] = {}
    meant: dict[Node, Mask] = {}  # infinities that the program writes, wherever they are handed on as they are
    for node in replay.nodes:
        value = replay.values[node]
        wrong = _non_finite(value, infinities)
        if not wrong.any():
            continue
        if infinities and not written and not node.is_tuple:
            on_purpose = _meant(replay, node, bad, meant) & np.isinf(value)
            if on_purpose.any():
                meant[node] = on_purpose
                wrong = np.asarray(wrong & ~on_purpose)
        if wrong.any():
            bad[node] = wrong
    return bad


def _meant(replay: Replay, node: Node, bad: Mapping[Node, Mask], meant: Mapping[Node, Mask]) -> Mask:
    """The elements of `node` that are constants, or made of infinities that are meant and of nothing bad."""
    if node.name == "constant":
        return np.ones(node.dims, np.bool_)
    operands = replay.operands(node)
    if not any(operand in meant for operand in operands):
        return np.zeros(node.dims, np.bool_)
    effect, below = replay.influence(node), [bad.get(operand) for operand in operands]
    found = effect.forth([meant.get(operand) for operand in operands])
    return found if all(mask is None for mask in below) else np.asarray(found & ~effect.forth(below))


def _non_finite(value: Any, infinities: bool) -> Mask:
    """Which elements of an array are bad; of several arrays, one bool for all."""
    if isinstance(value, tuple):
        return np.asarray(any(_non_finite(each, infinities).any() for each in value))
    array = np.asarray(value)
    if array.dtype.kind in "biu":
        return np.zeros((), np.bool_)
    return np.asarray(~np.isfinite(array) if infinities else np.isnan(array))


# Back -----------------------------------------------------------------------------------------------------------------------------------

def _followed_back(replay: Replay, bad: Mapping[Node, Mask], goals: Mapping[Node, None]) -> _Way:
    """The way of the bad elements to `goals`."""
    way = _Way(matters={node: bad[node] for node in goals})
    for node in reversed(replay.nodes):
        wanted = way.matters.get(node)
        if wanted is None:
            continue
        operands = replay.operands(node)
        below = [bad.get(operand) for operand in operands]
        if all(mask is None for mask in below):
            way.made[node] = wanted
            continue
        effect = replay.influence(node)
        own = np.asarray(wanted & ~effect.forth(below))
        if own.any():
            way.made[node] = own
        for operand, mask in zip(operands, effect.back(wanted), strict=True):
            reached = np.asarray(mask & bad[operand]) if operand in bad else None
            if reached is not None and reached.any():
                way.matters[operand] = np.asarray(way.matters.get(operand, False) | reached)
                way.onward.setdefault(operand, []).append(node)
    return way


# The report -----------------------------------------------------------------------------------------------------------------------------

def _is_given(replay: Replay, node: Node) -> bool:
    """Whether `node` is a feed or a variable's value from before: made by no operation of this run."""
    return node.name == "variable_read" or node in replay.program.parameters


def _owner(replay: Replay, node: Node) -> Operation | None:
    """The operation that `node` comes from."""
    if node.name in ("variable_read", "variable_assign"):
        name = node.attrs.variable
    elif node.name == "parameter":
        name = node.attrs.name.rpartition(":")[0]
    else:
        name = next((origin.operation for origin in replay.program.origins.get(node, ())), "")
    try:
        return replay.graph.get_operation_by_name(name)
    except (KeyError, ValueError):
        return None


def _report(replay: Replay, way: _Way, node: Node, results: Mapping[Node, str], others: int) -> NonFinite:
    owner, mask = _owner(replay, node), way.made[node]
    value, index = _first(replay, node, mask)
    name = "an operation" if owner is None else owner.name
    kind = "operation"
    if node.name == "variable_read":
        kind = "variable"
    elif _is_given(replay, node):
        kind, name = "feed", node.attrs.name
    if kind == "operation":
        inputs = tuple(_inputs(replay, node, index, owner))
    else:
        inputs = (describe(name, node.type, value, _only(index, node.dims)),)
    path, goal, lost = _path(replay, way, node, results)
    steps = [_owner(replay, each) for each in path[1:] if each.name != "variable_assign"]
    handed_on = tuple(step.name for step in dict.fromkeys(steps) if step is not None and step is not owner)
    size = 1 if node.is_tuple else node.type.size
    return NonFinite(kind, name, owner, node.name, _formula(replay, node, index), index,
                     value[index], int(np.count_nonzero(mask)), size, _step(node, index), inputs, handed_on, goal, lost, others)


def _first(replay: Replay, node: Node, mask: Mask) -> tuple[Any, Index]:
    """The value that has the first bad element, and where: the first walked where the node walks along an axis, else in memory."""
    value = replay.values[node]
    if isinstance(value, tuple):
        value = next(each for each in value if _non_finite(each, True).any())
        mask = _non_finite(value, True)
    found = np.argwhere(mask)
    if isinstance(node.primitive.loop, Scan):
        along = found[:, node.attrs.axis]
        found = found[np.argsort(-along if node.attrs.reverse else along, kind="stable")]
    return value, tuple(map(int, found[0]))


def _only(index: Index, dims: Sequence[int]) -> Mask:
    mask = np.zeros(dims, np.bool_)
    mask[index] = True
    return mask


def _step(node: Node, index: Index) -> tuple[int, int, int] | None:
    """(axis, place in the order walked, length) where `node` walks along an axis."""
    if not isinstance(node.primitive.loop, Scan):
        return None
    axis, length = node.attrs.axis, node.dims[node.attrs.axis]
    return axis, length - 1 - index[axis] if node.attrs.reverse else index[axis], length


_STEPS = {"add": "{h} + {x}", "multiply": "{h} * {x}", "log_add_exp": "log(exp({h}) + exp({x}))", "linear": "{x} * {h} + {y}"}


def _formula(replay: Replay, node: Node, index: Index) -> str:
    """What made the element, in words: `log(-1) = nan`."""
    value = replay.values[node]
    result = number(value[index]) if not node.is_tuple else "not finite"
    operands = [replay.values[operand] for operand in node.operands]
    loop = node.primitive.loop
    if isinstance(loop, Scan) and loop.combine in _STEPS:
        return _walked(node, loop.combine, operands, value, index)
    if isinstance(loop, Map):
        return f"{node.name}({', '.join(number(each[index]) for each in operands)}) = {result}"
    if not operands:
        return result
    if node.is_tuple or any(isinstance(each, tuple) for each in operands):
        return f"{node.name} = {result}"
    parts = [np.asarray(each)[mask] for each, mask in zip(operands, replay.influence(node).back(_only(index, node.dims)), strict=True)]
    spreads = [spread_of(part) for part in parts if part.size]
    return f"{node.name} of {' and '.join(spreads) or 'no elements'} = {result}"


def _walked(node: Node, combine: str, operands: Sequence[Any], value: Any, index: Index) -> str:
    """One step of a walk: `1e+30 * 1e+20 = inf`."""
    axis, back = node.attrs.axis, 1 if node.attrs.reverse else -1
    before = (*index[:axis], index[axis] + back, *index[axis + 1:])
    is_first = not 0 <= before[axis] < node.dims[axis]
    own = before if getattr(node.attrs, "exclusive", False) and not is_first else index
    held = number(value[before]) if not is_first else {"multiply": "1", "log_add_exp": "-inf"}.get(combine, "0")
    given = [number(each[own]) for each in operands]
    return f"{_STEPS[combine].format(h=held, x=given[0], y=given[-1])} = {number(value[index])}"


def _inputs(replay: Replay, node: Node, index: Index, owner: Operation | None) -> Iterator[Values]:
    """The inputs of the operation that `node` is part of, with the elements that its bad one is made of."""
    if owner is None or owner not in replay.expanded:
        return
    inputs = replay.expanded[owner][0]
    masks = _traced(replay, node, index, set(inputs))
    for tensor, read in zip(owner.inputs, inputs, strict=True):
        if read in replay.values:
            yield describe(tensor.name, read.type, replay.values[read], masks.get(read))


def _traced(replay: Replay, node: Node, index: Index, borders: set[Node]) -> dict[Node, Mask]:
    """Of `borders` the elements that element `index` of `node` is made of; of a walk those of its last step alone."""
    if node.is_tuple:
        return {}
    masks: dict[Node, Mask] = {node: _only(index, node.dims)}
    nodes = replay.nodes
    for each in reversed(nodes[:nodes.index(node) + 1]):
        if each not in masks or (each in borders and each is not node):
            continue
        is_step = each is node and isinstance(node.primitive.loop, Scan)
        effect = Elementwise(node.dims, (True,) * len(node.operands)) if is_step else replay.influence(each)
        for operand, mask in zip(replay.operands(each), effect.back(masks[each]), strict=True):
            masks[operand] = np.asarray(masks.get(operand, False) | mask)
    return {border: masks[border] for border in borders if border in masks}


def _path(replay: Replay, way: _Way, node: Node, results: Mapping[Node, str]) -> tuple[list[Node], str, str]:
    """A shortest way from `node` to a result (a fetch, if it comes to one), and its name; where there is none, as far as the values go,
    "", and what leaves them out."""
    came_from: dict[Node, Node | None] = {node: None}
    waiting, last = deque([node]), node
    while waiting:
        last = waiting.popleft()
        for after in way.onward.get(last, ()):
            if after not in came_from:
                came_from[after] = last
                waiting.append(after)
    last = min((each for each in came_from if each in results), key=lambda each: each.name == "variable_assign", default=last)
    path: list[Node] = []
    at: Node | None = last
    while at is not None:
        path.insert(0, at)
        at = came_from[at]
    if last in results:
        return path, results[last], ""
    users = [user for user in replay.nodes if last in replay.operands(user)]
    owner = _owner(replay, users[0]) if users else None
    return path, "", "" if owner is None else f"'{owner.name}' ({owner.type})"
