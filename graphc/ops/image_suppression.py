"""Non-maximum suppression under TF1's names. How many boxes are chosen depends on their values: results are of that size, which makes a run
take a second stage, or padded to the most there can be."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.opdef import OpDef, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.core.types import TensorType
from graphc.ops.declare import INDEX, as_tensor, declare, name_scope
from graphc.primitives.sugar import zeros_like
from graphc.primitives.suppression import non_max_suppression as chosen_boxes

LEAST = float("-inf")


def _chosen(boxes: Node, scores: Node, size: Node, threshold: Node, least: Node, sigma: Node | None = None, *, overlaps: bool = False,
            give_scores: bool = False) -> Node:
    """`max_output_size` numbers (or scores) of boxes; of unknown length while `size` is not known."""
    (count,) = static_dims(size) or (None,)
    most, above = p.convert(threshold, scores.dtype), p.convert(least, scores.dtype)
    soft = p.constant(0, scores.dtype) if sigma is None else p.convert(sigma, scores.dtype)
    if count is not None and count < 0:
        raise ValueError(f"max_output_size must be non-negative, got {count}")
    result = chosen_boxes(boxes, scores, most, above, soft, count or 0, overlaps=overlaps, give_scores=give_scores)
    return p.parameter("?chosen", TensorType(result.dtype, (None,))) if count is None else result


def _number(indices: Node) -> Node:
    """How many were chosen: the others are -1."""
    return p.reduce_sum(p.convert(p.compare(indices, zeros_like(indices), "GE"), dtypes.int32), (0,))


def _cut(values: Node, number: Node) -> Node:
    """The first `number` of `values`."""
    (count,) = static_dims(number) or (None,)
    return p.slice_(values, (0,), (count,))


@composite("NonMaxSuppressionV3", gradient=False)
def NON_MAX_SUPPRESSION_V3(boxes: Node, scores: Node, max_output_size: Node, iou_threshold: Node, score_threshold: Node) -> Node:
    """The numbers of the chosen boxes."""
    indices = _chosen(boxes, scores, max_output_size, iou_threshold, score_threshold)
    return _cut(indices, _number(indices))


@composite("NonMaxSuppressionV4", gradient=False)
def NON_MAX_SUPPRESSION_V4(boxes: Node, scores: Node, max_output_size: Node, iou_threshold: Node, score_threshold: Node, *,
                           pad_to_max_output_size: bool = False) -> Sequence[Node]:
    """The numbers of the chosen boxes, then zeros where they are padded; and how many were chosen."""
    indices = _chosen(boxes, scores, max_output_size, iou_threshold, score_threshold)
    number = _number(indices)
    return (p.maximum(indices, zeros_like(indices)) if pad_to_max_output_size else _cut(indices, number)), number


@composite("NonMaxSuppressionV5", gradient=False)
def NON_MAX_SUPPRESSION_V5(boxes: Node, scores: Node, max_output_size: Node, iou_threshold: Node, score_threshold: Node,
                           soft_nms_sigma: Node) -> Sequence[Node]:
    """The numbers of the chosen boxes, their scores when they were chosen, and how many there are."""
    numbers = (boxes, scores, max_output_size, iou_threshold, score_threshold, soft_nms_sigma)
    indices = _chosen(*numbers)
    number = _number(indices)
    return _cut(indices, number), _cut(_chosen(*numbers, give_scores=True), number), number


@composite("NonMaxSuppressionWithOverlaps", gradient=False)
def NON_MAX_SUPPRESSION_WITH_OVERLAPS(overlaps: Node, scores: Node, max_output_size: Node, overlap_threshold: Node,
                                      score_threshold: Node) -> Node:
    """The numbers of the chosen boxes, of which only the overlaps are known."""
    indices = _chosen(overlaps, scores, max_output_size, overlap_threshold, score_threshold, overlaps=True)
    return _cut(indices, _number(indices))


def _declared(definition: OpDef, first: str, boxes: Any, scores: Any, size: Any, numbers: dict[str, Any], name: str | None, default: str,
              attrs: dict[str, Any] | None = None) -> Operation:
    with name_scope(name, default, [boxes, scores]):
        bounds = {argument: as_tensor(value, None if isinstance(value, Tensor) else dtypes.float32, argument)
                  for argument, value in numbers.items()}
        count = as_tensor(size, dtypes.int32, "max_output_size")
        inputs = {first: as_tensor(boxes, name=first), "scores": scores, "max_output_size": count, **bounds}
        return declare(definition, inputs, attrs, other={"max_output_size": INDEX, **dict.fromkeys(numbers)})


def non_max_suppression(boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5, score_threshold: Any = LEAST,
                        name: str | None = None) -> Tensor:
    """int32: the numbers of at most `max_output_size` of `boxes` [n, 4] (opposite corners y1, x1, y2, x2), best first by `scores` [n].

    Left out: what overlaps a better one by more than `iou_threshold` (area of intersection over union), and scores up to
    `score_threshold`. The size of the result depends on the values; `non_max_suppression_padded` has one that does not.
    """
    numbers = {"iou_threshold": iou_threshold, "score_threshold": score_threshold}
    return _declared(NON_MAX_SUPPRESSION_V3, "boxes", boxes, scores, max_output_size, numbers, name, "non_max_suppression").outputs[0]


def non_max_suppression_padded(boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5, score_threshold: Any = LEAST,
                               pad_to_max_output_size: bool = False, name: str | None = None) -> tuple[Tensor, Tensor]:
    """`non_max_suppression` and how many were chosen; with `pad_to_max_output_size` followed by zeros up to `max_output_size`."""
    numbers = {"iou_threshold": iou_threshold, "score_threshold": score_threshold}
    attrs = {"pad_to_max_output_size": bool(pad_to_max_output_size)}
    indices, number = _declared(NON_MAX_SUPPRESSION_V4, "boxes", boxes, scores, max_output_size, numbers, name,
                                "non_max_suppression_padded", attrs).outputs
    return indices, number


def non_max_suppression_with_scores(boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5,
                                    score_threshold: Any = LEAST, soft_nms_sigma: Any = 0.0, name: str | None = None,
                                    ) -> tuple[Tensor, Tensor]:
    """`non_max_suppression` and the scores of the chosen; with `soft_nms_sigma` above 0 scores sink where better boxes overlap (N. Bodla
    et al., arXiv:1704.04503)."""
    numbers = {"iou_threshold": iou_threshold, "score_threshold": score_threshold, "soft_nms_sigma": soft_nms_sigma}
    indices, chosen, _ = _declared(NON_MAX_SUPPRESSION_V5, "boxes", boxes, scores, max_output_size, numbers, name,
                                   "non_max_suppression_with_scores").outputs
    return indices, chosen


def non_max_suppression_overlaps(overlaps: Any, scores: Any, max_output_size: Any, overlap_threshold: Any = 0.5,
                                 score_threshold: Any = LEAST, name: str | None = None) -> Tensor:
    """`non_max_suppression` of boxes of which only the `overlaps` [n, n] of each with each are known."""
    numbers = {"overlap_threshold": overlap_threshold, "score_threshold": score_threshold}
    return _declared(NON_MAX_SUPPRESSION_WITH_OVERLAPS, "overlaps", overlaps, scores, max_output_size, numbers, name,
                     "non_max_suppression_overlaps").outputs[0]
