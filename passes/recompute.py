"""Computing again instead of storing: what one kernel stores for later ones to read is made again there, where that moves fewer bytes.

    g, s, t = fusion(u) {gelu, its logistic, its slope}             g = fusion(u) {gelu}
    ...                                                       ->    ...
    dx = fusion(dg, u, s, t) {...}                                  dx = fusion(dg, u) {logistic, slope, ...}

Runs after `fuse` in pipelines for a GPU, which computes tens of operations in the time of one access to memory. Only maps are made again;
what they are made of must stand in memory anyway, or takes no more of it than they did. A kernel of which nothing is left is gone. Fusion
cannot do this, since there each value has one group.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphc.core.primitive import lookup
from graphc.core.program import Node, Origin, Program, make, postorder, substitute
from graphc.core.types import TensorType
from graphc.passes.epilogues import once_for_equal
from graphc.passes.fuse import fused
from graphc.passes.groups import COSTLY, Classifier, Illegal, is_alias, is_compute, is_map, is_product, travels
from graphc.passes.storage import SOURCES, value_of

COSTLY_BYTES = {4: 4, 8: 32}  # by size of an element: what one costly operation must save (float64 has no fast functions)


@dataclass(frozen=True)
class Recompute:
    """Takes outputs that are maps from steps, and makes them again in the steps that read them; but not in products that are
    `expressible` (see `Epilogues`): a library computes them as they are."""

    expressible: Callable[[Node], bool] | None = field(default=None, repr=False)
    name: str = "recompute"

    def __call__(self, program: Program) -> Program:
        products = [node for node in program.nodes if node.name == "fusion" and node.attrs.kind == "dot"]
        kernels = _Kernels(program, set() if self.expressible is None else set(filter(once_for_equal(self.expressible), products)))
        for step in list(kernels.steps.values()):
            change = max(kernels.changes(step), key=lambda change: change.saved, default=None)
            if change is not None and change.saved > 0:
                kernels.apply(change)
        return kernels.program() if kernels.changed else program


@dataclass(eq=False)
class _Step:
    """A kernel. results: the values it stores, each as an expression over parameters that stand for the values it reads."""

    node: Node
    kind: str
    results: dict[int, Node]
    inherited: list[Origin] = field(default_factory=list)  # of steps that vanished into this one


@dataclass(frozen=True)
class _Change:
    """New results for some steps. saved: bytes that no longer move."""

    results: dict[_Step, dict[int, Node]]
    saved: int
    going: tuple[int, ...]  # values that are no longer stored
    promoted: tuple[int, ...]  # values that are stored from now on


class _Kernels:
    """The steps of a program over numbered values. Values are nodes of the program, and what steps store anew."""

    def __init__(self, program: Program, finished: set[Node]) -> None:
        """finished: steps that must stay as they are."""
        self.source = program
        self.changed: set[_Step] = set()
        self.steps: dict[Node, _Step] = {}
        self._classifier = Classifier()
        self._number: dict[Node, int] = {}  # of a program's node that is a value
        self._nodes: list[Node | None] = []  # the value's node, None for new ones
        self._types: list[TensorType] = []
        self._of_parameter: dict[Node, int] = {}
        self._assigned = {effect.attrs.variable for effect in program.effects}
        users = program.users()
        self._fixed: set[int] = set()  # values that must be stored: fetched, assigned, read through a view or by what stays as it is
        for node in program.nodes:
            kind = self._kind(node)
            if kind and node not in finished:
                self._add(node, kind, [node] if not node.is_tuple else users[node])
        for node in (*program.outputs, *program.effects):
            self._fixed.add(self._value(node))
        for node in program.nodes:
            if node not in self.steps and node.name != "get_tuple_element":
                self._fixed.update(map(self._value, (operand for operand in node.operands if not operand.is_tuple)))
        self._readers: dict[int, list[_Step]] = {}
        for step in self.steps.values():
            self._note(step)

    # Values -------------------------------------------------------------------------------------------------------------------------------

    def _new(self, node: Node | None, type_: TensorType) -> int:
        self._nodes.append(node)
        self._types.append(type_)
        return len(self._types) - 1

    def _value(self, node: Node) -> int:
        if node not in self._number:
            self._number[node] = self._new(node, node.type)
        return self._number[node]

    def _parameter(self, value: int) -> Node:
        """What stands for `value` in the expressions of steps that read it."""
        parameter = lookup("parameter")
        made = make(parameter, (), parameter.attrs(name=f"value {value}", type=self._types[value]))
        self._of_parameter[made] = value
        return made

    def _kind(self, node: Node) -> str:
        """That of a step which may change, "" for other nodes."""
        if node.name == "fusion" or travels(node) or is_product(node) or not is_compute(node):
            return str(node.attrs.kind) if node.name == "fusion" else ""
        try:
            return self._classifier.classify([node], [node]).kind
        except Illegal:
            return ""

    def _add(self, node: Node, kind: str, stored: list[Node]) -> None:
        if node.name == "fusion":
            body: Program = node.attrs.body
            outputs = body.outputs
            parameters = dict(zip(body.parameters, (self._parameter(self._value(operand)) for operand in node.operands), strict=True))
            new = substitute(outputs, parameters, parameters)
            results = [new[output] for output in outputs]
        else:
            results = [make(node.primitive, [self._parameter(self._value(o)) for o in node.operands], node.attrs)]
        numbers = {each: each.attrs.index if node.is_tuple else 0 for each in stored}
        self.steps[node] = _Step(node, kind, {self._value(each): results[number] for each, number in numbers.items()})

    def _read(self, results: Iterable[Node]) -> list[int]:
        """The values that expressions read, each once."""
        return [self._of_parameter[node] for node in postorder(results) if node.name == "parameter"]

    def _note(self, step: _Step) -> None:
        for value in self._read(step.results.values()):
            self._readers.setdefault(value, []).append(step)

    def _bytes(self, values: Iterable[int]) -> int:
        return sum(self._types[value].nbytes for value in values)

    def _traffic(self, results: Mapping[int, Node]) -> int:
        """Bytes that a step reads and writes."""
        return self._bytes(self._read(results.values())) + self._bytes(results)

    # Changes ------------------------------------------------------------------------------------------------------------------------------

    def changes(self, step: _Step) -> Iterator[_Change]:
        """Ways to store less of `step`: all that can go, all but one, one alone."""
        loose = [value for value, result in step.results.items()
                 if value not in self._fixed and is_map(result) and self._readers.get(value)]
        going = [value for value in loose if self._is_legal(self._without(step, (value,)))]
        tried = [going, *([other for other in going if other != value] for value in going), *([value] for value in going)]
        for each in dict.fromkeys(map(tuple, tried)):
            change = self._without(step, each)
            if each and self._is_legal(change) and self._is_affordable(change):
                yield change

    def _without(self, step: _Step, going: tuple[int, ...]) -> _Change:
        """The change by which `step` no longer stores the values `going`."""
        staying = {value: result for value, result in step.results.items() if value not in going}
        stored = {result: self._parameter(value) for value, result in staying.items()}
        promoted: list[int] = []
        for value in going:
            for node in _frontier(step.results[value], stored):
                number = self._new(None, node.type)
                promoted.append(number)
                staying[number], stored[node] = node, self._parameter(number)
        instead: dict[Node, Node] = {}
        cost = 0
        for value in going:
            made = substitute([step.results[value]], stored, stored)[step.results[value]]
            instead[self._parameter(value)] = made
            cost += _cost(made) * len(self._readers[value])
        readers = list(dict.fromkeys(reader for value in going for reader in self._readers[value]))
        results = {step: staying} | {reader: _replaced(reader.results, instead) for reader in readers}
        before = sum(self._traffic(each.results) for each in results)
        after = sum(self._traffic(new) for new in results.values() if new)
        return _Change(results, before - after - cost, going, tuple(promoted))

    def _is_affordable(self, change: _Change) -> bool:
        """Whether what lives longer takes no more memory than what is gone, and nobody waits longer to write a variable."""
        added = set(change.promoted)
        for reader, new in change.results.items():
            added |= set(self._read(new.values())) - set(self._read(reader.results.values()))
        sources = {value: value_of(node)[0] for value in added if (node := self._nodes[value]) is not None}
        if any(node.name == "variable_read" and node.attrs.variable in self._assigned for node in sources.values()):
            return False
        longer = [value for value in added if value not in sources or sources[value].name not in SOURCES]
        return self._bytes(longer) <= self._bytes(change.going)

    def _is_legal(self, change: _Change) -> bool:
        return all(self._is_kernel(step.kind, results) for step, results in change.results.items() if results)

    def _is_kernel(self, kind: str, results: Mapping[int, Node]) -> bool:
        """Whether one kernel of this kind computes `results`."""
        outputs = set(results.values())
        members = [node for node in postorder(results.values()) if (node in outputs and not is_alias(node)) or
                   (is_compute(node) and not travels(node))]
        if not outputs <= set(members):
            return False
        try:
            return self._classifier.classify(members, [node for node in members if node in outputs]).kind == kind
        except Illegal:
            return False

    def apply(self, change: _Change) -> None:
        for readers in self._readers.values():
            readers[:] = [reader for reader in readers if reader not in change.results]
        for step, results in change.results.items():
            if not results:
                heirs = [other for other in change.results if other is not step]
                for heir in heirs:
                    heir.inherited += [*step.inherited, *self.source.origins.get(step.node, ())]
            step.results = results
            self.changed.add(step)
            self._note(step)

    # The new program ----------------------------------------------------------------------------------------------------------------------

    def program(self) -> Program:
        new: dict[Node, Node] = {}
        values: dict[int, Node] = {}
        origins: dict[Node, tuple[Origin, ...]] = {}
        for node in self.source.nodes:
            step = self.steps.get(node.operands[0] if node.name == "get_tuple_element" else node)
            if step is None or step not in self.changed:
                same = all(new[operand] is operand for operand in node.operands)
                new[node] = node if same else make(node.primitive, [new[operand] for operand in node.operands], node.attrs)
                if node in self.source.origins:
                    origins.setdefault(new[node], self.source.origins[node])
                if node in self._number:
                    values[self._number[node]] = new[node]
                continue
            if step.node is node:
                self._emit(step, values, origins)
            if node in self._number and self._number[node] in values:
                new[node] = values[self._number[node]]
        return Program(self.source.parameters, tuple(new[node] for node in self.source.outputs),
                       tuple(new[node] for node in self.source.effects), origins=origins)

    def _emit(self, step: _Step, values: dict[int, Node], origins: dict[Node, tuple[Origin, ...]]) -> None:
        """Makes the node of `step`, and puts what it stores into `values`."""
        if not step.results:
            return
        written = list(step.results.values())
        inputs = [node for node in postorder(written) if node.name == "parameter"]
        members = [node for node in postorder(written) if node.name != "parameter"]
        made = fused(step.kind, members, inputs, written, [values[self._of_parameter[node]] for node in inputs])
        traced = tuple(dict.fromkeys((*step.inherited, *self.source.origins.get(step.node, ()))))
        if traced:
            origins[made] = traced
        pick = lookup("get_tuple_element")
        for number, value in enumerate(step.results):
            values[value] = make(pick, (made,), pick.attrs(index=number)) if made.is_tuple else made


def _frontier(result: Node, stored: Mapping[Node, Node]) -> list[Node]:
    """What the maps behind `result` start from and is not stored yet: sums, products, what is gathered or random."""
    found: dict[Node, None] = {}
    seen = {result}
    stack = [result]
    while stack:
        node = stack.pop()
        if node in stored or node.name == "parameter":
            continue
        if not (is_map(node) or travels(node) or node.name == "constant"):
            found[node] = None
            continue
        fresh = [operand for operand in node.operands if operand not in seen]
        seen.update(fresh)
        stack.extend(reversed(fresh))
    return list(found)


def _replaced(results: Mapping[int, Node], instead: Mapping[Node, Node]) -> dict[int, Node]:
    new = substitute(list(results.values()), instead, instead)
    return {value: new.get(result, result) for value, result in results.items()}


def _cost(result: Node) -> int:
    """Bytes that must be saved for making `result` again to pay."""
    return sum(node.type.size * COSTLY_BYTES.get(node.dtype.size, 4) for node in postorder([result]) if node.name in COSTLY)
