"""Is what was compiled right? Every pass, every kernel and the memory plan against the reference interpreter; what is wrong is named.

    ConfigProto(verify=True), GRAPHC_VERIFY=1   each compilation, on random values (`check_stages`, `check_executable`): WrongPass
    graphc bisect, Session.bisect               one computation on its own values (`bisecting.py`): a Verdict

`truth.py` says what is right, `check_passes.py` narrows a wrong pass down, `check_kernels.py` wrong machine code. Slow: for finding errors
of the compiler, not for daily use.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.core.interpret import trace
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.passes.pipelines import Stage
from graphc.runtime.check_cuda import check_cuda_kernels
from graphc.runtime.check_kernels import check_kernels, check_memory_plan
from graphc.runtime.check_passes import Inputs, blame_pass, is_invalid, wrong_result
from graphc.runtime.executable import CudaExecutable, NativeExecutable
from graphc.runtime.reduce import reduce_program
from graphc.runtime.truth import expect, first_difference, named
from graphc.runtime.verdict import Culprit, Verdict
from graphc.runtime.verifying import Results, Tell, silent

Array = np.ndarray[Any, Any]
Run = Callable[[list[Array], dict[str, Array]], Results]
Make = Callable[[Program], Run]
WALKED = 1000  # kernels up to which the memory plan is watched also where results are right
LARGEST = 1 << 26  # elements of all values together that the interpreter is asked to compute


class WrongPass(AssertionError):
    """A stage made an invalid Program, or gives other results: an error of the compiler, never of its user. culprit: what is to blame."""

    def __init__(self, culprit: Culprit) -> None:
        super().__init__(str(culprit))
        self.culprit = culprit


# On random values, while a program is compiled -------------------------------------------------------------------------------------------

def check_stages(stages: Sequence[Stage], seed: int = 0) -> bool:
    """WrongPass, naming the first of the stages that is not valid or gives other results than the first, and what in its pass
    is to blame. False where no random values will do (`random_inputs`): then only validity was checked."""
    inputs = random_inputs(stages[0].program, seed)
    _require(judge_stages(stages, inputs))
    return inputs is not None


def check_executable(executable: NativeExecutable, run: Run, seed: int = 0) -> bool:
    """WrongPass where `run(feeds, variables)` of its machine code, or a kernel of it, gives other results than the interpreter, naming
    the kernel. False as `check_stages`."""
    inputs = random_inputs(executable.stages[0].program, seed)
    if inputs is not None:
        _require(judge_code(executable, inputs, run))
    return inputs is not None


def check_cuda_executable(executable: CudaExecutable, seed: int = 0) -> bool:
    """WrongPass where a kernel for a GPU, interpreted, gives other results than the interpreter. False as `check_stages`."""
    inputs = random_inputs(executable.stages[0].program, seed)
    if inputs is not None:
        _require(Verdict(culprit=check_cuda_kernels(executable, replace(inputs, program=executable.program))))
    return inputs is not None


def check_machine_code(program: Program, run: Run, seed: int = 0) -> bool:
    """WrongPass where `run(feeds, variables)` gives other results than the interpreter gives for `program`. False as `check_stages`."""
    inputs = random_inputs(program, seed)
    if inputs is not None:
        difference = _difference_of_run(inputs, run)[0]
        _require(Verdict(culprit=Culprit("machine code", "", f"machine code {difference}") if difference else None))
    return inputs is not None


def random_inputs(program: Program, seed: int = 0) -> Inputs | None:
    """Random values for a program; None where it is too large to be interpreted, or (with a warning) refuses them, as a factorisation may.

    A counter of random operations is an integer scalar like any other: every number is a valid run.
    """
    if is_large(program) or is_invalid(program):
        return None
    for make in (_random, _positive_definite):
        random = np.random.default_rng(seed)
        inputs = Inputs(program, [make(parameter.type, random) for parameter in program.parameters],
                        {name: make(type_, random) for name, type_ in program.variables.items()})
        try:
            expect(program, inputs.feeds, inputs.variables)
        except ValueError as error:
            problem = str(error)
        else:
            return inputs
    warnings.warn(f"graphc: nothing is verified: the program refuses random values ({problem}); `Session.bisect` takes real ones",
                  RuntimeWarning, stacklevel=2)
    return None


def is_large(program: Program) -> bool:
    """Whether the interpreter should not be asked to run `program`."""
    return sum(type_.size for node in program.nodes for type_ in node.types) > LARGEST


def _require(verdict: Verdict) -> None:
    if verdict.culprit is not None:
        raise WrongPass(verdict.culprit)


def _random(type_: TensorType, random: np.random.Generator) -> Array:
    """Values that no common formula overflows on; small integers, so that they can be indices and labels."""
    if type_.dtype.is_complex:
        pairs = random.standard_normal((*type_.dims, 2)).astype(type_.dtype.real_dtype.np_dtype)
        return np.asarray(pairs.view(type_.dtype.np_dtype)[..., 0])
    if type_.dtype.is_floating:
        return np.asarray(random.standard_normal(type_.dims)).astype(type_.dtype.np_dtype)
    return np.asarray(random.integers(0, 2, type_.dims)).astype(type_.dtype.np_dtype)


def _positive_definite(type_: TensorType, random: np.random.Generator) -> Array:
    """As `_random`, but square matrices are symmetric, with large numbers on the diagonal: they have inverses and factors."""
    value, dims = _random(type_, random), type_.dims
    if not type_.dtype.is_inexact or len(dims) < 2 or dims[-1] != dims[-2]:
        return value
    wide = value.astype(np.complex128 if type_.dtype.is_complex else np.float64)
    wide = (wide + np.conj(np.swapaxes(wide, -1, -2))) / 2 + 4 * dims[-1] * np.eye(dims[-1])
    return wide.astype(type_.dtype.np_dtype)


# Verdicts --------------------------------------------------------------------------------------------------------------------------------

def judge_stages(stages: Sequence[Stage], inputs: Inputs | None, tell: Tell = silent, strict: bool = False) -> Verdict:
    """The verdict on passes. inputs: what to run the first stage's Program on; None to check no more than that Programs are valid.
    strict: whether a pass that raises, and is left out, is a culprit too."""
    first = is_invalid(stages[0].program)
    if first:
        return Verdict(culprit=Culprit("pass", stages[0].name, _invalid(stages[0].name, first)))
    expected = {} if inputs is None else expect(inputs.program, inputs.feeds, inputs.variables)
    applications, largest = 0, 0.0
    for number, (before, stage) in enumerate(pairwise(stages)):
        here = None if inputs is None else Inputs(before.program, inputs.feeds, inputs.variables)
        problem, distance = _stage_problem(stage, expected, here)
        if stage.problem and strict:
            problem = f"pass {stage.name!r} failed: {stage.problem}"
        if problem:
            culprit = Culprit("pass", stage.name, problem)
            if here is not None and stage.apply is not None:
                culprit = blame_pass(stage.name, stage.apply, here, problem)
            return Verdict(number, applications, 0, largest, culprit)
        applications, largest = applications + len(stage.applied), max(largest, distance)
        how = "left out" if stage.problem else "agrees" if here is not None else "valid"
        tell(f"pass {stage.name}: {len(stage.program.nodes)} nodes, {len(stage.applied)} rule applications: {how}")
    return Verdict(len(stages) - 1, applications, 0, largest)


def _invalid(name: str, problem: str) -> str:
    return f"the program after pass {name!r} is not valid: {problem}"


def _stage_problem(stage: Stage, expected: Mapping[str, Any], inputs: Inputs | None) -> tuple[str, float]:
    """What is wrong with the Program after a pass, and how far its results are from the truth. inputs: of the pass."""
    invalid = is_invalid(stage.program)
    if invalid or inputs is None:
        return _invalid(stage.name, invalid) if invalid else "", 0.0
    if stage.program is inputs.program:
        return "", 0.0
    wrong, distance = wrong_result(expected, stage.program, inputs.feeds, inputs.variables)
    return f"pass {stage.name!r} {wrong}" if wrong else "", distance


def judge_code(executable: NativeExecutable, inputs: Inputs, run: Run, tell: Tell = silent, make: Make | None = None) -> Verdict:
    """The verdict on machine code: kernel by kernel, then `run`, which runs the whole; then the memory plan, step by step. inputs: of the
    first stage's Program. make: compiles a Program alone, for the smallest example of a wrong kernel."""
    final = Inputs(executable.program, inputs.feeds, inputs.variables)
    kernels = check_kernels(executable, final, tell)
    if kernels.culprit is not None:
        example = None if make is None or kernels.step is None else _smallest(kernels.step, make)
        wrong = kernels.culprit
        if example is not None:
            wrong = replace(wrong, example=example, command="graphc bisect FILE --pipeline none")
        return Verdict(0, 0, kernels.right, kernels.largest, wrong)
    difference, distance = _difference_of_run(inputs, run)
    culprit = check_memory_plan(executable, final) if difference or len(executable.kernels) <= WALKED else None
    if difference:
        why = "every kernel and the memory plan are right by themselves: the plan's own code (launches, threads, copies) is to blame"
        if culprit is None:
            culprit = Culprit("machine code", "plan", f"machine code {difference}", (why,))
        else:
            culprit = replace(culprit, details=(f"machine code {difference}", *culprit.details))
    if culprit is None:
        tell("machine code, all kernels in one call: agrees")
    return Verdict(0, 0, kernels.right, max(kernels.largest, distance), culprit)


def _smallest(step: Inputs, make: Make) -> Program | None:
    """The least part of a step that machine code gets wrong, each node with a kernel of its own; None where it takes the whole."""
    def fails(program: Program, feeds: list[Array]) -> bool:
        return bool(_difference_of_run(Inputs(program, feeds, {}), make(program))[0])
    example = reduce_program(step.program, trace(step.program, step.feeds), fails)
    return None if example is None else example.program


def _difference_of_run(inputs: Inputs, run: Run) -> tuple[str, float]:
    """What a run gives otherwise than the interpreter, in words, and how far it is from the truth."""
    expected = expect(inputs.program, inputs.feeds, inputs.variables)
    found = named(run(list(inputs.feeds), dict(inputs.variables)))
    difference = first_difference(expected, found)
    if difference is not None:
        what, how = difference
        return f"changed {what}: {how}" if how else f"lost {what}", 0.0
    return "", max((value.distance(found[name]) for name, value in expected.items()), default=0.0)
