"""Functions of the host in a plan (`loops.Extern`): how they are called, what an error in one does, how they show."""
from __future__ import annotations

import gc as collector
import threading
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.codegen.lower import lower
from graphc.core import dtypes
from graphc.core.devices import KEPT
from graphc.core.errors import InvalidArgumentError
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.runtime.executable import HostKernel, NativeExecutable
from graphc.runtime.host_steps import any_of_host, on_host
from graphc.runtime.placed import PlacedExecutable
from graphc.runtime.segments import split
from tests.cuda_worker import run
from tests.executing import execute

GOOD, BAD = np.array([[4.0, 0], [2, 3]], np.float32), -np.eye(2, dtype=np.float32)


def test_an_error_of_the_values_names_the_operation_and_the_line() -> None:
    x = gc.placeholder(gc.float32, [2, 2])
    y = gc.cholesky(x * 1.0, name="factor") + 1.0
    with gc.Session() as session:
        with pytest.raises(InvalidArgumentError, match="Cholesky decomposition was not successful") as caught:
            session.run(y, {x: BAD})
        assert caught.value.op is y.graph.get_operation_by_name("factor")
        assert "in operation 'factor' (Cholesky)" in str(caught.value)
        assert "test_extern.py" in str(caught.value)
        np.testing.assert_allclose(session.run(y, {x: GOOD}), np.linalg.cholesky(GOOD) + 1)  # the session goes on
        with pytest.raises(InvalidArgumentError, match="Cholesky"):
            session.run(y, {x: BAD})


@pytest.mark.parametrize(("build", "text"), [
    (lambda x: gc.matrix_inverse(x), "not invertible"), (lambda x: gc.matrix_solve(x, x), "not invertible"),
    (lambda x: gc.matrix_triangular_solve(x, x), "not invertible"),
])
def test_singular_matrices(build: Callable[[gc.Tensor], gc.Tensor], text: str) -> None:
    x = gc.placeholder(gc.float64, [2, 2])
    with gc.Session() as session, pytest.raises(InvalidArgumentError, match=text):
        session.run(build(x), {x: np.zeros((2, 2))})


def test_nothing_has_changed_after_an_error() -> None:
    """A variable that could be updated in place before the failing step is not."""
    x = gc.placeholder(gc.float32, [2, 2])
    before, after = gc.Variable(np.ones((2, 2), np.float32)), gc.Variable(np.zeros((2, 2), np.float32))
    factor = gc.cholesky(x)
    steps = [gc.assign_add(before, x), gc.assign(after, factor)]
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        with pytest.raises(InvalidArgumentError):
            session.run(steps, {x: BAD})
        np.testing.assert_array_equal(session.run(before), np.ones((2, 2)))
        np.testing.assert_array_equal(session.run(after), np.zeros((2, 2)))
        session.run(steps, {x: GOOD})
        np.testing.assert_array_equal(session.run(before), 1 + GOOD)


def test_it_shows_as_what_it_is() -> None:
    x = gc.placeholder(gc.float32, [3, 3])
    plan = gc.Session().compile(gc.cholesky(x + 1.0) * 2.0, {x: None})
    assert isinstance(plan, NativeExecutable)
    (host,) = [kernel for kernel in plan.kernels if isinstance(kernel, HostKernel)]
    assert len(plan.kernels) == 3
    assert host.name.startswith("1_cholesky_Cholesky")
    assert "calls numpy.linalg.cholesky on the host" in host.text
    assert "declare i64 @host1(ptr)" in host.code
    assert "declare i64 @host1(ptr)" in plan.plan_text
    assert "cholesky" in [node.name for node in plan.program.nodes]


def test_it_is_the_same_on_any_number_of_threads() -> None:
    x = p.parameter("x", TensorType(dtypes.float32, (300, 300)))
    product = p.dot_general(x, x, (), (), (1,), (1,))
    shifted = p.add(product, p.convert(p.constant(np.eye(300)), dtypes.float32))
    program = Program((x,), (p.exponential(p.cholesky(shifted)),))
    feed = np.random.default_rng(0).uniform(-0.1, 0.1, (300, 300)).astype(np.float32)
    results = [execute(program, [feed], threads=threads)[0][0] for threads in (1, 2, 4)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.view(np.uint32), results[0].view(np.uint32))


def test_an_operand_twice_and_an_operand_of_no_elements() -> None:
    x = p.parameter("x", TensorType(dtypes.float64, (2, 2)))
    empty = p.parameter("e", TensorType(dtypes.float64, (2, 0)))
    matrix = np.array([[2.0, 1], [0, 4]])
    (same, none), _ = execute(Program((x, empty), (p.solve(x, x), p.solve(x, empty))), [matrix, np.zeros((2, 0))])
    np.testing.assert_allclose(same, np.eye(2), atol=1e-15)
    assert none.shape == (2, 0)


def test_sessions_of_several_threads() -> None:
    """Each has callbacks of its own; they outlive what else is collected."""
    x = gc.placeholder(gc.float64, [20, 20])
    y = gc.matrix_inverse(x)
    problems: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with gc.Session(graph=y.graph) as session:
                for turn in range(20):
                    matrix = np.random.default_rng(seed + turn).uniform(-1, 1, (20, 20)) + 5 * np.eye(20)
                    np.testing.assert_allclose(session.run(y, {x: matrix}) @ matrix, np.eye(20), atol=1e-12)
                    collector.collect(0)
        except BaseException as error:
            problems.append(error)
    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_it_has_no_kernel() -> None:
    x = p.parameter("x", TensorType(dtypes.float32, (2, 2)))
    with pytest.raises(ValueError, match=r"cholesky has no kernel: numpy\.linalg\.cholesky computes it, on the host"):
        lower(p.cholesky(x))


# On a GPU -------------------------------------------------------------------------------------------------------------------------------

def _mixed() -> tuple[Program, list[np.ndarray], dict[str, np.ndarray]]:
    """Two outputs of a host function, constants under another, a variable that is read and written."""
    x, v = p.parameter("x", TensorType(dtypes.float32, (3, 3))), p.variable_read("v", TensorType(dtypes.float32, (3, 3)))
    values, vectors = p.eigh(p.add(x, v))
    inverse = p.solve(p.constant(np.diag([1.0, 2, 4]).astype(np.float32)), p.constant(np.eye(3, dtype=np.float32)))
    program = Program((x,), (p.exponential(vectors), p.add(values, values), p.multiply(inverse, v), x),
                      (p.variable_assign("v", p.cholesky(p.multiply(v, v))),))
    return program, [np.diag([3.0, 1, 2]).astype(np.float32)], {"v": np.diag([4.0, 9, 1]).astype(np.float32)}


@pytest.mark.parametrize("home", ["GPU:0", "CPU:0"])
def test_it_runs_on_the_host_wherever_its_operation_is(home: str) -> None:
    program, feeds, variables = _mixed()
    want, changed = interpret(program, feeds, variables)
    homes = {"v": home}
    parts = split(on_host(program, homes, "GPU:0" if home == "GPU:0" else None), homes, "GPU:0")
    arrays: dict[int, np.ndarray] = dict(enumerate(feeds))
    state, written = dict(variables), {}
    for segment in parts.segments:
        assert segment.device == "CPU:0" or not any_of_host(segment.program)
        outputs, new = interpret(segment.program, [arrays[each] for each in segment.takes], state)
        arrays |= dict(zip(segment.gives, outputs, strict=True))
        written |= new
        state |= {name: value for name, value in new.items() if name.startswith(KEPT)}
    for number, value in enumerate(want):
        np.testing.assert_array_equal(arrays[1 + number], value)
    np.testing.assert_array_equal(written["v"], changed["v"])


def test_compiled_for_a_gpu_it_is_a_segment_of_the_host() -> None:
    x = gc.placeholder(gc.float32, [3, 3])
    y = gc.matmul(gc.cholesky(x * 2.0), x) + 1.0
    plan = gc.Session().compile(y, {x: None}, target="sm_90")
    assert isinstance(plan, PlacedExecutable)
    assert [segment.device for segment in plan.segments] == ["sm_90", "CPU:0", "sm_90"]
    assert "transfer" in print_program(plan.program)
    assert [kernel.name.split("_")[0] for kernel in plan.kernels][1] == "segment1"


def test_sessions_on_a_gpu_do_what_those_on_a_cpu_do() -> None:
    """Where all is forced onto a GPU (a fake one): factorisations, transforms, complex variables, gradients, an error."""
    run("""
    def compute(device):
        graph = gc.Graph()
        with graph.as_default():
            x = gc.placeholder(gc.float32, [3, 3], name="x")
            v = gc.Variable(np.array([1 + 2j, 3, -1j], np.complex64), name="v")
            spectrum = gc.fft(gc.cast(x, gc.complex64) * v)
            factor = gc.cholesky(gc.matmul(x, x, transpose_b=True) + gc.eye(3), name="factor")
            loss = gc.reduce_sum(gc.abs(spectrum)) + gc.reduce_sum(factor * factor)
            fetches = [spectrum, factor, loss, *gc.gradients(loss, [x, v]), gc.svd(x, compute_uv=False)]
            step = gc.train.GradientDescentOptimizer(0.1).minimize(loss)
            init = gc.global_variables_initializer()
            bad = gc.assign_add(v, gc.cast(gc.cholesky(-x * x, name="bad")[0], gc.complex64))
        feed = {x: np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)}
        with gc.Session(graph=graph, config=gc.ConfigProto(device=device)) as session:
            session.run(init)
            found = [session.run(fetches, feed)]
            for _ in range(3):
                session.run(step, feed)
            before = session.run(v)
            try:
                session.run(bad, {x: np.eye(3, dtype=np.float32)})
            except gc.errors.InvalidArgumentError as error:
                assert "in operation 'bad' (Cholesky)" in str(error), error
            else:
                raise AssertionError("the matrix is not positive definite")
            assert np.array_equal(session.run(v), before)
            return [*found[0], before]
    for here, there in zip(compute("cpu"), compute("gpu"), strict=True):
        assert here.dtype == there.dtype
        np.testing.assert_allclose(there, here, rtol=2e-4, atol=1e-5)
    """)
