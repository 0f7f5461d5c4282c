"""Slices whose bounds are fed: one Program for a size, wherever it begins; what is out of range; gradients of rows picked in turn."""
from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.runtime.staged import StagedExecutable

VALUE = np.arange(192, dtype=np.float32).reshape(64, 3)


def test_one_compilation_for_all_batches() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        x, i = gc.placeholder(gc.float32, [64, 3]), gc.placeholder(gc.int32, [])
        part = x[8 * i:8 * i + 8] * 2.0
        for number in range(8):
            np.testing.assert_array_equal(session.run(part, {x: VALUE, i: number}), 2 * VALUE[8 * number:8 * number + 8])
        made = session.compile(part, {x: VALUE, i: 0})
        assert isinstance(made, StagedExecutable)
        assert made.parts[-1].sizes == 1


def test_one_element_needs_no_stage() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        x, i = gc.placeholder(gc.float32, [64, 3]), gc.placeholder(gc.int32, [])
        row, entry = x[i], x[i, -1]
        for number in (0, 63, -1, -64):
            found = session.run([row, entry], {x: VALUE, i: number})
            np.testing.assert_array_equal(found[0], VALUE[number])
            assert found[1] == VALUE[number, -1]
        assert not isinstance(session.compile([row, entry], {x: VALUE, i: 0}), StagedExecutable)


def test_an_element_out_of_range_is_the_nearest() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        x, i = gc.placeholder(gc.float32, [64, 3]), gc.placeholder(gc.int32, [])
        assert session.run(x[i], {x: VALUE, i: 70}).tolist() == VALUE[63].tolist()
        assert session.run(x[i], {x: VALUE, i: -70}).tolist() == VALUE[0].tolist()


def test_sliced_assignment_where_a_run_says() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        memory, i, row = gc.Variable(np.zeros((4, 3), np.float32)), gc.placeholder(gc.int32, []), gc.placeholder(gc.float32, [3])
        write = memory[i].assign(row)
        session.run(gc.global_variables_initializer())
        for number in (2, 0, 2, -1):
            session.run(write.op, {i: number, row: np.full(3, number + 2, np.float32)})
        assert session.run(memory)[:, 0].tolist() == [2, 0, 4, 1]
