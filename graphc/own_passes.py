"""Passes and pipelines that commands are given as Python files: `--pipeline FILE.py`, `graphc opt --pass FILE.py:NAME`. Stands on top."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import graphc as gc
from graphc.scripts import names_of

STANDS_AFTER = "simplify"  # where the passes of a file go that says no more


def pipeline_named(name: str) -> str | gc.Pipeline:
    """`name` itself where it is that of a pipeline; of a Python file its `pipeline`, or "default" with its `passes` after "simplify".

    ValueError where there is neither, where the file raises (with its line), and where what it defines is of another kind.
    """
    if name in gc.pipelines:
        return name
    if not Path(name).is_file():
        raise ValueError(f"no pipeline {name!r}: give one of {', '.join(gc.pipelines)}, or a Python file that defines pipeline or passes")
    defined = names_of(name)
    if "pipeline" in defined:
        made = defined["pipeline"]
        if not isinstance(made, gc.Pipeline):
            raise ValueError(f"{name}: pipeline must be a Pipeline, as in gc.pipelines[\"default\"].without(\"fuse\"); "
                             f"it is of type {type(made).__name__}")
        return made
    if "passes" not in defined:
        raise ValueError(f"{name} defines neither pipeline (a Pipeline) nor passes (a list of (name, pass))")
    return _with_passes(name, defined["passes"])


def _with_passes(file: str, passes: Any) -> gc.Pipeline:
    if not isinstance(passes, list | tuple) or not all(isinstance(each, tuple) and len(each) == 2 for each in passes):
        raise ValueError(f"{file}: passes must be a list of (name, pass)")
    pipeline, place = gc.pipelines["default"], STANDS_AFTER
    for stage, given in passes:
        try:
            pipeline = pipeline.after(place, stage, given)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error
        place = stage
    return pipeline


def pass_named(name: str) -> gc.passes.Pass:
    """The pass called `name`, or NAME of the file in `FILE.py:NAME`: a pass, a rule or a list of rules; ValueError where there is none."""
    file, _, wanted = name.rpartition(":")
    if not file:
        if name not in gc.passes.PASSES:
            raise ValueError(f"no pass {name!r}; there are {', '.join(gc.passes.PASSES)}, and FILE.py:NAME")
        return gc.passes.PASSES[name]
    if not Path(file).is_file():
        raise ValueError(f"no file {file!r}: a pass is one of {', '.join(gc.passes.PASSES)}, or FILE.py:NAME")
    defined = names_of(file)
    if wanted not in defined:
        raise ValueError(f"{file} defines no {wanted!r}")
    try:
        return gc.passes.as_pass(wanted, defined[wanted])
    except TypeError as error:
        raise ValueError(f"{file}: {error}") from error
