"""Calls of the C library, one per lane: for functions, or rare arguments, that are not worth inline code.

The symbols resolve from the running process (libm is always loaded with Python).
"""
from __future__ import annotations

from graphc.codegen.llvm.vec import Vec


def per_lane(v: Vec, function: str, *args: str) -> str:
    """`function` ("sin"; its float form is "sinf") of each lane of `args`. Not inlined: about 5 ns a lane."""
    scalar = v.element
    symbol = f"@{function}{'f' if scalar == 'float' else ''}"
    v.e.declare(f"{scalar} {symbol}({', '.join([scalar] * len(args))})")
    if v.lanes == 1:
        return v.e.let(f"call {scalar} {symbol}({', '.join(f'{scalar} {a}' for a in args)})")
    result = "poison"
    for lane in range(v.lanes):
        elements = [v.e.let(f"extractelement {v.float_type} {a}, i64 {lane}") for a in args]
        value = v.e.let(f"call {scalar} {symbol}({', '.join(f'{scalar} {x}' for x in elements)})")
        result = v.e.let(f"insertelement {v.float_type} {result}, {scalar} {value}, i64 {lane}")
    return result
