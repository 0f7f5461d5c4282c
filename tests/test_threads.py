"""Threads: many on one session and on several, a fork, a close in the middle, and results that do not depend on how many cores work."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs work(0), work(1)... on threads that begin at once; their results, or the first exception."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count
    problems: list[BaseException] = []

    def body(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return results


def test_updates_from_many_threads_are_all_counted() -> None:
    """Each run sees its own number: nothing is lost, nothing is seen twice."""
    v = gc.Variable(gc.zeros([], gc.int64))
    up = v.assign_add(1)
    session = gc.Session()
    session.run(v.initializer)
    seen = together(8, lambda n: [int(session.run(up)) for _ in range(300)])
    assert sorted(number for each in seen for number in each) == list(range(1, 2401))
    assert all(each == sorted(each) for each in seen)


def test_feeds_of_different_threads_are_not_mixed() -> None:
    """Several shapes at once on one session: first runs compile while others run."""
    x = gc.placeholder(gc.float32, [None, None])
    total = gc.reduce_sum(gc.matmul(x, x, transpose_b=True) * 2.0)
    session = gc.Session()

    def work(number: int) -> None:
        rows = np.full((number % 3 + 1, 5), number, np.float32)
        expected = 2.0 * 5 * number**2 * rows.shape[0] ** 2
        for _ in range(100):
            assert session.run(total, {x: rows}) == expected

    together(8, work)


def test_sessions_in_threads_of_their_own() -> None:
    v = gc.Variable(gc.zeros([100]))
    x = gc.placeholder(gc.float32, [])
    up = v.assign_add(gc.fill([100], x))
    initial = v.initializer

    def work(number: int) -> None:
        with gc.Session(graph=v.graph) as session:
            session.run(initial)
            for _ in range(100):
                session.run(up.op, {x: number})
            np.testing.assert_array_equal(session.run(v), np.full(100, 100.0 * number))

    together(6, work)


def test_graphs_declared_and_run_at_once() -> None:
    def work(number: int) -> None:
        with gc.Graph().as_default(), gc.Session() as session:
            x = gc.placeholder(gc.float32, [3])
            y = gc.nn.softmax(x * float(number)) + float(number)
            result = session.run(y, {x: [0.0, 0.0, 0.0]})
            np.testing.assert_allclose(result, np.full(3, number + 1 / 3), rtol=1e-6)

    together(6, work)


def test_a_session_closed_while_others_run_it() -> None:
    x = gc.placeholder(gc.float32, [64, 64])
    y = gc.matmul(x, x)
    session = gc.Session()
    fed = np.eye(64, dtype=np.float32)
    session.run(y, {x: fed})
    started = threading.Event()

    def work(number: int) -> str:
        if number == 0:
            started.wait()
            session.close()
            return ""
        for count in range(1_000_000):
            try:
                result = session.run(y, {x: fed})
            except RuntimeError as error:
                return str(error)
            np.testing.assert_array_equal(result, fed)
            if count == 20:
                started.set()
        return "ran on"

    assert together(4, work)[1:] == ["Attempted to use a closed Session."] * 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking a process with threads: this is the point
def test_a_forked_process_runs_on() -> None:
    """The pool's threads are not in the child; it must make its own, and the parent must not notice."""
    x = gc.placeholder(gc.float32, [1024, 1024])
    y = gc.reduce_sum(gc.tanh(x) + x)  # large enough to be split
    v = gc.Variable(1.0)
    session = gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=2))
    session.run(v.initializer)
    fed = np.full((1024, 1024), 0.5, np.float32)
    expected = session.run(y, {x: fed})
    child = os.fork()
    if child == 0:
        right = session.run(y, {x: fed}) == expected and session.run(v + 1.0) == 2.0 and session.run(v.assign_add(1.0)) == 2.0
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert session.run(y, {x: fed}) == expected
    assert session.run(v) == 1.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_other_threads_run() -> None:
    """The child must not find the session taken, nor a variable half written."""
    v = gc.Variable(gc.zeros([1 << 16]))
    up = v.assign_add(gc.ones([1 << 16])).op
    session = gc.Session()
    session.run(v.initializer)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            session.run(up)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # ends a child that waits for ever
                session.run(up)
                os._exit(0 if len(set(session.run(v).tolist())) == 1 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _training(threads: int) -> list[bytes]:
    """Every fetched value of a few steps whose kernels are large enough to be split."""
    with gc.Graph().as_default() as graph:
        graph.seed = 3
        x, labels = gc.placeholder(gc.float32, [512, 256]), gc.placeholder(gc.int32, [512])
        hidden = gc.layers.dense(x, 512, activation=gc.nn.relu)
        logits = gc.layers.dense(gc.nn.dropout(hidden, 0.9), 10)
        loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        train = gc.train.AdamOptimizer(0.01).minimize(loss)
        random = np.random.default_rng(0)
        feeds = {x: random.standard_normal((512, 256)).astype(np.float32), labels: random.integers(0, 10, 512).astype(np.int32)}
        session = gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=threads))
        session.run(gc.global_variables_initializer())
        if threads > 1:
            assert any(kernel.parallel for kernel in session.compile([loss, train], feeds).kernels)
        steps = [session.run([loss, train], feeds)[0].tobytes() for _ in range(4)]
        return steps + [session.run(v).tobytes() for v in gc.trainable_variables()]


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    one = _training(1)
    assert _training(2) == one
    assert _training(3) == one
    assert len(set(one)) == len(one)


@pytest.mark.parametrize("shape", [(1, 1 << 20), (1 << 20, 1), (1023, 1025)])
def test_large_kernels_are_the_same_bits_on_one_and_two_threads(shape: tuple[int, int]) -> None:
    x = gc.placeholder(gc.float32, shape)
    fetches = [gc.exp(x) * x, gc.reduce_sum(x), gc.reduce_sum(x, 0), gc.reduce_sum(x, 1), gc.nn.softmax(x), gc.argmax(x, 0)]
    fed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    one, two = (gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=n)).run(fetches, {x: fed}) for n in (1, 2))
    for left, right in zip(one, two, strict=True):
        assert left.tobytes() == right.tobytes()
    np.testing.assert_allclose(one[1], fed.sum(dtype=np.float64), rtol=1e-4, atol=1e-1)
