"""Feeds: which tensors a key of `feed_dict` means, and values of the right type and shape for them. The slow path of `Session.run`.

An ndarray of the right dtype, contiguous, is passed on as it is. Everything else is converted here, once a run; a conversion of an ndarray
is said once per tensor, because it costs a copy at every run.
"""
from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.core.components import CompositeTensor
from graphc.core.dtypes import bfloat16, float32, float64
from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor
from graphc.core.source import user_line
from graphc.core.types import show_dims
from graphc.runtime.arena import check_memory

Array = np.ndarray[Any, Any]
_WIDE, _FITS = (float32.np_dtype, float64.np_dtype), 1e38  # types that hold every Python float below without a word


class SlowFeedWarning(UserWarning):
    """A feed is copied or converted at every run."""


def feed_tensors(keys: Sequence[Any], graph: Graph) -> list[Tensor]:
    """The tensors that the keys of a feed_dict stand for, in order: each a tensor, variable or name, or a tuple of them.

    TypeError for what is no tensor of `graph`, ValueError for one that may not be fed or is fed twice.
    """
    tensors = [_feed_tensor(each, graph) for key in keys for each in _leaves(key)]
    if len(set(tensors)) < len(tensors):
        twice = next(t for t in tensors if tensors.count(t) > 1)
        raise ValueError(f"Tensor '{twice.name}' is fed twice in one feed_dict.\n  declared at {twice.op.source_line.describe()}")
    return tensors


def is_structure(key: Any) -> bool:
    """Whether a key of a feed_dict stands for several tensors."""
    return isinstance(key, tuple | CompositeTensor)


def spread(key: Any, value: Any) -> Iterator[Any]:
    """The value for each tensor of `key`, which `value` must have the structure of; ValueError otherwise."""
    if isinstance(key, CompositeTensor):
        if isinstance(value, list | tuple) and len(value) == len(key.components):  # parts that are constants of the graph may be left out
            value = [each for part, each in zip(key.components, value, strict=True) if part in key.fed]
        key = key.fed
    if not isinstance(key, tuple):
        yield value
        return
    if not isinstance(value, list | tuple) or len(value) != len(key):
        given = f"{len(value)} values" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
        raise ValueError(f"Cannot feed {given} for a tuple of {len(key)} tensors: {', '.join(str(each) for each in _leaves(key))}")
    for inner, each in zip(key, value, strict=True):
        yield from spread(inner, each)


def _leaves(key: Any) -> Iterator[Any]:
    if isinstance(key, CompositeTensor):
        yield from key.fed
    elif isinstance(key, tuple):
        for each in key:
            yield from _leaves(each)
    else:
        yield key


def _feed_tensor(key: Any, graph: Graph) -> Tensor:
    try:
        tensor = graph.as_graph_element(key, allow_tensor=True, allow_operation=False)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error.args[0]}") from None
    assert isinstance(tensor, Tensor)
    if not graph.is_feedable(tensor):
        raise ValueError(f"Tensor {tensor} may not be fed.\n  declared at {tensor.op.source_line.describe()}")
    return tensor


def feed_array(tensor: Tensor, value: Any, warned: set[Tensor]) -> Array:
    """`value` as an array that machine code takes: an exact ndarray of the tensor's own dtype object, C-contiguous, aligned.

    TypeError for a value of another kind or one that the dtype cannot hold, ValueError for a shape that does not fit,
    ResourceExhaustedError where a copy would not fit into memory.
    """
    target = tensor.dtype.np_dtype
    if type(value) is np.ndarray and value.dtype is target:
        ready = value
    elif type(value) is float and target in _WIDE and abs(value) < _FITS:
        ready = np.array(value, target)
    else:
        ready = _converted(tensor, value)
    check_shape(tensor, ready.shape)
    flags = ready.flags
    if not (flags.c_contiguous and flags.aligned):
        check_memory(ready.nbytes, f"a copy of the feed of '{tensor.name}'")
        ready = np.require(ready, requirements=["C", "A"])
    if ready is not value and isinstance(value, np.ndarray) and value.size > 1 and tensor not in warned:
        warned.add(tensor)
        _warn_slow(tensor, value, ready)
    # Equal dtypes need not be the same object: those of unpickled arrays are not.
    return ready if ready.dtype is target else ready.view(target)


def check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """ValueError where `shape` contradicts what is known of the tensor's."""
    declared = tensor.shape_tuple
    if declared is None or declared == shape:
        return
    if len(declared) != len(shape) or any(d not in (None, s) for d, s in zip(declared, shape, strict=True)):
        raise ValueError(f"Cannot feed value of shape {shape} for Tensor '{tensor.name}', which has shape '{show_dims(declared)}'\n"
                         f"  declared at {tensor.op.source_line.describe()}")


def _warn_slow(tensor: Tensor, value: Array, ready: Array) -> None:
    if np.may_share_memory(value, ready):
        return  # the same elements under another type, such as a subclass of ndarray
    reason = f"converted from {value.dtype}" if value.dtype != ready.dtype else "copied into a contiguous array"
    line = user_line()
    warnings.warn_explicit(f"graphc: the feed of '{tensor.name}' is {reason} at every run; feed a contiguous {tensor.dtype.name} array to "
                           "avoid that", SlowFeedWarning, line.path or "<unknown>", line.line)


def _converted(tensor: Tensor, value: Any) -> Array:
    """`value` in the tensor's dtype. Floats may narrow, as in TF1; a change of kind must keep every value."""
    if isinstance(value, Tensor | Operation) or hasattr(value, "_as_graph_element"):
        raise TypeError("The value of a feed cannot be a graphc.Tensor object. Acceptable feed values include Python scalars, lists and "
                        f"numpy ndarrays. For reference, the tensor object was {value} which was passed to the feed with key {tensor}.")
    target = tensor.dtype.np_dtype
    try:
        given = np.asarray(value)
    except ValueError:
        raise ValueError(_refused(tensor, value, "its lists are ragged: rows differ in length")) from None
    if given.dtype == target:
        return given
    if given.dtype.kind not in ("biufc" if tensor.dtype.is_complex else "biuf") and given.dtype != bfloat16.np_dtype:
        raise TypeError(_refused(tensor, value, f"its elements must be numbers or bools, not {given.dtype}"))
    check_memory(given.size * target.itemsize, f"a copy of the feed of '{tensor.name}'")
    with np.errstate(all="ignore"):
        array = given.astype(target)
        exact = tensor.dtype.is_inexact or bool(np.array_equal(array.astype(given.dtype), given))
    if not exact:
        raise TypeError(_refused(tensor, value, f"values of type {given.dtype} would change"))
    return array


def _refused(tensor: Tensor, value: Any, rule: str) -> str:
    text = repr(value).replace("\n", "")
    shown = text if len(text) <= 60 else text[:57] + "..."
    return (f"Cannot feed {shown} for Tensor '{tensor.name}' of type {tensor.dtype.name}: {rule}\n"
            f"  declared at {tensor.op.source_line.describe()}")
