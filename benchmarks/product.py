"""How near generated matrix products come to the machine's limit: `python benchmarks/product.py [SHAPE ...]`, SHAPE = MxNxK or MxNxK:nt.

The peak of the multiply-adds is measured in the same run, in turns with each shape, because clocks change: every percentage is of the
peak measured beside it. All on one thread, less the time of a call that does nothing. Columns: the plain product, the product with
bias + gelu (erf) in its epilogue, numpy's product, milliseconds to compile each of the first two, scratch memory.
"""
from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np

from graphc.codegen import ir
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.jit import compile_module, link
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target, host
from graphc.codegen.llvm.vec import vector
from graphc.core import dtypes

SHAPES = (
    "512x512x512", "64x64x64", "128x128x128", "256x256x256", "1024x1024x1024", "2048x2048x2048", "32x1024x1024", "64x128x64", "1437x128x64",
    "1437x10x128", "64x10x128", "64x128x1437:tn", "128x10x1437:tn", "1437x64x128:nt", "1437x128x10:nt", "512x512x512:nt", "512x512x512:tn",
    "1x1024x1024", "1024x1x1024", "1x1024x1024:nt",
)
ROW, COLUMN, DEPTH = ir.Var("i"), ir.Var("j"), ir.Var("k")
_SECONDS, _ROUNDS = 0.05, 8


def buffer(size: int) -> np.ndarray:
    """A float32 array that begins a cache line, as the arena's do."""
    space = np.empty(size + 16, np.float32)
    start = (-space.ctypes.data % 64) // 4
    return space[start : start + size]


def best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of many calls."""
    call()
    times = []
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


class Peak:
    """Multiply-adds that depend on nothing but themselves, in as many registers as hide their latency."""

    def __init__(self, target: Target) -> None:
        lanes, chains = target.vector_bits // 32, 12
        kind = vector("float", lanes)
        e = Emitter("define void @peak(ptr %out, i64 %turns)")
        operation = f"call {kind} @llvm.fma.v{lanes}f32" if target.has_fma else ""
        e.do("br label %loop")
        e.label("loop")
        e.do("%i = phi i64 [ 0, %entry ], [ %next, %loop ]")
        for chain in range(chains):
            e.do(f"%a{chain} = phi {kind} [ zeroinitializer, %entry ], [ %b{chain}, %loop ]")
        for chain in range(chains):
            a = f"{kind} %a{chain}"
            if operation:
                e.declare(f"{kind} @llvm.fma.v{lanes}f32({kind}, {kind}, {kind})")
                e.do(f"%b{chain} = {operation}({a}, {a}, {a})")
            else:
                e.do(f"%b{chain} = fadd {kind} %a{chain}, {e.let(f'fmul {a}, %a{chain}')}")
        e.do("%next = add i64 %i, 1")
        e.do("%more = icmp ult i64 %next, %turns")
        e.do("br i1 %more, label %loop, label %done")
        e.label("done")
        for chain in range(chains):
            e.do(f"store volatile {kind} %b{chain}, ptr %out, align 4")
        e.do("ret void")
        code = link("peak", [compile_module(e.finish().text(), target)], {}, ["peak"])
        self._function = code.function("peak", None, ctypes.c_void_p, ctypes.c_int64)
        self._out = buffer(64)
        self._turns = 100_000
        self.gflop = 2e-9 * lanes * chains * self._turns

    def __call__(self) -> None:
        self._function(self._out.ctypes.data, self._turns)


def product(m: int, n: int, depth: int, layout: str, gelu: bool) -> ir.Kernel:
    """A product of float32; `layout`: "n" or "t" (stored transposed) for each side."""
    a = ir.Buffer("a", dtypes.float32, (depth, m) if layout[0] == "t" else (m, depth), "in")
    b = ir.Buffer("b", dtypes.float32, (n, depth) if layout[1] == "t" else (depth, n), "in")
    bias = ir.Buffer("bias", dtypes.float32, (n,), "in")
    out = ir.Buffer("out", dtypes.float32, (m, n), "out")
    acc = ir.Var("acc", dtypes.float32)
    lhs = ir.Load(a, (DEPTH, ROW) if layout[0] == "t" else (ROW, DEPTH))
    rhs = ir.Load(b, (COLUMN, DEPTH) if layout[1] == "t" else (DEPTH, COLUMN))
    epilogue: tuple[ir.Stmt, ...] = (ir.Store(out, (ROW, COLUMN), acc),)
    if gelu:
        x = ir.Var("x", dtypes.float32)
        epilogue = (
            ir.Let(x, apply("add", acc, ir.Load(bias, (COLUMN,)))),
            ir.Store(out, (ROW, COLUMN), apply("multiply", half(x), apply("add", one(), apply("erf", apply("multiply", x, root_half()))))),
        )
    return ir.Kernel("product", (a, b, bias, out), (ir.Product(ROW, COLUMN, DEPTH, m, n, depth, lhs, rhs, acc, epilogue),))


def apply(op: str, *args: ir.Expr) -> ir.Expr:
    return ir.Apply(op, args, dtypes.float32)


def one() -> ir.Expr:
    return ir.Const(1.0, dtypes.float32)


def half(x: ir.Expr) -> ir.Expr:
    return apply("multiply", x, ir.Const(0.5, dtypes.float32))


def root_half() -> ir.Expr:
    return ir.Const(0.5**0.5, dtypes.float32)


class Compiled:
    """A kernel with arrays of its own, ready to be called."""

    def __init__(self, kernel: ir.Kernel, target: Target) -> None:
        start = time.process_time()
        image = compile_module(print_kernel(kernel, target), target)
        self.milliseconds = (time.process_time() - start) * 1e3
        code = link("product", [image], {}, ["product"])
        self._function = code.function("product", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self.arrays = [buffer(max(1, param.size)) for param in kernel.params]
        for array in self.arrays:
            array[:] = np.random.default_rng(0).standard_normal(array.size)
        self._pointers = (ctypes.c_void_p * len(self.arrays))(*(array.ctypes.data for array in self.arrays))
        self.scratch_bytes = scratch_bytes(kernel, target)
        self._scratch = buffer(self.scratch_bytes // 4 + 16)
        self._extent = launch_extent(kernel, target)
        self._place = self._scratch.ctypes.data

    def __call__(self) -> None:
        self._function(self._pointers, self._place, 0, self._extent)

    def nothing(self) -> None:
        """A call that runs no task: what calling from Python costs."""
        self._function(self._pointers, self._place, 0, 0)


def report(shape: str, target: Target, peak: Peak) -> None:
    sizes, _, layout = shape.partition(":")
    m, n, depth = (int(size) for size in sizes.split("x"))
    layout = layout or "nn"
    plain, gelu = (Compiled(product(m, n, depth, layout, with_gelu), target) for with_gelu in (False, True))
    a = plain.arrays[0].reshape((depth, m) if layout[0] == "t" else (m, depth))
    b = plain.arrays[1].reshape((n, depth) if layout[1] == "t" else (depth, n))
    out = np.empty((m, n), np.float32)
    left, right = (a.T if layout[0] == "t" else a), (b.T if layout[1] == "t" else b)
    calls = (peak, plain.nothing, plain, gelu, lambda: np.matmul(left, right, out=out))
    rounds = [[best(call) for call in calls] for _ in range(_ROUNDS)]  # in turns, so that a busy moment does not hit one of them alone
    of_peak, nothing, *seconds = map(min, zip(*rounds, strict=True))
    limit = peak.gflop / of_peak
    overheads = (nothing, nothing, 0.0)
    rates = [2e-9 * m * n * depth / (each - overhead) for each, overhead in zip(seconds, overheads, strict=True)]
    shown = "  ".join(f"{rate:6.1f} {rate / limit:4.0%}" for rate in rates)
    compiled = f"{plain.milliseconds:6.1f} {gelu.milliseconds:6.1f}"
    print(f"{shape:18} {limit:6.1f}  {shown}  {compiled}  {plain.scratch_bytes >> 10:6}", flush=True)


def main() -> None:
    target = host()
    print(f"{target.name}, GFLOP/s and per cent of the peak measured beside it")
    print(f"{'shape':18} {'peak':>6}  {'plain':>11}  {'bias + gelu':>11}  {'numpy':>11}  {'compile ms':>13}  {'KiB':>6}")
    peak = Peak(target)
    for shape in sys.argv[1:] or SHAPES:
        report(shape, target, peak)


if __name__ == "__main__":
    main()
