"""The discrete Fourier transform, by numpy's pocketfft on the host (`Extern`), with its gradients, which are transforms again."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Extern
from graphc.core.primitive import Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import Dim, Dims, TensorType, dims_product, same_dim
from graphc.primitives.arithmetic import multiply
from graphc.primitives.broadcast import full
from graphc.primitives.logic import compare, or_, select
from graphc.primitives.numerics import Array
from graphc.primitives.rules import Cotangents, call
from graphc.primitives.sources import iota

KINDS = ("FFT", "IFFT", "RFFT", "IRFFT")


@dataclass(frozen=True)
class FftAttrs:
    """kind: "FFT", "IFFT", "RFFT" or "IRFFT". length: of the signal (for IRFFT: of the result) along each of the last axes."""

    kind: str
    length: Dims


def half_length(length: Dim) -> Dim:
    """The number of frequencies of a real signal."""
    return None if length is None else length // 2 + 1


def _fft_type(attrs: FftAttrs, x: TensorType) -> TensorType:
    kind, length = attrs.kind, attrs.length
    if kind not in KINDS or not 1 <= len(length) <= x.rank:
        raise ValueError(f"{call('fft', (x,))}: kind {kind!r} must be one of {', '.join(KINDS)}, along 1 to {x.rank} axes; got {length}")
    if kind == "RFFT" and x.dtype not in (dtypes.float32, dtypes.float64):
        raise TypeError(f"{call('fft', (x,))}: RFFT needs operands of float32 or float64")
    if kind != "RFFT" and not x.dtype.is_complex:
        raise TypeError(f"{call('fft', (x,))}: {kind} needs complex operands")
    wanted = (*length[:-1], half_length(length[-1])) if kind == "IRFFT" else length
    batch, last = x.shape[:x.rank - len(length)], x.shape[x.rank - len(length):]
    if not all(map(same_dim, wanted, last)):
        raise ValueError(f"{call('fft', (x,))}: {kind} of length {length} needs {wanted} along the last axes")
    known = tuple(b if a is None else a for a, b in zip(length, last, strict=True)) if kind != "IRFFT" else length
    if kind == "RFFT":
        return TensorType(x.dtype.complex_dtype, (*batch, *known[:-1], half_length(known[-1])))
    return TensorType(x.dtype.real_dtype if kind == "IRFFT" else x.dtype, (*batch, *known))


def _fft(attrs: FftAttrs, x: Array) -> Array:
    first = x.ndim - len(attrs.length)
    length = tuple(d or 0 for d in attrs.length)
    parts = x.real.dtype
    if 0 in (*x.shape, *length):  # pocketfft takes no empty arrays
        shape = (*length[:-1], length[-1] // 2 + 1) if attrs.kind == "RFFT" else length
        return np.zeros((*x.shape[:first], *shape), parts if attrs.kind == "IRFFT" else np.result_type(parts, np.complex64))
    functions: dict[str, Any] = {"FFT": np.fft.fftn, "IFFT": np.fft.ifftn, "RFFT": np.fft.rfftn, "IRFFT": np.fft.irfftn}
    return np.asarray(functions[attrs.kind](x, length, tuple(range(first, x.ndim))))


def _fft_vjp(node: Node, g: Node) -> Cotangents:
    """F^H g, in TF1's convention: of a transform the inverse one, times its length. Of the frequencies of a real signal those that stand
    for two (all but the first, and the last of an even length) count half one way, twice the other."""
    attrs: FftAttrs = node.attrs
    inverse = {"FFT": "IFFT", "IFFT": "FFT", "RFFT": "IRFFT", "IRFFT": "RFFT"}[attrs.kind]
    size = dims_product(attrs.length)
    if attrs.kind == "RFFT":
        g = multiply(g, _twofold(g, attrs.length[-1], 0.5))
    found = fft(g, inverse, attrs.length)
    if attrs.kind == "IRFFT":
        found = multiply(found, _twofold(found, attrs.length[-1], 2))
    scale = 1.0 if size is None else float(size)
    factor = scale if attrs.kind in ("FFT", "RFFT") else 1 / scale if scale else 0.0
    return (multiply(found, full(factor, found.type)),)


def _twofold(x: Node, length: Dim, factor: float) -> Node:
    """`factor` at the frequencies that stand for two of a real signal of `length`, 1 at the others."""
    place = iota(x.shape, len(x.shape) - 1, dtypes.int32)
    alone = compare(place, full(0, place.type), "EQ")
    if length is not None and length % 2 == 0:
        alone = or_(alone, compare(place, full(length // 2, place.type), "EQ"))
    return select(alone, full(1, x.type), full(factor, x.type))


def _flops(attrs: FftAttrs, x: TensorType) -> int:
    """5 n log2 n for n complex numbers, half of that for real ones."""
    size = math.prod(d or 0 for d in attrs.length)
    batch = x.size // max(math.prod(x.dims[x.rank - len(attrs.length):]), 1)
    return int(batch * 5 * size * math.log2(max(size, 2)) * (0.5 if "R" in attrs.kind else 1))


FFT = declare(Primitive(
    "fft", FftAttrs, 1, _fft_type, _fft, _fft_vjp, Extern("numpy.fft", _flops),
    "The discrete Fourier transform along the last axes, or its inverse (divided by the length); of real signals half of the frequencies.",
    holomorphic=False))


def fft(x: Node, kind: str, length: Sequence[Dim]) -> Node:
    """The transform `kind` of signals of `length` along the last axes."""
    return make(FFT, (x,), FftAttrs(kind, tuple(length)))
