"""CUDA graphs: what a stream was asked to do, recorded once and started again with one call.

PyCUDA has no graphs, but what it enqueues on a stream is recorded like anybody's, so the few calls around it go to the driver directly.
"""
from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any

from graphc.runtime.cuda import driver


class CudaGraph:
    """Records what is enqueued on `stream` between entering and leaving, without doing it; `launch` does it, as often as one likes.

    All addresses and sizes are those of the recording. pycuda's `Error` where something cannot be recorded: then there is no graph.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = ctypes.c_void_p(stream.handle)
        self._exec = ctypes.c_void_p()
        self._launch = driver.native().cuGraphLaunch

    def __enter__(self) -> CudaGraph:
        driver.call("cuStreamBeginCapture_v2", self._stream, driver.CAPTURE_RELAXED)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        graph = ctypes.c_void_p()
        if error is not None:  # the recording must end all the same, and that it is spoilt is known
            driver.native().cuStreamEndCapture(self._stream, ctypes.byref(graph))
        else:
            driver.call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            if error is None:
                driver.call("cuGraphInstantiateWithFlags", ctypes.byref(self._exec), graph, 0)
        finally:
            if graph:
                driver.native().cuGraphDestroy(graph)

    def launch(self) -> None:
        """Enqueues everything that was recorded on the stream."""
        code = self._launch(self._exec, self._stream)
        if code:
            raise driver.api().LaunchError(f"cuGraphLaunch failed: {driver.describe(code)}")

    def free(self) -> None:
        """Forgets the recording; harmless when done again."""
        if self._exec:
            driver.native().cuGraphExecDestroy(self._exec)
            self._exec = ctypes.c_void_p()


class Mark:
    """A moment in a stream's work, which can stand in a recording: every replay passes it anew. PyCUDA's events cannot."""

    def __init__(self) -> None:
        self._event = ctypes.c_void_p()
        driver.call("cuEventCreate", ctypes.byref(self._event), 0)

    def set(self, stream: Any, recording: bool) -> None:
        """Puts it on `stream`, which is `recording` or is not."""
        driver.call("cuEventRecordWithFlags", self._event, stream.handle, driver.EVENT_RECORD_EXTERNAL if recording else 0)

    def milliseconds_till(self, later: Mark) -> float:
        """Between the last times at which the device passed the two, which it has."""
        found = ctypes.c_float()
        driver.call("cuEventElapsedTime", ctypes.byref(found), self._event, later._event)
        return found.value

    def free(self) -> None:
        driver.native().cuEventDestroy_v2(self._event)
