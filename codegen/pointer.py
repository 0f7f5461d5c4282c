"""`Pointer`: where a plan finds a buffer, as a slot of its table of addresses. Plans for both targets are written in these.

The slots are the runtime's: arena, scratch, variables, constants, feeds, outputs (see `runtime.executable.Slots`).
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pointer:
    """`offset` bytes after the address in `args[slot]`."""

    slot: int
    offset: int = 0
