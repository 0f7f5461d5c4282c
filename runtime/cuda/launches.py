"""What a compiled plan for a GPU consists of: a list of launches, as data. `compile_cuda` writes it; `bound` runs or captures it in order.

A launch names its buffers by `Pointer`s: slots of the session's table of device addresses, numbered as `runtime.executable.Slots` says.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from graphc.codegen.cuda.gemm import Gemm
from graphc.codegen.pointer import Pointer


@dataclass(frozen=True)
class KernelLaunch:
    """One launch of the __global__ function `symbol` of the module `image` (a cubin, or PTX), its parameters the addresses `params`.

    image is b"" where no compiler was at hand. kernel: its position in the executable's `kernels`, for names, operations and lines.
    """

    symbol: str
    image: bytes = field(repr=False)
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    params: tuple[Pointer, ...]
    kernel: int


@dataclass(frozen=True)
class GemmLaunch:
    """A product that cublasLt computes, on the addresses `params` of the kernel whose parameters `gemm` numbers. precision: to what it may
    round float32 operands ("float32", "tfloat32", "bfloat16", "float16"). generated: graphc's own kernel for it, for a machine where the
    library is missing, refuses, or is slower (which is not looked at where the library is `wanted`)."""

    gemm: Gemm
    precision: str
    params: tuple[Pointer, ...]
    generated: KernelLaunch
    kernel: int
    wanted: bool = False


@dataclass(frozen=True)
class CopyLaunch:
    """`nbytes` bytes from `source` to `to`, on the device: a variable that could not be updated in place."""

    to: Pointer
    source: Pointer
    nbytes: int


Launch = KernelLaunch | GemmLaunch | CopyLaunch
