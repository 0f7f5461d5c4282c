"""py_func and numpy_function: a function of Python's in the middle of a graph.

A run computes what it takes, calls it, and goes on with what it gave: in a stage of its own, compiled for the shapes seen
(`graphc.runtime.stages`). It is for what graphs cannot say, and for looking at values; on a GPU its arguments come to the host.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.opdef import Attrs, GraphType, OpDef, State, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.ops.declare import as_tensor, name_scope


def _types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [(dtype, None) for dtype in attrs["Tout"]]


def _called(state: State, *inputs: Node, func: Callable[..., Any], Tout: tuple[DType, ...]) -> Sequence[Node]:
    """What `func` gives for `inputs`."""
    return state.call(func, inputs, Tout)


PY_FUNC: OpDef = composite("PyFunc", stateful=True, infer_types=_types)(_called)
PY_FUNC_STATELESS: OpDef = composite("PyFuncStateless", stateful=True, infer_types=_types)(_called)


def py_func(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None) -> Any:
    """Calls func(*arrays of `inp`) at each run that needs it; gives what it returns as tensors of unknown shape (`set_shape` helps).

    Tout: the type of the array that it returns, or a list of types; for an empty list the result is the operation. Once a run, whatever
    `stateful` says. An error that it raises becomes one of the run: a ValueError or TypeError InvalidArgumentError, most others
    UnknownError. ValueError where `func` is not callable. No gradient goes through it, unless `gradient_override_map` gives "PyFunc" one.
    """
    if not callable(func):
        raise ValueError(f"Expected func to be callable, got func of type {type(func)}")
    several = isinstance(Tout, list | tuple)
    definition = PY_FUNC if stateful else PY_FUNC_STATELESS
    with name_scope(name, definition.type, list(inp)) as scope:
        inputs = [as_tensor(each, name=f"input_{number}") for number, each in enumerate(inp)]
        attrs = {"func": func, "Tout": tuple(as_dtype(each) for each in (Tout if several else [Tout]))}
        operation: Operation = get_default_graph().create_op(definition, inputs, attrs, scope)
    outputs: list[Tensor] = list(operation.outputs)
    return operation if not outputs else outputs if several else outputs[0]


def numpy_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None) -> Any:
    """`py_func` that is stateful."""
    return py_func(func, inp, Tout, stateful=True, name=name)
