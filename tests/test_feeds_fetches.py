"""What goes into a run and what comes out: TF1's fetch structures, feeds of any tensor, conversions, and arrays that are nobody else's."""
from __future__ import annotations

import collections
import pickle
import warnings
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.runtime.feeds import SlowFeedWarning


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.fixture
def session() -> gc.Session:
    return gc.Session()


# Fetches ----------------------------------------------------------------------------------------------------------------------------------

def test_every_kind_of_fetch(session: gc.Session) -> None:
    v = gc.Variable([1.0, 2.0], name="v")
    y = gc.multiply(v, 3.0, name="y")
    assert session.run(v.initializer) is None
    assert session.run(gc.global_variables_initializer()) is None
    np.testing.assert_array_equal(session.run(y), [3.0, 6.0])
    np.testing.assert_array_equal(session.run("y:0"), [3.0, 6.0])
    np.testing.assert_array_equal(session.run(v), [1.0, 2.0])
    np.testing.assert_array_equal(session.run("v:0"), [1.0, 2.0])
    assert session.run("y") is None
    assert session.run(y.op) is None


def test_every_structure(session: gc.Session) -> None:
    a, b = gc.constant(1), gc.constant(2.5)
    op = gc.no_op()
    assert session.run([]) == []
    assert session.run(()) == ()
    assert session.run({}) == {}
    assert session.run([a, b]) == [1, 2.5]
    assert session.run((b, a)) == (2.5, 1)
    assert session.run([b, [a, (b, op)], op]) == [2.5, [1, (2.5, None)], None]
    assert session.run({"x": a, 7: {"y": [b]}}) == {"x": 1, 7: {"y": [2.5]}}
    assert session.run([a, a, (a,)]) == [1, 1, (1,)]
    pair = session.run(Pair(b, Pair(a, [a])))
    assert pair == Pair(2.5, Pair(1, [1]))
    assert type(pair) is Pair
    assert type(pair.second) is Pair
    ordered = session.run(collections.OrderedDict([("z", a), ("a", b), ("op", op)]))
    assert type(ordered) is collections.OrderedDict
    assert list(ordered.items()) == [("z", 1), ("a", 2.5), ("op", None)]
    assert session.run(collections.defaultdict(list, {"x": a})) == {"x": 1}


def test_structures_that_look_alike_are_kept_apart(session: gc.Session) -> None:
    """A namedtuple equals a tuple, and 1 equals True: the second must not get the first's structure."""
    a, b = gc.constant(1), gc.constant(2)
    for structure in ([a, b], (a, b), Pair(a, b), [(a, b)], [Pair(a, b)], [[a, b]], [[a], b], {"k": (a, b)}, {"k": Pair(a, b)}):
        result = session.run(structure)
        assert type(result) is type(structure)
        assert repr(_shape_of(result)) == repr(_shape_of(structure))


def _shape_of(structure: Any) -> Any:
    """Types of the containers, with leaves forgotten."""
    if isinstance(structure, dict):
        return {k: _shape_of(v) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        return [type(structure).__name__, *map(_shape_of, structure)]
    return "leaf"


leaves = st.integers(0, 3)
structures = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
                          | st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.builds(Pair, inner, inner), max_leaves=8)


@settings(max_examples=50)
@given(structures)
def test_any_structure_comes_back(structure: Any) -> None:
    gc.reset_default_graph()
    tensors = [gc.constant(10 * n) for n in range(4)]

    def replaced(part: Any, by: Any) -> Any:
        if isinstance(part, dict):
            return {k: replaced(v, by) for k, v in part.items()}
        if isinstance(part, Pair):
            return Pair(*[replaced(p, by) for p in part])
        return type(part)(replaced(p, by) for p in part) if isinstance(part, list | tuple) else by(part)

    result = gc.Session().run(replaced(structure, lambda n: tensors[n]))
    assert result == replaced(structure, lambda n: 10 * n)
    assert _shape_of(result) == _shape_of(structure)


def test_ways_of_asking_share_what_was_compiled(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    y = gc.add(x, 1.0, name="y")
    one = session.compile(y, [x])
    assert session.compile([y], [x]) is one
    assert session.compile({"k": "y:0"}, ["x:0"]) is one
    assert session.compile((y, y), {x: (3,)}) is one


def test_the_order_of_the_feeds_does_not_matter(session: gc.Session) -> None:
    a, b, c = (gc.placeholder(gc.float32, [], name=name) for name in "abc")
    y = a + 10.0 * b + 100.0 * c
    for _ in range(2):
        assert session.run(y, {a: 1.0, b: 2.0, c: 3.0}) == 321.0
        assert session.run(y, {c: 3.0, "a:0": 1.0, b: 2.0}) == 321.0
        assert session.run(y, {(b, c): (2.0, 3.0), a: 1.0}) == 321.0
        assert session.make_callable(y, [c, b, a])(3.0, 2.0, 1.0) == 321.0
    assert session.compile(y, [c, a, b]) is session.compile(y, {a: 1.0, b: 2.0, c: 3.0})


def test_results_are_scalars_and_arrays_of_the_declared_type(session: gc.Session) -> None:
    for dtype in (gc.float16, gc.float32, gc.float64, gc.int8, gc.int64, gc.uint8, gc.bool, gc.bfloat16):
        value = session.run(gc.cast(gc.constant([1, 0]), dtype))
        assert type(value) is np.ndarray
        assert value.dtype == dtype.np_dtype
        assert value.shape == (2,)
        scalar = session.run(gc.cast(gc.constant(1), dtype))
        assert type(scalar) is dtype.np_dtype.type
        assert scalar == 1
    assert session.run(gc.zeros([0, 3])).shape == (0, 3)


def test_results_are_fresh_and_feeds_are_left_alone(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [4])
    v = gc.Variable(gc.ones([4]))
    session.run(v.initializer)
    fed = np.arange(4, dtype=np.float32)
    kept = fed.copy()
    fetches = [x, gc.identity(x), gc.reshape(x, [2, 2]), v, v.value(), x * 2.0]
    first = session.run(fetches, {x: fed})
    for result in first:
        for other in (fed, *session.run(fetches, {x: fed})):
            assert not np.shares_memory(result, other)
        result[...] = -1  # must reach neither the feed nor the variable
    np.testing.assert_array_equal(fed, kept)
    np.testing.assert_array_equal(session.run(v), np.ones(4))
    np.testing.assert_array_equal(session.run(fetches[-1], {x: fed}), 2 * kept)


def test_constants_cannot_be_changed_through_results(session: gc.Session) -> None:
    c = gc.constant([1.0, 2.0])
    session.run(c)[:] = 9
    np.testing.assert_array_equal(session.run(c), [1.0, 2.0])


# Feeds ------------------------------------------------------------------------------------------------------------------------------------

def test_any_tensor_can_be_fed(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [2])
    middle = x * 2.0
    end = middle + 1.0
    np.testing.assert_array_equal(session.run(end, {middle: [5.0, 6.0]}), [6.0, 7.0])  # x is not needed then
    c = gc.constant([1.0, 1.0])
    np.testing.assert_array_equal(session.run(c + 1.0, {c: [3.0, 4.0]}), [4.0, 5.0])
    np.testing.assert_array_equal(session.run(c + 1.0), [2.0, 2.0])


def test_a_fed_variable_keeps_its_value(session: gc.Session) -> None:
    v = gc.Variable(1.0)
    read = v + 1.0
    assert session.run(read, {v: 5.0}) == 6.0  # needs no initial value either
    session.run(v.initializer)
    assert session.run([v, read], {v: 5.0}) == [5.0, 6.0]
    assert session.run([v, read]) == [1.0, 2.0]
    assert session.run(read, {v.value(): 10.0}) == 11.0


def test_an_assignment_to_a_fed_variable(session: gc.Session) -> None:
    v = gc.Variable(1.0)
    assign = v.assign(3.0)
    assert session.run(assign, {v: 5.0}) == 3.0
    assert session.run(v) == 3.0


def test_a_fetch_may_itself_be_fed(session: gc.Session) -> None:
    x = gc.placeholder(gc.int32, [])
    assert session.run(x, {x: 3}) == 3
    assert session.run([x, x + 1], {"Placeholder:0": 4}) == [4, 5]


def test_feeds_that_nothing_needs(session: gc.Session) -> None:
    x, unused = gc.placeholder(gc.float32, []), gc.placeholder(gc.int64, [None, 2])
    assert session.run(x, {x: 1.0, unused: np.zeros((5, 2), np.int64)}) == 1.0
    assert session.run(gc.constant(2), {unused: np.zeros((0, 2), np.int64)}) == 2


def test_tuples_of_tensors_are_fed_by_tuples(session: gc.Session) -> None:
    a, b, c = (gc.placeholder(gc.float32, []) for _ in range(3))
    total = a + 10.0 * b + 100.0 * c
    assert session.run(total, {(a, b): (1.0, 2.0), c: 3.0}) == 321.0
    assert session.run(total, {Pair(a, Pair(b, c)): Pair(4.0, Pair(5.0, 6.0))}) == 654.0
    assert session.run(total, {(a, (b, c)): [7, [8, 9]]}) == 987.0
    assert session.make_callable(total, [(a, b), c])((1, 1), 1) == 111.0


@pytest.mark.parametrize("value", [
    [[1, 2, 3]], ((1.0, 2.0, 3.0),), np.array([[1, 2, 3]], np.int64), np.array([[1, 2, 3]]) / 1.0, np.array([[1, 2, 3]], np.float16),
    np.array([[1, 2, 3]], ">f4"), np.array([[1, 2, 3]], ml_dtypes.bfloat16), np.array([[1, 2, 3]], np.longdouble),
    [[np.float32(1), 2, np.int8(3)]], np.array([[1], [2], [3]], np.float32).T, np.ma.masked_array([[1, 2, 3]], dtype=np.float32),
    np.array([[1, 0, 2, 0, 3]], np.float32)[:, ::2], pickle.loads(pickle.dumps(np.array([[1, 2, 3]], np.float32))),
    np.frombuffer(b"\0" + np.array([1, 2, 3], np.float32).tobytes(), np.uint8)[1:].view(np.float32).reshape(1, 3),
])
def test_values_are_converted(session: gc.Session, value: Any) -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    y = x * 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowFeedWarning)
        for _ in range(3):  # the first run compiles, later ones take the fast path first
            result = session.run(y, {x: value})
            assert result.dtype == np.float32
            np.testing.assert_array_equal(result, [[2, 4, 6]])


@pytest.mark.parametrize(("dtype", "value", "expected"), [
    (gc.int32, 2.0, 2), (gc.int32, True, 1), (gc.int32, np.int64(7), 7), (gc.uint8, 255, 255), (gc.bool, 1, True), (gc.float64, 1, 1.0),
    (gc.float32, 1e300, np.inf), (gc.float32, float("nan"), np.nan), (gc.float16, 0.1, np.float16(0.1)), (gc.int64, 2**62, 2**62),
])
def test_scalars_are_converted(session: gc.Session, dtype: gc.DType, value: Any, expected: Any) -> None:
    x = gc.placeholder(dtype, [])
    for _ in range(2):
        np.testing.assert_array_equal(session.run(gc.identity(x), {x: value}), expected)


def test_nan_and_infinity_are_values_like_others(session: gc.Session) -> None:
    x = gc.placeholder(gc.float64, [3])
    np.testing.assert_array_equal(session.run(x + 1.0, {x: [np.nan, np.inf, -np.inf]}), [np.nan, np.inf, -np.inf])


def test_a_slow_feed_is_said_once_with_the_line_of_the_run(session: gc.Session) -> None:
    x, z = gc.placeholder(gc.float32, [2], name="x"), gc.placeholder(gc.float32, [2], name="z")
    y = x + z
    wide = np.ones(2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        session.run(y, {x: wide, z: wide.astype(np.float32)})
        session.run(y, {x: wide, z: np.ones((2, 2), np.float32)[:, 0]})
        session.run(y, {x: [1.0, 2.0], z: wide.astype(np.float32)})
    assert [str(w.message) for w in seen] == [
        "graphc: the feed of 'x:0' is converted from float64 at every run; feed a contiguous float32 array to avoid that",
        "graphc: the feed of 'z:0' is copied into a contiguous array at every run; feed a contiguous float32 array to avoid that"]
    assert all(w.filename == __file__ for w in seen)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), min_size=0, max_size=6))
def test_unknown_sizes(sizes: list[int]) -> None:
    """Each size compiles once and is found again."""
    gc.reset_default_graph()
    x = gc.placeholder(gc.float32, [None, 2])
    total = gc.reduce_sum(x, axis=0)
    session = gc.Session()
    for size in sizes:
        rows = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
        np.testing.assert_array_equal(session.run(total, {x: rows}), rows.sum(axis=0))
    assert session.compile(total, {x: (3, 2)}) is session.compile(total, {x: np.ones((3, 2), np.float32)})


def test_shapes_that_depend_on_fed_values(session: gc.Session) -> None:
    n, x = gc.placeholder(gc.int32, []), gc.placeholder(gc.float32, [None])
    filled, counted, shaped = gc.fill([n, 2], 1.5), gc.range(n), gc.reshape(x, [n, -1])
    for size in (3, 0, 2, 3):
        np.testing.assert_array_equal(session.run(filled, {n: size}), np.full((size, 2), 1.5, np.float32))
        np.testing.assert_array_equal(session.run(counted, {n: size}), np.arange(size))
    for size in (2, 3, 6):
        np.testing.assert_array_equal(session.run(shaped, {n: size, x: range(6)}), np.arange(6).reshape(size, -1))
    # A value that only numbers depend on is not part of what was compiled.
    assert session.run(gc.cast(n, gc.float32) * 2.0, {n: 5}) == 10.0


def test_compile_takes_values_shapes_or_tensors(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None, 3], name="x")
    y = x + 1.0
    assert session.compile(y, {x: (5, 3)}).feeds[0].dims == (5, 3)
    assert session.compile(y, {x: np.zeros((2, 3))}).fetches[0].dims == (2, 3)
    with pytest.raises(ValueError, match=r"^compile needs a value or a shape for 'x:0': its declared shape is not fully known\n"):
        session.compile(y, [x])
    with pytest.raises(ValueError, match=r"^Cannot feed value of shape \(5, 4\) for Tensor 'x:0', which has shape '\(\?, 3\)'"):
        session.compile(y, {x: (5, 4)})


def test_make_callable(session: gc.Session) -> None:
    x, k = gc.placeholder(gc.float32, [None]), gc.placeholder(gc.float32, [])
    scale = session.make_callable({"y": x * k}, [x, k])
    np.testing.assert_array_equal(scale([1.0, 2.0], 3.0)["y"], [3.0, 6.0])
    np.testing.assert_array_equal(scale(np.ones(3, np.float32), np.float32(2.0))["y"], [2.0, 2.0, 2.0])
    assert session.make_callable(gc.no_op())() is None
    with pytest.raises(TypeError, match="this callable takes 2 feed values, but got 1"):
        scale([1.0])


def test_what_waits_for_a_fed_placeholder() -> None:
    x = gc.placeholder(gc.float32, [], name="x")
    with gc.control_dependencies([x]):
        y = gc.constant(2.0) * 3.0
    with gc.Session() as session:
        assert session.run(y, {x: 1.0}) == 6
        with pytest.raises(gc.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor 'x'"):
            session.run(y)
