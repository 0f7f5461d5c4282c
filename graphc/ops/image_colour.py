"""The colours of pictures: brightness, contrast, hue, saturation, gamma; colour spaces; element types.

Channels are the last axis. Floating pictures hold values in [0, 1], those of integers the whole range of their type;
`convert_image_dtype` scales from one to the other, and the functions that adjust colours compute in float32 on its way.
"""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import same_dim
from graphc.ops.array import identity
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.elementwise import add, cast, floordiv, multiply, pow_, saturate_cast
from graphc.ops.parts import box
from graphc.ops.random import random_uniform
from graphc.ops.reductions import mean_over
from graphc.primitives.sugar import broadcast_to, fill_like, ones_like, reduce_and_spread, size_of, zeros_like

# Element types ---------------------------------------------------------------------------------------------------------------------------

def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Tensor:
    """`image` as `dtype`, its values scaled: floating [0, 1] to an integer type's range and back, one integer type's range to another's.

    saturate: values that `dtype` cannot hold become its ends. AttributeError for a type that is neither floating nor integer.
    """
    x, kind = as_tensor(image, name="image"), as_dtype(dtype)
    if not kind.is_floating and not kind.is_integer:
        raise AttributeError("dtype must be either floating point or integer")
    if x.dtype is kind:
        return identity(x, name)
    with name_scope(name, "convert_image", [x]) as scope:
        if x.dtype.is_integer and kind.is_integer:
            return _between_integers(x, kind, saturate, scope)
        if x.dtype.is_floating and kind.is_floating:
            return cast(x, kind, scope)
        if x.dtype.is_integer:
            return multiply(cast(x, kind), 1.0 / float(x.dtype.max), scope)
        scaled = multiply(x, float(kind.max) + 0.5)  # half a step more, so that truncation rounds to the nearest
        return saturate_cast(scaled, kind, scope) if saturate else cast(scaled, kind, scope)


def _between_integers(x: Tensor, kind: DType, saturate: bool, scope: str) -> Tensor:
    source, target = int(x.dtype.max), int(kind.max)
    if source > target:  # first smaller, then narrower: nothing is cut off
        scaled = floordiv(x, (source + 1) // (target + 1))
        return saturate_cast(scaled, kind, scope) if saturate else cast(scaled, kind, scope)
    wide = saturate_cast(x, kind) if saturate else cast(x, kind)
    return multiply(wide, (target + 1) // (source + 1), scope)


def _as_floats(image: Any) -> tuple[Tensor, DType]:
    """`image` in a type that colours are computed in, and its own type."""
    original = identity(as_tensor(image, name="image"), "original_image")
    if original.dtype in (dtypes.float16, dtypes.float32):
        return original, original.dtype
    return convert_image_dtype(original, dtypes.float32), original.dtype


# Brightness, contrast, gamma -------------------------------------------------------------------------------------------------------------

def adjust_brightness(image: Any, delta: Any) -> Tensor:
    """`image` with `delta` (in units of floating pictures: 1 is the whole range) added to every value, in its own type."""
    with name_scope(None, "adjust_brightness", [image, delta]):
        floats, original = _as_floats(image)
        adjusted = add(floats, cast(delta, floats.dtype))
        return convert_image_dtype(adjusted, original, saturate=True)


@composite("AdjustContrastv2")
def ADJUST_CONTRAST(images: Node, contrast_factor: Node) -> Node:
    """Each channel of each picture: (x - mean) factor + mean, its mean over height and width; 16-bit floats in float32."""
    rank = len(images.shape)
    if rank < 3:
        raise ValueError(f"Shape must be at least rank 3 but is rank {rank}")
    wide = p.convert(images, dtypes.float32)
    means = reduce_and_spread(mean_over, wide, (rank - 3, rank - 2))
    factor = _spread(contrast_factor, wide)
    return p.convert(p.add(p.multiply(p.subtract(wide, means), factor), means), images.dtype)


def _spread(scalar: Node, like: Node) -> Node:
    if scalar.shape != ():
        raise ValueError(f"Shape must be rank 0 but is rank {len(scalar.shape)}")
    return p.broadcast_in_dim(p.convert(scalar, like.dtype), like.shape, ())


def adjust_contrast(images: Any, contrast_factor: Any) -> Tensor:
    """`images` [..., height, width, channels] with each channel's distance from its mean times `contrast_factor`, in its own type."""
    with name_scope(None, "adjust_contrast", [images, contrast_factor]):
        floats, original = _as_floats(images)
        factor = as_tensor(contrast_factor, None if isinstance(contrast_factor, Tensor) else dtypes.float32, "contrast_factor")
        adjusted = declare_one(ADJUST_CONTRAST, {"images": floats, "contrast_factor": factor}, other={"contrast_factor": None})
        return convert_image_dtype(adjusted, original, saturate=True)


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Tensor:
    """gain x^gamma of every value x, in the picture's own type. ValueError for a negative `gamma`."""
    with name_scope(None, "adjust_gamma", [image, gamma, gain]):
        floats, original = _as_floats(image)
        if not isinstance(gamma, Tensor) and gamma < 0:
            raise ValueError("Gamma should be a non-negative real number.")
        adjusted = multiply(pow_(floats, cast(gamma, floats.dtype)), cast(gain, floats.dtype))
        return convert_image_dtype(adjusted, original, saturate=True)


def per_image_standardization(image: Any) -> Tensor:
    """Mean 0 and variance 1 over each picture [..., height, width, channels]; one of n equal values is divided by 1/sqrt(n) at least."""
    with name_scope(None, "per_image_standardization", [image]):
        x = as_tensor(image, name="image")
        if x.rank is not None and x.rank < 3:
            raise ValueError("'image' must be at least three-dimensional.")
        floats, original = _as_floats(x)
        return convert_image_dtype(declare_one(STANDARDIZE, {"image": floats}), original, saturate=True)


@composite("PerImageStandardization")
def STANDARDIZE(image: Node) -> Node:
    """(x - mean) / max(deviation, 1/sqrt(n)) over the last three axes."""
    rank = len(image.shape)
    if rank < 3:
        raise ValueError("'image' must be at least three-dimensional.")
    axes = (rank - 3, rank - 2, rank - 1)
    centred = p.subtract(image, reduce_and_spread(mean_over, image, axes))
    variance = reduce_and_spread(mean_over, p.multiply(centred, centred), axes)
    least = broadcast_to(p.divide(p.constant(1, image.dtype), size_of(image, axes, image.dtype)), variance.shape)
    return p.multiply(centred, p.rsqrt(p.maximum(variance, least)))


# Hue and saturation ----------------------------------------------------------------------------------------------------------------------

def _channels(type_name: str, x: Node) -> list[Node]:
    """The three channels of `x` [..., 3], each [..., 1]; ValueError where there are not three."""
    if not x.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    if not x.dtype.is_floating:
        raise TypeError(f"{type_name} takes floating pictures, not {x.dtype.name}")
    if not same_dim(x.shape[-1], 3):
        raise ValueError(f"Dimension must be 3 but is {x.shape[-1]}")
    last = len(x.shape) - 1
    return [box(x, last, n, n + 1) for n in range(3)]


def _plus(x: Node, number: float) -> Node:
    return p.add(x, fill_like(x, number))


def _times(x: Node, number: float) -> Node:
    return p.multiply(x, fill_like(x, number))


def _unit(x: Node) -> Node:
    """`x` cut to [0, 1]."""
    return p.clamp(zeros_like(x), x, ones_like(x))


def _to_hsv(r: Node, g: Node, b: Node) -> list[Node]:
    """Hue in [0, 1), saturation and value (A. R. Smith, "Color gamut transform pairs", 1978); a grey has hue 0, black saturation 0.

    Where a denominator is 0 another stands in for it, so that no NaN comes out of the gradient either.
    """
    zero = zeros_like(r)
    value = p.maximum(r, p.maximum(g, b))
    spread = p.subtract(value, p.minimum(r, p.minimum(g, b)))
    some, coloured = p.compare(value, zero, "GT"), p.compare(spread, zero, "GT")
    saturation = p.select(some, p.divide(spread, p.select(some, value, ones_like(r))), zero)
    sixth = p.divide(fill_like(r, 1 / 6), p.select(coloured, spread, ones_like(r)))
    from_red = p.multiply(sixth, p.subtract(g, b))
    from_green = _plus(p.multiply(sixth, p.subtract(b, r)), 2 / 6)
    from_blue = _plus(p.multiply(sixth, p.subtract(r, g)), 4 / 6)
    hue = p.select(p.compare(r, value, "EQ"), from_red, p.select(p.compare(g, value, "EQ"), from_green, from_blue))
    hue = p.select(coloured, hue, zero)
    return [p.select(p.compare(hue, zero, "LT"), _plus(hue, 1), hue), saturation, value]


def _to_rgb(hue: Node, saturation: Node, value: Node) -> list[Node]:
    """Back from `_to_hsv`, for a hue in [0, 1]: each channel is a trapezium over the circle of hues."""
    sixths = _times(hue, 6)
    red = _unit(_plus(p.abs_(_plus(sixths, -3)), -1))
    green = _unit(_plus(p.negate(p.abs_(_plus(sixths, -2))), 2))
    blue = _unit(_plus(p.negate(p.abs_(_plus(sixths, -4))), 2))
    return [p.multiply(_plus(p.multiply(_plus(each, -1), saturation), 1), value) for each in (red, green, blue)]


@composite("RGBToHSV")
def RGB_TO_HSV(images: Node) -> Node:
    """Red, green and blue as hue, saturation and value."""
    return p.concatenate(_to_hsv(*_channels("RGBToHSV", images)), len(images.shape) - 1)


@composite("HSVToRGB")
def HSV_TO_RGB(images: Node) -> Node:
    """Hue, saturation and value as red, green and blue."""
    return p.concatenate(_to_rgb(*_channels("HSVToRGB", images)), len(images.shape) - 1)


def _picture(type_name: str, images: Node) -> tuple[list[Node], int]:
    """The channels of `images` in float32, and the axis of channels."""
    if len(images.shape) < 3:
        raise ValueError(f"Shape must be at least rank 3 but is rank {len(images.shape)}")
    return _channels(type_name, p.convert(images, dtypes.float32)), len(images.shape) - 1


@composite("AdjustHue")
def ADJUST_HUE(images: Node, delta: Node) -> Node:
    """The hue turned by `delta`, where 1 is once around."""
    channels, last = _picture("AdjustHue", images)
    hue, saturation, value = _to_hsv(*channels)
    turned = p.add(hue, _spread(delta, hue))
    return p.convert(p.concatenate(_to_rgb(p.subtract(turned, p.floor(turned)), saturation, value), last), images.dtype)


@composite("AdjustSaturation")
def ADJUST_SATURATION(images: Node, scale: Node) -> Node:
    """The saturation times `scale`, cut to [0, 1]."""
    channels, last = _picture("AdjustSaturation", images)
    hue, saturation, value = _to_hsv(*channels)
    scaled = _unit(p.multiply(saturation, _spread(scale, saturation)))
    return p.convert(p.concatenate(_to_rgb(hue, scaled, value), last), images.dtype)


def rgb_to_hsv(images: Any, name: str | None = None) -> Tensor:
    """Pictures [..., 3] of red, green and blue in [0, 1] as hue, saturation and value, all of them in [0, 1]."""
    return declare_one(RGB_TO_HSV, {"images": images}, None, name)


def hsv_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """Pictures [..., 3] of hue, saturation and value in [0, 1] as red, green and blue."""
    return declare_one(HSV_TO_RGB, {"images": images}, None, name)


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Tensor:
    """The hue of `image` [..., 3] turned by `delta` in [-1, 1], where 1 is once around the circle; in its own type."""
    with name_scope(name, "adjust_hue", [image]):
        floats, original = _as_floats(image)
        inputs = {"images": floats, "delta": as_tensor(delta, None if isinstance(delta, Tensor) else dtypes.float32)}
        return convert_image_dtype(declare_one(ADJUST_HUE, inputs, other={"delta": None}), original)


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Tensor:
    """The saturation of `image` [..., 3] times `saturation_factor`, in its own type."""
    with name_scope(name, "adjust_saturation", [image]):
        floats, original = _as_floats(image)
        factor = as_tensor(saturation_factor, None if isinstance(saturation_factor, Tensor) else dtypes.float32)
        return convert_image_dtype(declare_one(ADJUST_SATURATION, {"images": floats, "scale": factor}, other={"scale": None}), original)


# At random -------------------------------------------------------------------------------------------------------------------------------

def _check_range(lower: float, upper: float) -> None:
    if upper <= lower:
        raise ValueError("upper must be > lower.")
    if lower < 0:
        raise ValueError("lower must be non-negative.")


def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_brightness` by a number from [-max_delta, max_delta)."""
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    return adjust_brightness(image, random_uniform([], -max_delta, max_delta, seed=seed))


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_contrast` by a number from [lower, upper)."""
    _check_range(lower, upper)
    return adjust_contrast(image, random_uniform([], lower, upper, seed=seed))


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_hue` by a number from [-max_delta, max_delta)."""
    if max_delta > 0.5:
        raise ValueError("max_delta must be <= 0.5.")
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    return adjust_hue(image, random_uniform([], -max_delta, max_delta, seed=seed))


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_saturation` by a number from [lower, upper)."""
    _check_range(lower, upper)
    return adjust_saturation(image, random_uniform([], lower, upper, seed=seed))


# Linear changes of colours ---------------------------------------------------------------------------------------------------------------

# Each row is what one of red, green and blue gives to the three channels of the result: ITU-R BT.601 for YUV, NTSC for YIQ.
_YUV = ((0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026))
_RGB_OF_YUV = ((1.0, 1.0, 1.0), (0.0, -0.394642334, 2.03206185), (1.13988303, -0.58062185, 0.0))
_YIQ = ((0.299, 0.59590059, 0.2115), (0.587, -0.27455667, -0.52273617), (0.114, -0.32134392, 0.31119955))
_RGB_OF_YIQ = ((1.0, 1.0, 1.0), (0.95598634, -0.27201283, -1.10674021), (0.6208248, -0.64720424, 1.70423049))
_GREY = ((0.2989,), (0.5870,), (0.1140,))


@composite("ColorTransform")
def COLOR_TRANSFORM(images: Node, *, matrix: tuple[tuple[float, ...], ...]) -> Node:
    """Each pixel, a row vector of channels, times `matrix`: written out as sums, since a product of so few terms is best fused."""
    if not images.shape or not same_dim(images.shape[-1], len(matrix)):
        raise ValueError(f"Dimensions must be equal, but are {images.shape[-1] if images.shape else 'none'} and {len(matrix)}: channels")
    last = len(images.shape) - 1
    shape = (*images.shape[:last], len(matrix[0]))
    total: Node | None = None
    for channel, row in enumerate(matrix):
        one = p.broadcast_in_dim(box(images, last, channel, channel + 1), shape, range(last + 1))
        term = p.multiply(one, p.broadcast_in_dim(p.constant(row, images.dtype), shape, (last,)))
        total = term if total is None else p.add(total, term)
    assert total is not None
    return total


def _linear(images: Any, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return declare_one(COLOR_TRANSFORM, {"images": images}, {"matrix": matrix}, "Tensordot")


def rgb_to_yuv(images: Any) -> Tensor:
    """Red, green and blue [..., 3] as luma and two chroma channels."""
    return _linear(images, _YUV)


def yuv_to_rgb(images: Any) -> Tensor:
    """Luma and two chroma channels [..., 3] as red, green and blue."""
    return _linear(images, _RGB_OF_YUV)


def rgb_to_yiq(images: Any) -> Tensor:
    """Red, green and blue [..., 3] as NTSC's luma, in-phase and quadrature channels."""
    return _linear(images, _YIQ)


def yiq_to_rgb(images: Any) -> Tensor:
    """NTSC's luma, in-phase and quadrature channels [..., 3] as red, green and blue."""
    return _linear(images, _RGB_OF_YIQ)


def rgb_to_grayscale(images: Any, name: str | None = None) -> Tensor:
    """Red, green and blue [..., 3] as one channel of luma [..., 1], in the pictures' own type."""
    with name_scope(name, "rgb_to_grayscale", [images]) as scope:
        x = identity(as_tensor(images, name="images"), "original_image")
        return convert_image_dtype(_linear(convert_image_dtype(x, dtypes.float32), _GREY), x.dtype, name=scope)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """One channel [..., 1] three times."""
    with name_scope(name, "grayscale_to_rgb", [images]) as scope:
        x = as_tensor(images, name="images")
        if x.shape_tuple is not None and len(x.shape_tuple) < 2:
            raise ValueError("A grayscale image must be at least two-dimensional.")
        if x.shape_tuple is not None and x.shape_tuple[-1] not in (1, None):
            raise ValueError("Last dimension of a grayscale image should be size 1.")
        return declare_one(GRAYSCALE_TO_RGB, {"images": x}, None, scope)


@composite("GrayscaleToRGB")
def GRAYSCALE_TO_RGB(images: Node) -> Node:
    """The last axis, of one channel, repeated to three."""
    if not images.shape or not same_dim(images.shape[-1], 1):
        raise ValueError("Last dimension of a grayscale image should be size 1.")
    return p.broadcast_in_dim(images, (*images.shape[:-1], 3), range(len(images.shape)))
