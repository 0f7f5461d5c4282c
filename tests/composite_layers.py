"""The table of composites: normalisation over batches, channels and groups, what is left of `nn` and `losses`, and `layers`."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, name_of, sample
from tests.op_table import uniform

F16, F32, F64, BF16 = dtypes.float16, dtypes.float32, dtypes.float64, dtypes.bfloat16
SIGNED, UNIT, NARROW = uniform(-3, 3), uniform(0.05, 0.95), uniform(-0.9, 0.9)


# Moments and batch normalisation ----------------------------------------------------------------------------------------------------------

def _batch_norm(x: Array, scale: Array, offset: Array, axis: int = 3, epsilon: float = 1e-3) -> list[Array]:
    """The formula of S. Ioffe and C. Szegedy, and the moments as TF1 gives them: the variance with n - 1."""
    axes = tuple(a for a in range(4) if a != axis)
    spread = [1, 1, 1, 1]
    spread[axis] = -1
    mean, variance = x.mean(axes), x.var(axes)
    count = x.size // max(x.shape[axis], 1)
    y = (x - mean.reshape(spread)) / np.sqrt(variance.reshape(spread) + epsilon) * scale.reshape(spread) + offset.reshape(spread)
    return [y, mean, variance * count / max(count - 1, 1)]


def _given(x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> list[Array]:
    return [(x - mean) / np.sqrt(variance + 0.01) * scale + offset, mean, variance]


def batch_norm_cases() -> Iterator[Case]:
    name = "nn.fused_batch_norm"
    for dtype, shape in ((F32, (2, 3, 5, 7)), (F32, (1, 1, 1, 3)), (F32, (8, 9, 9, 33)), (F32, (5, 2, 2, 1)), (F64, (2, 2, 2, 3)),
                         (F32, (2, 3, 4, 0))):
        label = name_of(dtype, shape)
        slopes = 2 if dtype is F64 else 0
        x = sample(label, SIGNED, dtype, *shape)
        per_channel = [sample(f"{label}{n}", uniform(0.5, 2), dtype, shape[3]) for n in range(4)]
        yield Case(name, label, gc.nn.fused_batch_norm, (x, *per_channel[:2]), _batch_norm, depth=16, scale=6, slopes=slopes, known="")
        yield Case(name, f"{label}-given", lambda x, s, o, m, v: gc.nn.fused_batch_norm(x, s, o, m, v, 0.01, is_training=False),
                   (x, *per_channel), _given, depth=4, scale=12, slopes=slopes)
        first = np.ascontiguousarray(np.moveaxis(x, 3, 1))
        yield Case(name, f"{label}-NCHW", lambda x, s, o: gc.nn.fused_batch_norm(x, s, o, data_format="NCHW"),
                   (first, *per_channel[:2]), lambda x, s, o: _batch_norm(x, s, o, 1), depth=16, scale=6, slopes=slopes)
    # Far from 0, where a sum of squares would lose all digits; and 16-bit floats, computed in float32.
    far = (1e4 + sample("far", NARROW, F32, 4, 5, 5, 3)).astype(np.float32)
    lost = 4 * 1e4 * 2.0 ** -23 / 0.5  # a few units in the last place of the mean, relative to the deviation
    yield Case(name, "far", lambda x, s, o: gc.nn.fused_batch_norm(x, s, o)[0], (far, np.ones(3, np.float32), np.zeros(3, np.float32)),
               lambda x, s, o: _batch_norm(x, s, o)[0], scale=lost / 2e-6)
    for dtype in (F16, BF16):
        x = sample("narrow", SIGNED, dtype, 3, 4, 5, 6)
        yield Case(name, dtype.name, lambda x, s, o: gc.nn.fused_batch_norm(x, s, o)[0], (x, np.full(6, 2, np.float32),
                   np.ones(6, np.float32)), lambda x, s, o: _batch_norm(x, s, o)[0], dtype=dtype, scale=6)
    x, old = sample("global", SIGNED, F64, 2, 2, 3, 3), [sample(f"global{n}", uniform(0.5, 2), F64, 3) for n in range(4)]
    for scaled in (True, False):
        def build(x: gc.Tensor, *rest: gc.Tensor, s: bool = scaled) -> gc.Tensor:
            m, v, b, g = rest
            return gc.nn.batch_norm_with_global_normalization(x, m, v, b, g, 0.01, s)
        yield Case("nn.batch_norm_with_global_normalization", f"{scaled}", build, (x, *old),
                   lambda x, m, v, b, g, s=scaled: (x - m) / np.sqrt(v + 0.01) * (g if s else 1) + b, scale=9, slopes=2 if scaled else 0)


def moment_cases() -> Iterator[Case]:
    for dtype in (F32, F64):
        slopes = 2 if dtype is F64 else 0
        x, weights = sample("moments", SIGNED, dtype, 3, 4, 2), sample("weights", uniform(0.5, 2), dtype, 3, 1, 2)
        for axes, keep in (([0], False), ([0, 1], True), ([0, 1, 2], False)):
            def expected(x: Array, w: Array, a: tuple[int, ...] = tuple(axes), k: bool = keep) -> list[Array]:
                mean = np.average(x, a, np.broadcast_to(w, x.shape), keepdims=True)
                variance = np.average((x - mean) ** 2, a, np.broadcast_to(w, x.shape), keepdims=True)
                return [each if k else each.squeeze(a) for each in (mean, variance)]

            def sums(x: Array, a: tuple[int, ...] = tuple(axes), k: bool = keep) -> list[Any]:
                return [float(np.prod([x.shape[n] for n in a])), x.sum(a, keepdims=k), (x * x).sum(a, keepdims=k)]
            yield Case("nn.weighted_moments", f"{dtype.code}{axes}",
                       lambda x, w, a=axes, k=keep: gc.nn.weighted_moments(x, a, w, keep_dims=k), (x, weights), expected, depth=24, scale=9,
                       slopes=slopes)
            yield Case("nn.sufficient_statistics", f"{dtype.code}{axes}",
                       lambda x, a=axes, k=keep: gc.nn.sufficient_statistics(x, a, keep_dims=k)[:3], (x,), sums, dtype=dtype, depth=24,
                       scale=9, slopes=slopes)
        yield Case("nn.sufficient_statistics", f"{dtype.code}shift", lambda x, s: gc.nn.sufficient_statistics(x, [1], s),
                   (x, weights[0, 0]), lambda x, s: [4.0, (x - s).sum(1), ((x - s) ** 2).sum(1), s], dtype=dtype, depth=24, scale=9,
                   slopes=slopes)
        given = [np.array(v, dtype.np_dtype) for v in (4.0, [3.0, 2.0], [9.0, 8.0], [0.5, 0.25])]
        yield Case("nn.normalize_moments", dtype.code, gc.nn.normalize_moments, tuple(given),
                   lambda n, m, v, s: [m / n + s, v / n - (m / n) ** 2], scale=4, slopes=slopes)
        yield Case("nn.normalize_moments", f"{dtype.code}unshifted", lambda n, m, v: gc.nn.normalize_moments(n, m, v, None),
                   tuple(given[:3]), lambda n, m, v: [m / n, v / n - (m / n) ** 2], scale=4, slopes=slopes)
    half = sample("half", SIGNED, F16, 5, 3)
    yield Case("nn.weighted_moments", "float16", lambda x: gc.nn.weighted_moments(x, [0], gc.constant(2.0, gc.float16)), (half,),
               lambda x: [x.mean(0), x.var(0)], scale=9)


# What is left of nn and losses -----------------------------------------------------------------------------------------------------------

def _stirling(z: Array) -> Array:
    return np.where((z >= 0) & (z <= 1), 0, z * np.log(z) - z + 0.5 * np.log(2 * np.pi * z))


def other_cases() -> Iterator[Case]:
    for dtype in (F32, F64, F16):
        slopes = 1 if dtype is F64 else 0
        x, z = sample("other", SIGNED, dtype, 5, 7), sample("counts", uniform(1.5, 9), dtype, 5, 7)
        for axis in (-1, 0):
            yield Case("nn.crelu", f"{dtype.code}{axis}", lambda x, a=axis: gc.nn.crelu(x, axis=a), (x,),
                       lambda x, a=axis: np.maximum(np.concatenate([x, -x], a), 0), slopes=slopes)
        yield Case("nn.log_poisson_loss", dtype.code, gc.nn.log_poisson_loss, (z, x), lambda z, c: np.exp(c) - z * c, scale=30,
                   slopes=2 * slopes)
        yield Case("nn.log_poisson_loss", dtype.code + "full", lambda z, c: gc.nn.log_poisson_loss(z, c, True), (z, x),
                   lambda z, c: np.exp(c) - z * c + _stirling(z), scale=30, slopes=2 * slopes)
        yield Case("nn.zero_fraction", dtype.code, gc.nn.zero_fraction, (np.where(x > 0, x, 0).astype(x.dtype),),
                   lambda x: np.mean(x == 0), dtype=F32)
    yield Case("nn.zero_fraction", "empty", gc.nn.zero_fraction, (np.zeros((0, 3), np.int32),), lambda x: np.nan, dtype=F32)


def _pairwise(labels: Array, guesses: Array, weights: Array) -> Any:
    """All pairs, one by one."""
    total = 0.0
    for row, (truth, guess) in enumerate(zip(labels.reshape(len(labels), -1), guesses.reshape(len(labels), -1), strict=True)):
        d, n = guess - truth, truth.size
        pairs = sum((d[i] - d[j]) ** 2 for i in range(n) for j in range(n))
        total += np.broadcast_to(weights, (len(labels),) + (1,) * (labels.ndim - 1)).reshape(-1)[row] * pairs / (n * max(n - 1, 1))
    return total


def more_loss_cases() -> Iterator[Case]:
    labels, guesses = sample("labels", UNIT, F32, 5, 7), sample("guesses", UNIT, F32, 5, 7)
    for label, weights in (("scalar", np.float32(0.5)), ("rows", np.arange(5, dtype=np.float32)[:, None])):
        present = weights if label == "rows" else np.ones((5, 1))
        yield Case("losses.mean_pairwise_squared_error", label, gc.losses.mean_pairwise_squared_error, (labels, guesses, weights),
                   lambda y, x, w, p=present: _pairwise(y, x, w * (p != 0)), depth=245)
    three = [a.reshape(5, 1, 7) for a in (labels, guesses)]
    yield Case("losses.mean_pairwise_squared_error", "rank-3", gc.losses.mean_pairwise_squared_error, tuple(three),
               lambda y, x: _pairwise(y, x, np.float64(1)), depth=245)
    for axis in (0, -1):
        yield Case("losses.cosine_distance", f"{axis}", lambda y, x, a=axis: gc.losses.cosine_distance(y, x, a), (labels, guesses),
                   lambda y, x, a=axis: np.mean(1 - (x * y).sum(a)), depth=35)
    dims = np.arange(5, dtype=np.float32)[:, None]
    yield Case("losses.cosine_distance", "weights", lambda y, x, w: gc.losses.cosine_distance(y, x, dim=1, weights=w),
               (labels, guesses, dims), lambda y, x, w: ((1 - (x * y).sum(1)) * w[:, 0]).sum() / 4, depth=35, scale=4)
    classes = np.array([[1], [0], [6], [3], [2]])
    for weights in (np.arange(5, dtype=np.float32), np.arange(5, dtype=np.float32)[:, None]):
        yield Case("losses.sparse_softmax_cross_entropy", f"weights-{weights.ndim}", gc.losses.sparse_softmax_cross_entropy,
                   (classes, guesses, weights), lambda i, x, w: -(special.log_softmax(x, 1)[range(5), i[:, 0]] * w.reshape(5)).sum() / 4,
                   dtype=F32, depth=35, scale=4)


# Layers ----------------------------------------------------------------------------------------------------------------------------------

def _fill(shape: Sequence[int], dtype: Any = F32, **unused: Any) -> gc.Tensor:
    return gc.constant(_filled(tuple(shape)), dtype)


def _filled(shape: tuple[int, ...]) -> Array:
    """Weights that no order of axes leaves as they are."""
    return np.sin(np.arange(1, 1 + np.prod(shape))).reshape(shape)


def _windows(x: Array, sizes: Sequence[int], steps: Sequence[int]) -> Array:
    """[batch, space..., channels] as [batch, places..., taps..., channels]."""
    rank = len(sizes)
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(sizes), tuple(range(1, 1 + rank)))
    places = view[(slice(None), *(slice(None, None, step) for step in steps))]
    return np.moveaxis(places, 1 + rank, -1)


def _convolved(x: Array, taps: Sequence[int], steps: Sequence[int], filters: int) -> Any:
    kernel = _filled((*taps, x.shape[-1], filters))
    axes = list(range(1 + len(taps), 2 + 2 * len(taps)))
    return np.tensordot(_windows(x, taps, steps), kernel, (axes, list(range(len(taps) + 1))))


def _transposed(x: Array, taps: Sequence[int], steps: Sequence[int], filters: int) -> Array:
    """Every element adds its multiple of the kernel where its window is."""
    kernel = _filled((*taps, filters, x.shape[-1]))
    space = [(size - 1) * step + tap + max(step - tap, 0) for size, step, tap in zip(x.shape[1:-1], steps, taps, strict=True)]
    result = np.zeros((x.shape[0], *space, filters))
    for place in np.ndindex(*x.shape[1:-1]):
        for tap in np.ndindex(*taps):
            at = tuple(p * s + t for p, s, t in zip(place, steps, tap, strict=True))
            result[(slice(None), *at)] += x[(slice(None), *place)] @ kernel[tap].T
    return result


def _separated(x: Array, taps: Sequence[int], steps: Sequence[int], filters: int) -> Any:
    depth, rank = x.shape[-1], len(taps)
    deep = np.einsum("npc,pcm->ncm", _windows(x, taps, steps).reshape(-1, int(np.prod(taps)), depth), _filled((*taps, depth, 2)).reshape(
        -1, depth, 2))
    places = _windows(x, taps, steps).shape[:1 + rank]
    return deep.reshape(*places, depth * 2) @ _filled((*[1] * rank, depth * 2, filters)).reshape(depth * 2, filters)


def _pooled(reduce: Any) -> Any:
    return lambda x, taps, steps, filters: reduce(_windows(x, taps, steps), tuple(range(1 + len(taps), 1 + 2 * len(taps))))


# function: (expectation, spatial axes, order of derivatives that hold)
SPATIAL: dict[str, tuple[Any, int, int]] = {
    "conv1d": (_convolved, 1, 2), "conv2d": (_convolved, 2, 2), "conv3d": (_convolved, 3, 2), "conv2d_transpose": (_transposed, 2, 2),
    "conv3d_transpose": (_transposed, 3, 2), "separable_conv1d": (_separated, 1, 2), "separable_conv2d": (_separated, 2, 2),
    "max_pooling1d": (_pooled(np.max), 1, 1), "max_pooling2d": (_pooled(np.max), 2, 1), "max_pooling3d": (_pooled(np.max), 3, 1),
    "average_pooling1d": (_pooled(np.mean), 1, 1), "average_pooling2d": (_pooled(np.mean), 2, 1),
    "average_pooling3d": (_pooled(np.mean), 3, 1),
}


def spatial_cases() -> Iterator[Case]:
    for name, (expected, rank, slopes) in SPATIAL.items():
        taps, steps = (2, 3, 2)[:rank], (1, 2, 1)[:rank]
        pooling = "pool" in name
        for dtype, first in ((F64, False), (F32, True)):
            def build(x: gc.Tensor, n: str = name, c: bool = first, t: Any = taps, s: Any = steps, p: bool = pooling) -> gc.Tensor:
                depth = 2  # a layer must know its channels
                dims = [None] * (len(t) + 1)
                x.set_shape([None, depth, *dims[1:]] if c else [*dims, depth])
                layout = "channels_first" if c else "channels_last"
                more = {} if p else {"filters": 3, "depth_multiplier": 2} if "sep" in n else {"filters": 3}
                size = {"pool_size" if p else "kernel_size": t}
                with gc.variable_scope(None, "layer", initializer=_fill):
                    found: gc.Tensor = getattr(gc.layers, n)(x, strides=s, data_format=layout, **more, **size)
                    return found

            def wanted(x: Array, e: Any = expected, c: bool = first, t: Any = taps, s: Any = steps) -> Any:
                result = e(np.moveaxis(x, 1, -1) if c else x, t, s, 3)
                return np.moveaxis(result, -1, 1) if c else result
            space = (4, 5, 3)[:rank]
            label = f"{dtype.code}-{'first' if first else 'last'}"
            x = sample(name + label, SIGNED, dtype, *((2, 2, *space) if first else (2, *space, 2)))
            yield Case(f"layers.{name}", label, build, (x,), wanted, depth=36, scale=9, slopes=0 if first else slopes)


def normalising_layer_cases() -> Iterator[Case]:
    for dtype, shape in ((F32, (7, 5)), (F64, (3, 2)), (F64, (2, 2, 3)), (F64, (2, 2, 2, 2)), (F16, (9, 3))):
        def build(x: gc.Tensor, size: int = shape[-1]) -> gc.Tensor:
            x.set_shape([*[None] * (x.rank - 1), size] if x.rank else None)
            found: gc.Tensor = gc.layers.batch_normalization(x, training=True, epsilon=0.01)
            return found
        axes = tuple(range(len(shape) - 1))
        yield Case("layers.batch_normalization", name_of(dtype, shape), build, (sample(f"bn{shape}", SIGNED, dtype, *shape),),
                   lambda x, a=axes: (x - x.mean(a)) / np.sqrt(x.var(a) + 0.01), depth=16, scale=6, slopes=2 if dtype is F64 else 0,
                   known="rank")


def distributed_loss_cases() -> Iterator[Case]:
    """TF1's words for losses of several replicas, of which there is one."""
    losses, weights = sample("each", UNIT, F32, 7), sample("factors", UNIT, F32, 7)
    yield Case("nn.compute_average_loss", "plain", gc.nn.compute_average_loss, (losses,), lambda x: x.mean(), depth=7)
    yield Case("nn.compute_average_loss", "weights", lambda x, w: gc.nn.compute_average_loss(x, w, 4), (losses, weights),
               lambda x, w: (x * w).sum() / 4, depth=7)
    wide = losses.astype(np.float64)
    yield Case("nn.scale_regularization_loss", "", gc.nn.scale_regularization_loss, (wide,), lambda x: x.sum(), depth=7,
               slopes=1)


def families() -> dict[str, Sequence[Case]]:
    return {"batch-norm": list(batch_norm_cases()), "moments": list(moment_cases()), "other-nn": list(other_cases()),
            "more-losses": [*more_loss_cases(), *distributed_loss_cases()], "spatial-layers": list(spatial_cases()),
            "normalising-layers": list(normalising_layer_cases())}
