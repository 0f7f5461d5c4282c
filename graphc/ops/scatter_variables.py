"""Rows of variables changed where they are: scatter_update and its kin, scatter_nd_*, batch_scatter_update, and sliced assignment.

Each is a scatter into the variable's value, written back. Where the old value is read by nothing later, the memory plan puts the result
over it: then only the rows named are touched. An index out of range is dropped; several updates of one place take effect in their order.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import Attrs, GraphType, OpDef, State, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, Dims, same_dims, show_dims
from graphc.ops.array import range_ as range_of
from graphc.ops.array import reshape, shape
from graphc.ops.checked import check_range
from graphc.ops.creation import ones_like
from graphc.ops.declare import INDEX, as_tensor, name_scope
from graphc.ops.gathering import gather_nd
from graphc.ops.joining import concat
from graphc.ops.positions import numbers
from graphc.ops.scatter import check_updates, scattered
from graphc.ops.slicing import STRIDED_SLICE

Update = Callable[[Node, Node, Node], Node]  # (value of the variable, indices, updates) -> its new value
Expected = Callable[[Dims, Dims, Dims], None]  # ValueError where the shapes of variable, indices and updates do not fit


def _updated_type(type_name: str, expected: Expected, inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    """The variable's type; TypeError where the updates have another element type or the indices are no integers, ValueError where shapes
    do not fit."""
    (dtype, dims), (index, where), (update, shape_of_updates) = inputs
    if update is not dtype:
        raise TypeError(f"Input 'updates' of '{type_name}' Op has type {update.name} that does not match type {dtype.name} of argument "
                        "'ref'.")
    if not index.is_integer:
        raise TypeError(f"Value passed to parameter 'indices' has DataType {index.name} not in list of allowed values: int32, int64")
    if dims is not None and where is not None and shape_of_updates is not None:
        expected(dims, where, shape_of_updates)
    return [(dtype, dims)]


def _operation(type_name: str, update: Update, expected: Expected) -> OpDef:
    def nodes(state: State, ref: Node, indices: Node, updates: Node) -> Node:
        value = state.read(state.variable)
        expected(value.shape, indices.shape, updates.shape)
        new = update(value, indices, updates)
        state.write(state.variable, new)
        return new
    return composite(type_name, stateful=True, infer_types=partial(_updated_type, type_name, expected))(nodes)


def _rows_expected(dims: Dims, indices: Dims, updates: Dims) -> None:
    if not dims:
        raise ValueError("the variable must have at least one axis")
    wanted = (*indices, *dims[1:])
    if updates != () and not same_dims(updates, wanted):
        raise ValueError(f"updates must be a scalar or have shape {show_dims(wanted)}: indices.shape + ref.shape[1:], got "
                         f"{show_dims(updates)}")


def _tuples_expected(dims: Dims, indices: Dims, updates: Dims) -> None:
    if not indices:
        raise ValueError("indices must have at least one axis, which holds the index tuples")
    if indices[-1] is not None:
        check_updates(dims, indices, updates, indices[-1])


def _rows(combine: str, change: Callable[[Node], Node] = lambda updates: updates) -> Update:
    """Rows combined at indices [k...]; a scalar update is the same for all of them."""
    def update(value: Node, indices: Node, updates: Node) -> Node:
        wanted = (*indices.shape, *value.shape[1:])
        check_range(indices, value.shape[0])
        spread = p.broadcast_in_dim(updates, wanted, () if updates.shape == () else range(len(wanted)))
        return p.scatter(value, indices, change(spread), 0, combine)
    return update


def _divided(value: Node, indices: Node, updates: Node) -> Node:
    """By the product of the divisors of each place."""
    return p.divide(value, _rows("multiply")(p.full(1, value.type), indices, updates))


def _tuples(combine: str, change: Callable[[Node], Node] = lambda updates: updates) -> Update:
    return lambda value, indices, updates: scattered(value, indices, change(updates), combine)


def _function(name: str, type_name: str, update: Update, doc: str, use_locking_default: bool = False) -> Callable[..., Tensor]:
    definition = _operation(type_name, update, _tuples_expected if "Nd" in type_name else _rows_expected)

    def function(ref: Any, indices: Any, updates: Any, use_locking: bool = use_locking_default, name: str | None = None) -> Tensor:
        return declare_update(definition, ref, {"indices": (indices, INDEX), "updates": (updates, None)}, name)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def declare_update(definition: OpDef, ref: Any, others: dict[str, tuple[Any, Any]], name: str | None) -> Tensor:
    """Adds an operation on the variable `ref` with other inputs (value, type of plain numbers; None: the variable's); TypeError where
    `ref` is no variable."""
    target = convert_to_tensor(ref, as_ref=True)
    if target.op.type != "VariableV2":
        raise TypeError(f"{definition.type} needs a Variable, not {ref!r}")
    graph = target.op.graph
    with graph.name_scope(name or definition.type) as scope:
        inputs = [as_tensor(value, (dtype or target.dtype) if not hasattr(value, "dtype") else None, argument)
                  for argument, (value, dtype) in others.items()]
        return graph.create_op(definition, (target, *inputs), {}, scope).outputs[0]


_ROWS = "of the variable `ref` at `indices` by `updates` (indices.shape + ref.shape[1:], or a scalar for all); gives the new value."
scatter_update = _function("scatter_update", "ScatterUpdate", _rows("assign"), f"Replaces the rows {_ROWS}", True)
scatter_add = _function("scatter_add", "ScatterAdd", _rows("add"), f"Increases the rows {_ROWS}")
scatter_sub = _function("scatter_sub", "ScatterSub", _rows("add", p.negate), f"Decreases the rows {_ROWS}")
scatter_mul = _function("scatter_mul", "ScatterMul", _rows("multiply"), f"Multiplies the rows {_ROWS}")
scatter_div = _function("scatter_div", "ScatterDiv", _divided, f"Divides the rows {_ROWS}")
scatter_min = _function("scatter_min", "ScatterMin", _rows("minimum"), f"Lowers to their minimum with them the rows {_ROWS}")
scatter_max = _function("scatter_max", "ScatterMax", _rows("maximum"), f"Raises to their maximum with them the rows {_ROWS}")

_TUPLES = "of the variable `ref` at the index tuples in the last axis of `indices` by `updates`; gives the new value."
scatter_nd_update = _function("scatter_nd_update", "ScatterNdUpdate", _tuples("assign"), f"Replaces the slices {_TUPLES}", True)
scatter_nd_add = _function("scatter_nd_add", "ScatterNdAdd", _tuples("add"), f"Increases the slices {_TUPLES}")
scatter_nd_sub = _function("scatter_nd_sub", "ScatterNdSub", _tuples("add", p.negate), f"Decreases the slices {_TUPLES}")


def batch_scatter_update(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Replaces ref[b, indices[b, i]] by updates[b, i] for every index b of the leading axes of `indices`; gives the new value."""
    with nullcontext() if name is None else name_scope(name):
        indices = as_tensor(indices, INDEX, "indices")
        if indices.rank is None:
            raise ValueError("batch_scatter_update needs indices of known rank")
        columns = [indices[..., None]]
        dims = shape(indices)
        for axis in range(indices.rank - 1):
            order = reshape(range_of(dims[axis]), [-1 if each == axis else 1 for each in range(indices.rank + 1)])
            columns.insert(axis, as_tensor(order, None) * ones_like(columns[-1]))
        return scatter_nd_update(ref, concat(columns, -1) if len(columns) > 1 else columns[0], updates)


# Sliced assignment -----------------------------------------------------------------------------------------------------------------------

def _assigned_type(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    (dtype, dims), (value, _) = inputs[0], inputs[-1]
    if value is not dtype:
        raise TypeError(f"Input 'value' of 'StridedSliceAssign' Op has type {value.name} that does not match type {dtype.name} of argument "
                        "'ref'.")
    return [(dtype, dims)]


@composite("StridedSliceAssign", stateful=True, infer_types=_assigned_type)
def STRIDED_SLICE_ASSIGN(state: State, ref: Node, begin: Node, end: Node, strides: Node, value: Node, *, begin_mask: int = 0,
                         end_mask: int = 0, ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0) -> Node:
    """The variable with `value` in the place of a slice of it: the slice of all positions says where each element goes."""
    old = state.read(state.variable)
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "ellipsis_mask": ellipsis_mask, "new_axis_mask": new_axis_mask,
             "shrink_axis_mask": shrink_axis_mask}
    places, = STRIDED_SLICE.nodes((numbers(old.dims, dtypes.int64), begin, end, strides), masks)
    if places.shape != value.shape:
        raise ValueError(f"sliced l-value shape {show_dims(places.shape)} does not match r-value shape {show_dims(value.shape)}. Automatic "
                         "broadcasting not yet implemented.")
    box = _box_of(places, old, static_dims(strides) or (), ellipsis_mask, new_axis_mask, shrink_axis_mask)
    if box is not None and places.type.size:
        first = p.reshape(p.slice_(p.reshape(places, (places.type.size,)), (0,), (1,)), ())
        corner = [p.remainder(p.divide(first, p.constant(below, first.dtype)), p.constant(dim, first.dtype))
                  for dim, below in zip(old.dims, (math.prod(old.dims[axis + 1:]) for axis in range(len(old.dims))), strict=True)]
        new = p.dynamic_update_slice(old, p.reshape(value, box), corner)
    else:
        new = p.reshape(p.scatter(p.reshape(old, (old.type.size,)), places, value, 0, "assign"), old.shape)
    state.write(state.variable, new)
    return new


def _box_of(places: Node, whole: Node, strides: Sequence[Dim], ellipsis: int, new_axes: int, shrunk: int) -> tuple[int, ...] | None:
    """The shape, one dim for each axis of `whole`, of the slice that gives `places`; None where it has strides and is no box."""
    consumed = sum(1 for n in range(len(strides)) if not (ellipsis | new_axes) >> n & 1)
    sizes: list[int] = []
    rest = list(places.dims)
    for n, stride in enumerate(strides):
        bit = 1 << n
        if ellipsis & bit:
            count = len(whole.dims) - consumed
            sizes, rest = [*sizes, *rest[:count]], rest[count:]
        elif new_axes & bit:
            rest.pop(0)
        elif shrunk & bit:
            sizes.append(1)
        elif stride == 1:
            sizes.append(rest.pop(0))
        else:
            return None
    return (*sizes, *rest)


def assign_slice(target: Tensor, value: Any, name: str | None = None) -> Tensor:
    """`value` in the place of the slice `target` = v[...] of a variable v; gives the variable's new value. ValueError for a slice of
    anything else."""
    of = target.op.inputs[0].op if target.op.type == "StridedSlice" else None
    ref = of.inputs[0] if of is not None and of.type == "Identity" else None
    if ref is None or ref.op.type != "VariableV2":
        raise ValueError("Sliced assignment is only supported for variables")
    graph = ref.op.graph
    with graph.name_scope(name or f"{target.op.name}/_assign/") as scope:
        given = as_tensor(value, None if isinstance(value, Tensor) else target.dtype, "value")
        return graph.create_op(STRIDED_SLICE_ASSIGN, (ref, *target.op.inputs[1:], given), target.op.attrs, scope).outputs[0]


def _assign_of(target: Tensor) -> Callable[..., Tensor]:
    """`tensor.assign`: only slices have it, so that `hasattr` tells."""
    if target.op.type != "StridedSlice":
        raise AttributeError("'Tensor' object has no attribute 'assign'")
    return partial(assign_slice, target)


Tensor.assign = property(_assign_of)  # installed as the operators are: Tensor stands below this room


class RowUpdates:
    """What variables have of these as methods. `sparse_delta` is an `IndexedSlices`: rows `values` at `indices`."""

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Replaces the rows that `sparse_delta` names; gives the new value."""
        return scatter_update(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Adds to the rows that `sparse_delta` names; gives the new value."""
        return scatter_add(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Subtracts from the rows that `sparse_delta` names; gives the new value."""
        return scatter_sub(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Multiplies the rows that `sparse_delta` names; gives the new value."""
        return scatter_mul(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Divides the rows that `sparse_delta` names; gives the new value."""
        return scatter_div(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Lowers the rows that `sparse_delta` names to their minimum with it; gives the new value."""
        return scatter_min(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Raises the rows that `sparse_delta` names to their maximum with it; gives the new value."""
        return scatter_max(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def batch_scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Replaces row indices[b, i] of each batch b; gives the new value."""
        return batch_scatter_update(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Replaces the slices at index tuples; gives the new value."""
        return scatter_nd_update(self, indices, updates, name=name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Adds to the slices at index tuples; gives the new value."""
        return scatter_nd_add(self, indices, updates, name=name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Subtracts from the slices at index tuples; gives the new value."""
        return scatter_nd_sub(self, indices, updates, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """The slices of the value at index tuples."""
        return gather_nd(self, indices, name)
