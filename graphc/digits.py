"""The handwritten digits that ship with graphc: real data for the demo, the tests and a first program of one's own.

1,797 images of 8x8 pixels, the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine
Learning Repository, CC BY 4.0; see graphc/data/README.md). Stands beside the compiler: nothing in it imports graphc.
"""
from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIXEL_MAX = 16  # each pixel counts the dark ones in a 4x4 block of the 32x32 original


class Split(NamedTuple):
    """Images float32 [n, 64] in [0, 1] and labels int64 [n], for training and for testing."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def load() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images float32 [1797, 64] scaled to [0, 1], and labels int64 [1797], in the order of the original file."""
    with resources.files("graphc").joinpath("data", "digits.npz").open("rb") as file, np.load(file) as archive:
        return archive["images"].astype(np.float32) / PIXEL_MAX, archive["labels"].astype(np.int64)


def split(seed: int = 0, train_fraction: float = 0.8) -> Split:
    """The digits shuffled by `seed` and cut in two: 1,437 to train on and 360 to test on, unless told otherwise."""
    images, labels = load()
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = int(len(labels) * train_fraction)
    train, test = order[:cut], order[cut:]
    return Split(images[train], labels[train], images[test], labels[test])
