"""How the iterations of one grid loop lie on blocks of threads, and the C expressions by which a thread finds its own.

    grid(lanes=4) over team(lanes=32):  block = 4 teams * 32 threads, threads of a team side by side
    grid(lanes=32) over cross(lanes=8): block = 8 * 32 threads, neighbouring threads in neighbouring teams
"""
from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.gpu import MAX_THREADS, WARP


@dataclass(frozen=True)
class Layout:
    """extent: iterations of the grid loop. lanes: teams of a block. parts: iterations of a team. team: threads of a team. across: whether
    the threads of a team are `lanes` apart."""

    extent: int
    lanes: int
    parts: int
    team: int
    across: bool

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.lanes * self.team

    @property
    def blocks(self) -> int:
        return -(-self.extent // (self.lanes * self.parts))

    @property
    def fills(self) -> bool:
        """Whether every part of every block has an iteration."""
        return self.extent == self.blocks * self.lanes * self.parts

    @property
    def in_warp(self) -> bool:
        """Whether a team waits for its threads without the rest of the block."""
        return self.team == 1 or (not self.across and self.team <= WARP)

    @property
    def joint(self) -> bool:
        """Whether several teams pass the same barriers, so that one which has nothing to do must go along."""
        return self.lanes > 1 and not self.in_warp

    @property
    def place(self) -> str:
        """Which team of its block a thread belongs to."""
        if self.lanes == 1:
            return "0"
        return "threadIdx.x" if self.team == 1 else f"threadIdx.x % {self.lanes}" if self.across else f"threadIdx.x / {self.team}"

    @property
    def rank(self) -> str:
        """Which thread of its team a thread is."""
        if self.team == 1:
            return "0"
        return "threadIdx.x" if self.lanes == 1 else f"threadIdx.x / {self.lanes}" if self.across else f"threadIdx.x % {self.team}"


def layout_of(loop: ir.Loop, threads: int | None = None) -> Layout:
    """The layout of a grid loop; `threads` gives it as many lanes as make a block of that size."""
    inner = [stmt for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS]
    team = max((stmt.lanes for stmt in inner), default=1)
    kinds = {stmt.kind for stmt in inner}
    if len(kinds) > 1:
        raise ValueError("a grid loop has team loops or cross loops, not both: a thread has one place")
    lanes = loop.lanes if threads is None else threads // team
    if lanes * team > MAX_THREADS:
        raise ValueError(f"a block has at most {MAX_THREADS} threads; this one has {lanes} teams of {team}")
    return Layout(loop.extent, lanes, loop.parts, team, kinds == {"cross"} and lanes > 1)
