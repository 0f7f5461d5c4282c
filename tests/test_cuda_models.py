"""The kernels of the built-in models: compiled for real devices without spilling, and run as CUDA text on the host against the interpreter.

Expected values come of the lowered kernels in the CPU's schedule, which shares nothing with a GPU's but `lower`.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen import interp, ir
from graphc.codegen.cuda.printer import CudaSource
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule import CpuShape, schedule_cpu
from graphc.passes.pipelines import DEFAULT
from graphc.runtime.compile_cuda import Products, compile_cuda_program
from graphc.runtime.executable import CudaExecutable, CudaKernel
from tests.cuda_host import host
from tests.cuda_worker import run
from tests.small_models import SMALL_MODELS
from tests.tolerances import assert_close

Array = np.ndarray[Any, Any]
ARCHITECTURES = ("sm_80", "sm_90")
TERMS = 128  # summed into an element, about


@cache
def executable(model: str, arch: str) -> CudaExecutable:
    with gc.Graph().as_default(), gc.Session() as session:
        fetches, feeds = SMALL_MODELS[model]()
        session.run(gc.global_variables_initializer())
        program = session.compile(fetches, feeds).stages[0].program
    return compile_cuda_program(program, DEFAULT, gpu_for(arch), Products())


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("model", SMALL_MODELS)
def test_no_kernel_spills(model: str, arch: str) -> None:
    for kernel in executable(model, arch).kernels:
        assert kernel.resources is not None, kernel.name
        assert (kernel.resources.spill_bytes, kernel.resources.local_bytes) == (0, 0), kernel.name
        assert kernel.occupancy > 0, kernel.name


@pytest.mark.parametrize("model", SMALL_MODELS)
def test_kernels_on_the_host_compute_what_the_interpreter_does(model: str) -> None:
    compiled = executable(model, "sm_90")
    distinct = {kernel.symbol: kernel for kernel in compiled.kernels}
    host.build_many(source(kernel) for kernel in distinct.values())
    for kernel in distinct.values():
        lowered = [lower(compiled.plan.steps[number]) for number in kernel.steps]
        arrays = arguments(kernel.ir.params)
        want = expected(lowered, arrays)
        for order in ("forward", "reversed"):
            got = [array.copy() for array in arrays]
            host.run(source(kernel), kernel.ir, got, order)
            for result, value, buffer in zip(got, want, kernel.ir.params, strict=True):
                scale = float(np.abs(value.astype(np.float64)).max(initial=1e-30))
                assert_close(result, value, buffer.dtype, TERMS, scale)


def source(kernel: CudaKernel) -> CudaSource:
    return CudaSource(kernel.symbol, kernel.code, kernel.grid, kernel.block)


def arguments(params: Sequence[ir.Buffer]) -> list[Array]:
    """An array for each parameter, the same at every call; outputs are filled with what no result should be taken for."""
    rng = np.random.default_rng(0)
    return [_values(rng, buffer) for buffer in params]


def _values(rng: np.random.Generator, buffer: ir.Buffer) -> Array:
    if buffer.space == "out":
        return np.full(buffer.shape, 77, buffer.dtype.np_dtype)
    if buffer.dtype.is_floating:
        return rng.uniform(0.1, 0.9, buffer.shape).astype(buffer.dtype.np_dtype)
    return rng.integers(0, 2, buffer.shape).astype(buffer.dtype.np_dtype)


def expected(steps: Sequence[ir.Kernel], arrays: Sequence[Array]) -> list[Array]:
    """What the interpreter makes of `arrays`, the parameters of `steps` one after the other."""
    results: list[Array] = []
    for step in steps:
        own = [array.copy().reshape(buffer.shape) for array, buffer in zip(arrays[len(results):], step.params, strict=False)]
        interp.run(schedule_cpu(step, CpuShape(512)), own)
        results += own
    assert len(results) == len(arrays)
    return [result.reshape(array.shape) for result, array in zip(results, arrays, strict=True)]


@pytest.mark.parametrize("products", ["generated", "auto"])
@pytest.mark.parametrize("model", SMALL_MODELS)
def test_a_model_runs_on_a_device_as_on_the_cpu(model: str, products: str) -> None:
    """Three runs of each: launch by launch, recorded, replayed. The two that train must go down the same path."""
    run(f"""
    from tests.small_models import SMALL_MODELS

    def results(device):
        with gc.Graph().as_default() as graph:
            gc.set_random_seed(0)
            fetches, feeds = SMALL_MODELS[{model!r}]()
            with gc.Session(graph=graph, config=gc.ConfigProto(device=device, products={products!r})) as session:
                session.run(gc.global_variables_initializer())
                return [session.run(fetches, feeds)[0] for _ in range(3)]

    for on_cpu, on_gpu in zip(results("cpu"), results("gpu"), strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)
    assert counters().graph_launches >= 1
    """)
