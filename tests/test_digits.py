"""The digits are the ones that the UCI repository publishes, and the split is the same for everyone."""
from __future__ import annotations

import numpy as np
import pytest

from graphc import digits


def test_published_facts() -> None:
    images, labels = digits.load()
    assert images.shape == (1797, 64)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    assert images.min() == 0
    assert images.max() == 1
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # the repository's own table
    # The first digit of the file, a zero, as it is printed everywhere.
    assert (images[0].reshape(8, 8)[0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert labels[0] == 0


@pytest.mark.parametrize("seed", [0, 7])
def test_split_is_a_partition(seed: int) -> None:
    parts = digits.split(seed)
    assert len(parts.train_labels) == 1437
    assert len(parts.test_labels) == 360
    images, labels = digits.load()

    def rows(x: np.ndarray, y: np.ndarray) -> list[tuple[float, ...]]:
        return sorted((*map(float, a), float(b)) for a, b in zip(x, y, strict=True))

    images_again = np.concatenate([parts.train_images, parts.test_images])
    labels_again = np.concatenate([parts.train_labels, parts.test_labels])
    assert rows(images_again, labels_again) == rows(images, labels)


def test_split_is_fixed_by_its_seed() -> None:
    first, again, other = digits.split(3), digits.split(3), digits.split(4)
    np.testing.assert_array_equal(first.test_images, again.test_images)
    assert not np.array_equal(first.test_labels, other.test_labels)
