"""Which kernel is wrong, and which part of the code generator made it so; or where the memory plan is. `check.py` asks.

    final Program --each step on the reference values of its operands--> its machine code | its kernel, interpreted | the same, unscheduled
                  --all steps in the plan's own memory, one by one--> the first value that is overwritten while it is still needed

A step whose machine code is wrong was printed wrong where the kernel IR's interpreter is right, scheduled wrong where only the kernel
before the schedule is right, and else lowered wrong.
"""
from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.codegen import interp, ir
from graphc.codegen.llvm import cache, jit
from graphc.codegen.llvm.target import host
from graphc.codegen.lower import lower
from graphc.codegen.schedule import steps as schedule_steps
from graphc.core.interpret import evaluate, trace
from graphc.core.program import Node
from graphc.core.types import TensorType
from graphc.passes.memory import Location, MemoryPlan
from graphc.passes.storage import Value, reads, step_values, value_bytes, value_of
from graphc.primitives import get_tuple_element
from graphc.runtime.arena import aligned_empty
from graphc.runtime.check_passes import Inputs, describe, where
from graphc.runtime.executable import HostKernel, NativeExecutable, NativeKernel
from graphc.runtime.reduce import cut, leaves_of
from graphc.runtime.truth import Difference, Expected, expect_node
from graphc.runtime.verdict import Culprit
from graphc.runtime.verifying import Tell

Array = np.ndarray[Any, Any]
INTERPRETED = 1 << 20  # operations and elements of a kernel that its interpreter is asked to compute
_FILLER = 0xAB  # what memory holds that a kernel must write


@dataclass(frozen=True)
class KernelsChecked:
    """How many kernels were right, the largest difference among them, and the culprit if one is not, with what its step is run on."""

    right: int
    largest: float
    culprit: Culprit | None = None
    step: Inputs | None = None


def check_kernels(executable: NativeExecutable, inputs: Inputs, tell: Tell) -> KernelsChecked:
    """Runs each kernel of `executable` by itself, on the reference values of its operands. inputs: its final Program and what to run it
    on."""
    values = trace(inputs.program, inputs.feeds, inputs.variables)
    machine = Machine(executable)
    largest = 0.0
    for number, (step, kernel) in enumerate(zip(executable.plan.steps, executable.kernels, strict=True)):
        if isinstance(kernel, HostKernel):
            continue  # the reference itself is what it calls
        operands = [values[operand] for operand in step.operands]
        expected = expect_node(step, operands)
        check = _KernelCheck(executable, machine, step, kernel, operands, expected)
        culprit = check.culprit()
        if culprit is not None:
            return KernelsChecked(number, largest, culprit, check.alone())
        largest = max(largest, check.largest)
        tell(f"kernel {kernel.name}: agrees")
    return KernelsChecked(len(executable.kernels), largest)


class Machine:
    """The kernels of an executable, to be called one at a time."""

    def __init__(self, executable: NativeExecutable) -> None:
        kernels = {kernel.symbol: kernel for kernel in executable.kernels if not isinstance(kernel, HostKernel)}
        target = host()
        objects = [cache.object_code(kernel.code, target) for kernel in kernels.values()]
        loaded = jit.link("checked", objects, {}, list(kernels)) if kernels else None
        types = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
        self._functions = {} if loaded is None else {symbol: loaded.function(symbol, None, *types) for symbol in kernels}
        self._scratch = filled(executable.scratch_bytes)

    def run(self, kernel: NativeKernel, addresses: Sequence[int], pieces: int = 1) -> None:
        """Runs `kernel` over memory at `addresses`; its range in so many pieces, the last first."""
        pointers = (ctypes.c_void_p * max(len(addresses), 1))(*addresses)
        bounds = [kernel.extent * piece // pieces for piece in range(pieces + 1)]
        for begin, end in reversed(list(pairwise(bounds))):
            if begin < end:
                self._functions[kernel.symbol](pointers, self._scratch.ctypes.data, begin, end)


def filled(nbytes: int) -> Array:
    """Memory on a cache line that holds what nobody should read."""
    memory = aligned_empty((nbytes,), np.dtype(np.uint8))
    memory[...] = _FILLER
    return memory


# One kernel ------------------------------------------------------------------------------------------------------------------------------

@dataclass
class _KernelCheck:
    """One step on the reference values of its operands."""

    executable: NativeExecutable
    machine: Machine
    step: Node
    kernel: NativeKernel
    operands: Sequence[Array]
    expected: Sequence[Expected]
    largest: float = 0.0

    def culprit(self) -> Culprit | None:
        found = self._native(1)
        wrong = self._wrong(found)
        if wrong is not None:
            return self._blame(*wrong)
        self.largest = max((each.distance(value) for each, value in zip(self.expected, found, strict=True)), default=0.0)
        if self.kernel.extent > 1 and [each.tobytes() for each in self._native(2)] != [each.tobytes() for each in found]:
            return self._culprit("gives other bits when its range is cut in two, as threads cut it", "the schedule or the code generator "
                                 "lets one iteration of its parallel loop depend on another")
        return None

    def _wrong(self, found: Sequence[Array]) -> tuple[int, Difference | str] | None:
        for number, (expected, value) in enumerate(zip(self.expected, found, strict=True)):
            difference = expected.difference(value)
            if difference is not None:
                return number, difference
        return None

    def _native(self, pieces: int, apart: bool = False) -> list[Array]:
        """What the machine code gives. Operands and results that share memory in the plan share it here, unless they are to be kept
        `apart`."""
        memory = self._memory(apart)
        self.machine.run(self.kernel, [array.ctypes.data for array in memory], pieces)
        return self._results(memory)

    def _interpreted(self, kernel: ir.Kernel) -> list[Array] | None:
        """What the kernel gives in the interpreter of its language; None where it refuses it."""
        memory = self._memory()
        shaped = [array.view(buffer.dtype.np_dtype).reshape(buffer.shape) for array, buffer in zip(memory, kernel.params, strict=True)]
        try:
            interp.run(kernel, shaped)
        except (ArithmeticError, LookupError, ValueError):
            return None
        return self._results(memory)

    def _memory(self, apart: bool = False) -> list[Array]:
        """The kernel's buffers as bytes: its distinct operands, then its results."""
        plan = self.executable.plan
        given = {value_of(operand): value for operand, value in zip(self.step.operands, self.operands, strict=True)}
        places = {value: as_bytes(array) for value, array in given.items()}
        shared = {} if apart else {(plan.locations[value], memory.size): memory for value, memory in places.items()}
        results = [shared.get((plan.locations[value], value_bytes(value)), filled(value_bytes(value))) for value in step_values(self.step)]
        return [*(places[value_of(operand)] for operand in dict.fromkeys(self.step.operands)), *results]

    def _results(self, memory: Sequence[Array]) -> list[Array]:
        return [typed(array, type_) for array, type_ in zip(memory[-len(self.step.types):], self.step.types, strict=True)]

    # -- whose fault ----------------------------------------------------------------------------------------------------------------------

    def _blame(self, output: int, difference: Difference | str) -> Culprit:
        which = f"output {output}" if len(self.expected) > 1 else "result"
        if not self.executable.plan.changes_in_place(self.step) and self._wrong(self._native(1, apart=True)) is None:
            return self._misplaced(self.executable.plan.locations[(self.step, output)], difference)
        return self._culprit(f"gives a wrong {which}: {difference}", self._reason())

    def _misplaced(self, place: Location, difference: Difference | str) -> Culprit:
        """The culprit where the kernel is right in any memory but the plan's."""
        headline = (f"kernel {self.kernel.name} is right by itself; the memory plan is wrong: its result lies over an operand that is "
                    f"still to be read, in {place.kind} {place.key}: {difference}")
        return Culprit("memory plan", self.kernel.name, headline, (f"it computes {describe(self.step)}", *where(self.kernel.origins)))

    def _reason(self) -> str:
        """Which part of the code generator is to blame."""
        if self.kernel.flops + sum(type_.size for type_ in (*(o.type for o in self.step.operands), *self.step.types)) > INTERPRETED:
            return "it is too large for the interpreter of the kernel language to say which part of the code generator is to blame"
        if self._is_right(self.kernel.ir):
            return "the interpreter of the kernel language gives the right result for the same kernel: the LLVM printer is to blame"
        plain = lower(self.step, in_place=self.executable.plan.changes_in_place(self.step))
        if not self._is_right(plain):
            return "its kernel is wrong before it is scheduled: lowering is to blame"
        kernel = plain
        for apply in schedule_steps(host()):
            kernel = apply(kernel)
            if not self._is_right(kernel):
                return f"its kernel is right before it is scheduled: the step '{apply.__name__}' of the schedule is to blame"
        return "its kernel is right before it is scheduled: the schedule is to blame"

    def _is_right(self, kernel: ir.Kernel) -> bool:
        found = self._interpreted(kernel)
        return found is not None and self._wrong(found) is None

    def _culprit(self, how: str, why: str) -> Culprit:
        details = [why, f"it computes {describe(self.step)}", *where(self.kernel.origins)]
        return Culprit("kernel", self.kernel.name, f"kernel {self.kernel.name} {how}", tuple(details), self.alone().program)

    def alone(self) -> Inputs:
        """The step as a Program of its own, a fusion as what it holds, and what to run it on."""
        if self.step.name == "fusion":
            return Inputs(self.step.attrs.body, self.operands, {})
        results = [get_tuple_element(self.step, number) for number in range(len(self.step.types))] if self.step.is_tuple else [self.step]
        program = cut(results, set(self.step.operands), {self.step: self.kernel.origins})
        given = dict(zip(self.step.operands, self.operands, strict=True))
        return Inputs(program, [given[operand] for operand in leaves_of(results, set(self.step.operands))], {})


def as_bytes(array: Array) -> Array:
    """A copy of `array`, on a cache line, as bytes."""
    memory = filled(array.nbytes)
    memory[...] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memory


def typed(memory: Array, type_: TensorType) -> Array:
    """The value of `type_` that bytes hold."""
    return memory.view(type_.dtype.np_dtype).reshape(type_.dims)


# The memory plan -------------------------------------------------------------------------------------------------------------------------

def check_memory_plan(executable: NativeExecutable, inputs: Inputs) -> Culprit | None:
    """Runs the plan's steps one by one in its own memory, and watches every value that is still needed; None where all stay."""
    return _Walk(executable, inputs).culprit()


class _Walk:
    """The memory of one run, and what every value in it was when it was written."""

    def __init__(self, executable: NativeExecutable, inputs: Inputs) -> None:
        self.executable = executable
        self.inputs = inputs
        self.plan: MemoryPlan = executable.plan
        self.machine = Machine(executable)
        self.arena = filled(executable.memory.arena_bytes)
        self.others: dict[Location, Array] = {}
        self.snapshots: dict[Value, Array] = {}
        self.needed = self._needed()
        values = {(node, 0): value for node, value in trace(inputs.program, inputs.feeds, inputs.variables).items()
                  if node.name in ("parameter", "variable_read", "constant")}
        for value, array in values.items():
            self._memory(value)[...] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self.snapshots[value] = self._memory(value).copy()

    def culprit(self) -> Culprit | None:
        for number, (step, kernel) in enumerate(zip(self.plan.steps, self.executable.kernels, strict=True)):
            written = step_values(step)
            crossed = next((value for value in reads(step) if self._crosses(value, written)), None)
            if crossed is not None:
                return self._blame(number, crossed)
            self._run(step, kernel)
            needed = [value for value in self.snapshots if value not in written and self.needed.get(value, -1) > number]
            broken = next((value for value in needed if not np.array_equal(self.snapshots[value], self._memory(value))), None)
            if broken is not None:
                return self._blame(number, broken)
            for value in written:
                self.snapshots[value] = self._memory(value).copy()
        return None

    def _crosses(self, value: Value, written: Sequence[Value]) -> bool:
        """Whether a step that reads `value` writes over a part of it only: no kernel is made for that."""
        place = self.plan.locations[value]
        return any(self._overlap(each, value) and (self.plan.locations[each], value_bytes(each)) != (place, value_bytes(value))
                   for each in written)

    def _run(self, step: Node, kernel: NativeKernel) -> None:
        if isinstance(kernel, HostKernel):
            found = evaluate(step, [typed(self._memory(value_of(operand)), operand.type) for operand in step.operands])
            for value, array in zip(step_values(step), found if step.is_tuple else (found,), strict=True):
                self._memory(value)[...] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            return
        operands = [value_of(operand) for operand in dict.fromkeys(step.operands)]
        self.machine.run(kernel, [self._memory(value).ctypes.data for value in (*operands, *step_values(step))])

    def _memory(self, value: Value) -> Array:
        """The bytes where `value` lives."""
        place, nbytes = self.plan.locations[value], value_bytes(value)
        if place.kind == "arena":
            return self.arena[int(place.key):int(place.key) + nbytes]
        if place not in self.others:
            self.others[place] = filled(nbytes)
        return self.others[place]

    def _needed(self) -> dict[Value, int]:
        """The position of the step that reads each value last; of results, one after all steps."""
        end = len(self.plan.steps)
        needed = {value: number for number, step in enumerate(self.plan.steps) for value in reads(step)}
        return needed | {value_of(node): end for node in (*self.inputs.program.outputs, *self.inputs.program.effects)}

    def _blame(self, number: int, broken: Value) -> Culprit:
        steps, kernels = self.plan.steps, self.executable.kernels
        reader = next((kernels[later].name for later in (*range(number + 1, len(steps)), number) if broken in reads(steps[later])),
                      "the caller")
        writer = kernels[steps.index(broken[0])].name if broken[0] in steps else describe(broken[0])
        place = self.plan.locations[broken]
        new = [value for value in step_values(steps[number]) if self._overlap(value, broken)]
        details = [f"it lives in {place.kind} {place.key} ({value_bytes(broken)} bytes), which {reader} still reads",
                   *[f"{kernels[number].name} writes its {value_bytes(value)} bytes in {self.plan.locations[value].kind} "
                     f"{self.plan.locations[value].key}" for value in new],
                   *where(self.inputs.program.origins.get(broken[0], ()))]
        headline = f"the memory plan is wrong: {kernels[number].name} overwrites the result of {writer} too early"
        return Culprit("memory plan", writer, headline, ("every kernel is right by itself", *details))

    def _overlap(self, one: Value, other: Value) -> bool:
        return np.shares_memory(self._memory(one), self._memory(other))
