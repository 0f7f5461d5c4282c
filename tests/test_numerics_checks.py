"""`ConfigProto(check_numerics=...)`: a run whose results are not finite is an error that says where they come from, and changes nothing."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import InvalidArgumentError
from graphc.runtime.staged import StagedExecutable
from tests.cuda_worker import run as run_on_fake_gpu

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
NAN, INF = np.nan, np.inf


def checked(which: Any = True) -> gc.Session:
    return gc.Session(config=gc.ConfigProto(check_numerics=which))


def failure(session: gc.Session, fetches: Any, feeds: Any = None) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        session.run(fetches, feeds)
    assert type(caught.value) is InvalidArgumentError
    return caught.value


def test_a_step_that_would_write_nan_writes_nothing() -> None:
    x = gc.placeholder(gc.float32, [None, 2], name="x")
    w, seen = gc.Variable(np.ones((2, 1), np.float32), name="w"), gc.Variable(0, name="seen")
    noise = gc.random_uniform([1], seed=1)
    loss = gc.reduce_mean(gc.log(gc.matmul(x, w), name="logs"), name="loss")
    step = gc.group(gc.train.AdamOptimizer(0.1).minimize(loss), gc.assign_add(seen, 1))
    good, bad = {x: [[1, 2], [3, 4]]}, {x: [[1, 2], [-3, -4]]}
    with checked() as session, gc.Session() as plain:
        for each in (session, plain):
            each.run(gc.global_variables_initializer())
            each.run([loss, step, noise], good)
        before = session.run([*gc.global_variables()])
        error = failure(session, [loss, step, noise], bad)
        assert error.op is not None
        assert error.op.name == "logs"
        assert error.message.splitlines()[0] == "NaN first made by operation 'logs' (Log): 1 of 2 elements"
        assert "  by log at [1, 0]: log(-" in error.message
        for one, other in zip(session.run([*gc.global_variables()]), before, strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(session.run([loss, noise, w], good), plain.run([loss, noise, w], good), strict=True):
            np.testing.assert_array_equal(one, other)  # it works on, and has drawn no numbers
        assert session.run(seen) == 1


def test_outputs_alone() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    y, whole = gc.sqrt(x, name="roots"), gc.cast(x, gc.int32)
    masked = gc.where(x > 0, y, gc.zeros_like(x))
    with checked() as session:
        np.testing.assert_array_equal(session.run([y, whole], {x: [1, 4, 9]})[0], [1, 2, 3])
        np.testing.assert_array_equal(session.run([masked, whole], {x: [1, -4, 9]})[0], [1, 0, 3])
        assert failure(session, [whole, y], {x: [1, -4, 9]}).message.startswith("NaN first made by operation 'roots' (Sqrt): 1 of 3")
        assert failure(session, x, {x: [1, NAN, 9]}).message.startswith("NaN in the value fed for 'x:0'")


def test_infinities_pass_where_only_nan_is_asked_for() -> None:
    x = gc.placeholder(gc.float32, [2], name="x")
    y = gc.log(x)
    with checked("nan") as session:
        np.testing.assert_array_equal(session.run(y, {x: [0, 1]}), [-INF, 0])
        assert failure(session, y, {x: [-1, 0]}).message.startswith("NaN first made by operation 'Log'")
        assert failure(session, y - y, {x: [0, 1]}).message.splitlines()[2] == "  by subtract at [0]: subtract(-inf, -inf) = nan"
    with checked() as session:
        assert failure(session, y, {x: [0, 1]}).message.startswith("-inf first made by operation 'Log'")


def test_infinities_that_the_program_writes_are_named() -> None:
    with checked() as session:
        best = gc.Variable(INF, name="best")
        assert failure(session, best.initializer).message.splitlines()[0] == "+inf first made by operation 'best/initial_value' (Const)"


def test_complex_numbers_and_empty_ones() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    z = gc.complex(x, x)
    for which in (True, "nan"):
        with checked(which) as session:
            assert session.run(z, {x: []}).shape == (0,)
            assert session.run(z, {x: [1]}) == 1 + 1j
            assert "'x:0'" in failure(session, z, {x: [NAN]}).message
    with checked() as session:
        assert "by reduce_max at []: reduce_max of no elements = -inf" in failure(session, gc.reduce_max(x), {x: []}).message


def test_a_run_in_stages() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    w = gc.Variable(0.0, name="w")
    update = gc.assign(w, gc.reduce_sum(gc.log(gc.boolean_mask(x, x > 1.0) - 2.0, name="late")))
    with checked() as session:
        session.run(w.initializer)
        assert session.run(update, {x: [0, 3, 3]}) == 0
        assert "'late' (Log): 1 of 2 elements" in failure(session, update, {x: [0, 3, 1.5]}).message
        assert session.run(w) == 0


def test_where_only_compiled_code_sees_it() -> None:
    """A function that gives NaN the first time only stands for what the interpreter computes otherwise."""
    values = [np.float32(NAN), np.float32(1)]
    y = gc.py_func(lambda: values.pop(0), [], gc.float32)
    with checked() as session:
        message = failure(session, gc.add(y, 1.0, name="y")).message
    assert message.splitlines()[0] == "'y:0' has NaN or infinity"
    assert message.endswith("\n  the reference interpreter, which rounds after each step, gives finite values: GRAPHC_VERIFY=1 compares "
                            "the compiled code with it")


def test_off_it_costs_nothing() -> None:
    x = gc.placeholder(gc.float32, [2], name="x")
    y = gc.log(x)
    with gc.Session() as session, checked(False) as off, checked() as on:
        texts = [each.compile(y, {x: [1, 2]}).plan_text for each in (session, off)]
        assert texts[0] == texts[1]
        assert not isinstance(session.compile(y, {x: [1, 2]}), StagedExecutable)
        assert isinstance(on.compile(y, {x: [1, 2]}), StagedExecutable)


@pytest.mark.parametrize(("text", "passes"), [("", [-1, 0]), ("0", [-1, 0]), ("nan", [0, 1]), ("1", [1, 2]), ("all", [1, 2])])
def test_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, passes: list[float]) -> None:
    monkeypatch.setenv("GRAPHC_CHECK_NUMERICS", text)
    x = gc.placeholder(gc.float32, [2], name="x")
    with gc.Session() as session:
        session.run(gc.log(x), {x: passes})
        if text not in ("", "0"):
            failure(session, gc.log(x), {x: [-1, 1]})


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"ConfigProto\(check_numerics='inf'\): it must be True, False, 'all' or 'nan'"):
        checked("inf")
    with pytest.raises(TypeError, match=r"ConfigProto\(check_numerics=2\) has type int, but expected one of: bool, str, None"):
        checked(2)
    monkeypatch.setenv("GRAPHC_CHECK_NUMERICS", "yes")
    with pytest.raises(ValueError, match=r"GRAPHC_CHECK_NUMERICS=yes: it must be .*in the environment 1, 0, all or nan"):
        gc.Session()


# add_check_numerics_ops -----------------------------------------------------------------------------------------------------------------

def told(session: gc.Session, fetches: Any, feeds: Any = None) -> str:
    """The first line of the error."""
    return failure(session, fetches, feeds).message.splitlines()[0]


def test_only_what_the_run_computes_is_checked() -> None:
    """Neither an unfed branch nor initialisers get in the way; alone, the operation asks for all of the graph, as in TF1."""
    x, other = (gc.placeholder(gc.float32, [2], name=name) for name in ("x", "other"))
    w = gc.Variable([1.0, 1.0], name="w")
    y = gc.log(x * w, name="y")
    _ = gc.log(other, name="unused")
    checks = gc.add_check_numerics_ops()
    late = gc.sqrt(x, name="late")
    assert (checks.type, checks.name) == ("CheckNumericsOps", "group_deps")
    with gc.Session() as session:
        session.run(w.initializer)
        w.load([2, 3], session)
        np.testing.assert_allclose(session.run([y, checks], {x: [1, 2]})[0], np.log([2, 6]), rtol=1e-6)
        assert told(session, [y, checks], {x: [1, 0]}) == "y:0 : Tensor had Inf values"
        assert told(session, [y, checks], {x: [0, -1]}) == "y:0 : Tensor had Inf and NaN values"
        assert np.isnan(session.run([late, checks], {x: [1, -1]})[0][1])  # declared later
        with pytest.raises(InvalidArgumentError, match="must feed a value for placeholder tensor 'other'"):
            session.run(checks, {x: [1, 2]})
        assert told(session, checks, {x: [1, 2], other: [-1, 1]}) == "unused:0 : Tensor had NaN values"
        np.testing.assert_array_equal(session.run(w), [2, 3])  # and no variable is initialised again


def test_gradients_and_updates_are_checked_before_they_are_written() -> None:
    x = gc.placeholder(gc.float32, [2], name="x")
    w = gc.Variable([1.0, 1.0], name="w")
    loss = gc.reduce_sum(gc.sqrt(w * x), name="loss")
    rate = gc.placeholder(gc.float32, [], name="rate")
    step = gc.train.GradientDescentOptimizer(rate).minimize(loss)
    checks = gc.add_check_numerics_ops()
    with gc.Session() as session:
        session.run(w.initializer)
        assert told(session, [step, checks], {x: [1, 0], rate: 0.1}) == "gradients/Sqrt_grad:0 : Tensor had Inf values"
        assert told(session, [step, checks], {x: [1e10, 1], rate: 3e38}) == (
            "GradientDescent/update_w/ApplyGradientDescent:0 : Tensor had Inf values")
        np.testing.assert_array_equal(session.run(w), [1, 1])
        session.run([step, checks], {x: [1, 1], rate: 0.5})
        np.testing.assert_array_equal(session.run(w), [0.75, 0.75])


def test_masked_arms_are_no_trouble() -> None:
    """As long as no place that is not finite is taken, in the step before and in its gradient."""
    x = gc.placeholder(gc.float32, [3], name="x")
    w = gc.Variable([1.0, 1.0, 1.0], name="w")
    logs = gc.log(w * x, name="logs")
    chosen = gc.where(x > 0, logs * 2.0, gc.zeros_like(x))
    step = gc.train.GradientDescentOptimizer(0.5).minimize(gc.reduce_sum(chosen))
    checks = gc.add_check_numerics_ops()
    with gc.Session() as session:
        session.run(w.initializer)
        session.run([step, checks], {x: [1, -1, 2]})
        np.testing.assert_array_equal(session.run(w), [0, 1, 0])
        w.load([1, 1, -1], session)
        assert told(session, [chosen, checks], {x: [1, -1, 2]}) == "logs:0 : Tensor had NaN values"
        assert told(session, [logs, checks], {x: [1, -1, 2]}) == "logs:0 : Tensor had NaN values"


def test_constants_are_meant() -> None:
    """As the NaN that `clip_by_global_norm` keeps for a norm that is infinite."""
    x = gc.placeholder(gc.float32, [2], name="x")
    (y,), _ = gc.clip_by_global_norm([x * 2.0], 1.0)
    mask = gc.where(x > 0, x, gc.fill([2], -INF))
    checks = gc.add_check_numerics_ops()
    with gc.Session() as session:
        np.testing.assert_allclose(session.run([y, checks], {x: [3, 4]})[0], [0.6, 0.8], rtol=1e-6)
        assert told(session, [y, checks], {x: [3, INF]}) == "mul:0 : Tensor had Inf values"
        assert told(session, [gc.exp(mask), checks], {x: [3, -1]}) == "Select:0 : Tensor had Inf values"


def test_a_run_in_stages_with_all_checks() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    late = gc.log(gc.boolean_mask(x, x > 1.0) - 2.0, name="late")
    checks = gc.add_check_numerics_ops()
    with gc.Session() as session:
        assert told(session, [late, checks], {x: [0, 1.5]}) == "late:0 : Tensor had NaN values"
        np.testing.assert_array_equal(session.run([late, checks], {x: [0, 3]})[0], [0])


# On a GPU -------------------------------------------------------------------------------------------------------------------------------

def logs_step(x: Any) -> tuple[Any, Any]:
    """A variable, and a step that adds to it what has a logarithm, with noise."""
    w = gc.Variable([0.0, 0.0], name="w")
    return w, gc.assign_add(w, gc.log(x, name="logs") + gc.random_uniform([2], seed=1))


def test_a_session_on_a_gpu() -> None:
    """Variables and counters are read from where they are, and nothing changes there."""
    run_on_fake_gpu("""
    from tests.test_numerics_checks import logs_step
    with gc.Graph().as_default():
        x = gc.placeholder(gc.float32, [2], name="x")
        w, step = logs_step(x)
        good, bad = {x: np.array([1, 2], np.float32)}, {x: np.array([1, -2], np.float32)}
        with gc.Session(config=gc.ConfigProto(device="gpu", check_numerics=True)) as session:
            session.run(gc.global_variables_initializer())
            for _ in range(2):
                session.run(step, good)
                before = session.run(w)
                text = error_of(session.run, step, bad)
                assert text.startswith("InvalidArgumentError: NaN first made by operation 'logs' (Log): 1 of 2 elements"), text
                assert session.find_nan(step, good) is None
                np.testing.assert_array_equal(session.run(w), before)
            report = session.find_nan(w + gc.constant(np.array([0, np.nan], np.float32)))
            assert report.name == "Const", report
            assert error_of(w.load, [np.nan, 1], session).startswith("InvalidArgumentError: NaN in the value fed for 'w/initial_value:0'")
    """)
