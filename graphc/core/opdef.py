"""What an operation type of the user's graph is: its expansion into primitives, its types, its gradient, and the registry of all of them.

A composite is an ordinary function over nodes, whose keyword-only parameters are the operation's attributes:

    @composite("Relu")
    def _relu(features: Node) -> Node:
        return maximum_scalar(features, 0)

Declared when the graph is built (for the shape rule, with unknown dims) and again when the Program is made (with all dims known).
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Protocol

import numpy as np

from graphc.core import dtypes
from graphc.core.differentiate import conjugated, vjp
from graphc.core.dtypes import DType
from graphc.core.masks import guarded_composite, masked_like
from graphc.core.names import nearest
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, make, substitute
from graphc.core.static import UnknownRank
from graphc.core.types import Dim, Dims, TensorType

Attrs = Mapping[str, Any]
Expand = Callable[..., Node | Sequence[Node]]
# (types of the inputs, attributes) -> types of the outputs; a shape of None is an unknown rank
InferTypes = Callable[[Sequence["GraphType"], Attrs], Sequence["GraphType"]]
GraphType = tuple[Any, Dims | None]  # (DType, shape or None for unknown rank)
MAX_GUESSED_RANK = 6  # one more than the largest: pictures with depth, batch and channels have five axes


class State(Protocol):
    """What a stateful expansion may do besides computing: read and write variables by name, as the specialiser threads them."""

    @property
    def name(self) -> str:
        """Of the operation being expanded."""

    @property
    def variable(self) -> str:
        """The variable behind the operation's first input."""

    @property
    def variables(self) -> tuple[str, ...]:
        """For each input the name of the operation that gives it: for a variable, its name."""

    def read(self, variable: str) -> Node: ...
    def write(self, variable: str, value: Node) -> None: ...
    def counter(self) -> Node: ...

    def is_initialised(self) -> Node:
        """Whether the variable behind the first input has a value at this point: a bool scalar."""

    def call(self, function: Callable[..., Any], inputs: Sequence[Node], types: Sequence[DType]) -> Sequence[Node]:
        """What Python's `function` gives for the values of `inputs`: an array of each of `types`, of any shape."""


@dataclass(frozen=True, eq=False)
class OpDef:
    """One operation type.

    type: TF1's name. expand: the function over nodes; a stateful one takes a `State` first. infer_types: given only where the expansion
    cannot tell the types (sources, stateful operations). gradient: a function over nodes (inputs..., outputs..., output cotangents...,
    **attrs) -> one node or None per input, better than the derived one (where inputs are complex, that of a holomorphic function, as it is
    written for real ones: see `differentiate.conjugated`); None derives it from the expansion; False: not differentiable.
    attrs: the names of the attributes, with defaults where they have one. watches: whether it only looks at what a run does anyway: its
    control inputs run where nothing else is asked for.
    """

    type: str
    expand: Expand
    stateful: bool = False
    infer_types: InferTypes | None = None
    gradient: Callable[..., Sequence[Node | None]] | bool | None = None
    attrs: Mapping[str, Any] | None = None
    watches: bool = False

    def nodes(self, inputs: Sequence[Node], attrs: Attrs, state: State | None = None) -> tuple[Node, ...]:
        """The expansion on `inputs`: one node per output."""
        result = self.expand(state, *inputs, **attrs) if self.stateful else self.expand(*inputs, **attrs)
        return (result,) if isinstance(result, Node) else tuple(result)

    def checked(self, attrs: Attrs) -> dict[str, Any]:
        """`attrs` with defaults filled in; TypeError for a missing or unknown one."""
        declared = self.attrs or {}
        unknown = [name for name in attrs if name not in declared]
        missing = [name for name, default in declared.items() if default is inspect.Parameter.empty and name not in attrs]
        if unknown or missing:
            problem = f"unknown attribute {unknown[0]!r}" if unknown else f"missing attribute {missing[0]!r}"
            hint = nearest(unknown[0], declared) if unknown else ""
            raise TypeError(f"{self.type}: {problem}; it has {', '.join(declared) or 'none'}{hint}")
        return {**declared, **attrs}

    def infer(self, inputs: Sequence[Node | GraphType], attrs: Attrs) -> tuple[tuple[GraphType, ...], tuple[Node, ...] | None]:
        """Types of the outputs, and the abstract nodes where every input's rank is known.

        An input is a node (a constant, or what is known of a small shape computation) or a type (see `abstract`).
        """
        if self.infer_types is not None:
            return tuple(self.infer_types([_type_of(i) for i in inputs], attrs)), None
        unranked = [n for n, i in enumerate(inputs) if not isinstance(i, Node) and i[1] is None]
        if unranked:
            return self._infer_unranked(inputs, unranked, attrs), None
        try:
            nodes = self.nodes([abstract(i, n) for n, i in enumerate(inputs)], attrs, _Declared() if self.stateful else None)
        except UnknownRank as unknown:
            return tuple((dtype, None) for dtype in unknown.dtypes), None
        return tuple((n.type.dtype, n.type.shape) for n in nodes), nodes

    def _infer_unranked(self, inputs: Sequence[Node | GraphType], unranked: Sequence[int], attrs: Attrs) -> tuple[GraphType, ...]:
        """Tries stand-in ranks for the inputs of unknown rank: what all that succeed agree on is known, the rest is not."""
        found: list[list[TensorType]] = []
        problem: Exception | None = None
        for ranks in product(range(MAX_GUESSED_RANK), repeat=min(len(unranked), 2)):
            rank_of = {n: ranks[min(k, len(ranks) - 1)] for k, n in enumerate(unranked)}
            stand_ins = [(_type_of(i)[0], (None,) * rank_of[n]) if n in rank_of else i for n, i in enumerate(inputs)]
            try:
                nodes = self.nodes([abstract(i, n) for n, i in enumerate(stand_ins)], attrs, _Declared() if self.stateful else None)
                found.append([n.type for n in nodes])
            except UnknownRank as unknown:
                return tuple((dtype, None) for dtype in unknown.dtypes)
            except (ValueError, TypeError) as error:
                problem = error
        if not found and problem is not None:
            raise problem
        outputs = zip(*found, strict=True)
        return tuple((types[0].dtype, _agreed([t.shape for t in types])) for types in outputs)


def _agreed(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...] | None:
    """What is true of all `shapes`: None where they differ in rank, and for each dim that they differ in."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    return tuple(dims[0] if len(set(dims)) == 1 else None for dims in zip(*shapes, strict=True))


class _Declared:
    """The `State` while the graph is declared: nothing can be read yet but the number of the run, which is unknown."""

    name = variable = "?"
    variables: tuple[str, ...] = ()

    def read(self, variable: str) -> Node:
        raise TypeError("an operation that reads variables needs `infer_types`")

    def write(self, variable: str, value: Node) -> None:
        self.read(variable)

    def counter(self) -> Node:
        return abstract((dtypes.uint64, ()), -1)

    def is_initialised(self) -> Node:
        return self.read(self.variable)

    def call(self, function: Callable[..., Any], inputs: Sequence[Node], types: Sequence[DType]) -> Sequence[Node]:
        raise UnknownRank(*types)


def _type_of(value: Node | GraphType) -> GraphType:
    return (value.type.dtype, value.type.shape) if isinstance(value, Node) else value


def abstract(value: Node | GraphType, position: int) -> Node:
    """A node that stands for an input of which only the type is known (its name starts with "?": no value can be asked for)."""
    if isinstance(value, Node):
        return value
    dtype, shape = value
    if shape is None:
        raise ValueError("the rank of an input is unknown")
    parameter = lookup("parameter")
    return make(parameter, (), parameter.attrs(name=f"?{position}", type=TensorType(dtype, shape)))


OPDEFS: dict[str, OpDef] = {}
DERIVED: dict[str, Callable[[OpDef], OpDef]] = {}  # prefix of a type's name -> what makes it from the type that follows


def register(definition: OpDef) -> OpDef:
    """Adds an operation type; ValueError where it exists."""
    if definition.type in OPDEFS:
        raise ValueError(f"operation type {definition.type!r} is declared twice")
    OPDEFS[definition.type] = definition
    return definition


def composite(type_name: str, *, stateful: bool = False, infer_types: InferTypes | None = None,
              gradient: Callable[..., Sequence[Node | None]] | bool | None = None) -> Callable[[Expand], OpDef]:
    """Declares the decorated function as the expansion of operation type `type_name`; gives the OpDef in its place."""
    def declare(function: Expand) -> OpDef:
        keywords = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
        return register(OpDef(type_name, function, stateful, infer_types, gradient, keywords))
    return declare


def definition_of(type_name: str) -> OpDef:
    """The OpDef of `type_name`, making that of "<Type>Grad" or another derived type on demand; KeyError where there is none."""
    if type_name not in OPDEFS:
        if type_name.endswith("Grad"):
            return gradient_of(definition_of(type_name.removesuffix("Grad")))
        for prefix, derive in DERIVED.items():
            if type_name.startswith(prefix):
                return derive(definition_of(type_name.removeprefix(prefix)))
    return OPDEFS[type_name]


def gradient_of(forward: OpDef) -> OpDef:
    """The operation type "<Type>Grad".

    Inputs: the forward operation's inputs, then one cotangent for each output listed in attribute `given` (the others are
    zero). Outputs: the gradients of the inputs listed in attribute `wanted`. The forward attributes follow under their own names.
    """
    name = f"{forward.type}Grad"
    if name in OPDEFS:
        return OPDEFS[name]
    of_given, of_wanted = gradient_attributes(forward)

    def expand(*nodes: Node, **attrs: Any) -> Sequence[Node]:
        given, wanted = attrs.pop(of_given), attrs.pop(of_wanted)
        count = len(nodes) - len(given)
        inputs, cotangents = nodes[:count], dict(zip(given, nodes[count:], strict=True))
        found = gradient_nodes(forward, inputs, cotangents, attrs)
        # What has a path for some shapes may have none for these: the product of no elements is 1.
        return [_zeros(inputs[position]) if (node := found[position]) is None else node for position in wanted]

    def infer_types(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
        return [inputs[position] for position in attrs[of_wanted]]

    empty = inspect.Parameter.empty
    attrs = {**(forward.attrs or {}), of_given: empty, of_wanted: empty}
    return register(OpDef(name, expand, infer_types=infer_types, attrs=attrs))


def _zeros(x: Node) -> Node:
    """Zeros like `x`."""
    constant, spread = lookup("constant"), lookup("broadcast_in_dim")
    zero = make(constant, (), constant.attrs(Literal(np.zeros((), x.dtype.np_dtype))))
    return make(spread, (zero,), spread.attrs(x.shape, ()))


def gradient_attributes(forward: OpDef) -> tuple[str, str]:
    """The names of the attributes `given` and `wanted` of forward's gradient: "given_2", "wanted_2" where forward is a gradient itself."""
    order = 1 + sum(name.startswith("given") for name in forward.attrs or {})
    suffix = "" if order == 1 else f"_{order}"
    return f"given{suffix}", f"wanted{suffix}"


def gradient_nodes(forward: OpDef, inputs: Sequence[Node], cotangents: Mapping[int, Node], attrs: Attrs) -> list[Node | None]:
    """One gradient node (or None: no path) per input of `forward`, from cotangents by output position."""
    if forward.stateful or forward.gradient is False:
        return [None] * len(inputs)
    if callable(forward.gradient):
        outputs = forward.nodes(inputs, attrs)
        gradient, flowing = partial(forward.gradient, *inputs, *outputs, **attrs), _in_order(cotangents, len(outputs))
        found = conjugated(gradient, flowing) if any(x.dtype.is_complex for x in inputs) else list(gradient(*flowing))
        return list(guarded_composite(inputs, outputs, found, flowing))
    distinct, actual = _stand_ins(inputs)
    outputs = forward.nodes(distinct, attrs)
    if actual and not all(t.is_static for output in outputs for t in output.types):  # a shape is made of values that stand-ins hide
        distinct, actual = list(inputs), {}
        outputs = forward.nodes(inputs, attrs)
    found = vjp(outputs, distinct, _in_order(cotangents, len(outputs)))
    if not actual:
        return found
    borders = {*distinct, *cotangents.values()}  # what lies below them may be a whole network
    replaced = substitute([node for node in found if node is not None], actual, borders)
    return [None if node is None else replaced[node] for node in found]


def _in_order(cotangents: Mapping[int, Node], count: int) -> list[Node | None]:
    return [cotangents.get(position) for position in range(count)]


def _stand_ins(inputs: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """`inputs` with stand-ins for the floating nodes that the expansion might build itself, and what the stand-ins stand for.

    Equal nodes are one object: where `ones` is an input, every one that the expansion spreads inside would count as a use of it. What the
    expansion builds comes from constants and other inputs, so a parameter is safe, and so is the only input unless it is made of constants.
    An input that occurs twice gets a stand-in too, so that each place gets its own share of the gradient.
    """
    distinct: list[Node] = []
    actual: dict[Node, Node] = {}
    for position, node in enumerate(inputs):
        safe = node.name in _LEAVES or (len(inputs) == 1 and not _is_constant(node))
        if node.dtype.is_inexact and (not safe or node in distinct):
            stand_in = masked_like(abstract((node.dtype, node.shape), -1 - position), node)
            actual[stand_in] = node
            distinct.append(stand_in)
        else:
            distinct.append(node)
    return distinct, actual


_LEAVES = frozenset(("parameter", "variable_read"))


def _is_constant(node: Node) -> bool:
    """Whether no parameter, variable or random number is below `node`."""
    stack, seen = [node], set[Node]()
    while stack:
        each = stack.pop()
        if each.name in _LEAVES:
            return False
        if each not in seen:
            seen.add(each)
            stack.extend(each.operands)
    return True
