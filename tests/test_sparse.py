"""Sparse tensors as users handle them: made, fed, fetched, asked; and what is wrong with them. Wording as TF 1.15.5's."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

PLACES = [[0, 1], [1, 0], [1, 2]]


def matrix() -> gc.SparseTensor:
    return gc.SparseTensor(PLACES, [1.0, 2.0, 3.0], [2, 3])


def check(value: gc.SparseTensorValue, indices: Any, values: Any, shape: Any) -> None:
    assert isinstance(value, gc.SparseTensorValue)
    for got, want, dtype in zip(value, (indices, values, shape), (np.int64, np.float32, np.int64), strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == dtype


def test_fetched_alone_and_inside_structures() -> None:
    sp = matrix()
    with gc.Session() as session:
        check(session.run(sp), PLACES, [1, 2, 3], [2, 3])
        inner, (again, shape) = session.run([sp.values, (sp, sp.dense_shape)])
        check(again, PLACES, inner, shape)
        check(sp.eval(session=session), PLACES, [1, 2, 3], [2, 3])
        check(session.run({"a": sp})["a"], PLACES, [1, 2, 3], [2, 3])


def test_fed() -> None:
    unknown, part, whole = (gc.sparse_placeholder(gc.float32, shape) for shape in (None, [None, 3], [2, 3]))
    value = gc.SparseTensorValue([[0, 0]], [5.0], [2, 3])
    with gc.Session() as session:
        for sp in (unknown, part, whole):
            check(session.run(sp, {sp: value}), [[0, 0]], [5], [2, 3])
            check(session.run(sp, {sp: tuple(value)}), [[0, 0]], [5], [2, 3])
        check(session.run(whole, {whole: ([[0, 0]], [5.0])}), [[0, 0]], [5], [2, 3])
        # Another number of values, then another shape of the dense tensor.
        dense = gc.sparse_tensor_to_dense(unknown)
        np.testing.assert_array_equal(session.run(dense, {unknown: value}), [[5, 0, 0], [0, 0, 0]])
        np.testing.assert_array_equal(session.run(dense, {unknown: (np.zeros((0, 2)), np.zeros(0), [1, 2])}), [[0, 0]])
        with pytest.raises(ValueError, match="Cannot feed 2 values for a tuple of 3 tensors"):
            session.run(unknown, {unknown: ([[0, 0]], [5.0])})
        with pytest.raises(gc.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor"):
            session.run(unknown)
        check(session.run(unknown, {unknown: value}), [[0, 0]], [5], [2, 3])  # it goes on working


def test_what_is_known_of_it() -> None:
    named = gc.sparse_placeholder(gc.float32, [None, 3], name="p")
    assert [t.op.name for t in named.components] == ["p/indices", "p/values", "p/shape"]
    assert named.get_shape().as_list() == [None, 3]
    assert gc.sparse_placeholder(gc.float32).shape.ndims is None
    sp = matrix()
    assert (sp.shape.as_list(), sp.dtype, sp.op, sp.graph) == ([2, 3], gc.float32, sp.values.op, gc.get_default_graph())
    assert str(sp).startswith('SparseTensor(indices=Tensor("SparseTensor_2/indices:0", shape=(3, 2), dtype=int64), values=')
    assert gc.SparseTensor.from_value(gc.SparseTensorValue(PLACES, [1, 2, 3], [2, 3])).values.op.type == "Const"


def test_times_dense() -> None:
    sp = matrix()
    with gc.Session() as session:
        found = session.run([(sp * 2.0).values, (sp * [[1.0], [10.0]]).values, (sp / [1.0, 2.0, 4.0]).values])
    np.testing.assert_array_equal(found, [[2, 4, 6], [1, 20, 30], [0.5, 2, 0.75]])


def test_rows_by_index() -> None:
    rows = gc.IndexedSlices(gc.constant([[1.0], [2.0], [3.0]]), gc.constant([0, 2, 0]), gc.constant([3, 1]))
    with gc.Session() as session:
        np.testing.assert_array_equal(session.run(gc.convert_to_tensor(rows)), [[4], [0], [2]])
        value = session.run(-rows)
    np.testing.assert_array_equal(value.values, [[-1], [-2], [-3]])
    np.testing.assert_array_equal(value.indices, [0, 2, 0])


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "indices of rank 1": (lambda: gc.SparseTensor([1, 2], [1.0], [3]), ValueError, r"Shape \(2,\) must have rank 2"),
    "more values": (lambda: gc.SparseTensor([[1, 2]], [1.0, 2.0], [3, 3]), ValueError, "Dimensions 1 and 2 are not compatible"),
    "another rank": (lambda: gc.SparseTensor([[1, 2]], [1.0], [3]), ValueError, "Dimensions 2 and 1 are not compatible"),
    "two sparse ones": (lambda: matrix() * matrix(), TypeError, "Failed to convert object of type .*SparseTensor.* to Tensor"),
    "as a tensor": (lambda: gc.identity(matrix()), TypeError, "Failed to convert object of type .*Consider sparse_tensor_to_dense"),
    "product": (lambda: gc.sparse_tensor_dense_matmul(matrix(), [[1.0], [2.0]]), ValueError, "Dimensions must be equal, but are 3 and 2"),
    "dense, not sparse": (lambda: gc.sparse_tensor_to_dense([1.0]), TypeError, "Input must be a SparseTensor"),
    "no sparse": (lambda: gc.sparse_add([1.0], [2.0]), TypeError, "At least one input should be SparseTensor"),
    "reshape": (lambda: gc.sparse_reshape(matrix(), [4, 2]), ValueError, r"Cannot reshape a tensor with 6 elements to shape \[4, 2\]"),
    "negative": (lambda: gc.sparse_to_dense([0], [-4], [1.0]), ValueError, "Invalid value in tensor used for shape: -4"),
    "softmax of a vector": (lambda: gc.sparse_softmax(gc.SparseTensor([[0]], [1.0], [2])), ValueError, "Input should have rank >= 2"),
    "smaller": (lambda: gc.sparse_reset_shape(matrix(), [1, 3]), ValueError, r"New shape \(1, 3\) is less than"),
    "axis": (lambda: gc.sparse_reduce_sum(matrix(), 2), ValueError, "axis 2 is out of bounds"),
    "split": (lambda: gc.sparse_split(sp_input=matrix(), num_split=4, axis=1), ValueError,
              r"num_split should be between 1 and .*\(3\), got 4"),
    "join": (lambda: gc.sparse_concat(0, [matrix(), gc.sparse_reset_shape(matrix(), [2, 4])]), ValueError,
             "all but axis 0 of sparse tensors"),
    "no shape": (lambda: gc.convert_to_tensor(gc.IndexedSlices(gc.constant([[1.0]]), gc.constant([0]))), ValueError,
                 "Tensor conversion requested for IndexedSlices without dense_shape"),
    "combiner": (lambda: gc.nn.embedding_lookup_sparse(gc.ones([3, 2]), matrix(), None, combiner="max"), ValueError,
                 "combiner must be one of"),
    "dtype": (lambda: gc.convert_to_tensor_or_sparse_tensor(matrix(), gc.int32), RuntimeError, "requested = int32, actual = float32"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    make, kind, text = WRONG[name]
    with pytest.raises(kind, match=text):
        make()
