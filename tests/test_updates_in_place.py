"""Scatters and boxes written over their operand: the memory plan's proof, kernels that touch nothing else, and the right results."""
from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.codegen import ir
from graphc.codegen.lower import lower
from graphc.core import dtypes
from graphc.core.program import Node, Program
from graphc.passes.fuse import Fuse
from graphc.passes.memory import plan_memory
from graphc.passes.order import Order
from graphc.passes.storage import partly_changed
from tests.groups import t

ROWS, IDS = t(50, 8), t(3, dtype=dtypes.int32)


def table() -> Node:
    return p.variable_read("table", ROWS)


def assigned(value: Node, *others: Node) -> Program:
    parameters = tuple(dict.fromkeys(n for n in Program((), (value, *others)).nodes if n.name == "parameter"))
    return Order()(Fuse()(Program(parameters, others, (p.variable_assign("table", value),))))


def in_place(program: Program) -> list[bool]:
    plan = plan_memory(program)
    return [plan.changes_in_place(step) for step in plan.steps if partly_changed(step) is not None]


def copies(step: Node, over: bool) -> bool:
    """Whether the kernel of `step` walks all rows."""
    kernel = lower(step, in_place=over)
    return any(isinstance(s, ir.Loop) and s.extent in (50, 400) for s in ir.walk(kernel.body))


def rows(ids: Node | None = None, combine: str = "add") -> Node:
    return p.scatter(table(), ids or p.parameter("ids", IDS), p.parameter("u", t(3, 8)), 0, combine)


@pytest.mark.parametrize("combine", ["add", "multiply", "minimum", "maximum", "assign"])
def test_rows_of_a_variable(combine: str) -> None:
    program = assigned(rows(combine=combine))
    assert in_place(program) == [True]
    assert plan_memory(program).copies == ()
    step, = (n for n in program.nodes if partly_changed(n) is not None)
    assert copies(step, False)
    assert not copies(step, True)


def test_with_the_arithmetic_of_its_indices() -> None:
    ids = p.parameter("ids", IDS)
    program = assigned(rows(p.add(ids, p.full(1, IDS))))
    assert [n.name for n in program.nodes if partly_changed(n) is not None] == ["fusion"]
    assert in_place(program) == [True]


def test_a_box() -> None:
    start = p.parameter("start", t(dtype=dtypes.int32))
    program = assigned(p.dynamic_update_slice(table(), p.parameter("u", t(3, 8)), [start, p.constant(0)]))
    assert in_place(program) == [True]
    step, = (n for n in program.nodes if partly_changed(n) is not None)
    assert copies(step, False)
    assert not copies(step, True)


def test_not_where_the_old_value_is_read_besides() -> None:
    """Updates that are the same table, or rows of it: the kernel would read them while it writes. Gathered rows are a step before."""
    ids = p.parameter("ids", IDS)
    assert in_place(assigned(p.scatter(table(), p.parameter("all", t(50, dtype=dtypes.int32)), table(), 0, "add"))) == [False]
    viewed = assigned(p.scatter(table(), ids, p.slice_(table(), (4, 0), (7, 8)), 0, "add"))
    assert [n.name for n in viewed.nodes if partly_changed(n) is not None] == ["fusion"]
    assert in_place(viewed) == [False]
    gathered = assigned(p.scatter(table(), ids, p.multiply(p.gather(table(), ids), p.full(2, t(3, 8))), 0, "add"))
    assert "gather" in [n.name for n in gathered.nodes]
    assert in_place(gathered) == [True]
    with gc.Graph().as_default(), gc.Session() as session:
        start = np.arange(12, dtype=np.float32).reshape(4, 3)
        variable, where = gc.Variable(start), gc.placeholder(gc.int32, [3])
        new = gc.scatter_add(variable, where, gc.gather(variable, where)[::-1])
        session.run(gc.global_variables_initializer())
        places = np.array([1, 3, 1], np.int32)
        want = start.copy()
        np.add.at(want, places, start[places][::-1])
        np.testing.assert_array_equal(session.run(new, {where: places}), want)
        np.testing.assert_array_equal(session.run(variable), want)


def test_not_where_the_old_value_is_read_later() -> None:
    old = p.reduce_sum(table(), (0, 1))
    new = rows()
    program = assigned(new, p.multiply(old, p.reduce_sum(new, (0, 1))))
    with_later = [n.name for n in program.nodes]
    assert "fusion" in with_later or "scatter" in with_later
    with gc.Graph().as_default(), gc.Session() as session:
        variable = gc.Variable(np.ones((4, 2), np.float32))
        before = gc.identity(variable) * 1.0
        after = gc.scatter_update(variable, [0], [[5.0, 5.0]])
        with gc.control_dependencies([after]):
            difference = gc.reduce_sum(after - before)
        session.run(gc.global_variables_initializer())
        assert session.run(difference) == 8.0


def test_the_half_floats_are_summed_wide() -> None:
    with gc.Graph().as_default(), gc.Session() as session:
        variable = gc.Variable(np.zeros((3, 2), np.float16))
        count = 4000  # beyond 2048, where float16 no longer counts
        total = gc.scatter_add(variable, np.ones(count, np.int32), gc.ones([count, 2], gc.float16))
        session.run(gc.global_variables_initializer())
        np.testing.assert_array_equal(session.run(total), np.array([[0, 0], [count, count], [0, 0]], np.float16))


def test_a_training_step_touches_the_rows_that_were_looked_up() -> None:
    """The dense gradient is nowhere: not in memory, and not in what the step computes."""
    with gc.Graph().as_default(), gc.Session() as session:
        weights = gc.Variable(np.ones((50, 8), np.float32))
        ids, scale = gc.placeholder(gc.int32, [3]), gc.placeholder(gc.float32, [3, 8])
        loss = gc.reduce_sum(gc.nn.embedding_lookup(weights, ids) * scale)
        step = gc.train.GradientDescentOptimizer(0.5).minimize(loss)
        session.run(gc.global_variables_initializer())
        feeds = {ids: np.array([4, 0, 4], np.int32), scale: np.arange(24, dtype=np.float32).reshape(3, 8)}
        session.run(step, feeds)
        want = np.ones((50, 8))
        np.subtract.at(want, feeds[ids], 0.5 * feeds[scale])
        np.testing.assert_allclose(session.run(weights), want)
        made = session.compile(step, feeds)
        assert made.memory.arena_bytes < 50 * 8 * 4
        assert made.memory.in_place == ("Variable",)


def test_zeros_are_made_where_the_sum_is_fetched() -> None:
    """The dense gradient of an embedding, fetched: filled in the caller's array, rows added there, nothing copied."""
    with gc.Graph().as_default(), gc.Session() as session:
        weights = gc.Variable(np.ones((50, 8), np.float32))
        ids = gc.placeholder(gc.int32, [3])
        slope = gc.gradients(gc.reduce_sum(gc.square(gc.gather(weights, ids))), weights)[0]
        session.run(gc.global_variables_initializer())
        places = np.array([4, 0, 4], np.int32)
        want = np.zeros((50, 8))
        np.add.at(want, places, 2)
        np.testing.assert_array_equal(session.run(slope, {ids: places}), want)
        made = session.compile(slope, {ids: places})
        assert made.memory.arena_bytes < 50 * 8 * 4
        walked = [s.extent for kernel in made.kernels for s in ir.walk(kernel.ir.body) if isinstance(s, ir.Loop) and s.extent >= 50]
        assert walked == [400], "one walk over all elements: the zeros"
