"""A placed Program in segments: each a Program of its own for one device, run in turn. Between `specialise` and the compilers.

    Program with transfers --split--> Segment(device, Program, where its arrays are) ... --compile, link--> PlacedBound

    CPU:0  %2 = multiply(%0, %1)                      segment 0, CPU:0: takes %0, %1, gives %2
    GPU:0  %4 = exponential(transfer(%2))     -->     segment 1, GPU:0: takes %2, gives %4
    CPU:0  %6 = add(transfer(%4), %2)                 segment 2, CPU:0: takes %4, %2, gives %6

Values that go from one device to another lie in arrays on the host. What a segment on a GPU computes or takes, and a later one there reads,
stays there in a variable that nobody else knows (its name begins with "/kept/"). A variable is read where it lives, and has its new value
when the last segment of its device has run, whichever segment computed that: so every segment reads the old value, and an error before
changes nothing there. Nodes made of constants are in every segment that reads them.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from graphc.core.devices import HOST, KEPT, Devices
from graphc.core.program import Node, Origins, Program, substitute
from graphc.core.types import TensorType
from graphc.primitives import parameter, variable_assign, variable_read

_serial = count()  # of programs that were split: sets their kept values apart


@dataclass(frozen=True)
class Segment:
    """What one device computes in one go. takes and gives: for each parameter and each output of `program` the number of its array, among
    the feeds of the run, its outputs, and the values handed over, in this order."""

    device: str
    program: Program
    takes: tuple[int, ...]
    gives: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """program: the whole, with its transfers. handed_over: the types of the values that go from segment to segment."""

    program: Program
    segments: tuple[Segment, ...]
    handed_over: tuple[TensorType, ...]


def whole(program: Program, device: str) -> Split:
    """`program`, which has no transfers, as one segment."""
    arrays = range(len(program.parameters) + len(program.outputs))
    takes, gives = tuple(arrays[:len(program.parameters)]), tuple(arrays[len(program.parameters):])
    return Split(program, (Segment(device, program, takes, gives),), ())


def split(program: Program, variables: dict[str, str], default: str = HOST) -> Split:
    """The segments of `program`, in an order in which each finds what it takes: few, found by going on with one device for as long as
    anything can be computed there. variables: the device of each variable. default: the device for a Program that needs none.

    ValueError where a node has operands on two devices.
    """
    return _Splitter(program, Devices(variables), default).split()


def array_name(program: Program, number: int) -> str:
    """What to call an array of a run: the feed's name, "output 0", or "value 0" for what is handed over."""
    feeds, outputs = len(program.parameters), len(program.outputs)
    if number < feeds:
        return str(program.parameters[number].attrs.name)
    return f"output {number - feeds}" if number < feeds + outputs else f"value {number - feeds - outputs}"


@dataclass
class _Draft:
    """A segment while it is made. mapping: what stands for nodes that are not computed here."""

    device: str
    nodes: list[Node]
    mapping: dict[Node, Node] = field(default_factory=dict)
    taken: dict[Node, int] = field(default_factory=dict)  # parameter -> number of its array
    given: list[tuple[Node, int]] = field(default_factory=list)  # node, number of its array
    effects: list[Node] = field(default_factory=list)


class _Splitter:
    """One call of `split`. A *unit* is a node that is computed on some device, or an assignment there."""

    def __init__(self, program: Program, devices: Devices, default: str) -> None:
        self.program = program
        self.devices = devices
        self.default = default
        self.arrays = {each: number for number, each in enumerate(program.parameters)}
        self.handed_over: list[TensorType] = []
        self.kept: dict[tuple[Node, str], Node] = {}  # by device
        self.first_takers: dict[tuple[Node, str], _Draft] = {}  # of values from elsewhere, by device
        self.serial = next(_serial)
        leaving = {_origin(node) for node in program.outputs}
        leaving.update(node.operands[0] for node in program.nodes if node.name == "transfer")
        # A variable that is only read where it lives needs no unit: each segment there reads it.
        self.units = [node for node in program.nodes if node.name not in ("parameter", "transfer") and devices.of(node) is not None
                      and (node.name != "variable_read" or node in leaving)]
        known = set(self.units)
        self.needs = {unit: [o for o in dict.fromkeys(map(_origin, unit.operands)) if o in known] for unit in self.units}

    def split(self) -> Split:
        self.drafts = [_Draft(device, nodes) for device, nodes in self._turns()] or [_Draft(self.default, [])]
        last = {draft.device: draft for draft in self.drafts}
        self.place = {node: draft for draft in self.drafts for node in draft.nodes if node.name != "variable_assign"}
        for number, node in enumerate(self.program.outputs):
            self._give_output(_origin(node), len(self.program.parameters) + number)
        for draft in self.drafts:
            for unit in draft.nodes:
                if unit.name == "variable_assign":
                    last[draft.device].effects.append(unit)
        for draft in self.drafts:
            for unit in (*(node for node in draft.nodes if node in self.place), *draft.effects):
                for operand in unit.operands:
                    self._take(operand, draft)
        segments = tuple(self._finished(draft) for draft in self.drafts)
        return Split(self.program, segments, tuple(self.handed_over))

    # -- order --------------------------------------------------------------------------------------------------------------------------

    def _turns(self) -> list[tuple[str, list[Node]]]:
        """(device, units) in order: the shortest list of those that begin with each of the devices."""
        devices = sorted({self._device(unit) for unit in self.units}, key=lambda device: (device != self.default, device))
        return min((self._put_off(self._turns_from(first, devices)) for first in devices), key=len, default=[])

    def _put_off(self, turns: list[tuple[str, list[Node]]]) -> list[tuple[str, list[Node]]]:
        """`turns` without those that can wait for the next one of their device, because nobody between needs what they compute."""
        for number in reversed(range(len(turns))):
            device, units = turns[number]
            later = next((n for n in range(number + 1, len(turns)) if turns[n][0] == device), None)
            if later is None:
                continue
            between = {need for _, others in turns[number + 1:later] for unit in others for need in self.needs[unit]}
            if between.isdisjoint(units):
                turns[later] = (device, [*units, *turns[later][1]])
                del turns[number]
        return turns

    def _turns_from(self, first: str, devices: Sequence[str]) -> list[tuple[str, list[Node]]]:
        waiting = {unit: len(needed) for unit, needed in self.needs.items()}
        users: dict[Node, list[Node]] = {unit: [] for unit in self.units}
        for unit, needed in self.needs.items():
            for each in needed:
                users[each].append(unit)
        ready: dict[str, list[Node]] = {device: [] for device in devices}
        for unit in self.units:
            if not waiting[unit]:
                ready[self._device(unit)].append(unit)
        turns: list[tuple[str, list[Node]]] = []
        device = first if ready[first] else max(devices, key=lambda each: len(ready[each]))
        while ready[device]:
            done = ready[device]
            for unit in done:  # grows meanwhile
                for user in users[unit]:
                    waiting[user] -= 1
                    if not waiting[user]:
                        ready[self._device(user)].append(user)
            turns.append((device, done))
            ready[device] = []
            device = max(devices, key=lambda each: len(ready[each]))
        return turns

    def _device(self, unit: Node) -> str:
        device = self.devices.of(unit)
        assert device is not None
        return device

    # -- what goes from segment to segment ------------------------------------------------------------------------------------------------

    def _give_output(self, node: Node, array: int) -> None:
        host = next((draft for draft in self.drafts if draft.device == HOST), self.drafts[0])
        draft = self.place.get(node, host)
        draft.given.append((node, array))
        self._take(node, draft)
        self.arrays.setdefault(node, array)

    def _take(self, operand: Node, draft: _Draft) -> None:
        """Makes `operand` something that `draft` has: its own value, or what stands for a feed or the value of another segment."""
        node = _origin(operand)
        own = node.name == "variable_read" and self.devices.of(node) == draft.device
        computed = self.place.get(node, draft) is draft and node.name != "parameter"
        stand_in = node if own or computed else self._stand_in(node, draft)
        if stand_in is not operand:
            draft.mapping[operand] = stand_in

    def _stand_in(self, node: Node, draft: _Draft) -> Node:
        """On a GPU what an earlier segment there has kept: of its own, or because it took the same. Else an array that the draft takes."""
        if draft.device.startswith("CPU"):
            return self._arrived(node, draft)
        at_home = self.devices.of(node) == draft.device
        source = self.place[node] if at_home else self.first_takers.setdefault((node, draft.device), draft)
        return self._arrived(node, draft) if source is draft else self._kept(node, source)

    def _kept(self, node: Node, source: _Draft) -> Node:
        """A read of the variable in which `source`, which computes or takes `node`, leaves it for later segments of its device."""
        key = node, source.device
        if key not in self.kept:
            name = f"{KEPT}{self.serial}/{len(self.kept)}"
            self.kept[key] = variable_read(name, node.type)
            value = node if self.place.get(node) is source else self._arrived(node, source)
            source.effects.append(variable_assign(name, value))
        return self.kept[key]

    def _arrived(self, node: Node, draft: _Draft) -> Node:
        """A parameter of `draft` for `node`, which is a feed, or which the segment that computes it gives."""
        if node not in self.arrays:
            self.arrays[node] = len(self.program.parameters) + len(self.program.outputs) + len(self.handed_over)
            self.handed_over.append(node.type)
            self.place[node].given.append((node, self.arrays[node]))
        made = node
        if node.name != "parameter":
            made = parameter(f"{array_name(self.program, self.arrays[node])} of {self.devices.of(node)}", node.type)
        draft.taken[made] = self.arrays[node]
        return made

    def _finished(self, draft: _Draft) -> Segment:
        roots = [*(node for node, _ in draft.given), *draft.effects]
        new = substitute(roots, draft.mapping, draft.mapping.keys())
        if len(self.drafts) == 1:
            draft.taken = {each: self.arrays[each] for each in self.program.parameters}
        taken = sorted(draft.taken.items(), key=lambda item: item[1])
        given = sorted(draft.given, key=lambda item: item[1])
        program = Program(tuple(each for each, _ in taken), tuple(new[node] for node, _ in given),
                          tuple(new[node] for node in draft.effects), origins=self._origins(new))
        return Segment(draft.device, program, tuple(array for _, array in taken), tuple(array for _, array in given))

    def _origins(self, new: dict[Node, Node]) -> Origins:
        """Of the nodes of a segment; those of a stand-in are those of what it stands for."""
        known = self.program.origins
        return {now: known[_origin(old)] for old, now in new.items() if _origin(old) in known}


def _origin(node: Node) -> Node:
    """What `node` is a transfer of; itself where it is none."""
    return node.operands[0] if node.name == "transfer" else node
