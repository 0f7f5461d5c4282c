"""Every order of passes there is, as lists. The one file to read to know what happens to a Program, and the one to change to change it.

    default   expand, real, simplify, split, fuse, order
    unfused   the same, but every compute node keeps a kernel of its own: the peer that fusion is measured against
    none      expand, real and order alone: one kernel a node, nothing simplified

`for_gpu` gives each of them its form for a GPU: the same stages, with other numbers for `split`, and a `fuse` that leaves large products to
a library. Where kernels are fused, `recompute` follows at once, and `together` at the end.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graphc.core.program import Node, Program
from graphc.passes.absorb import Absorb
from graphc.passes.epilogues import Epilogues
from graphc.passes.expand import Expand
from graphc.passes.fold import fold_rule
from graphc.passes.fuse import Fuse
from graphc.passes.order import Order
from graphc.passes.real import Real
from graphc.passes.record import Applied, recording
from graphc.passes.recompute import Recompute
from graphc.passes.rewrite import Rewrite
from graphc.passes.rules_algebra import ALGEBRA
from graphc.passes.rules_indexing import INDEXING
from graphc.passes.rules_movement import MOVEMENT
from graphc.passes.rules_reduction import REDUCTION
from graphc.passes.rules_stability import STABILITY
from graphc.passes.sorted_scatters import SortedScatters
from graphc.passes.split import GPU, Split
from graphc.passes.together import Together

Pass = Callable[[Program], Program]


@dataclass(frozen=True)
class Pipeline:
    """A named list of (stage name, pass)."""

    name: str
    passes: tuple[tuple[str, Pass], ...]

    def without(self, *stages: str) -> Pipeline:
        """This pipeline without some stages: to bisect, or to measure what a pass is worth."""
        return Pipeline(f"{self.name} without {', '.join(stages)}", tuple(p for p in self.passes if p[0] not in stages))


@dataclass(frozen=True)
class Stage:
    """What a pass made: its name, the Program after it, milliseconds, and the problem where it failed (then the Program is the one before).
    apply: the pass, None for what came before the first. applied: the rules that it applied, in order. became: the final forms of nodes that
    it rewrote, where it says."""

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
    the Program that it was given goes on to the next."""
    stages = [Stage("specialise", program)]
    for name, apply in pipeline.passes:
        start = time.perf_counter()
        with recording() as record:
            try:
                after, problem = apply(stages[-1].program), ""
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                after, problem = stages[-1].program, f"{type(error).__name__}: {error}"
        if (name, apply) in (*FIRST, SORTED) and not problem and after is stages[-1].program:
            continue  # a stage that few programs need is not shown for the others
        stages.append(Stage(name, after, (time.perf_counter() - start) * 1e3, problem, apply, tuple(record.applied),
                            record.became))
    return stages
