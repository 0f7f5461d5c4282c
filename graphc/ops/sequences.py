"""Rows put in another order or said again: reverse_sequence, roll, repeat, sequence_mask, meshgrid, parallel_stack."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import partial_value
from graphc.core.types import Dim, Dims, TensorType, same_dims, show_dims
from graphc.ops.array import expand_dims, range_, reshape, size
from graphc.ops.creation import ones
from graphc.ops.declare import INDEX, as_tensor, declare_one, known_axes, name_scope, normal_axis
from graphc.ops.elementwise import cast, less, maximum
from graphc.ops.parts import box, counting, replaced, undetermined
from graphc.ops.positions import within_batch
from graphc.ops.reductions import reduce_max
from graphc.ops.selecting import counted

# reverse_sequence ------------------------------------------------------------------------------------------------------------------------

def _reverse_gradient(input: Node, seq_lengths: Node, output: Node, g: Node, *, seq_dim: int, batch_dim: int = 0) -> Sequence[Node | None]:
    """What was moved there moves back: the same operation."""
    return (REVERSE_SEQUENCE.nodes((g, seq_lengths), {"seq_dim": seq_dim, "batch_dim": batch_dim})[0], None)


@composite("ReverseSequence", gradient=_reverse_gradient)
def REVERSE_SEQUENCE(input: Node, seq_lengths: Node, *, seq_dim: int, batch_dim: int = 0) -> Node:
    """The first seq_lengths[i] elements along `seq_dim` of the i-th slice along `batch_dim`, last to first."""
    rank = len(input.shape)
    if len(seq_lengths.shape) != 1:
        raise ValueError(f"seq_lengths must be 1-dim, not {len(seq_lengths.shape)}")
    seq, batch = normal_axis(seq_dim, rank), normal_axis(batch_dim, rank)
    if seq == batch:
        raise ValueError(f"batch_dim == seq_dim == {seq}")
    rows, steps = input.shape[batch], input.shape[seq]
    if not same_dims((rows,), seq_lengths.shape):
        raise ValueError(f"len(seq_lengths) != input.dims({batch}), ({show_dims(seq_lengths.shape)} vs. {rows})")
    if rows is None or steps is None or None in input.shape:
        return undetermined(input, input.shape)
    order = (batch, seq, *(axis for axis in range(rank) if axis not in (batch, seq)))
    near = p.transpose(input, order)
    lengths = counting(seq_lengths)
    step = p.iota((rows, steps), 1, lengths.dtype)
    spread = p.broadcast_in_dim(lengths, (rows, steps), (0,))
    last = p.subtract(spread, p.full(1, step.type))
    source = p.select(p.compare(step, spread, "LT"), p.subtract(last, step), step)
    found = p.gather(p.reshape(near, (rows * steps, *near.shape[2:])), within_batch(source, (rows,), steps), 0)
    return p.transpose(found, tuple(order.index(axis) for axis in range(rank)))


def reverse_sequence(input: Any, seq_lengths: Any, seq_axis: int | None = None, batch_axis: int | None = None, name: str | None = None,
                     seq_dim: int | None = None, batch_dim: int | None = None) -> Tensor:
    """The first seq_lengths[i] elements along `seq_axis` of the i-th slice along `batch_axis` (0) last to first, the others as they are.

    seq_dim, batch_dim: older names of the axes. TypeError without a `seq_axis`, ValueError where both axes are one.
    """
    seq, batch = (old if new is None else new for new, old in ((seq_axis, seq_dim), (batch_axis, batch_dim)))
    if seq is None:
        raise TypeError("Expected int for argument 'seq_dim' not None.")
    attrs = {"seq_dim": int(seq), "batch_dim": int(batch or 0)}
    return declare_one(REVERSE_SEQUENCE, {"input": input, "seq_lengths": seq_lengths}, attrs, name, other={"seq_lengths": INDEX})


# roll ------------------------------------------------------------------------------------------------------------------------------------

@composite("Roll")
def ROLL(input: Node, shift: Node, axis: Node) -> Node:
    """Moved by `shift` places along `axis`; what leaves at one end comes in at the other."""
    if not input.shape:
        raise ValueError("input must be 1-D or higher")
    if len(shift.shape) > 1 or len(shift.shape) != len(axis.shape) or not same_dims(shift.shape, axis.shape):
        raise ValueError(f"shift and axis must have the same size, got shapes {show_dims(shift.shape)} and {show_dims(axis.shape)}")
    axes = known_axes(axis, len(input.shape))
    if axes is None:
        return undetermined(input, input.shape)
    values = partial_value(shift)
    result = input
    for number, each in enumerate(axes):
        by = None if values is None else values.reshape(-1)[number]
        if result.shape[each] == 0:
            continue
        result = _rolled(result, each, by) if by is not None else _rolled_by_data(result, each, _entry(shift, number))
    return result


def _entry(vector: Node, number: int) -> Node:
    return p.reshape(vector if not vector.shape else box(vector, 0, number, number + 1), ())


def _rolled(x: Node, axis: int, by: int) -> Node:
    dim = x.shape[axis]
    if dim is None:
        return undetermined(x, x.shape)
    cut = -by % dim
    return p.concatenate([box(x, axis, cut, dim), box(x, axis, 0, cut)], axis) if cut else x


def _rolled_by_data(x: Node, axis: int, by: Node) -> Node:
    """A box of the tensor laid twice side by side: every element is read from one of two places in memory, in order."""
    dim = x.shape[axis]
    if dim is None:
        return undetermined(x, x.shape)
    by = counting(by)
    zero, whole = p.constant(0, by.dtype), p.constant(dim, by.dtype)
    left = p.remainder(by, whole)  # of the sign of `by`
    start = p.select(p.compare(left, zero, "GT"), p.subtract(whole, left), p.negate(left))
    starts = [start if each == axis else zero for each in range(len(x.shape))]
    return p.dynamic_slice(p.concatenate([x, x], axis), starts, x.shape)


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """`input` moved by `shift` places along `axis` (numbers, or vectors of one size); what leaves at one end comes in at the other."""
    return declare_one(ROLL, {"input": input, "shift": shift, "axis": axis}, None, name, other={"shift": INDEX, "axis": INDEX})


# repeat ----------------------------------------------------------------------------------------------------------------------------------

@composite("Repeat")
def REPEAT(input: Node, repeats: Node, *, axis: int) -> Node:
    """Each slice along `axis` as often as `repeats` says: one number for all, or one for each."""
    at = normal_axis(axis, len(input.shape))
    dim = input.shape[at]
    shape = replaced(input.shape, at, None)
    if len(repeats.shape) > 1:
        raise ValueError(f"repeats must be a scalar or a vector, got shape {show_dims(repeats.shape)}")
    if repeats.shape in ((), (1,)):
        return _repeated(input, at, counted(p.reshape(repeats, ())))
    if not same_dims(repeats.shape, (dim,)):
        raise ValueError(f"repeats must have one number for each of the {dim} slices along axis {at}, got shape {show_dims(repeats.shape)}")
    if dim is None or repeats.shape[0] is None:
        return undetermined(input, shape)
    ends = p.cumulative_sum(p.maximum(counting(repeats), p.full(0, counting(repeats).type)), 0)
    count = counted(_entry(ends, dim - 1)) if dim else 0
    if count is None:
        return undetermined(input, shape)
    # A step up at the end of each slice's repetitions: their running sum is the number of the slice.
    steps = p.scatter_add(p.full(0, TensorType(dtypes.int32, (count,))), ends, p.full(1, TensorType(dtypes.int32, (dim,))), 0)
    return p.gather(input, p.cumulative_sum(steps, 0), at)


def _repeated(x: Node, axis: int, count: Dim) -> Node:
    dim = x.shape[axis]
    if count is None or dim is None:
        return undetermined(x, replaced(x.shape, axis, None))
    times = max(count, 0)
    spread: Dims = (*x.shape[:axis + 1], times, *x.shape[axis + 1:])
    kept = (*range(axis + 1), *range(axis + 2, len(spread)))
    return p.reshape(p.broadcast_in_dim(x, spread, kept), replaced(x.shape, axis, dim * times))


def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Tensor:
    """Each slice along `axis` as often as `repeats` says: one number for all, or one for each. Without an axis the elements, as a vector.
    A negative number is 0; ValueError where `repeats` does not fit."""
    with name_scope(name, "Repeat", [input, repeats]) as scope:
        data = as_tensor(input, None, "input")
        flat = reshape(data, [-1]) if axis is None else data
        return declare_one(REPEAT, {"input": flat, "repeats": repeats}, {"axis": 0 if axis is None else int(axis)}, scope,
                           other={"repeats": INDEX})


# sequence_mask, meshgrid, parallel_stack -------------------------------------------------------------------------------------------------

def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool, name: str | None = None) -> Tensor:
    """For each of `lengths` a row of `maxlen` (default: the greatest of them) that is true in its first elements."""
    with name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = as_tensor(lengths, None, "lengths")
        limit = maximum(reduce_max(lengths), 0) if maxlen is None else as_tensor(maxlen, None, "maxlen")
        if limit.rank not in (None, 0):
            raise ValueError("maxlen must be scalar for sequence_mask")
        row = range_(as_tensor(0, limit.dtype), limit, as_tensor(1, limit.dtype))
        result = less(row, cast(expand_dims(lengths, -1), limit.dtype))
        return result if dtype is None or as_dtype(dtype).is_bool else cast(result, dtype)


def meshgrid(*args: Any, **kwargs: Any) -> list[Tensor]:
    """For each vector of `args` a tensor with its values along an axis of its own, repeated along those of the others.

    indexing: "xy" (the default: the first two axes swapped) or "ij". ValueError for another one, TypeError for another keyword.
    """
    indexing, name = kwargs.pop("indexing", "xy"), kwargs.pop("name", "meshgrid")
    if kwargs:
        raise TypeError(f"'{next(iter(kwargs))}' is an invalid keyword argument for this function")
    if indexing not in ("xy", "ij"):
        raise ValueError("indexing parameter must be either 'xy' or 'ij'")
    with name_scope(name, "meshgrid", list(args)):
        vectors = [as_tensor(each) for each in args]
        places = list(range(len(vectors)))
        if indexing == "xy" and len(places) > 1:
            places[:2] = 1, 0
        spread = [reshape(each, [-1 if axis == place else 1 for axis in range(len(places))])
                  for place, each in zip(places, vectors, strict=True)]
        everywhere = ones([size(vectors[place]) for place in places], vectors[0].dtype)
        return [each * everywhere for each in spread]


@composite("ParallelConcat")
def PARALLEL_CONCAT(*values: Node) -> Node:
    """One after the other along the first axis."""
    return p.concatenate(values, 0) if len(values) > 1 else values[0]


def parallel_stack(values: Sequence[Any], name: str = "parallel_stack") -> Tensor:
    """`values`, of one shape, side by side along a new first axis. (TF1 needs their shapes known; here that does not matter.)"""
    with name_scope(name, "parallel_stack", list(values)):
        rows = [expand_dims(as_tensor(value), 0) for value in values]
        return declare_one(PARALLEL_CONCAT, {f"values_{n}": row for n, row in enumerate(rows)})
