"""Functions of the host that a plan calls between its kernels (`loops.Extern`): LAPACK through numpy, and the like. Beside `compile.py`.

    plan (machine code) --bufs--> callback (ctypes) --arrays over the plan's memory--> the primitive's reference --> its results, copied

The thread that runs the plan makes the call, never one of the pool's. No exception may cross the frames of machine code: the callback keeps
it and returns 1, the plan ends there, and what `HostCalls.guard` made of `run` raises it once the machine code has returned.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.core.interpret import evaluate
from graphc.core.program import Node
from graphc.core.types import TensorType

Array = np.ndarray[Any, Any]
Run = Callable[..., int | None]
Worded = Callable[[Node, ValueError], Exception]
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


class HostCalls:
    """What one linked plan calls of the host: `steps` by symbol, `addresses` to link against. Runs of one plan take turns."""

    def __init__(self, steps: Mapping[str, Node]) -> None:
        self._failed: tuple[Node, BaseException] | None = None
        self._functions = {symbol: _FUNCTION(self._callback(step)) for symbol, step in steps.items()}
        self.addresses = {symbol: int(ctypes.cast(function, ctypes.c_void_p).value or 0) for symbol, function in self._functions.items()}

    def guard(self, run: Run, worded: Worded) -> Run:
        """`run` (None or the position of an array that does not fit) that raises what went wrong on the host; ValueError, which is an error
        of the values, as `worded(step, error)`. Keeps the functions alive."""
        def guarded(*arrays: Any) -> int | None:
            refused = run(*arrays)
            if self._failed is not None:
                (step, error), self._failed = self._failed, None
                if isinstance(error, ValueError):
                    raise worded(step, error) from error
                raise error
            return refused
        return guarded if self._functions else run

    def _callback(self, step: Node) -> Callable[[int], int]:
        operands = tuple(dict.fromkeys(step.operands))
        places = [operands.index(operand) for operand in step.operands]
        taken, given = [operand.type for operand in operands], step.types
        pointers = ctypes.c_void_p * (len(taken) + len(given))

        def call(bufs: int) -> int:
            try:
                addresses = pointers.from_address(bufs)
                inputs = [_array(address, type_) for address, type_ in zip(addresses, taken, strict=False)]
                for array in inputs:
                    array.flags.writeable = False
                results = evaluate(step, [inputs[place] for place in places])
                outputs = map(_array, addresses[len(taken):], given)
                for output, result in zip(outputs, results if step.is_tuple else (results,), strict=True):
                    np.copyto(output, result, casting="no")
            except BaseException as error:  # raised again by `guarded`, on the other side of the machine code
                self._failed = step, error
                return 1
            return 0
        return call


def _array(address: int | None, type_: TensorType) -> Array:
    """The value of `type_` that lies at `address`."""
    dtype = type_.dtype.np_dtype
    if not address or not type_.size:
        return np.empty(type_.dims, dtype)
    memory: Any = (ctypes.c_char * type_.nbytes).from_address(address)
    return np.ndarray(type_.dims, dtype, memory)
