"""Schedules: every step keeps the meaning of a kernel, makes the loops that it promises, and the machine code of the result is right."""
from __future__ import annotations

import numpy as np
import pytest

import graphc.primitives as p
from graphc.codegen import interp, ir
from graphc.codegen.llvm.target import Target
from graphc.codegen.lower import lower
from graphc.codegen.schedule import CHUNK, CpuShape, schedule_cpu, steps
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import verify
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import TensorType
from tests.groups import F32, SAMPLES, Sample, columns, t
from tests.kernel_samples import run_compiled
from tests.kernels import Runner, group, run_node, run_program
from tests.op_cases import CASES
from tests.op_table import Case
from tests.test_lower import GOLDEN, loops_of
from tests.tolerances import assert_close

WIDE = CpuShape(512)


def x(*shape: int, dtype: dtypes.DType = F32) -> Node:
    return p.parameter("x", TensorType(dtype, shape))


def scheduled(node: Node) -> ir.Kernel:
    return schedule_cpu(lower(node), WIDE)


def runner(target: Target) -> Runner:
    return lambda kernel, arrays: run_compiled(kernel, target, arrays)


def shape_of(kernel: ir.Kernel) -> list[tuple[str, int]]:
    return [(loop.kind, loop.extent) for loop in loops_of(kernel)]


# Meaning --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_every_step_is_valid_and_keeps_the_meaning(sample: Sample) -> None:
    kernel = lower(sample.node())
    if sample.id == "softmax-long":
        kernel = schedule_cpu(kernel, WIDE)  # in plain loops the interpreter takes seconds
    want = _results(kernel, sample)
    before = kernel
    for step in steps(CpuShape(128)):
        kernel, before = step(kernel), kernel
        verify(kernel)
        for order in ("forward", "reversed") if kernel != before else ():
            for got, each in zip(_results(kernel, sample, order), want, strict=True):
                assert_close(got, each, each.dtype, depth=sample.depth, scale=sample.scale)


def _results(kernel: ir.Kernel, sample: Sample, order: str = "forward") -> list[np.ndarray]:
    inputs = [a.reshape(b.shape) for a, b in zip(sample.arrays(), kernel.params, strict=False)]
    outputs = [np.full(b.shape, 77, b.dtype.np_dtype) for b in kernel.params[len(inputs):]]
    interp.run(kernel, [*inputs, *outputs], order)
    return outputs


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_group_as_machine_code(sample: Sample, target: Target) -> None:
    node = sample.node()
    results = run_node(node, sample.arrays(), lambda kernel: schedule_cpu(kernel, target), runner(target))
    for got, want, type_ in zip(results, sample.want(), node.types, strict=True):
        assert_close(got, want, type_.dtype, depth=sample.depth, scale=sample.scale)


@pytest.mark.parametrize("case", CASES[::19], ids=lambda case: case.id)
def test_primitive_as_machine_code(case: Case, target: Target) -> None:
    got = run_program(case.expanded(), case.arrays(), lambda kernel: schedule_cpu(kernel, target), runner(target))[0]
    assert_close(got, case.want(), case.dtype, depth=case.depth, scale=case.scale)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.id in ("softmax-5x10", "layer", "column-moments", "heads", "transposed-add")],
                         ids=lambda sample: sample.id)  # fmt: skip
def test_results_do_not_depend_on_how_a_launch_is_split(sample: Sample, target: Target) -> None:
    kernel = schedule_cpu(lower(sample.node()), target)
    results = []
    for slices in (1, 2, 5):
        outputs = [np.full(b.shape, 77, b.dtype.np_dtype) for b in kernel.params if b.space == "out"]
        run_compiled(kernel, target, [*sample.arrays(), *outputs], slices)
        results.append(outputs)
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert got.tobytes() == want.tobytes()


# Form -----------------------------------------------------------------------------------------------------------------------------------


def test_rows_are_parallel_and_their_columns_vectors() -> None:
    assert shape_of(scheduled(p.reduce_sum(x(40, 100), (1,)))) == [("parallel", 40), ("vector", 100)]


def test_columns_keep_one_accumulator_a_lane_and_walk_rows_inside() -> None:
    kernel = scheduled(p.reduce_sum(x(40, 1024), (0,)))
    parallel, vector, serial = loops_of(kernel)
    assert (parallel.kind, vector.kind, serial.kind) == ("parallel", "vector", "serial")
    assert parallel.extent * vector.extent == 1024
    assert vector.extent == vector.lanes * vector.parts
    assert any(isinstance(stmt, ir.Acc) for stmt in vector.body)


def test_a_middle_axis_is_reduced_with_vectors_over_the_last() -> None:
    assert shape_of(scheduled(p.reduce_max(x(6, 40, 64), (1,)))) == [("parallel", 6), ("vector", 64), ("serial", 40)]


@pytest.mark.parametrize(("size", "chunks"), [(CHUNK, 0), (4 * CHUNK, 4), (2 * 15360, 2), (2 * CHUNK + 1, 3)])
def test_flat_loops_are_cut_into_chunks(size: int, chunks: int) -> None:
    kernel = scheduled(p.tanh(x(size)))
    assert kernel.parallel_extent == max(chunks, 1)
    assert {loop.extent for loop in loops_of(kernel) if loop.kind == "vector"} <= {size, CHUNK, 15360, 1}


@pytest.mark.parametrize("size", [1, 15, CHUNK - 1, CHUNK + 1, 2 * CHUNK + 17])
def test_every_element_of_a_flat_loop_is_computed_once(size: int) -> None:
    value = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(run_node(p.negate(x(size)), [value], lambda k: schedule_cpu(k, WIDE))[0], -value)


def test_few_rows_are_joined_with_the_loop_inside() -> None:
    whole, bias = x(2, 30, 64), p.parameter("b", t(2, 64))
    kernel = scheduled(group("loop", [p.add(whole, p.broadcast_in_dim(bias, whole.dims, (0, 2)))], [whole, bias]))
    assert kernel.parallel_extent == 60


def test_batches_of_products_are_joined_too() -> None:
    (sample,) = (each for each in SAMPLES if each.id == "heads")
    assert scheduled(sample.node()).parallel_extent == 6


@pytest.mark.parametrize("dims", [(64, 128), (100, 70), (65, 64), (9, 200)])
def test_transposes_go_through_tiles(dims: tuple[int, int]) -> None:
    kernel = scheduled(p.transpose(x(*dims), (1, 0)))
    assert [stmt.buffer.name for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Local)] == ["tile0"]
    value = np.arange(dims[0] * dims[1], dtype=np.float32).reshape(dims)
    np.testing.assert_array_equal(run_node(p.transpose(x(*dims), (1, 0)), [value], lambda k: schedule_cpu(k, WIDE))[0], value.T)


def test_moving_whole_rows_needs_no_tiles() -> None:
    kernel = scheduled(p.transpose(x(16, 16, 64), (1, 0, 2)))
    assert not any(isinstance(stmt, ir.Local) for stmt in ir.walk(kernel.body))
    assert shape_of(kernel)[-1] == ("vector", 64)


@pytest.mark.parametrize(("dtype", "lanes"), [(F32, 16), (dtypes.float64, 8), (dtypes.int8, 64), (dtypes.float16, 16), (dtypes.bool, 64)])
def test_lanes_fill_a_register_with_the_widest_type(dtype: dtypes.DType, lanes: int) -> None:
    (loop,) = loops_of(scheduled(p.maximum(x(1000, dtype=dtype), x(1000, dtype=dtype))))
    assert loop.lanes == lanes


def test_heavy_bodies_take_fewer_registers_at_once() -> None:
    light, heavy = (loops_of(scheduled(group("loop", [f(x(1000))], [x(1000)])))[0].parts for f in (p.negate, _heavy))
    assert light > heavy


def _heavy(node: Node) -> Node:
    for function in (p.tan, p.erfc, p.tanh, p.log):
        node = function(node)
    return node


def test_sums_are_pairwise_enough(target: Target) -> None:
    """0.1 added 2**20 times: one float32 accumulator would be off by percents, blocks of lanes and parts stay within a few ulp."""
    count, tenth = 2**20, np.float32(0.1)
    for dims, axis in (((count,), 0), ((count // 4, 4), 0)):
        node = p.reduce_sum(x(*dims), (axis,))
        got = run_node(node, [np.full(dims, tenth)], lambda kernel: schedule_cpu(kernel, target), runner(target))[0]
        np.testing.assert_allclose(got, dims[axis] * float(tenth), rtol=3e-5)


def test_long_sums_are_taken_in_blocks() -> None:
    kernel = scheduled(p.reduce_sum(x(1000, 64), (0,)))
    assert shape_of(kernel) == [("vector", 64), ("serial", 3), ("serial", 256), ("serial", 232)]
    short = scheduled(p.reduce_max(x(1000, 64), (0,)))
    assert shape_of(short) == [("vector", 64), ("serial", 1000)], "a maximum has no rounding"


def test_updates_of_a_scatter_stay_in_order() -> None:
    table = x(50, 64)
    node = p.scatter_add(table, p.parameter("i", t(9, dtype=dtypes.int32)), p.parameter("u", t(9, 64)), 0)
    assert shape_of(scheduled(node))[0] == ("parallel", 2), "columns are independent"
    assert ("serial", 9) in shape_of(scheduled(node))


@pytest.mark.parametrize("name", ["softmax-4x1000", "column-moments", "transposed-add"])
def test_text(name: str, request: pytest.FixtureRequest) -> None:
    (sample,) = (each for each in SAMPLES if each.id == name)
    text = print_kernel(schedule_cpu(lower(sample.node()), WIDE))
    path = GOLDEN / f"schedule-{name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text + "\n")
    assert path.read_text() == text + "\n", f"{path.name} differs; if the new text is better, run pytest with --update-golden"


def test_bias_reaches_every_row(target: Target) -> None:
    node = p.add(x(33, 7), columns(p.parameter("b", t(7)), x(33, 7)))
    values = [np.ones((33, 7), np.float32), np.arange(7, dtype=np.float32)]
    broadcast, total = node.operands[1], node
    spread = run_node(broadcast, [values[1]], lambda k: schedule_cpu(k, target), runner(target))[0]
    got = run_node(total, [values[0], spread], lambda k: schedule_cpu(k, target), runner(target))[0]
    np.testing.assert_array_equal(got, values[0] + values[1])
