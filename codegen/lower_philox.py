"""Random bits as kernel IR: `random_word(counter, key, position)`, a pure function of three int64s that gives a uint32.

counter: the number of the run; key: two 32-bit words, the first one low; position: row-major, in the tensor of random bits. The word is
that of `philox_4x32` in `graphc.primitives.numerics`: word `position & 3` of block `position >> 2`.
"""
from __future__ import annotations

from graphc.codegen import ir
from graphc.core import dtypes


def random_word(counter: ir.Expr, key: tuple[int, int], position: ir.Expr) -> ir.Expr:
    """The word at `position` (int64) of the tensor that `counter` (int64) and `key` give."""
    packed = key[0] | key[1] << 32
    signed = packed - (1 << 64) if packed >> 63 else packed
    return ir.Apply("random_word", (counter, ir.index(signed), position), dtypes.uint32)
