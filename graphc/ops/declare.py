"""How a public function becomes an operation of the user's graph: inputs converted by TF1's rules, inside the name scope TF1 gives.

Every function of this room ends in `declare`; the composites that they declare are beside them.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.current import name_scope as name_scope
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.opdef import OpDef
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.static import UnknownRank, static_dims
from graphc.core.types import Dim

INDEX = dtypes.int32  # what plain numbers become where an operation takes axes, shapes or positions


def declare(definition: OpDef, inputs: Mapping[str, Any], attrs: Mapping[str, Any] | None = None, name: str | None = None, *,
            other: Mapping[str, DType | None] | None = None) -> Operation:
    """Adds an operation `definition` with `inputs` by the names of its parameters, called `name` (default: its type).

    Inputs share one element type: that of the first. Those in `other` do not: numbers among them become the type given there (None:
    their own). A number or list becomes a constant inside the operation's name scope: "Add/y".
    """
    other = other or {}
    if all(isinstance(value, Tensor) for value in inputs.values()):
        _check_types(definition, inputs, other)
        tensors = tuple(inputs.values())
        graph = tensors[0].op.graph if tensors else get_default_graph()
        return graph.create_op(definition, tensors, attrs, name)
    with name_scope(name, definition.type, list(inputs.values())) as scope:
        converted = _converted(definition, inputs, other)
        return get_default_graph().create_op(definition, tuple(converted.values()), attrs, scope)


def declare_one(definition: OpDef, inputs: Mapping[str, Any], attrs: Mapping[str, Any] | None = None, name: str | None = None, *,
                other: Mapping[str, DType | None] | None = None) -> Tensor:
    """`declare`, giving the only output."""
    return declare(definition, inputs, attrs, name, other=other).outputs[0]


def _converted(definition: OpDef, inputs: Mapping[str, Any], other: Mapping[str, DType | None]) -> dict[str, Tensor]:
    common: DType | None = None
    found: dict[str, Tensor] = {}
    for argument, value in inputs.items():
        if argument in other:
            found[argument] = convert_to_tensor(value, None, argument, preferred_dtype=other[argument])
            continue
        try:
            found[argument] = convert_to_tensor(value, common, argument)
        except ValueError:
            converted = convert_to_tensor(value, None, argument)
            if common is not None and converted.dtype is not common:
                raise TypeError(_type_mismatch(definition, argument, converted.dtype, inputs, common)) from None
            raise
        common = found[argument].dtype
    return found


def _check_types(definition: OpDef, inputs: Mapping[str, Tensor], other: Mapping[str, DType | None]) -> None:
    common: DType | None = None
    for argument, tensor in inputs.items():
        if argument not in other:
            if common is not None and tensor.dtype is not common:
                raise TypeError(_type_mismatch(definition, argument, tensor.dtype, inputs, common))
            common = tensor.dtype


def _type_mismatch(definition: OpDef, argument: str, found: DType, inputs: Mapping[str, Any], common: DType) -> str:
    first = next(iter(inputs))
    return (f"Input '{argument}' of '{definition.type}' Op has type {found.name} that does not match type {common.name} of argument "
            f"'{first}'.")


# For functions ---------------------------------------------------------------------------------------------------------------------------

def as_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    return convert_to_tensor(value, dtype, name)


def unary_function(definition: OpDef, doc: str = "") -> Callable[..., Tensor]:
    """The public function (x, name=None) of an operation of one input."""
    def function(x: Any, name: str | None = None) -> Tensor:
        return declare_one(definition, {"x": x}, None, name)
    return _named(function, definition, doc)


def binary_function(definition: OpDef, doc: str = "") -> Callable[..., Tensor]:
    """The public function (x, y, name=None) of an operation of two inputs of one type."""
    def function(x: Any, y: Any, name: str | None = None) -> Tensor:
        return declare_one(definition, {"x": x, "y": y}, None, name)
    return _named(function, definition, doc)


def _named(function: Callable[..., Tensor], definition: OpDef, doc: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", definition.type).lower()
    function.__doc__ = doc or f'Declares a "{definition.type}".'
    return function


# For expansions --------------------------------------------------------------------------------------------------------------------------

def known_axes(axes: Node, rank: int) -> tuple[int, ...] | None:
    """The axes that an integer node names, each 0 <= axis < rank, in the order given; None where a value is unknown."""
    dims = static_dims(axes)
    if dims is None or None in dims:
        return None
    return tuple(normal_axis(axis, rank) for axis in dims if axis is not None)


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the first; ValueError where it is out of range."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is out of bounds for an array of rank {rank}: it must be in [{-rank}, {rank})")
    return axis % rank


def shape_dims(shape: Node, *dtypes_of_outputs: DType) -> tuple[Dim, ...]:
    """The dims that an integer vector node spells; UnknownRank where not even their number is known."""
    if not shape.dtype.is_integer:
        raise TypeError(f"a shape must be of integers, not {shape.dtype.name}")
    dims = static_dims(shape)
    if dims is None:
        raise UnknownRank(*dtypes_of_outputs)
    if any(d is not None and d < 0 for d in dims):
        raise ValueError(f"a shape cannot have negative dims: {dims}")
    return dims


def checked_bool(type_name: str, argument: str, x: Node) -> Node:
    """`x`, which must be bool: the primitives below take integers too."""
    if not x.dtype.is_bool:
        raise TypeError(f"Input '{argument}' of '{type_name}' Op has type {x.dtype.name} that does not match expected type of bool.")
    return x


def checked_floating(type_name: str, x: Node) -> Node:
    """`x`, which must be of floating numbers: the primitives below take others too, or constants that others cannot hold."""
    if not x.dtype.is_floating:
        raise TypeError(f"Value passed to parameter 'x' of '{type_name}' has DataType {x.dtype.name} not in list of allowed values: "
                        "bfloat16, float16, float32, float64")
    return x
