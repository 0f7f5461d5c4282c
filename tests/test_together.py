"""The pass that puts small updates of variables side by side: what moves, what stays, and that nothing else changes."""
from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.core.verify import verify
from graphc.passes.memory import plan_memory
from graphc.passes.storage import is_step, value_of
from graphc.passes.together import Together


def training_step() -> Program:
    """Two dense layers under Adam, ordered but not fused: every update is several steps."""
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=gc.ConfigProto(pipeline="unfused")) as session:
        x = gc.placeholder(gc.float32, [8, 5])
        hidden = gc.layers.dense(x, 7, activation=gc.nn.relu)
        loss = gc.reduce_mean(gc.square(gc.layers.dense(hidden, 3)))
        train = gc.train.AdamOptimizer(0.1).minimize(loss)
        return session.compile([loss, train], [x]).program


def positions(program: Program) -> list[bool]:
    """Of each step in order, whether its results are new values of variables that no other step reads."""
    steps = [node for node in program.nodes if is_step(node)]
    read = {value_of(operand)[0] for step in steps for operand in step.operands}
    return [step in {value_of(effect)[0] for effect in program.effects} - read for step in steps]


def test_updates_come_last_and_side_by_side() -> None:
    before = training_step()
    after = Together()(before)
    verify(after)
    updates = positions(after)
    assert sum(updates) >= 4
    assert positions(before) != updates, "there was something to move"
    assert updates == sorted(updates), "an update stands before another step"
    assert sorted(map(id, after.nodes)) == sorted(map(id, before.nodes)), "the same nodes in another order"
    assert set(plan_memory(after).in_place) >= set(plan_memory(before).in_place), "an update in place became a copy"


def test_a_large_update_stays_where_it_is() -> None:
    before = training_step()
    assert Together(largest=0)(before) is before


def test_values_are_the_same() -> None:
    before = training_step()
    after = Together()(before)
    random = np.random.default_rng(0)
    feeds = [random.standard_normal(p.type.dims).astype(p.type.dtype.np_dtype) for p in before.parameters]
    state = {name: np.abs(random.standard_normal(t.dims)).astype(t.dtype.np_dtype) for name, t in before.variables.items()}
    (first, one), (second, two) = interpret(before, feeds, state), interpret(after, feeds, state)
    np.testing.assert_array_equal(first[0], second[0])
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


def test_a_program_without_variables_is_left_alone() -> None:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
        x = gc.placeholder(gc.float32, [4])
        program = session.compile([gc.exp(x)], [x]).program
    assert Together()(program) is program
