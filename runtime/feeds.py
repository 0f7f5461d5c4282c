"""Feeds: which tensor a key of `feed_dict` means, and a value of the right type and shape for it. The slow path of `Session.run`.

An ndarray of the right dtype, contiguous, is passed on as it is. Everything else is converted here, once a run; a conversion of an ndarray
is said once per tensor, because it costs a copy at every run.
"""
from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor
from graphc.core.types import show_dims

Array = np.ndarray[Any, Any]


class SlowFeedWarning(UserWarning):
    """A feed is copied or converted at every run."""


def feed_tensor(key: Any, graph: Graph) -> Tensor:
    """The tensor that `key` (a tensor, variable or name) feeds; TypeError or ValueError where it cannot be fed."""
    try:
        tensor = graph.as_graph_element(key, allow_tensor=True, allow_operation=False)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error.args[0]}") from None
    if isinstance(tensor, Operation) or not graph.is_feedable(tensor):
        raise ValueError(f"Tensor {tensor} may not be fed.")
    return tensor


def feed_array(tensor: Tensor, value: Any, warned: set[Tensor]) -> Array:
    """`value` as a C-contiguous, aligned ndarray of the tensor's dtype and a shape that fits; TypeError or ValueError otherwise."""
    if isinstance(value, Tensor | Operation):
        raise TypeError("The value of a feed cannot be a graphc.Tensor object. Acceptable feed values include Python scalars, strings, lists, "
                        f"numpy ndarrays. For reference, the tensor object was {value} which was passed to the feed with key {tensor}.")
    array = _converted(tensor, value)
    declared = tensor.shape_tuple
    if declared is not None and (len(declared) != array.ndim or any(d not in (None, s) for d, s in zip(declared, array.shape, strict=True))):
        raise ValueError(f"Cannot feed value of shape {array.shape} for Tensor '{tensor.name}', which has shape '{show_dims(declared)}'\n"
                         f"  declared at {tensor.op.source_line.describe()}")
    ready = np.require(array, requirements=["C", "A"])
    if isinstance(value, np.ndarray) and ready is not value and value.size > 1 and tensor not in warned:
        warned.add(tensor)
        reason = f"converted from {value.dtype}" if value.dtype != array.dtype else "copied into a contiguous array"
        warnings.warn(f"graphc: the feed of '{tensor.name}' is {reason} at every run; feed a contiguous {tensor.dtype.name} array to avoid that",
                      SlowFeedWarning, stacklevel=4)
    return ready


def _converted(tensor: Tensor, value: Any) -> Array:
    """`value` in the tensor's dtype. Floats may narrow, as in TF1; a change of kind must keep every value."""
    target = tensor.dtype.np_dtype
    where = f"Tensor '{tensor.name}' of type {tensor.dtype.name}"
    try:
        given = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"Cannot feed a ragged or unreadable value for {where}: {error}") from None
    if given.dtype == target:
        return np.asarray(given)
    if given.dtype.kind in "OSUMmc":
        raise TypeError(f"Cannot feed a value of type {given.dtype} for {where}: its elements must be numbers or bools")
    with np.errstate(all="ignore"):
        array = given.astype(target)
        exact = tensor.dtype.is_floating or bool(np.array_equal(array.astype(given.dtype), given))
    if not exact:
        raise TypeError(f"Type of feed value {_shown(given)} with type {given.dtype} is not compatible with {where}: values would change")
    return array


def _shown(array: Array) -> str:
    text = np.array2string(array, threshold=6, edgeitems=2, separator=", ").replace("\n", "")
    return text if len(text) <= 60 else text[:57] + "..."
