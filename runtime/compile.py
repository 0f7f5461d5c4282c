"""Program in, Executable out: passes, lowering, machine code, the plan. The only importer of passes and codegen.

    specialise (core) -> pipeline and memory plan (passes) -> lower, schedule (codegen) -> print, compile, plan, entry (codegen.llvm)
"""
from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphc.codegen import ir
from graphc.codegen.cost import Cost, cost
from graphc.codegen.llvm import cache
from graphc.codegen.llvm import plan as native_plan
from graphc.codegen.llvm.entry import Args, Parameter, Run, build, canonical
from graphc.codegen.llvm.plan import Copy, Step, Timing
from graphc.codegen.llvm.printer import launch_extent, print_kernel, scratch_bytes
from graphc.codegen.llvm.target import Target, host
from graphc.codegen.lower import lower
from graphc.codegen.pointer import Pointer
from graphc.codegen.schedule import schedule_cpu
from graphc.codegen.text import print_kernel as kernel_text
from graphc.core.loops import Extern
from graphc.core.program import Node, Origin, Program
from graphc.passes.memory import MemoryPlan
from graphc.passes.pipelines import Pipeline
from graphc.runtime import verifying
from graphc.runtime.arena import aligned_empty, allocate_arena
from graphc.runtime.executable import HostKernel, NativeExecutable, NativeKernel, Slots
from graphc.runtime.extern import HostCalls, Worded
from graphc.runtime.planned import Remembered, figures, parameters, plan, pointer_to, step_name, variables_read, variables_written

WORTH_SPLITTING_US = 50.0  # kernels estimated below this run on one thread
PIECE_US = 25.0  # about what one piece of a split kernel takes
RELEASE_GIL_US = 10.0
HOST_CALL_US, HOST_FLOPS_A_US = 10.0, 2000.0  # what a call of the host costs, and how fast it computes then, about


def compile_program(program: Program, pipeline: Pipeline, threads: int, verify: bool | None = None) -> NativeExecutable:
    """Compiles `program` for this machine, for at most `threads` threads. verify: whether to check the result (`verifying.wanted`).

    A pass that fails is left out with a warning; errors of lowering and of code generation are raised.
    """
    target = host()
    start = time.perf_counter()
    planned = plan(program, pipeline, verify=verify)
    final, memory, slots = planned.program, planned.memory, planned.slots
    passed = time.perf_counter()
    kernels = _Kernels(target, threads).compile(memory, final)
    lowered = time.perf_counter()
    scratch = max((scratch_bytes(k.ir, target) for k in kernels), default=0)
    plan_text = native_plan.print_plan(_native_steps(memory, kernels, slots, scratch), threads)
    texts = {kernel.symbol: kernel.code for kernel in kernels if not isinstance(kernel, HostKernel)}
    before = replace(cache.stats())
    objects = tuple(cache.object_code(text, target) for text in (*texts.values(), plan_text))
    phases = {"passes": (passed - start) * 1e3, "lower": (lowered - passed) * 1e3, "machine code": (time.perf_counter() - lowered) * 1e3}
    made = NativeExecutable(
        target="cpu", stages=planned.stages, kernels=tuple(kernels), memory=figures(final, memory), plan=memory,
        reads=variables_read(final), writes=variables_written(final), slots=slots, compile_ms=phases,
        objects_from=cache.stats().since(before), plan_text=plan_text, objects=objects, scratch_bytes=scratch * threads)
    if verifying.wanted(verify):
        verifying.check().check_executable(made, functools.partial(run_once, made))
    return made


@dataclass(frozen=True)
class _Printed:
    """What a step becomes, whatever it is called and wherever it stands: the kernel, its LLVM text, its cost, its launch range."""

    kernel: ir.Kernel
    llvm: str
    cost: Cost
    extent: int


_printed: Remembered[_Printed] = Remembered()


class _Kernels:
    """Lowers, schedules and prints the steps; equal steps once."""

    def __init__(self, target: Target, threads: int) -> None:
        self.target = target
        self.threads = threads

    def compile(self, memory: MemoryPlan, program: Program) -> list[NativeKernel]:
        return [self._one(number, step, program.origins.get(step, ()), memory.changes_in_place(step))
                for number, step in enumerate(memory.steps)]

    def _one(self, number: int, step: Node, origins: tuple[Origin, ...], in_place: bool) -> NativeKernel:
        if isinstance(step.primitive.loop, Extern):
            return _host_kernel(number, step, step.primitive.loop, origins)
        made = _printed.get((self.target, in_place), step, functools.partial(self._print, in_place))
        price, extent = made.cost, made.extent
        parallel = self.threads > 1 and extent > 1 and price.microseconds >= WORTH_SPLITTING_US
        named = replace(made.kernel, origins=tuple(map(str, origins)))
        return NativeKernel(name=step_name(number, step, origins), symbol=named.name, ir=named, code=made.llvm, origins=origins,
                            flops=price.flops, bytes=price.bytes, microseconds=price.microseconds, extent=extent, parallel=parallel)

    def _print(self, in_place: bool, step: Node) -> _Printed:
        kernel = schedule_cpu(lower(step, in_place=in_place), self.target)
        symbol = "k" + hashlib.sha256(kernel_text(kernel).encode()).hexdigest()[:16]
        kernel = replace(kernel, name=symbol)
        return _Printed(kernel, print_kernel(kernel, self.target), cost(kernel), launch_extent(kernel, self.target))


def _host_kernel(number: int, step: Node, form: Extern, origins: tuple[Origin, ...]) -> HostKernel:
    """The call of a step that is no kernel of ours."""
    symbol = f"host{number}"
    operands = [operand.type for operand in dict.fromkeys(step.operands)]
    taken = [ir.Buffer(f"x{n}", type_.dtype, type_.dims, "in") for n, type_ in enumerate(operands)]
    given = [ir.Buffer(f"y{n}", type_.dtype, type_.dims, "out") for n, type_ in enumerate(step.types)]
    flops = form.flops(step.attrs, *(operand.type for operand in step.operands))
    return HostKernel(
        name=step_name(number, step, origins), symbol=symbol, ir=ir.Kernel(symbol, (*taken, *given), (), tuple(map(str, origins))),
        code=f"; calls {form.function} on the host\ndeclare i64 @{symbol}(ptr)\n", function=form.function, origins=origins, flops=flops,
        bytes=sum(type_.nbytes for type_ in (*operands, *step.types)), microseconds=HOST_CALL_US + flops / HOST_FLOPS_A_US, extent=1,
        parallel=False)


def _native_steps(memory: MemoryPlan, kernels: Sequence[NativeKernel], slots: Slots, stride: int) -> list[Step | Copy]:
    steps: list[Step | Copy] = []
    for node, kernel in zip(memory.steps, kernels, strict=True):
        piece = kernel.microseconds / max(kernel.extent, 1)
        grain = max(1, round(PIECE_US / piece)) if piece > 0 else kernel.extent
        params = parameters(node, memory, slots)
        steps.append(Step(kernel.symbol, params, kernel.extent, grain, kernel.parallel, Pointer(Slots.SCRATCH), stride,
                          isinstance(kernel, HostKernel)))
    steps += [Copy(pointer_to(to, slots), pointer_to(source, slots), size) for source, to, size in memory.copies]
    return steps


@dataclass(frozen=True)
class Linked:
    """Machine code ready to be called. run(feeds..., outputs...) gives None, or the position of the first array that does not fit (then
    nothing has run). place(slot, array): puts a lasting array where the plan looks for it; takes effect with the next run. runs: how often
    it was run, which the machine code counts."""

    run: Run
    place: Callable[[int, np.ndarray], None]
    runs: np.ndarray


def as_is(step: Node, error: ValueError) -> Exception:
    """What a step of the host finds wrong, in its own words."""
    return error


def link(executable: NativeExecutable, lasting: Mapping[int, np.ndarray], worded: Worded = as_is) -> Linked:
    """Loads the code of `executable`, over arrays that stay from run to run: arena, scratch, variables and constants by slot. What a step
    of the host finds wrong with its operands is raised as `worded(step, error)`."""
    return _linked(executable, executable.objects, Args(executable.slots.count), lasting, worded)


def link_timed(executable: NativeExecutable, threads: int, lasting: Mapping[int, np.ndarray], worded: Worded = as_is,
               ) -> tuple[Linked, np.ndarray]:
    """The same kernels under a plan that reads the clock: before the first step, and after each of the kernels and of the copies behind
    them. Each run leaves the moments in the array that comes with it. threads: those that `executable` was compiled for."""
    slots = executable.slots
    steps = _native_steps(executable.plan, executable.kernels, slots, executable.scratch_bytes // threads)
    text = native_plan.print_plan(steps, threads, Timing(slots.count))
    objects = (*executable.objects[:-1], cache.object_code(text, host()))
    moments, args = np.zeros(len(steps) + 1, np.int64), Args(slots.count + 1)
    args.set(slots.count, moments)
    return _linked(executable, objects, args, lasting, worded), moments


def _linked(executable: NativeExecutable, objects: Sequence[bytes], args: Args, lasting: Mapping[int, np.ndarray], worded: Worded,
            ) -> Linked:
    slots = executable.slots
    for slot, array in lasting.items():
        args.set(slot, array)
    feeds = [Parameter(slots.feed(n), type_.dtype, type_.dims) for n, type_ in enumerate(executable.feeds)]
    outputs = [Parameter(slots.output(n), type_.dtype, type_.dims, writable=True) for n, type_ in enumerate(executable.fetches)]
    release_gil = executable.microseconds > RELEASE_GIL_US
    calls = HostCalls({kernel.symbol: step for step, kernel in zip(executable.plan.steps, executable.kernels, strict=True)
                       if isinstance(kernel, HostKernel)})
    run = build("graphc_plan", objects, [*feeds, *outputs], args, release_gil, host(), calls.addresses)
    return Linked(calls.guard(run, worded), args.set, args.runs)


def run_once(executable: NativeExecutable, feeds: Sequence[np.ndarray], variables: Mapping[str, np.ndarray]) -> verifying.Results:
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
