"""Which elements of its operands an element of a node is made of. `numerics.py` follows values that are not finite by it, both ways.

    select(c, x, y)[i]      x[i] where c[i] holds, else y[i]: the arm not taken has no influence
    add(x, y)[i]            x[i] and y[i]
    transpose(x)[i, j]      x[j, i], as any node that only moves values
    reduce_sum(x, 1)[i]     x[i, :]
    cumulative_sum(x)[i]    x[:i + 1]
    anything else           every element of every operand, which is never too little

Elements are given as masks: arrays of bools in the shape of their value.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from graphc.core.loops import DynamicSlice, DynamicUpdate, Gather, Map, OfParts, Reduce, Scan, Scatter, State, View
from graphc.core.primitive import lookup
from graphc.core.program import Node

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Influence(ABC):
    """Of one node, for the values that its operands have."""

    @abstractmethod
    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        """The elements of the node that are made of at least one element in `operands` (None: of none in this one; not all are None)."""

    @abstractmethod
    def back(self, wanted: Mask) -> list[Mask]:
        """For each operand its elements that an element in `wanted` is made of."""


def influence(node: Node, values: Sequence[Any]) -> Influence:
    """That of `node`, which has one output, for the values of its operands."""
    loop, dims = node.primitive.loop, node.dims
    if node.name == "select":
        return Elementwise(dims, (False, values[0], ~values[0]))
    if isinstance(loop, Map | OfParts | State) and all(operand.dims == dims for operand in node.operands):
        return Elementwise(dims, (True,) * len(node.operands))
    if isinstance(loop, View | Gather | DynamicSlice | DynamicUpdate) or node.name == "rearrange":
        count = {Gather: 1, DynamicSlice: 1, DynamicUpdate: 2}.get(type(loop), 1 if node.name == "rearrange" else len(values))
        return _moved(node, values, count)
    if isinstance(loop, Reduce):
        return Reduced(values[0].shape, tuple(node.attrs.axes))
    if isinstance(loop, Scan):
        return Walked(len(values), node.attrs.axis, node.attrs.reverse)
    if isinstance(loop, Scatter):
        return Scattered(node, values[1], values[2].shape)
    if node.name == "dot_general":
        return Product(node.attrs, values[0].shape, values[1].shape)
    return Whole(dims, tuple(np.shape(value) for value in values))


@dataclass(frozen=True)
class Elementwise(Influence):
    """Element i of every operand makes element i. counts: where each of them does, a mask or one bool for everywhere."""

    dims: tuple[int, ...]
    counts: tuple[Any, ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        return _any([mask & counts for mask, counts in zip(operands, self.counts, strict=True) if mask is not None], self.dims)

    def back(self, wanted: Mask) -> list[Mask]:
        return [wanted & counts for counts in self.counts]


@dataclass(frozen=True)
class Moved(Influence):
    """Every element is one of an operand, or none. sources: for each operand the flat position of that element, plus one; else 0."""

    sources: tuple[Array, ...]
    shapes: tuple[tuple[int, ...], ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        found = [np.append(False, mask)[source] for source, mask in zip(self.sources, operands, strict=False) if mask is not None]
        return _any(found, self.sources[0].shape)

    def back(self, wanted: Mask) -> list[Mask]:
        masks = [np.zeros(1 + int(np.prod(shape)), np.bool_) for shape in self.shapes]
        for source, mask in zip(self.sources, masks, strict=False):
            mask[source[wanted]] = True
        return [mask[1:].reshape(shape) for mask, shape in zip(masks, self.shapes, strict=True)]


def _moved(node: Node, values: Sequence[Any], count: int) -> Moved:
    """Moves the positions of elements instead of the elements: the first `count` operands are moved, the others say where to."""
    shapes = tuple(np.shape(value) for value in values)
    sources = []
    for each in range(count):
        positions = [1 + np.arange(np.size(value)).reshape(shape) if number == each else np.zeros(shape, np.int64)
                     for number, (value, shape) in enumerate(zip(values[:count], shapes, strict=False))]
        sources.append(np.asarray(node.primitive.reference(node.attrs, *positions, *values[count:]), np.int64))
    return Moved(tuple(sources), shapes)


@dataclass(frozen=True)
class Reduced(Influence):
    """Every element is made of those along `axes`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        (mask,) = operands
        assert mask is not None
        return np.asarray(mask.any(self.axes))

    def back(self, wanted: Mask) -> list[Mask]:
        return [np.broadcast_to(np.expand_dims(wanted, self.axes), self.shape)]


@dataclass(frozen=True)
class Walked(Influence):
    """Every element is made of all up to it along `axis` (its own too, also where that is left out: what is not there is finite)."""

    count: int
    axis: int
    reverse: bool

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        either = reduce(np.logical_or, [mask for mask in operands if mask is not None])
        return self._from(either, self.reverse)

    def back(self, wanted: Mask) -> list[Mask]:
        return [self._from(wanted, not self.reverse)] * self.count

    def _from(self, mask: Mask, reverse: bool) -> Mask:
        """True from the first True on."""
        walked: Mask = np.logical_or.accumulate(np.flip(mask, self.axis) if reverse else mask, self.axis)
        return np.flip(walked, self.axis) if reverse else walked


@dataclass(frozen=True)
class Scattered(Influence):
    """What is there stays in its place; updates go to the rows that `indices` say."""

    node: Node
    indices: Array
    updates: tuple[int, ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        there, _, updates = operands
        added = [np.zeros(shape, np.int64) if mask is None else mask.astype(np.int64)
                 for mask, shape in ((there, self.node.dims), (updates, self.updates))]
        attrs = replace(self.node.attrs, combine="add")
        return np.asarray(self.node.primitive.reference(attrs, added[0], self.indices, added[1]) > 0)

    def back(self, wanted: Mask) -> list[Mask]:
        gather = lookup("gather")
        rows = gather.reference(gather.attrs(self.node.attrs.axis), wanted, self.indices)
        return [wanted, np.zeros(np.shape(self.indices), np.bool_), np.asarray(rows).reshape(self.updates)]


@dataclass(frozen=True)
class Product(Influence):
    """Element [batch, i, j] of a dot_general is made of row i of one operand and column j of the other, in its batch."""

    attrs: Any
    left: tuple[int, ...]
    right: tuple[int, ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        batch, rows, columns = self.attrs.lhs_batch, self._free("lhs"), self._free("rhs")
        dims = (*(self.left[axis] for axis in (*batch, *rows)), *(self.right[axis] for axis in columns))
        found = [np.zeros(dims, np.bool_)]
        left, right = operands
        if left is not None:
            lines = self._lines(left, "lhs")
            found.append(lines.reshape((*lines.shape, *(1,) * len(columns))))
        if right is not None:
            lines = self._lines(right, "rhs")
            found.append(lines.reshape((*lines.shape[:len(batch)], *(1,) * len(rows), *lines.shape[len(batch):])))
        return _any(found, dims)

    def back(self, wanted: Mask) -> list[Mask]:
        batch, rows = len(self.attrs.lhs_batch), len(self._free("lhs"))
        of_rows = wanted.any(tuple(range(batch + rows, wanted.ndim)))
        of_columns = wanted.any(tuple(range(batch, batch + rows)))
        return [self._whole(np.asarray(of_rows), "lhs"), self._whole(np.asarray(of_columns), "rhs")]

    def _free(self, side: str) -> tuple[int, ...]:
        free: tuple[int, ...] = self.attrs.free(len(self.left if side == "lhs" else self.right), side)
        return free

    def _order(self, side: str) -> tuple[tuple[int, ...], int]:
        """The axes with those of batches first, then the free ones, then the contracted, and how many of these there are."""
        batch, contract = ((self.attrs.lhs_batch, self.attrs.lhs_contract) if side == "lhs"
                           else (self.attrs.rhs_batch, self.attrs.rhs_contract))
        return (*batch, *self._free(side), *contract), len(contract)

    def _lines(self, mask: Mask, side: str) -> Mask:
        order, contracted = self._order(side)
        moved = mask.transpose(order)
        return np.asarray(moved.any(tuple(range(mask.ndim - contracted, mask.ndim))))

    def _whole(self, lines: Mask, side: str) -> Mask:
        order, contracted = self._order(side)
        shape = self.left if side == "lhs" else self.right
        spread = np.broadcast_to(lines.reshape((*lines.shape, *(1,) * contracted)), [shape[axis] for axis in order])
        return spread.transpose(np.argsort(order))


@dataclass(frozen=True)
class Whole(Influence):
    """Everything may be made of everything."""

    dims: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]

    def forth(self, operands: Sequence[Mask | None]) -> Mask:
        return np.full(self.dims, any(mask is not None and mask.any() for mask in operands))

    def back(self, wanted: Mask) -> list[Mask]:
        return [np.full(shape, wanted.any()) for shape in self.shapes]


def _any(masks: Sequence[Mask], dims: tuple[int, ...]) -> Mask:
    """Where at least one of `masks` holds."""
    return reduce(np.logical_or, masks) if masks else np.zeros(dims, np.bool_)
