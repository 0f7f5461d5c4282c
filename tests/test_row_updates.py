"""The methods of variables that change some of their rows: what the functions of the same names do, for `IndexedSlices`."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

START = np.arange(1.0, 13.0, dtype=np.float32).reshape(4, 3)
ROWS, UPDATES = np.array([2, 0, 2], np.int32), np.array([[1.0, 2, 4], [8, 0.5, 2], [3, 3, 3]], np.float32)
CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda old, new: new, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum,
    "max": np.maximum}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_of_indexed_slices(change: str) -> None:
    want = START.copy()
    for row, update in zip(ROWS, UPDATES, strict=True):
        want[row] = CHANGES[change](want[row], update)
    with gc.Graph().as_default(), gc.Session() as session:
        variable = gc.Variable(START)
        changed = getattr(variable, f"scatter_{change}")(gc.IndexedSlices(gc.constant(UPDATES), gc.constant(ROWS)))
        assert changed.op.type == f"Scatter{change.capitalize()}"
        assert changed.shape.as_list() == [4, 3]
        session.run(gc.global_variables_initializer())
        np.testing.assert_allclose(session.run(changed), want, rtol=1e-6)
        np.testing.assert_allclose(session.run(variable), want, rtol=1e-6)


def test_elements_of_variables() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        variable = gc.Variable(START)
        found = variable.gather_nd([[3, 2], [0, 1]])
        steps = [variable.scatter_nd_add([[0, 0]], [10.0]), variable.scatter_nd_sub([[0, 1]], [10.0]),
                 variable.scatter_nd_update([[3, 2]], [0.0]),
                 variable.batch_scatter_update(gc.IndexedSlices(gc.constant([[7.0], [7], [7], [7]]), gc.constant([[2], [2], [2], [0]])))]
        session.run(gc.global_variables_initializer())
        assert session.run(found).tolist() == [12, 2]
        session.run([step.op for step in steps])
        assert session.run(variable).tolist() == [[11, -8, 7], [4, 5, 7], [7, 8, 7], [7, 11, 0]]


def test_effects_stand_in_the_order_of_their_declaration() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        variable = gc.Variable(START)
        first = variable[1:3].assign(np.zeros((2, 3)))
        second = gc.scatter_add(variable, [1, 3], 1.0)
        third = variable[::2, 0].assign([-1.0, -2.0])
        session.run(gc.global_variables_initializer())
        session.run([third.op, second.op, first.op])
        assert session.run(variable).tolist() == [[-1, 2, 3], [1, 1, 1], [-2, 0, 0], [11, 12, 13]]
