"""TensorFlow 1's `TensorShape` and `Dimension`: what users hold. The rest of the house uses plain tuples (`graphc.core.types.Dims`),
and `as_dims` and `TensorShape.dims_tuple` lead from one to the other.

An unknown dimension prints as "?"; a shape of unknown rank prints as "<unknown>". Comparing an unknown dimension gives None, as in TF1.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from graphc.core.types import Dim, Dims, show_dims


def as_dim(value: Any) -> Dim:
    """An int or None from None, an integer or a Dimension; ValueError for a negative or fractional one."""
    if value is None:
        return None
    if isinstance(value, Dimension):
        return value.value
    dim = int(value)
    if not isinstance(value, str | bytes) and dim != value:
        raise ValueError(f"Ambiguous dimension: {value}")
    if dim < 0:
        raise ValueError(f"Dimension {dim} must be >= 0")
    return dim


class Dimension:
    """One dimension of a shape: an integer, or unknown. Arithmetic with an unknown one is unknown; comparison gives None."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # as in TF1: equality with an unknown dimension has no answer

    def __init__(self, value: Any) -> None:
        self._value = as_dim(value)

    @property
    def value(self) -> Dim:
        return self._value

    def is_compatible_with(self, other: Any) -> bool:
        """Whether both can be the same."""
        dim = as_dim(other)
        return self._value is None or dim is None or self._value == dim

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """What is known of two dimensions that are the same; ValueError where they cannot be."""
        other = Dimension(other)
        self.assert_is_compatible_with(other)
        return other if self._value is None else self

    def __eq__(self, other: object) -> Any:
        return self._compare(operator.eq, other, False)

    def __ne__(self, other: object) -> Any:
        return self._compare(operator.ne, other, True)

    def __lt__(self, other: Any) -> Any:
        return self._compare(operator.lt, other, NotImplemented)

    def __le__(self, other: Any) -> Any:
        return self._compare(operator.le, other, NotImplemented)

    def __gt__(self, other: Any) -> Any:
        return self._compare(operator.gt, other, NotImplemented)

    def __ge__(self, other: Any) -> Any:
        return self._compare(operator.ge, other, NotImplemented)

    def _compare(self, compare: Callable[[int, int], bool], other: Any, otherwise: Any) -> Any:
        try:
            dim = as_dim(other)
        except (TypeError, ValueError):
            return otherwise
        return None if self._value is None or dim is None else compare(self._value, dim)

    def __add__(self, other: Any) -> Any:
        return self._apply(operator.add, self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._apply(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._apply(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return self._apply(operator.mul, self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._apply(operator.floordiv, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._apply(operator.floordiv, other, self)

    def __mod__(self, other: Any) -> Any:
        return self._apply(operator.mod, self, other)

    def __rmod__(self, other: Any) -> Any:
        return self._apply(operator.mod, other, self)

    def __truediv__(self, other: Any) -> Dimension:
        raise TypeError(f"unsupported operand type(s) for /: 'Dimension' and '{type(other).__name__}', please use // instead")

    @staticmethod
    def _apply(function: Callable[[int, int], int], left: Any, right: Any) -> Any:
        try:
            a, b = as_dim(left), as_dim(right)
        except (TypeError, ValueError):
            return NotImplemented
        return Dimension(None if a is None or b is None else function(a, b))

    def __int__(self) -> int:
        if self._value is None:
            raise TypeError("an unknown Dimension has no integer value")
        return self._value

    __index__ = __int__

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)

    def __repr__(self) -> str:
        return f"Dimension({self._value})"


class TensorShape:
    """A tuple of dimensions, some of them maybe unknown, or None for unknown rank."""

    __slots__ = ("_dims",)
    __hash__ = None  # type: ignore[assignment]  # as in TF1

    def __init__(self, dims: Any) -> None:
        self._dims = as_dims(dims)

    @property
    def dims_tuple(self) -> Dims | None:
        """The shape as the rest of the house knows it: a tuple of int or None, None for unknown rank."""
        return self._dims

    @property
    def dims(self) -> list[Dimension] | None:
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def rank(self) -> int | None:
        return None if self._dims is None else len(self._dims)

    ndims = rank

    def as_list(self) -> list[Dim]:
        """The dims as a list of int or None; ValueError for unknown rank."""
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self._dims)

    def num_elements(self) -> int | None:
        """The product of the dims, None where one is unknown."""
        if self._dims is None or None in self._dims:
            return None
        return math.prod(d for d in self._dims if d is not None)

    def is_fully_defined(self) -> bool:
        return self._dims is not None and None not in self._dims

    def assert_is_fully_defined(self) -> None:
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether both can be the shape of one tensor."""
        dims = as_dims(other)
        if self._dims is None or dims is None:
            return True
        return len(self._dims) == len(dims) and all(a is None or b is None or a == b for a, b in zip(self._dims, dims, strict=True))

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {other} are incompatible")

    def merge_with(self, other: Any) -> TensorShape:
        """What is known of two shapes that are the same; ValueError where they cannot be."""
        dims = as_dims(other)
        if self._dims is None or dims is None:
            return TensorShape(dims if self._dims is None else self._dims)
        if not self.is_compatible_with(dims):
            raise ValueError(f"Shapes {self} and {show_dims(dims)} are not compatible")
        return TensorShape([b if a is None else a for a, b in zip(self._dims, dims, strict=True)])

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The dims on which both agree; the others unknown."""
        dims = as_dims(other)
        if self._dims is None or dims is None or len(dims) != len(self._dims):
            return TensorShape(None)
        return TensorShape([a if a == b else None for a, b in zip(self._dims, dims, strict=True)])

    def concatenate(self, other: Any) -> TensorShape:
        """The dims of this shape, then those of `other`; unknown rank where either is unknown."""
        dims = as_dims(other)
        return TensorShape(None if self._dims is None or dims is None else self._dims + dims)

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, or `rank` unknown dims where its rank is unknown; ValueError for another rank."""
        if self._dims is None:
            return TensorShape([None] * rank)
        self.assert_has_rank(rank)
        return self

    def with_rank_at_least(self, rank: int) -> TensorShape:
        if self._dims is not None and len(self._dims) < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        if self._dims is not None and len(self._dims) > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def assert_has_rank(self, rank: int) -> None:
        if self._dims is not None and len(self._dims) != rank:
            raise ValueError(f"Shape {self} must have rank {rank}")

    def assert_same_rank(self, other: Any) -> None:
        other = TensorShape(other)
        if self.rank is not None and other.rank is not None and self.rank != other.rank:
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self._dims)

    def __bool__(self) -> bool:
        """Whether the rank is known (TF1's meaning: the shape of a scalar is true)."""
        return self._dims is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter([Dimension(d) for d in self._dims])

    def __getitem__(self, key: Any) -> Any:
        """A Dimension for an integer, a TensorShape for a slice. Unknown rank gives unknown dims."""
        if self._dims is not None:
            return TensorShape(self._dims[key]) if isinstance(key, slice) else Dimension(self._dims[key])
        if not isinstance(key, slice):
            return Dimension(None)
        start, stop = key.start or 0, key.stop
        if key.step is not None or start < 0 or stop is None or stop < 0:
            return TensorShape(None)
        return TensorShape([None] * max(stop - start, 0))

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> Any:
        """True where both are known and equal, or both of unknown rank; a shape with an unknown dim equals nothing (TF1)."""
        try:
            dims = as_dims(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._dims is None or dims is None:
            return self._dims is dims
        return None not in self._dims and self._dims == dims

    def __ne__(self, other: object) -> Any:
        try:
            dims = as_dims(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._dims is None or dims is None:
            raise ValueError("The inequality of unknown TensorShapes is undefined.")
        return None in self._dims or self._dims != dims

    def __reduce__(self) -> Any:
        return TensorShape, (self._dims,)

    def __str__(self) -> str:
        return show_dims(self._dims)

    def __repr__(self) -> str:
        if self._dims is None:
            return "TensorShape(None)"
        return f"TensorShape([{', '.join(f'Dimension({d})' for d in self._dims)}])"


def as_dims(shape: Any) -> Dims | None:
    """Plain dims from anything that describes a shape: None (unknown rank), a TensorShape, one integer, or a sequence of dims."""
    if shape is None:
        return None
    if isinstance(shape, TensorShape):
        return shape.dims_tuple
    if isinstance(shape, str | bytes):
        raise TypeError(f"A string has ambiguous TensorShape, please wrap in a list or convert to an int: {shape!r}")
    try:
        dims = tuple(shape)
    except TypeError:
        return (as_dim(shape),)
    return tuple(d if type(d) is int and d >= 0 else as_dim(d) for d in dims)


def check_equal_shapes(a: Dims, b: Dims) -> None:
    """ValueError, in TF1's words, where two shapes cannot be the same."""
    if len(a) != len(b):
        raise ValueError(f"Shapes must be equal rank, but are {len(a)} and {len(b)}")
    for n, (x, y) in enumerate(zip(a, b, strict=True)):
        if x is not None and y is not None and x != y:
            shapes = f"Shapes are {in_brackets(a)} and {in_brackets(b)}."
            raise ValueError(f"Dimension {n} in both shapes must be equal, but are {x} and {y}. {shapes}")


def in_brackets(dims: Dims | None) -> str:
    """A shape as TF1's shape errors print it: "[?,3]"."""
    return "<unknown>" if dims is None else f"[{','.join('?' if d is None else str(d) for d in dims)}]"


def as_shape(shape: Any) -> TensorShape:
    return shape if isinstance(shape, TensorShape) else TensorShape(shape)


def unknown_shape(rank: int | None = None) -> TensorShape:
    """A shape of unknown rank, or of `rank` unknown dims."""
    return TensorShape(None if rank is None else [None] * rank)


def scalar() -> TensorShape:
    return TensorShape([])
