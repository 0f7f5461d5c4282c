"""Resizing pictures: bilinear, nearest neighbour, bicubic and area, each of them one sparse matrix per axis.

What a resize does along an axis is linear and known when the sizes are: result[i] = sum over k of weights[i, k] x[indices[i, k]]
(`Taps`). So the four methods differ in how they make their taps; one function applies them, and the gradient is the application of the
transposed taps. The numbers are computed in float32, step by step as TF1 does, so that the same pixels are picked.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim
from graphc.ops.array import shape
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.elementwise import cast, divide, floor, maximum, minimum, multiply, round_, subtract
from graphc.ops.image_geometry import batched, checked_image, pad_to_bounding_box, positive, unbatched
from graphc.ops.joining import stack
from graphc.ops.parts import undetermined

Array = np.ndarray[Any, Any]
FEW = 4  # taps that are summed term by term, in one kernel; more of them are a product with the matrix
CUBIC_STEPS = 1024  # positions between two pixels that TF1's bicubic weights are tabulated at


@dataclass(frozen=True, eq=False)
class Taps:
    """A matrix of `len(indices)` rows and `size` columns by its entries: row i has weights[i, k] at column indices[i, k]."""

    size: int
    indices: Array
    weights: Array

    def dense(self) -> Array:
        matrix = np.zeros((len(self.indices), self.size), np.float32)
        np.add.at(matrix, (np.arange(len(self.indices))[:, None], self.indices), self.weights)
        return matrix

    def transposed(self) -> Taps:
        """The matrix with rows and columns swapped; rows of fewer entries than the longest are filled with zeros."""
        matrix = self.dense().T
        count = max(1, int(np.count_nonzero(matrix, axis=1).max(initial=0)))
        order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]
        return Taps(len(self.indices), order, np.take_along_axis(matrix, order, 1))


MakeTaps = Callable[[int, int, bool, bool], Taps]  # (pixels in, pixels out, align_corners, half_pixel_centers)


def _scale(size: int, count: int, align_corners: bool) -> np.float32:
    """Pixels of the operand for each pixel of the result."""
    return np.float32(size - 1) / np.float32(count - 1) if align_corners and count > 1 else np.float32(size) / np.float32(count)


def _positions(size: int, count: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Where each pixel of the result lies on the operand's axis."""
    steps, scale = np.arange(count, dtype=np.float32), _scale(size, count, align_corners)
    half = np.float32(0.5)
    return (steps + half) * scale - half if half_pixel_centers else steps * scale


def nearest_taps(size: int, count: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    """The pixel that a position falls into; with aligned corners the one that it is nearest to, halves rounded away from zero."""
    steps, scale = np.arange(count, dtype=np.float32), _scale(size, count, align_corners)
    half = np.float32(0.5)
    place = (steps + half) * scale if half_pixel_centers else steps * scale
    chosen = np.floor(place + half if align_corners else place)
    return Taps(size, np.clip(chosen, 0, size - 1).astype(np.int32)[:, None], np.ones((count, 1), np.float32))


def bilinear_taps(size: int, count: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    """The two pixels around a position, by their distance."""
    place = _positions(size, count, align_corners, half_pixel_centers)
    low, high = np.maximum(np.floor(place), 0), np.minimum(np.ceil(place), size - 1)
    share = place - np.floor(place)
    return Taps(size, np.stack([low, high], 1).astype(np.int32), np.stack([1 - share, share], 1))


def _keys_cubic(distance: Array, a: float) -> Array:
    """R. G. Keys' cubic convolution kernel (1981) at 0 <= distance <= 2; its one parameter is the slope `a` at distance 1."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)


def bicubic_taps(size: int, count: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    """The four pixels around a position. With half pixel centres those outside drop out and the others are scaled up to sum 1; without,
    pixels outside are those of the border, and the kernel is the sharper one with a = -0.75."""
    place = _positions(size, count, align_corners, half_pixel_centers)
    base = np.floor(place)
    step = np.rint((place - base) * np.float32(CUBIC_STEPS)).astype(np.float64) / CUBIC_STEPS
    distances = np.stack([1 + step, step, 1 - step, 2 - step], 1)
    weights = _keys_cubic(distances, -0.5 if half_pixel_centers else -0.75).astype(np.float32)
    wanted = base.astype(np.int64)[:, None] + np.arange(-1, 3)
    indices = np.clip(wanted, 0, size - 1)
    if half_pixel_centers:
        weights = np.where(indices == wanted, weights, np.float32(0))
        total = weights.sum(1, keepdims=True)
        weights = np.where(np.abs(total) >= 1000 * np.finfo(np.float32).tiny, weights / total, weights)
    return Taps(size, indices.astype(np.int32), weights)


def area_taps(size: int, count: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    """The mean over the stretch that a pixel of the result covers, pixels at its ends by the part that lies inside."""
    scale = _scale(size, count, align_corners)
    start = np.arange(count, dtype=np.float32) * scale
    end = np.arange(1, count + 1, dtype=np.float32) * scale
    longest = int(np.max(np.ceil(end) - np.floor(start), initial=1))
    wanted = np.floor(start).astype(np.int64)[:, None] + np.arange(longest)
    covered = np.minimum(wanted + 1, end[:, None]) - np.maximum(wanted, start[:, None])
    return Taps(size, np.clip(wanted, 0, size - 1).astype(np.int32), (np.maximum(covered, 0) / scale).astype(np.float32))


# Applying taps ---------------------------------------------------------------------------------------------------------------------------

def resampled(x: Node, axis: int, taps: Taps) -> Node:
    """The matrix `taps` times `x` along `axis`: [..., size, ...] -> [..., rows, ...]."""
    width = taps.indices.shape[1]
    if width == 1 and np.all(taps.weights == 1):
        return _picked(x, axis, taps.indices[:, 0])
    if width > FEW:
        return _product(x, axis, taps.dense())
    total: Node | None = None
    for k in range(width):
        weights = p.constant(taps.weights[:, k], x.dtype)
        rows = _picked(x, axis, taps.indices[:, k])
        term = p.multiply(rows, p.broadcast_in_dim(weights, rows.shape, (axis,)))
        total = term if total is None else p.add(total, term)
    return x if total is None else total


def _picked(x: Node, axis: int, indices: Array) -> Node:
    """x[indices] along `axis`: a view where the indices repeat each row equally often, else a gather."""
    size, count = x.dims[axis], len(indices)
    before, after = x.dims[:axis], x.dims[axis + 1:]
    if count == size and np.array_equal(indices, np.arange(size)):
        return x
    if size and count % size == 0 and np.array_equal(indices, np.repeat(np.arange(size), count // size)):
        kept = (*range(axis + 1), *range(axis + 2, len(x.shape) + 1))
        return p.reshape(p.broadcast_in_dim(x, (*before, size, count // size, *after), kept), (*before, count, *after))
    return p.gather(x, p.constant(indices, dtypes.int32), axis)


def _product(x: Node, axis: int, matrix: Array) -> Node:
    product = p.dot_general(p.constant(matrix, x.dtype), x, (), (), (1,), (axis,))
    order = list(range(1, len(x.shape)))
    return p.transpose(product, (*order[:axis], 0, *order[axis:]))


def _resized(make: MakeTaps, images: Node, size: tuple[int, int], align_corners: bool, half_pixel_centers: bool) -> Node:
    """`images` [batch, height, width, channels] at another `size`, the axis that shrinks most first."""
    steps = sorted(zip((1, 2), size, strict=True), key=lambda step: step[1] / max(images.dims[step[0]], 1))
    for axis, count in steps:
        images = resampled(images, axis, make(images.dims[axis], count, align_corners, half_pixel_centers))
    return images


def _new_size(name: str, images: Node, size: Node) -> tuple[Dim, Dim]:
    if len(images.shape) != 4:
        raise ValueError(f"{name}: images must be 4-dimensional, [batch, height, width, channels], but have rank {len(images.shape)}")
    if len(size.shape) != 1 or size.shape[0] not in (2, None):
        raise ValueError(f"{name}: size must be a vector of 2 elements (new height, new width), not of shape {size.type}")
    dims = static_dims(size) or (None, None)
    if any(d is not None and d <= 0 for d in dims):
        raise ValueError(f"{name}: output dimensions must be positive, got {dims}")
    if any(d == 0 for d in images.shape[1:3]):
        raise ValueError(f"{name}: input image must be of non-zero size, got {images.type}")
    return dims[0], dims[1]


def _resize_operation(type_name: str, make: MakeTaps, doc: str, *, keeps_type: bool = False, half_pixels: bool = True) -> OpDef:
    """Declares a resize as TF1 has it: from any numbers to float32 (`keeps_type`: to the same type)."""
    def expand(images: Node, size: Node, *, align_corners: bool = False, half_pixel_centers: bool = False) -> Node:
        if images.dtype.is_bool:
            raise TypeError(f"{type_name}: images must be numbers, not bool")
        if align_corners and half_pixel_centers:
            raise ValueError(f"{type_name}: if half_pixel_centers is True, align_corners must be False.")
        height, width = _new_size(type_name, images, size)
        x = images if keeps_type else p.convert(images, dtypes.float32)
        if height is None or width is None or not images.type.is_static:
            return undetermined(x, (images.shape[0], height, width, images.shape[3]))
        return _resized(make, x, (height, width), align_corners, half_pixel_centers)

    def gradient(images: Node, size: Node, result: Node, g: Node | None, *, align_corners: bool = False,
                 half_pixel_centers: bool = False) -> Sequence[Node | None]:
        if g is None or not images.dtype.is_floating:
            return (None, None)
        if not images.type.is_static or not g.type.is_static:
            return (undetermined(p.convert(g, images.dtype), images.shape), None)
        for axis in (1, 2):
            taps = make(images.dims[axis], g.dims[axis], align_corners, half_pixel_centers)
            g = _summed(g, axis, taps)
        return (p.convert(g, images.dtype), None)

    expand.__doc__ = doc
    return composite(type_name, gradient=gradient)(expand)


def _summed(g: Node, axis: int, taps: Taps) -> Node:
    """The transposed taps times `g`: what each pixel of the operand gave to the result comes back to it."""
    size, count = taps.size, len(taps.indices)
    if taps.indices.shape[1] == 1 and count % size == 0 and np.array_equal(taps.indices[:, 0], np.repeat(np.arange(size), count // size)):
        split = (*g.dims[:axis], size, count // size, *g.dims[axis + 1:])
        return p.reduce_sum(p.reshape(g, split), (axis + 1,))
    return resampled(g, axis, taps.transposed())


RESIZE_BILINEAR = _resize_operation("ResizeBilinear", bilinear_taps, "Each pixel from the four around its position.")
RESIZE_NEAREST_NEIGHBOR = _resize_operation(
    "ResizeNearestNeighbor", nearest_taps, "Each pixel from the one nearest to its position.", keeps_type=True)
RESIZE_BICUBIC = _resize_operation("ResizeBicubic", bicubic_taps, "Each pixel from the sixteen around its position.")
RESIZE_AREA = _resize_operation("ResizeArea", area_taps, "Each pixel the mean of the area that it covers.")


# Public ----------------------------------------------------------------------------------------------------------------------------------

def _declared(definition: OpDef, images: Any, size: Any, align_corners: bool, half_pixel_centers: bool, name: str | None) -> Tensor:
    attrs = {"align_corners": bool(align_corners), "half_pixel_centers": bool(half_pixel_centers)}
    return declare_one(definition, {"images": images, "size": size}, attrs, name, other={"size": INDEX})


def resize_bilinear(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                    half_pixel_centers: bool = False) -> Tensor:
    """`images` [batch, height, width, channels] at `size` (new height, new width), linear between pixels; float32.

    align_corners: the centres of the corner pixels stay in place. half_pixel_centers: a pixel's centre is half a pixel from its corner.
    """
    return _declared(RESIZE_BILINEAR, images, size, align_corners, half_pixel_centers, name)


def resize_nearest_neighbor(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                            half_pixel_centers: bool = False) -> Tensor:
    """`images` [batch, height, width, channels] at `size` (new height, new width), each pixel the nearest old one; of the same type."""
    return _declared(RESIZE_NEAREST_NEIGHBOR, images, size, align_corners, half_pixel_centers, name)


def resize_bicubic(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                   half_pixel_centers: bool = False) -> Tensor:
    """`images` [batch, height, width, channels] at `size` (new height, new width), cubic between pixels; float32."""
    return _declared(RESIZE_BICUBIC, images, size, align_corners, half_pixel_centers, name)


def resize_area(images: Any, size: Any, align_corners: bool = False, name: str | None = None) -> Tensor:
    """`images` [batch, height, width, channels] at `size` (new height, new width), each pixel the mean of what it covers; float32."""
    return _declared(RESIZE_AREA, images, size, align_corners, False, name)


class ResizeMethod:
    """The ways of `resize_images`, by TF1's numbers."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


_METHODS = {
    ResizeMethod.BILINEAR: resize_bilinear, "bilinear": resize_bilinear,
    ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor, "nearest": resize_nearest_neighbor,
    ResizeMethod.BICUBIC: resize_bicubic, "bicubic": resize_bicubic,
    ResizeMethod.AREA: resize_area, "area": resize_area,
}


def resize_images(images: Any, size: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False,
                  preserve_aspect_ratio: bool = False, name: str | None = None) -> Tensor:
    """One picture [height, width, channels] or a batch of them at `size` (new height, new width).

    The pictures themselves where they have that size already. preserve_aspect_ratio: `size` is a box that they are fitted into.
    ValueError for other ranks, a size that is not of two integers, and an unknown `method` (see `ResizeMethod`).
    """
    with name_scope(name, "resize", [images, size]):
        x = checked_image(images, "images")
        if x.shape_tuple is None:
            raise ValueError("'images' contains no shape.")
        wanted = _size_tensor(size)
        batch, single = batched(x)
        if preserve_aspect_ratio:
            wanted = _fitted(batch, wanted)
        if method not in _METHODS:
            raise ValueError("Resize method is not implemented.")
        new = static_dims(wanted.node) if wanted.node is not None else None
        if new is not None and None not in new and new == x.shape_tuple[-3:-1]:
            return x
        return unbatched(_METHODS[method](batch, wanted, align_corners=align_corners), single)


def _size_tensor(size: Any) -> Tensor:
    try:
        wanted = as_tensor(size, None if isinstance(size, Tensor) else dtypes.int32, "size")
    except (TypeError, ValueError):
        raise ValueError("'size' must be a 1-D int32 Tensor") from None
    if wanted.shape_tuple is not None and (len(wanted.shape_tuple) != 1 or wanted.shape_tuple[0] not in (2, None)):
        raise ValueError("'size' must be a 1-D Tensor of 2 elements: new_height, new_width")
    return wanted


def _fitted(images: Tensor, box: Tensor) -> Tensor:
    """The largest size of the proportions of `images` inside `box`, each side rounded to the nearest pixel."""
    now = cast(shape(images)[1:3], dtypes.float32)
    scales = divide(cast(box, dtypes.float32), now)
    return cast(round_(multiply(minimum(scales[0], scales[1]), now)), dtypes.int32)


def resize_image_with_pad(image: Any, target_height: Any, target_width: Any, method: Any = ResizeMethod.BILINEAR,
                          align_corners: bool = False) -> Tensor:
    """One picture or a batch of them, fitted into [target_height, target_width] without distortion, with zeros around it."""
    with name_scope(None, "resize_image_with_pad", [image]):
        x = checked_image(image)
        positive(target_height=target_height, target_width=target_width)
        batch, single = batched(x)
        box = stack([as_tensor(target_height), as_tensor(target_width)])
        now, target = cast(shape(batch)[1:3], dtypes.float64), cast(box, dtypes.float64)
        ratios = divide(now, target)
        exact = divide(now, maximum(ratios[0], ratios[1]))
        before = cast(maximum(floor(divide(subtract(target, exact), 2.0)), 0.0), dtypes.int32)
        resized = resize_images(batch, cast(floor(exact), dtypes.int32), method, align_corners)
        return unbatched(pad_to_bounding_box(resized, before[0], before[1], target_height, target_width), single)
