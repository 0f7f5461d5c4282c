"""Where an instruction is written: as far out of the loops as its operands allow, and only once.

The open loops and ifs form a stack of scopes, each with the text it has so far. An instruction that depends only on registers of scope d is
appended to the text of scope d, which at that moment ends just before the inner loop: code moves out of loops while it is printed, and no
pass has to find that out again. Each scope remembers what was computed in it, so a common subexpression is printed once.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphc.codegen.llvm.emit import Emitter, Region


@dataclass
class Scope:
    """An open loop or if. `written`: buffers stored to inside it. `guarded`: its code may not run, so loads must stay inside."""

    region: Region
    written: frozenset[str] = frozenset()
    guarded: bool = False
    computed: dict[Hashable, str] = field(default_factory=dict)
    loaded: dict[str, dict[Hashable, str]] = field(default_factory=dict)  # by buffer: a store to it forgets them


class Scopes:
    """The stack of open scopes of one function, and how deep each register lies."""

    def __init__(self, e: Emitter) -> None:
        self.e = e
        self._stack = [Scope(e.region)]
        self._depth: dict[str, int] = {}  # what is not in here (constants) is at depth 0

    def place(self, names: Iterable[str], depth: int | None = None) -> None:
        """Says that registers made elsewhere (a loop's counter, a result of a loop) belong to a scope: the innermost one by default."""
        for name in names:
            self._depth[name] = len(self._stack) - 1 if depth is None else depth

    def depth(self, operands: Iterable[str]) -> int:
        """The scope to which an instruction with these operands belongs."""
        return max((self._depth.get(name, 0) for name in operands), default=0)

    def pure(self, key: Hashable, operands: Iterable[str], emit: Callable[[], str]) -> str:
        """The register of an instruction without side effects: the one computed before under `key`, or what `emit` writes now."""
        depth = self.depth(operands)
        known = self._stack[depth].computed
        if key not in known:
            known[key] = self._write(depth, emit)
        return known[key]

    def load(self, buffer: str, key: Hashable, operands: Iterable[str], emit: Callable[[], str]) -> str:
        """As `pure`, for a load: it also stays in the innermost scope that stores to the buffer or may not run."""
        bound = max((d for d, scope in enumerate(self._stack) if scope.guarded or buffer in scope.written), default=0)
        depth = max(self.depth(operands), bound)
        known = self._stack[depth].loaded.setdefault(buffer, {})
        if key not in known:
            known[key] = self._write(depth, emit)
        return known[key]

    def stored(self, buffer: str) -> None:
        """Forgets what was loaded from a buffer, because it has been stored to."""
        for scope in self._stack:
            scope.loaded.pop(buffer, None)

    @contextmanager
    def inside(self, region: Region, written: frozenset[str] = frozenset(), guarded: bool = False) -> Iterator[Region]:
        """Opens a scope whose text goes to `region`; the caller puts that text where it belongs when the scope is closed."""
        outer = self.e.region
        self._stack.append(Scope(region, written, guarded))
        self.e.region = region
        try:
            yield region
        finally:
            self.e.region = outer
            self._stack.pop()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Forgets all scopes and starts with one at the current place: nothing moves out of it, and nothing known outside counts in it."""
        stack, depth = self._stack, self._depth
        self._stack, self._depth = [Scope(self.e.region)], {}
        try:
            yield
        finally:
            self._stack, self._depth = stack, depth

    def _write(self, depth: int, emit: Callable[[], str]) -> str:
        inner = self.e.region
        self.e.region = self._stack[depth].region
        try:
            name = emit()
        finally:
            self.e.region = inner
        self._depth.setdefault(name, depth)  # `emit` may give back one of its operands, which lies where it lay
        return name
