"""The memory plan: where every value lives while a program runs. The last pass; its result is read by the runtime and by `graphc dump`.

A fetched value is computed into the caller's output array, a variable's new value into the variable's own memory where all readers of the old
value come first (proved here, step by step; else it is copied at the end). All other values share one arena: live ranges, in-place reuse
of an operand that dies, then offsets, largest buffer first (Pisarchyk and Lee 2020, arXiv 2001.03288), several orders tried until the
lower bound is met.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphc.core.program import Node, Program
from graphc.passes.order import last_reads
from graphc.passes.storage import SOURCES, Value, is_step, may_overwrite, reads, step_values, value_bytes, value_of

ALIGNMENT = 64  # bytes: a cache line and the widest vector
TRIES = 300  # random orders tried when the ordered ones miss the lower bound


@dataclass(frozen=True)
class Location:
    """Where a value lives: kind "feed", "output" (number), "variable" (name), "constant" (node's number among the constants) or "arena" (offset)."""

    kind: str
    key: int | str = 0


@dataclass
class Buffer:
    """A piece of the arena, shared by the values written into it in turn. first and last are positions of steps, both inclusive."""

    values: list[Value]
    size: int
    first: int
    last: int
    offset: int = -1

    @property
    def node(self) -> Node:
        """The step that writes it first."""
        return self.values[0][0]


@dataclass(frozen=True)
class MemoryPlan:
    """The steps in order, where every value lives, and the copies to make after the last step.

    arena_bytes is what is allocated, lower_bound the largest sum of buffers alive at one step, unplanned_bytes what the same values take
    when nothing is shared. copies: (from, variable's location) for variables that could not be written in place, with the byte count.
    """

    steps: tuple[Node, ...]
    locations: dict[Value, Location]
    constants: tuple[Node, ...]
    buffers: tuple[Buffer, ...]
    copies: tuple[tuple[Location, Location, int], ...]
    arena_bytes: int
    lower_bound: int
    unplanned_bytes: int
    in_place: tuple[str, ...] = field(default=())  # variables written without a copy

    def locate(self, node: Node) -> Location:
        """Where the value of `node` lives."""
        return self.locations[value_of(node)]


def plan_memory(program: Program) -> MemoryPlan:
    """The plan of a program whose order is the schedule (see `order.Order`, which also gives outputs and effects values of their own)."""
    steps = [node for node in program.nodes if is_step(node)]
    constants = tuple(node for node in program.nodes if node.name == "constant")
    locations = _sources(program, constants)
    locations.update({value_of(node): Location("output", number) for number, node in enumerate(program.outputs)})
    copies, in_place = _variables(program, steps, locations)
    buffers = _buffers(program, steps, locations)
    bound = lower_bound(buffers, len(steps))
    size = assign_offsets(buffers, bound)
    for buffer in buffers:
        locations.update({value: Location("arena", buffer.offset) for value in buffer.values})
    finished = tuple((locations[value], Location("variable", name), value_bytes(value)) for value, name in copies)
    unplanned = sum(_rounded(value_bytes(value)) for buffer in buffers for value in buffer.values)
    return MemoryPlan(tuple(steps), locations, constants, tuple(buffers), finished, size, bound, unplanned, tuple(in_place))


def _sources(program: Program, constants: Sequence[Node]) -> dict[Value, Location]:
    found: dict[Value, Location] = {(node, 0): Location("feed", n) for n, node in enumerate(program.parameters)}
    found.update({(node, 0): Location("constant", n) for n, node in enumerate(constants)})
    found.update({(node, 0): Location("variable", node.attrs.variable) for node in program.nodes if node.name == "variable_read"})
    return found


def _variables(program: Program, steps: Sequence[Node], locations: dict[Value, Location]) -> tuple[list[tuple[Value, str]], list[str]]:
    """Places new values of variables: in the variable where that is proved safe, else to be copied after the last step."""
    position = {step: number for number, step in enumerate(steps)}
    read_by: dict[str, list[Node]] = {}
    for step in steps:
        for node, _ in reads(step):
            if node.name == "variable_read":
                read_by.setdefault(node.attrs.variable, []).append(step)
    copies, in_place = [], []
    for effect in program.effects:
        value, name = value_of(effect), effect.attrs.variable
        writer = value[0]
        old = [step for step in read_by.get(name, []) if step is not writer]
        early = all(position[step] < position[writer] for step in old)
        itself = all(may_overwrite(writer, operand, value) for operand in reads(writer)
                     if operand[0].name == "variable_read" and operand[0].attrs.variable == name)
        if early and itself:
            locations[value] = Location("variable", name)
            in_place.append(name)
        else:
            copies.append((value, name))
    return copies, in_place


def _buffers(program: Program, steps: list[Node], locations: dict[Value, Location]) -> list[Buffer]:
    """The arena's buffers with their live ranges; an output takes over the buffer of an operand that dies where it may."""
    last = last_reads(program, steps)
    holding: dict[Value, Buffer] = {}
    buffers: list[Buffer] = []
    for position, step in enumerate(steps):
        free = [v for v in reads(step) if v in holding and holding[v].last == position]
        for value in step_values(step):
            if value in locations:
                continue
            taken = next((v for v in free if may_overwrite(step, v, value)), None)
            if taken is None:
                buffer = Buffer([value], _rounded(value_bytes(value)), position, last[value])
                buffers.append(buffer)
            else:
                free.remove(taken)
                buffer = holding[taken]
                buffer.values.append(value)
                buffer.last = last[value]
            holding[value] = buffer
    return buffers


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(buffers: Sequence[Buffer], steps: int) -> int:
    """The largest sum of buffers alive at one step: no plan can be smaller."""
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        change[buffer.last + 1] -= buffer.size
    live = highest = 0
    for each in change:
        live += each
        highest = max(highest, live)
    return highest


def assign_offsets(buffers: Sequence[Buffer], bound: int) -> int:
    """Sets every buffer's offset so that buffers alive together do not overlap; gives the arena's size. Deterministic."""
    keys: list[Callable[[Buffer], tuple[int, ...]]] = [
        lambda b: (-b.size, b.first - b.last, b.first), lambda b: (-b.size * (b.last - b.first + 1), -b.size, b.first),
        lambda b: (b.first - b.last, -b.size, b.first), lambda b: (b.first, -b.size, b.last)]
    best: tuple[int, list[int]] | None = None
    for key in keys:
        best = _better(best, sorted(buffers, key=key), buffers)
        if best[0] <= bound:
            break
    generator = random.Random(0)
    order = sorted(buffers, key=keys[0])
    tries = TRIES if best is not None and best[0] > bound and len(buffers) <= 500 else 0
    for _ in range(tries):
        trial = list(order)
        for _ in range(2):
            a, b = generator.randrange(len(trial)), generator.randrange(len(trial))
            trial[a], trial[b] = trial[b], trial[a]
        before = best
        best = _better(best, trial, buffers)
        order = trial if best is not before else order
        if best[0] <= bound:
            break
    size, offsets = best if best is not None else (0, [])
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
    return size


def _better(best: tuple[int, list[int]] | None, order: Sequence[Buffer], buffers: Sequence[Buffer]) -> tuple[int, list[int]]:
    size = _place(order)
    if best is not None and best[0] <= size:
        return best
    return size, [buffer.offset for buffer in buffers]


def _place(order: Sequence[Buffer]) -> int:
    """Puts buffers one by one into the smallest gap that fits among the placed ones that live at the same time."""
    placed: list[Buffer] = []
    size = 0
    for buffer in order:
        around = sorted((b for b in placed if b.first <= buffer.last and buffer.first <= b.last), key=lambda b: b.offset)
        buffer.offset = _gap(around, buffer.size)
        placed.append(buffer)
        size = max(size, buffer.offset + buffer.size)
    return size


def _gap(around: Sequence[Buffer], size: int) -> int:
    best_offset, best_room = -1, -1
    end = 0
    for each in around:
        room = each.offset - end
        if room >= size and (best_room < 0 or room < best_room):
            best_offset, best_room = end, room
        end = max(end, each.offset + each.size)
    return best_offset if best_offset >= 0 else end


__all__ = ["SOURCES", "Buffer", "Location", "MemoryPlan", "assign_offsets", "lower_bound", "plan_memory"]
