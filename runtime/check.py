"""GRAPHC_VERIFY=1: every stage of a compilation against the reference interpreter, on random values. Finds the stage to blame.

`compile.py` calls `check_stages` after its passes. Each Program is verified, run by the interpreter, and compared with the Program before
the first pass; the first that differs is named. `check_machine_code` does the same for what came out at the end. Slow: for finding errors
of the compiler, not for daily use.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphc.core.dtypes import DType, float16, float32, float64
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.core.verify import InvalidProgram, verify

Array = np.ndarray[Any, Any]
Results = tuple[list[Array], dict[str, Array]]  # outputs, and the new values of the written variables
LARGEST = 1 << 26  # elements of all values together that the interpreter is asked to compute
# Part of the largest value by which a float may differ: passes reorder sums and replace formulas.
_TOLERANCE = {float64: 1e-9, float32: 1e-4, float16: 2e-2}
_COARSEST = 5e-2  # bfloat16


class WrongPass(AssertionError):
    """A stage made an invalid Program, or gives other results: an error of the compiler, never of its user."""


def wanted() -> bool:
    """Whether the environment asks for checks."""
    return os.environ.get("GRAPHC_VERIFY", "") not in ("", "0")


def check_stages(stages: Iterable[tuple[str, Program]], seed: int = 0) -> bool:
    """WrongPass, naming the first of the (pass name, Program after it) that is not valid or gives other results than the first Program.

    False where the program is too large to be interpreted: then only validity was checked.
    """
    programs = list(stages)
    for name, program in programs:
        try:
            verify(program)
        except InvalidProgram as error:
            raise WrongPass(f"the program after pass {name!r} is not valid: {error}") from error
    first = programs[0][1]
    if _is_large(first):
        return False
    feeds, variables = _random_state(first, seed)
    expected = _named(interpret(first, feeds, variables))
    for name, program in programs[1:]:
        _compare(f"pass {name!r}", expected, _named(interpret(program, feeds, variables)))
    return True


def check_machine_code(program: Program, run: Callable[[list[Array], dict[str, Array]], Results], seed: int = 0) -> bool:
    """WrongPass where `run(feeds, variables)` gives other results than the interpreter gives for `program`. False as `check_stages`."""
    if _is_large(program):
        return False
    feeds, variables = _random_state(program, seed)
    _compare("machine code", _named(interpret(program, feeds, variables)), _named(run(feeds, variables)))
    return True


def _is_large(program: Program) -> bool:
    return sum(type_.size for node in program.nodes for type_ in node.types) > LARGEST


def _random_state(program: Program, seed: int) -> tuple[list[Array], dict[str, Array]]:
    """Feeds and variables. A counter of random operations is an integer scalar like any other: every number is a valid run."""
    random = np.random.default_rng(seed)
    return ([_random(parameter.type, random) for parameter in program.parameters],
            {name: _random(type_, random) for name, type_ in program.variables.items()})


def _named(results: Results) -> dict[str, Array]:
    """Outputs and new values of variables, by what to call them."""
    outputs, written = results
    return ({f"output {number}": value for number, value in enumerate(outputs)}
            | {f"variable {name}": value for name, value in written.items()})


def _compare(stage: str, expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    for what, value in expected.items():
        if what not in found:
            raise WrongPass(f"{stage} lost {what}")
        difference = _difference(value, found[what])
        if difference:
            raise WrongPass(f"{stage} changed {what}: {difference}")


def _random(type_: TensorType, random: np.random.Generator) -> Array:
    """Values that no common formula overflows on; small integers, so that they can be indices and labels."""
    if type_.dtype.is_complex:
        pairs = random.standard_normal((*type_.dims, 2)).astype(type_.dtype.real_dtype.np_dtype)
        return np.asarray(pairs.view(type_.dtype.np_dtype)[..., 0])
    if type_.dtype.is_floating:
        return np.asarray(random.standard_normal(type_.dims)).astype(type_.dtype.np_dtype)
    return np.asarray(random.integers(0, 2, type_.dims)).astype(type_.dtype.np_dtype)


def _difference(expected: Array, found: Array) -> str:
    """What differs, "" where nothing does that rounding may not change."""
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return f"expected {expected.dtype}{list(expected.shape)}, got {found.dtype}{list(found.shape)}"
    wrong = expected != found
    if expected.dtype.kind not in "biu":
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        left, right = expected.astype(wide), found.astype(wide)
        finite = np.isfinite(left)
        scale = float(np.abs(left[finite]).max(initial=1.0))
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(left - right) <= _tolerance(expected) * scale) & ~((np.isnan(left) & np.isnan(right)) | (left == right))
    if not wrong.any():
        return ""
    place = tuple(int(position) for position in np.argwhere(wrong)[0])
    return f"at {list(place)} expected {expected[place]}, got {found[place]} ({int(wrong.sum())} of {wrong.size} elements differ)"


def _tolerance(array: Array) -> float:
    known: dict[DType, float] = _TOLERANCE
    return next((value for dtype, value in known.items() if dtype.np_dtype == array.dtype), _COARSEST)
