"""What the schedule, the CUDA printer and the reports need to know of a GPU: its architecture, and limits from the CUDA programming guide.

A `Gpu` is made for an architecture (`gpu_for("sm_90")`), with no device at hand, or by the runtime for a real one (whose number of
multiprocessors it knows). What is generated depends on the architecture alone, so that results do not change with the number of
multiprocessors.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

WARP = 32  # threads that run in step, on every architecture
VECTOR_BYTES = 16  # the widest load or store of one thread
MAX_THREADS = 1024  # of a block
STATIC_SHARED_BYTES = 48 << 10  # shared memory of a block that needs no opting in


@dataclass(frozen=True)
class Gpu:
    """arch: "sm_90". The rest are limits of one multiprocessor, and how many of them a typical device of that kind has."""

    arch: str
    multiprocessors: int
    threads: int  # resident on a multiprocessor
    blocks: int  # resident on a multiprocessor
    registers: int = 65536  # 32 bits each, of a multiprocessor
    shared_bytes: int = 100 << 10  # of a multiprocessor

    @property
    def capability(self) -> tuple[int, int]:
        """(9, 0) for "sm_90"."""
        digits = self.arch.removeprefix("sm_").rstrip("a")
        return int(digits[:-1]), int(digits[-1])


# Compute capabilities, table "Technical Specifications per Compute Capability" of the CUDA C++ programming guide.
_KNOWN = {gpu.arch: gpu for gpu in (
    Gpu("sm_75", 40, 1024, 16, shared_bytes=64 << 10),
    Gpu("sm_80", 108, 2048, 32, shared_bytes=164 << 10),
    Gpu("sm_86", 84, 1536, 16),
    Gpu("sm_87", 16, 1536, 16, shared_bytes=164 << 10),
    Gpu("sm_89", 128, 1536, 24),
    Gpu("sm_90", 132, 2048, 32, shared_bytes=228 << 10),
    Gpu("sm_100", 148, 2048, 32, shared_bytes=228 << 10),
    Gpu("sm_103", 148, 2048, 32, shared_bytes=228 << 10),
    Gpu("sm_110", 20, 1536, 24, shared_bytes=228 << 10),
    Gpu("sm_120", 170, 1536, 24),
    Gpu("sm_121", 48, 1536, 24),
)}  # fmt: skip
ARCHITECTURES = tuple(_KNOWN)


def gpu_for(arch: str) -> Gpu:
    """The GPU of an architecture such as "sm_90". One that is newer than this table has the limits of sm_86, which all newer ones have
    too; ValueError for text that names no architecture, and for one older than sm_75."""
    found = re.fullmatch(r"sm_(\d{2,3})", arch)
    if found is None:
        raise ValueError(f"{arch!r} is no GPU architecture: write sm_90 for compute capability 9.0")
    if int(found[1]) < 75:
        raise ValueError(f"{arch} is too old: graphc generates code from sm_75 (Turing) on")
    return _KNOWN.get(arch) or Gpu(arch, 80, 1536, 16)
