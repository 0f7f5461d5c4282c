"""Attention: what every query finds among keys, declared as products and a softmax that fuse. No name of TF1's; those of today's users."""
from __future__ import annotations

from typing import Any

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.ops.activations import softmax
from graphc.ops.array import range_, shape
from graphc.ops.choosing import where_v2
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, greater_equal
from graphc.ops.linear import matmul


def scaled_dot_product_attention(query: Any, key: Any, value: Any, mask: Any = None, is_causal: bool = False, scale: float | None = None,
                                 name: str | None = None) -> Tensor:
    """softmax(query key^T scale) value (A. Vaswani et al., arXiv:1706.03762, section 3.2.1): [..., queries, value depth].

    query: [..., queries, depth]. key: [..., keys, depth]. value: [..., keys, value depth]; leading axes broadcast. mask: bools that
    broadcast to [..., queries, keys], true where a query may look, or floats that are added to the scores. is_causal: query i looks at keys
    0 to i only. A query that may look at nothing gets zeros. scale: default 1 / sqrt(depth). ValueError for operands of rank below 2 or of
    another depth.
    """
    with name_scope(name, "scaled_dot_product_attention", [query, key, value]):
        q = as_tensor(query, None, "query")
        k, v = (as_tensor(each, q.dtype, what) for each, what in ((key, "key"), (value, "value")))
        for each, what in ((q, "query"), (k, "key"), (v, "value")):
            if each.rank is not None and each.rank < 2:
                raise ValueError(f"{what} must have at least rank 2, not {each.rank}")
        scores = matmul(q, k, transpose_b=True)
        depth = None if q.shape_tuple is None else q.shape_tuple[-1]
        factor = scale if scale is not None else depth ** -0.5 if depth else cast(shape(q)[-1], q.dtype) ** -0.5
        scores = scores * as_tensor(factor, q.dtype)
        seen = _seen(scores, mask, is_causal)
        if mask is not None and as_tensor(mask).dtype is not dtypes.bool:
            scores = scores + as_tensor(mask, q.dtype)
        if seen is None:
            return matmul(softmax(scores), v)
        weights = softmax(where_v2(seen, scores, as_tensor(q.dtype.min, q.dtype)))
        return matmul(where_v2(seen, weights, zeros_like(weights)), v)


def _seen(scores: Tensor, mask: Any, is_causal: bool) -> Tensor | None:
    """Which keys each query may look at: bools that broadcast to `scores`; None for all."""
    held = None if mask is None or as_tensor(mask).dtype is not dtypes.bool else as_tensor(mask)
    if not is_causal:
        return held
    queries, keys = shape(scores)[-2], shape(scores)[-1]
    earlier = greater_equal(range_(queries)[:, None], range_(keys)[None, :])
    return earlier if held is None else earlier & held
