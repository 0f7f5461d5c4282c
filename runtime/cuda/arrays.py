"""Feeds that are on a device already: arrays of other libraries, known by `__cuda_array_interface__` (pycuda's GPUArray, torch, cupy, jax).

`feeds.py` asks `device_array` first where a session runs on a GPU; one on the CPU refuses such a feed by the same function. They are copied
on the device when a run begins, after what their maker's stream was doing; a maker that names no stream works on the default stream.
"""
from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from graphc.core.dtypes import bfloat16
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.operation import Tensor
from graphc.core.types import TensorType
from graphc.runtime.cuda import driver
from graphc.runtime.cuda.device import device
from graphc.runtime.feeds import check_shape

Array = np.ndarray[Any, Any]
_DEFAULT_STREAM = 0


class DeviceArray:
    """A contiguous array on GPU number `ordinal`. Quacks like the ndarray that feeds usually are: shape, dtype, tobytes, `np.asarray`."""

    def __init__(self, source: Any, type_: TensorType, address: int, ordinal: int) -> None:
        self.shape = type_.dims
        self.dtype = type_.dtype.np_dtype
        self.nbytes = type_.nbytes
        self.ordinal = ordinal
        self.__cuda_array_interface__ = source.__cuda_array_interface__
        self._address = address
        self._source = source  # whose memory it is

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = np.empty(self.shape, self.dtype)
        with device(self.ordinal).current as here:
            here.download(self._address, array)
        return array if dtype is None else array.astype(dtype)

    def tobytes(self) -> bytes:
        return np.asarray(self).tobytes()


def device_array(tensor: Tensor, value: Any, ordinal: int | None) -> DeviceArray | None:
    """`value` as a feed of `tensor` for a session on GPU number `ordinal`; None where it is not on a device.

    TypeError for another element type or a layout with gaps, ValueError for a shape that does not fit, InvalidArgumentError for an array on
    another device than the session's (`ordinal` is None for the CPU).
    """
    interface = _interface(value)
    if interface is None:
        return None
    address, shape = interface["data"][0], tuple(interface["shape"])
    here = "/cpu:0" if ordinal is None else f"/gpu:{ordinal}"
    with nullcontext() if ordinal is None else device(ordinal).current:
        there = driver.device_of(address) if address else ordinal
    if ordinal is None or there != ordinal:
        place = "a GPU" if there is None else f"/gpu:{there}"
        problem = f"The feed of '{tensor.name}' is an array on {place}, and the session runs on {here}: copy it to {here}, or to the host."
        raise InvalidArgumentError(None, tensor.op, explain(tensor.op, problem))
    check_shape(tensor, shape)
    type_ = TensorType(tensor.dtype, shape)
    with device(ordinal).current:
        usable = address_of(value, type_, ordinal) is not None
    if not usable:
        raise TypeError(f"Cannot feed an array of type {interface['typestr']} and strides {interface.get('strides')} on {here} for Tensor "
                        f"'{tensor.name}' of type {tensor.dtype.name}: on a device it must have the tensor's type, and be contiguous.\n"
                        f"  declared at {tensor.op.source_line.describe()}")
    return DeviceArray(value, type_, address, ordinal)


def address_of(value: Any, type_: TensorType, ordinal: int) -> int | None:
    """The address of `value`, a contiguous array of `type_` on GPU number `ordinal`, None where it is anything else.

    The device is current. Waits for what the array's maker has asked of its stream.
    """
    interface = _interface(value)
    if interface is None or tuple(interface["shape"]) != type_.dims or not _is(type_, interface["typestr"]):
        return None
    if type_.size and not _contiguous(interface.get("strides"), type_):
        return None
    address: int = interface["data"][0]
    if not type_.size:
        return address
    if driver.device_of(address) != ordinal:
        return None
    if hasattr(value, "block_until_ready"):
        value.block_until_ready()  # jax has streams of its own, and names none
    driver.call("cuStreamSynchronize", interface.get("stream") or _DEFAULT_STREAM)
    return address


def _interface(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, np.ndarray | int | float | list | tuple):
        return None
    found: Mapping[str, Any] | None = getattr(value, "__cuda_array_interface__", None)
    return found


def _is(type_: TensorType, typestr: str) -> bool:
    if type_.dtype is bfloat16:  # which the interface knows no letter for
        return typestr[1:] == "V2"
    return np.dtype(typestr) == type_.dtype.np_dtype


def _contiguous(strides: tuple[int, ...] | None, type_: TensorType) -> bool:
    expected = type_.dtype.size
    for dim, stride in reversed(list(zip(type_.dims, strides or (), strict=False))):
        if dim != 1 and stride != expected:
            return False
        expected *= dim
    return True
