"""The table of operations: rows chosen by data, and boxes whose place is data. See `tests/op_table.py`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.types import TensorType
from tests.op_table import Array, Case, apart, by, integers, t, uniform

F64, F32, I32 = dtypes.float64, dtypes.float32, dtypes.int32
Sampler = Callable[[np.random.Generator, TensorType], Array]


def _indices(high: int) -> Sampler:
    """Positions around [0, high), some of them outside; floats as usual."""

    def sample(rng: np.random.Generator, type_: TensorType) -> Array:
        if not type_.dtype.is_integer:
            return uniform(-2, 2)(rng, type_)
        return rng.integers(0 if type_.dtype.is_unsigned else -1, high + 1, type_.dims).astype(type_.dtype.np_dtype)

    return sample


def _gathered(x: Array, indices: Array, axis: int) -> Array:
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(indices.shape):
        row = int(indices[place])
        if 0 <= row < x.shape[axis]:
            result[(*[slice(None)] * axis, *place)] = x[(*[slice(None)] * axis, row)]
    return result


COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "multiply": operator.mul,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "assign": lambda old, new: new,
}


def _scattered(x: Array, indices: Array, updates: Array, axis: int, combine: str) -> Array:
    result = x.copy()
    for place in np.ndindex(indices.shape):
        row = int(indices[place])
        if 0 <= row < x.shape[axis]:
            at = (*[slice(None)] * axis, row)
            result[at] = COMBINE[combine](result[at], updates[(*[slice(None)] * axis, *place)])
    return result


SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...] = (  # of operand 0, of the indices; the axis
    ((5, 3), (4,), 0),
    ((5, 3), (2, 4), 0),
    ((5, 3), (), 1),
    ((2, 6, 3), (5,), 1),
    ((7,), (0,), 0),
    ((2, 5), (3, 2), 1),
    ((0, 3), (2,), 0),
    ((50, 33), (71,), 0),
)
KINDS = ((F64, dtypes.int32), (F32, dtypes.int64), (dtypes.bfloat16, dtypes.int32), (dtypes.int16, dtypes.uint8))


def rows_cases() -> Iterator[Case]:
    for shape, where, axis in SHAPES:
        out = (*shape[:axis], *where, *shape[axis + 1 :])
        for dtype, of_index in KINDS:
            label = f"{'x'.join(map(str, shape))}-{'x'.join(map(str, where))}-{axis}-{dtype.code}"
            index, rows = t(of_index, *where), _indices(shape[axis])
            values = rows if dtype.is_floating else integers
            smooth = dtype is F64 and len(shape) * 9 > shape[0]
            yield Case(
                f"gather-{label}",
                "gather",
                lambda x, i, a=axis: p.gather(x, i, a),
                (t(dtype, *shape), index),
                lambda x, i, a=axis: _gathered(x, i, a),
                by(values, rows),
                smooth=smooth,
            )
            for combine in COMBINE:
                values = apart if combine in ("minimum", "maximum") and dtype.is_floating else values
                yield Case(
                    f"scatter-{combine}-{label}",
                    "scatter",
                    lambda x, i, u, a=axis, c=combine: p.scatter(x, i, u, a, c),
                    (t(dtype, *shape), index, t(dtype, *out)),
                    lambda x, i, u, a=axis, c=combine: _scattered(x, i, u, a, c),
                    by(values, rows, values),
                    depth=8,
                    smooth=smooth,
                )


def odd_cases() -> Iterator[Case]:
    """Bools, what is fused into a scatter, and rows of many and of one element."""
    flags, places = by(uniform(-1, 1), _indices(5), uniform(-1, 1)), t(I32, 4)
    for combine, function in {"minimum": np.logical_and, "maximum": np.logical_or, "assign": lambda old, new: new}.items():
        yield Case(
            f"scatter-{combine}-bool",
            "scatter",
            lambda x, i, u, c=combine: p.scatter(x, i, u, 0, c),
            (t(dtypes.bool, 5, 3), places, t(dtypes.bool, 4, 3)),
            lambda x, i, u, c=combine, f=function: _by_rows(x, i, u, f),
            flags,
        )
    for rows, columns, count in ((300, 1, 1030), (40, 130, 70)):
        values = by(uniform(-1, 1), _indices(rows), uniform(-1, 1))
        for combine in COMBINE:
            yield Case(
                f"scatter-{combine}-{rows}x{columns}-{count}",
                "scatter",
                lambda x, i, u, c=combine: p.scatter(x, i, u, 0, c),
                (t(F32, rows, columns), t(I32, count), t(F32, count, columns)),
                lambda x, i, u, c=combine: _scattered(x, i, u, 0, c),
                values,
                depth=16,
            )
        yield Case(
            f"scatter-fused-{rows}x{columns}-{count}",
            "scatter",
            lambda x, i, u: p.scatter(p.tanh(x), p.add(i, p.full(1, i.type)), p.multiply(p.exponential(u), u), 0, "add"),
            (t(F64, rows, columns), t(I32, count), t(F64, count, columns)),
            lambda x, i, u: _scattered(np.tanh(x), i + 1, np.exp(u) * u, 0, "add"),
            values,
            depth=16,
        )


def _by_rows(x: Array, indices: Array, updates: Array, function: Callable[[Any, Any], Any]) -> Array:
    result = x.copy()
    for row, update in zip(indices, updates, strict=True):
        if 0 <= row < len(x):
            result[row] = function(result[row], update)
    return result


# Boxes -----------------------------------------------------------------------------------------------------------------------------------


def _box(x: Array, starts: tuple[Array, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    first = [np.clip(int(start), 0, whole - size) for start, whole, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(first, sizes, strict=True))


def _updated(x: Array, u: Array, *starts: Array) -> Array:
    result = np.array(x)
    result[_box(x, starts, u.shape)] = u
    return result


BOXES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((7,), (3,)), ((5, 4), (2, 4)), ((5, 6, 3), (1, 4, 2)), ((4, 3), (0, 3)), ((33, 40), (33, 17)), ((2, 3), (2, 3)), ((), ()))  # fmt: skip


def box_cases() -> Iterator[Case]:
    for shape, sizes in BOXES:
        for dtype, of_start in ((F64, I32), (dtypes.bfloat16, dtypes.int64), (dtypes.bool, dtypes.uint8)):
            starts = (t(of_start),) * len(shape)
            label = f"{'x'.join(map(str, shape))}-{'x'.join(map(str, sizes))}-{dtype.code}"
            places = [_indices(dim + 1) for dim in shape]
            values = uniform(-2, 2)
            smooth = dtype is F64 and len(shape) * 9 > (shape or (0,))[0]
            yield Case(
                f"dynamic_slice-{label}",
                "dynamic_slice",
                lambda x, *at, s=sizes: p.dynamic_slice(x, at, s),
                (t(dtype, *shape), *starts),
                lambda x, *at, s=sizes: x[_box(x, at, s)],
                by(values, *places),
                smooth=smooth,
            )
            yield Case(
                f"dynamic_update_slice-{label}",
                "dynamic_update_slice",
                lambda x, u, *at: p.dynamic_update_slice(x, u, at),
                (t(dtype, *shape), t(dtype, *sizes), *starts),
                _updated,
                by(values, values, *places),
                smooth=smooth,
            )


CASES: list[Case] = [*rows_cases(), *odd_cases(), *box_cases()]
