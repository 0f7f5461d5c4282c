"""The host that runs CUDA text: it computes what a GPU does, and each planted error is caught with a message that says where."""
from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from graphc.codegen.parse import parse_kernel
from tests.cuda_host import host
from tests.cuda_host.host import HostBuildError, HostCompiler, KernelFault

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Text:
    """A hand-written kernel."""

    name: str
    text: str
    grid: tuple[int, int, int] = (1, 1, 1)
    block: tuple[int, int, int] = (64, 1, 1)


def kernel(name: str, parameters: str, body: str, grid: int = 1, block: int = 64) -> Text:
    text = f'extern "C" __global__ void __launch_bounds__({block}) {name}({parameters}) {{\n{body}\n}}\n'
    return Text(name, text, (grid, 1, 1), (block, 1, 1))


def launch(source: Text, inputs: Sequence[Array], outputs: Sequence[Array], order: str = "forward") -> None:
    arguments = [*((f"in{n}", False, a) for n, a in enumerate(inputs)), *((f"out{n}", True, a) for n, a in enumerate(outputs))]
    host.launch(source, arguments, order)


BLOCK_SUM = """
  __shared__ float part[8];
  float sum = x[blockIdx.x * 256 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  BARRIER
  float total = 0;
  for (int warp = 0; warp < 8; warp++) total += part[warp];
  if (threadIdx.x == 0) y[blockIdx.x] = total;"""


def block_sum(barrier: str, grid: int) -> Text:
    return kernel("block_sum", "const float* x, float* y", BLOCK_SUM.replace("BARRIER", barrier), grid, 256)


@pytest.mark.parametrize("order", host.ORDERS)
def test_a_block_sums_through_shuffles_and_shared_memory(order: str) -> None:
    x, y = np.arange(5 * 256, dtype=np.float32) % 97, np.zeros(5, np.float32)
    launch(block_sum("__syncthreads();", 5), [x], [y], order)
    np.testing.assert_array_equal(y, x.reshape(5, 256).sum(1))


def test_a_missing_barrier_shows_between_the_orders() -> None:
    x, results = np.ones(512, np.float32), []
    for order in ("forward", "reversed"):
        y = np.zeros(2, np.float32)
        launch(block_sum("", 2), [x], [y], order)
        results.append(y)
    assert not np.array_equal(results[0], results[1], equal_nan=True)


def test_uninitialised_shared_memory_is_nan_in_every_block() -> None:
    y = np.zeros((3, 64), np.float32)
    launch(kernel("uninitialised", "float* y", """
        __shared__ float tile[64];
        y[blockIdx.x * 64 + threadIdx.x] = tile[threadIdx.x];
        __syncthreads();
        tile[threadIdx.x] = 5;""", grid=3), [], [y])
    assert np.isnan(y).all()


# Planted errors: body of a kernel on `float* x` of 64 elements, and what the message must say ---------------------------------------------

PLANTED = {
    "barrier-some-never-reach": ("if (threadIdx.x < 20)\n__syncthreads();",
                                 r"block \(0,0,0\), divergent barrier: thread 0 waits at __syncthreads, \S+:3; thread 20 has finished"),
    "two-barriers": ("if (threadIdx.x < 20) __syncthreads();\nelse __syncthreads();",
                     r"divergent barrier: thread 0 waits at __syncthreads, \S+:2; thread 20 waits at __syncthreads, \S+:3"),
    "barrier-against-shuffle": ("if (threadIdx.x < 16) __syncthreads();\nelse x[0] = __shfl_sync(~0u, x[1], 0);",
                                r"divergent barrier: thread 0 waits at __syncthreads, \S+:2; thread 16 waits at a shuffle .*:3"),
    "shuffle-some-never-reach": ("if (threadIdx.x < 20) x[0] = __shfl_down_sync(0xffffffffu, x[1], 1);",
                                 r"thread 0 waits at a shuffle of mask ffffffff, \S+:2; thread 20 has finished"),
    "lane-outside-its-mask": ("x[0] = __shfl_xor_sync(0xffu, x[1], 1);",
                              r"thread \(8,0,0\): calls a warp operation whose mask leaves it out"),
    "asks-a-lane-outside-the-mask": ("if (threadIdx.x < 16) x[0] = __shfl_xor_sync(0xffffu, x[1], 16);",
                                     r"asks lane 16, which mask 0000ffff leaves out"),
    "reads-past-the-end": ("float y = x[threadIdx.x + 1];\nx[threadIdx.x] = y;",
                           r"thread \(63,0,0\): illegal memory access, 0 bytes past the end of out0 \(256 bytes\)(, at \S+:2)?$"),
    "writes-far-past-the-end": ("x[threadIdx.x + 100] = 1;", r"illegal memory access, 144 bytes past the end of out0"),
    "misaligned": ("if (threadIdx.x < 8)\n*(float4*)(x + 1 + threadIdx.x) = make_float4(1, 2, 3, 4);",
                   r"thread \(0,0,0\): misaligned access, at \S+:3"),
    "outside-shared": ("__shared__ float tile[32];\ntile[threadIdx.x] = 1;", r"thread \(32,0,0\): index 32 outside of an array, at \S+:3"),
    "integer-divided-by-zero": ("x[0] = 5 / (int) x[1];", r"integer division by zero"),
    "trap": ("if (x[threadIdx.x] == 0) __trap();", r"thread \(0,0,0\): __trap, at \S+:2"),
    "null": ("float* none = x[0] == 0 ? nullptr : x;\n*none = 1;", r"illegal memory access, at \S+:3"),
}  # fmt: skip


def planted(name: str) -> Text:
    return kernel("planted_" + name.replace("-", "_"), "float* x", PLANTED[name][0])


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_caught(name: str) -> None:
    host.build_many(planted(each) for each in PLANTED)
    with pytest.raises(KernelFault, match=PLANTED[name][1]):
        launch(planted(name), [], [np.zeros(64, np.float32)])


def test_an_access_before_the_start_is_caught_in_reversed_order() -> None:
    source = kernel("before", "float* x", "x[(int)threadIdx.x - 1] = 1;")
    with pytest.raises(KernelFault, match=r"thread \(0,0,0\): illegal memory access, 4 bytes before out0"):
        launch(source, [], [np.zeros(64, np.float32)], "reversed")


def test_a_write_into_the_gap_after_an_array_is_caught() -> None:
    with pytest.raises(KernelFault, match="wrote outside of out0, at byte 252 of 252"):
        launch(kernel("gap", "float* x", "x[threadIdx.x] = 1;"), [], [np.zeros(63, np.float32)])


def test_a_write_to_an_input_is_caught() -> None:
    with pytest.raises(KernelFault, match="wrote to in0, which is an input"):
        launch(kernel("input", "float* x", "x[threadIdx.x] = 1;"), [np.zeros(64, np.float32)], [])


@pytest.mark.parametrize(("grid", "block"), [((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (2000, 1, 1)), ((1, 70000, 1), (1, 1, 1)),
                                             ((1, 1, 1), (1, 1, 65))])
def test_a_launch_that_cuda_refuses_is_refused(grid: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    with pytest.raises(KernelFault, match="invalid launch"):
        launch(Text("nothing", "__global__ void nothing() {}", grid, block), [], [])


def test_a_fault_leaves_the_process_able_to_go_on() -> None:
    """Also: a fault outside of any kernel is nobody's but Python's, so it ends a process as ever."""
    test_a_planted_error_is_caught("reads-past-the-end")
    test_a_block_sums_through_shuffles_and_shared_memory("forward")
    child = multiprocessing.get_context("fork").Process(target=_touch_nothing)
    child.start()
    child.join()
    assert child.exitcode not in (0, None)


def _touch_nothing() -> None:
    faulthandler.disable()
    ctypes.string_at(8)


# The language -----------------------------------------------------------------------------------------------------------------------------


def test_shuffles_within_segments() -> None:
    x, y = np.arange(32, dtype=np.int32), np.zeros((6, 32), np.int32)
    launch(kernel("shuffles", "const int* x, int* y", """
        int lane = threadIdx.x, v = x[lane];
        y[lane] = __shfl_up_sync(~0u, v, 3);
        y[32 + lane] = __shfl_down_sync(~0u, v, 3, 8);
        y[64 + lane] = __shfl_xor_sync(~0u, v, 5, 16);
        y[96 + lane] = __shfl_sync(~0u, v, 2, 4);
        y[128 + lane] = (int) __shfl_sync(~0u, (double) v + 0.5, 31 - lane);
        y[160 + lane] = (int) (__shfl_xor_sync(~0u, (long long) v << 40, 1) >> 40);""", block=32), [x], [y])
    lane = np.arange(32)
    want = [np.where(lane < 3, lane, lane - 3), np.where(lane % 8 < 5, lane + 3, lane), lane ^ 5, lane // 4 * 4 + 2, 31 - lane, lane ^ 1]
    np.testing.assert_array_equal(y, want)


def test_parts_of_a_warp_wait_for_each_other_alone() -> None:
    y = np.zeros(32, np.int32)
    launch(kernel("parts", "int* y", """
        int lane = threadIdx.x;
        if (lane < 8) y[lane] = __shfl_xor_sync(0xffu, lane, 7);
        else { __syncwarp(0xffffff00u); y[lane] = __shfl_down_sync(0xffffff00u, lane, 1, 8); }""", block=32), [], [y])
    lane = np.arange(32)
    np.testing.assert_array_equal(y, np.where(lane < 8, 7 - lane, np.where(lane % 8 < 7, lane + 1, lane)))


def test_votes() -> None:
    y = np.zeros((3, 33), np.uint32)
    launch(kernel("votes", "unsigned* y", """
        int t = threadIdx.x;
        y[t] = __ballot_sync(~0u, t % 3 == 0);
        y[33 + t] = __any_sync(~0u, t == 40);
        y[66 + t] = __all_sync(~0u, t < 40);""", block=33), [], [y])
    thirds = sum(1 << lane for lane in range(0, 32, 3))
    np.testing.assert_array_equal(y, [[thirds] * 32 + [0b1 * (32 % 3 == 0)], [0] * 33, [1] * 33])


def test_threads_of_three_dimensions() -> None:
    y = np.zeros(2 * 3 * 2 * 4 * 3 * 2, np.int32)
    launch(Text("dimensions", """__global__ void dimensions(int* y) {
        int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        y[block * 24 + thread] = 1000 * block + 100 * threadIdx.z + 10 * threadIdx.y + threadIdx.x;
    }""", (2, 3, 2), (4, 3, 2)), [], [y])
    z, py, px = np.meshgrid(range(2), range(3), range(4), indexing="ij")
    np.testing.assert_array_equal(y.reshape(12, 24), 1000 * np.arange(12)[:, None] + (100 * z + 10 * py + px).reshape(-1))


def test_atomics_on_integers() -> None:
    y = np.array([0, 7, 7, 0xFFFF, 0, 0, 5], np.int32)
    launch(kernel("atomics", "int* y", """
        int t = threadIdx.x;
        atomicAdd(y, t); atomicMax(y + 1, t); atomicMin(y + 2, t); atomicAnd(y + 3, ~t); atomicOr(y + 4, t); atomicXor(y + 5, t);
        atomicCAS(y + 6, 5, t);"""), [], [y])
    np.testing.assert_array_equal(y, [2016, 63, 0, 0xFFC0, 63, 0, 0])


def test_atomics_on_floats_do_not_compile() -> None:
    with pytest.raises(HostBuildError, match=r"no matching function for call to .atomicAdd\(float"):
        launch(kernel("floats", "float* y", "atomicAdd(y, 1.0f);"), [], [np.zeros(1, np.float32)])


def test_functions_that_c_plus_plus_lacks() -> None:
    y = np.zeros(9, np.float64)
    launch(kernel("functions", "double* y", """
        y[0] = max(__int_as_float(0x7fc00000), 2.0f);
        y[1] = min(-1, 3u) == 3u;
        y[2] = __float2int_rz(3e9f);
        y[3] = __float2int_rz(__int_as_float(0x7fc00000));
        y[4] = __umulhi(0x80000000u, 6u);
        y[5] = __clz(1) + __popc(0xffu) + __ffs(8);
        y[6] = rsqrtf(4.0f);
        y[7] = __saturatef(1.5f);
        y[8] = __funnelshift_l(0x80000000u, 1u, 1);""", block=1), [], [y])
    np.testing.assert_array_equal(y, [2, 1, 2**31 - 1, 0, 3, 31 + 8 + 4, 0.5, 1, 3])


def test_vectors_move_as_one() -> None:
    x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    launch(kernel("vectors", "const float* x, float* y", """
        float4 v = reinterpret_cast<const float4*>(x)[threadIdx.x];
        reinterpret_cast<float4*>(y)[threadIdx.x] = make_float4(v.w, v.z, v.y, v.x);""", block=16), [x], [y])
    np.testing.assert_array_equal(y, x.reshape(16, 4)[:, ::-1].reshape(-1))


# What `run` is asked ----------------------------------------------------------------------------------------------------------------------

DOUBLED = "kernel doubled(x: f32[3,4] in, y: f32[3,4] out) {\n}\n"


def doubled() -> Text:
    return kernel("doubled", "const float* x, float* y", "if (threadIdx.x < 12) y[threadIdx.x] = 2 * x[threadIdx.x];")


@pytest.mark.parametrize("order", host.ORDERS)
def test_run_writes_outputs_in_place_and_keeps_aliases(order: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    y, before = np.zeros_like(x), x.copy()
    host.run(doubled(), parse_kernel(DOUBLED), [x, y], order)
    np.testing.assert_array_equal(y, 2 * before)
    host.run(doubled(), parse_kernel(DOUBLED), [x, x], order)
    np.testing.assert_array_equal(x, 2 * before)


@pytest.mark.parametrize("arrays", [[np.zeros((3, 4), np.float32)], [np.zeros((4, 3), np.float32)] * 2, [np.zeros((3, 4))] * 2])
def test_run_refuses_arrays_that_do_not_fit(arrays: list[Array]) -> None:
    with pytest.raises(ValueError, match=r"takes 2 arrays|x is float32\[3, 4\]"):
        host.run(doubled(), parse_kernel(DOUBLED), arrays)


def test_empty_arrays_have_an_address_that_nobody_may_touch() -> None:
    none = np.zeros((0, 3), np.float32)
    launch(kernel("empty", "const float* x, float* y", "if (x == nullptr) y[0] = 1;"), [none], [np.zeros(0, np.float32)])
    with pytest.raises(KernelFault, match="past the end of in0"):
        launch(kernel("full", "const float* x, float* y", "y[0] = x[0];"), [none], [np.zeros(1, np.float32)])


def test_kernels_of_one_library_have_names_and_shared_memory_of_their_own() -> None:
    body = "__shared__ int own[SIZE];\nown[threadIdx.x] = threadIdx.x;\n__syncthreads();\ny[threadIdx.x] = own[63 - threadIdx.x] + SIZE;"
    sources = [kernel("same", "int* y", body.replace("SIZE", str(size))) for size in range(64, 64 + host.PER_LIBRARY + 2)]
    host.build_many(sources)
    for size, source in enumerate(sources, 64):
        y = np.zeros(64, np.int32)
        launch(source, [], [y])
        np.testing.assert_array_equal(y, 63 - np.arange(64) + size)


def test_what_gcc_says_names_the_line_of_the_text() -> None:
    with pytest.raises(HostBuildError, match=r"wrong\.cu:3:.*foo"):
        launch(kernel("wrong", "float* x", "x[0] = 1;\nx[1] = foo;"), [], [np.zeros(2, np.float32)])


def test_the_compiler_makes_an_image_with_an_entry_for_each_kernel() -> None:
    image, log = HostCompiler().compile(doubled().text + block_sum("__syncthreads();", 1).text, "sm_90")
    assert image.startswith(b"\x7fELF")
    assert b"cuda_host_doubled\0" in image
    assert b"cuda_host_block_sum_pack\0" in image
    assert log == ""
