"""`jacobian`, `hessians`, `jvp` against formulas and finite differences in float64; the rules of batching, one primitive at a time."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.primitive import PRIMITIVES
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.primitives.batching import RULES, batch
from tests.op_cases import CASES, STATE
from tests.op_table import Case
from tests.tolerances import assert_close

AT = np.random.default_rng(4).uniform(0.3, 1.7, (2, 3))
FUNCTIONS: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "elementwise": lambda x: gc.exp(x) * gc.sin(x),
    "softmax": gc.nn.softmax,
    "product": lambda x: gc.matmul(x, x, transpose_b=True),
    "reductions": lambda x: gc.reduce_mean(x * x, 0) + gc.reduce_max(x, 0) - gc.reduce_prod(x, 0),
    "moves": lambda x: gc.transpose(gc.pad(x[:, ::-1], [[1, 0], [0, 1]]))[1:] * 2.0,
    "rows": lambda x: gc.gather(x, [1, 0, 1]) ** 3,
    "scalar": lambda x: gc.reduce_sum(gc.log(x)),
    "where": lambda x: gc.where(x > 1.0, x * x, gc.sqrt(x)),
    "joined": lambda x: gc.concat([x, x * x], 1) / gc.reduce_sum(x),
}


def run(fetches: Any, feeds: Any) -> Any:
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        return session.run(fetches, feeds)


def differences(of: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """d of(x) / dx by central differences: [of's shape, x's shape]."""
    columns = []
    for position in np.ndindex(at.shape):
        move = np.zeros_like(at)
        move[position] = step
        columns.append((of(at + move) - of(at - move)) / (2 * step))
    return np.stack(columns, -1).reshape(*columns[0].shape, *at.shape)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian(name: str, known: bool) -> None:
    x = gc.placeholder(gc.float64, AT.shape if known else [None, None])
    y = FUNCTIONS[name](x)
    slopes = gc.jacobian(y, x)
    with gc.Session() as session:
        want = differences(lambda at: np.asarray(session.run(y, {x: at})), AT)
        found = session.run(slopes, {x: AT})
    assert slopes.shape.is_compatible_with(want.shape)
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-8)


def test_hessians_are_those_of_the_formula() -> None:
    x, v = gc.placeholder(gc.float64, [2, 3]), gc.Variable(np.array([1.0, 2.0]))
    y = gc.reduce_sum(x ** 3) + gc.reduce_prod(v)
    by_x, by_v = gc.hessians(y, [x, v])
    found_x, found_v = run([by_x, by_v], {x: AT})
    want = np.zeros((6, 6))
    np.fill_diagonal(want, 6 * AT.reshape(-1))
    np.testing.assert_allclose(found_x, want.reshape(2, 3, 2, 3), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found_v, [[0, 1], [1, 0]])
    assert by_x.shape.as_list() == [2, 3, 2, 3]


def test_of_what_is_linear_or_unconnected() -> None:
    x, z = gc.placeholder(gc.float64, [2]), gc.placeholder(gc.float64, [3])
    found = run([gc.jacobian(x * 2.0, [x, z]), gc.hessians(gc.reduce_sum(x * 3.0), x)], {x: [1, 2], z: [1, 2, 3]})
    np.testing.assert_array_equal(found[0][0], [[2, 0], [0, 2]])
    np.testing.assert_array_equal(found[0][1], np.zeros((2, 3)))
    np.testing.assert_array_equal(found[1][0], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"hessians: no gradient leads from 'Placeholder_1:0' to ys"):
        gc.hessians(x, z)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jvp(name: str) -> None:
    x, along = gc.placeholder(gc.float64, AT.shape), np.random.default_rng(5).uniform(-1, 1, AT.shape)
    y = FUNCTIONS[name](x)
    (moved,) = gc.jvp(y, x, gc.constant(along))
    with gc.Session() as session:
        want = np.tensordot(differences(lambda at: np.asarray(session.run(y, {x: at})), AT), along, 2)
        np.testing.assert_allclose(session.run(moved, {x: AT}), want, rtol=1e-6, atol=1e-8)


def test_jvp_of_several() -> None:
    a, b = gc.placeholder(gc.float64, [2]), gc.placeholder(gc.float64, [2])
    found = run(gc.jvp([a * b, a + 1.0, gc.constant([1.0], gc.float64)], [a, b], [[1.0, 0.0], [0.5, 2.0]]), {a: [3, 4], b: [5, 6]})
    np.testing.assert_allclose(found[0], [1 * 5 + 0.5 * 3, 0 * 6 + 2 * 4])
    np.testing.assert_allclose(found[1], [1, 0])
    np.testing.assert_allclose(found[2], [0])
    with pytest.raises(ValueError, match="one entry for each of the 2 xs, not 1"):
        gc.jvp(a, [a, b], [a])


# The rules -------------------------------------------------------------------------------------------------------------------------------

NO_OPERANDS = {"parameter", "constant", "iota"}


def _plain(name: str) -> list[Case]:
    """Small samples of a primitive, of few types."""
    cases = [c for c in CASES if c.primitive == name and c.types and all(t.size <= 600 for t in c.types)]
    assert cases, f"no small sample of {name} has operands"
    floating = [c for c in cases if c.types[0].dtype is dtypes.float64]
    return (floating or cases)[:6]


@pytest.mark.parametrize("name", sorted(PRIMITIVES.keys() - STATE - NO_OPERANDS - {"fusion", "get_tuple_element"}))
@pytest.mark.parametrize("operands", ["first", "last", "all"])
def test_batched_is_one_by_one(name: str, operands: str) -> None:
    """Every primitive on three values at once equals itself on each: by its rule, or by the way that needs none."""
    for case in _plain(name):
        count, rng = 3, np.random.default_rng(7)
        chosen = {"first": [0], "last": [len(case.types) - 1], "all": range(len(case.types))}[operands]
        arrays = case.arrays()
        values = {n: np.stack([arrays[n]] + [rng.permutation(arrays[n].reshape(-1)).reshape(arrays[n].shape) for _ in range(count - 1)])
                  for n in chosen}
        singles = [p.parameter(f"s{n}", t) for n, t in enumerate(case.types)]
        manies = {n: p.parameter(f"m{n}", case.types[n].with_shape((count, *case.types[n].shape))) for n in chosen}
        one = case.build(*singles)
        (made,) = batch([one], {singles[n]: many for n, many in manies.items()}, count)
        (found,), _ = interpret(Program((*singles, *manies.values()), (made,)), [*arrays, *values.values()], {})
        for row in range(count):
            given = [values[n][row] if n in values else array for n, array in enumerate(arrays)]
            (want,), _ = interpret(Program(tuple(singles), (one,)), given, {})
            assert_close(found[row], want, depth=case.depth)


def test_no_rule_without_a_primitive() -> None:
    assert sorted(RULES.keys() - PRIMITIVES.keys()) == []


@pytest.mark.parametrize("count", [0, 1])
def test_few_values(count: int) -> None:
    x = p.parameter("x", vector(2))
    many = p.parameter("m", vector(count, 2))
    (made,) = batch([p.argmax(x, 0, dtypes.int32)], {x: many}, count)
    (found,), _ = interpret(Program((many,), (made,)), [np.tile([1.0, 2.0], (count, 1))], {})
    np.testing.assert_array_equal(found, [1] * count)


def vector(*shape: int) -> TensorType:
    return TensorType(dtypes.float64, shape)
