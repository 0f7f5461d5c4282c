"""`gradients`: the backward pass, appended to the user's graph. Between declaring and specialising.

Walks the operations between xs and ys last to first. Each gets one gradient operation of type "<Type>Grad" named `gradients/<name>_grad`,
whose inputs are the forward operation's inputs and the gradients of its outputs; contributions to one tensor are summed by "AddN". The
result is ordinary operations, so `gradients` applies to them again.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.errors import explain
from graphc.core.graph import Graph
from graphc.core.opdef import OpDef, abstract, gradient_attributes, gradient_nodes, gradient_of
from graphc.core.operation import Operation, Tensor
from graphc.core.types import same_dims, show_dims
from graphc.ops import add_n, ones_like, zeros_like
from graphc.registered_gradients import is_overridden, registered_gradients
from graphc.variables import Variable


class AggregationMethod:
    """TF1's ways to sum gradients; accepted, all of them sum once (the compiler decides how)."""

    ADD_N = DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


class UnconnectedGradients:
    """What `gradients` gives for an x that no path leads from: None, or zeros."""

    NONE = "none"
    ZERO = "zero"


def gradients(ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients", colocate_gradients_with_ops: bool = False,
              gate_gradients: bool = False, aggregation_method: int | None = None, stop_gradients: Any = None,
              unconnected_gradients: str = UnconnectedGradients.NONE) -> list[Tensor | None]:
    """The gradient of sum(ys) by each of `xs`: a tensor of x's shape and dtype, or None where no differentiable path leads from x to a y.

    ys, xs: tensors or variables, one or a list. grad_ys: the gradient that flows into each y (default, and for a None among them: ones).
    stop_gradients: tensors taken as constants. unconnected_gradients: "zero" gives zeros instead of None. colocate_gradients_with_ops,
    gate_gradients and aggregation_method are TF1's and change nothing. Raises TypeError and ValueError for grad_ys that do not fit.
    """
    y_tensors, x_tensors, stops = _tensors(ys), _tensors(xs), set(_tensors(stop_gradients))
    if unconnected_gradients not in (UnconnectedGradients.NONE, UnconnectedGradients.ZERO):
        raise ValueError(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}; it is 'none' or 'zero'")
    if not y_tensors:
        return [None] * len(x_tensors)
    graph = y_tensors[0].graph
    with graph.as_default(), graph.name_scope(name or "gradients"):
        seeds = _seeds(y_tensors, grad_ys)
        backward = _Backward(graph, y_tensors, x_tensors, stops)
        for y, seed in zip(y_tensors, seeds, strict=True):
            backward.receive(y, seed)
        backward.run()
        found = [backward.gradient(x) for x in x_tensors]
        if unconnected_gradients == UnconnectedGradients.ZERO:
            return [zeros_like(x) if g is None else g for x, g in zip(x_tensors, found, strict=True)]
    return found


def _tensors(values: Any) -> list[Tensor]:
    """`values` (one, or a list or tuple) as tensors; a variable is its own tensor, so that all its reads count."""
    if values is None:
        return []
    items: Iterable[Any] = values if isinstance(values, list | tuple) else [values]
    return [convert_to_tensor(item, as_ref=True) if isinstance(item, Variable) else convert_to_tensor(item) for item in items]


def _seeds(ys: Sequence[Tensor], grad_ys: Any) -> list[Tensor]:
    given = grad_ys if isinstance(grad_ys, list | tuple) else [grad_ys] * (1 if grad_ys is not None else len(ys))
    if len(given) != len(ys):
        raise ValueError(f"grad_ys must have one entry for each of the {len(ys)} ys, not {len(given)}")
    seeds = []
    for number, (y, grad) in enumerate(zip(ys, given, strict=True)):
        if grad is None:
            if y.dtype.is_complex:
                raise TypeError(f"Gradients of complex tensors must set grad_ys (y.dtype = {y.dtype!r})\n{explain(y.op, y.name)}")
            seeds.append(ones_like(y, name=f"grad_ys_{number}"))
            continue
        tensor = convert_to_tensor(grad, y.dtype, name=f"grad_ys_{number}")
        if None not in (y.shape_tuple, tensor.shape_tuple) and not same_dims(y.shape_tuple or (), tensor.shape_tuple or ()):
            shapes = f"has shape {show_dims(tensor.shape_tuple)}, its y {show_dims(y.shape_tuple)}"
            raise ValueError(explain(y.op, f"grad_ys[{number}] {shapes}"))
        seeds.append(tensor)
    return seeds


class _Backward:
    """One backward walk: the contributions that each tensor has received so far."""

    def __init__(self, graph: Graph, ys: Sequence[Tensor], xs: Sequence[Tensor], stops: set[Tensor]) -> None:
        self.graph = graph
        self.wanted = set(xs)
        self.stops = stops
        self.received: dict[Tensor, list[Tensor]] = {}
        self.sums: dict[Tensor, Tensor] = {}
        self.flows: dict[Any, set[int]] = {}
        self.between = _between(ys, xs, stops)

    def receive(self, tensor: Tensor, gradient: Tensor) -> None:
        self.received.setdefault(tensor, []).append(gradient)

    def gradient(self, tensor: Tensor) -> Tensor | None:
        """The sum of what `tensor` received, None where that is nothing."""
        parts = self.received.get(tensor)
        if not parts:
            return None
        if tensor not in self.sums:
            self.sums[tensor] = parts[0] if len(parts) == 1 else self._sum(parts)
        return self.sums[tensor]

    def _sum(self, parts: list[Tensor]) -> Tensor:
        """Summed on the device of the first, as TF1 does."""
        with self.graph.colocate_with(parts[0].op, ignore_existing=True):
            return add_n(parts)

    def run(self) -> None:
        # An operation is declared after all that it reads: the reverse order of declaration is an order of the backward pass.
        for operation in sorted(self.between, key=lambda op: op.id, reverse=True):
            given = {n: g for n, out in enumerate(operation.outputs) if out not in self.stops and (g := self.gradient(out)) is not None}
            if given and operation.inputs:
                self._differentiate(operation, given)

    def _differentiate(self, operation: Operation, given: dict[int, Tensor]) -> None:
        if is_overridden(operation):
            with self.graph.name_scope(f"{operation.name}_grad"):
                found = registered_gradients(operation, [given.get(n) for n in range(len(operation.outputs))])
            for tensor, gradient in zip(operation.inputs, found, strict=True):
                if gradient is not None:
                    self.receive(tensor, gradient)
            return
        candidates = [n for n, t in enumerate(operation.inputs) if t.dtype.is_inexact and (t.op in self.between or t in self.wanted)]
        flows = self._flows(operation, tuple(given))
        wanted = [n for n in candidates if n in flows]
        if not wanted:
            return
        definition = gradient_of(operation.definition)
        of_given, of_wanted = gradient_attributes(operation.definition)
        attrs = {**operation.attrs, of_given: tuple(given), of_wanted: tuple(wanted)}
        inputs = (*operation.inputs, *given.values())
        made = self.graph.create_op(definition, inputs, attrs, f"{operation.name}_grad", gradient_of=operation)
        for position, output in zip(wanted, made.outputs, strict=True):
            self.receive(operation.inputs[position], output)

    def _flows(self, operation: Operation, given: tuple[int, ...]) -> set[int]:
        """`flowing_inputs`, remembered by definition, types and attributes: a deep network repeats the same few."""
        known = [(t.dtype, t.shape_tuple) if t.node is None else t.node for t in operation.inputs]
        key = (operation.definition, *known, given, *operation.attrs.items())
        try:
            if key not in self.flows:
                self.flows[key] = flowing_inputs(operation, given)
            return self.flows[key]
        except TypeError:  # an attribute without a hash
            return flowing_inputs(operation, given)


def _between(ys: Sequence[Tensor], xs: Sequence[Tensor], stops: set[Tensor]) -> set[Operation]:
    """The operations on a path from an x to a y; none behind a stop."""
    behind: set[Operation] = set()
    stack = [y.op for y in ys if y not in stops]
    while stack:
        operation = stack.pop()
        if operation not in behind:
            behind.add(operation)
            stack.extend(t.op for t in operation.inputs if t not in stops and t.dtype.is_inexact)
    reached = {x.op for x in xs if x.op in behind}
    sources = set(xs)
    for operation in sorted(behind, key=lambda op: op.id):
        if any(t in sources or (t.op in reached and t not in stops) for t in operation.inputs):
            reached.add(operation)
    return reached


def flowing_inputs(operation: Operation, given: tuple[int, ...]) -> set[int]:
    """The inputs that a gradient reaches from the outputs `given`, found by differentiating abstractly; all where a rank is unknown."""
    definition: OpDef = operation.definition
    if definition.stateful or definition.gradient is False:
        return set()
    if any(t.shape_tuple is None for t in (*operation.inputs, *operation.outputs)):
        return set(range(len(operation.inputs)))
    nodes = [abstract((t.dtype, t.shape_tuple) if t.node is None else t.node, n) for n, t in enumerate(operation.inputs)]
    count = len(nodes)
    flowing = {n: abstract((operation.outputs[n].dtype, operation.outputs[n].shape_tuple), count + n) for n in given}
    found = gradient_nodes(definition, nodes, flowing, operation.attrs)
    return {n for n, node in enumerate(found) if node is not None}
