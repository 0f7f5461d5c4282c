"""Printed matrix products against numpy in float64, on every vector width: shapes, layouts, computed operands, epilogues, tasks."""
from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen import ir
from graphc.codegen.llvm.jit import compile_module, link
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.product_plan import Cut, coefficient, make_plan, stride
from graphc.codegen.llvm.target import Target, available
from graphc.core import dtypes
from graphc.core.dtypes import DType

TARGETS = pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
ROW, COLUMN, DEPTH = ir.Var("i"), ir.Var("j"), ir.Var("k")


def store(value: ir.Expr, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
    return (ir.Store(out, (ROW, COLUMN), value),)


@dataclass
class Case:
    """One product as a kernel: operands by name in the order of `params`, then the output."""

    m: int
    n: int
    depth: int
    dtype: DType = dtypes.float32
    transposed_lhs: bool = False
    transposed_rhs: bool = False
    out_dtype: DType | None = None
    lhs_of: Callable[[ir.Expr], ir.Expr] = lambda load: load
    rhs_of: Callable[[ir.Expr], ir.Expr] = lambda load: load
    epilogue: Callable[[ir.Var, ir.Buffer], tuple[ir.Stmt, ...]] = store
    extra: Sequence[ir.Buffer] = field(default_factory=tuple)

    def kernel(self) -> ir.Kernel:
        a = ir.Buffer("a", self.dtype, (self.depth, self.m) if self.transposed_lhs else (self.m, self.depth), "in")
        b = ir.Buffer("b", self.dtype, (self.n, self.depth) if self.transposed_rhs else (self.depth, self.n), "in")
        out = ir.Buffer("out", self.out_dtype or self.dtype, (self.m, self.n), "out")
        acc = ir.Var("acc", dtypes.float64 if self.dtype is dtypes.float64 else dtypes.float32)
        lhs = self.lhs_of(ir.Load(a, (DEPTH, ROW) if self.transposed_lhs else (ROW, DEPTH)))
        rhs = self.rhs_of(ir.Load(b, (COLUMN, DEPTH) if self.transposed_rhs else (DEPTH, COLUMN)))
        product = ir.Product(ROW, COLUMN, DEPTH, self.m, self.n, self.depth, lhs, rhs, acc, self.epilogue(acc, out))
        return ir.Kernel("product", (a, b, *self.extra, out), (product,))

    def operands(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The left and the right side, as they are stored."""
        rng = np.random.default_rng(seed)
        a = rng.standard_normal((self.depth, self.m) if self.transposed_lhs else (self.m, self.depth))
        b = rng.standard_normal((self.n, self.depth) if self.transposed_rhs else (self.depth, self.n))
        return a.astype(self.dtype.np_dtype), b.astype(self.dtype.np_dtype)


def all_layouts(m: int, n: int, depth: int) -> list[tuple[tuple[int, int, int], str]]:
    """One shape with every combination of plain ("n") and transposed ("t") sides."""
    return [((m, n, depth), layout) for layout in ("nn", "tn", "nt", "tt")]


def unaligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at an odd element: feeds are aligned to their element only."""
    space = np.empty(array.size + 1, array.dtype)
    space[1:] = array.ravel()
    return space[1:].reshape(array.shape)


def run(kernel: ir.Kernel, target: Target, arrays: Sequence[np.ndarray], ranges: Sequence[tuple[int, int]] | None = None) -> None:
    """Runs a kernel on arrays (in the order of its parameters); `ranges` are launched in their order, in one scratch memory."""
    code = link("product", [compile_module(print_kernel(kernel, target), target)], {}, ["product"])
    function = code.function("product", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
    nbytes = scratch_bytes(kernel, target)
    space = np.full(nbytes + 128, 0xFF, np.uint8)  # NaN, should anything be read before it is written
    start = -space.ctypes.data % 64
    for begin, end in ranges or [(0, launch_extent(kernel, target))]:
        function(pointers, space.ctypes.data + start, begin, end)
    assert (space[start + nbytes :] == 0xFF).all(), "wrote beyond its scratch memory"


def launch(case: Case, target: Target, *extra: np.ndarray, ranges: Sequence[tuple[int, int]] | None = None) -> np.ndarray:
    """The case's output; the elements around it must stay as they are."""
    kernel = case.kernel()
    out = np.full(case.m * case.n + 34, 7, (case.out_dtype or case.dtype).np_dtype)
    inside = out[17 : 17 + case.m * case.n]
    run(kernel, target, [*(unaligned(a) for a in case.operands()), *extra, inside], ranges)
    assert (out[:17] == 7).all()
    assert (out[17 + case.m * case.n :] == 7).all()
    return inside.reshape(case.m, case.n)


def expected(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The exact product (float64) and the bound on the error of a sum of `depth` rounded terms: depth * eps * sum |a| |b|."""
    a, b = (x.astype(np.float64) for x in case.operands())
    a, b = (a.T if case.transposed_lhs else a), (b.T if case.transposed_rhs else b)
    eps = 2.0**-53 if case.dtype is dtypes.float64 else 2.0**-24
    return a @ b, (case.depth + 2) * eps * (np.abs(a) @ np.abs(b)) + 1e-300


def check(case: Case, target: Target) -> None:
    exact, bound = expected(case)
    assert (np.abs(launch(case, target) - exact) <= bound).all()


SHAPES = [
    (1, 1, 1), (1, 1, 37), (2, 3, 1), (1, 513, 64), (64, 1, 128), (3, 2, 100), (14, 32, 8), (13, 31, 29), (28, 64, 16), (5, 10, 128),
    (64, 10, 128), (64, 128, 64), (6, 70, 300), (4, 47, 9),
]
EVERY_LAYOUT = [(1, 17, 5), (19, 1, 33), (29, 65, 17), (150, 130, 61)]


@TARGETS
@pytest.mark.parametrize(
    ("shape", "layout"), [*((shape, "nn") for shape in SHAPES), *(pair for shape in EVERY_LAYOUT for pair in all_layouts(*shape))], ids=str
)
def test_shapes_and_layouts(target: Target, shape: tuple[int, int, int], layout: str) -> None:
    check(Case(*shape, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t"), target)


@TARGETS
@pytest.mark.parametrize(
    ("shape", "layout"), [*((shape, "nn") for shape in [(1, 9, 20), (31, 1, 50), (60, 66, 70)]), *all_layouts(15, 17, 33)], ids=str
)
def test_float64(target: Target, shape: tuple[int, int, int], layout: str) -> None:
    check(Case(*shape, dtypes.float64, layout[0] == "t", layout[1] == "t"), target)


@TARGETS
@pytest.mark.parametrize("layout", ["nn", "tn", "nt"])
def test_several_blocks_of_depth(target: Target, layout: str) -> None:
    check(Case(30, 70, 2501, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t"), target)


@TARGETS
@pytest.mark.parametrize("layout", ["nn", "tn", "nt"])
def test_several_tasks(target: Target, layout: str) -> None:
    """Any split of the tasks, in any order, gives the same bits."""
    case = Case(1100, 300, 120, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t")
    tasks = launch_extent(case.kernel(), target)
    assert tasks > 1
    whole = launch(case, target)
    exact, bound = expected(case)
    assert (np.abs(whole - exact) <= bound).all()
    singly = launch(case, target, ranges=[(task, task + 1) for task in reversed(range(tasks))])
    halves = launch(case, target, ranges=[(tasks // 2, tasks), (0, tasks // 2)])
    assert singly.tobytes() == whole.tobytes() == halves.tobytes()


EMPTY = [(0, 5, 3), (5, 0, 3), (0, 0, 0), (0, 1, 4), (1, 0, 4)]


@TARGETS
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_nothing_to_do(target: Target, shape: tuple[int, int, int]) -> None:
    assert launch(Case(*shape), target).size == 0


@TARGETS
@pytest.mark.parametrize("shape", [(5, 40, 0), (1, 7, 0), (7, 1, 0), (1, 1, 0)], ids=str)
def test_no_depth_is_zero_then_epilogue(target: Target, shape: tuple[int, int, int]) -> None:
    case = Case(*shape, epilogue=lambda acc, out: store(f32("add", acc, number(3.0)), out))
    assert (launch(case, target) == 3.0).all()


def f32(op: str, *args: ir.Expr) -> ir.Expr:
    return ir.Apply(op, args, dtypes.float32)


def number(value: float) -> ir.Expr:
    return ir.Const(value, dtypes.float32)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x * 0.5**0.5))


def gelu_of(x: ir.Expr) -> ir.Expr:
    return f32("multiply", f32("multiply", x, number(0.5)), f32("add", number(1.0), f32("erf", f32("multiply", x, number(0.5**0.5)))))


@TARGETS
@pytest.mark.parametrize("costly", [False, True], ids=["relu", "gelu"])
@pytest.mark.parametrize("shape", [(1, 5, 9), (9, 1, 9), (2, 150, 9), (31, 45, 20), (30, 70, 1100)], ids=str)
def test_epilogue_with_bias_and_residual(target: Target, shape: tuple[int, int, int], costly: bool) -> None:
    """Bias by column, scale by row, activation, residual: what a fused dot group ends in, both as straight code and as a loop."""
    m, n, _ = shape
    rng = np.random.default_rng(1)
    buffers = [ir.Buffer(name, dtypes.float32, dims, "in") for name, dims in (("bias", (n,)), ("scale", (m,)), ("residual", (m, n)))]
    bias, scale, residual = (rng.standard_normal(buffer.shape).astype(np.float32) for buffer in buffers)
    x, y = ir.Var("x", dtypes.float32), ir.Var("y", dtypes.float32)

    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        return (
            ir.Let(x, f32("add", f32("multiply", acc, ir.Load(buffers[1], (ROW,))), ir.Load(buffers[0], (COLUMN,)))),
            ir.Let(y, gelu_of(x) if costly else f32("maximum", x, number(0.0))),
            ir.Store(out, (ROW, COLUMN), f32("add", y, ir.Load(buffers[2], (ROW, COLUMN)))),
        )

    case = Case(*shape, epilogue=epilogue, extra=buffers)
    exact, bound = expected(case)
    before = exact * scale[:, None] + bias
    wanted = (gelu(before) if costly else np.maximum(before, 0)) + residual
    slack = 1.2 * bound * np.abs(scale[:, None]) + 8 * 2.0**-24 * (1 + np.abs(before) + np.abs(wanted))
    assert (np.abs(launch(case, target, bias, scale, residual) - wanted) <= slack).all()


@TARGETS
def test_epilogue_with_two_outputs_one_transposed(target: Target) -> None:
    m, n = 17, 37
    flipped = ir.Buffer("flipped", dtypes.float32, (n, m), "out")

    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        return (ir.Store(flipped, (COLUMN, ROW), f32("negate", acc)), ir.Store(out, (ROW, COLUMN), acc))

    case = Case(m, n, 23, epilogue=epilogue, extra=[flipped])
    other = np.full((n, m), 5, np.float32)
    straight = launch(case, target, other)
    exact, bound = expected(case)
    assert (np.abs(straight - exact) <= bound).all()
    assert (other == -straight.T).all()


@TARGETS
@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(
    ("shape", "layout"), [((1, 20, 33), "nn"), ((20, 1, 33), "nn"), ((29, 50, 70), "tt"), ((15, 33, 1100), "nn"), ((17, 35, 20), "nt")]
)
def test_half_types_accumulate_in_float32(target: Target, shape: tuple[int, int, int], layout: str, dtype: DType) -> None:
    """The sum loses no more than float32 does; only the store rounds to the half type."""
    case = Case(*shape, dtype, layout[0] == "t", layout[1] == "t", out_dtype=dtypes.float32)
    check(case, target)
    narrow = replace(case, out_dtype=dtype)
    assert (launch(narrow, target) == launch(case, target).astype(dtype.np_dtype)).all()


@TARGETS
@pytest.mark.parametrize(
    ("shape", "layout"), [*((shape, "nn") for shape in [(1, 40, 33), (19, 1, 33), (40, 70, 600)]), *all_layouts(33, 35, 19)], ids=str
)
def test_operands_are_computed_while_packing(target: Target, shape: tuple[int, int, int], layout: str) -> None:
    """exp(a) and 1 - b, both wrong where a lane that is off counted: exp(0) and 1 - 0 are not zero."""
    m, n, depth = shape
    case = Case(
        m, n, depth, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t",
        lhs_of=lambda load: f32("exponential", load), rhs_of=lambda load: f32("subtract", number(1.0), load),
    )
    a, b = (x.astype(np.float64) for x in case.operands())
    a, b = np.exp(a.T if layout[0] == "t" else a), 1 - (b.T if layout[1] == "t" else b)
    bound = (depth + 6) * 2.0**-24 * (a @ np.abs(b))
    assert (np.abs(launch(case, target) - a @ b) <= bound).all()


@TARGETS
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("layout", ["nn", "tn", "nt"])
def test_nan_and_inf_reach_their_row_or_column_only(target: Target, layout: str, side: str) -> None:
    m, n, depth = 21, 43, 30
    case = Case(m, n, depth, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t")
    a, b = (np.abs(x) + 1 for x in case.operands())  # no zeros, which would turn inf into NaN
    target_array = (a if layout[0] == "n" else a.T) if side == "left" else (b.T if layout[1] == "n" else b)
    target_array[3, 5] = np.nan
    target_array[20, 29] = np.inf
    out = np.zeros((m, n), np.float32)
    run(case.kernel(), target, [a, b, out])
    lines = out if side == "left" else out.T
    assert np.isnan(lines[3]).all()
    assert (lines[20] == np.inf).all()
    assert np.isfinite(np.delete(lines, [3, 20], axis=0)).all()


@TARGETS
@pytest.mark.parametrize("shape", [(5, 7, 11), (20, 1, 33), (1, 40, 20)], ids=str)
def test_batch_inside_a_parallel_loop(target: Target, shape: tuple[int, int, int]) -> None:
    """The batch index is an outer variable of operands and epilogue; each batch runs whole in one thread."""
    m, n, depth = shape
    batch, t = 6, ir.Var("t")
    a = ir.Buffer("a", dtypes.float32, (batch, m, depth), "in")
    b = ir.Buffer("b", dtypes.float32, (batch, n, depth), "in")
    factor = ir.Buffer("factor", dtypes.float32, (batch,), "in")
    out = ir.Buffer("out", dtypes.float32, (batch, m, n), "out")
    acc, scale = ir.Var("acc", dtypes.float32), ir.Var("scale", dtypes.float32)
    epilogue = (ir.Store(out, (t, ROW, COLUMN), f32("multiply", acc, scale)),)
    product = ir.Product(ROW, COLUMN, DEPTH, m, n, depth, ir.Load(a, (t, ROW, DEPTH)), ir.Load(b, (t, COLUMN, DEPTH)), acc, epilogue)
    body = ir.Loop(t, batch, "parallel", (ir.Let(scale, ir.Load(factor, (t,))), product))
    kernel = ir.Kernel("product", (a, b, factor, out), (body,))
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(buffer.shape).astype(np.float32) for buffer in kernel.params]
    run(kernel, target, arrays, [(4, 6), (0, 1), (1, 4)])
    exact = np.einsum("tik,tjk->tij", *(x.astype(np.float64) for x in arrays[:2])) * arrays[2][:, None, None]
    assert np.allclose(arrays[3], exact, rtol=1e-5, atol=1e-5)


@TARGETS
def test_two_products_in_one_kernel(target: Target) -> None:
    """The second reads what the first wrote to a buffer of its own; their functions do not collide."""
    a, b = (ir.Buffer(name, dtypes.float32, (20, 20), "in") for name in "ab")
    middle, out = ir.Buffer("middle", dtypes.float32, (20, 20), "out"), ir.Buffer("out", dtypes.float32, (20, 20), "out")
    acc = ir.Var("acc", dtypes.float32)

    def product(left: ir.Buffer, right: ir.Expr, result: ir.Buffer) -> ir.Product:
        return ir.Product(ROW, COLUMN, DEPTH, 20, 20, 20, ir.Load(left, (ROW, DEPTH)), right, acc, store(acc, result))

    body = (product(a, ir.Load(b, (DEPTH, COLUMN)), middle), product(middle, ir.Load(b, (COLUMN, DEPTH)), out))
    kernel = ir.Kernel("product", (a, b, middle, out), body)
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((20, 20)).astype(np.float32) for _ in range(4)]
    run(kernel, target, arrays)
    x, y = arrays[0].astype(np.float64), arrays[1].astype(np.float64)
    assert np.allclose(arrays[3], x @ y @ y.T, rtol=1e-4, atol=1e-4)


@given(
    st.integers(1, 40), st.integers(1, 70), st.integers(1, 40), st.sampled_from(["nn", "tn", "nt", "tt"]), st.sampled_from(available()),
    st.sampled_from([dtypes.float32, dtypes.float64]),
)
@settings(max_examples=50, deadline=None)
def test_any_shape(m: int, n: int, depth: int, layout: str, target: Target, dtype: DType) -> None:
    check(Case(m, n, depth, dtype, layout[0] == "t", layout[1] == "t"), target)


@given(st.integers(1, 3000), st.integers(1, 40))
def test_cuts_cover_their_extent(extent: int, most: int) -> None:
    for cut in (Cut.even(extent, most), Cut.equal(extent, most), Cut.full(extent, most)):
        sizes = [cut.sizes[0]] * cut.first + [cut.sizes[-1]] * (cut.count - cut.first)
        starts = [panel * cut.pitch + min(panel, cut.first) * cut.slant for panel in range(cut.count)]
        assert sum(sizes) == extent
        assert max(sizes) <= most
        assert starts == [0, *itertools.accumulate(sizes)][:-1]


def test_strides_of_an_index() -> None:
    buffer = ir.Buffer("x", dtypes.float32, (4, 5, 6), "in")

    def int_op(op: str, *args: ir.Expr) -> ir.Expr:
        return ir.Apply(op, args, dtypes.int64)

    twice = int_op("add", int_op("multiply", ir.index(2), ROW), int_op("negate", DEPTH))
    load = ir.Load(buffer, (twice, int_op("subtract", COLUMN, DEPTH), ROW))
    assert (stride(load, ROW), stride(load, COLUMN), stride(load, DEPTH)) == (61, 6, -36)
    assert coefficient(int_op("multiply", ROW, COLUMN), ROW) is None
    assert coefficient(int_op("remainder", ROW, ir.index(3)), COLUMN) == 0
    assert stride(ir.Load(buffer, (int_op("remainder", ROW, ir.index(3)), COLUMN, DEPTH)), ROW) is None


def test_integer_products_are_not_for_tiles() -> None:
    x = ir.Buffer("x", dtypes.int32, (4, 4), "in")
    acc = ir.Var("acc", dtypes.int32)
    product = ir.Product(ROW, COLUMN, DEPTH, 4, 4, 4, ir.Load(x, (ROW, DEPTH)), ir.Load(x, (DEPTH, COLUMN)), acc, ())
    with pytest.raises(ValueError, match="a product accumulates in a floating type, not in int32"):
        make_plan(product, available()[0])


@TARGETS
def test_plans_depend_on_nothing_but_shapes_and_width(target: Target) -> None:
    """Large shapes: the tasks cover every panel once, and the scratch memory stays within a few caches."""
    for shape in [(512, 512, 512), (4096, 4096, 4096), (1437, 128, 64), (64, 128, 100_000), (100_000, 10, 64), (32, 1024, 1024)]:
        (product,) = Case(*shape).kernel().body
        assert isinstance(product, ir.Product)
        plan = make_plan(product, target)
        assert plan == make_plan(product, target)
        assert (plan.row_blocks - 1) * plan.row_block < plan.rows.count <= plan.row_blocks * plan.row_block
        assert (plan.column_blocks - 1) * plan.column_block < plan.columns.count <= plan.column_blocks * plan.column_block
        assert plan.scratch_bytes <= 3 << 20
