"""The memory plan: where every value lives while a program runs. The last pass; its result is read by the runtime and `graphc dump`.

A fetched value is computed into the caller's output array, a variable's new value into the variable's own memory where all readers of
the old value come first (proved here, step by step; else it is copied at the end). All other values share one arena: live ranges,
in-place reuse of an operand that dies, then offsets (see `offsets`).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphc.core.loops import Extern
from graphc.core.program import Node, Program
from graphc.passes.offsets import Lifetime, lower_bound, place
from graphc.passes.order import last_reads
from graphc.passes.storage import Value, is_step, may_overwrite, partly_changed, reads, step_values, value_bytes, value_of

ALIGNMENT = 64  # bytes: a cache line and the widest vector


@dataclass(frozen=True)
class Location:
    """Where a value lives: `kind` is "feed" or "output" (`key` its number), "variable" (its name), "constant" (its number among the
    constants) or "arena" (its offset)."""

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

    def changes_in_place(self, step: Node) -> bool:
        """Whether the result of `step` lies over an operand of which it changes some places only."""
        changed = partly_changed(step)
        return changed is not None and self.locations[changed] == self.locations[(step, 0)]


def nowhere(_: Node) -> bool:
    """No step."""
    return False


def plan_memory(program: Program, apart: Callable[[Node], bool] = nowhere) -> MemoryPlan:
    """The plan of a program whose order is the schedule (see `order.Order`, which also gives outputs and effects values of their own).

    apart: steps that must not write over an operand even where a kernel of ours may; a library need not read as we do.
    """
    steps = [node for node in program.nodes if is_step(node)]
    constants = tuple(node for node in program.nodes if node.name == "constant")
    locations = _sources(program, constants)
    locations.update({value_of(node): Location("output", number) for number, node in enumerate(program.outputs)})
    copies, in_place = _variables(program, steps, locations, apart)
    _outputs_from_the_start(program, steps, locations, apart)
    buffers = _buffers(program, steps, locations, apart)
    lifetimes = [Lifetime(buffer.size, buffer.first, buffer.last) for buffer in buffers]
    size, offsets = place(lifetimes)
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
        locations.update({value: Location("arena", buffer.offset) for value in buffer.values})
    finished = tuple((locations[value], Location("variable", name), value_bytes(value)) for value, name in copies)
    unplanned = sum(_rounded(value_bytes(value)) for buffer in buffers for value in buffer.values)
    return MemoryPlan(tuple(steps), locations, constants, tuple(buffers), finished, size, lower_bound(lifetimes), unplanned,
                      tuple(in_place))


def _sources(program: Program, constants: Sequence[Node]) -> dict[Value, Location]:
    found: dict[Value, Location] = {(node, 0): Location("feed", n) for n, node in enumerate(program.parameters)}
    found.update({(node, 0): Location("constant", n) for n, node in enumerate(constants)})
    found.update({(node, 0): Location("variable", node.attrs.variable) for node in program.nodes if node.name == "variable_read"})
    return found


def _variables(program: Program, steps: Sequence[Node], locations: dict[Value, Location], apart: Callable[[Node], bool],
               ) -> tuple[list[tuple[Value, str]], list[str]]:
    """Places new values of variables: in the variable where that is proved safe, else to be copied after the last step."""
    position = {step: number for number, step in enumerate(steps)}
    read_by: dict[str, list[Node]] = {}
    for step in steps:
        for node, _ in reads(step):
            if node.name == "variable_read":
                read_by.setdefault(node.attrs.variable, []).append(step)
    # A function of the host may end the run, which must then have changed nothing.
    last_host = max((number for step, number in position.items() if isinstance(step.primitive.loop, Extern)), default=-1)
    copies, in_place = [], []
    for effect in program.effects:
        value, name = value_of(effect), effect.attrs.variable
        writer = value[0]
        old = [step for step in read_by.get(name, []) if step is not writer]
        early = all(position[step] < position[writer] for step in old) and position[writer] >= last_host
        itself = all(may_overwrite(writer, operand, value) and not apart(writer) for operand in reads(writer)
                     if operand[0].name == "variable_read" and operand[0].attrs.variable == name)
        if early and itself:
            locations[value] = Location("variable", name)
            in_place.append(name)
        else:
            copies.append((value, name))
    return copies, in_place


def _outputs_from_the_start(program: Program, steps: list[Node], locations: dict[Value, Location],
                            apart: Callable[[Node], bool]) -> None:
    """What a step changes in some places only, and nobody reads after it, is put where the step's result is wanted: zeros that rows are
    added to are made in the caller's array."""
    last = last_reads(program, steps)
    for position, step in reversed(list(enumerate(steps))):
        changed, place = partly_changed(step), locations.get((step, 0))
        if (changed is not None and changed not in locations and last[changed] == position and place is not None and place.kind == "output"
                and may_overwrite(step, changed, (step, 0)) and not apart(step)):
            locations[changed] = place


def _buffers(program: Program, steps: list[Node], locations: dict[Value, Location], apart: Callable[[Node], bool]) -> list[Buffer]:
    """The arena's buffers with their live ranges; an output takes over the buffer of an operand that dies where it may."""
    last = last_reads(program, steps)
    holding: dict[Value, Buffer] = {}
    buffers: list[Buffer] = []
    for position, step in enumerate(steps):
        free = [v for v in reads(step) if v in holding and holding[v].last == position]
        for value in step_values(step):
            if value in locations:
                continue
            taken = next((v for v in free if may_overwrite(step, v, value) and not apart(step)), None)
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
