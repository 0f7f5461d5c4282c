"""Assertions about what tensors are: ranks, shapes, types; known when the graph is declared, or else a check of the run.

Where the declaration settles it, a wrong one raises there, and a right one is an operation that does nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.leaves import group, no_op
from graphc.core.operation import Operation, Tensor
from graphc.core.types import show_dims
from graphc.ops.array import rank as rank_of
from graphc.ops.array import shape as shape_of
from graphc.ops.asserts import Assert, static_value
from graphc.ops.choosing import where
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import equal, greater_equal, logical_or

# Ranks -----------------------------------------------------------------------------------------------------------------------------------

def _ranked(x: Tensor, ranks: Sequence[Any], fits: Callable[[int, Sequence[int]], bool],
            condition: Callable[[Tensor, Sequence[Tensor]], Tensor], words: str, data: Any, summarize: int | None,
            message: str | None) -> Operation:
    """The rank of `x` compared with `ranks`; words: "must have rank"."""
    wanted = [as_tensor(each, name="rank") for each in ranks]
    for each in wanted:
        if each.dtype is not dtypes.int32:
            raise TypeError(f"{message or ''}  {each.name} must be of type {dtypes.int32.name}")
    known = [static_value(each) for each in wanted]
    if any(each.rank not in (0, None) for each in wanted):
        raise ValueError("Rank must be a scalar.")
    if x.rank is not None and all(each is not None for each in known):
        numbers = [int(each) for each in known if each is not None]
        if fits(x.rank, numbers):
            return no_op("static_checks_determined_all_ok")
        shown = numbers[0] if words != "must have rank in" else tuple(numbers)
        raise ValueError(f"{message or ''}.  Tensor {x.name} {words} {shown}.  Received rank {x.rank}, shape {show_dims(x.shape_tuple)}")
    if data is None:
        data = [message or "", f"Tensor {x.name} {words}", *wanted, "Received shape: ", shape_of(x)]
    return Assert(condition(rank_of(x), wanted), data, summarize=summarize)


def assert_rank(x: Any, rank: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                name: str | None = None) -> Operation:
    """An operation that fails unless `x` is of rank `rank`; ValueError now where that is known to be wrong."""
    with name_scope(name, "assert_rank", [x, rank, *(data or [])]):
        return _ranked(as_tensor(x, name="x"), [rank], lambda found, given: found == given[0],
                       lambda found, given: equal(found, given[0]), "must have rank", data, summarize, message)


def assert_rank_at_least(x: Any, rank: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                         name: str | None = None) -> Operation:
    """An operation that fails unless `x` is of rank `rank` or more; ValueError now where that is known to be wrong."""
    with name_scope(name, "assert_rank_at_least", [x, rank, *(data or [])]):
        return _ranked(as_tensor(x, name="x"), [rank], lambda found, given: found >= given[0],
                       lambda found, given: greater_equal(found, given[0]), "must have rank at least", data, summarize, message)


def assert_rank_in(x: Any, ranks: Sequence[Any], data: Any = None, summarize: int | None = None, message: str | None = None,
                   name: str | None = None) -> Operation:
    """An operation that fails unless the rank of `x` is among `ranks`; ValueError now where that is known to be wrong."""
    def any_of(found: Tensor, given: Sequence[Tensor]) -> Tensor:
        result = equal(found, given[0])
        for each in given[1:]:
            result = logical_or(result, equal(found, each))
        return result

    with name_scope(name, "assert_rank_in", [x, *ranks, *(data or [])]):
        return _ranked(as_tensor(x, name="x"), ranks, lambda found, given: found in given, any_of, "must have rank in", data, summarize,
                       message)


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """`tensor`, which must be known to be a scalar; ValueError otherwise."""
    with name_scope(name, "assert_scalar", [tensor]):
        found = as_tensor(tensor)
        if found.rank != 0:
            shown = "<unknown>" if found.shape_tuple is None else show_dims(found.shape_tuple)
            raise ValueError(f"{message or ''}Expected scalar shape for {found.name}, saw shape: {shown}.")
        return found


# Shapes ----------------------------------------------------------------------------------------------------------------------------------

def assert_shapes(shapes: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
                  name: str | None = None) -> Operation:
    """An operation that fails unless the shapes of tensors are what `shapes` says: pairs (or a dict) of a tensor and a sequence with a
    number or symbol for each dim.

    Dims with one symbol must be equal wherever it stands. None and "." stand for any size; "..." (Ellipsis) or "*" as the first entry for
    any dims. A scalar counts as a vector of one element. ValueError now for what is known to be wrong.
    """
    pairs = list(shapes.items() if isinstance(shapes, dict) else shapes)
    with name_scope(name, "assert_shapes", [tensor for tensor, _ in pairs]):
        assertions: list[Operation] = []
        first_seen: dict[Any, tuple[Any, str]] = {}  # symbol -> size, who said so
        for given, wanted in pairs:
            if wanted is None:
                continue
            tensor, (leading_free, symbols) = as_tensor(given), _symbols(given, wanted, message)
            assertions += _rank_assertions(tensor, leading_free, len(symbols), data, summarize, message)
            for position, symbol in enumerate(symbols or (1,)):
                axis = position - len(symbols) if leading_free else position
                if symbol in (None, "."):
                    continue
                actual = _size(tensor, axis)
                if not _is_number(symbol) and symbol not in first_seen:
                    first_seen[symbol] = actual, f"Specified by tensor {tensor.name} dimension {axis}"
                    continue
                size, source = (int(symbol), "Specified explicitly") if _is_number(symbol) else first_seen[symbol]
                assertions += _size_assertion(tensor, axis, actual, size, source, data, summarize, message)
        return group(*assertions)


def _symbols(tensor: Any, wanted: Any, message: str | None) -> tuple[bool, tuple[Any, ...]]:
    """Whether any dims may stand before, and the symbols of the dims that are said."""
    if not hasattr(wanted, "__iter__"):
        raise ValueError(f"{message or ''}.  Tensor {as_tensor(tensor).name}.  Specified shape must be an iterable.  An iterable has the "
                         f"attribute `__iter__` or `__getitem__`.  Received specified shape: {wanted}")
    symbols = tuple(wanted)
    for position, symbol in enumerate(symbols):
        if position and (symbol is Ellipsis or symbol == "*"):
            raise ValueError(f"{message or ''}.  Tensor {as_tensor(tensor).name} specified shape index {position}.  Symbol `...` or `*` "
                             "for a variable number of unspecified dimensions is only allowed as the first entry")
    is_free = bool(symbols) and (symbols[0] is Ellipsis or symbols[0] == "*")
    return is_free, symbols[1:] if is_free else symbols


def _rank_assertions(tensor: Tensor, leading_free: bool, count: int, data: Any, summarize: int | None,
                     message: str | None) -> list[Operation]:
    options = {"data": data, "summarize": summarize, "message": message}
    if leading_free:
        return [assert_rank_at_least(tensor, count, **options)] if count > 1 else []
    return [assert_rank_in(tensor, [0, 1], **options) if count <= 1 else assert_rank(tensor, count, **options)]


def _is_number(symbol: Any) -> bool:
    return isinstance(symbol, int | np.integer) or (isinstance(symbol, str) and symbol.isdecimal())


def _size(tensor: Tensor, axis: int) -> Any:
    """The size of `tensor` along `axis`: an int where it is known, else a tensor. A scalar is a vector of one."""
    dims = tensor.shape_tuple
    if dims is None:
        sizes = shape_of(tensor)
        return where(equal(rank_of(tensor), 0), 1, sizes[axis]) if axis in (0, -1) else sizes[axis]
    if not dims:
        return 1
    return dims[axis] if dims[axis] is not None else shape_of(tensor)[axis]


def _size_assertion(tensor: Tensor, axis: int, actual: Any, size: Any, source: str, data: Any, summarize: int | None,
                    message: str | None) -> list[Operation]:
    if isinstance(actual, int) and isinstance(size, int):
        if actual != size:
            raise ValueError(f"{message or ''}.  {source}.  Tensor {tensor.name} dimension {axis} must have size {size}.  Received size "
                             f"{actual}, shape {show_dims(tensor.shape_tuple)}")
        return []
    if data is None:
        data = [message or "", source, f"Tensor {tensor.name} dimension", axis, "must have size", size, "Received shape: ",
                shape_of(tensor)]
    return [Assert(equal(actual, size), data, summarize=summarize)]


# Types -----------------------------------------------------------------------------------------------------------------------------------

def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing; TypeError now where `tensor` is not of type `tf_type`."""
    wanted = as_dtype(tf_type)
    with name_scope(name, "assert_type", [tensor]):
        found = as_tensor(tensor, name="tensor")
        if found.dtype is not wanted:
            raise TypeError(f"{message or ''}  {found.name} must be of type {wanted.name}")
        return no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing; TypeError now where `x` is not of an integer type."""
    with name_scope(name, "assert_integer", [x]):
        found = as_tensor(x, name="x")
        if not found.dtype.is_integer:
            raise TypeError(f'{message or ""}  Expected "x" to be integer type.  Found: {found.name} of dtype {found.dtype.name}')
        return no_op("statically_determined_was_integer")


def assert_proper_iterable(values: Any) -> None:
    """TypeError where `values` is no iterable, or one by accident: a string, an array, a tensor."""
    if isinstance(values, Tensor | np.ndarray | str | bytes) or hasattr(values, "_as_graph_element"):
        raise TypeError(f'Expected argument "values" to be a "proper" iterable.  Found: {type(values)}')
    if not hasattr(values, "__iter__"):
        raise TypeError(f'Expected argument "values" to be iterable.  Found: {type(values)}')


def assert_same_float_dtype(tensors: Sequence[Any] | None = None, dtype: Any = None) -> DType:
    """The floating type that all `tensors` (those among them that are not None) have; it must be `dtype` where that is given. float32
    where neither says. ValueError where they differ or are not floating."""
    wanted = None if dtype is None else as_dtype(dtype)
    source = ""
    for tensor in tensors or ():
        if tensor is None:
            continue
        if wanted is None:
            wanted, source = tensor.dtype, f" as {tensor.name}"
        elif tensor.dtype is not wanted:
            raise ValueError(f"{tensor.name}, type={tensor.dtype.name}, must be of the same type ({wanted.name}){source}.")
    wanted = wanted or dtypes.float32
    if not wanted.is_floating:
        raise ValueError(f"Expected floating point type, got {wanted.name}.")
    return wanted
