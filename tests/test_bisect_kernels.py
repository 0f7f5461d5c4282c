"""Wrong machine code is found down to the kernel and to the part of the code generator; a wrong memory plan down to the value it loses."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.codegen import ir, schedule
from graphc.codegen import lower as lowering
from graphc.codegen.llvm import vecmath
from graphc.codegen.llvm.vec import Vec
from graphc.core import dtypes
from graphc.core.parse import parse_program
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.passes.memory import Location, MemoryPlan, plan_memory
from graphc.passes.pipelines import DEFAULT, NONE, PIPELINES, Pipeline
from graphc.runtime import check_kernels, compile_cuda, planned
from graphc.runtime import compile as compiling
from graphc.runtime.bisecting import bisect
from graphc.runtime.check import WrongPass
from graphc.runtime.planned import Remembered
from graphc.runtime.verdict import Culprit

RANDOM = np.random.default_rng(5)
X = p.parameter("x", TensorType(dtypes.float32, (6, 40)))
FEED = RANDOM.standard_normal((6, 40)).astype(np.float32)
# Three kernels where nodes are fused, many where they are not: a product, a softmax that needs it twice, a sum.
PRODUCT = p.dot_general(X, X, (), (), (1,), (1,))
SPREAD = p.broadcast_in_dim(p.reduce_max(PRODUCT, (1,)), (6, 6), (0,))
RISEN = p.exponential(p.subtract(PRODUCT, SPREAD))
SHARES = p.divide(p.tanh(RISEN), p.broadcast_in_dim(p.reduce_sum(RISEN, (1,)), (6, 6), (0,)))
PROGRAM = Program((X,), (SHARES, p.reduce_sum(p.multiply(SHARES, PRODUCT), (0,))))


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test compiled of the same steps is not taken, and what is compiled here stays here."""
    monkeypatch.setattr(compiling, "_printed", Remembered())


def _culprit(pipeline: Pipeline = DEFAULT, program: Program = PROGRAM, feeds: Sequence[np.ndarray] = (FEED,)) -> Culprit:
    verdict = bisect(program, pipeline, feeds, {})
    assert verdict.culprit is not None
    return verdict.culprit


def _example(culprit: Culprit) -> list[str]:
    """The primitives of the smallest example, which parses."""
    assert culprit.example is not None
    assert parse_program(print_program(culprit.example)) == culprit.example
    return [node.name for node in culprit.example.nodes]


# Kernels ---------------------------------------------------------------------------------------------------------------------------------

def _slightly_off(v: Vec, x: str) -> str:
    """tanh, one part in thirty thousand too large."""
    return v.mul(1.00003, _TANH(v, x))


_TANH = vecmath.FUNCTIONS[32]["tanh"]


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_a_wrong_elementary_function_is_named(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
    monkeypatch.setitem(vecmath.FUNCTIONS[32], "tanh", _slightly_off)
    culprit = _culprit(pipeline)
    assert culprit.kind == "kernel"
    assert re.match(r"kernel \d+_\w+ gives a wrong (result|output \d): at \[\d, \d\] expected \S+, got \S+ \(", culprit.headline)
    assert culprit.details[0] == ("the interpreter of the kernel language gives the right result for the same kernel: "
                                  "the LLVM printer is to blame")
    assert "tanh" in culprit.details[1]
    assert _example(culprit) == ["parameter", "tanh"]
    assert culprit.command == "graphc bisect FILE --pipeline none"


def _changed(body: tuple[ir.Stmt, ...], change: Callable[[ir.Stmt], ir.Stmt]) -> tuple[ir.Stmt, ...]:
    return tuple(replace(made, body=_changed(made.body, change)) if isinstance(made, ir.Loop | ir.If) else made
                 for made in map(change, body))


def _least_for_largest(stmt: ir.Stmt) -> ir.Stmt:
    return replace(stmt, combine="minimum") if isinstance(stmt, ir.Update) and stmt.combine == "maximum" else stmt


@pytest.mark.parametrize("pipeline", [DEFAULT, NONE], ids=["default", "none"])
def test_wrong_lowering_is_told_from_wrong_code(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
    real = lowering.inline_lets
    monkeypatch.setattr(lowering, "inline_lets", lambda body: _changed(real(body), _least_for_largest))
    culprit = _culprit(pipeline, Program((X,), (p.reduce_max(p.sine(X), (1,)), p.negate(X))))
    assert culprit.kind == "kernel"
    assert culprit.details[0] == "its kernel is wrong before it is scheduled: lowering is to blame"
    assert _example(culprit) == ["parameter", "reduce_max"]


def test_the_wrong_step_of_the_schedule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = schedule.split_sums

    def split_sums(kernel: ir.Kernel) -> ir.Kernel:
        made = real(kernel)
        return replace(made, body=_changed(made.body, _least_for_largest))
    monkeypatch.setattr(schedule, "split_sums", split_sums)
    culprit = _culprit()
    assert culprit.details[0] == "its kernel is right before it is scheduled: the step 'split_sums' of the schedule is to blame"
    assert "reduce_max" in _example(culprit)


def test_a_kernel_too_large_for_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vecmath.FUNCTIONS[32], "tanh", _slightly_off)
    monkeypatch.setattr(check_kernels, "INTERPRETED", 100)
    culprit = _culprit(program=Program((X,), (p.tanh(X),)))
    assert culprit.details[0].startswith("it is too large for the interpreter of the kernel language")


def test_code_that_cannot_be_made_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(v: Vec, x: str) -> str:
        raise KeyError("tanh")
    monkeypatch.setitem(vecmath.FUNCTIONS[32], "tanh", refuse)
    culprit = _culprit()
    assert (culprit.kind, culprit.headline) == ("machine code", "no machine code can be made: KeyError: 'tanh'")


def test_a_verified_session_refuses_wrong_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vecmath.FUNCTIONS[32], "tanh", _slightly_off)
    x = gc.placeholder(gc.float32, [4])
    y = gc.tanh(x, name="squash")
    with gc.Session(config=gc.ConfigProto(verify=True)) as session, pytest.raises(WrongPass, match=r"^kernel 0_tanh_squash") as caught:
        session.run(y, {x: np.ones(4, np.float32)})
    assert "from squash (test_bisect_kernels.py:" in str(caught.value)
    with gc.Session(config=gc.ConfigProto(verify=False)) as session:
        np.testing.assert_allclose(session.run(y, {x: np.ones(4, np.float32)}), np.tanh(1) * 1.00003, rtol=2e-6)


# Memory ----------------------------------------------------------------------------------------------------------------------------------

def _plan_with(monkeypatch: pytest.MonkeyPatch, change: Callable[[MemoryPlan], MemoryPlan]) -> None:
    monkeypatch.setattr(planned, "plan_memory", lambda program, apart: change(plan_memory(program, apart)))


def test_two_live_values_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest of each row are put where the product is, which is still to be read."""
    def change(plan: MemoryPlan) -> MemoryPlan:
        largest, = [step for step in plan.steps if step.name == "reduce_max"]
        return replace(plan, locations={**plan.locations, (largest, 0): plan.locations[(PRODUCT, 0)]})
    _plan_with(monkeypatch, change)
    culprit = _culprit(NONE)
    assert culprit.kind == "memory plan"
    assert re.match(r"the memory plan is wrong: \d+_reduce_max overwrites the result of 0_dot_general too early$", culprit.headline)
    assert any(re.match(r"it lives in arena \d+ \(144 bytes\), which \d+_\w+ still reads", each) for each in culprit.details)


def test_the_value_that_is_lost_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.placeholder(gc.float32, [32], name="x")
    kept = gc.sin(x, name="kept")
    other = gc.cumsum(kept, name="other")
    y = gc.cumsum(other * kept, name="y")

    def all_in_one(plan: MemoryPlan) -> MemoryPlan:
        places = {value: Location("arena", 0) if place.kind == "arena" else place for value, place in plan.locations.items()}
        return replace(plan, locations=places)
    _plan_with(monkeypatch, all_in_one)
    with gc.Session(config=gc.ConfigProto(pipeline="none")) as session:
        culprit = session.bisect(y, {x: np.ones(32, np.float32)}).culprit
    assert culprit is not None
    assert culprit.headline == "the memory plan is wrong: 1_cumulative_sum_other overwrites the result of 0_sine_kept too early"
    assert culprit.details[-1].startswith("from kept (test_bisect_kernels.py:")


def test_a_result_over_an_operand_that_is_read_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = p.transpose(p.sine(X), (1, 0))
    program = Program((X,), (p.add(p.exponential(turned), turned),))
    _plan_with(monkeypatch, _over_its_operand)
    culprit = _culprit(NONE, program)
    assert culprit.kind == "memory plan"
    assert "is right by itself; the memory plan is wrong: its result lies over an operand that is still to be read" in culprit.headline


def _over_its_operand(plan: MemoryPlan) -> MemoryPlan:
    """Every transpose writes over what it reads."""
    places = dict(plan.locations)
    for step in plan.steps:
        if step.name == "transpose":
            places[(step, 0)] = places[(step.operands[0], 0)]
    return replace(plan, locations=places)


def test_the_plans_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and memory are right, but the plan leaves out a copy."""
    real = compiling._native_steps
    monkeypatch.setattr(compiling, "_native_steps", lambda *arguments: real(*arguments)[:-1])
    v, w = (p.variable_read(name, TensorType(dtypes.float32, (4,))) for name in "vw")
    program = Program((), (), (p.variable_assign("v", p.sine(w)), p.variable_assign("w", p.sine(v))))
    verdict = bisect(program, DEFAULT, [], {"v": np.float32([1, 2, 3, 4]), "w": np.float32([5, 6, 7, 8])})
    assert verdict.culprit is not None
    assert verdict.culprit.headline.startswith("machine code changed variable ")
    assert verdict.culprit.details == ("every kernel and the memory plan are right by themselves: the plan's own code (launches, threads, "
                                       "copies) is to blame",)


def test_a_kernel_whose_pieces_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk whose loop is said to be parallel: right as a whole, and wrong as soon as threads share it."""
    real = schedule.split_sums

    def split_sums(kernel: ir.Kernel) -> ir.Kernel:
        made = real(kernel)
        return replace(made, body=tuple(replace(each, kind="parallel") if isinstance(each, ir.Loop) else each for each in made.body))
    monkeypatch.setattr(schedule, "split_sums", split_sums)
    line = p.parameter("x", TensorType(dtypes.float32, (1000,)))
    culprit = _culprit(program=Program((line,), (p.cumulative_sum(line, 0),)), feeds=[np.ones(1000, np.float32)])
    assert culprit.headline == "kernel 0_cumulative_sum gives other bits when its range is cut in two, as threads cut it"


# For a GPU -------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("merged", "blamed"), [(False, "the schedule for a GPU"), (True, "the schedule for a GPU or the merging")])
def test_kernels_for_a_gpu_are_interpreted(monkeypatch: pytest.MonkeyPatch, merged: bool, blamed: str) -> None:
    """Alone, and where two small ones share a launch."""
    x = gc.placeholder(gc.float32, [6, 50], name="x")
    fetches = [gc.nn.softmax(x, name="shares"), *([gc.reduce_sum(gc.exp(x), 0)] if merged else [])]

    def compiled() -> gc.Executable:
        monkeypatch.setattr(compile_cuda, "_made", Remembered())
        with gc.Session(config=gc.ConfigProto(verify=True)) as session:
            return session.compile(fetches, {x: None}, target="sm_90")
    assert len(compiled().kernels) == 1
    real = compile_cuda.schedule_gpu
    monkeypatch.setattr(compile_cuda, "schedule_gpu", lambda kernel, gpu: _with_wrong_maximum(real(kernel, gpu)))
    with pytest.raises(WrongPass, match=r"^kernel \d+_\w+, interpreted, gives a wrong result: at \[0, \d+\] expected ") as caught:
        compiled()
    assert caught.value.culprit.details[0] == f"its kernel is right before it is scheduled: {blamed} is to blame"
    assert caught.value.culprit.details[2].startswith("from shares (test_bisect_kernels.py:")


def test_wrong_lowering_shows_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cuda, "_made", Remembered())
    real = lowering.inline_lets
    monkeypatch.setattr(lowering, "inline_lets", lambda body: _changed(real(body), _least_for_largest))
    x = gc.placeholder(gc.float32, [6, 50], name="x")
    with gc.Session(config=gc.ConfigProto(verify=True)) as session, pytest.raises(WrongPass, match="lowering is to blame"):
        session.compile(gc.reduce_max(x, 1), {x: None}, target="sm_90")


def _with_wrong_maximum(kernel: ir.Kernel) -> ir.Kernel:
    return replace(kernel, body=_changed(kernel.body, _least_for_largest))
