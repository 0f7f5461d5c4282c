"""Pipelines: the texts of well-known programs after every stage (tests/golden/passes-*.txt), and what happens around a pass.

The golden texts are read like code: a change of a pass shows there. `pytest --update-golden` writes them anew.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.parse import parse_program
from graphc.core.program import Node, Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.fuse import Fuse
from graphc.passes.order import Order
from graphc.passes.pipelines import DEFAULT, NONE, PASSES, PIPELINES, SIMPLIFY, UNFUSED, Pipeline, run_pipeline
from graphc.passes.rewrite import Rewrite, Rule
from tests import groups

F32 = dtypes.float32
GOLDEN = Path(__file__).parent / "golden"


def x_(*shape: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(F32, shape))


def softmax() -> Program:
    x = x_(4096, 1024)
    return Program((x,), groups.softmax(x))


def layer_norm() -> Program:
    x, gain, bias = x_(4096, 1024), x_(1024, name="gain"), x_(1024, name="bias")
    return Program((x, gain, bias), groups.layer_norm(x, gain, bias)[:1])


def training_step() -> Program:
    """Two layers, softmax cross-entropy, gradient descent with momentum on every variable."""
    images, labels = x_(64, 16, name="images"), x_(64, 10, name="labels")
    shapes = {"w1": (16, 32), "b1": (32,), "w2": (32, 10), "b2": (10,)}
    variables = {name: p.variable_read(name, TensorType(F32, shape)) for name, shape in shapes.items()}
    before = p.dot_general(images, variables["w1"], (), (), (1,), (0,))
    hidden = p.tanh(p.add(before, groups.columns(variables["b1"], before)))
    product = p.dot_general(hidden, variables["w2"], (), (), (1,), (0,))
    logits = p.add(product, groups.columns(variables["b2"], product))
    shifted = p.subtract(logits, groups.rows(p.stop_gradient(p.reduce_max(logits, (1,))), logits))
    log_total = groups.rows(p.log(p.reduce_sum(p.exponential(shifted), (1,))), logits)
    losses = p.reduce_sum(p.multiply(labels, p.subtract(log_total, shifted)), (1,))
    loss = groups.scaled(p.reduce_sum(losses, (0,)), 1 / 64)
    effects = []
    for (name, variable), gradient in zip(variables.items(), vjp([loss], list(variables.values()), [p.full(1.0, loss.type)]), strict=True):
        assert gradient is not None
        slot = p.variable_read(f"{name}/momentum", variable.type)
        momentum = p.add(groups.scaled(slot, 0.9), gradient)
        effects += [p.variable_assign(f"{name}/momentum", momentum),
                    p.variable_assign(name, p.subtract(variable, groups.scaled(momentum, 0.1)))]
    return Program((images, labels), (loss,), tuple(effects))


@pytest.mark.parametrize("build", [softmax, layer_norm, training_step], ids=lambda build: build.__name__)
def test_stages_have_the_text_that_was_reviewed(build: object, request: pytest.FixtureRequest) -> None:
    assert callable(build)
    stages = run_pipeline(build(), DEFAULT)
    text = "\n\n".join(f"{stage.name}:\n{print_program(stage.program)}" for stage in stages) + "\n"
    for stage in stages:
        assert not stage.problem
        assert parse_program(print_program(stage.program)) == verify(stage.program)
    path = GOLDEN / f"passes-{build.__name__.replace('_', '-')}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} differs; if the new text is better, run pytest with --update-golden"


def test_a_training_step_is_nine_kernels() -> None:
    """hidden; logits; losses with their gradient; their sum; the gradient of the hidden layer; of two weights and two biases, each with its
    update."""
    final = run_pipeline(training_step(), DEFAULT)[-1].program
    kernels = [n for n in final.nodes if n.name == "fusion"]
    assert sorted(n.attrs.kind for n in kernels) == ["column", "column", "dot", "dot", "dot", "dot", "dot", "row", "row"]
    stored = [t.dims for n in kernels for t in n.types]
    assert stored.count((64, 10)) == 2, "logits and their gradient"
    assert stored.count((64, 32)) == 2, "the hidden layer and its gradient: 1 - tanh(x)**2 is made again where it is used"


def test_every_pipeline_is_a_list_of_known_passes() -> None:
    assert set(PIPELINES) == {"default", "unfused", "none"}
    for pipeline in PIPELINES.values():
        assert all(name in PASSES for name, _ in pipeline.passes)
        assert pipeline.passes[-1][0] == "order"


def test_a_pipeline_without_a_stage() -> None:
    shorter = DEFAULT.without("split", "fuse")
    assert [name for name, _ in shorter.passes] == ["expand", "real", "simplify", "order"]
    assert shorter.name == "default without split, fuse"
    assert [stage.name for stage in run_pipeline(softmax(), shorter)] == ["specialise", "simplify", "order"]


def test_a_pass_that_fails_is_reported_and_left_out() -> None:
    broken = Rewrite((Rule("never", "x = y", "exponential", lambda node: p.convert(node, dtypes.float64)),))
    program = softmax()
    stages = run_pipeline(program, Pipeline("odd", (("broken", broken), ("fuse", Fuse()), ("order", Order()))))
    assert stages[1].problem.startswith("TypeError: rule 'never' changed the type of <exponential")
    assert stages[1].program is program
    assert [n.attrs.kind for n in stages[-1].program.nodes if n.name == "fusion"] == ["row"]


@pytest.mark.parametrize("name", PASSES)
def test_passes_are_functions_of_the_program_alone(name: str) -> None:
    program = training_step()
    before = print_program(program)
    once, twice = PASSES[name](program), PASSES[name](program)
    assert once == twice
    assert once.nodes == twice.nodes
    assert print_program(program) == before
    verify(once)


def test_unfused_and_none_differ_by_the_rules_only() -> None:
    steps = {pipeline.name: run_pipeline(training_step(), pipeline)[-1].program for pipeline in (DEFAULT, UNFUSED, NONE)}
    counted = {name: len([n for n in program.nodes if n.name not in ("parameter", "constant", "variable_read", "variable_assign",
                                                                    "get_tuple_element", "reshape")]) for name, program in steps.items()}
    assert counted["default"] < counted["unfused"] < counted["none"]


def test_simplify_leaves_no_constants_to_fold() -> None:
    after = SIMPLIFY(training_step())
    users = after.users()
    for node in after.nodes:
        if node.operands and all(operand.name == "constant" for operand in node.operands):
            assert node.name in ("broadcast_in_dim", "variable_assign"), (node, users[node])


def test_a_session_takes_a_pipeline_of_ones_own() -> None:
    x = gc.placeholder(gc.float32, [5, 7])
    y = gc.nn.softmax(x * 2.0)
    value = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    own = gc.pipelines["default"].without("fuse")
    assert isinstance(own, gc.Pipeline)
    with gc.Session() as fused, gc.Session(config=gc.ConfigProto(pipeline=own)) as bare:
        assert len(bare.compile(y, {x: value}).kernels) > len(fused.compile(y, {x: value}).kernels)
        assert "fuse" not in [stage.name for stage in bare.compile(y, {x: value}).stages]
        np.testing.assert_allclose(bare.run(y, {x: value}), fused.run(y, {x: value}), rtol=1e-5)
