"""Of the names that TensorFlow 1 programs use most, those of the language exist."""
from __future__ import annotations

from benchmarks import coverage


def test_every_ranked_name_of_the_language_exists() -> None:
    table = coverage.rows()
    assert len(table) >= 400
    assert [row.name for row in table if not row.present and not row.subject] == []


def test_subjects_take_nothing_away_that_is_there() -> None:
    """A name that exists needs no other subject, but where the subject is half there."""
    assert coverage.subject_of("nn.relu") == coverage.subject_of("train.AdamOptimizer") == coverage.subject_of("image.resize_images") == ""
    assert coverage.subject_of("keras.layers.Dense") == "Keras"
    assert coverage.subject_of("train.exponential_decay") == "learning rates and further optimizers"
    assert coverage.has("nn.softmax")
    assert not coverage.has("nn.softmax.nothing")


def test_the_summary_counts_every_name_once() -> None:
    table = coverage.rows()
    lines = coverage.summary(table).splitlines()[1:]
    counted = [int(line.split(" of ")[1].split()[0]) for line in lines]
    assert sum(counted[:-1]) == counted[-1] == len(table)
