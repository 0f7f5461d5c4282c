"""A small convolutional network on handwritten digits: convolutions, batch normalisation, pooling; one training step of Adam."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import graphc as gc
from graphc import digits

BATCH, WIDTHS, LEARNING_RATE = 16, (8, 16), 2e-3


@dataclass(frozen=True)
class Cnn:
    """The declared tensors and operations. `images` float32 [batch, 64] and `labels` int64 [batch] are placeholders of any batch size;
    `training`, a bool scalar, says whether batch normalisation uses the batch or what it has seen so far."""

    images: gc.Tensor
    labels: gc.Tensor
    training: gc.Tensor
    loss: gc.Tensor
    accuracy: gc.Tensor
    train: gc.Operation


def declare(learning_rate: float = LEARNING_RATE) -> Cnn:
    """Appends the network, its loss, its accuracy and its training step, with the updates of the moving averages, to the default graph."""
    images = gc.placeholder(gc.float32, [None, 64], name="images")
    labels = gc.placeholder(gc.int64, [None], name="labels")
    training = gc.placeholder(gc.bool, [], name="training")
    layer = gc.reshape(images, [-1, 8, 8, 1])
    for width in WIDTHS:
        layer = gc.layers.conv2d(layer, width, 3, padding="same", use_bias=False)
        layer = gc.nn.relu(gc.layers.batch_normalization(layer, momentum=0.9, training=training))
        layer = gc.layers.max_pooling2d(layer, 2, 2)
    logits = gc.layers.dense(gc.layers.flatten(layer), 10, name="logits")
    loss = gc.losses.sparse_softmax_cross_entropy(labels, logits)
    hits = gc.equal(gc.argmax(logits, axis=1), labels)
    accuracy = gc.reduce_mean(gc.cast(hits, gc.float32), name="accuracy")
    with gc.control_dependencies(gc.get_collection(gc.GraphKeys.UPDATE_OPS)):
        train = gc.train.AdamOptimizer(learning_rate).minimize(loss)
    return Cnn(images, labels, training, loss, accuracy, train)


def build() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """One training step on a batch of 16 digits: fetches the loss and the step."""
    model = declare()
    data = digits.split()
    feeds = {model.images: data.train_images[:BATCH], model.labels: data.train_labels[:BATCH], model.training: True}
    return [model.loss, model.train], feeds
