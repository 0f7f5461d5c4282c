"""A GPU as one process sees it: its primary context, the modules loaded on it, its memory, and whether it still works.

There is one `CudaDevice` for each ordinal and process, made when it is first asked for. Whatever uses it enters `with device.current:`,
in any thread. Everything that sessions make on it (memory, streams, graphs) is freed through `discard`; the device itself is closed last,
at exit.
"""
from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from graphc.core.errors import FailedPreconditionError, InternalError, ResourceExhaustedError
from graphc.runtime.arena import readable
from graphc.runtime.cuda import detect, driver

Array = np.ndarray[Any, Any]


class Thing(Protocol):
    """Something of a device that must be freed."""

    def free(self) -> None: ...


AnyThing = TypeVar("AnyThing", bound=Thing)


class DeviceMemory:
    """`nbytes` bytes of a device from `address` on, which is a multiple of 256."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.address = int(allocation)
        self.nbytes = nbytes

    def free(self) -> None:
        self._allocation.free()


class PinnedMemory:
    """Page-locked memory of the host, which the device copies from and to by itself: `array` is uint8[nbytes]."""

    def __init__(self, array: Array, nbytes: int) -> None:
        self._allocation: Any = array.base
        self.array = array[:nbytes]
        self.nbytes = nbytes

    def free(self) -> None:
        self._allocation.free()


class Stream:
    """A queue of work for the device, done in order. `handle`: the driver's. `raw`: pycuda's; nobody else may keep it, for it is destroyed
    when the last reference to it goes."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.handle: int = raw.handle

    def free(self) -> None:
        self.raw = None  # pycuda destroys it here


class Event:
    """A point in a stream's work. `raw`: pycuda's; nobody else may keep it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def free(self) -> None:
        self.raw = None


class CudaDevice:
    """GPU number `ordinal`, which must exist: `device` asks. arch: "sm_90".

    problem: why it can do nothing any more ("" while it works). Sessions on the CPU go on then.
    """

    def __init__(self, ordinal: int) -> None:
        self.api = driver.api()
        handle = self.api.Device(ordinal)
        major, minor = handle.compute_capability()
        self.ordinal = ordinal
        self.label = f"/gpu:{ordinal}"
        self.name: str = handle.name()
        self.arch = f"sm_{major}{minor}"
        self.multiprocessors: int = handle.get_attribute(self.api.device_attribute.MULTIPROCESSOR_COUNT)
        self.problem = ""
        self._closed = False
        self._last_calls: dict[str, Callable[[], None]] = {}
        self._modules: dict[str, Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self.context = handle.retain_primary_context()
        self.current = _Current(self)
        with self.current:
            self._stream = self.stream()
        weakref.finalize(self, CudaDevice._close, self)  # at exit, after all that was made on it: finalizers run newest first

    # -- what sessions make on it -------------------------------------------------------------------------------------------------------
    # The device is current for all of these.

    def allocate(self, nbytes: int, what: str) -> DeviceMemory:
        """Uninitialised memory for `what`; ResourceExhaustedError where there is too little."""
        try:
            return DeviceMemory(self.api.mem_alloc(max(nbytes, 1)), nbytes)
        except self.api.MemoryError:
            raise ResourceExhaustedError(None, None, self.too_little(what, nbytes)) from None

    def allocate_pinned(self, nbytes: int) -> PinnedMemory:
        """Page-locked memory of the host; ResourceExhaustedError where there is too little."""
        try:
            return PinnedMemory(self.api.pagelocked_empty(max(nbytes, 1), np.uint8), nbytes)
        except self.api.MemoryError:
            raise ResourceExhaustedError(None, None, f"Out of memory: {readable(nbytes)} of page-locked memory cannot be had.") from None

    def too_little(self, what: str, nbytes: int) -> str:
        """The words of an error: `what` needs more than there is."""
        free, total = self.free_bytes()
        return (f"Out of memory on {self.label} ({self.name}): {what} needs {readable(nbytes)}, "
                f"and {readable(free)} of {readable(total)} are free.")

    def free_bytes(self) -> tuple[int, int]:
        """Bytes that can be allocated now, and bytes in all."""
        free, total = self.api.mem_get_info()
        return int(free), int(total)

    def stream(self) -> Stream:
        return Stream(self.api.Stream(driver.STREAM_NON_BLOCKING))

    def event(self, *, timed: bool = False) -> Event:
        """timed: whether the time between it and another can be asked."""
        return Event(self.api.Event(0 if timed else self.api.event_flags.DISABLE_TIMING))

    def upload(self, memory: DeviceMemory, array: Array) -> None:
        """Copies a contiguous `array` to the beginning of `memory`, and waits."""
        if array.nbytes:
            self.api.memcpy_htod_async(memory.address, array, self._stream.raw)
            self._stream.raw.synchronize()

    def download(self, address: int, array: Array) -> None:
        """Fills a contiguous `array` from `address` on, and waits."""
        if array.nbytes:
            self.api.memcpy_dtoh_async(array, address, self._stream.raw)
            self._stream.raw.synchronize()

    def function(self, image: bytes, symbol: str, params: int) -> Any:
        """pycuda's function `symbol` of `params` pointers, of the module `image`, which is loaded once."""
        digest = hashlib.sha256(image).hexdigest()
        with self._lock:
            if (digest, symbol) not in self._functions:
                if digest not in self._modules:
                    self._modules[digest] = self.api.module_from_buffer(image)
                function = self._modules[digest].get_function(symbol)
                function.prepare("P" * params)
                self._functions[digest, symbol] = function
            return self._functions[digest, symbol]

    def before_close(self, name: str, call: Callable[[], None]) -> None:
        """Has `call` called once before the device is let go of, with it current; `name` says which calls are the same."""
        self._last_calls[name] = call

    # -- life ---------------------------------------------------------------------------------------------------------------------------

    def require(self) -> None:
        """An error where the device cannot be used: InternalError after a fault on it, FailedPreconditionError in a forked child."""
        refuse_fork()
        if self.problem:
            raise InternalError(None, None, self.problem)
        if self._closed:
            raise FailedPreconditionError(None, None, f"{self.label} is closed: the process is ending.")

    def find_fault(self) -> str:
        """What has gone wrong on the device for good, "" where it still works. From then on `require` raises."""
        fault = "" if self.problem else driver.problem_of(self._stream)
        if fault:
            self.problem = (f"{self.label} ({self.name}) has failed, and its context is lost with all that was on it: {fault}\n"
                            "  nothing can run on it until the process is started anew; sessions on the CPU go on")
            for thing in (self.context, self._stream.raw, *self._modules.values()):
                driver.keep_for_ever(thing)
        return fault

    def discard(self, things: list[Any]) -> None:
        """Frees `things`, newest first, and empties the list; from any thread. What can no longer be freed is forgotten."""
        if not things:
            return
        if self._closed or self.problem or driver.forked():
            self._forget(things)
            return
        self.context.push()
        try:
            if self.find_fault():
                self._forget(things)
            while things:
                things.pop().free()
        finally:
            self.context.pop()

    def _forget(self, things: list[Any]) -> None:
        for thing in things:
            driver.keep_for_ever(thing)
        things.clear()

    @staticmethod
    def _close(device: CudaDevice) -> None:
        """Unloads the modules and lets go of the context."""
        device.discard([device._stream])  # which finds a fault that nobody has noticed
        if device.problem or driver.forked():
            device._forget([device.context, *device._modules.values()])
        else:
            device.context.push()
            for call in device._last_calls.values():
                call()
            device._functions.clear()
            device._modules.clear()  # pycuda unloads them here
            device.context.detach()
        device._closed = True


class _Current:
    """Makes a device's context the current one of this thread: `with device.current:`. The same one serves all threads, and nests."""

    __slots__ = ("_device", "_pop", "_push")

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._push = device.context.push
        self._pop = device.context.pop

    def __enter__(self) -> CudaDevice:
        self._device.require()
        self._push()
        return self._device

    def __exit__(self, *error: object) -> None:
        self._pop()


class Owner:
    """What is made on a device together and freed together: by `close`, or when the owner is gone, or at exit."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._things: list[Any] = []
        self._finalizer = weakref.finalize(self, device.discard, self._things)

    def keep(self, thing: AnyThing) -> AnyThing:
        """Gives `thing` back, which belongs to the owner from now on."""
        self._things.append(thing)
        return thing

    def free(self, thing: Thing) -> None:
        """Frees one thing early."""
        self._things.remove(thing)
        self._device.discard([thing])

    def close(self) -> None:
        """Frees everything, once."""
        self._finalizer()


def refuse_fork() -> None:
    """FailedPreconditionError in a child of a process that had started the driver."""
    if driver.forked():
        raise FailedPreconditionError(None, None, f"{driver.fork_problem()}")


_devices: dict[int, CudaDevice] = {}
_lock = threading.Lock()


def device(ordinal: int) -> CudaDevice:
    """The process's one `CudaDevice` of this number; FailedPreconditionError, with what to do, where it cannot be used."""
    refuse_fork()  # before the lock, which another thread may have held when the process was forked
    with _lock:
        if ordinal not in _devices:
            problem = detect.problem(ordinal)
            if problem is not None:
                raise FailedPreconditionError(None, None, f"/gpu:{ordinal} cannot be used: {problem}")
            _devices[ordinal] = CudaDevice(ordinal)
        return _devices[ordinal]
