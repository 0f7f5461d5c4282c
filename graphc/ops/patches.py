"""Windows and blocks as TF1 has them: patches, grey-scale dilation and erosion, space to depth and to batch, and back."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import Dim, Dims, dims_product
from graphc.ops.convolution import channels_back, channels_last, padded_by, ranked
from graphc.ops.convolution_arguments import alternative, checked_list, checked_word
from graphc.ops.declare import INDEX, declare_one, name_scope
from graphc.ops.elementwise import negative
from graphc.ops.joining import reverse

Ints = tuple[int, ...]

# Patches ------------------------------------------------------------------------------------------------------------------------------

def _seen(x: Node, value: Node, ksizes: Dims, strides: Ints, rates: Ints, padding: str) -> Node:
    """The windows of `x` [batch, spatial..., channels]; the lists have entries for batch and channels too, or (ksizes) for neither."""
    steps, apart = strides[1:-1], rates[1:-1]
    low, high = padded_by(padding, x.shape[1:-1], ksizes, steps, apart)
    return p.windows(x, value, 1, ksizes, steps, apart, low, high)


def _patches(images: Node, ksizes: Ints, strides: Ints, rates: Ints, padding: str) -> Node:
    x = ranked(images, len(ksizes))
    seen = _seen(x, p.constant(0, x.dtype), ksizes[1:-1], strides, rates, padding)
    rank = len(ksizes) - 2
    return p.reshape(seen, (*seen.shape[:rank + 1], dims_product(seen.shape[rank + 1:])))


@composite("ExtractImagePatches")
def EXTRACT_IMAGE_PATCHES(images: Node, *, ksizes: Ints, strides: Ints, rates: Ints, padding: str) -> Node:
    """Every window of the images, its pixels in a row: [batch, rows, columns, height * width * channels]."""
    return _patches(images, ksizes, strides, rates, padding)


@composite("ExtractVolumePatches")
def EXTRACT_VOLUME_PATCHES(input: Node, *, ksizes: Ints, strides: Ints, padding: str) -> Node:
    """Every window of the volumes, its elements in a row."""
    return _patches(input, ksizes, strides, (1,) * len(ksizes), padding)


def _outer_ones(function: str, argument: str, value: Any, length: int) -> Ints:
    """A list with an entry for each axis, of which batch and channels have 1."""
    numbers = checked_list(function, argument, value, length)
    if min(numbers) < 1 or numbers[0] != 1 or numbers[-1] != 1:
        raise ValueError(f"'{argument}' of '{function}' must be positive, and 1 for batch and channels, but is {list(numbers)}")
    return numbers


def extract_image_patches(images: Any, ksizes: Any = None, strides: Any = None, rates: Any = None, padding: Any = None,
                          name: str | None = None, sizes: Any = None) -> Tensor:
    """The windows of `images` [batch, height, width, channels], of `ksizes` with taps `rates` apart, `strides` apart from each other: each
    in a row along the last axis. All lists have four entries, the first and the last 1."""
    lists = {"ksizes": alternative("ksizes", ksizes, "sizes", sizes), "strides": strides, "rates": rates}
    attrs: dict[str, Any] = {key: _outer_ones("extract_image_patches", key, value, 4) for key, value in lists.items()}
    attrs["padding"] = checked_word("ExtractImagePatches", "padding", padding, ("SAME", "VALID"))
    return declare_one(EXTRACT_IMAGE_PATCHES, {"images": images}, attrs, name)


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: Any, name: str | None = None) -> Tensor:
    """`extract_image_patches` with windows of `sizes`."""
    return extract_image_patches(images, sizes, strides, rates, padding, name)


def extract_volume_patches(input: Any, ksizes: Any, strides: Any, padding: Any, name: str | None = None) -> Tensor:
    """The windows of `input` [batch, depth, height, width, channels], each in a row along the last axis; lists have five entries."""
    attrs: dict[str, Any] = {key: _outer_ones("extract_volume_patches", key, value, 5)
                             for key, value in {"ksizes": ksizes, "strides": strides}.items()}
    attrs["padding"] = checked_word("ExtractVolumePatches", "padding", padding, ("SAME", "VALID"))
    return declare_one(EXTRACT_VOLUME_PATCHES, {"input": input}, attrs, name)


# Morphology ---------------------------------------------------------------------------------------------------------------------------

def _sums(x: Node, w: Node, strides: Ints, rates: Ints, padding: str) -> Node:
    """Every element of every window plus the filter's at its tap, [batch, positions..., taps..., channels]; the least value outside."""
    known = (ranked(x, 4).shape[3], ranked(w, 3).shape[2])
    if None not in known and known[0] != known[1]:
        raise ValueError(f"Dimensions must be equal, but are {known[0]} and {known[1]}")
    sizes = w.shape[:2]
    seen = _seen(x, p.constant(0, x.dtype), sizes, strides, rates, padding)
    inside = _seen(p.full(True, x.type.with_dtype(dtypes.bool)), p.constant(False), sizes, strides, rates, padding)
    total = p.add(seen, p.broadcast_in_dim(w, seen.shape, (3, 4, 5)))
    lowest = -np.inf if x.dtype.is_floating else x.dtype.min
    return p.select(inside, total, p.full(lowest, total.type))


def _dilation_gradient(x: Node, w: Node, y: Node, g: Node, *, strides: Ints, rates: Ints, padding: str) -> Sequence[Node | None]:
    """All of it to the first tap that reaches the greatest sum, as in TF1."""
    sums = _sums(x, w, strides, rates, padding)
    batch, rows, columns, height, width, channels = sums.shape
    flat = p.reshape(sums, (batch, rows, columns, dims_product((height, width)), channels))
    best = p.broadcast_in_dim(p.argmax(flat, 3, dtypes.int32), flat.shape, (0, 1, 2, 4))
    chosen = p.compare(p.iota(flat.shape, 3, dtypes.int32), best, "EQ")
    only = p.reduce_sum(p.select(chosen, flat, p.full(0, flat.type)), (3,))
    return vjp((only,), (x, w), (g,))


@composite("Dilation2D", gradient=_dilation_gradient)
def DILATION_2D(input: Node, filter: Node, *, strides: Ints, rates: Ints, padding: str) -> Node:
    """The greatest of window + filter over the taps: [batch, rows, columns, channels]."""
    return p.reduce_max(_sums(input, filter, strides, rates, padding), (3, 4))


def dilation2d(input: Any, filter: Any = None, strides: Any = None, rates: Any = None, padding: Any = None, name: str | None = None,
               filters: Any = None, dilations: Any = None) -> Tensor:
    """Grey-scale dilation of `input` [batch, height, width, channels] by `filter` [height, width, channels]: at each position the greatest
    of window + filter. strides and rates (also called dilations) have four entries, the first and the last 1."""
    lists = {"strides": strides, "rates": alternative("rates", rates, "dilations", dilations)}
    attrs: dict[str, Any] = {key: _outer_ones("dilation2d", key, value, 4) for key, value in lists.items()}
    attrs["padding"] = checked_word("Dilation2D", "padding", padding, ("SAME", "VALID"))
    return declare_one(DILATION_2D, {"input": input, "filter": alternative("filter", filter, "filters", filters)}, attrs, name)


def erosion2d(value: Any, kernel: Any, strides: Any, rates: Any, padding: Any, name: str | None = None) -> Tensor:
    """Grey-scale erosion of `value` by `kernel`: at each position the least of window - kernel, by the dilation of -value with the kernel
    reversed."""
    with name_scope(name, "erosion2d", [value, kernel]) as scope:
        return negative(dilation2d(negative(value), reverse(kernel, [0, 1]), strides, rates, padding, scope))


# Blocks and depth ---------------------------------------------------------------------------------------------------------------------

def _divided(size: Dim, by: Dim) -> Dim:
    if size is None or by is None:
        return None
    if size % by:
        raise ValueError(f"Dimension size must be evenly divisible by {by} but is {size}")
    return size // by


def _times(size: Dim, by: Dim) -> Dim:
    return None if size is None or by is None else size * by


@composite("SpaceToDepth")
def SPACE_TO_DEPTH(input: Node, *, block_size: int, data_format: str = "NHWC") -> Node:
    """Each block of pixels becomes one with more channels."""
    n, h, w, c = (x := channels_last(ranked(input, 4), data_format)).shape
    rows, columns = _divided(h, block_size), _divided(w, block_size)
    blocks = p.reshape(x, (n, rows, block_size, columns, block_size, c))
    together = p.transpose(blocks, (0, 1, 3, 2, 4, 5))
    return channels_back(p.reshape(together, (n, rows, columns, _times(c, block_size ** 2))), data_format)


@composite("DepthToSpace")
def DEPTH_TO_SPACE(input: Node, *, block_size: int, data_format: str = "NHWC") -> Node:
    """Each pixel becomes a block of pixels with fewer channels."""
    n, h, w, c = (x := channels_last(ranked(input, 4), data_format)).shape
    depth = _divided(c, block_size ** 2)
    blocks = p.transpose(p.reshape(x, (n, h, w, block_size, block_size, depth)), (0, 1, 3, 2, 4, 5))
    return channels_back(p.reshape(blocks, (n, _times(h, block_size), _times(w, block_size), depth)), data_format)


def _block_attributes(op: str, block_size: int, data_format: str) -> dict[str, Any]:
    if block_size < 2:
        raise ValueError(f"Attr 'block_size' of '{op}' Op passed {block_size} less than minimum 2.")
    return {"block_size": int(block_size), "data_format": checked_word(op, "data_format", data_format, ("NHWC", "NCHW"))}


def space_to_depth(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Blocks of `block_size` by `block_size` pixels as one pixel each, with the channels of all of them: rows first."""
    return declare_one(SPACE_TO_DEPTH, {"input": input}, _block_attributes("SpaceToDepth", block_size, data_format), name)


def depth_to_space(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """The inverse of `space_to_depth`."""
    return declare_one(DEPTH_TO_SPACE, {"input": input}, _block_attributes("DepthToSpace", block_size, data_format), name)


# Blocks and batch ---------------------------------------------------------------------------------------------------------------------

def _block(x: Node, block_shape: Node, margins: Node, what: str) -> tuple[list[Dim], list[Dim], list[Dim]]:
    """The sizes of a block, and the margins before and after each axis, None for those that are not known yet."""
    if len(block_shape.shape) != 1:
        raise ValueError(f"Shape must be rank 1 but is rank {len(block_shape.shape)}")
    count = block_shape.shape[0]
    if count is None:
        raise ValueError("block_shape must have known size.")
    if len(x.shape) < count + 1:
        raise ValueError(f"Shape must be at least rank {count + 1} but is rank {len(x.shape)}")
    if len(margins.shape) != 2 or margins.shape[0] not in (None, count) or margins.shape[1] not in (None, 2):
        raise ValueError(f"{what} must have shape [{count}, 2] but has {margins.type}")
    sizes, around = _known(block_shape, (count,)), _known(margins, (count, 2))
    if any(size is not None and size < 1 for size in sizes.flat):
        raise ValueError("block_shape must be positive")
    if any(margin is not None and margin < 0 for margin in around.flat):
        raise ValueError(f"{what} cannot be negative")
    return list(sizes), list(around[:, 0]), list(around[:, 1])


def _known(node: Node, shape: Ints) -> np.ndarray[Any, Any]:
    """The integers of `node`, None where one is unknown: asked for as a vector, so that a stage before computes what is computed."""
    flat = p.reshape(node, (math.prod(shape),))
    dims = static_dims(flat)
    return np.array((None,) * math.prod(shape) if dims is None else dims, dtype=object).reshape(shape)


@composite("SpaceToBatchND")
def SPACE_TO_BATCH(input: Node, block_shape: Node, paddings: Node) -> Node:
    """Each place within a block, over the whole of the padded space, becomes an example of its own."""
    blocks, low, high = _block(input, block_shape, paddings, "paddings")
    count, batch, rest = len(blocks), input.shape[0], input.shape[1 + len(blocks):]
    more = (0,) * len(rest)
    padded = p.pad(input, p.constant(0, input.dtype), (0, *low, *more), (0, *high, *more))
    cells = [_divided(size, block) for size, block in zip(padded.shape[1:], blocks, strict=False)]
    apart = p.reshape(padded, (batch, *(dim for pair in zip(cells, blocks, strict=True) for dim in pair), *rest))
    order = (*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, 2 * count + 1 + len(rest)))
    return p.reshape(p.transpose(apart, order), (dims_product((batch, *blocks)), *cells, *rest))


@composite("BatchToSpaceND")
def BATCH_TO_SPACE(input: Node, block_shape: Node, crops: Node) -> Node:
    """The inverse of SpaceToBatchND, but for what it crops instead of pads."""
    blocks, low, high = _block(input, block_shape, crops, "crops")
    count, cells, rest = len(blocks), input.shape[1:1 + len(blocks)], input.shape[1 + len(blocks):]
    batch = _divided(input.shape[0], dims_product(blocks))
    apart = p.reshape(input, (*blocks, batch, *cells, *rest))
    order = (count, *(axis for n in range(count) for axis in (count + 1 + n, n)), *range(2 * count + 1, 2 * count + 1 + len(rest)))
    sizes = [_times(cell, block) for cell, block in zip(cells, blocks, strict=True)]
    whole = p.reshape(p.transpose(apart, order), (batch, *sizes, *rest))
    ends: list[Dim] = []
    for size, before, after in zip(sizes, low, high, strict=True):
        if size is not None and before is not None and after is not None and before + after > size:
            raise ValueError(f"Negative dimension size caused by subtracting {after} from {size - before}")
        ends.append(None if size is None or after is None else size - after)
    more = (0,) * len(rest)
    return p.slice_(whole, (0, *low, *more), (batch, *ends, *rest))


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """`input` [batch, spatial..., rest...], padded by `paddings` [axes, 2] and cut into blocks of `block_shape`: each place in a block
    becomes an example, with one element of every block."""
    inputs = {"input": input, "block_shape": block_shape, "paddings": paddings}
    return declare_one(SPACE_TO_BATCH, inputs, None, name, other={"block_shape": INDEX, "paddings": INDEX})


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """The inverse of `space_to_batch_nd`; `crops` [axes, 2] are taken off."""
    inputs = {"input": input, "block_shape": block_shape, "crops": crops}
    return declare_one(BATCH_TO_SPACE, inputs, None, name, other={"block_shape": INDEX, "crops": INDEX})


def space_to_batch(input: Any, paddings: Any, block_size: int | None = None, name: str | None = None, block_shape: Any = None) -> Tensor:
    """`space_to_batch_nd` with blocks of `block_size` by `block_size`, or of `block_shape`."""
    return space_to_batch_nd(input, _block_shape(block_size, block_shape), paddings, name)


def batch_to_space(input: Any, crops: Any, block_size: int | None = None, name: str | None = None, block_shape: Any = None) -> Tensor:
    """`batch_to_space_nd` with blocks of `block_size` by `block_size`, or of `block_shape`."""
    return batch_to_space_nd(input, _block_shape(block_size, block_shape), crops, name)


def _block_shape(block_size: int | None, block_shape: Any) -> Any:
    given = alternative("block_size", block_size, "block_shape", block_shape)
    if given is None:
        raise ValueError("block_size or block_shape must be given")
    return np.array([given, given], np.int64) if isinstance(given, int) else given
