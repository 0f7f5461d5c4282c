"""Arithmetic that takes several operations: sums of several tensors, products with a scalar, polynomials."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.array import identity
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.elementwise import add_v2, multiply


def _total(inputs: Sequence[Node]) -> Node:
    total = inputs[0]
    for each in inputs[1:]:
        total = p.add(total, each)
    return total


@composite("AddN")
def ADD_N(*inputs: Node) -> Node:
    """The sum of all inputs."""
    return _total(inputs)


@composite("AccumulateNV2")
def ACCUMULATE_N(*inputs: Node) -> Node:
    """The sum of all inputs."""
    return _total(inputs)


def _summed(definition: OpDef, inputs: Sequence[Any], name: str | None, problem: str) -> Tensor:
    if not inputs or not isinstance(inputs, list | tuple):
        raise ValueError(problem)
    tensors = [as_tensor(each) for each in inputs]
    if any(each.dtype is not tensors[0].dtype for each in tensors):
        raise TypeError(problem)
    if len(tensors) == 1:
        return identity(tensors[0], name) if name else tensors[0]
    return declare_one(definition, {f"inputs_{n}": each for n, each in enumerate(tensors)}, None, name)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of several tensors of one shape and type."""
    return _summed(ADD_N, inputs, name, "inputs must be a list of at least one Tensor/IndexedSlices with the same dtype and shape")


def accumulate_n(inputs: Sequence[Any], shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """The sum of several tensors of one shape and type, which `shape` and `tensor_dtype` may state."""
    result = _summed(ACCUMULATE_N, inputs, name, "inputs must be a list of at least one Tensor with the same dtype and shape")
    if tensor_dtype is not None and result.dtype is not convert_to_tensor(0, tensor_dtype).dtype:
        raise TypeError(f"tensor_dtype is {tensor_dtype}, but input is of type {result.dtype.name}")
    if shape is not None:
        result.set_shape(shape)
    return result


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """`x` times a number or a scalar tensor."""
    number = convert_to_tensor(scalar, x.dtype.base_dtype, "scalar")
    if number.rank not in (0, None):
        raise ValueError(f"Only scalar multiply works, got shape {number.shape}")
    return multiply(number, x, name)


def polyval(coeffs: Any, x: Any, name: str | None = None) -> Tensor:
    """coeffs[0] x^n + coeffs[1] x^(n - 1) + ... + coeffs[n] by Horner's rule; 0 without coefficients."""
    if not isinstance(coeffs, list | tuple):
        raise TypeError(f"coeffs must be a list of tensors or numbers, not {type(coeffs).__name__}")
    with name_scope(name, "polyval", [*coeffs, x]) as scope:
        x = as_tensor(x, name="x")
        if not coeffs:
            return zeros_like(x, name=scope)
        parts = [as_tensor(each, None if isinstance(each, Tensor) else x.dtype, f"coeff_{n}") for n, each in enumerate(coeffs)]
        value = parts[0]
        for each in parts[1:]:
            value = add_v2(each, multiply(value, x, "mul"), "add")
        return value
