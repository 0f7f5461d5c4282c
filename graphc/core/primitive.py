"""What a primitive is: one declaration that says everything the compiler needs to know of it, and the registry of all of them.

Every field is required; a test fails where one is empty. The declarations themselves stand in `graphc/primitives/`, one file per family.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphc.core.loops import LoopForm
from graphc.core.types import TensorType

if TYPE_CHECKING:
    from graphc.core.program import Node

Infer = Callable[..., TensorType | tuple[TensorType, ...]]
Reference = Callable[..., Any]
Vjp = Callable[..., "Sequence[Node | None]"]


@dataclass(frozen=True)
class NoAttrs:
    """The attributes of a primitive that has none."""


@dataclass(frozen=True)
class NotDifferentiable:
    """Stands where a gradient rule would: no gradient flows, because of `why`."""

    why: str


@dataclass(frozen=True, eq=False)
class Primitive:
    """One primitive operation.

    name: StableHLO's name. attrs: a frozen dataclass. arity: number of operands, None for any number.
    infer(attrs, *operand_types) -> type: the shape and dtype rule; unknown dims in give unknown dims out; ValueError or TypeError
    with the rule and the values where operands break it. reference(attrs, *arrays) -> array: numpy, written to be read.
    vjp(node, cotangent) -> one cotangent (or None) per operand, written in primitives; a node with several outputs gets one cotangent
    or None per output. holomorphic: whether that rule, as it is written for real numbers, holds for complex ones: `differentiate` then
    conjugates around it; else the rule itself gives TF1's gradient. loop: what `codegen` makes of it. doc: one line.
    """

    name: str
    attrs: type[Any]
    arity: int | None
    infer: Infer
    reference: Reference
    vjp: Vjp | NotDifferentiable
    loop: LoopForm
    doc: str
    holomorphic: bool = True

    def __repr__(self) -> str:
        return self.name


PRIMITIVES: dict[str, Primitive] = {}


def declare(primitive: Primitive) -> Primitive:
    """Adds a declaration to the registry; ValueError where the name is taken."""
    if primitive.name in PRIMITIVES:
        raise ValueError(f"primitive {primitive.name!r} is declared twice")
    PRIMITIVES[primitive.name] = primitive
    return primitive


def lookup(name: str) -> Primitive:
    """The primitive called `name`; KeyError that names the nearest ones otherwise."""
    try:
        return PRIMITIVES[name]
    except KeyError:
        raise KeyError(f"no primitive is called {name!r}; known: {', '.join(sorted(PRIMITIVES))}") from None
