"""What stands behind one `Session.run`: a `Call` for each way of asking, a `Computation` for what is asked, a `Bound` for each shape of it.

    run(fetches, feed_dict) --keys--> Call --shapes of the feeds--> Bound: machine code and its memory; or Stages, of several

Ways of asking that mean the same (`run(y)`, `run([y])`, `run("y:0")`) share a Computation, and so what was compiled for it. Nothing here
takes locks: the session calls with its own held.
"""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.core.devices import HOST
from graphc.core.errors import InvalidArgumentError, explain
from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Program
from graphc.core.specialise import Expansion, expand, needed, program_of
from graphc.core.types import TensorType
from graphc.inspection.numerics import Replay, find
from graphc.runtime import debug, finite
from graphc.runtime.bound import Runs
from graphc.runtime.compilations import Cause, Log, Shapes, new_shapes, warn_of_many
from graphc.runtime.config import NAN
from graphc.runtime.executable import Executable
from graphc.runtime.feeds import spread
from graphc.runtime.fetches import Assemble
from graphc.runtime.finite import NotFinite
from graphc.runtime.host_steps import any_of_host, on_host
from graphc.runtime.placed import PlacedBound, placed_executable
from graphc.runtime.placement import Device, Placer, homes
from graphc.runtime.recorder import COMPILE, PLAIN, Runner
from graphc.runtime.replay import replay
from graphc.runtime.segments import split, whole
from graphc.runtime.stages import Context, Maker, Shared, Stages
from graphc.runtime.targets import Targets, compile_for_target
from graphc.runtime.verifying import Tell, bisecting

if TYPE_CHECKING:
    from graphc.runtime.bisecting import Bisection
    from graphc.runtime.verdict import Verdict

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Around:
    """What all computations of one session share."""

    graph: Graph
    placer: Placer
    targets: Targets
    shared: Shared = field(default_factory=Shared)
    log: Log = field(default_factory=Log)


class Computation:
    """The graph elements to compute from the tensors fed, and what was compiled for each set of feed shapes."""

    def __init__(self, elements: Sequence[Tensor | Operation], feeds: Sequence[Tensor], around: Around) -> None:
        self.elements = tuple(elements)
        self.feeds = tuple(feeds)
        self.last: Runs | None = None  # of the last run, where the shapes alone decide which it is
        self._around = around
        self._bounds: dict[Shapes, Runs | Stages] = {}
        self._by_value: set[int] = set()  # positions of the feeds whose values shapes depend on
        self._staged_runs = 0

    @property
    def runs(self) -> int:
        """How often it was run."""
        return self._staged_runs + sum(bound.runs for bound in self._bounds.values() if isinstance(bound, Runs))

    def bound(self, arrays: Sequence[Array], runner: Runner = PLAIN) -> Runs | Stages:
        """What runs for feeds of these shapes, compiled now where there is none yet."""
        key = self._key(arrays)
        if key not in self._bounds:
            with runner.during(COMPILE, ", ".join(element.name for element in self.elements)):
                bound = self._compile(arrays)
            self._bounds[self._key(arrays)] = bound  # compiling may have found that values matter
            warn_of_many(self.elements, self.feeds, list(self._bounds))
            return bound
        return self._bounds[key]

    def compiled(self, arrays: Sequence[Array], target: str) -> Executable:
        """For feeds of these shapes, all of it (but for what only the host computes) compiled for a target that need not be on this
        machine."""
        expansion = self._spelled(arrays, None)
        if expansion.need is not None:
            operation = expansion.need.operation
            problem = (f"The size of '{operation.name}' is only known while the graph runs: what follows it cannot be compiled ahead for "
                       f"{target}. Run it, or compile without a target to see its first stage.")
            raise InvalidArgumentError(None, operation, explain(operation, problem))
        program, settings = program_of(expansion), self._around.targets.settings
        if target == "cpu" or not any_of_host(program):
            return compile_for_target(target, program, settings)
        homes = dict.fromkeys(program.variables, target)
        parts = split(on_host(program, homes, target), homes, target)
        return placed_executable(parts, [compile_for_target("cpu" if segment.device == HOST else target, segment.program, settings)
                                         for segment in parts.segments])

    def run(self, arrays: Sequence[Array], runner: Runner = PLAIN) -> list[Array]:
        """Outputs for feeds that have been checked and converted. Nothing has changed where this raises."""
        compiled = self._around.log.total
        try:
            return self._run(arrays, runner)
        finally:
            self._around.log.misses += self._around.log.total > compiled

    def _run(self, arrays: Sequence[Array], runner: Runner) -> list[Array]:
        bound = self.bound(arrays, runner)
        if isinstance(bound, Stages):
            self._staged_runs += 1
            try:
                return bound.run(arrays, runner)
            except NotFinite as error:
                raise self._explained(arrays, error) from None
        bound.require()
        outputs = bound.empty_outputs()
        refused = runner.run(bound, [*arrays, *outputs])
        if refused is not None:
            raise AssertionError(f"array {refused} of a run does not fit what was compiled for it")
        bound.written()
        self.last = None if self._by_value else bound
        return outputs

    def bisected(self, arrays: Sequence[Array], tell: Tell) -> Verdict:
        """What is wrong with the compiled code for these feeds and the variables' present values. Nothing changes, but for what functions
        of Python's do. ValueError for what is not all on a CPU."""
        where = [device for device in self.devices if device.kind == "GPU"]
        if where:
            raise ValueError(f"bisect compares what runs on a CPU, step by step, and this is for {where[0].name}: leave the device out; "
                             "what a GPU computes as a whole is compared with ConfigProto(verify=True)")
        targets = self._around.targets
        bisection: Bisection = bisecting().Bisection(targets.settings.pipeline, targets.settings.threads, targets.values, tell)
        expansion = self._spelled(arrays, self._apart(self._placed()))
        if expansion.need is None and not expansion.checks and not expansion.printings and len(self.devices) == 1:
            bisection.program(program_of(expansion), arrays)  # which need not even compile
        else:
            bisection.bound(self.bound(arrays), arrays)
        return bisection.verdict

    def replayed(self, arrays: Sequence[Array]) -> Replay:
        """The run for these feeds, done again in the reference interpreter. Nothing changes, but for what functions of Python's do."""
        self._spelled(arrays, None)
        types, values, around = self._types(arrays), self._values(arrays), self._around
        fetches = [element.name for element in self.elements if isinstance(element, Tensor)]
        return replay(lambda context: self._expanded(types, values, None, context), arrays, around.targets.values, fetches, around.graph)

    def _explained(self, arrays: Sequence[Array], error: NotFinite) -> InvalidArgumentError:
        """The error of a run whose results are not finite: where that came from, instead of where it arrived."""
        infinities, done = self._around.targets.settings.check_numerics != NAN, self.replayed(arrays)
        found = find(done, infinities=infinities) or find(done, infinities=infinities, written=True)
        if found is None:
            return InvalidArgumentError(None, error.op, f"{error.message}\n  the reference interpreter, which rounds after each step, "
                                        "gives finite values: GRAPHC_VERIFY=1 compares the compiled code with it")
        return InvalidArgumentError(None, found.operation, str(found))

    def retire(self) -> None:
        self._around.log.retired += self.runs
        for bound in self._bounds.values():
            bound.retire()
        self._bounds.clear()
        self.last = None

    def _key(self, arrays: Sequence[Array]) -> Shapes:
        return tuple([(array.shape, array.tobytes() if n in self._by_value else None) for n, array in enumerate(arrays)])

    @property
    def devices(self) -> list[Device]:
        """Those of its operations; the session's default where there is none. InvalidArgumentError as `Placer.place`."""
        return _distinct(self._placed(), self._around.placer)

    def _placed(self) -> dict[Operation, Device]:
        return self._around.placer.place(needed(self.elements, self.feeds))

    # -- compiling ----------------------------------------------------------------------------------------------------------------------

    def _compile(self, arrays: Sequence[Array]) -> Runs | Stages:
        start = time.perf_counter()
        placed = self._placed()
        expansion = self._spelled(arrays, self._apart(placed))
        specialised = (time.perf_counter() - start) * 1e3
        cause = self._cause(arrays)
        if expansion.need is None and not expansion.checks and not expansion.printings:
            return self._built(program_of(expansion), placed, {}, cause, specialised)
        types, values = self._types(arrays), self._values(arrays)  # the arrays are the user's, and will change
        maker = Maker(lambda context: self._expanded(types, values, self._apart(placed), context),
                      lambda program, kept, why: self._built(program, placed, kept, _and(cause, why), 0.0),
                      self._around.shared)
        return Stages(maker, expansion)

    def _built(self, program: Program, placed: Mapping[Operation, Device], kept: Mapping[str, str], cause: Cause, ms: float) -> Runs:
        """`program` compiled, in segments where its operations are on several devices, with its memory. kept: the devices of variables
        that the graph does not know. ms: what making the program took."""
        around, devices = self._around, _distinct(placed, self._around.placer)
        by_name = {device.short: device for device in (around.placer.host, *devices)}
        alone = devices[0].short if len(devices) == 1 else None
        to_host = any_of_host(program) and any(device.kind == "GPU" for device in devices)
        if alone is not None and not to_host:
            parts = whole(program, alone)
        else:
            variables = {**homes(program, placed), **kept}
            parts = split(on_host(program, variables, alone) if to_host else program, variables, devices[0].short)
        executables = [around.targets.compile(segment.program, by_name[segment.device]) for segment in parts.segments]
        bounds: list[Runs] = []
        try:
            for number, (segment, executable) in enumerate(zip(parts.segments, executables, strict=True)):
                begin = time.perf_counter()
                bounds.append(around.targets.bind(executable, by_name[segment.device]))
                phases = {"specialise": ms, **executable.compile_ms, "link": (time.perf_counter() - begin) * 1e3}
                which = f" (segment {number} of {len(executables)}, on {segment.device})" if len(executables) > 1 else ""
                fetches = [element.name for element in self.elements]
                around.log.add(executable, fetches, replace(cause, text=cause.text + which), phases)
                debug.report(executable, fetches, cause.text + which, phases)
        finally:
            for bound in bounds if len(bounds) < len(executables) else ():  # there was no memory for the next
                bound.retire()
        return bounds[0] if len(bounds) == 1 else PlacedBound(placed_executable(parts, executables), bounds)

    def _apart(self, placed: Mapping[Operation, Device]) -> dict[Operation, str] | None:
        """The device of each operation, in short, where there are several."""
        several = len(_distinct(placed, self._around.placer)) > 1
        return {operation: device.short for operation, device in placed.items()} if several else None

    def _spelled(self, arrays: Sequence[Array], placed: Mapping[Operation, str] | None) -> Expansion:
        """The operations expanded for the feeds' shapes, and for the values of those that turn out to spell a shape."""
        types = self._types(arrays)
        while True:
            expansion = self._expanded(types, self._values(arrays), placed, Context())
            spelling = () if expansion.need is None else expansion.need.parameters
            found = {n for n, tensor in enumerate(self.feeds) if tensor.name in spelling} - self._by_value
            if not found:
                return expansion
            self._by_value |= found

    def _types(self, arrays: Sequence[Array]) -> dict[Tensor, TensorType]:
        return {tensor: TensorType(tensor.dtype, array.shape) for tensor, array in zip(self.feeds, arrays, strict=True)}

    def _values(self, arrays: Sequence[Array]) -> dict[Tensor, Array]:
        """The feeds whose values matter, copied."""
        return {self.feeds[n]: np.array(arrays[n]) for n in sorted(self._by_value)}

    def _expanded(self, types: Mapping[Tensor, TensorType], values: Mapping[Tensor, Array], placed: Mapping[Operation, str] | None,
                  context: Context) -> Expansion:
        settings = self._around.targets.settings
        expansion = expand(self.elements, types, values, placed, found=context.found, called=context.called, checked=settings.checked)
        return finite.checked(expansion, self.elements, self._around.graph, settings.check_numerics)

    def _cause(self, arrays: Sequence[Array]) -> Cause:
        """Why this is compiled."""
        if not self._bounds:
            return self._around.log.new_fetches(self.elements, self.feeds, arrays)
        return new_shapes(self.feeds, arrays, self._key(arrays), list(self._bounds))


def _and(cause: Cause, why: str) -> Cause:
    return replace(cause, text=f"{cause.text}; {why}") if why else cause


def _distinct(placed: Mapping[Operation, Device], placer: Placer) -> list[Device]:
    return list(dict.fromkeys(placed.values())) or [placer.default]


@dataclass(frozen=True)
class Call:
    """One way of asking: how the results are put into the structure of the fetches, and what computes them.

    keys: those of the feed_dict where some are structures whose values must be spread; None where each is one tensor. order: the position
    among the fed values of each of the computation's feeds; None where they come in its order.
    """

    assemble: Assemble
    computation: Computation
    keys: tuple[Any, ...] | None
    order: tuple[int, ...] | None

    def values(self, given: Iterable[Any]) -> Sequence[Any]:
        """The value for each of the computation's feeds, of the values `given` for each key."""
        values = tuple(given if self.keys is None else self._spread(given))
        return values if self.order is None else [values[position] for position in self.order]

    def _spread(self, given: Iterable[Any]) -> Iterator[Any]:
        for key, value in zip(self.keys or (), given, strict=True):
            yield from spread(key, value)
