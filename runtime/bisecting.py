"""`bisect`: one computation on its own values, every pass and kernel against the reference. For `graphc bisect` and `Session.bisect`."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.core.devices import KEPT
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.passes.pipelines import NONE, Pipeline, run_pipeline
from graphc.runtime.bound import Runs
from graphc.runtime.check import Run, is_large, judge_code, judge_stages
from graphc.runtime.check_passes import Inputs
from graphc.runtime.compile import compile_program, run_once
from graphc.runtime.placed import PlacedExecutable
from graphc.runtime.stages import Stages
from graphc.runtime.verdict import Culprit, Verdict, together
from graphc.runtime.verifying import Tell, silent

Array = np.ndarray[Any, Any]
_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of a wrong code generator


def bisect(program: Program, pipeline: Pipeline, feeds: Sequence[Any], variables: Mapping[str, Any], *, threads: int = 1,
           tell: Tell = silent) -> Verdict:
    """Compiles `program` for this machine's CPU and compares every pass, every kernel and the whole with the reference interpreter.

    feeds: one array for each parameter, of its type; variables: the values of those that are read; both stay as they are. tell: is told of
    each step in a line. ValueError where the program is too large to be interpreted, or refuses the values.
    """
    if is_large(program):
        raise ValueError("the program is too large for the reference interpreter: bisect a smaller one, of the same operations")
    given = [np.ascontiguousarray(feed, parameter.dtype.np_dtype).reshape(parameter.dims)
             for feed, parameter in zip(feeds, program.parameters, strict=True)]
    inputs = Inputs(program, given, variables)
    passes = judge_stages(run_pipeline(program, pipeline), inputs, tell, strict=True)
    if not passes.ok:
        return passes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of passes that fail: they have been judged
            executable = compile_program(program, pipeline, threads, verify=False)
    except _FAILURES as error:
        culprit = Culprit("machine code", "compile", f"no machine code can be made: {type(error).__name__}: {error}")
        return Verdict(passes.passes, passes.applications, 0, passes.largest, culprit)
    code = judge_code(executable, inputs, functools.partial(run_once, executable), tell, _alone)
    return Verdict(passes.passes, passes.applications, code.kernels, max(passes.largest, code.largest), code.culprit)


def _alone(program: Program) -> Run:
    """`program` compiled with a kernel for each node, to be run."""
    return functools.partial(run_once, compile_program(program, NONE, threads=1, verify=False))


@dataclass
class Bisection:
    """One run of a session, bisected in the parts in which it runs: stages, and segments on several CPUs. What one part leaves for the next
    is the reference interpreter's. read: copies of variables, by name."""

    pipeline: Pipeline
    threads: int
    read: Callable[[Mapping[str, TensorType]], Mapping[str, Array]]
    tell: Tell
    _verdicts: list[Verdict] = field(default_factory=list)
    _kept: dict[str, Array] = field(default_factory=dict)  # what earlier parts left in variables of the run's own

    @property
    def verdict(self) -> Verdict:
        """On all parts so far."""
        return together(self._verdicts)

    def bound(self, bound: Runs | Stages, feeds: Sequence[Any]) -> None:
        """Bisects what runs for these feeds, up to the first part that is wrong."""
        if isinstance(bound, Stages):
            bound.walk(feeds, self._stage)
        else:
            self._stage("", bound, feeds)

    def program(self, program: Program, feeds: Sequence[Any]) -> list[Array] | None:
        """Bisects a part. Its outputs where it is right, else None."""
        reads = {node.attrs.variable: node.type for node in program.nodes if node.name == "variable_read"}
        variables = {**self.read({name: type_ for name, type_ in reads.items() if name not in self._kept}), **self._kept}
        verdict = bisect(program, self.pipeline, feeds, variables, threads=self.threads, tell=self.tell)
        self._verdicts.append(verdict)
        if not verdict.ok:
            return None
        outputs, written = interpret(program, feeds, variables)
        self._kept |= {name: value for name, value in written.items() if name.startswith(KEPT)}
        return outputs

    def _stage(self, title: str, bound: Runs, feeds: Sequence[Any]) -> list[Array] | None:
        if title:
            self.tell(f"stage for {title}")
        executable = bound.executable
        if not isinstance(executable, PlacedExecutable):
            return self.program(executable.stages[0].program, feeds)
        arrays = dict(enumerate(feeds))
        for segment in executable.segments:
            self.tell(f"segment on {segment.device}")
            outputs = self.program(segment.executable.stages[0].program, [arrays[each] for each in segment.takes])
            if outputs is None:
                return None
            arrays.update(zip(segment.gives, outputs, strict=True))
        return [arrays[len(feeds) + number] for number in range(len(executable.fetches))]
