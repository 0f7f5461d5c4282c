"""Signals: cosine transforms, frames and what adds them up again, windows, short-time Fourier transforms, mel scale.

Frames are a view of the signal (`primitives/windows.py`): the window that multiplies them reads the signal itself.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant, convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim
from graphc.ops.array import scalar_value
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope, normal_axis
from graphc.ops.fft import irfft, rfft
from graphc.ops.matrices import at_least
from graphc.ops.parts import box
from graphc.primitives import matrices as m

WindowFunction = Callable[..., Tensor]
MEL_BREAK_HERTZ, MEL_HIGH_Q = 700.0, 1127.0  # of the mel scale: D. O'Shaughnessy, "Speech communication: human and machine", 1987


# Cosine transforms ------------------------------------------------------------------------------------------------------------------------

@composite("Dct")
def DCT(input: Node, *, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """The discrete cosine transform of type 1, 2 or 3 along `axis`, cropped or padded with zeros to n elements first."""
    place = normal_axis(axis, len(at_least(input, 1).shape))
    order = (*(each for each in range(len(input.shape)) if each != place), place)
    x = p.transpose(input, order)
    if n is not None:
        missing = None if x.shape[-1] is None else n - x.shape[-1]
        x = p.pad(x, p.constant(0, x.dtype), (0,) * len(order), (*[0] * (len(order) - 1), missing))
        x = p.reshape(x, (*x.shape[:-1], n))
    size = x.shape[-1]
    if type == 1 and size is not None and size < 2:
        raise ValueError("Type-I DCT requires the dimension to be greater than one.")
    result = x if size is None or not size else {1: _dct_1, 2: _dct_2, 3: _dct_3}[type](x, size, norm == "ortho")
    return p.transpose(result, np.argsort(order).tolist())


def _dct_1(x: Node, size: int, _: bool) -> Node:
    """The transform of the signal with its inner part mirrored after it."""
    last = len(x.shape) - 1
    mirrored = p.concatenate([x, p.reverse(m.between(x, -1, 1, size - 1), (last,))], last)
    return p.real(p.fft(mirrored, "RFFT", (2 * (size - 1),)))


def _dct_2(x: Node, size: int, ortho: bool) -> Node:
    """2 Re(e^(-i pi k / 2 n) X_k) of the transform X of the signal with as many zeros after it."""
    last = len(x.shape) - 1
    padded = p.pad(x, p.constant(0, x.dtype), (0,) * (last + 1), (*[0] * last, size))
    found = m.leading(p.fft(padded, "RFFT", (2 * size,)), -1, size)
    turn = np.arange(size) * (math.pi / (2 * size))
    weights = _orthonormal(size, 0.5) if ortho else np.ones(size)
    return p.add(_weighted(p.real(found), 2 * np.cos(turn) * weights), _weighted(p.imag(found), 2 * np.sin(turn) * weights))


def _dct_3(x: Node, size: int, ortho: bool) -> Node:
    """The inverse transform of 2 n (e^(i pi k / 2 n) x_k), of twice the length: its first half."""
    weights = (np.array([math.sqrt(size)] + [math.sqrt(size / 2)] * (size - 1)) if ortho else np.full(size, float(size)))
    turn = np.arange(size) * (math.pi / (2 * size))
    turned = p.complex_(_weighted(x, 2 * np.cos(turn) * weights), _weighted(x, 2 * np.sin(turn) * weights))
    last = len(x.shape) - 1
    padded = p.pad(turned, p.constant(0, turned.dtype), (0,) * (last + 1), (*[0] * last, 1))
    return m.leading(p.fft(padded, "IRFFT", (2 * size,)), -1, size)


def _orthonormal(size: int, factor: float) -> Any:
    """What makes the second type orthonormal: factor / sqrt(n) for the first element, factor sqrt(2 / n) for the others."""
    return np.array([factor / math.sqrt(size)] + [factor * math.sqrt(2 / size)] * (size - 1))


def _weighted(x: Node, weights: Any) -> Node:
    """`x` with its last axis multiplied by numbers."""
    row = p.constant(weights, x.dtype)
    return p.multiply(x, p.broadcast_in_dim(row, x.shape, (len(x.shape) - 1,)))


def dct(input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None) -> Tensor:
    """The discrete cosine transform of type 1, 2 or 3 along `axis`, of n elements (cropped or padded with zeros); `norm` "ortho" makes
    types 2 and 3 orthonormal. ValueError for other types and norms."""
    _check_dct(type, n, norm)
    attrs = {"type": type, "n": n, "axis": axis, "norm": norm}
    with name_scope(name, "dct", [input]) as scope:
        return declare_one(DCT, {"input": _real_signal(input)}, attrs, scope)


def idct(input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None) -> Tensor:
    """The inverse of `dct` of the same type, up to a factor where it is not orthonormal: that of type 2 is type 3."""
    _check_dct(type, n, norm)
    return dct(input, {1: 1, 2: 3, 3: 2}[type], n, axis, norm, name)


def _check_dct(type: int, n: int | None, norm: str | None) -> None:
    if n is not None and n < 1:
        raise ValueError("n should be a positive integer or None")
    if type not in (1, 2, 3):
        raise ValueError("Only Types I, II and III (I)DCT are supported.")
    if norm not in (None, "ortho"):
        raise ValueError(f"Unknown normalization. Expected None or 'ortho', got: {norm}")
    if type == 1 and norm == "ortho":
        raise ValueError("Normalization is not supported for the Type-I DCT.")


def _real_signal(value: Any) -> Tensor:
    return as_tensor(value, None if isinstance(value, Tensor) else dtypes.float32)


# Frames ---------------------------------------------------------------------------------------------------------------------------------

@composite("Frame")
def FRAME(signal: Node, frame_length: Node, frame_step: Node, pad_value: Node, *, pad_end: bool = False, axis: int = -1) -> Node:
    """Windows of `frame_length` elements along `axis`, `frame_step` apart: a view."""
    place = normal_axis(axis, len(at_least(signal, 1).shape))
    length, step = _count("frame_length", frame_length), _count("frame_step", frame_step)
    size, before, after = signal.shape[place], signal.shape[:place], signal.shape[place + 1:]
    count = None
    if length is not None and step is not None and size is not None:
        count = -(-size // step) if pad_end else max(0, 1 + (size - length) // step)
    if not count or length is None or step is None or size is None:  # unknown, or no frames
        some = p.reshape(box(signal, place, 0, count), (*before, count, 1, *after))
        return p.broadcast_in_dim(some, (*before, count, length, *after), range(len(signal.shape) + 1))
    high = max((count - 1) * step + length - size, 0) if pad_end else 0
    return p.windows(signal, pad_value, place, (length,), (step,), high=(high,))


def _count(name: str, node: Node) -> Dim:
    """The value of a scalar that counts something."""
    if node.shape != ():
        raise ValueError(f"{name} must be a scalar, got shape {node.shape}")
    found = static_dims(node)
    value = None if found is None else found[0]
    if value is not None and value < 1:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


@composite("OverlapAndAdd")
def OVERLAP_AND_ADD(signal: Node, frame_step: Node) -> Node:
    """Sums of frames [..., frames, length] that start `frame_step` apart: each cut into steps, each step shifted to its place."""
    *batch, frames, length = at_least(signal, 2).shape
    step = _count("frame_step", frame_step)
    if frames is None or length is None or step is None:
        return p.reshape(signal, (*batch, None))
    lead, pieces = len(batch), -(-length // step)
    total = (frames - 1) * step + length if frames else 0
    if not frames or not length:
        return p.full(0, signal.type.with_shape((*batch, max(total, 0))))
    zero, none = p.constant(0, signal.dtype), (0,) * lead
    padded = p.pad(signal, zero, (*none, 0, 0), (*none, 0, pieces * step - length))
    cut = p.transpose(p.reshape(padded, (*batch, frames, pieces, step)), (*range(lead), lead + 1, lead, lead + 2))
    # Row j of [pieces, frames + pieces] begins j places later when the rows are read one place short.
    roomy = p.pad(cut, zero, (*none, 0, 0, 0), (*none, 0, pieces, 0))
    line = p.reshape(roomy, (*batch, pieces * (frames + pieces), step))
    short = box(line, lead, 0, pieces * (frames + pieces - 1))
    added = p.reduce_sum(p.reshape(short, (*batch, pieces, frames + pieces - 1, step)), (lead,))
    return m.leading(p.reshape(added, (*batch, (frames + pieces - 1) * step)), -1, total)


def frame(signal: Any, frame_length: Any, frame_step: Any, pad_end: bool = False, pad_value: Any = 0, axis: int = -1,
          name: str | None = None) -> Tensor:
    """Windows of `frame_length` elements along `axis`, `frame_step` apart: [..., frames, frame_length, ...]. pad_end: frames that begin in
    the signal and end after it are kept, with `pad_value` where it has ended."""
    with name_scope(name, "frame", [signal, frame_length, frame_step, pad_value]) as scope:
        x = as_tensor(signal, name="signal")
        inputs = {"signal": x, "frame_length": frame_length, "frame_step": frame_step, "pad_value": convert_to_tensor(pad_value, x.dtype)}
        return declare_one(FRAME, inputs, {"pad_end": bool(pad_end), "axis": int(axis)}, scope,
                           other={"frame_length": INDEX, "frame_step": INDEX})


def overlap_and_add(signal: Any, frame_step: Any, name: str | None = None) -> Tensor:
    """The sum of frames [..., frames, length], each `frame_step` elements after the one before: [..., (frames - 1) frame_step + length]."""
    return declare_one(OVERLAP_AND_ADD, {"signal": signal, "frame_step": frame_step}, None, name, other={"frame_step": INDEX})


# Windows --------------------------------------------------------------------------------------------------------------------------------

@composite("RaisedCosineWindow")
def RAISED_COSINE_WINDOW(window_length: Node, *, periodic: bool, dtype: DType, a: float, b: float) -> Node:
    """a - b cos(2 pi i / n), n being the length, less 1 unless it is even and the window periodic; 1 for a length of 1."""
    size = _count("window_length", window_length)
    place = p.iota((size,), 0, dtype)
    if size is None or size == 1:
        return p.add(p.multiply(place, p.full(0, place.type)), p.full(1, place.type))
    span = size if periodic and size % 2 == 0 else size - 1
    turn = p.multiply(place, p.full(2 * math.pi / span, place.type))
    return p.subtract(p.full(a, place.type), p.multiply(p.full(b, place.type), p.cosine(turn)))


def _window(window_length: Any, periodic: Any, dtype: Any, name: str | None, default_name: str, a: float, b: float) -> Tensor:
    kind = as_dtype(dtype)
    if not kind.is_floating:
        raise ValueError(f"dtype must be a floating point type. Found {kind!r}")
    attrs = {"periodic": bool(periodic), "dtype": kind, "a": a, "b": b}
    with name_scope(name, default_name, [window_length]) as scope:
        return declare_one(RAISED_COSINE_WINDOW, {"window_length": window_length}, attrs, scope, other={"window_length": INDEX})


def hann_window(window_length: Any, periodic: bool = True, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """0.5 - 0.5 cos(2 pi i / n), i from 0 on; `periodic` for spectra, not so for filters."""
    return _window(window_length, periodic, dtype, name, "hann_window", 0.5, 0.5)


def hamming_window(window_length: Any, periodic: bool = True, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """0.54 - 0.46 cos(2 pi i / n), i from 0 on; `periodic` for spectra, not so for filters."""
    return _window(window_length, periodic, dtype, name, "hamming_window", 0.54, 0.46)


# Short-time transforms --------------------------------------------------------------------------------------------------------------------

def _enclosing_power_of_two(value: Any) -> int:
    """The least power of two that is not less."""
    length = _known("frame_length", value)
    return 1 << max(length - 1, 0).bit_length()


def _known(name: str, value: Any) -> int:
    """An integer, or a tensor whose value is known; ValueError otherwise."""
    found = value if not isinstance(value, Tensor) else None if value.node is None else scalar_value(value.node)
    if found is None:
        raise ValueError(f"{name} must be known where no fft_length is given; it is {value}")
    return int(found)


def stft(signals: Any, frame_length: Any, frame_step: Any, fft_length: Any = None, window_fn: WindowFunction | None = hann_window,
         pad_end: bool = False, name: str | None = None) -> Tensor:
    """The transforms of frames of real signals [..., samples], each multiplied by a window: [..., frames, fft_length // 2 + 1].

    fft_length: by default the least power of two that is not less than `frame_length`. window_fn: (length, dtype=) -> window, or None.
    """
    with name_scope(name, "stft", [signals, frame_length, frame_step]):
        x = _real_signal(signals)
        length = _enclosing_power_of_two(frame_length) if fft_length is None else fft_length
        framed = frame(x, frame_length, frame_step, pad_end=pad_end)
        if window_fn is not None:
            framed = framed * window_fn(frame_length, dtype=x.dtype)
        return rfft(framed, [length])


def inverse_stft(stfts: Any, frame_length: Any, frame_step: Any, fft_length: Any = None, window_fn: WindowFunction | None = hann_window,
                 name: str | None = None) -> Tensor:
    """Real signals [..., samples] from the transforms of their frames [..., frames, fft_length // 2 + 1]: the inverse transforms,
    multiplied by a window and added up. `inverse_stft_window_fn` gives the window that makes it the inverse of `stft`."""
    with name_scope(name, "inverse_stft", [stfts]):
        x = as_tensor(stfts, None if isinstance(stfts, Tensor) else dtypes.complex64, "stfts")
        length = _enclosing_power_of_two(frame_length) if fft_length is None else fft_length
        frames = declare_one(FITTED, {"input": irfft(x, [length]), "length": frame_length}, None, None, other={"length": INDEX})
        if window_fn is not None:
            frames = frames * window_fn(frame_length, dtype=x.dtype.real_dtype)
        return overlap_and_add(frames, frame_step)


@composite("Fitted")
def FITTED(input: Node, length: Node) -> Node:
    """`input` cropped, or padded with zeros, to `length` elements along its last axis."""
    wanted, size = _count("length", length), at_least(input, 1).shape[-1]
    none = (0,) * (len(input.shape) - 1)
    missing = None if wanted is None or size is None else wanted - size
    return p.pad(input, p.constant(0, input.dtype), (*none, 0), (*none, missing)) if missing != 0 else input


@composite("InverseWindow")
def INVERSE_WINDOW(window: Node, frame_step: Node) -> Node:
    """A window divided, at each place, by the sum of the squares of all windows, `frame_step` apart, that overlap there."""
    if len(window.shape) != 1:
        raise ValueError(f"Shape must be rank 1 but is rank {len(window.shape)}")
    size, step = window.shape[0], _count("frame_step", frame_step)
    if size is None or step is None:
        return window
    pieces = -(-size // step)
    squares = p.pad(p.multiply(window, window), p.constant(0, window.dtype), (0,), (pieces * step - size,))
    sums = p.reduce_sum(p.reshape(squares, (pieces, step)), (0,))
    repeated = p.reshape(p.broadcast_in_dim(sums, (pieces, step), (1,)), (pieces * step,))
    return p.divide(window, m.leading(repeated, -1, size))


def inverse_stft_window_fn(frame_step: Any, forward_window_fn: WindowFunction = hann_window, name: str | None = None) -> WindowFunction:
    """The window function for `inverse_stft` that undoes `forward_window_fn` of `stft`: frames that overlap add up to the signal."""
    def inverse_window(frame_length: Any, dtype: Any) -> Tensor:
        with name_scope(name, "inverse_stft_window_fn", [forward_window_fn]):
            window = forward_window_fn(frame_length, dtype=dtype)
            return declare_one(INVERSE_WINDOW, {"window": window, "frame_step": frame_step}, None, None, other={"frame_step": INDEX})
    return inverse_window


# Mel scale --------------------------------------------------------------------------------------------------------------------------------

def linear_to_mel_weight_matrix(num_mel_bins: int = 20, num_spectrogram_bins: int = 129, sample_rate: float = 8000,
                                lower_edge_hertz: float = 125.0, upper_edge_hertz: float = 3800.0, dtype: Any = dtypes.float32,
                                name: str | None = None) -> Tensor:
    """[num_spectrogram_bins, num_mel_bins]: triangles, evenly apart on the mel scale, that sum a spectrum's frequencies into bands. The
    first frequency, 0, is in none. ValueError for numbers that make no sense."""
    kind = as_dtype(dtype)
    _check_mel(num_mel_bins, sample_rate, lower_edge_hertz, upper_edge_hertz, kind)

    def mel(hertz: Any) -> Any:
        return MEL_HIGH_Q * np.log1p(hertz / MEL_BREAK_HERTZ)
    frequencies = mel(np.linspace(0.0, sample_rate / 2.0, num_spectrogram_bins)[1:, None])
    edges = np.linspace(mel(lower_edge_hertz), mel(upper_edge_hertz), num_mel_bins + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((frequencies - lower) / (center - lower), (upper - frequencies) / (upper - center)))
    return constant(np.pad(weights, [[1, 0], [0, 0]]), kind, name=name or "linear_to_mel_weight_matrix")


def _check_mel(num_mel_bins: int, sample_rate: float, lower: float, upper: float, kind: DType) -> None:
    if num_mel_bins <= 0:
        raise ValueError(f"num_mel_bins must be positive. Got: {num_mel_bins}")
    if lower < 0.0:
        raise ValueError(f"lower_edge_hertz must be non-negative. Got: {lower}")
    if lower >= upper:
        raise ValueError(f"lower_edge_hertz {lower:.1f} >= upper_edge_hertz {upper:.1f}")
    if sample_rate <= 0.0:
        raise ValueError(f"sample_rate must be positive. Got: {sample_rate}")
    if upper > sample_rate / 2:
        raise ValueError(f"upper_edge_hertz must not be larger than the Nyquist frequency (sample_rate / 2). Got: {upper} for sample_rate: "
                         f"{sample_rate}")
    if not kind.is_floating:
        raise ValueError(f"dtype must be a floating point type. Got: {kind!r}")


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms: Any, name: str | None = None) -> Tensor:
    """The cosine transform (type 2) of logarithms of mel spectra [..., num_mel_bins], divided by sqrt(2 num_mel_bins) as HTK does."""
    with name_scope(name, "mfccs_from_log_mel_spectrograms", [log_mel_spectrograms]) as scope:
        return declare_one(MFCC, {"input": _real_signal(log_mel_spectrograms)}, None, scope)


@composite("Mfccs")
def MFCC(input: Node) -> Node:
    """The cosine transform of type 2, divided by sqrt(2 n)."""
    size = at_least(input, 1).shape[-1]
    if size == 0:
        raise ValueError("num_mel_bins must be positive. Got: 0")
    if size is None:
        return input
    found = _dct_2(input, size, False)
    return p.multiply(found, p.full(1 / math.sqrt(2 * size), found.type))
