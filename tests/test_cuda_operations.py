"""Every kernel of the table of operations, and fused groups, as CUDA text on the host: the expected values in three orders of threads.

Lowered, scheduled for a GPU, printed, compiled by g++ and run beside guard pages: all that a GPU does but its own rounding and speed.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from graphc.codegen import ir
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from graphc.core.program import Program
from tests.cuda_host import host
from tests.groups import SAMPLES, Sample
from tests.kernels import fill, has_kernel, run_node, run_program
from tests.op_cases import BY_PRIMITIVE
from tests.tolerances import assert_close

Array = np.ndarray[Any, Any]
GPU = gpu_for("sm_90")


@cache
def scheduled(kernel: ir.Kernel) -> ir.Kernel:
    return schedule_gpu(kernel, GPU)


@cache
def printed(kernel: ir.Kernel) -> CudaSource:
    return print_cuda(kernel, GPU)


def sources(programs: Iterable[Program]) -> list[CudaSource]:
    """The text of every kernel of `programs`."""
    return [printed(scheduled(lower(node))) for program in programs for node in program.nodes if has_kernel(node)]


@pytest.mark.parametrize("primitive", sorted(BY_PRIMITIVE))
def test_operation_gives_the_expected_values(primitive: str) -> None:
    programs = [case.expanded() for case in BY_PRIMITIVE[primitive]]
    host.build_many(sources(programs))
    problems = []
    for case, program in zip(BY_PRIMITIVE[primitive], programs, strict=True):
        for order in host.ORDERS:
            try:
                (result,) = run_program(program, case.arrays(), scheduled, partial(on_host, order))
                assert_close(result, case.want(), program.outputs[0].dtype, case.depth, case.scale)
            except (AssertionError, host.KernelFault) as error:
                problems.append(f"{case.id}, {order}: {error}")
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_group_gives_the_expected_values(sample: Sample) -> None:
    node = sample.node()
    for order in host.ORDERS:
        outputs = run_node(node, sample.arrays(), scheduled, partial(on_host, order))
        for result, want, type_ in zip(outputs, sample.want(), node.types, strict=True):
            assert_close(result, want, type_.dtype, sample.depth, sample.scale)


_BARRIER = re.compile(r"(__syncthreads\(\);|sync_team<\d+>\(\);)")


def without_barrier(source: CudaSource, number: int) -> CudaSource:
    """`source` with the barrier of that number taken out."""
    found = list(_BARRIER.finditer(source.text))[number]
    return replace(source, text=source.text[: found.start()] + source.text[found.end() :])


WITH_BARRIERS = [sample for sample in SAMPLES if _BARRIER.search(printed(scheduled(lower(sample.node()))).text)]


@pytest.mark.parametrize("sample", WITH_BARRIERS, ids=lambda sample: sample.id)
def test_no_barrier_can_be_left_out(sample: Sample) -> None:
    """Each is needed, and a kernel without it is noticed in one order of threads or another."""
    kernel = scheduled(lower(sample.node()))
    source = printed(kernel)
    mutants = [without_barrier(source, number) for number in range(len(_BARRIER.findall(source.text)))]
    host.build_many([source, *mutants])
    arrays = [array.reshape(buffer.shape) for array, buffer in zip(sample.arrays(), kernel.params, strict=False)]
    arrays += [fill(buffer.dtype.np_dtype, buffer.shape) for buffer in kernel.params[len(arrays):]]
    right = results(source, kernel, arrays)
    assert len(right) == 1
    for mutant in mutants:
        assert results(mutant, kernel, arrays) != right


def results(source: CudaSource, kernel: ir.Kernel, arrays: Sequence[Array]) -> set[bytes]:
    """What the orders of threads give, bit for bit."""
    found = set()
    for order in host.ORDERS:
        got = [array.copy() for array in arrays]
        host.run(source, kernel, got, order)
        found.add(b"".join(array.tobytes() for array in got))
    return found


def test_an_index_beyond_the_array_is_caught_in_generated_text() -> None:
    kernel = scheduled(lower(next(sample for sample in SAMPLES if sample.id == "gelu-chain").node()))
    source = printed(kernel)
    planted = replace(source, text=source.text.replace("y0[c]", "y0[c + 4]"))
    assert planted.text != source.text
    arrays = [fill(buffer.dtype.np_dtype, buffer.shape) for buffer in kernel.params]
    with pytest.raises(host.KernelFault, match=r"illegal memory access, .* of y0"):
        host.run(planted, kernel, arrays)


def on_host(order: str, kernel: ir.Kernel, arrays: Sequence[Array]) -> None:
    host.run(printed(kernel), kernel, arrays, order)
