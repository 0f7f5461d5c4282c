"""The memory of one session on a GPU: its variables, and the workspace that its executables take turns in. The GPU's `runtime.store`."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.core.errors import ResourceExhaustedError
from graphc.core.graph import Graph
from graphc.core.types import TensorType
from graphc.runtime.arena import readable
from graphc.runtime.cuda.device import CudaDevice, DeviceMemory, Event, Owner, PinnedMemory, Stream
from graphc.runtime.store import Store

Block = DeviceMemory | PinnedMemory


class DeviceStore(Store[DeviceMemory]):
    """Variables of a session on a GPU, each in device memory of its own. The device is current when memory is asked for."""

    def __init__(self, graph: Graph, device: CudaDevice) -> None:
        super().__init__(graph)
        self._device = device
        self._owner = Owner(device)

    def _allocate(self, name: str, type_: TensorType, first: int | None) -> DeviceMemory:
        memory = self._owner.keep(self._device.allocate(type_.nbytes, f"variable {name} of {type_}"))
        if first is not None:
            self._fill(memory, type_, first)
        return memory

    def _fill(self, memory: DeviceMemory, type_: TensorType, value: int) -> None:
        with self._device.current:
            self._device.upload(memory, np.full(type_.dims, value, type_.dtype.np_dtype))

    def _read(self, memory: DeviceMemory, type_: TensorType) -> np.ndarray[Any, Any]:
        array = np.empty(type_.dims, type_.dtype.np_dtype)
        with self._device.current:
            self._device.download(memory.address, array)
        return array

    @property
    def nbytes(self) -> int:
        """Of all variables."""
        return sum(memory.nbytes for memory in self._arrays.values())

    def forget(self, names: Sequence[str]) -> None:
        """Frees the memory of these variables, as if they had never been asked for."""
        for name in names:
            if name in self._arrays:
                self._owner.free(self._arrays[name])
        super().forget(names)

    def clear(self) -> None:
        """Frees every variable."""
        super().clear()
        self._owner.close()


class DeviceWorkspace:
    """The stream and the temporary memory that all executables of a session use in turns, each kind as large as the largest of them needs.

    Kinds: `ARENA` (values between kernels), `SLOTS` (feeds and outputs on the device), `LIBRARY` (what cublasLt computes in), and in
    page-locked memory of the host `STAGING` (small feeds and outputs) and `CHUNKS` (through which large ones go piece by piece). When a
    kind grows it moves, and everybody who borrowed it is told. Runs wait for their end, so one begins when nobody uses the memory.
    """

    ARENA, SLOTS, LIBRARY, STAGING, CHUNKS = "arena", "slots", "library", "staging", "chunks"
    ON_DEVICE = (ARENA, SLOTS, LIBRARY)

    def __init__(self, device: CudaDevice, fraction: float = 0.0) -> None:
        self.device = device
        self._fraction = fraction  # of the device's memory for the session; 0: no limit
        self._owner = Owner(device)
        self._stream: Stream | None = None
        self._blocks: dict[str, Any] = {}
        self._borrowers: dict[str, list[Callable[[str, Any], None]]] = {}
        self._is_running = False

    @property
    def stream(self) -> Stream:
        """The session's stream, made when it is first asked for (with the device current)."""
        if self._stream is None:
            self._stream = self._owner.keep(self.device.stream())
        return self._stream

    def event(self) -> Event:
        """An event that lives as long as the workspace's memory."""
        return self._owner.keep(self.device.event())

    def growth(self, kind: str, nbytes: int) -> int:
        """Bytes that a loan of `nbytes` would take from the device beyond what this workspace has."""
        return max(0, nbytes - self._nbytes(kind))

    def lend(self, kind: str, nbytes: int, place: Callable[[str, Any], None]) -> None:
        """Gives at least `nbytes` to `place(kind, block)`, now and whenever the memory moves.

        The device is current. ResourceExhaustedError where there is too little: then what was lent before may have moved, and its borrowers
        know.
        """
        if kind not in self._blocks or self._nbytes(kind) < nbytes:
            self._grow(kind, nbytes)
        self._borrowers.setdefault(kind, []).append(place)
        place(kind, self._blocks[kind])

    def take_back(self, place: Callable[[str, Any], None]) -> None:
        """Forgets a borrower, which is told nothing any more."""
        for borrowers in self._borrowers.values():
            if place in borrowers:
                borrowers.remove(place)

    def begin_run(self) -> None:
        """A run takes the memory. Where the one before has not said `end_run` (an error, an interrupt), the device may be at it still:
        waits."""
        if self._is_running:
            self.stream.raw.synchronize()
        self._is_running = True

    def end_run(self) -> None:
        """The device is done with the run."""
        self._is_running = False

    def clear(self) -> None:
        """Frees the memory and the stream, and forgets the borrowers."""
        self._blocks.clear()
        self._borrowers.clear()
        self._stream = None
        self._owner.close()

    def shortage(self, nbytes: int, variables: int) -> str:
        """Why there is no room for `nbytes` more, in words, beside `variables` bytes of variables; "" where there is."""
        free, total = self.device.free_bytes()
        limit, taken = int(total * self._fraction), variables + sum(self._nbytes(kind) for kind in self.ON_DEVICE)
        if self._fraction and taken + nbytes > limit:
            return (f"Out of memory on {self.device.label} ({self.device.name}): a run needs {readable(nbytes)} more, and the session may "
                    f"take {readable(limit)} (per_process_gpu_memory_fraction={self._fraction}), of which {readable(taken)} are taken.")
        return self.device.too_little("a run", nbytes) if nbytes > free else ""

    def _nbytes(self, kind: str) -> int:
        return self._blocks[kind].nbytes if kind in self._blocks else 0

    def _grow(self, kind: str, nbytes: int) -> None:
        """The old block goes first: the two together might not fit. Where the new one cannot be had, one of the old size comes back."""
        before = self._nbytes(kind)
        if kind in self._blocks:
            self._owner.free(self._blocks.pop(kind))
        try:
            self._blocks[kind] = self._owner.keep(self._allocate(kind, nbytes))
        except ResourceExhaustedError:
            if before:
                self._blocks[kind] = self._owner.keep(self._allocate(kind, before))
            raise
        finally:
            for borrower in self._borrowers.get(kind, ()) if kind in self._blocks else ():
                borrower(kind, self._blocks[kind])

    def _allocate(self, kind: str, nbytes: int) -> Block:
        if kind in self.ON_DEVICE:
            return self.device.allocate(nbytes, {self.ARENA: "the arena", self.SLOTS: "feeds and outputs"}.get(kind, "a library"))
        return self.device.allocate_pinned(nbytes)


class GpuMemory:
    """All that one session has on one GPU: its variables and its workspace. fraction: the part of the device's memory that both together
    may take, 0 where what is free is the only limit."""

    def __init__(self, graph: Graph, device: CudaDevice, fraction: float = 0.0) -> None:
        self.store = DeviceStore(graph, device)
        self.workspace = DeviceWorkspace(device, fraction)

    def clear(self) -> None:
        """Frees everything."""
        self.workspace.clear()
        self.store.clear()
