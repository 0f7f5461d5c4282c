"""The table of composites: losses over sampled classes. TF 1.15.5 gave the same values for these operands."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import special

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case

F64 = dtypes.float64
WEIGHTS, BIASES, INPUTS = np.arange(12.0).reshape(6, 2) / 10, np.arange(6.0) / 5, np.array([[1.0, 2.0], [-1.0, 0.5]])
SAMPLED, SAMPLED_COUNT = np.array([0, 3, 5]), np.array([0.9, 0.8, 0.7], np.float32)
TRUE = {1: (np.array([[1], [5]]), np.array([[0.5], [0.25]], np.float32)),
        2: (np.array([[1, 2], [5, 0]]), np.array([[0.5, 0.1], [0.25, 0.3]], np.float32))}


def logits(true: Array, count: Array, w: Array, b: Array, x: Array, remove: bool) -> tuple[Array, Array]:
    """Of the true classes and of the sampled ones, less log(expected count)."""
    of_true = np.einsum("bd,btd->bt", x, w[true]) + b[true] - np.log(count.astype(float))
    of_sampled = x @ w[SAMPLED].T + b[SAMPLED] - np.log(SAMPLED_COUNT.astype(float))
    hits = (true[:, :, None] == SAMPLED).any(1)
    return of_true, np.where(hits & remove, -np.inf, of_sampled)


def nce(true: Array, count: Array, w: Array, b: Array, x: Array, remove: bool) -> Array:
    of_true, of_sampled = logits(true, count, w, b, x, remove)
    targets = np.full(of_true.shape, 1 / of_true.shape[1])
    softplus = np.logaddexp(0, of_true)
    return np.asarray((softplus - of_true * targets).sum(1) + np.logaddexp(0, of_sampled).sum(1))


def sampled_softmax(true: Array, count: Array, w: Array, b: Array, x: Array, remove: bool) -> Array:
    of_true, of_sampled = logits(true, count, w, b, x, remove)
    total = special.logsumexp(np.concatenate([of_true, of_sampled], 1), 1, keepdims=True)
    return np.asarray((total - of_true).mean(1))


def cases() -> Iterator[Case]:
    for subject, want in (("nn.nce_loss", nce), ("nn.sampled_softmax_loss", sampled_softmax)):
        for num_true, (true, count) in TRUE.items():
            for remove in (False, True):
                def build(w: gc.Tensor, b: gc.Tensor, x: gc.Tensor, s: str = subject, n: int = num_true, true: Array = true,
                          count: Array = count, remove: bool = remove) -> gc.Tensor:
                    loss: Any = getattr(gc.nn, s.removeprefix("nn."))
                    result: gc.Tensor = loss(w, b, true, x, 3, 6, n, (SAMPLED, count, SAMPLED_COUNT), remove)
                    return result
                yield Case(subject, f"{num_true}-{remove}", build, (WEIGHTS, BIASES, INPUTS),
                           lambda w, b, x, f=want, true=true, count=count, r=remove: f(true, count, w, b, x, r), depth=8,
                           slopes=2, known="rank")
        true, count = TRUE[1]
        yield Case(subject, "in parts", lambda w, v, b, x, s=subject, true=true, count=count: getattr(gc.nn, s.removeprefix("nn."))(
            [w, v], b, true, x, 3, 6, 1, (SAMPLED, count, SAMPLED_COUNT), False, "div"), (WEIGHTS[:3], WEIGHTS[3:], BIASES, INPUTS),
            lambda w, v, b, x, f=want, true=true, count=count: f(true, count, np.concatenate([w, v]), b, x, False), depth=8,
            slopes=1, known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"sampled losses": list(cases())}
