"""What compiling for every target begins with: the passes and the memory plan, then slots, pointers and names. Beside `compile*.py`."""
from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

from graphc.codegen.pointer import Pointer
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.passes.memory import Location, MemoryPlan, nowhere, plan_memory
from graphc.passes.pipelines import Pipeline, Stage, run_pipeline
from graphc.passes.storage import value_of
from graphc.runtime import verifying
from graphc.runtime.executable import BufferUse, Memory, Slots, names_of

KEPT_STEPS = 512  # distinct ones of each target whose kernels the process remembers


@dataclass(frozen=True)
class Planned:
    """A program after its passes, and where its values live. stages: the Program after each pass, the first being "specialise"."""

    stages: tuple[Stage, ...]
    memory: MemoryPlan
    slots: Slots

    @property
    def program(self) -> Program:
        return self.stages[-1].program


def plan(program: Program, pipeline: Pipeline, apart: Callable[[Node], bool] = nowhere, verify: bool | None = None) -> Planned:
    """Runs the passes and plans the memory (`apart`: see `plan_memory`). A pass that fails is left out with a warning. verify: see
    `verifying.wanted`."""
    stages = run_pipeline(program, pipeline)
    for stage in stages:
        if stage.problem:
            warnings.warn(f"graphc: pass {stage.name!r} failed and was left out: {stage.problem}", RuntimeWarning, stacklevel=3)
    if verifying.wanted(verify):
        verifying.check().check_stages(stages)
    final = stages[-1].program
    memory = plan_memory(final, apart)
    slots = Slots(tuple(final.variables), len(memory.constants), len(final.parameters), len(final.outputs))
    return Planned(tuple(stages), memory, slots)


Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """What was made of steps before, for every session of the process: a new shape repeats most steps that it does not concern."""

    everywhere: ClassVar[list[Remembered[Any]]] = []  # one for each target

    def __init__(self) -> None:
        self._made: dict[Hashable, Made] = {}  # oldest first
        self._lock = Lock()
        self.everywhere.append(self)

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """A context in which nothing is remembered but what is made within it."""
        before, self._made = self._made, {}
        try:
            yield
        finally:
            self._made = before

    def get(self, target: Hashable, step: Node, make: Callable[[Node], Made]) -> Made:
        """What `make(step)` gave for an equal step and target, else gives now."""
        # Which operands are the same node is part of what a step is: each distinct one is one parameter.
        pattern = tuple(step.operands.index(operand) for operand in step.operands)
        attrs = None if step.name == "copy" else step.attrs  # those of a copy say only which of several it is
        key = (target, step.primitive, attrs, tuple(operand.type for operand in step.operands), pattern)
        made = self._made.get(key)
        if made is None:
            made = make(step)
            with self._lock:
                self._made[key] = made
                if len(self._made) > KEPT_STEPS:
                    del self._made[next(iter(self._made))]
        return made


def step_name(number: int, step: Node, origins: Sequence[Origin]) -> str:
    """`3_row_Softmax`: the step's position, its kind and the last operation in it."""
    kind = step.attrs.kind if step.name == "fusion" else step.name
    last = origins[-1].operation if origins else ""
    return "_".join(part for part in (str(number), kind, re.sub(r"\W+", "_", last)) if part)


def pointer_to(location: Location, slots: Slots) -> Pointer:
    places: dict[str, Callable[[Any], Pointer]] = {
        "arena": lambda offset: Pointer(Slots.ARENA, offset), "variable": lambda name: Pointer(slots.variable(name)),
        "constant": lambda number: Pointer(slots.constant(number)), "feed": lambda number: Pointer(slots.feed(number)),
        "output": lambda number: Pointer(slots.output(number))}
    return places[location.kind](location.key)


def parameters(step: Node, memory: MemoryPlan, slots: Slots) -> tuple[Pointer, ...]:
    """Where the buffers of a step's kernel are: its distinct operands, then its results."""
    operands = [memory.locations[value_of(operand)] for operand in dict.fromkeys(step.operands)]
    results = [memory.locations[(step, number)] for number in range(len(step.types))]
    return tuple(pointer_to(location, slots) for location in (*operands, *results))


def figures(program: Program, memory: MemoryPlan, kernel_of: Mapping[int, int] | None = None) -> Memory:
    """The memory plan in figures. kernel_of: the kernel of each step, by their numbers, where one may do several; None: one each."""
    numbers = {} if kernel_of is None else kernel_of

    def label(node: Node) -> str:
        return names_of(program.origins.get(node, ())) or node.name

    buffers = tuple(BufferUse(b.offset, b.size, numbers.get(b.first, b.first), numbers.get(b.last, b.last),
                              tuple(label(value[0]) for value in b.values)) for b in memory.buffers)
    copied = tuple(str(to.key) for _, to, _ in memory.copies)
    return Memory(memory.arena_bytes, memory.lower_bound, memory.unplanned_bytes, buffers, memory.in_place, copied)


def variables_read(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.nodes if n.name == "variable_read")


def variables_written(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.effects)
