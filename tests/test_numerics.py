"""`Session.find_nan`: a NaN or an infinity planted in each kind of place is found, with its line, its operands, its way to the results."""
from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import FailedPreconditionError, InvalidArgumentError
from graphc.inspection.nonfinite import NonFinite
from graphc.runtime import replay
from graphc.runtime.replay import SlowReplayWarning

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
NAN, INF = np.nan, np.inf


def found(fetches: Any, feeds: Any = None, **options: bool) -> NonFinite:
    """What is found in a session of its own; there must be something."""
    result = nothing(fetches, feeds, **options)
    assert result is not None
    assert len(str(result).splitlines()) <= 25
    return result


def nothing(fetches: Any, feeds: Any = None, **options: bool) -> NonFinite | None:
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        return session.find_nan(fetches, feeds, **options)


def declared(tensor: Any) -> str:
    """The line that a report shows for `tensor`, without the text of the line."""
    return f"  declared at {tensor.op.source_line}: "


def lines(report: NonFinite) -> list[str]:
    """The report's lines; of those with the user's code only the place."""
    return [line.partition(".py:")[0] + ".py" if "declared at" in line else line for line in str(report).splitlines()]


def placeholder(*dims: int | None, name: str = "x") -> Any:
    return gc.placeholder(gc.float32, list(dims), name=name)


# Operations -----------------------------------------------------------------------------------------------------------------------------

def test_the_logarithm_of_a_negative_number() -> None:
    x = placeholder(2, 4)
    y = gc.log(x, name="logs")
    loss = gc.reduce_sum(gc.matmul(y, gc.ones([4, 3])), name="loss")
    report = found(loss, {x: [[1, 2, 3, 4], [5, 6, -1, 8]]})
    assert lines(report) == [
        "NaN first made by operation 'logs' (Log): 1 of 8 elements",
        "  declared at test_numerics.py",
        "  by log at [1, 2]: log(-1) = nan",
        "  of its inputs",
        "    x:0 f32[2,4] from -1 to 8, all finite; at [1, 2]: 5 6 >-1< 8",
        "  reaches loss:0 through MatMul -> loss"]
    assert declared(y) in str(report)
    assert (report.kind, report.name, report.operation, report.primitive) == ("operation", "logs", y.op, "log")
    assert (report.index, report.count, report.size, report.way, report.goal) == ((1, 2), 1, 8, ("MatMul", "loss"), "loss:0")
    assert np.isnan(report.value)


def test_nothing_where_all_is_finite() -> None:
    x = placeholder(3)
    whole = gc.constant([1, 2, 3])
    assert nothing([gc.log(x), gc.div(1.0, x)], {x: [1, 2, 3]}) is None
    assert nothing(whole // 2 + whole) is None
    assert nothing(gc.no_op()) is None


def test_zero_divided_by_zero() -> None:
    x = placeholder(3)
    report = found(gc.div(x, gc.reduce_sum(x, name="total"), name="share"), {x: [0, 0, 0]})
    assert lines(report)[2:] == [
        "  by divide at [0]: divide(0, 0) = nan",
        "  of its inputs",
        "    x:0 f32[3] from 0 to 0, all finite; at [0]: >0< 0 0",
        "    total:0 f32[] = 0",
        "  reaches share:0"]
    assert report.count == 3


@pytest.mark.parametrize(("dtype", "value"), [(gc.float16, 12), (gc.float32, 89), (gc.bfloat16, 89), (gc.float64, 710)])
def test_overflow_of_the_exponential(dtype: Any, value: float) -> None:
    x = gc.placeholder(dtype, [2], name="x")
    report = found(gc.exp(x), {x: [1, value]})
    assert (report.what, report.index) == ("+inf", (1,))
    assert report.formula == f"exponential({gc.as_dtype(dtype).np_dtype.type(value):g}) = inf" if dtype is not gc.bfloat16 else True
    assert nothing(gc.exp(x), {x: [1, value - 2]}) is None
    assert nothing(gc.exp(x), {x: [1, value]}, infinities=False) is None


def test_a_softmax_by_hand_and_one_that_is_right() -> None:
    x = placeholder(2, 3)
    powers = gc.exp(x, name="powers")
    by_hand = gc.div(powers, gc.reduce_sum(powers, 1, keepdims=True), name="softmax")
    values = [[1, 2, 3], [4, 100, 5]]
    assert found(by_hand, {x: values}).name == "powers"
    report = found(by_hand, {x: values}, infinities=False)
    assert (report.name, report.formula) == ("softmax", "divide(inf, inf) = nan")
    assert nothing(gc.nn.softmax(x), {x: values}) is None


def test_infinities_that_are_meant_are_not_the_cause() -> None:
    """A mask of -inf is none; a row that is masked altogether is NaN by a subtraction of the softmax."""
    x = placeholder(2, 3)
    masked = gc.where(x > 0, x, gc.fill([2, 3], -INF))
    weights = gc.nn.softmax(masked, name="weights")
    assert nothing([weights, masked], {x: [[1, 2, 3], [-1, 1, -1]]}) is None
    report = found(weights, {x: [[1, 2, 3], [-1, -2, -3]]})
    assert (report.name, report.formula, report.index) == ("weights", "subtract(-inf, -inf) = nan", (1, 0))
    best = gc.Variable(INF)
    assert nothing(gc.assign(best, gc.minimum(best, gc.reduce_sum(x))), {x: np.ones((2, 3))}) is None
    report = found(gc.constant([1, NAN], gc.float32, name="written") * 2.0)
    assert lines(report) == ["NaN first made by operation 'written' (Const): 1 of 2 elements", "  declared at test_numerics.py",
                             "  by constant at [1]: nan", "  reaches mul:0 through mul"]


def test_sums_and_products_name_their_row() -> None:
    x = placeholder(2, 3)
    report = found(gc.reduce_sum(x, 1, name="sums"), {x: [[0, 0, 0], [1e38, 2e38, 3e38]]})
    assert lines(report)[2:5] == [
        "  by reduce_sum at [1]: reduce_sum of 1e+38 to 3e+38 = inf",
        "  of its inputs",
        "    x:0 f32[2,3] from 0 to 3e+38, all finite; at [1, :]: 1e+38 to 3e+38"]
    report = found(gc.matmul(x, x, transpose_b=True), {x: [[1, 2, 3], [1e20, 0, 0]]})
    assert (report.primitive, report.index, report.inputs[0].place) == ("dot_general", (1, 1), "[1, :]")


def test_of_several_the_first_in_the_order_of_declaration() -> None:
    x = placeholder(2)
    second, first = gc.log(x, name="b"), gc.sqrt(x, name="a")
    report = found([first, second, gc.log(x - 5.0)], {x: [1, -1]})
    assert (report.name, report.others) == ("b", 2)
    assert str(report).endswith("\n  2 other operations also made such values of finite ones")


def test_a_long_way_is_cut() -> None:
    x = placeholder(2)
    y = gc.log(x, name="start")
    for number in range(20):
        y = gc.add(y, 1.0, name=f"step{number}")
    assert str(found(y, {x: [1, -1]})).endswith(
        "  reaches step19:0 through step0 -> step1 -> step2 -> step3 -> (12 more) -> step16 -> step17 -> step18 -> step19")


def test_complex_numbers() -> None:
    x = placeholder(2)
    z = gc.complex(x, x)
    report = found(gc.div(z, z), {x: [1, 0]})
    assert (report.primitive, report.index, report.what) == ("divide", (1,), "NaN")


def test_what_a_host_function_refuses() -> None:
    """LAPACK refuses NaN: what gave it is named all the same."""
    x = placeholder(2)
    report = found(gc.linalg.inv(gc.diag(gc.log(x, name="logs"))), {x: [2, -1]})
    assert report.name == "logs"


# Walks ----------------------------------------------------------------------------------------------------------------------------------

def test_inside_a_running_product_the_step_is_named() -> None:
    x = placeholder(2, 5)
    report = found(gc.reduce_sum(gc.cumprod(x, 1, name="products"), name="loss"), {x: [[1, 1, 1, 1, 1], [2, 1e20, 3, 1e20, 1]]})
    assert (report.step, report.index, report.count) == ((1, 3, 5), (1, 3), 2)
    assert lines(report)[2:] == [
        "  by cumulative_prod at [1, 3], step 4 of 5 along axis 1: 6e+20 * 1e+20 = inf",
        "  of its inputs",
        "    x:0 f32[2,5] from 1 to 1e+20, all finite; at [1, 3]: ... 1e+20 3 >1e+20< 1",
        "  reaches loss:0 through loss"]


@pytest.mark.parametrize(("options", "index", "step", "formula"), [
    ({}, 2, 2, "2e+38 + 2e+38 = inf"), ({"reverse": True}, 1, 2, "3e+38 + 1e+38 = inf"),
    ({"exclusive": True}, 3, 3, "2e+38 + 2e+38 = inf")])
def test_running_sums(options: Any, index: int, step: int, formula: str) -> None:
    x = placeholder(4)
    report = found(gc.cumsum(x, **options), {x: [1e38, 1e38, 2e38, 1e38]})
    assert (report.index, report.step, report.formula) == ((index,), (0, step, 4), formula)


def test_the_earliest_step_of_all_rows() -> None:
    x = placeholder(2, 3)
    report = found(gc.cumprod(x, 1), {x: [[1, 1e30, 1e30], [1e30, 1e30, 1]]})
    assert (report.index, report.step) == ((1, 1), (1, 1, 3))


def test_in_the_gradient_of_a_running_product() -> None:
    x = placeholder(3)
    (g,) = gc.gradients(gc.cumprod(x, name="products"), x)
    report = found(g, {x: [1e30, 1, 1e30]})
    assert report.operation is not None
    assert report.operation.gradient_of is not None
    assert report.operation.gradient_of.name == "products"


# Gradients and updates ------------------------------------------------------------------------------------------------------------------

def test_the_gradient_of_a_root_at_zero() -> None:
    x = placeholder(3)
    root = gc.sqrt(x, name="root")
    (g,) = gc.gradients(root, x, name="back")
    report = found([root, g], {x: [1, 0, 4]})
    assert lines(report) == [
        "+inf first made by operation 'back/root_grad' (SqrtGrad): 1 of 3 elements",
        "  declared at test_numerics.py",
        "  as gradient of 'root', declared at test_numerics.py",
        "  by divide at [1]: divide(0.5, 0) = inf",
        "  of its inputs",
        "    x:0 f32[3] from 0 to 4, all finite; at [1]: 1 >0< 4",
        "    back/grad_ys_0:0 f32[3] from 1 to 1, all finite",
        "  reaches back/root_grad:0"]
    assert declared(g) in str(report)
    assert f"'root', declared at {root.op.source_line}: " in str(report)


def test_an_update_of_an_optimizer() -> None:
    rate = placeholder(name="rate")
    w = gc.Variable([1.0, 2.0], name="w")
    step = gc.train.GradientDescentOptimizer(rate).minimize(gc.reduce_sum(w * w))
    with gc.Session() as session:
        session.run(w.initializer)
        report = session.find_nan(step, {rate: INF})
        assert lines(report) == ["+inf in the value fed for 'rate:0'", "  declared at test_numerics.py",
                                 "  reaches variable 'w' through GradientDescent/update_w/ApplyGradientDescent"]
        report = session.find_nan(step, {rate: 2e38})
        assert lines(report)[:4] == [
            "+inf first made by operation 'GradientDescent/update_w/ApplyGradientDescent' (ApplyGradientDescent): 2 of 2 elements",
            "  declared at test_numerics.py",
            "  for variable 'w', declared at test_numerics.py",
            "  by multiply at [0]: multiply(2, 2e+38) = inf"]
        assert report.goal == "variable 'w'"
        assert w.op.source_line.describe() in str(report)
        np.testing.assert_array_equal(session.run(w), [1, 2])


# Masks ----------------------------------------------------------------------------------------------------------------------------------

def test_a_masked_arm_counts_only_when_asked_for() -> None:
    x = placeholder(3)
    logs = gc.log(x, name="logs")
    chosen = gc.where(x > 0, logs * 2.0, gc.zeros_like(x), name="chosen")
    loss = gc.reduce_sum(chosen)
    (g,) = gc.gradients(loss, x)
    feeds = {x: [1, -1, 2]}
    assert nothing([loss, g], feeds) is None
    report = found([loss, g], feeds, ignore_masked=False)
    assert (report.name, report.goal, report.lost) == ("logs", "", "'chosen' (Select)")
    assert str(report).endswith("\n  reaches no result through mul: masked by 'chosen' (Select)")
    assert found([loss, logs], feeds).name == "logs"
    other = gc.where(x < 0, logs, gc.zeros_like(x))
    assert found(other, feeds).index == (1,)


def test_what_nothing_chooses_does_not_count() -> None:
    x = placeholder(3)
    third = gc.log(x, name="logs")[2]
    assert nothing(third, {x: [-1, -1, 1]}) is None
    report = found(third, {x: [-1, -1, -1]})
    assert (report.index, report.count) == ((2,), 1)
    gathered = gc.gather(gc.log(x), [2, 0])
    assert nothing(gathered, {x: [1, -1, 3]}) is None


# Given from outside ---------------------------------------------------------------------------------------------------------------------

def test_a_nan_that_is_fed() -> None:
    x = placeholder(None, 3)
    report = found(gc.exp(x, name="y"), {x: [[1, 2, 3], [4, NAN, NAN]]})
    assert lines(report) == ["NaN in the value fed for 'x:0': 2 of 6 elements", "  declared at test_numerics.py",
                             "  at [1, 1]: 4 >nan< nan", "  reaches y:0 through y"]
    assert declared(x) in str(report)
    middle = gc.exp(x, name="middle")
    assert found(middle * 2.0, {middle: [[INF, 0, 0]]}).name == "middle:0"


def test_a_nan_in_a_variable() -> None:
    w = gc.Variable([1.0, 2.0, 3.0], name="w")
    loss = gc.reduce_sum(w * w, name="loss")
    with gc.Session() as session:
        with pytest.raises(FailedPreconditionError, match="uninitialized value w"):
            session.find_nan(loss)
        session.run(w.initializer)
        assert session.find_nan(loss) is None
        w.load([1, NAN, 3], session)
        assert lines(session.find_nan(loss)) == ["NaN in variable 'w' before the run: 1 of 3 elements", "  declared at test_numerics.py",
                                                 "  at [1]: 1 >nan< 3", "  reaches loss:0 through mul -> loss"]


def test_nothing_changes_by_looking() -> None:
    """Neither variables nor the counters of random operations; and the numbers looked at are those that the next run draws."""
    noise = gc.random_normal([4], seed=3)
    w = gc.Variable(np.zeros(4, np.float32), name="w")
    update = gc.assign_add(w, gc.log(noise, name="logs"))
    with gc.Session() as session, gc.Session() as other:
        for each in (session, other):
            each.run(w.initializer)
        report = session.find_nan(update)
        assert str(session.find_nan(update)) == str(report)
        np.testing.assert_array_equal(session.run(w), np.zeros(4))
        drawn = session.run([noise, update])
        np.testing.assert_array_equal(drawn[0], other.run([noise, update])[0])
        assert report is not None
        assert report.count == int(np.sum(drawn[0] < 0))
        np.testing.assert_allclose(float(report.formula[4:].partition(")")[0]), drawn[0][report.index], rtol=1e-4)


# Stages ---------------------------------------------------------------------------------------------------------------------------------

def test_a_run_in_stages() -> None:
    x = placeholder(None)
    kept = gc.boolean_mask(x, x > 0, name="kept")
    late = gc.log(kept - 2.0, name="late")
    report = found(gc.reduce_sum(late, name="loss"), {x: [-1, 5, 1, 3]})
    assert (report.name, report.index, report.formula, report.size) == ("late", (1,), "log(-1) = nan", 3)
    early = gc.boolean_mask(gc.log(x, name="early"), x > -2.0)
    assert found(early, {x: [-1, -5, 1, 3]}).formula == "log(-1) = nan"
    assert nothing(early, {x: [-5, 1]}) is None


def test_a_size_that_is_fed() -> None:
    x, n = placeholder(None), gc.placeholder(gc.int32, [], name="n")
    rows = gc.reshape(gc.log(x, name="logs"), gc.stack([n, -1]))
    assert found(gc.reduce_sum(rows, 1), {x: [1, 1, 1, -1], n: 2}).index == (3,)


def test_a_function_of_python() -> None:
    x = placeholder(2)
    report = found(gc.py_func(lambda value: np.where(value > 0, value, np.float32(NAN)), [x], gc.float32) + 1.0, {x: [1, -1]})
    assert (report.name, report.operation is not None and report.operation.type) == ("PyFunc", "PyFunc")
    assert lines(report)[2] == "  by a function of Python's at [1]: nan"
    through = gc.py_func(lambda value: value * 2, [gc.log(x, name="before")], gc.float32)
    report = found(through + 1.0, {x: [1, -1]})
    assert (report.name, report.way) == ("before", ("PyFunc_1", "add_1"))


# Mistakes, and large programs -----------------------------------------------------------------------------------------------------------

def test_mistakes_are_those_of_run() -> None:
    x = placeholder(2)
    session = gc.Session()
    with pytest.raises(InvalidArgumentError, match="must feed a value for placeholder tensor 'x'"):
        session.find_nan(gc.log(x))
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
        session.find_nan(gc.log(x), {x: [1.0]})
    with pytest.raises(TypeError, match="feed_dict must be a dictionary"):
        session.find_nan(x, [1])  # type: ignore[arg-type]  # the point
    session.close()
    with pytest.raises(RuntimeError, match="closed Session"):
        session.find_nan(gc.log(x), {x: [1, 1]})


def test_a_large_program_warns_and_tells_of_progress(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(replay, "_LARGE", 10)
    monkeypatch.setattr(replay, "_SECONDS", -1.0)
    x = placeholder(20)
    with caplog.at_level(logging.INFO, "graphc"), pytest.warns(SlowReplayWarning, match="2 nodes with 4e\\+01 elements .* minutes"):
        assert nothing(gc.log(x), {x: np.ones(20)}) is None
    assert "reference interpreter: 1 of 2 nodes" in caplog.messages
