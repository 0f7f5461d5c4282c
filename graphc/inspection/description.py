"""All that is known of a compilation as plain data, for the report, for the dumps and for tools of others: dicts, lists, numbers and texts.

Numbers refer to positions: a node to the line of its stage's text (`%7`), a kernel, an operation or a buffer to its place in its list.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from graphc.core.program import Node, Origin, Program
from graphc.core.text import print_program, print_value
from graphc.core.types import TensorType
from graphc.inspection.changes import Change
from graphc.inspection.fates import History
from graphc.inspection.separations import edges
from graphc.passes.storage import Value, value_of

if TYPE_CHECKING:
    from graphc.limits import Limits
    from graphc.runtime.executable import CompiledKernel, DeviceExecutable, Executable, Memory
    from graphc.runtime.profile import Profile

Described = dict[str, Any]
_SHORT = 60  # characters of an attribute that are shown


def describe(executable: Executable, title: str = "", profile: Profile | None = None, limits: Limits | None = None,
             assembly: bool = True) -> Described:
    """Everything about `executable`, as the module says; of one that is in pieces {"title", "pieces": a description of each}.

    profile: of a run of it, for `timeline` and the kernels' `measured_us`. limits: of the machine, for `machine`. assembly: whether the
    machine code is made readable, which takes the most time. ValueError for a profile of another program.
    """
    return _described(executable, title, profile, limits, assembly, 0)


def _described(executable: Executable, title: str, profile: Profile | None, limits: Limits | None, assembly: bool, first: int) -> Described:
    """As `describe`. first: the position of its first kernel among all of the run: pieces may be in pieces, a stage on several devices."""
    if executable.pieces:
        pieces = []
        for name, piece in executable.pieces:
            pieces.append(_described(piece, name, profile, limits, assembly, first))
            first += len(piece.kernels)
        return {"title": title, "pieces": pieces}
    described = Description(cast("DeviceExecutable", executable), title, assembly).described()
    _measured(described, profile, limits, first)
    return described


def _measured(described: Described, profile: Profile | None, limits: Limits | None, first: int) -> None:
    """Adds what a run took. first: the position among all kernels of the run of the first that is described."""
    if limits is not None:
        described["machine"] = {"gflops": limits.gflops, "gbs": limits.gbs, "cores": limits.threads,
                                "copies": [list(copy) for copy in limits.copies]}
    for step in profile.kernels if profile is not None else ():
        number = cast(int, step.index) - first
        if 0 <= number < len(described["kernels"]):
            kernel = described["kernels"][number]
            if (kernel["flops"], kernel["bytes"]) != (step.flops, step.bytes):
                raise ValueError(f"the profile is of another program: its kernel {step.index}, {step.name}, does {step.flops:,} flops on "
                                 f"{step.bytes:,} bytes, {kernel['name']} here {kernel['flops']:,} on {kernel['bytes']:,}")
            kernel["measured_us"] = step.us
            described["timeline"].append({"kernel": number, "start_us": step.start_us, "us": step.us})


class Description:
    """Describes one executable for one device. title: what to call it. assembly: whether the machine code is made readable, which takes the
    most time. Of kernels that share their code the first has it; `same_as` says which that is."""

    def __init__(self, executable: DeviceExecutable, title: str = "", assembly: bool = True) -> None:
        self.executable, self.title, self.assembly = executable, title, assembly
        self.history = History(executable.stages, executable.plan.steps)
        self.kernels = tuple(executable.kernels)
        # The kernel of each step: one each on a CPU; on a GPU a launch may do several.
        launches = [getattr(kernel, "steps", (number,)) for number, kernel in enumerate(self.kernels)]
        self.kernel_of = {step: number for number, steps in enumerate(launches) for step in steps}
        self.steps_of = [[executable.plan.steps[step] for step in steps] for steps in launches]
        firsts: dict[str, int] = {}
        self.same_as = [firsts.setdefault(kernel.symbol, number) for number, kernel in enumerate(self.kernels)]
        self.operations = _operations(executable.stages[0].program)
        self.number = {origin.operation: number for number, origin in enumerate(self.operations)}

    def described(self) -> Described:
        """Everything, as the module says."""
        executable = self.executable
        program = executable.program
        return {
            "title": self.title, "target": executable.target,
            "signature": {"fetches": [", ".join(_names(program, node)) or node.name for node in program.outputs],
                          "feeds": [{"name": str(node.attrs.name), "type": str(node.type)} for node in program.parameters]},
            "phases": dict(executable.compile_ms),
            "warnings": [f"pass {stage.name} failed and was left out: {stage.problem}" for stage in executable.stages if stage.problem],
            "operations": [self._operation(origin) for origin in self.operations],
            "stages": self._stages(),
            "kernels": [self._kernel(number, kernel) for number, kernel in enumerate(self.kernels)],
            "edges": self._edges(),
            "memory": memory_described(executable.memory, self._buffers(), {**dict(executable.reads), **dict(executable.writes)}),
            "timeline": [], "machine": None}

    def _operation(self, origin: Origin) -> Described:
        fate = self.history.fate(origin)
        kernels = list(dict.fromkeys(self.kernel_of[step] for step in fate.kernels))
        return {"name": origin.operation, "type": origin.type, "line": origin.source, "kernels": kernels, "fate": fate.text}

    # Stages ---------------------------------------------------------------------------------------------------------------------------

    def _stages(self) -> list[Described]:
        stages = self.executable.stages
        found = []
        for number, stage in enumerate(stages):
            changed = number == 0 or stage.program is not stages[number - 1].program
            changes = self.history.differences[number - 1].changes if number and changed else ()
            found.append({
                "name": stage.name, "ms": stage.ms, "problem": stage.problem, "changed": changed,
                "text": print_program(stage.program) if changed else "",
                "nodes": self._nodes(stage.program) if changed else [],
                "changes": _changes(stages[number - 1].program if number else stage.program, stage.program, changes),
                "rules": dict(Counter(str(applied) for applied in stage.applied))})
        return found

    def _nodes(self, program: Program) -> list[Described]:
        place = {node: number for number, node in enumerate(program.nodes)}
        steps = self.history.steps
        return [{"id": place[node], "name": node.name, "type": ", ".join(map(str, node.types)),
                 "operands": [place[operand] for operand in node.operands], "operations": self._ids(program.origins.get(node, ())),
                 "kernel": self.kernel_of.get(steps[node]) if node in steps else None, "note": note_of(node)} for node in program.nodes]

    def _ids(self, origins: Iterable[Origin]) -> list[int]:
        return [self.number[name] for name in dict.fromkeys(_operation_name(origin) for origin in origins) if name in self.number]

    # Kernels --------------------------------------------------------------------------------------------------------------------------

    def _kernel(self, number: int, kernel: CompiledKernel) -> Described:
        origins, first = self.origins_of(number), self.same_as[number] == number
        inside = set(self.steps_of[number])
        taken = dict.fromkeys(o for step in self.steps_of[number] for o in step.operands if value_of(o)[0] not in inside)
        made = [((step, n), type_) for step in self.steps_of[number] for n, type_ in enumerate(step.types)]
        return {
            "name": kernel.name, "kind": " ".join(dict.fromkeys(kind_of(step) for step in self.steps_of[number])),
            "operations": self._ids(origins), "lines": list(dict.fromkeys(origin.source for origin in origins if origin.source)),
            "flops": kernel.flops, "bytes": kernel.bytes, "microseconds": kernel.microseconds, "measured_us": None,
            "parallel": bool(getattr(kernel, "parallel", True)), "same_as": self.same_as[number], "text": kernel.text,
            "code": kernel.code if first else "", "assembly": kernel.assembly if first and self.assembly else "",
            "reads": [{"value": self._label(value_of(operand)), "bytes": operand.type.nbytes, "from": self._maker(operand)}
                      for operand in taken],
            "writes": [{"value": self._label(value), "bytes": type_.nbytes} for value, type_ in made]}

    def origins_of(self, number: int) -> tuple[Origin, ...]:
        """The operations that kernel `number` computes, views on the way included."""
        return tuple(dict.fromkeys(origin for step in self.steps_of[number] for origin in self.history.origins[step]))

    def _maker(self, operand: Node) -> int | None:
        step = value_of(operand)[0]
        return self.kernel_of.get(self.history.steps[step]) if step in self.history.steps else None

    def _label(self, value: Value) -> str:
        """What a value is called: its variable, its feed, or the operations whose result it is."""
        source, number = value
        if source.name == "variable_read":
            return str(source.attrs.variable)
        origins = self.history.result(source, number) if source in self.history.steps else self.executable.program.origins.get(source, ())
        return ", ".join(dict.fromkeys(origin.operation for origin in origins)) or source.name

    def _edges(self) -> list[Described]:
        found: dict[tuple[int, int], Described] = {}
        for edge in edges(self.executable.stages, self.executable.plan.steps):
            before, after = self.kernel_of[edge.before], self.kernel_of[edge.after]
            if before != after:
                found.setdefault((before, after), {
                    "from": before, "to": after, "value": f"{self._label(value_of(edge.value))} {edge.value.type}",
                    "bytes": edge.value.type.nbytes, "why": edge.why, "text": edge.text})
        return list(found.values())

    def _buffers(self) -> list[tuple[list[str], list[str]]]:
        """For each buffer of the arena the values that take turns in it, and the user's lines that they come from."""
        found = []
        for buffer in self.executable.plan.buffers:
            origins = [origin for step, number in buffer.values for origin in self.history.result(step, number)]
            found.append(([self._label(value) for value in buffer.values], list(dict.fromkeys(o.source for o in origins if o.source))))
        return found


def memory_described(memory: Memory, buffers: Sequence[tuple[Sequence[str], Sequence[str]]],
                     variables: Mapping[str, TensorType]) -> Described:
    """The arena: its buffers over time, and the moment when most is alive. buffers: of each the values in it, and the user's lines."""
    end = max((b.last for b in memory.buffers), default=0)
    live = [sum(b.size for b in memory.buffers if b.first <= at <= b.last) for at in range(end + 1)]
    peak = live.index(max(live)) if memory.buffers else 0
    return {
        "arena": memory.arena_bytes, "lower_bound": memory.lower_bound, "unplanned": memory.unplanned_bytes,
        "buffers": [{"offset": b.offset, "size": b.size, "first": b.first, "last": b.last, "values": list(values), "lines": list(lines)}
                    for b, (values, lines) in zip(memory.buffers, buffers, strict=True)],
        "peak": {"at": peak, "live": [n for n, b in enumerate(memory.buffers) if b.first <= peak <= b.last]},
        "variables": [{"name": name, "bytes": variables[name].nbytes, "in_place": in_place}
                      for names, in_place in ((memory.in_place, True), (memory.copied, False))
                      for name in names]}


def kind_of(step: Node) -> str:
    """What kind of kernel a step is: that of its fusion, or its primitive."""
    return str(step.attrs.kind) if step.name == "fusion" else step.name


def note_of(node: Node) -> str:
    """A node's attributes in short."""
    if node.name == "fusion":
        return f"{node.attrs.kind}: " + ", ".join(f"{n} {name}" if n > 1 else name for name, n in Counter(
            each.name for each in node.attrs.body.nodes if each.name != "parameter").items())
    parts = []
    for field in fields(node.attrs):
        text = print_value(getattr(node.attrs, field.name))
        parts.append(f"{field.name} = {text if len(text) <= _SHORT else text[: _SHORT - 1] + '…'}")
    return ", ".join(parts)


def _operations(program: Program) -> list[Origin]:
    """The operations of the user's graph that a first Program was made of, and others that its nodes name."""
    found = {origin.operation: origin for origin in program.operations}
    for node in program.nodes:
        for origin in program.origins.get(node, ()):
            name = _operation_name(origin)
            found.setdefault(name, replace(origin, operation=name, type=origin.type or "Placeholder"))
    return list(found.values())


def _operation_name(origin: Origin) -> str:
    """Of a feed, which names a tensor, its operation."""
    return origin.operation.split(":")[0]


def _names(program: Program, node: Node) -> list[str]:
    return list(dict.fromkeys(origin.operation for origin in program.origins.get(node, ())))


def _changes(before: Program, after: Program, changes: Sequence[Change]) -> list[Described]:
    old, new = _places(before), _places(after)
    return [{"kind": change.kind, "before": [old[node] for node in change.before], "after": [new[node] for node in change.after],
             "rule": change.rule, "why": change.why} for change in changes]


def _places(program: Program) -> Mapping[Node, int]:
    return {node: number for number, node in enumerate(program.nodes)}
