"""The forms of the GPU schedule as CUDA text on the host: every family with odd sizes, against numpy, in three orders of threads.

The table of operations has small shapes; here are the ones at which a family changes its form: long rows, few rows, tails, wide parts.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc.primitives as p
from graphc.codegen import ir
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from graphc.core import dtypes
from graphc.core.program import Node
from tests.cuda_host import host
from tests.groups import columns, gelu, layer_norm, softmax, t
from tests.kernels import group, run_node
from tests.tolerances import assert_close

GPU = gpu_for("sm_90")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Form:
    """A node over its parameters, and what it gives: float64 arrays -> array. low, high: of whole numbers, else floats are normal."""

    id: str
    node: Node
    expected: Callable[..., Any]
    depth: int = 1
    scale: float = 1.0
    whole: tuple[int, int] | None = None

    def arrays(self) -> list[Array]:
        rng = np.random.default_rng(len(self.id))
        return [self._values(rng, operand) for operand in dict.fromkeys(self.node.operands)]

    def _values(self, rng: np.random.Generator, operand: Node) -> Array:
        if self.whole is None and operand.dtype.is_floating:
            return rng.normal(size=operand.dims).astype(operand.dtype.np_dtype)
        low, high = self.whole or (0, 5)
        return rng.integers(low, high, operand.dims).astype(operand.dtype.np_dtype)


def x(*shape: int, dtype: dtypes.DType = dtypes.float32, name: str = "x") -> Node:
    return p.parameter(name, t(*shape, dtype=dtype))


def _softmax(rows: int, length: int, dtype: dtypes.DType = dtypes.float32) -> Form:
    a = x(rows, length, dtype=dtype)
    return Form(f"softmax-{rows}x{length}-{dtype.code}", group("row", softmax(a), (a,)), lambda v: special.softmax(v, 1), length, 0.01)


def _norm(rows: int, length: int) -> Form:
    a, gain, bias = x(rows, length), x(length, name="g"), x(length, name="b")

    def expected(v: Array, g: Array, b: Array) -> Array:
        centred = v - v.mean(1, keepdims=True)
        return np.asarray(centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * g + b)
    return Form(f"norm-{rows}x{length}", group("row", layer_norm(a, gain, bias)[:1], (a, gain, bias)), expected, length, 10.0)


def _bias(rows: int, length: int, dtype: dtypes.DType = dtypes.float32) -> Form:
    a, bias = x(rows, length, dtype=dtype), x(length, dtype=dtype, name="b")
    return Form(f"bias-{rows}x{length}-{dtype.code}", group("loop", (gelu(p.add(a, columns(bias, a))),), (a, bias)),
                lambda v, b: (v + b) * special.ndtr(v + b), 1, 4.0)  # fmt: skip


def _columns(shape: Sequence[int], axes: Sequence[int], dtype: dtypes.DType = dtypes.float32) -> Form:
    a = x(*shape, dtype=dtype)
    name = "x".join(map(str, shape))
    return Form(f"columns-{name}-{dtype.code}", group("column", (p.reduce_sum(a, tuple(axes)),), (a,)), lambda v: v.sum(tuple(axes)),
                a.type.size, 0.1)  # fmt: skip


def _transpose(shape: Sequence[int], order: Sequence[int], dtype: dtypes.DType) -> Form:
    a, b = x(*shape, dtype=dtype), x(*(shape[axis] for axis in order), dtype=dtype, name="b")
    node = group("loop", (p.maximum(p.transpose(a, tuple(order)), b),), (a, b))
    whole = (0, 2) if dtype.is_bool else (0, 99)
    return Form(f"transpose-{'x'.join(map(str, shape))}-{dtype.code}", node, lambda v, w: np.maximum(v.transpose(order), w), whole=whole)


def _scatter(rows: int, width: int, updates: int, dtype: dtypes.DType) -> Form:
    start, found = x(rows, width, dtype=dtype), x(updates, width, dtype=dtype, name="g")

    def expected(v: Array, places: Array, g: Array) -> Array:
        result = np.array(v, np.float64)
        np.add.at(result, places[places < rows], np.asarray(g, np.float64)[places < rows])
        return result
    node = p.scatter_add(start, x(updates, dtype=dtypes.int32, name="i"), found, 0)
    return Form(f"scatter-{rows}x{width}-{updates}-{dtype.code}", node, expected, whole=(0, min(rows + 1, 4)))


def _argmax(rows: int, length: int) -> Form:
    return Form(f"argmax-{rows}x{length}", p.argmax(x(rows, length), 1, dtypes.int64), lambda v: v.argmax(1), whole=(0, 1000))


F64, F16, BF16, U8 = dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.uint8
FORMS = [
    _softmax(1000, 3), _softmax(20_000, 4), _softmax(300, 8), _softmax(9, 100), _softmax(3, 1024), _softmax(3, 1023), _softmax(2, 5000),
    _softmax(1, 40_000),
    _softmax(5, 300, F64), _softmax(5, 300, F16), _softmax(2, 20_000, BF16), _softmax(700, 65, F16),
    _norm(3, 1024), _norm(2, 4097), _norm(1, 16_384), _norm(40, 12),
    _bias(33, 64), _bias(33, 63), _bias(128, 130), _bias(130, 136, BF16), _bias(65, 66, F64),
    _columns((257, 33), (0,)), _columns((1000, 3), (0,)), _columns((3, 70, 50), (1,)), _columns((9, 1 << 17), (0,)),
    _columns((70, 5, 60), (0, 2)), _columns((300, 40), (0,), F16), _columns((300, 40), (0,), F64), _columns((70_000,), (0,)),
    _transpose((40, 70), (1, 0), dtypes.float32), _transpose((64, 64), (1, 0), F64), _transpose((33, 3, 20), (2, 1, 0), U8),
    _transpose((5, 40, 6, 36), (0, 3, 2, 1), BF16), _transpose((130, 70), (1, 0), dtypes.bool),
    _scatter(50, 64, 300, dtypes.float32), _scatter(7, 1030, 5, BF16), _scatter(5, 1, 3000, F64), _scatter(1, 12, 9, dtypes.int32),
    _scatter(30, 9, 200, F16), _scatter(6, 3, 40, U8), _scatter(3, 20, 1, dtypes.int64), _scatter(40, 16, 70, dtypes.float32),
    _argmax(5, 1), _argmax(7, 33), _argmax(3, 3000),
]  # fmt: skip


@cache
def printed(kernel: ir.Kernel) -> CudaSource:
    return print_cuda(kernel, GPU)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    host.build_many([printed(schedule_gpu(lower(form.node), GPU)) for form in FORMS])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_form(form: Form) -> None:
    arrays = form.arrays()
    want = np.asarray(form.expected(*(a.astype(np.float64) if a.dtype.kind not in "biu" else a for a in arrays)))
    for order in host.ORDERS:
        def on_host(kernel: ir.Kernel, values: Sequence[Array], order: str = order) -> None:
            host.run(printed(kernel), kernel, values, order)
        (got,) = run_node(form.node, arrays, lambda kernel: schedule_gpu(kernel, GPU), on_host)
        assert_close(got, want, form.node.types[0].dtype, depth=form.depth, scale=form.scale)
