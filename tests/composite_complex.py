"""The table of composites: complex numbers, Fourier and cosine transforms, frames and windows. Expectations come from numpy and scipy."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import Array, Case, public, sample
from tests.op_table import uniform

C64, C128, F32, F64, I32 = dtypes.complex64, dtypes.complex128, dtypes.float32, dtypes.float64, dtypes.int32
SHAPES: tuple[tuple[int, ...], ...] = ((), (0, 3), (7,), (3, 5), (33, 17))


def _z(key: str, dtype: DType, *shape: int) -> Array:
    return sample(key, uniform(-2, 2), dtype, *shape)


def _both(z: Any) -> Any:
    """Both parts of a complex tensor, side by side."""
    return gc.stack([gc.real(z), gc.imag(z)])


def _parts(z: Array) -> Array:
    return np.stack([np.real(z), np.imag(z)])


# Parts and functions ----------------------------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[Array], Any]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda z: 1 / np.sqrt(z), "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "square": np.square, "reciprocal": np.reciprocal, "negative": np.negative, "sign": lambda z: z / np.abs(z), "conj": np.conj}


def function_cases() -> Iterator[Case]:
    for shape in SHAPES:
        for dtype, real in ((C64, F32), (C128, F64)):
            z = _z(f"z{shape}", dtype, *shape)
            x, y = _z(f"x{shape}", real, *shape), _z(f"y{shape}", real, *shape)
            slopes = 2 if real is F64 and x.size < 20 else 0
            yield Case("complex", f"{shape}{dtype.name}", gc.complex, (x, y), lambda x, y: x + 1j * y, dtype=dtype)
            yield Case("complex", f"slope{shape}{dtype.name}", lambda x, y: gc.abs(gc.complex(x, y)), (x, y), np.hypot, slopes=slopes,
                       depth=4)
            yield Case("real", f"{shape}{dtype.name}", gc.real, (z,), np.real, dtype=real)
            yield Case("imag", f"{shape}{dtype.name}", gc.imag, (z,), np.imag, dtype=real)
            yield Case("angle", f"{shape}{dtype.name}", gc.angle, (z,), np.angle, dtype=real, depth=4)
            yield Case("angle", f"slope{shape}{dtype.name}", lambda x, y: gc.angle(gc.complex(x, y)), (x, y), lambda x, y: np.arctan2(y, x),
                       slopes=slopes, depth=4)
            yield Case("conj", f"{shape}{dtype.name}", gc.conj, (z,), np.conj)
            yield Case("abs", f"{shape}{dtype.name}", gc.abs, (z,), np.abs, dtype=real, depth=4)
            yield Case("real", f"of-real{shape}{real.name}", gc.real, (x,), lambda x: x)
            yield Case("imag", f"of-real{shape}{real.name}", gc.imag, (x,), np.zeros_like)
            yield Case("angle", f"of-real{shape}{real.name}", gc.angle, (x,), np.zeros_like)
    yield Case("complex", "broadcast", gc.complex, (_z("a", F32, 3, 1), _z("b", F32, 5)), lambda x, y: x + 1j * y, dtype=C64)
    x, y = sample("fx", uniform(0.2, 1.5), F64, 3, 4), sample("fy", uniform(-1.2, 1.2), F64, 3, 4)
    for name, function in FUNCTIONS.items():
        yield Case(name, "complex64", public(name), (_z(f"c{name}", C64, 33, 5),), function, depth=64, scale=4.0)
        yield Case(name, "complex-slope", lambda x, y, n=name: _both(public(n)(gc.complex(x, y))), (x, y),
                   lambda x, y, f=function: _parts(f(x + 1j * y)), depth=64, scale=4.0, slopes=0 if name == "sign" else 2)
    yield from _two_operands(x, y)


def _two_operands(x: Array, y: Array) -> Iterator[Case]:
    for name, function in (("add", np.add), ("subtract", np.subtract), ("multiply", np.multiply), ("divide", np.divide), ("pow", np.power)):
        yield Case(name, "complex-slope", lambda x, y, n=name: _both(public(n)(gc.complex(x, y), gc.complex(y, x))), (x, y),
                   lambda x, y, f=function: _parts(f(x + 1j * y, y + 1j * x)), depth=64, scale=4.0, slopes=2)
    a, b = _z("ma", C64, 2, 9, 17), _z("mb", C64, 2, 17, 5)
    yield Case("matmul", "complex", gc.matmul, (a, b), np.matmul, depth=68, scale=8.0)
    yield Case("matmul", "complex-adjoint", lambda a, b: gc.matmul(b, a, adjoint_a=True, adjoint_b=True), (a, b),
               lambda a, b: np.conj(np.swapaxes(a @ b, -1, -2)), depth=68, scale=8.0)
    yield Case("matmul", "complex-transpose", lambda a, b: gc.matmul(b, a, transpose_a=True, transpose_b=True), (a, b),
               lambda a, b: np.swapaxes(a @ b, -1, -2), depth=68, scale=8.0)
    yield Case("matmul", "complex-matrix", lambda a: gc.matmul(a, a, adjoint_b=True), (a[0],), lambda a: a @ a.conj().T, depth=68,
               scale=8.0)
    yield Case("transpose", "conjugate", lambda a: gc.transpose(a, [1, 2, 0], conjugate=True), (a,),
               lambda a: np.conj(a.transpose(1, 2, 0)))
    yield Case("transpose", "conjugate-slope", lambda x, y: _both(gc.transpose(gc.complex(x, y), [1, 0], conjugate=True)), (x, y),
               lambda x, y: np.stack([x.T, -y.T]), slopes=2)
    yield Case("reduce_mean", "complex", lambda a: gc.reduce_mean(a, 1), (a,), lambda a: a.mean(1), depth=9)
    yield Case("norm", "complex", gc.norm, (a,), lambda a: np.linalg.norm(a.reshape(-1)).astype(np.complex128), depth=306, scale=8.0)
    yield Case("cast", "to-complex", lambda x: gc.cast(x, gc.complex128), (x,), lambda x: x.astype(complex), dtype=C128)
    yield Case("linalg.adjoint", "complex", gc.linalg.adjoint, (a,), lambda a: np.conj(np.swapaxes(a, -1, -2)), known="rank")


# Transforms -------------------------------------------------------------------------------------------------------------------------------

TRANSFORMS: dict[str, tuple[int, Callable[..., Any]]] = {
    "fft": (1, np.fft.fftn), "ifft": (1, np.fft.ifftn), "fft2d": (2, np.fft.fftn), "ifft2d": (2, np.fft.ifftn), "fft3d": (3, np.fft.fftn),
    "ifft3d": (3, np.fft.ifftn), "signal.rfft": (1, np.fft.rfftn), "signal.irfft": (1, np.fft.irfftn), "signal.rfft2d": (2, np.fft.rfftn),
    "signal.irfft2d": (2, np.fft.irfftn), "signal.rfft3d": (3, np.fft.rfftn), "signal.irfft3d": (3, np.fft.irfftn)}


def transform_cases() -> Iterator[Case]:
    for name, (rank, function) in TRANSFORMS.items():
        axes = tuple(range(-rank, 0))
        for shape in ((2, 3, 4, 9), (3, 4, 8), (2, 1, 2)):
            takes, gives = (F32, C64) if ".r" in name else (C64, F32) if ".i" in name else (C64, C64)
            x = _z(f"{name}{shape}", takes, *shape)
            yield Case(name, f"{shape}", public(name), (x,), lambda x, f=function, a=axes: f(x, axes=a), dtype=gives, depth=64, scale=16.0)
            if "r" in name:
                length = tuple(d + 2 * n - 1 for n, d in enumerate(shape[-rank:], 1))
                kept = (*length[:-1], length[-1] // 2 + 1) if ".i" in name else length
                yield Case(name, f"{shape}-length", lambda x, n=name, s=length: public(n)(x, list(s)), (x,),
                           lambda x, f=function, s=length, k=kept, a=axes: f(_fitted(x, k), s, a), dtype=gives, depth=64, scale=16.0)
    parts = _z("px", F64, 2, 2, 3, 4), _z("py", F64, 2, 2, 3, 4)
    for name, (rank, function) in TRANSFORMS.items():
        axes = tuple(range(-rank, 0))
        if ".r" in name:
            yield Case(name, "slope", lambda x, n=name: _both(public(n)(x)), parts[:1], lambda x, f=function, a=axes: _parts(f(x, axes=a)),
                       depth=64, scale=16.0, slopes=1)
        elif ".i" in name:
            yield Case(name, "slope", lambda x, y, n=name: public(n)(gc.complex(x, y)), parts,
                       lambda x, y, f=function, a=axes: f(x + 1j * y, axes=a), depth=64, scale=16.0, slopes=1)
        else:
            yield Case(name, "slope", lambda x, y, n=name: _both(public(n)(gc.complex(x, y))), parts,
                       lambda x, y, f=function, a=axes: _parts(f(x + 1j * y, axes=a)), depth=64, scale=16.0, slopes=1)
    yield Case("fft", "nothing", gc.fft, (_z("none", C64, 0, 4),), lambda x: x)
    yield Case("signal.rfft", "nothing", gc.signal.rfft, (_z("no", F32, 0, 4),), lambda x: np.zeros((0, 3)), dtype=C64)
    odd = _z("shift", F32, 4, 5)
    for axes in (None, 1, [0, 1]):
        yield Case("signal.fftshift", f"{axes}", lambda x, a=axes: gc.signal.fftshift(x, a), (odd,),
                   lambda x, a=axes: np.fft.fftshift(x, a), known="rank")
        yield Case("signal.ifftshift", f"{axes}", lambda x, a=axes: gc.signal.ifftshift(x, a), (odd,),
                   lambda x, a=axes: np.fft.ifftshift(x, a), known="rank")


def _fitted(x: Array, length: Sequence[int]) -> Array:
    """`x` cropped or padded with zeros to `length` along its last axes."""
    first = x.ndim - len(length)
    cropped = x[(..., *(slice(n) for n in length))]
    return np.pad(cropped, [(0, 0)] * first + [(0, n - d) for n, d in zip(length, cropped.shape[first:], strict=True)])


def cosine_cases() -> Iterator[Case]:
    for dtype in (F64, F32):
        x = _z("dct", dtype, 3, 9)
        slopes = int(dtype is F64)
        for kind in (1, 2, 3):
            yield Case("signal.dct", f"{kind}{dtype.name}", lambda x, k=kind: gc.signal.dct(x, type=k), (x,),
                       lambda x, k=kind: scipy.fft.dct(x, k), depth=64, scale=16.0, slopes=slopes)
            inverse = {1: 1, 2: 3, 3: 2}[kind]
            yield Case("signal.idct", f"{kind}{dtype.name}", lambda x, k=kind: gc.signal.idct(x, type=k), (x,),
                       lambda x, k=inverse: scipy.fft.dct(x, k), depth=64, scale=16.0, slopes=slopes)
        for kind in (2, 3):
            yield Case("signal.dct", f"{kind}ortho{dtype.name}", lambda x, k=kind: gc.signal.dct(x, type=k, norm="ortho"), (x,),
                       lambda x, k=kind: scipy.fft.dct(x, k, norm="ortho"), depth=64, scale=16.0, slopes=slopes)
        for n in (5, 12):
            yield Case("signal.dct", f"n{n}{dtype.name}", lambda x, n=n: gc.signal.dct(x, n=n), (x,), lambda x, n=n: scipy.fft.dct(x, 2, n),
                       depth=64, scale=16.0, slopes=slopes)
        yield Case("signal.dct", f"axis{dtype.name}", lambda x: gc.signal.dct(x, axis=0), (x,), lambda x: scipy.fft.dct(x, 2, axis=0),
                   depth=64, scale=16.0)
        yield Case("signal.mfccs_from_log_mel_spectrograms", dtype.name, gc.signal.mfccs_from_log_mel_spectrograms, (x,),
                   lambda x: scipy.fft.dct(x, 2) / np.sqrt(18), depth=64, scale=8.0, slopes=slopes)


# Frames and windows -----------------------------------------------------------------------------------------------------------------------

def frame_cases() -> Iterator[Case]:
    for dtype in (F64, F32, I32):
        x = _z("frames", dtype, 2, 23) if dtype is not I32 else np.arange(46, dtype=np.int32).reshape(2, 23)
        slopes = int(dtype is F64)
        for length, step in ((5, 2), (4, 4), (3, 7), (23, 1), (30, 3)):
            for end in (False, True):
                yield Case("signal.frame", f"{length}-{step}-{end}-{dtype.name}",
                           lambda x, n=length, s=step, e=end: gc.signal.frame(x, n, s, pad_end=e, pad_value=7), (x,),
                           lambda x, n=length, s=step, e=end: _framed(x, n, s, e, 7), dtype=dtype, slopes=slopes)
        frames = x[:, :20].reshape(2, 4, 5)
        for step in (1, 2, 5, 8):
            yield Case("signal.overlap_and_add", f"{step}-{dtype.name}", lambda x, s=step: gc.signal.overlap_and_add(x, s), (frames,),
                       lambda x, s=step: _added(x, s), dtype=dtype, depth=5, scale=4.0, slopes=slopes)
    counts = np.array(5, np.int32), np.array(2, np.int32)
    yield Case("signal.frame", "fed", lambda x, n, s: gc.signal.frame(x, n, s, axis=0), (_z("ff", F32, 12, 3), *counts),
               lambda x, n, s: np.stack([x[i:i + 5] for i in range(0, 8, 2)]))
    for name, (a, b) in {"hann_window": (0.5, 0.5), "hamming_window": (0.54, 0.46)}.items():
        for size in (1, 2, 7, 8):
            for periodic in (True, False):
                yield Case(f"signal.{name}", f"{size}-{periodic}", lambda n, f=name, q=periodic: public(f"signal.{f}")(n, q),
                           (np.array(size, np.int32),), lambda n, a=a, b=b, q=periodic: _raised_cosine(int(n), a, b, q), dtype=F32, depth=4)
    yield from _short_time()


def _framed(x: Array, length: int, step: int, end: bool, value: float) -> Array:
    size = x.shape[1]
    count = -(-size // step) if end else max(0, 1 + (size - length) // step)
    padded = np.pad(x, [(0, 0), (0, length + step)], constant_values=value)
    return np.array([padded[:, i * step:i * step + length] for i in range(count)]).reshape(count, 2, length).swapaxes(0, 1)


def _added(x: Array, step: int) -> Array:
    frames, length = x.shape[-2:]
    result = np.zeros((*x.shape[:-2], (frames - 1) * step + length), x.dtype)
    for n in range(frames):
        result[..., n * step:n * step + length] += x[..., n, :]
    return result


def _raised_cosine(size: int, a: float, b: float, periodic: bool) -> Array:
    if size == 1:
        return np.ones(1)
    span = size if periodic and size % 2 == 0 else size - 1
    return a - b * np.cos(2 * np.pi * np.arange(size) / span)


def _short_time() -> Iterator[Case]:
    x = _z("speech", F32, 2, 40)
    yield Case("signal.stft", "", lambda x: gc.signal.stft(x, 8, 3), (x,),
               lambda x: np.fft.rfft(_framed(x, 8, 3, False, 0) * scipy.signal.get_window("hann", 8)), dtype=C64, depth=32, scale=8.0)
    yield Case("signal.stft", "long", lambda x: gc.signal.stft(x, 7, 4, fft_length=12, window_fn=None, pad_end=True), (x,),
               lambda x: np.fft.rfft(_framed(x, 7, 4, True, 0), 12), dtype=C64, depth=32, scale=8.0)
    yield Case("signal.stft", "slope", lambda x: _both(gc.signal.stft(x, 4, 3)), (_z("sl", F64, 2, 9),),
               lambda x: _parts(np.fft.rfft(_framed(x, 4, 3, False, 0) * scipy.signal.get_window("hann", 4))), depth=32, scale=8.0,
               slopes=1)

    def back(x: gc.Tensor) -> gc.Tensor:
        spectra = gc.signal.stft(x, 8, 2)
        return gc.signal.inverse_stft(spectra, 8, 2, window_fn=gc.signal.inverse_stft_window_fn(2))[:, 6:34]
    yield Case("signal.inverse_stft", "round-trip", back, (x,), lambda x: x[:, 6:34], depth=64, scale=8.0)
    yield Case("signal.inverse_stft_window_fn", "squares-add-up",
               lambda n: n * gc.signal.overlap_and_add(
                   gc.stack([gc.signal.inverse_stft_window_fn(4)(8, gc.float64) * _hann(8)] * 9), 4)[8:32],
               (np.array(1.0),), lambda n: np.ones(24), depth=8)
    window = np.array([0.5, 1.5, 2.0, 1.25, 0.75])
    yield Case("signal.inverse_stft_window_fn", "slope", lambda w: gc.signal.inverse_stft_window_fn(2, lambda n, dtype: w)(5, gc.float64),
               (window,), lambda w: w / np.array([w[0::2] @ w[0::2], w[1::2] @ w[1::2]])[[0, 1, 0, 1, 0]], depth=4, slopes=2)
    for length in (6, 9):
        yield Case("signal.inverse_stft", f"slope-{length}",
                   lambda x, y, n=length: gc.signal.inverse_stft(gc.complex(x, y), n, 3, 8, window_fn=None),
                   (_z("re", F64, 2, 4, 5), _z("im", F64, 2, 4, 5)),
                   lambda x, y, n=length: _added(np.pad(np.fft.irfft(x + 1j * y), [(0, 0), (0, 0), (0, 1)])[..., :n], 3), depth=32,
                   scale=8.0, slopes=1)
    yield Case("signal.inverse_stft", "plain", lambda x: gc.signal.inverse_stft(gc.cast(x, gc.complex64), 6, 3, window_fn=None),
               (_z("spectra", F32, 2, 4, 5),), lambda x: _added(np.fft.irfft(x)[..., :6], 3), depth=32, scale=8.0)
    yield Case("signal.linear_to_mel_weight_matrix", "", lambda n: gc.signal.linear_to_mel_weight_matrix(5, 33, 4000, 50, 1500) * n,
               (np.array(1, np.float32),), lambda n: _mel(5, 33, 4000, 50, 1500), depth=4)


def _hann(size: int) -> gc.Tensor:
    return gc.signal.hann_window(size, dtype=gc.float64)


def _mel(bands: int, bins: int, rate: float, low: float, high: float) -> Array:
    """By interpolation of a triangle for each band."""
    def mel(hertz: Any) -> Any:
        return 1127 * np.log(1 + np.asarray(hertz) / 700)
    edges = np.linspace(mel(low), mel(high), bands + 2)
    places = mel(np.linspace(0, rate / 2, bins))
    found = np.stack([np.interp(places, edges[n:n + 3], [0, 1, 0]) for n in range(bands)], 1)
    found[0] = 0
    return found


def families() -> dict[str, Sequence[Case]]:
    return {"complex numbers": list(function_cases()), "transforms": list(transform_cases()), "cosines": list(cosine_cases()),
            "frames": list(frame_cases())}
