"""Complex tensors from end to end: fed, fetched, kept in variables, trained; and the pass that makes pairs of real numbers of them."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import as_array
from graphc.core.interpret import interpret
from graphc.core.loops import Extern, Region, Reinterpret
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.passes.expand import Expand
from graphc.passes.pipelines import PIPELINES, run_pipeline
from graphc.passes.real import Real
from tests.executing import execute
from tests.op_cases import CASES

C64, C128, F32 = dtypes.complex64, dtypes.complex128, dtypes.float32
Z = np.array([[1 + 2j, -3j, 0.5], [2 - 1j, 1j, -4]], np.complex64)


def parameter(name: str, *shape: int, dtype: dtypes.DType = C64) -> Any:
    return p.parameter(name, TensorType(dtype, shape))


# The pass -------------------------------------------------------------------------------------------------------------------------------

def test_the_pass_takes_pairs_from_memory_and_puts_them_back() -> None:
    z = parameter("z", 3)
    made = verify(Real()(Program((z,), (p.negate(z),))))
    assert print_program(made) == """program {
  %0 = parameter() {name = "z", type = c64[3]} : c64[3]
  %1 = view_as_real(%0) : f32[3,2]
  %2 = slice(%1) {start = [0, 0], limit = [3, 1], strides = [1, 1]} : f32[3,1]
  %3 = reshape(%2) {shape = [3]} : f32[3]
  %4 = negate(%3) : f32[3]
  %5 = reshape(%4) {shape = [3, 1]} : f32[3,1]
  %6 = slice(%1) {start = [0, 1], limit = [3, 2], strides = [1, 1]} : f32[3,1]
  %7 = reshape(%6) {shape = [3]} : f32[3]
  %8 = negate(%7) : f32[3]
  %9 = reshape(%8) {shape = [3, 1]} : f32[3,1]
  %10 = concatenate(%5, %9) {axis = 1} : f32[3,2]
  %11 = view_as_complex(%10) : c64[3]
  return %11
}"""


def test_a_program_without_complex_numbers_stays_as_it_is() -> None:
    x = parameter("x", 3, dtype=F32)
    program = Program((x,), (p.negate(x),))
    assert Real()(program) is program
    assert "real" not in [stage.name for stage in run_pipeline(program, PIPELINES["default"])]


def test_a_real_factor_costs_no_imaginary_part() -> None:
    z, x = parameter("z", 3), parameter("x", 3, dtype=F32)
    made = Real()(Program((z, x), (p.multiply(p.multiply(z, p.convert(x, C64)), p.full(2, z.type)),)))
    assert sum(node.name == "multiply" for node in made.nodes) == 4
    assert not any(node.name in ("subtract", "add") for node in made.nodes)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_what_only_passes_through(name: str) -> None:
    """Parameters, variables and constants that are fetched or assigned as they are; a swap; one value twice."""
    z, v, w = parameter("z", 2, 3), p.variable_read("v", TensorType(C64, (2, 3))), p.variable_read("w", TensorType(C64, (2, 3)))
    known = p.constant(Z)
    program = Program((z,), (z, z, v, known, p.conj(z), p.conj(z), p.transpose(z, (1, 0)), p.reshape(z, (6,))),
                      (p.variable_assign("v", w), p.variable_assign("w", v)))
    state = {"v": Z + 1, "w": Z - 1j}
    want, changed = interpret(program, [2 * Z], state)
    got, written = execute(program, [2 * Z], state, PIPELINES[name])
    for one, other in zip([*got, *written.values()], [*want, *changed.values()], strict=True):
        assert one.dtype == np.complex64
        np.testing.assert_array_equal(one, other)


def test_origins_stay() -> None:
    z = gc.placeholder(gc.complex64, [3])
    plan = gc.Session().compile(gc.exp(z, name="grown"), {z: None})
    assert {origin.operation for kernel in plan.kernels for origin in kernel.origins} == {"grown"}


# Sessions ---------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
def test_feeds_of_other_types() -> None:
    z = gc.placeholder(gc.complex128, [None])
    y = z * 2.0
    with gc.Session() as session:
        for value in ([1, 2], [1.5, 2.5], [1j, 2], np.array([1 + 1j, 2], np.complex64), np.arange(6.0)[::2]):
            np.testing.assert_allclose(session.run(y, {z: value}), 2 * np.asarray(value, complex))


def test_a_complex_value_for_a_real_placeholder() -> None:
    x = gc.placeholder(gc.float32, [2])
    with gc.Session() as session, pytest.raises(TypeError, match="must be numbers or bools, not complex128"):
        session.run(x, {x: [1j, 2]})


def test_constants_take_python_and_numpy_numbers() -> None:
    assert gc.constant(1 + 2j).dtype is gc.complex128
    assert gc.constant([1, 2.5], gc.complex64).dtype is gc.complex64
    assert gc.convert_to_tensor(np.complex64(1j)).dtype is gc.complex64
    assert gc.zeros([2], gc.complex64).dtype is gc.complex64
    with pytest.raises(TypeError, match="Expected float32, got 1j of type 'complex' instead"):
        gc.constant([1.0, 1j], gc.float32)
    with pytest.raises(TypeError, match="Expected float32"):
        as_array(np.array([1j]), dtypes.float32)


def test_variables_are_trained() -> None:
    """The descent of |A w - b|^2 for complex w, whose gradient is 2 A^H (A w - b) in TF1's convention."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((6, n)) + 1j * rng.standard_normal((6, n)) for n in (3, 1))
    w = gc.Variable(np.zeros((3, 1), np.complex128))
    loss = gc.reduce_sum(gc.square(gc.abs(gc.matmul(gc.constant(a), w) - b)))
    step = gc.train.GradientDescentOptimizer(0.02).minimize(loss)
    (slope,) = gc.gradients(loss, [w])
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        np.testing.assert_allclose(session.run(slope), 2 * a.conj().T @ -b, rtol=1e-12)
        for _ in range(2000):
            session.run(step)
        np.testing.assert_allclose(session.run(w), np.linalg.lstsq(a, b, rcond=None)[0], rtol=1e-6)


def test_it_is_the_same_on_any_number_of_threads_and_width(vector_bits: int) -> None:
    z = parameter("z", 300, 301)
    program = Program((z,), (p.reduce_sum(p.divide(p.exponential(z), p.add(z, p.full(3, z.type))), (1,)),))
    feed = (np.random.default_rng(1).standard_normal((300, 602)).astype(np.float32)).view(np.complex64)
    results = [execute(program, [feed], threads=threads)[0][0] for threads in (1, 3)]
    assert results[0].tobytes() == results[1].tobytes()
    np.testing.assert_allclose(results[0], (np.exp(feed) / (feed + 3)).sum(1), rtol=2e-4)


# What every primitive makes of them -------------------------------------------------------------------------------------------------------

def test_every_primitive_refuses_complex_numbers_or_has_a_form_in_their_parts() -> None:
    """The float32 samples of the table of operations, declared for complex numbers."""
    taken: set[str] = set()
    for case in (each for each in CASES if each.types and each.types[0].dtype is F32):
        types = [each.with_dtype(C64) if each.dtype is F32 else each for each in case.types]
        parameters = tuple(p.parameter(f"x{n}", each) for n, each in enumerate(types))
        try:
            program = Program(parameters, (case.build(*parameters),))
        except (TypeError, ValueError):
            continue
        made = verify(Real()(Expand()(program)))
        computed = [node for node in made.nodes if node.operands and not isinstance(node.primitive.loop, Extern | Reinterpret | Region)]
        assert not [node for node in computed if any(each.dtype.is_complex for each in node.types)], case.id
        taken.add(case.primitive)
    assert taken >= {"add", "divide", "gather", "scatter", "reduce_prod", "linear_recurrence", "windows", "dot_general"}
    assert not taken & {"maximum", "sort", "argmax", "clamp", "floor"}


# Errors ---------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("build", "kind", "text"), [
    (lambda z: gc.less(z, z), TypeError, "complex numbers have no order"),
    (lambda z: gc.maximum(z, z), TypeError, "needs real operands"),
    (lambda z: gc.reduce_max(z), TypeError, "needs real operands"),
    (lambda z: gc.floor(z), TypeError, "needs floating operands"),
    (lambda z: gc.mod(z, z), TypeError, "real numeric"),
    (lambda z: gc.erf(z), TypeError, "needs floating operands"),
    (lambda z: gc.complex(z, z), TypeError, "real and imag have incorrect types: complex64 complex64"),
    (lambda z: z * gc.constant(1.0), TypeError, "float32 that does not match type complex64"),
])
def test_what_has_no_meaning_for_complex_numbers(build: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        build(gc.placeholder(gc.complex64, [3]))


def test_parts_must_be_of_float32_or_float64() -> None:
    x = parameter("x", 3, dtype=dtypes.float16)
    with pytest.raises(TypeError, match="the parts must be of float32 or float64"):
        p.complex_(x, x)
    with pytest.raises(ValueError, match="the last axis must have 2 elements"):
        p.view_as_complex(parameter("y", 3, dtype=F32))
