"""Strips: neighbouring elements that one thread moves in one access of up to 16 bytes. Shared by a product's sides and its epilogue.

A strip is a few consecutive values of one variable. The text works on a strip in a loop over its parts that the compiler unrolls; the
accesses that can move a whole strip stand before that loop (loads) and after it (stores).
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from graphc.codegen import ir
from graphc.codegen.cuda.facts import of_parts
from graphc.codegen.cuda.scalars import Scalars, indented
from graphc.codegen.cuda.types import is_half, memory_type
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


def load_strips(scalars: Scalars, loads: Iterable[ir.Load], width: int) -> tuple[list[str], OnExpr]:
    """Loads each strip into a pack. The function rewrites expressions so that they take these elements from part `part` of the packs."""
    lines: list[str] = []
    held: dict[ir.Expr, ir.Expr] = {}
    for load in loads:
        name = scalars.names.fresh(f"{load.buffer.name}_strip")
        moved = f"load<{width}>({scalars.address(load.buffer, load.index)})"
        if load.where is None:
            lines.append(f"const auto {name} = {moved};")
        else:
            lines.append(f"Pack<{memory_type(load.dtype)}, {width}> {name} = {{}};")
            lines.append(f"if ({scalars.text(load.where)}) {name} = {moved};")
        part = ir.Var(name, load.dtype)
        scalars.bind(part, f"float({name}[part])" if is_half(load.dtype) else f"{name}[part]")
        held[load] = part
    return lines, lambda expr: map_expr(expr, lambda each: held.get(each, each))


def block(head: str, body: Sequence[str]) -> list[str]:
    """`head { body }`; an empty head makes a scope."""
    return [f"{head} {{" if head else "{", *indented(body), "}"]


def unrolled(var: str, count: int, body: list[str]) -> list[str]:
    """A loop that the compiler unrolls; only a scope where it runs once."""
    if count > 1:
        return ["#pragma unroll", *block(f"for (int {var} = 0; {var} < {count}; {var}++)", body)]
    used = any(re.search(rf"\b{var}\b", line) for line in body)
    return block("", [*([f"constexpr int {var} = 0;"] if used else []), *body])
