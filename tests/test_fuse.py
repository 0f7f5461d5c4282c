"""Fusion: the kernels that well-known computations become, stated as structure, and what must never share a kernel."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.models import MODELS
from graphc.passes.fuse import Fuse
from graphc.passes.groups import is_compute, travels
from graphc.passes.partition import Group, Partition
from graphc.passes.pipelines import DEFAULT, SIMPLIFY, UNFUSED, run_pipeline
from graphc.passes.split import CPU, Split
from graphc.passes.storage import is_step
from tests import groups
from tests.executing import execute
from tests.random_programs import programs

F32 = dtypes.float32
ROWS, COLS = 4096, 1024


def x_(*shape: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(F32, shape))


def program_of(*outputs: Node) -> Program:
    nodes = Program((), outputs).nodes
    return Program(tuple(n for n in nodes if n.name == "parameter"), outputs)


def kernels(program: Program) -> list[str]:
    """The kinds of the kernels that the default pipeline makes."""
    stages = run_pipeline(program, DEFAULT)
    assert not [stage.problem for stage in stages if stage.problem]
    return [n.attrs.kind if n.name == "fusion" else n.name for n in verify(stages[-1].program).nodes if is_step(n)]


def gradient(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """The gradients of `outputs` by `inputs` for a cotangent that is fed."""
    fed = [p.parameter(f"g{n}", output.type) for n, output in enumerate(outputs)]
    found = vjp(outputs, inputs, fed)
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


def log_softmax(x: Node) -> Node:
    shifted = p.subtract(x, groups.rows(p.reduce_max(x, (1,)), x))
    return p.subtract(shifted, groups.rows(p.log(p.reduce_sum(p.exponential(shifted), (1,))), x))


# Rows ---------------------------------------------------------------------------------------------------------------------------------

X, GAIN, BIAS = x_(ROWS, COLS), x_(COLS, name="gain"), x_(COLS, name="bias")
LABELS = x_(ROWS, COLS, name="labels")


@pytest.mark.parametrize("outputs", [
    pytest.param(groups.softmax(X), id="softmax"), pytest.param(groups.layer_norm(X, GAIN, BIAS), id="layer-norm"),
    pytest.param((log_softmax(X),), id="log-softmax"), pytest.param(groups.cross_entropy(LABELS, X), id="cross-entropy and its gradient"),
    pytest.param(gradient(groups.softmax(X), [X]), id="softmax gradient, recomputed"),
    pytest.param(gradient([log_softmax(X)], [X]), id="log-softmax gradient"),
    pytest.param(gradient(groups.layer_norm(X, GAIN, BIAS)[:1], [X]), id="layer-norm gradient by x")])
def test_one_row_kernel(outputs: Sequence[Node]) -> None:
    assert kernels(program_of(*outputs)) == ["row"]


def test_rows_too_long_for_the_cache_are_not_walked_twice_in_one_kernel() -> None:
    long = x_(8, 1 << 19)
    assert len(kernels(program_of(*groups.softmax(long)))) > 1


def test_layer_norm_gradients_of_gain_and_bias_share_one_reading() -> None:
    _, gain, bias = gradient(groups.layer_norm(X, GAIN, BIAS)[:1], [X, GAIN, BIAS])
    found = kernels(program_of(gain, bias))
    assert found.count("column") == 1
    assert len(found) <= 2, found


# Products, columns, loops -------------------------------------------------------------------------------------------------------------

def test_bias_and_gelu_join_the_product() -> None:
    assert kernels(program_of(groups.layer(x_(512, 512), x_(512, 512, name="w"), x_(512, name="b"))[0])) == ["dot"]


def test_a_residual_joins_the_product() -> None:
    x = x_(64, 64)
    product = p.dot_general(p.tanh(x), x_(64, 64, name="w"), (), (), (1,), (0,))
    assert kernels(program_of(p.add(x, product))) == ["tanh", "dot"]


def test_the_gradient_of_a_bias_is_a_column() -> None:
    x, b = x_(64, 48), x_(48, name="b")
    y = p.tanh(p.add(x, groups.columns(b, x)))
    assert kernels(program_of(*gradient([y], [b]))) == ["column"]


def test_a_weight_update_joins_the_product_of_its_gradient() -> None:
    x, w = x_(32, 64), p.variable_read("w", TensorType(F32, (64, 48)))
    (dw,) = gradient([p.dot_general(x, w, (), (), (1,), (0,))], [w])
    effect = p.variable_assign("w", p.subtract(w, groups.scaled(dw, 0.1)))
    program = Program(tuple(n for n in Program((), (dw,)).nodes if n.name == "parameter"), (), (effect,))
    assert kernels(program) == ["dot"]


def test_scale_shift_and_gelu_are_one_loop() -> None:
    x, w, b = x_(ROWS, COLS), x_(COLS, name="w"), x_(COLS, name="b")
    assert kernels(program_of(groups.gelu(p.add(p.multiply(x, groups.columns(w, x)), groups.columns(b, x))))) == ["loop"]


def test_adam_is_one_loop_with_three_outputs() -> None:
    g, w, m, v = (x_(300, 20, name=name) for name in "gwmv")
    mean = p.add(groups.scaled(m, 0.9), groups.scaled(g, 0.1))
    square = p.add(groups.scaled(v, 0.999), groups.scaled(p.multiply(g, g), 0.001))
    step = p.divide(groups.scaled(mean, 1e-3), p.add(p.sqrt(square), p.full(1e-8, square.type)))
    assert kernels(program_of(p.subtract(w, step), mean, square)) == ["loop"]


def test_scalars_that_read_one_another_s_inputs_share_a_kernel() -> None:
    """Adam's step size and the next powers of its betas."""
    one, two = (p.variable_read(name, TensorType(F32, ())) for name in ("beta1_power", "beta2_power"))
    rate = p.divide(p.sqrt(p.subtract(p.full(1.0, two.type), two)), p.subtract(p.full(1.0, one.type), one))
    effects = (p.variable_assign("beta1_power", groups.scaled(one, 0.9)), p.variable_assign("beta2_power", groups.scaled(two, 0.999)))
    assert kernels(Program((), (rate,), effects)) == ["loop"]


def test_a_transpose_goes_into_the_product() -> None:
    q, k = x_(2, 9, 16, name="q"), x_(2, 7, 16, name="k")
    node = p.dot_general(q, p.transpose(k, (0, 2, 1)), (0,), (0,), (2,), (1,))
    assert kernels(program_of(node)) == ["dot_general"]


def test_a_column_and_a_row_reduction_stay_apart() -> None:
    x = x_(64, 48)
    assert sorted(kernels(program_of(p.reduce_sum(x, (0,)), p.reduce_sum(x, (1,))))) == ["reduce_sum", "reduce_sum"]


def test_a_wide_reduction_does_not_wait_for_another_one() -> None:
    """sum(a) + sum(b) of different large values: in one kernel both would have to be alive."""
    total = p.add(p.reduce_sum(p.tanh(x_(64, 1000, name="a")), (1,)), p.reduce_max(p.tanh(x_(64, 1000, name="b")), (1,)))
    assert kernels(program_of(total)) == ["row", "row"]


# What must not happen -----------------------------------------------------------------------------------------------------------------

def test_diamonds_make_no_cycles() -> None:
    """x feeds y and, through a product, z; y and z meet: y's group may not hold both ends of the way through the product."""
    x = p.tanh(x_(32, 32))
    through = p.dot_general(x, x_(32, 32, name="w"), (), (), (1,), (0,))
    late = p.reduce_sum(p.multiply(x, p.exponential(p.transpose(through, (1, 0)))), (1,))
    program = program_of(late, p.exponential(x))
    after = Fuse()(SIMPLIFY(program))
    verify(after)
    feeds = [np.random.default_rng(0).standard_normal(t.dims, np.float32) for t in program.parameters]
    for a, b in zip(interpret(after, feeds)[0], interpret(program, feeds)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_costly_value_is_not_computed_again_under_a_broadcast() -> None:
    b, x = x_(COLS, name="b"), x_(ROWS, COLS)
    costly = program_of(p.add(x, p.reshape(groups.columns(p.exponential(b), x), x.dims)))
    assert sorted(kernels(costly)) == ["exponential", "loop"]
    cheap = program_of(p.add(x, groups.columns(p.add(b, b), x)))
    assert kernels(cheap) == ["loop"]


def test_a_value_needed_at_two_places_is_stored() -> None:
    x = p.exponential(x_(100, 8))
    ends = p.add(p.slice_(x, (0, 0), (99, 8), (1, 1)), p.slice_(x, (1, 0), (100, 8), (1, 1)))
    assert kernels(program_of(ends)) == ["exponential", "loop"]


def test_a_written_value_is_not_computed_again_for_its_transpose() -> None:
    y = p.exponential(x_(40, 30))
    assert len(kernels(program_of(y, p.negate(p.transpose(y, (1, 0)))))) == 2
    assert len(kernels(program_of(y, p.add(x_(30, 40, name="z"), p.transpose(p.negate(y), (1, 0)))))) == 2


def test_a_costly_value_per_row_may_spread_along_its_row() -> None:
    x, variance = x_(64, 512), x_(64, name="variance")
    scaled = p.multiply(x, groups.rows(p.rsqrt(variance), x))
    assert kernels(program_of(p.reduce_sum(scaled, (1,)))) == ["row"]


def test_groups_do_not_grow_without_limit() -> None:
    y = x_(100)
    for n in range(150):
        y = p.add(p.multiply(y, y), p.full(float(n), y.type))
    assert len(kernels(program_of(y))) == math.ceil(300 / 64)


def test_unfused_has_one_kernel_for_each_node_that_computes() -> None:
    for outputs in (groups.softmax(X), groups.layer_norm(X, GAIN, BIAS), gradient(groups.layer_norm(X, GAIN, BIAS)[:1], [X, GAIN])):
        program = program_of(*outputs)
        simple = Split()(SIMPLIFY(program))
        unfused = run_pipeline(program, UNFUSED)[-1].program
        assert sum(map(is_step, unfused.nodes)) == sum(is_compute(n) and not travels(n) for n in simple.nodes)


@given(programs())
@settings(max_examples=60)
def test_fused_groups_take_what_they_read_and_give_what_is_read(program: Program) -> None:
    fused = verify(Fuse()(Split()(SIMPLIFY(program))))
    users = fused.users()
    for node in fused.nodes:
        if node.name == "fusion":
            body = node.attrs.body
            assert set(body.parameters) <= set(body.nodes)
            assert len(set(node.operands)) == len(node.operands)
            assert all(user.name == "get_tuple_element" for user in users[node]) or not node.is_tuple


# Models -------------------------------------------------------------------------------------------------------------------------------

def compiled(name: str) -> gc.Executable:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
        fetches, feeds = MODELS[name]()
        return session.compile(fetches if name != "attention" else fetches[0], feeds)


def test_attention_forward_is_eight_kernels() -> None:
    """Three projections, scores with their scale, softmax, mixing, output with its bias and the loss's square; then the loss's sum."""
    assert sorted(k.name.split("_")[1] for k in compiled("attention").kernels) == ["dot"] * 6 + ["row"] * 2


def test_every_separation_has_its_reason() -> None:
    stages = {stage.name: stage.program for stage in compiled("attention").stages}
    found = Fuse().explain(stages["split"])
    reasons = {(source.name, reader.name): why for source, reader, why in found}
    assert reasons["multiply", "reduce_max"] == "a product and a reduction"
    assert reasons["dot_general", "dot_general"] == "two products"
    assert all(why and why != "not tried" for _, _, why in found)


def test_reasons_are_data() -> None:
    y = p.exponential(x_(100, 8))
    ends = p.add(p.slice_(y, (0, 0), (99, 8), (1, 1)), p.slice_(y, (1, 0), (100, 8), (1, 1)))
    assert Fuse().explain(program_of(ends)) == [(y, ends, "a value needed at two places")]
    b = p.exponential(x_(8, name="b"))
    spread = p.add(x_(100, 8), groups.columns(b, x_(100, 8)))
    assert Fuse().explain(program_of(spread)) == [(b, spread, "would repeat costly work")]


# Splitting ----------------------------------------------------------------------------------------------------------------------------

BIG = 4_000_037  # a prime


@pytest.mark.parametrize(("shape", "axes"), [
    ((1 << 22,), (0,)), ((BIG,), (0,)), ((ROWS, COLS), (0, 1)), ((1_000_000, 4), (0,)), ((65536, 128), (0,)), ((99_991, 3), (0,)),
    ((2, 50_000, 8), (1,)), ((64, 3, 4096), (0, 2)), ((3, CPU.long_row), (1,)), ((1, 1 << 20, 1), (1,)), ((1 << 19, 1), (0, 1))])
def test_long_reductions_are_split_into_pieces_that_threads_share(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = x_(*shape)
    before = program_of(p.reduce_sum(x, axes), p.reduce_max(x, axes))
    after = verify(Split()(before))
    for node in after.nodes:
        if node.name.startswith("reduce"):
            largest = node.operands[0].type.size
            assert largest < 1 << 18 or node.type.size >= 16, (node, node.operands[0])
    data = np.random.default_rng(0).standard_normal(shape, np.float32)
    total, top = interpret(after, [data])[0]
    np.testing.assert_allclose(total, data.sum(axes, np.float64), rtol=1e-4, atol=0.05)
    np.testing.assert_array_equal(top, data.max(axes))


def test_split_reductions_run_alike_on_any_number_of_threads() -> None:
    x = x_(100_003, 5)
    squares = p.multiply(x, x)
    program = program_of(p.reduce_sum(squares, (0,)), p.reduce_sum(squares, (0, 1)), p.reduce_max(p.negate(x), (0,)))
    data = np.random.default_rng(0).standard_normal((100_003, 5), np.float32)
    one, two = (execute(program, [data], threads=threads)[0] for threads in (1, 2))
    wide = data.astype(np.float64)
    expected: list[Any] = [(wide**2).sum(0), (wide**2).sum(), (-data).max(0)]
    for a, b, want in zip(one, two, expected, strict=True):
        assert a.tobytes() == b.tobytes()
        np.testing.assert_allclose(a, want, rtol=1e-5)


@pytest.mark.parametrize("build", [lambda x: p.reduce_sum(x, (1,)), lambda x: p.reduce_sum(x, (0,))])
def test_reductions_with_work_for_all_threads_stay_whole(build: Callable[[Node], Node]) -> None:
    program = program_of(build(x_(2048, 1024)))
    assert Split()(program) is program


def test_a_cycle_of_kernels_is_an_error_and_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the search for cycles ever fail, the pass must fail too, so that the pipeline reports it and goes on without."""
    def merge_ends(partition: Partition) -> None:
        first, last = next(n for n in partition.group_of if n.name == "exponential"), next(n for n in partition.group_of if n.name == "add")
        partition.group_of[first] = partition.group_of[last] = Group([first, last], None, [first, last])

    monkeypatch.setattr(Partition, "merge_all", merge_ends)
    x = p.parameter("x", TensorType(dtypes.float32, (4,)))
    ends = p.exponential(x)
    program = Program((x,), (p.add(ends, p.tanh(ends)),))
    with pytest.raises(RuntimeError, match="kernels wait for each other"):
        Fuse()(program)


def test_a_kernel_of_its_own_stands_between_groups() -> None:
    """The inverse of a permutation shares no kernel: what it reads and what reads it must not become one."""
    x = p.parameter("x", TensorType(dtypes.int32, (9,)))
    order = p.subtract(p.full(8, x.type), x)
    after = Fuse()(Program((x,), (p.add(p.invert_permutation(order), order),)))
    assert [node.name for node in after.nodes].count("invert_permutation") == 1
    given = np.random.default_rng(0).permutation(9).astype(np.int32)
    np.testing.assert_array_equal(interpret(after, [given])[0][0], np.argsort(8 - given) + 8 - given)


def test_a_walk_takes_along_maps_before_and_after_it_but_nothing_costly_along_rows() -> None:
    x = p.parameter("x", TensorType(dtypes.float32, (6, 5)))
    walked = p.cumulative_sum(p.multiply(x, x), 1, exclusive=True)
    (step,) = (node for node in Fuse()(Program((x,), (p.subtract(walked, x), walked))).nodes if node.name == "fusion")
    assert step.attrs.kind == "scan"
    for axis, kernels in ((1, 2), (0, 1)):
        program = Fuse()(Program((x,), (p.cumulative_sum(p.exponential(x), axis),)))
        assert sum(node is not x and node.name != "constant" for node in program.nodes) == kernels
    twice = Fuse()(Program((x,), (p.cumulative_sum(p.cumulative_max(x, 1), 1),)))
    assert [node.name for node in twice.nodes][1:] == ["cumulative_max", "cumulative_sum"]


def test_what_stands_far_from_both_ends_does_not_keep_two_apart() -> None:
    """`a` is needed by a long chain beside `b`, and `b` needs another long chain: none leads from the one to the other."""
    x, z = (p.parameter(name, groups.t(8, 16)) for name in "xz")
    a = p.exponential(x)
    beside, before = p.argsort(a, 1), p.argsort(z, 1)
    for _ in range(300):
        beside, before = p.argsort(beside, 1), p.argsort(before, 1)
    b = p.multiply(p.tanh(a), p.convert(before, dtypes.float32))
    partition = Partition(Program((x, z), (b, beside)))
    partition.merge_all()
    assert partition.group_of[a] is partition.group_of[b]
