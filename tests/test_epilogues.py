"""Epilogues: large products keep the maps that a library can do, the others find other kernels, and no value changes."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.epilogues import SMALLEST, Epilogues, multiplications
from graphc.passes.fuse import Fuse
from graphc.passes.groups import is_product
from graphc.passes.order import Order
from graphc.passes.partition import BARRED
from graphc.passes.pipelines import DEFAULT, Pipeline, run_pipeline
from graphc.passes.storage import is_step
from tests import groups
from tests.kernels import run_program
from tests.random_programs import programs

F32 = dtypes.float32


def x_(*shape: int, name: str = "x", dtype: dtypes.DType = F32) -> Node:
    return p.parameter(name, TensorType(dtype, shape))


def program_of(*outputs: Node) -> Program:
    nodes = Program((), outputs).nodes
    return Program(tuple(n for n in nodes if n.name == "parameter"), outputs)


def library(*maps: str, outputs: int = 1) -> Callable[[Node], bool]:
    """A library that does products with these maps after them, and so many results."""
    def expressible(node: Node) -> bool:
        if node.name == "dot_general":
            return True
        body: Program = node.attrs.body
        plain = {"dot_general", "parameter", "broadcast_in_dim", "reshape", "transpose", "constant", "convert", *maps}
        return node.attrs.kind == "dot" and len(body.outputs) <= outputs and all(each.name in plain for each in body.nodes)
    return expressible


def steps(program: Program) -> list[list[str]]:
    """The maps, products and reductions in every step."""
    views = ("parameter", "broadcast_in_dim", "reshape", "constant")
    return [[inner.name for inner in node.attrs.body.nodes if inner.name not in views] if node.name == "fusion" else [node.name]
            for node in verify(program).nodes if is_step(node)]


def same_values(program: Program, after: Program) -> None:
    """In the interpreter of programs, and as kernels."""
    rng = np.random.default_rng(len(program.nodes))
    feeds = [rng.standard_normal(node.dims).astype(node.dtype.np_dtype) for node in program.parameters]
    expected, _ = interpret(program, feeds)
    for found in (interpret(after, feeds)[0], run_program(after, feeds)):
        for want, got in zip(expected, found, strict=True):
            np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=3e-3, atol=3e-3)


X, W, B, Z = x_(6, 7), x_(7, 5, name="w"), x_(5, name="b"), x_(6, 5, name="z")
DOT = p.dot_general(X, W, (), (), (1,), (0,))
BIASED = p.add(DOT, groups.columns(B, DOT))
RELU = p.maximum(BIASED, p.full(0.0, BIASED.type))


@pytest.mark.parametrize(("output", "maps", "expected"), [
    pytest.param(p.tanh(RELU), ("add", "maximum"), [["dot_general", "add", "maximum"], ["tanh"]], id="all but the last"),
    pytest.param(p.multiply(p.tanh(BIASED), Z), ("add",), [["dot_general", "add"], ["tanh", "multiply"]], id="the first alone"),
    pytest.param(p.tanh(BIASED), (), [["dot_general"], ["add", "tanh"]], id="bare"),
    pytest.param(RELU, ("add", "maximum"), [["dot_general", "add", "maximum"]], id="everything"),
    pytest.param(p.multiply(DOT, p.tanh(DOT)), ("multiply",), [["dot_general"], ["tanh", "multiply"]], id="read twice"),
    pytest.param(p.reshape(p.tanh(p.reshape(RELU, (2, 15))), (30,)), ("add", "maximum"), [["dot_general", "add", "maximum"], ["tanh"]],
                 id="through reshapes"),
    pytest.param(p.transpose(p.tanh(RELU), (1, 0)), ("add", "maximum"), [["dot_general", "add", "maximum"], ["tanh", "transpose"]],
                 id="a transposed end"),
    pytest.param(p.add(p.multiply(BIASED, p.exponential(Z)), Z), ("add",), [["dot_general", "add"], ["exponential", "multiply", "add"]],
                 id="a map beside the product goes with its reader"),
])
def test_a_product_keeps_the_longest_part_that_the_library_can_do(output: Node, maps: tuple[str, ...], expected: list[list[str]]) -> None:
    program = program_of(output)
    after = Epilogues(library(*maps), smallest=1)(program)
    assert steps(after) == expected
    same_values(program, after)


def test_what_the_next_kernel_reads_joins_it() -> None:
    """Scores plus a mask, softmax: the mask's addition is in the row kernel, not in one of its own."""
    mask = x_(6, 5, name="mask")
    program = program_of(*groups.softmax(p.add(groups.scaled(DOT, 0.5), mask)))
    assert steps(Fuse()(program))[0] == ["dot_general", "multiply", "add"]
    after = Epilogues(library("multiply"), smallest=1)(program)
    assert steps(after) == [["dot_general", "multiply"], ["add", "reduce_max", "subtract", "exponential", "reduce_sum", "divide"]]
    same_values(program, after)


def test_a_library_that_gives_two_results() -> None:
    """gelu and what it was computed from, which the gradient will read; then a multiplication that the library cannot do."""
    program = program_of(BIASED, p.multiply(p.tanh(BIASED), Z))
    assert steps(Epilogues(library("add", "tanh", outputs=2), smallest=1)(program)) == [["dot_general", "add", "tanh"], ["multiply"]]
    after = Epilogues(library("add", "tanh", outputs=1), smallest=1)(program)
    assert steps(after) == [["dot_general", "add"], ["tanh", "multiply"]]
    same_values(program, after)


def test_values_of_both_parts_are_outputs() -> None:
    """A fetched product behind a reshape, and maps of it: no kernel copies the product."""
    program = program_of(p.reshape(RELU, (30,)), p.tanh(RELU), p.multiply(RELU, Z))
    after = Epilogues(library("add", "maximum"), smallest=1)(program)
    assert sorted(steps(after)) == [["dot_general", "add", "maximum"], ["multiply"], ["tanh"]]
    same_values(program, after)


def test_a_map_of_an_operand_is_read_by_both_parts() -> None:
    scale = p.exponential(Z)
    program = program_of(p.tanh(p.add(p.multiply(DOT, scale), scale)))
    after = Epilogues(library("multiply"), smallest=1)(program)
    assert sum(names.count("exponential") for names in steps(after)) == 1
    assert [names for names in steps(after) if "dot_general" in names] == [["dot_general", "multiply"]]
    same_values(program, after)


def test_converts_before_a_product_stay_in_it() -> None:
    half = x_(6, 7, name="half", dtype=dtypes.float16)
    product = p.dot_general(p.convert(half, F32), W, (), (), (1,), (0,))
    program = program_of(p.tanh(product))
    assert steps(Epilogues(library(), smallest=1)(program)) == [["convert", "dot_general"], ["tanh"]]


def test_small_products_and_products_that_no_library_can_do_stay_whole() -> None:
    program = program_of(p.tanh(RELU))
    whole = [["dot_general", "add", "maximum", "tanh"]]
    assert multiplications(DOT) == 6 * 7 * 5
    assert steps(Epilogues(library(), smallest=6 * 7 * 5 + 1)(program)) == whole
    assert steps(Epilogues(library(), smallest=6 * 7 * 5)(program)) != whole
    assert steps(Epilogues(lambda node: False, smallest=1)(program)) == whole
    assert Epilogues()(program) == Fuse()(program)


def test_the_bound_counts_batches() -> None:
    batched = p.dot_general(x_(3, 6, 7), x_(3, 7, 5, name="y"), (0,), (0,), (2,), (1,))
    assert multiplications(batched) == 3 * 6 * 7 * 5
    assert SMALLEST == 256**3


def test_a_shape_without_elements() -> None:
    empty = p.dot_general(x_(0, 7), W, (), (), (1,), (0,))
    program = program_of(p.tanh(p.negate(empty)))
    assert steps(Epilogues(library(), smallest=0)(program)) == [["dot_general"], ["negate", "tanh"]]


def test_operations_are_named_where_they_are_computed() -> None:
    activation = p.tanh(RELU)
    program = program_of(activation)
    names = {DOT: "MatMul", BIASED: "BiasAdd", RELU: "Relu", activation: "Tanh"}
    program = Program(program.parameters, program.outputs, origins={node: (Origin(name, name, "a.py:1"),) for node, name in names.items()})
    after = Epilogues(library("add", "maximum"), smallest=1)(program)
    found = [[origin.operation for origin in after.origins[node]] for node in after.nodes if is_step(node)]
    assert found == [["MatMul", "BiasAdd", "Relu"], ["Tanh"]]


def test_the_library_is_asked_once_about_equal_layers() -> None:
    asked: list[Node] = []

    def library_(node: Node) -> bool:
        asked.append(node)
        return library("add")(node)

    hidden, residual = X, x_(6, 7, name="residual")
    for number in range(6):
        hidden = p.tanh(p.add(p.dot_general(hidden, x_(7, 7, name=f"w{number}"), (), (), (1,), (0,)), residual))
    after = Epilogues(library_, smallest=1)(program_of(hidden))
    assert steps(after) == [["dot_general", "add"], ["tanh"]] * 6
    assert len(asked) == 2, "with tanh and without"


def test_explain_says_why() -> None:
    reasons = {reason for _, _, reason in Epilogues(library("add"), smallest=1).explain(program_of(p.tanh(BIASED)))}
    assert reasons == {BARRED}


def test_a_variable_is_updated_by_the_part_that_computes_it() -> None:
    """Gradient descent fits the library; the square root of another rule does not, and updates in a kernel of its own."""
    w = p.variable_read("w", TensorType(F32, (7, 5)))
    gradient = p.dot_general(X, Z, (), (), (0,), (0,))
    plain = Program((X, Z), (), (p.variable_assign("w", p.subtract(w, groups.scaled(gradient, 0.1))),))
    odd = Program((X, Z), (), (p.variable_assign("w", p.subtract(w, p.sqrt(p.abs_(gradient)))),))
    made = Epilogues(library("multiply", "subtract"), smallest=1)
    assert steps(made(plain)) == [["dot_general", "multiply", "subtract"]]
    assert steps(made(odd)) == [["dot_general"], ["abs", "sqrt", "subtract"]]


@given(programs())
@settings(max_examples=40, deadline=None)
def test_random_programs_keep_their_values(program: Program) -> None:
    pipeline = Pipeline("gpu", (*(stage for stage in DEFAULT.passes if stage[0] not in ("fuse", "order")),
                                ("fuse", Epilogues(library("add", "multiply"), smallest=1)), ("order", Order())))
    stages = run_pipeline(program, pipeline)
    assert not [stage.problem for stage in stages if stage.problem]
    after = verify(stages[-1].program)
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal(node.dims, np.float32) for node in program.parameters]
    state = {name: rng.standard_normal(t.dims, np.float32) for name, t in program.variables.items()}
    with np.errstate(all="ignore"):
        (outputs, written), (want, want_written) = interpret(after, feeds, state), interpret(program, feeds, state)
    for got, expected in zip((*outputs, *written.values()), (*want, *want_written.values()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3 * max(1.0, float(np.max(np.abs(expected), initial=0))))
    expressible = library("add", "multiply")
    for node in after.nodes:
        if node.name == "fusion" and node.attrs.kind == "dot":
            bare = next(filter(is_product, node.attrs.body.nodes))
            assert expressible(node) or multiplications(bare) < 1
