"""Fourier transforms under TF1's names, and the shifts that put the zero frequency in the middle.

Complex signals of complex64 or complex128, real ones of float32 or float64. The transform itself is a function of the host (see
`primitives/fft.py`); what crops, pads, scales and multiplies around it is fused.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.opdef import OpDef, register
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim
from graphc.ops.array import shape
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.elementwise import maximum
from graphc.ops.joining import concat
from graphc.ops.matrices import at_least
from graphc.ops.sequences import roll
from graphc.primitives.fft import half_length

NAMES = {1: "", 2: "2D", 3: "3D"}


def _complex_transform(kind: str, rank: int) -> Callable[..., Tensor]:
    """The function (input, name=None) of FFT or IFFT along the last `rank` axes."""
    type_name = kind + NAMES[rank]

    def expand(input: Node) -> Node:
        length = at_least(input, rank).shape[len(input.shape) - rank:]
        return p.fft(input, kind, length)
    definition = register(OpDef(type_name, expand, attrs={}))

    def function(input: Any, name: str | None = None) -> Tensor:
        with name_scope(name, type_name, [input]) as scope:
            x = as_tensor(input, name="input")
            if not x.dtype.is_complex:
                raise TypeError(f"Value passed to parameter 'input' has DataType {x.dtype.name} not in list of allowed values: complex64, "
                                "complex128")
            return declare_one(definition, {"input": x}, None, scope)
    what = "inverse discrete" if kind == "IFFT" else "discrete"
    return _described(function, type_name.lower(), f"The {what} Fourier transform along the last {rank} axes of a complex tensor.")


def _real_transform(kind: str, rank: int) -> Callable[..., Tensor]:
    """The function (input_tensor, fft_length=None, name=None) of RFFT or IRFFT along the last `rank` axes."""
    type_name = kind + NAMES[rank]

    def expand(input: Node, fft_length: Node) -> Node:
        if len(fft_length.shape) != 1 or fft_length.shape[0] not in (None, rank):
            raise ValueError(f"Dimension must be {rank} but is {fft_length.shape[0] if fft_length.shape else 'a scalar'}")
        given = static_dims(fft_length)
        length: tuple[Dim, ...] = (None,) * rank if given is None else given
        if any(each is not None and each < 0 for each in length):
            raise ValueError(f"fft_length must not be negative: {length}")
        kept = (*length[:-1], half_length(length[-1])) if kind == "IRFFT" else length
        return p.fft(_fitted(at_least(input, rank), kept), kind, length)
    definition = register(OpDef(type_name, expand, attrs={}))

    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
        with name_scope(name, type_name.lower(), [input_tensor, fft_length]) as scope:
            x = as_tensor(input_tensor, None if isinstance(input_tensor, Tensor) else _default_type(kind), "input")
            length = _default_length(x, kind, rank) if fft_length is None else as_tensor(fft_length, dtypes.int32, "fft_length")
            return declare_one(definition, {"input": x, "fft_length": length}, None, scope, other={"fft_length": INDEX})
    doc = (f"The Fourier transform of real signals along the last {rank} axes, cropped or padded with zeros to `fft_length`: the "
           "fft_length // 2 + 1 frequencies of the last axis that are not conjugates of others.")
    if kind == "IRFFT":
        doc = (f"The inverse of the transform of real signals along the last {rank} axes: real signals of `fft_length`, by default of an "
               "even one, from their frequencies, cropped or padded with zeros.")
    return _described(function, type_name.lower(), doc)


def _default_type(kind: str) -> Any:
    return dtypes.float32 if kind == "RFFT" else dtypes.complex64


def _fitted(x: Node, length: Sequence[Dim]) -> Node:
    """`x` cropped, or padded with zeros, to `length` along the last axes."""
    missing = tuple(None if wanted is None or dim is None else wanted - dim
                    for wanted, dim in zip(length, x.shape[len(x.shape) - len(length):], strict=True))
    if not any(each != 0 for each in missing):
        return x
    before = len(x.shape) - len(missing)
    return p.pad(x, p.constant(0, x.dtype), (0,) * len(x.shape), (*[0] * before, *missing))


def _default_length(x: Tensor, kind: str, rank: int) -> Tensor:
    """That of `x`; for IRFFT twice as many elements as the last axis has, less 2."""
    dims = x.shape_tuple
    last: tuple[Dim, ...] = (None,) if dims is None else dims[max(len(dims) - rank, 0):]
    if None not in last:
        known = [d for d in last if d is not None]
        if kind == "IRFFT" and known:
            known[-1] = max(2 * (known[-1] - 1), 0)
        return constant(np.array(known, np.int32), dtypes.int32)
    sizes = shape(x)[-rank:]
    if kind == "RFFT":
        return sizes
    whole = maximum(2 * (sizes[-1:] - 1), 0)
    return whole if rank == 1 else concat([sizes[:-1], whole], 0)


def _described(function: Callable[..., Tensor], name: str, doc: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


fft, fft2d, fft3d = (_complex_transform("FFT", rank) for rank in NAMES)
ifft, ifft2d, ifft3d = (_complex_transform("IFFT", rank) for rank in NAMES)
rfft, rfft2d, rfft3d = (_real_transform("RFFT", rank) for rank in NAMES)
irfft, irfft2d, irfft3d = (_real_transform("IRFFT", rank) for rank in NAMES)


# Shifts ---------------------------------------------------------------------------------------------------------------------------------

def fftshift(x: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """The zero frequency brought from the start to the middle of each of `axes` (an integer, a list, or None: all)."""
    return _shifted(x, axes, name, "fftshift", lambda size: size // 2)


def ifftshift(x: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted(x, axes, name, "ifftshift", lambda size: -(size // 2))


def _shifted(x: Any, axes: Any, name: str | None, default_name: str, shift: Callable[[Any], Any]) -> Tensor:
    with name_scope(name, default_name, [x]) as scope:
        x = as_tensor(x)
        if x.shape_tuple is None:
            raise ValueError(f"{default_name} needs a tensor of known rank")
        chosen = list(range(len(x.shape_tuple))) if axes is None else [axes] if isinstance(axes, int) else list(axes)
        sizes = [x.shape_tuple[axis] for axis in chosen]
        if None in sizes:
            found = shape(x)
            return roll(x, [shift(found[axis]) for axis in chosen], chosen, name=scope)
        return roll(x, [shift(size) for size in sizes], chosen, name=scope)
