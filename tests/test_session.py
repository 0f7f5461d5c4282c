"""What a session keeps between runs: variables in the order of declaration, counters, graphs that grow, defaults, and its end."""
from __future__ import annotations

import functools
import gc as collector
import logging
import warnings
import weakref

import numpy as np
import pytest

import graphc as gc
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.passes.pipelines import DEFAULT, Pipeline, Stage
from graphc.primitives import add, parameter, variable_assign
from graphc.runtime.check import Results, WrongPass, check_machine_code, check_stages
from graphc.runtime.compile import compile_program, run_once
from graphc.runtime.session import GrowingGraphWarning


@pytest.fixture
def session() -> gc.Session:
    return gc.Session()


# State ------------------------------------------------------------------------------------------------------------------------------------

def test_the_order_of_declaration_decides(session: gc.Session) -> None:
    v = gc.Variable(1.0)
    before = v.read_value()
    assign = v.assign(5.0)
    after = v.read_value()
    session.run(v.initializer)
    for fetches in ([after, assign, before], [before, after, assign]):
        session.run(v.initializer)
        results = dict(zip(fetches, session.run(fetches), strict=True))
        assert (results[before], results[assign], results[after]) == (1.0, 5.0, 5.0)
    session.run(v.initializer)
    assert session.run([before, after]) == [1.0, 1.0]  # nobody asked for the assignment


def test_a_fetched_variable_shows_its_value_at_the_end(session: gc.Session) -> None:
    v = gc.Variable(1.0)
    up = v.assign_add(2.0)
    session.run(v.initializer)
    assert session.run([v, up]) == [3.0, 3.0]
    assert session.run([up, v]) == [5.0, 5.0]
    assert session.run([v, up.op]) == [7.0, None]


def test_variables_can_be_swapped(session: gc.Session) -> None:
    a, b = gc.Variable([1.0, 2.0]), gc.Variable([3.0, 4.0])
    old_a, old_b = gc.identity(a), gc.identity(b)
    swap = gc.group(a.assign(old_b), b.assign(old_a))
    session.run(gc.global_variables_initializer())
    for expected in ([[3, 4], [1, 2]], [[1, 2], [3, 4]]):
        session.run(swap)
        np.testing.assert_array_equal(session.run([a, b]), expected)


def test_several_updates_of_one_variable_in_one_run(session: gc.Session) -> None:
    v = gc.Variable(10.0)
    half = v.assign(v.value() * 0.5)
    plus = v.assign_add(3.0)
    minus = v.assign_sub(1.0)
    session.run(v.initializer)
    assert session.run([minus, plus, half]) == [7.0, 8.0, 5.0]
    assert session.run(v) == 7.0
    assert session.run([minus, half]) == [2.5, 3.5]


def test_control_dependencies_bring_operations_into_the_run(session: gc.Session) -> None:
    v, w = gc.Variable(1.0), gc.Variable(0.0)
    up = v.assign_add(1.0)
    with gc.control_dependencies([up]):
        read = v.read_value()
        copied = w.assign(v.read_value())
        with gc.control_dependencies([copied]):
            nothing = gc.no_op()
    session.run(gc.global_variables_initializer())
    assert session.run(read) == 2.0
    session.run(nothing)
    assert session.run([v, w]) == [3.0, 3.0]


def test_sessions_share_a_graph_and_no_variables() -> None:
    v = gc.Variable(0)
    up = v.assign_add(1)
    first, second = gc.Session(), gc.Session()
    for session in (first, second):
        session.run(v.initializer)
    assert [first.run(up) for _ in range(3)] == [1, 2, 3]
    assert second.run(up) == 1
    second.close()
    assert first.run(v) == 3


def test_a_variable_is_filled_by_load(session: gc.Session) -> None:
    v = gc.Variable([1.0, 2.0])
    v.load([5.0, 6.0], session)
    np.testing.assert_array_equal(session.run(v), [5.0, 6.0])


# Random numbers ---------------------------------------------------------------------------------------------------------------------------

def test_random_operations_count_their_runs() -> None:
    gc.get_default_graph().seed = 7
    a, b = gc.random_uniform([4]), gc.random_uniform([4])
    twice = [a + 0.0, a * 1.0]
    runs = []
    for _ in range(2):  # a new session begins anew
        session = gc.Session()
        runs.append([session.run([a, b, *twice]) for _ in range(3)])
    np.testing.assert_array_equal(runs[0], runs[1])
    for one, other, again, once_more in runs[0]:
        assert not np.array_equal(one, other)  # equal declarations are different numbers
        np.testing.assert_array_equal(one, again)  # one operation is one value within a run
        np.testing.assert_array_equal(one, once_more)
    assert len({run[0].tobytes() for run in runs[0]}) == 3


def test_random_operations_that_a_run_does_not_need_do_not_count() -> None:
    gc.get_default_graph().seed = 7
    a, b = gc.random_uniform([2]), gc.random_uniform([2])
    first, second = gc.Session(), gc.Session()
    first.run(b)
    np.testing.assert_array_equal(first.run(a), second.run(a))


def test_a_variable_called_like_a_hidden_counter_is_a_variable(session: gc.Session) -> None:
    v = gc.Variable(np.uint64(5), name="noise/counter")
    with pytest.raises(gc.errors.FailedPreconditionError, match="uninitialized value noise/counter"):
        session.run(v)
    session.run(v.initializer)
    assert session.run(v) == 5


# Graphs that grow -------------------------------------------------------------------------------------------------------------------------

def test_a_graph_may_grow_after_a_run(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [])
    y = x + 1.0
    assert session.run(y, {x: 1.0}) == 2.0
    compiled = session.compile(y, [x])
    v = gc.Variable(3.0)
    session.run(v.initializer)
    assert session.run(y * v, {x: 1.0}) == 6.0
    assert session.compile(y, [x]) is compiled


def test_a_loop_that_grows_the_graph_is_told_once_with_its_line(session: gc.Session) -> None:
    c = gc.constant(1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for n in range(25):
            assert session.run(c + n) == n + 1
    assert [w.category for w in seen] == [GrowingGraphWarning]
    first, second, third = str(seen[0].message).splitlines()
    assert first.startswith("graphc: the graph has grown between runs 10 times at test_session.py:")
    assert "session.run(c + n)" in first
    assert second == "  the last time by 2 operations"
    assert "declare it once, before the loop, and feed what changes" in third
    assert seen[0].filename == __file__


def test_a_graph_that_grows_line_by_line_is_not_told(session: gc.Session) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = "\n".join(f"session.run(gc.constant({n}))" for n in range(30))
        exec(compile(lines, "cells.py", "exec"), {"session": session, "gc": gc})


# Defaults and life ------------------------------------------------------------------------------------------------------------------------

def test_eval_and_run_use_the_default_session() -> None:
    v = gc.Variable(2.0)
    x = gc.placeholder(gc.float32, [])
    y = v * x
    outer, inner = gc.Session(), gc.Session()
    with outer.as_default():
        v.initializer.run()
        assert y.eval({x: 3.0}) == 6.0
        with inner.as_default():
            assert gc.get_default_session() is inner
            v.load(7.0)
            assert v.eval() == 7.0
        assert v.eval() == 2.0
        assert v.eval(session=inner) == 7.0
    assert gc.get_default_session() is None
    with pytest.raises(ValueError, match=r"^Cannot evaluate tensor using `eval\(\)`: No default session is registered\."):
        y.eval({x: 3.0})
    with pytest.raises(ValueError, match=r"^Cannot execute operation using `run\(\)`: No default session is registered\."):
        v.initializer.run()
    assert outer.run(v) == 2.0  # as_default closed nothing


def test_a_session_is_a_context_with_its_graph_and_closes() -> None:
    graph = gc.Graph()
    with gc.Session(graph=graph) as session:
        c = gc.constant(4)
        assert c.graph is graph
        assert gc.get_default_graph() is graph
        assert c.eval() == 4
    assert gc.get_default_graph() is not graph
    with pytest.raises(RuntimeError, match=r"^Attempted to use a closed Session\.$"):
        session.run(c)


def test_interactive_sessions_close_in_any_order() -> None:
    first = gc.InteractiveSession()
    c = gc.constant(1)
    assert c.eval() == 1
    second = gc.InteractiveSession()
    assert gc.get_default_session() is second
    first.close()
    assert gc.get_default_session() is second
    assert c.eval() == 1
    second.close()
    second.close()
    assert gc.get_default_session() is None


def test_a_closed_session_lets_go_of_everything() -> None:
    session = gc.Session()
    x = gc.placeholder(gc.float32, [2])
    v = gc.Variable([1.0, 2.0])
    call = session.make_callable(v + x, [x])
    session.run(v.initializer)
    call([1.0, 1.0])
    memory = weakref.ref(session._targets.variables._arrays["Variable"])
    session.close()
    session.close()
    collector.collect()
    assert memory() is None
    for use in (lambda: session.run(v), lambda: call([1.0, 1.0]), lambda: session.make_callable(v), lambda: session.compile(v)):
        with pytest.raises(RuntimeError, match=r"^Attempted to use a closed Session\.$"):
            use()
    assert "closed" in repr(session)


def test_a_session_may_be_dropped_without_closing() -> None:
    v = gc.Variable(gc.zeros([1000]))
    session = gc.Session()
    session.run(v.initializer)
    gone = weakref.ref(session._targets)
    del session
    collector.collect()
    assert gone() is None


def test_executables_take_turns_in_one_workspace() -> None:
    """A larger plan moves the arena; plans made before must find it where it is now."""
    session = gc.Session()
    x = gc.placeholder(gc.float32, [None, None])
    y = gc.matmul(gc.matmul(x, x), x)  # needs a buffer between the products
    small = np.array([[1, 2], [3, 4]], np.float32)
    large = np.random.default_rng(0).standard_normal((60, 60)).astype(np.float32)
    expected = small @ small @ small
    np.testing.assert_array_equal(session.run(y, {x: small}), expected)
    np.testing.assert_allclose(session.run(y, {x: large}), large @ large @ large, rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(session.run(y, {x: small}), expected)
    assert session.compile(y, {x: large}).memory.arena_bytes > session.compile(y, {x: small}).memory.arena_bytes > 0


@pytest.mark.parametrize("pipeline", ["default", "unfused", "none", Pipeline("mine", DEFAULT.passes[-1:])])
def test_pipelines(pipeline: str | Pipeline) -> None:
    x = gc.placeholder(gc.float32, [3])
    y = gc.nn.softmax(x * 2.0)
    fed = np.array([1.0, 2.0, 3.0], np.float32)
    e = np.exp(2.0 * fed.astype(np.float64) - 6.0)
    session = gc.Session(config=gc.ConfigProto(pipeline=pipeline))
    np.testing.assert_allclose(session.run(y, {x: fed}), e / e.sum(), rtol=1e-6)
    assert session.compile(y, [x]).stages[0].name == "specialise"


# The debug ladder -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("level", "present", "absent"), [
    (1, ["compiled y:0", "because of new fetches with x:0 fed", "kernels", "passes: specialise"], ["program {", "define void"]),
    (2, ["program after specialise", "program after fuse", "program {", "// y (test_session.py:"], ["kernel k", "define void"]),
    (3, ["program {", "kernel k"], ["define void"]), (4, ["program {", "kernel k", "define void"], []),
])
def test_each_rung_of_the_debug_ladder(level: int, present: list[str], absent: list[str], monkeypatch: pytest.MonkeyPatch,
                                       caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("GRAPHC_DEBUG", str(level))
    caplog.set_level(logging.INFO, "graphc")
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.add(x, 1.0, name="y")
    session = gc.Session()
    session.run(y, {x: [1.0]})
    for text in present:
        assert text in caplog.text
    for text in absent:
        assert text not in caplog.text
    caplog.clear()
    session.run(y, {x: [2.0]})
    assert caplog.text == ""
    session.run(y, {x: [1.0, 2.0]})
    assert "because of new shapes of feeds: x:0 (2,)" in caplog.text


def test_a_wrong_debug_level_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DEBUG", "lots")
    with pytest.raises(ValueError, match=r"^GRAPHC_DEBUG must be a number from 0 to 4; got 'lots'$"):
        gc.Session().run(gc.constant(1))


# Checked passes ---------------------------------------------------------------------------------------------------------------------------

def _doubling(program: Program) -> Program:
    """A pass that is wrong: every sum is doubled."""
    return program.rewritten({node: add(node, node) for node in program.nodes if node.name == "add"}, ())


def test_a_pass_that_changes_results_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    x = gc.placeholder(gc.float32, [3])
    y = gc.exp(x) + x
    simplify, *rest = DEFAULT.passes
    planted = gc.ConfigProto(pipeline=Pipeline("planted", (simplify, ("plant", _doubling), *rest)))
    with pytest.raises(WrongPass, match=r"^pass 'plant' changed output 0: at \[0\] expected .*\(3 of 3 elements differ\)\n"):
        gc.Session(config=planted).run(y, {x: [1.0, 2.0, 3.0]})
    np.testing.assert_allclose(gc.Session().run(y, {x: [0.0, 1.0, 2.0]}), [1.0, np.e + 1.0, np.e**2 + 2.0], rtol=1e-6)


def test_a_pass_that_makes_an_invalid_program_is_named() -> None:
    x = parameter("x", TensorType(gc.float32, (2,)))
    good = Program((x,), (add(x, x),))
    bad = Program((x,), good.outputs, nodes=tuple(reversed(good.nodes)))
    with pytest.raises(WrongPass, match=r"^the program after pass 'shuffle' is not valid: P1: "):
        check_stages([Stage("specialise", good), Stage("shuffle", bad)])


def test_a_lost_effect_is_named() -> None:
    new = variable_assign("v", parameter("x", TensorType(gc.float32, (2,))))
    whole = Program(new.operands, (), (new,))
    with pytest.raises(WrongPass, match=r"^pass 'forget' lost variable v$"):
        check_stages([Stage("specialise", whole), Stage("forget", Program(whole.parameters, (), ()))])


def test_wrong_machine_code_is_named() -> None:
    x = parameter("x", TensorType(gc.float32, (2, 3)))
    program = Program((x,), (add(x, x),))

    def run(feeds: list[np.ndarray], variables: dict[str, np.ndarray]) -> Results:
        return [feeds[0] * 2 + np.array([[0, 0, 1], [0, 0, 0]], np.float32)], {}

    with pytest.raises(WrongPass, match=r"^machine code changed output 0: at \[0, 2\] expected .* \(1 of 6 elements differ\)$"):
        check_machine_code(program, run)
    assert check_machine_code(program, functools.partial(run_once, compile_program(program, DEFAULT, 1)))


def test_a_whole_training_step_passes_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    x, labels = gc.placeholder(gc.float32, [4, 5]), gc.placeholder(gc.int32, [4])
    logits = gc.layers.dense(gc.layers.dense(x, 6, activation=gc.nn.relu), 3)
    loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    train = gc.train.AdamOptimizer(0.1).minimize(loss)
    session = gc.Session()
    session.run(gc.global_variables_initializer())
    feeds = {x: np.eye(4, 5, dtype=np.float32), labels: [0, 1, 2, 0]}
    losses = [session.run([loss, train], feeds)[0] for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
