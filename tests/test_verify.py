"""The verifier of Programs: each rule P1 to P6 broken once, by what no pass may make; and what is valid stays valid."""
from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.primitive import lookup
from graphc.core.program import Node, Program, make
from graphc.core.types import TensorType
from graphc.core.verify import InvalidProgram, verify
from tests.op_cases import CASES
from tests.op_table import Case
from tests.random_programs import programs

F32 = dtypes.float32


def x_(*shape: int | None, name: str = "x") -> Node:
    return p.parameter(name, TensorType(F32, shape))


def retyped(node: Node, *types: TensorType) -> Node:
    """A node like `node` that claims other types: only a broken pass could make one."""
    liar = Node()
    liar.primitive, liar.operands, liar.attrs, liar.types = node.primitive, node.operands, node.attrs, types
    return liar


def body(*outputs: Node, parameters: Sequence[Node] = (), effects: Sequence[Node] = ()) -> Program:
    return Program(tuple(parameters), outputs, tuple(effects))


X, Y = x_(3), x_(4, name="y")
SUM = p.add(X, X)
READ = p.variable_read("v", TensorType(F32, (3,)))
PAIR = p.fusion("loop", body(p.negate(X), SUM, parameters=(X,)), [X])
INSIDE = p.parameter("p0", TensorType(F32, (3,)))

BROKEN = [
    ("P1: operand <parameter", Program((X,), (SUM,), nodes=(SUM, X))),
    ("P1: a node stands twice", Program((X,), (SUM,), nodes=(X, SUM, SUM))),
    ("P1: an output or effect is not among the nodes", Program((X,), (SUM,), nodes=(X,))),
    ("P2: inferred f32\\[3\\]", Program((X,), (retyped(SUM, TensorType(F32, (4,))),))),
    ("P2: a dim is unknown", Program((x_(None),), (p.negate(x_(None)),))),
    ("P3: a parameter must be a `parameter` node", Program((SUM,), (SUM,), nodes=(X, SUM))),
    ("P3: two parameters have one name", Program((X, x_(4)), (SUM,))),
    ("P3: a parameter is not listed", Program((), (SUM,))),
    ("P3: a parameter is not among the nodes", Program((X, Y), (SUM,), nodes=(X, SUM))),
    ("P4: an effect must be a variable_assign", Program((X,), (), (SUM,))),
    ("P4: a variable is written twice", Program((X,), (), (p.variable_assign("v", X), p.variable_assign("v", SUM)))),
    ("P4: variable v has two types", Program((Y,), (READ,), (p.variable_assign("v", Y),))),
    ("P5: an output must be a single value", Program((X,), (PAIR,))),
    ("P6: a fusion holds state", Program((X,), (p.fusion("loop", body(p.add(INSIDE, READ), parameters=(INSIDE,)), [X]),))),
    ("P1: operand", Program((X,), (p.fusion("loop", Program((INSIDE,), (p.negate(INSIDE),), nodes=(p.negate(INSIDE), INSIDE)), [X]),))),
]


@pytest.mark.parametrize(("message", "program"), BROKEN, ids=[message for message, _ in BROKEN])
def test_what_breaks_a_rule_is_named(message: str, program: Program) -> None:
    with pytest.raises(InvalidProgram, match=message):
        verify(program)


def test_a_body_that_takes_other_types_is_refused() -> None:
    fusion = lookup("fusion")
    attrs = fusion.attrs(kind="loop", body=body(p.negate(INSIDE), parameters=(INSIDE,)))
    with pytest.raises((InvalidProgram, ValueError, TypeError), match=r"f32\[3\]"):
        verify(Program((Y,), (make(fusion, (Y,), attrs),)))


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_primitives_are_valid(case: Case) -> None:
    verify(case.program())


@given(programs())
@settings(max_examples=30)
def test_random_programs_are_valid(program: Program) -> None:
    assert verify(program) is program
