"""Measures of pictures and of how alike two are: edges, total variation, signal to noise, structural similarity."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import same_dims, show_dims
from graphc.ops.array import identity
from graphc.ops.declare import as_tensor, declare, declare_one, name_scope
from graphc.ops.elementwise import cast, log, multiply, squared_difference, subtract
from graphc.ops.image_colour import convert_image_dtype
from graphc.ops.image_geometry import HEIGHT, WIDTH
from graphc.ops.parts import box
from graphc.ops.reductions import mean_over, reduce_mean
from graphc.primitives.sugar import broadcast_dims, broadcast_to, fill_like, zeros_like

# Edges -----------------------------------------------------------------------------------------------------------------------------------

def _step(x: Node, axis: int) -> Node:
    """Each element's successor along `axis` minus itself: one fewer than there were."""
    size = x.shape[axis]
    before = None if size is None else max(size - 1, 0)
    return p.subtract(box(x, axis, min(1, 1 if size is None else size), size), box(x, axis, 0, before))


@composite("ImageGradients")
def IMAGE_GRADIENTS(image: Node) -> Sequence[Node]:
    """The steps down and to the right of each pixel; 0 in the last row and column."""
    if len(image.shape) != 4:
        raise ValueError(f"image_gradients expects a 4D tensor [batch_size, h, w, d], not {show_dims(image.shape)}.")
    zero, steps = p.constant(0, image.dtype), []
    for axis in (1, 2):
        after = [1 if each == axis and image.shape[axis] != 0 else 0 for each in range(4)]
        step = p.pad(_step(image, axis), zero, (0, 0, 0, 0), after)
        steps.append(p.reshape(step, image.shape))
    return steps


def image_gradients(image: Any) -> tuple[Tensor, Tensor]:
    """(dy, dx) of pictures [batch, height, width, channels]: the pixel below minus this one, the one to the right minus this one."""
    x = as_tensor(image, name="image")
    if x.rank not in (None, 4):
        raise ValueError(f"image_gradients expects a 4D tensor [batch_size, h, w, d], not {show_dims(x.shape_tuple)}.")
    dy, dx = declare(IMAGE_GRADIENTS, {"image": x}).outputs
    return dy, dx


def _correlated(x: Node, axis: int, weights: Sequence[float]) -> Node:
    """The sum of weights[k] x[i + k] along `axis`: as many elements fewer as there are weights less one."""
    total: Node | None = None
    for k, weight in enumerate(weights):
        size = x.shape[axis]
        part = box(x, axis, k, None if size is None else size - len(weights) + 1 + k)
        if weight:
            term = part if weight == 1 else p.multiply(part, fill_like(part, weight))
            total = term if total is None else p.add(total, term)
    return x if total is None else total


@composite("SobelEdges")
def SOBEL_EDGES(image: Node) -> Node:
    """I. Sobel's operator: differences along one axis, smoothed by (1, 2, 1) along the other, of the picture mirrored at its border."""
    if len(image.shape) != 4:
        raise ValueError(f"Shape must be rank 4 but is rank {len(image.shape)}")
    mirrored = image
    for axis in (1, 2):
        size = mirrored.shape[axis]
        if size is not None and size < 2:
            raise ValueError(f"sobel_edges needs pictures of at least 2 by 2 pixels, not {show_dims(image.shape)}")
        last = (None, None) if size is None else (size - 2, size - 1)
        mirrored = p.concatenate([box(mirrored, axis, 1, 2), mirrored, box(mirrored, axis, *last)], axis)
    slope, smooth = (-1, 0, 1), (1, 2, 1)
    edges = [_correlated(_correlated(mirrored, 1, down), 2, right) for down, right in ((slope, smooth), (smooth, slope))]
    return p.concatenate([p.reshape(each, (*image.shape, 1)) for each in edges], 4)


def sobel_edges(image: Any) -> Tensor:
    """[batch, height, width, channels] -> [batch, height, width, channels, 2]: Sobel's slopes down and to the right."""
    return declare_one(SOBEL_EDGES, {"image": image})


@composite("TotalVariation")
def TOTAL_VARIATION(images: Node) -> Node:
    """The sum of the absolute steps between neighbours, of each picture."""
    rank = len(images.shape)
    if rank not in (3, 4):
        raise ValueError("'images' must be either 3 or 4-dimensional.")
    axes = tuple(range(rank - 3, rank))
    down, right = (p.reduce_sum(p.abs_(_step(images, rank + axis)), axes) for axis in (HEIGHT, WIDTH))
    return p.add(down, right)


def total_variation(images: Any, name: str | None = None) -> Tensor:
    """The sum of the absolute differences of neighbouring pixels: [height, width, channels] -> a scalar, a batch -> [batch]."""
    with name_scope(name, "total_variation", [images]):
        x = as_tensor(images, name="images")
        if x.rank not in (None, 3, 4):
            raise ValueError("'images' must be either 3 or 4-dimensional.")
        return declare_one(TOTAL_VARIATION, {"images": x}, None, "add")


# Two pictures ----------------------------------------------------------------------------------------------------------------------------

def psnr(a: Any, b: Any, max_val: Any, name: str | None = None) -> Tensor:
    """The peak signal to noise ratio of pictures [..., height, width, channels] in decibel: 10 log10(max_val^2 / mean squared error).

    max_val: the greatest difference of two pixels in their type (255 of uint8, 1 of floats). The result is float32, one for each picture.
    """
    with name_scope(name, "PSNR", [a, b]):
        left, right, peak = _comparable(a, b, max_val)
        error = reduce_mean(squared_difference(left, right), [-3, -2, -1])
        ratio = subtract(multiply(log(peak), 20 / math.log(10)), multiply(log(error), 10 / math.log(10)), "psnr")
        return identity(ratio)


def _comparable(a: Any, b: Any, max_val: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Both pictures and the peak value in float32, on one scale; ValueError where they are not pictures of one size."""
    left, right = as_tensor(a, name="a"), as_tensor(b, name="b")
    for each in (left, right):
        if each.rank is not None and each.rank < 3:
            raise ValueError(f"Shape {show_dims(each.shape_tuple)} must have rank at least 3")
    if left.shape_tuple is not None and right.shape_tuple is not None and not same_dims(left.shape_tuple[-3:], right.shape_tuple[-3:]):
        raise ValueError(f"Two images are not compatible: {show_dims(left.shape_tuple)} and {show_dims(right.shape_tuple)}")
    peak = convert_image_dtype(cast(max_val, left.dtype), dtypes.float32)
    return convert_image_dtype(left, dtypes.float32), convert_image_dtype(right, dtypes.float32), peak


def _gaussian(size: int, sigma: float) -> list[float]:
    """`size` weights of a bell curve of deviation `sigma` pixels around their middle; their sum is 1."""
    places = np.arange(size) - (size - 1) / 2
    bell = np.exp(-places ** 2 / (2 * sigma ** 2))
    return [float(each) for each in bell / bell.sum()]


def _similarity(x: Node, y: Node, peak: Node, weights: Sequence[float], k1: float, k2: float) -> tuple[Node, Node]:
    """Structural similarity of each channel of each picture, and its factor of contrast and structure alone.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, equation 13, with windows of the
    given weights that lie inside the picture.
    """
    rank = len(x.shape)
    axes = (rank - 3, rank - 2)

    def windowed(values: Node) -> Node:
        return _correlated(_correlated(values, axes[0], weights), axes[1], weights)

    def constant(k: float, like: Node) -> Node:
        scaled = p.multiply(peak, fill_like(peak, k))
        return p.broadcast_in_dim(p.multiply(scaled, scaled), like.shape, ())

    mean_x, mean_y = windowed(x), windowed(y)
    products = p.multiply(mean_x, mean_y)
    products, squares = p.add(products, products), p.add(p.multiply(mean_x, mean_x), p.multiply(mean_y, mean_y))
    both = windowed(p.multiply(x, y))
    both, each = p.add(both, both), windowed(p.add(p.multiply(x, x), p.multiply(y, y)))
    c1, c2 = constant(k1, products), constant(k2, products)
    luminance = p.divide(p.add(products, c1), p.add(squares, c1))
    structure = p.divide(p.add(p.subtract(both, products), c2), p.add(p.subtract(each, squares), c2))
    return mean_over(p.multiply(luminance, structure), axes), mean_over(structure, axes)


def _checked_pair(name: str, x: Node, y: Node, least: int) -> tuple[Node, Node]:
    """Both pictures, broadcast to one shape, which must have `least` rows and columns."""
    shape = broadcast_dims(x.shape, y.shape)
    if len(shape) < 3:
        raise ValueError(f"Shape {show_dims(shape)} must have rank at least 3")
    if any(size is not None and size < least for size in shape[-3:-1]):
        raise ValueError(f"{name} needs pictures of at least {least} by {least} pixels, not {show_dims(shape)}")
    return broadcast_to(x, shape), broadcast_to(y, shape)


@composite("SSIM")
def SSIM(img1: Node, img2: Node, max_val: Node, *, filter_size: int, filter_sigma: float, k1: float, k2: float) -> Node:
    """Structural similarity, the mean over channels."""
    x, y = _checked_pair("ssim", img1, img2, filter_size)
    each, _ = _similarity(x, y, max_val, _gaussian(filter_size, filter_sigma), k1, k2)
    return mean_over(each, (len(each.shape) - 1,))


def _halved(x: Node) -> Node:
    """The means of 2 by 2 pixels; a last row or column without a partner is its own."""
    rank = len(x.shape)
    for axis in (rank - 3, rank - 2):
        size = x.shape[axis]
        if size is not None and size % 2:
            x = p.concatenate([x, box(x, axis, size - 1, size)], axis)
            size += 1
        first = box(x, axis, 0, size, 2)
        second = box(x, axis, 1, size, 2)
        total = p.add(first, p.reshape(second, first.shape))
        x = p.multiply(total, fill_like(total, 0.5))
    return x


@composite("MultiscaleSSIM")
def MULTISCALE_SSIM(img1: Node, img2: Node, max_val: Node, *, power_factors: tuple[float, ...], filter_size: int, filter_sigma: float,
                    k1: float, k2: float) -> Node:
    """The product over scales of contrast and structure, and of the whole similarity at the coarsest, each to its power."""
    x, y = _checked_pair("ssim_multiscale", img1, img2, filter_size * 2 ** (len(power_factors) - 1))
    weights = _gaussian(filter_size, filter_sigma)
    result: Node | None = None
    for scale, power in enumerate(power_factors):
        if scale:
            x, y = _halved(x), _halved(y)
        whole, structure = _similarity(x, y, max_val, weights, k1, k2)
        chosen = whole if scale == len(power_factors) - 1 else structure
        factor = p.power(p.maximum(chosen, zeros_like(chosen)), fill_like(chosen, power))
        result = factor if result is None else p.multiply(result, factor)
    if result is None:
        raise ValueError("power_factors must not be empty")
    return mean_over(result, (len(result.shape) - 1,))


def ssim(img1: Any, img2: Any, max_val: Any, filter_size: int = 11, filter_sigma: float = 1.5, k1: float = 0.01,
         k2: float = 0.03) -> Tensor:
    """How alike two pictures [..., height, width, channels] are: 1 where equal; float32, one for each picture.

    Z. Wang et al., 2004: luminance, contrast and structure in windows of a bell curve of `filter_size` and `filter_sigma` pixels, with the
    small constants (k1 max_val)^2 and (k2 max_val)^2. max_val as for `psnr`.
    """
    left, right, peak = _comparable(img1, img2, max_val)
    attrs = {"filter_size": int(filter_size), "filter_sigma": float(filter_sigma), "k1": float(k1), "k2": float(k2)}
    return declare_one(SSIM, {"img1": left, "img2": right, "max_val": peak}, attrs)


def ssim_multiscale(img1: Any, img2: Any, max_val: Any, power_factors: Sequence[float] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333),
                    filter_size: int = 11, filter_sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03) -> Tensor:
    """`ssim` at as many scales as there are `power_factors`, each half the size of the one before (Z. Wang et al., "Multi-scale structural
    similarity for image quality assessment", 2003). ValueError where the coarsest is smaller than the window."""
    with name_scope(None, "MS-SSIM", [img1, img2]):
        left, right, peak = _comparable(img1, img2, max_val)
        attrs = {"power_factors": tuple(map(float, power_factors)), "filter_size": int(filter_size), "filter_sigma": float(filter_sigma),
                 "k1": float(k1), "k2": float(k2)}
        return declare_one(MULTISCALE_SSIM, {"img1": left, "img2": right, "max_val": peak}, attrs, "Mean")
