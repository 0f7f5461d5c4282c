"""The way in from Python: the native entry and its ctypes twin do the same, refuse the same arrays, survive threads and the collector."""
from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.codegen.llvm import cache, entry, jit, pool, target
from graphc.codegen.llvm.entry import Args, Parameter
from graphc.codegen.llvm.plan import Pointer, Step, print_plan
from graphc.core import dtypes

HOST = target.host()
ADD_ONE = """
define void @add_one(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {
entry:
  %x = load ptr, ptr %bufs
  %y.at = getelementptr ptr, ptr %bufs, i64 1
  %y = load ptr, ptr %y.at
  %empty = icmp sge i64 %begin, %end
  br i1 %empty, label %out, label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %from = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %from, align 4
  %sum = fadd float %value, 1.0
  %to = getelementptr float, ptr %y, i64 %i
  store float %sum, ptr %to, align 4
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %out
out:
  ret void
}
"""


@pytest.fixture(params=["native", "ctypes"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GRAPHC_ENTRY", request.param)
    return str(request.param)


def add_one(shape: tuple[int, ...], release_gil: bool = False) -> entry.Run:
    size = int(np.prod(shape))
    steps = [Step("add_one", (Pointer(0), Pointer(1)), extent=size)]
    objects = [cache.object_code(text, HOST) for text in (ADD_ONE, print_plan(steps, threads=1))]
    params = [Parameter(0, dtypes.float32, shape), Parameter(1, dtypes.float32, shape, writable=True)]
    return entry.build("add_one", objects, params, Args(2), release_gil, HOST)


def echo(params: list[Parameter], args: Args, release_gil: bool = False) -> tuple[entry.Run, np.ndarray]:
    """An entry whose plan notes the pointers that it got (its last slot says where), for tests of what goes in."""
    last = len(args) - 1
    seen = np.zeros(last, np.uintp)
    args.set(last, seen)
    text = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n" \
           f"define i64 @plan(ptr %args) {{\n  %at = getelementptr ptr, ptr %args, i64 {last}\n  %seen = load ptr, ptr %at\n" \
           f"  call void @llvm.memcpy.p0.p0.i64(ptr %seen, ptr %args, i64 {8 * last}, i1 false)\n  ret i64 0\n}}\n"
    return entry.build("echo", [cache.object_code(text, HOST)], params, args, release_gil, HOST), seen


def test_this_interpreter_has_the_native_entry() -> None:
    assert entry.LAYOUT_HOLDS
    assert entry.native()
    assert type(add_one((3,))).__name__ == "builtin_function_or_method"


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (3, 0, 2), (33, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("release_gil", [False, True])
def test_x_plus_one(kind: str, shape: tuple[int, ...], release_gil: bool) -> None:
    run = add_one(shape, release_gil)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32).reshape(shape)
    y = np.full(shape, 7, np.float32)
    assert run(x, y) is None
    np.testing.assert_array_equal(y, x + np.float32(1))


def test_nan_and_infinity_pass(kind: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 3e38], np.float32)
    y = np.empty(4, np.float32)
    assert add_one((4,))(x, y) is None
    np.testing.assert_array_equal(y, x + np.float32(1))


class Sub(np.ndarray):
    pass


def wrong_arrays() -> dict[str, object]:
    plain = np.zeros((4, 6), np.float32)
    return {
        "another rank": np.zeros(24, np.float32),
        "another shape": np.zeros((6, 4), np.float32),
        "a longer axis": np.zeros((4, 7), np.float32),
        "another dtype": np.zeros((4, 6), np.float64),
        "the same size in another dtype": np.zeros((4, 6), np.int32),
        "the other byte order": plain.astype(">f4"),
        "Fortran order": np.zeros((4, 6), np.float32, order="F"),
        "strided": np.zeros((8, 6), np.float32)[::2],
        "unaligned": np.zeros(4 * 24 + 1, np.uint8)[1:].view(np.float32).reshape(4, 6),
        "a subclass": plain.view(Sub),
        "a list": [[0.0] * 6] * 4,
        "None": None,
        "a number": 1.5,
        "a numpy scalar": np.float32(1.5),
        "another descriptor of the same dtype": plain.view(np.dtype("f4", metadata={"from": "elsewhere"})),
    }


@pytest.mark.parametrize("what", wrong_arrays())
def test_what_does_not_fit_is_refused_and_nothing_runs(kind: str, what: str) -> None:
    run = add_one((4, 6))
    x, y, bad = np.ones((4, 6), np.float32), np.zeros((4, 6), np.float32), wrong_arrays()[what]
    assert run(bad, y) == 0
    assert run(x, bad) == 1
    assert run(bad, bad) == 0
    assert not y.any()
    assert run(x, y) is None


def test_a_wrong_number_of_arrays(kind: str) -> None:
    run = add_one((2,))
    x = np.zeros(2, np.float32)
    assert [run(), run(x), run(x, x, x)] == [-1, -1, -1]


def test_an_output_must_be_writable_a_feed_need_not(kind: str) -> None:
    run = add_one((2,))
    frozen, y = np.zeros(2, np.float32), np.zeros(2, np.float32)
    frozen.flags.writeable = False
    assert run(frozen, y) is None
    assert run(y, frozen) == 1


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_every_dtype(kind: str, dtype: dtypes.DType) -> None:
    run, seen = echo([Parameter(0, dtype, (3,))], Args(2))
    x = np.zeros(3, dtype.as_numpy_dtype)
    assert run(x) is None
    assert seen[0] == x.ctypes.data
    other = dtypes.int8 if dtype is not dtypes.int8 else dtypes.uint8
    assert run(np.zeros(3, other.np_dtype)) == 0


def test_canonical_makes_what_an_entry_takes() -> None:
    run = add_one((4, 6))
    y = np.zeros((4, 6), np.float32)
    for what in ("Fortran order", "strided", "unaligned", "a subclass", "the other byte order", "another descriptor of the same dtype"):
        bad = wrong_arrays()[what]
        assert isinstance(bad, np.ndarray)
        assert run(entry.canonical(bad.astype(np.float32) if what == "the other byte order" else bad, dtypes.float32), y) is None
    good = np.zeros((4, 6), np.float32)
    assert entry.canonical(good, dtypes.float32) is good
    with pytest.raises(TypeError, match="float64 is not one of float32"):
        entry.canonical(np.zeros(3), dtypes.float32)


@given(order=st.permutations(range(6)), lasting=st.integers(0, 6), release_gil=st.booleans())
def test_pointers_reach_their_slots(order: list[int], lasting: int, release_gil: bool) -> None:
    arrays = [np.zeros(n + 1, np.float64) for n in range(6)]
    params = [Parameter(slot, dtypes.float64, (slot + 1,)) for slot in order[lasting:]]
    args = Args(7)
    for slot in order[:lasting]:
        args.set(slot, arrays[slot])
    run, seen = echo(params, args, release_gil)
    assert run(*(arrays[slot] for slot in order[lasting:])) is None
    assert [int(p) for p in seen] == [a.ctypes.data for a in arrays]


def test_lasting_pointers_may_change_between_calls(kind: str) -> None:
    args = Args(2)
    steps = [Step("add_one", (Pointer(0), Pointer(1, offset=8)), extent=2)]
    objects = [cache.object_code(text, HOST) for text in (ADD_ONE, print_plan(steps, threads=1))]
    run = entry.build("t", objects, [Parameter(1, dtypes.float32, (4,), True)], args, False, HOST)
    y = np.zeros(4, np.float32)
    args.set(0, np.array([1, 2], np.float32))
    gc.collect()  # args keeps the array alive
    assert run(y) is None
    assert y.tolist() == [0, 0, 2, 3]
    args.set(0, np.array([5, 6], np.float32))
    gc.collect()
    assert run(y) is None
    assert y.tolist() == [0, 0, 6, 7]
    assert args.array(1) is None


def test_args_refuse_what_is_not_contiguous() -> None:
    with pytest.raises(ValueError, match="slot 1 needs a C-contiguous array"):
        Args(2).set(1, np.zeros((4, 4))[:, 1])


def test_a_slot_outside_args(kind: str) -> None:
    with pytest.raises(ValueError, match="no place among 2 slots"):
        entry.build("t", [], [Parameter(2, dtypes.float32, ())], Args(2), False, HOST)


def test_an_entry_outlives_everything_it_came_from() -> None:
    runs = [add_one((4,)) for _ in range(30)]
    run = runs[17]
    del runs
    gc.collect()
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert run(x, y) is None
    assert y.tolist() == [2, 2, 2, 2]
    del run
    gc.collect()


def test_references_are_counted_right() -> None:
    run = add_one((4,))
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    before = [sys.getrefcount(o) for o in (x, y, x.dtype, run)]
    for _ in range(1000):
        run(x, y)
        run(x, 3)
        run(x)
    assert [sys.getrefcount(o) for o in (x, y, x.dtype, run)] == before
    none = sys.getrefcount(None)
    for _ in range(100_000):
        run(x, y)
    assert abs(sys.getrefcount(None) - none) < 10_000  # one missing reference a call would be 100,000


NAP = """
declare i32 @usleep(i32)
define i64 @plan(ptr %args) {
  call i32 @usleep(i32 100000)
  ret i64 0
}
"""


def test_a_long_plan_lets_other_threads_run(kind: str) -> None:
    """Four naps of 0.1 s at once take 0.1 s where the GIL is released, and 0.4 s where it is not."""
    took = {}
    for release_gil in (True, False):
        run = entry.build("nap", [cache.object_code(NAP, HOST)], [], Args(0), release_gil, HOST)
        threads = [threading.Thread(target=run) for _ in range(4)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took[release_gil] = time.monotonic() - start
    assert took[False] >= 0.4
    assert took[True] < 0.39


def test_calls_at_once_do_not_mix(kind: str) -> None:
    run = add_one((257,), release_gil=True)
    failures: list[int] = []

    def work(n: int) -> None:
        x, y = np.full(257, n, np.float32), np.zeros(257, np.float32)
        for _ in range(2000):
            y.fill(0)
            if run(x, y) is not None or not np.all(y == n + 1):
                failures.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_entries_are_compiled_once_for_all() -> None:
    echo([Parameter(0, dtypes.float32, (3,))], Args(4))
    compiled = cache.stats().compiled
    for n in range(4):
        echo([Parameter(slot, dtypes.int8, (n,) * slot) for slot in range(n)], Args(4), bool(n % 2))
    assert cache.stats().compiled == compiled


def test_the_switch_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_ENTRY", "magic")
    with pytest.raises(ValueError, match="GRAPHC_ENTRY must be native or ctypes; got 'magic'"):
        entry.native()


def test_a_plan_can_use_the_pool(kind: str) -> None:
    size = 100_003
    steps = [Step("add_one", (Pointer(0), Pointer(1)), extent=size, grain=1000, parallel=True)]
    objects = [cache.object_code(text, HOST) for text in (ADD_ONE, print_plan(steps, threads=3))]
    params = [Parameter(0, dtypes.float32, (size,)), Parameter(1, dtypes.float32, (size,), True)]
    run = entry.build("t", objects, params, Args(2), True, HOST)
    x, y = np.arange(size, dtype=np.float32), np.zeros(size, np.float32)
    for _ in range(5):
        y.fill(0)
        assert run(x, y) is None
        np.testing.assert_array_equal(y, x + 1)
    assert pool.workers() >= 2


def test_a_process_full_of_entries_ends_cleanly() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" \
           "import test_entry as t, numpy as np\nruns = [t.add_one((n,)) for n in range(5)]\n" \
           "x = np.zeros(3, np.float32)\nassert runs[3](x, x.copy()) is None\nsys.keep = runs\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_cost_of_a_call() -> None:
    """A bound far above what it costs (0.1 us and less), against an accidental slow path."""
    run = add_one((4,))
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(10_000):
            run(x, y)
        best = min(best, (time.perf_counter() - start) / 10_000)
    assert best < 2e-6


def test_a_plan_that_does_not_link(kind: str) -> None:
    with pytest.raises(jit.CodeError, match="could not link"):
        entry.build("t", [cache.object_code(ADD_ONE, HOST)], [], Args(0), False, HOST)
