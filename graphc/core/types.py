"""The type of one tensor value: element type and shape. Used by graph and Program alike.

A shape is a tuple of dims. A dim is an int, or None where it is not known yet (only in graphs and in abstract expansions of composites;
a Program knows every dim). A graph tensor of unknown rank has shape None.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from graphc.core.dtypes import DType

Dim = int | None
Dims = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    dtype: DType
    shape: Dims

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return None not in self.shape

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape of a static type; ValueError where a dim is unknown."""
        if None in self.shape:
            raise ValueError(f"the shape of {self} is not known")
        return cast(tuple[int, ...], self.shape)

    @property
    def size(self) -> int:
        """Number of elements of a static type."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.size

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.code}[{','.join('?' if d is None else str(d) for d in self.shape)}]"


def dims_product(dims: Iterable[Dim]) -> Dim:
    """The product of dims, None where one is unknown (0 wins over unknown)."""
    product = 1
    unknown = False
    for dim in dims:
        if dim is None:
            unknown = True
        else:
            product *= dim
    return product if not unknown or product == 0 else None


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two dims can be equal (an unknown dim can equal anything)."""
    return a is None or b is None or a == b


def same_dims(a: Dims, b: Dims) -> bool:
    return len(a) == len(b) and all(map(same_dim, a, b))


def merge_dims(a: Dims, b: Dims) -> Dims:
    """What is known of two shapes that are equal; ValueError where they cannot be."""
    if not same_dims(a, b):
        raise ValueError(f"shapes {show_dims(a)} and {show_dims(b)} differ")
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def show_dims(dims: Dims | None) -> str:
    """A shape as TF1's messages print it: `(?, 3)`, `<unknown>`."""
    if dims is None:
        return "<unknown>"
    inner = ", ".join("?" if d is None else str(d) for d in dims)
    return f"({inner},)" if len(dims) == 1 else f"({inner})"
