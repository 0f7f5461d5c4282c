"""`CudaBound`: an executable for a GPU with its memory, ready to run over and over. The GPU's `runtime.bound.Bound`.

    run = check feeds -> stage (transfers.py) -> upload, launches, download: one recorded CUDA graph -> wait -> fill the outputs

The first run goes launch by launch and waits for each: a kernel that fails is known by name, and modules and libraries do what they do only
once. The second records; from then on a run is one start of the graph. It is recorded anew when memory that it knows has moved, and
separately for each set of feeds that come from the host.

    GRAPHC_CUDA_GRAPHS=0     nothing is recorded: every run goes launch by launch
    GRAPHC_CUDA_BLOCKING=1   and waits for each launch, so that an error names the kernel
"""
from __future__ import annotations

import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import Any

import numpy as np

from graphc.core.errors import FailedPreconditionError, OpError, ResourceExhaustedError
from graphc.core.graph import Graph
from graphc.runtime.arena import readable
from graphc.runtime.bound import OneDevice, refuse
from graphc.runtime.cuda import errors
from graphc.runtime.cuda.cublaslt import CublasError, Library, Plan, Unsupported
from graphc.runtime.cuda.device import DeviceMemory, Owner
from graphc.runtime.cuda.graph import CudaGraph, Mark
from graphc.runtime.cuda.launches import CopyLaunch, GemmLaunch, KernelLaunch, Launch
from graphc.runtime.cuda.memory import DeviceStore, DeviceWorkspace
from graphc.runtime.cuda.profile import moments_of
from graphc.runtime.cuda.transfers import ALIGNMENT, Transfers
from graphc.runtime.cuda.tuning import settle
from graphc.runtime.executable import CudaExecutable, Slots
from graphc.runtime.recorder import COPY, DOWNLOAD, UPLOAD, Moved, Recorder

Array = np.ndarray[Any, Any]
Enqueue = Callable[[], None]  # puts one launch on the session's stream
log = logging.getLogger("graphc")


class CudaBound(OneDevice):
    """An executable with its memory on a GPU.

    Making one raises ResourceExhaustedError where the device has not the memory for a run: then nothing has changed.
    """

    executable: CudaExecutable
    _store: DeviceStore

    def __init__(self, executable: CudaExecutable, graph: Graph, store: DeviceStore, workspace: DeviceWorkspace) -> None:
        super().__init__(executable, store)
        self.run = self._run
        self._launches: list[Enqueue] = []  # in order, for the addresses of now; empty where memory has moved
        self._graph = graph
        self._workspace = workspace
        self.device = workspace.device
        self._errors = (workspace.device.api.Error, CublasError)
        self._blocking = os.environ.get(errors.BLOCKING, "") not in ("", "0")
        self._records = os.environ.get("GRAPHC_CUDA_GRAPHS", "1") != "0" and not self._blocking
        if not self._records:
            log.info("runs on %s go launch by launch, as GRAPHC_CUDA_GRAPHS or %s says", self.device.label, errors.BLOCKING)
        self._warm = False
        self._recorded: dict[tuple[int, ...], CudaGraph] = {}  # by the feeds that come from the host
        self._addresses = [0] * executable.slots.count
        self._owner = Owner(self.device)
        with self.device.current:
            self._take_memory()

    @property
    def names(self) -> list[str]:
        """What each launch is called, in order."""
        kernels = self.executable.kernels
        return ["copy" if isinstance(launch, CopyLaunch) else kernels[launch.kernel].name for launch in self.executable.launches]

    def variable(self, name: str) -> DeviceMemory:
        """The memory of a variable that a run reads or writes."""
        types = dict((*self.executable.reads, *self.executable.writes))
        return self._store.array(name, types[name])

    def retire(self) -> None:
        """Lets nobody run this any more: every array is refused. Frees what is its own."""
        self._end()
        super().retire()

    # -- memory -------------------------------------------------------------------------------------------------------------------------

    def _take_memory(self) -> None:
        executable, workspace, store, slots = self.executable, self._workspace, self._store, self.executable.slots
        self._transfers = Transfers(executable.feeds, executable.fetches, workspace, self._moved)
        variables = dict((*executable.reads, *executable.writes))
        new = [name for name in variables if name not in store]
        self._library: DeviceMemory | None = None
        self._require_memory([(variables[name].nbytes, name) for name in new])
        try:
            self._upload_constants()
            for name, type_ in variables.items():
                self._addresses[slots.variable(name)] = store.array(name, type_).address
            self._plans = [self._plan(launch) for launch in executable.launches]
            self._transfers.borrow()
            workspace.lend(workspace.ARENA, executable.memory.arena_bytes, self._place)
            workspace.lend(workspace.LIBRARY, max((plan.workspace_bytes for plan in self._plans if plan), default=0), self._place)
        except (ResourceExhaustedError, *self._errors) as error:
            self._end()
            store.forget([name for name in new if name in store])
            raise error if isinstance(error, ResourceExhaustedError) else self._failure(error, ()) from None

    def _upload_constants(self) -> None:
        """All of them in one block, each where device memory might begin."""
        arrays = self.executable.constants
        offsets = [0, *accumulate(-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays)]
        block = np.zeros(offsets[-1], np.uint8)
        for array, offset in zip(arrays, offsets, strict=False):
            block[offset:offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if arrays:
            memory = self._owner.keep(self.device.allocate(block.nbytes, "constants"))
            self.device.upload(memory, block)
            for number, offset in enumerate(offsets[:-1]):
                self._addresses[self.executable.slots.constant(number)] = memory.address + offset

    def _end(self) -> None:
        """Frees what is its own, and borrows nothing any more."""
        self._transfers.give_back()
        self._workspace.take_back(self._place)
        self._launches = []
        self._recorded.clear()
        self._owner.close()

    def _place(self, kind: str, memory: DeviceMemory) -> None:
        if kind == DeviceWorkspace.ARENA:
            self._addresses[Slots.ARENA] = memory.address
        else:
            self._library = memory
        self._moved()

    def _moved(self) -> None:
        """What was prepared and recorded for the old addresses is worth nothing."""
        self._launches = []
        for graph in self._recorded.values():
            self._owner.free(graph)
        self._recorded.clear()

    def _require_memory(self, variables: Sequence[tuple[int, str]]) -> None:
        """ResourceExhaustedError, naming the operation that needs most, unless there is memory for all that will be allocated."""
        executable, workspace = self.executable, self._workspace
        needed = (workspace.growth(workspace.ARENA, executable.memory.arena_bytes)
                  + workspace.growth(workspace.SLOTS, self._transfers.slots_bytes)
                  + sum(array.nbytes for array in executable.constants) + sum(nbytes for nbytes, _ in variables))
        shortage = workspace.shortage(needed, self._store.nbytes)
        if shortage:
            raise errors.not_enough(shortage, executable, variables, self._graph)

    # -- launches -----------------------------------------------------------------------------------------------------------------------

    def _plan(self, launch: Launch) -> Plan | None:
        """cublasLt's plan for a product, None where graphc's own kernel serves."""
        library = Library.find() if isinstance(launch, GemmLaunch) else None
        if not isinstance(launch, GemmLaunch) or library is None:
            return None
        ordinal = self.device.ordinal
        self.device.before_close(f"cublasLt {library.path}", lambda: library.release(ordinal))
        try:
            plan = library.prepare(launch.gemm, ordinal, launch.precision)
        except Unsupported:
            return None
        sizes = [buffer.nbytes for buffer in self.executable.kernels[launch.kernel].ir.params]
        return plan if settle(launch, plan, self.device, sizes).is_library else None

    def _prepare(self) -> None:
        """Fills `_launches` for the addresses of now."""
        slots = self.executable.slots
        for number in range(slots.feeds):
            self._addresses[slots.feed(number)] = self._transfers.feed_address(number)
        for number in range(slots.outputs):
            self._addresses[slots.output(number)] = self._transfers.output_address(number)
        self._launches = [self._prepared(number, launch) for number, launch in enumerate(self.executable.launches)]

    def _prepared(self, number: int, launch: Launch) -> Enqueue:
        try:
            return self._enqueue(number, launch)
        except self._errors as error:
            raise self._failure(error, (number,)) from None

    def _enqueue(self, number: int, launch: Launch) -> Enqueue:
        stream = self._workspace.stream  # pycuda's own may be kept by nobody but it
        if isinstance(launch, CopyLaunch):
            to, source, copy = self._address(launch.to), self._address(launch.source), self.device.api.memcpy_dtod_async
            nbytes = launch.nbytes
            return lambda: copy(to, source, nbytes, stream.raw)
        addresses = [self._address(pointer) for pointer in launch.params]
        plan = self._plans[number]
        if plan is not None:
            workspace = self._library.address if self._library is not None else 0
            return lambda: plan.run(stream.handle, addresses, workspace)
        kernel = launch.generated if isinstance(launch, GemmLaunch) else launch
        launch_async = self._function(kernel).prepared_async_call
        grid, block = kernel.grid, kernel.block
        return lambda: launch_async(grid, block, stream.raw, *addresses)

    def _address(self, pointer: Any) -> int:
        address: int = self._addresses[pointer.slot] + pointer.offset
        return address

    def _function(self, launch: KernelLaunch) -> Any:
        if not launch.image:
            raise FailedPreconditionError(None, None, f"Kernel '{launch.symbol}' has no machine code: {self.executable.compiler}")
        return self.device.function(launch.image, launch.symbol, len(launch.params))

    # -- running ------------------------------------------------------------------------------------------------------------------------

    def _run(self, *arrays: Any) -> int | None:
        count = len(self._transfers.feeds)
        feeds, outputs = arrays[:count], arrays[count:]
        with self.device.current:
            refused = self._transfers.refused(feeds)
            if refused is None:
                self.counted += 1
                self._complete(feeds, outputs, self._start)
        return refused

    def recorded(self, recorder: Recorder, *arrays: Any) -> int | None:
        if self.run is refuse:
            return refuse()
        count = len(self._transfers.feeds)
        feeds, outputs = arrays[:count], arrays[count:]
        with self.device.current:
            refused = self._transfers.refused(feeds)
            if refused is None:
                self.counted += 1
                recorder.steps(self._steps(), len(self.executable.kernels), moments_of(self, feeds, outputs))
        return refused

    def _steps(self) -> list[int | Moved]:
        executable = self.executable
        launches = [Moved(COPY, "variable", launch.nbytes) if isinstance(launch, CopyLaunch) else launch.kernel
                    for launch in executable.launches]
        return [Moved(UPLOAD, "feeds", sum(type_.nbytes for type_ in executable.feeds)), *launches,
                Moved(DOWNLOAD, "results", sum(type_.nbytes for type_ in executable.fetches))]

    def run_marked(self, feeds: Sequence[Any], outputs: Sequence[Array], marks: Sequence[Mark]) -> int:
        """A run that passes one of `marks` when it begins, one when the feeds are there, one after each launch, and one when the results
        have left. Gives the moment when the device was told to begin, in nanoseconds of CLOCK_MONOTONIC.

        Once modules and libraries have been used it is recorded, though it happens once: a device that waits for each launch of the host's
        would pass the marks too late.
        """
        records, stream, begun = self._records and self._warm, self._workspace.stream, 0

        def start(staged: tuple[int, ...]) -> None:
            nonlocal begun
            begun = time.monotonic_ns()
            with graph if records else nullcontext():
                marks[0].set(stream, records)
                self._enqueue_all(staged, functools.partial(self._marked, marks[1:-1], records))
                marks[-1].set(stream, records)
            if records:
                begun = time.monotonic_ns()
                graph.launch()

        graph = CudaGraph(stream)
        try:
            self._complete(feeds, outputs, start)
        finally:
            self.device.discard([graph])
        return begun

    def _complete(self, feeds: Sequence[Any], outputs: Sequence[Array], start: Callable[[tuple[int, ...]], None]) -> None:
        """A whole run; `start` enqueues what lies between the feeds' staging and the end."""
        try:
            self._workspace.begin_run()
            start(self._transfers.begin(feeds))
            self._transfers.finish(outputs)
            self._workspace.end_run()
        except self._errors as error:
            raise self._failure(error, range(len(self.executable.launches))) from None

    def _start(self, staged: tuple[int, ...]) -> None:
        """Enqueues everything between `begin` and `finish`."""
        graph = self._recorded.get(staged) or (self._record(staged) if self._warm and self._records else None)
        if graph is not None:
            graph.launch()
        else:
            self._enqueue_all(staged, self._in_a_row if self._warm and not self._blocking else self._one_by_one)
            self._warm = True

    def _record(self, staged: tuple[int, ...]) -> CudaGraph | None:
        """The graph of a run; None where the driver will not record it, which is said once: runs go launch by launch then."""
        graph = CudaGraph(self._workspace.stream)
        try:
            with graph:
                self._enqueue_all(staged, self._in_a_row)
        except self._errors as error:
            if self.device.find_fault():
                raise
            self._records = False
            warnings.warn(f"graphc: a run on {self.device.label} goes launch by launch, for it cannot be recorded: {error}", RuntimeWarning,
                          stacklevel=2)
            return None
        log.info("recorded %s on %s as one CUDA graph", ", ".join(self.names) or "nothing", self.device.label)
        self._recorded[staged] = self._owner.keep(graph)
        return graph

    def _enqueue_all(self, staged: tuple[int, ...], launch_all: Callable[[], None]) -> None:
        if not self._launches:
            self._prepare()
        self._transfers.enqueue_uploads(staged)
        launch_all()
        self._transfers.enqueue_downloads()

    def _in_a_row(self) -> None:
        for launch in self._launches:
            launch()

    def _marked(self, marks: Sequence[Mark], records: bool) -> None:
        stream = self._workspace.stream
        marks[0].set(stream, records)
        for launch, mark in zip(self._launches, marks[1:], strict=True):
            launch()
            mark.set(stream, records)

    def _one_by_one(self) -> None:
        """Launches and waits for each; the error of one that fails names it."""
        stream = self._workspace.stream
        stream.raw.synchronize()
        for number, launch in enumerate(self._launches):
            try:
                launch()
                stream.raw.synchronize()
            except self._errors as error:
                raise self._failure(error, (number,)) from None

    def _failure(self, error: Exception, suspects: Sequence[int]) -> OpError:
        """What to tell of an error of the driver, in these launches; where the context is lost the device is not used again."""
        if isinstance(error, self.device.api.MemoryError):
            free = readable(self.device.free_bytes()[0])
            problem = f"Out of memory on {self.device.label} ({self.device.name}): {error}, with {free} free."
            return errors.not_enough(problem, self.executable, (), self._graph)
        fault = self.device.find_fault()
        kernels = [launch.kernel for launch in map(self.executable.launches.__getitem__, suspects) if not isinstance(launch, CopyLaunch)]
        return errors.failed(fault or str(error), self.executable, kernels, self.device.label, self._graph)
