"""The CUDA runtime on a fake driver: the real pycuda, launches made by hand whose results numpy knows, then whole sessions.

The fake's streams do their work as late as CUDA allows, so whatever is read or overwritten too early gives wrong numbers every time; its
counters tell what is alive.
"""
from __future__ import annotations

import pytest

from tests.cuda_host.device import Failed, in_subprocess

PRELUDE = """
import gc as collector, os, threading
import numpy as np
import graphc as gc
from graphc.core import errors
from graphc.runtime.cuda import driver, transfers
from graphc.runtime.cuda.device import device
from tests.cuda_handmade import Session, executable, reader
from tests.cuda_host.device import ILLEGAL_ADDRESS, counters, fail_launch

LARGE, CHUNK = transfers.LARGE, transfers.CHUNK = 4096, 8192  # bytes: so that small arrays are large

def alive():
    c = counters()
    return c.live_allocations, c.live_pinned, c.live_streams, c.live_events, c.live_graphs

def error_of(what, *arguments):
    try:
        what(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"
"""


def run(code: str, **options: object) -> str:
    """What the code prints."""
    lines = code.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return in_subprocess(PRELUDE + "\n".join(line[indent:] for line in lines), **options)  # type: ignore[arg-type]  # options of several types


# Running ----------------------------------------------------------------------------------------------------------------------------------

def test_runs_are_right_first_by_launches_then_by_replay() -> None:
    """Sizes: empty, one, odd, more than one block, as large as what goes through chunks, and larger than one, two, many of them."""
    run("""
    for count in (0, 1, 5, 1000, LARGE // 4, 3000, 3 * CHUNK // 4 + 7, 262_147):
        session = Session(count)
        bound = session.bind()
        before = counters()
        for _ in range(5):
            session.step(bound)
        after = counters()
        assert after.launches - before.launches == 15, count
        assert after.graph_launches - before.graph_launches == 4, count
        np.testing.assert_allclose(session.value(), session.w, rtol=1e-6)
        session.close()
    """)


def test_without_graphs_and_launch_by_launch_results_are_the_same() -> None:
    for environment in ({"GRAPHC_CUDA_GRAPHS": "0"}, {"GRAPHC_CUDA_BLOCKING": "1"}):
        run("""
        session = Session(1000)
        bound = session.bind()
        for _ in range(4):
            session.step(bound)
        assert counters().graph_launches == 0 and counters().launches == 12
        """, **environment)


def test_what_does_not_fit_is_refused_and_nothing_runs() -> None:
    run("""
    session = Session(3000)
    bound = session.bind()
    x, (y,) = session.feed(), bound.empty_outputs()
    before = counters().launches
    class Own(np.ndarray): pass
    refused = [list(x), x[:-1], x.astype(np.float64), x.astype(">f4"), x.reshape(1, -1), np.repeat(x, 2)[::2], x.view(Own), 1.0, None]
    for value in refused:
        assert bound.run(value, y) == 0
    assert counters().launches == before
    session.step(bound)
    small = Session(1000)
    x = small.feed()
    small.step(small.bind(), np.repeat(x, 2)[::2])  # a small feed is copied anyway
    """)


def test_memory_that_moves_is_recorded_anew() -> None:
    """A second executable of the session needs a larger arena and larger slots: the first goes on with the new addresses."""
    run("""
    session = Session(100)
    first = session.bind()
    for _ in range(3):
        session.step(first)
    assert counters().live_graphs == 1
    wide = executable(100)
    wide.memory.arena_bytes = 1 << 20
    second = session.bind(wide)
    assert counters().live_graphs == 0
    for _ in range(3):
        session.step(first)
        session.step(second)
    assert counters().live_graphs == 2
    session.close()
    """)


def test_feeds_that_are_on_the_device_are_copied_there() -> None:
    run("""
    import pycuda.gpuarray
    for count in (0, 1, 1000, 3000):
        session = Session(count)
        bound = session.bind()
        with session.device.current:
            x = session.feed()
            there = pycuda.gpuarray.to_gpu(x)
        for feed in (there, x, there, x, there):
            session.step(bound, feed, x)
        with session.device.current:
            for wrong in (pycuda.gpuarray.to_gpu(x.astype(np.float64)), pycuda.gpuarray.to_gpu(np.ones(count + 1, np.float32))):
                assert bound.run(wrong, *bound.empty_outputs()) == 0
            if count > 1:
                assert bound.run(pycuda.gpuarray.to_gpu(np.ones(2 * count, np.float32))[::2], *bound.empty_outputs()) == 0
            del there, wrong
            collector.collect()
        session.close()
    """)


def test_a_feed_on_another_device_is_refused_with_both_names() -> None:
    printed = run("""
    import pycuda.gpuarray
    from graphc.runtime.cuda.arrays import device_array
    with device(1).current:
        there = pycuda.gpuarray.to_gpu(np.ones(3, np.float32))
    x = gc.placeholder(gc.float32, [3], name="x")
    session = Session(3)
    assert session.bind().run(there, np.empty(3, np.float32)) == 0
    print(error_of(device_array, x, there, 0))
    print(error_of(device_array, x, there, None))
    print(error_of(device_array, gc.placeholder(gc.float32, [2], name="two"), there, 1))
    print(error_of(device_array, gc.placeholder(gc.int32, [3], name="whole"), there, 1))
    assert device_array(x, np.ones(3), 1) is None
    there_again = device_array(x, there, 1)
    assert np.asarray(there_again).tolist() == [1, 1, 1] and there_again.tobytes() == np.ones(3, np.float32).tobytes()
    with device(1).current:
        del there, there_again
    """, devices=2)
    here, cpu, shape, dtype = printed.split("\nInvalid", 1)[0], printed, printed, printed
    assert "InvalidArgumentError: The feed of 'x:0' is an array on /gpu:1, and the session runs on /gpu:0" in here
    assert "is an array on /gpu:1, and the session runs on /cpu:0" in cpu
    assert "ValueError: Cannot feed value of shape (3,) for Tensor 'two:0'" in shape
    assert "TypeError: Cannot feed an array of type <f4" in dtype


def test_sessions_of_several_threads_run_side_by_side() -> None:
    run("""
    failed = []
    def work(count):
        try:
            session = Session(count)
            bound = session.bind()
            for _ in range(20):
                session.step(bound)
            np.testing.assert_allclose(session.value(), session.w, rtol=1e-5)
            session.close()
        except BaseException as error:
            failed.append(repr(error))
    threads = [threading.Thread(target=work, args=(count,)) for count in (10, 777, 1000, 3000)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed, failed
    assert alive() == (0, 0, 1, 0, 0), alive()  # the device's own stream
    """)


def test_two_devices_have_memory_of_their_own() -> None:
    run("""
    sessions = [Session(100, device(number)) for number in (0, 1)]
    bounds = [session.bind() for session in sessions]
    for _ in range(3):
        for session, bound in zip(sessions, bounds):
            session.step(bound)
    assert {driver.device_of(session.store.array("w", None).address) for session in sessions} == {0, 1}
    """, devices=2)


def test_a_profile_times_every_launch_and_the_run_goes_on() -> None:
    run("""
    from graphc.runtime.cuda.profile import profile
    session = Session(100)
    bound = session.bind()
    x = session.feed()
    times = profile(bound, [x], repeats=3)
    assert [name for name, _ in times] == ["0_scale_add", "1_bump", "2_scale_add"]
    assert all(0 < milliseconds < 1000 for _, milliseconds in times)
    session.w += 4  # once to warm up
    session.step(bound)
    assert error_of(profile, bound, [x[1:]]).startswith("ValueError")
    assert counters().live_events == 0
    """)


# Life and death ---------------------------------------------------------------------------------------------------------------------------

def test_close_frees_everything_in_any_thread_and_twice() -> None:
    run("""
    def use(session):
        bound = session.bind()
        for _ in range(3):
            session.step(bound)
        return bound
    session = Session(3000)
    bound = use(session)
    assert alive() == (5, 2, 2, 2, 1), alive()
    session.close()
    assert alive() == (0, 0, 1, 0, 0), alive()
    session.close()
    assert bound.run(session.feed(), *bound.empty_outputs()) == 0  # refused: the session says that it is closed
    other = Session(1000)
    use(other)
    closing = threading.Thread(target=other.close)
    closing.start(); closing.join()
    assert alive() == (0, 0, 1, 0, 0), alive()
    making = threading.Thread(target=lambda: globals().update(third=Session(10)) or use(third))
    making.start(); making.join()
    third.close()
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_a_session_that_is_dropped_frees_everything() -> None:
    run("""
    def forget():
        session = Session(3000)
        bound = session.bind()
        for _ in range(3):
            session.step(bound)
    forget()
    collector.collect()
    assert alive() == (0, 0, 1, 0, 0), alive()
    thread = threading.Thread(target=forget)
    thread.start(); thread.join()
    collector.collect()
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_things_that_are_collected_while_a_graph_is_recorded_do_not_spoil_it() -> None:
    run("""
    from graphc.runtime.cuda.device import Owner
    session = Session(100)
    bound = session.bind()
    session.step(bound)
    owners = []
    with session.device.current as there:
        for _ in range(3):
            owners.append(Owner(there))
            owners[-1].keep(there.allocate(100, "a test"))
    real, before = bound._in_a_row, alive()
    def record():
        owners.clear()
        collector.collect()
        real()
    bound._in_a_row = record
    session.step(bound)
    session.step(bound)
    assert counters().graph_launches == 2
    assert alive()[0] == before[0] - 3
    """)


@pytest.mark.parametrize("ending", ["session.close()", "pass", "del session, bound", "os.environ['X'] = '1'; sys.exit(0)"])
def test_the_process_ends_in_order(ending: str) -> None:
    """Whatever is open when the interpreter ends is freed before the context is given up."""
    printed = run(f"""
    import atexit, sys
    atexit.register(lambda: print("leaked", counters().leaked_allocations, *alive()))  # before the device's own: runs after it
    session = Session(3000)
    bound = session.bind()
    for _ in range(3):
        session.step(bound)
    {ending}
    """)
    assert printed.split() == ["leaked", "0", "0", "0", "0", "0", "0"]


def test_a_forked_child_is_told_and_the_parent_goes_on() -> None:
    printed = run("""
    session = Session(100)
    bound = session.bind()
    session.step(bound)
    child = os.fork()
    if not child:
        print(error_of(session.step, bound))
        print(error_of(Session(10).bind))
        with gc.Session() as cpu:
            print(cpu.run(gc.constant(2.0) * 3.0))
        session.close()
        collector.collect()
        raise SystemExit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    for _ in range(3):
        session.step(bound)
    session.close()
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)
    assert printed.count("FailedPreconditionError: CUDA cannot be used in a process forked from one that uses it") == 2
    assert "6.0" in printed


# Errors -----------------------------------------------------------------------------------------------------------------------------------

def test_too_little_memory_is_told_before_anything_changes() -> None:
    printed = run("""
    session = Session(1000)
    bound = session.bind()
    session.step(bound)
    before, bytes_before = alive(), counters().live_bytes
    print(error_of(session.bind, executable(22_528)))
    assert (alive(), counters().live_bytes) == (before, bytes_before)
    for _ in range(3):
        session.step(bound)
    other = Session(3000)
    print(error_of(other.bind))
    assert alive()[0] == before[0] and "w" not in other.store
    fits = Session(777)
    fits.step(fits.bind())
    """, memory=64 << 10)
    first, second = printed.strip().split("ResourceExhaustedError: ")[1:]
    assert first.startswith("Out of memory on /gpu:0 (Fake GPU 0): a run needs") and "of 64.0 KiB are free" in first
    assert "'Twice' alone needs 88.0 KiB" in first
    assert "in operation 'w' (VariableV2)" in second and "which alone needs 11.7 KiB" in second and "declared at" in second


def test_memory_that_goes_between_the_look_and_the_taking() -> None:
    """Somebody else's allocation in between: all is undone, and the session's other executables have their memory."""
    run("""
    session = Session(1000)
    bound = session.bind()
    for _ in range(3):
        session.step(bound)
    before = counters().live_bytes
    big = executable(1000)
    big.memory.arena_bytes = 9 << 20
    free_bytes = session.device.free_bytes
    session.device.free_bytes = lambda: (1 << 40, 1 << 40)
    session.workspace.growth = lambda kind, nbytes: 0
    assert error_of(session.bind, big).startswith("ResourceExhaustedError: Out of memory on /gpu:0 (Fake GPU 0): the arena needs 9.0 MiB")
    session.device.free_bytes = free_bytes
    assert counters().live_bytes == before
    for _ in range(3):
        session.step(bound)
    """, memory=8 << 20)


FAULT = """
    session, other = Session(1000), Session(1000)
    bound, second = session.bind(), other.bind()
    for _ in range({runs}):
        session.step(bound)
    fail_launch(2, ILLEGAL_ADDRESS)
    print(error_of(session.step, bound))
    print("----")
    print(error_of(session.step, bound))
    print(error_of(other.step, second))
    print(error_of(Session(10).bind))
    with gc.Session() as cpu:
        print("cpu", cpu.run(gc.constant(2.0) * 3.0))
    session.close()
    other.close()
    session.close()
    collector.collect()
"""


def test_a_fault_in_the_first_run_names_its_kernel_operation_and_line() -> None:
    first, later = run(FAULT.format(runs=0)).split("----")
    assert first.startswith("InternalError: Kernel '1_bump' (bump_1000) failed on /gpu:0: an illegal memory access was encountered")
    assert "it computes w/bump" in first
    assert later.count("InternalError: /gpu:0 (Fake GPU 0) has failed, and its context is lost") == 3
    assert "cpu 6.0" in later


def test_a_fault_in_a_replay_lists_the_kernels_and_how_to_learn_more() -> None:
    first, later = run(FAULT.format(runs=3)).split("----")
    assert "A run failed on /gpu:0: an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)" in first
    assert "it was one of 3 kernels: 0_scale_add (Twice (train.py:3)), 1_bump (w/bump (train.py:4)), 2_scale_add (y (train.py:5))" in first
    assert "GRAPHC_CUDA_BLOCKING=1" in first
    assert later.count("its context is lost") == 3
    blocking = run(FAULT.format(runs=3), GRAPHC_CUDA_BLOCKING="1")
    assert blocking.startswith("InternalError: Kernel '1_bump' (bump_1000) failed on /gpu:0")


def test_a_lost_device_leaves_no_noise_at_the_end() -> None:
    """pycuda complains on stderr about what it cannot free: nothing is left for it."""
    run("""
    import atexit, sys
    session = Session(1000)
    bound = session.bind(executable(1000, second="astray"))
    assert "an illegal memory access" in error_of(session.step, bound)
    del session, bound
    collector.collect()
    other = Session(10)  # made and never used
    sys.stderr.flush()
    """)




def test_a_refused_launch_names_its_kernel_and_the_device_goes_on() -> None:
    run("""
    session = Session(1000)
    bound = session.bind(executable(1000, threads=4096))
    assert error_of(session.step, bound).startswith("InternalError: Kernel '1_bump' (bump_1000) failed on /gpu:0: cuLaunchKernel failed: invalid")
    other = Session(1000)
    fine = other.bind()
    for _ in range(3):
        other.step(fine)
    """)


def test_a_kernel_without_code_says_why() -> None:
    run("""
    from dataclasses import replace
    session, made = Session(10), executable(10)
    made.launches = tuple(replace(launch, image=b"") for launch in made.launches)
    made.compiler = "no CUDA compiler was found: install one"
    bound = session.bind(made)
    assert error_of(session.step, bound) == "FailedPreconditionError: Kernel 'scale_add_10' has no machine code: no CUDA compiler was found: install one"
    """)


@pytest.mark.parametrize(("devices", "ordinal", "expected"), [(0, 0, "cannot be used: "), (2, 5, "there is no /gpu:5"), (1, -1, "there is no /gpu:-1")])
def test_a_device_that_is_not_there(devices: int, ordinal: int, expected: str) -> None:
    printed = run(f"print(error_of(device, {ordinal}))", devices=devices)
    assert printed.startswith(f"FailedPreconditionError: /gpu:{ordinal} cannot be used: ")
    assert expected in printed


def test_the_checks_can_fail() -> None:
    with pytest.raises(Failed):
        run("""
        session = Session(10)
        bound = session.bind()
        session.w += 1
        session.step(bound)
        """)
