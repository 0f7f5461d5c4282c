"""The table of operations through the whole compiler, at every vector width: passes, lowering, machine code, plan."""
from __future__ import annotations

from collections import defaultdict

import pytest

from graphc.core.program import Program
from graphc.passes.pipelines import NONE
from graphc.primitives import parameter
from tests.executing import execute
from tests.op_table import Case
from tests.op_table_arrays import CASES
from tests.tolerances import assert_close

BY_PRIMITIVE: dict[str, list[Case]] = defaultdict(list)
for _case in CASES:
    BY_PRIMITIVE[_case.primitive].append(_case)


@pytest.mark.parametrize("primitive", sorted(BY_PRIMITIVE))
@pytest.mark.usefixtures("vector_bits")
def test_compiled_operation_gives_the_expected_values(primitive: str) -> None:
    """All cases of one primitive in one program, so that it is compiled and linked once."""
    cases = BY_PRIMITIVE[primitive]
    parameters, outputs, feeds = [], [], []
    for number, case in enumerate(cases):
        operands = [parameter(f"{number}.{n}", t) for n, t in enumerate(case.types)]
        parameters += operands
        feeds += case.arrays()
        outputs.append(case.build(*operands))
    results, _ = execute(Program(tuple(parameters), tuple(outputs)), feeds, pipeline=NONE)
    for case, node, result in zip(cases, outputs, results, strict=True):
        try:
            assert_close(result, case.want(), node.dtype, case.depth, case.scale)
        except AssertionError as error:
            raise AssertionError(f"{case.id}: {error}") from None
