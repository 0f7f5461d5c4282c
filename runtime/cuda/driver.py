"""The CUDA driver: PyCUDA for almost everything, ctypes for what PyCUDA has no words for (status, graphs, whose address a pointer is).

The only module that imports pycuda, and only when a device is asked for. Everything here wants the device's context to be the current one
of its thread, unless it says otherwise.

PyCUDA frees what it made when the Python object goes, and complains on stderr when the context is not current in that thread. So nothing
is left to chance: `device.py` frees everything itself with the context current, and what can no longer be freed (the context is lost, or
this is a forked child) is kept for ever.
"""
from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

LIBRARY = "libcuda.so.1"
CAPTURE_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: memory may be allocated and freed meanwhile, here (by the collector) and elsewhere
EVENT_RECORD_EXTERNAL = 1  # CU_EVENT_RECORD_EXTERNAL: in a recording, a node of its own, which every replay passes
STREAM_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: never waits for the legacy default stream of other libraries
_POINTER_DEVICE = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
_POINTER_MEMORY_TYPE, _MEMORY_HOST = 2, 1  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_MEMORYTYPE_HOST
_forked_from = 0  # process that had started the driver before this one was forked from it

# The part of the driver's interface that is called through ctypes: name -> types of the arguments.
_Handle, _Out, _Int = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuGetErrorName": (_Int, ctypes.POINTER(ctypes.c_char_p)),
    "cuGetErrorString": (_Int, ctypes.POINTER(ctypes.c_char_p)),
    "cuStreamSynchronize": (_Handle,),
    "cuPointerGetAttribute": (ctypes.c_void_p, _Int, ctypes.c_uint64),
    "cuEventCreate": (_Out, ctypes.c_uint),
    "cuEventDestroy_v2": (_Handle,),
    "cuEventElapsedTime": (ctypes.POINTER(ctypes.c_float), _Handle, _Handle),
    "cuEventRecordWithFlags": (_Handle, _Handle, ctypes.c_uint),
    "cuStreamBeginCapture_v2": (_Handle, _Int),
    "cuStreamEndCapture": (_Handle, _Out),
    "cuGraphInstantiateWithFlags": (_Out, _Handle, ctypes.c_ulonglong),
    "cuGraphLaunch": (_Handle, _Handle),
    "cuGraphExecDestroy": (_Handle,),
    "cuGraphDestroy": (_Handle,),
}


@functools.cache
def api() -> Any:
    """`pycuda.driver`, initialised. ImportError where pycuda or the driver is missing, its `Error` where there is no device."""
    import pycuda.driver

    native()
    pycuda.driver.init()
    return pycuda.driver


@functools.cache
def native() -> ctypes.CDLL:
    """The driver's library, for calls through ctypes; OSError where it is missing. Who asks for it starts the driver."""
    library = ctypes.CDLL(LIBRARY)
    process = os.getpid()
    os.register_at_fork(after_in_child=lambda: _fork_noticed(process))
    for name, types in _SIGNATURES.items():
        getattr(library, name).argtypes = types
    return library


def _fork_noticed(parent: int) -> None:
    global _forked_from
    _forked_from = parent


def forked() -> bool:
    """Whether this process was forked from one that had started the driver: then it has none, and cannot start one."""
    return _forked_from != 0


def fork_problem() -> str | None:
    """What to tell in such a process, None in any other."""
    if not forked():
        return None
    return (f"CUDA cannot be used in a process forked from one that uses it (process {_forked_from}): start processes anew instead, by "
            "multiprocessing.get_context(\"spawn\")")


def call(name: str, *arguments: Any) -> None:
    """Calls the driver's function `name`; pycuda's `Error` where it fails."""
    code = getattr(native(), name)(*arguments)
    if code:
        raise api().LogicError(f"{name} failed: {describe(code)}")


def describe(code: int) -> str:
    """`an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)`: what a status code means."""
    texts = []
    for function in ("cuGetErrorString", "cuGetErrorName"):
        text = ctypes.c_char_p()
        getattr(native(), function)(code, ctypes.byref(text))
        texts.append((text.value or b"").decode())
    return f"{texts[0] or 'error'} ({texts[1] or code})"


def problem_of(stream: Any) -> str:
    """Why the stream's context can do nothing any more, "" while it can: a fault on the device stays with its context.

    Asks a stream, because asking the context would spoil what other threads are recording.
    """
    code = native().cuStreamSynchronize(stream.handle)
    return describe(code) if code else ""


def device_of(address: int) -> int | None:
    """The ordinal of the device on which `address` lies; None for an address that is none of a device, or where no context is current."""
    kind, ordinal = ctypes.c_uint(), ctypes.c_int(-1)
    if native().cuPointerGetAttribute(ctypes.byref(kind), _POINTER_MEMORY_TYPE, address) or kind.value == _MEMORY_HOST:
        return None
    if native().cuPointerGetAttribute(ctypes.byref(ordinal), _POINTER_DEVICE, address):
        return None
    return ordinal.value


def keep_for_ever(thing: object) -> None:
    """Lets `thing` outlive the process: an object whose destructor would call a driver that can no longer be called."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
