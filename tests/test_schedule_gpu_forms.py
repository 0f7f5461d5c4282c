"""The forms that the GPU schedule gives to each family: which loops are grids and teams, how wide, and what stays in registers."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.primitives as p
from graphc.codegen import ir
from graphc.codegen.gpu import STATIC_SHARED_BYTES
from graphc.codegen.text import print_kernel
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.program import Node
from tests.groups import SAMPLES, columns, layer_norm, softmax
from tests.kernels import group, run_node
from tests.test_schedule_gpu import ORDERS, checked, form, in_order, scatter, scheduled, team_of, x

# Maps -----------------------------------------------------------------------------------------------------------------------------------


def loop(build: Callable[..., Node], *parameters: Node) -> ir.Kernel:
    return scheduled(group("loop", (build(*parameters),), parameters))


@pytest.mark.parametrize(("shape", "dtype", "expected"), [
    ((4096, 1024), dtypes.float32, "grid 4194304 (256, 4)"),
    ((4096, 1024), dtypes.bfloat16, "grid 4194304 (256, 8)"),
    ((4096, 1024), dtypes.float64, "grid 4194304 (256, 2)"),
    ((4096, 1024), dtypes.int8, "grid 4194304 (256, 8)"),
    ((4096, 1023), dtypes.float32, "grid 4190208 (256, 1)"),  # the bias is not aligned from row to row
    ((4096, 1022), dtypes.float32, "grid 4186112 (256, 2)"),
    ((64, 128), dtypes.float32, "grid 8192 (64, 1)"),  # small: many threads rather than wide ones
    ((3, 8), dtypes.float32, "grid 24 (32, 1)"),
])  # fmt: skip
def test_a_map_moves_16_bytes_where_they_are_aligned(shape: tuple[int, int], dtype: DType, expected: str) -> None:
    assert form(loop(lambda a, b: p.add(a, columns(b, a)), x(*shape, dtype=dtype), x(shape[1], dtype=dtype, name="b"))) == [expected]


def test_where_all_accesses_are_flat_any_extent_is_wide() -> None:
    assert form(loop(lambda a, b: p.add(a, b), x(1021, 1023), x(1021, 1023, name="b"))) == ["grid 1044483 (256, 4)"]


def test_a_map_indexes_by_the_joined_loop_where_it_can() -> None:
    kernel = loop(lambda a, b: p.add(a, columns(b, a)), x(40, 30), x(30, name="b"))
    assert print_kernel(kernel).splitlines()[1:-1] == [
        "  for c in 1200 grid(32, 1) {", "    let j: i64 = c % 30", "    y0[c] = x0[c] + x1[j]", "  }"]  # fmt: skip


def test_unaligned_slices_are_read_one_by_one() -> None:
    node = p.slice_(x(512, 1025), (0, 1), (512, 1025), (1, 1))
    assert form(scheduled(node)) == ["grid 524288 (256, 1)"]
    node = p.slice_(x(512, 1032), (0, 8), (512, 1032), (1, 1))
    assert form(scheduled(node)) == ["grid 524288 (256, 4)"]


def test_random_words_come_four_at_a_time() -> None:
    counter = x(dtype=dtypes.uint64, name="counter")
    assert form(scheduled(p.random_bits(counter, (1, 2), (300,)))) == ["grid 300 (32, 4)"]


def test_scalars_take_one_thread() -> None:
    assert form(loop(lambda a: p.tanh(a), x())) == ["grid 1 (1, 1)"]


def test_an_empty_result_needs_no_thread() -> None:
    assert scheduled(p.tanh(x(0, 3))).body == ()


# Rows -----------------------------------------------------------------------------------------------------------------------------------


def row_group(build: Callable[..., tuple[Node, ...]], *parameters: Node) -> ir.Kernel:
    return scheduled(group("row", build(*parameters), parameters))


@pytest.mark.parametrize(("shape", "grid", "team"), [
    ((100000, 3), "grid 100000 (128, 1)", "team 3 (2, 1)"),
    ((100000, 8), "grid 100000 (128, 1)", "team 8 (2, 4)"),
    ((64, 10), "grid 64 (4, 1)", "team 10 (8, 1)"),  # few: as many threads as there are
    ((4096, 100), "grid 4096 (16, 1)", "team 100 (16, 4)"),
    ((4096, 1024), "grid 4096 (8, 1)", "team 1024 (32, 4)"),  # a warp a row, no barriers
    ((4096, 1023), "grid 4096 (8, 1)", "team 1023 (32, 1)"),
    ((64, 1024), "grid 64 (1, 1)", "team 1024 (128, 4)"),  # few rows: larger teams
    ((4096, 4096), "grid 4096 (1, 1)", "team 4096 (128, 4)"),  # 32 elements a thread, kept in registers
    ((8, 32000), "grid 8 (1, 1)", "team 32000 (1024, 4)"),
])  # fmt: skip
def test_the_team_of_a_row(shape: tuple[int, int], grid: str, team: str) -> None:
    found = form(row_group(softmax, x(*shape)))
    assert found == [grid, *[team] * 3], found


def test_the_row_is_loaded_once() -> None:
    kernel = row_group(layer_norm, x(4096, 1024), x(1024, name="g"), x(1024, name="b"))
    text = print_kernel(kernel)
    assert text.count("x0[") == 1
    assert text.count("x1[") == 1
    assert "local kept: f32[1024]" in text


def test_a_row_too_long_for_registers_is_loaded_again() -> None:
    kernel = row_group(layer_norm, x(4, 200_000), x(200_000, name="g"), x(200_000, name="b"))
    assert "local" not in print_kernel(kernel)
    assert form(kernel)[1] == "team 200000 (1024, 4)"


def test_half_of_the_registers_in_full_blocks() -> None:
    """A block of 1024 threads leaves each 64 registers: 20 elements kept are too many beside the rest, 16 are not."""
    def kept(columns: int) -> bool:
        return "kept" in print_kernel(row_group(layer_norm, x(2, columns), x(columns, name="g"), x(columns, name="b")))
    assert kept(16384)
    assert not kept(20480)


def test_a_total_takes_one_block() -> None:
    assert form(scheduled(p.reduce_sum(x(32768), (0,)))) == ["grid 1 (1, 1)", "team 32768 (1024, 4)"]


def test_bools_are_loaded_before_they_are_asked() -> None:
    """`any or= x[j]` in C would load the next element only where the ones before were false."""
    kernel = scheduled(p.reduce_max(x(4, 100, dtype=dtypes.bool), (1,)))
    assert [line.strip() for line in print_kernel(kernel).splitlines()[3:6]] == [
        "for j in 100 team(32, 2) {", "let one: pred = x0[i, j]", "or0 or= one"]  # fmt: skip


def test_rows_of_two_axes_are_one_loop() -> None:
    kernel = scheduled(p.reduce_sum(x(6, 50, 4, 40), (1, 3)))
    assert form(kernel) == ["grid 24 (1, 1)", "team 2000 (256, 4)"]


def test_long_sums_are_taken_in_blocks() -> None:
    """A thread adds at most a few hundred terms to one number, so that the error does not grow with the length."""
    kernel = scheduled(p.reduce_sum(x(2, 5_000_000), (1,)))
    assert form(kernel) == ["grid 2 (1, 1)", "serial 4 (1, 1)", "team 1048576 (1024, 4)", "team 805696 (1024, 4)"]


# Columns --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axes", "expected"), [
    ((256, 128), (0,), ["grid 128 (8, 1)", "cross 256 (32, 1)"]),
    ((4096, 1024), (0,), ["grid 1024 (8, 1)", "cross 4096 (64, 1)"]),
    ((512, 16384), (0,), ["grid 16384 (32, 1)", "cross 512 (4, 1)"]),
    ((8, 1 << 20), (0,), ["grid 1048576 (256, 4)", "serial 8 (1, 1)"]),  # columns enough for a thread each, four at a time
    ((30, 70, 50), (1,), ["grid 1500 (8, 1)", "cross 70 (16, 1)"]),
    ((300, 3), (0,), ["grid 3 (4, 1)", "cross 300 (32, 1)"]),
])  # fmt: skip
def test_the_team_of_a_column(shape: tuple[int, ...], axes: tuple[int, ...], expected: list[str]) -> None:
    assert form(scheduled(p.reduce_sum(x(*shape), axes))) == expected


def test_a_block_reads_whole_sectors() -> None:
    """Eight columns of float32 are 32 bytes, of bfloat16 it takes sixteen."""
    assert form(scheduled(p.reduce_max(x(256, 128, dtype=dtypes.bfloat16), (0,)))) == ["grid 128 (16, 1)", "cross 256 (32, 1)"]


def test_totals_of_many_columns_fit_shared_memory() -> None:
    a = x(4096, 256, dtype=dtypes.float64)
    kernel = scheduled(group("column", tuple(p.reduce_sum(p.multiply(a, p.full(n, a.type)), (0,)) for n in range(12)), (a,)))
    (grid,) = kernel.body
    assert isinstance(grid, ir.Loop)
    assert grid.lanes * team_of(grid) * 12 * 8 <= STATIC_SHARED_BYTES


# Tiles ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "order", "dtype"), [
    ((40, 70), (1, 0), dtypes.float32),
    ((64, 32), (1, 0), dtypes.float64),
    ((33, 3, 20), (2, 1, 0), dtypes.uint8),
    ((9, 8, 10), (1, 2, 0), dtypes.int32),
    ((5, 40, 6, 36), (0, 3, 2, 1), dtypes.bfloat16),
    ((130, 8), (1, 0), dtypes.bool),
])  # fmt: skip
def test_transposes_go_through_shared_tiles(shape: tuple[int, ...], order: tuple[int, ...], dtype: DType) -> None:
    a, b = x(*shape, dtype=dtype), x(*(shape[axis] for axis in order), dtype=dtype, name="b")
    node = group("loop", (p.maximum(p.transpose(a, order), b),), (a, b))
    kernel = scheduled(node)
    size = 64 if dtype.size <= 2 else 32
    assert f"shared tile: {dtype.code}[{size},{size + 1}]" in print_kernel(kernel)
    assert form(kernel)[1:] == [f"team {size * size} (256, 1)"] * 2
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 2 if dtype.is_bool else 99, each.dims).astype(dtype.np_dtype) for each in (a, b))
    for each in ORDERS:
        got = run_node(node, [left, right], checked, in_order(each))[0]
        np.testing.assert_array_equal(got, np.maximum(left.transpose(order), right))


def test_several_loads_are_tiled_and_narrow_ones_are_not() -> None:
    a, b = x(50, 60), x(50, 60, name="b")
    kernel = loop(lambda a, b: p.transpose(p.add(p.tanh(a), b), (1, 0)), a, b)
    assert print_kernel(kernel).count("shared tile") == 2
    assert form(scheduled(p.transpose(x(1000, 4), (1, 0)))) == ["grid 4000 (32, 1)"]


# Products -------------------------------------------------------------------------------------------------------------------------------


def test_the_batches_of_a_product_are_joined() -> None:
    (heads,) = (sample for sample in SAMPLES if sample.id == "heads")
    kernel = scheduled(heads.node())
    assert form(kernel) == ["grid 6 (1, 1)"]
    (grid,) = kernel.body
    assert isinstance(grid, ir.Loop)
    assert [type(stmt) for stmt in grid.body] == [ir.Let, ir.Let, ir.Product]


def test_a_product_without_batches_is_a_grid_of_one() -> None:
    assert form(scheduled(p.dot_general(x(4, 5), x(5, 6, name="y"), (), (), (1,), (0,)))) == ["grid 1 (1, 1)"]


# Scatter --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "rows", "width", "updates", "dtype"), [
    (1, 50, 64, 300, dtypes.float32),
    (1, 7, 1030, 5, dtypes.bfloat16),
    (1, 5, 1, 3000, dtypes.float64),
    (1, 1, 12, 9, dtypes.int32),
    (1, 3, 9, 1, dtypes.float16),
    (1, 6, 3, 40, dtypes.uint8),
    (3, 4, 33, 20, dtypes.float32),
    (4, 1, 40, 7, dtypes.int64),
    (1, 2, 300, 0, dtypes.float32),
])  # fmt: skip
def test_every_row_finds_its_updates(before: int, rows: int, width: int, updates: int, dtype: DType) -> None:
    node = scatter(before, rows, width, updates, dtype)
    rng = np.random.default_rng(1)
    start, found = (rng.integers(0, 9, each.dims).astype(dtype.np_dtype) for each in (node.operands[0], node.operands[2]))
    places = rng.integers(-1, rows + 1, (updates,)).astype(np.int32)  # some are outside and count for nothing
    want = start.astype(np.float64).reshape(before, rows, width)
    for u, place in enumerate(places):
        if 0 <= place < rows:
            want[:, place] += found.astype(np.float64).reshape(before, updates, width)[:, u]
    for order in ORDERS:
        got = run_node(node, [start, places, found], checked, in_order(order))[0]
        exact = want.astype(np.uint8) if dtype is dtypes.uint8 else want.astype(dtype.np_dtype)
        np.testing.assert_array_equal(got.reshape(want.shape), exact)


def test_the_gradient_of_an_embedding_is_a_team_for_each_row() -> None:
    kernel = scheduled(scatter(1, 50000, 512, 4096, dtypes.float32))
    assert form(kernel)[:4] == ["grid 50000 (8, 1)", "team 512 (32, 4)", "serial 32 (1, 1)", "team 128 (32, 1)"]
    assert "atomic" not in print_kernel(kernel)


def test_many_sums_of_scattered_numbers_are_a_thread_each() -> None:
    assert form(scheduled(scatter(1, 100_000, 1, 3000, dtypes.float32)))[:2] == ["grid 100000 (256, 1)", "serial 11 (1, 1)"]


def test_nan_in_an_update_of_another_row_stays_there() -> None:
    node = scatter(1, 3, 1, 2, dtypes.float32)
    arrays = [np.zeros((3, 1), np.float32), np.array([1, 5], np.int32), np.array([[np.nan], [np.inf]], np.float32)]
    got = run_node(node, arrays, checked)[0]
    np.testing.assert_array_equal(got[:, 0], [0, np.nan, 0])
