"""What is known of a small integer node before anything runs: the values of shape operands.

`reshape(x, tf.stack([tf.shape(x)[0], -1]))` needs its second operand as numbers. When the graph is declared some may be unknown (None);
when the Program is made every shape is known, and what is still unknown depends on a fed or computed value: `static_dims` raises
`ValueNeeded`, the runtime finds the value out, and the Program is made again with what is `known`.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.loops import Map
from graphc.core.program import Node, postorder
from graphc.core.types import Dim

LIMIT = 4096  # elements; anything larger is data, not a shape
SPELLED = 64  # elements of a feed that may spell a shape


class ValueNeeded(Exception):
    """A shape operand is not known yet: that of `node`. parameters: the feeds that spell it, where it is not computed from more."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.parameters = _spelling(node)
        super().__init__(f"a shape depends on the value of {', '.join(self.parameters) or node}")


class UnknownRank(Exception):
    """Raised by an expansion while the graph is declared: even the rank of its outputs, of types `dtypes`, depends on a value."""

    def __init__(self, *dtypes: DType) -> None:
        super().__init__("the rank depends on a value")
        self.dtypes = dtypes


# What has been found out -----------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Knowledge:
    """values: of nodes, found by running them. asked: where nodes go whose value was wanted and is not known; None: that is an error."""

    values: Mapping[Node, np.ndarray[Any, Any]] = field(default_factory=dict)
    asked: list[Node] | None = None


_NOTHING = _Knowledge()
_knowledge: ContextVar[_Knowledge] = ContextVar("knowledge", default=_NOTHING)


@contextmanager
def known(values: Mapping[Node, np.ndarray[Any, Any]], asked: list[Node] | None = None) -> Iterator[None]:
    """Inside, `values` of nodes are known. With `asked` nothing raises ValueNeeded: what is unknown is a dim of None, as while a graph is
    declared, and the nodes whose values a run could tell are added to `asked`."""
    token = _knowledge.set(_Knowledge(values, asked))
    try:
        yield
    finally:
        _knowledge.reset(token)


# What follows from it --------------------------------------------------------------------------------------------------------------------

def partial_value(node: Node) -> np.ndarray[Any, Any] | None:
    """The value of `node` as an object array with None for each unknown element; None where even its shape is unknown or it is large.

    Arithmetic on known elements is done by the primitives' references; an operation with an unknown operand element gives unknowns,
    but moves (reshape, slice, concatenate, transpose, broadcast) keep what is known.
    """
    given = _knowledge.get().values
    found: dict[Node, np.ndarray[Any, Any] | None] = {}
    for each in postorder((node,), given.keys()):
        found[each] = given[each].astype(object) if each in given else _evaluate(each, [found[o] for o in each.operands])
    return found[node]


def _evaluate(node: Node, operands: list[np.ndarray[Any, Any] | None]) -> np.ndarray[Any, Any] | None:
    if node.is_tuple or not node.type.is_static or math.prod(node.dims) > LIMIT:
        return None
    unknown = np.full(node.dims, None, dtype=object)
    if node.name in ("parameter", "variable_read", "fusion", "random_bits"):
        return unknown
    arrays = [o for o in operands if o is not None]
    if len(arrays) != len(operands):
        return unknown
    if all(_is_known(a) for a in arrays):
        typed = [a.astype(o.dtype.np_dtype) for a, o in zip(arrays, node.operands, strict=True)]
        return np.asarray(node.primitive.reference(node.attrs, *typed)).astype(object)
    if node.name in _MOVES:
        return np.asarray(_move(node, arrays), dtype=object).reshape(node.dims)
    return _elementwise(node, arrays) if isinstance(node.primitive.loop, Map) else unknown


def _is_known(array: np.ndarray[Any, Any]) -> bool:
    return not any(value is None for value in array.flat)


_MOVES = ("reshape", "slice", "concatenate", "transpose", "broadcast_in_dim", "reverse")


def _move(node: Node, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Moves positions instead of values, so that it works for unknown elements too."""
    pool = np.concatenate([a.reshape(-1) for a in arrays]) if arrays else np.empty(0, object)
    positions, start = [], 0
    for a in arrays:
        positions.append(np.arange(start, start + a.size, dtype=np.int64).reshape(a.shape))
        start += a.size
    return pool[np.asarray(node.primitive.reference(node.attrs, *positions))]


def _elementwise(node: Node, arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Elements whose operands are all known are computed one by one; the others stay unknown."""
    result = np.full(node.dims, None, dtype=object)
    if any(a.shape != node.dims for a in arrays):
        return result
    reference: Callable[..., Any] = node.primitive.reference
    for position in np.ndindex(node.dims):
        values = [a[position] for a in arrays]
        if all(v is not None for v in values):
            typed = [np.asarray(v, o.dtype.np_dtype) for v, o in zip(values, node.operands, strict=True)]
            result[position] = np.asarray(reference(node.attrs, *typed)).item()
    return result


def static_dims(node: Node) -> tuple[Dim, ...] | None:
    """The elements of a rank-1 (or scalar) integer node as dims, None for each unknown one; None where its length is unknown.

    Raises ValueNeeded when the Program is being made (`concrete`) and an element depends on a fed or computed value.
    """
    value = partial_value(node)
    if value is None:
        return None
    dims = tuple(None if v is None else int(v) for v in value.reshape(-1))
    if None in dims:
        _ask(node)
    return dims


def _ask(node: Node) -> None:
    """Raises ValueNeeded where a run will know `node`; or adds it to what is asked, where that run needs to know nothing else before."""
    asked = _knowledge.get().asked
    leaves = [each for each in postorder((node,)) if each.name in ("parameter", "variable_read")]
    if asked is None and not all(map(is_abstract, leaves)):
        raise ValueNeeded(node)
    if asked is not None and leaves and is_computable(node):
        asked.append(node)


def is_abstract(node: Node) -> bool:
    """Whether `node` is a parameter that stands for something unknown (see `opdef.abstract`)."""
    return node.name == "parameter" and str(node.attrs.name).startswith("?")


def is_for_a_run(node: Node) -> bool:
    """Whether `node` rests on something that only a run knows. Soon says so: it need not look at all below."""
    given = _knowledge.get().values
    seen: set[Node] = set()
    stack = [node]
    while stack:
        each = stack.pop()
        if each.name in ("parameter", "variable_read"):
            return True
        if each not in seen and each not in given:
            seen.add(each)
            stack.extend(each.operands)
    return False


def is_computable(*nodes: Node) -> bool:
    """Whether a Program can compute `nodes`: they rest on nothing abstract, and all shapes are known."""
    return not any(is_abstract(each) or not all(type_.is_static for type_ in each.types) for each in postorder(nodes))


def _spelling(node: Node) -> tuple[str, ...]:
    """The small feeds whose elements `node` consists of, moved and with arithmetic on them, as in `[n, 2 * m]`; () where there is more
    to its value, such as a sum over a feed: then many feeds give one value."""
    below = postorder((node,))
    feeds = [each for each in below if each.name == "parameter"]
    others = [each for each in below if each.name not in ("parameter", "constant", "iota", *_MOVES)]
    spelled = (all(isinstance(each.primitive.loop, Map) for each in others)
               and all(len(each.dims) <= 1 and math.prod(each.dims) <= SPELLED for each in feeds))
    return tuple(each.attrs.name for each in feeds) if spelled else ()
