"""The table of composites: sparse tensors made of sparse tensors, and embeddings by them. Expectations: TF 1.15.5's answers and numpy."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, Function

F32, F64 = dtypes.float32, dtypes.float64
PLACES, OTHER = [[0, 1], [1, 0], [1, 2]], [[0, 1], [1, 1]]
VALUES, MORE = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0])


def first(values: Any) -> gc.SparseTensor:
    return gc.SparseTensor(PLACES, values, [2, 3])


def second(values: Any) -> gc.SparseTensor:
    return gc.SparseTensor(OTHER, values, [2, 3])


def parts(sp: gc.SparseTensor) -> list[gc.Tensor]:
    return list(sp.components)


# subject: (what to build of `first` and `second`, indices, values, dense shape)
ONE: dict[str, tuple[Function, Any, Any, Any]] = {
    "sparse_transpose": (gc.sparse_transpose, [[0, 1], [1, 0], [2, 1]], [2, 1, 3], [3, 2]),
    "sparse_slice": (lambda sp: gc.sparse_slice(sp, [0, 1], [2, 2]), [[0, 0], [1, 1]], [1, 3], [2, 2]),
    "sparse_retain": (lambda sp: gc.sparse_retain(sp, [True, False, True]), [[0, 1], [1, 2]], [1, 3], [2, 3]),
    "sparse_reshape": (lambda sp: gc.sparse_reshape(sp, [3, -1]), [[0, 1], [1, 1], [2, 1]], [1, 2, 3], [3, 2]),
    "sparse_reset_shape": (lambda sp: gc.sparse_reset_shape(sp, [4, 5]), PLACES, [1, 2, 3], [4, 5]),
    "sparse.expand_dims": (lambda sp: gc.sparse.expand_dims(sp, 1), [[0, 0, 1], [1, 0, 0], [1, 0, 2]], [1, 2, 3], [2, 1, 3]),
    "sparse_reduce_sum_sparse": (lambda sp: gc.sparse_reduce_sum_sparse(sp, 0), [[0], [1], [2]], [2, 1, 3], [3]),
    "sparse_reduce_max_sparse": (lambda sp: gc.sparse_reduce_max_sparse(sp, 1, keepdims=True), [[0, 0], [1, 0]], [1, 3], [2, 1]),
    "sparse_fill_empty_rows": (lambda sp: gc.sparse_fill_empty_rows(gc.sparse_reset_shape(sp, [3, 3]), 9.0)[0], [*PLACES, [2, 0]],
                               [1, 2, 3, 9], [3, 3]),
}
TWO: dict[str, tuple[Function, Any, Any, Any]] = {
    "sparse_add": (gc.sparse_add, [[0, 1], [1, 0], [1, 1], [1, 2]], [11, 2, 20, 3], [2, 3]),
    "sparse_maximum": (gc.sparse_maximum, [[0, 1], [1, 0], [1, 1], [1, 2]], [10, 2, 20, 3], [2, 3]),
    "sparse_minimum": (gc.sparse_minimum, [[0, 1], [1, 0], [1, 1], [1, 2]], [1, 0, 0, 0], [2, 3]),
    "sparse_concat": (lambda a, b: gc.sparse_concat(1, [a, b]), [[0, 1], [0, 4], [1, 0], [1, 2], [1, 4]], [1, 10, 2, 3, 20], [2, 6]),
}


def _listed(*wanted: Any) -> Function:
    indices, values, shape = wanted
    return lambda *_: [np.asarray(indices), np.asarray(values, np.float64), np.asarray(shape)]


class Parts(Case):
    """A sparse result: positions and shape are int64."""

    def dtype_of(self, want: Array) -> dtypes.DType:
        return dtypes.as_dtype(want.dtype)


def structure_cases() -> Iterator[Case]:
    for subject, (build, *wanted) in ONE.items():
        yield Parts(subject, "one", lambda v, f=build: parts(f(first(v))), (VALUES,), _listed(*wanted))
        yield Case(subject, "its values", lambda v, f=build: f(first(v)).values, (VALUES,),
                   lambda v, w=wanted: np.array(w[1], float), slopes=1)
    for subject, (build, *wanted) in TWO.items():
        yield Parts(subject, "two", lambda v, w, f=build: parts(f(first(v), second(w))), (VALUES, MORE), _listed(*wanted))
        yield Case(subject, "their values", lambda v, w, f=build: f(first(v), second(w)).values, (VALUES, MORE),
                   lambda v, w, want=wanted: np.array(want[1], float), slopes=1 if subject in ("sparse_add", "sparse_concat") else 0)
    yield Parts("sparse_add", "threshold", lambda v, w: parts(gc.sparse_add(first(v), second(w), thresh=12.0)), (VALUES, MORE),
                _listed([[1, 0], [1, 1], [1, 2]], [2, 20, 3], [2, 3]))
    yield Parts("sparse_concat", "expanded", lambda v, w: parts(gc.sparse_concat(
        0, [first(v), gc.sparse_reset_shape(second(w), [2, 5])], expand_nonconcat_dims=True)), (VALUES, MORE),
        _listed([[0, 1], [1, 0], [1, 2], [2, 1], [3, 1]], [1, 2, 3, 10, 20], [4, 5]))
    yield Parts("sparse_reorder", "equal ones stay in order", lambda v: parts(gc.sparse_reorder(gc.SparseTensor(
        [[1, 0], [0, 1], [1, 0]], v, [2, 3]))), (VALUES,), _listed([[0, 1], [1, 0], [1, 0]], [2, 1, 3], [2, 3]))
    yield Parts("sparse_reset_shape", "tight", lambda v: parts(gc.sparse_reset_shape(gc.SparseTensor(PLACES, v, [7, 9]))), (VALUES,),
                _listed(PLACES, [1, 2, 3], [2, 3]))
    for number, (indices, values, dims) in enumerate((([[0, 1], [1, 0]], [1, 2], [2, 2]), ([[1, 0]], [3], [2, 1]))):
        yield Parts("sparse_split", f"part{number}", lambda v, n=number: parts(gc.sparse_split(sp_input=first(v), num_split=2, axis=1)[n]),
                    (VALUES,), _listed(indices, values, dims))
    yield Case("sparse_fill_empty_rows", "which", lambda v: gc.sparse_fill_empty_rows(gc.sparse_reset_shape(first(v), [3, 3]), 9.0)[1],
               (VALUES,), lambda v: np.array([False, False, True]))
    yield Parts("sparse.from_dense", "plain", lambda x: parts(gc.sparse.from_dense(x)), (np.array([[0, 1.5, 0], [2, 0, -3]]),),
                _listed([[0, 1], [1, 0], [1, 2]], [1.5, 2, -3], [2, 3]))
    yield Parts("sparse.eye", "wide", lambda: parts(gc.sparse.eye(2, 3, gc.float64)), (), _listed([[0, 0], [1, 1]], [1, 1], [2, 3]))
    yield from _ids()


def _ids() -> Iterator[Case]:
    ids = np.array([3, 1])
    yield Case("sparse_to_indicator", "plain", lambda i: gc.sparse_to_indicator(gc.SparseTensor([[0, 0], [1, 0]], i, [2, 1]), 5), (ids,),
               lambda i: np.arange(5) == i[:, None])
    yield Parts("sparse_merge", "plain", lambda i, v: parts(gc.sparse_merge(
        gc.SparseTensor([[0, 0], [0, 1]], i, [2, 2]), gc.SparseTensor([[0, 0], [0, 1]], v, [2, 2]), 5)), (ids, MORE),
        _listed([[0, 1], [0, 3]], [20, 10], [2, 5]))
    rows = np.array([[1.0], [2.0], [3.0]])
    yield Case("sparse_mask", "plain", lambda v: gc.sparse_mask(gc.IndexedSlices(v, gc.constant([12, 26, 37])), [12, 5]).values, (rows,),
               lambda v: v[1:])
    yield Case("convert_to_tensor_or_sparse_tensor", "dense", gc.convert_to_tensor_or_sparse_tensor, (VALUES,), lambda v: v)
    yield Case("sparse_matmul", "plain", lambda a, b: gc.sparse_matmul(a, b, transpose_b=True), (rows, rows),
               lambda a, b: a @ b.T, slopes=2)
    table = np.random.default_rng(5).uniform(-1, 1, (6, 2))
    weights = np.array([1.0, 2.0, 3.0])
    scale: dict[str, Function] = {"sum": lambda w: 1.0, "mean": np.sum, "sqrtn": lambda w: np.sqrt(np.sum(w * w))}
    for how, over in scale.items():
        def plain(t: Array, over: Function = over) -> Array:
            one = np.ones(2)
            return np.stack([(t[1] + t[3]) / over(one), np.zeros(2), t[5] / over(one[:1])])

        def weighted(t: Array, w: Array, over: Function = over, how: str = how) -> Array:
            none = np.zeros(2) if how == "sum" else np.full(2, np.nan)
            return np.stack([(t[1] * w[0] + t[3] * w[1]) / over(w[:2]), none, t[5] * w[2] / over(w[2:])])

        def build(t: gc.Tensor, w: gc.Tensor | None = None, how: str = how) -> gc.Tensor:
            where = [[0, 0], [0, 1], [2, 0]]
            held = None if w is None else gc.SparseTensor(where, w, [3, 2])
            return gc.nn.embedding_lookup_sparse(t, gc.SparseTensor(where, [1, 3, 5], [3, 2]), held, combiner=how)
        yield Case("nn.embedding_lookup_sparse", how, build, (table,), plain, slopes=2, known="rank")
        yield Case("nn.embedding_lookup_sparse", f"{how}-weights", build, (table, weights), weighted,
                   slopes=2 * (how == "sum"), known="rank")
    for default in (None, 4):
        def safe(t: gc.Tensor, default: int | None = default) -> gc.Tensor:
            ids = gc.SparseTensor([[0, 0], [0, 1], [2, 0], [2, 1]], np.array([1, 3, 5, -1]), [4, 2])
            return gc.nn.safe_embedding_lookup_sparse(t, ids, default_id=default)
        yield Case("nn.safe_embedding_lookup_sparse", f"default-{default}", safe, (table,), lambda t, d=default: np.stack(
            [(t[1] + t[3]) / 2, np.zeros(2) if d is None else t[d], t[5], np.zeros(2) if d is None else t[d]]), slopes=1, known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"sparse structure": list(structure_cases())}
