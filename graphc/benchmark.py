"""What did the compiler gain, and what did each of its passes? `gc.benchmark.compare` runs a step under several pipelines, in turns.

Every pipeline gets a session of its own, in which all variables begin alike; the caller's sessions and graph stay as they are. Before a
clock is read, the results of the first runs are compared: wrong results are not worth timing. `graphc bench` prints what comes out;
`comparison.py` holds it, `timing.py` says how times and their intervals are found.
"""
from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import numpy as np

from graphc.agreement import IN_WORDS, disagreement
from graphc.comparison import Comparison, Row, machine
from graphc.core.graph import Graph, get_default_graph
from graphc.core.keys import GraphKeys
from graphc.passes.variants import without_each_family, without_each_pass
from graphc.runtime.cold import cold
from graphc.runtime.config import PIPELINES, ConfigProto, Pipeline
from graphc.runtime.executable import DeviceExecutable, Executable
from graphc.runtime.session import Session
from graphc.terminal import Progress
from graphc.timing import Timing, interleaved

__all__ = ["Comparison", "Row", "Variant", "WrongResults", "compare", "variants"]

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Peers = Mapping[str, Call] | Callable[[dict[str, Array], dict[str, Array]], Mapping[str, Call]]
CHECKED_RUNS = 2  # a training step shows in the run after it
PEER_TOLERANCE = 1e-3  # part of the largest value: others add Adam's epsilon elsewhere


class WrongResults(ValueError):
    """Two variants give different results: one line that says which, where, and what each gives."""


@dataclass(frozen=True)
class Variant:
    """A pipeline to measure. name: of its row; group: the heading that it stands under."""

    name: str
    pipeline: str | Pipeline
    group: str = "pipelines"


def variants(base: str | Pipeline = "default", groups: Sequence[str] = ("pipelines", "passes", "rules")) -> list[Variant]:
    """`base` first, and what tells what each of its parts is worth: the other pipelines; `base` without each of its passes; and without
    each family of rules. ValueError for a pipeline or a group that is none."""
    pipeline = ConfigProto(pipeline=base).settings().pipeline
    unknown = [group for group in groups if group not in ("pipelines", "passes", "rules")]
    if unknown:
        raise ValueError(f"no group {unknown[0]!r} of variants; there are pipelines, passes, rules")
    found = [Variant(_name(pipeline), pipeline)]
    if "pipelines" in groups:
        found += [Variant(_name(other), other) for other in PIPELINES.values() if other != pipeline]
    if "passes" in groups:
        found += [Variant(name, other, "a pass left out") for name, other in without_each_pass(pipeline).items()]
    if "rules" in groups:
        found += [Variant(name, other, "a family of rules left out") for name, other in without_each_family(pipeline).items()]
    return found


def _name(pipeline: Pipeline) -> str:
    return "fused" if pipeline == PIPELINES["default"] else pipeline.name


def compare(fetches: Any, feeds: Mapping[Any, Any] | None = None, graph: Graph | None = None,
            pipelines: Sequence[str | Pipeline | Variant] = ("default", "unfused", "none"), threads: int | Sequence[int] = 0,
            seconds: float = 2.0, initializer: Any = None, *, device: str | None = None, against: Peers | None = None,
            title: str = "", compile_cold: bool = True, progress: bool = False) -> Comparison:
    """Runs `session.run(fetches, feeds)` under each of `pipelines`, in turns for about `seconds`, and tells what each costs.

    graph: that of the fetches (None: the default one). initializer: gives the variables their values (None: their own initialisers).
    threads: that one run may use (0: one per core); of several counts the largest is used, and the first pipeline runs with each.
    device: as in `ConfigProto`. against: the same step by others, calls by name, or a function of the feeds and the first values of the
    variables, both by name, that gives such calls; what a call returns is compared with the fetches, unless it is None. compile_cold:
    whether to measure compiling with nothing compiled before, which takes that time for each pipeline. progress: shows it on stderr.

    Raises WrongResults (a ValueError) where results differ, ValueError for pipelines or threads that are none, and what `run` raises.
    """
    counts = _counts(threads)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds: it must be a time to measure for, but got {seconds}")
    chosen = [each if isinstance(each, Variant) else Variant(each if isinstance(each, str) else each.name, each) for each in pipelines]
    names = [variant.name for variant in chosen]
    if not chosen or len(set(names)) < len(names):
        raise ValueError(f"compare needs pipelines of different names, but got {', '.join(names) or 'none'}")
    with ExitStack() as sessions:
        bench = _Bench(get_default_graph() if graph is None else graph, fetches, dict(feeds or {}), device, sessions)
        bench.initialise(initializer)
        rest = counts if len(counts) > 1 else []
        with Progress("compiling", len(chosen) + len(rest), _stream(progress)) as bar:
            if compile_cold:
                bench.warm_up(chosen[0], counts[-1])
            for variant in chosen:
                bench.add(variant, counts[-1], compile_cold)
                bar.advance(variant.name)
            for count in rest:
                bench.add_threads(chosen[0], count)
                bar.advance(f"{count} threads")
        bench.add_peers(against, counts[-1], progress)
        return bench.measured(title, seconds, progress)


def _counts(threads: int | Sequence[int]) -> list[int]:
    """Counts of threads in order; [0] for as many as there are cores."""
    counts = [threads] if isinstance(threads, int) else list(threads)
    wrong = [count for count in counts if not isinstance(count, int) or count < (0 if isinstance(threads, int) else 1)]
    if wrong or not counts:
        raise ValueError(f"threads: it must be at least 1, but got {wrong[0] if wrong else 'none'}")
    return sorted(set(counts))


def _stream(progress: bool) -> TextIO:
    return sys.stderr if progress else io.StringIO()


@dataclass
class _Entry:
    """What is measured: `call` runs it once. results: of its first runs, the values of the fetches by name."""

    name: str
    group: str
    call: Call
    threads: int
    executable: Executable | None = None
    compile_ms: float | None = None
    warm_ms: float | None = None
    results: list[list[tuple[str, Array]]] = field(default_factory=list)
    same_as: str = ""

    def row(self, timing: Timing) -> Row:
        made = self.executable
        row = Row(self.name, self.group, timing, self.threads, compile_ms=self.compile_ms, warm_ms=self.warm_ms, same_as=self.same_as)
        return row if made is None else replace(row, kernels=len(made.kernels), bytes=made.bytes_moved, arena=made.memory.arena_bytes)


class _Bench:
    """The sessions of one comparison, which `sessions` closes."""

    def __init__(self, graph: Graph, fetches: Any, feeds: dict[Any, Any], device: str | None, sessions: ExitStack) -> None:
        self.graph, self.fetches, self.feeds, self.device, self.sessions = graph, fetches, feeds, device, sessions
        self.initializer: Any = None
        self.start: list[tuple[Any, Array]] = []  # variables, and the values that they have in every session at first
        self.entries: list[_Entry] = []
        self.notes: list[str] = []
        self.machine = machine()  # before it is busy with this

    def initialise(self, initializer: Any) -> None:
        """Finds the values that the variables begin with."""
        keys = GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES
        collected = [variable for key in keys for variable in self.graph.get_collection(key)]
        self.initializer = initializer
        with self._session("default", 0) as session:
            session.run([variable.initializer for variable in collected] if initializer is None else initializer)
            ready = set(session.list_variables())
            variables = [variable for variable in dict.fromkeys(collected) if variable.op.name in ready]
            self.start = list(zip(variables, session.run(variables), strict=True))

    def _session(self, pipeline: str | Pipeline, threads: int) -> Session:
        config = ConfigProto(pipeline=pipeline, intra_op_parallelism_threads=threads, device=self.device)
        return Session(graph=self.graph, config=config)

    def _begin(self, session: Session) -> None:
        """Gives the variables in `session` their first values: fed to their initialisers, which declares nothing."""
        if self.initializer is not None:
            session.run(self.initializer)
        fed: dict[Any, Array] = {}
        initializers = []
        for variable, value in self.start:
            if variable.initial_value in fed:  # two variables that begin with one tensor
                variable.load(value, session)
            else:
                fed[variable.initial_value] = value
                initializers.append(variable.initializer)
        session.run(initializers, fed)

    def warm_up(self, variant: Variant, threads: int) -> None:
        """Compiles once what nobody looks at: the first of all pays for what a process does once, which is no variant's fault."""
        with self._session(variant.pipeline, threads) as session:
            session.compile(self.fetches, self.feeds)

    def add(self, variant: Variant, threads: int, compile_cold: bool) -> None:
        """Compiles a variant, runs it, and compares its results with those of the first one."""
        compile_ms = warm_ms = None
        with cold() if compile_cold else nullcontext():
            if compile_cold:
                with self._session(variant.pipeline, threads) as first:
                    compile_ms = self._compiling(first)
            session = self.sessions.enter_context(self._session(variant.pipeline, threads))
            if compile_cold:
                warm_ms = self._compiling(session)
            else:
                session.compile(self.fetches, self.feeds)
        self._add(session, variant.name, variant.group, threads, compile_ms, warm_ms)

    def add_threads(self, variant: Variant, threads: int) -> None:
        """The same pipeline with another number of threads."""
        session = self.sessions.enter_context(self._session(variant.pipeline, threads))
        self._add(session, f"{variant.name}, {threads} thread{'s' if threads > 1 else ''}", "threads", threads)

    def _compiling(self, session: Session) -> float:
        start = time.perf_counter()
        session.compile(self.fetches, self.feeds)
        return (time.perf_counter() - start) * 1e3

    def _add(self, session: Session, name: str, group: str, threads: int, compile_ms: float | None = None,
             warm_ms: float | None = None) -> None:
        self._begin(session)
        callable_, values = session.make_callable(self.fetches, list(self.feeds)), list(self.feeds.values())
        entry = _Entry(name, group, lambda: callable_(*values), threads, None, compile_ms, warm_ms)
        entry.results = [list(_leaves(self.fetches, entry.call())) for _ in range(CHECKED_RUNS)]
        entry.executable = made = session.compile(self.fetches, self.feeds)  # of a graph that runs in stages only a run knows them all
        entry.same_as = next((other.name for other in self.entries if other.executable and _same(other.executable, made)), "")
        self.notes += [f"{name}: pass {stage.name!r} failed and was left out: {stage.problem}" for stage in made.stages if stage.problem]
        if self.entries:
            self._check(entry, None)
        elif not any(entry.results):
            self.notes.append("the fetches give no values: results are not compared")
        self.entries.append(entry)
        if entry.same_as:
            session.close()  # nobody runs it again

    def add_peers(self, against: Peers | None, threads: int, progress: bool) -> None:
        """Runs what others made of the step. One that fails is left out, and said."""
        if callable(against):
            feeds = {tensor.op.name: np.asarray(value) for tensor, value in self.feeds.items()}
            against = against(feeds, {variable.op.name: value for variable, value in self.start})
        if not against:
            return
        with Progress("others", len(against), _stream(progress)) as bar:
            for name, call in against.items():
                self._add_peer(_Entry(name, "others", call, threads))
                bar.advance(name)

    def _add_peer(self, entry: _Entry) -> None:
        if any(other.name == entry.name for other in self.entries):
            raise ValueError(f"two rows are called {entry.name!r}")
        try:
            returned = [entry.call() for _ in range(CHECKED_RUNS)]
        except Exception as error:  # the user's code
            self.notes.append(f"{entry.name} is left out: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            return
        if returned[0] is None:
            self.notes.append(f"{entry.name} returns nothing: its results are not compared")
        else:
            entry.results = [list(_leaves(value, value)) for value in returned]
            self._check(entry, PEER_TOLERANCE)
        self.entries.append(entry)

    def _check(self, entry: _Entry, tolerance: float | None) -> None:
        """WrongResults unless `entry` gives what the first one gives."""
        for number, (expected, found) in enumerate(zip(self.entries[0].results, entry.results, strict=True)):
            if len(expected) != len(found):
                raise WrongResults(f"{entry.name!r} gives {len(found)} results, but {self.entries[0].name!r} gives {len(expected)}")
            for (name, want), (_, got) in zip(expected, found, strict=True):
                converted = got if tolerance is None or got.shape != want.shape else got.astype(want.dtype)
                problem = disagreement(want, converted, tolerance)
                if problem:
                    raise WrongResults(f"{entry.name!r} gives other results than {self.entries[0].name!r}: {name} of run {number + 1}, "
                                       f"{problem}; wrong results are not worth timing{self._unseeded()}")

    def _unseeded(self) -> str:
        """Where results may differ by chance, that."""
        unseeded = (op for op in self.graph.get_operations() if "seed" in op.attrs and not (op.attrs["seed"] or op.attrs["seed2"]))
        drawn = next(unseeded, None)
        return "" if drawn is None else f" ({drawn.name!r} draws without a seed: call set_random_seed before it is declared)"

    def measured(self, title: str, seconds: float, progress: bool) -> Comparison:
        """The timings of all of it."""
        calls = {entry.name: entry.call for entry in self.entries if not entry.same_as}
        steps = 20
        begin = time.perf_counter()
        with Progress("measuring", steps, _stream(progress)) as bar:
            def tick() -> None:
                done = steps if seconds <= 0 else min(steps, int(steps * (time.perf_counter() - begin) / seconds))
                bar.advance(steps=done - bar.done)

            times = interleaved(calls, seconds, tick)
        rows = tuple(entry.row(times[entry.same_as or entry.name]) for entry in self.entries)
        peers = f" ({PEER_TOLERANCE:g} for others)" if any(entry.executable is None for entry in self.entries) else ""
        return Comparison(title or "What did the compiler gain?", rows, IN_WORDS + peers, tuple(self.notes), self.machine)


def _same(a: Executable, b: Executable) -> bool:
    """Whether the same is run: equal steps in the same order, shared in the same way by threads."""
    return (isinstance(a, DeviceExecutable) and isinstance(b, DeviceExecutable) and a.program == b.program
            and a.program.nodes == b.program.nodes and a.plan_text == b.plan_text)


def _leaves(fetched: Any, value: Any) -> Iterator[tuple[str, Array]]:
    """The values in a structure of results, with the names of what was fetched there; nothing for operations."""
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(fetched[key], value[key])
    elif isinstance(value, list | tuple):
        inside = fetched if isinstance(fetched, list | tuple) else [fetched] * len(value)  # one fetch of several values: a sparse tensor
        for one, result in zip(inside, value, strict=True):
            yield from _leaves(one, result)
    elif value is not None:
        yield str(getattr(fetched, "name", fetched)), np.asarray(value)
