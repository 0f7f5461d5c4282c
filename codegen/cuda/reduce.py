"""Totals over teams of threads, and the barriers that they and shared memory need.

A team inside a warp exchanges its values by shuffles. Warps, and teams whose threads are apart, meet in shared memory: everybody writes,
a barrier, everybody reads and combines in one order. `Barriers` puts a barrier just where one is needed: between a write and a read, or a
read and a write, of one array by different threads.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from graphc.codegen import ir
from graphc.codegen.cuda.layout import Layout
from graphc.codegen.cuda.scalars import over_parts
from graphc.codegen.cuda.types import Names
from graphc.codegen.gpu import WARP
from graphc.core.dtypes import DType

COMBINE = {"add": "Add", "multiply": "Multiply", "maximum": "Maximum", "minimum": "Minimum", "and": "And", "or": "Or"}


def neutral(combine: str, dtype: DType) -> ir.Const:
    """The value that changes nothing."""
    if dtype.is_bool:
        return ir.Const(combine in ("and", "minimum"), dtype)
    if combine in ("add", "multiply"):
        value = float(combine == "multiply")
        return ir.Const(value if dtype.is_floating else int(value), dtype)
    if combine in ("and", "or"):
        return ir.Const(0 if combine == "or" else int(dtype.max) if dtype.is_unsigned else -1, dtype)
    if dtype.is_floating:
        return ir.Const(float("-inf" if combine == "maximum" else "inf"), dtype)
    return ir.Const(int(dtype.min if combine == "maximum" else dtype.max), dtype)


@dataclass
class Barriers:
    """Which shared arrays were written and read since the last barrier, as far as threads of one team may see."""

    layout: Layout
    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        return f"sync_team<{self.layout.team}>();" if self.layout.in_warp else "__syncthreads();"

    def before(self, reads: Iterable[str], writes: Iterable[str]) -> list[str]:
        """The barrier that must stand before accesses to these arrays, if any; from then on they count as done."""
        reads, writes = set(reads), set(writes)
        if self.layout.team == 1:
            return []
        needed = bool(reads & self.written or writes & (self.written | self.read))
        if needed:
            self.written, self.read = set(), set()
        self.written |= writes
        self.read |= reads
        return [self.text] if needed else []

    def state(self) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(self.written), frozenset(self.read)

    def join(self, state: tuple[frozenset[str], frozenset[str]]) -> None:
        """Where two paths meet: what is pending on either is pending."""
        self.written |= state[0]
        self.read |= state[1]

    def restore(self, state: tuple[frozenset[str], frozenset[str]]) -> None:
        self.written, self.read = set(state[0]), set(state[1])


@dataclass(frozen=True)
class Total:
    """An accumulator to be combined over the team. name: for its shared array. value: the C expression of a thread's share (of one part,
    where there are several). result: a format of the statement that takes the total, "sum0 = {};"."""

    name: str
    combine: str
    ctype: str
    value: str
    result: str


@dataclass
class Reductions:
    """Prints totals. `shared` collects declarations of shared arrays for the head of the function; `team` and `lane` are the C expressions
    of a thread's team in the block and its place in the team; `part` is the variable of the loops over `parts` parts."""

    layout: Layout
    barriers: Barriers
    names: Names
    shared: list[str]
    team: str
    lane: str
    part: str

    def around(self, body: Callable[[], list[str]]) -> list[str]:
        """The body of a loop, printed as often as it takes until the barriers at its begin are those that its end asks for, too."""
        state, shared, kept = self.barriers.state(), len(self.shared), self.names.kept
        while True:
            with self.names.block():
                lines = body()
            end = self.barriers.state()
            joined = (state[0] | end[0], state[1] | end[1])
            self.barriers.restore(joined)
            if joined == state:
                return lines
            state = joined
            del self.shared[shared:]
            self.names.keep_only(kept)

    def totals(self, totals: Sequence[Total], parts: int) -> list[str]:
        """Statements that combine every total over the team, one after the other in registers or all at one barrier."""
        if self.layout.in_warp:
            calls = [f"reduce_team<{COMBINE[each.combine]}, {self.layout.team}>({each.value})" for each in totals]
            return [line for each, call in zip(totals, calls, strict=True) for line in self._each(each.result.format(call), parts)]
        meet = self._in_rows if self.layout.across else self._in_warps
        arrays, writes, reads = zip(*(meet(each, parts) for each in totals), strict=True)
        lines = self.barriers.before((), arrays)
        lines += [line for write in writes for line in self._each(write, parts)]
        lines += self.barriers.before(arrays, ())
        return lines + [line for read in reads for line in self._each(read, parts)]

    def _in_warps(self, total: Total, parts: int) -> tuple[str, str, str]:
        """The shared array, the statement that writes a share, the one that reads the total: a warp leaves one value."""
        combine, warps = COMBINE[total.combine], self.layout.team // WARP
        all_warps = self.layout.threads // WARP
        array = self._declare(f"{total.name}_warps", total.ctype, all_warps * parts)
        begin = f"{array} + {self.part} * {all_warps}" if parts > 1 else array
        own = begin if self.layout.lanes == 1 else f"{begin} + {self.team} * {warps}"
        read = total.result.format(f"combine_warp_totals<{combine}, {warps}>({own})")
        return array, f"store_warp_total<{combine}>({begin}, {total.value});", read

    def _in_rows(self, total: Total, parts: int) -> tuple[str, str, str]:
        """The same where the threads of a team are apart: each leaves a value, in a row of those of its rank."""
        combine, lanes = COMBINE[total.combine], self.layout.lanes
        array = self._declare(f"{total.name}_rows", total.ctype, self.layout.threads * parts)
        row = f"({self.lane} * {parts} + {self.part})" if parts > 1 else self.lane
        column = self.team if parts == 1 else f"{self.part} * {lanes} + {self.team}"
        read = total.result.format(f"combine_rows<{combine}, {self.layout.team}>({array} + {column}, {lanes * parts})")
        return array, f"{array}[{row} * {lanes} + {self.team}] = {total.value};", read

    def _declare(self, stem: str, ctype: str, count: int) -> str:
        name = self.names.fresh(stem, keep=True)
        self.shared.append(f"__shared__ {ctype} {name}[{count}];")
        return name

    def _each(self, line: str, parts: int) -> list[str]:
        return [line] if parts == 1 else over_parts(self.part, parts, [line])
