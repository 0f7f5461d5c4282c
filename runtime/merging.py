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


def is_small(kernel: ir.Kernel, gpu: Gpu) -> bool:
    """Whether a scheduled kernel has blocks for a few waves only, needs no barrier and no product: fit for sharing a launch."""
    grids = [stmt for stmt in kernel.body if isinstance(stmt, ir.Loop)]
    inside = list(ir.walk(kernel.body))
    alone = any(isinstance(stmt, ir.Product) or (isinstance(stmt, ir.Local) and stmt.buffer.space == "shared")
                or (isinstance(stmt, ir.Loop) and (stmt.kind == "cross" or (stmt.kind == "team" and stmt.lanes > WARP))) for stmt in inside)
    blocks = sum(-(-grid.extent // (grid.lanes * grid.parts)) for grid in grids)
    return bool(grids) and not alone and blocks <= WAVES * gpu.multiprocessors


def together(accesses: Sequence[Access], small: Sequence[bool]) -> list[list[int]]:
    """The numbers of the steps, launch by launch, in an order that means the same as one after the other."""
    launches: list[list[int]] = []
    for number in range(len(accesses)):
        joined = _nearest(launches, number, accesses, small) if small[number] else None
        if joined is None:
            launches.append([number])
        else:
            joined.append(number)
    return launches


def _nearest(launches: Sequence[list[int]], number: int, accesses: Sequence[Access], small: Sequence[bool]) -> list[int] | None:
    """The last launch that step `number` may join."""
    for launch in reversed(launches[-LOOK_BACK:]):
        if any(accesses[number].conflicts(accesses[other]) for other in launch):
            return None
        parameters = sum(len(accesses[other].params) for other in (*launch, number))
        if small[launch[0]] and len(launch) < MOST_BODIES and parameters <= MOST_PARAMETERS:
            return launch
    return None
