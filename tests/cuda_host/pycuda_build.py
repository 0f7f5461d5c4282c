"""Where the CUDA headers are, the stubs that stand for a driver's functions, and pycuda itself, built from source where it is missing.

pycuda has no wheels, and builds only where it can link against a libcuda: here that is a library of empty functions, one for each that
cuda.h declares. Built once, in about two minutes, into the user's cache folder; every later session and process finds it there.
"""
from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cuda_host.host import made_once

VERSION = "2026.1"
PACKAGES = ("pytools", "mako", "platformdirs")  # what pycuda imports
BUILD_PACKAGES = ("setuptools", "wheel", "numpy")
# pycuda wants cudaProfiler.h, which toolkits have and wheels have not.
PROFILER = """#pragma once
#include <cuda.h>
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR, CU_OUT_CSV } CUoutput_mode;
extern "C" CUresult cuProfilerInitialize(const char*, const char*, CUoutput_mode);
extern "C" CUresult cuProfilerStart(void);
extern "C" CUresult cuProfilerStop(void);
"""


class NoCudaHeaders(Exception):
    """cuda.h was not found: the nvidia-cuda-runtime wheel and CUDA toolkits have it."""


def include_folder() -> Path:
    """The folder of cuda.h: a wheel's, else a toolkit's."""
    for folder in _include_folders():
        if (folder / "cuda.h").exists():
            return folder
    raise NoCudaHeaders('cuda.h was not found: pip install "nvidia-cuda-runtime>=13", or set CUDA_HOME to a CUDA toolkit')


def _include_folders() -> Iterator[Path]:
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec else ():
        yield from sorted(Path(place).glob("*/include"))
    for root in (os.environ.get("CUDA_HOME"), "/usr/local/cuda", "/usr/lib/cuda", "/opt/cuda"):
        if root:
            yield Path(root) / "include"


def declared_functions() -> list[str]:
    """The functions of the driver that the headers declare, under the names that programs link."""
    command = ["g++", "-E", "-x", "c++", "-I", str(include_folder()), "-"]
    done = subprocess.run(command, input=PROFILER, capture_output=True, text=True, check=True)
    return sorted(set(re.findall(r"\b(cu[A-Z]\w*)\s*\(", done.stdout)))


def stubs(names: list[str], code: int) -> str:
    """C text of functions that do nothing and answer `code`."""
    return "".join(f"int {name}(void) {{ return {code}; }}\n" for name in names)


def pycuda_path() -> list[str]:
    """What to put on PYTHONPATH so that pycuda can be imported: nothing where it is installed, else the folder it was built into."""
    if importlib.util.find_spec("pycuda"):
        return []
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphc" / "tests"
    folder = cache / f"pycuda-{VERSION}-{sys.implementation.cache_tag}"
    cache.mkdir(parents=True, exist_ok=True)
    with made_once(folder) as draft:
        if draft is not None:
            _build(draft)
    return [str(folder)]


def _build(target: Path) -> None:
    """Installs pycuda, built against the headers at hand and an empty driver, and what it imports into the folder `target`."""
    include = include_folder()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "stub.c").write_text(stubs(declared_functions(), 100))
        _run("gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(work / "libcuda.so"), str(work / "stub.c"))
        (work / "cudaProfiler.h").write_text(PROFILER)
        (work / ".aksetup-defaults.py").write_text(
            f"CUDA_ROOT = {str(include.parent)!r}\nCUDA_INC_DIR = [{str(include)!r}, {name!r}]\nCUDADRV_LIB_DIR = [{name!r}]\n"
            'CUDA_ENABLE_CURAND = False\nCXXFLAGS = ["-g0", "-O1"]\nLDFLAGS = ["-s"]\n')
        python = work / "venv" / "bin" / "python"
        _run(sys.executable, "-m", "venv", str(work / "venv"))
        _run(str(python), "-m", "pip", "install", "-q", *BUILD_PACKAGES)
        _run(str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", str(target),
             f"pycuda=={VERSION}", HOME=name)
        _run(str(python), "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *PACKAGES)


def _run(*command: str, **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
