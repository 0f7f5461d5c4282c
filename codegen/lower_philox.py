"""Philox4x32-10 as kernel IR: the random word at a position of a tensor, as a pure function of (run counter, key, position).

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3. One round multiplies two counter
words by constants, mixes the high halves of the products with the other words and the round key, and swaps; the key grows by Weyl
constants. The 32-bit words are kept in 64-bit ones, whose products are whole and which need no conversion between rounds.
"""
from __future__ import annotations

from collections.abc import Callable

from graphc.codegen import ir
from graphc.core import dtypes

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = 0xFFFFFFFF

Words = tuple[ir.Expr, ir.Expr, ir.Expr, ir.Expr]
Let = Callable[[ir.Expr, str], ir.Expr]


def random_word(let: Let, counter: ir.Expr, key: tuple[int, int], position: ir.Expr) -> ir.Expr:
    """Word `position & 3` of block `position >> 2` (uint32). counter: uint64, the number of the run; position: int64. `let` names steps."""
    place = let(ir.Apply("convert", (position,), dtypes.uint64), "place")
    block = let(_u64_op("shift_right_logical", place, 2), "block")
    words: Words = (_low(let, block), _high(let, block), _low(let, counter), _high(let, counter))
    for step in range(ROUNDS):
        words = _round(let, words, (key[0] + step * WEYL[0]) & LOW, (key[1] + step * WEYL[1]) & LOW)
    which = let(_u64_op("and", place, 3), "which")
    chosen = words[3]
    for number in (2, 1, 0):
        here = ir.Apply("eq", (which, ir.Const(number, dtypes.uint64)), dtypes.bool)
        chosen = ir.Apply("select", (here, words[number], chosen), dtypes.uint64)
    return let(ir.Apply("convert", (chosen,), dtypes.uint32), "bits")


def _round(let: Let, words: Words, key0: int, key1: int) -> Words:
    c0, c1, c2, c3 = words
    product0 = let(_u64_op("multiply", c0, MULTIPLIERS[0]), "product")
    product1 = let(_u64_op("multiply", c2, MULTIPLIERS[1]), "product")
    return (_mixed(let, _high(let, product1), c1, key0), _low(let, product1),
            _mixed(let, _high(let, product0), c3, key1), _low(let, product0))


def _low(let: Let, value: ir.Expr) -> ir.Expr:
    return let(_u64_op("and", value, LOW), "low")


def _high(let: Let, value: ir.Expr) -> ir.Expr:
    return let(_u64_op("shift_right_logical", value, 32), "high")


def _mixed(let: Let, high: ir.Expr, word: ir.Expr, key: int) -> ir.Expr:
    return let(_u64_op("xor", ir.Apply("xor", (high, word), dtypes.uint64), key), "word")


def _u64_op(op: str, x: ir.Expr, constant: int) -> ir.Expr:
    return ir.Apply(op, (x, ir.Const(constant, dtypes.uint64)), dtypes.uint64)
