"""From the user's graph to a Program: the operations that the fetches need, expanded into primitives, for known feed shapes.

Walks the operations in the order of their declaration, so that reads and writes of one variable take effect in that order, and threads
each variable's current value from operation to operation: the Program that results is a pure function.

Where a shape depends on a value that a run computes, the walk ends there. What it has found by then is an `Expansion` that says which value
it needs: `graphc.runtime.stages` runs for it, and walks again with that value known.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.checks import Check, CheckFailed, Collected, Printing, collecting
from graphc.core.devices import HOST, Devices
from graphc.core.dtypes import DType
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.operation import Operation, Tensor
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, Origin, Program, make
from graphc.core.static import UnknownRank, ValueNeeded, is_computable, known
from graphc.core.types import TensorType, show_dims

COUNTER = "/counter"  # the hidden variable of a random operation is its name and this
INITIALISED = "/initialised?"  # and of a variable whose state is asked for: a bool that the session sets with the first value


@dataclass(frozen=True)
class Call:
    """A function of Python's that `operation` calls with the values of `inputs`, for arrays of `types`."""

    operation: Operation
    function: Callable[..., Any]
    inputs: tuple[Node, ...]
    types: tuple[DType, ...]


class _CallNeeded(Exception):
    """The results of a call are not known yet."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.operation.name} is to be called")
        self.call = call


class _State:
    """The variables' current values while operations are expanded (the `State` of opdef), each on its variable's device.

    placed: the device of each operation in short; None where there is but one, and nobody need know which. called: the types of what
    functions of Python's have given.
    """

    def __init__(self, placed: Mapping[Operation, str] | None, called: Mapping[Operation, Sequence[TensorType]]) -> None:
        self.called = called
        self.current: dict[str, Node] = {}
        self.initial: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        self.operation: Operation
        self.homes: dict[str, str] = {}  # devices of variables
        self._placed = placed
        self._devices = Devices(self.homes)

    def copy(self) -> _State:
        """One whose changes do not change this one."""
        other = copy(self)
        other.current, other.initial, other.types = dict(self.current), dict(self.initial), dict(self.types)
        return other

    def declare(self, variable: str, type_: TensorType, operation: Operation) -> None:
        """Makes a variable known, which lives where `operation` is."""
        self.types[variable] = type_
        self.homes[variable] = HOST if self._placed is None else self._placed[operation]

    def bring(self, value: Node, operation: Operation) -> Node:
        """`value` on the device of `operation`."""
        return value if self._placed is None else self._devices.bring(value, self._placed[operation])

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def variable(self) -> str:
        return self.operation.inputs[0].op.name

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(tensor.op.name for tensor in self.operation.inputs)

    def read(self, variable: str) -> Node:
        if variable not in self.current:
            primitive = lookup("variable_read")
            node = make(primitive, (), primitive.attrs(variable=variable, type=self.types[variable]))
            self.current[variable] = self.initial[variable] = node
        return self.current[variable]

    def write(self, variable: str, value: Node) -> None:
        declared = self.types[variable]
        if value.type != declared:
            raise ValueError(f"variable {variable} is {declared}, the value assigned is {value.type}")
        self.current[variable] = value if self._placed is None else self._devices.bring(value, self.homes[variable])

    def counter(self) -> Node:
        """This run's number of the random operation being expanded; the next run sees one more."""
        name = self.operation.name + COUNTER
        self.declare(name, TensorType(dtypes.uint64, ()), self.operation)
        now = self.read(name)
        add, constant = lookup("add"), lookup("constant")
        one = make(constant, (), constant.attrs(value=Literal(np.uint64(1))))
        self.write(name, make(add, (now, one), add.attrs()))
        return now

    def is_initialised(self) -> Node:
        """Whether the variable behind the operation's first input has a value by now: this run has given it one, or an earlier run has."""
        if self.current.get(self.variable) is not self.initial.get(self.variable):
            constant = lookup("constant")
            return make(constant, (), constant.attrs(value=Literal(np.bool_(True))))
        name = self.variable + INITIALISED
        self.declare(name, TensorType(dtypes.bool, ()), self.operation)
        return self.read(name)

    def call(self, function: Callable[..., Any], inputs: Sequence[Node], types: Sequence[DType]) -> list[Node]:
        """The results of a call, as parameters; raises `_CallNeeded` where nobody has called yet."""
        if self.operation not in self.called:
            raise _CallNeeded(Call(self.operation, function, tuple(inputs), tuple(types)))
        return result_parameters(self.operation, self.called[self.operation])

    def effects(self) -> list[Node]:
        assign = lookup("variable_assign")
        return [make(assign, (value,), assign.attrs(variable=name)) for name, value in self.current.items()
                if value is not self.initial.get(name)]


def result_parameters(operation: Operation, types: Sequence[TensorType]) -> list[Node]:
    """The parameters of a Program for what a call has given."""
    primitive = lookup("parameter")
    return [make(primitive, (), primitive.attrs(name=f"{operation.name}:{n}", type=type_)) for n, type_ in enumerate(types)]


@dataclass(frozen=True)
class Need:
    """What a run must find out before more can be expanded. nodes: values that shapes depend on, each with the first operation that asks
    for it; parameters: the feeds that spell the first of them, if they do. calls: functions of Python's to be called."""

    nodes: Mapping[Node, Operation]
    parameters: tuple[str, ...]
    calls: tuple[Call, ...]

    @property
    def operation(self) -> Operation:
        """The first that asks."""
        return next(iter(self.nodes.values())) if self.nodes else self.calls[0].operation


@dataclass(frozen=True)
class Expansion:
    """What a walk has made of the operations. outputs, effects: of a Program, where `need` is None.

    need: why the walk ended before the last operation; `live` are then the nodes that the operations from there on may read. Where it went
    to the end they are the outputs and effects. homes: the devices of variables. operations: those expanded, in order. expanded: for
    each of them the nodes that it reads (of a variable, its value at that point) and those that it gives.
    """

    parameters: tuple[Node, ...]
    outputs: tuple[Node, ...]
    effects: tuple[Node, ...]
    live: tuple[Node, ...]
    need: Need | None
    checks: tuple[Check, ...]
    printings: tuple[Printing, ...]
    origins: Mapping[Node, tuple[Origin, ...]] = field(repr=False)
    homes: Mapping[str, str]
    operations: tuple[Origin, ...] = field(repr=False)
    expanded: Mapping[Operation, tuple[Sequence[Node], Sequence[Node]]] = field(repr=False)


def specialise(fetches: Sequence[Tensor | Operation], feeds: Mapping[Tensor, TensorType],
               values: Mapping[Tensor, np.ndarray[Any, Any]] | None = None, placed: Mapping[Operation, str] | None = None) -> Program:
    """The Program of `fetches` (its outputs: one per Tensor among them, in order) for feeds of the given static types, without the checks
    that operations ask for. Raises and takes what `expand` does, and `static.ValueNeeded` where a shape depends on what is not known."""
    made = expand(fetches, feeds, values, placed)
    if made.need is not None:
        if made.need.calls:
            raise ValueError(f"{made.need.calls[0].operation.name} calls a function of Python's: only a session can run it")
        raise ValueNeeded(next(iter(made.need.nodes)))
    return program_of(made)


def program_of(expansion: Expansion) -> Program:
    """The Program of an expansion that went to the end."""
    return Program(expansion.parameters, expansion.outputs, expansion.effects, origins=expansion.origins, operations=expansion.operations)


def expand(fetches: Sequence[Tensor | Operation], feeds: Mapping[Tensor, TensorType],
           values: Mapping[Tensor, np.ndarray[Any, Any]] | None = None, placed: Mapping[Operation, str] | None = None, *,
           found: Mapping[Node, np.ndarray[Any, Any]] | None = None, called: Mapping[Operation, Sequence[TensorType]] | None = None,
           checked: bool = False) -> Expansion:
    """The operations that `fetches` need, expanded in order for feeds of the given static types, as far as all shapes are known.

    A feed listed in `values` too is a constant of the Program (its parameter stays, unused): shapes may depend on it. placed: the device
    of each operation, in short ("GPU:0"), where there is more than one: the Program has a `transfer` wherever a value changes device (see
    `graphc.core.devices`). found, called: values of nodes, and types of what calls gave, that earlier walks needed. checked: indices and
    the like are checked too. Raises InvalidArgumentError for an unfed placeholder or an operation whose concrete shapes break its rule.
    """
    walk = _Walk(placed, called or {}, checked)
    parameters = [walk.feed(tensor, type_) for tensor, type_ in feeds.items()]
    for tensor, value in (values or {}).items():
        constant = lookup("constant")
        walk.nodes[tensor] = make(constant, (), constant.attrs(value=Literal(value)))
    operations = needed(fetches, feeds)
    need, live = walk.go(operations, found or {})
    reached = [fetch for fetch in fetches if isinstance(fetch, Tensor) and (need is None or fetch in walk.nodes)]
    outputs = tuple([walk.value(fetch) for fetch in reached])
    for fetch, node in zip(reached, outputs, strict=True):
        walk.origins.setdefault(node, (_origin(fetch.op),))  # a variable that is fetched as it is
    effects = tuple(walk.state.effects())
    return Expansion(tuple(parameters), outputs, effects, (*outputs, *effects, *live), need, tuple(walk.collected.checks.values()),
                     tuple(walk.collected.printings), walk.origins, walk.state.homes, tuple(map(_origin, operations)), walk.expanded)


def needed(fetches: Iterable[Tensor | Operation], feeds: Iterable[Tensor]) -> list[Operation]:
    """The operations that `fetches` need when `feeds` are given, in the order of their declaration."""
    fed, found = set(feeds), set[Operation]()
    _gather([f.op if isinstance(f, Tensor) else f for f in fetches if f not in fed], fed, found)
    if not any(operation.outputs for operation in found):
        _gather([each for watcher in found if watcher.definition.watches for each in watcher.control_inputs], fed, found)
    return sorted(found, key=lambda operation: operation.id)


def _gather(stack: list[Operation], fed: set[Tensor], found: set[Operation]) -> None:
    """Adds to `found` the operations of `stack` and what they need."""
    while stack:
        operation = stack.pop()
        if operation in found:
            continue
        found.add(operation)
        # A fed variable is read from the feed, but may still be assigned to.
        stack.extend(t.op for t in operation.inputs if t not in fed or t.op.type == "VariableV2")
        if not operation.definition.watches:
            stack.extend(operation.control_inputs)


class _Walk:
    """One walk over operations: the nodes of the tensors so far, and where each came from."""

    def __init__(self, placed: Mapping[Operation, str] | None, called: Mapping[Operation, Sequence[TensorType]], checked: bool) -> None:
        self.state = _State(placed, called)
        self.nodes: dict[Tensor, Node] = {}
        self.origins: dict[Node, tuple[Origin, ...]] = {}
        self.expanded: dict[Operation, tuple[Sequence[Node], Sequence[Node]]] = {}
        self.collected = Collected(checked)

    def feed(self, tensor: Tensor, type_: TensorType) -> Node:
        """The parameter for a tensor that is fed."""
        primitive = lookup("parameter")
        node = self.nodes[tensor] = make(primitive, (), primitive.attrs(name=tensor.name, type=type_))
        self.origins[node] = (Origin(tensor.name),)
        return node

    def value(self, tensor: Tensor) -> Node:
        """The node of `tensor`; for a variable its value at this point of the walk."""
        return self.nodes[tensor] if tensor in self.nodes else self.state.read(tensor.op.name)

    def go(self, operations: Sequence[Operation], found: Mapping[Node, np.ndarray[Any, Any]]) -> tuple[Need | None, list[Node]]:
        """Expands `operations` in order. Where one of them needs a value that is not `found`: that, and what from there on is read."""
        for operation in operations:
            if operation.type == "Placeholder" and operation.outputs[0] not in self.nodes:
                raise InvalidArgumentError(None, operation, _unfed(operation))
        for position, operation in enumerate(operations):
            try:
                with known(found), collecting(self.collected):
                    self._expand(operation)
            except (ValueNeeded, _CallNeeded) as stop:
                nodes, calls, live = self._copy().look_ahead(operations[position:], found)
                if isinstance(stop, ValueNeeded):
                    return Need({stop.node: operation, **nodes}, stop.parameters, calls), live
                return Need(nodes, (), calls), live
        return None, []

    def _copy(self) -> _Walk:
        other = copy(self)
        other.state, other.nodes = self.state.copy(), dict(self.nodes)
        return other

    def look_ahead(self, rest: Sequence[Operation],
                   found: Mapping[Node, np.ndarray[Any, Any]]) -> tuple[dict[Node, Operation], tuple[Call, ...], list[Node]]:
        """Goes on with shapes unknown where they depend on values. Gives the values that can be asked for already, each with the operation
        that does, the calls that can be made, and what `rest` reads of the nodes made so far. (What it misses is computed again by a later
        stage, or in one more.)"""
        asked: list[Node] = []
        askers: dict[Node, Operation] = {}
        calls: list[Call] = []
        live: list[Node] = []
        with known(found, asked), collecting(None):
            for operation in rest:
                try:
                    self._expand(operation)
                except _CallNeeded as stop:
                    calls += [stop.call] if is_computable(*stop.call.inputs) else []
                except (UnknownRank, InvalidArgumentError, LookupError, ArithmeticError, AssertionError):  # it needs the shapes
                    live += [self.nodes[tensor] for tensor in operation.inputs if tensor in self.nodes]
                for node in asked:
                    if node not in askers:
                        askers[node] = operation
                        _remember(operation, [node], [self.nodes[t] for t in operation.inputs if t in self.nodes], self.origins)
        live += [self.nodes[tensor] for operation in rest for tensor in operation.outputs if tensor in self.nodes]
        return askers, tuple(calls), [*live, *self.state.current.values()]

    def _inputs(self, operation: Operation) -> list[Node]:
        return [self.state.bring(self.value(tensor), operation) for tensor in operation.inputs]

    def _expand(self, operation: Operation) -> None:
        state = self.state
        if operation.type == "VariableV2":
            output = operation.outputs[0]
            state.declare(operation.name, TensorType(output.dtype, output.shape_tuple or ()), operation)
            return
        if operation.type == "Placeholder":
            return
        state.operation = self.collected.operation = operation
        inputs, checks = self._inputs(operation), len(self.collected.checks)
        try:
            results = operation.definition.nodes(inputs, operation.attrs, state)
        except CheckFailed as error:
            raise InvalidArgumentError(None, operation, explain(operation, str(error))) from error
        except (ValueError, TypeError) as error:
            shapes = ", ".join(f"{t.name} {show_dims(n.shape)}" for t, n in zip(operation.inputs, inputs, strict=True))
            raise InvalidArgumentError(None, operation, explain(operation, str(error), f"inputs: {shapes}")) from error
        for tensor, node in zip(operation.outputs, results, strict=True):
            self.nodes.setdefault(tensor, node)
        self.expanded[operation] = inputs, results
        required = [node for check in list(self.collected.checks.values())[checks:] for node in (check.ok, *check.data)]
        counter = [state.current[name] for name in (operation.name + COUNTER,) if name in state.types]
        _remember(operation, [*results, *required, *counter], inputs, self.origins)


def _unfed(operation: Operation) -> str:
    tensor = operation.outputs[0]
    shape = "<unknown>" if tensor.shape_tuple is None else str(["?" if d is None else d for d in tensor.shape_tuple]).replace("'", "")
    wanted = f"with dtype {tensor.dtype.name} and shape {shape}"
    return explain(operation, f"You must feed a value for placeholder tensor '{operation.name}' {wanted}")


def _origin(operation: Operation) -> Origin:
    return Origin(operation.name, operation.type, operation.source)


def _remember(operation: Operation, results: Sequence[Node], inputs: Sequence[Node], origins: dict[Node, tuple[Origin, ...]]) -> None:
    """Notes `operation` as the origin of its results, of the nodes below them that are new, and of the transfers made for it."""
    origin = (_origin(operation),)
    borders = set(inputs)
    origins.update({node: origin for node in borders if node.name == "transfer" and node not in origins})
    stack: list[Node] = []
    for node in results:
        if node not in borders:
            origins[node] = origins.get(node, ()) + origin
            stack.extend(node.operands)
    while stack:
        node = stack.pop()
        if node not in borders and node not in origins:
            origins[node] = origin
            stack.extend(node.operands)
