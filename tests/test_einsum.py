"""einsum: the kernels behind it, the path of several operands, what an equation tells of unknown ranks, and mistakes in it."""
from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import graphc as gc
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from graphc.passes.pipelines import PIPELINES, run_pipeline


def _primitives(equation: str, *shapes: tuple[int, ...]) -> Counter[str]:
    """How many nodes of each primitive the simplified Program of an einsum has."""
    inputs = [gc.placeholder(gc.float32, shape) for shape in shapes]
    types = {x: TensorType(gc.float32, shape) for x, shape in zip(inputs, shapes, strict=True)}
    program = specialise([gc.einsum(equation, *inputs)], types)
    return Counter(node.name for node in run_pipeline(program, PIPELINES["default"].without("split", "fuse", "order"))[-1].program.nodes)


@pytest.mark.parametrize(("equation", "shapes", "transposes"), [
    ("ij,jk->ik", ((3, 4), (4, 5)), 0), ("ij,kj->ik", ((3, 4), (5, 4)), 0), ("ji,jk->ki", ((4, 3), (4, 5)), 0),
    ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5)), 0), ("bqhd,bkhd->bhqk", ((2, 4, 3, 5), (2, 6, 3, 5)), 0),
    ("bij,jk->bik", ((2, 3, 4), (4, 5)), 0), ("bij,bjk->ibk", ((2, 3, 4), (2, 4, 5)), 1),
])
def test_a_pair_is_one_product(equation: str, shapes: tuple[tuple[int, ...], ...], transposes: int) -> None:
    found = _primitives(equation, *shapes)
    assert (found["dot_general"], found["transpose"]) == (1, transposes)


@pytest.mark.parametrize(("equation", "shapes"), [
    ("i,j->ij", ((3,), (4,))), ("ij,ij->ij", ((3, 4), (3, 4))), ("ij,ij->i", ((3, 4), (3, 4))), ("ij,ij->", ((3, 4), (3, 4)))])
def test_what_is_no_product_of_matrices_is_none(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert _primitives(equation, *shapes)["dot_general"] == 0


def test_three_operands_take_the_cheapest_path() -> None:
    """The thin matrix first: two products with 3 columns, not one of 100 x 100 x 100."""
    a, b, c = (gc.placeholder(gc.float32, shape) for shape in ((100, 100), (100, 100), (100, 3)))
    types = {x: TensorType(gc.float32, tuple(x.shape.as_list())) for x in (a, b, c)}
    program = specialise([gc.einsum("ij,jk,kl->il", a, b, c)], types)
    assert [node.shape for node in program.nodes if node.name == "dot_general"] == [(100, 3), (100, 3)]


def test_the_equation_tells_the_rank() -> None:
    x, y, z = (gc.placeholder(gc.float64, None) for _ in range(3))
    result = gc.einsum("ij,ij,j->i", x, y, z)
    assert result.shape.as_list() == [None]
    arrays = [np.random.default_rng(n).uniform(-1, 1, shape) for n, shape in enumerate(((2, 3), (2, 3), (3,)))]
    with gc.Session() as session:
        np.testing.assert_allclose(session.run(result, dict(zip((x, y, z), arrays, strict=True))), np.einsum("ij,ij,j->i", *arrays))
        with pytest.raises(gc.errors.InvalidArgumentError, match="not compatible with expected shape"):
            session.run(result, {x: np.ones(3), y: np.ones((2, 3)), z: np.ones(3)})


@pytest.mark.parametrize(("equation", "shapes", "words"), [
    ("ij,jk->ik", ((2, 3),), 'Got 1 arguments for equation "ij,jk->ik", expecting 2'),
    ("ij->ik", ((2, 3),), "Invalid equation: ij->ik: 'k' is in the result but in no operand"),
    ("ij->ii", ((2, 3),), "a label may be only once in the result"),
    ("i1->i", ((2, 3),), "Indices have incorrect format: i1->i"),
    ("ijk->i", ((2, 3),), "Tensor t0 of rank 2 does not match einsum reduction of length 3"),
    ("ij,jk->ik", ((2, 3), (4, 5)), "Dimensions must be equal, but are 3 and 4: both are 'j'"),
    ("ii->i", ((2, 3),), "Dimensions must be equal, but are 2 and 3: both are 'i'"),
    ("...i->i", ((2, 3),), "the axes of the ellipsis are not in the result"),
])
def test_mistakes(equation: str, shapes: tuple[tuple[int, ...], ...], words: str) -> None:
    with pytest.raises(ValueError, match="einsum" if words == "" else words.replace("(", r"\(").replace(".", r"\.")):
        gc.einsum(equation, *(gc.placeholder(gc.float32, shape) for shape in shapes))
