"""From Python values to tensors: what every public function does with its arguments, by TF1's rules.

Tensors never change their dtype by themselves. A Python number or list takes the dtype asked for where the rule of its kind allows it (an
int may become a float, a float never an int), a numpy array is cast to it. `register_tensor_conversion_function` adds types: variables,
and lists that hold tensors.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.leaves import const_op
from graphc.core.operation import Tensor
from graphc.core.shapes import Dimension, TensorShape, as_dims
from graphc.core.types import show_dims

LARGEST = 1 << 31  # bytes of a constant that a shape blows up; TF1's limit
# (value, dtype, name, as_ref) -> Tensor, or NotImplemented to let the next one try
Conversion = Callable[[Any, DType | None, str | None, bool], Any]
_conversions: dict[int, list[tuple[tuple[type, ...], Conversion]]] = {}


def register_tensor_conversion_function(base_type: type | tuple[type, ...], conversion_func: Conversion, priority: int = 100) -> None:
    """Lets `convert_to_tensor` take values of `base_type`. Lower priorities are asked first; among equals the earliest registered."""
    types = base_type if isinstance(base_type, tuple) else (base_type,)
    if not all(isinstance(each, type) for each in types):
        raise TypeError("base_type must be a type or a tuple of types.")
    _conversions.setdefault(priority, []).append((types, conversion_func))


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None, dtype_hint: Any = None, *,
                      as_ref: bool = False) -> Tensor:
    """A tensor of the default graph that holds `value`: a Tensor as it is, a variable's value, a constant for numbers, lists and arrays.

    dtype: must be met, else ValueError for a tensor and TypeError for a value. preferred_dtype (dtype_hint): used where `value` allows it.
    as_ref: for a variable its "VariableV2" tensor instead of a read.
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(value, Tensor):
        if wanted is not None and value.dtype is not wanted:
            raise ValueError(f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype {value.dtype.name}: {value!r}")
        return value
    hint = preferred_dtype if preferred_dtype is not None else dtype_hint
    if wanted is None and hint is not None:
        try:
            return _converted(value, dtypes.as_dtype(hint), name, as_ref)
        except (TypeError, ValueError):
            pass  # a preference only
    return _converted(value, wanted, name, as_ref)


def _converted(value: Any, dtype: DType | None, name: str | None, as_ref: bool) -> Tensor:
    if type(value) in (float, int, bool):  # nothing else can be registered for these
        return const_op(get_default_graph(), as_array(value, dtype), name)
    for priority in sorted(_conversions):
        for types, function in _conversions[priority]:
            if isinstance(value, types):
                result = function(value, dtype, name, as_ref)
                if result is NotImplemented:
                    continue
                if not isinstance(result, Tensor) or (dtype is not None and result.dtype is not dtype):
                    raise RuntimeError(f"the conversion function of {type(value).__name__} gave {result!r}, not a tensor of {dtype}")
                return result
    return const_op(get_default_graph(), as_array(value, dtype), name)


def convert_n_to_tensor(values: Sequence[Any], dtype: Any = None, name: str | None = None, preferred_dtype: Any = None) -> list[Tensor]:
    """`convert_to_tensor` of each; names get "_0", "_1"..."""
    if not isinstance(values, Sequence):
        raise TypeError("values must be a sequence.")
    return [convert_to_tensor(v, dtype, None if name is None else f"{name}_{n}", preferred_dtype) for n, v in enumerate(values)]


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False) -> Tensor:
    """A constant tensor. A shape with more elements than `value` repeats its last one; one with fewer is a ValueError."""
    array = as_array(value, None if dtype is None else dtypes.as_dtype(dtype))
    return const_op(get_default_graph(), array if shape is None else _shaped(array, shape, verify_shape), name)


def _shaped(array: np.ndarray[Any, Any], shape: Any, verify: bool) -> np.ndarray[Any, Any]:
    dims = as_dims(shape)
    if dims is None or None in dims:
        raise ValueError(f"a constant's shape must be fully defined, not {TensorShape(dims)}")
    known = tuple(d for d in dims if d is not None)
    if verify and array.shape != known:
        raise TypeError(f"Expected Tensor's shape: {known}, got {array.shape}.")
    count = math.prod(known)
    if count * array.dtype.itemsize > LARGEST:
        raise ValueError(f"Cannot create a constant whose content is larger than 2GB: {show_dims(known)} of {array.dtype}. "
                         "Use fill, which computes it when the graph runs.")
    if array.ndim == 0:
        return np.full(known, array)
    if array.size > count:
        raise ValueError(f"Too many elements provided. Needed at most {count}, but received {array.size}")
    if array.size == 0 < count:
        raise ValueError(f"no element to fill shape {known} with")
    flat = array.reshape(-1)
    return np.concatenate([flat, np.repeat(flat[-1:], count - flat.size)]).reshape(known)


def as_array(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """`value` as a numpy array of `dtype`, or of the type TF1 gives it: int32 (int64 where it must), float32, bool; numpy keeps its own.

    Raises TypeError for a value that the dtype cannot hold by its kind, or that is no number; ValueError for ragged lists, None, and
    integers out of range.
    """
    if value is None:
        raise ValueError("None values not supported.")
    if isinstance(value, TensorShape):
        return _shape_array(value, dtype)
    if isinstance(value, Dimension):
        value = int(value)
    if isinstance(value, np.ndarray | np.generic):
        return _numeric(np.asarray(value), value, dtype)
    _check_elements(value, dtype)
    try:
        array = np.array(value)
    except ValueError as error:
        raise ValueError(f"Argument must be a dense tensor: {_shortened(value)} - {error}") from None
    except TypeError as error:
        raise TypeError(f"Failed to convert object of type {type(value)} to Tensor. {error}") from None
    if array.dtype == object:
        raise TypeError(_not_a_number(value))
    if dtype is None:
        return _numeric(_default_type(array, value), value, None)
    if dtype.is_integer and array.size:
        low, high = int(array.min()), int(array.max())
        if low < int(dtype.min) or high > int(dtype.max):
            raise ValueError(f"{low if low < int(dtype.min) else high} is out of the range of {dtype.name}")
    return _numeric(array, value, dtype)


def _shape_array(shape: TensorShape, dtype: DType | None) -> np.ndarray[Any, Any]:
    if not shape.is_fully_defined():
        raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {shape}")
    if dtype not in (None, dtypes.int32, dtypes.int64):
        raise TypeError(f"Cannot convert a TensorShape to dtype: {dtype!r}")
    dims = shape.as_list()
    large = any(d is not None and d > dtypes.int32.max for d in dims)
    return np.array(dims, dtype=(dtype or (dtypes.int64 if large else dtypes.int32)).np_dtype)


def _default_type(array: np.ndarray[Any, Any], value: Any) -> np.ndarray[Any, Any]:
    """Python numbers become float32 and int32 (where all fit); numpy elements of a list keep their type."""
    if _numpy_leaf(value):
        return array
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if array.dtype == np.int64 and (not array.size or (array.min() >= -2**31 and array.max() < 2**31)):
        return array.astype(np.int32)
    return array


def _numpy_leaf(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, np.generic | np.ndarray)


def _numeric(array: np.ndarray[Any, Any], value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    """`array` cast to `dtype`; TypeError where it does not hold numbers of a type that graphc has."""
    if array.dtype.kind in "OSUVMm" and array.dtype != dtypes.bfloat16.np_dtype:
        raise TypeError(_not_a_number(value))
    if dtype is None:
        dtypes.as_dtype(array.dtype)
    if dtype is None or array.dtype == dtype.np_dtype:
        return array
    if array.dtype.kind == "c" and not dtype.is_complex:
        raise TypeError(f"Expected {dtype.name}, got {_shortened(value)} of type '{array.dtype.name}' instead.")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype.np_dtype)


def _check_elements(value: Any, dtype: DType | None) -> None:
    """TypeError for the first Python number in nested lists that `dtype` cannot hold by its kind."""
    if dtype is None:
        return
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, list | tuple):
            stack.extend(reversed(each))
            continue
        allowed: tuple[type, ...] = (bool, np.bool_) if dtype.is_bool else (bool, int, np.integer, np.bool_)
        if dtype.is_inexact:
            allowed = (*allowed, float, np.floating)
        if dtype.is_complex:
            allowed = (*allowed, complex, np.complexfloating)
        if not isinstance(each, (*allowed, np.ndarray, Dimension)) and not (isinstance(each, np.generic) and dtype.is_floating):
            raise TypeError(f"Expected {dtype.name}, got {_shortened(each)} of type '{type(each).__name__}' instead.")


def _not_a_number(value: Any) -> str:
    return (f"Failed to convert object of type {type(value)} to Tensor. Contents: {_shortened(value)}. "
            "Consider casting elements to a supported type.")


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
