"""Questions about tensors that need no run."""
from __future__ import annotations

import numpy as np

import graphc as gc


def test_static_values() -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    np.testing.assert_array_equal(gc.get_static_value(gc.constant([1.0, 2.5])), np.array([1, 2.5], np.float32))
    made = gc.get_static_value(gc.stack([gc.shape(x)[1], 7]))
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made, [3, 7])
    assert gc.get_static_value(x) is None
    assert gc.get_static_value(gc.shape(x)) is None
    assert gc.get_static_value(gc.shape(x), partial=True).tolist() == [None, 3]


def test_dimensions() -> None:
    shape = gc.placeholder(gc.float32, [None, 3]).shape
    assert [gc.dimension_value(each) for each in (shape[0], shape[1], 5, None)] == [None, 3, 5, None]
    assert gc.dimension_at_index(shape, 1).value == 3
    assert gc.dimension_at_index(gc.TensorShape(None), 4).value is None


def test_what_is_a_tensor() -> None:
    values = (gc.constant(1), gc.Variable(1), 1, np.ones(2), [gc.constant(1)], None)
    assert [gc.is_tensor(each) for each in values] == [True, True] + [False] * 4
    assert gc.executing_eagerly() is False
    assert gc.placeholder(gc.float32, [2])[gc.newaxis, :].shape.as_list() == [1, 2]
