"""The table of operations, second part: the primitives that move, reduce, contract and make arrays. See `tests/op_table.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from tests.op_table import Array, Case, apart, by, integers, t, uniform

F64, F32 = dtypes.float64, dtypes.float32
_ANY = by(uniform(-2, 2))


def _moves(name: str, build: Callable[..., Node], expected: Callable[..., Any], *shapes: Sequence[int], tag: str = "") -> Iterator[Case]:
    """The same movement on three element types; finite differences on float64."""
    for dtype in (F64, F32, dtypes.bfloat16, dtypes.int8, dtypes.bool):
        types = tuple(t(dtype, *shape) for shape in shapes)
        label = "-".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
        yield Case(
            f"{name}-{label}{tag}-{dtype.code}",
            name,
            build,
            types,
            expected,
            _ANY,
            smooth=dtype is F64 and name != "stop_gradient" and sum(x.size for x in types) < 150,
        )


def movement_cases() -> Iterator[Case]:
    for old, new in (
        ((6, 4), (24,)),
        ((24,), (2, 3, 4)),
        ((2, 3, 4), (4, 3, 2)),
        ((1, 5, 1), (5,)),
        ((), (1, 1)),
        ((0, 3), (3, 0, 2)),
        ((6, 10), (4, 15)),
        ((33, 31), (31, 33)),
    ):
        yield from _moves("reshape", lambda x, s=new: p.reshape(x, s), lambda x, s=new: x.reshape(s), old)
    for old, new, dims in (
        ((), (3, 5), ()),
        ((5,), (3, 5), (1,)),
        ((3,), (3, 5), (0,)),
        ((1, 5), (3, 5), (0, 1)),
        ((2, 1, 3), (2, 4, 5, 3), (0, 1, 3)),
        ((0,), (0, 4), (0,)),
        ((4,), (0, 4), (1,)),
        ((1,), (1, 1), (1,)),
        ((33,), (31, 33), (1,)),
    ):
        aligned = [1] * len(new)
        for axis, size in zip(dims, old, strict=True):
            aligned[axis] = size
        yield from _moves(
            "broadcast_in_dim",
            lambda x, s=new, d=dims: p.broadcast_in_dim(x, s, d),
            lambda x, s=new, a=tuple(aligned): x.reshape(a) * np.ones(s, x.dtype),
            old,
            tag=f"-to-{'x'.join(map(str, new))}-{dims}",
        )
    for shape, order in (
        ((3, 5), (1, 0)),
        ((2, 3, 4), (2, 0, 1)),
        ((2, 3, 4), (0, 2, 1)),
        ((1, 7), (1, 0)),
        ((0, 3), (1, 0)),
        ((33, 17), (1, 0)),
        ((2, 3, 4, 5), (3, 1, 0, 2)),
    ):
        yield from _moves(
            "transpose", lambda x, o=order: p.transpose(x, o), lambda x, o=order: np.moveaxis(x, o, range(len(o))), shape, tag=f"-{order}"
        )
    for shape, start, limit, strides in (
        ((9,), (2,), (8,), (1,)),
        ((9,), (1,), (9,), (3,)),
        ((4, 9), (1, 0), (3, 9), (1, 4)),
        ((4, 9), (2, 3), (2, 9), (1, 1)),
        ((1030,), (5,), (1029,), (2,)),
        ((2, 3, 5), (0, 1, 1), (2, 2, 5), (1, 1, 2)),
    ):
        where = tuple(map(slice, start, limit, strides))
        yield from _moves(
            "slice",
            lambda x, a=start, b=limit, c=strides: p.slice_(x, a, b, c),
            lambda x, w=where: x[w],
            shape,
            tag=f"-{start}-{limit}-{strides}",
        )
    for axes in ((0,), (1,), (0, 2), (0, 1, 2)):
        yield from _moves(
            "reverse",
            lambda x, a=axes: p.reverse(x, a),
            lambda x, a=axes: x[tuple(slice(None, None, -1) if i in a else slice(None) for i in range(3))],
            (3, 4, 5),
            tag=f"-{axes}",
        )
    for shape in ((0,), (5, 7)):
        yield from _moves("stop_gradient", p.stop_gradient, lambda x: x, shape)
        yield from _moves("copy", lambda x: p.copy(x, 1), lambda x: x, shape)
        yield from _moves("transfer", lambda x: p.transfer(x, "CPU:0", "GPU:0"), lambda x: x, shape)
    yield from _moves(
        "concatenate", lambda *xs: p.concatenate(xs, 0), lambda *xs: np.vstack([x[:, None] for x in xs])[:, 0], (3,), (1,), (5,)
    )
    yield from _moves("concatenate", lambda *xs: p.concatenate(xs, 1), lambda *xs: np.hstack(xs), (2, 3), (2, 0), (2, 4))
    yield from _moves("concatenate", lambda *xs: p.concatenate(xs, 1), lambda *xs: np.hstack(xs), (2, 0, 3), (2, 5, 3))
    yield from pad_cases()


def _padded(x: Array, value: Array, low: Sequence[int], high: Sequence[int], interior: Sequence[int]) -> Array:
    """Element by element: where each element of the operand lands."""
    sizes = [(n - 1) * (i + 1) + 1 if n else 0 for n, i in zip(x.shape, interior, strict=True)]
    shape = [a + n + b for a, n, b in zip(low, sizes, high, strict=True)]
    result = np.full(shape, value, x.dtype)
    for index in np.ndindex(x.shape):
        place = tuple(k * (i + 1) + a for k, i, a in zip(index, interior, low, strict=True))
        if all(0 <= k < n for k, n in zip(place, shape, strict=True)):
            result[place] = x[index]
    return result


def pad_cases() -> Iterator[Case]:
    for shape, low, high, interior in (
        ((5,), (2,), (3,), (0,)),
        ((5,), (0,), (1,), (2,)),
        ((3, 4), (1, -1), (0, -2), (0, 0)),
        ((3, 4), (-1, 2), (2, -1), (1, 2)),
        ((0, 2), (1, 0), (2, 1), (0, 0)),
        ((), (), (), ()),
        ((7,), (-8,), (3,), (0,)),
        ((40, 33), (1, 0), (0, 5), (0, 0)),
    ):
        if shape:
            yield from _moves(
                "pad",
                lambda x, v, a=low, b=high, c=interior: p.pad(x, v, a, b, c),
                lambda x, v, a=low, b=high, c=interior: _padded(x, v, a, b, c),
                shape,
                (),
                tag=f"-{low}-{high}-{interior}",
            )


# Reductions -----------------------------------------------------------------------------------------------------------------------------

_REDUCED = (
    ((), ()),
    ((7,), (0,)),
    ((3, 5), (0,)),
    ((3, 5), (1,)),
    ((3, 5), (0, 1)),
    ((2, 3, 4), (1,)),
    ((2, 3, 4), (0, 2)),
    ((0, 3), (0,)),
    ((0, 3), (1,)),
    ((1, 1), (0, 1)),
    ((33, 70), (1,)),
    ((70, 33), (0,)),
    ((4, 5, 6, 7), (1, 3)),
)
_REDUCTIONS = {
    "reduce_sum": (p.reduce_sum, np.add, 0),
    "reduce_prod": (p.reduce_prod, np.multiply, 1),
    "reduce_max": (p.reduce_max, np.maximum, None),
    "reduce_min": (p.reduce_min, np.minimum, None),
}


def _initial(name: str, dtype: DType) -> Any:
    if dtype.is_floating:
        return -np.inf if name == "reduce_max" else np.inf
    return dtype.min if name == "reduce_max" else dtype.max


def reduction_cases() -> Iterator[Case]:
    for name, (build, ufunc, identity) in _REDUCTIONS.items():
        for dtype in (F64, F32, dtypes.float16, dtypes.bfloat16, dtypes.int8, dtypes.int64, dtypes.uint32, dtypes.bool):
            if dtype.is_bool and identity is not None:
                continue
            for shape, axes in _REDUCED if dtype is F32 else _REDUCED[1:8]:
                if not axes:
                    continue
                start = _initial(name, dtype) if identity is None else identity
                sampler = (apart if identity is None else uniform(0.5, 1.5)) if dtype.is_floating else uniform(0, 1)
                depth = math.prod(shape[a] for a in axes)

                def expected(x: Array, u: Any = ufunc, a: tuple[int, ...] = axes, s: Any = start, d: DType = dtype) -> Array:
                    with np.errstate(over="ignore"):
                        return u.reduce(x, axis=a, initial=s, **({} if d.is_floating or d.is_bool else {"dtype": d.np_dtype}))

                yield Case(
                    f"{name}-{'x'.join(map(str, shape))}-{axes}-{dtype.code}",
                    name,
                    lambda x, b=build, a=axes: b(x, a),
                    (t(dtype, *shape),),
                    expected,
                    by(sampler),
                    depth=depth,
                    smooth=dtype is F64,
                )
    yield from nan_reductions()
    yield from position_cases()


def _holes(rng: np.random.Generator, type_: TensorType) -> Array:
    x = rng.standard_normal(type_.dims)
    x[rng.random(type_.dims) < 0.05] = np.nan
    x[rng.random(type_.dims) < 0.05] = np.inf
    x[rng.random(type_.dims) < 0.05] = -np.inf
    return x.astype(type_.dtype.np_dtype)


def nan_reductions() -> Iterator[Case]:
    for name, (build, ufunc, _) in _REDUCTIONS.items():
        for axes in ((0,), (1,)):
            yield Case(
                f"{name}-holes-{axes}",
                name,
                lambda x, b=build, a=axes: b(x, a),
                (t(F32, 37, 21),),
                lambda x, u=ufunc, a=axes: u.reduce(x, axis=a),
                by(_holes),
                depth=1000,
            )


def _first(x: Array, axis: int, better: Callable[[Any, Any], bool]) -> Array:
    """The position by a plain walk: the first NaN, else the first of the best."""
    rows = np.moveaxis(x, axis, -1)
    result = np.zeros(rows.shape[:-1], np.int64)
    for index in np.ndindex(result.shape):
        row, best = rows[index], 0
        for k in range(1, len(row)):
            if row[best] == row[best] and (row[k] != row[k] or better(row[k], row[best])):
                best = k
        result[index] = best
    return result


def position_cases() -> Iterator[Case]:
    for name, build, better in (("argmax", p.argmax, lambda a, b: a > b), ("argmin", p.argmin, lambda a, b: a < b)):
        for dtype, sampler in (
            (F32, _holes),
            (F64, uniform(-2, 2)),
            (dtypes.bfloat16, uniform(-2, 2)),
            (dtypes.int8, integers),
            (dtypes.bool, uniform(0, 1)),
        ):
            for shape, axis, out in (
                ((5,), 0, dtypes.int64),
                ((4, 37), 1, dtypes.int64),
                ((37, 4), 0, dtypes.int32),
                ((3, 1, 5), 1, dtypes.int64),
                ((2, 5, 3), 1, dtypes.int32),
                ((0, 4), 1, dtypes.int64),
            ):
                yield Case(
                    f"{name}-{'x'.join(map(str, shape))}-{axis}-{dtype.code}",
                    name,
                    lambda x, b=build, a=axis, o=out: b(x, a, o),
                    (t(dtype, *shape),),
                    lambda x, a=axis, f=better, o=out: _first(x, a, f).astype(o.np_dtype),
                    by(sampler),
                )


# Products -------------------------------------------------------------------------------------------------------------------------------

_PRODUCTS = (  # shapes, then einsum's words for them
    ((4, 5), (5, 3), "ij,jk->ik"),
    ((4, 5), (3, 5), "ij,kj->ik"),
    ((5, 4), (5, 3), "ji,jk->ik"),
    ((2, 4, 5), (2, 5, 3), "bij,bjk->bik"),
    ((5,), (5,), "i,i->"),
    ((3,), (4,), "i,j->ij"),
    ((), (4,), ",j->j"),
    ((2, 3, 4, 5), (5, 3, 2, 6), "abcd,dbae->ace"),
    ((0, 5), (5, 3), "ij,jk->ik"),
    ((4, 0), (0, 3), "ij,jk->ik"),
    ((1, 1), (1, 1), "ij,jk->ik"),
    ((37, 65), (65, 19), "ij,jk->ik"),
    ((3, 4, 5), (4, 5, 2), "aij,ijk->ak"),
    ((2, 3, 4), (3, 2, 5), "abi,baj->abij"),
    ((70, 33), (70, 41), "ji,jk->ik"),
    ((130, 300), (300, 70), "ij,jk->ik"),
)


def _axes(words: str) -> tuple[list[int], list[int], list[int], list[int]]:
    (x, y), out = words.split("->")[0].split(","), words.split("->")[1]
    both = [c for c in x if c in y]
    batch, contracted = [c for c in both if c in out], [c for c in both if c not in out]
    return [x.index(c) for c in batch], [y.index(c) for c in batch], [x.index(c) for c in contracted], [y.index(c) for c in contracted]


def product_cases() -> Iterator[Case]:
    for left, right, words in _PRODUCTS:
        axes = _axes(words)
        depth = math.prod(left[a] for a in axes[2])
        for dtype in (F64, F32, dtypes.float16, dtypes.bfloat16, dtypes.int32, dtypes.uint8):
            if not dtype.is_floating and max(left, default=0) > 64:
                continue

            def expected(x: Array, y: Array, w: str = words) -> Array:
                return np.einsum(w, x, y)

            yield Case(
                f"dot_general-{words}-{'x'.join(map(str, left))}-{dtype.code}",
                "dot_general",
                lambda x, y, a=axes: p.dot_general(x, y, *a),
                (t(dtype, *left), t(dtype, *right)),
                expected,
                _ANY,
                depth=depth,
                scale=4.0,
                smooth=dtype is F64 and max(left, default=0) < 33,
            )


# Made from nothing, and state -----------------------------------------------------------------------------------------------------------


def _words(size: int, run: int, key: tuple[int, int]) -> Array:
    """Philox4x32-10 in Python integers, word by word."""
    mask, words = 0xFFFFFFFF, []
    for block in range(-(-size // 4)):
        c, k = [block & mask, block >> 32, run & mask, run >> 32], list(key)
        for _ in range(10):
            high0, low0 = divmod(c[0] * 0xD2511F53, 2**32)
            high1, low1 = divmod(c[2] * 0xCD9E8D57, 2**32)
            c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        words += c
    return np.array(words[:size], np.uint32)


def source_cases() -> Iterator[Case]:
    for shape, axis in (((5,), 0), ((3, 4), 0), ((3, 4), 1), ((0, 2), 1), ((2, 3, 35), 2), ((300,), 0)):
        for dtype in (F32, dtypes.float16, dtypes.int64, dtypes.uint8, dtypes.int32):
            if dtype is dtypes.uint8 and shape == (300,):
                continue
            yield Case(
                f"iota-{'x'.join(map(str, shape))}-{axis}-{dtype.code}",
                "iota",
                lambda s=shape, a=axis, d=dtype: p.iota(s, a, d),
                (),
                lambda s=shape, a=axis, d=dtype: np.indices(s)[a].astype(float if d.is_floating else d.np_dtype),
                _ANY,
            )
    for shape in ((), (1,), (4,), (7,), (3, 5), (0,), (1030,)):
        yield Case(
            f"random_bits-{'x'.join(map(str, shape))}",
            "random_bits",
            lambda c, s=shape: p.random_bits(c, (0xDEADBEEF, 7), s),
            (t(dtypes.uint64),),
            lambda c, s=shape: _words(math.prod(s), int(c), (0xDEADBEEF, 7)).reshape(s),
            lambda rng, types: [np.array(0x1_2345_6789_ABCD, np.uint64)],
        )
    for dtype in (F32, dtypes.bfloat16, dtypes.int8, dtypes.bool):
        value = np.array([[1, 0, 2], [3, 0, 1]], dtype.np_dtype)
        yield Case(
            f"constant-{dtype.code}",
            "constant",
            lambda v=value: p.constant(v),
            (),
            lambda v=value, d=dtype: v.astype(float) if d.is_floating else v,
            _ANY,
        )
    yield Case("parameter", "parameter", lambda x: x, (t(F32, 5),), lambda x: x, _ANY)
    body_x, body_y = p.parameter("a", t(F32, 9)), p.parameter("b", t(F32, 9))
    one = Program((body_x, body_y), (p.tanh(p.add(body_x, body_y)),))
    two = Program((body_x, body_y), (p.add(body_x, body_y), p.multiply(body_x, body_y)))
    yield Case("fusion", "fusion", lambda x, y: p.fusion("loop", one, (x, y)), (t(F32, 9),) * 2, lambda x, y: np.tanh(x + y), _ANY)
    yield Case(
        "get_tuple_element",
        "get_tuple_element",
        lambda x, y: p.get_tuple_element(p.fusion("loop", two, (x, y)), 1),
        (t(F32, 9),) * 2,
        np.multiply,
        _ANY,
    )


CASES: list[Case] = [*movement_cases(), *reduction_cases(), *product_cases(), *source_cases()]
