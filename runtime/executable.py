"""`Executable`: what a compilation made, to run and to look into. `compile.py` makes it; `Session` runs it; `graphc dump` prints it."""
from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from graphc.codegen import ir
from graphc.codegen.gpu import Gpu
from graphc.codegen.llvm.jit import assembly
from graphc.codegen.llvm.target import host
from graphc.codegen.text import print_kernel
from graphc.core.program import Origin, Program
from graphc.core.types import TensorType
from graphc.exports import networkx_graph
from graphc.inspection.description import describe
from graphc.inspection.folder import dump as folder_dump
from graphc.inspection.folder import title_of
from graphc.inspection.report import notebook_html, write_report
from graphc.passes.memory import MemoryPlan
from graphc.passes.pipelines import Stage

if TYPE_CHECKING:
    import networkx

    from graphc.codegen.cuda.resources import Resources
    from graphc.limits import Limits
    from graphc.runtime.cuda.launches import Launch
    from graphc.runtime.profile import Profile


@dataclass(frozen=True, kw_only=True)
class CompiledKernel:
    """One launch. Equal kernels share `symbol` and machine code.

    name: for people. ir: the scheduled kernel; text: its printed form; code: what was compiled, LLVM's text or CUDA C. origins: the
    operations it came from, with the user's lines. flops and bytes: of one launch. microseconds: an estimate for one core of a CPU.
    """

    name: str
    symbol: str
    ir: ir.Kernel
    code: str = field(repr=False)
    origins: tuple[Origin, ...]
    flops: int
    bytes: int
    microseconds: float

    @property
    def text(self) -> str:
        return print_kernel(self.ir)

    @property
    def assembly(self) -> str:
        """The machine code to read, "" where there is none."""
        return ""


@dataclass(frozen=True, kw_only=True)
class NativeKernel(CompiledKernel):
    """A kernel for a CPU. extent: of its launch range. parallel: whether threads share it, which `microseconds` decided."""

    extent: int
    parallel: bool

    @property
    def assembly(self) -> str:
        return assembly(self.code, host())


@dataclass(frozen=True, kw_only=True)
class HostKernel(NativeKernel):
    """A function of the host that the plan calls in a kernel's place. `ir` has its parameters and no statement."""

    function: str

    @property
    def assembly(self) -> str:
        return ""

    @property
    def text(self) -> str:
        return f"// calls {self.function} on the host\n{print_kernel(self.ir)}"


@dataclass(frozen=True, kw_only=True)
class CudaKernel(CompiledKernel):
    """A launch on a GPU. steps: positions of the plan's steps that it computes. grid and block: its blocks, and the threads of each.

    resources: what the compiler says of it (registers, shared memory, spills), None where there is no compiler. occupancy: the part of a
    multiprocessor's threads that are resident, from 0 to 1, 0 where the resources are unknown. library: what cublasLt does of it, in words;
    "" for a generated kernel.
    """

    steps: tuple[int, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    resources: Resources | None = None
    occupancy: float = 0.0
    library: str = ""


@dataclass(frozen=True)
class Memory:
    """The memory plan in figures. arena_bytes: allocated; lower_bound: the largest live sum; unplanned_bytes: the same values without
    sharing. buffers: offset, size, first and last use (positions of kernels), and the values that take turns in each."""

    arena_bytes: int
    lower_bound: int
    unplanned_bytes: int
    buffers: tuple[BufferUse, ...]
    in_place: tuple[str, ...]  # variables updated without a copy
    copied: tuple[str, ...]  # variables that could not be


@dataclass(frozen=True)
class BufferUse:
    offset: int
    size: int
    first: int
    last: int
    values: tuple[str, ...]  # what lives in it in turn: operation names


@dataclass(frozen=True, kw_only=True)
class Executable(ABC):
    """The result of `Session.compile`: `.program`, `.stages`, `.kernels`, `.memory`. Frozen; holds no variable and no feed.

    target: "cpu", the architecture of a GPU ("sm_90"), or "mixed" (see `graphc.runtime.placed`). stages: the Program after each pass, in
    order, the first being "specialise". program: the last of them. feeds and fetches: types in order. compile_ms: by phase ("passes",
    "lower", "machine code"). objects_from: how many pieces of machine code were "compiled", "from disk" and "from memory". plan_text: the
    launches of a run, as text.
    """

    target: str
    stages: tuple[Stage, ...]
    kernels: Sequence[CompiledKernel]
    memory: Memory
    reads: tuple[tuple[str, TensorType], ...]
    writes: tuple[tuple[str, TensorType], ...]
    compile_ms: dict[str, float]
    objects_from: dict[str, int] = field(default_factory=dict)
    plan_text: str = field(repr=False)
    language: ClassVar[str]  # of `kernels[n].code`
    suffix: ClassVar[str]  # of a file with such code

    @property
    @abstractmethod
    def expectation(self) -> str:
        """What one run should cost, in words."""

    @property
    def pieces(self) -> tuple[tuple[str, Executable], ...]:
        """Of what is compiled in pieces each with what it is, in words; nothing for one Program on one device."""
        return ()

    def dump(self, folder: str | os.PathLike[str]) -> None:
        """Writes all that is known of this into `folder`, as text that is the same in every process: the Program after each pass and what
        the pass changed, every kernel down to assembly, the schedule, the memory plan, and why kernels were not fused. The folder is
        made, or is empty, or holds an earlier dump, which goes. ValueError where it cannot be had; then nothing is written."""
        folder_dump(self, folder)

    def report(self, path: str | os.PathLike[str], profile: Profile | None = None, limits: Limits | None = None) -> None:
        """Writes a page about all of this into the HTML file `path`, which needs nothing beside it. profile: of a run (`Session.profile`),
        for the kernels' times; limits: of the machine (`graphc.limits.measure`), for the roofline. OSError where the file cannot be
        written; then nothing is."""
        write_report(describe(self, title_of(self), profile, limits), path)

    def to_networkx(self) -> networkx.MultiDiGraph:
        """The kernels and the values between them (see `graphc.exports.networkx_graph`). ImportError without networkx."""
        return networkx_graph(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return notebook_html(describe(self, title_of(self), assembly=False))

    @property
    def program(self) -> Program:
        return self.stages[-1].program

    @property
    def feeds(self) -> tuple[TensorType, ...]:
        return tuple(node.type for node in self.program.parameters)

    @property
    def fetches(self) -> tuple[TensorType, ...]:
        return tuple(node.type for node in self.program.outputs)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all kernels of one run."""
        return sum(kernel.bytes for kernel in self.kernels)

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)


@dataclass(frozen=True, kw_only=True)
class DeviceExecutable(Executable):
    """An executable for one device, and where its plan finds its memory there."""

    plan: MemoryPlan = field(repr=False)
    slots: Slots

    @property
    def constants(self) -> tuple[np.ndarray, ...]:
        return tuple(node.attrs.value.array for node in self.plan.constants)


@dataclass(frozen=True, kw_only=True)
class NativeExecutable(DeviceExecutable):
    """An executable for a CPU: object files, one for each distinct kernel and one for the plan, and the scratch memory of all threads."""

    kernels: tuple[NativeKernel, ...]
    objects: tuple[bytes, ...] = field(repr=False)
    scratch_bytes: int
    language = "LLVM text"
    suffix = "ll"

    @property
    def expectation(self) -> str:
        return f"about {self.microseconds:.0f} us a run"

    @property
    def microseconds(self) -> float:
        """The estimate for one run."""
        return sum(kernel.microseconds for kernel in self.kernels)


@dataclass(frozen=True, kw_only=True)
class CudaExecutable(DeviceExecutable):
    """An executable for a GPU: launches in order, with their machine code. compiler: what made it, or why nothing could."""

    kernels: tuple[CudaKernel, ...]
    launches: tuple[Launch, ...] = field(repr=False)
    gpu: Gpu
    compiler: str
    language = "CUDA C"
    suffix = "cu"

    @property
    def expectation(self) -> str:
        return f"{len(self.launches)} launches a run"


@dataclass(frozen=True)
class Slots:
    """Where the plan finds its pointers: args[0] is the arena, args[1] the scratch memory, then variables, constants, feeds, outputs."""

    variables: tuple[str, ...]
    constants: int
    feeds: int
    outputs: int

    ARENA = 0
    SCRATCH = 1

    def variable(self, name: str) -> int:
        return 2 + self.variables.index(name)

    def constant(self, number: int) -> int:
        return 2 + len(self.variables) + number

    def feed(self, number: int) -> int:
        return self.constant(self.constants) + number

    def output(self, number: int) -> int:
        return self.feed(self.feeds) + number

    @property
    def count(self) -> int:
        return self.output(self.outputs)


def names_of(origins: Sequence[Origin]) -> str:
    """The operations of `origins` in short: `dense/MatMul, dense/BiasAdd`."""
    return ", ".join(dict.fromkeys(origin.operation for origin in origins))
