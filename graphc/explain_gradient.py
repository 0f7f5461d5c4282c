"""Why a gradient is None: `explain_gradient` walks from x towards y and tells where the gradient is lost. For people; changes nothing."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import abstract
from graphc.core.operation import Operation, Tensor
from graphc.core.primitive import NotDifferentiable
from graphc.core.program import Node, postorder
from graphc.gradients import flowing_inputs
from graphc.registered_gradients import is_overridden, stops_gradients
from graphc.variables import Variable

SHOWN = 5


def explain_gradient(y: Any, x: Any) -> str:
    """Whether `gradients(y, x)` has a gradient, and if not, why: in which operations it is lost, with the lines that declared them.

    y, x: tensors or variables. The text begins with "A gradient leads" or "No gradient leads".
    """
    last, first = _tensor(y), _tensor(x)
    if not first.dtype.is_inexact:
        return _none(first, last, [f"{first.name} is {first.dtype.name}: only floating tensors have gradients"])
    reached = _reached(first)
    leading = _leading(last)
    if last is not first and last.op not in reached:
        return _none(first, last, [_unconnected(first, last)])
    found, lost = _follow(first, [op for op in reached if op in leading])
    if last in found:
        return f"A gradient leads from {_told(first)} to {_told(last)}."
    return _none(first, last, [f"{_lost_in(operation)}" for operation in lost])


def _tensor(value: Any) -> Tensor:
    return convert_to_tensor(value, as_ref=True) if isinstance(value, Variable) else convert_to_tensor(value)


def _told(tensor: Tensor) -> str:
    return f"'{tensor.name}' ({tensor.op.type}, {tensor.op.source})"


def _none(first: Tensor, last: Tensor, reasons: Sequence[str]) -> str:
    more = [f"  and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    return "\n".join([f"No gradient leads from {_told(first)} to {_told(last)}:", *(f"  {r}" for r in reasons[:SHOWN]), *more])


def _reached(x: Tensor) -> list[Operation]:
    """The operations that read `x`, at first or second hand, in order."""
    found: set[Operation] = set()
    stack = list(x.consumers())
    while stack:
        operation = stack.pop()
        if operation not in found:
            found.add(operation)
            stack.extend(reader for out in operation.outputs for reader in out.consumers())
    return sorted(found, key=lambda operation: operation.id)


def _leading(y: Tensor) -> set[Operation]:
    """The operations that `y` is computed from."""
    found: set[Operation] = set()
    stack = [y.op]
    while stack:
        operation = stack.pop()
        if operation not in found:
            found.add(operation)
            stack.extend(t.op for t in operation.inputs)
    return found


def _follow(x: Tensor, between: Sequence[Operation]) -> tuple[set[Tensor], list[Operation]]:
    """The tensors that a gradient leads to from `x`, and the operations that it leads into and not out of."""
    found, lost = {x}, []
    for operation in between:
        given = {n for n, t in enumerate(operation.inputs) if t in found}
        out = {t for n, t in enumerate(operation.outputs) if given and _passes(operation, given, n)}
        found |= out
        if given and not out:
            lost.append(operation)
    return found, lost


def _passes(operation: Operation, given: set[int], output: int) -> bool:
    """Whether a gradient of output number `output` reaches one of the inputs `given`."""
    if not operation.outputs[output].dtype.is_inexact or stops_gradients(operation):
        return False
    return is_overridden(operation) or bool(given & flowing_inputs(operation, (output,)))


def _unconnected(first: Tensor, last: Tensor) -> str:
    """Nothing that reads x leads to y: is there another way, which carries no gradient?"""
    waiting, seen = [last.op], set[Operation]()
    while waiting:
        operation = waiting.pop()
        if operation in seen:
            continue
        seen.add(operation)
        waiting += [*(t.op for t in operation.inputs), *operation.control_inputs]
    variables = {op for op in seen if op.type == "VariableV2"}
    for reader in _reached(first):
        if reader.definition.stateful and any(t.op in variables for t in reader.inputs):
            return (f"its value goes through a variable, '{reader.inputs[0].op.name}', which '{reader.name}' ({reader.source}) writes: "
                    f"gradients do not follow assignments")
    if first.op in seen or any(reader in seen for reader in first.consumers()):
        return f"'{last.op.name}' only runs after it, by a control input: no value of it is used"
    return "nothing that is computed from it is used"


def _lost_in(operation: Operation) -> str:
    where = f"it ends in '{operation.name}' ({operation.type}, {operation.source})"
    integers = [t for t in operation.outputs if not t.dtype.is_inexact]
    if stops_gradients(operation):
        return f"{where}: NotDifferentiable was said of '{operation.gradient_type}'"
    if operation.type == "StopGradient":
        return f"{where}, which is there to stop gradients"
    if operation.definition.stateful:
        return f"{where}: it reads or writes variables, and gradients do not follow assignments"
    if integers and len(integers) == len(operation.outputs):
        return f"{where}: its result is {integers[0].dtype.name}, and only floating tensors have gradients"
    reasons = dict.fromkeys(_not_differentiable(operation))
    return f"{where}: {'; '.join(reasons) or 'its result does not change with this input'}"


def _not_differentiable(operation: Operation) -> Iterator[str]:
    """What the primitives say that stand between the inputs and outputs of `operation` and have no gradient."""
    if any(t.shape_tuple is None for t in operation.inputs):
        return
    inputs: list[Node] = [abstract((t.dtype, t.shape_tuple) if t.node is None else t.node, n) for n, t in enumerate(operation.inputs)]
    for node in postorder(operation.definition.nodes(inputs, operation.attrs)):
        if node.operands and isinstance(node.primitive.vjp, NotDifferentiable):
            yield f"{node.name} has no gradient: {node.primitive.vjp.why}"
