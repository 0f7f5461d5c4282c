"""What every target makes of a planned program: names of launches, slots and pointers of values, figures of memory. Beside `compile*.py`.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from graphc.codegen.pointer import Pointer
from graphc.core.program import Node, Origin, Program
from graphc.core.types import TensorType
from graphc.passes.memory import Location, MemoryPlan
from graphc.passes.storage import value_of
from graphc.runtime.executable import BufferUse, Memory, Slots, names_of


def step_name(number: int, step: Node, origins: Sequence[Origin]) -> str:
    """`3_row_Softmax`: the step's position, its kind and the last operation in it."""
    kind = step.attrs.kind if step.name == "fusion" else step.name
    last = origins[-1].operation if origins else ""
    return "_".join(part for part in (str(number), kind, re.sub(r"\W+", "_", last)) if part)


def slots_of(program: Program, memory: MemoryPlan) -> Slots:
    return Slots(tuple(program.variables), len(memory.constants), len(program.parameters), len(program.outputs))


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


def figures(program: Program, memory: MemoryPlan) -> Memory:
    def label(node: Node) -> str:
        return names_of(program.origins.get(node, ())) or node.name

    buffers = tuple(BufferUse(b.offset, b.size, b.first, b.last, tuple(label(value[0]) for value in b.values)) for b in memory.buffers)
    copied = tuple(str(to.key) for _, to, _ in memory.copies)
    return Memory(memory.arena_bytes, memory.lower_bound, memory.unplanned_bytes, buffers, memory.in_place, copied)


def variables_read(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.nodes if n.name == "variable_read")


def variables_written(program: Program) -> tuple[tuple[str, TensorType], ...]:
    return tuple((n.attrs.variable, n.type) for n in program.effects)
