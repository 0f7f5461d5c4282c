"""`Executable`: what a compilation made, to run and to look into. `compile.py` makes it; `Session` runs it; `graphc dump` prints it."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.codegen import ir
from graphc.codegen.text import print_kernel
from graphc.core.program import Origin, Program
from graphc.core.types import TensorType
from graphc.passes.memory import MemoryPlan
from graphc.passes.pipelines import Stage


@dataclass(frozen=True)
class CompiledKernel:
    """One launch. Equal kernels share `symbol` and machine code.

    name: for people. ir: the scheduled kernel; text: its printed form; llvm: the module that was compiled. origins: the operations it came
    from, with the user's lines. flops and bytes: of one launch. microseconds: the estimate that decided `parallel`.
    """

    name: str
    symbol: str
    ir: ir.Kernel
    llvm: str = field(repr=False)
    origins: tuple[Origin, ...]
    flops: int
    bytes: int
    microseconds: float
    extent: int
    parallel: bool

    @property
    def text(self) -> str:
        return print_kernel(self.ir)


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


@dataclass(frozen=True)
class Executable:
    """The result of `Session.compile`: `.program`, `.stages`, `.kernels`, `.memory`. Frozen; holds no variable and no feed.

    stages: the Program after each pass, in order, the first being "specialise". program: the last of them. feeds and fetches: types in
    order. compile_ms: by phase ("passes", "lower", "machine code"). objects_from: how many object files were "compiled", "from disk" and
    "from memory".
    """

    stages: tuple[Stage, ...]
    kernels: tuple[CompiledKernel, ...]
    memory: Memory
    plan: MemoryPlan = field(repr=False)
    plan_text: str = field(repr=False)
    objects: tuple[bytes, ...] = field(repr=False)
    reads: tuple[tuple[str, TensorType], ...]
    writes: tuple[tuple[str, TensorType], ...]
    slots: Slots
    scratch_bytes: int
    microseconds: float
    compile_ms: dict[str, float]
    objects_from: dict[str, int] = field(default_factory=dict)

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
    def constants(self) -> tuple[np.ndarray, ...]:
        return tuple(node.attrs.value.array for node in self.plan.constants)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all kernels of one run."""
        return sum(kernel.bytes for kernel in self.kernels)

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)


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
