"""Names in CUDA text: the C type of every element type, constants, identifiers.

A 16-bit float is a `float` in registers and a struct of 16 bits in memory; everything else is in memory what it is in registers. An int64
is `i64`, or `int` where its value is known to fit (see `facts`).
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from graphc.codegen import ir
from graphc.codegen.operations import OPERATIONS
from graphc.core import dtypes
from graphc.core.dtypes import DType

_REGISTER = {
    dtypes.float16: "float", dtypes.bfloat16: "float", dtypes.float32: "float", dtypes.float64: "double", dtypes.int32: "int",
    dtypes.bool: "bool",
}  # fmt: skip
_SUFFIX = {dtypes.int64: "ll", dtypes.uint32: "u", dtypes.uint64: "ull"}


def register_type(dtype: DType) -> str:
    """The C type that a value of `dtype` has while it is computed."""
    return _REGISTER.get(dtype, dtype.code)


def memory_type(dtype: DType) -> str:
    """The C type of an element of `dtype` in memory: "f16" and "bf16" for the halves."""
    return dtype.code if is_half(dtype) else register_type(dtype)


def is_half(dtype: DType) -> bool:
    return dtype.is_floating and dtype.size == 2


def literal(value: int | float | bool, dtype: DType) -> str:
    """A constant of `dtype`'s register type, exact. May begin with a minus sign."""
    if dtype.is_bool:
        return "true" if value else "false"
    if dtype.is_floating:
        return _float_literal(float(value), dtype)
    number = int(value)
    if number == int(dtype.min) and number < 0 and dtype.size >= 4:
        return f"lowest<{register_type(dtype)}>"  # C has no negative literals, and its absolute value does not fit
    text = f"{number}{_SUFFIX.get(dtype, '')}"
    return f"{register_type(dtype)}({text})" if dtype.size < 4 else text


def _float_literal(value: float, dtype: DType) -> str:
    with np.errstate(over="ignore"):
        number = np.asarray(value).astype(dtype.np_dtype)
    wide = number.astype(np.float64 if dtype is dtypes.float64 else np.float32)
    if not np.isfinite(wide):
        text = "not_a_number" if np.isnan(wide) else "-infinity" if np.signbit(wide) else "infinity"
        return f"double({text})" if dtype is dtypes.float64 else text
    text = str(wide)  # the shortest digits that give this number back
    text = text if re.search(r"[.e]", text) else f"{text}.0"
    return text if dtype is dtypes.float64 else f"{text}f"


# Words of C++ and of CUDA, and functions of the text, that no variable may hide.
_TAKEN = frozenset(OPERATIONS) | frozenset(re.findall(r"\w+", """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const constexpr continue decltype
    default delete do double else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept
    not not_eq nullptr operator or or_eq private protected public register requires return short signed sizeof static struct switch
    template this throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
    i8 i16 i64 u8 u16 u32 u64 f16 bf16 infinity not_a_number Pack load store Add Multiply Maximum Minimum And Or lowest highest absolute
    reduce_team sync_team team_mask store_warp_total combine_warp_totals combine_rows random_word random_words random_block wide_product
    to_integer min max threadIdx blockIdx blockDim gridDim warpSize
    expf exp expm1f expm1 logf log log1pf log1p sqrtf sqrt rsqrtf rsqrt cbrtf cbrt tanhf tanh sinf sin cosf cos tanf tan erff erf erfcf erfc
    floorf floor ceilf ceil rintf rint fabsf fabs fmodf fmod powf pow atan2f atan2 exp2f
"""))  # fmt: skip


class Names:
    """Gives out identifiers of one function: that of an IR name, or a new one, changed where C has other uses for it."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._kept: set[str] = set()
        self._of: dict[str, str] = {}

    def fresh(self, stem: str, keep: bool = False) -> str:
        """An identifier like `stem` that nothing else has; with `keep` one that lives in the whole function, see `block`."""
        name, number = stem, 1
        while name in self._used or name in self._kept or name in _TAKEN:
            number += 1
            name = f"{stem}_{number}"
        (self._kept if keep else self._used).add(name)
        return name

    def of(self, name: str) -> str:
        """The identifier of an IR name: always the same one. (IR names are unique where their lives overlap.)"""
        if name not in self._of:
            self._of[name] = self.fresh(name)
        return self._of[name]

    @contextmanager
    def block(self) -> Iterator[None]:
        """Names given out inside end with it: a block of C."""
        used, of = set(self._used), dict(self._of)
        try:
            yield
        finally:
            self._used, self._of = used, of

    @property
    def kept(self) -> frozenset[str]:
        """The names that live in the whole function."""
        return frozenset(self._kept)

    def keep_only(self, names: frozenset[str]) -> None:
        """Forgets names that would have lived in the whole function: what they stood for is printed again."""
        self._kept &= names


def zero(dtype: DType) -> ir.Const:
    return ir.Const(False if dtype.is_bool else 0.0 if dtype.is_floating else 0, dtype)
