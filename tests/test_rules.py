"""Rewrite rules: every example fires and keeps its value, tables come to an end, and what each formula gains or must not touch."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.dtypes import ALL, DType
from graphc.core.interpret import interpret
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.fold import fold_rule
from graphc.passes.pipelines import SIMPLIFY
from graphc.passes.record import recording
from graphc.passes.rewrite import Rewrite, RewriteLoop, Rule, RuleFailed
from graphc.passes.rules_stability import STABILITY
from graphc.passes.split import SPLIT
from tests.random_programs import programs

F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32
RULES = (*SIMPLIFY.rules, *SPLIT)
EXAMPLES = [pytest.param(rule, example, id=f"{rule.root}-{rule.name}-{n}") for rule in RULES for n, example in enumerate(rule.examples)]
SPECIAL = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 3.4e38, -3.4e38, 1e-45, 1e-38, 0.5, 1e10)


def x_(dtype: DType = F32, *shape: int, name: str = "x") -> Node:
    return p.parameter(name, TensorType(dtype, shape or (3, 5)))


def const(value: float, like: Node) -> Node:
    return p.full(value, like.type)


def function_of(output: Node) -> Program:
    program = Program((), (output,))
    return Program(tuple(n for n in program.nodes if n.name == "parameter"), (output,))


def simplified(output: Node) -> Node:
    return verify(SIMPLIFY(function_of(output))).outputs[0]


def values(program: Program, feeds: Sequence[Any]) -> np.ndarray[Any, Any]:
    result = interpret(program, feeds)[0][0]
    return result.astype(np.float32) if result.dtype == dtypes.bfloat16.np_dtype else result  # numpy knows no NaN of bfloat16


def feed(type_: TensorType, generator: np.random.Generator, odd: bool) -> np.ndarray[Any, Any]:
    """Ordinary values; `odd`: zeros, infinities, NaN, extremes among them."""
    if type_.dtype.is_bool:
        return generator.integers(0, 2, type_.dims).astype(bool)
    if type_.dtype.is_integer:
        wide = generator.integers(int(type_.dtype.min), int(type_.dtype.max), type_.dims, dtype=type_.dtype.np_dtype, endpoint=True)
        return np.where(generator.random(type_.dims) < 0.5, wide, wide % np.array(7, wide.dtype)) if odd else wide % np.array(7, wide.dtype)
    plain = generator.uniform(0.1, 2, type_.dims) * generator.choice((-1, 1), type_.dims)
    chosen = generator.choice(SPECIAL, type_.dims)
    with np.errstate(over="ignore"):
        return np.where(odd & (generator.random(type_.dims) < 0.5), chosen, plain).astype(type_.dtype.np_dtype)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_rule_fires_and_keeps_the_value(rule: Rule, example: Node) -> None:
    replacement = rule.apply(example)
    assert example.name == rule.root or rule.root == "*"
    assert replacement is not None
    assert replacement is not example
    assert replacement.types == example.types
    generator = np.random.default_rng(0)
    before = function_of(example)
    after = Program(before.parameters, (replacement,))
    for trial in range(20 if sum(t.type.size for t in before.parameters) < 1000 else 2):
        feeds = [feed(t.type, generator, rule.exact and trial % 2 == 1) for t in before.parameters]
        with np.errstate(all="ignore"):
            old, new = values(before, feeds), values(after, feeds)
        if rule.exact:
            np.testing.assert_array_equal(new, old)
        else:
            np.testing.assert_allclose(new.astype(float), old.astype(float), rtol=2e-6, atol=2e-6 * max(1.0, np.abs(old).max()))


def test_rules_have_names_of_their_own_and_examples() -> None:
    names = [(rule.root, rule.name) for rule in RULES]
    assert len(set(names)) == len(names)
    without = {rule.name for rule in RULES if not rule.examples}
    assert all("constant second" in name or "of the same" in name or name.startswith("split") for name in without), without
    assert not any(rule.exact for rule in STABILITY)


@given(programs())
@settings(max_examples=100)
def test_simplified_programs_are_simple(program: Program) -> None:
    once = SIMPLIFY(program)
    with recording() as record:
        assert SIMPLIFY(once) == once
    assert record.applied == []


STEPS = ("negate", "abs", "transpose", "flat", "spread", "one", "zero", "half", "three", "sum", "exp", "log", "swap", "less")


@given(st.lists(st.sampled_from(STEPS), max_size=12))
@settings(max_examples=200)
def test_chains_of_operations_come_to_one_form(steps: list[str]) -> None:
    node = x_(F32, 3, 4)
    make: dict[str, Callable[[Node], Node]] = {
        "negate": p.negate, "abs": p.abs_, "exp": p.exponential, "log": p.log, "one": lambda x: p.multiply(const(1, x), x),
        "transpose": lambda x: p.transpose(x, tuple(reversed(range(len(x.dims))))), "flat": lambda x: p.reshape(x, (x.type.size,)),
        "spread": lambda x: p.broadcast_in_dim(x, (2, *x.dims), range(1, len(x.dims) + 1)) if len(x.dims) < 3 else x,
        "zero": lambda x: p.subtract(x, const(0, x)), "half": lambda x: p.divide(x, const(2, x)),
        "three": lambda x: p.power(x, const(3, x)),
        "sum": lambda x: p.reduce_sum(x, (0,)) if x.dims else x, "swap": lambda x: p.subtract(const(1, x), p.negate(x)),
        "less": lambda x: p.select(p.not_(p.compare(x, const(0, x), "LT")), x, p.negate(x))}
    for step in steps:
        node = make[step](node)
    before = function_of(node)
    once = verify(SIMPLIFY(before))
    assert SIMPLIFY(once) == once
    feeds = [feed(t.type, np.random.default_rng(1), odd=False) for t in before.parameters]
    old, new = values(before, feeds), values(once, feeds)
    finite = np.isfinite(old) & (np.abs(old) < 1e30)
    np.testing.assert_allclose(new[finite], old[finite], rtol=1e-4, atol=1e-4)


# The engine ---------------------------------------------------------------------------------------------------------------------------

def test_rules_that_undo_each_other_are_reported() -> None:
    there = Rule("apart", "x - y = x + (-y)", "subtract", lambda n: p.add(n.operands[0], p.negate(n.operands[1])))
    back = Rule("together", "x + (-y) = x - y", "add", lambda n: p.subtract(n.operands[0], n.operands[1].operands[0]))
    with pytest.raises(RewriteLoop, match=r"(?s)do not come to an end.*apart: <subtract.*together: <add"):
        Rewrite((there, back))(function_of(p.subtract(x_(), x_(name="y"))))


def test_a_rule_that_grows_without_end_runs_out_of_steps() -> None:
    grow = Rule("grow", "x = x + 1 - 1", "negate", lambda n: p.negate(p.add(n.operands[0], const(1, n))))
    with pytest.raises(RewriteLoop, match="grow"):
        Rewrite((grow,))(function_of(p.negate(x_())))


def test_a_rule_that_changes_a_type_is_an_error() -> None:
    wrong = Rule("wrong", "x = y", "negate", lambda n: p.convert(n.operands[0], F64))
    with pytest.raises(TypeError, match=r"rule 'wrong' changed the type of <negate\(parameter\): f32\[3,5\]> to f64\[3,5\]"):
        Rewrite((wrong,))(function_of(p.negate(x_())))


def test_every_application_is_recorded_once() -> None:
    x = x_()
    twice = p.negate(p.negate(p.exponential(x)))
    with recording() as record:
        Rewrite(SIMPLIFY.rules)(function_of(p.add(twice, const(0, x))))
    assert [(each.rule, each.before, each.after) for each in record.applied] == [
        ("negate twice", twice, p.exponential(x)), ("add 0", p.add(p.exponential(x), const(0, x)), p.exponential(x))]
    assert str(record.applied[0]) == "negate twice: -(-x) = x"


def test_a_limit_stops_after_so_many_applications() -> None:
    x = x_()
    program = function_of(p.negate(p.negate(p.exponential(p.negate(p.negate(x))))))
    left = {n: len([node for node in Rewrite(SIMPLIFY.rules, limit=n)(program).nodes if node.name == "negate"]) for n in (0, 1, 2, 3)}
    assert left == {0: 4, 1: 2, 2: 0, 3: 0}


def test_a_rule_that_raises_is_named() -> None:
    def broken(node: Node) -> Node:
        raise KeyError("nothing")

    with pytest.raises(RuleFailed, match=r"rule 'odd' failed on <negate\(parameter\): f32\[3,5\]>: KeyError: 'nothing'"):
        Rewrite((Rule("odd", "x = x", "negate", broken),))(function_of(p.negate(x_())))


def test_an_unchanged_program_is_given_back_itself() -> None:
    program = function_of(p.exponential(x_()))
    assert SIMPLIFY(program) is program


def test_origins_follow_a_replacement() -> None:
    x = x_()
    node = p.log(p.add(p.exponential(x), const(1, x)))
    program = Program((x,), (node,), origins={node: (Origin("softplus", "Softplus", "model.py:3"),), x: (Origin("x"),)})
    after = SIMPLIFY(program)
    assert all(after.origins[n][-1].operation in ("softplus", "x") for n in after.nodes if n.name not in ("constant", "broadcast_in_dim"))
    assert after.origins[after.outputs[0]][0].source == "model.py:3"


def test_deep_programs_need_no_recursion() -> None:
    node = x_()
    for _ in range(5000):
        node = p.negate(node)
    assert simplified(node) is x_()


# Folding -------------------------------------------------------------------------------------------------------------------------------

def test_folding_evaluates_constants_within_its_limit() -> None:
    small = p.add(p.constant([1.0, 2.0]), p.constant([3.0, 5.0]))
    assert simplified(small).attrs.value.array.tolist() == [4.0, 7.0]
    table = p.constant(np.arange(4, dtype=np.float32))
    outer = p.multiply(p.broadcast_in_dim(table, (4, 4), (0,)), p.broadcast_in_dim(p.constant(np.ones(4, np.float32) * 2), (4, 4), (1,)))
    rule = fold_rule(limit=16)
    assert Rewrite((rule,))(function_of(outer)).outputs[0] is outer
    exact = simplified(p.exponential(p.constant(np.linspace(0, 1, 5))))
    np.testing.assert_allclose(exact.attrs.value.array, np.exp(np.linspace(0, 1, 5)))


def test_a_broadcast_of_constants_stays_a_broadcast() -> None:
    node = p.broadcast_in_dim(p.constant([1.0, 2.0]), (1000, 2), (1,))
    assert simplified(node) is node


# Stability: against scipy where the formula as written fails ---------------------------------------------------------------------------

@pytest.mark.parametrize(("build", "expected", "at"), [
    (lambda x: p.log(p.add(const(1, x), p.exponential(x))), lambda x: np.logaddexp(0, x), (-800.0, -20.0, 0.0, 20.0, 800.0)),
    (lambda x: p.log(p.logistic(x)), special.log_expit, (-800.0, -20.0, 0.0, 20.0, 40.0)),
    (lambda x: p.subtract(p.exponential(x), const(1, x)), np.expm1, (-1e-12, 0.0, 1e-12, 1e-300, 1.0)),
    (lambda x: p.log(p.add(x, const(1, x))), np.log1p, (-1e-12, 0.0, 1e-12, 1e-300, 1.0)),
    (lambda x: p.log(p.subtract(const(1, x), x)), lambda x: np.log1p(-x), (-1e-12, 0.0, 1e-12, 1e-300, 0.5)),
    (lambda x: p.subtract(const(1, x), p.erf(x)), special.erfc, (0.0, 1.0, 6.0, 10.0, 20.0)),
    (lambda x: p.subtract(const(1, x), p.logistic(x)), lambda x: special.expit(-x), (-50.0, 0.0, 30.0, 40.0, 700.0)),
    (lambda x: p.divide(const(1, x), p.add(const(1, x), p.exponential(p.negate(x)))), special.expit, (-700.0, -30.0, 0.0, 30.0, 700.0)),
    (lambda x: p.log(_softmax(x)), special.log_softmax, (-900.0, 0.0, 5.0, 5.0, 900.0)),
])
def test_formulas_become_stable(build: Callable[[Node], Node], expected: Callable[[Any], Any], at: tuple[float, ...]) -> None:
    x = x_(F64, 5)
    result = values(Program((x,), (simplified(build(x)),)), [np.array(at)])
    np.testing.assert_allclose(result, expected(np.array(at)), rtol=1e-14)


def _softmax(x: Node) -> Node:
    shifted = p.subtract(x, p.broadcast_in_dim(p.reduce_max(x, (0,)), x.dims, ()))
    e = p.exponential(shifted)
    return p.divide(e, p.broadcast_in_dim(p.reduce_sum(e, (0,)), x.dims, ()))


# What each rule must and must not do ---------------------------------------------------------------------------------------------------

def test_nothing_is_assumed_of_nan_and_infinity() -> None:
    x, y = x_(), x_(name="y")
    for kept in (p.multiply(x, const(0, x)), p.subtract(x, x), p.divide(x, x), p.not_(p.compare(x, y, "LT")),
                 p.add(p.add(x, const(1e8, x)), const(-1e8, x)),
                 p.divide(x, const(math.inf, x)), p.divide(x, const(0, x)), p.divide(x, const(1e-45, x)), p.compare(x, x, "EQ")):
        assert simplified(kept).name == kept.name, kept
    wide = p.multiply(p.multiply(x, const(1e30, x)), const(1e30, x))  # the product of the constants would be infinite
    assert simplified(wide) is wide


def test_conversions_merge_only_where_the_detour_is_exact() -> None:
    """All triples of types, on all the values that are special to one of them."""
    generator = np.random.default_rng(0)
    for first, second, third in product(ALL, repeat=3):
        x = x_(first, 40)
        before = function_of(p.convert(p.convert(x, second), third))
        after = SIMPLIFY(before)
        if after is before:
            continue
        data = feed(x.type, generator, odd=True)
        np.testing.assert_array_equal(values(after, [data]), values(before, [data]), f"{first} {second} {third}")
    merged = simplified(p.convert(p.convert(x_(dtypes.int64), F64), dtypes.float16))  # float64 does not hold every int64
    assert merged.operands[0].name == "convert"
    assert simplified(p.convert(p.convert(x_(I32), F64), I32)) is x_(I32)


@pytest.mark.parametrize("dtype", [t for t in ALL if t.is_integer], ids=str)
def test_integer_rules_wrap_as_the_arithmetic_does(dtype: DType) -> None:
    x = x_(dtype, 50)
    low, high = int(dtype.min), int(dtype.max)
    for node in (p.subtract(x, const(low, x)), p.subtract(x, const(high, x)), p.add(p.add(x, const(high, x)), const(high, x)),
                 p.multiply(p.multiply(x, const(high, x)), const(3, x)), p.abs_(p.negate(x)), p.divide(p.negate(x), p.negate(x)),
                 p.divide(p.negate(x), const(high, x)), p.reduce_sum(p.broadcast_in_dim(x, (50, 300), (0,)), (1,))):
        before = function_of(node)
        data = feed(x.type, np.random.default_rng(2), odd=True)
        data[:2] = low, high
        np.testing.assert_array_equal(values(SIMPLIFY(before), [data]), values(before, [data]))


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=str)
def test_short_floats_are_not_multiplied_by_counts_that_they_cannot_hold(dtype: DType) -> None:
    x = x_(dtype, 2)
    before = function_of(p.reduce_sum(p.broadcast_in_dim(x, (2, 100001), (0,)), (1,)))
    assert SIMPLIFY(before) == before
    small = p.reduce_sum(p.broadcast_in_dim(x, (2, 100), (0,)), (1,))
    assert simplified(small).name == "multiply"


def test_a_negative_zero_survives_where_it_can_be_seen() -> None:
    x = x_(F32, 2)
    padded = p.pad(const(0.0, x), p.constant(-0.0, F32), (1,), (0,))
    assert np.signbit(values(SIMPLIFY(function_of(padded)), [])).tolist() == [True, False, False]
    assert simplified(p.constant([0.0, -0.0])).name == "constant"


def test_transposes_reach_the_product_through_arithmetic() -> None:
    """scale * transpose(k) as attention writes it: the transpose becomes dimension numbers, the scale stays below."""
    q, k = x_(F32, 2, 7, 4, name="q"), x_(F32, 2, 9, 4, name="k")
    turned = p.transpose(k, (0, 2, 1))
    node = p.dot_general(q, p.multiply(turned, const(0.5, turned)), (0,), (0,), (2,), (1,))
    result = simplified(node)
    assert result.name == "dot_general"
    assert [n.name for n in function_of(result).nodes if n.name == "transpose"] == []
    generator = np.random.default_rng(0)
    feeds = [generator.normal(size=t.dims).astype(np.float32) for t in function_of(node).parameters]
    np.testing.assert_allclose(values(function_of(result), feeds), values(function_of(node), feeds), rtol=1e-5, atol=1e-5)


def test_arithmetic_is_done_before_a_broadcast() -> None:
    b, x = x_(F32, 5, name="b"), x_()
    spread = p.broadcast_in_dim(b, (3, 5), (1,))
    result = simplified(p.add(x, p.tanh(p.multiply(spread, const(2, spread)))))
    assert [n.type.dims for n in function_of(result).nodes if n.name in ("tanh", "multiply")] == [(5,), (5,)]


def test_sums_of_repeats_need_no_loop() -> None:
    b = x_(F32, 5, name="b")
    spread = p.broadcast_in_dim(b, (3, 5), (1,))
    total = simplified(p.reduce_sum(spread, (0, 1)))
    assert [n.operands[0] for n in function_of(total).nodes if n.name == "reduce_sum"] == [b]
    data = np.arange(5, dtype=np.float32)
    assert values(Program((b,), (total,)), [data]) == 30
    assert simplified(p.reduce_max(spread, (0,))) is b


def test_slices_are_taken_from_the_part_that_they_show() -> None:
    x, y = x_(F32, 3, 2), x_(F32, 4, 2, name="y")
    both = p.concatenate([x, y], 0)
    inside = simplified(p.slice_(both, (4, 0), (7, 2), (1, 1)))
    across = p.slice_(both, (2, 0), (5, 2), (1, 1))
    assert inside.operands[0] is y
    assert simplified(across) is across
