"""TensorShape and Dimension: the answers recorded here are TensorFlow 1.15's own, and algebraic laws over random shapes."""
from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.core.shapes import Dimension, TensorShape, as_dims, check_equal_shapes, in_brackets, scalar, unknown_shape

S, D = TensorShape, Dimension
dims = st.one_of(st.none(), st.integers(0, 5))
shapes = st.one_of(st.none(), st.lists(dims, max_size=4).map(tuple))


@pytest.mark.parametrize(("given", "text", "representation"), [
    (None, "<unknown>", "TensorShape(None)"),
    ([], "()", "TensorShape([])"),
    (3, "(3,)", "TensorShape([Dimension(3)])"),
    ([None, 3], "(?, 3)", "TensorShape([Dimension(None), Dimension(3)])"),
    ((2, Dimension(3)), "(2, 3)", "TensorShape([Dimension(2), Dimension(3)])"),
    (TensorShape([2]), "(2,)", "TensorShape([Dimension(2)])"),
    (np.array([4, 5]), "(4, 5)", "TensorShape([Dimension(4), Dimension(5)])"),
])
def test_construction_and_printing(given: object, text: str, representation: str) -> None:
    assert str(S(given)) == text
    assert repr(S(given)) == representation


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: S([-1]), ValueError, "Dimension -1 must be >= 0"),
    (lambda: S(-1), ValueError, "Dimension -1 must be >= 0"),
    (lambda: S([2.5]), ValueError, "Ambiguous dimension: 2.5"),
    (lambda: S(["a"]), ValueError, "invalid literal for int"),
    (lambda: S("ab"), TypeError, "A string has ambiguous TensorShape"),
    (lambda: len(S(None)), ValueError, "Cannot take the length of shape with unknown rank."),
    (lambda: list(S(None)), ValueError, "Cannot iterate over a shape with unknown rank."),
    (lambda: S(None).as_list(), ValueError, "as_list() is not defined on an unknown TensorShape."),
    (lambda: S([1, 2])[5], IndexError, "out of range"),
    (lambda: S([1]) != S(None), ValueError, "The inequality of unknown TensorShapes is undefined."),
    (lambda: S([None, 2]).merge_with([3, 4]), ValueError, "Shapes (?, 2) and (3, 4) are not compatible"),
    (lambda: S([2]).merge_with([3, 4]), ValueError, "Shapes (2,) and (3, 4) are not compatible"),
    (lambda: S([1]).with_rank(2), ValueError, "Shape (1,) must have rank 2"),
    (lambda: S([1]).with_rank_at_least(2), ValueError, "Shape (1,) must have rank at least 2"),
    (lambda: S([1, 2]).with_rank_at_most(1), ValueError, "Shape (1, 2) must have rank at most 1"),
    (lambda: S([1]).assert_has_rank(2), ValueError, "Shape (1,) must have rank 2"),
    (lambda: S([1]).assert_same_rank([1, 2]), ValueError, "Shapes (1,) and (1, 2) must have the same rank"),
    (lambda: S([1]).assert_is_compatible_with([2]), ValueError, "are incompatible"),
    (lambda: S([None]).assert_is_fully_defined(), ValueError, "Shape (?,) is not fully defined"),
    (lambda: hash(S([1])), TypeError, "unhashable type: 'TensorShape'"),
    (lambda: hash(D(1)), TypeError, "unhashable type: 'Dimension'"),
    (lambda: D(-1), ValueError, "Dimension -1 must be >= 0"),
    (lambda: D(2.5), ValueError, "Ambiguous dimension: 2.5"),
    (lambda: D(1) - 3, ValueError, "Dimension -2 must be >= 0"),
    (lambda: D(7) / 2, TypeError, "unsupported operand type(s) for /: 'Dimension' and 'int', please use // instead"),
    (lambda: D(3) + "a", TypeError, "unsupported operand type(s) for +: 'Dimension' and 'str'"),
    (lambda: D(3).merge_with(4), ValueError, "Dimensions 3 and 4 are not compatible"),
    (lambda: D(3).assert_is_compatible_with(4), ValueError, "Dimensions 3 and 4 are not compatible"),
    (lambda: int(D(None)), TypeError, "no integer value"),
    (lambda: check_equal_shapes((2,), (2, 1)), ValueError, "Shapes must be equal rank, but are 1 and 2"),
    (lambda: check_equal_shapes((2,), (3,)), ValueError,
     "Dimension 0 in both shapes must be equal, but are 2 and 3. Shapes are [2] and [3]."),
])
def test_errors(make: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised:
        make()  # type: ignore[operator]
    assert message in str(raised.value)


def test_equality_of_shapes_is_that_of_tf1() -> None:
    assert S([1, 2]) == S([1, 2]) == [1, 2] == S((1, 2))
    assert S([1, 2]) == (1, 2)
    assert (S([1, None]) == S([1, None])) is False
    assert S([None]) != S([None])
    assert S([1, 2]) != [1, 3]
    assert S(None) == S(None)
    assert (S([1]) == S(None)) is False
    assert S([2, 3])[0:1] == [2]
    assert (S([2]) == "ab") is False


def test_unknown_dims_can_be_equal() -> None:
    check_equal_shapes((2, None), (2, 3))
    check_equal_shapes((None,), (0,))


def test_slices() -> None:
    assert S([1, 2, 3])[1:].as_list() == [2, 3]
    assert S([1, 2, 3])[::2].as_list() == [1, 3]
    assert S([1, 2])[-1].value == 2
    assert S(None)[0].value is None
    assert S(None)[1:3].as_list() == [None, None]
    for unknown in (S(None)[1:], S(None)[-2:], S(None)[:-1]):
        assert unknown.rank is None


def test_sizes_and_ranks() -> None:
    assert S([2, 3, 0]).num_elements() == 0
    assert S([]).num_elements() == 1
    assert S([None, 0]).num_elements() is None
    assert S(None).num_elements() is None
    assert (S([1]).ndims, S(None).ndims, scalar().rank) == (1, None, 0)
    assert bool(S([]))
    assert not bool(S(None))
    assert S([3]).is_fully_defined()
    assert not S([None]).is_fully_defined()
    assert not S(None).is_fully_defined()
    assert unknown_shape(2).as_list() == [None, None]
    assert unknown_shape().dims is None
    assert S(None).with_rank(2).as_list() == [None, None]
    assert S([None, 3]).most_specific_compatible_shape([2, 3]).as_list() == [None, 3]
    assert S([None, 3]).most_specific_compatible_shape([2]).rank is None


def test_addition_concatenates() -> None:
    assert S([1]).__add__([2]).as_list() == [1, 2]
    assert S([2]).__radd__([1]).as_list() == [1, 2]
    assert (S([1]).concatenate(None)).rank is None
    assert S([1]).concatenate(3).as_list() == [1, 3]


def test_shapes_can_be_copied_and_pickled() -> None:
    for shape in (S(None), S([]), S([None, 3])):
        for again in (copy.deepcopy(shape), pickle.loads(pickle.dumps(shape))):
            assert again.dims_tuple == shape.dims_tuple


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod])
@pytest.mark.parametrize(("a", "b"), [(7, 2), (6, 3), (5, 5)])
def test_dimension_arithmetic(operation: object, a: int, b: int) -> None:
    expected = operation(a, b)  # type: ignore[operator]
    for left, right in ((D(a), D(b)), (D(a), b), (a, D(b))):
        assert operation(left, right).value == expected  # type: ignore[operator]
    assert operation(D(None), b).value is None  # type: ignore[operator]
    assert operation(a, D(None)).value is None  # type: ignore[operator]


@pytest.mark.parametrize("comparison", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_dimension_comparison(comparison: object) -> None:
    for a in range(3):
        for b in range(3):
            assert comparison(D(a), b) is comparison(a, b)  # type: ignore[operator]
        assert comparison(D(a), None) is None  # type: ignore[operator]
        assert comparison(D(None), D(a)) is None  # type: ignore[operator]
    assert D(3) != "a"
    assert (D(3) == "a") is False


def test_a_dimension_is_an_index() -> None:
    assert [0, 1, 2, 3][D(2)] == 2
    assert list(range(D(3))) == [0, 1, 2]
    assert np.zeros(D(3)).shape == (3,)
    assert (str(D(None)), repr(D(3)), D("3").value, D(2.0).value, D(np.int64(4)).value) == ("?", "Dimension(3)", 3, 2, 4)


@given(shapes, shapes)
def test_merging_keeps_what_both_know(a: tuple[int | None, ...] | None, b: tuple[int | None, ...] | None) -> None:
    compatible = a is None or b is None or (len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True)))
    assert S(a).is_compatible_with(b) is S(b).is_compatible_with(a) is compatible
    if not compatible:
        with pytest.raises(ValueError, match="not compatible"):
            S(a).merge_with(b)
        return
    merged = S(a).merge_with(b).dims_tuple
    assert merged == S(b).merge_with(a).dims_tuple
    assert S(merged).is_compatible_with(a)
    assert S(merged).is_compatible_with(b)
    if a is not None and None not in a:
        assert merged == a


@given(shapes)
def test_plain_dims_and_back(shape: tuple[int | None, ...] | None) -> None:
    assert as_dims(S(shape)) == shape
    assert S(S(shape)).dims_tuple == shape
    if shape is not None:
        assert S(shape).as_list() == list(shape)
        assert [d.value for d in S(shape)] == list(shape)
        assert in_brackets(shape) == str(["?" if d is None else d for d in shape]).replace("'", "").replace(" ", "")


def test_static_shapes_broadcast_as_far_as_they_are_known() -> None:
    """TF 1.15.5's answers."""
    shape = gc.TensorShape
    for x, y, want in (([], [None], [None]), ([None], [], [None]), ([None], [3], [3]), ([None], [1], [None]), ([2, 1], [3], [2, 3]),
                       ([None, None], [4, 1], [4, None]), ([0], [1], [0])):
        assert gc.broadcast_static_shape(shape(x), shape(y)).as_list() == want
    assert gc.broadcast_static_shape(shape(None), shape([3])).ndims is None
    with pytest.raises(ValueError, match=r"Incompatible shapes for broadcasting: \(2,\) and \(3,\)"):
        gc.broadcast_static_shape(shape([2]), shape([3]))
