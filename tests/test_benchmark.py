"""`gc.benchmark.compare`: what it measures is what runs, all variants begin alike and agree, and nothing of the caller's is touched."""
from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.agreement import disagreement
from graphc.benchmark import Variant, WrongResults, compare, variants
from graphc.codegen.llvm import cache
from graphc.core.program import Program
from graphc.passes.rewrite import Rewrite, Rule
from graphc.passes.rules_algebra import ALGEBRA
from graphc.passes.variants import FAMILIES, without_each_family, without_each_pass
from graphc.primitives import subtract
from graphc.runtime.cold import cold


def step(seed: int | None = 0) -> tuple[list[Any], dict[gc.Tensor, Any]]:
    """A training step of a small layer."""
    gc.set_random_seed(seed)
    x = gc.placeholder(gc.float32, [16, 24], name="x")
    y = gc.nn.softmax(gc.layers.dense(x, 8, name="layer"))
    loss = gc.reduce_mean(gc.square(y - 0.5), name="loss")
    train = gc.train.GradientDescentOptimizer(0.5).minimize(loss)
    return [loss, train], {x: np.random.default_rng(0).standard_normal((16, 24), np.float32)}


def quick(fetches: Any, feeds: Any = None, **options: Any) -> gc.benchmark.Comparison:
    return compare(fetches, feeds, **{"seconds": 0.0, "compile_cold": False, **options})


# What is measured ------------------------------------------------------------------------------------------------------------------------

def test_rows_say_what_the_executables_say() -> None:
    fetches, feeds = step()
    found = compare(fetches, feeds, seconds=0.0, title="a step")
    assert [row.name for row in found.rows] == ["default", "unfused", "none"]
    for row in found.rows:
        with gc.Session(config=gc.ConfigProto(pipeline=row.name)) as session:
            made = session.compile(fetches, feeds)
        assert (row.kernels, row.bytes, row.arena) == (len(made.kernels), made.bytes_moved, made.memory.arena_bytes)
        assert row.timing.samples == 6
        assert 0 < row.low <= row.timing.median <= row.high
        assert row.compile_ms
        assert row.warm_ms
    assert found.rows[0].kernels < found.rows[1].kernels < found.rows[2].kernels


def test_threads_give_a_row_for_each_count() -> None:
    x = np.ones((600, 700), np.float32)
    y = gc.nn.softmax(gc.placeholder_with_default(x, x.shape))
    found = quick(y, pipelines=["default"], threads=[2, 1])
    assert [(row.name, row.threads, row.same_as) for row in found.rows] == [
        ("default", 2, ""), ("default, 1 thread", 1, ""), ("default, 2 threads", 2, "default")]
    assert found.rows[2].timing is found.rows[0].timing
    assert quick(y, pipelines=["default"], threads=1).rows[0].threads == 1


def test_what_compiles_to_the_same_program_is_not_measured_twice() -> None:
    fetches, feeds = step()
    same = Variant("again", gc.pipelines["default"], "others")
    found = quick(fetches, feeds, pipelines=["default", "none", same])
    assert [row.same_as for row in found.rows] == ["", "", "default"]
    assert found.rows[2].timing is found.rows[0].timing


def test_a_graph_in_stages_is_measured_whole() -> None:
    x = gc.placeholder(gc.float32, [40], name="x")
    kept = gc.boolean_mask(x, x > 0)
    y = gc.reduce_sum(gc.exp(kept))
    found = quick(y, {x: np.linspace(-1, 1, 40, dtype=np.float32)}, pipelines=["default", "none"])
    assert found.rows[0].kernels > 0


# Nothing of the caller's ---------------------------------------------------------------------------------------------------------------

def test_the_callers_graph_and_session_stay_as_they_are() -> None:
    fetches, feeds = step()
    graph = gc.get_default_graph()
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(fetches, feeds)
        before = session.run(gc.global_variables())
        graph.finalize()
        quick(fetches, feeds)
        for value, now in zip(before, session.run(gc.global_variables()), strict=True):
            np.testing.assert_array_equal(value, now)


def test_all_variants_begin_with_the_same_values_though_no_seed_is_set() -> None:
    """Each session would draw others; then the losses, which are compared, would differ."""
    fetches, feeds = step(seed=None)
    assert len(quick(fetches, feeds).rows) == 3


def test_an_initializer_of_ones_own() -> None:
    v = gc.Variable(np.zeros(3, np.float32), collections=[])
    doubled = gc.assign(v, v * 2.0)
    given: dict[str, Any] = {}

    def against(feeds: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        given.update(values)
        return {}

    gc.add_to_collection(gc.GraphKeys.LOCAL_VARIABLES, v)
    quick(doubled, initializer=gc.assign(v, [1.0, 2.0, 3.0]), against=against)
    np.testing.assert_array_equal(given[v.op.name], [1.0, 2.0, 3.0])


# Wrong results are not timed -------------------------------------------------------------------------------------------------------------

def _wrong() -> gc.Pipeline:
    """A pipeline with a rule that is none: a + b = a - b."""
    rule = Rule("wrong", "a + b = a - b", "add", lambda node: subtract(*node.operands))
    default = gc.pipelines["default"]
    return gc.Pipeline("with a wrong rule", (("wrong", Rewrite((rule,))), *default.passes))


def test_a_pipeline_that_changes_results_is_refused() -> None:
    x = gc.placeholder(gc.float32, [2], name="x")
    with pytest.raises(WrongResults) as caught:
        quick([gc.add(x, 1.0, name="sum")], {x: [1.0, 2.0]}, pipelines=["default", _wrong()])
    assert str(caught.value) == (
        "'with a wrong rule' gives other results than 'default': sum:0 of run 1, at [0] expected 2.0, got 0.0 (2 of 2 elements differ); "
        "wrong results are not worth timing")


def test_a_wrong_update_shows_in_the_run_after_it() -> None:
    v = gc.Variable(np.zeros(2, np.float32), name="v")
    old = gc.identity(v, name="old")
    with gc.control_dependencies([old]):
        update = v.assign_add([1.0, 1.0])
    with pytest.raises(WrongResults, match="old:0 of run 2, at "):
        quick([old, update.op], pipelines=["default", _wrong()])


def test_draws_without_a_seed_are_named() -> None:
    y = gc.random_uniform([4], name="noise")
    with pytest.raises(WrongResults, match=r"\('noise/RandomUniform' draws without a seed: call set_random_seed before it is declared\)$"):
        quick(y)


def test_fetches_without_values_are_in_the_notes() -> None:
    v = gc.Variable(np.zeros(2, np.float32))
    found = quick(v.assign_add([1.0, 2.0]).op)
    assert found.notes == ("the fetches give no values: results are not compared",)


def test_a_pass_that_fails_is_in_the_notes() -> None:
    def breaks(program: Program) -> Program:
        raise ValueError("no good")

    x = gc.placeholder(gc.float32, [2])
    broken = gc.Pipeline("broken", (*gc.pipelines["none"].passes, ("breaks", breaks)))
    with pytest.warns(RuntimeWarning, match="no good"):
        found = quick(gc.exp(x), {x: [1.0, 2.0]}, pipelines=["none", broken])
    assert len(found.notes) == 1
    assert found.notes[0].startswith("broken: pass 'breaks' failed and was left out: ")


@pytest.mark.parametrize(("expected", "found", "problem"), [
    (np.float32([1, 1000]), np.float32([1.05, 1000]), ""),  # 0.1 of the largest, 1000, is allowed
    (np.float32([1, 1000]), np.float32([1.2, 1000]), "at [0] expected 1.0, got 1.2000000476837158 (1 of 2 elements differ)"),
    (np.float64([1, 1000]), np.float64([1.05, 1000]), "at [0] expected 1.0, got 1.05 (1 of 2 elements differ)"),
    (np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf]), ""),
    (np.float32([np.nan, 1]), np.float32([1, 1]), "at [0] expected nan, got 1.0 (1 of 2 elements differ)"),
    (np.float32([np.inf, 1]), np.float32([-np.inf, 1]), "at [0] expected inf, got -inf (1 of 2 elements differ)"),
    (np.int32([[1, 2]]), np.int32([[1, 3]]), "at [0, 1] expected 2, got 3 (1 of 2 elements differ)"),
    (np.complex64([1j]), np.complex64([1]), "at [0] expected 1j, got (1+0j) (1 of 1 elements differ)"),
    (np.float32([1]), np.float32([[1]]), "expected float32[1], got float32[1, 1]"),
    (np.float32([]), np.float32([]), "")])
def test_agreement(expected: Any, found: Any, problem: str) -> None:
    assert disagreement(expected, found) == problem


# Others ----------------------------------------------------------------------------------------------------------------------------------

def test_peers_run_beside_and_must_agree() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    w = gc.get_variable("w", [], initializer=gc.constant_initializer(2.0))
    y, feeds = gc.multiply(x, w, name="y"), {x: np.float32([1, 2, 3])}
    runs: list[str] = []

    def against(given: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        return {"numpy": lambda: (runs.append("numpy"), given["x"] * values["w"])[1], "silent": lambda: None, "broken": lambda: 1 / 0}

    found = quick([y], feeds, pipelines=["default"], against=against)
    assert [(row.name, row.group, row.kernels) for row in found.rows] == [
        ("default", "pipelines", 1), ("numpy", "others", None), ("silent", "others", None)]
    assert found.notes == ("silent returns nothing: its results are not compared",
                           "broken is left out: ZeroDivisionError: division by zero")
    assert len(runs) >= 2 + 2 * 6  # two to compare, then two a round
    with pytest.raises(WrongResults, match=r"^'three' gives other results than 'default': y:0 of run 1, at \[0\] expected 2.0, got 3.0"):
        quick([y], feeds, pipelines=["default"], against={"three": lambda: 3 * feeds[x]})
    with pytest.raises(WrongResults, match="'two' gives 2 results, but 'default' gives 1"):
        quick([y], feeds, pipelines=["default"], against={"two": lambda: [2 * feeds[x]] * 2})
    with pytest.raises(ValueError, match="two rows are called 'default'"):
        quick([y], feeds, pipelines=["default"], against={"default": lambda: None})


# Bad input -------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("options", "message"), [
    ({"threads": -1}, "threads: it must be at least 1, but got -1"),
    ({"threads": [1, 0]}, "threads: it must be at least 1, but got 0"),
    ({"threads": []}, "threads: it must be at least 1, but got none"),
    ({"seconds": -1.0}, "seconds: it must be a time to measure for, but got -1.0"),
    ({"seconds": float("nan")}, "seconds: it must be a time to measure for, but got nan"),
    ({"pipelines": []}, "compare needs pipelines of different names, but got none"),
    ({"pipelines": ["none", "none"]}, "compare needs pipelines of different names, but got none, none"),
    ({"pipelines": ["some"]}, "ConfigProto(pipeline='some'): it must be one of default, unfused, none, or a Pipeline")])
def test_bad_input(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        quick(gc.constant(1.0) + 1.0, **options)
    assert str(caught.value) == message


# The variants ----------------------------------------------------------------------------------------------------------------------------

def test_variants_of_the_default_pipeline() -> None:
    assert [(variant.name, variant.group) for variant in variants()] == [
        ("fused", "pipelines"), ("unfused", "pipelines"), ("none", "pipelines"),
        *((f"without {stage}", "a pass left out") for stage in ("simplify", "split", "fuse", "order")),
        *((f"without {family}", "a family of rules left out") for family in FAMILIES)]
    assert [variant.name for variant in variants("none", ["passes"])] == ["none", "without order"]
    with pytest.raises(ValueError, match="no group 'pass' of variants; there are pipelines, passes, rules"):
        variants(groups=["pass"])


def test_each_variant_lacks_what_it_says() -> None:
    default = gc.pipelines["default"]
    stages = [name for name, _ in default.passes]
    for name, pipeline in without_each_pass(default).items():
        left_out = name.removeprefix("without ")
        expected = [stage if stage != left_out else "materialise" for stage in stages if stage != left_out or left_out == "order"]
        assert [stage for stage, _ in pipeline.passes] == expected
    rules = {rule.name for rule in dict(default.passes)["simplify"].rules}
    kept = {rule.name for rule in dict(without_each_family(default)["without algebra"].passes)["simplify"].rules}
    assert rules - kept == {rule.name for rule in ALGEBRA}
    assert set().union(*({rule.name for rule in family} for family in FAMILIES.values())) == rules  # none is in no family


def test_without_order_outputs_and_variables_still_have_memory_of_their_own() -> None:
    """Two fetches of one value, a fetch of a fed value, and a variable that becomes a constant."""
    x = gc.placeholder(gc.float32, [5], name="x")
    v = gc.Variable(np.ones(5, np.float32))
    y = gc.exp(x)
    quick([y, y + 0.0, gc.identity(x), gc.assign(v, [1.0, 2.0, 3.0, 4.0, 5.0])], {x: np.arange(5, dtype=np.float32)}, pipelines=variants())


def test_cold_compiles_anew_and_leaves_the_cache_as_it_was() -> None:
    fetches, feeds = step()
    before = os.environ["GRAPHC_CACHE_DIR"]

    def compiled() -> dict[str, int]:
        with gc.Session() as session:
            return session.compile(fetches, feeds).objects_from

    compiled()
    with cold():
        first, second = compiled(), compiled()
        folder = os.environ["GRAPHC_CACHE_DIR"]
    assert first["compiled"] > 0 == first["from disk"] + first["from memory"]
    assert second["compiled"] == 0 < second["from memory"]
    assert compiled()["compiled"] == 0
    assert os.environ["GRAPHC_CACHE_DIR"] == before != folder
    assert not os.path.exists(folder)
    assert str(cache.default().folder) == before
