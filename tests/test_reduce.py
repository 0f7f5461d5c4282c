"""The smallest program that still goes wrong (`runtime/reduce.py`)."""
from __future__ import annotations

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret, trace
from graphc.core.parse import parse_program
from graphc.core.program import Node, Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.runtime.reduce import Example, reduce_program

Array = np.ndarray
F32 = TensorType(dtypes.float32, (3,))
X, Y, V = p.parameter("x", F32), p.parameter("y", F32), p.variable_read("v", F32)
FEEDS, STATE = [np.float32([1, 2, 3]), np.float32([4, 5, 6])], {"v": np.float32([7, 8, 9])}


def _chain(x: Node, length: int) -> Node:
    for _ in range(length):
        x = p.add(p.tanh(x), p.cosine(x))
    return x


def _reduced(program: Program, name: str) -> tuple[Example | None, list[int]]:
    """What is left of `program` where everything with the primitive `name` in it goes wrong, and the sizes that were tried."""
    tried: list[int] = []

    def fails(smaller: Program, feeds: list[Array]) -> bool:
        verify(smaller)
        interpret(smaller, feeds)
        tried.append(len(smaller.nodes))
        return any(node.name == name for node in smaller.nodes)
    return reduce_program(program, trace(program, FEEDS, STATE), fails), tried


def test_one_node_is_left_of_many() -> None:
    middle = p.sine(_chain(p.add(X, V), 40))
    program = Program((X, Y), (p.multiply(Y, Y), _chain(middle, 40)), (p.variable_assign("v", p.add(V, middle)),))
    example, tried = _reduced(program, "sine")
    assert example is not None
    assert [node.name for node in example.program.nodes] == ["parameter", "sine"]
    (operand,) = [node.operands[0] for node in program.nodes if node.name == "sine"]
    np.testing.assert_array_equal(example.feeds[0], trace(program, FEEDS, STATE)[operand])
    assert len(tried) < 60  # of some 330 nodes
    assert parse_program(print_program(example.program)) == example.program


def test_what_it_takes_stays() -> None:
    """Two nodes that only go wrong together."""
    program = Program((X, Y), (p.negate(p.multiply(p.exponential(X), p.tanh(Y))),))

    def fails(smaller: Program, feeds: list[Array]) -> bool:
        return {"exponential", "tanh"} <= {node.name for node in smaller.nodes}
    example = reduce_program(program, trace(program, FEEDS), fails)
    assert example is not None
    assert sorted(node.name for node in example.program.nodes) == ["exponential", "parameter", "parameter", "tanh"]


def test_nothing_is_left_where_it_takes_the_state() -> None:
    program = Program((X,), (), (p.variable_assign("v", X),))
    assert reduce_program(program, trace(program, FEEDS[:1]), lambda smaller, feeds: bool(smaller.effects)) is None


def test_nodes_with_several_outputs_are_cut_after_them() -> None:
    matrix = p.parameter("m", TensorType(dtypes.float64, (2, 2)))
    values, vectors = p.eigh(matrix)
    program = Program((matrix,), (p.sine(values), vectors))
    example = reduce_program(program, trace(program, [np.eye(2)]), lambda smaller, feeds: any(n.name == "sine" for n in smaller.nodes))
    assert example is not None
    assert [node.name for node in example.program.nodes] == ["parameter", "sine"]
