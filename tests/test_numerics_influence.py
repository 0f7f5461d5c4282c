"""Which elements an element is made of (`graphc.inspection.influence`), against what NaN itself does: put one NaN into one element of an
operand and see where the primitive's reference gives NaN."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import evaluate, trace
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.inspection.influence import Whole, influence
from graphc.inspection.numerics import Replay, find
from tests.op_cases import BY_PRIMITIVE, STATE
from tests.op_table import Case
from tests.random_programs import programs

_MOST, _LARGEST = 15, 600  # cases of each primitive, elements of an operand


def _small_cases(name: str) -> list[Case]:
    fits = [case for case in BY_PRIMITIVE[name]
            if all(0 < t.size <= _LARGEST for t in case.types) and any(t.dtype.is_floating for t in case.types)]
    return fits[:: max(1, len(fits) // _MOST)][:_MOST]


def _nodes(case: Case) -> Iterator[tuple[Node, list[Any]]]:
    """The nodes of the primitive in a case, with the values of their operands."""
    program = case.program()
    values = trace(program, case.arrays())
    for node in program.nodes:
        if node.name == case.primitive and not node.is_tuple and not any(operand.is_tuple for operand in node.operands):
            yield node, [values[operand] for operand in node.operands]


def _one(dims: tuple[int, ...], place: tuple[int, ...]) -> Any:
    mask = np.zeros(dims, np.bool_)
    mask[place] = True
    return mask


@pytest.mark.parametrize("name", [name for name in BY_PRIMITIVE if name not in STATE and _small_cases(name)])
def test_a_nan_goes_where_influence_says(name: str) -> None:
    rng = np.random.default_rng(0)
    for case in _small_cases(name):
        for node, values in _nodes(case):
            made_of = influence(node, values)
            for position, operand in enumerate(node.operands):
                if not operand.dtype.is_floating or not np.size(values[position]):
                    continue
                place = tuple(int(rng.integers(0, n)) for n in operand.dims)
                masks: list[Any] = [None] * len(values)
                masks[position] = _one(operand.dims, place)
                reached = made_of.forth(masks)
                assert reached.shape == node.dims
                _check_back(made_of, reached, position, place, rng)
                poisoned = [np.array(value) for value in values]
                poisoned[position][place] = np.nan
                if node.dtype.is_floating:
                    _check_forth(node, values, poisoned, reached)


def _check_back(made_of: Any, reached: Any, position: int, place: tuple[int, ...], rng: np.random.Generator) -> None:
    """Back is forth seen from the other end."""
    if not reached.size:
        return
    there = tuple(int(rng.integers(0, n)) for n in reached.shape)
    for target in [there, *map(tuple, np.argwhere(reached)[:2])]:
        assert made_of.back(_one(reached.shape, target))[position][place] == reached[target]


def _check_forth(node: Node, values: list[Any], poisoned: list[Any], reached: Any) -> None:
    try:
        with np.errstate(all="ignore"):
            clean, bad = (np.isnan(evaluate(node, each)) for each in (values, poisoned))
    except ValueError:  # a factorisation that refuses NaN
        return
    assert not (bad & ~clean & ~reached).any()


@pytest.mark.parametrize(("build", "values", "places", "want"), [
    (lambda x: p.transpose(x, (1, 0)), [np.zeros((2, 3))], {0: (1, 2)}, [(2, 1)]),
    (lambda x: p.reduce_sum(x, (1,)), [np.zeros((2, 3))], {0: (1, 2)}, [(1,)]),
    (lambda x: p.cumulative_sum(x, 0, reverse=True), [np.zeros(4)], {0: (1,)}, [(0,), (1,)]),
    (lambda x, y: p.concatenate((x, y), 0), [np.zeros(2), np.zeros(3)], {1: (0,)}, [(2,)]),
    (lambda x, y: p.select(p.compare(x, y, "LT"), x, y), [np.array([0.0, 2]), np.ones(2)], {1: (0,)}, []),
    (lambda x, y: p.select(p.compare(x, y, "LT"), x, y), [np.array([0.0, 2]), np.ones(2)], {1: (1,)}, [(1,)]),
    (lambda x, y: p.dot_general(x, y, (), (), (1,), (0,)), [np.zeros((2, 3)), np.zeros((3, 2))], {0: (1, 0)}, [(1, 0), (1, 1)]),
    (lambda x, y: p.dot_general(x, y, (), (), (1,), (0,)), [np.zeros((2, 3)), np.zeros((3, 2))], {1: (1, 0)}, [(0, 0), (1, 0)]),
], ids=["transpose", "sum", "running sum from the end", "concatenate", "arm not taken", "arm taken", "row", "column"])
def test_by_hand(build: Any, values: list[Any], places: dict[int, tuple[int, ...]], want: list[tuple[int, ...]]) -> None:
    node = build(*(p.parameter(f"x{n}", TensorType(dtypes.float64, value.shape)) for n, value in enumerate(values)))
    known = dict(zip([operand for operand in node.operands if operand.name == "parameter"], values, strict=False))
    operands = [known[o] if o in known else evaluate(o, [known[x] for x in o.operands]) for o in node.operands]
    masks: list[Any] = [None] * len(operands)
    for position, place in places.items():
        masks[position if node.name != "select" else position + 1] = _one(values[position].shape, place)
    assert [tuple(map(int, place)) for place in np.argwhere(influence(node, operands).forth(masks))] == want


def test_what_is_not_known_is_everything() -> None:
    x = p.parameter("x", TensorType(dtypes.float32, (3, 3)))
    assert isinstance(influence(p.cholesky(x), [np.eye(3, dtype=np.float32)]), Whole)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_nan_that_is_fed_is_found_wherever_it_arrives(data: st.DataObject) -> None:
    """In random programs: where a result has a NaN that it has not without the one that is fed, the way back leads to that."""
    program = data.draw(programs(special=data.draw(st.sampled_from((0, 5))), host=False))
    assume(not any(node.name == "bitcast_convert" for node in program.nodes))  # which makes numbers of a NaN, and NaN of numbers
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    feeds = [rng.uniform(-1, 1, x.dims).astype(x.dtype.np_dtype) for x in program.parameters]
    variables = {name: rng.uniform(-1, 1, type_.dims).astype(np.float32) for name, type_ in program.variables.items()}
    clean = trace(program, feeds, variables)
    where = data.draw(st.sampled_from([n for n, x in enumerate(program.parameters) if x.dtype.is_floating]))
    place = tuple(int(rng.integers(0, n)) for n in program.parameters[where].dims)
    feeds[where] = feeds[where].copy()  # the trace has the old one
    feeds[where][place] = np.nan
    values = trace(program, feeds, variables)
    if any(_has_nan(value) for value in clean.values()):
        return
    replay = Replay(program, program.nodes, values, [f"output{n}" for n in range(len(program.outputs))], {}, gc.Graph())
    found = find(replay, infinities=False)
    if not any(_has_nan(values[node]) for node in (*program.outputs, *program.effects)):
        assert found is None
    else:
        assert found is not None
        assert (found.kind, found.name, found.index) == ("feed", program.parameters[where].attrs.name, place)
        assert found.goal


def _has_nan(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_has_nan, value))
    return bool(np.asarray(value).dtype.kind not in "biu" and np.isnan(value).any())
