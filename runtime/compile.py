"""Program in, Executable out: passes, lowering, machine code, the plan. The only importer of passes and codegen.

    specialise (core) -> pipeline and memory plan (passes) -> lower, schedule (codegen) -> print, compile, plan, entry (codegen.llvm)
"""
from __future__ import annotations

import functools
import hashlib
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
from graphc.codegen.llvm.plan import Copy, Step
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target, host
from graphc.codegen.lower import lower
from graphc.codegen.pointer import Pointer
from graphc.codegen.schedule import schedule_cpu
from graphc.codegen.text import print_kernel as kernel_text
from graphc.core.program import Node, Origin, Program
from graphc.passes.memory import MemoryPlan, plan_memory
from graphc.passes.pipelines import Pipeline, run_pipeline
from graphc.runtime import check
from graphc.runtime.arena import aligned_empty, allocate_arena
from graphc.runtime.executable import NativeExecutable, NativeKernel, Slots
from graphc.runtime.layout import figures, parameters, pointer_to, slots_of, step_name, variables_read, variables_written

WORTH_SPLITTING_US = 50.0  # kernels estimated below this run on one thread
PIECE_US = 25.0  # about what one piece of a split kernel takes
RELEASE_GIL_US = 10.0
KEPT_KERNELS = 512  # distinct kernels whose text is remembered by the process


def compile_program(program: Program, pipeline: Pipeline, threads: int) -> NativeExecutable:
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
    slots = slots_of(final, memory)
    scratch = max((scratch_bytes(k.ir, target) for k in kernels), default=0)
    plan_text = native_plan.print_plan(_native_steps(memory, kernels, slots, scratch), threads)
    texts = {kernel.symbol: kernel.code for kernel in kernels}
    before = replace(cache.stats())
    objects = tuple(cache.object_code(text, target) for text in (*texts.values(), plan_text))
    phases = {"passes": (passed - start) * 1e3, "lower": (lowered - passed) * 1e3, "machine code": (time.perf_counter() - lowered) * 1e3}
    made = NativeExecutable(
        target="cpu", stages=tuple(stages), kernels=tuple(kernels), memory=figures(final, memory), plan=memory,
        reads=variables_read(final), writes=variables_written(final), slots=slots, compile_ms=phases,
        objects_from=cache.stats().since(before), plan_text=plan_text, objects=objects, scratch_bytes=scratch * threads)
    if check.wanted():
        check.check_machine_code(program, functools.partial(run_once, made))
    return made


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

    def compile(self, steps: Sequence[Node], program: Program) -> list[NativeKernel]:
        return [self._one(number, step, program.origins.get(step, ())) for number, step in enumerate(steps)]

    def _one(self, number: int, step: Node, origins: tuple[Origin, ...]) -> NativeKernel:
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
        return NativeKernel(name=step_name(number, step, origins), symbol=named.name, ir=named, code=made.llvm, origins=origins,
                            flops=price.flops, bytes=price.bytes, microseconds=price.microseconds, extent=extent, parallel=parallel)

    def _print(self, step: Node) -> _Printed:
        kernel = schedule_cpu(lower(step), self.target)
        symbol = "k" + hashlib.sha256(kernel_text(kernel).encode()).hexdigest()[:16]
        kernel = replace(kernel, name=symbol)
        return _Printed(kernel, print_kernel(kernel, self.target), cost(kernel), launch_extent(kernel, self.target))


def _native_steps(memory: MemoryPlan, kernels: Sequence[NativeKernel], slots: Slots, stride: int) -> list[Step | Copy]:
    steps: list[Step | Copy] = []
    for node, kernel in zip(memory.steps, kernels, strict=True):
        piece = kernel.microseconds / max(kernel.extent, 1)
        grain = max(1, round(PIECE_US / piece)) if piece > 0 else kernel.extent
        params = parameters(node, memory, slots)
        steps.append(Step(kernel.symbol, params, kernel.extent, grain, kernel.parallel, Pointer(Slots.SCRATCH), stride))
    steps += [Copy(pointer_to(to, slots), pointer_to(source, slots), size) for source, to, size in memory.copies]
    return steps


@dataclass(frozen=True)
class Linked:
    """Machine code ready to be called. run(feeds..., outputs...) gives None, or the position of the first array that does not fit (then
    nothing has run). place(slot, array): puts a lasting array where the plan looks for it; takes effect with the next run."""

    run: Run
    place: Callable[[int, np.ndarray], None]


def link(executable: NativeExecutable, lasting: Mapping[int, np.ndarray]) -> Linked:
    """Loads the code of `executable`, over arrays that stay from run to run: arena, scratch, variables and constants by slot."""
    slots = executable.slots
    args = Args(slots.count)
    for slot, array in lasting.items():
        args.set(slot, array)
    feeds = [Parameter(slots.feed(n), type_.dtype, type_.dims) for n, type_ in enumerate(executable.feeds)]
    outputs = [Parameter(slots.output(n), type_.dtype, type_.dims, writable=True) for n, type_ in enumerate(executable.fetches)]
    release_gil = executable.microseconds > RELEASE_GIL_US
    return Linked(build("graphc_plan", executable.objects, [*feeds, *outputs], args, release_gil, host()), args.set)


def run_once(executable: NativeExecutable, feeds: Sequence[np.ndarray], variables: Mapping[str, np.ndarray]) -> check.Results:
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
