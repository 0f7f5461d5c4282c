"""What did each pass earn? The pipelines to measure for an answer: one with each pass left out, one with each family of rules.

`graphc.benchmark` runs them beside the whole pipeline. What no kernel knows (`expand`, `real`) is not optional and stays in all of them.
Of `order` stays that outputs and variables have memory of their own, which the plan needs; the order is then that of the declaration.
Where `fuse` is left out, so is on a GPU what only follows it (`pipelines.for_gpu`).
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from graphc.passes.fold import fold_rule
from graphc.passes.pipelines import FIRST, Pipeline
from graphc.passes.rewrite import Rewrite, Rule
from graphc.passes.rules_algebra import ALGEBRA
from graphc.passes.rules_indexing import INDEXING
from graphc.passes.rules_movement import MOVEMENT
from graphc.passes.rules_reduction import REDUCTION
from graphc.passes.rules_stability import STABILITY
from graphc.passes.storage import materialise

FAMILIES: dict[str, tuple[Rule, ...]] = {
    "constant folding": (fold_rule(),), "stability": STABILITY, "movement": MOVEMENT, "reduction": REDUCTION, "indexing": INDEXING,
    "algebra": ALGEBRA}


def without_each_pass(pipeline: Pipeline) -> dict[str, Pipeline]:
    """`pipeline` without each of its stages that may be left out, by "without <stage>"."""
    needed = {name for name, _ in FIRST}
    optional = dict.fromkeys(name for name, _ in pipeline.passes if name not in needed)
    return {f"without {stage}": _without_order(pipeline) if stage == "order" else pipeline.without(stage) for stage in optional}


def without_each_family(pipeline: Pipeline) -> dict[str, Pipeline]:
    """`pipeline` with each family of rules (see FAMILIES) taken out of its rewrites, by "without <family>"; those that it has some of."""
    present = {rule.name for _, apply in pipeline.passes if isinstance(apply, Rewrite) for rule in apply.rules}
    return {f"without {family}": _without_rules(pipeline, family, {rule.name for rule in rules})
            for family, rules in FAMILIES.items() if present & {rule.name for rule in rules}}


def _without_order(pipeline: Pipeline) -> Pipeline:
    passes = tuple(("materialise", materialise) if stage == "order" else (stage, apply) for stage, apply in pipeline.passes)
    return Pipeline(f"{pipeline.name} without order", passes)


def _without_rules(pipeline: Pipeline, family: str, names: Collection[str]) -> Pipeline:
    passes = tuple((stage, replace(apply, rules=tuple(rule for rule in apply.rules if rule.name not in names))
                    if isinstance(apply, Rewrite) else apply) for stage, apply in pipeline.passes)
    return Pipeline(f"{pipeline.name} without {family}", passes)
