"""Functions of Python's that a run calls between its stages (`tf.py_func`): their arguments, their results, their errors."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.core.dtypes import as_dtype
from graphc.core.errors import (
    InvalidArgumentError,
    OpError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnimplementedError,
    UnknownError,
    explain,
)
from graphc.core.specialise import Call

Array = np.ndarray[Any, Any]
# What an error of Python's becomes, by TF1's rule; anything else is unknown.
_KINDS: dict[type[BaseException], type[OpError]] = {
    ValueError: InvalidArgumentError, TypeError: InvalidArgumentError, StopIteration: OutOfRangeError, MemoryError: ResourceExhaustedError,
    NotImplementedError: UnimplementedError}


def make_call(call: Call, arguments: Sequence[Array]) -> list[Array]:
    """What `call` gives for `arguments` (of rank 0: numpy's scalars). An error that the function raises becomes an OpError, with the
    operation and the user's line, and is its cause; InvalidArgumentError where it gives other values than were declared."""
    try:
        given = call.function(*[argument if argument.ndim else argument[()] for argument in arguments])
    except BaseException as error:  # the function is the user's: it may raise anything
        if isinstance(error, OpError) or not isinstance(error, Exception):
            raise
        kind = next((kind for python, kind in _KINDS.items() if isinstance(error, python)), UnknownError)
        raise kind(None, call.operation, explain(call.operation, f"{type(error).__name__}: {error}")) from error
    values = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    name = call.operation.name
    if len(values) != len(call.types):
        raise _wrong(call, f"{name} returns {len(values)} values, but expects to see {len(call.types)} values.")
    arrays = [np.require(np.asarray(value), requirements=["C", "A"]) for value in values]
    for number, (array, wanted) in enumerate(zip(arrays, call.types, strict=True)):
        if array.dtype != wanted.np_dtype:
            raise _wrong(call, f"{number}-th value returned by {name} is {_dtype_name(array)}, but expects {wanted.name}")
    # Equal dtypes need not be the same object, which machine code asks for.
    return [array if array.dtype is wanted.np_dtype else array.view(wanted.np_dtype)
            for array, wanted in zip(arrays, call.types, strict=True)]


def _wrong(call: Call, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, call.operation, explain(call.operation, problem))


def _dtype_name(array: Array) -> str:
    try:
        return as_dtype(array.dtype).name
    except TypeError:
        return str(array.dtype)
