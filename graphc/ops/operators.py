"""Python's operators on tensors and variables: `x + y`, `x[0]`. Importing this installs them, under TF1's operation names."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.operation import Tensor
from graphc.ops import elementwise as e
from graphc.ops.declare import name_scope
from graphc.ops.linear import matmul
from graphc.ops.slicing import getitem

Function = Callable[..., Tensor]


def _install(name: str, function: Function) -> None:
    """Makes `function` the operator `name` from both sides. A number takes the dtype of the tensor beside it where it can."""
    def left(x: Tensor, y: Any) -> Any:
        with name_scope(None, name, [x, y]) as scope:
            if not isinstance(y, Tensor):
                y = convert_to_tensor(y, name="y", preferred_dtype=x.dtype)
            return function(x, y, name=scope)

    def right(y: Tensor, x: Any) -> Any:
        with name_scope(None, name, [x, y]) as scope:
            return function(convert_to_tensor(x, y.dtype, "x"), y, name=scope)
    Tensor._override_operator(f"__{name}__", left)
    Tensor._override_operator(f"__r{name}__", right)


def _compared(function: Function) -> Function:
    def operator(x: Tensor, y: Any) -> Tensor:
        return function(x, y)
    return operator


def _xor(x: Any, y: Any, name: str = "xor") -> Tensor:
    return e.logical_xor(x, y, name)


_BOTH_SIDES: dict[str, Function] = {
    "add": e.add_v2, "sub": e.subtract, "mul": e.multiply, "truediv": e.truediv, "div": e.div, "floordiv": e.floordiv, "mod": e.floormod,
    "pow": e.pow_, "matmul": matmul, "and": e.logical_and, "or": e.logical_or, "xor": _xor,
}
for _name, _function in _BOTH_SIDES.items():
    _install(_name, _function)
for _name, _function in {"lt": e.less, "le": e.less_equal, "gt": e.greater, "ge": e.greater_equal}.items():
    Tensor._override_operator(f"__{_name}__", _compared(_function))
Tensor._override_operator("__neg__", lambda x: e.negative(x))
Tensor._override_operator("__abs__", lambda x: e.abs_(x))
Tensor._override_operator("__invert__", lambda x: e.logical_not(x))
Tensor._override_operator("__getitem__", getitem)
