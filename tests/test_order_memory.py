"""The schedule and the memory plan: low peaks, offsets at the lower bound, and nothing overwritten that is still to be read.

What must never go wrong is checked twice: by the plan itself, and by running the compiled program against the reference interpreter.
"""
from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes import offsets
from graphc.passes.memory import MemoryPlan, plan_memory
from graphc.passes.offsets import Lifetime
from graphc.passes.order import Order, peak
from graphc.passes.pipelines import DEFAULT, NONE, PIPELINES, UNFUSED, Pipeline, run_pipeline
from graphc.passes.storage import is_step, reads, value_of
from tests.executing import execute

F32 = dtypes.float32


def x_(*shape: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(F32, shape))


def v_(*shape: int, name: str) -> Node:
    return p.variable_read(name, TensorType(F32, shape))


def scaled(x: Node, factor: float) -> Node:
    return p.multiply(x, p.full(factor, x.type))


def rows(value: Node, like: Node) -> Node:
    return p.broadcast_in_dim(value, like.dims, range(len(like.dims) - 1))


def planned(program: Program, pipeline: Pipeline = DEFAULT) -> MemoryPlan:
    stages = run_pipeline(program, pipeline)
    assert not [stage.problem for stage in stages if stage.problem]
    return plan_memory(verify(stages[-1].program))


def runs_right(program: Program, pipelines: Sequence[str] = tuple(PIPELINES)) -> None:
    generator = np.random.default_rng(0)
    feeds = [generator.standard_normal(t.dims, np.float32) for t in program.parameters]
    state = {name: generator.standard_normal(t.dims, np.float32) for name, t in program.variables.items()}
    wanted, written = interpret(program, feeds, state)
    for name in pipelines:
        got, updated = execute(program, feeds, state, PIPELINES[name], threads=2)
        for a, b in zip((*got, *updated.values()), (*wanted, *(written[v] for v in updated)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=name)


# Offsets ------------------------------------------------------------------------------------------------------------------------------

def check_placement(lifetimes: Sequence[Lifetime]) -> float:
    """The height reached over the lower bound; fails where two buffers that live together overlap."""
    height, places = offsets.place(lifetimes)
    for (a, at_a), (b, at_b) in combinations(zip(lifetimes, places, strict=True), 2):
        if a.first <= b.last and b.first <= a.last:
            assert at_a + a.size <= at_b or at_b + b.size <= at_a or not a.size or not b.size
    assert all(at >= 0 and at + each.size <= height for each, at in zip(lifetimes, places, strict=True))
    bound = offsets.lower_bound(lifetimes)
    assert bound == _bound_by_hand(lifetimes)
    assert bound <= height <= sum(each.size for each in lifetimes)
    return height / max(bound, 1)


def _bound_by_hand(lifetimes: Sequence[Lifetime]) -> int:
    steps = range(max((each.last for each in lifetimes), default=0) + 1)
    return max(sum(each.size for each in lifetimes if each.first <= step <= each.last) for step in steps)


@st.composite
def lifetime_lists(draw: st.DrawFn) -> list[Lifetime]:
    made = []
    for _ in range(draw(st.integers(0, 30))):
        first = draw(st.integers(0, 20))
        made.append(Lifetime(draw(st.integers(0, 9)) * 64, first, first + draw(st.integers(0, 8))))
    return made


@given(lifetime_lists())
@settings(max_examples=100)
def test_placements_are_valid(lifetimes: list[Lifetime]) -> None:
    check_placement(lifetimes)


def test_a_chain_of_layers_needs_two_buffers_at_a_time() -> None:
    assert offsets.place([Lifetime(100, n, n + 1) for n in range(20)])[0] == 200


def test_buffers_of_a_network_with_skips_meet_the_bound() -> None:
    """Blocks of falling size as in an image classifier, each kept over two layers for the sum after them."""
    lifetimes, step = [], 0
    for size in (800, 400, 200, 100):
        for _ in range(6):
            lifetimes += [Lifetime(64 * size, step, step + 3), Lifetime(64 * size, step + 1, step + 2),
                          Lifetime(16 * size, step + 2, step + 3)]
            step += 3
    assert check_placement(lifetimes) == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_are_placed_within_a_few_percent_of_the_bound(seed: int) -> None:
    generator = random.Random(seed)
    lifetimes = []
    for _ in range(120):
        first = generator.randrange(60)
        lifetimes.append(Lifetime(64 * generator.choice((1, 2, 3, 5, 8, 13, 20, 64, 200)), first, first + generator.choice((1, 2, 3, 20))))
    assert check_placement(lifetimes) <= 1.05


def test_a_problem_that_defeats_every_simple_order_is_solved_by_the_search() -> None:
    """Random placements cut from a full rectangle: the bound is the rectangle's height, and can be met."""
    generator = random.Random(3)
    lifetimes, pending = [], [(0, 0, 32, 40)]  # (offset, first step, height, steps)
    while pending:
        low, first, height, steps = pending.pop()
        if height > 3 and generator.random() < 0.75:
            cut = generator.randrange(1, height)
            pending += [(low, first, cut, steps), (low + cut, first, height - cut, steps)]
        elif steps > 3 and generator.random() < 0.75:
            cut = generator.randrange(1, steps)
            pending += [(low, first, height, cut), (low, first + cut, height, steps - cut)]
        else:
            lifetimes.append(Lifetime(64 * height, first, first + steps - 1))
    assert check_placement(lifetimes) <= 1.1


def test_thousands_of_buffers_are_swept_in_time() -> None:
    """A training step: activations die in the reverse of the order in which they were made."""
    count = offsets.MANY + 500
    lifetimes = [Lifetime(64 * (1 + n % 7), n, 2 * count - n) for n in range(count)]
    height, _ = offsets.place(lifetimes)
    assert height == offsets.lower_bound(lifetimes) == sum(each.size for each in lifetimes)
    generator = random.Random(0)
    short = [Lifetime(64 * generator.randrange(1, 9), n // 2, n // 2 + generator.randrange(4)) for n in range(count)]
    assert offsets.place(short)[0] <= 1.3 * offsets.lower_bound(short)


# Order --------------------------------------------------------------------------------------------------------------------------------

def test_wide_branches_are_finished_one_by_one() -> None:
    """Eight large branches, each reduced to little: made together they would all be alive at once."""
    x = x_(4, 256)
    outs = []
    for n in range(8):
        wide = p.dot_general(scaled(x, n + 1.0), p.parameter(f"w{n}", TensorType(F32, (256, 4096))), (), (), (1,), (0,))
        outs.append(p.reduce_sum(p.multiply(wide, wide), (1,)))
    total = outs[0]
    for each in outs[1:]:
        total = p.add(total, each)
    # As written the nodes stand breadth first, the worst order.
    breadth_first = sorted(Program((), (total,)).nodes, key=lambda n: _depth(n))
    program = Program(tuple(n for n in breadth_first if n.name == "parameter"), (total,), nodes=tuple(breadth_first))
    ordered = Order()(program)
    assert ordered == program
    wide_bytes = 4 * 4096 * 4
    steps = [n for n in ordered.nodes if is_step(n)]
    assert peak(ordered, steps) < 3 * wide_bytes
    assert planned(program).arena_bytes < 2 * wide_bytes


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, node.operands), default=0)


def test_order_is_valid_and_deterministic() -> None:
    w = v_(64, 64, name="w")
    x = x_(32, 64)
    loss = p.reduce_sum(p.tanh(p.dot_general(x, w, (), (), (1,), (0,))), (0, 1))
    (gradient,) = vjp([loss], [w], [p.full(1.0, loss.type)])
    assert gradient is not None
    program = Program((x,), (loss,), (p.variable_assign("w", p.subtract(w, scaled(gradient, 0.1))),))
    first, second = Order()(program), Order()(program)
    assert verify(first).nodes == second.nodes


# In place -----------------------------------------------------------------------------------------------------------------------------

def test_a_chain_that_cannot_fuse_runs_in_one_buffer() -> None:
    x = x_(300)
    y = x
    for _ in range(6):
        y = p.tanh(y)
    memory = planned(Program((x,), (scaled(y, 2.0),)), UNFUSED)
    assert len(memory.steps) == 7
    assert len(memory.buffers) == 1
    assert memory.arena_bytes == 300 * 4 + (-300 * 4) % 64


def test_an_update_is_written_into_its_variable() -> None:
    w, x = v_(50, name="w"), x_(50)
    program = Program((x,), (), (p.variable_assign("w", p.subtract(w, scaled(x, 0.1))),))
    memory = planned(program)
    assert memory.in_place == ("w",)
    assert memory.copies == ()
    assert memory.arena_bytes == 0
    runs_right(program)


def test_a_swap_of_two_variables_copies() -> None:
    a, b = v_(40, name="a"), v_(40, name="b")
    program = Program((), (), (p.variable_assign("a", b), p.variable_assign("b", a)))
    assert len(planned(program).copies) >= 1
    runs_right(program)


def test_variables_that_need_each_other_are_not_both_written_early() -> None:
    a, b = v_(40, name="a"), v_(40, name="b")
    program = Program((), (), (p.variable_assign("a", p.add(a, b)), p.variable_assign("b", p.subtract(a, p.tanh(b)))))
    runs_right(program)
    memory = planned(program, NONE)
    assert len(memory.in_place) + len(memory.copies) == 2


def test_a_variable_that_a_later_step_reads_is_not_overwritten_before() -> None:
    """The new value of w feeds the product that also reads the old one: the old must outlive the writing of the new."""
    w, x = v_(64, 64, name="w"), x_(64, 64)
    new = p.add(w, p.dot_general(x, w, (), (), (1,), (0,)))
    out = p.dot_general(new, w, (), (), (1,), (0,))
    program = Program((x,), (out,), (p.variable_assign("w", new),))
    for pipeline in (DEFAULT, UNFUSED, NONE):
        memory = planned(program, pipeline)
        assert [to.key for _, to, _ in memory.copies] == ["w"]
    runs_right(program)


def test_a_transposed_read_of_what_is_overwritten_is_seen() -> None:
    w = v_(70, 70, name="w")
    program = Program((), (), (p.variable_assign("w", p.add(w, p.transpose(w, (1, 0)))),))
    for pipeline in (DEFAULT, UNFUSED):  # in "none" the transpose is a step of its own, and the sum may be in place
        memory = planned(program, pipeline)
        assert not memory.in_place
    runs_right(program)


@pytest.mark.parametrize("move", [
    lambda w: p.reverse(w, (0,)),
    lambda w: p.broadcast_in_dim(p.slice_(w, (0, 0), (1, 16), (1, 1)), (16, 16), (0, 1)),
    lambda w: p.concatenate([p.slice_(w, (1, 0), (16, 16), (1, 1)), p.slice_(w, (0, 0), (1, 16), (1, 1))], 0),
    lambda w: p.dot_general(w, w, (), (), (1,), (0,)), lambda w: p.broadcast_in_dim(p.reduce_sum(w, (0,)), (16, 16), (1,)),
    lambda w: rows(p.reduce_max(w, (1,)), w)])
def test_moved_reads_of_what_is_overwritten_are_seen(move: Any) -> None:
    w = v_(16, 16, name="w")
    program = Program((), (), (p.variable_assign("w", p.add(p.tanh(w), move(w))),))
    runs_right(program)


def test_outputs_that_are_feeds_constants_or_the_same_value_twice_are_copies_of_their_own() -> None:
    x, w = x_(33), v_(33, name="w")
    y = p.tanh(x)
    program = Program((x,), (x, y, y, w, p.constant([1.0, 2.0]), p.reshape(y, (3, 11))), (p.variable_assign("w", y),))
    for pipeline in (DEFAULT, UNFUSED, NONE):
        memory = planned(program, pipeline)
        places = [memory.locate(node) for node in run_pipeline(program, pipeline)[-1].program.outputs]
        assert [(place.kind, place.key) for place in places] == [("output", n) for n in range(6)]
    runs_right(program)


def test_a_fetched_variable_keeps_the_value_of_its_moment() -> None:
    w, x = v_(20, name="w"), x_(20)
    new = p.add(w, x)
    program = Program((x,), (w, new), (p.variable_assign("w", new),))
    runs_right(program)


def test_softmax_runs_in_place_between_products() -> None:
    """Scores become probabilities in the buffer of the scores: half the memory of attention."""
    q, k, v = x_(64, 32, name="q"), x_(64, 32, name="k"), x_(64, 32, name="v")
    scores = p.dot_general(q, k, (), (), (1,), (1,))
    e = p.exponential(p.subtract(scores, rows(p.reduce_max(scores, (1,)), scores)))
    program = Program((q, k, v), (p.dot_general(p.divide(e, rows(p.reduce_sum(e, (1,)), e)), v, (), (), (1,), (0,)),))
    memory = planned(program)
    assert len(memory.steps) == 3
    assert memory.arena_bytes == 64 * 64 * 4
    runs_right(program)


def test_a_row_kernel_with_an_early_output_keeps_its_input() -> None:
    """exp(x - max) is written before the last pass over x: it must not lie over x."""
    x = p.dot_general(x_(8, 5), x_(5, 40, name="w"), (), (), (1,), (0,))
    shifted = p.subtract(x, rows(p.reduce_max(x, (1,)), x))
    early = p.exponential(shifted)
    late = p.multiply(x, rows(p.reduce_sum(early, (1,)), x))
    again = p.dot_general(p.add(early, late), x_(40, 3, name="u"), (), (), (1,), (0,))
    more = p.dot_general(early, x_(40, 3, name="u"), (), (), (1,), (0,))
    program = Program(tuple(n for n in Program((), (again,)).nodes if n.name == "parameter"), (again, more))
    runs_right(program)


def test_running_means_are_updated_in_place_by_the_kernel_that_reduces() -> None:
    x, mean = x_(100, 24), v_(24, name="mean")
    program = Program((x,), (), (p.variable_assign("mean", p.add(scaled(mean, 0.9), scaled(p.reduce_sum(x, (0,)), 0.001))),))
    memory = planned(program)
    assert len(memory.steps) == 1
    assert memory.in_place == ("mean",)
    runs_right(program)


def test_no_step_writes_what_a_later_step_reads() -> None:
    """The plan, simulated on names instead of numbers: every read finds the value that the program means."""
    w, m, x = v_(64, 64, name="w"), v_(64, 64, name="m"), x_(32, 64)
    h = p.tanh(p.dot_general(x, w, (), (), (1,), (0,)))
    loss = p.reduce_sum(p.multiply(h, h), (0, 1))
    (gradient,) = vjp([loss], [w], [p.full(1.0, loss.type)])
    assert gradient is not None
    momentum = p.add(scaled(m, 0.9), gradient)
    effects = (p.variable_assign("m", momentum), p.variable_assign("w", p.subtract(w, scaled(momentum, 0.1))))
    for pipeline in (DEFAULT, UNFUSED, NONE):
        _simulate(run_pipeline(Program((x,), (loss, h), effects), pipeline)[-1].program)


def _simulate(program: Program) -> None:
    memory = plan_memory(program)
    standing: dict[Any, Any] = {}
    for step in memory.steps:
        for value in reads(step):
            place = memory.locations[value]
            if place.kind in ("arena", "output") or (place.kind == "variable" and is_step(value[0])):
                assert standing[place] == value
            elif place.kind == "variable":
                assert place not in standing, "the old value of a variable was overwritten"
        for number in range(len(step.types)):
            standing[memory.locations[step, number]] = (step, number)
    for node in (*program.outputs, *program.effects):
        assert standing[memory.locate(node)] == value_of(node)
