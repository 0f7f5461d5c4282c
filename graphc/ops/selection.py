"""The greatest few of each row, and places in sorted rows: nodes that the expansions of `ordering`, `unique` and others share."""
from __future__ import annotations

import math
from collections.abc import Callable

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.primitives.sorting import RANKED, sort_keys
from graphc.primitives.sugar import fill_like

BLOCK = 8  # elements of a block, at least: of smaller ones there would be too many
Probe = Callable[[Node], Node]


def top_order(x: Node, k: int) -> Node:
    """The int32 positions of the `k` greatest of each row of `x` [rows, length], greatest first, of equal ones the first one first."""
    rows, length = x.dims
    if not rows or not k:
        return p.full(0, TensorType(dtypes.int32, (rows, k)))
    return _top(sort_keys(x)[0], k) if _is_long(length, k) else p.slice_(p.argsort(x, 1, descending=True), (0, 0), (rows, k))


def _is_long(length: int, k: int) -> bool:
    return length > RANKED and _block(length, k) >= BLOCK


def _block(length: int, k: int) -> int:
    """A power of two such that there are about as many blocks as candidates in the k greatest of them."""
    return 1 << round(math.log2(max(length / k, 1)) / 2)


def _top(keys: Node, k: int) -> Node:
    """`top_order` of unsigned keys. The k greatest elements are in the k blocks of the greatest maxima: one pass over all elements finds
    those, and few elements are left.

    Of blocks with equal maxima the first ones are enough too, because each holds an element that equals it; and candidates in the order of
    their positions keep the first of equal elements first.
    """
    rows, length = keys.dims
    if not _is_long(length, k):
        return p.slice_(p.argsort(keys, 1, descending=True), (0, 0), (rows, k))
    size = _block(length, k)
    count = -(-length // size)
    filled = p.pad(keys, p.constant(0, keys.dtype), (0, 0), (0, count * size - length))
    blocks = _top(p.reduce_max(p.reshape(filled, (rows, count, size)), (2,)), k)
    (ordered,) = p.sort([blocks], 1)
    shape = (rows, k, size)
    first = p.multiply(p.broadcast_in_dim(ordered, shape, (0, 1)), p.full(size, TensorType(ordered.dtype, shape)))
    candidates = p.reshape(p.add(first, p.iota(shape, 2, first.dtype)), (rows, k * size))
    return p.rearrange(candidates, _top(p.rearrange(filled, candidates, 1), k), 1)


def bisect(dims: tuple[int, ...], length: int, goes_on: Probe) -> Node:
    """int32 `dims`: how many of `length` places there are before the first that `goes_on` does not hold for; it holds for the ones before.

    goes_on: int32 places -> bools; places that do not exist are never asked for.
    """
    found = p.full(0, TensorType(dtypes.int32, dims))
    for bit in reversed(range(length.bit_length())):
        tried = p.add(found, fill_like(found, 1 << bit))
        exists = p.compare(tried, fill_like(tried, length), "LE")
        place = p.select(exists, p.subtract(tried, fill_like(tried, 1)), found)
        found = p.select(p.and_(exists, goes_on(place)), tried, found)
    return found
