"""Checks of numbers: check_numerics, verify_tensor_all_finite, add_check_numerics_ops."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.checks import require
from graphc.core.current import control_dependencies
from graphc.core.graph import get_default_graph
from graphc.core.leaves import group
from graphc.core.opdef import composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.ops.array import identity
from graphc.ops.checked import all_of
from graphc.ops.declare import as_tensor, declare_one, name_scope

Array = np.ndarray[Any, Any]
FLOATS = (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64)


def _check_gradient(tensor: Node, output: Node, g: Node, message: str) -> Sequence[Node]:
    _require_finite(g, "Not a number (NaN) or infinity (Inf) values detected in gradient. " + message)
    return [g]


def _require_finite(x: Node, message: str) -> None:
    if not x.type.is_static:
        return

    def report(values: Array) -> str:
        found = [name for name, wrong in (("Inf", np.isinf(values)), ("NaN", np.isnan(values))) if wrong.any()]
        return f"{message} : Tensor had {' and '.join(found)} values"

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


def add_check_numerics_ops() -> Operation:
    """An operation that checks every float tensor that the default graph has now, and names the first that is not finite."""
    graph = get_default_graph()
    checks: list[Operation] = []
    for operation in graph.get_operations():
        for output in operation.outputs:
            if output.dtype in FLOATS and operation.type != "VariableV2":
                with control_dependencies(checks[-1:]):
                    checks.append(check_numerics(output, message=output.name).op)
    return group(*checks)
