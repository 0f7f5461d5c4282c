"""Multi-head self-attention (A. Vaswani et al., arXiv:1706.03762, section 3.2): one training step of a layer.

Declared as a user would, on sequences of random numbers.
"""
from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc

BATCH, LENGTH, WIDTH, HEADS, LEARNING_RATE = 4, 64, 128, 4, 0.1


def attention(x: gc.Tensor, heads: int = HEADS) -> gc.Tensor:
    """x float32 [batch, length, width] -> the same shape: softmax(q k^T / sqrt(width / heads)) v for each head, then a linear layer."""
    batch, length, width = (int(dim) for dim in x.shape)
    depth = width // heads

    def split(name: str) -> gc.Tensor:
        projected = gc.layers.dense(x, width, use_bias=False, name=name)
        return gc.transpose(gc.reshape(projected, [batch, length, heads, depth]), [0, 2, 1, 3])

    query, key, value = split("query"), split("key"), split("value")
    scores = gc.matmul(query, key, transpose_b=True) * depth**-0.5
    mixed = gc.matmul(gc.nn.softmax(scores), value)
    joined = gc.reshape(gc.transpose(mixed, [0, 2, 1, 3]), [batch, length, width])
    return gc.layers.dense(joined, width, name="output")


def build() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """A step of gradient descent that makes the layer reproduce its input: fetches the loss and the step."""
    x = gc.placeholder(gc.float32, [BATCH, LENGTH, WIDTH], name="x")
    loss = gc.reduce_mean(gc.square(attention(x) - x), name="loss")
    train = gc.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
    sequences = np.random.default_rng(0).standard_normal((BATCH, LENGTH, WIDTH), np.float32)
    return [loss, train], {x: sequences}
