"""Products that absorb the maps behind them: what merges, what must stay apart, and that values are the same."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.absorb import Absorb
from graphc.passes.order import Order
from graphc.passes.pipelines import UNFUSED, run_pipeline
from graphc.passes.storage import is_step
from tests.random_programs import programs
from tests.test_random_programs import _agree, _values


def always(node: Node) -> bool:
    return True


def x_(*dims: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(dtypes.float32, dims))


def steps(program: Program) -> list[str]:
    """What each step computes, in order: the primitives in it."""
    found = []
    for node in filter(is_step, Order()(program).nodes):
        body = node.attrs.body.nodes if node.name == "fusion" else [node]
        found.append(" ".join(each.name for each in body if each.name not in ("parameter", "constant", "broadcast_in_dim")))
    return found


def check(before: Program, expressible: Callable[[Node], bool] = always) -> Program:
    """What `Absorb` makes of `before`: valid, and of the same values."""
    after = Absorb(expressible)(before)
    verify(after)
    feeds, variables = _values(before, 1)
    wanted, written = interpret(before, feeds, variables)
    got, updated = interpret(after, feeds, variables)
    for a, b, node in zip(got, wanted, before.outputs, strict=True):
        _agree(a, b, node.dtype)
    assert updated.keys() == written.keys()
    for name, value in written.items():
        _agree(updated[name], value, before.variables[name].dtype)
    return after


def test_an_activation_joins_its_product_and_the_argument_stays_for_others() -> None:
    x, w = x_(4, 5), x_(5, 6, name="w")
    u = p.dot_general(x, w, (), (), (1,), (0,))
    g = p.tanh(u)
    later = p.reduce_sum(p.multiply(g, u), (0, 1))
    assert steps(check(Program((x, w), (g, later)))) == ["dot_general tanh", "multiply", "reduce_sum"]


def test_a_chain_behind_a_product_joins_from_its_first_map_on() -> None:
    x, w, z = x_(4, 5), x_(5, 6, name="w"), x_(4, 6, name="z")
    product = p.dot_general(x, w, (), (), (1,), (0,))
    assert steps(check(Program((x, w, z), (p.multiply(product, z),)))) == ["dot_general multiply"]


def test_only_what_is_expressible_joins() -> None:
    x, w = x_(4, 5), x_(5, 6, name="w")
    program = Program((x, w), (p.tanh(p.dot_general(x, w, (), (), (1,), (0,))),))
    asked: list[str] = []

    def refuses(node: Node) -> bool:
        asked.append(node.name)
        return False

    assert Absorb(refuses)(program) is program
    assert asked == ["fusion"]


def test_a_product_that_is_read_before_stays_as_it_was() -> None:
    """The sum reads the product first: to merge the later map would put a step before what it reads, or compute the product twice."""
    x, w = x_(4, 5), x_(5, 6, name="w")
    product = p.dot_general(x, w, (), (), (1,), (0,))
    total = p.reduce_sum(product, (0, 1))
    scaled = p.multiply(product, p.broadcast_in_dim(total, (4, 6), ()))
    program = Program((x, w), (total, scaled))
    assert Absorb(always)(program) is program


def test_maps_at_other_places_do_not_join() -> None:
    x, w, z = x_(4, 5), x_(5, 6, name="w"), x_(6, 4, name="z")
    product = p.dot_general(x, w, (), (), (1,), (0,))
    turned = p.add(p.transpose(product, (1, 0)), z)
    assert not any("dot_general add" in step for step in steps(check(Program((x, w, z), (turned,)))) if "transpose" not in step)


def test_two_products_do_not_join_through_a_map() -> None:
    x, w, v = x_(4, 5), x_(5, 6, name="w"), x_(5, 6, name="v")
    one, other = (p.dot_general(x, each, (), (), (1,), (0,)) for each in (w, v))
    assert sorted(steps(check(Program((x, w, v), (p.add(one, other),))))) == ["add", "dot_general", "dot_general"]


def test_origins_of_both_go_with_what_they_became() -> None:
    x, w = x_(4, 5), x_(5, 6, name="w")
    product = p.dot_general(x, w, (), (), (1,), (0,))
    result = p.tanh(product)
    origins = {product: (Origin("MatMul", "MatMul"),), result: (Origin("Tanh", "Tanh"),)}
    after = Absorb(always)(Program((x, w), (result,), origins=origins))
    assert [origin.operation for origin in after.origins[after.outputs[0]]] == ["MatMul", "Tanh"]


def test_nothing_to_do_leaves_the_program_as_it_is() -> None:
    x = x_(3)
    program = Program((x,), (p.tanh(x),))
    assert Absorb(always)(program) is program


@given(programs(), st.integers(0, 1000))
@settings(max_examples=120)
def test_random_programs_mean_the_same(program: Program, seed: int) -> None:
    unfused = run_pipeline(program, UNFUSED)[-1].program
    after = Absorb(always)(unfused)
    verify(after)
    feeds, variables = _values(program, seed)
    wanted, written = interpret(program, feeds, variables)
    got, updated = interpret(after, feeds, variables)
    for a, b, node in zip(got, wanted, program.outputs, strict=True):
        _agree(a, b, node.dtype)
    for name, value in written.items():
        _agree(updated.get(name, variables[name]), value, program.variables[name].dtype)


def test_a_training_step_keeps_gelus_argument_beside_its_value() -> None:
    """cublasLt's GELU_AUX_BIAS: one call for product, bias, activation, and what the gradient needs."""
    random = np.random.default_rng(0)
    with gc.Graph().as_default() as graph:
        x = gc.placeholder(gc.float32, [512, 256])
        w, v = (gc.Variable(random.standard_normal(shape, np.float32)) for shape in ((256, 512), (512, 256)))
        b = gc.Variable(np.zeros(512, np.float32))
        y = gc.matmul(gc.nn.gelu(gc.matmul(x, w) + b, approximate=True), v)
        step = gc.train.GradientDescentOptimizer(0.1).minimize(gc.reduce_mean(gc.square(y - x)))
        session = gc.Session(graph=graph, config=gc.ConfigProto(products="cublaslt"))
        plan = session.compile(step, [x], target="sm_90")
    (activation,) = [kernel.library for kernel in plan.kernels if "gelu(A" in kernel.library]
    assert activation.startswith("cublasLt: D, aux = gelu(A*B + bias), f32 512x512x256")
