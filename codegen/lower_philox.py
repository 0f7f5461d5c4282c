"""Philox4x32-10 as kernel IR: the random word at a position of a tensor, as a pure function of (run counter, key, position).

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3. One round multiplies two counter
words by constants, mixes the high halves of the products with the other words and the round key, and swaps; the key grows by Weyl
constants.
"""
from __future__ import annotations

from collections.abc import Callable

from graphc.codegen import ir
from graphc.core import dtypes

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 1 << 32

Words = tuple[ir.Expr, ir.Expr, ir.Expr, ir.Expr]
Let = Callable[[ir.Expr, str], ir.Expr]


def random_word(let: Let, counter: ir.Expr, key: tuple[int, int], position: ir.Expr) -> ir.Expr:
    """Word `position & 3` of block `position >> 2` (uint32). counter: uint64, the number of the run; position: int64. `let` names steps."""
    place = let(ir.Apply("convert", (position,), dtypes.uint64), "place")
    words: Words = (*_halves(let, _apply("shift_right_logical", place, _u64(2))), *_halves(let, counter))
    for step in range(ROUNDS):
        words = _round(let, words, (_u32(key[0] + step * WEYL[0]), _u32(key[1] + step * WEYL[1])))
    return _word(let, words, _apply("and", place, _u64(3)))


def _halves(let: Let, value: ir.Expr) -> tuple[ir.Expr, ir.Expr]:
    """The low and the high 32 bits of a uint64."""
    low = let(ir.Apply("convert", (value,), dtypes.uint32), "low")
    high = let(ir.Apply("convert", (_apply("shift_right_logical", value, _u64(32)),), dtypes.uint32), "high")
    return low, high


def _round(let: Let, words: Words, keys: tuple[ir.Expr, ir.Expr]) -> Words:
    c0, c1, c2, c3 = words
    low0, high0 = _halves(let, _product(let, c0, MULTIPLIERS[0]))
    low1, high1 = _halves(let, _product(let, c2, MULTIPLIERS[1]))
    return _mixed(let, high1, c1, keys[0]), low1, _mixed(let, high0, c3, keys[1]), low0


def _product(let: Let, word: ir.Expr, factor: int) -> ir.Expr:
    """The whole 64-bit product of two 32-bit words."""
    return let(_apply("multiply", ir.Apply("convert", (word,), dtypes.uint64), _u64(factor)), "product")


def _mixed(let: Let, high: ir.Expr, word: ir.Expr, key: ir.Expr) -> ir.Expr:
    return let(_apply("xor", _apply("xor", high, word), key), "word")


def _word(let: Let, words: Words, which: ir.Expr) -> ir.Expr:
    which = let(which, "which")
    chosen = words[3]
    for number in (2, 1, 0):
        here = ir.Apply("eq", (which, _u64(number)), dtypes.bool)
        chosen = ir.Apply("select", (here, words[number], chosen), dtypes.uint32)
    return let(chosen, "bits")


def _apply(op: str, x: ir.Expr, y: ir.Expr) -> ir.Expr:
    return ir.Apply(op, (x, y), x.dtype)


def _u32(value: int) -> ir.Const:
    return ir.Const(value % WORD, dtypes.uint32)


def _u64(value: int) -> ir.Const:
    return ir.Const(value, dtypes.uint64)
