"""Shapes that depend on fed values: what is known of them when declared, what they become in a run, and the gradients through them."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

Array = np.ndarray[Any, Any]
X = np.arange(24, dtype=np.float64).reshape(6, 4)

# (function of a matrix and a fed integer, the same in numpy), for X and the number 1
BY_VALUE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "head": (lambda x, n: x[:n], lambda x, n: x[:n]), "tail": (lambda x, n: x[n:], lambda x, n: x[n:]),
    "row": (lambda x, n: x[n], lambda x, n: x[n]),
    "slice": (lambda x, n: gc.slice(x, [n, 0], [2, -1]), lambda x, n: x[n:n + 2]),
    "reshape": (lambda x, n: gc.reshape(x, [n * 3, -1]), lambda x, n: x.reshape(3 * n, -1)),
    "tile": (lambda x, n: gc.tile(x, [n, 2]), lambda x, n: np.tile(x, (n, 2))),
    "pad": (lambda x, n: gc.pad(x, [[n, 0], [0, 2]]), lambda x, n: np.pad(x, [(n, 0), (0, 2)])),
    "mirror": (lambda x, n: gc.pad(x, [[n, 0], [0, 2]], "SYMMETRIC"), lambda x, n: np.pad(x, [(n, 0), (0, 2)], "symmetric")),
    "sum": (gc.reduce_sum, np.sum), "mean": (lambda x, n: gc.reduce_mean(x, n, keepdims=True), lambda x, n: x.mean(n, keepdims=True)),
    "cumsum": (gc.cumsum, np.cumsum), "reverse": (lambda x, n: gc.reverse(x, [n]), np.flip), "expand": (gc.expand_dims, np.expand_dims),
    "transpose": (lambda x, n: gc.transpose(x, [n, 1 - n]), lambda x, n: x.transpose(n, 1 - n)),
    "concat": (lambda x, n: gc.concat([x, x], n), lambda x, n: np.concatenate([x, x], n)),
    "split": (lambda x, n: gc.split(x, 2, axis=n)[1], lambda x, n: np.split(x, 2, n)[1]),
    "split_v": (lambda x, n: gc.split(x, gc.stack([n, -1]), axis=0, num=2)[1], lambda x, n: x[n:]),
    "gather": (lambda x, n: gc.gather(x, [2, 0], axis=n), lambda x, n: np.take(x, [2, 0], n)),
    "broadcast": (lambda x, n: gc.broadcast_to(x, [n, 6, 4]), lambda x, n: np.broadcast_to(x, (n, 6, 4))),
    "range": (lambda x, n: x * gc.cast(gc.range(n * 4), gc.float64), lambda x, n: x * np.arange(4 * n)),
    "zeros": (lambda x, n: x + gc.zeros([n, 4], gc.float64), lambda x, n: x),
    "one_hot": (lambda x, n: x * gc.one_hot(n, 4 * n, dtype=gc.float64), lambda x, n: x * np.eye(4)[n]),
}


@pytest.mark.parametrize("name", BY_VALUE)
def test_a_fed_number_decides_the_shape(name: str) -> None:
    build, expected = BY_VALUE[name]
    number = gc.placeholder(gc.int32, [])
    for dims in ([None, None], None):
        x = gc.placeholder(gc.float64, dims)
        y = build(x, number)
        (slope,) = gc.gradients(y, [x])
        with gc.Session() as session:
            got, back = session.run([y, slope], {x: X, number: 1})
        np.testing.assert_array_equal(got, expected(X, 1))
        assert y.shape.is_compatible_with(got.shape)
        assert back.shape == X.shape
        assert back.sum() == pytest.approx(_influence(expected))


def _influence(function: Callable[..., Any]) -> float:
    """The sum over all elements of the derivative of the sum of function(x, 1), which is linear: what adding 1 everywhere changes."""
    return float(np.sum(function(X + 1, 1)) - np.sum(function(X, 1)))


def test_an_unknown_choice_is_not_taken_for_known() -> None:
    number = gc.placeholder(gc.int32, [])
    dims = gc.shape(gc.ones([2, 3]))
    assert gc.reshape(gc.ones([6]), [dims[number], -1]).shape.as_list() == [None, None]
    assert gc.zeros(dims[number:]).shape.rank is None
    assert gc.zeros(gc.reverse(dims, [0])).shape.as_list() == [3, 2]


def test_a_wrong_feed_is_named() -> None:
    x, shape = gc.placeholder(gc.float32, [None, None], name="x"), gc.placeholder(gc.int32, [None], name="s")
    feeds: dict[gc.Tensor, Any] = {x: np.ones((6, 4), np.float32), shape: [5, 5]}
    with gc.Session() as session:
        for y, words in ((gc.reshape(x, shape, name="r"), "24 elements cannot take shape f32[5,5]\n  in operation 'r' (Reshape)"),
                         (gc.reshape(x, [5, -1]), "Cannot reshape a tensor with 24 elements to shape [5, -1]"),
                         (x[7], "slice index 7 of dimension 0"),
                         (gc.ensure_shape(x, [None, 5]), "Shape of tensor (6, 4) is not compatible with expected shape (?, 5)"),
                         (gc.matmul(x, x), "Dimensions must be equal, but are 4 and 6"), (gc.split(x, 4)[0], "evenly divide")):
            with pytest.raises(gc.errors.InvalidArgumentError, match=re.escape(words)):
                session.run(y, {t: v for t, v in feeds.items() if t is x or "r" in y.name})
        assert session.run(gc.reshape(x, shape), {**feeds, shape: [3, 8]}).shape == (3, 8)
