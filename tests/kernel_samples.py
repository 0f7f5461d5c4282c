"""Random valid kernels and a way to run them compiled: shared by the tests of the kernel IR and of its LLVM printer.

Arithmetic is exact by construction (small whole numbers, also in floats), so that any order of summation must give the same bits.
"""
from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from graphc.codegen import ir
from graphc.codegen.llvm.jit import compile_module, link
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target
from graphc.core import dtypes
from graphc.core.dtypes import DType

Array = np.ndarray[Any, Any]


def run_compiled(kernel: ir.Kernel, target: Target, arrays: Sequence[Array], pieces: int = 1) -> None:
    """Runs `kernel` as machine code on `arrays`, its launch range cut into `pieces`. Scratch memory starts as garbage."""
    name = kernel.name
    loaded = link(name, [compile_module(print_kernel(kernel, target), target)], {}, [name])
    function = loaded.function(name, None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    buffers = (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))
    memory = np.full(scratch_bytes(kernel, target) + 64, 0xAB, np.uint8)
    scratch = (memory.ctypes.data + 63) // 64 * 64
    ends = [launch_extent(kernel, target) * piece // pieces for piece in range(pieces + 1)]
    for begin, end in itertools.pairwise(ends):
        function(buffers, scratch, begin, end)


def small_numbers(rng: np.random.Generator, buffer: ir.Buffer) -> Array:
    """An array for `buffer` of small whole numbers."""
    low = 0 if buffer.dtype.is_unsigned or buffer.dtype.is_bool else -3
    return rng.integers(low, 4, buffer.shape).astype(buffer.dtype.np_dtype)


def constant(value: float, dtype: DType) -> ir.Const:
    """`value` as a constant of `dtype`."""
    return ir.Const(bool(value) if dtype.is_bool else float(value) if dtype.is_floating else int(value), dtype)


def apply(op: str, *args: ir.Expr, dtype: DType | None = None) -> ir.Apply:
    """`op` on `args`; its type is that of the last operand unless given."""
    return ir.Apply(op, args, dtype or args[-1].dtype)


def less(a: ir.Expr, b: ir.Expr | int) -> ir.Expr:
    return apply("lt", a, ir.index(b) if isinstance(b, int) else b, dtype=dtypes.bool)


def index_of(var: ir.Expr, stride: int, offset: int) -> ir.Expr:
    """var * stride + offset, as a lowering would write it."""
    scaled = var if stride == 1 else apply("multiply", var, ir.index(stride))
    return scaled if offset == 0 else apply("add", scaled, ir.index(offset))


@st.composite
def values(draw: st.DrawFn, dtype: DType, leaves: Sequence[ir.Expr], depth: int) -> ir.Expr:
    """An expression of `dtype` over expressions of the same type, whose value stays a small whole number."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from([*leaves, constant(draw(st.integers(0, 2)), dtype)]))
    sub = values(dtype, leaves, depth - 1)
    if dtype.is_bool:
        op = draw(st.sampled_from(["and", "or", "xor", "not", "eq", "select"]))
    else:
        op = draw(st.sampled_from(["add", "subtract", "maximum", "minimum", "select", "abs", "negate", "convert", "clamp"]))
    if op in ("abs", "negate", "not"):
        return apply(op, draw(sub))
    if op == "select":
        return apply("select", less(draw(sub), draw(sub)), draw(sub), draw(sub))
    if op == "clamp":
        return apply("clamp", draw(sub), draw(sub), draw(sub))
    if op == "convert":
        return apply("convert", apply("convert", draw(sub), dtype=dtypes.int32), dtype=dtype)
    return apply(op, draw(sub), draw(sub), dtype=dtype)


@st.composite
def kernels(draw: st.DrawFn) -> ir.Kernel:
    """Rows of a strided input, reduced and mapped in vector loops, with local rows, gathers, conditions, inner loops and a total of totals.

    Parameters: x, the input; table, places in a row of x; y, one value per element; total, one per row; grand, one per kernel.
    """
    dtype = draw(st.sampled_from(dtypes.ALL))
    rows, columns = draw(st.integers(0, 4)), draw(st.one_of(st.integers(0, 40), st.integers(41, 150)))
    stride, offset = draw(st.sampled_from([1, 1, 1, -1, 2, 3, -2, 0])), draw(st.integers(0, 2))
    width = abs(stride) * max(columns - 1, 0) + 1 + offset
    lanes, parts = draw(st.sampled_from([1, 2, 4, 8, 16])), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["parallel", "serial", "unrolled"]))

    x = ir.Buffer("x", dtype, (rows, width), "in")
    table = ir.Buffer("table", dtypes.int64, (max(columns, 1),), "in")
    y, total = ir.Buffer("y", dtype, (rows, columns), "out"), ir.Buffer("total", dtype, (rows,), "out")
    grand = ir.Buffer("grand", dtype, (1,), "inout")
    row = ir.Buffer("row", dtype, (columns,), "local")
    r, c, d = ir.Var("r"), ir.Var("c"), ir.Var("d")
    s, t, u, v, g = (ir.Var(name, dtype) for name in "stuvg")

    combine = draw(st.sampled_from(["and", "or"] if dtype.is_bool else ["add", "maximum", "minimum"]))
    where = st.sampled_from([None, None, less(c, columns // 2), less(r, 2), less(ir.index(1), apply("add", c, r))])
    loaded = ir.Load(x, (r, index_of(c, stride, offset if stride >= 0 else width - 1)), draw(where))
    leaves: list[ir.Expr] = [loaded, ir.Load(x, (r, ir.index(0))), ir.Load(x, (r, ir.Load(table, (c,))), draw(where))]
    if not dtype.is_bool:
        slanted = apply("subtract", c, apply("multiply", r, ir.index(2)))
        leaves.append(apply("convert", apply("convert", slanted, dtype=dtypes.int8), dtype=dtype))

    start = constant(0 if combine in ("add", "or") else 1, dtype)
    reduced: ir.Stmt = ir.Update(s, combine, t)
    if draw(st.booleans()):
        reduced = ir.If(less(ir.index(0), r), (reduced,))
    first = (ir.Let(t, draw(values(dtype, leaves, 2))), ir.Store(row, (c,), t), reduced)
    updates: tuple[ir.Stmt, ...] = (ir.Update(u, "or" if dtype.is_bool else "maximum", draw(values(dtype, [*leaves, s], 1))),)
    if kind == "serial":
        updates = (*updates, ir.Update(g, combine, u)) if combine in ("maximum", "minimum", "and", "or") else updates
    places: list[ir.Expr] = [c, apply("subtract", ir.index(columns - 1), c)]
    second = (
        ir.Acc(u, ir.Load(row, (c,))),
        ir.Loop(d, draw(st.integers(0, 3)), draw(st.sampled_from(["serial", "unrolled"])), updates),
        ir.Let(v, draw(values(dtype, [u, s, ir.Load(row, (c,))], 2))),
        ir.Store(y, (r, draw(st.sampled_from(places))), v, draw(where)),
    )
    is_vector = draw(st.sampled_from([True, True, False]))
    body = (
        ir.Local(row),
        ir.Acc(s, start),
        ir.Loop(c, columns, "vector", first, lanes, parts),
        ir.Loop(c, columns, "vector", second, lanes, parts) if is_vector else ir.Loop(c, columns, "serial", second),
        ir.Store(total, (r,), s),
    )
    loop = ir.Loop(r, rows, kind, body)
    if kind == "serial":
        top: tuple[ir.Stmt, ...] = (ir.Acc(g, ir.Load(grand, (ir.index(0),))), loop, ir.Store(grand, (ir.index(0),), g))
    else:
        top = (loop,)
    return ir.Kernel("sample", (x, table, y, total, grand), top)


def arguments(sample: ir.Kernel, seed: int) -> list[Array]:
    """Arrays for a kernel of `kernels()`."""
    rng = np.random.default_rng(seed)
    arrays = [small_numbers(rng, buffer) for buffer in sample.params]
    arrays[1] = rng.integers(0, sample.params[0].shape[1], sample.params[1].shape)
    return arrays
