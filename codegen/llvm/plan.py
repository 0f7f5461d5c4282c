"""Prints a whole run as one function, `i64 @plan(ptr %args)`: a table of kernel launches and copies, and the loop that goes down it.

`args` is an array of pointers that the runtime fills: arena, scratch, feeds, variables, constants, outputs. A `Step` names a kernel and
where its buffers are, as slots of `args` and byte offsets. The text holds no address and depends on the steps alone, so its object code is
cached like a kernel's. It is linked beside the kernels and the pool, and `entry` calls it.

A table, because LLVM takes 0.7 ms to compile each launch written out as code, and nothing to lay out its numbers; a launch costs some
nanoseconds either way.
"""
from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen.llvm import pool
from graphc.codegen.pointer import Pointer

SYMBOL = "plan"
DECLARATION = f"declare i64 @{SYMBOL}(ptr)"


@dataclass(frozen=True)
class Step:
    """One launch of the kernel `symbol`: `void @symbol(ptr bufs, ptr scratch, i64 begin, i64 end)`.

    `params` are its buffers in order. [0, extent) is its parallel range; where `parallel`, the pool shares it in pieces of `grain`, else
    one call does it all. Thread number t gets `scratch` + t * `scratch_stride` bytes, so there must be threads * scratch_stride of them;
    without `scratch` it gets null. Where `host`, the symbol is a function of the host instead, `i64 @symbol(ptr bufs)`, called by the
    thread that runs the plan; the plan ends there with what it returns unless that is 0.
    """

    symbol: str
    params: tuple[Pointer, ...]
    extent: int = 1
    grain: int = 1
    parallel: bool = False
    scratch: Pointer | None = None
    scratch_stride: int = 0
    host: bool = False


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
    """The LLVM module of a plan that uses at most `threads` threads.

    It defines @plan, which returns 0 (or what a step of the host returned to end it), and needs the steps' symbols and `pool.imports()`.
    Equal steps give equal text. ValueError for negative slots, extents or sizes.
    """
    launches = [_launch(step) for step in steps]
    rows: list[str] = []
    pointers: list[str] = []
    for step in launches:
        first = len(pointers)
        pointers += [_pointer(pointer) for pointer in step.params]
        slot, offset = (step.scratch.slot, step.scratch.offset) if step.scratch else (_NO_SLOT, 0)
        mode = _HOST if step.host else threads if step.parallel else 0
        numbers = (step.extent, step.grain, mode, slot, offset, step.scratch_stride, first, len(pointers))
        rows.append(f"%step {{ ptr @{step.symbol}, {', '.join(f'i64 {n}' for n in numbers)} }}")
    symbols = {step.symbol: _HOST_KERNEL if step.host else _KERNEL for step in launches if step.symbol != _COPY}
    return _TEXT.substitute(
        steps=_table("step", rows),
        pointers=_table("pointer", pointers),
        kernels="\n".join(declaration.format(symbol) for symbol, declaration in symbols.items()),
        count=len(rows),
        room=max((len(step.params) for step in launches), default=0),
        pool_declaration=pool.DECLARATION,
        pool=pool.SYMBOL,
        begin_clock=_stamp(timing, "0") if timing else "",
        step_clock=_stamp(timing, "%following") if timing else "",
        clock=_CLOCK if timing else "",
    )


_COPY = "copy.bytes"
_NO_SLOT = -1
_HOST = -1  # in place of a number of threads
_KERNEL, _HOST_KERNEL = "declare void @{}(ptr, ptr, i64, i64)", "declare i64 @{}(ptr)"


def _launch(step: Step | Copy) -> Step:
    """`step` as a launch: a copy is one of the plan's own kernel for it. ValueError for numbers that cannot be."""
    if isinstance(step, Copy):
        step = Step(_COPY, (step.dst, step.src), extent=step.nbytes if step.dst != step.src else 0)
    pointers = (*step.params, *((step.scratch,) if step.scratch else ()))
    if any(p.slot < 0 or p.offset < 0 for p in pointers) or step.extent < 0 or step.scratch_stride < 0:
        raise ValueError(f"a plan's slots, offsets and sizes are never negative: {step}")
    return step


def _pointer(pointer: Pointer) -> str:
    return f"%pointer {{ i64 {pointer.slot}, i64 {pointer.offset} }}"


def _table(kind: str, rows: Sequence[str]) -> str:
    """A constant array of %kind, one row a line."""
    body = "[\n  " + ",\n  ".join(rows) + "\n]" if rows else "[]"
    return f"[{len(rows)} x %{kind}] {body}, align 8"


def _stamp(timing: Timing, index: str) -> str:
    return f"call void @stamp(ptr %args, i64 {timing.slot}, i64 {index})"


_CLOCK = """
declare i32 @clock_gettime(i32, ptr)

; Writes the time, in nanoseconds, to element `index` of the array that args[slot] points at.
define internal void @stamp(ptr %args, i64 %slot, i64 %index) {
  %clock = alloca { i64, i64 }, align 8
  call i32 @clock_gettime(i32 1, ptr %clock)
  %now = load { i64, i64 }, ptr %clock, align 8
  %seconds = extractvalue { i64, i64 } %now, 0
  %rest = extractvalue { i64, i64 } %now, 1
  %whole = mul i64 %seconds, 1000000000
  %time = add i64 %whole, %rest
  %array.at = getelementptr ptr, ptr %args, i64 %slot
  %array = load ptr, ptr %array.at, align 8
  %at = getelementptr i64, ptr %array, i64 %index
  store i64 %time, ptr %at, align 8
  ret void
}
"""

_TEXT = string.Template("""\
%pointer = type { i64, i64 }                                  ; slot, offset
%step = type { ptr, i64, i64, i64, i64, i64, i64, i64, i64 }  ; kernel, extent, grain, threads (0: one call,
                                                              ; -1: of the host), scratch slot (-1: none),
                                                              ; scratch offset, scratch stride, its first pointer, the next step's first
@steps = internal constant $steps
@pointers = internal constant $pointers

$pool_declaration
$kernels
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; A kernel: bytes [begin, end) of bufs[1] to bufs[0].
define internal void @copy.bytes(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {
  %dst = load ptr, ptr %bufs, align 8
  %src.at = getelementptr ptr, ptr %bufs, i64 1
  %src = load ptr, ptr %src.at, align 8
  %to = getelementptr i8, ptr %dst, i64 %begin
  %from = getelementptr i8, ptr %src, i64 %begin
  %length = sub i64 %end, %begin
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %length, i1 false)
  ret void
}
$clock
define i64 @plan(ptr %args) {
entry:
  %bufs = alloca [$room x ptr], align 16 ; serves every launch: one is over when its call returns
  $begin_clock
  br label %next
next:
  %number = phi i64 [ 0, %entry ], [ %following, %done ]
  %more = icmp ult i64 %number, $count
  br i1 %more, label %step, label %out
step:
  %row = getelementptr %step, ptr @steps, i64 %number
  %all = load %step, ptr %row, align 8
  %kernel = extractvalue %step %all, 0
  %extent = extractvalue %step %all, 1
  %grain = extractvalue %step %all, 2
  %threads = extractvalue %step %all, 3
  %scratch.slot = extractvalue %step %all, 4
  %scratch.offset = extractvalue %step %all, 5
  %stride = extractvalue %step %all, 6
  %first = extractvalue %step %all, 7
  %end = extractvalue %step %all, 8
  br label %param
param:
  %at = phi i64 [ %first, %step ], [ %at.next, %fill ]
  %filled = icmp eq i64 %at, %end
  br i1 %filled, label %ready, label %fill
fill:
  %pointer.at = getelementptr %pointer, ptr @pointers, i64 %at
  %pointer = load %pointer, ptr %pointer.at, align 8
  %slot = extractvalue %pointer %pointer, 0
  %offset = extractvalue %pointer %pointer, 1
  %base.at = getelementptr ptr, ptr %args, i64 %slot
  %base = load ptr, ptr %base.at, align 8
  %address = getelementptr i8, ptr %base, i64 %offset
  %place = sub i64 %at, %first
  %buf = getelementptr ptr, ptr %bufs, i64 %place
  store ptr %address, ptr %buf, align 8
  %at.next = add i64 %at, 1
  br label %param
ready:
  %bare = icmp slt i64 %scratch.slot, 0
  br i1 %bare, label %launch, label %scratch
scratch:
  %scratch.at = getelementptr ptr, ptr %args, i64 %scratch.slot
  %scratch.base = load ptr, ptr %scratch.at, align 8
  %scratch.address = getelementptr i8, ptr %scratch.base, i64 %scratch.offset
  br label %launch
launch:
  %own = phi ptr [ null, %ready ], [ %scratch.address, %scratch ]
  switch i64 %threads, label %shared [
    i64 0, label %whole
    i64 -1, label %host
  ]
whole:
  call void %kernel(ptr %bufs, ptr %own, i64 0, i64 %extent)
  br label %done
shared:
  call void @$pool(ptr %kernel, ptr %bufs, ptr %own, i64 %stride, i64 %extent, i64 %grain, i64 %threads)
  br label %done
host:
  %status = call i64 %kernel(ptr %bufs)
  %well = icmp eq i64 %status, 0
  br i1 %well, label %done, label %failed
failed:
  ret i64 %status
done:
  %following = add i64 %number, 1
  $step_clock
  br label %next
out:
  ret i64 0
}
""")
