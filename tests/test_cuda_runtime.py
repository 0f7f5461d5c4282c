"""The CUDA runtime on a fake driver: the real pycuda, and launches made by hand whose results numpy knows.

The fake's streams do their work as late as CUDA allows, so whatever is read or overwritten too early gives wrong numbers every time; its
counters tell what is alive.
"""
from __future__ import annotations

import pytest

from tests.cuda_worker import run

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
        import logging
        from graphc.runtime.recorder import Recorder
        heard, log = [], logging.getLogger("graphc")
        log.addHandler(logging.StreamHandler())
        log.handlers[0].emit = lambda record: heard.append(record.getMessage())
        log.setLevel(logging.INFO)
        session = Session(1000)
        bound = session.bind()
        for _ in range(4):
            session.step(bound)
        assert counters().graph_launches == 0 and counters().launches == 12
        recorder = Recorder("GPU")
        assert bound.recorded(recorder, session.feed(), *bound.empty_outputs()) is None
        assert [span.kernel for span in recorder.spans if span.kind == "kernel"] == [0, 1, 2], recorder.spans
        assert counters().graph_launches == 0
        assert heard == ["runs on /gpu:0 go launch by launch, as GRAPHC_CUDA_GRAPHS or GRAPHC_CUDA_BLOCKING says"], heard
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
    assert "is an array on a GPU, and the session runs on /cpu:0" in cpu
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
    with device(0).current:  # whichever it is
        assert [driver.device_of(session.store.array("w", None).address) for session in sessions] == [0, 1]
    """, devices=2)


def test_a_profile_times_every_launch_and_the_run_goes_on() -> None:
    run("""
    import time
    from graphc.runtime.recorder import Recorder
    session = Session(100)
    bound = session.bind()
    x, outputs = session.feed(), bound.empty_outputs()
    recorder = Recorder("GPU")
    begun = time.monotonic_ns()
    assert bound.recorded(recorder, x, *outputs) is None  # the first run: nothing is loaded yet
    assert counters().graph_launches == 0
    session.w += 1
    session.step(bound)
    for _ in range(2):
        assert bound.recorded(recorder, x, *outputs) is None
    assert counters().graph_launches == 2  # the host's pace does not count
    session.w += 2
    session.step(bound)
    spans = recorder.spans
    assert [span.kind for span in spans] == 3 * ["upload", "kernel", "kernel", "kernel", "download"]
    assert [span.kernel for span in spans if span.kind == "kernel"] == list(range(9))  # three programs, one after the other
    assert [span.bytes for span in spans[:5]] == [x.nbytes, 0, 0, 0, outputs[0].nbytes]
    assert all(span.device == "GPU" and 0 <= span.end - span.start < 1e9 for span in spans)
    moments = [moment for span in spans for moment in (span.start, span.end)]
    assert begun <= moments[0] and moments == sorted(moments)
    assert bound.recorded(recorder, x[1:], *outputs) == 0 and recorder.spans == spans
    assert counters().live_events == 0
    """)


def test_a_run_that_cannot_be_recorded_goes_launch_by_launch() -> None:
    run("""
    import warnings
    from graphc.runtime.cuda.graph import CudaGraph
    session = Session(100)
    bound = session.bind()
    session.step(bound)
    real = bound._in_a_row
    def refused():
        real()
        session.workspace.stream.raw.synchronize()  # which nobody may while it records
    bound._in_a_row = refused
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session.step(bound)
        bound._in_a_row = real
        for _ in range(3):
            session.step(bound)
    assert len(caught) == 1 and "goes launch by launch, for it cannot be recorded" in str(caught[0].message), caught
    assert counters().graph_launches == 0 and counters().live_graphs == 0
    """)


def test_after_an_interrupted_run_the_next_waits_for_the_device() -> None:
    """The interrupted one has its launches on the stream, and they have yet to read their feed from the memory that the next one fills."""
    run("""
    session = Session(100)
    bound = session.bind()
    for _ in range(2):
        session.step(bound)
    transfers, seen = bound._transfers, []
    begin, finish, done = transfers.begin, transfers.finish, counters().launches
    def interrupted(outputs):
        raise KeyboardInterrupt
    transfers.finish = interrupted
    try:
        bound.run(session.feed(), *bound.empty_outputs())
        raise AssertionError("not interrupted")
    except KeyboardInterrupt:
        transfers.finish = finish
    assert counters().launches == done  # the fake does nothing before somebody waits
    transfers.begin = lambda feeds: seen.append(counters().launches) or begin(feeds)
    session.w += 1
    for _ in range(2):
        session.step(bound)
    assert seen == [done + 3, done + 6]
    """)


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
    assert first.startswith("Out of memory on /gpu:0 (Fake GPU 0): a run needs")
    assert "of 64.0 KiB are free" in first
    assert "'Twice' alone needs 88.0 KiB" in first
    for words in ("in operation 'w' (VariableV2)", "which alone needs 11.7 KiB", "declared at"):
        assert words in second


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
    other = Session(1000)
    other.workspace.growth = lambda kind, nbytes: 0
    assert error_of(other.bind, big).startswith("ResourceExhaustedError")
    assert "w" not in other.store
    other.close()
    session.device.free_bytes = free_bytes
    assert counters().live_bytes == before
    for _ in range(3):
        session.step(bound)
    """, memory=8 << 20)


def test_a_refused_launch_names_its_kernel_and_the_device_goes_on() -> None:
    run("""
    session = Session(1000)
    bound = session.bind(executable(1000, threads=4096))
    assert "Kernel '1_bump' (bump_1000) failed on /gpu:0: cuLaunchKernel failed: invalid" in error_of(session.step, bound)
    other = Session(1000)
    fine = other.bind()
    for _ in range(3):
        other.step(fine)
    """)


def test_code_that_cannot_be_loaded_names_its_kernel_each_time() -> None:
    run("""
    from dataclasses import replace
    session, made = Session(10), executable(10)
    made.launches = (*made.launches[:2], replace(made.launches[2], image=b"no cubin" * 100))
    bound = session.bind(made)
    for _ in range(3):
        error = error_of(session.step, bound)
        assert error.startswith("InternalError: Kernel '2_scale_add' (scale_add_10) failed on /gpu:0: cuModuleLoadDataEx failed: "), error
    assert counters().launches == 0
    """)


def test_a_kernel_without_code_says_why() -> None:
    run("""
    from dataclasses import replace
    session, made = Session(10), executable(10)
    made.launches = tuple(replace(launch, image=b"") for launch in made.launches)
    made.compiler = "no CUDA compiler was found: install one"
    bound = session.bind(made)
    expected = "FailedPreconditionError: Kernel 'scale_add_10' has no machine code: no CUDA compiler was found: install one"
    assert error_of(session.step, bound) == expected
    """)


@pytest.mark.parametrize(("devices", "ordinal", "expected"), [
    (0, 0, "cannot be used: "), (2, 5, "there is no /gpu:5"), (1, -1, "there is no /gpu:-1")])
def test_a_device_that_is_not_there(devices: int, ordinal: int, expected: str) -> None:
    printed = run(f"print(error_of(device, {ordinal}))", devices=devices)
    assert printed.startswith(f"FailedPreconditionError: /gpu:{ordinal} cannot be used: ")
    assert expected in printed


def test_the_checks_can_fail() -> None:
    with pytest.raises(AssertionError, match="Mismatched elements: 10"):
        run("""
        session = Session(10)
        bound = session.bind()
        session.w += 1
        session.step(bound)
        """)
