"""Matrix products printed in CUDA, run on the CPU, against numpy in float64: shapes, layouts, types, sides, epilogues, every tile."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from graphc.codegen import interp, ir
from graphc.codegen.cuda import compiler, product, product_plan
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.cuda.product_plan import Plan, Source, Tile, make_plan
from graphc.codegen.gpu import MAX_THREADS, STATIC_SHARED_BYTES, gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from graphc.compiled import compiled
from graphc.core import dtypes
from tests import groups
from tests.cuda_host import host
from tests.kernels import run_node
from tests.test_product import COLUMN, DEPTH, ROW, Case, all_layouts, expected, f32, gelu, gelu_of, number, store
from tests.tolerances import assert_close

GPU = gpu_for("sm_90")
Array = np.ndarray


def printed(kernel: ir.Kernel) -> CudaSource:
    return print_cuda(schedule_gpu(kernel, GPU), GPU)


def run(kernel: ir.Kernel, arrays: Sequence[Array]) -> None:
    """Runs `kernel` in both orders of threads, which must give the same bits; the arrays keep the results."""
    source = printed(kernel)
    copies = [array.copy() for array in arrays]
    host.run(source, kernel, copies, "reversed")
    host.run(source, kernel, arrays, "forward")
    for buffer, one, other in zip(kernel.params, arrays, copies, strict=True):
        assert one.tobytes() == other.tobytes(), f"{buffer.name} depends on the order of threads"


def launch(case: Case, *extra: Array) -> Array:
    out = np.full((case.m, case.n), 7, (case.out_dtype or case.dtype).np_dtype)
    run(case.kernel(), [*case.operands(), *extra, out])
    return out


def check(case: Case) -> None:
    exact, bound = expected(case)
    assert (np.abs(launch(case).astype(np.float64) - exact) <= bound).all()


def build(cases: Sequence[Case]) -> None:
    """Compiles many kernels with few runs of g++; the tests find them built."""
    host.build_many(printed(case.kernel()) for case in cases)


def laid_out(shape: tuple[int, int, int], layout: str, **more: object) -> Case:
    return replace(Case(*shape, transposed_lhs=layout[0] == "t", transposed_rhs=layout[1] == "t"), **more)


# Shapes, layouts, types -----------------------------------------------------------------------------------------------------------------

SHAPES = [
    (1, 1, 1), (1, 1, 37), (2, 3, 1), (1, 513, 64), (64, 1, 128), (13, 31, 29), (64, 10, 128), (64, 128, 64), (6, 70, 300), (129, 131, 67),
    (257, 129, 8), (128, 128, 256), (8, 1024, 64), (1100, 1024, 40),
]  # fmt: skip
CASES = {f"{shape}": Case(*shape) for shape in SHAPES}
for shape, layout in itertools.chain(*(all_layouts(*s) for s in ((19, 1, 33), (29, 65, 17), (150, 132, 60)))):
    CASES[f"{shape} {layout}"] = laid_out(shape, layout)
for shape, layout, dtype in [
    ((60, 66, 70), "nn", dtypes.float64), ((64, 64, 32), "tt", dtypes.float64), ((1, 9, 20), "nn", dtypes.float64),
    ((60, 66, 70), "nt", dtypes.float16), ((64, 64, 32), "nn", dtypes.float16), ((31, 1, 50), "nn", dtypes.float16),
    ((60, 66, 70), "tn", dtypes.bfloat16), ((64, 64, 32), "nt", dtypes.bfloat16),
]:  # fmt: skip
    out = dtypes.float64 if dtype is dtypes.float64 else dtypes.float32  # a half would hide what the sum has lost
    CASES[f"{shape} {layout} {dtype.name}"] = laid_out(shape, layout, dtype=dtype, out_dtype=out)


@pytest.fixture(scope="module")
def built() -> None:
    build(list(CASES.values()))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_shapes_layouts_and_types(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("shape", [(5, 40, 0), (200, 300, 0)], ids=str)
def test_no_depth_is_zero_then_epilogue(shape: tuple[int, int, int]) -> None:
    case = Case(*shape, epilogue=lambda acc, out: store(f32("add", acc, number(3.0)), out))
    assert (launch(case) == 3.0).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 0)], ids=str)
def test_nothing_to_do(shape: tuple[int, int, int]) -> None:
    assert launch(Case(*shape)).size == 0


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=lambda dtype: dtype.name)
def test_half_results_are_rounded_once(dtype: dtypes.DType) -> None:
    wide = laid_out((60, 66, 70), "nn", dtype=dtype, out_dtype=dtypes.float32)
    assert (launch(replace(wide, out_dtype=dtype)) == launch(wide).astype(dtype.np_dtype)).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("layout", ["nn", "tt"])
def test_nan_and_inf_reach_their_row_or_column_only(layout: str, side: str) -> None:
    case = laid_out((21, 43, 30), layout)
    a, b = (np.abs(x) + 1 for x in case.operands())
    touched = (a if layout[0] == "n" else a.T) if side == "left" else (b.T if layout[1] == "n" else b)
    touched[3, 5], touched[20, 29] = np.nan, np.inf
    out = np.zeros((21, 43), np.float32)
    run(case.kernel(), [a, b, out])
    lines = out if side == "left" else out.T
    assert np.isnan(lines[3]).all()
    assert (lines[20] == np.inf).all()
    assert np.isfinite(np.delete(lines, [3, 20], axis=0)).all()


# Sides and epilogues ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "layout"), [((40, 70, 100), "nn"), ((33, 36, 20), "tn"), ((33, 36, 20), "nt")], ids=str)
def test_sides_are_computed_on_the_way(shape: tuple[int, int, int], layout: str) -> None:
    """exp(a) and 1 - b, both wrong where an element beyond the matrix counted: exp(0) and 1 - 0 are not zero."""
    case = laid_out(shape, layout, lhs_of=lambda load: f32("exponential", load), rhs_of=lambda load: f32("subtract", number(1.0), load))
    a, b = (x.astype(np.float64) for x in case.operands())
    a, b = np.exp(a.T if layout[0] == "t" else a), 1 - (b.T if layout[1] == "t" else b)
    bound = (shape[2] + 6) * 2.0**-24 * (a @ np.abs(b))
    assert (np.abs(launch(case) - a @ b) <= bound).all()


def gathered_kernel(m: int, n: int, depth: int) -> ir.Kernel:
    """a[rows[i], k], where k is below limit[i]; times b, read backwards along k."""
    a, b = ir.Buffer("a", dtypes.float32, (50, depth), "in"), ir.Buffer("b", dtypes.float32, (depth, n), "in")
    rows, limit = ir.Buffer("rows", dtypes.int64, (m,), "in"), ir.Buffer("limit", dtypes.int64, (m,), "in")
    out, acc = ir.Buffer("out", dtypes.float32, (m, n), "out"), ir.Var("acc", dtypes.float32)
    inside = ir.Apply("lt", (DEPTH, ir.Load(limit, (ROW,))), dtypes.bool)
    lhs = ir.Load(a, (ir.Load(rows, (ROW,)), DEPTH), inside)
    rhs = ir.Load(b, (ir.Apply("subtract", (ir.index(depth - 1), DEPTH), dtypes.int64), COLUMN))
    return ir.Kernel("gathered", (a, b, rows, limit, out), (ir.Product(ROW, COLUMN, DEPTH, m, n, depth, lhs, rhs, acc, store(acc, out)),))


@pytest.mark.parametrize("shape", [(30, 20, 24), (17, 33, 13)], ids=str)
def test_gathers_and_conditions_on_a_side(shape: tuple[int, int, int]) -> None:
    m, n, depth = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, depth)).astype(np.float32), rng.standard_normal((depth, n)).astype(np.float32)
    rows, limit = rng.integers(0, 50, m), rng.integers(0, depth + 1, m)
    out = np.zeros((m, n), np.float32)
    run(gathered_kernel(m, n, depth), [a, b, rows, limit, out])
    wanted = np.where(np.arange(depth) < limit[:, None], a[rows], 0).astype(np.float64) @ b[::-1].astype(np.float64)
    assert_close(out, wanted, depth=depth, scale=5.0)


def test_a_side_of_loads_of_several_types() -> None:
    """select(mask, a, 0): bytes and floats are read four at a time."""
    mask = ir.Buffer("mask", dtypes.bool, (40, 64), "in")
    case = Case(40, 32, 64, extra=[mask], lhs_of=lambda a: ir.Apply("select", (ir.Load(mask, a.index), a, number(0.0)), dtypes.float32))
    kept = np.random.default_rng(3).random((40, 64)) < 0.5
    a, b = case.operands()
    assert_close(launch(case, kept), np.where(kept, a, 0).astype(np.float64) @ b.astype(np.float64), depth=64, scale=5.0)
    text = printed(case.kernel()).text
    assert "load<4>(a +" in text
    assert "load<4>(mask +" in text


@pytest.mark.parametrize("shape", [(1, 5, 9), (31, 45, 20), (40, 64, 200), (400, 512, 16)], ids=str)
def test_epilogue_with_bias_and_residual_in_place(shape: tuple[int, int, int]) -> None:
    """Scale by row, bias by column, gelu, and a residual in the memory of the output: each element is read before it is written."""
    m, n, _ = shape
    rng = np.random.default_rng(1)
    buffers = [ir.Buffer(name, dtypes.float32, dims, "in") for name, dims in (("bias", (n,)), ("scale", (m,)), ("residual", (m, n)))]
    bias, scale, residual = (rng.standard_normal(buffer.shape).astype(np.float32) for buffer in buffers)
    x = ir.Var("x", dtypes.float32)

    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        return (
            ir.Let(x, f32("add", f32("multiply", acc, ir.Load(buffers[1], (ROW,))), ir.Load(buffers[0], (COLUMN,)))),
            ir.Store(out, (ROW, COLUMN), f32("add", gelu_of(x), ir.Load(buffers[2], (ROW, COLUMN)))),
        )

    case = Case(*shape, epilogue=epilogue, extra=buffers)
    exact, bound = expected(case)
    before = exact * scale[:, None] + bias
    wanted = gelu(before) + residual
    slack = 1.2 * bound * np.abs(scale[:, None]) + 8 * 2.0**-24 * (1 + np.abs(before) + np.abs(wanted))
    for order in host.ORDERS:
        out = residual.copy()
        host.run(printed(case.kernel()), case.kernel(), [*case.operands(), bias, scale, out, out], order)
        assert (np.abs(out - wanted) <= slack).all()


@pytest.mark.parametrize("shape", [(17, 37, 23), (64, 64, 16)], ids=str)
def test_two_outputs_one_transposed_one_half(shape: tuple[int, int, int]) -> None:
    m, n, depth = shape
    flipped = ir.Buffer("flipped", dtypes.bfloat16, (n, m), "out")

    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        negated = ir.Apply("convert", (f32("negate", acc),), dtypes.bfloat16)
        return (ir.Store(flipped, (COLUMN, ROW), negated), ir.Store(out, (ROW, COLUMN), acc))

    case = Case(m, n, depth, epilogue=epilogue, extra=[flipped])
    other = np.full((n, m), 5, dtypes.bfloat16.np_dtype)
    straight = launch(case, other)
    exact, bound = expected(case)
    assert (np.abs(straight - exact) <= bound).all()
    assert (other == -straight.T.astype(dtypes.bfloat16.np_dtype)).all()


@pytest.mark.parametrize("shape", [(60, 40, 30), (512, 256, 8)], ids=str)
def test_results_stored_along_their_columns(shape: tuple[int, int, int]) -> None:
    """The sides change places, so that neighbouring threads store neighbours."""
    m, n, depth = shape
    out = ir.Buffer("out", dtypes.float32, (n, m), "out")
    case = replace(Case(m, n, depth), epilogue=lambda acc, _: (ir.Store(out, (COLUMN, ROW), acc),))
    kernel = replace(case.kernel(), params=(*case.kernel().params[:2], out))
    result = np.zeros((n, m), np.float32)
    run(kernel, [*case.operands(), result])
    exact, bound = expected(case)
    assert (np.abs(result.T - exact) <= bound).all()
    assert "store<4>(out +" in printed(kernel).text


def test_names_of_the_kernel_and_of_the_text_do_not_meet() -> None:
    """Buffers, loops and values called like what the text of a product declares itself."""
    r, c, strip, total = ir.Var("r"), ir.Var("c"), ir.Var("part", dtypes.float32), ir.Var("total", dtypes.float32)
    tile, sums = ir.Buffer("tile", dtypes.float32, (3, 20, 30), "in"), ir.Buffer("sums", dtypes.float32, (30, 40), "in")
    down, out = ir.Buffer("down", dtypes.float32, (3,), "in"), ir.Buffer("out", dtypes.float32, (3, 20, 40), "out")
    epilogue = (ir.Let(strip, f32("multiply", total, ir.Load(down, (r,)))), ir.Store(out, (r, ROW, c), strip))
    product_ = ir.Product(ROW, c, DEPTH, 20, 40, 30, ir.Load(tile, (r, ROW, DEPTH)), ir.Load(sums, (DEPTH, c)), total, epilogue)
    kernel = ir.Kernel("shared", (tile, sums, down, out), (ir.Loop(r, 3, "parallel", (product_,)),))
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal(buffer.shape).astype(np.float32) for buffer in kernel.params]
    run(kernel, arrays)
    wide = [array.astype(np.float64) for array in arrays]
    assert_close(arrays[3], (wide[0] @ wide[1]) * wide[2][:, None, None], depth=30, scale=10.0)


def test_a_store_may_have_a_condition() -> None:
    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        return (ir.Store(out, (ROW, COLUMN), acc, ir.Apply("gt", (acc, number(0.0)), dtypes.bool)),)

    case = Case(30, 44, 16, epilogue=epilogue)
    exact, bound = expected(case)
    result = launch(case)
    assert (np.abs(exact) > bound).all()
    assert ((result == 7) == (exact < 0)).all()
    assert (np.abs(result - exact) <= bound)[exact > 0].all()


def test_a_small_product_loads_for_its_epilogue_before_it_waits() -> None:
    """A strip of the residual, and the one element by which it is scaled."""
    residual, scale = ir.Buffer("residual", dtypes.float32, (32, 64), "in"), ir.Buffer("scale", dtypes.float32, (1,), "in")

    def epilogue(acc: ir.Var, out: ir.Buffer) -> tuple[ir.Stmt, ...]:
        scaled = f32("multiply", ir.Load(residual, (ROW, COLUMN)), ir.Load(scale, (ir.index(0),)))
        return (ir.Store(out, (ROW, COLUMN), f32("add", acc, scaled)),)

    case = Case(32, 64, 100, epilogue=epilogue, extra=[residual, scale])
    before, after = printed(case.kernel()).text.split("__syncthreads();", 1)
    assert "= load<4>(residual + " in before
    assert "= scale[0];" in before
    assert "residual +" not in after
    assert "scale[" not in after
    values = np.random.default_rng(4).standard_normal((32, 64)).astype(np.float32)
    exact, bound = expected(case)
    assert (np.abs(launch(case, values, np.full(1, 2, np.float32)) - (exact + 2 * values)) <= bound + 1e-6).all()


# Whole kernels, as lowering makes them ----------------------------------------------------------------------------------------------------


def on_host(kernel: ir.Kernel, arrays: Sequence[Array]) -> None:
    host.run(print_cuda(kernel, GPU), kernel, arrays, "reversed")


@pytest.mark.parametrize("sample", [s for s in groups.SAMPLES if s.kind == "dot"], ids=lambda s: s.id)
def test_fused_groups(sample: groups.Sample) -> None:
    results = run_node(sample.node(), sample.arrays(), lambda kernel: schedule_gpu(kernel, GPU), on_host)
    for result, wanted in zip(results, sample.want(), strict=True):
        assert_close(result, wanted, depth=sample.depth, scale=sample.scale)


@pytest.mark.parametrize("model", ["mlp", "attention"])
def test_products_of_models_agree_with_the_interpreter(model: str) -> None:
    kernels = [lower(step, f"k{n}") for n, step in enumerate(compiled(model).plan.steps)]
    products = [kernel for kernel in kernels if any(isinstance(stmt, ir.Product) for stmt in ir.walk(kernel.body))]
    assert products
    kernels = list({(kernel.params, kernel.body): kernel for kernel in products}.values())
    host.build_many(map(printed, kernels))
    rng = np.random.default_rng(5)
    for kernel in kernels:
        arrays = [rng.uniform(0.1, 1, buffer.shape).astype(buffer.dtype.np_dtype) for buffer in kernel.params]
        wanted = [array.copy() for array in arrays]
        interp.run(kernel, wanted)
        run(kernel, arrays)
        for result, want in zip(arrays, wanted, strict=True):
            assert_close(result, want, depth=256, scale=float(np.abs(want).max()))


# Every tile -------------------------------------------------------------------------------------------------------------------------------


def forced(tile: Tile) -> Callable[..., Plan]:
    def plan(sizes: tuple[int, int, int], batch: int, size: int, *_: object) -> Plan:
        return Plan(*sizes, batch, size, tile, 0, "by order of a test")

    return plan


TILES = [*product_plan.candidates(4096, 4096, 4096, 4), *product_plan.candidates(4096, 4096, 4096, 8)]


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
def test_every_tile_computes_the_same(dtype: dtypes.DType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tile of the table, with a short or a long step, on a product with tails on every side, in turns on each layout."""
    steps: dict[tuple[int, ...], list[Tile]] = {}
    for tile in product_plan.candidates(4096, 4096, 4096, dtype.size):
        steps.setdefault((tile.rows, tile.columns, tile.slices), []).append(tile)
    tiles = [found[-(turn % 2)] for turn, found in enumerate(steps.values())]
    kernels = []
    for turn, tile in enumerate(tiles if dtype is dtypes.float32 else tiles[::3]):
        shape = (133 if tile.rows > 8 else 18, 132 if tile.columns > 8 else 20, 44)
        case = laid_out(shape, ("nn", "tn", "nt", "tt")[turn % 4], dtype=dtype)
        monkeypatch.setattr(product, "make_plan", forced(tile))
        kernels.append((case, printed(case.kernel())))
    host.build_many(source for _, source in kernels)
    for case, source in kernels:
        exact, bound = expected(case)
        results = []
        for order in ("forward", "reversed"):
            out = np.full((case.m, case.n), 7, dtype.np_dtype)
            host.run(source, case.kernel(), [*case.operands(), out], order)
            results.append(out)
        assert (np.abs(results[0] - exact) <= bound).all(), source.text
        assert results[0].tobytes() == results[1].tobytes(), source.text


def test_a_missing_barrier_is_noticed() -> None:
    """The orders of threads are a test of the barriers: without them the results differ."""
    case = Case(40, 40, 300)
    source = printed(case.kernel())
    broken = replace(source, text=source.text.replace("__syncthreads();", ""))
    assert broken != source
    results = []
    for order in ("forward", "reversed"):
        out = np.zeros((40, 40), np.float32)
        host.run(broken, case.kernel(), [*case.operands(), out], order)
        results.append(out)
    assert results[0].tobytes() != results[1].tobytes()


# Plans ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", dict.fromkeys(TILES), ids=str)
def test_tiles_are_consistent(tile: Tile) -> None:
    assert tile.threads == product_plan.THREADS <= MAX_THREADS
    assert tile.rows % tile.thread_rows == tile.columns % tile.thread_columns == tile.depth % tile.slices == 0
    assert tile.rows * tile.columns * tile.slices == tile.thread_rows * tile.thread_columns * tile.threads


ROWS = (Source(4, True), Source(4, False))  # both sides of float32, row by row


def planned(*shape: int) -> Plan:
    return make_plan(shape, 1, 4, ROWS, GPU)


def test_plans_depend_on_the_architecture_not_on_the_device() -> None:
    for shape in SHAPES:
        assert planned(*shape) == make_plan(shape, 1, 4, ROWS, replace(GPU, multiprocessors=3))


def test_small_products_still_make_many_blocks() -> None:
    plan = planned(128, 128, 256)
    assert plan.tiles >= 64
    assert plan.tile.slices > 1
    large = planned(4096, 4096, 4096)
    assert (large.tile.rows, large.tile.columns, large.tile.slices) == (128, 128, 1)
    assert planned(4096, 1, 4096).tile.columns == 1
    assert planned(1, 4096, 4096).tile.rows == 1


def test_loads_and_stores_of_16_bytes_where_memory_allows_them() -> None:
    def accesses(case: Case) -> list[bool]:
        text = printed(case.kernel()).text
        return [part in text for part in ("load<4>(a +", "load<4>(b +", "store<4>(out +")]

    assert accesses(Case(64, 64, 64)) == accesses(laid_out((64, 64, 64), "tt")) == [True, True, True]
    assert accesses(Case(64, 63, 64)) == [True, False, False]
    assert accesses(Case(64, 64, 63)) == [False, True, True]
    assert "load<8>(a +" in printed(Case(64, 64, 64, dtypes.bfloat16).kernel()).text


RESOURCES = {
    "large": Case(4096, 4096, 4096), "large-tt": laid_out((4096, 4096, 4096), "tt"), "odd": laid_out((999, 1001, 513), "nt"),
    "small": Case(128, 128, 256), "vector": Case(4096, 1, 4096), "bfloat16": Case(4096, 4096, 4096, dtypes.bfloat16),
    "float64": Case(2048, 2048, 2048, dtypes.float64), "gelu": Case(2048, 2048, 64, epilogue=lambda acc, out: store(gelu_of(acc), out)),
}  # fmt: skip


@pytest.mark.skipif(all(c.problem() for c in compiler.COMPILERS), reason="this machine has no compiler for CUDA C")
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("case", RESOURCES.values(), ids=list(RESOURCES))
def test_nothing_is_spilled(case: Case, arch: str) -> None:
    gpu = gpu_for(arch)
    source = print_cuda(schedule_gpu(case.kernel(), gpu), gpu)
    resources = compiler.compile_cuda(source.text, arch).resources[source.name]
    assert resources.spill_bytes == resources.local_bytes == 0
    assert resources.shared_bytes <= STATIC_SHARED_BYTES
    assert resources.registers <= 168
