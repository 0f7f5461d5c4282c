"""Computing again instead of storing: what is no longer stored, what still is, and that no value changes."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.interpret import interpret
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.epilogues import Epilogues
from graphc.passes.fuse import Fuse
from graphc.passes.pipelines import DEFAULT, SIMPLIFY, UNFUSED, for_gpu, run_pipeline
from graphc.passes.recompute import Recompute
from graphc.passes.storage import is_step
from tests import groups
from tests.kernels import run_program
from tests.random_programs import programs

F32 = dtypes.float32
Stored = list[list[tuple[int, ...]]]


def x_(*shape: int, name: str = "x", dtype: dtypes.DType = F32) -> Node:
    return p.parameter(name, TensorType(dtype, shape))


def program_of(*outputs: Node, effects: tuple[Node, ...] = ()) -> Program:
    nodes = Program((), outputs, effects).nodes
    return Program(tuple(n for n in nodes if n.name == "parameter"), outputs, effects)


def stored(program: Program) -> Stored:
    """The shapes that each step stores."""
    return [[t.dims for t in node.types] for node in verify(program).nodes if is_step(node)]


def traffic(program: Program) -> int:
    """Bytes that the steps read and write."""
    steps = [node for node in program.nodes if is_step(node)]
    return sum(t.nbytes for step in steps for t in (*step.types, *(o.type for o in dict.fromkeys(step.operands))))


def recomputed(program: Program) -> tuple[Program, Program]:
    """The program fused, and then recomputed."""
    before = Fuse()(SIMPLIFY(program))
    return before, check(program, before)


def check(program: Program, before: Program, apply: Recompute | None = None) -> Program:
    """`before` recomputed, which has the values of `program`, as a program and as kernels."""
    after = verify((apply or Recompute())(before))
    rng = np.random.default_rng(0)
    feeds = [rng.uniform(0.5, 2, node.dims).astype(node.dtype.np_dtype) for node in program.parameters]
    state = {name: rng.standard_normal(t.dims).astype(t.dtype.np_dtype) for name, t in program.variables.items()}
    for outputs in (interpret(after, feeds, state)[0], *([] if state else [run_program(after, feeds)])):
        for got, want in zip(outputs, interpret(program, feeds, state)[0], strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    return after


def around(node: Node, *, weights: str) -> Node:
    """A product of `node`, which stands between kernels."""
    return p.dot_general(node, x_(node.dims[1], node.dims[1], name=weights), (), (), (1,), (0,))


def gelu_by_tanh(x: Node) -> Node:
    cube = p.multiply(p.multiply(x, x), x)
    inner = p.multiply(p.add(x, p.multiply(cube, p.full(0.044715, x.type))), p.full(0.7978845608, x.type))
    return p.multiply(p.multiply(p.full(0.5, x.type), x), p.add(p.full(1.0, x.type), p.tanh(inner)))


@pytest.mark.parametrize("library", [False, True])
def test_the_gradient_of_gelu_needs_only_its_argument(library: bool) -> None:
    """Forward stores gelu, which a product reads, and its argument; backward makes the rest again."""
    x = around(x_(64, 48, name="input"), weights="w0")
    loss = around(gelu_by_tanh(x), weights="w1")
    (gradient,) = vjp([loss], [x], [loss])
    assert gradient is not None
    program = SIMPLIFY(program_of(loss, gradient))
    before = Epilogues(lambda node: node.name == "dot_general", 1)(program) if library else Fuse()(program)
    after = check(program, before)
    assert max(map(len, stored(before))) >= 5
    assert sorted(map(len, stored(after))) == ([1] * 5 if library else [1, 1, 2])
    assert traffic(after) < 0.7 * traffic(before)


def test_a_value_that_two_kernels_make_from_one_is_not_stored() -> None:
    """The squares are read by a sum along rows and an extreme along columns: each squares x itself."""
    x = x_(64, 48)
    square = p.multiply(x, x)
    before, after = recomputed(program_of(p.reduce_sum(p.reverse(square, (1,)), (1,)), p.reduce_max(square, (0,))))
    assert (64, 48) in stored(before)[0]
    assert sorted(stored(after)) == [[(48,)], [(64,)]]


def test_a_value_needed_at_two_places_is_stored() -> None:
    """It would be made twice in one kernel."""
    x = x_(64, 48)
    square = p.multiply(x, x)
    before, after = recomputed(program_of(p.reduce_sum(p.multiply(square, p.reverse(square, (1,))), (1,)), p.reduce_max(square, (0,))))
    assert after is before


def test_what_costs_more_than_memory_is_stored() -> None:
    """Twenty tangents instead of one access: no."""
    x = x_(64, 48)
    y = x
    for _ in range(20):
        y = p.tanh(y)
    before, after = recomputed(program_of(p.reduce_sum(y, (1,)), p.reduce_sum(y, (0,))))
    assert after is before


def test_fetched_and_assigned_values_stay() -> None:
    x = x_(64, 48)
    square = p.multiply(x, x)
    _, after = recomputed(program_of(square, p.reduce_sum(square, (1,)), p.reduce_sum(square, (0,))))
    assert any((64, 48) in each for each in stored(after))
    assigned = p.variable_assign("v", square)
    _, after = recomputed(program_of(p.reduce_sum(square, (1,)), p.reduce_sum(square, (0,)), effects=(assigned,)))
    assert any((64, 48) in each for each in stored(after))


def test_products_of_a_library_read_what_they_did() -> None:
    """A library computes D = A * B + C only where C stands in memory; a product of ours squares by itself."""
    x = x_(64, 48)
    square = p.multiply(x, x)
    added = p.add(around(p.tanh(x), weights="w"), square)
    program = program_of(added, p.reduce_sum(square, (1,)), p.reduce_sum(square, (0,)))
    before = Fuse()(SIMPLIFY(program))
    ours, library = check(program, before), check(program, before, Recompute(lambda node: True))
    assert sum((64, 48) in each for each in stored(ours)) == 2, "the tangents and the result"
    assert sum((64, 48) in each for each in stored(library)) == 3
    dots = [[operand.types for operand in node.operands] for each in (before, library) for node in each.nodes
            if node.name == "fusion" and node.attrs.kind == "dot"]
    assert dots[0] == dots[1]


def test_what_would_live_longer_may_not_take_more_memory() -> None:
    """z = x + y: one value lives instead of two temporaries."""
    x, y = around(x_(32, 48, name="a"), weights="w0"), around(x_(32, 48, name="b"), weights="w1")
    total = p.add(x, y)
    row, column = p.reduce_sum(total, (1,)), p.reduce_sum(total, (0,))
    _, after = recomputed(program_of(row, column))
    kept = [dims for each in stored(after) for dims in each if dims == (32, 48)]
    assert len(kept) <= 2


def test_a_variable_is_not_read_later_than_before() -> None:
    """Its old value would have to be kept."""
    v = p.variable_read("v", TensorType(F32, (64, 48)))
    square = p.multiply(v, v)
    sums = (p.reduce_sum(square, (1,)), p.reduce_sum(square, (0,)))
    update = p.variable_assign("v", p.subtract(v, groups.scaled(v, 0.1)))
    _, kept = recomputed(program_of(*sums, effects=(update,)))
    _, gone = recomputed(program_of(*sums))
    assert (64, 48) in [dims for each in stored(kept) for dims in each[:1]]
    assert sum((64, 48) in each for each in stored(gone)) == 0


def test_a_bias_that_is_updated_is_not_read_again() -> None:
    """So the sum with it is what the gradient of gelu is made from, not the bare product."""
    bias = p.variable_read("b", TensorType(F32, (48,)))
    product = around(x_(64, 48, name="input"), weights="w0")
    before_gelu = p.add(product, groups.columns(bias, product))
    loss = around(gelu_by_tanh(before_gelu), weights="w1")
    (gradient,) = vjp([loss], [before_gelu], [loss])
    assert gradient is not None
    update = p.variable_assign("b", p.subtract(bias, p.reduce_sum(gradient, (0,))))
    _, after = recomputed(program_of(gradient, effects=(update,)))
    first = next(node for node in after.nodes if node.name == "fusion" and node.attrs.kind == "dot")
    assert [output.name for output in first.attrs.body.outputs] in (["add", "multiply"], ["multiply", "add"])


def test_origins_of_a_kernel_that_is_gone_go_to_its_readers() -> None:
    x = x_(64, 48)
    square = p.multiply(x, x)
    outputs = (p.reduce_sum(p.reverse(square, (1,)), (1,)), p.reduce_max(square, (0,)))
    program = program_of(*outputs)
    names = {square: "Square", outputs[0]: "Sum", outputs[1]: "Max"}
    program = Program(program.parameters, program.outputs, origins={node: (Origin(name, name),) for node, name in names.items()})
    before = Fuse(merge=False)(program)
    after = verify(Recompute()(before))
    assert len(stored(after)) == 2
    assert [[origin.operation for origin in after.origins[output]] for output in after.outputs] == [["Square", "Sum"], ["Square", "Max"]]


def test_a_program_with_nothing_to_gain_is_the_same_object() -> None:
    program = Fuse()(program_of(*groups.softmax(x_(8, 33))))
    assert Recompute()(program) is program
    assert Recompute()(Program((), (p.constant(1.0, F32),))) == Program((), (p.constant(1.0, F32),))


def test_gpu_pipelines_that_fuse_recompute() -> None:
    passes = ["expand", "real", "simplify", "sorted scatters", "split", "fuse", "recompute", "order"]
    assert [name for name, _ in for_gpu(DEFAULT).passes][:8] == passes
    assert "recompute" not in [name for name, _ in for_gpu(UNFUSED).passes]
    assert "recompute" not in [name for name, _ in DEFAULT.passes]


@given(programs())
@settings(max_examples=30, deadline=None)
def test_random_programs_keep_their_values(program: Program) -> None:
    stages = run_pipeline(program, for_gpu(DEFAULT))
    assert not [stage.problem for stage in stages if stage.problem]
    by_name = {stage.name: verify(stage.program) for stage in stages}
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal(node.dims, np.float32) for node in program.parameters]
    state = {name: rng.standard_normal(t.dims, np.float32) for name, t in program.variables.items()}
    with np.errstate(all="ignore"):
        want, want_written = interpret(by_name["fuse"], feeds, state)
        for name in ("recompute", "order"):
            got, written = interpret(by_name[name], feeds, state)
            for a, b in zip((*got, *written.values()), (*want, *want_written.values()), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        if not state:
            for a, b in zip(run_program(by_name["recompute"], feeds), want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * max(1.0, float(np.max(np.abs(b), initial=0))))
    assert traffic(by_name["recompute"]) <= traffic(by_name["fuse"])


def test_the_pass_is_a_function_of_the_program() -> None:
    x = x_(64, 48)
    square = p.multiply(x, x)
    program = Fuse()(program_of(p.reduce_sum(square, (1,)), p.reduce_max(square, (0,))))
    once, twice = (Recompute()(program) for _ in range(2))
    assert once == twice
    assert once.nodes == twice.nodes
    assert Recompute()(once) is once
