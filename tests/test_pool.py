"""The thread pool: every piece exactly once, scratch never shared, results free of the thread count, and never a deadlock.

The kernels are written in LLVM by hand. `count` adds 1 to every element of its range, atomically. `pieces` writes each piece's end at its
beginning. `claim` marks its scratch as taken while it works and counts the times it finds it taken already. `nest` calls the pool again.
"""
from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen.llvm import cache, jit, pool, target

KERNELS = f"""
{pool.DECLARATION}
declare i32 @sched_yield()

define void @count(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {{
entry:
  %x = load ptr, ptr %bufs
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %at = getelementptr i32, ptr %x, i64 %i
  atomicrmw add ptr %at, i32 1 monotonic
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %out
out:
  ret void
}}

define void @pieces(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {{
  %x = load ptr, ptr %bufs
  %at = getelementptr i64, ptr %x, i64 %begin
  store i64 %end, ptr %at
  ret void
}}

define void @claim(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {{
  %x = load ptr, ptr %bufs
  %before = atomicrmw xchg ptr %scratch, i64 1 seq_cst
  atomicrmw add ptr %x, i64 %before seq_cst
  call i32 @sched_yield()
  store atomic i64 0, ptr %scratch seq_cst, align 8
  %uses.at = getelementptr i64, ptr %scratch, i64 1
  %uses = load i64, ptr %uses.at
  %uses.more = add i64 %uses, 1
  store i64 %uses.more, ptr %uses.at
  ret void
}}

define void @nest(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {{
  call void @graphc_parallel_for(ptr @count, ptr %bufs, ptr %scratch, i64 0, i64 1000, i64 10, i64 4)
  ret void
}}

define void @slow(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %next = add i64 %i, 1
  %kept = call i64 asm sideeffect "", "=r,0"(i64 %next)
  %more = icmp slt i64 %kept, 2000000
  br i1 %more, label %loop, label %out
out:
  call void @count(ptr %bufs, ptr %scratch, i64 %begin, i64 %end)
  ret void
}}
"""


def kernels() -> jit.Loaded:
    with jit.lock:
        return _kernels()


@functools.cache
def _kernels() -> jit.Loaded:
    names = ["count", "pieces", "claim", "nest", "slow"]
    return jit.link("kernels", [cache.object_code(KERNELS, target.host())], pool.imports(), names)


@functools.cache
def parallel_for() -> Callable[..., None]:
    p, n = ctypes.c_void_p, ctypes.c_int64
    function: Callable[..., None] = ctypes.CFUNCTYPE(None, p, p, p, n, n, n, n)(pool.address())
    return function


def launch(kernel: str, x: np.ndarray, extent: int, grain: int, threads: int, scratch: np.ndarray | None = None) -> None:
    """Runs `kernel` over x on the pool; `scratch` has a row for each thread."""
    bufs = (ctypes.c_void_p * 1)(x.ctypes.data)
    where, stride = (None, 0) if scratch is None else (scratch.ctypes.data, scratch.strides[0])
    parallel_for()(kernels().address(kernel), ctypes.addressof(bufs), where, stride, extent, grain, threads)


@given(extent=st.integers(0, 5000), grain=st.integers(-1, 700), threads=st.integers(-1, 9))
@settings(max_examples=150)
def test_every_element_once(extent: int, grain: int, threads: int) -> None:
    x = np.zeros(extent + 8, np.int32)
    launch("count", x, extent, grain, threads)
    assert np.all(x[:extent] == 1)
    assert not x[extent:].any()


def test_many_small_jobs_one_after_the_other() -> None:
    x = np.zeros(64, np.int32)
    for _ in range(20_000):
        launch("count", x, 64, 7, 3)
    assert np.all(x == 20_000)


@pytest.mark.parametrize(("extent", "grain"), [(1, 1), (10, 3), (12, 3), (7, 100), (1000, 1), (513, 64)])
def test_pieces_depend_on_extent_and_grain_alone(extent: int, grain: int) -> None:
    expected = np.zeros(extent, np.int64)
    for begin in range(0, extent, grain):
        expected[begin] = min(begin + grain, extent)
    for threads in (1, 2, 3, 8):
        x = np.zeros(extent, np.int64)
        launch("pieces", x, extent, grain, threads)
        np.testing.assert_array_equal(x, expected)


def test_a_grain_far_too_fine_is_coarsened() -> None:
    extent = (1 << 20) + 5
    x = np.zeros(extent, np.int64)
    launch("pieces", x, extent, 1, 2)
    begins = np.flatnonzero(x)
    assert len(begins) == (extent + 1) // 2
    assert x[begins[-1]] == extent


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_each_thread_has_scratch_of_its_own(threads: int) -> None:
    found = np.zeros(1, np.int64)
    scratch = np.zeros((threads + 1, 64), np.int64)
    for _ in range(50):
        launch("claim", found, 100, 1, threads, scratch)
    assert found[0] == 0  # nobody found a scratch in use
    assert scratch[:, 1].sum() == 5000
    assert not scratch[threads].any()  # nor did anybody pass the end


def test_threads_start_late_and_only_as_many_as_asked() -> None:
    pool.stop()
    assert pool.workers() == 0
    x = np.zeros(100, np.int32)
    launch("count", x, 100, 10, 1)
    assert pool.workers() == 0
    launch("count", x, 100, 100, 4)  # one piece: nothing to share
    assert pool.workers() == 0
    launch("count", x, 100, 10, 3)
    assert pool.workers() == 2
    launch("count", x, 100, 10, 2)
    assert pool.workers() == 2
    assert len(os.listdir("/proc/self/task")) >= 3
    pool.stop()
    assert pool.workers() == 0
    launch("count", x, 100, 10, 3)
    assert np.all(x == 5)


def test_threads_really_share() -> None:
    scratch = np.zeros((4, 64), np.int64)
    found = np.zeros(1, np.int64)
    for _ in range(200):
        launch("claim", found, 400, 1, 4, scratch)
        if np.count_nonzero(scratch[:, 1]) > 1:
            return
    pytest.fail("80,000 pieces, and no worker did one")


def test_more_threads_than_the_pool_can_hold() -> None:
    x = np.zeros(3000, np.int32)
    pool.stop()
    launch("count", x, 3000, 1, 10_000)
    assert np.all(x == 1)
    assert pool.workers() == pool.MAX_THREADS - 1
    pool.stop()


def test_a_nested_call_runs() -> None:
    x = np.zeros(1000, np.int32)
    for _ in range(20):
        launch("nest", x, 8, 1, 4)
    assert np.all(x == 160)


def test_sleeping_workers_wake() -> None:
    x = np.zeros(8, np.int32)
    for _ in range(20):
        launch("slow", x, 8, 1, 2)
        time.sleep(0.002)
    assert np.all(x == 20)


def test_several_callers_at_once() -> None:
    arrays = [np.zeros(500, np.int32) for _ in range(6)]

    def call(x: np.ndarray) -> None:
        for _ in range(300):
            launch("count", x, 500, 20, 4)

    threads = [threading.Thread(target=call, args=(x,)) for x in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(np.all(x == 300) for x in arrays)


def test_stop_while_others_call() -> None:
    x = np.zeros(500, np.int32)
    ended = threading.Event()

    def call() -> None:
        for _ in range(500):
            launch("count", x, 500, 20, 3)
        ended.set()

    thread = threading.Thread(target=call)
    thread.start()
    while not ended.is_set():
        pool.stop()
    thread.join(60)
    assert np.all(x == 500)


def run_alone(code: str, tmp_path: Path, timeout: float = 60) -> str:
    """Runs `code`, which sees this file's helpers, in a process of its own; fails if it hangs or dies."""
    script = tmp_path / "alone.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_pool import *\n" + textwrap.dedent(code))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forks_in_the_middle_of_everything(tmp_path: Path) -> None:
    out = run_alone("""
        stop = threading.Event()
        arrays = [np.zeros(500, np.int32) for _ in range(2)]
        calls = [0, 0]
        def call(n):
            while not stop.is_set():
                launch("count", arrays[n], 500, 10, 6)
                calls[n] += 1
        threads = [threading.Thread(target=call, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            child = os.fork()
            if child == 0:
                x = np.zeros(500, np.int32)
                for _ in range(20):
                    launch("slow" if _ == 0 else "count", x, 500, 100, 3)
                os._exit(0 if np.all(x == 20) and pool.workers() == 2 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            launch("count", np.zeros(500, np.int32), 500, 10, 6)
        stop.set()
        for thread in threads:
            thread.join()
        assert all(np.all(x == n) for x, n in zip(arrays, calls))
        print("whole", min(calls) > 0)
        """, tmp_path)
    assert out == "whole True\n"


def test_oversubscribed(tmp_path: Path) -> None:
    """Sixteen workers and four busy processes on whatever cores there are."""
    run_alone("""
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                end = time.monotonic() + 1.5
                while time.monotonic() < end:
                    pass
                os._exit(0)
            children.append(child)
        x = np.zeros(1000, np.int32)
        rounds, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            launch("count", x, 1000, 10, 17)
            rounds += 1
        assert np.all(x == rounds) and rounds > 20, rounds
        for child in children:
            os.waitpid(child, 0)
        """, tmp_path)


@pytest.mark.parametrize("state", ["hot", "asleep", "stopped", "called at exit", "daemon thread busy"])
def test_the_process_ends_cleanly(tmp_path: Path, state: str) -> None:
    endings = {
        "hot": "",
        "asleep": "time.sleep(0.01)",
        "stopped": "pool.stop(); pool.stop()",
        "called at exit": "import atexit; atexit._clear(); atexit.register(lambda: launch('count', x, 100, 1, 4))",
        "daemon thread busy": "threading.Thread(target=lambda: [launch('slow', x, 100, 1, 4) for _ in range(9999)], daemon=True).start()\n"
        "time.sleep(0.05)",
    }
    start = time.monotonic()
    run_alone("x = np.zeros(100, np.int32)\nlaunch('count', x, 100, 1, 4)\n" + endings[state], tmp_path, timeout=20)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_text_parses_for_every_machine(machine: str) -> None:
    text = pool.text(machine)
    assert ("sse2" in text) == (machine == "x86_64")
    with pytest.raises(OSError, match="x86_64 and aarch64; this is Linux on vax"):
        pool.text("vax")
    if machine == target.host().name.split("-")[0]:
        assert jit.compile_module(text, target.host())
