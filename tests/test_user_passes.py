"""Passes and rules by users: what patterns find, what is refused with which words, and that a wrong pass never breaks a compilation."""
from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Origin, Program
from graphc.core.verify import verify
from graphc.passes import (
    Pipeline,
    Rewrite,
    Rule,
    WrongRule,
    check,
    map_nodes,
    number,
    op,
    replace_nodes,
    rule,
    run_pipeline,
    sample,
)
from graphc.passes.pipelines import DEFAULT, for_gpu
from graphc.runtime.check import WrongPass
from tests.executing import execute
from tests.random_programs import programs

F32, I32 = dtypes.float32, dtypes.int32
X, Y, Z = (sample(F32, 3, 5, name=name) for name in "xyz")
I = sample(I32, 3, 5, name="i")  # noqa: E741


def full(value: Any, like: Node = X) -> Node:
    return p.full(value, like.type)


def found(pattern: Any, node: Node) -> list[dict[str, Any]]:
    """Every way in which the pattern finds itself in `node`."""
    return [dict(bound) for bound in pattern.matches(node, {})]


def program_of(output: Node) -> Program:
    nodes = Program((), (output,)).nodes
    return Program(tuple(node for node in nodes if node.name == "parameter"), (output,))


# Patterns -------------------------------------------------------------------------------------------------------------------------------

def test_names_find_operands_in_their_places() -> None:
    assert found(op.subtract("a", "b"), p.subtract(X, Y)) == [{"a": X, "b": Y}]
    assert found(op.subtract("a", "b"), p.add(X, Y)) == []
    assert found(op.negate(op.subtract("a", "b")), p.negate(p.negate(X))) == []


def test_what_commutes_is_tried_both_ways() -> None:
    assert found(op.add("a", "b"), p.add(X, Y)) == [{"a": X, "b": Y}, {"a": Y, "b": X}]
    assert found(op.add("a", op.negate("b")), p.add(p.negate(X), Y)) == [{"a": Y, "b": X}]
    both = p.multiply(p.add(X, Y), p.add(Y, Z))  # common factors: y is second there and first here
    assert {"y": Y, "a": X, "b": Z} in found(op.multiply(op.add("a", "y"), op.add("b", "y")), both)


def test_a_name_that_stands_twice_is_one_node() -> None:
    assert found(op.subtract("a", "a"), p.subtract(X, Y)) == []
    assert found(op.subtract("a", "a"), p.subtract(X, X)) == [{"a": X}]
    product = p.multiply(X, Y)
    assert found(op.add("a", op.multiply("a", "b")), p.add(product, Y)) == [{"a": Y, "b": X}]


@pytest.mark.parametrize(("wanted", "node", "matches"), [
    (0, full(0.0), True), (0, full(-0.0), False), (-0.0, full(-0.0), True), (0.1, full(0.1), True), (0.1, full(0.2), False),
    (np.nan, full(np.nan), True), (1, full(1, I), True), (1.5, full(1, I), False),
    (300, p.full(44, sample(dtypes.uint8, 2).type), False),
    (True, p.full(True, sample(dtypes.bool, 2).type), True), (1, p.full(True, sample(dtypes.bool, 2).type), False),
    (2, p.constant([2.0, 3.0]), False), (2, X, False), (2, p.full(2, sample(dtypes.bfloat16, 3).type), True)])
def test_a_number_finds_a_constant_of_that_value_everywhere(wanted: Any, node: Node, matches: bool) -> None:
    other = sample(node.dtype, *node.dims)
    pattern = op.select("p", "other", wanted)
    which = sample(dtypes.bool, *node.dims, name="p")
    assert bool(found(pattern, p.select(which, other, node))) is matches


def test_numbers_by_name_give_their_value() -> None:
    (bound,) = found(op.maximum("a", number("c")), p.maximum(full(3.0), X))
    assert (bound["a"], bound["c"]) == (X, np.float32(3))
    twice = op.maximum(op.minimum("a", number("c")), number("c"))
    assert len(found(twice, p.maximum(p.minimum(X, full(2.0)), full(2.0)))) == 1
    assert found(twice, p.maximum(p.minimum(X, full(2.0)), full(4.0))) == []


def test_attributes_are_compared_and_nodes_named() -> None:
    less = p.compare(X, Y, "LT")
    assert len(found(op.compare("a", "b", direction="LT"), less)) == 1
    assert found(op.compare("a", "b", direction="GT"), less) == []
    total = p.reduce_sum(X, (1,))
    (bound,) = found(op.negate(op.reduce_sum("a").called("total")), p.negate(total))
    assert bound["total"] is total


@pytest.mark.parametrize(("build", "kind", "words"), [
    (lambda: op.negat("x"), AttributeError, "no primitive is called 'negat'; did you mean negate?"),
    (lambda: op.add("x"), TypeError, "op.add takes 2 operands, not 1"),
    (lambda: op.compare("x", "y", way="LT"), TypeError, "op.compare has no attribute 'way'; it has direction"),
    (lambda: op.add("x", None), TypeError, "an operand of a pattern is a pattern, a name or a number; got NoneType"),
    (lambda: op.add("x", "node"), ValueError, "is that of an argument, and not \"node\", which is the whole; got 'node'"),
    (lambda: number("not a name"), ValueError, "got 'not a name'")])
def test_wrong_patterns_say_what_is_wrong(build: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert words in str(caught.value)


# Rules ----------------------------------------------------------------------------------------------------------------------------------

@rule("negated difference", "-(x - y) = y - x", op.negate(op.subtract("x", "y")))
def negated_difference(x: Node, y: Node) -> Node:
    return p.subtract(y, x)


def test_a_rule_by_pattern_is_a_rule() -> None:
    assert isinstance(negated_difference, Rule)
    assert (negated_difference.name, negated_difference.root, negated_difference.exact) == ("negated difference", "negate", True)
    after = Rewrite((negated_difference,))(program_of(p.exponential(p.negate(p.subtract(X, Y)))))
    assert after.outputs == (p.exponential(p.subtract(Y, X)),)


def test_a_rule_gets_an_example_of_the_types_that_its_pattern_takes() -> None:
    assert negated_difference.examples == (p.negate(p.subtract(X, Y)),)
    masked = rule("no choice", "select(p, x, x) = x", op.select("p", "x", "x"))(lambda x: x)
    assert [operand.dtype.code for operand in masked.examples[0].operands] == ["pred", "f32", "f32"]
    whole = rule("of integers", "x - x = 0", op.subtract("x", "x"))(lambda node: 0 if node.dtype.is_integer else None)
    assert whole.examples[0].dtype is I32
    check(whole)


def test_a_number_stands_for_that_value_everywhere() -> None:
    itself = rule("itself", "x xor x = 0", op.xor("x", "x"))(lambda: 0)
    assert itself.apply(p.xor(I, I)) is full(0, I)


def test_a_rule_reads_attributes_of_what_it_found() -> None:
    """sum(-x) = -sum(x), for whatever axes: the pattern asks for none."""
    wide = sample(F32, 2, 3, 4)
    negated = rule("sum of negated", "sum(-x) ~ -sum(x)", op.reduce_sum(op.negate("x")), [p.reduce_sum(p.negate(wide), (0, 2))])(
        lambda node, x: p.negate(p.reduce_sum(x, node.attrs.axes)))
    check(negated)
    outer = rule("twice", "max(max(x)) = max(x)", op.reduce_max(op.reduce_max("x").called("inner")),
                 [p.reduce_max(p.reduce_max(wide, (2,)), (1,))])(lambda inner, x: p.reduce_max(x, (1, *inner.attrs.axes)))
    check(outer)
    less = rule("not less", "not (x < y) = x >= y", op.not_(op.compare("x", "y", direction="LT")))(lambda x, y: p.compare(x, y, "GE"))
    assert less.examples == (p.not_(p.compare(X, Y, "LT")),)
    with pytest.raises(WrongRule, match=r"at \[.*\] expected True, got False"):
        check(less)  # NaN is neither


def test_another_match_is_tried_where_the_function_says_none() -> None:
    """Only the second way to see a + b has the operand that is wanted first."""
    seen: list[tuple[Node, Node]] = []

    @rule("wanted first", "a + b = a + b", op.add("a", "b"), examples=[p.add(X, p.negate(Y))])
    def wanted_first(a: Node, b: Node) -> Node | None:
        seen.append((a, b))
        return p.subtract(b, a.operands[0]) if a.name == "negate" else None

    seen.clear()
    assert wanted_first.apply(p.add(X, p.negate(Y))) is p.subtract(X, Y)
    assert seen == [(X, p.negate(Y)), (p.negate(Y), X)]


def _rule(function: Any, pattern: Any = None, maths: str = "-x = x", examples: Any = ()) -> Rule:
    return rule("mine", maths, op.negate("x") if pattern is None else pattern, examples)(function)


@pytest.mark.parametrize(("build", "kind", "words"), [
    (lambda: _rule(lambda y: y), ValueError, "rule 'mine' asks for 'y'; its pattern names x"),
    (lambda: _rule(lambda x: x, maths="obvious"), ValueError, "rule 'mine': say what it states with \"=\", or \"~\" where rounding"),
    (lambda: _rule(lambda x: x, "x"), TypeError, "rule 'mine': its pattern must be an operation, as in op.negate(\"x\"); got str"),
    (lambda: _rule(lambda x: x, op.add("x", op.multiply("y", number("x")))), ValueError,
     "rule 'mine': 'x' names a number and a node: give them two names"),
    (lambda: _rule(lambda x: None), ValueError, "no example of its pattern could be made on which it fires; give it one: examples=[...]"),
    (lambda: _rule(lambda x: x, op.reduce_sum("x")), ValueError, "rule 'mine': no example of its pattern could be made"),
    (lambda: _rule(lambda x: x, examples=[p.exponential(X)]), ValueError, "rule 'mine' does not fire on its example <exponential"),
    (lambda: _rule(lambda x: x, examples=["-x"]), TypeError, "rule 'mine': an example is a node; got str"),
    (lambda: _rule(lambda x: p.reduce_sum(x, (1,))), TypeError, "rule 'mine' changed the type of <negate(parameter): f32[3,5]> to f32[3]"),
    (lambda: _rule(lambda x: [x]), TypeError, "rule 'mine' gave a list for <negate(parameter): f32[3,5]>: it must give a node, a number"),
    (lambda: _rule(lambda x: x.anything), AttributeError, "'Node' object has no attribute 'anything'")])
def test_wrong_rules_say_what_is_wrong(build: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert words in str(caught.value)


def test_check_finds_rules_that_change_values() -> None:
    check(negated_difference)
    with pytest.raises(WrongRule, match=r"rule 'mine' \(-x = x\) changes the value of <negate\(.*f32\[3,5\]>: at \[0, 0\] expected"):
        check(_rule(lambda x: x))
    of_infinity = rule("mine", "x - x = 0", op.subtract("x", "x"))(lambda: 0)
    with pytest.raises(WrongRule, match="expected nan, got 0"):
        check(of_infinity)
    check(rule("mine", "x - x ~ 0", op.subtract("x", "x"))(lambda: 0))  # up to rounding, and to what is not finite
    check(rule("mine", "x c + y c ~ (x + y) c", op.add(op.multiply("x", number("c")), op.multiply("y", number("c"))))(
        lambda node, x, y, c: p.multiply(p.add(x, y), p.full(c, node.type))))


# Passes ---------------------------------------------------------------------------------------------------------------------------------

def test_map_nodes_replaces_over_new_operands_and_keeps_origins() -> None:
    inner, outer = p.exponential(X), p.exponential(p.exponential(X))
    program = Program((X,), (outer,), origins={inner: (Origin("first", source="a.py:1"),), outer: (Origin("second"),)})
    after = map_nodes(program, lambda node: p.tanh(*node.operands) if node.name == "exponential" else None)
    assert after.outputs == (p.tanh(p.tanh(X)),)
    assert [str(after.origins[node][0]) for node in after.nodes[1:]] == ["first (a.py:1)", "second"]
    assert map_nodes(program, lambda node: None) is program
    with pytest.raises(TypeError, match=r"<exponential\(parameter\): f32\[3,5\]> was replaced by another type: f32\[3\]"):
        map_nodes(program, lambda node: p.reduce_sum(node, (1,)) if node.name == "exponential" else None)


def test_replace_nodes_rebuilds_what_reads_them() -> None:
    inner = p.exponential(X)
    program = Program((X,), (p.negate(inner),), (p.variable_assign("v", inner),), origins={inner: (Origin("first"),)})
    after = replace_nodes(program, {inner: p.abs_(inner)})
    assert (after.outputs, after.effects) == ((p.negate(p.abs_(inner)),), (p.variable_assign("v", p.abs_(inner)),))
    assert after.origins[p.abs_(inner)] == (Origin("first"),)


def nothing(program: Program) -> Program:
    return program


def test_pipelines_take_passes_before_after_and_in_place() -> None:
    def names(pipeline: Pipeline) -> list[str]:
        return [name for name, _ in pipeline.passes]

    own = DEFAULT.after("simplify", "mine", nothing)
    assert names(own) == ["expand", "real", "simplify", "mine", "split", "fuse", "order"]
    assert str(own) == "default with mine"
    assert names(DEFAULT.before("fuse", "mine", nothing)) == ["expand", "real", "simplify", "split", "mine", "fuse", "order"]
    assert names(DEFAULT.after("specialise", "mine", nothing))[0] == "mine"
    assert dict(DEFAULT.replaced("split", nothing).passes)["split"] is nothing
    assert names(own.without("mine", "fuse")) == ["expand", "real", "simplify", "split", "order"]
    rules = dict(DEFAULT.after("simplify", "mine", [negated_difference]).passes)["mine"]
    assert rules == Rewrite((negated_difference,), "mine")
    assert dict(DEFAULT.after("simplify", "mine", negated_difference).passes)["mine"] == rules


@pytest.mark.parametrize(("build", "kind", "words"), [
    (lambda: DEFAULT.after("simplfy", "mine", nothing), ValueError,
     "no stage 'simplfy' in the pipeline 'default'; there are expand, real, simplify, split, fuse, order"),
    (lambda: DEFAULT.without("mine"), ValueError, "no stage 'mine' in the pipeline 'default'"),
    (lambda: DEFAULT.after("simplify", "fuse", nothing), ValueError, "a stage called 'fuse' is there already: give yours another name"),
    (lambda: DEFAULT.after("simplify", "recompute", nothing), ValueError, "a stage called 'recompute' is there already"),
    (lambda: DEFAULT.after("simplify", "", nothing), TypeError, "a stage's name is a string; got ''"),
    (lambda: DEFAULT.after("simplify", "mine", 3), TypeError,
     "stage 'mine': a pass is a function Program -> Program, a Rule or a list of Rules; got 3"),
    (lambda: DEFAULT.replaced("fuse", []), TypeError, "stage 'fuse': a pass is a function")])
def test_wrong_stages_say_what_is_wrong(build: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert words in str(caught.value)


# In a compilation -----------------------------------------------------------------------------------------------------------------------

def step() -> tuple[list[Any], dict[Any, Any]]:
    """A training step whose forward pass holds a -(x - y)."""
    x = gc.placeholder(gc.float32, [6, 4], name="x")
    y = gc.layers.dense(x, 3, activation=gc.tanh, kernel_initializer=gc.ones_initializer())
    loss = gc.reduce_mean(gc.square(-(y - 0.5 * gc.ones_like(y) * y)))
    return [loss, gc.train.GradientDescentOptimizer(0.1).minimize(loss)], {x: np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)}


def results(pipeline: Any, fetches: list[Any], feeds: dict[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The loss of three steps, and the variables after them."""
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
        session.run(gc.global_variables_initializer())
        losses = [session.run(fetches, feeds)[0] for _ in range(3)]
        return [*losses, *session.run(gc.trainable_variables())]


def double_negation(program: Program) -> Program:
    """x = -(-x), to be seen in the result: nothing else changes."""
    return map_nodes(program, lambda node: p.negate(p.negate(node)) if node.name == "tanh" else None)


PLACES: dict[str, Callable[[Pipeline, Any], Pipeline]] = {
    "first": lambda pipeline, given: pipeline.after("specialise", "mine", given),
    "after simplify": lambda pipeline, given: pipeline.after("simplify", "mine", given),
    "before fuse": lambda pipeline, given: pipeline.before("fuse", "mine", given),
    "before order": lambda pipeline, given: pipeline.before("order", "mine", given),
    "last": lambda pipeline, given: pipeline.after("order", "mine", given)}


def turned(program: Program) -> Program:
    """All effects and outputs by way of -(-x): a program with another last step wherever there was one."""
    return replace_nodes(program, {node: p.negate(p.negate(node)) for node in dict.fromkeys(
        (*program.outputs, *(effect.operands[0] for effect in program.effects)))})


@pytest.mark.parametrize("pass_", [double_negation, turned], ids=["double_negation", "turned"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.filterwarnings("error")
def test_a_pass_works_anywhere_in_a_pipeline(place: str, pass_: Any) -> None:
    fetches, feeds = step()
    for expected, given in zip(results("default", fetches, feeds), results(PLACES[place](DEFAULT, pass_), fetches, feeds), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_what_no_kernel_knows_may_be_made_by_a_pass_too() -> None:
    """x 1 as a convolution with one filter of one pixel, after the stage that takes convolutions apart."""
    def as_convolution(program: Program) -> Program:
        def apply(node: Node) -> Node | None:
            if node.name != "tanh":
                return None
            image = p.reshape(node, (1, *node.dims, 1))
            return p.reshape(p.convolution(image, p.full(1.0, sample(F32, 1, 1, 1, 1).type)), node.dims)
        return map_nodes(program, apply)

    fetches, feeds = step()
    expected, given = (results(pipeline, fetches, feeds) for pipeline in ("default", DEFAULT.after("simplify", "mine", as_convolution)))
    for one, other in zip(expected, given, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5)


def test_a_users_stage_shows_in_everything(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    fetches, feeds = step()
    own = DEFAULT.before("simplify", "mine", negated_difference)
    monkeypatch.setenv("GRAPHC_DEBUG", "2")
    with caplog.at_level("INFO", logger="graphc"), gc.Session(config=gc.ConfigProto(pipeline=own)) as session:
        plan = session.compile(fetches, feeds)
        assert "default with mine" in repr(session)
    (stage,) = [stage for stage in plan.stages if stage.name == "mine"]
    assert [str(applied) for applied in stage.applied] == ["negated difference: -(x - y) = y - x"]
    assert "program after mine" in caplog.text
    assert f"specialise {len(plan.stages[0].program.nodes)} nodes, mine {len(stage.program.nodes)} nodes" in caplog.text


def test_origins_stay_where_a_pass_forgets_them() -> None:
    inner, outer = p.exponential(X), p.tanh(p.exponential(X))
    program = Program((X,), (outer,), origins={inner: (Origin("inner"),), outer: (Origin("outer"),)})
    own = Pipeline("own", (("mine", lambda given: Program(given.parameters, (p.negate(p.negate(inner)),))),))
    after = run_pipeline(program, own)[-1].program
    assert [str(after.origins[node][0]) for node in after.nodes[1:]] == ["inner", "outer", "outer"]


def test_a_pass_that_fails_has_applied_no_rule() -> None:
    late = Rewrite((negated_difference, Rule("late", "x = ?", "tanh", lambda node: p.convert(node, dtypes.float64))))
    program = program_of(p.tanh(p.negate(p.subtract(X, Y))))
    stage = run_pipeline(program, Pipeline("own", (("mine", late),)))[-1]
    assert stage.problem.startswith("TypeError: rule 'late' changed the type")
    assert (stage.program, stage.applied, stage.became) == (program, (), {})


@examples(programs(), st.sampled_from(sorted(PLACES)))
@settings(max_examples=15)
def test_random_programs_keep_their_values_with_a_pass_anywhere(program: Program, place: str) -> None:
    """Every floating node by way of -(-x): the compiled code gives what the interpreter gives for the program without it."""
    def everywhere(before: Program) -> Program:
        return map_nodes(before, lambda node: p.negate(p.negate(node)) if node.operands and not node.is_tuple
                         and node.name not in ("variable_assign", "get_tuple_element") and node.dtype.is_floating else None)

    random = np.random.default_rng(0)
    feeds = [random.uniform(0.1, 1, each.type.dims).astype(each.dtype.np_dtype) for each in program.parameters]
    variables = {name: random.uniform(0.1, 1, type_.dims).astype(type_.dtype.np_dtype) for name, type_ in program.variables.items()}
    expected, written = interpret(program, feeds, variables)
    given, updated = execute(program, feeds, variables, PLACES[place](DEFAULT, everywhere))
    for value, wanted in (*zip(given, expected, strict=True), *((updated[name], value) for name, value in written.items())):
        scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
        np.testing.assert_allclose(value, wanted, rtol=2e-3, atol=2e-3 * scale)


def test_a_gpu_keeps_passes_of_ones_own() -> None:
    fetches, feeds = step()
    own = DEFAULT.after("simplify", "mine", double_negation).after("order", "last", nothing)
    assert [name for name, _ in for_gpu(own).passes] == [
        "expand", "real", "simplify", "sorted scatters", "mine", "split", "fuse", "recompute", "order", "last", "together"]
    with gc.Session(config=gc.ConfigProto(pipeline=own)) as session:
        plan = session.compile(fetches, feeds, target="sm_90")
    (stage,) = [stage for stage in plan.stages if stage.name == "mine"]
    assert not stage.problem
    before = plan.stages[plan.stages.index(stage) - 1].program
    assert _negations(stage.program) == _negations(before) + 2


def test_every_piece_of_a_graph_goes_through_a_users_pass() -> None:
    """A graph that runs in stages, on two devices: what is compiled for each has the stage, and the results stay."""
    x = gc.placeholder(gc.float32, [None])
    with gc.device("/cpu:1"):
        picked = gc.boolean_mask(gc.tanh(x), x > 0)
    value = np.linspace(-1, 2, 7, dtype=np.float32)
    own = gc.ConfigProto(pipeline=DEFAULT.after("simplify", "mine", double_negation), device_count={"CPU": 2})
    with gc.Session(config=own) as session:
        np.testing.assert_allclose(session.run(gc.exp(picked), {x: value}), np.exp(np.tanh(value[value > 0])), rtol=1e-6)
        plan = session.compile(gc.exp(gc.tanh(x)), {x: value})
    assert "mine" in [stage.name for stage in plan.stages]


def _negations(program: Program) -> int:
    return sum(node.name == "negate" for node in program.nodes)


def test_verify_names_a_users_pass_that_changes_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    fetches, feeds = step()
    wrong = DEFAULT.after("simplify", "mine", lambda program: map_nodes(
        program, lambda node: p.negate(node) if node.name == "tanh" else None))
    with gc.Session(config=gc.ConfigProto(pipeline=wrong)) as session, pytest.raises(WrongPass, match="'mine'"):
        session.compile(fetches, feeds)


def _first_tanh(program: Program) -> Node:
    return next(node for node in program.nodes if node.name == "tanh")


BAD: dict[str, tuple[Callable[[Program], Any], str]] = {
    "raises": (lambda program: 1 / 0, r"PassFailed: it raised ZeroDivisionError at test_user_passes.py:\d+: division by zero"),
    "misuses": (lambda program: [p.add(X, I) for _ in program.nodes], r"it raised TypeError at test_user_passes.py:\d+: "),
    "no attribute": (lambda program: program.nothing, "it raised AttributeError"),
    "stops": (lambda program: next(iter(())), "it raised StopIteration"),
    "asserts": (lambda program: (_ for _ in ()).throw(AssertionError("so it is not")), "it raised AssertionError .*: so it is not"),
    "nothing": (lambda program: None, "it gave None, not a Program"),
    "a node": (lambda program: program.outputs[0], "it gave a Node, not a Program"),
    "no order": (lambda program: Program(program.parameters, program.outputs, program.effects, program.nodes[::-1]),
                 "it made an invalid program: P1: operand .* does not stand before its user"),
    "missing": (lambda program: Program(program.parameters, program.outputs, program.effects,
                                        tuple(n for n in program.nodes if n is not _first_tanh(program))), "P1: operand <tanh"),
    "another type": (lambda program: Program(program.parameters, (p.convert(program.outputs[0], dtypes.float64),), program.effects),
                     r"it changed the types of the outputs from f32\[\] to f64\[\]"),
    "fewer outputs": (lambda program: Program(program.parameters, (), program.effects), r"from f32\[\] to none"),
    "no effects": (lambda program: Program(program.parameters, program.outputs), "it no longer writes variable dense/bias"),
    "a variable": (lambda program: Program(program.parameters, (p.variable_read("new", program.outputs[0].type),), program.effects),
                   r"it uses a variable new of type f32\[\], which the program before does not"),
    "an effect": (lambda program: Program(program.parameters, program.outputs, (*program.effects, program.effects[0])),
                  "P4: a variable is written twice"),
    "a parameter": (lambda program: Program((*program.parameters, X), program.outputs, program.effects), "it changed the parameters"),
    "unlisted": (lambda program: Program((), program.outputs, program.effects), "P3: a parameter is not listed"),
    "arrays": (lambda program: Program(program.parameters, (cast(Any, np.zeros(3)),), program.effects), "it raised|it made an invalid"),
    "a rule": (Rewrite((Rule("bad", "x = ?", "tanh", lambda node: cast(Any, node).missing),)), "rule 'bad' failed on <tanh"),
    "a rule that gives text": (Rewrite((Rule("bad", "x = ?", "tanh", lambda node: cast(Any, "x")),)), "it raised AttributeError"),
    "a loop": (Rewrite((Rule("there", "x = -(-x)", "tanh", lambda node: p.negate(p.negate(node))),)), "not come to an end; .*there: <tanh"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_pass_is_named_and_left_out(name: str) -> None:
    """The message, and results that are those without the pass, to the bit: nothing that it made is used."""
    wrong, words = BAD[name]
    fetches, feeds = step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = results(DEFAULT.after("simplify", "mine", wrong), fetches, feeds)
    told = [str(each.message) for each in caught if "pass 'mine' failed and was left out: " in str(each.message)]
    assert any(re.search(words, each.replace("\n", " ")) for each in told), told  # the initialiser is compiled with it, too
    for expected, value in zip(results("default", fetches, feeds), given, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_passes_of_the_house_are_not_verified_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[Program] = []
    monkeypatch.setattr("graphc.passes.users.verify", lambda program: verified.append(program) or verify(program))
    program = program_of(p.negate(p.subtract(X, Y)))
    run_pipeline(program, DEFAULT)
    run_pipeline(program, DEFAULT.without("fuse"))
    assert not verified
    run_pipeline(program, DEFAULT.after("simplify", "mine", negated_difference))
    assert len(verified) == 1
    names: dict[str, Any] = {}
    exec("def of_no_module(program): return program", names)
    run_pipeline(program, DEFAULT.after("simplify", "mine", names["of_no_module"]).after("mine", "partial", functools.partial(nothing)))
    assert len(verified) == 3
