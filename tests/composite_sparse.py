"""The table of composites: sparse tensors. Positions are constants of the graph or fed; expectations fill dense arrays in numpy."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, sample
from tests.op_table import integers, uniform

F32, F64 = dtypes.float32, dtypes.float64
SIGNED = uniform(-2, 2)
# Positions in no order, one of them twice, and dims; rank 1 to 3; none at all; a tail that fills no vector.
PLACES: dict[str, tuple[Array, tuple[int, ...]]] = {
    "matrix": (np.array([[1, 0], [0, 1], [1, 2], [0, 1]]), (2, 3)),
    "one": (np.array([[0, 0]]), (1, 1)),
    "empty": (np.zeros((0, 2), np.int64), (3, 2)),
    "many": (np.stack([np.arange(70) * 7 % 33, np.arange(70) * 5 % 17], 1), (33, 17)),
}
CUBE = (np.array([[1, 0, 2], [0, 1, 0], [1, 0, 2], [0, 0, 3], [1, 1, 1]]), (2, 2, 4))


def dense(places: Array, dims: Sequence[int], values: Any, fill: float = 0) -> Any:
    """The sums of the values at each place."""
    result = np.full(dims, fill, np.asarray(values).dtype)
    np.add.at(result, tuple(places.T), values)
    return result


def sparse(places: Array, dims: Sequence[int]) -> Callable[[gc.Tensor], gc.SparseTensor]:
    return lambda values: gc.SparseTensor(places, values, dims)


def product_cases() -> Iterator[Case]:
    for dtype in (F64, F32):
        for label, (places, dims) in PLACES.items():
            for a, b in ((False, False), (True, True)):
                inner, rows = (dims[0], dims[1]) if a else (dims[1], dims[0])
                right = (5, inner) if b else (inner, 5)
                arrays = (sample(label + "v", SIGNED, dtype, len(places)), sample(label + "b", SIGNED, dtype, *right))

                def build(v: gc.Tensor, d: gc.Tensor, places: Array = places, dims: Any = dims, a: bool = a, b: bool = b) -> gc.Tensor:
                    return gc.sparse_tensor_dense_matmul(gc.SparseTensor(places, v, dims), d, a, b)

                def want(v: Array, d: Array, places: Array = places, dims: Any = dims, a: bool = a, b: bool = b) -> Array:
                    left = dense(places, dims, v)
                    return np.asarray((left.T if a else left) @ (d.T if b else d))
                yield Case("sparse_tensor_dense_matmul", f"{dtype.name}-{label}-{a:d}{b:d}", build, arrays, want, depth=max(rows, inner, 4),
                           slopes=2 if dtype is F64 and label != "many" else 0, known="rank")


def dense_cases() -> Iterator[Case]:
    for label, (places, dims) in {**PLACES, "cube": CUBE}.items():
        whole = sparse(places, dims)
        kinds = {"int": gc.int32, "half": gc.bfloat16, "float": F64}
        for kind, dtype in kinds.items():
            values = sample(label + kind, integers if dtype.is_integer else SIGNED, dtype, len(places))
            if label in ("matrix", "cube", "one"):
                # The last of equal positions wins.
                yield Case("sparse_tensor_to_dense", f"{label}-{kind}", lambda v, w=whole: gc.sparse_tensor_to_dense(w(v), 1), (values,),
                           lambda v, places=places, dims=dims: _stored(places, dims, v, 1), slopes=2 * dtype.is_floating * (dtype is F64))
            for axes in ((0,), (-1,), None):
                shown = "all" if axes is None else axes[0]
                yield Case("sparse_reduce_sum", f"{label}-{kind}-{shown}", lambda v, w=whole, a=axes: gc.sparse_reduce_sum(w(v), a),
                           (values,),
                           lambda v, places=places, dims=dims, a=axes: dense(places, dims, v).sum(a, dtype=v.dtype), depth=70, scale=4,
                           slopes=2 * (dtype is F64 and label != "many"))
        values = sample(label, SIGNED, F64, len(places))
        yield Case("sparse_reduce_sum", f"{label}-kept", lambda v, w=whole: gc.sparse_reduce_sum(w(v), axis=[0], keepdims=True), (values,),
                   lambda v, places=places, dims=dims: dense(places, dims, v).sum(0, keepdims=True), depth=70)
        yield Case("sparse_reduce_max", label, lambda v, w=whole: gc.sparse_reduce_max(w(v), reduction_axes=1, keep_dims=True), (values,),
                   lambda v, places=places, dims=dims: _greatest(places, dims, v), slopes=1)
        yield Case("sparse_softmax", label, lambda v, w=whole: gc.sparse_softmax(w(v)).values, (values,),
                   lambda v, places=places: _softmax(places, v), depth=4, slopes=2 * (label != "many"))
        other = sample(label + "d", SIGNED, F64, *dims)
        yield Case("sparse_add", f"dense-{label}", lambda v, d, w=whole: gc.sparse_add(w(v), d), (values, other),
                   lambda v, d, places=places, dims=dims: d + dense(places, dims, v), depth=4, slopes=2 * (label != "many"), known="rank")
    yield from _other_forms()


def _stored(places: Array, dims: Sequence[int], values: Array, fill: Any) -> Array:
    result = np.full(dims, fill, values.dtype)
    for place, value in zip(places, values, strict=True):
        result[tuple(place)] = value
    return result


def _greatest(places: Array, dims: Sequence[int], values: Array) -> Array:
    """Over axis 1: of what is given."""
    result = np.full(dims, -np.inf)
    np.maximum.at(result, tuple(places.T), values)
    top = result.max(1, keepdims=True, initial=-np.inf)
    return np.asarray(np.where(np.isinf(top), 0, top))


def _softmax(places: Array, values: Array) -> Array:
    result = np.zeros_like(values)
    for row in {tuple(place[:-1]) for place in places}:
        mine = (places[:, :-1] == row).all(1)
        power = np.exp(values[mine] - values[mine].max())
        result[mine] = power / power.sum()
    return result


def _other_forms() -> Iterator[Case]:
    values, fill = np.array([1.5, -2.0]), np.array(9.0)
    yield Case("sparse_to_dense", "vector", lambda v, f: gc.sparse_to_dense([2, 0], [4], v, f), (values, fill),
               lambda v, f: np.array([-2.0, 9, 1.5, 9]), slopes=2)
    yield Case("sparse_to_dense", "one value", lambda v: gc.sparse_to_dense([[0, 1], [1, 1]], [2, 2], v), (np.array(5, np.int32),),
               lambda v: np.array([[0, 5], [0, 5]]))
    yield Case("sparse_to_dense", "scalar", lambda v: gc.sparse_to_dense(1, [3], v), (np.array(5.0),),
               lambda v: np.array([0, 5.0, 0]), slopes=1)
    yield Case("sparse_to_dense", "outside", lambda v: gc.sparse_to_dense([2, 7], [4], v), (values,), lambda v: np.array([0, 0, 1.5, 0]))
    yield Case("square", "rows by index", lambda v: gc.square(gc.IndexedSlices(v, gc.constant([0, 2, 0]), gc.constant([4, 2]))),
               (sample("rows", SIGNED, F64, 3, 2),), lambda v: np.stack([v[0] + v[2], 0 * v[0], v[1], 0 * v[0]]) ** 2, slopes=2)
    dims = np.array([2, 3])
    yield Case("sparse_to_dense", "fed", lambda v, d: gc.sparse_to_dense([[0, 2], [1, 0]], d, v), (values, dims),
               lambda v, d: np.array([[0, 0, 1.5], [-2, 0, 0]]), known="rank")


def families() -> dict[str, Sequence[Case]]:
    return {"sparse products": list(product_cases()), "sparse and dense": list(dense_cases())}
