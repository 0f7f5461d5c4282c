"""The table of composites, concluded: matrix products, normalisation, softmax and cross entropies, clipping, losses, layers."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

import graphc as gc
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.composite_cases import SMALL_FLOATS, Array, Case, Function, name_of, public, sample
from tests.op_table import integers, uniform

F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32
SIGNED, UNIT = uniform(-3, 3), uniform(0.05, 0.95)


# Products -------------------------------------------------------------------------------------------------------------------------------

def _swapped(x: Array, swap: bool) -> Array:
    return np.swapaxes(x, -1, -2) if swap else x


PRODUCTS: tuple[tuple[tuple[int, ...], tuple[int, ...], bool, bool], ...] = (
    ((7, 33), (33, 5), False, False), ((33, 7), (33, 5), True, False), ((7, 33), (5, 33), False, True), ((1, 1), (1, 1), False, False),
    ((3, 0), (0, 4), False, False), ((0, 3), (3, 4), False, False), ((1, 130), (130, 1), False, False), ((65, 33), (70, 65), True, True),
    ((2, 7, 5), (2, 5, 3), False, False), ((2, 1, 5, 7), (3, 5, 4), True, False), ((0, 3, 4), (0, 4, 2), False, False),
    ((4, 3, 5), (1, 6, 5), False, True))


def product_cases() -> Iterator[Case]:
    kinds = ((F32, PRODUCTS), (F64, PRODUCTS[:3] + PRODUCTS[8:10]), (dtypes.float16, PRODUCTS[:2]), (dtypes.bfloat16, PRODUCTS[2:4]),
             (I32, PRODUCTS[:4]), (dtypes.int64, PRODUCTS[8:9]))
    for dtype, products in kinds:
        for left, right, a, b in products:
            label = f"{name_of(dtype, left, right)}-{a:d}{b:d}"
            arrays = tuple(sample(label + side, integers if dtype.is_integer else uniform(-1, 1), dtype, *shape)
                           for side, shape in (("a", left), ("b", right)))
            yield Case("matmul", label, lambda x, y, a=a, b=b: gc.matmul(x, y, a, b), arrays,
                       lambda x, y, a=a, b=b: np.matmul(_swapped(x, a), _swapped(y, b)), depth=99, slopes=2 if dtype is F64 else 0)
    large = sample("m1", uniform(-1, 1), F32, 300, 1030), sample("m2", uniform(-1, 1), F32, 1030, 33)
    yield Case("matmul", "large", gc.matmul, large, np.matmul, depth=1030)
    for dtype in (F32, F64):
        three, more = sample("t1", SIGNED, dtype, 2, 3, 4), sample("t2", SIGNED, dtype, 4, 2, 5)
        slopes = 2 if dtype is F64 else 0
        for axes in (1, [[0, 2], [1, 0]], [[2], [0]], 0):
            yield Case("tensordot", f"{dtype.code}-{axes}", lambda x, y, n=axes: gc.tensordot(x, y, n), (three, more),
                       lambda x, y, n=axes: np.tensordot(x, y, n), depth=99, scale=9, slopes=slopes if axes else 0, known="rank")
        matrix, weights, bias = (sample(f"d{n}", SIGNED, dtype, *shape) for n, shape in enumerate(((7, 9), (9, 33), (33,))))
        yield Case("nn.xw_plus_b", dtype.code, gc.nn.xw_plus_b, (matrix, weights, bias), lambda x, w, b: x @ w + b, depth=99, slopes=slopes)
        yield Case("nn.relu_layer", dtype.code, gc.nn.relu_layer, (matrix, weights, bias), lambda x, w, b: np.maximum(x @ w + b, 0),
                   depth=99, slopes=min(slopes, 1))
        yield Case("nn.bias_add", dtype.code, gc.nn.bias_add, (sample("b", SIGNED, dtype, 2, 5, 33), bias), np.add, slopes=min(slopes, 1))
        yield Case("nn.bias_add", dtype.code + "NCHW", lambda x, b: gc.nn.bias_add(x, b, "NCHW"), (sample("b", SIGNED, dtype, 2, 3, 4, 5),
                   bias[:3]), lambda x, b: x + b[:, None, None], slopes=min(slopes, 1))


# Softmax, normalisation -----------------------------------------------------------------------------------------------------------------

def _sharp(rng: np.random.Generator, t: Any) -> Any:
    return rng.normal(0, 3, t.dims).astype(t.dtype.np_dtype)


def softmax_cases() -> Iterator[Case]:
    shapes: tuple[tuple[tuple[int, ...], int], ...] = (
        ((7, 33), -1), ((5, 1030), -1), ((3, 1), -1), ((0, 4), -1), ((2, 3, 5), 1), ((9,), 0))
    for name, function in {"nn.softmax": special.softmax, "nn.log_softmax": special.log_softmax}.items():
        for dtype, chosen in ((F32, shapes), (F64, shapes[:1] + shapes[4:5]), *((kind, shapes[:1]) for kind in SMALL_FLOATS)):
            for shape, axis in chosen:
                label = f"{name_of(dtype, shape)}-{axis}"

                def expected(x: Array, f: Function = function, a: int = axis) -> Array:
                    return f(x, a) if x.size else x
                yield Case(name, label, lambda x, n=name, a=axis: public(n)(x, a), (sample(label, _sharp, dtype, *shape),), expected,
                           depth=4, scale=9 if "log" in name else 1, slopes=2 if dtype is F64 else 0, known="" if axis == -1 else "rank")
        far = np.array([[1e4, -1e4, 0.0], [700.0, 710.0, 720.0], [-3e38, 0, 3e38]], np.float32)
        yield Case(name, "far", public(name), (far,), lambda x, f=function: f(x, -1))
        odd = np.array([[0, np.nan, 1], [-np.inf, -np.inf, -np.inf], [-np.inf, 0, 1], [1, -np.inf, -np.inf]], np.float32)
        yield Case(name, "special", public(name), (odd,), lambda x, f=function: f(x, -1))
        masked = np.where(np.tri(33, dtype=bool), sample("mask", _sharp, F32, 33, 33), -np.inf).astype(np.float32)
        masked[20, 19] = np.nan
        yield Case(name, "masked", public(name), (masked,), lambda x, f=function: f(x, -1), depth=4, scale=9)
        large = sample("large", _sharp, F32, 300, 1030)
        yield Case(name, "large", public(name), (large,), lambda x, f=function: f(x, -1), depth=9, scale=9)


def _layer_norm(x: Array, scale: Array, offset: Array, epsilon: float = 1e-6) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + epsilon) * scale + offset


def normalising_cases() -> Iterator[Case]:
    for dtype, shape in ((F32, (7, 33)), (F32, (2, 3, 5)), (F32, (300, 1030)), (F32, (0, 4)), (F32, (3, 1)), (F64, (3, 5)),
                         (dtypes.float16, (7, 33)), (dtypes.bfloat16, (7, 33))):
        label = name_of(dtype, shape)
        x = sample(label, SIGNED, dtype, *shape)
        scale, offset, mean = (sample(f"{label}{n}", uniform(0.5, 2), dtype, shape[-1]) for n in range(3))
        slopes = 2 if dtype is F64 else 0
        yield Case("nn.layer_norm", label, gc.nn.layer_norm, (x, scale, offset), _layer_norm, depth=4, scale=3, slopes=slopes)
        yield Case("nn.batch_normalization", label, lambda x, m, v, s, o: gc.nn.batch_normalization(x, m, v, o, s, 1e-3),
                   (x, mean, scale, offset, offset), lambda x, m, v, s, o: (x - m) / np.sqrt(v + 1e-3) * s + o, depth=4, scale=9,
                   slopes=slopes)
        for axes in ([0], list(range(len(shape)))):
            if x.size and dtype not in SMALL_FLOATS[1:]:
                yield Case("nn.moments", f"{label}{axes}", lambda x, a=axes: gc.nn.moments(x, a), (x,),
                           lambda x, a=axes: [x.mean(tuple(a)), x.var(tuple(a))], depth=99, scale=3, slopes=slopes)
    centred = np.ones((3, 5))
    yield Case("nn.batch_normalization", "plain", lambda x, m, v: gc.nn.batch_normalization(x, m, v, None, None, 1e-3),
               (x := sample("bn", SIGNED, F64, 3, 5), x[0], centred[0]), lambda x, m, v: (x - m) / np.sqrt(v + 1e-3))
    yield Case("nn.moments", "keep", lambda x: gc.nn.moments(x, [1], keep_dims=True), (x,),
               lambda x: [x.mean(1, keepdims=True), x.var(1, keepdims=True)], slopes=2)
    yield from _norm_cases()


def _norm_cases() -> Iterator[Case]:
    for dtype in (F32, F64):
        x = sample("norm", SIGNED, dtype, 5, 7)
        slopes = 2 if dtype is F64 else 0
        for name in ("l2_normalize", "nn.l2_normalize"):
            yield Case(name, dtype.code, lambda x, n=name: public(n)(x, 1), (x,), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
                       depth=9, slopes=slopes)
        yield Case("l2_normalize", dtype.code + "zero", lambda x: gc.l2_normalize(x, [0, 1]), (0 * x,), lambda x: x)
        for order, axis in (("euclidean", None), (2, 1), (1, 0), (3, 1), (np.inf, 1), ("fro", [0, 1]), (1, [0, 1]), (np.inf, [0, 1])):
            expected_order = None if order == "euclidean" else order

            def expected(x: Array, o: Any = expected_order, a: Any = axis) -> Array:
                return np.asarray(np.linalg.norm(x, o, tuple(a) if isinstance(a, list) else a))
            smooth = 2 if order in ("euclidean", 2, 3, "fro") else 1
            yield Case("norm", f"{dtype.code}-{order}-{axis}", lambda x, o=order, a=axis: gc.norm(x, o, a), (x,), expected, depth=35,
                       scale=3, slopes=min(slopes, smooth))
        yield Case("nn.l2_loss", dtype.code, gc.nn.l2_loss, (x,), lambda x: (x ** 2).sum() / 2, depth=35, scale=9, slopes=slopes)
        arrays = tuple(sample(f"n{n}", SIGNED, dtype, 7, 5) for n in range(3))
        for name in ("add_n", "accumulate_n"):
            yield Case(name, dtype.code, lambda *xs, n=name: public(n)(xs), arrays, lambda *xs: sum(xs), scale=9, slopes=min(slopes, 1))
    yield Case("add_n", "one", lambda x: gc.add_n([x]), (x,), lambda x: x)


# Cross entropies ------------------------------------------------------------------------------------------------------------------------

def _dense_loss(labels: Array, logits: Array, axis: int = -1) -> Any:
    return -(labels * special.log_softmax(logits, axis)).sum(axis) if logits.size else np.zeros(logits.shape[:-1])


def _sparse_loss(labels: Array, logits: Array) -> Array:
    found = np.full(labels.shape, np.nan)
    for place in np.ndindex(labels.shape):
        if 0 <= labels[place] < logits.shape[-1]:
            found[place] = -special.log_softmax(logits[place])[labels[place]]
    return found


def _sigmoid_loss(labels: Array, logits: Array) -> Any:
    return -labels * special.log_expit(logits) - (1 - labels) * special.log_expit(-logits)


def entropy_cases() -> Iterator[Case]:
    for dtype, shape in ((F32, (7, 33)), (F32, (2, 3, 5)), (F32, (5, 1030)), (F32, (0, 4)), (F32, (3, 1)), (F64, (3, 5)),
                         (dtypes.float16, (7, 33)), (dtypes.bfloat16, (7, 33))):
        label = name_of(dtype, shape)
        logits = sample(label, _sharp, dtype, *shape)
        target = special.softmax(sample(label + "t", SIGNED, F64, *shape), -1).astype(dtype.np_dtype) if logits.size else logits
        places = np.random.default_rng(len(label)).integers(0, shape[-1], shape[:-1])
        slopes = 2 if dtype is F64 else 0
        for name in ("nn.softmax_cross_entropy_with_logits_v2", "nn.softmax_cross_entropy_with_logits"):
            yield Case(name, label, lambda x, y=target, n=name: public(n)(labels=gc.constant(y), logits=x), (logits,),
                       lambda x, y=target: _dense_loss(y.astype(np.float64), x), depth=9, scale=9, slopes=slopes)
        for kind in (np.int32, np.int64):
            yield Case("nn.sparse_softmax_cross_entropy_with_logits", f"{label}-{np.dtype(kind)}",
                       lambda x, i: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x), (logits, places.astype(kind)),
                       lambda x, i: _sparse_loss(i, x), depth=9, scale=9, slopes=slopes)
        yield Case("nn.sigmoid_cross_entropy_with_logits", label, lambda y, x: gc.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x),
                   (target, logits), _sigmoid_loss, depth=4, scale=9, slopes=slopes)
        yield Case("nn.weighted_cross_entropy_with_logits", label, lambda y, x: gc.nn.weighted_cross_entropy_with_logits(y, x, 2.5),
                   (target, logits), _weighted_loss, depth=4, scale=9, slopes=slopes)
    x, y = (sample(f"axis{n}", UNIT, F64, 2, 3, 4) for n in range(2))
    yield Case("nn.softmax_cross_entropy_with_logits_v2", "axis", lambda y, x: gc.nn.softmax_cross_entropy_with_logits_v2(y, x, axis=1),
               (y, x), lambda y, x: _dense_loss(y, x, 1), known="rank")
    many = sample("many", _sharp, F32, 3, 300)
    yield Case("nn.sparse_softmax_cross_entropy_with_logits", "narrow",
               lambda x, i: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x), (many, np.array([2, 255, 0], np.uint8)),
               lambda x, i: _sparse_loss(i, x), depth=9, scale=9)
    wrong = np.array([0, 4, -1, 3])
    yield Case("nn.sparse_softmax_cross_entropy_with_logits", "out-of-range",
               lambda x, i: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x), (sample("wrong", SIGNED, F32, 4, 4), wrong),
               lambda x, i: _sparse_loss(i, x))


def _weighted_loss(labels: Array, logits: Array) -> Any:
    return -2.5 * labels * special.log_expit(logits) - (1 - labels) * special.log_expit(-logits)


# Clipping -------------------------------------------------------------------------------------------------------------------------------

def _to_norm(x: Array, limit: float, axis: Any = None, count: int = 1) -> Any:
    return x * limit / np.maximum(np.sqrt((x * x).sum(axis, keepdims=True)) / count, limit)


def _to_global_norm(*xs: Array, limit: float) -> list[Array]:
    length = np.sqrt(sum((x * x).sum() for x in xs))
    scale = limit / max(length, limit) if np.isfinite(length) else np.nan
    return [*(x * scale for x in xs), length]


def clipping_cases() -> Iterator[Case]:
    for dtype in (F32, F64):
        x, y = sample("clip", SIGNED, dtype, 5, 33), sample("clip2", SIGNED, dtype, 7)
        slopes = 1 if dtype is F64 else 0
        yield Case("clip_by_value", dtype.code, lambda x: gc.clip_by_value(x, -1, 0.5), (x,), lambda x: np.clip(x, -1, 0.5), slopes=slopes)
        for limit in (1.0, 100.0):
            label = f"{dtype.code}-{limit}"
            yield Case("clip_by_norm", label, lambda x, n=limit: gc.clip_by_norm(x, n), (x,), lambda x, n=limit: _to_norm(x, n), depth=99,
                       slopes=2 * slopes)
            yield Case("clip_by_norm", label + "rows", lambda x, n=limit: gc.clip_by_norm(x, n, [1]), (x,),
                       lambda x, n=limit: _to_norm(x, n, 1), depth=99, slopes=2 * slopes)
            yield Case("clip_by_average_norm", label, lambda x, n=limit: gc.clip_by_average_norm(x, n / 50), (x,),
                       lambda x, n=limit: _to_norm(x, n / 50, count=x.size), depth=99, slopes=2 * slopes)
            yield Case("clip_by_global_norm", label, lambda *xs, n=limit: [*(found := gc.clip_by_global_norm(xs, n))[0], found[1]], (x, y),
                       lambda *xs, n=limit: _to_global_norm(*xs, limit=n), depth=99, slopes=2 * slopes)
        yield Case("global_norm", dtype.code, lambda *xs: gc.global_norm([xs[0], None, xs[1]]), (x, y),
                   lambda *xs: _to_global_norm(*xs, limit=1)[-1], depth=200, slopes=2 * slopes)
    bounds = np.array([np.nan, np.inf, -np.inf, 0.2, -5], np.float32)
    yield Case("clip_by_value", "special", lambda x: gc.clip_by_value(x, -1.0, 0.5), (bounds,), lambda x: np.clip(x, -1, 0.5))
    yield Case("clip_by_norm", "zero", lambda x: gc.clip_by_norm(x, 1.0), (np.zeros(7),), lambda x: x, slopes=0)
    yield Case("clip_by_global_norm", "not-finite", lambda x: gc.clip_by_global_norm([x], 1.0)[0], (bounds,), lambda x: [x * np.nan])


# Losses ---------------------------------------------------------------------------------------------------------------------------------

def _huber(labels: Array, guesses: Array) -> Any:
    return special.huber(0.7, guesses - labels)


LOSSES: dict[str, tuple[Function, Function]] = {
    "absolute_difference": (gc.losses.absolute_difference, lambda y, x: np.abs(x - y)),
    "mean_squared_error": (gc.losses.mean_squared_error, lambda y, x: (x - y) ** 2),
    "log_loss": (gc.losses.log_loss, lambda y, x: -y * np.log(x + 1e-7) - (1 - y) * np.log(1 - x + 1e-7)),
    "hinge_loss": (gc.losses.hinge_loss, lambda y, x: np.maximum(0, 1 - (2 * y - 1) * x)),
    "huber_loss": (lambda y, x, w, **more: gc.losses.huber_loss(y, x, w, delta=0.7, **more), _huber),
    "sigmoid_cross_entropy": (gc.losses.sigmoid_cross_entropy, _sigmoid_loss),
    "compute_weighted_loss": (lambda y, x, w, **more: gc.losses.compute_weighted_loss(x * y, w, **more), lambda y, x: x * y),
}


def _reduced(values: Array, weights: Array, how: str) -> Any:
    spread = np.broadcast_to(weights, values.shape)
    total = (values * spread).sum()
    counts = {"weighted_sum": 1.0, "weighted_sum_over_batch_size": values.size, "weighted_mean": spread.sum(),
              "weighted_sum_by_nonzero_weights": np.count_nonzero(spread)}
    return values * spread if how == "none" else np.float64(total / counts[how] if counts[how] else 0.0)


def loss_cases() -> Iterator[Case]:
    labels, guesses = sample("labels", UNIT, F32, 7, 33), sample("guesses", UNIT, F32, 7, 33)
    weights = np.where(np.arange(7) % 3 == 0, 0, sample("weights", UNIT, F32, 7))[:, None].astype(np.float32)
    for name, (build, expected) in LOSSES.items():
        for how in gc.losses.Reduction.all():
            yield Case(f"losses.{name}", how, lambda y, x, w, f=build, h=how: f(y, x, w, reduction=h), (labels, guesses, weights),
                       lambda y, x, w, f=expected, h=how: _reduced(f(y, x), w, h), depth=231)
    yield Case("losses.mean_squared_error", "no-weights", lambda y, x: gc.losses.mean_squared_error(y, x, 0 * x), (labels, guesses),
               lambda y, x: 0.0)
    one = np.eye(33, dtype=np.float32)[np.arange(7) * 4]
    for smoothing in (0.0, 0.1):
        def smooth(y: Array, towards: float, s: float = smoothing) -> Array:
            return y * (1 - s) + s * towards
        yield Case("losses.softmax_cross_entropy", f"{smoothing}", lambda y, x, s=smoothing: gc.losses.softmax_cross_entropy(
            y, x, label_smoothing=s), (one, guesses), lambda y, x, f=smooth: _dense_loss(f(y, 1 / 33), x).mean(), depth=231, scale=3)
        yield Case("losses.sigmoid_cross_entropy", f"smooth{smoothing}", lambda y, x, s=smoothing: gc.losses.sigmoid_cross_entropy(
            y, x, label_smoothing=s), (one, guesses), lambda y, x, f=smooth: _sigmoid_loss(f(y, 0.5), x).mean(), depth=231)
    for shape in ((7,), (7, 1)):
        yield Case("losses.sparse_softmax_cross_entropy", f"{shape}", lambda i, x: gc.losses.sparse_softmax_cross_entropy(i, x),
                   ((np.arange(7) * 4).reshape(shape), guesses), lambda i, x: _sparse_loss(i.reshape(7), x).mean(), dtype=F32, depth=231,
                   scale=3, known="" if shape == (7,) else "shape")


# Layers ---------------------------------------------------------------------------------------------------------------------------------

def layer_cases() -> Iterator[Case]:
    for dtype, shape in ((F32, (7, 9)), (F64, (2, 3, 9)), (dtypes.float16, (7, 9))):
        def build(x: gc.Tensor, kind: DType = dtype) -> gc.Tensor:
            ramp = gc.constant_initializer(np.linspace(-1, 1, 9 * 5), kind)
            return gc.layers.dense(x, 5, gc.nn.relu, kernel_initializer=ramp, bias_initializer=gc.constant_initializer(0.25, kind))

        def expected(x: Array, kind: DType = dtype) -> Array:
            kernel = np.linspace(-1, 1, 45).astype(kind.np_dtype).astype(np.float64)
            return np.maximum(x @ kernel.reshape(9, 5) + 0.25, 0)
        yield Case("layers.dense", name_of(dtype, shape), build, (sample("dense", SIGNED, dtype, *shape),), expected, depth=9, scale=3,
                   slopes=int(dtype is F64), known="shape")
    x = sample("dropout", SIGNED, F32, 5, 7)
    yield Case("layers.dropout", "not-training", gc.layers.dropout, (x,), lambda x: x)
    yield Case("layers.dropout", "fed", lambda x, t: gc.layers.dropout(x, training=t), (x, np.array(False)), lambda x, t: x)
    yield Case("layers.dropout", "all-kept", lambda x: gc.layers.dropout(x, 0.0, training=True), (x,), lambda x: x)
    yield Case("nn.dropout", "all-kept", lambda x: gc.nn.dropout(x, keep_prob=1.0), (x,), lambda x: x)


def families() -> dict[str, Sequence[Case]]:
    return {"products": list(product_cases()), "softmax": list(softmax_cases()), "normalising": list(normalising_cases()),
            "entropies": list(entropy_cases()), "clipping": list(clipping_cases()), "losses": list(loss_cases()),
            "layers": list(layer_cases())}
