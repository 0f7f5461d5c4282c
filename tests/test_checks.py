"""Checks of a run: assertions, numbers, indices in checked mode; and that nothing has changed where one fails.

Texts of errors are those that TensorFlow 1.15 gives for the same lines, but for the operation and the line, which follow.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import InvalidArgumentError
from graphc.runtime.executable import Executable
from graphc.runtime.staged import StagedExecutable
from tests.cuda_worker import run as run_on_fake_gpu

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
BAD = np.array([1, -2, 3, 4, 5], np.float32)
RISING = np.array([1, 2, 3, 4, 5], np.float32)


def failure(fetch: Any, feeds: Any = None, **options: Any) -> str:
    """The first line of the error that a run of `fetch` raises; the others name the operation and this file."""
    with gc.Session(config=gc.ConfigProto(**options)) as session:
        session.run(gc.global_variables_initializer())
        with pytest.raises(InvalidArgumentError) as caught:
            session.run(fetch, feeds)
    first, *others = caught.value.message.split("\n  in operation ")
    assert re.match(r"'.*' \(\w+\)\n(  inputs: .*\n)?  declared at test_checks\.py:\d+: ", others[0]), caught.value.message
    assert caught.value.op is not None
    return first


def passes(fetch: Any, feeds: Any = None, **options: Any) -> Any:
    with gc.Session(config=gc.ConfigProto(**options)) as session:
        session.run(gc.global_variables_initializer())
        return session.run(fetch, feeds)


# Assertions about values ----------------------------------------------------------------------------------------------------------------

BINARY = {"assert_equal": ("==", BAD, RISING), "assert_less": ("<", BAD, RISING), "assert_greater": (">", BAD, RISING),
          "assert_greater_equal": (">=", BAD, RISING), "assert_less_equal": ("<=", RISING, BAD), "assert_none_equal": ("!=", BAD, RISING)}
HOLDING = {"assert_equal": (BAD, BAD), "assert_less": (BAD, BAD + 1), "assert_greater": (BAD, BAD - 1), "assert_greater_equal": (BAD, BAD),
           "assert_less_equal": (BAD, BAD), "assert_none_equal": (BAD, BAD + 1)}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [[5], [None], None], ids=["known", "dims", "rank"])
def test_comparisons(name: str, shape: Any) -> None:
    sign, left, right = BINARY[name]
    x, y = gc.placeholder(gc.float32, shape, name="x"), gc.placeholder(gc.float32, shape, name="y")
    shown = {id(BAD): "1 -2 3...", id(RISING): "1 2 3..."}
    operation = getattr(gc, name)(x, y)
    assert operation.name == f"{name}/Assert/AssertGuard/Assert"
    assert failure(operation, {x: left, y: right}) == (
        f"assertion failed: [Condition x {sign} y did not hold element-wise:] [x (x:0) = ] [{shown[id(left)]}] [y (y:0) = ] "
        f"[{shown[id(right)]}]")
    worded = getattr(gc, name)(x, y, data=[x, "hello", 3], message="my message", summarize=2)
    assert failure(worded, {x: left, y: right}) == f"assertion failed: [my message] [{shown[id(left)][:4].strip()}...] [hello] [3]"
    assert passes([operation, worded], dict(zip((x, y), HOLDING[name], strict=True))) == [None, None]
    empty = np.zeros(0, np.float32)
    if shape != [5]:
        assert passes(operation, {x: empty, y: empty}) is None


@pytest.mark.parametrize(("name", "sign", "values"), [
    ("assert_positive", ">", [1, 0]), ("assert_negative", "<", [-1, 0]), ("assert_non_negative", ">=", [0, -1]),
    ("assert_non_positive", "<=", [0, 1])])
def test_signs(name: str, sign: str, values: list[float]) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    operation = getattr(gc, name)(x)
    shown = " ".join(map(str, values))
    assert failure(operation, {x: values}) == (
        f"assertion failed: [] [Condition x {sign} 0 did not hold element-wise:] [x (x:0) = ] [{shown}]")
    assert failure(getattr(gc, name)(x, data=["d", x], message="m"), {x: values}) == f"assertion failed: [d] [{shown}]"
    passes(operation, {x: values[:1]})
    with pytest.raises(InvalidArgumentError, match=rf"^\nCondition x {sign} 0 did not hold element-wise:\nx \(Const:0\) = \n"
                       r"\[.*\]\n  declared at"):
        getattr(gc, name)(gc.constant([-1.0, 0.0, 1.0]))


def test_near() -> None:
    x, y = gc.placeholder(gc.float32, [None], name="x"), gc.placeholder(gc.float32, [None], name="y")
    assert failure(gc.assert_near(x, y), {x: BAD, y: RISING}) == (
        'assertion failed: [] [x and y not equal to tolerance rtol = Tensor("assert_near/rtol:0", shape=(), dtype=float32), '
        'atol = Tensor("assert_near/atol:0", shape=(), dtype=float32)] [x (x:0) = ] [1 -2 3...] [y (y:0) = ] [1 2 3...]')
    passes(gc.assert_near(x, y, rtol=0.1, atol=10.0), {x: BAD, y: RISING})
    passes(gc.assert_near(x, y), {x: RISING, y: RISING * np.float32(1 + 1e-6)})
    failure(gc.assert_near(x, y), {x: RISING, y: RISING * np.float32(1 + 1e-5)})


def test_constants_are_compared_when_they_are_declared() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Condition x < y did not hold element-wise:\nx \(Const:0\) = \n\[1 2\]\n"
                       r"y \(Const_1:0\) = \n\[2 1\]\n  declared at test_checks\.py"):
        gc.assert_less(gc.constant([1, 2]), gc.constant([2, 1]))
    with pytest.raises(InvalidArgumentError, match=r"^hey\na\n"):
        gc.assert_less(gc.constant([1, 2]), gc.constant([2, 1]), message="hey", data=["a"])
    assert gc.assert_equal(gc.constant([1, 2]), [1, 2]).name == "assert_equal/Assert/Assert"
    x = gc.placeholder(gc.float32)
    assert gc.assert_equal(x, x).type == "NoOp"
    with pytest.raises(ValueError, match=r"[Ii]ncompatible shapes|must be equal"):
        gc.assert_equal(gc.zeros([2]), gc.zeros([3]))


def test_assert_shows_its_data() -> None:
    x, y = gc.placeholder(gc.float32, [None]), gc.placeholder(gc.float32, [None])
    m, b, i = gc.placeholder(gc.float64, [2, 3]), gc.placeholder(gc.bool, [3]), gc.placeholder(gc.int32, [2, 2])
    e, s = gc.placeholder(gc.float32, [0]), gc.placeholder(gc.float32, [])
    wrong = gc.reduce_all(x > 0)
    assert failure(gc.Assert(wrong, [x, y, "text", 7]), {x: BAD, y: RISING}) == "assertion failed: [1 -2 3...] [1 2 3...] [text] [7]"
    assert failure(gc.Assert(wrong, [x], summarize=1), {x: BAD}) == "assertion failed: [1...]"
    assert failure(gc.Assert(wrong, [x], summarize=-1), {x: BAD}) == "assertion failed: [1 -2 3 4 5]"
    passes(gc.Assert(wrong, [y]), {x: RISING, y: RISING})
    feeds = {m: [[1 / 3, 1e10, 1e-7], [1, 2, np.nan]], b: [True, False, True], i: [[1, 2], [3, 4]], e: [], s: 1e6}
    assert failure(gc.Assert(False, [m, b, i, e, s]), feeds) == (
        "assertion failed: [[0.33333333333333331 10000000000 1e-07]...] [1 0 1] [[1 2][3...]...] [] [1e+06]")
    assert failure(gc.Assert(False, [m, s], summarize=10), {**feeds, s: np.inf}) == (
        "assertion failed: [[0.33333333333333331 10000000000 1e-07][1 2 nan]] [inf]")
    with pytest.raises(ValueError, match=r"Shape must be rank 0 but is rank 1"):
        gc.Assert(x > 0, [x])
    with pytest.raises(TypeError, match="expected type of bool"):
        gc.Assert(x, [x])
    with pytest.raises(TypeError, match="data must be a list"):
        gc.Assert(wrong, x)
    unknown = gc.placeholder(gc.bool)
    assert "must be a scalar, not of rank 1" in failure(gc.Assert(unknown, [x]), {unknown: [True], x: BAD})


# Assertions about ranks, shapes, types --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "argument", "words", "good"), [
    ("assert_rank", 2, "must have rank] [2]", 2), ("assert_rank_at_least", 2, "must have rank at least] [2]", 3),
    ("assert_rank_in", [1, 3], "must have rank in] [1] [3]", 3)])
def test_ranks(name: str, argument: Any, words: str, good: int) -> None:
    check = getattr(gc, name)
    x = gc.placeholder(gc.float32, None, name="x")
    operation = check(x, argument)
    assert failure(operation, {x: 1.0}) == f"assertion failed: [] [Tensor x:0 {words} [Received shape: ] []"
    passes(operation, {x: np.ones([1] * good)})
    assert check(gc.ones([1] * good), argument).type == "NoOp"
    shown = "(1, 3)" if name == "assert_rank_in" else "2"
    sentence = rf"^why\.  Tensor c:0 {words.split(']')[0]} {re.escape(shown)}\.  Received rank 0, shape \(\)$"
    with pytest.raises(ValueError, match=sentence):
        check(gc.constant(1.0, name="c"), argument, message="why")


def test_ranks_that_are_none() -> None:
    x = gc.placeholder(gc.float32, [None])
    with pytest.raises(ValueError, match="Rank must be a scalar"):
        gc.assert_rank(x, gc.constant([1, 2]))
    with pytest.raises(TypeError, match="must be of type int32"):
        gc.assert_rank(x, 0.5)


def test_scalars_types_and_iterables() -> None:
    x, s, i = gc.placeholder(gc.float32, [None], name="x"), gc.placeholder(gc.float32, []), gc.placeholder(gc.int32, [2])
    assert gc.assert_scalar(s) is s
    assert gc.assert_integer(i).type == gc.assert_type(x, gc.float32).type == "NoOp"
    for call, kind, text in (
            (lambda: gc.assert_scalar(x), ValueError, r"Expected scalar shape for x:0, saw shape: \(\?,\)\."),
            (lambda: gc.assert_integer(x, message="q"), TypeError, 'q  Expected "x" to be integer type.  Found: x:0 of dtype float32'),
            (lambda: gc.assert_type(x, gc.int32), TypeError, "x:0 must be of type int32"),
            (lambda: gc.assert_proper_iterable(x), TypeError, '"proper" iterable'),
            (lambda: gc.assert_proper_iterable("abc"), TypeError, '"proper" iterable'),
            (lambda: gc.assert_proper_iterable(np.ones(3)), TypeError, '"proper" iterable'),
            (lambda: gc.assert_proper_iterable(5), TypeError, '"values" to be iterable'),
            (lambda: gc.assert_same_float_dtype([x, gc.zeros([], gc.float64)]), ValueError,
             r"zeros:0, type=float64, must be of the same type \(float32\) as x:0"),
            (lambda: gc.assert_same_float_dtype([i]), ValueError, "Expected floating point type, got int32"),
            (lambda: gc.assert_same_float_dtype(None, gc.int32), ValueError, "Expected floating point type, got int32")):
        with pytest.raises(kind, match=text):
            call()
    gc.assert_proper_iterable([x])
    assert gc.assert_same_float_dtype([x, None, s]) is gc.assert_same_float_dtype() is gc.float32
    assert (gc.is_numeric_tensor(x), gc.is_numeric_tensor(gc.equal(x, x)), gc.is_numeric_tensor(3)) == (True, False, False)
    with pytest.raises(TypeError, match="Expected x to be numeric"):
        gc.is_non_decreasing([True, False])


def test_shapes() -> None:
    x, m = gc.placeholder(gc.float32, [None], name="x"), gc.placeholder(gc.float32, [2, 3], name="m")
    u = gc.placeholder(gc.float32, None, name="u")
    check = gc.debugging.assert_shapes
    assert failure(check([(x, ("N",)), (m, ("Q", "N"))]), {x: [1, 2], m: np.ones((2, 3))}) == (
        "assertion failed: [] [Specified by tensor x:0 dimension 0] [Tensor m:0 dimension] [1] [must have size] [2] "
        "[Received shape: ] [2 3]")
    assert failure(check({x: (5,), m: (2, "Q")}), {x: [1, 2, 3], m: np.ones((2, 3))}) == (
        "assertion failed: [] [Specified explicitly] [Tensor x:0 dimension] [0] [must have size] [5] [Received shape: ] [3]")
    passes(check([(x, "N"), (m, ("N", 3)), (u, (..., "N", "."))]), {x: [1, 2], m: np.ones((2, 3)), u: np.ones((4, 2, 7))})
    assert "[must have size] [2]" in failure(check([(m, ("N", 3)), (u, ("*", "N", None))]), {m: np.ones((2, 3)), u: np.ones((4, 3, 7))})
    assert check([(m, None), (m, ("A", "B"))]).type == "NoOp"
    with pytest.raises(ValueError, match=r"Specified by tensor m:0 dimension 0\.  Tensor m:0 dimension 1 must have size 2\.  Received "
                       "size 3"):
        check([(m, ("N", "N"))])
    with pytest.raises(ValueError, match=r"only allowed as the first entry"):
        check([(m, ("N", "*"))])
    with pytest.raises(ValueError, match=r"must be an iterable"):
        check([(m, 3)])


# Numbers --------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "words"), [([1, np.nan], "NaN"), ([np.inf], "Inf"), ([np.nan, -np.inf], "Inf and NaN")])
def test_numbers(values: list[float], words: str) -> None:
    x = gc.placeholder(gc.float32, [None])
    for checked in (gc.check_numerics(x, "here"), gc.verify_tensor_all_finite(x, "here"),
                    gc.debugging.assert_all_finite(x=x, message="here")):
        assert failure(checked, {x: values}) == f"here : Tensor had {words} values"
    with pytest.raises(TypeError, match="int32 not in list of allowed values: bfloat16, float16, float32, float64"):
        gc.check_numerics(gc.constant(1), "m")
    with pytest.raises(TypeError, match="Expected string for argument 'message' not None"):
        gc.check_numerics(x, None)  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="needs a tensor"):
        gc.verify_tensor_all_finite(x)


def test_numbers_of_gradients() -> None:
    x = gc.placeholder(gc.float32, [None])
    (g,) = gc.gradients(gc.log(gc.check_numerics(x, "up")), x)
    assert failure(g, {x: [1, 0]}) == "Not a number (NaN) or infinity (Inf) values detected in gradient. up : Tensor had Inf values"
    np.testing.assert_array_equal(passes(g, {x: [1, 2]}), [1, 0.5])


def test_all_numbers_of_a_graph() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.log(x, name="y")
    _ = gc.sqrt(y, name="z")
    checks = gc.add_check_numerics_ops()
    assert failure(checks, {x: [0.0, 1.0]}) == "y:0 : Tensor had Inf values"
    assert failure(checks, {x: [0.5]}) == "z:0 : Tensor had NaN values"
    passes(checks, {x: [1.5]})


# When they run --------------------------------------------------------------------------------------------------------------------------

def test_only_what_is_depended_on_is_checked() -> None:
    x = gc.placeholder(gc.float32, [None])
    positive = gc.assert_positive(x)
    free = x * 2.0
    with gc.control_dependencies([positive]):
        bound = x * 2.0
    with gc.Session() as session:
        np.testing.assert_array_equal(session.run(free, {x: BAD}), BAD * 2)
        for _ in range(2):
            with pytest.raises(InvalidArgumentError, match="x > 0"):
                session.run(bound, {x: BAD})
            np.testing.assert_array_equal(session.run(bound, {x: RISING}), RISING * 2)
        assert not isinstance(session.compile(free, {x: BAD}), StagedExecutable)


def test_checks_of_shapes_cost_nothing() -> None:
    """They are settled for each set of shapes; the rest of the program is one, as if they were not there."""
    x = gc.placeholder(gc.float32, [None, None])
    with gc.control_dependencies([gc.assert_equal(gc.shape(x)[1], 3), gc.assert_rank(x, 2)]):
        y = gc.exp(x)
    with gc.Session() as session:
        assert session.run(y, {x: np.ones((2, 3))}).shape == (2, 3)
        assert not isinstance(session.compile(y, {x: (2, 3)}), StagedExecutable)
        with pytest.raises(InvalidArgumentError, match=r"assertion failed: \[Condition x == y did not hold element-wise:\] .*\[4\]"):
            session.run(y, {x: np.ones((2, 4))})


def guarded_step(x: gc.Tensor) -> tuple[gc.Variable, gc.Operation, gc.Tensor]:
    total = gc.Variable(np.zeros(3, np.float32), name="total")
    noise = gc.random_uniform([3], seed=5, name="noise")
    with gc.control_dependencies([gc.assert_non_negative(gc.reduce_sum(x), message="negative", data=["negative", x])]):
        step = gc.assign_add(total, x + 0.0 * noise)
    return total, step.op, noise


def test_nothing_is_written_where_a_check_fails() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    total, step, noise = guarded_step(x)
    late = gc.assert_less(gc.reduce_max(total.read_value()), 100.0)  # declared last: of the new value
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(step, {x: [1, 2, 3]})
        expected = [session.run(noise) for _ in range(2)]
        with pytest.raises(InvalidArgumentError, match=r"assertion failed: \[negative\] \[-1 -2 -3\]"):
            session.run([step, noise], {x: [-1, -2, -3]})
        with pytest.raises(InvalidArgumentError, match=r"x < y"):
            session.run([step, noise, late], {x: [1, 2, 300]})
        np.testing.assert_array_equal(session.run(total), [1, 2, 3])
        session.run([step, late], {x: [1, 2, 3]})
        np.testing.assert_array_equal(session.run(total), [2, 4, 6])
        assert not np.array_equal(*expected)
    with gc.Session() as session:  # failed runs did not draw
        session.run(gc.global_variables_initializer())
        session.run(step, {x: [1, 2, 3]})
        np.testing.assert_array_equal([session.run(noise) for _ in range(2)], expected)


def test_the_stage_of_checks_is_shown() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    _, step, _ = guarded_step(x)
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(step, {x: [1, 2, 3]})
        lines = session.compile(step, {x: (3,)}).plan_text.splitlines()
    assert lines[0] == "// stage 0: takes x:0; gives whether all checks hold, before variables are written"
    assert lines[1].startswith("// stage 1: takes x:0; gives the results; writes ")


def test_an_assertion_comes_before_the_size_that_it_guards() -> None:
    lengths = gc.placeholder(gc.int32, [None])
    x = gc.placeholder(gc.float32, [None])
    total = gc.reduce_sum(lengths)
    with gc.control_dependencies([gc.assert_equal(total, gc.size(x), message="lengths do not add up")]):
        y = gc.reshape(gc.identity(x), gc.stack([total, 1]))
    with gc.Session() as session:
        assert session.run(y, {lengths: [1, 2], x: [1, 2, 3]}).shape == (3, 1)
        with pytest.raises(InvalidArgumentError, match=r"\[lengths do not add up\] .*\[4\].*\[3\]"):
            session.run(y, {lengths: [2, 2], x: [1, 2, 3]})


def test_the_first_of_several_is_told() -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    with gc.control_dependencies([gc.assert_less(x, 9.0, name="first"), gc.assert_positive(x, name="second")]):
        y = gc.identity(x)
    assert "x < y" in failure(y, {x: [10, -1]})
    assert "x > 0" in failure(y, {x: [8, -1]})


# Indices, labels, divisors: checked mode ------------------------------------------------------------------------------------------------

P = np.arange(10.0).reshape(5, 2)


OUT_OF_RANGE: dict[str, tuple[Callable[[gc.Tensor], Any], Any, Any, str]] = {
    # what is built of the indices; indices that fit, and some that do not; TF1's words
    "gather": (lambda i: gc.gather(P, i), [0, 4], [0, 7], "indices[1] = 7 is not in [0, 5)"),
    "gather scalar": (lambda i: gc.gather(P, i), 3, 7, "indices = 7 is not in [0, 5)"),
    "gather negative": (lambda i: gc.gather(P, i), [[0]], [[0, 1], [-1, 2]], "indices[1,0] = -1 is not in [0, 5)"),
    "gather axis": (lambda i: gc.gather(P, i, axis=1), [1], [5], "indices[0] = 5 is not in [0, 2)"),
    "gather_nd": (lambda i: gc.gather_nd(P, i), [[0, 1]], [[0, 1], [4, 2]], "indices[1] = [4, 2] does not index into param shape [5,2]"),
    "gather_nd one": (lambda i: gc.gather_nd(P, i), [4, 1], [7, 7], "indices = [7, 7] does not index into param shape [5,2]"),
    "embedding_lookup": (lambda i: gc.nn.embedding_lookup(P, i), [0, 4], [0, 7], "indices[1] = 7 is not in [0, 5)"),
    "scatter_nd": (lambda i: gc.scatter_nd(i, [1.0, 2.0], [4]), [[1], [3]], [[1], [5]], "indices[1] = [5] does not index into shape [4]"),
    "segment_sum": (lambda i: gc.segment_sum(P, i), [0, 0, 1, 1, 2], [0, 0, 1, 1, -1], "segment ids must be >= 0"),
    "segment_sum order": (lambda i: gc.segment_sum(P, i), [0, 0, 1, 1, 2], [0, 0, 2, 1, 3], "segment ids are not increasing"),
    "unsorted_segment_sum": (lambda i: gc.unsorted_segment_sum(P, i, 3), [0, -1, 2, 1, 1], [0, 0, 2, 1, 3],
                             "segment_ids[4] = 3 is out of range [0, 3)"),
    "labels": (lambda i: gc.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=P), [0, 1, 0, 1, 0], [0, 1, 0, 2, 0],
               "Received a label value of 2 which is outside the valid range of [0, 2).  Label values: 0 1 0 2 0"),
    "floordiv": (lambda i: gc.constant([3, 4]) // i, [1, 2], [0, 1], "Integer division by zero"),
    "floormod": (lambda i: gc.constant([3, 4]) % i, [1, 2], [0, 1], "Integer division by zero"),
    "scatter_update": (lambda i: gc.scatter_update(gc.Variable(np.zeros((3, 2))), i, np.ones((1, 2))), [2], [4],
                       "indices[0] = 4 is not in [0, 3)"),
    "scatter_nd_update": (lambda i: gc.scatter_nd_update(gc.Variable(np.zeros((3, 2))), i, np.ones((1, 2))), [[2]], [[4]],
                          "indices[0] = [4] does not index into shape [3,2]"),
    "dynamic_partition": (lambda i: gc.dynamic_partition(P, i, 2), [0, 1, 1, 0, 1], [0, 1, 2, 0, 1], "partitions[2] = 2 is not in [0, 2)"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_checked_mode_names_the_index(name: str) -> None:
    build, good, bad, words = OUT_OF_RANGE[name]
    indices = gc.placeholder(gc.int32, None)
    built = build(indices)
    assert failure(built, {indices: bad}, checked=True) == words
    for want, got in zip(_flat(passes(built, {indices: good})), _flat(passes(built, {indices: good}, checked=True)), strict=True):
        np.testing.assert_array_equal(got, want)
    passes(built, {indices: bad})  # unchecked: the result that the operation documents


def _flat(value: Any) -> list[Any]:
    return [leaf for each in value for leaf in _flat(each)] if isinstance(value, list) else [value]


def test_checked_mode_of_a_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are checked though only the step is fetched, which needs the loss's gradient alone; by the environment too."""
    x, labels = gc.placeholder(gc.float32, [None, 4]), gc.placeholder(gc.int32, [None])
    kernel = gc.Variable(np.ones((4, 3), np.float32))
    loss = gc.reduce_mean(gc.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=gc.matmul(x, kernel)))
    step = gc.train.GradientDescentOptimizer(0.5).minimize(loss)
    feeds = {x: np.eye(4, dtype=np.float32)[:2], labels: [0, 3]}
    monkeypatch.setenv("GRAPHC_CHECKED", "1")
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        with pytest.raises(InvalidArgumentError, match="Received a label value of 3"):
            session.run(step, feeds)
        np.testing.assert_array_equal(session.run(kernel), np.ones((4, 3)))
        session.run(step, {**feeds, labels: [0, 2]})
        assert (session.run(kernel) != 1).any()
    with gc.Session(config=gc.ConfigProto(checked=False)) as session:
        session.run(gc.global_variables_initializer())
        session.run(step, feeds)
    with pytest.raises(TypeError, match=r"ConfigProto\(checked='yes'\) has type str"):
        gc.Session(config=gc.ConfigProto(checked="yes"))  # type: ignore[arg-type]  # the point


def test_indices_that_are_known_need_no_check() -> None:
    x = gc.placeholder(gc.float32, [None, 2])
    y = gc.gather(x, [0, 2])
    with gc.Session(config=gc.ConfigProto(checked=True)) as session:
        assert session.run(y, {x: P}).shape == (2, 2)
        made = session.compile(y, {x: (5, 2)})
        assert isinstance(made, Executable)
        assert not isinstance(made, StagedExecutable)
        with pytest.raises(InvalidArgumentError, match=r"indices\[1\] = 2 is not in \[0, 2\)\n  in operation 'GatherV2'"):
            session.run(y, {x: P[:2]})


# Devices --------------------------------------------------------------------------------------------------------------------------------

def test_checks_on_several_devices() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    with gc.device("/cpu:1"):
        total, step, _ = guarded_step(x)
    with gc.device("/cpu:0"), gc.control_dependencies([gc.assert_less(x, 9.0)]):
        doubled = x * 2.0
    with gc.Session(config=gc.ConfigProto(device_count={"CPU": 2})) as session:
        session.run(gc.global_variables_initializer())
        np.testing.assert_array_equal(session.run([doubled, step], {x: [1, 2, 3]})[0], [2, 4, 6])
        with pytest.raises(InvalidArgumentError, match=r"\[negative\] \[-1 -2 -3\]"):
            session.run([doubled, step], {x: [-1, -2, -3]})
        with pytest.raises(InvalidArgumentError, match="x < y"):
            session.run([doubled, step], {x: [1, 2, 10]})
        np.testing.assert_array_equal(session.run(total), [1, 2, 3])


def test_checks_on_a_gpu() -> None:
    run_on_fake_gpu("""
    from tests.test_checks import guarded_step
    with gc.Graph().as_default():
        x = gc.placeholder(gc.float32, [3], name="x")
        total, step, noise = guarded_step(x)
        with gc.Session(config=gc.ConfigProto(device="gpu")) as session:
            session.run(gc.global_variables_initializer())
            for _ in range(3):
                session.run(step, {x: np.array([1, 2, 3], np.float32)})
                text = error_of(session.run, step, {x: np.array([-1, -2, -3], np.float32)})
                assert text.startswith("InvalidArgumentError: assertion failed: [negative] [-1 -2 -3]"), text
            np.testing.assert_array_equal(session.run(total), [3, 6, 9])
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)
