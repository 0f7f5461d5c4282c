"""Candidate samplers: their distributions against theory, expected counts against TF 1.15.5's formula, and what is wrong with arguments."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc

TRUE = np.array([[1], [5]])
RUNS = 400


def zipf(size: int) -> np.ndarray[Any, Any]:
    c = np.arange(size)
    return (np.log(c + 2) - np.log(c + 1)) / np.log(size + 1)


WEIGHTS = np.array([0, 0, 1.0, 2, 3, 4, 5, 6])
SAMPLERS: dict[str, tuple[Callable[..., Any], np.ndarray[Any, Any]]] = {
    "log uniform": (lambda n, unique: gc.nn.log_uniform_candidate_sampler(TRUE, 1, n, unique, 8, seed=3), zipf(8)),
    "uniform": (lambda n, unique: gc.nn.uniform_candidate_sampler(TRUE, 1, n, unique, 8, seed=3), np.full(8, 1 / 8)),
    "unigram": (lambda n, unique: gc.nn.fixed_unigram_candidate_sampler(TRUE, 1, n, unique, 8, unigrams=WEIGHTS[2:], num_reserved_ids=2,
                                                                        distortion=0.5, seed=3), np.sqrt(WEIGHTS) / np.sqrt(WEIGHTS).sum()),
}


def run_often(candidates: Any) -> list[Any]:
    with gc.Session() as session:
        return [session.run(candidates) for _ in range(RUNS)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_replacement(name: str) -> None:
    make, p = SAMPLERS[name]
    found = run_often(make(50, False))
    drawn = np.concatenate([each[0] for each in found])
    share = np.bincount(drawn, minlength=8) / drawn.size
    np.testing.assert_allclose(share, p, atol=4 * 0.5 / np.sqrt(drawn.size))  # four standard deviations
    np.testing.assert_allclose(found[0][1], 50 * p[TRUE], rtol=1e-5)
    np.testing.assert_allclose(found[0][2], 50 * p[found[0][0]], rtol=1e-5)
    assert not np.array_equal(found[0][0], found[1][0])


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_replacement(name: str) -> None:
    """Each class at most once, the first as often as its probability says, and expected counts that agree with what is found."""
    make, p = SAMPLERS[name]
    found = run_often(make(4, True))
    assert all(len(set(each[0].tolist())) == 4 for each in found)
    first = np.bincount([each[0][0] for each in found], minlength=8) / RUNS
    np.testing.assert_allclose(first, p, atol=4 * 0.5 / np.sqrt(RUNS))
    chosen = np.bincount(np.concatenate([each[0] for each in found]), minlength=8) / RUNS
    expected = np.mean([each[1] for each in found], 0)
    np.testing.assert_allclose(expected, chosen[TRUE], atol=0.1)


def test_all_classes_and_accidental_hits() -> None:
    sampled, of_true, of_sampled = gc.nn.all_candidate_sampler(TRUE, 1, 6, True)
    hits = gc.nn.compute_accidental_hits(np.array([[1, 2], [5, 1]]), np.array([7, 5, 1]), 2)
    with gc.Session() as session:
        found = session.run([sampled, of_true, of_sampled, *hits])
    wanted = [np.arange(6), [[1], [1]], np.ones(6), [0, 1, 1], [2, 1, 2], np.full(3, np.finfo(np.float32).min)]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert [each.dtype for each in found[3:]] == [np.int32, np.int64, np.float32]


def test_weights_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("the,3\nof,1\n")
    sampled, of_true, _ = gc.nn.fixed_unigram_candidate_sampler(np.array([[0]]), 1, 4, False, 2, vocab_file=str(path))
    with gc.Session() as session:
        np.testing.assert_allclose(session.run(of_true), [[3.0]], rtol=1e-6)
        assert set(session.run(sampled).tolist()) <= {0, 1}


def test_a_loss_that_learns() -> None:
    """Words of a tiny language, each followed by the next: the sampled losses find that out."""
    words = np.arange(8)
    for make in (gc.nn.nce_loss, gc.nn.sampled_softmax_loss):
        gc.reset_default_graph()
        table = gc.get_variable("table", [8, 4], initializer=gc.random_uniform_initializer(-1, 1, seed=1))
        weights = gc.get_variable("weights", [8, 4], initializer=gc.random_uniform_initializer(-1, 1, seed=2))
        biases = gc.get_variable("biases", [8], initializer=gc.zeros_initializer())
        inputs = gc.nn.embedding_lookup(table, words)
        loss = gc.reduce_mean(make(weights, biases, np.roll(words, -1)[:, None], inputs, 4, 8))
        step = gc.train.AdamOptimizer(0.05).minimize(loss)
        guess = gc.argmax(gc.matmul(inputs, weights, transpose_b=True) + biases, 1)
        with gc.Session() as session:
            session.run(gc.global_variables_initializer())
            for _ in range(300):
                session.run(step)
            np.testing.assert_array_equal(session.run(guess), np.roll(words, -1))


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: gc.nn.uniform_candidate_sampler(TRUE, 1, 11, True, 10), ValueError, "Sampler's range is too small: 11 unique classes of 10"),
    (lambda: gc.nn.uniform_candidate_sampler(TRUE, 2, 3, True, 10), ValueError, r"true_classes must have shape \[batch, 2\]"),
    (lambda: gc.nn.uniform_candidate_sampler(TRUE, 1, 0, True, 10), ValueError, "of at least 1, not 1, 0, 10"),
    (lambda: gc.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 4), ValueError, "Exactly one of vocab_file and unigrams"),
    (lambda: gc.nn.fixed_unigram_candidate_sampler(TRUE, 1, 2, True, 4, unigrams=[1.0]), ValueError, "a weight for each class: 1 .* is 4"),
    (lambda: gc.nn.nce_loss(gc.ones([6, 2]), gc.ones([6]), np.array([1, 5]), gc.ones([2, 2]), 3, 6), ValueError, r"\[batch, num_true\]"),
    (lambda: gc.nn.nce_loss(gc.ones([6, 2]), gc.ones([6]), [[1.0]], gc.ones([1, 2]), 3, 6), TypeError, "labels must be integers"),
])
def test_wrong_arguments(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make()
