"""Random Programs: every pipeline, interpreted and compiled, agrees with the reference interpreter; every stage is valid, parses back."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.parse import parse_program
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.verify import verify
from graphc.passes.memory import plan_memory
from graphc.passes.pipelines import DEFAULT, NONE, PIPELINES, UNFUSED, run_pipeline
from tests.executing import execute
from tests.random_programs import programs

# Relative to the largest value: chains of up to 14 operations may cancel.
LOOSE = {dtypes.float32: 2e-3, dtypes.float64: 1e-9, dtypes.complex64: 2e-3, dtypes.complex128: 1e-9}


def _values(program: Program, seed: int) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    feeds = [np.asarray(generator.integers(-3, 20, p.dims) if p.dtype.is_integer else generator.standard_normal(p.dims))
             .astype(p.dtype.np_dtype) for p in program.parameters]
    return feeds, {name: generator.standard_normal(t.dims).astype(t.dtype.np_dtype) for name, t in program.variables.items()}


def _agree(actual: np.ndarray, expected: np.ndarray, dtype: dtypes.DType) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if dtype not in LOOSE:
        np.testing.assert_array_equal(actual, expected)
        return
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max(initial=0.0)))
    wide = np.complex128 if dtype.is_complex else np.float64
    np.testing.assert_allclose(actual.astype(wide), expected.astype(wide), rtol=LOOSE[dtype], atol=LOOSE[dtype] * scale)


def _check(program: Program, seed: int, pipelines: tuple[str, ...], compiled: bool) -> None:
    feeds, variables = _values(program, seed)
    wanted, written = interpret(program, feeds, variables)
    for name in pipelines:
        if compiled:
            got, updated = execute(program, feeds, variables, PIPELINES[name], threads=2)
        else:
            stages = run_pipeline(program, PIPELINES[name])
            assert not [stage.problem for stage in stages if stage.problem]
            for stage in stages:
                verify(stage.program)
                assert parse_program(print_program(stage.program)) == stage.program
            got, updated = interpret(stages[-1].program, feeds, variables)
        for a, b, node in zip(got, wanted, program.outputs, strict=True):
            _agree(a, b, node.dtype)
        for variable, value in written.items():
            _agree(updated.get(variable, variables[variable]), value, program.variables[variable].dtype)


@given(programs(), st.integers(0, 1000))
@settings(max_examples=200)
def test_passes_keep_the_meaning(program: Program, seed: int) -> None:
    _check(program, seed, tuple(PIPELINES), compiled=False)


@given(programs(), st.integers(0, 1000))
@settings(max_examples=60)
def test_compiled_programs_agree_with_the_interpreter(program: Program, seed: int) -> None:
    _check(program, seed, tuple(PIPELINES), compiled=True)


@pytest.mark.usefixtures("vector_bits")
def test_compiled_programs_agree_at_every_width() -> None:
    @given(programs(dtypes.float64), st.integers(0, 1000))
    @settings(max_examples=15)
    def check(program: Program, seed: int) -> None:
        _check(program, seed, ("default",), compiled=True)

    check()


@given(programs(special=6), st.integers(0, 1000))
@settings(max_examples=40)
def test_passes_keep_the_meaning_of_every_kind_of_step(program: Program, seed: int) -> None:
    """Walks, orders, scatters, windows, complex numbers, functions of the host: `random_steps`."""
    _check(program, seed, ("default",), compiled=False)


def test_every_kind_of_step_gives_the_same_bits_on_any_number_of_threads() -> None:
    @given(programs(special=6), st.integers(0, 1000))
    @settings(max_examples=15)
    def check(program: Program, seed: int) -> None:
        feeds, variables = _values(program, seed)
        wanted, written = interpret(program, feeds, variables)
        found = [execute(program, feeds, variables, threads=threads) for threads in (1, 2)]
        for a, b, node in zip(found[0][0], wanted, program.outputs, strict=True):
            _agree(a, b, node.dtype)
        for variable, value in written.items():
            _agree(found[0][1].get(variable, variables[variable]), value, program.variables[variable].dtype)
        first, second = ([a.tobytes() for a in (*outputs, *updated.values())] for outputs, updated in found)
        assert first == second

    check()


@pytest.mark.usefixtures("vector_bits")
def test_every_kind_of_step_agrees_at_every_width() -> None:
    @given(programs(dtypes.float64, special=6), st.integers(0, 1000))
    @settings(max_examples=6)
    def check(program: Program, seed: int) -> None:
        _check(program, seed, ("default",), compiled=True)

    check()


@given(programs())
@settings(max_examples=100)
def test_memory_plan_is_sound(program: Program) -> None:
    """Buffers alive together never overlap; the arena is never below its bound nor above no planning; fused never has more steps."""
    steps = {}
    for pipeline in (DEFAULT, UNFUSED, NONE):
        plan = plan_memory(run_pipeline(program, pipeline)[-1].program)
        steps[pipeline.name] = len(plan.steps)
        for n, a in enumerate(plan.buffers):
            assert a.offset >= 0
            assert a.offset + a.size <= plan.arena_bytes
            for b in plan.buffers[:n]:
                together = a.first <= b.last and b.first <= a.last
                assert not together or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
        assert plan.lower_bound <= plan.arena_bytes <= plan.unplanned_bytes
    assert steps["default"] <= steps["unfused"]
