"""Variables in parts: `PartitionedVariable`, which `get_variable` gives where the scope has a partitioner, and TF1's partitioners.

The parts are variables of their own, "w/part_0", "w/part_1"..., cut along one axis; used in an operation, they are joined again.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.core.convert import register_tensor_conversion_function
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.operation import OPERATORS, Operators, Tensor
from graphc.core.shapes import TensorShape
from graphc.ops.array import identity
from graphc.ops.joining import concat
from graphc.variables import Variable, read_delegate

Partitioner = Callable[..., Sequence[int]]


@dataclass(frozen=True)
class PartitionInfo:
    """Which part of a variable is being made: the full shape, and where the part begins. Initializers take fans from the full shape."""

    full_shape: tuple[int, ...]
    var_offset: tuple[int, ...]


class PartitionedVariable(Operators):
    """Parts of one variable. A list of Variables (`list(w)`) or, where a tensor is expected, their concatenation."""

    __array_priority__ = 100

    def __init__(self, name: str, shape: Sequence[int], dtype: DType, variable_list: Sequence[Variable], partitions: Sequence[int]) -> None:
        self.name = name
        self.dtype = dtype
        self._shape = tuple(shape)
        self._variables = list(variable_list)
        self._partitions = list(partitions)

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self._shape)

    def get_shape(self) -> TensorShape:
        return self.shape

    def as_tensor(self) -> Tensor:
        """The whole, joined anew at each use."""
        with get_default_graph().name_scope(f"{self.name}/ConcatPartitions/"):
            parts = [part.value() for part in self._variables]
            whole = identity(parts[0]) if len(parts) == 1 else concat(parts, _axis(self._partitions))
        with get_default_graph().name_scope(None):
            return identity(whole, self.name)

    def value(self) -> Tensor:
        return self.as_tensor()

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<graphc.PartitionedVariable '{self.name}' shape={self.shape} dtype={self.dtype.name} of {len(self)} parts>"


def _convert(variable: PartitionedVariable, dtype: DType | None, name: str | None, as_ref: bool) -> Tensor:
    if dtype is not None and dtype is not variable.dtype:
        raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for variable of type '{variable.dtype.name}'")
    if as_ref:
        raise TypeError(f"PartitionedVariable {variable.name} has no single tensor to assign to: assign to its parts")
    return variable.as_tensor()


register_tensor_conversion_function(PartitionedVariable, _convert)
for _operator in OPERATORS - {"__eq__", "__ne__"}:
    setattr(PartitionedVariable, _operator, read_delegate(_operator))


def cut(name: str, shape: TensorShape, dtype: DType, partitioner: Partitioner
        ) -> tuple[Sequence[int], list[tuple[PartitionInfo, list[int]]]]:
    """The number of parts along each axis, and for each part its place and shape. ValueError where the partitioner's answer cannot be."""
    if not shape.is_fully_defined() or shape.ndims is None or shape.ndims < 1:
        raise ValueError(f"Shape of a new partitioned variable ({name}) must be fully defined and of rank at least 1, but instead was "
                         f"{shape}.")
    counts = list(partitioner(shape=shape, dtype=dtype))
    full = tuple(int(dim) for dim in shape)
    if len(counts) != len(full):
        raise ValueError(f"Partitioner returned a partition list that does not match the Variable's rank: {counts} vs. {shape}")
    if any(count < 1 for count in counts):
        raise ValueError(f"Partitioner returned zero partitions for some axes: {counts}")
    if sum(count > 1 for count in counts) > 1:
        raise ValueError(f"Can only slice a variable along one dimension: shape: {list(full)}, partitioning: {counts}")
    axis = _axis(counts)
    if counts[axis] > max(full[axis], 1):
        raise ValueError(f"Partitioner asked for {counts[axis]} parts of dimension {axis}, which has {full[axis]} elements")
    parts = []
    start = 0
    for number in range(counts[axis]):
        size = full[axis] // counts[axis] + (number < full[axis] % counts[axis])  # the first ones take what is left over
        offset = tuple(start if n == axis else 0 for n in range(len(full)))
        parts.append((PartitionInfo(full, offset), [size if n == axis else dim for n, dim in enumerate(full)]))
        start += size
    return counts, parts


def _axis(partitions: Sequence[int]) -> int:
    return next((axis for axis, count in enumerate(partitions) if count > 1), 0)


# TF1's partitioners: functions of (shape, dtype) that give the number of parts along each axis -----------------------------------------

def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """`num_shards` parts along `axis`, or as many as there are elements."""
    def partitioner(shape: TensorShape, **unused: Any) -> list[int]:
        return _along(shape, axis, min(num_shards, int(shape[axis])))
    return partitioner


def variable_axis_size_partitioner(max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16,
                                   max_shards: int | None = None) -> Partitioner:
    """As few parts along `axis` as leave none larger than `max_shard_bytes`, at most `max_shards`."""
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError("Both max_shard_bytes and bytes_per_string_element must be positive.")
    if max_shards is not None and max_shards < 1:
        raise ValueError("max_shards must be positive.")

    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        size = int(shape[axis])
        slice_bytes = math.prod(int(d) for d in shape) // max(size, 1) * dtype.size
        count = math.ceil(size / max(1, max_shard_bytes // max(slice_bytes, 1)))
        return _along(shape, axis, max(1, count if max_shards is None else min(count, max_shards)))
    return partitioner


def min_max_variable_partitioner(max_partitions: int = 1, axis: int = 0, min_slice_size: int = 256 << 10,
                                 bytes_per_string_element: int = 16) -> Partitioner:
    """As many parts along `axis` as leave none smaller than `min_slice_size` bytes, at most `max_partitions`."""
    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        rank = shape.ndims or 0
        if axis >= rank:
            raise ValueError(f"Can not partition variable along axis {axis} when shape is only {shape}")
        count = math.ceil(math.prod(int(d) for d in shape) * dtype.size / min_slice_size)
        return _along(shape, axis, max(1, min(int(shape[axis]), max_partitions, count)))
    return partitioner


def _along(shape: TensorShape, axis: int, count: int) -> list[int]:
    counts = [1] * (shape.ndims or 0)
    counts[axis] = count
    return counts
