"""Pictures turned, mirrored, cropped and padded: no pixel changes, only its place. All of it becomes views that its readers take along.

A picture is [height, width, channels], a batch of them [batch, height, width, channels]; where not even the rank is known it is taken for
one picture, as TF1 does.
"""
from __future__ import annotations

from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim
from graphc.ops.array import expand_dims, range_, rank, shape, squeeze, transpose
from graphc.ops.choosing import where_v2
from graphc.ops.declare import INDEX, as_tensor, declare_one, name_scope
from graphc.ops.elementwise import add, floormod, less, subtract
from graphc.ops.joining import concat, pad, reverse, stack
from graphc.ops.parts import undetermined
from graphc.ops.random import random_uniform
from graphc.ops.slicing import slice_

HEIGHT, WIDTH = -3, -2  # axes of a picture and of a batch of them

# What every function here asks of its argument ------------------------------------------------------------------------------------------

def checked_image(image: Any, what: str = "image") -> Tensor:
    """`image` as a tensor; ValueError unless it is one picture or a batch of them, or may turn out to be."""
    x = as_tensor(image, name=what)
    if x.rank not in (None, 3, 4):
        raise ValueError(f"'{what}' must have either 3 or 4 dimensions, but has {x.rank}.")
    return x


def batched(image: Tensor) -> tuple[Tensor, bool]:
    """`image` as a batch, and whether it is one picture (taken to be so where its rank is unknown)."""
    single = image.rank != 4
    return (expand_dims(image, 0), True) if single else (image, False)


def unbatched(images: Tensor, single: bool) -> Tensor:
    """The only picture of a batch where `single`, else the batch."""
    return squeeze(images, [0]) if single else images


def positive(**sizes: Any) -> None:
    """ValueError for a size that is a plain number not above 0."""
    for argument, size in sizes.items():
        if not isinstance(size, Tensor) and int(size) <= 0:
            raise ValueError(f"{argument} must be > 0.")


def _not_negative(**offsets: Any) -> None:
    for argument, offset in offsets.items():
        if not isinstance(offset, Tensor) and int(offset) < 0:
            raise ValueError(f"{argument} must be >= 0.")


def _size(images: Tensor, axis: int) -> Any:
    """The size of `images` along `axis`: a number where it is known, else a tensor."""
    known = None if images.shape_tuple is None else images.shape_tuple[axis]
    return shape(images)[axis] if known is None else known


# Turning and mirroring -------------------------------------------------------------------------------------------------------------------

def flip_left_right(image: Any) -> Tensor:
    """The mirror image: the first column last. One picture or a batch."""
    return _flipped(image, WIDTH, "flip_left_right")


def flip_up_down(image: Any) -> Tensor:
    """Upside down: the first row last. One picture or a batch."""
    return _flipped(image, HEIGHT, "flip_up_down")


def _flipped(image: Any, axis: int, scope: str) -> Tensor:
    with name_scope(None, scope, [image]):
        return reverse(checked_image(image), [axis])


def transpose_image(image: Any, name: str | None = None) -> Tensor:
    """Rows become columns. One picture or a batch."""
    with name_scope(name, "transpose", [image]):
        x = checked_image(image)
        if x.rank is not None:
            return transpose(x, [0, 2, 1, 3] if x.rank == 4 else [1, 0, 2], name="transpose")
        axes = rank(x)
        order = concat([range_(0, subtract(axes, 3)), stack([subtract(axes, 2), subtract(axes, 3), subtract(axes, 1)])], 0)
        return transpose(x, order, name="transpose")


@composite("Rot90")
def ROT90(image: Node, k: Node) -> Node:
    """`image` turned by k times 90 degrees against the clock: a mirror image and a transpose, or two mirror images."""
    rank = len(image.shape)
    if rank not in (3, 4):
        raise ValueError(f"'image' must have either 3 or 4 dimensions, but has {rank}.")
    height, width = rank - 3, rank - 2
    swapped = (*range(height), width, height, rank - 1)
    turns = static_dims(k)
    if turns is None or turns[0] is None:
        return undetermined(image, (*image.shape[:height], None, None, image.shape[-1]))
    match turns[0] % 4:
        case 1:
            return p.transpose(p.reverse(image, (width,)), swapped)
        case 2:
            return p.reverse(image, (height, width))
        case 3:
            return p.reverse(p.transpose(image, swapped), (width,))
    return image


def rot90(image: Any, k: Any = 1, name: str | None = None) -> Tensor:
    """`image`, one picture or a batch, turned by `k` times 90 degrees against the clock."""
    with name_scope(name, "rot90", [image, k]) as scope:
        x = checked_image(image)
        return declare_one(ROT90, {"image": x, "k": as_tensor(k, dtypes.int32, "k")}, None, scope, other={"k": INDEX})


def random_flip_left_right(image: Any, seed: int | None = None) -> Tensor:
    """The mirror image with probability 1/2: of each picture of a batch by itself."""
    return _randomly_flipped(image, WIDTH, seed, "random_flip_left_right")


def random_flip_up_down(image: Any, seed: int | None = None) -> Tensor:
    """Upside down with probability 1/2: each picture of a batch by itself."""
    return _randomly_flipped(image, HEIGHT, seed, "random_flip_up_down")


def _randomly_flipped(image: Any, axis: int, seed: int | None, scope: str) -> Tensor:
    with name_scope(None, scope, [image]) as name:
        x = checked_image(image)
        pictures = concat([shape(x)[:-3], [1, 1, 1]], 0)
        return where_v2(less(random_uniform(pictures, seed=seed), 0.5), reverse(x, [axis]), x, name)


# Cropping and padding --------------------------------------------------------------------------------------------------------------------

def crop_to_bounding_box(image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any) -> Tensor:
    """The box of [target_height, target_width] pixels whose upper left corner is at [offset_height, offset_width].

    Numbers or integer tensors. ValueError where the box does not lie inside the picture (one or a batch).
    """
    with name_scope(None, "crop_to_bounding_box", [image]):
        x = checked_image(image)
        _not_negative(offset_height=offset_height, offset_width=offset_width)
        positive(target_height=target_height, target_width=target_width)
        batch, single = batched(x)
        for axis, what, offset, target in ((1, "height", offset_height, target_height), (2, "width", offset_width, target_width)):
            size = _size(batch, axis)
            if not any(isinstance(each, Tensor) for each in (size, offset, target)) and size < target + offset:
                raise ValueError(f"{what} must be >= target + offset, but {size} < {target} + {offset}.")
        begin, count = [0, offset_height, offset_width, 0], [-1, target_height, target_width, -1]
        return unbatched(slice_(batch, stack(begin), stack(count)), single)


def pad_to_bounding_box(image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any) -> Tensor:
    """`image` (one or a batch) at [offset_height, offset_width] of a picture of zeros of [target_height, target_width] pixels.

    Numbers or integer tensors. ValueError where it does not fit in.
    """
    with name_scope(None, "pad_to_bounding_box", [image]):
        x = checked_image(image)
        _not_negative(offset_height=offset_height, offset_width=offset_width)
        batch, single = batched(x)
        rows = []
        for axis, what, offset, target in ((1, "height", offset_height, target_height), (2, "width", offset_width, target_width)):
            size = _size(batch, axis)
            if not any(isinstance(each, Tensor) for each in (size, offset, target)):
                if size > target - offset:
                    raise ValueError(f"{what} must be <= target - offset, but {size} > {target} - {offset}")
                rows.append([offset, target - offset - size])
            else:
                rows.append([offset, subtract(subtract(target, offset), size)])
        padded = pad(batch, [[0, 0], *rows, [0, 0]])
        known = [None if isinstance(target, Tensor) else int(target) for target in (target_height, target_width)]
        padded.set_shape([batch.shape_tuple[0], *known, batch.shape_tuple[3]] if batch.shape_tuple is not None else [None, *known, None])
        return unbatched(padded, single)


def _evenly(size: Dim, target: Dim) -> tuple[Dim, Dim]:
    """What to add before and after `size` pixels to have `target` of them (negative: to drop); the odd one goes after."""
    if size is None or target is None:
        return None, None
    extra = target - size
    before = extra // 2 if extra > 0 else -(-extra // 2)
    return before, extra - before


@composite("CropOrPad")
def CROP_OR_PAD(image: Node, target_height: Node, target_width: Node) -> Node:
    """`image` cropped or padded with zeros evenly on both sides: one `pad`, which drops elements where it is negative."""
    if len(image.shape) != 4:
        raise ValueError(f"'image' must have either 3 or 4 dimensions, but has {len(image.shape) - 1}.")
    low: list[Dim] = [0] * len(image.shape)
    high: list[Dim] = [0] * len(image.shape)
    dims = list(image.shape)
    for axis, target in ((HEIGHT, target_height), (WIDTH, target_width)):
        (size,) = static_dims(target) or (None,)
        if size is not None and size <= 0:
            raise ValueError(f"{'target_height' if axis == HEIGHT else 'target_width'} must be > 0, got {size}.")
        low[axis], high[axis] = _evenly(image.shape[axis], size)
        dims[axis] = size
    if None in low:
        return undetermined(image, dims)
    return p.pad(image, p.constant(0, image.dtype), low, high)


def resize_image_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Tensor:
    """The middle of `image` (one or a batch) where it is larger than [target_height, target_width], zeros around it where it is smaller."""
    with name_scope(None, "resize_image_with_crop_or_pad", [image]):
        x = checked_image(image)
        positive(target_height=target_height, target_width=target_width)
        batch, single = batched(x)
        inputs = {"image": batch, "target_height": target_height, "target_width": target_width}
        return unbatched(declare_one(CROP_OR_PAD, inputs, other={"target_height": INDEX, "target_width": INDEX}), single)


@composite("CentralCrop")
def CENTRAL_CROP(image: Node, *, central_fraction: float) -> Node:
    """The middle of `image`: this fraction of its height and width, the rest cut off evenly."""
    if len(image.shape) not in (3, 4):
        raise ValueError(f"'image' must have either 3 or 4 dimensions, but has {len(image.shape)}.")
    start: list[Dim] = [0] * len(image.shape)
    limit = list(image.shape)
    for axis in (HEIGHT, WIDTH):
        size = image.shape[axis]
        border = None if size is None else int((size - size * central_fraction) / 2)
        start[axis], limit[axis] = border, None if size is None or border is None else size - border
    return p.slice_(image, start, limit)


def central_crop(image: Any, central_fraction: float) -> Tensor:
    """The middle `central_fraction` (0 < fraction <= 1) of the height and of the width of `image`, one picture or a batch."""
    with name_scope(None, "central_crop", [image]):
        x = as_tensor(image, name="image")
        if central_fraction <= 0 or central_fraction > 1:
            raise ValueError("central_fraction must be within (0, 1]")
        if central_fraction == 1:
            return x
        if x.rank not in (3, 4):
            raise ValueError(f"`image` should either be a Tensor with rank = 3 or rank = 4. Had rank = {x.rank}.")
        return declare_one(CENTRAL_CROP, {"image": x}, {"central_fraction": float(central_fraction)}, "Slice")


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A box of `size` (one entry for each axis of `value`), each place for it as likely as any other."""
    with name_scope(name, "random_crop", [value, size]) as scope:
        x, wanted = as_tensor(value, name="value"), as_tensor(size, dtypes.int32, "size")
        dims = shape(x)
        room = add(subtract(dims, wanted), 1)
        offset = floormod(random_uniform(shape(dims), seed=seed, dtype=dtypes.int32, maxval=dtypes.int32.max), room)
        return slice_(x, offset, wanted, scope)
