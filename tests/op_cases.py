"""The whole table of operations: the samples of every file `tests/op_table*.py`, which has them in its list `CASES`."""
from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import graphc.primitives as p
from graphc.core.program import Node, Program
from tests.op_table import Array, Case


def _cases() -> list[Case]:
    modules = [import_module(f"tests.{path.stem}") for path in sorted(Path(__file__).parent.glob("op_table*.py"))]
    return [case for module in modules for case in module.CASES]


CASES: list[Case] = _cases()
BY_PRIMITIVE: dict[str, list[Case]] = {name: [case for case in CASES if case.primitive == name]
                                       for name in sorted({case.primitive for case in CASES})}
STATE = frozenset({"variable_read", "variable_assign"})  # tested where variables are


def in_one_program(cases: Sequence[Case]) -> tuple[Program, list[Array]]:
    """A Program whose outputs are those of all `cases`, so that they are compiled and loaded once; and its feeds."""
    parameters: list[Node] = []
    outputs: list[Node] = []
    feeds: list[Array] = []
    for number, case in enumerate(cases):
        operands = [p.parameter(f"{number}.{n}", type_) for n, type_ in enumerate(case.types)]
        parameters += operands
        feeds += case.arrays()
        outputs.append(case.build(*operands))
    return Program(tuple(parameters), tuple(outputs)), feeds
