"""Runs whose steps are timed: the same results bit for bit, every step there once and in order, and nothing of it where nobody asked."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import InvalidArgumentError
from graphc.runtime.profile import Profile
from graphc.runtime.staged import StagedExecutable

FULL = gc.RunOptions(trace_level=gc.RunOptions.FULL_TRACE)


@pytest.fixture(autouse=True)
def graph() -> Iterator[gc.Graph]:
    with gc.Graph().as_default() as made:
        gc.set_random_seed(3)
        yield made


def traced(session: gc.Session, fetches: Any, feeds: dict[Any, Any] | None = None) -> tuple[Any, Profile]:
    metadata = gc.RunMetadata()
    values = session.run(fetches, feeds, options=FULL, run_metadata=metadata)
    assert metadata.profile is not None
    return values, metadata.profile


def training(rows: int = 64) -> tuple[gc.Tensor, gc.Tensor, gc.Operation]:
    """A step of every kind of kernel: products, rows, columns, random bits, in-place updates."""
    x = gc.placeholder(gc.float32, [rows, 96], name="x")
    hidden = gc.nn.dropout(gc.layers.dense(x, 160, activation=gc.nn.relu, name="hidden"), rate=0.3)
    out = gc.nn.softmax(gc.layers.dense(hidden, 96, name="out"))
    loss = gc.reduce_mean(gc.square(out - x), name="loss")
    return x, loss, gc.train.AdamOptimizer(0.01).minimize(loss)


def check_steps(profile: Profile, executable: gc.Executable) -> None:
    """Every kernel once, in order, with what the compiler says of it, one step after the other, all within the run."""
    assert [step.index for step in profile.kernels] == list(range(len(executable.kernels)))
    for step, kernel in zip(profile.kernels, executable.kernels, strict=True):
        assert (step.name, step.flops, step.bytes) == (kernel.name, kernel.flops, kernel.bytes)
        assert set(step.operations) == {origin.operation for origin in kernel.origins}
    end = 0.0
    for step in profile.steps:
        assert step.start_us >= end - 1e-6
        assert step.us >= 0
        end = step.start_us + step.us
    assert end <= profile.run_us + profile.compile_us + 1e-6
    assert sum(step.share for step in profile.steps) <= 1 + 1e-9


# Results ----------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pipeline", ["default", "none"])
def test_tracing_on_and_off_leaves_training_bit_identical(threads: int, pipeline: str) -> None:
    x, loss, step = training()
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(64, 96)).astype(np.float32) for _ in range(6)]
    config = gc.ConfigProto(pipeline=pipeline, intra_op_parallelism_threads=threads)
    results = []
    for is_traced in (lambda n: False, lambda n: n % 2 == 1, lambda n: True):
        with gc.Session(config=config) as session:
            session.run(gc.global_variables_initializer())
            losses = []
            for number, batch in enumerate(batches):
                if is_traced(number):
                    (value, _), profile = traced(session, [loss, step], {x: batch})
                    check_steps(profile, session.compile([loss, step], {x: batch}))
                else:
                    value, _ = session.run([loss, step], {x: batch})
                losses.append(value)
            results.append([np.asarray(losses).tobytes(), *(np.asarray(v).tobytes() for v in session.run(gc.global_variables()))])
    assert results[0] == results[1] == results[2]


def test_plans_that_are_called_through_ctypes_have_a_clock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.placeholder(gc.float32, [50, 60], name="x")
    y = gc.nn.softmax(gc.matmul(x, gc.transpose(x)))
    value = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    with gc.Session() as session:
        expected = session.run(y, {x: value})
    monkeypatch.setenv("GRAPHC_ENTRY", "ctypes")
    with gc.Session() as session:
        got, profile = traced(session, y, {x: value})
        check_steps(profile, session.compile(y, {x: value}))
    np.testing.assert_array_equal(got, expected)
    assert profile.total_us > 0


def test_traced_runs_of_several_threads_take_turns() -> None:
    """Each profile is that of one run: nothing overlaps, and every run counts."""
    v = gc.Variable(np.zeros(50_000, np.float32), name="v")
    add = v.assign_add(gc.tanh(gc.ones([50_000])) * 0 + 1.0).op
    profiles: list[Profile] = []
    with gc.Session() as session:
        session.run(v.initializer)
        threads = [threading.Thread(target=lambda: profiles.extend(traced(session, add)[1] for _ in range(5))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = session.run(v)
    np.testing.assert_array_equal(counted, np.full(50_000, 20.0))
    spans = sorted((p.began_us + p.steps[0].start_us, p.began_us + p.steps[-1].start_us + p.steps[-1].us) for p in profiles)
    assert len(spans) == 20
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_untraced_runs_have_no_clock() -> None:
    x, loss, step = training()
    feeds = {x: np.ones((64, 96), np.float32)}
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run([loss, step], feeds)
        (computation,) = [c for c in session._computations.values() if loss in c.elements]
        (bound,) = computation._bounds.values()
        assert bound._timed is None  # type: ignore[union-attr]  # one Program on a CPU
        metadata = gc.RunMetadata()
        for options in (None, gc.RunOptions(), gc.RunOptions(trace_level=gc.RunOptions.NO_TRACE)):
            session.run(loss, feeds, options, metadata)
            assert metadata.profile is None
        session.run([loss, step], feeds, FULL)  # nobody wants to know
        assert bound._timed is None  # type: ignore[union-attr]
        run = bound.run
        traced(session, [loss, step], feeds)
        assert bound._timed is not None  # type: ignore[union-attr]
        assert bound.run is run


def test_memory_that_moves_is_known_to_traced_runs_too() -> None:
    """A second, larger computation makes the session's arena and scratch grow; both plans of the first go on with the new ones."""
    small, large = (gc.placeholder(gc.float32, [n, n]) for n in (40, 300))
    first, second = (gc.reduce_sum(gc.matmul(gc.matmul(t, t), t), axis=1) for t in (small, large))
    value, wide = np.full((40, 40), 0.01, np.float32), np.full((300, 300), 0.01, np.float32)
    with gc.Session() as session:
        before, _ = traced(session, first, {small: value})
        session.run(second, {large: wide})
        np.testing.assert_array_equal(traced(session, first, {small: value})[0], before)
        np.testing.assert_array_equal(session.run(first, {small: value}), before)


# What is shown ----------------------------------------------------------------------------------------------------------------------------

def test_kernels_of_a_long_step_take_all_of_its_time() -> None:
    """Within 5%, in the best of several runs: some milliseconds each, which a neighbour may interrupt."""
    x = gc.placeholder(gc.float32, [640, 640], name="x")
    y = gc.nn.softmax(gc.matmul(gc.matmul(gc.matmul(x, x), x), x))
    value = np.random.default_rng(0).normal(size=(640, 640)).astype(np.float32)
    with gc.Session() as session:
        parts = []
        for _ in range(12):
            profile = traced(session, y, {x: value})[1]
            assert profile.total_us <= profile.run_us
            parts.append(profile.total_us / profile.run_us)
        assert max(parts) >= 0.95, parts


def test_lines_and_live_bytes() -> None:
    x = gc.placeholder(gc.float32, [300, 300], name="x")
    y = gc.matmul(gc.matmul(x, x), gc.matmul(x, x, transpose_b=True), name="last")
    with gc.Session() as session:
        value, profile = traced(session, y, {x: np.ones((300, 300), np.float32)})
        executable = session.compile(y, [x])
    assert value[0, 0] == 300**3
    last = profile.kernels[-1]
    assert "last" in last.operations
    assert last.lines[-1].startswith("test_profile.py:")
    for step in profile.kernels:
        alive = sum(b.size for b in executable.memory.buffers if b.first <= step.index <= b.last)  # type: ignore[operator]
        assert step.live_bytes == alive
    assert max(step.live_bytes for step in profile.kernels) == executable.memory.lower_bound
    assert profile.flows == ((0, 2), (1, 2))


def test_threads_are_noted() -> None:
    x = gc.placeholder(gc.float32, [600, 600], name="x")
    y = gc.matmul(x, x)
    value = np.ones((600, 600), np.float32)
    for threads in (1, 3):
        with gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=threads)) as session:
            assert [step.threads for step in traced(session, y, {x: value})[1].kernels] == [threads]


def test_copies_are_steps() -> None:
    """A variable that cannot be updated in place is written elsewhere and copied in the end: as many bytes read as written."""
    v = gc.Variable(np.full((30, 30), 2.0, np.float32), name="v")
    with gc.Session() as session:
        session.run(v.initializer)
        _, profile = traced(session, v.assign(gc.matmul(v, v)).op)
        (step,) = [step for step in profile.steps if step.kind == "copy"]
        assert (step.name, step.bytes, step.index) == ("v", 7200, None)
        assert "(copy v)" in profile.table()
        np.testing.assert_array_equal(session.run(v), np.full((30, 30), 120.0))


def test_functions_of_the_host_are_steps() -> None:
    x = gc.placeholder(gc.float64, [3, 3], name="x")
    v = gc.Variable(np.zeros((3, 3)), name="v")
    step = v.assign_add(gc.linalg.inv(gc.matmul(x, x)))
    with gc.Session() as session:
        session.run(v.initializer)
        value, profile = traced(session, step, {x: 2 * np.eye(3)})
        assert [each.kind for each in profile.steps].count("host") == 1
        np.testing.assert_allclose(value, np.eye(3) / 4)
        (host,) = [each for each in profile.steps if each.kind == "host"]
        assert any("inv" in name.lower() for name in host.operations)
        with pytest.raises(InvalidArgumentError, match="not invertible"):
            traced(session, step, {x: np.zeros((3, 3))})
        np.testing.assert_allclose(session.run(v), np.eye(3) / 4)


def test_a_run_in_stages_is_one_profile() -> None:
    x = gc.placeholder(gc.float32, [None, 8], name="x")
    w = gc.Variable(np.ones((8, 4), np.float32), name="w")
    kept = gc.boolean_mask(x, gc.reduce_sum(x, axis=1) > 0, name="kept")
    doubled = gc.py_func(lambda a: a * 2, [kept], gc.float32, name="doubled")
    doubled.set_shape([None, 8])
    loss = gc.reduce_sum(gc.matmul(doubled, w), name="loss")
    step = gc.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=[w])
    positive = np.ones((5, 8), np.float32)
    mixed = positive * np.array([1, -1, 1, -1, 1], np.float32)[:, None]
    results = []
    for is_traced in (True, False):
        with gc.Session() as session:
            session.run(w.initializer)
            for value in (positive, mixed, positive):
                if not is_traced:
                    session.run([loss, step], {x: value})
                    continue
                profile = traced(session, [loss, step], {x: value})[1]
                executable = session.compile([loss, step], {x: value})
                assert isinstance(executable, StagedExecutable)
                check_steps(profile, executable)
                assert [each.name for each in profile.steps if each.kind == "python"] == ["doubled"]
            assert not is_traced or profile.compile_us == 0  # sizes that were seen before
            results.append(session.run(w))
    np.testing.assert_array_equal(*results)


def test_compiling_is_not_part_of_the_run() -> None:
    x = gc.placeholder(gc.float32, [None, 8], name="x")
    y = gc.nn.softmax(x, name="y")
    with gc.Session() as session:
        first = traced(session, y, {x: np.ones((5, 8), np.float32)})[1]
        second = traced(session, y, {x: np.ones((5, 8), np.float32)})[1]
    names = [step.name for step in first.steps if step.kind == "compile"]
    assert names[0] == "y:0"
    assert first.compile_us > 0
    assert first.run_us < first.steps[-1].start_us + first.steps[-1].us  # the clock that steps are on goes on while it compiles
    assert "of compiling before" in first.table()
    assert [step.kind for step in second.steps] == ["kernel"]  # the feed fits as it is


def test_several_devices_are_one_profile() -> None:
    x = gc.placeholder(gc.float32, [64, 64], name="x")
    with gc.device("/cpu:0"):
        a = gc.matmul(x, x, name="a")
    with gc.device("/cpu:1"):
        b = gc.nn.softmax(a, name="b")
    with gc.device("/cpu:0"):
        c = gc.reduce_sum(b * x, name="c")
    value = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    with gc.Session(config=gc.ConfigProto(device_count={"CPU": 2})) as session:
        expected = session.run(c, {x: value})
        got, profile = traced(session, c, {x: value})
        check_steps(profile, session.compile(c, {x: value}))
    assert got == expected
    devices = [(step.device.rpartition(":")[2], step.operations) for step in profile.kernels]
    assert [(number, name) for number, names in devices for name in names if name in "abc"] == [("0", "a"), ("1", "b"), ("0", "c")]


# Session.profile --------------------------------------------------------------------------------------------------------------------------

def test_profile_makes_real_runs() -> None:
    v = gc.Variable(np.zeros(3, np.float32), name="v")
    add = v.assign_add([1.0, 2.0, 3.0])
    with gc.Session() as session:
        session.run(v.initializer)
        profile = session.profile(add, runs=4)
        counted = session.run(v)
        with pytest.raises(ValueError, match="profile needs at least one run; got runs=0"):
            session.profile(add, runs=0)
        with pytest.raises(TypeError, match=r"^feed_dict must be a dictionary from tensors to values, but got <class 'int'>$"):
            session.profile(add, 5)  # type: ignore[arg-type]  # the point
    assert profile.runs == 4
    assert profile.compile_us == 0
    np.testing.assert_array_equal(counted, 7 * np.float32([1, 2, 3]))  # three before, that are not counted
    assert "the median of 4" in profile.table()


def test_of_a_long_name_the_table_shows_the_end() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    with gc.Session() as session:
        table = session.profile(gc.exp(x, name="s" * 300 + "/end"), {x: np.ones(3, np.float32)}, runs=1).table()
    assert f" …{59 * 's'}/end " in table


def test_a_closed_session_profiles_nothing() -> None:
    x, loss, _ = training()
    session = gc.Session()
    session.close()
    calls: list[Callable[[], object]] = [lambda: session.profile(loss, {x: np.ones((64, 96))}), lambda: traced(session, loss, {x: 1.0})]
    for call in calls:
        with pytest.raises(RuntimeError, match="closed Session"):
            call()
