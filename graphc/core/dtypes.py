"""The element types of tensors, under TensorFlow 1's names. First room of the house: imports nothing of graphc.

A `DType` is a singleton: compare with `is` or `==`. `np_dtype` is numpy's name for it (bfloat16 comes from ml_dtypes).
"""
from __future__ import annotations

import builtins
from typing import Any

import ml_dtypes
import numpy as np


class DType:
    """One element type: `name` as TF1 spells it, `code` as program text spells it, `np_dtype` as numpy stores it."""

    __slots__ = ("__weakref__", "code", "name", "np_dtype")

    def __init__(self, name: str, code: str, np_type: Any) -> None:
        self.name = name
        self.code = code
        self.np_dtype: np.dtype[Any] = np.dtype(np_type)

    @property
    def as_numpy_dtype(self) -> Any:
        """The numpy scalar class, as TF1's property of the same name."""
        return self.np_dtype.type

    @property
    def base_dtype(self) -> DType:
        """This type itself: graphc has no reference types."""
        return self

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.np_dtype.itemsize

    @property
    def is_floating(self) -> builtins.bool:
        return self.code[0] in "f" or self.code == "bf16"

    @property
    def is_integer(self) -> builtins.bool:
        return self.code[0] in "iu"

    @property
    def is_unsigned(self) -> builtins.bool:
        return self.code[0] == "u"

    @property
    def is_bool(self) -> builtins.bool:
        return self.code == "pred"

    @property
    def is_complex(self) -> builtins.bool:
        return self.code in ("c64", "c128")

    @property
    def is_inexact(self) -> builtins.bool:
        """Floating or complex: the types that gradients are of."""
        return self.is_floating or self.is_complex

    @property
    def real_dtype(self) -> DType:
        """The type of the parts of a complex number; of any other type itself."""
        return {"c64": float32, "c128": float64}.get(self.code, self)

    @property
    def complex_dtype(self) -> DType:
        """The complex type whose parts are of this type; TypeError where there is none."""
        for each in COMPLEX:
            if self in (each, each.real_dtype):
                return each
        raise TypeError(f"there is no complex type of {self.name}")

    @property
    def min(self) -> Any:
        """The smallest finite value, as a numpy scalar (False for bool)."""
        return self._limit("min", False)

    @property
    def max(self) -> Any:
        """The largest finite value, as a numpy scalar (True for bool)."""
        return self._limit("max", True)

    def _limit(self, which: str, of_bool: builtins.bool) -> Any:
        if self.is_bool:
            return np.bool_(of_bool)
        if self.is_complex:
            raise TypeError(f"Cannot find the limits of {self.name}: complex numbers have no order")
        info = ml_dtypes.finfo(self.np_dtype) if self.is_floating else np.iinfo(self.np_dtype)
        return self.np_dtype.type(getattr(info, which))

    def is_compatible_with(self, other: Any) -> builtins.bool:
        return as_dtype(other) is self

    def __repr__(self) -> str:
        return f"graphc.{self.name}"

    def __reduce__(self) -> Any:
        return as_dtype, (self.name,)

    def __eq__(self, other: object) -> builtins.bool:
        """True for the same type under any of its names: `graphc.float32 == np.float32 == "float32"`, as in TF1."""
        if other is None:
            return False
        try:
            return as_dtype(other) is self
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)


float16 = DType("float16", "f16", np.float16)
bfloat16 = DType("bfloat16", "bf16", ml_dtypes.bfloat16)
float32 = DType("float32", "f32", np.float32)
float64 = DType("float64", "f64", np.float64)
int8 = DType("int8", "i8", np.int8)
int16 = DType("int16", "i16", np.int16)
int32 = DType("int32", "i32", np.int32)
int64 = DType("int64", "i64", np.int64)
uint8 = DType("uint8", "u8", np.uint8)
uint16 = DType("uint16", "u16", np.uint16)
uint32 = DType("uint32", "u32", np.uint32)
uint64 = DType("uint64", "u64", np.uint64)
bool = DType("bool", "pred", np.bool_)

complex64 = DType("complex64", "c64", np.complex64)
complex128 = DType("complex128", "c128", np.complex128)

# ALL: those that kernels compute with. Complex numbers become pairs before there are kernels (see `passes/real.py`).
ALL = (float16, bfloat16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool)
COMPLEX = (complex64, complex128)
half, double = float16, float64
_BY_CODE = {t.code: t for t in (*ALL, *COMPLEX)}
_BY_NAME = {t.name: t for t in (*ALL, *COMPLEX)} | {"half": float16, "double": float64, "float": float32}
_BY_NUMPY = {t.np_dtype: t for t in (*ALL, *COMPLEX)}


def from_code(code: str) -> DType:
    """The type that program text calls `code` ("f32", "pred"); KeyError otherwise."""
    return _BY_CODE[code]


def as_dtype(type_value: Any) -> DType:
    """The DType for a DType, a TF1 name, a numpy dtype or a Python type; TypeError otherwise."""
    if isinstance(type_value, DType):
        return type_value
    if isinstance(type_value, str) and type_value in _BY_NAME:
        return _BY_NAME[type_value]
    try:
        return _BY_NUMPY[np.dtype(type_value)]
    except (TypeError, KeyError):
        raise TypeError(f"Cannot convert {type_value!r} to a graphc dtype; it knows {', '.join(_BY_NAME)}.") from None
