"""Strips: neighbouring elements that one thread moves in one access of up to 16 bytes. Shared by a product's sides and its epilogue.

A strip is a few consecutive values of one variable. The text works on a strip in a loop over its parts that the compiler unrolls; the
accesses that can move a whole strip stand before that loop (loads) and after it (stores).
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.cuda.facts import of_parts
from graphc.codegen.cuda.scalars import Scalars, indented
from graphc.codegen.cuda.types import is_half, memory_type, register_type
from graphc.codegen.gpu import VECTOR_BYTES
from graphc.codegen.rewrite import OnExpr, map_expr, variables

_WIDTHS = (8, 4, 2)
Access = ir.Load | ir.Store


def contiguous(scalars: Scalars, accesses: Iterable[Access], var: ir.Var, extent: int) -> int:
    """How many of the accesses touch neighbouring elements for neighbouring values of `var`. `scalars` knows the other variables."""
    if extent == 1:
        return 0
    inner = scalars.inner()
    inner.bind(var, "", of_parts(extent, 1))
    return sum(_follows(inner, access, 1) for access in accesses)


def widest(scalars: Scalars, loads: Sequence[ir.Load], var: ir.Var, extent: int, most: int) -> tuple[int, tuple[ir.Load, ...]]:
    """The length of strips along `var`, at most `most`, at which most loads can move one at once (the longest such), and these loads.
    (1, ()): none can."""
    best: tuple[int, tuple[ir.Load, ...]] = (1, ())
    for width in _WIDTHS:
        if width <= most and extent % width == 0:
            moved = tuple(load for load in whole(scalars, loads, var, extent, width) if isinstance(load, ir.Load))
            best = max(best, (width, moved), key=lambda each: len(each[1]))
    return best


def whole(scalars: Scalars, accesses: Iterable[Access], var: ir.Var, extent: int, width: int) -> list[Access]:
    """Those of the accesses that can move strips of `width` along `var` at once."""
    inner = scalars.inner()
    inner.parts = width
    inner.bind(var, "", of_parts(extent, width))
    return [access for access in dict.fromkeys(accesses)
            if width * access.buffer.dtype.size <= VECTOR_BYTES and _follows(inner, access, width)]  # fmt: skip


def _follows(scalars: Scalars, access: Access, width: int) -> bool:
    """Whether the parts of a strip are neighbours from a multiple of `width` on, and all or none of them are to be moved."""
    guards = () if access.where is None else (access.where,)
    if not all(name in scalars.env for expr in (*access.index, *guards) for name in variables(expr)):
        return False
    fact = scalars.offset(access.buffer, access.index).fact
    return fact.step == 1 and fact.multiple % width == 0 and all(scalars.fact(guard).step == 0 for guard in guards)


@dataclass(frozen=True)
class Held:
    """A load that is made ahead: its C type, the expression that makes it, and what each part of a strip reads then."""

    load: ir.Load
    name: str
    ctype: str
    text: str
    element: str

    @property
    def line(self) -> str:
        return f"const {self.ctype} {self.name} = {self.text};"


def hold_strip(scalars: Scalars, load: ir.Load, width: int) -> Held:
    """A whole strip, from the place that the names in `scalars` have at its first part."""
    name, ctype = scalars.names.fresh(f"{load.buffer.name}_strip"), f"Pack<{memory_type(load.dtype)}, {width}>"
    text = f"load<{width}>({scalars.address(load.buffer, load.index)})"
    if load.where is not None:
        text = f"({scalars.text(load.where)}) ? {text} : {ctype}{{}}"
    return Held(load, name, ctype, text, f"float({name}[part])" if is_half(load.dtype) else f"{name}[part]")


def hold_element(scalars: Scalars, load: ir.Load) -> Held:
    """One element, the same for all parts."""
    name = scalars.names.fresh(f"{load.buffer.name}_element")
    return Held(load, name, register_type(load.dtype), scalars.text(load), name)


def use(scalars: Scalars, held: Iterable[Held]) -> OnExpr:
    """The function rewrites expressions so that they read what is held; `scalars` knows the names that it uses."""
    parts: dict[ir.Expr, ir.Expr] = {}
    for each in held:
        part = ir.Var(each.name, each.load.dtype)
        scalars.bind(part, each.element)
        parts[each.load] = part
    return lambda expr: map_expr(expr, lambda inner: parts.get(inner, inner))


def block(head: str, body: Sequence[str]) -> list[str]:
    """`head { body }`; an empty head makes a scope."""
    return [f"{head} {{" if head else "{", *indented(body), "}"]


def unrolled(var: str, count: int, body: list[str]) -> list[str]:
    """A loop that the compiler unrolls; only a scope where it runs once."""
    if count > 1:
        return ["#pragma unroll", *block(f"for (int {var} = 0; {var} < {count}; {var}++)", body)]
    used = any(re.search(rf"\b{var}\b", line) for line in body)
    return block("", [*([f"constexpr int {var} = 0;"] if used else []), *body])


@dataclass(frozen=True)
class Share:
    """The rows (or columns) of a tile that belong to one thread: `count`, in groups of `group` neighbours; `threads` of them, of which this
    one is number `thread` in C."""

    count: int
    group: int
    threads: int
    thread: str

    @property
    def groups(self) -> int:
        return self.count // self.group

    def place(self, number: str) -> str:
        """C for the place in the tile of the thread's row `number`, an identifier, a product, or "0"."""
        start = self.thread if self.group == 1 else f"{self.thread} * {self.group}"
        if number == "0":
            return start
        if self.groups == 1:
            return start if self.group == 1 else f"{start} + {number}"
        apart = f"{number} * {self.threads}" if self.group == 1 else f"{number} / {self.group} * {self.threads * self.group}"
        return f"{apart} + {start}" + (f" + {number} % {self.group}" if self.group > 1 else "")
