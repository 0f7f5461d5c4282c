"""Prints a whole run as one function, `i64 @plan(ptr %args)`: every kernel launch and copy in order, straight down.

`args` is an array of pointers that the runtime fills: arena, scratch, feeds, variables, constants, outputs. A `Step` names a kernel and
where its buffers are, as slots of `args` and byte offsets. The text holds no address and depends on the steps alone, so its object code is
cached like a kernel's. It is linked beside the kernels and the pool, and `entry` calls it.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen.llvm import pool
from graphc.codegen.llvm.emit import Emitter

SYMBOL = "plan"
DECLARATION = f"declare i64 @{SYMBOL}(ptr)"


@dataclass(frozen=True)
class Pointer:
    """`offset` bytes after the address in `args[slot]`."""

    slot: int
    offset: int = 0


@dataclass(frozen=True)
class Step:
    """One launch of the kernel `symbol`: `void @symbol(ptr bufs, ptr scratch, i64 begin, i64 end)`.

    `params` are its buffers in order. [0, extent) is its parallel range; where `parallel`, the pool shares it in pieces of `grain`, else
    one call does it all. Thread number t gets `scratch` + t * `scratch_stride` bytes, so there must be threads * scratch_stride of them.
    """

    symbol: str
    params: tuple[Pointer, ...]
    extent: int = 1
    grain: int = 1
    parallel: bool = False
    scratch: Pointer | None = None
    scratch_stride: int = 0


@dataclass(frozen=True)
class Copy:
    """`nbytes` bytes from `src` to `dst`, which do not overlap: a variable that could not be updated in place, a feed that is fetched."""

    dst: Pointer
    src: Pointer
    nbytes: int


@dataclass(frozen=True)
class Timing:
    """Where a plan that is measured leaves its figures.

    `args[slot]` points at int64[steps + 1]: the nanoseconds of CLOCK_MONOTONIC before the first step and after each.
    """

    slot: int


def print_plan(steps: Sequence[Step | Copy], threads: int, timing: Timing | None = None) -> str:
    """The LLVM module of a plan that uses at most `threads` threads. It defines @plan, which returns 0, and needs the steps' symbols and
    `pool.imports()`.

    Equal steps give equal text. ValueError for negative slots, extents or sizes.
    """
    for step in steps:
        _check(step)
    e = Emitter(f"define i64 @{SYMBOL}(ptr %args)")
    room = max((len(step.params) for step in steps if isinstance(step, Step)), default=0)
    if room:
        # One array of parameters serves all launches: a launch is over when its call returns.
        e.do(f"%bufs = alloca [{room} x ptr], align 16")
    if timing:
        e.declare("i32 @clock_gettime(i32, ptr)")
        e.do("%clock = alloca [2 x i64], align 16")
        _print_time(e, timing, 0)
    for at, step in enumerate(steps, 1):
        if isinstance(step, Copy):
            _print_copy(e, step)
        else:
            _print_step(e, step, threads)
        if timing:
            _print_time(e, timing, at)
    e.do("ret i64 0")
    return e.finish().text()


def _check(step: Step | Copy) -> None:
    pointers = (step.dst, step.src) if isinstance(step, Copy) else step.params + ((step.scratch,) if step.scratch else ())
    numbers = (step.nbytes,) if isinstance(step, Copy) else (step.extent, step.scratch_stride)
    if any(p.slot < 0 or p.offset < 0 for p in pointers) or any(n < 0 for n in numbers):
        raise ValueError(f"a plan's slots, offsets and sizes are never negative: {step}")


def _print_step(e: Emitter, step: Step, threads: int) -> None:
    e.declare(f"void @{step.symbol}(ptr, ptr, i64, i64)")
    for at, param in enumerate(step.params):
        value = _address(e, param)
        place = e.let(f"getelementptr ptr, ptr %bufs, i64 {at}") if at else "%bufs"
        e.do(f"store ptr {value}, ptr {place}, align 8")
    bufs = "%bufs" if step.params else "null"
    scratch = _address(e, step.scratch) if step.scratch else "null"
    if step.parallel:
        e.declare(pool.DECLARATION.removeprefix("declare "))
        e.do(f"call void @{pool.SYMBOL}(ptr @{step.symbol}, ptr {bufs}, ptr {scratch}, i64 {step.scratch_stride}, i64 {step.extent}, "
             f"i64 {step.grain}, i64 {threads})")
    else:
        e.do(f"call void @{step.symbol}(ptr {bufs}, ptr {scratch}, i64 0, i64 {step.extent})")


def _print_copy(e: Emitter, copy: Copy) -> None:
    if copy.nbytes and copy.dst != copy.src:
        e.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        dst, src = _address(e, copy.dst), _address(e, copy.src)
        e.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {dst}, ptr {src}, i64 {copy.nbytes}, i1 false)")


def _print_time(e: Emitter, timing: Timing, at: int) -> None:
    e.do("call i32 @clock_gettime(i32 1, ptr %clock)")
    seconds = e.let("load i64, ptr %clock, align 8")
    fraction = e.let("load i64, ptr " + e.let("getelementptr i64, ptr %clock, i64 1") + ", align 8")
    now = e.let(f"add i64 {e.let(f'mul i64 {seconds}, 1000000000')}, {fraction}")
    e.do(f"store i64 {now}, ptr {_address(e, Pointer(timing.slot, 8 * at))}, align 8")


def _address(e: Emitter, pointer: Pointer) -> str:
    """Read from `args` anew each time: a load that hits the cache costs less than a register kept alive over every call."""
    slot = e.let(f"getelementptr ptr, ptr %args, i64 {pointer.slot}") if pointer.slot else "%args"
    base = e.let(f"load ptr, ptr {slot}, align 8")
    return e.let(f"getelementptr i8, ptr {base}, i64 {pointer.offset}") if pointer.offset else base
