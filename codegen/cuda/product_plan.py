"""How a matrix product is cut up for a GPU: numbers only, no text. First step of printing a `Product` in CUDA.

A block of threads computes one tile of the result (`rows` x `columns`), in steps of `depth`: the tile of the left side (depth x rows) and
that of the right side (depth x columns) are computed into shared memory, and every thread multiplies them into its own `thread_rows` x
`thread_columns` sums in registers. Two tiles of each side take turns: the elements of the next step are read from memory while the sums of
this one are computed. (V. Volkov and J. Demmel, "Benchmarking GPUs to tune dense linear algebra", SC 2008.)

Where the result has few tiles, each is shared by several `slices` of the block's threads: slice s takes the s-th part of every step of
depth, and their sums are added up in the order of slices at the end. So a result depends on shapes and the architecture, never on a
device's number of multiprocessors.

`make_plan` compares the tiles of a table by a rough model of the time they take.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from graphc.codegen.gpu import STATIC_SHARED_BYTES, VECTOR_BYTES, WARP, Gpu, gpu_for

THREADS = 256  # of every block
# rows, columns, thread_rows, thread_columns, slices: all of that many threads. A factor read from shared memory serves one sum for each row
# or column of the thread on the other side, so threads are nearly square; small tiles have slices instead of more threads.
_WIDE = (
    (128, 128, 8, 8, 1), (64, 128, 4, 8, 1), (64, 64, 4, 4, 1), (32, 64, 4, 4, 2), (32, 32, 4, 4, 4), (16, 32, 2, 4, 4), (16, 16, 2, 4, 8),
    (8, 128, 4, 4, 4), (8, 64, 4, 4, 8), (8, 32, 2, 4, 8), (8, 16, 2, 4, 16), (8, 8, 2, 2, 16), (4, 128, 4, 4, 8), (4, 32, 4, 4, 32),
    (1, 128, 1, 4, 8), (1, 32, 1, 1, 8), (1, 16, 1, 1, 16), (1, 8, 1, 1, 32),
)  # fmt: skip
_TILES = tuple(dict.fromkeys((*_WIDE, *((columns, rows, across, down, slices) for rows, columns, down, across, slices in _WIDE))))
_STEPS = (8, 16, 32, 64, 128, 256)  # of one step
_SMALL = 8  # rows or columns that a tile may have though the result has fewer
_SUMS_BYTES = 256  # sums of one thread: a quarter of the registers that it can have
_STAGED_BYTES = 64  # of both sides, on their way from memory to shared memory in the registers of one thread
_UNROLLED = 32  # steps of depth that the text repeats at most

# The model's unit is a cycle of one multiprocessor.
_INSTRUCTIONS = 128  # of one thread each, multiply-adds of float32 or others, in a cycle
_STAGING_INSTRUCTIONS = 2  # for each element of a tile
_SECTOR = 32  # bytes: the least that is read
_SHARED_BANDWIDTH = 128  # bytes in a cycle
_FACTOR_CYCLES = 2  # to read 16 bytes of factors for each thread of a warp, most of which want the same
_MEMORY_BANDWIDTH = 24  # bytes in a cycle, from the second-level cache or beyond, when all multiprocessors read
_STEP_LATENCY = 900  # of a load from memory
_BARRIER = 150  # until all threads have delivered their strips and the sums have begun again
_BLOCK_LATENCY = 2500  # to start a block, and of its epilogue
_OTHER_REGISTERS = 40  # of a thread, beside sums, factors and staged elements


@dataclass(frozen=True)
class Tile:
    """One way to cut a product; see the module's docstring. Sizes in elements."""

    rows: int
    columns: int
    depth: int
    thread_rows: int
    thread_columns: int
    slices: int

    @property
    def across(self) -> int:
        """Threads of a slice along the columns."""
        return self.columns // self.thread_columns

    @property
    def down(self) -> int:
        """Threads of a slice along the rows."""
        return self.rows // self.thread_rows

    @property
    def slice_threads(self) -> int:
        return self.across * self.down

    @property
    def threads(self) -> int:
        return self.slice_threads * self.slices

    @property
    def slice_depth(self) -> int:
        """Steps of depth that one slice takes of each tile."""
        return self.depth // self.slices

    @property
    def warp(self) -> tuple[int, int] | None:
        """Threads of a warp (down, across): it is nearly square, so that its threads share their factors. None: they stand in one row."""
        across = min(self.across, 8)
        return (WARP // across, across) if self.down % (WARP // across) == 0 else None

    def group(self, thread_extent: int, size: int) -> int:
        """How many neighbouring rows (columns) of the tile belong to one thread: 16 bytes of factors. Its next group is as far away as all
        threads' groups are long, so that threads that read together read without a gap."""
        return min(thread_extent, VECTOR_BYTES // size)

    def shared_bytes(self, size: int, steps: int) -> int:
        """Of the staged tiles (two of each side where there are several steps), or of the slices' sums, which lie in the same memory."""
        padding = self.group(self.thread_rows, size) + self.group(self.thread_columns, size)
        staged = min(steps, 2) * self.depth * (self.rows + self.columns + padding)
        return size * max(staged, self.slices * self.rows * self.columns if self.slices > 1 else 0)


@dataclass(frozen=True)
class Source:
    """Where a side comes from: bytes of its elements in memory, and whether neighbours in memory are neighbours along the depth."""

    element_bytes: int
    along_depth: bool

    def bytes_read(self, extent: int, depth: int) -> float:
        """For one tile of it, in whole sectors."""
        run = (depth if self.along_depth else extent) * self.element_bytes
        return extent * depth * self.element_bytes * max(1.0, _SECTOR / run)


@dataclass(frozen=True)
class Plan:
    """A product m x n x depth, `batch` times, cut into tiles. size: bytes of a sum. cycles: the model's guess for all of it."""

    m: int
    n: int
    depth: int
    batch: int
    size: int
    tile: Tile
    cycles: int
    reason: str

    @property
    def row_tiles(self) -> int:
        return -(-self.m // self.tile.rows)

    @property
    def column_tiles(self) -> int:
        return -(-self.n // self.tile.columns)

    @property
    def tiles(self) -> int:
        """Blocks for one product of the batch."""
        return self.row_tiles * self.column_tiles

    @property
    def steps(self) -> int:
        return -(-self.depth // self.tile.depth)

    def describe(self) -> str:
        """One line for reports and for the head of the text."""
        t = self.tile
        slices = f", {t.slices} slices of depth" if t.slices > 1 else ""
        return (f"tiles of {t.rows}x{t.columns}x{t.depth}, {t.thread_rows}x{t.thread_columns} sums a thread{slices}: "
                f"{self.batch * self.tiles} blocks of {t.threads} threads; {self.reason}")  # fmt: skip


def make_plan(sizes: tuple[int, int, int], batch: int, size: int, sides: tuple[Source, Source], gpu: Gpu) -> Plan:
    """The plan for `batch` products m x n x depth (`sizes`, none of them 0 but depth). size: bytes of a sum (4 or 8); sides: left and
    right. Of `gpu` only the architecture counts."""
    m, n, depth = sizes
    typical = gpu_for(gpu.arch)
    timed = [(_cycles(tile, sizes, batch, size, sides, typical), tile) for tile in candidates(m, n, depth, size)]
    cycles, tile = min(timed, key=lambda each: (each[0], -each[1].rows * each[1].columns, each[1].slices, each[1].depth))
    return Plan(m, n, depth, batch, size, tile, cycles, _reason(tile, m, n, batch, typical))


def candidates(m: int, n: int, depth: int, size: int) -> Iterator[Tile]:
    """The tiles of _TILES that are not far larger than the result, with every step of depth for which a block has room."""
    most = max(_STEPS[0], _power_of_two(depth))
    for rows, columns, down, across, slices in _TILES:
        if rows <= max(_SMALL, _power_of_two(m)) and columns <= max(_SMALL, _power_of_two(n)):
            for step in _STEPS:
                tile = Tile(rows, columns, step, down, across, slices)
                if slices <= step <= max(most, slices) and _fits(tile, depth, size):
                    yield tile


def _fits(tile: Tile, depth: int, size: int) -> bool:
    staged = tile.depth * (tile.rows + tile.columns)
    return (tile.shared_bytes(size, -(-depth // tile.depth)) <= STATIC_SHARED_BYTES
            and staged * size <= _STAGED_BYTES * tile.threads
            and tile.thread_rows * tile.thread_columns * size <= _SUMS_BYTES
            and tile.slice_depth <= _UNROLLED)  # fmt: skip


def _cycles(tile: Tile, sizes: tuple[int, int, int], batch: int, size: int, sides: tuple[Source, Source], gpu: Gpu) -> int:
    """A guess at the cycles until the last multiprocessor is done."""
    m, n, depth = sizes
    blocks = -(-m // tile.rows) * -(-n // tile.columns) * batch
    steps = -(-depth // tile.depth)
    sums = tile.thread_rows * tile.thread_columns
    staging = tile.depth * (tile.rows + tile.columns)
    held = sums + tile.thread_rows + tile.thread_columns + staging // tile.threads
    registers = held * size // 4 + _OTHER_REGISTERS
    shared = max(1, tile.shared_bytes(size, steps))
    room = max(1, min(gpu.threads // tile.threads, gpu.blocks, gpu.registers // (registers * tile.threads), gpu.shared_bytes // shared))
    resident = min(room, -(-blocks // gpu.multiprocessors))
    waves = blocks / (gpu.multiprocessors * resident)
    waves = math.ceil(waves) if waves < 4 else waves  # with many, blocks of different waves overlap
    # What one block's step takes of each unit of the multiprocessor. Instructions of any kind take turns with the multiply-adds.
    factors = sum(math.ceil(each * size / VECTOR_BYTES) for each in (tile.thread_rows, tile.thread_columns))
    multiplying = (tile.threads * tile.slice_depth * (sums * (size // 4) + factors) + _STAGING_INSTRUCTIONS * staging) / _INSTRUCTIONS
    reading = tile.threads / WARP * tile.slice_depth * factors * _FACTOR_CYCLES
    loading = (sides[0].bytes_read(tile.rows, tile.depth) + sides[1].bytes_read(tile.columns, tile.depth)) / _MEMORY_BANDWIDTH
    writing = 2 * staging * size / _SHARED_BANDWIDTH
    busy = max(multiplying, reading + writing, loading)
    combining = tile.slices * tile.rows * tile.columns * size * 2 / _SHARED_BANDWIDTH if tile.slices > 1 else 0
    ending = tile.rows * tile.columns * size / _MEMORY_BANDWIDTH
    first = _STEP_LATENCY + resident * loading  # nothing to multiply yet
    alone = max(multiplying, _STEP_LATENCY) + writing + _BARRIER  # what one block needs for a step, if no other took its time
    step = max(resident * busy, alone) if steps > 1 else resident * busy
    return int(waves * (first + steps * step + resident * (combining + ending) + _BLOCK_LATENCY))


def _reason(tile: Tile, m: int, n: int, batch: int, gpu: Gpu) -> str:
    largest = -(-m // 128) * -(-n // 128) * batch
    if min(m, n) == 1:
        return "a matrix times a vector: limited by memory"
    if tile.rows * tile.columns >= 64 * 128:
        return "large enough for large tiles to fill every multiprocessor"
    return f"tiles of 128x128 would make {largest} blocks for {gpu.multiprocessors} multiprocessors"


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()
