"""What a compiled kernel takes of a multiprocessor, read from the log of ptxas, and how many of its threads then fit. For reports."""
from __future__ import annotations

import re
from dataclasses import dataclass, replace

from graphc.codegen.gpu import WARP, Gpu

_REGISTER_UNIT = 256  # registers are given to a warp in multiples of this
_PARTITIONS = 4  # of a multiprocessor: each has a quarter of the registers, and a warp lives in one of them
_SHARED_UNIT = 128  # bytes
_RESERVED_SHARED = 1024  # bytes of every block that the system keeps for itself, from sm_80 on


@dataclass(frozen=True)
class Resources:
    """registers: 32 bits each, of one thread. shared_bytes: static, of one block. spill_bytes: written and read by one thread because
    registers ran out. local_bytes: a thread's stack, which lies in device memory as spills do."""

    registers: int
    shared_bytes: int
    spill_bytes: int
    local_bytes: int


_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def resources_of(log: str) -> dict[str, Resources]:
    """The resources of each __global__ function in what `ptxas -v` printed. Functions that one calls without inlining count with it."""
    found: dict[str, Resources] = {}
    name = ""
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            name = entry[1]
            found[name] = Resources(0, 0, 0, 0)
        elif not name:
            continue
        elif frame := _FRAME.search(line):
            stack, stores, loads = map(int, frame.groups())
            sofar = found[name]
            found[name] = replace(sofar, spill_bytes=sofar.spill_bytes + stores + loads, local_bytes=sofar.local_bytes + stack)
        elif used := _REGISTERS.search(line):
            shared = _SHARED.search(line)
            found[name] = replace(found[name], registers=int(used[1]), shared_bytes=int(shared[1]) if shared else 0)
    return found


def log_of(log: str, text: str) -> list[str]:
    """The lines of a log that are about the __global__ functions of `text`, and those about none."""
    kept, concerns = [], True
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            concerns = f" {entry[1]}(" in text
        if concerns:
            kept.append(line)
    return kept


def resident_blocks(resources: Resources, threads: int, gpu: Gpu) -> int:
    """How many blocks of `threads` threads one multiprocessor holds at once; 0 where not even one fits. The limits and units are those of
    the CUDA occupancy calculator."""
    warps = -(-threads // WARP)
    limits = [gpu.threads // WARP // warps, gpu.blocks]
    if resources.registers:
        of_a_warp = _round_up(resources.registers * WARP, _REGISTER_UNIT)
        resident_warps = gpu.registers // _PARTITIONS // of_a_warp * _PARTITIONS
        limits.append(resident_warps // warps)
    reserved = _RESERVED_SHARED if gpu.capability >= (8, 0) else 0
    if resources.shared_bytes + reserved:
        limits.append(gpu.shared_bytes // _round_up(resources.shared_bytes + reserved, _SHARED_UNIT))
    return min(limits)


def occupancy(resources: Resources, threads: int, gpu: Gpu) -> float:
    """The share of a multiprocessor's warps that blocks of `threads` threads can fill, from 0 to 1."""
    warps = -(-threads // WARP)
    return resident_blocks(resources, threads, gpu) * warps / (gpu.threads // WARP)


def _round_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit
