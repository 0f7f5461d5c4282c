"""What this machine has of all that a GPU needs, and what to do about the rest: pycuda, the driver, a device, a compiler of CUDA C.

Asks the driver's library itself, so that it can tell what pycuda only fails at; imports pycuda last. Whatever wants a GPU asks `problem`
first; `report` says the same at length.
"""
from __future__ import annotations

import ctypes
import importlib.util
import os
from ctypes import byref, c_int, c_size_t
from dataclasses import dataclass
from pathlib import Path

from graphc.codegen.cuda.compiler import NoCudaCompiler, usable_compiler
from graphc.codegen.cuda.toolchain import wheel_version
from graphc.codegen.gpu import gpu_for
from graphc.runtime.cuda import driver

INSTALL_PYCUDA = "pip install 'graphc[cuda]'"
_NAME_BYTES = 256
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16  # CUdevice_attribute


@dataclass(frozen=True)
class Device:
    """One GPU as the driver describes it. arch: "sm_90". memory: bytes."""

    name: str
    arch: str
    memory: int
    multiprocessors: int

    def problem(self) -> str | None:
        """Why graphc has no code for it; None where it has."""
        try:
            gpu_for(self.arch)
        except ValueError as error:
            return f"{self.name}: {error}"
        return None


def problem(ordinal: int = 0) -> str | None:
    """What keeps graphc from using GPU number `ordinal`, and what to do about it, in one line; None where nothing does."""
    return driver_problem() or device_problem(ordinal) or pycuda_problem() or compiler_problem()


def pycuda_version() -> str | None:
    """Which pycuda is installed, without importing it; "" where nobody knows, None where there is none."""
    spec = importlib.util.find_spec("pycuda")
    places = (spec.submodule_search_locations or ()) if spec else ()
    return next((wheel_version(Path(place).parent, "pycuda") for place in places), None)


def devices() -> list[Device]:
    """The GPUs that the driver lets this process use, in order. Only where there is a driver."""
    library = driver.native()
    return [_device(library, ordinal) for ordinal in range(_device_count(library))]


# Each part: what is wrong with it ---------------------------------------------------------------------------------------------------------

def driver_problem() -> str | None:
    """Whether the driver's library can be loaded and started."""
    if driver.forked():
        return driver.fork_problem()
    try:
        library = driver.native()
    except OSError:
        return (f"the NVIDIA driver is missing ({driver.LIBRARY} cannot be loaded): install it, or start the container with its GPUs "
                "(docker run --gpus all)")
    status = library.cuInit(0)
    if status:
        return f"the NVIDIA driver does not start: {driver.describe(status)}"
    return None


def device_problem(ordinal: int) -> str | None:
    """Whether there is a GPU of this number, new enough. Only where there is a driver."""
    library = driver.native()
    count = _device_count(library)
    if not 0 <= ordinal < count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
        return f"there is no /gpu:{ordinal}: this process may use {count} GPU{'' if count == 1 else 's'}{why}"
    return _device(library, ordinal).problem()


def pycuda_problem() -> str | None:
    """Whether pycuda is installed, and can be imported where there is a driver."""
    if pycuda_version() is None:
        return f"pycuda is missing ({INSTALL_PYCUDA})"
    if driver_problem() is not None:
        return None  # it cannot be imported without a driver, which is no fault of its own
    try:
        driver.api()
    except ImportError as error:
        return f"pycuda cannot be imported ({error}): build it anew for this Python and this CUDA (pip install --force-reinstall pycuda)"
    return None


def compiler_problem() -> str | None:
    """Whether there is a compiler of CUDA C, of no newer CUDA than the driver."""
    try:
        compiler = usable_compiler()
    except NoCudaCompiler as error:
        return str(error)
    made_for, known = _major(compiler.name), driver_version() // 1000 if driver_problem() is None else None
    if known is not None and made_for is not None and made_for > known:
        return (f"{compiler.name} makes code that this driver, for CUDA {cuda_text(driver_version())}, cannot load: update the driver, "
                f"or compile with CUDA {known} (pip uninstall nvidia-cuda-nvrtc; pip install nvidia-cuda-nvrtc-cu{known})")
    return None


# Asking the driver -----------------------------------------------------------------------------------------------------------------------

def _device_count(library: ctypes.CDLL) -> int:
    count = c_int()
    return count.value if library.cuDeviceGetCount(byref(count)) == 0 else 0


def _device(library: ctypes.CDLL, ordinal: int) -> Device:
    handle, memory = c_int(), c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGet(byref(handle), ordinal)
    library.cuDeviceGetName(name, _NAME_BYTES, handle)
    library.cuDeviceTotalMem_v2(byref(memory), handle)
    major, minor, multiprocessors = (_attribute(library, number, handle) for number in (_MAJOR, _MINOR, _MULTIPROCESSORS))
    return Device(name.value.decode(errors="replace"), f"sm_{major}{minor}", memory.value, multiprocessors)


def _attribute(library: ctypes.CDLL, number: int, handle: c_int) -> int:
    value = c_int()
    library.cuDeviceGetAttribute(byref(value), number, handle)
    return value.value


def driver_version() -> int:
    """13010 for a driver that knows CUDA 13.1."""
    version = c_int()
    driver.native().cuDriverGetVersion(byref(version))
    return version.value


def cuda_text(version: int) -> str:
    """13010 -> "13.1"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _major(name: str) -> int | None:
    """13 for a compiler called "NVRTC 13.0.88"; None for a name without a version."""
    version = name.rpartition(" ")[2].partition(".")[0]
    return int(version) if version.isdigit() else None
