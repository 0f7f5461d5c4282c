"""What a sample of a composite is: a public function, operands, and what numpy or scipy expects of it.

Data, not tests: `composite_table.py` collects the samples of the files `composite_*.py`.
"""
from __future__ import annotations

import operator
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.types import TensorType
from tests.op_table import Sampler, wide

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]
SMALL_FLOATS = (dtypes.float16, dtypes.bfloat16)


@dataclass(frozen=True)
class Case:
    """One sample of the public function `gc.<subject>`.

    build: placeholders -> tensor or list of tensors. arrays: their values. expected: arrays -> array or list of arrays; floating ones
    come to it as float64. dtype: of the results; by default that of the first array (bool where the expectation is). depth: terms summed
    into an element. slopes: up to which order finite differences hold at these values. known: what must be known when the graph is
    declared: "" nothing, "rank" or "shape".
    """

    subject: str
    label: str
    build: Function
    arrays: tuple[Array, ...]
    expected: Function
    dtype: DType | None = None
    depth: int = 1
    scale: float = 1.0
    slopes: int = 0
    known: str = ""

    @property
    def id(self) -> str:
        return f"{self.subject}-{self.label}"

    def want(self) -> list[Array]:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            found = self.expected(*(wide(a) for a in self.arrays))
        return [np.asarray(each) for each in found] if isinstance(found, list | tuple) else [np.asarray(found)]

    def dtype_of(self, want: Array) -> DType:
        return self.dtype or dtypes.as_dtype(want.dtype if want.dtype == bool else self.arrays[0].dtype)


def public(subject: str) -> Function:
    """The function that users write as `gc.<subject>`."""
    found: Function = operator.attrgetter(subject)(gc)
    return found


def sample(key: str, sampler: Sampler, dtype: DType, *shape: int) -> Array:
    """The same array at every call with one `key`; for every third key the elements do not lie side by side."""
    seed = zlib.crc32(key.encode())
    array = sampler(np.random.default_rng(seed), TensorType(dtype, shape))
    return _scattered(array) if seed % 3 == 0 and array.size > 1 else array


def _scattered(array: Array) -> Array:
    """Equal values, every second element of a larger array, the first axis innermost."""
    room = np.zeros([2 * dim for dim in array.shape], array.dtype, order="F")
    view = room[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def name_of(dtype: DType, *shapes: Sequence[int]) -> str:
    return "-".join([dtype.code, *("x".join(map(str, shape)) or "scalar" for shape in shapes)])
