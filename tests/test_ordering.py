"""Sorting, running results and special functions where they are used wrongly, and how they are computed: what the tables do not show."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.passes.pipelines import DEFAULT, for_gpu, run_pipeline
from graphc.passes.split import Split
from graphc.passes.split_scans import ScanSizes, scan_rules
from tests.executing import execute
from tests.kernels import run_program
from tests.tolerances import assert_close

F32 = dtypes.float32

# Errors ---------------------------------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "top_k of a scalar": (lambda: gc.nn.top_k(3.0), ValueError, r"input must be at least rank 1 but is rank 0"),
    "top_k beyond the row": (lambda: gc.nn.top_k([1.0, 2.0], 3), ValueError, r"input must have last dimension >= k = 3 but is 2"),
    "negative k": (lambda: gc.nn.top_k([1.0, 2.0], -1), ValueError, r"k must be non-negative but is -1"),
    "top_k of bools": (lambda: gc.nn.top_k([True, False]), TypeError, r"parameter 'input' has DataType bool"),
    "sort of complex numbers": (lambda: gc.sort([1j]), TypeError, r"argsort\(c128\[1\]\): complex numbers have no order"),
    "direction": (lambda: gc.sort([1, 2], direction="UP"), ValueError, r"UP should be one of ASCENDING, DESCENDING"),
    "axis of a sort": (lambda: gc.sort([[1, 2]], 2), ValueError, r"axis 2 is out of bounds for an array of rank 2"),
    "sort of a scalar": (lambda: gc.argsort(3), ValueError, r"axis -1 is out of bounds for an array of rank 0"),
    "no axis": (lambda: gc.sort([1, 2], axis=None), ValueError, r"None values not supported"),
    "in_top_k of a vector": (lambda: gc.nn.in_top_k([1.0], [0], 1), ValueError,
                             r"predictions must be a matrix .* got shapes \(1,\) and \(1,\)"),
    "in_top_k of other rows": (lambda: gc.nn.in_top_k([[1.0, 2.0]], [0, 1], 1), ValueError,
                               r"Dimensions must be equal, but are \(1,\) and \(2,\)"),
    "permutation of two axes": (lambda: gc.invert_permutation([[0, 1]]), ValueError, r"Shape must be rank 1 but is rank 2"),
    "permutation of floats": (lambda: gc.invert_permutation([0.0, 1.0]), TypeError, r"DataType float32 not in list .* int32, int64"),
    "side": (lambda: gc.searchsorted([1, 3], [2], "up"), ValueError, r"side must be either 'right' or 'left'.  Saw: up"),
    "bins": (lambda: gc.histogram_fixed_width([1.0], [0.0, 1.0], 0), ValueError, r"Requires nbins > 0: 0"),
    "range of three": (lambda: gc.histogram_fixed_width([1.0], [0.0, 1.0, 2.0]), ValueError,
                       r"value_range must be two numbers, got shape \(3,\)"),
    "unique of a matrix": (lambda: gc.unique([[1]]), ValueError, r"x must be a vector, got shape \(1, 1\)"),
    "difference from a matrix": (lambda: gc.setdiff1d([1], [[1]]), ValueError, r"y must be a vector, got shape \(1, 1\)"),
    "axis of a running sum": (lambda: gc.cumsum([1, 2], 2), ValueError, r"axis 2 is out of bounds for an array of rank 1"),
    "running sum of bools": (lambda: gc.cumsum([True]), TypeError, r"cumulative_sum\(pred\[1\]\): needs numeric operands"),
    "running logsumexp of integers": (lambda: gc.math.cumulative_logsumexp([1]), TypeError, r"needs floating operands"),
    "lgamma of integers": (lambda: gc.lgamma([1]), TypeError, r"'x' of 'Lgamma' has DataType int32 .* bfloat16, float16, float32, float64"),
    "igamma of halves": (lambda: gc.igamma(gc.constant([1.0], gc.float16), gc.constant([1.0], gc.float16)), TypeError,
                         r"'a' of 'Igamma' has DataType float16 not in list of allowed values: float32, float64"),
    "shapes of igamma": (lambda: gc.igamma([1.0, 2.0], [1.0, 2.0, 3.0]), ValueError, r"Incompatible shapes: \(2,\) and \(3,\)"),
    "shapes of betainc": (lambda: gc.betainc([1.0, 2.0], [1.0, 2.0, 3.0], 0.5), ValueError, r"Incompatible shapes: \(2,\) and \(3,\)"),
    "lbeta of a scalar": (lambda: gc.lbeta(3.0), ValueError, r"axis -1 is out of bounds|Invalid reduction dimension"),
}


@pytest.mark.parametrize("what", WRONG)
def test_errors_name_the_rule_and_the_values(what: str) -> None:
    declare, kind, words = WRONG[what]
    with pytest.raises(kind, match=words):
        declare()


def node(*shape: int, dtype: dtypes.DType = F32, name: str = "x") -> Node:
    return p.parameter(name, TensorType(dtype, shape))


@pytest.mark.parametrize(("make", "words"), [
    (lambda: p.cumulative_sum(node(3), 1), r"cumulative_sum\(f32\[3\]\): axis 1 must be between 0 and 0"),
    (lambda: p.linear_recurrence(node(3), node(4, name="y"), 0), r"linear_recurrence\(f32\[3\], f32\[4\]\): operands must have one shape"),
    (lambda: p.argsort(node(3), 2), r"argsort\(f32\[3\]\): axis 2 must be between 0 and 0"),
    (lambda: p.rearrange(node(3, 4), node(2, 4, dtype=dtypes.int32), 1), r"rearrange\(.*\): shapes must be equal but for axis 1"),
    (lambda: p.rearrange(node(3), node(3, name="y"), 0), r"rearrange\(.*\): the order must be of integers"),
    (lambda: p.invert_permutation(node(3)), r"invert_permutation\(f32\[3\]\): needs signed integers"),
])
def test_primitives_name_their_operands(make: Callable[[], Node], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()


# How it is computed ---------------------------------------------------------------------------------------------------------------------

def after_split(program: Program, *, gpu: bool = False) -> list[str]:
    stages = run_pipeline(program, for_gpu(DEFAULT) if gpu else DEFAULT)
    assert not any(stage.problem for stage in stages)
    (split,) = (stage.program for stage in stages if stage.name == "split")
    return [each.name for each in split.nodes]


def test_long_walks_are_cut_and_short_ones_are_not() -> None:
    long, rows = node(1 << 18), node(64, 5000)
    assert after_split(Program((long,), (p.cumulative_sum(long, 0),))).count("cumulative_sum") == 2
    assert after_split(Program((rows,), (p.cumulative_sum(rows, 1),))).count("cumulative_sum") == 1
    assert after_split(Program((rows,), (p.cumulative_sum(rows, 1),)), gpu=True).count("cumulative_sum") > 1


@pytest.mark.parametrize("rule", scan_rules(ScanSizes(few=9, long=8, piece=3)), ids=lambda rule: rule.root)
@pytest.mark.parametrize("shape", [(31,), (2, 12), (3, 10, 2)])
@pytest.mark.parametrize("reverse", [False, True])
def test_pieces_give_what_the_whole_gives(rule: Any, shape: tuple[int, ...], reverse: bool) -> None:
    axis = min(1, len(shape) - 1)
    if rule.root == "linear_recurrence":
        x = (node(*shape, dtype=dtypes.float64), node(*shape, dtype=dtypes.float64, name="y"))
        wholes = [p.linear_recurrence(*x, axis, reverse)]
    else:
        x = (node(*shape, dtype=dtypes.float64),)
        wholes = [getattr(p, rule.root)(*x, axis, exclusive, reverse) for exclusive in (False, True)]
    arrays = [np.random.default_rng(n).uniform(-1.5, 1.5, shape) for n in range(len(x))]
    for whole in wholes:
        cut = rule.apply(whole)
        assert cut is not None
        (got,), (want,) = interpret(Program(x, (cut,)), arrays)[0], interpret(Program(x, (whole,)), arrays)[0]
        assert_close(got, want, dtypes.float64, depth=31)


@pytest.mark.parametrize("length", [127, 129, 1023, 1025, 3000])
def test_both_ways_of_sorting_agree_at_their_border(length: int) -> None:
    """Ranks and radix passes, one chunk and several, on keys of which many are equal."""
    keys = np.random.default_rng(length).integers(-5, 6, (3, length)).astype(np.float32)
    x = node(3, length)
    found, _ = execute(Program((x,), (p.argsort(x, 1), p.argsort(x, 1, True), *p.sort([x], 1))), [keys])
    order = np.argsort(keys, 1, kind="stable")
    np.testing.assert_array_equal(found[0], order)
    np.testing.assert_array_equal(found[1], np.argsort(-keys, 1, kind="stable"))
    np.testing.assert_array_equal(found[2], np.sort(keys, 1))


def test_threads_and_pieces_do_not_change_a_bit() -> None:
    x = node(3, 1 << 17)
    values = np.random.default_rng(0).uniform(-1, 1, (3, 1 << 17)).astype(np.float32)
    program = Program((x,), (p.cumulative_sum(x, 1), p.argsort(x, 1), p.cumulative_logsumexp(x, 1)))
    one, two = (execute(program, [values], threads=threads)[0] for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_walk_may_lie_over_its_operand() -> None:
    x = node(40, 30)
    values = np.random.default_rng(0).uniform(-1, 1, (40, 30)).astype(np.float32)
    walk = p.cumulative_sum(p.cumulative_max(p.negate(x), 1, reverse=True), 0, exclusive=True)
    (found,), _ = execute(Program((x,), (walk,)), [values])
    highest = np.maximum.accumulate(-values[:, ::-1], 1)[:, ::-1]
    assert_close(found, np.cumsum(highest.astype(np.float64), 0) - highest, depth=40, scale=9)


def test_kernels_of_a_sort_agree_one_by_one() -> None:
    """In the interpreter of the kernel IR, which checks every access."""
    x = node(1, 140)
    values = np.random.default_rng(0).integers(0, 99, (1, 140)).astype(np.float32)
    program = run_pipeline(Program((x,), (p.argsort(x, 1),)), DEFAULT.without("simplify", "split", "fuse", "order"))[-1].program
    (found,) = run_program(program, [values])
    np.testing.assert_array_equal(found, np.argsort(values, 1, kind="stable"))


def test_inverses_undo_each_other() -> None:
    order = node(5, dtype=dtypes.int32)
    assert p.invert_permutation(p.invert_permutation(order)) is order
    assert p.inverse_order(p.inverse_order(order, 9, 0), 5, 0) is order


def test_split_has_rules_for_every_walk() -> None:
    walks = {"cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min", "cumulative_logsumexp", "linear_recurrence"}
    assert {rule.root for rule in scan_rules(ScanSizes())} == walks
    assert Split().sizes.scans == ScanSizes()


def test_top_k_looks_at_few_elements_twice() -> None:
    """What is sorted is much shorter than the row."""
    x = gc.placeholder(gc.float32, [2, 100_000])
    values, places = gc.nn.top_k(x, 4)
    array = np.random.default_rng(1).permutation(200_000).reshape(2, -1).astype(np.float32)
    with gc.Session() as session:
        found = session.run([values, places], {x: array})
    order = np.argsort(-array, 1)[:, :4]
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_array_equal(found[0], np.take_along_axis(array, order, 1))


def test_shuffles_are_all_equally_frequent() -> None:
    """2400 shuffles of 4: each of the 24 orders about a hundred times."""
    x = gc.stack([gc.random_shuffle([0, 1, 2, 3], seed=n) for n in range(20)])
    counts: dict[tuple[int, ...], int] = {}
    with gc.Session() as session:
        for _ in range(120):
            for row in session.run(x):
                counts[tuple(row)] = counts.get(tuple(row), 0) + 1
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 58  # chi-squared with 23 degrees of freedom: once in 10^4


def test_jacobians_of_walks_and_sorts_are_batched() -> None:
    x = gc.placeholder(gc.float64, [6])
    at = np.array([0.3, -1.0, 2.0, 0.7, -0.2, 1.5])
    with gc.Session() as session:
        cubes = [gc.hessians(gc.reduce_sum(function(x) ** 3), x)[0] for function in (gc.cumsum, gc.sort)]
        found = session.run(cubes, {x: at})
    triangle = np.tril(np.ones((6, 6)))
    np.testing.assert_allclose(found[0], triangle.T @ np.diag(6 * np.cumsum(at)) @ triangle, atol=1e-12)
    np.testing.assert_allclose(found[1], np.diag(6 * at), atol=1e-12)
