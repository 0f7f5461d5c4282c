"""The printed plan: the right kernels with the right pointers in the right order, as one call; equal plans as equal text."""
from __future__ import annotations

import ctypes
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.codegen.llvm import cache, jit, pool, target
from graphc.codegen.llvm.plan import Copy, Pointer, Step, Timing, print_plan

HOST = target.host()
# a[i] = b[i] * 3 + i on int64, and a kernel that says what range and scratch it got.
KERNELS = """
define void @affine(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %bufs
  %b.at = getelementptr ptr, ptr %bufs, i64 1
  %b = load ptr, ptr %b.at
  %empty = icmp sge i64 %begin, %end
  br i1 %empty, label %out, label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %from = getelementptr i64, ptr %b, i64 %i
  %x = load i64, ptr %from
  %x3 = mul i64 %x, 3
  %y = add i64 %x3, %i
  %to = getelementptr i64, ptr %a, i64 %i
  store i64 %y, ptr %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %out
out:
  ret void
}
define void @tell(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {
  %a = load ptr, ptr %bufs
  %s = ptrtoint ptr %scratch to i64
  store i64 %s, ptr %a
  %second = getelementptr i64, ptr %a, i64 1
  store i64 %begin, ptr %second
  %third = getelementptr i64, ptr %a, i64 2
  store i64 %end, ptr %third
  ret void
}
define void @nothing(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {
  ret void
}
"""


def run(text: str, arrays: list[np.ndarray]) -> int:
    objects = [cache.object_code(t, HOST) for t in (KERNELS, text)]
    plan = jit.link("t", objects, pool.imports(), ["plan"]).function("plan", ctypes.c_int64, ctypes.c_void_p)
    pointers = np.array([a.ctypes.data for a in arrays], np.uintp)
    return int(plan(pointers.ctypes.data))


def test_an_empty_plan() -> None:
    assert run(print_plan([], 1), []) == 0


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("parallel", [False, True])
def test_steps_run_in_order_on_slots_and_offsets(threads: int, parallel: bool) -> None:
    n = 1000
    feed, arena, out = np.arange(n) * 7, np.zeros(2 * n + 5, np.int64), np.zeros(n, np.int64)
    second = Pointer(1, 8 * n)
    steps: list[Step | Copy] = [
        Step("affine", (Pointer(1), Pointer(0)), n, 64, parallel),
        Step("affine", (second, Pointer(1)), n, 64, parallel),
        Copy(Pointer(2), second, 8 * (n - 1)),
    ]
    assert run(print_plan(steps, threads), [feed, arena, out]) == 0
    once = feed * 3 + np.arange(n)
    twice = once * 3 + np.arange(n)
    np.testing.assert_array_equal(arena, np.concatenate([once, twice, np.zeros(5)]))
    np.testing.assert_array_equal(out, np.append(twice[:-1], 0))


def test_range_and_scratch_reach_the_kernel() -> None:
    a, scratch = np.zeros(3, np.int64), np.zeros(100, np.int64)
    run(print_plan([Step("tell", (Pointer(0),), extent=41, scratch=Pointer(1, 64))], 1), [a, scratch])
    assert a.tolist() == [scratch.ctypes.data + 64, 0, 41]
    run(print_plan([Step("tell", (Pointer(0),))], 1), [a, scratch])
    assert a.tolist() == [0, 0, 1]
    run(print_plan([Step("tell", (Pointer(0),), 41, 100, True, Pointer(1, 8), 64)], 4), [a, scratch])
    assert a.tolist() == [scratch.ctypes.data + 8, 0, 41]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15), st.integers(0, 2), st.integers(0, 15), st.integers(0, 16)), max_size=12))
def test_copies_do_what_numpy_does(moves: list[tuple[int, int, int, int, int]]) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 255, 32, dtype=np.uint8) for _ in range(3)]
    expected = [a.copy() for a in arrays]
    steps = []
    for dst, dst_at, src, src_at, n in moves:
        if dst == src and abs(dst_at - src_at) < n:
            continue  # overlapping copies are outside the contract
        steps.append(Copy(Pointer(dst, dst_at), Pointer(src, src_at), n))
        expected[dst][dst_at : dst_at + n] = expected[src][src_at : src_at + n].copy()
    run(print_plan(steps, 1), arrays)
    for got, wanted in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_timing_leaves_the_time_after_each_step() -> None:
    steps = [Step("nothing", ()), Step("affine", (Pointer(0), Pointer(1)), 1_000_000), Step("nothing", ())]
    a, b, times = np.zeros(1_000_000, np.int64), np.zeros(1_000_000, np.int64), np.zeros(4, np.int64)
    shares = []
    for _ in range(5):
        before = time.monotonic_ns()
        run(print_plan(steps, 1, Timing(2)), [a, b, times])
        after = time.monotonic_ns()
        assert before < times[0] <= times[1] < times[2] <= times[3] < after
        shares.append((times[2] - times[1]) / (times[3] - times[0]))
    assert max(shares) > 0.9  # nearly all of the time is that of the one step with work


def test_equal_plans_are_equal_text_and_name_no_address() -> None:
    steps: list[Step | Copy] = [Step("affine", (Pointer(0), Pointer(1)), 10, 2, True), Copy(Pointer(1), Pointer(0), 80)]
    assert print_plan(steps, 2) == print_plan(list(steps), 2)
    assert print_plan(steps, 2) != print_plan(steps, 3)
    assert print_plan(steps, 2).count("declare void @affine") == 1
    assert "inttoptr" not in print_plan(steps, 2)


@pytest.mark.parametrize("step", [
    Step("k", (Pointer(-1),)), Step("k", (Pointer(0, -8),)), Step("k", (), extent=-1), Step("k", (), scratch=Pointer(-2)),
    Copy(Pointer(0), Pointer(1), -1), Copy(Pointer(0, -1), Pointer(1), 1),
], ids=str)
def test_nonsense_is_refused(step: Step | Copy) -> None:
    with pytest.raises(ValueError, match="never negative"):
        print_plan([step], 1)


def test_a_long_plan_compiles_in_reasonable_time() -> None:
    steps = [Step("affine", tuple(Pointer(s % 9, 64 * s) for s in range(8)), 100) for _ in range(500)]
    start = time.perf_counter()
    jit.compile_module(print_plan(steps, 2), HOST)
    assert time.perf_counter() - start < 1
