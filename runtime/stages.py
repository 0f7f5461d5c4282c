"""A run in stages: a Program for what a size depends on, then one for each size seen. `calls.py` asks where one Program does not do.

    stage 0: count = reduce_sum(mask)                     --37-->   stage 1, compiled for 37: everything else
             keeps mask, hidden                           --12-->   stage 1, compiled for 12

Each stage's Program is a part of one whole, expanded anew with every value found (`graphc.core.specialise`). A stage computes the value
that the walk needs and nothing that it does not rest on. What it computes on the way, and later stages read, stays in its device's memory,
in variables that nobody else knows (all such runs of a session share them); what is cheaper to make again than to keep is made again.
Variables are written by the last stage, so that every stage reads them as they were when the run began, and an error before changes
nothing.

Checks (`graphc.core.checks`) are one more output of the stage that follows their operations: whether all of them hold. Where a Program
with checks writes variables, the checks have a stage of their own before it. What words the error is computed once one fails.
"""
from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from graphc.core.checks import Check, Printing
from graphc.core.devices import HOST, KEPT, Devices, room
from graphc.core.errors import explain
from graphc.core.loops import Map, View
from graphc.core.operation import Operation
from graphc.core.program import Node, Program, postorder, substitute
from graphc.core.specialise import Expansion, Need, result_parameters
from graphc.core.types import TensorType
from graphc.primitives import and_, constant, get_tuple_element, variable_assign, variable_read
from graphc.runtime.bound import Runs
from graphc.runtime.python_calls import make_call
from graphc.runtime.recorder import COMPILE, PLAIN, PYTHON, Runner
from graphc.runtime.staged import CompiledStage, StagedExecutable, staged_executable

Array = np.ndarray[Any, Any]
Given = dict[Node, Any]  # the values of parameters: of feeds, and of what calls have given
MOST_VALUES = 32  # second stages that are kept for different values of one size; the one used longest ago goes first
MANY_VALUES = 16  # compiled for one size before the session says so


class ManySizesWarning(UserWarning):
    """One size takes so many values that most of the time goes into compiling for them."""


@dataclass
class Shared:
    """What all runs in stages of one session share. is_running: whether one of them runs, and has the memory of kept values. printed: how
    often each operation has."""

    is_running: bool = False
    printed: Counter[Operation] = field(default_factory=Counter)


@dataclass(frozen=True)
class Maker:
    """What a computation lends to its stages. expand: the operations of the run, for what was found out before. build: a Program as
    something that runs, given the devices of kept values and why it is made."""

    expand: Callable[[Context], Expansion]
    build: Callable[[Program, Mapping[str, str], str], Runs]
    shared: Shared


@dataclass(frozen=True)
class Context:
    """What earlier stages leave to a stage. found: the values that they computed; called: the types of what calls gave; stand_ins: for
    nodes of the whole Program what a later one has in their place, a constant or a kept value. homes: the devices of kept values. proven:
    checks that have held."""

    found: Mapping[Node, Array] = field(default_factory=dict)
    called: Mapping[Operation, Sequence[TensorType]] = field(default_factory=dict)
    stand_ins: Mapping[Node, Node] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    proven: frozenset[Node] = frozenset()


@dataclass
class Stage:
    """One Program of a run, compiled. title: the value it was compiled for, in words. whole: what it is a part of, as far as that is known.

    takes: the parameters of the run that it reads. results: how many of its outputs are those of the run; values to print follow, or what
    `need` asks for, then whether the checks hold. next: the stages that follow, by the values found and the types of what calls gave; where
    nothing is needed, the only one.
    """

    title: str
    whole: Program
    bound: Runs
    takes: tuple[Node, ...]
    results: int
    need: Need | None
    checks: tuple[Check, ...]
    printings: tuple[Printing, ...]
    after: Context
    is_last: bool
    next: OrderedDict[Any, Stage] = field(default_factory=OrderedDict)
    compiled: int = 0  # stages made for values of `need`, also those that are gone
    ready: bool = False  # whether the variables that it reads have values

    def run(self, given: Given, runner: Runner) -> list[Array]:
        if not self.ready:  # a variable that has a value keeps one
            self.bound.require()
            self.ready = True
        return _run(self.bound, [given[parameter] for parameter in self.takes], runner)

    def retire(self) -> None:
        for stage in self.next.values():
            stage.retire()
        self.next.clear()
        self.bound.retire()


def _run(bound: Runs, feeds: Sequence[Any], runner: Runner = PLAIN) -> list[Array]:
    outputs = bound.empty_outputs()
    refused = runner.run(bound, [*feeds, *outputs])
    if refused is not None:
        raise AssertionError(f"array {refused} of a stage does not fit what was compiled for it")
    return outputs


class Stages:
    """What computes the fetches of a run in stages, for feeds of one set of shapes."""

    def __init__(self, maker: Maker, expansion: Expansion) -> None:
        self._maker = maker
        self._feeds = expansion.parameters
        self.first = self._stage(expansion, Context(), "")
        self.path = [self.first]  # of the last run

    def run(self, feeds: Sequence[Any], runner: Runner = PLAIN) -> list[Array]:
        """The outputs for feeds that have been checked and converted. Nothing has changed where this raises."""
        shared = self._maker.shared
        if shared.is_running:
            raise RuntimeError("a function of Python's that a run calls cannot begin another run in stages in the same session: they share "
                               "memory. Give it a session of its own")
        shared.is_running = True
        try:
            return self._run(feeds, runner)
        finally:
            shared.is_running = False

    def _run(self, feeds: Sequence[Any], runner: Runner) -> list[Array]:
        self.path = [self.first]
        given = dict(zip(self._feeds, feeds, strict=True))
        while True:
            stage = self.path[-1]
            outputs = stage.run(given, runner)
            if stage.checks and not outputs[-1]:
                self._fail(stage, given)
            if stage.is_last:
                break
            self.path.append(self._following(stage, outputs, given, runner))
        stage.bound.written()
        if stage.printings:
            for printing, values in _shared_out(stage.printings, outputs[stage.results:]):
                self._print(printing, values)
        return outputs[:stage.results]

    def walk(self, feeds: Sequence[Any], compute: Callable[[str, Runs, list[Any]], Sequence[Array] | None]) -> None:
        """Hands the stages of a run for these feeds to `compute(title, what runs it, its feeds)`, which gives the stage's outputs in some
        way of its own, or None to end the walk. Nothing is run and no variable written; functions of Python's (`py_func`) are called.
        ValueError where a check does not hold."""
        given = dict(zip(self._feeds, feeds, strict=True))
        stage = self.first
        while True:
            outputs = compute(stage.title, stage.bound, [given[parameter] for parameter in stage.takes])
            if outputs is None or stage.is_last:
                return
            if stage.checks and not outputs[-1]:
                raise ValueError(f"a check does not hold, as for '{stage.checks[0].operation.name}': Session.run says which and why")
            stage = self._following(stage, outputs, given, PLAIN)

    def _print(self, printing: Printing, values: Sequence[Array]) -> None:
        printed = self._maker.shared.printed
        printed[printing.operation] += 1
        if printing.first_n < 0 or printed[printing.operation] <= printing.first_n:
            printing.show(*values)

    def retire(self) -> None:
        self.first.retire()

    @property
    def executable(self) -> StagedExecutable:
        """The stages of the last run; before any, the first."""
        parts = []
        for number, stage in enumerate(self.path):
            gives = "the results" if stage.is_last else _wanted(stage.need)
            kept = sum(name.startswith(KEPT) for name, _ in stage.bound.executable.writes)
            sizes = self.path[number - 1].compiled if number else 1
            parts.append(CompiledStage(stage.title, stage.bound.executable, gives, kept, sizes))
        return staged_executable(self.path[-1].whole, parts)

    # -- the next stage -----------------------------------------------------------------------------------------------------------------

    def _following(self, stage: Stage, outputs: Sequence[Array], given: Given, runner: Runner) -> Stage:
        """The stage after `stage`, for the values that it found. Makes the calls that it is for, and adds what they give to `given`."""
        wanted: Collection[Node] = () if stage.need is None else stage.need.nodes
        key: list[Any] = [output.tobytes() for output in outputs[:len(wanted)]]
        called: dict[Operation, list[TensorType]] = {}
        start = len(wanted)
        for call in () if stage.need is None else stage.need.calls:
            with runner.during(PYTHON, call.operation.name):
                results = make_call(call, outputs[start:start + len(call.inputs)])
            start += len(call.inputs)
            types = called[call.operation] = [TensorType(dtype, each.shape) for dtype, each in zip(call.types, results, strict=True)]
            given.update(zip(result_parameters(call.operation, types), results, strict=True))
            key += types
        found = stage.next.get(tuple(key))
        if found is None:
            with runner.during(COMPILE, _wanted(stage.need)):
                found = stage.next[tuple(key)] = self._made(stage, dict(zip(wanted, outputs, strict=False)), called)
        else:
            stage.next.move_to_end(tuple(key))
        return found

    def _made(self, stage: Stage, values: Mapping[Node, Array], called: Mapping[Operation, Sequence[TensorType]]) -> Stage:
        """The stage after `stage`, compiled for `values` and for what was `called`."""
        context, title = stage.after, ""
        if stage.need is not None:
            sizes = [f"size of {operation.name} = {np.array2string(values[node], threshold=6)}"
                     for node, operation in stage.need.nodes.items()]
            title = ", ".join([*sizes, *(f"{operation.name} gave {', '.join(map(str, types))}" for operation, types in called.items())])
            constants = {node: constant(value) for node, value in values.items()}
            context = replace(context, found={**context.found, **values}, called={**context.called, **called},
                              stand_ins={**context.stand_ins, **constants})
        made = self._stage(self._maker.expand(context), context, title)
        if len(stage.next) == MOST_VALUES:
            stage.next.popitem(last=False)[1].retire()
        stage.compiled += 1
        if stage.compiled == MANY_VALUES and stage.need is not None and stage.need.nodes:
            _warn(stage.need)
        return made

    def _stage(self, expansion: Expansion, context: Context, title: str) -> Stage:
        """The next stage of a run whose operations are expanded as far as may be."""
        need, checks = expansion.need, tuple(check for check in expansion.checks if check.ok not in context.proven)
        is_last = need is None and not (checks and expansion.effects)
        devices = Devices({**expansion.homes, **context.homes})
        outputs: list[Node] = [] if need is None else [*need.nodes, *(node for call in need.calls for node in call.inputs)]
        if is_last:
            outputs = [*expansion.outputs, *(node for printing in expansion.printings for node in printing.data)]
        if checks:
            outputs.append(reduce(and_, (devices.bring(check.ok, HOST) for check in checks)))
        effects, after = list(expansion.effects), context
        if not is_last:
            found = _worth_keeping(expansion, outputs, context.stand_ins)
            kept = {node: room(number, node.type.nbytes) for number, node in enumerate(found, len(context.homes))}
            effects = [variable_assign(name, node) for node, name in kept.items()]
            stand_ins = {node: variable_read(name, node.type) for node, name in kept.items()}
            kept_homes = {name: devices.of(node) or HOST for node, name in kept.items()}
            after = replace(context, stand_ins={**context.stand_ins, **stand_ins}, homes={**context.homes, **kept_homes},
                            proven=context.proven.union(check.ok for check in checks))
        why = [title, "" if is_last else f"computes {_wanted(need)}"]
        bound, takes = self._built(expansion, outputs, effects, context, after, ", ".join(filter(None, why)))
        whole = Program(expansion.parameters, expansion.outputs if need is None else tuple(outputs),
                        expansion.effects if need is None else (), origins=expansion.origins)
        results, printings = (len(expansion.outputs), expansion.printings) if is_last else (0, ())
        return Stage(title, whole, bound, takes, results, need, checks, printings, after, is_last)

    def _built(self, expansion: Expansion, outputs: Sequence[Node], effects: Sequence[Node], context: Context, after: Context,
               cause: str) -> tuple[Runs, tuple[Node, ...]]:
        """Something that computes nodes of the whole Program from what `context` has, and the parameters that it takes."""
        new = substitute([*outputs, *effects], context.stand_ins, context.stand_ins.keys())
        reached = [node for node in postorder([new[node] for node in (*outputs, *effects)]) if node.name == "parameter"]
        takes = (*(node for node in self._feeds if node in reached), *(node for node in reached if node not in self._feeds))
        origins = {now: expansion.origins[old] for old, now in new.items() if old in expansion.origins}
        program = Program(takes, tuple(new[node] for node in outputs), tuple(new[node] for node in effects), origins=origins)
        return self._maker.build(program, after.homes, cause), takes

    # -- errors -------------------------------------------------------------------------------------------------------------------------

    def _fail(self, stage: Stage, given: Given) -> None:
        """Raises the error of the first check of `stage` that does not hold. Nothing is written yet: what it rests on can be
        computed again, with what words the error."""
        expansion = self._maker.expand(stage.after)
        devices = Devices({**expansion.homes, **stage.after.homes})
        nodes = [node for check in stage.checks for node in (check.ok, *check.data)]
        bound, takes = self._built(expansion, [devices.bring(node, HOST) for node in nodes], (), stage.after, stage.after,
                                   "a check that failed, for its words")
        try:
            values = _run(bound, [given[parameter] for parameter in takes])
        finally:
            bound.retire()
        for check, (ok, *data) in _shared_out(stage.checks, values, 1):
            if not ok:
                raise check.error(None, check.operation, explain(check.operation, check.report(*data)))
        raise AssertionError("a check that failed holds when it is computed again")


def _shared_out(owners: Sequence[Any], values: Sequence[Array], more: int = 0) -> list[tuple[Any, list[Array]]]:
    """Each of the checks or printings with its part of `values`: as many as it has data, and `more`."""
    found, start = [], 0
    for owner in owners:
        end = start + more + len(owner.data)
        found.append((owner, list(values[start:end])))
        start = end
    return found


def _wanted(need: Need | None) -> str:
    """What a stage that is not the last computes."""
    if need is None:
        return "whether all checks hold, before variables are written"
    sizes = ", ".join(dict.fromkeys(operation.name for operation in need.nodes.values()))
    calls = ", ".join(call.operation.name for call in need.calls)
    return " and ".join(filter(None, [f"the size of {sizes}" if sizes else "", f"what {calls} calls Python with" if calls else ""]))


def _warn(need: Need) -> None:
    line = need.operation.source_line
    warnings.warn_explicit(
        f"graphc: the size of '{need.operation.name}' has taken {MANY_VALUES} values at {line.describe()}\n"
        "  each is compiled anew: pad it to a few sizes, or mask instead of picking (a sum of where(mask, x, 0) has one size)",
        ManySizesWarning, line.path or "<unknown>", line.line)


# What a stage keeps -----------------------------------------------------------------------------------------------------------------------

_FREE = frozenset({"parameter", "variable_read", "constant", "iota"})  # what every stage has anyway


def _worth_keeping(expansion: Expansion, outputs: Sequence[Node], stand_ins: Mapping[Node, Node]) -> list[Node]:
    """The nodes that a stage with these `outputs` computes, and that stand nearest to what later stages read; instead of what is made from
    less memory by maps and views alone, what it is made from."""
    there = set(postorder(outputs, stand_ins.keys()))
    border = [node for node in postorder(expansion.live, there | stand_ins.keys()) if node in there]
    needed = {} if expansion.need is None else expansion.need.nodes
    order = {node: position for position, node in enumerate(postorder(outputs, stand_ins.keys()))}
    kept: dict[Node, None] = {}
    waiting = {node for each in border for node in _elements(each)}
    while waiting:
        node = max(waiting, key=lambda each: order.get(each, len(order)))
        waiting.remove(node)
        if node.name in _FREE or node in stand_ins or node in needed or node in kept:
            continue
        below = {operand for operand in node.operands if not (operand.name in _FREE or operand in stand_ins or operand in needed)}
        is_cheap = isinstance(node.primitive.loop, Map | View) and node.name != "transfer" and not any(each.is_tuple for each in below)
        if is_cheap and sum(each.type.nbytes for each in below - waiting - kept.keys()) <= node.type.nbytes:
            waiting |= below
        else:
            kept[node] = None
    return list(kept)


def _elements(node: Node) -> Collection[Node]:
    """`node`, or where it has several outputs each of them."""
    return [get_tuple_element(node, index) for index in range(len(node.types))] if node.is_tuple else [node]
