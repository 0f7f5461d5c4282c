"""`SparseTensor` and `IndexedSlices`: tensors of which only some elements, or some rows, are given. `sparse*.py` works on them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.core import dtypes
from graphc.core.components import CompositeTensor
from graphc.core.convert import constant, convert_to_tensor, register_tensor_conversion_function
from graphc.core.dtypes import DType
from graphc.core.graph import Graph
from graphc.core.leaves import placeholder
from graphc.core.operation import Operation, Tensor
from graphc.core.scopes import get_default_session
from graphc.core.shapes import TensorShape, as_dims
from graphc.core.static import partial_value
from graphc.core.types import Dims
from graphc.ops.array import shape
from graphc.ops.declare import name_scope
from graphc.ops.elementwise import cast, div, multiply, not_equal, truediv
from graphc.ops.gathering import gather_nd


class SparseTensorValue(NamedTuple):
    """What a run gives for a sparse tensor: indices int64 [n, rank], values [n], dense_shape int64 [rank]."""

    indices: Any
    values: Any
    dense_shape: Any


class IndexedSlicesValue(NamedTuple):
    """What a run gives for `IndexedSlices`."""

    values: Any
    indices: Any
    dense_shape: Any


class SparseTensor(CompositeTensor):
    """A tensor of shape `dense_shape` that is zero but for `values[i]` at position `indices[i]`.

    indices: int64 [n, rank], in row-major order wherever an operation says so (`sparse_reorder` makes it). values: [n] of any type.
    dense_shape: int64 [rank]. known: what is known of a shape that is fed. ValueError where their shapes do not fit.
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any, known: Dims | None = None) -> None:
        self._known = known
        with name_scope(None, "SparseTensor", [indices, values, dense_shape]):
            self._indices = convert_to_tensor(indices, dtypes.int64, "indices")
            self._values = convert_to_tensor(values, None, "values")
            self._dense_shape = convert_to_tensor(dense_shape, dtypes.int64, "dense_shape")
        index, value = self._indices.shape.with_rank(2), self._values.shape.with_rank(1)
        rank = self._dense_shape.shape.with_rank(1)
        if index.dims is not None and value.dims is not None:
            index.dims[0].assert_is_compatible_with(value.dims[0])
        if index.dims is not None and rank.dims is not None:
            index.dims[1].assert_is_compatible_with(rank.dims[0])

    @classmethod
    def from_value(cls, sparse_tensor_value: Any) -> SparseTensor:
        """`sparse_tensor_value` itself, or its constants; TypeError for anything but a SparseTensor or SparseTensorValue."""
        if isinstance(sparse_tensor_value, SparseTensor):
            return sparse_tensor_value
        if not isinstance(sparse_tensor_value, SparseTensorValue):
            raise TypeError(f"Neither a SparseTensor nor SparseTensorValue: {sparse_tensor_value}.")
        return cls(*sparse_tensor_value)

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def values(self) -> Tensor:
        return self._values

    @property
    def dense_shape(self) -> Tensor:
        return self._dense_shape

    @property
    def components(self) -> tuple[Tensor, ...]:
        return (self._indices, self._values, self._dense_shape)

    @staticmethod
    def value_of(values: Sequence[Any]) -> SparseTensorValue:
        return SparseTensorValue(*values)

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def op(self) -> Operation:
        """The operation that gives `values`."""
        return self._values.op

    @property
    def graph(self) -> Graph:
        return self._values.graph

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape when the graph is declared."""
        return TensorShape(known_dims(self._dense_shape) if self._known is None else self._known)

    def get_shape(self) -> TensorShape:
        return self.shape

    @property
    def known_rank(self) -> int | None:
        """The number of axes, where the shape of a part tells it when the graph is declared."""
        columns, entries = self._indices.shape_tuple, self._dense_shape.shape_tuple
        return columns[1] if columns and columns[1] is not None else entries[0] if entries else None

    def consumers(self) -> list[Operation]:
        return list(dict.fromkeys(op for t in self.components for op in t.consumers()))

    def eval(self, feed_dict: Any = None, session: Any = None) -> SparseTensorValue:
        """Its value in `session`, or in the default one; ValueError where there is none."""
        chosen = get_default_session() if session is None else session
        if chosen is None:
            raise ValueError("Cannot evaluate a SparseTensor using `eval()`: No default session is registered. Use `with "
                             "sess.as_default()` or pass an explicit session to `eval(session=sess)`")
        result: SparseTensorValue = chosen.run(self, feed_dict)
        return result

    def with_values(self, new_values: Any) -> SparseTensor:
        """Other values at the same positions."""
        return SparseTensor(self._indices, new_values, self._dense_shape)

    def __mul__(self, other: Any) -> SparseTensor:
        """Each value times the element of a dense tensor at its position; `other` may have axes of size 1, or fewer axes."""
        return self.with_values(multiply(self._values, self._beside(other), "mul"))

    def __truediv__(self, other: Any) -> SparseTensor:
        return self.with_values(truediv(self._values, self._beside(other), "truediv"))

    def __div__(self, other: Any) -> SparseTensor:
        return self.with_values(div(self._values, self._beside(other), "div"))

    def _beside(self, other: Any) -> Tensor:
        """For each value the element of `other`, which is broadcast to this tensor's shape, at its position."""
        dense = convert_to_tensor(other, self.dtype)
        if dense.rank == 0:
            return dense
        if dense.shape_tuple is None:
            raise ValueError("the rank of a dense tensor that meets a sparse one must be known")
        rank = self.known_rank
        if rank is None or len(dense.shape_tuple) > rank:
            raise ValueError(f"SparseTensors support broadcasting only of the dense side: its shape {dense.shape} must have at most as "
                             f"many axes as the sparse one, {rank}")
        first = rank - len(dense.shape_tuple)
        own = cast(not_equal(shape(dense), 1), dtypes.int64)  # along an axis of size 1 everything reads its only element
        return gather_nd(dense, multiply(self._indices[:, first:], own))

    def __repr__(self) -> str:
        return f"SparseTensor(indices={self._indices}, values={self._values}, dense_shape={self._dense_shape})"


class IndexedSlices(CompositeTensor):
    """Rows of a tensor: `values[i]` is the row `indices[i]`; rows that occur twice are meant to be added.

    Gradients of graphc are dense tensors; this class is for programs that make or take such rows themselves. Where a tensor is wanted it is
    converted, which needs `dense_shape`.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None) -> None:
        self._values, self._indices, self._dense_shape = values, indices, dense_shape

    @property
    def values(self) -> Tensor:
        return self._values

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        return self._dense_shape

    @property
    def components(self) -> tuple[Tensor, ...]:
        return tuple(t for t in (self._values, self._indices, self._dense_shape) if t is not None)

    @staticmethod
    def value_of(values: Sequence[Any]) -> IndexedSlicesValue:
        return IndexedSlicesValue(values[0], values[1], values[2] if len(values) > 2 else None)

    @property
    def name(self) -> str:
        return self._values.name

    @property
    def device(self) -> str:
        return self._values.device

    @property
    def op(self) -> Operation:
        return self._values.op

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def graph(self) -> Graph:
        return self._values.graph

    def consumers(self) -> list[Operation]:
        return self._values.consumers()

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(-self._values, self._indices, self._dense_shape)

    def __str__(self) -> str:
        shape = "" if self._dense_shape is None else f", dense_shape={self._dense_shape}"
        return f"IndexedSlices(indices={self._indices}, values={self._values}{shape})"


def known_dims(shape: Tensor) -> Dims | None:
    """The dims that an integer vector spells, None for each unknown one; None where not even their number is known."""
    if shape.shape_tuple is None or shape.shape_tuple[0] is None:
        return None
    values = None if shape.node is None else partial_value(shape.node)
    if values is None:
        return (None,) * shape.shape_tuple[0]
    return tuple(None if v is None or v < 0 else int(v) for v in values.reshape(-1))


def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """A sparse tensor that is fed: as a SparseTensorValue, or a tuple of its three parts.

    shape: what is known of its dense shape. Where it is all known it is a constant, and feeds give only indices and values.
    """
    dims = as_dims(shape)
    rank = None if dims is None else len(dims)

    def part(dtype: Any, shape: Any, suffix: str) -> Tensor:
        return placeholder(dtype, shape, None if name is None else f"{name}/{suffix}")
    if dims is None or None in dims:
        dense_shape = part(dtypes.int64, [rank], "shape")
    else:
        dense_shape = constant(np.array(dims, np.int64), name="Const" if name is None else f"{name}/shape")
        dense_shape.graph.prevent_feeding(dense_shape)
    values = part(dtype, [None], "values")
    return SparseTensor(part(dtypes.int64, [None, rank], "indices"), values, dense_shape, dims)


def convert_to_tensor_or_sparse_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Tensor | SparseTensor:
    """A SparseTensor (of a SparseTensorValue) as it is, anything else as a tensor; RuntimeError where a sparse one has another dtype."""
    if isinstance(value, SparseTensorValue):
        value = SparseTensor.from_value(value)
    if not isinstance(value, SparseTensor):
        return convert_to_tensor(value, dtype, name)
    if dtype is not None and dtypes.as_dtype(dtype) is not value.dtype:
        raise RuntimeError(f"Sparse dtype: requested = {dtypes.as_dtype(dtype).name}, actual = {value.dtype.name}")
    return value


def _no_tensor(value: Any, dtype: DType | None, name: str | None, as_ref: bool) -> Tensor:
    raise TypeError(f"Failed to convert object of type {type(value)} to Tensor. Contents: {value}. Consider sparse_tensor_to_dense.")


register_tensor_conversion_function((SparseTensor, SparseTensorValue), _no_tensor, 50)
