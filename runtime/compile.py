"""Program in, Executable out: passes, lowering, machine code, the plan. The only importer of passes and codegen.

    specialise (core) -> pipeline and memory plan (passes) -> lower, schedule (codegen) -> print, compile, plan, entry (codegen.llvm)
"""
from __future__ import annotations

import functools
import hashlib
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from graphc.codegen import ir
from graphc.codegen.cost import Cost, cost
from graphc.codegen.llvm import cache
from graphc.codegen.llvm import plan as native_plan
from graphc.codegen.llvm.entry import Args, Parameter, Run, build, canonical
from graphc.codegen.llvm.plan import Copy, Pointer, Step
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target, host
from graphc.codegen.lower import lower
from graphc.codegen.schedule import schedule_cpu
from graphc.codegen.text import print_kernel as kernel_text
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.passes.memory import Location, MemoryPlan, plan_memory
from graphc.passes.pipelines import Pipeline, run_pipeline
from graphc.passes.storage import value_of
from graphc.runtime import check
from graphc.runtime.arena import aligned_empty, allocate_arena
from graphc.runtime.executable import BufferUse, CompiledKernel, Executable, Memory, Slots, names_of

WORTH_SPLITTING_US = 50.0  # kernels estimated below this run on one thread
PIECE_US = 25.0  # about what one piece of a split kernel takes
RELEASE_GIL_US = 10.0
KEPT_KERNELS = 512  # distinct kernels whose text is remembered by the process


def compile_program(program: Program, pipeline: Pipeline, threads: int) -> Executable:
    """Compiles `program` for this machine, for at most `threads` threads.

    A pass that fails is left out with a warning; errors of lowering and of code generation are raised.
    """
    target = host()
    start = time.perf_counter()
    stages = run_pipeline(program, pipeline)
    for stage in stages:
        if stage.problem:
            warnings.warn(f"graphc: pass {stage.name!r} failed and was left out: {stage.problem}", RuntimeWarning, stacklevel=2)
    if check.wanted():
        check.check_stages((stage.name, stage.program) for stage in stages)
    final = stages[-1].program
    memory = plan_memory(final)
    passed = time.perf_counter()
    kernels = _Kernels(target, threads).compile(memory.steps, final)
    lowered = time.perf_counter()
    slots = _slots(final, memory)
    scratch = max((scratch_bytes(k.ir, target) for k in kernels), default=0)
    plan_text = native_plan.print_plan(_native_steps(memory, kernels, slots, scratch), threads)
    texts = {kernel.symbol: kernel.llvm for kernel in kernels}
    before = replace(cache.stats())
    objects = tuple(cache.object_code(text, target) for text in (*texts.values(), plan_text))
    phases = {"passes": (passed - start) * 1e3, "lower": (lowered - passed) * 1e3, "machine code": (time.perf_counter() - lowered) * 1e3}
    made = Executable(tuple(stages), tuple(kernels), _figures(final, memory), memory, plan_text, objects, _reads(final), _writes(final),
                      slots, scratch * threads, sum(k.microseconds for k in kernels), phases, _since(before, cache.stats()))
    if check.wanted():
        check.check_machine_code(program, functools.partial(run_once, made))
    return made


def _since(before: cache.Stats, now: cache.Stats) -> dict[str, int]:
    """Where the object files came from."""
    return {"compiled": now.compiled - before.compiled, "from disk": now.disk_hits - before.disk_hits,
            "from memory": now.memory_hits - before.memory_hits}


@dataclass(frozen=True)
class _Printed:
    """What a step becomes, whatever it is called and wherever it stands: the kernel, its LLVM text, its cost, its launch range."""

    kernel: ir.Kernel
    llvm: str
    cost: Cost
    extent: int


# Steps printed before, for every session of the process (a new shape repeats most steps that it does not concern). Oldest first.
_printed: dict[Any, _Printed] = {}
_printed_lock = Lock()


class _Kernels:
    """Lowers, schedules and prints the steps; equal steps once."""

    def __init__(self, target: Target, threads: int) -> None:
        self.target = target
        self.threads = threads

    def compile(self, steps: Sequence[Node], program: Program) -> list[CompiledKernel]:
        return [self._one(number, step, program.origins.get(step, ())) for number, step in enumerate(steps)]

    def _one(self, number: int, step: Node, origins: tuple[Origin, ...]) -> CompiledKernel:
        # Which operands are the same node is part of what a step is: each distinct one is one parameter.
        pattern = tuple(step.operands.index(operand) for operand in step.operands)
        attrs = None if step.name == "copy" else step.attrs  # those of a copy say only which of several it is
        key = (self.target, step.primitive, attrs, tuple(operand.type for operand in step.operands), pattern)
        made = _printed.get(key)
        if made is None:
            made = self._print(step)
            with _printed_lock:
                _printed[key] = made
                if len(_printed) > KEPT_KERNELS:
                    del _printed[next(iter(_printed))]
        price, extent = made.cost, made.extent
        parallel = self.threads > 1 and extent > 1 and price.microseconds >= WORTH_SPLITTING_US
        named = replace(made.kernel, origins=tuple(map(str, origins)))
        return CompiledKernel(_name(number, step, origins), named.name, named, made.llvm, origins, price.flops, price.bytes,
                              price.microseconds, extent, parallel)

    def _print(self, step: Node) -> _Printed:
        kernel = schedule_cpu(lower(step), self.target)
        symbol = "k" + hashlib.sha256(kernel_text(kernel).encode()).hexdigest()[:16]
        kernel = replace(kernel, name=symbol)
        return _Printed(kernel, print_kernel(kernel, self.target), cost(kernel), launch_extent(kernel, self.target))


def _name(number: int, step: Node, origins: Sequence[Origin]) -> str:
    """`3_row_Softmax`: the step's position, its kind and the last operation in it."""
    kind = step.attrs.kind if step.name == "fusion" else step.name
    last = origins[-1].operation if origins else ""
    return "_".join(part for part in (str(number), kind, re.sub(r"\W+", "_", last)) if part)


def _slots(program: Program, memory: MemoryPlan) -> Slots:
    return Slots(tuple(program.variables), len(memory.constants), len(program.parameters), len(program.outputs))


def _pointer(location: Location, slots: Slots) -> Pointer:
    places: dict[str, Callable[[Any], Pointer]] = {
        "arena": lambda offset: Pointer(Slots.ARENA, offset), "variable": lambda name: Pointer(slots.variable(name)),
        "constant": lambda number: Pointer(slots.constant(number)), "feed": lambda number: Pointer(slots.feed(number)),
        "output": lambda number: Pointer(slots.output(number))}
    return places[location.kind](location.key)


def _native_steps(memory: MemoryPlan, kernels: Sequence[CompiledKernel], slots: Slots, stride: int) -> list[Step | Copy]:
    steps: list[Step | Copy] = []
    for node, kernel in zip(memory.steps, kernels, strict=True):
        operands = [memory.locations[value_of(operand)] for operand in dict.fromkeys(node.operands)]
        results = [memory.locations[(node, number)] for number in range(len(node.types))]
        params = tuple(_pointer(location, slots) for location in (*operands, *results))
        piece = kernel.microseconds / max(kernel.extent, 1)
        grain = max(1, round(PIECE_US / piece)) if piece > 0 else kernel.extent
        steps.append(Step(kernel.symbol, params, kernel.extent, grain, kernel.parallel, Pointer(Slots.SCRATCH), stride))
    steps += [Copy(_pointer(to, slots), _pointer(source, slots), size) for source, to, size in memory.copies]
    return steps


def _figures(program: Program, memory: MemoryPlan) -> Memory:
    def label(node: Node) -> str:
        return names_of(program.origins.get(node, ())) or node.name

    buffers = tuple(BufferUse(b.offset, b.size, b.first, b.last, tuple(label(value[0]) for value in b.values)) for b in memory.buffers)
    copied = tuple(str(to.key) for _, to, _ in memory.copies)
    return Memory(memory.arena_bytes, memory.lower_bound, memory.unplanned_bytes, buffers, memory.in_place, copied)


def _reads(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.nodes if n.name == "variable_read")


def _writes(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.effects)


@dataclass(frozen=True)
class Linked:
    """Machine code ready to be called. run(feeds..., outputs...) gives None, or the position of the first array that does not fit (then
    nothing has run). place(slot, array): puts a lasting array where the plan looks for it; takes effect with the next run."""

    run: Run
    place: Callable[[int, np.ndarray], None]


def link(executable: Executable, lasting: Mapping[int, np.ndarray]) -> Linked:
    """Loads the code of `executable`, over arrays that stay from run to run: arena, scratch, variables and constants by slot."""
    slots = executable.slots
    args = Args(slots.count)
    for slot, array in lasting.items():
        args.set(slot, array)
    feeds = [Parameter(slots.feed(n), type_.dtype, type_.dims) for n, type_ in enumerate(executable.feeds)]
    outputs = [Parameter(slots.output(n), type_.dtype, type_.dims, writable=True) for n, type_ in enumerate(executable.fetches)]
    release_gil = executable.microseconds > RELEASE_GIL_US
    return Linked(build("graphc_plan", executable.objects, [*feeds, *outputs], args, release_gil, host()), args.set)


def run_once(executable: Executable, feeds: Sequence[np.ndarray], variables: Mapping[str, np.ndarray]) -> check.Results:
    """Outputs, and the new values of the written variables, as `interpret` gives them: for tests and checks, in memory of its own.

    feeds: of the executable's types, in order. variables: at least those that are read; they stay as they are.
    """
    slots = executable.slots
    state = {name: aligned_empty(type_.dims, type_.dtype.np_dtype) for name, type_ in (*executable.reads, *executable.writes)}
    for name, _ in executable.reads:
        state[name][...] = variables[name]
    lasting = {Slots.ARENA: allocate_arena(executable.memory.arena_bytes), Slots.SCRATCH: allocate_arena(executable.scratch_bytes)}
    lasting |= {slots.variable(name): array for name, array in state.items()}
    lasting |= {slots.constant(number): np.ascontiguousarray(array) for number, array in enumerate(executable.constants)}
    outputs = [np.empty(type_.dims, type_.dtype.np_dtype) for type_ in executable.fetches]
    refused = link(executable, lasting).run(*map(canonical, feeds, [type_.dtype for type_ in executable.feeds]), *outputs)
    if refused is not None:
        raise ValueError(f"array {refused} is not of the type that the executable was made for")
    return outputs, {name: state[name] for name, _ in executable.writes}
