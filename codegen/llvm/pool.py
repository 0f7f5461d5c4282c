"""The threads that share a kernel's work: a small pool, itself printed as LLVM code, that plans call.

    graphc_parallel_for(fn, bufs, scratch, scratch_stride, extent, grain, threads)

calls `fn(bufs, scratch + worker * scratch_stride, begin, end)` for the pieces [0, grain), [grain, 2 grain), ... of [0, extent), on at most
`threads` threads, of which the caller is number 0. The pieces depend on extent and grain alone, never on the number of threads, so neither
does the result.

How it works. One job at a time is shared. Its `ticket` holds the job's number (high half) and how many pieces nobody has claimed (low
half); a thread claims one by compare-and-swap. Everybody draws from it, the caller too, and the caller then waits only for pieces that were
claimed and are not done: when another process holds the other cores, the caller ends up doing the work alone and nearly loses no time.
`pending` counts the pieces not done. Idle workers spin for some tens of microseconds, since the next kernel usually comes at once, then
sleep on a futex; the caller spins shortly, yields, then sleeps.

A second caller, from another thread or from inside a piece, does its own pieces serially: nobody waits for the pool, so nothing can
deadlock. A forked child has none of its parent's threads and starts its own. Linux only, as futexes are.
"""
from __future__ import annotations

import atexit
import ctypes
import functools
import os
import platform
import string

from graphc.codegen.llvm import cache, jit, target

SYMBOL = "graphc_parallel_for"
DECLARATION = f"declare void @{SYMBOL}(ptr, ptr, ptr, i64, i64, i64, i64)"
MAX_THREADS = 256
_MAX_PIECES = 1 << 20  # a finer grain than extent / 2**20 is coarsened
_WORKER_SPINS = 1000  # pauses, about 40 ns each
_CALLER_SPINS = 200
_CALLER_YIELDS = 64
_FUTEX_CALL = {"x86_64": 202, "aarch64": 98}
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}


def address() -> int:
    """Where `graphc_parallel_for` is. Made on first use, never unloaded: its threads run in it."""
    return _library().address(SYMBOL)


def imports() -> dict[str, int]:
    """What `jit.link` needs to link a plan that calls the pool."""
    return {SYMBOL: address()}


def workers() -> int:
    """How many threads the pool has started in this process, the callers not counted."""
    return int(ctypes.c_int64.from_address(_library().address("started")).value)


def stop() -> None:
    """Ends the pool's threads once the job in progress is done. The next call that needs threads starts new ones."""
    if _loaded.cache_info().currsize:
        _loaded().function("stop", None)()


def text(machine: str | None = None) -> str:
    """The pool as an LLVM module, for `platform.machine()` unless told otherwise."""
    machine = machine or platform.machine()
    if machine not in _PAUSE or platform.system() != "Linux":
        raise OSError(f"graphc's thread pool runs on Linux, on {' and '.join(_PAUSE)}; this is {platform.system()} on {machine}")
    declare_pause, pause = _PAUSE[machine]
    return _TEXT.substitute(
        declare_pause=declare_pause, pause=pause, futex=_FUTEX_CALL[machine], max_threads=MAX_THREADS, max_pieces=_MAX_PIECES,
        worker_spins=_WORKER_SPINS, caller_spins=_CALLER_SPINS, caller_yields=_CALLER_YIELDS,
    )


def _library() -> jit.Loaded:
    with jit.lock:  # two threads must not make two pools
        return _loaded()


@functools.cache
def _loaded() -> jit.Loaded:
    data = cache.object_code(text(), target.host())
    loaded = jit.link("pool", [data], {}, [SYMBOL, "stop", "reset", "started"])
    os.register_at_fork(after_in_child=loaded.function("reset", None))
    atexit.register(stop)
    return loaded


# Each group of variables that one side writes and the other polls has a cache line of its own.
_TEXT = string.Template("""\
%job = type { ptr, ptr, ptr, i64, i64, i64, i32, i32 } ; fn, bufs, scratch, scratch stride, extent, grain, pieces, threads

@busy = internal global i32 0, align 64                 ; 1 while a caller owns the pool
@job = internal global %job zeroinitializer, align 64   ; written by the owner before it issues tickets
@ticket = internal global i64 0, align 64               ; job number << 32 | unclaimed pieces
@pending = internal global i32 0, align 64              ; pieces not done
@waiting = internal global i32 0, align 4               ; 1 while the owner sleeps on pending
@bell = internal global i32 0, align 64                 ; changes whenever sleepers are woken
@sleepers = internal global i32 0, align 4
@stopping = internal global i32 0, align 4
@started = global i64 0, align 64                       ; workers alive; worker k has the number k + 1
@handles = internal global [$max_threads x i64] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sched_yield()
declare i64 @syscall(i64, ...)
$declare_pause

; Sleeps while *where is `expected`; may return early.
define internal void @futex_wait(ptr %where, i32 %expected) {
  call i64 (i64, ...) @syscall(i64 $futex, ptr %where, i32 128, i32 %expected, ptr null, ptr null, i32 0)
  ret void
}

; Wakes at most `count` of those who sleep on `where`.
define internal void @futex_wake(ptr %where, i32 %count) {
  call i64 (i64, ...) @syscall(i64 $futex, ptr %where, i32 129, i32 %count, ptr null, ptr null, i32 0)
  ret void
}

; Does piece number `piece` of *job as thread number `me`.
define internal void @run_piece(ptr %job, i64 %piece, i64 %me) {
  %all = load %job, ptr %job, align 8
  %fn = extractvalue %job %all, 0
  %bufs = extractvalue %job %all, 1
  %scratch = extractvalue %job %all, 2
  %stride = extractvalue %job %all, 3
  %extent = extractvalue %job %all, 4
  %grain = extractvalue %job %all, 5
  %offset = mul i64 %me, %stride
  %mine = getelementptr i8, ptr %scratch, i64 %offset
  %begin = mul i64 %piece, %grain
  %rest = sub i64 %extent, %begin
  %tail = icmp slt i64 %rest, %grain
  %length = select i1 %tail, i64 %rest, i64 %grain
  %end = add i64 %begin, %length
  call void %fn(ptr %bufs, ptr %mine, i64 %begin, i64 %end)
  ret void
}

; Claims and does pieces of the shared job as thread `me` until none is unclaimed. A thread that the job has no place for claims nothing.
; A claim succeeds only if the ticket did not change since it was read; it had an unclaimed piece then, so the job was not over in between
; and what was read of @job belongs to it.
define internal void @drain(i32 %me) {
entry:
  %me.wide = zext i32 %me to i64
  br label %look
look:
  %ticket = load atomic i64, ptr @ticket seq_cst, align 8
  br label %check
check:
  %now = phi i64 [ %ticket, %look ], [ %seen, %claim ]
  %left = trunc i64 %now to i32
  %none = icmp eq i32 %left, 0
  br i1 %none, label %out, label %place
place:
  %threads = load atomic i32, ptr getelementptr (%job, ptr @job, i32 0, i32 7) monotonic, align 4
  %room = icmp slt i32 %me, %threads
  br i1 %room, label %claim, label %out
claim:
  %next = sub i64 %now, 1
  %swap = cmpxchg ptr @ticket, i64 %now, i64 %next seq_cst seq_cst, align 8
  %seen = extractvalue { i64, i1 } %swap, 0
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %do, label %check
do:
  %pieces = load i32, ptr getelementptr (%job, ptr @job, i32 0, i32 6), align 4
  %piece = sub i32 %pieces, %left
  %piece.wide = zext i32 %piece to i64
  call void @run_piece(ptr @job, i64 %piece.wide, i64 %me.wide)
  %before = atomicrmw sub ptr @pending, i32 1 seq_cst, align 4
  %last = icmp eq i32 %before, 1
  br i1 %last, label %tell, label %look
tell:
  %asleep = load atomic i32, ptr @waiting seq_cst, align 4
  %wake = icmp ne i32 %asleep, 0
  br i1 %wake, label %call, label %look
call:
  call void @futex_wake(ptr @pending, i32 1)
  br label %look
out:
  ret void
}

; Whether thread `me` could claim a piece now.
define internal i1 @work_for(i32 %me) {
  %ticket = load atomic i64, ptr @ticket seq_cst, align 8
  %left = trunc i64 %ticket to i32
  %some = icmp ne i32 %left, 0
  %threads = load atomic i32, ptr getelementptr (%job, ptr @job, i32 0, i32 7) monotonic, align 4
  %room = icmp slt i32 %me, %threads
  %yes = and i1 %some, %room
  ret i1 %yes
}

; The life of a worker: draw, spin, sleep. It counts itself as a sleeper before it looks for work a last time, and the owner issues tickets
; before it looks for sleepers, so one of the two always notices the other.
define internal ptr @worker(ptr %argument) {
entry:
  %me.wide = ptrtoint ptr %argument to i64
  %me = trunc i64 %me.wide to i32
  br label %work
work:
  call void @drain(i32 %me)
  br label %spin
spin:
  %spins = phi i32 [ 0, %work ], [ %spun, %again ]
  %found = call i1 @work_for(i32 %me)
  br i1 %found, label %work, label %alive
alive:
  %stop = load atomic i32, ptr @stopping seq_cst, align 4
  %ending = icmp ne i32 %stop, 0
  br i1 %ending, label %end, label %again
again:
  $pause
  %spun = add i32 %spins, 1
  %tired = icmp eq i32 %spun, $worker_spins
  br i1 %tired, label %bed, label %spin
bed:
  %tune = load atomic i32, ptr @bell seq_cst, align 4
  atomicrmw add ptr @sleepers, i32 1 seq_cst, align 4
  %late = call i1 @work_for(i32 %me)
  %stop.late = load atomic i32, ptr @stopping seq_cst, align 4
  %ending.late = icmp ne i32 %stop.late, 0
  %stay = or i1 %late, %ending.late
  br i1 %stay, label %up, label %sleep
sleep:
  call void @futex_wait(ptr @bell, i32 %tune)
  br label %up
up:
  atomicrmw sub ptr @sleepers, i32 1 seq_cst, align 4
  br label %work
end:
  ret ptr null
}

; Rings the bell for at most `count` sleepers.
define internal void @ring(i32 %count) {
entry:
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %out
wake:
  atomicrmw add ptr @bell, i32 1 seq_cst, align 4
  call void @futex_wake(ptr @bell, i32 %count)
  br label %out
out:
  ret void
}

; Starts workers until there are `wanted`, or the system refuses more. They take no signals: those are for Python's threads.
define internal void @hire(i64 %wanted) {
entry:
  %all = alloca [16 x i64], align 8
  %old = alloca [16 x i64], align 8
  %have = load i64, ptr @started, align 8
  %enough = icmp sge i64 %have, %wanted
  br i1 %enough, label %out, label %mask
mask:
  call i32 @sigfillset(ptr %all)
  call i32 @pthread_sigmask(i32 2, ptr %all, ptr %old)
  br label %one
one:
  %at = phi i64 [ %have, %mask ], [ %number, %more ]
  %number = add i64 %at, 1
  %argument = inttoptr i64 %number to ptr
  %handle = getelementptr [$max_threads x i64], ptr @handles, i64 0, i64 %at
  %refused = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %argument)
  %failed = icmp ne i32 %refused, 0
  br i1 %failed, label %unmask, label %more
more:
  store atomic i64 %number, ptr @started monotonic, align 8
  %done = icmp sge i64 %number, %wanted
  br i1 %done, label %unmask, label %one
unmask:
  call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  br label %out
out:
  ret void
}

; Returns when every claimed piece is done: spins, then yields, then sleeps.
define internal void @await() {
entry:
  br label %check
check:
  %turn = phi i32 [ 0, %entry ], [ %next, %pause ], [ %next, %yield ], [ %next, %back ]
  %left = load atomic i32, ptr @pending seq_cst, align 4
  %over = icmp eq i32 %left, 0
  br i1 %over, label %out, label %wait
wait:
  %next = add i32 %turn, 1
  %soon = icmp slt i32 %turn, $caller_spins
  br i1 %soon, label %pause, label %later
pause:
  $pause
  br label %check
later:
  %yields = sub i32 %turn, $caller_spins
  %patient = icmp slt i32 %yields, $caller_yields
  br i1 %patient, label %yield, label %sleep
yield:
  call i32 @sched_yield()
  br label %check
sleep:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  %still = load atomic i32, ptr @pending seq_cst, align 4
  %needed = icmp ne i32 %still, 0
  br i1 %needed, label %nap, label %back
nap:
  call void @futex_wait(ptr @pending, i32 %still)
  br label %back
back:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  br label %check
out:
  ret void
}

; Shares the job in *mine among the workers and this thread.
define internal void @share(ptr %mine, i32 %pieces, i32 %threads) {
entry:
  %wanted = sub i32 %threads, 1
  %wanted.wide = zext i32 %wanted to i64
  call void @hire(i64 %wanted.wide)
  %all = load %job, ptr %mine, align 8
  store %job %all, ptr @job, align 64
  store atomic i32 %pieces, ptr @pending seq_cst, align 4
  %last = load i64, ptr @ticket, align 8
  %number = and i64 %last, -4294967296
  %following = add i64 %number, 4294967296
  %count = zext i32 %pieces to i64
  %ticket = or i64 %following, %count
  store atomic i64 %ticket, ptr @ticket seq_cst, align 8
  ; Sleepers are woken by number only when all of them have a place in this job.
  %have = load i64, ptr @started, align 8
  %all.placed = icmp sle i64 %have, %wanted.wide
  %helpers = sub i32 %pieces, 1
  %woken = select i1 %all.placed, i32 %helpers, i32 2147483647
  call void @ring(i32 %woken)
  call void @drain(i32 0)
  call void @await()
  ret void
}

define void @graphc_parallel_for(ptr %fn, ptr %bufs, ptr %scratch, i64 %stride, i64 %extent, i64 %grain, i64 %threads) {
entry:
  %mine = alloca %job, align 8
  %empty = icmp sle i64 %extent, 0
  br i1 %empty, label %out, label %size
size:
  %extent.less = sub i64 %extent, 1
  %least.less = udiv i64 %extent.less, $max_pieces
  %least = add i64 %least.less, 1
  %fine = icmp slt i64 %grain, %least
  %length = select i1 %fine, i64 %least, i64 %grain
  %pieces.less = udiv i64 %extent.less, %length
  %pieces.wide = add i64 %pieces.less, 1
  %pieces = trunc i64 %pieces.wide to i32
  %crowd = icmp sgt i64 %threads, $max_threads
  %at.most = select i1 %crowd, i64 $max_threads, i64 %threads
  %few = icmp slt i64 %pieces.wide, %at.most
  %useful = select i1 %few, i64 %pieces.wide, i64 %at.most
  %useful.short = trunc i64 %useful to i32
  %job.0 = insertvalue %job poison, ptr %fn, 0
  %job.1 = insertvalue %job %job.0, ptr %bufs, 1
  %job.2 = insertvalue %job %job.1, ptr %scratch, 2
  %job.3 = insertvalue %job %job.2, i64 %stride, 3
  %job.4 = insertvalue %job %job.3, i64 %extent, 4
  %job.5 = insertvalue %job %job.4, i64 %length, 5
  %job.6 = insertvalue %job %job.5, i32 %pieces, 6
  %job.7 = insertvalue %job %job.6, i32 %useful.short, 7
  store %job %job.7, ptr %mine, align 8
  %alone = icmp slt i64 %useful, 2
  %closing = load atomic i32, ptr @stopping monotonic, align 4
  %closed = icmp ne i32 %closing, 0
  %unshared = or i1 %alone, %closed
  br i1 %unshared, label %serial, label %try
try:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 seq_cst seq_cst, align 4
  %owner = extractvalue { i32, i1 } %swap, 1
  br i1 %owner, label %together, label %serial
together:
  call void @share(ptr %mine, i32 %pieces, i32 %useful.short)
  store atomic i32 0, ptr @busy seq_cst, align 4
  br label %out
serial:
  %piece = phi i64 [ 0, %size ], [ 0, %try ], [ %piece.next, %serial ]
  call void @run_piece(ptr %mine, i64 %piece, i64 0)
  %piece.next = add i64 %piece, 1
  %more = icmp slt i64 %piece.next, %pieces.wide
  br i1 %more, label %serial, label %out
out:
  ret void
}

; Ends and joins the workers, when the job in progress is done. Callers share no more jobs from the moment that @stopping is set, else a
; busy one could keep the pool for ever.
define void @stop() {
entry:
  store atomic i32 1, ptr @stopping seq_cst, align 4
  br label %try
try:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 seq_cst seq_cst, align 4
  %owner = extractvalue { i32, i1 } %swap, 1
  br i1 %owner, label %end, label %wait
wait:
  call i32 @sched_yield()
  br label %try
end:
  store atomic i32 1, ptr @stopping seq_cst, align 4 ; again: another stop may have finished in between
  call void @ring(i32 2147483647)
  %have = load i64, ptr @started, align 8
  br label %each
each:
  %at = phi i64 [ 0, %end ], [ %next, %join ]
  %done = icmp sge i64 %at, %have
  br i1 %done, label %out, label %join
join:
  %handle = getelementptr [$max_threads x i64], ptr @handles, i64 0, i64 %at
  %thread = load i64, ptr %handle, align 8
  call i32 @pthread_join(i64 %thread, ptr null)
  %next = add i64 %at, 1
  br label %each
out:
  call void @reset()
  ret void
}

; The state of a process that has no workers: after stop, and in a forked child.
define void @reset() {
  store i64 0, ptr @started, align 8
  store i64 0, ptr @ticket, align 8
  store i32 0, ptr @pending, align 4
  store i32 0, ptr @waiting, align 4
  store i32 0, ptr @sleepers, align 4
  store i32 0, ptr @stopping, align 4
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
""")
