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
from graphc.ops.declare import INDEX, declare_one
from graphc.ops.parts import box, undetermined
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
