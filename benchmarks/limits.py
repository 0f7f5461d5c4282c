"""What this machine can do at most: fused multiply-adds and bytes copied, as calls to time in turns with what is judged by them.

Stands outside the package. A limit that is measured in the same rounds meets the same neighbours and the same clock.
"""
from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.llvm.target import Target, host
from graphc.core import dtypes
from graphc.timing import interleaved

_CHAINS = 12  # independent accumulators: latency (4 or 5 cycles) times two units a cycle, and some to spare


def multiply_adds(flops: float) -> Callable[[], object]:
    """A call that does about `flops` floating-point operations in float32 on one core as fast as it can: two for each lane of each fused
    multiply-add, nothing touching memory."""
    jit, tracker, run, flops_a_round = _fma()
    rounds = max(1, round(flops / flops_a_round))
    return lambda: (run(rounds), jit, tracker)[0]


@functools.cache
def _fma() -> tuple[object, object, Callable[[int], float], int]:
    """The compiler and the code (both must live as long as the function), the function, and the operations of one of its rounds."""
    target = host()
    lanes = target.lanes(dtypes.float32)
    jit = llvm.create_lljit_compiler(target.target_machine())
    tracker = llvm.JITLibraryBuilder().add_ir(_fma_loop(target, lanes)).add_current_process().export_symbol("peak").link(jit, "fma_peak")
    return jit, tracker, ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)(tracker["peak"]), 2 * _CHAINS * lanes


def _fma_loop(target: Target, lanes: int) -> str:
    vector = f"<{lanes} x float>"
    fma = f"llvm.fma.v{lanes}f32" if target.has_fma else f"llvm.fmuladd.v{lanes}f32"
    chains = range(_CHAINS)
    phis = "\n".join(f"  %a{c} = phi {vector} [zeroinitializer, %entry], [%b{c}, %loop]" for c in chains)
    steps = "\n".join(f"  %b{c} = call {vector} @{fma}({vector} %x, {vector} %y, {vector} %a{c})" for c in chains)
    sums = "\n".join(f"  %s{c} = fadd {vector} %b{c}, {f'%s{c - 1}' if c else 'zeroinitializer'}" for c in chains)
    return f"""
declare {vector} @{fma}({vector}, {vector}, {vector})
define float @peak(i64 %n) {{
entry:
  %f = sitofp i64 %n to float
  %x0 = insertelement {vector} undef, float %f, i32 0
  %x = shufflevector {vector} %x0, {vector} undef, <{lanes} x i32> zeroinitializer
  %y = fmul {vector} %x, %x
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
{phis}
{steps}
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %done
done:
{sums}
  %r = extractelement {vector} %s{_CHAINS - 1}, i32 0
  ret float %r
}}"""


def copy(nbytes: int) -> Callable[[], object]:
    """A call that has the C library copy `nbytes`: it reads and writes each once."""
    source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
    return lambda: np.copyto(target, source)


def fma_peak(seconds: float = 0.3) -> float:
    """Floating-point operations a second of one core."""
    return 1e8 / interleaved({"peak": multiply_adds(1e8)}, seconds)["peak"].least


def copy_bandwidth(nbytes: int, seconds: float = 0.3) -> float:
    """Bytes read plus bytes written a second while copying `nbytes`."""
    return 2 * nbytes / interleaved({"copy": copy(nbytes)}, seconds)["copy"].least


if __name__ == "__main__":
    print(f"FMA peak, one core: {fma_peak() / 1e9:.0f} GFLOP/s in float32")
    for mib in (1, 16, 64):
        print(f"copy of {mib} MiB: {copy_bandwidth(mib << 20) / 1e9:.1f} GB/s read and written")
