"""The compiled form: interned nodes and Programs made of them. Stands between `specialise`, which makes Programs, and the passes.

Nodes are frozen and interned: two nodes with the same primitive, operands and attributes are one object, so equality is `is` and common
subexpressions vanish while they are built. A node never knows who uses it; a Program lists its nodes in an order that is also the
schedule, and carries where each came from.
"""
from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.primitive import Primitive
from graphc.core.types import Dims, TensorType


class Node:
    """One interned value: `primitive(operands) {attrs}`. Make nodes with `make` or the functions of `graphc.primitives`."""

    __slots__ = ("__weakref__", "attrs", "operands", "primitive", "types")

    primitive: Primitive
    operands: tuple[Node, ...]
    attrs: Any
    types: tuple[TensorType, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name

    @property
    def type(self) -> TensorType:
        """The type of the only output; ValueError for a node with several (use `types`)."""
        if len(self.types) != 1:
            raise ValueError(f"{self.name} has {len(self.types)} outputs: pick one with get_tuple_element")
        return self.types[0]

    @property
    def is_tuple(self) -> bool:
        return len(self.types) != 1

    @property
    def signature(self) -> TensorType | tuple[TensorType, ...]:
        """What a user's `infer` is told of this node: its type, or the tuple of them where it has several outputs."""
        return self.types[0] if len(self.types) == 1 else self.types

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> Dims:
        return self.type.shape

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape where it is known; ValueError otherwise."""
        return self.type.dims

    def __repr__(self) -> str:
        types = ", ".join(map(str, self.types))
        return f"<{self.name}({', '.join(o.name for o in self.operands)}): {types}>"


class Literal:
    """An immutable numpy array that compares and hashes by dtype, shape and bits (so NaN equals itself and 0.0 differs from -0.0)."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: Any) -> None:
        copy = np.array(array, order="C")
        copy.flags.writeable = False
        self.array: np.ndarray[Any, Any] = copy
        self._hash = hash((copy.dtype.str, copy.dtype.name, copy.shape, copy.tobytes()))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (isinstance(other, Literal) and self._hash == other._hash and self.array.dtype == other.array.dtype
                and self.array.shape == other.array.shape and self.array.tobytes() == other.array.tobytes())

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Literal({self.array!r})"


_interned: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_lock = Lock()


def make(primitive: Primitive, operands: Sequence[Node], attrs: Any) -> Node:
    """The node `primitive(operands) {attrs}`, made or found. Raises what the primitive's `infer` raises."""
    operands = tuple(operands)
    key = (primitive, operands, attrs)
    found = _interned.get(key)
    if found is not None:
        return found
    if primitive.arity is not None and len(operands) != primitive.arity:
        raise TypeError(f"{primitive.name} takes {primitive.arity} operands, not {len(operands)}")
    types = primitive.infer(attrs, *(operand.signature for operand in operands))
    node = Node()
    node.primitive, node.operands, node.attrs = primitive, operands, attrs
    node.types = types if isinstance(types, tuple) else (types,)
    with _lock:
        return _interned.setdefault(key, node)


@dataclass(frozen=True)
class Origin:
    """Where a node comes from: an operation of the user's graph and the line that declared it ("train.py:12")."""

    operation: str
    type: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{self.operation} ({self.source})" if self.source else self.operation


Origins = Mapping[Node, tuple[Origin, ...]]


@dataclass(frozen=True)
class Program:
    """A pure function of its parameters and of the variables: what one `Session.run` computes.

    parameters: `parameter` nodes in call order (all, used or not). outputs: one node per fetch. effects: `variable_assign` nodes, one per
    written variable. nodes: everything that outputs and effects need, in a valid order, which is the schedule. Two Programs are equal when
    parameters, outputs and effects are the same nodes. operations: of the user's graph, in order, where the Program was just made of them.
    """

    parameters: tuple[Node, ...]
    outputs: tuple[Node, ...]
    effects: tuple[Node, ...] = ()
    nodes: tuple[Node, ...] = field(default=(), compare=False)
    origins: Origins = field(default_factory=dict, compare=False, repr=False)
    operations: tuple[Origin, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.nodes:
            object.__setattr__(self, "nodes", postorder((*self.parameters, *self.outputs, *self.effects)))

    def users(self) -> dict[Node, list[Node]]:
        """For every node the nodes that read it, in order, each once."""
        result: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for operand in dict.fromkeys(node.operands):
                result[operand].append(node)
        return result

    @property
    def variables(self) -> dict[str, TensorType]:
        """Every variable that is read or written, by name."""
        return {n.attrs.variable: n.type for n in self.nodes if n.name in ("variable_read", "variable_assign")}

    def rewritten(self, mapping: Mapping[Node, Node], order: Iterable[Node] | None = None) -> Program:
        """This Program with every node replaced as `mapping` says (nodes not in it stay). The origins of a replaced node go to the new
        nodes that replace it and have none of their own."""
        def new(node: Node) -> Node:
            return mapping.get(node, node)

        origins = dict(self.origins)
        for old, replacement in mapping.items():
            carried = self.origins.get(old)
            if carried and old is not replacement:
                inherit(replacement, carried, origins)
        return Program(self.parameters, tuple(map(new, self.outputs)), tuple(map(new, self.effects)),
                       () if order is None else tuple(order), origins)


def inherit(root: Node, carried: tuple[Origin, ...], origins: dict[Node, tuple[Origin, ...]]) -> None:
    """Gives `carried` to `root` and to the nodes below it that have no origin yet."""
    stack = [root]
    own = origins.get(root)
    if own:
        origins[root] = tuple(dict.fromkeys((*own, *carried)))
        return
    while stack:
        node = stack.pop()
        if node in origins:
            continue
        origins[node] = carried
        stack.extend(node.operands)


def postorder(roots: Iterable[Node], leaves: Collection[Node] = ()) -> tuple[Node, ...]:
    """Every node that `roots` need, operands before users; deterministic, without recursion. Does not look below `leaves`."""
    done: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready or node in leaves:
            done[node] = None
            continue
        stack.append((node, True))
        stack.extend((operand, False) for operand in reversed(node.operands) if operand not in done)
    return tuple(done)


def substitute(roots: Sequence[Node], mapping: Mapping[Node, Node], leaves: Collection[Node] = ()) -> dict[Node, Node]:
    """Every node that `roots` need, rebuilt with the keys of `mapping` replaced by their values: old node -> new node. Nothing
    below `leaves` is looked at."""
    new: dict[Node, Node] = {}
    for node in postorder(roots, leaves):
        if node in mapping or node in leaves:
            new[node] = mapping.get(node, node)
        elif all(new[operand] is operand for operand in node.operands):
            new[node] = node
        else:
            new[node] = make(node.primitive, [new[operand] for operand in node.operands], node.attrs)
    return new
