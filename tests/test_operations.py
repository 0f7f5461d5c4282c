"""Every public operation once more, from its samples: compiled as by default against the reference interpreter, and asked for what it does
not do: other element types, other ranks, other sizes. What is refused is refused with a reason, and the graph goes on working.

Values, gradients and unknown shapes are tested in `test_composites.py` and `test_composite_gradients.py`; which types are taken is on
the page docs/operations.md, whose test fails where that changes.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import graphc as gc
from graphc.core import dtypes
from graphc.core.errors import InvalidArgumentError
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from tests.composite_cases import Case
from tests.composite_table import FAMILIES
from tests.public_functions import declare, operations_behind
from tests.test_operations_page import Entry, entries
from tests.tolerances import assert_close

pytestmark = pytest.mark.filterwarnings("ignore")
REFUSALS = (TypeError, ValueError, InvalidArgumentError)
TYPE_NAMES = [word for kind in dtypes.ALL for word in (kind.name, kind.code)]
TYPE_WORDS = re.compile(rf"\b({'|'.join(TYPE_NAMES)})\b|floating|integer|complex|bool")
EVERY = 4  # which samples are interpreted too: all of them are compared with their expectation in test_composites.py


# Compiled and interpreted ----------------------------------------------------------------------------------------------------------------

def _program_and_feeds(case: Case) -> tuple[list[gc.Tensor], dict[gc.Tensor, Any], list[Any]] | None:
    """Results, feeds and interpreted values; None for what the interpreter cannot run alone: variables, sizes that rest on values."""
    outputs, feeds = declare(case, [a.shape for a in case.arrays])
    if any(operation.definition.stateful for operation in operations_behind(outputs)):
        return None
    try:
        program = specialise(outputs, {t: TensorType(t.dtype, a.shape) for t, a in feeds.items()})
    except Exception as error:
        if type(error).__name__ in ("ValueNeeded", "ComputedValueNeeded"):
            return None
        raise
    return outputs, feeds, interpret(program, list(feeds.values()))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_is_as_interpreted(family: str) -> None:
    found = [(case, each) for case in FAMILIES[family][::EVERY] if (each := _program_and_feeds(case)) is not None]
    feeds = {tensor: array for _, (_, own, _) in found for tensor, array in own.items()}
    with gc.Session() as session:
        compiled = session.run([outputs for _, (outputs, _, _) in found], feeds)
    problems = []
    for (case, (outputs, _, wanted)), got in zip(found, compiled, strict=True):
        try:
            for tensor, value, want in zip(outputs, got, wanted, strict=True):
                assert_close(value, want, tensor.dtype, case.depth, case.scale)
        except AssertionError as error:
            problems.append(f"{case.id}: {' '.join(str(error).split())[:200]}")
    assert not problems, f"{len(problems)} samples differ:\n" + "\n".join(problems)


# Refused ---------------------------------------------------------------------------------------------------------------------------------

ENTRIES = [entry for entry in entries() if entry.cases]


def _refusal(case: Case, shapes: Sequence[Any], kinds: Sequence[Any] | None = None) -> Exception | None:
    """What declaring the sample with other shapes or types raises."""
    with gc.Graph().as_default():
        x = gc.placeholder(gc.float32, [2])
        try:
            declare(case, shapes, kinds)
        except Exception as error:
            gc.exp(x)  # the graph goes on working
            return error
    return None


def _other_types(entry: Entry) -> Iterator[tuple[str, Exception]]:
    case = entry.case
    if case.arrays:
        first = case.arrays[0].dtype
        for kind in dtypes.ALL:
            error = _refusal(case, [a.shape for a in case.arrays], [kind if a.dtype == first else a.dtype for a in case.arrays])
            if error is not None:
                yield f"{entry.names[0]} of {kind.name}", error


def _other_shapes(entry: Entry) -> Iterator[tuple[str, Exception]]:
    """Each array of the sample in turn a scalar, one axis more, one element more in the last axis."""
    shapes = [a.shape for a in entry.case.arrays]
    for n, shape in enumerate(shapes):
        for other in ((), (*shape, 2), (*shape[:-1], shape[-1] + 1) if shape else (3,)):
            error = _refusal(entry.case, [*shapes[:n], other, *shapes[n + 1:]])
            if error is not None:
                yield f"{entry.names[0]} of {list(other)} at place {n}", error


@pytest.mark.parametrize("half", [0, 1])
def test_other_types_are_refused_by_name(half: int) -> None:
    """With a message that speaks of types."""
    problems = [f"{what}: {error!r}" for entry in ENTRIES[half::2] for what, error in _other_types(entry)
                if not isinstance(error, REFUSALS) or not TYPE_WORDS.search(str(error))]
    assert not problems, f"{len(problems)} refusals without a reason:\n" + "\n".join(p[:250] for p in problems)


@pytest.mark.parametrize("half", [0, 1])
def test_other_shapes_are_refused_by_value(half: int) -> None:
    """With a message that shows a rank, a size or a shape."""
    problems = [f"{what}: {error!r}" for entry in ENTRIES[half::2] for what, error in _other_shapes(entry)
                if not isinstance(error, REFUSALS) or not re.search(r"\d|scalar|rank|shape|vector|matri|dimensional", str(error))]
    assert not problems, f"{len(problems)} refusals without a reason:\n" + "\n".join(p[:250] for p in problems)
