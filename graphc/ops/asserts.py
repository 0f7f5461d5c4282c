"""Assertions about values: Assert, and assert_equal, assert_less, ... made of it.

What is known when the graph is declared is asserted there, and raises there; the rest is a check of the run (`graphc.core.checks`), which
raises InvalidArgumentError in TF1's words before anything is written. An assertion runs where what is fetched depends on it:

    with gc.control_dependencies([gc.assert_positive(x)]):
        y = gc.log(x)
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from graphc.core import dtypes
from graphc.core.checks import require
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.graph import get_default_graph
from graphc.core.leaves import no_op
from graphc.core.opdef import Attrs, GraphType, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.source import user_line
from graphc.core.static import partial_value
from graphc.ops.array import reshape
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import abs_, add, equal, greater, greater_equal, less, less_equal, multiply, not_equal, subtract
from graphc.ops.printing import SUMMARIZE, Part, parted, summary
from graphc.ops.reductions import reduce_all

Array = np.ndarray[Any, Any]
Compare = Callable[..., Tensor]


def static_value(tensor: Tensor) -> Array | None:
    """The value of a tensor where it is known when the graph is declared."""
    if tensor.op.type == "Const":
        return np.array(tensor.op.get_attr("value"))
    found = None if tensor.node is None else partial_value(tensor.node)
    return None if found is None or any(each is None for each in found.flat) else found.astype(tensor.dtype.np_dtype)


# Assert ----------------------------------------------------------------------------------------------------------------------------------

def _assert_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    dtype, dims = inputs[0]
    if dtype is not dtypes.bool:
        raise TypeError(f"Input 'condition' of 'Assert' Op has type {dtype.name} that does not match expected type of bool.")
    if dims:
        raise ValueError(f"Shape must be rank 0 but is rank {len(dims)}")
    return []


@composite("Assert", infer_types=_assert_types, gradient=False)
def ASSERT(condition: Node, *data: Node, texts: tuple[Part, ...], summarize: int) -> Sequence[Node]:
    """The run fails, and shows `data`, unless `condition` holds."""
    if condition.shape:
        raise ValueError(f"the condition must be a scalar, not of rank {len(condition.shape)}")

    def report(*arrays: Array) -> str:
        shown = iter([summary(array, array.shape, summarize) for array in arrays])
        return "assertion failed: " + " ".join(f"[{next(shown) if text is None else text}]" for text in texts)

    require(condition, report, *data)
    return ()


def Assert(condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None) -> Operation:
    """An operation that fails with InvalidArgumentError unless the scalar `condition` holds, and shows `data`: tensors, `summarize`
    elements of each (None: 3; -1: all), and strings."""
    with name_scope(name, "Assert", [condition, data]):
        tensors, texts = parted(data)
        graph = get_default_graph()
        attrs = {"texts": texts, "summarize": SUMMARIZE if summarize is None else int(summarize)}
        if all(tensor.dtype is dtypes.int32 for tensor in tensors):
            return graph.create_op(ASSERT, (as_tensor(condition), *tensors), attrs, "Assert")
        condition = as_tensor(condition, name="Condition")
        with name_scope("AssertGuard", None, []):  # TF1 branches here, and so names it
            return graph.create_op(ASSERT, (condition, *tensors), attrs, "Assert")


# Comparisons -----------------------------------------------------------------------------------------------------------------------------

def _compared(sign: str, default: str, compare: Compare, x: Any, y: Any, data: Any, summarize: int | None, message: str | None,
              name: str | None) -> Operation:
    """`x <sign> y` everywhere, by numpy's broadcasting."""
    with name_scope(name, default, [x, y, data]):
        x = as_tensor(x, name="x")
        y = as_tensor(y, x.dtype if not isinstance(y, Tensor) else None, name="y")
        if data is None:
            data = [f"Condition x {sign} y did not hold element-wise:", f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]
        if message is not None:
            data = [message, *data]
        condition = reduce_all(compare(x, y))
        _check_now(_STATIC[sign], (x, y), data)
        return Assert(condition, data, summarize=summarize)


_STATIC: dict[str, Callable[[Array, Array], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def _check_now(compare: Callable[[Array, Array], Any], tensors: Sequence[Tensor], data: Sequence[Any]) -> None:
    """InvalidArgumentError where the comparison of constants fails already."""
    values = [value for tensor in tensors if (value := static_value(tensor)) is not None]
    if len(values) < len(tensors) or np.all(compare(*values)):
        return
    lines = []
    for each in data:
        value = static_value(each) if isinstance(each, Tensor) else None
        lines.append(str(each if value is None else value))
    raise InvalidArgumentError(None, None, explain(None, "\n".join(lines), source=user_line().describe()))


def assert_equal(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                 name: str | None = None) -> Operation:
    """An operation that fails unless x == y everywhere."""
    if x is y:
        with name_scope(name, "assert_equal", [x, y, data]):
            return no_op()
    return _compared("==", "assert_equal", equal, x, y, data, summarize, message, name)


def assert_none_equal(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                      name: str | None = None) -> Operation:
    """An operation that fails unless x != y everywhere."""
    return _compared("!=", "assert_none_equal", not_equal, x, y, data, summarize, message, name)


def assert_less(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                name: str | None = None) -> Operation:
    """An operation that fails unless x < y everywhere."""
    return _compared("<", "assert_less", less, x, y, data, summarize, message, name)


def assert_less_equal(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                      name: str | None = None) -> Operation:
    """An operation that fails unless x <= y everywhere."""
    return _compared("<=", "assert_less_equal", less_equal, x, y, data, summarize, message, name)


def assert_greater(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                   name: str | None = None) -> Operation:
    """An operation that fails unless x > y everywhere."""
    return _compared(">", "assert_greater", greater, x, y, data, summarize, message, name)


def assert_greater_equal(x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                         name: str | None = None) -> Operation:
    """An operation that fails unless x >= y everywhere."""
    return _compared(">=", "assert_greater_equal", greater_equal, x, y, data, summarize, message, name)


def assert_near(x: Any, y: Any, rtol: Any = None, atol: Any = None, data: Any = None, summarize: int | None = None,
                message: str | None = None, name: str | None = None) -> Operation:
    """An operation that fails unless |x - y| < atol + rtol * |y| everywhere; both are 10 of the type's epsilons unless given."""
    with name_scope(name, "assert_near", [x, y, rtol, atol, data]):
        x = as_tensor(x, name="x")
        y = as_tensor(y, x.dtype, "y")
        epsilon = float(ml_dtypes.finfo(x.dtype.np_dtype).eps)
        relative = as_tensor(10 * epsilon if rtol is None else rtol, x.dtype, "rtol")
        absolute = as_tensor(10 * epsilon if atol is None else atol, x.dtype, "atol")
        if data is None:
            data = [message or "", f"x and y not equal to tolerance rtol = {relative}, atol = {absolute}",
                    f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]
        condition = reduce_all(less(abs_(subtract(x, y)), add(absolute, multiply(relative, abs_(y)))))
        return Assert(condition, data, summarize=summarize)


# Signs -----------------------------------------------------------------------------------------------------------------------------------

def _signed(sign: str, default: str, x: Any, data: Any, summarize: int | None, message: str | None, name: str | None) -> Operation:
    """`x <sign> 0` everywhere."""
    with name_scope(name, default, [x, data]):
        x = as_tensor(x, name="x")
        if data is None:
            data = [message or "", f"Condition x {sign} 0 did not hold element-wise:", f"x ({x.name}) = ", x]
        zero = as_tensor(0, x.dtype)
        assertion, left, right = {"<": (assert_less, x, zero), ">": (assert_less, zero, x), "<=": (assert_less_equal, x, zero),
                                  ">=": (assert_less_equal, zero, x)}[sign]
        return assertion(left, right, data=data, summarize=summarize)


def assert_negative(x: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                    name: str | None = None) -> Operation:
    """An operation that fails unless x < 0 everywhere."""
    return _signed("<", "assert_negative", x, data, summarize, message, name)


def assert_positive(x: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                    name: str | None = None) -> Operation:
    """An operation that fails unless x > 0 everywhere."""
    return _signed(">", "assert_positive", x, data, summarize, message, name)


def assert_non_positive(x: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                        name: str | None = None) -> Operation:
    """An operation that fails unless x <= 0 everywhere."""
    return _signed("<=", "assert_non_positive", x, data, summarize, message, name)


def assert_non_negative(x: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                        name: str | None = None) -> Operation:
    """An operation that fails unless x >= 0 everywhere."""
    return _signed(">=", "assert_non_negative", x, data, summarize, message, name)


# Orders ----------------------------------------------------------------------------------------------------------------------------------

def is_numeric_tensor(tensor: Any) -> bool:
    """Whether `tensor` is a tensor of numbers."""
    return isinstance(tensor, Tensor) and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_complex)


def _ordered(default: str, compare: Compare, x: Any, name: str | None) -> Tensor:
    with name_scope(name, default, [x]):
        x = as_tensor(x, name="x")
        if not is_numeric_tensor(x):
            raise TypeError(f"Expected x to be numeric, instead found: {x}")
        flat = reshape(x, [-1])
        return reduce_all(compare(flat[:-1], flat[1:]))


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element of `x`, in row-major order, is at least the one before. TypeError where they are not numbers."""
    return _ordered("is_non_decreasing", less_equal, x, name)


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element of `x`, in row-major order, is larger than the one before. TypeError where they are not numbers."""
    return _ordered("is_strictly_increasing", less, x, name)
