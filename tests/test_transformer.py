"""The built-in language model: against the same mathematics in numpy, its mask, what it learns, the lines that its kernels name."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.models import MODELS, transformer
from graphc.models.transformer import VOCABULARY, Sizes
from tests.tolerances import assert_close

SMALL = Sizes(batch=2, length=12, width=16, heads=2, blocks=2, learning_rate=0.02)
Values = dict[str, np.ndarray[Any, Any]]


def normal(x: np.ndarray[Any, Any], values: Values, scope: str) -> np.ndarray[Any, Any]:
    deviation = np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-5)
    return (x - np.mean(x, axis=-1, keepdims=True)) / deviation * values[f"{scope}/norm/scale"] + values[f"{scope}/norm/shift"]


def layer(x: np.ndarray[Any, Any], values: Values, scope: str) -> np.ndarray[Any, Any]:
    return x @ values[f"{scope}/weights"] + values[f"{scope}/bias"]


def logits_by_hand(tokens: np.ndarray[Any, Any], values: Values, sizes: Sizes) -> np.ndarray[Any, Any]:
    """The network in float64, one head and one sequence at a time."""
    depth, results = sizes.width // sizes.heads, []
    for sequence in tokens:
        x = values["embedding/tokens"][sequence] + values["embedding/places"]
        for block in range(sizes.blocks):
            scope = f"block_{block}/mix"
            query, key, value = (layer(normal(x, values, scope), values, f"{scope}/attention/{name}") for name in ("query", "key", "value"))
            heads = []
            for first in range(0, sizes.width, depth):
                part = slice(first, first + depth)
                scores = query[:, part] @ key[:, part].T / np.sqrt(depth)
                scores[np.triu_indices(sizes.length, 1)] = -np.inf
                heads.append(special.softmax(scores, axis=1) @ value[:, part])
            x = x + layer(np.concatenate(heads, axis=1), values, f"{scope}/attention/output")
            scope = f"block_{block}/think"
            inner = layer(normal(x, values, scope), values, f"{scope}/feed_forward/inner")
            x = x + layer(inner * special.ndtr(inner), values, f"{scope}/feed_forward/outer")
        results.append(normal(x, values, "output") @ values["embedding/tokens"].T)
    return np.array(results)


def variables_of(session: gc.Session) -> Values:
    variables = gc.trainable_variables()
    return {v.op.name: value.astype(np.float64) for v, value in zip(variables, session.run(variables), strict=True)}


def test_logits_and_loss_against_numpy() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        gc.set_random_seed(0)
        model = transformer.declare(SMALL)
        session.run(gc.global_variables_initializer())
        tokens, targets = transformer.batch(SMALL)
        logits, loss = session.run([model.logits, model.loss], {model.tokens: tokens, model.targets: targets})
        expected = logits_by_hand(tokens, variables_of(session), SMALL)
    assert_close(logits, expected, depth=1000)
    chances = np.take_along_axis(special.log_softmax(expected, axis=-1), targets[..., None], axis=-1)
    assert_close(loss, -chances.mean(), depth=1000)


def test_no_token_sees_what_comes_after_it() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        model = transformer.declare(SMALL)
        session.run(gc.global_variables_initializer())
        tokens, _ = transformer.batch(SMALL)
        changed = tokens.copy()
        changed[:, 7] = (changed[:, 7] + 1) % VOCABULARY
        before, after = (session.run(model.logits, {model.tokens: each}) for each in (tokens, changed))
    assert np.array_equal(before[:, :7], after[:, :7])
    assert np.all(np.any(before[:, 7:] != after[:, 7:], axis=-1))


def test_a_few_steps_lower_the_loss() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        gc.set_random_seed(0)
        model = transformer.declare(SMALL)
        session.run(gc.global_variables_initializer())
        losses = []
        for number in range(120):
            tokens, targets = transformer.batch(SMALL, number)
            losses.append(session.run([model.loss, model.train], {model.tokens: tokens, model.targets: targets})[0])
    # To know how often each of the about twenty letters occurs gives 2.7 nats; less takes a look at the neighbours.
    assert np.mean(losses[:5]) > 4
    assert np.mean(losses[-10:]) < 1.8


def test_the_text_is_made_of_true_sums() -> None:
    numbers = {word: value for value, word in enumerate(transformer._WORDS)}
    for line in transformer.text(50).decode("ascii").splitlines():
        left, right, total = (numbers[word] for word in line.split() if word not in ("plus", "is"))
        assert left + right == total
    tokens, targets = transformer.batch(SMALL, 3)
    assert tokens.shape == targets.shape == (SMALL.batch, SMALL.length)
    assert tokens.ravel()[1:].tolist() == targets.ravel()[:-1].tolist()


def test_every_operation_names_a_line_of_the_model_and_its_scope() -> None:
    lines = Path(transformer.__file__).read_text().splitlines()
    with gc.Graph().as_default() as graph:
        transformer.build(SMALL)
    operations = graph.get_operations()
    assert {Path(op.source_line.path).name for op in operations} == {"transformer.py"}
    (scores,) = [op for op in operations if op.name == "block_1/mix/attention/MatMul"]
    assert "gc.matmul(query, key, transpose_b=True)" in lines[scores.source_line.line - 1]


def test_heads_that_do_not_share_the_width() -> None:
    with gc.Graph().as_default(), pytest.raises(ValueError, match=r"^3 heads cannot share a width of 16$"):
        transformer.declare(Sizes(width=16, heads=3))


def test_it_is_a_built_in_model() -> None:
    assert MODELS["transformer"] is transformer.build
