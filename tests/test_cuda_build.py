"""A kernel that spills is compiled again with leave to use more registers; every other keeps the text that was printed."""
from __future__ import annotations

from graphc.codegen.cuda.build import build, relaxed, spills
from graphc.codegen.cuda.compiler import compile_cuda
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from tests.op_cases import CASES

SM_90 = gpu_for("sm_90")


def source(name: str, live: int, threads: int = 256) -> CudaSource:
    """A kernel that keeps `live` floats in registers over a barrier."""
    text = f"""#include "graphc.cuh"

extern "C" __global__ void __launch_bounds__({threads}) {name}(const float* x, float* y) {{
  float kept[{live}];
  #pragma unroll
  for (int u = 0; u < {live}; u++) kept[u] = x[u * 256 + threadIdx.x];
  __syncthreads();
  #pragma unroll
  for (int u = 0; u < {live}; u++) y[(u * 256 + threadIdx.x)] = kept[u] * kept[{live} - 1 - u];
}}
"""
    return CudaSource(name, text, (1, 1, 1), (threads, 1, 1))


def product() -> CudaSource:
    """A product of halves for which ptxas, left alone, keeps a few values in memory."""
    program = next(case.program() for case in CASES if case.id == "dot_general-ij,jk->ik-130x300-f16")
    return print_cuda(schedule_gpu(lower(program.outputs[0]), SM_90), SM_90)


def test_what_does_not_spill_keeps_its_text() -> None:
    light = source("light", 4)
    (taken, cubin), again = build([light, light], "sm_90")
    assert taken is light
    assert spills(cubin) == 0
    assert again == (taken, cubin)


def test_what_leave_does_not_help_keeps_its_text() -> None:
    heavy = source("heavy", 120, 1024)  # as many threads leave 64 registers to each
    ((taken, cubin),) = build([heavy], "sm_90")
    assert taken is heavy
    assert spills(cubin) > 0


def test_a_kernel_that_spills_is_compiled_with_leave_to_use_more() -> None:
    printed = product()
    assert spills(compile_cuda(printed.text, "sm_90")) > 0, "ptxas has learned: find another kernel for this test"
    ((taken, cubin),) = build([printed], "sm_90")
    assert spills(cubin) == 0
    assert taken == relaxed(printed)
    assert "__launch_bounds__(256, 1)" in taken.text
