"""A small language model of the kind that predicts the next byte of a text: one training step of a decoder-only transformer.

Token and position embeddings, blocks of masked multi-head attention and of a feed-forward layer (A. Vaswani et al., arXiv:1706.03762), with
layer normalisation before each of them (R. Xiong et al., arXiv:2002.04745) and once at the end, logits by the token embedding itself (O.
Press, L. Wolf, arXiv:1608.05859), cross entropy, clipping by the global norm, Adam. Declared as a user would, one operation to a line, so
that every kernel can be followed back. The text is sums in words, made by rule.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc

VOCABULARY = 128  # a token is a byte of ASCII
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Sizes:
    """batch and length: sequences in a step and tokens in each; width: of what stands for a token, shared among `heads`."""

    batch: int = 4
    length: int = 64
    width: int = 128
    heads: int = 4
    blocks: int = 3
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class Transformer:
    """The declared tensors and operations. `tokens` and `targets` are int32 placeholders [any batch, length], a target the token that
    comes next; `logits` float32 [batch, length, VOCABULARY]; `loss` the mean cross entropy in nats."""

    tokens: gc.Tensor
    targets: gc.Tensor
    logits: gc.Tensor
    loss: gc.Tensor
    train: gc.Operation


def layer_norm(x: gc.Tensor) -> gc.Tensor:
    """Each token's features [..., width] with mean 0 and variance 1, then scaled and shifted by what is learned."""
    width = int(x.shape[-1])
    with gc.variable_scope("norm"):
        scale = gc.get_variable("scale", [width], initializer=gc.ones_initializer())
        shift = gc.get_variable("shift", [width], initializer=gc.zeros_initializer())
        mean, variance = gc.nn.moments(x, axes=[-1], keep_dims=True)
        centred = x - mean
        normal = centred * gc.rsqrt(variance + 1e-5)
        scaled = normal * scale
        shifted: gc.Tensor = scaled + shift
        return shifted


def dense(x: gc.Tensor, width: int, name: str) -> gc.Tensor:
    """x [tokens, features] -> [tokens, width]."""
    features = int(x.shape[-1])
    with gc.variable_scope(name):
        weights = gc.get_variable("weights", [features, width], initializer=gc.random_normal_initializer(stddev=features**-0.5))
        bias = gc.get_variable("bias", [width], initializer=gc.zeros_initializer())
        product = gc.matmul(x, weights)
        return gc.nn.bias_add(product, bias)


def gelu(x: gc.Tensor) -> gc.Tensor:
    """x times the probability that a normal variable is below it (D. Hendrycks, K. Gimpel, arXiv:1606.08415)."""
    with gc.name_scope("gelu"):
        error = gc.erf(x * math.sqrt(0.5))
        below = 0.5 * (1.0 + error)
        return x * below


def attention(x: gc.Tensor, sizes: Sizes) -> gc.Tensor:
    """x [tokens, width] -> the same shape: each token mixes what it and the tokens before it in its sequence say."""
    depth = sizes.width // sizes.heads

    def split(name: str) -> gc.Tensor:
        projected = dense(x, sizes.width, name)
        heads = gc.reshape(projected, [-1, sizes.length, sizes.heads, depth])
        return gc.transpose(heads, [0, 2, 1, 3])

    with gc.variable_scope("attention"):
        query, key, value = split("query"), split("key"), split("value")
        products = gc.matmul(query, key, transpose_b=True)
        scores = products * depth**-0.5
        seen = gc.linalg.band_part(gc.ones([sizes.length, sizes.length]), -1, 0, name="seen")
        hidden = (1.0 - seen) * -1e9
        masked = scores + hidden
        shares = gc.nn.softmax(masked)
        mixed = gc.matmul(shares, value)
        tokens = gc.transpose(mixed, [0, 2, 1, 3])
        joined = gc.reshape(tokens, [-1, sizes.width])
        return dense(joined, sizes.width, "output")


def feed_forward(x: gc.Tensor, sizes: Sizes) -> gc.Tensor:
    """x [tokens, width] -> the same shape, each token by itself."""
    with gc.variable_scope("feed_forward"):
        inner = dense(x, 4 * sizes.width, "inner")
        active = gelu(inner)
        return dense(active, sizes.width, "outer")


def declare(sizes: Sizes) -> Transformer:
    """Appends the network, its loss and its training step to the default graph. ValueError where the heads cannot share the width."""
    if sizes.width % sizes.heads:
        raise ValueError(f"{sizes.heads} heads cannot share a width of {sizes.width}")
    tokens = gc.placeholder(gc.int32, [None, sizes.length], name="tokens")
    targets = gc.placeholder(gc.int32, [None, sizes.length], name="targets")
    with gc.variable_scope("embedding"):
        table = gc.get_variable("tokens", [VOCABULARY, sizes.width], initializer=gc.random_normal_initializer(stddev=sizes.width**-0.5))
        places = gc.get_variable("places", [sizes.length, sizes.width], initializer=gc.random_normal_initializer(stddev=0.02))
        embedded = gc.nn.embedding_lookup(table, tokens)
        placed = embedded + places
        x = gc.reshape(placed, [-1, sizes.width])
    for block in range(sizes.blocks):
        with gc.variable_scope(f"block_{block}"):
            with gc.variable_scope("mix"):
                mixed = attention(layer_norm(x), sizes)
                x = x + mixed
            with gc.variable_scope("think"):
                thought = feed_forward(layer_norm(x), sizes)
                x = x + thought
    with gc.variable_scope("output"):
        final = layer_norm(x)
        flat = gc.matmul(final, table, transpose_b=True)
        logits = gc.reshape(flat, [-1, sizes.length, VOCABULARY], name="logits")
    with gc.name_scope("loss"):
        entropies = gc.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        loss = gc.reduce_mean(entropies)
    with gc.name_scope("train"):
        variables = gc.trainable_variables()
        gradients = gc.gradients(loss, variables)
        clipped, _ = gc.clip_by_global_norm(gradients, 1.0)
        optimizer = gc.train.AdamOptimizer(sizes.learning_rate)
        train = optimizer.apply_gradients(zip(clipped, variables, strict=True))
    return Transformer(tokens, targets, logits, loss, train)


def text(count: int) -> bytes:
    """`count` sums in words, a line each: "two plus three is five". The same ones every time, in an order that looks like chance."""
    numbers = np.random.default_rng(0).integers(0, 6, (count, 2))
    return "".join(f"{_WORDS[a]} plus {_WORDS[b]} is {_WORDS[a + b]}\n" for a, b in numbers).encode("ascii")


def batch(sizes: Sizes, number: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The `number`-th batch of the text: tokens and targets, int32 [batch, length]."""
    size = sizes.batch * sizes.length
    data = np.frombuffer(text((number + 1) * size // 16 + 2), np.uint8).astype(np.int32)[number * size:(number + 1) * size + 1]
    shape = sizes.batch, sizes.length
    return data[:-1].reshape(shape), data[1:].reshape(shape)


def build(sizes: Sizes | None = None) -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """One training step on the first batch: fetches the loss and the step."""
    sizes = sizes or Sizes()
    model = declare(sizes)
    tokens, targets = batch(sizes)
    return [model.loss, model.train], {model.tokens: tokens, model.targets: targets}
