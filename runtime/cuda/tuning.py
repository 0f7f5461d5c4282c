"""Times the candidates for a product on the device itself, for `choice`. Between `bound`, which is about to run a product, and `cublaslt`.

Candidates run over scratch memory of their own, in a recorded graph, as they will in the end: what Python takes to start them does not
count.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence

from graphc.core.errors import ResourceExhaustedError
from graphc.runtime.cuda import driver
from graphc.runtime.cuda.choice import Choice, Machine, Run, choose
from graphc.runtime.cuda.cublaslt import Plan
from graphc.runtime.cuda.device import CudaDevice, DeviceMemory, Owner, Stream
from graphc.runtime.cuda.graph import CudaGraph
from graphc.runtime.cuda.launches import GemmLaunch

MEASURED_MS = 2.0  # about what one timing takes on the device: fast products run several times in it
MOST_RUNS = 20


def settle(launch: GemmLaunch, plan: Plan, device: CudaDevice, sizes: Sequence[int]) -> Choice:
    """How the product of `launch` runs on `device`, which is current: known from before, or measured now. Sets `plan.chosen`.

    sizes: bytes of each of the launch's parameters. Where scratch memory for them cannot be had, the library's first algorithm is taken.
    """
    machine = Machine(device.name, str(driver.api().get_driver_version()), plan.library.version)
    with _Scratch(launch, plan, device, sizes) as scratch:
        generated = scratch.generated if launch.generated.image and not launch.wanted else None
        try:
            return choose(plan, machine, launch.precision, launch.generated.symbol, scratch.library, generated, scratch.time_ms)
        except ResourceExhaustedError:
            plan.chosen = 0
            return Choice("cublasLt 0", {}, "the library's guess")


class _Scratch:
    """Memory, a stream and events to run one product in; made when the first candidate runs, freed when left."""

    def __init__(self, launch: GemmLaunch, plan: Plan, device: CudaDevice, sizes: Sequence[int]) -> None:
        self._launch, self._plan, self._device, self._sizes = launch, plan, device, sizes
        self._owner = Owner(device)

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        self._owner.close()

    @functools.cached_property
    def _stream(self) -> Stream:
        return self._owner.keep(self._device.stream())

    @functools.cached_property
    def _addresses(self) -> list[int]:
        return [self._allocated(nbytes).address for nbytes in self._sizes]

    @functools.cached_property
    def _workspace(self) -> int:
        return self._allocated(self._plan.most_workspace_bytes).address

    def _allocated(self, nbytes: int) -> DeviceMemory:
        return self._owner.keep(self._device.allocate(nbytes, "trying out a product"))

    def library(self) -> None:
        """The product by the plan's chosen algorithm."""
        self._plan.run(self._stream.handle, self._addresses, self._workspace)

    def generated(self) -> None:
        """The product by graphc's own kernel."""
        kernel = self._launch.generated
        function = self._device.function(kernel.image, kernel.symbol, len(kernel.params))
        function.prepared_async_call(kernel.grid, kernel.block, self._stream.raw, *self._addresses)

    def time_ms(self, run: Run) -> float:
        """Of one run, on the device."""
        run()  # outside of a recording: what is loaded at the first use is loaded here
        self._stream.raw.synchronize()
        once = self._timed_ms(run, 1)
        return self._timed_ms(run, max(1, min(MOST_RUNS, round(MEASURED_MS / max(once, 1e-6)))))

    def _timed_ms(self, run: Run, runs: int) -> float:
        """Of one of so many runs in a row."""
        before, after = self._owner.keep(self._device.event(timed=True)), self._owner.keep(self._device.event(timed=True))
        graph = self._owner.keep(CudaGraph(self._stream))
        with graph:
            for _ in range(runs):
                run()
        graph.launch()  # untimed: the first start uploads the graph, and while it runs the host enqueues the one that counts
        before.raw.record(self._stream.raw)
        graph.launch()
        after.raw.record(self._stream.raw)
        after.raw.synchronize()
        milliseconds: float = after.raw.time_since(before.raw)
        for thing in (before, after, graph):
            self._owner.free(thing)
        return milliseconds / runs
