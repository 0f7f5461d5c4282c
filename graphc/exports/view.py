"""What all formats are made from: a `View` of a user's graph, of a program, or of the kernels of an executable.

A view has items (operations, nodes or kernels) with names like paths ("block_0/attention/MatMul"), and named values between them. Items are
in an order in which every value comes before its readers.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

from graphc.core.dtypes import DType
from graphc.core.graph import Graph
from graphc.core.operation import Operation
from graphc.core.program import Node, Origin, Program
from graphc.core.types import Dims

_NO_NAME = re.compile(r"[^\w.\-/]+", re.ASCII)
_INPUTS = {"parameter", "variable_read"}


@dataclass(frozen=True, slots=True)
class Value:
    """One output of an item: "MatMul:0". shape: None where the rank is unknown."""

    name: str
    dtype: DType
    shape: Dims | None


@dataclass(frozen=True, slots=True)
class Item:
    """One operation, node or kernel. inputs: names of values; after: names of items that run before it without giving it a value. line: the
    user's ("train.py:12"). body: what a kernel computes inside; its inputs are the values that `inputs` list, in order."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    line: str = ""
    device: str = ""
    body: View | None = None

    @property
    def scope(self) -> str:
        """The name scope: the path without its last part."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class View:
    """Items in order. results: names of the values that leave."""

    title: str
    items: tuple[Item, ...]
    results: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Value]:
        return {value.name: value for item in self.items for value in item.outputs}


class Kernel(Protocol):
    """What is shown of a kernel (`runtime.executable.CompiledKernel`)."""

    @property
    def name(self) -> str: ...
    @property
    def flops(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Part(Protocol):
    """A segment or a stage of an executable in parts."""

    @property
    def executable(self) -> Compiled: ...


@runtime_checkable
class Compiled(Protocol):
    """What a view of kernels reads (`runtime.executable.Executable`)."""

    @property
    def kernels(self) -> Sequence[Kernel]: ...
    @property
    def program(self) -> Program: ...


def source_of(value: str) -> str:
    """The item that gives the value called `value`."""
    return value.rpartition(":")[0]


def view_of(what: Any, title: str = "graphc") -> View:
    """The view of a Graph, a Program or an Executable (its kernels); TypeError for anything else."""
    if isinstance(what, Graph):
        return of_graph(what, title)
    if isinstance(what, Program):
        return of_program(what, title)
    if isinstance(what, Compiled):
        return of_executable(what, title)
    raise TypeError(f"only a Graph, a Program or an Executable can be exported, not {type(what).__name__}")


def of_graph(graph: Graph, title: str = "graph") -> View:
    """The user's graph. Its results are the tensors that no operation reads."""
    operations = graph.get_operations()
    results = tuple(tensor.name for operation in operations for tensor in operation.outputs if not tensor.consumers())
    return View(title, tuple(map(_operation, operations)), results)


def _operation(operation: Operation) -> Item:
    outputs = tuple([Value(tensor.name, tensor.dtype, tensor.shape_tuple) for tensor in operation.outputs])
    attrs = dict(operation.attrs)
    if operation.gradient_of is not None:
        attrs["_gradient_of"] = operation.gradient_of.name
    if operation.colocated_with:
        attrs["_class"] = tuple(f"loc:@{name}" for name in operation.colocated_with)
    return Item(operation.name, operation.type, tuple([tensor.name for tensor in operation.inputs]), outputs, attrs,
                tuple([other.name for other in operation.control_inputs]), operation.source, operation.device)


def of_program(program: Program, title: str = "program", kernels: Mapping[Node, Kernel] | None = None) -> View:
    """A Program of any stage: a node stands in the scope of the operation that it computes. kernels: those that nodes became."""
    names = _Names()
    value_of: dict[Node, list[str]] = {}
    items = []
    for node in program.nodes:
        if node.name == "get_tuple_element":
            value_of[node] = [value_of[node.operands[0]][node.attrs.index]]
            continue
        origins, kernel = program.origins.get(node, ()), (kernels or {}).get(node)
        name = names.unique(_name(node, origins, kernel))
        outputs = tuple(Value(f"{name}:{n}", type_.dtype, type_.shape) for n, type_ in enumerate(node.types))
        value_of[node] = [value.name for value in outputs]
        inputs = tuple(value_of[operand][0] for operand in node.operands)
        items.append(Item(name, _kind(node), inputs, outputs, _attrs(node, origins, kernel), line=_lines(origins),
                          body=of_program(node.attrs.body, name) if node.name == "fusion" else None))
    return View(title, tuple(items), tuple(value_of[node][0] for node in (*program.outputs, *program.effects)))


def of_executable(executable: Compiled, title: str = "kernels") -> View:
    """The program after all passes with its kernels; of an executable in parts (segments, stages) each part in a scope of its own."""
    for many, word in (("segments", "segment"), ("parts", "stage")):
        parts: Sequence[Part] = getattr(executable, many, ())
        if parts:
            views = [_inside(of_executable(part.executable, title), f"{word}_{number}") for number, part in enumerate(parts)]
            return View(title, tuple(item for view in views for item in view.items), tuple(name for view in views for name in view.results))
    return of_program(executable.program, title, dict(_kernels(executable)))


def _kernels(executable: Any) -> Iterator[tuple[Node, Kernel]]:
    """Each step of the plan with its kernel: the one at its place, or on a GPU the launch that lists the step."""
    for number, kernel in enumerate(executable.kernels):
        for step in getattr(kernel, "steps", (number,)):
            yield executable.plan.steps[step], kernel


def _inside(view: View, scope: str) -> View:
    """`view` with all names in `scope`."""
    def moved(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{scope}/{name}" for name in names)

    items = [replace(item, name=f"{scope}/{item.name}", inputs=moved(item.inputs), after=moved(item.after),
                     outputs=tuple(replace(value, name=f"{scope}/{value.name}") for value in item.outputs)) for item in view.items]
    return View(view.title, tuple(items), moved(view.results))


class _Names:
    """Gives each item a name of its own, in the characters that a path of TensorFlow's may have."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def unique(self, name: str) -> str:
        name = _NO_NAME.sub("_", name).strip("_/") or "node"
        while name in self._taken:
            self._taken[name] += 1
            name = f"{name}_{self._taken[name]}"
        self._taken[name] = 0
        return name


def _name(node: Node, origins: Sequence[Origin], kernel: Kernel | None) -> str:
    """A feed's and a variable's own name; else the kind or the kernel's name, in the scope that its operations share."""
    if node.name == "parameter":
        return source_of(str(node.attrs.name)) or str(node.attrs.name)
    if node.name in ("variable_read", "variable_assign"):
        return str(node.attrs.variable) + ("" if node.name == "variable_read" else "/assign")
    own = _kind(node) if kernel is None else kernel.name
    whole = len(origins) == 1 and kernel is None
    paths = [origin.operation if whole else origin.operation.rpartition("/")[0] for origin in origins]
    return "/".join(part for part in (_shared(paths), own) if part)


def _shared(paths: Sequence[str]) -> str:
    """The longest path that all `paths` begin with."""
    shared: list[str] = []
    for parts in zip(*(path.split("/") for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _kind(node: Node) -> str:
    return str(node.attrs.kind) if node.name == "fusion" else node.name


def _attrs(node: Node, origins: Sequence[Origin], kernel: Kernel | None) -> dict[str, Any]:
    found = {each.name: getattr(node.attrs, each.name) for each in fields(node.attrs) if each.name not in ("body", "kind")}
    if origins:
        found["operations"] = tuple(dict.fromkeys(origin.operation for origin in origins))
    if kernel is not None:
        found |= {"kernel": kernel.name, "flops": kernel.flops, "bytes": kernel.bytes}
    return found


def _lines(origins: Sequence[Origin]) -> str:
    return ", ".join(dict.fromkeys(origin.source for origin in origins if origin.source))
