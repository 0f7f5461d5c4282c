"""A fake GPU for tests: the real pycuda on `fake_driver.cpp` and `fake_cublaslt.cpp`, in a process of its own.

The driver's library must be found when pycuda is imported, so code that wants the device runs in a subprocess: `in_subprocess`. There
`graphc` compiles CUDA text with `host.HostCompiler`, and `counters`, `fail_launch` and `last_fault` look behind the driver.
"""
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

from tests.cuda_host import pycuda_build
from tests.cuda_host.host import HERE, digest, folder, made_once

ROOT = HERE.parent.parent
PRELUDE = """
from graphc.codegen.cuda import compiler
from tests.cuda_host.host import HostCompiler
compiler.COMPILERS.insert(0, HostCompiler())
"""
ILLEGAL_ADDRESS, LAUNCH_FAILED = 700, 719  # CUDA_ERROR_*
NOT_SUPPORTED = 801
DRIVER_SOURCES = ("fake_driver.cpp", "fake_streams.cpp")


class Failed(Exception):
    """The subprocess ended with an error; the message is what it wrote."""


def in_subprocess(code: str, devices: int = 1, memory: int = 8 << 30, arch: int = 90, order: int = 0, library: bool = True,
                  timeout: float = 300, **environment: str) -> str:
    """What Python `code` (indented as one likes) writes to stdout, run with a fake driver of so many devices of `memory` bytes.

    order: of the threads of kernels, 0 forward, 1 reversed, 2 shuffled. library: whether cublasLt is there. Raises Failed.
    """
    libraries = [str(driver_folder()), *([str(cublaslt_folder())] if library else [])]
    variables = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *pycuda_build.pycuda_path()]),
        "FAKE_CUDA_DEVICES": str(devices), "FAKE_CUDA_MEMORY": str(memory), "FAKE_CUDA_ARCH": str(arch), "FAKE_CUDA_ORDER": str(order),
        **environment,
    }
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=timeout)
    if done.returncode:
        raise Failed(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


# The libraries ----------------------------------------------------------------------------------------------------------------------------


@cache
def driver_folder() -> Path:
    """A folder with libcuda.so.1."""
    text = "".join((HERE / name).read_text() for name in (*DRIVER_SOURCES, "fake_machine.h", "fake_driver.h"))
    made = folder() / f"driver-{digest(text)}"
    with made_once(made) as draft:
        if draft is not None:
            draft.mkdir()
            _compile_driver(text, draft)
    return made


def _compile_driver(text: str, target: Path) -> None:
    # Every other function of cuda.h exists too, and answers that it is not supported.
    rest = [name for name in pycuda_build.declared_functions() if f" {name}(" not in text and f" {name}," not in text]
    (target / "rest.c").write_text(pycuda_build.stubs(rest, NOT_SUPPORTED))
    _run("gcc", "-w", "-c", "-fPIC", "-o", str(target / "rest.o"), str(target / "rest.c"))
    sources = [str(HERE / name) for name in DRIVER_SOURCES]
    _run("g++", "-std=c++20", "-O1", "-w", "-fPIC", "-shared", "-fvisibility=hidden", "-I", str(pycuda_build.include_folder()),
         "-Wl,-soname,libcuda.so.1", "-o", str(target / "libcuda.so.1"), *sources, str(target / "rest.o"), "-ldl")


@cache
def cublaslt_folder() -> Path:
    """A folder with libcublasLt.so.13."""
    made = folder() / f"cublaslt-{digest((HERE / 'fake_cublaslt.cpp').read_text(), str(driver_folder()))}"
    with made_once(made) as draft:
        if draft is not None:
            draft.mkdir()
            _run("g++", "-std=c++20", "-O2", "-w", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-soname,libcublasLt.so.13",
                 "-o", str(draft / "libcublasLt.so.13"), str(HERE / "fake_cublaslt.cpp"), str(driver_folder() / "libcuda.so.1"))
    return made


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}\n{done.stderr}")


# Behind the driver, inside the subprocess -------------------------------------------------------------------------------------------------


class Counters(ctypes.Structure):
    """What the fake driver counted so far: `FakeCudaCounters` in fake_driver.h."""

    _fields_ = tuple((name, ctypes.c_long) for name in (
        "live_allocations", "live_bytes", "peak_bytes", "live_pinned", "live_streams", "live_events", "live_graphs", "modules",
        "launches", "graph_launches", "graph_nodes", "copies", "products", "leaked_allocations"))  # fmt: skip


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def counters() -> Counters:
    found = Counters()
    _driver().fake_cuda_counters(ctypes.byref(found))
    return found


def fail_launch(number: int, code: int = LAUNCH_FAILED) -> None:
    """The `number`-th launch from now on, 1 for the next, fails; its context is lost."""
    _driver().fake_cuda_fail_launch(number, code)


def last_fault() -> str:
    """The last fault of the current context in words: kernel, block, thread, line."""
    found = _driver().fake_cuda_last_fault
    found.restype = ctypes.c_char_p
    return str(found().decode())
