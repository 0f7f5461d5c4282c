"""Checks of numbers: check_numerics, verify_tensor_all_finite, add_check_numerics_ops.

The last one gives an operation that computes nothing: `graphc.runtime.finite` sees it among those of a run, and checks what the others
give.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.checks import require
from graphc.core.current import control_dependencies
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OpDef, composite, register
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.ops.array import identity
from graphc.ops.checked import all_of
from graphc.ops.declare import as_tensor, declare_one, name_scope

Array = np.ndarray[Any, Any]
FLOATS = (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64)


def non_finite(values: Array) -> str:
    """What `values` have that is not finite: "Inf", "NaN", "Inf and NaN"."""
    return " and ".join(name for name, wrong in (("Inf", np.isinf(values)), ("NaN", np.isnan(values))) if wrong.any())


def _check_gradient(tensor: Node, output: Node, g: Node, message: str) -> Sequence[Node]:
    _require_finite(g, "Not a number (NaN) or infinity (Inf) values detected in gradient. " + message)
    return [g]


def _require_finite(x: Node, message: str) -> None:
    if not x.type.is_static:
        return

    def report(values: Array) -> str:
        return f"{message} : Tensor had {non_finite(values)} values"

    require(all_of(p.is_finite(x)), report, x)


@composite("CheckNumerics", gradient=_check_gradient)
def CHECK_NUMERICS(tensor: Node, *, message: str) -> Node:
    """`tensor`, all of which must be finite."""
    if tensor.dtype not in FLOATS:
        raise TypeError(f"Value passed to parameter 'tensor' has DataType {tensor.dtype.name} not in list of allowed values: "
                        f"{', '.join(dtype.name for dtype in FLOATS)}")
    _require_finite(tensor, message)
    return tensor


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """`tensor`; a run that finds NaN or infinity in it, or in its gradient, raises InvalidArgumentError that begins with `message`."""
    if not isinstance(message, str):
        raise TypeError(f"Expected string for argument 'message' not {message!r}.")
    return declare_one(CHECK_NUMERICS, {"tensor": tensor}, {"message": message}, name)


def verify_tensor_all_finite(t: Any = None, msg: str | None = None, name: str | None = None, x: Any = None,
                             message: str | None = None) -> Tensor:
    """`t` (or `x`); a run that finds NaN or infinity in it raises InvalidArgumentError that begins with `msg` (or `message`)."""
    value, words = x if t is None else t, message if msg is None else msg
    if value is None or words is None:
        raise ValueError("verify_tensor_all_finite needs a tensor `t` and a message `msg`")
    with name_scope(name, "VerifyFinite", [value]):
        tensor = as_tensor(value, name="t")
        with control_dependencies([check_numerics(tensor, words)]):
            return identity(tensor, name="control_dependency")


WATCH = register(OpDef("CheckNumericsOps", lambda: (), infer_types=lambda inputs, attrs: [], gradient=False, attrs={}, watches=True))


def add_check_numerics_ops() -> Operation:
    """An operation that checks every float tensor that the default graph has now: fetched with others, those among them that the run
    computes, values that optimizers write too; fetched alone, all that can be computed without writing a variable.

    A run that finds NaN or infinity raises InvalidArgumentError that names the first such tensor, and writes nothing. What only a choice
    (`where`) reads counts in the places that it takes.
    """
    graph = get_default_graph()
    floats = [operation for operation in graph.get_operations() if any(output.dtype in FLOATS for output in operation.outputs)]
    return graph.create_op(WATCH, (), {}, "group_deps", control_inputs=[each for each in floats if not _writes(each)])


def _writes(operation: Operation) -> bool:
    return operation.definition.stateful and any(tensor.op.type == "VariableV2" for tensor in operation.inputs)
