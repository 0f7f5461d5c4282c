"""What the declarations share: checks of operand types with one wording for errors, and the forms of declaration that repeat.

Every error names the primitive, its operands and the rule that they break: `add(f32[2], f32[3]): operands must have one shape`.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from graphc.core.dtypes import DType
from graphc.core.loops import Map
from graphc.core.primitive import Infer, NoAttrs, NotDifferentiable, Primitive, Reference, Vjp, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, merge_dims, same_dims

NO_ATTRS = NoAttrs()
Domain = Callable[[DType], bool]
Cotangents = Sequence[Node | None]
Unary = Callable[[Node], Node]
Binary = Callable[[Node, Node], Node]
Build = TypeVar("Build", bound=Callable[..., Node])


def is_floating(dtype: DType) -> bool:
    return dtype.is_floating


def is_numeric(dtype: DType) -> bool:
    return not dtype.is_bool


def is_integer(dtype: DType) -> bool:
    return dtype.is_integer


def is_bits(dtype: DType) -> bool:
    return dtype.is_integer or dtype.is_bool


def is_inexact(dtype: DType) -> bool:
    return dtype.is_inexact


def is_ordered(dtype: DType) -> bool:
    return not dtype.is_bool and not dtype.is_complex


def is_any(dtype: DType) -> bool:
    """Any but complex: what can be compared."""
    return not dtype.is_complex


DOMAIN_NAMES: dict[Domain, str] = {
    is_floating: "floating", is_numeric: "numeric", is_integer: "integer", is_bits: "integer or bool", is_any: "real",
    is_inexact: "floating or complex", is_ordered: "real numeric"}


def call(name: str, types: Sequence[TensorType]) -> str:
    """How an error shows a primitive and its operands: `add(f32[2], f32[3])`."""
    return f"{name}({', '.join(map(str, types))})"


def same_type(name: str, types: Sequence[TensorType]) -> TensorType:
    """The one type of all operands; TypeError or ValueError where they differ (an unknown dim can equal any)."""
    first = types[0]
    for other in types[1:]:
        if other is first or other == first:
            continue
        if other.dtype is not first.dtype:
            raise TypeError(f"{call(name, types)}: operands must have one element type")
        if not same_dims(first.shape, other.shape):
            raise ValueError(f"{call(name, types)}: operands must have one shape")
        first = first.with_shape(merge_dims(first.shape, other.shape))
    return first


def need(domain: Domain, name: str, types: Sequence[TensorType], operand: TensorType | None = None) -> None:
    """TypeError unless the element type of `operand` (the first of `types` by default) is in `domain`."""
    if not domain((operand or types[0]).dtype):
        raise TypeError(f"{call(name, types)}: needs {DOMAIN_NAMES[domain]} operands")


def normal_axes(name: str, axes: Sequence[int], type_: TensorType) -> None:
    """ValueError unless `axes` are distinct axes of `type_`, all of them 0 <= axis < rank."""
    if len(set(axes)) != len(axes) or any(not 0 <= axis < type_.rank for axis in axes):
        raise ValueError(f"{call(name, (type_,))}: axes {tuple(axes)} must be distinct and between 0 and {type_.rank - 1}")


def elementwise_infer(name: str, domain: Domain, result: DType | None = None) -> Infer:
    """Operands of one type in `domain`; the result has that type, or the element type `result`."""
    def infer(attrs: Any, *types: TensorType) -> TensorType:
        need(domain, name, types)
        common = same_type(name, types)
        return common if result is None else common.with_dtype(result)
    return infer


def elementwise(name: str, arity: int, domain: Domain, reference: Reference, vjp: Vjp | NotDifferentiable, doc: str,
                result: DType | None = None) -> Primitive:
    """Declares a primitive without attributes that computes element by element."""
    return declare(Primitive(name, NoAttrs, arity, elementwise_infer(name, domain, result), reference, vjp, Map(name), doc))


def unary(primitive: Primitive) -> Unary:
    """The function that makes nodes of an elementwise primitive of one operand."""
    def build(x: Node) -> Node:
        return make(primitive, (x,), NO_ATTRS)
    return named(build, primitive)


def binary(primitive: Primitive) -> Binary:
    """The function that makes nodes of an elementwise primitive of two operands."""
    def build(x: Node, y: Node) -> Node:
        return make(primitive, (x, y), NO_ATTRS)
    return named(build, primitive)


def named(build: Build, primitive: Primitive) -> Build:
    for field, text in (("__name__", primitive.name), ("__qualname__", primitive.name), ("__doc__", primitive.doc)):
        setattr(build, field, text)
    return build
