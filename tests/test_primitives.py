"""Every primitive over the table of operations: values, gradients, views, unknown dims, complete declarations, errors."""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.differentiate import vjp
from graphc.core.interpret import interpret
from graphc.core.loops import View
from graphc.core.parse import parse_program
from graphc.core.primitive import PRIMITIVES, NotDifferentiable
from graphc.core.program import Literal, Node, Program, postorder
from graphc.core.text import print_program
from graphc.core.types import TensorType, same_dims
from graphc.core.verify import verify
from graphc.primitives import sugar
from graphc.primitives.numerics import philox_4x32
from tests.op_cases import CASES, STATE
from tests.op_table import Case, t
from tests.tolerances import GRADIENT_RELATIVE, assert_close

Array = np.ndarray[Any, Any]
F64, F32 = dtypes.float64, dtypes.float32
ids = [case.id for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_value(case: Case) -> None:
    program = verify(case.program())
    (value,), _ = interpret(program, case.arrays())
    assert_close(value, case.want(), program.outputs[0].dtype, depth=case.depth, scale=case.scale)


def test_the_table_is_complete() -> None:
    assert set(PRIMITIVES) == {case.primitive for case in CASES} | STATE
    assert len(set(ids)) == len(ids)


def test_declarations_are_complete() -> None:
    for name, primitive in PRIMITIVES.items():
        assert primitive.name == name
        assert dataclasses.is_dataclass(primitive.attrs)
        for field in dataclasses.fields(primitive):
            assert getattr(primitive, field.name) is not None or field.name == "arity", (name, field.name)
        assert primitive.doc.endswith(".")
        assert not isinstance(primitive.vjp, NotDifferentiable) or primitive.vjp.why


def test_every_differentiable_primitive_has_a_finite_difference() -> None:
    rules = {name for name, primitive in PRIMITIVES.items() if not isinstance(primitive.vjp, NotDifferentiable)}
    assert rules - {case.primitive for case in CASES if case.smooth} <= {"remainder", "convert"}  # these two have tests of their own


# Gradients ------------------------------------------------------------------------------------------------------------------------------

def gradients(build: Callable[..., Node], types: Sequence[TensorType]) -> tuple[list[Node], Node, list[Node | None]]:
    """Parameters, the cotangent, and what it gives for each parameter."""
    parameters = [p.parameter(f"x{n}", type_) for n, type_ in enumerate(types)]
    output = build(*parameters)
    cotangent = p.parameter("g", output.type)
    return parameters, cotangent, vjp((output,), parameters, (cotangent,))


def assert_gradient(build: Callable[..., Node], arrays: Sequence[Array], step: float = 1e-6, seed: int = 0) -> None:
    """The declared gradient against central differences of the function itself, in float64."""
    types = [TensorType(dtypes.as_dtype(a.dtype), a.shape) for a in arrays]
    parameters, cotangent, found = gradients(build, types)
    weight = np.random.default_rng(seed).standard_normal(cotangent.dims)
    function = Program(tuple(parameters), (build(*parameters),))
    backward = verify(Program((*parameters, cotangent), tuple(node for node in found if node is not None)))
    values = iter(interpret(backward, [*arrays, weight])[0])
    for n, (array, node) in enumerate(zip(arrays, found, strict=True)):
        if not types[n].dtype.is_floating:
            assert node is None
            continue
        assert node is not None
        assert node.type == types[n]
        expected = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[n][index] += sign * step
                ends.append(np.sum(interpret(function, moved)[0][0] * weight))
            expected[index] = (ends[0] - ends[1]) / (2 * step)
        error = np.abs(next(values) - expected)
        assert np.all(error <= GRADIENT_RELATIVE * np.maximum(np.abs(expected), 1)), error.max()


@pytest.mark.parametrize("case", [c for c in CASES if c.smooth], ids=lambda c: c.id)
def test_gradient(case: Case) -> None:
    assert_gradient(case.build, case.arrays())


def test_gradients_with_rules_of_their_own() -> None:
    x, y = np.array([5.3, -5.3, 4.1, 0.4]), np.array([2.0, 1.7, -1.5, 3.0])
    assert_gradient(p.remainder, [x, y])
    (parameter,), _, (back,) = gradients(lambda x: p.convert(x, F32), [t(F64, 4)])
    assert back is not None
    assert back.type == parameter.type


def second(build: Callable[[Node], Node]) -> Callable[[Node], Node]:
    """x -> the gradient of sum(build(x)^2), to be differentiated again."""
    def gradient(x: Node) -> Node:
        y = build(x)
        (found,) = vjp((p.multiply(y, y),), (x,), (sugar.ones_like(y),))
        assert found is not None
        return found
    return gradient


SECOND = {
    "tanh": p.tanh, "logistic": p.logistic, "rsqrt": p.rsqrt, "erf": p.erf, "log_plus_one": p.log_plus_one, "tan": p.tan, "cbrt": p.cbrt,
    "divide": lambda x: p.divide(p.sine(x), x), "power": lambda x: p.power(x, p.cosine(x)), "atan2": lambda x: p.atan2(p.sine(x), x),
    "product": lambda x: p.reduce_prod(x, (0,)), "max": lambda x: p.multiply(p.reduce_max(x, (1,)), p.reduce_sum(x, (1,))),
    "dot": lambda x: p.dot_general(x, p.multiply(x, x), (), (), (0,), (0,)),
    "pad": lambda x: p.pad(p.slice_(x, (0, 1), (3, 4), (1, 2)), p.reduce_sum(x, (0, 1)), (1, -1), (0, 2), (0, 1)),
    "gather": lambda x: p.gather(p.exponential(x), p.constant(np.array([2, 0, 0])), 0),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_order(name: str) -> None:
    x = np.random.default_rng(3).uniform(0.4, 1.2, (3, 4))
    assert_gradient(second(SECOND[name]), [x])


def value_of(node: Node, *feeds: Array) -> Array:
    parameters = tuple(n for n in Program((), (node,)).nodes if n.name == "parameter")
    return interpret(Program(tuple(sorted(parameters, key=lambda n: n.attrs.name)), (node,)), feeds)[0][0]


def gradient_at(build: Callable[..., Node], *arrays: Any) -> list[Array]:
    """The gradient of the sum of build(...) by each operand."""
    nodes = [p.constant(np.asarray(a, np.float64)) for a in arrays]
    output = build(*nodes)
    return [value_of(g) for g in vjp((output,), nodes, (sugar.ones_like(output),)) if g is not None]


def test_ties_fall_as_in_tf1() -> None:
    x, y = gradient_at(p.maximum, [1.0, 2, 3], [1.0, 3, 2])
    assert x.tolist() == [1, 0, 1]
    assert y.tolist() == [0, 1, 0]
    assert gradient_at(p.minimum, [1.0, 2], [1.0, 1])[0].tolist() == [1, 0]
    assert gradient_at(lambda x: p.reduce_max(x, (0,)), [4.0, 1, 4, 4])[0].tolist() == [1 / 3, 0, 1 / 3, 1 / 3]
    assert gradient_at(lambda x: p.reduce_min(x, (0,)), [1.0, 1, 4])[0].tolist() == [0.5, 0.5, 0]


def test_power_where_the_logarithm_is_not() -> None:
    x, y = gradient_at(p.power, [-2.0, 0, 0, 0], [2.0, 2, 0, 1])
    assert x.tolist() == [-4, 0, 0, 1]
    assert y.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("row", [[2.0, 0, 3], [0.0, 0, 3], [0.0, 0, 0], [5.0]])
def test_product_gradient_with_zeros(row: list[float]) -> None:
    (found,) = gradient_at(lambda x: p.reduce_prod(x, (0,)), row)
    assert found.tolist() == [float(np.prod([v for j, v in enumerate(row) if j != i])) for i in range(len(row))]
    if len(row) > 1:
        assert_gradient(second(lambda x: p.reduce_prod(x, (0,))), [np.array(row)])


def test_crossed_bounds_give_the_upper() -> None:
    low, x, high = gradient_at(p.clamp, [2.0, 0, 0], [1.5, -1, 5], [1.0, 3, 3])
    assert (low.tolist(), x.tolist(), high.tolist()) == ([0, 1, 0], [0, 0, 0], [1, 0, 1])


def test_no_gradient_through_stop_gradient_integers_and_steps() -> None:
    x = p.parameter("x", t(F64, 3))
    for y in (p.stop_gradient(x), p.floor(x), p.convert(p.convert(x, dtypes.int32), F64)):
        assert vjp((y,), (x,), (sugar.ones_like(y),)) == [None]


# Views and unknown dims -----------------------------------------------------------------------------------------------------------------

VIEWS = [c for c in CASES if isinstance(PRIMITIVES[c.primitive].loop, View) and c.types[0].dtype is F32]


@pytest.mark.parametrize("case", VIEWS, ids=lambda c: c.id)
def test_index_map(case: Case) -> None:
    node = case.program().outputs[0]
    if node.name == "parameter" or node.type.size > 2000:
        return
    loop = node.primitive.loop
    assert isinstance(loop, View)
    arrays, _ = interpret(Program(case.program().parameters, node.operands), case.arrays())
    types = tuple(operand.type for operand in node.operands)
    expected = case.want()
    for index in np.ndindex(node.dims):
        pieces = loop.index_map(node.attrs, types, index)
        chosen = next(piece for piece in pieces if all(low <= expr < high for expr, low, high in piece.where))
        assert all(0 <= i < size for i, size in zip(chosen.index, types[chosen.operand].dims, strict=True))
        assert arrays[chosen.operand][chosen.index] == pytest.approx(expected[index])


def unknown(type_: TensorType, keep: int) -> TensorType:
    return type_.with_shape(d if axis % 2 == keep else None for axis, d in enumerate(type_.shape))


@pytest.mark.parametrize("case", [c for c in CASES if c.types and c.types[0].dtype is F64], ids=lambda c: c.id)
def test_unknown_dims(case: Case) -> None:
    static = case.program().outputs[0].type
    for keep in (0, 1, 2):
        types = [unknown(type_, keep) for type_ in case.types]
        parameters, _, found = gradients(case.build, types)
        output = case.build(*parameters)
        assert output.dtype is static.dtype
        assert same_dims(output.shape, static.shape)
        for parameter, node in zip(parameters, found, strict=True):
            assert node is None or (node.dtype is parameter.dtype and same_dims(node.shape, parameter.shape))


# Declarations as a whole ----------------------------------------------------------------------------------------------------------------

def test_philox_known_answers() -> None:
    """The vectors of Random123's kat_vectors for philox4x32 10."""
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    for counter, key, answer in (([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
                                 ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
                                 (pi, (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1")):
        words = philox_4x32(np.array([counter], np.uint32), key)[0]
        assert " ".join(f"{int(w):08x}" for w in words) == answer


def test_the_dump_of_every_case_parses_back() -> None:
    for case in {c.primitive: c for c in CASES}.values():
        program = case.program()
        assert parse_program(print_program(program)) == program


def test_equal_nodes_are_one() -> None:
    x = p.parameter("x", t(F32, 2, 3))
    assert p.add(x, x) is p.add(x, x)
    assert p.constant(np.float32("nan")) is p.constant(np.float32("nan"))
    assert p.constant(np.float32(0.0)) is not p.constant(np.float32(-0.0))
    assert p.reshape(x, (2, 3)) is x
    assert p.transpose(x, (0, 1)) is x
    assert p.convert(x, F32) is x


def test_sizes_of_sugar() -> None:
    x = p.parameter("x", t(F32, 2, 3))
    unknown_x = p.parameter("u", TensorType(F32, (None, 3)))
    assert value_of(sugar.size_of(x, (0, 1), F32)) == 6
    assert sugar.size_of(unknown_x, (0,), F32).type == t(F32)
    assert sugar.broadcast_dims((None, 1, 3), (4, 1)) == (None, 4, 3)
    assert sugar.broadcast_dims((None,), (1,)) == (None,)
    assert sugar.broadcast_dims((None,), (5,)) == (5,)
    assert sugar.reduce_and_spread(p.reduce_sum, unknown_x, (1,)).shape == (None, 3)
    with pytest.raises(ValueError, match=re.escape("Incompatible shapes: (2, 3) and (2,): dims must be equal or 1, from the last")):
        sugar.broadcast_dims((2, 3), (2,))


_OPERANDS = {"a": t(F32, 2, 3), "b": t(F32, 3, 2), "c": t(dtypes.int32, 2, 3), "d": t(F32)}
x23, x32, i23, s = (p.parameter(name, type_) for name, type_ in _OPERANDS.items())


@pytest.mark.parametrize(("build", "kind", "words"), [
    (lambda: p.add(x23, i23), TypeError, "add(f32[2,3], i32[2,3]): operands must have one element type"),
    (lambda: p.add(x23, x32), ValueError, "add(f32[2,3], f32[3,2]): operands must have one shape"),
    (lambda: p.exponential(i23), TypeError, "exponential(i32[2,3]): needs floating or complex operands"),
    (lambda: p.and_(x23, x23), TypeError, "and(f32[2,3], f32[2,3]): needs integer or bool operands"),
    (lambda: p.add(p.compare(x23, x23, "LT"), p.compare(x23, x23, "LT")), TypeError, "add(pred[2,3], pred[2,3]): needs numeric operands"),
    (lambda: p.compare(x23, x23, "<"), ValueError, "direction '<' must be one of EQ"),
    (lambda: p.select(x23, x23, x23), TypeError, "the first operand must be pred"),
    (lambda: p.reshape(x23, (4,)), ValueError, "reshape(f32[2,3]): 6 elements cannot take shape f32[4]"),
    (lambda: p.reshape(x23, (4, None)), ValueError, "6 elements cannot take shape f32[4,?]"),
    (lambda: p.broadcast_in_dim(x23, (2, 4), (0, 1)), ValueError, "does not fit f32[2,4] at axes (0, 1)"),
    (lambda: p.broadcast_in_dim(x23, (3, 2), (1, 0)), ValueError, "the axes ascending"),
    (lambda: p.transpose(x23, (0, 0)), ValueError, "(0, 0) is not a permutation of its 2 axes"),
    (lambda: p.slice_(x23, (0, 0), (2, 4)), ValueError, "0:4:1 does not lie inside axis 1 of size 3"),
    (lambda: p.slice_(x23, (0, 0), (2, 2), (1, 0)), ValueError, "0:2:0 does not lie inside"),
    (lambda: p.pad(x23, p.constant(0), (0, 0), (1, 1)), TypeError, "the padding value must be a scalar of type f32"),
    (lambda: p.pad(x23, s, (-3, 0), (0, 0)), ValueError, "low -3 and high 0 leave a negative size -1"),
    (lambda: p.concatenate((x23, x32), 0), ValueError, "one shape but for axis 0"),
    (lambda: p.concatenate((x23, i23), 0), TypeError, "operands must have one element type"),
    (lambda: p.reverse(x23, (2,)), ValueError, "axes (2,) must be distinct and between 0 and 1"),
    (lambda: p.reduce_sum(x23, (0, 0)), ValueError, "axes (0, 0) must be distinct"),
    (lambda: p.reduce_sum(p.compare(x23, x23, "EQ"), (0,)), TypeError, "reduce_sum(pred[2,3]): needs numeric operands"),
    (lambda: p.argmax(p.parameter("e", t(F32, 2, 0)), 1, dtypes.int64), ValueError,
     "axis 1 must be between 0 and 1 and not empty"),
    (lambda: p.argmax(x23, 1, F32), TypeError, "positions need an integer type, not f32"),
    (lambda: p.dot_general(x23, x23, (), (), (1,), (0,)), ValueError, "contracting axes (1,) and (0,) must have equal sizes"),
    (lambda: p.dot_general(x23, i23, (), (), (1,), (1,)), TypeError, "one element type"),
    (lambda: p.gather(x23, x23, 0), TypeError, "indices must be integers"),
    (lambda: p.gather(x23, i23, 2), ValueError, "axis 2 must be between 0 and 1"),
    (lambda: p.scatter_add(x23, i23, x23), ValueError, "updates must have shape f32[2,3,3]"),
    (lambda: p.iota((2,), 1, F32), ValueError, "iota(f32[2]): axis 1 must be between 0 and 0"),
    (lambda: p.random_bits(s, (0, 0), (2,)), TypeError, "the counter must be u64[]"),
    (lambda: p.get_tuple_element(x23, 0), ValueError, "output 0 does not exist"),
])
def test_errors_name_the_rule_and_the_values(build: Callable[[], Node], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        build()


def test_attributes_hash() -> None:
    assert hash(p.constant(Literal(np.ones(3)).array).attrs) == hash(p.constant(np.ones(3)).attrs)


def test_a_gradient_looks_only_at_its_own_expansion() -> None:
    """What lies below the inputs may be a whole network: a deep chain, differentiated link by link, must not take quadratic time."""
    x = p.parameter("x", t(F64, 2))
    inputs = [x]
    for _ in range(300):
        inputs.append(p.tanh(inputs[-1]))
    visited = postorder([inputs[-1]], {inputs[-2]})
    assert visited == (inputs[-2], inputs[-1])
    (slope,) = vjp((inputs[-1],), (inputs[-2],), (sugar.ones_like(x),))
    assert slope is not None
    assert len(postorder([slope], {inputs[-2]})) < 12
