"""The table of composites, continued: convolutions in all their forms, patches, morphology, blocks. Expectations are loops over taps."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, name_of, sample
from tests.op_table import integers, uniform

F32, F64, F16, BF16 = dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16
UNIT = uniform(-1, 1)
Ints = tuple[int, ...]


# What is expected ---------------------------------------------------------------------------------------------------------------------

def places(sizes: Sequence[int], taps: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: Any,
           ) -> tuple[list[int], Iterator[tuple[Ints, Ints, Ints]]]:
    """How many positions there are, and every (position, tap, element) that meet. padding: a word, or pairs."""
    lows, counts = [], []
    for n, (size, k, s, d) in enumerate(zip(sizes, taps, strides, rates, strict=True)):
        extent = (k - 1) * d + 1
        if padding == "SAME":
            counts.append(-(-size // s))
            lows.append(max((counts[-1] - 1) * s + extent - size, 0) // 2)
        else:
            low, high = (0, 0) if padding == "VALID" else padding[n]
            counts.append((size + low + high - extent) // s + 1)
            lows.append(low)

    def meetings() -> Iterator[tuple[Ints, Ints, Ints]]:
        for position in itertools.product(*map(range, counts)):
            for tap in itertools.product(*map(range, taps)):
                at = tuple(p * s + t * d - low for p, s, t, d, low in zip(position, strides, tap, rates, lows, strict=True))
                if all(0 <= place < size for place, size in zip(at, sizes, strict=True)):
                    yield position, tap, at
    return counts, meetings()


def convolved(x: Array, w: Array, strides: Sequence[int], padding: Any, rates: Sequence[int]) -> Array:
    """Channels last; the filter's input features may be those of one group."""
    counts, meetings = places(x.shape[1:-1], w.shape[:-2], strides, rates, padding)
    groups = x.shape[-1] // w.shape[-2] if w.shape[-2] else 1
    result = np.zeros((x.shape[0], *counts, w.shape[-1]))
    inner, outer = w.shape[-2], w.shape[-1] // groups
    for position, tap, at in meetings:
        for g in range(groups):
            mine, seen = slice(g * outer, (g + 1) * outer), slice(g * inner, (g + 1) * inner)
            result[(slice(None), *position, mine)] += x[(slice(None), *at, seen)] @ w[tap][:, mine]
    return result


def spread_back(sizes: Sequence[int], w: Array, y: Array, strides: Sequence[int], padding: Any, rates: Sequence[int]) -> Array:
    """The gradient of `convolved` by an operand of spatial `sizes`: every result handed back to what it was made of."""
    groups = 1
    result = np.zeros((y.shape[0], *sizes, w.shape[-2] * groups))
    for position, tap, at in places(sizes, w.shape[:-2], strides, rates, padding)[1]:
        result[(slice(None), *at)] += y[(slice(None), *position)] @ w[tap].T
    return result


def by_filter(x: Array, sizes: Sequence[int], y: Array, strides: Sequence[int], padding: Any, rates: Sequence[int]) -> Array:
    """The gradient of `convolved` by a filter of spatial `sizes`."""
    result = np.zeros((*sizes, x.shape[-1], y.shape[-1]))
    for position, tap, at in places(x.shape[1:-1], sizes, strides, rates, padding)[1]:
        result[tap] += x[(slice(None), *at)].T @ y[(slice(None), *position)]
    return result


def depthwise(x: Array, w: Array, strides: Sequence[int], padding: Any, rates: Sequence[int]) -> Array:
    return convolved(x, w.reshape(*w.shape[:2], 1, -1), strides, padding, rates)


def first(x: Array) -> Array:
    """Channels moved from the last axis to the second."""
    return np.moveaxis(x, -1, 1)


def last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1)


# Convolutions -------------------------------------------------------------------------------------------------------------------------

# Images, filters, strides, padding, rates.
IMAGES: tuple[tuple[Ints, Ints, Ints, Any, Ints], ...] = (
    ((2, 5, 4, 2), (3, 3, 2, 3), (1, 1), "SAME", (1, 1)), ((1, 5, 6, 1), (2, 3, 1, 2), (2, 1), "VALID", (1, 1)),
    ((2, 4, 5, 2), (3, 2, 2, 1), (2, 3), "SAME", (1, 1)), ((1, 6, 5, 1), (3, 2, 1, 2), (1, 1), "SAME", (2, 3)),
    ((1, 4, 4, 2), (2, 2, 2, 2), (1, 2), ((1, 0), (2, 1)), (1, 1)), ((1, 4, 3, 4), (2, 2, 2, 4), (1, 1), "SAME", (1, 1)),
    ((0, 4, 4, 2), (2, 2, 2, 3), (1, 1), "SAME", (1, 1)), ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), "VALID", (1, 1)),
    ((1, 7, 9, 16), (3, 3, 16, 33), (1, 1), "SAME", (1, 1)), ((2, 5, 5, 32), (3, 3, 32, 16), (2, 2), "SAME", (1, 1)),
    ((1, 6, 5, 70), (3, 3, 70, 3), (1, 1), "SAME", (1, 1)), ((1, 9, 8, 3), (5, 5, 3, 17), (2, 2), "SAME", (1, 1)),
    ((1, 5, 5, 20), (2, 2, 5, 24), (1, 1), "VALID", (1, 1)), ((2, 5, 5, 64), (1, 1, 64, 20), (2, 2), "VALID", (1, 1)))


def explicit(padding: Any, layout: str = "NHWC") -> Any:
    """Padding as conv2d takes it."""
    if isinstance(padding, str):
        return padding
    pairs = [list(pair) for pair in padding]
    return [[0, 0], *pairs, [0, 0]] if layout == "NHWC" else [[0, 0], [0, 0], *pairs]


def image_cases() -> Iterator[Case]:
    for dtype, chosen in ((F32, IMAGES), (F64, IMAGES[:8]), (F16, IMAGES[:2]), (BF16, (IMAGES[3], IMAGES[9]))):
        for x, w, strides, padding, rates in chosen:
            label = f"{name_of(dtype, x, w)}-{strides}-{padding}-{rates}".replace(" ", "")
            arrays = (sample(label, UNIT, dtype, *x), sample(label + "w", UNIT, dtype, *w))
            depth, slopes = int(np.prod(w[:-1])), 2 if dtype is F64 and x[0] else 0
            yield Case("nn.conv2d", label,
                       lambda a, b, s=strides, p=padding, r=rates: gc.nn.conv2d(a, b, [1, *s, 1], explicit(p), dilations=r), arrays,
                       lambda a, b, s=strides, p=padding, r=rates: convolved(a, b, s, p, r), depth=depth, slopes=slopes)
            yield Case("nn.conv2d", f"{label}-NCHW",
                       lambda a, b, s=strides, p=padding, r=rates: gc.nn.conv2d(
                           a, filters=b, strides=s, padding=explicit(p, "NCHW"), data_format="NCHW", dilations=[1, 1, *r]),
                       (np.ascontiguousarray(first(arrays[0])), arrays[1]),
                       lambda a, b, s=strides, p=padding, r=rates: first(convolved(last(a), b, s, p, r)), depth=depth,
                       slopes=slopes if x[1] == 5 else 0)


def _case(subject: str, label: str, build: Callable[..., Any], expected: Callable[..., Any], *shapes: Ints,
          known: str = "") -> Iterator[Case]:
    """The same sample in float32, and in float64 with its slopes."""
    depth = max(int(np.prod(shape)) for shape in shapes)
    for dtype in (F32, F64):
        arrays = tuple(sample(f"{subject}{label}{n}", UNIT, dtype, *shape) for n, shape in enumerate(shapes))
        yield Case(subject, f"{label}-{dtype.code}", build, arrays, expected, depth=depth, slopes=2 * (dtype is F64), known=known)


def _public(*names: str) -> list[tuple[str, Callable[..., Any]]]:
    """Functions of `nn` with the subjects of their samples."""
    return [(f"nn.{name}", getattr(gc.nn, name)) for name in names]


def line_and_volume_cases() -> Iterator[Case]:
    yield from _case("nn.conv1d", "same", lambda a, b: gc.nn.conv1d(a, b, 2, "SAME"),
                     lambda a, b: convolved(a, b, (2,), "SAME", (1,)), (2, 5, 2), (3, 2, 3), known="rank")
    yield from _case("nn.conv1d", "ncw", lambda a, b: gc.nn.conv1d(input=a, filters=b, stride=[1], padding="VALID", data_format="NCW",
                                                                   dilations=2),
                     lambda a, b: first(convolved(last(a), b, (1,), "VALID", (2,))), (1, 2, 6), (3, 2, 2), known="rank")
    yield from _case("nn.conv3d", "same", lambda a, b: gc.nn.conv3d(a, b, [1, 2, 1, 1, 1], "SAME"),
                     lambda a, b: convolved(a, b, (2, 1, 1), "SAME", (1, 1, 1)), (1, 3, 2, 3, 2), (2, 2, 3, 2, 2))
    yield from _case("nn.conv3d", "ncdhw", lambda a, b: gc.nn.conv3d(a, b, [1] * 5, "VALID", "NCDHW"),
                     lambda a, b: first(convolved(last(a), b, (1, 1, 1), "VALID", (1, 1, 1))), (1, 2, 3, 2, 3), (2, 1, 2, 2, 1))
    yield from _case("nn.convolution", "1d", lambda a, b: gc.nn.convolution(a, b, "VALID", [2]),
                     lambda a, b: convolved(a, b, (2,), "VALID", (1,)), (2, 5, 2), (2, 2, 2), known="rank")
    yield from _case("nn.convolution", "2d", lambda a, b: gc.nn.convolution(a, b, "SAME", dilation_rate=[2, 3]),
                     lambda a, b: convolved(a, b, (1, 1), "SAME", (2, 3)), (1, 5, 4, 1), (2, 3, 1, 2), known="rank")
    yield from _case("nn.convolution", "3d", lambda a, b: gc.nn.convolution(a, b, "SAME", dilations=[1, 2, 1], data_format="NCDHW"),
                     lambda a, b: first(convolved(last(a), b, (1, 1, 1), "SAME", (1, 2, 1))), (1, 1, 2, 4, 2), (2, 2, 1, 1, 2),
                     known="rank")
    yield from _case("nn.atrous_conv2d", "same", lambda a, b: gc.nn.atrous_conv2d(a, b, 2, "SAME"),
                     lambda a, b: convolved(a, b, (1, 1), "SAME", (2, 2)), (1, 5, 5, 2), (2, 2, 2, 2), known="rank")
    yield from _case("nn.atrous_conv2d", "valid", lambda a, b: gc.nn.atrous_conv2d(a, b, 2, "VALID"),
                     lambda a, b: convolved(a, b, (1, 1), "VALID", (2, 2)), (1, 6, 5, 1), (3, 2, 1, 2), known="rank")


def transposed_cases() -> Iterator[Case]:
    for strides, padding, shape, filters, sizes in (
            ((2, 2), "SAME", (1, 3, 2, 2), (3, 3, 1, 2), (5, 4)), ((2, 1), "VALID", (2, 2, 3, 1), (3, 2, 2, 1), (6, 4)),
            ((3, 3), "SAME", (1, 2, 2, 1), (2, 2, 1, 1), (5, 6)), ((2, 2), "SAME", (1, 4, 3, 20), (4, 4, 18, 20), (8, 6)),
            ((2, 2), "SAME", (1, 3, 3, 17), (5, 5, 3, 17), (6, 6)), ((1, 1), "SAME", (1, 4, 5, 24), (3, 3, 2, 24), (4, 5))):
        n, outer = shape[0], filters[2]
        label = f"{shape}-{filters}-{strides}-{padding}".replace(" ", "")
        slow = int(np.prod(shape)) + int(np.prod(filters)) > 100

        def expected(a: Array, b: Array, s: Ints = strides, p: str = padding, z: Ints = sizes) -> Array:
            return spread_back(z, b, a, s, p, (1, 1))
        for case in _case("nn.conv2d_transpose", label, lambda a, b, s=strides, p=padding, z=sizes, n=n, o=outer: gc.nn.conv2d_transpose(
                a, b, [n, *z, o], [1, *s, 1], p), expected, shape, filters):
            if not (slow and case.slopes):
                yield case
        for case in _case("nn.conv2d_backprop_input", label, lambda b, a, s=strides, p=padding, z=sizes, n=n, o=outer:
                          gc.nn.conv2d_backprop_input([n, *z, o], b, a, [1, *s, 1], p), lambda b, a, f=expected: f(a, b), filters, shape):
            if not (slow and case.slopes):
                yield case
    yield from _case("nn.conv2d_transpose", "nchw", lambda a, b: gc.nn.conv2d_transpose(
        a, b, gc.stack([gc.shape(a)[0], 2, 4, 4]), 2, data_format="NCHW"),
        lambda a, b: first(spread_back((4, 4), b, last(a), (2, 2), "SAME", (1, 1))), (2, 1, 2, 2), (3, 3, 2, 1))
    yield from _case("nn.conv1d_transpose", "same", lambda a, b: gc.nn.conv1d_transpose(a, b, [2, 6, 2], 2),
                     lambda a, b: spread_back((6,), b, a, (2,), "SAME", (1,)), (2, 3, 3), (3, 2, 3), known="rank")
    yield from _case("nn.conv3d_transpose", "same", lambda a, b: gc.nn.conv3d_transpose(a, b, [1, 4, 2, 3, 1], [1, 2, 1, 1, 1]),
                     lambda a, b: spread_back((4, 2, 3), b, a, (2, 1, 1), "SAME", (1, 1, 1)), (1, 2, 2, 3, 2), (3, 2, 2, 1, 2))
    yield from _case("nn.conv_transpose", "2d", lambda a, b: gc.nn.conv_transpose(a, b, [1, 4, 5, 2], 2),
                     lambda a, b: spread_back((4, 5), b, a, (2, 2), "SAME", (1, 1)), (1, 2, 3, 2), (2, 3, 2, 2))
    yield from _case("nn.atrous_conv2d_transpose", "same", lambda a, b: gc.nn.atrous_conv2d_transpose(a, b, [1, 5, 4, 2], 2, "SAME"),
                     lambda a, b: spread_back((5, 4), b, a, (1, 1), "SAME", (2, 2)), (1, 5, 4, 1), (2, 2, 2, 1))


def filter_cases() -> Iterator[Case]:
    for x, sizes, y, strides, padding in (
            ((2, 4, 5, 2), (3, 2), (2, 2, 5, 3), (2, 1), "SAME"), ((1, 5, 4, 1), (2, 3), (1, 4, 2, 2), (1, 1), "VALID")):
        dims = [*sizes, x[-1], y[-1]]
        yield from _case("nn.conv2d_backprop_filter", f"{x}-{sizes}".replace(" ", ""),
                         lambda a, b, d=dims, s=strides, p=padding: gc.nn.conv2d_backprop_filter(a, d, b, [1, *s, 1], p),
                         lambda a, b, k=sizes, s=strides, p=padding: by_filter(a, k, b, s, p, (1, 1)), x, y)
    for x, sizes, y in (((1, 6, 6, 33), (3, 3), (1, 6, 6, 20)), ((2, 5, 4, 32), (3, 3), (2, 5, 4, 3)),
                        ((1, 7, 5, 3), (5, 5), (1, 7, 5, 16))):
        arrays = tuple(sample(f"filter{x}{n}", UNIT, F32, *shape) for n, shape in enumerate((x, y)))
        yield Case("nn.conv2d_backprop_filter", f"{x}-wide".replace(" ", ""),
                   lambda a, b, d=[*sizes, x[-1], y[-1]]: gc.nn.conv2d_backprop_filter(a, d, b, [1, 1, 1, 1], "SAME"), arrays,
                   lambda a, b, k=sizes: by_filter(a, k, b, (1, 1), "SAME", (1, 1)), depth=72)
    for name, function in _public("conv3d_backprop_filter", "conv3d_backprop_filter_v2"):
        yield from _case(name, "same", lambda a, b, f=function: f(a, [2, 2, 1, 2, 2], b, [1, 1, 2, 1, 1], "SAME"),
                         lambda a, b: by_filter(a, (2, 2, 1), b, (1, 2, 1), "SAME", (1, 1, 1)), (1, 2, 4, 2, 2), (1, 2, 2, 2, 2))


def depthwise_cases() -> Iterator[Case]:
    for x, w, strides, padding, rates in (
            ((2, 4, 5, 3), (3, 2, 3, 2), (1, 1), "SAME", (1, 1)), ((1, 5, 5, 2), (2, 2, 2, 1), (2, 2), "VALID", (1, 1)),
            ((1, 5, 4, 2), (2, 3, 2, 1), (1, 1), "SAME", (2, 2))):
        label = f"{x}-{w}-{strides}".replace(" ", "")

        def expected(a: Array, b: Array, s: Ints = strides, p: str = padding, r: Ints = rates) -> Array:
            return depthwise(a, b, s, p, r)
        yield from _case("nn.depthwise_conv2d", label, lambda a, b, s=strides, p=padding, r=rates: gc.nn.depthwise_conv2d(
            a, b, [1, *s, 1], p, rate=r), expected, x, w)
        yield from _case("nn.depthwise_conv2d_native", label, lambda a, b, s=strides, p=padding, r=rates: gc.nn.depthwise_conv2d_native(
            a, b, [1, *s, 1], p, dilations=[1, *r, 1]), expected, x, w)
    arrays = (sample("dw", UNIT, F32, 1, 7, 9, 37), sample("dww", UNIT, F32, 3, 3, 37, 1))
    yield Case("nn.depthwise_conv2d", "wide", lambda a, b: gc.nn.depthwise_conv2d(a, b, [1, 1, 1, 1], "SAME"), arrays,
               lambda a, b: depthwise(a, b, (1, 1), "SAME", (1, 1)), depth=9)
    yield from _case("nn.depthwise_conv2d", "nchw", lambda a, b: gc.nn.depthwise_conv2d(a, b, [1, 1, 1, 1], "SAME", data_format="NCHW"),
                     lambda a, b: first(depthwise(last(a), b, (1, 1), "SAME", (1, 1))), (1, 2, 3, 4), (2, 2, 2, 2))
    yield from _case("nn.separable_conv2d", "same", lambda a, b, c: gc.nn.separable_conv2d(a, b, c, [1, 1, 1, 1], "SAME"),
                     lambda a, b, c: depthwise(a, b, (1, 1), "SAME", (1, 1)) @ c[0, 0], (1, 4, 3, 2), (2, 3, 2, 2), (1, 1, 4, 3))
    sizes, filters = [1, 4, 3, 2], [2, 2, 2, 2]
    for name, function in _public("depthwise_conv2d_native_backprop_input", "depthwise_conv2d_backprop_input"):
        yield from _case(name, "same", lambda b, a, f=function: f(sizes, b, a, [1, 1, 1, 1], "SAME"),
                         lambda b, a: np.concatenate([spread_back((4, 3), b[:, :, c:c + 1], a[..., 2 * c:2 * c + 2], (1, 1), "SAME", (1, 1))
                                                      for c in range(2)], -1), (2, 2, 2, 2), (1, 4, 3, 4))
    for name, function in _public("depthwise_conv2d_native_backprop_filter", "depthwise_conv2d_backprop_filter"):
        yield from _case(name, "same", lambda a, b, f=function: f(a, filters, b, [1, 1, 1, 1], "SAME"),
                         lambda a, b: np.concatenate([by_filter(a[..., c:c + 1], (2, 2), b[..., 2 * c:2 * c + 2], (1, 1), "SAME", (1, 1))
                                                      for c in range(2)], 2), (1, 4, 3, 2), (1, 4, 3, 4))


# Patches and blocks -------------------------------------------------------------------------------------------------------------------

def patched(x: Array, sizes: Ints, strides: Ints, padding: str, rates: Ints) -> Array:
    counts, meetings = places(x.shape[1:-1], sizes, strides, rates, padding)
    result = np.zeros((x.shape[0], *counts, *sizes, x.shape[-1]), x.dtype)
    for position, tap, at in meetings:
        result[(slice(None), *position, *tap)] = x[(slice(None), *at)]
    return result.reshape(x.shape[0], *counts, -1)


def dilated(x: Array, w: Array, strides: Ints, padding: str, rates: Ints) -> Array:
    counts, meetings = places(x.shape[1:-1], w.shape[:-1], strides, rates, padding)
    result = np.full((x.shape[0], *counts, x.shape[-1]), np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf, x.dtype)
    for position, tap, at in meetings:
        spot = (slice(None), *position)
        result[spot] = np.maximum(result[spot], x[(slice(None), *at)] + w[tap])
    return result


def patch_cases() -> Iterator[Case]:
    for name in ("extract_image_patches", "image.extract_image_patches"):
        function = gc.extract_image_patches if "." not in name else gc.image.extract_image_patches
        yield from _case(name, "same", lambda a, f=function: f(a, [1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 2, 1], "SAME"),
                         lambda a: patched(a, (3, 2), (2, 1), "SAME", (1, 2)), (2, 4, 5, 2))
        arrays = (sample("patches", integers, dtypes.int32, 1, 5, 4, 3),)
        yield Case(name, "i32",
                   lambda a, f=function: f(a, sizes=[1, 2, 2, 1], strides=[1, 1, 1, 1], rates=[1, 1, 1, 1], padding="VALID"), arrays,
                   lambda a: patched(a, (2, 2), (1, 1), "VALID", (1, 1)))
    yield from _case("image.extract_patches", "valid",
                     lambda a: gc.image.extract_patches(a, [1, 2, 3, 1], [1, 1, 2, 1], [1, 2, 1, 1], "VALID"),
                     lambda a: patched(a, (2, 3), (1, 2), "VALID", (2, 1)), (1, 4, 6, 1))
    yield from _case("extract_volume_patches", "same", lambda a: gc.extract_volume_patches(a, [1, 2, 1, 2, 1], [1, 1, 2, 1, 1], "SAME"),
                     lambda a: patched(a, (2, 1, 2), (1, 2, 1), "SAME", (1, 1, 1)), (1, 3, 3, 2, 2))


def morphology_cases() -> Iterator[Case]:
    for strides, rates, padding in (((1, 1), (1, 1), "SAME"), ((2, 1), (1, 2), "VALID")):
        yield from _case("nn.dilation2d", f"{padding}", lambda a, b, s=strides, r=rates, p=padding: gc.nn.dilation2d(
            a, b, [1, *s, 1], [1, *r, 1], p), lambda a, b, s=strides, r=rates, p=padding: dilated(a, b, s, p, r), (2, 4, 5, 2), (3, 2, 2))
        yield from _case("nn.erosion2d", f"{padding}", lambda a, b, s=strides, r=rates, p=padding: gc.nn.erosion2d(
            a, b, [1, *s, 1], [1, *r, 1], p), lambda a, b, s=strides, r=rates, p=padding: -dilated(-a, b[::-1, ::-1], s, p, r),
            (1, 4, 5, 2), (3, 2, 2))
    arrays = (sample("dil", uniform(0, 1), dtypes.int32, 1, 4, 4, 2), sample("dilw", uniform(0, 1), dtypes.int32, 2, 2, 2))
    arrays = tuple(a % 50 - 25 for a in arrays)
    yield Case("nn.dilation2d", "i32", lambda a, b: gc.nn.dilation2d(a, b, [1, 1, 1, 1], [1, 1, 1, 1], "SAME"), arrays,
               lambda a, b: dilated(a, b, (1, 1), "SAME", (1, 1)))


def in_batch(x: Array, blocks: Ints, pads: Sequence[Sequence[int]]) -> Array:
    """Example (b0 * blocks[1] + b1) * n + i of the result has every element of example i at place (b0, b1) of its block."""
    padded = np.pad(x, [(0, 0), *map(tuple, pads), *[(0, 0)] * (x.ndim - 1 - len(blocks))])
    places = itertools.product(*map(range, blocks))
    return np.concatenate([padded[(slice(None), *(slice(b, None, step) for b, step in zip(place, blocks, strict=True)))]
                           for place in places])


def in_space(x: Array, blocks: Ints, crops: Sequence[Sequence[int]]) -> Array:
    n, rank = x.shape[0] // int(np.prod(blocks)), len(blocks)
    whole = np.zeros((n, *(d * b for d, b in zip(x.shape[1:], blocks, strict=False)), *x.shape[1 + rank:]), x.dtype)
    for number, place in enumerate(itertools.product(*map(range, blocks))):
        whole[(slice(None), *(slice(b, None, step) for b, step in zip(place, blocks, strict=True)))] = x[number * n:(number + 1) * n]
    return whole[(slice(None), *(slice(low, whole.shape[1 + axis] - high) for axis, (low, high) in enumerate(crops)))]


def _in_depth(x: Array, size: int) -> Array:
    return np.concatenate([x[:, i::size, j::size] for i in range(size) for j in range(size)], -1)


def _out_of_depth(x: Array, size: int) -> Array:
    n, h, w, c = x.shape
    result = np.zeros((n, h * size, w * size, c // size ** 2), x.dtype)
    for number, part in enumerate(np.split(x, size ** 2, -1)):
        result[:, number // size::size, number % size::size] = part
    return result


def block_cases() -> Iterator[Case]:
    for name, function, x, small in (("space_to_depth", _in_depth, (2, 4, 6, 3), 2), ("depth_to_space", _out_of_depth, (2, 2, 3, 12), 2),
                                     ("space_to_depth", _in_depth, (1, 6, 3, 1), 3)):
        for prefix in ("", "nn."):
            public = getattr(gc.nn if prefix else gc, name)
            label, moved = f"{x}".replace(" ", ""), (x[0], x[3], x[1], x[2])
            yield from _case(f"{prefix}{name}", label, lambda a, f=public, s=small: f(a, s), lambda a, f=function, s=small: f(a, s), x)
            yield from _case(f"{prefix}{name}", f"{label}-nchw", lambda a, f=public, s=small: f(a, s, data_format="NCHW"),
                             lambda a, f=function, s=small: first(f(last(a), s)), moved)
    yield from _case("space_to_batch_nd", "2d", lambda a: gc.space_to_batch_nd(a, [2, 3], [[1, 1], [0, 1]]),
                     lambda a: in_batch(a, (2, 3), [[1, 1], [0, 1]]), (2, 2, 5, 2))
    yield from _case("space_to_batch_nd", "1d", lambda a: gc.space_to_batch_nd(a, [2], [[0, 1]]),
                     lambda a: in_batch(a, (2,), [[0, 1]]), (2, 3, 2, 2))
    yield from _case("batch_to_space_nd", "2d", lambda a: gc.batch_to_space_nd(a, [2, 3], [[1, 0], [0, 2]]),
                     lambda a: in_space(a, (2, 3), [[1, 0], [0, 2]]), (6, 2, 2, 2))
    for prefix, space in (("", gc), ("nn.", gc.nn)):
        yield from _case(f"{prefix}space_to_batch", "2d", lambda a, m=space: m.space_to_batch(a, [[1, 1], [0, 0]], 2),
                         lambda a: in_batch(a, (2, 2), [[1, 1], [0, 0]]), (1, 2, 4, 2))
    yield from _case("batch_to_space", "2d", lambda a: gc.batch_to_space(a, [[1, 0], [0, 1]], block_size=2),
                     lambda a: in_space(a, (2, 2), [[1, 0], [0, 1]]), (4, 2, 2, 2))


def families() -> dict[str, Sequence[Case]]:
    return {"images convolved": list(image_cases()), "lines and volumes convolved": list(line_and_volume_cases()),
            "transposed convolutions": list(transposed_cases()), "filters' gradients": list(filter_cases()),
            "depthwise convolutions": list(depthwise_cases()),
            "patches and blocks": [*patch_cases(), *morphology_cases(), *block_cases()]}
