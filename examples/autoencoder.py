"""A model of one's own: an autoencoder that squeezes each 8x8 digit through 6 numbers and draws it again.

Run it with `python examples/autoencoder.py`, or hand its `build` to the command line: `graphc bench examples/autoencoder.py`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc import digits

CODE, HIDDEN, BATCH = 6, 96, 128


def declare() -> tuple[gc.Tensor, gc.Tensor, gc.Tensor, gc.Operation]:
    """The images [n, 64] to feed, their reconstruction, the loss, and one step of Adam."""
    images = gc.placeholder(gc.float32, [None, 64], name="images")
    with gc.variable_scope("encoder"):
        code = gc.layers.dense(gc.layers.dense(images, HIDDEN, activation=gc.nn.elu), CODE, activation=gc.tanh, name="code")
    with gc.variable_scope("decoder"):
        drawn = gc.layers.dense(gc.layers.dense(code, HIDDEN, activation=gc.nn.elu), 64, activation=gc.sigmoid, name="drawn")
    loss = gc.reduce_mean(gc.squared_difference(drawn, images), name="loss")
    return images, drawn, loss, gc.train.AdamOptimizer(2e-3).minimize(loss)


def build() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """What `graphc dump` and `graphc bench` ask for: fetches and feeds of one run."""
    images, _, loss, train = declare()
    return [loss, train], {images: digits.split().train_images[:BATCH]}


def main(steps: int = 2000) -> float:
    """Trains and draws a few digits that were never trained on; gives the mean squared error on all of them."""
    data, random = digits.split(), np.random.default_rng(0)
    gc.set_random_seed(0)
    images, drawn, loss, train = declare()
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        for step in range(steps):
            batch = data.train_images[random.integers(0, len(data.train_images), BATCH)]
            error, _ = session.run([loss, train], {images: batch})
            if (step + 1) % (steps // 4) == 0:
                print(f"step {step + 1}: loss {error:.4f}")
        test_error, pictures = session.run([loss, drawn], {images: data.test_images})
    for row in range(8):
        print("    ".join(_line(picture, row) for pair in zip(data.test_images[:3], pictures[:3], strict=True) for picture in pair))
    print(f"each digit beside its drawing; error on {len(data.test_images)} new ones: {test_error:.4f}")
    return float(test_error)


def _line(picture: Any, row: int) -> str:
    return "".join(" ░▒▓█"[min(int(pixel * 5), 4)] * 2 for pixel in picture.reshape(8, 8)[row])


if __name__ == "__main__":
    main()
