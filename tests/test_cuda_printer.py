"""CUDA C text: what it computes, run on the CPU and held against the interpreter of the kernel IR; how it reads; that it compiles unspilled."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen import interp, ir
from graphc.codegen.cuda import compiler, printer
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.gpu import gpu_for
from graphc.codegen.operations import COMPARISONS, OPERATIONS
from graphc.codegen.parse import parse_kernel
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.cuda_host import host
from tests.gpu_kernels import KERNELS
from tests.kernel_samples import arguments as sample_arguments
from tests.kernel_samples import kernels as samples
from tests.tolerances import assert_close

GOLDEN = Path(__file__).parent / "golden"
GPU = gpu_for("sm_90")
Array = np.ndarray[Any, Any]


def kernel_of(name: str) -> ir.Kernel:
    kernel = parse_kernel(KERNELS[name])
    verify(kernel)
    return kernel


def arguments(kernel: ir.Kernel) -> list[Array]:
    """Small whole numbers and quarters, so that most sums are exact; 77 where a kernel must write."""
    rng = np.random.default_rng(7)
    arrays = []
    for buffer in kernel.params:
        if buffer.space == "out":
            array = np.full(buffer.shape, 77).astype(buffer.dtype.np_dtype)
        elif buffer.dtype.is_floating:
            array = (rng.integers(-8, 9, buffer.shape) / 4).astype(buffer.dtype.np_dtype)
        else:
            array = rng.integers(0, 2 if buffer.dtype.is_bool else 10, buffer.shape).astype(buffer.dtype.np_dtype)
        arrays.append(array)
    return arrays


def check(kernel: ir.Kernel, source: CudaSource, arrays: list[Array], depth: int = 1, scale: float = 1.0) -> None:
    """Runs the text on the host in every order of threads, against the interpreter."""
    want = [array.copy() for array in arrays]
    interp.run(kernel, want)
    for order in host.ORDERS:
        got = [array.copy() for array in arrays]
        host.run(source, kernel, got, order)
        for buffer, each, expected in zip(kernel.params, got, want, strict=True):
            try:
                assert_close(each, expected, buffer.dtype, depth=depth, scale=scale)
            except AssertionError as error:
                raise AssertionError(f"{kernel.name}, {buffer.name}, {order}: {error}\n{source.text}") from None


# Loops ----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources() -> dict[str, CudaSource]:
    """All kernels printed, and compiled in few runs of g++."""
    printed = {name: print_cuda(kernel_of(name), GPU) for name in KERNELS}
    host.build_many(printed.values())
    return printed


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, sources: dict[str, CudaSource]) -> None:
    kernel = kernel_of(name)
    check(kernel, sources[name], arguments(kernel), depth=16)
