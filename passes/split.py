"""Splits long reductions to few results in steps, so that several threads can share them: as a rewrite, visible in the program's dump.

    reduce_sum(x: f32[4194304])       ->  y = reduce_sum(reshape(x) : f32[512,8192], axis 1);     reduce_sum(y, axis 0)
    reduce_sum(x: f32[4096,1024])     ->  y = reduce_sum(x, axis 1);                              reduce_sum(y, axis 0)
    reduce_sum(x: f32[65536,128], 0)  ->  y = reduce_sum(reshape(x) : f32[256,256,128], axis 1);  reduce_sum(y, axis 0)

The pieces depend on the shape alone, never on the number of threads or multiprocessors, so results do not either. Where a length has no
fitting divisor, the last piece is filled up. Runs once, after `simplify`, whose rules would put the pieces together again. Walks along an
axis (running sums and the like) are cut by the rules of `split_scans`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from graphc.core.program import Node, Program
from graphc.passes.rewrite import Rewrite, Rule
from graphc.passes.rules_common import floats
from graphc.passes.rules_reduction import BUILD
from graphc.passes.split_scans import ScanSizes, scan_rules
from graphc.primitives import constant, pad, reshape

WIDTH = 128  # elements: columns fewer than this are taken several rows at a time, to fill vectors and warps
LANES = 32  # columns that one block of a GPU reduces side by side
ROWS = 8  # rows above so many must be that many times longer to be worth cutting: the others keep the machine busy
WALKS = ScanSizes()


@dataclass(frozen=True)
class Sizes:
    """What is cut, and into what: numbers for one kind of machine. The defaults are a CPU's."""

    long_row: int = 1 << 16  # elements per result: shorter rows stay whole
    few_rows: int = 8  # results: with more, threads share the rows
    piece: int = 1 << 13  # elements of a row per piece, at least
    long_columns: int = 1 << 18  # elements: fewer are reduced along columns by one thread before another wakes up
    few_columns: int = 512  # results: with more, threads share the columns
    long_column: int = 0  # elements per result, for ROWS * LANES columns: shorter columns stay whole
    steps: int = 256  # rows of a column per piece, at least
    pieces: int = 1 << 62  # of the whole reduction, about: pieces grow where there would be more
    scans: ScanSizes = WALKS  # for walks along an axis


CPU = Sizes()
# About 2 blocks for each of 132 multiprocessors are enough work for a GPU, 512 blocks are plenty. A block (of 1024 threads, or of 32
# columns) must have microseconds to do before one more launch, for the sums of pieces, is cheaper.
GPU = Sizes(long_row=1 << 15, few_rows=264, piece=1 << 12, few_columns=264 * 32, long_column=1 << 10, steps=64, pieces=512,
            scans=ScanSizes(few=1 << 14, long=64, piece=16, pieces=1 << 15))


def _split(node: Node, sizes: Sizes) -> Node | None:
    x = node.operands[0]
    reduced = set(node.attrs.axes)
    axes = [axis for axis, size in enumerate(x.dims) if size != 1]
    runs = [(is_reduced, tuple(run)) for is_reduced, run in groupby(axes, reduced.__contains__)]
    reductions = [run for is_reduced, run in runs if is_reduced]
    if not x.type.size or not reductions:
        return None
    if runs[-1][0] and len(reductions) == 1:
        return _split_rows(node, reductions[0], sizes)
    if node.type.size >= sizes.few_columns or x.type.size < sizes.long_columns:
        return None
    if len(reductions) > 1:
        return _one_after_another(node, reductions[-1])
    return _split_columns(node, reductions[0], sizes)


def _one_after_another(node: Node, axes: tuple[int, ...]) -> Node:
    """Reduces the axes `axes` first and the others then."""
    build, x = BUILD[node.name], node.operands[0]
    first = build(x, axes)
    others = [axis - sum(a < axis for a in axes) for axis in sorted(set(node.attrs.axes) - set(axes))]
    return build(first, others)


def _split_rows(node: Node, axes: tuple[int, ...], sizes: Sizes) -> Node | None:
    """Cuts rows [rows, length] along the last axes, where those make good pieces, or into pieces of about one length."""
    build, x = BUILD[node.name], node.operands[0]
    rows, length = node.type.size, x.type.size // node.type.size
    if rows > sizes.few_rows or length < sizes.long_row * -(-rows // ROWS):
        return None
    wanted = max(sizes.piece, x.type.size // sizes.pieces)
    inner = [axes[i:] for i in range(1, len(axes)) if wanted // 32 <= math.prod(x.dims[a] for a in axes[i:]) <= 2 * wanted]
    if inner:
        return _one_after_another(node, inner[0])
    piece = _near_divisor(length, wanted)
    count = -(-length // piece)
    whole = _filled_up(node, reshape(x, (rows, length)), count * piece)
    return reshape(build(build(reshape(whole, (rows, count, piece)), (2,)), (1,)), node.dims)


def _split_columns(node: Node, axes: tuple[int, ...], sizes: Sizes) -> Node | None:
    """Cuts [outer, length, columns], reduced along `length`, into pieces of about one number of rows, of at least WIDTH elements."""
    build, x = BUILD[node.name], node.operands[0]
    outer = math.prod(x.dims[:axes[0]])
    columns = math.prod(x.dims[axes[-1] + 1:])
    length = x.type.size // (outer * columns)
    together = -(-WIDTH // columns)
    works = outer * -(-together * columns // LANES)
    if length < sizes.long_column * -(-works // ROWS):
        return None
    inner = [(rows, i) for i in range(1, len(axes)) if sizes.steps // 4 <= (rows := math.prod(x.dims[a] for a in axes[i:])) <= length // 8]
    if inner:  # cut where an axis ends, so that no index is divided
        _, i = min(inner)
        return _one_after_another(node, axes[i:])
    steps = _near_divisor(length // together, max(sizes.steps, length // together * works // sizes.pieces))
    count = -(-length // (steps * together))
    if count < 2:
        return None
    whole = _filled_up(node, reshape(x, (outer, length, columns)), count * steps * together)
    pieces = build(reshape(whole, (outer, count, steps, together * columns)), (2,))
    return reshape(build(reshape(pieces, (outer, count * together, columns)), (1,)), node.dims)


def _filled_up(node: Node, x: Node, length: int) -> Node:
    """`x` with its axis 1 made `length` long by elements that do not change what the reduction `node` gives."""
    missing = length - x.dims[1]
    if not missing:
        return x
    lowest, highest = (-math.inf, math.inf) if x.dtype.is_floating else (x.dtype.min, x.dtype.max)
    neutral = {"reduce_sum": 0, "reduce_prod": 1, "reduce_max": lowest, "reduce_min": highest}[node.name]
    rank = len(x.dims)
    return pad(x, constant(neutral, x.dtype), [0] * rank, [missing if axis == 1 else 0 for axis in range(rank)])


def _near_divisor(length: int, target: int) -> int:
    """The divisor of `length` nearest `target`, between its half and its double; `target` itself where there is none."""
    found = [d for d in range(target // 2, 2 * target + 1) if length % d == 0]
    return min(found, key=lambda d: abs(d - target), default=target)


def _rules(sizes: Sizes) -> tuple[Rule, ...]:
    reductions = (
        Rule(f"split {root}", f"{root}(x) ~ {root}({root}(pieces of x))", root, lambda node: _split(node, sizes),
             (build(floats(1 << 17), (0,)), build(floats(512, 300), (0, 1)), build(floats(2, 65537), (1,)), build(floats(1 << 17, 2), (0,)),
              build(floats(40009, 7), (0,)), build(floats(2, 2050, 64), (1,)), build(floats(64, 3, 2048), (0, 2))))
        for root, build in BUILD.items())
    return (*reductions, *scan_rules(sizes.scans))


SPLIT = _rules(CPU)


@dataclass(frozen=True)
class Split:
    """Cuts reductions of many elements to few results, and long walks, by the numbers of `sizes`."""

    sizes: Sizes = CPU
    name: str = "split"

    def __call__(self, program: Program) -> Program:
        return Rewrite(_rules(self.sizes))(program)
