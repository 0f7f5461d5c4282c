"""The table of composites: parts chosen and put by position. Slices, gather, scatter, sequences, embeddings, rows of variables."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case, Function, name_of, public, sample
from tests.op_table import integers, uniform

F32, F64, I32, I64 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64


def _int(*values: Any, dtype: Any = np.int32) -> Array:
    return np.array(values if len(values) != 1 else values[0], dtype)


def _matrix(label: str = "matrix") -> Array:
    return sample(label, uniform(-3, 3), F64, 4, 5)


# Slices ----------------------------------------------------------------------------------------------------------------------------------

def slice_cases() -> Iterator[Case]:
    """Bounds that are fed. Known ones are among the samples of arrays."""
    x, cube = _matrix(), sample("cube", uniform(-3, 3), F64, 3, 4, 5)
    places: list[tuple[str, Function, tuple[Array, ...]]] = [
        ("element", lambda x, i: x[i], (x, _int(2))),
        ("element-negative", lambda x, i: x[i], (x, _int(-1))),
        ("element-int64", lambda x, i: x[:, i], (x, _int(3, dtype=np.int64))),
        ("elements", lambda x, i, j: x[i, j], (x, _int(1), _int(-2))),
        ("element-new-axis", lambda x, i: x[..., i, None], (cube, _int(1))),
        ("element-after-box", lambda x, i: x[1:, i, ::2], (cube, _int(3))),
    ]
    for label, build, arrays in places:
        yield Case("strided_slice", label, build, arrays, build, dtype=F64, slopes=1)
    yield Case("slice", "begin-fed", lambda x, b: gc.slice(x, b, [2, 3]), (x, _int(1, 2)), lambda x, b: x[1:3, 2:5], slopes=1)
    yield Case("slice", "begin-int64", lambda x, b: gc.slice(x, b, [1, 2, 2]), (cube, _int(2, 0, 3, dtype=np.int64)),
               lambda x, b: x[2:3, 0:2, 3:5], slopes=1)
    large = sample("large box", uniform(-1, 1), F32, 300, 130)
    yield Case("slice", "large", lambda x, b: gc.slice(x, b, [200, 130]), (large, _int(57, 0)), lambda x, b: x[57:257])


def bounded_cases() -> Iterator[Case]:
    """Bounds that are fed and say how large the result is."""
    x = _matrix("bounded")
    yield Case("strided_slice", "between", lambda x, i, n: x[i:i + n, 1:], (x, _int(1), _int(2)), lambda x, i, n: x[1:3, 1:], dtype=F64,
               slopes=1)
    yield Case("strided_slice", "past-the-end", lambda x, i: x[i:i + 3], (x, _int(3)), lambda x, i: x[3:], dtype=F64, slopes=1)
    yield Case("strided_slice", "from-the-end", lambda x, i: x[i:, :i], (x, _int(-2)), lambda x, i: x[-2:, :-2], dtype=F64)
    yield Case("strided_slice", "steps", lambda x, i: x[:, i::-2], (x, _int(4)), lambda x, i: x[:, 4::-2], dtype=F64, slopes=1)
    yield Case("strided_slice", "nothing", lambda x, i: x[i:1], (x, _int(3)), lambda x, i: x[3:1], dtype=F64)
    yield Case("slice", "size-fed", gc.slice, (x, _int(1, 2), _int(3, -1)), lambda x, b, n: x[1:4, 2:], slopes=1)


# Gather ----------------------------------------------------------------------------------------------------------------------------------

def _batched(x: Array, indices: Array, axis: int, batch: int) -> Array:
    """Per index of the batch, numpy's take."""
    shape = (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1:])
    result = np.empty(shape, x.dtype)
    for at in np.ndindex(x.shape[:batch]):
        result[at] = np.take(x[at], indices[at], axis - batch)
    return result


def gather_cases() -> Iterator[Case]:
    cube, places = sample("batch", uniform(-2, 2), F64, 2, 3, 4), sample("batch places", integers, I32, 2, 3) % 3
    for axis, batch, indices in ((1, 1, places), (2, 1, places), (2, 2, places), (1, 0, places[0]), (2, -1, places)):
        yield Case("gather", f"batch-{axis}-{batch}", lambda x, i, a=axis, b=batch: gc.gather(x, i, axis=a, batch_dims=b), (cube, indices),
                   lambda x, i, a=axis, b=batch: _batched(x, i, a, 1 if b < 0 else b), known="rank" if batch else "", slopes=2)
    yield Case("gather", "batch-default-axis", lambda x, i: gc.gather(x, i, batch_dims=1), (cube, places),
               lambda x, i: _batched(x, i, 1, 1), known="rank")
    yield Case("gather", "batch-empty", lambda x, i: gc.gather(x, i, batch_dims=1), (cube, places[:, :0]), lambda x, i: x[:, :0],
               known="rank")
    yield Case("batch_gather", "", gc.batch_gather, (cube, places), lambda x, i: _batched(x, i, 1, 1), known="rank", slopes=2)
    yield Case("batch_gather", "vector", gc.batch_gather, (cube[0, 0], _int(3, 0, 3)), lambda x, i: x[i], known="rank")
    tuples = np.stack([places, places[::-1]], -1) % 4
    yield Case("gather_nd", "batch", lambda x, i: gc.gather_nd(x, i, batch_dims=1), (cube, tuples),
               lambda x, i: np.stack([x[b][i[b, :, 0], i[b, :, 1]] for b in range(2)]), known="shape", slopes=2)
    yield Case("gather_nd", "no-axes", gc.gather_nd, (cube, np.zeros((2, 0), np.int32)), lambda x, i: np.stack([x, x]), known="shape",
               slopes=1)
    yield Case("gather_nd", "int64", gc.gather_nd, (cube, _int([1, 2, 3], [0, 0, 0], [1, 2, 4], dtype=np.int64)),
               lambda x, i: np.array([x[1, 2, 3], x[0, 0, 0], 0]), known="shape", slopes=2)
    large, many = sample("table of many", uniform(-1, 1), F32, 40, 33, 7), sample("many", integers, I32, 40, 50) % 33
    yield Case("gather", "batch-large", lambda x, i: gc.gather(x, i, axis=1, batch_dims=1), (large, many),
               lambda x, i: _batched(x, i, 1, 1), known="rank")


# Scatter ---------------------------------------------------------------------------------------------------------------------------------

def _put(start: Array, indices: Array, updates: Array, function: Function) -> Array:
    result = np.array(start)
    for at in np.ndindex(indices.shape[:-1]):
        where = tuple(indices[at])
        if all(0 <= i < n for i, n in zip(where, result.shape, strict=False)):
            result[where] = function(result[where], updates[at])
    return result


def scatter_cases() -> Iterator[Case]:
    changes: dict[str, Function] = {"update": lambda old, new: new, "add": lambda old, new: old + new, "sub": lambda old, new: old - new}
    tuples, rows = _int([1, 2], [0, 0], [1, 2], [3, 9], [3, 4]), _int([[2], [0]], [[2], [7]])
    for dtype in (F64, F32, dtypes.bfloat16, dtypes.int16):
        x = sample(f"scattered {dtype.name}", integers if dtype.is_integer else uniform(-2, 2), dtype, 4, 5)
        few, many = (sample(f"updates {n}{dtype.name}", integers if dtype.is_integer else uniform(-2, 2), dtype, *shape)
                     for n, shape in enumerate(((5,), (2, 2, 5))))
        slopes = 2 * int(dtype is F64)
        for change, function in changes.items():
            for label, indices, updates in (("elements", tuples, few), ("rows", rows, many)):
                for name in (f"tensor_scatter_{change}", f"tensor_scatter_nd_{change}")[:1 if dtype is not F32 else 2]:
                    yield Case(name, f"{label}-{dtype.name}", public(name), (x, indices, updates),
                               lambda x, i, u, f=function: _put(x, i, u, f), dtype=dtype, depth=4, known="shape", slopes=slopes)
        for label, indices, updates in (("elements", tuples, few), ("rows", rows, many)):
            yield Case("scatter_nd", f"{label}-{dtype.name}", lambda i, u: gc.scatter_nd(i, u, [4, 5]), (indices, updates),
                       lambda i, u: _put(np.zeros((4, 5), u.dtype), i, u, lambda old, new: old + new), dtype=dtype, depth=4, known="shape",
                       slopes=slopes)
    yield Case("scatter_nd", "fed-shape", gc.scatter_nd, (_int([1], [4], [1]), np.array([1.0, 2.0, 5.0]), _int(6).reshape(1)),
               lambda i, u, n: np.array([0, 6, 0, 0, 2.0, 0]), dtype=F64, known="shape", slopes=1)
    none = np.zeros((0, 1), np.int64), np.zeros((0, 2), np.float32)
    yield Case("scatter_nd", "nothing", lambda i, u: gc.scatter_nd(i, u, [3, 2]), none, lambda i, u: np.zeros((3, 2)), dtype=F32,
               known="shape")
    flags = np.array([True, False, True])
    yield Case("tensor_scatter_update", "bool", gc.tensor_scatter_update, (flags, _int([0], [1]), np.array([False, True])),
               lambda x, i, u: np.array([False, True, True]), known="shape")
    wide, at = sample("large put", uniform(-1, 1), F32, 1030, 33), sample("large at", integers, I32, 700, 1) % 1030
    yield Case("tensor_scatter_add", "large", gc.tensor_scatter_add, (wide, at, wide[:700]),
               lambda x, i, u: _put(x, i, u, lambda old, new: old + new), depth=8, known="shape")


def variable_cases() -> Iterator[Case]:
    """Rows, slices and elements of variables. Each sample has a variable of its own."""
    start = np.arange(1.0, 13.0, dtype=np.float32).reshape(4, 3)
    rows, updates = _int(2, 0, 2, 7), sample("row updates", uniform(0.5, 2), F32, 4, 3)
    changes: dict[str, Function] = {
        "update": lambda old, new: new, "add": lambda old, new: old + new, "sub": lambda old, new: old - new,
        "mul": lambda old, new: old * new, "div": lambda old, new: old / new, "min": np.minimum, "max": np.maximum}
    for change, function in changes.items():
        name = f"scatter_{change}"
        yield Case(name, "rows", lambda i, u, n=name: public(n)(gc.Variable(start), i, u), (rows, updates),
                   lambda i, u, f=function: _put(start, i[:, None], u, f), dtype=F32, depth=4, known="shape")
        yield Case(name, "one-for-all", lambda i, n=name: public(n)(gc.Variable(start), i, 2.0), (_int([1, 3], [0, 1]),),
                   lambda i, f=function: _put(start, i[..., None], np.full((2, 2, 3), 2.0), f), dtype=F32)
    tuples = _int([3, 1], [0, 2], [3, 1], [4, 0])
    for change in ("update", "add", "sub"):
        name = f"scatter_nd_{change}"
        yield Case(name, "elements", lambda i, u, n=name: public(n)(gc.Variable(start), i, u), (tuples, updates[:, 0]),
                   lambda i, u, f=changes[change]: _put(start, i, u, f), dtype=F32, known="shape")
    batch = _int([0, 2], [1, 1], [2, 0], [0, 1])

    def replaced(i: Array, u: Array) -> Array:
        result = start.copy()
        for b, places in enumerate(i):
            result[b, places] = u[b]
        return result
    yield Case("batch_scatter_update", "", lambda i, u: gc.batch_scatter_update(gc.Variable(start), i, u), (batch, updates[:, :2]),
               replaced, dtype=F32, known="shape")
    slices: dict[str, Any] = {
        "rows": slice(1, 3), "row": 1, "steps": (slice(None, None, -2), 0), "new-axis": (None, slice(2), ..., 1),
        "box": (slice(1, -1), slice(1, None)), "ellipsis": (..., slice(0, 2)), "all": slice(None), "none": slice(2, 2)}
    for label, key in slices.items():
        shape = start[key].shape

        def assigned(u: Array, k: Any = key) -> Array:
            result = start.copy()
            result[k] = u
            return result
        yield Case("strided_slice", f"assign-{label}", lambda u, k=key: gc.Variable(start)[k].assign(u),
                   (sample(label, uniform(-1, 1), F32, *shape),), assigned, dtype=F32)


# Sequences -------------------------------------------------------------------------------------------------------------------------------

def _reversed(x: Array, lengths: Array, seq: int, batch: int) -> Array:
    result = np.array(x)
    for b, n in enumerate(lengths):
        part = np.moveaxis(np.moveaxis(result, batch, 0)[b], seq - (seq > batch), 0)
        part[:n] = part[:n][::-1].copy()
    return result


def sequence_cases() -> Iterator[Case]:
    cube = sample("sequences", uniform(-2, 2), F64, 3, 4, 2)
    for seq, batch, lengths in ((1, 0, _int(1, 4, 0)), (0, 1, _int(3, 2, 1, 0)), (1, 2, _int(2, 4)), (-1, 0, _int(2, 1, 0))):
        yield Case("reverse_sequence", f"{seq}-{batch}", lambda x, n, s=seq, b=batch: gc.reverse_sequence(x, n, s, b), (cube, lengths),
                   lambda x, n, s=seq % 3, b=batch: _reversed(x, n, s, b), slopes=2)
    long = sample("long", uniform(-1, 1), F32, 33, 130), sample("lengths", integers, I64, 33) % 131
    yield Case("reverse_sequence", "old-names", lambda x, n: gc.reverse_sequence(x, n, seq_dim=1, batch_dim=0), long,
               lambda x, n: _reversed(x, n, 1, 0))
    for dtype in (F64, dtypes.int8, dtypes.bool):
        x = sample(f"roll {dtype.name}", uniform(-3, 3), dtype, 4, 5)
        yield Case("roll", f"known-{dtype.name}", lambda x: gc.roll(x, [1, -2], [0, 1]), (x,), lambda x: np.roll(x, (1, -2), (0, 1)),
                   dtype=dtype, slopes=int(dtype is F64))
        yield Case("roll", f"fed-{dtype.name}", lambda x, n: gc.roll(x, n, 1), (x, _int(-7)), lambda x, n: np.roll(x, -7, 1), dtype=dtype,
                   slopes=int(dtype is F64))
    yield Case("roll", "twice-one-axis", lambda x, n: gc.roll(x, n, [0, 0]), (_matrix(), _int(1, 2)), lambda x, n: np.roll(x, 3, 0),
               slopes=1)
    yield Case("roll", "empty", lambda x, n: gc.roll(x, n, 0), (np.zeros((0, 3), np.float32), _int(2)), lambda x, n: x)
    x = _matrix("repeat")
    yield Case("repeat", "all", lambda x: gc.repeat(x, 3, 1), (x,), lambda x: np.repeat(x, 3, 1), slopes=2)
    yield Case("repeat", "each", lambda x: gc.repeat(x, [2, 0, 1, 3], axis=0), (x,), lambda x: np.repeat(x, [2, 0, 1, 3], 0), slopes=2)
    yield Case("repeat", "flat", lambda x: gc.repeat(x, 2), (x,), lambda x: np.repeat(x, 2), slopes=1)
    yield Case("repeat", "never", lambda x: gc.repeat(x, 0, 0), (x,), lambda x: x[:0])
    lengths = _int([1, 3], [0, 5])
    for dtype in (dtypes.bool, F32, I64):
        yield Case("sequence_mask", dtype.name, lambda n, d=dtype: gc.sequence_mask(n, 4, d), (lengths,),
                   lambda n, d=dtype: (np.arange(4) < n[..., None]).astype(d.np_dtype), dtype=dtype)
    one, two, three = (sample(f"mesh {n}", uniform(-1, 1), F64, n) for n in (3, 1, 4))
    for indexing in ("xy", "ij"):
        yield Case("meshgrid", indexing, lambda *v, i=indexing: gc.meshgrid(*v, indexing=i), (one, two, three),
                   lambda *v, i=indexing: np.meshgrid(*v, indexing=i), slopes=1, known="rank")
    yield Case("parallel_stack", "", lambda x, y: gc.parallel_stack([x, y]), (_matrix("p"), _matrix("q")), lambda x, y: np.stack([x, y]),
               slopes=1)
    flat = sample("unravel", integers, I64, 40) % 60
    yield Case("unravel_index", "vector", lambda i: gc.unravel_index(i, _int(3, 4, 5, dtype=np.int64)), (flat,),
               lambda i: np.stack(np.unravel_index(i, (3, 4, 5))), dtype=I64)
    yield Case("unravel_index", "scalar", gc.unravel_index, (_int(7), _int(3, 4)), lambda i, n: np.array([1, 3]), dtype=I32)


# Embeddings ------------------------------------------------------------------------------------------------------------------------------

def embedding_cases() -> Iterator[Case]:
    tables = [sample(f"table {n}", uniform(-1, 1), F64, n, 3) for n in (3, 2, 2)]
    ids = _int([0, 6, 3], [1, 1, 5])
    by_remainder = [(number % 3, number // 3) for number in range(7)]
    for strategy in ("mod", "div"):
        def rows(*given: Array, s: str = strategy) -> Array:
            *parts, i = given
            whole = np.concatenate(parts) if s == "div" else np.stack([parts[part][row] for part, row in by_remainder])
            return whole[i]
        yield Case("nn.embedding_lookup", strategy,
                   lambda *given, s=strategy: gc.nn.embedding_lookup(list(given[:-1]), given[-1], partition_strategy=s), (*tables, ids),
                   rows, slopes=2, known="rank")

    def shortened(x: Array, i: Array) -> Array:
        found = x[i]
        length = np.sqrt(np.sum(found * found, -1, keepdims=True))
        return found * np.minimum(1, 0.5 / length)
    yield Case("nn.embedding_lookup", "max-norm", lambda x, i: gc.nn.embedding_lookup(x, i, max_norm=0.5), (tables[0], _int(0, 2, 0)),
               shortened, slopes=1, known="rank", dtype=F64)
    large, many = sample("embedding", uniform(-1, 1), F32, 1030, 40), sample("ids", integers, I64, 7, 130) % 1030
    yield Case("nn.embedding_lookup", name_of(F32, large.shape), gc.nn.embedding_lookup, (large, many), lambda x, i: x[i])


def families() -> dict[str, Sequence[Case]]:
    return {"slices": list(slice_cases()), "bounded": list(bounded_cases()), "gathers": list(gather_cases()),
            "scatters": list(scatter_cases()), "rows-of-variables": list(variable_cases()), "sequences": list(sequence_cases()),
            "embeddings": list(embedding_cases())}
