"""The GPU schedule: steps keep the meaning of a kernel, every kernel ends in grid loops, and each family gets the form meant for it."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.codegen import interp, ir
from graphc.codegen.gpu import ARCHITECTURES, MAX_THREADS, STATIC_SHARED_BYTES, gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.parse import parse_kernel
from graphc.codegen.rewrite import map_loops
from graphc.codegen.schedule import CpuShape, schedule_cpu
from graphc.codegen.schedule_gpu import gpu_steps, schedule_gpu
from graphc.codegen.schedule_gpu_merge import merge
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from graphc.passes.memory import plan_memory
from graphc.passes.pipelines import DEFAULT, for_gpu, run_pipeline
from tests.groups import F32, SAMPLES, Sample, columns, gelu, layer_norm, rows, softmax, t
from tests.kernel_samples import arguments, kernels
from tests.kernels import Runner, group, run_node, run_program
from tests.op_cases import CASES
from tests.op_table import Case
from tests.small_models import SMALL_MODELS
from tests.test_lower import GOLDEN, loops_of
from tests.tolerances import assert_close

GPU = gpu_for("sm_90")
ORDERS = ("forward", "reversed")


def x(*shape: int, dtype: DType = F32, name: str = "x") -> Node:
    return p.parameter(name, t(*shape, dtype=dtype))


def scheduled(node: Node) -> ir.Kernel:
    return checked(lower(node))


def checked(kernel: ir.Kernel) -> ir.Kernel:
    """`kernel` scheduled, with every step valid and the result within the limits of a block."""
    for step in gpu_steps(GPU):
        kernel = step(kernel)
        verify(kernel)
    for stmt in kernel.body:
        assert isinstance(stmt, ir.Let) or (isinstance(stmt, ir.Loop) and stmt.kind == "grid"), print_kernel(kernel)
    for grid in kernel.body:
        if isinstance(grid, ir.Loop):
            assert grid.lanes * team_of(grid) <= MAX_THREADS
            shared = [stmt.buffer.nbytes for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Local) and stmt.buffer.space == "shared"]
            assert grid.lanes * sum(shared) <= STATIC_SHARED_BYTES
            assert private_values(grid) <= 64
    return kernel


def team_of(grid: ir.Loop) -> int:
    return max((stmt.lanes for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS), default=1)


def private_values(grid: ir.Loop) -> int:
    """The most registers that one thread needs for one local buffer."""
    buffers = [stmt.buffer for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Local) and stmt.buffer.space == "local"]
    loops = [stmt for stmt in ir.walk(grid.body) if isinstance(stmt, ir.Loop) and stmt.kind in ir.TEAM_KINDS]
    each = {loop.extent: -(-loop.extent // (loop.lanes * loop.parts)) * loop.parts for loop in loops}
    return max((each[buffer.shape[0]] * max(1, buffer.dtype.size // 4) for buffer in buffers), default=0)


def form(kernel: ir.Kernel) -> list[str]:
    """The loops of a kernel, outer first: "grid 4096 (8, 1)"."""
    return [f"{loop.kind} {loop.extent} ({loop.lanes}, {loop.parts})" for loop in loops_of(kernel)]


def in_order(order: str) -> Runner:
    return lambda kernel, arrays: interp.run(kernel, arrays, order)


# Meaning --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_group(sample: Sample) -> None:
    for order in ORDERS:
        results = run_node(sample.node(), sample.arrays(), checked, in_order(order))
        for got, want, type_ in zip(results, sample.want(), sample.node().types, strict=True):
            assert_close(got, want, type_.dtype, depth=sample.depth, scale=sample.scale)


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: case.id)
def test_primitive(case: Case) -> None:
    for order in ORDERS:
        got = run_program(case.expanded(), case.arrays(), checked, in_order(order))[0]
        assert_close(got, case.want(), case.dtype, depth=case.depth, scale=case.scale)


def plain(kernel: ir.Kernel) -> ir.Kernel:
    """`kernel` with its vector loops as the serial ones that lowering would have made."""
    return replace(kernel, body=map_loops(kernel.body, _serial))


def _serial(loop: ir.Loop) -> tuple[ir.Stmt, ...]:
    return (replace(loop, kind="serial", lanes=1, parts=1) if loop.kind == "vector" else loop,)


@settings(max_examples=30)
@given(kernels(), st.integers(0, 99))
def test_any_kernel_comes_out_right(kernel: ir.Kernel, seed: int) -> None:
    """Forms that lowering does not make: rows read backwards, totals of totals, branches, gathers."""
    kernel = plain(kernel)
    want = arguments(kernel, seed)
    interp.run(kernel, want)
    result = checked(kernel)
    for order in ORDERS:
        got = [array.reshape(buffer.shape) for array, buffer in zip(arguments(kernel, seed), result.params, strict=True)]
        interp.run(result, got, order)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one.reshape(other.shape), other)


def steps_of(model: str) -> list[ir.Kernel]:
    with gc.Graph().as_default() as graph, gc.Session(graph=graph) as session:
        fetches, feeds = SMALL_MODELS[model]()
        session.run(gc.global_variables_initializer())
        program = session.compile(fetches, feeds).stages[0].program
    steps = plan_memory(run_pipeline(program, for_gpu(DEFAULT))[-1].program).steps
    return [lower(step, f"k{n}") for n, step in enumerate(steps)]


@pytest.mark.parametrize("model", SMALL_MODELS)
def test_model(model: str) -> None:
    """Against the CPU's schedule, whose vectors the interpreter runs in reasonable time; a whole pass over the largest takes too long."""
    for kernel in steps_of(model):
        other = schedule_cpu(kernel, CpuShape(512))
        small = sum(buffer.size for buffer in kernel.params) < 300_000
        want = _results(other) if small else []
        result = checked(kernel)
        for order in ORDERS if small else ():
            for got, each in zip(_results(result, order), want, strict=True):
                np.testing.assert_allclose(got.reshape(each.shape), each, rtol=2e-4, atol=2e-4)


def _results(kernel: ir.Kernel, order: str = "forward") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [_values(rng, buffer) for buffer in kernel.params]
    interp.run(kernel, arrays, order)
    return [array for array, buffer in zip(arrays, kernel.params, strict=True) if buffer.space != "in"]


def _values(rng: np.random.Generator, buffer: ir.Buffer) -> np.ndarray:
    if buffer.space == "out":
        return np.full(buffer.shape, 77, buffer.dtype.np_dtype)
    if buffer.dtype.is_floating:
        return rng.uniform(0.1, 0.9, buffer.size).astype(buffer.dtype.np_dtype).reshape(buffer.shape)
    return rng.integers(0, 2, buffer.size).astype(buffer.dtype.np_dtype).reshape(buffer.shape)


def test_the_architecture_decides_and_nothing_else() -> None:
    """A device with other multiprocessors gets the same kernels, so the same results."""
    for sample in SAMPLES:
        kernel = lower(sample.node())
        assert schedule_gpu(kernel, GPU) == schedule_gpu(kernel, replace(GPU, multiprocessors=7))
        for arch in ARCHITECTURES:
            verify(schedule_gpu(kernel, gpu_for(arch)))


# Whatever else --------------------------------------------------------------------------------------------------------------------------

BACKWARDS = """\
kernel backwards(x: f32[3,{n}] in, y: f32[3,{n}] out) {{
  for i in 3 parallel {{
    local row: f32[{n}]
    for j in {n} serial {{
      let t: f32 = x[i, j] * 2.0_f32
      row[j] = t
    }}
    for j in {n} serial {{
      y[i, j] = row[{n1} - j]
    }}
  }}
}}"""


def test_scratch_that_is_read_elsewhere_is_shared() -> None:
    kernel = checked(parse_kernel(BACKWARDS.format(n=100, n1=99)))
    assert "shared row: f32[100]" in print_kernel(kernel)
    assert form(kernel)[1:] == ["team 100 (32, 1)"] * 2
    values = np.arange(300, dtype=np.float32).reshape(3, 100)
    for order in ORDERS:
        got = np.zeros((3, 100), np.float32)
        interp.run(kernel, [values, got], order)
        np.testing.assert_array_equal(got, 2 * values[:, ::-1])


def test_scratch_that_fits_nowhere_is_computed_again() -> None:
    kernel = checked(parse_kernel(BACKWARDS.format(n=20000, n1=19999)))
    assert "row" not in print_kernel(kernel)
    values = np.arange(60000, dtype=np.float32).reshape(3, 20000)
    got = np.zeros((3, 20000), np.float32)
    interp.run(kernel, [values, got])
    np.testing.assert_array_equal(got, 2 * values[:, ::-1])


def test_an_index_that_is_kept_with_what_it_leads_to_is_loaded_once() -> None:
    kernel = checked(parse_kernel("""\
kernel twice(x: f32[99] in, i: i64[4,64] in, y: f32[4] out, z: f32[4,64] out) {
  for r in 4 parallel {
    acc s: f32 = 0.0_f32
    for j in 64 serial {
      s add= x[i[r, j]]
    }
    for j in 64 serial {
      z[r, j] = x[i[r, j]] * s
    }
    y[r] = s
  }
}"""))
    text = print_kernel(kernel)
    assert (text.count("x["), text.count("i["), text.count("local")) == (1, 1, 1)


def test_what_depends_on_the_iteration_before_runs_in_order() -> None:
    kernel = checked(parse_kernel("""\
kernel running(x: f32[4,9] in, y: f32[4,9] out) {
  for i in 4 parallel {
    y[i, 0] = x[i, 0]
    for j in 8 serial {
      y[i, j + 1] = y[i, j] + x[i, j + 1]
    }
  }
}"""))
    assert form(kernel) == ["grid 4 (32, 1)", "serial 8 (1, 1)"]
    values = np.arange(36, dtype=np.float32).reshape(4, 9)
    got = np.zeros((4, 9), np.float32)
    interp.run(kernel, [values, got])
    np.testing.assert_array_equal(got, np.cumsum(values, 1))


# Merging --------------------------------------------------------------------------------------------------------------------------------


def test_merged_kernels_do_what_each_does() -> None:
    ids = ("softmax-5x10", "column-moments", "dropout", "transposed-add", "layer", "sums-of-all")
    chosen = [sample for sample in SAMPLES if sample.id in ids]
    parts = [replace(scheduled(sample.node()), origins=("Adam (train.py:9)", sample.id)) for sample in chosen]
    both = merge(parts, "together")
    verify(both)
    assert parse_kernel(print_kernel(both)) == both
    assert both.origins == ("Adam (train.py:9)", *(sample.id for sample in chosen))
    assert [stmt.kind for stmt in both.body if isinstance(stmt, ir.Loop)] == ["grid"] * len(chosen)
    for order in ORDERS:
        arrays, results = [], []
        for sample, kernel in zip(chosen, parts, strict=True):
            own = [array.reshape(b.shape) for array, b in zip(sample.arrays(), kernel.params, strict=False)]
            results.append([np.full(b.shape, 77, b.dtype.np_dtype) for b in kernel.params[len(own):]])
            arrays += [*own, *results[-1]]
        interp.run(both, arrays, order)
        for sample, found in zip(chosen, results, strict=True):
            for got, want, type_ in zip(found, sample.want(), sample.node().types, strict=True):
                assert_close(got.reshape(want.shape), want, type_.dtype, depth=sample.depth, scale=sample.scale)


def test_only_scheduled_kernels_are_merged() -> None:
    with pytest.raises(ValueError, match="kernel kernel is not in grid loops: schedule_gpu makes them"):
        merge([lower(p.tanh(x(9)))], "together")


def scatter(before: int, rows: int, width: int, updates: int, dtype: DType) -> Node:
    shape, axis = ((before, rows, width), 1) if before > 1 else ((rows, width), 0)
    found = x(*shape[:axis], updates, width, dtype=dtype, name="g")
    return p.scatter_add(x(*shape, dtype=dtype), x(updates, dtype=dtypes.int32, name="i"), found, axis)


# Golden texts ---------------------------------------------------------------------------------------------------------------------------


def _golden() -> dict[str, Node]:
    big, other, bias = x(512, 1024), x(512, 1024, name="y"), x(1024, name="b")
    cross = p.add(big, rows(p.reduce_max(big, (1,)), big))
    return {
        "gelu": group("loop", (gelu(p.add(big, columns(bias, big))),), (big, bias)),
        "softmax": group("row", softmax(big), (big,)),
        "layer-norm": group("row", layer_norm(big, bias, x(1024, name="g")), (big, bias, x(1024, name="g"))),
        "row-max": group("row", (cross,), (big,)),
        "total": p.reduce_sum(x(30000), (0,)),
        "columns": group("column", (p.reduce_sum(p.multiply(big, other), (0,)),), (big, other)),
        "transpose": group("loop", (p.add(p.transpose(x(50, 40), (1, 0)), x(40, 50, name="y")),), (x(50, 40), x(40, 50, name="y"))),
        "argmax": p.argmax(x(40, 500), 1, dtypes.int32),
        "embedding-gradient": scatter(1, 500, 64, 300, dtypes.bfloat16),
        "histogram": scatter(1, 500, 1, 300, dtypes.float32),
        "batched-product": p.dot_general(x(3, 40, 50), x(3, 50, 60, name="y"), (0,), (0,), (2,), (1,)),
    }


@pytest.mark.parametrize("name", sorted(_golden()))
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    text = print_kernel(replace(scheduled(_golden()[name]), name=name.replace("-", "_")))
    path = GOLDEN / f"gpu-{name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text + "\n")
    assert path.read_text() == text + "\n", f"{path.name} differs; if the new text is better, run pytest with --update-golden"
