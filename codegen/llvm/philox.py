"""Philox4x32-10 as LLVM text: the words of whole blocks, in vectors of one block a lane.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3. One round multiplies two counter
words by constants, mixes the high halves of the products with the other words and the round key, and swaps; the key grows by Weyl
constants. The 32-bit words live in 64-bit lanes, whose products are whole; what is above their 32 bits means nothing, and is cut off
where it would count.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.types import splat_element
from graphc.codegen.llvm.vec import constant, vector

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFFFFFF


class Philox:
    """Prints the generator of one run, for vectors of `lanes` blocks.

    `counter`: the run's number, an i64 register or a decimal; `key`: both words, the first one low.
    """

    def __init__(self, e: Emitter, lanes: int, counter: str, key: int) -> None:
        self.e = e
        self.lanes = lanes
        self.type = vector("i64", lanes)
        self.counter = splat_element(e, counter, "i64", lanes) if counter.startswith("%") else constant(counter, "i64", lanes)
        self.key = (key & _LOW, key >> 32 & _LOW)

    def word(self, position: str) -> str:
        """The i32 word at each lane's own position (an i64): of each block one word is used."""
        words = self._words(self._op("lshr", position, 2))
        which = self._op("and", position, 3)
        chosen = words[3]
        for number in (2, 1, 0):
            here = self.e.let(f"icmp eq {self.type} {which}, {constant(str(number), 'i64', self.lanes)}")
            chosen = self.e.let(f"select {vector('i1', self.lanes)} {here}, {self.type} {words[number]}, {self.type} {chosen}")
        return self._cut(chosen)

    def consecutive(self, first: str, lanes: int) -> list[str]:
        """The words at positions 4 `first` on, four for each of this vector's blocks, as vectors of `lanes` i32."""
        numbers = f"<{', '.join(f'i64 {lane}' for lane in range(self.lanes))}>" if self.lanes > 1 else "0"
        base = splat_element(self.e, first, "i64", self.lanes) if first.startswith("%") else constant(first, "i64", self.lanes)
        words = [self._cut(word) for word in self._words(self.e.let(f"add {self.type} {base}, {numbers}"))]
        return self._interleaved(words, lanes)

    def _interleaved(self, words: Sequence[str], lanes: int) -> list[str]:
        """Word w of block b at place 4 b + w."""
        blocks = self.lanes
        if blocks == 1:
            words = [self.e.let(f"insertelement <1 x i32> poison, i32 {word}, i64 0") for word in words]
        pairs = [lane // 2 + blocks * (lane % 2) for lane in range(2 * blocks)]
        low, high = (self._shuffle(words[w], words[w + 1], blocks, pairs) for w in (0, 2))
        places = [place // 4 * 2 + place % 2 + (2 * blocks if place & 2 else 0) for place in range(4 * blocks)]
        return [self._shuffle(low, high, 2 * blocks, places[start : start + lanes]) for start in range(0, 4 * blocks, lanes)]

    def _shuffle(self, a: str, b: str, lanes: int, order: Sequence[int]) -> str:
        mask = f"<{len(order)} x i32> <{', '.join(f'i32 {place}' for place in order)}>"
        return self.e.let(f"shufflevector <{lanes} x i32> {a}, <{lanes} x i32> {b}, {mask}")

    def _words(self, block: str) -> list[str]:
        words = [block, self._op("lshr", block, 32), self.counter, self._op("lshr", self.counter, 32)]
        for step in range(_ROUNDS):
            key0, key1 = ((key + step * weyl) & _LOW for key, weyl in zip(self.key, _WEYL, strict=True))
            product0, product1 = (self._product(words[w], factor) for w, factor in zip((0, 2), _MULTIPLIERS, strict=True))
            words = [self._mixed(product1, words[1], key0), product1, self._mixed(product0, words[3], key1), product0]
        return words

    def _product(self, word: str, factor: int) -> str:
        return self._op("mul", self._op("and", word, _LOW), factor)

    def _mixed(self, product: str, word: str, key: int) -> str:
        mixed = self.e.let(f"xor {self.type} {self._op('lshr', product, 32)}, {word}")
        return self._op("xor", mixed, key)

    def _op(self, op: str, x: str, number: int) -> str:
        return self.e.let(f"{op} {self.type} {x}, {constant(str(number), 'i64', self.lanes)}")

    def _cut(self, word: str) -> str:
        return self.e.let(f"trunc {self.type} {word} to {vector('i32', self.lanes)}")
