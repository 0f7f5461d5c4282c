"""`RunOptions` and `RunMetadata`: what a run may be asked besides its fetches, and what it tells besides their values, in TF1's words.

TF1's are protocol buffers; these have the same fields under the same names, as plain objects. `step_stats` says of each kernel what TF1
says of each operation: a kernel goes under the name of the last operation in it, and its label lists them all.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar

from graphc.core.program import Node, Program
from graphc.core.shapes import TensorShape
from graphc.core.text import print_program
from graphc.runtime.executable import Executable
from graphc.runtime.placed import PlacedExecutable
from graphc.runtime.placement import device_name
from graphc.runtime.profile import Profile, StepTime
from graphc.runtime.staged import StagedExecutable


class TraceLevel(IntEnum):
    """How much of a run is recorded. Whatever is above NO_TRACE records all there is."""

    NO_TRACE = 0
    SOFTWARE_TRACE = 1
    HARDWARE_TRACE = 2
    FULL_TRACE = 3

    @staticmethod
    def Name(number: int) -> str:
        """The word for a number; ValueError where there is none."""
        return TraceLevel(number).name

    @staticmethod
    def Value(name: str) -> int:
        """The number of a word; ValueError where there is none."""
        if name not in TraceLevel.__members__:
            raise ValueError(f"RunOptions(trace_level={name!r}): it must be one of {', '.join(TraceLevel.__members__)}")
        return TraceLevel[name]


@dataclass(slots=True)
class RunOptions:
    """What `Session.run` is asked to do besides. Checked when set: TypeError or ValueError for what is no trace level.

    trace_level: `RunOptions.FULL_TRACE` (or its name) times every step, for `run_metadata`; what is computed is the same bit for bit.
    output_partition_graphs: `run_metadata.partition_graphs` are the programs that run, after all passes. The other fields are TF1's; they
    are accepted so that old programs run, and have no effect here: a run is one call that cannot time out, and errors for lack of memory
    always name what needed most.
    """

    trace_level: int = TraceLevel.NO_TRACE
    timeout_in_ms: int = 0
    inter_op_thread_pool: int = 0
    output_partition_graphs: bool = False
    debug_options: Any = None
    report_tensor_allocations_upon_oom: bool = False
    experimental: Any = None

    NO_TRACE: ClassVar[int] = TraceLevel.NO_TRACE
    SOFTWARE_TRACE: ClassVar[int] = TraceLevel.SOFTWARE_TRACE
    HARDWARE_TRACE: ClassVar[int] = TraceLevel.HARDWARE_TRACE
    FULL_TRACE: ClassVar[int] = TraceLevel.FULL_TRACE
    TraceLevel: ClassVar[type[TraceLevel]] = TraceLevel

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "trace_level" and isinstance(value, str):
            value = TraceLevel.Value(value)
        if name in ("trace_level", "timeout_in_ms", "inter_op_thread_pool") and not isinstance(value, int):
            raise TypeError(f"RunOptions({name}={value!r}) has type {type(value).__name__}, but expected one of: int")
        if name == "trace_level" and value not in list(TraceLevel):
            levels = ", ".join(f"{level} ({level.name})" for level in TraceLevel)
            raise ValueError(f"RunOptions(trace_level={value!r}): it must be one of {levels}")
        object.__setattr__(self, name, value)


# What a run tells -------------------------------------------------------------------------------------------------------------------------

@dataclass(slots=True)
class AllocatorMemoryUsed:
    """The arena while a kernel runs: bytes with values in them, of those that the plan has."""

    allocator_name: str = ""
    total_bytes: int = 0
    peak_bytes: int = 0
    live_bytes: int = 0
    allocator_bytes_in_use: int = 0


@dataclass(slots=True)
class AllocationDescription:
    """The memory of one result."""

    requested_bytes: int = 0
    allocated_bytes: int = 0
    allocator_name: str = ""


@dataclass(slots=True)
class TensorDescription:
    """One result of a kernel. dtype is a `graphc.DType`, where TF1 has its number."""

    dtype: Any
    shape: TensorShape
    allocation_description: AllocationDescription


@dataclass(slots=True)
class NodeOutput:
    """The result number `slot` of a kernel."""

    slot: int
    tensor_description: TensorDescription


@dataclass(slots=True)
class NodeExecStats:
    """When a kernel ran: microseconds (and nanoseconds) since 1970 when it was begun, the others since then.

    node_name: the last operation in it. timeline_label: `3_row_Softmax = kernel(logits, Softmax)`, the kernel and all its operations.
    """

    node_name: str = ""
    all_start_micros: int = 0
    op_start_rel_micros: int = 0
    op_end_rel_micros: int = 0
    all_end_rel_micros: int = 0
    memory: list[AllocatorMemoryUsed] = field(default_factory=list)
    output: list[NodeOutput] = field(default_factory=list)
    timeline_label: str = ""
    scheduled_micros: int = 0
    thread_id: int = 0
    all_start_nanos: int = 0
    op_start_rel_nanos: int = 0
    op_end_rel_nanos: int = 0
    all_end_rel_nanos: int = 0
    scheduled_nanos: int = 0


@dataclass(slots=True)
class DeviceStepStats:
    """What ran on one device, in order."""

    device: str = ""
    node_stats: list[NodeExecStats] = field(default_factory=list)
    thread_names: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class StepStats:
    """What ran, by device. profile: what it was made of, None where nothing was recorded."""

    dev_stats: list[DeviceStepStats] = field(default_factory=list)
    profile: Profile | None = None


@dataclass(frozen=True)
class NodeDef:
    """One node of a program that ran. op: the primitive. input: names of the nodes that it reads."""

    name: str
    op: str
    input: tuple[str, ...]
    device: str


@dataclass(frozen=True)
class PartitionGraph:
    """A program that ran on one device, after all passes: `node` as TF1 lists them, `program` as graphc has it; prints as its text."""

    node: tuple[NodeDef, ...]
    program: Program

    def __str__(self) -> str:
        return print_program(self.program)


@dataclass(slots=True)
class RunMetadata:
    """What a run tells besides its values; every run that is given one writes it anew.

    step_stats: times, as TF1 has them; profile: the same as graphc's `Profile`, with rates, lines and the Chrome trace; None unless
    `RunOptions.trace_level` asked for it. partition_graphs: see `RunOptions`.
    """

    step_stats: StepStats = field(default_factory=StepStats)
    partition_graphs: list[PartitionGraph] = field(default_factory=list)
    profile: Profile | None = None

    def Clear(self) -> None:
        """As if it were new."""
        new = RunMetadata()
        for each in fields(self):
            setattr(self, each.name, getattr(new, each.name))

    def HasField(self, name: str) -> bool:
        """Whether a run has written `step_stats` here. ValueError for another field."""
        if name != "step_stats":
            raise ValueError(f"RunMetadata has no optional field {name!r}; there is step_stats")
        return self.profile is not None

    def write(self, profile: Profile | None, executable: Executable | None, graphs: bool, device: str) -> None:
        """What one run of `executable`, on `device` unless it says otherwise, has to tell: its profile, and with `graphs` its programs."""
        self.Clear()
        if executable is not None:
            self.profile = profile
            self.step_stats = StepStats() if profile is None else _step_stats(profile, executable)
            self.partition_graphs = list(_partitions(executable, device)) if graphs else []


def _step_stats(profile: Profile, executable: Executable) -> StepStats:
    by_device: dict[str, list[NodeExecStats]] = {}
    for step in profile.steps:
        if step.device:
            by_device.setdefault(step.device, []).append(_node_stats(profile, step, executable))
    return StepStats([DeviceStepStats(device, nodes, {0: "kernels"}) for device, nodes in by_device.items()], profile)


def _node_stats(profile: Profile, step: StepTime, executable: Executable) -> NodeExecStats:
    start, took = profile.began_ns + round(step.start_us * 1e3), round(step.us * 1e3)
    last = step.operations[-1] if step.operations else step.name
    params = [] if step.index is None else [param for param in executable.kernels[step.index].ir.params if param.space != "in"]
    outputs = [NodeOutput(slot, TensorDescription(param.dtype, TensorShape(param.shape), AllocationDescription(
        param.nbytes, param.nbytes, step.device))) for slot, param in enumerate(params)]
    arena = AllocatorMemoryUsed("arena", profile.arena_bytes, max(each.live_bytes for each in profile.steps), step.live_bytes,
                                profile.arena_bytes)
    return NodeExecStats(
        node_name=last, all_start_micros=start // 1000, op_end_rel_micros=took // 1000, all_end_rel_micros=took // 1000,
        memory=[arena] if step.index is not None else [], output=outputs, scheduled_micros=start // 1000, scheduled_nanos=start,
        timeline_label=f"{step.name or step.kind} = {step.kind}({', '.join(step.operations)})", all_start_nanos=start,
        op_end_rel_nanos=took, all_end_rel_nanos=took)


def _partitions(executable: Executable, device: str) -> Iterator[PartitionGraph]:
    """The programs of one device each that `executable` consists of, in the order in which they run."""
    if isinstance(executable, StagedExecutable):
        for part in executable.parts:
            yield from _partitions(part.executable, device)
    elif isinstance(executable, PlacedExecutable):
        for segment in executable.segments:
            yield from _partitions(segment.executable, device_name(segment.device))
    else:
        names: dict[Node, str] = {}
        nodes = []
        for number, node in enumerate(executable.program.nodes):
            origins = executable.program.origins.get(node, ())
            names[node] = "_".join([str(number), node.name, *(origin.operation for origin in origins[-1:])])
            nodes.append(NodeDef(names[node], node.name, tuple(names[operand] for operand in node.operands), device))
        yield PartitionGraph(tuple(nodes), executable.program)


def check(options: Any, metadata: Any) -> None:
    """TypeError unless they are what a run takes."""
    if not isinstance(options, RunOptions | None):
        raise TypeError(f"options must be a graphc.RunOptions, but got {type(options)}")
    if not isinstance(metadata, RunMetadata | None):
        raise TypeError(f"run_metadata must be a graphc.RunMetadata, but got {type(metadata)}")
