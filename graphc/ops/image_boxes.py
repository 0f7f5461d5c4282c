"""Boxes in pictures: cut out and resized, glimpses, drawn borders. Where a box lies is known only when the graph runs, so pixels are
gathered by computed positions."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, show_dims
from graphc.ops.array import shape as shape_of
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.joining import concat
from graphc.ops.parts import box, undetermined
from graphc.ops.random import random_normal, random_uniform
from graphc.ops.reductions import mean_over
from graphc.primitives.sugar import fill_like, zeros_like

# crop_and_resize -------------------------------------------------------------------------------------------------------------------------

def _sides(boxes: Node) -> list[Node]:
    """The columns y1, x1, y2, x2 of `boxes` [n, 4], each [n]."""
    return [p.reshape(box(boxes, 1, n, n + 1), boxes.shape[:1]) for n in range(4)]


def _sampled(low: Node, high: Node, size: int, count: int) -> Node:
    """[n, count]: evenly spaced positions from `low` to `high` (fractions of an axis of `size` pixels), its middle where count is 1."""
    last = fill_like(low, size - 1)
    if count == 1:
        return p.reshape(p.multiply(p.multiply(p.add(low, high), fill_like(low, 0.5)), last), (*low.shape, 1))
    shape = (*low.shape, count)
    step = p.divide(p.multiply(p.subtract(high, low), last), fill_like(low, count - 1))
    steps = p.multiply(p.iota(shape, 1, low.dtype), p.broadcast_in_dim(step, shape, (0,)))
    return p.add(p.broadcast_in_dim(p.multiply(low, last), shape, (0,)), steps)


def _inside(position: Node, size: int) -> Node:
    return p.and_(p.compare(position, zeros_like(position), "GE"), p.compare(position, fill_like(position, size - 1), "LE"))


def _pixels(image: Node, batch: Node, rows: Node, columns: Node) -> Node:
    """The pixels of `image` [batch, height, width, depth] at rows [n, h] and columns [n, w] of picture batch[n]: [n, h, w, depth]."""
    pictures, height, width, depth = image.dims
    shape = (*rows.dims, columns.dims[1])
    limit = fill_like(batch, pictures)
    known = p.and_(p.compare(batch, zeros_like(batch), "GE"), p.compare(batch, limit, "LT"))
    place = p.add(p.broadcast_in_dim(p.multiply(batch, fill_like(batch, height)), rows.shape, (0,)), rows)
    flat = p.add(p.broadcast_in_dim(p.multiply(place, fill_like(place, width)), shape, (0, 1)), p.broadcast_in_dim(columns, shape, (0, 2)))
    flat = p.select(p.broadcast_in_dim(known, shape, (0,)), flat, fill_like(flat, -1))
    return p.gather(p.reshape(image, (pictures * height * width, depth)), flat, 0)


def _blended(first: Node, second: Node, share: Node, axes: Sequence[int]) -> Node:
    """first + (second - first) share."""
    return p.add(first, p.multiply(p.subtract(second, first), p.broadcast_in_dim(share, first.shape, axes)))


@composite("CropAndResize")
def CROP_AND_RESIZE(image: Node, boxes: Node, box_ind: Node, crop_size: Node, *, method: str = "bilinear",
                    extrapolation_value: float = 0.0) -> Node:
    """[n, crop height, crop width, depth], float32: box n of picture box_ind[n], resized; nothing for a picture that there is not."""
    if len(image.shape) != 4 or len(boxes.shape) != 2 or len(box_ind.shape) != 1:
        raise ValueError(f"crop_and_resize needs images of rank 4, boxes of rank 2 and box_ind of rank 1, got {show_dims(image.shape)}, "
                         f"{show_dims(boxes.shape)} and {show_dims(box_ind.shape)}")
    if boxes.shape[1] not in (4, None):
        raise ValueError(f"boxes must have 4 columns, y1, x1, y2, x2, but are {show_dims(boxes.shape)}")
    if None not in (boxes.shape[0], box_ind.shape[0]) and boxes.shape[0] != box_ind.shape[0]:
        raise ValueError(f"Dimensions must be equal, but are {boxes.shape[0]} and {box_ind.shape[0]}: one index for each box")
    crop = static_dims(crop_size) or (None, None)
    if len(crop) != 2 or any(size is not None and size <= 0 for size in crop):
        raise ValueError(f"crop_size must be two positive sizes, crop_height and crop_width, got {crop}")
    wide = p.convert(image, dtypes.float32)
    if None in crop or not all(each.type.is_static for each in (image, boxes, box_ind)):
        return _some_crops(wide, boxes, box_ind.shape[0], crop)
    return _crops(wide, boxes, p.convert(box_ind, dtypes.int32), crop, method, extrapolation_value)


def _some_crops(image: Node, boxes: Node, count: Dim, crop: Sequence[Dim]) -> Node:
    """Their type, resting on the picture and on the boxes."""
    shape = (boxes.shape[0] if count is None else count, *crop, image.shape[3])
    return p.add(undetermined(image, shape), undetermined(boxes, shape))


def _crops(image: Node, boxes: Node, box_ind: Node, crop: Sequence[Any], method: str, extrapolation_value: float) -> Node:
    height, width = image.dims[1:3]
    top, left, bottom, right = _sides(boxes)
    y, x = _sampled(top, bottom, height, crop[0]), _sampled(left, right, width, crop[1])
    shape = (*y.shape, crop[1], image.shape[3])
    visible = p.and_(p.broadcast_in_dim(_inside(y, height), shape, (0, 1)), p.broadcast_in_dim(_inside(x, width), shape, (0, 2)))

    def pixels(rows: Node, columns: Node) -> Node:
        return _pixels(image, box_ind, p.convert(rows, dtypes.int32), p.convert(columns, dtypes.int32))

    if method == "nearest":
        half_up = [p.floor(p.add(each, fill_like(each, 0.5))) for each in (y, x)]
        found = pixels(*half_up)
    else:
        (y0, y1), (x0, x1) = ((p.floor(each), p.ceil(each)) for each in (y, x))
        across = p.subtract(x, x0)
        above = _blended(pixels(y0, x0), pixels(y0, x1), across, (0, 2))
        below = _blended(pixels(y1, x0), pixels(y1, x1), across, (0, 2))
        found = _blended(above, below, p.subtract(y, y0), (0, 1))
    return p.select(visible, found, fill_like(found, extrapolation_value))


def crop_and_resize(image: Any, boxes: Any, box_ind: Any = None, crop_size: Any = None, method: str = "bilinear",
                    extrapolation_value: float = 0, name: str | None = None, box_indices: Any = None) -> Tensor:
    """Box n of picture box_ind[n] of `image` [batch, height, width, depth], at `crop_size`: [n, crop height, crop width, depth] float32.

    boxes: [n, 4] of y1, x1, y2, x2, where 0 and 1 are the centres of the outermost pixels; y1 > y2 gives the mirror image. Outside the
    picture stands `extrapolation_value`. method: "bilinear" or "nearest". Differentiable by `image` and by `boxes`.
    """
    if method not in ("bilinear", "nearest"):
        raise ValueError(f"method must be 'bilinear' or 'nearest', got {method!r}")
    inputs = {"image": image, "boxes": boxes, "box_ind": box_indices if box_ind is None else box_ind, "crop_size": crop_size}
    attrs = {"method": method, "extrapolation_value": float(extrapolation_value)}
    return declare_one(CROP_AND_RESIZE, inputs, attrs, name, other={"boxes": dtypes.float32, "box_ind": INDEX, "crop_size": INDEX})


# Glimpses --------------------------------------------------------------------------------------------------------------------------------

@composite("ExtractGlimpse")
def EXTRACT_GLIMPSE(input: Node, size: Node, offsets: Node, noise: Node, *, centered: bool, normalized: bool, uniform_noise: bool) -> Node:
    """A box of `size` around a place of each picture's own; where it lies outside, `noise` of the picture's range or deviation."""
    if len(input.shape) != 4 or len(offsets.shape) != 2:
        raise ValueError(f"extract_glimpse needs images of rank 4 and offsets of rank 2, got {show_dims(input.shape)} and "
                         f"{show_dims(offsets.shape)}")
    glimpse = static_dims(size) or (None, None)
    shape = (input.shape[0], *glimpse, input.shape[3])
    if None in glimpse or not input.type.is_static or not offsets.type.is_static:
        return undetermined(input, shape)
    y, x = (p.reshape(box(offsets, 1, n, n + 1), offsets.shape[:1]) for n in range(2))
    rows = _glimpsed(y, input.dims[1], glimpse[0] or 0, centered, normalized)
    columns = _glimpsed(x, input.dims[2], glimpse[1] or 0, centered, normalized)
    visible = p.and_(p.broadcast_in_dim(_inside(rows, input.dims[1]), shape, (0, 1)),
                     p.broadcast_in_dim(_inside(columns, input.dims[2]), shape, (0, 2)))
    pictures = p.iota(shape[:1], 0, dtypes.int32)
    return p.select(visible, _pixels(input, pictures, rows, columns), _like_picture(input, noise, uniform_noise))


def _glimpsed(offset: Node, size: int, count: int, centered: bool, normalized: bool) -> Node:
    """[batch, count]: the positions along an axis of `size` pixels of a glimpse whose middle `offset` [batch] names.

    normalized: in fractions of the axis instead of pixels. centered: counted from the middle, half a unit for each.
    """
    place = p.multiply(offset, fill_like(offset, size)) if normalized else offset
    if centered:
        place = p.add(p.multiply(place, fill_like(place, 0.5)), fill_like(place, size / 2))
    first = p.convert(p.subtract(place, fill_like(place, count / 2)), dtypes.int32)
    shape = (*offset.shape, count)
    return p.add(p.broadcast_in_dim(first, shape, (0,)), p.iota(shape, 1, dtypes.int32))


def _like_picture(image: Node, noise: Node, uniform: bool) -> Node:
    """Random numbers on the scale of each picture: between its least and greatest value, or with its mean and deviation."""
    axes = (1, 2, 3)
    if uniform:
        start = p.reduce_min(image, axes)
        width = p.subtract(p.reduce_max(image, axes), start)
    else:
        start = mean_over(image, axes)
        centred = p.subtract(image, p.broadcast_in_dim(start, image.shape, (0,)))
        width = p.sqrt(mean_over(p.multiply(centred, centred), axes))
    start, width = (p.stop_gradient(p.broadcast_in_dim(each, noise.shape, (0,))) for each in (start, width))
    return p.add(p.multiply(noise, width), start)


def extract_glimpse(input: Any, size: Any, offsets: Any, centered: bool = True, normalized: bool = True, uniform_noise: bool = True,
                    name: str | None = None) -> Tensor:
    """[batch, size..., channels]: from each picture of `input` [batch, height, width, channels] the box around its row (y, x) of `offsets`.

    centered: (0, 0) is the middle of the picture and (-1, -1) its upper left corner, else (0, 0) that corner. normalized: offsets in
    fractions of the picture, else in pixels. Where a box lies outside its picture stands noise: uniform in the picture's range, or normal.
    """
    with name_scope(name, "ExtractGlimpse", [input, offsets]) as scope:
        images = as_tensor(input, dtypes.float32, "input")
        box_size = as_tensor(size, dtypes.int32, "size")
        dims = shape_of(images)
        draw = random_uniform if uniform_noise else random_normal
        noise = draw(concat([dims[:1], box_size, dims[3:]], 0))
        inputs = {"input": images, "size": box_size, "offsets": as_tensor(offsets, dtypes.float32, "offsets"), "noise": noise}
        attrs = {"centered": bool(centered), "normalized": bool(normalized), "uniform_noise": bool(uniform_noise)}
        return declare_one(EXTRACT_GLIMPSE, inputs, attrs, scope, other={"size": INDEX})


# Drawing ---------------------------------------------------------------------------------------------------------------------------------

# Red, green, blue and opacity of the first box, the second, ...: TF1's order, over again after the tenth.
COLORS = ((1.0, 1.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.5, 0.0, 0.5, 1.0),
          (0.5, 0.5, 0.0, 1.0), (0.5, 0.0, 0.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.0, 1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 1.0))


@composite("DrawBoundingBoxesV2")
def DRAW_BOUNDING_BOXES(images: Node, boxes: Node, colors: Node, *, grey_is_white: bool = False) -> Node:
    """Borders one pixel wide, later boxes over earlier ones: each pixel asks which is the last box whose border it is on.

    grey_is_white: pictures of depth 1 have borders of 1.
    """
    if len(images.shape) != 4 or len(boxes.shape) != 3 or len(colors.shape) != 2:
        shapes = ", ".join(show_dims(each.shape) for each in (images, boxes, colors))
        raise ValueError(f"draw_bounding_boxes needs images of rank 4, boxes of rank 3 and colors of rank 2, got {shapes}")
    if boxes.shape[2] not in (4, None):
        raise ValueError(f"boxes must have 4 columns, y1, x1, y2, x2, but are {show_dims(boxes.shape)}")
    if not all(each.type.is_static for each in (images, boxes, colors)):
        return undetermined(images, images.shape, p.convert(colors, images.dtype))
    pictures, height, width, depth = images.dims
    count = boxes.dims[1]
    shape = (pictures, height, width, count)
    number = p.iota(shape, 3, dtypes.int32)
    last = p.reduce_max(p.select(_on_border(boxes, shape), number, fill_like(number, -1)), (3,))
    color = p.gather(colors, p.remainder(last, fill_like(last, colors.dims[0])), 0)  # of -1: nothing
    drawn = p.broadcast_in_dim(p.compare(last, zeros_like(last), "GE"), images.shape, (0, 1, 2))
    color = fill_like(images, 1) if grey_is_white and depth == 1 else p.convert(box(color, 3, 0, depth), images.dtype)
    return p.select(drawn, color, images)


def _on_border(boxes: Node, shape: tuple[int, ...]) -> Node:
    """bool [pictures, height, width, boxes]: whether a pixel is on a box's border. Boxes turned inside out have none."""
    within: list[Node] = []
    edges: list[Node] = []
    for axis, size in ((1, shape[1]), (2, shape[2])):
        ends = [p.convert(p.multiply(side, fill_like(side, size - 1)), dtypes.int32)
                for side in (p.reshape(box(boxes, 2, n, n + 1), boxes.dims[:2]) for n in (axis - 1, axis + 1))]
        place = p.iota(shape, axis, dtypes.int32)
        low, high = (p.broadcast_in_dim(end, shape, (0, 3)) for end in ends)
        within.append(p.and_(p.compare(place, low, "GE"), p.compare(place, high, "LE")))
        edges.append(p.or_(p.compare(place, low, "EQ"), p.compare(place, high, "EQ")))
    return p.and_(p.and_(*within), p.or_(*edges))


def draw_bounding_boxes(images: Any, boxes: Any, name: str | None = None, colors: Any = None) -> Tensor:
    """`images` [batch, height, width, depth] with the borders of `boxes` [batch, n, 4] (y1, x1, y2, x2 in [0, 1]) drawn on them.

    colors: [m, depth], taken in turn; by default ten of TF1's (1.0 everywhere in pictures of depth 1).
    """
    with name_scope(name, "DrawBoundingBoxes", [images, boxes]) as scope:
        x = as_tensor(images, None if isinstance(images, Tensor) else dtypes.float32, "images")
        inputs = {"images": x, "boxes": boxes, "colors": COLORS if colors is None else colors}
        return declare_one(DRAW_BOUNDING_BOXES, inputs, {"grey_is_white": colors is None}, scope,
                           other={"boxes": dtypes.float32, "colors": dtypes.float32})
