"""CUDA C text: what it computes, run on the CPU and held against the interpreter of the kernel IR; how it reads; that nothing spills."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from graphc.codegen import interp, ir
from graphc.codegen.cuda import compiler, facts, printer
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.gpu import gpu_for
from graphc.codegen.operations import OPERATIONS
from graphc.codegen.parse import parse_kernel
from graphc.codegen.rewrite import map_loops
from graphc.codegen.schedule_gpu_merge import merge
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.cuda_host import host
from tests.gpu_kernels import KERNELS
from tests.kernel_samples import arguments as sample_arguments
from tests.kernel_samples import kernels as samples
from tests.tolerances import assert_close

GOLDEN = Path(__file__).parent / "golden"
GPU = gpu_for("sm_90")
Array = np.ndarray[Any, Any]


def kernel_of(name: str) -> ir.Kernel:
    kernel = parse_kernel(KERNELS[name])
    verify(kernel)
    return kernel


def arguments(kernel: ir.Kernel) -> list[Array]:
    """Small whole numbers and quarters, so that most sums are exact; 77 where a kernel must write."""
    rng = np.random.default_rng(7)
    arrays = []
    for buffer in kernel.params:
        if buffer.space == "out":
            array = np.full(buffer.shape, 77).astype(buffer.dtype.np_dtype)
        elif buffer.dtype.is_floating:
            array = (rng.integers(-8, 9, buffer.shape) / 4).astype(buffer.dtype.np_dtype)
        else:
            array = rng.integers(0, 2 if buffer.dtype.is_bool else 10, buffer.shape).astype(buffer.dtype.np_dtype)
        arrays.append(array)
    return arrays


def check(kernel: ir.Kernel, source: CudaSource, arrays: list[Array], depth: int = 1, scale: float = 1.0) -> None:
    """Runs the text on the host in every order of threads, against the interpreter."""
    want = [array.copy() for array in arrays]
    interp.run(kernel, want)
    for order in host.ORDERS:
        got = [array.copy() for array in arrays]
        host.run(source, kernel, got, order)
        for buffer, each, expected in zip(kernel.params, got, want, strict=True):
            try:
                assert_close(each, expected, buffer.dtype, depth=depth, scale=scale)
            except AssertionError as error:
                raise AssertionError(f"{kernel.name}, {buffer.name}, {order}: {error}\n{source.text}") from None


# Loops ----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources() -> dict[str, CudaSource]:
    """All kernels printed, and compiled in few runs of g++."""
    printed = {name: print_cuda(kernel_of(name), GPU) for name in KERNELS}
    host.build_many(printed.values())
    return printed


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, sources: dict[str, CudaSource]) -> None:
    kernel = kernel_of(name)
    check(kernel, sources[name], arguments(kernel), depth=16)


@pytest.mark.parametrize("name", ["flat_parts_tail", "row_warp_tail", "row_two_blocks", "column_tail", "repeated", "column_odd_parts",
                                  "several"])  # fmt: skip
def test_a_launch_without_room_for_all_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks that there are do the work of the others after their own."""
    monkeypatch.setattr(printer, "MAX_BLOCKS", 2)
    kernel = kernel_of(name)
    source = print_cuda(kernel, GPU)
    assert source.grid[0] <= 2 * len(kernel.body)
    check(kernel, source, arguments(kernel), depth=16)


def test_kernels_in_one_launch() -> None:
    """Teams of all sizes in blocks of one size: those of several warps share barriers with others that have nothing to do."""
    names = ["flat_parts_tail", "row_odd_warps", "row_small", "column_tail", "repeated", "gathered", "condition_block", "transposed",
             "turned"]  # fmt: skip
    kernel = merge([kernel_of(name) for name in names], "all_in_one")
    verify(kernel)
    source = print_cuda(kernel, GPU)
    assert source.block == (128, 1, 1)
    check(kernel, source, arguments(kernel), depth=16)


def test_the_result_may_lie_over_an_operand() -> None:
    kernel = kernel_of("flat_parts_tail")
    x, w, _ = arguments(kernel)
    want = x + w
    source = print_cuda(kernel, GPU)
    for order in host.ORDERS:
        both = x.copy()
        host.run(source, kernel, [both, w, both], order)
        np.testing.assert_array_equal(both, want)


@pytest.mark.parametrize("name", ["row_block", "row_two_blocks", "column_tail", "repeated_across", "transposed", "turned", "first_of_team",
                                  "in_place"])  # fmt: skip
def test_every_barrier_is_needed(name: str, sources: dict[str, CudaSource]) -> None:
    """Without any one of them, some order of threads gives another result: no barrier stands where none is needed.

    (But for those that keep a warp from overwriting what another has yet to read, where all read by shuffles: on the host, warps that wait
    for their own threads take turns.)
    """
    kernel, source = kernel_of(name), sources[name]
    lines = source.text.splitlines()
    places = [n for n, line in enumerate(lines) if line.strip().startswith(("__syncthreads()", "sync_team<"))]
    assert places
    shortened = [CudaSource(source.name, "\n".join([*lines[:n], "", *lines[n + 1 :]]), source.grid, source.block) for n in places]
    host.build_many(shortened)
    for place, each in zip(places, shortened, strict=True):
        try:
            check(kernel, each, arguments(kernel), depth=16)
        except (AssertionError, host.KernelFault):
            continue
        raise AssertionError(f"line {place + 1} may go: {source.text}")


@st.composite
def spread(draw: st.DrawFn) -> ir.Kernel:
    """A random kernel of the CPU's tests, whose rows become iterations of a grid and whose columns those of a team."""
    kernel = draw(samples().filter(lambda sample: not isinstance(sample.body[0], ir.Acc)))
    kind, lanes, parts = draw(st.sampled_from(["team", "cross"])), draw(st.sampled_from([1, 2, 4, 8])), draw(st.integers(1, 3))
    team, team_parts = draw(st.sampled_from([1, 2, 8, 32, 64])), draw(st.integers(1, 4))

    def change(loop: ir.Loop) -> tuple[ir.Stmt, ...]:
        if loop.var.name == "r":
            return (replace(loop, kind="grid", lanes=lanes, parts=parts),)
        return (replace(loop, kind=kind, lanes=team, parts=team_parts) if loop.var.name == "c" else loop,)

    return replace(kernel, body=map_loops(kernel.body, change))


@given(st.lists(spread(), min_size=20, max_size=20))
@settings(max_examples=2, phases=[Phase.generate])  # shrinking would compile for minutes
def test_random_kernels(kernels: list[ir.Kernel]) -> None:
    """Many at a time, since the start of g++ takes longer than they do."""
    for kernel in kernels:
        verify(kernel)
    printed = [print_cuda(kernel, GPU) for kernel in kernels]
    host.build_many(printed)
    for number, (kernel, source) in enumerate(zip(kernels, printed, strict=True)):
        check(kernel, source, sample_arguments(kernel, number))


# What is known of indices ----------------------------------------------------------------------------------------------------------------

PARTS = 4
N, OTHER = ir.Var("n"), ir.Var("i")  # consecutive iterations, four a thread, and a variable of another loop
EXTENTS = {"n": 48, "i": 5}
_NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 12, 16, 24, -1, -4, -7])


def _operation(op: str, *args: ir.Expr) -> ir.Expr:
    return ir.Apply(op, args, dtypes.int64)


def _larger(inner: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
    number = _NUMBERS.map(ir.index)
    divisor = st.sampled_from([1, 2, 4, 6, 8, 12, 16, 48]).map(ir.index)
    return st.one_of(
        st.builds(_operation, st.sampled_from(["add", "subtract", "maximum", "minimum"]), inner, inner),
        st.builds(_operation, st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]), inner, number),
        st.builds(_operation, st.sampled_from(["divide", "remainder"]), inner, divisor),
        st.builds(_operation, st.sampled_from(["negate", "abs"]), inner),
        st.builds(_operation, st.just("clamp"), number, inner, number),
    )


@given(st.recursive(st.one_of(st.just(N), st.just(OTHER), _NUMBERS.map(ir.index)), _larger, max_leaves=6))
@settings(max_examples=300)
def test_what_is_known_of_an_index_is_true(expr: ir.Expr) -> None:
    known = _fact(expr)
    values = np.broadcast_to(_evaluated(expr), (EXTENTS["i"], EXTENTS["n"])).reshape(EXTENTS["i"], -1, PARTS)
    assert known.low <= values.min()
    assert values.max() <= known.high
    first = values[..., 0]
    if known.step is not None:
        np.testing.assert_array_equal(values, first[..., None] + known.step * np.arange(PARTS))
        assert not (first % known.multiple if known.multiple else first).any()


def _fact(expr: ir.Expr) -> facts.Fact:
    match expr:
        case ir.Var():
            return facts.of_parts(EXTENTS["n"], PARTS) if expr == N else facts.of_loop(EXTENTS["i"])
        case ir.Const():
            return facts.of_constant(int(expr.value))
        case ir.Apply():
            return facts.combine(expr.op, [_fact(arg) for arg in expr.args], PARTS)
    raise AssertionError(expr)


def _evaluated(expr: ir.Expr) -> Array:
    match expr:
        case ir.Var():
            return np.arange(EXTENTS["n"]) if expr == N else np.arange(EXTENTS["i"])[:, None]
        case ir.Const():
            return np.asarray(expr.value, np.int64)
        case ir.Apply():
            return interp.apply(expr.op, [_evaluated(arg) for arg in expr.args], expr.dtype)
    raise AssertionError(expr)


# Scalars --------------------------------------------------------------------------------------------------------------------------------

_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 0.1, -7.25, 11.0, -30.0, 1e-3, 1e-6, 250.0, 4e4, np.inf, -np.inf, np.nan)


def operands(dtype: DType, count: int) -> list[Array]:
    """`count` arrays of one length, a multiple of 8: every combination of special values, then random ones."""
    rng = np.random.default_rng(3)
    if dtype.is_bool:
        special = np.array([False, True])
    elif dtype.is_floating:
        special = np.array(_FLOATS, np.float32).astype(dtype.np_dtype)
    else:
        small = [0, 1, 2, 3, 7, 8, 31, 33, 63, 64, 100] + ([] if dtype.is_unsigned else [-1, -2, -3, -100])
        special = np.array([*small, int(dtype.max), int(dtype.max) - 1, int(dtype.min), int(dtype.min) + 1], dtype.np_dtype)
    if count == 3:
        special = special[::2]
    grids = [grid.reshape(-1) for grid in np.meshgrid(*[special] * count)]
    more = -len(grids[0]) % 8 + 64
    wide = rng.standard_normal((count, more)) * 3 if dtype.is_floating else rng.integers(0, 2 if dtype.is_bool else 9, (count, more))
    return [np.concatenate([grid, extra.astype(dtype.np_dtype)]) for grid, extra in zip(grids, wide, strict=True)]


def every_operation(dtype: DType, arity: int, parts: int) -> tuple[ir.Kernel, list[Array]]:
    """A kernel that applies all operations of `arity` operands to operands of `dtype`, an output each, and its arguments."""
    arrays = operands(dtype, arity)
    size = len(arrays[0])
    n = ir.Var("n")
    ins = [ir.Buffer(f"x{k}", dtype, (size,), "in") for k in range(arity)]
    args = tuple(ir.Load(buffer, (n,)) for buffer in ins)
    values: dict[str, ir.Expr] = {}
    for op, rule in OPERATIONS.items():
        if rule.arity == arity and rule.accepts(dtype):
            values[op] = ir.Apply(op, args, dtypes.bool if rule.to_bool else dtype)
    if arity == 1:
        values |= {f"to_{to.code}": ir.Apply("convert", args, to) for to in dtypes.ALL if to is not dtype}
    if arity == 3:
        values["select"] = ir.Apply("select", (ir.Apply("lt", args[:2], dtypes.bool), *args[1:]), dtype)
    outs = {op: ir.Buffer(f"of_{op}", value.dtype, (size,), "out") for op, value in values.items()}
    body = tuple(ir.Store(outs[op], (n,), value) for op, value in values.items())
    kernel = ir.Kernel(f"all_{dtype.code}_{arity}", (*ins, *outs.values()), (ir.Loop(n, size, "grid", body, 64, parts),))
    return kernel, [*arrays, *(np.full(size, 77).astype(out.dtype.np_dtype) for out in outs.values())]


SCALARS = [(dtype, arity) for dtype in dtypes.ALL for arity in (1, 2, 3)]


@pytest.fixture(scope="module")
def scalar_sources() -> dict[tuple[DType, int], CudaSource]:
    printed = {(dtype, arity): print_cuda(every_operation(dtype, arity, parts=1)[0], GPU) for dtype, arity in SCALARS}
    host.build_many(printed.values())
    return printed


@pytest.mark.parametrize(("dtype", "arity"), SCALARS, ids=lambda value: getattr(value, "code", str(value)))
def test_every_operation_has_its_defined_results(
    dtype: DType, arity: int, scalar_sources: dict[tuple[DType, int], CudaSource]
) -> None:
    kernel, arrays = every_operation(dtype, arity, parts=1)
    want = [array.copy() for array in arrays]
    interp.run(kernel, want)
    host.run(scalar_sources[dtype, arity], kernel, arrays)
    for buffer, got, expected in zip(kernel.params[arity:], arrays[arity:], want[arity:], strict=True):
        try:
            assert_close(got, expected, buffer.dtype)
        except AssertionError as error:
            raise AssertionError(f"{buffer.name} of {dtype.name}: {error}") from None


def test_constants_are_exact() -> None:
    values: dict[DType, tuple[Any, ...]] = {
        dtypes.float32: (0.1, 1 / 3, 3.4028234663852886e38, 1e-45, -0.0, 16777217.0, float("inf"), float("-inf"), float("nan"), 1e22),
        dtypes.float64: (0.1, 1 / 3, 1.7976931348623157e308, 5e-324, -0.0, float("-inf"), float("nan"), 1e22),
        dtypes.float16: (0.1, 65504.0, 6e-8, 1e6), dtypes.bfloat16: (0.1, 3.3e38, -1e-40),
        dtypes.int64: (-(2**63), 2**63 - 1, -(2**31), 2**31, 5), dtypes.uint64: (2**64 - 1, 0), dtypes.int32: (-(2**31), 2**31 - 1),
        dtypes.uint32: (2**32 - 1,), dtypes.int8: (-128, 127), dtypes.uint8: (255,), dtypes.int16: (-32768,), dtypes.uint16: (65535,),
        dtypes.bool: (True, False),
    }  # fmt: skip
    n = ir.Var("n")
    outs = [ir.Buffer(f"y{k}", dtype, (len(row),), "out") for k, (dtype, row) in enumerate(values.items())]
    stores = [ir.Store(out, (ir.index(k),), ir.Const(v, out.dtype)) for out in outs for k, v in enumerate(values[out.dtype])]
    kernel = ir.Kernel("constants", tuple(outs), (ir.Loop(n, 1, "grid", tuple(stores)),))
    arrays = [np.full(out.shape, 1).astype(out.dtype.np_dtype) for out in outs]
    host.run(print_cuda(kernel, GPU), kernel, arrays)
    for array, (dtype, row) in zip(arrays, values.items(), strict=True):
        with np.errstate(over="ignore"):
            want = np.array(row, dtype.np_dtype if not dtype.is_floating else np.float64).astype(dtype.np_dtype)
        np.testing.assert_array_equal(array, want)
        if dtype.is_floating:
            np.testing.assert_array_equal(np.signbit(array), np.signbit(want))


# Text -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["row_block", "row_warp_tail", "column_parts", "joined", "gathered", "transposed", "several", "random"])
def test_golden_text(name: str, request: pytest.FixtureRequest) -> None:
    kernel = replace(kernel_of(name), origins=("made (model.py:12)", "by hand"))
    text = print_cuda(kernel, GPU).text
    file = GOLDEN / f"cuda-{name.replace('_', '-')}.cu"
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert text == file.read_text()


def test_neighbouring_elements_move_together() -> None:
    text = print_cuda(kernel_of("joined"), GPU).text
    assert text.count("load<4>") == 2  # x and s; b is one element for all four
    assert text.count("store(") == 1
    assert "load<" not in print_cuda(kernel_of("joined_odd"), GPU).text  # rows of 10: parts of a thread may lie in two


def test_the_launch_has_just_the_threads_that_there_is_work_for() -> None:
    assert (print_cuda(kernel_of("flat"), GPU).grid, print_cuda(kernel_of("flat"), GPU).block) == ((32, 1, 1), (32, 1, 1))
    assert print_cuda(kernel_of("row_warp"), GPU).block == (128, 1, 1)
    assert print_cuda(kernel_of("column_parts"), GPU).grid == (2, 1, 1)
    assert print_cuda(kernel_of("several"), GPU).grid == (1 + 3 + 1, 1, 1)  # blocks of 128 threads: 128 fours, 2 rows or 8 columns
    assert print_cuda(kernel_of("nothing"), GPU).grid == (1, 1, 1)


@pytest.mark.parametrize(("text", "message"), [
    ("kernel k(y: f32[4] out) {\n for i in 4 parallel {\n y[i] = 1.0_f32\n }\n}", "has not been scheduled for a GPU"),
    ("kernel k(y: f32[4] out) {\n for i in 4 grid(64, 1) {\n acc s: f32 = 0.0_f32\n for j in 9 team(64, 1) {\n s add= 1.0_f32\n }\n"
     " y[i] = s\n }\n}", "at most 1024 threads"),
    ("kernel k(x: f32[9,9] in, y: f32[9,9] out, z: f32[9] out) {\n for b in 1 grid(1, 1) {\n product acc: f32 over i in 9, j in 9, k in 9"
     " of x[i, k] times x[k, j] {\n y[i, j] = acc\n }\n }\n for i in 9 grid(1, 1) {\n z[i] = 1.0_f32\n }\n}", "a launch of its own"),
])  # fmt: skip
def test_what_cannot_be_printed_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        print_cuda(parse_kernel(text), GPU)


def test_indices_take_64_bits_where_32_do_not_hold_them() -> None:
    text = """kernel large(x: i8[3000000000] in, y: i8[3,1000000000] out) {
      for n in 3000000000 grid(256, 16) {
        y[n / 1000000000, n % 1000000000] = x[n]
      }
    }"""
    source = print_cuda(parse_kernel(text), GPU)
    assert "const i64 n = (i64(blockIdx.x) * 256 + threadIdx.x) * 16;" in source.text
    assert "store(y + i64(int(n / 1000000000ull) * 1000000000) + int(n % 1000000000ull), y_v);" in source.text
    assert source.grid == (-(-3000000000 // 4096), 1, 1)
    compiler.compile_cuda(source.text, "sm_90")


# Machine code ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_nothing_spills(arch: str) -> None:
    """Every second kernel of this page, in one translation unit; the two architectures share them out."""
    kernels = [kernel_of(name) for name in list(KERNELS)[arch == "sm_80" :: 2]]
    kernels += [every_operation(dtype, 1, 4)[0] for dtype in (dtypes.float32, dtypes.bfloat16)]
    texts = [print_cuda(kernel, gpu_for(arch)).text.removeprefix(printer.HEADER) for kernel in kernels]
    found = compiler.compile_cuda("".join([printer.HEADER, *texts]), arch).resources
    assert set(found) == {kernel.name for kernel in kernels}
    assert {name: used for name, used in found.items() if used.spill_bytes} == {}
    private = {name: used for name, used in found.items() if used.local_bytes}  # arrays that did not become registers
    assert set(private) <= {"all_f32_1", "all_bf16_1"}  # sine and cosine of large arguments have tables of their own
