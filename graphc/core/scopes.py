"""What surrounds a declaration: unique names, and per thread the name scope, control dependencies, devices and colocation.

`Graph` owns one `NameTable` and one `ScopeState`; `DefaultStack` holds what `with graph.as_default()` and `with session.as_default()` push.
"""
from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from graphc.core.operation import Operation

T = TypeVar("T")
OP_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-/]*\Z")
KINDS = ("CPU", "GPU", "TPU")  # of devices, whose names may be written in small letters
SCOPE_NAME = re.compile(r"[A-Za-z0-9_.\-/]*\Z")


class NameTable:
    """Gives out unique names as TF1 does: "a", "a_1", "a_2"; names that differ only in case count as the same."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}  # lower-case name -> the next suffix to try
        self._lock = threading.Lock()

    def unique(self, name: str, mark_as_used: bool = True) -> str:
        key = name.lower()
        with self._lock:
            suffix = self._used.get(key, 0)
            if mark_as_used:
                self._used[key] = suffix + 1
            if not suffix:
                return name
            while (candidate := f"{key}_{suffix}") in self._used:
                suffix += 1
            if mark_as_used:
                self._used[candidate] = 1
                self._used[key] = suffix + 1
            return f"{name}_{suffix}"


class ControlScope:
    """One `with graph.control_dependencies(...)`: the operations to wait for, and those declared inside it so far."""

    __slots__ = ("inputs", "seen")

    def __init__(self, inputs: Sequence[Operation]) -> None:
        self.inputs = tuple(inputs)
        self.seen: set[Operation] = set()


def control_inputs_for(scopes: Sequence[ControlScope], inputs: set[Operation]) -> list[Operation]:
    """The control inputs that the open scopes give an operation reading `inputs`. A scope is left out where an input was itself declared in
    that scope (it waits already), and an operation that is an input needs no control edge."""
    found: dict[Operation, None] = {}
    for scope in scopes:
        if inputs.isdisjoint(scope.seen):
            found.update((operation, None) for operation in scope.inputs if operation not in inputs)
    return list(found)


@dataclass(frozen=True)
class DeviceSpec:
    """A device name in parts; None where a part is not said (or is "*"). Prints as "/job:worker/replica:0/task:1/device:GPU:0"."""

    job: str | None = None
    replica: int | None = None
    task: int | None = None
    device_type: str | None = None
    device_index: int | None = None

    @classmethod
    def parse(cls, text: str) -> DeviceSpec:
        """Reads "/cpu:0", "gpu", "/device:GPU:1", "/job:ps/task:0"...; ValueError for an unknown part."""
        spec = cls()
        for part in filter(None, text.split("/")):
            words = part.split(":")
            if spec.device_type is not None and (words[0] == "device" or words[0].upper() in KINDS):
                raise ValueError(f"Cannot specify multiple device types: {text}")
            match words:
                case ["job", name]:
                    spec = replace(spec, job=name)
                case ["replica", number]:
                    spec = replace(spec, replica=int(number))
                case ["task", number]:
                    spec = replace(spec, task=int(number))
                case ["device", kind, index]:
                    kind = kind.upper() if kind.upper() in KINDS else kind
                    spec = replace(spec, device_type=kind, device_index=None if index == "*" else int(index))
                case [kind, *index] if kind.upper() in KINDS and len(index) < 2:
                    ordinal = None if index in ([], ["*"]) else int(index[0])
                    spec = replace(spec, device_type=kind.upper(), device_index=ordinal)
                case _:
                    raise ValueError(f"Unknown attribute: '{words[0]}' in '{text}'")
        return spec

    def over(self, outer: DeviceSpec) -> DeviceSpec:
        """This spec, with the parts it does not say taken from `outer`."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(outer, **parts)

    def __str__(self) -> str:
        text = "" if self.job is None else f"/job:{self.job}"
        text += "" if self.replica is None else f"/replica:{self.replica}"
        text += "" if self.task is None else f"/task:{self.task}"
        if self.device_type is None:
            return text
        return f"{text}/device:{self.device_type}:{'*' if self.device_index is None else self.device_index}"


DeviceChoice = str | None | Callable[[Any], str | None]


class ScopeState(threading.local):
    """The scopes that are open on this thread, innermost last."""

    def __init__(self) -> None:
        self.name = ""  # the current name scope, without the slash at the end
        self.control: list[ControlScope] = []
        self.devices: list[DeviceChoice] = []
        self.colocate: list[Operation] = []
        self.gradients: Mapping[str, str] = {}  # operation type -> name of a registered gradient

    def device_of(self, operation: Operation) -> str:
        """The device the open scopes give `operation`: inner parts win, functions are asked, a None hides everything outside it."""
        if self.devices[-1] is None:
            return operation.device
        spec = DeviceSpec.parse(operation.device)
        for choice in reversed(self.devices):
            if choice is None:
                break
            operation.device = str(spec)
            text = choice(operation) if callable(choice) else choice
            if not isinstance(text, str | DeviceSpec | None):
                raise TypeError(f"Expected binary or unicode string, got {text!r}")
            text = str(text or "")
            # A function answers for the whole device; a string only fills in what is not said yet.
            spec = DeviceSpec.parse(text) if callable(choice) else spec.over(DeviceSpec.parse(text))
        return str(spec)


class DefaultStack(threading.local, Generic[T]):
    """A per-thread stack of defaults: `with stack.pushed(x)` makes x the default inside."""

    def __init__(self) -> None:
        self.stack: list[T] = []

    @property
    def top(self) -> T | None:
        return self.stack[-1] if self.stack else None

    @contextmanager
    def pushed(self, item: T) -> Iterator[T]:
        self.stack.append(item)
        try:
            yield item
        finally:
            nested = self.stack[-1] is item
            self.stack.remove(item)
            if not nested:
                raise AssertionError(f"Nesting violated for default stack of {type(item)} objects")


# What `Tensor.eval` and `Operation.run` use where no session is given. `graphc.runtime` pushes sessions here.
default_sessions: DefaultStack[Any] = DefaultStack()


def get_default_session() -> Any:
    """The innermost session made default on this thread, or None."""
    return default_sessions.top
