"""Random Programs on the way to a GPU: its pipelines keep their meaning, and their plans, run launch by launch as CUDA text on the host,
give what the reference interpreter gives. Covers what single kernels do not: recomputing, merged launches, memory shared by address."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc.primitives as p
from graphc.codegen.cuda import compiler
from graphc.codegen.cuda.gemm import gemm_of
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.pointer import Pointer
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.pipelines import DEFAULT, PIPELINES, for_gpu, run_pipeline
from graphc.runtime.compile_cuda import Products, compile_cuda_program
from graphc.runtime.cuda.launches import CopyLaunch
from graphc.runtime.executable import CudaExecutable, Slots
from tests.cuda_host import host
from tests.random_programs import programs
from tests.test_cuda_models import source
from tests.test_random_programs import _agree, _values

Array = np.ndarray[Any, Any]
GARBAGE = 0xAB  # memory that a plan must write before it reads
SM_90 = gpu_for("sm_90")


def library_can(node: Node) -> bool:
    return gemm_of(lower(node)) is not None


@given(programs(), st.integers(0, 1000))
@settings(max_examples=120)
def test_the_passes_for_a_gpu_keep_the_meaning(program: Program, seed: int) -> None:
    feeds, variables = _values(program, seed)
    wanted, written = interpret(program, feeds, variables)
    for pipeline in PIPELINES.values():
        for expressible in (None, library_can):
            stages = run_pipeline(program, for_gpu(pipeline, expressible))
            assert not [stage.problem for stage in stages if stage.problem]
            for stage in stages:
                verify(stage.program)
            got, updated = interpret(stages[-1].program, feeds, variables)
            compare(program, (got, updated), (wanted, written), variables)


@pytest.mark.parametrize("pipeline", ["default", "unfused"])
def test_plans_for_a_gpu_agree_with_the_interpreter(pipeline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "COMPILERS", [])  # text is all that is wanted

    @given(st.lists(programs(), min_size=6, max_size=6), st.integers(0, 1000))
    @settings(max_examples=10 if pipeline == "default" else 3, deadline=None, suppress_health_check=list(HealthCheck))
    def check(several: list[Program], seed: int) -> None:
        executables = [compile_cuda_program(program, PIPELINES[pipeline], SM_90, Products()) for program in several]
        host.build_many([source(kernel) for executable in executables for kernel in executable.kernels])  # in one go: g++ is slow to start
        for number, (program, executable) in enumerate(zip(several, executables, strict=True)):
            feeds, variables = _values(program, seed)
            for order in ("forward", "reversed"):
                found = run(executable, feeds, variables, order)
                compare(program, found, interpret(program, feeds, variables), variables, f"program {number}, {order}")

    check()


def test_plans_for_a_gpu_of_every_kind_of_step_agree_with_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "COMPILERS", [])

    @given(st.lists(programs(special=6, host=False), min_size=6, max_size=6), st.integers(0, 1000))
    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
    def check(several: list[Program], seed: int) -> None:
        executables = [compile_cuda_program(program, DEFAULT, SM_90, Products()) for program in several]
        host.build_many([source(kernel) for executable in executables for kernel in executable.kernels])
        for number, (program, executable) in enumerate(zip(several, executables, strict=True)):
            feeds, variables = _values(program, seed)
            found = run(executable, feeds, variables, "reversed")
            compare(program, found, interpret(program, feeds, variables), variables, f"program {number}")

    check()


def test_a_plan_whose_updates_share_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four variables, each updated from its own feed: one launch, and every update right."""
    monkeypatch.setattr(compiler, "COMPILERS", [])
    kinds = [TensorType(dtypes.float32, shape) for shape in ((5,), (3, 7), (), (130,))]
    feeds = tuple(p.parameter(f"g{n}", kind) for n, kind in enumerate(kinds))
    old = [p.variable_read(f"v{n}", kind) for n, kind in enumerate(kinds)]
    news = [p.subtract(before, p.multiply(feed, feed)) for before, feed in zip(old, feeds, strict=True)]
    program = Program(feeds, (), tuple(p.variable_assign(f"v{n}", new) for n, new in enumerate(news)))
    executable = compile_cuda_program(program, DEFAULT, SM_90, Products())
    assert [len(kernel.steps) for kernel in executable.kernels] == [4]
    arrays, variables = _values(program, 3)
    for order in ("forward", "reversed"):
        compare(program, run(executable, arrays, variables, order), interpret(program, arrays, variables), variables)


def test_column_sums_that_share_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of two biases: each body waits at its own barriers, in blocks of its own."""
    monkeypatch.setattr(compiler, "COMPILERS", [])
    feeds = tuple(p.parameter(f"g{n}", TensorType(dtypes.float32, shape)) for n, shape in enumerate(((300, 40), (300, 77))))
    program = Program(feeds, (), tuple(p.variable_assign(f"v{n}", p.reduce_sum(feed, (0,))) for n, feed in enumerate(feeds)))
    executable = compile_cuda_program(program, DEFAULT, SM_90, Products())
    (kernel,) = executable.kernels
    assert len(kernel.steps) == 2
    assert "__syncthreads" in kernel.code
    arrays, variables = _values(program, 3)
    for order in ("forward", "reversed", "shuffled"):
        compare(program, run(executable, arrays, variables, order), interpret(program, arrays, variables), variables)


def compare(program: Program, found: tuple[list[Array], dict[str, Array]], wanted: tuple[list[Array], dict[str, Array]],
            variables: dict[str, Array], what: str = "") -> None:
    for got, expected, node in zip(found[0], wanted[0], program.outputs, strict=True):
        _agree(got, expected, node.dtype)
    for name, value in wanted[1].items():
        _agree(found[1].get(name, variables[name]), value, program.variables[name].dtype)


def run(executable: CudaExecutable, feeds: list[Array], variables: dict[str, Array], order: str) -> tuple[list[Array], dict[str, Array]]:
    """One run of the plan on the host, in memory laid out as on a device: what `interpret` gives."""
    slots = executable.slots
    state = {name: np.array(variables[name]) for name in slots.variables}
    outputs = [np.full(type_.dims, GARBAGE).astype(type_.dtype.np_dtype) for type_ in executable.fetches]
    memory: dict[int, Array] = {Slots.ARENA: np.full(executable.memory.arena_bytes, GARBAGE, np.uint8)}
    memory |= {slots.variable(name): array for name, array in state.items()}
    memory |= {slots.constant(number): np.array(array) for number, array in enumerate(executable.constants)}
    memory |= {slots.feed(number): np.array(array) for number, array in enumerate(feeds)}
    memory |= {slots.output(number): array for number, array in enumerate(outputs)}
    raw = {slot: array.reshape(-1).view(np.uint8) for slot, array in memory.items()}

    def at(pointer: Pointer, nbytes: int) -> Array:
        return raw[pointer.slot][pointer.offset : pointer.offset + nbytes]

    for launch in executable.launches:
        if isinstance(launch, CopyLaunch):
            at(launch.to, launch.nbytes)[...] = at(launch.source, launch.nbytes)
            continue
        kernel = executable.kernels[launch.kernel]
        arrays = [at(pointer, buffer.nbytes).view(buffer.dtype.np_dtype).reshape(buffer.shape)
                  for pointer, buffer in zip(launch.params, kernel.ir.params, strict=True)]
        host.run(source(kernel), kernel.ir, arrays, order)
    return outputs, {name: state[name] for name, _ in executable.writes}
