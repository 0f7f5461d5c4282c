"""The table of operations, continued: orders, rearranging, and the steps of a radix sort. See `tests/op_table.py`."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node, make
from graphc.core.types import TensorType
from graphc.primitives.sorting import RADIX_COUNT, RADIX_PLACE, RadixAttrs
from tests.op_table import Array, Case, apart, by, integers, specials, t, uniform

F64, F32, I32 = dtypes.float64, dtypes.float32, dtypes.int32
# Ranked rows, then rows of one chunk.
SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((7,), 0), ((1,), 0), ((0,), 0), ((3, 0), 1), ((0, 3), 1), ((4, 31), 1), ((31, 4), 0), ((2, 5, 3), 1), ((2, 130), 1))


def _order(axis: int, descending: bool) -> Callable[[Array], Array]:
    """By Python's stable sort of (is it NaN, value): one row at a time."""
    def key(value: Any) -> Any:
        return (value != value, 0 if value != value else value)

    def expected(x: Array) -> Array:
        rows = np.moveaxis(x, axis, -1)
        found = np.empty(rows.shape, np.int32)
        for place in np.ndindex(rows.shape[:-1]):
            values = rows[place].tolist()
            found[place] = sorted(range(len(values)), key=lambda n: key(values[n]), reverse=descending)  # keeps equal ones as they stand
        return np.moveaxis(found, -1, axis)
    return expected


def _few(rng: np.random.Generator, type_: TensorType) -> Array:
    """Numbers of which many are equal, -0 and NaN among them."""
    return rng.choice([0.0, -0.0, 1.5, -1.5, 2.0, np.nan, np.inf, -np.inf, 1e-40, -3e38], type_.dims).astype(type_.dtype.np_dtype)


def argsort_cases() -> Iterator[Case]:
    def case(dtype: DType, shape: tuple[int, ...], axis: int, descending: bool, sampler: Any, tag: str = "") -> Case:
        label = f"argsort-{dtype.code}-{'x'.join(map(str, shape))}-{axis}{'-descending' * descending}{tag}"
        return Case(label, "argsort", lambda x: p.argsort(x, axis, descending), (t(dtype, *shape),), _order(axis, descending), by(sampler))

    for shape, axis in SHAPES:
        for descending in (False, True):
            yield case(F32, shape, axis, descending, apart)
            yield case(F32, shape, axis, descending, _few, "-few")
    yield case(F32, (300, 2), 0, True, _few, "-few")
    yield case(F32, (2048,), 0, True, apart)  # several chunks
    yield case(F32, (2, 1100), 1, False, _few, "-few")  # of which the last is shorter
    for dtype in dtypes.ALL:
        sampler = specials if dtype.is_floating else uniform(0, 1) if dtype.is_bool else integers
        for shape, axis in (((5, 61), 1), ((1, 140), 1)):
            yield case(dtype, shape, axis, False, sampler, "-special")
        yield case(dtype, (2, 131), 1, True, sampler, "-special")


def _orders(rng: np.random.Generator, size: int, count: int, type_: TensorType) -> Array:
    """`count` distinct positions below `size` in each row along the last axis."""
    rows = np.stack([rng.permutation(size)[:count] for _ in range(int(np.prod(type_.dims[:-1])))])
    return rows.reshape(type_.dims).astype(type_.dtype.np_dtype)


def _along(axis: int) -> Callable[[Array, Array], Array]:
    def expected(x: Array, order: Array) -> Array:
        safe = np.take_along_axis(x, np.clip(order, 0, x.shape[axis] - 1), axis)
        return np.where((order >= 0) & (order < x.shape[axis]), safe, np.zeros_like(safe))
    return expected


def rearrange_cases() -> Iterator[Case]:
    def inputs(size: int, count: int, out: bool = False) -> Any:
        def make_inputs(rng: np.random.Generator, types: Sequence[TensorType]) -> list[Array]:
            order = _orders(rng, size, count, types[1])
            if out:
                order[..., 0], order[..., -1] = -1, size
            return [uniform(-2, 2)(rng, types[0]), order]
        return make_inputs

    for dtype in (F64, F32, dtypes.bfloat16, dtypes.int8, dtypes.bool):
        for size, count, whole in ((7, 7, True), (7, 3, False), (40, 40, True)):
            yield Case(f"rearrange-{dtype.code}-{size}-{count}", "rearrange", lambda x, order, w=whole: p.rearrange(x, order, 1, w),
                       (t(dtype, 3, size), t(I32, 3, count)), _along(1), inputs(size, count), smooth=dtype is F64 and size < 20)
    yield Case("rearrange-out", "rearrange", lambda x, order: p.rearrange(x, order, 1), (t(F64, 3, 8), t(dtypes.int64, 3, 5)), _along(1),
               inputs(8, 5, out=True), smooth=True)
    yield Case("rearrange-axis", "rearrange", lambda x, order: p.rearrange(p.transpose(x, (1, 0)), p.transpose(order, (1, 0)), 0),
               (t(F64, 3, 6), t(I32, 3, 4)), lambda x, order: np.take_along_axis(x, order, 1).T, inputs(6, 4), smooth=True)
    for descending in (False, True):
        yield Case(f"sort{'-descending' * descending}", "rearrange", lambda x, y, d=descending: p.multiply(*p.sort([x, y], 1, d)),
                   (t(F64, 4, 9),) * 2, lambda x, y, d=descending: _sorted_product(x, y, d), by(apart, uniform(-1, 1)), smooth=True)
    yield Case("sort-axis-0", "rearrange", lambda x: p.sort([x], 0)[0], (t(F64, 9, 2),), lambda x: np.sort(x, 0), by(apart), smooth=True)


def _sorted_product(x: Array, y: Array, descending: bool) -> Array:
    order = np.argsort(-x if descending else x, 1)
    return np.asarray(np.take_along_axis(x, order, 1) * np.take_along_axis(y, order, 1))


def inverse_cases() -> Iterator[Case]:
    def inverted(size: int) -> Callable[[Array], Array]:
        def expected(order: Array) -> Array:
            hits = order[..., None, :] == np.arange(size)[:, None]
            return np.where(hits.any(-1), hits.argmax(-1), -1).astype(order.dtype)
        return expected

    for dtype in (I32, dtypes.int64):
        for rows, size in (((3,), 7), ((2, 2), 9), ((), 200), ((2,), 1)):
            yield Case(f"invert_permutation-{dtype.code}-{len(rows)}-{size}", "invert_permutation", p.invert_permutation,
                       (t(dtype, *rows, size),), inverted(size), lambda rng, types, n=size: [_orders(rng, n, n, types[0])])
        for size, count in ((9, 4), (9, 9), (5, 1)):
            yield Case(f"inverse_order-{dtype.code}-{size}-{count}", "inverse_order", lambda order, n=size: p.inverse_order(order, n, 1),
                       (t(dtype, 3, count),), inverted(size), lambda rng, types, n=size, c=count: [_orders(rng, n, c, types[0])])
    yield Case("invert_permutation-axis", "invert_permutation", _inverted_columns, (t(I32, 3, 5),), inverted(5),
               lambda rng, types: [_orders(rng, 5, 5, types[0])])


def _inverted_columns(order: Node) -> Node:
    return p.transpose(p.invert_permutation(p.transpose(order, (1, 0)), 0), (1, 0))


def radix_cases() -> Iterator[Case]:
    """Counts are compared with numpy's, one chunk at a time; places with a stable sort of the digits alone."""
    for dtype in (dtypes.uint32, dtypes.uint64):
        for shape, attrs in (((2, 9), RadixAttrs(0, 3, 4)), ((1, 300), RadixAttrs(5, 8, 100)), ((3, 70), RadixAttrs(8, 8, 128))):
            def counted(keys: Array, a: RadixAttrs = attrs) -> Array:
                digits = np.array([[int(key) >> a.shift & (1 << a.bits) - 1 for key in row] for row in keys])
                parts = [digits[:, at:at + a.chunk] for at in range(0, keys.shape[1], a.chunk)]
                return np.array([[np.bincount(part[row], minlength=1 << a.bits) for part in parts] for row in range(len(keys))],
                                np.int32).transpose(0, 2, 1)

            def placed(keys: Array, carried: Array, a: RadixAttrs = attrs) -> Array:
                rows = [sorted(range(keys.shape[1]), key=lambda n, row=row: int(row[n]) >> a.shift & (1 << a.bits) - 1) for row in keys]
                return np.take_along_axis(carried, np.array(rows), 1)

            label = f"{dtype.code}-{'x'.join(map(str, shape))}"
            yield Case(f"radix_count-{label}", "radix_count", lambda keys, a=attrs: make(RADIX_COUNT, (keys,), a), (t(dtype, *shape),),
                       counted, by(integers))
            yield Case(f"radix_place-{label}", "radix_place", lambda keys, carried, a=attrs: _placed(keys, carried, a),
                       (t(dtype, *shape), t(F32, *shape)), placed, by(integers, uniform(-1, 1)))


def _placed(keys: Node, carried: Node, attrs: RadixAttrs) -> Node:
    counts = make(RADIX_COUNT, (keys,), attrs)
    rows, digits, chunks = counts.dims
    starts = p.reshape(p.cumulative_sum(p.reshape(counts, (rows, digits * chunks)), 1, exclusive=True), counts.dims)
    return p.get_tuple_element(make(RADIX_PLACE, (keys, starts, carried), attrs), 1)


CASES: list[Case] = [*argsort_cases(), *rearrange_cases(), *inverse_cases(), *radix_cases()]
