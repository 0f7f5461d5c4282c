"""From the user's graph to a Program: the operations that the fetches need, expanded into primitives, for known feed shapes.

Walks the operations in the order of their declaration, so that reads and writes of one variable take effect in that order, and threads
each variable's current value from operation to operation: the Program that results is a pure function.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.devices import HOST, Devices
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.operation import Operation, Tensor
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, Origin, Program, make
from graphc.core.static import ValueNeeded
from graphc.core.types import TensorType, show_dims

COUNTER = "/counter"  # the hidden variable of a random operation is its name and this


class _State:
    """The variables' current values while operations are expanded (the `State` of opdef), each on its variable's device.

    placed: the device of each operation in short; None where there is but one, and nobody need know which.
    """

    def __init__(self, placed: Mapping[Operation, str] | None) -> None:
        self.current: dict[str, Node] = {}
        self.initial: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        self.operation: Operation
        self.homes: dict[str, str] = {}  # devices of variables
        self._placed = placed
        self._devices = Devices(self.homes)

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

    def effects(self) -> list[Node]:
        assign = lookup("variable_assign")
        return [make(assign, (value,), assign.attrs(variable=name)) for name, value in self.current.items()
                if value is not self.initial.get(name)]


def specialise(fetches: Sequence[Tensor | Operation], feeds: Mapping[Tensor, TensorType],
               values: Mapping[Tensor, np.ndarray[Any, Any]] | None = None, placed: Mapping[Operation, str] | None = None) -> Program:
    """The Program of `fetches` (its outputs: one per Tensor among them, in order) for feeds of the given static types.

    A feed listed in `values` too is a constant of the Program (its parameter stays, unused): shapes may depend on it. placed: the device
    of each operation, in short ("GPU:0"), where there is more than one: the Program has a `transfer` wherever a value changes device (see
    `graphc.core.devices`). Raises InvalidArgumentError for an unfed placeholder or an operation whose concrete shapes break its rule, and
    `static.ValueNeeded` where a shape depends on a feed that is not in `values`.
    """
    state = _State(placed)
    nodes: dict[Tensor, Node] = {}
    parameters = []
    for tensor, type_ in feeds.items():
        primitive = lookup("parameter")
        parameters.append(make(primitive, (), primitive.attrs(name=tensor.name, type=type_)))
        nodes[tensor] = parameters[-1]
    for tensor, value in (values or {}).items():
        constant = lookup("constant")
        nodes[tensor] = make(constant, (), constant.attrs(value=Literal(value)))
    origins: dict[Node, tuple[Origin, ...]] = {p: (Origin(p.attrs.name),) for p in parameters}
    for operation in needed(fetches, feeds):
        _expand(operation, nodes, state, origins)
    outputs = [_value(fetch, nodes, state) for fetch in fetches if isinstance(fetch, Tensor)]
    return Program(tuple(parameters), tuple(outputs), tuple(state.effects()), origins=origins)


def needed(fetches: Iterable[Tensor | Operation], feeds: Iterable[Tensor]) -> list[Operation]:
    """The operations that `fetches` need when `feeds` are given, in the order of their declaration."""
    fed = set(feeds)
    stack = [f.op if isinstance(f, Tensor) else f for f in fetches if f not in fed]
    found: set[Operation] = set()
    while stack:
        operation = stack.pop()
        if operation in found:
            continue
        found.add(operation)
        # A fed variable is read from the feed, but may still be assigned to.
        stack.extend(t.op for t in operation.inputs if t not in fed or t.op.type == "VariableV2")
        stack.extend(operation.control_inputs)
    return sorted(found, key=lambda operation: operation.id)


def _value(tensor: Tensor, nodes: Mapping[Tensor, Node], state: _State) -> Node:
    """The node of `tensor`; for a variable its value at this point of the walk."""
    return nodes[tensor] if tensor in nodes else state.read(tensor.op.name)


def _expand(operation: Operation, nodes: dict[Tensor, Node], state: _State, origins: dict[Node, tuple[Origin, ...]]) -> None:
    if operation.type == "VariableV2":
        output = operation.outputs[0]
        state.declare(operation.name, TensorType(output.dtype, output.shape_tuple or ()), operation)
        return
    if operation.type == "Placeholder":
        raise InvalidArgumentError(None, operation, _unfed(operation))
    state.operation = operation
    inputs = [state.bring(_value(tensor, nodes, state), operation) for tensor in operation.inputs]
    try:
        results = operation.definition.nodes(inputs, operation.attrs, state)
    except ValueNeeded:
        raise
    except (ValueError, TypeError) as error:
        shapes = ", ".join(f"{t.name} {show_dims(n.shape)}" for t, n in zip(operation.inputs, inputs, strict=True))
        raise InvalidArgumentError(None, operation, explain(operation, str(error), f"inputs: {shapes}")) from error
    for tensor, node in zip(operation.outputs, results, strict=True):
        nodes.setdefault(tensor, node)
    _remember(operation, results, inputs, origins)


def _unfed(operation: Operation) -> str:
    tensor = operation.outputs[0]
    shape = "<unknown>" if tensor.shape_tuple is None else str(["?" if d is None else d for d in tensor.shape_tuple]).replace("'", "")
    wanted = f"with dtype {tensor.dtype.name} and shape {shape}"
    return explain(operation, f"You must feed a value for placeholder tensor '{operation.name}' {wanted}")


def _remember(operation: Operation, results: Sequence[Node], inputs: Sequence[Node], origins: dict[Node, tuple[Origin, ...]]) -> None:
    """Notes `operation` as the origin of its results, of the nodes below them that are new, and of the transfers made for it."""
    origin = (Origin(operation.name, operation.type, operation.source),)
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
