"""The built-in models, whole: one kernel where one is enough, arenas at their lower bound, all pipelines and thread counts agree, and the
compiled perceptron learns exactly as the one written by hand in numpy."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc import demo, digits
from graphc.models import MODELS, mlp, rows
from graphc.models.mlp_by_hand import MlpByHand
from tests.tolerances import assert_close

PIPELINES = ("default", "unfused", "none")


def run(name: str, pipeline: str, runs: int = 1, threads: int = 1) -> list[Any]:
    """The first fetch of each of `runs` runs of a built-in model, variables beginning alike."""
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(0)
        fetches, feeds = MODELS[name]()
        config = gc.ConfigProto(pipeline=pipeline, intra_op_parallelism_threads=threads)
        with gc.Session(graph=graph, config=config) as session:
            session.run(gc.global_variables_initializer())
            return [session.run(fetches, feeds)[0] for _ in range(runs)]


def executable(name: str, pipeline: str = "default") -> gc.Executable:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=gc.ConfigProto(pipeline=pipeline)) as session:
        fetches, feeds = MODELS[name]()
        session.run(gc.global_variables_initializer())
        return session.compile(fetches, feeds)


@pytest.mark.parametrize("name", ["softmax", "layernorm", "elementwise"])
def test_one_kernel_is_enough(name: str) -> None:
    plan = executable(name)
    assert len(plan.kernels) == 1
    assert plan.memory.arena_bytes == 0
    read_and_written_once = 2 * rows.ROWS * rows.COLUMNS * 4
    assert read_and_written_once <= plan.bytes_moved <= read_and_written_once * 1.01


@pytest.mark.parametrize("name", MODELS)
def test_arena_is_as_small_as_can_be(name: str) -> None:
    memory = executable(name).memory
    assert memory.arena_bytes == memory.lower_bound <= memory.unplanned_bytes


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_fusion_saves_kernels_and_traffic(name: str) -> None:
    fused, unfused = executable(name), executable(name, "unfused")
    assert len(fused.kernels) * 2 <= len(unfused.kernels)
    assert fused.bytes_moved < unfused.bytes_moved


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_training_agrees_between_pipelines(name: str) -> None:
    losses = [run(name, pipeline, runs=20) for pipeline in PIPELINES]
    assert losses[0][-1] < losses[0][0]
    for other in losses[1:]:
        assert_close(np.array(losses[0], np.float32), np.array(other, np.float64), depth=100)


def _expected(name: str) -> np.ndarray[Any, Any]:
    with gc.Graph().as_default():
        _, feeds = MODELS[name]()
    x, *vectors = (np.asarray(value, np.float64) for value in feeds.values())
    if name == "softmax":
        return np.asarray(special.softmax(x, axis=1))
    scale, shift = vectors
    if name == "layernorm":
        centred = x - x.mean(axis=1, keepdims=True)
        return np.asarray(centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True)) * scale + shift)
    y = x * scale + shift
    return np.asarray(y * special.ndtr(y))


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("name", ["softmax", "layernorm", "elementwise"])
def test_rows_against_scipy(name: str, pipeline: str) -> None:
    assert_close(run(name, pipeline)[0], _expected(name), depth=10)


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_threads_change_no_bit_of_the_training(name: str) -> None:
    one, two = (np.array(run(name, "default", runs=100, threads=threads)) for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_perceptron_learns_as_the_one_written_by_hand() -> None:
    data, random = digits.split(), np.random.default_rng(5)
    with gc.Graph().as_default():
        gc.set_random_seed(5)
        model = mlp.declare()
        with gc.Session() as session:
            session.run(gc.global_variables_initializer())
            by_hand = MlpByHand(session.run(gc.trainable_variables()), mlp.LEARNING_RATE)
            compiled, expected = [], []
            for _, (images, labels) in zip(range(100), (batch for _ in range(9) for batch in demo.batches(data, random)), strict=False):
                compiled.append(session.run([model.loss, model.train], {model.images: images, model.labels: labels})[0])
                expected.append(by_hand.step(images, labels))
            logits = session.run(model.logits, {model.images: data.test_images})
    assert_close(np.array(compiled, np.float32), np.array(expected), depth=1000)
    assert_close(logits, by_hand.logits(data.test_images).astype(np.float64), depth=10_000)


def test_demo_reaches_its_accuracy() -> None:
    data = digits.split()
    with gc.Graph().as_default():
        gc.set_random_seed(demo.SEED)
        model = mlp.declare()
        with gc.Session() as session:
            session.run(gc.global_variables_initializer())
            trained = demo.train(session, model, data, demo.EPOCHS)
    assert trained.accuracy >= 0.97
    assert trained.accuracy == pytest.approx(np.mean(trained.predictions == data.test_labels), rel=1e-6)
    assert trained.steps == demo.EPOCHS * (len(data.train_labels) // mlp.BATCH)
