"""Runs a Program as compiled code, without a session: for tests of everything from passes to machine code."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.core.program import Program
from graphc.passes.pipelines import DEFAULT, Pipeline
from graphc.runtime.arena import aligned_empty
from graphc.runtime.compile import compile_program, link
from graphc.runtime.executable import NativeExecutable, Slots

Array = np.ndarray[Any, Any]
FILLER = 0xAB  # memory that a plan must write before it reads


def execute(program: Program, feeds: Sequence[Any], variables: Mapping[str, Any] | None = None, pipeline: Pipeline = DEFAULT,
            threads: int = 1) -> tuple[list[Array], dict[str, Array]]:
    """What `interpret` gives, computed by machine code: outputs, and the new values of the written variables."""
    return run(compile_program(program, pipeline, threads), feeds, variables)


def run(executable: NativeExecutable, feeds: Sequence[Any], variables: Mapping[str, Any] | None = None,
        ) -> tuple[list[Array], dict[str, Array]]:
    slots = executable.slots
    lasting = {Slots.ARENA: _filled(executable.memory.arena_bytes), Slots.SCRATCH: _filled(executable.scratch_bytes)}
    state = {name: aligned_empty(type_.dims, type_.dtype.np_dtype) for name, type_ in (*executable.reads, *executable.writes)}
    for name, _ in executable.reads:
        state[name][...] = (variables or {})[name]
    lasting |= {slots.variable(name): array for name, array in state.items()}
    lasting |= {slots.constant(n): np.ascontiguousarray(array) for n, array in enumerate(executable.constants)}
    native = link(executable, lasting).run
    arrays = [_fitting(feed, type_) for feed, type_ in zip(feeds, executable.feeds, strict=True)]
    outputs = [_filled(t.nbytes).view(t.dtype.np_dtype).reshape(t.dims) for t in executable.fetches]
    kept = [array.copy() for array in arrays]
    refused = native(*arrays, *outputs)
    assert refused is None, f"array {refused} was refused"
    for before, after in zip(kept, arrays, strict=True):
        assert before.tobytes() == after.tobytes(), "a run changed a feed"
    return outputs, {name: state[name] for name, _ in executable.writes}


def _fitting(feed: Any, type_: Any) -> Array:
    array = np.require(np.asarray(feed, type_.dtype.np_dtype), requirements=["C", "A"])
    return array if array.dtype is type_.dtype.np_dtype else array.view(type_.dtype.np_dtype)


def _filled(size: int) -> Array:
    memory = aligned_empty((size,), np.dtype(np.uint8))
    memory[...] = FILLER
    return memory
