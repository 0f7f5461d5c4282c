"""The table of composites: attention, against the formula in numpy, one query at a time."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, sample
from tests.op_table import uniform

F64 = dtypes.float64


def attended(q: Array, k: Array, v: Array, seen: Any = None, added: Any = 0.0, scale: float | None = None) -> Array:
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (q, k, v))
    scores = np.einsum("...qd,...kd->...qk", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale) + added
    seen = np.broadcast_to(True if seen is None else seen, scores.shape)
    result = np.zeros((*batch, q.shape[-2], v.shape[-1]))
    for place in np.ndindex(*scores.shape[:-1]):
        keys = seen[place]
        if keys.any():
            power = np.exp(scores[place][keys] - scores[place][keys].max())
            result[place] = power / power.sum() @ v[place[:-1]][keys]
    return result


SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)), ((5, 4), (7, 4), (7, 2)), ((1, 1), (1, 1), (1, 1)), ((2, 1, 3, 4), (3, 5, 4), (3, 5, 4)))


def cases() -> Iterator[Case]:
    name = "nn.scaled_dot_product_attention"
    for dtype in (F64, dtypes.float32, dtypes.bfloat16):
        for number, shapes in enumerate(SHAPES if dtype is F64 else SHAPES[:1]):
            arrays = tuple(sample(f"{number}{n}", uniform(-2, 2), dtype, *shape) for n, shape in enumerate(shapes))
            yield Case(name, f"{dtype.name}-{number}", gc.nn.scaled_dot_product_attention, arrays, attended, depth=8,
                       slopes=2 if dtype is F64 else 0, scale=4, known="rank")
    q, k, v = (sample(f"m{n}", uniform(-2, 2), F64, *shape) for n, shape in enumerate(((2, 5, 4), (2, 5, 4), (2, 5, 3))))
    some = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
    for causal in (False, True):
        earlier = np.tril(np.ones((5, 5), bool)) if causal else np.ones((5, 5), bool)
        yield Case(name, f"mask-{causal}", lambda q, k, v, m, c=causal: gc.nn.scaled_dot_product_attention(q, k, v, m, c), (q, k, v, some),
                   lambda q, k, v, m, e=earlier: attended(q, k, v, m & e), depth=8, slopes=2, scale=4, known="rank")
    yield Case(name, "causal", lambda q, k, v: gc.nn.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.25), (q, k, v),
               lambda q, k, v: attended(q, k, v, np.tril(np.ones((5, 5), bool)), scale=0.25), depth=8, slopes=2, scale=4, known="rank")
    bias = sample("bias", uniform(-1, 1), F64, 5, 5)
    yield Case(name, "added", gc.nn.scaled_dot_product_attention, (q, k, v, bias), lambda q, k, v, b: attended(q, k, v, added=b), depth=8,
               slopes=2, scale=4, known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"attention": list(cases())}
