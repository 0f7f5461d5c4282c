"""What indexing refuses, and how it says so: TF1.15's kinds of error, with the rule and the values."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

D = np.arange(8, dtype=np.float32).reshape(4, 2)
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def vector() -> gc.Tensor:
    return gc.constant([1, 2, 3])


def table() -> gc.Variable:
    return gc.Variable(np.ones((3, 2), np.float32))


REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("gather-float", lambda: gc.gather(X, [1.5]), TypeError, "indices must be integers"),
    ("gather-axis", lambda: gc.gather(X, [1], axis=3), ValueError, r"axis 3 is out of bounds for an array of rank 3"),
    ("gather-batch", lambda: gc.gather(X, [[1], [1], [1]], batch_dims=1), ValueError, "Dimensions must be equal, but are 2 and 3"),
    ("gather-batch-rank", lambda: gc.gather(X, [1], batch_dims=2), ValueError, r"batch_dims = 2 must be in \[-1, 1\]"),
    ("gather-batch-axis", lambda: gc.gather(X, [[1], [0]], axis=0, batch_dims=1), ValueError,
     r"batch_dims \(1\) must be less than or equal to axis \(0\)"),
    ("gather_nd-deep", lambda: gc.gather_nd(X, [[1, 7, 1, 1]]), ValueError, r"indices.shape\[-1\] must be <= params.rank, got 4 and 3"),
    ("batch_gather", lambda: gc.batch_gather(D, [[1], [1]]), ValueError, "Dimensions must be equal, but are 4 and 2"),
    ("batch_gather-rank", lambda: gc.batch_gather(D, gc.placeholder(gc.int32)), ValueError, "does not allow indices with unknown shape"),
    ("scatter_nd", lambda: gc.scatter_nd([[1], [3]], [[1.0, 2], [1, 1]], [5]), ValueError, r"updates must have shape \(2,\)"),
    ("scatter_nd-deep", lambda: gc.scatter_nd([[1, 3]], [1.0], [5]), ValueError, "index tuples of 2 entries do not fit a tensor of shape"),
    ("tensor_scatter-type", lambda: gc.tensor_scatter_add(D, [[1, 1]], gc.constant([1])), TypeError,
     "type int32 that does not match type float32"),
    ("scatter_add-tensor", lambda: gc.scatter_add(gc.constant(D), [1], 2.0), TypeError, "ScatterAdd needs a Variable"),
    ("scatter_add-shape", lambda: gc.scatter_add(table(), [1, 2], np.ones((2, 3), np.float32)), ValueError,
     r"must be a scalar or have shape \(2, 2\)"),
    ("scatter_add-type", lambda: gc.scatter_add(table(), [1], np.ones((1, 2), np.int64)), TypeError, "does not match type float32"),
    ("scatter_add-index", lambda: gc.scatter_add(table(), gc.constant([1.0]), 2.0), TypeError,
     "'indices' has DataType float32 not in list"),
    ("scatter_nd_add-shape", lambda: gc.scatter_nd_add(table(), [[1]], [1.0]), ValueError, r"updates must have shape \(1, 2\)"),
    ("assign-tensor", lambda: gc.constant(D)[1].assign([1, 2]), ValueError, "Sliced assignment is only supported for variables"),
    ("assign-shape", lambda: run(table()[1:].assign([1.0, 2.0])), gc.errors.InvalidArgumentError,
     r"sliced l-value shape \(2, 2\) does not match r-value shape \(2,\)"),
    ("segment-size", lambda: gc.segment_sum(D, [0, 0, 2]), ValueError, "segment_ids should be the same size as dimension 0 of input"),
    ("segment-rank", lambda: gc.segment_sum(D, [[0], [1], [1], [1]]), ValueError, "segment_ids should be a vector"),
    ("segment-scalar", lambda: gc.segment_sum(1.0, [0]), ValueError, "at least rank 1"),
    ("unsorted-size", lambda: gc.unsorted_segment_sum(D, [0, 1, 1], 2), ValueError, "does not start with segment_ids.shape"),
    ("unsorted-number", lambda: gc.unsorted_segment_sum(D, [0, 1, 1, 0], -1), ValueError, "must not be negative, got -1"),
    ("sparse-segment", lambda: gc.sparse_segment_sum(D, [0, 1], [0]), ValueError, "vectors of one size"),
    ("mask-shape", lambda: gc.boolean_mask(D, [True, False]), ValueError, r"Shapes \(4,\) and \(2,\) are incompatible"),
    ("mask-scalar", lambda: gc.boolean_mask(D, True), ValueError, "mask cannot be scalar"),
    ("mask-unknown", lambda: gc.boolean_mask(D, gc.placeholder(gc.bool)), ValueError, "Number of mask dimensions must be specified"),
    ("where-one", lambda: gc.where([True], [1]), ValueError, "x and y must both be non-None or both be None"),
    ("partition-none", lambda: gc.dynamic_partition(D, [0, 0, 0, 0], 0), ValueError, "less than minimum 1"),
    ("partition-shape", lambda: gc.dynamic_partition(D, [0, 0], 2), ValueError, "data.shape must start with partitions.shape"),
    ("stitch-lists", lambda: gc.dynamic_stitch([[0]], []), ValueError, "as many indices as data"),
    ("stitch-rows", lambda: gc.dynamic_stitch([[0], [1]], [[[1.0]], [[1.0, 2.0]]]), ValueError, "rows of one shape"),
    ("sequence-axes", lambda: gc.reverse_sequence(D, [1, 1, 1, 1], seq_axis=0), ValueError, "batch_dim == seq_dim == 0"),
    ("sequence-lengths", lambda: gc.reverse_sequence(D, [1, 1], seq_axis=1), ValueError, r"len\(seq_lengths\) != input.dims\(0\)"),
    ("sequence-no-axis", lambda: gc.reverse_sequence(D, [1, 1, 1, 1]), TypeError, "Expected int for argument 'seq_dim' not None"),
    ("roll", lambda: gc.roll(D, [2, 1], 0), ValueError, "shift and axis must have the same size"),
    ("repeat", lambda: gc.repeat(D, [1, 2, 3], 0), ValueError, "one number for each of the 4 slices along axis 0"),
    ("mask-maxlen", lambda: gc.sequence_mask([1, 2], [3]), ValueError, "maxlen must be scalar"),
    ("meshgrid", lambda: gc.meshgrid([1], indexing="kk"), ValueError, "either 'xy' or 'ij'"),
    ("meshgrid-keyword", lambda: gc.meshgrid([1], sparse=True), TypeError, "'sparse' is an invalid keyword"),
    ("unravel", lambda: gc.unravel_index([1], 3), ValueError, "dims a vector"),
    ("embedding-none", lambda: gc.nn.embedding_lookup([], [1]), ValueError, "Need at least one param"),
    ("embedding-strategy", lambda: gc.nn.embedding_lookup([D, D], [1], partition_strategy="foo"), ValueError,
     "Unrecognized partition strategy: foo"),
    ("index-large", lambda: vector()[7], ValueError, "slice index 7 of dimension 0 out of bounds"),
    ("index-many", lambda: vector()[1, 2], ValueError, "Index out of range using input dim 1; input has only 1 dims"),
    ("index-list", lambda: vector()[[0, 1]], ValueError, "Index out of range using input dim 1"),
    ("index-vector", lambda: vector()[gc.constant([1, 2])], TypeError, "Only integers, slices"),
    ("index-float", lambda: vector()[1.5], TypeError, r"are valid indices, got 1.5"),
    ("index-true", lambda: vector()[True], ValueError, "mask cannot be scalar"),
    ("index-ellipses", lambda: vector()[..., ...], ValueError, "Multiple ellipses in slice spec not allowed"),
    ("index-stride", lambda: vector()[::0], ValueError, r"strides\[0\] must be non-zero"),
    ("slice-size", lambda: gc.slice(vector(), [2], [2]), ValueError, r"Expected begin \+ size <= 3 for axis 0, got 2 \+ 2"),
    ("slice-begin", lambda: gc.slice(vector(), [-1], [2]), ValueError, "Expected begin >= 0"),
    ("slice-rank", lambda: gc.slice(vector(), [0, 0], [1, 1]), ValueError, "one entry for each of the 1 axes"),
]


def run(fetch: gc.Tensor) -> Any:
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        return session.run(fetch)


@pytest.mark.parametrize(("build", "kind", "words"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_refused(build: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with gc.Graph().as_default(), pytest.raises(kind, match=words):
        build()


def test_only_slices_can_be_assigned() -> None:
    with gc.Graph().as_default():
        assert not hasattr(gc.constant(1.0), "assign")
        assert hasattr(table()[0], "assign")
