"""Memory for a plan: arrays that begin on a cache line, and a clear refusal of sizes that this machine does not have.

A plan's temporary buffers lie at planned offsets in one arena, allocated once per executable; variables and scratch are allocated here too.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphc.core.errors import ResourceExhaustedError

ALIGNMENT = 64  # a cache line, and the widest vector
_SMALL = 16 << 20  # sizes below are allocated without looking first
_MEMINFO = Path("/proc/meminfo")
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def aligned_empty(shape: Sequence[int], dtype: np.dtype | type, what: str = "an array") -> np.ndarray:
    """An uninitialised C-contiguous array of `shape` whose content begins at a multiple of 64 bytes.

    ResourceExhaustedError, naming `what` and before anything is allocated, when the machine has not that much memory.
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    check_memory(nbytes, f"{what} of {dtype.name}[{', '.join(map(str, shape))}]")
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start:][:nbytes].view(dtype).reshape(tuple(shape))


def allocate_arena(nbytes: int, what: str = "the arena") -> np.ndarray:
    """`nbytes` uninitialised bytes, uint8[nbytes], from a multiple of 64 on; ResourceExhaustedError as `aligned_empty`."""
    return aligned_empty((nbytes,), np.dtype(np.uint8), what)


def check_memory(nbytes: int, what: str) -> None:
    """ResourceExhaustedError if `nbytes` for `what` is more than the machine can give now."""
    if nbytes < _SMALL:
        return
    available = available_bytes()
    if nbytes > available:
        raise ResourceExhaustedError(
            None, None, f"Out of memory: {what} needs {readable(nbytes)}, and this machine has {readable(available)} available."
        )


def available_bytes() -> int:
    """Bytes that a process can still get: free and reclaimable memory and swap, within the limit of the control group (container)."""
    amounts: dict[str, int] = {}
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name in ("MemAvailable", "SwapFree"):
                amounts[name] = int(amount.split()[0]) << 10  # in kB, meaning KiB
    found = [sum(amounts.values())] if amounts else []
    for path in _GROUP_LIMITS:
        if path.exists() and (limit := path.read_text().strip()).isdigit():
            found.append(int(limit))
    return min(found, default=1 << 47)  # what an x86-64 process can address


def readable(nbytes: int) -> str:
    """A size for people: "1.5 GiB"."""
    size = float(nbytes)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{nbytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"
