"""The schedule: the order in which the kernels run, chosen for a low peak of live memory. Runs after fusion, before `memory`.

A program's steps are listed greedily: of those whose operands are ready, the one that frees most and allocates least comes first; and
once more by plain depth-first order. The lower peak wins. A step that computes a variable's new value waits for the readers of the old
one, as long as anything else can run, so that it may be written in place.
"""
from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from graphc.core.program import Node, Program
from graphc.passes.storage import Value, is_step, materialise, reads, step_values, value_bytes, value_of

GREEDY_LIMIT = 4000  # steps: beyond, only the depth-first order is tried, to keep the pass near linear


@dataclass(frozen=True)
class Order:
    """Reorders `Program.nodes`; adds the copies that outputs and assignments of shared values need."""

    name: str = "order"

    def __call__(self, program: Program) -> Program:
        program = materialise(program)
        steps = [node for node in program.nodes if is_step(node)]
        lists = [_schedule(program, steps, greedy=False)]
        if len(steps) <= GREEDY_LIMIT:
            lists.append(_schedule(program, steps, greedy=True))
        best = min(lists, key=lambda order: peak(program, order))
        return program.rewritten({}, with_renamings(program, best))


def peak(program: Program, steps: list[Node]) -> int:
    """The largest sum of live bytes of step values when `steps` run in this order (nothing in place)."""
    last = last_reads(program, steps)
    frees: dict[int, int] = {}
    for value, position in last.items():
        frees[position] = frees.get(position, 0) + value_bytes(value)
    live = highest = 0
    for position, step in enumerate(steps):
        live += sum(value_bytes(value) for value in step_values(step))
        highest = max(highest, live)
        live -= frees.get(position, 0)
    return highest


def last_reads(program: Program, steps: list[Node]) -> dict[Value, int]:
    """For every step value the position of its last reader (its own where nobody reads it); outputs live to the end."""
    last: dict[Value, int] = {}
    for position, step in enumerate(steps):
        for value in step_values(step):
            last[value] = position
        for value in reads(step):
            if value in last:
                last[value] = position
    for node in (*program.outputs, *program.effects):
        if is_step(value_of(node)[0]):
            last[value_of(node)] = len(steps) - 1
    return last


def _schedule(program: Program, steps: list[Node], greedy: bool) -> list[Node]:
    """Kahn's algorithm: ready steps by (cost, original position)."""
    position = {step: number for number, step in enumerate(steps)}
    readers: dict[Value, list[Node]] = {}
    waiting: dict[Node, int] = {}
    for step in steps:
        needed = {value[0] for value in reads(step) if is_step(value[0])}
        waiting[step] = len(needed)
        for value in reads(step):
            readers.setdefault(value, []).append(step)
    held = _held_back(program, readers)
    remaining = {value: len(found) for value, found in readers.items()}
    kept = {value_of(node) for node in (*program.outputs, *program.effects)}

    def cost(step: Node) -> int:
        if not greedy:
            return 0
        freed = sum(value_bytes(v) for v in reads(step) if remaining[v] == 1 and is_step(v[0]) and v not in kept)
        return sum(map(value_bytes, step_values(step))) - freed

    queue = _Queue(cost, position, held)
    for step in steps:
        if waiting[step] == 0:
            queue.add(step)
    listed = []
    while queue:
        step = queue.take()
        listed.append(step)
        for value in reads(step):
            remaining[value] -= 1
        for each in dict.fromkeys(r for value in step_values(step) for r in readers.get(value, [])):
            waiting[each] -= 1
            if waiting[each] == 0:
                queue.add(each)
    return listed


class _Queue:
    """The steps whose operands are there, cheapest first; among equals by position. Held back steps come when nothing else is left.

    Costs only fall while steps run, so an entry goes back when its cost has changed since.
    """

    def __init__(self, cost: Callable[[Node], int], position: dict[Node, int], held: dict[Node, set[Node]]) -> None:
        self._cost = cost
        self._position = position
        self._holding = {writer: set(readers) for writer, readers in held.items()}  # readers of the old value that have not run
        self._writers: dict[Node, list[Node]] = {}
        for writer, readers in held.items():
            for reader in readers:
                self._writers.setdefault(reader, []).append(writer)
        self._free: list[tuple[int, int, Node]] = []
        self._parked: list[tuple[int, int, Node]] = []  # held back; entries that are no longer stay, and are passed over
        self._held: set[Node] = set()

    def __bool__(self) -> bool:
        return bool(self._free or self._held)

    def add(self, step: Node) -> None:
        heap = self._free
        if self._holding.get(step):
            heap = self._parked
            self._held.add(step)
        heapq.heappush(heap, (self._cost(step), self._position[step], step))

    def take(self) -> Node:
        heap = self._free or self._parked
        while True:
            was, place, step = heapq.heappop(heap)
            if heap is self._parked and step not in self._held:
                continue
            now = self._cost(step)
            if now == was:
                break
            heapq.heappush(heap, (now, place, step))
        self._held.discard(step)
        self._release(step)
        return step

    def _release(self, reader: Node) -> None:
        """Lets go of the steps that waited for `reader` alone."""
        for writer in self._writers.get(reader, ()):
            self._holding[writer].discard(reader)
            if not self._holding[writer] and writer in self._held:
                self._held.remove(writer)
                self.add(writer)


def _held_back(program: Program, readers: dict[Value, list[Node]]) -> dict[Node, set[Node]]:
    """For each step that computes a variable's new value: the other steps that read the old one."""
    held: dict[Node, set[Node]] = {}
    old = {node.attrs.variable: node for node in program.nodes if node.name == "variable_read"}
    for effect in program.effects:
        writer = value_of(effect)[0]
        reader = old.get(effect.attrs.variable)
        if reader is not None:
            held.setdefault(writer, set()).update(r for r in readers.get((reader, 0), []) if r is not writer)
    return held


def with_renamings(program: Program, steps: list[Node]) -> list[Node]:
    """All nodes of `program` with its steps in the order `steps`, sources first, renamings right after what they rename."""
    chosen: dict[Node, None] = dict.fromkeys(program.parameters)
    for step in (*steps, *program.outputs, *program.effects):
        stack = [step]
        while stack:
            node = stack[-1]
            missing = [o for o in node.operands if o not in chosen]
            if node in chosen or not missing:
                chosen.setdefault(stack.pop())
            else:
                stack.extend(missing)
    return list(chosen)
