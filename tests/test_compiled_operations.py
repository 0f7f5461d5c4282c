"""The table of operations through the whole compiler, at every vector width: passes, lowering, machine code, plan."""
from __future__ import annotations

import pytest

from graphc.core.loops import Extern
from graphc.core.primitive import PRIMITIVES
from graphc.passes.pipelines import NONE
from tests.executing import execute
from tests.op_cases import BY_PRIMITIVE, in_one_program
from tests.tolerances import assert_close

HOST = {name for name in BY_PRIMITIVE if isinstance(PRIMITIVES[name].loop, Extern)}


@pytest.mark.parametrize("primitive", sorted(BY_PRIMITIVE.keys() - HOST))
@pytest.mark.usefixtures("vector_bits")
def test_compiled_operation_gives_the_expected_values(primitive: str) -> None:
    check(primitive)


@pytest.mark.parametrize("primitive", sorted(HOST))
def test_function_of_the_host_gives_the_expected_values(primitive: str) -> None:
    """LAPACK's vectors are its own: at one width."""
    check(primitive)


def check(primitive: str) -> None:
    """All cases of one primitive in one program, so that it is compiled and linked once."""
    cases = BY_PRIMITIVE[primitive]
    program, feeds = in_one_program(cases)
    results, _ = execute(program, feeds, pipeline=NONE)
    for case, node, result in zip(cases, program.outputs, results, strict=True):
        try:
            assert_close(result, case.want(), node.dtype, case.depth, case.scale)
        except AssertionError as error:
            raise AssertionError(f"{case.id}: {error}") from None
