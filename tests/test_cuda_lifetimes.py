"""How the CUDA runtime ends: what is freed when and by whom, forked processes, devices that fail. On the fake
driver."""
from __future__ import annotations

import pytest

from tests.cuda_worker import run

# Freeing ---------------------------------------------------------------------------------------------------------------------------

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
        print(error_of(Session, 10))
        print(error_of(lambda: gc.Session(config=gc.ConfigProto(device="gpu"))))
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
    refusal = "CUDA cannot be used in a process forked from one that uses it"
    assert printed.count(f"FailedPreconditionError: {refusal}") == 2
    assert printed.count(refusal) == 3
    assert 'get_context("spawn")' in printed
    assert "6.0" in printed


# Devices that fail -----------------------------------------------------------------------------------------------------------------------

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


def test_a_fault_that_shows_when_the_process_ends_makes_no_noise_either() -> None:
    printed = run("""
    session = Session(1000)
    bound = session.bind()
    session.step(bound)
    session.close()
    gpu, launch = device(0), bound.executable.launches[0]
    gpu.before_close("a test", lambda: print("called"))
    with gpu.current:
        function = gpu.function(launch.image, launch.symbol, len(launch.params))
        fail_launch(1, ILLEGAL_ADDRESS)
        function.prepared_async_call(launch.grid, launch.block, gpu._stream.raw, *[0] * len(launch.params))
    """)
    assert printed == ""
