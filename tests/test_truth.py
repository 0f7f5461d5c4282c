"""How an error is told from rounding (`runtime/truth.py`): sums in other orders are right, one wrong digit is not."""
from __future__ import annotations

import numpy as np
import pytest

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.runtime.truth import Difference, Expected, expect, expect_node

Array = np.ndarray
F32, F64 = dtypes.float32, dtypes.float64
RANDOM = np.random.default_rng(7)


def _x(*shape: int, dtype: dtypes.DType = F32, name: str = "x") -> Node:
    return p.parameter(name, TensorType(dtype, shape))


def _expected(output: Node, *values: Array, parameters: tuple[Node, ...]) -> Expected:
    return expect(Program(parameters, (output,)), list(values), {})["output 0"]


def _lanes(values: Array, lanes: int) -> np.float32:
    """A sum in float32, element after element, in so many lanes."""
    total = np.zeros(lanes, np.float32)
    for row in values.reshape(-1, lanes):
        total += row
    return np.float32(sum(total, np.float32(0)))


@pytest.mark.parametrize("values", [RANDOM.standard_normal(4096), RANDOM.uniform(0, 1, 4096), RANDOM.standard_normal(4096).cumsum()],
                         ids=["cancelling", "positive", "walk"])
@pytest.mark.parametrize("lanes", [1, 16, 256])
def test_any_order_of_a_sum_is_right(values: Array, lanes: int) -> None:
    x, values = _x(4096), values.astype(np.float32)
    expected = _expected(p.reduce_sum(x, (0,)), values, parameters=(x,))
    assert expected.difference(np.asarray(_lanes(values, lanes))) is None
    assert expected.difference(np.asarray(_lanes(np.sort(values), lanes))) is None


def test_a_term_left_out_of_a_sum_is_wrong() -> None:
    x, values = _x(4096), RANDOM.uniform(0.5, 1, 4096).astype(np.float32)
    expected = _expected(p.reduce_sum(x, (0,)), values, parameters=(x,))
    assert expected.difference(np.asarray(np.float32(values[:-1].sum(dtype=np.float64)))) is not None


def test_a_sum_of_what_cancels_may_be_off_by_what_it_is_made_of() -> None:
    """1e4 + ... - 1e4 in float32: a result near 0 is as uncertain as its terms."""
    x = _x(64)
    values = np.concatenate([RANDOM.uniform(1e4, 2e4, 32), np.zeros(32)]).astype(np.float32)
    values[32:] = -values[:32][::-1]
    expected = _expected(p.reduce_sum(x, (0,)), values, parameters=(x,))
    assert expected.difference(np.asarray(np.float32(3e-3))) is None
    assert expected.difference(np.asarray(np.float32(30.0))) is not None


def test_what_is_computed_well_has_to_be_right_to_its_last_digits() -> None:
    x, values = _x(100), RANDOM.uniform(1, 2, 100).astype(np.float32)
    expected = _expected(p.exponential(x), values, parameters=(x,))
    right = np.exp(values.astype(np.float64))
    assert expected.difference(right.astype(np.float32)) is None
    wrong = right.astype(np.float32)
    wrong[3] *= np.float32(1 + 1e-5)
    assert expected.difference(wrong) == Difference((3,), expected.reference[3], wrong[3], 1, 100)


def test_small_elements_are_judged_by_their_own_size() -> None:
    """Beside elements of 1e6 one of 1e-3 that is wrong by half does not hide."""
    x, values = _x(4), np.array([1e6, 2e6, 3e6, 1e-3], np.float32)
    expected = _expected(p.exponential(p.log(x)), values, parameters=(x,))
    assert expected.difference(values * np.float32([1, 1, 1, 1])) is None
    found = _expected(p.multiply(x, x), values, parameters=(x,)).difference(values**2 * np.float32([1, 1, 1, 0.5]))
    assert isinstance(found, Difference)
    assert found.place == (3,)


def test_counts_and_masks_in_floats_stay_exact() -> None:
    """A comparison of what is not rounded is judged, and has to be right."""
    x, values = _x(8), np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    count = p.reduce_sum(p.convert(p.compare(x, p.full(3.0, x.type), "GT"), F32), (0,))
    expected = _expected(p.compare(count, p.full(5.0, count.type), "EQ"), values, parameters=(x,))
    assert expected.judged.all()
    assert expected.difference(np.asarray(True)) is None
    assert expected.difference(np.asarray(False)) is not None


def test_a_comparison_within_rounding_is_not_judged() -> None:
    x, values = _x(3), np.array([0.1, 0.2, 0.3], np.float32)
    root = p.sqrt(x)
    expected = _expected(p.compare(p.multiply(root, root), x, "GE"), values, parameters=(x,))
    for found in ([True, True, True], [False, False, False]):
        assert expected.difference(np.array(found)) is None


def test_integers_have_to_be_equal() -> None:
    x, values = _x(3, dtype=dtypes.int32), np.array([1, 2, 3], np.int32)
    expected = _expected(p.add(x, x), values, parameters=(x,))
    assert expected.difference(np.array([2, 4, 6], np.int32)) is None
    assert str(expected.difference(np.array([2, 5, 6], np.int32))) == "at [1] expected 4, got 5 (1 of 3 elements differ)"


@pytest.mark.parametrize(("found", "right"), [
    ([np.nan, 1.0], True), ([0.0, 1.0], False), ([np.nan, np.nan], False), ([np.inf, 1.0], False)])
def test_nan_stands_where_it_is_due(found: list[float], right: bool) -> None:
    x, values = _x(2), np.array([-1.0, 1.0], np.float32)
    expected = _expected(p.sqrt(x), values, parameters=(x,))
    assert (expected.difference(np.array(found, np.float32)) is None) is right


def test_a_formula_that_is_better_than_the_reference_is_right() -> None:
    """log(1 + exp(x)) overflows in float32 on the way; a pass may know a better formula, or leave it."""
    x, values = _x(2), np.array([100.0, 1.0], np.float32)
    expected = _expected(p.log(p.add(p.full(1.0, x.type), p.exponential(x))), values, parameters=(x,))
    softplus = np.log1p(np.exp(1.0))
    assert expected.difference(np.array([100.0, softplus], np.float32)) is None
    assert expected.difference(np.array([np.inf, softplus], np.float32)) is None
    assert expected.difference(np.array([100.0, softplus + 1e-3], np.float32)) is not None


def test_other_types_and_shapes_are_named() -> None:
    x = _x(2)
    expected = _expected(p.negate(x), np.ones(2, np.float32), parameters=(x,))
    assert expected.difference(np.ones(2)) == "expected float32[2], got float64[2]"
    assert expected.difference(np.ones(3, np.float32)) == "expected float32[2], got float32[3]"


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, F64])
def test_every_floating_type(dtype: dtypes.DType) -> None:
    """A product in the type's own precision is right; one wrong by a hundredfold of that is not."""
    x, y = _x(50, dtype=dtype), _x(50, dtype=dtype, name="y")
    left, right = (RANDOM.uniform(1, 2, 50).astype(dtype.np_dtype) for _ in range(2))
    expected = _expected(p.multiply(x, y), left, right, parameters=(x, y))
    exact = left.astype(np.float64) * right.astype(np.float64)
    assert expected.difference(exact.astype(dtype.np_dtype)) is None
    eps = {dtypes.float16: 1e-3, dtypes.bfloat16: 8e-3, F64: 2.3e-16}[dtype]
    assert expected.difference((exact * (1 + 100 * eps)).astype(dtype.np_dtype)) is not None


def test_several_outputs_of_one_node_are_judged_one_by_one() -> None:
    x = _x(3, 3, dtype=F64)
    values, vectors = (np.asarray(each) for each in np.linalg.eigh(np.diag([1.0, 2, 3])))
    first, second = expect_node(p.eigh(x)[0].operands[0], [np.diag([1.0, 2, 3])])
    assert first.difference(values) is None
    assert second.difference(vectors) is None
    assert first.difference(values + 1e-6) is not None
