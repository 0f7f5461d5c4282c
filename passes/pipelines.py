"""Every order of passes there is, as lists. The one file to read to know what happens to a Program, and the one to change to change it.

    default   expand, real, simplify, split, fuse, order
    unfused   the same, but every compute node keeps a kernel of its own: the peer that fusion is measured against
    none      expand, real and order alone: one kernel a node, nothing simplified

`for_gpu` gives each of them its form for a GPU: the same stages, with other numbers for `split`, and a `fuse` that leaves large products to
a library. Where kernels are fused, `recompute` follows at once, and `together` at the end.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.core.program import Node, Program
from graphc.passes.absorb import Absorb
from graphc.passes.epilogues import Epilogues
from graphc.passes.expand import Expand
from graphc.passes.fold import fold_rule
from graphc.passes.fuse import Fuse
from graphc.passes.order import Order
from graphc.passes.real import Real
from graphc.passes.recompute import Recompute
from graphc.passes.record import Applied, Record, recording
from graphc.passes.rewrite import Rewrite, Rule
from graphc.passes.rules_algebra import ALGEBRA
from graphc.passes.rules_indexing import INDEXING
from graphc.passes.rules_movement import MOVEMENT
from graphc.passes.rules_reduction import REDUCTION
from graphc.passes.rules_stability import STABILITY
from graphc.passes.sorted_scatters import SortedScatters
from graphc.passes.split import GPU, Split
from graphc.passes.storage import materialise
from graphc.passes.together import Together
from graphc.passes.users import FAILURES, guarded, is_ours

Pass = Callable[[Program], Program]
Given = Pass | Rule | Sequence[Rule]  # what a stage can be given as


@dataclass(frozen=True)
class Pipeline:
    """A named list of (stage name, pass). Its methods give changed copies.

    A pass is any function Program -> Program; a `Rule` or a list of them stands for a `Rewrite` of those. ValueError for a stage that is
    not there, or a name that is taken; TypeError for what is no pass.
    """

    name: str
    passes: tuple[tuple[str, Pass], ...]

    def without(self, *stages: str) -> Pipeline:
        """This pipeline without some stages: to bisect, or to measure what a pass is worth."""
        for stage in stages:
            self._place(stage)
        return Pipeline(f"{self.name} without {', '.join(stages)}", tuple(p for p in self.passes if p[0] not in stages))

    def after(self, stage: str, name: str, given: Given) -> Pipeline:
        """This pipeline with one more pass, as stage `name`, after `stage` ("specialise": before all others)."""
        return self._with(0 if stage == "specialise" else self._place(stage) + 1, name, given)

    def before(self, stage: str, name: str, given: Given) -> Pipeline:
        """This pipeline with one more pass, as stage `name`, before `stage`."""
        return self._with(self._place(stage), name, given)

    def replaced(self, stage: str, given: Given) -> Pipeline:
        """This pipeline with another pass as `stage`."""
        place = self._place(stage)
        passes = (*self.passes[:place], (stage, as_pass(stage, given)), *self.passes[place + 1:])
        return Pipeline(f"{self.name} with another {stage}", passes)

    def _with(self, place: int, name: str, given: Given) -> Pipeline:
        if name in RESERVED or name in dict(self.passes):
            raise ValueError(f"a stage called {name!r} is there already: give yours another name")
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"a stage's name is a string; got {name!r}")
        return Pipeline(f"{self.name} with {name}", (*self.passes[:place], (name, as_pass(name, given)), *self.passes[place:]))

    def _place(self, stage: str) -> int:
        names = [name for name, _ in self.passes]
        if stage not in names:
            raise ValueError(f"no stage {stage!r} in the pipeline {self.name!r}; there are {', '.join(names)}")
        return names.index(stage)

    def __str__(self) -> str:
        return self.name


def as_pass(name: str, given: Given) -> Pass:
    """The pass that stage `name` is given; TypeError where it is none."""
    rules = (given,) if isinstance(given, Rule) else tuple(given) if isinstance(given, Sequence) else ()
    if rules and all(isinstance(rule, Rule) for rule in rules):
        return Rewrite(rules, name)
    if not callable(given) or isinstance(given, Rule | type):
        raise TypeError(f"stage {name!r}: a pass is a function Program -> Program, a Rule or a list of Rules; got {given!r}")
    return given


@dataclass(frozen=True)
class Stage:
    """What a pass made: its name, the Program after it, milliseconds, and the problem where it failed (then the Program is the one before).
    apply: the pass, None for what came before the first. applied: the rules that it applied, in order. became: the final forms of nodes,
    where the pass says."""

    name: str
    program: Program
    ms: float = 0.0
    problem: str = ""
    apply: Pass | None = None
    applied: tuple[Applied, ...] = field(default=(), repr=False)
    became: Mapping[Node, Node] = field(default_factory=dict, repr=False)


# Stability first: it recognises the formulas that algebra would take apart.
SIMPLIFY = Rewrite((fold_rule(), *STABILITY, *MOVEMENT, *REDUCTION, *INDEXING, *ALGEBRA), name="simplify")

FIRST = (("expand", Expand()), ("real", Real()))  # what no kernel knows: must be gone before the others
SORTED = ("sorted scatters", SortedScatters(lambda program: SIMPLIFY(Expand()(program))))
DEFAULT = Pipeline("default", (*FIRST, ("simplify", SIMPLIFY), ("split", Split()), ("fuse", Fuse()), ("order", Order())))
UNFUSED = Pipeline("unfused", (*FIRST, ("simplify", SIMPLIFY), ("split", Split()), ("separate", Fuse(merge=False)), ("order", Order())))
NONE = Pipeline("none", (*FIRST, ("order", Order())))
RESERVED = ("specialise", "sorted scatters", "recompute", "absorb", "together")  # stages that are not in the lists above
PIPELINES = {pipeline.name: pipeline for pipeline in (DEFAULT, UNFUSED, NONE)}

# Every pass by name, with its default options, for `graphc opt --pass NAME`.
PASSES: dict[str, Pass] = {
    "expand": Expand(), "real": Real(),
    "fold": Rewrite((fold_rule(),), name="fold"), "stability": Rewrite(STABILITY, name="stability"),
    "movement": Rewrite(MOVEMENT, name="movement"), "reduction": Rewrite(REDUCTION, name="reduction"),
    "indexing": Rewrite(INDEXING, name="indexing"),
    "algebra": Rewrite(ALGEBRA, name="algebra"), "simplify": SIMPLIFY, "split": Split(), "fuse": Fuse(), "separate": Fuse(merge=False),
    "recompute": Recompute(), "order": Order(), "together": Together()}


def for_gpu(pipeline: Pipeline, expressible: Callable[[Node], bool] | None = None) -> Pipeline:
    """`pipeline` as it is for a GPU. expressible: whether a library of products computes all that a node does (see `Epilogues`); None
    where there is no library. Passes with options of one's own stay."""
    def fitting(apply: Pass) -> Pass:
        if apply == Split():
            return Split(GPU)
        return Epilogues(expressible) if apply == Fuse() and expressible is not None else apply

    passes: list[tuple[str, Pass]] = []
    for name, apply in pipeline.passes:
        passes.append((name, fitting(apply)))
        if apply == SIMPLIFY:
            passes.append(SORTED)
        if apply == Fuse():
            passes.append(("recompute", Recompute(expressible)))
            passes += [] if expressible is None else [("absorb", Absorb(expressible))]
    if any(apply == Fuse() for _, apply in pipeline.passes):
        passes.append(("together", Together()))
    return Pipeline(pipeline.name, tuple(passes))


def run_pipeline(program: Program, pipeline: Pipeline) -> list[Stage]:
    """The Program before the first pass (stage "specialise") and after each. A pass that raises is reported in its stage and left out:
    the Program that it was given goes on to the next. So is a user's pass that makes an invalid Program (`users.guarded`)."""
    stages = [Stage("specialise", program)]
    done: list[str] = []
    for name, apply in pipeline.passes:
        done.append(name)
        start = time.perf_counter()
        with recording() as record:
            try:
                after, problem = (apply if is_ours(apply) else _own(apply, done))(stages[-1].program), ""
            except FAILURES as error:
                after, problem, record = stages[-1].program, f"{type(error).__name__}: {error}", Record()  # nothing of it counts
        if (name, apply) in (*FIRST, SORTED) and not problem and after is stages[-1].program:
            continue  # a stage that few programs need is not shown for the others
        stages.append(Stage(name, after, (time.perf_counter() - start) * 1e3, problem, apply, tuple(record.applied),
                            record.became))
    return stages


def _own(apply: Pass, done: Collection[str]) -> Pass:
    """A user's pass, guarded; what the stages `done` before it (or it in their place) see to holds again after it."""
    def guarded_pass(program: Program) -> Program:
        after = guarded(apply, program)
        for name, first in FIRST:
            after = first(after) if name in done else after
        if "order" in done and materialise(after) != after:
            return Order()(after)
        return after
    return guarded_pass
