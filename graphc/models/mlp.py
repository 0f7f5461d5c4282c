"""The multilayer perceptron of the demo: handwritten digits in, one training step of Adam out. Declared as a user would."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import graphc as gc
from graphc import digits

BATCH, HIDDEN, LEARNING_RATE = 64, 128, 2e-3


@dataclass(frozen=True)
class Mlp:
    """The declared tensors and operations. `images` float32 [batch, 64] and `labels` int64 [batch] are placeholders of any batch size."""

    images: gc.Tensor
    labels: gc.Tensor
    logits: gc.Tensor
    loss: gc.Tensor
    accuracy: gc.Tensor
    train: gc.Operation


def declare(hidden: int = HIDDEN, learning_rate: float = LEARNING_RATE) -> Mlp:
    """Appends the network, its loss, its accuracy and its training step to the default graph."""
    images = gc.placeholder(gc.float32, [None, 64], name="images")
    labels = gc.placeholder(gc.int64, [None], name="labels")
    layer = gc.layers.dense(images, hidden, activation=gc.nn.relu, name="hidden")
    logits = gc.layers.dense(layer, 10, name="logits")
    losses = gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    loss = gc.reduce_mean(losses, name="loss")
    hits = gc.equal(gc.argmax(logits, axis=1), labels)
    accuracy = gc.reduce_mean(gc.cast(hits, gc.float32), name="accuracy")
    train = gc.train.AdamOptimizer(learning_rate).minimize(loss)
    return Mlp(images, labels, logits, loss, accuracy, train)


def build() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """One training step on a batch of 64 digits: fetches the loss and the step."""
    model = declare()
    data = digits.split()
    return [model.loss, model.train], {model.images: data.train_images[:BATCH], model.labels: data.train_labels[:BATCH]}
