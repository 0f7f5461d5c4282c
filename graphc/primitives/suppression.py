"""Non-maximum suppression: of many boxes for a few things, the best of each. One choice depends on all before it, so the host makes it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Extern
from graphc.core.primitive import NotDifferentiable, Primitive, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType, same_dim
from graphc.primitives.numerics import Array
from graphc.primitives.rules import call


@dataclass(frozen=True)
class SuppressionAttrs:
    """count: the most boxes to choose. overlaps: operand 0 holds how much each pair overlaps, not boxes. scores: give the scores of the
    chosen ones, as they were when chosen, instead of their numbers."""

    count: int
    overlaps: bool
    scores: bool


def _type(attrs: SuppressionAttrs, boxes: TensorType, scores: TensorType, *numbers: TensorType) -> TensorType:
    types = (boxes, scores, *numbers)
    shown = call("non_max_suppression", types)
    if any(not each.dtype.is_floating for each in types):
        raise TypeError(f"{shown}: needs floating operands")
    if boxes.rank != 2 or scores.rank != 1 or any(each.rank != 0 for each in numbers) or attrs.count < 0:
        raise ValueError(f"{shown}: needs boxes of rank 2, scores of rank 1, scalars, and a count that is not negative ({attrs.count})")
    if not same_dim(boxes.shape[0], scores.shape[0]):
        raise ValueError(f"{shown}: Dimensions must be equal, but are {boxes.shape[0]} and {scores.shape[0]}")
    columns = scores.shape[0] if attrs.overlaps else 4
    if not same_dim(boxes.shape[1], columns):
        raise ValueError(f"{shown}: Dimension must be {columns} but is {boxes.shape[1]}")
    return TensorType(scores.dtype if attrs.scores else dtypes.int32, (attrs.count,))


def _suppressed(attrs: SuppressionAttrs, boxes: Array, scores: Array, threshold: Array, least: Array, sigma: Array) -> Array:
    """The best is chosen, what overlaps it by more than `threshold` is out, and so on while a score is above `least`. With a `sigma` above
    0 the scores of what overlaps it less sink by exp(-overlap^2 / (2 sigma)) (N. Bodla et al., arXiv:1704.04503)."""
    if not attrs.overlaps and not 0 <= threshold <= 1:
        raise ValueError("iou_threshold must be in [0, 1]")
    given, current = boxes.astype(np.float32), scores.astype(np.float32)
    current = np.where(current > least, current, -np.inf)  # NaN is below everything
    result = np.full(attrs.count, 0 if attrs.scores else -1, scores.dtype if attrs.scores else np.int32)
    for place in range(min(attrs.count, len(current))):
        best = int(np.argmax(current))
        if not current[best] > least:
            break
        result[place] = current[best] if attrs.scores else best
        overlap = given[:, best] if attrs.overlaps else _intersection_over_union(given, best)
        if sigma > 0:
            current = current * np.exp(-0.5 / np.float32(sigma) * overlap * overlap)
        current = np.where((overlap <= threshold) & (current > least), current, -np.inf)
        current[best] = -np.inf
    return result


def _intersection_over_union(boxes: Array, best: int) -> Array:
    """Of each box with box number `best`; boxes are any two opposite corners, and of nothing with anything it is 0."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = np.prod(high - low, 1)
    common = np.prod(np.maximum(np.minimum(high, high[best]) - np.maximum(low, low[best]), 0), 1)
    solid = (areas > 0) & (areas[best] > 0)
    return np.where(solid, common / np.where(solid, areas + areas[best] - common, 1), 0).astype(np.float32)


NON_MAX_SUPPRESSION = declare(Primitive(
    "non_max_suppression", SuppressionAttrs, 5, _type, _suppressed, NotDifferentiable("a choice has no derivative"),
    Extern("numpy: greedy choice of boxes", lambda attrs, boxes, *others: 16 * attrs.count * (boxes.shape[0] or 1)),
    "Numbers (or scores) of the best boxes that overlap no better one by more than operand 2, and score above operand 3; then -1 (or 0)."))


def non_max_suppression(boxes: Node, scores: Node, threshold: Node, least: Node, sigma: Node, count: int, *, overlaps: bool = False,
                        give_scores: bool = False) -> Node:
    """int32 [count]: the numbers of the chosen boxes, best first, then -1; with `give_scores` their scores, then 0."""
    return make(NON_MAX_SUPPRESSION, (boxes, scores, threshold, least, sigma), SuppressionAttrs(count, overlaps, give_scores))
