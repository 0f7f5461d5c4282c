"""A pass that changes a result is found, and in it the rule application or the node: one thing is planted, and has to be named."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.parse import parse_program
from graphc.core.program import Node, Program, make, substitute
from graphc.core.text import print_program
from graphc.passes.fuse import Fuse
from graphc.passes.pipelines import DEFAULT, SIMPLIFY, Pipeline, Stage, run_pipeline
from graphc.passes.rewrite import Rule
from graphc.passes.users import map_nodes
from graphc.primitives import add, full, multiply, negate, subtract
from graphc.runtime.check import WrongPass, check_stages, judge_stages
from graphc.runtime.check_passes import Inputs
from graphc.runtime.verdict import Culprit, Verdict

FEED = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def _declare() -> tuple[list[object], dict[gc.Tensor, np.ndarray]]:
    """A training step: products, a softmax, Adam's updates of variables in place."""
    x = gc.placeholder(gc.float32, [6, 5], name="x")
    w = gc.get_variable("w", [5, 7], initializer=gc.random_normal_initializer(seed=3))
    h = gc.tanh(gc.matmul(x, w), name="h")
    loss = gc.reduce_sum(gc.nn.softmax(h * 2.0, name="s") * h, name="loss")
    return [loss, gc.train.AdamOptimizer(0.1).minimize(loss)], {x: FEED}


def _planted(stage: str, change: Callable[[Callable[[Program], Program]], Callable[[Program], Program]]) -> Pipeline:
    """The default pipeline with the pass of one stage changed."""
    return Pipeline("planted", tuple((name, change(apply) if name == stage else apply) for name, apply in DEFAULT.passes))


def _verdict(pipeline: Pipeline) -> Verdict:
    fetches, feeds = _declare()
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
        session.run(gc.global_variables_initializer())
        return session.bisect(fetches, feeds)


def _culprit(pipeline: Pipeline) -> Culprit:
    culprit = _verdict(pipeline).culprit
    assert culprit is not None
    return culprit


def _repeats(culprit: Culprit, apply: Callable[[Program], Program]) -> None:
    """The smallest example, as its text parses, comes out of the pass with other results on random values."""
    assert culprit.example is not None
    program = parse_program(print_program(culprit.example))
    feeds = [np.random.default_rng(1).standard_normal(each.dims).astype(np.float32) for each in program.parameters]
    (before, _), (after, _) = (interpret(each, feeds) for each in (program, apply(program)))
    assert any(not np.allclose(left, right, atol=1e-3) for left, right in zip(before, after, strict=True))


# Rules -----------------------------------------------------------------------------------------------------------------------------------

def _swapped(node: Node) -> Node | None:
    """x - y = y - x, where y is spread over x: right for no other node of the program."""
    left, right = node.operands
    return subtract(right, left) if right.name == "broadcast_in_dim" and left.name != "broadcast_in_dim" else None


SWAP = Rule("swapped", "x - y = y - x", "subtract", _swapped)


@pytest.mark.parametrize("place", [0, 30, len(SIMPLIFY.rules)])
def test_a_wrong_rule_among_many_is_named(place: int) -> None:
    simplify = replace(SIMPLIFY, rules=(*SIMPLIFY.rules[:place], SWAP, *SIMPLIFY.rules[place:]))
    culprit = _culprit(_planted("simplify", lambda _: simplify))
    assert (culprit.kind, culprit.name) == ("rule", "swapped")
    assert culprit.headline.startswith("pass 'simplify' changed output 0: at [] expected ")
    assert culprit.details[0] == "rule 'swapped': x - y = y - x"
    assert culprit.details[1].startswith("from s (test_bisect_passes.py:")
    assert culprit.details[2].startswith("by itself it differs at [0, ")
    sides = parse_program(culprit.details[3].partition("\n")[2])
    assert [output.name for output in sides.outputs] == ["subtract", "subtract"]
    assert sides.outputs[0].operands == sides.outputs[1].operands[::-1]
    assert culprit.example is not None
    assert [node.name for node in culprit.example.nodes] == ["parameter", "parameter", "broadcast_in_dim", "subtract"]
    assert culprit.command == "graphc opt --pass simplify FILE"
    _repeats(culprit, simplify)


def test_the_application_is_named_not_only_the_rule() -> None:
    """The rule is right for most nodes: the one application that is wrong is found among them."""
    def shrunk(node: Node) -> Node | None:
        x, y = node.operands
        if x is y:  # the gradient of tanh
            return None
        return multiply(y, x) if x.name == "parameter" else None

    def half(node: Node) -> Node | None:
        return full(0.5, node.type) if node.operands[0].name == "dot_general" else None
    rules = (Rule("commutes", "x * y = y * x", "multiply", shrunk), Rule("half", "tanh(x) = 0.5", "tanh", half), *SIMPLIFY.rules)
    culprit = _culprit(_planted("simplify", lambda _: replace(SIMPLIFY, rules=rules)))
    assert (culprit.kind, culprit.name) == ("rule", "half")
    assert culprit.details[1].startswith("from h (test_bisect_passes.py:")


def test_a_rule_that_raises_is_named() -> None:
    def explode(node: Node) -> Node | None:
        raise KeyError("no such thing")
    simplify = replace(SIMPLIFY, rules=(Rule("explodes", "exp(x) = ?", "exponential", explode), *SIMPLIFY.rules))
    culprit = _culprit(_planted("simplify", lambda _: simplify))
    assert culprit.headline.startswith("pass 'simplify' failed: RuleFailed: rule 'explodes' failed on <exponential(subtract): f32[6,7]>")
    assert culprit.example is not None
    assert [node.name for node in culprit.example.nodes] == ["parameter", "exponential"]


# Other passes ----------------------------------------------------------------------------------------------------------------------------

def _negating_fuse(program: Program) -> Program:
    """Fuse, but every tanh in a group is negated."""
    after = Fuse()(program)
    new: dict[Node, Node] = {}
    for fusion in after.nodes:
        if fusion.name == "fusion" and any(node.name == "tanh" for node in fusion.attrs.body.nodes):
            body: Program = fusion.attrs.body
            inside = substitute(body.outputs, {node: negate(node) for node in body.nodes if node.name == "tanh"})
            attrs = replace(fusion.attrs, body=Program(body.parameters, tuple(inside[output] for output in body.outputs)))
            new[fusion] = make(fusion.primitive, fusion.operands, attrs)
    return after.rewritten(substitute((*after.outputs, *after.effects), new)) if new else map_nodes(
        after, lambda node: negate(node) if node.name == "tanh" else None)


def test_a_wrong_fusion_is_named_with_its_group() -> None:
    culprit = _culprit(_planted("fuse", lambda _: _negating_fuse))
    assert (culprit.kind, culprit.name) == ("pass", "fuse")
    assert culprit.headline.startswith("pass 'fuse' changed output 0: at [] expected ")
    assert culprit.details[0].startswith("the first node with a value that no node had before: ")
    assert "fusion(" in culprit.details[0]
    assert "tanh" in culprit.details[0]
    assert "h (test_bisect_passes.py:" in culprit.details[1]
    assert culprit.example is not None
    assert [node.name for node in culprit.example.nodes] == ["parameter", "tanh"]
    assert culprit.command == "graphc opt --pass fuse FILE"
    assert "negate" in culprit.made
    _repeats(culprit, _negating_fuse)


def _shifting_fuse(program: Program) -> Program:
    """Fuse, but in the group of the softmax the largest element is added instead of subtracted."""
    after = Fuse()(program)
    found = [node for node in after.nodes if node.name == "fusion" and any(each.name == "reduce_max" for each in node.attrs.body.nodes)]
    if not found:
        return after
    (fusion,) = found
    body: Program = fusion.attrs.body
    (shift,) = [node for node in body.nodes if node.name == "subtract" and node.operands[1].operands[0].name == "reduce_max"]
    new = substitute(body.outputs, {shift: add(*shift.operands)})
    attrs = replace(fusion.attrs, body=Program(body.parameters, tuple(new[output] for output in body.outputs)))
    made = make(fusion.primitive, fusion.operands, attrs)
    return after.rewritten(substitute((*after.outputs, *after.effects), {fusion: made}))


def test_what_gives_the_same_is_not_blamed() -> None:
    """exp(x + max) over its sum is the same softmax, where nothing overflows."""
    assert _verdict(_planted("fuse", lambda _: _shifting_fuse)).ok


def test_a_wrong_pass_of_the_users_is_named() -> None:
    def doubled(program: Program) -> Program:
        return map_nodes(program, lambda node: add(node, node) if node.name == "reduce_sum" and not node.dims else None)
    culprit = _culprit(DEFAULT.after("simplify", "double", doubled))
    assert (culprit.kind, culprit.name) == ("pass", "double")
    assert culprit.headline.startswith("pass 'double' changed output 0: at [] expected ")
    assert culprit.details[0].startswith("the first node with a value that no node had before: add(reduce_sum, reduce_sum): f32[], most")
    assert culprit.details[1].startswith("from loss (test_bisect_passes.py:")
    assert culprit.example is not None
    assert [node.name for node in culprit.example.nodes] == ["parameter", "reduce_sum"]
    assert culprit.command == ""  # `graphc opt` does not know the pass


def test_a_pass_that_raises_is_named() -> None:
    def explode(program: Program) -> Program:
        if any(node.name == "tanh" for node in program.nodes):
            raise ValueError("no tanh, please")
        return program
    culprit = _culprit(DEFAULT.after("simplify", "tidy", explode))
    assert (culprit.kind, culprit.name) == ("pass", "tidy")
    assert culprit.headline.startswith("pass 'tidy' failed: PassFailed: it raised ValueError at test_bisect_passes.py:")
    assert culprit.example is not None
    assert [node.name for node in culprit.example.nodes] == ["parameter", "tanh"]
    assert culprit.made.startswith("PassFailed: it raised ValueError at test_bisect_passes.py:")


def test_a_lost_variable_is_named() -> None:
    x = gc.primitives.parameter("x", gc.core.types.TensorType(gc.float32, (2,)))
    whole = Program((x,), (negate(x),), (gc.primitives.variable_assign("v", negate(x)),))

    def forget(program: Program) -> Program:
        return Program(program.parameters, program.outputs, ())
    stages = [Stage("specialise", whole), Stage("forget", forget(whole), apply=forget)]
    culprit = judge_stages(stages, Inputs(whole, [np.float32([1, 2])], {})).culprit
    assert culprit is not None
    assert culprit.headline == "pass 'forget' lost variable v"
    assert culprit.example is None  # it goes wrong with the variable only


def test_an_invalid_program_is_named() -> None:
    x = gc.primitives.parameter("x", gc.core.types.TensorType(gc.float32, (2,)))
    good = Program((x,), (negate(add(x, x)),))

    def reverse(program: Program) -> Program:
        return Program(program.parameters, program.outputs, nodes=tuple(reversed(program.nodes)))
    with pytest.raises(WrongPass, match=r"^the program after pass 'reverse' is not valid: P1: operand <add") as caught:
        check_stages([Stage("specialise", good), Stage("reverse", reverse(good), apply=reverse)])
    assert caught.value.culprit.example is not None
    assert len(caught.value.culprit.example.nodes) == 2


def test_what_a_rule_says_of_nodes_that_share_its_result_is_right() -> None:
    """A rule may replace a node by one that is there already, or by a parameter."""
    gone = Rule("gone", "x * y = x", "multiply", lambda node: node.operands[0])
    fetches, feeds = _declare()
    with gc.Session() as session:
        program = session.compile(fetches, feeds).stages[0].program
    pipeline = _planted("simplify", lambda _: replace(SIMPLIFY, rules=(gone, *SIMPLIFY.rules)))
    with pytest.raises(WrongPass, match="rule 'gone': x \\* y = x"):
        check_stages(run_pipeline(program, pipeline))
