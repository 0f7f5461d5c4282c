"""Which steps of a plan share a launch on a GPU: small ones that touch no common memory. Beside `compile_cuda.py`.

A launch costs a GPU as much time as a small kernel computes. Steps are taken in the order of the plan; a small one joins the nearest
earlier launch of small ones if it could run before everything in between: if it writes nothing that they read or write and reads nothing
that they write. Memory is compared by address, so what the memory plan let two values share counts too.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.gpu import WARP, Gpu
from graphc.codegen.pointer import Pointer

MOST_BODIES = 32  # of one launch: keeps its text readable
MOST_SHARED = 16 << 10  # bytes of shared memory of one launch: several of its blocks shall fit on a multiprocessor
MOST_PARAMETERS = 256  # of one launch; CUDA passes 4 KiB, 512 pointers
LOOK_BACK = 64  # launches: keeps the search linear
WAVES = 2  # a kernel with more blocks than fill the device so many times gains nothing from company

Range = tuple[int, int, int]  # slot, first byte, byte after the last


@dataclass(frozen=True)
class Access:
    """The parameters of a kernel, and the memory that it reads and writes."""

    params: tuple[Pointer, ...]
    reads: tuple[Range, ...]
    writes: tuple[Range, ...]

    @classmethod
    def of(cls, kernel: ir.Kernel, params: Sequence[Pointer]) -> Access:
        ranges = [(pointer.slot, pointer.offset, pointer.offset + buffer.nbytes)
                  for pointer, buffer in zip(params, kernel.params, strict=True)]
        spaces = [buffer.space for buffer in kernel.params]
        return cls(tuple(params), tuple(r for r, space in zip(ranges, spaces, strict=True) if space != "out"),
                   tuple(r for r, space in zip(ranges, spaces, strict=True) if space != "in"))

    def conflicts(self, other: Access) -> bool:
        """Whether the order of the two matters."""
        return _meet(self.writes, (*other.reads, *other.writes)) or _meet(self.reads, other.writes)


def _meet(left: Sequence[Range], right: Sequence[Range]) -> bool:
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in left for b in right)


@dataclass(frozen=True)
class Shape:
    """What a scheduled kernel asks of the launch that it shares. threads: of its blocks. shared_bytes: at most, of one block; kernels with
    barriers have some, and share a launch only with blocks as large as their own."""

    threads: int
    shared_bytes: int = 0

    def fits(self, others: Sequence[Shape]) -> bool:
        """Whether this may join a launch of `others`."""
        every = (self, *others)
        alike = all(each.threads == self.threads for each in others)
        return (alike and sum(each.shared_bytes for each in every) <= MOST_SHARED) or not any(each.shared_bytes for each in every)


def shape_of(kernel: ir.Kernel, gpu: Gpu) -> Shape | None:
    """The shape of a scheduled kernel that has blocks for a few waves only; None for a larger one, and for a product."""
    grids = [stmt for stmt in kernel.body if isinstance(stmt, ir.Loop)]
    blocks = sum(-(-grid.extent // (grid.lanes * grid.parts)) for grid in grids)
    if not grids or blocks > WAVES * gpu.multiprocessors or any(isinstance(stmt, ir.Product) for stmt in ir.walk(kernel.body)):
        return None
    threads = max(grid.lanes * _team(grid) for grid in grids)
    return Shape(threads, sum(_shared_bytes(grid, threads) for grid in grids))


def _team(grid: ir.Loop) -> int:
    """Threads that compute one iteration."""
    return max((stmt.lanes for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS), default=1)


def _shared_bytes(grid: ir.Loop, threads: int) -> int:
    """Of its shared buffers, and of the totals that teams of more than a warp, or across warps, exchange there; not too little."""
    buffers = sum(stmt.buffer.nbytes * grid.lanes for stmt in ir.walk(grid.body)
                  if isinstance(stmt, ir.Local) and stmt.buffer.space == "shared")
    loops = [stmt for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS]
    exchanging = [loop for loop in loops if loop.kind == "cross" or loop.lanes > WARP]
    totals = {stmt.var for loop in exchanging for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Update)}
    widest = max((grid.parts, *(loop.parts for loop in exchanging)))
    return buffers + sum(threads * widest * var.dtype.size for var in totals)


def together(accesses: Sequence[Access], shapes: Sequence[Shape | None]) -> list[list[int]]:
    """The numbers of the steps, launch by launch, in an order that means the same as one after the other. shapes: None for those that stay
    alone."""
    launches: list[list[int]] = []
    for number in range(len(accesses)):
        joined = _nearest(launches, number, accesses, shapes)
        if joined is None:
            launches.append([number])
        else:
            joined.append(number)
    return launches


def _nearest(launches: Sequence[list[int]], number: int, accesses: Sequence[Access], shapes: Sequence[Shape | None]) -> list[int] | None:
    """The last launch that step `number` may join."""
    shape = shapes[number]
    if shape is None:
        return None
    for launch in reversed(launches[-LOOK_BACK:]):
        if any(accesses[number].conflicts(accesses[other]) for other in launch):
            return None
        parameters = sum(len(accesses[other].params) for other in (*launch, number))
        others = [found for other in launch if (found := shapes[other]) is not None]
        if others and shape.fits(others) and len(launch) < MOST_BODIES and parameters <= MOST_PARAMETERS:
            return launch
    return None
