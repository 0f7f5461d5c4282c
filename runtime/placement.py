"""Which device each operation runs on, by TF1's rules. Before `specialise`: the session asks once for each operation that a run needs.

    explicit device (`with gc.device(...)`, a function of the operation, colocation) -> ConfigProto(device=...) -> CPU

- A variable, the operations that write it, and plain reads of it are on one device: the variable's. So are operations declared with
  `colocate_with`; there the explicit devices must agree.
- Where ConfigProto names no device, an operation that no scope places goes to the CPU, but: a gradient goes where its forward operation is,
  and what is made of constants and random numbers alone (an initial value) where all of its readers are.
- Once placed, an operation stays where it is for the life of the session: its variables have their memory there.
"""
from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc.core.devices import KEPT
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.graph import Graph
from graphc.core.operation import Operation
from graphc.core.program import Program
from graphc.core.scopes import DeviceSpec
from graphc.core.specialise import COUNTER, INITIALISED
from graphc.runtime.arena import available_bytes
from graphc.runtime.config import Settings
from graphc.runtime.cuda import detect


@dataclass(frozen=True)
class Device:
    """A device of this machine. kind: "CPU" or "GPU". memory: bytes that the session may take. physical: the machine's number of a GPU,
    which `visible_device_list` may hide behind another. arch: of a GPU, "sm_90"."""

    kind: str
    ordinal: int
    memory: int = 0
    physical: int = 0
    arch: str = ""

    @property
    def short(self) -> str:
        """ "GPU:0" """
        return f"{self.kind}:{self.ordinal}"

    @property
    def name(self) -> str:
        """TF1's full name."""
        return device_name(self.short)

    def __str__(self) -> str:
        return self.name

    def fits(self, spec: DeviceSpec) -> bool:
        """Whether `spec` may mean this device."""
        own = (("job", "localhost"), ("replica", 0), ("task", 0), ("device_type", self.kind), ("device_index", self.ordinal))
        return all(getattr(spec, part) in (None, value) for part, value in own)


def device_name(short: str) -> str:
    """TF1's full name of a device known in short as "GPU:0"."""
    return f"/job:localhost/replica:0/task:0/device:{short}"


@dataclass(frozen=True)
class DeviceAttributes:
    """TF1's description of a device, as `Session.list_devices` gives it. memory_limit_bytes: for a CPU what can be had now."""

    name: str
    device_type: str
    memory_limit_bytes: int


def gpus() -> tuple[tuple[detect.Device, ...], str | None]:
    """The machine's GPUs; where there is none to be used, what is missing and what to do."""
    problem = detect.driver_problem() or detect.pycuda_problem() or detect.compiler_problem()
    found = () if problem else tuple(detect.devices())
    return found, problem if found or problem else detect.device_problem(0)


def available_devices(settings: Settings) -> tuple[Device, ...]:
    """The devices that a session may use: CPUs, then GPUs. Looks for GPUs, which loads the CUDA driver.

    InvalidArgumentError where `visible_device_list` names a GPU that the machine lacks.
    """
    found, _ = gpus()
    chosen = range(len(found)) if settings.visible_gpus is None or not found else settings.visible_gpus
    wrong = [number for number in chosen if number >= len(found)]
    if wrong:
        raise InvalidArgumentError(None, None, f"'visible_device_list' listed an invalid GPU id '{wrong[0]}' but visible device count is "
                                               f"{len(found)}")
    part = settings.memory_fraction or 1.0
    made = [Device("GPU", n, int(found[physical].memory * part), physical, found[physical].arch) for n, physical in enumerate(chosen)]
    return (*cpus(settings), *made[:settings.gpus])


def cpus(settings: Settings) -> tuple[Device, ...]:
    return tuple(Device("CPU", ordinal, available_bytes()) for ordinal in range(settings.cpus))


class Placer:
    """Places the operations of one session's graph.

    InvalidArgumentError at once where ConfigProto names a device that this machine lacks.
    """

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self._graph = graph
        self._settings = settings
        self._host = cpus(settings)
        self._devices: tuple[Device, ...] | None = None  # all; looked for when a GPU is asked for
        self._placed: dict[Operation, Device] = {}
        self._guessed: dict[Operation, Device | None] = {}  # where readers would go that no run has needed yet
        self._scoped = False  # whether any operation says where it goes
        self._seen = 0  # operations of the graph that groups know
        self._groups: dict[Operation, list[Operation]] = {}  # those that must be on one device
        self._rooted: set[Operation] = set()  # those that read a placeholder or a variable, however far up
        self.default, self._why_default = (self._host[0], "") if settings.device is None else self._asked_for(settings.device)

    @property
    def host(self) -> Device:
        """The first CPU."""
        return self._host[0]

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices of the session; looks for GPUs when first asked."""
        if self._devices is None:
            self._devices = available_devices(self._settings)
        return self._devices

    def place(self, operations: Iterable[Operation]) -> dict[Operation, Device]:
        """The device of each of `operations`, which are in the order of their declaration.

        InvalidArgumentError, naming the operation and its line, for one whose device this machine lacks (unless allow_soft_placement), and
        for operations that must be on one device and ask for two.
        """
        self._grow()
        wanted = dict.fromkeys(operations)
        for operation in self._with_readers(list(wanted)) if self._scoped else wanted:
            if operation in self._placed:
                continue
            if operation in wanted:
                self._placed[operation], reason = self._choose(operation)
                self._log(operation, reason)
            else:
                self._guessed[operation] = self._guess(operation)
        return {operation: self._placed[operation] for operation in wanted}

    def _log(self, operation: Operation, reason: str) -> None:
        if self._settings.log:
            text = f"{operation.name}: ({operation.type}): {self._placed[operation].name}"
            print(f"{text}  ({reason})" if reason else text, file=sys.stderr)

    # -- what belongs together ----------------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Learns of the operations declared since the last time."""
        operations = self._graph.get_operations()[self._seen:]
        self._seen += len(operations)
        for operation in operations:
            self._scoped = self._scoped or bool(operation.device)
            if operation.type in ("Placeholder", "VariableV2") or any(t.op in self._rooted for t in operation.inputs):
                self._rooted.add(operation)
            if operation.colocated_with or _references(operation):
                others = [self._graph.get_operation_by_name(name) for name in operation.colocated_with]
                self._join([operation, *others, *_references(operation)])

    def _join(self, operations: Sequence[Operation]) -> None:
        groups = {id(group): group for each in operations if (group := self._groups.get(each)) is not None}
        largest = max(groups.values(), key=len, default=[])
        for group in groups.values():
            if group is not largest:
                largest.extend(group)
        largest.extend(dict.fromkeys(each for each in operations if each not in self._groups))
        for each in (*operations, *(each for group in groups.values() if group is not largest for each in group)):
            self._groups[each] = largest

    def _with_readers(self, operations: Sequence[Operation]) -> list[Operation]:
        """`operations` in an order in which each may be placed: those that follow their readers after all of these."""
        first = [operation for operation in operations if not self._follows(operation)]
        following: set[Operation] = set()
        stack = [operation for operation in operations if self._follows(operation)]
        while stack:
            operation = stack.pop()
            if operation in following:
                continue
            following.add(operation)
            for reader in _readers(operation):
                if self._follows(reader):
                    stack.append(reader)
                else:
                    first.append(reader)
        return [*first, *sorted(following, key=lambda operation: operation.id, reverse=True)]

    def _follows(self, operation: Operation) -> bool:
        """Whether `operation` goes where its readers are."""
        return (operation not in self._placed and self._settings.device is None and not operation.device
                and operation not in self._groups and operation not in self._rooted and operation.gradient_of is None)

    # -- where it goes ------------------------------------------------------------------------------------------------------------------

    def _choose(self, operation: Operation) -> tuple[Device, str]:
        """The device of `operation`, and why it is not the one that was asked for ("" where it is)."""
        if not self._scoped:
            return self.default, self._why_default
        group = self._groups.get(operation, [operation])
        known = next((self._placed[each] for each in group if each in self._placed), None)
        if known is not None:
            return known, ""
        asking, spec = self._asked(group)
        if asking is not None:
            return self._find(spec, asking)
        device = self._unasked(operation, group)
        return device, self._why_default if device is self.default else ""

    def _guess(self, operation: Operation) -> Device | None:
        """Where `operation` would go; None where it asks for what there is not, which is its own affair."""
        try:
            return self._choose(operation)[0]
        except InvalidArgumentError:
            return None

    def _unasked(self, operation: Operation, group: Sequence[Operation]) -> Device:
        """For an operation that no scope places; `group` must be with it."""
        forward = next((each.gradient_of for each in group if each.gradient_of is not None), None)
        if self._settings.device is None and forward is not None:
            return self.place([forward])[forward]
        if self._follows(operation):
            found = {self._placed.get(reader) or self._guessed[reader] for reader in _readers(operation)}
            return (found.pop() if len(found) == 1 else None) or self.default
        return self.default

    def _asked(self, group: Sequence[Operation]) -> tuple[Operation | None, DeviceSpec]:
        """What the operations of a group ask for, all together, and the first that asks. A variable decides for all that refer to it."""
        variables = [each for each in group if each.type == "VariableV2" and each.device]
        asking = variables or [each for each in group if each.device and not _references(each)]
        asking.sort(key=lambda operation: operation.id)
        spec = DeviceSpec()
        for operation in asking:
            other = DeviceSpec.parse(operation.device)
            conflict = _conflict(spec, other)
            if conflict and not self._settings.soft:
                text = (f"Cannot colocate nodes {asking[0].name} and {operation.name}: Cannot merge devices with incompatible {conflict}: "
                        f"'{spec}' and '{other}'")
                raise InvalidArgumentError(None, operation, explain(operation, text))
            spec = spec if conflict else spec.over(other)
        return (asking[0] if asking else None), spec

    def _find(self, spec: DeviceSpec, operation: Operation) -> tuple[Device, str]:
        """The device that `operation` asks for, and why it is another."""
        if spec.device_type is None and spec.device_index is None and self.default.fits(spec):
            return self.default, ""
        found = self._first(spec)
        if found is not None:
            return found, ""
        names = ", ".join(device.name for device in self.devices)
        why = self._missing(spec)
        here = spec.over(DeviceSpec(device_type="CPU")) if spec.device_type is None else DeviceSpec(spec.job, spec.replica, spec.task)
        if self._settings.soft and self._host[0].fits(here):
            return self._host[0], f"{spec} is not available.{why}"
        text = (f"Cannot assign a device for operation {operation.name}: Operation was explicitly assigned to {spec} but available devices "
                f"are [ {names} ]. Make sure the device specification refers to a valid device.{why}")
        raise InvalidArgumentError(None, operation, explain(operation, text))

    def _first(self, spec: DeviceSpec) -> Device | None:
        """The first device that `spec` may mean. Looks for GPUs only where it means one."""
        devices = self._host if spec.device_type == "CPU" else self.devices
        return next((device for device in devices if device.fits(spec)), None)

    def _asked_for(self, spec: DeviceSpec) -> tuple[Device, str]:
        """The device that ConfigProto names, and why it is another."""
        found = self._first(spec)
        if found is not None:
            return found, ""
        why = self._missing(spec)
        if self._settings.soft:
            return self._host[0], f"{spec} is not available.{why}"
        names = ", ".join(device.name for device in self.devices)
        raise InvalidArgumentError(None, None, f"ConfigProto(device={str(spec)!r}): available devices are [ {names} ].{why}")

    @staticmethod
    def _missing(spec: DeviceSpec) -> str:
        """What is missing for a GPU that `spec` asks for."""
        problem = gpus()[1] if spec.device_type == "GPU" else None
        return f" The requested device appears to be a GPU, but {problem}" if problem else ""


def homes(program: Program, placed: Mapping[Operation, Device]) -> dict[str, str]:
    """The device, in short, of each variable of `program` that the graph knows; what belongs to an operation is where that is."""
    by_name = {operation.name: device.short for operation, device in placed.items()}
    known = [name for name in program.variables if not name.startswith(KEPT)]
    return {name: by_name.get(name) or by_name[name.removesuffix(COUNTER).removesuffix(INITIALISED)] for name in known}


def _references(operation: Operation) -> list[Operation]:
    """The variables that `operation` must stand with: those that it may write, or reads as they are."""
    if not operation.definition.stateful and operation.type != "Identity":
        return []
    return [tensor.op for tensor in operation.inputs if tensor.op.type == "VariableV2"]


def _readers(operation: Operation) -> list[Operation]:
    return [reader for tensor in operation.outputs for reader in tensor.consumers()]


def _conflict(one: DeviceSpec, other: DeviceSpec) -> str:
    """What both say differently, as TF1 calls it; "" where nothing."""
    words = {"device_type": "types", "device_index": "ids"}
    for part in ("job", "replica", "task", "device_type", "device_index"):
        mine, its = getattr(one, part), getattr(other, part)
        if mine is not None and its is not None and mine != its:
            return words.get(part, f"{part}s")
    return ""
