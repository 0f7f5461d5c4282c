"""What this machine can do at most: fused multiply-adds, and bytes copied from memory and from its caches. What kernels are judged by.

    measure(threads) -> Limits          a fraction of a second, once a process: for `graphc profile` and reports
    multiply_adds(...), copy(...)       calls to time in turns with what is judged by them: a limit that is measured in the same rounds
                                        meets the same neighbours and the same clock

The loops are machine code of our own, so that nothing stands between them and the machine.
"""
from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from graphc.codegen.llvm import cache, jit
from graphc.codegen.llvm.target import Target, host
from graphc.core import dtypes
from graphc.timing import interleaved

_CHAINS = 12  # independent accumulators: latency (4 or 5 cycles) times two units a cycle, and some to spare
_FLOPS = 2e8  # of one sample of each thread: long beside what starting a thread takes
_SIZES = (16 << 10, 128 << 10, 1 << 20, 8 << 20, 64 << 20)  # bytes copied: within each level of the caches, and beyond
_SAMPLE = 16 << 20  # bytes that one sample copies at least, of each thread
_ROUNDS = 8


@dataclass(frozen=True)
class Limits:
    """gflops: 10^9 float32 operations a second, two for each multiply-add. gbs: 10^9 bytes read and written a second, where the data lies
    in memory. threads: that did it together. copies: the same where so many bytes are read and as many written, smallest first: few of
    them stay in the caches."""

    gflops: float
    gbs: float
    threads: int
    copies: tuple[tuple[int, float], ...] = ()

    def bandwidth(self, nbytes: float) -> float:
        """GB/s of a copy that moves `nbytes` in all: of the least size measured that moves so many, or of the largest."""
        return next((gbs for size, gbs in self.copies if 2 * size >= nbytes), self.gbs)

    def bound(self, flops: float, nbytes: float) -> tuple[float, str]:
        """The least microseconds for this much work, and what decides it: "compute" or "memory". The roofline."""
        computing, moving = flops / self.gflops / 1e3, nbytes / self.bandwidth(nbytes) / 1e3
        return (computing, "compute") if computing >= moving else (moving, "memory")


def measure(threads: int = 1) -> Limits:
    """The limits of `threads` cores at once, the best of a few samples; measured once, then remembered. ValueError for less than one."""
    if threads < 1:
        raise ValueError(f"limits are measured on one thread or more; got {threads}")
    return _measured(threads)


@functools.cache
def _measured(threads: int) -> Limits:
    run, rounds = _functions(), max(1, round(_FLOPS / _flops_a_round()))
    with ThreadPoolExecutor(threads) as pool:
        peak = _best(pool, threads, lambda thread: lambda: run.peak(rounds)) / (rounds * _flops_a_round() * threads)
        copies = tuple((size, 2 * size * threads / _copying(pool, threads, size) / 1e9) for size in _SIZES)
    return Limits(1e-9 / peak, copies[-1][1], threads, copies)


def _copying(pool: ThreadPoolExecutor, threads: int, nbytes: int) -> float:
    """Seconds of one copy of `nbytes` in all, shared by the threads where it does not fit a cache."""
    times = max(1, _SAMPLE // nbytes)

    def begin(thread: int) -> Callable[[], object]:
        source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
        return lambda: _functions().copy(target.ctypes.data, source.ctypes.data, nbytes, times)

    return _best(pool, threads, begin) / times


def _best(pool: ThreadPoolExecutor, threads: int, begin: Callable[[int], Callable[[], object]]) -> float:
    """The least seconds in which all threads do, at once, what `begin(thread)` gives each."""
    works = [begin(thread) for thread in range(threads)]
    samples = []
    for _ in range(1 + _ROUNDS):
        start = time.perf_counter()
        for done in [pool.submit(work) for work in works]:
            done.result()
        samples.append(time.perf_counter() - start)
    return min(samples[1:])


def multiply_adds(flops: float) -> Callable[[], object]:
    """A call that does about `flops` floating-point operations in float32 on one core as fast as it can: two for each lane of each fused
    multiply-add, nothing touching memory."""
    run, rounds = _functions(), max(1, round(flops / _flops_a_round()))
    return lambda: run.peak(rounds)


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


# Machine code -----------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Functions:
    """peak(rounds): multiply-adds. copy(to, from, bytes, times). Both let other threads of Python run."""

    peak: Callable[[int], float]
    copy: Callable[[int, int, int, int], None]


@functools.cache
def _functions() -> _Functions:
    target = host()
    loaded = jit.link("limits", [cache.object_code(_text(target), target)], {}, ["peak", "copy"])
    word, address = ctypes.c_int64, ctypes.c_void_p
    return _Functions(loaded.function("peak", ctypes.c_float, word), loaded.function("copy", None, address, address, word, word))


def _flops_a_round() -> int:
    return 2 * _CHAINS * host().lanes(dtypes.float32)


def _text(target: Target) -> str:
    lanes = target.lanes(dtypes.float32)
    vector = f"<{lanes} x float>"
    fma = f"llvm.fma.v{lanes}f32" if target.has_fma else f"llvm.fmuladd.v{lanes}f32"
    chains = range(_CHAINS)
    phis = "\n".join(f"  %a{c} = phi {vector} [zeroinitializer, %entry], [%b{c}, %loop]" for c in chains)
    steps = "\n".join(f"  %b{c} = call {vector} @{fma}({vector} %x, {vector} %y, {vector} %a{c})" for c in chains)
    sums = "\n".join(f"  %s{c} = fadd {vector} %b{c}, {f'%s{c - 1}' if c else 'zeroinitializer'}" for c in chains)
    return f"""
declare {vector} @{fma}({vector}, {vector}, {vector})
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

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
}}

define void @copy(ptr %to, ptr %from, i64 %bytes, i64 %times) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""
