"""`graphc demo`: trains a perceptron on real handwritten digits, then shows what the compiler did to its training step.

Stands on top of everything and uses only the public face, as a user would.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import graphc as gc
from graphc import digits
from graphc.arguments import Commands, add_device
from graphc.models import mlp
from graphc.models.mlp_by_hand import MlpByHand
from graphc.terminal import Progress, bytes_text, seconds_text, table
from graphc.timing import interleaved

EPOCHS, SEED = 40, 1
_SHOWN_DIGITS = 8


@dataclass(frozen=True)
class Trained:
    """What training gave: test accuracy in [0, 1], the loss of the last step, the number of steps, seconds for the first step (which
    compiles) and for all the others, and the digits predicted for the test images."""

    accuracy: float
    loss: float
    steps: int
    first_seconds: float
    seconds: float
    predictions: NDArray[np.int64]


def add_command(commands: Commands) -> None:
    """`graphc demo`."""
    command = commands.add_parser("demo", help="train a network on real handwritten digits and show what the compiler did")
    command.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the training digits (default: %(default)s)")
    add_device(command)
    command.set_defaults(command=lambda o: main(o.epochs, o.device))


def main(epochs: int = EPOCHS, device: str | None = None) -> None:
    """Trains on `device` ("gpu", "/gpu:1"; the CPU where it is None), then prints the report."""
    data = digits.split()
    print(f"A perceptron {data.train_images.shape[1]}-{mlp.HIDDEN}-10 learns {len(data.train_labels):,} handwritten digits "
          f"(UCI optical digits), {len(data.test_labels)} are kept for the test.\n")
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(SEED)
        model = mlp.declare()
        declared = len(graph.get_operations())
        start = gc.global_variables_initializer()
        with _session(graph, start, "default", device) as session:
            trained = train(session, model, data, epochs)
            print(f"\nTest accuracy {trained.accuracy:.1%} after {trained.steps} steps in {seconds_text(trained.seconds)} "
                  f"(and {seconds_text(trained.first_seconds)} to compile the step).\n")
            print(pictures_of(data.test_images[:_SHOWN_DIGITS], trained.predictions[:_SHOWN_DIGITS]))
        print(f"\nWhat the compiler made of one training step ({declared} operations declared)\n")
        print(report(graph, model, start, data, device))


def train(session: gc.Session, model: mlp.Mlp, data: digits.Split, epochs: int) -> Trained:
    """Trains for `epochs` passes over the training digits in batches of `mlp.BATCH`, in an order fixed by SEED."""
    step = session.make_callable([model.loss, model.train], [model.images, model.labels])
    order = np.random.default_rng(SEED)
    loss, steps, first_seconds = float("nan"), 0, 0.0
    test = {model.images: data.test_images, model.labels: data.test_labels}
    begin = time.perf_counter()
    with Progress("training", epochs) as bar:
        for _ in range(epochs):
            for images, labels in batches(data, order):
                loss = float(step(images, labels)[0])
                steps += 1
                if steps == 1:
                    first_seconds = time.perf_counter() - begin
            bar.advance(f"loss {loss:.4f}")
    seconds = time.perf_counter() - begin - first_seconds
    accuracy, logits = session.run([model.accuracy, model.logits], test)
    return Trained(float(accuracy), loss, steps, first_seconds, seconds, np.argmax(logits, axis=1))


def batches(data: digits.Split, random: np.random.Generator) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """The training digits in a new order, in whole batches."""
    order = random.permutation(len(data.train_labels))
    for start in range(0, len(order) - mlp.BATCH + 1, mlp.BATCH):
        chosen = order[start : start + mlp.BATCH]
        yield data.train_images[chosen], data.train_labels[chosen]


def pictures_of(images: NDArray[np.float32], predictions: Sequence[int] | NDArray[np.int64]) -> str:
    """Images float32 [n, 64] side by side, two rows of pixels to a line of text, over the digit each was taken for."""
    blocks = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    dark = images.reshape(-1, 4, 2, 8) > 0.4  # [image, line, upper or lower, column]
    lines = ["    ".join("".join(blocks[bool(image[line, 0, x]), bool(image[line, 1, x])] for x in range(8)) for image in dark)
             for line in range(4)]
    answers = "    ".join(f"is a {digit}".center(8) for digit in predictions)
    return "\n".join(f"  {line}".rstrip() for line in [*lines, answers])


def report(graph: gc.Graph, model: mlp.Mlp, start: gc.Operation, data: digits.Split, device: str | None = None) -> str:
    """Nodes after each pass, kernels, memory and milliseconds of one training step, fused, unfused and written by hand in numpy."""
    images, labels = data.train_images[: mlp.BATCH], data.train_labels[: mlp.BATCH]
    fetches, feeds = [model.loss, model.train], {model.images: images, model.labels: labels}
    with _session(graph, start, "default", device) as fused, _session(graph, start, "unfused", device) as unfused:
        weights = fused.run(gc.trainable_variables())
        by_hand = MlpByHand(weights, mlp.LEARNING_RATE)
        calls: dict[str, Callable[[], object]] = {
            name: _bound(session.make_callable(fetches, [model.images, model.labels]), images, labels)
            for name, session in (("fused", fused), ("unfused", unfused))
        }
        calls["numpy"] = lambda: by_hand.step(images, labels)
        times = interleaved(calls, seconds=1.0)
        plans = {"fused": fused.compile(fetches, feeds), "unfused": unfused.compile(fetches, feeds)}
    stages = [(stage.name, len(stage.program.nodes)) for stage in plans["fused"].stages]
    rows: list[list[object]] = [
        ["kernels", *(len(plan.kernels) for plan in plans.values()), "-"],
        ["bytes moved", *(bytes_text(plan.bytes_moved) for plan in plans.values()), "-"],
        ["arena", *(bytes_text(plan.memory.arena_bytes) for plan in plans.values()), "-"],
        ["  the least possible", *(bytes_text(plan.memory.lower_bound) for plan in plans.values()), "-"],
        ["  without planning", *(bytes_text(plan.memory.unplanned_bytes) for plan in plans.values()), "-"],
        ["time of a step", *(seconds_text(times[name].median) for name in calls)],
    ]
    return (table(stages, ["pass", "nodes after it"]) + "\n\n"
            + table(rows, ["one step", "fused", "unfused", "numpy by hand"]))


def _session(graph: gc.Graph, start: gc.Operation, pipeline: str, device: str | None) -> gc.Session:
    session = gc.Session(graph=graph, config=gc.ConfigProto(pipeline=pipeline, device=device))
    session.run(start)
    return session


def _bound(call: Callable[..., Any], *arguments: Any) -> Callable[[], object]:
    return lambda: call(*arguments)
