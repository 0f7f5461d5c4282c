"""Gradients that users write: `RegisterGradient` with `Graph.gradient_override_map`, and `custom_gradient`. `gradients` asks here first.

An operation declared under `gradient_override_map({"Relu": "Guided"})` remembers the name "Guided"; the function registered by that name
then declares its gradient, in the place of the one that graphc derives.
"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.errors import explain
from graphc.core.leaves import IDENTITY_N
from graphc.core.opdef import OPDEFS
from graphc.core.operation import Operation, Tensor
from graphc.core.types import same_dims, show_dims
from graphc.ops import zeros_like
from graphc.variables import Variable, global_variables, local_variables

# (operation, gradient of each output) -> gradient of each input; None: no gradient flows
GradientFunction = Callable[..., Any]
_REGISTERED: dict[str, GradientFunction | None] = {}
_NUMBERS = count()


class RegisterGradient:
    """A decorator: `@RegisterGradient("Name")` over a function (op, *grads) -> gradient of each input, tensors or None.

    op is the forward Operation; `op.inputs` and `op.outputs` are its tensors. Operations use it that are declared inside
    `with graph.gradient_override_map({type: "Name"})`. KeyError for a name that is taken or the type of an operation of graphc, which has a
    gradient already; TypeError for a name that is no string.
    """

    def __init__(self, op_type: str) -> None:
        if not isinstance(op_type, str):
            raise TypeError("op_type must be a string")
        self._op_type = op_type

    def __call__(self, f: GradientFunction) -> GradientFunction:
        _register(self._op_type, f)
        return f


def NotDifferentiable(op_type: str) -> None:
    """Registers that no gradient flows through operations that are given this name by `gradient_override_map`."""
    if not isinstance(op_type, str):
        raise TypeError("op_type must be a string")
    _register(op_type, None)


NoGradient = NotDifferentiable


def _register(name: str, function: GradientFunction | None) -> None:
    if name in _REGISTERED or name in OPDEFS:
        raise KeyError(f"Registering two gradient with name '{name}'!")
    _REGISTERED[name] = function


def is_overridden(operation: Operation) -> bool:
    """Whether a registered gradient takes the place of the operation's own."""
    return operation.gradient_type is not None


def stops_gradients(operation: Operation) -> bool:
    """Whether `NotDifferentiable` was said of the name that the operation was given."""
    return operation.gradient_type is not None and _REGISTERED.get(operation.gradient_type, len) is None


def registered_gradients(operation: Operation, given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """What the registered function declares: one gradient or None per input. given: the gradient of each output, None for none.

    LookupError where no function is registered by the name; ValueError where it gives another number of gradients than there are inputs,
    or another shape.
    """
    name = str(operation.gradient_type)
    if name not in _REGISTERED:
        raise LookupError(explain(operation, f"No gradient defined for operation '{operation.name}' (op type: {operation.type}): "
                                             f"none is registered as '{name}'"))
    function = _REGISTERED[name]
    if function is None:
        return [None] * len(operation.inputs)
    flowing = [zeros_like(out) if g is None and out.dtype.is_inexact else g for g, out in zip(given, operation.outputs, strict=True)]
    result = function(operation, *flowing)
    found = list(result) if isinstance(result, list | tuple) else [result]
    if len(found) != len(operation.inputs):
        raise ValueError(explain(operation, f"Num gradients {len(found)} generated for op '{operation.name}' do not match num inputs "
                                            f"{len(operation.inputs)}"))
    return [None if g is None else _fitting(operation, n, g) for n, g in enumerate(found)]


def _fitting(operation: Operation, position: int, gradient: Any) -> Tensor:
    """`gradient` as a tensor of the type of input number `position`."""
    x = operation.inputs[position]
    tensor = convert_to_tensor(gradient, None if isinstance(gradient, Tensor | Variable) else x.dtype)
    if tensor.dtype is not x.dtype:
        raise ValueError(explain(operation, f"Gradient type {tensor.dtype.name} generated for op '{operation.name}' does not match input "
                                            f"{position}'s type {x.dtype.name}"))
    if None not in (x.shape_tuple, tensor.shape_tuple) and not same_dims(x.shape_tuple or (), tensor.shape_tuple or ()):
        raise ValueError(explain(
            operation, f"Incompatible shapes between op input and calculated input gradient. Forward operation: {operation.name}. Input "
                       f"index: {position}. Original input shape: {show_dims(x.shape_tuple)}. Calculated input gradient shape: "
                       f"{show_dims(tensor.shape_tuple)}"))
    return tensor


# custom_gradient -------------------------------------------------------------------------------------------------------------------------

def custom_gradient(f: Callable[..., tuple[Any, Callable[..., Any]]]) -> Callable[..., Any]:
    """A decorator over a function *args -> (result, grad_fn) that gives the result, with grad_fn as its gradient.

    args become tensors. result: a tensor or a list of them. grad_fn(*grads of the results) gives the gradient of each arg (a tensor, a list
    of them, None among them). Where `f` uses variables, grad_fn takes a keyword `variables` (a list of them) and gives a pair: the
    gradients of the args, and those of the variables. TypeError where it does not; ValueError for keyword arguments in the call.
    """
    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise ValueError("The custom_gradient decorator currently supports keywords arguments only when eager execution is enabled.")
        return _declared(f, [convert_to_tensor(arg) for arg in args])
    return decorated


def _declared(f: Callable[..., tuple[Any, Callable[..., Any]]], args: list[Tensor]) -> Any:
    answer = f(*args)
    if not (isinstance(answer, tuple) and len(answer) == 2 and callable(answer[1])):
        raise TypeError(f"the function wrapped with @custom_gradient must return (result, grad_fn), not {answer!r}")
    result, grad_fn = answer
    is_list = isinstance(result, list | tuple)
    results = [convert_to_tensor(each) for each in (result if is_list else [result])]
    variables = _variables_between(args, results)
    takes = inspect.signature(grad_fn).parameters
    accepts = "variables" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())
    if variables and not accepts:
        raise TypeError("If using @custom_gradient with a function that uses variables, then grad_fn must accept a 'variables' keyword "
                        f"argument. It uses: {', '.join(v.name for v in variables)}")

    def gradient(operation: Operation, *flowing: Tensor | None) -> list[Any]:
        by_result = flowing[:len(results)]
        if variables:
            by_args, by_variables = grad_fn(*by_result, variables=variables)
        else:
            by_args, by_variables = grad_fn(*by_result), []
        return [None] * len(results) + _listed(by_args) + _listed(by_variables)

    name = f"CustomGradient-{next(_NUMBERS)}"
    _register(name, gradient)
    inputs = [*results, *args, *(convert_to_tensor(v, as_ref=True) for v in variables)]
    graph = inputs[0].graph
    with graph.gradient_override_map({IDENTITY_N.type: name}):
        outputs = graph.create_op(IDENTITY_N, inputs, {}, IDENTITY_N.type).outputs[:len(results)]
    return type(result)(outputs) if isinstance(result, list | tuple) else outputs[0]


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _variables_between(args: Iterable[Tensor], results: Iterable[Tensor]) -> list[Variable]:
    """The trainable variables that `results` read on a way that leads through none of `args`."""
    borders, seen = {arg.op for arg in args}, set[Operation]()
    stack = [result.op for result in results]
    while stack:
        operation = stack.pop()
        if operation not in seen and operation not in borders:
            seen.add(operation)
            stack.extend(t.op for t in operation.inputs)
    known = dict.fromkeys([*global_variables(), *local_variables()])
    return [v for v in known if isinstance(v, Variable) and v.op in seen and v.trainable and v.dtype.is_inexact]
