"""Runs a Program on a GPU, real or fake, without a session: by launches, while it is recorded, and by replay. As `executing.py`."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.codegen.gpu import gpu_for
from graphc.core.program import Program
from graphc.passes.pipelines import DEFAULT, Pipeline
from graphc.runtime.compile_cuda import Products, compile_cuda_program
from graphc.runtime.cuda.device import device
from graphc.runtime.cuda.once import run_repeatedly

Array = np.ndarray[Any, Any]
RUNS = 3  # launch by launch, recorded, replayed


def execute(program: Program, feeds: Sequence[Any], variables: Mapping[str, Any] | None = None, pipeline: Pipeline = DEFAULT,
            products: Products | None = None, ordinal: int = 0) -> tuple[list[Array], dict[str, Array]]:
    """What `interpret` gives: outputs, and the new values of the written variables. All runs must give the same, bit for bit."""
    on = device(ordinal)
    executable = compile_cuda_program(program, pipeline, gpu_for(on.arch), products or Products())
    arrays = [_fitting(feed, type_) for feed, type_ in zip(feeds, executable.feeds, strict=True)]
    first, *others = run_repeatedly(executable, on, arrays, variables or {}, RUNS)
    for outputs, state in others:
        for one, other in zip((*first[0], *first[1].values()), (*outputs, *state.values()), strict=True):
            assert one.tobytes() == other.tobytes(), "a replay gives other results than the first run"
    return first


def _fitting(feed: Any, type_: Any) -> Array:
    array = np.require(np.asarray(feed, type_.dtype.np_dtype), requirements=["C", "A"])
    return array if array.dtype is type_.dtype.np_dtype else array.view(type_.dtype.np_dtype)
