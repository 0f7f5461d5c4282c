"""What `graphc gpu` prints: each part that a GPU needs, with its version or with what to do about its absence."""
from __future__ import annotations

from graphc.codegen.cuda.compiler import usable_compiler
from graphc.runtime.arena import readable
from graphc.runtime.cuda import cublaslt
from graphc.runtime.cuda.detect import (
    Device,
    compiler_problem,
    cuda_text,
    device_problem,
    devices,
    driver_problem,
    driver_version,
    problem,
    pycuda_problem,
    pycuda_version,
)


def report() -> str:
    """A line for each part that a GPU needs, with its version or with what to do about its absence; then the verdict."""
    parts = [("pycuda", pycuda_problem() or pycuda_version() or "installed"),
             ("driver", driver_problem() or f"for CUDA {cuda_text(driver_version())}")]
    if driver_problem() is None:
        found = [(f"/gpu:{ordinal}", device.problem() or _described(device)) for ordinal, device in enumerate(devices())]
        parts += found or [("device", f"{device_problem(0)}")]
    parts += [("compiler", compiler_problem() or usable_compiler().name), ("cublasLt", _library_text())]
    width = max(len(name) for name, _ in parts)
    verdict = "graphc can run on a GPU here." if problem() is None else "graphc cannot run on a GPU here; the CPU needs none of this."
    return "\n".join([*(f"{name:<{width}}  {text}" for name, text in parts), "", verdict])


def _library_text() -> str:
    """cublasLt is no need: without it generated kernels compute products."""
    library = cublaslt.Library.find()
    return f"{cublaslt.problem()}" if library is None else f"{library.version // 10000}.{library.version // 100 % 100} ({library.path})"


def _described(device: Device) -> str:
    return f"{device.name}, {device.arch}, {readable(device.memory)}, {device.multiprocessors} multiprocessors"
