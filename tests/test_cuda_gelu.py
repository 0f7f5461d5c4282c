"""The way back through gelu as cublasLt's DGELU: however it is written, nothing that is not it, and never over its own operand."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.codegen.cuda.gemm import Matrix, explain, gemm_of
from graphc.codegen.lower import lower
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.runtime.cuda.launches import CopyLaunch, GemmLaunch, KernelLaunch
from graphc.runtime.executable import CudaExecutable
from tests.cuda_host.device import counters, in_subprocess
from tests.kernels import group
from tests.test_cuda_gemm import BF16, F16, F64, along_rows, check, dot, gelu, kernel_of, scaled, t

SCALE, CUBE = math.sqrt(8 / math.pi), 0.044715


def inner(u: Node, scale: float = SCALE, cube: float = CUBE) -> Node:
    return scaled(p.add(u, scaled(p.multiply(u, p.multiply(u, u)), cube)), scale)


def one(like: Node) -> Node:
    return p.full(1.0, like.type)


def slope_as_passes_write_it(d: Node, u: Node) -> Node:
    """What is left of the gradient of graphc's gelu in a model."""
    squared = p.multiply(u, u)
    argument = scaled(p.add(u, scaled(p.multiply(u, squared), CUBE)), SCALE)
    upper = p.logistic(argument)
    beside = p.multiply(p.multiply(d, u), p.multiply(upper, p.logistic(p.negate(argument))))
    cubic = scaled(beside, SCALE * CUBE)
    twice = p.multiply(p.multiply(cubic, u), u)
    return p.add(p.add(p.add(p.add(p.multiply(d, upper), scaled(beside, SCALE)), p.multiply(cubic, squared)), twice), twice)


def slope_by_logistic(d: Node, u: Node, steep: float = SCALE, scale: float = SCALE, cube: float = CUBE, at: Node | None = None) -> Node:
    """The textbook's form. at: what logistic is taken at, in the place of u."""
    upper = p.logistic(inner(u if at is None else at, scale, cube))
    steepness = p.add(p.full(steep, u.type), scaled(p.multiply(u, u), 3 * steep * CUBE))
    above = p.multiply(upper, p.subtract(one(u), upper))
    return p.multiply(d, p.add(upper, p.multiply(p.multiply(u, above), steepness)))


def slope_by_tanh(d: Node, u: Node) -> Node:
    tanh = p.tanh(scaled(inner(u), 0.5))
    steepness = scaled(p.add(one(u), scaled(p.multiply(u, u), 3 * CUBE)), math.sqrt(2 / math.pi))
    beside = p.multiply(p.multiply(scaled(u, 0.5), p.subtract(one(u), p.multiply(tanh, tanh))), steepness)
    return p.multiply(p.add(scaled(p.add(one(u), tanh), 0.5), beside), d)


SLOPES: dict[str, tuple[Callable[[Node, Node], Node], float]] = {
    "as passes write it": (slope_as_passes_write_it, 1.0),
    "by logistic": (slope_by_logistic, 1.0),
    "by tanh": (slope_by_tanh, 1.0),
    "scaled before": (lambda d, u: slope_by_logistic(scaled(d, -0.5), u), -0.5),
    "scaled after": (lambda d, u: scaled(slope_as_passes_write_it(d, u), 3.0), 3.0),
    "by tanh, divided": (lambda d, u: p.divide(slope_by_tanh(d, u), p.full(8.0, u.type)), 0.125),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_slope_of_gelu(name: str) -> None:
    build, alpha = SLOPES[name]
    kernel = kernel_of(lambda x, w, u: build(dot(x, w), u), t(9, 5), t(5, 16), t(9, 16))
    gemm = check(kernel)
    assert (gemm.epilogue, gemm.alpha, gemm.beta, gemm.reads_aux) == ("DGELU", pytest.approx(alpha), 0.0, True)
    assert (gemm.c, gemm.bias) == (None, None)
    assert gemm.aux == Matrix(2, 0, 16, 0)
    assert not gemm.hides_nan
    if alpha == 1:
        assert gemm.describe().endswith("D = A*B * gelu'(aux), f32 9x16x5")


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", SLOPES)
def test_slope_of_gelu_in_halves(name: str, dtype: dtypes.DType) -> None:
    types = [t(*shape, dtype=dtype) for shape in ((9, 5), (5, 16), (9, 16))]
    assert check(kernel_of(lambda x, w, u: SLOPES[name][0](dot(x, w), u), *types)).epilogue == "DGELU"


def test_slope_of_gelu_in_batches() -> None:
    build = slope_as_passes_write_it
    gemm = check(kernel_of(lambda x, y, u: build(p.dot_general(x, y, (0,), (0,), (2,), (1,)), u), t(6, 5, 4), t(6, 4, 8), t(6, 5, 8)))
    assert (gemm.batch, gemm.epilogue, gemm.aux) == (6, "DGELU", Matrix(2, 0, 8, 40))


NO_SLOPES: dict[str, tuple[Callable[..., Sequence[Node] | Node], str]] = {
    "another factor": (lambda d, u, b: slope_by_logistic(d, u, steep=1.5), "logistic"),
    "another logistic": (lambda d, u, b: slope_by_logistic(d, u, scale=1.702), "logistic"),
    "another cube": (lambda d, u, b: slope_by_logistic(d, u, cube=0.045), "logistic"),
    "two arguments": (lambda d, u, b: slope_by_logistic(d, u, at=p.reverse(u, (0,))), "logistic"),
    "of a sum": (lambda d, u, b: slope_by_logistic(d, p.add(u, along_rows(b, u))), "logistic"),
    "of a scaled value": (lambda d, u, b: slope_by_tanh(d, scaled(u, 2.0)), "tanh"),
    "of the product": (lambda d, u, b: slope_by_logistic(u, d), "logistic"),
    "of a row": (lambda d, u, b: slope_by_logistic(d, along_rows(b, d)), "another type or shape"),
    "turned over": (lambda d, u, b: slope_by_logistic(d, p.reverse(u, (0,))), "not a matrix"),
    "transposed": (lambda d, u, b: slope_by_logistic(d, p.transpose(u, (1, 0))), "not a matrix"),
    "and more": (lambda d, u, b: p.add(slope_by_logistic(d, u), u), "logistic"),
    "with a bias": (lambda d, u, b: slope_by_logistic(p.add(d, along_rows(b, d)), u), "logistic"),
    "of no product": (lambda d, u, b: p.add(slope_by_logistic(u, u), p.subtract(d, d)), "logistic"),
    "stored twice": (lambda d, u, b: (d, slope_by_logistic(d, u)), "two results"),
    "gelu times the product": (lambda d, u, b: p.multiply(d, gelu(u)), "logistic"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_SLOPES)
def test_what_is_not_the_slope_of_gelu_at_a_matrix_is_refused(name: str) -> None:
    build, reason = NO_SLOPES[name]
    kernel = kernel_of(lambda x, w, u, b: build(dot(x, w), u, b), t(16, 5), t(5, 16), t(16, 16), t(16))
    assert reason in explain(kernel)
    assert gemm_of(kernel) is None


def test_the_slope_of_gelu_is_read_where_the_library_can() -> None:
    odd = kernel_of(lambda x, w, u: slope_by_tanh(dot(x, w), u), t(9, 5), t(5, 12), t(9, 12))
    assert "aligned" in explain(odd)
    types = t(9, 5, dtype=F16), t(5, 16, dtype=F16), t(9, 16)
    wide = kernel_of(lambda x, w, u: slope_by_tanh(dot(x, w), p.convert(u, F16)), *types)
    assert "another type" in explain(wide)
    doubled = kernel_of(lambda x, w, u: slope_by_tanh(dot(x, w), u), *(t(*shape, dtype=F64) for shape in ((9, 5), (5, 16), (9, 16))))
    assert "float64" in explain(doubled)
    shared = [p.parameter("x", t(6, 5, 4)), p.parameter("y", t(6, 4, 8)), p.parameter("u", t(5, 8))]
    product = p.dot_general(shared[0], shared[1], (0,), (0,), (2,), (1,))
    repeated = slope_by_tanh(product, p.broadcast_in_dim(shared[2], (6, 5, 8), (1, 2)))
    assert "another type or shape" in explain(lower(group("dot", (repeated,), shared)))


# In a model -------------------------------------------------------------------------------------------------------------------------------

ROWS, WIDTH, HIDDEN = 16, 8, 24


def model(dtype: dtypes.DType = gc.float32, times: int = 1) -> tuple[gc.Tensor, list[gc.Tensor]]:
    """x, and [a loss, a step] of a block of a transformer."""
    rng = np.random.default_rng(0)

    def variable(*shape: int) -> gc.Tensor:
        return gc.cast(gc.Variable((0.2 * rng.standard_normal(shape)).astype(np.float32)), dtype)

    def dense(y: gc.Tensor, inputs: int, outputs: int) -> gc.Tensor:
        return gc.matmul(y, variable(inputs * times, outputs * times)) + variable(outputs * times)

    x = gc.placeholder(gc.float32, [ROWS * times, WIDTH * times])
    y = dense(gc.cast(x, dtype), WIDTH, WIDTH)
    y = dense(gc.nn.gelu(dense(y, WIDTH, HIDDEN), approximate=True), HIDDEN, WIDTH)
    loss = gc.reduce_mean(gc.square(gc.cast(y, gc.float32)))
    return x, [loss, gc.train.GradientDescentOptimizer(0.5).minimize(loss)]


def compiled(dtype: dtypes.DType, times: int, products: str) -> CudaExecutable:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=gc.ConfigProto(device="cpu", products=products)) as session:
        x, fetches = model(dtype, times)
        executable = session.compile(fetches, {x: np.zeros(x.shape.as_list(), np.float32)}, target="sm_90")
    assert isinstance(executable, CudaExecutable)
    return executable


@pytest.mark.parametrize(("dtype", "times"), [(gc.float32, 1), (gc.float32, 32), (gc.float16, 32), (gc.bfloat16, 32)], ids=str)
def test_the_result_never_lies_over_the_operand(dtype: dtypes.DType, times: int) -> None:
    """The library promises nothing there, so the arena has a place for each; nothing else that lives then lies in either."""
    executable = compiled(dtype, times, "cublaslt")
    found = [launch for launch in executable.launches if isinstance(launch, GemmLaunch) and launch.gemm.reads_aux]
    assert len(found) == 1
    gemm, params = found[0].gemm, found[0].params
    assert gemm.aux is not None
    assert params[gemm.d.parameter] != params[gemm.aux.parameter]
    assert executable.kernels[found[0].kernel].library.endswith(f"{ROWS * times}x{HIDDEN * times}x{WIDTH * times}")
    buffers = executable.plan.buffers
    for number, one_buffer in enumerate(buffers):
        assert 0 <= one_buffer.offset <= executable.plan.arena_bytes - one_buffer.size
        for other in buffers[:number]:
            together = one_buffer.first <= other.last and other.first <= one_buffer.last
            assert not together or one_buffer.offset + one_buffer.size <= other.offset or other.offset + other.size <= one_buffer.offset
    assert executable.memory.arena_bytes == executable.plan.arena_bytes >= executable.plan.lower_bound


def test_kernels_of_ours_write_over_the_operand() -> None:
    """They read an element before they write it: the memory plan stays as it was made."""
    launches = compiled(gc.float32, 1, "generated").launches
    products = [launch for launch in launches if isinstance(launch, KernelLaunch) and launch.symbol.startswith("dot")]
    assert any(launch.params[-1] in launch.params[:-1] for launch in products)


def in_a_variable(products: str) -> tuple[list[str], CudaExecutable]:
    """A variable that becomes its own slope, times a product: it has one place."""
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=gc.ConfigProto(device="cpu", products=products)) as session:
        x, w = gc.placeholder(gc.float32, [16, 8]), gc.placeholder(gc.float32, [8, 24])
        u = gc.Variable(np.zeros((16, 24), np.float32))
        gradient = gc.gradients(gc.nn.gelu(u.read_value(), approximate=True), [u], grad_ys=[gc.matmul(x, w)])[0]
        feeds = {x: np.zeros((16, 8), np.float32), w: np.zeros((8, 24), np.float32)}
        executable = session.compile([gc.assign(u, gradient).op], feeds, target="sm_90")
    assert isinstance(executable, CudaExecutable)
    return [explain(lower(step)) for step in executable.plan.steps], executable


def test_a_variable_is_copied_to_rather_than_overwritten_by_the_library() -> None:
    explained, executable = in_a_variable("cublaslt")
    assert explained == ["cublasLt: D = A*B * gelu'(aux), f32 16x24x8"]
    product, copy = executable.launches
    assert isinstance(product, GemmLaunch)
    assert isinstance(copy, CopyLaunch)
    assert executable.plan.in_place == ()


def test_a_kernel_of_ours_overwrites_the_variable() -> None:
    _, executable = in_a_variable("generated")
    (launch,) = executable.launches
    assert isinstance(launch, KernelLaunch)
    assert executable.plan.in_place == ("Variable",)


def train_here() -> None:
    """In the subprocess: [losses, products that the library did] on the CPU and on the GPU, as JSON."""
    found = []
    image = np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)
    for device_name, products in (("cpu", "auto"), ("gpu", "generated"), ("gpu", "cublaslt")):
        with gc.Graph().as_default():
            x, fetches = model()
            with gc.Session(config=gc.ConfigProto(device=device_name, products=products)) as session:
                session.run(gc.global_variables_initializer())
                before = counters().products if device_name == "gpu" else 0
                losses = [float(session.run(fetches, {x: image})[0]) for _ in range(5)]
                found.append([losses, counters().products - before if device_name == "gpu" else 0])
    print(json.dumps(found))


def test_a_model_trains_alike_with_the_library() -> None:
    text = in_subprocess("from tests.test_cuda_gelu import train_here; train_here()", GRAPHC_CUDA_TUNE="0")
    (cpu, _), (ours, none), (library, products) = json.loads(text)
    assert cpu[-1] < 0.9 * cpu[0]
    np.testing.assert_allclose(ours, cpu, rtol=1e-5)
    np.testing.assert_allclose(library, cpu, rtol=1e-5)
    assert none == 0
    assert products >= 5 * 6
