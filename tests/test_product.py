"""Printed matrix products against numpy in float64, on every vector width: shapes, layouts, computed operands, epilogues, tasks."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import pytest

from graphc.codegen import ir
from graphc.codegen.llvm.jit import compile_module, link
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.product_plan import Cut, coefficient, make_plan, stride
from graphc.codegen.llvm.target import Target, available
from graphc.core import dtypes
from graphc.core.dtypes import DType

TARGETS = pytest.mark.parametrize("target", available(), ids=lambda target: target.name)
I, J, K = ir.Var("i"), ir.Var("j"), ir.Var("k")
Epilogue = Callable[[ir.Expr, ir.Buffer], tuple[ir.Stmt, ...]]


def store(value: ir.Expr, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
    return (ir.Store(out, (I, J), value),)


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
        lhs = self.lhs_of(ir.Load(a, (K, I) if self.transposed_lhs else (I, K)))
        rhs = self.rhs_of(ir.Load(b, (J, K) if self.transposed_rhs else (K, J)))
        product = ir.Product(I, J, K, self.m, self.n, self.depth, lhs, rhs, acc, self.epilogue(acc, out))
        return ir.Kernel("product", (a, b, *self.extra, out), (product,))

    def operands(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The left and the right side, as they are stored."""
        rng = np.random.default_rng(seed)
        a = rng.standard_normal((self.depth, self.m) if self.transposed_lhs else (self.m, self.depth))
        b = rng.standard_normal((self.n, self.depth) if self.transposed_rhs else (self.depth, self.n))
        return a.astype(self.dtype.np_dtype), b.astype(self.dtype.np_dtype)


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
    (1, 1, 1), (1, 1, 37), (2, 3, 1), (1, 17, 5), (1, 300, 40), (1, 513, 64), (19, 1, 33), (64, 1, 128), (3, 2, 100), (14, 32, 8), (15, 33, 7),
    (13, 31, 29), (28, 64, 16), (29, 65, 17), (5, 10, 128), (64, 10, 128), (97, 130, 61), (64, 128, 64), (6, 70, 300), (4, 47, 9),
]


@TARGETS
@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_layouts(target: Target, layout: str, shape: tuple[int, int, int]) -> None:
    check(Case(*shape, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t"), target)


@TARGETS
@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
@pytest.mark.parametrize("shape", [(1, 9, 20), (31, 1, 50), (15, 17, 33), (60, 66, 70)], ids=str)
def test_float64(target: Target, layout: str, shape: tuple[int, int, int]) -> None:
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
