"""Which kernels cublasLt can do whole: what is recognised computes the same as the kernel, and what is not exactly a gemm is refused."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from scipy import special

import graphc as gc
import graphc.primitives as p
from graphc.codegen import interp, ir
from graphc.codegen.cuda.gemm import Gemm, Matrix, explain, gemm_of
from graphc.codegen.lower import lower
from graphc.compiled import compiled
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import TensorType
from tests.kernels import group
from tests.test_product import COLUMN, DEPTH, ROW, Case, f32, number
from tests.tolerances import assert_close

F16, BF16, F32, F64 = dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64
Array = np.ndarray


# A Gemm on numpy arrays -------------------------------------------------------------------------------------------------------------------


def matrices(matrix: Matrix, arrays: Sequence[Array], rows: int, columns: int, batch: int) -> Array:
    """The matrix as an array [batch, rows, columns] that shares the parameter's memory, turned if it is stored transposed."""
    if matrix.transposed:
        return np.swapaxes(matrices(replace(matrix, transposed=False), arrays, columns, rows, batch), 1, 2)
    flat = arrays[matrix.parameter].reshape(-1)
    assert columns <= matrix.leading
    last = matrix.offset + (batch - 1) * matrix.batch_stride + (rows - 1) * matrix.leading + columns
    assert last <= flat.size, "reaches beyond its parameter"
    size = flat.itemsize
    return as_strided(flat[matrix.offset:], (batch, rows, columns), (matrix.batch_stride * size, matrix.leading * size, size))


def reference(gemm: Gemm, arrays: Sequence[Array]) -> None:
    """What cublasLt is to do, in float64, round by round."""
    for turn in range(gemm.rounds):
        one_round(gemm, arrays, turn)


def one_round(gemm: Gemm, arrays: Sequence[Array], turn: int) -> None:
    def of(matrix: Matrix, rows: int, columns: int) -> Array:
        return matrices(replace(matrix, offset=matrix.offset + turn * matrix.round_stride), arrays, rows, columns, gemm.batch)

    total = gemm.alpha * (of(gemm.a, gemm.m, gemm.k).astype(np.float64) @ of(gemm.b, gemm.k, gemm.n).astype(np.float64))
    if gemm.c is not None:
        total += gemm.beta * of(gemm.c, gemm.m, gemm.n)
    assert (gemm.bias is not None) == ("BIAS" in gemm.epilogue)
    if gemm.bias is not None:
        total += of(gemm.bias, 1, gemm.n)[:1]
    assert (gemm.aux is not None) == ("AUX" in gemm.epilogue or gemm.reads_aux)
    if gemm.aux is not None and not gemm.reads_aux:
        of(gemm.aux, gemm.m, gemm.n)[...] = total
    if gemm.reads_aux:
        assert gemm.epilogue == "DGELU"
        assert gemm.aux is not None
        assert gemm.c is None
        total = total * slope(of(gemm.aux, gemm.m, gemm.n).astype(np.float64))
    elif gemm.epilogue.startswith("RELU"):
        total = np.maximum(total, 0)
    elif gemm.epilogue.startswith("GELU"):
        total = total * special.expit(math.sqrt(8 / math.pi) * (total + 0.044715 * total**3))
    else:
        assert gemm.epilogue in ("DEFAULT", "BIAS")
    of(gemm.d, gemm.m, gemm.n)[...] = total


def slope(u: Array) -> Array:
    """Of gelu by tanh."""
    root = math.sqrt(2 / math.pi)
    tanh = np.tanh(root * (u + 0.044715 * u**3))
    return 0.5 * (1 + tanh) + 0.5 * u * (1 - tanh**2) * root * (1 + 3 * 0.044715 * u**2)


def check(kernel: ir.Kernel) -> Gemm:
    """The kernel's gemm, after both have been run on the same arrays."""
    gemm = gemm_of(kernel)
    assert gemm is not None, explain(kernel)
    assert explain(kernel) == gemm.describe()
    rng = np.random.default_rng(len(kernel.params))
    arrays = [rng.standard_normal(buffer.shape).astype(buffer.dtype.np_dtype) for buffer in kernel.params]
    wanted = [array.copy() for array in arrays]
    interp.run(kernel, wanted)
    reference(gemm, arrays)
    for buffer, got, want in zip(kernel.params, arrays, wanted, strict=True):
        assert_close(got, want, depth=gemm.k, scale=2 * gemm.k**0.5 if buffer.dtype.size == 2 else 10.0)
    return gemm


def kernel_of(build: Callable[..., Sequence[Node] | Node], *types: TensorType) -> ir.Kernel:
    parameters = [p.parameter(f"p{n}", each) for n, each in enumerate(types)]
    outputs = build(*parameters)
    return lower(group("dot", outputs if isinstance(outputs, Sequence) else (outputs,), parameters))


def t(*shape: int, dtype: dtypes.DType = F32) -> TensorType:
    return TensorType(dtype, shape)


def dot(x: Node, w: Node) -> Node:
    return p.dot_general(x, w, (), (), (1,), (0,))


def scaled(x: Node, factor: float) -> Node:
    return p.multiply(x, p.full(factor, x.type))


def along_rows(bias: Node, like: Node) -> Node:
    """The same row everywhere."""
    return p.broadcast_in_dim(bias, like.dims, (len(like.dims) - 1,))


def relu(x: Node) -> Node:
    return p.maximum(x, p.full(0.0, x.type))


def gelu(x: Node) -> Node:
    """By the logistic function, as graphc's own operation has it."""
    cube = p.multiply(x, p.multiply(x, x))
    return p.multiply(x, p.logistic(scaled(p.add(x, scaled(cube, 0.044715)), math.sqrt(8 / math.pi))))


def tanh_gelu(x: Node) -> Node:
    """As papers write it."""
    inner = scaled(p.add(x, scaled(p.multiply(p.multiply(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
    return p.multiply(scaled(x, 0.5), p.add(p.full(1.0, x.type), p.tanh(inner)))


# Layouts ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nn", "tn", "nt", "tt"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 7, 3), (5, 1, 3), (5, 7, 1), (1, 1, 1), (64, 32, 16)], ids=str)
def test_layouts(shape: tuple[int, int, int], layout: str) -> None:
    gemm = check(Case(*shape, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t").kernel())
    assert (gemm.m, gemm.n, gemm.k, gemm.batch) == (*shape, 1)
    assert (gemm.alpha, gemm.beta, gemm.epilogue) == (1.0, 0.0, "DEFAULT")
    if min(shape) > 1:
        assert gemm.a.transposed == (layout[0] == "t")
        assert gemm.b.transposed == (layout[1] == "t")


@pytest.mark.parametrize(("dtype", "out"), [(F64, F64), (F16, F16), (F16, F32), (BF16, BF16), (BF16, F32)], ids=str)
def test_dtypes(dtype: dtypes.DType, out: dtypes.DType) -> None:
    gemm = check(Case(9, 8, 5, dtype, out_dtype=out).kernel())
    assert (gemm.dtype, gemm.out_dtype) == (dtype, out)


def test_a_result_stored_by_columns_exchanges_the_sides() -> None:
    out = ir.Buffer("out", F32, (7, 5), "out")
    case = Case(5, 7, 3, epilogue=lambda acc, _: (ir.Store(out, (COLUMN, ROW), acc),))
    kernel = replace(case.kernel(), params=(*case.kernel().params[:2], out))
    gemm = check(kernel)
    assert (gemm.m, gemm.n, gemm.a.parameter, gemm.b.parameter) == (7, 5, 1, 0)
    assert gemm.a.transposed
    assert gemm.b.transposed


def test_slices_have_offsets_and_leading_dimensions() -> None:
    """x[2:7, 3:9] times w[1:7]."""
    x, w, out = ir.Buffer("x", F32, (10, 20), "in"), ir.Buffer("w", F32, (8, 4), "in"), ir.Buffer("out", F32, (9, 6), "out")
    acc = ir.Var("acc", F32)

    def after(var: ir.Var, by: int) -> ir.Expr:
        return ir.Apply("add", (var, ir.index(by)), dtypes.int64)

    lhs, rhs = ir.Load(x, (after(ROW, 2), after(DEPTH, 3))), ir.Load(w, (after(DEPTH, 1), COLUMN))
    stored = ir.Store(out, (after(ROW, 1), after(COLUMN, 2)), acc)
    product = ir.Product(ROW, COLUMN, DEPTH, 5, 4, 6, lhs, rhs, acc, (stored,))
    gemm = check(ir.Kernel("sliced", (x, w, out), (product,)))
    assert (gemm.a.offset, gemm.a.leading) == (43, 20)
    assert (gemm.b.offset, gemm.b.leading) == (4, 4)
    assert (gemm.d.offset, gemm.d.leading) == (8, 6)


# Batches ----------------------------------------------------------------------------------------------------------------------------------


def test_batches() -> None:
    gemm = check(kernel_of(lambda x, y: p.dot_general(x, y, (0,), (0,), (2,), (1,)), t(6, 5, 4), t(6, 4, 3)))
    assert (gemm.batch, gemm.a.batch_stride, gemm.b.batch_stride, gemm.d.batch_stride) == (6, 20, 12, 15)


def batched(lhs: ir.Expr, rhs: ir.Expr, params: tuple[ir.Buffer, ...], outer: int, inner: int) -> ir.Kernel:
    """out[l, r, i, j] over 5 x 3, k < 4, in two loops."""
    out, acc, loop, r = ir.Buffer("out", F32, (outer, inner, 5, 3), "out"), ir.Var("acc", F32), ir.Var("l"), ir.Var("r")
    product = ir.Product(ROW, COLUMN, DEPTH, 5, 3, 4, lhs, rhs, acc, (ir.Store(out, (loop, r, ROW, COLUMN), acc),))
    return ir.Kernel("batched", (*params, out), (ir.Loop(loop, outer, "parallel", (ir.Loop(r, inner, "serial", (product,)),)),))


def test_two_batch_loops_are_one_where_one_stride_does() -> None:
    """Also where a side is the same for every matrix, and where a loop of one says nothing."""
    x, w = ir.Buffer("x", F32, (2, 3, 5, 4), "in"), ir.Buffer("w", F32, (4, 3), "in")
    lhs, rhs = ir.Load(x, (ir.Var("l"), ir.Var("r"), ROW, DEPTH)), ir.Load(w, (DEPTH, COLUMN))
    gemm = check(batched(lhs, rhs, (x, w), 2, 3))
    assert (gemm.batch, gemm.a.batch_stride, gemm.b.batch_stride) == (6, 20, 0)
    heads = ir.Buffer("heads", F32, (1, 5, 3, 4), "in")
    gemm = check(batched(ir.Load(heads, (ir.Var("l"), ROW, ir.Var("r"), DEPTH)), rhs, (heads, w), 1, 3))
    assert (gemm.batch, gemm.a.batch_stride, gemm.a.leading) == (3, 4, 12)


def split_heads(outer: int, inner: int) -> ir.Kernel:
    """A side whose matrices lie at two distances."""
    heads, w = ir.Buffer("heads", F32, (outer, 5, inner, 4), "in"), ir.Buffer("w", F32, (4, 3), "in")
    return batched(ir.Load(heads, (ir.Var("l"), ROW, ir.Var("r"), DEPTH)), ir.Load(w, (DEPTH, COLUMN)), (heads, w), outer, inner)


@pytest.mark.parametrize(("outer", "inner"), [(2, 3), (3, 2)])
def test_two_batch_loops_of_two_strides_are_rounds(outer: int, inner: int) -> None:
    gemm = check(split_heads(outer, inner))
    assert (gemm.batch, gemm.rounds) == (3, 2)
    assert gemm.flops == 2 * 5 * 3 * 4 * 6
    assert gemm.describe() == "cublasLt: D = A*B, f32 5x3x4 x 3 x 2"


def test_too_many_rounds_are_refused() -> None:
    assert gemm_of(split_heads(65, 64)) is not None
    assert "at one distance" in explain(split_heads(65, 65))


# Epilogues --------------------------------------------------------------------------------------------------------------------------------

EPILOGUES: dict[str, tuple[Callable[..., Node], str, float, float]] = {
    "alpha": (lambda d, c, b: scaled(d, 0.5), "DEFAULT", 0.5, 0.0),
    "c": (lambda d, c, b: p.add(c, d), "DEFAULT", 1.0, 1.0),
    "descent": (lambda d, c, b: p.subtract(c, scaled(d, 0.125)), "DEFAULT", -0.125, 1.0),
    "alpha-beta": (lambda d, c, b: scaled(p.subtract(scaled(d, 2.0), scaled(c, 3.0)), 0.5), "DEFAULT", 1.0, -1.5),
    "bias": (lambda d, c, b: p.add(d, along_rows(b, d)), "BIAS", 1.0, 0.0),
    "c-bias": (lambda d, c, b: p.add(scaled(d, 2.0), p.add(along_rows(b, d), c)), "BIAS", 2.0, 1.0),
    "relu": (lambda d, c, b: relu(d), "RELU", 1.0, 0.0),
    "relu-other-way": (lambda d, c, b: p.maximum(p.full(0.0, d.type), d), "RELU", 1.0, 0.0),
    "relu-bias": (lambda d, c, b: relu(p.add(d, along_rows(b, d))), "RELU_BIAS", 1.0, 0.0),
    "relu-c-bias": (lambda d, c, b: relu(p.add(p.add(along_rows(b, d), scaled(d, 0.25)), c)), "RELU_BIAS", 0.25, 1.0),
    "gelu": (lambda d, c, b: gelu(d), "GELU", 1.0, 0.0),
    "gelu-bias": (lambda d, c, b: gelu(p.add(d, along_rows(b, d))), "GELU_BIAS", 1.0, 0.0),
    "gelu-c-bias": (lambda d, c, b: gelu(p.add(c, p.add(scaled(d, 0.5), along_rows(b, d)))), "GELU_BIAS", 0.5, 1.0),
    "gelu-by-tanh": (lambda d, c, b: tanh_gelu(p.add(d, along_rows(b, d))), "GELU_BIAS", 1.0, 0.0),
}


@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogues(name: str) -> None:
    build, epilogue, alpha, beta = EPILOGUES[name]
    gemm = check(kernel_of(lambda x, w, c, b: build(dot(x, w), c, b), t(9, 5), t(5, 8), t(9, 8), t(8)))
    assert (gemm.epilogue, gemm.alpha, gemm.beta) == (epilogue, pytest.approx(alpha), pytest.approx(beta))
    assert gemm.hides_nan == epilogue.startswith("RELU")


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", ["alpha-beta", "relu-bias", "gelu-bias", "gelu-by-tanh"])
def test_epilogues_of_halves(name: str, dtype: dtypes.DType) -> None:
    """Constants that were rounded to 16 bits are still those of the formula."""
    types = [t(*shape, dtype=dtype) for shape in ((9, 5), (5, 8), (9, 8), (8,))]
    gemm = check(kernel_of(lambda x, w, c, b: EPILOGUES[name][0](dot(x, w), c, b), *types))
    assert gemm.epilogue == EPILOGUES[name][1]


@pytest.mark.parametrize("biased", [False, True])
def test_gelu_that_stores_its_argument(biased: bool) -> None:
    def build(x: Node, w: Node, b: Node) -> tuple[Node, Node]:
        argument = p.add(dot(x, w), along_rows(b, dot(x, w))) if biased else dot(x, w)
        return argument, gelu(argument)

    kernel = kernel_of(build, t(9, 5), t(5, 16), t(16))
    gemm = check(kernel)
    assert gemm.epilogue == ("GELU_AUX_BIAS" if biased else "GELU_AUX")
    assert gemm.aux is not None
    assert (gemm.aux.parameter, gemm.d.parameter) == (len(kernel.params) - 2, len(kernel.params) - 1)
    odd = kernel_of(build, t(9, 5), t(5, 12), t(12))
    assert "aligned" in explain(odd)


def test_scaled_sides_are_part_of_alpha() -> None:
    gemm = check(kernel_of(lambda x, w: dot(scaled(x, 0.5), p.negate(w)), t(9, 5), t(5, 8)))
    assert gemm.alpha == -0.5


def test_one_row_may_be_added_in_place() -> None:
    """A bias of a single row is of the result's shape: it may lie in the same memory, and is C."""
    gemm = check(kernel_of(lambda x, w, b: p.add(dot(x, w), along_rows(b, dot(x, w))), t(1, 5), t(5, 8), t(8)))
    assert gemm.bias is None
    assert gemm.c is not None
    assert (gemm.c.parameter, gemm.beta) == (2, 1.0)


# What it is not ---------------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[..., Sequence[Node] | Node], str]] = {
    "erf gelu": (lambda d, c, b: p.multiply(d, p.add(p.erf(d), p.full(1.0, d.type))), "erf"),
    "another slope": (lambda d, c, b: p.multiply(d, p.logistic(scaled(d, 1.702))), "logistic"),
    "relu6": (lambda d, c, b: p.minimum(relu(d), p.full(6.0, d.type)), "minimum"),
    "above one": (lambda d, c, b: p.maximum(d, p.full(1.0, d.type)), "maximum"),
    "scaled relu": (lambda d, c, b: scaled(relu(d), 2.0), "maximum"),
    "relu and more": (lambda d, c, b: p.add(relu(d), c), "maximum"),
    "tanh": (lambda d, c, b: p.tanh(d), "tanh"),
    "square": (lambda d, c, b: p.multiply(d, d), "alpha"),
    "times a matrix": (lambda d, c, b: p.multiply(d, c), "alpha"),
    "constant added": (lambda d, c, b: p.add(d, p.full(1.0, d.type)), "alpha"),
    "scaled bias": (lambda d, c, b: p.add(d, scaled(along_rows(b, d), 2.0)), "scaled"),
    "two biases": (lambda d, c, b: p.add(p.add(d, along_rows(b, d)), along_rows(p.reverse(b, (0,)), d)), "two biases"),
    "two matrices": (lambda d, c, b: p.add(p.add(d, c), p.reverse(c, (0,))), "two matrices"),
    "two results": (lambda d, c, b: (d, scaled(d, 2.0)), "two results"),
    "masked": (lambda d, c, b: p.select(p.compare(c, p.full(0.0, c.type), "GT"), d, p.full(0.0, d.type)), "select"),
    "no product": (lambda d, c, b: p.add(p.subtract(d, d), c), "does not depend"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exactly_a_gemm_is_refused(name: str) -> None:
    build, reason = REFUSED[name]
    kernel = kernel_of(lambda x, w, c, b: build(dot(x, w), c, b), t(9, 5), t(5, 8), t(9, 8), t(8))
    assert gemm_of(kernel) is None
    assert reason in explain(kernel)
    assert explain(kernel).startswith("not for cublasLt: ")


def test_sides_that_are_computed_are_refused() -> None:
    for build in (lambda x, w: dot(p.exponential(x), w), lambda x, w: dot(x, p.multiply(w, w))):
        assert "computed" in explain(kernel_of(build, t(9, 5), t(5, 8)))
    reversed_side = kernel_of(lambda x, w: dot(p.reverse(x, (1,)), w), t(9, 5), t(5, 8))
    assert "not a matrix" in explain(reversed_side)
    repeated = kernel_of(lambda x, w: dot(p.broadcast_in_dim(x, (9, 5), (1,)), w), t(5), t(5, 8))
    assert "not a matrix" in explain(repeated)


def test_types_that_the_library_does_not_have_are_refused() -> None:
    mixed = kernel_of(lambda x, w: dot(p.convert(x, F32), w), t(9, 5, dtype=F16), t(5, 8))
    assert "different types" in explain(mixed)
    narrowed = kernel_of(lambda x, w: p.convert(dot(x, w), F16), t(9, 5), t(5, 8))
    assert "gives float16" in explain(narrowed)
    rounded_first = kernel_of(lambda x, w: dot(p.convert(x, F16), p.convert(w, F16)), t(9, 5), t(5, 8))
    assert gemm_of(rounded_first) is None
    doubled = kernel_of(lambda x, w: relu(dot(x, w)), t(9, 5, dtype=F64), t(5, 8, dtype=F64))
    assert "float64" in explain(doubled)
    wide_residual = kernel_of(lambda x, w, c: p.add(dot(x, w), p.convert(c, F16)), t(9, 5, dtype=F16), t(5, 8, dtype=F16), t(9, 8))
    assert gemm_of(wide_residual) is None


def test_empty_products_are_refused() -> None:
    for shape in ((0, 5, 3), (5, 0, 3), (5, 5, 0)):
        assert "empty" in explain(Case(*shape).kernel())


def test_kernels_without_a_product_are_refused() -> None:
    kernel = lower(p.tanh(p.parameter("x", t(9, 5))))
    assert gemm_of(kernel) is None
    assert "no product" in explain(kernel)


def test_guarded_and_gathered_sides_are_refused() -> None:
    inside = ir.Apply("lt", (DEPTH, ir.index(2)), dtypes.bool)
    guarded = Case(9, 8, 5, lhs_of=lambda load: replace(load, where=inside)).kernel()
    assert "guarded" in explain(guarded)
    rows = ir.Buffer("rows", dtypes.int64, (9,), "in")
    gathered = Case(9, 8, 5, lhs_of=lambda load: replace(load, index=(ir.Load(rows, (ROW,)), DEPTH)), extra=[rows]).kernel()
    assert "not affine" in explain(gathered)
    positive = ir.Apply("gt", (ir.Var("acc", F32), number(0.0)), dtypes.bool)
    conditional = Case(9, 8, 5, epilogue=lambda acc, out: (ir.Store(out, (ROW, COLUMN), acc, positive),))
    assert "guarded" in explain(conditional.kernel())
    assert gemm_of(Case(9, 8, 5, epilogue=lambda acc, out: (ir.Store(out, (ROW, COLUMN), f32("abs", acc)),)).kernel()) is None


# Real models ------------------------------------------------------------------------------------------------------------------------------


def products_of(plan: gc.Executable) -> list[ir.Kernel]:
    kernels = [lower(step, f"k{n}") for n, step in enumerate(plan.plan.steps)]
    return [kernel for kernel in kernels if any(isinstance(stmt, ir.Product) for stmt in ir.walk(kernel.body))]


@pytest.mark.parametrize(("model", "least"), [("mlp", 2), ("attention", 6)])
def test_products_of_models(model: str, least: int) -> None:
    kernels = products_of(compiled(model))
    found = [check(kernel) for kernel in kernels if gemm_of(kernel) is not None]
    assert len(found) >= least
    assert all(explain(kernel).startswith("not for cublasLt: ") for kernel in kernels if gemm_of(kernel) is None)


@pytest.mark.parametrize(("activation", "epilogue"), [(gc.nn.relu, "RELU_BIAS"), (lambda x: gc.nn.gelu(x, approximate=True), "GELU_BIAS")])
def test_a_dense_layer_is_one_call(activation: Callable[..., gc.Tensor], epilogue: str) -> None:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
        x = gc.placeholder(gc.float32, [None, 20])
        layer = gc.layers.dense(x, 24, activation=activation)
        session.run(gc.global_variables_initializer())
        (kernel,) = products_of(session.compile([layer], {x: np.zeros((6, 20), np.float32)}))
    gemm = check(kernel)
    assert gemm.epilogue == epilogue
    function = epilogue.split("_")[0].lower()
    assert gemm.describe() == f"cublasLt: D = {function}(A*B + bias), f32 6x24x20"
    assert gemm.flops == 2 * 6 * 24 * 20


def test_descriptions() -> None:
    kernel = kernel_of(lambda x, w, c: p.subtract(c, scaled(p.dot_general(x, w, (), (), (0,), (0,)), 0.5)), t(5, 9), t(5, 8), t(9, 8))
    assert explain(kernel) == "cublasLt: D = -0.5*A'*B + C, f32 9x8x5"
    halves = kernel_of(lambda x, y: p.dot_general(x, y, (0,), (0,), (2,), (1,)), t(6, 5, 4, dtype=F16), t(6, 4, 3, dtype=F16))
    assert explain(halves) == "cublasLt: D = A*B, f16 5x3x4 x 6"
    assert explain(Case(9, 8, 5, F16, out_dtype=F32).kernel()) == "cublasLt: D = A*B, f16 to f32 9x8x5"
