"""Executables made by hand for tests of the CUDA runtime: three launches whose results numpy knows, no compiler of ours between.

    a = 2 x + w                 x: the feed, w: a variable, a: in the arena
    w = w + 1
    y = 2 a + 10                y: the output, 10: a constant

To be used in the subprocess that `tests.cuda_host.device.in_subprocess` starts.
"""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import graphc as gc
from graphc.codegen.pointer import Pointer
from graphc.core.dtypes import float32
from graphc.core.program import Origin
from graphc.core.types import TensorType
from graphc.runtime.cuda.bound import CudaBound
from graphc.runtime.cuda.device import CudaDevice, device
from graphc.runtime.cuda.launches import CopyLaunch, KernelLaunch
from graphc.runtime.cuda.memory import DeviceStore, DeviceWorkspace
from graphc.runtime.executable import Slots
from tests.cuda_host.host import HostCompiler

COUNTS = (0, 1, 3, 5, 10, 100, 777, 1000, 1024, 3000, 6151, 22_528, 262_147)  # elements that there are kernels for
TEXT = """
extern "C" __global__ void scale_add_COUNT(const float* x, const float* w, float* y) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < COUNT) y[at] = 2.0f * x[at] + w[at];
}
extern "C" __global__ void bump_COUNT(float* w) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < COUNT) w[at] += 1.0f;
}
extern "C" __global__ void astray_COUNT(float* w) { w[threadIdx.x + (1 << 24)] = 1.0f; }
"""
THREADS = 128
ARENA_OFFSET = 64


def image() -> bytes:
    """One module for all, so that g++ runs once."""
    return HostCompiler().compile("".join(TEXT.replace("COUNT", str(count)) for count in COUNTS), "sm_90")[0]


def executable(count: int, second: str = "bump", threads: int = THREADS) -> Any:
    """For arrays of `count` elements. second: the kernel that is launched between the two others. threads: of its blocks."""
    code, grid, block = image(), (max(1, -(-count // THREADS)), 1, 1), (THREADS, 1, 1)
    array = TensorType(float32, (count,))
    slots = Slots(("w",), 1, 1, 1)
    feed, variable, constant, output = slots.feed(0), slots.variable("w"), slots.constant(0), slots.output(0)
    arena = Pointer(Slots.ARENA, ARENA_OFFSET)
    launches = (
        KernelLaunch(f"scale_add_{count}", code, grid, block, (Pointer(feed), Pointer(variable), arena), 0),
        KernelLaunch(f"{second}_{count}", code, grid, (threads, 1, 1), (Pointer(variable),), 1),
        KernelLaunch(f"scale_add_{count}", code, grid, block, (arena, Pointer(constant), Pointer(output)), 2))
    origins = (Origin("Twice", "Mul", "train.py:3"),), (Origin("w/bump", "AssignAdd", "train.py:4"),), (Origin("y", "Add", "train.py:5"),)
    kernels = [SimpleNamespace(name=f"{n}_{launch.symbol.removesuffix(f'_{count}')}", symbol=launch.symbol, origins=origin)
               for n, (launch, origin) in enumerate(zip(launches, origins, strict=True))]
    return SimpleNamespace(
        feeds=(array,), fetches=(array,), reads=(("w", array),), writes=(("w", array),), slots=slots, launches=launches, kernels=kernels,
        constants=(np.full(count, 10, np.float32),), compiler="",
        memory=SimpleNamespace(arena_bytes=ARENA_OFFSET + array.nbytes, buffers=(SimpleNamespace(size=array.nbytes, values=("Twice",)),)),
        program=SimpleNamespace(outputs=(), parameters=(), origins={}))


def reader(count: int) -> Any:
    """An executable that fetches the variable."""
    made = executable(count)
    slots = Slots(("w",), 0, 0, 1)
    copy = CopyLaunch(Pointer(slots.output(0)), Pointer(slots.variable("w")), 4 * count)
    return SimpleNamespace(**{**vars(made), "feeds": (), "writes": (), "constants": (), "slots": slots, "launches": (copy,), "kernels": [],
                              "memory": SimpleNamespace(arena_bytes=0, buffers=())})


class Session:
    """As much of a session as a bound executable needs, and what its results must be."""

    def __init__(self, count: int, on: CudaDevice | None = None) -> None:
        self.graph = gc.Graph()
        with self.graph.as_default():
            gc.Variable(np.zeros(count, np.float32), name="w")
        self.device = on or device(0)
        self.store, self.workspace = DeviceStore(self.graph, self.device), DeviceWorkspace(self.device)
        self.count = count
        self.random = np.random.default_rng(count)
        self.w = self.random.standard_normal(count).astype(np.float32)
        self.bounds: list[CudaBound] = []

    def bind(self, made: Any = None) -> CudaBound:
        bound = CudaBound(made or executable(self.count), self.graph, self.store, self.workspace)
        if "w" not in self.store.initialised:
            with self.device.current:
                self.device.upload(self.store.array("w", TensorType(float32, (self.count,))), self.w)
            self.store.initialised.add("w")
        self.bounds.append(bound)
        return bound

    def feed(self) -> np.ndarray:
        return self.random.standard_normal(self.count).astype(np.float32)

    def step(self, bound: CudaBound, feed: Any = None, host: np.ndarray | None = None) -> None:
        """One run, compared with numpy. host: the feed's values where it is not an ndarray."""
        x = self.feed() if feed is None else feed
        outputs = bound.empty_outputs()
        assert bound.run(x, *outputs) is None
        expected = 2 * (2 * (x if host is None else host) + self.w) + 10
        np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=1e-5)
        self.w = self.w + 1

    def value(self) -> np.ndarray:
        bound = self.bind(reader(self.count))
        outputs = bound.empty_outputs()
        assert bound.run(*outputs) is None
        return outputs[0]

    def close(self) -> None:
        for bound in self.bounds:
            bound.retire()
        self.store.clear()
        self.workspace.clear()


__all__ = ["Session", "executable", "image", "reader"]
